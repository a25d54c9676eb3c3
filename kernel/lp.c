// SPDX-License-Identifier: BSD-2-Clause-Patent
// Logical processors: the scheduling loop, requests between LPs, idling.
#include "corbel/lp.h"

#include "corbel/guestmem.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp_offsets.h"
#include "corbel/partition.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"

#define SLICES_PER_SECOND 100u

static_assert(offsetof(struct lp, accepted) == LP_ACCEPTED, "stubs.S");

uint32_t lp_count;
uint64_t tsc_hz;
static _Atomic uint64_t idle_lps[LP_MAX / 64];
static struct sched_lp *sched_lps[LP_MAX];

static struct vp *vp_of(struct sched_vp *s)
{
    return (struct vp *)((uint8_t *)s - offsetof(struct vp, sched));
}

void lp_request(struct lp *lp, uint32_t request)
{
    uint32_t before = atomic_fetch_or(&lp->requests, request);

    if (lp == this_lp()) {
        if (lp->vp)
            atomic_fetch_or(&lp->vp->work, VP_WORK_LEAVE);
        return;
    }
    if ((before & request) != request)
        lapic_kick(lp);
}

void lp_wake_idle(void)
{
    if (lp_count == 1)
        return;
    for (uint32_t w = 0; w < LP_MAX / 64; w++) {
        uint64_t bits = atomic_load_explicit(&idle_lps[w], memory_order_relaxed);
        if (bits) {
            lp_request(lp_of(w * 64 + (uint32_t)__builtin_ctzl(bits)), LP_REQUEST_RESCHEDULE);
            return;
        }
    }
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

void lp_program_timer(struct lp *lp)
{
    uint64_t deadline = sched_timer_first(&lp->sched);
    const struct sched_vp *running = lp->sched.running;

    if (running && running->slice_end < deadline)
        deadline = running->slice_end;
    lapic_timer(lp, deadline);
}

static void run_timers(struct lp *lp, uint64_t now)
{
    struct sched_vp *due;

    while ((due = sched_timer_pop(&lp->sched, now)) != NULL)
        vp_signal(vp_of(due), VP_WORK_TIMER);
}

void lp_after_interrupt(struct lp *lp)
{
    uint64_t now = rdtsc();

    run_timers(lp, now);
    if (atomic_load_explicit(&lp->requests, memory_order_relaxed))
        lp_serve_requests(lp);
    if (lp->vp) {
        if (sched_must_yield(&lp->sched, now))
            atomic_fetch_or(&lp->vp->work, VP_WORK_LEAVE);
        else if (now >= lp->sched.running->slice_end)
            lp->sched.running->slice_end = now + tsc_hz / SLICES_PER_SECOND;
    }
    lp_program_timer(lp);
}

// Announce, look once more, sleep: whoever queues work sees the announcement or is seen.
static void idle(struct lp *lp)
{
    uint64_t mask = 1ul << (lp->index & 63), before = rdtsc();

    atomic_fetch_or(&idle_lps[lp->index >> 6], mask);
    lp_program_timer(lp);
    if (!atomic_load(&lp->requests) && !__atomic_load_n(&lp->sched.head, __ATOMIC_SEQ_CST)) {
        lapic_hold_extint(lp);
        vcpu->halt(lp);
        lp_distribute_interrupts(lp);
    }
    atomic_fetch_and(&idle_lps[lp->index >> 6], ~mask);
    lp->idle_tsc += rdtsc() - before;
    lp_after_interrupt(lp);
}

// One turn of a VP on this LP.
static void run(struct lp *lp, struct vp *vp)
{
    uint64_t start = rdtsc();
    bool blocked;

    vp->entered_tsc = start;
    __atomic_store_n(&lp->vp, vp, __ATOMIC_SEQ_CST);
    vcpu->load(vp);
    // Ordered after the store: partition_commit either sees this VP here or is seen by its
    // generation.
    uint64_t generation = atomic_load(&vp->partition->gpa.generation);
    if (vp->flush_generation != generation) {
        vp->flush_generation = generation;
        guest_forget_code(lp);
        vcpu->flush_gpa(vp);
    }
    lp_program_timer(lp);
    vp->counters[VP_COUNTER_SCHEDULED]++;
    // An old wish that it leave has come true; reasons that still hold are in `suspend` or the
    // requests.
    atomic_fetch_and(&vp->work, ~(uint32_t)VP_WORK_LEAVE);
    if (vp_prepare(vp))
        vcpu->run(vp);
    vcpu->save(vp);
    vp->runtime_tsc += rdtsc() - start;
    blocked = !vp_runnable(vp);
    sched_put(&lp->sched, blocked, rdtsc());
    if (blocked && vp_runnable(vp)) // signalled meanwhile
        vp_wake(vp);
    // Last: vp_destroy waits for it.
    __atomic_store_n(&lp->vp, NULL, __ATOMIC_SEQ_CST);
}

void lp_loop(void)
{
    struct lp *lp = this_lp();

    for (;;) {
        struct sched_vp *next;
        if (atomic_load_explicit(&lp->requests, memory_order_relaxed))
            lp_serve_requests(lp);
        next = sched_pick(&lp->sched, rdtsc(), tsc_hz / SLICES_PER_SECOND);
        if (next)
            run(lp, vp_of(next));
        else if (!sched_pull(&lp->sched, sched_lps, lp_count))
            idle(lp);
    }
}

void lp_init_scheduling(uint32_t count)
{
    lp_count = count;
    for (uint32_t i = 0; i < count; i++) {
        sched_lps[i] = &lp_of(i)->sched;
        sched_lp_init(sched_lps[i]);
    }
}

// The LP with the fewest VPs, for a new VP.
struct lp *lp_least_loaded(void)
{
    struct lp *best = lp_of(0);

    for (uint32_t i = 1; i < lp_count; i++)
        if (lp_of(i)->sched.assigned <= best->sched.assigned)
            best = lp_of(i);
    return best;
}
