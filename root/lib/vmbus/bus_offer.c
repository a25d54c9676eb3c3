// SPDX-License-Identifier: BSD-2-Clause-Patent
// Offers: what the host has, and telling the guest of it. Contract in bus.h.
#include "../mem.h"
#include "bus_priv.h"

// ---- the host ----------------------------------------------------------------------------------

static bool is_same(const struct bus_channel *channel, const struct vmbus_offer *offer,
                    uint16_t sub_index)
{
    return channel->used && channel->sub_index == sub_index &&
           vmbus_guid_equal(&channel->offer.class_id, &offer->class_id) &&
           vmbus_guid_equal(&channel->offer.instance_id, &offer->instance_id);
}

static bool is_valid(const struct vmbus_offer *offer)
{
    uint32_t pipe;

    memcpy(&pipe, offer->user_data, sizeof pipe);
    return !(offer->flags & ~VMBUS_OFFER_FLAGS) &&
           (!(offer->flags & VMBUS_OFFER_NAMED_PIPE) || pipe == VMBUS_PIPE_BYTES ||
            pipe == VMBUS_PIPE_MESSAGES);
}

// The lowest index from 1 on that no subchannel of this primary has.
static uint16_t next_sub_index(const struct vmbus_bus *bus, uint16_t primary)
{
    uint16_t highest = 0;

    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        const struct bus_channel *channel = &bus->channels[i];
        if (channel->used && channel->primary == primary && !channel->leaving &&
            channel->sub_index > highest) {
            highest = channel->sub_index;
        }
    }
    return (uint16_t)(highest + 1);
}

uint16_t bus_offer(struct vmbus_bus *bus, const struct vmbus_offer *offer, uint16_t primary)
{
    const uint16_t sub_index = primary == BUS_NONE ? 0 : next_sub_index(bus, primary);
    uint16_t free = BUS_NONE;

    if (!is_valid(offer) || (primary != BUS_NONE && !bus_is_open(bus, primary))) {
        return BUS_NONE;
    }
    for (uint32_t i = bus->limits.channels; i-- > 0;) {
        const struct bus_channel *channel = &bus->channels[i];
        if (!channel->used) {
            free = (uint16_t)i;
        } else if (!channel->leaving && is_same(channel, offer, sub_index)) {
            return BUS_NONE;
        }
    }
    if (free == BUS_NONE) {
        return BUS_NONE;
    }
    struct bus_channel *channel = &bus->channels[free];
    bus_clear_channel(channel);
    channel->used = true;
    channel->offer = *offer;
    channel->primary = primary == BUS_NONE ? free : primary;
    channel->sub_index = sub_index;
    channel->ring = BUS_NONE;
    bus->offers_wait = true;
    bus_connected(bus, offer);
    return free;
}

// ---- the guest ---------------------------------------------------------------------------------

// An older channel of the same ids that the guest has not released: Linux would drop the new one.
static bool has_twin(const struct vmbus_bus *bus, uint16_t index)
{
    const struct bus_channel *channel = &bus->channels[index];

    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        if (i != index && bus->channels[i].guest != BUS_UNKNOWN &&
            is_same(&bus->channels[i], &channel->offer, channel->sub_index)) {
            return true;
        }
    }
    return false;
}

static bool may_offer(const struct vmbus_bus *bus, uint16_t index)
{
    const struct bus_channel *channel = &bus->channels[index];

    return channel->used && !channel->leaving && !channel->withheld &&
           channel->guest == BUS_UNKNOWN && channel->device == BUS_IDLE &&
           (channel->primary == index || bus_is_open(bus, channel->primary));
}

// Those without an order come last: 0 wraps around.
static uint32_t order_of(const struct bus_channel *channel)
{
    return channel->offer.order - 1;
}

// A guest that hibernates finds the same relids when it comes back (spec: VMBus 1.5).
static bool comes_before(const struct bus_channel *a, const struct bus_channel *b)
{
    const int class = vmbus_guid_compare(&a->offer.class_id, &b->offer.class_id);
    const int instance = vmbus_guid_compare(&a->offer.instance_id, &b->offer.instance_id);

    if (class) {
        return class < 0;
    }
    if (order_of(a) != order_of(b)) {
        return order_of(a) < order_of(b);
    }
    return instance ? instance < 0 : a->sub_index < b->sub_index;
}

static uint16_t next_to_offer(const struct vmbus_bus *bus)
{
    uint16_t best = BUS_NONE;

    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        if (may_offer(bus, (uint16_t)i) &&
            (best == BUS_NONE || comes_before(&bus->channels[i], &bus->channels[best])) &&
            !has_twin(bus, (uint16_t)i)) {
            best = (uint16_t)i;
        }
    }
    return best;
}

static void post_offer(const struct vmbus_bus *bus, const struct bus_channel *channel,
                       struct bus_action *action)
{
    struct vmbus_msg_offer message = {
        .header.type = VMBUS_OFFERCHANNEL,
        .class_id = channel->offer.class_id,
        .instance_id = channel->offer.instance_id,
        .flags = channel->offer.flags,
        .mmio_megabytes = channel->offer.mmio_megabytes,
        .sub_index = channel->sub_index,
        .mmio_megabytes_optional = channel->offer.mmio_megabytes_optional,
        .relid = channel->relid,
        .monitor_id = VMBUS_NO_MONITOR,
        .dedicated = 1,
        .connection_id = VMBUS_EVENT_CONNECTION(channel->relid),
    };

    memcpy(message.user_data, channel->offer.user_data, sizeof message.user_data);
    bus_post(action, bus->connection.vp, VMBUS_SINT, &message, sizeof message);
}

bool bus_next_offer(struct vmbus_bus *bus, struct bus_action *action)
{
    const uint16_t index = bus->offers_wait ? next_to_offer(bus) : BUS_NONE;
    uint16_t relid = 1;

    if (index == BUS_NONE) {
        bus->offers_wait = false;
        return false;
    }
    while (bus->relids[relid] != BUS_NONE) {
        relid++; // ends: there are as many relids as channels
    }
    bus->relids[relid] = index;
    bus->channels[index].relid = relid;
    bus->channels[index].guest = BUS_OFFERED;
    post_offer(bus, &bus->channels[index], action);
    return true;
}
