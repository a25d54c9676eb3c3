// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "rows.h"

#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "tap.h"
#include "trap.h"

#define RTC_INDEX    0x70  // the VMM answers, with no more to do than to note a byte
#define UNOWNED_PORT 0x5f0 // nobody's: read as all ones
#define IOAPIC       0xfec00000ul
#define UART_IER     0x3f9 // its bit 1 makes the VMM inject VECTOR_DEVICE
#define IER_THRE     2u
#define UART_MCR     0x3fc
#define MCR_OUT2     8u              // without it the UART's interrupt goes nowhere
#define IOAPIC_COM1  (0x10u + 2 * 4) // redirection entry of pin 4
#define PAGE         4096ul
#define LARGE_PAGE   0x200000ul
#define SETTLE_US    1000
#define PAUSES       100
#define SOON         50000ul // TSC counts until a timer
#define NEVER        1000000000ul
#define PATIENCE     1000000000ul // TSC counts until an interrupt is given up

struct bench_irq bench_irq;

static uint64_t next_page;       // untouched RAM
static uint64_t never;           // a moment that does not come, in the timer's unit
static volatile uint32_t others; // 0: the other processors may leave

void bench_interrupt(uint64_t entered, void (*eoi)(void))
{
    uint64_t start = rdtsc();
    eoi();
    bench_irq.eoi = rdtsc() - start;
    bench_irq.entered = entered;
    bench_irq.count++;
}

static void on_assisted(struct trap_frame *frame)
{
    (void)frame;
    bench_interrupt(rdtsc(), platform->eoi_assist);
}

static void on_plain(struct trap_frame *frame)
{
    (void)frame;
    bench_interrupt(rdtsc(), platform->eoi);
}

static volatile uint64_t cluster_entered[CPU_MAX];

static void on_cluster(struct trap_frame *frame)
{
    uint64_t now = rdtsc();
    (void)frame;
    platform->eoi_assist();
    cluster_entered[percpu()->index] = now;
}

void rows_setup(void)
{
    trap_set_handler(VECTOR_CLUSTER, on_cluster);
    trap_set_handler(VECTOR_IPI, on_assisted);
    trap_set_handler(VECTOR_TIMER, on_assisted);
    trap_set_handler(VECTOR_DEVICE, on_plain);
}

// ---- operations -----------------------------------------------------------------------------

static void op_cpuid(void)
{
    uint32_t eax = 0x40000000, ebx, ecx, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
}

static void op_cr3(void)
{
    write_cr3(read_cr3());
}

static void op_cr8(void)
{
    write_cr8(0);
}

static void op_pauses(void)
{
    for (unsigned i = 0; i < PAUSES; i++)
        pause();
}

static void op_port_unowned(void)
{
    in8(UNOWNED_PORT);
}

static void op_port_rtc(void)
{
    out8(RTC_INDEX, 0);
}

static void op_mmio(void)
{
    (void)*(volatile uint32_t *)IOAPIC;
}

static void op_touch(void)
{
    *(volatile uint64_t *)next_page = 1;
    next_page += PAGE;
}

static void op_touch_large(void)
{
    *(volatile uint64_t *)next_page = 1;
    next_page += LARGE_PAGE;
}

// From the sending to behind the handler's EOI.
static void op_ipi_self(void)
{
    platform->ipi(0);
    sti_nop();
    cli();
}

static void op_timer_arm(void)
{
    platform->timer_arm(never);
}

// ---- samples --------------------------------------------------------------------------------

static uint64_t patience_end;

static bool interrupted(uint32_t before)
{
    if (bench_irq.count != before)
        return true;
    if (rdtsc() > patience_end)
        tap_bail_out("an interrupt did not come");
    return false;
}

static int64_t sample_eoi(void)
{
    wrmsr(MSR_X2APIC_FIRST + (APIC_ICR >> 4),
          (uint64_t)machine.apic_ids[0] << 32 | ICR_FIXED | VECTOR_DEVICE);
    sti_nop();
    cli();
    return (int64_t)bench_irq.eoi;
}

static int64_t sample_eoi_assist(void)
{
    op_ipi_self();
    return (int64_t)bench_irq.eoi;
}

// To the handler of the other processor. PAUSE lets the emulator go on to that one.
static int64_t sample_ipi(void)
{
    uint32_t before = bench_irq.count;
    uint64_t start = rdtsc();
    platform->ipi(1);
    patience_end = start + PATIENCE;
    while (!interrupted(before))
        pause();
    return (int64_t)(bench_irq.entered - start);
}

// To the last of the other processors' handlers.
static int64_t sample_cluster(void)
{
    uint64_t last = 0;
    for (uint32_t i = 1; i < machine.cpu_count; i++)
        cluster_entered[i] = 0;
    uint64_t start = rdtsc();
    platform->cluster();
    patience_end = start + PATIENCE;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        while (!cluster_entered[i] && !interrupted(bench_irq.count))
            pause();
        last = cluster_entered[i] > last ? cluster_entered[i] : last;
    }
    return (int64_t)(last - start);
}

static uint64_t arm_soon(void)
{
    uint64_t unit = platform->timer_unit(rdtsc() + SOON);
    platform->timer_arm(unit);
    return platform->timer_tsc(unit);
}

// How late the handler is, the processor busy or asleep until then.
static int64_t sample_timer_busy(void)
{
    uint32_t before = bench_irq.count;
    uint64_t due = arm_soon();
    patience_end = due + PATIENCE;
    sti();
    while (!interrupted(before))
        barrier();
    cli();
    return (int64_t)(bench_irq.entered - due);
}

static int64_t sample_timer_halted(void)
{
    uint32_t before = bench_irq.count;
    uint64_t due = arm_soon();
    while (bench_irq.count == before)
        sti_hlt_cli();
    return (int64_t)(bench_irq.entered - due);
}

// What a timer takes of the processor, from the arming to behind the handler, wherever the rest of
// the time goes: the guest's own loop is three instructions a turn, and is subtracted.
static int64_t sample_timer_cost(void)
{
    uint32_t before = bench_irq.count;
    uint64_t turns = 0, unit = platform->timer_unit(rdtsc() + SOON);
    uint64_t start = rdtsc();
    platform->timer_arm(unit);
    sti();
    __asm__ volatile("1: inc %0\n\t"
                     "cmp %1, %2\n\t"
                     "je 1b"
                     : "+r"(turns)
                     : "r"(before), "m"(bench_irq.count)
                     : "cc", "memory");
    cli();
    return (int64_t)(rdtsc() - start - 3 * turns);
}

// From the port write that makes the VMM inject to the handler.
static int64_t sample_inject(void)
{
    uint32_t before = bench_irq.count;
    sti();
    uint64_t start = rdtsc();
    out8(UART_IER, IER_THRE);
    patience_end = start + PATIENCE;
    while (!interrupted(before))
        barrier();
    cli();
    out8(UART_IER, 0);
    return (int64_t)(bench_irq.entered - start);
}

// ---- before and after -----------------------------------------------------------------------

static void before_touch(void)
{
    next_page = (machine_ram_end() / 2) & -LARGE_PAGE;
    if (platform->small_pages)
        platform->small_pages(next_page);
    next_page += PAGE;
}

static void before_touch_large(void)
{
    next_page = (machine_ram_end() / 4 * 3) & -LARGE_PAGE;
}

static void before_arm(void)
{
    never = platform->timer_unit(rdtsc() + NEVER);
}

static void after_arm(void)
{
    platform->timer_stop();
}

static void route_com1(void)
{
    out8(UART_MCR, MCR_OUT2);
    volatile uint32_t *select = (uint32_t *)IOAPIC, *window = (uint32_t *)(IOAPIC + 0x10);
    *select = IOAPIC_COM1 + 1;
    *window = machine.apic_ids[0] << 24;
    *select = IOAPIC_COM1;
    *window = VECTOR_DEVICE;
}

static void hv1_on(void)
{
    if (platform->hv1)
        platform->hv1(true);
}

static void hv1_off(void)
{
    if (platform->hv1)
        platform->hv1(false);
}

static void body_spin(void *unused)
{
    (void)unused;
    while (others)
        pause();
}

static void body_halt(void *unused)
{
    (void)unused;
    while (others) {
        cli();
        if (others)
            sti_hlt_cli();
    }
    sti();
}

static void occupy(smp_body *body)
{
    others = 1;
    for (uint32_t i = 1; i < machine.cpu_count; i++)
        smp_run(i, body, NULL);
    clock_delay(SETTLE_US);
}

static void others_spin(void)
{
    occupy(body_spin);
    hv1_on();
}

static void others_halt(void)
{
    occupy(body_halt);
}

static void release_others(void)
{
    hv1_off();
    others = 0;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        platform->ipi(i);
        tap_ok(smp_wait(i, 10000000), "processor %u is idle again", i);
    }
}

// ---- the table ------------------------------------------------------------------------------

#define PLATFORM(field) .platform_op = offsetof(struct platform, field)

const struct row rows[] = {
    {"cpuid", 1, .op = op_cpuid},
    {"hypercall", 1, PLATFORM(hypercall)},
    {"hypercall-memory", 1, PLATFORM(hypercall_memory), .before = hv1_on, .after = hv1_off},
    {"rdmsr", 1, PLATFORM(rdmsr)},
    {"wrmsr", 1, PLATFORM(wrmsr)},
    {"cr3", 1, .op = op_cr3},
    {"cr8", 1, .op = op_cr8},
    {"pause-100", 1, .op = op_pauses},
    {"ipi-self", 1, .op = op_ipi_self},
    {"eoi", 1, .sample = sample_eoi},
    {"eoi-assist", 1, .sample = sample_eoi_assist},
    {"timer-arm", 1, .op = op_timer_arm, .before = before_arm, .after = after_arm},
    {"timer-cost", 1, .sample = sample_timer_cost},
    {"timer-late", 1, .sample = sample_timer_busy},
    {"halt-wake", 1, .sample = sample_timer_halted},
    {"port-unowned", 1, .op = op_port_unowned},
    {"port-vmm", 1, .op = op_port_rtc},
    {"mmio-vmm", 1, .op = op_mmio},
    {"inject", 1, .sample = sample_inject, .before = route_com1},
    {"touch-4k", 1, .op = op_touch, .before = before_touch},
    {"touch-2m", 1, .rounds = 17, .op = op_touch_large, .before = before_touch_large},
    {"ipi-running", 2, .sample = sample_ipi, .before = others_spin, .after = release_others},
    {"ipi-halted", 2, .sample = sample_ipi, .before = others_halt, .after = release_others},
    {"flush-1", 2, PLATFORM(flush), .before = others_spin, .after = release_others},
    {"flush-3", 4, PLATFORM(flush), .before = others_spin, .after = release_others},
    {"flush-page-3", 4, PLATFORM(flush_page), .before = others_spin, .after = release_others},
    {"flush-64-3", 4, PLATFORM(flush_64), .before = others_spin, .after = release_others},
    {"cluster-1", 2, .sample = sample_cluster, .before = others_spin, .after = release_others},
    {"cluster-3", 4, .sample = sample_cluster, .before = others_spin, .after = release_others},
    {0},
};

void (*row_op(const struct row *row))(void)
{
    void (*op)(void) = row->op;
    if (row->platform_op)
        memcpy(&op, (const uint8_t *)platform + row->platform_op, sizeof(op));
    return op;
}
