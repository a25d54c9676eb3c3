// SPDX-License-Identifier: BSD-2-Clause-Patent
// Lists of pages: contract in ranges.h and store.h.
#include "ranges.h"

#include "../mem.h"
#include "store.h"

uint64_t vmbus_ranges_word(const struct vmbus_ranges *ranges, uint32_t index)
{
    if (ranges->flat) {
        return ranges->flat[index];
    }
    return ranges->store[(size_t)ranges->blocks[index / VMBUS_STORE_BLOCK] * VMBUS_STORE_BLOCK +
                         index % VMBUS_STORE_BLOCK];
}

// The range whose header is the word `at`.
static struct vmbus_range range_at(const struct vmbus_ranges *ranges, uint32_t at)
{
    const uint64_t header = vmbus_ranges_word(ranges, at);

    return (struct vmbus_range){
        .size = (uint32_t)header, .offset = (uint32_t)(header >> 32), .first = at + 1};
}

// At most 2^20 + 1.
static uint32_t pages_of(struct vmbus_range range)
{
    return (uint32_t)(((uint64_t)range.size + range.offset + VMBUS_PAGE - 1) >> VMBUS_PAGE_SHIFT);
}

bool vmbus_ranges_validate(struct vmbus_ranges *ranges, uint32_t words, uint32_t count)
{
    uint64_t size = 0;
    uint32_t at = 0;

    if (count == 0 || count > VMBUS_RANGES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (at >= words) {
            return false;
        }
        const struct vmbus_range range = range_at(ranges, at);
        at++;
        if (range.size == 0 || range.offset >= VMBUS_PAGE || pages_of(range) > words - at) {
            return false;
        }
        at += pages_of(range);
        size += range.size;
    }
    ranges->words = at;
    ranges->count = count;
    ranges->size = size;
    return true;
}

struct vmbus_range vmbus_ranges_get(const struct vmbus_ranges *ranges, uint32_t index)
{
    struct vmbus_range range = range_at(ranges, 0);

    for (uint32_t i = 0; i < index; i++) {
        range = range_at(ranges, range.first + pages_of(range));
    }
    return range;
}

void *vmbus_ranges_span(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                        uint64_t offset, bool write, size_t *length)
{
    if (offset >= ranges->size) {
        return NULL;
    }
    struct vmbus_range range = range_at(ranges, 0);
    while (offset >= range.size) {
        offset -= range.size;
        range = range_at(ranges, range.first + pages_of(range));
    }
    const uint64_t at = range.offset + offset;
    const uint64_t gpn =
        vmbus_ranges_word(ranges, range.first + (uint32_t)(at >> VMBUS_PAGE_SHIFT));
    const size_t in_page = VMBUS_PAGE - at % VMBUS_PAGE;
    uint8_t *page = memory->page(memory->ctx, gpn, write);

    *length = range.size - offset < in_page ? (size_t)(range.size - offset) : in_page;
    return page ? page + at % VMBUS_PAGE : NULL;
}

static bool inside(const struct vmbus_ranges *ranges, uint64_t offset, uint64_t size)
{
    return offset <= ranges->size && size <= ranges->size - offset;
}

bool vmbus_ranges_read(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                       uint64_t offset, void *to, size_t size)
{
    uint8_t *bytes = to;
    size_t length;

    if (!inside(ranges, offset, size)) {
        return false;
    }
    for (; size; size -= length, offset += length, bytes += length) {
        const void *from = vmbus_ranges_span(memory, ranges, offset, false, &length);
        if (!from) {
            return false;
        }
        length = length < size ? length : size;
        memcpy(bytes, from, length);
        // The compiler must not come back to guest memory for what it has copied.
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    }
    return true;
}

bool vmbus_ranges_write(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                        uint64_t offset, const void *from, size_t size)
{
    const uint8_t *bytes = from;
    size_t length;

    if (!inside(ranges, offset, size)) {
        return false;
    }
    for (; size; size -= length, offset += length, bytes += length) {
        void *to = vmbus_ranges_span(memory, ranges, offset, true, &length);
        if (!to) {
            return false;
        }
        length = length < size ? length : size;
        memcpy(to, bytes, length);
    }
    return true;
}

bool vmbus_ranges_zero(const struct vmbus_memory *memory, const struct vmbus_ranges *ranges,
                       uint64_t offset, uint64_t size)
{
    size_t length;

    if (!inside(ranges, offset, size)) {
        return false;
    }
    for (; size; size -= length, offset += length) {
        void *to = vmbus_ranges_span(memory, ranges, offset, true, &length);
        if (!to) {
            return false;
        }
        length = length < size ? length : (size_t)size;
        memset(to, 0, length);
    }
    return true;
}
