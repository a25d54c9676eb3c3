// SPDX-License-Identifier: BSD-2-Clause-Patent
// Rep calls and parameter lists: where a call goes on after an interrupt, what the counts say,
// which refusal comes first, and lists wherever a guest may put them. TLFS: Hypercall Interface.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 1
// rig: --vps 4 --lps 2
// timeout: 180
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define FIND       HVCALL_GET_VP_INDEX_FROM_APIC_ID
#define SPIN       HVCALL_NOTIFY_LONG_SPIN_WAIT
#define FAST       HV_HYPERCALL_FAST
#define PAGE_REPS  ((4096 - sizeof(struct hv_input_get_vp_index_from_apic_id)) / 4)
#define VECTOR     0x53
#define WANTED     20u
#define ROUNDS_MAX 20000u
#define NO_APIC_ID 0x7eeeeeu

_Alignas(4096) static struct {
    struct hv_input_get_vp_index_from_apic_id in;
    uint32_t id[PAGE_REPS];
} input;
_Alignas(4096) static uint32_t output[1024];
_Alignas(4096) static uint8_t page[4096];

static void fill(void)
{
    input.in = (struct hv_input_get_vp_index_from_apic_id){.partition_id = HV_PARTITION_ID_SELF};
    for (uint32_t i = 0; i < PAGE_REPS; i++) {
        input.id[i] = machine.apic_ids[i % machine.cpu_count];
    }
    memset(output, 0xee, sizeof(output));
}

static uint64_t find(uint32_t start, uint32_t count)
{
    return hv_call(hv_hypercall_control(FIND, false, 0, count) | (uint64_t)start << 48,
                   hv_gpa(&input), hv_gpa(output));
}

// Are the elements [first, last) answered, and no others?
static bool answered(uint32_t first, uint32_t last)
{
    for (uint32_t i = 0; i < PAGE_REPS; i++) {
        uint32_t want = i >= first && i < last ? i % machine.cpu_count : 0xeeeeeeee;
        if (output[i] != want) {
            tap_note("element %u: %x, want %x", i, output[i], want);
            return false;
        }
    }
    return true;
}

// ---- counts -----------------------------------------------------------------------------------

static void test_counts(void)
{
    fill();
    uint64_t result = find(0, PAGE_REPS);
    tap_ok(result == hv_hypercall_result(HV_STATUS_SUCCESS, PAGE_REPS) && answered(0, PAGE_REPS),
           "a list that fills its page is done, reps completed is the rep count (%lx)", result);
    fill();
    result = find(5, 10);
    tap_ok(result == hv_hypercall_result(HV_STATUS_SUCCESS, 10) && answered(5, 10),
           "with rep start 5 and count 10 reps completed is 10, and 0 to 4 are not touched (%lx)",
           result);
    fill();
    input.id[300] = NO_APIC_ID;
    result = find(0, PAGE_REPS);
    tap_ok(result == hv_hypercall_result(HV_STATUS_INVALID_PARAMETER, 300) && answered(0, 300),
           "an element in error ends the call; those before it are done and counted (%lx)", result);
    result = find(300, PAGE_REPS);
    tap_is(result, hv_hypercall_result(HV_STATUS_INVALID_PARAMETER, 300),
           "reps completed counts from element 0 then too");
}

// ---- continuation -----------------------------------------------------------------------------

static volatile struct {
    uint32_t taken;     // interrupts
    uint32_t at_call;   // whose RIP was the call instruction
    uint32_t continued; // with a rep start behind 0
    uint32_t wrong;     // and a control word that is not this call's
} irq;
static volatile bool running;

static void on_timer(struct trap_frame *frame)
{
    irq.taken++;
    if (frame->rip == hv_gpa(hv_page)) {
        uint64_t expected = hv_hypercall_control(FIND, false, 0, PAGE_REPS);
        uint32_t start = hv_hypercall_rep_start(frame->rcx);
        irq.at_call++;
        irq.continued += start != 0;
        irq.wrong += (frame->rcx & ~(0xfffull << 48)) != expected || start >= PAGE_REPS ||
                     frame->rdx != hv_gpa(&input) || frame->r8 != hv_gpa(output);
    }
    apic_eoi();
}

static volatile uint64_t turns;

static void count_turns(void *context)
{
    (void)context;
    while (running) {
        turns++;
    }
}

static void test_continuation(void)
{
    uint32_t rounds = 0, bad = 0;
    uint64_t others = turns;
    trap_set_handler(VECTOR, on_timer);
    running = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, count_turns, NULL);
    }
    fill();
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_PERIODIC | HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)VECTOR << HV_STIMER_VECTOR_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 1000);
    sti();
    // Where the others have no LP of their own they run when this VP's slice is over.
    while ((irq.continued < WANTED || (machine.cpu_count > 1 && turns == others)) &&
           rounds < ROUNDS_MAX) {
        bad += find(0, PAGE_REPS) != hv_hypercall_result(HV_STATUS_SUCCESS, PAGE_REPS);
        rounds++;
    }
    cli();
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    running = false;
    tap_note("%u calls, %u interrupts, %u at the call, %u of them behind element 0", rounds,
             irq.taken, irq.at_call, irq.continued);
    tap_ok(bad == 0 && answered(0, PAGE_REPS), "calls that were interrupted end as others do");
    tap_ok(irq.continued >= WANTED, "interrupts are taken in the midst of a rep call");
    tap_is(irq.wrong, 0,
           "RIP is the call's then, RCX has the rep start, the other registers are the caller's");
    if (machine.cpu_count == 1) {
        tap_skip("one VP", "other VPs run meanwhile");
        return;
    }
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_wait(i, CLOCK_PATIENCE);
    }
    tap_ok(turns > others, "other VPs run meanwhile");
}

// ---- which refusal comes first ----------------------------------------------------------------

struct refusal {
    const char *what;
    uint64_t control, first, second;
    uint16_t status;
};

#define RESERVED HV_BIT(27)
#define NOWHERE  (1ul << 50)

static void test_priority(void)
{
    const uint64_t one = HV_BIT(32), in = hv_gpa(&input), out = hv_gpa(output);
    const struct refusal refusals[] = {
        {"an unknown code, whatever else is wrong", 0x7ffe | RESERVED | one, 3, 5,
         HV_STATUS_INVALID_HYPERCALL_CODE},
        {"a call without its privilege, whatever else is wrong",
         HVCALL_CREATE_PARTITION | RESERVED | one, 3, 5, HV_STATUS_ACCESS_DENIED},
        {"a rep call without its privilege and with an impossible rep start",
         HVCALL_DEPOSIT_MEMORY | HV_BIT(48), 3, 5, HV_STATUS_ACCESS_DENIED},
        {"a bad control word before a bad address", FIND | one | RESERVED, 3, 5,
         HV_STATUS_INVALID_HYPERCALL_INPUT},
        {"bit 31, which is for nested hypervisors", SPIN | FAST | HV_BIT(31), 0, 0,
         HV_STATUS_INVALID_HYPERCALL_INPUT},
        {"a bad input address before bad contents", FIND | one, in + 4, out,
         HV_STATUS_INVALID_ALIGNMENT},
        {"input outside the GPA space", FIND | one, NOWHERE, out, HV_STATUS_INVALID_ALIGNMENT},
        {"output outside the GPA space", FIND | one, in, NOWHERE, HV_STATUS_INVALID_ALIGNMENT},
        {"a list longer than a page", FIND | (uint64_t)4095 << 32, in, out,
         HV_STATUS_INVALID_ALIGNMENT},
        {"output that crosses its page", FIND | (uint64_t)PAGE_REPS << 32, in, out + 24,
         HV_STATUS_INVALID_ALIGNMENT},
        {"a fast call whose input needs more than 112 bytes", FIND | FAST | (uint64_t)25 << 32, 0,
         0, HV_STATUS_INVALID_HYPERCALL_INPUT},
        {"a fast call whose output finds no room", FIND | FAST | (uint64_t)16 << 32, 0, 0,
         HV_STATUS_INVALID_HYPERCALL_INPUT},
    };
    fill();
    for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *r = &refusals[i];
        tap_is(hv_call(r->control, r->first, r->second), r->status, "%s is refused", r->what);
    }
    tap_is(hv_call(SPIN | FAST, 1, 0), HV_STATUS_SUCCESS,
           "without parameters in memory the "
           "address registers are not looked at");
}

// ---- where lists may lie ----------------------------------------------------------------------

// One element at `first`, the answer at `second`; the result.
static uint64_t find_at(void *first, void *second)
{
    struct {
        struct hv_input_get_vp_index_from_apic_id in;
        uint32_t id;
    } one = {{.partition_id = HV_PARTITION_ID_SELF}, machine.apic_ids[0]};
    memcpy(first, &one, 20);
    return hv_call(hv_hypercall_control(FIND, false, 0, 1), hv_gpa(first), hv_gpa(second));
}

#define DONE_ONE hv_hypercall_result(HV_STATUS_SUCCESS, 1)

static void test_places(void)
{
    memset(page, 0xee, sizeof(page));
    tap_ok(find_at(page, page + 2048) == DONE_ONE && *(uint32_t *)(page + 2048) == 0,
           "input and output may share a page");
    memset(page, 0xee, sizeof(page));
    tap_ok(find_at(page, page) == DONE_ONE && *(uint32_t *)page == 0,
           "lists that overlap: input is a copy by the time that output is written");
    memset(output, 0xee, sizeof(output));
    tap_ok(find_at(page + 4096 - 24, output + 1022) == DONE_ONE && output[1022] == 0 &&
               output[1021] == 0xeeeeeeee && output[1023] == 0xeeeeeeee,
           "lists may end where their pages end, and no more than the answer is written");
}

// The caller's own message page: an overlay that it may read and write.
_Alignas(4096) static uint8_t sim[4096];

static void test_overlays(void)
{
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(sim) | HV_PAGE_MSR_ENABLE);
    memset(output, 0xee, sizeof(output));
    uint64_t result = find_at(sim, output);
    tap_ok(result == DONE_ONE && output[0] == 0,
           "input in an overlay page is read from the overlay");
    result = find_at(page, sim + 64);
    tap_ok(result == DONE_ONE && *(uint32_t *)(sim + 64) == 0,
           "output to one that may be written is written there");
    wrmsr(HV_X64_MSR_SIMP, 0);
    tap_ok(*(uint64_t *)sim == 0 && *(uint64_t *)(sim + 64) == 0,
           "the memory beneath sees none of it");
    wrmsr(HV_X64_MSR_REFERENCE_TSC, hv_gpa(sim) | HV_PAGE_MSR_ENABLE);
    uint64_t before = *(volatile uint64_t *)(sim + 8);
    result = hv_hypercall_result_status(find_at(page, sim + 8));
    tap_ok(result != HV_STATUS_SUCCESS && *(volatile uint64_t *)(sim + 8) == before,
           "output to an overlay that is read-only is refused (%lx)", result);
    wrmsr(HV_X64_MSR_REFERENCE_TSC, 0);
}

// The page of a list taken away and brought back by another processor while calls use it.
static void move_page(void *context)
{
    volatile uint32_t *moves = context;
    while (running) {
        wrmsr(HV_X64_MSR_SIMP, hv_gpa(page) | HV_PAGE_MSR_ENABLE);
        wrmsr(HV_X64_MSR_SIMP, 0);
        ++*moves;
    }
}

static void test_moving(void)
{
    static volatile uint32_t moves;
    uint32_t bad = 0;
    if (machine.cpu_count < 2) {
        tap_skip("one VP", "overlays may move under a call");
        return;
    }
    running = true;
    smp_run(1, move_page, (void *)&moves);
    uint64_t end = rdtsc() + clock_ticks(CLOCK_PATIENCE);
    for (uint32_t i = 0; (i < 2000 || moves < 20) && rdtsc() < end; i++) {
        uint16_t status = hv_hypercall_result_status(find_at(page, page + 64));
        bad += status != HV_STATUS_SUCCESS && status != HV_STATUS_INVALID_PARAMETER &&
               status != HV_STATUS_INVALID_ALIGNMENT && status != HV_STATUS_ACCESS_DENIED;
    }
    running = false;
    smp_wait(1, CLOCK_PATIENCE);
    tap_ok(bad == 0 && moves >= 20, "overlays may come and go beneath the lists of calls (%u)",
           moves);
}

// ---- sets of VPs ------------------------------------------------------------------------------

struct flush {
    struct hv_input_flush_virtual_address_space_ex in;
    uint64_t bank[2], range;
};

// The flush calls of each form, on the caller's own translations; banks of VPs that nobody has.
static void test_sets(void)
{
    const uint64_t everywhere = HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES;
    const struct {
        struct hv_input_flush_virtual_address_space in;
        uint64_t range;
    } list = {{0, everywhere, 1}, hv_gpa(page)};
    struct flush ex = {
        {0, everywhere, {HV_VP_SET_FORMAT_SPARSE, 1ul | 1ul << 63}}, {1, ~0ul}, hv_gpa(page)};
    memcpy(page, &list, sizeof(list));
    tap_is(hv_call(hv_hypercall_control(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST, false, 0, 1),
                   hv_gpa(page), 0),
           DONE_ONE, "HvCallFlushVirtualAddressList counts its ranges");
    memcpy(page, &ex, sizeof(ex));
    tap_is(hv_call(hv_hypercall_control(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, false, 2, 0),
                   hv_gpa(page), 0),
           HV_STATUS_SUCCESS,
           "a bank of VPs beyond the end is nobody's: "
           "HvCallFlushVirtualAddressSpaceEx");
    tap_is(hv_call(hv_hypercall_control(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX, false, 2, 1),
                   hv_gpa(page), 0),
           DONE_ONE, "HvCallFlushVirtualAddressListEx takes its ranges behind the banks");
    tap_is(hv_call(hv_hypercall_control(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, false, 1, 0),
                   hv_gpa(page), 0),
           HV_STATUS_INVALID_HYPERCALL_INPUT, "a bank missing is refused");
    tap_is(hv_call(hv_hypercall_control(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, false, 65, 0),
                   hv_gpa(page), 0),
           HV_STATUS_INVALID_HYPERCALL_INPUT, "and more banks than there are");
    tap_is(hv_call(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI | FAST, 0x60, ~0ul << machine.cpu_count),
           HV_STATUS_SUCCESS, "an IPI to VPs beyond the count goes nowhere");
    tap_ok(!apic_vector_bit(APIC_IRR, 0x60), "not to the caller either");
}

// ---- device interrupts ------------------------------------------------------------------------

struct retarget {
    struct hv_input_retarget_device_interrupt in;
    uint64_t mask, bank[3];
};

static uint16_t retarget(const struct retarget *r, uint32_t words)
{
    memcpy(page, r, sizeof(*r));
    return hv_hypercall_result_status(hv_call(
        hv_hypercall_control(HVCALL_RETARGET_DEVICE_INTERRUPT, false, words, 0), hv_gpa(page), 0));
}

static const struct retarget good = {.in = {.partition_id = HV_PARTITION_ID_SELF,
                                            .device_id = 0x1234,
                                            .interrupt_entry = {.source = HV_INTERRUPT_SOURCE_MSI},
                                            .target = {.vector = 0x40, .mask_or_format = 1}}};

#define REFUSED(what, status, words, ...)                                                          \
    do {                                                                                           \
        struct retarget r = good;                                                                  \
        __VA_ARGS__;                                                                               \
        tap_is(retarget(&r, words), status, "HvCallRetargetDeviceInterrupt: %s", what);            \
    } while (0)

static void test_retarget(void)
{
    const uint32_t set = HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET;
    REFUSED("a device that the partition does not own is INVALID_DEVICE_ID",
            HV_STATUS_INVALID_DEVICE_ID, 0, (void)r);
    REFUSED("so with a set of VPs", HV_STATUS_INVALID_DEVICE_ID, 2, r.in.target.flags = set;
            r.in.target.mask_or_format = 0; r.mask = 1; r.bank[0] = 1);
    REFUSED("a source that is not MSI is refused", HV_STATUS_INVALID_PARAMETER, 0,
            r.in.interrupt_entry.source = HV_INTERRUPT_SOURCE_IOAPIC);
    REFUSED("a reserved field", HV_STATUS_INVALID_PARAMETER, 0, r.in.reserved = 1);
    REFUSED("a reserved flag", HV_STATUS_INVALID_PARAMETER, 0, r.in.target.flags = 8);
    REFUSED("vector 15", HV_STATUS_INVALID_PARAMETER, 0, r.in.target.vector = 15);
    REFUSED("vector 256", HV_STATUS_INVALID_PARAMETER, 0, r.in.target.vector = 256);
    REFUSED("a VP that does not exist", HV_STATUS_INVALID_PARAMETER, 0,
            r.in.target.mask_or_format = 1ul << 40);
    REFUSED("no VP at all", HV_STATUS_INVALID_PARAMETER, 0, r.in.target.mask_or_format = 0);
    REFUSED("the set of all VPs", HV_STATUS_INVALID_PARAMETER, 1, r.in.target.flags = set;
            r.in.target.mask_or_format = HV_VP_SET_FORMAT_ALL);
    REFUSED("a set with a bank missing", HV_STATUS_INVALID_HYPERCALL_INPUT, 2,
            r.in.target.flags = set;
            r.in.target.mask_or_format = 0; r.mask = 3; r.bank[0] = 1);
    REFUSED("a bank of VPs that cannot exist", HV_STATUS_INVALID_PARAMETER, 3,
            r.in.target.flags = set;
            r.in.target.mask_or_format = 0; r.mask = 1ul | 1ul << 63; r.bank[0] = 1; r.bank[1] = 1);
    REFUSED("a variable header with a mask", HV_STATUS_INVALID_HYPERCALL_INPUT, 1, (void)r);
    REFUSED("another partition", HV_STATUS_ACCESS_DENIED, 0, r.in.partition_id = 0x100);
}

// ---- the partition's, not the VP's ------------------------------------------------------------

static volatile uint64_t seen_os_id, seen_page;

static void read_interface(void *context)
{
    (void)context;
    seen_os_id = rdmsr(HV_X64_MSR_GUEST_OS_ID);
    seen_page = rdmsr(HV_X64_MSR_HYPERCALL);
}

static void end_interface(void *context)
{
    (void)context;
    wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
}

static void set_up(void *context)
{
    (void)context;
    hv_setup();
}

static void call_once(void *context)
{
    *(volatile uint64_t *)context = hv_call(SPIN | FAST, 1, 0);
}

static void test_partition_wide(void)
{
    const uint64_t enabled = hv_gpa(hv_page) | HV_MSR_HYPERCALL_ENABLE;
    const uint32_t other = machine.cpu_count - 1;
    volatile uint64_t result = ~0ul;
    if (!other) {
        tap_skip("one VP", "GUEST_OS_ID and HYPERCALL are shared by all virtual processors");
        return;
    }
    smp_call(other, read_interface, NULL);
    tap_ok(seen_os_id == HV_TEST_OS_ID && seen_page == enabled,
           "if one VP writes GUEST_OS_ID and HYPERCALL, another will read the same values");
    smp_call(other, call_once, (void *)&result);
    tap_is(result, HV_STATUS_SUCCESS, "and call the page");
    smp_call(other, end_interface, NULL);
    tap_ok(rdmsr(HV_X64_MSR_GUEST_OS_ID) == 0 &&
               !(rdmsr(HV_X64_MSR_HYPERCALL) & HV_MSR_HYPERCALL_ENABLE) && hv_page[0] != 0x0f,
           "zeroed by one VP, the identity and the page are gone for all");
    smp_call(other, set_up, NULL);
    tap_ok(rdmsr(HV_X64_MSR_HYPERCALL) == enabled && hv_call(SPIN | FAST, 1, 0) == 0,
           "and they are back for all when one sets them");
}

void guest_main(void)
{
    hv_need();
    clock_tsc_hz();
    apic_enable(apic_has_x2());
    if (!tap_is(smp_start_all(), machine.cpu_count, "all processors start")) {
        return;
    }
    hv_setup();
    test_partition_wide();
    test_counts();
    test_priority();
    test_places();
    test_overlays();
    test_moving();
    test_sets();
    test_retarget();
    test_continuation();
}
