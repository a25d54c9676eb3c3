// SPDX-License-Identifier: BSD-2-Clause-Patent
// The state in which a guest's first processor starts: flat 32-bit, or 64-bit over an identity map.
#include "load_priv.h"

enum {
    // Selectors as Linux asks for them (boot.rst: __BOOT_CS, __BOOT_DS); the others do not mind.
    SELECTOR_CODE = 0x10,
    SELECTOR_DATA = 0x18,
    SELECTOR_TSS = 0x20,
    GDT_ENTRIES = 6, // null, unused, code, data, TSS (two entries in 64-bit mode)

    // Segment attributes in the TLFS form.
    ATTRIBUTES_CODE_32 = 0xc09b, // execute, read, accessed; S P D G
    ATTRIBUTES_CODE_64 = 0xa09b, // execute, read, accessed; S P L G
    ATTRIBUTES_DATA = 0xc093,    // read, write, accessed; S P D G
    ATTRIBUTES_TSS = 0x008b,     // busy TSS, P
    TSS_LIMIT = 0x67,

    CR0_PE = 1 << 0,
    CR0_ET = 1 << 4,
    CR4_PAE = 1 << 5,
    EFER_LME = 1 << 8,
    EFER_LMA = 1 << 10,
    RFLAGS_FIXED = 1 << 1,

    PAGE_PRESENT = 1 << 0,
    PAGE_WRITE = 1 << 1,
    PAGE_LARGE = 1 << 7,
    PAGE_ENTRIES = 512
};
#define CR0_PG     (UINT32_C(1) << 31)
#define LARGE_PAGE (UINT64_C(2) << 20)
#define FLAT_LIMIT UINT32_C(0xffffffff)

// A segment descriptor (SDM 3A 3.4.5) from a segment register with base 0.
static uint64_t descriptor(const struct load_segment *segment)
{
    uint64_t limit = segment->limit;
    if (segment->attributes & 0x8000) {
        limit >>= 12;
    }
    return (limit & 0xffff) | ((uint64_t)(segment->attributes & 0xff) << 40) |
           ((limit >> 16) << 48) | ((uint64_t)(segment->attributes >> 12) << 52);
}

static void state_common(const struct load_plan *plan, const struct load_block *block,
                         uint16_t code_attributes, struct load_vp_state *vp)
{
    const struct load_segment data = {0, FLAT_LIMIT, SELECTOR_DATA, ATTRIBUTES_DATA};
    memset(vp, 0, sizeof(*vp));
    vp->cs = (struct load_segment){0, FLAT_LIMIT, SELECTOR_CODE, code_attributes};
    vp->ds = vp->es = vp->fs = vp->gs = vp->ss = data;
    vp->tr = (struct load_segment){0, TSS_LIMIT, SELECTOR_TSS, ATTRIBUTES_TSS};
    vp->gdtr = (struct load_table){block->gpa, GDT_ENTRIES * 8 - 1};
    vp->rsp = block->gpa + UINT64_C(2) * LOAD_PAGE;
    vp->rflags = RFLAGS_FIXED;

    const uint64_t gdt[GDT_ENTRIES] = {
        0, 0, descriptor(&vp->cs), descriptor(&vp->ds), descriptor(&vp->tr), 0};
    load_write(plan, block->gpa, gdt, sizeof(gdt));
}

void load_state_32(const struct load_plan *plan, const struct load_block *block,
                   struct load_vp_state *vp)
{
    state_common(plan, block, ATTRIBUTES_CODE_32, vp);
    vp->cr0 = CR0_PE | CR0_ET;
}

// Level 4, level 3, and four level-2 tables of 2 MiB pages.
static void write_identity_map(const struct load_plan *plan, uint64_t tables)
{
    const uint64_t flags = PAGE_PRESENT | PAGE_WRITE;
    uint64_t table[PAGE_ENTRIES];
    memset(table, 0, sizeof(table));
    table[0] = (tables + LOAD_PAGE) | flags;
    load_write(plan, tables, table, sizeof(table));
    for (uint32_t i = 0; i < LOAD_PAGE_TABLE_PAGES - 2; i++) {
        table[i] = (tables + (UINT64_C(2) + i) * LOAD_PAGE) | flags;
    }
    load_write(plan, tables + LOAD_PAGE, table, sizeof(table));
    for (uint32_t i = 0; i < LOAD_PAGE_TABLE_PAGES - 2; i++) {
        for (uint32_t j = 0; j < PAGE_ENTRIES; j++) {
            table[j] = ((uint64_t)i * PAGE_ENTRIES + j) * LARGE_PAGE | flags | PAGE_LARGE;
        }
        load_write(plan, tables + (UINT64_C(2) + i) * LOAD_PAGE, table, sizeof(table));
    }
}

void load_state_64(const struct load_plan *plan, const struct load_block *block, uint64_t tables,
                   struct load_vp_state *vp)
{
    state_common(plan, block, ATTRIBUTES_CODE_64, vp);
    write_identity_map(plan, tables);
    vp->cr0 = CR0_PE | CR0_ET | CR0_PG;
    vp->cr3 = tables;
    vp->cr4 = CR4_PAE;
    vp->efer = EFER_LME | EFER_LMA;
}
