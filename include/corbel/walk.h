// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest virtual address translation by software, as the processor would do it: no paging, 32-bit,
// PAE, 4-level and 5-level (SDM 3A 4; APM 2 5; TLFS: HvCallTranslateVirtualAddress). Protection
// keys and shadow stacks are not considered. Pure: guest memory is reached through two functions of
// the caller.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The processor state that paging depends on.
struct walk_state {
    uint64_t cr0;
    uint64_t cr3;
    uint64_t cr4;
    uint64_t efer;
    uint64_t rflags;        // AC, for SMAP
    const uint64_t *pdptes; // PAE: the four PDPTE registers (Intel); NULL: read at CR3 (AMD)
    unsigned physical_bits; // MAXPHYADDR of the guest, 32..52
    bool huge_pages;        // the guest's CPUID has 1 GiB pages
};

enum walk_flags {
    WALK_READ = 1u << 0,
    WALK_WRITE = 1u << 1,
    WALK_EXECUTE = 1u << 2,
    // For whom the rights are checked: both, either, or (neither) no privilege check of the U/S
    // kind.
    WALK_USER = 1u << 3,
    WALK_SUPERVISOR = 1u << 4,
    WALK_SET_BITS = 1u << 5,     // set accessed, with WALK_WRITE dirty bits; not undone on failure
    WALK_SMAP_ENFORCE = 1u << 6, // ignore EFLAGS.AC: an implicit supervisor access
    WALK_SMAP_OVERRIDE = 1u << 7 // ignore SMAP
};

// HV_TRANSLATE_GVA_RESULT codes (TLFS), and one of our own.
enum walk_code {
    WALK_SUCCESS = 0,
    WALK_NOT_PRESENT = 1, // also: not canonical, or beyond 4 GiB without long mode
    WALK_PRIVILEGE = 2,
    WALK_RESERVED = 3,
    WALK_TABLE_UNMAPPED = 4,
    WALK_TABLE_NO_READ = 5,
    WALK_TABLE_NO_WRITE = 6,
    WALK_TABLE_OVERLAY = 7,
    WALK_BUSY = 0x100, // another processor kept changing an entry: do the whole thing again later
};

// Table access. Addresses are naturally aligned; `size` is 4 or 8. Return WALK_SUCCESS or what is
// wrong with the table page (WALK_TABLE_*). exchange stores `new_value` if the entry still is
// `expected` and sets *swapped accordingly; atomic. It is called only with WALK_SET_BITS.
struct walk_memory {
    enum walk_code (*read)(void *context, uint64_t gpa, unsigned size, uint64_t *value);
    enum walk_code (*exchange)(void *context, uint64_t gpa, unsigned size, uint64_t expected,
                               uint64_t new_value, bool *swapped);
    void *context;
};

struct walk_result {
    enum walk_code code;
    uint64_t gpa;        // WALK_SUCCESS: of the byte; WALK_TABLE_*: of the table entry
    uint64_t page_size;  // WALK_SUCCESS: bytes (4 KiB without paging)
    uint32_t pat_index;  // WALK_SUCCESS: PAT * 4 + PCD * 2 + PWT (0 without paging)
    uint32_t error_code; // WALK_NOT_PRESENT, _PRIVILEGE, _RESERVED: of the #PF to inject
};

struct walk_result walk_translate(const struct walk_state *state, const struct walk_memory *memory,
                                  uint64_t gva, uint32_t flags);
