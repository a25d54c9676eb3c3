// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine frame table: for each 4 KiB frame of RAM either "owned by the hypervisor" or the
// number of uses by child partitions (second-level mappings and pins). The two exclude each other:
// that is what keeps a page from being a table of the hypervisor and memory of a guest at once. The
// root's own mapping is not counted; it is removed by gpa_root_punch when a page is deposited.
//
// A 2 MiB mapping is counted once for its region. Counters of single pages exist only for those 8
// MiB groups of memory where a page was ever mapped singly, pinned or deposited: 4 KiB a group, at
// most a 2048th of RAM, plus 8 bytes for each MiB of address space up to the end of RAM. Their
// memory comes from the pool given at the start and is kept; when it runs out the answer is
// HV_STATUS_INSUFFICIENT_ROOT_MEMORY.
//
// Addresses are physical, in bytes; low bits below the page size are ignored. All functions but
// frames_init lock one group (lock order: GPA space, group, pool) and are all-or-nothing.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/launch.h"
#include "corbel/pool.h"

struct frame_group;

struct frames {
    struct frame_group *groups; // indexed by pa >> 23
    uint64_t group_count;
    struct pool *pool;
};

// Builds the table for the RAM `ranges` (ascending, merged, page aligned; a partial page at an end
// is not RAM). HV_STATUS_SUCCESS or HV_STATUS_INSUFFICIENT_ROOT_MEMORY (also: no contiguous run for
// the top array). Not locked.
uint16_t frames_init(struct frames *frames, const struct launch_range *ranges, uint32_t range_count,
                     struct pool *pool);

// Marks a byte range (rounded outwards to pages) as the hypervisor's for ever, RAM or not: the
// initial block, at launch. HV_STATUS_OPERATION_DENIED if a page in it is mapped by a child.
uint16_t frames_own_range(struct frames *frames, uint64_t pa, uint64_t size);

// Deposit: RAM that is nobody's but the root's becomes the hypervisor's. HV_STATUS_OPERATION_DENIED
// if it is not RAM, is mapped into a child, pinned, or owned already.
uint16_t frames_own(struct frames *frames, uint64_t pa);

// Undoes frames_own, for a page that is owned.
void frames_disown(struct frames *frames, uint64_t pa);

// Whether the hypervisor owns the page.
bool frames_owned(struct frames *frames, uint64_t pa);

// One more use of a page (4 KiB) or of a region (2 MiB). HV_STATUS_OPERATION_DENIED if it is not
// wholly RAM, owned by the hypervisor (any page of it), or its counter is full.
uint16_t frames_map(struct frames *frames, uint64_t pa);
uint16_t frames_map_large(struct frames *frames, uint64_t pa);

// One use less; the use must exist.
void frames_unmap(struct frames *frames, uint64_t pa);
void frames_unmap_large(struct frames *frames, uint64_t pa);

// One use of a 2 MiB region becomes one use of each of its 512 pages, as when a large mapping is
// split.
uint16_t frames_split(struct frames *frames, uint64_t pa);

// How many uses a page has now, its region's included; 0 if it is owned or not RAM. For tests and
// statistics.
uint32_t frames_uses(struct frames *frames, uint64_t pa);
