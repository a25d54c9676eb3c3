// SPDX-License-Identifier: BSD-2-Clause-Patent
// What one partition leaves behind in a processor's predictors and buffers is not for the next one.
// Which of it a processor needs is decided once, at launch.
#pragma once

#include <stdint.h>

// What identifies a processor and its defences: CPUID 1 EAX, 8000_0008 EBX, 8000_0021 EAX and ECX
// on AMD, 7 EDX on Intel (0 for a leaf that does not exist).
struct speculation_leaves {
    uint32_t signature, leaf88_ebx, leaf821_eax, leaf821_ecx, leaf7_edx;
};

enum speculation_duty {
    SPECULATION_IBPB = 1u << 0,      // forget indirect branches: PRED_CMD
    SPECULATION_RSB = 1u << 1,       // and returns, which that IBPB leaves
    SPECULATION_VERW = 1u << 2,      // store and load queues (TSA)
    SPECULATION_DIVIDE = 1u << 3,    // the divider's last quotient (Zen 1)
    SPECULATION_AUTO_IBRS = 1u << 4, // a bit of EFER, for good
    SPECULATION_CONTROL = 1u << 5,   // SPEC_CTRL, which each VP has to itself
    SPECULATION_L1D = 1u << 6,       // the first-level data cache (L1TF): FLUSH_CMD
    SPECULATION_TRACE = 1u << 7      // no defence: the change is recorded (corbel/trace.h)
};

// The duties of an AMD (or Hygon) and of an Intel processor. Pure.
uint32_t speculation_duties(const struct speculation_leaves *l);
uint32_t speculation_duties_intel(const struct speculation_leaves *l);

// Duties by who comes after whom, which only differ in this: what a child has taught the predictors
// must not lead the next one, the root included (VMScape); what is left in buffers and in the cache
// must not be found by a child. The root is trusted in both: whoever runs beneath it has to.
struct speculation_changes {
    uint32_t to_root, from_root, other;
};
void speculation_sort(uint32_t duties, struct speculation_changes *changes);

// What there is to do between the last instruction of partition `from` (NULL: not known) and the
// first of another one, `to`, on the same LP.
static inline uint32_t speculation_between(const struct speculation_changes *changes,
                                           const void *from, const void *to, const void *root)
{
    return to == root ? changes->to_root : from == root ? changes->from_root : changes->other;
}

// Does it. A call wherever it stands: what it needs must not cost those a register who do not.
__attribute__((noinline)) void speculation_switch(uint32_t duties);

// The divider's part of it alone, as it is all that Zen 1 may need between two partitions.
static inline void speculation_divide(void)
{
    uint32_t low = 0, high = 0;

    __asm__ volatile("div %2" : "+a"(low), "+d"(high) : "r"(1) : "cc");
}

// stubs.S: fills the return predictor with addresses that lead nowhere.
void speculation_fill_returns(void);
