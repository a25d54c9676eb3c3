// SPDX-License-Identifier: BSD-2-Clause-Patent
// Logical processors: the scheduling loop, requests between LPs, idling.
#include "corbel/lp.h"

#include "corbel/cores.h"
#include "corbel/guestmem.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp_offsets.h"
#include "corbel/partition.h"
#include "corbel/scheduler.h"
#include "corbel/trace.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "hv/call_system.h"

#define SLICES_PER_SECOND 500u
#define LOANS_PER_SLICE   20u // so long a loan lasts at most

static_assert(offsetof(struct lp, accepted) == LP_ACCEPTED, "stubs.S");
static_assert(offsetof(struct lp, host_rsp) == LP_HOST_RSP, "run.S");

uint32_t lp_count;
uint32_t root_vp_count;
uint64_t tsc_hz;
static struct sched_policy policy;
static struct sched_machine machine;
static uint64_t loan; // TSC ticks
static struct sched_lp *sched_lps[LP_MAX];
static struct sched_place places[LP_MAX];

static struct vp *vp_of(struct sched_vp *s)
{
    return (struct vp *)((uint8_t *)s - offsetof(struct vp, sched));
}

void lp_request(struct lp *lp, uint32_t request)
{
    if (lp == this_lp()) {
        if (request & ~(uint32_t)LP_REQUEST_RESCHEDULE)
            atomic_fetch_or(&lp->requests, request);
        if (lp->vp)
            atomic_fetch_or(&lp->vp->work, VP_WORK_LEAVE);
        return;
    }
    if ((atomic_fetch_or(&lp->requests, request) & request) != request)
        lapic_kick(lp);
}

static void ask_for_help(const struct sched_lp *idle)
{
    if (idle)
        lp_request(lp_of(idle->index), LP_REQUEST_RESCHEDULE);
}

void lp_wake_idle(struct sched_lp *home, struct sched_vp *vp)
{
    struct sched_lp *idle;

    if (lp_count == 1)
        return;
    idle = sched_idle_near(&machine, home, vp);
    if (!idle && vp->entity.reserve)
        idle = sched_elsewhere(&machine, home, vp, rdtsc());
    ask_for_help(idle);
}

void lp_serve_requests(struct lp *lp)
{
    uint32_t requests = atomic_exchange(&lp->requests, 0);

    if (requests & LP_REQUEST_STOP)
        for (;;)
            __asm__ volatile("cli; hlt");
    if (requests & LP_REQUEST_FLUSH) {
        guest_forget_code(lp);
        write_cr3(read_cr3());
        if (lp->vp)
            vcpu->flush_gpa(lp->vp);
        atomic_fetch_add(&lp->flush_ack, 1);
    }
    if ((requests & LP_REQUEST_RESCHEDULE) && lp->vp)
        atomic_fetch_or(&lp->vp->work, VP_WORK_LEAVE);
}

static inline void program_timer(struct lp *lp, const struct sched_vp *running)
{
    uint64_t deadline = sched_timer_first(&lp->sched);

    if (running && running->slice_end < deadline && !lp->ends_slices)
        deadline = running->slice_end;
    lapic_timer(lp, deadline);
}

void lp_program_timer(struct lp *lp)
{
    program_timer(lp, lp->sched.running);
}

static void run_timers(struct lp *lp, uint64_t now)
{
    struct sched_vp *due;

    while ((due = sched_timer_pop(&lp->sched, now)) != NULL)
        vp_signal(vp_of(due), VP_WORK_TIMER);
}

void lp_await_timers(const struct vp *vp)
{
    for (uint32_t i = 0; i < lp_count; i++)
        while (sched_timer_popped(&lp_of(i)->sched, &vp->sched))
            cpu_relax();
}

static __attribute__((noinline)) void release(struct lp *lp, uint64_t now)
{
    if (cores_in_use)
        cores_look(lp, now);
    else if (sched_release(&lp->sched, now))
        ask_for_help(sched_spare(&lp->sched, &machine));
}

static __attribute__((noinline)) void look(struct lp *lp, uint64_t now)
{
    if (cores_in_use)
        cores_look(lp, now);
    else
        ask_for_help(sched_look(&lp->sched, &machine, now));
}

void lp_after_interrupt(struct lp *lp)
{
    uint64_t now = rdtsc();

    run_timers(lp, now);
    if (sched_must_release(&lp->sched, now))
        release(lp, now);
    if (atomic_load_explicit(&lp->requests, memory_order_relaxed))
        lp_serve_requests(lp);
    if (lp->vp) {
        if (sched_must_look(&lp->sched, now))
            look(lp, now);
        if (sched_must_yield(&lp->sched, now))
            atomic_fetch_or(&lp->vp->work, VP_WORK_LEAVE);
    }
    lp_program_timer(lp);
}

static bool waiting(const struct lp *lp)
{
    return cores_in_use ? cores_waiting(lp) : sched_waiting(&lp->sched);
}

// Announce, look once more, sleep: whoever queues work sees the announcement or is seen.
static void idle(struct lp *lp)
{
    uint64_t before = rdtsc();

    if (trace_on) {
        trace_put(lp, TRACE_NOBODY);
        lp->last_partition = NULL; // so that its return shows
    }
    sched_idle_begin(&machine, &lp->sched);
    lp_program_timer(lp);
    if (!atomic_load(&lp->requests) && !waiting(lp)) {
        lapic_hold_extint(lp);
        vcpu->halt(lp);
        lp_distribute_interrupts(lp);
    }
    sched_idle_end(&machine, &lp->sched);
    lp->idle_tsc += rdtsc() - before;
    lp_after_interrupt(lp);
}

// What it was told before it left was a wish that has come true, or still holds in `suspend` or the
// requests.
static bool prepare(struct lp *lp, struct vp *vp)
{
    uint8_t vector = lp->heir_vector;

    lp->heir_vector = 0;
    if (vector && vp_take_at_once(lp, vp, vector))
        return true;
    if (!vector && !atomic_load(&vp->work) && !atomic_load(&vp->suspend))
        return true;
    if (vector && vapic_post(&vp->active->apic, vector, false))
        atomic_fetch_or(&vp->work, VP_WORK_INTERRUPT);
    atomic_fetch_and_explicit(&vp->work, ~(uint32_t)VP_WORK_LEAVE, memory_order_relaxed);
    return vp_runnable(vp) && vp_prepare(vp);
}

inline bool lp_begin_turn(struct lp *lp, struct vp *vp)
{
    // Ordered after the store of lp->vp: partition_commit either sees this VP here or is seen by
    // its generation.
    uint64_t generation = atomic_load(&vp->partition->gpa.generation);

    if (tlb_behind(&vp->flush_generation, generation)) {
        guest_forget_code(lp);
        vcpu->flush_gpa(vp);
    }
    program_timer(lp, &vp->sched);
    vp->counters[VP_COUNTER_SCHEDULED]++;
    return prepare(lp, vp);
}

void lp_leave_to(struct lp *lp, struct vp *vp, uint8_t vector)
{
    if (vp == lp->root_vp && !lp->heir && lp->vp && lp->vp != vp) {
        lp->heir = vp;
        lp->heir_vector = vector;
    } else {
        vp_post_interrupt(vp, vector, false);
    }
}

bool lp_lend(struct lp *lp, struct vp *vp)
{
    struct vp *self = lp->vp;

    if (self != lp->root_vp || lp->heir || !vp_nothing_waits(self, lp) ||
        !sched_lend(&lp->sched, &vp->sched, rdtsc(), loan))
        return false;
    lp->heir = vp;
    return true;
}

// Who was to inherit the LP and does not is sent its interrupt like anybody else.
static struct sched_vp *successor(struct lp *lp, bool blocked, uint64_t now)
{
    struct vp *heir = lp->heir;
    uint8_t vector = lp->heir_vector;

    if (heir) {
        lp->heir = NULL;
        if (lp->sched.running == &heir->sched) // lent
            return &heir->sched;
        if (blocked && sched_hand_over(&lp->sched, &heir->sched, now))
            return &heir->sched;
        lp->heir_vector = 0;
        vp_post_interrupt(heir, vector, false);
    }
    return cores_in_use ? cores_switch(lp, blocked, now) : sched_switch(&lp->sched, blocked, now);
}

inline struct vp *lp_switch(struct lp *lp, struct vp *vp, bool blocked)
{
    uint64_t now = rdtsc();
    struct vp *before = vp;
    struct sched_vp *next;

    if (vp) {
        blocked = blocked || !vp_runnable(vp);
        vp->runtime_tsc += now - vp->entered_tsc;
    }
    if (atomic_load_explicit(&lp->requests, memory_order_relaxed))
        lp_serve_requests(lp);
    next = successor(lp, blocked, now);
    if (blocked && vp_runnable(vp)) // signalled meanwhile
        vp_wake(vp);
    vp = next ? vp_of(next) : NULL;
    // vp_destroy() waits for this, and what lp_begin_turn() reads comes behind it: see vp_stop().
    __atomic_store_n(&lp->vp, vp, __ATOMIC_SEQ_CST);
    if (vp)
        vp->entered_tsc = now;
    // What was signalled while the lender still ran has woken nobody.
    if (before && lp->sched.lender == &before->sched && atomic_load(&before->work))
        vp_wake(before);
    return vp;
}

static bool pull(struct lp *lp)
{
    return cores_in_use ? cores_pull(lp) : sched_pull(&lp->sched, &machine);
}

void lp_loop(void)
{
    struct lp *lp = this_lp();

    for (;;)
        if (!vcpu->run(lp) && !pull(lp))
            idle(lp);
}

void lp_init_scheduling(uint32_t count, uint32_t wanted)
{
    uint32_t threads;

    lp_count = count;
    for (uint32_t i = 0; i < count; i++)
        sched_lps[i] = &lp_of(i)->sched;
    threads = scheduler_init(places, count, wanted);
    loan = tsc_hz / SLICES_PER_SECOND / LOANS_PER_SLICE;
    sched_policy_init(&policy, tsc_hz / SLICES_PER_SECOND);
    sched_machine_init(&machine, sched_lps, places, count, &policy);
    if (scheduler_type() == HV_SCHEDULER_TYPE_CORE_SMT)
        cores_init(sched_lps, threads, places, count, &policy);
}

struct lp *lp_of_root_vp(uint32_t index)
{
    uint32_t i = 0;

    while (i + 1 < lp_count && lp_of(i)->root_vp_index != index)
        i++;
    return lp_of(i);
}

struct lp *lp_least_loaded(const uint64_t *lps)
{
    struct lp *best = NULL;

    for (uint32_t i = 0; i < lp_count; i++)
        if ((!lps || (lps[i / 64] >> (i % 64) & 1)) &&
            (!best || lp_of(i)->sched.assigned <= best->sched.assigned))
            best = lp_of(i);
    return best;
}
