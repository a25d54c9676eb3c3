// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the processor makes of a second-level table, written from the manuals and independent of
// mm/slpt.c; and a model TLB that remembers translations until it is told to forget them.
#pragma once

#include "fake_phys.h"

#include "corbel/gpa.h"

struct hw_page {
    bool present;
    bool write;
    bool execute;
    uint64_t spa;
    uint64_t size;
};

static inline bool hw_present(uint64_t entry, bool ept)
{
    return (entry & (ept ? 7 : 1)) != 0;
}

// Walks four levels at `root_pa` for `gpa`.
static inline struct hw_page hw_walk(uint64_t root_pa, uint64_t gpa, bool ept)
{
    struct hw_page page = {.present = false, .write = true, .execute = true};
    uint64_t table_pa = root_pa;

    for (int shift = 39; shift >= 12; shift -= 9) {
        uint64_t entry = ((uint64_t *)phys_to_virt(table_pa))[gpa >> shift & 511];
        uint64_t address = entry & UINT64_C(0xffffffffff000);
        bool large = shift > 12 && (entry & 0x80) != 0;

        if (!hw_present(entry, ept))
            return page;
        if (ept) {
            page.execute = page.execute && (entry & 4) != 0;
            must((entry & 1) != 0); // write-only is a misconfiguration
        } else {
            page.execute = page.execute && entry >> 63 == 0;
            must((entry & 4) != 0); // nested accesses are user accesses
        }
        page.write = page.write && (entry & 2) != 0;
        if (shift > 12 && !large) {
            table_pa = address;
            continue;
        }
        must(shift < 39);
        must_equal(address & ((UINT64_C(1) << shift) - 1), 0);
        must(!ept || (entry >> 3 & 7) == 6);
        page.present = true;
        page.size = UINT64_C(1) << shift;
        page.spa = address | (gpa & (page.size - 1));
        return page;
    }
    return page;
}

// Whether a processor that remembers `old` may do nothing that `now` would not let it do, and will
// not hold one address in two page sizes at once.
static inline bool hw_within(const struct hw_page *old, const struct hw_page *now)
{
    if (!old->present)
        return true;
    return now->present && now->spa == old->spa && now->size == old->size &&
           (now->write || !old->write) && (now->execute || !old->execute);
}

// Whether the hardware gives exactly these rights to this page.
static inline bool hw_is(const struct hw_page *page, uint64_t spa, uint32_t rights)
{
    if (rights == 0)
        return !page->present;
    return page->present && page->spa == spa && page->write == ((rights & 2) != 0) &&
           page->execute == ((rights & 12) != 0);
}
