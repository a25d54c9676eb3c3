// SPDX-License-Identifier: BSD-2-Clause-Patent
// Multiboot 1 (GNU: Multiboot Specification version 0.6.96).
#include "load_priv.h"

enum {
    HEADER_MAGIC = 0x1badb002,
    HEADER_SEARCH = 8192, // the header lies within the first 8 KiB

    HEADER_ALIGN_MODULES = 1 << 0, // done for all
    HEADER_MEMORY_INFO = 1 << 1,   // given to all
    HEADER_VIDEO = 1 << 2,         // a wish: the information then has no video fields
    HEADER_REQUIREMENTS = 0xffff,  // a loader that does not know one of these must refuse
    HEADER_ADDRESSES = 1 << 16,

    LOADER_MAGIC = 0x2badb002, // EAX at entry

    INFO_MEMORY = 1 << 0,
    INFO_CMDLINE = 1 << 2,
    INFO_MODULES = 1 << 3,
    INFO_MEMORY_MAP = 1 << 6,
    INFO_LOADER_NAME = 1 << 9,

    MIB = 1 << 20,
    LOWER_MEMORY_MAX = 640 // KiB
};

struct multiboot_header {
    uint32_t magic;    // 0
    uint32_t flags;    // 4
    uint32_t checksum; // 8: the three add up to 0
    uint32_t header_addr;
    uint32_t load_addr;
    uint32_t load_end_addr; // 0: to the end of the file
    uint32_t bss_end_addr;  // 0: no bss
    uint32_t entry_addr;
} __attribute__((packed));
_Static_assert(sizeof(struct multiboot_header) == 32, "multiboot header");

enum { HEADER_SHORT = 12 }; // bytes of a header without address fields

struct multiboot_info {
    uint32_t flags;                  // 0
    uint32_t mem_lower, mem_upper;   // 4: KiB below 640 KiB and from 1 MiB
    uint32_t boot_device;            // 12
    uint32_t cmdline;                // 16
    uint32_t mods_count, mods_addr;  // 20
    uint32_t syms[4];                // 28
    uint32_t mmap_length, mmap_addr; // 44
    uint32_t drives_length, drives_addr;
    uint32_t config_table;     // 60
    uint32_t boot_loader_name; // 64
    uint32_t apm_table;
    uint32_t vbe[4];
    uint32_t framebuffer[7];
} __attribute__((packed));
_Static_assert(offsetof(struct multiboot_info, mmap_addr) == 48, "mmap_addr");
_Static_assert(offsetof(struct multiboot_info, boot_loader_name) == 64, "boot_loader_name");
_Static_assert(sizeof(struct multiboot_info) == 116, "multiboot information");

struct multiboot_module {
    uint32_t start;
    uint32_t end; // exclusive
    uint32_t string;
    uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct multiboot_module) == 16, "multiboot module");

struct multiboot_memory {
    uint32_t size; // of the rest of the entry
    uint64_t addr;
    uint64_t length;
    uint32_t type;
} __attribute__((packed));
_Static_assert(sizeof(struct multiboot_memory) == 24, "multiboot memory map entry");

static const char loader_name[] = "Corbel";

struct multiboot_plan {
    struct load_elf_image segments;
    struct load_block block;
    uint32_t info, module, memory, name, cmdline; // offsets in the block
    uint64_t initrd;
    uint64_t entry;
};

bool load_multiboot1_find(const void *image, size_t size, uint32_t *offset)
{
    size_t limit = size < HEADER_SEARCH ? size : HEADER_SEARCH;
    for (size_t at = 0; at + HEADER_SHORT <= limit; at += 4) {
        struct multiboot_header header;
        memcpy(&header, (const uint8_t *)image + at, HEADER_SHORT);
        if (header.magic == HEADER_MAGIC && header.magic + header.flags + header.checksum == 0) {
            *offset = (uint32_t)at;
            return true;
        }
    }
    return false;
}

// The header's address fields describe one segment that goes where they say.
static enum load_error multiboot_claim_fields(struct load_plan *plan, uint32_t offset,
                                              const struct multiboot_header *header,
                                              struct multiboot_plan *multiboot)
{
    uint64_t image_size = plan->request->image_size;
    uint64_t before = header->header_addr - header->load_addr;
    if (header->header_addr < header->load_addr || before > offset) {
        return LOAD_ERROR_MULTIBOOT_ADDRESS;
    }
    struct load_piece piece = {.offset = offset - before, .gpa = header->load_addr};
    piece.file_size = image_size - piece.offset;
    if (header->load_end_addr != 0) {
        if (header->load_end_addr <= header->load_addr) {
            return LOAD_ERROR_MULTIBOOT_ADDRESS;
        }
        uint64_t size = header->load_end_addr - header->load_addr;
        if (size > piece.file_size) {
            return LOAD_ERROR_TRUNCATED;
        }
        piece.file_size = size;
    }
    piece.memory_size = piece.file_size;
    if (header->bss_end_addr != 0) {
        if (header->bss_end_addr < piece.gpa + piece.file_size) {
            return LOAD_ERROR_MULTIBOOT_ADDRESS;
        }
        piece.memory_size = header->bss_end_addr - piece.gpa;
    }
    multiboot->entry = header->entry_addr;
    if (multiboot->entry < piece.gpa || multiboot->entry - piece.gpa >= piece.memory_size) {
        return LOAD_ERROR_ENTRY;
    }
    multiboot->segments.count = 1;
    multiboot->segments.segments[0] = (struct load_elf_segment){piece.gpa, piece};
    return load_claim(plan, piece.gpa, piece.memory_size);
}

// The entry point of an ELF file is a virtual address: kernels that are linked high mean the
// physical place of that byte. One that is no virtual address of the file is taken as physical.
static bool multiboot_elf_entry(const struct load_elf_image *segments, uint64_t entry,
                                uint64_t *physical)
{
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct load_elf_segment *segment = &segments->segments[i];
        if (entry >= segment->vaddr && entry - segment->vaddr < segment->piece.memory_size) {
            *physical = segment->piece.gpa + (entry - segment->vaddr);
            return true;
        }
    }
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct load_piece *piece = &segments->segments[i].piece;
        if (entry >= piece->gpa && entry - piece->gpa < piece->memory_size) {
            *physical = entry;
            return true;
        }
    }
    return false;
}

static enum load_error multiboot_claim_elf(struct load_plan *plan, struct multiboot_plan *multiboot)
{
    struct load_elf elf;
    if (!load_elf_is(plan->image, plan->request->image_size)) {
        return LOAD_ERROR_ELF_HEADER;
    }
    enum load_error error = load_elf_open(&elf, plan->image, plan->request->image_size);
    if (error == LOAD_OK) {
        error = load_elf_claim(plan, &elf, &multiboot->segments);
    }
    if (error != LOAD_OK) {
        return error;
    }
    return multiboot_elf_entry(&multiboot->segments, elf.entry, &multiboot->entry)
               ? LOAD_OK
               : LOAD_ERROR_ENTRY;
}

static enum load_error multiboot_claim(struct load_plan *plan, uint32_t offset,
                                       struct multiboot_plan *multiboot)
{
    struct multiboot_header header;
    memset(&header, 0, sizeof(header));
    memcpy(&header, plan->image + offset, HEADER_SHORT);
    const uint32_t known = HEADER_ALIGN_MODULES | HEADER_MEMORY_INFO | HEADER_VIDEO;
    if (header.flags & HEADER_REQUIREMENTS & ~known) {
        return LOAD_ERROR_MULTIBOOT_FLAGS;
    }
    enum load_error error;
    if (header.flags & HEADER_ADDRESSES) {
        if (plan->request->image_size - offset < sizeof(header)) {
            return LOAD_ERROR_TRUNCATED;
        }
        memcpy(&header, plan->image + offset, sizeof(header));
        error = multiboot_claim_fields(plan, offset, &header, multiboot);
    } else {
        error = multiboot_claim_elf(plan, multiboot);
    }
    if (error != LOAD_OK) {
        return error;
    }
    return multiboot->entry < LOAD_4GIB ? LOAD_OK : LOAD_ERROR_ENTRY;
}

static enum load_error multiboot_place(struct load_plan *plan, struct multiboot_plan *multiboot)
{
    struct load_block *block = &multiboot->block;
    load_block_init(block);
    multiboot->info = load_block_add(block, sizeof(struct multiboot_info), LOAD_PAGE);
    multiboot->module = load_block_add(block, sizeof(struct multiboot_module), 8);
    multiboot->memory =
        load_block_add(block, plan->map_count * (uint32_t)sizeof(struct multiboot_memory), 8);
    multiboot->name = load_block_add(block, sizeof(loader_name), 8);
    multiboot->cmdline = load_block_add(block, (uint32_t)plan->request->cmdline_size + 1, 8);
    enum load_error error = load_block_place(plan, block);
    if (error != LOAD_OK) {
        return error;
    }
    return load_find_module(plan, load_elf_extent(&multiboot->segments).end, &multiboot->initrd);
}

// KiB of RAM that the map shows from `start` on without a hole; 0 when there is none.
static uint32_t multiboot_memory_at(const struct load_plan *plan, uint64_t start, uint64_t limit)
{
    for (uint32_t i = 0; i < plan->map_count; i++) {
        const struct load_map_entry *entry = &plan->map[i];
        uint64_t end = entry->gpa + entry->size;
        if (entry->type == LOAD_MEMORY_RAM && entry->gpa <= start && end > start) {
            uint64_t kib = (end - start) / 1024;
            return (uint32_t)(kib < limit ? kib : limit);
        }
    }
    return 0;
}

static void multiboot_write_info(const struct load_plan *plan,
                                 const struct multiboot_plan *multiboot)
{
    uint32_t base = (uint32_t)multiboot->block.gpa;
    const struct multiboot_module module = {
        .start = (uint32_t)multiboot->initrd,
        .end = (uint32_t)(multiboot->initrd + plan->request->initrd_size),
        // An empty string: the command line's terminator.
        .string = base + multiboot->cmdline + (uint32_t)plan->request->cmdline_size};
    struct multiboot_info info;
    memset(&info, 0, sizeof(info));
    info.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME;
    info.mem_lower = multiboot_memory_at(plan, 0, LOWER_MEMORY_MAX);
    info.mem_upper = multiboot_memory_at(plan, MIB, UINT32_MAX);
    info.cmdline = base + multiboot->cmdline;
    info.mods_count = multiboot->initrd ? 1 : 0;
    info.mods_addr = base + multiboot->module;
    info.mmap_length = plan->map_count * (uint32_t)sizeof(struct multiboot_memory);
    info.mmap_addr = base + multiboot->memory;
    info.boot_loader_name = base + multiboot->name;
    load_write(plan, base + multiboot->info, &info, sizeof(info));
    load_write(plan, base + multiboot->module, &module, sizeof(module));
    for (uint32_t i = 0; i < plan->map_count; i++) {
        const struct load_map_entry *entry = &plan->map[i];
        const struct multiboot_memory memory = {sizeof(memory) - sizeof(memory.size), entry->gpa,
                                                entry->size, entry->type};
        load_write(plan, base + multiboot->memory + i * sizeof(memory), &memory, sizeof(memory));
    }
    load_write(plan, base + multiboot->name, loader_name, sizeof(loader_name));
    load_write_cmdline(plan, base + multiboot->cmdline);
}

enum load_error load_multiboot1(struct load_plan *plan, uint32_t header, struct load_result *result)
{
    struct multiboot_plan multiboot;
    memset(&multiboot, 0, sizeof(multiboot));
    enum load_error error = multiboot_claim(plan, header, &multiboot);
    if (error == LOAD_OK) {
        error = multiboot_place(plan, &multiboot);
    }
    if (error != LOAD_OK) {
        return error;
    }
    for (uint32_t i = 0; i < multiboot.segments.count; i++) {
        load_write_piece(plan, &multiboot.segments.segments[i].piece);
    }
    if (multiboot.initrd) {
        load_write(plan, multiboot.initrd, plan->request->initrd, plan->request->initrd_size);
    }
    multiboot_write_info(plan, &multiboot);

    struct load_span extent = load_elf_extent(&multiboot.segments);
    load_state_32(plan, &multiboot.block, &result->vp);
    result->kind = LOAD_MULTIBOOT1;
    result->vp.rip = multiboot.entry;
    result->vp.rax = LOADER_MAGIC;
    result->info_gpa = multiboot.block.gpa + multiboot.info;
    result->vp.rbx = result->info_gpa;
    result->kernel_gpa = extent.start;
    result->kernel_size = extent.end - extent.start;
    result->initrd_gpa = multiboot.initrd;
    return LOAD_OK;
}
