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

static_assert(WINDOW_TRAILS + LP_TRAILS * LP_TRAIL_LEVELS <= HV_WINDOW_SLOTS, "windows");

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

// What a walk reads through, and where it leaves a trail.
struct walker {
    struct partition *partition;
    struct lp_trail *trail; // or NULL
};

// An entry that goes onto the trail stays in its window.
static const void *map_entry(struct walker *w, struct lp *lp, uint64_t spa, unsigned size)
{
    struct lp_trail *t = w->trail;
    const void *entry;

    if (!t || size != sizeof(t->value[0]) || t->levels == LP_TRAIL_LEVELS)
        return window_map(lp, WINDOW_TABLE, spa);
    entry = window_map(lp, WINDOW_TRAILS + (uint32_t)(t - lp->trails) * LP_TRAIL_LEVELS + t->levels,
                       spa);
    t->entry[t->levels] = entry;
    return entry;
}

static enum walk_code read_entry(void *context, uint64_t gpa, unsigned size, uint64_t *value)
{
    struct walker *w = context;
    struct gpa_translation t = gpa_hold(&w->partition->gpa, gpa, GPA_READ);
    const void *entry;

    if (t.status == GPA_OK) {
        entry = map_entry(w, this_lp(), t.spa, size);
        *value = size == 8 ? *(const volatile uint64_t *)entry : *(const volatile uint32_t *)entry;
        if (w->trail && w->trail->levels < LP_TRAIL_LEVELS)
            w->trail->value[w->trail->levels++] = *value;
    }
    gpa_release(&w->partition->gpa, &t);
    return t.status == GPA_OK ? WALK_SUCCESS : table_failure(t.status);
}

static enum walk_code exchange_entry(void *context, uint64_t gpa, unsigned size, uint64_t expected,
                                     uint64_t new_value, bool *swapped)
{
    struct partition *p = ((struct walker *)context)->partition;
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
    gpa_wrote(&p->gpa, gpa);
    gpa_unpin(&p->gpa, &t);
    return WALK_SUCCESS;
}

static struct walk_result walk(struct vp *vp, uint64_t gva, uint32_t access, struct lp_trail *trail)
{
    struct walker walker = {vp->partition, trail};
    struct walk_memory memory = {read_entry, exchange_entry, &walker};
    struct walk_state state;

    vcpu->get_paging(vp, &state);
    return walk_translate(&state, &memory, gva, access);
}

struct walk_result guest_translate(struct vp *vp, uint64_t gva, uint32_t access)
{
    return walk(vp, gva, access, NULL);
}

// Linear address of the instruction, wrapped as the mode does.
static uint64_t linear_rip(struct vp *vp, const struct vcpu_mode *mode)
{
    if (mode->decode == DECODE_64)
        return vp->rip;
    return (vcpu->segment_base(vp, HV_REGISTER_CS) + vp->rip) & 0xffffffff;
}

// The remembered page, if a walk would end there: what is remembered alone may be as stale as a TLB
// entry whose flush nobody has seen.
static const uint8_t *follow(struct vp *vp, const struct lp_code_page *c, const struct lp_trail *t,
                             uint64_t page, const struct vcpu_mode *mode)
{
    uint64_t changed = 0;

    if (!mode->long_mode || c->vp != vp || c->cr3 != vcpu->cr3(vp) || c->linear != page ||
        t->page != c || t->cpl != mode->cpl || !t->levels)
        return NULL;
    for (uint32_t i = 0; i < t->levels; i++)
        changed |= *t->entry[i] ^ t->value[i];
    return changed ? NULL : c->bytes;
}

// Walks to a page of code and remembers it, and in long mode the way. NULL: it is not there.
static __attribute__((noinline)) const uint8_t *walk_code(struct vp *vp, struct lp_code_page *c,
                                                          struct lp_trail *trail, uint64_t page,
                                                          const struct vcpu_mode *mode)
{
    struct lp *lp = this_lp();
    struct walk_result w;
    struct gpa_translation t;

    trail->page = c;
    trail->cpl = mode->cpl;
    trail->levels = 0;
    w = walk(vp, page, WALK_EXECUTE | (mode->cpl == 3 ? WALK_USER : WALK_SUPERVISOR), trail);
    t.status = GPA_UNMAPPED;
    if (w.code == WALK_SUCCESS)
        t = gpa_pin(&vp->partition->gpa, w.gpa, GPA_READ);
    if (t.status != GPA_OK) {
        trail->levels = 0;
        return NULL;
    }
    *c = (struct lp_code_page){
        vp, vcpu->cr3(vp), page,
        window_map(lp, WINDOW_CODE + (uint32_t)(c - lp->code), t.spa & PAGE_MASK)};
    gpa_unpin(&vp->partition->gpa, &t);
    return c->bytes;
}

// Instruction bytes from one page.
static uint32_t fetch_page(struct vp *vp, uint64_t linear, const struct vcpu_mode *mode,
                           uint8_t *to, uint32_t wanted)
{
    struct lp *lp = this_lp();
    struct lp_code_page *c = guest_code_page(lp, vp, linear);
    uint32_t offset = linear & (PAGE_SIZE - 1), left = PAGE_SIZE - offset;
    uint32_t count = wanted < left ? wanted : left;
    // The root's VP and the children's have trails of their own: they take turns on an LP.
    struct lp_trail *trail =
        &lp->trails[(c - lp->code) % (LP_TRAILS / 2) * 2 + (vp == lp->root_vp ? 1 : 0)];
    const uint8_t *bytes = follow(vp, c, trail, linear - offset, mode);

    if (!bytes)
        bytes = walk_code(vp, c, trail, linear - offset, mode);
    if (!bytes)
        return 0;
    if (count == MAX_INSTRUCTION && left > MAX_INSTRUCTION) // a constant size: no loop
        __builtin_memcpy(to, bytes + offset, MAX_INSTRUCTION + 1);
    else
        memcpy(to, bytes + offset, count);
    return count;
}

// Fewer bytes than there can be need not be the whole instruction, and none may be there although
// the processor fetched it (AMD's erratum 1096): memory is asked then.
uint32_t guest_fetch(struct vp *vp, uint8_t bytes[16])
{
    struct vcpu_mode mode;
    uint64_t linear;
    uint32_t count;

    if (__builtin_expect(vp->fetched != NULL, 0) && vp->fetched[0] == MAX_INSTRUCTION) {
        memcpy(bytes, vp->fetched + 1, MAX_INSTRUCTION);
        bytes[MAX_INSTRUCTION] = 0;
        return MAX_INSTRUCTION;
    }
    vcpu->get_mode(vp, &mode);
    linear = linear_rip(vp, &mode);
    count = fetch_page(vp, linear, &mode, bytes, MAX_INSTRUCTION);
    bytes[MAX_INSTRUCTION] = 0;
    if (count && count < MAX_INSTRUCTION)
        count += fetch_page(vp, linear + count, &mode, bytes + count, MAX_INSTRUCTION - count);
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
