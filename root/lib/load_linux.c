// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux bzImage (Linux: Documentation/arch/x86/boot.rst, zero-page.rst).
#include "load_priv.h"

enum {
    SETUP_HEADER_OFFSET = 0x1f1,
    SETUP_HEADER_SIZE_OFFSET = 0x201, // the header ends at 0x202 plus the byte here
    SETUP_HEADER_SIZE_BASE = 0x202,
    SETUP_HEADER_MIN_END = 0x264, // protocol 2.10: up to and with init_size
    SETUP_HEADER_MAX_END = 0x290, // what boot_params keeps free for it
    SETUP_SECTS_DEFAULT = 4,
    SECTOR = 512,

    BOOT_FLAG = 0xaa55,
    HEADER_MAGIC = 0x53726448, // "HdrS"
    PROTOCOL_MIN = 0x20a,
    PROTOCOL_64 = 0x20c,
    LOADFLAG_HIGH = 1 << 0,
    LOADFLAG_CAN_USE_HEAP = 1 << 7,
    XLF_KERNEL_64 = 1 << 0,
    XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1,
    LOADER_UNDEFINED = 0xff,
    VID_MODE_NORMAL = 0xffff,
    HEAP_END = 0xfe00,

    ENTRY_64_OFFSET = 0x200,
    KERNEL_MIN = 0x100000, // bzImage code never goes below 1 MiB
    ALIGNMENT_SHIFT_MIN = 12,
    ALIGNMENT_SHIFT_MAX = 30
};

struct linux_setup_header {
    uint8_t setup_sects;            // 1f1
    uint16_t root_flags;            // 1f2
    uint32_t syssize;               // 1f4
    uint16_t ram_size;              // 1f8
    uint16_t vid_mode;              // 1fa
    uint16_t root_dev;              // 1fc
    uint16_t boot_flag;             // 1fe
    uint16_t jump;                  // 200
    uint32_t header;                // 202
    uint16_t version;               // 206
    uint32_t realmode_swtch;        // 208
    uint16_t start_sys_seg;         // 20c
    uint16_t kernel_version;        // 20e
    uint8_t type_of_loader;         // 210
    uint8_t loadflags;              // 211
    uint16_t setup_move_size;       // 212
    uint32_t code32_start;          // 214
    uint32_t ramdisk_image;         // 218
    uint32_t ramdisk_size;          // 21c
    uint32_t bootsect_kludge;       // 220
    uint16_t heap_end_ptr;          // 224
    uint8_t ext_loader_ver;         // 226
    uint8_t ext_loader_type;        // 227
    uint32_t cmd_line_ptr;          // 228
    uint32_t initrd_addr_max;       // 22c
    uint32_t kernel_alignment;      // 230
    uint8_t relocatable_kernel;     // 234
    uint8_t min_alignment;          // 235
    uint16_t xloadflags;            // 236
    uint32_t cmdline_size;          // 238
    uint32_t hardware_subarch;      // 23c
    uint64_t hardware_subarch_data; // 240
    uint32_t payload_offset;        // 248
    uint32_t payload_length;        // 24c
    uint64_t setup_data;            // 250
    uint64_t pref_address;          // 258
    uint32_t init_size;             // 260
    uint32_t handover_offset;       // 264
    uint32_t kernel_info_offset;    // 268
    uint8_t future[0x290 - 0x26c];
} __attribute__((packed));
_Static_assert(offsetof(struct linux_setup_header, header) == 0x202 - 0x1f1, "header");
_Static_assert(offsetof(struct linux_setup_header, kernel_alignment) == 0x230 - 0x1f1, "alignment");
_Static_assert(offsetof(struct linux_setup_header, init_size) == 0x260 - 0x1f1, "init_size");
_Static_assert(sizeof(struct linux_setup_header) == 0x290 - 0x1f1, "setup header");

struct linux_e820_entry {
    uint64_t addr;
    uint64_t size;
    uint32_t type;
} __attribute__((packed));
_Static_assert(sizeof(struct linux_e820_entry) == 20, "e820 entry");

struct linux_boot_params {
    uint8_t screen_and_apm[0x70];
    uint64_t acpi_rsdp_addr; // 070
    uint8_t legacy[0x0c0 - 0x078];
    uint32_t ext_ramdisk_image; // 0c0
    uint32_t ext_ramdisk_size;  // 0c4
    uint32_t ext_cmd_line_ptr;  // 0c8
    uint8_t firmware[0x1e8 - 0x0cc];
    uint8_t e820_entries; // 1e8
    uint8_t buffers[0x1f1 - 0x1e9];
    struct linux_setup_header header; // 1f1
    uint8_t edd_signatures[0x2d0 - 0x290];
    struct linux_e820_entry e820_table[LOAD_MAP_MAX]; // 2d0
    uint8_t edd[0x1000 - 0xcd0];
} __attribute__((packed));
_Static_assert(offsetof(struct linux_boot_params, ext_ramdisk_image) == 0x0c0, "ext_ramdisk_image");
_Static_assert(offsetof(struct linux_boot_params, e820_entries) == 0x1e8, "e820_entries");
_Static_assert(offsetof(struct linux_boot_params, header) == 0x1f1, "setup header");
_Static_assert(offsetof(struct linux_boot_params, e820_table) == 0x2d0, "e820_table");
_Static_assert(sizeof(struct linux_boot_params) == 4096, "boot_params");

// What the plan decides for a kernel.
struct linux_plan {
    struct linux_setup_header header; // as the image has it
    struct load_piece code;           // the protected-mode part
    uint64_t alignment;
    uint64_t initrd;
    struct load_block block;
    uint32_t params; // offsets in the block
    uint32_t tables;
    uint32_t cmdline;
    bool is_64;
};

bool load_linux_is(const void *image, size_t size)
{
    struct linux_setup_header header;
    if (size < SETUP_HEADER_SIZE_BASE + sizeof(header.header)) {
        return false;
    }
    memcpy(&header, (const uint8_t *)image + SETUP_HEADER_OFFSET,
           SETUP_HEADER_SIZE_BASE + sizeof(header.header) - SETUP_HEADER_OFFSET);
    return header.boot_flag == BOOT_FLAG && header.header == HEADER_MAGIC;
}

// Copies the header out of the image, as long as it says that it is, and checks what is fixed.
static enum load_error linux_read_header(const struct load_plan *plan, struct linux_plan *kernel)
{
    struct linux_setup_header *header = &kernel->header;
    size_t image_size = plan->request->image_size;
    memset(header, 0, sizeof(*header));
    size_t end = SETUP_HEADER_SIZE_BASE + (size_t)plan->image[SETUP_HEADER_SIZE_OFFSET];
    if (end > SETUP_HEADER_MAX_END) {
        end = SETUP_HEADER_MAX_END;
    }
    if (end > image_size) {
        return LOAD_ERROR_TRUNCATED;
    }
    memcpy(header, plan->image + SETUP_HEADER_OFFSET, end - SETUP_HEADER_OFFSET);
    if (header->version < PROTOCOL_MIN) {
        return LOAD_ERROR_LINUX_VERSION;
    }
    if (end < SETUP_HEADER_MIN_END) {
        return LOAD_ERROR_LINUX_HEADER;
    }
    if (!(header->loadflags & LOADFLAG_HIGH)) {
        return LOAD_ERROR_LINUX_LOW;
    }
    uint64_t alignment = header->kernel_alignment;
    if (alignment < (1 << ALIGNMENT_SHIFT_MIN) || alignment > (1 << ALIGNMENT_SHIFT_MAX) ||
        (alignment & (alignment - 1)) != 0 || header->min_alignment > ALIGNMENT_SHIFT_MAX) {
        return LOAD_ERROR_LINUX_ALIGNMENT;
    }
    if (plan->request->cmdline_size > header->cmdline_size) {
        return LOAD_ERROR_CMDLINE;
    }
    kernel->is_64 = header->version >= PROTOCOL_64 && (header->xloadflags & XLF_KERNEL_64);
    return LOAD_OK;
}

// The protected-mode part is the rest of the file: newer kernels round syssize down, so that it is
// a lower bound only.
static enum load_error linux_read_code(const struct load_plan *plan, struct linux_plan *kernel)
{
    const struct linux_setup_header *header = &kernel->header;
    uint64_t sectors = header->setup_sects ? header->setup_sects : SETUP_SECTS_DEFAULT;
    uint64_t offset = (sectors + 1) * SECTOR;
    uint64_t image_size = plan->request->image_size;
    if (image_size <= offset || image_size - offset < (uint64_t)header->syssize * 16) {
        return LOAD_ERROR_TRUNCATED;
    }
    kernel->code.offset = offset;
    kernel->code.file_size = image_size - offset;
    if (kernel->is_64 && kernel->code.file_size <= ENTRY_64_OFFSET) {
        return LOAD_ERROR_TRUNCATED;
    }
    // Not cleared beyond the file: init_size is room to work in, and only has to be there.
    kernel->code.memory_size = kernel->code.file_size;
    return LOAD_OK;
}

// Finds room for the kernel: at its preferred address, else anywhere below 4 GiB at its alignment,
// else at lesser alignments that it admits. One that cannot be moved runs where it prefers to.
static enum load_error linux_place_kernel(struct load_plan *plan, struct linux_plan *kernel)
{
    const struct linux_setup_header *header = &kernel->header;
    struct load_want want = {.low = KERNEL_MIN, .high = LOAD_4GIB};
    want.size =
        header->init_size > kernel->code.file_size ? header->init_size : kernel->code.file_size;
    kernel->alignment = header->kernel_alignment;
    uint64_t preferred = header->pref_address;
    bool preferred_fits = preferred >= KERNEL_MIN && preferred < LOAD_4GIB &&
                          want.size <= LOAD_4GIB - preferred &&
                          (!header->relocatable_kernel || preferred % kernel->alignment == 0);
    if (preferred_fits && load_claim(plan, preferred, want.size) == LOAD_OK) {
        kernel->code.gpa = preferred;
        return LOAD_OK;
    }
    if (!header->relocatable_kernel) {
        return LOAD_ERROR_KERNEL_SPACE;
    }
    uint64_t least = header->min_alignment > ALIGNMENT_SHIFT_MIN
                         ? UINT64_C(1) << header->min_alignment
                         : UINT64_C(1) << ALIGNMENT_SHIFT_MIN;
    if (header->min_alignment == 0 || least > kernel->alignment) {
        least = kernel->alignment;
    }
    for (want.align = kernel->alignment; want.align >= least; want.align >>= 1) {
        if (load_find(plan, &want, &kernel->code.gpa)) {
            kernel->alignment = want.align;
            return LOAD_OK;
        }
    }
    return LOAD_ERROR_KERNEL_SPACE;
}

// As high as the kernel can reach it, out of the way of what it unpacks.
static enum load_error linux_place_initrd(struct load_plan *plan, struct linux_plan *kernel)
{
    const struct linux_setup_header *header = &kernel->header;
    struct load_want want = {.size = plan->request->initrd_size,
                             .align = LOAD_PAGE,
                             .low = KERNEL_MIN,
                             .high = (uint64_t)header->initrd_addr_max + 1,
                             .downwards = true};
    if (want.size == 0 || load_find(plan, &want, &kernel->initrd)) {
        return LOAD_OK;
    }
    want.high = UINT64_MAX;
    bool anywhere = kernel->is_64 && (header->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G);
    return anywhere && load_find(plan, &want, &kernel->initrd) ? LOAD_OK : LOAD_ERROR_INITRD_SPACE;
}

static enum load_error linux_place_block(struct load_plan *plan, struct linux_plan *kernel)
{
    struct load_block *block = &kernel->block;
    load_block_init(block);
    if (kernel->is_64) {
        kernel->tables = load_block_add(block, LOAD_PAGE_TABLE_PAGES * LOAD_PAGE, LOAD_PAGE);
    }
    kernel->params = load_block_add(block, sizeof(struct linux_boot_params), LOAD_PAGE);
    kernel->cmdline = load_block_add(block, (uint32_t)plan->request->cmdline_size + 1, 16);
    return load_block_place(plan, block);
}

static void linux_write_params(const struct load_plan *plan, const struct linux_plan *kernel)
{
    struct linux_boot_params params;
    memset(&params, 0, sizeof(params));
    uint64_t initrd_size = kernel->initrd ? plan->request->initrd_size : 0;
    params.acpi_rsdp_addr = plan->request->rsdp_gpa;
    params.ext_ramdisk_image = (uint32_t)(kernel->initrd >> 32);
    params.ext_ramdisk_size = (uint32_t)(initrd_size >> 32);

    struct linux_setup_header *header = &params.header;
    *header = kernel->header;
    header->vid_mode = VID_MODE_NORMAL;
    header->type_of_loader = LOADER_UNDEFINED;
    header->loadflags |= LOADFLAG_CAN_USE_HEAP;
    header->heap_end_ptr = HEAP_END;
    header->code32_start = (uint32_t)kernel->code.gpa;
    header->ramdisk_image = (uint32_t)kernel->initrd;
    header->ramdisk_size = (uint32_t)initrd_size;
    header->cmd_line_ptr = (uint32_t)(kernel->block.gpa + kernel->cmdline);
    header->kernel_alignment = (uint32_t)kernel->alignment;
    header->hardware_subarch = 0;
    header->setup_data = 0;

    params.e820_entries = (uint8_t)plan->map_count;
    for (uint32_t i = 0; i < plan->map_count; i++) {
        const struct load_map_entry *entry = &plan->map[i];
        params.e820_table[i] = (struct linux_e820_entry){entry->gpa, entry->size, entry->type};
    }
    load_write(plan, kernel->block.gpa + kernel->params, &params, sizeof(params));
}

enum load_error load_linux(struct load_plan *plan, struct load_result *result)
{
    struct linux_plan kernel;
    memset(&kernel, 0, sizeof(kernel));
    enum load_error error = linux_read_header(plan, &kernel);
    if (error == LOAD_OK) {
        error = linux_read_code(plan, &kernel);
    }
    if (error == LOAD_OK) {
        error = linux_place_kernel(plan, &kernel);
    }
    if (error == LOAD_OK) {
        error = linux_place_block(plan, &kernel);
    }
    if (error == LOAD_OK) {
        error = linux_place_initrd(plan, &kernel);
    }
    if (error != LOAD_OK) {
        return error;
    }

    load_write_piece(plan, &kernel.code);
    if (kernel.initrd) {
        load_write(plan, kernel.initrd, plan->request->initrd, plan->request->initrd_size);
    }
    load_write_cmdline(plan, kernel.block.gpa + kernel.cmdline);
    linux_write_params(plan, &kernel);
    result->kind = kernel.is_64 ? LOAD_LINUX_64 : LOAD_LINUX_32;
    if (kernel.is_64) {
        load_state_64(plan, &kernel.block, kernel.block.gpa + kernel.tables, &result->vp);
        result->vp.rip = kernel.code.gpa + ENTRY_64_OFFSET;
    } else {
        load_state_32(plan, &kernel.block, &result->vp);
        result->vp.rip = kernel.code.gpa;
    }
    result->info_gpa = kernel.block.gpa + kernel.params;
    result->vp.rsi = result->info_gpa;
    result->kernel_gpa = kernel.code.gpa;
    result->kernel_size = kernel.code.file_size;
    if (kernel.header.init_size > result->kernel_size) {
        result->kernel_size = kernel.header.init_size;
    }
    result->initrd_gpa = kernel.initrd;
    return LOAD_OK;
}
