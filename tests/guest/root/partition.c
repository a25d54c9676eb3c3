// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a parent reads and changes of a partition that runs: every property, rights of its memory,
// interrupts by the old calls, translation for another privilege.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define RW            (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE)
#define NO_MSR        0x12345u
#define VECTOR        0x20u
#define DATA          0x5000u
#define OS_ID         0x8100000000000007ul
#define FXSAVE_STATES 3u // x87 and SSE are there without XSAVE too

static struct child c;
static struct hv_message message;

static uint16_t get(uint32_t code, uint64_t *value)
{
    struct hv_input_get_partition_property in = {c.id, code, 0};
    return parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), value, sizeof(*value));
}

static uint16_t set(uint32_t code, uint64_t value)
{
    struct hv_input_set_partition_property in = {c.id, code, 0, value};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

// The child runs to its next message of this type.
static bool comes(uint32_t type)
{
    bool came = message_wait(&message, PATIENCE_US) && message.header.message_type == type;
    if (!came) {
        tap_note("type %x, want %x", message.header.message_type, type);
    }
    return came;
}

// ---- properties -------------------------------------------------------------------------------

static void test_properties(void)
{
    uint32_t width = cpuid(0x80000008, 0).eax & 0xff;
    const struct {
        uint32_t code;
        uint64_t value;
        const char *what;
    } fixed[] = {
        {HV_PARTITION_PROPERTY_APIC_FREQUENCY, rdmsr(HV_X64_MSR_APIC_FREQUENCY),
         "the APIC timer's frequency"},
        {HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH, width, "the width of physical addresses"},
        {HV_PARTITION_PROPERTY_IMPLEMENTED_PHYSICAL_ADDRESS_BITS, width,
         "how many are implemented"},
        {HV_PARTITION_PROPERTY_XSAVE_STATES,
         FXSAVE_STATES | cpuid(0xd, 0).eax | (uint64_t)cpuid(0xd, 0).edx << 32,
         "the XSAVE states"}};
    uint64_t value = 0;
    for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        uint16_t status = get(fixed[i].code, &value);
        tap_ok(status == HV_STATUS_SUCCESS && value == fixed[i].value,
               "a property tells %s (%lx, want %lx)", fixed[i].what, value, fixed[i].value);
        tap_is(set(fixed[i].code, value), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
               "and cannot be set");
    }
    tap_ok(get(HV_PARTITION_PROPERTY_PROCESSOR_CLOCK_FREQUENCY, &value) == HV_STATUS_SUCCESS &&
               value == rdmsr(HV_X64_MSR_TSC_FREQUENCY),
           "a property tells the TSC's frequency (%lu)", value);
    get(HV_PARTITION_PROPERTY_REFERENCE_TIME, &value);
    tap_is(value, 0, "the reference time is 0 before a VP has run");
    tap_ok(get(HV_PARTITION_PROPERTY_GUEST_OS_ID, &value) == HV_STATUS_SUCCESS && value == 0,
           "without an operating system the OS id is 0");
    parent_set64(c.id, 0, HV_REGISTER_GUEST_OS_ID, OS_ID);
    tap_ok(get(HV_PARTITION_PROPERTY_GUEST_OS_ID, &value) == HV_STATUS_SUCCESS && value == OS_ID,
           "else what it has written");
    tap_is(set(HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, 3), HV_STATUS_INVALID_PARTITION_STATE,
           "an early property is fixed once it is initialized");
}

// mov $0x12345, %ecx; rdmsr; out %al, $0x42; hlt, in real mode
static const uint8_t read_msr[] = {0x66, 0xb9, 0x45, 0x23, 0x01, 0x00,
                                   0x0f, 0x32, 0xe6, 0x42, 0xf4};

static void test_msr_action(void)
{
    uint64_t value = ~0ul;
    parent_install(c.id, HV_INTERCEPT_TYPE_X64_MSR, 0, 0);
    tap_ok(get(HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION, &value) == HV_STATUS_SUCCESS &&
               value == HV_UNIMPLEMENTED_MSR_ACTION_FAULT,
           "accesses to MSRs that do not exist fault at first");
    tap_is(set(HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION, 2),
           HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "an unknown action is refused");
    tap_is(set(HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION,
               HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO),
           HV_STATUS_SUCCESS, "they may be ignored instead");
    parent_set64(c.id, 0, HV_REGISTER_RAX, 0x5555);
    parent_set64(c.id, 0, HV_REGISTER_RDX, 0x5555);
    child_run(&c, read_msr, sizeof(read_msr));
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) &&
               parent_get64(c.id, 0, HV_REGISTER_RAX) == 0 &&
               parent_get64(c.id, 0, HV_REGISTER_RDX) == 0,
           "then they read 0");
    set(HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION, HV_UNIMPLEMENTED_MSR_ACTION_FAULT);
}

// ---- rights -------------------------------------------------------------------------------------

static uint16_t modify(uint64_t gpa, uint32_t flags)
{
    struct {
        struct hv_input_modify_sparse_gpa_pages in;
        uint64_t page;
    } call = {{c.id, flags, 0}, gpa >> 12};
    return hv_call_memory(HVCALL_MODIFY_SPARSE_GPA_PAGES, 1, &call, sizeof(call), NULL, 0, NULL);
}

// mov %al, 0x5000; out %al, $0x42; hlt
static const uint8_t store[] = {0xa2, 0x00, 0x50, 0xe6, 0x42, 0xf4};

static void test_rights(void)
{
    uint64_t page = page_take();
    tap_ok(child_map(&c, DATA >> 12, page, RW), "a page is mapped to be written");
    tap_is(modify(DATA, HV_MAP_GPA_READABLE), HV_STATUS_SUCCESS,
           "HvCallModifySparseGpaPages takes the right to write");
    child_run(&c, store, sizeof(store));
    bool stopped = comes(HV_MESSAGE_TYPE_GPA_INTERCEPT);
    const struct hv_x64_memory_intercept_message *m = (const void *)message.payload;
    tap_ok(stopped && m->guest_physical_address == DATA &&
               m->header.access_type == HV_INTERCEPT_ACCESS_WRITE,
           "the child's write is its parent's business then");
    tap_is(modify(DATA, RW), HV_STATUS_SUCCESS, "and gives it back");
    child_go(&c, CHILD_CODE);
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT), "the write goes through");
    tap_is(modify(DATA, HV_MAP_GPA_WRITABLE), HV_STATUS_INVALID_PARAMETER,
           "a right to write without one to read is refused");
    parent_unmap(c.id, DATA >> 12, 1, 0);
    page_give(page);
}

// ---- interrupts ---------------------------------------------------------------------------------

// Vector 0x20 goes to the OUT behind the loop.
// xor %ax,%ax; mov %ax,%ds; movw $handler,0x80; movw $0,0x82; sti; 1: jmp 1b; handler: out; hlt
static const uint8_t wait_code[] = {0x31, 0xc0, 0x8e, 0xd8, 0xc7, 0x06, 0x80, 0x00,
                                    0x13, 0x10, 0xc7, 0x06, 0x82, 0x00, 0x00, 0x00,
                                    0xfb, 0xeb, 0xfe, 0xe6, 0x42, 0xf4};

static void test_interrupts(void)
{
    struct hv_input_assert_virtual_interrupt in = {.partition_id = c.id, .vector = VECTOR};
    uint64_t zero = page_take();
    tap_is(parent_on(HVCALL_CLEAR_VIRTUAL_INTERRUPT, c.id), HV_STATUS_NOT_ACKNOWLEDGED,
           "HvCallClearVirtualInterrupt: without an ExtINT acknowledged there is nothing to clear");
    tap_ok(child_map(&c, 0, zero, RW), "a vector table is mapped");
    parent_set64(c.id, 0, HV_REGISTER_APIC_SVR, 0x1ff);
    child_run(&c, wait_code, sizeof(wait_code));
    delay_us(1000);
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT_OLD, &in, sizeof(in)), HV_STATUS_SUCCESS,
           "the old form of HvCallAssertVirtualInterrupt is taken");
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT), "and the child gets its interrupt");
    in.vector = 15;
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT_OLD, &in, sizeof(in)),
           HV_STATUS_INVALID_PARAMETER, "vector 15 is refused");
    in.vector = VECTOR;
    in.destination_address = 77;
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT_OLD, &in, sizeof(in)),
           HV_STATUS_INVALID_VP_INDEX, "and a destination that nobody has");
    parent_unmap(c.id, 0, 1, 0);
    page_give(zero);
}

struct assertion {
    uint64_t control, destination;
    uint32_t vector;
    uint8_t vtl, reserved;
    uint16_t status;
    const char *what;
};

static void test_assert_refusals(void)
{
    const uint16_t bad = HV_STATUS_INVALID_PARAMETER;
    const struct assertion all[] = {
        {HV_INTERRUPT_TYPE_NMI, 0, VECTOR, 0, 0, bad, "a vector with a type that takes none"},
        {HV_INTERRUPT_TYPE_LOCALINT1 + 1, 0, VECTOR, 0, 0, bad, "a type that does not exist"},
        {0, 1ul << 32, VECTOR, 0, 0, bad, "a destination of more than 32 bits"},
        {0, 0, 256, 0, 0, bad, "vector > 255"},
        {0, 0, VECTOR, 0, 1, bad, "reserved bytes"},
        {0, 0, VECTOR, 1, 0, HV_STATUS_INVALID_VTL_STATE, "a VTL that is not enabled"},
        {0, 0, HV_INTERRUPT_VECTOR_NONE, 0, 0, HV_STATUS_SUCCESS, "no vector deasserts"},
    };
    struct hv_input_assert_virtual_interrupt in = {.partition_id = 0x123400, .vector = VECTOR};
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in)),
           HV_STATUS_INVALID_PARTITION_ID, "AssertVirtualInterrupt: no such partition");
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        in = (struct hv_input_assert_virtual_interrupt){.partition_id = c.id,
                                                        .control = all[i].control,
                                                        .destination_address = all[i].destination,
                                                        .vector = all[i].vector,
                                                        .target_vtl = all[i].vtl,
                                                        .reserved = {0, 0, all[i].reserved}};
        tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in)), all[i].status,
               "AssertVirtualInterrupt: %s", all[i].what);
    }
}

// ---- translation --------------------------------------------------------------------------------

static void test_translate_flags(void)
{
    uint32_t code = ~0u;
    uint64_t page = 0;
    tap_ok(hv_features() & HV_FEATURE_EDX_TRANSLATE_GVA_FLAGS,
           "who may manage partitions is shown the flags of HvCallTranslateVirtualAddress");
    uint16_t status =
        parent_translate(c.id, CHILD_CODE,
                         HV_TRANSLATE_GVA_VALIDATE_READ | HV_TRANSLATE_GVA_USER_ACCESS |
                             HV_TRANSLATE_GVA_ENFORCE_SMAP,
                         &code, &page);
    tap_ok(status == HV_STATUS_SUCCESS && code == HV_TRANSLATE_GVA_SUCCESS &&
               page == CHILD_CODE >> 12,
           "and they are taken (%x, %u, %lx)", status, code, page);
    struct hv_input_translate_virtual_address in = {
        .partition_id = c.id, .control_flags = HV_TRANSLATE_GVA_VALIDATE_READ, .gva_page = 1};
    struct hv_output_translate_virtual_address_ex out = {0};
    status =
        parent_call_out(HVCALL_TRANSLATE_VIRTUAL_ADDRESS_EX, &in, sizeof(in), &out, sizeof(out));
    tap_ok(status == HV_STATUS_SUCCESS && out.gpa_page == 1 &&
               (uint32_t)out.translation_result == HV_TRANSLATE_GVA_SUCCESS &&
               !out.pending_event[0].low,
           "the extended form has the page at 48, and no event to inject");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(child_prepare(&c), "a child is made")) {
        return;
    }
    test_properties();
    test_msr_action();
    test_rights();
    test_interrupts();
    test_assert_refusals();
    test_translate_flags();
    tap_ok(child_delete(&c), "every page comes back");
}
