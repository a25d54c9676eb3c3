// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a virtual APIC access asks the rest of the world to do.
#include "corbel/intercept.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/vpstart.h"
#include "hv/msr.h"

static void deliver(struct vp *target, const struct vapic_ipi *ipi)
{
    switch (ipi->mode) {
    case VAPIC_FIXED:
        if (vapic_accepts(&target->active->apic))
            vp_post_interrupt(target, ipi->vector, false);
        break;
    case VAPIC_NMI:
        vp_send_nmi(target);
        break;
    case VAPIC_INIT:
        vp_signal(target, VP_WORK_INIT);
        break;
    case VAPIC_SIPI:
        target->sipi_vector = ipi->vector;
        vp_signal(target, VP_WORK_SIPI);
        break;
    default: // SMIs between VPs: no VP has an SMM of its own
        break;
    }
}

static bool matches(const struct vp *source, const struct vp *target, const struct vapic_ipi *ipi)
{
    switch (ipi->shorthand) {
    case VAPIC_DEST_SELF:
        return target == source;
    case VAPIC_DEST_ALL:
        return true;
    case VAPIC_DEST_OTHERS:
        return target != source;
    default:
        return vapic_match(&target->active->apic, ipi->dest, ipi->logical);
    }
}

void vp_send_ipi(struct vp *source, const struct vapic_ipi *ipi)
{
    struct partition *p = source->partition;
    struct vp *best = NULL;
    struct vapic_ipi fixed = *ipi;

    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *target = p->vps[i];
        if (!target || !matches(source, target, ipi))
            continue;
        if (ipi->mode != VAPIC_LOWEST)
            deliver(target, ipi);
        else if (!best || vapic_lower_priority(&target->active->apic, &best->active->apic))
            best = target;
    }
    if (best) {
        fixed.mode = VAPIC_FIXED;
        deliver(best, &fixed);
    }
}

static void eoi(struct vp *vp, const struct vapic_action *action)
{
    struct partition *p = vp->partition;

    if (synic_rescan_needed(&vp->active->synic, action->eoi_vector))
        atomic_fetch_or_explicit(&vp->work, VP_WORK_MESSAGE, memory_order_relaxed);
    if (p == root_partition)
        lp_root_eoi(this_lp(), action->eoi_vector);
    else if ((action->flags & VAPIC_ACT_EOI_LEVEL) && p->intercepts.apic_eoi)
        intercept_apic_eoi(vp, action->eoi_vector);
}

static inline bool may_write(const struct vp *vp, uint32_t msr, uint64_t value)
{
    const struct vapic *a = &vp->active->apic;

    if (msr == HV_X64_MSR_EOI)
        return (vp->partition->privileges & HV_PRIV_ACCESS_INTR_CTRL_REGS) &&
               (a->base & VAPIC_BASE_ENABLE);
    return (a->base & VAPIC_BASE_X2APIC) && !value;
}

bool vp_eoi_at_once(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct vtl_context *c = vp->active;
    int vector;

    if (!may_write(vp, msr, value) || vp->partition == root_partition)
        return false;
    vector = vapic_eoi_at_once(&c->apic);
    if (vector < 0)
        return false;
    if (synic_rescan_needed(&c->synic, (uint8_t)vector))
        atomic_fetch_or_explicit(&vp->work, VP_WORK_MESSAGE, memory_order_relaxed);
    return true;
}

void vp_apic_action(struct vp *vp, const struct vapic_action *action)
{
    uint32_t flags = action->flags;

    if (flags & VAPIC_ACT_EOI)
        eoi(vp, action);
    if (flags & VAPIC_ACT_TPR)
        vcpu->set_tpr(vp, atomic_load_explicit(&vp->active->apic.tpr, memory_order_relaxed));
    if (flags & (VAPIC_ACT_PENDING | VAPIC_ACT_TPR))
        atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
    if (flags & VAPIC_ACT_TIMER)
        vp_update_timer(vp);
    if (flags & VAPIC_ACT_IPI)
        vp_send_ipi(vp, &action->ipi);
    if ((flags & (VAPIC_ACT_MIRROR | VAPIC_ACT_MODE)) && vp->partition == root_partition)
        lapic_mirror(this_lp(), vp, action);
}
