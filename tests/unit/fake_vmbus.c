// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "fake_vmbus.h"

#include <stdlib.h>
#include <string.h>

#include "root/lib/vmbus/store.h"

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

// ---- lists -----------------------------------------------------------------------------------

static struct fake_packet *list_add(struct fake_list *list, const void *data, uint32_t size)
{
    require(list->count < FAKE_PACKETS && size <= FAKE_PAYLOAD);
    struct fake_packet *packet = &list->packets[(list->first + list->count++) % FAKE_PACKETS];
    packet->size = (size + 7) & ~7u; // as the rings do
    packet->data = calloc(1, packet->size + 1);
    packet->words = 0;
    packet->transfers = 0;
    packet->word_count = packet->ranges = packet->transfer_count = 0;
    if (size) {
        memcpy(packet->data, data, size);
    }
    return packet;
}

static void list_pop(struct fake_list *list)
{
    require(list->count > 0);
    free(list->packets[list->first].data);
    free(list->packets[list->first].words);
    free(list->packets[list->first].transfers);
    list->first = (list->first + 1) % FAKE_PACKETS;
    list->count--;
}

static void list_clear(struct fake_list *list)
{
    while (list->count) {
        list_pop(list);
    }
}

// ---- server ----------------------------------------------------------------------------------

static void *page_of(void *ctx, uint64_t gpn, bool write)
{
    struct vmbus_server *server = ctx;
    (void)write;
    return gpn < server->page_count ? server->pages + gpn * VMBUS_PAGE : 0;
}

void fake_init(struct vmbus_server *server, uint32_t pages)
{
    uint8_t *memory = server->pages;

    memset(server, 0, sizeof *server);
    server->now = 10000000;
    server->version = 0x50003;
    server->channel_limit = FAKE_CHANNELS;
    server->page_count = pages;
    server->pages = memory ? memory : aligned_alloc(VMBUS_PAGE, (size_t)pages * VMBUS_PAGE);
    memset(server->pages, 0, (size_t)pages * VMBUS_PAGE);
    server->memory = (struct vmbus_memory){.ctx = server, .page = page_of};
}

void fake_end(struct vmbus_server *server)
{
    for (unsigned i = 0; i < FAKE_CHANNELS; i++) {
        list_clear(&server->channels[i].in);
        list_clear(&server->channels[i].out);
    }
}

void fake_free(struct vmbus_server *server)
{
    free(server->pages);
    server->pages = 0;
}

static struct vmbus_channel *new_channel(struct vmbus_server *server)
{
    for (unsigned i = 0; i < server->channel_limit; i++) {
        struct vmbus_channel *channel = &server->channels[i];
        if (!channel->used) {
            list_clear(&channel->in);
            list_clear(&channel->out);
            *channel = (struct vmbus_channel){.server = server, .used = true};
            channel->primary = channel;
            channel->room = FAKE_PACKETS;
            channel->deadline = UINT64_MAX;
            return channel;
        }
    }
    return 0;
}

struct vmbus_channel *vmbus_channel_offer(struct vmbus_server *server,
                                          const struct vmbus_offer *offer,
                                          const struct vmbus_device_ops *ops, void *device)
{
    struct vmbus_channel *channel = new_channel(server);

    if (channel) {
        channel->offer = *offer;
        channel->ops = ops;
        channel->device = device;
    }
    return channel;
}

struct vmbus_channel *vmbus_channel_offer_sub(struct vmbus_channel *primary)
{
    uint32_t index = 1;

    require(primary->open);
    for (unsigned i = 0; i < FAKE_CHANNELS; i++) {
        const struct vmbus_channel *other = &primary->server->channels[i];
        index += other->used && other->primary == primary && other != primary;
    }
    struct vmbus_channel *channel = new_channel(primary->server);
    if (channel) {
        channel->offer = primary->offer;
        channel->ops = primary->ops;
        channel->device = primary->device;
        channel->primary = primary;
        channel->index = index;
    }
    return channel;
}

static void release(struct vmbus_channel *channel)
{
    if (channel->ops->released) {
        channel->ops->released(channel->device, channel);
    }
    channel->used = false;
}

void fake_close(struct vmbus_channel *channel)
{
    for (unsigned i = 0; channel->index == 0 && i < FAKE_CHANNELS; i++) {
        struct vmbus_channel *sub = &channel->server->channels[i];
        if (sub->used && sub != channel && sub->primary == channel) {
            fake_close(sub);
            release(sub);
        }
    }
    if (channel->open) {
        channel->open = false;
        channel->closed_answered = false;
        channel->ops->close(channel->device, channel);
        require(channel->closed_answered);
    }
    channel->failed = 0;
    channel->wake = channel->blocked = false;
    channel->deadline = UINT64_MAX;
    list_clear(&channel->in);
    list_clear(&channel->out);
    for (unsigned i = 0; channel->index == 0 && i < FAKE_GPADLS; i++) {
        require(channel->server->gpadls[i].holds == 0);
    }
}

void vmbus_channel_rescind(struct vmbus_channel *channel)
{
    channel->ending = true;
    channel->wake = true;
}

bool fake_open(struct vmbus_channel *channel)
{
    const struct vmbus_open open = {
        .version = channel->server->version, .ring_in_size = 65536, .ring_out_size = 65536};

    require(channel->used && !channel->open);
    channel->opening = true;
    channel->open_status = VMBUS_STATUS_FAILED;
    channel->ops->open(channel->device, channel, &open);
    require(!channel->opening);
    return channel->open;
}

void vmbus_channel_opened(struct vmbus_channel *channel, uint32_t status)
{
    require(channel->opening);
    channel->opening = false;
    channel->open_status = status;
    channel->open = channel->wake = status == VMBUS_STATUS_OK;
}

void vmbus_channel_closed(struct vmbus_channel *channel)
{
    channel->closed_answered = true;
}

bool vmbus_channel_is_open(const struct vmbus_channel *channel)
{
    return channel->open && !channel->failed;
}

uint32_t vmbus_channel_index(const struct vmbus_channel *channel)
{
    return channel->index;
}

struct vmbus_channel *vmbus_channel_primary(struct vmbus_channel *channel)
{
    return channel->primary;
}

struct vmbus_channel *vmbus_channel_sub(struct vmbus_channel *primary, uint32_t index)
{
    for (unsigned i = 0; i < FAKE_CHANNELS; i++) {
        struct vmbus_channel *channel = &primary->server->channels[i];
        if (channel->used && channel->primary == primary && channel->index == index) {
            return channel;
        }
    }
    return 0;
}

uint32_t vmbus_channel_target_vp(const struct vmbus_channel *channel)
{
    (void)channel;
    return 0;
}

uint32_t vmbus_channel_version(const struct vmbus_channel *channel)
{
    return channel->server->version;
}

void vmbus_channel_set_context(struct vmbus_channel *channel, void *context)
{
    channel->context = context;
}

void *vmbus_channel_context(const struct vmbus_channel *channel)
{
    return channel->context;
}

const struct vmbus_memory *vmbus_channel_memory(const struct vmbus_channel *channel)
{
    return &channel->server->memory;
}

uint64_t vmbus_channel_now(const struct vmbus_channel *channel)
{
    return channel->server->now;
}

void vmbus_channel_set_deadline(struct vmbus_channel *channel, uint64_t deadline_100ns)
{
    channel->deadline = deadline_100ns;
}

void vmbus_channel_wake(struct vmbus_channel *channel)
{
    channel->wake = true;
}

void vmbus_channel_fail(struct vmbus_channel *channel, const char *reason)
{
    channel->failed = channel->last_failure = reason;
}

void vmbus_channel_log(struct vmbus_channel *channel, const char *text)
{
    require(text != 0);
    channel->logs++;
}

// ---- packets ---------------------------------------------------------------------------------

enum vmbus_read vmbus_channel_read(struct vmbus_channel *channel, struct vmbus_packet *packet)
{
    if (!vmbus_channel_is_open(channel)) {
        return VMBUS_READ_CLOSED;
    }
    if (channel->in.count == 0) {
        return VMBUS_READ_NONE;
    }
    struct fake_packet *from = &channel->in.packets[channel->in.first];
    const bool fits = from->size <= packet->capacity && from->word_count <= packet->word_capacity;
    packet->type = from->type;
    packet->wants_completion = from->wants_completion;
    packet->transaction_id = from->id;
    packet->size = from->size;
    packet->ranges = (struct vmbus_ranges){0};
    if (fits) {
        memcpy(packet->buffer, from->data, from->size);
        if (from->ranges) {
            memcpy(packet->words, from->words, from->word_count * sizeof from->words[0]);
            packet->ranges.flat = packet->words;
            require(vmbus_ranges_validate(&packet->ranges, from->word_count, from->ranges));
        }
    }
    list_pop(&channel->in);
    return fits ? VMBUS_READ_PACKET : VMBUS_READ_OVERSIZE;
}

static enum vmbus_send to_guest(struct vmbus_channel *channel, enum vmbus_packet_type type,
                                uint64_t id, bool wants, const void *data, uint32_t size,
                                struct fake_packet **made)
{
    if (!vmbus_channel_is_open(channel)) {
        return VMBUS_SEND_CLOSED;
    }
    if (channel->out.count >= channel->room) {
        channel->blocked = true;
        return VMBUS_SEND_FULL;
    }
    *made = list_add(&channel->out, data, size);
    (*made)->type = type;
    (*made)->id = id;
    (*made)->wants_completion = wants;
    return VMBUS_SEND_OK;
}

enum vmbus_send vmbus_channel_send(struct vmbus_channel *channel, uint64_t transaction_id,
                                   bool wants_completion, const void *data, uint32_t size)
{
    struct fake_packet *made;

    if ((channel->offer.flags & VMBUS_OFFER_NAMED_PIPE) && size > VMBUS_PIPE_PACKET) {
        return VMBUS_SEND_SIZE;
    }
    return to_guest(channel, VMBUS_PACKET_IN_BAND, transaction_id, wants_completion, data, size,
                    &made);
}

enum vmbus_send vmbus_channel_complete(struct vmbus_channel *channel, uint64_t transaction_id,
                                       const void *data, uint32_t size)
{
    struct fake_packet *made;
    return to_guest(channel, VMBUS_PACKET_COMPLETION, transaction_id, false, data, size, &made);
}

enum vmbus_send vmbus_channel_send_transfer(struct vmbus_channel *channel, uint64_t transaction_id,
                                            uint16_t set_id, const struct vmbus_transfer *transfers,
                                            uint32_t count, const void *data, uint32_t size)
{
    struct fake_packet *made;

    require(count > 0 && count <= VMBUS_TRANSFERS_MAX);
    const enum vmbus_send sent =
        to_guest(channel, VMBUS_PACKET_TRANSFER_PAGES, transaction_id, true, data, size, &made);
    if (sent == VMBUS_SEND_OK) {
        made->set_id = set_id;
        made->transfer_count = count;
        made->transfers = malloc(count * sizeof transfers[0]);
        memcpy(made->transfers, transfers, count * sizeof transfers[0]);
    }
    return sent;
}

bool vmbus_channel_room(struct vmbus_channel *channel, uint32_t packets, uint32_t payload_size)
{
    (void)payload_size;
    const bool fits =
        !vmbus_channel_is_open(channel) || channel->out.count + packets <= channel->room;
    channel->blocked = channel->blocked || !fits;
    return fits;
}

void vmbus_channel_flush(struct vmbus_channel *channel)
{
    (void)channel;
}

// ---- GPADLs ----------------------------------------------------------------------------------

static struct fake_gpadl *gpadl_of(struct vmbus_server *server, uint32_t id)
{
    for (unsigned i = 0; i < FAKE_GPADLS; i++) {
        if (server->gpadls[i].id == id) {
            return &server->gpadls[i];
        }
    }
    return 0;
}

bool vmbus_gpadl_acquire(struct vmbus_channel *channel, uint32_t gpadl, struct vmbus_ranges *ranges)
{
    struct fake_gpadl *found = gpadl ? gpadl_of(channel->server, gpadl) : 0;

    if (!found || found->revoked) {
        return false;
    }
    found->holds++;
    *ranges = found->ranges;
    return true;
}

void vmbus_gpadl_release(struct vmbus_channel *channel, uint32_t gpadl)
{
    struct fake_gpadl *found = gpadl_of(channel->server, gpadl);
    require(found && found->holds > 0);
    found->holds--;
}

void fake_gpadl_add(struct vmbus_server *server, uint32_t id, uint32_t first, uint32_t pages)
{
    struct fake_gpadl *gpadl = gpadl_of(server, 0);

    require(gpadl && pages + 1 <= FAKE_WORDS);
    *gpadl = (struct fake_gpadl){.id = id};
    gpadl->words[0] = (uint64_t)pages * VMBUS_PAGE;
    for (uint32_t i = 0; i < pages; i++) {
        gpadl->words[i + 1] = first + i;
    }
    gpadl->ranges.flat = gpadl->words;
    require(vmbus_ranges_validate(&gpadl->ranges, pages + 1, 1));
}

bool fake_gpadl_tear(struct vmbus_server *server, struct vmbus_channel *channel, uint32_t id)
{
    struct fake_gpadl *gpadl = gpadl_of(server, id);

    require(gpadl != 0);
    if (gpadl->holds) {
        gpadl->revoked = true;
        channel->ops->gpadl_revoked(channel->device, channel, id);
    }
    if (gpadl->holds) {
        return false;
    }
    gpadl->id = 0;
    return true;
}

// ---- the guest's side ------------------------------------------------------------------------

static struct {
    uint64_t words[FAKE_WORDS];
    uint32_t count, ranges;
} pending;

void fake_range(struct vmbus_channel *channel, uint32_t page, uint32_t offset, uint32_t size)
{
    (void)channel;
    const uint32_t pages = (offset + size + VMBUS_PAGE - 1) / VMBUS_PAGE;

    require(pending.count + 1 + pages <= FAKE_WORDS);
    pending.words[pending.count++] = size | (uint64_t)offset << 32;
    for (uint32_t i = 0; i < pages; i++) {
        pending.words[pending.count++] = page + i;
    }
    pending.ranges++;
}

void fake_send(struct vmbus_channel *channel, uint64_t id, bool wants_completion, const void *data,
               uint32_t size)
{
    struct fake_packet *packet = list_add(&channel->in, data, size);

    packet->type = pending.ranges ? VMBUS_PACKET_GPA_DIRECT : VMBUS_PACKET_IN_BAND;
    packet->id = id;
    packet->wants_completion = wants_completion;
    packet->words = malloc(pending.count * sizeof pending.words[0] + 1);
    memcpy(packet->words, pending.words, pending.count * sizeof pending.words[0]);
    packet->word_count = pending.count;
    packet->ranges = pending.ranges;
    pending.count = pending.ranges = 0;
    channel->wake = true;
}

void fake_complete(struct vmbus_channel *channel, uint64_t id, const void *data, uint32_t size)
{
    struct fake_packet *packet = list_add(&channel->in, data, size);

    packet->type = VMBUS_PACKET_COMPLETION;
    packet->id = id;
    packet->wants_completion = false;
    channel->wake = true;
}

static bool run_one(struct vmbus_channel *channel)
{
    if (!channel->used || (!channel->open && !channel->ending)) {
        return false;
    }
    if (channel->deadline <= channel->server->now) {
        channel->deadline = UINT64_MAX;
        channel->wake = true;
    }
    if (!channel->wake && !channel->failed) {
        return false;
    }
    channel->wake = false;
    if (channel->ending) {
        fake_close(channel);
        release(channel);
    } else if (channel->failed) {
        fake_close(channel);
    } else {
        channel->ops->wake(channel->device, channel);
    }
    return true;
}

void fake_run(struct vmbus_server *server)
{
    unsigned runs = 0;

    for (bool again = true; again;) {
        again = false;
        for (unsigned i = 0; i < FAKE_CHANNELS; i++) {
            again = run_one(&server->channels[i]) || again;
        }
        require(++runs < FAKE_RUNS_MAX);
    }
}

struct fake_packet *fake_peek(struct vmbus_channel *channel)
{
    return channel->out.count ? &channel->out.packets[channel->out.first] : 0;
}

void fake_pop(struct vmbus_channel *channel)
{
    list_pop(&channel->out);
    if (channel->blocked) {
        channel->blocked = false;
        channel->wake = true;
    }
}
