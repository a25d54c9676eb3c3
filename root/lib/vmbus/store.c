// SPDX-License-Identifier: BSD-2-Clause-Patent
// The pool of blocks: contract in store.h.
#include "store.h"

void vmbus_store_init(struct vmbus_store *store, uint64_t *words, uint16_t *next, uint32_t count)
{
    store->words = words;
    store->next = next;
    store->free = (uint16_t)count;
    store->first_free = count ? 0 : VMBUS_NO_BLOCK;
    for (uint32_t i = 0; i < count; i++) {
        next[i] = i + 1 < count ? (uint16_t)(i + 1) : VMBUS_NO_BLOCK;
    }
}

bool vmbus_store_take(struct vmbus_store *store, uint16_t *blocks, uint32_t count)
{
    if (count > store->free) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        blocks[i] = store->first_free;
        store->first_free = store->next[blocks[i]];
    }
    store->free = (uint16_t)(store->free - count);
    return true;
}

void vmbus_store_give(struct vmbus_store *store, const uint16_t *blocks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        store->next[blocks[i]] = store->first_free;
        store->first_free = blocks[i];
    }
    store->free = (uint16_t)(store->free + count);
}
