// SPDX-License-Identifier: BSD-2-Clause-Patent
// Second-level page tables (AMD nested paging, Intel EPT): the table mechanics beneath GPA spaces.
// What differs between the vendors is data, struct slpt_format; what the vendors leave to software
// is used the same way on both:
//
//   bit 7            set in every leaf above level 1, clear in tables and at level 1
//   bit 11           leaf: SPECIAL: an overlay if MAPPED, else a hole
//   bits 51:12       system physical address
//   bits 55:52       leaf: rights, HV_MAP_GPA_* bits 3:0
//   bit 56           leaf: MAPPED, with any rights, also none
//   bits 61:52       table: how many of its entries keep it alive, 0..512
//
// An entry of 0 is unmapped in a child's space. In the root's space (`identity`) it stands for the
// lazily mapped identity with all rights, and such entries, present or not, do not keep a table
// alive.
//
// APM 2 5.3, 15.25 (bits 11:9 and 58:52 available to software; 62:52 in non-leaf entries); SDM 3C
// 29.3.2 (bits 11 and 56:52 ignored; 62:52 in non-leaf entries). Accessed bits are set from the
// start, so the processor has no reason to write to an entry that points to a table.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/frames.h"
#include "corbel/memtype.h"
#include "corbel/phys.h"
#include "corbel/pool.h"
#include "hv/memory.h"

#define SLPT_MAX_LEVELS 5u
#define SLPT_ENTRIES    512u

#define SLPT_LARGE        (UINT64_C(1) << 7)
#define SLPT_SPECIAL      (UINT64_C(1) << 11)
#define SLPT_ADDRESS      UINT64_C(0x000ffffffffff000)
#define SLPT_RIGHTS_SHIFT 52
#define SLPT_RIGHTS       (UINT64_C(0xf) << SLPT_RIGHTS_SHIFT)
#define SLPT_MAPPED       (UINT64_C(1) << 56)
#define SLPT_COUNT_SHIFT  52
#define SLPT_COUNT        (UINT64_C(0x3ff) << SLPT_COUNT_SHIFT)

// Second-level rights: the low bits of HV_MAP_GPA_FLAGS (TLFS). Legal: none, R, RW, RX, RWX.
enum gpa_rights {
    GPA_NONE = HV_MAP_GPA_PERMISSIONS_NONE,
    GPA_READ = HV_MAP_GPA_READABLE,
    GPA_WRITE = HV_MAP_GPA_WRITABLE,
    GPA_EXEC = HV_MAP_GPA_EXECUTABLE, // both execute bits
    GPA_ALL = GPA_READ | GPA_WRITE | GPA_EXEC
};

#define SLPT_TYPE_SHIFT 3 // of a leaf's memory type (EPT)
#define SLPT_TYPE_MASK  (UINT64_C(7) << SLPT_TYPE_SHIFT)

struct slpt_format {
    uint64_t table;           // hardware bits of an entry that points to a table
    uint64_t rights[16];      // hardware bits of a leaf by rights, with the memory type; 0 for none
    uint64_t accessed, dirty; // that the processor sets in a leaf; in rights[] from the start
};

// AMD nested paging. Either execute bit lets both modes execute (no GMET).
extern const struct slpt_format slpt_npt;
// Intel EPT, write-back.
extern const struct slpt_format slpt_ept;

struct slpt {
    uint64_t *root; // table of the highest level
    unsigned levels;
    unsigned max_leaf; // highest level whose entries may map a page: 2, or 3 with 1 GiB pages
    bool identity;     // the root's space, see above
    const struct slpt_format *format;
    const struct memory_types *types; // of the identity's leaves, where the format holds them
    struct pool *pool;
    struct frames *frames;
    uint64_t table_pages; // tables in the tree, the root table included
};

// What an operation took out of the tables but other processors may still reach: frames whose use
// ends and tables that go back to the pool, once the TLBs are clean. One batch serves one space;
// see gpa.h.
#define GPA_BATCH_ITEMS 64u
#define GPA_BATCH_STEP  8u // room that any one operation needs

enum gpa_batch_kind { // in the low bits of an item
    GPA_ITEM_FRAME = 0,
    GPA_ITEM_FRAME_LARGE = 1,
    GPA_ITEM_TABLE = 2,      // without uses of frames
    GPA_ITEM_TABLE_FULL = 3, // level 1: entries that are MAPPED and not SPECIAL each hold a use
    GPA_ITEM_KIND = 3
};

struct gpa_batch {
    struct slpt *slpt;
    uint32_t count;
    bool flush; // translations of the space must be flushed before gpa_batch_release
    uint64_t item[GPA_BATCH_ITEMS];
};

// Where a walk ended: slot[l] for level ..= levels are the entries passed, slot[level] the last.
struct slpt_path {
    uint64_t *slot[SLPT_MAX_LEVELS + 1];
    unsigned level;
};

// First address bit that an entry of `level` does not translate: 12, 21, 30...
static inline unsigned slpt_shift(unsigned level)
{
    return 3 + 9 * level;
}

static inline bool slpt_is_table(uint64_t entry, unsigned level)
{
    return level > 1 && entry != 0 && (entry & SLPT_LARGE) == 0;
}

static inline uint32_t slpt_entry_rights(uint64_t entry)
{
    return (entry & SLPT_RIGHTS) >> SLPT_RIGHTS_SHIFT;
}

// Whether the hardware may have cached a translation through this leaf.
static inline bool slpt_accessible(uint64_t entry)
{
    return (entry & SLPT_MAPPED) != 0 && (entry & SLPT_RIGHTS) != 0;
}

static inline uint64_t slpt_leaf(const struct slpt *t, uint64_t spa, uint32_t rights,
                                 unsigned level)
{
    return spa | t->format->rights[rights] | (uint64_t)rights << SLPT_RIGHTS_SHIFT | SLPT_MAPPED |
           (level > 1 ? SLPT_LARGE : 0);
}

// Walks towards the entry of `target` level that covers `gpa` (bytes, in range) and stops there or
// at the first entry that is no table. Never fails.
static inline void slpt_walk(const struct slpt *t, uint64_t gpa, unsigned target,
                             struct slpt_path *path)
{
    uint64_t *table = t->root;
    unsigned level = t->levels;
    unsigned shift = slpt_shift(level);

    for (;; level--, shift -= 9) {
        uint64_t *slot = &table[(gpa >> shift) & (SLPT_ENTRIES - 1)];
        uint64_t entry = *slot;

        path->slot[level] = slot;
        if (level == target || entry == 0 || (entry & SLPT_LARGE) != 0)
            break;
        table = phys_to_virt(entry & SLPT_ADDRESS);
    }
    path->level = level;
}

// HV_STATUS_SUCCESS or HV_STATUS_INSUFFICIENT_MEMORY. An empty tree; the fields that describe it
// are set.
uint16_t slpt_init(struct slpt *t);

// Extends a path that ended early down to `target`, with new tables that translate what the entry
// above did: a leaf is split, and batch->flush is set if it was present.
// HV_STATUS_INSUFFICIENT_MEMORY, HV_STATUS_INSUFFICIENT_ROOT_MEMORY: nothing changed.
uint16_t slpt_grow(struct slpt *t, uint64_t gpa, unsigned target, struct slpt_path *path,
                   struct gpa_batch *batch);

// Replaces the last entry of the path, which is no table, keeps the table's count and drops tables
// that hold nothing any more into the batch. Sets batch->flush if the old entry let the hardware do
// what the new one does not. The path is used up.
void slpt_set(struct slpt *t, struct slpt_path *path, uint64_t entry, struct gpa_batch *batch);

// The same where the path ends in a table, which goes into the batch as `kind`.
void slpt_detach(struct slpt *t, struct slpt_path *path, uint64_t entry, enum gpa_batch_kind kind,
                 struct gpa_batch *batch);

// The entry for a new table of which `count` entries keep it alive, and back.
uint64_t slpt_table_entry(const struct slpt *t, const uint64_t *table, uint64_t count);
static inline uint64_t slpt_table_count(uint64_t entry)
{
    return (entry & SLPT_COUNT) >> SLPT_COUNT_SHIFT;
}

// slpt_set where a child's level-1 entry is 0 and becomes a leaf: the common case when memory is
// mapped, without a look at what was there.
static inline void slpt_set_first(struct slpt_path *path, uint64_t entry)
{
    *path->slot[2] += UINT64_C(1) << SLPT_COUNT_SHIFT;
    __atomic_store_n(path->slot[1], entry, __ATOMIC_RELEASE);
}

// Adds an item (`pa` page aligned) and asks for a flush.
void gpa_batch_add(struct gpa_batch *batch, uint64_t pa, enum gpa_batch_kind kind);
