// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest memory, reached through this LP's windows only (DESIGN 4). Nothing stays mapped but the
// last page of each slot, which the next use replaces.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/decode.h"
#include "corbel/gpa.h"
#include "corbel/lp.h"
#include "corbel/walk.h"

struct partition;
struct vp;

enum window_slot {
    WINDOW_INPUT = 0,                           // hypercall input page
    WINDOW_OUTPUT = 1,                          // hypercall output page
    WINDOW_TABLE = 2,                           // guest page tables
    WINDOW_DATA = 3,                            // everything else
    WINDOW_CODE = 8,                            // code pages, LP_CODE_PAGES slots
    WINDOW_TRAILS = WINDOW_CODE + LP_CODE_PAGES // LP_TRAIL_LEVELS slots a trail
};

// Maps a machine page into a window slot of this LP and returns its address.
void *window_map(struct lp *lp, enum window_slot slot, uint64_t spa);

// Copies from a GPA range that lies in one page. False: unmapped, no right, or crossing.
bool guest_read(struct partition *p, uint64_t gpa, void *buffer, uint32_t size);

// Instruction bytes at the VP's RIP: up to 15, fewer at a page that is not there. Owner LP.
uint32_t guest_fetch(struct vp *vp, uint8_t bytes[16]);

// Length of the instruction at RIP if it is `insn`, else 0 (the guest changed it, or its page went
// away: executing again settles it). Remembers the code page for guest_code_is. Owner LP.
uint32_t guest_instruction_length(struct vp *vp, enum insn insn);

// Where the code page of a linear address is remembered on this LP.
static inline struct lp_code_page *guest_code_page(struct lp *lp, const struct vp *vp,
                                                   uint64_t linear)
{
    return &lp->code[(linear >> PAGE_SHIFT ^ (uint64_t)vp >> PAGE_SHIFT) % LP_CODE_PAGES];
}

// Whether the `size` bytes at a linear address are exactly `opcode`, read through the remembered
// code page; false also when the page is another. Reads memory at each call, so a changed
// instruction shows; the translation behaves like a TLB entry (keyed by CR3, dropped when the GPA
// space changes).
static inline bool guest_code_is(struct lp *lp, const struct vp *vp, uint64_t cr3, uint64_t linear,
                                 uint32_t opcode, uint32_t size)
{
    const struct lp_code_page *c = guest_code_page(lp, vp, linear);
    uint64_t offset = linear & (PAGE_SIZE - 1);

    if (c->vp != vp || c->cr3 != cr3 || c->linear != linear - offset)
        return false;
    if (offset > PAGE_SIZE - sizeof(uint32_t))
        return false;
    uint32_t mask = size >= 4 ? ~0u : (1u << size * 8) - 1;
    return ((*(const volatile uint32_t *)(c->bytes + offset) ^ opcode) & mask) == 0;
}

// Forgets the remembered code pages of this LP.
static inline void guest_forget_code(struct lp *lp)
{
    for (uint32_t i = 0; i < LP_CODE_PAGES; i++)
        lp->code[i].vp = (struct vp *)0;
}

// Translates a guest virtual address. Result as walk_translate.
struct walk_result guest_translate(struct vp *vp, uint64_t gva, uint32_t access);
