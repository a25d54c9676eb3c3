// SPDX-License-Identifier: BSD-2-Clause-Patent
// x87/SSE/AVX state. The hypervisor uses none of it, so it stays in the registers until another VP
// needs them; it is saved whenever a VP leaves its LP, restored only if the registers hold
// another's.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lp;
struct vp;

#define FPU_XSAVES (1u << 3) // CPUID 13, 1: EAX

// Finds out what the processor has (XSAVE, which components). Once, at launch.
void fpu_probe(void);
// Whether a guest may load this XCR0 (SDM 2A XSETBV).
// `allowed`: the components that it may have.
bool fpu_xcr0_valid(uint64_t allowed, uint64_t value);
void fpu_enable(void);                          // this LP: CR4 bits
void fpu_init(struct vp *vp);                   // power-on state
void fpu_capture(struct lp *lp, struct vp *vp); // the registers are this VP's
void fpu_load(struct lp *lp, struct vp *vp);
void fpu_save(struct lp *lp, const struct vp *vp);
// The VP's XCR0 changes, to a valid value. Owner LP, or the VP is stopped.
void fpu_set_xcr0(struct lp *lp, struct vp *vp, uint64_t value);
// The saved state was changed by SetVpRegisters: registers no longer mirror it.
void fpu_changed(struct vp *vp);
