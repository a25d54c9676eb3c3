// SPDX-License-Identifier: BSD-2-Clause-Patent
// Range buffers of GPADLs and of GPA-direct packets: one that is accepted can be read and written
// to its last byte and not beyond, whichever way it is stored, and agrees with a slow model.
#include "root/lib/vmbus/store.h"
#include "tests/fuzz/vmbus_input.h"
#include "tests/unit/vmbus_guest.h"

enum { WORDS = 192, PAGES = 64 };

static uint8_t memory[PAGES][VMBUS_PAGE];

static void *page(void *ctx, uint64_t gpn, bool write)
{
    (void)ctx;
    (void)write;
    return gpn < PAGES ? memory[gpn] : NULL;
}

static const struct vmbus_memory guest = {.page = page};

// Where byte `offset` of the list is; false when it is in no page of the guest.
static bool model(const uint64_t *words, uint32_t count, uint64_t offset, uint8_t **at)
{
    for (uint32_t word = 0; count; count--) {
        const uint32_t size = (uint32_t)words[word], first = (uint32_t)(words[word] >> 32);
        const uint32_t pages = (uint32_t)(((uint64_t)size + first + 4095) / 4096);
        if (offset < size) {
            const uint64_t position = first + offset;
            const uint64_t gpn = words[word + 1 + position / 4096];
            *at = gpn < PAGES ? &memory[gpn][position % 4096] : NULL;
            return gpn < PAGES;
        }
        offset -= size;
        word += 1 + pages;
    }
    abort();
}

static void check_byte(const struct vmbus_ranges *ranges, const uint64_t *words, uint64_t offset)
{
    uint8_t *expected = NULL;
    uint8_t byte = 0;
    size_t length = 0;
    const bool there = model(words, ranges->count, offset, &expected);
    const uint8_t *at = vmbus_ranges_span(&guest, ranges, offset, true, &length);

    must(at == (there ? expected : NULL));
    must(length >= 1 && length <= VMBUS_PAGE && length <= ranges->size - offset);
    must(vmbus_ranges_read(&guest, ranges, offset, &byte, 1) == there);
    must(!there || byte == *expected);
}

static void check_list(const struct vmbus_ranges *ranges, const uint64_t *words,
                       struct input *input)
{
    uint8_t bytes[600];
    size_t length;

    for (unsigned i = 0; i < 8; i++) {
        check_byte(ranges, words, take(input, 4) % ranges->size);
    }
    check_byte(ranges, words, 0);
    check_byte(ranges, words, ranges->size - 1);
    must(!vmbus_ranges_span(&guest, ranges, ranges->size, false, &length));
    must(!vmbus_ranges_read(&guest, ranges, ranges->size, bytes, 1));
    must(!vmbus_ranges_write(&guest, ranges, ranges->size - 1, bytes, 2));
    must(!vmbus_ranges_zero(&guest, ranges, UINT64_MAX, 2));
    const uint64_t offset = take(input, 4) % ranges->size;
    const size_t size = take(input, 2) % sizeof bytes;
    memset(bytes, 0x5A, sizeof bytes);
    // Pages may be listed twice, so only the last byte is sure to be there.
    if (size && vmbus_ranges_write(&guest, ranges, offset, bytes, size)) {
        check_byte(ranges, words, offset + size - 1);
        must(vmbus_ranges_read(&guest, ranges, offset + size - 1, bytes, 1) && bytes[0] == 0x5A);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t pool[8 * VMBUS_STORE_BLOCK];
    struct input input = {data, size};
    uint64_t words[WORDS];
    uint16_t next[8], blocks[8], other[2];
    struct vmbus_store store;
    const uint32_t count = (uint32_t)take(&input, 1);
    const uint32_t used = (uint32_t)take(&input, 1) % (WORDS + 1);

    for (uint32_t i = 0; i < used; i++) {
        const uint8_t kind = (uint8_t)take(&input, 1);
        words[i] = kind & 0x80 ? take(&input, 8)
                               : (kind & 0x40 ? take(&input, 2) << 32 | take(&input, 2) : kind);
    }
    // Blocks out of order, as they are when others have come and gone.
    vmbus_store_init(&store, pool, next, 8);
    must(vmbus_store_take(&store, other, 2));
    must(vmbus_store_take(&store, blocks, 1));
    vmbus_store_give(&store, other, 2);
    vmbus_store_give(&store, blocks, 1);
    const uint32_t needed = vmbus_store_blocks(used);
    must(vmbus_store_take(&store, blocks, needed));
    for (uint32_t i = 0; i < used; i++) {
        *vmbus_store_word(&store, blocks, i) = words[i];
    }
    struct vmbus_ranges flat = {.flat = words};
    struct vmbus_ranges stored = {.store = store.words, .blocks = blocks};
    const bool valid = vmbus_ranges_validate(&flat, used, count);
    must(vmbus_ranges_validate(&stored, used, count) == valid);
    if (valid) {
        must(flat.size == stored.size && flat.words == stored.words && flat.words <= used);
        struct input again = input;
        check_list(&flat, words, &input);
        check_list(&stored, words, &again);
    }
    vmbus_store_give(&store, blocks, needed);
    must(store.free == 8);
    return 0;
}
