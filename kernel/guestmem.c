// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/guestmem.h"

#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/registers.h"

#define PTE_PRESENT     1ul
#define PTE_WRITABLE    2ul
#define PTE_DIRTY       0x60ul // accessed and dirty: no assist at first use
#define PTE_NX          (1ul << 63)
#define MAX_INSTRUCTION 15u

void *window_map(struct lp *lp, enum window_slot slot, uint64_t spa)
{
    uint64_t page = spa & PAGE_MASK;
    uint8_t *va = (uint8_t *)(HV_WINDOW_BASE + (lp->index * HV_WINDOW_SLOTS + slot) * PAGE_SIZE);

    if (lp->window_spa[slot] != page) {
        lp->window_pte[slot] = page | PTE_PRESENT | PTE_WRITABLE | PTE_DIRTY | PTE_NX;
        lp->window_spa[slot] = page;
        invlpg(va);
    }
    return va + (spa & (PAGE_SIZE - 1));
}

bool guest_read(struct partition *p, uint64_t gpa, void *buffer, uint32_t size)
{
    struct gpa_translation t;

    if ((gpa & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
        return false;
    t = gpa_pin(&p->gpa, gpa, GPA_READ);
    if (t.status != GPA_OK)
        return false;
    memcpy(buffer, window_map(this_lp(), WINDOW_DATA, t.spa), size);
    gpa_unpin(&p->gpa, &t);
    return true;
}

static enum walk_code table_failure(enum gpa_status status)
{
    switch (status) {
    case GPA_NO_ACCESS:
        return WALK_TABLE_NO_READ;
    case GPA_OVERLAY_DENIED:
        return WALK_TABLE_OVERLAY;
    default:
        return WALK_TABLE_UNMAPPED;
    }
}

static enum walk_code read_entry(void *context, uint64_t gpa, unsigned size, uint64_t *value)
{
    struct partition *p = context;
    struct gpa_translation t = gpa_hold(&p->gpa, gpa, GPA_READ);
    const void *entry;

    if (t.status == GPA_OK) {
        entry = window_map(this_lp(), WINDOW_TABLE, t.spa);
        *value = size == 8 ? *(const volatile uint64_t *)entry : *(const volatile uint32_t *)entry;
    }
    gpa_release(&p->gpa, &t);
    return t.status == GPA_OK ? WALK_SUCCESS : table_failure(t.status);
}

static enum walk_code exchange_entry(void *context, uint64_t gpa, unsigned size, uint64_t expected,
                                     uint64_t new_value, bool *swapped)
{
    struct partition *p = context;
    struct gpa_translation t = gpa_pin(&p->gpa, gpa, GPA_WRITE);
    void *entry;
    uint32_t low = (uint32_t)expected;

    if (t.status != GPA_OK)
        return t.status == GPA_NO_ACCESS ? WALK_TABLE_NO_WRITE : table_failure(t.status);
    entry = window_map(this_lp(), WINDOW_TABLE, t.spa);
    if (size == 8)
        *swapped = __atomic_compare_exchange_n((uint64_t *)entry, &expected, new_value, false,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    else
        *swapped = __atomic_compare_exchange_n((uint32_t *)entry, &low, (uint32_t)new_value, false,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    gpa_unpin(&p->gpa, &t);
    return WALK_SUCCESS;
}

struct walk_result guest_translate(struct vp *vp, uint64_t gva, uint32_t access)
{
    struct walk_memory memory = {read_entry, exchange_entry, vp->partition};
    struct walk_state state;

    vcpu->get_paging(vp, &state);
    return walk_translate(&state, &memory, gva, access);
}

// Linear address of the instruction, wrapped as the mode does.
static uint64_t linear_rip(struct vp *vp, const struct vcpu_mode *mode)
{
    if (mode->decode == DECODE_64)
        return vp->rip;
    return (vcpu->segment_base(vp, HV_REGISTER_CS) + vp->rip) & 0xffffffff;
}

// Walks to a page of code and remembers it. NULL: it is not there.
static const uint8_t *walk_code(struct vp *vp, uint64_t linear, uint8_t cpl)
{
    struct lp *lp = this_lp();
    struct lp_code_page *c = guest_code_page(lp, vp, linear);
    struct walk_result w;
    struct gpa_translation t;

    w = guest_translate(vp, linear, WALK_EXECUTE | (cpl == 3 ? WALK_USER : WALK_SUPERVISOR));
    if (w.code != WALK_SUCCESS)
        return NULL;
    t = gpa_pin(&vp->partition->gpa, w.gpa, GPA_READ);
    if (t.status != GPA_OK)
        return NULL;
    *c = (struct lp_code_page){
        vp, vcpu->cr3(vp), linear & PAGE_MASK,
        window_map(lp, WINDOW_CODE + (uint32_t)(c - lp->code), t.spa & PAGE_MASK)};
    gpa_unpin(&vp->partition->gpa, &t);
    return c->bytes + (linear & (PAGE_SIZE - 1));
}

// Instruction bytes from one page, by a walk: what is remembered may be as stale as a TLB entry
// whose flush nobody has seen.
static uint32_t fetch_page(struct vp *vp, uint64_t linear, uint8_t cpl, uint8_t *to,
                           uint32_t wanted)
{
    uint32_t left = PAGE_SIZE - (linear & (PAGE_SIZE - 1)), count = wanted < left ? wanted : left;
    const uint8_t *bytes = walk_code(vp, linear, cpl);

    if (!bytes)
        return 0;
    memcpy(to, bytes, count);
    return count;
}

uint32_t guest_fetch(struct vp *vp, uint8_t bytes[16])
{
    struct vcpu_mode mode;
    uint64_t linear;
    uint32_t count;

    vcpu->get_mode(vp, &mode);
    linear = linear_rip(vp, &mode);
    count = fetch_page(vp, linear, mode.cpl, bytes, MAX_INSTRUCTION);
    if (count && count < MAX_INSTRUCTION)
        count += fetch_page(vp, linear + count, mode.cpl, bytes + count, MAX_INSTRUCTION - count);
    return count;
}

uint32_t guest_instruction_length(struct vp *vp, enum insn insn)
{
    struct vcpu_mode mode;
    struct decoded d;
    uint8_t bytes[16];
    uint32_t count = guest_fetch(vp, bytes);

    vcpu->get_mode(vp, &mode);
    if (decode(bytes, count, mode.decode, &d) != DECODE_OK || d.insn != insn)
        return 0;
    return d.length;
}
