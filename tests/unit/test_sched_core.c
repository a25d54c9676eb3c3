// SPDX-License-Identifier: BSD-2-Clause-Patent
// The core scheduler: who may run on a core's threads at a time, hand-overs, waking; and random
// sequences against invariants.
#include <check.h>
#include <stdlib.h>

#include "corbel/sched_core.h"

#define CORES   3
#define THREADS 2
#define LPS     (CORES * THREADS)
#define TEAMS   9 // the first are the cores' root VPs; from SINGLE on of one VP
#define SINGLE  7
#define SLICE   1000

static struct sched_lp lps[LPS];
static struct sched_lp *lp_list[LPS];
static struct sched_core array[CORES];
static struct sched_lp *queues[CORES];
static struct sched_policy policy;
static struct sched_machine machine;
static struct sched_cores cores;
static struct sched_team teams[TEAMS];
static struct sched_vp vps[TEAMS][THREADS];
static bool kicked[LPS];

static uint32_t size_of(int team)
{
    return team < SINGLE ? THREADS : 1;
}

static void add(int team, int core)
{
    sched_team_init(&teams[team], &array[core], team < CORES);
    for (uint32_t t = 0; t < size_of(team); t++)
        sched_team_join(&teams[team], &vps[team][t], t, lp_list);
}

static void setup(void)
{
    static const struct sched_place places[LPS] = {{{0, 0, 0}}, {{0, 0, 0}}, {{1, 0, 0}},
                                                   {{1, 0, 0}}, {{2, 1, 0}}, {{2, 1, 0}}};

    for (int i = 0; i < LPS; i++) {
        lp_list[i] = &lps[i];
        kicked[i] = false;
    }
    sched_policy_init(&policy, SLICE);
    sched_machine_init(&machine, lp_list, places, LPS, &policy);
    sched_cores_init(&cores, array, queues, lp_list, THREADS, places, LPS, &policy);
    for (int i = 0; i < TEAMS; i++)
        add(i, i % CORES);
}

static uint32_t send(const struct sched_kick *kick)
{
    for (uint32_t t = 0; kick->core && t < THREADS; t++)
        kicked[kick->core->first + t] |= kick->threads >> t & 1;
    return kick->core ? kick->threads << kick->core->first : 0;
}

// Returns the LPs that are told, as a set.
static uint32_t wake(int team, int thread, uint64_t now)
{
    struct sched_kick kick;

    sched_core_wake(&cores, &vps[team][thread], &kick, now);
    return send(&kick);
}

static struct sched_vp *turn(int lp, bool blocked, uint64_t now)
{
    struct sched_kick kick;
    struct sched_vp *vp = sched_core_switch(&cores, &lps[lp], blocked, &kick, now);

    send(&kick);
    return vp;
}

static void look(int lp, uint64_t now)
{
    struct sched_kick kick;

    sched_core_look(&cores, &lps[lp], &kick, now);
    send(&kick);
}

START_TEST(siblings_run_together_each_on_its_thread)
{
    ck_assert_uint_eq(wake(3, 1, 0), 2); // the thread that it is for
    wake(3, 0, 0);
    ck_assert_ptr_eq(turn(1, false, 0), &vps[3][1]);
    ck_assert(kicked[0]);
    ck_assert_ptr_eq(turn(0, false, 0), &vps[3][0]);
    ck_assert_ptr_null(turn(1, true, 5)); // a thread with nothing to run stays idle
    ck_assert_uint_eq(wake(3, 1, 6), 2);
    ck_assert_ptr_eq(turn(1, false, 7), &vps[3][1]);
}
END_TEST

START_TEST(nobody_enters_before_all_have_left)
{
    wake(3, 0, 0);
    wake(3, 1, 0);
    turn(0, false, 0);
    turn(1, false, 0);
    wake(6, 0, 0);
    wake(6, 1, 0);
    kicked[0] = kicked[1] = false;
    ck_assert_ptr_null(turn(0, false, SLICE));
    ck_assert(kicked[1] && array[0].leaving);
    ck_assert_ptr_null(turn(0, false, SLICE + 1)); // nor by asking again
    ck_assert(sched_runs(&vps[3][1]));
    ck_assert_ptr_eq(turn(1, false, SLICE + 2), &vps[6][1]);
    ck_assert(kicked[0]);
    ck_assert_ptr_eq(turn(0, false, SLICE + 3), &vps[6][0]);
}
END_TEST

START_TEST(a_root_vp_has_the_whole_core_and_the_interrupted_turn_goes_on)
{
    wake(3, 0, 0);
    wake(3, 1, 0);
    turn(0, false, 0);
    turn(1, false, 0);
    ck_assert_uint_eq(wake(0, 0, 10), 3);  // both threads are to leave
    ck_assert_ptr_null(turn(0, true, 10)); // an intercept: it waits for the root
    ck_assert_ptr_eq(turn(1, false, 11), NULL);
    ck_assert_ptr_eq(&teams[0].unit, array[0].queue.running);
    ck_assert_ptr_eq(turn(0, false, 12), &vps[0][0]);
    wake(3, 0, 13); // answered
    ck_assert_ptr_eq(turn(0, true, 20), &vps[3][0]);
    ck_assert_ptr_eq(turn(1, false, 21), &vps[3][1]);
    ck_assert_uint_eq(vps[3][0].slice_end, SLICE + 9); // the pause is not its own
}
END_TEST

START_TEST(a_vp_without_siblings_has_the_whole_core)
{
    wake(7, 0, 0);
    ck_assert_ptr_eq(turn(2, false, 0), &vps[7][0]);
    wake(4, 1, 1);
    ck_assert_ptr_null(turn(3, false, 1));
    ck_assert_ptr_null(turn(2, false, 2 * SLICE));
    ck_assert_ptr_eq(turn(3, false, 2 * SLICE), &vps[4][1]);
}
END_TEST

START_TEST(an_idle_core_takes_a_team_with_its_timers)
{
    wake(3, 0, 0);
    turn(0, false, 0);
    ck_assert_ptr_null(turn(4, false, 0));
    sched_timer_set(&vps[6][1], 77);
    ck_assert_uint_eq(wake(6, 0, 1), 1 << 4); // another core is free
    ck_assert(sched_core_pull(&cores, &lps[4]));
    ck_assert_ptr_eq(turn(4, false, 2), &vps[6][0]);
    ck_assert_uint_eq(wake(6, 1, 3), 1 << 5);
    ck_assert_uint_eq(sched_timer_first(&lps[1]), 77);
    ck_assert_ptr_eq(turn(5, false, 4), &vps[6][1]);
    ck_assert_uint_eq(sched_timer_first(&lps[5]), 77);
    ck_assert_uint_eq(sched_timer_first(&lps[1]), SCHED_NO_TIMER);
}
END_TEST

START_TEST(a_bound_holds_a_team_and_lets_it_go)
{
    const struct sched_controls half = {.weight = 100, .cap = SCHED_WHOLE / 2};
    uint64_t now = 0, had = 0;
    struct sched_vp *vp;
    sched_vp_control(&teams[3].unit, &half, 0);
    wake(3, 0, 0);
    vp = turn(0, false, 0);
    while (now < 1000 * SLICE) {
        uint64_t next = vp ? vp->slice_end : sched_timer_first(&lps[0]);
        ck_assert_uint_gt(next, now);
        had += vp ? next - now : 0;
        now = next;
        look(0, now);
        vp = turn(0, false, now);
    }
    ck_assert_int_le(llabs((long long)(2 * had - now)), SLICE);
}
END_TEST

START_TEST(one_that_yields_takes_its_sibling_along)
{
    wake(3, 0, 0);
    wake(3, 1, 0);
    turn(0, false, 0);
    turn(1, false, 0);
    ck_assert(!sched_core_give_way(&lps[0]));
    ck_assert(!sched_core_boost(&lps[0], &vps[3][1], 5));
    wake(6, 0, 0);
    ck_assert(sched_core_boost(&lps[0], &vps[6][0], 5));
    ck_assert_ptr_null(turn(0, false, 10));
    ck_assert(!sched_core_give_way(&lps[1])); // it is leaving already
    turn(1, false, 11);
    ck_assert_ptr_eq(turn(0, false, 12), &vps[6][0]);
}
END_TEST

START_TEST(the_last_vp_of_a_team_takes_it_along)
{
    wake(3, 0, 0);
    ck_assert(!sched_team_leave(&vps[3][0]));
    ck_assert_uint_eq(teams[3].ready, 0);
    ck_assert(sched_team_leave(&vps[3][1]));
    ck_assert_uint_eq(array[0].queue.queue.count, 0);
    ck_assert_ptr_null(turn(0, false, 1));
}
END_TEST

// ---- random sequences ---------------------------------------------------------------------------

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s", #condition);                                                        \
    } while (0)

static uint64_t ran[TEAMS], since[LPS], idle_time, run_time;

static int team_of(const struct sched_vp *vp)
{
    return (int)(vp->team - teams);
}

// Whoever is to do something has been told, so nobody waits for ever.
static void check_told(const struct sched_core *c)
{
    const struct sched_team *team = sched_core_team(c);
    bool any = false;

    for (uint32_t t = 0; t < THREADS; t++) {
        any |= kicked[c->first + t];
        if (c->leaving && (c->inside >> t & 1))
            MUST(kicked[c->first + t]);
        if (team && !c->leaving && (team->ready >> t & 1))
            MUST(kicked[c->first + t] || c->queue.preempt);
    }
    if (!team && c->queue.queue.count)
        MUST(any);
    if (team && !team->unit.ahead && c->queue.first)
        MUST(any);
}

static void check_core(const struct sched_core *c)
{
    const struct sched_team *team = sched_core_team(c);

    for (uint32_t t = 0; t < THREADS; t++) {
        const struct sched_vp *vp = lps[c->first + t].running;
        MUST(!vp == !(c->inside >> t & 1));
        if (!vp)
            continue;
        MUST(vp->team == team); // nobody shares a core
        MUST(vp->thread == t);
        MUST(vp->state == SCHED_RUNNING && vp->home == &lps[c->first + t]);
    }
    MUST(!c->leaving || c->inside);
    MUST(!team || (team->unit.state == SCHED_RUNNING && team->unit.home == &c->queue));
    check_told(c);
}

static void check_team(int i)
{
    const struct sched_team *team = &teams[i];
    uint32_t ready = 0, active = 0;

    for (uint32_t t = 0; t < size_of(i); t++) {
        ready |= (uint32_t)(vps[i][t].state == SCHED_READY) << t;
        active |= (uint32_t)(vps[i][t].state != SCHED_BLOCKED) << t;
        MUST(vps[i][t].state != SCHED_RUNNING || team->unit.state == SCHED_RUNNING);
    }
    MUST(ready == team->ready);
    MUST(!active || team->unit.state != SCHED_BLOCKED);
    MUST(team->unit.state != SCHED_READY || ready);
    if (i < CORES)
        MUST(team->unit.home == &array[i].queue);
}

static void check_invariants(uint64_t now)
{
    uint64_t total = idle_time + run_time;
    int running = 0;

    for (int i = 0; i < CORES; i++)
        check_core(&array[i]);
    for (int i = 0; i < LPS; i++) {
        total += now - since[i];
        running += lps[i].running != NULL;
    }
    for (int i = 0; i < TEAMS; i++) {
        check_team(i);
        for (uint32_t t = 0; t < size_of(i); t++)
            running -= vps[i][t].state == SCHED_RUNNING; // so no VP is on two LPs
    }
    MUST(running == 0);
    MUST(total == LPS * now); // run time and idle time sum to elapsed time
}

static void visit(int i, bool blocked, uint64_t now)
{
    const struct sched_vp *before = lps[i].running;

    *(before ? &run_time : &idle_time) += now - since[i];
    if (before)
        ran[team_of(before)] += now - since[i];
    since[i] = now;
    kicked[i] = false;
    if (sched_must_release(&lps[i], now))
        look(i, now);
    if (!turn(i, before && blocked, now) && sched_core_pull(&cores, &lps[i])) {
        MUST(array[i / THREADS].queue.queue.count);
        turn(i, false, now);
    }
    MUST(lps[i].running || !sched_core_waiting(&lps[i]));
}

static void random_control(struct sched_team *team, uint64_t now)
{
    struct sched_controls c = {.weight = 1 + (uint32_t)rand() % SCHED_WEIGHT_MAX};

    if (rand() % 3 == 0)
        c.cap = 1 + (uint32_t)rand() % SCHED_WHOLE;
    if (rand() % 3 == 0)
        c.reserve = (uint32_t)rand() % (c.cap ? c.cap : SCHED_WHOLE);
    if (team->unit.pinned)
        return;
    sched_vp_control(&team->unit, &c, now);
    kicked[((struct sched_core *)team->unit.home)->first] = true; // a bound may hold it no more
}

static void remove_and_add(int i)
{
    bool last = false;

    for (uint32_t t = 0; t < size_of(i); t++)
        if (sched_runs(&vps[i][t]))
            return;
    if (teams[i].unit.state == SCHED_RUNNING) // has its core still, with nobody inside
        return;
    for (uint32_t t = 0; t < size_of(i); t++)
        last = sched_team_leave(&vps[i][t]);
    MUST(last);
    add(i, i % CORES);
}

static void random_step(uint64_t now)
{
    int team = rand() % TEAMS, i = rand() % LPS;

    switch (rand() % 16) {
    case 0 ... 4:
        wake(team, rand() % (int)size_of(team), now);
        break;
    case 5 ... 10:
        visit(i, rand() % 4 == 0, now);
        break;
    case 11:
        if (sched_must_look(&lps[i], now) || sched_must_release(&lps[i], now))
            look(i, now);
        if (lps[i].preempt || !lps[i].running)
            visit(i, false, now);
        break;
    case 12:
        remove_and_add(team);
        break;
    case 13:
        random_control(&teams[team], now);
        break;
    case 14:
        if (lps[i].running && (rand() % 2 ? sched_core_boost(&lps[i], &vps[team][0], now)
                                          : sched_core_give_way(&lps[i])))
            visit(i, false, now);
        break;
    default:
        sched_timer_set(&vps[team][0],
                        rand() % 3 ? now + (uint64_t)(rand() % 5000) : SCHED_NO_TIMER);
        sched_timer_pop(&lps[i], now);
        break;
    }
}

START_TEST(random_sequences_keep_the_invariants_and_everyone_runs)
{
    uint64_t now = 0;
    srand((unsigned)_i);
    for (int step = 0; step < 250000; step++) {
        now += (uint64_t)(rand() % 300);
        random_step(now);
        check_invariants(now);
    }
    for (int i = 0; i < TEAMS; i++)
        ck_assert_uint_gt(ran[i], SLICE);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched_core");
    TCase *t = tcase_create("core");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, siblings_run_together_each_on_its_thread);
    tcase_add_test(t, nobody_enters_before_all_have_left);
    tcase_add_test(t, a_root_vp_has_the_whole_core_and_the_interrupted_turn_goes_on);
    tcase_add_test(t, a_vp_without_siblings_has_the_whole_core);
    tcase_add_test(t, an_idle_core_takes_a_team_with_its_timers);
    tcase_add_test(t, a_bound_holds_a_team_and_lets_it_go);
    tcase_add_test(t, one_that_yields_takes_its_sibling_along);
    tcase_add_test(t, the_last_vp_of_a_team_takes_it_along);
    tcase_add_loop_test(t, random_sequences_keep_the_invariants_and_everyone_runs, 1, 5);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
