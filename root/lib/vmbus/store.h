// SPDX-License-Identifier: BSD-2-Clause-Patent
// Where the range buffers of GPADLs are kept: blocks of 64-bit words from one pool, so that lists
// of any length come and go without leaving holes. Private to the library.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ranges.h"

#define VMBUS_NO_BLOCK UINT16_MAX

enum { VMBUS_STORE_BLOCKS_MAX = UINT16_MAX };

struct vmbus_store {
    uint64_t *words; // VMBUS_STORE_BLOCK for each block
    uint16_t *next;  // chain of free blocks
    uint16_t first_free;
    uint16_t free;
};

// All blocks free. count <= VMBUS_STORE_BLOCKS_MAX; words and next are that many blocks.
void vmbus_store_init(struct vmbus_store *store, uint64_t *words, uint16_t *next, uint32_t count);

// Takes `count` blocks and writes their numbers to blocks[]; false, with nothing taken, when there
// are not so many.
bool vmbus_store_take(struct vmbus_store *store, uint16_t *blocks, uint32_t count);
void vmbus_store_give(struct vmbus_store *store, const uint16_t *blocks, uint32_t count);

// Blocks that hold this many words.
static inline uint32_t vmbus_store_blocks(uint32_t words)
{
    return (words + VMBUS_STORE_BLOCK - 1) / VMBUS_STORE_BLOCK;
}

// The word `index` of a list that lies in these blocks.
static inline uint64_t *vmbus_store_word(const struct vmbus_store *store, const uint16_t *blocks,
                                         uint32_t index)
{
    return store->words + (size_t)blocks[index / VMBUS_STORE_BLOCK] * VMBUS_STORE_BLOCK +
           index % VMBUS_STORE_BLOCK;
}

// Validates a range buffer whose first `words` words are ranges->flat, or lie in ranges->blocks:
// `count` ranges, each of at least one byte, an offset within the first page, and as many page
// numbers as it covers. Words behind them are ignored. Fills in words, count and size. False when
// it is not so (spec: VMBus 1.6).
bool vmbus_ranges_validate(struct vmbus_ranges *ranges, uint32_t words, uint32_t count);

// The word at `index` < ranges->words.
uint64_t vmbus_ranges_word(const struct vmbus_ranges *ranges, uint32_t index);
