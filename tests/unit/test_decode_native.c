// SPDX-License-Identifier: BSD-2-Clause-Patent
// Instruction lengths against the processor. The bytes end where an inaccessible page begins: if
// the instruction needs one more, fetching it faults with RIP still at the start. Registers are
// non-canonical (the stack pointer too), so that what does run touches no memory.
#define _GNU_SOURCE
#include "corbel/decode.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum {
    PAGE = 4096,
    PAGE_FAULT = 14,
    CLEAN_FLAGS = 0x202,
    PF_FETCH = 0x10, /* page-fault error code: instruction fetch */
    CASES = 200000,
};

enum outcome {
    NEEDS_MORE,
    UNDEFINED_OPCODE,
    COMPLETE, /* executed, or faulted for another reason than its length */
};

/* Far from any other mapping, so that RIP-relative operands and jumps hit nothing. */
static uint8_t *const page = (uint8_t *)0x200000000000;
static volatile int fault_signal;
static volatile greg_t fault_vector, fault_rip, fault_address, fault_error;

/* The trampoline has no register to spare: it finds these by name. */
uint8_t *native_start;
uint64_t native_stack;

static uint64_t random_state = 0x7654323;

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

/*
 * native_enter() runs the instruction at native_start and returns by way of a signal in any case:
 * what follows the instruction is not executable. The handler continues at native_leave.
 */
void native_enter(void);
void native_leave(void);

__asm__(".pushsection .text\n"
        "native_enter:\n\t"
        "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
        "mov %rsp, native_stack(%rip)\n\t"
        "movabs $0x5A5A5A5A5A5A5A5A, %rax\n\t"
        "mov %rax, %rcx\n\tmov %rax, %rdx\n\tmov %rax, %rbx\n\tmov %rax, %rbp\n\t"
        "mov %rax, %rsi\n\tmov %rax, %rdi\n\tmov %rax, %r8\n\tmov %rax, %r9\n\t"
        "mov %rax, %r10\n\tmov %rax, %r11\n\tmov %rax, %r12\n\tmov %rax, %r13\n\t"
        "mov %rax, %r14\n\tmov %rax, %r15\n\tmov %rax, %rsp\n\t"
        "jmp *native_start(%rip)\n"
        "native_leave:\n\t"
        "mov native_stack(%rip), %rsp\n\t"
        "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\tret\n"
        ".popsection");

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)info;
    fault_signal = number;
    fault_vector = registers[REG_TRAPNO];
    fault_rip = registers[REG_RIP];
    fault_address = registers[REG_CR2];
    fault_error = registers[REG_ERR];
    registers[REG_RIP] = (greg_t)(uintptr_t)native_leave;
    registers[REG_EFL] = CLEAN_FLAGS;
}

static void setup(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
    static uint8_t stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_ONSTACK | SA_SIGINFO};

    ck_assert_ptr_eq(mmap(page, (size_t)2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
                     page);
    memset(page, 0xF4, PAGE); /* HLT, for short jumps backwards */
    ck_assert_int_eq(mprotect(page + PAGE, PAGE, PROT_NONE), 0);
    ck_assert_int_eq(sigaltstack(&alternate, NULL), 0);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        ck_assert_int_eq(sigaction(signals[i], &action, NULL), 0);
}

static enum outcome try_bytes(const uint8_t *bytes, unsigned count)
{
    native_start = page + PAGE - count;
    memcpy(native_start, bytes, count);

    native_enter();
    memset(native_start, 0xF4, count);
    if (fault_signal == SIGILL)
        return UNDEFINED_OPCODE;
    if (fault_vector == PAGE_FAULT && (fault_error & PF_FETCH) != 0 &&
        fault_rip == (greg_t)(uintptr_t)native_start &&
        fault_address == (greg_t)(uintptr_t)(page + PAGE))
        return NEEDS_MORE;
    return COMPLETE;
}

static void fail_case(const char *what, const uint8_t *bytes, const struct decoded *d)
{
    char text[64] = "";

    for (size_t i = 0; i < d->length; i++)
        sprintf(text + 3 * i, " %02x", bytes[i]);
    ck_abort_msg("%s than decoded:%s", what, text);
}

/* A short branch into itself. */
static bool is_loop(const struct decoded *d)
{
    bool branch = (d->opcode & 0xF0) == 0x70 || (d->opcode & 0xFC) == 0xE0 || d->opcode == 0xEB;

    return branch && (int64_t)d->immediate < 0 && (int64_t)d->immediate >= -DECODE_MAX_LENGTH;
}

/*
 * Not to be run: system calls and what changes state that the test needs (FS, protection
 * keys), and near branches with an operand size prefix, on which the vendors disagree.
 */
static bool excluded(const struct decoded *d)
{
    bool operand = (d->prefixes & DECODE_PREFIX_OPERAND) != 0;

    if (d->encoding != DECODE_LEGACY)
        return false;
    if (d->map == 0)
        return d->opcode == 0xCD || d->opcode == 0x8E || is_loop(d) ||
               (operand && (d->opcode & 0xFE) == 0xE8);
    if (d->map != 1)
        return false;
    return d->opcode == 0x05 || d->opcode == 0x34 || d->opcode == 0xB4 || d->opcode == 0xB5 ||
           (operand && (d->opcode & 0xF0) == 0x80) ||
           ((d->opcode == 0x01 || d->opcode == 0xAE) && !d->has_memory);
}

/* Random bytes with every map and prefix as likely as another; FS and GS have mapped bases. */
static void random_bytes(uint8_t bytes[16])
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0xF2, 0xF3, 0x2E, 0x48, 0x41, 0x4E, 0x46};
    unsigned n = 0;

    for (unsigned i = 0; i < 16; i++)
        bytes[i] = (uint8_t)random64();
    while (n < 4 && below(2) != 0)
        bytes[n++] = prefixes[below(sizeof(prefixes))];
    switch (below(6)) {
    case 0:
        break;
    case 1:
        bytes[n++] = 0x0F;
        break;
    case 2:
        bytes[n++] = 0x0F;
        bytes[n++] = 0x38;
        break;
    case 3:
        bytes[n++] = 0x0F;
        bytes[n++] = 0x3A;
        break;
    case 4: /* VEX, with the likelier values of its second byte */
        bytes[0] = 0xC5 - (bytes[1] & 1);
        bytes[1] = (bytes[1] & 0xE0) | (uint8_t)(1 + below(3));
        bytes[2] |= 0x78;
        break;
    default:
        bytes[0] = 0x62;
        bytes[1] = (bytes[1] & 0xF0) | (uint8_t)(1 + below(3));
        bytes[2] |= 0x7C;
        break;
    }
}

static bool has_far_segment(const struct decoded *d)
{
    return (d->prefixes & DECODE_PREFIX_SEGMENT) != 0;
}

START_TEST(test_lengths)
{
    unsigned conclusive = 0;
    unsigned tried = 0;

    while (tried < CASES) {
        uint8_t bytes[16];
        struct decoded d;

        random_bytes(bytes);
        if (decode(bytes, sizeof(bytes), DECODE_64, &d) != DECODE_OK || excluded(&d) ||
            has_far_segment(&d))
            continue;
        tried++;
        if (d.length > 1) {
            enum outcome shorter = try_bytes(bytes, d.length - 1u);

            if (shorter == COMPLETE)
                fail_case("shorter", bytes, &d);
            conclusive += shorter == NEEDS_MORE;
        }
        /* Bytes that mean nothing have no length: the processor may look at more of them. */
        if (try_bytes(bytes, d.length) == NEEDS_MORE &&
            try_bytes(bytes, DECODE_MAX_LENGTH) != UNDEFINED_OPCODE)
            fail_case("longer", bytes, &d);
    }
    /* The rest are instructions that this processor lacks, or are too short to be cut. */
    ck_assert_uint_gt(conclusive, CASES / 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode_native");
    TCase *native = tcase_create("native");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(native, setup, NULL);
    tcase_set_timeout(native, 60);
    tcase_add_test(native, test_lengths);
    suite_add_tcase(suite, native);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
