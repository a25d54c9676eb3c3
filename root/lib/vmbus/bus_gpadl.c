// SPDX-License-Identifier: BSD-2-Clause-Patent
// GPADLs: assembling them from messages, references, teardown (spec: VMBus 1.5, 1.6).
//
// A guest waits for GPADL_CREATED and GPADL_TORNDOWN without a limit, so every header whose buffer
// cannot be had and every teardown of something unknown is answered too.
#include "../mem.h"
#include "bus_priv.h"

// ---- queue -------------------------------------------------------------------------------------

static void queue_gpadl(struct vmbus_bus *bus, uint16_t index, uint8_t todo)
{
    struct bus_gpadl *gpadl = &bus->gpadls[index];

    gpadl->todo |= todo;
    if (gpadl->queued) {
        return;
    }
    gpadl->queued = true;
    gpadl->next = BUS_NONE;
    if (bus->gpadl_queue.last == BUS_NONE) {
        bus->gpadl_queue.first = index;
    } else {
        bus->gpadls[bus->gpadl_queue.last].next = index;
    }
    bus->gpadl_queue.last = index;
}

static uint16_t unqueue_gpadl(struct vmbus_bus *bus)
{
    const uint16_t index = bus->gpadl_queue.first;
    struct bus_gpadl *gpadl = &bus->gpadls[index];

    bus->gpadl_queue.first = gpadl->next;
    if (gpadl->next == BUS_NONE) {
        bus->gpadl_queue.last = BUS_NONE;
    }
    gpadl->queued = false;
    return index;
}

// ---- slots -------------------------------------------------------------------------------------

// Clears a slot but for its place in the queue.
static void clear_gpadl(struct bus_gpadl *gpadl)
{
    const bool queued = gpadl->queued;
    const uint16_t next = gpadl->next;

    memset(gpadl, 0, sizeof *gpadl);
    gpadl->queued = queued;
    gpadl->next = next;
}

static void free_gpadl(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_gpadl *gpadl = &bus->gpadls[index];

    vmbus_store_give(&bus->store, gpadl->blocks, vmbus_store_blocks(gpadl->words));
    clear_gpadl(gpadl);
}

uint16_t bus_gpadl_take(struct vmbus_bus *bus, uint32_t words)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        struct bus_gpadl *gpadl = &bus->gpadls[i];
        if (gpadl->state != BUS_GPADL_FREE) {
            continue;
        }
        if (!vmbus_store_take(&bus->store, gpadl->blocks, vmbus_store_blocks(words))) {
            return BUS_NONE;
        }
        gpadl->words = (uint16_t)words;
        return (uint16_t)i;
    }
    return BUS_NONE;
}

uint16_t bus_gpadl_of(const struct vmbus_bus *bus, uint16_t channel, uint32_t id)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        const struct bus_gpadl *gpadl = &bus->gpadls[i];
        if (gpadl->state != BUS_GPADL_FREE && gpadl->state != BUS_GPADL_ORPHAN &&
            gpadl->channel == channel && gpadl->id == id) {
            return (uint16_t)i;
        }
    }
    return BUS_NONE;
}

uint16_t bus_gpadl_partial(const struct vmbus_bus *bus, uint32_t id)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        if (bus->gpadls[i].state == BUS_GPADL_PARTIAL && bus->gpadls[i].id == id) {
            return (uint16_t)i;
        }
    }
    return BUS_NONE;
}

bool bus_has_gpadls(const struct vmbus_bus *bus, uint16_t channel)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        if (bus->gpadls[i].state != BUS_GPADL_FREE && bus->gpadls[i].channel == channel) {
            return true;
        }
    }
    return false;
}

bool bus_gpadls_let_go(const struct vmbus_bus *bus)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        const struct bus_gpadl *gpadl = &bus->gpadls[i];
        if (gpadl->state != BUS_GPADL_FREE && !bus->channels[gpadl->channel].reserved) {
            return false;
        }
    }
    return true;
}

// ---- references --------------------------------------------------------------------------------

// Completes a teardown when nothing refers to the GPADL any more.
static void settle_gpadl(struct vmbus_bus *bus, uint16_t index)
{
    struct bus_gpadl *gpadl = &bus->gpadls[index];

    if (gpadl->held || gpadl->in_ring) {
        return;
    }
    if (gpadl->state == BUS_GPADL_TEARING) {
        gpadl->todo = 0;
        queue_gpadl(bus, index, BUS_DO_TORNDOWN);
    } else if (gpadl->state == BUS_GPADL_ORPHAN) {
        const uint16_t channel = gpadl->channel;
        free_gpadl(bus, index);
        bus_settle(bus, channel);
        bus_check_disconnected(bus);
    }
}

void bus_gpadl_set_ring(struct vmbus_bus *bus, uint16_t index, bool used)
{
    bus->gpadls[index].in_ring = used;
    settle_gpadl(bus, index);
}

uint16_t bus_gpadl_find(struct vmbus_bus *bus, uint16_t channel, uint32_t id)
{
    uint16_t index = bus_gpadl_of(bus, channel, id);

    if (index == BUS_NONE) {
        index = bus_gpadl_of(bus, bus->channels[channel].primary, id);
    }
    return index != BUS_NONE && bus->gpadls[index].state == BUS_GPADL_ACCEPTED ? index : BUS_NONE;
}

void bus_gpadl_hold(struct vmbus_bus *bus, uint16_t index)
{
    bus->gpadls[index].held++;
}

static bool unhold(struct vmbus_bus *bus, uint16_t channel, uint32_t id)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        struct bus_gpadl *gpadl = &bus->gpadls[i];
        if (gpadl->held && gpadl->id == id && gpadl->channel == channel) {
            gpadl->held--;
            settle_gpadl(bus, (uint16_t)i);
            return true;
        }
    }
    return false;
}

void bus_gpadl_unhold(struct vmbus_bus *bus, uint16_t channel, uint32_t id)
{
    const uint16_t primary = bus->channels[channel].primary;

    if (!unhold(bus, channel, id) && primary != channel) {
        unhold(bus, primary, id);
    }
}

void bus_gpadls_unhold(struct vmbus_bus *bus, uint16_t channel)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        struct bus_gpadl *gpadl = &bus->gpadls[i];
        if (gpadl->held && gpadl->channel == channel) {
            gpadl->held = 0;
            settle_gpadl(bus, (uint16_t)i);
        }
    }
}

// The guest wants it gone, in this state.
static void tear(struct vmbus_bus *bus, uint16_t index, enum bus_gpadl_state state)
{
    struct bus_gpadl *gpadl = &bus->gpadls[index];
    const bool told = gpadl->state == BUS_GPADL_TEARING || gpadl->state == BUS_GPADL_ORPHAN;

    gpadl->state = (uint8_t)state;
    gpadl->todo &= (uint8_t)~BUS_DO_TORNDOWN;
    if (gpadl->held && !told) {
        queue_gpadl(bus, index, BUS_DO_REVOKE);
    }
    settle_gpadl(bus, index);
}

void bus_gpadls_orphan(struct vmbus_bus *bus, uint16_t channel)
{
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        if (bus->gpadls[i].state != BUS_GPADL_FREE && bus->gpadls[i].channel == channel) {
            tear(bus, (uint16_t)i, BUS_GPADL_ORPHAN);
        }
    }
}

// ---- messages ----------------------------------------------------------------------------------

static void answer_created(struct vmbus_bus *bus, uint32_t relid, uint32_t id, uint32_t status)
{
    const struct vmbus_msg_gpadl_created message = {
        .header.type = VMBUS_GPADL_CREATED, .relid = relid, .gpadl = id, .status = status};
    bus_answer(bus, &message, sizeof message);
}

// More words of the range buffer. Firmware pads messages, so what is too much is ignored.
static void append(struct vmbus_bus *bus, uint16_t index, const uint8_t *bytes, size_t size)
{
    struct bus_gpadl *gpadl = &bus->gpadls[index];

    for (; size >= 8 && gpadl->filled < gpadl->words; size -= 8, bytes += 8) {
        memcpy(vmbus_store_word(&bus->store, gpadl->blocks, gpadl->filled), bytes, 8);
        gpadl->filled++;
    }
    if (gpadl->filled < gpadl->words) {
        return;
    }
    const struct bus_channel *channel = &bus->channels[gpadl->channel];
    const uint32_t relid = channel->relid, id = gpadl->id;
    gpadl->ranges = (struct vmbus_ranges){.store = bus->store.words, .blocks = gpadl->blocks};
    if (channel->guest == BUS_RESCINDED) {
        free_gpadl(bus, index); // nobody will use it
        answer_created(bus, relid, id, VMBUS_STATUS_FAILED);
    } else if (!vmbus_ranges_validate(&gpadl->ranges, gpadl->words, gpadl->count)) {
        bus_complain(bus, "GPADL with bad ranges");
        free_gpadl(bus, index);
        answer_created(bus, relid, id, VMBUS_STATUS_FAILED);
    } else {
        gpadl->state = BUS_GPADL_ACCEPTED;
        answer_created(bus, relid, id, VMBUS_STATUS_OK);
    }
}

// The slot for a new GPADL; BUS_NONE with a complaint when it cannot be had.
static uint16_t accept_header(struct vmbus_bus *bus, const struct vmbus_msg_gpadl_header *message)
{
    const uint16_t channel = bus_by_relid(bus, message->relid);
    const uint32_t words = message->range_bytes / 8;

    if (channel == BUS_NONE) {
        return BUS_NONE;
    }
    if (bus->channels[channel].reserved) {
        bus_complain(bus, "GPADL for a reserved channel");
        return BUS_NONE;
    }
    if (bus_gpadl_of(bus, channel, message->gpadl) != BUS_NONE ||
        bus_gpadl_partial(bus, message->gpadl) != BUS_NONE) {
        bus_complain(bus, "GPADL id that is in use");
        return BUS_NONE;
    }
    if (words == 0 || message->range_count == 0 || message->range_count > VMBUS_RANGES_MAX) {
        bus_complain(bus, "GPADL of no ranges, or of too many");
        return BUS_NONE;
    }
    const uint16_t index = bus_gpadl_take(bus, words);
    if (index == BUS_NONE) {
        bus_complain(bus, "the guest has used up its GPADLs");
        return BUS_NONE;
    }
    bus->gpadls[index].channel = channel;
    return index;
}

void bus_on_gpadl_header(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_gpadl_header message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = accept_header(bus, &message);
    if (index == BUS_NONE) {
        answer_created(bus, message.relid, message.gpadl, VMBUS_STATUS_FAILED);
        return;
    }
    struct bus_gpadl *gpadl = &bus->gpadls[index];
    gpadl->id = message.gpadl;
    gpadl->count = message.range_count;
    gpadl->state = BUS_GPADL_PARTIAL;
    append(bus, index, input->bytes + sizeof message, input->size - sizeof message);
}

void bus_on_gpadl_body(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_gpadl_body message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t index = bus_gpadl_partial(bus, message.gpadl);
    if (index == BUS_NONE) {
        bus_complain(bus, "GPADL body without a header");
        return;
    }
    append(bus, index, input->bytes + sizeof message, input->size - sizeof message);
}

static void post_torndown(const struct vmbus_bus *bus, uint32_t id, struct bus_action *action)
{
    const struct vmbus_msg_gpadl_torndown message = {.header.type = VMBUS_GPADL_TORNDOWN,
                                                     .gpadl = id};
    bus_post(action, bus->connection.vp, VMBUS_SINT, &message, sizeof message);
}

void bus_on_gpadl_teardown(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_gpadl_teardown message;

    memcpy(&message, input->bytes, sizeof message);
    const uint16_t channel = bus_by_relid(bus, message.relid);
    const uint16_t index =
        channel == BUS_NONE ? BUS_NONE : bus_gpadl_of(bus, channel, message.gpadl);
    if (index == BUS_NONE) {
        // Also the teardown for a withdrawn channel whose GPADL was never made.
        post_torndown(bus, message.gpadl, &bus->reply);
        bus->has_reply = true;
        return;
    }
    if (bus->gpadls[index].state == BUS_GPADL_TEARING) {
        bus_complain(bus, "GPADL torn down twice");
        return;
    }
    tear(bus, index, BUS_GPADL_TEARING);
}

bool bus_next_gpadl(struct vmbus_bus *bus, bool may_post, struct bus_action *action)
{
    uint16_t stop = BUS_NONE;

    while (bus->gpadl_queue.first != BUS_NONE && bus->gpadl_queue.first != stop) {
        const uint16_t index = unqueue_gpadl(bus);
        struct bus_gpadl *gpadl = &bus->gpadls[index];
        if (gpadl->todo & BUS_DO_REVOKE) {
            gpadl->todo &= (uint8_t)~BUS_DO_REVOKE;
            memset(action, 0, sizeof *action);
            action->kind = BUS_TELL_REVOKED;
            action->channel = gpadl->channel;
            action->gpadl = gpadl->id;
            return true;
        }
        if ((gpadl->todo & BUS_DO_TORNDOWN) && may_post) {
            const uint16_t channel = gpadl->channel;
            post_torndown(bus, gpadl->id, action);
            free_gpadl(bus, index);
            bus_settle(bus, channel);
            return true;
        }
        if (gpadl->todo) {
            queue_gpadl(bus, index, gpadl->todo);
            stop = stop == BUS_NONE ? index : stop;
        }
    }
    return false;
}
