// SPDX-License-Identifier: BSD-2-Clause-Patent
// The core scheduler with an LP's loop in a thread of its own: kicks come late and decisions meet,
// as on a machine. Each LP looks itself whether another team is on its core.
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "corbel/sched_core.h"

#define CORES   2
#define THREADS 2
#define LPS     (CORES * THREADS)
#define TEAMS   8 // the first are the cores' root VPs
#define NOBODY  (-1)
#define SECONDS 2
#define NS      1000000000ull

static struct sched_lp lps[LPS];
static struct sched_lp *lp_list[LPS], *queues[CORES];
static struct sched_core array[CORES];
static struct sched_policy policy;
static struct sched_machine machine;
static struct sched_cores cores;
static struct sched_team teams[TEAMS];
static struct sched_vp vps[TEAMS][THREADS];

static atomic_bool kicked[LPS], runnable[TEAMS][THREADS], stop;
static _Atomic int on[LPS]; // team whose VP an LP runs
static _Atomic uint64_t ran[TEAMS], shared;

static uint64_t clock_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static void send(const struct sched_kick *kick)
{
    for (uint32_t t = 0; kick->core && t < THREADS; t++)
        if (kick->threads >> t & 1)
            atomic_store(&kicked[kick->core->first + t], true);
}

static void wake(int team, uint32_t thread)
{
    struct sched_kick kick;

    atomic_store(&runnable[team][thread], true);
    sched_core_wake(&cores, &vps[team][thread], &kick, clock_now());
    send(&kick);
}

static void wake_any(unsigned *seed)
{
    wake(rand_r(seed) % TEAMS, (uint32_t)rand_r(seed) % THREADS);
}

static void look(struct sched_lp *lp, uint64_t now)
{
    struct sched_kick kick;

    if (!sched_must_release(lp, now) && !sched_must_look(lp, now))
        return;
    sched_core_look(&cores, lp, &kick, now);
    send(&kick);
}

// A VP's turn, up to where it blocks or is told to leave. True: it blocks.
static bool run(struct sched_lp *lp, const struct sched_vp *vp, unsigned *seed)
{
    int team = (int)(vp->team - teams);

    for (;;) {
        for (uint32_t t = 0; t < THREADS; t++) {
            int other = atomic_load(&on[lp->core->first + t]);
            if (other != team && other != NOBODY)
                atomic_fetch_add(&shared, 1);
        }
        atomic_fetch_add(&ran[team], 1);
        sched_yield(); // on a machine of few processors turns would hardly meet
        if (rand_r(seed) % 8 == 0)
            wake_any(seed);
        if (rand_r(seed) % 32 == 0) {
            atomic_store(&runnable[team][vp->thread], false);
            return true;
        }
        look(lp, clock_now());
        if (lp->preempt || atomic_load(&kicked[lp->index]) || atomic_load(&stop))
            return false;
    }
}

static void sleep_until_kicked(const struct sched_lp *lp)
{
    while (!atomic_load(&kicked[lp->index]) && clock_now() < sched_timer_first(lp) &&
           !atomic_load(&stop))
        sched_yield();
}

static struct sched_vp *next(struct sched_lp *lp, bool blocked)
{
    struct sched_kick kick;
    struct sched_vp *vp;

    atomic_store(&kicked[lp->index], false);
    vp = sched_core_switch(&cores, lp, blocked, &kick, clock_now());
    send(&kick);
    return vp;
}

static void *lp_loop(void *argument)
{
    struct sched_lp *lp = argument;
    unsigned seed = lp->index + 1;
    struct sched_vp *vp = NULL, *before;
    bool blocked = false;

    while (!atomic_load(&stop)) {
        before = vp;
        vp = next(lp, blocked);
        if (blocked && atomic_load(&runnable[before->team - teams][before->thread]))
            wake((int)(before->team - teams), before->thread); // signalled meanwhile
        blocked = false;
        if (vp) {
            atomic_store(&on[lp->index], (int)(vp->team - teams));
            blocked = run(lp, vp, &seed);
            atomic_store(&on[lp->index], NOBODY);
        } else if (!sched_core_pull(&cores, lp) && !sched_core_waiting(lp)) {
            sleep_until_kicked(lp);
            look(lp, clock_now());
        }
    }
    return NULL;
}

static void setup(void)
{
    static const struct sched_place places[LPS] = {
        {{0, 0, 0}}, {{0, 0, 0}}, {{1, 0, 0}}, {{1, 0, 0}}};
    const struct sched_controls quarter = {.weight = 100, .cap = SCHED_WHOLE / 4};

    for (int i = 0; i < LPS; i++) {
        lp_list[i] = &lps[i];
        on[i] = NOBODY;
    }
    sched_policy_init(&policy, NS / 500);
    sched_machine_init(&machine, lp_list, places, LPS, &policy);
    sched_cores_init(&cores, array, queues, lp_list, THREADS, places, LPS, &policy);
    for (int i = 0; i < TEAMS; i++) {
        sched_team_init(&teams[i], &array[i % CORES], i < CORES);
        for (uint32_t t = 0; t < THREADS; t++)
            sched_team_join(&teams[i], &vps[i][t], t, lp_list);
    }
    sched_vp_control(&teams[TEAMS - 1].unit, &quarter, 0);
}

// However busy the host is: Check's time-out ends what would never come true.
static bool everyone_has_run(void)
{
    for (int i = 0; i < TEAMS; i++)
        if (atomic_load(&ran[i]) <= 10)
            return false;
    return true;
}

START_TEST(no_core_is_shared_and_everyone_runs)
{
    uint64_t end = clock_now() + SECONDS * NS;
    pthread_t threads[LPS];
    unsigned seed = 77;

    for (int i = 0; i < LPS; i++)
        pthread_create(&threads[i], NULL, lp_loop, &lps[i]);
    while (clock_now() < end || !everyone_has_run()) {
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        wake_any(&seed);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LPS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(shared, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched_threads");
    TCase *t = tcase_create("core");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, no_core_is_shared_and_everyone_runs);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
