// SPDX-License-Identifier: BSD-2-Clause-Patent
// Copies between private and guest memory: contract in memory.h.
#include "memory.h"

#include "../mem.h"

// The address of gpa, and how many of size bytes lie in its page.
static uint8_t *piece(const struct vmbus_memory *memory, uint64_t gpa, bool write, size_t size,
                      size_t *length)
{
    const size_t offset = gpa % VMBUS_PAGE;
    uint8_t *page = memory->page(memory->ctx, gpa >> VMBUS_PAGE_SHIFT, write);

    *length = size < VMBUS_PAGE - offset ? size : VMBUS_PAGE - offset;
    return page ? page + offset : NULL;
}

// The compiler must not come back to the source later for what it has copied.
static void copy_once(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

bool vmbus_memory_read(const struct vmbus_memory *memory, uint64_t gpa, void *to, size_t size)
{
    uint8_t *bytes = to;
    size_t length;

    if (gpa + size < gpa) {
        return false;
    }
    for (; size; size -= length, gpa += length, bytes += length) {
        const uint8_t *from = piece(memory, gpa, false, size, &length);
        if (!from) {
            return false;
        }
        copy_once(bytes, from, length);
    }
    return true;
}

bool vmbus_memory_write(const struct vmbus_memory *memory, uint64_t gpa, const void *from,
                        size_t size)
{
    const uint8_t *bytes = from;
    size_t length;

    if (gpa + size < gpa) {
        return false;
    }
    for (; size; size -= length, gpa += length, bytes += length) {
        uint8_t *to = piece(memory, gpa, true, size, &length);
        if (!to) {
            return false;
        }
        copy_once(to, bytes, length);
    }
    return true;
}
