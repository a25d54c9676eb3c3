// SPDX-License-Identifier: BSD-2-Clause-Patent
// What both directions of a ring share: contracts in ring.h and ring_priv.h.
#include "../mem.h"
#include "ring_priv.h"
#include "store.h"

bool vmbus_ring_fault(struct vmbus_ring *ring, const char *text)
{
    if (!ring->fault) {
        ring->fault = text;
    }
    return false;
}

// The host address of a page of the ring; NULL is a fault.
static uint8_t *ring_page(struct vmbus_ring *ring, uint32_t index)
{
    // Word 0 of the list is the header of its one range.
    const uint64_t gpn = vmbus_ranges_word(&ring->pages, 1 + ring->first + index);
    uint8_t *page = ring->memory->page(ring->memory->ctx, gpn, true);

    if (!page) {
        vmbus_ring_fault(ring, "a page of the ring is no memory");
    }
    return page;
}

uint32_t vmbus_ring_load(struct vmbus_ring *ring, enum vmbus_ring_word word)
{
    const uint32_t *words = (const uint32_t *)(void *)ring_page(ring, 0);

    return words ? __atomic_load_n(words + word, __ATOMIC_ACQUIRE) : 0;
}

void vmbus_ring_store(struct vmbus_ring *ring, enum vmbus_ring_word word, uint32_t value)
{
    uint32_t *words = (uint32_t *)(void *)ring_page(ring, 0);

    if (words) {
        __atomic_store_n(words + word, value, __ATOMIC_RELEASE);
    }
}

bool vmbus_ring_load_index(struct vmbus_ring *ring, enum vmbus_ring_word word, uint32_t *index)
{
    const uint32_t value = vmbus_ring_load(ring, word);

    if (ring->fault || value >= ring->size || value % 8) {
        return vmbus_ring_fault(ring, "ring index out of range");
    }
    *index = value;
    return true;
}

bool vmbus_rings_valid(const struct vmbus_ranges *pages, uint32_t out_page)
{
    if (pages->count != 1) {
        return false;
    }
    const struct vmbus_range range = vmbus_ranges_get(pages, 0);
    const uint32_t count = range.size / VMBUS_PAGE;

    return range.offset == 0 && range.size % VMBUS_PAGE == 0 && out_page >= VMBUS_RING_PAGES_MIN &&
           out_page < count && count - out_page >= VMBUS_RING_PAGES_MIN;
}

void vmbus_ring_setup(struct vmbus_ring *ring, const struct vmbus_memory *memory,
                      const struct vmbus_ranges *pages, uint32_t first, uint32_t end)
{
    ring->memory = memory;
    ring->pages = *pages;
    ring->first = first;
    ring->size = (end - first - 1) * VMBUS_PAGE;
    ring->fault = NULL;
}

// The address of data byte `offset`, and how many of size bytes follow it in its page.
static uint8_t *data_piece(struct vmbus_ring *ring, uint32_t offset, uint32_t size,
                           uint32_t *length)
{
    const uint32_t in_page = VMBUS_PAGE - offset % VMBUS_PAGE;
    uint8_t *page = ring_page(ring, 1 + offset / VMBUS_PAGE);

    *length = size < in_page ? size : in_page;
    return page ? page + offset % VMBUS_PAGE : NULL;
}

bool vmbus_ring_get(struct vmbus_ring *ring, uint32_t offset, void *to, uint32_t size)
{
    uint8_t *bytes = to;
    uint32_t length;

    for (; size; size -= length, bytes += length) {
        const uint8_t *from = data_piece(ring, offset, size, &length);
        if (!from) {
            return false;
        }
        memcpy(bytes, from, length);
        offset = ring_advance(ring, offset, length);
    }
    // The compiler must not come back to guest memory for what it has copied.
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return true;
}

bool vmbus_ring_put(struct vmbus_ring *ring, uint32_t offset, const void *from, uint32_t size)
{
    const uint8_t *bytes = from;
    uint32_t length;

    for (; size; size -= length, bytes += length) {
        uint8_t *to = data_piece(ring, offset, size, &length);
        if (!to) {
            return false;
        }
        memcpy(to, bytes, length);
        offset = ring_advance(ring, offset, length);
    }
    return true;
}
