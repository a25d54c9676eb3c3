// SPDX-License-Identifier: BSD-2-Clause-Patent
// 2 MiB operations on GPA spaces. A large mapping over single pages takes their whole table out at
// once; only where overlays must stay visible are its parts mapped one by one, in a new table.
#include <stddef.h>

#include "gpa_internal.h"
#include "hv/status.h"

// What a large entry (or none) says of its page `index`.
static uint64_t part_of(uint64_t entry, unsigned index)
{
    return entry == 0 ? 0 : (entry & ~SLPT_LARGE) + ((uint64_t)index << PAGE_SHIFT);
}

// Replaces all that the table at the end of the path (level 2) maps by the parts of `entry`,
// beneath overlays too, which stay. `entry` is 0 or a large leaf with its use counted. A processor
// may still walk the old table: an overlaid entry there becomes not-present and keeps the use of
// what was beneath.
static uint16_t replace_table(struct gpa_space *space, uint64_t gpa_page, struct slpt_path *path,
                              uint64_t entry, struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    uint64_t *from = phys_to_virt(*path->slot[2] & SLPT_ADDRESS);
    uint64_t *table = pool_alloc(t->pool);
    uint16_t status = HV_STATUS_SUCCESS;
    uint64_t count = 0;

    if (table == NULL)
        return HV_STATUS_INSUFFICIENT_MEMORY;
    if (entry != 0)
        status = frames_split(t->frames, entry & SLPT_ADDRESS);
    if (status != HV_STATUS_SUCCESS) {
        pool_free(t->pool, table);
        return status;
    }
    for (unsigned i = 0; i < SLPT_ENTRIES; i++) {
        uint64_t part = part_of(entry, i);
        uint64_t old = from[i];

        table[i] = part;
        if (gpa_is_overlay(old)) {
            struct gpa_overlay *top = gpa_overlay_top(space, gpa_page + i);

            table[i] = old;
            old = top->beneath;
            top->beneath = part;
            __atomic_store_n(&from[i], old & (SLPT_ADDRESS | SLPT_MAPPED), __ATOMIC_RELAXED);
        }
        space->mapped_pages += (part != 0) - (uint64_t)((old & SLPT_MAPPED) != 0);
        count += table[i] != 0;
    }
    t->table_pages++;
    slpt_detach(t, path, slpt_table_entry(t, table, count), GPA_ITEM_TABLE_FULL, batch);
    return status;
}

// Puts `entry` (0 or a large leaf) in place of a table of single pages.
static uint16_t replace_pages(struct gpa_space *space, uint64_t gpa_page, struct slpt_path *path,
                              uint64_t entry, struct gpa_batch *batch)
{
    if (gpa_overlay_in_range(space, gpa_page))
        return replace_table(space, gpa_page, path, entry, batch);
    space->mapped_pages -= slpt_table_count(*path->slot[2]);
    space->mapped_pages += entry != 0 ? GPA_LARGE_PAGES : 0;
    slpt_detach(&space->slpt, path, entry, GPA_ITEM_TABLE_FULL, batch);
    return HV_STATUS_SUCCESS;
}

static uint16_t set_large(struct gpa_space *space, uint64_t gpa_page, uint64_t entry,
                          struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    struct slpt_path path;
    uint64_t old;

    slpt_walk(t, gpa_page << PAGE_SHIFT, 2, &path);
    old = *path.slot[path.level];
    if (slpt_is_table(old, path.level))
        return replace_pages(space, gpa_page, &path, entry, batch);
    if (old == 0 && entry == 0)
        return HV_STATUS_SUCCESS;
    if (path.level > 2) {
        uint16_t status = slpt_grow(t, gpa_page << PAGE_SHIFT, 2, &path, batch);

        if (status != HV_STATUS_SUCCESS)
            return status;
    }
    slpt_set(t, &path, entry, batch);
    if (old != 0)
        gpa_batch_add(batch, old & SLPT_ADDRESS, GPA_ITEM_FRAME_LARGE);
    space->mapped_pages += (entry != 0 ? GPA_LARGE_PAGES : 0) - (old != 0 ? GPA_LARGE_PAGES : 0);
    return HV_STATUS_SUCCESS;
}

uint16_t gpa_map_large(struct gpa_space *space, uint64_t gpa_page, uint64_t spa, uint32_t rights,
                       struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    uint16_t status = frames_map_large(t->frames, spa);

    if (status != HV_STATUS_SUCCESS)
        return status;
    status = set_large(space, gpa_page, slpt_leaf(t, spa, rights, 2), batch);
    if (status != HV_STATUS_SUCCESS)
        frames_unmap_large(t->frames, spa);
    return status;
}

uint16_t gpa_unmap_large(struct gpa_space *space, uint64_t gpa_page, struct gpa_batch *batch)
{
    return set_large(space, gpa_page, 0, batch);
}

// The mapping of page `index` of a table, beneath its overlays; 0 or a hole if there is none.
static uint64_t mapping_of(struct gpa_space *space, const uint64_t *table, uint64_t gpa_page,
                           unsigned index)
{
    uint64_t entry = table[index];

    if (gpa_is_overlay(entry))
        entry = gpa_overlay_top(space, gpa_page + index)->beneath;
    return gpa_effective(&space->slpt, entry, (gpa_page + index) << PAGE_SHIFT, 1);
}

// Changes the rights of every page in the table at the end of the path, or of none.
static uint16_t protect_pages(struct gpa_space *space, uint64_t gpa_page, uint32_t rights,
                              struct slpt_path *path, struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    uint64_t *table = phys_to_virt(*path->slot[2] & SLPT_ADDRESS);

    for (unsigned i = 0; i < SLPT_ENTRIES; i++) {
        if ((mapping_of(space, table, gpa_page, i) & SLPT_MAPPED) == 0)
            return HV_STATUS_OPERATION_DENIED;
    }
    if (t->identity && !gpa_overlay_in_range(space, gpa_page)) {
        slpt_detach(t, path, slpt_leaf(t, gpa_page << PAGE_SHIFT, rights, 2), GPA_ITEM_TABLE,
                    batch);
        return HV_STATUS_SUCCESS;
    }
    // No entry stops to keep the table here, so it stays where it is: in a child's space all remain
    // mapped, in the root's there is an overlay.
    for (unsigned i = 0; i < SLPT_ENTRIES; i++) {
        uint64_t spa = mapping_of(space, table, gpa_page, i) & SLPT_ADDRESS;

        path->slot[1] = &table[i];
        path->level = 1;
        gpa_replace(space, gpa_page + i, path, slpt_leaf(t, spa, rights, 1), batch);
    }
    return HV_STATUS_SUCCESS;
}

uint16_t gpa_protect_large(struct gpa_space *space, uint64_t gpa_page, uint32_t rights,
                           struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    uint64_t gpa = gpa_page << PAGE_SHIFT;
    struct slpt_path path;
    uint64_t old;

    slpt_walk(t, gpa, 2, &path);
    old = *path.slot[path.level];
    if (slpt_is_table(old, path.level))
        return protect_pages(space, gpa_page, rights, &path, batch);
    old = gpa_effective(t, old, gpa, path.level);
    if ((old & SLPT_MAPPED) == 0)
        return HV_STATUS_OPERATION_DENIED;
    if (slpt_entry_rights(old) == rights)
        return HV_STATUS_SUCCESS;
    if (path.level > 2) {
        uint16_t status = slpt_grow(t, gpa, 2, &path, batch);

        if (status != HV_STATUS_SUCCESS)
            return status;
        old = gpa_effective(t, *path.slot[2], gpa, 2);
    }
    slpt_set(t, &path, slpt_leaf(t, old & SLPT_ADDRESS, rights, 2), batch);
    return HV_STATUS_SUCCESS;
}
