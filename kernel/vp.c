// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual processors: life, suspension, signals, and stopping one from elsewhere. What happens
// before an entry is in kernel/deliver.c.
#include "corbel/vp.h"

#include "corbel/controls.h"
#include "corbel/cores.h"
#include "corbel/fpu.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/phys.h"
#include "corbel/scheduler.h"
#include "corbel/vcpu.h"
#include "corbel/vp_offsets.h"
#include "hv/call_system.h"
#include "hv/status.h"

static_assert(offsetof(struct vp, gpr) == (size_t)VP_GPR(0), "run.S");
static_assert(offsetof(struct vp, rip) == VP_RIP, "run.S");
static_assert(offsetof(struct vp, rflags) == VP_RFLAGS, "run.S");
static_assert(offsetof(struct vp, hw) == VP_HW, "run.S");
static_assert(offsetof(struct vp, hw_pa) == VP_HW_PA, "run.S");

#define STOP_MICROSECONDS 50u
#define WAKES_HALT                                                                                 \
    (VP_WORK_INTERRUPT | VP_WORK_NMI | VP_WORK_INIT | VP_WORK_TIMER | VP_WORK_EXTINT |             \
     VP_WORK_MESSAGE | VP_WORK_START)
#define WAKES_STARTUP (VP_WORK_INIT | VP_WORK_SIPI | VP_WORK_START)

static struct lp *lp_of_sched(struct sched_lp *s)
{
    return (struct lp *)((uint8_t *)s - offsetof(struct lp, sched));
}

bool vp_wakes(const struct vp *vp, uint32_t suspend)
{
    uint32_t work = atomic_load(&vp->work);

    suspend &= ~(uint32_t)VP_SUSPEND_DISPATCH;
    if (work & WAKES_STARTUP)
        suspend &= ~VP_SUSPEND_SIGNALED;
    if (work & WAKES_HALT)
        suspend &= ~VP_SUSPEND_WAITS;
    return suspend == 0;
}

// Nothing but interrupts waits for the VP, and they reach it where it runs.
static __attribute__((noinline, cold)) bool notified(struct vp *vp)
{
    return atomic_load(&vp->work) == VP_WORK_INTERRUPT && vcpu->notify(vp);
}

__attribute__((noinline)) void vp_wake(struct vp *vp)
{
    struct sched_lp *home;

    if (cores_in_use) {
        cores_wake(vp);
        return;
    }
    switch (sched_wake(&vp->sched, &home, rdtsc())) {
    case SCHED_WAKE_PREEMPT:
        lp_request(lp_of_sched(home), LP_REQUEST_RESCHEDULE);
        break;
    case SCHED_WAKE_RUNNING:
        if (lp_of_sched(home) != this_lp() && !(vcpu->notify && notified(vp)))
            lp_request(lp_of_sched(home), LP_REQUEST_LOOK);
        break;
    case SCHED_WAKE_QUEUED:
        if (!vp->sched.pinned)
            lp_wake_idle(home, &vp->sched);
        break;
    case SCHED_WAKE_HELD:
        if (lp_of_sched(home) == this_lp())
            lp_program_timer(this_lp());
        else
            lp_request(lp_of_sched(home), LP_REQUEST_LOOK);
        break;
    case SCHED_WAKE_OUTSIDE:
        dispatch_signal(vp);
        break;
    case SCHED_WAKE_NONE:
        break;
    }
}

void vp_signal(struct vp *vp, uint32_t work)
{
    atomic_fetch_or(&vp->work, work);
    if (vp != this_lp()->vp && vp_runnable(vp))
        vp_wake(vp);
}

void vp_suspend(struct vp *vp, uint32_t reasons)
{
    atomic_fetch_or(&vp->suspend, reasons);
    atomic_fetch_or(&vp->work, VP_WORK_LEAVE);
    if (vp != this_lp()->vp && __atomic_load_n(&vp->sched.state, __ATOMIC_RELAXED) == SCHED_RUNNING)
        vp_wake(vp);
}

void vp_unsuspend(struct vp *vp, uint32_t reasons)
{
    atomic_fetch_and(&vp->suspend, ~reasons);
    if (vp != this_lp()->vp && vp_runnable(vp))
        vp_wake(vp);
}

void vp_post_interrupt(struct vp *vp, uint32_t vector, bool level)
{
    if (vapic_post(&vp->active->apic, (uint8_t)vector, level))
        vp_signal(vp, VP_WORK_INTERRUPT);
}

void vp_post_signals(struct vp *vp, const struct synic_signals *signals)
{
    for (uint32_t i = 0; i < signals->count; i++)
        vp_post_interrupt(vp, signals->vector[i], false);
}

// The LP that runs the target answers at its next exit, which the kick causes. It may at the same
// time wait for the VP that runs here: then one of the two gives up and retries.
static bool wait_until_stopped(struct vp *vp)
{
    struct lp *lp = this_lp();
    uint64_t limit = rdtsc() + tsc_hz / 1000000 * STOP_MICROSECONDS;

    vp_suspend(vp, VP_SUSPEND_STOPPED);
    while (sched_runs(&vp->sched)) {
        bool wanted = lp->vp && (atomic_load(&lp->vp->suspend) & VP_SUSPEND_STOPPED);
        if (wanted || rdtsc() > limit) {
            vp_resume(vp);
            return false;
        }
        lp_serve_requests(lp);
        cpu_relax();
    }
    return true;
}

// Either the LP that picks the VP sees that it is suspended, or it is seen here that it runs.
bool vp_stop(struct vp *vp)
{
    if (vp == this_lp()->vp)
        return true;
    if (!spin_trylock(&vp->access))
        return false;
    atomic_fetch_or(&vp->suspend, VP_SUSPEND_STOPPED);
    return !sched_runs(&vp->sched) || wait_until_stopped(vp);
}

void vp_resume(struct vp *vp)
{
    if (vp == this_lp()->vp)
        return;
    spin_unlock(&vp->access);
    vp_unsuspend(vp, VP_SUSPEND_STOPPED);
}

void vp_resume_next(struct vp *vp)
{
    struct lp *lp = this_lp();

    if (vp == lp->vp)
        return;
    spin_unlock(&vp->access);
    atomic_fetch_and(&vp->suspend, ~(uint32_t)VP_SUSPEND_STOPPED);
    if (vp_runnable(vp) && !lp_lend(lp, vp))
        vp_wake(vp);
}

// When the VP will have run long enough if nothing takes it off its LP; whoever comes then looks at
// its run time. A halted VP does not get nearer to it: the end of the halt asks again.
static uint64_t unhalted_deadline(struct vp *vp, uint64_t deadline)
{
    uint64_t next = unhalted_next(&vp->unhalted), ran = vp_runtime(vp), ticks, due;

    if (atomic_load(&vp->suspend) & VP_SUSPEND_WAITS) {
        atomic_fetch_or(&vp->work, VP_WORK_UNHALTED);
        return deadline;
    }
    ticks = time_ticks(next > ran ? next - ran : 0);
    if (__builtin_add_overflow(rdtsc(), ticks, &due))
        return deadline;
    return due < deadline ? due : deadline;
}

static __attribute__((noinline, cold)) uint64_t rare_deadline(struct vp *vp, uint64_t deadline)
{
    uint64_t look = vp->partition->monitor_due;

    if (unhalted_next(&vp->unhalted) != UNHALTED_NEVER)
        deadline = unhalted_deadline(vp, deadline);
    return vp->monitors && look < deadline ? look : deadline;
}

// The LP's TSC when the guest's reads `tsc`; 0 if it has already. The offset may carry the
// difference past either end.
static __attribute__((noinline, cold)) uint64_t moved(const struct partition *p, uint64_t tsc)
{
    uint64_t now = rdtsc(), guest = partition_tsc(p, now), ticks = tsc - guest, due;

    if (tsc <= guest)
        return 0;
    if (p->tsc_ratio.multiplier)
        ticks = tsc_ratio_reach(&p->tsc_ratio, ticks);
    return __builtin_add_overflow(now, ticks, &due) ? SCHED_NO_TIMER : due;
}

static inline uint64_t on_lp(const struct partition *p, uint64_t tsc)
{
    return __builtin_expect((p->tsc_offset | p->tsc_ratio.multiplier) != 0, 0) ? moved(p, tsc)
                                                                               : tsc;
}

void vp_update_timer(struct vp *vp)
{
    struct vtl_context *c = vp->active;
    uint64_t apic = vapic_timer_deadline(&c->apic), stimer = stimer_next(&c->stimers);
    uint64_t deadline = SCHED_NO_TIMER;
    struct lp *lp = this_lp();

    if (apic != VAPIC_NO_DEADLINE)
        deadline = on_lp(vp->partition, apic);
    if (stimer != STIMER_NEVER) {
        uint64_t due = reftime_to_tsc(&vp->partition->reftime, stimer);
        if (due != UINT64_MAX && (due = on_lp(vp->partition, due)) < deadline)
            deadline = due;
    }
    if (__builtin_expect(unhalted_next(&vp->unhalted) != UNHALTED_NEVER || vp->monitors, 0))
        deadline = rare_deadline(vp, deadline);
    sched_timer_set(&vp->sched, deadline);
    if (vp == lp->vp && deadline < lp->timer_programmed)
        lp_program_timer(lp);
}

uint64_t vp_runtime(const struct vp *vp)
{
    uint64_t tsc = vp->runtime_tsc;

    if (this_lp()->vp == vp)
        tsc += rdtsc() - vp->entered_tsc;
    return (uint64_t)(((unsigned __int128)tsc * root_partition->reftime.rate) >> 64);
}

// ---- life ---------------------------------------------------------------------------------------

static void free_pages(struct vp *vp)
{
    struct pool *pool = &vp->partition->pool;
    struct vtl_context *c = vp->vtl[0];

    if (c) {
        if (c->synic.sim)
            pool_free(pool, c->synic.sim);
        if (c->synic.sief)
            pool_free(pool, c->synic.sief);
        if (c->assist.page)
            pool_free(pool, c->assist.page);
        if (c->ring.page)
            pool_free(pool, c->ring.page);
        pool_free(pool, c);
    }
    if (vp->xsave)
        pool_free(pool, vp->xsave);
    if (vp->msr_values)
        pool_free(pool, vp->msr_values);
    if (vp->hypercall_counters)
        pool_free(pool, vp->hypercall_counters);
    pool_free(pool, vp);
}

static bool allocate(struct vp *vp)
{
    struct pool *pool = &vp->partition->pool;
    struct vtl_context *c = pool_alloc(pool);

    vp->vtl[0] = vp->active = c;
    if (!c)
        return false;
    c->synic.sim = pool_alloc(pool);
    c->synic.sief = pool_alloc(pool);
    c->assist.page = pool_alloc(pool);
    if (vp->partition == root_partition && !(c->ring.page = pool_alloc(pool)))
        return false;
    vp->xsave = pool_alloc(pool);
    vp->msr_values = pool_alloc(pool);
    vp->hypercall_counters = pool_alloc(pool);
    return c->synic.sim && c->synic.sief && c->assist.page && vp->xsave && vp->msr_values &&
           vp->hypercall_counters && vcpu->create(vp);
}

static void init_contents(struct vp *vp)
{
    struct vtl_context *c = vp->active;
    uint32_t flags = VAPIC_FLAG_X2APIC;

    if (vp->partition->features.deadline)
        flags |= VAPIC_FLAG_TSC_DEADLINE;
    if (vp->index == 0)
        flags |= VAPIC_FLAG_BSP;
    vapic_init(&c->apic, vp->apic_id, flags, &vp->partition->clock);
    synic_init(&c->synic, c->synic.sim, c->synic.sief);
    stimer_init(&c->stimers, &c->synic,
                vp->partition->synthetic_features & HV_SYNTH_FEATURE_DIRECT_SYNTHETIC_TIMERS);
    unhalted_init(&vp->unhalted);
    fpu_init(vp);
    spin_init(&vp->access);
    spin_init(&vp->flush_lock);
    spin_init(&vp->dispatched.lock);
    tlb_vp_init(&vp->tlb);
    vp->suspend = VP_SUSPEND_EXPLICIT;
    if (vp->index != 0)
        vp->suspend |= VP_SUSPEND_STARTUP;
}

// `home`: of a root VP, the LP that it is bound to.
static bool schedulable(struct vp *vp, struct lp *home)
{
    if (cores_in_use)
        return cores_add(vp);
    sched_vp_init(&vp->sched,
                  home ? &home->sched : &lp_least_loaded(vp->partition->group_lps)->sched, home);
    if (!home && scheduler_type() == HV_SCHEDULER_TYPE_ROOT)
        sched_vp_outside(&vp->sched);
    return true;
}

// Pages that a VP takes, at most, and tables that its overlay pages (SIM, SIEF, assist) and the
// partition's (hypercall, reference TSC) may need later, where they split a large page: the guest
// places them by MSR writes, which cannot ask the parent for memory.
#define VP_PAGES         16u
#define OVERLAY_RESERVED 8u

// NULL: no memory. `home`: a root VP's LP.
static struct vp *make(struct partition *p, uint32_t index, struct lp *home)
{
    struct vp *vp = NULL;

    if (home || p->pool.available >= VP_PAGES + OVERLAY_RESERVED)
        vp = pool_alloc(&p->pool);
    if (!vp)
        return NULL;
    vp->partition = p;
    vp->index = index;
    vp->apic_id = home ? home->apic_id : index;
    if (allocate(vp)) {
        init_contents(vp);
        if (schedulable(vp, home))
            return vp;
    }
    if (vp->hw)
        vcpu->destroy(vp);
    free_pages(vp);
    return NULL;
}

uint16_t vp_create(struct partition *p, uint32_t index, struct vp **created)
{
    struct vp *vp;
    struct lp *home = p == root_partition ? lp_of_root_vp(index) : NULL;

    if (index >= PARTITION_MAX_VPS || p->vps[index])
        return HV_STATUS_INVALID_VP_INDEX;
    if (!controls_admit(p, index))
        return HV_STATUS_OPERATION_DENIED;
    vp = make(p, index, home);
    if (!vp) {
        controls_settle(p);
        return HV_STATUS_INSUFFICIENT_MEMORY;
    }
    if (!home && scheduler_type() != HV_SCHEDULER_TYPE_ROOT)
        controls_apply(vp);
    __atomic_store_n(&p->vps[index], vp, __ATOMIC_SEQ_CST);
    vp->monitors = index == 0 && __atomic_load_n(&p->monitored, __ATOMIC_SEQ_CST);
    p->vp_count++;
    if (index >= p->vp_limit)
        p->vp_limit = index + 1;
    controls_settle(p);
    *created = vp;
    return HV_STATUS_SUCCESS;
}

// Messages and registers of this VP that others still reach go first.
void vp_destroy(struct vp *vp)
{
    struct partition *p = vp->partition;

    if (vp->message_synic)
        synic_cancel(vp->message_synic, &vp->message_node);
    if (vp->dispatched.synic)
        synic_cancel(vp->dispatched.synic, &vp->dispatched.node);
    if (vp->eoi_synic)
        synic_cancel(vp->eoi_synic, &vp->eoi_node);
    lp_await_timers(vp);
    if (cores_in_use)
        cores_remove(vp);
    else
        sched_vp_remove(&vp->sched);
    lp_await_timers(vp);
    for (uint32_t i = 0; i < lp_count; i++) {
        struct lp *lp = lp_of(i);
        struct vp *expected = vp;
        const struct partition *ran = p;
        while (__atomic_load_n(&lp->vp, __ATOMIC_SEQ_CST) == vp) // just leaving
            cpu_relax();
        __atomic_compare_exchange_n(&lp->fpu_owner, &expected, NULL, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        // The next partition may have this one's address.
        __atomic_compare_exchange_n(&lp->last_partition, &ran, NULL, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        for (uint32_t c = 0; c < LP_CODE_PAGES; c++)
            if (__atomic_load_n(&lp->code[c].vp, __ATOMIC_RELAXED) == vp)
                __atomic_store_n(&lp->code[c].vp, NULL, __ATOMIC_RELAXED);
    }
    if (!(atomic_load(&vp->suspend) & VP_SUSPEND_EXPLICIT))
        partition_vp_sleeps(p, true);
    p->vps[vp->index] = NULL;
    p->vp_count--;
    controls_settle(p);
    vcpu->destroy(vp);
    free_pages(vp);
}
