// SPDX-License-Identifier: BSD-2-Clause-Patent
// The registers that live in the VMCS or in the processor, by TLFS name (tlfs-reference 3). Neutral
// registers (general, synthetic, APIC) are in kernel/registers.c.
#include "hv/registers.h"
#include "corbel/cpufeatures.h"
#include "hv/message.h"
#include "hv/status.h"
#include "vmx/vmx.h"

#define CR3_KEEP_PCID (1ul << 63)

// A field of the VMCS and the bits that may be set in it.
struct vmcs_register {
    uint32_t name;
    enum vmcs_field field;
    uint64_t allowed;
};

static const struct vmcs_register simple[] = {
    {HV_REGISTER_DR7, VMCS_GUEST_DR7, 0xffffffff},
    {HV_REGISTER_PAT, VMCS_GUEST_PAT, UINT64_MAX},
    {HV_REGISTER_SYSENTER_CS, VMCS_GUEST_SYSENTER_CS, 0xffffffff},
    {HV_REGISTER_SYSENTER_EIP, VMCS_GUEST_SYSENTER_EIP, UINT64_MAX},
    {HV_REGISTER_SYSENTER_ESP, VMCS_GUEST_SYSENTER_ESP, UINT64_MAX},
};

// The live MSRs in their order.
static const uint32_t live_names[VMX_LIVE_COUNT] = {HV_REGISTER_STAR, HV_REGISTER_LSTAR,
                                                    HV_REGISTER_CSTAR, HV_REGISTER_SFMASK,
                                                    HV_REGISTER_KERNEL_GS_BASE};

static const struct vmcs_register *find_simple(uint32_t name)
{
    for (unsigned i = 0; i < sizeof(simple) / sizeof(simple[0]); i++)
        if (simple[i].name == name)
            return &simple[i];
    return NULL;
}

// ---- control registers --------------------------------------------------------------------------

uint64_t vmx_guest_cr0(void)
{
    uint64_t mask = vmread(VMCS_CR0_MASK);
    return (vmread(VMCS_GUEST_CR0) & ~mask) | (vmread(VMCS_CR0_SHADOW) & mask);
}

uint64_t vmx_guest_cr4(void)
{
    uint64_t mask = vmread(VMCS_CR4_MASK);
    return (vmread(VMCS_GUEST_CR4) & ~mask) | (vmread(VMCS_CR4_SHADOW) & mask);
}

// SDM 3A 2.2.1: LMA is LME with paging on; the entry control follows it (SDM 3C 27.3.1.1).
static void settle_lma(uint64_t cr0, uint64_t efer)
{
    bool lma = (efer & EFER_LME) && (cr0 & CR0_PG);

    vmwrite(VMCS_GUEST_EFER, lma ? efer | EFER_LMA : efer & ~(uint64_t)EFER_LMA);
    vmcs_change(VMCS_ENTRY_CONTROLS, VMX_ENTRY_LONG_MODE, lma);
}

// CD and NW would be the hypervisor's as well (SDM 3C 27.3.2.1): the guest's are in the shadow
// only.
void vmx_put_cr0(uint64_t value)
{
    const struct vmx_controls *c = &vmx_controls;

    vmwrite(VMCS_CR0_SHADOW, value);
    vmwrite(VMCS_GUEST_CR0, vmx_fix(value & ~(uint64_t)(CR0_CD | CR0_NW), c->cr0_must, c->cr0_may));
    settle_lma(value, vmread(VMCS_GUEST_EFER));
}

void vmx_put_cr4(uint64_t value)
{
    vmwrite(VMCS_CR4_SHADOW, value);
    vmwrite(VMCS_GUEST_CR4, vmx_fix(value, vmx_controls.cr4_must, vmx_controls.cr4_may));
}

void vmx_put_efer(uint64_t value)
{
    settle_lma(vmread(VMCS_GUEST_CR0), value);
}

static uint16_t set_control(struct vp *vp, uint32_t name, uint64_t value)
{
    switch (name) {
    case HV_REGISTER_CR0:
        if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) ||
            ((value & CR0_NW) && !(value & CR0_CD)))
            return HV_STATUS_INVALID_REGISTER_VALUE;
        vmx_put_cr0(value | CR0_ET);
        break;
    case HV_REGISTER_CR3:
        if (value & ~cpu_physical_mask() & ~CR3_KEEP_PCID & ~0xffful)
            return HV_STATUS_INVALID_REGISTER_VALUE;
        vmwrite(VMCS_GUEST_CR3, value & ~CR3_KEEP_PCID);
        break;
    case HV_REGISTER_CR4:
        if (value & ~vp->partition->features.cr4)
            return HV_STATUS_INVALID_REGISTER_VALUE;
        vmx_put_cr4(value);
        break;
    default:
        if (value & ~(uint64_t)(cpu_guest_efer() | EFER_LMA))
            return HV_STATUS_INVALID_REGISTER_VALUE;
        vmx_put_efer(value);
        break;
    }
    vmx_of(vp)->pdptes_old = true;
    vmx_flush_guest(vp);
    return HV_STATUS_SUCCESS;
}

// ---- segments -----------------------------------------------------------------------------------

static void read_segment(unsigned index, struct hv_x64_segment_register *out)
{
    uint64_t rights = vmread(VMCS_GUEST_ES_RIGHTS + 2 * index);

    out->base = vmread(VMCS_GUEST_ES_BASE + 2 * index);
    out->limit = (uint32_t)vmread(VMCS_GUEST_ES_LIMIT + 2 * index);
    out->selector = (uint16_t)vmread(VMCS_GUEST_ES_SELECTOR + 2 * index);
    out->attributes = rights & VMX_RIGHTS_UNUSABLE ? 0 : rights & VMX_RIGHTS_MASK;
}

// What the processor would have after loading it (SDM 3C 27.3.1.2): accessed, a TSS busy; not
// present is unusable. A null TR, as firmware has it, becomes a TSS that is never used.
void vmx_put_segment(unsigned index, const struct hv_x64_segment_register *s)
{
    enum { PRESENT = 1u << 7, NOT_SYSTEM = 1u << 4, ACCESSED = 1, BUSY = 2, TSS_32 = 0x8b };
    bool tr = index == HV_REGISTER_TR - HV_REGISTER_ES, present = s->attributes & PRESENT;
    uint32_t rights = s->attributes & VMX_RIGHTS_MASK, limit = s->limit;

    if (present && (rights & NOT_SYSTEM))
        rights |= ACCESSED;
    if (tr && !present) {
        rights = TSS_32;
        limit = 0xffff;
    }
    if (tr)
        rights |= BUSY;
    else if (!present)
        rights |= VMX_RIGHTS_UNUSABLE;
    vmwrite(VMCS_GUEST_ES_BASE + 2 * index, s->base);
    vmwrite(VMCS_GUEST_ES_LIMIT + 2 * index, limit);
    vmwrite(VMCS_GUEST_ES_SELECTOR + 2 * index, s->selector);
    vmwrite(VMCS_GUEST_ES_RIGHTS + 2 * index, rights);
}

// ---- registers by name --------------------------------------------------------------------------

static int live_index(uint32_t name)
{
    for (int i = 0; i < VMX_LIVE_COUNT; i++)
        if (live_names[i] == name)
            return i;
    return -1;
}

// Registers that the processor holds while the VP is loaded. False: not one of them.
static bool get_live(const struct vp *vp, uint32_t name, uint64_t *value)
{
    const struct vmx_vp *x = vmx_of(vp);
    bool loaded = vmx_is_loaded(vp);
    int live = live_index(name);

    if (live >= 0)
        *value = loaded ? rdmsr(vmx_live_msrs[live]) : x->live[live];
    else if (name == HV_REGISTER_CR2)
        *value = loaded ? read_cr2() : x->cr2;
    else if (name == HV_REGISTER_DR6)
        *value = loaded ? read_dr6() : x->dr6;
    else
        return false;
    return true;
}

static bool canonical(uint64_t va)
{
    unsigned shift = cpu_guest_cr4() & CR4_LA57 ? 7 : 16;
    return (uint64_t)((int64_t)(va << shift) >> shift) == va;
}

// They go into the processor, which would fault where a VMCB takes anything.
static uint16_t set_live_msr(struct vp *vp, unsigned live, uint64_t value)
{
    bool address = live == VMX_LIVE_LSTAR || live == VMX_LIVE_CSTAR || live == VMX_LIVE_KERNEL_GS;

    if (address ? !canonical(value) : live == VMX_LIVE_SFMASK && value >> 32)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    vmx_of(vp)->live[live] = value;
    if (vmx_is_loaded(vp))
        wrmsr(vmx_live_msrs[live], value);
    return HV_STATUS_SUCCESS;
}

static uint16_t get_other(uint32_t name, union hv_register_value *value)
{
    switch (name) {
    case HV_REGISTER_CR0:
        value->reg64 = vmx_guest_cr0();
        break;
    case HV_REGISTER_CR3:
        value->reg64 = vmread(VMCS_GUEST_CR3);
        break;
    case HV_REGISTER_CR4:
        value->reg64 = vmx_guest_cr4();
        break;
    case HV_REGISTER_EFER:
        value->reg64 = vmread(VMCS_GUEST_EFER);
        break;
    case HV_REGISTER_IDTR:
        value->table.limit = (uint16_t)vmread(VMCS_GUEST_IDTR_LIMIT);
        value->table.base = vmread(VMCS_GUEST_IDTR_BASE);
        break;
    case HV_REGISTER_GDTR:
        value->table.limit = (uint16_t)vmread(VMCS_GUEST_GDTR_LIMIT);
        value->table.base = vmread(VMCS_GUEST_GDTR_BASE);
        break;
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
    return HV_STATUS_SUCCESS;
}

static uint16_t set_segment(uint32_t name, const struct hv_x64_segment_register *s)
{
    if (s->attributes & ~VMX_RIGHTS_MASK)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    vmx_put_segment(name - HV_REGISTER_ES, s);
    return HV_STATUS_SUCCESS;
}

static uint16_t set_other(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    switch (name) {
    case HV_REGISTER_CR0:
    case HV_REGISTER_CR3:
    case HV_REGISTER_CR4:
    case HV_REGISTER_EFER:
        return set_control(vp, name, value->reg64);
    case HV_REGISTER_IDTR:
        vmwrite(VMCS_GUEST_IDTR_LIMIT, value->table.limit);
        vmwrite(VMCS_GUEST_IDTR_BASE, value->table.base);
        return HV_STATUS_SUCCESS;
    case HV_REGISTER_GDTR:
        vmwrite(VMCS_GUEST_GDTR_LIMIT, value->table.limit);
        vmwrite(VMCS_GUEST_GDTR_BASE, value->table.base);
        return HV_STATUS_SUCCESS;
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
}

uint16_t vmx_get_register(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    const struct vmcs_register *r = find_simple(name);
    uint16_t status = HV_STATUS_SUCCESS;
    struct vp *was;

    if (get_live(vp, name, &value->reg64))
        return HV_STATUS_SUCCESS;
    was = vmx_open(vp);
    if (r)
        value->reg64 = vmread(r->field);
    else if (name >= HV_REGISTER_ES && name <= HV_REGISTER_TR)
        read_segment(name - HV_REGISTER_ES, &value->segment);
    else
        status = get_other(name, value);
    vmx_close(vp, was);
    return status;
}

// CR2 and DR6. False: not one of them.
static bool set_live(struct vp *vp, uint32_t name, uint64_t value, uint16_t *status)
{
    struct vmx_vp *x = vmx_of(vp);

    *status = HV_STATUS_SUCCESS;
    if (name == HV_REGISTER_CR2) {
        x->cr2 = value;
        if (vmx_is_loaded(vp))
            write_cr2(value);
        return true;
    }
    if (name != HV_REGISTER_DR6)
        return false;
    if (value >> 32) {
        *status = HV_STATUS_INVALID_REGISTER_VALUE;
        return true;
    }
    x->dr6 = value;
    if (vmx_is_loaded(vp))
        write_dr6(value);
    return true;
}

uint16_t vmx_set_register(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    const struct vmcs_register *r = find_simple(name);
    int live = live_index(name);
    uint16_t status;
    struct vp *was;

    if (live >= 0)
        return set_live_msr(vp, (unsigned)live, value->reg64);
    if (set_live(vp, name, value->reg64, &status))
        return status;
    if (r && (value->reg64 & ~r->allowed))
        return HV_STATUS_INVALID_REGISTER_VALUE;
    was = vmx_open(vp);
    if (r)
        vmwrite(r->field, value->reg64);
    else if (name >= HV_REGISTER_ES && name <= HV_REGISTER_TR)
        status = set_segment(name, &value->segment);
    else
        status = set_other(vp, name, value);
    vmx_close(vp, was);
    return status;
}

// ---- what code runs -----------------------------------------------------------------------------

static uint8_t current_cpl(uint64_t cr0)
{
    return cr0 & CR0_PE ? vmread(VMCS_GUEST_SS_RIGHTS) >> 5 & 3 : 0;
}

void vmx_get_mode(const struct vp *vp, struct vcpu_mode *mode)
{
    struct vp *was = vmx_open(vp);
    uint64_t cr0 = vmread(VMCS_GUEST_CR0), rights = vmread(VMCS_GUEST_CS_RIGHTS);

    mode->protected_mode = cr0 & CR0_PE;
    mode->long_mode = vmread(VMCS_GUEST_EFER) & EFER_LMA;
    mode->real_mode = !mode->protected_mode;
    mode->cpl = current_cpl(cr0);
    if (mode->long_mode && (rights & HV_SEGMENT_LONG))
        mode->decode = DECODE_64;
    else if (mode->protected_mode && !(vp->rflags & RFLAGS_VM) && (rights & HV_SEGMENT_DEFAULT))
        mode->decode = DECODE_32;
    else
        mode->decode = DECODE_16;
    vmx_close(vp, was);
}

uint64_t vmx_segment_base(const struct vp *vp, uint32_t name)
{
    struct vp *was = vmx_open(vp);
    uint64_t base = vmread(VMCS_GUEST_ES_BASE + 2 * (name - HV_REGISTER_ES));

    vmx_close(vp, was);
    return base;
}

void vmx_get_paging(const struct vp *vp, struct walk_state *paging)
{
    struct vp *was = vmx_open(vp);
    struct vmx_vp *x = vmx_of(vp);

    *paging = (struct walk_state){
        .cr0 = vmx_guest_cr0(),
        .cr3 = vmread(VMCS_GUEST_CR3),
        .cr4 = vmx_guest_cr4(),
        .efer = vmread(VMCS_GUEST_EFER),
        .rflags = vp->rflags,
        .physical_bits = cpu_physical_bits(),
        .huge_pages = cpu_has_huge_pages(),
    };
    for (unsigned i = 0; i < 4; i++)
        x->pdptes[i] = vmread(VMCS_GUEST_PDPTE0 + 2 * i);
    paging->pdptes = x->pdptes_old ? NULL : x->pdptes;
    vmx_close(vp, was);
}

uint64_t vmx_cr3(const struct vp *vp)
{
    struct vp *was = vmx_open(vp);
    uint64_t cr3 = vmread(VMCS_GUEST_CR3);

    vmx_close(vp, was);
    return cr3;
}

uint16_t vmx_execution_state(const struct vp *vp, struct hv_x64_segment_register *cs)
{
    struct vp *was = vmx_open(vp);
    uint64_t cr0 = vmx_guest_cr0();
    uint32_t state = cr0 & CR0_PE ? current_cpl(cr0) | HV_EXECUTION_STATE_CR0_PE : 0;

    read_segment(HV_REGISTER_CS - HV_REGISTER_ES, cs);
    state |= cr0 & CR0_AM ? HV_EXECUTION_STATE_CR0_AM : 0;
    state |= vmread(VMCS_GUEST_EFER) & EFER_LMA ? HV_EXECUTION_STATE_EFER_LMA : 0;
    state |= vmread(VMCS_GUEST_DR7) & 0xff ? HV_EXECUTION_STATE_DEBUG_ACTIVE : 0;
    state |= vp->shadow ? HV_EXECUTION_STATE_INTERRUPT_SHADOW : 0;
    vmx_close(vp, was);
    return (uint16_t)state;
}
