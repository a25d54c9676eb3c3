// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the files of the GPA spaces share. All with the space locked.
#pragma once

#include "corbel/gpa.h"

#define GPA_LARGE_PAGES UINT64_C(512) // 4 KiB pages in a 2 MiB page

static inline bool gpa_is_hole(uint64_t entry)
{
    return (entry & (SLPT_SPECIAL | SLPT_MAPPED)) == SLPT_SPECIAL;
}

static inline bool gpa_is_overlay(uint64_t entry)
{
    return (entry & (SLPT_SPECIAL | SLPT_MAPPED)) == (SLPT_SPECIAL | SLPT_MAPPED);
}

// What an entry stands for: in the root's space nothing is the identity.
static inline uint64_t gpa_effective(const struct slpt *t, uint64_t entry, uint64_t gpa,
                                     unsigned level)
{
    uint64_t size = UINT64_C(1) << slpt_shift(level);
    bool uniform;

    if (entry != 0 || !t->identity)
        return entry;
    entry = slpt_leaf(t, gpa & ~(size - 1), GPA_ALL, level);
    if (t->types)
        entry = (entry & ~SLPT_TYPE_MASK) |
                (uint64_t)memory_type(t->types, gpa & ~(size - 1), size, &uniform)
                    << SLPT_TYPE_SHIFT;
    return entry;
}

// The largest page of the identity that has one memory type throughout.
static inline unsigned gpa_identity_level(const struct slpt *t, uint64_t gpa)
{
    unsigned level = t->max_leaf;

    for (bool uniform = !t->types; !uniform && level > 1;) {
        uint64_t size = UINT64_C(1) << slpt_shift(level);

        memory_type(t->types, gpa & ~(size - 1), size, &uniform);
        level -= !uniform;
    }
    return level;
}

// Ends an operation: tables first, then the generation, then whoever is told.
static inline void gpa_unlock(struct gpa_space *space, const struct gpa_batch *batch)
{
    if (batch->flush)
        atomic_fetch_add(&space->generation, 1);
    spin_unlock(&space->lock);
}

// An entry that leaves the tables while processors may set its accessed and dirty bits: it has
// both.
static inline uint64_t gpa_with_access(const struct slpt *t, uint64_t entry)
{
    return slpt_accessible(entry) ? entry | t->format->accessed | t->format->dirty : entry;
}

// The visible overlay of a page that has one.
struct gpa_overlay *gpa_overlay_top(struct gpa_space *space, uint64_t gpa_page);

// Whether a page of the 2 MiB range has an overlay.
bool gpa_overlay_in_range(const struct gpa_space *space, uint64_t gpa_page);

// Replaces the entry at the end of the path, which is at level 1, or what lies beneath its
// overlays. Returns the old one. The path is used up.
uint64_t gpa_replace(struct gpa_space *space, uint64_t gpa_page, struct slpt_path *path,
                     uint64_t entry, struct gpa_batch *batch);

// The 2 MiB operations of gpa_map, gpa_unmap and gpa_protect, arguments checked.
uint16_t gpa_map_large(struct gpa_space *space, uint64_t gpa_page, uint64_t spa, uint32_t rights,
                       struct gpa_batch *batch);
uint16_t gpa_unmap_large(struct gpa_space *space, uint64_t gpa_page, struct gpa_batch *batch);
uint16_t gpa_protect_large(struct gpa_space *space, uint64_t gpa_page, uint32_t rights,
                           struct gpa_batch *batch);
