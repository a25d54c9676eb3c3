// SPDX-License-Identifier: BSD-2-Clause-Patent
// Opcode tables: one entry an opcode, in the rows of SDM 2, appendix A.

#include "decode_table.h"

/* A table is read by its columns. */
/* clang-format off */
#define NONE          {0, INSN_OTHER, FORM_NONE}
#define BAD           {OF_UNDEFINED, INSN_OTHER, FORM_NONE}
#define NO64          {OF_NO64, INSN_OTHER, FORM_NONE}
#define MODRM         {OF_MODRM, INSN_OTHER, FORM_NONE}
#define MODRM_IMM8    {OF_MODRM | IMM_8, INSN_OTHER, FORM_NONE}
#define FLAGS(f)      {(f), INSN_OTHER, FORM_NONE}
#define PLAIN(i)      {0, INSN_##i, FORM_NONE}
#define OP(f, i)      {(f), INSN_##i, FORM_NONE}
#define RM_REG(f, i)  {OF_MODRM | (f), INSN_##i, FORM_RM_REG}
#define REG_RM(f, i)  {OF_MODRM | (f), INSN_##i, FORM_REG_RM}
#define GROUP(f, g)   {OF_MODRM | OF_GROUP | (f), GROUP_##g, FORM_NONE}

/* The six forms of an arithmetic operation; the accumulator has no memory operand. */
#define ALU(first, i, lock)                                                                        \
    [(first) + 0] = RM_REG(OF_BYTE | (lock), i), [(first) + 1] = RM_REG(lock, i),                  \
    [(first) + 2] = REG_RM(OF_BYTE, i),          [(first) + 3] = REG_RM(0, i),                     \
    [(first) + 4] = FLAGS(OF_BYTE | IMM_Z),      [(first) + 5] = FLAGS(IMM_Z)

/* Prefixes, REX and the 0F escape are consumed before the table is asked: they stay NONE. */
const struct opcode opcode_map0[256] = {
    ALU(0x00, ADD, OF_LOCK), [0x06] = NO64, [0x07] = NO64,
    ALU(0x08, OR, OF_LOCK), [0x0E] = NO64,
    ALU(0x10, ADC, OF_LOCK), [0x16] = NO64, [0x17] = NO64,
    ALU(0x18, SBB, OF_LOCK), [0x1E] = NO64, [0x1F] = NO64,
    ALU(0x20, AND, OF_LOCK), [0x27] = NO64,
    ALU(0x28, SUB, OF_LOCK), [0x2F] = NO64,
    ALU(0x30, XOR, OF_LOCK), [0x37] = NO64,
    ALU(0x38, CMP, 0), [0x3F] = NO64,
    [0x40 ... 0x4F] = NONE, /* INC, DEC; prefixes in 64-bit mode */
    [0x50 ... 0x57] = OP(OF_D64, PUSH),
    [0x58 ... 0x5F] = OP(OF_D64, POP),
    [0x60] = NO64, NO64, FLAGS(OF_MODRM | OF_NO64 | OF_MEMORY), REG_RM(OF_ONLY64, MOVSX),
    [0x68] = OP(OF_D64 | IMM_Z, PUSH), FLAGS(OF_MODRM | IMM_Z), OP(OF_D64 | IMM_S8, PUSH),
             FLAGS(OF_MODRM | IMM_S8), OP(OF_BYTE, INS), PLAIN(INS), OP(OF_BYTE, OUTS),
             PLAIN(OUTS),
    [0x70 ... 0x7F] = FLAGS(OF_F64 | IMM_S8),
    [0x80] = GROUP(OF_BYTE | IMM_Z, 1), GROUP(IMM_Z, 1), GROUP(OF_BYTE | OF_NO64 | IMM_Z, 1),
             GROUP(IMM_S8, 1), RM_REG(OF_BYTE, TEST), RM_REG(0, TEST),
             RM_REG(OF_BYTE | OF_LOCK, XCHG), RM_REG(OF_LOCK, XCHG),
    [0x88] = RM_REG(OF_BYTE, MOV), RM_REG(0, MOV), REG_RM(OF_BYTE, MOV), REG_RM(0, MOV), MODRM,
             FLAGS(OF_MODRM | OF_MEMORY), MODRM, GROUP(OF_D64, 1A),
    [0x90 ... 0x99] = NONE,
    [0x9A] = FLAGS(OF_NO64 | IMM_FAR), NONE, OP(OF_D64, PUSHF), OP(OF_D64, POPF), NONE, NONE,
    [0xA0] = {OF_BYTE, INSN_MOV, FORM_REG_RM}, {0, INSN_MOV, FORM_REG_RM},
             {OF_BYTE, INSN_MOV, FORM_RM_REG}, {0, INSN_MOV, FORM_RM_REG}, OP(OF_BYTE, MOVS),
             PLAIN(MOVS), OP(OF_BYTE, CMPS), PLAIN(CMPS),
    [0xA8] = FLAGS(OF_BYTE | IMM_Z), FLAGS(IMM_Z), {OF_BYTE, INSN_STOS, FORM_RM_REG},
             {0, INSN_STOS, FORM_RM_REG}, {OF_BYTE, INSN_LODS, FORM_REG_RM},
             {0, INSN_LODS, FORM_REG_RM}, OP(OF_BYTE, SCAS), PLAIN(SCAS),
    [0xB0 ... 0xB7] = FLAGS(OF_BYTE | IMM_V),
    [0xB8 ... 0xBF] = FLAGS(IMM_V),
    [0xC0] = MODRM_IMM8, MODRM_IMM8, FLAGS(OF_F64 | IMM_16), FLAGS(OF_F64),
             FLAGS(OF_MODRM | OF_NO64 | OF_MEMORY), FLAGS(OF_MODRM | OF_NO64 | OF_MEMORY),
             GROUP(OF_BYTE | IMM_Z, 11), GROUP(IMM_Z, 11),
    [0xC8] = FLAGS(OF_D64 | IMM_ENTER), FLAGS(OF_D64), FLAGS(IMM_16), NONE, PLAIN(INT3),
             OP(IMM_8, INT), OP(OF_NO64, INTO), PLAIN(IRET),
    [0xD0 ... 0xD3] = MODRM,
    [0xD4] = FLAGS(OF_NO64 | IMM_8), FLAGS(OF_NO64 | IMM_8), NO64, NONE,
    [0xD8 ... 0xDF] = MODRM,
    [0xE0 ... 0xE3] = FLAGS(OF_F64 | IMM_S8),
    [0xE4] = OP(OF_BYTE | IMM_8, IN), OP(IMM_8, IN), OP(OF_BYTE | IMM_8, OUT), OP(IMM_8, OUT),
    [0xE8] = FLAGS(OF_F64 | IMM_Z), FLAGS(OF_F64 | IMM_Z), FLAGS(OF_NO64 | IMM_FAR),
             FLAGS(OF_F64 | IMM_S8), OP(OF_BYTE, IN), PLAIN(IN), OP(OF_BYTE, OUT), PLAIN(OUT),
    [0xF1] = PLAIN(INT1),
    [0xF4] = PLAIN(HLT), NONE, GROUP(OF_BYTE, 3), GROUP(0, 3),
    [0xF8] = NONE, NONE, NONE, NONE, NONE, NONE, GROUP(OF_BYTE, 4), GROUP(0, 5),
};

#define CR(i, lock)   {OF_MODRM | OF_REGISTER | OF_F64 | (lock), INSN_##i, FORM_NONE}

const struct opcode opcode_map1[256] = {
    [0x00] = GROUP(0, 6), GROUP(0, 7), MODRM, MODRM, BAD, NONE, PLAIN(CLTS), NONE,
    [0x08] = PLAIN(INVD), PLAIN(WBINVD), BAD, NONE, BAD, MODRM, NONE, MODRM_IMM8,
    [0x10 ... 0x1F] = MODRM,
    [0x20] = CR(MOV_FROM_CR, OF_LOCK), CR(MOV_FROM_DR, 0), CR(MOV_TO_CR, OF_LOCK),
             CR(MOV_TO_DR, 0), BAD, BAD, BAD, BAD,
    [0x28 ... 0x2F] = MODRM,
    [0x30] = PLAIN(WRMSR), PLAIN(RDTSC), PLAIN(RDMSR), PLAIN(RDPMC), NONE, NONE, BAD, NONE,
    [0x38] = BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, /* 38 and 3A are escapes */
    [0x40 ... 0x6F] = MODRM,
    [0x70 ... 0x73] = MODRM_IMM8,
    [0x74 ... 0x76] = MODRM,
    [0x77] = NONE,
    [0x78] = MODRM, MODRM, BAD, BAD, MODRM, MODRM, MODRM, MODRM,
    [0x80 ... 0x8F] = FLAGS(OF_F64 | IMM_Z),
    [0x90 ... 0x9F] = MODRM,
    [0xA0] = OP(OF_D64, PUSH), OP(OF_D64, POP), PLAIN(CPUID), RM_REG(0, BT), MODRM_IMM8, MODRM,
             BAD, BAD,
    [0xA8] = OP(OF_D64, PUSH), OP(OF_D64, POP), PLAIN(RSM), RM_REG(OF_LOCK, BTS), MODRM_IMM8,
             MODRM, MODRM, MODRM,
    [0xB0] = RM_REG(OF_BYTE | OF_LOCK, CMPXCHG), RM_REG(OF_LOCK, CMPXCHG),
             FLAGS(OF_MODRM | OF_MEMORY), RM_REG(OF_LOCK, BTR), FLAGS(OF_MODRM | OF_MEMORY),
             FLAGS(OF_MODRM | OF_MEMORY), REG_RM(0, MOVZX), REG_RM(0, MOVZX),
    [0xB8] = MODRM, MODRM, GROUP(IMM_8, 8), RM_REG(OF_LOCK, BTC), MODRM, MODRM, REG_RM(0, MOVSX),
             REG_RM(0, MOVSX),
    [0xC0] = RM_REG(OF_BYTE | OF_LOCK, XADD), RM_REG(OF_LOCK, XADD), MODRM_IMM8,
             RM_REG(OF_MEMORY, MOV), /* MOVNTI */
             MODRM_IMM8, MODRM_IMM8, MODRM_IMM8, GROUP(0, 9),
    [0xC8 ... 0xCF] = NONE,
    [0xD0 ... 0xFF] = MODRM,
};

#define RM(f, i)      {(f), INSN_##i, FORM_RM}
#define RM_IMM(f, i)  {(f), INSN_##i, FORM_RM_IMM}

const struct opcode opcode_groups[GROUP_COUNT][8] = {
    [GROUP_1] = {RM_IMM(OF_LOCK, ADD), RM_IMM(OF_LOCK, OR), RM_IMM(OF_LOCK, ADC),
                 RM_IMM(OF_LOCK, SBB), RM_IMM(OF_LOCK, AND), RM_IMM(OF_LOCK, SUB),
                 RM_IMM(OF_LOCK, XOR), RM_IMM(0, CMP)},
    [GROUP_1A] = {PLAIN(POP), BAD, BAD, BAD, BAD, BAD, BAD, BAD},
    [GROUP_3] = {RM_IMM(IMM_Z, TEST), RM_IMM(IMM_Z, TEST), RM(OF_LOCK, NOT), RM(OF_LOCK, NEG), NONE,
                 NONE, NONE, NONE},
    [GROUP_4] = {RM(OF_LOCK, INC), RM(OF_LOCK, DEC), BAD, BAD, BAD, BAD, BAD, BAD},
    [GROUP_5] = {RM(OF_LOCK, INC), RM(OF_LOCK, DEC), FLAGS(OF_F64), FLAGS(OF_MEMORY), FLAGS(OF_F64),
                 FLAGS(OF_MEMORY), OP(OF_D64, PUSH), BAD},
    [GROUP_6] = {PLAIN(SLDT), PLAIN(STR), PLAIN(LLDT), PLAIN(LTR), NONE, NONE, BAD, BAD},
    /* The register forms of 0F 01 are in opcode_0f01. */
    [GROUP_7] = {PLAIN(SGDT), PLAIN(SIDT), PLAIN(LGDT), PLAIN(LIDT), PLAIN(SMSW), NONE, PLAIN(LMSW),
                 PLAIN(INVLPG)},
    [GROUP_8] = {BAD, BAD, BAD, BAD, RM_IMM(0, BT), RM_IMM(OF_LOCK, BTS), RM_IMM(OF_LOCK, BTR),
                 RM_IMM(OF_LOCK, BTC)},
    /* /1 is CMPXCHG8B and CMPXCHG16B. */
    [GROUP_9] = {NONE, FLAGS(OF_LOCK | OF_MEMORY), NONE, NONE, NONE, NONE, NONE, NONE},
    /* /7 is XABORT and XBEGIN, with ModRM F8 only: the decoder checks that. */
    [GROUP_11] = {RM_IMM(0, MOV), BAD, BAD, BAD, BAD, BAD, BAD, NONE},
};

#define MODRM_INDEX(modrm) ((modrm) - 0xC0)

const uint8_t opcode_0f01[64] = {
    [MODRM_INDEX(0xC1)] = INSN_VMCALL,
    [MODRM_INDEX(0xC8)] = INSN_MONITOR,
    [MODRM_INDEX(0xC9)] = INSN_MWAIT,
    [MODRM_INDEX(0xD1)] = INSN_XSETBV,
    [MODRM_INDEX(0xD8)] = INSN_VMRUN,
    [MODRM_INDEX(0xD9)] = INSN_VMMCALL,
    [MODRM_INDEX(0xDA)] = INSN_VMLOAD,
    [MODRM_INDEX(0xDB)] = INSN_VMSAVE,
    [MODRM_INDEX(0xDC)] = INSN_STGI,
    [MODRM_INDEX(0xDD)] = INSN_CLGI,
    [MODRM_INDEX(0xDE)] = INSN_SKINIT,
    [MODRM_INDEX(0xDF)] = INSN_INVLPGA,
    [MODRM_INDEX(0xE0) ... MODRM_INDEX(0xE7)] = INSN_SMSW,
    [MODRM_INDEX(0xF0) ... MODRM_INDEX(0xF7)] = INSN_LMSW,
    [MODRM_INDEX(0xF9)] = INSN_RDTSCP,
    [MODRM_INDEX(0xFA)] = INSN_MONITOR, /* MONITORX */
    [MODRM_INDEX(0xFB)] = INSN_MWAIT,   /* MWAITX */
    [MODRM_INDEX(0xFD)] = INSN_RDPRU,
};
/* clang-format on */
