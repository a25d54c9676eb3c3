// SPDX-License-Identifier: BSD-2-Clause-Patent
// Why an entry was refused, in words (SDM 3C 27.2, 27.3, 31.4). The processor says only that one of
// some hundred checks has failed; the same checks made here say which. Pure, but for the reading.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vmx_segment {
    uint64_t base;
    uint32_t limit;
    uint32_t rights;
    uint16_t selector;
};

struct vp;

enum vmx_segment_index { VMX_ES, VMX_CS, VMX_SS, VMX_DS, VMX_FS, VMX_GS, VMX_LDTR, VMX_TR };

// What the checks of guest state look at.
struct vmx_guest_state {
    uint64_t cr0, cr3, cr4, efer, dr7, rip, rflags, pat;
    uint64_t sysenter_esp, sysenter_eip, pending_debug, link_pointer;
    struct vmx_segment segment[8];
    uint64_t gdtr_base, idtr_base;
    uint32_t gdtr_limit, idtr_limit;
    uint32_t interruptibility, activity;
    uint32_t entry_controls, entry_event;
    uint64_t cr0_must, cr0_may, cr4_must, cr4_may; // of an unrestricted guest
    uint64_t pdptes[4];
    uint32_t physical_bits, linear_bits;
};

// NULL, or the first rule that the state breaks: field and rule.
const char *vmx_guest_state_fault(const struct vmx_guest_state *s);

// From the VMCS that is open.
void vmx_read_guest_state(struct vmx_guest_state *s);

// Before an entry: a state that breaks a rule is named, the root's by a panic. What the parent of a
// child has set is refused by the processor, or should be. VMCS open.
void vmx_check_entry(const struct vp *vp);

// An exit reason (15:0), and a VM-instruction error number (SDM 3C 31.4).
const char *vmx_reason_text(uint32_t reason);
const char *vmx_error_text(uint32_t error);
