// SPDX-License-Identifier: BSD-2-Clause-Patent
// Registers by name. The high half of a name is its class, so one table of classes finds the
// routines; what only the backend holds goes on to it.
#include "corbel/registers.h"

#include "corbel/cpufeatures.h"
#include "corbel/fpu.h"
#include "corbel/hypercall.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/cpuid.h"
#include "hv/msr.h"
#include "hv/status.h"
#include "kernel/registers_priv.h"

#define INDEX(name) (0xffffu & (name))

// ---- 0000: suspension, discovery, crash ---------------------------------------------------------

static const struct {
    uint32_t name;
    uint32_t reason; // enum vp_suspend
} suspends[] = {
    {HV_REGISTER_EXPLICIT_SUSPEND, VP_SUSPEND_EXPLICIT},
    {HV_REGISTER_INTERCEPT_SUSPEND, VP_SUSPEND_INTERCEPT},
};

static uint16_t set_suspend(struct vp *vp, uint32_t reasons, uint64_t value)
{
    if (value > 1)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    if (value)
        vp_suspend(vp, reasons);
    else
        vp_unsuspend(vp, reasons);
    return HV_STATUS_SUCCESS;
}

static uint16_t set_explicit(struct vp *vp, uint64_t value)
{
    bool slept = atomic_load(&vp->suspend) & VP_SUSPEND_EXPLICIT;
    uint16_t status;

    if (slept && value == 0)
        partition_vp_sleeps(vp->partition, false); // time goes before the VP does
    status = set_suspend(vp, VP_SUSPEND_EXPLICIT, value);
    if (!slept && status == HV_STATUS_SUCCESS && value)
        partition_vp_sleeps(vp->partition, true);
    return status;
}

static uint64_t get_activity(const struct vp *vp)
{
    uint32_t suspend = atomic_load(&vp->suspend);

    return (suspend & VP_SUSPEND_STARTUP ? HV_INTERNAL_ACTIVITY_STARTUP_SUSPEND : 0) |
           (suspend & VP_SUSPEND_HALT ? HV_INTERNAL_ACTIVITY_HALT_SUSPEND : 0) |
           (suspend & VP_SUSPEND_IDLE ? HV_INTERNAL_ACTIVITY_IDLE_SUSPEND : 0);
}

static uint16_t set_activity(struct vp *vp, uint64_t value)
{
    if (value & ~(HV_INTERNAL_ACTIVITY_STARTUP_SUSPEND | HV_INTERNAL_ACTIVITY_HALT_SUSPEND |
                  HV_INTERNAL_ACTIVITY_IDLE_SUSPEND))
        return HV_STATUS_INVALID_REGISTER_VALUE;
    set_suspend(vp, VP_SUSPEND_STARTUP, (value & HV_INTERNAL_ACTIVITY_STARTUP_SUSPEND) != 0);
    set_suspend(vp, VP_SUSPEND_HALT, (value & HV_INTERNAL_ACTIVITY_HALT_SUSPEND) != 0);
    set_suspend(vp, VP_SUSPEND_IDLE, (value & HV_INTERNAL_ACTIVITY_IDLE_SUSPEND) != 0);
    return HV_STATUS_SUCCESS;
}

// The CPUID leaf that a discovery register shows, or 0.
static uint32_t discovery_leaf(uint32_t name)
{
    if (name == HV_REGISTER_HYPERVISOR_VERSION)
        return HV_CPUID_VERSION;
    if (name >= HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO &&
        name <= HV_REGISTER_ISOLATION_CONFIGURATION)
        return name - HV_REGISTER_PRIVILEGES_AND_FEATURES_INFO + HV_CPUID_FEATURES;
    return 0;
}

static uint16_t get_general_state(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    uint32_t leaf = discovery_leaf(name);
    uint8_t flags;

    if (name <= HV_REGISTER_INTERCEPT_SUSPEND) {
        value->reg64 = (atomic_load(&vp->suspend) & suspends[name].reason) != 0;
        return HV_STATUS_SUCCESS;
    }
    if (name == HV_REGISTER_DISPATCH_SUSPEND) {
        value->reg64 = (atomic_load(&vp->suspend) & VP_SUSPEND_UNDISPATCHED) != 0;
        return HV_STATUS_SUCCESS;
    }
    if (name == HV_REGISTER_INTERNAL_ACTIVITY_STATE) {
        value->reg64 = get_activity(vp);
        return HV_STATUS_SUCCESS;
    }
    if (name == HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY ||
        name == HV_REGISTER_INTERRUPT_CLOCK_FREQUENCY) {
        value->reg64 = name == HV_REGISTER_PROCESSOR_CLOCK_FREQUENCY
                           ? reftime_tsc_frequency(&vp->partition->reftime)
                           : vp->partition->clock.apic_hz;
        return HV_STATUS_SUCCESS;
    }
    if (!leaf)
        return register_get_synthetic(vp, name, value);
    memcpy(value, cpuid_find(vp->partition->cpuid, leaf, &flags), sizeof(*value));
    return HV_STATUS_SUCCESS;
}

static uint16_t set_general_state(struct vp *vp, uint32_t name,
                                  const union hv_register_value *value)
{
    if (name == HV_REGISTER_EXPLICIT_SUSPEND)
        return set_explicit(vp, value->reg64);
    if (name == HV_REGISTER_INTERCEPT_SUSPEND)
        return set_suspend(vp, VP_SUSPEND_INTERCEPT, value->reg64);
    if (name == HV_REGISTER_DISPATCH_SUSPEND)
        return set_suspend(vp, VP_SUSPEND_UNDISPATCHED, value->reg64);
    if (name == HV_REGISTER_INTERNAL_ACTIVITY_STATE)
        return set_activity(vp, value->reg64);
    return register_set_synthetic(vp, name, value);
}

// ---- 0002: general registers --------------------------------------------------------------------

static uint16_t get_gpr(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    uint32_t index = INDEX(name);

    if (index < GPR_COUNT)
        value->reg64 = vp->gpr[index];
    else if (name == HV_REGISTER_RIP)
        value->reg64 = vp->rip;
    else if (name == HV_REGISTER_RFLAGS)
        value->reg64 = vp->rflags;
    else
        return HV_STATUS_INVALID_PARAMETER;
    return HV_STATUS_SUCCESS;
}

static uint16_t set_gpr(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    uint32_t index = INDEX(name);
    uint64_t v = value->reg64;

    if (index < GPR_COUNT) {
        vp->gpr[index] = v;
    } else if (name == HV_REGISTER_RIP) {
        vp->rip = v;
        vp->shadow = 0; // it was the old instruction's
    } else if (name == HV_REGISTER_RFLAGS) {
        if ((v & ~(uint64_t)RFLAGS_ALLOWED) || !(v & RFLAGS_FIXED))
            return HV_STATUS_INVALID_REGISTER_VALUE;
        vp->rflags = v;
        atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
    } else {
        return HV_STATUS_INVALID_PARAMETER;
    }
    return HV_STATUS_SUCCESS;
}

// ---- 0004: control registers --------------------------------------------------------------------

static uint16_t get_control(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    if (name == HV_REGISTER_XFEM) {
        value->reg64 = vp->xcr0;
        return HV_STATUS_SUCCESS;
    }
    if (name >= HV_REGISTER_INTERMEDIATE_CR0 && name <= HV_REGISTER_INTERMEDIATE_CR8)
        name -= HV_REGISTER_INTERMEDIATE_CR0 - HV_REGISTER_CR0;
    if (name == HV_REGISTER_CR8) {
        value->reg64 = atomic_load_explicit(&vp->active->apic.tpr, memory_order_relaxed) >> 4;
        return HV_STATUS_SUCCESS;
    }
    return vcpu->get_register(vp, name, value);
}

static uint16_t set_control(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    uint64_t v = value->reg64;
    uint16_t status;

    if (name == HV_REGISTER_XFEM) {
        if (!fpu_xcr0_valid(vp->partition->features.xcr0, v))
            return HV_STATUS_INVALID_REGISTER_VALUE;
        fpu_set_xcr0(this_lp(), vp, v);
        return HV_STATUS_SUCCESS;
    }
    if (name == HV_REGISTER_CR8) {
        if (v > 15)
            return HV_STATUS_INVALID_REGISTER_VALUE;
        vapic_set_tpr(&vp->active->apic, (uint8_t)(v << 4));
        vcpu->set_tpr(vp, (uint8_t)(v << 4));
        return HV_STATUS_SUCCESS;
    }
    if (name > HV_REGISTER_CR4)
        return HV_STATUS_INVALID_PARAMETER;
    status = vcpu->set_register(vp, name, value);
    if (status == HV_STATUS_SUCCESS && name == HV_REGISTER_CR2 &&
        register_pending_vector(vp) == EXC_PF)
        vp->exception_parameter = v; // injecting the page fault would load its own
    return status;
}

// ---- 0005: debug registers ----------------------------------------------------------------------

static uint16_t get_debug(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    if (INDEX(name) > 3)
        return vcpu->get_register(vp, name, value);
    value->reg64 = vp->dr[INDEX(name)];
    return HV_STATUS_SUCCESS;
}

static uint16_t set_debug(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    uint16_t status = HV_STATUS_SUCCESS;

    if (INDEX(name) <= 3) {
        vp->dr[INDEX(name)] = value->reg64;
        return status;
    }
    status = vcpu->set_register(vp, name, value);
    if (status == HV_STATUS_SUCCESS && name == HV_REGISTER_DR6 &&
        register_pending_vector(vp) == EXC_DB)
        vp->exception_parameter = value->reg64;
    return status;
}

// ---- 0006, 0007: segments and tables ------------------------------------------------------------

static uint16_t get_vendor(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    return vcpu->get_register(vp, name, value);
}

static uint16_t set_vendor(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    return vcpu->set_register(vp, name, value);
}

// ---- the table ----------------------------------------------------------------------------------

struct register_class {
    uint16_t (*get)(struct vp *vp, uint32_t name, union hv_register_value *value);
    uint16_t (*set)(struct vp *vp, uint32_t name, const union hv_register_value *value);
};

#define CLASS_GENERAL 0x2u

static const struct register_class classes[] = {
    [0x0] = {get_general_state, set_general_state},
    [0x1] = {register_get_pending, register_set_pending},
    [CLASS_GENERAL] = {get_gpr, set_gpr},
    [0x3] = {register_get_fpu, register_set_fpu},
    [0x4] = {get_control, set_control},
    [0x5] = {get_debug, set_debug},
    [0x6] = {get_vendor, set_vendor},
    [0x7] = {get_vendor, set_vendor},
    [0x8] = {register_get_msr, register_set_msr},
    [0x9] = {register_get_synthetic, register_set_synthetic},
    [0xa] = {register_get_synthetic, register_set_synthetic},
    [0xb] = {register_get_synthetic, register_set_synthetic},
    [0xc] = {register_get_ymm, register_set_ymm},
};

uint16_t register_get(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    value->reg128 = (struct hv_u128){0, 0};
    if (name >> 16 >= sizeof(classes) / sizeof(classes[0]))
        return HV_STATUS_INVALID_PARAMETER;
    return classes[name >> 16].get(vp, name, value);
}

uint16_t register_set(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    uint32_t class = name >> 16;
    uint16_t status;

    if (class == CLASS_GENERAL) // in every answer to an intercept
        return set_gpr(vp, name, value);
    if (class >= sizeof(classes) / sizeof(classes[0]))
        return HV_STATUS_INVALID_PARAMETER;
    status = classes[class].set(vp, name, value);
    if (name > HV_REGISTER_INTERCEPT_SUSPEND) // what can be injected may have changed
        atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
    return status;
}
