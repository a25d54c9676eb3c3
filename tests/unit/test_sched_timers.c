// SPDX-License-Identifier: BSD-2-Clause-Patent
// The classic scheduler with an LP's loop in a thread of its own, as kernel/lp.c has it. VPs set
// timers and halt; two throw a ball to each other, each throw with an intercept that a root VP
// answers; all move from LP to LP meanwhile. No timer is lost, and no wake-up: the ball stays in
// play.
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "corbel/sched.h"

#define LPS        2
#define PLAYERS    2
#define CHILDREN   (PLAYERS + 2)    // the others set timers
#define VPS        (LPS + CHILDREN) // the first are the LPs' root VPs
#define SECONDS    3
#define PATIENCE   120 // seconds
#define NS         1000000000ull
#define DUE_WITHIN 25000u // ns
#define LOAN       100000u

enum { WORK_TIMER = 1, WORK_EVENT = 2 };

struct vp {
    struct sched_vp sched; // first
    atomic_uint work;
    atomic_bool halted;
    _Atomic uint64_t due; // 0: no timer is set
    _Atomic uint64_t expired;
    atomic_bool asks, answered; // an intercept
};

struct lp {
    struct sched_lp sched; // first
    _Atomic(struct vp *) vp;
    atomic_bool requested; // to come and look
    uint64_t programmed;
    struct vp *heir;
    unsigned seed;
};

static struct lp lps[LPS];
static struct sched_lp *lp_list[LPS];
static struct sched_policy policy;
static struct sched_machine machine;
static struct vp vps[VPS];
static atomic_bool ending, stop;
static _Atomic uint64_t throws;
static _Thread_local struct lp *self;

static uint64_t clock_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static bool runnable(struct vp *vp)
{
    return !atomic_load(&vp->halted) || atomic_load(&vp->work);
}

// Where another LP may come between two steps: it does so oftener than on a machine.
static void meet(void)
{
    if (rand_r(&self->seed) % 8 == 0)
        sched_yield();
}

// ---- waking, as kernel/vp.c ---------------------------------------------------------------------

static void request(struct sched_lp *lp)
{
    if (lp)
        atomic_store(&lps[lp->index].requested, true);
}

static void wake(struct vp *vp)
{
    struct sched_lp *home;

    switch (sched_wake(&vp->sched, &home, clock_now())) {
    case SCHED_WAKE_PREEMPT:
    case SCHED_WAKE_RUNNING:
    case SCHED_WAKE_HELD:
        request(home);
        break;
    case SCHED_WAKE_QUEUED:
        if (!vp->sched.pinned)
            request(sched_idle_near(&machine, home, &vp->sched));
        break;
    case SCHED_WAKE_NONE:
    case SCHED_WAKE_OUTSIDE:
        break;
    }
}

static void signal_vp(struct vp *vp, unsigned work)
{
    meet();
    atomic_fetch_or(&vp->work, work);
    meet();
    if (vp != atomic_load(&self->vp) && runnable(vp))
        wake(vp);
}

// ---- interrupts, as lp_after_interrupt ----------------------------------------------------------

static void program(struct lp *lp)
{
    const struct sched_vp *running = lp->sched.running;
    uint64_t deadline = sched_timer_first(&lp->sched);

    lp->programmed = running && running->slice_end < deadline ? running->slice_end : deadline;
}

// True: the running VP has to leave.
static bool after_interrupt(struct lp *lp)
{
    uint64_t now = clock_now();
    struct sched_vp *due;
    bool leaves;

    while ((due = sched_timer_pop(&lp->sched, now)) != NULL)
        signal_vp((struct vp *)due, WORK_TIMER);
    if (sched_must_release(&lp->sched, now) && sched_release(&lp->sched, now))
        request(sched_spare(&lp->sched, &machine));
    leaves = atomic_exchange(&lp->requested, false);
    if (sched_must_look(&lp->sched, now))
        request(sched_look(&lp->sched, &machine, now));
    leaves = leaves || sched_must_yield(&lp->sched, now);
    program(lp);
    return leaves;
}

static bool interrupted(struct lp *lp)
{
    return atomic_load(&lp->requested) || clock_now() >= lp->programmed;
}

// ---- turns, as lp_switch and vp_prepare ---------------------------------------------------------

static struct sched_vp *successor(struct lp *lp, bool blocked, uint64_t now)
{
    struct vp *heir = lp->heir;

    lp->heir = NULL;
    if (heir && lp->sched.running == &heir->sched) // lent
        return &heir->sched;
    if (heir && blocked && sched_hand_over(&lp->sched, &heir->sched, now)) {
        atomic_fetch_or(&heir->work, WORK_EVENT);
        return &heir->sched;
    }
    if (heir)
        signal_vp(heir, WORK_EVENT);
    return sched_switch(&lp->sched, blocked, now);
}

static struct vp *change(struct lp *lp, struct vp *before, bool blocked)
{
    struct sched_vp *next;

    blocked = before && (blocked || !runnable(before));
    atomic_store(&lp->requested, false);
    meet();
    next = successor(lp, blocked, clock_now());
    meet();
    if (blocked && runnable(before)) // signalled meanwhile
        wake(before);
    atomic_store(&lp->vp, (struct vp *)next);
    if (before && lp->sched.lender == &before->sched && atomic_load(&before->work))
        wake(before);
    meet();
    if (next)
        program(lp);
    return (struct vp *)next;
}

// What has been signalled becomes state. False: the VP halts on.
static bool prepare(struct vp *vp)
{
    uint64_t due = atomic_load(&vp->due);
    unsigned work = atomic_exchange(&vp->work, 0);

    if (work & WORK_TIMER) {
        if (due && clock_now() >= due) {
            atomic_store(&vp->due, 0);
            vp->expired++;
            work |= WORK_EVENT;
        } else if (due) {
            sched_timer_set(&vp->sched, due);
            program(self);
        }
    }
    if (work & WORK_EVENT)
        atomic_store(&vp->halted, false);
    return !atomic_load(&vp->halted);
}

static void set_timer(struct lp *lp, struct vp *vp)
{
    uint64_t due = clock_now() + (uint64_t)rand_r(&lp->seed) % DUE_WITHIN;

    atomic_store(&vp->due, due);
    sched_timer_set(&vp->sched, due);
    if (due < lp->programmed)
        program(lp);
}

static struct vp *child(unsigned i)
{
    return &vps[LPS + i];
}

// A root VP answers whoever asks, and halts or lends its LP to the last.
static void run_root(struct lp *lp, struct vp *vp)
{
    for (unsigned i = 0; i < PLAYERS; i++) {
        if (!atomic_exchange(&child(i)->asks, false))
            continue;
        atomic_store(&child(i)->answered, true);
        if (!lp->heir && !atomic_load(&vp->work) && rand_r(&lp->seed) % 2 &&
            sched_lend(&lp->sched, &child(i)->sched, clock_now(), LOAN)) {
            atomic_fetch_or(&child(i)->work, WORK_EVENT);
            lp->heir = child(i);
            return; // the rest when it has its LP again
        }
        signal_vp(child(i), WORK_EVENT);
    }
    atomic_store(&vp->halted, true);
}

// What a guest does up to its next exit.
static void run_player(struct lp *lp, struct vp *vp)
{
    atomic_store(&vp->halted, true);
    if (!atomic_exchange(&vp->answered, false)) {
        atomic_store(&vp->asks, true);
        lp->heir = &vps[lp->sched.index];
        return;
    }
    atomic_fetch_add(&throws, 1);
    signal_vp(vp == child(0) ? child(1) : child(0), WORK_EVENT);
}

static void run_other(struct lp *lp, struct vp *vp)
{
    if (!atomic_load(&vp->due) && !atomic_load(&ending))
        set_timer(lp, vp);
    if (rand_r(&lp->seed) % 2 || atomic_load(&ending))
        atomic_store(&vp->halted, true);
}

static void run(struct lp *lp, struct vp *vp)
{
    if (vp < child(0))
        run_root(lp, vp);
    else if (vp <= child(PLAYERS - 1))
        run_player(lp, vp);
    else
        run_other(lp, vp);
}

static struct vp *turn(struct lp *lp, struct vp *vp)
{
    bool leaves = false;

    if (interrupted(lp))
        leaves = after_interrupt(lp);
    if (leaves || !prepare(vp))
        return change(lp, vp, false);
    run(lp, vp);
    if (lp->heir)
        return change(lp, vp, false);
    meet();
    return vp;
}

static void idle(struct lp *lp)
{
    sched_idle_begin(&machine, &lp->sched);
    meet();
    program(lp);
    meet();
    if (!sched_waiting(&lp->sched))
        while (!interrupted(lp) && !atomic_load(&stop))
            sched_yield();
    sched_idle_end(&machine, &lp->sched);
    after_interrupt(lp);
}

static void *lp_loop(void *argument)
{
    struct vp *vp = NULL;

    self = argument;
    while (!atomic_load(&stop)) {
        if (!vp)
            vp = change(self, NULL, false);
        if (vp)
            vp = turn(self, vp);
        else if (!sched_pull(&self->sched, &machine))
            idle(self);
    }
    return NULL;
}

// ---- the test -----------------------------------------------------------------------------------

static void setup(void)
{
    for (unsigned i = 0; i < LPS; i++) {
        lp_list[i] = &lps[i].sched;
        lps[i].seed = i + 1;
    }
    sched_policy_init(&policy, NS / 500);
    sched_machine_init(&machine, lp_list, NULL, LPS, &policy);
    for (unsigned i = 0; i < VPS; i++) {
        sched_vp_init(&vps[i].sched, lp_list[i % LPS], i < LPS);
        atomic_store(&vps[i].halted, true);
    }
}

// Whether every timer has come, and the ball has been thrown once more.
static bool complete(uint64_t before)
{
    bool due = false;

    for (unsigned i = PLAYERS; i < CHILDREN; i++)
        due = due || atomic_load(&child(i)->due);
    return !due && atomic_load(&throws) > before + PLAYERS;
}

// Whether each of those that set timers has had some.
static bool enough(void)
{
    for (unsigned i = PLAYERS; i < CHILDREN; i++)
        if (atomic_load(&child(i)->expired) <= 10)
            return false;
    return true;
}

START_TEST(no_timer_and_no_wake_up_is_lost)
{
    static struct lp outside = {.seed = 9}; // nobody's VP runs here
    pthread_t threads[LPS];
    uint64_t end, before;
    bool whole;

    self = &outside;
    for (unsigned i = 0; i < LPS; i++)
        pthread_create(&threads[i], NULL, lp_loop, &lps[i]);
    for (unsigned i = 1; i < CHILDREN; i++)
        signal_vp(child(i), WORK_EVENT);
    nanosleep(&(struct timespec){.tv_sec = SECONDS}, NULL);
    end = clock_now() + PATIENCE * NS;
    while (!enough() && clock_now() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    before = atomic_load(&throws);
    atomic_store(&ending, true);
    end = clock_now() + PATIENCE * NS;
    while (!(whole = complete(before)) && clock_now() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < LPS; i++)
        pthread_join(threads[i], NULL);
    ck_assert(whole && enough());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched_timers");
    TCase *t = tcase_create("classic");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, no_timer_and_no_wake_up_is_lost);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
