// SPDX-License-Identifier: BSD-2-Clause-Patent
// Posted interrupts (SDM 3C 30.6): what is sent to a VP that runs on another LP, with its APIC on
// loan, goes into its descriptor, and a notification has the processor there deliver it without an
// exit. While the hypervisor has that LP the notification stays pending, or it is taken by a window
// and does nothing: the descriptor is looked at before each entry.
// Posted interrupts want external interrupts acknowledged by the exit. An 8259's must not be, while
// its root VP could not take it (lapic_hold_extint): an LP that gets those does without.
#include "corbel/exits_common.h"
#include "corbel/interrupts.h"
#include "corbel/phys.h"
#include "corbel/vapic_page.h"
#include "corbel/vp.h"
#include "vmx/vmx.h"

#define OUTSTANDING 1u

static void set_controls(struct vmx_vp *x, bool on)
{
    if (on == x->posts)
        return;
    x->posts = on;
    vmcs_change(VMCS_PIN_CONTROLS, VMX_PIN_POSTED, on);
    vmcs_change(VMCS_EXIT_CONTROLS, VMX_EXIT_ACKNOWLEDGE, on);
    if (!on)
        return;
    vmwrite(VMCS_POSTED_VECTOR, LP_VECTOR_POSTED);
    vmwrite(VMCS_POSTED_DESCRIPTOR, virt_to_phys(&x->posted));
}

void vmx_post_begin(struct lp *lp, struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);
    bool on = vmx_controls.posted && !vapic_accepts_extint(&lp->root_vp->active->apic);

    set_controls(x, on);
    if (on)
        atomic_store(&x->posting, lp->index + 1);
}

static void collect(struct vp *vp)
{
    struct vmx_posted *posted = &vmx_of(vp)->posted;
    uint64_t vectors[VAPIC_WORDS];

    atomic_store(&posted->outstanding, 0);
    for (uint32_t w = 0; w < VAPIC_WORDS; w++)
        vectors[w] = atomic_exchange(&posted->vectors[w], 0);
    vapic_take_edges(&vp->active->apic, vectors);
}

// A vector whose notification has been sent may still be in the descriptor.
void vmx_post_collect(struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);

    if (x->posts && atomic_load(&x->posted.outstanding))
        collect(vp);
}

// Nobody begins to post once `posting` is clear; whoever has begun is waited for, for some stores
// and an IPI.
void vmx_post_end(struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);

    if (!atomic_load_explicit(&x->posting, memory_order_relaxed))
        return;
    atomic_store(&x->posting, 0);
    while (atomic_load(&x->posters))
        cpu_relax();
    if (!atomic_load(&x->posted.outstanding))
        return;
    collect(vp);
    atomic_fetch_or(&vp->work, VP_WORK_INTERRUPT);
}

void vmx_post_disable(struct vp *vp)
{
    vmx_post_end(vp);
    set_controls(vmx_of(vp), false);
}

static bool post(struct vp *vp, struct vmx_vp *x, uint32_t lp)
{
    uint64_t vectors[VAPIC_WORDS], any = 0;
    bool all = vapic_withdraw(&vp->active->apic, vectors);

    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        any |= vectors[w];
        if (vectors[w])
            atomic_fetch_or(&x->posted.vectors[w], vectors[w]);
    }
    if (any && !(atomic_fetch_or(&x->posted.outstanding, OUTSTANDING) & OUTSTANDING))
        lapic_send_posted(lp_of(lp));
    return all;
}

bool vmx_notify(struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);
    bool all = false;
    uint32_t lp;

    if (!x->apicv)
        return false;
    atomic_fetch_add(&x->posters, 1);
    lp = atomic_load(&x->posting);
    if (lp)
        all = post(vp, x, lp - 1);
    atomic_fetch_sub(&x->posters, 1);
    return all;
}
