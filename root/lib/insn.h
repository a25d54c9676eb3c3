// SPDX-License-Identifier: BSD-2-Clause-Patent
// Instruction bytes to fields, for emul.c: prefixes, opcode by table, ModRM, displacement,
// immediate. Sources: SDM 2 chapter 2, APM 3 chapter 1.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "emul.h"

enum { INSN_MAX = 15 };

enum insn_operation {
    INSN_MOV,
    INSN_MOVZX,
    INSN_MOVSX,
    INSN_ALU, // ADD OR ADC SBB AND SUB XOR CMP, by `alu`
    INSN_TEST,
    INSN_XCHG,
    INSN_MOVS,
    INSN_STOS,
    INSN_LODS,
    INSN_INS,
    INSN_OUTS,
    INSN_OPERATIONS,
};

// The operand that is not memory. It is the destination if `to_register`.
enum insn_operand { INSN_REGISTER, INSN_IMMEDIATE, INSN_ACCUMULATOR };

struct insn {
    enum insn_operation operation;
    enum insn_operand other;
    uint64_t immediate; // sign-extended
    uint8_t length;
    uint8_t memory_size;   // of the memory operand or the string's element: 1, 2, 4, 8
    uint8_t register_size; // of the other operand
    uint8_t address_size;  // 2, 4, 8
    uint8_t alu;           // 0..7 as in the opcode
    uint8_t reg;           // register number 0..15
    uint8_t segment;       // enum emul_segment of a string's source
    bool to_register;
    bool high_byte; // reg 4..7 are AH CH DH BH
    bool repeated;
};

// EMUL_DONE with *insn filled, EMUL_SHORT or EMUL_UNKNOWN. Only instructions with a memory operand
// are known.
enum emul_result insn_decode(struct insn *insn, const uint8_t *bytes, unsigned count, bool cs_long,
                             bool cs_default);
