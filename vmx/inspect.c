// SPDX-License-Identifier: BSD-2-Clause-Patent
// The guest state as the checks of vmx/failure.c want it.
#include "corbel/cpufeatures.h"
#include "corbel/log.h"
#include "corbel/partition.h"
#include "vmx/failure.h"
#include "vmx/vmx.h"

static void read_segments(struct vmx_guest_state *s)
{
    for (unsigned i = 0; i < 8; i++)
        s->segment[i] = (struct vmx_segment){
            .base = vmread(VMCS_GUEST_ES_BASE + 2 * i),
            .limit = (uint32_t)vmread(VMCS_GUEST_ES_LIMIT + 2 * i),
            .rights = (uint32_t)vmread(VMCS_GUEST_ES_RIGHTS + 2 * i),
            .selector = (uint16_t)vmread(VMCS_GUEST_ES_SELECTOR + 2 * i),
        };
    s->gdtr_base = vmread(VMCS_GUEST_GDTR_BASE);
    s->idtr_base = vmread(VMCS_GUEST_IDTR_BASE);
    s->gdtr_limit = (uint32_t)vmread(VMCS_GUEST_GDTR_LIMIT);
    s->idtr_limit = (uint32_t)vmread(VMCS_GUEST_IDTR_LIMIT);
}

void vmx_read_guest_state(struct vmx_guest_state *s)
{
    *s = (struct vmx_guest_state){
        .cr0 = vmread(VMCS_GUEST_CR0),
        .cr3 = vmread(VMCS_GUEST_CR3),
        .cr4 = vmread(VMCS_GUEST_CR4),
        .efer = vmread(VMCS_GUEST_EFER),
        .dr7 = vmread(VMCS_GUEST_DR7),
        .rip = vmread(VMCS_GUEST_RIP),
        .rflags = vmread(VMCS_GUEST_RFLAGS),
        .pat = vmread(VMCS_GUEST_PAT),
        .sysenter_esp = vmread(VMCS_GUEST_SYSENTER_ESP),
        .sysenter_eip = vmread(VMCS_GUEST_SYSENTER_EIP),
        .pending_debug = vmread(VMCS_PENDING_DEBUG),
        .link_pointer = vmread(VMCS_LINK_POINTER),
        .interruptibility = (uint32_t)vmread(VMCS_INTERRUPTIBILITY),
        .activity = (uint32_t)vmread(VMCS_ACTIVITY),
        .entry_controls = (uint32_t)vmread(VMCS_ENTRY_CONTROLS),
        .entry_event = (uint32_t)vmread(VMCS_ENTRY_EVENT),
        .cr0_must = vmx_controls.cr0_must,
        .cr0_may = vmx_controls.cr0_may,
        .cr4_must = vmx_controls.cr4_must,
        .cr4_may = vmx_controls.cr4_may,
        .physical_bits = cpu_physical_bits(),
        .linear_bits = cpu_guest_cr4() & CR4_LA57 ? 57 : 48,
    };
    read_segments(s);
    for (unsigned i = 0; i < 4; i++)
        s->pdptes[i] = vmread(VMCS_GUEST_PDPTE0 + 2 * i);
}

void vmx_check_entry(const struct vp *vp)
{
    struct vmx_guest_state state;
    const char *fault;

    vmx_read_guest_state(&state);
    fault = vmx_guest_state_fault(&state);
    if (fault && vp->partition == root_partition)
        panic("entry of root VP %u: %s", vp->index, fault);
    if (fault)
        hv_log("entry of VP %u: %s", vp->index, fault);
}
