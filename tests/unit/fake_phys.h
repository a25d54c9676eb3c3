// SPDX-License-Identifier: BSD-2-Clause-Patent
// Physical memory for host tests of mm/: an arena that answers for [FAKE_PHYS_BASE, +
// FAKE_PHYS_PAGES pages). Any other address is a test failure, as a stray access would be in the
// hypervisor. One test includes it once.
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/phys.h"

#ifndef FAKE_PHYS_PAGES
#define FAKE_PHYS_PAGES 4096ul
#endif
#define FAKE_PHYS_BASE UINT64_C(0x40000000)

// Check's own assertions report each success to the parent process: too slow for millions of them.
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #condition);                             \
    } while (0)
#define must_equal(a, b)                                                                           \
    do {                                                                                           \
        uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);                                           \
        if (a_ != b_)                                                                              \
            ck_abort_msg("%s:%d: %s = %#lx, %s = %#lx", __FILE__, __LINE__, #a, a_, #b, b_);       \
    } while (0)

static char *fake_arena;

void *phys_to_virt(uint64_t pa)
{
    if (pa < FAKE_PHYS_BASE || pa - FAKE_PHYS_BASE >= FAKE_PHYS_PAGES * PAGE_SIZE)
        ck_abort_msg("stray physical address %#lx", pa);
    return fake_arena + (pa - FAKE_PHYS_BASE);
}

uint64_t virt_to_phys(const void *va)
{
    uint64_t offset = (uint64_t)((const char *)va - fake_arena);

    if (offset >= FAKE_PHYS_PAGES * PAGE_SIZE)
        ck_abort_msg("not in the arena: %p", va);
    return FAKE_PHYS_BASE + offset;
}

// Fresh memory full of rubbish, as deposited pages are.
static inline void fake_phys_setup(void)
{
    fake_arena = aligned_alloc(LARGE_PAGE_SIZE, FAKE_PHYS_PAGES * PAGE_SIZE);
    ck_assert_ptr_nonnull(fake_arena);
    memset(fake_arena, 0xa5, FAKE_PHYS_PAGES * PAGE_SIZE);
}

static inline void fake_phys_teardown(void)
{
    free(fake_arena);
    fake_arena = NULL;
}

// xorshift64*: the same sequence on each run.
static uint64_t fake_random_state = UINT64_C(0x9e3779b97f4a7c15);

static inline uint64_t random_u64(void)
{
    uint64_t x = fake_random_state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    fake_random_state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint64_t random_below(uint64_t limit)
{
    return (random_u64() >> 16) % limit;
}
