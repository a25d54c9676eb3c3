// SPDX-License-Identifier: BSD-2-Clause-Patent
// Processors start by INIT and SIPI and by HvCallStartVirtualProcessor, and reach each other.
//
// rig: --vps 4 --lps 2
// rig: --vps 4 --lps 1
// rig: --vps 4 --lps 4 --threads 2
// rig: --vps 2 --lps 4
// timeout: 180
#include "smp.h"
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define PING_VECTOR 0x41
#define PONG_VECTOR 0x42
#define ROUNDS      200

// ---- what a started processor looks like ----------------------------------------------------

struct view {
    uint32_t apic_id, initial_apic_id, x2_leaf_id, index;
    uint64_t apic_base, vp_index;
    bool hv;
};

static void look(void *context)
{
    struct view *view = context;
    view->apic_id = apic_id();
    view->initial_apic_id = cpuid(1, 0).ebx >> 24;
    view->x2_leaf_id = cpuid(0xb, 0).edx;
    view->apic_base = rdmsr(MSR_APIC_BASE);
    view->index = percpu()->index;
    view->hv = hv_present();
    if (view->hv) {
        view->vp_index = rdmsr(HV_X64_MSR_VP_INDEX);
    }
}

static bool view_right(const struct view *view, uint32_t i)
{
    return view->index == i && view->apic_id == machine.apic_ids[i] &&
           view->initial_apic_id == machine.apic_ids[i] && !(view->apic_base & APIC_BASE_BSP) &&
           view->hv == hv_present() && (!view->hv || view->vp_index == machine.apic_ids[i]);
}

static void test_views(const char *how)
{
    bool right = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        struct view view = {0};
        bool answered = smp_call(i, look, &view);
        if (!answered || !view_right(&view, i)) {
            tap_note("processor %u: answered %d apic id %u, %u, %u base %lx vp %lu hv %d", i,
                     answered, view.apic_id, view.initial_apic_id, view.x2_leaf_id, view.apic_base,
                     view.vp_index, view.hv);
            right = false;
        }
    }
    tap_ok(right, "%s: each processor has its own APIC id, VP index and no BSP flag", how);
}

// ---- INIT and SIPI --------------------------------------------------------------------------

static void spin_forever(void *context)
{
    volatile uint32_t *spinning = context;
    *spinning = 1;
    for (;;) {
        pause();
    }
}

static void sleep_forever(void *context)
{
    volatile uint32_t *sleeping = context;
    *sleeping = 1;
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

// A processor that no longer takes work comes back by INIT and SIPI.
static void test_reinit(smp_body *body, const char *what)
{
    bool back = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        volatile uint32_t there = 0;
        smp_run(i, body, (void *)&there);
        back &= clock_wait(&there, 1, CLOCK_PATIENCE);
        back &= smp_start(i);
    }
    tap_ok(back, "INIT and SIPI restart a processor that %s", what);
}

static void test_sipi_without_init(void)
{
    uint32_t starts = smp_cpu(1)->starts;
    apic_ipi(machine.apic_ids[1], ICR_STARTUP | SIPI_VECTOR);
    clock_delay(20000);
    tap_is(smp_cpu(1)->starts, starts, "a SIPI to a running processor does nothing");
    struct view view = {0};
    tap_ok(smp_call(1, look, &view), "and leaves it running");
}

static void test_init_waits(void)
{
    uint32_t starts = smp_cpu(1)->starts;
    apic_ipi(machine.apic_ids[1], ICR_INIT | ICR_LEVEL | ICR_ASSERT);
    clock_delay(1000);
    apic_ipi(machine.apic_ids[1], ICR_FIXED | SMP_WAKE_VECTOR);
    apic_ipi(machine.apic_ids[1], ICR_NMI);
    clock_delay(20000);
    tap_is(smp_cpu(1)->starts, starts,
           "a processor that waits for a SIPI starts by neither interrupt nor NMI");
    tap_ok(smp_start(1), "it starts when the SIPI comes");
}

static void test_init_broadcast(void)
{
    uint32_t starts[CPU_MAX] = {0};
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        starts[i] = smp_cpu(i)->starts;
    }
    apic_ipi(0, ICR_INIT | ICR_OTHERS | ICR_LEVEL | ICR_ASSERT);
    clock_delay(10000);
    bool all = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        // One after the other: they share the low code's stack pointer.
        smp_prepare_start(i);
        apic_ipi(machine.apic_ids[i], ICR_STARTUP | SIPI_VECTOR);
        all &= clock_wait(&smp_cpu(i)->starts, starts[i] + 1, CLOCK_PATIENCE);
    }
    tap_ok(all, "an INIT to all but self restarts every other processor");
}

// ---- IPIs between processors ----------------------------------------------------------------

static volatile uint32_t pings, pongs;

static void on_ping(struct trap_frame *frame)
{
    (void)frame;
    pings++;
    apic_eoi();
    apic_ipi(machine.apic_ids[0], ICR_FIXED | PONG_VECTOR);
}

static void on_pong(struct trap_frame *frame)
{
    (void)frame;
    pongs++;
    apic_eoi();
}

static void test_ping(void)
{
    trap_set_handler(PING_VECTOR, on_ping);
    trap_set_handler(PONG_VECTOR, on_pong);
    sti();
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        pings = pongs = 0;
        bool all = true;
        for (uint32_t n = 1; n <= ROUNDS && all; n++) {
            apic_ipi(machine.apic_ids[i], ICR_FIXED | PING_VECTOR);
            all = clock_wait(&pongs, n, CLOCK_PATIENCE);
        }
        tap_ok(all && pings == ROUNDS && pongs == ROUNDS,
               "%u IPIs to sleeping processor %u and back are each taken once (%u, %u)", ROUNDS, i,
               pings, pongs);
    }
    cli();
    trap_set_handler(PING_VECTOR, 0);
    trap_set_handler(PONG_VECTOR, 0);
}

static volatile uint32_t nmis[CPU_MAX];

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    nmis[percpu()->index]++;
}

static void spin_until(void *context)
{
    volatile uint32_t *stop = context;
    cli();
    while (!*stop) {
        pause();
    }
    sti();
}

static void test_nmi(void)
{
    trap_set_handler(VECTOR_NMI, on_nmi);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        volatile uint32_t stop = 0;
        smp_run(i, spin_until, (void *)&stop);
        clock_delay(2000);
        apic_ipi(machine.apic_ids[i], ICR_NMI);
        bool taken = clock_wait(&nmis[i], 1, CLOCK_PATIENCE);
        stop = 1;
        smp_wait(i, CLOCK_PATIENCE);
        tap_ok(taken && nmis[i] == 1, "an NMI reaches processor %u with interrupts off, once", i);
    }
    trap_set_handler(VECTOR_NMI, 0);
}

// ---- fair shares, memory order --------------------------------------------------------------

static volatile uint32_t counter;

static void count_up(void *context)
{
    for (uint64_t i = 0; i < *(uint64_t *)context; i++) {
        __asm__ volatile("lock incl %0" : "+m"(counter));
    }
}

static void test_parallel(void)
{
    uint64_t rounds = 100000;
    counter = 0;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, count_up, &rounds);
    }
    count_up(&rounds);
    bool all = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        all &= smp_wait(i, CLOCK_PATIENCE);
    }
    tap_ok(all, "all processors make progress while all are busy");
    tap_is(counter, rounds * machine.cpu_count, "locked additions on all processors are all there");
}

struct tsc_turn {
    volatile uint32_t turn;
    volatile uint64_t last;
    volatile uint32_t backward;
    uint32_t rounds;
};

static void tsc_turns(struct tsc_turn *t, uint32_t me)
{
    for (uint32_t n = 0; n < t->rounds; n++) {
        while (t->turn != me) {
            pause();
        }
        uint64_t now = rdtsc();
        t->backward += now < t->last;
        t->last = now;
        t->turn = !me;
    }
}

static void tsc_other(void *context)
{
    tsc_turns(context, 1);
}

static void test_tsc(void)
{
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        // On one processor each turn costs a time slice.
        struct tsc_turn t = {.rounds = 50};
        smp_run(i, tsc_other, &t);
        tsc_turns(&t, 0);
        smp_wait(i, CLOCK_PATIENCE);
        tap_is(t.backward, 0, "the TSC never goes backward between processors 0 and %u", i);
    }
}

// ---- HvCallStartVirtualProcessor ------------------------------------------------------------

static struct hv_x64_segment_register segment(uint16_t selector, uint16_t attributes)
{
    return (struct hv_x64_segment_register){
        .limit = 0xffffffff, .selector = selector, .attributes = attributes};
}

static void fill_context(struct hv_initial_vp_context *c, uint32_t index)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } gdtr, idtr;
    __asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
    *c = (struct hv_initial_vp_context){.rip = (uint64_t)smp_ap_start,
                                        .rsp = smp_stack_top(index) - 8,
                                        .rflags = 2,
                                        .cs = segment(0x08, 0xa09b),
                                        .ds = segment(0x10, 0xc093),
                                        .es = segment(0x10, 0xc093),
                                        .fs = segment(0x10, 0xc093),
                                        .gs = segment(0x10, 0xc093),
                                        .ss = segment(0x10, 0xc093),
                                        .tr = {.limit = 0x67, .attributes = 0x8b},
                                        .ldtr = {.attributes = 0x02},
                                        .idtr = {.limit = idtr.limit, .base = idtr.base},
                                        .gdtr = {.limit = gdtr.limit, .base = gdtr.base},
                                        .efer = rdmsr(MSR_EFER),
                                        .cr0 = read_cr0(),
                                        .cr3 = read_cr3(),
                                        .cr4 = read_cr4(),
                                        .pat = rdmsr(MSR_PAT)};
}

static void start_input(struct hv_input_start_virtual_processor *in, uint32_t index)
{
    *in = (struct hv_input_start_virtual_processor){.partition_id = HV_PARTITION_ID_SELF,
                                                    .vp_index = machine.apic_ids[index]};
    fill_context(&in->vp_context, index);
}

static uint16_t start_call(const struct hv_input_start_virtual_processor *in)
{
    return hv_call_memory(HVCALL_START_VIRTUAL_PROCESSOR, 0, in, sizeof(*in), NULL, 0, NULL);
}

static void test_start_vp(void)
{
    struct hv_input_start_virtual_processor in;
    bool all = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        uint32_t starts = smp_cpu(i)->starts;
        apic_ipi(machine.apic_ids[i], ICR_INIT | ICR_LEVEL | ICR_ASSERT);
        clock_delay(1000);
        smp_prepare_start(i);
        start_input(&in, i);
        all &= start_call(&in) == HV_STATUS_SUCCESS;
        all &= clock_wait(&smp_cpu(i)->starts, starts + 1, CLOCK_PATIENCE);
    }
    tap_ok(all, "HvCallStartVirtualProcessor starts a processor in long mode");
    test_views("after HvCallStartVirtualProcessor");

    start_input(&in, 1);
    in.vp_index = machine.apic_ids[0];
    tap_is(start_call(&in), HV_STATUS_INVALID_VP_INDEX, "a processor cannot start itself");
    in.vp_index = 4095;
    tap_is(start_call(&in), HV_STATUS_INVALID_VP_INDEX, "nor one that does not exist");
    start_input(&in, 1);
    in.partition_id = 0x7777777777;
    tap_is(start_call(&in), HV_STATUS_ACCESS_DENIED,
           "nor one of another partition, whether it exists or not");
    start_input(&in, 1);
    in.vp_context.cr0 = CR0_PG;
    tap_is(start_call(&in), HV_STATUS_INVALID_REGISTER_VALUE,
           "CR0 with PG and without PE is refused");
    start_input(&in, 1);
    in.vp_context.rflags |= HV_BIT(15);
    tap_is(start_call(&in), HV_STATUS_INVALID_REGISTER_VALUE,
           "so is a reserved bit of RFLAGS, which one vendor's processors would not enter with");
}

static void test_index_from_apic_id(void)
{
    struct {
        struct hv_input_get_vp_index_from_apic_id in;
        uint32_t apic_id[2];
    } call = {.in.partition_id = HV_PARTITION_ID_SELF};
    uint32_t out[2] = {~0u, ~0u}, done = 0;
    call.apic_id[0] = machine.apic_ids[1];
    uint16_t status = hv_call_memory(HVCALL_GET_VP_INDEX_FROM_APIC_ID, 1, &call, sizeof(call), out,
                                     sizeof(out), &done);
    tap_ok(status == HV_STATUS_SUCCESS && done == 1 && out[0] == machine.apic_ids[1],
           "HvCallGetVpIndexFromApicId finds a VP (status %x, %u done, index %x)", status, done,
           out[0]);
    call.apic_id[0] = 0x1234;
    status = hv_call_memory(HVCALL_GET_VP_INDEX_FROM_APIC_ID, 1, &call, sizeof(call), out,
                            sizeof(out), &done);
    tap_ok(status == HV_STATUS_INVALID_PARAMETER && done == 0,
           "and refuses an APIC id that no VP has (status %x, %u done)", status, done);
    call.apic_id[0] = machine.apic_ids[1];
    call.in.reserved[6] = 1;
    status = hv_call_memory(HVCALL_GET_VP_INDEX_FROM_APIC_ID, 1, &call, sizeof(call), out,
                            sizeof(out), &done);
    tap_ok(status == HV_STATUS_INVALID_PARAMETER && done == 0,
           "and a reserved field that is not zero (status %x, %u done)", status, done);
}

void guest_main(void)
{
    apic_enable(apic_has_x2());
    tap_ok(machine.cpu_count > 1, "the MADT lists more than one processor (%u)", machine.cpu_count);
    if (!tap_ok(smp_start_all() == machine.cpu_count, "INIT and SIPI start them all")) {
        return;
    }
    test_views("after INIT and SIPI");
    test_ping();
    test_nmi();
    test_parallel();
    test_tsc();
    test_sipi_without_init();
    test_reinit(spin_forever, "spins");
    test_reinit(sleep_forever, "sleeps with interrupts off");
    test_init_waits();
    test_init_broadcast();
    test_ping();
    if (!hv_present()) {
        tap_skip("no Hv#1", "HvCallStartVirtualProcessor");
        return;
    }
    hv_setup();
    test_index_from_apic_id();
    if (hv_privileges() & HV_PRIV_START_VIRTUAL_PROCESSOR) {
        test_start_vp();
        test_ping();
    }
}
