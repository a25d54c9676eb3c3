// SPDX-License-Identifier: BSD-2-Clause-Patent
// Architectural MSRs that exit (SDM 4, APM 2 appendix A; the list of the TLFS is at the end of
// tlfs-reference 4). The root keeps most of its own by the backend's bitmap; what comes here from
// it is what must not reach the machine unchecked.
#include "corbel/cpufeatures.h"
#include "corbel/interrupts.h"
#include "corbel/lp.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "corbel/speculation.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/features.h"
#include "hv/registers.h"
#include "hv/status.h"

enum {
    MSR_IA32_PLATFORM_ID = 0x17,
    MSR_IA32_BIOS_UPDT_TRIG = 0x79,
    MSR_IA32_MISC_ENABLE = 0x1a0,
    MTRR_VARIABLE = 8,                                  // pairs
    MTRRCAP_VALUE = MTRR_VARIABLE | 1u << 8 | 1u << 10, // fixed ranges, write combining
    MTRR_MASK_VALID = 1u << 11,
    MTRR_DEF_TYPE_ALLOWED = 0xcff,
    DEBUGCTL_ALLOWED = 0x3f
};
#define MSR_DE_CFG         0xc0011029u
#define DE_CFG_SERIALIZE   (1ul << 1) // LFENCE is dispatch serializing
#define HWCR_TSC_FREQ_SEL  (1ul << 24)
#define MTRR_VARIABLE_LAST (MSR_MTRR_PHYSBASE0 + 2 * MTRR_VARIABLE - 1)

enum msr_scope {
    ANY = 0,
    CHILD = 1, // the root has the machine's own
    AMD = 2,
    INTEL = 4
};

struct msr_range {
    uint32_t first, last;
    msr_reader *read;
    msr_writer *write;
    uint32_t scope;
    uint32_t reg; // HV_REGISTER_* for registers that the backend holds
};

static const struct msr_range *find(const struct vp *vp, uint32_t msr);

// ---- registers of the backend -------------------------------------------------------------------

static enum msr_result read_register(struct vp *vp, uint32_t msr, uint64_t *value)
{
    union hv_register_value v;

    v.reg64 = 0;
    if (vcpu->get_register(vp, find(vp, msr)->reg, &v) != HV_STATUS_SUCCESS)
        return MSR_FAULT;
    *value = v.reg64;
    return MSR_OK;
}

static enum msr_result set_register(struct vp *vp, uint32_t name, uint64_t value)
{
    union hv_register_value v = {.reg128 = {value, 0}};

    return vcpu->set_register(vp, name, &v) == HV_STATUS_SUCCESS ? MSR_OK : MSR_FAULT;
}

static enum msr_result write_register(struct vp *vp, uint32_t msr, uint64_t value)
{
    return set_register(vp, find(vp, msr)->reg, value);
}

static bool canonical(uint64_t va)
{
    unsigned shift = cpu_guest_cr4() & CR4_LA57 ? 7 : 16;

    return (uint64_t)((int64_t)(va << shift) >> shift) == va;
}

static enum msr_result write_address(struct vp *vp, uint32_t msr, uint64_t value)
{
    return canonical(value) ? write_register(vp, msr, value) : MSR_FAULT;
}

// Every byte a memory type: bit n of `legal` is type n.
static bool types_valid(uint64_t value, uint32_t legal)
{
    for (unsigned i = 0; i < 8; i++, value >>= 8)
        if ((value & 0xff) > 7 || !(legal >> (value & 0xff) & 1))
            return false;
    return true;
}

bool msr_pat_valid(uint64_t value)
{
    return types_valid(value, 0xf3);
}

bool msr_mtrr_types_valid(uint64_t value)
{
    return types_valid(value, 0x73);
}

static enum msr_result write_pat(struct vp *vp, uint32_t msr, uint64_t value)
{
    return msr_pat_valid(value) ? write_register(vp, msr, value) : MSR_FAULT;
}

static enum msr_result read_efer(struct vp *vp, uint32_t msr, uint64_t *value)
{
    struct walk_state paging;

    (void)msr;
    vcpu->get_paging(vp, &paging);
    *value = paging.efer & ~(uint64_t)EFER_SVME;
    return MSR_OK;
}

// SDM 3A 2.2.1, APM 2 3.1.7: LMA is the processor's; LME is fixed while paging is on.
static enum msr_result write_efer(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct walk_state paging;

    (void)msr;
    if (value & ~(cpu_guest_efer() | EFER_LMA))
        return MSR_FAULT;
    vcpu->get_paging(vp, &paging);
    if ((paging.cr0 & CR0_PG) && ((paging.efer ^ value) & EFER_LME))
        return MSR_FAULT;
    value = (value & ~(uint64_t)EFER_LMA) | (paging.efer & EFER_LMA);
    return set_register(vp, HV_REGISTER_EFER, value);
}

// ---- virtual APIC -------------------------------------------------------------------------------

enum msr_result msr_read_apic(struct vp *vp, uint32_t msr, uint64_t *value)
{
    return vapic_read_msr(&vp->active->apic, msr, vp_tsc(vp), value) == VAPIC_OK ? MSR_OK
                                                                                 : MSR_FAULT;
}

enum msr_result msr_write_apic(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct vapic_action action;

    action.flags = 0;
    if (vapic_write_msr(&vp->active->apic, msr, value, vp_tsc(vp), &action) != VAPIC_OK)
        return MSR_FAULT;
    vp_apic_action(vp, &action);
    return MSR_OK;
}

// ---- values kept in memory ----------------------------------------------------------------------

MSR_READER(read_tsc, vp_tsc(vp))
MSR_READER(read_mtrrcap, MTRRCAP_VALUE)

// MTRRs have no effect on a child's memory, whose type the second level decides; they keep values.
MSR_READER(read_mtrr, vp->msr_values[msr - MSR_MTRR_PHYSBASE0])

static enum msr_result write_mtrr_variable(struct vp *vp, uint32_t msr, uint64_t value)
{
    uint64_t reserved = ~(cpu_physical_mask() & PAGE_MASK);

    if (msr & 1) {
        reserved &= ~(uint64_t)MTRR_MASK_VALID;
    } else {
        reserved &= ~0xfful;
        if (!types_valid((value & 0xff) * 0x0101010101010101ul, 0x73))
            return MSR_FAULT;
    }
    if (value & reserved)
        return MSR_FAULT;
    vp->msr_values[msr - MSR_MTRR_PHYSBASE0] = value;
    return MSR_OK;
}

static enum msr_result write_mtrr_fixed(struct vp *vp, uint32_t msr, uint64_t value)
{
    if (!msr_mtrr_types_valid(value))
        return MSR_FAULT;
    vp->msr_values[msr - MSR_MTRR_PHYSBASE0] = value;
    return MSR_OK;
}

MSR_READER(read_mtrr_default, vp->mtrr_def_type)

static enum msr_result write_mtrr_default(struct vp *vp, uint32_t msr, uint64_t value)
{
    (void)msr;
    if ((value & ~(uint64_t)MTRR_DEF_TYPE_ALLOWED) ||
        !types_valid((value & 0xff) * 0x0101010101010101ul, 0x73))
        return MSR_FAULT;
    vp->mtrr_def_type = value;
    return MSR_OK;
}

static enum msr_result read_tsc_aux(struct vp *vp, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = vp->tsc_aux;
    return vp->partition->features.msrs & PROCFEATURE_TSC_AUX ? MSR_OK : MSR_FAULT;
}

static enum msr_result write_tsc_aux(struct vp *vp, uint32_t msr, uint64_t value)
{
    if (!(vp->partition->features.msrs & PROCFEATURE_TSC_AUX) || value >> 32)
        return MSR_FAULT;
    vp->tsc_aux = value;
    if (this_lp()->vp == vp)
        wrmsr(msr, value);
    return MSR_OK;
}

static bool has_xss(const struct vp *vp)
{
    return cpu_features.xsaves && !(vp->partition->features.disabled[PROCFEATURES_XSAVE] &
                                    HV_XSAVE_FEATURE_XSAVE_SUPERVISOR);
}

// No supervisor component of extended state is offered, so none can be switched on.
static enum msr_result read_xss(struct vp *vp, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = 0;
    return has_xss(vp) ? MSR_OK : MSR_FAULT;
}

static enum msr_result write_xss(struct vp *vp, uint32_t msr, uint64_t value)
{
    (void)msr;
    return has_xss(vp) && value == 0 ? MSR_OK : MSR_FAULT;
}

// ---- fixed answers ------------------------------------------------------------------------------

MSR_READER(read_zero, 0)

static enum msr_result ignore_write(struct vp *vp, uint32_t msr, uint64_t value)
{
    (void)vp;
    (void)msr;
    (void)value;
    return MSR_OK;
}

// What the machine says and a guest may know.
static enum msr_result read_machine(struct vp *vp, uint32_t msr, uint64_t *value)
{
    (void)vp;
    if (!rdmsr_safe(msr, value))
        *value = 0;
    return MSR_OK;
}

MSR_READER(read_hwcr, HWCR_TSC_FREQ_SEL) // the TSC counts at a constant rate

static enum msr_result read_de_cfg(struct vp *vp, uint32_t msr, uint64_t *value)
{
    enum msr_result result = read_machine(vp, msr, value);

    *value &= DE_CFG_SERIALIZE;
    return result;
}

static enum msr_result write_debugctl(struct vp *vp, uint32_t msr, uint64_t value)
{
    (void)vp;
    (void)msr;
    return value & ~(uint64_t)DEBUGCTL_ALLOWED ? MSR_FAULT : MSR_OK;
}

static enum msr_result write_pred_cmd(struct vp *vp, uint32_t msr, uint64_t value)
{
    if (!vp->partition->features.ibpb || value & ~1ul)
        return MSR_FAULT;
    if (value)
        wrmsr(msr, value);
    return MSR_OK;
}

// ---- the table ----------------------------------------------------------------------------------

#define ONE(msr) (msr), (msr)
// clang-format 14 takes the braces for a block.
// clang-format off
#define HELD(msr, writer, name) {ONE(msr), read_register, writer, ANY, HV_REGISTER_##name}
// clang-format on

static const struct msr_range ranges[] = {
    {MSR_X2APIC_FIRST, MSR_X2APIC_LAST, msr_read_apic, msr_write_apic, ANY, 0},
    {ONE(MSR_TSC_DEADLINE), msr_read_apic, msr_write_apic, ANY, 0},
    {ONE(MSR_APIC_BASE), msr_read_apic, msr_write_apic, ANY, 0},
    {ONE(MSR_EFER), read_efer, write_efer, ANY, 0},
    HELD(MSR_PAT, write_pat, PAT),
    HELD(MSR_SYSENTER_CS, write_register, SYSENTER_CS),
    HELD(MSR_SYSENTER_ESP, write_address, SYSENTER_ESP),
    HELD(MSR_SYSENTER_EIP, write_address, SYSENTER_EIP),
    HELD(MSR_STAR, write_register, STAR),
    HELD(MSR_LSTAR, write_address, LSTAR),
    HELD(MSR_CSTAR, write_address, CSTAR),
    HELD(MSR_SFMASK, write_register, SFMASK),
    HELD(MSR_KERNEL_GS_BASE, write_address, KERNEL_GS_BASE),
    // One TSC and one reference time for all VPs of a partition: writes change neither.
    {ONE(MSR_TSC), read_tsc, ignore_write, CHILD, 0},
    {ONE(MSR_TSC_AUX), read_tsc_aux, write_tsc_aux, CHILD, 0},
    {ONE(MSR_XSS), read_xss, write_xss, ANY, 0},
    {ONE(MSR_MTRRCAP), read_mtrrcap, NULL, CHILD, 0},
    {MSR_MTRR_PHYSBASE0, MTRR_VARIABLE_LAST, read_mtrr, write_mtrr_variable, CHILD, 0},
    {ONE(MSR_MTRR_FIX64K), read_mtrr, write_mtrr_fixed, CHILD, 0},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, read_mtrr, write_mtrr_fixed, CHILD, 0},
    {MSR_MTRR_FIX4K_C0000, MSR_MTRR_FIX4K_F8000, read_mtrr, write_mtrr_fixed, CHILD, 0},
    {ONE(MSR_MTRR_DEF_TYPE), read_mtrr_default, write_mtrr_default, CHILD, 0},
    {ONE(MSR_MCG_CAP), read_zero, NULL, CHILD, 0}, // no banks
    {ONE(MSR_MCG_STATUS), read_zero, ignore_write, CHILD, 0},
    {ONE(MSR_DEBUGCTL), read_zero, write_debugctl, CHILD, 0},
    {ONE(MSR_BIOS_SIGN_ID), read_machine, ignore_write, CHILD, 0},
    {ONE(MSR_PRED_CMD), NULL, write_pred_cmd, CHILD, 0},
    {ONE(MSR_SYSCFG), read_zero, ignore_write, CHILD | AMD, 0},
    {ONE(MSR_NB_CFG), read_zero, ignore_write, CHILD | AMD, 0},
    {ONE(MSR_HWCR), read_hwcr, ignore_write, CHILD | AMD, 0},
    {ONE(MSR_PATCH_LOADER), NULL, ignore_write, CHILD | AMD, 0},
    {ONE(MSR_DE_CFG), read_de_cfg, ignore_write, CHILD | AMD, 0},
    {ONE(MSR_IA32_PLATFORM_ID), read_zero, ignore_write, CHILD | INTEL, 0},
    {ONE(MSR_IA32_BIOS_UPDT_TRIG), read_zero, ignore_write, CHILD | INTEL, 0},
    {ONE(MSR_IA32_MISC_ENABLE), read_machine, ignore_write, CHILD | INTEL, 0},
};

static const struct msr_range *find(const struct vp *vp, uint32_t msr)
{
    uint32_t excluded = cpu_features.amd ? INTEL : AMD;

    if (vp->partition == root_partition)
        excluded |= CHILD;
    for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (msr - ranges[i].first <= ranges[i].last - ranges[i].first)
            return ranges[i].scope & excluded ? NULL : &ranges[i];
    return NULL;
}

enum msr_result msr_arch_read(struct vp *vp, uint32_t msr, uint64_t *value, bool *known)
{
    const struct msr_range *r = find(vp, msr);

    *known = r != NULL;
    return r && r->read ? r->read(vp, msr, value) : MSR_FAULT;
}

enum msr_result msr_arch_write(struct vp *vp, uint32_t msr, uint64_t value, bool *known)
{
    const struct msr_range *r = find(vp, msr);

    *known = r != NULL;
    return r && r->write ? r->write(vp, msr, value) : MSR_FAULT;
}
