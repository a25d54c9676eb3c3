// SPDX-License-Identifier: BSD-2-Clause-Patent
// Destinations of interprocessor interrupts: physical, logical (flat, cluster, x2APIC), shorthands,
// lowest priority, broadcast.
//
// rig: --vps 4 --lps 2
// rig: --vps 4 --lps 1
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define TEST_VECTOR 0x43
#define SETTLE_US   5000 // for those that should not come

static const char *form;
static volatile uint32_t taken[CPU_MAX];

static void on_test(struct trap_frame *frame)
{
    (void)frame;
    taken[percpu()->index]++;
    apic_eoi();
}

// Sends, waits, and compares who got it with the bits of `want`.
static void expect(uint32_t dest, uint32_t icr, uint32_t want, const char *what)
{
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        taken[i] = 0;
    }
    want &= (1u << machine.cpu_count) - 1;
    sti();
    apic_ipi(dest, icr | TEST_VECTOR);
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        if (want >> i & 1) {
            clock_wait(&taken[i], 1, CLOCK_PATIENCE);
        }
    }
    clock_delay(SETTLE_US);
    cli();
    uint32_t got = 0, more = 0;
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        got |= (uint32_t)(taken[i] > 0) << i;
        more += taken[i] > 1;
    }
    tap_ok(got == want && !more, "%s: %s (processors %x, want %x)", form, what, got, want);
}

static void test_physical(void)
{
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        expect(machine.apic_ids[i], ICR_FIXED, 1u << i, "a physical destination is one processor");
    }
    expect(apic_is_x2() ? 0xffffffff : 0xff, ICR_FIXED, ~0u,
           "the physical broadcast id is every processor");
    expect(0x77, ICR_FIXED, 0, "an id that no processor has is none");
}

static void test_shorthands(void)
{
    expect(0x77, ICR_FIXED | ICR_SELF, 1, "shorthand self is the sender");
    expect(0x77, ICR_FIXED | ICR_ALL, ~0u, "shorthand all is every processor");
    expect(0x77, ICR_FIXED | ICR_OTHERS, ~1u, "shorthand others is all but the sender");
}

static void set_flat(void *context)
{
    uint32_t index = percpu()->index;
    apic_write(APIC_DFR, *(const uint32_t *)context);
    apic_write(APIC_LDR, (1u << index) << 24);
}

// Two processors in each cluster.
static void set_cluster(void *context)
{
    uint32_t index = percpu()->index;
    apic_write(APIC_DFR, *(const uint32_t *)context);
    apic_write(APIC_LDR, ((index / 2) << 4 | 1u << (index % 2)) << 24);
}

static bool on_all(smp_body *body, void *context)
{
    bool all = true;
    body(context);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        all &= smp_call(i, body, context);
    }
    return all;
}

static void test_flat(void)
{
    uint32_t model = 0xffffffff;
    tap_ok(on_all(set_flat, &model), "%s: the flat model can be set", form);
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        expect(1u << i, ICR_FIXED | ICR_LOGICAL, 1u << i, "flat: one bit is one processor");
    }
    expect(0x6, ICR_FIXED | ICR_LOGICAL, 0x6, "flat: two bits are two processors");
    expect(0xff, ICR_FIXED | ICR_LOGICAL, ~0u, "flat: all bits are every processor");
    expect(0x80, ICR_FIXED | ICR_LOGICAL, 0, "flat: a bit of no processor is none");
}

static void test_cluster(void)
{
    uint32_t model = 0x0fffffff;
    tap_ok(on_all(set_cluster, &model), "%s: the cluster model can be set", form);
    expect(0x01, ICR_FIXED | ICR_LOGICAL, 0x1, "cluster 0, bit 0");
    expect(0x03, ICR_FIXED | ICR_LOGICAL, 0x3, "cluster 0, both");
    expect(0x12, ICR_FIXED | ICR_LOGICAL, 0x8, "cluster 1, bit 1");
    expect(0x13, ICR_FIXED | ICR_LOGICAL, 0xc, "cluster 1, both");
    expect(0xff, ICR_FIXED | ICR_LOGICAL, ~0u, "cluster: broadcast");
    model = 0xffffffff;
    on_all(set_flat, &model);
}

static volatile uint32_t ldr[CPU_MAX];

static void read_ldr(void *context)
{
    (void)context;
    ldr[percpu()->index] = apic_read(APIC_LDR);
}

static uint32_t x2_logical(uint32_t id)
{
    return (id >> 4) << 16 | 1u << (id & 15);
}

static void test_x2_logical(void)
{
    on_all(read_ldr, NULL);
    bool right = true;
    uint32_t two = 0, all = 0;
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        right &= ldr[i] == x2_logical(machine.apic_ids[i]);
        all |= x2_logical(machine.apic_ids[i]);
        two |= i == 1 || i == 2 ? x2_logical(machine.apic_ids[i]) : 0;
    }
    tap_ok(right, "%s: the logical id follows from the APIC id", form);
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        expect(ldr[i], ICR_FIXED | ICR_LOGICAL, 1u << i, "logical: one bit is one processor");
    }
    expect(two, ICR_FIXED | ICR_LOGICAL, 0x6, "logical: two bits are two processors");
    expect(all, ICR_FIXED | ICR_LOGICAL, ~0u, "logical: a cluster's bits are its processors");
    expect(0xffffffff, ICR_FIXED | ICR_LOGICAL, ~0u, "logical: broadcast");
    expect(0x00770001, ICR_FIXED | ICR_LOGICAL, 0, "logical: a cluster of no processor is none");
}

static void test_lowest(uint32_t dest)
{
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        taken[i] = 0;
    }
    uint32_t total = 0;
    sti();
    for (int n = 0; n < 8; n++) {
        apic_ipi(dest, ICR_LOWEST | ICR_LOGICAL | TEST_VECTOR);
        clock_delay(4 * SETTLE_US);
    }
    cli();
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        total += taken[i];
    }
    tap_is(total, 8, "%s: a lowest-priority interrupt goes to exactly one", form);
}

static void test_form(bool x2)
{
    form = x2 ? "x2APIC" : "xAPIC";
    apic_enable(x2);
    if (!tap_ok(smp_start_all() == machine.cpu_count, "%s: all processors start", form)) {
        return;
    }
    test_physical();
    test_shorthands();
    if (x2) {
        test_x2_logical();
        return;
    }
    test_flat();
    test_lowest(0xf);
    test_cluster();
}

void guest_main(void)
{
    clock_tsc_hz();
    trap_set_handler(TEST_VECTOR, on_test);
    test_form(false);
    if (apic_has_x2()) {
        test_form(true);
    }
}
