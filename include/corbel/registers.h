// SPDX-License-Identifier: BSD-2-Clause-Patent
// Registers of a VP by HV_REGISTER_NAME (TLFS: HvCallGetVpRegisters, HvCallSetVpRegisters;
// tlfs-reference 3).
#pragma once

#include <stdint.h>

#include "hv/registers.h"

struct vp;

// The VP is stopped (vp_stop). HV_STATUS_SUCCESS; HV_STATUS_INVALID_PARAMETER: no such register, or
// it cannot be written; HV_STATUS_INVALID_REGISTER_VALUE; HV_STATUS_RETRY: come again. After an
// error nothing has changed. register_get zero-extends to 16 bytes.
uint16_t register_get(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t register_set(struct vp *vp, uint32_t name, const union hv_register_value *value);
