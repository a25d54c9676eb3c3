// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "boot/loader.h"
#include "boot/ranges.h"
#include "corbel/layout.h"

#define MAP_SPARE 16u // descriptors that allocating the map itself may add

uint64_t memory_alloc_block(uint64_t size)
{
    EFI_PHYSICAL_ADDRESS got;
    uint64_t all = size + LARGE_PAGE_SIZE - PAGE_SIZE;
    if (EFI_ERROR(
            BS->AllocatePages(AllocateAnyPages, EfiReservedMemoryType, all / PAGE_SIZE, &got)))
        return 0;
    uint64_t block = (got + LARGE_PAGE_SIZE - 1) & ~(LARGE_PAGE_SIZE - 1);
    if (block != got)
        BS->FreePages(got, (block - got) / PAGE_SIZE);
    if (got + all != block + size)
        BS->FreePages(block + size, (got + all - block - size) / PAGE_SIZE);
    BS->SetMem((void *)block, size, 0);
    return block;
}

void memory_free_block(uint64_t pa, uint64_t size)
{
    BS->FreePages(pa, size / PAGE_SIZE);
}

static bool is_ram(uint32_t type)
{
    static const uint32_t types[] = {
        EfiLoaderCode,         EfiLoaderData,          EfiBootServicesCode,
        EfiBootServicesData,   EfiRuntimeServicesCode, EfiRuntimeServicesData,
        EfiConventionalMemory, EfiACPIReclaimMemory,   EfiACPIMemoryNVS,
    };
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i] == type)
            return true;
    return false;
}

// The map, allocated from the pool; NULL: none.
static uint8_t *read_map(UINTN *size, UINTN *step)
{
    uint8_t *map = NULL;
    UINTN key;
    UINT32 version;
    *size = 0;
    BS->GetMemoryMap(size, NULL, &key, step, &version);
    *size += MAP_SPARE * *step;
    if (EFI_ERROR(BS->AllocatePool(EfiLoaderData, *size, (void **)&map)))
        return NULL;
    if (!EFI_ERROR(BS->GetMemoryMap(size, (EFI_MEMORY_DESCRIPTOR *)map, &key, step, &version)))
        return map;
    BS->FreePool(map);
    return NULL;
}

bool memory_ram(struct launch_range *ranges, uint32_t *count)
{
    UINTN size, step;
    uint8_t *map = read_map(&size, &step);
    bool good = map != NULL;
    *count = 0;
    for (UINTN at = 0; good && at + sizeof(EFI_MEMORY_DESCRIPTOR) <= size; at += step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(map + at);
        if (is_ram(d->Type))
            good = ranges_add(ranges, count, LAUNCH_MAX_RANGES, d->PhysicalStart,
                              d->NumberOfPages * PAGE_SIZE);
    }
    if (map)
        BS->FreePool(map);
    return good;
}
