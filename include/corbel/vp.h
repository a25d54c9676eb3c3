// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual processors (TLFS: Virtual Processors). What a VP has once is in struct vp; what it has
// per VTL is in struct vtl_context. One LP at a time owns a VP: the one that runs it, or whoever
// stopped it with vp_stop. Others reach it by atomics only: posted interrupts, `work` and
// `suspend`.
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "corbel/dispatch_vp.h"
#include "corbel/exits.h"
#include "corbel/flush.h"
#include "corbel/layout.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/sched.h"
#include "corbel/spinlock.h"
#include "corbel/state_page.h"
#include "corbel/stimer.h"
#include "corbel/synic.h"
#include "corbel/unhalted.h"
#include "corbel/vapic.h"
#include "corbel/x86.h"
#include "hv/message.h"
#include "hv/msr.h"
#include "hv/registers.h"

struct lp;

// General registers in the order of the TLFS register names and of instruction encodings.
enum gpr {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    GPR_COUNT
};

// What has to be looked at before the next entry (atomic, any LP sets bits).
enum vp_work {
    VP_WORK_INTERRUPT = 1u << 0, // posted vectors, a changed APIC, an event to inject
    VP_WORK_NMI = 1u << 1,
    VP_WORK_INIT = 1u << 2,
    VP_WORK_SIPI = 1u << 3,
    VP_WORK_FLUSH = 1u << 4,   // all guest translations of this VP
    VP_WORK_LEAVE = 1u << 5,   // give up the LP: stopped, rescheduled
    VP_WORK_MESSAGE = 1u << 6, // SynIC message slots to rescan
    VP_WORK_TIMER = 1u << 7,   // a virtual timer is due
    VP_WORK_EXTINT = 1u << 8,
    VP_WORK_START = 1u << 9,        // HvCallStartVirtualProcessor context waits
    VP_WORK_RELOAD = 1u << 10,      // the backend has to make the guest's state resident again
    VP_WORK_FLUSH_PAGES = 1u << 11, // those of struct vp.flush
    VP_WORK_UNHALTED = 1u << 12     // the time-unhalted timer waits for the end of a halt
};
#define VP_WORK_FLUSHES (VP_WORK_FLUSH | VP_WORK_FLUSH_PAGES)

// Why a VP does not run; it is runnable when none is set (TLFS: HvRegisterExplicitSuspend etc.).
enum vp_suspend {
    VP_SUSPEND_EXPLICIT = 1u << 0,
    VP_SUSPEND_INTERCEPT = 1u << 1,
    VP_SUSPEND_STARTUP = 1u << 2, // wait for SIPI
    VP_SUSPEND_HALT = 1u << 3,
    VP_SUSPEND_STOPPED = 1u << 4, // vp_stop
    VP_SUSPEND_DEAD = 1u << 5,    // triple fault without a parent's answer, or being deleted
    VP_SUSPEND_IDLE = 1u << 6,    // HV_X64_MSR_GUEST_IDLE: a masked interrupt ends it too
    // A root VP inside HvCallDispatchVp: it goes on when it has its LP back (corbel/dispatch_vp.h).
    VP_SUSPEND_DISPATCH = 1u << 7,
    VP_SUSPEND_UNDISPATCHED = 1u << 8 // HV_REGISTER_DISPATCH_SUSPEND
};
// Those that an event ends, and those that do not keep a VP from looking at its signals.
#define VP_SUSPEND_WAITS ((uint32_t)(VP_SUSPEND_HALT | VP_SUSPEND_IDLE))
#define VP_SUSPEND_SIGNALED                                                                        \
    ((uint32_t)(VP_SUSPEND_WAITS | VP_SUSPEND_STARTUP | VP_SUSPEND_DISPATCH))

struct vtl_context {
    struct vapic apic;
    struct synic synic;
    struct stimers stimers;
    struct gpa_overlay sim_overlay;
    struct gpa_overlay sief_overlay;
    struct overlay_msr assist; // HV_X64_MSR_VP_ASSIST_PAGE
    struct overlay_msr ring;   // HV_X64_MSR_SIRBP; no page: no such register (children)
};

struct vp {
    // Hot: touched at every exit.
    uint64_t gpr[GPR_COUNT];
    uint64_t rip;
    uint64_t rflags;
    void *hw; // vendor state (VMCB)
    uint64_t hw_pa;
    struct partition *partition;
    struct vtl_context *active;
    _Atomic uint32_t work;
    _Atomic uint32_t suspend;
    uint32_t index;
    uint32_t apic_id;
    uint64_t shadow; // 1: interrupts are held back after STI or MOV SS

    uint64_t pending_interruption; // HV_PENDING_INTERRUPTION_*: to inject at the next entry
    uint64_t exception_parameter;  // CR2 or DR6 that goes with it
    bool nmi_masked;               // between an injected NMI and its IRET
    bool nmi_step;                 // that IRET has been seen and not yet passed, it is at:
    uint64_t nmi_iret_rip;
    bool hypercall_retry; // re-executing a call (continuation)
    bool monitors;        // looks at its partition's monitor pages (VP 0)
    uint32_t sipi_vector;
    uint32_t spun_for;            // VP that vp_spin() helped last
    uint32_t windows;             // interrupt window in 7:0, TPR window in 15:8, as last asked for
    _Atomic uint32_t nmi_pending; // set before VP_WORK_NMI is signalled
    _Atomic uint32_t extint_any;  // bit n: extint[n] is not 0
    _Atomic uint32_t extint[8];   // bitmap of ExtINT vectors accepted from the 8259 (root only)

    struct sched_vp sched;
    struct spinlock access; // one stopper at a time
    struct spinlock flush_lock;
    struct flush_list flush; // under flush_lock; goes with VP_WORK_FLUSH_PAGES
    uint64_t timer_deadline; // TSC; earliest of the virtual APIC timer and the stimers
    uint64_t runtime_tsc;    // TSC run so far, up to entered_tsc
    uint64_t entered_tsc;

    // What the processor fetched of an instruction whose data access exited, a count and up to 15
    // bytes; count 0 after other exits. NULL: it does not tell.
    const uint8_t *fetched;

    // Guest state that the processor keeps in registers of its own while the VP runs.
    uint64_t xcr0;
    uint64_t xcr0_seen; // components that may not be in their initial state
    uint64_t dr[4];
    uint64_t tsc_aux;
    uint8_t *xsave;  // one page from the partition's pool
    uint32_t fpu_lp; // LP whose registers mirror it, or ~0
    struct tlb_vp tlb;
    uint64_t flush_generation; // gpa generation its translations are known good for
    uint64_t mtrr_def_type;
    uint64_t npiep;       // HV_X64_MSR_NPIEP_CONFIG
    uint64_t *msr_values; // children: MTRRs and other MSRs kept in memory (one page, cold)
    struct unhalted_timer unhalted;

    struct synic_message_node message_node;
    struct synic *message_synic;        // where message_node was last queued, or NULL
    uint8_t message[240];               // payload of the intercept message, built and queued here
    struct synic_message_node eoi_node; // HvMessageTypeX64ApicEoi, one under way at a time
    struct synic *eoi_synic;            // where eoi_node was last queued, or NULL
    struct hv_x64_apic_eoi_message eoi_message;
    uint64_t eoi_pending[4]; // vectors whose EOI message has yet to be sent

    struct dispatch dispatch;     // root VPs
    struct dispatched dispatched; // children's
    struct state_page state_pages[STATE_PAGES];

    uint64_t counters[VP_COUNTER_COUNT];
    uint32_t *hypercall_counters;               // one page, by table row
    struct vtl_context *vtl[2];                 // one page; [1] is NULL until VSM
    struct hv_initial_vp_context start_context; // for VP_WORK_START
};
static_assert(sizeof(struct vp) <= PAGE_SIZE, "a VP is one page");
static_assert(sizeof(struct vtl_context) <= PAGE_SIZE, "a VTL context is one page");

// TLFS: HvCallCreateVp. The VP is in architectural reset state and explicitly suspended. Errors:
// INVALID_VP_INDEX, INSUFFICIENT_MEMORY (nothing changed). Caller holds the partition's lock.
uint16_t vp_create(struct partition *p, uint32_t index, struct vp **created);

// Frees a VP that is stopped for good (vp_stop succeeded). Caller holds the partition's lock.
void vp_destroy(struct vp *vp);

// Takes the VP off its LP and keeps it off, so that the caller may read and write its state.
// Returns false when it could not be had now: the caller retries by continuation (HV_STATUS_RETRY)
// so that its own LP stays responsive. The calling VP may stop itself only trivially (true at
// once).
bool vp_stop(struct vp *vp);
void vp_resume(struct vp *vp);
// The same; if that lets the VP run it may be lent this LP at once (lp_lend).
void vp_resume_next(struct vp *vp);

// Whether what has been signalled to the VP ends these reasons for its suspension. Any LP.
bool vp_wakes(const struct vp *vp, uint32_t suspend);

// Whether the VP may not run whatever has been signalled to it. Any LP.
static inline bool vp_stopped(const struct vp *vp)
{
    return atomic_load(&vp->suspend) & ~VP_SUSPEND_SIGNALED;
}

// Whether nothing keeps the VP from running, given what has been signalled to it. Any LP.
static inline bool vp_runnable(const struct vp *vp)
{
    uint32_t suspend = atomic_load(&vp->suspend);

    if (suspend & ~VP_SUSPEND_SIGNALED)
        return false;
    return suspend == 0 || vp_wakes(vp, suspend);
}
// Queues a runnable VP if it was blocked, kicks it if it runs elsewhere.
void vp_wake(struct vp *vp);

// Sets work bits from any LP and makes the VP look at them soon: kicks its LP or wakes it.
void vp_signal(struct vp *vp, uint32_t work);

// Sets or clears suspend reasons. Setting on a running VP takes effect at its next exit, which is
// forced.
void vp_suspend(struct vp *vp, uint32_t reasons);
void vp_unsuspend(struct vp *vp, uint32_t reasons);

// Posts the vectors that SynIC functions report.
void vp_post_signals(struct vp *vp, const struct synic_signals *signals);

// Delivers a fixed interrupt to a VP from any LP (edge or level).
void vp_post_interrupt(struct vp *vp, uint32_t vector, bool level);

// Whether there is an event to inject or to wait for (the LP that runs the VP asks).
static inline bool vp_event_pending(const struct vp *vp, const struct lp *lp)
{
    return (vp->pending_interruption & HV_PENDING_INTERRUPTION_PENDING) ||
           atomic_load_explicit(&vp->nmi_pending, memory_order_relaxed) ||
           atomic_load_explicit(&vp->extint_any, memory_order_relaxed) ||
           vapic_any_pending(&vp->active->apic) || (lp->extint_held && vp == lp->root_vp);
}

// Whether a VP would find nothing to do but to go on: no work, no event, and no intercept's message
// in its slot, which a root VP may be about to look at. Owner LP.
static inline bool vp_nothing_waits(const struct vp *vp, const struct lp *lp)
{
    return !atomic_load_explicit(&vp->work, memory_order_relaxed) && !vp_event_pending(vp, lp) &&
           !synic_message_waits(&vp->active->synic, HV_SYNIC_INTERCEPTION_SINT);
}

// Before each entry: does `work`, chooses what to inject. Returns false when the VP must not run
// now.
bool vp_prepare(struct vp *vp);

// An interrupt that only the caller knows of, in place of vp_prepare(), for a VP that is runnable
// or halted: true if nothing else has been signalled to the VP and it takes the interrupt at once;
// else nothing has changed. Owner LP.
bool vp_take_at_once(struct lp *lp, struct vp *vp, uint8_t vector);

// Queues an exception for injection, promoting to #DF as SDM 3A 6.15 says. Owner LP only.
void vp_inject_exception(struct vp *vp, uint32_t vector, bool has_error, uint32_t error,
                         uint64_t parameter);
static inline void vp_inject_gp(struct vp *vp)
{
    vp_inject_exception(vp, 13, true, 0, 0);
}
static inline void vp_inject_ud(struct vp *vp)
{
    vp_inject_exception(vp, 6, false, 0, 0);
}

// Drops guest translations of a VP that is current or stopped, now.
void vp_flush_drop(struct vp *vp, const struct flush_list *list);
// Makes a VP drop them before it enters its guest again; the LP that runs it is interrupted. Any
// LP.
void vp_flush_note(struct vp *vp, const struct flush_list *list);
// Drops what VP_WORK_FLUSHES of `work` say. Owner LP.
void vp_flush_serve(struct vp *vp, uint32_t work);
// Whether a VP still may use translations that it has been told to drop. It clears the bits on its
// way back into the guest, and only a VP that runs can be in the guest. Any LP.
static inline bool vp_flush_lingers(const struct vp *vp)
{
    return (atomic_load(&vp->work) & VP_WORK_FLUSHES) && sched_runs(&vp->sched);
}

// The VP spins for a lock: gives its LP to a VP of its partition that waits for one, which may be
// the lock's holder, else to whoever waits for this LP. Each gets its turn (TLFS: Guest Spinlocks).
// Owner LP.
void vp_spin(struct vp *vp);

// Recomputes the earliest virtual timer and tells the LP's timer queue. Owner LP only.
void vp_update_timer(struct vp *vp);

// Run time in 100 ns (TLFS: Virtual Processor Run Time Register). Owner LP or stopped.
uint64_t vp_runtime(const struct vp *vp);

// Carries out what a virtual APIC access asked for (IPI, timer, EOI of a level vector, mirroring).
void vp_apic_action(struct vp *vp, const struct vapic_action *action);
void vp_send_ipi(struct vp *source, const struct vapic_ipi *ipi);

// The APIC's EOI register, in its x2APIC form and the synthetic one (TLFS: EOI).
#define MSR_X2APIC_EOI 0x80bu
static inline bool vp_is_eoi(uint32_t msr)
{
    return msr == HV_X64_MSR_EOI || msr == MSR_X2APIC_EOI;
}

// A write of `value` to one of them, by a child, if all that it asks for can be done without the
// VP's neutral state. False: it is another case, nothing has changed. Owner LP.
bool vp_eoi_at_once(struct vp *vp, uint32_t msr, uint64_t value);

// A single-step trap came while an NMI waits behind an IRET: true if it was ours and is consumed.
bool vp_step_done(struct vp *vp);

// What RDTSC returns to the VP now.
static inline uint64_t vp_tsc(const struct vp *vp)
{
    return partition_tsc(vp->partition, rdtsc());
}
