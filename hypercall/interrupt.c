// SPDX-License-Identifier: BSD-2-Clause-Patent
// Interrupts by hypercall (tlfs-reference 1.3): a parent's for its child, and IPIs.
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "corbel/vpset.h"
#include "corbel/vpstart.h"
#include "hypercall/list.h"

#define FIRST_VECTOR 16u

// Types whose vector means something, and those that can be delivered at all.
#define TYPE(name) (1u << HV_INTERRUPT_TYPE_##name)
static const uint32_t with_vector = TYPE(FIXED) | TYPE(LOWEST_PRIORITY) | TYPE(SIPI);
static const uint32_t deliverable =
    TYPE(FIXED) | TYPE(LOWEST_PRIORITY) | TYPE(SIPI) | TYPE(NMI) | TYPE(INIT);

static void deliver(struct vp *target, uint32_t type, uint32_t vector, bool level)
{
    switch (type) {
    case HV_INTERRUPT_TYPE_NMI:
        vp_send_nmi(target);
        break;
    case HV_INTERRUPT_TYPE_INIT:
        vp_signal(target, VP_WORK_INIT);
        break;
    case HV_INTERRUPT_TYPE_SIPI:
        target->sipi_vector = vector;
        vp_signal(target, VP_WORK_SIPI);
        break;
    default:
        if (vapic_accepts(&target->active->apic))
            vp_post_interrupt(target, vector, level);
        break;
    }
}

// Arbitration starts at a VP that depends on the vector, so that equals share the load.
static uint16_t deliver_to(struct partition *p, uint32_t type, uint32_t vector, bool level,
                           uint32_t destination, bool logical)
{
    struct vp *best = NULL;
    bool matched = false;

    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *target = partition_vp(p, (i + vector) % p->vp_limit);
        if (!target || !vapic_match(&target->active->apic, destination, logical))
            continue;
        matched = true;
        if (type != HV_INTERRUPT_TYPE_LOWEST_PRIORITY)
            deliver(target, type, vector, level);
        else if (!best || vapic_lower_priority(&target->active->apic, &best->active->apic))
            best = target;
    }
    if (best)
        deliver(best, HV_INTERRUPT_TYPE_FIXED, vector, level);
    return matched ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_VP_INDEX;
}

static bool vector_valid(uint32_t type, uint32_t vector)
{
    if (!(with_vector >> type & 1))
        return vector == 0;
    return vector <= 255 && (type == HV_INTERRUPT_TYPE_SIPI || vector >= FIRST_VECTOR);
}

// An edge has nothing to take back and a level is what the virtual APIC latched: deasserting
// succeeds without effect.
static uint16_t assert_interrupt(struct hypercall *call,
                                 const struct hv_input_assert_virtual_interrupt *in)
{
    uint64_t type = in->control & HV_INTERRUPT_CONTROL_TYPE_MASK;
    struct partition *p;
    uint16_t status;

    if ((in->control & HV_INTERRUPT_CONTROL_RESERVED_MASK) || type > HV_INTERRUPT_TYPE_LOCALINT1 ||
        !(deliverable >> type & 1) || in->destination_address >> 32)
        return HV_STATUS_INVALID_PARAMETER;
    if (in->vector != HV_INTERRUPT_VECTOR_NONE && !vector_valid((uint32_t)type, in->vector))
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_active(call, in->partition_id, HYPERCALL_PARENT, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    if (in->vector != HV_INTERRUPT_VECTOR_NONE)
        status = deliver_to(
            p, (uint32_t)type, in->vector, in->control & HV_INTERRUPT_CONTROL_LEVEL_TRIGGERED,
            (uint32_t)in->destination_address, in->control & HV_INTERRUPT_CONTROL_LOGICAL_DEST);
    partition_put(p);
    return status;
}

uint16_t hypercall_assert_interrupt(struct hypercall *call)
{
    const struct hv_input_assert_virtual_interrupt *in = call->input;

    if (in->reserved[0] | in->reserved[1] | in->reserved[2])
        return HV_STATUS_INVALID_PARAMETER;
    if (in->target_vtl)
        return HV_STATUS_INVALID_VTL_STATE;
    return assert_interrupt(call, in);
}

// The bytes of the VTL are padding in the old form.
uint16_t hypercall_assert_interrupt_old(struct hypercall *call)
{
    return assert_interrupt(call, call->input);
}

// Only ExtINT is acknowledged, which children do not get.
uint16_t hypercall_clear_interrupt(struct hypercall *call)
{
    const struct hv_input_partition *in = call->input;
    struct partition *p;
    uint16_t status = hypercall_active(call, in->partition_id, HYPERCALL_PARENT, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    partition_put(p);
    return HV_STATUS_NOT_ACKNOWLEDGED;
}

// ---- synthetic cluster IPI ----------------------------------------------------------------------

static uint16_t send_cluster_ipi(struct hypercall *call,
                                 const struct hv_input_send_synthetic_cluster_ipi *in,
                                 const struct vp_set *set)
{
    struct partition *p = call->caller;

    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *target = partition_vp(p, i);
        if (target && vp_set_has(set, i))
            deliver(target, HV_INTERRUPT_TYPE_FIXED, in->vector, false);
    }
    return HV_STATUS_SUCCESS;
}

// The first eight bytes of both forms are the same.
static uint16_t check_cluster_ipi(const struct hv_input_send_synthetic_cluster_ipi *in)
{
    if (in->vector < HV_IPI_LOW_VECTOR || in->vector > HV_IPI_HIGH_VECTOR || in->flags ||
        in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    return hypercall_input_vtl(in->target_vtl);
}

uint16_t hypercall_cluster_ipi(struct hypercall *call)
{
    const struct hv_input_send_synthetic_cluster_ipi *in = call->input;
    uint16_t status = check_cluster_ipi(in);
    struct vp_set set;

    if (status != HV_STATUS_SUCCESS)
        return status;
    vp_set_mask(&set, in->processor_mask);
    return send_cluster_ipi(call, in, &set);
}

uint16_t hypercall_cluster_ipi_ex(struct hypercall *call)
{
    const struct hv_input_send_synthetic_cluster_ipi_ex *in = call->input;
    uint16_t status = check_cluster_ipi(call->input);
    struct vp_set set;

    if (status == HV_STATUS_SUCCESS)
        status = vp_set_parse(&in->vp_set, call->variable, &set);
    return status == HV_STATUS_SUCCESS ? send_cluster_ipi(call, call->input, &set) : status;
}
