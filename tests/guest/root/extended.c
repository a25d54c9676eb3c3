// SPDX-License-Identifier: BSD-2-Clause-Patent
// Extended hypercalls: the parent that intercepts them carries them out; without the privilege or
// the intercept the hypervisor answers. TLFS: Extended Hypercall Interface.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define EXTENDED                                                                                   \
    (HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX | HV_PRIV_ENABLE_EXTENDED_HYPERCALLS)
#define OS_ID  0x8100000000000001ul
#define OUTPUT 0x1800u // in the code page

static struct child c;
static struct hv_message message;

// A 32-bit register to load, and its value.
#define LOAD(opcode, value)                                                                        \
    0x66, opcode, (value)&0xff, (value) >> 8 & 0xff, (value) >> 16 & 0xff, (value) >> 24 & 0xff
#define EAX 0xb8
#define ECX 0xb9
#define EDX 0xba
#define EBX 0xbb
#define ESI 0xbe
#define EDI 0xbf

// Protected mode, 16-bit code: the control word in EDX:EAX, operands in EBX:ECX and EDI:ESI. Then
// the result goes to a port.
#define CALLER(name, code_of)                                                                      \
    static uint8_t name[] = {LOAD(EAX, code_of),                                                   \
                             LOAD(EDX, 0),                                                         \
                             LOAD(EBX, 0),                                                         \
                             LOAD(ECX, 0),                                                         \
                             LOAD(EDI, 0),                                                         \
                             LOAD(ESI, OUTPUT),                                                    \
                             0x0f,                                                                 \
                             0x01,                                                                 \
                             0xd9,                                                                 \
                             0xe6,                                                                 \
                             0x42,                                                                 \
                             0xf4}
CALLER(query, HVCALL_EXT_QUERY_CAPABILITIES);
CALLER(zeroed, HVCALL_EXT_GET_BOOT_ZEROED_MEMORY);
CALLER(nothing, 0xfffe);
#define CALL_OFFSET 36
#define CALL_AT     (CHILD_CODE + CALL_OFFSET)

static bool comes(uint32_t type)
{
    message.header.message_type = 0;
    bool came = message_wait(&message, PATIENCE_US) && message.header.message_type == type;
    if (!came) {
        tap_note("type %x, want %x", message.header.message_type, type);
    }
    return came;
}

static void run(const uint8_t *code, uint64_t size)
{
    parent_set64(c.id, 0, HV_REGISTER_CR0, CR0_PE | CR0_NE);
    child_run(&c, code, size);
}

static uint32_t result(void)
{
    return (uint32_t)parent_get64(c.id, 0, HV_REGISTER_RAX);
}

static uint64_t output(void)
{
    return *(volatile uint64_t *)((c.code_page << 12) + (OUTPUT & 0xfff));
}

static bool prepare(uint64_t privileges)
{
    struct hv_input_set_partition_property in = {0, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS, 0,
                                                 privileges};
    c = (struct child){0};
    uint16_t status = parent_create(0, &c.id);
    if (status == HV_STATUS_SUCCESS) {
        in.partition_id = c.id;
        status = parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
    }
    if (status != HV_STATUS_SUCCESS) {
        tap_note("privileges: status %x", status);
        return false;
    }
    if (!child_prepare_created(&c)) {
        return false;
    }
    parent_set64(c.id, 0, HV_REGISTER_GUEST_OS_ID, OS_ID);
    return parent_set64(c.id, 0, HV_REGISTER_HYPERCALL, 0x9000 | HV_MSR_HYPERCALL_ENABLE) ==
           HV_STATUS_SUCCESS;
}

static void test_own_answers(void)
{
    struct hv_input_get_partition_property in = {c.id, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS, 0};
    uint64_t privileges = 0;
    parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), &privileges,
                    sizeof(privileges));
    tap_ok(privileges & HV_PRIV_ENABLE_EXTENDED_HYPERCALLS, "a child may have extended hypercalls");
    run(query, sizeof(query));
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) && result() == HV_STATUS_SUCCESS &&
               output() == 0,
           "HvExtCallQueryCapabilities: without a parent that carries them out there are none (%x)",
           result());
    run(zeroed, sizeof(zeroed));
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) &&
               result() == HV_STATUS_INVALID_HYPERCALL_CODE,
           "and the others do not exist (%x)", result());
}

// What the message has, and that the caller goes on with what the parent gives it.
static void test_forwarded(void)
{
    const struct hv_x64_hypercall_intercept_message *m = (const void *)message.payload;
    tap_is(parent_install(c.id, HV_INTERCEPT_TYPE_HYPERCALL, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 0),
           HV_STATUS_SUCCESS, "a parent intercepts extended calls");
    parent_set64(c.id, 0, HV_REGISTER_R8, 0x8888);
    run(zeroed, sizeof(zeroed));
    tap_ok(comes(HV_MESSAGE_TYPE_HYPERCALL_INTERCEPT) &&
               message.header.payload_size == sizeof(*m) && m->header.rip == CALL_AT &&
               (m->header.length_cr8 & HV_INTERCEPT_LENGTH_MASK) == 3,
           "they become messages, RIP at the call");
    tap_ok((uint32_t)m->rax == HVCALL_EXT_GET_BOOT_ZEROED_MEMORY && (uint32_t)m->rdx == 0 &&
               (uint32_t)m->rsi == OUTPUT && (uint32_t)m->rdi == 0 && m->r8 == 0x8888 &&
               m->flags == 0,
           "with the caller's registers");
    uint32_t written = 0;
    uint64_t ranges[2] = {1, 0};
    parent_write_gpa(c.id, OUTPUT, 8, ranges, &written);
    parent_set64(c.id, 0, HV_REGISTER_RAX, HV_STATUS_SUCCESS);
    parent_set64(c.id, 0, HV_REGISTER_RDX, 0);
    child_go(&c, CALL_AT + 3);
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) && result() == HV_STATUS_SUCCESS &&
               output() == 1,
           "the parent's answer is what the call returns");
    tap_is(parent_install(c.id, HV_INTERCEPT_TYPE_HYPERCALL, 0, 0), HV_STATUS_SUCCESS,
           "the intercept is removed");
    run(zeroed, sizeof(zeroed));
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) &&
               result() == HV_STATUS_INVALID_HYPERCALL_CODE,
           "and the hypervisor answers again");
}

static void test_denied(void)
{
    parent_install(c.id, HV_INTERCEPT_TYPE_HYPERCALL, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 0);
    run(query, sizeof(query));
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) && result() == HV_STATUS_ACCESS_DENIED,
           "without EnableExtendedHypercalls they are denied, intercepted or not (%x)", result());
    run(zeroed, sizeof(zeroed));
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) && result() == HV_STATUS_ACCESS_DENIED,
           "so are those that the hypervisor does not know (%x)", result());
    run(nothing, sizeof(nothing));
    tap_ok(comes(HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT) && result() == HV_STATUS_ACCESS_DENIED,
           "and those that nobody knows: the status tells nothing (%x)", result());
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (hv_page[2] != query[CALL_OFFSET + 2]) { // VMCALL instead of VMMCALL
        query[CALL_OFFSET + 2] = zeroed[CALL_OFFSET + 2] = nothing[CALL_OFFSET + 2] = hv_page[2];
    }
    if (!tap_ok(prepare(EXTENDED), "a child with extended hypercalls is made")) {
        return;
    }
    test_own_answers();
    test_forwarded();
    tap_ok(child_delete(&c), "every page comes back");
    if (tap_ok(prepare(EXTENDED & ~HV_PRIV_ENABLE_EXTENDED_HYPERCALLS), "one without is made")) {
        test_denied();
        tap_ok(child_delete(&c), "every page comes back");
    }
}
