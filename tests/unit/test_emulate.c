// SPDX-License-Identifier: BSD-2-Clause-Patent
// The executor against the processor: random instructions with random operands run natively from a
// small trampoline, and registers, flags and memory must agree. Effective addresses likewise, by
// LEA.
#include "corbel/emulate.h"

#include <asm/prctl.h>
#include <check.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    CODE_SIZE = 4096,
    DATA_SIZE = 65536,
    WINDOW = 64, /* bytes compared around the operand */
    CF = 0x1,
    PF = 0x4,
    AF = 0x10,
    ZF = 0x40,
    SF = 0x80,
    DF = 0x400,
    OF = 0x800,
    STATUS = CF | PF | AF | ZF | SF | OF,
    ALWAYS_SET = 0x2,
    RSP = 4,
    GS_BASE = 0x1230000, /* the C library leaves GS alone */
};

struct context {
    uint64_t in[16];
    uint64_t flags_in;
    uint64_t out[16];
    uint64_t flags_out;
    uint64_t host_rsp;
};

/* One low mapping, so that every address form can reach the data. */
struct arena {
    uint8_t code[CODE_SIZE];
    struct context context;
    _Alignas(4096) uint8_t data[DATA_SIZE];
};

static struct arena *arena;
static uint8_t *slot; /* where the instruction under test goes */
static sigjmp_buf fault_return;

/* ---- random values ------------------------------------------------------------------------- */

static uint64_t random_state = 0x1234567;

static uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

static unsigned below(unsigned limit)
{
    return (unsigned)((random64() >> 33) % limit);
}

/* Values at the edges of every size are as frequent as arbitrary ones. */
static uint64_t random_operand(void)
{
    static const uint64_t edges[] = {
        0,          1,         0x0F,       0x10,
        0x7F,       0x80,      0xFF,       0x7FFF,
        0x8000,     0xFFFF,    0x7FFFFFFF, 0x80000000,
        0xFFFFFFFF, INT64_MAX, UINT64_MAX, UINT64_C(1) << 63,
    };

    if (below(2) != 0)
        return random64();
    return edges[below(sizeof(edges) / sizeof(edges[0]))] ^ (below(4) == 0 ? random64() << 32 : 0);
}

/* ---- the trampoline ------------------------------------------------------------------------ */

static uint8_t *emit(uint8_t *p, const void *bytes, size_t count)
{
    memcpy(p, bytes, count);
    return p + count;
}

/* An instruction whose last four bytes are the RIP-relative distance to target. */
static uint8_t *emit_relative(uint8_t *p, const uint8_t opcode[3], const void *target)
{
    int32_t distance = (int32_t)((const uint8_t *)target - (p + 7));

    p = emit(p, opcode, 3);
    return emit(p, &distance, 4);
}

/* MOV between register number reg and memory; 8B loads, 89 stores. */
static uint8_t *emit_move(uint8_t *p, uint8_t opcode, unsigned reg, const uint64_t *memory)
{
    uint8_t bytes[3] = {(uint8_t)(0x48 | (reg >= 8 ? 4 : 0)), opcode,
                        (uint8_t)(0x05 | (reg & 7) << 3)};

    return emit_relative(p, bytes, memory);
}

static const uint8_t lea_rsp[3] = {0x48, 0x8D, 0x25};

static uint8_t *emit_epilogue(uint8_t *p)
{
    static const uint8_t leave[] = {0x9D, 0x41, 0x5F, 0x41, 0x5E, 0x41,
                                    0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3};
    struct context *c = &arena->context;

    for (unsigned i = 0; i < 16; i++)
        p = emit_move(p, 0x89, i, &c->out[i]);
    p = emit_relative(p, lea_rsp, &c->flags_out + 1);
    p = emit(p, "\x9C", 1); /* PUSHFQ */
    p = emit_move(p, 0x8B, RSP, &c->host_rsp);
    return emit(p, leave, sizeof(leave));
}

static uint8_t *emit_prologue(uint8_t *p)
{
    static const uint8_t enter[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55,
                                    0x41, 0x56, 0x41, 0x57, 0x9C};
    struct context *c = &arena->context;

    p = emit(p, enter, sizeof(enter));
    p = emit_move(p, 0x89, RSP, &c->host_rsp);
    p = emit_relative(p, lea_rsp, &c->flags_in);
    p = emit(p, "\x9D", 1); /* POPFQ */
    for (unsigned i = 0; i < 16; i++) {
        if (i != RSP)
            p = emit_move(p, 0x8B, i, &c->in[i]);
    }
    return emit_move(p, 0x8B, RSP, &c->in[RSP]);
}

/* The epilogue is emitted first; each instruction under test is followed by a jump to it. */
static uint8_t *epilogue;

static void on_fault(int number)
{
    siglongjmp(fault_return, number);
}

static void setup(void)
{
    static uint8_t stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP};

    arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    ck_assert_ptr_ne(arena, MAP_FAILED);
    ck_assert_int_eq(sigaltstack(&alternate, NULL), 0);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        ck_assert_int_eq(sigaction(signals[i], &action, NULL), 0);
    ck_assert_int_eq(syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)GS_BASE), 0);
    epilogue = arena->code + CODE_SIZE / 2;
    emit_epilogue(epilogue);
    slot = emit_prologue(arena->code);
}

/* Puts the instruction into its slot with the jump behind it. */
static void place(const uint8_t *bytes, unsigned length)
{
    int32_t distance = (int32_t)(epilogue - (slot + length + 5));
    uint8_t *p = emit(slot, bytes, length);

    p = emit(p, "\xE9", 1);
    emit(p, &distance, 4);
}

/* Runs the slot; returns 0 or the signal that it raised. */
static int run_native(void)
{
    int number = sigsetjmp(fault_return, 1);

    if (number == 0) {
        void (*trampoline)(void) = (void (*)(void))(uintptr_t)arena->code;

        trampoline();
    }
    return number;
}

static void fail_case(const char *what, const struct decoded *d, uint64_t expected, uint64_t found)
{
    char text[64] = "";

    for (size_t i = 0; i < d->length; i++)
        sprintf(text + 3 * i, " %02x", slot[i]);
    ck_abort_msg("%s of%s: processor %llx, executor %llx", what, text, (unsigned long long)expected,
                 (unsigned long long)found);
}

/* ---- random instructions ------------------------------------------------------------------- */

enum immediate {
    NO_IMM,
    IMM8,
    IMMZ, /* 1, 2 or 4 bytes */
};

struct pattern {
    uint8_t opcode[2]; /* with 0F first, or only the first byte */
    bool any_reg;      /* ModRM.reg is an operand */
    uint8_t regs;      /* else: mask of the values of ModRM.reg */
    enum immediate imm;
    bool lock;
    uint16_t undefined; /* flags that the SDM leaves open */
};

enum {
    BIT_FLAGS = OF | SF | AF | PF,
};

/* clang-format off */
#define OPERAND(opcode, lock, undefined) {{opcode}, true, 0, NO_IMM, lock, undefined}
#define ALU(first, lock, undefined)                                                                \
    OPERAND((first), lock, undefined), OPERAND((first) + 1, lock, undefined),                      \
    OPERAND((first) + 2, false, undefined), OPERAND((first) + 3, false, undefined)
/* clang-format on */

static const struct pattern patterns[] = {
    ALU(0x00, true, 0),
    ALU(0x08, true, AF),
    ALU(0x10, true, 0),
    ALU(0x18, true, 0),
    ALU(0x20, true, AF),
    ALU(0x28, true, 0),
    ALU(0x30, true, AF),
    ALU(0x38, false, 0),
    {{0x80}, false, 0x6D, IMMZ, true, AF},
    {{0x81}, false, 0x7F, IMMZ, true, AF},
    {{0x83}, false, 0x7F, IMM8, true, AF},
    {{0x80}, false, 0xAD, IMMZ, false, 0},
    {{0x81}, false, 0xAD, IMMZ, false, 0},
    {{0x83}, false, 0xAD, IMM8, false, 0},
    {{0x84}, true, 0, NO_IMM, false, AF},
    {{0x85}, true, 0, NO_IMM, false, AF},
    {{0x86}, true, 0, NO_IMM, true, 0},
    {{0x87}, true, 0, NO_IMM, true, 0},
    {{0x88}, true, 0, NO_IMM, false, 0},
    {{0x89}, true, 0, NO_IMM, false, 0},
    {{0x8A}, true, 0, NO_IMM, false, 0},
    {{0x8B}, true, 0, NO_IMM, false, 0},
    {{0x63}, true, 0, NO_IMM, false, 0},
    {{0xC6}, false, 0x01, IMMZ, false, 0},
    {{0xC7}, false, 0x01, IMMZ, false, 0},
    {{0xF6}, false, 0x03, IMMZ, false, AF},
    {{0xF7}, false, 0x03, IMMZ, false, AF},
    {{0xF6}, false, 0x0C, NO_IMM, true, 0},
    {{0xF7}, false, 0x0C, NO_IMM, true, 0},
    {{0xFE}, false, 0x03, NO_IMM, true, 0},
    {{0xFF}, false, 0x03, NO_IMM, true, 0},
    {{0x0F, 0xA3}, true, 0, NO_IMM, false, BIT_FLAGS},
    {{0x0F, 0xAB}, true, 0, NO_IMM, true, BIT_FLAGS},
    {{0x0F, 0xB3}, true, 0, NO_IMM, true, BIT_FLAGS},
    {{0x0F, 0xBB}, true, 0, NO_IMM, true, BIT_FLAGS},
    {{0x0F, 0xBA}, false, 0x10, IMM8, false, BIT_FLAGS},
    {{0x0F, 0xBA}, false, 0xE0, IMM8, true, BIT_FLAGS},
    {{0x0F, 0xB0}, true, 0, NO_IMM, true, 0},
    {{0x0F, 0xB1}, true, 0, NO_IMM, true, 0},
    {{0x0F, 0xC0}, true, 0, NO_IMM, true, 0},
    {{0x0F, 0xC1}, true, 0, NO_IMM, true, 0},
    {{0x0F, 0xB6}, true, 0, NO_IMM, false, 0},
    {{0x0F, 0xB7}, true, 0, NO_IMM, false, 0},
    {{0x0F, 0xBE}, true, 0, NO_IMM, false, 0},
    {{0x0F, 0xBF}, true, 0, NO_IMM, false, 0},
    {{0x0F, 0xC3}, true, 0, NO_IMM, false, 0},
};

enum {
    PATTERNS = sizeof(patterns) / sizeof(patterns[0]),
};

struct sample {
    uint8_t bytes[24]; /* a draw may be too long to be an instruction */
    unsigned length;
    unsigned displacement_at;
    unsigned displacement_size;
    uint16_t undefined;
    struct decoded d;
};

static unsigned random_prefixes(uint8_t *bytes, bool lock, bool no_operand_prefix)
{
    static const uint8_t segments[] = {0x26, 0x2E, 0x36, 0x3E, 0x65, 0x65};
    unsigned n = 0;

    if (lock && below(4) == 0)
        bytes[n++] = 0xF0;
    while (n < 3 && below(4) == 0)
        bytes[n++] = segments[below(sizeof(segments))];
    if (!no_operand_prefix && below(3) == 0)
        bytes[n++] = 0x66;
    if (below(4) == 0)
        bytes[n++] = 0x67;
    if (below(2) == 0)
        bytes[n++] = (uint8_t)(0x40 | below(16));
    return n;
}

/* A ModRM byte with memory, SIB and a random displacement; returns the offset behind them. */
static unsigned random_memory(struct sample *s, unsigned n, unsigned reg)
{
    static const uint8_t sizes[4] = {0, 1, 4, 0};
    unsigned mod = below(3);
    unsigned rm = below(8);
    unsigned base = rm;

    s->bytes[n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
    if (rm == 4) {
        s->bytes[n] = (uint8_t)random64();
        base = s->bytes[n++] & 7;
    }
    s->displacement_at = n;
    s->displacement_size = mod == 0 && base == 5 ? 4 : sizes[mod];
    for (unsigned i = 0; i < s->displacement_size; i++)
        s->bytes[n++] = (uint8_t)random64();
    return n;
}

static unsigned random_reg(const struct pattern *t)
{
    unsigned reg = below(8);

    while (!t->any_reg && (t->regs >> reg & 1) == 0)
        reg = below(8);
    return reg;
}

static void random_sample(struct sample *s, const struct pattern *t)
{
    bool escaped = t->opcode[0] == 0x0F;
    bool movnti = escaped && t->opcode[1] == 0xC3; /* takes no 66 */
    unsigned n = random_prefixes(s->bytes, t->lock, movnti);
    uint8_t opcode = t->opcode[escaped];
    bool rex_w = n > 0 && (s->bytes[n - 1] & 0xF8) == 0x48;
    bool narrow = memchr(s->bytes, 0x66, n) != NULL && !rex_w;
    unsigned imm = t->imm == NO_IMM ? 0 : t->imm == IMM8 || (opcode & 1) == 0 ? 1 : narrow ? 2 : 4;

    if (escaped)
        s->bytes[n++] = 0x0F;
    s->bytes[n++] = opcode;
    n = random_memory(s, n, random_reg(t));
    if (t->imm == IMM8 && escaped)
        imm = 1;
    for (unsigned i = 0; i < imm; i++)
        s->bytes[n++] = (uint8_t)random_operand();
    s->length = n;
    s->undefined = t->undefined;
}

/* MOV with an absolute offset, STOS, LODS. */
static void random_implicit(struct sample *s)
{
    static const uint8_t opcodes[] = {0xA0, 0xA1, 0xA2, 0xA3, 0xAA, 0xAB, 0xAC, 0xAD};
    unsigned n = random_prefixes(s->bytes, false, false);
    uint8_t opcode = opcodes[below(sizeof(opcodes))];

    s->displacement_size = 0;
    s->bytes[n++] = opcode;
    if (opcode < 0xA4) {
        s->displacement_at = n;
        s->displacement_size = memchr(s->bytes, 0x67, n - 1) != NULL ? 4 : 8;
        memset(s->bytes + n, 0, s->displacement_size);
        n += s->displacement_size;
    }
    s->length = n;
    s->undefined = 0;
}

/* ---- one native comparison ----------------------------------------------------------------- */

static uint64_t address_of(const struct sample *s)
{
    uint64_t base = s->d.segment == DECODE_GS ? GS_BASE : 0;

    return effective_address(&s->d, arena->context.in, (uintptr_t)slot + s->length, base);
}

/*
 * Bends the base or index register, or the displacement, so that the operand is the 8 bytes at a
 * random place in the data. False when this form cannot be bent; the caller draws another.
 */
static bool aim(struct sample *s)
{
    uint64_t target =
        (uintptr_t)arena->data + WINDOW + UINT64_C(8) * below((DATA_SIZE - 2 * WINDOW) / 8);
    uint64_t distance = target - address_of(s);
    struct decoded *d = &s->d;
    uint64_t *in = arena->context.in;

    if (d->base != DECODE_NO_REGISTER && d->base == d->index)
        in[d->base] = (target - (uint64_t)d->displacement) / (1 + (1u << d->scale));
    else if (d->base != DECODE_NO_REGISTER)
        in[d->base] += distance;
    else if (d->index != DECODE_NO_REGISTER)
        in[d->index] = (target - (uint64_t)d->displacement) >> d->scale;
    else {
        uint64_t displacement = (uint64_t)d->displacement + distance;

        memcpy(s->bytes + s->displacement_at, &displacement, s->displacement_size);
        ck_assert_int_eq(decode(s->bytes, s->length, DECODE_64, d), DECODE_OK);
    }
    uint64_t offset = address_of(s) - (uintptr_t)arena->data;

    return offset % 8 == 0 && offset >= WINDOW && offset < DATA_SIZE - WINDOW;
}

static uint64_t load(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static void compare_native(struct sample *s)
{
    struct context *c = &arena->context;
    uint8_t *operand = (uint8_t *)(uintptr_t)address_of(s);
    uint8_t expected[WINDOW];
    uint64_t gpr[16];
    uint64_t flags = c->flags_in;
    uint64_t value;
    uint64_t defined = (STATUS | DF) & ~(uint64_t)s->undefined;
    unsigned size = s->d.memory_size;

    if (s->d.insn == INSN_CMPXCHG && below(2) != 0)
        memcpy(operand, &c->in[0], 8); /* unless RAX is the base, this makes a success */
    value = load(operand);
    memcpy(expected, operand - WINDOW / 2, WINDOW);
    memcpy(gpr, c->in, sizeof(gpr));
    if (emulate_rmw(&s->d, gpr, &flags, value, &value) != 0)
        fail_case("refusal", &s->d, 0, EMULATE_REFUSED);
    if ((emulate_access(&s->d) & EMULATE_WRITE) != 0)
        memcpy(expected + WINDOW / 2, &value, size);
    int number = run_native();

    if (number != 0)
        fail_case("signal", &s->d, (uint64_t)number, 0);
    for (unsigned i = 0; i < 16; i++) {
        if (c->out[i] != gpr[i])
            fail_case("register", &s->d, c->out[i], gpr[i]);
    }
    if (((c->flags_out ^ flags) & defined) != 0)
        fail_case("flags", &s->d, c->flags_out & defined, flags & defined);
    if (memcmp(expected, operand - WINDOW / 2, WINDOW) != 0)
        fail_case("memory", &s->d, load(operand), value);
}

static void randomize_state(void)
{
    struct context *c = &arena->context;

    for (unsigned i = 0; i < 16; i++)
        c->in[i] = random_operand();
    c->flags_in = (random64() & (STATUS | DF)) | ALWAYS_SET;
}

static void randomize_operand(const struct sample *s)
{
    uint64_t value = random_operand();

    memcpy((uint8_t *)(uintptr_t)address_of(s), &value, sizeof(value));
}

/* Draws until count samples of one kind have been compared. */
static void run_samples(const struct pattern *t, unsigned count)
{
    struct sample s = {.length = 0};

    while (count > 0) {
        if (t != NULL)
            random_sample(&s, t);
        else
            random_implicit(&s);
        if (s.length > DECODE_MAX_LENGTH)
            continue;
        int status = decode(s.bytes, s.length, DECODE_64, &s.d);

        memcpy(slot, s.bytes, s.length);
        if (status != DECODE_OK || s.d.length != s.length)
            fail_case("length", &s.d, s.length, status == 0 ? s.d.length : (uint64_t)status);
        randomize_state();
        if (!aim(&s))
            continue;
        place(s.bytes, s.length);
        /* Few draws can be aimed: each of those is worth several operands. */
        for (unsigned i = 0; i < 4 && count > 0; i++, count--) {
            randomize_operand(&s);
            arena->context.flags_in = (random64() & (STATUS | DF)) | ALWAYS_SET;
            compare_native(&s);
        }
    }
}

enum {
    SAMPLES = 25000, /* for each pattern: over a million in all */
};

START_TEST(test_native)
{
    random_state += (uint64_t)_i << 32;
    run_samples(&patterns[_i], SAMPLES);
}
END_TEST

START_TEST(test_native_implicit)
{
    run_samples(NULL, SAMPLES);
}
END_TEST

/* LEA shows what the processor makes of any addressing form, without touching memory. */
START_TEST(test_native_address)
{
    struct sample s = {.length = 0};

    for (unsigned count = 0; count < 200000; count++) {
        unsigned n = below(2) != 0 ? 1 : 0;
        unsigned reg = below(8);

        s.bytes[0] = 0x67;
        s.bytes[n++] = (uint8_t)(0x48 | below(8));
        s.bytes[n++] = 0x8D;
        s.length = random_memory(&s, n, reg);
        ck_assert_int_eq(decode(s.bytes, s.length, DECODE_64, &s.d), DECODE_OK);
        randomize_state();
        place(s.bytes, s.length);
        int number = run_native();

        if (number != 0)
            fail_case("signal", &s.d, (uint64_t)number, 0);
        if (arena->context.out[s.d.reg] != address_of(&s))
            fail_case("address", &s.d, arena->context.out[s.d.reg], address_of(&s));
    }
}
END_TEST

/* What is not emulated changes nothing. */
START_TEST(test_refused)
{
    static const struct {
        uint8_t bytes[8];
    } refused[] = {
        {{0xA4}},             /* movsb */
        {{0xF3, 0xAB}},       /* rep stosd */
        {{0xF2, 0xAC}},       /* repne lodsb */
        {{0xFF, 0x10}},       /* call [rax] */
        {{0xFF, 0x20}},       /* jmp [rax] */
        {{0xFF, 0x30}},       /* push [rax] */
        {{0x8F, 0x00}},       /* pop [rax] */
        {{0x8B, 0xC1}},       /* mov eax, ecx */
        {{0x87, 0xC1}},       /* xchg ecx, eax */
        {{0x05, 1, 2, 3, 4}}, /* add eax, imm */
        {{0x8D, 0x00}},       /* lea eax, [rax] */
        {{0x8C, 0x00}},       /* mov [rax], es */
        {{0xF7, 0x20}},       /* mul [rax] */
        {{0xD1, 0x20}},       /* shl [rax], 1 */
        {{0x0F, 0xC7, 0x08}}, /* cmpxchg8b [rax] */
        {{0x0F, 0x11, 0x00}}, /* movups [rax], xmm0 */
        {{0x0F, 0x01, 0x38}}, /* invlpg [rax] */
    };

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct decoded d;
        uint64_t gpr[16] = {1, 2, 3};
        const uint64_t before[16] = {1, 2, 3};
        uint64_t flags = STATUS;
        uint64_t memory = 5;

        ck_assert_int_eq(decode(refused[i].bytes, 8, DECODE_64, &d), DECODE_OK);
        ck_assert_uint_eq(emulate_access(&d), 0);
        ck_assert_int_eq(emulate_rmw(&d, gpr, &flags, 7, &memory), EMULATE_REFUSED);
        ck_assert_int_eq(memcmp(gpr, before, sizeof(gpr)), 0);
        ck_assert_uint_eq(flags, STATUS);
        ck_assert_uint_eq(memory, 5);
    }
}
END_TEST

/* Accesses as the processor makes them: a register with a side effect must not be read by a MOV. */
START_TEST(test_access)
{
    static const struct {
        uint8_t bytes[4];
        unsigned access;
        uint8_t size;
    } cases[] = {
        {{0x89, 0x00}, EMULATE_WRITE, 4},
        {{0x66, 0x89, 0x00}, EMULATE_WRITE, 2},
        {{0x8A, 0x00}, EMULATE_READ, 1},
        {{0x48, 0x8B, 0x00}, EMULATE_READ, 8},
        {{0x03, 0x00}, EMULATE_READ, 4},
        {{0x01, 0x00}, EMULATE_READ | EMULATE_WRITE, 4},
        {{0x39, 0x00}, EMULATE_READ, 4},
        {{0x3B, 0x00}, EMULATE_READ, 4},
        {{0x85, 0x00}, EMULATE_READ, 4},
        {{0x87, 0x00}, EMULATE_READ | EMULATE_WRITE, 4},
        {{0x0F, 0xA3, 0x00}, EMULATE_READ, 4},
        {{0x0F, 0xB1, 0x00}, EMULATE_READ | EMULATE_WRITE, 4},
        {{0x0F, 0xB6, 0x00}, EMULATE_READ, 1},
        {{0x0F, 0xBF, 0x00}, EMULATE_READ, 2},
        {{0x48, 0x63, 0x00}, EMULATE_READ, 4},
        {{0x66, 0x63, 0x00}, EMULATE_READ, 2},
        {{0xAB}, EMULATE_WRITE, 4},
        {{0xAC}, EMULATE_READ, 1},
        {{0xC6, 0x00, 0x01}, EMULATE_WRITE, 1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decoded d;

        ck_assert_int_eq(decode(cases[i].bytes, 4, DECODE_64, &d), DECODE_OK);
        ck_assert_uint_eq(emulate_access(&d), cases[i].access);
        ck_assert_uint_eq(d.memory_size, cases[i].size);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("emulate");
    TCase *native = tcase_create("native");
    TCase *rules = tcase_create("rules");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(native, setup, NULL);
    tcase_set_timeout(native, 60);
    tcase_add_loop_test(native, test_native, 0, PATTERNS);
    tcase_add_test(native, test_native_implicit);
    tcase_add_test(native, test_native_address);
    tcase_add_test(rules, test_refused);
    tcase_add_test(rules, test_access);
    suite_add_tcase(suite, native);
    suite_add_tcase(suite, rules);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
