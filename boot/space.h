// SPDX-License-Identifier: BSD-2-Clause-Patent
// Lays out the hypervisor's block of memory and builds its address space in it
// (include/corbel/layout.h). Pure.
//
// The block, from its start: image | LP areas | launch_info | page tables | pool.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "boot/image.h"
#include "corbel/launch.h"

// Smaller pools cannot hold the root partition's own tables.
#define SPACE_MIN_POOL_PAGES 512ul

struct space_request {
    const struct image *image;
    uint32_t lp_count;      // 1..LAUNCH_MAX_LPS
    unsigned levels;        // 4 or 5
    uint64_t memory;        // bytes of the block; 0: as the default pool needs
    uint64_t ram_bytes;     // of the machine, for the default pool
    uint64_t contexts_pa;   // array of struct launch_context, page aligned, outside the block
    uint64_t trampoline_pa; // page aligned
    uint64_t apic_pa;       // page aligned
};

struct space_plan {
    uint64_t areas; // offsets in the block, bytes
    uint64_t info;
    uint64_t tables;
    uint64_t table_pages; // at most
    uint64_t size;        // of the block, whole large pages
};

// Pages that the array of contexts takes.
uint64_t space_context_pages(uint32_t lp_count);

// Choose the layout. False: `memory` is too small.
bool space_plan(const struct space_request *request, struct space_plan *plan);

// Fill the block, which is zeroed, lies at physical address `pa` (aligned to LARGE_PAGE_SIZE) and
// is reached at `block`: copy the image, build the tables, and write the launch_info's fields on
// memory (magic to trampoline_pa) and lp_count. Returns it; NULL: the pieces do not fit.
struct launch_info *space_build(const struct space_request *request, const struct space_plan *plan,
                                void *block, uint64_t pa);

// Top of an LP's main stack, a virtual address of the hypervisor.
uint64_t space_stack_top(uint32_t lp_index);
