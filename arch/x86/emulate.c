// SPDX-License-Identifier: BSD-2-Clause-Patent
// The operations of the instructions that may touch the APIC page or a doorbell, on values.

#include "corbel/emulate.h"

#include <stdbool.h>

enum {
    FLAG_CF = 1 << 0,
    FLAG_PF = 1 << 2,
    FLAG_AF = 1 << 4,
    FLAG_ZF = 1 << 6,
    FLAG_SF = 1 << 7,
    FLAG_DF = 1 << 10,
    FLAG_OF = 1 << 11,
    FLAGS_RESULT = FLAG_PF | FLAG_ZF | FLAG_SF,
    FLAGS_STATUS = FLAGS_RESULT | FLAG_CF | FLAG_AF | FLAG_OF,
};

enum {
    REG_RAX = 0,
    REG_RSI = 6,
    REG_RDI = 7,
};

/* One execution: operands of the same size, destination first. */
struct operation {
    unsigned size;
    uint64_t dst;
    uint64_t src;
    uint64_t result;
    uint64_t flags;
};

static uint64_t size_mask(unsigned size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

static uint64_t top_bit(unsigned size)
{
    return UINT64_C(1) << (8 * size - 1);
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
    return ((value & size_mask(size)) ^ top_bit(size)) - top_bit(size);
}

static uint64_t read_register(const struct decoded *d, const uint64_t gpr[16])
{
    if (d->byte_high)
        return gpr[d->reg - 4] >> 8 & 0xFF;
    return gpr[d->reg] & size_mask(d->operand_size);
}

/* 32-bit results clear the upper half, smaller ones leave the rest alone (SDM 1, 3.4.1.1). */
static void write_part(uint64_t *reg, unsigned size, uint64_t value)
{
    if (size == 4)
        *reg = value & UINT32_MAX;
    else
        *reg = (*reg & ~size_mask(size)) | (value & size_mask(size));
}

static void write_register(const struct decoded *d, uint64_t gpr[16], uint64_t value)
{
    if (d->byte_high)
        gpr[d->reg - 4] = (gpr[d->reg - 4] & ~UINT64_C(0xFF00)) | (value & 0xFF) << 8;
    else
        write_part(&gpr[d->reg], d->operand_size, value);
}

static void set_flags(struct operation *o, uint64_t which, uint64_t value)
{
    o->flags = (o->flags & ~which) | (value & which);
}

/* PF, ZF and SF of a result, which is cut to its size. */
static uint64_t result_flags(struct operation *o, uint64_t result)
{
    o->result = result & size_mask(o->size);

    uint64_t flags = (__builtin_popcount((unsigned)o->result & 0xFF) & 1) == 0 ? FLAG_PF : 0;

    flags |= o->result == 0 ? FLAG_ZF : 0;
    flags |= (o->result & top_bit(o->size)) != 0 ? FLAG_SF : 0;
    return flags;
}

/*
 * CF, AF and OF from the carries (or borrows) out of each bit position: AF is the one out of bit 3,
 * CF the one out of the top bit, and OF tells whether the carry into the top bit differs from it.
 */
static uint64_t carry_flags(const struct operation *o, uint64_t carries)
{
    uint64_t flags = (carries & top_bit(o->size)) != 0 ? FLAG_CF : 0;

    flags |= (carries & 8) != 0 ? FLAG_AF : 0;
    flags |= ((carries ^ carries << 1) & top_bit(o->size)) != 0 ? FLAG_OF : 0;
    return flags;
}

static void add(struct operation *o, uint64_t carry)
{
    uint64_t sum = o->dst + o->src + carry;
    uint64_t carries = (o->dst & o->src) | ((o->dst | o->src) & ~sum);

    set_flags(o, FLAGS_STATUS, result_flags(o, sum) | carry_flags(o, carries));
}

static void subtract(struct operation *o, uint64_t borrow)
{
    uint64_t difference = o->dst - o->src - borrow;
    uint64_t borrows = (~o->dst & o->src) | ((~o->dst | o->src) & difference);

    set_flags(o, FLAGS_STATUS, result_flags(o, difference) | carry_flags(o, borrows));
}

static void logical(struct operation *o, uint64_t result)
{
    set_flags(o, FLAGS_STATUS, result_flags(o, result));
}

/* INC and DEC are ADD and SUB of 1 that keep CF. */
static void step(struct operation *o, enum insn insn)
{
    uint64_t carry = o->flags & FLAG_CF;

    o->src = 1;
    if (insn == INSN_INC)
        add(o, 0);
    else
        subtract(o, 0);
    set_flags(o, FLAG_CF, carry);
}

static void negate(struct operation *o)
{
    o->src = o->dst;
    o->dst = 0;
    subtract(o, 0);
}

static void bit_operation(struct operation *o, enum insn insn)
{
    uint64_t bit = UINT64_C(1) << (o->src & (8 * o->size - 1));

    set_flags(o, FLAG_CF, (o->dst & bit) != 0 ? FLAG_CF : 0);
    if (insn == INSN_BTS)
        o->result = o->dst | bit;
    else if (insn == INSN_BTR)
        o->result = o->dst & ~bit;
    else
        o->result = o->dst ^ bit;
}

/* Computes result and flags. What a comparison computes is not stored. */
static void execute(struct operation *o, enum insn insn)
{
    switch (insn) {
    case INSN_ADD:
    case INSN_XADD:
        add(o, 0);
        break;
    case INSN_ADC:
        add(o, o->flags & FLAG_CF);
        break;
    case INSN_SUB:
    case INSN_CMP:
        subtract(o, 0);
        break;
    case INSN_SBB:
        subtract(o, o->flags & FLAG_CF);
        break;
    case INSN_OR:
        logical(o, o->dst | o->src);
        break;
    case INSN_AND:
    case INSN_TEST:
        logical(o, o->dst & o->src);
        break;
    case INSN_XOR:
        logical(o, o->dst ^ o->src);
        break;
    case INSN_INC:
    case INSN_DEC:
        step(o, insn);
        break;
    case INSN_NEG:
        negate(o);
        break;
    case INSN_NOT:
        o->result = ~o->dst & size_mask(o->size);
        break;
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        bit_operation(o, insn);
        break;
    default: /* moves and XCHG */
        o->result = o->src;
        break;
    }
}

/* Access to a memory destination; a memory source is only read. */
static const uint8_t destination_access[INSN_MEMORY_LAST + 1] = {
    [INSN_ADD... INSN_XOR] = EMULATE_READ | EMULATE_WRITE,
    [INSN_CMP] = EMULATE_READ,
    [INSN_TEST] = EMULATE_READ,
    [INSN_MOV] = EMULATE_WRITE,
    [INSN_XCHG... INSN_NEG] = EMULATE_READ | EMULATE_WRITE,
    [INSN_BT] = EMULATE_READ,
    [INSN_BTS... INSN_XADD] = EMULATE_READ | EMULATE_WRITE,
    [INSN_STOS] = EMULATE_WRITE,
};

unsigned emulate_access(const struct decoded *d)
{
    const uint8_t repeat = DECODE_PREFIX_REP | DECODE_PREFIX_REPNE;

    if (!d->has_memory || d->form == FORM_NONE || d->insn > INSN_MEMORY_LAST)
        return 0;
    if ((d->insn == INSN_STOS || d->insn == INSN_LODS) && (d->prefixes & repeat) != 0)
        return 0;
    return d->form == FORM_REG_RM ? EMULATE_READ : destination_access[d->insn];
}

/* STOS and LODS move their pointer by one element (SDM 2, STOS). */
static void advance_pointer(const struct decoded *d, uint64_t gpr[16], uint64_t rflags)
{
    uint64_t step_size = d->operand_size;

    if (d->insn == INSN_STOS || d->insn == INSN_LODS)
        write_part(&gpr[d->base], d->address_size,
                   gpr[d->base] + ((rflags & FLAG_DF) != 0 ? -step_size : step_size));
}

/* The accumulator is compared with memory; the loser of the two gets the new value. */
static void compare_exchange(struct operation *o, uint64_t gpr[16])
{
    uint64_t memory = o->dst;
    uint64_t replacement = o->src;

    o->dst = gpr[REG_RAX] & size_mask(o->size);
    o->src = memory;
    subtract(o, 0);
    if ((o->flags & FLAG_ZF) == 0)
        write_part(&gpr[REG_RAX], o->size, memory);
    o->result = (o->flags & FLAG_ZF) != 0 ? replacement : memory;
}

static void execute_to_memory(const struct decoded *d, struct operation *o, uint64_t gpr[16])
{
    if (d->insn == INSN_CMPXCHG) {
        compare_exchange(o, gpr);
        return;
    }
    execute(o, (enum insn)d->insn);
    if (d->insn == INSN_XCHG || d->insn == INSN_XADD)
        write_register(d, gpr, o->dst);
}

int emulate_rmw(const struct decoded *d, uint64_t gpr[16], uint64_t *rflags, uint64_t memory_in,
                uint64_t *memory_out)
{
    unsigned access = emulate_access(d);
    struct operation o = {.size = d->operand_size, .flags = *rflags};

    if (access == 0)
        return EMULATE_REFUSED;
    memory_in &= size_mask(d->memory_size);
    if (d->form == FORM_REG_RM) {
        o.dst = read_register(d, gpr);
        o.src = d->insn == INSN_MOVSX ? sign_extend(memory_in, d->memory_size) : memory_in;
        execute(&o, (enum insn)d->insn);
        if (d->insn != INSN_CMP)
            write_register(d, gpr, o.result);
    } else {
        o.dst = (access & EMULATE_READ) != 0 ? memory_in : 0;
        o.src = (d->form == FORM_RM_REG ? read_register(d, gpr) : d->immediate) & size_mask(o.size);
        execute_to_memory(d, &o, gpr);
    }
    *rflags = o.flags;
    advance_pointer(d, gpr, o.flags);
    if ((access & EMULATE_WRITE) != 0)
        *memory_out = o.result & size_mask(d->memory_size);
    return 0;
}
