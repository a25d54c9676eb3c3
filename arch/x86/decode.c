// SPDX-License-Identifier: BSD-2-Clause-Patent
// Instruction decoding: prefixes, opcode, ModRM, immediate, in the order of the bytes. What is
// known about an opcode is in decode_table.c; here is only the grammar (SDM 2, chapter 2; APM 3,
// chapter 1).

#include "corbel/decode.h"

#include "decode_table.h"

enum {
    REX_W = 8,
    REX_R = 4,
    REX_X = 2,
    REX_B = 1,
};

enum {
    REG_RAX = 0,
    REG_RBX = 3,
    REG_RSP = 4,
    REG_RBP = 5,
    REG_RSI = 6,
    REG_RDI = 7,
};

/* The bytes not yet consumed. Nothing is read without having been counted first. */
struct cursor {
    const uint8_t *bytes;
    unsigned count;
    unsigned at;
};

/*
 * Takes size (1, 2, 4, 8) bytes, little-endian. Beyond the longest instruction there is no need to
 * ask for more bytes: the answer is known.
 */
static int take(struct cursor *c, unsigned size, uint64_t *value)
{
    if (c->at + size > DECODE_MAX_LENGTH)
        return DECODE_INVALID;
    if (c->at + size > c->count)
        return DECODE_TRUNCATED;
    *value = 0;
    for (unsigned i = 0; i < size; i++)
        *value |= (uint64_t)c->bytes[c->at + i] << (8 * i);
    c->at += size;
    return DECODE_OK;
}

static int take_byte(struct cursor *c, uint8_t *value)
{
    uint64_t wide;
    int status = take(c, 1, &wide);

    if (status == DECODE_OK)
        *value = (uint8_t)wide;
    return status;
}

static int64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;

    return (int64_t)(value << shift) >> shift;
}

/* A segment override as the mode obeys it: 64-bit mode ignores all but FS and GS (SDM 1, 3.4.2.1).
 */
static void override_segment(struct decoded *d, enum decode_segment segment)
{
    if (d->mode == DECODE_64 && segment < DECODE_FS)
        return;
    d->prefixes |= DECODE_PREFIX_SEGMENT;
    d->segment = (uint8_t)segment;
}

/* Records one legacy prefix; false when the byte is none. */
static bool legacy_prefix(struct decoded *d, uint8_t byte)
{
    switch (byte) {
    case 0x26:
    case 0x2E:
    case 0x36:
    case 0x3E:
        override_segment(d, (enum decode_segment)(byte >> 3 & 3));
        return true;
    case 0x64:
    case 0x65:
        override_segment(d, (enum decode_segment)(byte & 7));
        return true;
    case 0x66:
        d->prefixes |= DECODE_PREFIX_OPERAND;
        return true;
    case 0x67:
        d->prefixes |= DECODE_PREFIX_ADDRESS;
        return true;
    case 0xF0:
        d->prefixes |= DECODE_PREFIX_LOCK;
        return true;
    case 0xF2:
        d->prefixes = (uint8_t)((d->prefixes & ~DECODE_PREFIX_REP) | DECODE_PREFIX_REPNE);
        return true;
    case 0xF3:
        d->prefixes = (uint8_t)((d->prefixes & ~DECODE_PREFIX_REPNE) | DECODE_PREFIX_REP);
        return true;
    default:
        return false;
    }
}

/* Takes all prefixes and the byte after them. REX counts only directly before the opcode. */
static int take_prefixes(struct cursor *c, struct decoded *d, uint8_t *byte)
{
    for (;;) {
        int status = take_byte(c, byte);

        if (status != DECODE_OK)
            return status;
        if (legacy_prefix(d, *byte))
            d->rex = 0;
        else if (d->mode == DECODE_64 && (*byte & 0xF0) == 0x40)
            d->rex = *byte;
        else
            return DECODE_OK;
    }
}

/*
 * VEX, XOP and EVEX take the place of LES, LDS, POP and BOUND with operands that those cannot have
 * (SDM 2, 2.3.5 and 2.7; APM 3, 1.4): memory forms outside 64-bit mode stay the old instructions.
 */
static int extended_encoding(const struct cursor *c, const struct decoded *d, uint8_t byte,
                             enum decode_encoding *encoding)
{
    *encoding = DECODE_LEGACY;
    if (byte != 0xC4 && byte != 0xC5 && byte != 0x62 && byte != 0x8F)
        return DECODE_OK;

    struct cursor peek = *c;
    uint8_t next;
    int status = take_byte(&peek, &next);

    if (status != DECODE_OK)
        return status;
    if (byte == 0x8F)
        *encoding = (next & 0x18) != 0 ? DECODE_XOP : DECODE_LEGACY;
    else if (d->mode == DECODE_64 || next >= 0xC0)
        *encoding = byte == 0x62 ? DECODE_EVEX : DECODE_VEX;
    return DECODE_OK;
}

/* The flags of an opcode in a VEX, XOP or EVEX map, for its length. */
static uint16_t extended_flags(const struct decoded *d)
{
    if (d->encoding == DECODE_XOP)
        return d->map == 8 ? OF_MODRM | IMM_8 : d->map == 9 ? OF_MODRM : OF_MODRM | IMM_Z;
    if (d->map == 3)
        return OF_MODRM | IMM_8;
    if (d->map != 1)
        return OF_MODRM;
    if (d->encoding == DECODE_VEX && d->opcode == 0x77) /* VZEROUPPER, VZEROALL */
        return 0;
    return OF_MODRM | (opcode_map1[d->opcode].flags == (OF_MODRM | IMM_8) ? IMM_8 : 0);
}

static bool extended_map_exists(const struct decoded *d, uint64_t payload)
{
    if (d->encoding == DECODE_XOP)
        return d->map >= 8 && d->map <= 10;
    if (d->encoding == DECODE_VEX)
        return d->map >= 1 && d->map <= 3;
    /* EVEX: P0 bit 3 is clear, P1 bit 2 is set. */
    return (payload & 0x408) == 0x400 && d->map != 0 && d->map != 4 && d->map != 7;
}

/*
 * Takes the rest of a VEX, XOP or EVEX prefix, whose first byte was first, and its opcode. None of
 * them may follow a REX, LOCK or SIMD prefix. R, X and B are stored inverted.
 */
static int take_extended(struct cursor *c, struct decoded *d, uint8_t first, struct opcode *op)
{
    const uint8_t forbidden =
        DECODE_PREFIX_LOCK | DECODE_PREFIX_REPNE | DECODE_PREFIX_REP | DECODE_PREFIX_OPERAND;
    unsigned size = d->encoding == DECODE_EVEX ? 3 : first == 0xC5 ? 1 : 2;
    uint64_t payload = 0;
    uint8_t part;

    if (d->rex != 0 || (d->prefixes & forbidden) != 0)
        return DECODE_INVALID;
    for (unsigned i = 0; i < size; i++) {
        int status = take_byte(c, &part);

        if (status != DECODE_OK)
            return status;
        payload |= (uint64_t)part << (8 * i);
    }
    d->map = first == 0xC5 ? 1 : payload & (d->encoding == DECODE_EVEX ? 7 : 0x1F);
    if (!extended_map_exists(d, payload))
        return DECODE_INVALID;
    if (d->mode == DECODE_64) {
        uint8_t inverted = (uint8_t)(~payload >> 5 & 7);

        d->rex = 0x40 | (first == 0xC5 ? inverted & REX_R : inverted);
        if (first != 0xC5 && (payload & 0x8000) != 0)
            d->rex |= REX_W;
    }

    int status = take_byte(c, &d->opcode);

    *op = (struct opcode){.flags = extended_flags(d)};
    return status;
}

/* Takes a legacy opcode with its escapes, beginning with the byte already taken. */
static int take_legacy(struct cursor *c, struct decoded *d, uint8_t byte, struct opcode *op)
{
    int status = DECODE_OK;

    d->opcode = byte;
    if (byte != 0x0F) {
        *op = opcode_map0[byte];
        return DECODE_OK;
    }
    d->map = 1;
    status = take_byte(c, &d->opcode);
    if (status != DECODE_OK)
        return status;
    if (d->opcode != 0x38 && d->opcode != 0x3A) {
        *op = opcode_map1[d->opcode];
        return DECODE_OK;
    }
    d->map = d->opcode == 0x38 ? 2 : 3;
    *op = (struct opcode){.flags = d->map == 2 ? OF_MODRM : OF_MODRM | IMM_8};
    status = take_byte(c, &d->opcode);
    if (d->map == 2 && d->opcode == 0x82 && (d->prefixes & DECODE_PREFIX_OPERAND) != 0)
        op->insn = INSN_INVPCID;
    return status;
}

/* Operand and address size from mode and prefixes (SDM 2, table 3-4). */
static void set_sizes(struct decoded *d, uint16_t flags)
{
    bool operand = (d->prefixes & DECODE_PREFIX_OPERAND) != 0;
    bool address = (d->prefixes & DECODE_PREFIX_ADDRESS) != 0;

    if (d->mode == DECODE_64) {
        d->address_size = address ? 4 : 8;
        if ((d->rex & REX_W) != 0 || (flags & OF_F64) != 0)
            d->operand_size = 8;
        else if (operand)
            d->operand_size = 2;
        else
            d->operand_size = (flags & OF_D64) != 0 ? 8 : 4;
    } else {
        bool wide = d->mode == DECODE_32;

        d->address_size = address != wide ? 4 : 2;
        d->operand_size = operand != wide ? 4 : 2;
        /* Control, debug and vector registers know no 16-bit operands. */
        if ((flags & OF_REGISTER) != 0 || d->encoding != DECODE_LEGACY)
            d->operand_size = 4;
    }
    if ((flags & OF_BYTE) != 0)
        d->operand_size = 1;
}

static void default_segment(struct decoded *d)
{
    if ((d->prefixes & DECODE_PREFIX_SEGMENT) != 0)
        return;
    d->segment = d->base == REG_RSP || d->base == REG_RBP ? DECODE_SS : DECODE_DS;
}

static int take_displacement(struct cursor *c, struct decoded *d, unsigned size)
{
    uint64_t value;
    int status = DECODE_OK;

    if (size != 0) {
        status = take(c, size, &value);
        if (status == DECODE_OK)
            d->displacement = sign_extend(value, size);
    }
    return status;
}

/* SDM 2, table 2-1: two registers at most, none scaled. */
static int take_memory_16(struct cursor *c, struct decoded *d)
{
    static const uint8_t bases[8] = {REG_RBX, REG_RBX, REG_RBP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_RBP, REG_RBX};
    static const uint8_t indexes[4] = {REG_RSI, REG_RDI, REG_RSI, REG_RDI};
    unsigned mod = d->modrm >> 6;
    unsigned rm = d->modrm & 7;

    d->base = bases[rm];
    if (rm < 4)
        d->index = indexes[rm];
    if (mod == 0 && rm == 6) {
        d->base = DECODE_NO_REGISTER;
        return take_displacement(c, d, 2);
    }
    return take_displacement(c, d, mod);
}

/* SDM 2, tables 2-2 and 2-3, and 2.2.1.6 for RIP-relative addressing. */
static int take_memory_32(struct cursor *c, struct decoded *d)
{
    static const uint8_t displacement_sizes[4] = {0, 1, 4, 0};
    unsigned mod = d->modrm >> 6;
    unsigned base = d->modrm & 7;
    bool sib = base == 4;

    if (sib) {
        uint8_t byte;
        int status = take_byte(c, &byte);

        if (status != DECODE_OK)
            return status;
        unsigned index = (byte >> 3 & 7) | ((d->rex & REX_X) != 0 ? 8 : 0);

        d->scale = byte >> 6;
        d->index = index == REG_RSP ? DECODE_NO_REGISTER : (uint8_t)index;
        base = byte & 7;
    }
    if (mod == 0 && base == 5) {
        d->rip_relative = !sib && d->mode == DECODE_64;
        return take_displacement(c, d, 4);
    }
    d->base = (uint8_t)(base | ((d->rex & REX_B) != 0 ? 8 : 0));
    return take_displacement(c, d, displacement_sizes[mod]);
}

static int take_modrm(struct cursor *c, struct decoded *d, uint16_t flags)
{
    int status = take_byte(c, &d->modrm);

    if (status != DECODE_OK)
        return status;
    d->has_modrm = true;
    d->reg = (d->modrm >> 3 & 7) | ((d->rex & REX_R) != 0 ? 8 : 0);
    if (d->modrm >= 0xC0 || (flags & OF_REGISTER) != 0) {
        d->rm = (d->modrm & 7) | ((d->rex & REX_B) != 0 ? 8 : 0);
        return (flags & OF_MEMORY) != 0 ? DECODE_INVALID : DECODE_OK;
    }
    d->has_memory = true;
    status = d->address_size == 2 ? take_memory_16(c, d) : take_memory_32(c, d);
    default_segment(d);
    return status;
}

/* Memory operands without ModRM: moffs, and the one of STOS and LODS. */
static int take_implicit_memory(struct cursor *c, struct decoded *d)
{
    uint64_t offset;
    int status;

    d->has_memory = true;
    switch (d->insn) {
    case INSN_STOS:
        d->base = REG_RDI;
        d->segment = DECODE_ES; /* no override: SDM 2, STOS */
        return DECODE_OK;
    case INSN_LODS:
        d->base = REG_RSI;
        default_segment(d);
        return DECODE_OK;
    default:
        status = take(c, d->address_size, &offset);
        if (status == DECODE_OK)
            d->displacement = (int64_t)offset;
        default_segment(d);
        return status;
    }
}

static int take_immediate(struct cursor *c, struct decoded *d, uint16_t flags)
{
    unsigned kind = flags & OF_IMMEDIATE;
    unsigned size = d->operand_size;
    uint64_t selector = 0;
    int status;

    if (kind == IMM_NONE)
        return DECODE_OK;
    if (kind == IMM_8 || kind == IMM_S8)
        size = 1;
    else if (kind == IMM_16 || kind == IMM_ENTER)
        size = 2;
    else if (kind != IMM_V && size > 4)
        size = 4;
    status = take(c, size, &d->immediate);
    if (status != DECODE_OK)
        return status;
    if (kind == IMM_S8 || kind == IMM_Z)
        d->immediate = (uint64_t)sign_extend(d->immediate, size);
    if (kind == IMM_FAR || kind == IMM_ENTER) {
        status = take(c, kind == IMM_FAR ? 2 : 1, &selector);
        d->selector = (uint16_t)selector;
    }
    return status;
}

/* Selects a group's entry by ModRM.reg. */
static int resolve_group(struct decoded *d, struct opcode *op)
{
    unsigned group = op->insn;
    const struct opcode *entry = &opcode_groups[group][d->modrm >> 3 & 7];

    op->flags |= entry->flags;
    op->insn = entry->insn;
    op->form = entry->form;
    if ((op->flags & OF_UNDEFINED) != 0 || ((op->flags & OF_MEMORY) != 0 && d->modrm >= 0xC0))
        return DECODE_INVALID;
    if (group == GROUP_7 && d->modrm >= 0xC0)
        op->insn = opcode_0f01[d->modrm - 0xC0];
    if (group == GROUP_11 && (d->modrm & 0x38) == 0x38 && d->modrm != 0xF8)
        return DECODE_INVALID;
    set_sizes(d, op->flags);
    return DECODE_OK;
}

/* The opcodes that a repeat or SIMD prefix turns into something else. */
static int apply_prefixes(struct decoded *d, struct opcode *op)
{
    bool rep = (d->prefixes & DECODE_PREFIX_REP) != 0;
    bool simd = (d->prefixes & (DECODE_PREFIX_REPNE | DECODE_PREFIX_OPERAND)) != 0;

    if (d->encoding != DECODE_LEGACY)
        return DECODE_OK;
    if (d->map == 0 && d->opcode == 0x90 && rep && (d->rex & REX_B) == 0)
        op->insn = INSN_PAUSE;
    if (d->map == 1 && d->opcode == 0xB8 && !rep) /* only POPCNT exists */
        return DECODE_INVALID;
    if (d->map == 1 && d->opcode == 0x78 && simd && !rep) /* EXTRQ, INSERTQ: two bytes */
        op->flags |= IMM_16;
    if (d->map == 1 && d->opcode == 0x01 && d->modrm == 0xFA && rep) /* MCOMMIT */
        op->insn = INSN_OTHER;
    return DECODE_OK;
}

/* Bytes touched at the memory operand. */
static uint8_t memory_size(const struct decoded *d)
{
    if (d->form == FORM_NONE)
        return 0;
    if (d->insn != INSN_MOVZX && d->insn != INSN_MOVSX)
        return d->operand_size;
    if (d->map == 0) /* MOVSXD */
        return d->operand_size == 2 ? 2 : 4;
    return (d->opcode & 1) != 0 ? 2 : 1;
}

/* The properties that follow from everything else. */
static int finish(struct decoded *d, uint16_t flags)
{
    bool lock = (d->prefixes & DECODE_PREFIX_LOCK) != 0;

    if (lock && ((flags & OF_LOCK) == 0 || !(d->has_memory || (flags & OF_REGISTER) != 0)))
        return DECODE_INVALID;
    if (d->insn >= INSN_INS && d->insn <= INSN_OUT && d->operand_size == 8)
        d->operand_size = 4; /* there are no 64-bit ports */
    d->byte_high = (flags & OF_BYTE) != 0 && d->rex == 0 && d->reg >= 4 && d->reg < 8;
    d->memory_size = memory_size(d);
    return DECODE_OK;
}

/* Takes everything after the opcode. */
static int take_operands(struct cursor *c, struct decoded *d, struct opcode *op)
{
    int status = DECODE_OK;

    if ((op->flags & OF_UNDEFINED) != 0 || (d->mode == DECODE_64 && (op->flags & OF_NO64) != 0))
        return DECODE_INVALID;
    if (d->mode != DECODE_64 && (op->flags & OF_ONLY64) != 0)
        *op = (struct opcode){.flags = op->flags};
    set_sizes(d, op->flags);
    if ((op->flags & OF_MODRM) != 0)
        status = take_modrm(c, d, op->flags);
    if (status == DECODE_OK && (op->flags & OF_GROUP) != 0)
        status = resolve_group(d, op);
    if (status == DECODE_OK)
        status = apply_prefixes(d, op);
    d->insn = op->insn;
    d->form = op->form;
    if (status == DECODE_OK && d->form != FORM_NONE && !d->has_modrm)
        status = take_implicit_memory(c, d);
    if (status == DECODE_OK)
        status = take_immediate(c, d, op->flags);
    return status;
}

int decode(const uint8_t *bytes, unsigned count, enum decode_mode mode, struct decoded *out)
{
    struct cursor c = {.bytes = bytes, .count = count};
    struct opcode op;
    enum decode_encoding encoding;
    uint8_t byte;
    int status;

    *out = (struct decoded){
        .mode = (uint8_t)mode,
        .segment = DECODE_DS,
        .base = DECODE_NO_REGISTER,
        .index = DECODE_NO_REGISTER,
    };
    status = take_prefixes(&c, out, &byte);
    if (status == DECODE_OK)
        status = extended_encoding(&c, out, byte, &encoding);
    if (status != DECODE_OK)
        return status;
    out->encoding = (uint8_t)encoding;
    if (encoding == DECODE_LEGACY)
        status = take_legacy(&c, out, byte, &op);
    else
        status = take_extended(&c, out, byte, &op);
    if (status == DECODE_OK)
        status = take_operands(&c, out, &op);
    if (status == DECODE_OK)
        status = finish(out, op.flags);
    out->length = (uint8_t)c.at;
    return status;
}

/* The byte offset that a bit offset in a register adds to the operand (SDM 2, BT). */
static uint64_t bit_string_offset(const struct decoded *d, const uint64_t gpr[16])
{
    if (d->insn < INSN_BT || d->insn > INSN_BTC || d->form != FORM_RM_REG)
        return 0;
    return (uint64_t)(sign_extend(gpr[d->reg], d->operand_size) >> 3) & -(uint64_t)d->operand_size;
}

uint64_t effective_address(const struct decoded *d, const uint64_t gpr[16], uint64_t next_rip,
                           uint64_t segment_base)
{
    uint64_t address = (uint64_t)d->displacement;

    if (d->base != DECODE_NO_REGISTER)
        address += gpr[d->base];
    if (d->index != DECODE_NO_REGISTER)
        address += gpr[d->index] << d->scale;
    if (d->rip_relative)
        address += next_rip;
    address += bit_string_offset(d, gpr);
    if (d->address_size < 8)
        address &= (UINT64_C(1) << (8 * d->address_size)) - 1;
    address += segment_base;
    return d->mode == DECODE_64 ? address : address & UINT32_MAX;
}
