// SPDX-License-Identifier: BSD-2-Clause-Patent
// Event injection and windows (SDM 3C 25.8.3, 27.6, 28.2.4). The types of HV_INTERRUPTION_TYPE_*
// are those of the VMCS.
#include "hv/message.h"
#include "hv/registers.h"
#include "vmx/failure.h"
#include "vmx/vmx.h"

// To the VMCS; what the entry checks of a shadow (SDM 3C 27.3.1.5) is made to hold.
void vmx_sync_out(struct vp *vp)
{
    uint64_t old = vmread(VMCS_INTERRUPTIBILITY), now = old & ~(uint64_t)VMX_BLOCKED_SHADOW;

    vmwrite(VMCS_GUEST_RSP, vp->gpr[RSP]);
    vmwrite(VMCS_GUEST_RIP, vp->rip);
    vmwrite(VMCS_GUEST_RFLAGS, vp->rflags);
    if (vp->shadow)
        now |= vp->shadow == VMX_BLOCKED_STI && (vp->rflags & RFLAGS_IF) ? VMX_BLOCKED_STI
                                                                         : VMX_BLOCKED_MOV_SS;
    if (now != old) {
        vmwrite(VMCS_INTERRUPTIBILITY, now);
        vmcs_change(VMCS_PENDING_DEBUG, VMX_PENDING_STEP, false);
    }
    if (vp->shadow)
        vmcs_change(VMCS_PENDING_DEBUG, VMX_PENDING_STEP, vp->rflags & RFLAGS_TF);
    if (__builtin_expect(vmx_of(vp)->pdptes_old, 0) && vmx_is_loaded(vp))
        vmx_load_pdptes(vp);
    if (vmx_of(vp)->apicv && vmx_is_loaded(vp))
        vmx_apic_lend(vp);
    if (VMX_CHECK_ENTRIES && vmx_is_loaded(vp))
        vmx_check_entry(vp);
}

// The exit came while an event was being delivered: deliver it again, once (SDM 3C 28.2.4).
void vmx_requeue_event(struct vp *vp, uint32_t event)
{
    uint32_t vector = event & VMX_EVENT_VECTOR;
    uint32_t type = (event & VMX_EVENT_TYPE_MASK) >> VMX_EVENT_TYPE_SHIFT;
    uint64_t pending = HV_PENDING_INTERRUPTION_PENDING |
                       (uint64_t)type << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
                       (uint64_t)vector << HV_PENDING_INTERRUPTION_VECTOR_SHIFT;

    if (type >= HV_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT)
        pending |= vmread(VMCS_EXIT_LENGTH) << HV_PENDING_INTERRUPTION_LENGTH_SHIFT &
                   HV_PENDING_INTERRUPTION_LENGTH_MASK;
    if (event & VMX_EVENT_ERROR_VALID)
        pending |= HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE |
                   vmread(VMCS_VECTORING_ERROR) << HV_PENDING_INTERRUPTION_ERROR_CODE_SHIFT;
    vp->pending_interruption = pending;
    vp->exception_parameter = vector == EXC_DB ? read_dr6() : read_cr2();
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

void vmx_inject(struct vp *vp, uint64_t event)
{
    uint32_t type = event >> HV_PENDING_INTERRUPTION_TYPE_SHIFT & 7;
    uint32_t vector = event >> HV_PENDING_INTERRUPTION_VECTOR_SHIFT & VMX_EVENT_VECTOR;
    uint64_t inject = VMX_EVENT_VALID | type << VMX_EVENT_TYPE_SHIFT | vector;

    // In real mode no exception pushes an error code, and the entry would be refused.
    if ((event & HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE) && (vmread(VMCS_GUEST_CR0) & CR0_PE)) {
        inject |= VMX_EVENT_ERROR_VALID;
        vmwrite(VMCS_ENTRY_ERROR, event >> HV_PENDING_INTERRUPTION_ERROR_CODE_SHIFT);
    }
    if (type == HV_INTERRUPTION_TYPE_EXCEPTION && vector == EXC_PF)
        write_cr2(vp->exception_parameter);
    if (type == HV_INTERRUPTION_TYPE_EXCEPTION && vector == EXC_DB)
        write_dr6(vp->exception_parameter);
    if (type == HV_INTERRUPTION_TYPE_NMI) // the delivery blocks the next one by itself
        vmcs_change(VMCS_INTERRUPTIBILITY, VMX_BLOCKED_NMI, false);
    if (type >= HV_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT)
        vmwrite(VMCS_ENTRY_LENGTH, event >> HV_PENDING_INTERRUPTION_LENGTH_SHIFT & 15);
    vmwrite(VMCS_ENTRY_EVENT, inject);
    vp->counters[VP_COUNTER_INJECTED]++;
}

void vmx_raise(struct vp *vp, uint32_t vector)
{
    vmwrite(VMCS_ENTRY_EVENT, VMX_EVENT_VALID | vector);
    vp->counters[VP_COUNTER_INJECTED]++;
}

// Whatever the priority: the exit comes when RFLAGS.IF and shadow allow, and vp_prepare() looks at
// the rest. An APIC that is on loan needs no window.
void vmx_interrupt_window(struct vp *vp, uint32_t priority)
{
    struct vp *was = vmx_open(vp);

    priority = vmx_of(vp)->lending ? 0 : priority;
    vmcs_change(VMCS_CPU_CONTROLS, VMX_CPU_INTERRUPT_WINDOW, priority != 0);
    if (vmx_controls.tpr_shadow)
        vmwrite(VMCS_TPR_THRESHOLD, 0);
    vmx_close(vp, was);
}

// Called where the TPR holds the interrupt back, so the threshold is not above it (SDM
// 3C 27.2.1.1). Without a TPR shadow every write of CR8 exits.
void vmx_tpr_window(struct vp *vp, uint32_t priority)
{
    struct vp *was = vmx_open(vp);

    if (vmx_controls.tpr_shadow && !vmx_of(vp)->lending)
        vmwrite(VMCS_TPR_THRESHOLD, priority <= vmx_tpr(vp) >> 4 ? priority : 0);
    vmx_close(vp, was);
}

// Virtual NMIs: the processor keeps the block from delivery to IRET, and the window opens behind
// the IRET.
void vmx_nmi_window(struct vp *vp, bool wanted)
{
    struct vp *was = vmx_open(vp);

    vmcs_change(VMCS_CPU_CONTROLS, VMX_CPU_NMI_WINDOW, wanted);
    vmcs_change(VMCS_INTERRUPTIBILITY, VMX_BLOCKED_NMI, wanted);
    vmx_close(vp, was);
}

void vmx_set_tpr(struct vp *vp, uint8_t tpr)
{
    struct vp *was;

    ((uint8_t *)vmx_of(vp)->virtual_apic)[VAPIC_TPR] = tpr;
    if (!vmx_controls.tpr_shadow)
        return;
    was = vmx_open(vp);
    if (vmread(VMCS_TPR_THRESHOLD) > tpr >> 4) { // what it was for is looked at before the entry
        vmwrite(VMCS_TPR_THRESHOLD, 0);
        vp->windows = 0;
        atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
    }
    vmx_close(vp, was);
}

void vmx_set_tsc_offset(struct vp *vp)
{
    struct vp *was = vmx_open(vp);

    vmwrite(VMCS_TSC_OFFSET, vp->partition->tsc_offset);
    vmx_close(vp, was);
}

void vmx_set_exception_intercepts(struct vp *vp, uint32_t vectors)
{
    struct vp *was = vmx_open(vp);

    vmwrite(VMCS_EXCEPTION_BITMAP, vectors);
    vmx_close(vp, was);
}
