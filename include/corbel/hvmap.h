// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor's own 4-level page tables at run time: pages that are deposited enter the direct
// map, pages that are withdrawn leave it; windows and device registers come and go. Never writable
// and executable.
//
// New tables come from a pool and are kept for the next time: at most one for each 2 MiB ever
// mapped.
#pragma once

#include <stdint.h>

#include "corbel/pool.h"
#include "corbel/spinlock.h"

enum hv_page_rights {
    HV_PAGE_READ = 0,
    HV_PAGE_WRITE = 1u << 0,
    HV_PAGE_EXECUTE = 1u << 1,
    HV_PAGE_UNCACHED = 1u << 2, // device registers
};

struct hv_space {
    struct spinlock lock;
    uint64_t root_pa; // CR3
    struct pool *pool;
};

// For the tables at `root_pa`, which the loader built. Not locked.
void hv_space_init(struct hv_space *space, uint64_t root_pa, struct pool *pool);

// Maps the page `pa` at `va` (canonical, page aligned), where nothing is mapped. Needs no flush.
// HV_STATUS_OBJECT_IN_USE: something is mapped there. HV_STATUS_INSUFFICIENT_ROOT_MEMORY: no page
// for a table. Asserts that `rights` are not both writable and executable.
uint16_t hv_map_page(struct hv_space *space, uint64_t va, uint64_t pa, uint32_t rights);

// Removes the mapping of one page. The caller flushes `va` on every LP before the page changes
// hands. HV_STATUS_NOT_FOUND: nothing is mapped there. HV_STATUS_OPERATION_DENIED: it is part of a
// large page.
uint16_t hv_unmap_page(struct hv_space *space, uint64_t va);
