// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which scheduler there is, and where its LPs are. Chosen once, at launch.
#pragma once

#include <stdint.h>

#include "corbel/sched.h"

// Fills places[] of `count` LPs, whose APIC ids are known, and chooses the scheduler. `wanted`:
// what corbel.conf says, 0 or HV_SCHEDULER_TYPE_*. Logs what it becomes, and why.
void scheduler_init(struct sched_place *places, uint32_t count, uint32_t wanted);

// What HvCallGetSystemProperty tells of an LP: HV_LP_* (hv/corbel.h). INVALID_LP_INDEX: there is no
// such LP; INVALID_PARAMETER: no such question.
uint16_t scheduler_lp(uint32_t lp, uint32_t what, uint64_t *value);

// HV_SCHEDULER_TYPE_*, as it was at launch (Hyper-V: launch event 2).
uint32_t scheduler_type(void);
