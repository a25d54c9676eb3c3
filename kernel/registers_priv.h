// SPDX-License-Identifier: BSD-2-Clause-Patent
// Classes of registers by name, for kernel/registers.c alone; results as register_get and
// register_set.
#pragma once

#include <stdint.h>

#include "hv/registers.h"

struct vp;

// Interruption state and pending events (registers_pending.c).
uint16_t register_get_pending(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t register_set_pending(struct vp *vp, uint32_t name, const union hv_register_value *value);
// XMM, x87 (registers_fpu.c).
uint16_t register_get_fpu(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t register_set_fpu(struct vp *vp, uint32_t name, const union hv_register_value *value);
uint16_t register_get_ymm(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t register_set_ymm(struct vp *vp, uint32_t name, const union hv_register_value *value);
// Architectural MSRs, local APIC (registers_msr.c).
uint16_t register_get_msr(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t register_set_msr(struct vp *vp, uint32_t name, const union hv_register_value *value);
// Synthetic MSRs, crash registers (registers_msr.c).
uint16_t register_get_synthetic(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t register_set_synthetic(struct vp *vp, uint32_t name, const union hv_register_value *value);

// Vector of the exception that waits for injection, or UINT32_MAX.
uint32_t register_pending_vector(const struct vp *vp);
