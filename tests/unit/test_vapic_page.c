// SPDX-License-Identifier: BSD-2-Clause-Patent
// State on loan to the processor: single steps, and a processor that does what SDM 3C ch. "APIC
// Virtualization and Virtual Interrupts" says, beside an APIC in software: both guests must see the
// same.
#include "vapic_fixture.h"

#include "corbel/vapic_page.h"

static uint32_t page[1024];
static uint16_t held;

static uint32_t page_reg(uint32_t reg)
{
    return page[reg / 4];
}

static bool page_bit(uint32_t base, uint32_t vector)
{
    return page_reg(base + (vector >> 5) * 0x10) >> (vector & 31) & 1;
}

static void put_bit(uint32_t base, uint32_t vector, bool set)
{
    uint32_t *word = &page[(base + (vector >> 5) * 0x10) / 4], mask = 1u << (vector & 31);

    *word = set ? *word | mask : *word & ~mask;
}

static void setup(void)
{
    setup_x2apic();
    for (size_t i = 0; i < 1024; i++)
        page[i] = 0;
    held = 0;
}

// ---- the model of the processor -----------------------------------------------------------------

static uint8_t highest(uint32_t base)
{
    for (uint32_t v = 255; v >= 16; v--)
        if (page_bit(base, v))
            return (uint8_t)v;
    return 0;
}

static uint8_t cpu_ppr(void)
{
    uint8_t tpr = (uint8_t)page_reg(VAPIC_TPR), svi = (uint8_t)(held >> 8);

    return tpr >> 4 >= svi >> 4 ? tpr : svi & 0xf0;
}

static void cpu_status(void)
{
    held = (uint16_t)(highest(VAPIC_IRR) | highest(VAPIC_ISR) << 8);
    page[VAPIC_PPR / 4] = cpu_ppr();
}

static int cpu_deliver(void)
{
    uint8_t vector = (uint8_t)held;

    if (vector >> 4 <= cpu_ppr() >> 4)
        return -1;
    put_bit(VAPIC_IRR, vector, false);
    put_bit(VAPIC_ISR, vector, true);
    cpu_status();
    return vector;
}

static uint8_t cpu_eoi(void)
{
    uint8_t vector = (uint8_t)(held >> 8);

    put_bit(VAPIC_ISR, vector, false);
    cpu_status();
    return vector;
}

static void cpu_self_ipi(uint8_t vector)
{
    put_bit(VAPIC_IRR, vector, true);
    cpu_status();
}

// ---- single steps -------------------------------------------------------------------------------

START_TEST(may_be_lent)
{
    static const uint64_t some[VAPIC_WORDS] = {0, 0, 1, 0}, none[VAPIC_WORDS];

    ck_assert(vapic_lendable(&apic));
    vapic_set_auto_eoi(&apic, some);
    ck_assert(!vapic_lendable(&apic));
    vapic_set_auto_eoi(&apic, none);
    ck_assert(vapic_lendable(&apic));
    ck_assert_int_eq(wrmsr(X2(VAPIC_SVR), 0xff), VAPIC_OK);
    ck_assert(!vapic_lendable(&apic));
    setup_xapic();
    ck_assert(!vapic_lendable(&apic));
}
END_TEST

START_TEST(registers)
{
    vapic_prepare_page(&apic, page);
    ck_assert_uint_eq(page_reg(VAPIC_ID), rdmsr_ok(X2(VAPIC_ID)));
    ck_assert_uint_eq(page_reg(VAPIC_VER), rdmsr_ok(X2(VAPIC_VER)));
    ck_assert_uint_eq(page_reg(VAPIC_LDR), rdmsr_ok(X2(VAPIC_LDR)));
    vapic_set_tpr(&apic, 0x57);
    vapic_set_irr(&apic, 0x41);
    vapic_set_irr(&apic, 0xff);
    vapic_accept(&apic, 0xff);
    ck_assert_uint_eq(vapic_lend(&apic, page, 0), 0xff41);
    for (uint32_t reg = VAPIC_ISR; reg < VAPIC_ESR; reg += 0x10)
        if (reg < VAPIC_TMR || reg >= VAPIC_IRR)
            ck_assert_uint_eq(page_reg(reg), rdmsr_ok(X2(reg)));
    ck_assert_uint_eq(page_reg(VAPIC_TPR), 0x57);
    ck_assert_uint_eq(page_reg(VAPIC_PPR), rdmsr_ok(X2(VAPIC_PPR)));
}
END_TEST

// What is gone from the APIC leaves the page, and what is gone from the page leaves the APIC.
START_TEST(empties)
{
    vapic_set_irr(&apic, 0x61);
    held = vapic_lend(&apic, page, 0);
    ck_assert_int_eq(cpu_deliver(), 0x61);
    vapic_take_back(&apic, page, 0x61, held);
    ck_assert_int_eq(vapic_in_service(&apic), 0x61);
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
    ck_assert_int_eq(vapic_eoi(&apic), 0x61);
    ck_assert_uint_eq(vapic_lend(&apic, page, held), 0);
    ck_assert(!page_bit(VAPIC_ISR, 0x61) && !page_bit(VAPIC_IRR, 0x61));
    vapic_set_irr(&apic, 0x62);
    held = vapic_lend(&apic, page, 0);
    ck_assert_int_eq(cpu_deliver(), 0x62);
    cpu_eoi();
    vapic_take_back(&apic, page, 0x62, held);
    ck_assert(!vapic_any_pending(&apic));
    ck_assert_int_eq(vapic_in_service(&apic), -1);
    ck_assert_uint_eq(apic.ppr, 0);
}
END_TEST

START_TEST(task_priority)
{
    held = vapic_lend(&apic, page, 0);
    page[VAPIC_TPR / 4] = 0x7b;
    vapic_take_back(&apic, page, 0, 0);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_TPR)), 0x7b);
    ck_assert_uint_eq(rdmsr_ok(X2(VAPIC_PPR)), 0x7b);
}
END_TEST

START_TEST(assist_is_taken_back)
{
    static _Atomic uint32_t word;

    vapic_set_assist(&apic, &word);
    vapic_set_irr(&apic, 0x50);
    vapic_accept(&apic, 0x50);
    vapic_spare_eoi(&apic, 0x50);
    ck_assert_uint_eq(word, HV_APIC_ASSIST_NO_EOI_REQUIRED);
    ck_assert_uint_eq(vapic_lend(&apic, page, 0), 0x5000);
    ck_assert_uint_eq(word, 0);
    vapic_spare_eoi(&apic, 0x50);
    word = 0; // the guest's EOI
    ck_assert_uint_eq(vapic_lend(&apic, page, 0x5000), 0);
    ck_assert(!page_bit(VAPIC_ISR, 0x50));
}
END_TEST

START_TEST(level)
{
    uint64_t levels[VAPIC_WORDS];

    vapic_post(&apic, 0x85, true);
    vapic_post(&apic, 0x86, false);
    vapic_merge(&apic);
    held = vapic_lend(&apic, page, 0);
    vapic_levels(&apic, levels);
    ck_assert_uint_eq(levels[2], UINT64_C(1) << 5);
    ck_assert_uint_eq(levels[0] | levels[1] | levels[3], 0);
    ck_assert_int_eq(cpu_deliver(), 0x86);
    ck_assert_int_eq(cpu_eoi(), 0x86);
    ck_assert_int_eq(cpu_deliver(), 0x85);
    ck_assert_int_eq(cpu_eoi(), 0x85);
    vapic_take_back(&apic, page, 0x86, held);
    vapic_eoi_done(&apic, 0x85, &act);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_EOI | VAPIC_ACT_EOI_LEVEL | VAPIC_ACT_PENDING);
    ck_assert_uint_eq(act.eoi_vector, 0x85);
    // The same vector as a self IPI is an edge, wherever it is found.
    vapic_lend(&apic, page, held);
    vapic_levels(&apic, levels);
    ck_assert_uint_eq(levels[2], 0);
    cpu_self_ipi(0x85);
    ck_assert_int_eq(cpu_deliver(), 0x85);
    vapic_take_back(&apic, page, 0, held);
    vapic_levels(&apic, levels);
    ck_assert_uint_eq(levels[2], 0);
    vapic_eoi_done(&apic, 0x85, &act);
    ck_assert_uint_eq(act.flags, VAPIC_ACT_EOI | VAPIC_ACT_PENDING);
}
END_TEST

// ---- posting to the processor -------------------------------------------------------------------

START_TEST(withdraws)
{
    uint64_t vectors[VAPIC_WORDS];

    ck_assert(vapic_post(&apic, 0x31, false) && vapic_post(&apic, 0xf1, false));
    ck_assert(vapic_withdraw(&apic, vectors));
    ck_assert_uint_eq(vectors[0], UINT64_C(1) << 0x31);
    ck_assert_uint_eq(vectors[3], UINT64_C(1) << 0x31);
    ck_assert(vapic_post(&apic, 0x31, false)); // a new one
    ck_assert(vapic_withdraw(&apic, vectors));
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
    vapic_take_edges(&apic, vectors);
    ck_assert_int_eq(vapic_highest_irr(&apic), 0x31);
}
END_TEST

// Level-triggered and illegal vectors are the owner's.
START_TEST(withdraws_edges_only)
{
    uint64_t vectors[VAPIC_WORDS];

    vapic_post(&apic, 0x60, true);
    vapic_post(&apic, 0x61, false);
    vapic_post(&apic, 3, false);
    ck_assert(!vapic_withdraw(&apic, vectors));
    ck_assert_uint_eq(vectors[1], UINT64_C(1) << 0x21);
    ck_assert_uint_eq(vectors[0], 0);
    ck_assert(!vapic_post(&apic, 0x60, true)); // still there
    ck_assert_int_eq(vapic_highest_irr(&apic), 0x60);
    ck_assert_uint_eq(apic.esr_pending, VAPIC_ESR_RECEIVE_ILLEGAL);
    ck_assert_uint_eq(apic.tmr[1], UINT64_C(1) << 0x20);
}
END_TEST

START_TEST(disabled_takes_nothing)
{
    static const uint64_t vectors[VAPIC_WORDS] = {0, 1, 0, 0};

    wrmsr(X2(VAPIC_SVR), 0xff);
    vapic_take_edges(&apic, vectors);
    ck_assert_int_eq(vapic_highest_irr(&apic), -1);
}
END_TEST

// ---- both ways
// -----------------------------------------------------------------------------------

static struct vapic soft;

static uint32_t seed;
static uint32_t next(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

// The trigger mode of a vector that is neither pending nor in service means nothing.
static void agree(void)
{
    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        ck_assert_uint_eq(apic.irr[w], soft.irr[w]);
        ck_assert_uint_eq(apic.isr[w], soft.isr[w]);
        ck_assert_uint_eq((apic.tmr[w] ^ soft.tmr[w]) & (soft.irr[w] | soft.isr[w]), 0);
    }
    ck_assert_uint_eq(apic.ppr, soft.ppr);
    ck_assert_uint_eq(apic.tpr, soft.tpr);
}

// One thing that the guest does while the state is on loan. Returns what it sees.
static uint32_t guest_step(uint32_t kind, uint8_t vector)
{
    switch (kind) {
    case 0:
        page[VAPIC_TPR / 4] = vector & 0xf0;
        cpu_status();
        return 0;
    case 1:
        cpu_self_ipi(vector);
        return 0;
    case 2:
        return (uint32_t)cpu_deliver();
    default:
        if (!(held >> 8))
            return UINT32_MAX;
        return cpu_eoi();
    }
}

static uint32_t soft_step(uint32_t kind, uint8_t vector)
{
    int taken;

    switch (kind) {
    case 0:
        vapic_set_tpr(&soft, vector & 0xf0);
        return 0;
    case 1:
        vapic_set_irr(&soft, vector);
        return 0;
    case 2:
        taken = vapic_deliverable(&soft);
        if (taken >= 0)
            vapic_accept(&soft, (uint8_t)taken);
        return (uint32_t)taken;
    default:
        taken = vapic_eoi(&soft);
        return taken < 0 ? UINT32_MAX : (uint32_t)taken & 0xff;
    }
}

START_TEST(same_as_software)
{
    uint64_t levels[VAPIC_WORDS];
    uint16_t lent;
    uint32_t seen;

    seed = (uint32_t)_i * 7919u + 1u;
    vapic_init(&soft, 3, ALL_FLAGS, &clock_3g);
    ck_assert_int_eq(vapic_write_msr(&soft, MSR_BASE, 0xfee00d00, tsc, &act), VAPIC_OK);
    ck_assert_int_eq(vapic_write_msr(&soft, X2(VAPIC_SVR), 0x1ff, tsc, &act), VAPIC_OK);
    for (uint32_t round = 0; round < 2000; round++) {
        if (next(2)) {
            uint8_t vector = (uint8_t)(16 + next(240));
            bool level = next(4) == 0;
            vapic_post(&apic, vector, level);
            vapic_post(&soft, vector, level);
        }
        vapic_merge(&apic);
        vapic_merge(&soft);
        held = lent = vapic_lend(&apic, page, held);
        vapic_levels(&apic, levels);
        ck_assert_uint_eq(page_reg(VAPIC_PPR), cpu_ppr());
        for (uint32_t steps = next(6); steps; steps--) {
            uint32_t kind = next(4);
            uint8_t vector = (uint8_t)(16 + next(240));
            bool in_use = page_bit(VAPIC_IRR, vector) || page_bit(VAPIC_ISR, vector);

            // An edge over a level of the same vector that is under way has no defined trigger
            // mode.
            if (kind == 1 && in_use)
                continue;
            seen = guest_step(kind, vector);
            ck_assert_uint_eq(seen, soft_step(kind, vector));
            if (kind == 3 && seen < 256 && levels[seen >> 6] >> (seen & 63) & 1)
                break; // an exit
        }
        vapic_take_back(&apic, page, lent, held);
        agree();
    }
}
END_TEST

int main(void)
{
    TCase *steps = tcase_create("steps"), *both = tcase_create("both");

    tcase_add_checked_fixture(steps, setup, NULL);
    tcase_add_test(steps, may_be_lent);
    tcase_add_test(steps, registers);
    tcase_add_test(steps, empties);
    tcase_add_test(steps, task_priority);
    tcase_add_test(steps, assist_is_taken_back);
    tcase_add_test(steps, level);
    tcase_add_test(steps, withdraws);
    tcase_add_test(steps, withdraws_edges_only);
    tcase_add_test(steps, disabled_takes_nothing);
    tcase_add_checked_fixture(both, setup, NULL);
    tcase_add_loop_test(both, same_as_software, 0, 20);
    return run_suite("vapic_page", (TCase *const[]){steps, both}, 2);
}
