// SPDX-License-Identifier: BSD-2-Clause-Patent
// Logical processors. struct lp lies at the start of its LP's area, so it is found by masking the
// stack pointer: no GS, no TR, even while the guest's are loaded.
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "corbel/layout.h"
#include "corbel/sched.h"
#include "corbel/spinlock.h"
#include "corbel/tlb.h"

struct vp;
struct partition;

// Work that others ask of an LP; it is done at the next exit, which the sender's IPI causes.
enum lp_request {
    LP_REQUEST_RESCHEDULE = 1u << 0, // something runnable may be better than what runs
    LP_REQUEST_FLUSH = 1u << 1,      // drop second-level translations of the running VP
    LP_REQUEST_STOP = 1u << 2,       // panic elsewhere: stop for good
    LP_REQUEST_LOOK = 1u << 3        // the running VP has work: the exit itself is the point
};

#define LP_LAST_EXITS 16u
#define LP_MAX        256u

struct lp_exit_record {
    uint64_t reason;
    uint64_t rip;
};

// A page of code where a VP's instructions exited, mapped in one of this LP's windows.
#define LP_CODE_PAGES 32u
struct lp_code_page {
    const struct vp *vp;
    uint64_t cr3;
    uint64_t linear;
    const uint8_t *bytes;
};

// The page-table entries by which one of them was found, in windows of their own, in long mode:
// while they hold the same values, a walk would find it again.
#define LP_TRAILS       4u
#define LP_TRAIL_LEVELS 5u
struct lp_trail {
    const struct lp_code_page *page;
    uint32_t cpl;
    uint32_t levels; // 0: nothing is remembered
    const volatile uint64_t *entry[LP_TRAIL_LEVELS];
    uint64_t value[LP_TRAIL_LEVELS];
};

struct lp {
    uint64_t accepted[4]; // interrupts let in by a window: the stub records, its end distributes
    uint64_t host_rsp;    // at exits (Intel); see vmx/run.S
    struct vp *vp;        // whose registers are loaded; NULL: nobody's
    uint32_t index;
    uint32_t apic_id;
    uint32_t exit_cursor; // next of last_exits
    bool x2apic;          // mode of the physical APIC, follows the root VP's
    bool host_loaded;     // VMLOAD state is the host's (AMD); see svm/run.S
    bool present;         // launched for good
    bool launching;       // the first entry is on trial: it may fail without a panic
    bool entry_failed;
    struct lp_exit_record last_exits[LP_LAST_EXITS];

    _Atomic uint32_t requests;  // enum lp_request
    _Atomic uint64_t flush_ack; // counts flush requests served

    struct sched_lp sched;
    struct vp *root_vp; // the root VP pinned here
    uint32_t root_vp_index;
    // Whom the running VP, about to leave, has sent an interrupt (lp_leave_to) or lent the LP
    // (lp_lend).
    struct vp *heir;
    uint8_t heir_vector;

    uint64_t in_service[4]; // device vectors whose physical EOI is owed
    uint64_t eoi_done[4];   // of those: EOI'd by the root, or edge triggered
    bool nmi_seen;
    bool ends_slices;  // by a timer of the backend: the APIC's is for virtual timers alone (Intel)
    bool nmi_any_time; // NMIs are not held back while the hypervisor runs (Intel)
    bool extint_held;  // LINT0 is masked until the root VP can take an ExtINT

    uint64_t *window_pte; // page-table entries of this LP's windows
    uint64_t window_spa[HV_WINDOW_SLOTS];
    struct lp_code_page code[LP_CODE_PAGES]; // corbel/guestmem.h
    struct lp_trail trails[LP_TRAILS];

    uint64_t timer_programmed;              // TSC for which the physical timer is set; ~0: off
    uint64_t idle_tsc;                      // TSC spent idle
    const struct partition *last_partition; // whose VP ran here last; NULL: not known
    struct vp *fpu_owner;                   // whose x87/SSE/AVX state is in the registers
    uint64_t xcr0;                          // in the processor now
    bool fpu_extended;                      // more than x87 and SSE may be in use

    // Vendor backend.
    uint64_t hsave_pa; // host save area; the VMXON region on Intel
    uint64_t host_state_pa;
    // Whose VMLOAD state is in the registers, newer than in memory; whose VMCS is current on Intel.
    struct vp *guest_loaded;
    struct tlb_lp tlb;
    // The last software interrupt or exception injected: as asked for, the RIP of its instruction,
    // the RIP of the entry, and exit_cursor at the exit that follows.
    uint64_t soft_event;
    uint64_t soft_rip;
    uint64_t soft_entry_rip;
    uint32_t soft_exit;
    uint64_t tsc_multiplier; // of whatever runs as a guest here (AMD); 0: none

    // Descriptor tables of this LP (arch/x86/idt.c).
    uint64_t gdt[8];
    uint8_t tss[104];
};
static_assert(sizeof(struct lp) <= LP_AREA_DATA_PAGES * PAGE_SIZE, "LP data pages");

static inline struct lp *lp_of(uint32_t index)
{
    return (struct lp *)(HV_LP_BASE + index * HV_LP_AREA_SIZE);
}

// The LP that runs this code.
static inline struct lp *this_lp(void)
{
    uint64_t sp;
    __asm__("mov %%rsp, %0" : "=r"(sp));
    return (struct lp *)(sp & ~(HV_LP_AREA_SIZE - 1));
}

extern uint32_t lp_count; // LPs that take part; constant after launch
// Root VPs that the root has. Those of the other LPs are the firmware's, until it has gone: the
// root does not know of them (CPU resource controls: "Minroot"). Constant after launch.
extern uint32_t root_vp_count;
// The LP to which the root VP is bound. `index` is below lp_count.
struct lp *lp_of_root_vp(uint32_t index);

// Asks another LP (or this one) for work and makes sure that it comes to it soon.
void lp_request(struct lp *lp, uint32_t request);

// Serves what others asked of this LP. Also called while it waits for others, so that two LPs that
// wait for each other both get on.
void lp_serve_requests(struct lp *lp);

// Timers that are due, requests, and whether the running VP has to give way; after an interrupt.
void lp_after_interrupt(struct lp *lp);

// Sets the physical timer for the earliest of the virtual timers and, where the backend has no
// other for it, the end of the time slice.
void lp_program_timer(struct lp *lp);
// Waits until no LP is signalling the VP because of its timer. Whoever does afterwards sees that it
// may not run, if it may not now.
void lp_await_timers(const struct vp *vp);

// An idle LP that could take the VP, which waits at `home`, is told to look for it, if there is
// one. If there is none, one with a reserve goes away from a root VP that runs (sched_elsewhere).
void lp_wake_idle(struct sched_lp *home, struct sched_vp *vp);

extern uint64_t tsc_hz;

// Prepares the queues of `count` LPs, whose APIC ids are known; once, before the first launch.
// `wanted`: see scheduler_init (corbel/scheduler.h).
void lp_init_scheduling(uint32_t count, uint32_t wanted);
// The LP with the fewest VPs of a bit set (NULL: of all), for a new one.
struct lp *lp_least_loaded(const uint64_t *lps);

// Sends an edge interrupt from the running VP, which is about to leave, to another. To the root VP
// of this LP, halted, the LP is left with it, past the queue and the posted interrupts.
void lp_leave_to(struct lp *lp, struct vp *vp, uint8_t vector);

// The running VP, a root VP, has made `vp` runnable and most likely waits for it: `vp` is to run
// next, before the root VP goes on. True: the backend has to leave to it (lp->heir). False: it has
// to be woken, since it is at home elsewhere, others wait for the LP, or the root VP has more to
// do. The caller keeps `vp` alive until this returns.
bool lp_lend(struct lp *lp, struct vp *vp);

// `vp`, whose state has been saved (NULL: none), ends its turn; with `blocked` the caller knows
// that it waits for something. Returns the VP whose turn it is now, NULL if there is none. The
// caller, the backend, loads its state and calls lp_begin_turn(). Owner.
struct vp *lp_switch(struct lp *lp, struct vp *vp, bool blocked);
// Whether the VP, whose state is in the registers now, may run. If so it is prepared (vp_prepare);
// if not, its turn is over.
bool lp_begin_turn(struct lp *lp, struct vp *vp);

// The scheduling loop of an LP. Never returns.
_Noreturn void lp_loop(void);
