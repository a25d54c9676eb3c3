// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest memory, reached through this LP's windows only (DESIGN 4). Nothing stays mapped but the last
// page of each slot, which the next use replaces.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/gpa.h"
#include "corbel/walk.h"

struct lp;
struct partition;
struct vp;

enum window_slot {
    WINDOW_INPUT = 0,  // hypercall input page
    WINDOW_OUTPUT = 1, // hypercall output page
    WINDOW_TABLE = 2,  // guest page tables
    WINDOW_CODE = 3,   // instruction bytes
    WINDOW_DATA = 4    // everything else
};

// Maps a machine page into a window slot of this LP and returns its address.
void *window_map(struct lp *lp, enum window_slot slot, uint64_t spa);

// Copies to or from a GPA range that lies in one page. False: unmapped, no right, or crossing.
bool guest_read(struct partition *p, uint64_t gpa, void *buffer, uint32_t size);
bool guest_write(struct partition *p, uint64_t gpa, const void *buffer, uint32_t size);

// Instruction bytes at the VP's RIP: up to 15, fewer at a page that is not there. Owner LP.
uint32_t guest_fetch(struct vp *vp, uint8_t bytes[16]);

// Length of the instruction at RIP, checked to begin (after prefixes) with the opcode bytes given: the
// common unprefixed form is answered from the cached code page. 0: it is something else.
uint32_t guest_instruction_length(struct vp *vp, uint32_t opcode, uint32_t opcode_bytes);

// Translates a guest virtual address. Result as walk_translate.
struct walk_result guest_translate(struct vp *vp, uint64_t gva, uint32_t access);
