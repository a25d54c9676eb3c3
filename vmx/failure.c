// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "vmx/failure.h"

#include <stddef.h>

#include "corbel/x86.h"
#include "vmx/vmcs.h"

enum { // of access rights
    TYPE_MASK = 0xf,
    TYPE_ACCESSED = 1,
    TYPE_READ = 2,
    TYPE_CODE = 8,
    NOT_SYSTEM = 1u << 4,
    DPL_SHIFT = 5,
    PRESENT = 1u << 7,
    LONG = 1u << 13,
    DEFAULT = 1u << 14,
    GRANULAR = 1u << 15,
    RIGHTS_RESERVED = 0xfffe0f00
};

// ---- texts --------------------------------------------------------------------------------------

const char *vmx_reason_text(uint32_t reason)
{
    static const char *const text[] = {
        [VMX_EXIT_TASK_SWITCH] = "task switch",
        [VMX_EXIT_BAD_STATE] = "entry refused: guest state",
        [VMX_EXIT_BAD_MSR] = "entry refused: MSR load",
        [VMX_EXIT_MACHINE_CHECK] = "machine check during entry",
        [VMX_EXIT_EPT_MISCONFIGURED] = "EPT misconfiguration",
    };

    reason &= VMX_EXIT_REASON_MASK;
    return reason < sizeof(text) / sizeof(text[0]) && text[reason] ? text[reason] : "unexpected";
}

const char *vmx_error_text(uint32_t error)
{
    static const char *const text[] = {
        [1] = "VMCALL in VMX root operation",
        [2] = "VMCLEAR with an invalid address",
        [3] = "VMCLEAR with the VMXON pointer",
        [4] = "VMLAUNCH with a VMCS that is not clear",
        [5] = "VMRESUME with a VMCS that is not launched",
        [6] = "VMRESUME after VMXOFF",
        [7] = "invalid control fields",
        [8] = "invalid host-state fields",
        [9] = "VMPTRLD with an invalid address",
        [10] = "VMPTRLD with the VMXON pointer",
        [11] = "VMPTRLD with a wrong revision",
        [12] = "unsupported VMCS component",
        [13] = "VMWRITE to a read-only component",
        [15] = "VMXON in VMX root operation",
        [26] = "entry while events are blocked by MOV SS",
        [28] = "invalid operand of INVEPT or INVVPID",
    };

    return error < sizeof(text) / sizeof(text[0]) && text[error] ? text[error] : "unknown";
}

// ---- the checks, in the order of SDM 3C 27.3.1 --------------------------------------------------

static bool canonical(const struct vmx_guest_state *s, uint64_t va)
{
    unsigned shift = 64 - s->linear_bits;
    return (uint64_t)((int64_t)(va << shift) >> shift) == va;
}

static bool beyond_physical(const struct vmx_guest_state *s, uint64_t pa)
{
    return pa >> s->physical_bits != 0;
}

static bool is_long(const struct vmx_guest_state *s)
{
    return s->entry_controls & VMX_ENTRY_LONG_MODE;
}

static const char *check_control(const struct vmx_guest_state *s)
{
    bool paging = s->cr0 & CR0_PG;

    if ((s->cr0 & s->cr0_must) != s->cr0_must || (s->cr0 & ~s->cr0_may))
        return "CR0: a fixed bit";
    if (paging && !(s->cr0 & CR0_PE))
        return "CR0: PG without PE";
    if ((s->cr4 & s->cr4_must) != s->cr4_must || (s->cr4 & ~s->cr4_may))
        return "CR4: a fixed bit";
    if (is_long(s) && (!paging || !(s->cr4 & CR4_PAE)))
        return "long mode without CR0.PG or CR4.PAE";
    if (!is_long(s) && (s->cr4 & CR4_PCIDE))
        return "CR4: PCIDE outside long mode";
    if (beyond_physical(s, s->cr3))
        return "CR3: beyond the physical address width";
    if (s->dr7 >> 32)
        return "DR7: upper half";
    if (!canonical(s, s->sysenter_esp) || !canonical(s, s->sysenter_eip))
        return "SYSENTER: address not canonical";
    if (s->efer & ~(uint64_t)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
        return "EFER: reserved bits";
    if (!(s->efer & EFER_LMA) != !is_long(s))
        return "EFER: LMA is not the entry control";
    if (paging && !(s->efer & EFER_LMA) != !(s->efer & EFER_LME))
        return "EFER: LMA is not LME with paging on";
    for (unsigned i = 0; i < 64; i += 8)
        if (!(0xf3u >> (s->pat >> i & 7) & 1) || (s->pat >> i & 0xf8))
            return "PAT: not a memory type";
    return NULL;
}

static bool usable(const struct vmx_segment *g)
{
    return !(g->rights & VMX_RIGHTS_UNUSABLE);
}

static uint32_t dpl(const struct vmx_segment *g)
{
    return g->rights >> DPL_SHIFT & 3;
}

static bool granularity_wrong(const struct vmx_segment *g)
{
    if (g->rights & GRANULAR)
        return (g->limit & 0xfff) != 0xfff;
    return g->limit >> 20 != 0;
}

// CS: accessed code, or with an unrestricted guest read/write accessed data of privilege 0.
static const char *check_cs(const struct vmx_guest_state *s)
{
    const struct vmx_segment *cs = &s->segment[VMX_CS], *ss = &s->segment[VMX_SS];
    uint32_t type = cs->rights & TYPE_MASK;

    if (!usable(cs) || !(cs->rights & PRESENT) || !(cs->rights & NOT_SYSTEM))
        return "CS: not a present code segment";
    if (type != 3 && (type & (TYPE_CODE | TYPE_ACCESSED)) != (TYPE_CODE | TYPE_ACCESSED))
        return "CS: type";
    if (type == 3 && dpl(cs) != 0)
        return "CS: data with DPL above 0";
    if ((type == 9 || type == 11) && dpl(cs) != dpl(ss))
        return "CS: DPL is not that of SS";
    if ((type == 13 || type == 15) && dpl(cs) > dpl(ss))
        return "CS: conforming with DPL above that of SS";
    if (is_long(s) && (cs->rights & LONG) && (cs->rights & DEFAULT))
        return "CS: both L and D";
    if (granularity_wrong(cs))
        return "CS: G against limit";
    if (cs->base >> 32)
        return "CS: base above 4 GiB";
    return cs->rights & RIGHTS_RESERVED ? "CS: reserved access rights" : NULL;
}

static const char *check_ss(const struct vmx_guest_state *s)
{
    const struct vmx_segment *ss = &s->segment[VMX_SS], *cs = &s->segment[VMX_CS];
    uint32_t type = ss->rights & TYPE_MASK;

    if ((!(s->cr0 & CR0_PE) || (cs->rights & TYPE_MASK) == 3) && dpl(ss) != 0)
        return "SS: DPL above 0 in real mode or beside a data CS";
    if (!usable(ss))
        return NULL;
    if (type != 3 && type != 7)
        return "SS: type";
    if (!(ss->rights & PRESENT) || !(ss->rights & NOT_SYSTEM))
        return "SS: not a present data segment";
    if (granularity_wrong(ss))
        return "SS: G against limit";
    if (ss->base >> 32)
        return "SS: base above 4 GiB";
    return ss->rights & RIGHTS_RESERVED ? "SS: reserved access rights" : NULL;
}

static const char *check_data(const struct vmx_guest_state *s)
{
    static const uint8_t indices[] = {VMX_ES, VMX_DS, VMX_FS, VMX_GS};

    if (!canonical(s, s->segment[VMX_FS].base) || !canonical(s, s->segment[VMX_GS].base))
        return "FS or GS: base not canonical";
    for (unsigned i = 0; i < sizeof(indices); i++) {
        const struct vmx_segment *g = &s->segment[indices[i]];
        uint32_t type = g->rights & TYPE_MASK;

        if (!usable(g))
            continue;
        if (!(type & TYPE_ACCESSED))
            return "ES, DS, FS or GS: not accessed";
        if ((type & TYPE_CODE) && !(type & TYPE_READ))
            return "ES, DS, FS or GS: code that cannot be read";
        if (!(g->rights & PRESENT) || !(g->rights & NOT_SYSTEM))
            return "ES, DS, FS or GS: not a present segment";
        if (granularity_wrong(g))
            return "ES, DS, FS or GS: G against limit";
        if (indices[i] < VMX_FS && g->base >> 32)
            return "ES or DS: base above 4 GiB";
        if (g->rights & RIGHTS_RESERVED)
            return "ES, DS, FS or GS: reserved access rights";
    }
    return NULL;
}

static const char *check_system(const struct vmx_guest_state *s)
{
    const struct vmx_segment *tr = &s->segment[VMX_TR], *ldtr = &s->segment[VMX_LDTR];
    uint32_t type = tr->rights & TYPE_MASK;

    if (!usable(tr) || !(tr->rights & PRESENT) || (tr->rights & NOT_SYSTEM))
        return "TR: not a present TSS";
    if (type != 11 && (type != 3 || is_long(s)))
        return "TR: not busy";
    if (granularity_wrong(tr) || (tr->selector & 4))
        return "TR: G against limit, or in the LDT";
    if (!canonical(s, tr->base) || !canonical(s, ldtr->base))
        return "TR or LDTR: base not canonical";
    if (usable(ldtr) && ((ldtr->rights & (TYPE_MASK | NOT_SYSTEM | PRESENT)) != (2 | PRESENT) ||
                         granularity_wrong(ldtr) || (ldtr->selector & 4)))
        return "LDTR: not a present LDT";
    if (!canonical(s, s->gdtr_base) || !canonical(s, s->idtr_base))
        return "GDTR or IDTR: base not canonical";
    return s->gdtr_limit >> 16 || s->idtr_limit >> 16 ? "GDTR or IDTR: limit above FFFFh" : NULL;
}

// Virtual-8086 mode has rules of its own for the six (SDM 3C 27.3.1.2).
static const char *check_v86(const struct vmx_guest_state *s)
{
    for (unsigned i = VMX_ES; i <= VMX_GS; i++) {
        const struct vmx_segment *g = &s->segment[i];
        if (g->base != (uint64_t)g->selector << 4 || g->limit != 0xffff || g->rights != 0xf3)
            return "virtual-8086 mode: base, limit or access rights";
    }
    return NULL;
}

static const char *check_run(const struct vmx_guest_state *s)
{
    const uint64_t reserved = ~UINT64_C(0x3f7fd7);
    bool code_64 = is_long(s) && (s->segment[VMX_CS].rights & LONG);
    uint32_t type = (s->entry_event & VMX_EVENT_TYPE_MASK) >> VMX_EVENT_TYPE_SHIFT;
    bool interrupt = (s->entry_event & VMX_EVENT_VALID) && type == 0;

    if (!code_64 && s->rip >> 32)
        return "RIP: above 4 GiB outside 64-bit code";
    if (code_64 && !canonical(s, s->rip))
        return "RIP: not canonical";
    if ((s->rflags & reserved) || !(s->rflags & RFLAGS_FIXED))
        return "RFLAGS: reserved bits";
    if ((s->rflags & RFLAGS_VM) && (is_long(s) || !(s->cr0 & CR0_PE)))
        return "RFLAGS: VM in long or real mode";
    return interrupt && !(s->rflags & RFLAGS_IF) ? "RFLAGS: an interrupt with IF clear" : NULL;
}

static const char *check_other(const struct vmx_guest_state *s)
{
    uint32_t type = (s->entry_event & VMX_EVENT_TYPE_MASK) >> VMX_EVENT_TYPE_SHIFT;
    bool event = s->entry_event & VMX_EVENT_VALID;
    uint32_t shadow = s->interruptibility & VMX_BLOCKED_SHADOW;

    if (s->activity > 3)
        return "activity state: unknown";
    if (s->interruptibility & ~0x1fu)
        return "interruptibility: reserved bits";
    if (shadow == VMX_BLOCKED_SHADOW)
        return "interruptibility: both shadows";
    if ((shadow & VMX_BLOCKED_STI) && !(s->rflags & RFLAGS_IF))
        return "interruptibility: shadow of STI with IF clear";
    if (event && type == 0 && shadow)
        return "interruptibility: an interrupt in a shadow";
    if (event && type == 2 && (s->interruptibility & (VMX_BLOCKED_MOV_SS | VMX_BLOCKED_NMI)))
        return "interruptibility: an NMI while NMIs are blocked";
    if (shadow && !(s->pending_debug & VMX_PENDING_STEP) != !(s->rflags & RFLAGS_TF))
        return "pending debug exceptions: BS is not TF in a shadow";
    if (s->pending_debug & ~UINT64_C(0x1500f))
        return "pending debug exceptions: reserved bits";
    return s->link_pointer != UINT64_MAX ? "link pointer: not all ones" : NULL;
}

static const char *check_pdptes(const struct vmx_guest_state *s)
{
    bool pae = (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !is_long(s);

    for (unsigned i = 0; pae && i < 4; i++)
        if ((s->pdptes[i] & 1) && ((s->pdptes[i] & 0x1e6) || beyond_physical(s, s->pdptes[i])))
            return "PDPTE: reserved bits";
    return NULL;
}

const char *vmx_guest_state_fault(const struct vmx_guest_state *s)
{
    static const char *(*const segments[])(const struct vmx_guest_state *) = {check_cs, check_ss,
                                                                              check_data};
    static const char *(*const others[])(const struct vmx_guest_state *) = {
        check_system, check_run, check_other, check_pdptes};
    const char *why = check_control(s);

    if (!why && (s->rflags & RFLAGS_VM))
        why = check_v86(s);
    for (unsigned i = 0; !why && !(s->rflags & RFLAGS_VM) && i < 3; i++)
        why = segments[i](s);
    for (unsigned i = 0; !why && i < sizeof(others) / sizeof(others[0]); i++)
        why = others[i](s);
    return why;
}
