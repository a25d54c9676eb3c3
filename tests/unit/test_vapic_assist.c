// SPDX-License-Identifier: BSD-2-Clause-Patent
// EOI assist (TLFS: EOI Assist): each sentence of the chapter, and a guest that uses it beside one
// that does not: both must see the same interrupts.
#include "vapic_fixture.h"

#include "hv/assist.h"

static _Atomic uint32_t word;

static void setup_assist(void)
{
    setup_xapic();
    word = 0;
    vapic_set_assist(&apic, &word);
}

static bool offered(void)
{
    return word & HV_APIC_ASSIST_NO_EOI_REQUIRED;
}

// What comes after an injection, or an interrupt that could not be injected.
static void look_after(struct vapic *a)
{
    int vector = vapic_in_service(a);

    if (vector >= 0 && vapic_skippable_eoi(a, (uint32_t)vector))
        vapic_spare_eoi(a, (uint32_t)vector);
    else
        vapic_demand_eoi(a);
}

static void take(uint8_t vector, bool level)
{
    vapic_post(&apic, vector, level);
    ck_assert_int_eq(vapic_deliverable(&apic), vector);
    vapic_accept(&apic, vector);
    look_after(&apic);
}

static bool in_service(uint8_t vector)
{
    return rd(VAPIC_ISR + (vector >> 5) * 0x10) >> (vector & 31) & 1;
}

START_TEST(conditions)
{
    ck_assert_int_eq(vapic_in_service(&apic), -1);
    ck_assert(!vapic_skippable_eoi(&apic, 0x60));
    vapic_set_irr(&apic, 0x60);
    vapic_accept(&apic, 0x60);
    ck_assert_int_eq(vapic_in_service(&apic), 0x60);
    ck_assert(vapic_skippable_eoi(&apic, 0x60));
    vapic_post(&apic, 0x20, false); // lower, only posted
    ck_assert(!vapic_skippable_eoi(&apic, 0x60));
    vapic_merge(&apic);
    ck_assert(!vapic_skippable_eoi(&apic, 0x60));
    vapic_eoi(&apic);
    vapic_accept(&apic, 0x20);
    vapic_eoi(&apic);
    vapic_post(&apic, 0x60, true);
    vapic_merge(&apic);
    vapic_accept(&apic, 0x60);
    ck_assert(!vapic_skippable_eoi(&apic, 0x60)); // level
}
END_TEST

START_TEST(edge_is_offered_and_skipped)
{
    take(0x60, false);
    ck_assert(offered());
    ck_assert(in_service(0x60)); // nobody has said otherwise
    word = 0;
    ck_assert(!in_service(0x60));
    ck_assert_uint_eq(rd(VAPIC_PPR), 0);
    ck_assert_int_eq(vapic_eoi(&apic), -1);
}
END_TEST

START_TEST(level_is_not_offered)
{
    take(0x60, true);
    ck_assert(!offered());
    ck_assert_int_eq(vapic_eoi(&apic), 0x60 | VAPIC_EOI_WAS_LEVEL);
}
END_TEST

START_TEST(lower_priority_takes_the_offer_back)
{
    take(0x60, false);
    ck_assert(offered());
    vapic_post(&apic, 0x31, false);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    look_after(&apic);
    ck_assert(!offered());
    ck_assert_int_eq(vapic_eoi(&apic), 0x60);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x31);
}
END_TEST

// The guest was faster: what comes then is not held back by the vector whose EOI it has done.
START_TEST(skipped_before_the_next_comes)
{
    take(0x60, false);
    word = 0;
    vapic_post(&apic, 0x31, false);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x31);
    vapic_accept(&apic, 0x31);
    look_after(&apic);
    ck_assert(offered());
    ck_assert(in_service(0x31) && !in_service(0x60));

    word = 0;
    vapic_post(&apic, 0x51, false); // the way without vapic_deliverable()
    ck_assert_int_eq(vapic_take_posted(&apic), 0x51);
}
END_TEST

START_TEST(nested_avoids_the_inner_only)
{
    take(0x60, false);
    take(0x80, false);
    ck_assert(offered());
    word = 0; // the inner one's
    ck_assert(in_service(0x60) && !in_service(0x80));
    ck_assert(!offered());
    ck_assert_int_eq(vapic_eoi(&apic), 0x60);
    ck_assert_int_eq(vapic_eoi(&apic), -1);

    take(0x60, false);
    take(0x80, true); // the inner one may not be skipped: nor is the outer one's offer left
    ck_assert(!offered());
    ck_assert_int_eq(vapic_eoi(&apic), 0x80 | VAPIC_EOI_WAS_LEVEL);
    ck_assert_int_eq(vapic_eoi(&apic), 0x60);
}
END_TEST

START_TEST(conventional_eoi_still_works)
{
    take(0x60, false);
    ck_assert_int_eq(wrmsr(HV_X64_MSR_EOI, 0), VAPIC_OK);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_EOI | VAPIC_ACT_PENDING);
    ck_assert_uint_eq(act.eoi_vector, 0x60);
    ck_assert(!offered() && !in_service(0x60));
    take(0x40, false);
    ck_assert(offered());
    wr(VAPIC_EOI, 0);
    ck_assert(!offered() && !in_service(0x40));
}
END_TEST

START_TEST(switched_at_any_time)
{
    static _Atomic uint32_t other;

    take(0x60, false);
    vapic_set_assist(&apic, &other);
    ck_assert(!offered() && in_service(0x60));
    take(0x70, false);
    ck_assert_uint_eq(other, HV_APIC_ASSIST_NO_EOI_REQUIRED);
    other = 0;
    vapic_set_assist(&apic, NULL); // the EOI before it counts
    ck_assert(!in_service(0x70) && in_service(0x60));
    take(0x80, false);
    ck_assert_uint_eq(other, 0);
    ck_assert_int_eq(vapic_eoi(&apic), 0x80);
    ck_assert_int_eq(vapic_eoi(&apic), 0x60);
}
END_TEST

START_TEST(reset_takes_back)
{
    take(0x60, false);
    ck_assert(offered());
    vapic_reset(&apic);
    ck_assert(!offered());
    ck_assert_int_eq(vapic_eoi(&apic), -1);
    wr(VAPIC_SVR, VAPIC_SVR_ENABLE | 0xff);
    take(0x61, false);
    ck_assert(offered());
}
END_TEST

// A bit that the guest sets itself earns it nothing.
START_TEST(forged)
{
    word = ~0u;
    take(0x60, true);
    ck_assert_int_eq(vapic_eoi(&apic), 0x60 | VAPIC_EOI_WAS_LEVEL);
    word = ~0u;
    take(0x50, false);
    ck_assert(offered());
    ck_assert_int_eq(vapic_eoi(&apic), 0x50);
    ck_assert_int_eq(vapic_eoi(&apic), -1);
}
END_TEST

// ---- beside a guest that does without ----------------------------------------------------------

static struct vapic plain;
static uint32_t spared, exits;

// Injects what can be, as the LP does after every exit of the VP.
static int run(struct vapic *a)
{
    int vector = vapic_deliverable(a);

    if (vector >= 0)
        vapic_accept(a, (uint8_t)vector);
    look_after(a);
    return vector;
}

static void run_both(void)
{
    int vector;

    do {
        vector = run(&apic);
        ck_assert_int_eq(run(&plain), vector);
    } while (vector >= 0);
}

static void guest_eoi(bool conventional)
{
    int vector = vapic_eoi(&plain);

    if (!conventional && (atomic_exchange(&word, 0) & HV_APIC_ASSIST_NO_EOI_REQUIRED)) {
        spared++;
        ck_assert_int_eq(run(&plain), -1); // no exit is missed
        return;
    }
    exits += vector >= 0;
    ck_assert_int_eq(vapic_eoi(&apic), vector);
    run_both();
}

static void same(void)
{
    for (uint32_t reg = VAPIC_ISR; reg < VAPIC_ISR + 0x80; reg += 0x10)
        ck_assert_uint_eq(rd(reg), vapic_read_mmio(&plain, reg, tsc));
    ck_assert_uint_eq(rd(VAPIC_PPR), vapic_read_mmio(&plain, VAPIC_PPR, tsc));
}

START_TEST(same_interrupts_as_without)
{
    srand(7);
    vapic_init(&plain, 3, ALL_FLAGS, &clock_3g);
    vapic_write_mmio(&plain, VAPIC_SVR, VAPIC_SVR_ENABLE | 0xff, tsc, &act);
    for (uint32_t i = 0; i < 40000; i++) {
        uint8_t vector = (uint8_t)(16 + rand() % 240), tpr = (uint8_t)(rand() % 8 ? 0 : vector);
        bool level = rand() % 8 == 0;

        switch (rand() % 6) {
        case 0:
        case 1:
            vapic_post(&apic, vector, level);
            vapic_post(&plain, vector, level);
            run_both();
            break;
        case 2:
            vapic_set_tpr(&apic, tpr);
            vapic_set_tpr(&plain, tpr);
            run_both();
            break;
        case 3:
            same();
            break;
        default:
            guest_eoi(rand() % 16 == 0);
            break;
        }
    }
    same();
    ck_assert_uint_gt(spared, 300);
    ck_assert_uint_gt(exits, 300);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vapic_assist");
    TCase *tcase = tcase_create("assist");
    SRunner *runner = srunner_create(suite);

    tcase_add_checked_fixture(tcase, setup_assist, NULL);
    tcase_add_test(tcase, conditions);
    tcase_add_test(tcase, edge_is_offered_and_skipped);
    tcase_add_test(tcase, level_is_not_offered);
    tcase_add_test(tcase, lower_priority_takes_the_offer_back);
    tcase_add_test(tcase, skipped_before_the_next_comes);
    tcase_add_test(tcase, nested_avoids_the_inner_only);
    tcase_add_test(tcase, conventional_eoi_still_works);
    tcase_add_test(tcase, switched_at_any_time);
    tcase_add_test(tcase, reset_takes_back);
    tcase_add_test(tcase, forged);
    tcase_add_test(tcase, same_interrupts_as_without);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
