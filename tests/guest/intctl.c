// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLFS: Virtual Interrupt Controller: the EOI, ICR and TPR MSRs, cluster IPIs, EOI assist, AutoEOI.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
// rig: --vps 4 --lps 2
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/assist.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define LOW    0x35u
#define MIDDLE 0x55u
#define HIGH   0x75u
#define SINT   4
#define STORM  1000u
#define SPARED HV_APIC_ASSIST_NO_EOI_REQUIRED

_Alignas(4096) static volatile uint32_t assist[CPU_MAX][1024];
static volatile uint32_t taken[CPU_MAX][256];

static volatile uint32_t *my_word(void)
{
    return &assist[percpu()->index][0];
}

static bool is_gp(struct trap trap)
{
    return trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
}

static void send_self(uint8_t vector)
{
    wrmsr(HV_X64_MSR_ICR, ICR_SELF | ICR_FIXED | vector);
}

static void eoi_msr(void)
{
    wrmsr(HV_X64_MSR_EOI, 0);
}

// TLFS: EOI Assist. True when no exit was needed.
static bool eoi_assisted(void)
{
    bool spared;
    __asm__ volatile("btrl $0, %0" : "+m"(*my_word()), "=@ccc"(spared) : : "memory");
    if (!spared) {
        eoi_msr();
    }
    return spared;
}

static void on_plain(struct trap_frame *frame)
{
    taken[percpu()->index][frame->vector]++;
    eoi_msr();
}

static void clear_taken(void)
{
    for (uint32_t i = 0; i < CPU_MAX; i++) {
        for (uint32_t n = 0; n < 256; n++) {
            taken[i][n] = 0;
        }
    }
}

static bool in_service(uint8_t vector)
{
    return apic_vector_bit(APIC_ISR, vector);
}

// ---- the MSRs -------------------------------------------------------------------------------

static volatile uint32_t serviced;

static void on_eoi(struct trap_frame *frame)
{
    serviced = in_service((uint8_t)frame->vector);
    wrmsr(HV_X64_MSR_EOI, 0xffffffff);
    serviced |= in_service((uint8_t)frame->vector) ? 4 : 2;
}

static void test_msrs(void)
{
    trap_set_handler(MIDDLE, on_eoi);
    send_self(MIDDLE);
    sti_nop();
    cli();
    tap_is(serviced, 3, "a write of the EOI MSR ends the interrupt in service");
    tap_ok(is_gp(try_rdmsr(HV_X64_MSR_EOI, NULL)), "reading the EOI MSR is #GP(0)");
    eoi_msr();
    tap_ok(true, "an EOI with nothing in service is ignored");

    trap_set_handler(MIDDLE, on_plain);
    uint32_t before = taken[0][MIDDLE];
    sti();
    send_self(MIDDLE);
    uint32_t after = taken[0][MIDDLE];
    cli();
    tap_is(after, before + 1, "a self IPI is delivered before the next instruction");
    uint64_t icr = (uint64_t)machine.apic_ids[0] << (apic_is_x2() ? 32 : 56) | ICR_FIXED | LOW;
    trap_set_handler(LOW, on_plain);
    wrmsr(HV_X64_MSR_ICR, icr);
    tap_is(rdmsr(HV_X64_MSR_ICR) & ~(uint64_t)ICR_PENDING, icr,
           "the ICR MSR holds ICR high in 63:32 and ICR low in 31:0");
    sti_nop();
    cli();
    tap_is(taken[0][LOW], 1, "and sends");

    wrmsr(HV_X64_MSR_TPR, 0x50);
    tap_ok(rdmsr(HV_X64_MSR_TPR) == 0x50 && read_cr8() == 5, "the TPR MSR is CR8");
    send_self(MIDDLE);
    send_self(HIGH);
    trap_set_handler(HIGH, on_plain);
    before = taken[0][MIDDLE];
    sti_nop();
    cli();
    bool held = taken[0][HIGH] == 1 && taken[0][MIDDLE] == before;
    sti();
    wrmsr(HV_X64_MSR_TPR, 0);
    uint32_t came = taken[0][MIDDLE];
    cli();
    tap_ok(held && came == before + 1, "and holds back what it does in CR8");
    write_cr8(7);
    tap_is(rdmsr(HV_X64_MSR_TPR), 0x70, "CR8 shows in the TPR MSR");
    write_cr8(0);
}

// ---- cluster IPIs ---------------------------------------------------------------------------

_Alignas(4096) static uint8_t block[4096];

static uint64_t cluster(uint64_t mask, uint32_t vector)
{
    struct hv_input_send_synthetic_cluster_ipi in = {.vector = vector, .processor_mask = mask};
    const uint64_t *words = (const uint64_t *)&in;
    return hv_call(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI | HV_HYPERCALL_FAST, words[0], words[1]);
}

static uint64_t cluster_ex(uint64_t format, uint64_t banks, const uint64_t *bank, uint32_t count,
                           uint32_t vector)
{
    struct hv_input_send_synthetic_cluster_ipi_ex *in = (void *)block;
    memset(block, 0, sizeof(block));
    in->vector = vector;
    in->vp_set.format = format;
    in->vp_set.valid_banks_mask = banks;
    memcpy(in + 1, bank, count * 8);
    return hv_call(hv_hypercall_control(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, false, count, 0),
                   hv_gpa(block), 0);
}

// VP indexes are APIC ids in a child, and both are processor numbers here.
static bool arrived(uint64_t mask, uint8_t vector)
{
    uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    bool all = false;
    sti();
    while (!all && rdtsc() < end) {
        all = true;
        for (uint32_t i = 0; i < machine.cpu_count; i++) {
            all &= taken[i][vector] == (mask >> i & 1);
        }
        hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0);
    }
    clock_delay(2000); // for one too many
    cli();
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        all &= taken[i][vector] == (mask >> i & 1);
    }
    clear_taken();
    return all;
}

static void test_cluster(void)
{
    uint64_t everyone = (1ul << machine.cpu_count) - 1, missed = 0;
    trap_set_handler(MIDDLE, on_plain);
    clear_taken();
    for (uint64_t mask = 0; mask <= everyone; mask++) {
        uint64_t result = cluster(mask, MIDDLE);
        missed += result != 0 || !arrived(mask, MIDDLE);
        result = cluster_ex(HV_VP_SET_FORMAT_SPARSE, 1, &mask, 1, MIDDLE);
        missed += result != 0 || !arrived(mask, MIDDLE);
    }
    tap_is(missed, 0, "a cluster IPI reaches each set of VPs, and nobody else");
    uint64_t result = cluster(~0ul, MIDDLE);
    tap_ok(result == 0 && arrived(everyone, MIDDLE), "mask bits beyond the VP count are ignored");
    result = cluster(~everyone, MIDDLE);
    tap_ok(result == 0 && arrived(0, MIDDLE), "also when there are no others");
    result = cluster_ex(HV_VP_SET_FORMAT_ALL, 0, NULL, 0, MIDDLE);
    tap_ok(result == 0 && arrived(everyone, MIDDLE), "the set of all VPs is all, the caller too");
    uint64_t bank[64];
    memset(bank, 0xff, sizeof(bank));
    result = cluster_ex(HV_VP_SET_FORMAT_SPARSE, ~1ul, bank, 63, MIDDLE);
    tap_ok(result == 0 && arrived(0, MIDDLE), "banks beyond the end are ignored");
    result = cluster_ex(HV_VP_SET_FORMAT_SPARSE, ~0ul, bank, 64, MIDDLE);
    tap_ok(result == 0 && arrived(everyone, MIDDLE), "all 64 banks are accepted");
    result = cluster_ex(HV_VP_SET_FORMAT_SPARSE, 0, NULL, 0, MIDDLE);
    tap_ok(result == 0 && arrived(0, MIDDLE), "a set without banks is nobody");
}

static uint64_t refused(uint64_t first)
{
    return hv_call(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI | HV_HYPERCALL_FAST, first, 1);
}

static void test_cluster_refusals(void)
{
    uint64_t bank = 1, wrong = 0;
    for (uint32_t vector = 0; vector < 16; vector++) {
        wrong += cluster(1, vector) != HV_STATUS_INVALID_PARAMETER;
        wrong += cluster_ex(0, 1, &bank, 1, vector) != HV_STATUS_INVALID_PARAMETER;
    }
    tap_is(wrong, 0, "vectors below 16 are refused");
    tap_is(refused(0x100), HV_STATUS_INVALID_PARAMETER, "vector 256 is refused");
    tap_is(refused(1ul << 31 | 0x55), HV_STATUS_INVALID_PARAMETER, "so is one of 32 bits");
    tap_is(refused(1ul << 40 | 0x55), HV_STATUS_INVALID_PARAMETER, "flags are refused");
    tap_is(refused(1ul << 63 | 0x55), HV_STATUS_INVALID_PARAMETER, "reserved bits are refused");
    tap_is(refused(0x20ul << 32 | 0x55), HV_STATUS_INVALID_PARAMETER,
           "reserved bits of the VTL are refused");
    tap_is(refused(0x11ul << 32 | 0x55), HV_STATUS_INVALID_VTL_STATE,
           "a VTL that is not enabled is refused");
    tap_is(cluster_ex(2, 1, &bank, 1, 0x55), HV_STATUS_INVALID_PARAMETER, "VP set format 2");
    tap_is(cluster_ex(0, 3, &bank, 1, 0x55), HV_STATUS_INVALID_HYPERCALL_INPUT,
           "fewer banks than the mask has");
    tap_is(cluster_ex(0, 1, &bank, 2, 0x55), HV_STATUS_INVALID_HYPERCALL_INPUT,
           "more banks than the mask has");
    tap_is(cluster_ex(1, 1, &bank, 0, 0x55), HV_STATUS_INVALID_HYPERCALL_INPUT,
           "banks that are missing, with \"all\"");
    sti_nop();
    cli();
    tap_ok(arrived(0, 0x55), "and none of these sent anything");
}

// ---- EOI assist -----------------------------------------------------------------------------

static volatile uint32_t seen[4]; // the word, at moments of a handler
static volatile bool spared[2];

static void on_simple(struct trap_frame *frame)
{
    taken[percpu()->index][frame->vector]++;
    seen[0] = *my_word();
    spared[0] = eoi_assisted();
    seen[1] = *my_word();
}

static void run_self(uint8_t vector, trap_handler *handler)
{
    trap_set_handler(vector, handler);
    send_self(vector);
    sti_nop();
    cli();
}

static void test_assist_simple(void)
{
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(assist[0]) | HV_PAGE_MSR_ENABLE);
    run_self(MIDDLE, on_simple);
    tap_ok(seen[0] == SPARED && spared[0] && seen[1] == 0,
           "an edge-triggered interrupt comes with \"No EOI required\" (%x)", seen[0]);
    tap_ok(!in_service(MIDDLE), "the guest's clearing of the bit is the EOI");
    uint32_t before = taken[0][MIDDLE], exits = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        run_self(i & 1 ? MIDDLE : LOW, on_simple);
        exits += !spared[0];
    }
    tap_ok(taken[0][MIDDLE] == before + 500 && exits == 0,
           "1,000 interrupts need no EOI exit (%u did)", exits);
}

// A lower one is requested while the handler runs.
static void on_requested(struct trap_frame *frame)
{
    (void)frame;
    seen[0] = *my_word();
    send_self(LOW);
    seen[1] = *my_word();
    spared[0] = eoi_assisted();
    seen[2] = taken[0][LOW];
}

static void test_assist_lower(void)
{
    trap_set_handler(LOW, on_plain);
    taken[0][LOW] = 0;
    run_self(MIDDLE, on_requested);
    tap_ok(seen[0] == SPARED && seen[1] == 0 && !spared[0],
           "a lower-priority interrupt that is requested later clears it (%x, %x)", seen[0],
           seen[1]);
    tap_ok(seen[2] == 0 && taken[0][LOW] == 1, "and comes after the EOI, which is an exit");

    // It is pending before the injection.
    trap_set_handler(MIDDLE, on_simple);
    send_self(LOW);
    send_self(MIDDLE);
    sti_nop();
    cli();
    tap_ok(seen[0] == 0 && !spared[0] && taken[0][LOW] == 2,
           "with a lower-priority interrupt pending the bit is not set (%x)", seen[0]);
}

static void on_inner(struct trap_frame *frame)
{
    (void)frame;
    seen[1] = *my_word();
    spared[1] = eoi_assisted();
}

static void on_outer(struct trap_frame *frame)
{
    (void)frame;
    seen[0] = *my_word();
    send_self(HIGH);
    sti_nop();
    cli();
    seen[2] = *my_word();
    spared[0] = eoi_assisted();
}

static void test_assist_nested(void)
{
    trap_set_handler(HIGH, on_inner);
    run_self(MIDDLE, on_outer);
    tap_ok(seen[1] == SPARED && spared[1], "of nested interrupts the inner one needs no EOI");
    tap_ok(seen[2] == 0 && !spared[0], "and the outer one does (%x)", seen[2]);
    tap_ok(!in_service(MIDDLE) && !in_service(HIGH), "both are done then");
}

static void on_conventional(struct trap_frame *frame)
{
    taken[0][frame->vector]++;
    eoi_msr();
    seen[1] = *my_word();
}

static void on_disabling(struct trap_frame *frame)
{
    (void)frame;
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
    spared[0] = in_service(MIDDLE);
    eoi_msr();
    spared[1] = in_service(MIDDLE);
}

static void test_assist_any_time(void)
{
    run_self(MIDDLE, on_conventional);
    tap_ok(seen[1] == 0 && !in_service(MIDDLE),
           "conventional EOIs can be performed irrespective of the bit");
    run_self(MIDDLE, on_disabling);
    tap_ok(spared[0] && !spared[1], "disabled in the handler, the EOI is the conventional one");
    assist[0][0] = ~0u; // memory beneath
    run_self(MIDDLE, on_conventional);
    tap_ok(assist[0][0] == ~0u, "disabled, no memory is written");
    assist[0][0] = 0;
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(assist[0]) | HV_PAGE_MSR_ENABLE);
    run_self(MIDDLE, on_simple);
    tap_ok(spared[0], "enabled again, it is there again");
}

// ---- from another processor -----------------------------------------------------------------

static volatile uint32_t waiting, cleared;

static void on_waiting(struct trap_frame *frame)
{
    (void)frame;
    uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    seen[0] = *my_word();
    waiting = 1;
    while (*my_word() && rdtsc() < end) {
        pause();
    }
    cleared = *my_word() == 0;
    spared[0] = eoi_assisted();
}

static void serve_assist(void *context)
{
    (void)context;
    uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(assist[percpu()->index]) | HV_PAGE_MSR_ENABLE);
    send_self(MIDDLE);
    sti_nop();
    while (!taken[percpu()->index][LOW] && rdtsc() < end) {
        pause();
    }
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
}

static void test_assist_remote(void)
{
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "an interrupt from another processor clears the bit");
        return;
    }
    trap_set_handler(MIDDLE, on_waiting);
    trap_set_handler(LOW, on_plain);
    clear_taken();
    waiting = cleared = 0;
    smp_run(1, serve_assist, NULL);
    clock_wait(&waiting, 1, CLOCK_PATIENCE);
    cluster(2, LOW);
    bool idle = smp_wait(1, CLOCK_PATIENCE);
    tap_ok(idle && seen[0] == SPARED && cleared && !spared[0] && taken[1][LOW] == 1,
           "a lower-priority interrupt from another processor clears it while the handler runs");
}

// Two processors whose handlers use the assist, with three vectors of random order.
static volatile uint32_t storm_spared, storm_exits;

static void on_storm(struct trap_frame *frame)
{
    taken[percpu()->index][frame->vector]++;
    bool no_exit = eoi_assisted();
    __atomic_fetch_add(no_exit ? &storm_spared : &storm_exits, 1, __ATOMIC_RELAXED);
}

static void storm(void *context)
{
    (void)context;
    uint32_t me = percpu()->index, to = (me + 1) % machine.cpu_count, seed = me + 1;
    static const uint8_t vectors[] = {LOW, MIDDLE, HIGH};
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(assist[me]) | HV_PAGE_MSR_ENABLE);
    sti();
    for (uint32_t i = 0; i < STORM; i++) {
        seed = seed * 1103515245 + 12345;
        uint8_t vector = vectors[(seed >> 16) % 3];
        uint32_t before = taken[to][vector];
        if (seed >> 20 & 1) {
            cluster(1ul << to, vector);
        } else {
            apic_ipi(machine.apic_ids[to], ICR_FIXED | vector);
        }
        uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
        while (taken[to][vector] == before && rdtsc() < end) {
            hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0);
        }
    }
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
}

static void test_assist_storm(void)
{
    uint32_t total = 0;
    bool idle = true;
    clear_taken();
    trap_set_handler(LOW, on_storm);
    trap_set_handler(MIDDLE, on_storm);
    trap_set_handler(HIGH, on_storm);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, storm, NULL);
    }
    storm(NULL);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        idle &= smp_wait(i, CLOCK_PATIENCE);
    }
    cli();
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        total += taken[i][LOW] + taken[i][MIDDLE] + taken[i][HIGH];
    }
    tap_ok(idle && total == STORM * machine.cpu_count,
           "no interrupt of %u is lost or doubled (%u came; %u EOIs without exit, %u with)",
           STORM * machine.cpu_count, total, storm_spared, storm_exits);
    tap_ok(storm_spared > storm_exits, "and most needed no exit");
}

// ---- AutoEOI --------------------------------------------------------------------------------

static volatile uint32_t auto_serviced;

static void on_auto(struct trap_frame *frame)
{
    taken[0][frame->vector]++;
    auto_serviced |= in_service((uint8_t)frame->vector);
}

static void test_auto_eoi(void)
{
    tap_ok(cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0).eax & HV_HINT_EAX_DEPRECATE_AUTO_EOI,
           "AutoEOI is said to be deprecated");
    clear_taken();
    trap_set_handler(MIDDLE, on_auto);
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_AUTO_EOI | MIDDLE);
    for (uint32_t i = 0; i < 10; i++) {
        send_self(MIDDLE);
        sti_nop();
        cli();
    }
    tap_ok(taken[0][MIDDLE] == 10 && !auto_serviced,
           "the vector of an AutoEOI source is never in service and needs no EOI (%u taken)",
           taken[0][MIDDLE]);
    wrmsr(HV_X64_MSR_SINT(SINT), MIDDLE);
    trap_set_handler(MIDDLE, on_eoi);
    send_self(MIDDLE);
    sti_nop();
    cli();
    tap_is(serviced, 3, "without AutoEOI it is, and does");
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_RESET_VALUE);
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    apic_enable(apic_has_x2() && !hv_delivers()); // assisted by software
    tap_is(smp_start_all(), machine.cpu_count, "all processors start");
    uint32_t hints = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0).eax;
    tap_ok(!(hints & HV_HINT_EAX_APIC_MSRS) == hv_delivers() && hints & HV_HINT_EAX_CLUSTER_IPI,
           "cluster IPIs are recommended, APIC MSRs where the processor has no APIC of its own");
    test_msrs();
    test_cluster();
    test_cluster_refusals();
    test_assist_simple();
    test_assist_lower();
    test_assist_nested();
    test_assist_any_time();
    test_assist_remote();
    test_assist_storm();
    test_auto_eoi();
}
