// SPDX-License-Identifier: BSD-2-Clause-Patent
// A debugger's work on a guest from outside: breakpoints, watchpoints and single steps that the
// parent sets by HvCallSetVpRegisters and sees as intercepts of #DB.
// TLFS: Virtual Processors, registers DR0 to DR7 and RFLAGS; SDM 3B 17.2, 17.3; APM 2 13.1.
//
// rig: --lps 2
// rig: --lps 1
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define DB          1u
#define DR6_RESET   0xffff0ff0ul
#define DR6_B(n)    (1ul << (n))
#define DR6_BS      (1ul << 14)
#define DR7_FIXED   0x400ul
#define DR7_L(n)    (1ul << 2 * (n))
#define DR7_RW(n)   (1ul << (16 + 4 * (n))) // data writes
#define DR7_WORD(n) (1ul << (18 + 4 * (n))) // two bytes
#define RFLAGS_ONE  2ul
#define DATA        (CHILD_CODE + 0x800)

static struct child c;
static struct hv_message message;

static void set(uint32_t name, uint64_t value)
{
    tap_is(parent_set64(c.id, 0, name, value), HV_STATUS_SUCCESS, "register %x is set", name);
}

static uint64_t get(uint32_t name)
{
    return parent_get64(c.id, 0, name);
}

// 00 nop; 01 nop; 02 mov [DATA], ax; 05 inc bx; 06 out 0x42, al; 08 hlt
CODE(debug_code, "nop\n nop\n mov %ax, 0x1800\n inc %bx\n out %al, $0x42\n hlt")
#define AT_STORE     (CHILD_CODE + 2)
#define BEHIND_STORE (CHILD_CODE + 5)
#define AT_OUT       (CHILD_CODE + 6)

// The code from its start with these debug registers and flags.
static void start(uint64_t dr0, uint64_t dr7, uint64_t flags)
{
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    set(HV_REGISTER_DR0, dr0);
    set(HV_REGISTER_DR6, DR6_RESET);
    set(HV_REGISTER_DR7, DR7_FIXED | dr7);
    RUN(&c, debug_code);
    if (flags) { // set while it may run already: begin again
        parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
        while (message_wait(&message, 1000))
            continue;
        set(HV_REGISTER_INTERCEPT_SUSPEND, 0);
        set(HV_REGISTER_RIP, CHILD_CODE);
        set(HV_REGISTER_RFLAGS, RFLAGS_ONE | flags);
        parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    }
}

// #DB at this RIP, with these reasons.
static bool trapped(uint64_t rip, uint64_t reasons, const char *what)
{
    const struct hv_x64_exception_intercept_message *m = (const void *)message.payload;
    bool right = message_wait(&message, PATIENCE_US) &&
                 message.header.message_type == HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT &&
                 m->exception_vector == DB && m->header.rip == rip &&
                 (m->exception_parameter & 0xe00f) == reasons;
    tap_ok(right, "%s: #DB comes to the parent, with RIP and DR6", what);
    if (!right) {
        tap_note("type %x vector %u rip %lx (want %lx) DR6 %lx (want %lx)",
                 message.header.message_type, m->exception_vector, m->header.rip, rip,
                 m->exception_parameter, reasons);
    }
    return right;
}

static bool ends(const char *what)
{
    const struct hv_x64_intercept_message_header *h = (const void *)message.payload;
    return tap_ok(message_wait(&message, PATIENCE_US) &&
                      message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
                      h->rip == AT_OUT,
                  "%s: then the guest gets to its end", what);
}

static void test_registers(void)
{
    static const uint32_t names[] = {HV_REGISTER_DR0, HV_REGISTER_DR1, HV_REGISTER_DR2,
                                     HV_REGISTER_DR3};
    for (unsigned i = 0; i < 4; i++)
        set(names[i], 0x1111ul * (i + 1));
    bool right = true;
    for (unsigned i = 0; i < 4; i++)
        right &= get(names[i]) == 0x1111ul * (i + 1);
    tap_ok(right, "DR0 to DR3 read back");
    tap_is(parent_set64(c.id, 0, HV_REGISTER_DR6, 1ul << 32), HV_STATUS_INVALID_REGISTER_VALUE,
           "DR6 has no upper half");
    tap_is(parent_set64(c.id, 0, HV_REGISTER_DR7, 1ul << 32), HV_STATUS_INVALID_REGISTER_VALUE,
           "nor has DR7");
    tap_is(get(HV_REGISTER_DR7), DR7_FIXED, "no breakpoint is on at first");
}

// A fault: the instruction has not been executed; RF lets it.
static void test_breakpoint(void)
{
    start(AT_STORE, DR7_L(0), 0);
    if (trapped(AT_STORE, DR6_B(0), "breakpoint")) {
        set(HV_REGISTER_RFLAGS, get(HV_REGISTER_RFLAGS) | RFLAGS_RF);
        child_go(&c, AT_STORE);
    }
    ends("breakpoint passed by RF");
    start(AT_STORE, DR7_L(0), 0);
    if (trapped(AT_STORE, DR6_B(0), "breakpoint again")) {
        child_go(&c, AT_STORE);
        trapped(AT_STORE, DR6_B(0), "without RF it hits again");
        set(HV_REGISTER_DR7, DR7_FIXED);
        child_go(&c, AT_STORE);
    }
    ends("breakpoint off");
}

// A trap: the store has been made.
static void test_watchpoint(void)
{
    volatile uint16_t *data = (volatile uint16_t *)((c.code_page << 12) + 0x800);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    set(HV_REGISTER_RAX, 0x5aa5);
    start(DATA, DR7_L(0) | DR7_RW(0) | DR7_WORD(0), 0);
    if (trapped(BEHIND_STORE, DR6_B(0), "watchpoint")) {
        tap_is(*data, 0x5aa5, "the write has been made");
        child_go(&c, BEHIND_STORE);
    }
    ends("watchpoint");
}

static void test_steps(void)
{
    static const uint64_t at[] = {CHILD_CODE + 1, AT_STORE, BEHIND_STORE, AT_OUT};
    start(0, 0, RFLAGS_TF);
    bool right = true;
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]) && right; i++) {
        right = trapped(at[i], DR6_BS, "single step");
        if (at[i] == AT_OUT)
            set(HV_REGISTER_RFLAGS, RFLAGS_ONE);
        child_go(&c, at[i]);
    }
    ends("steps");
}

// An instruction that the hypervisor completes is stepped over like any other.
CODE(emulated_code, "xor %eax, %eax\n cpuid\n nop\n out %al, $0x42\n hlt")

static void test_emulated_step(void)
{
    static const uint64_t at[] = {CHILD_CODE + 3, CHILD_CODE + 5, CHILD_CODE + 6};
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    RUN(&c, emulated_code);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    while (message_wait(&message, 1000))
        continue;
    set(HV_REGISTER_RIP, CHILD_CODE);
    set(HV_REGISTER_RFLAGS, RFLAGS_ONE | RFLAGS_TF);
    parent_set64(c.id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    bool right = true;
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]) && right; i++) {
        right = trapped(at[i], DR6_BS, "step over CPUID");
        if (i + 1 == sizeof(at) / sizeof(at[0]))
            set(HV_REGISTER_RFLAGS, RFLAGS_ONE);
        child_go(&c, at[i]);
    }
    tap_ok(right && message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT,
           "step over CPUID: then the guest gets to its end");
}

// Nobody intercepts #DB: it is the guest's own, through its interrupt table.
CODE(own_code, "nop\n nop\n out %al, $0x42\n hlt\n .org own_code + 0x40\n"
               "mov %dr6, %eax\n out %al, $0x43\n hlt")

static void test_own(void)
{
    union hv_register_value table = {.table = {.limit = 0x3ff, .base = CHILD_CODE + 0xc00}};
    parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_NONE, DB);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    set(HV_REGISTER_DR0, CHILD_CODE + 1);
    set(HV_REGISTER_DR6, DR6_RESET);
    set(HV_REGISTER_DR7, DR7_FIXED);
    RUN(&c, own_code);
    bool through = message_wait(&message, PATIENCE_US);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1);
    ((volatile uint32_t *)((c.code_page << 12) + 0xc00))[DB] = CHILD_CODE + 0x40;
    parent_set(c.id, 0, HV_REGISTER_IDTR, &table);
    set(HV_REGISTER_DR7, DR7_FIXED | DR7_L(0));
    child_go(&c, CHILD_CODE);
    parent_set64(c.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 0);
    const struct hv_x64_io_port_intercept_message *m = (const void *)message.payload;
    tap_ok(through && message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
               m->port_number == 0x43,
           "without an intercept the guest's own handler takes the parent's breakpoint");
    tap_is(get(HV_REGISTER_RAX) & 0xe00f, DR6_B(0), "and finds the reason in DR6");
    tap_is(get(HV_REGISTER_DR6) & 0xe00f, DR6_B(0), "as does the parent");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(child_prepare(&c), "a child is made")) {
        return;
    }
    test_registers();
    tap_is(parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE, DB),
           HV_STATUS_SUCCESS, "an intercept of #DB is installed");
    test_breakpoint();
    test_watchpoint();
    test_steps();
    test_emulated_step();
    test_own();
    tap_ok(child_delete(&c), "every page comes back");
}
