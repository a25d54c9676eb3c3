// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hv#1 as Corbel offers it.
#include "apic.h"
#include "cpu.h"
#include "hv/assist.h"
#include "hv/synic.h"
#include "hv/time.h"
#include "hvcall.h"
#include "hvrows.h"
#include "layout.h"
#include "machine.h"
#include "percpu.h"
#include "platform.h"
#include "tap.h"

_Alignas(4096) static struct hv_reference_tsc_page tsc_page;
_Alignas(4096) static volatile uint32_t assist[CPU_MAX][1024];

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

static void op_wrmsr(void)
{
    wrmsr(HV_X64_MSR_CRASH_P0, 0);
}

static void eoi(void)
{
    wrmsr(HV_X64_MSR_EOI, 0);
}

// TLFS: EOI Assist
static void eoi_assist(void)
{
    uint32_t *word = (uint32_t *)&assist[percpu()->index][0];
    bool spared;
    __asm__ volatile("btrl $0, %0" : "+m"(*word), "=@ccc"(spared) : : "memory");
    if (!spared)
        eoi();
}

static void ipi(uint32_t cpu)
{
    wrmsr(MSR_X2APIC_FIRST + (APIC_ICR >> 4),
          (uint64_t)machine.apic_ids[cpu] << 32 | ICR_FIXED | VECTOR_IPI);
}

static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

// TLFS: Reference TSC: time = (tsc * scale >> 64) + offset, in 100 ns.
static uint64_t timer_unit(uint64_t tsc)
{
    return multiply_high(tsc, tsc_page.tsc_scale) + (uint64_t)tsc_page.tsc_offset + 1;
}

static uint64_t timer_tsc(uint64_t unit)
{
    uint64_t time = unit - (uint64_t)tsc_page.tsc_offset, quotient, rest;
    __asm__("divq %4"
            : "=a"(quotient), "=d"(rest)
            : "a"(0ul), "d"(time), "r"(tsc_page.tsc_scale)
            : "cc");
    return quotient + (rest != 0);
}

static void timer_arm(uint64_t unit)
{
    wrmsr(HV_X64_MSR_STIMER0_COUNT, unit);
}

static void timer_stop(void)
{
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
}

static void setup(void)
{
    hv_setup();
    hvrows_setup();
    wrmsr(HV_X64_MSR_REFERENCE_TSC, hv_gpa(&tsc_page) | 1);
    tap_ok(tsc_page.tsc_sequence != 0, "the reference TSC page holds");
}

static void setup_cpu(void)
{
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(assist[percpu()->index]) | 1);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)VECTOR_TIMER << HV_STIMER_VECTOR_SHIFT);
}

static const struct bench_gap gaps[] = {{0}};

const struct platform platform_corbel = {
    .name = "corbel",
    .found = hv_present,
    .setup = setup,
    .setup_cpu = setup_cpu,
    .hypercall = op_hypercall,
    .hypercall_memory = op_hypercall_memory,
    .rdmsr = op_rdmsr,
    .wrmsr = op_wrmsr,
    .flush = op_flush_others,
    .flush_page = op_flush_page,
    .flush_64 = op_flush_64,
    .cluster = op_cluster,
    .eoi = eoi,
    .eoi_assist = eoi_assist,
    .ipi = ipi,
    .timer_unit = timer_unit,
    .timer_tsc = timer_tsc,
    .timer_arm = timer_arm,
    .timer_stop = timer_stop,
    .gaps = gaps,
};
