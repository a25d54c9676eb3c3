// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dynamic memory, the bitmap of ballooned pages: contract in dynmem_priv.h. A word is looked at as
// a whole where that is possible: ranges from a guest can be millions of pages long.
#include "dynmem_priv.h"

#include "../mem.h"

enum { WORD = 64 };

// The bits of word `index` that belong to [first, end).
static uint64_t mask_of(uint64_t index, uint64_t first, uint64_t end)
{
    const uint64_t base = index * WORD;
    uint64_t mask = UINT64_MAX;

    if (first > base) {
        mask &= UINT64_MAX << (first - base);
    }
    if (end < base + WORD) {
        mask &= UINT64_MAX >> (base + WORD - end);
    }
    return mask;
}

static bool any_set(const struct dynmem *dynmem, uint64_t first, uint64_t end)
{
    for (uint64_t i = first / WORD; i <= (end - 1) / WORD; i++) {
        if (dynmem->config.bitmap[i] & mask_of(i, first, end)) {
            return true;
        }
    }
    return false;
}

bool dynmem_pages_take(struct dynmem *dynmem, uint64_t first, uint64_t count)
{
    const struct dynmem_config *config = &dynmem->config;

    if (count == 0 || first >= config->pages || count > config->pages - first ||
        any_set(dynmem, first, first + count) || !config->owns(config->ctx, first, count)) {
        return false;
    }
    for (uint64_t i = first / WORD; i <= (first + count - 1) / WORD; i++) {
        config->bitmap[i] |= mask_of(i, first, first + count);
    }
    dynmem->ballooned += count;
    config->taken(config->ctx, first, count);
    return true;
}

// The first page at or behind `at` whose bit is `set`, or config.pages.
static uint64_t find(const struct dynmem *dynmem, uint64_t at, bool set)
{
    const uint64_t pages = dynmem->config.pages;

    while (at < pages) {
        uint64_t word = dynmem->config.bitmap[at / WORD];
        word = (set ? word : ~word) & UINT64_MAX << at % WORD;
        if (word) {
            const uint64_t found = at / WORD * WORD + (unsigned)__builtin_ctzll(word);
            return found < pages ? found : pages;
        }
        at = (at / WORD + 1) * WORD;
    }
    return pages;
}

uint64_t dynmem_pages_give(struct dynmem *dynmem, uint64_t *at, uint64_t max, uint64_t *first)
{
    const struct dynmem_config *config = &dynmem->config;

    *first = find(dynmem, *at, true);
    if (*first == config->pages || max == 0) {
        return 0;
    }
    const uint64_t end = find(dynmem, *first, false);
    const uint64_t count = end - *first < max ? end - *first : max;
    for (uint64_t i = *first / WORD; i <= (*first + count - 1) / WORD; i++) {
        config->bitmap[i] &= ~mask_of(i, *first, *first + count);
    }
    dynmem->ballooned -= count;
    config->given(config->ctx, *first, count);
    *at = *first + count;
    return count;
}

void dynmem_pages_give_all(struct dynmem *dynmem)
{
    uint64_t at = 0, first;

    while (dynmem->ballooned) {
        dynmem_pages_give(dynmem, &at, UINT64_MAX, &first);
    }
}

void dynmem_pages_save(const struct dynmem *dynmem, struct blob_writer *blob)
{
    uint64_t first = find(dynmem, 0, true);

    while (first < dynmem->config.pages) {
        const uint64_t end = find(dynmem, first, false);
        blob_put_u64(blob, first);
        blob_put_u64(blob, end - first);
        first = find(dynmem, end, true);
    }
    blob_put_u64(blob, 0);
    blob_put_u64(blob, 0);
}

bool dynmem_pages_restore(struct dynmem *dynmem, struct blob_reader *blob)
{
    for (;;) {
        const uint64_t first = blob_get_u64(blob);
        const uint64_t count = blob_get_u64(blob);
        if (count == 0) {
            return !blob->failed && first == 0;
        }
        if (!dynmem_pages_take(dynmem, first, count)) {
            return false;
        }
    }
}
