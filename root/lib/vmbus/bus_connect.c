// SPDX-License-Identifier: BSD-2-Clause-Patent
// Connections of Hyper-V sockets: from the guest's request to an offer or a refusal (spec: VMBus
// 2.6).
#include "../mem.h"
#include "bus_priv.h"

static struct bus_connect *find(struct vmbus_bus *bus, const struct vmbus_guid *endpoint,
                                const struct vmbus_guid *service)
{
    for (unsigned i = 0; i < BUS_CONNECTS_MAX; i++) {
        struct bus_connect *connect = &bus->connects[i];
        if (connect->used && vmbus_guid_equal(&connect->endpoint, endpoint) &&
            vmbus_guid_equal(&connect->service, service)) {
            return connect;
        }
    }
    return NULL;
}

// Clients from 4.1 on want to know; others find out by waiting.
static bool hears_refusals(const struct vmbus_bus *bus)
{
    return bus->connection.version >= VMBUS_V4_1;
}

static struct vmbus_msg_tl_result refusal(const struct vmbus_guid *endpoint,
                                          const struct vmbus_guid *service, uint32_t status)
{
    return (struct vmbus_msg_tl_result){.header.type = VMBUS_TL_CONNECT_RESULT,
                                        .endpoint = *endpoint,
                                        .service = *service,
                                        .status = status};
}

void bus_on_connect(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_tl_connect message;

    memcpy(&message, input->bytes, sizeof message);
    if (!find(bus, &message.endpoint, &message.service)) {
        for (unsigned i = 0; i < BUS_CONNECTS_MAX; i++) {
            struct bus_connect *connect = &bus->connects[i];
            if (!connect->used) {
                *connect = (struct bus_connect){
                    .used = true, .endpoint = message.endpoint, .service = message.service};
                return;
            }
        }
    }
    bus_complain(bus, "too many socket connections wait, or one of them twice");
    if (hears_refusals(bus)) {
        const struct vmbus_msg_tl_result result =
            refusal(&message.endpoint, &message.service, VMBUS_STATUS_REFUSED);
        bus_answer(bus, &result, sizeof result);
    }
}

void bus_connected(struct vmbus_bus *bus, const struct vmbus_offer *offer)
{
    struct bus_connect *connect = find(bus, &offer->instance_id, &offer->class_id);

    if (connect) {
        connect->used = false;
    }
}

void bus_refuse(struct vmbus_bus *bus, const struct vmbus_guid *endpoint,
                const struct vmbus_guid *service, uint32_t status)
{
    struct bus_connect *connect = find(bus, endpoint, service);

    if (connect) {
        connect->used = hears_refusals(bus);
        connect->asked = true;
        connect->refused = true;
        connect->status = status;
    }
}

bool bus_next_connect(struct vmbus_bus *bus, bool may_post, struct bus_action *action)
{
    for (unsigned i = 0; i < BUS_CONNECTS_MAX; i++) {
        struct bus_connect *connect = &bus->connects[i];
        if (connect->used && connect->refused && may_post) {
            const struct vmbus_msg_tl_result result =
                refusal(&connect->endpoint, &connect->service, connect->status);
            bus_post(action, bus->connection.vp, VMBUS_SINT, &result, sizeof result);
            connect->used = false;
            return true;
        }
        if (connect->used && !connect->asked) {
            memset(action, 0, sizeof *action);
            action->kind = BUS_TELL_CONNECT;
            action->endpoint = connect->endpoint;
            action->service = connect->service;
            connect->asked = true;
            return true;
        }
    }
    return false;
}

bool bus_connects_wait(const struct vmbus_bus *bus)
{
    for (unsigned i = 0; i < BUS_CONNECTS_MAX; i++) {
        const struct bus_connect *connect = &bus->connects[i];
        if (connect->used && (connect->refused || !connect->asked)) {
            return true;
        }
    }
    return false;
}
