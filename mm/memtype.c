// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/memtype.h"

enum { DEF_TYPE_FIXED = 1u << 10, DEF_TYPE_ENABLE = 1u << 11, MASK_VALID = 1u << 11 };
#define TYPE_MASK UINT64_C(0xff)
#define FIXED_END UINT64_C(0x100000)
#define PAGE      UINT64_C(0x1000)

// Which byte of which MSR holds the type of an address below 1 MiB.
static enum memory_type fixed_type(const struct memory_types *m, uint64_t address)
{
    unsigned index;

    if (address < 0x80000)
        index = (unsigned)(address >> 16);
    else if (address < 0xc0000)
        index = 8 + (unsigned)((address - 0x80000) >> 14);
    else
        index = 24 + (unsigned)((address - 0xc0000) >> 12);
    return m->fixed[index / 8] >> index % 8 * 8 & TYPE_MASK;
}

// SDM 3A 12.11.4.1: uncacheable wins, write-through wins over write-back; others are not defined.
static enum memory_type overlap(enum memory_type a, enum memory_type b)
{
    if (a == b)
        return a;
    if ((a == MEMORY_WT && b == MEMORY_WB) || (a == MEMORY_WB && b == MEMORY_WT))
        return MEMORY_WT;
    return MEMORY_UC;
}

enum memory_type memory_type(const struct memory_types *m, uint64_t base, uint64_t size,
                             bool *uniform)
{
    enum memory_type type = m->def_type & TYPE_MASK;
    bool found = false;

    *uniform = true;
    if (!(m->def_type & DEF_TYPE_ENABLE))
        return MEMORY_UC;
    if ((m->def_type & DEF_TYPE_FIXED) && base < FIXED_END) {
        *uniform = size <= PAGE;
        return *uniform ? fixed_type(m, base) : MEMORY_UC;
    }
    for (uint32_t i = 0; i < m->variable_count; i++) {
        uint64_t mask = m->variable[i].mask & m->physical_mask & ~(PAGE - 1);
        uint64_t differs = (base ^ m->variable[i].base) & mask;
        enum memory_type its = m->variable[i].base & TYPE_MASK;

        // Apart in a bit that is the same for all of the piece: none of it is in the range.
        if (!(m->variable[i].mask & MASK_VALID) || (differs & ~(size - 1)))
            continue;
        if (mask & (size - 1)) { // some of it is
            *uniform = false;
            return MEMORY_UC;
        }
        type = found ? overlap(type, its) : its;
        found = true;
    }
    return type;
}
