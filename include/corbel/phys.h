// SPDX-License-Identifier: BSD-2-Clause-Patent
// Physical memory as the hypervisor's own code reaches it: the direct map of the pages it owns.
// Host tests bring their own memory behind the same two functions.
#pragma once

#include <stdint.h>

#include "corbel/layout.h"

#ifdef CORBEL_HOST_TEST
void *phys_to_virt(uint64_t pa);
uint64_t virt_to_phys(const void *va);
#else
// The direct-map address of `pa`, which must lie in a page that the hypervisor owns and has mapped.
static inline void *phys_to_virt(uint64_t pa)
{
    return (void *)(HV_DIRECT_BASE + pa);
}

// The physical address of a direct-map address; not for the image or the LP areas.
static inline uint64_t virt_to_phys(const void *va)
{
    return (uint64_t)va - HV_DIRECT_BASE;
}
#endif

// A broken invariant of the hypervisor itself (never of a guest's input) stops in the #UD handler,
// which prints the address: going on would hand somebody another's memory.
static inline void phys_invariant(_Bool holds)
{
    if (!holds)
        __builtin_trap();
}

// Zeroes one page.
static inline void page_zero(void *page)
{
    uint64_t words = PAGE_SIZE / 8;

    __asm__ volatile("rep stosq" : "+D"(page), "+c"(words) : "a"(0ul) : "memory");
}
