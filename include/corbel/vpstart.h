// SPDX-License-Identifier: BSD-2-Clause-Patent
// How a VP starts: INIT, SIPI, HvCallStartVirtualProcessor. Owner LP, in vp_prepare.
#pragma once

#include <stdint.h>

struct vp;

void vp_init_signal(struct vp *vp);
void vp_sipi_signal(struct vp *vp);
void vp_start_signal(struct vp *vp);

// Loads an HV_INITIAL_VP_CONTEXT into a VP that is stopped or current.
// HV_STATUS_INVALID_REGISTER_VALUE if a value is refused: the state may then be partly loaded, so
// check first with a scratch VP state or accept that the VP has been reset.
struct hv_initial_vp_context;
uint16_t vp_load_context(struct vp *vp, const struct hv_initial_vp_context *context);

// Exceptions that must exit for this VP: its parent's wishes and what the hypervisor itself needs.
uint32_t vp_exception_intercepts(const struct vp *vp);

void vp_send_nmi(struct vp *vp);
