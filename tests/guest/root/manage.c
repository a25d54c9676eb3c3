// SPDX-License-Identifier: BSD-2-Clause-Patent
// Partition management as a parent sees it: life cycle, deposits to the page, GPA maps, VP
// registers, translation; what is refused, and that refusals change nothing.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define RWX          (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)
#define NO_PARTITION 0x7777777777ul
#define BEYOND       (1ul << 40) // page number beyond any machine

static uint64_t hypervisor_page(void)
{
    uint64_t base = 0;
    efi_largest_reserved(&base);
    return (base >> 12) + 1;
}

// ---- life cycle -----------------------------------------------------------------------------

static uint64_t next_child(uint64_t previous)
{
    struct hv_input_get_next_child_partition in = {HV_PARTITION_ID_SELF, previous};
    struct hv_output_get_next_child_partition out = {~0ul};
    parent_call_out(HVCALL_GET_NEXT_CHILD_PARTITION, &in, sizeof(in), &out, sizeof(out));
    return out.next_child_id;
}

static void test_identity(void)
{
    uint64_t id = 0;
    uint16_t status = parent_call_out(HVCALL_GET_PARTITION_ID, &id, 0, &id, sizeof(id));
    tap_ok(status == HV_STATUS_SUCCESS && id && id != HV_PARTITION_ID_SELF,
           "HvCallGetPartitionId tells the root's id (%lx)", id);
    tap_is(next_child(0), 0, "the root has no child yet");
    tap_is(parent_on(HVCALL_INITIALIZE_PARTITION, NO_PARTITION), HV_STATUS_INVALID_PARTITION_ID,
           "an unknown partition is INVALID_PARTITION_ID");
}

static void test_states(void)
{
    struct child c = {0};
    tap_is(parent_create(1ul << 62, &c.id), HV_STATUS_INVALID_PARAMETER,
           "a reserved creation flag is refused");
    tap_is(next_child(0), 0, "and nothing was created");
    if (!tap_is(parent_create(0, &c.id), HV_STATUS_SUCCESS, "a partition is created (%lx)", c.id)) {
        return;
    }
    tap_is(next_child(0), c.id, "the root's first child is that");
    tap_is(next_child(c.id), 0, "and its last");
    tap_is(parent_create_vp(c.id, 0), HV_STATUS_INVALID_PARTITION_STATE,
           "a VP in an uninitialized partition is refused");
    tap_is(parent_on(HVCALL_FINALIZE_PARTITION, c.id), HV_STATUS_INVALID_PARTITION_STATE,
           "an uninitialized partition cannot be finalized");
    tap_is(parent_on(HVCALL_INITIALIZE_PARTITION, c.id), HV_STATUS_INSUFFICIENT_MEMORY,
           "initializing it wants memory");
    struct hv_output_get_memory_balance balance = {~0ul, ~0ul};
    tap_ok(parent_balance(c.id, &balance) == HV_STATUS_SUCCESS && balance.pages_available == 0,
           "its pool is empty");
    uint16_t status = child_paid(&c, HVCALL_INITIALIZE_PARTITION, &c.id, sizeof(c.id));
    tap_is(status, HV_STATUS_SUCCESS, "with deposits it is initialized (%lu pages)", c.deposited);
    tap_is(parent_on(HVCALL_INITIALIZE_PARTITION, c.id), HV_STATUS_INVALID_PARTITION_STATE,
           "but only once");
    tap_is(parent_on(HVCALL_DELETE_PARTITION, c.id), HV_STATUS_INVALID_PARTITION_STATE,
           "an active partition cannot be deleted");
    tap_is(parent_on(HVCALL_FINALIZE_PARTITION, c.id), HV_STATUS_SUCCESS, "it is finalized");
    tap_is(parent_create_vp(c.id, 0), HV_STATUS_INVALID_PARTITION_STATE,
           "a finalized partition gets no VP");
    tap_is(parent_on(HVCALL_DELETE_PARTITION, c.id), HV_STATUS_OPERATION_DENIED,
           "with pages in its pool it cannot be deleted");
    parent_balance(c.id, &balance);
    tap_ok(balance.pages_available == c.deposited && balance.pages_in_use == 0,
           "finalized, all its pages are free (%lu of %lu)", balance.pages_available, c.deposited);
    uint64_t id = c.id;
    tap_ok(child_reclaim(&c), "they come back, and it is deleted");
    tap_is(parent_on(HVCALL_INITIALIZE_PARTITION, id), HV_STATUS_INVALID_PARTITION_ID,
           "its id is invalid then");
    tap_is(next_child(0), 0, "and the root has no child");
}

// ---- deposits -------------------------------------------------------------------------------

static void test_deposit(void)
{
    struct child c = {0};
    struct hv_output_get_memory_balance before = {0}, after = {0};
    parent_create(0, &c.id);
    uint64_t page = page_take();
    uint32_t done = 0;
    uint8_t value;
    *(volatile uint64_t *)(page << 12) = 0x1122334455667788;
    parent_balance(c.id, &before);
    tap_is(parent_deposit(c.id, &page, 1, &done), HV_STATUS_SUCCESS, "a page is deposited");
    parent_balance(c.id, &after);
    tap_ok(done == 1 && after.pages_available == before.pages_available + 1,
           "the balance shows one more");
    tap_ok(efi_try_read8(page << 12, &value).taken, "the root cannot read it any more");
    tap_ok(efi_try_write8(page << 12, 1).taken, "nor write it");
    tap_is(parent_deposit(c.id, &page, 1, &done), HV_STATUS_OPERATION_DENIED,
           "it cannot be deposited twice");
    tap_is(parent_deposit(HV_PARTITION_ID_SELF, &page, 1, &done), HV_STATUS_OPERATION_DENIED,
           "nor elsewhere");
    uint64_t bad = hypervisor_page();
    tap_ok(parent_deposit(c.id, &bad, 1, &done) != HV_STATUS_SUCCESS && done == 0,
           "a page of the hypervisor cannot be deposited");
    bad = BEYOND;
    tap_ok(parent_deposit(c.id, &bad, 1, &done) != HV_STATUS_SUCCESS && done == 0,
           "nor one beyond memory");
    bad = 0xfee00;
    tap_ok(parent_deposit(c.id, &bad, 1, &done) != HV_STATUS_SUCCESS && done == 0,
           "nor the APIC's");
    uint64_t mixed[3] = {page_take(), hypervisor_page(), page_take()};
    uint16_t status = parent_deposit(c.id, mixed, 3, &done);
    tap_ok(status != HV_STATUS_SUCCESS && done == 1,
           "a list stops at the page that is refused (%u)", done);
    page_give(mixed[2]);
    uint64_t pages[4] = {0};
    status = parent_withdraw(c.id, pages, 4, &done);
    tap_ok(done == 2 && (pages[0] == page || pages[1] == page) &&
               (pages[0] == mixed[0] || pages[1] == mixed[0]),
           "withdrawing gives back the pages that went in (%u)", done);
    tap_is(status, HV_STATUS_NO_RESOURCES, "and says when there are no more");
    struct trap trap = efi_try_read8(page << 12, &value);
    tap_ok(!trap.taken && value == 0 && !efi_try_write8(page << 12, 1).taken,
           "the root has it again, zeroed");
    tap_is(parent_on(HVCALL_DELETE_PARTITION, c.id), HV_STATUS_SUCCESS,
           "an uninitialized partition can be deleted");
    page_give(page);
    page_give(mixed[0]);
}

// ---- GPA maps -------------------------------------------------------------------------------

static uint32_t read_result(const struct child *c, uint64_t gpa)
{
    struct hv_output_read_gpa out = {.access_result = ~0u};
    uint16_t status = parent_read_gpa(c->id, gpa, 8, &out);
    return status == HV_STATUS_SUCCESS ? out.access_result : 0x10000u | status;
}

static void test_map(struct child *c)
{
    uint64_t own = page_take(), second = page_take();
    uint32_t done = 0, result = ~0u;
    *(volatile uint64_t *)(own << 12) = 0xabcdef;
    tap_is(read_result(c, 0x5000), HV_ACCESS_GPA_UNMAPPED, "a GPA is unmapped at first");
    tap_ok(child_map(c, 5, own, RWX), "a page of the root's is mapped");
    struct hv_output_read_gpa out = {0};
    parent_read_gpa(c->id, 0x5000, 8, &out);
    uint64_t got;
    memcpy(&got, out.data, 8);
    tap_ok(out.access_result == HV_ACCESS_GPA_SUCCESS && got == 0xabcdef, "HvCallReadGpa sees it");
    parent_write_gpa(c->id, 0x5ff8, 8, "12345678", &result);
    tap_ok(result == HV_ACCESS_GPA_SUCCESS && !memcmp((void *)(own << 12 | 0xff8), "12345678", 8),
           "HvCallWriteGpa writes it");
    tap_is(parent_read_gpa(c->id, 0x5ffc, 8, &out), HV_STATUS_INVALID_PARAMETER,
           "a read across a page is refused");
    tap_is(parent_read_gpa(c->id, 0x5000, 17, &out), HV_STATUS_INVALID_PARAMETER,
           "so is one of 17 bytes");
    tap_is(parent_read_gpa(c->id, 0x5000, 0, &out), HV_STATUS_INVALID_PARAMETER,
           "so is one of none");
    tap_ok(child_map(c, 5, own, HV_MAP_GPA_READABLE), "its rights are lowered to read");
    parent_write_gpa(c->id, 0x5000, 1, "x", &result);
    tap_is(result, HV_ACCESS_GPA_WRITE_INTERCEPT, "then a write is an intercept");
    tap_ok(child_map(c, 5, second, RWX), "another page takes its place");
    *(volatile uint64_t *)(second << 12) = 0x77;
    parent_read_gpa(c->id, 0x5000, 1, &out);
    tap_is(out.data[0], 0x77, "and is what is read");
    tap_is(parent_unmap(c->id, 5, 1, 0), HV_STATUS_SUCCESS, "it is unmapped");
    tap_is(read_result(c, 0x5000), HV_ACCESS_GPA_UNMAPPED, "and gone");
    tap_is(parent_unmap(c->id, 5, 1, 0), HV_STATUS_SUCCESS, "unmapping it again is no error");
    static const uint32_t bad_flags[] = {HV_MAP_GPA_WRITABLE, HV_MAP_GPA_EXECUTABLE,
                                         HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE,
                                         RWX | 1u << 14, RWX | 1u << 30};
    for (unsigned i = 0; i < sizeof(bad_flags) / sizeof(bad_flags[0]); i++) {
        tap_is(parent_map(c->id, 5, &own, 1, bad_flags[i], &done), HV_STATUS_INVALID_PARAMETER,
               "map flags %x are refused", bad_flags[i]);
    }
    page_give(own);
    page_give(second);
}

static void test_map_refusals(struct child *c)
{
    uint32_t done = 0;
    uint64_t page = hypervisor_page();
    uint16_t status = parent_map(c->id, 6, &page, 1, RWX, &done);
    tap_ok(status == HV_STATUS_OPERATION_DENIED || status == HV_STATUS_INVALID_PARAMETER,
           "a page of the hypervisor cannot be mapped (%x)", status);
    page = page_take();
    uint64_t deposited = page_take();
    parent_deposit(c->id, &deposited, 1, &done);
    c->deposited += done;
    status = parent_map(c->id, 6, &deposited, 1, RWX, &done);
    tap_is(status, HV_STATUS_OPERATION_DENIED, "nor a deposited page");
    status = parent_map(c->id, BEYOND, &page, 1, RWX, &done);
    tap_is(status, HV_STATUS_INVALID_PARAMETER, "nor anything beyond the GPA space");
    uint64_t beyond = BEYOND;
    status = parent_map(c->id, 6, &beyond, 1, RWX, &done);
    tap_ok(status == HV_STATUS_INVALID_PARAMETER || status == HV_STATUS_OPERATION_DENIED,
           "nor a page beyond the root's (%x)", status);
    status = parent_map(c->id, 7, &page, 1, RWX | HV_MAP_GPA_LARGE_PAGE, &done);
    tap_ok(status == HV_STATUS_INVALID_PARAMETER || status == HV_STATUS_OPERATION_DENIED,
           "nor a large page that is not aligned (%x)", status);
    status = parent_map(NO_PARTITION, 6, &page, 1, RWX, &done);
    tap_is(status, HV_STATUS_INVALID_PARTITION_ID, "nor in a partition that is not");
    tap_is(read_result(c, 0x6000), HV_ACCESS_GPA_UNMAPPED, "and nothing is mapped");
    // A page that a child has cannot be deposited while it has it.
    tap_ok(child_map(c, 6, page, RWX), "a page is mapped");
    status = parent_deposit(c->id, &page, 1, &done);
    tap_ok(status != HV_STATUS_SUCCESS && done == 0,
           "a page that a child shares cannot be deposited (%x)", status);
    parent_unmap(c->id, 6, 1, 0);
    page_give(page);
}

static void test_large(struct child *c)
{
    uint64_t block = (uint64_t)efi_pages(1024, false), aligned = (block + 0x1fffff) & ~0x1ffffful;
    uint64_t page = aligned >> 12;
    *(volatile uint64_t *)(aligned + 0x123000) = 0x5555;
    tap_ok(child_map(c, 0x40000, page, RWX | HV_MAP_GPA_LARGE_PAGE), "a large page is mapped");
    struct hv_output_read_gpa out = {0};
    parent_read_gpa(c->id, 0x40123000, 2, &out);
    tap_ok(out.data[0] == 0x55 && out.data[1] == 0x55, "all of it");
    tap_is(parent_unmap(c->id, 0x40010, 1, 0), HV_STATUS_SUCCESS,
           "one small page of it is unmapped");
    tap_is(read_result(c, 0x40010000), HV_ACCESS_GPA_UNMAPPED, "that is gone");
    tap_is(read_result(c, 0x40011000), HV_ACCESS_GPA_SUCCESS, "its neighbour is not");
    tap_is(parent_unmap(c->id, 0x40000, 1, HV_UNMAP_GPA_LARGE_PAGE), HV_STATUS_SUCCESS,
           "the rest is unmapped at once");
    tap_is(read_result(c, 0x40011000), HV_ACCESS_GPA_UNMAPPED, "and gone");
}

// ---- virtual processors and registers -------------------------------------------------------

static void test_reset_state(const struct child *c)
{
    static const struct {
        uint32_t name;
        uint64_t value;
        const char *text;
    } state[] = {{HV_REGISTER_RIP, 0xfff0, "RIP"},
                 {HV_REGISTER_RFLAGS, 2, "RFLAGS"},
                 {HV_REGISTER_CR0, 0x60000010, "CR0"},
                 {HV_REGISTER_CR3, 0, "CR3"},
                 {HV_REGISTER_CR4, 0, "CR4"},
                 {HV_REGISTER_EFER, 0, "EFER"},
                 {HV_REGISTER_DR6, 0xffff0ff0, "DR6"},
                 {HV_REGISTER_DR7, 0x400, "DR7"},
                 {HV_REGISTER_PAT, 0x0007040600070406, "PAT"},
                 {HV_REGISTER_XFEM, 1, "XCR0"},
                 {HV_REGISTER_APIC_BASE, 0xfee00900, "APIC_BASE"},
                 {HV_REGISTER_EXPLICIT_SUSPEND, 1, "explicit suspend"},
                 {HV_REGISTER_INTERCEPT_SUSPEND, 0, "intercept suspend"},
                 {HV_REGISTER_VP_INDEX, 0, "VP index"}};
    for (unsigned i = 0; i < sizeof(state) / sizeof(state[0]); i++) {
        tap_is(parent_get64(c->id, 0, state[i].name), state[i].value, "a new VP's %s",
               state[i].text);
    }
    union hv_register_value v;
    parent_get(c->id, 0, HV_REGISTER_CS, &v);
    tap_ok(v.segment.base == 0xffff0000 && v.segment.limit == 0xffff &&
               v.segment.selector == 0xf000 && (v.segment.attributes & 0x9f) == 0x9b,
           "a new VP's CS (%lx %x %x %x)", v.segment.base, v.segment.limit, v.segment.selector,
           v.segment.attributes);
    parent_get(c->id, 0, HV_REGISTER_IDTR, &v);
    tap_ok(v.table.base == 0 && v.table.limit == 0xffff, "a new VP's IDTR");
}

struct sample {
    uint32_t name;
    uint64_t low, high;
};

static const struct sample samples[] = {
    {HV_REGISTER_RIP, 0x12345678, 0},
    {HV_REGISTER_RFLAGS, 0x246, 0},
    {HV_REGISTER_CR0, 0x60000011, 0},
    {HV_REGISTER_CR2, 0xfedcba9876543210, 0},
    {HV_REGISTER_CR3, 0x5000, 0},
    {HV_REGISTER_CR4, 0x620, 0},
    {HV_REGISTER_CR8, 9, 0},
    {HV_REGISTER_DR0, 0x1000, 0},
    {HV_REGISTER_DR1, 0x2000, 0},
    {HV_REGISTER_DR2, 0x3000, 0},
    {HV_REGISTER_DR3, 0x4000, 0},
    {HV_REGISTER_DR6, 0xffff0ff1, 0},
    {HV_REGISTER_DR7, 0x401, 0},
    {HV_REGISTER_KERNEL_GS_BASE, 0xffff800000001000, 0},
    {HV_REGISTER_PAT, 0x0007040600070401, 0},
    {HV_REGISTER_SYSENTER_CS, 0x10, 0},
    {HV_REGISTER_SYSENTER_EIP, 0xffff800000002000, 0},
    {HV_REGISTER_SYSENTER_ESP, 0xffff800000003000, 0},
    {HV_REGISTER_STAR, 0x0023001000000000, 0},
    {HV_REGISTER_LSTAR, 0xffff800000004000, 0},
    {HV_REGISTER_CSTAR, 0xffff800000005000, 0},
    {HV_REGISTER_SFMASK, 0x47700, 0},
    {HV_REGISTER_EFER, 0x901, 0},
    {HV_REGISTER_ES, 0x1111000, 0xc093002bffffffff},
    {HV_REGISTER_DS, 0x2222000, 0xc093002bffffffff},
    {HV_REGISTER_FS, 0x3333000, 0xc0930033ffffffff},
    {HV_REGISTER_GS, 0x4444000, 0xc093003bffffffff},
    {HV_REGISTER_GDTR, 0x007f000000000000, 0x12345000},
    {HV_REGISTER_IDTR, 0x0fff000000000000, 0x12346000},
    {HV_REGISTER_XMM_CONTROL_STATUS, 0, 0x3f80},
    {HV_REGISTER_GUEST_OS_ID, 0x1234, 0},
    {HV_REGISTER_SINT(3), 0x10055, 0},
    {HV_REGISTER_SYNTHETIC_TPR, 0x50, 0},
    {HV_REGISTER_SYNTHETIC_TPR, 0, 0},
    {HV_REGISTER_SYNTHETIC_ICR, 0x0300000000004055, 0},
    {HV_REGISTER_INTERNAL_ACTIVITY_STATE, HV_INTERNAL_ACTIVITY_IDLE_SUSPEND, 0},
    {HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0, 0},
};

static bool register_kept(const struct child *c, uint32_t name, uint64_t low, uint64_t high)
{
    union hv_register_value in = {.reg128 = {low, high}}, out = {.reg128 = {~low, ~high}};
    uint16_t set = parent_set(c->id, 0, name, &in), get = parent_get(c->id, 0, name, &out);
    // The MXCSR mask is the processor's, above the MXCSR.
    uint64_t mask = name == HV_REGISTER_XMM_CONTROL_STATUS ? 0xffffffff : ~0ul;
    bool kept = !set && !get && out.reg128.low == low && (out.reg128.high & mask) == high;
    if (!kept) {
        tap_note("register %x: set %x, get %x, %lx:%lx, want %lx:%lx", name, set, get,
                 out.reg128.high, out.reg128.low, high, low);
    }
    return kept;
}

static void test_ymm(const struct child *c)
{
    union hv_register_value v;
    unsigned bad = 0;
    bool avx = cpuid(1, 0).ecx & 1u << 26 && cpuid(13, 0).eax & 4;
    uint16_t status = parent_get(c->id, 0, HV_REGISTER_YMM_HIGH(0), &v);
    tap_is(status, avx ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PARAMETER,
           "YMM registers are there as the machine's are");
    for (uint32_t i = 0; i < 16 && avx; i++) {
        bad += !register_kept(c, HV_REGISTER_YMM_HIGH(i), 0xabcdef01ul << i, 0x12345ul << i);
        bad += !register_kept(c, HV_REGISTER_YMM_LOW(i), 0x1357ul << i, 0x2468ul << i);
        bad += parent_get(c->id, 0, HV_REGISTER_XMM(i), &v) || v.reg128.low != 0x1357ul << i;
    }
    tap_is(bad, 0, "YMM registers keep what is set, and their lower halves are XMM's");
    tap_is(parent_get(c->id, 0, HV_REGISTER_YMM_HIGH(15) + 1, &v), HV_STATUS_INVALID_PARAMETER,
           "there are 16 of them");
}

static void test_spec_ctrl(const struct child *c)
{
    uint32_t ebx = cpuid(0x80000008, 0).ebx;
    union hv_register_value v = {.reg128 = {0, 0}};
    if (parent_get(c->id, 0, HV_REGISTER_SPEC_CTRL, &v) != HV_STATUS_SUCCESS) {
        tap_skip("the processor has none", "SPEC_CTRL");
        return;
    }
    uint64_t bits = (ebx >> 14 & 1) | (ebx >> 15 & 1) << 1 | (ebx >> 24 & 1) << 2;
    tap_ok(register_kept(c, HV_REGISTER_SPEC_CTRL, bits, 0), "SPEC_CTRL keeps its bits");
    tap_is(parent_set64(c->id, 0, HV_REGISTER_SPEC_CTRL, 1ul << 40),
           HV_STATUS_INVALID_REGISTER_VALUE, "and refuses others");
    parent_set64(c->id, 0, HV_REGISTER_SPEC_CTRL, 0);
}

static void test_registers(const struct child *c)
{
    unsigned bad = 0;
    for (uint32_t i = 0; i < 16; i++) {
        bad += !register_kept(c, HV_REGISTER_RAX + i, 0x1111111111111111ul * i + 1, 0);
    }
    tap_is(bad, 0, "the general registers keep what is set");
    bad = 0;
    for (uint32_t i = 0; i < 16; i++) {
        bad += !register_kept(c, HV_REGISTER_XMM(i), 0x123456789ul << i, 0xfedcba98ul << i);
    }
    for (uint32_t i = 0; i < 8; i++) {
        bad += !register_kept(c, HV_REGISTER_FP_MMX(i), 0x8000000000000000ul + i, 0x3fff);
    }
    tap_is(bad, 0, "XMM and x87 registers keep what is set");
    bad = 0;
    for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        bad += !register_kept(c, samples[i].name, samples[i].low, samples[i].high);
    }
    tap_is(bad, 0, "%lu others as well", sizeof(samples) / sizeof(samples[0]));
    test_ymm(c);
    test_spec_ctrl(c);
}

static void test_register_refusals(const struct child *c)
{
    static const struct {
        uint32_t name;
        uint64_t value;
        const char *what;
    } refused[] = {{0x7fffffff, 0, "an unknown register"},
                   {HV_REGISTER_CR0, 1ul << 40, "upper bits of CR0"},
                   {HV_REGISTER_CR4, 1ul << 40, "upper bits of CR4"},
                   {HV_REGISTER_CR8, 16, "CR8 beyond 15"},
                   {HV_REGISTER_EFER, 1ul << 12, "EFER.SVME"},
                   {HV_REGISTER_RFLAGS, 1ul << 40, "upper bits of RFLAGS"},
                   {HV_REGISTER_PAT, 2, "a reserved type in the PAT"},
                   {HV_REGISTER_XFEM, 0, "XCR0 without x87"},
                   {HV_REGISTER_VP_INDEX, 1, "VP index"},
                   {HV_REGISTER_DR7, 1ul << 40, "upper bits of DR7"}};
    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        uint64_t before = parent_get64(c->id, 0, refused[i].name);
        uint16_t status = parent_set64(c->id, 0, refused[i].name, refused[i].value);
        tap_ok((status == HV_STATUS_INVALID_PARAMETER ||
                status == HV_STATUS_INVALID_REGISTER_VALUE ||
                status == HV_STATUS_UNKNOWN_REGISTER_NAME) &&
                   parent_get64(c->id, 0, refused[i].name) == before,
               "setting %s is refused (%x) and changes nothing", refused[i].what, status);
    }
    static const uint32_t read_only[] = {HV_REGISTER_MTRR_CAP,
                                         HV_REGISTER_TSC,
                                         HV_REGISTER_INITIAL_APIC_ID,
                                         HV_REGISTER_MC_UPDATE_PATCH_LEVEL,
                                         HV_REGISTER_VP_INDEX,
                                         HV_REGISTER_SVERSION,
                                         HV_REGISTER_REFERENCE_TSC_SEQUENCE};
    for (unsigned i = 0; i < sizeof(read_only) / sizeof(read_only[0]); i++) {
        uint64_t before = parent_get64(c->id, 0, read_only[i]);
        uint16_t status = parent_set64(c->id, 0, read_only[i], before ^ 1);
        uint64_t after = parent_get64(c->id, 0, read_only[i]);
        tap_ok(status == HV_STATUS_INVALID_PARAMETER &&
                   (after == before || (read_only[i] == HV_REGISTER_TSC && after > before)),
               "register %x is read-only (%x)", read_only[i], status);
    }
    union hv_register_value v;
    tap_is(parent_get(c->id, 9, HV_REGISTER_RIP, &v), HV_STATUS_INVALID_VP_INDEX,
           "registers of a VP that is not are refused");
    tap_is(parent_get(NO_PARTITION, 0, HV_REGISTER_RIP, &v), HV_STATUS_INVALID_PARTITION_ID,
           "and of a partition that is not");
}

// The control-status register of a VP that has never run: the mask is the processor's.
static void test_mxcsr(const struct child *c)
{
    static uint8_t image[512] __attribute__((aligned(16)));
    uint32_t mask, wrong = 0;
    union hv_register_value v = {.reg128 = {0, 0}}, set, after;
    __asm__ volatile("fxsave64 %0" : "=m"(image));
    memcpy(&mask, image + 28, sizeof(mask));
    parent_get(c->id, 0, HV_REGISTER_XMM_CONTROL_STATUS, &v);
    tap_is(v.xmm_control_status.mxcsr_mask, mask ? mask : 0xffbf,
           "the MXCSR mask is the machine's");
    tap_is(v.xmm_control_status.mxcsr, 0x1f80, "and MXCSR that of reset");
    for (uint32_t bit = 0; bit < 32; bit++) {
        bool legal = mask >> bit & 1;
        set = v;
        set.xmm_control_status.mxcsr = 1u << bit;
        uint16_t status = parent_set(c->id, 0, HV_REGISTER_XMM_CONTROL_STATUS, &set);
        parent_get(c->id, 0, HV_REGISTER_XMM_CONTROL_STATUS, &after);
        if (status != (legal ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_REGISTER_VALUE) ||
            after.xmm_control_status.mxcsr != (legal ? set : v).xmm_control_status.mxcsr) {
            wrong++;
            tap_note("MXCSR bit %u: status %x, MXCSR %x", bit, status,
                     after.xmm_control_status.mxcsr);
        }
        parent_set(c->id, 0, HV_REGISTER_XMM_CONTROL_STATUS, &v);
    }
    tap_is(wrong, 0, "MXCSR takes the bits of the mask, and no others");
}

static void test_vps(struct child *c)
{
    tap_is(parent_create_vp(c->id, 0), HV_STATUS_INVALID_VP_INDEX, "VP 0 exists already");
    tap_is(parent_create_vp(c->id, 100000), HV_STATUS_INVALID_VP_INDEX, "VP 100000 is too high");
    tap_ok(child_create_vp(c, 3), "VP 3 is created, without 1 and 2");
    tap_ok(parent_get64(c->id, 3, HV_REGISTER_INTERNAL_ACTIVITY_STATE) &
               HV_INTERNAL_ACTIVITY_STARTUP_SUSPEND,
           "it waits for a SIPI");
    struct hv_input_delete_vp in = {.partition_id = c->id, .vp_index = 3};
    tap_is(parent_call(HVCALL_DELETE_VP, &in, sizeof(in)), HV_STATUS_SUCCESS, "it is deleted");
    tap_is(parent_call(HVCALL_DELETE_VP, &in, sizeof(in)), HV_STATUS_INVALID_VP_INDEX,
           "but only once");
}

// ---- translation ----------------------------------------------------------------------------

static void set_paging(const struct child *c, uint64_t cr3)
{
    parent_set64(c->id, 0, HV_REGISTER_CR3, cr3);
    parent_set64(c->id, 0, HV_REGISTER_CR4, 0x20);
    parent_set64(c->id, 0, HV_REGISTER_EFER, 0xd00);
    parent_set64(c->id, 0, HV_REGISTER_CR0, 0x80010031);
}

static void expect_translation(const struct child *c, uint64_t address, uint64_t flags,
                               uint32_t code, uint64_t page, const char *what)
{
    uint32_t got = ~0u;
    uint64_t got_page = 0;
    uint16_t status = parent_translate(c->id, address, flags, &got, &got_page);
    bool named = code == HV_TRANSLATE_GVA_SUCCESS || code >= HV_TRANSLATE_GVA_GPA_UNMAPPED;
    tap_ok(status == HV_STATUS_SUCCESS && got == code && (!named || got_page == page),
           "translation: %s (status %x, code %u, page %lx)", what, status, got, got_page);
}

static void test_translate(struct child *c)
{
    const uint64_t read = HV_TRANSLATE_GVA_VALIDATE_READ, write = HV_TRANSLATE_GVA_VALIDATE_WRITE;
    uint32_t code;
    uint64_t page, tables[4];
    expect_translation(c, 0x123000, read, HV_TRANSLATE_GVA_SUCCESS, 0x123,
                       "without paging an address is its own");
    tap_is(parent_translate(c->id, 0, 0, &code, &page), HV_STATUS_INVALID_PARAMETER,
           "translation without an access to validate is refused");
    for (uint64_t i = 0; i < 4; i++) {
        tables[i] = page_take();
        child_map(c, 0x20 + i, tables[i], RWX);
        memset((void *)(tables[i] << 12), 0, 4096);
    }
    volatile uint64_t *pml4 = (uint64_t *)(tables[0] << 12), *pdpt = (uint64_t *)(tables[1] << 12),
                      *pd = (uint64_t *)(tables[2] << 12), *pt = (uint64_t *)(tables[3] << 12);
    pml4[0] = 0x21003;
    pml4[1] = 0x99003; // a table where there is no memory
    pdpt[0] = 0x22003;
    pdpt[1] = 0x40000083 | 1ul << 20; // 1 GiB page with a reserved bit
    pd[0] = 0x23003;
    pd[1] = 0x00400083; // 2 MiB page
    pt[1] = 0x05003;
    pt[2] = 0x06001; // read-only
    set_paging(c, 0x20000);
    expect_translation(c, 0x1000, read | write, HV_TRANSLATE_GVA_SUCCESS, 5, "a 4 KiB page");
    expect_translation(c, 0x201000, read, HV_TRANSLATE_GVA_SUCCESS, 0x401, "a 2 MiB page");
    expect_translation(c, 0x2000, read, HV_TRANSLATE_GVA_SUCCESS, 6, "a read-only page, read");
    expect_translation(c, 0x2000, write, HV_TRANSLATE_GVA_PRIVILEGE_VIOLATION, 0,
                       "a read-only page, written");
    expect_translation(c, 0x3000, read, HV_TRANSLATE_GVA_PAGE_NOT_PRESENT, 0, "a page not present");
    expect_translation(c, 0x40000000, read, HV_TRANSLATE_GVA_INVALID_PAGE_TABLE_FLAGS, 0,
                       "a reserved bit");
    expect_translation(c, 1ul << 39, read, HV_TRANSLATE_GVA_GPA_UNMAPPED, 0x99,
                       "a table that is not mapped");
    for (uint64_t i = 0; i < 4; i++) {
        parent_unmap(c->id, 0x20 + i, 1, 0);
        page_give(tables[i]);
    }
}

// ---- properties, intercepts -----------------------------------------------------------------

static uint16_t get_property(uint64_t partition, uint32_t code, uint64_t *value)
{
    struct hv_input_get_partition_property in = {partition, code, 0};
    return parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), value, sizeof(*value));
}

static void test_properties(const struct child *c)
{
    uint64_t value = 0;
    tap_is(get_property(c->id, 0x12345678, &value), HV_STATUS_UNKNOWN_PROPERTY,
           "an unknown property is UNKNOWN_PROPERTY");
    uint16_t status = get_property(c->id, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS, &value);
    tap_is(status, HV_STATUS_SUCCESS, "the privileges can be read (%lx)", value);
    tap_ok(!(value & (HV_PRIV_CREATE_PARTITIONS | HV_PRIV_ACCESS_MEMORY_POOL)),
           "a child has none of a parent's");
    status = get_property(c->id, HV_PARTITION_PROPERTY_PROCESSOR_VENDOR, &value);
    tap_ok(status == HV_STATUS_SUCCESS && value <= HV_PROCESSOR_VENDOR_HYGON,
           "so can the processor's vendor (%lu)", value);
}

static void test_install_refusals(const struct child *c)
{
    static const struct {
        uint32_t type, access;
        uint64_t parameter;
        const char *what;
    } refused[] = {
        {HV_INTERCEPT_TYPE_X64_IO_PORT, 1, 0x60, "reads of a port alone"},
        {HV_INTERCEPT_TYPE_X64_IO_PORT, 3, 0x10000, "a port beyond 65535"},
        {HV_INTERCEPT_TYPE_X64_CPUID, 3, 1, "CPUID with the wrong access"},
        {HV_INTERCEPT_TYPE_EXCEPTION, 4, 32, "an exception beyond 31"},
        {HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE, 3, 0x00500060, "a port range that ends first"},
        {HV_INTERCEPT_TYPE_X64_IO_PORT, 0x13, 0x60, "reserved access bits"},
        {0x77, 3, 0, "an unknown type"}};
    for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        tap_is(parent_install(c->id, refused[i].type, refused[i].access, refused[i].parameter),
               HV_STATUS_INVALID_PARAMETER, "intercepting %s is refused", refused[i].what);
    }
}

void root_main(void)
{
    hv_need();
    hv_setup();
    tap_ok(hv_privileges() & HV_PRIV_CREATE_PARTITIONS, "this root may create partitions");
    test_identity();
    test_states();
    test_deposit();
    struct child c;
    if (!tap_ok(child_create(&c) && child_create_vp(&c, 0), "a partition with one VP is made")) {
        return;
    }
    test_reset_state(&c);
    test_map(&c);
    test_map_refusals(&c);
    test_large(&c);
    test_mxcsr(&c);
    test_vps(&c);
    test_register_refusals(&c);
    test_translate(&c);
    test_registers(&c);
    test_properties(&c);
    test_install_refusals(&c);
    tap_ok(child_delete(&c), "in the end every page comes back");
}
