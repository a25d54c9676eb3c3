// SPDX-License-Identifier: BSD-2-Clause-Patent
// vmx/task.c: task switches against a memory of 64 KiB, by the rules of SDM 3A 8.2-8.5.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/x86.h"
#include "vmx/task.h"

#define MEMORY 0x10000u
#define GDT    0x1000u
#define LDT    0x1800u
#define OLD    0x2000u // TSS
#define NEW    0x3000u
#define STACK  0x8000u

enum { // selectors
    CODE0 = 0x08,
    DATA0 = 0x10,
    TSS_OLD = 0x18,
    TSS_NEW = 0x20,
    TSS_16 = 0x28,
    CODE3 = 0x30 | 3,
    DATA3 = 0x38 | 3,
    ABSENT = 0x40,
    READ_ONLY = 0x48,
    SEL_LDT = 0x50,
    LOCAL = 0x0c, // entry 1 of the LDT
    BEYOND = 0x100
};

static uint8_t memory[MEMORY];
static uint32_t forbidden; // a page that cannot be reached, 0: none
static uint32_t cr3;
static struct task_cpu cpu;
static uint32_t vector, error;

static bool reach(uint64_t linear, uint32_t size)
{
    ck_assert_uint_le(linear + size, MEMORY);
    return !forbidden || linear + size <= forbidden || linear >= forbidden + 0x1000;
}

static bool mem_read(void *context, uint64_t linear, void *buffer, uint32_t size)
{
    (void)context;
    if (reach(linear, size))
        memcpy(buffer, memory + linear, size);
    return reach(linear, size);
}

static bool mem_write(void *context, uint64_t linear, const void *buffer, uint32_t size)
{
    (void)context;
    if (reach(linear, size))
        memcpy(memory + linear, buffer, size);
    return reach(linear, size);
}

static void set_cr3(void *context, uint32_t value)
{
    (void)context;
    cr3 = value;
}

static const struct task_memory m = {mem_read, mem_write, set_cr3, NULL};

static void put(uint32_t at, uint32_t size, uint64_t value)
{
    memcpy(memory + at, &value, size);
}

static uint64_t get(uint32_t at, uint32_t size)
{
    uint64_t value = 0;
    memcpy(&value, memory + at, size);
    return value;
}

static void descriptor(uint32_t at, uint32_t base, uint32_t limit, uint32_t attributes)
{
    put(at, 8,
        (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)attributes << 40 |
            (uint64_t)(limit & 0xf0000) << 32 | (uint64_t)(base >> 24) << 56);
}

static uint8_t type(uint32_t selector)
{
    return memory[GDT + (selector & 0xfff8) + 5];
}

static void new_tss(uint32_t at, uint32_t flags, uint32_t code, uint32_t data)
{
    put(at + 0x1c, 4, 0x7000);
    put(at + 0x20, 4, 0x4444);
    put(at + 0x24, 4, flags);
    for (uint32_t i = 0; i < 8; i++)
        put(at + 0x28 + 4 * i, 4, 0x100 + i);
    put(at + 0x38, 4, STACK);
    for (uint32_t i = 0; i < 6; i++)
        put(at + 0x48 + 4 * i, 4, i == TASK_CS ? code : data);
    put(at + 0x60, 4, SEL_LDT);
}

static void setup(void)
{
    memset(memory, 0, MEMORY);
    forbidden = cr3 = vector = error = 0;
    descriptor(GDT + CODE0, 0, 0xfffff, 0xc09a);
    descriptor(GDT + DATA0, 0, 0xfffff, 0xc092);
    descriptor(GDT + TSS_OLD, OLD, 0x67, 0x008b);
    descriptor(GDT + TSS_NEW, NEW, 0x67, 0x0089);
    descriptor(GDT + TSS_16, NEW, 0x2b, 0x0081);
    descriptor(GDT + (CODE3 & ~3), 0, 0xfffff, 0xc0fa);
    descriptor(GDT + (DATA3 & ~3), 0, 0xfffff, 0xc0f2);
    descriptor(GDT + ABSENT, 0, 0xfffff, 0xc012);
    descriptor(GDT + READ_ONLY, 0, 0xfffff, 0xc090);
    descriptor(GDT + SEL_LDT, LDT, 0xf, 0x0082);
    descriptor(LDT + 8, 0x500, 0xff, 0x4092);
    new_tss(NEW, 0x46, CODE0, DATA0);
    cpu = (struct task_cpu){.eip = 0x1234,
                            .eflags = 0x4246, // NT
                            .cr3 = 0x5000,
                            .paging = true,
                            .gdt_base = GDT,
                            .gdt_limit = 0x57};
    for (uint32_t i = 0; i < 8; i++)
        cpu.gpr[i] = 0x200 + i;
    for (uint32_t i = 0; i < 6; i++)
        cpu.segment[i] = (struct hv_x64_segment_register){0, ~0u, i == TASK_CS ? CODE0 : DATA0,
                                                          i == TASK_CS ? 0xc09b : 0xc093};
    cpu.segment[TASK_TR] = (struct hv_x64_segment_register){OLD, 0x67, TSS_OLD, 0x8b};
}

static enum task_outcome go(uint16_t selector, enum task_source source)
{
    return task_switch(&cpu, &m, selector, source, &vector, &error);
}

START_TEST(registers_come_and_go)
{
    ck_assert_int_eq(go(TSS_NEW, TASK_JUMP), TASK_DONE);
    ck_assert_uint_eq(get(OLD + 0x20, 4), 0x1234);
    ck_assert_uint_eq(get(OLD + 0x24, 4), 0x4246);
    for (uint32_t i = 0; i < 8; i++) {
        ck_assert_uint_eq(get(OLD + 0x28 + 4 * i, 4), 0x200 + i);
        ck_assert_uint_eq(cpu.gpr[i], i == 4 ? STACK : 0x100 + i);
    }
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_uint_eq(get(OLD + 0x48 + 4 * i, 4), i == TASK_CS ? CODE0 : DATA0);
    ck_assert_uint_eq(get(OLD + 0x1c, 4), 0); // CR3 and LDT are not saved
    ck_assert_uint_eq(cpu.eip, 0x4444);
    ck_assert_uint_eq(cpu.eflags, 0x46);
    ck_assert_uint_eq(cr3, 0x7000);
    ck_assert_uint_eq(cpu.segment[TASK_CS].attributes, 0xc09b);
    ck_assert_uint_eq(cpu.segment[TASK_SS].limit, ~0u);
    ck_assert_uint_eq(cpu.segment[TASK_LDTR].base, LDT);
    ck_assert_uint_eq(cpu.segment[TASK_TR].base, NEW);
    ck_assert_uint_eq(cpu.segment[TASK_TR].selector, TSS_NEW);
    ck_assert_uint_eq(cpu.segment[TASK_TR].attributes, 0x8b);
}
END_TEST

// SDM 3A table 8-2: busy bits of both, link, NT of both, by JMP, CALL or gate, IRET.
START_TEST(links_and_busy_bits)
{
    static const struct {
        enum task_source source;
        uint8_t old_type, new_type;
        uint32_t link, saved_flags, flags;
    } rows[] = {
        {TASK_JUMP, 0x89, 0x8b, 0, 0x4246, 0x46},
        {TASK_CALL, 0x8b, 0x8b, TSS_OLD, 0x4246, 0x4046},
        {TASK_GATE, 0x8b, 0x8b, TSS_OLD, 0x4246, 0x4046},
        {TASK_IRET, 0x89, 0x8b, 0, 0x246, 0x46},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setup();
        if (rows[i].source == TASK_IRET)
            memory[GDT + TSS_NEW + 5] |= 2; // it has called this one
        ck_assert_int_eq(go(TSS_NEW, rows[i].source), TASK_DONE);
        ck_assert_uint_eq(type(TSS_OLD), rows[i].old_type);
        ck_assert_uint_eq(type(TSS_NEW), rows[i].new_type);
        ck_assert_uint_eq(get(NEW, 2), rows[i].link);
        ck_assert_uint_eq(get(OLD + 0x24, 4), rows[i].saved_flags);
        ck_assert_uint_eq(cpu.eflags, rows[i].flags);
    }
}
END_TEST

START_TEST(sixteen_bits)
{
    memset(memory + NEW, 0, 0x68);
    put(NEW + 0xe, 2, 0x4444);
    put(NEW + 0x10, 2, 0x46);
    for (uint32_t i = 0; i < 8; i++)
        put(NEW + 0x12 + 2 * i, 2, 0x100 + i);
    for (uint32_t i = 0; i < 4; i++)
        put(NEW + 0x22 + 2 * i, 2, i == TASK_CS ? CODE0 : DATA0);
    ck_assert_int_eq(go(TSS_16, TASK_CALL), TASK_DONE);
    ck_assert_uint_eq(cpu.eip, 0x4444);
    ck_assert_uint_eq(cpu.gpr[7], 0x107);
    ck_assert_uint_eq(cpu.segment[TASK_DS].selector, DATA0);
    ck_assert_uint_eq(cpu.segment[TASK_FS].selector, 0);
    ck_assert_uint_eq(cr3, 0); // it has none
    cpu.gpr[4] = STACK;
    ck_assert(task_push(&cpu, &m, 0x9abc));
    ck_assert_uint_eq(cpu.gpr[4], STACK - 2);
    ck_assert_uint_eq(get(STACK - 2, 4), 0x9abc);
    // And back, into the 32-bit one.
    ck_assert_int_eq(go(TSS_OLD, TASK_IRET), TASK_DONE);
    ck_assert_uint_eq(get(NEW + 0x12 + 8, 2), STACK - 2);
    ck_assert_uint_eq(cpu.eip, 0x1234);
    ck_assert_uint_eq(cpu.gpr[0], 0x200);
}
END_TEST

START_TEST(another_ring_and_virtual_8086)
{
    new_tss(NEW, 0x46, CODE3, DATA3);
    ck_assert_int_eq(go(TSS_NEW, TASK_JUMP), TASK_DONE);
    ck_assert_uint_eq(cpu.segment[TASK_SS].attributes, 0xc0f3);
    ck_assert_uint_eq(memory[GDT + (DATA3 & ~3) + 5], 0xf3); // accessed
    setup();
    new_tss(NEW, 0x20046, 0x1234, BEYOND);
    ck_assert_int_eq(go(TSS_NEW, TASK_JUMP), TASK_DONE);
    ck_assert_uint_eq(cpu.segment[TASK_CS].base, 0x12340);
    ck_assert_uint_eq(cpu.segment[TASK_DS].base, BEYOND << 4);
    ck_assert_uint_eq(cpu.segment[TASK_DS].attributes, 0xf3);
}
END_TEST

// One row a segment and selector that cannot be (SDM 3A table 8-1).
START_TEST(segments_that_cannot_be)
{
    static const struct {
        uint32_t at, selector, vector;
    } rows[] = {
        {0x60, DATA0, EXC_TS},     {0x60, LOCAL, EXC_TS},     {0x60, BEYOND, EXC_TS},
        {0x4c, 0, EXC_TS},         {0x4c, DATA0, EXC_TS},     {0x4c, CODE0 | 3, EXC_TS},
        {0x50, 0, EXC_TS},         {0x50, CODE0, EXC_TS},     {0x50, READ_ONLY, EXC_TS},
        {0x50, DATA0 | 3, EXC_TS}, {0x50, ABSENT, EXC_SS},    {0x54, ABSENT, EXC_NP},
        {0x48, BEYOND, EXC_TS},    {0x58, DATA0 | 3, EXC_TS}, {0x5c, TSS_OLD, EXC_TS},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setup();
        put(NEW + rows[i].at, 4, rows[i].selector);
        ck_assert_msg(go(TSS_NEW, TASK_JUMP) == TASK_BAD, "row %u", i);
        ck_assert_msg(vector == rows[i].vector, "row %u: vector %u", i, vector);
        ck_assert_uint_eq(error, rows[i].selector & ~3u);
        ck_assert_uint_eq(cpu.eip, 0x4444); // in the new task
    }
    setup();
    put(NEW + 0x54, 4, LOCAL);
    put(NEW + 0x58, 4, 0);
    ck_assert_int_eq(go(TSS_NEW, TASK_JUMP), TASK_DONE);
    ck_assert_uint_eq(cpu.segment[TASK_DS].base, 0x500);
    ck_assert_uint_eq(cpu.segment[TASK_FS].attributes, 0);
}
END_TEST

START_TEST(what_cannot_be_reached)
{
    static const uint32_t early[] = {GDT, OLD, NEW};
    struct task_cpu before = cpu;

    for (unsigned i = 0; i < 3; i++) {
        forbidden = early[i];
        ck_assert_int_eq(go(TSS_NEW, TASK_CALL), TASK_NO_MEMORY);
        ck_assert_int_eq(memcmp(&before, &cpu, sizeof(cpu)), 0);
    }
    forbidden = LDT & ~0xfffu;
    descriptor(GDT + SEL_LDT, 0x6000, 0xf, 0x0082);
    forbidden = 0x6000;
    put(NEW + 0x54, 4, LOCAL);
    ck_assert_int_eq(go(TSS_NEW, TASK_CALL), TASK_LOST_MEMORY);
    forbidden = STACK - 0x1000;
    ck_assert(!task_push(&cpu, &m, 1));
    ck_assert_uint_eq(cpu.gpr[4], STACK);
}
END_TEST

START_TEST(the_debug_trap)
{
    put(NEW + 0x64, 2, 1);
    ck_assert_int_eq(go(TSS_NEW, TASK_CALL), TASK_TRAP);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vmx_task");
    TCase *c = tcase_create("switches");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, registers_come_and_go);
    tcase_add_test(c, links_and_busy_bits);
    tcase_add_test(c, sixteen_bits);
    tcase_add_test(c, another_ring_and_virtual_8086);
    tcase_add_test(c, segments_that_cannot_be);
    tcase_add_test(c, what_cannot_be_reached);
    tcase_add_test(c, the_debug_trap);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
