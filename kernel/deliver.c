// SPDX-License-Identifier: BSD-2-Clause-Patent
// What happens between an exit and the next entry: signals are turned into state, and one event is
// chosen for injection (SDM 3A 6.9 priorities; APM 2 8.5).
#include "corbel/exits_common.h"
#include "corbel/intercept.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/monitor.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/vpstart.h"
#include "hv/assist.h"
#include "hv/registers.h"
#include "hv/synic.h"

#define PRIORITY_EXTINT 15u

// ---- exceptions ---------------------------------------------------------------------------------

static bool contributory(uint32_t vector)
{
    return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

static void triple_fault(struct vp *vp)
{
    vp->pending_interruption = 0;
    exit_shutdown(vp);
}

// One that the parent intercepts is the parent's, as if the processor had raised it.
// A second exception while one is pending: #DF where SDM 3A table 6-5 says so, a triple fault after
// #DF; otherwise the first is raised again by its instruction.
void vp_inject_exception(struct vp *vp, uint32_t vector, bool has_error, uint32_t error,
                         uint64_t parameter)
{
    uint64_t pending = vp->pending_interruption;
    uint32_t type = pending >> HV_PENDING_INTERRUPTION_TYPE_SHIFT & 7;
    uint32_t first = pending >> HV_PENDING_INTERRUPTION_VECTOR_SHIFT & 0xffff;

    if (vp->partition->intercepts.exceptions >> vector & 1) {
        intercept_exception(vp, vector, has_error ? HV_EXCEPTION_INFO_ERROR_CODE_VALID : 0, error,
                            parameter);
        return;
    }
    if ((pending & HV_PENDING_INTERRUPTION_PENDING) && type == HV_INTERRUPTION_TYPE_EXCEPTION) {
        if (first == EXC_DF) {
            triple_fault(vp);
            return;
        }
        if ((contributory(first) && contributory(vector)) ||
            (first == EXC_PF && (contributory(vector) || vector == EXC_PF))) {
            vector = EXC_DF;
            has_error = true;
            error = 0;
        }
    }
    vp->pending_interruption =
        HV_PENDING_INTERRUPTION_PENDING |
        (uint64_t)HV_INTERRUPTION_TYPE_EXCEPTION << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
        (uint64_t)vector << HV_PENDING_INTERRUPTION_VECTOR_SHIFT |
        (has_error ? HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE |
                         (uint64_t)error << HV_PENDING_INTERRUPTION_ERROR_CODE_SHIFT
                   : 0);
    vp->exception_parameter = parameter;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

// ---- choosing -----------------------------------------------------------------------------------

bool vp_step_done(struct vp *vp)
{
    if (vp->rip == vp->nmi_iret_rip)
        return false;
    vp->nmi_step = false;
    vcpu->set_exception_intercepts(vp, vp_exception_intercepts(vp));
    atomic_fetch_or_explicit(&vp->work, VP_WORK_NMI, memory_order_relaxed);
    return true;
}

// An NMI may not come between an NMI handler's IRET being seen and its execution: single-step it.
static bool nmi_behind_iret(struct vp *vp)
{
    if (!vp->nmi_step)
        return false;
    if (vp->rip != vp->nmi_iret_rip) {
        vp->nmi_step = false;
        return false;
    }
    vp->rflags |= RFLAGS_TF;
    vcpu->set_exception_intercepts(vp, vp_exception_intercepts(vp) | 1u << EXC_DB);
    return true;
}

// Until the handler's IRET no other may come.
static void deliver_nmi(struct vp *vp)
{
    vp->nmi_masked = true;
    vcpu->nmi_window(vp, true);
    vcpu->inject(vp, HV_PENDING_INTERRUPTION_PENDING |
                         EXC_NMI << HV_PENDING_INTERRUPTION_VECTOR_SHIFT |
                         HV_INTERRUPTION_TYPE_NMI << HV_PENDING_INTERRUPTION_TYPE_SHIFT);
}

static bool inject_nmi(struct vp *vp, bool shadow)
{
    if (!atomic_load_explicit(&vp->nmi_pending, memory_order_relaxed) || vp->nmi_masked || shadow)
        return false;
    if (nmi_behind_iret(vp))
        return false;
    atomic_store(&vp->nmi_pending, 0);
    deliver_nmi(vp);
    return true;
}

// Lowest ExtINT vector that waits, or -1. The 8259 has chosen already; the order hardly matters.
static inline int extint_pending(const struct vp *vp)
{
    uint32_t any = atomic_load_explicit(&vp->extint_any, memory_order_relaxed);

    if (__builtin_expect(!any, 1))
        return -1;
    uint32_t word = (uint32_t)__builtin_ctz(any);
    return (int)(word * 32 + (uint32_t)__builtin_ctz(atomic_load(&vp->extint[word])));
}

static void extint_taken(struct vp *vp, uint32_t vector)
{
    uint32_t bit = 1u << (vector & 31);

    if (atomic_fetch_and(&vp->extint[vector >> 5], ~bit) == bit)
        atomic_fetch_and(&vp->extint_any, ~(1u << (vector >> 5)));
}

// Whether `vector` would be deliverable but for the task priority.
static bool masked_by_tpr(const struct vapic *a, uint32_t vector)
{
    for (int w = 3; w >= 0; w--)
        if (a->isr[w])
            return vector >> 4 > (uint32_t)(w * 64 + 63 - __builtin_clzl(a->isr[w])) >> 4;
    return true;
}

// Tells the backend what to wait for: that an interrupt of this class (15: ExtINT) can come, or
// that the TPR falls. Both zero is by far the most frequent, and then there is usually nothing to
// undo.
static void set_windows(struct vp *vp, uint32_t priority, uint32_t tpr)
{
    uint32_t wanted = priority | tpr << 8;

    if (vp->windows == wanted)
        return;
    vp->windows = wanted;
    vcpu->interrupt_window(vp, priority);
    if (!priority)
        vcpu->tpr_window(vp, tpr);
}

// Takes the best maskable interrupt for injection, -1: none.
static int take_maskable(struct vp *vp, int extint, int vector)
{
    if (extint >= 0) {
        extint_taken(vp, (uint32_t)extint);
        return extint;
    }
    if (vector >= 0)
        vapic_accept(&vp->active->apic, (uint8_t)vector);
    return vector;
}

// Injects the best maskable interrupt if `open`, and asks for a window where something is left.
// Returns whether something was injected for this entry.
static bool inject_maskable(struct vp *vp, bool open, bool injected)
{
    struct vapic *a = &vp->active->apic;
    int extint = extint_pending(vp), vector = vapic_deliverable(a);
    struct lp *lp = this_lp();
    bool held = lp->extint_held && vp == lp->root_vp;

    if (open && !injected && (extint >= 0 || vector >= 0)) {
        uint32_t taken = (uint32_t)take_maskable(vp, extint, vector);
        set_windows(vp, 0, 0);
        vcpu->raise(vp, taken);
        injected = true;
        if (!vp_event_pending(vp, lp))
            return true;
        extint = extint_pending(vp);
        vector = vapic_deliverable(a);
    }
    if (held && open && !injected && extint < 0) {
        lapic_release_extint(lp);
        held = false;
    }
    if (extint >= 0 || held) {
        set_windows(vp, PRIORITY_EXTINT, 0);
    } else if (vector >= 0) {
        set_windows(vp, (uint32_t)vector >> 4, 0);
    } else if (a->irr[0] | a->irr[1] | a->irr[2] | a->irr[3]) { // perhaps held back by TPR alone
        int masked = vapic_highest_irr(a);
        set_windows(vp, 0, masked_by_tpr(a, (uint32_t)masked) ? (uint32_t)masked >> 4 : 0);
    } else {
        set_windows(vp, 0, 0);
    }
    return injected;
}

// What was interrupted in its delivery, or what the parent asks for.
static void inject_pending(struct vp *vp)
{
    uint64_t pending = vp->pending_interruption;

    vp->pending_interruption = 0;
    set_windows(vp, 0, 0);
    if ((pending >> HV_PENDING_INTERRUPTION_TYPE_SHIFT & 7) == HV_INTERRUPTION_TYPE_NMI)
        deliver_nmi(vp);
    else
        vcpu->inject(vp, pending);
}

// Chooses at most one event. Returns whether a halted VP has reason to go on.
static bool choose(struct vp *vp)
{
    if (!vp_event_pending(vp, this_lp())) {
        set_windows(vp, 0, 0);
        return false;
    }
    bool shadow = vp->shadow, injected = false;
    bool open = (vp->rflags & RFLAGS_IF) && !shadow;

    if (vp->pending_interruption & HV_PENDING_INTERRUPTION_PENDING) {
        inject_pending(vp);
        injected = true;
    }
    if (!injected)
        injected = inject_nmi(vp, shadow);
    injected = inject_maskable(vp, open, injected);
    if (!injected && atomic_load_explicit(&vp->nmi_pending, memory_order_relaxed) && shadow)
        atomic_fetch_or_explicit(&vp->work, VP_WORK_NMI, memory_order_relaxed);
    return injected;
}

// ---- EOI assist ---------------------------------------------------------------------------------

// What waits behind a vector may be looked at again only when the guest does its EOI.
static inline bool extint_waits(const struct vp *vp, const struct lp *lp)
{
    return atomic_load_explicit(&vp->extint_any, memory_order_relaxed) ||
           (lp->extint_held && vp == lp->root_vp);
}

// With the injection of `vector` the guest is spared the exit of its EOI, unless something else is
// pending or a message waits for that EOI (TLFS: EOI Assist). The outer one of two nested vectors
// is not spared.
static inline void spare_eoi(struct vp *vp, uint32_t vector)
{
    struct vtl_context *c = vp->active;

    if (vapic_skippable_eoi(&c->apic, vector) && !extint_waits(vp, this_lp()) &&
        !synic_rescan_needed(&c->synic, (uint8_t)vector))
        vapic_spare_eoi(&c->apic, vector);
    else
        vapic_demand_eoi(&c->apic);
}

// The same after the slower choice. Without an injection only what was granted can be taken back.
static void review_eoi(struct vp *vp, bool injected)
{
    struct vapic *a = &vp->active->apic;
    int vector;

    if (!a->assist || !(injected || a->spared))
        return;
    vector = vapic_in_service(a);
    if (vector >= 0)
        spare_eoi(vp, (uint32_t)vector);
}

// ---- signals ------------------------------------------------------------------------------------

// TLFS: Synthetic Time-Unhalted Timer MSRs.
static void expire_unhalted(struct vp *vp)
{
    struct hv_vp_assist_page *assist = vp->active->assist.page;
    uint32_t vector = (uint32_t)(vp->unhalted.config & HV_STIME_UNHALTED_VECTOR_MASK);

    if (!unhalted_expire(&vp->unhalted, vp_runtime(vp)))
        return;
    if (vp->active->assist.value & HV_PAGE_MSR_ENABLE)
        assist->synthetic_time_unhalted_timer_expired = 1;
    if (vector == EXC_NMI)
        vp_send_nmi(vp);
    else if (vector >= HV_SYNIC_FIRST_VALID_VECTOR)
        vp_post_interrupt(vp, vector, false);
}

static void expire_timers(struct vp *vp)
{
    struct vtl_context *c = vp->active;
    struct synic_signals signals;

    if (vapic_timer_runs(&c->apic))
        vapic_timer_expire(&c->apic, vp_tsc(vp));
    if (stimer_next(&c->stimers) != STIMER_NEVER) {
        stimer_expire(&c->stimers, partition_reference_time(vp->partition), &signals);
        vp_post_signals(vp, &signals);
    }
    if (unhalted_next(&vp->unhalted) != UNHALTED_NEVER)
        expire_unhalted(vp);
    if (vp->monitors)
        monitors_poll(vp->partition);
    vp_update_timer(vp);
}

static void pump_messages(struct vp *vp)
{
    struct synic_signals signals;

    synic_pump(&vp->active->synic, partition_reference_time(vp->partition), &signals);
    vp_post_signals(vp, &signals);
    intercept_send_eois(vp);
}

static void start_signals(struct vp *vp, uint32_t work)
{
    if (work & VP_WORK_INIT)
        vp_init_signal(vp);
    if (work & VP_WORK_START)
        vp_start_signal(vp);
    if ((work & VP_WORK_SIPI) && (atomic_load(&vp->suspend) & VP_SUSPEND_STARTUP))
        vp_sipi_signal(vp);
}

static __attribute__((noinline)) bool serve(struct vp *vp, uint32_t work, uint32_t suspend)
{
    bool injected;

    if (__builtin_expect(suspend & VP_SUSPEND_DISPATCH, 0)) {
        if (!dispatch_prepare(vp, work))
            return false;
        suspend = atomic_load(&vp->suspend);
    }
    if (work & VP_WORK_UNHALTED)
        atomic_fetch_or(&vp->work, VP_WORK_UNHALTED);
    if (work & (VP_WORK_INIT | VP_WORK_START | VP_WORK_SIPI)) {
        start_signals(vp, work);
        suspend = atomic_load(&vp->suspend);
    }
    if (suspend & ~VP_SUSPEND_WAITS)
        return false;
    if (work & VP_WORK_TIMER)
        expire_timers(vp);
    if (work & VP_WORK_MESSAGE)
        pump_messages(vp);
    if (work & VP_WORK_FLUSH_PAGES)
        vp_flush_serve(vp, work);
    else if (work & VP_WORK_FLUSH)
        vcpu->flush_guest(vp);
    if (work & VP_WORK_LEAVE) { // what to inject is chosen when it runs next
        atomic_fetch_or(&vp->work, VP_WORK_INTERRUPT);
        return false;
    }
    injected = choose(vp);
    review_eoi(vp, injected);
    if (suspend && !injected && !((suspend & VP_SUSPEND_IDLE) && vp_event_pending(vp, this_lp())))
        return false;
    if (suspend)
        atomic_fetch_and(&vp->suspend, ~VP_SUSPEND_WAITS);
    if (work & VP_WORK_UNHALTED) {
        atomic_fetch_and(&vp->work, ~(uint32_t)VP_WORK_UNHALTED);
        vp_update_timer(vp);
    }
    return true;
}

// Whether a maskable interrupt would be taken by the next entry, with nothing before it.
static inline bool takes_interrupt(const struct lp *lp, const struct vp *vp)
{
    return !(vp->pending_interruption & HV_PENDING_INTERRUPTION_PENDING) && !vp->shadow &&
           (vp->rflags & RFLAGS_IF) &&
           !atomic_load_explicit(&vp->nmi_pending, memory_order_relaxed) &&
           !atomic_load_explicit(&vp->extint_any, memory_order_relaxed) &&
           !(lp->extint_held && vp == lp->root_vp);
}

// One posted vector and nothing else, as when a device or a message ends a halt.
static bool inject_posted(struct vp *vp)
{
    int vector = takes_interrupt(this_lp(), vp) ? vapic_take_posted(&vp->active->apic) : -1;

    if (vector < 0)
        return false;
    set_windows(vp, 0, 0);
    vcpu->raise(vp, (uint32_t)vector);
    if (vp->active->apic.assist)
        spare_eoi(vp, (uint32_t)vector);
    return true;
}

inline bool vp_take_at_once(struct lp *lp, struct vp *vp, uint8_t vector)
{
    const uint32_t stale = VP_WORK_RELOAD | VP_WORK_LEAVE;
    uint32_t work = atomic_load(&vp->work), suspend = atomic_load(&vp->suspend);

    if ((suspend & ~(uint32_t)VP_SUSPEND_HALT) || (work & ~stale) || !takes_interrupt(lp, vp) ||
        !vapic_accept_at_once(&vp->active->apic, vector))
        return false;
    if (work)
        atomic_fetch_and(&vp->work, ~stale);
    set_windows(vp, 0, 0);
    vcpu->raise(vp, vector);
    if (vp->active->apic.assist)
        spare_eoi(vp, vector);
    if (suspend)
        atomic_fetch_and(&vp->suspend, ~(uint32_t)VP_SUSPEND_HALT);
    return true;
}

bool vp_prepare(struct vp *vp)
{
    uint32_t suspend = atomic_load(&vp->suspend), work;

    if (suspend & ~VP_SUSPEND_SIGNALED)
        return false;
    work = atomic_exchange(&vp->work, 0) & ~(uint32_t)VP_WORK_RELOAD;
    if (!(work | suspend))
        return true;
    if (work != VP_WORK_INTERRUPT || (suspend & (VP_SUSPEND_STARTUP | VP_SUSPEND_DISPATCH)) ||
        !inject_posted(vp))
        return serve(vp, work, suspend);
    if (suspend)
        atomic_fetch_and(&vp->suspend, ~VP_SUSPEND_WAITS);
    return true;
}
