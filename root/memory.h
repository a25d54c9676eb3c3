// SPDX-License-Identifier: BSD-2-Clause-Patent
// Where a child's memory lies: RAM from 0 to at most 3 GiB, the rest from 4 GiB on; between them
// the devices. The ACPI tables take the top of the low RAM. Pure.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/lib/load.h"

#define GUEST_LOW_END    UINT64_C(0xC0000000)
#define GUEST_HIGH_START UINT64_C(0x100000000)
#define GUEST_ACPI_SIZE  UINT64_C(0x40000) // enough for 256 VPs and to spare
#define GUEST_MEMORY_MIN UINT64_C(0x400000)

struct guest_memory {
    struct load_ram piece[LOAD_RAM_MAX]; // ascending by gpa, both sides aligned to 2 MiB
    uint32_t count;
    uint32_t fixed;  // so many of them come first, the rest has been added at places of its own
    uint64_t size;   // of the fixed ones
    uint8_t **moved; // by 2 MiB of GPA: blocks that are not where their piece says; NULL: none can
    uint64_t blocks; // in `moved`
};

// Appends memory of the host to the end of the RAM so far: host and gpa are multiples of 2 MiB,
// size is one of 4 KiB, and of 2 MiB for all but the last. False: too many pieces.
bool guest_memory_add(struct guest_memory *memory, void *host, uint64_t size);

// The same at a place of its own behind the RAM, which does not count in `size`: memory that comes
// and goes while the VM runs.
bool guest_memory_add_at(struct guest_memory *memory, uint64_t gpa, void *host, uint64_t size);
// Forgets the last piece, and which blocks of it had moved.
void guest_memory_drop_last(struct guest_memory *memory);

// The piece that holds gpa, or NULL.
const struct load_ram *guest_memory_find(const struct guest_memory *memory, uint64_t gpa);

// Blocks of 2 MiB that the guest does without may be taken from a VM and come back from elsewhere.
// `moved` has room for `blocks` of them, all NULL; NULL and 0 forget those that had been moved.
void guest_memory_track(struct guest_memory *memory, uint8_t **moved, uint64_t blocks);
// Where the root sees the block around gpa; NULL: no RAM, or away.
uint8_t *guest_block(const struct guest_memory *memory, uint64_t gpa);
// Whether all of it is RAM, and there is room for it in `moved`.
bool guest_block_may_move(const struct guest_memory *memory, uint64_t gpa);
bool guest_block_is_away(const struct guest_memory *memory, uint64_t gpa);
// The block, which may move, is at `host` from now on; NULL: away.
void guest_block_move(struct guest_memory *memory, uint64_t gpa, uint8_t *host);

// Where the root sees [gpa, gpa + size); NULL when not all of it is there and RAM in one piece.
void *guest_memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t size);

// GPA of the ACPI tables: GUEST_ACPI_SIZE bytes at the end of the low RAM.
uint64_t guest_acpi_gpa(const struct guest_memory *memory);

// First GPA behind all RAM, at least 4 GiB.
uint64_t guest_memory_end(const struct guest_memory *memory);

// A run of pages to map at once: page numbers in units of 4 KiB.
struct guest_run {
    uint64_t gpa_page;
    uint64_t own_page;
    uint64_t count; // of large pages when `large`
    bool large;
};

// A piece as a run of large pages and a run of small ones behind it; either may be empty (count 0).
void guest_piece_runs(const struct load_ram *piece, struct guest_run *large,
                      struct guest_run *small);

// The one run to map when gpa, which lies in the piece, is touched for the first time: the whole
// 2 MiB page around it where `large` and the piece allow, else 4 KiB. None (count 0): it is away.
struct guest_run guest_touch_run(const struct guest_memory *memory, const struct load_ram *piece,
                                 uint64_t gpa, bool large);
