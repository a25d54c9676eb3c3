// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "clock.h"

#include "cpu.h"
#include "hv/cpuid.h"
#include "hv/msr.h"
#include "machine.h"
#include "tap.h"

#define PM_TIMER_MASK 0xffffffu // the least that a PM timer has

static uint64_t tsc_hz;

struct moment {
    uint64_t tsc;
    uint32_t pm;
};

// Both clocks at (nearly) the same moment: the closest of some tries, since the processor may be
// taken away in between.
static struct moment sample(uint16_t port)
{
    struct moment best = {0};
    uint64_t shortest = ~0ull;
    for (int i = 0; i < 8; i++) {
        uint64_t before = rdtsc();
        uint32_t now = in32(port);
        uint64_t after = rdtsc();
        if (after - before < shortest) {
            shortest = after - before;
            best = (struct moment){.tsc = before + shortest / 2, .pm = now};
        }
    }
    return best;
}

uint64_t clock_measure_tsc_hz(uint32_t us)
{
    uint16_t port = machine.pm_timer_port;
    if (!port) {
        return 0;
    }
    uint32_t want = (uint32_t)((uint64_t)us * PM_TIMER_HZ / 1000000), passed;
    struct moment start = sample(port), end;
    do {
        end = sample(port);
        passed = (end.pm - start.pm) & PM_TIMER_MASK;
    } while (passed < want);
    return (end.tsc - start.tsc) * PM_TIMER_HZ / passed;
}

uint64_t clock_tsc_hz(void)
{
    if (!tsc_hz) {
        tsc_hz = clock_measure_tsc_hz(20000);
    }
    if (!tsc_hz && cpuid(HV_CPUID_INTERFACE, 0).eax == HV_CPUID_INTERFACE_HV1) {
        tsc_hz = rdmsr(HV_X64_MSR_TSC_FREQUENCY);
    }
    if (!tsc_hz) {
        tap_bail_out("no clock to measure the TSC with");
    }
    return tsc_hz;
}

uint64_t clock_ticks(uint64_t us)
{
    return us * (clock_tsc_hz() / 1000) / 1000;
}

void clock_delay(uint64_t us)
{
    uint64_t start = rdtsc(), ticks = clock_ticks(us);
    while (rdtsc() - start < ticks) {
        pause();
    }
}

bool clock_wait(volatile uint32_t *flag, uint32_t want, uint64_t us)
{
    uint64_t start = rdtsc(), ticks = clock_ticks(us);
    while (*flag < want) {
        if (rdtsc() - start >= ticks) {
            return *flag >= want;
        }
        pause();
    }
    return true;
}
