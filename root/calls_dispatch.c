// SPDX-License-Identifier: BSD-2-Clause-Patent
// The calls of the root scheduler: contract in calls.h.
#include "hv/call_system.h"
#include "root/calls.h"
#include "root/hv.h"

uint16_t call_scheduler_type(uint64_t *type)
{
    struct hv_input_get_system_property in
        __attribute__((aligned(16))) = {.property_id = HV_SYSTEM_PROPERTY_SCHEDULER_TYPE};
    uint64_t value __attribute__((aligned(8))) = 0;
    const uint16_t status = call_paid(NULL, HVCALL_GET_SYSTEM_PROPERTY, &in, &value);

    *type = value;
    return status;
}

uint16_t call_map_message_page(struct account *account, uint32_t vp, const struct hv_message **page)
{
    struct hv_input_map_vp_state_page in
        __attribute__((aligned(32))) = {.partition_id = account->partition,
                                        .vp_index = vp,
                                        .type = HV_VP_STATE_PAGE_INTERCEPT_MESSAGE};
    struct hv_output_map_vp_state_page out __attribute__((aligned(8))) = {0};
    const uint16_t status = call_paid(account, HVCALL_MAP_VP_STATE_PAGE, &in, &out);

    *page = (const struct hv_message *)(out.gpa_page << HV_PAGE_SHIFT);
    return status;
}

uint16_t call_dispatch_vp(uint64_t partition, uint32_t vp, uint64_t slice,
                          struct hv_input_dispatch_vp *in, struct hv_output_dispatch_vp *out)
{
    *in = (struct hv_input_dispatch_vp){
        .partition_id = partition, .vp_index = vp, .time_slice = slice};
    return hv_hypercall_result_status(hv_hypercall(HVCALL_DISPATCH_VP, in, out));
}
