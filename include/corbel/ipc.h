// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ports in use: the way from a connection to a VP.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/ports.h"

struct vp;

// What is done to one of the port's VPs; HV_STATUS. INVALID_SYNIC_STATE: it is no target now.
typedef uint16_t port_attempt(struct port *port, struct vp *vp, const void *what);

// Tries the VP of a port whose connection is held; of a port for any VP one after the other, until
// one is a target. INVALID_VP_INDEX: there is none.
uint16_t port_send(struct port *port, port_attempt *attempt, const void *what);

// HvCallSignalEvent on behalf of a partition.
uint16_t ipc_signal_event(struct partition *sender, uint32_t connection, uint32_t number);

// The VP has written to `gpa`, where there is no memory, and its instruction has not been
// completed. True: that rang a doorbell, and the instruction is complete. Owner LP.
bool doorbell_exit(struct vp *vp, uint64_t gpa);
