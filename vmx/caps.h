// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the processor's VMX can do (SDM 3D appendix A) and what is made of it. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The capability MSRs as they were read.
struct vmx_msrs {
    uint64_t basic;
    uint64_t pin, cpu, cpu2, exit, entry; // 31:0 bits that must be set, 63:32 that may be set
    uint64_t ept_vpid, misc;
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
};

enum { // IA32_VMX_EPT_VPID_CAP
    VMX_CAP_WALK_4 = 1u << 6,
    VMX_CAP_EPT_WB = 1u << 14,
    VMX_CAP_EPT_2M = 1u << 16,
    VMX_CAP_EPT_1G = 1u << 17,
    VMX_CAP_INVEPT = 1u << 20,
    VMX_CAP_EPT_AD = 1u << 21,
    VMX_CAP_INVEPT_CONTEXT = 1u << 25,
    VMX_CAP_INVEPT_ALL = 1u << 26
};
#define VMX_CAP_INVVPID         (1ul << 32)
#define VMX_CAP_INVVPID_CONTEXT (1ul << 41)
#define VMX_CAP_INVVPID_ALL     (1ul << 42)
#define VMX_BASIC_TRUE_CONTROLS (1ul << 55)
#define VMX_BASIC_REVISION      0x7ffffffful
#define VMX_MISC_TIMER_SHIFT    0x1ful // which bit of the TSC the preemption timer counts

// The controls that every VP starts from: all that is required, what there is of the optional, and
// the bits that the processor wants set.
struct vmx_controls {
    uint32_t pin, cpu, cpu2, exit, entry;
    bool vpid;       // VPIDs, with INVVPID of one and of all contexts
    bool ept_ad;     // accessed and dirty bits
    bool tpr_shadow; // else CR8 exits
    bool apicv;  // x2APIC mode with its registers, and delivery, by the processor: VMX_CPU2_APICV
    bool posted; // with apicv: interrupts of running VPs come without an exit
    bool pause_loop;
    bool tsc_scaling;
    bool preemption_timer;                         // with what is left of it saved by each exit
    uint8_t timer_shift;                           // its ticks are 2^this of the TSC
    uint64_t cr0_must, cr0_may, cr4_must, cr4_may; // of a guest: PE and PG are its own
};

// NULL, or what the processor lacks, as text.
const char *vmx_make_controls(const struct vmx_msrs *m, struct vmx_controls *c);

enum vmx_switch { // state of IA32_FEATURE_CONTROL (SDM 3C 24.7)
    VMX_SWITCH_ON,
    VMX_SWITCH_UNLOCKED, // may be set and locked
    VMX_SWITCH_OFF       // locked without VMX outside SMX
};
#define VMX_FEATURE_LOCK   (1ul << 0)
#define VMX_FEATURE_ENABLE (1ul << 2) // outside SMX
enum vmx_switch vmx_feature_switch(uint64_t feature_control);

// What the preemption timer is to start from at `now`, times of the TSC, so that it expires at
// `end` and no sooner: it counts the changes of bit `shift` of the TSC (SDM 3C 26.5.1). 0 expires
// before the first instruction. What is too far away for its 32 bits expires too soon.
static inline uint32_t vmx_timer_ticks(uint64_t end, uint64_t now, uint32_t shift)
{
    uint64_t ticks;

    if (end <= now)
        return 0;
    ticks = ((end - 1) >> shift) - (now >> shift) + 1;
    return ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

// The values that CR0 and CR4 must have in VMX operation (SDM 3D A.7, A.8).
static inline uint64_t vmx_fix(uint64_t value, uint64_t fixed0, uint64_t fixed1)
{
    return (value | fixed0) & fixed1;
}
