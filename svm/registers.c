// SPDX-License-Identifier: BSD-2-Clause-Patent
// The registers that live in the VMCB, by TLFS name (tlfs-reference 3). Neutral registers (general,
// synthetic, APIC) are in kernel/registers.c.
#include "hv/registers.h"
#include "corbel/cpufeatures.h"
#include "corbel/speculation.h"
#include "corbel/string.h"
#include "hv/message.h"
#include "hv/status.h"
#include "svm/svm.h"

// A 64-bit field of the VMCB and the bits that may be set in it.
struct vmcb_register {
    uint32_t name;
    uint16_t offset;
    uint64_t allowed;
};

// clang-format 14 takes the braces for a block.
// clang-format off
#define FIELD(name, field, allowed) {name, offsetof(struct vmcb, field), allowed}
// clang-format on
static const struct vmcb_register simple[] = {
    FIELD(HV_REGISTER_CR2, cr2, UINT64_MAX),
    FIELD(HV_REGISTER_DR6, dr6, 0xffffffff),
    FIELD(HV_REGISTER_DR7, dr7, 0xffffffff),
    FIELD(HV_REGISTER_KERNEL_GS_BASE, kernel_gs_base, UINT64_MAX),
    FIELD(HV_REGISTER_SYSENTER_CS, sysenter_cs, UINT64_MAX),
    FIELD(HV_REGISTER_SYSENTER_EIP, sysenter_eip, UINT64_MAX),
    FIELD(HV_REGISTER_SYSENTER_ESP, sysenter_esp, UINT64_MAX),
    FIELD(HV_REGISTER_STAR, star, UINT64_MAX),
    FIELD(HV_REGISTER_LSTAR, lstar, UINT64_MAX),
    FIELD(HV_REGISTER_CSTAR, cstar, UINT64_MAX),
    FIELD(HV_REGISTER_SFMASK, sfmask, 0xffffffff),
};

// Segments in the order of the register names: ES CS SS DS FS GS LDTR TR.
static const uint16_t segment_offset[8] = {offsetof(struct vmcb, es),   offsetof(struct vmcb, cs),
                                           offsetof(struct vmcb, ss),   offsetof(struct vmcb, ds),
                                           offsetof(struct vmcb, fs),   offsetof(struct vmcb, gs),
                                           offsetof(struct vmcb, ldtr), offsetof(struct vmcb, tr)};

static void *field(const struct vp *vp, uint16_t offset)
{
    return (uint8_t *)vp->hw + offset;
}

static const struct vmcb_register *find_simple(uint32_t name)
{
    for (unsigned i = 0; i < sizeof(simple) / sizeof(simple[0]); i++)
        if (simple[i].name == name)
            return &simple[i];
    return NULL;
}

// Bits of SPEC_CTRL that the processor has (APM 3 appendix E, 8000_0008 EBX); 0: not the VP's own.
static uint64_t spec_ctrl_bits(void)
{
    uint32_t ebx = cpuid(0x80000008, 0).ebx;

    if (!(cpu_features.speculation & SPECULATION_CONTROL))
        return 0;
    return (ebx >> 14 & 1) | (ebx >> 15 & 1) << 1 | (ebx >> 24 & 1) << 2;
}

// Registers that VMLOAD keeps in the processor have to be in the VMCB first.
static void settle(struct vp *vp)
{
    struct lp *lp = this_lp();
    if (lp->vp == vp)
        svm_unload_guest(lp);
}

static void read_segment(const struct vmcb_segment *s, struct hv_x64_segment_register *out)
{
    out->base = s->base;
    out->limit = s->limit;
    out->selector = s->selector;
    out->attributes = (uint16_t)((s->attributes & 0xff) | (s->attributes & 0xf00) << 4);
}

static uint16_t set_segment(struct vp *vp, uint32_t name, const struct hv_x64_segment_register *in)
{
    struct vmcb *v = vp->hw;
    struct vmcb_segment *s = field(vp, segment_offset[name - HV_REGISTER_ES]);

    if (in->attributes & 0x0f00)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    s->base = in->base;
    s->limit = in->limit;
    s->selector = in->selector;
    s->attributes = (uint16_t)((in->attributes & 0xff) | (in->attributes >> 4 & 0xf00));
    if (name == HV_REGISTER_SS)
        v->cpl = in->attributes >> 5 & 3;
    return HV_STATUS_SUCCESS;
}

static uint16_t set_control(struct vp *vp, uint32_t name, uint64_t value)
{
    struct vmcb *v = vp->hw;

    switch (name) {
    case HV_REGISTER_CR0:
        if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) ||
            ((value & CR0_NW) && !(value & CR0_CD)))
            return HV_STATUS_INVALID_REGISTER_VALUE;
        v->cr0 = value | CR0_ET;
        break;
    case HV_REGISTER_CR3:
        if (value & ~cpu_physical_mask() & ~(1ul << 63) & ~0xffful)
            return HV_STATUS_INVALID_REGISTER_VALUE;
        v->cr3 = value & ~(1ul << 63);
        break;
    case HV_REGISTER_CR4:
        if (value & ~vp->partition->features.cr4)
            return HV_STATUS_INVALID_REGISTER_VALUE;
        v->cr4 = value;
        break;
    case HV_REGISTER_EFER:
        if (value & ~(uint64_t)(cpu_guest_efer() | EFER_LMA))
            return HV_STATUS_INVALID_REGISTER_VALUE;
        v->efer = value | EFER_SVME;
        break;
    default:
        v->g_pat = value;
        break;
    }
    svm_flush(vp);
    return HV_STATUS_SUCCESS;
}

uint16_t svm_get_register(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    const struct vmcb *v = vp->hw;
    const struct vmcb_register *r = find_simple(name);

    settle(vp);
    if (r) {
        value->reg64 = *(uint64_t *)field(vp, r->offset);
        return HV_STATUS_SUCCESS;
    }
    if (name >= HV_REGISTER_ES && name <= HV_REGISTER_TR) {
        read_segment(field(vp, segment_offset[name - HV_REGISTER_ES]), &value->segment);
        return HV_STATUS_SUCCESS;
    }
    switch (name) {
    case HV_REGISTER_CR0:
        value->reg64 = v->cr0;
        break;
    case HV_REGISTER_CR3:
        value->reg64 = v->cr3;
        break;
    case HV_REGISTER_CR4:
        value->reg64 = v->cr4;
        break;
    case HV_REGISTER_EFER:
        value->reg64 = v->efer & ~(uint64_t)EFER_SVME;
        break;
    case HV_REGISTER_PAT:
        value->reg64 = v->g_pat;
        break;
    case HV_REGISTER_SPEC_CTRL:
        value->reg64 = v->spec_ctrl;
        return spec_ctrl_bits() ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER;
    case HV_REGISTER_IDTR:
        value->table.limit = (uint16_t)v->idtr.limit;
        value->table.base = v->idtr.base;
        break;
    case HV_REGISTER_GDTR:
        value->table.limit = (uint16_t)v->gdtr.limit;
        value->table.base = v->gdtr.base;
        break;
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
    return HV_STATUS_SUCCESS;
}

uint16_t svm_set_register(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    struct vmcb *v = vp->hw;
    const struct vmcb_register *r = find_simple(name);

    settle(vp);
    if (r) {
        if (value->reg64 & ~r->allowed)
            return HV_STATUS_INVALID_REGISTER_VALUE;
        *(uint64_t *)field(vp, r->offset) = value->reg64;
        if (v->dr7 & DR7_ENABLES)
            svm_use_debug_registers(vp);
        return HV_STATUS_SUCCESS;
    }
    if (name >= HV_REGISTER_ES && name <= HV_REGISTER_TR)
        return set_segment(vp, name, &value->segment);
    switch (name) {
    case HV_REGISTER_CR0:
    case HV_REGISTER_CR3:
    case HV_REGISTER_CR4:
    case HV_REGISTER_EFER:
    case HV_REGISTER_PAT:
        return set_control(vp, name, value->reg64);
    case HV_REGISTER_SPEC_CTRL:
        if (!spec_ctrl_bits())
            return HV_STATUS_INVALID_PARAMETER;
        if (value->reg64 & ~spec_ctrl_bits())
            return HV_STATUS_INVALID_REGISTER_VALUE;
        v->spec_ctrl = value->reg64;
        return HV_STATUS_SUCCESS;
    case HV_REGISTER_IDTR:
        v->idtr.limit = value->table.limit;
        v->idtr.base = value->table.base;
        return HV_STATUS_SUCCESS;
    case HV_REGISTER_GDTR:
        v->gdtr.limit = value->table.limit;
        v->gdtr.base = value->table.base;
        return HV_STATUS_SUCCESS;
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
}

void svm_get_mode(const struct vp *vp, struct vcpu_mode *mode)
{
    const struct vmcb *v = vp->hw;
    uint32_t attributes = v->cs.attributes;

    mode->protected_mode = v->cr0 & CR0_PE;
    mode->long_mode = v->efer & EFER_LMA;
    mode->real_mode = !mode->protected_mode;
    mode->cpl = mode->real_mode ? 0 : v->cpl;
    if (mode->long_mode && (attributes & 0x200))
        mode->decode = DECODE_64;
    else if (mode->protected_mode && !(vp->rflags & RFLAGS_VM) && (attributes & 0x400))
        mode->decode = DECODE_32;
    else
        mode->decode = DECODE_16;
}

uint64_t svm_segment_base(const struct vp *vp, uint32_t name)
{
    struct lp *lp = this_lp();

    // FS, GS, LDTR and TR may still be in the processor.
    if (name >= HV_REGISTER_FS && lp->vp == vp)
        svm_unload_guest(lp);
    return ((const struct vmcb_segment *)field(vp, segment_offset[name - HV_REGISTER_ES]))->base;
}

void svm_get_paging(const struct vp *vp, struct walk_state *paging)
{
    const struct vmcb *v = vp->hw;

    *paging = (struct walk_state){
        .cr0 = v->cr0,
        .cr3 = v->cr3,
        .cr4 = v->cr4,
        .efer = v->efer,
        .rflags = vp->rflags,
        .pdptes = NULL,
        .physical_bits = cpu_physical_bits(),
        .huge_pages = cpu_has_huge_pages(),
    };
}

uint64_t svm_cr3(const struct vp *vp)
{
    return svm_vmcb(vp)->cr3;
}

uint16_t svm_execution_state(const struct vp *vp, struct hv_x64_segment_register *cs)
{
    const struct vmcb *v = vp->hw;
    uint32_t state = v->cr0 & CR0_PE ? v->cpl | HV_EXECUTION_STATE_CR0_PE : 0;

    read_segment(&v->cs, cs);
    state |= v->cr0 & CR0_AM ? HV_EXECUTION_STATE_CR0_AM : 0;
    state |= v->efer & EFER_LMA ? HV_EXECUTION_STATE_EFER_LMA : 0;
    state |= v->dr7 & 0xff ? HV_EXECUTION_STATE_DEBUG_ACTIVE : 0;
    state |= vp->shadow ? HV_EXECUTION_STATE_INTERRUPT_SHADOW : 0;
    return (uint16_t)state;
}
