// SPDX-License-Identifier: BSD-2-Clause-Patent
// Every register name of the reference: those that a parent may read and write can be, the value
// written is the value read, and every other name is refused.
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "parent.h"
#include "register_list.h"
#include "rootprobe.h"
#include "tap.h"

struct reg {
    const char *name;
    uint32_t number, count, access;
};

#define STEP(name) (HV_REGISTER_##name(1) - HV_REGISTER_##name(0))

struct family {
    struct reg reg;
    uint32_t step;
};

#define ONE(name, access)         {{#name, HV_REGISTER_##name, 1, access}, 0},
#define MANY(name, count, access) {{#name, HV_REGISTER_##name(0), count, access}, STEP(name)},
static const struct family registers[] = {REGISTER_LIST(ONE, MANY)};
#define REGISTERS (sizeof(registers) / sizeof(registers[0]))

static struct child c;

// What can be done with one: GET, SET.
static uint32_t access_to(uint32_t number)
{
    union hv_register_value value = {.reg128 = {0, 0}}, again = {.reg128 = {0, 0}};
    uint32_t access = parent_get(c.id, 0, number, &value) == HV_STATUS_SUCCESS ? GET : 0;
    if (parent_set(c.id, 0, number, &value) == HV_STATUS_SUCCESS) {
        access |= SET;
    }
    if (access == BOTH && number != HV_REGISTER_TSC) {
        parent_get(c.id, 0, number, &again);
        if (memcmp(&value, &again, sizeof(value))) {
            tap_note("register %x: %lx, then %lx", number, value.reg64, again.reg64);
            access = ~0u;
        }
    }
    return access;
}

static void test_names(void)
{
    unsigned wrong = 0, count = 0;
    for (unsigned i = 0; i < REGISTERS; i++) {
        const struct reg *r = &registers[i].reg;
        for (uint32_t n = 0; n < r->count; n++, count++) {
            uint32_t access = access_to(r->number + n * registers[i].step);
            bool right = access == r->access ||
                         (r->access == MAYBE && (access == BOTH || access == REFUSED));
            if (!right) {
                tap_note("%s %u: access %u, want %u", r->name, n, access, r->access);
                wrong++;
            }
        }
    }
    tap_is(wrong, 0, "each of %u registers can be read and written, or is refused, as listed",
           count);
}

static bool listed(uint32_t number)
{
    for (unsigned i = 0; i < REGISTERS; i++) {
        const struct reg *r = &registers[i].reg;
        for (uint32_t n = 0; n < r->count; n++) {
            if (number == r->number + n * registers[i].step) {
                return true;
            }
        }
    }
    return false;
}

// The first names of every class, and some behind every page of names.
static void test_other_names(void)
{
    unsigned wrong = 0;
    for (uint32_t class = 0; class < 0x10; class ++) {
        for (uint32_t low = 0; low < 0x120; low++) {
            uint32_t number = class << 16 | low;
            if (!listed(number) && access_to(number) != 0) {
                tap_note("register %x is there and not listed", number);
                wrong++;
            }
        }
    }
    tap_ok(access_to(0x7fffffff) == 0 && access_to(0xffffffff) == 0 && wrong == 0,
           "no name exists that is not listed");
}

// Three registers are 112 bytes: the value of the last is what XMM5 holds.
static void test_fast(void)
{
    static const uint32_t names[] = {HV_REGISTER_RBX, HV_REGISTER_RSI, HV_REGISTER_XMM(7)};
    uint64_t regs[14] = {c.id, 0}, wrong = 0;
    for (uint32_t i = 0; i < 3; i++) {
        regs[2 + 4 * i] = names[i];
        regs[4 + 4 * i] = 0x1111111122222222ul * (i + 1);
        regs[5 + 4 * i] = i == 2 ? 0x7777777788888888ul : 0;
    }
    tap_is(hv_call_xmm(hv_hypercall_control(HVCALL_SET_VP_REGISTERS, true, 0, 3), regs),
           hv_hypercall_result(HV_STATUS_SUCCESS, 3),
           "HvCallSetVpRegisters takes three registers in RDX, R8 and XMM0 to XMM5");
    for (uint32_t i = 0; i < 3; i++) {
        union hv_register_value value = {.reg128 = {0, 0}};
        parent_get(c.id, 0, names[i], &value);
        wrong += memcmp(&value, &regs[4 + 4 * i], sizeof(value)) != 0;
    }
    tap_is(wrong, 0, "and sets each to what its part of them holds");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    if (!tap_ok(child_prepare(&c), "a child is made")) {
        return;
    }
    test_fast();
    test_names();
    test_other_names();
    tap_ok(child_delete(&c), "every page comes back");
}
