// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine's properties (tlfs-reference 1, code 007b).
#include "corbel/scheduler.h"
#include "hv/call_system.h"
#include "hypercall/list.h"

uint16_t hypercall_get_system_property(struct hypercall *call)
{
    const struct hv_input_get_system_property *in = call->input;
    struct hv_output_get_system_property *out = call->output;

    if (in->reserved || in->property_id != HV_SYSTEM_PROPERTY_SCHEDULER_TYPE || in->argument)
        return HV_STATUS_INVALID_PARAMETER;
    out->value = scheduler_type();
    return HV_STATUS_SUCCESS;
}
