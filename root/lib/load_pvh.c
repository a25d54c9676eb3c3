// SPDX-License-Identifier: BSD-2-Clause-Patent
// PVH direct boot (Xen: docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h).
#include "load_priv.h"

enum { START_MAGIC = 0x336ec578, START_VERSION = 1 };

struct pvh_start_info {
    uint32_t magic;          // 0
    uint32_t version;        // 4
    uint32_t flags;          // 8
    uint32_t nr_modules;     // 12
    uint64_t modlist_paddr;  // 16
    uint64_t cmdline_paddr;  // 24
    uint64_t rsdp_paddr;     // 32
    uint64_t memmap_paddr;   // 40
    uint32_t memmap_entries; // 48
    uint32_t reserved;       // 52
} __attribute__((packed));
_Static_assert(sizeof(struct pvh_start_info) == 56, "hvm_start_info, version 1");

struct pvh_module {
    uint64_t paddr;
    uint64_t size;
    uint64_t cmdline_paddr;
    uint64_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct pvh_module) == 32, "hvm_modlist_entry");

struct pvh_memory {
    uint64_t addr;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct pvh_memory) == 24, "hvm_memmap_table_entry");

struct pvh_plan {
    struct load_elf_image segments;
    struct load_block block;
    uint32_t info, module, memory, cmdline; // offsets in the block
    uint64_t initrd;
};

// The entry point is a physical address in a segment, in reach of 32-bit code.
static bool pvh_entry_valid(const struct load_elf_image *segments, uint64_t entry)
{
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct load_piece *piece = &segments->segments[i].piece;
        if (entry >= piece->gpa && entry - piece->gpa < piece->memory_size) {
            return entry < LOAD_4GIB;
        }
    }
    return false;
}

static enum load_error pvh_place(struct load_plan *plan, const struct load_elf *elf, uint64_t entry,
                                 struct pvh_plan *pvh)
{
    enum load_error error = load_elf_claim(plan, elf, &pvh->segments);
    if (error != LOAD_OK) {
        return error;
    }
    if (!pvh_entry_valid(&pvh->segments, entry)) {
        return LOAD_ERROR_ENTRY;
    }
    load_block_init(&pvh->block);
    pvh->info = load_block_add(&pvh->block, sizeof(struct pvh_start_info), LOAD_PAGE);
    pvh->module = load_block_add(&pvh->block, sizeof(struct pvh_module), 8);
    pvh->memory =
        load_block_add(&pvh->block, plan->map_count * (uint32_t)sizeof(struct pvh_memory), 8);
    pvh->cmdline = load_block_add(&pvh->block, (uint32_t)plan->request->cmdline_size + 1, 8);
    error = load_block_place(plan, &pvh->block);
    if (error != LOAD_OK) {
        return error;
    }
    return load_find_module(plan, load_elf_extent(&pvh->segments).end, &pvh->initrd);
}

static void pvh_write_info(const struct load_plan *plan, const struct pvh_plan *pvh)
{
    uint64_t base = pvh->block.gpa;
    const struct pvh_start_info info = {.magic = START_MAGIC,
                                        .version = START_VERSION,
                                        .nr_modules = pvh->initrd ? 1 : 0,
                                        .modlist_paddr = pvh->initrd ? base + pvh->module : 0,
                                        .cmdline_paddr = base + pvh->cmdline,
                                        .rsdp_paddr = plan->request->rsdp_gpa,
                                        .memmap_paddr = base + pvh->memory,
                                        .memmap_entries = plan->map_count};
    const struct pvh_module module = {.paddr = pvh->initrd, .size = plan->request->initrd_size};
    load_write(plan, base + pvh->info, &info, sizeof(info));
    load_write(plan, base + pvh->module, &module, sizeof(module));
    for (uint32_t i = 0; i < plan->map_count; i++) {
        const struct load_map_entry *entry = &plan->map[i];
        const struct pvh_memory memory = {entry->gpa, entry->size, entry->type, 0};
        load_write(plan, base + pvh->memory + i * sizeof(memory), &memory, sizeof(memory));
    }
    load_write_cmdline(plan, base + pvh->cmdline);
}

enum load_error load_pvh(struct load_plan *plan, const struct load_elf *elf, uint64_t entry,
                         struct load_result *result)
{
    struct pvh_plan pvh;
    memset(&pvh, 0, sizeof(pvh));
    enum load_error error = pvh_place(plan, elf, entry, &pvh);
    if (error != LOAD_OK) {
        return error;
    }
    for (uint32_t i = 0; i < pvh.segments.count; i++) {
        load_write_piece(plan, &pvh.segments.segments[i].piece);
    }
    if (pvh.initrd) {
        load_write(plan, pvh.initrd, plan->request->initrd, plan->request->initrd_size);
    }
    pvh_write_info(plan, &pvh);

    struct load_span extent = load_elf_extent(&pvh.segments);
    load_state_32(plan, &pvh.block, &result->vp);
    result->kind = LOAD_PVH;
    result->vp.rip = entry;
    result->info_gpa = pvh.block.gpa + pvh.info;
    result->vp.rbx = result->info_gpa;
    result->kernel_gpa = extent.start;
    result->kernel_size = extent.end - extent.start;
    result->initrd_gpa = pvh.initrd;
    return LOAD_OK;
}
