// SPDX-License-Identifier: BSD-2-Clause-Patent
// CPUID as a partition sees it: a table of one page, filled once at creation, so that the exit is
// an index and a copy (TLFS: Feature and Interface Discovery).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/partition.h"

struct partition;
struct vp;

// Ranges that the table holds; a leaf beyond a range's maximum answers as the highest basic leaf
// does on Intel or as zeros on AMD.
#define CPUID_BASIC_LEAVES    32u // 00000000..0000001F
#define CPUID_HV_LEAVES       16u // 40000000..4000000F
#define CPUID_EXTENDED_LEAVES 48u // 80000000..8000002F

enum cpuid_flags {
    CPUID_STATIC = 1u << 0,   // the four registers are the answer
    CPUID_PER_VP = 1u << 1,   // cpuid_slow: subleaves, APIC id, OSXSAVE, parent's wishes
    CPUID_INTERCEPT = 1u << 2 // message to the parent
};

struct cpuid_entry {
    uint32_t eax, ebx, ecx, edx;
};

struct cpuid_table {
    struct cpuid_entry basic[CPUID_BASIC_LEAVES];
    struct cpuid_entry hv[CPUID_HV_LEAVES];
    struct cpuid_entry extended[CPUID_EXTENDED_LEAVES];
    uint8_t basic_flags[CPUID_BASIC_LEAVES];
    uint8_t hv_flags[CPUID_HV_LEAVES];
    uint8_t extended_flags[CPUID_EXTENDED_LEAVES];
    uint8_t other_flags; // of leaves outside the three ranges: intercepted all or none
};

// Privileges (HV_PRIV_*) that a child may be given: each has something behind it.
#define PRIVILEGES_GUEST                                                                           \
    (HV_PRIV_ACCESS_VP_RUNTIME_REG | HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER |                  \
     HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS |                             \
     HV_PRIV_ACCESS_INTR_CTRL_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX |     \
     HV_PRIV_ACCESS_RESET_REG | HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC |                           \
     HV_PRIV_ACCESS_FREQUENCY_REGS | HV_PRIV_POST_MESSAGES | HV_PRIV_SIGNAL_EVENTS |               \
     HV_PRIV_FAST_HYPERCALL_OUTPUT | HV_PRIV_START_VIRTUAL_PROCESSOR)

// Fills the table from the processor and the partition's privileges, which do not change once the
// partition is initialized.
void cpuid_init(struct partition *p);

// What the parent intercepts has changed. Partition's lock held.
void cpuid_set_flags(struct partition *p);

// The answer for a leaf that is not CPUID_STATIC. Owner LP.
void cpuid_slow(struct vp *vp, uint32_t leaf, uint32_t subleaf, struct cpuid_entry *result);

// Descriptor of a leaf: sets *flags; the entry is never NULL. Inline: this is the hottest exit.
static inline const struct cpuid_entry *cpuid_find(const struct cpuid_table *t, uint32_t leaf,
                                                   uint8_t *flags)
{
    uint32_t index = leaf & 0x3fffffff;
    if (leaf < CPUID_BASIC_LEAVES) {
        *flags = t->basic_flags[leaf];
        return &t->basic[leaf];
    }
    if ((leaf >> 30) == 1 && index < CPUID_HV_LEAVES) {
        *flags = t->hv_flags[index];
        return &t->hv[index];
    }
    if ((leaf >> 30) == 2 && index < CPUID_EXTENDED_LEAVES) {
        *flags = t->extended_flags[index];
        return &t->extended[index];
    }
    *flags = t->other_flags;
    return &t->basic[0];
}
