// SPDX-License-Identifier: BSD-2-Clause-Patent
// Round robin: order, slices, urgency, pulling, timers; and random sequences against invariants.
#include <check.h>
#include <stdlib.h>

#include "corbel/sched.h"

#define LPS   3
#define VPS   12
#define SLICE 100
#define LOAN  10

static struct sched_lp lps[LPS];
static struct sched_lp *lp_list[LPS] = {&lps[0], &lps[1], &lps[2]};
static struct sched_vp vps[VPS];

static void setup(void)
{
    for (int i = 0; i < LPS; i++)
        sched_lp_init(&lps[i]);
}

static struct sched_vp *next(int i, bool blocked, uint64_t now)
{
    return sched_switch(&lps[i], blocked, now, SLICE);
}

static void wake(int i)
{
    struct sched_lp *home;
    sched_wake(&vps[i], &home);
}

START_TEST(vps_run_in_turn)
{
    uint64_t now = 0;
    for (int i = 0; i < 3; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        wake(i);
    }
    for (int round = 0; round < 9; round++) {
        ck_assert_ptr_eq(next(0, false, now), &vps[round % 3]);
        ck_assert(!sched_must_yield(&lps[0], now + SLICE - 1));
        now += SLICE;
        ck_assert(sched_must_yield(&lps[0], now));
    }
}
END_TEST

START_TEST(a_woken_root_vp_runs_next_and_the_preempted_vp_keeps_its_slice)
{
    struct sched_lp *home;
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], false);
    wake(1);
    wake(2);
    ck_assert_ptr_eq(next(0, false, 0), &vps[1]);
    ck_assert_int_eq(sched_wake(&vps[0], &home), SCHED_WAKE_PREEMPT);
    ck_assert(sched_must_yield(&lps[0], 40));
    ck_assert_ptr_eq(next(0, false, 40), &vps[0]);
    ck_assert_ptr_eq(next(0, true, 50), &vps[1]);
    ck_assert(!sched_must_yield(&lps[0], 99));
    ck_assert(sched_must_yield(&lps[0], 100));
}
END_TEST

START_TEST(a_root_vp_that_used_up_its_slice_lets_others_have_theirs)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    wake(0);
    wake(1);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(!sched_must_yield(&lps[0], SLICE - 1));
    ck_assert(sched_must_yield(&lps[0], SLICE));
    ck_assert_ptr_eq(next(0, false, SLICE), &vps[1]);
    wake(0); // ready already: no reason to preempt
    ck_assert(!sched_must_yield(&lps[0], 2 * SLICE - 1));
    ck_assert(sched_must_yield(&lps[0], 2 * SLICE));
}
END_TEST

START_TEST(a_blocked_vp_is_not_picked_and_waking_twice_queues_once)
{
    struct sched_lp *home;
    sched_vp_init(&vps[0], &lps[0], false);
    ck_assert_ptr_null(next(0, false, 0));
    ck_assert_int_eq(sched_wake(&vps[0], &home), SCHED_WAKE_PREEMPT);
    ck_assert_int_eq(sched_wake(&vps[0], &home), SCHED_WAKE_NONE);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert_int_eq(sched_wake(&vps[0], &home), SCHED_WAKE_RUNNING);
    ck_assert(sched_runs(&vps[0]));
    ck_assert_ptr_null(next(0, true, 1));
    ck_assert(!sched_runs(&vps[0]));
    wake(0);
    ck_assert(!sched_runs(&vps[0]));
    sched_vp_remove(&vps[0]);
    ck_assert_ptr_null(next(0, false, 1));
}
END_TEST

START_TEST(a_blocked_vp_takes_over_from_one_that_blocks)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[1], false);
    wake(1);
    ck_assert_ptr_eq(next(0, false, 0), &vps[1]);
    ck_assert(!sched_hand_over(&lps[0], &vps[2], 1, SLICE)); // at home elsewhere
    ck_assert(sched_runs(&vps[1]));
    ck_assert(sched_hand_over(&lps[0], &vps[0], 1, SLICE));
    ck_assert(sched_runs(&vps[0]) && !sched_runs(&vps[1]));
    ck_assert(!sched_must_yield(&lps[0], SLICE));
    wake(1);
    ck_assert(!sched_hand_over(&lps[0], &vps[1], 2, SLICE)); // waits in the queue
    ck_assert_ptr_eq(next(0, true, 2), &vps[1]);
}
END_TEST

START_TEST(a_lent_lp_comes_back_at_the_end_of_the_turn)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[1], false);
    wake(0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(!sched_lend(&lps[0], &vps[2], 1, LOAN)); // at home elsewhere
    ck_assert(sched_lend(&lps[0], &vps[1], 1, LOAN));
    ck_assert(sched_runs(&vps[1]) && !sched_runs(&vps[0]));
    ck_assert(!sched_lend(&lps[0], &vps[0], 1, LOAN)); // not blocked
    ck_assert(!sched_must_yield(&lps[0], 1));
    ck_assert(!sched_pull(&lps[1], lp_list, LPS));
    ck_assert_ptr_eq(next(0, true, 2), &vps[0]); // the borrower blocks
    ck_assert(sched_lend(&lps[0], &vps[1], 3, LOAN));
    ck_assert(sched_hand_over(&lps[0], &vps[0], 4, SLICE)); // or sends the lender something
    ck_assert(sched_runs(&vps[0]) && !sched_runs(&vps[1]));
    ck_assert_ptr_null(next(0, true, 5));
}
END_TEST

START_TEST(a_loan_ends_in_time_or_when_the_lender_is_woken)
{
    struct sched_lp *home;
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    wake(0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(sched_lend(&lps[0], &vps[1], 1, LOAN));
    ck_assert_int_eq(vps[1].slice_end, 1 + LOAN);
    ck_assert(!sched_must_yield(&lps[0], LOAN) && sched_must_yield(&lps[0], 1 + LOAN));
    ck_assert_ptr_eq(next(0, false, 1 + LOAN), &vps[0]);
    ck_assert_ptr_eq(next(0, true, 2 + LOAN), &vps[1]); // whose time was up: it waits in the queue
    ck_assert_ptr_null(next(0, true, 3 + LOAN));
    wake(0);
    ck_assert_ptr_eq(next(0, false, 50), &vps[0]);
    ck_assert(sched_lend(&lps[0], &vps[1], 50, LOAN));
    ck_assert_int_eq(sched_wake(&vps[0], &home), SCHED_WAKE_PREEMPT);
    ck_assert_int_eq(sched_wake(&vps[0], &home), SCHED_WAKE_NONE);
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
    wake(0);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    wake(2);
    ck_assert(!sched_lend(&lps[0], &vps[1], 1, LOAN));
    ck_assert(sched_runs(&vps[0]) && !sched_runs(&vps[1]));
    ck_assert_ptr_eq(next(0, true, 2), &vps[2]);
}
END_TEST

START_TEST(an_idle_lp_pulls_what_waits_but_never_a_root_vp)
{
    sched_vp_init(&vps[0], &lps[0], true);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], false);
    wake(1);
    ck_assert(!sched_pull(&lps[1], lp_list, LPS)); // the only one: its LP takes it itself
    wake(2);
    wake(0);
    sched_timer_set(&vps[2], 77);
    ck_assert(sched_pull(&lps[1], lp_list, LPS));
    ck_assert_ptr_eq(vps[2].home, &lps[1]);
    ck_assert_uint_eq(sched_timer_first(&lps[1]), 77);
    ck_assert_uint_eq(sched_timer_first(&lps[0]), SCHED_NO_TIMER);
    ck_assert_ptr_eq(next(1, false, 0), &vps[2]);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(sched_pull(&lps[2], lp_list, LPS));
    ck_assert(!sched_pull(&lps[2], lp_list, LPS));
    ck_assert_uint_eq(lps[0].assigned, 1);
}
END_TEST

START_TEST(a_boosted_vp_runs_next_wherever_it_waited)
{
    for (int i = 0; i < 4; i++)
        sched_vp_init(&vps[i], &lps[i == 3], false);
    sched_vp_init(&vps[4], &lps[1], true);
    for (int i = 0; i < 3; i++)
        wake(i);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    ck_assert(!sched_boost(&lps[0], &vps[0])); // it runs
    ck_assert(!sched_boost(&lps[0], &vps[3])); // it is blocked
    ck_assert(sched_boost(&lps[0], &vps[2]));
    ck_assert_ptr_eq(next(0, false, 10), &vps[2]);

    wake(3); // waits on another LP
    ck_assert(sched_boost(&lps[0], &vps[3]));
    ck_assert_ptr_eq(vps[3].home, &lps[0]);
    ck_assert_uint_eq(lps[1].assigned, 1);
    ck_assert_ptr_null(next(1, false, 20));
    ck_assert_ptr_eq(next(0, false, 20), &vps[3]);

    wake(4); // pinned
    ck_assert(!sched_boost(&lps[0], &vps[4]));
    ck_assert_ptr_eq(next(1, false, 30), &vps[4]);
}
END_TEST

START_TEST(a_boost_does_not_come_before_a_woken_root_vp)
{
    sched_vp_init(&vps[0], &lps[0], false);
    sched_vp_init(&vps[1], &lps[0], false);
    sched_vp_init(&vps[2], &lps[0], true);
    wake(0);
    wake(1);
    ck_assert_ptr_eq(next(0, false, 0), &vps[0]);
    wake(2);
    ck_assert(!sched_boost(&lps[0], &vps[1]));
    ck_assert_ptr_eq(next(0, false, 10), &vps[2]);
    ck_assert(sched_boost(&lps[0], &vps[1]));
}
END_TEST

// Two that wait for each other, each for what the other does next, before a third.
START_TEST(boosts_do_not_keep_others_waiting)
{
    uint32_t turns[3] = {0};

    for (int i = 0; i < 3; i++) {
        sched_vp_init(&vps[i], &lps[0], false);
        wake(i);
    }
    for (int i = 0; i < 40; i++) {
        int runs = (int)(next(0, false, (uint64_t)i) - vps);
        turns[runs]++;
        if (runs < 2)
            sched_boost(&lps[0], &vps[!runs]);
    }
    ck_assert_uint_ge(turns[0], 10);
    ck_assert_uint_ge(turns[1], 10);
    ck_assert_uint_ge(turns[2], 8);
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
    ck_assert_ptr_eq(sched_timer_pop(&lps[0], 50), &vps[0]);
    ck_assert_ptr_eq(sched_timer_pop(&lps[0], 50), &vps[2]);
    ck_assert_ptr_null(sched_timer_pop(&lps[0], 50));
}
END_TEST

static void check_invariants(void)
{
    int queued = 0, ready = 0, running = 0, lent = 0;
    for (int i = 0; i < LPS; i++) {
        uint32_t count = 0;
        struct sched_vp *previous = NULL;
        for (struct sched_vp *v = lps[i].head; v; v = v->next) {
            ck_assert_int_eq(v->state, SCHED_READY);
            ck_assert_ptr_eq(v->home, &lps[i]);
            ck_assert_ptr_eq(v->previous, previous);
            previous = v;
            count++;
        }
        ck_assert_ptr_eq(lps[i].tail, previous);
        ck_assert_uint_eq(count, lps[i].ready_count);
        queued += (int)count;
        if (lps[i].running) {
            running++;
            ck_assert_int_eq(lps[i].running->state, SCHED_RUNNING);
            ck_assert_ptr_eq(lps[i].running->home, &lps[i]);
        }
        if (lps[i].lender) {
            lent++;
            ck_assert_int_eq(lps[i].lender->state, SCHED_LENT);
            ck_assert_ptr_nonnull(lps[i].running);
        }
        uint64_t last = 0;
        for (struct sched_vp *v = lps[i].timers; v; v = v->timer_next) {
            ck_assert_uint_ge(v->timer_deadline, last);
            last = v->timer_deadline;
            ck_assert_ptr_eq(v->home, &lps[i]);
        }
    }
    for (int i = 0; i < VPS; i++) {
        ready += vps[i].state == SCHED_READY;
        running -= vps[i].state == SCHED_RUNNING;
        lent -= vps[i].state == SCHED_LENT;
        if (vps[i].pinned)
            ck_assert_ptr_eq(vps[i].home, &lps[i]);
    }
    ck_assert_int_eq(queued, ready);
    ck_assert_int_eq(running, 0);
    ck_assert_int_eq(lent, 0);
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

START_TEST(random_sequences_keep_the_queues_sound_and_everyone_runs)
{
    uint64_t now = 0, ran[VPS] = {0};
    srand(1);
    for (int i = 0; i < VPS; i++)
        sched_vp_init(&vps[i], &lps[i % LPS], i < LPS);
    for (int step = 0; step < 200000; step++) {
        struct sched_lp *lp = &lps[rand() % LPS];
        now += (uint64_t)(rand() % 7);
        switch (rand() % 8) {
        case 0:
            wake(rand() % VPS);
            break;
        case 1:
        case 2: {
            struct sched_vp *v = sched_switch(lp, rand() % 4 == 0, now, SLICE);
            if (v)
                ran[v - vps]++;
            break;
        }
        case 3:
            if (!lp->running && !lp->head)
                sched_pull(lp, lp_list, LPS);
            break;
        case 5:
            sched_boost(lp, &vps[rand() % VPS]);
            break;
        case 6:
            if (lp->running && lp->running->pinned)
                sched_lend(lp, &vps[rand() % VPS], now, LOAN);
            break;
        case 4:
            remove_and_add(&vps[rand() % VPS]);
            break;
        default:
            sched_timer_set(&vps[rand() % VPS],
                            rand() % 3 ? now + (uint64_t)(rand() % 500) : SCHED_NO_TIMER);
            sched_timer_pop(lp, now);
            break;
        }
        check_invariants();
    }
    for (int i = 0; i < VPS; i++)
        ck_assert_uint_gt(ran[i], 100);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sched");
    TCase *t = tcase_create("round robin");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, vps_run_in_turn);
    tcase_add_test(t, a_woken_root_vp_runs_next_and_the_preempted_vp_keeps_its_slice);
    tcase_add_test(t, a_root_vp_that_used_up_its_slice_lets_others_have_theirs);
    tcase_add_test(t, a_blocked_vp_is_not_picked_and_waking_twice_queues_once);
    tcase_add_test(t, a_blocked_vp_takes_over_from_one_that_blocks);
    tcase_add_test(t, a_lent_lp_comes_back_at_the_end_of_the_turn);
    tcase_add_test(t, a_loan_ends_in_time_or_when_the_lender_is_woken);
    tcase_add_test(t, an_lp_that_others_wait_for_is_not_lent);
    tcase_add_test(t, an_idle_lp_pulls_what_waits_but_never_a_root_vp);
    tcase_add_test(t, a_boosted_vp_runs_next_wherever_it_waited);
    tcase_add_test(t, a_boost_does_not_come_before_a_woken_root_vp);
    tcase_add_test(t, boosts_do_not_keep_others_waiting);
    tcase_add_test(t, timers_fire_in_order_of_deadline);
    tcase_add_test(t, random_sequences_keep_the_queues_sound_and_everyone_runs);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
