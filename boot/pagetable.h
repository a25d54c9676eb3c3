// SPDX-License-Identifier: BSD-2-Clause-Patent
// Builds the hypervisor's page tables (SDM 3A 4.5, APM 2 5.3) from a run of zeroed pages. Pure:
// table pages are reached through `window`, so the same code runs in UEFI and in host tests.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum pagetable_rights {
    PT_READ = 0,
    PT_WRITE = 1u << 0,
    PT_EXECUTE = 1u << 1, // never with PT_WRITE
    PT_UNCACHED = 1u << 2 // PCD and PWT: UC by every PAT in use
};

enum pagetable_entry {
    PTE_PRESENT = 1u << 0,
    PTE_WRITE = 1u << 1,
    PTE_PWT = 1u << 3,
    PTE_PCD = 1u << 4
};
#define PTE_ADDRESS    0x000ffffffffff000ul
#define PTE_NO_EXECUTE (1ul << 63)

struct pagetable {
    uint8_t *window; // where physical address `base` is readable and writable now
    uint64_t base;   // bytes, page aligned
    uint64_t pages;  // zeroed pages that may be used
    uint64_t used;   // pages used so far; the first is the root
    unsigned levels; // 4, or 5 with CR4.LA57
};

// Start a tree with an empty root. False: no page for it, or levels is neither 4 nor 5.
bool pagetable_init(struct pagetable *pt, void *window, uint64_t base, uint64_t pages,
                    unsigned levels);

// Physical address of the root, for CR3.
uint64_t pagetable_root(const struct pagetable *pt);

// Map `count` 4 KiB pages from va to pa. False: an address is unaligned, not canonical or too
// large, writable and executable at once, something is mapped there already, or the table pages ran
// out.
bool pagetable_map(struct pagetable *pt, uint64_t va, uint64_t pa, uint64_t count, unsigned rights);

// Make the tables of `count` pages at va down to the last level, mapping nothing. False as above.
bool pagetable_reserve(struct pagetable *pt, uint64_t va, uint64_t count);

// Upper bound of the table pages (without the root) that a run of `count` pages needs.
uint64_t pagetable_bound(uint64_t count);
