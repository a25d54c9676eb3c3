// SPDX-License-Identifier: BSD-2-Clause-Patent
// What there is one of in the machine.
#pragma once

#include <stdint.h>

#include "corbel/frames.h"
#include "corbel/gpa.h"
#include "corbel/hvmap.h"

extern struct hv_space hv_space;     // the hypervisor's own address space
extern struct frames machine_frames; // who may use which frame

// Second-level tables of this machine: format of the vendor, width, 1 GiB pages.
void machine_gpa_config(struct gpa_space_config *config);
