// SPDX-License-Identifier: BSD-2-Clause-Patent
// Whose state is in the processor: guest or host (VMLOAD state), this VP's or another's
// (x87/SSE/AVX, debug registers, ASID).
#include "corbel/cpufeatures.h"
#include "corbel/exits_return.h"
#include "corbel/fpu.h"
#include "corbel/gpa.h"
#include "corbel/idt.h"
#include "corbel/log.h"
#include "corbel/partition.h"
#include "corbel/phys.h"
#include "corbel/speculation.h"
#include "svm/svm.h"

static void vmsave(uint64_t pa)
{
    __asm__ volatile("vmsave %0" : : "a"(pa) : "memory");
}

static void vmload(uint64_t pa)
{
    __asm__ volatile("vmload %0" : : "a"(pa) : "memory");
}

void svm_load_guest(struct lp *lp, struct vp *vp)
{
    if (lp->guest_loaded == vp)
        return;
    vmload(vp->hw_pa);
    lp->guest_loaded = vp;
    lp->host_loaded = false;
}

// From one guest to the next the host's state is not needed between.
static void save_guest(struct lp *lp)
{
    if (lp->guest_loaded)
        vmsave(lp->guest_loaded->hw_pa);
    lp->guest_loaded = NULL;
}

void svm_unload_guest(struct lp *lp)
{
    if (lp->guest_loaded)
        atomic_fetch_or_explicit(&lp->guest_loaded->work, VP_WORK_RELOAD, memory_order_relaxed);
    save_guest(lp);
    if (!lp->host_loaded)
        vmload(lp->host_state_pa);
    lp->host_loaded = true;
}

// An ASID that no translation in this LP's TLB carries. The root's VPs and children's share the
// range.
static void assign_asid(struct lp *lp, struct vp *vp)
{
    struct vmcb *v = vp->hw;
    uint32_t todo = tlb_arrive(&lp->tlb, lp->index, &vp->tlb);

    if (!todo)
        return;
    if (todo & TLB_DROP_ALL)
        v->tlb_control = SVM_TLB_FLUSH_ALL;
    v->asid = vp->tlb.tag;
}

// Of both kinds of translations, which the ASID names alike. A processor that cannot flush one ASID
// alone (APM 2 15.16.2) gets a new one: nothing carries it.
void svm_flush(struct vp *vp)
{
    bool here = this_lp()->vp == vp;

    if (!svm_has(SVM_FEATURE_FLUSH_ASID)) {
        tlb_lose_tag(&vp->tlb);
        if (here)
            assign_asid(this_lp(), vp);
    } else if (tlb_guest_changed(&vp->tlb, here) && svm_vmcb(vp)->tlb_control == SVM_TLB_KEEP) {
        svm_vmcb(vp)->tlb_control = SVM_TLB_FLUSH_ASID;
    }
}

// Only this LP has translations under the VP's ASID, if it is the one that runs the VP.
void svm_flush_pages(struct vp *vp, const struct flush_list *list)
{
    if (this_lp()->vp == vp)
        svm_invalidate_pages(vp->tlb.tag, list);
    else
        svm_flush(vp);
}

uint32_t svm_shared_msrs;

void svm_set_tsc_multiplier(struct lp *lp, uint64_t multiplier)
{
    wrmsr(MSR_TSC_RATIO, multiplier ? multiplier : UINT64_C(1) << SVM_TSC_FRACTION);
    lp->tsc_multiplier = multiplier;
}

static __attribute__((noinline, cold)) void load_all_msrs(struct lp *lp, const struct vp *vp)
{
    uint64_t multiplier = vp->partition->tsc_ratio.multiplier;

    if ((svm_shared_msrs & SVM_SHARED_SPEC_CTRL) && rdmsr(MSR_SPEC_CTRL) != svm_vmcb(vp)->spec_ctrl)
        wrmsr(MSR_SPEC_CTRL, svm_vmcb(vp)->spec_ctrl);
    if (svm_shared_msrs & SVM_SHARED_TSC_AUX)
        wrmsr(MSR_TSC_AUX, vp->tsc_aux);
    if ((svm_shared_msrs & SVM_SHARED_TSC_RATIO) && lp->tsc_multiplier != multiplier)
        svm_set_tsc_multiplier(lp, multiplier);
}

static __attribute__((noinline, cold)) void save_all_msrs(struct vp *vp)
{
    if (svm_shared_msrs & SVM_SHARED_SPEC_CTRL)
        svm_vmcb(vp)->spec_ctrl = rdmsr(MSR_SPEC_CTRL);
    if (svm_shared_msrs & SVM_SHARED_TSC_AUX)
        vp->tsc_aux = rdmsr(MSR_TSC_AUX);
}

// TSC_AUX alone is the case that is quick.
static __attribute__((noinline)) void load_msrs(struct lp *lp, const struct vp *vp)
{
    if (svm_shared_msrs == SVM_SHARED_TSC_AUX)
        wrmsr(MSR_TSC_AUX, vp->tsc_aux);
    else
        load_all_msrs(lp, vp);
}

static __attribute__((noinline)) void save_msrs(struct vp *vp)
{
    if (svm_shared_msrs == SVM_SHARED_TSC_AUX)
        vp->tsc_aux = rdmsr(MSR_TSC_AUX);
    else
        save_all_msrs(vp);
}

static void write_debug_registers(const struct vp *vp)
{
    write_dr0(vp->dr[0]);
    write_dr1(vp->dr[1]);
    write_dr2(vp->dr[2]);
    write_dr3(vp->dr[3]);
}

void svm_use_debug_registers(struct vp *vp)
{
    if (!svm_vmcb(vp)->intercept_dr)
        return;
    svm_vmcb(vp)->intercept_dr = 0;
    if (this_lp()->vp == vp)
        write_debug_registers(vp);
}

static inline __attribute__((always_inline)) void load(struct lp *lp, struct vp *vp)
{
    switch_partition(lp, vp);
    assign_asid(lp, vp);
    fpu_load(lp, vp);
    if (svm_shared_msrs)
        load_msrs(lp, vp);
    if (!svm_vmcb(vp)->intercept_dr)
        write_debug_registers(vp);
}

void svm_read_registers(struct vp *vp)
{
    if (svm_shared_msrs)
        save_msrs(vp);
    if (svm_vmcb(vp)->intercept_dr)
        return;
    vp->dr[0] = read_dr0();
    vp->dr[1] = read_dr1();
    vp->dr[2] = read_dr2();
    vp->dr[3] = read_dr3();
}

static inline __attribute__((always_inline)) void save(struct lp *lp, struct vp *vp)
{
    save_guest(lp);
    fpu_save(lp, vp);
    svm_read_registers(vp);
    // Interrupt handlers of firmware save them, and that is all their use; a turn of a VP begins
    // without its own.
    if (!(svm_vmcb(vp)->dr7 & DR7_ENABLES))
        svm_vmcb(vp)->intercept_dr = SVM_INTERCEPT_DEBUG;
}

static const struct switch_ways ways = {.load = load, .save = save, .reload = svm_reload};

struct vp *svm_next(struct lp *lp, struct vp *vp, bool blocked)
{
    return switch_next(&ways, lp, vp, blocked);
}

bool svm_run(struct lp *lp)
{
    struct vp *vp = svm_next(lp, NULL, false);

    if (!vp)
        return false;
    svm_loop(vp);
    return true;
}

void svm_trial(struct lp *lp, struct vp *vp)
{
    load(lp, vp);
    svm_reload(lp, vp);
    svm_loop(vp);
    save(lp, vp);
}

void svm_take_interrupts(struct lp *lp)
{
    svm_unload_guest(lp);
    idt_use_window();
    svm_window();
    idt_use_host();
}

void svm_take_masked(struct lp *lp)
{
    svm_unload_guest(lp);
    svm_window_masked();
}

void svm_halt_lp(struct lp *lp)
{
    svm_unload_guest(lp);
    idt_use_window();
    svm_halt();
    idt_use_host();
}
