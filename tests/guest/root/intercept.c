// SPDX-License-Identifier: BSD-2-Clause-Patent
// Intercept messages: a child of a few bytes of real-mode code does what its parent wants to see;
// the payload tells all of it, the child waits, and goes on with what the parent gives it.
//
// rig: --lps 2
// rig: --lps 1
#include "con.h"
#include "cpu.h"
#include "hv/call_vp.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define RWX (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)

static struct child c;
static struct hv_message message;

static const struct hv_x64_intercept_message_header *header(void)
{
    return (const void *)message.payload;
}

// The next message is of this type, from this child's VP 0, at this offset of the code.
static bool expect(uint32_t type, uint64_t offset, const char *what)
{
    if (!message_wait(&message, PATIENCE_US)) {
        return tap_ok(false, "%s: a message comes", what);
    }
    const struct hv_x64_intercept_message_header *h = header();
    bool right = message.header.message_type == type && message.header.origination_id == c.id &&
                 h->vp_index == 0 && h->rip == CHILD_CODE + offset;
    tap_ok(right, "%s: the message is of its type, from that VP, at its RIP", what);
    if (!right) {
        tap_note("type %x (want %x) origin %lx vp %u rip %lx", message.header.message_type, type,
                 message.header.origination_id, h->vp_index, h->rip);
    }
    tap_is(parent_get64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND), 1, "%s: the VP waits", what);
    return right;
}

static void expect_header(uint8_t length, uint8_t access, const char *what)
{
    const struct hv_x64_intercept_message_header *h = header();
    tap_ok((h->length_cr8 & HV_INTERCEPT_LENGTH_MASK) == length && h->access_type == access,
           "%s: the header tells length %u and access %u (%u, %u)", what, length, access,
           h->length_cr8 & HV_INTERCEPT_LENGTH_MASK, h->access_type);
    tap_ok(h->cs.base == 0 && h->cs.limit == 0xffff && (h->rflags & 2) &&
               !(h->execution_state & (HV_EXECUTION_STATE_CR0_PE | HV_EXECUTION_STATE_EFER_LMA)),
           "%s: and the mode", what);
}

static void quiet(const char *what)
{
    tap_ok(!message_wait(&message, 20000), "%s: and nothing more comes", what);
}

// Does a register of VP 0 come to have one of the bits, or a value beyond `beyond`, within a
// second? With one processor the VP gets its turn only when the parent's has ended.
static bool comes_to(uint32_t name, uint64_t bits, uint64_t beyond)
{
    for (int i = 0; i < 200; i++) {
        uint64_t value = parent_get64(c.id, 0, name);
        if ((value & bits) || (!bits && value > beyond)) {
            return true;
        }
        delay_us(5000);
    }
    return false;
}

// ---- ports ----------------------------------------------------------------------------------

CODE(port_code, "mov $0x12345678, %eax\n out %al, $0x42\n in $0x43, %al\n mov $0x1f7, %dx\n"
                "out %eax, %dx\n in %dx, %ax\n hlt")

static void test_port(uint64_t offset, uint16_t port, uint8_t size, uint8_t access, uint8_t length,
                      uint64_t rax, const char *what)
{
    if (!expect(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, offset, what)) {
        return;
    }
    const struct hv_x64_io_port_intercept_message *m = (const void *)message.payload;
    expect_header(length, access, what);
    tap_ok(m->port_number == port && (m->access_info & HV_IO_PORT_ACCESS_SIZE_MASK) == size &&
               !(m->access_info & (HV_IO_PORT_ACCESS_STRING | HV_IO_PORT_ACCESS_REP)) &&
               m->rax == rax,
           "%s: port %x, %u bytes, RAX %lx", what, m->port_number, m->access_info & 7, m->rax);
}

static void test_ports(void)
{
    RUN(&c, port_code);
    test_port(6, 0x42, 1, HV_INTERCEPT_ACCESS_WRITE, 2, 0x12345678, "OUT imm8");
    child_go(&c, CHILD_CODE + 8);
    test_port(8, 0x43, 1, HV_INTERCEPT_ACCESS_READ, 2, 0x12345678, "IN imm8");
    parent_set64(c.id, 0, HV_REGISTER_RAX, 0x123456ab);
    child_go(&c, CHILD_CODE + 10);
    test_port(13, 0x1f7, 4, HV_INTERCEPT_ACCESS_WRITE, 2, 0x123456ab, "OUT DX, EAX");
    child_go(&c, CHILD_CODE + 15);
    test_port(15, 0x1f7, 2, HV_INTERCEPT_ACCESS_READ, 1, 0x123456ab, "IN AX, DX");
    child_go(&c, CHILD_CODE + 16);
    quiet("ports");
    tap_ok(comes_to(HV_REGISTER_INTERNAL_ACTIVITY_STATE, HV_INTERNAL_ACTIVITY_HALT_SUSPEND, 0),
           "after HLT the VP is idle");
}

CODE(string_code, "mov $0x3000, %si\n mov $4, %cx\n mov $0x60, %dx\n cld\n rep outsb\n hlt")

static void test_string(void)
{
    RUN(&c, string_code);
    if (!expect(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, 10, "REP OUTSB")) {
        return;
    }
    const struct hv_x64_io_port_intercept_message *m = (const void *)message.payload;
    tap_ok(m->port_number == 0x60 && (m->access_info & HV_IO_PORT_ACCESS_STRING) &&
               (m->access_info & HV_IO_PORT_ACCESS_REP) && (m->access_info & 7) == 1,
           "REP OUTSB: it is a repeated string access");
    tap_ok(m->rcx == 4 && m->rsi == 0x3000 && m->ds.base == 0 && m->instruction_byte_count >= 2 &&
               m->instruction_bytes[0] == 0xf3 && m->instruction_bytes[1] == 0x6e,
           "REP OUTSB: with registers, segment and bytes");
    parent_set64(c.id, 0, HV_REGISTER_RCX, 0);
    child_go(&c, CHILD_CODE + 12);
    quiet("REP OUTSB");
}

// ---- CPUID, MSR -----------------------------------------------------------------------------

CODE(cpuid_code, "mov $0x40000001, %eax\n xor %ecx, %ecx\n cpuid\n out %al, $0x42\n"
                 "xor %eax, %eax\n cpuid\n out %al, $0x42\n hlt")

static void test_cpuid(void)
{
    tap_is(parent_install(c.id, HV_INTERCEPT_TYPE_X64_CPUID, HV_INTERCEPT_ACCESS_MASK_EXECUTE,
                          0x40000001),
           HV_STATUS_SUCCESS, "an intercept of leaf 40000001 is installed");
    RUN(&c, cpuid_code);
    if (expect(HV_MESSAGE_TYPE_X64_CPUID_INTERCEPT, 9, "CPUID")) {
        const struct hv_x64_cpuid_intercept_message *m = (const void *)message.payload;
        expect_header(2, HV_INTERCEPT_ACCESS_EXECUTE, "CPUID");
        tap_ok((uint32_t)m->rax == 0x40000001 && (uint32_t)m->rcx == 0 &&
                   (uint32_t)m->default_result_rax == HV_CPUID_INTERFACE_HV1,
               "CPUID: leaf, subleaf, and what it would have said (%lx)", m->default_result_rax);
        parent_set64(c.id, 0, HV_REGISTER_RAX, 0x31337);
        child_go(&c, CHILD_CODE + 11);
    }
    test_port(11, 0x42, 1, HV_INTERCEPT_ACCESS_WRITE, 2, 0x31337, "with the parent's answer");
    child_go(&c, CHILD_CODE + 13);
    if (expect(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, 18, "another leaf is not intercepted")) {
        child_go(&c, CHILD_CODE + 20);
    }
    tap_is(parent_install(c.id, HV_INTERCEPT_TYPE_X64_CPUID, HV_INTERCEPT_ACCESS_MASK_NONE,
                          0x40000001),
           HV_STATUS_SUCCESS, "it is removed");
    RUN(&c, cpuid_code);
    if (expect(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT, 11, "removed, CPUID answers by itself")) {
        const struct hv_x64_io_port_intercept_message *m = (const void *)message.payload;
        tap_is((uint32_t)m->rax, HV_CPUID_INTERFACE_HV1, "with Hv#1");
    }
}

CODE(msr_code, "mov $0x12345, %ecx\n rdmsr\n out %al, $0x42\n wrmsr\n out %al, $0x43\n hlt")

static void test_msr(void)
{
    RUN(&c, msr_code);
    if (expect(HV_MESSAGE_TYPE_MSR_INTERCEPT, 6, "RDMSR")) {
        const struct hv_x64_msr_intercept_message *m = (const void *)message.payload;
        expect_header(2, HV_INTERCEPT_ACCESS_READ, "RDMSR");
        tap_is(m->msr_number, 0x12345, "RDMSR: the number");
        parent_set64(c.id, 0, HV_REGISTER_RAX, 0x99);
        parent_set64(c.id, 0, HV_REGISTER_RDX, 0x88);
        child_go(&c, CHILD_CODE + 8);
    }
    test_port(8, 0x42, 1, HV_INTERCEPT_ACCESS_WRITE, 2, 0x99, "with the parent's value");
    child_go(&c, CHILD_CODE + 10);
    if (expect(HV_MESSAGE_TYPE_MSR_INTERCEPT, 10, "WRMSR")) {
        const struct hv_x64_msr_intercept_message *m = (const void *)message.payload;
        expect_header(2, HV_INTERCEPT_ACCESS_WRITE, "WRMSR");
        tap_ok(m->msr_number == 0x12345 && (uint32_t)m->rax == 0x99 && (uint32_t)m->rdx == 0x88,
               "WRMSR: number and value");
        child_go(&c, CHILD_CODE + 12);
    }
    test_port(12, 0x43, 1, HV_INTERCEPT_ACCESS_WRITE, 2, 0x99, "after WRMSR");
}

// ---- memory ---------------------------------------------------------------------------------

CODE(touch_code, "mov 0x8010, %eax\n mov %al, 0x9020\n out %al, $0x42\n hlt")

static void expect_memory(uint32_t type, uint64_t offset, uint64_t gpa, uint8_t access,
                          const char *what)
{
    if (!expect(type, offset, what)) {
        return;
    }
    const struct hv_x64_memory_intercept_message *m = (const void *)message.payload;
    const uint8_t *code = (const uint8_t *)(c.code_page << 12) + offset;
    tap_ok(m->guest_physical_address == gpa && m->header.access_type == access,
           "%s: the GPA and the access (%lx, %u)", what, m->guest_physical_address,
           m->header.access_type);
    tap_ok(m->instruction_byte_count > 0 && m->instruction_byte_count <= 16 &&
               !memcmp(m->instruction_bytes, code, 3),
           "%s: the instruction's bytes (%u)", what, m->instruction_byte_count);
    // Worked out by nobody: AMD's processors do not report it of a data access.
    tap_ok(!(m->memory_access_info & HV_MEMORY_ACCESS_GVA_VALID) && m->guest_virtual_address == 0,
           "%s: no virtual address is claimed", what);
}

static void test_memory(void)
{
    uint64_t page = page_take();
    memset((void *)(page << 12), 0x5a, 4096);
    RUN(&c, touch_code);
    expect_memory(HV_MESSAGE_TYPE_UNMAPPED_GPA, 0, 0x8010, HV_INTERCEPT_ACCESS_READ,
                  "a read of unmapped memory");
    child_map(&c, 8, page, HV_MAP_GPA_READABLE);
    child_map(&c, 9, page, HV_MAP_GPA_READABLE);
    parent_set64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    expect_memory(HV_MESSAGE_TYPE_GPA_INTERCEPT, 4, 0x9020, HV_INTERCEPT_ACCESS_WRITE,
                  "a write to a page that may be read");
    child_map(&c, 9, page, RWX);
    *(volatile uint8_t *)((page << 12) + 0x20) = 0;
    parent_set64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    test_port(7, 0x42, 1, HV_INTERCEPT_ACCESS_WRITE, 2, 0x5a5a5a5a,
              "mapped, the read has its data");
    tap_is(*(volatile uint8_t *)((page << 12) + 0x20), 0x5a, "and the write is there");
    parent_unmap(c.id, 8, 2, 0);
    page_give(page);
}

CODE(execute_code, "ljmp $0, $0x8000")

static void test_execute(void)
{
    uint64_t page = page_take();
    RUN(&c, execute_code);
    if (message_wait(&message, PATIENCE_US)) {
        const struct hv_x64_memory_intercept_message *m = (const void *)message.payload;
        tap_ok(message.header.message_type == HV_MESSAGE_TYPE_UNMAPPED_GPA &&
                   m->guest_physical_address == 0x8000 &&
                   m->header.access_type == HV_INTERCEPT_ACCESS_EXECUTE,
               "a jump to unmapped memory is an execute intercept (%x, %lx, %u)",
               message.header.message_type, m->guest_physical_address, m->header.access_type);
    } else {
        tap_ok(false, "a jump to unmapped memory is an execute intercept");
    }
    *(volatile uint16_t *)(page << 12) = 0x42e6; // OUT 0x42, AL
    *(volatile uint8_t *)((page << 12) + 2) = 0xf4;
    child_map(&c, 8, page, RWX);
    parent_set64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    tap_ok(message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
               header()->rip == 0x8000,
           "mapped, it runs there");
    parent_unmap(c.id, 8, 1, 0);
    page_give(page);
}

// ---- exceptions -----------------------------------------------------------------------------

CODE(ud_code, "nop\n ud2\n out %al, $0x42\n hlt")

static bool expect_exception(uint64_t offset, uint16_t vector, uint8_t info, const char *what)
{
    if (!expect(HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT, offset, what)) {
        return false;
    }
    const struct hv_x64_exception_intercept_message *m = (const void *)message.payload;
    return tap_ok(m->exception_vector == vector && m->exception_info == info &&
                      m->error_code == 0 && m->instruction_byte_count > 0,
                  "%s: vector, info, no error code (%u, %x, %x)", what, m->exception_vector,
                  m->exception_info, m->error_code);
}

static void test_exception(void)
{
    tap_is(parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 6),
           HV_STATUS_SUCCESS, "an intercept of #UD is installed");
    RUN(&c, ud_code);
    if (expect_exception(1, 6, 0, "#UD")) {
        const struct hv_x64_exception_intercept_message *m = (const void *)message.payload;
        tap_ok(m->instruction_bytes[0] == 0x0f && m->instruction_bytes[1] == 0x0b,
               "#UD: the instruction's bytes");
        tap_is(m->gp[4], CHILD_STACK, "#UD: the registers");
        child_go(&c, CHILD_CODE + 3);
    }
    test_port(3, 0x42, 1, HV_INTERCEPT_ACCESS_WRITE, 2, parent_get64(c.id, 0, HV_REGISTER_RAX),
              "past #UD");
    tap_is(parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_NONE, 6),
           HV_STATUS_SUCCESS, "it is removed");
}

// It waits at its start. Handlers of the vectors tell the RIP that was pushed.
#define SOFT 2 // offset of what is run then
CODE(soft_code,
     "1: jmp 1b\n .byte 0xf1\n 2: jmp 2b\n .org soft_code + 0x40\n pop %ax\n out %al, $0x78\n"
     "hlt")

static void run_soft(uint64_t stack)
{
    static const uint8_t vectors[] = {1, 2, 3, 4, 13, 0x40};
    union hv_register_value table = {.table = {.limit = 0x3ff, .base = 0x1c00}};
    RUN(&c, soft_code);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    parent_set(c.id, 0, HV_REGISTER_IDTR, &table);
    for (unsigned i = 0; i < sizeof(vectors); i++) {
        ((volatile uint32_t *)((c.code_page << 12) + 0xc00))[vectors[i]] = CHILD_CODE + 0x40;
    }
    parent_set64(c.id, 0, HV_REGISTER_RIP, CHILD_CODE + SOFT);
    parent_set64(c.id, 0, HV_REGISTER_RSP, stack);
    parent_set64(c.id, 0, HV_REGISTER_RAX, 0);
}

static uint64_t pending(uint64_t type, uint64_t vector, uint64_t length)
{
    return HV_PENDING_INTERRUPTION_PENDING | type << HV_PENDING_INTERRUPTION_TYPE_SHIFT |
           vector << HV_PENDING_INTERRUPTION_VECTOR_SHIFT |
           length << HV_PENDING_INTERRUPTION_LENGTH_SHIFT;
}

// INT1 exits before it is executed; the parent lets it happen by injecting it. QEMU does not exit
// for INT3 (docs/emulators.md), which tests/unit/test_svm.c looks at.
static void test_software_exception(void)
{
    parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 1);
    run_soft(CHILD_STACK);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    expect_exception(SOFT, 1, HV_EXCEPTION_INFO_SOFTWARE_EXCEPTION, "INT1");
    parent_set64(c.id, 0, HV_REGISTER_PENDING_INTERRUPTION,
                 pending(HV_INTERRUPTION_TYPE_PRIVILEGED_SW_EXCEPTION, 1, 1));
    parent_set64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    test_port(0x41, 0x78, 1, HV_INTERCEPT_ACCESS_WRITE, 2, CHILD_CODE + SOFT + 1,
              "INT1 injected, the handler returns behind it");
    parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_NONE, 1);
}

static void test_pending(uint64_t type, uint64_t vector, uint64_t length, uint64_t back,
                         const char *what)
{
    run_soft(CHILD_STACK);
    tap_is(parent_set64(c.id, 0, HV_REGISTER_PENDING_INTERRUPTION, pending(type, vector, length)),
           HV_STATUS_SUCCESS, "%s is made pending", what);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    test_port(0x41, 0x78, 1, HV_INTERCEPT_ACCESS_WRITE, 2, CHILD_CODE + SOFT + back, what);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
}

struct event {
    uint64_t type, vector, length;
    uint64_t back; // where its handler returns to, behind SOFT
    const char *what;
};

// The stack is not there when the event is delivered: it waits until the parent has mapped it, and
// is then delivered once.
static void test_pending_fault(const struct event *e)
{
    uint64_t page = page_take(), value = pending(e->type, e->vector, e->length), masked;
    tap_note("%s, without a stack", e->what);
    run_soft(0x9000);
    parent_set64(c.id, 0, HV_REGISTER_RFLAGS,
                 HV_BIT(1) | (e->type == HV_INTERRUPTION_TYPE_INTERRUPT ? RFLAGS_IF : 0));
    parent_set64(c.id, 0, HV_REGISTER_PENDING_INTERRUPTION, value);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    if (expect(HV_MESSAGE_TYPE_UNMAPPED_GPA, SOFT, e->what)) {
        tap_ok(header()->execution_state & HV_EXECUTION_STATE_INTERRUPTION_PENDING,
               "%s: it is still pending", e->what);
        tap_is(parent_get64(c.id, 0, HV_REGISTER_PENDING_INTERRUPTION), value,
               "%s: as it was asked for", e->what);
        child_map(&c, 8, page, RWX);
        parent_set64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    }
    test_port(0x41, 0x78, 1, HV_INTERCEPT_ACCESS_WRITE, 2, CHILD_CODE + SOFT + e->back, e->what);
    tap_is(parent_get64(c.id, 0, HV_REGISTER_PENDING_INTERRUPTION), 0, "%s: no more", e->what);
    masked = parent_get64(c.id, 0, HV_REGISTER_INTERRUPT_STATE) & HV_INTERRUPT_STATE_NMI_MASKED;
    tap_is(!!masked, e->type == HV_INTERRUPTION_TYPE_NMI, "%s: NMIs are masked, or not", e->what);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    parent_set64(c.id, 0, HV_REGISTER_INTERRUPT_STATE, 0);
    parent_unmap(c.id, 8, 1, 0);
    page_give(page);
}

// The processor model of that name, Bochs', does not note which virtual interrupt it was delivering
// (docs/emulators.md).
static bool forgets_interrupts(void)
{
    static const char ryzen[] = "Ryze";
    uint32_t name = cpuid(0x80000002, 0).ebx;
    return memcmp(&name, ryzen, sizeof(name)) == 0;
}

static void test_pending_faults(void)
{
    static const struct event events[] = {
        {HV_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, 3, 1, 1, "INT3"},
        {HV_INTERRUPTION_TYPE_PRIVILEGED_SW_EXCEPTION, 1, 1, 1, "INT1"},
        {HV_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, 0x40, 2, 2, "INT 40h"},
        {HV_INTERRUPTION_TYPE_EXCEPTION, 13, 0, 0, "#GP"},
        {HV_INTERRUPTION_TYPE_NMI, 2, 0, 0, "an NMI"},
        {HV_INTERRUPTION_TYPE_INTERRUPT, 0x40, 0, 0, "an interrupt"}};
    for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (events[i].type == HV_INTERRUPTION_TYPE_INTERRUPT && forgets_interrupts()) {
            tap_skip("an emulator's fault", "%s, without a stack", events[i].what);
        } else {
            test_pending_fault(&events[i]);
        }
    }
}

static void test_software_events(void)
{
    test_software_exception();
    test_pending(HV_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, 3, 1, 1, "INT3");
    test_pending(HV_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION, 4, 1, 1, "INTO");
    test_pending(HV_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT, 0x40, 2, 2, "INT 40h");
    test_pending(HV_INTERRUPTION_TYPE_EXCEPTION, 3, 1, 0, "#BP, of no instruction");
    test_pending_faults();
}

// With no memory for its interrupt table, the VP can take no exception: limit 0.
static void test_unrecoverable(void)
{
    union hv_register_value none = {.table = {.limit = 0}};
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    parent_set(c.id, 0, HV_REGISTER_IDTR, &none);
    RUN(&c, ud_code);
    tap_ok(message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION &&
               header()->vp_index == 0 && message.header.origination_id == c.id,
           "a triple fault is an unrecoverable exception (%x)", message.header.message_type);
    tap_is(parent_get64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND), 1, "and the VP waits");
    union hv_register_value usual = {.table = {.limit = 0xffff}};
    parent_set(c.id, 0, HV_REGISTER_IDTR, &usual);
}

// ---- suspending, interrupts, injection ------------------------------------------------------

CODE(loop_code, "1: inc %ebx\n jmp 1b")

static void test_suspend(void)
{
    parent_set64(c.id, 0, HV_REGISTER_RBX, 0);
    RUN(&c, loop_code);
    comes_to(HV_REGISTER_RBX, 0, 1000);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    uint64_t first = parent_get64(c.id, 0, HV_REGISTER_RBX);
    delay_us(20000);
    uint64_t second = parent_get64(c.id, 0, HV_REGISTER_RBX);
    tap_ok(first > 1000 && first == second, "explicitly suspended, a VP stands still (%lu)", first);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    tap_ok(comes_to(HV_REGISTER_RBX, 0, second), "resumed, it goes on");
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
}

// It enables interrupts and sleeps; the handler of vector 0x40 is 0x20 bytes on.
CODE(irq_code, "movw $0x1020, 0x1f00\n sti\n 1: hlt\n jmp 1b\n"
               ".org irq_code + 0x20\n out %al, $0x77\n hlt")

static void test_interrupt(void)
{
    union hv_register_value table = {.table = {.limit = 0x3ff, .base = 0x1f00 - 4 * 0x40}};
    RUN(&c, irq_code);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    parent_set(c.id, 0, HV_REGISTER_IDTR, &table);
    *(volatile uint32_t *)((c.code_page << 12) + 0xf00) = 0;
    parent_set64(c.id, 0, HV_REGISTER_RIP, CHILD_CODE);
    parent_set64(c.id, 0, HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0);
    tap_is(parent_set64(c.id, 0, HV_REGISTER_APIC_SVR, 0x1ff), HV_STATUS_SUCCESS,
           "the parent enables the child's APIC");
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    delay_us(5000);
    struct hv_input_assert_virtual_interrupt in = {.partition_id = c.id,
                                                   .control = HV_INTERRUPT_TYPE_FIXED,
                                                   .destination_address = 0,
                                                   .vector = 0x40};
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in)), HV_STATUS_SUCCESS,
           "an interrupt is asserted");
    tap_ok(message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
               header()->rip == CHILD_CODE + 0x20,
           "the sleeping VP takes it (%x, %lx)", message.header.message_type, header()->rip);
    in.vector = 0x1000;
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in)),
           HV_STATUS_INVALID_PARAMETER, "a vector beyond 255 is refused");
    in.vector = 0x40;
    in.control = 1ul << 60;
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in)),
           HV_STATUS_INVALID_PARAMETER, "reserved control bits are refused");
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
}

// The parent gives the VP an exception, #UD, whose handler is 0x30 bytes on.
CODE(inject_code, "1: jmp 1b\n .org inject_code + 0x30\n out %al, $0x78\n hlt")

static void test_inject(void)
{
    union hv_register_value table = {.table = {.limit = 0x3ff, .base = 0x1f00}};
    RUN(&c, inject_code);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    parent_set(c.id, 0, HV_REGISTER_IDTR, &table);
    *(volatile uint32_t *)((c.code_page << 12) + 0xf00 + 4 * 6) = CHILD_CODE + 0x30;
    union hv_register_value event = {
        .reg128 = {HV_PENDING_EVENT_PENDING | 6ul << HV_PENDING_EXCEPTION_VECTOR_SHIFT, 0}};
    tap_is(parent_set(c.id, 0, HV_REGISTER_PENDING_EVENT0, &event), HV_STATUS_SUCCESS,
           "an exception is made pending");
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    tap_ok(message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
               header()->rip == CHILD_CODE + 0x30,
           "the VP takes it (%x, %lx)", message.header.message_type, header()->rip);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
}

// The message comes in a page of the VP's, and a message without it says so.
static void test_message_page(void)
{
    static const uint8_t code[] = {0xe6, 0x42, 0xf4}; // out 0x42, al; hlt
    const struct hv_opaque_intercept_message *opaque = (const void *)message.payload;
    struct hv_input_dispatch_vp dispatch = {.partition_id = c.id};
    struct hv_input_map_vp_state_page in = {.partition_id = c.id,
                                            .type = HV_VP_STATE_PAGE_INTERCEPT_MESSAGE,
                                            .flags = HV_VP_STATE_PAGE_LOCATION_PROVIDED,
                                            .requested_gpa_page = page_take()};
    const volatile struct hv_message *page =
        (const volatile struct hv_message *)(in.requested_gpa_page << 12);
    const volatile struct hv_x64_io_port_intercept_message *port =
        (const volatile void *)page->payload;
    uint64_t where = 0;
    tap_is(parent_call_out(HVCALL_MAP_VP_STATE_PAGE, &in, sizeof(in), &where, sizeof(where)),
           HV_STATUS_SUCCESS, "a VP gets a page for its messages");
    for (uint32_t i = 0; i < 2; i++) {
        child_run(&c, code, sizeof(code));
        tap_ok(message_wait(&message, PATIENCE_US) &&
                   message.header.message_type == HV_MESSAGE_TYPE_OPAQUE_INTERCEPT &&
                   message.header.origination_id == c.id && message.header.payload_size == 4 &&
                   opaque->vp_index == 0,
               "that there is one is told at SINT 0");
        tap_ok(page->header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
                   page->header.origination_id == c.id && port->port_number == 0x42 &&
                   port->header.rip == CHILD_CODE,
               "and it is in the page");
    }
    tap_is(parent_call_out(HVCALL_DISPATCH_VP, &dispatch, sizeof(dispatch), &where, sizeof(where)),
           HV_STATUS_OPERATION_DENIED, "where the hypervisor schedules nobody else does");
    struct hv_input_unmap_vp_state_page out = {.partition_id = c.id,
                                               .type = HV_VP_STATE_PAGE_INTERCEPT_MESSAGE};
    tap_is(parent_call(HVCALL_UNMAP_VP_STATE_PAGE, &out, sizeof(out)), HV_STATUS_SUCCESS,
           "the page goes");
    page_give(in.requested_gpa_page);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(child_prepare(&c), "a child with a page of code is made")) {
        return;
    }
    test_ports();
    test_string();
    test_cpuid();
    test_msr();
    test_memory();
    test_execute();
    test_exception();
    test_software_events();
    test_suspend();
    test_interrupt();
    test_inject();
    test_message_page();
    test_unrecoverable();
    tap_ok(child_delete(&c), "in the end every page comes back");
}
