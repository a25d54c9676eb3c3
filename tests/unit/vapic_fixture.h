// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the tests of the virtual APIC share: two APICs on a 3 GHz TSC with a 200 MHz timer (15 TSC
// counts a tick, exactly), and shorthands for access.
#pragma once

#include <check.h>
#include <stdlib.h>

#include "corbel/vapic.h"
#include "hv/msr.h"

#define TSC_HZ       3000000000u
#define APIC_HZ      200000000u
#define TSC_PER_TICK 15u
#define MSR_BASE     0x1bu
#define MSR_DEADLINE 0x6e0u
#define X2(reg)      (0x800u + ((reg) >> 4))
#define ALL_FLAGS    (VAPIC_FLAG_BSP | VAPIC_FLAG_X2APIC | VAPIC_FLAG_TSC_DEADLINE)

static struct vapic_clock clock_3g;
static struct vapic apic;
static struct vapic_action act;
static uint64_t tsc;

static inline uint32_t rd(uint32_t reg)
{
    return vapic_read_mmio(&apic, reg, tsc);
}
static inline void wr(uint32_t reg, uint32_t value)
{
    vapic_write_mmio(&apic, reg, value, tsc, &act);
}
static inline enum vapic_result wrmsr(uint32_t msr, uint64_t value)
{
    return vapic_write_msr(&apic, msr, value, tsc, &act);
}
static inline enum vapic_result rdmsr(uint32_t msr, uint64_t *value)
{
    return vapic_read_msr(&apic, msr, tsc, value);
}
// A value that must be readable.
static inline uint64_t rdmsr_ok(uint32_t msr)
{
    uint64_t value = 0;

    ck_assert_int_eq(rdmsr(msr, &value), VAPIC_OK);
    return value;
}

// Software-enabled, xAPIC mode, id 3.
static inline void setup_xapic(void)
{
    vapic_clock_init(&clock_3g, TSC_HZ, APIC_HZ);
    tsc = 1000000;
    vapic_init(&apic, 3, ALL_FLAGS, &clock_3g);
    wr(VAPIC_SVR, VAPIC_SVR_ENABLE | 0xff);
}
static inline void setup_x2apic(void)
{
    setup_xapic();
    ck_assert_int_eq(wrmsr(MSR_BASE, 0xfee00d00), VAPIC_OK);
}

static inline int run_suite(const char *name, TCase *const *cases, size_t count)
{
    Suite *suite = suite_create(name);
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < count; i++)
        suite_add_tcase(suite, cases[i]);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
