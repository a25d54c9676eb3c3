// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/pagetable.h"

#include <stddef.h>

#include "corbel/layout.h"

#define INDEX_BITS 9u
#define ENTRIES    512u

static uint64_t *table_at(const struct pagetable *pt, uint64_t pa)
{
    return (uint64_t *)(pt->window + (pa - pt->base));
}

// Physical address of a fresh empty table; 0 when there is none (the root is never handed out
// again, and no other table can be at 0 unless base is, which pagetable_init refuses).
static uint64_t take_page(struct pagetable *pt)
{
    if (pt->used == pt->pages)
        return 0;
    return pt->base + pt->used++ * PAGE_SIZE;
}

bool pagetable_init(struct pagetable *pt, void *window, uint64_t base, uint64_t pages,
                    unsigned levels)
{
    *pt = (struct pagetable){.window = window, .base = base, .pages = pages, .levels = levels};
    if (!base || base % PAGE_SIZE || (levels != 4 && levels != 5))
        return false;
    return take_page(pt) != 0;
}

uint64_t pagetable_root(const struct pagetable *pt)
{
    return pt->base;
}

static unsigned table_index(uint64_t va, unsigned level)
{
    return (unsigned)(va >> (PAGE_SHIFT + INDEX_BITS * (level - 1))) % ENTRIES;
}

// All of [va, va + count pages) is canonical and on one side of the hole.
static bool range_is_canonical(const struct pagetable *pt, uint64_t va, uint64_t count)
{
    unsigned bits = PAGE_SHIFT + INDEX_BITS * pt->levels - 1; // of one side
    uint64_t side = 1ul << bits, offset = va & (side - 1), sign = va >> bits;
    if (va % PAGE_SIZE || (sign && sign != (UINT64_MAX >> bits)))
        return false;
    return count <= (side - offset) / PAGE_SIZE;
}

// The last-level entry of va, its tables made as needed; NULL: no page for one.
static uint64_t *last_entry(struct pagetable *pt, uint64_t va)
{
    uint64_t pa = pt->base;
    for (unsigned level = pt->levels; level > 1; level--) {
        uint64_t *entry = &table_at(pt, pa)[table_index(va, level)];
        if (!*entry) {
            uint64_t page = take_page(pt);
            if (!page)
                return NULL;
            // Rights are decided at the last level alone.
            *entry = page | PTE_PRESENT | PTE_WRITE;
        }
        pa = *entry & PTE_ADDRESS;
    }
    return &table_at(pt, pa)[table_index(va, 1)];
}

bool pagetable_map(struct pagetable *pt, uint64_t va, uint64_t pa, uint64_t count, unsigned rights)
{
    uint64_t bits = PTE_PRESENT;
    if ((rights & PT_WRITE) && (rights & PT_EXECUTE))
        return false;
    if (!range_is_canonical(pt, va, count) || pa & ~PTE_ADDRESS ||
        count > (PTE_ADDRESS + PAGE_SIZE - pa) / PAGE_SIZE)
        return false;
    bits |= rights & PT_WRITE ? PTE_WRITE : 0;
    bits |= rights & PT_EXECUTE ? 0 : PTE_NO_EXECUTE;
    bits |= rights & PT_UNCACHED ? PTE_PCD | PTE_PWT : 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *entry = last_entry(pt, va + i * PAGE_SIZE);
        if (!entry || *entry)
            return false;
        *entry = (pa + i * PAGE_SIZE) | bits;
    }
    return true;
}

bool pagetable_reserve(struct pagetable *pt, uint64_t va, uint64_t count)
{
    if (!range_is_canonical(pt, va, count))
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (!last_entry(pt, va + i * PAGE_SIZE))
            return false;
    return true;
}

uint64_t pagetable_bound(uint64_t count)
{
    uint64_t bound = 0;
    for (unsigned level = 1; level < 5; level++) {
        count = (count + ENTRIES - 1) / ENTRIES;
        bound += count + 1; // a run that is not aligned touches one more
    }
    return bound;
}
