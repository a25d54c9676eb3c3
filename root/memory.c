// SPDX-License-Identifier: BSD-2-Clause-Patent
// Layout of a child's memory: contract in memory.h.
#include "root/memory.h"

#include <stddef.h>

#include "hv/base.h"

#define BLOCK_MASK (HV_LARGE_PAGE_SIZE - 1)
#define AWAY       ((uint8_t *)1) // no block is there

static bool append(struct guest_memory *memory, uint64_t gpa, uint8_t *host, uint64_t size)
{
    if (memory->count == LOAD_RAM_MAX) {
        return false;
    }
    memory->piece[memory->count++] = (struct load_ram){gpa, size, host};
    memory->fixed = memory->count;
    memory->size += size;
    return true;
}

bool guest_memory_add(struct guest_memory *memory, void *host, uint64_t size)
{
    const uint64_t low_left = memory->size < GUEST_LOW_END ? GUEST_LOW_END - memory->size : 0;
    const uint64_t low = size < low_left ? size : low_left;
    uint8_t *at = host;

    if (low && !append(memory, memory->size, at, low)) {
        return false;
    }
    return size == low ||
           append(memory, GUEST_HIGH_START + (memory->size - GUEST_LOW_END), at + low, size - low);
}

bool guest_memory_add_at(struct guest_memory *memory, uint64_t gpa, void *host, uint64_t size)
{
    const uint64_t before = memory->size;
    const uint32_t fixed = memory->fixed;
    const bool added = append(memory, gpa, host, size);

    memory->size = before;
    memory->fixed = fixed;
    return added;
}

void guest_memory_drop_last(struct guest_memory *memory)
{
    const struct load_ram *piece = &memory->piece[--memory->count];
    const uint64_t first = piece->gpa / HV_LARGE_PAGE_SIZE;

    for (uint64_t i = 0; i < piece->size / HV_LARGE_PAGE_SIZE && first + i < memory->blocks; i++) {
        memory->moved[first + i] = NULL;
    }
    if (memory->count < memory->fixed) {
        memory->fixed = memory->count;
        memory->size -= piece->size;
    }
}

const struct load_ram *guest_memory_find(const struct guest_memory *memory, uint64_t gpa)
{
    for (uint32_t i = 0; i < memory->count; i++) {
        if (gpa - memory->piece[i].gpa < memory->piece[i].size) {
            return &memory->piece[i];
        }
    }
    return NULL;
}

// ---- blocks that move --------------------------------------------------------------------------

void guest_memory_track(struct guest_memory *memory, uint8_t **moved, uint64_t blocks)
{
    memory->moved = moved;
    memory->blocks = blocks;
}

// NULL: it is where its piece says.
static uint8_t *moved(const struct guest_memory *memory, uint64_t gpa)
{
    const uint64_t block = gpa / HV_LARGE_PAGE_SIZE;

    return block < memory->blocks ? memory->moved[block] : NULL;
}

bool guest_block_is_away(const struct guest_memory *memory, uint64_t gpa)
{
    return moved(memory, gpa) == AWAY;
}

uint8_t *guest_block(const struct guest_memory *memory, uint64_t gpa)
{
    const uint64_t start = gpa & ~BLOCK_MASK;
    const struct load_ram *piece = guest_memory_find(memory, start);
    uint8_t *at = moved(memory, start);

    if (!piece || at == AWAY) {
        return NULL;
    }
    return at ? at : (uint8_t *)piece->host + (start - piece->gpa);
}

bool guest_block_may_move(const struct guest_memory *memory, uint64_t gpa)
{
    const uint64_t start = gpa & ~BLOCK_MASK;
    const struct load_ram *piece = guest_memory_find(memory, start);

    return piece && piece->size - (start - piece->gpa) >= HV_LARGE_PAGE_SIZE &&
           start / HV_LARGE_PAGE_SIZE < memory->blocks;
}

void guest_block_move(struct guest_memory *memory, uint64_t gpa, uint8_t *host)
{
    memory->moved[gpa / HV_LARGE_PAGE_SIZE] = host ? host : AWAY;
}

// ---- where it is -------------------------------------------------------------------------------

// Whether all blocks behind the first that the range reaches are where the piece says.
static bool goes_on(const struct guest_memory *memory, uint64_t gpa, uint64_t size)
{
    const uint64_t end = gpa + size;

    for (gpa = (gpa & ~BLOCK_MASK) + HV_LARGE_PAGE_SIZE; gpa < end; gpa += HV_LARGE_PAGE_SIZE) {
        if (moved(memory, gpa)) {
            return false;
        }
    }
    return true;
}

void *guest_memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t size)
{
    const struct load_ram *piece = guest_memory_find(memory, gpa);
    const uint64_t left = HV_LARGE_PAGE_SIZE - (gpa & BLOCK_MASK);
    uint8_t *block;

    if (!piece || size > piece->size - (gpa - piece->gpa)) {
        return NULL;
    }
    block = moved(memory, gpa);
    if (block) {
        return block == AWAY || size > left ? NULL : block + (gpa & BLOCK_MASK);
    }
    return goes_on(memory, gpa, size) ? (uint8_t *)piece->host + (gpa - piece->gpa) : NULL;
}

uint64_t guest_acpi_gpa(const struct guest_memory *memory)
{
    const uint64_t low_end = memory->size < GUEST_LOW_END ? memory->size : GUEST_LOW_END;

    return low_end - GUEST_ACPI_SIZE;
}

uint64_t guest_memory_end(const struct guest_memory *memory)
{
    return memory->size <= GUEST_LOW_END ? GUEST_HIGH_START
                                         : GUEST_HIGH_START + (memory->size - GUEST_LOW_END);
}

void guest_piece_runs(const struct load_ram *piece, struct guest_run *large,
                      struct guest_run *small)
{
    const uint64_t bulk = piece->size / HV_LARGE_PAGE_SIZE * HV_LARGE_PAGE_SIZE;
    const uint64_t gpa = piece->gpa >> HV_PAGE_SHIFT;
    const uint64_t own = (uintptr_t)piece->host >> HV_PAGE_SHIFT;

    *large = (struct guest_run){gpa, own, bulk / HV_LARGE_PAGE_SIZE, true};
    *small = (struct guest_run){gpa + bulk / HV_PAGE_SIZE, own + bulk / HV_PAGE_SIZE,
                                (piece->size - bulk) / HV_PAGE_SIZE, false};
}

struct guest_run guest_touch_run(const struct guest_memory *memory, const struct load_ram *piece,
                                 uint64_t gpa, bool large)
{
    const uint64_t offset = gpa - piece->gpa;
    const uint64_t block = offset & ~BLOCK_MASK;
    const bool fits = large && piece->size - block >= HV_LARGE_PAGE_SIZE;
    const uint64_t start = fits ? block : offset & ~(uint64_t)HV_PAGE_MASK;
    const uint8_t *elsewhere = moved(memory, gpa);
    uintptr_t host = (uintptr_t)piece->host + start;

    if (__builtin_expect(elsewhere != NULL, 0)) {
        host = (uintptr_t)elsewhere + (start - block);
    }
    return (struct guest_run){(piece->gpa + start) >> HV_PAGE_SHIFT, host >> HV_PAGE_SHIFT,
                              elsewhere != AWAY, fits};
}
