// SPDX-License-Identifier: BSD-2-Clause-Patent
// MSRs: the synthetic ones of time and identity, and the architectural ones with their checks.
//
// rig: --vps 2 --lps 1 --count
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/time.h"
#include "hvcall.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

_Alignas(4096) static uint8_t time_page[4096];
_Alignas(4096) static uint8_t assist_page[4096];

static bool is_gp(struct trap trap)
{
    return trap.taken && trap.vector == VECTOR_GP && trap.error == 0;
}

static void refuse_write(uint32_t msr, uint64_t value, const char *what)
{
    uint64_t before = 0, after = 0;
    try_rdmsr(msr, &before);
    struct trap trap = try_wrmsr(msr, value);
    try_rdmsr(msr, &after);
    tap_ok(is_gp(trap) && before == after, "%s is #GP(0) and changes nothing", what);
}

// ---- identity -------------------------------------------------------------------------------

static volatile uint64_t index_of_other;

static void read_index(void *context)
{
    (void)context;
    index_of_other = rdmsr(HV_X64_MSR_VP_INDEX);
}

static void test_index(void)
{
    tap_is(rdmsr(HV_X64_MSR_VP_INDEX), 0, "VP_INDEX is 0 on the boot processor");
    smp_call(1, read_index, NULL);
    tap_is(index_of_other, 1, "and 1 on the other");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_VP_INDEX, 0)), "writing VP_INDEX is #GP(0)");
    tap_is(rdmsr(HV_X64_MSR_RESET), 0, "RESET reads 0");
}

static void test_runtime(void)
{
    if (!(hv_privileges() & HV_PRIV_ACCESS_VP_RUNTIME_REG)) {
        tap_skip("not offered", "VP_RUNTIME");
        return;
    }
    uint64_t time = rdmsr(HV_X64_MSR_TIME_REF_COUNT), start = rdmsr(HV_X64_MSR_VP_RUNTIME);
    clock_delay(20000);
    uint64_t ran = rdmsr(HV_X64_MSR_VP_RUNTIME) - start;
    uint64_t passed = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - time;
    tap_ok(ran > 0 && ran <= passed, "VP_RUNTIME grows, no faster than time (%lu of %lu)", ran,
           passed);
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_VP_RUNTIME, 0)), "writing VP_RUNTIME is #GP(0)");
}

// ---- time -----------------------------------------------------------------------------------

static bool near(uint64_t got, uint64_t want, unsigned percent)
{
    return got > want / 100 * (100 - percent) && got < want / 100 * (100 + percent);
}

static void test_counter(void)
{
    uint64_t last = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    bool forward = true;
    for (int i = 0; i < 2000; i++) {
        uint64_t now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
        forward &= now > last;
        last = now;
    }
    tap_ok(forward, "successive accesses return strictly monotonically increasing values");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_TIME_REF_COUNT, 0)), "writing it is #GP(0)");
    uint64_t tsc = rdtsc(), time = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    clock_delay(100000);
    uint64_t counts = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - time, ticks = rdtsc() - tsc;
    uint64_t want = ticks / (clock_tsc_hz() / 1000) * 10000;
    tap_ok(near(counts, want, 1), "it counts 100 ns (%lu in %lu)", counts, want);
}

// Each reads after the other has: what it sees is greater.
static struct {
    volatile uint32_t turn, wrong;
    volatile uint64_t last;
} turns;

static void read_in_turns(void *context)
{
    const uint32_t me = context != NULL;
    for (uint32_t i = 0; i < 50; i++) {
        while (turns.turn != me) {
            hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0);
        }
        uint64_t now = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
        turns.wrong += now <= turns.last;
        turns.last = now;
        turns.turn = !me;
    }
}

static void test_counter_turns(void)
{
    smp_run(1, read_in_turns, (void *)&turns);
    read_in_turns(NULL);
    tap_ok(smp_wait(1, CLOCK_PATIENCE) && !turns.wrong,
           "as seen by any and all virtual processors");
}

static void test_frequencies(void)
{
    uint64_t tsc = rdmsr(HV_X64_MSR_TSC_FREQUENCY), apic = rdmsr(HV_X64_MSR_APIC_FREQUENCY);
    uint64_t measured = clock_measure_tsc_hz(100000);
    tap_ok(measured && near(tsc, measured, 1), "TSC_FREQUENCY is what the PM timer says (%lu, %lu)",
           tsc, measured);
    tap_ok(apic >= 1000000 && apic <= 10000000000ul, "APIC_FREQUENCY is plausible (%lu)", apic);
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_TSC_FREQUENCY, tsc)), "writing TSC_FREQUENCY is #GP(0)");
    tap_ok(is_gp(try_wrmsr(HV_X64_MSR_APIC_FREQUENCY, apic)), "writing APIC_FREQUENCY is #GP(0)");
}

// TLFS: Reference TSC page.
static bool page_time(const volatile struct hv_reference_tsc_page *page, uint64_t *time)
{
    for (;;) {
        uint32_t sequence = page->tsc_sequence;
        if (sequence == HV_REFERENCE_TSC_SEQUENCE_INVALID) {
            return false;
        }
        uint64_t tsc = rdtsc(), scale = page->tsc_scale;
        int64_t offset = page->tsc_offset;
        if (page->tsc_sequence == sequence) {
            *time = (uint64_t)((unsigned __int128)tsc * scale >> 64) + (uint64_t)offset;
            return true;
        }
    }
}

static volatile uint32_t outside;

// The page's time lies between two readings of the counter, which take a while each.
static void compare_times(void *context)
{
    const volatile struct hv_reference_tsc_page *page = context;
    for (int i = 0; i < 500; i++) {
        uint64_t time = 0, before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
        bool valid = page_time(page, &time);
        uint64_t after = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
        // One unit each way for rounding.
        outside += !valid || time + 1 < before || time > after + 1;
    }
}

static void test_tsc_page(void)
{
    const volatile struct hv_reference_tsc_page *page = (const void *)time_page;
    memset(time_page, 0xc3, sizeof(time_page));
    uint64_t value = hv_gpa(time_page) | HV_PAGE_MSR_ENABLE | 0x550;
    wrmsr(HV_X64_MSR_REFERENCE_TSC, value);
    tap_is(rdmsr(HV_X64_MSR_REFERENCE_TSC), value, "REFERENCE_TSC keeps page, enable and the rest");
    tap_ok(page->tsc_sequence != 0 && page->tsc_sequence != 0xffffffff && page->tsc_scale,
           "the page is valid (sequence %u, scale %lx)", page->tsc_sequence, page->tsc_scale);
    outside = 0;
    compare_times((void *)time_page);
    tap_is(outside, 0, "its time agrees with the counter");
    smp_call(1, compare_times, (void *)time_page);
    tap_is(outside, 0, "on the other processor as well");
    uint64_t scale = page->tsc_scale;
    struct trap trap = try_write8(hv_gpa(time_page) + 8, 0x77);
    tap_ok(trap.taken || page->tsc_scale == scale, "a guest cannot change it");
    wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
    tap_ok(time_page[0] == 0xc3 && time_page[8] == 0xc3 && time_page[4095] == 0xc3,
           "disabled, it uncovers the memory beneath as it was");
}

static void test_assist_page(void)
{
    if (!(hv_privileges() & HV_PRIV_ACCESS_INTR_CTRL_REGS)) {
        tap_skip("not offered", "VP_ASSIST_PAGE");
        return;
    }
    memset(assist_page, 0xc3, sizeof(assist_page));
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, hv_gpa(assist_page) | HV_PAGE_MSR_ENABLE);
    tap_is(*(volatile uint32_t *)assist_page, 0, "enabling the assist page clears the EOI assist");
    *(volatile uint8_t *)(assist_page + 40) = 1;
    tap_is(*(volatile uint8_t *)(assist_page + 40), 1, "the guest may write the page");
    *(volatile uint8_t *)(assist_page + 40) = 0;
    wrmsr(HV_X64_MSR_VP_ASSIST_PAGE, 0);
    tap_is(assist_page[40], 0xc3, "disabled, it uncovers the memory beneath");
}

// ---- crash ----------------------------------------------------------------------------------

static volatile bool crash_shared;

static void read_crash(void *context)
{
    (void)context;
    bool same = true;
    for (uint32_t i = 0; i < 5; i++) {
        same &= rdmsr(HV_X64_MSR_CRASH_P(i)) == 0x1122334455667788ul + i;
    }
    crash_shared = same;
}

static void test_crash(void)
{
    if (!(hv_features() & HV_FEATURE_EDX_GUEST_CRASH_MSRS)) {
        tap_skip("not offered", "crash MSRs");
        return;
    }
    uint64_t control = rdmsr(HV_X64_MSR_CRASH_CTL);
    tap_is(control, HV_CRASH_CTL_CRASH_NOTIFY | HV_CRASH_CTL_CRASH_MESSAGE,
           "CRASH_CTL tells what it can do: notify, and show a message");
    bool kept = true;
    for (uint32_t i = 0; i < 5; i++) {
        wrmsr(HV_X64_MSR_CRASH_P(i), 0x1122334455667788ul + i);
    }
    for (uint32_t i = 0; i < 5; i++) {
        kept &= rdmsr(HV_X64_MSR_CRASH_P(i)) == 0x1122334455667788ul + i;
    }
    tap_ok(kept, "the crash parameters keep any value");
    smp_call(1, read_crash, NULL);
    tap_ok(crash_shared, "and are the partition's: the other processor reads the same");
    wrmsr(HV_X64_MSR_CRASH_CTL, 0);
    tap_is(rdmsr(HV_X64_MSR_CRASH_CTL), control, "writing CRASH_CTL without notify does nothing");
    struct trap trap = try_wrmsr(HV_X64_MSR_CRASH_CTL, ~HV_CRASH_CTL_CRASH_NOTIFY);
    tap_ok(!trap.taken && rdmsr(HV_X64_MSR_CRASH_CTL) == control,
           "its other bits are ignored, and what it reads is the supported set");
}

// ---- architectural MSRs ---------------------------------------------------------------------

static void test_kept(void)
{
    static const struct {
        uint32_t msr;
        uint64_t value;
        const char *name;
    } kept[] = {{MSR_SYSENTER_CS, 0x1234, "SYSENTER_CS"},
                {MSR_SYSENTER_ESP, 0xffff800000001234, "SYSENTER_ESP"},
                {MSR_SYSENTER_EIP, 0x7fffffffffff, "SYSENTER_EIP"},
                {MSR_STAR, 0x0013000800000000, "STAR"},
                {MSR_LSTAR, 0xffff800012345678, "LSTAR"},
                {MSR_CSTAR, 0xffff800087654321, "CSTAR"},
                {MSR_SFMASK, 0x47700, "SFMASK"},
                {MSR_FS_BASE, 0xffff800000005678, "FS_BASE"},
                {MSR_GS_BASE, 0x00007ffffffff000, "GS_BASE"},
                {MSR_KERNEL_GS, 0xffffffff80000000, "KERNEL_GS_BASE"},
                {MSR_PAT, 0x0407050600070406, "PAT"}};
    for (unsigned i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        uint64_t old = rdmsr(kept[i].msr), got = 0;
        struct trap trap = try_wrmsr(kept[i].msr, kept[i].value);
        cpuid(0, 0);
        try_rdmsr(kept[i].msr, &got);
        wrmsr(kept[i].msr, old);
        tap_ok(!trap.taken && got == kept[i].value, "%s keeps its value (%lx)", kept[i].name, got);
    }
}

static void test_efer(void)
{
    uint64_t efer = rdmsr(MSR_EFER);
    tap_is(efer & (EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME), EFER_LME | EFER_LMA | EFER_NXE,
           "EFER shows LME, LMA, NXE and no SVME");
    refuse_write(MSR_EFER, efer & ~EFER_LME, "leaving long mode by EFER while paging");
    refuse_write(MSR_EFER, efer | EFER_SVME, "EFER.SVME");
    refuse_write(MSR_EFER, efer | 1ul << 9, "a reserved bit of EFER");
    refuse_write(MSR_EFER, efer | 1ul << 63, "an upper bit of EFER");
    wrmsr(MSR_EFER, efer | EFER_SCE);
    tap_is(rdmsr(MSR_EFER), efer | EFER_SCE, "EFER.SCE can be set");
    wrmsr(MSR_EFER, efer);
}

static void test_refused(void)
{
    refuse_write(MSR_PAT, 0x0207050600070406, "a reserved memory type in the PAT");
    refuse_write(MSR_PAT, 0x0907050600070406, "a memory type beyond 7 in the PAT");
    uint64_t fs = rdmsr(MSR_FS_BASE);
    bool checks = try_wrmsr(MSR_FS_BASE, 1ul << 60).taken;
    wrmsr(MSR_FS_BASE, fs);
    if (checks) {
        refuse_write(MSR_LSTAR, 1ul << 60, "a non-canonical LSTAR");
        refuse_write(MSR_SYSENTER_EIP, 1ul << 60, "a non-canonical SYSENTER_EIP");
        refuse_write(MSR_KERNEL_GS, 1ul << 60, "a non-canonical KERNEL_GS_BASE");
    } else {
        tap_skip("this processor does not check them", "non-canonical addresses are #GP");
    }
    uint64_t base = rdmsr(MSR_APIC_BASE);
    refuse_write(MSR_APIC_BASE, base | 1, "a reserved bit of APIC_BASE");
    refuse_write(MSR_APIC_BASE, base | 1ul << 52, "APIC_BASE beyond memory");
    if (!try_rdmsr(MSR_MTRR_CAP, 0).taken) {
        refuse_write(MSR_MTRR_CAP, 0, "writing MTRRCAP");
        refuse_write(0x2ff, 0x7, "a reserved type in MTRR_DEF_TYPE");
        refuse_write(0x200, 0x2, "a reserved type in a variable MTRR");
        refuse_write(0x250, 0x0202020202020202, "reserved types in a fixed MTRR");
    }
}

static void test_absent(void)
{
    static const uint32_t absent[] = {0x3,        0x3a,       0x480,      0x4b564d00,
                                      0x12345,    0x40000200, 0x40002000, 0x7fffffff,
                                      0x80000000, 0xbfffffff, 0xc0000200, 0xc0001fff,
                                      0xc0002000, 0xc0012000, 0xffffffff, MSR_VM_HSAVE_PA};
    for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        tap_ok(is_gp(try_rdmsr(absent[i], 0)) && is_gp(try_wrmsr(absent[i], 0)),
               "MSR %x is not there: #GP(0) both ways", absent[i]);
    }
}

// SPEC_CTRL and PRED_CMD are there exactly where CPUID shows a use of them, EFER's bit likewise;
// and each processor has a SPEC_CTRL of its own.
static volatile uint64_t other_control;

static void set_control(void *context)
{
    (void)context;
    other_control = rdmsr(MSR_SPEC_CTRL);
    wrmsr(MSR_SPEC_CTRL, 0);
}

static void test_speculation(void)
{
    uint32_t shown = cpuid(0x80000008, 0).ebx, highest = cpuid(0x80000000, 0).eax;
    bool automatic = highest >= 0x80000021 && (cpuid(0x80000021, 0).eax & 1u << 8);
    bool control = shown & (1u << 14 | 1u << 15 | 1u << 24 | 1u << 28);
    uint64_t efer = rdmsr(MSR_EFER), usable = shown & 1u << 15 ? 2 : 0;
    tap_is(!try_wrmsr(MSR_PRED_CMD, 1).taken, shown >> 12 & 1, "PRED_CMD is as CPUID shows IBPB");
    tap_is(!try_rdmsr(MSR_SPEC_CTRL, 0).taken, control, "SPEC_CTRL is as CPUID shows its bits");
    tap_is(!try_wrmsr(MSR_EFER, efer | 1ul << 21).taken, automatic,
           "EFER's automatic IBRS is as CPUID shows it");
    wrmsr(MSR_EFER, efer);
    if (!control) {
        tap_skip("not shown", "each processor has a SPEC_CTRL of its own");
        return;
    }
    wrmsr(MSR_SPEC_CTRL, usable);
    smp_call(1, set_control, NULL);
    tap_ok(other_control == 0 && rdmsr(MSR_SPEC_CTRL) == usable,
           "each processor has a SPEC_CTRL of its own");
    wrmsr(MSR_SPEC_CTRL, 0);
}

static void test_tsc(void)
{
    uint64_t before = rdtsc(), msr = rdmsr(MSR_TSC), after = rdtsc();
    tap_ok(before <= msr && msr <= after, "MSR 10 is the TSC (%ld, %ld)", (int64_t)(msr - before),
           (int64_t)(after - msr));
}

void guest_main(void)
{
    hv_need();
    apic_enable(apic_has_x2());
    if (!tap_is(smp_start_all(), 2, "both processors start")) {
        return;
    }
    hv_setup();
    test_index();
    test_runtime();
    test_counter();
    test_counter_turns();
    test_frequencies();
    test_tsc_page();
    test_assist_page();
    test_crash();
    test_kept();
    test_efer();
    test_refused();
    test_absent();
    test_speculation();
    test_tsc();
}
