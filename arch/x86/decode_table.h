// SPDX-License-Identifier: BSD-2-Clause-Patent
// The opcode tables of the decoder (SDM 2, appendix A; APM 3, appendix A). Private to decode.c.
#ifndef ARCH_X86_DECODE_TABLE_H
#define ARCH_X86_DECODE_TABLE_H

#include "corbel/decode.h"

enum opcode_flags {
    OF_MODRM = 1 << 0,
    OF_BYTE = 1 << 1,     /* the operand is one byte */
    OF_D64 = 1 << 2,      /* in 64-bit mode the operand is 8 bytes, or 2 with a prefix */
    OF_F64 = 1 << 3,      /* in 64-bit mode the operand is 8 bytes */
    OF_NO64 = 1 << 4,     /* no instruction in 64-bit mode */
    OF_ONLY64 = 1 << 5,   /* outside 64-bit mode another instruction of the same length */
    OF_MEMORY = 1 << 6,   /* no instruction with a register operand */
    OF_REGISTER = 1 << 7, /* ModRM.mod is ignored: always a register */
    OF_GROUP = 1 << 8,    /* insn is an index of opcode_groups */
    OF_LOCK = 1 << 9,     /* LOCK is allowed with a memory destination */
    OF_UNDEFINED = 1 << 10,
    OF_IMMEDIATE = 7 << 12, /* enum opcode_immediate */
};

enum opcode_immediate {
    IMM_NONE = 0 << 12,
    IMM_8 = 1 << 12,  /* zero-extended */
    IMM_S8 = 2 << 12, /* sign-extended */
    IMM_16 = 3 << 12,
    IMM_Z = 4 << 12,     /* of the operand size, but at most 4 bytes; sign-extended */
    IMM_V = 5 << 12,     /* of the operand size */
    IMM_FAR = 6 << 12,   /* offset of the operand size, 16-bit selector */
    IMM_ENTER = 7 << 12, /* 16 bits, 8 bits */
};

struct opcode {
    uint16_t flags; /* enum opcode_flags and one enum opcode_immediate */
    uint8_t insn;   /* enum insn, or enum opcode_group */
    uint8_t form;   /* enum decode_form */
};

enum opcode_group {
    GROUP_1,
    GROUP_1A,
    GROUP_3,
    GROUP_4,
    GROUP_5,
    GROUP_6,
    GROUP_7,
    GROUP_8,
    GROUP_9,
    GROUP_11,
    GROUP_COUNT,
};

extern const struct opcode opcode_map0[256];
extern const struct opcode opcode_map1[256];

/* By ModRM.reg; flags are added to those of the opcode. */
extern const struct opcode opcode_groups[GROUP_COUNT][8];

/* 0F 01 with a register operand, ModRM C0..FF: enum insn. */
extern const uint8_t opcode_0f01[64];

#endif
