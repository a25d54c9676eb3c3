// SPDX-License-Identifier: BSD-2-Clause-Patent
// Between the files of dynamic memory.
#pragma once

#include "dynmem.h"

enum {
    DYNMEM_HEADER = 8, // {u16 type, u16 size of it all, u32 transaction}
    DYNMEM_RANGES = 16,
    DYNMEM_MESSAGE_MAX = 4096,
    DYNMEM_RANGES_OUT = 250,     // of one message to the guest
    DYNMEM_CHUNK = 524288,       // pages of one range to the guest: 2 GiB
    DYNMEM_REQUEST_MAX = 524288, // pages asked for at once; Windows takes 585,728
};

// A range: 40 bits of first page, 24 of count.
#define DYNMEM_RANGE_FIRST ((UINT64_C(1) << 40) - 1)

enum dynmem_type {
    DYNMEM_VERSION_REQUEST = 1,
    DYNMEM_VERSION_RESPONSE = 2,
    DYNMEM_CAPABILITIES_REPORT = 3,
    DYNMEM_CAPABILITIES_RESPONSE = 4,
    DYNMEM_STATUS_REPORT = 5,
    DYNMEM_BALLOON_REQUEST = 6,
    DYNMEM_BALLOON_RESPONSE = 7,
    DYNMEM_UNBALLOON_REQUEST = 8,
    DYNMEM_UNBALLOON_RESPONSE = 9,
    DYNMEM_HOT_ADD_REQUEST = 10,
    DYNMEM_HOT_ADD_RESPONSE = 11,
};

// ---- dynmem_pages.c --------------------------------------------------------------------------

// Takes pages that the guest gave up. False: they are not all its own, or it gave some before;
// nothing has changed.
bool dynmem_pages_take(struct dynmem *dynmem, uint64_t first, uint64_t count);

// The next run of ballooned pages at or behind *at, at most `max` long: gives it back, moves *at
// behind it and returns its length, its start in *first. 0: there is none.
uint64_t dynmem_pages_give(struct dynmem *dynmem, uint64_t *at, uint64_t max, uint64_t *first);

// Writes the ballooned pages as {u64 first, u64 count} runs, {0, 0} last; takes them as the guest's
// word is taken. False: malformed; what was taken stays until dynmem_pages_give_all().
void dynmem_pages_save(const struct dynmem *dynmem, struct blob_writer *blob);
bool dynmem_pages_restore(struct dynmem *dynmem, struct blob_reader *blob);
void dynmem_pages_give_all(struct dynmem *dynmem);

// ---- dynmem_save.c ---------------------------------------------------------------------------

// As in struct vmbus_device_ops.
void dynmem_save(void *device, struct vmbus_channel *primary, struct blob_writer *blob);
bool dynmem_restore(void *device, struct vmbus_channel *primary, struct blob_reader *blob);

// ---- dynmem_operation.c ----------------------------------------------------------------------

// Sends the next message of the operation under way; when the ring is full, request_due stays.
void dynmem_operation_go_on(struct dynmem *dynmem);

// Answers of the guest. False: they make no sense.
bool dynmem_balloon_answer(struct dynmem *dynmem, const uint8_t *message, uint32_t size);
bool dynmem_unballoon_answer(struct dynmem *dynmem);
bool dynmem_hot_add_answer(struct dynmem *dynmem, const uint8_t *message, uint32_t size);
