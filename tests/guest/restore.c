// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest that goes on from its hibernation gives all its processors the TSC, and the partition the
// reference time, that they had: counter, reference TSC page, timers.
// TLFS: HvCallRestorePartitionTime.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
// rig: --vps 4 --lps 2
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/call_partition.h"
#include "hv/synic.h"
#include "hv/time.h"
#include "hvcall.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define VECTOR    0x57
#define MS        10000ul // reference time units
#define YEAR      (864000000000ul * 365)
#define PAUSES    500000000u
#define CLOSE_US  20000000ul // how far clocks go until somebody looks, at most
#define TSC_OTHER (1ul << 52)
#define PRIVILEGES                                                                                 \
    (HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER | HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC)

_Alignas(4096) static struct hv_reference_tsc_page page;
static volatile uint32_t hits;

static uint64_t reference(void)
{
    return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

static uint16_t call(uint64_t partition, uint32_t sequence, uint32_t reserved, uint64_t time,
                     uint64_t tsc)
{
    struct hv_input_restore_partition_time in = {.partition_id = partition,
                                                 .tsc_sequence = sequence,
                                                 .reserved = reserved,
                                                 .reference_time = time,
                                                 .tsc = tsc};
    return hv_call_memory(HVCALL_RESTORE_PARTITION_TIME, 0, &in, sizeof(in), NULL, 0, NULL);
}

static uint16_t restore(uint32_t sequence, uint64_t time, uint64_t tsc)
{
    return call(HV_PARTITION_ID_SELF, sequence, 0, time, tsc);
}

// What the page says; 0: it is not valid.
static uint64_t page_time(void)
{
    const volatile struct hv_reference_tsc_page *p = &page;
    if (p->tsc_sequence == HV_REFERENCE_TSC_SEQUENCE_INVALID) {
        return 0;
    }
    return (uint64_t)((unsigned __int128)rdtsc() * p->tsc_scale >> 64) + (uint64_t)p->tsc_offset;
}

static bool page_agrees(void)
{
    uint64_t before = reference(), time = page_time(), after = reference();
    if (time + 1 < before || time > after + 1) {
        tap_note("counter %lu, page %lu, counter %lu", before, time, after);
        return false;
    }
    return true;
}

// ---- what is refused
// ------------------------------------------------------------------------------

static void test_refused(void)
{
    const uint64_t before = rdtsc(), time = reference();
    tap_is(call(HV_PARTITION_ID_SELF, 1, 1, YEAR, TSC_OTHER), HV_STATUS_INVALID_PARAMETER,
           "reserved fields are refused");
    tap_is(restore(1, 1ul << 63, TSC_OTHER), HV_STATUS_INVALID_PARAMETER,
           "so is the far side of reference time");
    tap_is(restore(1, YEAR, 1ul << 63), HV_STATUS_INVALID_PARAMETER, "and of the TSC");
    uint16_t status = call(0x7777777777, 1, 0, YEAR, TSC_OTHER);
    tap_ok(status == HV_STATUS_INVALID_PARTITION_ID || status == HV_STATUS_ACCESS_DENIED,
           "other partitions are not this one's (%x)", status);
    status = call(0x100, 1, 0, YEAR, TSC_OTHER); // the root's id, as it is here
    tap_ok(status == HV_STATUS_INVALID_PARTITION_ID || status == HV_STATUS_ACCESS_DENIED,
           "least of all the root's (%x)", status);
    tap_ok(rdtsc() - before < TSC_OTHER / 2 && reference() - time < YEAR / 2,
           "nothing of it changes a clock");
}

// ---- clocks
// ---------------------------------------------------------------------------------------

struct reading {
    uint64_t tsc, time;
};

static void read_clocks(void *context)
{
    struct reading *r = context;
    r->tsc = rdtsc();
    r->time = reference();
}

static bool near(uint64_t got, uint64_t from, uint64_t most)
{
    return got >= from && got - from <= most;
}

// Every processor's clocks are those that were asked for, and not farther than time goes.
static void test_clocks(uint64_t time, uint64_t tsc, const char *where)
{
    const uint64_t most = clock_ticks(CLOSE_US);
    uint32_t wrong = 0;
    uint16_t status = restore(7, time, tsc);
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        struct reading r;
        if (i) {
            smp_call(i, read_clocks, &r);
        } else {
            read_clocks(&r);
        }
        if (!near(r.tsc, tsc, most) || !near(r.time, time, 10 * CLOSE_US)) {
            tap_note("processor %u: TSC %lx, time %lu", i, r.tsc, r.time);
            wrong++;
        }
    }
    tap_ok(status == HV_STATUS_SUCCESS && !wrong,
           "%s: the TSC of every processor and reference time are what was asked for (%x)", where,
           status);
    tap_ok(page.tsc_sequence == 8 && page_agrees(),
           "%s: the page is valid, its sequence follows on the one given (%u)", where,
           page.tsc_sequence);
    uint64_t start = rdtsc(), begun = reference();
    while (reference() - begun < 2 * MS) {
        pause();
    }
    uint64_t counts = rdtsc() - start;
    tap_ok(counts >= clock_ticks(1990), "%s: both clocks go on at their rates (%lu)", where,
           counts);
}

// The clocks of VPs that look all the while go the way of the call, and never back but with it.
static volatile bool looking;
static volatile uint32_t backward, looks;

static void look(void *context)
{
    uint64_t last_tsc = 0, last_time = 0, jumps = 0;
    (void)context;
    while (looking) {
        uint64_t tsc = rdtsc(), time = reference();
        if (tsc < last_tsc || time < last_time) {
            jumps++;
        }
        last_tsc = tsc;
        last_time = time;
        looks++;
    }
    backward += (uint32_t)jumps;
}

static void test_others(void)
{
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "others run meanwhile");
        return;
    }
    uint32_t bad = 0;
    looking = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, look, NULL);
    }
    clock_wait(&looks, 100, CLOCK_PATIENCE);
    for (uint64_t i = 1; i <= 50; i++) { // forward each time
        bad += restore(1, reference() + i * YEAR / 100, rdtsc() + i * (TSC_OTHER >> 8)) !=
               HV_STATUS_SUCCESS;
    }
    looking = false;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        bad += !smp_wait(i, CLOCK_PATIENCE);
    }
    tap_ok(!bad && looks >= 100, "while others read their clocks the call succeeds");
    tap_is(backward, 0, "and they see no clock go backward that was set forward");
}

static void restore_often(void *context)
{
    volatile uint32_t *bad = context;
    for (uint32_t i = 0; i < 20; i++) {
        if (restore(i, reference() + MS, rdtsc() + 1000) != HV_STATUS_SUCCESS) {
            __atomic_fetch_add(bad, 1, __ATOMIC_RELAXED);
        }
    }
}

// No clock tells how long that takes: the others move all there are.
static bool wait_without_clock(uint32_t cpu)
{
    for (uint32_t i = 0; smp_cpu(cpu)->work && i < PAUSES; i++) {
        pause();
    }
    return !smp_cpu(cpu)->work;
}

static void test_at_once(void)
{
    volatile uint32_t bad = 0;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, restore_often, (void *)&bad);
    }
    restore_often((void *)&bad);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        bad += !wait_without_clock(i);
    }
    tap_ok(!bad, "processors that restore time at once all get through");
}

// ---- the page
// -------------------------------------------------------------------------------------

static void test_page(void)
{
    tap_ok(restore(0, YEAR, 5000) == HV_STATUS_SUCCESS &&
               page.tsc_sequence == HV_REFERENCE_TSC_SEQUENCE_INVALID,
           "TscSequence 0: the page is not valid after the call");
    tap_ok(near(reference(), YEAR, 10 * CLOSE_US), "and the counter is restored");
    tap_ok(restore(0xfffffffe, YEAR, 5000) == HV_STATUS_SUCCESS && page.tsc_sequence == 1 &&
               page_agrees(),
           "no sequence is ever FFFFFFFF or 0 (%u)", page.tsc_sequence);
}

// ---- timers
// ---------------------------------------------------------------------------------------

static void on_hit(struct trap_frame *frame)
{
    (void)frame;
    hits++;
    apic_eoi();
}

static bool comes(void)
{
    sti();
    bool came = clock_wait(&hits, 1, CLOCK_PATIENCE);
    cli();
    return came;
}

static bool silent(void)
{
    sti();
    clock_delay(5000);
    cli();
    return hits == 0;
}

static void arm_stimer(uint64_t due)
{
    hits = 0;
    wrmsr(HV_X64_MSR_STIMER0_CONFIG,
          HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE | (uint64_t)VECTOR << HV_STIMER_VECTOR_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, due);
}

static void test_stimer(void)
{
    arm_stimer(reference() + YEAR);
    restore(1, reference() + 2 * YEAR, rdtsc());
    tap_ok(comes(), "a timer whose time is past by then expires");
    restore(1, YEAR, 5000);
    arm_stimer(YEAR + 2 * YEAR);
    restore(1, YEAR, TSC_OTHER);
    tap_ok(silent(), "one whose time has not come does not");
    restore(1, 3 * YEAR - 10 * MS, 5000);
    bool came = comes();
    tap_ok(came && reference() >= 3 * YEAR, "and then does, no earlier");
}

static void test_apic_timer(void)
{
    const uint32_t count = 0xf0000000;
    hits = 0;
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, VECTOR);
    apic_write(APIC_TIMER_INITIAL, count);
    uint32_t before = apic_read(APIC_TIMER_CURRENT);
    restore(1, YEAR, TSC_OTHER);
    uint32_t after = apic_read(APIC_TIMER_CURRENT);
    tap_ok(after && after < before && before - after < count / 2 && silent(),
           "the APIC's timer goes on with what is left of its count (%x, %x)", before, after);
    restore(1, YEAR, 5000);
    after = apic_read(APIC_TIMER_CURRENT);
    tap_ok(after && after < before && before - after < count / 2,
           "also when the TSC goes backward (%x)", after);
    apic_write(APIC_TIMER_INITIAL, 0);
    if (!(cpuid(1, 0).ecx & 1u << 24)) {
        tap_skip("no TSC deadline", "a TSC deadline is the TSC that it was");
        return;
    }
    apic_write(APIC_LVT_TIMER, VECTOR | APIC_LVT_DEADLINE);
    wrmsr(MSR_TSC_DEADLINE, TSC_OTHER);
    bool kept = silent() && rdmsr(MSR_TSC_DEADLINE) == TSC_OTHER;
    restore(1, YEAR, TSC_OTHER - clock_ticks(1000));
    bool came = comes();
    tap_ok(kept && came && rdtsc() >= TSC_OTHER, "a TSC deadline is the TSC that it was");
    wrmsr(MSR_TSC_DEADLINE, ~0ul);
    hits = 0;
    restore(1, YEAR, 5000);
    tap_ok(silent(), "one at the end of all time does not come");
    apic_write(APIC_LVT_TIMER, VECTOR | APIC_LVT_MASKED);
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
    trap_set_handler(VECTOR, on_hit);
    bool offered = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0).eax & HV_HINT_EAX_RESTORE_TIME_ON_RESUME;
    if (!tap_ok(offered && (hv_privileges() & PRIVILEGES) == PRIVILEGES,
                "restoring time on resume is recommended")) {
        return;
    }
    test_refused();
    wrmsr(HV_X64_MSR_REFERENCE_TSC, hv_gpa(&page) | HV_PAGE_MSR_ENABLE);
    test_clocks(YEAR, TSC_OTHER, "later");
    test_clocks(12345, 5000, "earlier");
    test_clocks(YEAR, 5000, "to and fro");
    test_others();
    test_at_once();
    test_page();
    test_stimer();
    test_apic_timer();
    wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
}
