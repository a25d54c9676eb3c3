// SPDX-License-Identifier: BSD-2-Clause-Patent
// Completes what a guest's instruction does to a device: fetches its registers and, where the
// message lacks them, its bytes; gives both to root/lib/emul.h; leaves the results for the VP.
#include "root/lib/emul.h"
#include "root/lib/insn.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/vmexit.h"

enum {
    VECTOR_PF = 14,
    // Error code of a page fault (SDM 3A 4.7).
    PF_PRESENT = 1 << 0,
    PF_WRITE = 1 << 1,
    PF_USER = 1 << 2,
    PF_RESERVED = 1 << 3,
    PF_FETCH = 1 << 4,

    TABLE_LEVELS = 5
};

struct emulation {
    struct vm *vm;
    const struct hv_x64_intercept_message_header *header;
    struct emul_registers registers;
    uint64_t fault_linear; // of the translation that failed
    uint32_t fault_error;
    bool impossible; // it failed for a reason that is not the guest's page tables
};

// ---- guest addresses ---------------------------------------------------------------------------

static void note_fault(struct emulation *e, uint64_t linear, uint64_t access, uint32_t code)
{
    const bool user = (e->header->execution_state & HV_EXECUTION_STATE_CPL_MASK) == 3;

    e->fault_linear = linear;
    e->fault_error = (code == HV_TRANSLATE_GVA_PAGE_NOT_PRESENT ? 0 : PF_PRESENT) |
                     (access & HV_TRANSLATE_GVA_VALIDATE_WRITE ? PF_WRITE : 0) |
                     (user ? PF_USER : 0) |
                     (code == HV_TRANSLATE_GVA_INVALID_PAGE_TABLE_FLAGS ? PF_RESERVED : 0) |
                     (access & HV_TRANSLATE_GVA_VALIDATE_EXECUTE ? PF_FETCH : 0);
}

// A page table that lies in RAM which nobody has touched yet is mapped on the way.
static bool translate(struct emulation *e, uint64_t linear, uint64_t access, uint64_t *gpa)
{
    uint32_t code = HV_TRANSLATE_GVA_GPA_UNMAPPED;
    uint64_t page = 0;

    for (unsigned i = 0; i <= TABLE_LEVELS && code == HV_TRANSLATE_GVA_GPA_UNMAPPED; i++) {
        const uint16_t status = call_translate(e->vm->account.partition, e->header->vp_index,
                                               linear, access, &code, &page);
        const uint64_t table = page << HV_PAGE_SHIFT;
        if (status != HV_STATUS_SUCCESS) {
            e->impossible = true;
            return false;
        }
        if (code == HV_TRANSLATE_GVA_GPA_UNMAPPED) {
            const struct load_ram *piece = guest_memory_find(&e->vm->memory, table);
            if (!piece || !vmexit_map(e->vm, piece, table)) {
                break;
            }
        }
    }
    if (code == HV_TRANSLATE_GVA_SUCCESS) {
        *gpa = page << HV_PAGE_SHIFT | (linear & HV_PAGE_MASK);
        return true;
    }
    if (code > HV_TRANSLATE_GVA_INVALID_PAGE_TABLE_FLAGS) {
        e->impossible = true;
    }
    note_fault(e, linear, access, code);
    return false;
}

static bool bus_translate(void *ctx, uint64_t linear, bool is_write, uint64_t *gpa)
{
    return translate(
        ctx, linear,
        HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS |
            (is_write ? HV_TRANSLATE_GVA_VALIDATE_WRITE : HV_TRANSLATE_GVA_VALIDATE_READ),
        gpa);
}

// ---- the bus -----------------------------------------------------------------------------------

static bool bus_ram(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    const struct emulation *e = ctx;
    void *host = guest_memory_at(&e->vm->memory, gpa, size);

    if (!host) {
        return false;
    }
    if (is_write) {
        memcpy(host, value, size);
    } else {
        *value = 0;
        memcpy(value, host, size);
    }
    return true;
}

static void bus_device(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    const struct emulation *e = ctx;
    struct chipset *chipset = &e->vm->chipset;
    const uint64_t before = chipset->unowned_mmio;

    (void)chipset_mmio(chipset, gpa, size, is_write, value);
    if (before == 0 && chipset->unowned_mmio != 0) {
        root_log("vm %s: GPA %lx belongs to nothing: reads as ones (said once)", e->vm->conf.name,
                 gpa);
    }
}

static void bus_port(void *ctx, uint16_t port, unsigned size, bool is_write, uint32_t *value)
{
    const struct emulation *e = ctx;

    (void)chipset_pio(&e->vm->chipset, port, size, is_write, value);
}

// ---- registers ---------------------------------------------------------------------------------

enum { STATE_NAMES = EMUL_REGISTERS + EMUL_SEGMENTS };

// What the message tells.
static void start_registers(struct emulation *e)
{
    e->registers.rip = e->header->rip;
    e->registers.rflags = e->header->rflags;
    e->registers.cs_long = (e->header->execution_state & HV_EXECUTION_STATE_EFER_LMA) &&
                           (e->header->cs.attributes & HV_SEGMENT_LONG);
    e->registers.cs_default = e->header->cs.attributes & HV_SEGMENT_DEFAULT;
    e->registers.changed = 0;
}

static bool bus_fetch(void *ctx, uint32_t registers)
{
    static union hv_register_value value[STATE_NAMES];
    struct emulation *e = ctx;
    uint32_t name[STATE_NAMES], count = 0, at = 0;

    for (uint32_t i = 0; i < EMUL_REGISTERS; i++) {
        if (registers >> i & 1) {
            name[count++] = HV_REGISTER_RAX + i;
        }
    }
    for (uint32_t i = 0; i < EMUL_SEGMENTS && (registers & EMUL_ALL_BASES); i++) {
        name[count++] = HV_REGISTER_ES + i; // the same order
    }
    if (call_get_registers(e->vm->account.partition, e->header->vp_index, name, count, value) !=
        HV_STATUS_SUCCESS) {
        return false;
    }
    for (unsigned i = 0; i < EMUL_REGISTERS; i++) {
        if (registers >> i & 1) {
            e->registers.gpr[i] = value[at++].reg64;
        }
    }
    for (unsigned i = 0; i < EMUL_SEGMENTS && (registers & EMUL_ALL_BASES); i++) {
        e->registers.segment_base[i] = value[at++].segment.base;
    }
    return true;
}

// Only what is another than it was: three registers, the resumption among them, need no list in
// memory.
static void leave_registers(const struct emulation *e, struct call_registers *resume)
{
    for (uint32_t left = e->registers.changed; left; left &= left - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(left);
        call_registers_add(resume, HV_REGISTER_RAX + i, e->registers.gpr[i]);
    }
    if (e->registers.rip != e->header->rip) {
        call_registers_add(resume, HV_REGISTER_RIP, e->registers.rip);
    }
    if (e->registers.rflags != e->header->rflags) {
        call_registers_add(resume, HV_REGISTER_RFLAGS, e->registers.rflags);
    }
}

// ---- instruction bytes -------------------------------------------------------------------------

// As many as can be had from RIP on, up to INSN_MAX.
static unsigned fetch_bytes(struct emulation *e, uint8_t *bytes)
{
    const uint64_t base = e->registers.cs_long ? 0 : e->header->cs.base;
    const uint64_t wrap = e->registers.cs_long ? UINT64_MAX : UINT32_MAX;
    unsigned count = 0;

    while (count < INSN_MAX) {
        const uint64_t linear = (base + e->registers.rip + count) & wrap;
        const uint64_t left = HV_PAGE_SIZE - (linear & HV_PAGE_MASK);
        const unsigned part = INSN_MAX - count < left ? INSN_MAX - count : (unsigned)left;
        uint64_t gpa;
        const void *at = translate(e, linear, HV_TRANSLATE_GVA_VALIDATE_EXECUTE, &gpa)
                             ? guest_memory_at(&e->vm->memory, gpa, part)
                             : NULL;
        if (!at) {
            break;
        }
        memcpy(bytes + count, at, part);
        count += part;
    }
    return count;
}

// ---- results -----------------------------------------------------------------------------------

static void fail(struct emulation *e, const uint8_t *bytes, unsigned count)
{
    uint64_t first = 0;

    memcpy(&first, bytes, count < sizeof first ? count : sizeof first);
    vm_fail(e->vm, "VP %u: cannot complete the instruction at RIP %lx (%u bytes, %lx)",
            e->header->vp_index, e->header->rip, count, first);
}

static void conclude(struct emulation *e, enum emul_result result, const uint8_t *bytes,
                     unsigned count, struct call_registers *resume)
{
    switch (result) {
    case EMUL_DONE:
        leave_registers(e, resume);
        vmexit_complete(resume, e->header);
        return;
    case EMUL_AGAIN:
        leave_registers(e, resume);
        vmexit_resume(resume);
        return;
    case EMUL_FAULT:
        if (!e->impossible) {
            leave_registers(e, resume);
            vmexit_inject(resume, VECTOR_PF, true, e->fault_error, e->fault_linear);
            return;
        }
        break;
    case EMUL_SHORT:
    case EMUL_UNKNOWN:
        break;
    }
    fail(e, bytes, count);
}

static const struct emul_bus bus_functions = {
    .fetch = bus_fetch,
    .translate = bus_translate,
    .ram = bus_ram,
    .device = bus_device,
    .port = bus_port,
};

// `gpa` of a memory access; `port` says that it is INS or OUTS instead.
static void run(struct vm *vm, const struct hv_x64_intercept_message_header *header,
                const uint8_t *given, unsigned given_count, bool port, uint64_t gpa,
                struct call_registers *resume)
{
    struct emulation e; // its large parts are filled in where they are needed
    struct emul_bus bus = bus_functions;
    enum emul_result result = EMUL_SHORT;
    unsigned count = given_count < INSN_MAX ? given_count : INSN_MAX;
    uint8_t bytes[INSN_MAX + 1] = {0};

    e.vm = vm;
    e.header = header;
    e.impossible = false;
    bus.ctx = &e;
    start_registers(&e);
    memcpy(bytes, given, count);
    for (unsigned attempt = 0; attempt < 2 && result == EMUL_SHORT; attempt++) {
        if (attempt) {
            count = fetch_bytes(&e, bytes);
        }
        result = port ? emul_port_string(&e.registers, bytes, count, &bus)
                      : emul_memory(&e.registers, bytes, count, gpa, &bus);
    }
    conclude(&e, result, bytes, count, resume);
}

void emulate_memory(struct vm *vm, const struct hv_x64_memory_intercept_message *message,
                    struct call_registers *resume)
{
    run(vm, &message->header, message->instruction_bytes, message->instruction_byte_count, false,
        message->guest_physical_address, resume);
}

void emulate_port_string(struct vm *vm, const struct hv_x64_io_port_intercept_message *message,
                         struct call_registers *resume)
{
    run(vm, &message->header, message->instruction_bytes, message->instruction_byte_count, true, 0,
        resume);
}
