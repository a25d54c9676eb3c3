// SPDX-License-Identifier: BSD-2-Clause-Patent
// Device interrupts (tlfs-reference 1.3, HvCallRetargetDeviceInterrupt). No partition owns a device
// yet: a call that is right in everything is told that there is no such device.
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "corbel/vpset.h"
#include "hypercall/list.h"

#define TARGET_FLAGS                                                                               \
    (HV_DEVICE_INTERRUPT_TARGET_MULTICAST | HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET)
#define FIRST_VECTOR 16u
#define LAST_VECTOR  255u

// Whether a set names VPs beyond those that a partition can have; vp_set_parse drops them.
static bool names_impossible(const struct hv_vp_set *set)
{
    const uint64_t *bank = (const uint64_t *)(set + 1);

    for (uint32_t i = 0; i < HV_VP_SET_MAX_BANKS; i++) {
        if (!(set->valid_banks_mask >> i & 1))
            continue;
        if (i >= VP_SET_BANKS && *bank)
            return true;
        bank++;
    }
    return false;
}

// The VPs that the call names: a mask, or a set whose mask and banks are the variable header.
static uint16_t parse_target(const struct hypercall *call, struct vp_set *set)
{
    const struct hv_input_retarget_device_interrupt *in = call->input;
    const struct hv_vp_set *sparse = (const void *)&in->target.mask_or_format;
    uint16_t status;

    if (!(in->target.flags & HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET)) {
        vp_set_mask(set, in->target.mask_or_format);
        return call->variable ? HV_STATUS_INVALID_HYPERCALL_INPUT : HV_STATUS_SUCCESS;
    }
    if (call->variable < sizeof(sparse->valid_banks_mask))
        return HV_STATUS_INVALID_HYPERCALL_INPUT;
    if (sparse->format != HV_VP_SET_FORMAT_SPARSE)
        return HV_STATUS_INVALID_PARAMETER;
    status = vp_set_parse(sparse, call->variable - sizeof(sparse->valid_banks_mask), set);
    if (status == HV_STATUS_SUCCESS && names_impossible(sparse))
        status = HV_STATUS_INVALID_PARAMETER;
    return status;
}

static bool all_exist(const struct partition *p, const struct vp_set *set)
{
    bool any = false;

    for (uint32_t i = 0; i < VP_SET_BANKS * 64; i++) {
        if (!vp_set_has(set, i))
            continue;
        if (!partition_vp(p, i))
            return false;
        any = true;
    }
    return any;
}

uint16_t hypercall_retarget_interrupt(struct hypercall *call)
{
    const struct hv_input_retarget_device_interrupt *in = call->input;
    struct vp_set set;
    struct partition *p;
    uint16_t status;

    if (in->reserved || in->interrupt_entry.reserved || (in->target.flags & ~TARGET_FLAGS) ||
        in->interrupt_entry.source != HV_INTERRUPT_SOURCE_MSI || in->target.vector < FIRST_VECTOR ||
        in->target.vector > LAST_VECTOR)
        return HV_STATUS_INVALID_PARAMETER;
    status = parse_target(call, &set);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = hypercall_active(call, in->partition_id, HYPERCALL_SELF, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = all_exist(p, &set) ? HV_STATUS_INVALID_DEVICE_ID : HV_STATUS_INVALID_PARAMETER;
    partition_put(p);
    return status;
}
