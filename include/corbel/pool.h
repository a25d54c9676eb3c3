// SPDX-License-Identifier: BSD-2-Clause-Patent
// Page pools: the memory that pays for one partition's objects (TLFS: HvCallDepositMemory,
// HvCallWithdrawMemory, HvCallGetMemoryBalance). Pages are 4 KiB, owned by the hypervisor and
// present in the direct map for as long as they are in a pool or in use. Every deposited page can
// be withdrawn again once it is free.
//
// All functions lock the pool (a leaf lock) and may be called by any LP.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/spinlock.h"

struct pool_extent;

struct pool {
    struct spinlock lock;
    struct pool_extent *free; // list kept in the free pages themselves
    uint64_t available;       // free pages
    uint64_t in_use;          // pages handed out
};

// An empty pool. Not locked: before anyone else knows the pool.
void pool_init(struct pool *pool);

// Adds `pages` pages from physical address `pa` (page aligned), no longer reachable by any guest or
// device, to the free ones. Their contents do not matter.
void pool_deposit(struct pool *pool, uint64_t pa, uint64_t pages);

// Takes one free page out of the pool for good, zeroed. False: none is free.
bool pool_withdraw(struct pool *pool, uint64_t *pa);

// A zeroed page's direct-map address, or NULL when none is free.
void *pool_alloc(struct pool *pool);

// `pages` physically contiguous zeroed pages, or NULL. Sorts the free list when no run is at hand:
// meant for the few objects that the hardware wants contiguous, not for hot paths.
void *pool_alloc_run(struct pool *pool, uint64_t pages);

// Gives back what pool_alloc or pool_alloc_run of the same pool returned (a run also page by page).
// No processor or device may still reach the page.
void pool_free(struct pool *pool, void *page);
void pool_free_run(struct pool *pool, void *first, uint64_t pages);

// TLFS: HvCallGetMemoryBalance. One consistent pair.
struct pool_balance {
    uint64_t available;
    uint64_t in_use;
};
struct pool_balance pool_balance(struct pool *pool);
