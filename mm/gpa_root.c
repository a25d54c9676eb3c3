// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root's GPA space: the identity map, filled in as the root touches it, less its holes. A table
// whose entries are all plain identity again is dropped, so memory that was lent to children and
// came back is mapped in large pages once more.
#include <stddef.h>

#include "gpa_internal.h"
#include "hv/status.h"

enum gpa_fault gpa_root_fault(struct gpa_space *space, uint64_t gpa, uint32_t access)
{
    struct slpt *t = &space->slpt;
    enum gpa_fault result = GPA_FAULT_RESOLVED;
    struct gpa_batch batch;
    struct slpt_path path;
    unsigned level = gpa_identity_level(t, gpa);
    uint64_t entry;

    if (gpa >> PAGE_SHIFT >= space->page_limit)
        return GPA_FAULT_HOLE;
    gpa_batch_init(&batch, space);
    spin_lock(&space->lock);
    slpt_walk(t, gpa, 1, &path);
    entry = *path.slot[path.level];
    if (gpa_is_hole(entry)) {
        result = GPA_FAULT_HOLE;
    } else if (entry != 0) {
        if (!gpa_rights_allow(slpt_entry_rights(entry), access))
            result = GPA_FAULT_DENIED;
    } else if (path.level > level && slpt_grow(t, gpa, level, &path, &batch) != HV_STATUS_SUCCESS) {
        result = GPA_FAULT_NO_MEMORY;
    } else {
        slpt_set(t, &path, gpa_effective(t, 0, gpa, path.level), &batch);
    }
    gpa_unlock(space, &batch);
    return result;
}

// One step of a punch or fill: the entry of 2 MiB if `large` and nothing finer is there, else of 4
// KiB. `*step` is what was done, in pages.
static uint16_t find_entry(struct gpa_space *space, uint64_t gpa, bool large, bool skip_holes,
                           struct slpt_path *path, uint64_t *step, struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    unsigned target = large ? 2 : 1;

    slpt_walk(t, gpa, target, path);
    if (slpt_is_table(*path->slot[path->level], path->level)) {
        target = 1;
        slpt_walk(t, gpa, target, path);
    }
    *step = target == 2 ? GPA_LARGE_PAGES : 1;
    if (path->level == target || gpa_is_hole(*path->slot[path->level]) == skip_holes)
        return HV_STATUS_SUCCESS;
    return slpt_grow(t, gpa, target, path, batch);
}

static uint16_t punch_step(struct gpa_space *space, uint64_t gpa, bool large, uint64_t *step,
                           struct gpa_batch *batch)
{
    struct slpt_path path;
    uint16_t status = find_entry(space, gpa, large, true, &path, step, batch);
    uint64_t entry;

    if (status != HV_STATUS_SUCCESS)
        return status;
    // Another LP may still be flushing what it took away here: the caller must not rely on the
    // tables alone.
    batch->flush = true;
    entry = *path.slot[path.level];
    if (gpa_is_overlay(entry))
        gpa_overlay_top(space, gpa >> PAGE_SHIFT)->beneath = SLPT_SPECIAL;
    else if (!gpa_is_hole(entry))
        slpt_set(&space->slpt, &path, SLPT_SPECIAL | (path.level > 1 ? SLPT_LARGE : 0), batch);
    return status;
}

static uint16_t fill_step(struct gpa_space *space, uint64_t gpa, bool large, uint64_t *step,
                          struct gpa_batch *batch)
{
    struct slpt_path path;
    uint16_t status = find_entry(space, gpa, large, false, &path, step, batch);
    struct gpa_overlay *top;
    uint64_t entry;

    if (status != HV_STATUS_SUCCESS)
        return status;
    entry = *path.slot[path.level];
    if (gpa_is_hole(entry))
        slpt_set(&space->slpt, &path, 0, batch);
    if (!gpa_is_overlay(entry))
        return status;
    top = gpa_overlay_top(space, gpa >> PAGE_SHIFT);
    if (gpa_is_hole(top->beneath))
        top->beneath = 0;
    return status;
}

static uint16_t for_range(struct gpa_space *space, uint64_t gpa_page, uint64_t pages,
                          uint64_t *done, struct gpa_batch *batch, bool punch)
{
    *done = 0;
    if (!space->slpt.identity || gpa_page > space->page_limit ||
        pages > space->page_limit - gpa_page)
        return HV_STATUS_INVALID_PARAMETER;
    while (*done < pages && gpa_batch_has_room(batch)) {
        uint64_t page = gpa_page + *done;
        bool large = page % GPA_LARGE_PAGES == 0 && pages - *done >= GPA_LARGE_PAGES;
        uint64_t step;
        uint16_t status;

        spin_lock(&space->lock);
        status = punch ? punch_step(space, page << PAGE_SHIFT, large, &step, batch)
                       : fill_step(space, page << PAGE_SHIFT, large, &step, batch);
        gpa_unlock(space, batch);
        if (status != HV_STATUS_SUCCESS)
            return status;
        *done += step;
    }
    return HV_STATUS_SUCCESS;
}

uint16_t gpa_root_punch(struct gpa_space *space, uint64_t gpa_page, uint64_t pages, uint64_t *done,
                        struct gpa_batch *batch)
{
    return for_range(space, gpa_page, pages, done, batch, true);
}

uint16_t gpa_root_fill(struct gpa_space *space, uint64_t gpa_page, uint64_t pages, uint64_t *done,
                       struct gpa_batch *batch)
{
    return for_range(space, gpa_page, pages, done, batch, false);
}
