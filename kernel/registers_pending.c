// SPDX-License-Identifier: BSD-2-Clause-Patent
// PendingInterruption, InterruptState and the pending events (tlfs-reference 2.10). They are views
// of what the VP will inject at its next entry.
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/status.h"
#include "kernel/registers_priv.h"

#define PENDING HV_PENDING_INTERRUPTION_PENDING

static uint32_t type_of(uint64_t pending)
{
    return (pending & HV_PENDING_INTERRUPTION_TYPE_MASK) >> HV_PENDING_INTERRUPTION_TYPE_SHIFT;
}

static uint32_t vector_of(uint64_t pending)
{
    return (pending & HV_PENDING_INTERRUPTION_VECTOR_MASK) >> HV_PENDING_INTERRUPTION_VECTOR_SHIFT;
}

uint32_t register_pending_vector(const struct vp *vp)
{
    uint64_t p = vp->pending_interruption;

    return (p & PENDING) && type_of(p) == HV_INTERRUPTION_TYPE_EXCEPTION ? vector_of(p)
                                                                         : UINT32_MAX;
}

// What the processor will load with the exception: it is in the register already unless the parent
// says otherwise.
static uint64_t present_parameter(struct vp *vp, uint32_t vector)
{
    union hv_register_value v = {.reg128 = {0, 0}};

    if (vector == EXC_PF)
        vcpu->get_register(vp, HV_REGISTER_CR2, &v);
    else if (vector == EXC_DB)
        vcpu->get_register(vp, HV_REGISTER_DR6, &v);
    return v.reg64;
}

// Types that can be injected, and vectors that go with them.
static bool injectable(uint64_t value)
{
    uint32_t type = type_of(value), vector = vector_of(value);
    bool exception = type == HV_INTERRUPTION_TYPE_EXCEPTION ||
                     type == HV_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION ||
                     type == HV_INTERRUPTION_TYPE_PRIVILEGED_SW_EXCEPTION;

    if (value & (HV_PENDING_INTERRUPTION_RESERVED_MASK | HV_PENDING_INTERRUPTION_NESTED_EVENT))
        return false;
    if (type == 1 || type == 7 || vector > 255)
        return false;
    if (type == HV_INTERRUPTION_TYPE_NMI && vector != EXC_NMI)
        return false;
    if (exception && (vector > 31 || vector == EXC_NMI))
        return false;
    return exception || !(value & HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE);
}

static void make_pending(struct vp *vp, uint64_t value, uint64_t parameter)
{
    vp->pending_interruption = value;
    vp->exception_parameter = parameter;
    if (value & PENDING)
        vp_signal(vp, VP_WORK_INTERRUPT);
}

static uint16_t set_interruption(struct vp *vp, uint64_t value)
{
    if (!(value & PENDING)) {
        vp->pending_interruption = 0;
        return HV_STATUS_SUCCESS;
    }
    if (!injectable(value))
        return HV_STATUS_INVALID_REGISTER_VALUE;
    make_pending(vp, value, present_parameter(vp, vector_of(value)));
    return HV_STATUS_SUCCESS;
}

static uint16_t set_interrupt_state(struct vp *vp, uint64_t value)
{
    if (value & ~(HV_INTERRUPT_STATE_INTERRUPT_SHADOW | HV_INTERRUPT_STATE_NMI_MASKED))
        return HV_STATUS_INVALID_REGISTER_VALUE;
    vp->shadow = value & HV_INTERRUPT_STATE_INTERRUPT_SHADOW;
    vp->nmi_masked = value & HV_INTERRUPT_STATE_NMI_MASKED;
    vp->nmi_step = false;
    vcpu->nmi_window(vp, vp->nmi_masked);
    return HV_STATUS_SUCCESS;
}

static void get_event0(const struct vp *vp, union hv_register_value *value)
{
    uint64_t p = vp->pending_interruption;

    if (register_pending_vector(vp) == UINT32_MAX)
        return;
    value->reg128.low =
        HV_PENDING_EVENT_PENDING |
        (uint64_t)HV_PENDING_EVENT_EXCEPTION << HV_PENDING_EVENT_TYPE_SHIFT |
        (p & HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE ? HV_PENDING_EXCEPTION_DELIVER_ERROR_CODE
                                                        : 0) |
        (p & (HV_PENDING_INTERRUPTION_VECTOR_MASK | HV_PENDING_INTERRUPTION_ERROR_CODE_MASK));
    value->reg128.high = vp->exception_parameter;
}

static uint16_t set_event0(struct vp *vp, const struct hv_u128 *value)
{
    uint32_t type = (value->low & HV_PENDING_EVENT_TYPE_MASK) >> HV_PENDING_EVENT_TYPE_SHIFT;
    uint64_t pending;

    if (!(value->low & HV_PENDING_EVENT_PENDING)) {
        if (register_pending_vector(vp) != UINT32_MAX)
            vp->pending_interruption = 0;
        return HV_STATUS_SUCCESS;
    }
    if (type != HV_PENDING_EVENT_EXCEPTION)
        return HV_STATUS_INVALID_REGISTER_VALUE;
    pending =
        PENDING | (uint64_t)HV_INTERRUPTION_TYPE_EXCEPTION << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
        (value->low & HV_PENDING_EXCEPTION_DELIVER_ERROR_CODE
             ? HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE
             : 0) |
        (value->low & (HV_PENDING_EXCEPTION_VECTOR_MASK | HV_PENDING_EXCEPTION_ERROR_CODE_MASK));
    if (!injectable(pending))
        return HV_STATUS_INVALID_REGISTER_VALUE;
    make_pending(vp, pending, value->high);
    return HV_STATUS_SUCCESS;
}

uint16_t register_get_pending(struct vp *vp, uint32_t name, union hv_register_value *value)
{
    switch (name) {
    case HV_REGISTER_PENDING_INTERRUPTION:
        value->reg64 = vp->pending_interruption;
        return HV_STATUS_SUCCESS;
    case HV_REGISTER_INTERRUPT_STATE:
        value->reg64 = vp->shadow | (vp->nmi_masked ? HV_INTERRUPT_STATE_NMI_MASKED : 0);
        return HV_STATUS_SUCCESS;
    case HV_REGISTER_PENDING_EVENT0:
        get_event0(vp, value);
        return HV_STATUS_SUCCESS;
    case HV_REGISTER_PENDING_EVENT1:
    case HV_REGISTER_DELIVERABILITY_NOTIFICATIONS:
        return HV_STATUS_SUCCESS; // none is ever set
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
}

uint16_t register_set_pending(struct vp *vp, uint32_t name, const union hv_register_value *value)
{
    switch (name) {
    case HV_REGISTER_PENDING_INTERRUPTION:
        return set_interruption(vp, value->reg64);
    case HV_REGISTER_INTERRUPT_STATE:
        return set_interrupt_state(vp, value->reg64);
    case HV_REGISTER_PENDING_EVENT0:
        return set_event0(vp, &value->reg128);
    case HV_REGISTER_PENDING_EVENT1:
    case HV_REGISTER_DELIVERABILITY_NOTIFICATIONS:
        return value->reg64 ? HV_STATUS_INVALID_REGISTER_VALUE : HV_STATUS_SUCCESS;
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
}
