// SPDX-License-Identifier: BSD-2-Clause-Patent
// Interrupts delivered by the processor (SDM 3C ch. "APIC Virtualization and Virtual Interrupts"):
// a child whose APIC is enabled in x2APIC mode has it on loan while it runs. EOI, TPR and self IPI
// then cost no exit, and what is pending needs no window. Everything else is as without: software
// chooses what it injects, marks that as in service, and lends what is left.
// What stays in software: xAPIC mode, a VP with an AutoEOI source, whose vector the processor would
// leave in service, and the root, whose EOIs the physical APIC has to learn of.
#include "corbel/exits_common.h"
#include "corbel/vapic_page.h"
#include "corbel/vp.h"
#include "vmx/vmx.h"

bool vmx_delivers(void)
{
    return vmx_controls.apicv;
}

static void write_eoi_exits(struct vmx_vp *x, const uint64_t wanted[VAPIC_WORDS])
{
    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        x->eoi_exits[w] = wanted[w];
        vmwrite(VMCS_EOI_EXIT0 + 2 * w, wanted[w]);
    }
}

// Level-triggered vectors, of which others are told, and those at whose EOI a message may follow
// (TLFS: SynIC message queueing).
static void update_eoi_exits(struct vp *vp)
{
    const struct synic *s = &vp->active->synic;
    uint32_t queued = atomic_load_explicit(&s->queued, memory_order_relaxed);
    struct vmx_vp *x = vmx_of(vp);
    uint64_t wanted[VAPIC_WORDS], changed = 0;

    vapic_levels(&vp->active->apic, wanted);
    for (; queued; queued &= queued - 1) {
        uint32_t vector = s->sint[__builtin_ctz(queued)] & HV_SINT_VECTOR_MASK;
        wanted[vector >> 6] |= UINT64_C(1) << (vector & 63);
    }
    for (uint32_t w = 0; w < VAPIC_WORDS; w++)
        changed |= wanted[w] ^ x->eoi_exits[w];
    if (changed)
        write_eoi_exits(x, wanted);
}

// What waits when the processor no longer delivers is looked at again as soon as it could come.
static void set_lending(struct vp *vp, bool on)
{
    struct vmx_vp *x = vmx_of(vp);

    if (!on)
        vmx_post_disable(vp);
    x->lending = on;
    vmcs_change(VMCS_CPU_CONTROLS2, VMX_CPU2_APICV, on);
    vmwrite(VMCS_MSR_BITMAP, vmx_msr_bitmap(vp, on));
    vp->windows = !on && vapic_any_pending(&vp->active->apic);
    vmx_interrupt_window(vp, vp->windows);
    if (!on)
        return;
    vapic_prepare_page(&vp->active->apic, x->virtual_apic);
    write_eoi_exits(x, x->eoi_exits);
    vmx_post_begin(this_lp(), vp);
}

void vmx_apic_lend(struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);
    struct vapic *a = &vp->active->apic;
    bool on = vapic_lendable(a);

    if (on != x->lending)
        set_lending(vp, on);
    if (!on)
        return;
    vmx_post_collect(vp);
    x->apic_status = vapic_lend(a, x->virtual_apic, x->apic_status);
    vmwrite(VMCS_INTERRUPT_STATUS, x->apic_status);
    update_eoi_exits(vp);
    x->lent = true;
}

void vmx_apic_take_back(struct vp *vp)
{
    struct vmx_vp *x = vmx_of(vp);
    uint16_t status = (uint16_t)vmread(VMCS_INTERRUPT_STATUS);

    vapic_take_back(&vp->active->apic, x->virtual_apic, x->apic_status, status);
    x->apic_status = status;
    x->lent = false;
    vmx_post_collect(vp);
}

// SDM 3C 30.1.4: behind the instruction, with the vector that has left the ISR.
void vmx_handle_eoi(struct vp *vp)
{
    struct vapic_action action;

    vapic_eoi_done(&vp->active->apic, (uint8_t)vmread(VMCS_QUALIFICATION), &action);
    vp_apic_action(vp, &action);
}

// A self IPI with a vector below 16 is all that the bitmap lets through and the processor does not
// do (SDM 3C 30.5); also behind the instruction. The value is in the page.
void vmx_handle_apic_write(struct vp *vp)
{
    uint32_t offset = (uint32_t)vmread(VMCS_QUALIFICATION) & (PAGE_SIZE - 1);
    const uint32_t *page = vmx_of(vp)->virtual_apic;
    struct vapic_action action;

    vapic_write_msr(&vp->active->apic, MSR_X2APIC_FIRST + (offset >> 4),
                    page[offset / sizeof(*page)], vp_tsc(vp), &action);
    vp_apic_action(vp, &action);
}
