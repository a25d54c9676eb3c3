// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the files of the AMD backend share.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/cpufeatures.h"
#include "corbel/lp.h"
#include "corbel/speculation.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "svm/vmcb.h"

// CPUID 8000_000A EDX.
enum {
    SVM_FEATURE_NPT = 1u << 0,
    SVM_FEATURE_NRIP = 1u << 3,
    SVM_FEATURE_TSC_RATE = 1u << 4,
    SVM_FEATURE_FLUSH_ASID = 1u << 6,
    SVM_FEATURE_DECODE = 1u << 7,
    SVM_FEATURE_PAUSE_FILTER = 1u << 10,
    SVM_FEATURE_PAUSE_THRESHOLD = 1u << 12,
    SVM_FEATURE_SPEC_CTRL = 1u << 20 // host and guest have a SPEC_CTRL each
};
enum { VM_CR_SVMDIS = 1u << 4 };
extern uint32_t svm_features; // the same on every LP; constant after launch
// MSRs that are there once on an LP, so that they go with the VP; constant after launch.
enum {
    SVM_SHARED_TSC_AUX = 1u << 0,
    SVM_SHARED_SPEC_CTRL = 1u << 1,
    SVM_SHARED_TSC_RATIO = 1u << 2
};
extern uint32_t svm_shared_msrs;

static inline struct vmcb *svm_vmcb(const struct vp *vp)
{
    return vp->hw;
}

static inline bool svm_has(uint32_t feature)
{
    return (svm_features & feature) != 0;
}

// Where the processor has one SPEC_CTRL for host and guest it goes with the VP (read first: a write
// costs much more); elsewhere VMRUN takes the guest's from the VMCB, and #VMEXIT puts it back.
static inline bool spec_control_shared(void)
{
    return (cpu_features.speculation & SPECULATION_CONTROL) && !svm_has(SVM_FEATURE_SPEC_CTRL);
}

// General registers that the VMCB holds, to and from their neutral place in struct vp.
static inline void svm_sync_in(struct vp *vp)
{
    const struct vmcb *v = vp->hw;
    vp->gpr[RAX] = v->rax;
    vp->gpr[RSP] = v->rsp;
    vp->rip = v->rip;
    vp->rflags = v->rflags;
    vp->shadow = v->interrupt_shadow;
}

static inline void svm_sync_out(struct vp *vp)
{
    struct vmcb *v = vp->hw;
    v->rax = vp->gpr[RAX];
    v->rsp = vp->gpr[RSP];
    v->rip = vp->rip;
    v->rflags = vp->rflags;
    v->interrupt_shadow = vp->shadow;
}

// run.S
void svm_loop(struct vp *vp);
void svm_window(void);
void svm_window_masked(void);
void svm_halt(void);

// setup.c
enum launch_status svm_probe(void);
// Whether SVM, which the processor has, can be used: by VM_CR, CPUID 8000_000A EDX and EFER.
static inline enum launch_status svm_usable(uint64_t vm_cr, uint32_t features, uint64_t efer)
{
    if (vm_cr & VM_CR_SVMDIS) // APM 2 15.4; EFER.SVME cannot be set then
        return LAUNCH_SVM_DISABLED;
    if (!(features & SVM_FEATURE_NPT))
        return LAUNCH_NO_NPT;
    return efer & EFER_SVME ? LAUNCH_SVM_IN_USE : LAUNCH_OK;
}
enum launch_status svm_enable(struct lp *lp);
void svm_disable(struct lp *lp);
void svm_stay(struct lp *lp);
bool svm_create(struct vp *vp);
void svm_destroy(struct vp *vp);
void svm_reset(struct vp *vp);
void svm_capture(struct vp *vp, const struct launch_context *context);

// switch.c
bool svm_run(struct lp *lp);
void svm_trial(struct lp *lp, struct vp *vp);
// `vp`, whose state is in the registers (NULL: none), has ended its turn. Returns the VP to enter.
struct vp *svm_next(struct lp *lp, struct vp *vp, bool blocked);
void svm_load_guest(struct lp *lp, struct vp *vp);
// All that an entry of the VP needs, which is in struct vp.
static inline void svm_reload(struct lp *lp, struct vp *vp)
{
    svm_sync_out(vp);
    svm_load_guest(lp, vp);
}
void svm_unload_guest(struct lp *lp);
void svm_take_interrupts(struct lp *lp);
void svm_take_masked(struct lp *lp);
void svm_halt_lp(struct lp *lp);
void svm_flush(struct vp *vp);
void svm_flush_pages(struct vp *vp, const struct flush_list *list);
// State of the running VP that neither VMCB nor XSAVE area get by themselves.
void svm_read_registers(struct vp *vp);
// From here on the VP has debug registers of its own in the processor while it runs: it has touched
// them, or breakpoints are enabled. Until then its accesses are intercepted.
void svm_use_debug_registers(struct vp *vp);

// exit.c: one exit. Returns the VP to enter, NULL: none.
struct vp *svm_exit(struct vp *vp);

// flush.c: the pages of a list, of one ASID, in the TLB of this LP.
void svm_invalidate_pages(uint32_t asid, const struct flush_list *list);

// Multiplier of the TSC of whatever runs as a guest of this LP (APM 2 15.30.5); 0: none.
enum { SVM_TSC_FRACTION = 32 };
void svm_set_tsc_multiplier(struct lp *lp, uint64_t multiplier);

// operand.c: value and length of the MOV to a control register that exited. False: the instruction
// is another by now, and executing again settles it.
bool svm_mov_to_cr(struct vp *vp, uint64_t *value, uint32_t *length);

// control.c
void svm_exit_cr4_write(struct vp *vp);

// event.c
void svm_requeue_event(struct vp *vp);
// After an exit with V_IRQ set: an interrupt that was to be taken with the entry has not been, or
// not wholly; it is pending again. No instruction's own exit can come before it.
void svm_take_back_interrupt(struct vp *vp);
void svm_inject(struct vp *vp, uint64_t event);
void svm_raise(struct vp *vp, uint32_t vector);
void svm_interrupt_window(struct vp *vp, uint32_t priority);
void svm_tpr_window(struct vp *vp, uint32_t priority);
void svm_nmi_window(struct vp *vp, bool wanted);
void svm_set_tpr(struct vp *vp, uint8_t tpr);
void svm_set_exception_intercepts(struct vp *vp, uint32_t vectors);
void svm_set_tsc_offset(struct vp *vp);
void svm_set_table_intercepts(struct vp *vp, uint64_t prevented);
// The vector of an exception's exit code, and HV_EXCEPTION_INFO_*.
uint8_t svm_exception_info(uint32_t exit_code, uint32_t *vector);

// registers.c
uint16_t svm_get_register(struct vp *vp, uint32_t name, union hv_register_value *value);
uint16_t svm_set_register(struct vp *vp, uint32_t name, const union hv_register_value *value);
void svm_get_mode(const struct vp *vp, struct vcpu_mode *mode);
void svm_get_paging(const struct vp *vp, struct walk_state *paging);
uint64_t svm_cr3(const struct vp *vp);
uint16_t svm_execution_state(const struct vp *vp, struct hv_x64_segment_register *cs);
uint64_t svm_segment_base(const struct vp *vp, uint32_t name);
