// SPDX-License-Identifier: BSD-2-Clause-Patent
// VPs that the root schedules: they run only in a root VP's place, and are in no queue.
#include <check.h>

#include "corbel/sched.h"

#define SLICE 1000

static struct sched_lp lps[2];
static struct sched_lp *lp_list[2] = {&lps[0], &lps[1]};
static struct sched_vp root[2], child[2];
static struct sched_policy policy;
static struct sched_machine machine;

static enum sched_wake wake(struct sched_vp *vp, uint64_t now)
{
    struct sched_lp *home;
    return sched_wake(vp, &home, now);
}

// Each LP runs its root VP.
static void setup(void)
{
    sched_policy_init(&policy, SLICE);
    sched_machine_init(&machine, lp_list, NULL, 2, &policy);
    for (int i = 0; i < 2; i++) {
        sched_vp_init(&root[i], &lps[i], true);
        sched_vp_init(&child[i], &lps[0], false);
        sched_vp_outside(&child[i]);
        ck_assert_int_eq(wake(&root[i], 0), SCHED_WAKE_PREEMPT);
        ck_assert_ptr_eq(sched_switch(&lps[i], false, 0), &root[i]);
    }
}

START_TEST(nobody_runs_one_that_is_not_dispatched)
{
    ck_assert_int_eq(wake(&child[0], 1), SCHED_WAKE_OUTSIDE);
    ck_assert(!sched_waiting(&lps[0]));
    ck_assert(!sched_lend(&lps[0], &child[0], 1, 10));
    ck_assert_ptr_null(sched_switch(&lps[0], true, 1));
    ck_assert(!sched_pull(&lps[1], &machine));
}
END_TEST

START_TEST(the_root_vp_has_its_lp_back_when_it_ends)
{
    ck_assert(sched_dispatch(&lps[0], &child[0], 1, 500));
    ck_assert_ptr_eq(lps[0].running, &child[0]);
    ck_assert(sched_runs(&child[0]) && !sched_runs(&root[0]));
    ck_assert_int_eq(wake(&child[0], 2), SCHED_WAKE_RUNNING);
    ck_assert(!sched_must_yield(&lps[0], 499) && sched_must_yield(&lps[0], 500));
    ck_assert(!sched_must_look(&lps[0], 100000));
    ck_assert_ptr_eq(sched_switch(&lps[0], false, 500), &root[0]);
    ck_assert(!sched_runs(&child[0]) && sched_runs(&root[0]));
    ck_assert_int_eq(wake(&child[0], 501), SCHED_WAKE_OUTSIDE);
    // Blocked or not is all the same: it is the root's to ask.
    ck_assert(sched_dispatch(&lps[0], &child[0], 502, SCHED_NO_TIMER));
    ck_assert(!sched_must_yield(&lps[0], SCHED_NO_TIMER - 1));
    ck_assert_ptr_eq(sched_switch(&lps[0], true, 600), &root[0]);
}
END_TEST

START_TEST(a_root_vp_that_is_woken_ends_it)
{
    ck_assert(sched_dispatch(&lps[0], &child[0], 1, SCHED_NO_TIMER));
    ck_assert_int_eq(wake(&root[0], 2), SCHED_WAKE_PREEMPT);
    ck_assert_int_eq(wake(&root[0], 3), SCHED_WAKE_NONE);
    ck_assert(sched_must_yield(&lps[0], 3));
    ck_assert(!sched_hand_over(&lps[0], &root[0], 3));
    ck_assert_ptr_eq(sched_switch(&lps[0], true, 3), &root[0]);
    ck_assert_ptr_null(lps[0].lender);
}
END_TEST

START_TEST(one_that_spins_gives_the_lp_back)
{
    ck_assert(!sched_give_way(&lps[0]));
    ck_assert(sched_dispatch(&lps[0], &child[0], 1, SCHED_NO_TIMER));
    ck_assert(sched_give_way(&lps[0]));
}
END_TEST

START_TEST(it_comes_where_it_is_dispatched_and_its_timer_with_it)
{
    sched_timer_set(&child[0], 700);
    ck_assert(sched_dispatch(&lps[1], &child[0], 1, SCHED_NO_TIMER));
    ck_assert_ptr_eq(child[0].home, &lps[1]);
    ck_assert(sched_timer_first(&lps[0]) == SCHED_NO_TIMER && sched_timer_first(&lps[1]) == 700);
    ck_assert(!sched_dispatch(&lps[0], &child[0], 2, SCHED_NO_TIMER)); // it runs
    ck_assert_ptr_eq(lps[0].running, &root[0]);
    ck_assert(sched_dispatch(&lps[0], &child[1], 3, SCHED_NO_TIMER));
    ck_assert_ptr_eq(sched_switch(&lps[1], true, 4), &root[1]);
    sched_vp_remove(&child[0]);
    ck_assert(sched_timer_first(&lps[1]) == SCHED_NO_TIMER);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("outside");
    TCase *t = tcase_create("outside");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, nobody_runs_one_that_is_not_dispatched);
    tcase_add_test(t, the_root_vp_has_its_lp_back_when_it_ends);
    tcase_add_test(t, a_root_vp_that_is_woken_ends_it);
    tcase_add_test(t, one_that_spins_gives_the_lp_back);
    tcase_add_test(t, it_comes_where_it_is_dispatched_and_its_timer_with_it);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
