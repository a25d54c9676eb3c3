// SPDX-License-Identifier: BSD-2-Clause-Patent
// Tells the kinds of images apart, and names kinds and errors.
#include "load_priv.h"

static const char *const error_texts[LOAD_ERROR_COUNT] = {
    [LOAD_OK] = "no error",
    [LOAD_ERROR_REQUEST] = "guest memory or reserved ranges are not consistent",
    [LOAD_ERROR_UNKNOWN] = "the image is no bzImage, multiboot or PVH kernel",
    [LOAD_ERROR_TRUNCATED] = "the image is shorter than its headers say",
    [LOAD_ERROR_CMDLINE] = "the command line is longer than the kernel takes",
    [LOAD_ERROR_KERNEL_SPACE] = "the kernel does not fit into guest memory",
    [LOAD_ERROR_INITRD_SPACE] = "the RAM disk does not fit into guest memory",
    [LOAD_ERROR_BOOT_SPACE] = "no room for boot data in guest memory",
    [LOAD_ERROR_LINUX_VERSION] = "the Linux boot protocol is older than 2.10",
    [LOAD_ERROR_LINUX_LOW] = "the Linux kernel is a zImage, which loads low",
    [LOAD_ERROR_LINUX_HEADER] = "the Linux setup header is too short",
    [LOAD_ERROR_LINUX_ALIGNMENT] = "the alignment in the Linux setup header is not usable",
    [LOAD_ERROR_ELF_HEADER] = "the ELF header is not valid",
    [LOAD_ERROR_ELF_MACHINE] = "the ELF file is not an x86 executable",
    [LOAD_ERROR_ELF_BOOT] = "the ELF file has neither a multiboot header nor a PVH note",
    [LOAD_ERROR_SEGMENT_NONE] = "the ELF file has nothing to load",
    [LOAD_ERROR_SEGMENT_COUNT] = "the ELF file has too many segments",
    [LOAD_ERROR_SEGMENT_SIZE] = "an ELF segment is larger in the file than in memory",
    [LOAD_ERROR_SEGMENT_RAM] = "a segment of the image lies outside guest memory",
    [LOAD_ERROR_SEGMENT_RESERVED] = "a segment of the image lies in reserved memory",
    [LOAD_ERROR_SEGMENT_OVERLAP] = "two segments of the image overlap",
    [LOAD_ERROR_ENTRY] = "the entry point lies outside the image",
    [LOAD_ERROR_MULTIBOOT_FLAGS] = "the multiboot header asks for an unknown feature",
    [LOAD_ERROR_MULTIBOOT_ADDRESS] = "the address fields of the multiboot header are not valid",
};

static const char *const kind_texts[] = {
    [LOAD_LINUX_64] = "bzImage, 64-bit entry",
    [LOAD_LINUX_32] = "bzImage, 32-bit entry",
    [LOAD_MULTIBOOT1] = "multiboot",
    [LOAD_PVH] = "PVH",
};

const char *load_error_text(enum load_error error)
{
    return (uint32_t)error < LOAD_ERROR_COUNT ? error_texts[error] : "unknown error";
}

const char *load_kind_text(enum load_kind kind)
{
    return kind >= LOAD_LINUX_64 && kind <= LOAD_PVH ? kind_texts[kind] : "unknown kind";
}

enum load_error load_find_module(struct load_plan *plan, uint64_t kernel_end, uint64_t *gpa)
{
    const struct load_want want = {.size = plan->request->initrd_size,
                                   .align = LOAD_PAGE,
                                   .low = kernel_end,
                                   .high = LOAD_4GIB - LOAD_PAGE}; // its end has 32 bits too
    *gpa = 0;
    return want.size == 0 || load_find(plan, &want, gpa) ? LOAD_OK : LOAD_ERROR_INITRD_SPACE;
}

// Detects the image's kind and has it loaded.
static enum load_error dispatch(struct load_plan *plan, struct load_result *result)
{
    const uint8_t *image = plan->image;
    size_t size = plan->request->image_size;
    if (load_linux_is(image, size)) {
        return load_linux(plan, result);
    }
    struct load_elf elf;
    enum load_error elf_error = LOAD_ERROR_UNKNOWN;
    if (load_elf_is(image, size)) {
        uint64_t entry;
        elf_error = load_elf_open(&elf, image, size);
        if (elf_error == LOAD_OK && load_elf_pvh_entry(&elf, &entry)) {
            return load_pvh(plan, &elf, entry, result);
        }
    }
    uint32_t header;
    if (load_multiboot1_find(image, size, &header)) {
        return load_multiboot1(plan, header, result);
    }
    return elf_error == LOAD_OK ? LOAD_ERROR_ELF_BOOT : elf_error;
}

enum load_error load_guest(const struct load_request *request, struct load_result *result)
{
    struct load_plan plan;
    struct load_result loaded;
    memset(&loaded, 0, sizeof(loaded));
    enum load_error error = load_plan_init(&plan, request);
    if (error == LOAD_OK) {
        error = dispatch(&plan, &loaded);
    }
    if (error == LOAD_OK) {
        load_untouched(&plan, &loaded);
        *result = loaded;
    }
    return error;
}
