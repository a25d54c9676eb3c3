// SPDX-License-Identifier: BSD-2-Clause-Patent
// CPUID as a partition sees it: a table of one page, filled once at creation, so that the exit is
// an index and a copy (TLFS: Feature and Interface Discovery).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/call_vp.h"
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

// What a VP, or its parent on its behalf, asks for.
struct cpuid_question {
    uint32_t leaf, subleaf;
    uint64_t xcr0;   // whose size leaf D tells
    bool no_results; // leave out what the parent registered
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
     HV_PRIV_FAST_HYPERCALL_OUTPUT | HV_PRIV_ENABLE_EXTENDED_HYPERCALLS |                          \
     HV_PRIV_START_VIRTUAL_PROCESSOR | HV_PRIV_ENABLE_EXTENDED_GVA_RANGES |                        \
     HV_PRIV_ACCESS_GUEST_IDLE_REG)

// Synthetic features that no privilege stands for, and that a child has unless its parent says
// otherwise (HvPartitionPropertySyntheticProcFeatures).
#define FEATURES_GUEST                                                                             \
    (HV_SYNTH_FEATURE_DIRECT_SYNTHETIC_TIMERS | HV_SYNTH_FEATURE_EXTENDED_PROCESSOR_MASKS |        \
     HV_SYNTH_FEATURE_TB_FLUSH_HYPERCALLS | HV_SYNTH_FEATURE_SYNTHETIC_CLUSTER_IPI |               \
     HV_SYNTH_FEATURE_NOTIFY_LONG_SPIN_WAIT | HV_SYNTH_FEATURE_SYNTHETIC_TIME_UNHALTED_TIMER |     \
     HV_SYNTH_FEATURE_RESTORE_TIME)

// Fills the table from the processor and the partition's privileges, which do not change once the
// partition is initialized.
void cpuid_init(struct partition *p);

// What the processor has of a leaf for any child, before what is its VPs' own.
void cpuid_offered(uint32_t leaf, uint32_t subleaf, struct cpuid_entry *e);

// What the parent intercepts has changed. Partition's lock held.
void cpuid_set_flags(struct partition *p);

// The partition's VPs share cores with others of it that are not their siblings (team_size).
void cpuid_shares_cores(struct partition *p);

// The answer for a leaf that is not CPUID_STATIC. Owner LP.
void cpuid_slow(struct vp *vp, uint32_t leaf, uint32_t subleaf, struct cpuid_entry *result);

// The answer for any leaf. Owner LP or the VP is stopped; takes the partition's lock.
void cpuid_answer(struct vp *vp, const struct cpuid_question *question, struct cpuid_entry *result);

// Answers that a parent registers for its child: for one VP or HV_ANY_VP, for one subleaf or all.
// A second one for the same replaces the first. The bits in the masks take the parent's value; what
// the hypervisor keeps per VP (topology, sizes) wins over it unless always_override is set, and
// mirrors of the VP's own state (OSXSAVE, OSPKE, APIC) win always. Partition's lock held.
// HV_STATUS_INSUFFICIENT_MEMORY; cpuid_unregister: INVALID_PARAMETER, there is none.
uint16_t cpuid_register(struct partition *p, uint32_t vp_index,
                        const struct hv_register_cpuid_result *result);
uint16_t cpuid_unregister(struct partition *p, uint32_t vp_index,
                          const struct hv_register_cpuid_result *key);
bool cpuid_has_result(const struct partition *p, uint32_t leaf);

// Lays those over *e that are, or are not, to win always. Takes the partition's lock.
void cpuid_apply_results(struct partition *p, uint32_t vp_index,
                         const struct cpuid_question *question, bool always, struct cpuid_entry *e);

// Frees them all; no VP is left.
void cpuid_forget_results(struct partition *p);

// Whether the leaf is in one of the three ranges.
static inline bool cpuid_in_table(uint32_t leaf)
{
    return leaf < CPUID_BASIC_LEAVES || leaf - 0x40000000u < CPUID_HV_LEAVES ||
           leaf - 0x80000000u < CPUID_EXTENDED_LEAVES;
}

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
