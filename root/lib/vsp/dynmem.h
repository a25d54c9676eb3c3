// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dynamic memory: takes memory from a running guest and gives it back (ballooning), adds memory to
// it, and hears how much it needs (Linux: drivers/hv/hv_balloon.c). The channel is not a pipe.
//
// A ballooned page is one that the guest has promised not to touch. Which ones are is kept in a
// bitmap that the owner brings: one bit for each page that the guest may ever have, so that no
// guest can make us keep more, give a page twice or give one that it has not got.
//
// No locks, no allocation: the owner serialises calls for one machine.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../vmbus/channel.h"

enum dynmem_version { DYNMEM_0_3 = 0x00003, DYNMEM_1_0 = 0x10000, DYNMEM_2_0 = 0x20000 };

// Windows crashes when it is asked for memory before it is up: nothing is asked for so long after
// the guest's driver has come.
#define DYNMEM_DELAY_100NS UINT64_C(500000000) // 50 s

// All in pages of 4 KiB.
struct dynmem_status {
    uint64_t available, committed, page_file, zero_free;
    uint32_t page_file_writes, io_difference;
};

enum dynmem_operation { DYNMEM_NONE, DYNMEM_BALLOON, DYNMEM_UNBALLOON, DYNMEM_HOT_ADD };

struct dynmem_config {
    uint64_t *bitmap; // (pages + 63) / 64 words
    uint64_t pages;   // guest page numbers are below it; at most 2^40
    void *ctx;
    // Whether these pages are memory of the guest: called before they are taken from it.
    bool (*owns)(void *ctx, uint64_t first, uint64_t count);
    // The guest has given these pages up; the owner may use them for something else.
    void (*taken)(void *ctx, uint64_t first, uint64_t count);
    // The guest gets these pages back: they must be its memory again when the call returns.
    void (*given)(void *ctx, uint64_t first, uint64_t count);
    // The guest reports what it has and needs, about once a second. Optional.
    void (*status)(void *ctx, const struct dynmem_status *status);
    // An operation has ended; how many pages it moved, which may be fewer than asked for.
    void (*done)(void *ctx, enum dynmem_operation operation, uint64_t pages);
};

enum dynmem_state { DYNMEM_CLOSED, DYNMEM_VERSION, DYNMEM_CAPABILITIES, DYNMEM_READY };

struct dynmem {
    struct dynmem_config config;
    struct vmbus_channel *channel; // NULL: removed
    enum dynmem_state state;
    uint32_t version;
    bool can_balloon, can_hot_add;
    uint32_t alignment;   // of hot-added ranges, in pages; a power of two
    uint64_t ready_since; // reference time
    struct dynmem_status last;
    uint64_t ballooned; // pages
    // The operation under way.
    enum dynmem_operation operation;
    bool request_due; // the ring had no room for its next message
    uint32_t transaction;
    uint64_t wanted; // pages still to move
    uint64_t moved;
    uint64_t asked; // of the request that the guest works on
    uint64_t next;  // unballoon: where to look for ballooned pages; hot add: the next page
    bool reply_due; // the answer to version or capabilities
    bool accepted;  // what it says
};

// Offers the device. The bitmap is cleared. False: the configuration is not valid or the bus has
// no room.
bool dynmem_create(struct dynmem *dynmem, struct vmbus_server *server,
                   const struct dynmem_config *config);

// Takes it away; dynmem_gone() says when it is. Ballooned pages are given back.
void dynmem_remove(struct dynmem *dynmem);
bool dynmem_gone(const struct dynmem *dynmem);

// Whether an operation can be begun: the guest's driver is there for long enough and idle.
bool dynmem_idle(const struct dynmem *dynmem);

// Operations; `done` ends each. False: not idle, or the guest cannot, or an argument is out of
// range; then done is not called.
// Asks the guest for so many pages.
bool dynmem_balloon(struct dynmem *dynmem, uint64_t pages);
// Gives so many of the ballooned pages back, lowest first.
bool dynmem_unballoon(struct dynmem *dynmem, uint64_t pages);
// Adds [first, first + pages), which is the guest's memory already; both are multiples of the
// alignment. The guest may take less from the front of it.
bool dynmem_hot_add(struct dynmem *dynmem, uint64_t first, uint64_t pages);
