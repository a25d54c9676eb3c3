// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a child has accessed and written.
#include "corbel/partition.h"
#include "hypercall/list.h"

static uint16_t harvest(struct hypercall *call, struct partition *p, struct gpa_batch *batch)
{
    const struct hv_input_get_gpa_pages_access_state *in = call->input;
    uint8_t *states = call->out_elements;
    uint16_t status = HV_STATUS_SUCCESS;

    while (call->done < call->limit) {
        if (!gpa_batch_has_room(batch)) {
            partition_commit(p, batch);
            gpa_batch_init(batch, &p->gpa);
        }
        status = gpa_access_state(&p->gpa, in->gpa_page_number + call->done, in->flags,
                                  &states[call->done - call->start], batch);
        if (status != HV_STATUS_SUCCESS)
            break;
        call->done++;
        if (call->done < call->limit && hypercall_stop(call))
            break;
    }
    return status;
}

// Of a partition that has it (HvPartitionPropertyGpaPageAccessTracking).
uint16_t hypercall_get_access_state(struct hypercall *call)
{
    const struct hv_input_get_gpa_pages_access_state *in = call->input;
    struct gpa_batch batch;
    struct partition *p;
    uint16_t status = hypercall_active(call, in->partition_id, HYPERCALL_PARENT, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    gpa_batch_init(&batch, &p->gpa);
    if (!atomic_load(&p->gpa.tracked))
        status = HV_STATUS_OPERATION_DENIED;
    else if (in->gpa_page_number >= p->gpa.page_limit)
        status = HV_STATUS_INVALID_PARAMETER;
    else
        status = harvest(call, p, &batch);
    partition_commit(p, &batch);
    partition_put(p);
    return status;
}
