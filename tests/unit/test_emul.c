// SPDX-License-Identifier: BSD-2-Clause-Patent
// The device emulation against the host's own processor, and by example where the host cannot run
// the case (16- and 32-bit code, faults, bounded repetition).
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "root/lib/emul.h"

enum { RAM_SIZE = 0x10000, DEVICE_BASE = 0x20000, DEVICE_SIZE = 0x2000, NOTHING = 0x40000 };

static uint8_t memory[DEVICE_BASE + DEVICE_SIZE]; // RAM, a hole, device memory
static unsigned device_reads, device_writes, port_accesses, translations;
static uint64_t fault_at; // translate() refuses this page
static uint16_t last_port;
static uint8_t port_log[2 * EMUL_SHARE];
static unsigned port_bytes;
static uint32_t port_input;
static struct emul_registers regs;

static bool bus_translate(void *ctx, uint64_t linear, bool is_write, uint64_t *gpa)
{
    (void)ctx, (void)is_write;
    translations++;
    if (linear / 4096 == fault_at / 4096 || linear >= NOTHING) {
        return false;
    }
    *gpa = linear;
    return true;
}

static void copy(uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    ck_assert_uint_le(gpa + size, sizeof memory);
    if (is_write) {
        memcpy(memory + gpa, value, size);
    } else {
        *value = 0;
        memcpy(value, memory + gpa, size);
    }
}

static bool bus_ram(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    (void)ctx;
    ck_assert_uint_le(gpa % 4096 + size, 4096);
    if (gpa >= RAM_SIZE) {
        return false;
    }
    copy(gpa, size, is_write, value);
    return true;
}

static void bus_device(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    (void)ctx;
    ck_assert(size == 1 || size == 2 || size == 4 || size == 8);
    ck_assert_uint_le(gpa % 4096 + size, 4096);
    ck_assert_uint_ge(gpa, DEVICE_BASE);
    copy(gpa, size, is_write, value);
    device_reads += !is_write;
    device_writes += is_write;
}

static void bus_port(void *ctx, uint16_t port, unsigned size, bool is_write, uint32_t *value)
{
    (void)ctx;
    last_port = port;
    port_accesses++;
    if (!is_write) {
        *value = port_input++;
        return;
    }
    ck_assert_uint_le(port_bytes + size, sizeof port_log);
    memcpy(port_log + port_bytes, value, size);
    port_bytes += size;
}

static const struct emul_bus bus = {
    .translate = bus_translate, .ram = bus_ram, .device = bus_device, .port = bus_port};

static void setup(void)
{
    memset(&regs, 0, sizeof regs);
    regs.cs_long = true;
    regs.rip = 0x1000;
    regs.rflags = 2;
    for (unsigned i = 0; i < sizeof memory; i++) {
        memory[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    device_reads = device_writes = port_accesses = port_bytes = translations = 0;
    fault_at = UINT64_MAX;
    port_input = 0x44332211;
}

// ---- against the host's processor --------------------------------------------------------------

enum { ARITHMETIC = 0x8D5, ADJUST = 0x10 };

static uint8_t *code_page;
static uint64_t cell;

static bool cell_ram(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    (void)ctx, (void)gpa, (void)size, (void)is_write, (void)value;
    ck_abort_msg("an operand was looked for in RAM");
    return false;
}

static void cell_device(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    (void)ctx;
    ck_assert_uint_eq(gpa, DEVICE_BASE);
    if (is_write) {
        memcpy(&cell, value, size);
    } else {
        memcpy(value, &cell, size);
    }
}

static struct emul_registers before; // what the guest's registers hold

static bool cell_fetch(void *ctx, uint32_t registers)
{
    struct emul_registers *r = ctx;

    for (unsigned i = 0; i < EMUL_REGISTERS; i++) {
        if (registers >> i & 1) {
            r->gpr[i] = before.gpr[i];
        }
    }
    return true;
}

// Runs the code page with these registers; the memory operand is at RDI.
static void run_native(struct emul_registers *r, uint64_t *operand)
{
    register uint64_t r8 __asm__("r8") = r->gpr[8];
    register uint64_t r9 __asm__("r9") = r->gpr[9];
    register uint64_t r10 __asm__("r10") = r->gpr[10];
    register uint64_t r11 __asm__("r11") = r->gpr[11];
    register uint64_t flags __asm__("r12") = r->rflags | 2;
    register const void *code __asm__("r13") = code_page;
    __asm__ volatile("lea -128(%%rsp), %%rsp\n"
                     "push %[flags]\n"
                     "popfq\n"
                     "call *%[code]\n"
                     "pushfq\n"
                     "pop %[flags]\n"
                     "lea 128(%%rsp), %%rsp\n"
                     : "+a"(r->gpr[0]), "+c"(r->gpr[1]), "+d"(r->gpr[2]), "+b"(r->gpr[3]), "+r"(r8),
                       "+r"(r9), "+r"(r10), "+r"(r11), [flags] "+r"(flags)
                     : [code] "r"(code), "D"(operand)
                     : "memory", "cc");
    r->gpr[8] = r8;
    r->gpr[9] = r9;
    r->gpr[10] = r10;
    r->gpr[11] = r11;
    r->rflags = flags & ARITHMETIC;
}

static uint64_t noise(void)
{
    static const uint64_t corners[] = {0,          1,         0x7F,       0x80,       0xFF,
                                       0x7FFF,     0x8000,    0xFFFF,     0x7FFFFFFF, 0x80000000,
                                       UINT32_MAX, INT64_MAX, 1ull << 63, UINT64_MAX};
    const unsigned pick = (unsigned)rand() % 28;
    if (pick < sizeof corners / sizeof corners[0]) {
        return corners[pick];
    }
    return (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
}

static void compare(const uint8_t *code, unsigned length, bool adjust_undefined)
{
    struct emul_registers native = {.cs_long = true, .rip = 0x1000};
    const uint64_t content = noise();
    uint64_t operand = content;

    for (unsigned i = 0; i < EMUL_REGISTERS; i++) {
        native.gpr[i] = noise();
    }
    native.rflags = noise() & ARITHMETIC;
    struct emul_registers emulated = before = native;
    const struct emul_bus cell_bus = {.ctx = &emulated,
                                      .fetch = cell_fetch,
                                      .translate = bus_translate,
                                      .ram = cell_ram,
                                      .device = cell_device,
                                      .port = bus_port};
    for (unsigned i = 0; i < EMUL_REGISTERS; i++) {
        emulated.gpr[i] = noise();
    }
    memcpy(code_page, code, length);
    code_page[length] = 0xC3;
    run_native(&native, &operand);
    cell = content;
    for (unsigned count = 0; count < length; count++) {
        ck_assert_int_eq(emul_memory(&emulated, code, count, DEVICE_BASE, &cell_bus), EMUL_SHORT);
    }
    ck_assert_int_eq(emul_memory(&emulated, code, length, DEVICE_BASE, &cell_bus), EMUL_DONE);
    ck_assert_uint_eq(emulated.rip, 0x1000 + length);
    ck_assert_uint_eq(cell, operand);
    for (unsigned i = 0; i < EMUL_REGISTERS; i++) {
        ck_assert_uint_eq(emulated.changed >> i & 1 ? emulated.gpr[i] : before.gpr[i],
                          native.gpr[i]);
    }
    const uint64_t ignored = adjust_undefined ? ADJUST : 0;
    ck_assert_uint_eq(emulated.rflags & ~ignored, native.rflags & ~ignored);
}

struct encoding {
    uint8_t map; // 0x0F or 0
    uint8_t opcode;
    int8_t extension;  // ModRM.reg, or -1 for a register
    uint8_t immediate; // bytes; 0xFF: of the operand's size
    bool adjust_undefined;
};

static unsigned put_operand(uint8_t *code, unsigned reg, unsigned form)
{
    const uint8_t modrm = (uint8_t)(reg << 3);
    switch (form) {
    case 0: // [rdi]
        code[0] = modrm | 7;
        return 1;
    case 1: // [rdi + 0], one byte
        code[0] = modrm | 0x47;
        code[1] = 0;
        return 2;
    case 2: // [rdi + 0], four bytes
        code[0] = modrm | 0x87;
        memset(code + 1, 0, 4);
        return 5;
    default: // [rdi + 0] with SIB
        code[0] = modrm | 0x44;
        code[1] = 0x27;
        code[2] = 0;
        return 3;
    }
}

static void compare_encoding(const struct encoding *e)
{
    static const uint8_t prefixes[] = {0, 0x66, 0x40, 0x48, 0x44, 0x4C};
    for (unsigned round = 0; round < 6 * 8 * 4 * 4; round++) {
        const uint8_t prefix = prefixes[round % 6];
        const bool rex = (prefix & 0xF0) == 0x40;
        const bool byte_register = !(e->opcode & 1) && !e->map;
        unsigned reg = round / 6 % 8, length = 0;
        uint8_t code[16];
        if (prefix == 0x66 && e->opcode == 0xC3) {
            continue; // not MOVNTI
        }
        if (prefix == 0x66 && e->opcode == 0x63) {
            continue; // vendors differ
        }
        if (e->extension >= 0) {
            reg = (unsigned)e->extension;
        } else if (reg >= 4 && (rex || !byte_register)) {
            reg -= 4; // keep off the stack and index registers
        }
        if (prefix) {
            code[length++] = prefix;
        }
        if (e->map) {
            code[length++] = e->map;
        }
        code[length++] = e->opcode;
        length += put_operand(code + length, reg, round / 48 % 4);
        unsigned immediate = e->immediate;
        if (immediate == 0xFF) {
            immediate = prefix == 0x66 ? 2 : 4;
        }
        const uint64_t value = noise();
        memcpy(code + length, &value, immediate);
        compare(code, length + immediate, e->adjust_undefined);
    }
}

START_TEST(test_against_processor_alu)
{
    for (unsigned alu = 0; alu < 8; alu++) {
        const bool logical = alu == 1 || alu == 4 || alu == 6;
        for (uint8_t form = 0; form < 4; form++) {
            compare_encoding(&(struct encoding){0, (uint8_t)(alu << 3 | form), -1, 0, logical});
        }
        const int8_t extension = (int8_t)alu;
        compare_encoding(&(struct encoding){0, 0x80, extension, 1, logical});
        compare_encoding(&(struct encoding){0, 0x81, extension, 0xFF, logical});
        compare_encoding(&(struct encoding){0, 0x83, extension, 1, logical});
    }
}
END_TEST

START_TEST(test_against_processor_moves)
{
    static const struct encoding rows[] = {
        {0, 0x84, -1, 0, true},     {0, 0x85, -1, 0, true},     {0, 0x86, -1, 0, false},
        {0, 0x87, -1, 0, false},    {0, 0x88, -1, 0, false},    {0, 0x89, -1, 0, false},
        {0, 0x8A, -1, 0, false},    {0, 0x8B, -1, 0, false},    {0, 0xC6, 0, 1, false},
        {0, 0xC7, 0, 0xFF, false},  {0, 0xF6, 0, 1, true},      {0, 0xF7, 0, 0xFF, true},
        {0, 0x63, -1, 0, false},    {0x0F, 0xB6, -1, 0, false}, {0x0F, 0xB7, -1, 0, false},
        {0x0F, 0xBE, -1, 0, false}, {0x0F, 0xBF, -1, 0, false}, {0x0F, 0xC3, -1, 0, false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        compare_encoding(&rows[i]);
    }
}
END_TEST

// ---- by example --------------------------------------------------------------------------------

#define MEMORY(...)                                                                                \
    on_memory((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define PORT(...) on_port((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static enum emul_result on_memory(const uint8_t *bytes, unsigned count)
{
    return emul_memory(&regs, bytes, count, DEVICE_BASE + 0x10, &bus);
}

static enum emul_result on_port(const uint8_t *bytes, unsigned count)
{
    return emul_port_string(&regs, bytes, count, &bus);
}

static uint64_t device_word(unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, memory + DEVICE_BASE + 0x10, size);
    return value;
}

START_TEST(test_lengths_by_mode)
{
    static const struct {
        bool cs_long, cs_default;
        uint8_t length;
        uint8_t bytes[12];
    } rows[] = {
        {true, false, 6, {0x8B, 0x05, 1, 2, 3, 4}},                    // mov eax, [rip+x]
        {true, false, 7, {0x8B, 0x04, 0x25, 1, 2, 3, 4}},              // mov eax, [abs]
        {true, false, 9, {0xA1, 1, 2, 3, 4, 5, 6, 7, 8}},              // mov eax, moffs64
        {true, false, 6, {0x67, 0xA1, 1, 2, 3, 4}},                    // mov eax, moffs32
        {true, false, 3, {0x8B, 0x04, 0x18}},                          // mov eax, [rax+rbx]
        {true, false, 11, {0x48, 0xC7, 0x87, 1, 2, 3, 4, 5, 6, 7, 8}}, // mov qword [rdi+x], imm
        {true, false, 9, {0x66, 0xC7, 0x87, 1, 2, 3, 4, 5, 6}},        // mov word [rdi+x], imm
        {false, true, 5, {0xA1, 1, 2, 3, 4}},                          // mov eax, moffs32
        {false, true, 6, {0x8B, 0x0D, 1, 2, 3, 4}},                    // mov ecx, [abs]
        {false, true, 4, {0x67, 0x8B, 0x46, 1}},                       // mov eax, [bp+1]
        {false, false, 3, {0xA1, 1, 2}},                               // mov ax, moffs16
        {false, false, 4, {0x8B, 0x0E, 1, 2}},                         // mov cx, [abs]
        {false, false, 2, {0x8B, 0x04}},                               // mov ax, [si]
        {false, false, 3, {0x8B, 0x44, 1}},                            // mov ax, [si+1]
        {false, false, 4, {0x8B, 0x84, 1, 2}},                         // mov ax, [si+x]
        {false, false, 5, {0x67, 0x8B, 0x44, 0x24, 1}},                // mov ax, [esp+1]
        {false, false, 5, {0x26, 0x67, 0x66, 0x8B, 0x07}},             // mov eax, es:[edi]
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setup();
        regs.cs_long = rows[i].cs_long;
        regs.cs_default = rows[i].cs_default;
        const struct emul_registers before = regs;
        for (unsigned count = 0; count < rows[i].length; count++) {
            ck_assert_int_eq(on_memory(rows[i].bytes, count), EMUL_SHORT);
            ck_assert_mem_eq(&regs, &before, sizeof regs);
        }
        ck_assert_int_eq(on_memory(rows[i].bytes, sizeof rows[i].bytes), EMUL_DONE);
        ck_assert_uint_eq(regs.rip, 0x1000u + rows[i].length);
    }
}
END_TEST

START_TEST(test_unknown)
{
    static const uint8_t rows[][16] = {
        {0x0F, 0x05},             // syscall
        {0xFF, 0x37},             // push [rdi]
        {0x8B, 0xC0},             // mov eax, eax: no memory
        {0xC6, 0x4F, 1, 2},       // c6 /1
        {0xF6, 0x17},             // not [rdi]
        {0x66, 0x0F, 0xC3, 0x07}, // not movnti
        {0xC5, 0xF8, 0x10, 0x07}, // vmovups
        {0xF4},                   // hlt
        // Sixteen bytes: too long.
        {0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x8B,
         0x07},
    };
    const struct emul_registers before = regs;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(on_memory(rows[i], 16), EMUL_UNKNOWN);
        ck_assert_mem_eq(&regs, &before, sizeof regs);
    }
    // The right instruction in the wrong place.
    ck_assert_int_eq(MEMORY(0x6E), EMUL_UNKNOWN);
    ck_assert_int_eq(PORT(0xA4), EMUL_UNKNOWN);
    ck_assert_int_eq(PORT(0x8B, 0x07), EMUL_UNKNOWN);
    // An operand across a page.
    const uint8_t mov[] = {0x8B, 0x07};
    ck_assert_int_eq(emul_memory(&regs, mov, 2, DEVICE_BASE + 0xFFD, &bus), EMUL_UNKNOWN);
    ck_assert_int_eq(emul_memory(&regs, mov, 2, DEVICE_BASE + 0xFFC, &bus), EMUL_DONE);
    ck_assert_uint_eq(device_reads, 1);
}
END_TEST

START_TEST(test_movsxd_is_arpl_in_32_bit_code)
{
    regs.cs_long = false;
    regs.cs_default = true;
    ck_assert_int_eq(MEMORY(0x63, 0x07), EMUL_UNKNOWN);
}
END_TEST

START_TEST(test_rex_before_prefix_is_void)
{
    regs.gpr[EMUL_RAX] = UINT64_MAX;
    ck_assert_int_eq(MEMORY(0x48, 0x66, 0x8B, 0x07), EMUL_DONE);
    ck_assert_uint_eq(regs.gpr[EMUL_RAX], 0xFFFFFFFFFFFF0000 | device_word(2));
}
END_TEST

START_TEST(test_device_sees_right_accesses)
{
    ck_assert_int_eq(MEMORY(0x39, 0x07), EMUL_DONE); // cmp
    ck_assert_int_eq(MEMORY(0x85, 0x07), EMUL_DONE); // test
    ck_assert_int_eq(MEMORY(0x03, 0x07), EMUL_DONE); // add to register
    ck_assert_uint_eq(device_reads, 3);
    ck_assert_uint_eq(device_writes, 0);
    ck_assert_int_eq(MEMORY(0xC7, 0x07, 1, 0, 0, 0), EMUL_DONE); // a plain store does not read
    ck_assert_uint_eq(device_reads, 3);
    ck_assert_uint_eq(device_writes, 1);
    ck_assert_int_eq(MEMORY(0xF0, 0x09, 0x07), EMUL_DONE); // lock or
    ck_assert_uint_eq(device_reads, 4);
    ck_assert_uint_eq(device_writes, 2);
}
END_TEST

START_TEST(test_rip_wraps_and_rf_clears)
{
    regs.cs_long = false;
    regs.rip = 0xFFFE;
    regs.rflags = 0x10002;
    ck_assert_int_eq(MEMORY(0x8B, 0x07), EMUL_DONE);
    ck_assert_uint_eq(regs.rip, 0);
    ck_assert_uint_eq(regs.rflags, 2);
    regs.cs_default = true;
    regs.rip = 0xFFFFFFFF;
    ck_assert_int_eq(MEMORY(0x8B, 0x07), EMUL_DONE);
    ck_assert_uint_eq(regs.rip, 1);
}
END_TEST

START_TEST(test_rep_movs_to_device)
{
    regs.gpr[EMUL_RSI] = 0x2000;
    regs.gpr[EMUL_RDI] = DEVICE_BASE;
    regs.gpr[EMUL_RCX] = 10;
    ck_assert_int_eq(MEMORY(0xF3, 0xA5), EMUL_DONE);
    ck_assert_mem_eq(memory + DEVICE_BASE, memory + 0x2000, 40);
    ck_assert_uint_eq(device_writes, 10);
    ck_assert_uint_eq(device_reads, 0);
    ck_assert_uint_eq(regs.gpr[EMUL_RSI], 0x2028);
    ck_assert_uint_eq(regs.gpr[EMUL_RDI], DEVICE_BASE + 40);
    ck_assert_uint_eq(regs.gpr[EMUL_RCX], 0);
    ck_assert_uint_eq(regs.rip, 0x1002);
}
END_TEST

START_TEST(test_backwards_from_device)
{
    regs.rflags |= 0x400;
    regs.gpr[EMUL_RSI] = DEVICE_BASE + 8;
    regs.gpr[EMUL_RDI] = 0x3008;
    regs.gpr[EMUL_RCX] = 2;
    ck_assert_int_eq(MEMORY(0xF2, 0x48, 0xA5), EMUL_DONE);
    ck_assert_mem_eq(memory + 0x3000, memory + DEVICE_BASE, 16);
    ck_assert_uint_eq(device_reads, 2);
    ck_assert_uint_eq(regs.gpr[EMUL_RSI], DEVICE_BASE - 8);
    ck_assert_uint_eq(regs.gpr[EMUL_RDI], 0x2FF8);
}
END_TEST

START_TEST(test_bounded_repetition)
{
    regs.gpr[EMUL_RDI] = 0x1000;
    regs.gpr[EMUL_RCX] = 5000;
    regs.gpr[EMUL_RAX] = 0xAB;
    ck_assert_int_eq(MEMORY(0xF3, 0xAA), EMUL_AGAIN);
    ck_assert_uint_eq(regs.rip, 0x1000);
    ck_assert_uint_eq(regs.gpr[EMUL_RCX], 5000 - EMUL_SHARE);
    ck_assert_uint_eq(regs.gpr[EMUL_RDI], 0x1000 + EMUL_SHARE);
    ck_assert_int_eq(MEMORY(0xF3, 0xAA), EMUL_DONE);
    ck_assert_uint_eq(regs.rip, 0x1002);
    ck_assert_uint_eq(regs.gpr[EMUL_RCX], 0);
    ck_assert_uint_eq(memory[0x1000 + 4999], 0xAB);
    ck_assert_uint_ne(memory[0x1000 + 5000], 0xAB);
    // A share that ends exactly with the count is complete.
    setup();
    regs.gpr[EMUL_RCX] = EMUL_SHARE / 8;
    ck_assert_int_eq(MEMORY(0xF3, 0x48, 0xAB), EMUL_DONE);
    // No repetitions: nothing but RIP moves.
    setup();
    regs.gpr[EMUL_RDI] = NOTHING;
    ck_assert_int_eq(MEMORY(0xF3, 0xAA), EMUL_DONE);
    ck_assert_uint_eq(translations, 0);
    ck_assert_uint_eq(regs.rip, 0x1002);
}
END_TEST

START_TEST(test_fault_in_repetition)
{
    fault_at = 0x4000;
    regs.gpr[EMUL_RSI] = DEVICE_BASE;
    regs.gpr[EMUL_RDI] = 0x3FF2;
    regs.gpr[EMUL_RCX] = 100;
    const uint8_t beyond = memory[0x3FFE];
    ck_assert_int_eq(MEMORY(0xF3, 0xA5), EMUL_FAULT);
    ck_assert_uint_eq(regs.gpr[EMUL_RCX], 97);
    ck_assert_uint_eq(regs.gpr[EMUL_RDI], 0x3FFE);
    ck_assert_uint_eq(regs.gpr[EMUL_RSI], DEVICE_BASE + 12);
    ck_assert_uint_eq(regs.rip, 0x1000);
    ck_assert_uint_eq(memory[0x3FFE], beyond); // the half element was not written
    ck_assert_uint_eq(device_reads, 3);        // nor read from the device
    ck_assert_int_eq(MEMORY(0xA5), EMUL_FAULT);
    ck_assert_uint_eq(regs.rip, 0x1000);
}
END_TEST

START_TEST(test_element_across_pages)
{
    regs.gpr[EMUL_RSI] = DEVICE_BASE + 0xFFD;
    regs.gpr[EMUL_RDI] = 0x4FFB;
    ck_assert_int_eq(MEMORY(0x48, 0xA5), EMUL_DONE);
    ck_assert_mem_eq(memory + 0x4FFB, memory + DEVICE_BASE + 0xFFD, 8);
}
END_TEST

START_TEST(test_lods_widths)
{
    static const struct {
        uint8_t prefix, opcode;
        uint64_t kept;
        unsigned size;
    } rows[] = {{0x90, 0xAC, ~UINT64_C(0xFF), 1},
                {0x66, 0xAD, ~UINT64_C(0xFFFF), 2},
                {0x40, 0xAD, 0, 4},
                {0x48, 0xAD, 0, 8}};
    for (unsigned i = 0; i < 4; i++) {
        setup();
        regs.gpr[EMUL_RAX] = UINT64_MAX;
        regs.gpr[EMUL_RSI] = DEVICE_BASE + 0x10;
        const uint8_t code[] = {rows[i].prefix, rows[i].opcode};
        const unsigned skip = rows[i].prefix == 0x90;
        ck_assert_int_eq(on_memory(code + skip, 2 - skip), EMUL_DONE);
        ck_assert_uint_eq(regs.gpr[EMUL_RAX], rows[i].kept | device_word(rows[i].size));
        ck_assert_uint_eq(regs.gpr[EMUL_RSI], DEVICE_BASE + 0x10 + rows[i].size);
    }
}
END_TEST

START_TEST(test_address_sizes_and_segments)
{
    // 16-bit: only the low halves count and change.
    regs.cs_long = false;
    regs.gpr[EMUL_RSI] = 0xAAAAFFFF;
    regs.gpr[EMUL_RDI] = 0xBBBB0010;
    regs.gpr[EMUL_RCX] = 0xCCCC0002;
    regs.segment_base[EMUL_DS] = 0;
    regs.segment_base[EMUL_ES] = DEVICE_BASE;
    memory[0xFFFF] = 0x77;
    memory[0] = 0x76;
    ck_assert_int_eq(MEMORY(0xF3, 0xA4), EMUL_DONE);
    ck_assert_uint_eq(memory[DEVICE_BASE + 0x10], 0x77);
    ck_assert_uint_eq(memory[DEVICE_BASE + 0x11], 0x76);
    ck_assert_uint_eq(regs.gpr[EMUL_RSI], 0xAAAA0001);
    ck_assert_uint_eq(regs.gpr[EMUL_RDI], 0xBBBB0012);
    ck_assert_uint_eq(regs.gpr[EMUL_RCX], 0xCCCC0000);
    // An override of the source.
    setup();
    regs.cs_long = false;
    regs.segment_base[EMUL_FS] = 0x6000;
    regs.segment_base[EMUL_ES] = DEVICE_BASE;
    memory[0x6000] = 0x78;
    ck_assert_int_eq(MEMORY(0x64, 0xA4), EMUL_DONE);
    ck_assert_uint_eq(memory[DEVICE_BASE], 0x78);
    // In 64-bit code DS and ES are flat, GS is not; 32-bit addresses clear the upper halves.
    setup();
    regs.segment_base[EMUL_DS] = regs.segment_base[EMUL_ES] = 0x123456;
    regs.segment_base[EMUL_GS] = 0x7000;
    regs.gpr[EMUL_RDI] = 0xFFFFFFFF00000000 | DEVICE_BASE;
    memory[0x7000] = 0x79;
    ck_assert_int_eq(MEMORY(0x65, 0x67, 0xA4), EMUL_DONE);
    ck_assert_uint_eq(memory[DEVICE_BASE], 0x79);
    ck_assert_uint_eq(regs.gpr[EMUL_RDI], DEVICE_BASE + 1);
    // Linear addresses of 32-bit code wrap at 4 GiB.
    setup();
    regs.cs_long = false;
    regs.cs_default = true;
    regs.segment_base[EMUL_ES] = 0xFFFFF000;
    regs.gpr[EMUL_RDI] = 0x2234;
    regs.gpr[EMUL_RAX] = 0x7A;
    ck_assert_int_eq(MEMORY(0xAA), EMUL_DONE);
    ck_assert_uint_eq(memory[0x1234], 0x7A);
}
END_TEST

START_TEST(test_outs)
{
    regs.gpr[EMUL_RDX] = 0xFFFF03F8;
    regs.gpr[EMUL_RSI] = 0x2000;
    regs.gpr[EMUL_RCX] = EMUL_SHARE + 3;
    ck_assert_int_eq(PORT(0xF3, 0x6E), EMUL_AGAIN);
    ck_assert_uint_eq(port_bytes, EMUL_SHARE);
    ck_assert_int_eq(PORT(0xF3, 0x6E), EMUL_DONE);
    ck_assert_uint_eq(port_accesses, EMUL_SHARE + 3);
    ck_assert_uint_eq(last_port, 0x3F8);
    ck_assert_mem_eq(port_log, memory + 0x2000, EMUL_SHARE + 3);
    ck_assert_uint_eq(regs.gpr[EMUL_RSI], 0x2000 + EMUL_SHARE + 3);
    ck_assert_uint_eq(regs.rip, 0x1002);
    port_bytes = 0;
    regs.gpr[EMUL_RSI] = 0x2000;
    ck_assert_int_eq(PORT(0x66, 0x6F), EMUL_DONE);
    ck_assert_uint_eq(port_bytes, 2);
    ck_assert_int_eq(PORT(0x48, 0x6F), EMUL_DONE); // REX.W does not widen ports
    ck_assert_uint_eq(port_bytes, 6);
    ck_assert_mem_eq(port_log, memory + 0x2000, 6);
}
END_TEST

START_TEST(test_ins)
{
    regs.gpr[EMUL_RDX] = 0x60;
    regs.gpr[EMUL_RDI] = 0x2FFC;
    regs.gpr[EMUL_RCX] = 3;
    fault_at = 0x3000;
    ck_assert_int_eq(PORT(0xF3, 0x6D), EMUL_FAULT);
    ck_assert_uint_eq(port_accesses, 1); // not read before the place for it was known
    ck_assert_uint_eq(regs.gpr[EMUL_RCX], 2);
    ck_assert_uint_eq(regs.rip, 0x1000);
    fault_at = UINT64_MAX;
    ck_assert_int_eq(PORT(0xF3, 0x6D), EMUL_DONE);
    const uint32_t expected[] = {0x44332211, 0x44332212, 0x44332213};
    ck_assert_mem_eq(memory + 0x2FFC, expected, sizeof expected);
    const uint8_t beyond = memory[0x3009];
    ck_assert_int_eq(PORT(0x6C), EMUL_DONE);
    ck_assert_uint_eq(memory[0x3008], 0x14);
    ck_assert_uint_eq(memory[0x3009], beyond);
}
END_TEST

START_TEST(test_plain_port)
{
    regs.gpr[EMUL_RAX] = 0x1122334455667788;
    emul_port(&regs, 0x71, 1, false, 2, &bus);
    ck_assert_uint_eq(regs.gpr[EMUL_RAX], 0x1122334455667711);
    emul_port(&regs, 0x71, 2, false, 1, &bus);
    ck_assert_uint_eq(regs.gpr[EMUL_RAX], 0x1122334455662212);
    emul_port(&regs, 0x71, 4, false, 1, &bus);
    ck_assert_uint_eq(regs.gpr[EMUL_RAX], 0x44332213);
    emul_port(&regs, 0x72, 2, true, 2, &bus);
    ck_assert_uint_eq(regs.gpr[EMUL_RAX], 0x44332213);
    ck_assert_uint_eq(last_port, 0x72);
    ck_assert_uint_eq(port_bytes, 2);
    ck_assert_uint_eq(port_log[0], 0x13);
    ck_assert_uint_eq(regs.rip, 0x1006);
}
END_TEST

int main(void)
{
    code_page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code_page == MAP_FAILED) {
        return 1;
    }
    Suite *suite = suite_create("emul");
    TCase *tests = tcase_create("emul");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_against_processor_alu);
    tcase_add_test(tests, test_against_processor_moves);
    tcase_add_test(tests, test_lengths_by_mode);
    tcase_add_test(tests, test_unknown);
    tcase_add_test(tests, test_movsxd_is_arpl_in_32_bit_code);
    tcase_add_test(tests, test_rex_before_prefix_is_void);
    tcase_add_test(tests, test_device_sees_right_accesses);
    tcase_add_test(tests, test_rip_wraps_and_rf_clears);
    tcase_add_test(tests, test_rep_movs_to_device);
    tcase_add_test(tests, test_backwards_from_device);
    tcase_add_test(tests, test_bounded_repetition);
    tcase_add_test(tests, test_fault_in_repetition);
    tcase_add_test(tests, test_element_across_pages);
    tcase_add_test(tests, test_lods_widths);
    tcase_add_test(tests, test_address_sizes_and_segments);
    tcase_add_test(tests, test_outs);
    tcase_add_test(tests, test_ins);
    tcase_add_test(tests, test_plain_port);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
