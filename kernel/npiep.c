// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLFS: Non-Privileged Instruction Execution Prevention. The intercept of SGDT, SIDT, SLDT and STR
// knows no privilege level, so what the kernel of a guest executes is completed here (SDM 2B, APM
// 3: SGDT, SIDT, SLDT, STR).
#include "corbel/decode.h"
#include "corbel/exits_common.h"
#include "corbel/guestmem.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "hv/registers.h"

#define SEGMENT_EXPAND_DOWN 0x4u // type bits of data segments
#define SEGMENT_CODE        0x8u
#define SEGMENT_WRITABLE    0x2u

// What an instruction stores: a table register whole, or a selector.
static const struct {
    uint8_t insn; // enum insn
    bool table;
    uint32_t name;
} stores[] = {
    {INSN_SGDT, true, HV_REGISTER_GDTR},
    {INSN_SIDT, true, HV_REGISTER_IDTR},
    {INSN_SLDT, false, HV_REGISTER_LDTR},
    {INSN_STR, false, HV_REGISTER_TR},
};

struct piece {
    uint64_t gpa;
    uint32_t size;
};

static bool canonical(struct vp *vp, uint64_t gva)
{
    struct walk_state paging;
    unsigned shift;

    vcpu->get_paging(vp, &paging);
    shift = paging.cr4 & CR4_LA57 ? 7 : 16;
    return (uint64_t)((int64_t)(gva << shift) >> shift) == gva;
}

// The operand's linear address, if its segment lets it be written. 64-bit mode has canonical
// addresses and the bases of FS and GS; elsewhere segments have limits and rights.
static bool find_operand(struct vp *vp, const struct decoded *d, uint32_t size, uint64_t *gva)
{
    union hv_register_value v = {.reg128 = {0, 0}};
    uint64_t next = vp->rip + d->length, offset = effective_address(d, vp->gpr, next, 0);

    vcpu->get_register(vp, HV_REGISTER_ES + d->segment, &v);
    if (d->mode == DECODE_64) {
        *gva = effective_address(d, vp->gpr, next, d->segment < DECODE_FS ? 0 : v.segment.base);
        return canonical(vp, *gva) && canonical(vp, *gva + size - 1);
    }
    *gva = effective_address(d, vp->gpr, next, v.segment.base);
    return (v.segment.attributes & (SEGMENT_CODE | SEGMENT_WRITABLE)) == SEGMENT_WRITABLE &&
           ((v.segment.attributes & SEGMENT_EXPAND_DOWN) || offset + size - 1 <= v.segment.limit);
}

// Where bytes at a linear address go. False: the guest has a fault to handle, or its parent.
static bool translate(struct vp *vp, uint64_t gva, uint32_t size, struct piece *piece)
{
    struct walk_result w = guest_translate(vp, gva, WALK_WRITE | WALK_SUPERVISOR | WALK_SET_BITS);
    struct slat_fault fault = {.gpa = w.gpa, .read = true, .walk = true};

    *piece = (struct piece){w.gpa, size};
    if (w.code == WALK_SUCCESS)
        return true;
    if (w.code >= WALK_TABLE_UNMAPPED && w.code != WALK_BUSY)
        exit_gpa_fault(vp, &fault);
    else if (w.code != WALK_BUSY)
        vp_inject_exception(vp, EXC_PF, true, w.error_code, gva);
    return false;
}

static bool write_piece(struct vp *vp, const struct piece *piece, const uint8_t *bytes)
{
    struct gpa_space *space = &vp->partition->gpa;
    struct gpa_translation t = gpa_pin(space, piece->gpa, GPA_WRITE);
    struct slat_fault fault = {.gpa = piece->gpa, .write = true};

    if (t.status != GPA_OK) {
        exit_gpa_fault(vp, &fault);
        return false;
    }
    memcpy(window_map(this_lp(), WINDOW_DATA, t.spa), bytes, piece->size);
    gpa_wrote(space, piece->gpa);
    gpa_unpin(space, &t);
    return true;
}

// Both pages of an operand that crosses are there before either is written.
static bool store(struct vp *vp, uint64_t gva, const uint8_t *bytes, uint32_t size)
{
    uint32_t first = (uint32_t)(PAGE_SIZE - (gva & (PAGE_SIZE - 1)));
    struct piece pieces[2];

    if (first > size)
        first = size;
    if (!translate(vp, gva, first, &pieces[0]) ||
        (first < size && !translate(vp, gva + first, size - first, &pieces[1])))
        return false;
    return write_piece(vp, &pieces[0], bytes) &&
           (first == size || write_piece(vp, &pieces[1], bytes + first));
}

// A selector in a register is zero-extended to the operand size.
static void store_register(struct vp *vp, const struct decoded *d, uint16_t selector)
{
    if (d->operand_size == 2)
        vp->gpr[d->rm] = (vp->gpr[d->rm] & ~0xfffful) | selector;
    else
        vp->gpr[d->rm] = selector;
}

static void complete(struct vp *vp, const struct decoded *d, uint32_t i)
{
    union hv_register_value v = {.reg128 = {0, 0}};
    uint8_t bytes[10];
    uint32_t size = !stores[i].table ? 2 : d->mode == DECODE_64 ? 10 : 6;
    uint64_t gva;

    vcpu->get_register(vp, stores[i].name, &v);
    if (!d->has_memory) {
        store_register(vp, d, v.segment.selector);
        vp_advance(vp, d->length);
        return;
    }
    if (!find_operand(vp, d, size, &gva)) {
        vp_inject_exception(vp, d->segment == DECODE_SS ? EXC_SS : EXC_GP, true, 0, 0);
        return;
    }
    memcpy(bytes, stores[i].table ? &v.table.limit : &v.segment.selector, 2);
    memcpy(bytes + 2, &v.table.base, 8);
    if (store(vp, gva, bytes, size))
        vp_advance(vp, d->length);
}

void exit_table_store(struct vp *vp)
{
    uint8_t bytes[16];
    struct vcpu_mode mode;
    struct decoded d;

    vcpu->get_mode(vp, &mode);
    if (mode.cpl != 0) {
        vp_inject_gp(vp);
        return;
    }
    if (decode(bytes, guest_fetch(vp, bytes), mode.decode, &d) != DECODE_OK)
        return; // changed since: executing again settles it
    for (uint32_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
        if (stores[i].insn == d.insn)
            complete(vp, &d, i);
}
