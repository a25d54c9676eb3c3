// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest page-table walks: random tables in all modes against a second walker that follows the
// manuals' text mode by mode, and a table of the rights.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/walk.h"

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #condition);                             \
    } while (0)

#define MEMORY_PAGES 48u
#define WP           (1ul << 16)
#define PG           (1ul << 31)
#define PSE          (1ul << 4)
#define PAE          (1ul << 5)
#define LA57         (1ul << 12)
#define SMEP         (1ul << 20)
#define SMAP         (1ul << 21)
#define LMA          (1ul << 10)
#define NXE          (1ul << 11)
#define AC           (1ul << 18)
#define NX           (1ul << 63)

static uint8_t memory[MEMORY_PAGES * 4096];
static enum walk_code page_code[MEMORY_PAGES]; // what reading a table page answers
static bool page_read_only[MEMORY_PAGES];
static unsigned contention;       // exchanges that somebody else is faster than
static uint64_t contention_clear; // what that somebody takes out of the entry

static enum walk_code read_table(void *context, uint64_t gpa, unsigned size, uint64_t *value)
{
    must(context == memory);
    must((size == 4 || size == 8) && gpa % size == 0);
    if (gpa + size > sizeof(memory))
        return WALK_TABLE_UNMAPPED;
    if (page_code[gpa / 4096] != WALK_SUCCESS)
        return page_code[gpa / 4096];
    *value = 0;
    memcpy(value, memory + gpa, size);
    return WALK_SUCCESS;
}

static enum walk_code exchange_table(void *context, uint64_t gpa, unsigned size, uint64_t expected,
                                     uint64_t new_value, bool *swapped)
{
    uint64_t now = 0;

    must(context == memory);
    must((size == 4 || size == 8) && gpa % size == 0 && gpa + size <= sizeof(memory));
    must(expected != new_value && (size == 8 || new_value >> 32 == 0));
    if (page_read_only[gpa / 4096])
        return WALK_TABLE_NO_WRITE;
    memcpy(&now, memory + gpa, size);
    if (contention != 0) {
        contention--;
        now &= ~contention_clear;
        memcpy(memory + gpa, &now, size);
        *swapped = false;
        return WALK_SUCCESS;
    }
    *swapped = now == expected;
    if (*swapped)
        memcpy(memory + gpa, &new_value, size);
    return WALK_SUCCESS;
}

static const struct walk_memory access = {read_table, exchange_table, memory};

static uint64_t random_state = 88172645463325252ul;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1dul;
}

static uint64_t random_below(uint64_t limit)
{
    return (random_u64() >> 20) % limit;
}

static void setup(void)
{
    memset(memory, 0, sizeof(memory));
    memset(page_code, 0, sizeof(page_code));
    memset(page_read_only, 0, sizeof(page_read_only));
    contention = 0;
    contention_clear = 0;
}

// ---- the second walker ------------------------------------------------------------------------

struct ref {
    const struct walk_state *state;
    uint64_t gva;
    uint32_t flags;
    enum walk_code code;
    uint64_t gpa;
    uint64_t size;
    uint32_t pat;
    bool user, write, fetch; // all entries so far allow it
    struct {
        uint64_t address;
        unsigned size;
        uint64_t bits;
    } touched[5];
    unsigned touches;
};

// Reads an entry and checks `reserved` bits; sets those that the access sets in it if it is not the
// last.
static bool ref_entry(struct ref *r, uint64_t address, unsigned size, uint64_t *entry)
{
    r->gpa = address;
    r->code = read_table(memory, address, size, entry);
    if (r->code == WALK_SUCCESS && (*entry & 1) == 0)
        r->code = WALK_NOT_PRESENT;
    return r->code == WALK_SUCCESS;
}

static bool ref_reserved(struct ref *r, uint64_t entry, uint64_t reserved)
{
    if ((entry & reserved) != 0)
        r->code = WALK_RESERVED;
    return r->code == WALK_SUCCESS;
}

static void ref_touch(struct ref *r, uint64_t address, unsigned size, uint64_t bits)
{
    r->touched[r->touches].address = address;
    r->touched[r->touches].size = size;
    r->touched[r->touches++].bits = bits;
}

static void ref_rights(struct ref *r, uint64_t entry)
{
    if ((entry & 2) == 0)
        r->write = false;
    if ((entry & 4) == 0)
        r->user = false;
    if ((entry & NX) != 0)
        r->fetch = false;
}

static bool ref_as_user(const struct ref *r)
{
    if (!r->user)
        return false;
    if ((r->flags & WALK_WRITE) && !r->write)
        return false;
    return !(r->flags & WALK_EXECUTE) || r->fetch;
}

static bool ref_as_supervisor(const struct ref *r, bool checked)
{
    bool smap = (r->state->cr4 & SMAP) && !(r->flags & WALK_SMAP_OVERRIDE) &&
                ((r->flags & WALK_SMAP_ENFORCE) || !(r->state->rflags & AC));
    bool user_page = r->user && checked;

    if ((r->flags & WALK_READ) && user_page && smap)
        return false;
    if ((r->flags & WALK_WRITE) && ((user_page && smap) || (!r->write && (r->state->cr0 & WP))))
        return false;
    if ((r->flags & WALK_EXECUTE) && (!r->fetch || (user_page && (r->state->cr4 & SMEP))))
        return false;
    return true;
}

static void ref_finish(struct ref *r, uint64_t address, unsigned entry_size, uint64_t entry,
                       uint64_t page, uint64_t size)
{
    bool pat = (entry & (size == 4096 ? 0x80 : 0x1000)) != 0;
    bool ok = true;

    if (r->flags & WALK_USER)
        ok = ok && ref_as_user(r);
    if (r->flags & WALK_SUPERVISOR)
        ok = ok && ref_as_supervisor(r, true);
    if (!(r->flags & (WALK_USER | WALK_SUPERVISOR)))
        ok = ref_as_supervisor(r, false);
    if (!ok) {
        r->code = WALK_PRIVILEGE;
        return;
    }
    ref_touch(r, address, entry_size, (r->flags & WALK_WRITE) ? 0x60 : 0x20);
    r->size = size;
    r->gpa = page | (r->gva & (size - 1));
    r->pat = (entry >> 3 & 3) | (pat ? 4 : 0);
}

static void ref_32bit(struct ref *r)
{
    unsigned m = r->state->physical_bits < 40 ? r->state->physical_bits : 40;
    uint64_t address = (r->state->cr3 & 0xfffff000) + (r->gva >> 22) * 4;
    uint64_t entry;

    if (!ref_entry(r, address, 4, &entry))
        return;
    if ((r->state->cr4 & PSE) && (entry & 0x80)) {
        // Bits 21:(M-19) reserved, bits (M-20):13 are address bits (M-1):32.
        for (unsigned bit = m - 19; bit <= 21; bit++) {
            if (!ref_reserved(r, entry, 1ul << bit))
                return;
        }
        ref_rights(r, entry);
        ref_finish(r, address, 4, entry, (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32,
                   1ul << 22);
        return;
    }
    ref_rights(r, entry);
    ref_touch(r, address, 4, 0x20);
    address = (entry & 0xfffff000) + (r->gva >> 12 & 0x3ff) * 4;
    if (!ref_entry(r, address, 4, &entry))
        return;
    ref_rights(r, entry);
    ref_finish(r, address, 4, entry, entry & 0xfffff000, 4096);
}

static uint64_t ref_above(unsigned physical_bits, unsigned top)
{
    uint64_t mask = 0;

    for (unsigned bit = physical_bits; bit <= top; bit++)
        mask |= 1ul << bit;
    return mask;
}

// The page directory and the page table, common to PAE and the 64-bit modes. `reserved` in every
// entry.
static void ref_directory(struct ref *r, uint64_t table, uint64_t reserved)
{
    const uint64_t address_mask = 0xffffffffff000;
    uint64_t address = table + (r->gva >> 21 & 511) * 8;
    uint64_t entry;

    if (!ref_entry(r, address, 8, &entry))
        return;
    if (entry & 0x80) {
        if (!ref_reserved(r, entry, reserved | 0x1fe000))
            return;
        ref_rights(r, entry);
        ref_finish(r, address, 8, entry, entry & address_mask & ~0x1ffffful, 1ul << 21);
        return;
    }
    if (!ref_reserved(r, entry, reserved))
        return;
    ref_rights(r, entry);
    ref_touch(r, address, 8, 0x20);
    address = (entry & address_mask) + (r->gva >> 12 & 511) * 8;
    if (!ref_entry(r, address, 8, &entry) || !ref_reserved(r, entry, reserved))
        return;
    ref_rights(r, entry);
    ref_finish(r, address, 8, entry, entry & address_mask, 4096);
}

static void ref_pae(struct ref *r)
{
    uint64_t high = ref_above(r->state->physical_bits, 62);
    uint64_t address = (r->state->cr3 & 0xffffffe0) + (r->gva >> 30) * 8;
    uint64_t entry;

    if (r->state->pdptes != NULL) {
        entry = r->state->pdptes[r->gva >> 30];
        r->code = entry & 1 ? WALK_SUCCESS : WALK_NOT_PRESENT;
        if (r->code != WALK_SUCCESS)
            return;
    } else if (!ref_entry(r, address, 8, &entry)) {
        return;
    }
    if (!ref_reserved(r, entry, high | NX | 0x1e6))
        return;
    ref_directory(r, entry & 0xffffffffff000, high | ((r->state->efer & NXE) ? 0 : NX));
}

static void ref_64bit(struct ref *r)
{
    uint64_t reserved = ref_above(r->state->physical_bits, 51) | ((r->state->efer & NXE) ? 0 : NX);
    uint64_t table = r->state->cr3 & 0xffffffffff000;

    for (int shift = (r->state->cr4 & LA57) ? 48 : 39; shift >= 30; shift -= 9) {
        uint64_t address = table + (r->gva >> shift & 511) * 8;
        uint64_t entry;

        if (!ref_entry(r, address, 8, &entry))
            return;
        if (shift == 30 && r->state->huge_pages && (entry & 0x80)) {
            if (!ref_reserved(r, entry, reserved | 0x3fffe000))
                return;
            ref_rights(r, entry);
            ref_finish(r, address, 8, entry, entry & 0xfffffc0000000, 1ul << 30);
            return;
        }
        if (!ref_reserved(r, entry, reserved | 0x80))
            return;
        ref_rights(r, entry);
        ref_touch(r, address, 8, 0x20);
        table = entry & 0xffffffffff000;
    }
    ref_directory(r, table, reserved);
}

static void ref_translate(struct ref *r)
{
    int64_t sign = (int64_t)r->gva >> ((r->state->cr4 & LA57) ? 56 : 47);

    r->code = WALK_NOT_PRESENT;
    r->user = r->write = r->fetch = true;
    if (r->state->efer & LMA) {
        if (sign == 0 || sign == -1)
            ref_64bit(r);
    } else if (r->gva < 1ul << 32) {
        if (r->state->cr4 & PAE)
            ref_pae(r);
        else
            ref_32bit(r);
    }
}

// ---- random tables
// ----------------------------------------------------------------------------------

static uint64_t random_entry(void)
{
    uint64_t entry = random_below(MEMORY_PAGES) << 12 | 7;

    if (random_below(20) == 0)
        entry = random_u64();
    entry ^= random_below(16) == 0;
    if (random_below(3) == 0)
        entry ^= random_u64() & 0x67e;
    if (random_below(8) == 0)
        entry ^= 0x80; // large
    if (random_below(8) == 0)
        entry ^= NX;
    if (random_below(16) == 0)
        entry ^= 1ul << (32 + random_below(30));
    if (entry & 0x80 && random_below(4) != 0)
        entry &= ~0x3fffe000ul;
    return entry;
}

// Small entries are for PAE's first table: without the bits that are rights elsewhere.
static void fill_memory(void)
{
    uint64_t *words = (uint64_t *)(void *)memory;

    for (unsigned i = 0; i < sizeof(memory) / 8; i++)
        words[i] = random_entry();
    for (unsigned i = 0; i < 512; i++)
        words[i] = random_below(8) ? words[i] & ~(NX | 0x1e6) : words[i];
    for (unsigned i = 0; i < MEMORY_PAGES; i++) {
        page_code[i] = random_below(24) ? WALK_SUCCESS : WALK_TABLE_UNMAPPED + random_below(4);
        page_read_only[i] = false;
    }
    page_code[0] = WALK_SUCCESS;
}

static void random_mode(struct walk_state *state)
{
    static const uint64_t pdptes[4] = {0x3001, 0x5001, 0, 0x1ul << 45 | 0x7001};

    *state = (struct walk_state){
        .cr0 = PG | (random_u64() & WP),
        .cr3 = random_below(2) ? 0 : random_below(MEMORY_PAGES) << 12 | (random_u64() & 0x18),
        .cr4 = random_u64() & (PSE | SMEP | SMAP),
        .efer = random_u64() & NXE,
        .rflags = random_u64() & AC,
        .physical_bits = 36 + (unsigned)random_below(17),
        .huge_pages = random_below(2),
    };
    switch (random_below(4)) {
    case 0:
        break;
    case 1:
        state->cr4 |= PAE;
        state->cr3 |= random_below(2) ? random_below(128) << 5 : 0;
        state->pdptes = random_below(2) ? pdptes : NULL;
        break;
    case 2:
        state->cr4 |= PAE;
        state->efer |= LMA;
        break;
    default:
        state->cr4 |= PAE | LA57;
        state->efer |= LMA;
    }
}

static uint64_t random_gva(const struct walk_state *state)
{
    uint64_t gva = random_u64();

    if (random_below(64) == 0)
        return gva;
    if (!(state->efer & LMA))
        return gva & 0xffffffff;
    return (uint64_t)((int64_t)(gva << 7) >> ((state->cr4 & LA57) ? 7 : 16));
}

static uint32_t expected_error(const struct walk_state *state, enum walk_code code, uint32_t flags)
{
    bool fetch_bit = (state->cr4 & SMEP) || ((state->cr4 & PAE) && (state->efer & NXE));

    if (code < WALK_NOT_PRESENT || code > WALK_RESERVED)
        return 0;
    return (code != WALK_NOT_PRESENT) | (flags & WALK_WRITE ? 2 : 0) | (flags & WALK_USER ? 4 : 0) |
           (code == WALK_RESERVED ? 8 : 0) | (flags & WALK_EXECUTE && fetch_bit ? 16 : 0);
}

static void compare(const struct walk_state *state, uint64_t gva, uint32_t flags)
{
    static uint8_t after[sizeof(memory)];
    struct ref ref = {.state = state, .gva = gva, .flags = flags};
    struct walk_result result;

    ref_translate(&ref);
    memcpy(after, memory, sizeof(memory));
    for (unsigned i = 0; (flags & WALK_SET_BITS) && i < ref.touches; i++)
        after[ref.touched[i].address] |= (uint8_t)ref.touched[i].bits;
    result = walk_translate(state, &access, gva, flags);
    must(result.code == ref.code);
    must(result.error_code == expected_error(state, ref.code, flags));
    if (ref.code == WALK_SUCCESS) {
        must(result.gpa == ref.gpa);
        must(result.page_size == ref.size);
        must(result.pat_index == ref.pat);
    } else if (ref.code >= WALK_TABLE_UNMAPPED) {
        must(result.gpa == ref.gpa);
    } else {
        must(result.gpa == 0);
    }
    for (unsigned i = 0; i < ref.touches; i++) {
        uint64_t address = ref.touched[i].address;

        must(memcmp(after + address, memory + address, ref.touched[i].size) == 0);
    }
    if (random_below(64) == 0)
        must(memcmp(after, memory, sizeof(memory)) == 0);
}

START_TEST(random_against_second_walker)
{
    unsigned codes[WALK_TABLE_OVERLAY + 1] = {0};
    unsigned sizes[31] = {0};

    for (int i = 0; i < 400; i++) {
        fill_memory();
        for (int j = 0; j < 1000; j++) {
            struct walk_state state;
            uint32_t flags = 1 + (uint32_t)random_below(255);
            struct walk_result result;
            uint64_t gva;

            random_mode(&state);
            gva = random_gva(&state);
            compare(&state, gva, flags);
            result = walk_translate(&state, &access, gva, flags & ~(uint32_t)WALK_SET_BITS);
            codes[result.code]++;
            if (result.code == WALK_SUCCESS)
                sizes[__builtin_ctzl(result.page_size)]++;
        }
    }
    // The run met everything.
    for (unsigned i = 0; i <= WALK_TABLE_OVERLAY; i++)
        ck_assert_uint_gt(codes[i], 400);
    ck_assert_uint_gt(sizes[12], 1000);
    ck_assert_uint_gt(sizes[21], 1000);
    ck_assert_uint_gt(sizes[22], 1000);
    ck_assert_uint_gt(sizes[30], 1000);
}
END_TEST

// ---- single behaviours
// ------------------------------------------------------------------------------

// A 4-level map of one page, 0x5000 -> 0x7abc000; returns its last entry.
static uint64_t *one_page(struct walk_state *state, uint64_t bits)
{
    uint64_t *words = (uint64_t *)(void *)memory;

    *state = (struct walk_state){.cr0 = PG | WP,
                                 .cr3 = 0x1000,
                                 .cr4 = PAE,
                                 .efer = LMA | NXE,
                                 .physical_bits = 40,
                                 .huge_pages = true};
    words[0x1000 / 8] = 0x2007;
    words[0x2000 / 8] = 0x3007;
    words[0x3000 / 8] = 0x4007;
    words[0x4000 / 8 + 5] = 0x7abc000 | bits;
    return &words[0x4000 / 8 + 5];
}

START_TEST(no_paging_always_succeeds)
{
    const struct walk_state state = {.cr0 = 1, .physical_bits = 40};
    struct walk_result result = walk_translate(&state, &access, 0xfffff123, WALK_WRITE);

    ck_assert_int_eq(result.code, WALK_SUCCESS);
    ck_assert_uint_eq(result.gpa, 0xfffff123);
    ck_assert_uint_eq(result.page_size, 4096);
}
END_TEST

enum page { U_RW = 7, U_RO = 5, S_RW = 3, S_RO = 1 };

START_TEST(rights)
{
    enum { R = WALK_READ, W = WALK_WRITE, X = WALK_EXECUTE, U = WALK_USER, S = WALK_SUPERVISOR };
    static const struct {
        uint64_t page;
        uint64_t cr0, cr4, rflags;
        uint32_t flags;
        bool allowed;
    } cases[] = {
        {U_RW, WP, 0, 0, U | R | W, true},
        {U_RO, WP, 0, 0, U | W, false},
        {U_RO, 0, 0, 0, U | W, false}, // WP is for supervisors
        {S_RW, 0, 0, 0, U | R, false},
        {U_RW | NX, 0, 0, 0, U | X, false},
        {U_RW | NX, 0, 0, 0, U | R, true},
        {S_RO, WP, 0, 0, S | W, false},
        {S_RO, 0, 0, 0, S | W, true},
        {U_RO, 0, 0, 0, S | W, true},
        {U_RO, WP, 0, 0, S | W, false},
        {S_RO | NX, 0, 0, 0, S | X, false},
        {U_RW, 0, 0, 0, S | X, true},
        {U_RW, 0, SMEP, 0, S | X, false},
        {U_RW, 0, SMEP, 0, S | R | W, true},
        {S_RW, 0, SMEP | SMAP, 0, S | R | W | X, true},
        {U_RW, 0, SMAP, 0, S | R, false},
        {U_RW, 0, SMAP, 0, S | W, false},
        {U_RW, 0, SMAP, 0, S | X, true},
        {U_RW, 0, SMAP, AC, S | R, true},
        {U_RW, 0, SMAP, AC, S | R | WALK_SMAP_ENFORCE, false},
        {U_RW, 0, SMAP, 0, S | R | WALK_SMAP_OVERRIDE, true},
        {U_RW, 0, SMAP | SMEP, 0, U | R | W | X, true},
        {U_RW, 0, SMAP, 0, U | S | R, false},
        {S_RW, 0, 0, 0, U | S | R, false},
        {S_RW, WP, SMAP | SMEP, 0, R | W | X, true}, // no U/S check
        {U_RW, WP, SMAP | SMEP, 0, R | W | X, true},
        {S_RO, WP, 0, 0, W, false},
        {S_RO | NX, 0, 0, 0, X, false},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct walk_state state;
        struct walk_result result;

        one_page(&state, cases[i].page);
        state.cr0 = PG | cases[i].cr0;
        state.cr4 |= cases[i].cr4;
        state.rflags = cases[i].rflags;
        result = walk_translate(&state, &access, 0x5678, cases[i].flags);
        ck_assert_msg(result.code == (cases[i].allowed ? WALK_SUCCESS : WALK_PRIVILEGE), "case %u",
                      i);
        ck_assert_uint_eq(result.gpa, cases[i].allowed ? 0x7abc678 : 0);
    }
}
END_TEST

// What an upper entry forbids, the last one cannot allow.
START_TEST(upper_entries_count)
{
    static const struct {
        uint64_t clear, set;
        uint32_t flags;
    } cases[] = {{2, 0, WALK_USER | WALK_WRITE},
                 {4, 0, WALK_USER | WALK_READ},
                 {0, NX, WALK_USER | WALK_EXECUTE}};

    for (unsigned level = 0; level < 3; level++) {
        for (unsigned i = 0; i < 3; i++) {
            uint64_t *entry = (uint64_t *)(void *)(memory + 0x1000 * (level + 1));
            struct walk_state state;

            one_page(&state, U_RW);
            ck_assert_int_eq(walk_translate(&state, &access, 0x5000, cases[i].flags).code, 0);
            *entry = (*entry & ~cases[i].clear) | cases[i].set;
            ck_assert_int_eq(walk_translate(&state, &access, 0x5000, cases[i].flags).code,
                             WALK_PRIVILEGE);
        }
    }
}
END_TEST

START_TEST(pse36)
{
    uint32_t *entry = (uint32_t *)(void *)(memory + 0x1000 + 4 * 3);
    struct walk_state state = {.cr0 = PG, .cr3 = 0x1000, .cr4 = PSE, .physical_bits = 40};
    struct walk_result result;

    *entry = 0x80c00087 | 0xabu << 13 | 0x1000;
    result = walk_translate(&state, &access, 0xc12345, WALK_READ | WALK_SUPERVISOR);
    ck_assert_int_eq(result.code, WALK_SUCCESS);
    ck_assert_uint_eq(result.gpa, 0xab80c12345);
    ck_assert_uint_eq(result.page_size, 1u << 22);
    ck_assert_uint_eq(result.pat_index, 4);
    state.physical_bits = 39;
    result = walk_translate(&state, &access, 0xc12345, WALK_READ | WALK_SUPERVISOR);
    ck_assert_int_eq(result.code, WALK_RESERVED);
    ck_assert_uint_eq(result.error_code, 9);
}
END_TEST

START_TEST(accessed_and_dirty)
{
    struct walk_state state;
    uint64_t *last = one_page(&state, U_RW);
    uint64_t *first = (uint64_t *)(void *)(memory + 0x1000);

    walk_translate(&state, &access, 0x5000, WALK_READ);
    ck_assert_uint_eq(*last, 0x7abc007);
    walk_translate(&state, &access, 0x5000, WALK_READ | WALK_SET_BITS);
    ck_assert_uint_eq(*last, 0x7abc027);
    ck_assert_uint_eq(*first, 0x2027);
    walk_translate(&state, &access, 0x5000, WALK_WRITE | WALK_SET_BITS);
    ck_assert_uint_eq(*last, 0x7abc067);
    ck_assert_uint_eq(*first, 0x2027);
    // Not written again: a read-only table page is no failure then.
    page_read_only[4] = true;
    ck_assert_int_eq(walk_translate(&state, &access, 0x5000, WALK_WRITE | WALK_SET_BITS).code, 0);
    *last = 0x7abc007;
    ck_assert_int_eq(walk_translate(&state, &access, 0x5000, WALK_WRITE | WALK_SET_BITS).code,
                     WALK_TABLE_NO_WRITE);
    ck_assert_uint_eq(walk_translate(&state, &access, 0x5000, WALK_WRITE | WALK_SET_BITS).gpa,
                      0x4028);
}
END_TEST

// Another processor changes the entry between the read and the exchange.
START_TEST(contended_entry)
{
    struct walk_state state;
    uint64_t *last = one_page(&state, U_RW);

    contention = 3;
    ck_assert_int_eq(walk_translate(&state, &access, 0x5000, WALK_READ | WALK_SET_BITS).code, 0);
    ck_assert_uint_eq(contention, 0);
    ck_assert_uint_eq(*last, 0x7abc027);
    one_page(&state, U_RW);
    contention = 1000;
    ck_assert_int_eq(walk_translate(&state, &access, 0x5000, WALK_READ | WALK_SET_BITS).code,
                     WALK_BUSY);
    ck_assert_uint_gt(contention, 900);
    // What it takes away in between is gone: present, and the right to write.
    contention = 1;
    contention_clear = 1;
    one_page(&state, U_RW);
    ck_assert_int_eq(walk_translate(&state, &access, 0x5000, WALK_READ | WALK_SET_BITS).code,
                     WALK_NOT_PRESENT);
    one_page(&state, U_RW);
    for (unsigned page = 1; page < 4; page++)
        memory[page * 0x1000] |= 0x20;
    contention = 1;
    contention_clear = 2;
    ck_assert_int_eq(walk_translate(&state, &access, 0x5000, WALK_WRITE | WALK_SET_BITS).code,
                     WALK_PRIVILEGE);
    ck_assert_uint_eq(*last, 0x7abc005);
}
END_TEST

START_TEST(canonical)
{
    static const struct {
        uint64_t gva;
        bool four, five;
    } cases[] = {
        {0, true, true},
        {0x00007fffffffffff, true, true},
        {0x0000800000000000, false, true},
        {0xffff7fffffffffff, false, true},
        {0xffff800000000000, true, true},
        {0x00ffffffffffffff, false, true},
        {0x0100000000000000, false, false},
        {0xfeffffffffffffff, false, false},
        {0xff00000000000000, false, true},
    };
    // Every entry leads to page 0 again, and the last maps it.
    uint64_t *words = (uint64_t *)(void *)memory;

    for (unsigned i = 0; i < 512; i++)
        words[i] = 7;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct walk_state state = {.cr0 = PG, .cr4 = PAE, .efer = LMA, .physical_bits = 40};

        ck_assert_int_eq(walk_translate(&state, &access, cases[i].gva, WALK_READ).code,
                         cases[i].four ? WALK_SUCCESS : WALK_NOT_PRESENT);
        state.cr4 |= LA57;
        ck_assert_int_eq(walk_translate(&state, &access, cases[i].gva, WALK_READ).code,
                         cases[i].five ? WALK_SUCCESS : WALK_NOT_PRESENT);
        state.efer = 0;
        ck_assert_int_eq(walk_translate(&state, &access, cases[i].gva | 1ul << 32, WALK_READ).code,
                         WALK_NOT_PRESENT);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("walk");
    TCase *tests = tcase_create("walk");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, random_against_second_walker);
    tcase_add_test(tests, no_paging_always_succeeds);
    tcase_add_test(tests, rights);
    tcase_add_test(tests, upper_entries_count);
    tcase_add_test(tests, pse36);
    tcase_add_test(tests, accessed_and_dirty);
    tcase_add_test(tests, contended_entry);
    tcase_add_test(tests, canonical);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
