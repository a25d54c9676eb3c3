// SPDX-License-Identifier: BSD-2-Clause-Patent
// Completion of intercepted memory and port instructions: contract in emul.h.
#include "emul.h"

#include "insn.h"
#include "mem.h"

enum rflags_bit {
    FLAG_CARRY = 1 << 0,
    FLAG_PARITY = 1 << 2,
    FLAG_ADJUST = 1 << 4,
    FLAG_ZERO = 1 << 6,
    FLAG_SIGN = 1 << 7,
    FLAG_DIRECTION = 1 << 10,
    FLAG_OVERFLOW = 1 << 11,
    FLAG_RESUME = 1 << 16,
    FLAGS_ARITHMETIC =
        FLAG_CARRY | FLAG_PARITY | FLAG_ADJUST | FLAG_ZERO | FLAG_SIGN | FLAG_OVERFLOW,
};

enum alu_operation { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

enum { PAGE_SIZE = 4096 };

struct operation {
    struct emul_registers *registers;
    const struct emul_bus *bus;
    const struct insn *insn;
    uint64_t gpa;
};

// ---- registers -------------------------------------------------------------------------------

static uint64_t mask_of(unsigned size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
    const uint64_t sign = UINT64_C(1) << (8 * size - 1);
    return ((value & mask_of(size)) ^ sign) - sign;
}

// What a write of `size` bytes leaves in a register: 4-byte writes clear the upper half.
static uint64_t merged(uint64_t old, uint64_t value, unsigned size)
{
    const uint64_t kept = size >= 4 ? 0 : ~mask_of(size);
    return (old & kept) | (value & mask_of(size));
}

static void finish(struct emul_registers *registers, unsigned length)
{
    const unsigned width = registers->cs_long ? 8 : registers->cs_default ? 4 : 2;

    registers->rip = (registers->rip + length) & mask_of(width);
    registers->rflags &= ~(uint64_t)FLAG_RESUME;
}

static unsigned index_of(const struct insn *insn)
{
    const unsigned index = insn->other == INSN_ACCUMULATOR ? EMUL_RAX : insn->reg;
    return insn->high_byte ? index - 4 : index;
}

static uint64_t get_other(const struct operation *op)
{
    if (op->insn->other == INSN_IMMEDIATE) {
        return op->insn->immediate & mask_of(op->insn->memory_size);
    }
    const uint64_t value = op->registers->gpr[index_of(op->insn)] >> (op->insn->high_byte ? 8 : 0);
    return value & mask_of(op->insn->register_size);
}

static void set_register(const struct operation *op, uint64_t value)
{
    const unsigned index = index_of(op->insn);
    uint64_t *reg = &op->registers->gpr[index];

    op->registers->changed |= 1u << index;
    if (op->insn->high_byte) {
        *reg = (*reg & ~UINT64_C(0xFF00)) | (value & 0xFF) << 8;
    } else {
        *reg = merged(*reg, value, op->insn->register_size);
    }
}

// ---- arithmetic --------------------------------------------------------------------------------

static bool even_parity(uint64_t value)
{
    value ^= value >> 4;
    value ^= value >> 2;
    value ^= value >> 1;
    return !(value & 1);
}

static void set_flags(uint64_t *rflags, uint64_t result, unsigned size, uint64_t carries,
                      uint64_t overflows)
{
    const unsigned top = 8 * size - 1;
    uint64_t flags = *rflags & ~(uint64_t)FLAGS_ARITHMETIC;

    flags |= carries >> top & 1 ? FLAG_CARRY : 0;
    flags |= even_parity(result & 0xFF) ? FLAG_PARITY : 0;
    flags |= carries >> 3 & 1 ? FLAG_ADJUST : 0;
    flags |= result == 0 ? FLAG_ZERO : 0;
    flags |= result >> top & 1 ? FLAG_SIGN : 0;
    flags |= overflows >> top & 1 ? FLAG_OVERFLOW : 0;
    *rflags = flags;
}

// a op b, both of `size` bytes. Bit n of `carries` is the carry or borrow out of bit n.
static uint64_t alu(unsigned operation, uint64_t a, uint64_t b, unsigned size, uint64_t *rflags)
{
    const bool with_carry = operation == ALU_ADC || operation == ALU_SBB;
    const uint64_t carry = with_carry && (*rflags & FLAG_CARRY) ? 1 : 0;
    uint64_t result, carries = 0, overflows = 0;

    switch (operation) {
    case ALU_ADD:
    case ALU_ADC:
        result = (a + b + carry) & mask_of(size);
        carries = (a & b) | ((a | b) & ~result);
        overflows = (a ^ result) & (b ^ result);
        break;
    case ALU_SUB:
    case ALU_SBB:
    case ALU_CMP:
        result = (a - b - carry) & mask_of(size);
        carries = (~a & b) | (~(a ^ b) & result);
        overflows = (a ^ b) & (a ^ result);
        break;
    case ALU_OR:
        result = a | b;
        break;
    case ALU_AND:
        result = a & b;
        break;
    default:
        result = a ^ b;
        break;
    }
    set_flags(rflags, result, size, carries, overflows);
    return result;
}

// ---- instructions with one memory operand, at op->gpa -----------------------------------------

static uint64_t load(const struct operation *op)
{
    uint64_t value = 0;
    op->bus->device(op->bus->ctx, op->gpa, op->insn->memory_size, false, &value);
    return value & mask_of(op->insn->memory_size);
}

static void store(const struct operation *op, uint64_t value)
{
    value &= mask_of(op->insn->memory_size);
    op->bus->device(op->bus->ctx, op->gpa, op->insn->memory_size, true, &value);
}

static void do_mov(const struct operation *op)
{
    if (op->insn->to_register) {
        set_register(op, load(op));
    } else {
        store(op, get_other(op));
    }
}

static void do_movsx(const struct operation *op)
{
    set_register(op, sign_extend(load(op), op->insn->memory_size));
}

static void do_alu(const struct operation *op)
{
    const struct insn *insn = op->insn;
    const uint64_t memory = load(op), other = get_other(op);
    const uint64_t a = insn->to_register ? other : memory, b = insn->to_register ? memory : other;
    const uint64_t result = alu(insn->alu, a, b, insn->memory_size, &op->registers->rflags);

    if (insn->alu == ALU_CMP) {
        return;
    }
    if (insn->to_register) {
        set_register(op, result);
    } else {
        store(op, result);
    }
}

static void do_test(const struct operation *op)
{
    alu(ALU_AND, load(op), get_other(op), op->insn->memory_size, &op->registers->rflags);
}

static void do_xchg(const struct operation *op)
{
    const uint64_t memory = load(op);

    store(op, get_other(op));
    set_register(op, memory);
}

// ---- string instructions -----------------------------------------------------------------------

// An element in guest memory, found before anything is moved so that a fault changes nothing.
struct place {
    uint64_t gpa, second_gpa; // of the first byte; of the first byte on the next page
    unsigned first;           // bytes on the first page
};

static uint64_t *changing_register(const struct operation *op, enum emul_register which)
{
    op->registers->changed |= 1u << which;
    return &op->registers->gpr[which];
}

static bool locate(const struct operation *op, enum emul_register index, enum emul_segment segment,
                   bool is_write, struct place *place)
{
    const struct emul_registers *registers = op->registers;
    const unsigned size = op->insn->memory_size;
    const bool flat = registers->cs_long && segment != EMUL_FS && segment != EMUL_GS;
    const uint64_t wrap = registers->cs_long ? UINT64_MAX : UINT32_MAX;
    const uint64_t offset = registers->gpr[index] & mask_of(op->insn->address_size);
    const uint64_t linear = (offset + (flat ? 0 : registers->segment_base[segment])) & wrap;
    const unsigned left = PAGE_SIZE - (unsigned)(linear % PAGE_SIZE);

    place->first = size < left ? size : left;
    return op->bus->translate(op->bus->ctx, linear, is_write, &place->gpa) &&
           (place->first == size || op->bus->translate(op->bus->ctx, (linear + place->first) & wrap,
                                                       is_write, &place->second_gpa));
}

static void move_piece(const struct operation *op, uint64_t gpa, unsigned size, bool is_write,
                       uint64_t *value)
{
    if (!op->bus->ram(op->bus->ctx, gpa, size, is_write, value)) {
        op->bus->device(op->bus->ctx, gpa, size, is_write, value);
    }
    *value &= mask_of(size);
}

static void transfer(const struct operation *op, const struct place *place, bool is_write,
                     uint64_t *value)
{
    const unsigned size = op->insn->memory_size;

    if (place->first == size) {
        move_piece(op, place->gpa, size, is_write, value);
        return;
    }
    uint64_t gathered = 0; // across a page: byte by byte
    for (unsigned i = 0; i < size; i++) {
        const uint64_t gpa =
            i < place->first ? place->gpa + i : place->second_gpa + (i - place->first);
        uint64_t byte = *value >> 8 * i & 0xFF;
        move_piece(op, gpa, 1, is_write, &byte);
        gathered |= byte << 8 * i;
    }
    *value = gathered;
}

static void step(const struct operation *op, enum emul_register index)
{
    uint64_t *reg = changing_register(op, index);
    const uint64_t size = op->insn->memory_size;
    const bool down = op->registers->rflags & FLAG_DIRECTION;

    *reg = merged(*reg, down ? *reg - size : *reg + size, op->insn->address_size);
}

static bool do_movs(const struct operation *op)
{
    struct place from, to;
    uint64_t value = 0;

    if (!locate(op, EMUL_RSI, op->insn->segment, false, &from) ||
        !locate(op, EMUL_RDI, EMUL_ES, true, &to)) {
        return false;
    }
    transfer(op, &from, false, &value);
    transfer(op, &to, true, &value);
    step(op, EMUL_RSI);
    step(op, EMUL_RDI);
    return true;
}

static bool do_stos(const struct operation *op)
{
    uint64_t value = op->registers->gpr[EMUL_RAX] & mask_of(op->insn->memory_size);
    struct place to;

    if (!locate(op, EMUL_RDI, EMUL_ES, true, &to)) {
        return false;
    }
    transfer(op, &to, true, &value);
    step(op, EMUL_RDI);
    return true;
}

static bool do_lods(const struct operation *op)
{
    struct place from;
    uint64_t value = 0;

    if (!locate(op, EMUL_RSI, op->insn->segment, false, &from)) {
        return false;
    }
    transfer(op, &from, false, &value);
    uint64_t *rax = changing_register(op, EMUL_RAX);
    *rax = merged(*rax, value, op->insn->memory_size);
    step(op, EMUL_RSI);
    return true;
}

static bool do_ins(const struct operation *op)
{
    const uint16_t port = (uint16_t)op->registers->gpr[EMUL_RDX];
    struct place to;
    uint32_t value = 0;

    if (!locate(op, EMUL_RDI, EMUL_ES, true, &to)) {
        return false;
    }
    op->bus->port(op->bus->ctx, port, op->insn->memory_size, false, &value);
    uint64_t wide = value & mask_of(op->insn->memory_size);
    transfer(op, &to, true, &wide);
    step(op, EMUL_RDI);
    return true;
}

static bool do_outs(const struct operation *op)
{
    const uint16_t port = (uint16_t)op->registers->gpr[EMUL_RDX];
    struct place from;
    uint64_t wide = 0;

    if (!locate(op, EMUL_RSI, op->insn->segment, false, &from)) {
        return false;
    }
    transfer(op, &from, false, &wide);
    uint32_t value = (uint32_t)wide;
    op->bus->port(op->bus->ctx, port, op->insn->memory_size, true, &value);
    step(op, EMUL_RSI);
    return true;
}

// Elements until the count, the share or a fault ends it.
static enum emul_result repeat(const struct operation *op,
                               bool (*element)(const struct operation *op))
{
    uint64_t *rcx = changing_register(op, EMUL_RCX);
    const uint64_t mask = mask_of(op->insn->address_size);
    unsigned left = EMUL_SHARE / op->insn->memory_size;

    while ((*rcx & mask) != 0) {
        if (left-- == 0) {
            return EMUL_AGAIN;
        }
        if (!element(op)) {
            return EMUL_FAULT;
        }
        *rcx = merged(*rcx, *rcx - 1, op->insn->address_size);
    }
    finish(op->registers, op->insn->length);
    return EMUL_DONE;
}

// ---- dispatch ----------------------------------------------------------------------------------

enum kind { KIND_MEMORY = 1 << 0, KIND_PORT = 1 << 1 };

// One of the two: `simple` cannot fail, `element` is one step of a string instruction.
static const struct {
    void (*simple)(const struct operation *op);
    bool (*element)(const struct operation *op);
    enum kind kind;
} operations[INSN_OPERATIONS] = {
    [INSN_MOV] = {do_mov, NULL, KIND_MEMORY},     [INSN_MOVZX] = {do_mov, NULL, KIND_MEMORY},
    [INSN_MOVSX] = {do_movsx, NULL, KIND_MEMORY}, [INSN_ALU] = {do_alu, NULL, KIND_MEMORY},
    [INSN_TEST] = {do_test, NULL, KIND_MEMORY},   [INSN_XCHG] = {do_xchg, NULL, KIND_MEMORY},
    [INSN_MOVS] = {NULL, do_movs, KIND_MEMORY},   [INSN_STOS] = {NULL, do_stos, KIND_MEMORY},
    [INSN_LODS] = {NULL, do_lods, KIND_MEMORY},   [INSN_INS] = {NULL, do_ins, KIND_PORT},
    [INSN_OUTS] = {NULL, do_outs, KIND_PORT},
};

// What an instruction reads. A whole write of its register needs nothing of what was there.
static uint32_t reads(const struct insn *insn)
{
    const bool moves = insn->operation == INSN_MOV || insn->operation == INSN_MOVZX ||
                       insn->operation == INSN_MOVSX;

    if (operations[insn->operation].element) {
        return EMUL_ALL_GPRS | EMUL_ALL_BASES;
    }
    if (insn->other == INSN_IMMEDIATE || (moves && insn->to_register && insn->register_size >= 4)) {
        return 0;
    }
    return 1u << index_of(insn);
}

static bool fetch(const struct emul_bus *bus, uint32_t registers)
{
    return !registers || !bus->fetch || bus->fetch(bus->ctx, registers);
}

static enum emul_result run_string(const struct operation *op,
                                   bool (*element)(const struct operation *op))
{
    if (op->insn->repeated) {
        return repeat(op, element);
    }
    if (!element(op)) {
        return EMUL_FAULT;
    }
    finish(op->registers, op->insn->length);
    return EMUL_DONE;
}

static enum emul_result run(struct emul_registers *registers, const uint8_t *bytes, unsigned count,
                            uint64_t gpa, const struct emul_bus *bus, enum kind kind)
{
    struct insn insn;
    const struct operation op = {registers, bus, &insn, gpa};
    const enum emul_result result =
        insn_decode(&insn, bytes, count, registers->cs_long, registers->cs_default);

    if (result != EMUL_DONE) {
        return result;
    }
    if (operations[insn.operation].kind != kind) {
        return EMUL_UNKNOWN;
    }
    if (operations[insn.operation].element) {
        return fetch(bus, reads(&insn)) ? run_string(&op, operations[insn.operation].element)
                                        : EMUL_UNKNOWN;
    }
    if (gpa % PAGE_SIZE + insn.memory_size > PAGE_SIZE || !fetch(bus, reads(&insn))) {
        return EMUL_UNKNOWN;
    }
    operations[insn.operation].simple(&op);
    finish(registers, insn.length);
    return EMUL_DONE;
}

enum emul_result emul_memory(struct emul_registers *registers, const uint8_t *bytes, unsigned count,
                             uint64_t gpa, const struct emul_bus *bus)
{
    return run(registers, bytes, count, gpa, bus, KIND_MEMORY);
}

enum emul_result emul_port_string(struct emul_registers *registers, const uint8_t *bytes,
                                  unsigned count, const struct emul_bus *bus)
{
    return run(registers, bytes, count, 0, bus, KIND_PORT);
}

void emul_port(struct emul_registers *registers, uint16_t port, unsigned size, bool is_write,
               unsigned length, const struct emul_bus *bus)
{
    uint64_t *rax = &registers->gpr[EMUL_RAX];
    uint32_t value = (uint32_t)(*rax & mask_of(size));

    bus->port(bus->ctx, port, size, is_write, &value);
    if (!is_write) {
        *rax = merged(*rax, value, size);
    }
    finish(registers, length);
}
