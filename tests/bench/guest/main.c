// SPDX-License-Identifier: BSD-2-Clause-Patent
// What operations cost, by RDTSC. Under exact counting (`tools/rig --count`) a tick is an
// instruction, so a figure is the number of instructions that guest, hypervisor and whoever answers
// executed for one operation. Each is measured over many rounds after a warm-up; the cost of
// measuring is subtracted. With one processor the rows of one are measured, with two and four those
// that need as many.
//
// Command line: only=NAME one row; rounds=N; trace=1 waits for the console before the row; cpus=N
// processors, with APIC ids from 0, where no ACPI table tells them.
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "machine.h"
#include "percpu.h"
#include "platform.h"
#include "rows.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define WARM_UP  16
#define ROUNDS   201
#define COM1     0x3f8
#define COM_LSR  (COM1 + 5)
#define COM_DATA 1u

const struct platform *platform;

static int64_t samples[ROUNDS];
static int64_t call_cost, read_cost; // of a row's call between two RDTSCs, and of those alone
static unsigned measured;

static const struct platform *const platforms[] = {&platform_xen, &platform_kvm, &platform_corbel};

static void sort(int64_t *v, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++) {
        int64_t x = v[i];
        uint64_t j = i;
        for (; j && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

// `only=NAME` on the command line: that row alone.
static bool is_wanted(const char *name)
{
    const char *only = "only=", *at = machine.cmdline;
    size_t size = strlen(name);

    for (; *at && strncmp(at, only, strlen(only)); at++)
        continue;
    if (!*at)
        return true;
    at += strlen(only);
    return !strncmp(at, name, size) && (at[size] == ' ' || !at[size]);
}

// With `trace=1` whoever reads the console switches the emulator's trace on now, and answers.
static void wait_for_trace(const char *name)
{
    if (!machine_option("trace", 0))
        return;
    con_printf("# trace %s\n", name);
    while (!(in8(COM_LSR) & COM_DATA))
        continue;
    in8(COM1);
}

static const char *gap(const char *name)
{
    const struct bench_gap *g = platform->gaps;
    for (; g->row; g++) {
        if (!strncmp(g->row, name, strlen(name) + 1))
            return g->reason;
    }
    return NULL;
}

// One round of an operation, for the trace to find; see tools/trace.
__attribute__((noinline)) static int64_t measure(void (*op)(void))
{
    uint64_t start = rdtsc();
    op();
    return (int64_t)(rdtsc() - start);
}

static void measure_row(const struct row *row, uint64_t rounds)
{
    void (*op)(void) = row_op(row);

    if (row->before)
        row->before();
    for (unsigned i = 0; i < (row->rounds ? row->rounds / 8 : WARM_UP); i++)
        (void)(op ? measure(op) : row->sample());
    wait_for_trace(row->name);
    for (uint64_t i = 0; i < rounds; i++)
        samples[i] = op ? measure(op) - call_cost : row->sample() - read_cost;
    if (row->after)
        row->after();
    sort(samples, rounds);
}

static void do_row(const struct row *row)
{
    uint64_t rounds = machine_option("rounds", row->rounds ? row->rounds : ROUNDS);
    const char *reason = gap(row->name);

    if (row->cpus != machine.cpu_count || rounds > ROUNDS || !is_wanted(row->name))
        return;
    if (reason) {
        con_printf("gap %s %s\n", row->name, reason);
        return;
    }
    measure_row(row, rounds);
    measured++;
    con_printf("bench %s %ld %ld %ld\n", row->name, samples[0], samples[rounds / 2],
               samples[rounds - 1]);
}

static void op_nothing(void)
{
}

__attribute__((noinline)) static int64_t sample_nothing(void)
{
    uint64_t start = rdtsc();
    return (int64_t)(rdtsc() - start);
}

static void find_platform(void)
{
    for (unsigned i = 0; i < sizeof(platforms) / sizeof(platforms[0]) && !platform; i++) {
        if (platforms[i]->found())
            platform = platforms[i];
    }
    if (!platform)
        tap_bail_out("no hypervisor that is known here");
}

static void setup_other(void *unused)
{
    (void)unused;
    platform->setup_cpu();
}

static void setup(void)
{
    uint32_t cpus = (uint32_t)machine_option("cpus", 0);

    for (uint32_t i = 0; i < cpus && i < CPU_MAX; i++)
        machine.apic_ids[i] = i;
    if (cpus)
        machine.cpu_count = cpus;
    find_platform();
    con_printf("# platform %s, processors %u\n", platform->name, machine.cpu_count);
    apic_enable(true);
    rows_setup();
    platform->setup();
    platform->setup_cpu();
    if (machine.cpu_count > 1)
        tap_is(smp_start_all(), machine.cpu_count, "all processors run");
    for (uint32_t i = 1; i < machine.cpu_count; i++)
        tap_ok(smp_call(i, setup_other, NULL), "processor %u is set up", i);
}

void guest_main(void)
{
    con_printf("# entered at %lu\n", rdtsc());
    setup();
    call_cost = measure(op_nothing);
    read_cost = sample_nothing();
    con_printf("# two RDTSCs: %ld, and a call: %ld\n", read_cost, call_cost);
    for (const struct row *row = rows; row->name; row++)
        do_row(row);
    tap_ok(measured, "%u operations were measured", measured);
}
