// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLFS: Virtual MMU: address-space switches and TLB flushes by hypercall.
// Pages of their own are mapped to one frame after another, while the other processors read them:
// after a flush has returned nobody may see an older frame.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
// rig: --vps 4 --lps 2
// rig: --vps 4 --lps 4 --threads 2
// timeout: 240
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/call_tlb.h"
#include "hv/memory.h"
#include "hvcall.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"

#define SLOT   2ul // of the top table: nobody else's
#define ALIAS  (SLOT << 39)
#define PAGES  128u
#define ROUNDS 16u
#define PTE    0x3ul // present, writable
#define PTE_G  0x100ul
#define MASK   UINT64_C(1)

extern uint64_t boot_pml4[512];
_Alignas(4096) static uint64_t pdpt[512], directory[512], table[512];
_Alignas(4096) static uint64_t other_pml4[512], other_pdpt[512], other_directory[512],
    other_table[512];
_Alignas(4096) static volatile uint64_t frames[2][512];
_Alignas(4096) static uint8_t block[CPU_MAX][4096];

static uint64_t read_alias(uint32_t page)
{
    return *(const volatile uint64_t *)(ALIAS + 4096ul * page);
}

static void map_alias(uint64_t *pml4, uint64_t *a, uint64_t *b, uint64_t *c)
{
    pml4[SLOT] = hv_gpa(a) | PTE;
    a[0] = hv_gpa(b) | PTE;
    b[0] = hv_gpa(c) | PTE;
}

// ---- readers --------------------------------------------------------------------------------

static volatile uint64_t generation; // the oldest frame that may be seen
static volatile uint32_t reading;    // the readers go on
static volatile uint32_t shown;      // pages that they read
static volatile uint32_t stale[CPU_MAX], rounds[CPU_MAX];

static void reader(void *context)
{
    (void)context;
    uint32_t me = percpu()->index;
    while (reading) {
        for (uint32_t page = 0; page < shown && reading; page++) {
            uint64_t oldest = generation;
            if (read_alias(page) < oldest) {
                stale[me]++;
            }
        }
        rounds[me]++;
    }
}

static void start_readers(void)
{
    reading = 1;
    stale[0] = 0;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        stale[i] = rounds[i] = 0;
        smp_run(i, reader, NULL);
    }
}

static void stop_readers(const char *what)
{
    uint32_t old = stale[0];
    bool idle = true;
    reading = 0;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        idle &= smp_wait(i, CLOCK_PATIENCE);
        old += stale[i];
    }
    tap_ok(idle && old == 0, "%s: complete when it returns, on all processors (%u old reads)", what,
           old);
}

// The pages show a newer frame, in the tables.
static uint64_t remap(uint64_t attributes)
{
    uint64_t next = generation + 1;
    frames[next % 2][0] = next;
    for (uint32_t page = 0; page < shown; page++) {
        WRITE_ONCE(table[page], hv_gpa(frames[next % 2]) | PTE | attributes);
    }
    return next;
}

// ---- calls ----------------------------------------------------------------------------------

struct request {
    const char *what;
    uint16_t code;
    uint64_t flags;
    uint32_t elements; // of a list
    uint32_t pages;    // of each element
    bool fast;         // in registers
};

static uint64_t all_mask(void)
{
    return (MASK << machine.cpu_count) - 1;
}

static bool is_ex(uint16_t code)
{
    return code == HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX ||
           code == HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX;
}

// Header, banks and elements; returns the control word.
static uint64_t fill(const struct request *r, uint8_t *at)
{
    struct hv_input_flush_virtual_address_space_ex *ex = (void *)at;
    struct hv_input_flush_virtual_address_space *in = (void *)at;
    uint64_t *element = (uint64_t *)(at + sizeof(*in));
    uint64_t control = hv_hypercall_control(r->code, r->fast, 0, r->elements);
    uint64_t more = r->flags & HV_FLUSH_USE_EXTENDED_RANGE_FORMAT && r->pages >= 512
                        ? HV_GVA_RANGE_EX_LARGE
                        : r->pages - 1;
    in->address_space = read_cr3();
    in->flags = r->flags;
    in->processor_mask = r->flags & HV_FLUSH_ALL_PROCESSORS ? 0 : all_mask();
    if (is_ex(r->code)) {
        ex->vp_set.format = HV_VP_SET_FORMAT_SPARSE;
        ex->vp_set.valid_banks_mask = 1;
        element = (uint64_t *)(at + sizeof(*ex));
        *element++ = all_mask();
        control |= MASK << HV_HYPERCALL_VARHEAD_SHIFT; // in QWORDs
    }
    for (uint32_t i = 0; i < r->elements; i++) {
        element[i] = (ALIAS + 4096ul * r->pages * i) | more;
    }
    return control;
}

static uint64_t call(const struct request *r)
{
    uint8_t *at = block[percpu()->index];
    uint64_t control = fill(r, at), words[14];
    if (!r->fast) {
        return hv_call(control, hv_gpa(at), 0);
    }
    memcpy(words, at, sizeof(words));
    return hv_call_xmm(control, words);
}

#define SPACE    HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE
#define SPACE_EX HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX
#define LIST     HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST
#define LIST_EX  HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX
#define ALL      HV_FLUSH_ALL_PROCESSORS
#define SPACES   HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES
#define LOCAL    HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY
#define EXTENDED HV_FLUSH_USE_EXTENDED_RANGE_FORMAT

static const struct request requests[] = {
    {"FlushVirtualAddressSpace of a mask", SPACE, 0, 0, 0, false},
    {"FlushVirtualAddressSpace of all processors", SPACE, ALL, 0, 0, false},
    {"FlushVirtualAddressSpace of all address spaces", SPACE, SPACES, 0, 0, false},
    {"FlushVirtualAddressSpace in registers", SPACE, ALL | SPACES, 0, 0, true},
    {"FlushVirtualAddressSpaceEx of a sparse set", SPACE_EX, 0, 0, 0, false},
    {"FlushVirtualAddressSpaceEx in registers", SPACE_EX, SPACES, 0, 0, true},
    {"FlushVirtualAddressSpaceEx of all processors", SPACE_EX, ALL, 0, 0, false},
    {"FlushVirtualAddressList of one range", LIST, 0, 1, PAGES, false},
    {"FlushVirtualAddressList of two ranges of 64 pages", LIST, 0, 2, PAGES / 2, false},
    {"FlushVirtualAddressList of single pages", LIST, 0, PAGES, 1, false},
    {"FlushVirtualAddressList in registers", LIST, SPACES, 8, PAGES / 8, true},
    {"FlushVirtualAddressListEx of single pages", LIST_EX, 0, PAGES, 1, false},
    {"FlushVirtualAddressListEx in registers", LIST_EX, ALL, 4, PAGES / 4, true},
};

// The first `pages` pages are remapped and read, each time before and after the call.
static void test_request(const struct request *r, uint32_t pages)
{
    uint64_t result = 0, wrong = 0;
    shown = pages;
    generation = remap(0);
    hv_call(fill(&requests[0], block[0]), hv_gpa(block[0]), 0);
    start_readers();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t next = remap(r->flags & LOCAL ? 0 : PTE_G);
        result = call(r);
        wrong += result != hv_hypercall_result(HV_STATUS_SUCCESS, r->elements);
        generation = next;
        for (uint32_t page = 0; page < pages; page++) {
            stale[0] += read_alias(page) != next;
        }
    }
    tap_ok(!wrong, "%s succeeds, with %u reps (%lx)", r->what, r->elements, result);
    stop_readers(r->what);
}

// Few pages, which a processor can drop one by one.
static void test_few(uint32_t elements, uint32_t pages)
{
    struct request r = {"FlushVirtualAddressList of few pages", LIST, 0, elements, pages, false};
    test_request(&r, elements * pages);
}

static void test_extended(void)
{
    static const struct request large = {
        "FlushVirtualAddressList of a large page", LIST, EXTENDED, 1, 512, false};
    static const struct request small = {
        "FlushVirtualAddressListEx, extended, of small pages", LIST_EX, EXTENDED, 4, 32, false};
    if (hv_features() & HV_FEATURE_EDX_EXTENDED_GVA_RANGES) {
        test_request(&large, PAGES);
        test_request(&small, PAGES);
    } else {
        tap_is(hv_hypercall_result_status(call(&large)), HV_STATUS_INVALID_PARAMETER,
               "extended ranges that are not offered are refused");
    }
}

// ---- who is reached -------------------------------------------------------------------------

static volatile uint32_t asleep, woken;

static void sleeper(void *context)
{
    (void)context;
    cli();
    asleep = 1;
    sti_hlt_cli();
    woken = (uint32_t)(read_alias(0) == generation) + 1;
    sti();
}

static void test_halted(void)
{
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "a halted processor stays halted");
        return;
    }
    asleep = woken = 0;
    smp_run(1, sleeper, NULL);
    clock_wait(&asleep, 1, CLOCK_PATIENCE);
    clock_delay(10000);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t next = remap(PTE_G);
        call(&requests[i % 10]);
        generation = next;
    }
    clock_delay(10000);
    tap_is(woken, 0, "a halted processor is not woken by a flush of its translations");
    apic_ipi(machine.apic_ids[1], ICR_FIXED | SMP_WAKE_VECTOR);
    clock_wait(&woken, 1, CLOCK_PATIENCE);
    tap_is(woken, 2, "and has dropped them when it wakes");
    smp_wait(1, CLOCK_PATIENCE);
}

static void flusher(void *context)
{
    volatile uint32_t *bad = context;
    for (uint32_t i = 0; i < 200; i++) {
        const struct request *r = &requests[(i + percpu()->index) % 10];
        if (hv_hypercall_result_status(call(r)) != HV_STATUS_SUCCESS) {
            __atomic_fetch_add(bad, 1, __ATOMIC_RELAXED);
        }
    }
}

static void test_all_at_once(void)
{
    volatile uint32_t bad = 0;
    bool all = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, flusher, (void *)&bad);
    }
    flusher((void *)&bad);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        all &= smp_wait(i, CLOCK_PATIENCE);
    }
    tap_ok(all && !bad, "processors that flush each other all get on (%u failed)", bad);
}

// ---- what is refused, and what is not -------------------------------------------------------

struct refusal {
    const char *what;
    struct request request;
    uint64_t word[4];  // of the header; ~0: as it is
    uint64_t variable; // QWORDs
    uint16_t status;
};

#define KEEP ~UINT64_C(0)
static const struct refusal refusals[] = {
    {"flag bit 4", {"", SPACE, 0, 0, 0, false}, {KEEP, 16, KEEP, KEEP}, 0, 5},
    {"flag bit 5", {"", SPACE, 0, 0, 0, false}, {KEEP, 32, KEEP, KEEP}, 0, 5},
    {"flag bit 63", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, 1ul << 63, KEEP, KEEP}, 1, 5},
    {"ranges in an address-space call", {"", SPACE, 0, 0, 0, false}, {KEEP, 8, KEEP, KEEP}, 0, 5},
    {"\"non-global only\" in a list", {"", LIST, 0, 1, 1, false}, {KEEP, 4, KEEP, KEEP}, 0, 5},
    {"an address space beyond memory",
     {"", SPACE, 0, 0, 0, false},
     {1ul << 60, KEEP, KEEP, KEEP},
     0,
     5},
    {"VP set format 2", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, KEEP, 2, KEEP}, 1, 5},
    {"fewer banks than the mask has", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, KEEP, 0, 3}, 1, 3},
    {"more banks than the mask has", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, KEEP, 0, 1}, 2, 3},
    {"64 banks of which none is there",
     {"", SPACE_EX, 0, 0, 0, false},
     {KEEP, KEEP, 0, ~1ul},
     1,
     3},
};

static const struct refusal accepted[] = {
    {"an address space beyond memory, with \"all\"",
     {"", SPACE, 0, 0, 0, false},
     {1ul << 60, SPACES, KEEP, KEEP},
     0,
     0},
    {"mask 0", {"", SPACE, 0, 0, 0, false}, {KEEP, KEEP, 0, KEEP}, 0, 0},
    {"a mask of VPs that are not there", {"", SPACE, 0, 0, 0, false}, {KEEP, 0, ~0xfful, 0}, 0, 0},
    {"\"non-global only\"", {"", SPACE, LOCAL, 0, 0, false}, {KEEP, KEEP, KEEP, KEEP}, 0, 0},
    {"a set without banks", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, KEEP, 0, 0}, 0, 0},
    {"a bank beyond the end", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, KEEP, 0, 1ul << 63}, 1, 0},
    {"all 64 banks", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, KEEP, 0, ~0ul - 0}, 64, 0},
    {"format \"all\"", {"", SPACE_EX, 0, 0, 0, false}, {KEEP, KEEP, 1, 0}, 0, 0},
};

static uint64_t call_with(const struct refusal *r)
{
    uint64_t *header = (uint64_t *)block[0];
    memset(block[0], 0, sizeof(block[0]));
    uint64_t control = fill(&r->request, block[0]) & ~HV_HYPERCALL_VARHEAD_MASK;
    for (uint32_t i = 0; i < 4; i++) {
        if (r->word[i] != KEEP) {
            header[i] = r->word[i];
        }
    }
    if (r->variable == 64) {
        header[3] = ~0ul;
    }
    return hv_call(control | r->variable << HV_HYPERCALL_VARHEAD_SHIFT, hv_gpa(block[0]), 0);
}

static void test_refusals(void)
{
    for (uint32_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        tap_is(call_with(&refusals[i]), refusals[i].status, "%s is refused", refusals[i].what);
    }
    for (uint32_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        tap_is(call_with(&accepted[i]), 0, "%s is accepted", accepted[i].what);
    }
}

// A list that ends where its page does, and one that goes on.
static void test_page_edge(void)
{
    struct request r = {"", LIST, SPACES, 0, 1, false};
    uint32_t fit = (4096 - sizeof(struct hv_input_flush_virtual_address_space)) / 8;
    r.elements = fit;
    uint64_t control = fill(&r, block[0]);
    tap_is(hv_call(control, hv_gpa(block[0]), 0), hv_hypercall_result(0, fit),
           "a list of %u elements up to the end of its page is done", fit);
    control = hv_hypercall_control(LIST, false, 0, fit + 1);
    tap_is(hv_call(control, hv_gpa(block[0]), 0), HV_STATUS_INVALID_ALIGNMENT,
           "one element more crosses the page and is refused");
    control = hv_hypercall_control(LIST, false, 0, 4095);
    tap_is(hv_call(control, hv_gpa(block[0]), 0), HV_STATUS_INVALID_ALIGNMENT,
           "and so are 4,095 of them");
    control = hv_hypercall_with_rep_start(hv_hypercall_control(LIST, false, 0, fit), fit - 1);
    tap_is(hv_call(control, hv_gpa(block[0]), 0), hv_hypercall_result(0, fit),
           "a list that starts at its last element counts all as done");
    control = hv_hypercall_with_rep_start(control, fit);
    tap_is(hv_call(control, hv_gpa(block[0]), 0), HV_STATUS_INVALID_HYPERCALL_INPUT,
           "one that starts behind it is refused");
}

// tlfs-reference 1.2: "GVAs outside the canonical/GVA space are ignored."
static void test_nowhere(void)
{
    static const uint64_t nowhere[] = {0x0000800000000000ul, 0x8000000000000000ul,
                                       0xffff7ffffffffffful & ~0xffful, 0x00007ffffffff000ul | 3,
                                       ~0xffful | 7};
    struct request r = {"", LIST, SPACES, 0, 1, false};
    const uint32_t count = sizeof(nowhere) / sizeof(nowhere[0]);
    r.elements = count + 1;
    uint64_t control = fill(&r, block[0]), next = remap(0);
    uint64_t *element =
        (uint64_t *)(block[0] + sizeof(struct hv_input_flush_virtual_address_space));
    memcpy(element, nowhere, sizeof(nowhere));
    element[count] = ALIAS;
    tap_is(hv_call(control, hv_gpa(block[0]), 0), hv_hypercall_result(0, count + 1),
           "GVAs outside the canonical space are ignored");
    tap_is(read_alias(0), next, "and those within it behind them are flushed");
    write_cr3(read_cr3());
    generation = next;
}

// ---- address-space switch -------------------------------------------------------------------

static uint16_t switch_to(uint64_t cr3)
{
    return hv_hypercall_result_status(
        hv_call(HVCALL_SWITCH_VIRTUAL_ADDRESS_SPACE | HV_HYPERCALL_FAST, cr3, 0));
}

static void test_switch(void)
{
    uint64_t here = read_cr3(), other = hv_gpa(other_pml4), wrong = 0;
    memcpy(other_pml4, boot_pml4, sizeof(other_pml4));
    map_alias(other_pml4, other_pdpt, other_directory, other_table);
    frames[0][0] = 1000;
    frames[1][0] = 2000;
    table[0] = hv_gpa(frames[0]) | PTE;
    other_table[0] = hv_gpa(frames[1]) | PTE;
    write_cr3(here);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        wrong += read_alias(0) != 1000;
        wrong += switch_to(other) != HV_STATUS_SUCCESS || read_cr3() != other;
        wrong += read_alias(0) != 2000;
        wrong += switch_to(here) != HV_STATUS_SUCCESS || read_cr3() != here;
    }
    tap_is(wrong, 0, "SwitchVirtualAddressSpace loads CR3, and translations are the new space's");
    tap_is(switch_to(1ul << 60), HV_STATUS_INVALID_PARAMETER, "a CR3 beyond memory is refused");
    tap_is(switch_to(here | 1ul << 63), HV_STATUS_INVALID_PARAMETER, "so is reserved bit 63");
    tap_is(read_cr3(), here, "and CR3 is unchanged");
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    apic_enable(apic_has_x2());
    map_alias(boot_pml4, pdpt, directory, table);
    shown = PAGES;
    generation = remap(0);
    write_cr3(read_cr3());
    write_cr4(read_cr4() | 1ul << 7); // global pages
    tap_is(smp_start_all(), machine.cpu_count, "all processors start");
    uint32_t hints = cpuid(HV_CPUID_ENLIGHTENMENT_INFO, 0).eax;
    tap_ok(hints & HV_HINT_EAX_REMOTE_TLB_FLUSH_HYPERCALL && hints & HV_HINT_EAX_EX_PROCESSOR_MASKS,
           "flushes by hypercall and sparse VP sets are recommended");
    for (uint32_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        test_request(&requests[i], PAGES);
    }
    test_few(1, 1);
    test_few(1, 64);
    test_few(16, 1);
    test_extended();
    test_halted();
    test_all_at_once();
    test_refusals();
    test_page_edge();
    test_nowhere();
    test_switch();
}
