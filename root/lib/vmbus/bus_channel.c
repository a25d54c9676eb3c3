// SPDX-License-Identifier: BSD-2-Clause-Patent
// The two sides of a channel, how they come together, and what comes out of it (spec: VMBus 1.5,
// 1.10). Contract in bus.h.
#include "../mem.h"
#include "bus_priv.h"
#include "ring.h"

// ---- queue -------------------------------------------------------------------------------------

void bus_queue_channel(struct vmbus_bus *bus, uint16_t index, uint8_t todo)
{
    struct bus_channel *channel = &bus->channels[index];

    channel->todo |= todo;
    if (channel->queued) {
        return;
    }
    channel->queued = true;
    channel->next = BUS_NONE;
    if (bus->channel_queue.last == BUS_NONE) {
        bus->channel_queue.first = index;
    } else {
        bus->channels[bus->channel_queue.last].next = index;
    }
    bus->channel_queue.last = index;
}

static uint16_t unqueue_channel(struct vmbus_bus *bus)
{
    const uint16_t index = bus->channel_queue.first;
    struct bus_channel *channel = &bus->channels[index];

    bus->channel_queue.first = channel->next;
    if (channel->next == BUS_NONE) {
        bus->channel_queue.last = BUS_NONE;
    }
    channel->queued = false;
    return index;
}

static void undo(struct bus_channel *channel, unsigned todo)
{
    channel->todo &= (uint8_t)~todo;
}

// ---- the two sides -----------------------------------------------------------------------------

static void end_subchannels(struct vmbus_bus *bus, uint16_t primary)
{
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        if (i != primary && bus->channels[i].used && bus->channels[i].primary == primary) {
            bus_leave(bus, (uint16_t)i);
        }
    }
}

// Devices know some.
static bool has_subchannels(const struct vmbus_bus *bus, uint16_t primary)
{
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        const struct bus_channel *channel = &bus->channels[i];
        if (i != primary && channel->used && !channel->gone && channel->primary == primary) {
            return true;
        }
    }
    return false;
}

// The device side has come to rest.
static void idle(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];
    const uint16_t ring = channel->ring;

    channel->device = BUS_IDLE;
    channel->ring = BUS_NONE;
    if (ring != BUS_NONE) {
        bus_gpadl_set_ring(bus, ring, false);
    }
}

static void refuse_open(struct vmbus_bus *bus, uint16_t index, uint32_t status)
{
    struct bus_channel *channel = &bus->channels[index];

    channel->guest = BUS_OFFERED;
    channel->open_status = status;
    bus_queue_channel(bus, index, BUS_DO_OPEN_RESULT);
}

// A channel that was refused is no longer reserved, once the answer has found its way.
static void open_result_posted(struct bus_channel *channel)
{
    if (channel->guest != BUS_OPEN) {
        channel->reserved = false;
    }
}

// The guest wants the channel open and the device is idle.
static void start(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];
    const uint16_t ring = bus_gpadl_of(bus, index, channel->request.ring_gpadl);

    if (ring == BUS_NONE || bus->gpadls[ring].state != BUS_GPADL_ACCEPTED ||
        !vmbus_rings_valid(&bus->gpadls[ring].ranges, channel->request.out_page)) {
        bus_complain(bus, "the guest opens a channel without good rings");
        refuse_open(bus, index, VMBUS_STATUS_FAILED);
        return;
    }
    channel->device = BUS_STARTED;
    channel->ring = ring;
    bus_gpadl_set_ring(bus, ring, true);
    bus_queue_channel(bus, index, BUS_DO_OPEN);
}

// The guest no longer has the channel open, and the device has not been told.
static void stop(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];

    if (channel->primary == index) {
        end_subchannels(bus, index);
    }
    if (channel->todo & BUS_DO_OPEN) {
        undo(channel, BUS_DO_OPEN); // it never learnt of it
        idle(bus, index);
    } else {
        channel->device = BUS_STOPPING;
        bus_queue_channel(bus, index, BUS_DO_CLOSE);
    }
}

void bus_clear_channel(struct bus_channel *channel)
{
    const bool queued = channel->queued;
    const uint16_t next = channel->next;

    memset(channel, 0, sizeof *channel);
    channel->queued = queued;
    channel->next = next;
}

void bus_settle(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];
    const bool wanted = channel->guest == BUS_OPENING || channel->guest == BUS_OPEN;

    if (!channel->used) {
        return;
    }
    if (channel->device == BUS_IDLE && channel->guest == BUS_OPENING) {
        start(bus, index);
    } else if ((channel->device == BUS_STARTED || channel->device == BUS_RUNNING) && !wanted) {
        stop(bus, index);
    }
    if (channel->device != BUS_IDLE || !channel->leaving) {
        return;
    }
    if (!channel->gone) {
        // A primary goes after its subchannels.
        if (!has_subchannels(bus, index)) {
            bus_queue_channel(bus, index, BUS_DO_RELEASE);
        }
    } else if (channel->guest == BUS_UNKNOWN && !bus_has_gpadls(bus, index)) {
        bus_clear_channel(channel);
        bus->offers_wait = true; // a twin may have waited for it to go
    }
}

void bus_guest_leaves(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];

    if (channel->relid) {
        bus->relids[channel->relid] = BUS_NONE;
    }
    channel->relid = 0;
    channel->guest = BUS_UNKNOWN;
    channel->reserved = false;
    undo(channel, BUS_DO_POSTS);
    bus_gpadls_orphan(bus, index);
    bus_settle(bus, index);
}

bool bus_channels_let_go(const struct vmbus_bus *bus)
{
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        const struct bus_channel *channel = &bus->channels[i];
        if (channel->used && channel->device != BUS_IDLE && !channel->reserved) {
            return false;
        }
    }
    return true;
}

bool bus_is_open(const struct vmbus_bus *bus, uint16_t index)
{
    return bus->channels[index].guest == BUS_OPEN && bus->channels[index].device == BUS_RUNNING;
}

uint32_t bus_target_vp(const struct vmbus_bus *bus, uint16_t index)
{
    return bus->channels[index].request.target_vp;
}

// ---- the host ----------------------------------------------------------------------------------

// The guest, if it knows the channel, learns that it is no more.
static void rescind(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];

    if (channel->primary == index) {
        end_subchannels(bus, index);
    }
    if (bus->connection.state != BUS_CONNECTED) {
        bus_guest_leaves(bus, index); // a reserved channel at most was known
    } else if (channel->guest != BUS_UNKNOWN && channel->guest != BUS_RESCINDED) {
        undo(channel, BUS_DO_POSTS);
        channel->guest = BUS_RESCINDED;
        channel->reserved = false;
        bus_queue_channel(bus, index, BUS_DO_RESCIND);
    }
    bus_settle(bus, index);
}

void bus_leave(struct vmbus_bus *bus, uint16_t index)
{
    if (!bus->channels[index].leaving) {
        bus->channels[index].leaving = true;
        rescind(bus, index);
    }
}

void bus_fail(struct vmbus_bus *bus, uint16_t index)
{
    bus->channels[index].withheld = true;
    if (bus->channels[index].primary == index) {
        rescind(bus, index);
    } else {
        bus_leave(bus, index); // only the open primary could offer it again
    }
}

void bus_restart(struct vmbus_bus *bus, uint16_t index)
{
    rescind(bus, index);
}

void bus_opened(struct vmbus_bus *bus, uint16_t index, uint32_t status)
{
    struct bus_channel *channel = &bus->channels[index];

    if (channel->device != BUS_STARTED || (channel->todo & BUS_DO_OPEN)) {
        return;
    }
    if (status != VMBUS_STATUS_OK) {
        refuse_open(bus, index, status);
        idle(bus, index);
        bus_gpadls_unhold(bus, index);
        return;
    }
    channel->device = BUS_RUNNING;
    channel->guest = BUS_OPEN;
    channel->open_status = VMBUS_STATUS_OK;
    bus_queue_channel(bus, index, BUS_DO_OPEN_RESULT);
}

void bus_closed(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];

    if (channel->device != BUS_STOPPING || (channel->todo & BUS_DO_CLOSE)) {
        return;
    }
    idle(bus, index);
    bus_gpadls_unhold(bus, index);
    if (channel->reserved && channel->guest == BUS_OFFERED) {
        channel->reserved = false;
        if (bus->connection.state == BUS_CONNECTED) {
            bus_queue_channel(bus, index, BUS_DO_CLOSE_RESERVED);
        } else {
            bus_guest_leaves(bus, index);
        }
    }
    bus->offers_wait = true; // it may have been released by the guest meanwhile
    bus_settle(bus, index);
    bus_check_disconnected(bus);
}

void bus_released(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_channel *channel = &bus->channels[index];
    const uint16_t primary = channel->primary;

    channel->gone = true;
    undo(channel, BUS_DO_RELEASE);
    bus_gpadls_unhold(bus, index);
    bus_settle(bus, index);
    if (primary != index) {
        bus_settle(bus, primary);
    }
}

// ---- actions -----------------------------------------------------------------------------------

static void post_open_result(const struct vmbus_bus *bus, const struct bus_channel *channel,
                             struct bus_action *action)
{
    const struct vmbus_msg_open_result message = {.header.type = VMBUS_OPENCHANNEL_RESULT,
                                                  .relid = channel->relid,
                                                  .open_id = channel->request.open_id,
                                                  .status = channel->open_status};

    bus_post(action, channel->reserved ? channel->reserved_vp : bus->connection.vp,
             channel->reserved ? channel->reserved_sint : (uint8_t)VMBUS_SINT, &message,
             sizeof message);
}

static void post_relid(enum vmbus_message_type type, const struct bus_channel *channel, uint32_t vp,
                       uint8_t sint, struct bus_action *action)
{
    const struct vmbus_msg_relid message = {.header.type = type, .relid = channel->relid};

    bus_post(action, vp, sint, &message, sizeof message);
}

static void post_modify_result(const struct vmbus_bus *bus, const struct bus_channel *channel,
                               struct bus_action *action)
{
    const struct vmbus_msg_modify_result message = {.header.type = VMBUS_MODIFYCHANNEL_RESPONSE,
                                                    .relid = channel->relid,
                                                    .status = VMBUS_STATUS_OK};
    bus_post(action, bus->connection.vp, VMBUS_SINT, &message, sizeof message);
}

static void tell(enum bus_action_kind kind, uint16_t index, struct bus_action *action)
{
    memset(action, 0, sizeof *action);
    action->kind = kind;
    action->channel = index;
}

static void act(struct vmbus_bus *bus, uint16_t index, unsigned todo, struct bus_action *action)
{
    const struct bus_channel *channel = &bus->channels[index];

    switch (todo) {
    case BUS_DO_CLOSE:
        tell(BUS_TELL_CLOSE, index, action);
        break;
    case BUS_DO_OPEN_RESULT:
        post_open_result(bus, channel, action);
        break;
    case BUS_DO_MODIFY_RESULT:
        post_modify_result(bus, channel, action);
        break;
    case BUS_DO_RESCIND:
        post_relid(VMBUS_RESCIND_CHANNELOFFER, channel, bus->connection.vp, VMBUS_SINT, action);
        break;
    case BUS_DO_CLOSE_RESERVED:
        post_relid(VMBUS_CLOSE_RESERVED_RESPONSE, channel, channel->reserved_vp,
                   channel->reserved_sint, action);
        break;
    case BUS_DO_OPEN:
        tell(BUS_TELL_OPEN, index, action);
        break;
    default:
        tell(BUS_TELL_RELEASED, index, action);
        break;
    }
}

bool bus_next_channel(struct vmbus_bus *bus, bool may_post, struct bus_action *action)
{
    uint16_t stop = BUS_NONE;

    while (bus->channel_queue.first != BUS_NONE && bus->channel_queue.first != stop) {
        const uint16_t index = unqueue_channel(bus);
        struct bus_channel *channel = &bus->channels[index];
        const unsigned possible = channel->todo & (may_post ? ~0u : ~(unsigned)BUS_DO_POSTS);
        const unsigned todo = possible & -possible; // the lowest bit
        if (todo) {
            act(bus, index, todo, action);
            undo(channel, todo);
        }
        if (todo == BUS_DO_OPEN_RESULT) {
            open_result_posted(channel);
        }
        if (channel->todo) {
            bus_queue_channel(bus, index, 0);
            stop = stop == BUS_NONE ? index : stop;
        }
        if (todo) {
            return true;
        }
    }
    return false;
}
