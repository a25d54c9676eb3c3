// SPDX-License-Identifier: BSD-2-Clause-Patent
// Whose state is in the processor: guest or host (VMLOAD state), this VP's or another's
// (x87/SSE/AVX, debug registers, ASID).
#include "corbel/cpufeatures.h"
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

bool svm_shared_msrs;

static __attribute__((noinline)) void load_msrs(const struct vp *vp)
{
    if (spec_control_shared() && rdmsr(MSR_SPEC_CTRL) != svm_vmcb(vp)->spec_ctrl)
        wrmsr(MSR_SPEC_CTRL, svm_vmcb(vp)->spec_ctrl);
    if (cpu_features.rdtscp)
        wrmsr(MSR_TSC_AUX, vp->tsc_aux);
}

static __attribute__((noinline)) void save_msrs(struct vp *vp)
{
    if (spec_control_shared())
        svm_vmcb(vp)->spec_ctrl = rdmsr(MSR_SPEC_CTRL);
    if (cpu_features.rdtscp)
        vp->tsc_aux = rdmsr(MSR_TSC_AUX);
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
    if (lp->last_partition != vp->partition) {
        if (cpu_features.speculation)
            speculation_switch(speculation_between(cpu_features.speculation, lp->last_partition,
                                                   vp->partition, root_partition));
        lp->last_partition = vp->partition;
    }
    assign_asid(lp, vp);
    fpu_load(lp, vp);
    if (svm_shared_msrs)
        load_msrs(vp);
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

struct vp *svm_next(struct lp *lp, struct vp *vp, bool blocked)
{
    do {
        if (vp)
            save(lp, vp);
        vp = lp_switch(lp, vp, blocked);
        blocked = false;
        if (!vp)
            return NULL;
        load(lp, vp);
    } while (!lp_begin_turn(lp, vp));
    svm_sync_out(vp);
    svm_load_guest(lp, vp);
    return vp;
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
    svm_sync_out(vp);
    svm_load_guest(lp, vp);
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
