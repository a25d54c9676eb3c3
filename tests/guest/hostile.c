// SPDX-License-Identifier: BSD-2-Clause-Patent
// A hostile guest: random hypercalls (all codes, all control words, any addresses) and random MSR
// accesses. Every one ends in a defined status or a fault. It avoids only what would legitimately
// stop itself: the reset MSR, crash reports, sleeping, its own page tables, INIT to itself, and
// pages that would land on its own code. Command line: seed=N count=N.
//
// rig: --cmdline seed=0xc0ffee
// timeout: 300
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define DEFAULT_SEED  0x5eed5eed5eed5eedul
#define DEFAULT_COUNT 1000000ul
#define ARENA_PAGES   16
#define OVERLAY_PAGES 4
#define STATUS_MAX    0x90
#define HOLE          0xd0000000ul
#define REPORTS_MAX   20

_Alignas(4096) static uint8_t arena[ARENA_PAGES][4096];
// Overlay pages go here, some of them read-only: this program does not write it.
_Alignas(4096) static uint8_t overlaid[OVERLAY_PAGES][4096];

static uint64_t seed;

// xorshift64*
static uint64_t random64(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1dul;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)((random64() >> 32) * limit >> 32);
}

// ---- values ---------------------------------------------------------------------------------

// Addresses for input and output: anything but this program's own memory, which it needs.
static uint64_t any_gpa(void)
{
    uint64_t page = (uint64_t)arena[below(ARENA_PAGES)];
    switch (below(14)) {
    case 0:
        return HOLE + (random64() & 0xffffff8);
    case 1:
        return APIC_PAGE + (random64() & 0xff8);
    case 2:
        return 0xfec00000 + (random64() & 0xff8);
    case 3:
        return hv_gpa(hv_page) + (random64() & 0xff8);
    case 4:
        return page + 4096 - 8 * below(40);
    case 5:
        return page + (random64() & 0xfff);
    case 6:
        return 1ul << (below(32) + 32);
    case 7:
        return ~(random64() & 0xffff);
    case 8:
        return random64() | 1ul << 40;
    case 9:
        return hv_gpa(overlaid[below(OVERLAY_PAGES)]) + 8 * below(512);
    default:
        return page + (random64() & 0x7f8);
    }
}

// Small numbers, ids, masks, sign bits: what fields of parameter blocks are about.
static uint64_t any_value(void)
{
    switch (below(10)) {
    case 0:
        return 0;
    case 1:
        return below(16);
    case 2:
        return ~0ul;
    case 3:
        return HV_VP_INDEX_SELF;
    case 4:
        return 1ul << below(64);
    case 5:
        return any_gpa() >> 12;
    case 6:
        return below(0x300) | (uint64_t)below(0x300) << 32;
    case 7:
        return 1ul << 32 | below(4);
    default:
        return random64();
    }
}

static void scramble_arena(void)
{
    uint64_t *words = (uint64_t *)arena[below(ARENA_PAGES)];
    uint32_t start = below(512);
    words[0] = below(2) ? HV_PARTITION_ID_SELF : any_value();
    for (uint32_t i = 0; i < 8; i++) {
        words[(start + i) % 512] = any_value();
    }
    for (uint32_t i = 1; i < 8; i++) {
        words[i] = any_value();
    }
}

// ---- hypercalls -----------------------------------------------------------------------------

// Calls with handlers of their own, where there is most to get wrong.
static const uint16_t known_codes[] = {
    0x0001, 0x0002, 0x0003, 0x0008, 0x000b, 0x0013, 0x0014, 0x0015, 0x0040, 0x0041, 0x0042,
    0x0043, 0x0044, 0x0045, 0x0046, 0x0047, 0x0048, 0x0049, 0x004a, 0x004b, 0x004c, 0x004d,
    0x004e, 0x004f, 0x0050, 0x0051, 0x0052, 0x0053, 0x0054, 0x0055, 0x0056, 0x005c, 0x005d,
    0x006e, 0x0090, 0x0091, 0x0092, 0x0094, 0x0099, 0x009a, 0x00ac, 0x00ad};

static uint16_t any_code(void)
{
    switch (below(8)) {
    case 0:
        return (uint16_t)random64();
    case 1:
        return (uint16_t)(0x8000 + below(16));
    case 2:
    case 3:
        return (uint16_t)below(0x140);
    default:
        return known_codes[below(sizeof(known_codes) / sizeof(known_codes[0]))];
    }
}

static uint64_t any_control(uint16_t code)
{
    switch (below(8)) {
    case 0:
        return code | (random64() & ~HV_HYPERCALL_CODE_MASK);
    case 1:
        return hv_hypercall_control(code, below(2), below(1024), below(4096));
    case 2:
        return hv_hypercall_control(code, true, below(14), below(8));
    case 3:
        return hv_hypercall_with_rep_start(hv_hypercall_control(code, false, 0, below(520)),
                                           below(520));
    case 4:
    case 5:
        return hv_hypercall_control(code, below(2), 0, 1 + below(4));
    default:
        return hv_hypercall_control(code, below(2), 0, 0);
    }
}

struct call {
    uint64_t control, result;
    uint64_t block[14];
};

static void body_call(void *context)
{
    struct call *call = context;
    call->result = hv_call_xmm(call->control, call->block);
}

// Statuses that have a name (TLFS: Hypercall Status Codes), as a range: all are below 0x88.
static bool result_defined(const struct call *call)
{
    uint64_t reserved = ~(HV_HYPERCALL_RESULT_STATUS_MASK | HV_HYPERCALL_RESULT_REPS_MASK);
    uint16_t status = hv_hypercall_result_status(call->result);
    return !(call->result & reserved) && status <= HV_STATUS_UNKNOWN_REGISTER_NAME && status != 1 &&
           hv_hypercall_result_reps(call->result) <= hv_hypercall_rep_count(call->control);
}

static uint32_t statuses[STATUS_MAX], call_faults, msr_faults, msr_done, wrong, reports;
static uint64_t made; // hypercalls and MSR accesses

static void report(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    wrong++;
    if (reports++ < REPORTS_MAX) {
        tap_note("%s: %lx %lx %lx", what, a, b, c);
    }
}

static void one_call(void)
{
    struct call call;
    uint16_t code = any_code();
    call.control = any_control(code);
    bool fast = call.control & HV_HYPERCALL_FAST;
    for (int i = 0; i < 14; i++) {
        call.block[i] = fast ? any_value() : 0;
    }
    call.block[0] = fast ? (below(2) ? HV_PARTITION_ID_SELF : any_value()) : any_gpa();
    call.block[1] = fast ? any_value() : any_gpa();
    if (code == HVCALL_SWITCH_VIRTUAL_ADDRESS_SPACE) {
        // A new CR3 of any value would end this program, as it should.
        call.control |= HV_HYPERCALL_FAST;
        call.block[0] = read_cr3();
    }
    scramble_arena();
    struct trap trap = trap_try(body_call, &call);
    made++;
    if (trap.taken) {
        call_faults++;
        if (trap.vector != VECTOR_UD && trap.vector != VECTOR_GP) {
            report("a hypercall took exception", trap.vector, call.control, trap.error);
        }
        return;
    }
    if (!result_defined(&call)) {
        report("control, result", call.control, call.result, call.block[0]);
        return;
    }
    statuses[hv_hypercall_result_status(call.result)]++;
}

// ---- MSRs -----------------------------------------------------------------------------------

static uint32_t any_msr(void)
{
    static const uint32_t known[] = {
        0x10,       0x17,       0x1b,       0x3a,       0x48,       0x49,       0x79,
        0x8b,       0xfe,       0x174,      0x175,      0x176,      0x179,      0x17a,
        0x17b,      0x1a0,      0x1d9,      0x200,      0x201,      0x20f,      0x250,
        0x258,      0x268,      0x26f,      0x277,      0x2ff,      0x480,      0x48a,
        0x6e0,      0xda0,      0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
        0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0000104, 0xc0010010, 0xc0010015,
        0xc001001f, 0xc0010058, 0xc0010114, 0xc0010115, 0xc0010117, 0xc0010118, 0xc0010130};
    switch (below(8)) {
    case 0:
        return (uint32_t)random64();
    case 1:
        return 0x40001000 + below(0x100);
    case 2:
        return MSR_X2APIC_FIRST + below(0x100);
    case 3:
        return known[below(sizeof(known) / sizeof(known[0]))];
    case 4:
        return (below(2) ? 0xc0000000 : 0xc0010000) + below(0x200);
    default:
        return 0x40000000 + below(0x120);
    }
}

// What a guest may do to stop itself or to lose its own interface.
static bool stops_itself(uint32_t msr, bool write)
{
    if (!write) {
        return msr == HV_X64_MSR_GUEST_IDLE || (msr >= HV_X64_MSR_POWER_STATE_TRIGGER_C1 &&
                                                msr <= HV_X64_MSR_POWER_STATE_TRIGGER_C3);
    }
    return msr == HV_X64_MSR_RESET || msr == HV_X64_MSR_CRASH_CTL || msr == HV_X64_MSR_ICR ||
           msr == MSR_X2APIC_FIRST + (APIC_ICR >> 4);
}

static bool is_page_msr(uint32_t msr)
{
    static const uint32_t pages[] = {HV_X64_MSR_HYPERCALL,
                                     HV_X64_MSR_REFERENCE_TSC,
                                     HV_X64_MSR_VP_ASSIST_PAGE,
                                     HV_X64_MSR_SIEFP,
                                     HV_X64_MSR_SIMP,
                                     HV_X64_MSR_SIRBP,
                                     HV_X64_MSR_STATS_PARTITION_RETAIL_PAGE,
                                     HV_X64_MSR_STATS_PARTITION_INTERNAL_PAGE,
                                     HV_X64_MSR_STATS_VP_RETAIL_PAGE,
                                     HV_X64_MSR_STATS_VP_INTERNAL_PAGE};
    for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (pages[i] == msr) {
            return true;
        }
    }
    return false;
}

// An overlay page may come anywhere but onto this program.
static uint64_t page_value(void)
{
    uint64_t page = any_gpa() & ~0xffful;
    if (machine_is_ram(page) || below(2)) {
        page = hv_gpa(overlaid[below(OVERLAY_PAGES)]);
    }
    return page | (random64() & 0xfff & ~HV_MSR_HYPERCALL_LOCKED);
}

static void one_msr(void)
{
    uint32_t msr;
    bool write;
    do {
        msr = any_msr();
        write = below(2);
    } while (stops_itself(msr, write));
    uint64_t value = is_page_msr(msr) ? page_value() : any_value();
    struct trap trap = write ? try_wrmsr(msr, value) : try_rdmsr(msr, &value);
    made++;
    if (!trap.taken) {
        msr_done++;
    } else if (trap.vector == VECTOR_GP && trap.error == 0) {
        msr_faults++;
    } else {
        report("an MSR took exception", trap.vector, msr, value);
    }
    if (msr == HV_X64_MSR_GUEST_OS_ID || msr == HV_X64_MSR_HYPERCALL) {
        hv_setup();
    }
}

// ---- the run --------------------------------------------------------------------------------

static void run(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (below(4)) {
            one_call();
        } else {
            one_msr();
        }
        if (i % (count / 10 + 1) == 0) {
            tap_note("%lu done", i);
        }
    }
}

// Undo what was done to the processor, so that the end can be looked at.
static void recover(void)
{
    wrmsr(HV_X64_MSR_SIMP, 0);
    wrmsr(HV_X64_MSR_SIEFP, 0);
    for (uint32_t i = 0; i < 4; i++) {
        wrmsr(HV_X64_MSR_STIMER_CONFIG(i), 0);
    }
    hv_setup();
}

void guest_main(void)
{
    hv_need();
    seed = machine_option("seed", DEFAULT_SEED) | 1;
    uint64_t count = machine_option("count", DEFAULT_COUNT);
    tap_note("seed=0x%lx count=%lu", seed, count);
    hv_setup();
    uint64_t before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    run(count);
    recover();
    for (unsigned i = 0; i < STATUS_MAX; i++) {
        if (statuses[i]) {
            tap_note("status %04x: %u", i, statuses[i]);
        }
    }
    tap_note("hypercalls that faulted: %u; MSR accesses: %u, faulted: %u", call_faults, msr_done,
             msr_faults);
    tap_is(made, count, "%lu random hypercalls and MSR accesses were made", count);
    tap_is(wrong, 0, "all of them ended in a defined status or a fault");
    tap_ok(statuses[HV_STATUS_SUCCESS] && statuses[HV_STATUS_ACCESS_DENIED] &&
               statuses[HV_STATUS_INVALID_HYPERCALL_CODE] &&
               statuses[HV_STATUS_INVALID_HYPERCALL_INPUT] &&
               statuses[HV_STATUS_INVALID_PARAMETER] && statuses[HV_STATUS_INVALID_ALIGNMENT],
           "they came as far as each kind of refusal");
    tap_ok(rdmsr(HV_X64_MSR_TIME_REF_COUNT) > before && hv_present(), "the hypervisor is well");
    tap_is(hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0), HV_STATUS_SUCCESS,
           "and still takes hypercalls");
}
