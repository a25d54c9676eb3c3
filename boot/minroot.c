// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/minroot.h"

#include <stddef.h>

// Byte offsets.
enum {
    TABLE_LENGTH = 4,
    TABLE_CHECKSUM = 9,
    MADT_ENTRIES = 44,
    LOCAL_APIC = 0,
    LOCAL_APIC_SIZE = 8,
    LOCAL_APIC_ID = 3,
    LOCAL_APIC_FLAGS = 4,
    LOCAL_X2APIC = 9,
    LOCAL_X2APIC_SIZE = 16,
    LOCAL_X2APIC_ID = 4,
    LOCAL_X2APIC_FLAGS = 8,
    FLAGS_USABLE = 3 // enabled, online capable
};

// ---- who ----------------------------------------------------------------------------------------

static bool first_of_node(const uint32_t *nodes, uint32_t lp)
{
    for (uint32_t i = 0; i < lp; i++)
        if (nodes[i] == nodes[lp])
            return false;
    return true;
}

// How many of the node's processors are kept, of `most`: the boot processor and then the first.
static uint32_t keep(struct launch_lp *lps, const uint32_t *nodes, uint32_t count, uint32_t node,
                     uint32_t most)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count && kept < most; i++) {
        if (nodes[i] != node || lps[i].root_vp == 0)
            continue;
        lps[i].root_vp = 0;
        kept++;
    }
    return kept;
}

static void number(struct launch_lp *lps, uint32_t count)
{
    uint32_t kept = 0, next = 0;

    for (uint32_t i = 0; i < count; i++)
        kept += lps[i].root_vp == 0;
    for (uint32_t i = 0; i < count; i++)
        lps[i].root_vp = lps[i].root_vp == 0 ? next++ : kept++;
}

// Until all have numbers, root_vp is 0 for those that are kept.
void minroot_choose(struct launch_lp *lps, const uint32_t *nodes, uint32_t count, uint32_t boot_lp,
                    uint32_t rootproc)
{
    uint32_t wanted = rootproc && rootproc < count ? rootproc : count, node_count = 0, turn = 0;

    for (uint32_t i = 0; i < count; i++) {
        node_count += first_of_node(nodes, i);
        lps[i].root_vp = 1;
    }
    lps[boot_lp].root_vp = 0;
    uint32_t share = wanted / node_count, rest = wanted % node_count, left = wanted - 1;
    for (uint32_t i = 0; i < count && left; i++) {
        if (!first_of_node(nodes, i))
            continue;
        uint32_t quota = share + (turn++ < rest);
        if (quota && nodes[i] == nodes[boot_lp])
            quota--; // it has the boot processor
        left -= keep(lps, nodes, count, nodes[i], quota < left ? quota : left);
    }
    for (uint32_t i = 0; i < count && left; i++)
        left -= keep(lps, nodes, count, nodes[i], left);
    number(lps, count);
}

// ---- the MADT -----------------------------------------------------------------------------------

static uint32_t read32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool hidden(const struct launch_lp *lps, uint32_t count, uint32_t rootproc, uint32_t apic_id)
{
    for (uint32_t i = 0; i < count; i++)
        if (lps[i].apic_id == apic_id)
            return lps[i].root_vp >= rootproc;
    return false;
}

// The flags of a processor's entry that is to be hidden; NULL: it is none.
static uint8_t *flags_to_clear(uint8_t *entry, const struct launch_lp *lps, uint32_t count,
                               uint32_t rootproc)
{
    if (entry[0] == LOCAL_APIC && entry[1] >= LOCAL_APIC_SIZE &&
        hidden(lps, count, rootproc, entry[LOCAL_APIC_ID]))
        return entry + LOCAL_APIC_FLAGS;
    if (entry[0] == LOCAL_X2APIC && entry[1] >= LOCAL_X2APIC_SIZE &&
        hidden(lps, count, rootproc, read32(entry + LOCAL_X2APIC_ID)))
        return entry + LOCAL_X2APIC_FLAGS;
    return NULL;
}

uint32_t minroot_hide(uint8_t *madt, uint32_t size, const struct launch_lp *lps, uint32_t count,
                      uint32_t rootproc)
{
    uint32_t changed = 0, length = read32(madt + TABLE_LENGTH);
    uint8_t sum = 0;

    if (length > size)
        length = size;
    for (uint32_t at = MADT_ENTRIES; at + 2 <= length && madt[at + 1] >= 2; at += madt[at + 1]) {
        if (at + madt[at + 1] > length)
            break;
        uint8_t *flags = flags_to_clear(madt + at, lps, count, rootproc);
        if (flags && flags[0] & FLAGS_USABLE) {
            flags[0] &= (uint8_t)~FLAGS_USABLE;
            changed++;
        }
    }
    madt[TABLE_CHECKSUM] = 0;
    for (uint32_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + madt[i]);
    madt[TABLE_CHECKSUM] = (uint8_t)-sum;
    return changed;
}
