// SPDX-License-Identifier: BSD-2-Clause-Patent
// Registers that guests know as MSRs. Names map to MSR numbers, and the MSR's own routine checks
// the value; where an architectural MSR has side conditions that a set by name has not, the backend
// is asked directly.
#include "corbel/cpufeatures.h"
#include "corbel/hypercall.h"
#include "corbel/lp.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/msr.h"
#include "hv/status.h"
#include "kernel/registers_priv.h"

#define MTRR_PAIRS     8u
#define APIC_REGISTERS 64u
#define APIC_ICR_HIGH  (VAPIC_ICR2 >> 4)

static uint16_t msr_status(enum msr_result result)
{
    if (result == MSR_OK)
        return HV_STATUS_SUCCESS;
    return result == MSR_RETRY ? HV_STATUS_RETRY : HV_STATUS_INVALID_REGISTER_VALUE;
}

// ---- the local APIC, whatever its mode (00084800 plus the low byte of the x2APIC MSR) -----------

static uint16_t get_apic(struct vp *vp, uint32_t index, union hv_register_value *value)
{
    struct vapic_image image;

    if (index >= APIC_REGISTERS)
        return HV_STATUS_INVALID_PARAMETER;
    vapic_export(&vp->active->apic, &image, vp_tsc(vp));
    value->reg64 = image.regs[index];
    if (index == VAPIC_ICR >> 4)
        value->reg64 |= (uint64_t)image.regs[APIC_ICR_HIGH] << 32;
    return HV_STATUS_SUCCESS;
}

// Takes a register file with one value replaced; the timers and the processor's TPR follow.
static uint16_t import_apic(struct vp *vp, const struct vapic_image *image)
{
    struct vapic *a = &vp->active->apic;

    if (vapic_import(a, image, vp_tsc(vp)) != VAPIC_OK)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    vcpu->set_tpr(vp, atomic_load_explicit(&a->tpr, memory_order_relaxed));
    vp_update_timer(vp);
    vp_signal(vp, VP_WORK_INTERRUPT);
    return HV_STATUS_SUCCESS;
}

static uint16_t set_apic(struct vp *vp, uint32_t index, uint64_t value)
{
    struct vapic_image image;

    if (index >= APIC_REGISTERS || index == VAPIC_VER >> 4 || index == VAPIC_PPR >> 4)
        return HV_STATUS_INVALID_PARAMETER;
    if (value >> 32 && index != VAPIC_ICR >> 4)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    vapic_export(&vp->active->apic, &image, vp_tsc(vp));
    image.regs[index] = (uint32_t)value;
    if (index == VAPIC_ICR >> 4)
        image.regs[APIC_ICR_HIGH] = (uint32_t)(value >> 32);
    return import_apic(vp, &image);
}

// SyntheticIcr and SyntheticTpr are the APIC's; SyntheticEoi has no state. A set sends nothing.
static uint32_t apic_index(uint32_t name)
{
    return (name == HV_REGISTER_SYNTHETIC_ICR ? VAPIC_ICR : VAPIC_TPR) >> 4;
}

static uint16_t set_apic_base(struct vp *vp, uint32_t name, uint64_t value)
{
    struct vapic_image image;

    vapic_export(&vp->active->apic, &image, vp_tsc(vp));
    if (name == HV_REGISTER_APIC_BASE)
        image.apic_base = value;
    else
        image.tsc_deadline = value;
    return import_apic(vp, &image);
}

static void get_apic_base(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    struct vapic_image image;

    vapic_export(&vp->active->apic, &image, vp_tsc(vp));
    value->reg64 = name == HV_REGISTER_APIC_BASE ? image.apic_base : image.tsc_deadline;
}

// ---- architectural MSRs -------------------------------------------------------------------------

struct name_range {
    uint32_t first, last; // names
    uint32_t msr;         // of the first; they go on in the steps that `stride` says
    uint32_t stride;
};

static const struct name_range architectural[] = {
    {HV_REGISTER_TSC, HV_REGISTER_TSC, MSR_TSC, 1},
    {HV_REGISTER_MTRR_CAP, HV_REGISTER_MTRR_CAP, MSR_MTRRCAP, 1},
    {HV_REGISTER_MTRR_DEF_TYPE, HV_REGISTER_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, 1},
    {HV_REGISTER_MTRR_PHYS_BASE(0), HV_REGISTER_MTRR_PHYS_BASE(MTRR_PAIRS - 1), MSR_MTRR_PHYSBASE0,
     2},
    {HV_REGISTER_MTRR_PHYS_MASK(0), HV_REGISTER_MTRR_PHYS_MASK(MTRR_PAIRS - 1),
     MSR_MTRR_PHYSBASE0 + 1, 2},
    {HV_REGISTER_MTRR_FIX64K00000, HV_REGISTER_MTRR_FIX64K00000, MSR_MTRR_FIX64K, 1},
    {HV_REGISTER_MTRR_FIX16K80000, HV_REGISTER_MTRR_FIX16KA0000, MSR_MTRR_FIX16K_80000, 1},
    {HV_REGISTER_MTRR_FIX4KC0000, HV_REGISTER_MTRR_FIX4KF8000, MSR_MTRR_FIX4K_C0000, 1},
    {HV_REGISTER_TSC_AUX, HV_REGISTER_TSC_AUX, MSR_TSC_AUX, 1},
    {HV_REGISTER_DEBUG_CTL, HV_REGISTER_DEBUG_CTL, MSR_DEBUGCTL, 1},
    {HV_REGISTER_MC_UPDATE_PATCH_LEVEL, HV_REGISTER_MC_UPDATE_PATCH_LEVEL, MSR_BIOS_SIGN_ID, 1},
};

// Synthetic registers (crash, 0009, 000A, 000B) and their MSRs.
static const struct name_range synthetic[] = {
    {HV_REGISTER_GUEST_CRASH_P(0), HV_REGISTER_GUEST_CRASH_P(4), HV_X64_MSR_CRASH_P0, 1},
    {HV_REGISTER_GUEST_CRASH_CTL, HV_REGISTER_GUEST_CRASH_CTL, HV_X64_MSR_CRASH_CTL, 1},
    {HV_REGISTER_VP_RUNTIME, HV_REGISTER_VP_RUNTIME, HV_X64_MSR_VP_RUNTIME, 1},
    {HV_REGISTER_HYPERCALL, HV_REGISTER_HYPERCALL, HV_X64_MSR_HYPERCALL, 1},
    {HV_REGISTER_GUEST_OS_ID, HV_REGISTER_GUEST_OS_ID, HV_X64_MSR_GUEST_OS_ID, 1},
    {HV_REGISTER_VP_INDEX, HV_REGISTER_VP_INDEX, HV_X64_MSR_VP_INDEX, 1},
    {HV_REGISTER_TIME_REF_COUNT, HV_REGISTER_TIME_REF_COUNT, HV_X64_MSR_TIME_REF_COUNT, 1},
    {HV_REGISTER_VP_ASSIST_PAGE, HV_REGISTER_VP_ASSIST_PAGE, HV_X64_MSR_VP_ASSIST_PAGE, 1},
    {HV_REGISTER_REFERENCE_TSC, HV_REGISTER_REFERENCE_TSC, HV_X64_MSR_REFERENCE_TSC, 1},
    {HV_REGISTER_SINT(0), HV_REGISTER_SINT(15), HV_X64_MSR_SINT0, 1},
    {HV_REGISTER_SCONTROL, HV_REGISTER_EOM, HV_X64_MSR_SCONTROL, 1},
    {HV_REGISTER_STIME_UNHALTED_TIMER_CONFIG, HV_REGISTER_STIME_UNHALTED_TIMER_COUNT,
     HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG, 1},
    {HV_REGISTER_STIMER_CONFIG(0), HV_REGISTER_STIMER_COUNT(3), HV_X64_MSR_STIMER0_CONFIG, 1},
};

static uint32_t find_msr(const struct name_range *ranges, size_t count, uint32_t name)
{
    for (size_t i = 0; i < count; i++)
        if (name - ranges[i].first <= ranges[i].last - ranges[i].first)
            return ranges[i].msr + (name - ranges[i].first) * ranges[i].stride;
    return 0;
}

uint16_t register_get_msr(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    uint32_t msr = find_msr(architectural, sizeof(architectural) / sizeof(architectural[0]), name);
    bool known;

    if (name >= HV_REGISTER_APIC_FIRST && name < HV_REGISTER_APIC_FIRST + 0x100)
        return get_apic(vp, name - HV_REGISTER_APIC_FIRST, value);
    if (name == HV_REGISTER_APIC_BASE || name == HV_REGISTER_TSC_DEADLINE) {
        get_apic_base(vp, name, value);
        return HV_STATUS_SUCCESS;
    }
    if (name == HV_REGISTER_INITIAL_APIC_ID) {
        value->reg64 = vp->apic_id;
        return HV_STATUS_SUCCESS;
    }
    if (!msr)
        return vcpu->get_register(vp, name, value);
    return msr_arch_read(vp, msr, &value->reg64, &known) == MSR_OK ? HV_STATUS_SUCCESS
                                                                   : HV_STATUS_INVALID_PARAMETER;
}

uint16_t register_set_msr(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    uint32_t msr = find_msr(architectural, sizeof(architectural) / sizeof(architectural[0]), name);
    bool known;

    if (name >= HV_REGISTER_APIC_FIRST && name < HV_REGISTER_APIC_FIRST + 0x100)
        return set_apic(vp, name - HV_REGISTER_APIC_FIRST, value->reg64);
    if (name == HV_REGISTER_APIC_BASE || name == HV_REGISTER_TSC_DEADLINE)
        return set_apic_base(vp, name, value->reg64);
    // Read-only: what the machine says, and one TSC for all VPs of a partition, which the reference
    // time depends on.
    if (name == HV_REGISTER_TSC || name == HV_REGISTER_MTRR_CAP ||
        name == HV_REGISTER_MC_UPDATE_PATCH_LEVEL)
        return HV_STATUS_INVALID_PARAMETER;
    if (name == HV_REGISTER_PAT && !msr_pat_valid(value->reg64))
        return HV_STATUS_INVALID_REGISTER_VALUE;
    if (!msr)
        return vcpu->set_register(vp, name, value);
    return msr_status(msr_arch_write(vp, msr, value->reg64, &known));
}

// ---- synthetic MSRs -----------------------------------------------------------------------------

static const struct msr_descriptor *find_synthetic(uint32_t name, uint32_t *msr)
{
    *msr = find_msr(synthetic, sizeof(synthetic) / sizeof(synthetic[0]), name);
    return *msr ? &msr_synthetic[*msr - MSR_SYNTHETIC_FIRST] : NULL;
}

uint16_t register_get_synthetic(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    uint32_t msr;
    const struct msr_descriptor *d = find_synthetic(name, &msr);

    if (name == HV_REGISTER_VP_ROOT_SIGNAL_COUNT) {
        value->reg64 = __atomic_load_n(&vp->dispatched.signals, __ATOMIC_RELAXED);
        return HV_STATUS_SUCCESS;
    }
    if (name == HV_REGISTER_SYNTHETIC_ICR || name == HV_REGISTER_SYNTHETIC_TPR)
        return get_apic(vp, apic_index(name), value);
    if (name == HV_REGISTER_REFERENCE_TSC_SEQUENCE) {
        value->reg64 = *(const volatile uint32_t *)vp->partition->reference_tsc.page;
        return HV_STATUS_SUCCESS;
    }
    if (!d || !d->read)
        return HV_STATUS_INVALID_PARAMETER;
    return msr_status(d->read(vp, msr, &value->reg64));
}

uint16_t register_set_synthetic(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    uint32_t msr;
    const struct msr_descriptor *d = find_synthetic(name, &msr);

    if (name == HV_REGISTER_SYNTHETIC_TPR && value->reg64 > HV_MSR_TPR_MASK)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    if (name == HV_REGISTER_SYNTHETIC_ICR || name == HV_REGISTER_SYNTHETIC_TPR)
        return set_apic(vp, apic_index(name), value->reg64);
    // The lock holds for the partition itself.
    if (name == HV_REGISTER_HYPERCALL && vp->partition != this_lp()->vp->partition)
        return msr_status(msr_set_hypercall(vp, value->reg64, false));
    // The parent does not announce a crash.
    if (!d || !d->write || name == HV_REGISTER_GUEST_CRASH_CTL)
        return HV_STATUS_INVALID_PARAMETER;
    return msr_status(d->write(vp, msr, value->reg64));
}
