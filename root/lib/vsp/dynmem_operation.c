// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dynamic memory, what is asked of the guest: one message at a time until all is moved or the
// guest has no more.
#include "dynmem_priv.h"

#include "../mem.h"
#include "wire.h"

enum {
    MORE = 1,
    HOT_ADD_SIZE = 24, // range, and the region that it is in
    SIMPLE_SIZE = 16,
};

static void header(struct dynmem *dynmem, uint8_t *message, enum dynmem_type type, uint32_t size)
{
    memset(message, 0, DYNMEM_RANGES);
    le16_put(message, (uint16_t)type);
    le16_put(message + 2, (uint16_t)size);
    le32_put(message + 4, ++dynmem->transaction);
}

static void put_range(uint8_t *at, uint64_t first, uint64_t count)
{
    le64_put(at, first | count << 40);
}

static void finish(struct dynmem *dynmem)
{
    const enum dynmem_operation operation = dynmem->operation;

    dynmem->operation = DYNMEM_NONE;
    dynmem->config.done(dynmem->config.ctx, operation, dynmem->moved);
}

static void ask_balloon(struct dynmem *dynmem)
{
    uint8_t message[SIMPLE_SIZE];

    dynmem->asked = dynmem->wanted < DYNMEM_REQUEST_MAX ? dynmem->wanted : DYNMEM_REQUEST_MAX;
    header(dynmem, message, DYNMEM_BALLOON_REQUEST, sizeof message);
    le32_put(message + DYNMEM_HEADER, (uint32_t)dynmem->asked);
    vmbus_channel_send(dynmem->channel, 0, false, message, sizeof message);
}

// The pages are the guest's again before it hears of them.
static void give_back(struct dynmem *dynmem)
{
    uint8_t message[DYNMEM_RANGES + 8 * DYNMEM_RANGES_OUT];
    uint32_t count = 0;

    dynmem->asked = 0;
    while (count < DYNMEM_RANGES_OUT) {
        const uint64_t left = dynmem->wanted - dynmem->asked;
        uint64_t first;
        const uint64_t pages = dynmem_pages_give(dynmem, &dynmem->next,
                                                 left < DYNMEM_CHUNK ? left : DYNMEM_CHUNK, &first);
        if (pages == 0) {
            break;
        }
        put_range(message + DYNMEM_RANGES + 8 * count++, first, pages);
        dynmem->asked += pages;
    }
    const uint32_t size = DYNMEM_RANGES + 8 * count;
    header(dynmem, message, DYNMEM_UNBALLOON_REQUEST, size);
    le32_put(message + DYNMEM_HEADER + 4, count);
    vmbus_channel_send(dynmem->channel, 0, false, message, size);
}

static void ask_hot_add(struct dynmem *dynmem)
{
    const uint64_t chunk = DYNMEM_CHUNK > dynmem->alignment ? DYNMEM_CHUNK : dynmem->alignment;
    uint8_t message[HOT_ADD_SIZE];

    dynmem->asked = dynmem->wanted < chunk ? dynmem->wanted : chunk;
    header(dynmem, message, DYNMEM_HOT_ADD_REQUEST, sizeof message);
    put_range(message + DYNMEM_HEADER, dynmem->next, dynmem->asked);
    put_range(message + DYNMEM_HEADER + 8, dynmem->next, dynmem->asked);
    vmbus_channel_send(dynmem->channel, 0, false, message, sizeof message);
}

void dynmem_operation_go_on(struct dynmem *dynmem)
{
    // What is given back cannot be taken again: the room is made sure of first.
    dynmem->request_due =
        !vmbus_channel_room(dynmem->channel, 1, DYNMEM_RANGES + 8 * DYNMEM_RANGES_OUT);
    if (dynmem->request_due) {
        return;
    }
    switch (dynmem->operation) {
    case DYNMEM_BALLOON:
        ask_balloon(dynmem);
        break;
    case DYNMEM_UNBALLOON:
        give_back(dynmem);
        break;
    case DYNMEM_HOT_ADD:
        ask_hot_add(dynmem);
        break;
    default:
        break;
    }
}

// So many pages of the request are done; `more`: it makes sense to go on.
static void moved(struct dynmem *dynmem, uint64_t pages, bool more)
{
    dynmem->moved += pages;
    dynmem->wanted -= pages;
    dynmem->asked = 0;
    if (dynmem->wanted && more) {
        dynmem_operation_go_on(dynmem);
    } else {
        finish(dynmem);
    }
}

// {header, u32 0, u32 bit 0 more messages follow and bits 31:1 range count, ranges}
bool dynmem_balloon_answer(struct dynmem *dynmem, const uint8_t *message, uint32_t size)
{
    uint64_t pages = 0;

    if (dynmem->operation != DYNMEM_BALLOON || dynmem->request_due || size < DYNMEM_RANGES) {
        return false;
    }
    const uint32_t word = le32_get(message + DYNMEM_HEADER + 4);
    const uint32_t count = word >> 1;
    if (count > (size - DYNMEM_RANGES) / 8) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t range = le64_get(message + DYNMEM_RANGES + 8 * i);
        const uint64_t length = range >> 40;
        if (length > dynmem->asked - pages ||
            !dynmem_pages_take(dynmem, range & DYNMEM_RANGE_FIRST, length)) {
            return false;
        }
        pages += length;
    }
    if (word & MORE) {
        dynmem->asked -= pages;
        dynmem->wanted -= pages;
        dynmem->moved += pages;
        return pages != 0; // an empty part that promises more could go on for ever
    }
    moved(dynmem, pages, pages == dynmem->asked);
    return true;
}

bool dynmem_unballoon_answer(struct dynmem *dynmem)
{
    if (dynmem->operation != DYNMEM_UNBALLOON || dynmem->request_due) {
        return false;
    }
    moved(dynmem, dynmem->asked, dynmem->ballooned != 0 && dynmem->asked != 0);
    return true;
}

// {header, u32 pages, u32 result: 1 done or never possible, 0 not now}
bool dynmem_hot_add_answer(struct dynmem *dynmem, const uint8_t *message, uint32_t size)
{
    if (dynmem->operation != DYNMEM_HOT_ADD || dynmem->request_due || size < SIMPLE_SIZE) {
        return false;
    }
    const uint32_t pages = le32_get(message + DYNMEM_HEADER);
    const bool done = le32_get(message + DYNMEM_HEADER + 4) == 1;
    if (pages > dynmem->asked) {
        return false;
    }
    dynmem->next += pages;
    moved(dynmem, pages, done && pages == dynmem->asked);
    return true;
}
