// SPDX-License-Identifier: BSD-2-Clause-Patent
// APM 2 3.2.9 (IBPB, SPEC_CTRL); AMD-SB-1045 (divider), AMD-SB-1040 (returns), AMD-SB-7029 (TSA);
// SDM 2A CPUID leaf 7 and SDM 4 (SPEC_CTRL, PRED_CMD, FLUSH_CMD), INTEL-SA-00233 (MDS).
#include "corbel/speculation.h"

#include "corbel/trace.h"
#include "corbel/x86.h"

enum {
    LEAF88_IBPB = 1u << 12,
    LEAF88_CONTROL = 1u << 14 | 1u << 15 | 1u << 24 | 1u << 28, // IBRS, STIBP, SSBD, PSFD
    LEAF88_IBPB_RET = 1u << 30,                                 // IBPB forgets returns as well
    LEAF821_EAX_VERW_CLEAR = 1u << 5,
    LEAF821_EAX_AUTO_IBRS = 1u << 8,
    LEAF7_EDX_MD_CLEAR = 1u << 10,
    LEAF7_EDX_IBRS_IBPB = 1u << 26,
    LEAF7_EDX_STIBP = 1u << 27,
    LEAF7_EDX_L1D_FLUSH = 1u << 28,
    LEAF821_ECX_TSA_NO = 1u << 1 | 1u << 2 // of neither queue
};

static uint32_t family(uint32_t signature)
{
    return (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
}

// Zen 1 and Zen+, and Hygon's processors, which are of that design.
static bool divider_leaks(uint32_t signature)
{
    uint32_t model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);

    return family(signature) == 0x18 ||
           (family(signature) == 0x17 && (model < 0x30 || (model & 0xf0) == 0x50));
}

// Microcode for TSA came to Zen 3 and 4 without the bit that says so; elsewhere VERW does no harm.
static bool queues_leak(const struct speculation_leaves *l)
{
    return (l->leaf821_ecx & LEAF821_ECX_TSA_NO) != LEAF821_ECX_TSA_NO &&
           ((l->leaf821_eax & LEAF821_EAX_VERW_CLEAR) || family(l->signature) == 0x19);
}

uint32_t speculation_duties(const struct speculation_leaves *l)
{
    uint32_t ibpb = l->leaf88_ebx & (LEAF88_IBPB | LEAF88_IBPB_RET);

    return (ibpb & LEAF88_IBPB ? SPECULATION_IBPB : 0) |
           (ibpb == LEAF88_IBPB ? SPECULATION_RSB : 0) | (queues_leak(l) ? SPECULATION_VERW : 0) |
           (divider_leaks(l->signature) ? SPECULATION_DIVIDE : 0) |
           (l->leaf821_eax & LEAF821_EAX_AUTO_IBRS ? SPECULATION_AUTO_IBRS : 0) |
           (l->leaf88_ebx & LEAF88_CONTROL ? SPECULATION_CONTROL : 0);
}

// Which of its parts do not need a flush an Intel processor says in an MSR that emulators and older
// parts lack: between partitions, rare as that is, all that there is is done.
uint32_t speculation_duties_intel(const struct speculation_leaves *l)
{
    const uint32_t edx = l->leaf7_edx, ssbd = 1u << 31;

    return (edx & LEAF7_EDX_IBRS_IBPB ? SPECULATION_IBPB | SPECULATION_RSB : 0) |
           (edx & LEAF7_EDX_MD_CLEAR ? SPECULATION_VERW : 0) |
           (edx & LEAF7_EDX_L1D_FLUSH ? SPECULATION_L1D : 0) |
           (edx & (LEAF7_EDX_IBRS_IBPB | LEAF7_EDX_STIBP | ssbd) ? SPECULATION_CONTROL : 0);
}

void speculation_sort(uint32_t duties, struct speculation_changes *changes)
{
    const uint32_t taught = SPECULATION_IBPB | SPECULATION_RSB;
    const uint32_t left = SPECULATION_VERW | SPECULATION_L1D | SPECULATION_DIVIDE;

    changes->to_root = duties & (SPECULATION_TRACE | taught);
    changes->from_root = duties & (SPECULATION_TRACE | left);
    changes->other = duties & (SPECULATION_TRACE | taught | left);
}

void speculation_switch(uint32_t duties)
{
    static const uint16_t selector = 16; // of data, writable: the form that clears

    if (duties & SPECULATION_DIVIDE)
        speculation_divide();
    if (duties & SPECULATION_TRACE)
        trace_change();
    if (duties & SPECULATION_IBPB)
        wrmsr(MSR_PRED_CMD, 1);
    if (duties & SPECULATION_L1D)
        wrmsr(MSR_FLUSH_CMD, 1);
    if (duties & SPECULATION_RSB)
        speculation_fill_returns();
    if (duties & SPECULATION_VERW)
        __asm__ volatile("verw %0" : : "m"(selector) : "cc");
}
