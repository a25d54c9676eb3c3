// SPDX-License-Identifier: BSD-2-Clause-Patent
// What operations cost, by RDTSC. Under exact counting (`tools/rig --count`) a tick is an
// instruction, so a figure is the number of instructions that guest, hypervisor and parent executed
// for one operation. Each is measured ROUNDS times after a warm-up; the cost of measuring (two
// RDTSCs) is subtracted.
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define WARM_UP      16
#define ROUNDS       201
#define RTC_INDEX    0x70
#define UNOWNED_PORT 0x5f0
#define PAGE         4096ul
#define COM1         0x3f8
#define COM_LSR      (COM1 + 5)
#define COM_DATA     1u

static uint64_t samples[ROUNDS];
static uint64_t next_page; // untouched RAM for the first-touch test

static void op_nothing(void)
{
}

static void op_cpuid(void)
{
    uint32_t eax = HV_CPUID_VENDOR_AND_MAX, ebx, ecx, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
}

static void op_hypercall(void)
{
    register uint64_t spins __asm__("rdx") = 1;
    register uint64_t zero __asm__("r8") = 0;
    uint64_t control = HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, result;
    __asm__ volatile("vmmcall" : "=a"(result) : "c"(control), "r"(spins), "r"(zero) : "memory");
}

static void op_rdmsr(void)
{
    rdmsr(HV_X64_MSR_VP_INDEX);
}

static void op_eoi(void)
{
    wrmsr(HV_X64_MSR_EOI, 0);
}

static void op_port_unowned(void)
{
    in8(UNOWNED_PORT);
}

static void op_port_rtc(void)
{
    out8(RTC_INDEX, 0);
}

static void op_touch(void)
{
    *(volatile uint64_t *)next_page = 1;
    next_page += PAGE;
}

#define IPI_VECTOR   0x41
#define TIMER_VECTOR 0x42
#define NAP          500ul // reference time units: 50 us

static volatile uint32_t interrupts;

static void on_interrupt(struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    apic_eoi();
}

// From the ICR to behind the handler's EOI.
static void op_ipi_self(void)
{
    apic_ipi(0, ICR_FIXED | ICR_SELF | IPI_VECTOR);
    sti_nop();
    cli();
}

// Arming a timer, sleeping, and waking by it: NAP is part of the figure.
static void op_nap(void)
{
    wrmsr(HV_X64_MSR_STIMER0_COUNT, rdmsr(HV_X64_MSR_TIME_REF_COUNT) + NAP);
    sti_hlt_cli();
}

static void prepare_interrupts(void)
{
    apic_enable(apic_has_x2());
    trap_set_handler(IPI_VECTOR, on_interrupt);
    trap_set_handler(TIMER_VECTOR, on_interrupt);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)TIMER_VECTOR << HV_STIMER_VECTOR_SHIFT);
}

static void sort(uint64_t *v, uint64_t count)
{
    for (unsigned i = 1; i < count; i++) {
        uint64_t x = v[i];
        unsigned j = i;
        for (; j && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

static uint64_t overhead;

// `only=NAME` on the command line: that operation alone.
static bool is_wanted(const char *name)
{
    const char *only = "only=", *at = machine.cmdline;
    size_t size = strlen(name);

    for (; *at && strncmp(at, only, strlen(only)); at++)
        continue;
    if (!*at || !overhead)
        return true;
    at += strlen(only);
    return !strncmp(at, name, size) && (at[size] == ' ' || !at[size]);
}

// With `trace=1` whoever reads the console switches the emulator's trace on now, and answers.
static void wait_for_trace(const char *name)
{
    if (!overhead || !machine_option("trace", 0))
        return;
    con_printf("# trace %s\n", name);
    while (!(in8(COM_LSR) & COM_DATA))
        continue;
    in8(COM1);
}

// One operation, over rounds=N (201) rounds.
static void measure(const char *name, void (*op)(void))
{
    uint64_t rounds = machine_option("rounds", ROUNDS);

    if (rounds > ROUNDS || !is_wanted(name))
        return;
    for (unsigned i = 0; i < WARM_UP; i++)
        op();
    wait_for_trace(name);
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t start = rdtsc();
        op();
        samples[i] = rdtsc() - start;
    }
    sort(samples, rounds);
    if (!overhead) {
        overhead = samples[rounds / 2];
        con_printf("# two RDTSCs and a call: %lu\n", overhead);
        return;
    }
    con_printf("bench %s %lu %lu %lu\n", name, samples[0] - overhead,
               samples[rounds / 2] - overhead, samples[rounds - 1] - overhead);
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    measure("nothing", op_nothing);
    measure("cpuid", op_cpuid);
    measure("hypercall", op_hypercall);
    measure("rdmsr", op_rdmsr);
    measure("eoi", op_eoi);
    prepare_interrupts();
    measure("ipi-self", op_ipi_self);
    measure("nap-50us", op_nap);
    tap_is(interrupts, 2 * (WARM_UP + ROUNDS), "every interrupt came, once");
    measure("port-unowned", op_port_unowned);
    measure("port-rtc", op_port_rtc);
    next_page = (machine_ram_end() / 2) & ~(0x200000ul - 1);
    measure("touch", op_touch);
    tap_ok(next_page < machine_ram_end(), "all operations were measured");
}
