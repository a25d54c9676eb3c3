// SPDX-License-Identifier: BSD-2-Clause-Patent
// Channels as devices use them: contract in channel.h.
#include "channel.h"

#include "../mem.h"
#include "ring_priv.h"
#include "server_priv.h"

void vmbus_channel_bind(struct vmbus_server *server, uint16_t index,
                        const struct vmbus_device_ops *ops, void *device)
{
    struct vmbus_channel *channel = &server->channels[index];
    const bool queued = channel->queued;
    const uint16_t next = channel->next;

    memset(channel, 0, sizeof *channel);
    channel->server = server;
    channel->ops = ops;
    channel->device = device;
    channel->deadline = UINT64_MAX;
    channel->queued = queued;
    channel->next = next;
}

struct vmbus_channel *vmbus_channel_offer(struct vmbus_server *server,
                                          const struct vmbus_offer *offer,
                                          const struct vmbus_device_ops *ops, void *device)
{
    const uint16_t index = bus_offer(&server->bus, offer, BUS_NONE);

    if (index == BUS_NONE) {
        return NULL;
    }
    vmbus_channel_bind(server, index, ops, device);
    return &server->channels[index];
}

struct vmbus_channel *vmbus_channel_offer_sub(struct vmbus_channel *primary)
{
    struct vmbus_server *server = primary->server;
    const struct vmbus_offer offer = channel_state(primary)->offer;

    if (vmbus_channel_primary(primary) != primary) {
        return NULL;
    }
    const uint16_t index = bus_offer(&server->bus, &offer, channel_index(primary));
    if (index == BUS_NONE) {
        return NULL;
    }
    vmbus_channel_bind(server, index, primary->ops, primary->device);
    return &server->channels[index];
}

void vmbus_channel_rescind(struct vmbus_channel *channel)
{
    bus_leave(&channel->server->bus, channel_index(channel));
}

// ---- state -------------------------------------------------------------------------------------

bool vmbus_channel_is_open(const struct vmbus_channel *channel)
{
    return bus_is_open(&channel->server->bus, channel_index(channel));
}

uint32_t vmbus_channel_index(const struct vmbus_channel *channel)
{
    return channel_state(channel)->sub_index;
}

struct vmbus_channel *vmbus_channel_primary(struct vmbus_channel *channel)
{
    return &channel->server->channels[channel_state(channel)->primary];
}

struct vmbus_channel *vmbus_channel_sub(struct vmbus_channel *primary, uint32_t index)
{
    const struct vmbus_bus *bus = &primary->server->bus;

    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        const struct bus_channel *state = &bus->channels[i];
        if (state->used && !state->leaving && state->sub_index == index && index &&
            state->primary == channel_index(primary)) {
            return &primary->server->channels[i];
        }
    }
    return NULL;
}

uint32_t vmbus_channel_target_vp(const struct vmbus_channel *channel)
{
    return bus_target_vp(&channel->server->bus, channel_index(channel));
}

uint32_t vmbus_channel_version(const struct vmbus_channel *channel)
{
    return channel->server->bus.connection.version;
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
    return &channel->server->host.memory;
}

uint64_t vmbus_channel_now(const struct vmbus_channel *channel)
{
    return channel->server->host.now_100ns(channel->server->host.ctx);
}

void vmbus_channel_set_deadline(struct vmbus_channel *channel, uint64_t deadline_100ns)
{
    struct vmbus_server *server = channel->server;

    channel->deadline = deadline_100ns;
    if (deadline_100ns < server->next_deadline) {
        server->next_deadline = deadline_100ns;
    }
}

void vmbus_channel_wake(struct vmbus_channel *channel)
{
    struct vmbus_server *server = channel->server;
    const uint16_t index = channel_index(channel);

    if (channel->queued) {
        return;
    }
    channel->queued = true;
    channel->next = BUS_NONE;
    if (server->wakes.last == BUS_NONE) {
        server->wakes.first = index;
    } else {
        server->channels[server->wakes.last].next = index;
    }
    server->wakes.last = index;
}

void vmbus_channel_log(struct vmbus_channel *channel, const char *text)
{
    vmbus_server_log(channel->server, channel, VMBUS_LOG_INFO, text);
}

void vmbus_channel_fail(struct vmbus_channel *channel, const char *reason)
{
    if (vmbus_channel_is_open(channel)) {
        vmbus_server_log(channel->server, channel, VMBUS_LOG_WARNING, reason);
        bus_fail(&channel->server->bus, channel_index(channel));
    }
}

// What the guest has broken in the rings ends the channel.
static bool is_sound(struct vmbus_channel *channel)
{
    const char *fault = channel->in.ring.fault ? channel->in.ring.fault : channel->out.ring.fault;

    if (fault) {
        vmbus_channel_fail(channel, fault);
    }
    return !fault;
}

// ---- open and close ----------------------------------------------------------------------------

bool vmbus_channel_attach(struct vmbus_channel *channel)
{
    struct vmbus_server *server = channel->server;
    const struct bus_channel *state = channel_state(channel);
    const struct vmbus_ranges *pages = &server->bus.gpadls[state->ring].ranges;

    if (!vmbus_ring_in_init(&channel->in, &server->host.memory, pages, state->request.out_page) ||
        !vmbus_ring_out_init(&channel->out, &server->host.memory, pages, state->request.out_page)) {
        const char *fault = channel->in.ring.fault;
        vmbus_server_log(server, channel, VMBUS_LOG_WARNING,
                         fault ? fault : channel->out.ring.fault);
        return false;
    }
    if (!server->host.listen(server->host.ctx, state->relid, true)) {
        vmbus_server_log(server, channel, VMBUS_LOG_WARNING, "no connection for its signals");
        return false;
    }
    channel->listening = state->relid;
    return true;
}

void vmbus_channel_detach(struct vmbus_channel *channel)
{
    struct vmbus_server *server = channel->server;

    if (channel->listening) {
        server->host.listen(server->host.ctx, channel->listening, false);
        channel->listening = 0;
    }
    channel->deadline = UINT64_MAX;
}

void vmbus_channel_opened(struct vmbus_channel *channel, uint32_t status)
{
    bus_opened(&channel->server->bus, channel_index(channel), status);
    if (vmbus_channel_is_open(channel)) {
        vmbus_channel_wake(channel);
    } else if (channel_state(channel)->device == BUS_IDLE) {
        vmbus_channel_detach(channel);
    }
}

void vmbus_channel_closed(struct vmbus_channel *channel)
{
    bus_closed(&channel->server->bus, channel_index(channel));
}

// ---- signalling --------------------------------------------------------------------------------

static void publish(struct vmbus_channel *channel)
{
    const struct vmbus_host *host = &channel->server->host;
    const bool room = vmbus_ring_read_publish(&channel->in);
    const bool data = vmbus_ring_write_publish(&channel->out);
    const uint32_t vp = vmbus_channel_target_vp(channel);

    if (is_sound(channel) && (room || data) && vp != VMBUS_NO_INTERRUPTS) {
        host->signal_event(host->ctx, vp, VMBUS_SINT, channel_state(channel)->relid);
    }
}

void vmbus_channel_flush(struct vmbus_channel *channel)
{
    if (vmbus_channel_is_open(channel)) {
        publish(channel);
    }
}

void vmbus_channel_enter(struct vmbus_channel *channel)
{
    channel->in_callback = true;
    channel->budget = VMBUS_WAKE_PACKETS;
    channel->drained = false;
}

void vmbus_channel_exit(struct vmbus_channel *channel)
{
    channel->in_callback = false;
    vmbus_channel_flush(channel);
}

void vmbus_channel_serve(struct vmbus_channel *channel)
{
    if (!vmbus_channel_is_open(channel)) {
        return;
    }
    if (!vmbus_ring_mask(&channel->in)) {
        is_sound(channel);
        return;
    }
    vmbus_channel_enter(channel);
    channel->ops->wake(channel->device, channel);
    vmbus_channel_exit(channel);
    if (!vmbus_channel_is_open(channel)) {
        return;
    }
    // A device that stopped before the ring was empty, and before its budget was, says when it can
    // go on. Until then the guest need not signal.
    if (channel->budget == 0 || (channel->drained && !vmbus_ring_unmask(&channel->in))) {
        if (is_sound(channel)) {
            vmbus_channel_wake(channel);
        }
    }
}

// ---- packets -----------------------------------------------------------------------------------

static bool is_pipe(const struct vmbus_channel *channel)
{
    return channel_state(channel)->offer.flags & VMBUS_OFFER_NAMED_PIPE;
}

// Reads outside of a callback: what was found empty may only be left unmasked.
static enum vmbus_read read_now(struct vmbus_channel *channel, struct vmbus_packet *packet)
{
    enum vmbus_read result = vmbus_ring_read(&channel->in, is_pipe(channel), packet);

    publish(channel);
    if (result == VMBUS_READ_NONE && channel->in.masked && !vmbus_ring_unmask(&channel->in)) {
        result = vmbus_ring_read(&channel->in, is_pipe(channel), packet);
        publish(channel);
    }
    return result;
}

enum vmbus_read vmbus_channel_read(struct vmbus_channel *channel, struct vmbus_packet *packet)
{
    enum vmbus_read result;

    if (!vmbus_channel_is_open(channel)) {
        return VMBUS_READ_CLOSED;
    }
    if (!channel->in_callback) {
        return read_now(channel, packet);
    }
    if (channel->budget == 0) {
        return VMBUS_READ_NONE;
    }
    result = vmbus_ring_read(&channel->in, is_pipe(channel), packet);
    channel->drained = result == VMBUS_READ_NONE;
    if (result == VMBUS_READ_CLOSED) {
        is_sound(channel);
    } else if (!channel->drained) {
        channel->budget--;
    }
    return result;
}

static enum vmbus_send send(struct vmbus_channel *channel, const struct vmbus_outgoing *packet)
{
    if (!vmbus_channel_is_open(channel)) {
        return VMBUS_SEND_CLOSED;
    }
    const enum vmbus_send result = vmbus_ring_write(&channel->out, packet);
    // A guest that is to make room must know what there is to read.
    if (!channel->in_callback || result == VMBUS_SEND_FULL) {
        publish(channel);
    } else {
        is_sound(channel);
    }
    return result;
}

enum vmbus_send vmbus_channel_send(struct vmbus_channel *channel, uint64_t transaction_id,
                                   bool wants_completion, const void *data, uint32_t size)
{
    const struct vmbus_pipe_header header = {.type = PIPE_DATA, .size = size};
    struct vmbus_outgoing packet = {
        .type = VMBUS_PACKET_IN_BAND,
        .wants_completion = wants_completion,
        .transaction_id = transaction_id,
        .payload = {{NULL, 0}, {data, size}},
    };

    if (is_pipe(channel)) {
        if (size > VMBUS_PIPE_PACKET) {
            return VMBUS_SEND_SIZE;
        }
        packet.payload[0] = (struct vmbus_part){&header, sizeof header};
    }
    return send(channel, &packet);
}

enum vmbus_send vmbus_channel_complete(struct vmbus_channel *channel, uint64_t transaction_id,
                                       const void *data, uint32_t size)
{
    const struct vmbus_outgoing packet = {
        .type = VMBUS_PACKET_COMPLETION,
        .transaction_id = transaction_id,
        .payload = {{data, size}},
    };

    return send(channel, &packet);
}

// Extension of a transfer-pages packet (spec: VMBus 1.7).
struct transfer_pages {
    uint16_t set_id;
    uint8_t sender_owns_set;
    uint8_t reserved;
    uint32_t count;
};
_Static_assert(sizeof(struct transfer_pages) == 8, "transfer pages");
_Static_assert(sizeof(struct vmbus_transfer) == 8, "range of transfer pages");

enum vmbus_send vmbus_channel_send_transfer(struct vmbus_channel *channel, uint64_t transaction_id,
                                            uint16_t set_id, const struct vmbus_transfer *transfers,
                                            uint32_t count, const void *data, uint32_t size)
{
    const struct transfer_pages head = {.set_id = set_id, .count = count};
    struct vmbus_outgoing packet = {
        .type = VMBUS_PACKET_TRANSFER_PAGES,
        .wants_completion = true,
        .transaction_id = transaction_id,
        .extension = {{&head, sizeof head}, {transfers, count * sizeof *transfers}},
        .payload = {{data, size}},
    };

    if (count == 0 || count > VMBUS_TRANSFERS_MAX) {
        return VMBUS_SEND_SIZE;
    }
    return send(channel, &packet);
}

bool vmbus_channel_room(struct vmbus_channel *channel, uint32_t packets, uint32_t payload_size)
{
    const uint32_t frame = is_pipe(channel) ? sizeof(struct vmbus_pipe_header) : 0;

    if (!vmbus_channel_is_open(channel) ||
        vmbus_ring_room(&channel->out, vmbus_ring_bytes(packets, payload_size + frame))) {
        return true;
    }
    publish(channel);
    return false;
}

// ---- GPADLs ------------------------------------------------------------------------------------

bool vmbus_gpadl_acquire(struct vmbus_channel *channel, uint32_t gpadl, struct vmbus_ranges *ranges)
{
    struct vmbus_bus *bus = &channel->server->bus;
    const uint16_t index = bus_gpadl_find(bus, channel_index(channel), gpadl);

    if (index == BUS_NONE) {
        return false;
    }
    bus_gpadl_hold(bus, index);
    *ranges = bus->gpadls[index].ranges;
    return true;
}

void vmbus_gpadl_release(struct vmbus_channel *channel, uint32_t gpadl)
{
    bus_gpadl_unhold(&channel->server->bus, channel_index(channel), gpadl);
}
