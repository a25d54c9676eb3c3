// SPDX-License-Identifier: BSD-2-Clause-Patent
// The frequency of the TSC. CPUID leaf 15h states it exactly (SDM 3B 19.7.3), but emulators repeat
// the figures of the part they imitate: it is believed only where a measurement agrees.
#include "boot/loader.h"
#include "corbel/x86.h"

#define PM_HZ            3579545u // ACPI 6.5: 4.8.3.3
#define PM_MASK          0xffffffu
#define MEASURE_PM_TICKS (PM_HZ / 20)
#define MEASURE_US       50000u
#define SAMPLES          16u
#define POLLS            10000000u // of a timer that may stand still

struct sample {
    uint64_t tsc;
    uint32_t pm;
};

static uint32_t pm_read(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value & PM_MASK;
}

// Both clocks at one moment: of several attempts the one that took least time.
static struct sample take_sample(uint16_t port)
{
    struct sample best = {0};
    uint64_t best_width = UINT64_MAX;
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t before = rdtsc();
        uint32_t pm = pm_read(port);
        uint64_t width = rdtsc() - before;
        if (width < best_width) {
            best_width = width;
            best = (struct sample){before + width / 2, pm};
        }
    }
    return best;
}

// 0: the timer stands still.
static uint64_t measure_by_pm(uint16_t port)
{
    struct sample start = take_sample(port);
    unsigned polls = 0;
    while (((pm_read(port) - start.pm) & PM_MASK) < MEASURE_PM_TICKS)
        if (++polls == POLLS)
            return 0;
    struct sample end = take_sample(port);
    return (end.tsc - start.tsc) * PM_HZ / ((end.pm - start.pm) & PM_MASK);
}

static uint64_t measure_by_stall(void)
{
    uint64_t start = rdtsc();
    BS->Stall(MEASURE_US);
    return (rdtsc() - start) * (1000000 / MEASURE_US);
}

// 0: not stated.
static uint64_t stated_by_cpuid(void)
{
    if (cpuid(0, 0).eax < 0x15)
        return 0;
    struct cpuid_regs r = cpuid(0x15, 0);
    return r.eax ? (uint64_t)r.ecx * r.ebx / r.eax : 0;
}

uint64_t tsc_frequency(uint64_t rsdp)
{
    uint16_t port = acpi_pm_timer(rsdp);
    uint64_t measured = port ? measure_by_pm(port) : 0, stated = stated_by_cpuid();
    if (!measured)
        measured = measure_by_stall();
    uint64_t apart = stated > measured ? stated - measured : measured - stated;
    return apart < measured / 100 ? stated : measured;
}
