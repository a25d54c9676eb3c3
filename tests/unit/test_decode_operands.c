// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the decoder says of the instructions that the hypervisor meets: the intercepted ones, with
// prefixes that change nothing, and the operands of the ones that it completes.
#include "corbel/decode.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum {
    NONE = DECODE_NO_REGISTER,
    RAX = 0,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    ALL_MODES = -1,
};

static int decode_all(const uint8_t *bytes, enum decode_mode mode, struct decoded *d)
{
    return decode(bytes, DECODE_MAX_LENGTH, mode, d);
}

static const struct {
    int mode;
    enum insn insn;
    uint8_t length;
    uint8_t bytes[8];
} intercepted[] = {
    {ALL_MODES, INSN_CPUID, 2, {0x0F, 0xA2}},
    {ALL_MODES, INSN_CPUID, 5, {0x66, 0xF3, 0x2E, 0x0F, 0xA2}},
    {DECODE_64, INSN_CPUID, 3, {0x48, 0x0F, 0xA2}},
    {ALL_MODES, INSN_RDMSR, 2, {0x0F, 0x32}},
    {ALL_MODES, INSN_WRMSR, 3, {0x3E, 0x0F, 0x30}}, /* Linux pads with DS */
    {ALL_MODES, INSN_RDTSC, 2, {0x0F, 0x31}},
    {ALL_MODES, INSN_RDTSCP, 3, {0x0F, 0x01, 0xF9}},
    {ALL_MODES, INSN_RDPMC, 2, {0x0F, 0x33}},
    {ALL_MODES, INSN_RDPRU, 3, {0x0F, 0x01, 0xFD}},
    {ALL_MODES, INSN_VMCALL, 3, {0x0F, 0x01, 0xC1}},
    {ALL_MODES, INSN_VMMCALL, 3, {0x0F, 0x01, 0xD9}},
    {ALL_MODES, INSN_VMMCALL, 4, {0xF3, 0x0F, 0x01, 0xD9}}, /* VMGEXIT */
    {ALL_MODES, INSN_VMRUN, 3, {0x0F, 0x01, 0xD8}},
    {ALL_MODES, INSN_VMLOAD, 3, {0x0F, 0x01, 0xDA}},
    {ALL_MODES, INSN_VMSAVE, 4, {0x67, 0x0F, 0x01, 0xDB}},
    {ALL_MODES, INSN_STGI, 3, {0x0F, 0x01, 0xDC}},
    {ALL_MODES, INSN_CLGI, 3, {0x0F, 0x01, 0xDD}},
    {ALL_MODES, INSN_SKINIT, 3, {0x0F, 0x01, 0xDE}},
    {ALL_MODES, INSN_INVLPGA, 3, {0x0F, 0x01, 0xDF}},
    {ALL_MODES, INSN_INVLPG, 3, {0x0F, 0x01, 0x38}},
    {DECODE_64, INSN_INVLPG, 9, {0x65, 0x0F, 0x01, 0x3C, 0x25, 1, 2, 3}},
    {DECODE_16, INSN_INVLPG, 5, {0x0F, 0x01, 0x3E, 1, 2}},
    {ALL_MODES, INSN_OTHER, 3, {0x0F, 0x01, 0xF8}}, /* SWAPGS */
    {ALL_MODES, INSN_INVPCID, 5, {0x66, 0x0F, 0x38, 0x82, 0x00}},
    {ALL_MODES, INSN_OTHER, 4, {0x0F, 0x38, 0x82, 0x00}},
    {ALL_MODES, INSN_HLT, 1, {0xF4}},
    {ALL_MODES, INSN_PAUSE, 2, {0xF3, 0x90}},
    {ALL_MODES, INSN_OTHER, 1, {0x90}},
    {DECODE_64, INSN_OTHER, 3, {0xF3, 0x41, 0x90}}, /* XCHG R8, RAX */
    {ALL_MODES, INSN_MONITOR, 3, {0x0F, 0x01, 0xC8}},
    {ALL_MODES, INSN_MWAIT, 3, {0x0F, 0x01, 0xC9}},
    {ALL_MODES, INSN_MONITOR, 3, {0x0F, 0x01, 0xFA}},
    {ALL_MODES, INSN_OTHER, 4, {0xF3, 0x0F, 0x01, 0xFA}}, /* MCOMMIT */
    {ALL_MODES, INSN_MWAIT, 3, {0x0F, 0x01, 0xFB}},
    {ALL_MODES, INSN_XSETBV, 3, {0x0F, 0x01, 0xD1}},
    {ALL_MODES, INSN_INVD, 2, {0x0F, 0x08}},
    {ALL_MODES, INSN_WBINVD, 2, {0x0F, 0x09}},
    {ALL_MODES, INSN_WBINVD, 3, {0xF3, 0x0F, 0x09}},
    {ALL_MODES, INSN_CLTS, 2, {0x0F, 0x06}},
    {ALL_MODES, INSN_LMSW, 3, {0x0F, 0x01, 0xF0}},
    {ALL_MODES, INSN_LMSW, 3, {0x0F, 0x01, 0x30}},
    {ALL_MODES, INSN_SMSW, 3, {0x0F, 0x01, 0xE0}},
    {DECODE_16, INSN_SMSW, 5, {0x0F, 0x01, 0x26, 1, 2}},
    {ALL_MODES, INSN_SGDT, 3, {0x0F, 0x01, 0x00}},
    {ALL_MODES, INSN_SIDT, 3, {0x0F, 0x01, 0x08}},
    {DECODE_32, INSN_LGDT, 7, {0x0F, 0x01, 0x15, 1, 2, 3, 4}},
    {DECODE_64, INSN_LIDT, 7, {0x0F, 0x01, 0x1D, 1, 2, 3, 4}},
    {ALL_MODES, INSN_SLDT, 3, {0x0F, 0x00, 0xC0}},
    {ALL_MODES, INSN_STR, 3, {0x0F, 0x00, 0xC8}},
    {ALL_MODES, INSN_LLDT, 3, {0x0F, 0x00, 0xD0}},
    {ALL_MODES, INSN_LTR, 3, {0x0F, 0x00, 0xD8}},
    {ALL_MODES, INSN_RSM, 2, {0x0F, 0xAA}},
    {ALL_MODES, INSN_IRET, 1, {0xCF}},
    {DECODE_64, INSN_IRET, 2, {0x48, 0xCF}},
    {ALL_MODES, INSN_INT, 2, {0xCD, 0x80}},
    {ALL_MODES, INSN_INT1, 1, {0xF1}},
    {ALL_MODES, INSN_INT3, 1, {0xCC}},
    {DECODE_32, INSN_INTO, 1, {0xCE}},
    {ALL_MODES, INSN_PUSHF, 1, {0x9C}},
    {ALL_MODES, INSN_POPF, 2, {0x66, 0x9D}},
    {ALL_MODES, INSN_IN, 2, {0xE5, 0xFF}},
    {ALL_MODES, INSN_IN, 1, {0xEC}},
    {ALL_MODES, INSN_OUT, 2, {0xE6, 0x80}},
    {ALL_MODES, INSN_OUT, 2, {0x66, 0xEF}},
    {ALL_MODES, INSN_INS, 2, {0xF3, 0x6C}},
    {ALL_MODES, INSN_OUTS, 3, {0xF3, 0x2E, 0x6F}},
    {ALL_MODES, INSN_MOVS, 2, {0xF3, 0xA5}},
    {ALL_MODES, INSN_CMPS, 2, {0xF2, 0xA6}},
    {ALL_MODES, INSN_SCAS, 1, {0xAE}},
    {ALL_MODES, INSN_PUSH, 2, {0xFF, 0x30}},
    {ALL_MODES, INSN_POP, 2, {0x8F, 0x00}},
    {DECODE_64, INSN_OTHER, 2, {0x0F, 0x05}},
};

START_TEST(test_intercepted)
{
    for (size_t i = 0; i < sizeof(intercepted) / sizeof(intercepted[0]); i++) {
        for (int mode = DECODE_16; mode <= DECODE_64; mode++) {
            struct decoded d;

            if (intercepted[i].mode != ALL_MODES && intercepted[i].mode != mode)
                continue;
            uint8_t bytes[DECODE_MAX_LENGTH] = {0};

            memcpy(bytes, intercepted[i].bytes, sizeof(intercepted[i].bytes));
            ck_assert_msg(decode_all(bytes, (enum decode_mode)mode, &d) == DECODE_OK, "row %zu", i);
            ck_assert_msg(d.length == intercepted[i].length, "row %zu mode %d: %u", i, mode,
                          d.length);
            ck_assert_msg(d.insn == intercepted[i].insn, "row %zu mode %d: %u", i, mode, d.insn);
        }
    }
}
END_TEST

/* MOV CR and DR: mod is ignored, LOCK stands for CR8, the operand is as wide as the mode. */
START_TEST(test_control_registers)
{
    static const uint8_t with_memory_mod[DECODE_MAX_LENGTH] = {0x0F, 0x22, 0x04};
    static const uint8_t cr8[DECODE_MAX_LENGTH] = {0x44, 0x0F, 0x20, 0xC0};
    static const uint8_t lock_cr8[DECODE_MAX_LENGTH] = {0xF0, 0x0F, 0x20, 0xC3};
    static const uint8_t dr7[DECODE_MAX_LENGTH] = {0x41, 0x0F, 0x23, 0xF9};
    struct decoded d;

    ck_assert_int_eq(decode_all(with_memory_mod, DECODE_64, &d), DECODE_OK);
    ck_assert_uint_eq(d.length, 3);
    ck_assert_uint_eq(d.insn, INSN_MOV_TO_CR);
    ck_assert(!d.has_memory);
    ck_assert_uint_eq(d.reg, 0);
    ck_assert_uint_eq(d.rm, RSP);
    ck_assert_uint_eq(d.operand_size, 8);
    ck_assert_int_eq(decode_all(with_memory_mod, DECODE_16, &d), DECODE_OK);
    ck_assert_uint_eq(d.operand_size, 4);
    ck_assert_int_eq(decode_all(cr8, DECODE_64, &d), DECODE_OK);
    ck_assert_uint_eq(d.insn, INSN_MOV_FROM_CR);
    ck_assert_uint_eq(d.reg, 8);
    ck_assert_int_eq(decode_all(lock_cr8, DECODE_32, &d), DECODE_OK);
    ck_assert_uint_eq(d.prefixes, DECODE_PREFIX_LOCK);
    ck_assert_uint_eq(d.rm, RBX);
    ck_assert_int_eq(decode_all(dr7, DECODE_64, &d), DECODE_OK);
    ck_assert_uint_eq(d.insn, INSN_MOV_TO_DR);
    ck_assert_uint_eq(d.reg, 7);
    ck_assert_uint_eq(d.rm, 9);
}
END_TEST

/* clang-format off */
static const struct {
    uint8_t bytes[12];
    enum decode_mode mode;
    uint8_t insn, form, reg, size, memory_size;
    uint8_t segment, base, index, scale;
    int64_t displacement;
    uint64_t immediate;
} operands[] = {
    /* mov eax, [0xfee00020] as 32-bit firmware has it; the same offset is -0x11fffe0 in 64-bit */
    {{0xA1, 0x20, 0x00, 0xE0, 0xFE},
     DECODE_32, INSN_MOV, FORM_REG_RM, RAX, 4, 4, DECODE_DS, NONE, NONE, 0, 0xFEE00020, 0},
    {{0x8B, 0x04, 0x25, 0x20, 0x00, 0xE0, 0xFE},
     DECODE_64, INSN_MOV, FORM_REG_RM, RAX, 4, 4, DECODE_DS, NONE, NONE, 0, -0x11FFFE0, 0},
    /* movabs [0xfee000b0], eax */
    {{0xA3, 0xB0, 0x00, 0xE0, 0xFE, 0, 0, 0, 0},
     DECODE_64, INSN_MOV, FORM_RM_REG, RAX, 4, 4, DECODE_DS, NONE, NONE, 0, 0xFEE000B0, 0},
    /* mov dword [rbx+0xb0], 0 */
    {{0xC7, 0x83, 0xB0, 0, 0, 0, 0, 0, 0, 0},
     DECODE_64, INSN_MOV, FORM_RM_IMM, 0, 4, 4, DECODE_DS, RBX, NONE, 0, 0xB0, 0},
    /* mov [r13+r12*4-1], r15 */
    {{0x4F, 0x89, 0x7C, 0xA5, 0xFF},
     DECODE_64, INSN_MOV, FORM_RM_REG, 15, 8, 8, DECODE_DS, 13, 12, 2, -1, 0},
    /* mov eax, [rsp+8]; mov eax, [rbp+rcx]: stack segment */
    {{0x8B, 0x44, 0x24, 0x08},
     DECODE_64, INSN_MOV, FORM_REG_RM, RAX, 4, 4, DECODE_SS, RSP, NONE, 0, 8, 0},
    {{0x8B, 0x44, 0x0D, 0x00},
     DECODE_32, INSN_MOV, FORM_REG_RM, RAX, 4, 4, DECODE_SS, RBP, RCX, 0, 0, 0},
    /* gs: add [rax], cx, with a DS override that 64-bit mode ignores; 32-bit mode obeys the last */
    {{0x65, 0x3E, 0x66, 0x01, 0x08},
     DECODE_64, INSN_ADD, FORM_RM_REG, RCX, 2, 2, DECODE_GS, RAX, NONE, 0, 0, 0},
    {{0x65, 0x36, 0x66, 0x01, 0x08},
     DECODE_32, INSN_ADD, FORM_RM_REG, RCX, 2, 2, DECODE_SS, RAX, NONE, 0, 0, 0},
    /* and dword [rdi], byte -16 */
    {{0x83, 0x27, 0xF0},
     DECODE_64, INSN_AND, FORM_RM_IMM, 4, 4, 4, DECODE_DS, RDI, NONE, 0, 0, UINT64_MAX - 15},
    /* cmp rax, imm32 sign-extended, with memory */
    {{0x48, 0x81, 0x38, 0x00, 0x00, 0x00, 0x80},
     DECODE_64, INSN_CMP, FORM_RM_IMM, 7, 8, 8, DECODE_DS, RAX, NONE, 0, 0, 0xFFFFFFFF80000000},
    /* movzx r8, word [rdx]; movsxd rax, dword [rdx]; movsx eax, byte [rdx] */
    {{0x4C, 0x0F, 0xB7, 0x02},
     DECODE_64, INSN_MOVZX, FORM_REG_RM, 8, 8, 2, DECODE_DS, RDX, NONE, 0, 0, 0},
    {{0x48, 0x63, 0x02},
     DECODE_64, INSN_MOVSX, FORM_REG_RM, RAX, 8, 4, DECODE_DS, RDX, NONE, 0, 0, 0},
    {{0x0F, 0xBE, 0x02},
     DECODE_32, INSN_MOVSX, FORM_REG_RM, RAX, 4, 1, DECODE_DS, RDX, NONE, 0, 0, 0},
    /* lock cmpxchg [rsi], edx; lock bts dword [rsi], 31; test byte [rsi], 0x80 */
    {{0xF0, 0x0F, 0xB1, 0x16},
     DECODE_64, INSN_CMPXCHG, FORM_RM_REG, RDX, 4, 4, DECODE_DS, RSI, NONE, 0, 0, 0},
    {{0xF0, 0x0F, 0xBA, 0x2E, 0x1F},
     DECODE_64, INSN_BTS, FORM_RM_IMM, 5, 4, 4, DECODE_DS, RSI, NONE, 0, 0, 0x1F},
    {{0xF6, 0x06, 0x80},
     DECODE_64, INSN_TEST, FORM_RM_IMM, 0, 1, 1, DECODE_DS, RSI, NONE, 0, 0, UINT64_MAX - 127},
    /* neg word [bp+si]; not byte [bx+di+0x7f]; inc dword [0x1234]; dec word [bp-1] */
    {{0xF7, 0x1A}, DECODE_16, INSN_NEG, FORM_RM, 3, 2, 2, DECODE_SS, RBP, RSI, 0, 0, 0},
    {{0xF6, 0x51, 0x7F}, DECODE_16, INSN_NOT, FORM_RM, 2, 1, 1, DECODE_DS, RBX, RDI, 0, 0x7F, 0},
    {{0x66, 0xFF, 0x06, 0x34, 0x12},
     DECODE_16, INSN_INC, FORM_RM, 0, 4, 4, DECODE_DS, NONE, NONE, 0, 0x1234, 0},
    {{0xFF, 0x4E, 0xFF}, DECODE_16, INSN_DEC, FORM_RM, 1, 2, 2, DECODE_SS, RBP, NONE, 0, -1, 0},
    /* unreal mode: mov eax, [esi+0xfee00000] with both size prefixes */
    {{0x67, 0x66, 0x8B, 0x86, 0x00, 0x00, 0xE0, 0xFE},
     DECODE_16, INSN_MOV, FORM_REG_RM, RAX, 4, 4, DECODE_DS, RSI, NONE, 0, -0x1200000, 0},
    /* stosd es:[edi] despite the override; lodsw fs:[rsi] */
    {{0x64, 0xAB}, DECODE_32, INSN_STOS, FORM_RM_REG, RAX, 4, 4, DECODE_ES, RDI, NONE, 0, 0, 0},
    {{0x64, 0x66, 0xAD},
     DECODE_64, INSN_LODS, FORM_REG_RM, RAX, 2, 2, DECODE_FS, RSI, NONE, 0, 0, 0},
};
/* clang-format on */

START_TEST(test_operands)
{
    for (size_t i = 0; i < sizeof(operands) / sizeof(operands[0]); i++) {
        uint8_t bytes[DECODE_MAX_LENGTH] = {0};
        struct decoded d;

        memcpy(bytes, operands[i].bytes, sizeof(operands[i].bytes));
        ck_assert_msg(decode_all(bytes, operands[i].mode, &d) == DECODE_OK, "row %zu", i);
        ck_assert_msg(d.has_memory && !d.rip_relative && d.insn == operands[i].insn &&
                          d.form == operands[i].form,
                      "row %zu: insn %u form %u", i, d.insn, d.form);
        ck_assert_msg(d.reg == operands[i].reg && d.operand_size == operands[i].size &&
                          d.memory_size == operands[i].memory_size,
                      "row %zu: reg %u size %u memory %u", i, d.reg, d.operand_size, d.memory_size);
        ck_assert_msg(d.segment == operands[i].segment && d.base == operands[i].base &&
                          d.index == operands[i].index && d.scale == operands[i].scale,
                      "row %zu: segment %u base %u index %u scale %u", i, d.segment, d.base,
                      d.index, d.scale);
        ck_assert_msg(d.displacement == operands[i].displacement &&
                          d.immediate == operands[i].immediate,
                      "row %zu: displacement %lld immediate %llx", i, (long long)d.displacement,
                      (unsigned long long)d.immediate);
    }
}
END_TEST

static const struct {
    uint8_t bytes[8];
    enum decode_mode mode;
    uint64_t gpr0, gpr3, next_rip, base, expected;
} addresses[] = {
    /* [rip+0x10]; with 67 it wraps at 4 GiB; in 32-bit mode the same bytes are absolute */
    {{0x8B, 0x05, 0x10}, DECODE_64, 0, 0, 0xFFFFFFFF80001000, 0, 0xFFFFFFFF80001010},
    {{0x67, 0x8B, 0x05, 0x10}, DECODE_64, 0, 0, 0x1FFFFFFF8, 0x1000, 0x1008},
    {{0x8B, 0x05, 0x10}, DECODE_32, 0, 0, 0x1000, 0, 0x10},
    /* [rax+rbx*8-1]: wraps at 64 bits, the segment base is added after that */
    {{0x8B, 0x44, 0xD8, 0xFF}, DECODE_64, 1, UINT64_MAX, 0, 0x1000, 0xFF8},
    {{0x67, 0x8B, 0x44, 0xD8, 0xFF}, DECODE_64, 1, UINT64_MAX, 0, 0x1000, 0x100000FF8},
    /* [eax+ebx*8-1]: 32-bit mode wraps offset and sum */
    {{0x8B, 0x44, 0xD8, 0xFF}, DECODE_32, 0x700000001, 0xFFFFFFFF, 0, 0x1000, 0xFF8},
    /* [bx+si-1] with 16-bit wrap; DS base F0000 */
    {{0x8B, 0x40, 0xFF}, DECODE_16, 0, 0x12340000, 0, 0xF0000, 0xFFFFF},
    /* bt [rbx], eax: the bit string reaches below and above its base */
    {{0x0F, 0xA3, 0x03}, DECODE_64, 0xFFFFFFFF, 0x1000, 0, 0, 0xFFC},
    {{0x0F, 0xA3, 0x03}, DECODE_64, 95, 0x1000, 0, 0, 0x1008},
    {{0x48, 0x0F, 0xA3, 0x03}, DECODE_64, 95, 0x1000, 0, 0, 0x1008},
    {{0x48, 0x0F, 0xAB, 0x03}, DECODE_64, (uint64_t)-65, 0x1000, 0, 0, 0xFF0},
    {{0x66, 0x0F, 0xBB, 0x03}, DECODE_64, 0x1234FFEF, 0x1000, 0, 0, 0xFFC},
    /* bt [rbx], imm stays in the operand */
    {{0x0F, 0xBA, 0x23, 0xFF}, DECODE_64, 0, 0x1000, 0, 0, 0x1000},
};

START_TEST(test_effective_address)
{
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        uint8_t bytes[DECODE_MAX_LENGTH] = {0};
        uint64_t gpr[16] = {addresses[i].gpr0, 0, 0, addresses[i].gpr3};
        struct decoded d;

        memcpy(bytes, addresses[i].bytes, sizeof(addresses[i].bytes));
        ck_assert_int_eq(decode_all(bytes, addresses[i].mode, &d), DECODE_OK);
        uint64_t found = effective_address(&d, gpr, addresses[i].next_rip, addresses[i].base);

        ck_assert_msg(found == addresses[i].expected, "row %zu: %llx", i,
                      (unsigned long long)found);
    }
}
END_TEST

/* Fields that only some instructions have. */
START_TEST(test_extras)
{
    static const uint8_t far_call[DECODE_MAX_LENGTH] = {0x9A, 1, 2, 3, 4, 5, 6};
    static const uint8_t enter[DECODE_MAX_LENGTH] = {0xC8, 0x34, 0x92, 0x1F};
    static const uint8_t port[DECODE_MAX_LENGTH] = {0x48, 0xED};
    static const uint8_t movabs[DECODE_MAX_LENGTH] = {0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 0x88};
    static const uint8_t high[DECODE_MAX_LENGTH] = {0x88, 0x27};
    static const uint8_t uniform[DECODE_MAX_LENGTH] = {0x40, 0x88, 0x27};
    static const uint8_t out[DECODE_MAX_LENGTH] = {0xE6, 0xFE};
    struct decoded d;

    ck_assert_int_eq(decode_all(far_call, DECODE_32, &d), DECODE_OK);
    ck_assert_uint_eq(d.immediate, 0x04030201);
    ck_assert_uint_eq(d.selector, 0x0605);
    ck_assert_int_eq(decode_all(enter, DECODE_64, &d), DECODE_OK);
    ck_assert_uint_eq(d.immediate, 0x9234);
    ck_assert_uint_eq(d.selector, 0x1F);
    ck_assert_int_eq(decode_all(port, DECODE_64, &d), DECODE_OK);
    ck_assert_uint_eq(d.operand_size, 4);
    ck_assert_int_eq(decode_all(movabs, DECODE_64, &d), DECODE_OK);
    ck_assert_uint_eq(d.immediate, 0x8807060504030201);
    ck_assert_int_eq(decode_all(high, DECODE_64, &d), DECODE_OK);
    ck_assert(d.byte_high && d.reg == RSP);
    ck_assert_int_eq(decode_all(uniform, DECODE_64, &d), DECODE_OK);
    ck_assert(!d.byte_high && d.reg == RSP);
    ck_assert_int_eq(decode_all(out, DECODE_16, &d), DECODE_OK);
    ck_assert_uint_eq(d.immediate, 0xFE);
    ck_assert_uint_eq(d.operand_size, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode_operands");
    TCase *tables = tcase_create("tables");
    SRunner *runner;
    int failed;

    tcase_add_test(tables, test_intercepted);
    tcase_add_test(tables, test_control_registers);
    tcase_add_test(tables, test_operands);
    tcase_add_test(tables, test_effective_address);
    tcase_add_test(tables, test_extras);
    suite_add_tcase(suite, tables);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
