// SPDX-License-Identifier: BSD-2-Clause-Patent
// Results of intercepts that a parent registers for its child, so that it need not be asked:
// CPUID's, and those of MSRs that do not exist (tlfs-reference 1.9).
#include "corbel/cpuid.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "hypercall/list.h"

#define READ_WRITE (HV_INTERCEPT_ACCESS_MASK_READ | HV_INTERCEPT_ACCESS_MASK_WRITE)

static bool access_valid(uint32_t access)
{
    return access && !(access & ~READ_WRITE);
}

static bool result_valid(uint32_t type, const void *parameters)
{
    const struct hv_register_cpuid_result *cpuid = parameters;
    const struct hv_register_msr_result *msr = parameters;

    if (type == HV_INTERCEPT_TYPE_X64_CPUID)
        return cpuid->subleaf_specific <= 1 && cpuid->always_override <= 1 && !cpuid->padding;
    return type == HV_INTERCEPT_TYPE_X64_MSR_INDEX && access_valid(msr->access_type) &&
           msr->action <= HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO;
}

// The child a result is for, active, and if the result is for one VP, with that VP.
static uint16_t result_target(struct hypercall *call, struct partition **p)
{
    const struct hv_input_register_intercept_result *in = call->input;
    uint16_t status = hypercall_active(call, in->partition_id, HYPERCALL_PARENT, p);

    if (status == HV_STATUS_SUCCESS && in->vp_index != HV_ANY_VP &&
        !partition_vp(*p, in->vp_index)) {
        partition_put(*p);
        status = HV_STATUS_INVALID_VP_INDEX;
    }
    return status;
}

uint16_t hypercall_register_result(struct hypercall *call)
{
    const struct hv_input_register_cpuid_result *in = call->input;
    const void *parameters = &in->result;
    struct partition *p;
    uint16_t status;

    if (!result_valid(in->intercept_type, parameters))
        return HV_STATUS_INVALID_PARAMETER;
    status = result_target(call, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    spin_lock(&p->lock);
    status = in->intercept_type == HV_INTERCEPT_TYPE_X64_CPUID
                 ? cpuid_register(p, in->vp_index, parameters)
                 : msr_result_register(p, in->vp_index, parameters);
    spin_unlock(&p->lock);
    partition_put(p);
    return status;
}

// Of an MSR's key, the number stands where CPUID's leaf does, and the access type where the subleaf
// does.
uint16_t hypercall_unregister_result(struct hypercall *call)
{
    const struct hv_input_unregister_cpuid_result *in = call->input;
    const struct hv_register_cpuid_result key = {
        .eax = in->eax, .ecx = in->ecx, .subleaf_specific = in->subleaf_specific};
    const bool cpuid = in->intercept_type == HV_INTERCEPT_TYPE_X64_CPUID;
    struct partition *p;
    uint16_t status;

    if (cpuid ? in->subleaf_specific > 1
              : in->intercept_type != HV_INTERCEPT_TYPE_X64_MSR_INDEX || !access_valid(in->ecx))
        return HV_STATUS_INVALID_PARAMETER;
    status = result_target(call, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    spin_lock(&p->lock);
    status = cpuid ? cpuid_unregister(p, in->vp_index, &key)
                   : msr_result_unregister(p, in->vp_index, in->eax, in->ecx);
    spin_unlock(&p->lock);
    partition_put(p);
    return status;
}
