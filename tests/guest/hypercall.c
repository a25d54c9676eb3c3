// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypercall interface from a guest: the page, the calling conventions, what is checked and in
// which words it is refused.
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define SPIN HVCALL_NOTIFY_LONG_SPIN_WAIT
#define FIND HVCALL_GET_VP_INDEX_FROM_APIC_ID

_Alignas(4096) static uint8_t other_page[4096];
_Alignas(4096) static uint8_t block[2][4096];

static uint16_t status_of(uint64_t control, uint64_t first, uint64_t second)
{
    return hv_hypercall_result_status(hv_call(control, first, second));
}

// ---- the page -------------------------------------------------------------------------------

static void test_page_before(void)
{
    tap_is(rdmsr(HV_X64_MSR_GUEST_OS_ID), 0, "the OS id is 0 at first");
    tap_is(rdmsr(HV_X64_MSR_HYPERCALL), 0, "the hypercall MSR is 0 at first");
    memset(hv_page, 0xa5, HV_PAGE_SIZE);
    wrmsr(HV_X64_MSR_HYPERCALL, hv_gpa(hv_page) | HV_MSR_HYPERCALL_ENABLE);
    tap_ok(!(rdmsr(HV_X64_MSR_HYPERCALL) & HV_MSR_HYPERCALL_ENABLE) && hv_page[0] == 0xa5,
           "without an OS id the page cannot be enabled");
}

static bool is_call_page(const uint8_t *page)
{
    bool vmmcall = page[0] == 0x0f && page[1] == 0x01 && page[2] == 0xd9;
    bool vmcall = page[0] == 0x0f && page[1] == 0x01 && page[2] == 0xc1;
    return (vmmcall || vmcall) && page[3] == 0xc3;
}

static void test_page(void)
{
    wrmsr(HV_X64_MSR_GUEST_OS_ID, HV_TEST_OS_ID);
    tap_is(rdmsr(HV_X64_MSR_GUEST_OS_ID), HV_TEST_OS_ID, "the OS id reads back");
    uint64_t value = hv_gpa(hv_page) | HV_MSR_HYPERCALL_ENABLE | 0x550;
    wrmsr(HV_X64_MSR_HYPERCALL, value);
    tap_is(rdmsr(HV_X64_MSR_HYPERCALL), value,
           "the hypercall MSR keeps page, enable and bits 11:4");
    tap_ok(is_call_page(hv_page), "the page is a call instruction and RET");
    unsigned others = 0;
    for (unsigned i = 4; i < HV_PAGE_SIZE; i++) {
        others += hv_page[i] == 0xa5;
    }
    tap_is(others, 0, "nothing of the memory beneath shows");
    struct trap trap = try_write8(hv_gpa(hv_page), 0x90);
    tap_ok(trap.taken && trap.vector == VECTOR_GP && trap.error == 0,
           "writing to the page is #GP(0) (vector %d)", trap.taken ? trap.vector : -1);
    tap_ok(is_call_page(hv_page), "and changes nothing");

    memset(other_page, 0x5a, sizeof(other_page));
    wrmsr(HV_X64_MSR_HYPERCALL, hv_gpa(other_page) | HV_MSR_HYPERCALL_ENABLE);
    tap_ok(hv_page[0] == 0xa5 && hv_page[4095] == 0xa5,
           "moving the page uncovers what was beneath");
    tap_ok(is_call_page(other_page), "and it is there now");
    tap_ok(!try_write8(hv_gpa(hv_page), 0xa5).taken, "the old place can be written again");
    wrmsr(HV_X64_MSR_HYPERCALL, hv_gpa(hv_page) | HV_MSR_HYPERCALL_ENABLE);
    tap_ok(other_page[0] == 0x5a && is_call_page(hv_page), "it moves back");
    trap = try_wrmsr(HV_X64_MSR_HYPERCALL, 1ul << 51 | HV_MSR_HYPERCALL_ENABLE);
    tap_ok(trap.taken && trap.vector == VECTOR_GP && is_call_page(hv_page),
           "a page beyond the GPA space is #GP");
}

static void body_call(void *context)
{
    *(uint64_t *)context = hv_call(SPIN | HV_HYPERCALL_FAST, 1, 0);
}

struct direct {
    bool amd;
    uint64_t result;
};

static void body_direct(void *context)
{
    struct direct *call = context;
    if (call->amd) {
        __asm__ volatile("vmmcall"
                         : "=a"(call->result)
                         : "a"(0), "c"(SPIN | HV_HYPERCALL_FAST), "d"(1)
                         : "r8", "memory");
    } else {
        __asm__ volatile("vmcall"
                         : "=a"(call->result)
                         : "a"(0), "c"(SPIN | HV_HYPERCALL_FAST), "d"(1)
                         : "r8", "memory");
    }
}

static void test_page_after(void)
{
    struct direct direct = {.amd = hv_page[2] == 0xd9};
    uint64_t result = ~0ul;
    struct trap trap = trap_try_user(body_call, &result);
    tap_ok(trap.vector == VECTOR_UD, "a hypercall from ring 3 is #UD (vector %u)", trap.vector);
    wrmsr(HV_X64_MSR_GUEST_OS_ID, 0);
    tap_ok(!(rdmsr(HV_X64_MSR_HYPERCALL) & HV_MSR_HYPERCALL_ENABLE) && hv_page[0] == 0xa5,
           "OS id 0 takes the page away");
    trap = trap_try(body_direct, &direct);
    tap_ok(trap.taken ? trap.vector == VECTOR_UD
                      : hv_hypercall_result_status(direct.result) != HV_STATUS_SUCCESS,
           "a hypercall without OS id is #UD or refused");
    wrmsr(HV_X64_MSR_GUEST_OS_ID, HV_TEST_OS_ID);
    tap_ok(!(rdmsr(HV_X64_MSR_HYPERCALL) & HV_MSR_HYPERCALL_ENABLE) && hv_page[0] == 0xa5,
           "a new OS id alone does not bring it back");
    hv_setup();
    tap_ok(is_call_page(hv_page), "a new OS id and the page is back");
}

#define HOLE 0xd0000000ul

// The page can be placed anywhere within the GPA space, and is executable wherever that is.
static void test_page_anywhere(void)
{
    uint8_t *const image = hv_page;
    wrmsr(HV_X64_MSR_HYPERCALL, HOLE | HV_MSR_HYPERCALL_ENABLE);
    hv_page = (uint8_t *)HOLE;
    tap_ok(is_call_page(hv_page), "the page can be where there is no memory");
    uint64_t result = ~0ul;
    struct trap trap = trap_try(body_call, &result);
    tap_ok(!trap.taken && result == HV_STATUS_SUCCESS, "and is called there");
    trap = try_write8(HOLE + 4095, 0x90);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "and cannot be written there");
    hv_page = image;
    hv_setup();
}

// ---- conventions ----------------------------------------------------------------------------

static void test_registers(void)
{
    uint64_t rax, rcx = SPIN | HV_HYPERCALL_FAST, rdx = 0x1, rbx = 0x1111, rsi = 0x2222,
                  rdi = 0x3333;
    register uint64_t r8 __asm__("r8") = 0, r9 __asm__("r9") = 0x4444, r10 __asm__("r10") = 0x5555,
                         r11 __asm__("r11") = 0x6666;
    uint64_t flags_before = read_rflags(), flags_after;
    __asm__ volatile("call *%[page]\n\t"
                     "pushfq\n\t"
                     "pop %[flags]"
                     : "=a"(rax), "+c"(rcx), "+d"(rdx), "+b"(rbx), "+S"(rsi), "+D"(rdi), "+r"(r8),
                       "+r"(r9), "+r"(r10), "+r"(r11), [flags] "=&r"(flags_after)
                     : [page] "r"(hv_page)
                     : "memory", "cc");
    // Copied before the first call: these variables are the registers.
    uint64_t after[] = {r8, r9, r10, r11};
    tap_is(rax, HV_STATUS_SUCCESS, "a fast call succeeds with RAX 0");
    tap_ok(rcx == (SPIN | HV_HYPERCALL_FAST) && rdx == 1 && after[0] == 0,
           "its input registers are unchanged");
    tap_ok(rbx == 0x1111 && rsi == 0x2222 && rdi == 0x3333 && after[1] == 0x4444 &&
               after[2] == 0x5555 && after[3] == 0x6666,
           "and so are the others");
    tap_ok((flags_before & RFLAGS_IF) == (flags_after & RFLAGS_IF), "and the interrupt flag");
}

// Input at the very end of a page, and everywhere in it.
static void test_memory(void)
{
    struct {
        struct hv_input_get_vp_index_from_apic_id in;
        uint32_t apic_id[2];
    } call = {.in.partition_id = HV_PARTITION_ID_SELF, .apic_id = {machine.apic_ids[0]}};
    uint32_t out[2] = {~0u, ~0u}, done = 0;
    uint16_t status = hv_call_memory(FIND, 1, &call, sizeof(call), out, sizeof(out), &done);
    tap_ok(status == HV_STATUS_SUCCESS && done == 1 && out[0] == machine.apic_ids[0],
           "a memory-based call takes a list and answers (status %x, done %u, %x)", status, done,
           out[0]);
    // Header 16, one element of 4: 24 with alignment.
    uint8_t *end = block[0] + 4096 - 24;
    memcpy(end, &call, 20);
    memset(block[1], 0xee, sizeof(block[1]));
    status = status_of(hv_hypercall_control(FIND, false, 0, 1), hv_gpa(end), hv_gpa(block[1]));
    tap_is(status, HV_STATUS_SUCCESS, "an input list may end where its page ends");
    tap_ok(block[1][4] == 0xee && block[1][8] == 0xee, "no more than the output is written");
    memcpy(end + 8, &call, 16);
    status = status_of(hv_hypercall_control(FIND, false, 0, 1), hv_gpa(end) + 8, hv_gpa(block[1]));
    tap_is(status, HV_STATUS_INVALID_ALIGNMENT, "one that crosses a page is refused");
    status =
        status_of(hv_hypercall_control(FIND, false, 0, 1), hv_gpa(block[0]) + 4, hv_gpa(block[1]));
    tap_is(status, HV_STATUS_INVALID_ALIGNMENT, "so is one that is not aligned to 8");
    memcpy(block[0], &call, 24);
    status =
        status_of(hv_hypercall_control(FIND, false, 0, 1), hv_gpa(block[0]), hv_gpa(block[1]) + 4);
    tap_is(status, HV_STATUS_INVALID_ALIGNMENT, "so is an output that is not aligned to 8");
}

// A call without input, or without output, does not look at the pointer to it.
static void test_ignored_pointers(void)
{
    const uint64_t nowhere = 1ul << 50 | 3;
    memset(block[0], 0, 8);
    tap_is(status_of(SPIN, hv_gpa(block[0]), nowhere), HV_STATUS_SUCCESS,
           "without output parameters the output GPA is ignored");
    uint16_t code = HVCALL_EXT_QUERY_CAPABILITIES;
    if (!(hv_privileges() & HV_PRIV_ENABLE_EXTENDED_HYPERCALLS)) {
        tap_skip("not allowed", "without input parameters the input GPA is ignored");
        return;
    }
    tap_is(status_of(code, nowhere, hv_gpa(block[1])), HV_STATUS_SUCCESS,
           "without input parameters the input GPA is ignored");
}

// 24 bytes of header and as many ranges as fill the registers.
static void test_xmm_full(void)
{
    if (!(hv_features() & HV_FEATURE_EDX_XMM_HYPERCALL_INPUT)) {
        tap_skip("not offered", "fast input of 112 bytes");
        return;
    }
    const uint16_t code = HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST;
    uint64_t regs[14] = {0, HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES, 1}, before[14];
    for (unsigned i = 3; i < 14; i++) {
        regs[i] = hv_gpa(block[i & 1]);
    }
    memcpy(before, regs, sizeof(before));
    uint64_t result = hv_call_xmm(hv_hypercall_control(code, true, 0, 11), regs);
    tap_is(result, hv_hypercall_result(HV_STATUS_SUCCESS, 11),
           "a fast call takes an input block of 112 bytes");
    tap_ok(!memcmp(regs, before, sizeof(regs)),
           "RDX, R8 and XMM0 to XMM5, used for input, remain unmodified");
    result = hv_call_xmm(hv_hypercall_control(code, true, 0, 12), regs);
    tap_is(result, HV_STATUS_INVALID_HYPERCALL_INPUT, "and none of 120");
}

static void test_xmm(void)
{
    uint32_t both = HV_FEATURE_EDX_XMM_HYPERCALL_INPUT | HV_FEATURE_EDX_FAST_HYPERCALL_OUTPUT;
    if ((hv_features() & both) != both) {
        tap_skip("not offered", "fast output");
        return;
    }
    uint64_t regs[14] = {HV_PARTITION_ID_SELF, 0, machine.apic_ids[0], 0x77, ~0ul, ~0ul, 0x88};
    uint64_t result = hv_call_xmm(hv_hypercall_control(FIND, true, 0, 1), regs);
    tap_ok(hv_hypercall_result_status(result) == HV_STATUS_SUCCESS &&
               (uint32_t)regs[4] == machine.apic_ids[0] && regs[2] == machine.apic_ids[0] &&
               regs[6] == 0x88,
           "a fast call with XMM input answers in the next free slot (%lx, %lx)", result, regs[4]);
}

// ---- what is refused, and how ---------------------------------------------------------------

struct refusal {
    const char *what;
    uint64_t control;
    uint16_t status;
};

#define FAST HV_HYPERCALL_FAST
static const struct refusal refusals[] = {
    {"an unknown call code", 0x7ffe | FAST, HV_STATUS_INVALID_HYPERCALL_CODE},
    {"call code 0", 0, HV_STATUS_INVALID_HYPERCALL_CODE},
    {"reserved bit 27", SPIN | FAST | HV_BIT(27), HV_STATUS_INVALID_HYPERCALL_INPUT},
    {"reserved bit 44", SPIN | FAST | HV_BIT(44), HV_STATUS_INVALID_HYPERCALL_INPUT},
    {"reserved bit 63", SPIN | FAST | HV_BIT(63), HV_STATUS_INVALID_HYPERCALL_INPUT},
    {"a rep count on a simple call", SPIN | FAST | HV_BIT(32), HV_STATUS_INVALID_HYPERCALL_INPUT},
    {"a rep start on a simple call", SPIN | FAST | HV_BIT(48), HV_STATUS_INVALID_HYPERCALL_INPUT},
    {"a variable header on a call without", SPIN | FAST | HV_BIT(17),
     HV_STATUS_INVALID_HYPERCALL_INPUT},
    {"rep count 0 on a rep call", FIND, HV_STATUS_INVALID_HYPERCALL_INPUT},
    {"a rep start at the count", FIND | HV_BIT(32) | HV_BIT(48), HV_STATUS_INVALID_HYPERCALL_INPUT},
};

static void test_refusals(void)
{
    struct hv_input_get_vp_index_from_apic_id in = {.partition_id = HV_PARTITION_ID_SELF};
    memcpy(block[0], &in, sizeof(in));
    for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        bool fast = refusals[i].control & FAST;
        uint64_t result =
            hv_call(refusals[i].control, fast ? 1 : hv_gpa(block[0]), fast ? 0 : hv_gpa(block[1]));
        tap_is(result, refusals[i].status, "%s is refused", refusals[i].what);
    }
}

// Calls of parents and roots that an ordinary guest may not make, whatever the input says.
static const uint16_t privileged[] = {HVCALL_CREATE_PARTITION, HVCALL_GET_PARTITION_ID,
                                      HVCALL_DEPOSIT_MEMORY, HVCALL_WITHDRAW_MEMORY,
                                      HVCALL_GET_MEMORY_BALANCE};
static const uint16_t of_parents[] = {HVCALL_INITIALIZE_PARTITION,
                                      HVCALL_FINALIZE_PARTITION,
                                      HVCALL_DELETE_PARTITION,
                                      HVCALL_GET_PARTITION_PROPERTY,
                                      HVCALL_SET_PARTITION_PROPERTY,
                                      HVCALL_MAP_GPA_PAGES,
                                      HVCALL_UNMAP_GPA_PAGES,
                                      HVCALL_INSTALL_INTERCEPT,
                                      HVCALL_CREATE_VP,
                                      HVCALL_DELETE_VP,
                                      HVCALL_GET_VP_REGISTERS,
                                      HVCALL_SET_VP_REGISTERS,
                                      HVCALL_TRANSLATE_VIRTUAL_ADDRESS,
                                      HVCALL_READ_GPA,
                                      HVCALL_WRITE_GPA,
                                      HVCALL_ASSERT_VIRTUAL_INTERRUPT};

static bool is_rep(uint16_t code)
{
    static const uint16_t rep[] = {HVCALL_DEPOSIT_MEMORY,   HVCALL_WITHDRAW_MEMORY,
                                   HVCALL_MAP_GPA_PAGES,    HVCALL_UNMAP_GPA_PAGES,
                                   HVCALL_GET_VP_REGISTERS, HVCALL_SET_VP_REGISTERS};
    for (unsigned i = 0; i < sizeof(rep) / sizeof(rep[0]); i++) {
        if (rep[i] == code) {
            return true;
        }
    }
    return false;
}

static uint16_t call_on(uint16_t code, uint64_t partition)
{
    memset(block[0], 0, sizeof(block[0]));
    memcpy(block[0], &partition, 8);
    return status_of(hv_hypercall_control(code, false, 0, is_rep(code)), hv_gpa(block[0]),
                     hv_gpa(block[1]));
}

// Does a status say no without saying what is there?
static bool denied(uint16_t status)
{
    return status == HV_STATUS_ACCESS_DENIED || status == HV_STATUS_INVALID_HYPERCALL_CODE ||
           status == HV_STATUS_INVALID_PARTITION_ID;
}

static void test_privileged(void)
{
    for (unsigned i = 0; i < sizeof(privileged) / sizeof(privileged[0]); i++) {
        uint16_t status = call_on(privileged[i], HV_PARTITION_ID_SELF);
        tap_is(status, HV_STATUS_ACCESS_DENIED, "call %04x without its privilege is denied",
               privileged[i]);
    }
    for (unsigned i = 0; i < sizeof(of_parents) / sizeof(of_parents[0]); i++) {
        unsigned bad = 0;
        // Itself, the root's likely ids, and ids that no partition has.
        static const uint64_t ids[] = {HV_PARTITION_ID_SELF, 0, 1, 2, 3, 0x7777777777};
        for (unsigned n = 0; n < sizeof(ids) / sizeof(ids[0]); n++) {
            uint16_t status = call_on(of_parents[i], ids[n]);
            if (!denied(status)) {
                tap_note("call %04x on %lx: status %x", of_parents[i], ids[n], status);
                bad++;
            }
        }
        tap_is(bad, 0, "call %04x is denied to a guest, on itself and on others", of_parents[i]);
    }
}

// ---- input and output where there is no memory ----------------------------------------------

static void test_bad_addresses(void)
{
    const struct {
        uint64_t gpa;
        const char *what;
    } places[] = {{0xd0000000, "a hole"},
                  {0xfee00000, "the APIC page"},
                  {1ul << 40, "beyond memory"},
                  {0x7ffffffffffff000, "beyond the GPA space"},
                  {~7ul, "the very top"}};
    struct hv_input_get_vp_index_from_apic_id in = {.partition_id = HV_PARTITION_ID_SELF};
    memset(block[0], 0, sizeof(block[0]));
    memcpy(block[0], &in, sizeof(in));
    uint64_t control = hv_hypercall_control(FIND, false, 0, 1);
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        uint16_t status = status_of(control, places[i].gpa, hv_gpa(block[1]));
        tap_ok(status != HV_STATUS_SUCCESS, "input in %s is refused (%x)", places[i].what, status);
        status = status_of(control, hv_gpa(block[0]), places[i].gpa);
        tap_ok(status != HV_STATUS_SUCCESS, "output to %s is refused (%x)", places[i].what, status);
    }
    uint16_t status = status_of(control, hv_gpa(block[0]), hv_gpa(hv_page) + 16);
    tap_ok(status != HV_STATUS_SUCCESS && is_call_page(hv_page) && hv_page[16] == 0,
           "output to the hypercall page is refused (%x)", status);
    status = status_of(control, hv_gpa(block[0]), hv_gpa(block[1]));
    tap_is(status, HV_STATUS_SUCCESS, "and the same call in memory still works");
}

// ---- the lock, for good -----------------------------------------------------------------------

static void test_lock(void)
{
    if (!(hv_features() & HV_FEATURE_EDX_HYPERCALL_MSR_LOCK)) {
        tap_skip("not offered", "the hypercall MSR can be locked");
        return;
    }
    uint64_t value = rdmsr(HV_X64_MSR_HYPERCALL) | HV_MSR_HYPERCALL_LOCKED;
    wrmsr(HV_X64_MSR_HYPERCALL, value);
    tap_is(rdmsr(HV_X64_MSR_HYPERCALL), value, "the hypercall MSR can be locked");
    struct trap trap = try_wrmsr(HV_X64_MSR_HYPERCALL, hv_gpa(other_page) | HV_PAGE_MSR_ENABLE);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "the page cannot be moved then");
    trap = try_wrmsr(HV_X64_MSR_HYPERCALL, 0);
    tap_ok(trap.taken && trap.vector == VECTOR_GP && rdmsr(HV_X64_MSR_HYPERCALL) == value &&
               is_call_page(hv_page),
           "nor taken away, nor unlocked");
}

void guest_main(void)
{
    hv_need();
    test_page_before();
    test_page();
    test_page_after();
    test_page_anywhere();
    test_registers();
    test_memory();
    test_ignored_pointers();
    test_xmm();
    test_xmm_full();
    test_refusals();
    test_privileged();
    test_bad_addresses();
    test_lock();
}
