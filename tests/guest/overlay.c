// SPDX-License-Identifier: BSD-2-Clause-Patent
// Overlay pages where other hypervisors have stumbled: pages that cannot be there, registers that
// two processors write at once, a page that moves while another processor writes through it.
// TLFS: GPA Overlay Pages.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
// rig: --vps 4 --lps 2
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define ENABLE  HV_PAGE_MSR_ENABLE
#define BEYOND  (1ul << 50)
#define HOLE    0xd0000000ul
#define ROUNDS  200u
#define RACES   40u
#define PATTERN 0x5a5a5a5a5a5a5a5aul

_Alignas(4096) static uint64_t spare[2][512];

static bool is_gp(struct trap trap)
{
    return trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
}

// ---- pages that cannot be there ---------------------------------------------------------------

struct page_msr {
    uint32_t msr;
    bool faults; // beyond the GPA space
    const char *name;
};

static const struct page_msr page_msrs[] = {
    {HV_X64_MSR_REFERENCE_TSC, false, "REFERENCE_TSC"},
    {HV_X64_MSR_SIMP, false, "SIMP"},
    {HV_X64_MSR_SIEFP, false, "SIEFP"},
    {HV_X64_MSR_VP_ASSIST_PAGE, true, "VP_ASSIST_PAGE"},
};
#define PAGE_MSRS (sizeof(page_msrs) / sizeof(page_msrs[0]))

static void test_beyond(const struct page_msr *m)
{
    struct trap trap = try_wrmsr(m->msr, BEYOND | ENABLE);
    if (m->faults) {
        tap_ok(is_gp(trap) && rdmsr(m->msr) == 0, "%s: a page beyond the GPA space is #GP(0)",
               m->name);
    } else {
        tap_ok(!trap.taken && rdmsr(m->msr) == (BEYOND | ENABLE),
               "%s: a page beyond the GPA space is taken, and not accessible", m->name);
    }
    wrmsr(m->msr, 0);
    wrmsr(m->msr, ~0xffful); // where, disabled, it does not matter
    tap_is(rdmsr(m->msr), ~0xffful, "%s: disabled it may name any page", m->name);
    wrmsr(m->msr, 0);
}

// In a hole and on another overlay; what is beneath comes back.
static void test_places(const struct page_msr *m)
{
    uint8_t value = 0xaa;
    wrmsr(m->msr, HOLE | ENABLE);
    struct trap trap = try_read8(HOLE, &value);
    wrmsr(m->msr, 0);
    tap_ok(!trap.taken && value != 0xaa, "%s: in a hole there is a page then", m->name);
    wrmsr(m->msr, hv_gpa(hv_page) | ENABLE);
    wrmsr(m->msr, 0);
    tap_ok(hv_page[0] == 0x0f && hv_page[3] == 0xc3,
           "%s: laid over the hypercall page and taken away, that is as it was", m->name);
    spare[0][0] = PATTERN;
    wrmsr(m->msr, hv_gpa(spare[0]) | ENABLE | 0xffe);
    tap_is(rdmsr(m->msr) & 0xffe, 0xffe, "%s: bits 11:1 are preserved", m->name);
    wrmsr(m->msr, 0);
    tap_is(READ_ONCE(spare[0][0]), PATTERN, "%s: the memory beneath comes back", m->name);
}

// Messages and events with nowhere to go.
static void test_no_synic_page(void)
{
    wrmsr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    wrmsr(HV_X64_MSR_SIMP, BEYOND | ENABLE);
    wrmsr(HV_X64_MSR_SINT(3), 0x55);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_AUTO_ENABLE | 3ul << HV_STIMER_SINT_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 1);
    uint32_t strays = trap_stray_count;
    sti();
    clock_delay(2000);
    cli();
    if (trap_stray_count != strays) {
        apic_eoi();
    }
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, 0);
    wrmsr(HV_X64_MSR_SIMP, 0);
    wrmsr(HV_X64_MSR_SINT(3), HV_SINT_RESET_VALUE);
    wrmsr(HV_X64_MSR_SCONTROL, 0);
    tap_ok(rdmsr(HV_X64_MSR_VP_INDEX) == percpu()->index,
           "a timer message for a page beyond the GPA space harms nobody");
}

// ---- two processors, one register -------------------------------------------------------------

static volatile uint32_t bad_values;

// Each processor has a place of its own for a register that the partition has once.
static void race(void *context)
{
    uint32_t msr = *(const uint32_t *)context;
    uint64_t mine = hv_gpa(spare[percpu()->index & 1]);
    for (uint32_t i = 0; i < RACES; i++) {
        uint64_t value;
        wrmsr(msr, mine | ENABLE);
        value = rdmsr(msr);
        bad_values += value != 0 && value != (hv_gpa(spare[0]) | ENABLE) &&
                      value != (hv_gpa(spare[1]) | ENABLE);
        wrmsr(msr, 0);
    }
}

static void test_race(void)
{
    static uint32_t msr = HV_X64_MSR_REFERENCE_TSC;
    for (uint32_t i = 0; i < 512; i++) {
        spare[0][i] = spare[1][i] = PATTERN;
    }
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, race, &msr);
    }
    race(&msr);
    bool all = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        all &= smp_wait(i, CLOCK_PATIENCE);
    }
    bool intact = true;
    for (uint32_t i = 0; i < 512; i++) {
        intact &= READ_ONCE(spare[0][i]) == PATTERN && READ_ONCE(spare[1][i]) == PATTERN;
    }
    tap_ok(all && bad_values == 0, "processors that write REFERENCE_TSC at once see one's or none");
    tap_ok(rdmsr(HV_X64_MSR_REFERENCE_TSC) == 0 && intact,
           "in the end the page is away, and the memory beneath untouched");
}

static volatile bool enabling;

static void enable_page(void *context)
{
    (void)context;
    while (enabling) {
        wrmsr(HV_X64_MSR_HYPERCALL, hv_gpa(spare[1]) | HV_MSR_HYPERCALL_ENABLE);
        clock_delay(5); // or the other's writes would find the register taken again and again
    }
}

// One processor gives up the identity while another enables the page, which must not outlive it.
static void test_identity_race(void)
{
    uint32_t outlived = 0;
    if (machine.cpu_count < 2) {
        tap_skip("one VP", "no hypercall page without an identity, whoever enables one");
        return;
    }
    enabling = true;
    smp_run(1, enable_page, NULL);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        wrmsr(HV_X64_MSR_GUEST_OS_ID, HV_TEST_OS_ID);
        wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
        outlived += rdmsr(HV_X64_MSR_HYPERCALL) & HV_MSR_HYPERCALL_ENABLE;
    }
    enabling = false;
    bool ended = smp_wait(1, 10 * CLOCK_PATIENCE);
    tap_ok(ended && outlived == 0, "no hypercall page without an identity, whoever enables one");
    hv_setup();
}

// ---- writing through a page that moves --------------------------------------------------------

static volatile bool writing;
static volatile uint64_t writes;

static void write_through(void *context)
{
    volatile uint64_t *page = context;
    while (writing) {
        for (uint32_t i = 0; i < 512; i++) {
            page[i] = PATTERN;
        }
        writes++;
    }
}

static void test_moving(void)
{
    if (machine.cpu_count < 2) {
        tap_skip("one VP", "an overlay moves while another processor writes through it");
        return;
    }
    for (uint32_t i = 0; i < 512; i++) {
        spare[0][i] = 0;
        spare[1][i] = ~PATTERN;
    }
    writing = true;
    smp_run(1, write_through, spare[0]);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        wrmsr(HV_X64_MSR_SIMP, hv_gpa(spare[0]) | ENABLE);
        wrmsr(HV_X64_MSR_SIMP, hv_gpa(spare[1]) | ENABLE);
        wrmsr(HV_X64_MSR_SIMP, 0);
    }
    writing = false;
    bool ended = smp_wait(1, CLOCK_PATIENCE);
    bool right = true;
    for (uint32_t i = 0; i < 512; i++) {
        uint64_t first = READ_ONCE(spare[0][i]);
        right &= (first == 0 || first == PATTERN) && READ_ONCE(spare[1][i]) == ~PATTERN;
    }
    tap_ok(ended && writes > 0, "an overlay moves %u times while another processor writes", ROUNDS);
    tap_ok(right, "what is written goes to the page that is there, and nowhere else");
}

void guest_main(void)
{
    hv_need();
    clock_tsc_hz();
    apic_enable(apic_has_x2());
    if (!tap_is(smp_start_all(), machine.cpu_count, "all processors start")) {
        return;
    }
    hv_setup();
    for (unsigned i = 0; i < PAGE_MSRS; i++) {
        test_beyond(&page_msrs[i]);
        test_places(&page_msrs[i]);
    }
    test_no_synic_page();
    test_race();
    test_identity_race();
    test_moving();
}
