// SPDX-License-Identifier: BSD-2-Clause-Patent
// Instruction decoder of the device emulation: contract in insn.h.
#include "insn.h"

#include "mem.h"

enum opcode_flag {
    FLAG_MODRM = 1 << 0,
    FLAG_TO_REGISTER = 1 << 1,
    FLAG_IMMEDIATE = 1 << 2,   // of the operand's size, 4 bytes at most
    FLAG_IMMEDIATE_8 = 1 << 3, // one byte
    FLAG_OFFSET = 1 << 4,      // an address follows, the other operand is the accumulator
    FLAG_STRING = 1 << 5,
    FLAG_GROUP = 1 << 6,    // ModRM.reg is the ALU operation
    FLAG_EXTEND = 1 << 7,   // bit 0 tells a memory operand of 1 or 2 bytes, the register is full
    FLAG_EXTEND_4 = 1 << 8, // memory operand of 4 bytes, the register is full
    FLAG_LONG = 1 << 9,     // 64-bit mode only
    FLAG_NO_66 = 1 << 10,   // the operand-size prefix makes it something else
};

enum opcode_map { MAP_ONE_BYTE, MAP_0F };

// A byte instruction and its wide sister are one row: bit 0 of the opcode tells them apart.
struct opcode {
    uint8_t map, mask, match;
    uint8_t extensions; // bit n: ModRM.reg n is this instruction; 0: reg is an operand
    uint8_t operation;
    uint16_t flags;
};

enum { ANY_EXTENSION = 0xFF };

static const struct opcode opcodes[] = {
    {MAP_ONE_BYTE, 0xC6, 0x00, 0, INSN_ALU, FLAG_MODRM},
    {MAP_ONE_BYTE, 0xC6, 0x02, 0, INSN_ALU, FLAG_MODRM | FLAG_TO_REGISTER},
    {MAP_ONE_BYTE, 0xFF, 0x63, 0, INSN_MOVSX,
     FLAG_MODRM | FLAG_TO_REGISTER | FLAG_EXTEND_4 | FLAG_LONG},
    {MAP_ONE_BYTE, 0xFE, 0x6C, 0, INSN_INS, FLAG_STRING},
    {MAP_ONE_BYTE, 0xFE, 0x6E, 0, INSN_OUTS, FLAG_STRING},
    {MAP_ONE_BYTE, 0xFE, 0x80, ANY_EXTENSION, INSN_ALU, FLAG_MODRM | FLAG_GROUP | FLAG_IMMEDIATE},
    {MAP_ONE_BYTE, 0xFF, 0x83, ANY_EXTENSION, INSN_ALU, FLAG_MODRM | FLAG_GROUP | FLAG_IMMEDIATE_8},
    {MAP_ONE_BYTE, 0xFE, 0x84, 0, INSN_TEST, FLAG_MODRM},
    {MAP_ONE_BYTE, 0xFE, 0x86, 0, INSN_XCHG, FLAG_MODRM},
    {MAP_ONE_BYTE, 0xFE, 0x88, 0, INSN_MOV, FLAG_MODRM},
    {MAP_ONE_BYTE, 0xFE, 0x8A, 0, INSN_MOV, FLAG_MODRM | FLAG_TO_REGISTER},
    {MAP_ONE_BYTE, 0xFE, 0xA0, 0, INSN_MOV, FLAG_OFFSET | FLAG_TO_REGISTER},
    {MAP_ONE_BYTE, 0xFE, 0xA2, 0, INSN_MOV, FLAG_OFFSET},
    {MAP_ONE_BYTE, 0xFE, 0xA4, 0, INSN_MOVS, FLAG_STRING},
    {MAP_ONE_BYTE, 0xFE, 0xAA, 0, INSN_STOS, FLAG_STRING},
    {MAP_ONE_BYTE, 0xFE, 0xAC, 0, INSN_LODS, FLAG_STRING},
    {MAP_ONE_BYTE, 0xFE, 0xC6, 1 << 0, INSN_MOV, FLAG_MODRM | FLAG_IMMEDIATE},
    {MAP_ONE_BYTE, 0xFE, 0xF6, 1 << 0 | 1 << 1, INSN_TEST, FLAG_MODRM | FLAG_IMMEDIATE},
    {MAP_0F, 0xFE, 0xB6, 0, INSN_MOVZX, FLAG_MODRM | FLAG_TO_REGISTER | FLAG_EXTEND},
    {MAP_0F, 0xFE, 0xBE, 0, INSN_MOVSX, FLAG_MODRM | FLAG_TO_REGISTER | FLAG_EXTEND},
    {MAP_0F, 0xFF, 0xC3, 0, INSN_MOV, FLAG_MODRM | FLAG_NO_66}, // MOVNTI
};

enum rex_bit { REX_R = 1 << 2, REX_W = 1 << 3 };

struct cursor {
    const uint8_t *bytes;
    unsigned count, at;
    bool cs_long, cs_default;
    bool operand_prefix, address_prefix, repeated, has_segment;
    bool has_rex;
    uint8_t rex, segment;
};

static enum emul_result next(struct cursor *cursor, uint8_t *byte)
{
    if (cursor->at >= INSN_MAX) {
        return EMUL_UNKNOWN; // the processor would not have taken it either
    }
    if (cursor->at >= cursor->count) {
        return EMUL_SHORT;
    }
    *byte = cursor->bytes[cursor->at++];
    return EMUL_DONE;
}

static enum emul_result skip(struct cursor *cursor, unsigned size)
{
    enum emul_result result = EMUL_DONE;
    uint8_t byte;

    while (size-- > 0 && result == EMUL_DONE) {
        result = next(cursor, &byte);
    }
    return result;
}

static bool take_segment(struct cursor *cursor, uint8_t byte)
{
    static const uint8_t prefixes[EMUL_SEGMENTS] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};

    for (unsigned segment = 0; segment < EMUL_SEGMENTS; segment++) {
        if (byte == prefixes[segment]) {
            cursor->segment = (uint8_t)segment;
            cursor->has_segment = true;
            return true;
        }
    }
    return false;
}

static bool take_prefix(struct cursor *cursor, uint8_t byte)
{
    switch (byte) {
    case 0x66:
        cursor->operand_prefix = true;
        return true;
    case 0x67:
        cursor->address_prefix = true;
        return true;
    case 0xF0: // LOCK: one access at a time reaches a device anyway
        return true;
    case 0xF2:
    case 0xF3:
        cursor->repeated = true;
        return true;
    default:
        return take_segment(cursor, byte);
    }
}

// Reads prefixes and returns the opcode byte behind them. REX counts only right before the opcode.
static enum emul_result read_prefixes(struct cursor *cursor, uint8_t *opcode)
{
    enum emul_result result;

    while ((result = next(cursor, opcode)) == EMUL_DONE) {
        if (cursor->cs_long && (*opcode & 0xF0) == 0x40) {
            cursor->has_rex = true;
            cursor->rex = *opcode;
        } else if (take_prefix(cursor, *opcode)) {
            cursor->has_rex = false;
            cursor->rex = 0;
        } else {
            break;
        }
    }
    return result;
}

static enum emul_result read_opcode(struct cursor *cursor, const struct opcode **found)
{
    uint8_t byte, map = MAP_ONE_BYTE;
    enum emul_result result = read_prefixes(cursor, &byte);

    if (result == EMUL_DONE && byte == 0x0F) {
        map = MAP_0F;
        result = next(cursor, &byte);
    }
    if (result != EMUL_DONE) {
        return result;
    }
    for (unsigned i = 0; i < sizeof opcodes / sizeof opcodes[0]; i++) {
        const struct opcode *opcode = &opcodes[i];
        if (opcode->map == map && (byte & opcode->mask) == opcode->match &&
            (cursor->cs_long || !(opcode->flags & FLAG_LONG)) &&
            !(cursor->operand_prefix && (opcode->flags & FLAG_NO_66))) {
            *found = opcode;
            return EMUL_DONE;
        }
    }
    return EMUL_UNKNOWN;
}

static uint8_t operand_size(const struct cursor *cursor)
{
    if (cursor->rex & REX_W) {
        return 8;
    }
    const bool wide = cursor->cs_long || cursor->cs_default;
    return wide != cursor->operand_prefix ? 4 : 2;
}

static uint8_t address_size(const struct cursor *cursor)
{
    if (cursor->cs_long) {
        return cursor->address_prefix ? 4 : 8;
    }
    return cursor->cs_default != cursor->address_prefix ? 4 : 2;
}

static void set_sizes(const struct cursor *cursor, const struct opcode *opcode, struct insn *insn)
{
    const bool odd = cursor->bytes[cursor->at - 1] & 1;
    const uint8_t full = operand_size(cursor);

    insn->address_size = address_size(cursor);
    insn->register_size = odd || (opcode->flags & FLAG_EXTEND) ? full : 1;
    insn->memory_size = insn->register_size;
    if (opcode->flags & FLAG_EXTEND) {
        insn->memory_size = odd ? 2 : 1;
    } else if (opcode->flags & FLAG_EXTEND_4) {
        insn->memory_size = 4;
    }
    if ((opcode->operation == INSN_INS || opcode->operation == INSN_OUTS) &&
        insn->memory_size == 8) {
        insn->memory_size = 4; // ports are 4 bytes wide at most
    }
}

// Bytes that follow ModRM to make up the address, given the SIB byte if there is one.
static unsigned displacement_size(uint8_t modrm, uint8_t sib, unsigned address_size)
{
    const unsigned mod = modrm >> 6, rm = modrm & 7;

    if (mod == 1) {
        return 1;
    }
    if (address_size == 2) {
        return mod == 2 || rm == 6 ? 2 : 0;
    }
    return mod == 2 || rm == 5 || (rm == 4 && (sib & 7) == 5) ? 4 : 0;
}

static enum emul_result read_modrm(struct cursor *cursor, const struct opcode *opcode,
                                   struct insn *insn)
{
    uint8_t modrm, sib = 0;
    enum emul_result result = next(cursor, &modrm);

    if (result != EMUL_DONE) {
        return result;
    }
    const unsigned reg = modrm >> 3 & 7;
    if (modrm >> 6 == 3 || (opcode->extensions && !(opcode->extensions >> reg & 1))) {
        return EMUL_UNKNOWN;
    }
    if (opcode->flags & FLAG_GROUP) {
        insn->alu = (uint8_t)reg;
    }
    insn->reg = (uint8_t)(reg | (cursor->rex & REX_R ? 8 : 0));
    insn->high_byte = insn->register_size == 1 && !cursor->has_rex && reg >= 4;
    if (insn->address_size != 2 && (modrm & 7) == 4) {
        result = next(cursor, &sib);
    }
    return result == EMUL_DONE ? skip(cursor, displacement_size(modrm, sib, insn->address_size))
                               : result;
}

static enum emul_result read_immediate(struct cursor *cursor, unsigned size, uint64_t *immediate)
{
    uint64_t value = 0;
    uint8_t byte = 0;

    for (unsigned i = 0; i < size; i++) {
        const enum emul_result result = next(cursor, &byte);
        if (result != EMUL_DONE) {
            return result;
        }
        value |= (uint64_t)byte << 8 * i;
    }
    if (byte & 0x80 && size < 8) {
        value |= UINT64_MAX << 8 * size;
    }
    *immediate = value;
    return EMUL_DONE;
}

static enum emul_result read_operands(struct cursor *cursor, const struct opcode *opcode,
                                      struct insn *insn)
{
    enum emul_result result = EMUL_DONE;

    if (opcode->flags & FLAG_MODRM) {
        result = read_modrm(cursor, opcode, insn);
    } else if (opcode->flags & FLAG_OFFSET) {
        insn->other = INSN_ACCUMULATOR;
        result = skip(cursor, insn->address_size);
    }
    if (result == EMUL_DONE && (opcode->flags & (FLAG_IMMEDIATE | FLAG_IMMEDIATE_8))) {
        const unsigned full = insn->memory_size > 4 ? 4 : insn->memory_size;
        insn->other = INSN_IMMEDIATE;
        result =
            read_immediate(cursor, opcode->flags & FLAG_IMMEDIATE ? full : 1, &insn->immediate);
    }
    return result;
}

enum emul_result insn_decode(struct insn *insn, const uint8_t *bytes, unsigned count, bool cs_long,
                             bool cs_default)
{
    struct cursor cursor = {
        .bytes = bytes, .count = count, .cs_long = cs_long, .cs_default = cs_default};
    const struct opcode *opcode = NULL;
    enum emul_result result = read_opcode(&cursor, &opcode);

    if (result != EMUL_DONE) {
        return result;
    }
    memset(insn, 0, sizeof *insn);
    insn->operation = opcode->operation;
    insn->to_register = opcode->flags & FLAG_TO_REGISTER;
    insn->alu = bytes[cursor.at - 1] >> 3 & 7;
    insn->repeated = cursor.repeated && (opcode->flags & FLAG_STRING);
    insn->segment = cursor.has_segment ? cursor.segment : EMUL_DS;
    set_sizes(&cursor, opcode, insn);
    result = read_operands(&cursor, opcode, insn);
    insn->length = (uint8_t)cursor.at;
    return result;
}
