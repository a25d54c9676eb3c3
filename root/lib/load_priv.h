// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the loaders share: the plan of a guest's memory, the block of boot data, the initial state.
//
// A loader first plans: it claims the ranges that the image demands, finds room for what it may
// place itself, and gives up with an error wherever something does not fit. Then it writes, which
// cannot fail. Addresses in a plan never wrap: a claim checks before it adds.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load.h"
#include "mem.h"

#define LOAD_4GIB (UINT64_C(1) << 32)

enum {
    LOAD_PAGE = 4096,
    LOAD_LEGACY_START = 0xa0000, // video memory and BIOS: RAM there is never offered
    LOAD_LEGACY_END = 0x100000,
    // Boot data goes above the areas that small kernels use for a real-mode trampoline.
    LOAD_BOOT_DATA_MIN = 0x9000,
    LOAD_SEGMENTS_MAX = 32,
    LOAD_TAKEN_MAX = LOAD_RESERVED_MAX + 1 + LOAD_SEGMENTS_MAX + 4,
    LOAD_MAP_MAX = 128 // what e820_table of boot_params holds
};
// Each reserved range and the legacy area split at most one run of RAM.
_Static_assert(LOAD_RAM_MAX + LOAD_TAKEN_MAX <= LOAD_UNTOUCHED_MAX, "every gap has room");
_Static_assert(LOAD_RAM_MAX + 2 * LOAD_RESERVED_MAX + 1 <= LOAD_MAP_MAX, "memory map always fits");

struct load_span {
    uint64_t start;
    uint64_t end; // exclusive
};

struct load_map_entry {
    uint64_t gpa;
    uint64_t size;
    uint32_t type; // enum load_memory_type
};

struct load_plan {
    const struct load_request *request;
    const uint8_t *image;
    uint32_t ram_count;
    uint32_t fixed_count; // of taken: reserved by the request or the machine
    uint32_t taken_count;
    uint32_t map_count;
    struct load_span ram[LOAD_RAM_MAX]; // runs of RAM, ascending, never touching
    struct load_span taken[LOAD_TAKEN_MAX];
    struct load_map_entry map[LOAD_MAP_MAX]; // ascending
};

// A piece of an image and where it goes; memory behind the file's bytes is cleared.
struct load_piece {
    uint64_t offset; // in the image
    uint64_t file_size;
    uint64_t gpa;
    uint64_t memory_size;
};

// The one block of boot data: descriptor table, stack, then what the loader adds.
struct load_block {
    uint64_t gpa;
    uint32_t size;
};

// Where to look for room. align is a power of two, low and high bound the range (high exclusive).
struct load_want {
    uint64_t size;
    uint64_t align;
    uint64_t low;
    uint64_t high;
    bool downwards;
};

// ---- plan (load_plan.c) ------------------------------------------------------------------------

// Checks the request, sets up runs of RAM and the memory map. LOAD_ERROR_REQUEST when it is not
// consistent, LOAD_ERROR_CMDLINE when the command line is longer than LOAD_CMDLINE_MAX.
enum load_error load_plan_init(struct load_plan *plan, const struct load_request *request);

// Claims [gpa, gpa + size) for a part of the image. Errors: LOAD_ERROR_SEGMENT_RAM, _RESERVED,
// _OVERLAP, _COUNT.
enum load_error load_claim(struct load_plan *plan, uint64_t gpa, uint64_t size);

// Finds and claims room; false when there is none. A size of 0 finds nothing.
bool load_find(struct load_plan *plan, const struct load_want *want, uint64_t *gpa);

// Adds size bytes to a block that is not placed yet; returns their offset in it.
uint32_t load_block_add(struct load_block *block, uint32_t size, uint32_t align);

// Starts a block with the descriptor table and the stack.
void load_block_init(struct load_block *block);

// Places the block below 4 GiB. LOAD_ERROR_BOOT_SPACE when there is no room.
enum load_error load_block_place(struct load_plan *plan, struct load_block *block);

// The RAM that is not claimed, in whole pages, into *result.
void load_untouched(const struct load_plan *plan, struct load_result *result);

// ---- write (load_plan.c); the range is claimed -------------------------------------------------

void load_write(const struct load_plan *plan, uint64_t gpa, const void *data, uint64_t size);
void load_clear(const struct load_plan *plan, uint64_t gpa, uint64_t size);
void load_write_piece(const struct load_plan *plan, const struct load_piece *piece);
// Writes the command line with its terminator.
void load_write_cmdline(const struct load_plan *plan, uint64_t gpa);

// ---- initial state (load_state.c) --------------------------------------------------------------

enum { LOAD_PAGE_TABLE_PAGES = 6 }; // identity map of the first 4 GiB in 2 MiB pages

// 32-bit protected mode, flat segments, no paging. Writes the descriptor table into the block.
void load_state_32(const struct load_plan *plan, const struct load_block *block,
                   struct load_vp_state *vp);

// 64-bit mode. Writes the descriptor table, and the page tables at `tables` (page aligned,
// LOAD_PAGE_TABLE_PAGES pages).
void load_state_64(const struct load_plan *plan, const struct load_block *block, uint64_t tables,
                   struct load_vp_state *vp);

// ---- ELF (load_elf.c) --------------------------------------------------------------------------

struct load_elf {
    const uint8_t *image;
    uint64_t image_size;
    uint64_t entry;
    uint64_t phoff;
    uint16_t phentsize;
    uint16_t phnum;
    bool is_64;
};

struct load_elf_segment {
    uint64_t vaddr;
    struct load_piece piece;
};

struct load_elf_image {
    uint32_t count;
    struct load_elf_segment segments[LOAD_SEGMENTS_MAX];
};

bool load_elf_is(const void *image, size_t size);
// Reads the file header; all program headers lie in the file afterwards.
enum load_error load_elf_open(struct load_elf *elf, const void *image, size_t size);
// Finds the XEN_ELFNOTE_PHYS32_ENTRY note; false when there is no well-formed one.
bool load_elf_pvh_entry(const struct load_elf *elf, uint64_t *entry);
// Claims the memory of every PT_LOAD segment that has some.
enum load_error load_elf_claim(struct load_plan *plan, const struct load_elf *elf,
                               struct load_elf_image *segments);
// The lowest and the end of the highest byte of the pieces.
struct load_span load_elf_extent(const struct load_elf_image *segments);

// ---- the kinds ---------------------------------------------------------------------------------

bool load_linux_is(const void *image, size_t size);
// Offset of a multiboot header in the image; false when there is none.
bool load_multiboot1_find(const void *image, size_t size, uint32_t *offset);

enum load_error load_linux(struct load_plan *plan, struct load_result *result);
enum load_error load_multiboot1(struct load_plan *plan, uint32_t header,
                                struct load_result *result);
enum load_error load_pvh(struct load_plan *plan, const struct load_elf *elf, uint64_t entry,
                         struct load_result *result);

// Finds room for the RAM disk as the one module of multiboot and PVH: right behind the kernel,
// below 4 GiB. Kernels map little memory at first, and FreeBSD takes the end of the module for the
// start of free memory. *gpa is 0 when there is no RAM disk.
enum load_error load_find_module(struct load_plan *plan, uint64_t kernel_end, uint64_t *gpa);
