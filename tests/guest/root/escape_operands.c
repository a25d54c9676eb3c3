// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor's memory (its image, heap, tables, VMCBs; and pages deposited to a child) as the
// operand of whatever the root may ask for: hypercalls' lists, deposits, maps, overlay pages, page
// tables, SVM instructions. Each is refused or faults; none gives data, and none opens the page.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"
#include "trap.h"

#define RWX      (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)
#define SAMPLES  64
#define DEPOSITS 64
#define LARGE    512ul // pages
#define TABLE    7ul   // present, writable, user
#define LEAF     0x83ul

static uint64_t block, block_pages; // page numbers
static uint64_t samples[SAMPLES];
static uint64_t deposited[DEPOSITS];

static void find_block(void)
{
    uint64_t base = 0;
    block_pages = efi_largest_reserved(&base);
    block = base >> 12;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        samples[i] = block + i * (block_pages - 1) / (SAMPLES - 1);
    }
    tap_ok(block_pages >= SAMPLES, "the hypervisor's block has %lu pages, from page %lx",
           block_pages, block);
}

static void body_jump(void *context)
{
    ((void (*)(void))context)();
}

// Loads, stores and fetches of the page fault.
static bool closed(uint64_t page)
{
    uint8_t value = 0;
    uint64_t at = page << 12;
    return efi_try_read8(at + 8, &value).taken && value == 0 && efi_try_write8(at + 16, 0).taken &&
           efi_try(body_jump, (void *)at).taken;
}

static uint64_t open_pages(const uint64_t *pages, uint64_t count)
{
    uint64_t open = 0;
    for (uint64_t i = 0; i < count; i++) {
        open += !closed(pages[i]);
    }
    return open;
}

static uint64_t open_in_block(void)
{
    uint64_t open = 0;
    for (uint64_t i = 0; i < block_pages; i++) {
        open += !closed(block + i);
    }
    return open;
}

// ---- hypercalls -----------------------------------------------------------------------------

struct call {
    uint64_t control, first, second, result;
};

static void body_call(void *context)
{
    struct call *c = context;
    c->result = hv_call(c->control, c->first, c->second);
}

// Faults, or says of a list that it is not where it could be (HV_STATUS_INVALID_ALIGNMENT).
static bool refused(uint64_t control, uint64_t first, uint64_t second)
{
    struct call c = {control, first, second, 0};
    return efi_try(body_call, &c).taken ||
           hv_hypercall_result_status(c.result) == HV_STATUS_INVALID_ALIGNMENT;
}

static void test_lists(const uint64_t *pages, uint64_t count, const char *what)
{
    static uint64_t own[512] __attribute__((aligned(4096)));
    uint64_t find = hv_hypercall_control(HVCALL_GET_VP_INDEX_FROM_APIC_ID, false, 0, 1);
    uint64_t id = hv_hypercall_control(HVCALL_GET_PARTITION_ID, false, 0, 0);
    uint64_t accepted[3] = {0};
    own[0] = HV_PARTITION_ID_SELF;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gpa = pages[i] << 12;
        accepted[0] += !refused(find, gpa, hv_gpa(own + 256));
        accepted[1] += !refused(find, hv_gpa(own), gpa + 8);
        accepted[2] += !refused(id, 0, gpa);
    }
    tap_is(accepted[0], 0, "no hypercall takes its input from %s", what);
    tap_is(accepted[1] + accepted[2], 0, "nor gives its output there");
}

static void test_deposits(const struct child *c, const uint64_t *pages, uint64_t count,
                          const char *what)
{
    uint64_t accepted = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t done = 0;
        accepted += parent_deposit(c->id, &pages[i], 1, &done) == HV_STATUS_SUCCESS || done;
        accepted += parent_deposit(HV_PARTITION_ID_SELF, &pages[i], 1, &done) == HV_STATUS_SUCCESS;
    }
    tap_is(accepted, 0, "no page of %s can be deposited", what);
}

static uint16_t map_sparse(uint64_t partition, uint64_t target, uint64_t source)
{
    struct {
        struct hv_input_map_sparse_gpa_pages header;
        struct hv_gpa_mapping pair;
    } in = {{partition, HV_MAP_GPA_READABLE, 0}, {target, source}};
    return hv_call_memory(HVCALL_MAP_SPARSE_GPA_PAGES, 1, &in, sizeof(in), NULL, 0, NULL);
}

static void test_maps(const struct child *c, const uint64_t *pages, uint64_t count,
                      const char *what)
{
    static const uint32_t rights[] = {HV_MAP_GPA_READABLE,
                                      HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE, RWX,
                                      RWX | HV_MAP_GPA_LARGE_PAGE};
    uint64_t accepted = 0, own = 0, read = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct hv_output_read_gpa out = {0};
        for (unsigned r = 0; r < sizeof(rights) / sizeof(rights[0]); r++) {
            bool large = rights[r] & HV_MAP_GPA_LARGE_PAGE;
            uint64_t source = large ? pages[i] & ~(LARGE - 1) : pages[i];
            accepted += parent_map(c->id, LARGE, &source, 1, rights[r], NULL) == HV_STATUS_SUCCESS;
            own += parent_map(HV_PARTITION_ID_SELF, source, &source, 1, rights[r], NULL) ==
                   HV_STATUS_SUCCESS;
        }
        accepted += map_sparse(c->id, LARGE, pages[i]) == HV_STATUS_SUCCESS;
        own += map_sparse(HV_PARTITION_ID_SELF, pages[i], pages[i]) == HV_STATUS_SUCCESS;
        read += parent_read_gpa(c->id, LARGE << 12, 16, &out) == HV_STATUS_SUCCESS &&
                out.access_result != HV_ACCESS_GPA_UNMAPPED;
        read +=
            parent_read_gpa(HV_PARTITION_ID_SELF, pages[i] << 12, 16, &out) == HV_STATUS_SUCCESS &&
            out.access_result == HV_ACCESS_GPA_SUCCESS;
    }
    tap_is(accepted, 0, "no page of %s can be mapped into a child", what);
    tap_is(own, 0, "nor can the root give itself rights to one");
    tap_is(read, 0, "and HvCallReadGpa shows none");
}

// ---- overlay pages --------------------------------------------------------------------------

struct wrmsr {
    uint32_t msr;
    uint64_t value;
};

static void body_wrmsr(void *context)
{
    const struct wrmsr *w = context;
    wrmsr(w->msr, w->value);
}

static bool set_msr(uint32_t msr, uint64_t value)
{
    struct wrmsr w = {msr, value};
    return !efi_try(body_wrmsr, &w).taken;
}

// Whether the page shows what `expected` has, or nothing.
static bool shows_only(uint64_t page, const uint8_t *expected)
{
    for (uint64_t i = 0; i < 4096; i++) {
        uint8_t value = 0;
        if (!efi_try_read8((page << 12) + i, &value).taken && value != expected[i]) {
            return false;
        }
    }
    return true;
}

// An overlay over the page shows itself, as it does over the root's own memory, and hides; when it
// is gone the page and its neighbours are closed as before.
static void test_overlay(uint32_t msr, uint64_t page, const char *what)
{
    static uint8_t expected[4096];
    uint64_t old = rdmsr(msr), own = page_take(), neighbours[] = {page - 1, page, page + 1};
    tap_ok(set_msr(msr, own << 12 | HV_PAGE_MSR_ENABLE), "%s: lies over a page of the root", what);
    memcpy(expected, (void *)(own << 12), sizeof(expected));
    bool set = set_msr(msr, page << 12 | HV_PAGE_MSR_ENABLE);
    tap_ok(shows_only(page, expected), "%s: %s over the hypervisor's page %lx, it shows no more",
           what, set ? "set" : "refused", page);
    efi_try_write8(page << 12, expected[0]);
    tap_ok(set_msr(msr, own << 12 | HV_PAGE_MSR_ENABLE) && set_msr(msr, old),
           "%s: it can be moved away", what);
    tap_is(open_pages(neighbours, 3), 0, "%s: the page and its neighbours are closed again", what);
    page_give(own);
}

static void test_overlays(void)
{
    static const struct {
        uint32_t msr;
        const char *what;
    } kinds[] = {{HV_X64_MSR_HYPERCALL, "hypercall page"},
                 {HV_X64_MSR_SIMP, "SIM page"},
                 {HV_X64_MSR_SIEFP, "SIEF page"},
                 {HV_X64_MSR_VP_ASSIST_PAGE, "assist page"},
                 {HV_X64_MSR_REFERENCE_TSC, "reference TSC page"}};
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        test_overlay(kinds[i].msr, samples[5 + 7 * i], kinds[i].what);
    }
}

// The SIM page over a page that is deposited and comes back while it lies there.
static void test_overlay_of_deposit(void)
{
    uint64_t page = page_take(), back = 0, id = 0, old = rdmsr(HV_X64_MSR_SIMP);
    uint32_t done = 0;
    uint8_t value = 1;
    memset((void *)(page << 12), 0x5a, 4096);
    parent_create(0, &id);
    set_msr(HV_X64_MSR_SIMP, page << 12 | HV_PAGE_MSR_ENABLE);
    tap_ok(parent_deposit(id, &page, 1, &done) != HV_STATUS_SUCCESS && !done,
           "a page beneath an overlay cannot be deposited");
    set_msr(HV_X64_MSR_SIMP, old);
    tap_is(parent_deposit(id, &page, 1, &done), HV_STATUS_SUCCESS, "without it, it can");
    set_msr(HV_X64_MSR_SIMP, page << 12 | HV_PAGE_MSR_ENABLE);
    parent_withdraw(id, &back, 1, &done);
    tap_ok(done == 1 && back == page, "it comes back beneath an overlay");
    set_msr(HV_X64_MSR_SIMP, old);
    tap_ok(!efi_try_read8(page << 12, &value).taken && value == 0,
           "and is the root's, zeroed, when that is gone");
    parent_on(HVCALL_DELETE_PARTITION, id);
    page_give(page);
}

// ---- page tables ----------------------------------------------------------------------------

// Reads through `root` with interrupts off, in one go: the handlers are mapped there as well.
struct walk {
    uint64_t cr3, address;
    uint8_t value;
};

static void body_walk(void *context)
{
    struct walk *w = context;
    write_cr3(w->cr3);
    w->value = *(volatile uint8_t *)w->address;
}

// A slot of the top table that the firmware does not use.
static uint64_t free_slot(const uint64_t *top)
{
    uint64_t slot = 1;
    while (top[slot] & 1) {
        slot++;
    }
    return slot;
}

// The hypervisor's page as the table of `level` (4: below the top one), or as the memory itself (0:
// 4 KiB, 1: 2 MiB).
static bool walk_faults(uint64_t *const tables[4], uint64_t slot, unsigned level, uint64_t page)
{
    uint64_t saved = read_cr3();
    struct walk w = {(uint64_t)tables[0], slot << 39 | (page & 511) << 12, 0};
    tables[0][slot] = (uint64_t)tables[1] | TABLE;
    tables[1][0] = (uint64_t)tables[2] | TABLE;
    tables[2][0] = (uint64_t)tables[3] | TABLE;
    tables[3][page & 511] = page << 12 | TABLE;
    if (level >= 2) {
        tables[4 - level][level == 4 ? slot : 0] = page << 12 | TABLE;
    } else if (level == 1) {
        tables[2][0] = (page & ~(LARGE - 1)) << 12 | LEAF;
    }
    bool taken = efi_try(body_walk, &w).taken;
    write_cr3(saved);
    tables[0][slot] = 0;
    return taken && w.value == 0;
}

static void test_page_tables(const uint64_t *pages, uint64_t count, const char *what)
{
    static const char *const roles[] = {"a 4 KiB page", "a 2 MiB page", "a page table",
                                        "a page directory", "a directory pointer table"};
    uint64_t *tables[4];
    if (read_cr4() & (1ul << 12)) {
        tap_skip("5-level paging", "page tables in %s", what);
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        tables[i] = efi_pages(1, false);
        memset(tables[i], 0, 4096);
    }
    memcpy(tables[0], (const void *)(read_cr3() & ~0xffful), 4096);
    uint64_t slot = free_slot(tables[0]);
    for (unsigned level = 0; level <= 4; level++) {
        uint64_t open = 0;
        for (uint64_t i = 0; i < count; i++) {
            open += !walk_faults(tables, slot, level, pages[i]);
        }
        tap_is(open, 0, "used as %s, a page of %s faults", roles[level], what);
    }
}

// ---- SVM ------------------------------------------------------------------------------------

#define BODY(name, text)                                                                           \
    static void body_##name(void *context)                                                         \
    {                                                                                              \
        __asm__ volatile(text : : "a"(context) : "memory");                                        \
    }
BODY(vmload, "vmload %%rax")
BODY(vmsave, "vmsave %%rax")
BODY(vmrun, "vmrun %%rax")

static void test_svm(void)
{
    static trap_body *const bodies[] = {body_vmload, body_vmsave, body_vmrun};
    static const char *const names[] = {"VMLOAD", "VMSAVE", "VMRUN"};
    for (unsigned i = 0; i < 3; i++) {
        struct trap trap = efi_try(bodies[i], (void *)(samples[3] << 12));
        tap_ok(trap.taken && trap.vector == VECTOR_UD, "%s of its memory is #UD (%u)", names[i],
               trap.vector);
    }
    tap_ok(!set_msr(MSR_VM_HSAVE_PA, samples[3] << 12), "VM_HSAVE_PA cannot be written");
    uint64_t old = rdmsr(MSR_APIC_BASE);
    bool moved = set_msr(MSR_APIC_BASE, (old & 0xfff) | samples[3] << 12);
    tap_ok(!moved || rdmsr(MSR_APIC_BASE) == old, "the APIC page cannot be moved there");
    tap_ok(closed(samples[3]), "and the page is closed");
}

// ---- a child's pages ------------------------------------------------------------------------

// Enough in one go that nothing more is asked for.
static bool make_child(struct child *c)
{
    uint64_t first = (uint64_t)efi_pages(DEPOSITS, false) >> 12;
    uint32_t done = 0, sum = 0;
    *c = (struct child){0};
    if (parent_create(0, &c->id) != HV_STATUS_SUCCESS) {
        return false;
    }
    for (unsigned i = 0; i < DEPOSITS; i++) {
        deposited[i] = first + i;
    }
    for (unsigned i = 0; i < DEPOSITS; i += 16) {
        parent_deposit(c->id, &deposited[i], 16, &done);
        sum += done;
    }
    c->deposited = sum;
    return sum == DEPOSITS && child_paid(c, HVCALL_INITIALIZE_PARTITION, &c->id, 8) == 0 &&
           child_create_vp(c, 0) && child_create_vp(c, 1);
}

void root_main(void)
{
    static const char *const ours = "the hypervisor's block", *const given = "what a child is of";
    struct child c;
    hv_need();
    hv_setup();
    find_block();
    if (!tap_ok(make_child(&c), "a child of %u deposited pages is made", DEPOSITS)) {
        return;
    }
    tap_is(open_pages(deposited, DEPOSITS), 0, "each of them is closed to the root");
    test_lists(samples, SAMPLES, ours);
    test_lists(deposited, DEPOSITS, given);
    test_deposits(&c, samples, SAMPLES, ours);
    test_deposits(&c, deposited, DEPOSITS, given);
    test_maps(&c, samples, SAMPLES, ours);
    test_maps(&c, deposited, DEPOSITS, given);
    test_overlays();
    test_overlay_of_deposit();
    test_page_tables(samples, SAMPLES, ours);
    test_page_tables(deposited, DEPOSITS, given);
    test_svm();
    tap_is(open_pages(deposited, DEPOSITS), 0, "after all that, the child's pages are closed");
    tap_is(open_in_block(), 0, "and so is each page of the block");
    tap_ok(child_delete(&c), "the child is deleted, and every page comes back");
    tap_is(open_pages(deposited, DEPOSITS), DEPOSITS, "to the root");
    tap_ok(hv_present() && hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0) == 0,
           "and the hypervisor is well");
}
