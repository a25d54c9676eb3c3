// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest that lives its own life: timers, hypercalls, memory, ports. Runs beside others that do
// not behave, and must notice nothing. Command line: rounds=N seconds; 0: until a byte comes on
// COM1, and one more.
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "irqlog.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define TIMER_VECTOR 0x46
#define PERIOD       100000ul // 10 ms in reference time
#define SECOND       1000000ul
#define WORDS        (1u << 18)
#define STEP         0x9e3779b97f4a7c15ul

static uint64_t memory[WORDS];

static void fill(uint64_t start)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        memory[i] = start + i * STEP;
    }
}

static bool filled(uint64_t start)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        if (memory[i] != start + i * STEP) {
            return false;
        }
    }
    return true;
}

static bool calls_work(void)
{
    bool work = hv_present() && in8(0x2f0) == 0xff;
    for (int i = 0; i < 100; i++) {
        work &= hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0) == 0;
        work &= hv_call(0x7ffe, 0, 0) == HV_STATUS_INVALID_HYPERCALL_CODE;
    }
    return work;
}

// Missed periods are made up for later: what counts is all since the timer was started.
// How many ticks come in time is the emulator's host's affair as well; a neighbour that takes the
// processor away leaves none.
static void one_round(uint32_t round, uint64_t started)
{
    uint32_t before = irqlog.count;
    uint64_t start = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    fill(round);
    sti();
    clock_delay(SECOND);
    cli();
    uint32_t count = irqlog.count;
    uint64_t now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    uint32_t due = (uint32_t)((now - start) / PERIOD), all = (uint32_t)((now - started) / PERIOD);
    tap_ok(count - before >= due / 32 && count <= all && filled(round) && calls_work(),
           "second %u: timers (%u of %u), memory and hypercalls are as they should be", round,
           count - before, due);
}

void guest_main(void)
{
    hv_need();
    apic_enable(apic_has_x2());
    clock_tsc_hz();
    hv_setup();
    irqlog_watch(TIMER_VECTOR);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_PERIODIC | HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)TIMER_VECTOR << HV_STIMER_VECTOR_SHIFT);
    uint64_t started = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, PERIOD);
    uint32_t rounds = (uint32_t)machine_option("rounds", 3);
    for (uint32_t round = 1; !rounds || round <= rounds; round++) {
        one_round(round, started);
        if (!rounds && con_input()) {
            rounds = round + 1;
        }
    }
}
