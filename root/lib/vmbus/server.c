// SPDX-License-Identifier: BSD-2-Clause-Patent
// The server: carries out what the protocol state machine wants, wakes devices, limits the guest.
// Contract in server.h.
#include "server.h"

#include "../mem.h"
#include "server_priv.h"

enum {
    RUN_ACTIONS = 64, // in one run
    RUN_WAKES = 16,
    GPADLS_MAX = 4096,
    MESSAGES_BURST = 4096, // a network device registers its buffers with 300 messages
    MESSAGE_COST_CONNECT = 64,
    ARENA_ALIGN = 16,
};

#define MESSAGE_100NS UINT64_C(500)   // 20,000 messages a second
#define RETRY_100NS   UINT64_C(10000) // 1 ms, for what the guest has no room for

// ---- arena -------------------------------------------------------------------------------------

struct arena {
    uint8_t *start; // NULL: only counts
    size_t used;
};

static void *take(struct arena *arena, size_t count, size_t size)
{
    void *start = arena->start ? arena->start + arena->used : NULL;

    arena->used += (count * size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    return start;
}

static uint32_t blocks_of(const struct vmbus_limits *limits)
{
    return vmbus_store_blocks(limits->gpadl_words);
}

static bool are_valid(const struct vmbus_limits *limits)
{
    return limits->channels >= 1 && limits->channels <= VMBUS_CHANNELS_MAX && limits->gpadls >= 1 &&
           limits->gpadls <= GPADLS_MAX &&
           limits->gpadl_words <= VMBUS_STORE_BLOCKS_MAX * VMBUS_STORE_BLOCK;
}

// Lays the server out; returns NULL when the arena only counts.
static struct vmbus_server *lay_out(struct arena *arena, const struct vmbus_limits *limits)
{
    struct vmbus_server *server = take(arena, 1, sizeof *server);
    struct vmbus_channel *channels = take(arena, limits->channels, sizeof *channels);
    struct bus_channel *states = take(arena, limits->channels, sizeof *states);
    struct bus_gpadl *gpadls = take(arena, limits->gpadls, sizeof *gpadls);
    uint16_t *relids = take(arena, limits->channels + 1u, sizeof *relids);
    uint64_t *words = take(arena, blocks_of(limits) * VMBUS_STORE_BLOCK, sizeof *words);
    uint16_t *next = take(arena, blocks_of(limits), sizeof *next);

    if (server) {
        memset(server, 0, sizeof *server);
        memset(channels, 0, limits->channels * sizeof *channels);
        server->channels = channels;
        server->bus.limits = *limits;
        server->bus.channels = states;
        server->bus.gpadls = gpadls;
        server->bus.relids = relids;
        vmbus_store_init(&server->bus.store, words, next, blocks_of(limits));
        bus_init(&server->bus);
    }
    return server;
}

size_t vmbus_server_size(const struct vmbus_limits *limits)
{
    struct arena arena = {0};

    if (!are_valid(limits)) {
        return 0;
    }
    lay_out(&arena, limits);
    return arena.used;
}

struct vmbus_server *vmbus_server_init(void *memory, size_t size, const struct vmbus_limits *limits,
                                       const struct vmbus_host *host)
{
    const size_t needed = vmbus_server_size(limits);
    struct arena arena = {.start = memory};

    if (needed == 0 || size < needed || (uintptr_t)memory % ARENA_ALIGN) {
        return NULL;
    }
    struct vmbus_server *server = lay_out(&arena, limits);
    const uint64_t now = host->now_100ns(host->ctx);
    server->host = *host;
    server->wakes = (struct bus_queue){BUS_NONE, BUS_NONE};
    server->next_deadline = UINT64_MAX;
    server->retry = UINT64_MAX;
    server->messages = (struct vmbus_limiter){MESSAGES_BURST, now};
    server->lines = (struct vmbus_limiter){VMBUS_LINES_BURST, now};
    for (uint32_t i = 0; i < limits->channels; i++) {
        vmbus_channel_bind(server, (uint16_t)i, NULL, NULL);
    }
    return server;
}

// ---- from the guest ----------------------------------------------------------------------------

bool vmbus_limiter_take(struct vmbus_limiter *limiter, uint64_t now, uint64_t period,
                        uint32_t burst, uint32_t cost)
{
    const uint64_t earned = now > limiter->since ? (now - limiter->since) / period : 0;

    if (earned >= burst - limiter->tokens) {
        limiter->tokens = burst;
        limiter->since = now;
    } else {
        limiter->tokens += (uint32_t)earned;
        limiter->since += earned * period;
    }
    if (limiter->tokens < cost) {
        return false;
    }
    limiter->tokens -= cost;
    return true;
}

static uint64_t now_of(const struct vmbus_server *server)
{
    return server->host.now_100ns(server->host.ctx);
}

enum vmbus_accept vmbus_server_message(struct vmbus_server *server, uint32_t connection,
                                       const void *message, size_t size)
{
    const bool disconnects = bus_message_disconnects(message, size);
    const uint32_t cost = disconnects ? MESSAGE_COST_CONNECT : 1;

    if (!disconnects && (server->has_post || !bus_is_ready(&server->bus))) {
        return VMBUS_BUSY;
    }
    if (!vmbus_limiter_take(&server->messages, now_of(server), MESSAGE_100NS, MESSAGES_BURST,
                            cost)) {
        server->retry = now_of(server) + RETRY_100NS;
        return VMBUS_BUSY;
    }
    if (disconnects) {
        server->has_post = false; // it belongs to the connection that ends
    }
    bus_message(&server->bus, connection, message, size);
    if (server->bus.complaint) {
        vmbus_server_log(server, NULL, VMBUS_LOG_WARNING, server->bus.complaint);
    }
    return VMBUS_ACCEPTED;
}

void vmbus_server_signal(struct vmbus_server *server, uint32_t relid)
{
    const struct vmbus_bus *bus = &server->bus;

    if (relid >= 1 && relid <= bus->limits.channels && bus->relids[relid] != BUS_NONE) {
        vmbus_channel_wake(&server->channels[bus->relids[relid]]);
    }
}

// ---- actions -----------------------------------------------------------------------------------

static void do_open(struct vmbus_server *server, uint16_t index)
{
    struct vmbus_channel *channel = &server->channels[index];
    const struct bus_channel *state = &server->bus.channels[index];
    struct vmbus_open open = {.version = server->bus.connection.version,
                              .target_vp = state->request.target_vp};

    if (!vmbus_channel_attach(channel)) {
        bus_opened(&server->bus, index, VMBUS_STATUS_FAILED);
        return;
    }
    memcpy(open.user_data, state->request.user_data, sizeof open.user_data);
    open.ring_in_size = channel->in.ring.size;
    open.ring_out_size = channel->out.ring.size;
    vmbus_channel_enter(channel);
    channel->ops->open(channel->device, channel, &open);
    vmbus_channel_exit(channel);
}

static void do_close(struct vmbus_server *server, uint16_t index)
{
    struct vmbus_channel *channel = &server->channels[index];

    vmbus_channel_detach(channel);
    channel->ops->close(channel->device, channel);
}

static void do_revoked(struct vmbus_server *server, const struct bus_action *action)
{
    struct vmbus_channel *channel = &server->channels[action->channel];

    if (channel->ops && channel->ops->gpadl_revoked) {
        channel->ops->gpadl_revoked(channel->device, channel, action->gpadl);
    }
}

static void do_released(struct vmbus_server *server, uint16_t index)
{
    struct vmbus_channel *channel = &server->channels[index];

    if (channel->ops && channel->ops->released) {
        channel->ops->released(channel->device, channel);
    }
    vmbus_channel_bind(server, index, NULL, NULL);
    bus_released(&server->bus, index);
}

static void do_connect(struct vmbus_server *server, const struct bus_action *action)
{
    if (server->host.connect) {
        server->host.connect(server->host.ctx, &action->endpoint, &action->service);
    } else {
        bus_refuse(&server->bus, &action->endpoint, &action->service, VMBUS_STATUS_REFUSED);
    }
}

// Posts what waits. False: the guest has no room.
static bool do_post(struct vmbus_server *server)
{
    const struct bus_action *post = &server->post;
    const enum vmbus_post result = server->host.post_message(server->host.ctx, post->vp, post->sint,
                                                             post->message, post->size);

    if (result == VMBUS_POST_LATER) {
        server->retry = now_of(server) + RETRY_100NS;
        return false;
    }
    if (result == VMBUS_POST_FAILED) {
        vmbus_server_log(server, NULL, VMBUS_LOG_WARNING, "a message could not be posted");
    }
    server->has_post = false;
    return true;
}

// Carries one action out. False: there is none.
static bool step(struct vmbus_server *server)
{
    struct bus_action action;

    if (!bus_next(&server->bus, !server->has_post, &action)) {
        return false;
    }
    switch (action.kind) {
    case BUS_POST:
        server->post = action;
        server->has_post = true;
        do_post(server);
        break;
    case BUS_TELL_OPEN:
        do_open(server, action.channel);
        break;
    case BUS_TELL_CLOSE:
        do_close(server, action.channel);
        break;
    case BUS_TELL_REVOKED:
        do_revoked(server, &action);
        break;
    case BUS_TELL_RELEASED:
        do_released(server, action.channel);
        break;
    case BUS_TELL_CONNECT:
        do_connect(server, &action);
        break;
    }
    return true;
}

// ---- time --------------------------------------------------------------------------------------

// Wakes what is due and finds the next deadline.
static void expire(struct vmbus_server *server, uint64_t now)
{
    if (now < server->next_deadline) {
        return;
    }
    server->next_deadline = UINT64_MAX;
    for (uint32_t i = 0; i < server->bus.limits.channels; i++) {
        struct vmbus_channel *channel = &server->channels[i];
        if (channel->deadline <= now) {
            channel->deadline = UINT64_MAX;
            vmbus_channel_wake(channel);
        } else if (channel->deadline < server->next_deadline) {
            server->next_deadline = channel->deadline;
        }
    }
}

uint64_t vmbus_server_deadline(const struct vmbus_server *server)
{
    return server->retry < server->next_deadline ? server->retry : server->next_deadline;
}

// ---- run ---------------------------------------------------------------------------------------

static void wake_next(struct vmbus_server *server)
{
    struct vmbus_channel *channel = &server->channels[server->wakes.first];

    server->wakes.first = channel->next;
    if (channel->next == BUS_NONE) {
        server->wakes.last = BUS_NONE;
    }
    channel->queued = false;
    vmbus_channel_serve(channel);
}

bool vmbus_server_run(struct vmbus_server *server)
{
    const uint64_t now = now_of(server);
    unsigned actions = 0;

    expire(server, now);
    if (now >= server->retry) {
        server->retry = UINT64_MAX;
    }
    if (server->has_post) {
        do_post(server);
    }
    while (actions < RUN_ACTIONS && step(server)) {
        actions++;
    }
    for (unsigned wakes = 0; wakes < RUN_WAKES && server->wakes.first != BUS_NONE; wakes++) {
        wake_next(server);
    }
    return actions == RUN_ACTIONS || server->wakes.first != BUS_NONE ||
           (!server->has_post && !bus_is_ready(&server->bus));
}

void vmbus_server_reset(struct vmbus_server *server)
{
    server->has_post = false;
    server->messages.tokens = MESSAGES_BURST;
    bus_reset(&server->bus);
}

bool vmbus_server_is_idle(const struct vmbus_server *server)
{
    return bus_is_idle(&server->bus);
}

void vmbus_server_refuse(struct vmbus_server *server, const struct vmbus_guid *endpoint,
                         const struct vmbus_guid *service, uint32_t status)
{
    bus_refuse(&server->bus, endpoint, service, status);
}
