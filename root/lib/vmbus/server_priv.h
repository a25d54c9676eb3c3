// SPDX-License-Identifier: BSD-2-Clause-Patent
// The server behind channel.h and server.h: the protocol state machine, and for each of its
// channels the rings and the device. Private to the library.
#pragma once
#include "bus.h"
#include "ring.h"

struct vmbus_channel {
    struct vmbus_server *server;
    const struct vmbus_device_ops *ops; // NULL: the slot is free, or its device has gone
    void *device;
    void *context;
    uint64_t deadline; // UINT64_MAX: none
    struct vmbus_ring_in in;
    struct vmbus_ring_out out;
    uint16_t next;      // in the queue of channels to wake
    uint16_t budget;    // packets that the present callback may still read
    uint16_t listening; // the relid that host.listen(true) holds for; 0: none
    bool in_callback;   // reads and sends are published when it ends
    bool drained;       // the ring from the guest was found empty last
    bool queued;        // to be woken
    bool restored;      // its device has its state back
};

// Tokens that come back with time.
struct vmbus_limiter {
    uint32_t tokens;
    uint64_t since; // when they were last counted
};

struct vmbus_server {
    struct vmbus_host host;
    struct vmbus_bus bus;
    struct vmbus_channel *channels; // bus.limits.channels
    struct bus_queue wakes;
    uint64_t next_deadline; // no channel has an earlier one
    uint64_t retry;         // when a message that found no room is tried again; UINT64_MAX: none
    struct vmbus_limiter messages, lines;
    uint32_t lines_lost;
    bool has_post; // `post` has not been taken
    struct bus_action post;
};

enum { VMBUS_LINES_BURST = 32 };

// Takes `cost` tokens if there are so many; one comes back every `period` (100 ns units), up to
// `burst`.
bool vmbus_limiter_take(struct vmbus_limiter *limiter, uint64_t now, uint64_t period,
                        uint32_t burst, uint32_t cost);

// Index of a channel in bus.channels.
static inline uint16_t channel_index(const struct vmbus_channel *channel)
{
    return (uint16_t)(channel - channel->server->channels);
}

static inline struct bus_channel *channel_state(const struct vmbus_channel *channel)
{
    return &channel->server->bus.channels[channel_index(channel)];
}

// Takes the rings of the channel, whose bus side has started to open, over. False: a fault, logged.
bool vmbus_channel_attach(struct vmbus_channel *channel);
// Ends everything that an open channel has but its device.
void vmbus_channel_detach(struct vmbus_channel *channel);
// One wake callback, with the signalling around it.
void vmbus_channel_serve(struct vmbus_channel *channel);
// Calls back between these two: what is read and sent is published at the end.
void vmbus_channel_enter(struct vmbus_channel *channel);
void vmbus_channel_exit(struct vmbus_channel *channel);
// Clears a slot and gives it a device; its place in the queue stays.
void vmbus_channel_bind(struct vmbus_server *server, uint16_t index,
                        const struct vmbus_device_ops *ops, void *device);

// Logs "vmbus: text", or "vmbus channel 5 (class 0e0b6031): text"; too many lines are dropped.
void vmbus_server_log(struct vmbus_server *server, const struct vmbus_channel *channel,
                      enum vmbus_log_level level, const char *text);
