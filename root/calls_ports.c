// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hypercalls for ports, connections, messages and events. TLFS: Inter-Partition Communication
#include "root/calls.h"
#include "root/lib/mem.h"

static _Alignas(HV_PAGE_SIZE) uint8_t input_page[HV_PAGE_SIZE];
static _Alignas(HV_PAGE_SIZE) uint8_t output_page[HV_PAGE_SIZE];

static uint64_t id_of(const struct account *owner)
{
    return owner->partition ? owner->partition : HV_PARTITION_ID_SELF;
}

uint16_t call_create_port(struct account *owner, uint32_t id, uint64_t partner,
                          const struct hv_port_info *info)
{
    struct hv_input_create_port *input = (void *)input_page;

    *input = (struct hv_input_create_port){.port_partition_id = id_of(owner),
                                           .port_id = id,
                                           .connection_partition_id = partner,
                                           .port_info = *info};
    return call_paid(owner, HVCALL_CREATE_PORT, input, NULL);
}

uint16_t call_delete_port(struct account *owner, uint32_t id)
{
    struct hv_input_delete_port *input = (void *)input_page;

    *input = (struct hv_input_delete_port){id_of(owner), id, 0};
    return call_paid(owner, HVCALL_DELETE_PORT, input, NULL);
}

uint16_t call_connect(struct account *owner, uint32_t id, uint64_t receiver, uint32_t port,
                      uint32_t type)
{
    struct hv_input_connect_port *input = (void *)input_page;

    *input = (struct hv_input_connect_port){.connection_partition_id = id_of(owner),
                                            .connection_id = id,
                                            .port_partition_id = receiver,
                                            .port_id = port,
                                            .connection_info = {.port_type = type}};
    return call_paid(owner, HVCALL_CONNECT_PORT, input, NULL);
}

uint16_t call_disconnect(struct account *owner, uint32_t id)
{
    struct hv_input_disconnect_port *input = (void *)input_page;

    *input = (struct hv_input_disconnect_port){id_of(owner), id, 0};
    return call_paid(owner, HVCALL_DISCONNECT_PORT, input, NULL);
}

// ---- messages and events -----------------------------------------------------------------------

static uint16_t use(uint16_t code, const void *input, void *output)
{
    struct account nobody = {0};

    return call_paid(&nobody, code, input, output);
}

uint16_t call_post(uint32_t connection, uint32_t type, const void *payload, size_t size)
{
    struct hv_input_post_message *input = (void *)input_page;

    *input = (struct hv_input_post_message){
        .connection_id = connection, .message_type = type, .payload_size = (uint32_t)size};
    if (size > sizeof input->payload) {
        return HV_STATUS_INVALID_PARAMETER;
    }
    memcpy(input->payload, payload, size);
    return use(HVCALL_POST_MESSAGE, input, NULL);
}

uint16_t call_post_direct(uint64_t partition, uint32_t vp, uint8_t sint, uint32_t type,
                          const void *payload, size_t size)
{
    struct hv_input_post_message_direct *input = (void *)input_page;
    struct hv_message message = {.header = {.message_type = type, .payload_size = (uint8_t)size}};

    if (size > sizeof message.payload) {
        return HV_STATUS_INVALID_PARAMETER;
    }
    memcpy(message.payload, payload, size);
    *input = (struct hv_input_post_message_direct){
        .partition_id = partition, .vp_index = vp, .sint_index = sint};
    memcpy(input->message, &message, sizeof message);
    return use(HVCALL_POST_MESSAGE_DIRECT, input, NULL);
}

uint16_t call_signal_direct(uint64_t partition, uint32_t vp, uint8_t sint, uint16_t flag)
{
    struct hv_input_signal_event_direct *input = (void *)input_page;

    *input = (struct hv_input_signal_event_direct){
        .target_partition = partition, .target_vp = vp, .target_sint = sint, .flag_number = flag};
    return use(HVCALL_SIGNAL_EVENT_DIRECT, input, output_page);
}

uint16_t call_get_property(uint64_t partition, uint32_t property, uint64_t *value)
{
    struct hv_input_get_partition_property *input = (void *)input_page;
    const struct hv_output_get_partition_property *output = (const void *)output_page;

    *input = (struct hv_input_get_partition_property){.partition_id = partition,
                                                      .property_code = property};
    const uint16_t status = use(HVCALL_GET_PARTITION_PROPERTY, input, output_page);
    *value = status == HV_STATUS_SUCCESS ? output->property_value : 0;
    return status;
}

// ---- CPU groups --------------------------------------------------------------------------------

uint16_t call_set_cpu_group(const struct hv_corbel_cpu_group *value)
{
    struct hv_input_set_system_property *input = (void *)input_page;

    *input =
        (struct hv_input_set_system_property){.property_id = HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP};
    memcpy(input->value, value, sizeof *value);
    return use(HVCALL_SET_SYSTEM_PROPERTY, input, NULL);
}

static uint16_t ask(uint32_t property, uint64_t argument, uint64_t *answer)
{
    struct hv_input_get_system_property *input = (void *)input_page;
    const struct hv_output_get_system_property *output = (const void *)output_page;

    *input = (struct hv_input_get_system_property){.property_id = property, .argument = argument};
    const uint16_t status = use(HVCALL_GET_SYSTEM_PROPERTY, input, output_page);
    *answer = status == HV_STATUS_SUCCESS ? output->value : 0;
    return status;
}

uint16_t call_get_cpu_group(uint32_t id, uint64_t what, uint64_t *answer)
{
    return ask(HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP, id | what << HV_CPU_GROUP_ASK_SHIFT, answer);
}

uint16_t call_get_lp(uint32_t lp, uint64_t what, uint64_t *answer)
{
    return ask(HV_SYSTEM_PROPERTY_CORBEL_LP, lp | what << HV_LP_ASK_SHIFT, answer);
}
