// SPDX-License-Identifier: BSD-2-Clause-Patent
// What happens between an exit and the next entry: signals are turned into state, and one event is
// chosen for injection (SDM 3A 6.9 priorities; APM 2 8.5).
#include "corbel/exits_common.h"
#include "corbel/intercept.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/vpstart.h"
#include "hv/registers.h"

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

// A second exception while one is pending: #DF where SDM 3A table 6-5 says so, a triple fault after #DF;
// otherwise the first is raised again by its instruction.
void vp_inject_exception(struct vp *vp, uint32_t vector, bool has_error, uint32_t error,
                         uint64_t parameter)
{
    uint64_t pending = vp->pending_interruption;
    uint32_t type = pending >> HV_PENDING_INTERRUPTION_TYPE_SHIFT & 7;
    uint32_t first = pending >> HV_PENDING_INTERRUPTION_VECTOR_SHIFT & 0xffff;

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

static uint64_t event(uint32_t type, uint32_t vector)
{
    return HV_PENDING_INTERRUPTION_PENDING |
           (uint64_t)type << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
           (uint64_t)vector << HV_PENDING_INTERRUPTION_VECTOR_SHIFT;
}

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

static bool inject_nmi(struct vp *vp, bool shadow)
{
    if (!atomic_load_explicit(&vp->nmi_pending, memory_order_relaxed) || vp->nmi_masked || shadow)
        return false;
    if (nmi_behind_iret(vp))
        return false;
    atomic_store(&vp->nmi_pending, 0);
    vp->nmi_masked = true;
    vcpu->nmi_window(vp, true);
    vcpu->inject(vp, event(HV_INTERRUPTION_TYPE_NMI, EXC_NMI));
    return true;
}

// Lowest ExtINT vector that waits, or -1. The 8259 has chosen already; the order hardly matters.
static int extint_pending(const struct vp *vp)
{
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t bits = atomic_load_explicit(&vp->extint[i], memory_order_relaxed);
        if (bits)
            return (int)(i * 32 + (uint32_t)__builtin_ctz(bits));
    }
    return -1;
}

// Whether `vector` would be deliverable but for the task priority.
static bool masked_by_tpr(const struct vapic *a, uint32_t vector)
{
    for (int w = 3; w >= 0; w--)
        if (a->isr[w])
            return vector >> 4 > (uint32_t)(w * 64 + 63 - __builtin_clzl(a->isr[w])) >> 4;
    return true;
}

// Injects the best maskable interrupt if `open`, or asks for a window at the moment it could come.
// Returns whether something was injected for this entry.
static bool inject_maskable(struct vp *vp, bool open, bool injected)
{
    struct vapic *a = &vp->active->apic;
    int extint = vp->partition == root_partition ? extint_pending(vp) : -1;
    int vector = vapic_deliverable(a);

    if ((extint >= 0 || vector >= 0) && open && !injected) {
        if (extint >= 0) {
            atomic_fetch_and(&vp->extint[extint >> 5], ~(1u << (extint & 31)));
            vcpu->inject(vp, event(HV_INTERRUPTION_TYPE_INTERRUPT, (uint32_t)extint));
        } else {
            vapic_accept(a, (uint8_t)vector);
            vcpu->inject(vp, event(HV_INTERRUPTION_TYPE_INTERRUPT, (uint32_t)vector));
        }
        injected = true;
        vector = vapic_deliverable(a);
        extint = vp->partition == root_partition ? extint_pending(vp) : -1;
    }
    if (extint >= 0) {
        vcpu->interrupt_window(vp, PRIORITY_EXTINT);
    } else if (vector >= 0) {
        vcpu->interrupt_window(vp, (uint32_t)vector >> 4);
    } else { // perhaps held back by TPR alone
        int masked = vapic_highest_irr(a);
        bool by_tpr = masked >= 0 && masked_by_tpr(a, (uint32_t)masked);
        vcpu->interrupt_window(vp, 0);
        vcpu->tpr_window(vp, by_tpr ? (uint32_t)masked >> 4 : 0);
    }
    return injected;
}

// Chooses at most one event. Returns whether a halted VP has reason to go on.
static bool choose(struct vp *vp)
{
    bool shadow = vcpu->interrupt_shadow(vp), injected = false;
    bool open = (vp->rflags & RFLAGS_IF) && !shadow;

    if (vp->pending_interruption & HV_PENDING_INTERRUPTION_PENDING) {
        uint64_t pending = vp->pending_interruption;
        vp->pending_interruption = 0;
        vcpu->inject(vp, pending);
        injected = true;
    }
    if (!injected)
        injected = inject_nmi(vp, shadow);
    injected = inject_maskable(vp, open, injected);
    if (!injected && atomic_load_explicit(&vp->nmi_pending, memory_order_relaxed) &&
        shadow)
        atomic_fetch_or_explicit(&vp->work, VP_WORK_NMI, memory_order_relaxed);
    return injected;
}

// ---- signals ------------------------------------------------------------------------------------

static void expire_timers(struct vp *vp)
{
    struct vtl_context *c = vp->active;
    struct synic_signals signals;

    vapic_timer_expire(&c->apic, vp_tsc(vp));
    if (stimer_next(&c->stimers) != STIMER_NEVER) {
        stimer_expire(&c->stimers, partition_reference_time(vp->partition), &signals);
        vp_post_signals(vp, &signals);
    }
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

bool vp_prepare(struct vp *vp)
{
    const uint32_t halted = VP_SUSPEND_HALT;
    uint32_t work = atomic_exchange(&vp->work, 0), suspend = atomic_load(&vp->suspend);

    if (suspend & ~(uint32_t)(VP_SUSPEND_HALT | VP_SUSPEND_STARTUP)) {
        atomic_fetch_or(&vp->work, work & ~(uint32_t)VP_WORK_LEAVE);
        return false;
    }
    if (work & (VP_WORK_INIT | VP_WORK_START | VP_WORK_SIPI)) {
        start_signals(vp, work);
        suspend = atomic_load(&vp->suspend);
    }
    if (suspend & ~halted)
        return false;
    if (work & VP_WORK_TIMER)
        expire_timers(vp);
    if (work & VP_WORK_MESSAGE)
        pump_messages(vp);
    if (work & VP_WORK_FLUSH)
        vcpu->flush_guest(vp);
    if (work & VP_WORK_LEAVE) { // what to inject is chosen when it runs next
        atomic_fetch_or(&vp->work, VP_WORK_INTERRUPT);
        return false;
    }
    if (!choose(vp) && (suspend & halted))
        return false;
    if (suspend & halted)
        atomic_fetch_and(&vp->suspend, ~halted);
    return true;
}
