// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest buffers that are lists of pages: a GPADL, or the external data of a GPA-direct packet. Both
// are a "range buffer" of 64-bit words: for each range {u32 byte count, u32 byte offset} and the
// page numbers it covers (spec: VMBus 1.6, GPADLs; 1.7, packets).
//
// A struct vmbus_ranges that the library hands out has been copied from the guest and validated:
// every range is non-empty, starts within its first page and has all the page numbers it needs.
// What has not been checked, because it can change at any time, is whether the pages are memory:
// each access finds out, and fails without harm. To the user the list is one string of `size`
// bytes, the ranges one after the other.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

enum {
    VMBUS_RANGES_MAX = 64,    // ranges of one list; guests use 1 for a GPADL, some 20 for a packet
    VMBUS_STORE_BLOCK = 64,   // words of one block
    VMBUS_RANGE_WORDS = 8191, // words of one GPADL: its range_buflen is 16 bits wide
    VMBUS_RANGE_BLOCKS = (VMBUS_RANGE_WORDS + VMBUS_STORE_BLOCK - 1) / VMBUS_STORE_BLOCK,
};

// Words lie either in one piece (flat) or in blocks of VMBUS_STORE_BLOCK, found by block number.
struct vmbus_ranges {
    const uint64_t *flat;   // NULL: in blocks
    const uint64_t *store;  // all blocks
    const uint16_t *blocks; // which ones are ours, in order
    uint32_t words;         // of the validated list
    uint32_t count;         // ranges, 1..VMBUS_RANGES_MAX; 0: an empty list
    uint64_t size;          // bytes of all ranges
};

struct vmbus_range {
    uint32_t size;   // bytes, not 0
    uint32_t offset; // of the first byte in the first page, < VMBUS_PAGE
    uint32_t first;  // index of the word that holds the first page number
};

// The range `index` < count.
struct vmbus_range vmbus_ranges_get(const struct vmbus_ranges *ranges, uint32_t index);

// Copies bytes [offset, offset + size) of the list. False when they are not all inside the list or
// a page is no memory of the guest; then leading bytes may have been copied.
bool vmbus_ranges_read(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                       uint64_t offset, void *to, size_t size);
bool vmbus_ranges_write(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                        uint64_t offset, const void *from, size_t size);
// Clears them.
bool vmbus_ranges_zero(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                       uint64_t offset, uint64_t size);

// The host address of byte `offset`, and in *length how many bytes follow it in the same page and
// range: for data that goes between a backend and the guest without a copy. NULL when the offset
// is outside or the page is no memory (for `write`: not writable). The bytes there are the guest's
// to change at any time: never parse them, copy first. Valid as vmbus_memory says.
void *vmbus_ranges_span(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                        uint64_t offset, bool write, size_t *length);
