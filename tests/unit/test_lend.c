// SPDX-License-Identifier: BSD-2-Clause-Patent
// What keeps a root VP from lending its LP (lp_lend): each thing that may wait for it, alone.
// Whom the scheduler lends to is in test_sched.c.
#include <check.h>
#include <stdlib.h>

#include "corbel/lp.h"
#include "corbel/vp.h"

#define SINT HV_SYNIC_INTERCEPTION_SINT

static struct vp vp, other;
static struct vtl_context context;
static struct lp lp;
static struct vapic_clock apic_clock;
static struct hv_message_page sim;
static struct hv_synic_event_flags_page sief;
static struct synic_message_node node;

static void setup(void)
{
    vp = other = (struct vp){.active = &context};
    lp = (struct lp){.root_vp = &vp};
    sim = (struct hv_message_page){0};
    node = (struct synic_message_node){0};
    vapic_clock_init(&apic_clock, 3000000000u, 1000000000u);
    vapic_init(&context.apic, 0, VAPIC_FLAG_X2APIC, &apic_clock);
    synic_init(&context.synic, &sim, &sief);
    ck_assert(vp_nothing_waits(&vp, &lp));
}

START_TEST(work)
{
    for (uint32_t bit = 0; bit < 32; bit++) {
        atomic_store(&vp.work, 1u << bit);
        ck_assert(!vp_nothing_waits(&vp, &lp));
    }
    atomic_store(&vp.work, 0);
    ck_assert(vp_nothing_waits(&vp, &lp));
}
END_TEST

START_TEST(events)
{
    vp.pending_interruption = HV_PENDING_INTERRUPTION_PENDING;
    ck_assert(!vp_nothing_waits(&vp, &lp));
    vp.pending_interruption = 0;
    atomic_store(&vp.nmi_pending, 1);
    ck_assert(!vp_nothing_waits(&vp, &lp));
    atomic_store(&vp.nmi_pending, 0);
    for (uint32_t i = 0; i < 8; i++) {
        atomic_store(&vp.extint_any, 1u << i);
        ck_assert(!vp_nothing_waits(&vp, &lp));
    }
    atomic_store(&vp.extint_any, 0);
    lp.extint_held = true; // the root VP's, nobody else's
    ck_assert(!vp_nothing_waits(&vp, &lp));
    ck_assert(vp_nothing_waits(&other, &lp));
    lp.extint_held = false;
    ck_assert(vp_nothing_waits(&vp, &lp));
}
END_TEST

// Deliverable or not: it is pending.
START_TEST(interrupts)
{
    for (uint32_t vector = 16; vector < 256; vector++) {
        setup();
        context.apic.svr = 0x1ff;
        vapic_post(&context.apic, (uint8_t)vector, false);
        ck_assert(!vp_nothing_waits(&vp, &lp));
    }
}
END_TEST

START_TEST(messages)
{
    for (uint32_t sint = 0; sint < HV_SYNIC_SINT_COUNT; sint++) {
        sim.slot[sint].header.message_type = HV_MESSAGE_TYPE_UNMAPPED_GPA;
        ck_assert(vp_nothing_waits(&vp, &lp) == (sint != SINT));
        sim.slot[sint].header.message_type = HV_MESSAGE_TYPE_NONE;
        context.synic.queue[sint].head = &node; // behind a slot that the guest has just freed
        ck_assert(vp_nothing_waits(&vp, &lp) == (sint != SINT));
        context.synic.queue[sint].head = NULL;
    }
    ck_assert(vp_nothing_waits(&vp, &lp));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lend");
    TCase *all = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(all, setup, NULL);
    tcase_add_test(all, work);
    tcase_add_test(all, events);
    tcase_add_test(all, interrupts);
    tcase_add_test(all, messages);
    suite_add_tcase(suite, all);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
