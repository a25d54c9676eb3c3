// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest page-table walks. The modes differ in a few numbers (struct mode) and in which bits are
// reserved; the rest is one loop.
#include "corbel/walk.h"

#include <stddef.h>

#define BIT(n)          (UINT64_C(1) << (n))
#define BITS(high, low) ((UINT64_C(2) << (high)) - BIT(low))

enum entry_bits {
    ENTRY_PRESENT = 1u << 0,
    ENTRY_WRITE = 1u << 1,
    ENTRY_USER = 1u << 2,
    ENTRY_PWT = 1u << 3,
    ENTRY_PCD = 1u << 4,
    ENTRY_ACCESSED = 1u << 5,
    ENTRY_DIRTY = 1u << 6,
    ENTRY_LARGE = 1u << 7,     // above level 1
    ENTRY_PAT_SMALL = 1u << 7, // at level 1
    ENTRY_PAT_LARGE = 1u << 12
};
#define ENTRY_NX BIT(63)

enum error_bits { // SDM 3A 4.7
    ERROR_PRESENT = 1u << 0,
    ERROR_WRITE = 1u << 1,
    ERROR_USER = 1u << 2,
    ERROR_RESERVED = 1u << 3,
    ERROR_FETCH = 1u << 4
};

#define CR0_WP    BIT(16)
#define CR0_PG    BIT(31)
#define CR4_PSE   BIT(4)
#define CR4_PAE   BIT(5)
#define CR4_LA57  BIT(12)
#define CR4_SMEP  BIT(20)
#define CR4_SMAP  BIT(21)
#define EFER_LMA  BIT(10)
#define EFER_NXE  BIT(11)
#define RFLAGS_AC BIT(18)

#define WALK_RETRIES 16

struct mode {
    unsigned levels;
    unsigned entry_size;   // bytes
    unsigned index_bits;   // of a full table
    unsigned address_bits; // of a virtual address
    uint64_t table_mask;   // of CR3
};

enum mode_index { MODE_32BIT, MODE_PAE, MODE_4LEVEL, MODE_5LEVEL };

static const struct mode modes[] = {
    [MODE_32BIT] = {2, 4, 10, 32, BITS(31, 12)},
    [MODE_PAE] = {3, 8, 9, 32, BITS(31, 5)},
    [MODE_4LEVEL] = {4, 8, 9, 48, BITS(51, 12)},
    [MODE_5LEVEL] = {5, 8, 9, 57, BITS(51, 12)},
};

struct walk {
    const struct walk_state *state;
    const struct walk_memory *memory;
    const struct mode *mode;
    uint64_t gva;
    uint32_t flags;
    // What the entries so far allow.
    bool writable;
    bool user;
    bool no_execute;
};

static const struct mode *mode_of(const struct walk_state *state)
{
    if ((state->efer & EFER_LMA) != 0)
        return &modes[(state->cr4 & CR4_LA57) != 0 ? MODE_5LEVEL : MODE_4LEVEL];
    return &modes[(state->cr4 & CR4_PAE) != 0 ? MODE_PAE : MODE_32BIT];
}

static unsigned shift_of(const struct walk *w, unsigned level)
{
    return 12 + (level - 1) * w->mode->index_bits;
}

static bool is_pdpte(const struct walk *w, unsigned level)
{
    return w->mode == &modes[MODE_PAE] && level == 3;
}

static bool in_range(const struct walk *w)
{
    unsigned bits = w->mode->address_bits;
    uint64_t above;

    if ((w->state->efer & EFER_LMA) == 0)
        return w->gva >> bits == 0;
    above = w->gva >> (bits - 1);
    return above == 0 || above == UINT64_MAX >> (bits - 1);
}

static bool is_leaf(const struct walk *w, unsigned level, uint64_t entry)
{
    if (level == 1)
        return true;
    if ((entry & ENTRY_LARGE) == 0 || is_pdpte(w, level))
        return false;
    if (w->mode == &modes[MODE_32BIT])
        return (w->state->cr4 & CR4_PSE) != 0;
    return level == 2 || (level == 3 && w->state->huge_pages);
}

// Bits that must be zero in a present entry. SDM 3A 4.3-4.5; APM 2 5.2-5.3.
static uint64_t reserved_bits(const struct walk *w, unsigned level, bool leaf)
{
    unsigned physical = w->state->physical_bits;
    uint64_t mask;

    if (w->mode == &modes[MODE_32BIT]) {
        // PSE-36: bits 20:13 of a 4 MiB entry are address bits 39:32.
        unsigned top = physical < 40 ? physical : 40;

        return leaf && level == 2 ? BITS(21, top - 19) : 0;
    }
    mask = BITS(51, 12) & ~BITS(physical - 1, 12);
    if (w->mode == &modes[MODE_PAE])
        mask |= BITS(62, 52);
    if (is_pdpte(w, level))
        return mask | ENTRY_NX | BITS(8, 5) | BITS(2, 1);
    if ((w->state->efer & EFER_NXE) == 0)
        mask |= ENTRY_NX;
    if (leaf && level > 1)
        mask |= BITS(shift_of(w, level) - 1, 13);
    if (!leaf && level > 2)
        mask |= ENTRY_LARGE;
    return mask;
}

// Whether the rights gathered allow the access. SDM 3A 4.6.1.
static bool allowed(const struct walk *w)
{
    const struct walk_state *s = w->state;
    bool write = (w->flags & WALK_WRITE) != 0;
    bool execute = (w->flags & WALK_EXECUTE) != 0;

    if (execute && w->no_execute)
        return false;
    if (write && !w->writable && ((w->flags & WALK_USER) != 0 || (s->cr0 & CR0_WP) != 0))
        return false;
    if ((w->flags & WALK_USER) != 0 && !w->user)
        return false;
    if ((w->flags & WALK_SUPERVISOR) == 0 || !w->user)
        return true;
    if (execute && (s->cr4 & CR4_SMEP) != 0)
        return false;
    if ((w->flags & (WALK_READ | WALK_WRITE)) == 0 || (s->cr4 & CR4_SMAP) == 0 ||
        (w->flags & WALK_SMAP_OVERRIDE) != 0)
        return true;
    return (w->flags & WALK_SMAP_ENFORCE) == 0 && (s->rflags & RFLAGS_AC) != 0;
}

static void gather(struct walk *w, unsigned level, uint64_t entry)
{
    if (is_pdpte(w, level))
        return;
    w->writable = w->writable && (entry & ENTRY_WRITE) != 0;
    w->user = w->user && (entry & ENTRY_USER) != 0;
    w->no_execute = w->no_execute || (entry & ENTRY_NX) != 0;
}

static enum walk_code read_entry(const struct walk *w, unsigned level, uint64_t address,
                                 uint64_t *entry)
{
    if (is_pdpte(w, level) && w->state->pdptes != NULL) {
        *entry = w->state->pdptes[(w->gva >> 30) & 3];
        return WALK_SUCCESS;
    }
    return w->memory->read(w->memory->context, address, w->mode->entry_size, entry);
}

// Accessed and dirty bits that the processor would set in the entry.
static uint64_t bits_to_set(const struct walk *w, unsigned level, bool leaf)
{
    if ((w->flags & WALK_SET_BITS) == 0 || is_pdpte(w, level))
        return 0;
    return ENTRY_ACCESSED | (leaf && (w->flags & WALK_WRITE) != 0 ? ENTRY_DIRTY : 0);
}

// One level: reads the entry at `address`, checks it, sets its bits. *leaf says whether it maps a
// page.
static enum walk_code step(struct walk *w, unsigned level, uint64_t address, uint64_t *entry,
                           bool *leaf)
{
    const struct walk before = *w;

    for (int i = 0; i < WALK_RETRIES; i++) {
        enum walk_code code = read_entry(w, level, address, entry);
        bool swapped = false;
        uint64_t bits;

        if (code != WALK_SUCCESS)
            return code;
        if ((*entry & ENTRY_PRESENT) == 0)
            return WALK_NOT_PRESENT;
        *leaf = is_leaf(w, level, *entry);
        if ((*entry & reserved_bits(w, level, *leaf)) != 0)
            return WALK_RESERVED;
        *w = before;
        gather(w, level, *entry);
        if (*leaf && !allowed(w))
            return WALK_PRIVILEGE;
        bits = bits_to_set(w, level, *leaf);
        if ((*entry & bits) == bits)
            return WALK_SUCCESS;
        code = w->memory->exchange(w->memory->context, address, w->mode->entry_size, *entry,
                                   *entry | bits, &swapped);
        if (code != WALK_SUCCESS || swapped)
            return code;
    }
    return WALK_BUSY;
}

static void succeed(const struct walk *w, unsigned level, uint64_t entry,
                    struct walk_result *result)
{
    uint64_t pat = level == 1 ? ENTRY_PAT_SMALL : ENTRY_PAT_LARGE;
    uint64_t page = entry & BITS(51, 12);

    result->page_size = BIT(shift_of(w, level));
    if (w->mode == &modes[MODE_32BIT] && level == 2)
        page |= (entry & BITS(20, 13)) << 19;
    result->gpa = (page & ~(result->page_size - 1)) | (w->gva & (result->page_size - 1));
    result->pat_index = ((entry & pat) != 0 ? 4 : 0) | ((entry & ENTRY_PCD) != 0 ? 2 : 0) |
                        ((entry & ENTRY_PWT) != 0 ? 1 : 0);
}

// SDM 3A 4.7. The fetch bit is defined only where fetches can fail on their own.
static uint32_t fault_error(const struct walk *w, enum walk_code code)
{
    const struct walk_state *s = w->state;
    uint32_t error = 0;

    if (code != WALK_NOT_PRESENT)
        error |= ERROR_PRESENT;
    if (code == WALK_RESERVED)
        error |= ERROR_RESERVED;
    if ((w->flags & WALK_WRITE) != 0)
        error |= ERROR_WRITE;
    if ((w->flags & WALK_USER) != 0)
        error |= ERROR_USER;
    if ((w->flags & WALK_EXECUTE) != 0 &&
        ((s->cr4 & CR4_SMEP) != 0 || ((s->cr4 & CR4_PAE) != 0 && (s->efer & EFER_NXE) != 0)))
        error |= ERROR_FETCH;
    return error;
}

static void run(struct walk *w, struct walk_result *result)
{
    uint64_t table = w->state->cr3 & w->mode->table_mask;
    uint64_t entry = 0;
    bool leaf = false;

    for (unsigned level = w->mode->levels; !leaf; level--) {
        uint64_t index = (w->gva >> shift_of(w, level)) & (BIT(w->mode->index_bits) - 1);
        uint64_t address = table + index * w->mode->entry_size;

        result->code = step(w, level, address, &entry, &leaf);
        if (result->code != WALK_SUCCESS) {
            result->gpa = address;
            return;
        }
        table = entry & BITS(51, 12);
        if (leaf)
            succeed(w, level, entry, result);
    }
}

struct walk_result walk_translate(const struct walk_state *state, const struct walk_memory *memory,
                                  uint64_t gva, uint32_t flags)
{
    struct walk w = {.state = state,
                     .memory = memory,
                     .gva = gva,
                     .flags = flags,
                     .writable = true,
                     .user = true,
                     .no_execute = false};
    struct walk_result result = {.code = WALK_NOT_PRESENT};

    if ((state->cr0 & CR0_PG) == 0) {
        result.code = WALK_SUCCESS;
        result.gpa = gva;
        result.page_size = 0x1000;
        return result;
    }
    w.mode = mode_of(state);
    if (in_range(&w))
        run(&w, &result);
    if (result.code >= WALK_NOT_PRESENT && result.code <= WALK_RESERVED) {
        result.gpa = 0;
        result.error_code = fault_error(&w, result.code);
    }
    return result;
}
