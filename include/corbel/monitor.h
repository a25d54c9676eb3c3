// SPDX-License-Identifier: BSD-2-Clause-Patent
// Monitored notifications (tlfs-reference 1.10): a page that the hypervisor lays over both ends of
// a monitor port's connection. The sender sets a trigger bit there instead of making a hypercall;
// the hypervisor looks now and then, and makes the trigger's HvCallSignalEvent on its behalf.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/ports.h"
#include "hv/synic.h"

struct partition;

// ---- the page (synic/monitor.c, pure) -----------------------------------------------------------

#define MONITOR_LEAST   500u    // 100 ns units between two looks: 50 us
#define MONITOR_USUAL   1000u   // where no latency is given
#define MONITOR_LONGEST 100000u // while no group is enabled: 10 ms

typedef void monitor_signal(void *context, uint32_t connection, uint32_t flag);

// One look at a page that guests write at the same time. A pending trigger is armed when it is
// first seen, and signalled when its latency has passed since. Returns after how many 100 ns units
// the next look is due.
uint32_t monitor_look(struct hv_monitor_page *page, uint64_t now, monitor_signal *signal,
                      void *context);

// ---- monitor ports (kernel/monitor.c) -----------------------------------------------------------
// All return HV_STATUS; HV_STATUS_RETRY: another LP changes a monitor port, nothing was done. No
// lock may be held: overlays move.

// A monitor port of `p`, whose page is laid over the GPA `gpa`. INVALID_ALIGNMENT,
// INVALID_PARAMETER (beyond the space), INSUFFICIENT_MEMORY, INVALID_PORT_ID.
uint16_t monitor_create(struct partition *p, uint32_t port_id, const struct port *config,
                        uint64_t gpa);

// A connection of `sender` to a monitor port of `receiver`, the page over `gpa` in the sender. As
// connection_create besides. The caller holds references to both.
uint16_t monitor_connect(struct partition *sender, uint32_t id, struct partition *receiver,
                         uint32_t port_id, uint64_t gpa);

// INVALID_PORT_ID, INVALID_CONNECTION_ID: it is none of a monitor.
uint16_t monitor_delete(struct partition *p, uint32_t port_id);
uint16_t monitor_disconnect(struct partition *sender, uint32_t id);

// Takes away all that the partition has of them, before its ports and its memory go.
uint16_t monitors_leave(struct partition *p);

// VP 0 of a sender looks when p->monitor_due has come. Owner LP.
void monitors_poll(struct partition *sender);
