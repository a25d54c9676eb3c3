// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor's own page tables at run time.
#include "corbel/hvmap.h"

#include <stdbool.h>
#include <stddef.h>

#include "corbel/phys.h"
#include "hv/status.h"

// SDM 3A 4.5.4. Accessed and dirty are set from the start: nobody asks for them.
enum pte_bits {
    PTE_PRESENT = 1u << 0,
    PTE_WRITE = 1u << 1,
    PTE_PWT = 1u << 3,
    PTE_PCD = 1u << 4,
    PTE_ACCESSED = 1u << 5,
    PTE_DIRTY = 1u << 6,
    PTE_LARGE = 1u << 7
};
#define PTE_NX      (UINT64_C(1) << 63)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

#define LEVELS 4u

void hv_space_init(struct hv_space *space, uint64_t root_pa, struct pool *pool)
{
    spin_init(&space->lock);
    space->root_pa = root_pa;
    space->pool = pool;
}

// The entry that maps `va`, at *level: 1, or higher where there is no table, or a large page, which
// then is the last that counts.
static uint64_t *find_entry(const struct hv_space *space, uint64_t va, unsigned *level)
{
    uint64_t table_pa = space->root_pa & PTE_ADDRESS;

    for (*level = LEVELS;; --*level) {
        uint64_t *table = phys_to_virt(table_pa);
        uint64_t *entry = &table[(va >> (3 + 9 * *level)) & 511];

        if (*level == 1 || (*entry & PTE_PRESENT) == 0 || (*entry & PTE_LARGE) != 0)
            return entry;
        table_pa = *entry & PTE_ADDRESS;
    }
}

static void store(uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static uint64_t leaf_bits(uint32_t rights)
{
    uint64_t bits = PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY;

    if ((rights & HV_PAGE_WRITE) != 0)
        bits |= PTE_WRITE;
    if ((rights & HV_PAGE_EXECUTE) == 0)
        bits |= PTE_NX;
    if ((rights & HV_PAGE_UNCACHED) != 0)
        bits |= PTE_PCD | PTE_PWT;
    return bits;
}

static uint16_t map_locked(struct hv_space *space, uint64_t va, uint64_t value)
{
    unsigned level;
    uint64_t *entry = find_entry(space, va, &level);

    while (level > 1) {
        void *table;

        if ((*entry & PTE_PRESENT) != 0)
            return HV_STATUS_OBJECT_IN_USE;
        table = pool_alloc(space->pool);
        if (table == NULL)
            return HV_STATUS_INSUFFICIENT_ROOT_MEMORY;
        store(entry, virt_to_phys(table) | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED);
        entry = find_entry(space, va, &level);
    }
    if ((*entry & PTE_PRESENT) != 0)
        return HV_STATUS_OBJECT_IN_USE;
    store(entry, value);
    return HV_STATUS_SUCCESS;
}

uint16_t hv_map_page(struct hv_space *space, uint64_t va, uint64_t pa, uint32_t rights)
{
    uint16_t status;

    phys_invariant((rights & (HV_PAGE_WRITE | HV_PAGE_EXECUTE)) !=
                   (HV_PAGE_WRITE | HV_PAGE_EXECUTE));
    spin_lock(&space->lock);
    status = map_locked(space, va, (pa & PTE_ADDRESS) | leaf_bits(rights));
    spin_unlock(&space->lock);
    return status;
}

uint16_t hv_unmap_page(struct hv_space *space, uint64_t va)
{
    uint16_t status = HV_STATUS_SUCCESS;
    unsigned level;
    uint64_t *entry;

    spin_lock(&space->lock);
    entry = find_entry(space, va, &level);
    if ((*entry & PTE_PRESENT) == 0)
        status = HV_STATUS_NOT_FOUND;
    else if (level > 1)
        status = HV_STATUS_OPERATION_DENIED;
    else
        store(entry, 0);
    spin_unlock(&space->lock);
    return status;
}
