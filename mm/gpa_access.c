// SPDX-License-Identifier: BSD-2-Clause-Patent
// Accessed and dirty bits of a child's pages (SDM 3C 29.3.5, APM 2 15.25.6: the processor sets them
// in leaves as in other page tables, and need not where it holds the translation already). They are
// cleared in leaves of 4 KiB only: a larger leaf, which has both bits from the start, is split
// before one of its pages differs from the others.
#include "gpa_internal.h"
#include "hv/status.h"

#define CLEARS (HV_GPA_ACCESS_STATE_CLEAR_ACCESSED | HV_GPA_ACCESS_STATE_CLEAR_DIRTY)
#define SETS   (HV_GPA_ACCESS_STATE_SET_ACCESSED | HV_GPA_ACCESS_STATE_SET_DIRTY)

static uint8_t state_of(const struct slpt_format *f, uint64_t entry)
{
    return (uint8_t)((entry & f->accessed ? HV_GPA_ACCESS_STATE_ACCESSED : 0) |
                     (entry & f->dirty ? HV_GPA_ACCESS_STATE_DIRTY : 0));
}

static uint64_t bits_of(const struct slpt_format *f, uint64_t accessed, uint64_t dirty)
{
    return (accessed ? f->accessed : 0) | (dirty ? f->dirty : 0);
}

// What the processor sets at the same time is kept.
static uint8_t exchange(const struct slpt_format *f, uint64_t *slot, uint64_t clear, uint64_t set)
{
    uint64_t old = __atomic_load_n(slot, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(slot, &old, (old & ~clear) | set, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
        ;
    return state_of(f, old);
}

// The entry that says what the page is, beneath its overlays.
static uint64_t *entry_of(struct gpa_space *space, uint64_t gpa_page, const struct slpt_path *path)
{
    uint64_t *slot = path->slot[path->level];

    return gpa_is_overlay(*slot) ? &gpa_overlay_top(space, gpa_page)->beneath : slot;
}

static uint16_t access_state(struct gpa_space *space, uint64_t gpa_page, uint64_t change,
                             uint8_t *state, struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    const struct slpt_format *f = t->format;
    uint64_t clear = bits_of(f, change & HV_GPA_ACCESS_STATE_CLEAR_ACCESSED,
                             change & HV_GPA_ACCESS_STATE_CLEAR_DIRTY);
    uint64_t set = bits_of(f, change & HV_GPA_ACCESS_STATE_SET_ACCESSED,
                           change & HV_GPA_ACCESS_STATE_SET_DIRTY);
    struct slpt_path path;
    uint64_t *slot;

    slpt_walk(t, gpa_page << PAGE_SHIFT, 1, &path);
    slot = entry_of(space, gpa_page, &path);
    *state = slpt_accessible(*slot) ? state_of(f, *slot) : 0;
    if (!slpt_accessible(*slot) || !((*slot & clear) | (~*slot & set)))
        return HV_STATUS_SUCCESS;
    if (path.level > 1) {
        uint16_t status = slpt_grow(t, gpa_page << PAGE_SHIFT, 1, &path, batch);

        if (status != HV_STATUS_SUCCESS)
            return status;
        slot = path.slot[1];
    }
    *state = exchange(f, slot, clear, set);
    batch->flush = batch->flush || clear;
    return HV_STATUS_SUCCESS;
}

uint16_t gpa_access_state(struct gpa_space *space, uint64_t gpa_page, uint64_t change,
                          uint8_t *state, struct gpa_batch *batch)
{
    uint16_t status;

    if (gpa_page >= space->page_limit || (change & ~(CLEARS | SETS)) ||
        ((change & SETS) >> 1 & change))
        return HV_STATUS_INVALID_PARAMETER;
    if (space->slpt.identity)
        return HV_STATUS_ACCESS_DENIED;
    spin_lock(&space->lock);
    status = access_state(space, gpa_page, change, state, batch);
    gpa_unlock(space, batch);
    return status;
}

void gpa_mark_written(struct gpa_space *space, uint64_t gpa)
{
    const struct slpt_format *f = space->slpt.format;
    struct slpt_path path;
    uint64_t *slot;

    spin_lock(&space->lock);
    slpt_walk(&space->slpt, gpa, 1, &path);
    slot = entry_of(space, gpa >> PAGE_SHIFT, &path);
    if (slpt_accessible(*slot))
        exchange(f, slot, 0, f->accessed | f->dirty);
    spin_unlock(&space->lock);
}
