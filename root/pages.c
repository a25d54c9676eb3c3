// SPDX-License-Identifier: BSD-2-Clause-Patent
// Memory from the firmware: contract in pages.h.
#include "root/pages.h"

#include <stddef.h>

#include "hv/base.h"
#include "root/efi.h"
#include "root/lib/mem.h"

enum {
    CHUNK_PAGES = 256, // taken from the firmware at once
    MAP_SIZE = 0x10000 // of the firmware's memory map: a thousand entries
};

struct free_page {
    struct free_page *next;
};

static struct free_page *free_list;

uint64_t pages_take(void)
{
    if (!free_list) {
        EFI_PHYSICAL_ADDRESS chunk;
        if (EFI_ERROR(efi_system->BootServices->AllocatePages(AllocateAnyPages, EfiLoaderData,
                                                              CHUNK_PAGES, &chunk))) {
            return 0;
        }
        for (unsigned i = CHUNK_PAGES; i-- > 0;) { // they are taken in ascending order
            pages_give(chunk + (uint64_t)i * HV_PAGE_SIZE);
        }
    }
    struct free_page *page = free_list;
    free_list = page->next;
    return (uintptr_t)page;
}

void pages_give(uint64_t page)
{
    struct free_page *freed = (struct free_page *)page;

    freed->next = free_list;
    free_list = freed;
}

// What alignment leaves over goes back at once.
void *pages_large(uint64_t size)
{
    EFI_BOOT_SERVICES *services = efi_system->BootServices;
    const uint64_t slack = HV_LARGE_PAGE_SIZE - HV_PAGE_SIZE;
    const UINTN pages = (size + slack) / HV_PAGE_SIZE;
    EFI_PHYSICAL_ADDRESS start;

    if (EFI_ERROR(services->AllocatePages(AllocateAnyPages, EfiLoaderData, pages, &start))) {
        return NULL;
    }
    const uint64_t aligned = (start + slack) & ~slack & ~(uint64_t)HV_PAGE_MASK;
    const UINTN before = (aligned - start) / HV_PAGE_SIZE;
    const UINTN after = pages - before - size / HV_PAGE_SIZE;
    if (before) {
        services->FreePages(start, before);
    }
    if (after) {
        services->FreePages(aligned + size, after);
    }
    return (void *)aligned;
}

void pages_large_free(void *memory, uint64_t size)
{
    efi_system->BootServices->FreePages((uintptr_t)memory, size / HV_PAGE_SIZE);
}

uint64_t pages_left(void)
{
    static uint8_t map[MAP_SIZE] __attribute__((aligned(8)));
    UINTN size = sizeof map, key, step;
    UINT32 version;
    uint64_t pages = 0;

    if (EFI_ERROR(efi_system->BootServices->GetMemoryMap(&size, (EFI_MEMORY_DESCRIPTOR *)map, &key,
                                                         &step, &version))) {
        return 0;
    }
    for (UINTN at = 0; at + sizeof(EFI_MEMORY_DESCRIPTOR) <= size; at += step) {
        const EFI_MEMORY_DESCRIPTOR *entry = (const void *)(map + at);
        pages += entry->Type == EfiConventionalMemory ? entry->NumberOfPages : 0;
    }
    return pages * HV_PAGE_SIZE;
}

void *pages_zeroed(uint64_t size)
{
    const UINTN pages = (size + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE;
    EFI_PHYSICAL_ADDRESS start;

    if (EFI_ERROR(efi_system->BootServices->AllocatePages(AllocateAnyPages, EfiLoaderData, pages,
                                                          &start))) {
        return NULL;
    }
    return memset((void *)start, 0, pages * HV_PAGE_SIZE);
}
