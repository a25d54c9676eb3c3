// SPDX-License-Identifier: BSD-2-Clause-Patent
// Overlay pages (TLFS: Overlay Pages). Of the overlays of one page only the newest is in the
// tables; it also keeps the entry that lies beneath all of them.
#include <stddef.h>

#include "gpa_internal.h"
#include "hv/status.h"

static struct gpa_overlay *find(struct gpa_overlay *from, uint64_t gpa_page)
{
    while (from != NULL && from->gpa_page != gpa_page)
        from = from->next;
    return from;
}

struct gpa_overlay *gpa_overlay_top(struct gpa_space *space, uint64_t gpa_page)
{
    struct gpa_overlay *top = find(space->overlays, gpa_page);

    phys_invariant(top != NULL);
    return top;
}

bool gpa_overlay_in_range(const struct gpa_space *space, uint64_t gpa_page)
{
    const struct gpa_overlay *overlay = space->overlays;

    while (overlay != NULL && overlay->gpa_page / GPA_LARGE_PAGES != gpa_page / GPA_LARGE_PAGES)
        overlay = overlay->next;
    return overlay != NULL;
}

static uint16_t set_locked(struct gpa_space *space, struct gpa_overlay *overlay,
                           struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    uint64_t gpa = overlay->gpa_page << PAGE_SHIFT;
    struct slpt_path path;
    uint64_t old;

    slpt_walk(t, gpa, 1, &path);
    if (path.level > 1) {
        uint16_t status = slpt_grow(t, gpa, 1, &path, batch);

        if (status != HV_STATUS_SUCCESS)
            return status;
    }
    old = *path.slot[1];
    overlay->beneath = gpa_is_overlay(old) ? gpa_overlay_top(space, overlay->gpa_page)->beneath
                                           : gpa_with_access(t, old);
    slpt_set(t, &path, overlay->entry, batch);
    overlay->next = space->overlays;
    overlay->set = true;
    space->overlays = overlay;
    return HV_STATUS_SUCCESS;
}

static void clear_locked(struct gpa_space *space, struct gpa_overlay *overlay,
                         struct gpa_batch *batch)
{
    struct gpa_overlay **link = &space->overlays;

    if (gpa_overlay_top(space, overlay->gpa_page) == overlay) {
        struct gpa_overlay *under = find(overlay->next, overlay->gpa_page);
        uint64_t entry = overlay->beneath;
        struct slpt_path path;

        if (under != NULL) {
            under->beneath = overlay->beneath;
            entry = under->entry;
        }
        slpt_walk(&space->slpt, overlay->gpa_page << PAGE_SHIFT, 1, &path);
        phys_invariant(path.level == 1);
        slpt_set(&space->slpt, &path, entry, batch);
    }
    while (*link != overlay)
        link = &(*link)->next;
    *link = overlay->next;
    overlay->set = false;
    // Hidden or not: a flush that hid it may still be under way on another LP.
    batch->flush = true;
}

// `to` takes the place of `from`, which is set, in the list.
static void stand_in(struct gpa_space *space, struct gpa_overlay *from, struct gpa_overlay *to)
{
    struct gpa_overlay **link = &space->overlays;

    while (*link != from)
        link = &(*link)->next;
    *to = *from;
    *link = to;
}

// One that moves is set at the new place before it leaves the old one, which therefore needs no
// memory to be kept if there is none for the new one.
uint16_t gpa_overlay_set(struct gpa_space *space, struct gpa_overlay *overlay, uint64_t gpa_page,
                         uint64_t spa_page, uint32_t rights, struct gpa_batch *batch)
{
    uint64_t spa = (spa_page << PAGE_SHIFT) & SLPT_ADDRESS;
    const bool moves = overlay->set;
    struct gpa_overlay old;
    uint16_t status;

    if (gpa_page >= space->page_limit || !gpa_rights_legal(rights) || rights == GPA_NONE ||
        spa >> PAGE_SHIFT != spa_page)
        return HV_STATUS_INVALID_PARAMETER;
    spin_lock(&space->lock);
    if (moves)
        stand_in(space, overlay, &old);
    overlay->gpa_page = gpa_page;
    overlay->entry = slpt_leaf(&space->slpt, spa, rights, 1) | SLPT_SPECIAL;
    status = set_locked(space, overlay, batch);
    if (moves && status == HV_STATUS_SUCCESS)
        clear_locked(space, &old, batch);
    else if (moves)
        stand_in(space, &old, overlay);
    gpa_unlock(space, batch);
    return status;
}

void gpa_overlay_clear(struct gpa_space *space, struct gpa_overlay *overlay,
                       struct gpa_batch *batch)
{
    if (!overlay->set)
        return;
    spin_lock(&space->lock);
    clear_locked(space, overlay, batch);
    gpa_unlock(space, batch);
}
