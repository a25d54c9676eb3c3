// SPDX-License-Identifier: BSD-2-Clause-Patent
// One virtual local APIC: xAPIC registers (MMIO form), x2APIC registers (MSR form) and the TLFS
// EOI, ICR and TPR MSRs. Pure state: nothing here touches hardware, waits or allocates. What must
// happen outside (send an IPI, rearm the LP's timer, EOI an I/O APIC) is reported in a struct
// vapic_action.
//
// Ownership. The owner is the LP that runs, or last ran, the VP. Every function is for the owner
// only, but for vapic_post(), vapic_match(), vapic_lower_priority() and vapic_accepts(), which any
// LP may call at any time. No locks.
//
// EOI assist. With a word shared with the guest, an EOI may have happened that nobody was told of:
// whatever looks at what is in service takes it over first.
//
// Time. `now` is the guest's TSC (what RDTSC returns to the guest), so deadlines are guest TSC too.
// SDM 3A ch. "Advanced Programmable Interrupt Controller"; APM 2 ch. 16; TLFS: Virtual Interrupt
// Controller.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/assist.h"

#define VAPIC_WORDS       4u
#define VAPIC_NO_DEADLINE UINT64_MAX
#define VAPIC_BROADCAST   0xffffffffu // struct vapic_ipi.dest and vapic_match(): everyone
#define VAPIC_BASE_PA     0xfee00000u // the register page; it cannot be moved
// Version 0x14 (xAPIC) 0x14, six LVT entries, no directed EOI, no AMD extended space.
#define VAPIC_VERSION 0x00050014u

// Offsets of the register page; x2APIC MSR = 0x800 + (offset >> 4).
enum vapic_reg {
    VAPIC_ID = 0x020,
    VAPIC_VER = 0x030,
    VAPIC_TPR = 0x080,
    VAPIC_APR = 0x090,
    VAPIC_PPR = 0x0a0,
    VAPIC_EOI = 0x0b0,
    VAPIC_RRD = 0x0c0,
    VAPIC_LDR = 0x0d0,
    VAPIC_DFR = 0x0e0,
    VAPIC_SVR = 0x0f0,
    VAPIC_ISR = 0x100,
    VAPIC_TMR = 0x180,
    VAPIC_IRR = 0x200,
    VAPIC_ESR = 0x280,
    VAPIC_ICR = 0x300,
    VAPIC_ICR2 = 0x310,
    VAPIC_LVT_TIMER = 0x320,
    VAPIC_LVT_THERMAL = 0x330,
    VAPIC_LVT_PERF = 0x340,
    VAPIC_LVT_LINT0 = 0x350,
    VAPIC_LVT_LINT1 = 0x360,
    VAPIC_LVT_ERROR = 0x370,
    VAPIC_TIMER_INITIAL = 0x380,
    VAPIC_TIMER_CURRENT = 0x390,
    VAPIC_TIMER_DIVIDE = 0x3e0,
    VAPIC_SELF_IPI = 0x3f0
};

// Index of struct vapic.lvt: (offset - VAPIC_LVT_TIMER) >> 4.
enum vapic_lvt {
    VAPIC_TIMER = 0,
    VAPIC_THERMAL = 1,
    VAPIC_PERF = 2,
    VAPIC_LINT0 = 3,
    VAPIC_LINT1 = 4,
    VAPIC_ERROR = 5,
    VAPIC_LVT_COUNT = 6
};

enum vapic_lvt_bits {
    VAPIC_LVT_VECTOR = 0xff,
    VAPIC_LVT_MODE_SHIFT = 8, // enum vapic_delivery
    VAPIC_LVT_MODE = 7u << 8,
    VAPIC_LVT_POLARITY = 1u << 13,
    VAPIC_LVT_REMOTE_IRR = 1u << 14,
    VAPIC_LVT_LEVEL = 1u << 15,
    VAPIC_LVT_MASKED = 1u << 16,
    VAPIC_LVT_PERIODIC = 1u << 17,
    VAPIC_LVT_DEADLINE = 1u << 18,
    VAPIC_LVT_TIMER_MODE = 3u << 17
};

enum vapic_svr_bits { VAPIC_SVR_ENABLE = 1u << 8 };

enum vapic_esr_bits {
    VAPIC_ESR_SEND_ILLEGAL = 1u << 5,
    VAPIC_ESR_RECEIVE_ILLEGAL = 1u << 6,
    VAPIC_ESR_ILLEGAL_REGISTER = 1u << 7
};

enum vapic_base_bits {
    VAPIC_BASE_BSP = 1u << 8,
    VAPIC_BASE_X2APIC = 1u << 10,
    VAPIC_BASE_ENABLE = 1u << 11
};

enum vapic_delivery {
    VAPIC_FIXED = 0,
    VAPIC_LOWEST = 1,
    VAPIC_SMI = 2,
    VAPIC_REMOTE_READ = 3,
    VAPIC_NMI = 4,
    VAPIC_INIT = 5,
    VAPIC_SIPI = 6,
    VAPIC_EXTINT = 7
};

enum vapic_shorthand {
    VAPIC_DEST_FIELD = 0,
    VAPIC_DEST_SELF = 1,
    VAPIC_DEST_ALL = 2,
    VAPIC_DEST_OTHERS = 3
};

enum vapic_init_flags {
    VAPIC_FLAG_BSP = 1u << 0,
    VAPIC_FLAG_X2APIC = 1u << 1,      // x2APIC mode may be entered (CPUID.1:ECX[21])
    VAPIC_FLAG_TSC_DEADLINE = 1u << 2 // TSC-deadline mode exists (CPUID.1:ECX[24])
};

enum vapic_result {
    VAPIC_OK = 0,
    VAPIC_GP = 1 // inject #GP(0); nothing changed
};

// An interprocessor interrupt, already checked: reserved combinations never get here, fixed and
// lowest-priority vectors are 16..255, level-triggered fixed IPIs have become edge ones, INIT
// de-assert has been swallowed.
struct vapic_ipi {
    uint32_t dest;     // APIC id or logical id for vapic_match(); with VAPIC_DEST_FIELD only
    uint8_t vector;    // FIXED, LOWEST, SIPI; else 0
    uint8_t mode;      // enum vapic_delivery: FIXED, LOWEST, SMI, NMI, INIT or SIPI
    uint8_t shorthand; // enum vapic_shorthand; never SELF for FIXED (done internally)
    bool logical;      // dest is logical; with VAPIC_DEST_FIELD only
};

enum vapic_action_flags {
    VAPIC_ACT_IPI = 1u << 0,       // send action.ipi
    VAPIC_ACT_TIMER = 1u << 1,     // vapic_timer_deadline() may have changed
    VAPIC_ACT_EOI = 1u << 2,       // eoi_vector has been EOI'd (SynIC queues may need a rescan)
    VAPIC_ACT_EOI_LEVEL = 1u << 3, // ... and it was level triggered (with VAPIC_ACT_EOI)
    VAPIC_ACT_PENDING = 1u << 4,   // vapic_deliverable() may have grown (EOI, TPR, self IPI, timer)
    VAPIC_ACT_TPR = 1u << 5,       // TPR changed: V_TPR or the TPR shadow must follow
    VAPIC_ACT_MIRROR = 1u << 6,    // an LVT entry, LDR, DFR or SVR was written: action.reg
    VAPIC_ACT_MODE = 1u << 7       // IA32_APIC_BASE changed: mode entered or left
};

// What the caller must do after an access. Filled by every access function; flags 0 = nothing.
struct vapic_action {
    uint32_t flags;     // enum vapic_action_flags
    uint16_t reg;       // enum vapic_reg of the register written, with VAPIC_ACT_MIRROR
    uint8_t eoi_vector; // with VAPIC_ACT_EOI
    uint8_t reserved;
    struct vapic_ipi ipi; // with VAPIC_ACT_IPI
};

// Rates, fixed at boot and shared by all virtual APICs of a partition; 40 fraction bits.
struct vapic_clock {
    uint64_t tsc_hz;
    uint64_t apic_hz;       // rate of the undivided timer; what HV_X64_MSR_APIC_FREQUENCY shows
    uint64_t tsc_per_tick;  // TSC counts a timer tick
    uint64_t ticks_per_tsc; // timer ticks a TSC count
    uint64_t min_period;    // TSC: a shorter period is stretched to this (100 us)
};

struct vapic {
    // Written by any LP. One cache line.
    _Alignas(64) _Atomic uint64_t posted[VAPIC_WORDS];
    _Atomic uint32_t posted_words; // bit w: posted[w] may be non-zero
    _Atomic uint32_t id;           // written by the owner, read by any LP: routing
    _Atomic uint32_t ldr;          // xAPIC: 31:24; x2APIC: the 32-bit logical id
    _Atomic uint32_t dfr;
    _Atomic uint32_t mode; // APIC_BASE enable and x2APIC bits, and VAPIC_SVR_ENABLE
    _Atomic uint8_t tpr;
    _Alignas(64) _Atomic uint64_t posted_level[VAPIC_WORDS];

    // The owner's.
    _Alignas(64) uint64_t irr[VAPIC_WORDS];
    uint64_t isr[VAPIC_WORDS];
    uint64_t tmr[VAPIC_WORDS];
    uint64_t auto_eoi[VAPIC_WORDS]; // vectors that skip the ISR; maintained from SynIC
    uint8_t ppr;
    uint8_t flags;  // enum vapic_init_flags
    uint8_t spared; // vector in service that NoEoiRequired is set for; 0: it is not
    uint8_t reserved;
    uint32_t svr;
    uint32_t esr;         // visible
    uint32_t esr_pending; // collected until the next write of ESR
    uint32_t lvt[VAPIC_LVT_COUNT];
    uint64_t icr;  // 63:32 ICR high as the mode shows it
    uint64_t base; // IA32_APIC_BASE
    const struct vapic_clock *clock;
    uint32_t timer_initial;
    uint32_t timer_divide; // register value
    uint64_t timer_expiry; // guest TSC of the next expiry or the deadline; or NO_DEADLINE
    uint64_t timer_period; // TSC counts, from initial count and divide
    uint32_t initial_id;
    uint32_t reserved2;
    _Atomic uint32_t *assist; // the guest's EOI assist word; NULL: none
};

// A register file as software sees it: to take over a running physical APIC, and for save and
// restore. regs[n] is the register at offset n * 16 (xAPIC layout also in x2APIC mode, but for
// the ID and LDR, which are then the 32-bit ones; ICR high in regs[0x31]).
struct vapic_image {
    uint64_t apic_base;
    uint64_t tsc_deadline;
    uint32_t regs[64];
};

// ---- life ------------------------------------------------------------------------------------

// Rates in Hz: both 1..2^40-1, and neither 2^23 times the other or more.
void vapic_clock_init(struct vapic_clock *clock, uint64_t tsc_hz, uint64_t apic_hz);

// Power-on state: xAPIC mode, software disabled, everything masked. `clock` must outlive `a`.
// An id above 254 cannot be addressed in xAPIC mode.
void vapic_init(struct vapic *a, uint32_t apic_id, uint32_t flags, const struct vapic_clock *clock);

// INIT: the registers go to their power-on values; id, IA32_APIC_BASE (so the mode) and the
// auto-EOI mask stay (SDM 3A "Local APIC State After It Receives an INIT Reset"). Posted interrupts
// are lost.
void vapic_reset(struct vapic *a);

// Take over a register file: mode, id, bitmaps, timer with its remaining count. Reserved bits are
// dropped. VAPIC_GP if apic_base is not a legal value for this APIC. No mode transition rules.
// Interrupts in IRR and ISR are taken over: whoever imports a physical APIC leaves those out that
// the hardware still holds and will deliver.
enum vapic_result vapic_import(struct vapic *a, const struct vapic_image *image, uint64_t now);
void vapic_export(struct vapic *a, struct vapic_image *image, uint64_t now);

// ---- register access -------------------------------------------------------------------------

// MMIO form. `offset` is 0..0xfff within the page. Reads take any byte of a register's first four
// (the value is shifted down); writes must be aligned to 16 and 32 bits wide, others are ignored,
// as are all accesses outside xAPIC mode (reads give ~0). Reserved bits are dropped, as hardware
// does.
uint32_t vapic_read_mmio(struct vapic *a, uint32_t offset, uint64_t now);
void vapic_write_mmio(struct vapic *a, uint32_t offset, uint32_t value, uint64_t now,
                      struct vapic_action *action);

// MSR form: 0x800..0x8ff (x2APIC mode only), IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0) and
// HV_X64_MSR_EOI, ICR, TPR (0x40000070..72; any enabled mode). Privileges are the caller's check.
// Moving the register page off VAPIC_BASE_PA is #GP; the BSP flag is read-only (AMD: BSC).
enum vapic_result vapic_read_msr(struct vapic *a, uint32_t msr, uint64_t now, uint64_t *value);
enum vapic_result vapic_write_msr(struct vapic *a, uint32_t msr, uint64_t value, uint64_t now,
                                  struct vapic_action *action);

// TPR through CR8 or V_TPR: no exit needed, no action. `tpr` is the 8-bit register (CR8 << 4).
void vapic_set_tpr(struct vapic *a, uint8_t tpr);

// ---- interrupts in and out -------------------------------------------------------------------

// Ask for `vector` (below 16: a receive-illegal-vector error at the target). Any LP. True if the
// target has to be woken or kicked: false means that an earlier, still unseen post of the same
// vector already did.
bool vapic_post(struct vapic *a, uint8_t vector, bool level);

// Whether there is anything posted that vapic_merge() has not seen. Any LP.
static inline bool vapic_has_posted(struct vapic *a)
{
    return atomic_load_explicit(&a->posted_words, memory_order_relaxed) != 0;
}

// Pull posted vectors into IRR and TMR. While software or hardware disabled they are dropped.
void vapic_merge(struct vapic *a);

// Owner's vapic_post() + vapic_merge() of an edge interrupt in one, for self IPIs and timers.
void vapic_set_irr(struct vapic *a, uint8_t vector);

// Highest pending vector whose class is above PPR, or -1. Merges first.
int vapic_deliverable(struct vapic *a);
// Highest pending vector whatever PPR says, or -1. Merges first. For TPR thresholds.
int vapic_highest_irr(struct vapic *a);
// Whether fixed interrupts are taken at all now: hardware and software enabled. Any LP.
static inline bool vapic_accepts(const struct vapic *a)
{
    uint32_t on = VAPIC_BASE_ENABLE | VAPIC_SVR_ENABLE;
    return (atomic_load_explicit(&a->mode, memory_order_relaxed) & on) == on;
}
// Whether IRR holds anything at all, merged or only posted (wakes HLT and GUEST_IDLE).
static inline bool vapic_any_pending(const struct vapic *a)
{
    return atomic_load_explicit(&a->posted_words, memory_order_relaxed) ||
           (a->irr[0] | a->irr[1] | a->irr[2] | a->irr[3]);
}

// `vector`, just returned by vapic_deliverable(), is being injected: IRR -> ISR, or straight done
// when its auto-EOI bit is set.
void vapic_accept(struct vapic *a, uint8_t vector);
// The same without vapic_deliverable() before, for the frequent case: one posted vector, nothing in
// IRR, and PPR lets it through. Returns the vector, or -1: it was another case, nothing is
// accepted.
int vapic_take_posted(struct vapic *a);

// Takes over an EOI that the guest did by clearing NoEoiRequired.
void vapic_settle_slow(struct vapic *a);
static inline void vapic_settle(struct vapic *a)
{
    if (a->spared)
        vapic_settle_slow(a);
}

// An edge interrupt that nobody has posted goes straight into service: true if nothing else waits
// and PPR lets it through, else nothing has changed. Owner.
static inline bool vapic_accept_at_once(struct vapic *a, uint8_t vector)
{
    uint32_t word = vector >> 6;
    uint64_t bit = UINT64_C(1) << (vector & 63);

    vapic_settle(a);
    if (vapic_any_pending(a) || !vapic_accepts(a) || (vector & 0xf0) <= (a->ppr & 0xf0))
        return false;
    a->tmr[word] &= ~bit;
    if (!(a->auto_eoi[word] & bit)) {
        a->isr[word] |= bit;
        a->ppr = vector & 0xf0;
    }
    return true;
}

// End of interrupt. Returns -1 if nothing was in service, else the vector, plus
// VAPIC_EOI_WAS_LEVEL.
#define VAPIC_EOI_WAS_LEVEL 0x100
int vapic_eoi(struct vapic *a);

// The same where nobody has to be told and nothing is pending that it might let through: the
// vector, edge triggered, or -1: it is another case, nothing has changed.
int vapic_eoi_at_once(struct vapic *a);

// Vectors of auto-EOI SINTs; from struct synic.
void vapic_set_auto_eoi(struct vapic *a, const uint64_t mask[VAPIC_WORDS]);

// ---- EOI assist (TLFS: EOI Assist) -----------------------------------------------------------

// The word of the guest's that NoEoiRequired is in (HV_APIC_ASSIST_NO_EOI_REQUIRED), which stays
// mapped and may be changed by the guest at any time; NULL: none any more.
void vapic_set_assist(struct vapic *a, _Atomic uint32_t *word);

// Whether nobody need be told of the EOI of a vector that is the highest in service: it is edge
// triggered, and nothing else is pending. Settled state.
static inline bool vapic_skippable_eoi(const struct vapic *a, uint32_t vector)
{
    uint64_t bit = UINT64_C(1) << (vector & 63);

    return (a->isr[vector >> 6] & ~a->tmr[vector >> 6] & bit) && !vapic_any_pending(a);
}

// The highest vector in service, or -1.
int vapic_in_service(struct vapic *a);

// Sets NoEoiRequired for `vector`, which vapic_skippable_eoi() is true of. Without a word nothing
// happens.
static inline void vapic_spare_eoi(struct vapic *a, uint32_t vector)
{
    if (!a->assist)
        return;
    if (!a->spared)
        atomic_store_explicit(a->assist, HV_APIC_ASSIST_NO_EOI_REQUIRED, memory_order_relaxed);
    a->spared = (uint8_t)vector;
}

// Takes NoEoiRequired back, so that the guest's EOI is an exit again.
static inline void vapic_demand_eoi(struct vapic *a)
{
    if (!a->spared)
        return;
    a->spared = 0;
    atomic_store_explicit(a->assist, 0, memory_order_relaxed);
}

// ---- local interrupt sources -----------------------------------------------------------------

// A LINT, thermal or perf source fires (or a parent asserts LINT0/1). Returns the delivery mode the
// caller must carry out (VAPIC_SMI, NMI, INIT, EXTINT), or VAPIC_FIXED: done here, or -1: masked.
// A hardware-disabled APIC passes LINT0 as EXTINT and LINT1 as NMI (SDM 3A "Local APIC Status").
int vapic_local(struct vapic *a, enum vapic_lvt source);

// Whether an 8259's INTR reaches the processor: APIC hardware disabled or LINT0 unmasked ExtINT.
bool vapic_accepts_extint(const struct vapic *a);

// ---- destinations ----------------------------------------------------------------------------

// Whether `a` is addressed. `dest`: an APIC id, a logical id of the form the target's mode uses, or
// VAPIC_BROADCAST. A hardware-disabled APIC is never addressed. Any LP.
bool vapic_match(const struct vapic *a, uint32_t dest, bool logical);
// 8-bit destination (xAPIC ICR, I/O APIC, MSI without extension) to the form above.
static inline uint32_t vapic_dest8(uint8_t dest)
{
    return dest == 0xff ? VAPIC_BROADCAST : dest;
}
// Lowest-priority arbitration over the matching APICs: true if `candidate` beats `best` (lower task
// priority class). Ties keep `best`: start the scan at a place that rotates (vector mod VP count).
// Any LP.
bool vapic_lower_priority(const struct vapic *candidate, const struct vapic *best);

// ---- timer -----------------------------------------------------------------------------------

// Guest TSC at which vapic_timer_expire() has something to do, or VAPIC_NO_DEADLINE. O(1).
static inline uint64_t vapic_timer_deadline(const struct vapic *a)
{
    return (a->lvt[VAPIC_TIMER] & VAPIC_LVT_MASKED) ? VAPIC_NO_DEADLINE : a->timer_expiry;
}
// Whether vapic_timer_expire() can have anything to do, masked or not.
static inline bool vapic_timer_runs(const struct vapic *a)
{
    return a->timer_expiry != VAPIC_NO_DEADLINE;
}
// If the deadline has passed: set the LVT vector in IRR and rearm (periodic: on the grid of the
// first period, missed periods collapse into one interrupt). True if a vector was set.
bool vapic_timer_expire(struct vapic *a, uint64_t now);
// The guest's TSC reads `to` where it read `from`. A count goes on with what is left of it; a
// deadline stays the TSC that it is (SDM 3A "TSC-Deadline Mode").
void vapic_timer_tsc_moved(struct vapic *a, uint64_t from, uint64_t to);
