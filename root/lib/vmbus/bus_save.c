// SPDX-License-Identifier: BSD-2-Clause-Patent
// Save and restore of the protocol state: contract in bus.h. What is read back may have been
// written by anybody, so every relation between the tables that the rest of the code relies on is
// checked.
#include "../mem.h"
#include "bus_priv.h"
#include "ring.h"

enum { SINTS = 16 };

bool bus_is_at_rest(const struct vmbus_bus *bus)
{
    if (bus->connection.state == BUS_DISCONNECTING) {
        return false;
    }
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        const struct bus_channel *channel = &bus->channels[i];
        if (channel->used && ((channel->todo & ~BUS_DO_POSTS) || channel->device == BUS_STARTED ||
                              channel->device == BUS_STOPPING)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        const struct bus_gpadl *gpadl = &bus->gpadls[i];
        if (gpadl->state != BUS_GPADL_FREE && gpadl->state != BUS_GPADL_PARTIAL &&
            gpadl->state != BUS_GPADL_ACCEPTED && gpadl->held) {
            return false;
        }
    }
    return true;
}

// ---- save --------------------------------------------------------------------------------------

static void put_guid(struct blob_writer *blob, const struct vmbus_guid *guid)
{
    blob_put_bytes(blob, guid->bytes, sizeof guid->bytes);
}

void bus_save_post(struct blob_writer *blob, const struct bus_action *post)
{
    blob_put_u32(blob, post->vp);
    blob_put_u8(blob, post->sint);
    blob_put_u16(blob, post->size);
    blob_put_bytes(blob, post->message, post->size);
}

static void save_connection(const struct vmbus_bus *bus, struct blob_writer *blob)
{
    const struct bus_connection *connection = &bus->connection;

    blob_put_u32(blob, connection->version);
    blob_put_u32(blob, connection->vp);
    blob_put_u8(blob, connection->offers_asked);
    blob_put_u8(blob, connection->offers_told);
    blob_put_u8(blob, bus->has_reply);
    if (bus->has_reply) {
        bus_save_post(blob, &bus->reply);
    }
    for (unsigned i = 0; i < BUS_CONNECTS_MAX; i++) {
        const struct bus_connect *connect = &bus->connects[i];
        blob_put_u8(blob, connect->used);
        if (connect->used) {
            put_guid(blob, &connect->endpoint);
            put_guid(blob, &connect->service);
            blob_put_u32(blob, connect->status);
            blob_put_u8(blob, connect->refused);
        }
    }
}

static void save_channel(const struct bus_channel *channel, uint16_t index,
                         struct blob_writer *blob)
{
    blob_put_u16(blob, index);
    put_guid(blob, &channel->offer.class_id);
    put_guid(blob, &channel->offer.instance_id);
    blob_put_u16(blob, channel->sub_index);
    blob_put_u16(blob, channel->relid);
    blob_put_u8(blob, channel->guest);
    blob_put_u8(blob, channel->todo);
    blob_put_u8(blob, channel->leaving);
    blob_put_u8(blob, channel->withheld);
    blob_put_u8(blob, channel->reserved);
    blob_put_u32(blob, channel->reserved_vp);
    blob_put_u8(blob, channel->reserved_sint);
    blob_put_u32(blob, channel->open_status);
    blob_put_u32(blob, channel->request.open_id);
    blob_put_u32(blob, channel->request.ring_gpadl);
    blob_put_u32(blob, channel->request.target_vp);
    blob_put_u32(blob, channel->request.out_page);
    blob_put_bytes(blob, channel->request.user_data, sizeof channel->request.user_data);
}

// Primaries come before their subchannels.
static void save_channels(const struct vmbus_bus *bus, struct blob_writer *blob)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        count += bus->channels[i].used;
    }
    blob_put_u32(blob, count);
    for (unsigned subs = 0; subs < 2; subs++) {
        for (uint32_t i = 0; i < bus->limits.channels; i++) {
            if (bus->channels[i].used && (bus->channels[i].sub_index != 0) == subs) {
                save_channel(&bus->channels[i], (uint16_t)i, blob);
            }
        }
    }
}

static void save_gpadls(const struct vmbus_bus *bus, struct blob_writer *blob)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        count += bus->gpadls[i].state != BUS_GPADL_FREE;
    }
    blob_put_u32(blob, count);
    for (uint32_t i = 0; i < bus->limits.gpadls; i++) {
        const struct bus_gpadl *gpadl = &bus->gpadls[i];
        if (gpadl->state == BUS_GPADL_FREE) {
            continue;
        }
        blob_put_u16(blob, gpadl->channel);
        blob_put_u32(blob, gpadl->id);
        blob_put_u8(blob, gpadl->state);
        blob_put_u8(blob, gpadl->in_ring);
        blob_put_u16(blob, gpadl->count);
        blob_put_u16(blob, gpadl->words);
        blob_put_u16(blob, gpadl->filled);
        for (uint32_t word = 0; word < gpadl->filled; word++) {
            blob_put_u64(blob, *vmbus_store_word(&bus->store, gpadl->blocks, word));
        }
    }
}

void bus_save(const struct vmbus_bus *bus, struct blob_writer *blob)
{
    save_connection(bus, blob);
    save_channels(bus, blob);
    save_gpadls(bus, blob);
}

// ---- restore -----------------------------------------------------------------------------------

static void get_guid(struct blob_reader *blob, struct vmbus_guid *guid)
{
    blob_get_bytes(blob, guid->bytes, sizeof guid->bytes);
}

void bus_restore_post(struct blob_reader *blob, struct bus_action *post)
{
    memset(post, 0, sizeof *post);
    post->kind = BUS_POST;
    post->channel = BUS_NONE;
    post->vp = blob_get_u32(blob);
    post->sint = blob_get_u8(blob);
    post->size = blob_get_u16(blob);
    if (post->sint >= SINTS || post->size < sizeof(struct vmbus_header) ||
        post->size > VMBUS_MESSAGE_MAX) {
        blob_fail(blob);
        return;
    }
    blob_get_bytes(blob, post->message, post->size);
}

static void restore_connection(struct vmbus_bus *bus, struct blob_reader *blob)
{
    struct bus_connection *connection = &bus->connection;

    connection->version = blob_get_u32(blob);
    connection->vp = blob_get_u32(blob);
    connection->offers_asked = blob_get_bool(blob);
    connection->offers_told = blob_get_bool(blob);
    connection->state = connection->version ? BUS_CONNECTED : BUS_DISCONNECTED;
    if ((connection->version && !bus_is_supported(bus, connection->version)) ||
        (connection->offers_asked && !connection->version) ||
        (connection->offers_told && !connection->offers_asked)) {
        blob_fail(blob);
    }
    bus->has_reply = blob_get_bool(blob);
    if (bus->has_reply) {
        bus_restore_post(blob, &bus->reply);
    }
    for (unsigned i = 0; i < BUS_CONNECTS_MAX; i++) {
        struct bus_connect *connect = &bus->connects[i];
        connect->used = blob_get_bool(blob);
        if (connect->used) {
            get_guid(blob, &connect->endpoint);
            get_guid(blob, &connect->service);
            connect->status = blob_get_u32(blob);
            connect->refused = blob_get_bool(blob);
            connect->asked = connect->refused; // the owner of a new server has not been asked
        }
    }
}

uint16_t bus_restored(const struct vmbus_bus *bus, uint16_t saved_as)
{
    for (uint32_t i = 0; saved_as != BUS_NONE && i < bus->limits.channels; i++) {
        if (bus->channels[i].used && bus->channels[i].saved_as == saved_as) {
            return (uint16_t)i;
        }
    }
    return BUS_NONE;
}

// The offered primary with the ids of the saved channel; BUS_NONE when there is none.
static uint16_t find_primary(const struct vmbus_bus *bus, const struct bus_channel *saved)
{
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        const struct bus_channel *channel = &bus->channels[i];
        if (channel->used && !channel->leaving && channel->sub_index == 0 &&
            vmbus_guid_equal(&channel->offer.class_id, &saved->offer.class_id) &&
            vmbus_guid_equal(&channel->offer.instance_id, &saved->offer.instance_id)) {
            return (uint16_t)i;
        }
    }
    return BUS_NONE;
}

static uint16_t find_free(const struct vmbus_bus *bus)
{
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        if (!bus->channels[i].used) {
            return (uint16_t)i;
        }
    }
    return BUS_NONE;
}

static bool has_sub(const struct vmbus_bus *bus, uint16_t primary, uint16_t sub_index)
{
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        const struct bus_channel *channel = &bus->channels[i];
        if (channel->used && !channel->leaving && channel->primary == primary &&
            channel->sub_index == sub_index) {
            return true;
        }
    }
    return false;
}

// The slot that a saved channel comes back to, with what the offer of today says; BUS_NONE when
// there is none for it.
static uint16_t place(struct vmbus_bus *bus, struct bus_channel *saved)
{
    const uint16_t primary = find_primary(bus, saved);

    if (saved->leaving) { // only its relid is still there
        const uint16_t slot = find_free(bus);
        saved->primary = slot;
        saved->gone = true;
        return slot;
    }
    if (primary == BUS_NONE) {
        return BUS_NONE;
    }
    saved->offer = bus->channels[primary].offer;
    saved->primary = primary;
    if (saved->sub_index == 0) {
        return bus->channels[primary].saved_as == BUS_NONE ? primary : BUS_NONE;
    }
    if (bus->channels[primary].guest != BUS_OPEN || has_sub(bus, primary, saved->sub_index)) {
        return BUS_NONE;
    }
    return find_free(bus);
}

// What a channel says about itself agrees.
static bool makes_sense(const struct vmbus_bus *bus, const struct bus_channel *saved)
{
    const bool known = saved->guest != BUS_UNKNOWN;
    const bool may_be_known = bus->connection.state == BUS_CONNECTED || saved->reserved;

    return saved->guest < BUS_GUESTS && saved->guest != BUS_OPENING &&
           known == (saved->relid != 0) && (!known || may_be_known) &&
           (!saved->leaving || saved->guest == BUS_RESCINDED) && !(saved->todo & ~BUS_DO_POSTS) &&
           (!saved->todo || known) &&
           (!saved->reserved || saved->guest == BUS_OPEN || (saved->todo & BUS_DO_OPEN_RESULT)) &&
           saved->reserved_sint < SINTS;
}

static void read_channel(struct blob_reader *blob, struct bus_channel *saved)
{
    memset(saved, 0, sizeof *saved);
    saved->saved_as = blob_get_u16(blob);
    get_guid(blob, &saved->offer.class_id);
    get_guid(blob, &saved->offer.instance_id);
    saved->sub_index = blob_get_u16(blob);
    saved->relid = blob_get_u16(blob);
    saved->guest = blob_get_u8(blob);
    saved->todo = blob_get_u8(blob);
    saved->leaving = blob_get_bool(blob);
    saved->withheld = blob_get_bool(blob);
    saved->reserved = blob_get_bool(blob);
    saved->reserved_vp = blob_get_u32(blob);
    saved->reserved_sint = blob_get_u8(blob);
    saved->open_status = blob_get_u32(blob);
    saved->request.open_id = blob_get_u32(blob);
    saved->request.ring_gpadl = blob_get_u32(blob);
    saved->request.target_vp = blob_get_u32(blob);
    saved->request.out_page = blob_get_u32(blob);
    blob_get_bytes(blob, saved->request.user_data, sizeof saved->request.user_data);
    saved->used = true;
    saved->ring = BUS_NONE;
    saved->device = saved->guest == BUS_OPEN ? BUS_RUNNING : BUS_IDLE;
}

static void restore_channel(struct vmbus_bus *bus, struct blob_reader *blob)
{
    struct bus_channel saved;

    read_channel(blob, &saved);
    if (blob->failed || !makes_sense(bus, &saved) || saved.saved_as == BUS_NONE ||
        bus_restored(bus, saved.saved_as) != BUS_NONE || saved.relid > bus->limits.channels ||
        (saved.relid && bus->relids[saved.relid] != BUS_NONE)) {
        blob_fail(blob);
        return;
    }
    const uint16_t slot = place(bus, &saved);
    if (slot == BUS_NONE) {
        blob_fail(blob);
        return;
    }
    saved.queued = bus->channels[slot].queued;
    saved.next = bus->channels[slot].next;
    bus->channels[slot] = saved;
    if (saved.relid) {
        bus->relids[saved.relid] = slot;
    }
    if (saved.todo) {
        bus_queue_channel(bus, slot, saved.todo);
    }
}

static void restore_channels(struct vmbus_bus *bus, struct blob_reader *blob)
{
    uint32_t count;

    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        bus->channels[i].saved_as = BUS_NONE;
    }
    for (count = blob_get_max(blob, bus->limits.channels); count && !blob->failed; count--) {
        restore_channel(bus, blob);
    }
}

// A GPADL whose header has been read and whose words follow.
static bool read_gpadl(struct vmbus_bus *bus, struct blob_reader *blob, struct bus_gpadl *gpadl)
{
    const uint16_t channel = bus_restored(bus, gpadl->channel);

    if (blob->failed || channel == BUS_NONE || bus->channels[channel].guest == BUS_UNKNOWN ||
        gpadl->count == 0 || gpadl->words == 0 || gpadl->words > VMBUS_RANGE_WORDS ||
        gpadl->filled > gpadl->words || gpadl->count > VMBUS_RANGES_MAX ||
        bus_gpadl_of(bus, channel, gpadl->id) != BUS_NONE ||
        (gpadl->state != BUS_GPADL_PARTIAL && gpadl->state != BUS_GPADL_ACCEPTED &&
         gpadl->state != BUS_GPADL_TEARING) ||
        (gpadl->state == BUS_GPADL_PARTIAL) != (gpadl->filled < gpadl->words) ||
        (gpadl->state == BUS_GPADL_PARTIAL && bus_gpadl_partial(bus, gpadl->id) != BUS_NONE)) {
        return false;
    }
    const uint16_t index = bus_gpadl_take(bus, gpadl->words);
    if (index == BUS_NONE) {
        return false;
    }
    struct bus_gpadl *slot = &bus->gpadls[index];
    for (uint32_t word = 0; word < gpadl->filled; word++) {
        *vmbus_store_word(&bus->store, slot->blocks, word) = blob_get_u64(blob);
    }
    slot->id = gpadl->id;
    slot->channel = channel;
    slot->count = gpadl->count;
    slot->filled = gpadl->filled;
    slot->state = gpadl->state;
    slot->ranges = (struct vmbus_ranges){.store = bus->store.words, .blocks = slot->blocks};
    if (blob->failed || (slot->state != BUS_GPADL_PARTIAL &&
                         !vmbus_ranges_validate(&slot->ranges, slot->words, slot->count))) {
        return false;
    }
    struct bus_channel *owner = &bus->channels[channel];
    if (gpadl->in_ring) {
        if (slot->state == BUS_GPADL_PARTIAL || owner->device != BUS_RUNNING ||
            owner->ring != BUS_NONE || !vmbus_rings_valid(&slot->ranges, owner->request.out_page)) {
            return false;
        }
        owner->ring = index;
    }
    bus_gpadl_set_ring(bus, index, gpadl->in_ring);
    return true;
}

static void restore_gpadls(struct vmbus_bus *bus, struct blob_reader *blob)
{
    uint32_t count;

    for (count = blob_get_max(blob, bus->limits.gpadls); count && !blob->failed; count--) {
        struct bus_gpadl gpadl = {.channel = blob_get_u16(blob)};
        gpadl.id = blob_get_u32(blob);
        gpadl.state = blob_get_u8(blob);
        gpadl.in_ring = blob_get_bool(blob);
        gpadl.count = blob_get_u16(blob);
        gpadl.words = blob_get_u16(blob);
        gpadl.filled = blob_get_u16(blob);
        if (!read_gpadl(bus, blob, &gpadl)) {
            blob_fail(blob);
        }
    }
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        if (bus->channels[i].device == BUS_RUNNING && bus->channels[i].ring == BUS_NONE) {
            blob_fail(blob);
        }
    }
}

bool bus_restore(struct vmbus_bus *bus, struct blob_reader *blob)
{
    restore_connection(bus, blob);
    restore_channels(bus, blob);
    restore_gpadls(bus, blob);
    bus->offers_wait = true;
    return !blob->failed;
}
