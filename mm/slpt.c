// SPDX-License-Identifier: BSD-2-Clause-Patent
// Second-level page tables: allocation, splitting, counting and dropping of tables.
#include "corbel/slpt.h"

#include <stddef.h>

#include "hv/status.h"

// APM 2 5.3: P, R/W, U/S (nested accesses are user accesses: 15.25.5), A, D, NX. Dirty is set from
// the start, so the processor is spared the write until somebody clears it (gpa_access.c).
enum npt_bits {
    NPT_PRESENT = 1u << 0,
    NPT_WRITE = 1u << 1,
    NPT_USER = 1u << 2,
    NPT_ACCESSED = 1u << 5,
    NPT_DIRTY = 1u << 6
};
#define NPT_NX (UINT64_C(1) << 63)

#define NPT_R   (NPT_PRESENT | NPT_USER | NPT_ACCESSED | NPT_DIRTY | NPT_NX)
#define NPT_RW  (NPT_R | NPT_WRITE)
#define NPT_RX  (NPT_R & ~NPT_NX)
#define NPT_RWX (NPT_RW & ~NPT_NX)

const struct slpt_format slpt_npt = {
    .table = NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED,
    .accessed = NPT_ACCESSED,
    .dirty = NPT_DIRTY,
    .rights = {[0x1] = NPT_R,
               [0x3] = NPT_RW,
               [0x5] = NPT_RX,
               [0x9] = NPT_RX,
               [0xd] = NPT_RX,
               [0x7] = NPT_RWX,
               [0xb] = NPT_RWX,
               [0xf] = NPT_RWX},
};

// SDM 3C 29.3.2: read, write, execute, the memory type of a leaf (write-back; the guest's PAT still
// counts), accessed and dirty.
enum ept_bits {
    EPT_READ = 1u << 0,
    EPT_WRITE = 1u << 1,
    EPT_EXECUTE = 1u << 2,
    EPT_WRITE_BACK = 6u << 3,
    EPT_ACCESSED = 1u << 8,
    EPT_DIRTY = 1u << 9
};
#define EPT_R   (EPT_READ | EPT_WRITE_BACK | EPT_ACCESSED | EPT_DIRTY)
#define EPT_RW  (EPT_R | EPT_WRITE)
#define EPT_RX  (EPT_R | EPT_EXECUTE)
#define EPT_RWX (EPT_RW | EPT_EXECUTE)

const struct slpt_format slpt_ept = {
    .table = EPT_READ | EPT_WRITE | EPT_EXECUTE | EPT_ACCESSED,
    .accessed = EPT_ACCESSED,
    .dirty = EPT_DIRTY,
    .rights = {[0x1] = EPT_R,
               [0x3] = EPT_RW,
               [0x5] = EPT_RX,
               [0x9] = EPT_RX,
               [0xd] = EPT_RX,
               [0x7] = EPT_RWX,
               [0xb] = EPT_RWX,
               [0xf] = EPT_RWX},
};

// Processors walk the tables while we change them: one whole store, after what it refers to.
static void store(uint64_t *slot, uint64_t entry)
{
    __atomic_store_n(slot, entry, __ATOMIC_RELEASE);
}

// Whether the entry is a reason to keep the table that it is in.
static bool keeps(const struct slpt *t, uint64_t entry, unsigned level)
{
    const uint64_t usual = SLPT_MAPPED | (uint64_t)GPA_ALL << SLPT_RIGHTS_SHIFT;

    if (!t->identity || entry == 0 || slpt_is_table(entry, level))
        return entry != 0;
    return (entry & (SLPT_SPECIAL | SLPT_MAPPED | SLPT_RIGHTS)) != usual;
}

uint64_t slpt_table_entry(const struct slpt *t, const uint64_t *table, uint64_t count)
{
    return virt_to_phys(table) | t->format->table | count << SLPT_COUNT_SHIFT;
}

void gpa_batch_add(struct gpa_batch *batch, uint64_t pa, enum gpa_batch_kind kind)
{
    phys_invariant(batch->count < GPA_BATCH_ITEMS);
    batch->item[batch->count++] = pa | kind;
    batch->flush = true;
}

uint16_t slpt_init(struct slpt *t)
{
    t->root = pool_alloc(t->pool);
    t->table_pages = t->root != NULL;
    return t->root != NULL ? HV_STATUS_SUCCESS : HV_STATUS_INSUFFICIENT_MEMORY;
}

// Replaces the last entry of the path and corrects the count of its table. Returns that count's
// change.
static int replace(struct slpt *t, const struct slpt_path *path, uint64_t entry)
{
    uint64_t *slot = path->slot[path->level];
    int change = keeps(t, entry, path->level) - keeps(t, *slot, path->level);

    store(slot, entry);
    if (change != 0 && path->level < t->levels) {
        uint64_t *parent = path->slot[path->level + 1];

        store(parent, *parent + ((uint64_t)(int64_t)change << SLPT_COUNT_SHIFT));
    }
    return change;
}

// Drops the table that holds the path's last entry, and those above, as far as nothing keeps them.
// The identity map is rebuilt only in pages, so its tables above the largest page stay.
static void prune(struct slpt *t, struct slpt_path *path, struct gpa_batch *batch)
{
    unsigned top = t->identity ? t->max_leaf : t->levels;

    while (path->level < top) {
        uint64_t entry = *path->slot[path->level + 1];

        if (slpt_table_count(entry) != 0)
            break;
        path->level++;
        t->table_pages--;
        replace(t, path, 0);
        gpa_batch_add(batch, entry & SLPT_ADDRESS, GPA_ITEM_TABLE);
    }
}

// Whether `entry` in place of the leaf `old` takes something away from the hardware.
static bool narrows(uint64_t old, uint64_t entry)
{
    if (!slpt_accessible(old))
        return false;
    return ((old ^ entry) & SLPT_ADDRESS) != 0 || (entry & SLPT_MAPPED) == 0 ||
           (slpt_entry_rights(old) & ~slpt_entry_rights(entry)) != 0;
}

void slpt_set(struct slpt *t, struct slpt_path *path, uint64_t entry, struct gpa_batch *batch)
{
    if (narrows(*path->slot[path->level], entry))
        batch->flush = true;
    if (replace(t, path, entry) < 0)
        prune(t, path, batch);
}

void slpt_detach(struct slpt *t, struct slpt_path *path, uint64_t entry, enum gpa_batch_kind kind,
                 struct gpa_batch *batch)
{
    uint64_t old = *path->slot[path->level];
    int change = replace(t, path, entry);

    t->table_pages--;
    gpa_batch_add(batch, old & SLPT_ADDRESS, kind);
    if (change < 0)
        prune(t, path, batch);
}

// Fills the new table with what the entry `old` of `level` says, in 512 parts, and returns how many
// entries keep it.
static uint64_t subdivide(const struct slpt *t, uint64_t *table, uint64_t old, unsigned level)
{
    uint64_t part = level - 1 > 1 ? old : old & ~SLPT_LARGE;

    if (old == 0)
        return 0;
    for (uint64_t i = 0; i < SLPT_ENTRIES; i++)
        table[i] = part + (i << slpt_shift(level - 1));
    return keeps(t, part, level - 1) ? SLPT_ENTRIES : 0;
}

static uint16_t give_back(struct slpt *t, uint64_t *const *tables, unsigned count, uint16_t status)
{
    for (unsigned i = 0; i < count; i++)
        pool_free(t->pool, tables[i]);
    return status;
}

uint16_t slpt_grow(struct slpt *t, uint64_t gpa, unsigned target, struct slpt_path *path,
                   struct gpa_batch *batch)
{
    uint64_t *tables[SLPT_MAX_LEVELS];
    unsigned missing = path->level - target;
    uint64_t old = *path->slot[path->level];

    for (unsigned i = 0; i < missing; i++) {
        tables[i] = pool_alloc(t->pool);
        if (tables[i] == NULL)
            return give_back(t, tables, i, HV_STATUS_INSUFFICIENT_MEMORY);
    }
    if (!t->identity && (old & SLPT_MAPPED) != 0) {
        uint16_t status = frames_split(t->frames, old & SLPT_ADDRESS);

        if (status != HV_STATUS_SUCCESS)
            return give_back(t, tables, missing, status);
    }
    if (slpt_accessible(old))
        batch->flush = true;
    for (unsigned i = 0; i < missing; i++) {
        uint64_t count = subdivide(t, tables[i], *path->slot[path->level], path->level);

        replace(t, path, slpt_table_entry(t, tables[i], count));
        path->level--;
        // `missing` is what the levels above target were; clang-tidy 19 does not see it.
        // NOLINTNEXTLINE(clang-analyzer-core.BitwiseShift)
        path->slot[path->level] = &tables[i][(gpa >> slpt_shift(path->level)) & (SLPT_ENTRIES - 1)];
        t->table_pages++;
    }
    return HV_STATUS_SUCCESS;
}
