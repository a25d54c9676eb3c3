// SPDX-License-Identifier: BSD-2-Clause-Patent
// GPA spaces: life, batches, translation, and the 4 KiB operations of a child's space. The 2 MiB
// ones are in gpa_large.c, the root's space in gpa_root.c, overlays in gpa_overlay.c.
#include "corbel/gpa.h"

#include <stddef.h>

#include "gpa_internal.h"
#include "hv/status.h"

uint16_t gpa_space_init(struct gpa_space *space, const struct gpa_space_config *config)
{
    spin_init(&space->lock);
    space->slpt.levels = config->levels;
    space->slpt.max_leaf = config->root && config->huge_pages ? 3 : 2;
    space->slpt.identity = config->root;
    space->slpt.format = config->format;
    space->slpt.types = config->root ? config->types : NULL;
    space->slpt.pool = config->pool;
    space->slpt.frames = config->frames;
    space->overlays = NULL;
    space->page_limit = UINT64_C(1) << (config->address_bits - PAGE_SHIFT);
    space->mapped_pages = 0;
    space->cursor = 0;
    atomic_init(&space->tracked, false);
    atomic_init(&space->generation, 1);
    return slpt_init(&space->slpt);
}

// Ends the frame uses that a level-1 table holds.
static void release_table_uses(const struct slpt *t, const uint64_t *table)
{
    for (unsigned i = 0; i < SLPT_ENTRIES; i++) {
        if ((table[i] & (SLPT_MAPPED | SLPT_SPECIAL)) == SLPT_MAPPED)
            frames_unmap(t->frames, table[i] & SLPT_ADDRESS);
    }
}

static void release_item(const struct slpt *t, uint64_t item)
{
    uint64_t pa = item & ~(uint64_t)GPA_ITEM_KIND;
    enum gpa_batch_kind kind = item & GPA_ITEM_KIND;

    if (kind == GPA_ITEM_FRAME) {
        frames_unmap(t->frames, pa);
        return;
    }
    if (kind == GPA_ITEM_FRAME_LARGE) {
        frames_unmap_large(t->frames, pa);
        return;
    }
    if (kind == GPA_ITEM_TABLE_FULL)
        release_table_uses(t, phys_to_virt(pa));
    pool_free(t->pool, phys_to_virt(pa));
}

void gpa_batch_release(struct gpa_batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        release_item(batch->slpt, batch->item[i]);
    batch->count = 0;
    batch->flush = false;
}

// ---- destruction ------------------------------------------------------------------------------

static void destroy_entry(struct gpa_space *space, uint64_t *slot, unsigned level)
{
    uint64_t entry = *slot;

    if (entry == 0)
        return;
    *slot = 0;
    space->mapped_pages -= UINT64_C(1) << (slpt_shift(level) - PAGE_SHIFT);
    if (level > 1)
        frames_unmap_large(space->slpt.frames, entry & SLPT_ADDRESS);
    else
        frames_unmap(space->slpt.frames, entry & SLPT_ADDRESS);
}

// Frees the tables of the path that end before the cursor.
static void destroy_tables(struct gpa_space *space, const struct slpt_path *path, bool last)
{
    struct slpt *t = &space->slpt;

    for (unsigned level = path->level; level < t->levels; level++) {
        uint64_t span = UINT64_C(1) << slpt_shift(level + 1);
        uint64_t *parent = path->slot[level + 1];

        if (!last && (space->cursor & (span - 1)) != 0)
            break;
        pool_free(t->pool, phys_to_virt(*parent & SLPT_ADDRESS));
        *parent = 0;
        t->table_pages--;
    }
}

bool gpa_space_destroy(struct gpa_space *space, uint32_t budget)
{
    struct slpt *t = &space->slpt;
    uint64_t limit = space->page_limit << PAGE_SHIFT;

    phys_invariant(!t->identity && space->overlays == NULL);
    if (t->root == NULL)
        return false;
    for (; space->cursor < limit; budget--) {
        struct slpt_path path;
        uint64_t size;

        if (budget == 0)
            return true;
        slpt_walk(t, space->cursor, 1, &path);
        destroy_entry(space, path.slot[path.level], path.level);
        size = UINT64_C(1) << slpt_shift(path.level);
        space->cursor = (space->cursor & ~(size - 1)) + size;
        destroy_tables(space, &path, space->cursor >= limit);
    }
    phys_invariant(space->mapped_pages == 0 && t->table_pages == 1);
    pool_free(t->pool, t->root);
    t->root = NULL;
    t->table_pages = 0;
    return false;
}

// ---- 4 KiB operations ---------------------------------------------------------------------------

uint64_t gpa_replace(struct gpa_space *space, uint64_t gpa_page, struct slpt_path *path,
                     uint64_t entry, struct gpa_batch *batch)
{
    uint64_t old = *path->slot[1];

    if (gpa_is_overlay(old)) {
        struct gpa_overlay *top = gpa_overlay_top(space, gpa_page);

        old = top->beneath;
        top->beneath = entry;
    } else {
        slpt_set(&space->slpt, path, entry, batch);
    }
    return old;
}

static uint16_t map_page(struct gpa_space *space, uint64_t gpa_page, uint64_t spa, uint32_t rights,
                         struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    struct slpt_path path;
    uint64_t old;
    uint16_t status = frames_map(t->frames, spa);

    if (status != HV_STATUS_SUCCESS)
        return status;
    slpt_walk(t, gpa_page << PAGE_SHIFT, 1, &path);
    if (path.level > 1) {
        status = slpt_grow(t, gpa_page << PAGE_SHIFT, 1, &path, batch);
        if (status != HV_STATUS_SUCCESS) {
            frames_unmap(t->frames, spa);
            return status;
        }
    }
    if (*path.slot[1] == 0) {
        slpt_set_first(&path, slpt_leaf(t, spa, rights, 1));
        space->mapped_pages++;
        return HV_STATUS_SUCCESS;
    }
    old = gpa_replace(space, gpa_page, &path, slpt_leaf(t, spa, rights, 1), batch);
    if ((old & SLPT_MAPPED) != 0)
        gpa_batch_add(batch, old & SLPT_ADDRESS, GPA_ITEM_FRAME);
    else
        space->mapped_pages++;
    return HV_STATUS_SUCCESS;
}

static uint16_t unmap_page(struct gpa_space *space, uint64_t gpa_page, struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    struct slpt_path path;
    uint64_t old;

    slpt_walk(t, gpa_page << PAGE_SHIFT, 1, &path);
    if (*path.slot[path.level] == 0)
        return HV_STATUS_SUCCESS;
    if (path.level > 1) {
        uint16_t status = slpt_grow(t, gpa_page << PAGE_SHIFT, 1, &path, batch);

        if (status != HV_STATUS_SUCCESS)
            return status;
    }
    old = gpa_replace(space, gpa_page, &path, 0, batch);
    if ((old & SLPT_MAPPED) != 0) {
        gpa_batch_add(batch, old & SLPT_ADDRESS, GPA_ITEM_FRAME);
        space->mapped_pages--;
    }
    return HV_STATUS_SUCCESS;
}

static uint16_t protect_page(struct gpa_space *space, uint64_t gpa_page, uint32_t rights,
                             struct gpa_batch *batch)
{
    struct slpt *t = &space->slpt;
    uint64_t gpa = gpa_page << PAGE_SHIFT;
    struct slpt_path path;
    uint64_t old;

    slpt_walk(t, gpa, 1, &path);
    old = *path.slot[path.level];
    if (gpa_is_overlay(old))
        old = gpa_overlay_top(space, gpa_page)->beneath;
    old = gpa_effective(t, old, gpa, path.level);
    if ((old & SLPT_MAPPED) == 0)
        return HV_STATUS_OPERATION_DENIED;
    if (slpt_entry_rights(old) == rights)
        return HV_STATUS_SUCCESS;
    if (path.level > 1) {
        uint16_t status = slpt_grow(t, gpa, 1, &path, batch);

        if (status != HV_STATUS_SUCCESS)
            return status;
        old = gpa_effective(t, *path.slot[1], gpa, 1);
    }
    gpa_replace(space, gpa_page, &path, slpt_leaf(t, old & SLPT_ADDRESS, rights, 1), batch);
    return HV_STATUS_SUCCESS;
}

static bool range_valid(const struct gpa_space *space, uint64_t gpa_page, bool large)
{
    return gpa_page < space->page_limit && (!large || gpa_page % GPA_LARGE_PAGES == 0);
}

uint16_t gpa_map(struct gpa_space *space, uint64_t gpa_page, uint64_t spa_page, uint32_t rights,
                 bool large, struct gpa_batch *batch)
{
    uint64_t spa = (spa_page << PAGE_SHIFT) & SLPT_ADDRESS;
    uint16_t status;

    if (!range_valid(space, gpa_page, large) || !gpa_rights_legal(rights) ||
        spa >> PAGE_SHIFT != spa_page || (large && spa_page % GPA_LARGE_PAGES != 0))
        return HV_STATUS_INVALID_PARAMETER;
    if (space->slpt.identity)
        return HV_STATUS_ACCESS_DENIED;
    spin_lock(&space->lock);
    status = large ? gpa_map_large(space, gpa_page, spa, rights, batch)
                   : map_page(space, gpa_page, spa, rights, batch);
    gpa_unlock(space, batch);
    return status;
}

uint16_t gpa_unmap(struct gpa_space *space, uint64_t gpa_page, bool large, struct gpa_batch *batch)
{
    uint16_t status;

    if (!range_valid(space, gpa_page, large))
        return HV_STATUS_INVALID_PARAMETER;
    if (space->slpt.identity)
        return HV_STATUS_ACCESS_DENIED;
    spin_lock(&space->lock);
    status = large ? gpa_unmap_large(space, gpa_page, batch) : unmap_page(space, gpa_page, batch);
    gpa_unlock(space, batch);
    return status;
}

uint16_t gpa_protect(struct gpa_space *space, uint64_t gpa_page, uint32_t rights, bool large,
                     struct gpa_batch *batch)
{
    uint16_t status;

    if (!range_valid(space, gpa_page, large) || !gpa_rights_legal(rights))
        return HV_STATUS_INVALID_PARAMETER;
    spin_lock(&space->lock);
    status = large ? gpa_protect_large(space, gpa_page, rights, batch)
                   : protect_page(space, gpa_page, rights, batch);
    gpa_unlock(space, batch);
    return status;
}

// ---- translation --------------------------------------------------------------------------------

static struct gpa_translation translate(struct gpa_space *space, uint64_t gpa, uint32_t access)
{
    struct gpa_translation result = {.status = GPA_UNMAPPED};
    const struct slpt *t = &space->slpt;
    struct slpt_path path;
    unsigned level;
    uint64_t entry;
    uint64_t size;

    if (gpa >> PAGE_SHIFT >= space->page_limit)
        return result;
    slpt_walk(t, gpa, 1, &path);
    level = path.level < t->max_leaf ? path.level : t->max_leaf;
    entry = gpa_effective(t, *path.slot[path.level], gpa, level);
    if ((entry & SLPT_MAPPED) == 0)
        return result;
    size = UINT64_C(1) << slpt_shift(level);
    result.rights = slpt_entry_rights(entry);
    result.spa = (entry & SLPT_ADDRESS) | (gpa & (size - 1));
    result.page_size = size;
    result.overlay = gpa_is_overlay(entry);
    if (gpa_rights_allow(result.rights, access))
        result.status = GPA_OK;
    else
        result.status = result.overlay ? GPA_OVERLAY_DENIED : GPA_NO_ACCESS;
    return result;
}

struct gpa_translation gpa_translate(struct gpa_space *space, uint64_t gpa, uint32_t access)
{
    struct gpa_translation result;

    spin_lock(&space->lock);
    result = translate(space, gpa, access);
    spin_unlock(&space->lock);
    return result;
}

struct gpa_translation gpa_pin(struct gpa_space *space, uint64_t gpa, uint32_t access)
{
    struct gpa_translation result;

    spin_lock(&space->lock);
    result = translate(space, gpa, access);
    if (result.status == GPA_OK && !result.overlay) {
        uint16_t status = frames_map(space->slpt.frames, result.spa);

        result.pinned = status == HV_STATUS_SUCCESS;
        if (!result.pinned)
            result.status = status == HV_STATUS_OPERATION_DENIED ? GPA_NOT_MEMORY : GPA_NO_COUNTERS;
    }
    spin_unlock(&space->lock);
    return result;
}

// What a child's space maps is RAM, and stays what it is while it is mapped. In the root's space
// only the frame table knows.
struct gpa_translation gpa_hold(struct gpa_space *space, uint64_t gpa, uint32_t access)
{
    if (space->slpt.identity)
        return gpa_pin(space, gpa, access);
    spin_lock(&space->lock);
    return translate(space, gpa, access);
}

void gpa_release(struct gpa_space *space, const struct gpa_translation *translation)
{
    if (space->slpt.identity)
        gpa_unpin(space, translation);
    else
        spin_unlock(&space->lock);
}

void gpa_unpin(struct gpa_space *space, const struct gpa_translation *translation)
{
    if (translation->pinned)
        frames_unmap(space->slpt.frames, translation->spa);
}
