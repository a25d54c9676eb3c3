// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which guest translations a VP has to drop (TLFS: Virtual TLB Enhancements; tlfs-reference 1.2).
// Pure. Dropping more than was asked for is always allowed, so a list that grows too long, or that
// names large pages, stands for everything: hardware may keep a guest's large page in small pieces,
// which an invalidation of one address need not reach.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FLUSH_RANGES 16u
#define FLUSH_PAGES  64u // more than these are dropped with all others

struct flush_list {
    bool all;
    uint32_t count;               // of `range`, unless `all`
    uint32_t pages;               // of all ranges together
    uint64_t range[FLUSH_RANGES]; // GVA of the first page; 11:0 how many more follow it
};

static inline void flush_list_init(struct flush_list *list)
{
    list->all = false;
    list->count = list->pages = 0;
}

static inline void flush_list_everything(struct flush_list *list)
{
    list->all = true;
    list->count = list->pages = 0;
}

// Adds an element of a rep list, in the simple or the extended form (HV_GVA_RANGE).
void flush_list_add(struct flush_list *list, uint64_t element, bool extended);

// Adds all that another list has.
void flush_list_join(struct flush_list *list, const struct flush_list *more);

enum flush_way { FLUSH_NOTHING, FLUSH_BY_PAGE, FLUSH_WHOLE };

// How a VP drops what the list names. Invalidations of single pages reach the current PCID only, so
// a VP that has PCIDs on drops all of them.
static inline enum flush_way flush_way(const struct flush_list *list, bool pcid)
{
    if (!list->all && list->count == 0)
        return FLUSH_NOTHING;
    return list->all || pcid ? FLUSH_WHOLE : FLUSH_BY_PAGE;
}
