// SPDX-License-Identifier: BSD-2-Clause-Patent
// The classic scheduler: order, slices, root VPs, bounds, pulling, timers; and random sequences
// against invariants.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/sched.h"

#define LPS    4
#define VPS    14
#define GROUPS 2
#define SLICE  1000
#define LOAN   10

static struct sched_lp lps[LPS];
static struct sched_lp *lp_list[LPS] = {&lps[0], &lps[1], &lps[2], &lps[3]};
static struct sched_vp vps[VPS];
static struct sched_policy policy;
static struct sched_machine machine;
static struct sched_group groups[GROUPS];

// Of random sequences.
static uint64_t ran[VPS], since[LPS], idle_time[LPS], group_ran[GROUPS];
static bool caps_stay; // of the groups

static void setup(void)
{
    static const struct sched_place places[LPS] = {
        {{0, 0, 0}}, {{0, 0, 0}}, {{1, 0, 0}}, {{2, 1, 0}}};

    sched_policy_init(&policy, SLICE);
    sched_machine_init(&machine, lp_list, places, LPS, &policy);
    memset(ran, 0, sizeof(ran));
    memset(since, 0, sizeof(since));
    memset(idle_time, 0, sizeof(idle_time));
    memset(group_ran, 0, sizeof(group_ran));
    memset(groups, 0, sizeof(groups));
    caps_stay = false;
}

static struct sched_vp *next(int i, bool blocked, uint64_t now)
{
    if (sched_must_release(&lps[i], now))
        sched_release(&lps[i], now);
    return sched_switch(&lps[i], blocked, now);
}

static enum sched_wake wake_at(int i, uint64_t now)
{
    struct sched_lp *home;
    return sched_wake(&vps[i], &home, now);
}

static void control(int i, uint32_t weight, uint32_t reserve, uint32_t cap,
                    struct sched_group *group)
{
    struct sched_controls c = {weight, reserve, cap, group};
    ck_assert(sched_controls_valid(&c));
    sched_vp_control(&vps[i], &c, 0);
}

// Runs LP 0 alone from `now` on; adds up what each VP has had.
static uint64_t run_alone(uint64_t now, uint64_t ticks, uint64_t *had)
{
    struct sched_vp *vp = next(0, false, now);

    for (uint64_t end = now + ticks; now < end;) {
        uint64_t until = vp ? vp->slice_end : end;
        if (sched_timer_first(&lps[0]) < until)
            until = sched_timer_first(&lps[0]);
        if (until > end)
            until = end;
        if (vp)
            had[vp - vps] += until - now;
        now = until;
        vp = next(0, false, now);
    }
    return now;
}

START_TEST(vps_of_one_weight_run_in_turn)
{
    uint64_t had[VPS] = {0};
    for (int i = 0; i < 3; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        wake_at(i, 0);
    }
    struct sched_vp *first = next(0, false, 0);
    ck_assert(!sched_must_yield(&lps[0], SLICE - 1));
    ck_assert(sched_must_yield(&lps[0], SLICE));
    ck_assert_ptr_ne(next(0, false, SLICE), first);
    run_alone(SLICE, 8 * SLICE, had);
    had[first - vps] += SLICE;
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(had[i], 3 * SLICE);
}
END_TEST

START_TEST(shares_follow_weights)
{
    static const uint32_t weights[] = {1, 50, 100, 9000, 10000};
    uint64_t had[VPS] = {0}, ticks = 20000 * SLICE, total = 0;
    for (int i = 0; i < 5; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        control(i, weights[i], 0, 0, NULL);
        wake_at(i, 0);
        total += weights[i];
    }
    run_alone(0, ticks, had);
    for (int i = 0; i < 5; i++) {
        uint64_t share = ticks * weights[i] / total;
        ck_assert_int_le(llabs((long long)(had[i] - share)), SLICE);
    }
}
END_TEST

START_TEST(a_cap_holds_in_any_short_time_and_leaves_the_rest_idle)
{
    uint64_t had[VPS] = {0}, now = 0;
    sched_vp_init(&vps[0], &lps[0], false);
    control(0, 100, 0, SCHED_WHOLE / 4, NULL);
    wake_at(0, 0);
    for (int window = 1; window <= 50; window++) {
        now = run_alone(now, 50 * SLICE, had);
        uint64_t due = now / 4;
        ck_assert_uint_le(had[0], due + policy.quantum);
        ck_assert_uint_ge(had[0] + policy.quantum, due);
    }
}
END_TEST

START_TEST(a_reserve_is_kept_beside_many)
{
    uint64_t had[VPS] = {0}, now = 0;
    for (int i = 0; i < 10; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        control(i, 100, i == 0 ? SCHED_WHOLE / 2 : 0, 0, NULL);
        wake_at(i, 0);
    }
    for (int window = 1; window <= 50; window++) {
        now = run_alone(now, 50 * SLICE, had);
        ck_assert_uint_ge(had[0] + SLICE, now / 2);
    }
}
END_TEST

START_TEST(a_group_shares_its_allowance)
{
    uint64_t had[VPS] = {0}, ticks = 1000 * SLICE;
    sched_group_set(&groups[0], 1, SCHED_WHOLE / 2);
    for (int i = 0; i < 3; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        control(i, 100, 0, 0, i < 2 ? &groups[0] : NULL);
        wake_at(i, 0);
    }
    run_alone(0, ticks, had);
    ck_assert_uint_le(had[0] + had[1], ticks / 2 + 3 * SLICE);
    ck_assert_uint_ge(had[0] + had[1], ticks / 2 - 10 * SLICE);
    ck_assert_int_le(llabs((long long)(had[0] - had[1])), 4 * SLICE);
    ck_assert_uint_eq(had[0] + had[1] + had[2], ticks);
}
END_TEST

START_TEST(controls_have_ranges)
{
    static const struct sched_controls bad[] = {
        {0, 0, 0, NULL},
        {SCHED_WEIGHT_MAX + 1, 0, 0, NULL},
        {100, SCHED_WHOLE + 1, 0, NULL},
        {100, 0, SCHED_WHOLE + 1, NULL},
        {100, SCHED_WHOLE / 2, SCHED_WHOLE / 4, NULL},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert(!sched_controls_valid(&bad[i]));
}
END_TEST

START_TEST(a_woken_root_vp_runs_next_and_the_preempted_vp_keeps_its_slice)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], false);
    wake_at(1, 0);
    wake_at(2, 0);
    struct sched_vp *vp = next(0, false, 0);
    ck_assert_ptr_ne(vp, &vps[0]);
    ck_assert_int_eq(wake_at(0, 400), SCHED_WAKE_PREEMPT);
    ck_assert(sched_must_yield(&lps[0], 400));
    ck_assert_ptr_eq(next(0, false, 400), &vps[0]);
    ck_assert_ptr_eq(next(0, true, 500), vp);
    ck_assert_uint_eq(vp->slice_end, 500 + SLICE - 400);
}
END_TEST

START_TEST(a_root_vp_that_used_up_its_slice_lets_others_have_theirs)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    wake_at(0, 0);
    wake_at(1, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(!sched_must_yield(&lps[0], SLICE - 1));
    ck_assert(sched_must_yield(&lps[0], SLICE));
    ck_assert_ptr_eq(next(0, false, SLICE), &vps[1]);
    ck_assert_int_eq(wake_at(0, SLICE), SCHED_WAKE_NONE); // ready already: no reason to preempt
    ck_assert(!sched_must_yield(&lps[0], 2 * SLICE - 1));
    ck_assert(sched_must_yield(&lps[0], 2 * SLICE));
    ck_assert_ptr_eq(next(0, false, 2 * SLICE), &vps[0]);
}
END_TEST

START_TEST(a_blocked_vp_is_not_picked_and_waking_twice_queues_once)
{
    sched_vp_init(&vps[0], &lps[0], false);
    ck_assert_ptr_null(next(0, false, 0));
    ck_assert_int_eq(wake_at(0, 0), SCHED_WAKE_PREEMPT);
    ck_assert_int_eq(wake_at(0, 0), SCHED_WAKE_NONE);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert_int_eq(wake_at(0, 0), SCHED_WAKE_RUNNING);
    ck_assert(sched_runs(&vps[0]));
    ck_assert_ptr_null(next(0, true, 1));
    ck_assert(!sched_runs(&vps[0]));
    wake_at(0, 1);
    ck_assert(!sched_runs(&vps[0]));
    sched_vp_remove(&vps[0]);
    ck_assert_ptr_null(next(0, false, 1));
}
END_TEST

START_TEST(one_that_has_slept_preempts_one_that_has_not)
{
    for (int i = 0; i < 3; i++)
        sched_vp_init(&vps[i], &lps[0], false);
    wake_at(0, 0);
    wake_at(1, 0);
    next(0, false, 0);
    for (int i = 1; i < 10; i++)
        next(0, false, (uint64_t)i * SLICE);
    ck_assert_int_eq(wake_at(2, 9 * SLICE + 10), SCHED_WAKE_PREEMPT);
    ck_assert_ptr_eq(next(0, false, 9 * SLICE + 10), &vps[2]);
}
END_TEST

START_TEST(a_root_vp_takes_over_from_one_that_blocks)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[1], true);
    wake_at(1, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[1]);
    ck_assert(!sched_hand_over(&lps[0], &vps[2], 1)); // at home elsewhere
    ck_assert(sched_runs(&vps[1]));
    ck_assert(sched_hand_over(&lps[0], &vps[0], 1));
    ck_assert(sched_runs(&vps[0]) && !sched_runs(&vps[1]));
    ck_assert(!sched_must_yield(&lps[0], SLICE));
    wake_at(1, 2);
    ck_assert(!sched_hand_over(&lps[0], &vps[1], 2)); // waits in the queue
    ck_assert_ptr_eq(next(0, true, 2), &vps[1]);
}
END_TEST

START_TEST(a_boosted_vp_runs_next_wherever_it_waited)
{
    for (int i = 0; i < 4; i++)
        sched_vp_init(&vps[i], &lps[i == 3], false);
    sched_vp_init(&vps[4], &lps[1], true);
    for (int i = 0; i < 3; i++)
        wake_at(i, 0);
    struct sched_vp *self = next(0, false, 0), *other = &vps[self == &vps[2] ? 1 : 2];
    ck_assert(!sched_boost(&lps[0], self, 5));    // it runs
    ck_assert(!sched_boost(&lps[0], &vps[3], 5)); // it is blocked
    ck_assert(sched_boost(&lps[0], other, 10));
    ck_assert_ptr_eq(next(0, false, 10), other);

    wake_at(3, 10); // waits on another LP
    ck_assert(sched_boost(&lps[0], &vps[3], 20));
    ck_assert_ptr_eq(vps[3].home, &lps[0]);
    ck_assert_uint_eq(lps[1].assigned, 1);
    ck_assert_ptr_null(next(1, false, 20));
    ck_assert_ptr_eq(next(0, false, 20), &vps[3]);

    wake_at(4, 20); // pinned
    ck_assert(!sched_boost(&lps[0], &vps[4], 20));
    ck_assert_ptr_eq(next(1, false, 30), &vps[4]);
}
END_TEST

START_TEST(a_boost_does_not_come_before_a_woken_root_vp)
{
    sched_vp_init(&vps[0], &lps[0], false);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], true);
    wake_at(0, 0);
    wake_at(1, 0);
    struct sched_vp *self = next(0, false, 0), *other = &vps[self == &vps[0]];
    wake_at(2, 0);
    ck_assert(!sched_boost(&lps[0], other, 5));
    ck_assert_ptr_eq(next(0, false, 10), &vps[2]);
    ck_assert(!sched_boost(&lps[0], other, 15)); // nor has it a place to give
    ck_assert_ptr_eq(next(0, true, 20), self);
    ck_assert(sched_boost(&lps[0], other, 25));
    ck_assert_ptr_eq(next(0, false, 25), other);
}
END_TEST

// Two that wait for each other, each for what the other does next, before a third.
START_TEST(boosts_do_not_keep_others_waiting)
{
    uint64_t had[3] = {0};

    for (int i = 0; i < 3; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        wake_at(i, 0);
    }
    for (uint64_t now = 0; now < 300 * SLICE; now += SLICE / 10) {
        int runs = (int)(lps[0].running - vps);
        if (!lps[0].running || sched_must_yield(&lps[0], now))
            runs = (int)(next(0, false, now) - vps);
        if (runs < 2 && sched_boost(&lps[0], &vps[!runs], now))
            runs = (int)(next(0, false, now) - vps);
        had[runs] += SLICE / 10;
    }
    for (int i = 0; i < 3; i++)
        ck_assert_uint_ge(had[i], 97 * SLICE);
}
END_TEST

// One that spins lets the holder of the lock have all of its turns, which are no others' loss.
START_TEST(a_place_given_is_all_of_its_own)
{
    uint64_t had[3] = {0};

    for (int i = 0; i < 3; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        wake_at(i, 0);
    }
    for (uint64_t now = 0; now < 300 * SLICE; now += SLICE / 10) {
        int runs = (int)(lps[0].running - vps);
        if (!lps[0].running || sched_must_yield(&lps[0], now))
            runs = (int)(next(0, false, now) - vps);
        if (runs == 0 && sched_boost(&lps[0], &vps[1], now))
            runs = (int)(next(0, false, now) - vps);
        had[runs] += SLICE / 10;
    }
    ck_assert_uint_le(had[0], 6 * SLICE);
    ck_assert_uint_ge(had[1], 193 * SLICE);
    ck_assert_uint_ge(had[2], 98 * SLICE);
    ck_assert_uint_le(had[2], 102 * SLICE);
}
END_TEST

// A root VP that runs is not preempted; one with a reserve need not wait for it.
START_TEST(one_with_a_reserve_goes_where_it_can_run)
{
    const struct sched_controls reserve = {.weight = 100, .reserve = SCHED_WHOLE / 4};

    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[1], false);
    sched_vp_init(&vps[2], &lps[0], false);
    sched_vp_control(&vps[2], &reserve, 0);
    wake_at(0, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    wake_at(1, 0);
    ck_assert_ptr_eq(next(1, false, 0), &vps[1]);
    ck_assert_int_eq(wake_at(2, SLICE / 2), SCHED_WAKE_QUEUED);
    struct sched_lp *to = sched_elsewhere(&machine, &lps[0], &vps[2], SLICE / 2);
    ck_assert_ptr_eq(to, &lps[1]);
    ck_assert(sched_must_yield(to, SLICE / 2));
    ck_assert_ptr_eq(next(1, false, SLICE / 2), &vps[2]);
    ck_assert_ptr_null(sched_elsewhere(&machine, &lps[1], &vps[2], SLICE)); // it runs
}
END_TEST

START_TEST(one_that_yields_lets_the_next_run)
{
    sched_vp_init(&vps[0], &lps[0], false);
    sched_vp_init(&vps[1], &lps[0], false);
    wake_at(0, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(!sched_give_way(&lps[0]));
    wake_at(1, 0);
    ck_assert(sched_give_way(&lps[0]));
    ck_assert_ptr_eq(next(0, false, 1), &vps[1]);
    ck_assert(sched_give_way(&lps[0]));
    ck_assert_ptr_eq(next(0, false, 2), &vps[0]);
}
END_TEST

START_TEST(a_lent_lp_comes_back_at_the_end_of_the_turn)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[1], false);
    wake_at(0, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(!sched_lend(&lps[0], &vps[2], 1, LOAN)); // at home elsewhere
    ck_assert(sched_lend(&lps[0], &vps[1], 1, LOAN));
    ck_assert(sched_runs(&vps[1]) && !sched_runs(&vps[0]));
    ck_assert(!sched_lend(&lps[0], &vps[0], 1, LOAN)); // not blocked
    ck_assert(!sched_must_yield(&lps[0], 1));
    ck_assert(!sched_pull(&lps[1], &machine));
    ck_assert_ptr_eq(next(0, true, 2), &vps[0]); // the borrower blocks
    ck_assert(sched_lend(&lps[0], &vps[1], 3, LOAN));
    ck_assert(sched_hand_over(&lps[0], &vps[0], 4)); // or sends the lender something
    ck_assert(sched_runs(&vps[0]) && !sched_runs(&vps[1]));
    ck_assert_ptr_null(next(0, true, 5));
}
END_TEST

START_TEST(a_loan_ends_in_time_or_when_the_lender_is_woken)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    wake_at(0, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(sched_lend(&lps[0], &vps[1], 1, LOAN));
    ck_assert_uint_eq(vps[1].slice_end, 1 + LOAN);
    ck_assert(!sched_must_yield(&lps[0], LOAN) && sched_must_yield(&lps[0], 1 + LOAN));
    ck_assert(!sched_must_look(&lps[0], 1 + LOAN));
    ck_assert_ptr_eq(next(0, false, 1 + LOAN), &vps[0]);
    ck_assert_ptr_eq(next(0, true, 2 + LOAN), &vps[1]); // its own turn goes on
    ck_assert_uint_eq(vps[1].slice_end, 2 + SLICE);
    ck_assert_ptr_null(next(0, true, 3 + LOAN));
    wake_at(0, 50);
    ck_assert_ptr_eq(next(0, false, 50), &vps[0]);
    ck_assert(sched_lend(&lps[0], &vps[1], 50, LOAN));
    ck_assert_int_eq(wake_at(0, 50), SCHED_WAKE_PREEMPT);
    ck_assert_int_eq(wake_at(0, 50), SCHED_WAKE_NONE);
    ck_assert(sched_must_yield(&lps[0], 51));
    ck_assert_ptr_eq(next(0, false, 51), &vps[0]);
    ck_assert(sched_runs(&vps[0]) && !sched_must_yield(&lps[0], 52));
}
END_TEST

START_TEST(an_lp_that_others_wait_for_is_not_lent)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], false);
    wake_at(0, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    wake_at(2, 0);
    ck_assert(!sched_lend(&lps[0], &vps[1], 1, LOAN));
    ck_assert(sched_runs(&vps[0]) && !sched_runs(&vps[1]));
    ck_assert_ptr_eq(next(0, true, 2), &vps[2]);
    ck_assert(
        sched_hand_over(&lps[0], &vps[0], 3)); // whose turn is interrupted waits, and no other
    wake_at(2, 4);
    ck_assert(!sched_lend(&lps[0], &vps[1], 5, LOAN));
}
END_TEST

START_TEST(loans_are_counted_as_service)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], false);
    wake_at(0, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    for (uint64_t i = 0; i < 50; i++) { // 9 of 20 ticks
        ck_assert(sched_lend(&lps[0], &vps[1], 20 * i, LOAN));
        ck_assert(sched_hand_over(&lps[0], &vps[0], 20 * i + 9));
    }
    ck_assert_ptr_null(next(0, true, SLICE));
    ck_assert_uint_eq(vps[1].entity.vtime - vps[2].entity.vtime,
                      50 * 9 * (vps[1].entity.inverse >> 32));
}
END_TEST

START_TEST(an_idle_lp_pulls_what_waits_but_never_a_root_vp)
{
    static const uint64_t only_0_and_1[] = {3};
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], false);
    vps[1].affinity = vps[2].affinity = only_0_and_1;
    wake_at(1, 0);
    ck_assert(!sched_pull(&lps[1], &machine)); // the only one: its LP takes it itself
    wake_at(2, 0);
    wake_at(0, 0);
    sched_timer_set(&vps[1], 77);
    sched_timer_set(&vps[2], 77);
    ck_assert(!sched_pull(&lps[2], &machine)); // may not run there
    ck_assert(sched_pull(&lps[1], &machine));
    ck_assert_uint_eq(sched_timer_first(&lps[1]), 77);
    struct sched_vp *pulled = next(1, false, 0);
    ck_assert_ptr_eq(pulled->home, &lps[1]);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(!sched_pull(&lps[2], &machine));
    pulled = &vps[pulled == &vps[1] ? 2 : 1];
    pulled->affinity = NULL;
    ck_assert(sched_pull(&lps[2], &machine));
    ck_assert_ptr_eq(pulled->home, &lps[2]);
    ck_assert(!sched_pull(&lps[2], &machine));
    ck_assert_uint_eq(lps[0].assigned, 1);
}
END_TEST

START_TEST(a_vp_is_moved_unless_it_runs)
{
    static const uint64_t only_1[] = {2};
    for (int i = 0; i < 4; i++)
        sched_vp_init(&vps[i], &lps[0], false);
    wake_at(0, 0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    wake_at(1, 0);
    control(2, 100, 0, SCHED_WHOLE / 4, NULL);
    wake_at(2, 0);
    sched_timer_set(&vps[3], 77);
    for (int i = 0; i < 4; i++)
        sched_vp_confine(&vps[i], only_1);
    ck_assert(!sched_vp_move(&vps[0], &lps[1], 1));
    for (int i = 1; i < 4; i++) {
        ck_assert(sched_vp_move(&vps[i], &lps[1], 1));
        ck_assert(sched_vp_move(&vps[i], &lps[1], 1));
        ck_assert_ptr_eq(vps[i].home, &lps[1]);
    }
    ck_assert_uint_eq(lps[0].assigned, 1);
    ck_assert_uint_eq(lps[1].assigned, 3);
    ck_assert_uint_eq(sched_timer_first(&lps[1]), 77);
    ck_assert(next(1, false, 2) != NULL);
    ck_assert(next(1, true, 3) != NULL);
    ck_assert_ptr_null(next(1, true, 4));
    wake_at(3, 5);
    ck_assert_ptr_eq(next(1, false, 5), &vps[3]);
}
END_TEST

START_TEST(the_nearest_idle_core_is_found_first)
{
    static const uint64_t only_3[] = {8};
    sched_vp_init(&vps[0], &lps[0], false);
    ck_assert_ptr_null(sched_idle_near(&machine, &lps[0], &vps[0]));
    sched_idle_begin(&machine, &lps[1]);
    ck_assert_ptr_eq(sched_idle_near(&machine, &lps[0], &vps[0]), &lps[1]);
    sched_idle_begin(&machine, &lps[2]); // a whole core
    ck_assert_ptr_eq(sched_idle_near(&machine, &lps[0], &vps[0]), &lps[2]);
    vps[0].affinity = only_3;
    ck_assert_ptr_null(sched_idle_near(&machine, &lps[0], &vps[0]));
    sched_idle_begin(&machine, &lps[3]);
    ck_assert_ptr_eq(sched_idle_near(&machine, &lps[0], &vps[0]), &lps[3]);
    sched_idle_end(&machine, &lps[3]);
    ck_assert_ptr_null(sched_idle_near(&machine, &lps[0], &vps[0]));
}
END_TEST

START_TEST(timers_fire_in_order_of_deadline)
{
    for (int i = 0; i < 4; i++)
        sched_vp_init(&vps[i], &lps[0], false);
    sched_timer_set(&vps[0], 30);
    sched_timer_set(&vps[1], 10);
    sched_timer_set(&vps[2], 20);
    sched_timer_set(&vps[3], 40);
    sched_timer_set(&vps[2], 35);
    sched_timer_set(&vps[3], SCHED_NO_TIMER);
    ck_assert_ptr_null(sched_timer_pop(&lps[0], 9));
    ck_assert_ptr_eq(sched_timer_pop(&lps[0], 50), &vps[1]);
    ck_assert(sched_timer_popped(&lps[0], &vps[1])); // until the next
    ck_assert_ptr_eq(sched_timer_pop(&lps[0], 50), &vps[0]);
    ck_assert_ptr_eq(sched_timer_pop(&lps[0], 50), &vps[2]);
    ck_assert(!sched_timer_popped(&lps[0], &vps[1]));
    ck_assert_ptr_null(sched_timer_pop(&lps[0], 50));
    ck_assert(!sched_timer_popped(&lps[0], &vps[2]));
}
END_TEST

// ---- random sequences ---------------------------------------------------------------------------

// As ck_assert, which is too slow for so many: it reports each place that it passes.
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s", #condition);                                                        \
    } while (0)
#define MUST2(operator, a, b) MUST((a) operator(b))

// Keys are in order both ways; returns how many there are.
static uint32_t check_list(const struct sched_list *list)
{
    const struct sched_node *before = NULL, *n = list->first;
    uint32_t count = 0;

    for (; n; before = n, n = n->next, count++) {
        MUST2(==, n->previous, before);
        MUST(!before || (int64_t)(n->key - before->key) >= 0);
    }
    MUST2(==, list->last, before);
    return count;
}

static uint32_t check_lp(const struct sched_lp *lp)
{
    uint64_t last = 0, load = 0;
    uint32_t held = check_list(&lp->queue.held);
    uint32_t ready = check_list(&lp->queue.eligible) + check_list(&lp->queue.early);

    MUST2(==, ready, lp->queue.count);
    for (int i = 0; i < VPS; i++) {
        const struct sched_vp *v = &vps[i];
        if (v->home == lp && (v->state != SCHED_BLOCKED || v == lp->interrupted) &&
            !v->entity.held && !v->ahead)
            load += v->entity.weight;
    }
    MUST2(==, load, lp->queue.load);
    for (struct sched_vp *v = lp->timers; v; v = v->timer_next) {
        MUST2(>=, v->timer_deadline, last);
        last = v->timer_deadline;
        MUST2(==, v->home, lp);
    }
    if (lp->running) {
        MUST2(==, lp->running->state, SCHED_RUNNING);
        MUST2(==, lp->running->home, lp);
        MUST(sched_allowed(lp->running, lp->index));
    }
    MUST(!lp->interrupted || (lp->running && lp->running->ahead));
    MUST(!lp->interrupted_ready || lp->interrupted);
    if (lp->lender) {
        MUST2(==, lp->lender->state, SCHED_LENT);
        MUST(lp->running && !lp->interrupted);
    }
    return ready + held + (lp->first != NULL) + lp->interrupted_ready;
}

static void check_invariants(uint64_t now)
{
    uint32_t waiting = 0, ready = 0;
    int running = 0, lent = 0;
    uint64_t total = 0;

    for (int i = 0; i < LPS; i++) {
        waiting += check_lp(&lps[i]);
        running += lps[i].running != NULL;
        lent += lps[i].lender != NULL;
        total += idle_time[i] + (now - since[i]);
    }
    for (int i = 0; i < VPS; i++) {
        ready += vps[i].state == SCHED_READY;
        lent -= vps[i].state == SCHED_LENT;
        running -= vps[i].state == SCHED_RUNNING; // so no VP is on two LPs
        total += ran[i];
        if (vps[i].pinned)
            MUST2(==, vps[i].home, &lps[i % LPS]);
    }
    MUST2(==, waiting, ready);
    MUST2(==, running, 0);
    MUST2(==, lent, 0);
    MUST2(==, total, LPS * now); // run time and idle time sum to elapsed time
}

// What an LP has done since it was last asked.
static void account(int i, uint64_t now)
{
    const struct sched_vp *vp = lps[i].running;
    uint64_t ticks = now - since[i];

    since[i] = now;
    *(vp ? &ran[vp - vps] : &idle_time[i]) += ticks;
    if (vp && vp->entity.group)
        group_ran[vp->entity.group - groups] += ticks;
}

static void remove_and_add(struct sched_vp *vp)
{
    struct sched_lp *home = vp->home;
    bool pinned = vp->pinned;

    if (sched_runs(vp))
        return;
    sched_vp_remove(vp);
    sched_vp_init(vp, home, pinned);
}

// What an LP does: nobody who may run waits on an idle one, and what is let go may run elsewhere.
static void switch_lp(int i, uint64_t now)
{
    struct sched_lp *lp = &lps[i];
    struct sched_vp *before = lp->running;

    account(i, now);
    sched_idle_end(&machine, lp);
    if (sched_must_release(lp, now))
        sched_release(lp, now);
    if (before && rand() % 4 == 0 && sched_hand_over(lp, &vps[i], now))
        return;
    if (before && before->pinned && sched_lend(lp, &vps[rand() % VPS], now, LOAN))
        return;
    if (!sched_switch(lp, before && rand() % 4 == 0, now) && sched_pull(lp, &machine))
        MUST(sched_switch(lp, false, now));
    if (!lp->running) {
        MUST(!sched_waiting(lp));
        for (int other = 0; other < LPS; other++) // work conserving
            for (int v = 0; v < VPS; v++)
                MUST(!lps[other].running || vps[v].home != &lps[other] || vps[v].pinned ||
                     vps[v].state != SCHED_READY || vps[v].entity.held);
        sched_idle_begin(&machine, lp);
    }
}

static void random_control(struct sched_vp *vp, uint64_t now)
{
    struct sched_controls c = {.weight = 1 + (uint32_t)rand() % SCHED_WEIGHT_MAX};

    if (rand() % 3 == 0)
        c.cap = 1 + (uint32_t)rand() % SCHED_WHOLE;
    if (rand() % 3 == 0)
        c.reserve = (uint32_t)rand() % (c.cap ? c.cap : SCHED_WHOLE);
    if (rand() % 3 == 0)
        c.group = &groups[rand() % GROUPS];
    if (vp->pinned)
        return;
    if (vp->state == SCHED_RUNNING)
        account((int)vp->home->index, now);
    sched_vp_control(vp, &c, now);
}

static void random_step(uint64_t now)
{
    struct sched_vp *vp = &vps[rand() % VPS];
    int i = rand() % LPS;

    switch (rand() % 16) {
    case 0 ... 3:
        wake_at((int)(vp - vps), now);
        break;
    case 4 ... 8:
        switch_lp(i, now);
        break;
    case 9:
        if (sched_must_look(&lps[i], now))
            sched_look(&lps[i], &machine, now);
        break;
    case 10:
        remove_and_add(vp);
        break;
    case 11:
        random_control(vp, now);
        break;
    case 12:
        if (lps[i].running)
            (void)(rand() % 2 ? sched_boost(&lps[i], vp, now) : sched_give_way(&lps[i]));
        break;
    case 13:
        sched_vp_confine(vp, NULL);
        if (!vp->pinned)
            MUST(sched_vp_move(vp, &lps[i], now) == (vp->state != SCHED_RUNNING));
        if (!caps_stay)
            sched_group_set(&groups[rand() % GROUPS], 1 + (uint32_t)rand() % LPS,
                            1 + (uint32_t)rand() % SCHED_WHOLE);
        break;
    default:
        sched_timer_set(vp, rand() % 3 ? now + (uint64_t)(rand() % 5000) : SCHED_NO_TIMER);
        sched_timer_pop(&lps[i], now);
        break;
    }
}

START_TEST(random_sequences_keep_the_invariants_and_everyone_runs)
{
    uint64_t now = 0;
    srand((unsigned)_i);
    for (int i = 0; i < VPS; i++)
        sched_vp_init(&vps[i], &lps[i % LPS], i < LPS);
    for (int i = 0; i < GROUPS; i++)
        sched_group_set(&groups[i], 2, SCHED_WHOLE / 2);
    for (int step = 0; step < 250000; step++) {
        now += (uint64_t)(rand() % 300);
        random_step(now);
        check_invariants(now);
    }
    for (int i = 0; i < VPS; i++)
        ck_assert_uint_gt(ran[i], SLICE);
}
END_TEST

// More than its part of the time a group has only by what LPs that come late have let it run on.
START_TEST(random_sequences_keep_groups_within_their_caps)
{
    const uint64_t late = 100 * SLICE;
    uint64_t now = 0;

    srand((unsigned)_i);
    caps_stay = true;
    for (int i = 0; i < VPS; i++)
        sched_vp_init(&vps[i], &lps[i % LPS], i < LPS);
    for (int i = 0; i < GROUPS; i++)
        sched_group_set(&groups[i], LPS, SCHED_WHOLE / 64);
    for (int step = 0; step < 250000; step++) {
        now += (uint64_t)(rand() % 300);
        random_step(now);
        for (int i = 0; i < GROUPS; i++)
            MUST2(<=, group_ran[i], now * LPS / 64 + late);
    }
    for (int i = 0; i < GROUPS; i++) // and the caps were what bounded them
        ck_assert_uint_gt(group_ran[i], now * LPS / 64 / 4 * 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched");
    TCase *t = tcase_create("classic");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, vps_of_one_weight_run_in_turn);
    tcase_add_test(t, shares_follow_weights);
    tcase_add_test(t, a_cap_holds_in_any_short_time_and_leaves_the_rest_idle);
    tcase_add_test(t, a_reserve_is_kept_beside_many);
    tcase_add_test(t, a_group_shares_its_allowance);
    tcase_add_test(t, controls_have_ranges);
    tcase_add_test(t, a_woken_root_vp_runs_next_and_the_preempted_vp_keeps_its_slice);
    tcase_add_test(t, a_root_vp_that_used_up_its_slice_lets_others_have_theirs);
    tcase_add_test(t, a_blocked_vp_is_not_picked_and_waking_twice_queues_once);
    tcase_add_test(t, one_that_has_slept_preempts_one_that_has_not);
    tcase_add_test(t, a_root_vp_takes_over_from_one_that_blocks);
    tcase_add_test(t, a_boosted_vp_runs_next_wherever_it_waited);
    tcase_add_test(t, a_boost_does_not_come_before_a_woken_root_vp);
    tcase_add_test(t, one_with_a_reserve_goes_where_it_can_run);
    tcase_add_test(t, boosts_do_not_keep_others_waiting);
    tcase_add_test(t, a_place_given_is_all_of_its_own);
    tcase_add_test(t, one_that_yields_lets_the_next_run);
    tcase_add_test(t, a_lent_lp_comes_back_at_the_end_of_the_turn);
    tcase_add_test(t, a_loan_ends_in_time_or_when_the_lender_is_woken);
    tcase_add_test(t, an_lp_that_others_wait_for_is_not_lent);
    tcase_add_test(t, loans_are_counted_as_service);
    tcase_add_test(t, an_idle_lp_pulls_what_waits_but_never_a_root_vp);
    tcase_add_test(t, a_vp_is_moved_unless_it_runs);
    tcase_add_test(t, the_nearest_idle_core_is_found_first);
    tcase_add_test(t, timers_fire_in_order_of_deadline);
    tcase_add_loop_test(t, random_sequences_keep_the_invariants_and_everyone_runs, 1, 5);
    tcase_add_loop_test(t, random_sequences_keep_groups_within_their_caps, 1, 5);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
