// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC: priorities, delivery, EOI, posting from other threads, local sources, destinations.
#include <pthread.h>
#include <sched.h>

#include "tests/unit/vapic_fixture.h"

// ---- priorities ------------------------------------------------------------------------------

START_TEST(delivers_highest_first)
{
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    ck_assert(vapic_post(&apic, 0x31, false));
    ck_assert(vapic_post(&apic, 0xfe, false));
    ck_assert(vapic_post(&apic, 0x80, false));
    ck_assert_int_eq(vapic_deliverable(&apic), 0xfe);
    vapic_accept(&apic, 0xfe);
    ck_assert_int_eq(rd(VAPIC_PPR), 0xf0);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    ck_assert_int_eq(vapic_highest_irr(&apic), 0x80);
    ck_assert_int_eq(vapic_eoi(&apic), 0xfe);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x80);
    vapic_accept(&apic, 0x80);
    ck_assert_int_eq(vapic_eoi(&apic), 0x80);
    vapic_accept(&apic, 0x31);
    ck_assert_int_eq(vapic_eoi(&apic), 0x31);
    ck_assert_int_eq(vapic_eoi(&apic), -1);
    ck_assert(!vapic_any_pending(&apic));
}
END_TEST

// Same class does not nest; a higher class does, and EOIs unwind in order.
START_TEST(nesting_by_class)
{
    vapic_set_irr(&apic, 0x41);
    vapic_accept(&apic, 0x41);
    vapic_set_irr(&apic, 0x4f);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    vapic_set_irr(&apic, 0x50);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x50);
    vapic_accept(&apic, 0x50);
    ck_assert_int_eq(vapic_eoi(&apic), 0x50);
    ck_assert_int_eq(rd(VAPIC_PPR), 0x40);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    ck_assert_int_eq(vapic_eoi(&apic), 0x41);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x4f);
}
END_TEST

START_TEST(tpr_and_ppr)
{
    vapic_set_irr(&apic, 0x45);
    wr(VAPIC_TPR, 0x45);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_TPR | VAPIC_ACT_PENDING);
    ck_assert_uint_eq(rd(VAPIC_PPR), 0x45);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    vapic_set_tpr(&apic, 0x3f);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x45);
    vapic_accept(&apic, 0x45);
    ck_assert_uint_eq(rd(VAPIC_PPR), 0x40);
    vapic_set_tpr(&apic, 0x4a); // equal classes: TPR's low bits
    ck_assert_uint_eq(rd(VAPIC_PPR), 0x4a);
    vapic_set_tpr(&apic, 0xff);
    vapic_set_irr(&apic, 0xff);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
}
END_TEST

START_TEST(an_eoi_at_once_is_of_an_edge_with_nothing_behind_it)
{
    ck_assert_int_eq(vapic_eoi_at_once(&apic), -1); // nothing in service
    vapic_post(&apic, 0x41, false);
    vapic_accept(&apic, (uint8_t)vapic_deliverable(&apic));
    vapic_post(&apic, 0x31, false); // waits, though posted only
    ck_assert_int_eq(vapic_eoi_at_once(&apic), -1);
    ck_assert_int_eq(vapic_deliverable(&apic), -1); // and in IRR
    ck_assert_int_eq(vapic_eoi_at_once(&apic), -1);
    ck_assert_uint_eq(rd(VAPIC_PPR), 0x40);
    ck_assert_int_eq(vapic_eoi(&apic), 0x41);
    vapic_accept(&apic, 0x31);
    vapic_post(&apic, 0x52, false);
    vapic_accept(&apic, (uint8_t)vapic_deliverable(&apic));
    ck_assert_int_eq(vapic_eoi_at_once(&apic), 0x52); // the outer one stays
    ck_assert_uint_eq(rd(VAPIC_PPR), 0x30);
    ck_assert_int_eq(vapic_eoi_at_once(&apic), 0x31);
    ck_assert_uint_eq(rd(VAPIC_PPR), 0);
    vapic_post(&apic, 0x61, true);
    vapic_accept(&apic, (uint8_t)vapic_deliverable(&apic));
    ck_assert_int_eq(vapic_eoi_at_once(&apic), -1); // level triggered: others are told
    ck_assert_int_eq(vapic_eoi(&apic), 0x61 | VAPIC_EOI_WAS_LEVEL);
}
END_TEST

START_TEST(every_vector_alone)
{
    for (int v = 16; v < 256; v++) {
        ck_assert(vapic_post(&apic, (uint8_t)v, v & 1));
        ck_assert(!vapic_post(&apic, (uint8_t)v, v & 1));
        ck_assert(vapic_has_posted(&apic));
        ck_assert_int_eq(vapic_deliverable(&apic), v);
        ck_assert(!vapic_has_posted(&apic));
        vapic_accept(&apic, (uint8_t)v);
        ck_assert_uint_eq(rd(VAPIC_ISR + (uint32_t)(v / 32) * 16), 1u << (v % 32));
        ck_assert_int_eq(vapic_eoi(&apic), v & 1 ? v | VAPIC_EOI_WAS_LEVEL : v);
        ck_assert_uint_eq(rd(VAPIC_ISR + (uint32_t)(v / 32) * 16), 0);
    }
}
END_TEST

// The naive APIC of the manual, against which random sequences are run.
struct model {
    bool irr[256], isr[256], tmr[256];
    int tpr;
};

static int top(const bool *map)
{
    for (int v = 255; v >= 0; v--)
        if (map[v])
            return v;
    return -1;
}

static int model_ppr(const struct model *m)
{
    int isrv = top(m->isr) < 0 ? 0 : top(m->isr);

    return m->tpr / 16 >= isrv / 16 ? m->tpr : isrv / 16 * 16;
}

static int model_deliverable(const struct model *m)
{
    int v = top(m->irr);

    return v >= 0 && v / 16 > model_ppr(m) / 16 ? v : -1;
}

static int model_eoi(struct model *m)
{
    int v = top(m->isr);

    if (v >= 0)
        m->isr[v] = false;
    return v < 0 ? -1 : m->tmr[v] ? v | VAPIC_EOI_WAS_LEVEL : v;
}

START_TEST(random_against_model)
{
    static struct model m;

    srand(1);
    for (int step = 0; step < 200000; step++) {
        int v = 16 + rand() % 240;
        bool level = rand() & 1;
        switch (rand() % 5) {
        case 0:
            vapic_post(&apic, (uint8_t)v, level);
            vapic_merge(&apic);
            m.irr[v] = true;
            m.tmr[v] = level;
            break;
        case 1:
            m.tpr = rand() & (rand() & 1 ? 0xff : 0x3f);
            vapic_set_tpr(&apic, (uint8_t)m.tpr);
            break;
        case 2:
        case 3:
            v = model_deliverable(&m);
            ck_assert_int_eq(vapic_deliverable(&apic), v);
            if (v >= 0) {
                vapic_accept(&apic, (uint8_t)v);
                m.irr[v] = false;
                m.isr[v] = true;
            }
            break;
        default:
            ck_assert_int_eq(vapic_eoi(&apic), model_eoi(&m));
            break;
        }
        ck_assert_uint_eq(rd(VAPIC_PPR), (uint32_t)model_ppr(&m));
    }
}
END_TEST

// ---- level, auto-EOI, lazy EOI ---------------------------------------------------------------

START_TEST(trigger_mode_follows_last_acceptance)
{
    vapic_post(&apic, 0x55, true);
    vapic_merge(&apic);
    ck_assert_uint_eq(rd(VAPIC_TMR + 0x20), 1u << 0x15);
    vapic_accept(&apic, 0x55);
    ck_assert_int_eq(vapic_eoi(&apic), 0x55 | VAPIC_EOI_WAS_LEVEL);
    vapic_post(&apic, 0x55, false);
    vapic_merge(&apic);
    ck_assert_uint_eq(rd(VAPIC_TMR + 0x20), 0);
    vapic_accept(&apic, 0x55);
    ck_assert_int_eq(vapic_eoi(&apic), 0x55);
    vapic_post(&apic, 0x55, true);
    vapic_merge(&apic);
    vapic_set_irr(&apic, 0x55); // self IPI: edge
    vapic_accept(&apic, 0x55);
    ck_assert_int_eq(vapic_eoi(&apic), 0x55);
}
END_TEST

START_TEST(eoi_reports_level)
{
    vapic_post(&apic, 0xa3, true);
    ck_assert_int_eq(vapic_deliverable(&apic), 0xa3);
    vapic_accept(&apic, 0xa3);
    wr(VAPIC_EOI, 0x1234);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_EOI | VAPIC_ACT_EOI_LEVEL | VAPIC_ACT_PENDING);
    ck_assert_uint_eq(act.eoi_vector, 0xa3);
    wr(VAPIC_EOI, 0);
    ck_assert_uint_eq(act.flags, 0);
}
END_TEST

START_TEST(auto_eoi_leaves_no_isr)
{
    uint64_t mask[VAPIC_WORDS] = {0};

    mask[0x72 >> 6] = UINT64_C(1) << (0x72 & 63);
    vapic_set_auto_eoi(&apic, mask);
    vapic_set_irr(&apic, 0x72);
    vapic_accept(&apic, 0x72);
    ck_assert_uint_eq(rd(VAPIC_PPR), 0);
    ck_assert_int_eq(vapic_eoi(&apic), -1);
    vapic_set_irr(&apic, 0x73);
    vapic_accept(&apic, 0x73);
    ck_assert_int_eq(vapic_eoi(&apic), 0x73);
    // Switched on while in flight: the guest still has to EOI that one.
    vapic_set_irr(&apic, 0x80);
    vapic_accept(&apic, 0x80);
    mask[2] = 1;
    vapic_set_auto_eoi(&apic, mask);
    ck_assert_int_eq(vapic_eoi(&apic), 0x80);
    vapic_reset(&apic);
    ck_assert_uint_eq(apic.auto_eoi[2], 1);
}
END_TEST

// ---- posting from other threads --------------------------------------------------------------

#define POSTS 100000

static _Atomic uint32_t posters_left;
static _Atomic uint32_t announced[256];

static void *poster(void *argument)
{
    uint32_t seed = (uint32_t)(uintptr_t)argument;

    for (int i = 0; i < POSTS; i++) {
        seed = seed * 1664525 + 1013904223;
        uint8_t v = (uint8_t)(16 + (seed >> 16) % 240);
        if (vapic_post(&apic, v, seed >> 31))
            announced[v]++;
    }
    posters_left--;
    return NULL;
}

// Every post that returned true is one delivery: none is lost, none is seen twice.
START_TEST(posting_loses_nothing)
{
    static uint32_t seen[256];
    pthread_t threads[3];

    posters_left = 3;
    for (uintptr_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, poster, (void *)(i + 7)), 0);
    for (;;) {
        bool last = posters_left == 0;
        int v;
        while ((v = vapic_deliverable(&apic)) >= 0) {
            apic.irr[v >> 6] &= ~(UINT64_C(1) << (v & 63));
            seen[v]++;
        }
        if (last)
            break;
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    // Merging may fold a fresh post into an IRR bit that is still set, never the other way round.
    for (int v = 0; v < 256; v++) {
        ck_assert_uint_le(seen[v], announced[v]);
        ck_assert(v < 16 || seen[v] > 0);
    }
}
END_TEST

// With one word of one vector there is nothing to fold: the counts must agree exactly.
static void *single_poster(void *argument)
{
    for (int i = 0; i < POSTS; i++)
        if (vapic_post(&apic, 0x90, false))
            announced[0x90]++;
    posters_left--;
    return argument;
}

START_TEST(posting_counts_agree)
{
    pthread_t threads[2];
    uint32_t seen = 0;

    posters_left = 2;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, single_poster, NULL), 0);
    for (;;) {
        bool last = posters_left == 0;
        if (vapic_deliverable(&apic) == 0x90) {
            apic.irr[2] = 0;
            seen++;
        }
        if (last)
            break;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_gt(seen, 0);
    ck_assert_uint_eq(seen, announced[0x90]);
}
END_TEST

// Each poster waits until its vector has been taken, so one that is lost is waited for in vain.
static _Atomic bool taken[256];

static void *waiting_poster(void *argument)
{
    uint8_t vector = (uint8_t)(uintptr_t)argument;

    for (int i = 0; i < POSTS / 10; i++) {
        taken[vector] = false;
        vapic_post(&apic, vector, false);
        while (!taken[vector])
            sched_yield();
    }
    posters_left--;
    return NULL;
}

START_TEST(taking_at_once_loses_nothing)
{
    static const uint8_t vectors[] = {0x41, 0x81, 0xc1};
    pthread_t threads[3];
    unsigned at_once = 0;

    posters_left = 3;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, waiting_poster, (void *)(uintptr_t)vectors[i]), 0);
    while (posters_left) {
        int vector = vapic_take_posted(&apic);
        at_once += vector >= 0;
        if (vector < 0 && (vector = vapic_deliverable(&apic)) >= 0)
            vapic_accept(&apic, (uint8_t)vector);
        if (vector < 0)
            continue;
        ck_assert_int_eq(vapic_eoi(&apic), vector);
        taken[vector] = true;
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_gt(at_once, 0);
}
END_TEST

START_TEST(taking_at_once_is_merging_and_accepting)
{
    uint64_t auto_eoi[VAPIC_WORDS] = {[2] = UINT64_C(1) << 1};

    ck_assert_int_eq(vapic_take_posted(&apic), -1);
    vapic_post(&apic, 0x41, false);
    ck_assert_int_eq(vapic_take_posted(&apic), 0x41);
    vapic_post(&apic, 0x42, false); // the class in service
    ck_assert_int_eq(vapic_take_posted(&apic), -1);
    ck_assert_int_eq(vapic_highest_irr(&apic), 0x42);
    ck_assert_int_eq(vapic_eoi(&apic), 0x41);
    vapic_post(&apic, 0x81, true);
    ck_assert_int_eq(vapic_take_posted(&apic), -1); // IRR is not empty
    ck_assert_int_eq(vapic_deliverable(&apic), 0x81);
    vapic_accept(&apic, 0x81);
    ck_assert_int_eq(vapic_eoi(&apic), 0x81 | VAPIC_EOI_WAS_LEVEL);
    vapic_accept(&apic, 0x42);
    ck_assert_int_eq(vapic_eoi(&apic), 0x42);
    vapic_post(&apic, 0x91, false);
    vapic_post(&apic, 0x92, false);
    ck_assert_int_eq(vapic_take_posted(&apic), -1); // two
    ck_assert_int_eq(vapic_deliverable(&apic), 0x92);
    vapic_accept(&apic, 0x92);
    vapic_eoi(&apic);
    vapic_accept(&apic, 0x91);
    vapic_eoi(&apic);
    vapic_set_auto_eoi(&apic, auto_eoi);
    vapic_post(&apic, 0x81, false);
    ck_assert_int_eq(vapic_take_posted(&apic), 0x81);
    ck_assert_int_eq(vapic_eoi(&apic), -1);
}
END_TEST

// What vapic_post() and all that follows would do, in one step, or nothing.
START_TEST(accepting_at_once)
{
    uint64_t auto_eoi[VAPIC_WORDS] = {[2] = UINT64_C(1) << 1};

    ck_assert(vapic_accept_at_once(&apic, 0x41));
    ck_assert(!vapic_accept_at_once(&apic, 0x42)); // the class in service
    ck_assert_int_eq(vapic_eoi(&apic), 0x41);
    ck_assert_int_eq(vapic_eoi(&apic), -1);
    vapic_set_tpr(&apic, 0x40);
    ck_assert(!vapic_accept_at_once(&apic, 0x41));
    vapic_set_tpr(&apic, 0x30);
    vapic_post(&apic, 0x91, false);
    ck_assert(!vapic_accept_at_once(&apic, 0x41)); // something is posted
    ck_assert_int_eq(vapic_deliverable(&apic), 0x91);
    ck_assert(!vapic_accept_at_once(&apic, 0xa1)); // or in IRR
    vapic_accept(&apic, 0x91);
    ck_assert_int_eq(vapic_eoi(&apic), 0x91);
    vapic_post(&apic, 0x61, true);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x61);
    vapic_accept(&apic, 0x61);
    ck_assert_int_eq(vapic_eoi(&apic), 0x61 | VAPIC_EOI_WAS_LEVEL);
    ck_assert(vapic_accept_at_once(&apic, 0x61)); // an edge this time
    ck_assert_int_eq(vapic_eoi(&apic), 0x61);
    vapic_set_auto_eoi(&apic, auto_eoi);
    ck_assert(vapic_accept_at_once(&apic, 0x81));
    ck_assert_int_eq(vapic_eoi(&apic), -1);
    wr(VAPIC_SVR, 0xff);
    ck_assert(!vapic_accept_at_once(&apic, 0x41)); // switched off
}
END_TEST

// ---- disabled states -------------------------------------------------------------------------

START_TEST(software_disabled)
{
    vapic_post(&apic, 0x40, false); // arrives before the switch: kept
    wr(VAPIC_LVT_LINT0, 0x700);
    wr(VAPIC_SVR, 0xff);
    for (uint32_t i = 0; i < VAPIC_LVT_COUNT; i++)
        ck_assert(rd(VAPIC_LVT_TIMER + i * 16) & VAPIC_LVT_MASKED);
    ck_assert(!vapic_accepts(&apic));
    vapic_post(&apic, 0x50, false);
    vapic_set_irr(&apic, 0x51);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x40); // IRR is held
    vapic_accept(&apic, 0x40);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    ck_assert_int_eq(vapic_eoi(&apic), 0x40);
    wr(VAPIC_LVT_LINT0, 0x700); // the mask cannot be cleared
    ck_assert_uint_eq(rd(VAPIC_LVT_LINT0), 0x10700);
    vapic_post(&apic, 0x52, false); // posted while disabled: dropped by the switch
    wr(VAPIC_SVR, 0x1ff);
    ck_assert_uint_eq(rd(VAPIC_LVT_LINT0), 0x10700); // masks stay
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    wr(VAPIC_ICR2, 5u << 24); // IPIs can still be sent
    wr(VAPIC_SVR, 0xff);
    wr(VAPIC_ICR, 0x4041);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_IPI);
}
END_TEST

START_TEST(hardware_disabled)
{
    vapic_set_irr(&apic, 0x40);
    wr(VAPIC_TPR, 0x20);
    wr(VAPIC_LDR, 0x01000000);
    ck_assert(vapic_match(&apic, 3, false));
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00100), VAPIC_OK);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_MODE | VAPIC_ACT_TIMER | VAPIC_ACT_TPR);
    ck_assert(!vapic_match(&apic, 3, false));
    ck_assert(!vapic_match(&apic, VAPIC_BROADCAST, false));
    ck_assert_uint_eq(rd(VAPIC_ID), 0xffffffff);
    wr(VAPIC_TPR, 0x30);
    ck_assert_int_eq(wrmsr(HV_X64_MSR_EOI, 0), VAPIC_GP);
    ck_assert_int_eq(wrmsr(X2(VAPIC_TPR), 0), VAPIC_GP);
    vapic_post(&apic, 0x44, false);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00900), VAPIC_OK);
    ck_assert_uint_eq(rd(VAPIC_TPR), 0); // power-on state
    ck_assert_uint_eq(rd(VAPIC_SVR), 0xff);
    ck_assert_uint_eq(rd(VAPIC_ID), 3u << 24);
    ck_assert_int_eq(vapic_deliverable(&apic), -1);
}
END_TEST

START_TEST(init_keeps_id_and_mode)
{
    vapic_set_irr(&apic, 0x40);
    vapic_post(&apic, 0x41, true);
    wr(VAPIC_LVT_TIMER, 0x31);
    wr(VAPIC_TIMER_INITIAL, 1000);
    wr(VAPIC_LDR, 0xff000000);
    vapic_reset(&apic);
    ck_assert_uint_eq(rd(VAPIC_ID), 3u << 24);
    ck_assert_uint_eq(rdmsr_ok(MSR_BASE), 0xfee00900);
    ck_assert_uint_eq(rd(VAPIC_SVR), 0xff);
    ck_assert_uint_eq(rd(VAPIC_LDR), 0);
    ck_assert_uint_eq(rd(VAPIC_DFR), 0xffffffff);
    ck_assert_uint_eq(rd(VAPIC_LVT_TIMER), VAPIC_LVT_MASKED);
    ck_assert_uint_eq(rd(VAPIC_TIMER_CURRENT), 0);
    ck_assert(!vapic_any_pending(&apic));
    ck_assert_uint_eq(vapic_timer_deadline(&apic), VAPIC_NO_DEADLINE);
    setup_x2apic();
    vapic_reset(&apic);
    ck_assert_uint_eq(rdmsr_ok(MSR_BASE), 0xfee00d00);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_LDR)), 1u << 3);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_ID)), 3);
}
END_TEST

// ---- local sources ---------------------------------------------------------------------------

START_TEST(lint_modes)
{
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT0), -1); // masked
    ck_assert(!vapic_accepts_extint(&apic));
    wr(VAPIC_LVT_LINT0, 0x700);
    ck_assert_uint_eq(act.flags & VAPIC_ACT_MIRROR, VAPIC_ACT_MIRROR);
    ck_assert_uint_eq(act.reg, VAPIC_LVT_LINT0);
    ck_assert(vapic_accepts_extint(&apic));
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT0), VAPIC_EXTINT);
    wr(VAPIC_LVT_LINT1, 0x400);
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT1), VAPIC_NMI);
    wr(VAPIC_LVT_THERMAL, 0x200);
    ck_assert_int_eq(vapic_local(&apic, VAPIC_THERMAL), VAPIC_SMI);
    wr(VAPIC_LVT_LINT1, 0x500);
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT1), VAPIC_INIT);
    wr(VAPIC_LVT_LINT1, 0x130); // lowest priority is reserved in an LVT
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT1), -1);
    wr(VAPIC_LVT_PERF, 0x35);
    ck_assert_int_eq(vapic_local(&apic, VAPIC_PERF), VAPIC_FIXED);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x35);
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00100), VAPIC_OK);
    ck_assert(vapic_accepts_extint(&apic));
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT0), VAPIC_EXTINT);
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT1), VAPIC_NMI);
    ck_assert_int_eq(vapic_local(&apic, VAPIC_PERF), -1);
}
END_TEST

START_TEST(level_lint_waits_for_eoi)
{
    wr(VAPIC_LVT_LINT0, VAPIC_LVT_LEVEL | 0x61);
    ck_assert_int_eq(vapic_local(&apic, VAPIC_LINT0), VAPIC_FIXED);
    ck_assert_uint_eq(rd(VAPIC_LVT_LINT0), VAPIC_LVT_LEVEL | VAPIC_LVT_REMOTE_IRR | 0x61);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x61);
    vapic_accept(&apic, 0x61);
    vapic_local(&apic, VAPIC_LINT0); // still asserted: not accepted again
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
    wr(VAPIC_LVT_LINT0, VAPIC_LVT_LEVEL | VAPIC_LVT_MASKED | 0x61); // remote IRR is read-only
    ck_assert(rd(VAPIC_LVT_LINT0) & VAPIC_LVT_REMOTE_IRR);
    ck_assert_int_eq(vapic_eoi(&apic), 0x61 | VAPIC_EOI_WAS_LEVEL);
    ck_assert(!(rd(VAPIC_LVT_LINT0) & VAPIC_LVT_REMOTE_IRR));
}
END_TEST

START_TEST(illegal_vectors_set_esr)
{
    wr(VAPIC_LVT_ERROR, 0x3e);
    vapic_post(&apic, 7, false);
    vapic_merge(&apic);
    ck_assert_uint_eq(rd(VAPIC_ESR), 0); // not latched yet
    wr(VAPIC_ESR, 0);
    ck_assert_uint_eq(rd(VAPIC_ESR), VAPIC_ESR_RECEIVE_ILLEGAL);
    wr(VAPIC_ESR, 0);
    ck_assert_uint_eq(rd(VAPIC_ESR), 0);
    ck_assert_int_eq(vapic_deliverable(&apic), 0x3e); // LVT ERROR
    vapic_accept(&apic, 0x3e);
    vapic_eoi(&apic);
    wr(VAPIC_LVT_LINT0, VAPIC_LVT_LEVEL | 5);
    vapic_local(&apic, VAPIC_LINT0);
    ck_assert(!(rd(VAPIC_LVT_LINT0) & VAPIC_LVT_REMOTE_IRR));
    wr(VAPIC_ESR, 0);
    ck_assert_uint_eq(rd(VAPIC_ESR), VAPIC_ESR_RECEIVE_ILLEGAL);
    vapic_accept(&apic, 0x3e);
    vapic_eoi(&apic);
    wr(VAPIC_LVT_ERROR, 0x0e); // an illegal error vector: no interrupt, no recursion
    wr(0x040, 0);
    wr(VAPIC_ESR, 0);
    ck_assert_uint_eq(rd(VAPIC_ESR), VAPIC_ESR_ILLEGAL_REGISTER | VAPIC_ESR_RECEIVE_ILLEGAL);
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
}
END_TEST

// ---- destinations ----------------------------------------------------------------------------

START_TEST(match_xapic)
{
    ck_assert(vapic_match(&apic, 3, false));
    ck_assert(!vapic_match(&apic, 2, false));
    ck_assert(!vapic_match(&apic, 0x103, false));
    ck_assert(vapic_match(&apic, vapic_dest8(0xff), false));
    ck_assert(!vapic_match(&apic, vapic_dest8(0xfe), false));
    ck_assert(!vapic_match(&apic, 0xff, true)); // LDR 0
    wr(VAPIC_LDR, 0x24ffffff);
    ck_assert_uint_eq(rd(VAPIC_LDR), 0x24000000);
    ck_assert(vapic_match(&apic, 0x04, true));
    ck_assert(vapic_match(&apic, 0x21, true));
    ck_assert(!vapic_match(&apic, 0xdb, true));
    ck_assert(vapic_match(&apic, vapic_dest8(0xff), true));
    ck_assert(!vapic_match(&apic, 0x124, true));
    wr(VAPIC_DFR, 0); // cluster 2, member 4
    ck_assert_uint_eq(rd(VAPIC_DFR), 0x0fffffff);
    ck_assert(vapic_match(&apic, 0x24, true));
    ck_assert(vapic_match(&apic, 0x2f, true));
    ck_assert(!vapic_match(&apic, 0x2b, true));
    ck_assert(!vapic_match(&apic, 0x34, true));
    wr(VAPIC_DFR, 0x50000000); // no such model
    ck_assert(!vapic_match(&apic, 0x24, true));
}
END_TEST

START_TEST(match_x2apic)
{
    vapic_init(&apic, 0x1234, ALL_FLAGS, &clock_3g);
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00d00), VAPIC_OK);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_LDR)), 0x01230010);
    ck_assert(vapic_match(&apic, 0x1234, false));
    ck_assert(!vapic_match(&apic, 0x34, false));
    ck_assert(vapic_match(&apic, 0x01230010, true));
    ck_assert(vapic_match(&apic, 0x0123ffff, true));
    ck_assert(!vapic_match(&apic, 0x0123ffef, true));
    ck_assert(!vapic_match(&apic, 0x01220010, true));
    ck_assert(vapic_match(&apic, VAPIC_BROADCAST, true));
    ck_assert(vapic_match(&apic, VAPIC_BROADCAST, false));
    ck_assert(!vapic_match(&apic, 0xff, false));
}
END_TEST

START_TEST(lowest_priority)
{
    static struct vapic other;

    vapic_init(&other, 4, 0, &clock_3g);
    vapic_set_tpr(&apic, 0x2f);
    vapic_set_tpr(&other, 0x20);
    ck_assert(!vapic_lower_priority(&apic, &other)); // same class: keep the first
    ck_assert(!vapic_lower_priority(&other, &apic));
    vapic_set_tpr(&other, 0x1f);
    ck_assert(vapic_lower_priority(&other, &apic));
    ck_assert(!vapic_lower_priority(&apic, &other));
    ck_assert(!vapic_accepts(&other));
}
END_TEST

int main(void)
{
    TCase *plain = tcase_create("xapic");
    TCase *threads = tcase_create("threads");

    tcase_add_checked_fixture(plain, setup_xapic, NULL);
    tcase_add_test(plain, delivers_highest_first);
    tcase_add_test(plain, nesting_by_class);
    tcase_add_test(plain, tpr_and_ppr);
    tcase_add_test(plain, an_eoi_at_once_is_of_an_edge_with_nothing_behind_it);
    tcase_add_test(plain, every_vector_alone);
    tcase_add_test(plain, random_against_model);
    tcase_add_test(plain, trigger_mode_follows_last_acceptance);
    tcase_add_test(plain, eoi_reports_level);
    tcase_add_test(plain, auto_eoi_leaves_no_isr);
    tcase_add_test(plain, software_disabled);
    tcase_add_test(plain, hardware_disabled);
    tcase_add_test(plain, init_keeps_id_and_mode);
    tcase_add_test(plain, lint_modes);
    tcase_add_test(plain, level_lint_waits_for_eoi);
    tcase_add_test(plain, illegal_vectors_set_esr);
    tcase_add_test(plain, match_xapic);
    tcase_add_test(plain, match_x2apic);
    tcase_add_test(plain, lowest_priority);
    tcase_add_checked_fixture(threads, setup_xapic, NULL);
    tcase_set_timeout(threads, 60);
    tcase_add_test(threads, posting_loses_nothing);
    tcase_add_test(threads, posting_counts_agree);
    tcase_add_test(threads, taking_at_once_loses_nothing);
    tcase_add_test(threads, taking_at_once_is_merging_and_accepting);
    tcase_add_test(threads, accepting_at_once);
    return run_suite("vapic", (TCase *[]){plain, threads}, 2);
}
