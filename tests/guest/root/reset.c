// SPDX-License-Identifier: BSD-2-Clause-Patent
// A parent resets its child: the reset register comes to it as a message, and what only a system
// reset may clear can be cleared by it. TLFS: Reset Register, Establishing the Hypercall Interface.
//
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define PRIVILEGES                                                                                 \
    (HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX | HV_PRIV_ACCESS_RESET_REG)
#define PAGE   0x9000u
#define LOCKED (PAGE | HV_MSR_HYPERCALL_ENABLE | HV_MSR_HYPERCALL_LOCKED)

static struct child c;
static struct hv_message message;

CODE(write_code, "wrmsr\n out %al, $0x42\n hlt")

// Runs a WRMSR; the type of the message that it ends with.
static uint32_t writes(uint32_t msr, uint64_t value)
{
    parent_set64(c.id, 0, HV_REGISTER_RCX, msr);
    parent_set64(c.id, 0, HV_REGISTER_RAX, (uint32_t)value);
    parent_set64(c.id, 0, HV_REGISTER_RDX, value >> 32);
    RUN(&c, write_code);
    if (!message_wait(&message, PATIENCE_US)) {
        tap_bail_out("MSR %x: no message", msr);
    }
    return message.header.message_type;
}

static uint64_t hypercall_register(void)
{
    return parent_get64(c.id, 0, HV_REGISTER_HYPERCALL);
}

static bool prepare(void)
{
    return child_prepare_privileged(&c, PRIVILEGES) &&
           parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE,
                          VECTOR_GP) == HV_STATUS_SUCCESS;
}

static void test_lock(void)
{
    const uint32_t done = HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT;
    const uint32_t fault = HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT;
    tap_is(hypercall_register(), 0, "the hypercall MSR is 0 at first");
    tap_ok(writes(HV_X64_MSR_GUEST_OS_ID, HV_TEST_OS_ID) == done &&
               writes(HV_X64_MSR_HYPERCALL, LOCKED) == done && hypercall_register() == LOCKED,
           "a child locks it");
    tap_ok(writes(HV_X64_MSR_HYPERCALL, PAGE) == fault && hypercall_register() == LOCKED,
           "and cannot write it any more");
}

static void test_message(void)
{
    const struct hv_x64_msr_intercept_message *m = (const void *)message.payload;
    tap_ok(writes(HV_X64_MSR_RESET, 0) == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT,
           "a write of the reset MSR without its bit does nothing");
    tap_ok(writes(HV_X64_MSR_RESET, HV_MSR_RESET_RESET) == HV_MESSAGE_TYPE_MSR_INTERCEPT &&
               m->msr_number == HV_X64_MSR_RESET && m->rax == HV_MSR_RESET_RESET && m->rdx == 0 &&
               m->header.access_type == HV_INTERCEPT_ACCESS_WRITE,
           "with it, it asks the parent");
    tap_is(hypercall_register(), LOCKED, "which alone does not clear the lock");
}

// In place, as a VMM does that keeps its partition.
static void test_cleared(void)
{
    const uint32_t done = HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT;
    const uint64_t other = (PAGE + 0x1000) | HV_MSR_HYPERCALL_ENABLE;
    tap_is(parent_set64(c.id, 0, HV_REGISTER_HYPERCALL, 1ul << 51 | LOCKED),
           HV_STATUS_INVALID_REGISTER_VALUE, "a page beyond the GPA space is refused");
    tap_is(hypercall_register(), LOCKED, "and the lock stays");
    tap_ok(parent_set64(c.id, 0, HV_REGISTER_HYPERCALL, 0) == HV_STATUS_SUCCESS &&
               parent_set64(c.id, 0, HV_REGISTER_GUEST_OS_ID, 0) == HV_STATUS_SUCCESS &&
               hypercall_register() == 0,
           "Once set, only a system reset can clear the bit: by the parent");
    tap_ok(writes(HV_X64_MSR_GUEST_OS_ID, HV_TEST_OS_ID) == done &&
               writes(HV_X64_MSR_HYPERCALL, other) == done && hypercall_register() == other,
           "and the child places its page anew");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    for (unsigned i = 0; i < 2; i++) {
        if (!tap_ok(prepare(), "a child is made")) {
            return;
        }
        test_lock();
        test_message();
        test_cleared();
        tap_ok(writes(HV_X64_MSR_HYPERCALL, LOCKED) == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
                   child_delete(&c),
               "one that is locked is deleted, and every page comes back");
    }
}
