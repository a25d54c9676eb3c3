// SPDX-License-Identifier: BSD-2-Clause-Patent
// Intercept messages to register lists: the root's handlers with a chipset and a fake hypervisor.
#include "root/dispatch.h"
#include "root/vmexit.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/msr.h"
#include "root/balloon.h"
#include "root/devices.h"
#include "root/hv.h"
#include "root/log.h"
#include "root/pages.h"
#include "tests/unit/fake_host.h"

enum { RAM = 4 << 20, VPS = 2 };
#define PARTITION UINT64_C(0x201)

static struct vm vm;
static struct fake_host host;
static uint64_t events[VPS][VM_EVENTS];
static struct hv_message message;
static struct call_registers resume;
static uint8_t *ram;
static char said[4096];

// The fake hypervisor: registers, a linear address space that is GPA + OFFSET, and a map.
#define OFFSET UINT64_C(0xffff888000000000)
static struct {
    uint64_t gpr[16];
    uint64_t crash[5];
    uint32_t maps;
    struct hv_input_map_gpa_pages map;
    uint64_t map_page;
    uint16_t map_status;
    uint32_t not_present;    // GPA page whose linear address is not
    uint32_t table_unmapped; // so many translations meet an unmapped table, at RAM page 5
} hv;

void root_log(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(said + strlen(said), sizeof said - strlen(said), format, arguments);
    va_end(arguments);
}

void root_log_guest(const char *name, const char *text)
{
    root_log("%s: %s\n", name, text);
}

struct vm *vm_find(uint64_t partition)
{
    return partition == PARTITION ? &vm : NULL;
}

void vm_request(struct vm *which, enum vm_end end)
{
    which->end = end;
}

void vm_fail(struct vm *which, const char *format, ...)
{
    (void)format;
    which->end = VM_FAILED;
}

uint64_t pages_take(void)
{
    return 0;
}

void *pages_large(uint64_t size)
{
    (void)size;
    return NULL;
}

void pages_large_free(void *block, uint64_t size)
{
    (void)block;
    (void)size;
}

// A balloon, and the block that comes back when one is wanted.
static uint8_t *moved[RAM / HV_LARGE_PAGE_SIZE], *spare;

struct balloon *devices_balloon(struct vm *which)
{
    ck_assert_ptr_eq(which, &vm);
    return (struct balloon *)&spare;
}

bool balloon_back(struct balloon *balloon, uint64_t gpa)
{
    ck_assert_ptr_eq(balloon, (struct balloon *)&spare);
    if (spare) {
        guest_block_move(&vm.memory, gpa, spare);
    }
    return spare;
}

// The root scheduler's own message is not the handlers' to refuse.
bool dispatch_signal(const struct hv_message *message)
{
    return message->header.message_type == HV_MESSAGE_TYPE_SCHEDULER_VP_SIGNAL_BITSET;
}

void pages_give(uint64_t page)
{
    (void)page;
}

static uint64_t get_registers(const struct hv_input_vp_registers *in, union hv_register_value *out,
                              uint32_t count)
{
    const uint32_t *name = (const uint32_t *)(in + 1);

    ck_assert_uint_eq(in->vp_index, 1);
    memset(out, 0, count * sizeof *out);
    for (uint32_t i = 0; i < count; i++) {
        if (name[i] - HV_REGISTER_RAX < 16) {
            out[i].reg64 = hv.gpr[name[i] - HV_REGISTER_RAX];
        } else if (name[i] - HV_REGISTER_GUEST_CRASH_P(0) < 5) {
            out[i].reg64 = hv.crash[name[i] - HV_REGISTER_GUEST_CRASH_P(0)];
        }
    }
    return hv_hypercall_result(HV_STATUS_SUCCESS, count);
}

static uint64_t translate(const struct hv_input_translate_virtual_address *in,
                          struct hv_output_translate_virtual_address *out)
{
    const uint64_t page = in->gva_page - (OFFSET >> 12);

    if (hv.table_unmapped) {
        hv.table_unmapped--;
        out->translation_result = HV_TRANSLATE_GVA_GPA_UNMAPPED;
        out->gpa_page = 5;
    } else if (page == hv.not_present) {
        out->translation_result = HV_TRANSLATE_GVA_PAGE_NOT_PRESENT;
    } else {
        out->translation_result = HV_TRANSLATE_GVA_SUCCESS;
        out->gpa_page = page;
    }
    return HV_STATUS_SUCCESS;
}

uint64_t hv_hypercall(uint64_t control, const void *input, void *output)
{
    switch (hv_hypercall_code(control)) {
    case HVCALL_GET_VP_REGISTERS:
        return get_registers(input, output, hv_hypercall_rep_count(control));
    case HVCALL_TRANSLATE_VIRTUAL_ADDRESS:
        return translate(input, output);
    case HVCALL_MAP_GPA_PAGES:
        hv.maps++;
        hv.map = *(const struct hv_input_map_gpa_pages *)input;
        hv.map_page = *(const uint64_t *)((const struct hv_input_map_gpa_pages *)input + 1);
        return hv_hypercall_result(hv.map_status, hv.map_status ? 0 : 1);
    default:
        ck_abort_msg("unexpected hypercall");
    }
}

// The fast form: the same call, with its block in registers.
uint64_t hv_hypercall_fast(uint64_t control, const void *block)
{
    ck_assert(hv_hypercall_is_fast(control));
    return hv_hypercall(control & ~HV_HYPERCALL_FAST, block, NULL);
}

bool hv_has_xmm_input(void)
{
    return true;
}

static void setup(void)
{
    const struct chipset_host functions = fake_host_init(&host);

    memset(&vm, 0, sizeof vm);
    memset(&message, 0, sizeof message);
    memset(&hv, 0, sizeof hv);
    memset(events, 0, sizeof events);
    hv.not_present = UINT32_MAX;
    said[0] = 0;
    ram = aligned_alloc(HV_LARGE_PAGE_SIZE, RAM);
    memset(ram, 0, RAM);
    ck_assert(guest_memory_add(&vm.memory, ram, RAM));
    chipset_init(&vm.chipset, &functions);
    vm.account.partition = PARTITION;
    vm.conf.vps = VPS;
    vm.events = events;
    message.header.origination_id = PARTITION;
}

static void teardown(void)
{
    free(ram);
}

static void send(uint32_t type, uint8_t size)
{
    message.header.message_type = type;
    message.header.payload_size = size;
    *(uint32_t *)message.payload = 1; // the VP
    vmexit_handle(&message, &resume);
}

static void fill_header(struct hv_x64_intercept_message_header *header, uint8_t access,
                        uint8_t length)
{
    header->access_type = access;
    header->length_cr8 = 0xf0 | length;
    header->rip = 0xffffffff81000000;
    header->rflags = 0x10202;
    header->execution_state = HV_EXECUTION_STATE_EFER_LMA | HV_EXECUTION_STATE_CR0_PE;
    header->cs.attributes = HV_SEGMENT_LONG;
}

static struct hv_x64_io_port_intercept_message *port(uint16_t number, uint8_t info, uint8_t access)
{
    struct hv_x64_io_port_intercept_message *m = (void *)message.payload;

    fill_header(&m->header, access, 2);
    m->port_number = number;
    m->access_info = info;
    m->rax = 0x1122334455667788;
    return m;
}

static struct hv_x64_memory_intercept_message *memory(uint64_t gpa, uint8_t access)
{
    struct hv_x64_memory_intercept_message *m = (void *)message.payload;

    fill_header(&m->header, access, 0);
    m->guest_physical_address = gpa;
    return m;
}

static void send_port(void)
{
    send(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, sizeof(struct hv_x64_io_port_intercept_message));
}

static void send_memory(void)
{
    send(HV_MESSAGE_TYPE_UNMAPPED_GPA, sizeof(struct hv_x64_memory_intercept_message));
}

static void give_bytes(struct hv_x64_memory_intercept_message *m, const void *bytes, uint8_t count)
{
    m->instruction_byte_count = count;
    memcpy(m->instruction_bytes, bytes, count);
}

// The value of a register in the list; fails when it is not there.
static uint64_t value_of(uint32_t name)
{
    for (uint32_t i = 0; i < resume.count; i++) {
        if (resume.element[i].name == name) {
            return resume.element[i].value.reg64;
        }
    }
    ck_abort_msg("register %x is not set", name);
}

static bool has(uint32_t name)
{
    for (uint32_t i = 0; i < resume.count; i++) {
        if (resume.element[i].name == name) {
            return true;
        }
    }
    return false;
}

// It goes on, as the last thing that the list says.
static void expect_resumed(void)
{
    ck_assert_uint_gt(resume.count, 0);
    ck_assert_uint_eq(resume.element[resume.count - 1].name, HV_REGISTER_INTERCEPT_SUSPEND);
    ck_assert_uint_eq(resume.element[resume.count - 1].value.reg64, 0);
    ck_assert_uint_eq(resume.header.partition_id, PARTITION);
    ck_assert_uint_eq(resume.header.vp_index, 1);
}

static void expect_exception(uint8_t vector, uint32_t error, uint64_t parameter)
{
    expect_resumed();
    for (uint32_t i = 0; i < resume.count; i++) {
        if (resume.element[i].name == HV_REGISTER_PENDING_EVENT0) {
            const struct hv_u128 event = resume.element[i].value.reg128;
            ck_assert_uint_eq(event.low & 0xf, 1);
            ck_assert_uint_eq(event.low >> 16 & 0xffff, vector);
            ck_assert_uint_eq(event.low >> 32, error);
            ck_assert_uint_eq(event.high, parameter);
            return;
        }
    }
    ck_abort_msg("no event");
}

START_TEST(test_port_write)
{
    port(0xe9, 1, HV_INTERCEPT_ACCESS_WRITE);
    send_port();
    expect_resumed();
    ck_assert_uint_eq(resume.count, 2);
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 0xffffffff81000002);
    ck_assert_uint_eq(host.debugs, 1);
    ck_assert_int_eq(host.debug[0], (char)0x88);
    ck_assert_uint_eq(events[1][VM_EVENT_PORT], 1);
    ck_assert_uint_eq(events[0][VM_EVENT_PORT], 0);
}
END_TEST

START_TEST(test_port_reads_merge)
{
    static const struct {
        uint8_t size;
        uint64_t rax;
    } cases[] = {{1, 0x11223344556677ff}, {2, 0x112233445566ffff}, {4, 0xffffffff}};

    for (unsigned i = 0; i < 3; i++) {
        port(0x5000, cases[i].size, HV_INTERCEPT_ACCESS_READ);
        send_port();
        expect_resumed();
        ck_assert_uint_eq(value_of(HV_REGISTER_RAX), cases[i].rax);
    }
    ck_assert_uint_eq(vm.chipset.unowned_reads, 3);
}
END_TEST

START_TEST(test_rip_wraps_by_mode)
{
    struct hv_x64_io_port_intercept_message *m = port(0x80, 1, HV_INTERCEPT_ACCESS_WRITE);

    m->header.cs.attributes = 0;
    m->header.execution_state = 0;
    m->header.rip = 0xffff;
    send_port();
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 1);
    m->header.cs.attributes = HV_SEGMENT_DEFAULT;
    m->header.rip = 0xffffffff;
    send_port();
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 1);
    m->header.cs.attributes = HV_SEGMENT_LONG; // without long mode it means nothing
    m->header.rip = 0xffff;
    send_port();
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 1);
}
END_TEST

START_TEST(test_port_ends_the_vm)
{
    port(0xf4, 4, HV_INTERCEPT_ACCESS_WRITE);
    host.exits = 0;
    send_port();
    ck_assert_uint_eq(host.exits, 1);
    ck_assert_uint_eq(host.exit_value, 0x55667788);
    vm.end = VM_EXIT; // what the real host does: no message is handled any more
    send_port();
    ck_assert_uint_eq(resume.count, 0);
    ck_assert_uint_eq(host.exits, 1);
}
END_TEST

START_TEST(test_port_of_no_size)
{
    port(0x80, 3, HV_INTERCEPT_ACCESS_WRITE);
    send_port();
    ck_assert_int_eq(vm.end, VM_FAILED);
    ck_assert_uint_eq(resume.count, 0);
}
END_TEST

START_TEST(test_string_output)
{
    struct hv_x64_io_port_intercept_message *m =
        port(0xe9, 1 | HV_IO_PORT_ACCESS_STRING | HV_IO_PORT_ACCESS_REP, HV_INTERCEPT_ACCESS_WRITE);

    m->instruction_byte_count = 2;
    memcpy(m->instruction_bytes, "\xf3\x6e", 2); // rep outsb
    memcpy(ram + 0x3ffe, "hello", 5);            // across a page
    hv.gpr[1] = 5;
    hv.gpr[2] = 0xe9;
    hv.gpr[6] = OFFSET + 0x3ffe;
    send_port();
    expect_resumed();
    ck_assert_uint_eq(host.debugs, 5);
    ck_assert_mem_eq(host.debug, "hello", 5);
    ck_assert_uint_eq(value_of(HV_REGISTER_RCX), 0);
    ck_assert_uint_eq(value_of(HV_REGISTER_RSI), OFFSET + 0x4003);
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 0xffffffff81000002);
    ck_assert_uint_eq(value_of(HV_REGISTER_RFLAGS), 0x202); // RF is done with
}
END_TEST

START_TEST(test_string_output_faults)
{
    struct hv_x64_io_port_intercept_message *m =
        port(0xe9, 1 | HV_IO_PORT_ACCESS_STRING | HV_IO_PORT_ACCESS_REP, HV_INTERCEPT_ACCESS_WRITE);

    m->header.execution_state |= 3; // user mode
    m->instruction_byte_count = 2;
    memcpy(m->instruction_bytes, "\xf3\x6e", 2);
    hv.gpr[1] = 5;
    hv.gpr[2] = 0xe9;
    hv.gpr[6] = OFFSET + 0x3ffe;
    hv.not_present = 4;
    send_port();
    expect_exception(14, 4, OFFSET + 0x4000);
    ck_assert_uint_eq(host.debugs, 2);
    ck_assert_uint_eq(value_of(HV_REGISTER_RCX), 3);
    ck_assert(!has(HV_REGISTER_RIP)); // it stays at the instruction
}
END_TEST

START_TEST(test_touch_small)
{
    memory(0x123456, HV_INTERCEPT_ACCESS_WRITE);
    vm.conf.lazy = CONF_LAZY_4K;
    send_memory();
    expect_resumed();
    ck_assert_uint_eq(resume.count, 1);
    ck_assert_uint_eq(hv.maps, 1);
    ck_assert_uint_eq(hv.map.target_gpa_base, 0x123);
    ck_assert_uint_eq(hv.map.map_flags,
                      HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE);
    ck_assert_uint_eq(hv.map_page, ((uintptr_t)ram >> 12) + 0x123);
    ck_assert_uint_eq(events[1][VM_EVENT_MEMORY], 1);
}
END_TEST

START_TEST(test_touch_large)
{
    memory(0x323456, HV_INTERCEPT_ACCESS_EXECUTE);
    vm.conf.lazy = CONF_LAZY_2M;
    send_memory();
    expect_resumed();
    ck_assert_uint_eq(hv.map.target_gpa_base, 0x200);
    ck_assert(hv.map.map_flags & HV_MAP_GPA_LARGE_PAGE);
    hv.map_status = HV_STATUS_ACCESS_DENIED;
    send_memory();
    ck_assert_int_eq(vm.end, VM_FAILED);
    ck_assert_uint_eq(resume.count, 0);
}
END_TEST

START_TEST(test_touch_of_what_the_balloon_returned)
{
    guest_memory_track(&vm.memory, moved, RAM / HV_LARGE_PAGE_SIZE);
    guest_block_move(&vm.memory, 0x323456, NULL);
    memory(0x323456, HV_INTERCEPT_ACCESS_WRITE);
    vm.conf.lazy = CONF_LAZY_4K;
    spare = NULL;
    send_memory();
    ck_assert_int_eq(vm.end, VM_FAILED);
    ck_assert_uint_eq(hv.maps, 0);
    vm.end = VM_RUNS;
    spare = ram; // any will do
    send_memory();
    expect_resumed();
    ck_assert_uint_eq(hv.map.target_gpa_base, 0x323);
    ck_assert_uint_eq(hv.map_page, ((uintptr_t)ram >> 12) + 0x123);
}
END_TEST

START_TEST(test_ioapic)
{
    struct hv_x64_memory_intercept_message *m = memory(IOAPIC_BASE, HV_INTERCEPT_ACCESS_WRITE);

    give_bytes(m, "\xc7\x07\x01\x00\x00\x00", 6); // mov dword [rdi], 1
    send_memory();
    expect_resumed();
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 0xffffffff81000006);
    m = memory(IOAPIC_BASE + 0x10, HV_INTERCEPT_ACCESS_READ);
    give_bytes(m, "\x8b\x07", 2); // mov eax, [rdi]
    hv.gpr[0] = UINT64_MAX;
    send_memory();
    ck_assert_uint_eq(value_of(HV_REGISTER_RAX), 0x170020); // version
    ck_assert_uint_eq(vm.chipset.unowned_mmio, 0);
}
END_TEST

START_TEST(test_bytes_are_fetched_when_cut)
{
    struct hv_x64_memory_intercept_message *m = memory(IOAPIC_BASE, HV_INTERCEPT_ACCESS_WRITE);

    give_bytes(m, "\xc7\x07", 2);
    m->header.rip = OFFSET + 0x1ffe;
    memcpy(ram + 0x1ffe, "\xc7\x07\x01\x00\x00\x00", 6);
    hv.table_unmapped = 2; // page tables that nobody has touched yet
    send_memory();
    expect_resumed();
    ck_assert_uint_eq(hv.maps, 2);
    ck_assert_uint_eq(hv.map_page, (uintptr_t)ram >> 12); // the large page with table 5
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), OFFSET + 0x2004);
}
END_TEST

START_TEST(test_nothing_there)
{
    struct hv_x64_memory_intercept_message *m = memory(0x80000000, HV_INTERCEPT_ACCESS_READ);

    give_bytes(m, "\x48\x8b\x07", 3); // mov rax, [rdi]
    send_memory();
    expect_resumed();
    ck_assert_uint_eq(value_of(HV_REGISTER_RAX), UINT64_MAX);
    ck_assert_ptr_nonnull(strstr(said, "belongs to nothing"));
    said[0] = 0;
    send_memory();
    ck_assert_str_eq(said, "");
    ck_assert_uint_eq(vm.chipset.unowned_mmio, 2);
}
END_TEST

START_TEST(test_instruction_unknown)
{
    struct hv_x64_memory_intercept_message *m = memory(0x80000000, HV_INTERCEPT_ACCESS_READ);

    give_bytes(m, "\x0f\xae\x07", 3); // fxsave
    send_memory();
    ck_assert_int_eq(vm.end, VM_FAILED);
}
END_TEST

START_TEST(test_execution_of_nothing)
{
    memory(0x80000000, HV_INTERCEPT_ACCESS_EXECUTE);
    send_memory();
    expect_exception(6, 0, 0);
    ck_assert(!has(HV_REGISTER_RIP));
}
END_TEST

START_TEST(test_hopeless_accesses)
{
    struct hv_x64_memory_intercept_message *m = memory(0x80000000, HV_INTERCEPT_ACCESS_READ);

    send_memory(); // no bytes: a page table
    ck_assert_int_eq(vm.end, VM_RESET);
    ck_assert_uint_eq(resume.count, 0);
    vm.end = VM_RUNS;
    give_bytes(m, "\x8b\x07", 2);
    m->header.execution_state |= HV_EXECUTION_STATE_INTERRUPTION_PENDING;
    send_memory();
    ck_assert_int_eq(vm.end, VM_RESET);
}
END_TEST

START_TEST(test_msr)
{
    struct hv_x64_msr_intercept_message *m = (void *)message.payload;

    fill_header(&m->header, HV_INTERCEPT_ACCESS_WRITE, 2);
    m->msr_number = 0x1234;
    send(HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof *m);
    expect_exception(13, 0, 0);
    ck_assert(!has(HV_REGISTER_RIP));
    m->msr_number = HV_X64_MSR_CRASH_CTL;
    send(HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof *m);
    expect_resumed();
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 0xffffffff81000002);
    m->msr_number = HV_X64_MSR_RESET;
    send(HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof *m);
    expect_resumed();
    m->rax = 1;
    send(HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof *m);
    ck_assert_int_eq(vm.end, VM_RESET);
    ck_assert_uint_eq(resume.count, 0);
}
END_TEST

// A guest's own words reach the log, and nothing of what is not a character, not memory or too
// long.
START_TEST(test_crash_text)
{
    struct hv_x64_msr_intercept_message *m = (void *)message.payload;

    fill_header(&m->header, HV_INTERCEPT_ACCESS_WRITE, 2);
    m->msr_number = HV_X64_MSR_CRASH_CTL;
    m->rdx = (HV_CRASH_CTL_CRASH_NOTIFY | HV_CRASH_CTL_CRASH_MESSAGE) >> 32;
    strcpy((char *)ram + 0x5000, "one\033[2J\n\ntwo");
    hv.crash[3] = 0x5000;
    hv.crash[4] = 13;
    send(HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof *m);
    expect_resumed();
    ck_assert_ptr_nonnull(strstr(said, "reports a crash: 0 0 0 5000 d"));
    ck_assert_ptr_nonnull(strstr(said, ": one[2J\n"));
    ck_assert_ptr_nonnull(strstr(said, ": two\n"));
    said[0] = 0;
    memset(ram + RAM - 0x1000, 'x', 0x1000);
    hv.crash[3] = RAM - 10;
    hv.crash[4] = UINT64_MAX;
    send(HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof *m);
    expect_resumed();
    ck_assert_ptr_nonnull(strstr(said, ": xxxxxxxxxx\n"));
    said[0] = 0;
    m->rdx = HV_CRASH_CTL_CRASH_NOTIFY >> 32;
    send(HV_MESSAGE_TYPE_MSR_INTERCEPT, sizeof *m);
    ck_assert_ptr_null(strstr(said, "xxx"));
}
END_TEST

static uint64_t extended(uint64_t control, uint64_t output)
{
    struct hv_x64_hypercall_intercept_message *m = (void *)message.payload;

    fill_header(&m->header, HV_INTERCEPT_ACCESS_EXECUTE, 3);
    m->rcx = control;
    m->r8 = output;
    send(HV_MESSAGE_TYPE_HYPERCALL_INTERCEPT, sizeof *m);
    expect_resumed();
    ck_assert_uint_eq(value_of(HV_REGISTER_RIP), 0xffffffff81000003);
    return value_of(HV_REGISTER_RAX);
}

START_TEST(test_extended_calls)
{
    const struct load_result loaded = {.untouched_count = 2,
                                       .untouched = {{0x10000, 0x3000}, {0x200000, 0x100000}}};
    const struct hv_output_get_boot_zeroed_memory *zeroed = (const void *)(ram + 0x7000);

    vm_note_zeroed(&vm, &loaded);
    ck_assert_uint_eq(extended(HVCALL_EXT_QUERY_CAPABILITIES, 0x5ff8), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(*(uint64_t *)(ram + 0x5ff8), HV_EXT_CAPABILITY_GET_BOOT_ZEROED_MEMORY);
    ck_assert_uint_eq(extended(HVCALL_EXT_GET_BOOT_ZEROED_MEMORY, 0x7000), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(zeroed->range_count, 2);
    ck_assert_uint_eq(zeroed->range[0].start_gpa_page, 0x10);
    ck_assert_uint_eq(zeroed->range[0].page_count, 3);
    ck_assert_uint_eq(zeroed->range[1].page_count, 0x100);
    ck_assert_uint_eq(extended(HVCALL_EXT_GET_BOOT_ZEROED_MEMORY, 0x7010),
                      HV_STATUS_INVALID_ALIGNMENT);
    ck_assert_uint_eq(extended(HVCALL_EXT_QUERY_CAPABILITIES, 0x5004), HV_STATUS_INVALID_ALIGNMENT);
    ck_assert_uint_eq(extended(HVCALL_EXT_QUERY_CAPABILITIES, RAM), HV_STATUS_INVALID_ALIGNMENT);
    ck_assert_uint_eq(extended(HVCALL_EXT_QUERY_CAPABILITIES, ~UINT64_C(7)),
                      HV_STATUS_INVALID_ALIGNMENT);
    ck_assert_uint_eq(extended(HVCALL_EXT_QUERY_CAPABILITIES | HV_HYPERCALL_FAST, 0),
                      HV_STATUS_INVALID_HYPERCALL_INPUT);
    ck_assert_uint_eq(extended(HVCALL_EXT_MEMORY_HEAT_HINT, 0x7000),
                      HV_STATUS_INVALID_HYPERCALL_CODE);
}
END_TEST

START_TEST(test_eoi_does_not_resume)
{
    struct hv_x64_apic_eoi_message *m = (void *)message.payload;
    uint64_t value = 0x10 + 2 * PIN_SCI;

    chipset_mmio(&vm.chipset, IOAPIC_BASE, 4, true, &value);
    value = 0x8000 | 0x39; // level, vector 0x39, not masked
    chipset_mmio(&vm.chipset, IOAPIC_BASE + 0x10, 4, true, &value);
    uint32_t enable = PM_POWER_BUTTON;
    chipset_pio(&vm.chipset, PORT_PM1_EVENT + 2, 2, true, &enable);
    chipset_power_button(&vm.chipset);
    ck_assert_uint_eq(host.interrupts, 1);
    m->interrupt_vector = 0x39;
    send(HV_MESSAGE_TYPE_X64_APIC_EOI, sizeof *m);
    ck_assert_uint_eq(resume.count, 0);
    ck_assert_uint_eq(host.interrupts, 2); // still asserted
}
END_TEST

START_TEST(test_ends)
{
    static const struct {
        uint32_t type;
        uint8_t size;
        enum vm_end end;
    } cases[] = {
        {HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION, 40, VM_RESET},
        {HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION, 39, VM_FAILED},
        {HV_MESSAGE_TYPE_INVALID_VP_REGISTER_VALUE, 8, VM_FAILED},
        {HV_MESSAGE_TYPE_UNSUPPORTED_FEATURE, 16, VM_FAILED},
        {HV_MESSAGE_TYPE_GPA_INTERCEPT, 80, VM_FAILED},
        {0x8001FFFF, 240, VM_FAILED},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vm.end = VM_RUNS;
        send(cases[i].type, cases[i].size);
        ck_assert_int_eq(vm.end, cases[i].end);
        ck_assert_uint_eq(resume.count, 0);
    }
}
END_TEST

START_TEST(test_strangers)
{
    port(0xe9, 1, HV_INTERCEPT_ACCESS_WRITE);
    message.header.origination_id = PARTITION + 1;
    send_port();
    ck_assert_uint_eq(resume.count, 0);
    ck_assert_uint_eq(host.debugs, 0);
    message.header.origination_id = PARTITION;
    *(uint32_t *)message.payload = VPS;
    message.header.message_type = HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT;
    message.header.payload_size = 128;
    vmexit_handle(&message, &resume);
    ck_assert_int_eq(vm.end, VM_FAILED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_vmexit");
    TCase *tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_port_write);
    tcase_add_test(tcase, test_port_reads_merge);
    tcase_add_test(tcase, test_rip_wraps_by_mode);
    tcase_add_test(tcase, test_port_ends_the_vm);
    tcase_add_test(tcase, test_port_of_no_size);
    tcase_add_test(tcase, test_string_output);
    tcase_add_test(tcase, test_string_output_faults);
    tcase_add_test(tcase, test_touch_small);
    tcase_add_test(tcase, test_touch_large);
    tcase_add_test(tcase, test_touch_of_what_the_balloon_returned);
    tcase_add_test(tcase, test_ioapic);
    tcase_add_test(tcase, test_bytes_are_fetched_when_cut);
    tcase_add_test(tcase, test_nothing_there);
    tcase_add_test(tcase, test_instruction_unknown);
    tcase_add_test(tcase, test_execution_of_nothing);
    tcase_add_test(tcase, test_hopeless_accesses);
    tcase_add_test(tcase, test_msr);
    tcase_add_test(tcase, test_crash_text);
    tcase_add_test(tcase, test_extended_calls);
    tcase_add_test(tcase, test_eoi_does_not_resume);
    tcase_add_test(tcase, test_ends);
    tcase_add_test(tcase, test_strangers);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
