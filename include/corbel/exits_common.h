// SPDX-License-Identifier: BSD-2-Clause-Patent
// What an exit means, on both vendors: the backend reads the exit out of its control block, these
// do the rest with the neutral state in struct vp. Owner LP, general registers synced in.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/intercept.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

// Moves RIP past an instruction that was completed here: wraps as the mode does, ends the interrupt
// shadow, raises the single-step trap.
void vp_advance_slow(struct vp *vp, uint64_t rip);
static inline void vp_advance(struct vp *vp, uint32_t length)
{
    uint64_t rip = vp->rip + length;

    if (__builtin_expect((rip ^ vp->rip) >> 32 || (vp->rflags & RFLAGS_TF), 0)) {
        vp_advance_slow(vp, rip);
        return;
    }
    vp->rip = rip;
    vp->shadow = 0;
}

void exit_cpuid(struct vp *vp, uint32_t length);
void exit_msr(struct vp *vp, bool write, uint32_t length);
void exit_io(struct vp *vp, const struct io_access *io);
void exit_hlt(struct vp *vp, uint32_t length);
void exit_interrupt(struct vp *vp);
void exit_foreign_nmi(struct vp *vp);
void exit_nmi_iret(struct vp *vp);
void exit_gpa_fault(struct vp *vp, const struct slat_fault *fault);
void exit_xsetbv(struct vp *vp, uint32_t length);
void exit_cache(struct vp *vp, uint32_t length);
// SGDT, SIDT, SLDT or STR, while NPIEP prevents it in user mode.
void exit_table_store(struct vp *vp);
void exit_spin(struct vp *vp);
void exit_cr8(struct vp *vp, uint64_t value, uint32_t length);
void exit_shutdown(struct vp *vp);
// `info` is HV_EXCEPTION_INFO_*. A software exception has RIP on its instruction.
void exit_exception(struct vp *vp, uint32_t vector, uint8_t info, uint32_t error,
                    uint64_t parameter);

// The processor lets CR8 writes through to its own copy of the TPR: bring the virtual APIC up to
// date.
void exit_sync_tpr(struct vp *vp, uint8_t tpr);
