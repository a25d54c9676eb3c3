// SPDX-License-Identifier: BSD-2-Clause-Patent
// Layout of a child's memory: contract in memory.h.
#include "root/memory.h"

#include <stddef.h>

#include "hv/base.h"

static bool append(struct guest_memory *memory, uint64_t gpa, uint8_t *host, uint64_t size)
{
    if (memory->count == LOAD_RAM_MAX) {
        return false;
    }
    memory->piece[memory->count++] = (struct load_ram){gpa, size, host};
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
    const bool added = append(memory, gpa, host, size);

    memory->size = before;
    return added;
}

void guest_memory_drop_last(struct guest_memory *memory)
{
    memory->count--;
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

void *guest_memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t size)
{
    const struct load_ram *piece = guest_memory_find(memory, gpa);

    if (!piece || size > piece->size - (gpa - piece->gpa)) {
        return NULL;
    }
    return (uint8_t *)piece->host + (gpa - piece->gpa);
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

struct guest_run guest_touch_run(const struct load_ram *piece, uint64_t gpa, bool large)
{
    const uint64_t offset = gpa - piece->gpa;
    const uint64_t block = offset & ~(HV_LARGE_PAGE_SIZE - 1);
    const bool fits = large && piece->size - block >= HV_LARGE_PAGE_SIZE;
    const uint64_t start = fits ? block : offset & ~(uint64_t)HV_PAGE_MASK;

    return (struct guest_run){(piece->gpa + start) >> HV_PAGE_SHIFT,
                              ((uintptr_t)piece->host + start) >> HV_PAGE_SHIFT, 1, fits};
}
