// SPDX-License-Identifier: BSD-2-Clause-Patent
// The bus as a VSP sees it (root/lib/vmbus/channel.h), without rings: packets go through lists that
// the test, as the guest, fills and reads. Guest memory and page lists are the real library's.
#pragma once
#include "root/lib/vmbus/channel.h"

enum {
    FAKE_PAGES = 1024,
    FAKE_CHANNELS = 20,
    FAKE_PACKETS = 512, // each way
    FAKE_PAYLOAD = 16384 + 64,
    FAKE_GPADLS = 8,
    FAKE_WORDS = 1100,
    FAKE_RUNS_MAX = 100000, // wakes before a test says that it never ends
};

struct fake_packet {
    enum vmbus_packet_type type;
    uint64_t id;
    bool wants_completion;
    uint32_t size;
    uint8_t *data;               // malloc()ed
    uint64_t *words;             // from the guest: range buffer, malloc()ed
    uint32_t word_count, ranges; // ranges 0: none
    uint16_t set_id;             // to the guest: transfer pages
    uint32_t transfer_count;
    struct vmbus_transfer *transfers; // malloc()ed
};

struct fake_list {
    struct fake_packet packets[FAKE_PACKETS];
    unsigned first, count;
};

struct vmbus_channel {
    struct vmbus_server *server;
    struct vmbus_offer offer;
    const struct vmbus_device_ops *ops;
    void *device, *context;
    struct vmbus_channel *primary;
    uint32_t index;
    bool used, open, opening, ending, closed_answered, wake, blocked;
    uint32_t open_status;
    const char *failed;
    const char *last_failure; // stays when the channel has been closed for it
    uint64_t deadline;
    unsigned room; // packets to the guest that fit
    unsigned logs;
    struct fake_list in, out;
};

struct fake_gpadl {
    uint32_t id;
    unsigned holds;
    bool revoked;
    uint64_t words[FAKE_WORDS];
    struct vmbus_ranges ranges;
};

struct vmbus_server {
    struct vmbus_channel channels[FAKE_CHANNELS];
    struct fake_gpadl gpadls[FAKE_GPADLS];
    uint64_t now;
    uint32_t version;
    unsigned channel_limit; // offers that succeed
    struct vmbus_memory memory;
    uint32_t page_count;
    uint8_t *pages;
};

// Sets up and takes down; the server is large: static or malloc()ed, all zeros before the first
// time. The guest has `pages` pages of memory; they stay for the next fake_init() until
// fake_free().
void fake_init(struct vmbus_server *server, uint32_t pages);
void fake_end(struct vmbus_server *server);
void fake_free(struct vmbus_server *server);

// The guest opens and closes channels. fake_open() says whether the device accepted.
bool fake_open(struct vmbus_channel *channel);
void fake_close(struct vmbus_channel *channel);

// A GPADL of `pages` pages from page `first` on; and its teardown (false: the device still holds
// it after it was told).
void fake_gpadl_add(struct vmbus_server *server, uint32_t id, uint32_t first, uint32_t pages);
bool fake_gpadl_tear(struct vmbus_server *server, struct vmbus_channel *channel, uint32_t id);

// The guest sends. With ranges: a GPA-direct packet with one range per call of fake_range() since
// the last packet.
void fake_range(struct vmbus_channel *channel, uint32_t page, uint32_t offset, uint32_t size);
void fake_send(struct vmbus_channel *channel, uint64_t id, bool wants_completion, const void *data,
               uint32_t size);
void fake_complete(struct vmbus_channel *channel, uint64_t id, const void *data, uint32_t size);

// Runs wakes until there are none. Also the deadlines that have passed.
void fake_run(struct vmbus_server *server);

// The oldest packet to the guest, NULL: none; and its removal, which makes room.
struct fake_packet *fake_peek(struct vmbus_channel *channel);
void fake_pop(struct vmbus_channel *channel);
