// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine's properties (tlfs-reference 1, codes 006f and 007b).
#include "corbel/cpugroup.h"
#include "corbel/scheduler.h"
#include "hv/call_system.h"
#include "hypercall/list.h"

uint16_t hypercall_get_system_property(struct hypercall *call)
{
    const struct hv_input_get_system_property *in = call->input;
    struct hv_output_get_system_property *out = call->output;

    if (in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    if (in->property_id == HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP)
        return cpugroup_get((uint32_t)in->argument,
                            (uint32_t)(in->argument >> HV_CPU_GROUP_ASK_SHIFT), &out->value);
    if (in->property_id == HV_SYSTEM_PROPERTY_CORBEL_LP)
        return scheduler_lp((uint32_t)in->argument, (uint32_t)(in->argument >> HV_LP_ASK_SHIFT),
                            &out->value);
    if (in->property_id != HV_SYSTEM_PROPERTY_SCHEDULER_TYPE || in->argument)
        return HV_STATUS_INVALID_PARAMETER;
    out->value = scheduler_type();
    return HV_STATUS_SUCCESS;
}

uint16_t hypercall_set_system_property(struct hypercall *call)
{
    const struct hv_input_set_system_property *in = call->input;

    if (in->reserved || in->property_id != HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP || in->value[6] ||
        in->value[7])
        return HV_STATUS_INVALID_PARAMETER;
    return cpugroup_set((const struct hv_corbel_cpu_group *)in->value);
}
