// SPDX-License-Identifier: BSD-2-Clause-Patent
// Classes of registers by name, for kernel/registers.c alone; results as register_get and
// register_set.
#pragma once

#include <stdint.h>

#include "hv/registers.h"

struct vp;

#define REGISTER_CLASS(class)                                                                      \
    uint16_t register_get_##class(struct vp * vp, uint32_t name, union hv_register_value * value); \
    uint16_t register_set_##class(struct vp * vp, uint32_t name,                                   \
                                  const union hv_register_value *value);
REGISTER_CLASS(pending)   // interruption state and pending events (registers_pending.c)
REGISTER_CLASS(fpu)       // XMM, x87 (registers_fpu.c)
REGISTER_CLASS(msr)       // architectural MSRs, local APIC (registers_msr.c)
REGISTER_CLASS(synthetic) // synthetic MSRs, crash registers (registers_msr.c)
#undef REGISTER_CLASS

// Vector of the exception that waits for injection, or UINT32_MAX.
uint32_t register_pending_vector(const struct vp *vp);
