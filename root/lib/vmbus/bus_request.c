// SPDX-License-Identifier: BSD-2-Clause-Patent
// What guests ask of channels (spec: VMBus 1.4, 1.5).
#include "../mem.h"
#include "bus_priv.h"

enum { SINTS = 16 };

uint16_t bus_by_relid(struct vmbus_bus *bus, uint32_t relid)
{
    const uint16_t index =
        relid >= 1 && relid <= bus->limits.channels ? bus->relids[relid] : BUS_NONE;

    if (index == BUS_NONE) {
        bus_complain(bus, "message for a channel that is not offered");
    }
    return index;
}

static void answer_open(struct vmbus_bus *bus, uint32_t relid, uint32_t open_id)
{
    const struct vmbus_msg_open_result message = {.header.type = VMBUS_OPENCHANNEL_RESULT,
                                                  .relid = relid,
                                                  .open_id = open_id,
                                                  .status = VMBUS_STATUS_FAILED};
    bus_answer(bus, &message, sizeof message);
}

void bus_on_open(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_open message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = bus_by_relid(bus, message.relid);
    struct bus_channel *channel = index == BUS_NONE ? NULL : &bus->channels[index];
    if (!channel || channel->guest != BUS_OFFERED || channel->reserved) {
        bus_complain(bus, "open of a channel that is not closed");
        answer_open(bus, message.relid, message.open_id);
        return;
    }
    channel->request = (struct bus_open_request){.open_id = message.open_id,
                                                 .ring_gpadl = message.ring_gpadl,
                                                 .target_vp = message.target_vp,
                                                 .out_page = message.out_page};
    memcpy(channel->request.user_data, message.user_data, sizeof message.user_data);
    channel->guest = BUS_OPENING;
    bus_settle(bus, index);
}

void bus_on_close(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_relid message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = bus_by_relid(bus, message.relid);
    if (index == BUS_NONE || bus->channels[index].guest == BUS_RESCINDED) {
        return;
    }
    if (bus->channels[index].guest != BUS_OPEN || bus->channels[index].reserved) {
        bus_complain(bus, "close of a channel that is not open");
        return;
    }
    bus->channels[index].guest = BUS_OFFERED;
    bus_settle(bus, index);
}

void bus_on_released(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_relid message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = bus_by_relid(bus, message.relid);
    if (index == BUS_NONE) {
        return;
    }
    const uint8_t guest = bus->channels[index].guest;
    if (guest != BUS_OFFERED && guest != BUS_RESCINDED) {
        bus_complain(bus, "release of a channel that is open");
        return;
    }
    // What the guest does not want is not offered again. What the host took away may be.
    bus->channels[index].withheld |= guest == BUS_OFFERED;
    bus_guest_leaves(bus, index);
    bus->offers_wait = true;
}

void bus_on_modify(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_modify message;
    const bool answered = bus->connection.version >= VMBUS_V5_3;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = bus_by_relid(bus, message.relid);
    if (index != BUS_NONE && bus_is_open(bus, index) && !bus->channels[index].reserved) {
        bus->channels[index].request.target_vp = message.target_vp;
        if (answered) {
            bus_queue_channel(bus, index, BUS_DO_MODIFY_RESULT);
        }
        return;
    }
    bus_complain(bus, "modification of a channel that is not open");
    if (answered) {
        const struct vmbus_msg_modify_result result = {.header.type = VMBUS_MODIFYCHANNEL_RESPONSE,
                                                       .relid = message.relid,
                                                       .status = VMBUS_STATUS_FAILED};
        bus_answer(bus, &result, sizeof result);
    }
}

// Reserved channels are for the time after a crash (spec: VMBus 1.4): they are opened without
// interrupts, and their answers go to the VP and SINT that the request names.
void bus_on_open_reserved(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_open_reserved message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = bus_by_relid(bus, message.relid);
    struct bus_channel *channel = index == BUS_NONE ? NULL : &bus->channels[index];
    // One that is still closing is refused: its rings would change under the device.
    if (!channel || channel->guest != BUS_OFFERED || channel->device != BUS_IDLE ||
        message.sint >= SINTS) {
        bus_complain(bus, "reserved open of a channel that is not closed");
        answer_open(bus, message.relid, 0);
        if (message.sint < SINTS) {
            bus->reply.vp = message.target_vp;
            bus->reply.sint = (uint8_t)message.sint;
        }
        return;
    }
    channel->request = (struct bus_open_request){.ring_gpadl = message.ring_gpadl,
                                                 .target_vp = VMBUS_NO_INTERRUPTS,
                                                 .out_page = message.out_page};
    channel->reserved = true;
    channel->reserved_vp = message.target_vp;
    channel->reserved_sint = (uint8_t)message.sint;
    channel->guest = BUS_OPENING;
    bus_settle(bus, index);
}

void bus_on_close_reserved(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_close_reserved message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = bus_by_relid(bus, message.relid);
    struct bus_channel *channel = index == BUS_NONE ? NULL : &bus->channels[index];
    if (!channel || !channel->reserved || channel->guest != BUS_OPEN || message.sint >= SINTS) {
        bus_complain(bus, "reserved close of a channel that is not so open");
        return;
    }
    channel->reserved_vp = message.target_vp;
    channel->reserved_sint = (uint8_t)message.sint;
    channel->guest = BUS_OFFERED;
    bus_settle(bus, index);
}
