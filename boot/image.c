// SPDX-License-Identifier: BSD-2-Clause-Patent
// ELF: System V ABI, object files, and its AMD64 supplement.
#include "boot/image.h"

#include <assert.h>
#include <stdbool.h>

#include "boot/pagetable.h"
#include "corbel/layout.h"

enum {
    ELF_CLASS64 = 2,
    ELF_LITTLE_ENDIAN = 1,
    ET_EXEC = 2,
    EM_X86_64 = 62,
    PT_LOAD = 1,
    PF_X = 1,
    PF_W = 2
};

struct elf_header {
    uint8_t magic[4]; // 0
    uint8_t class;
    uint8_t encoding;
    uint8_t ident[10];
    uint16_t type; // 16
    uint16_t machine;
    uint32_t version;
    uint64_t entry; // 24
    uint64_t ph_offset;
    uint64_t sh_offset; // 40
    uint32_t flags;
    uint16_t header_size;
    uint16_t ph_size; // 54
    uint16_t ph_count;
    uint16_t sh_size;
    uint16_t sh_count;
    uint16_t sh_names;
};
static_assert(sizeof(struct elf_header) == 64, "ELF64 header");

struct elf_segment {
    uint32_t type; // 0
    uint32_t flags;
    uint64_t offset; // 8
    uint64_t va;
    uint64_t pa; // 24
    uint64_t file_size;
    uint64_t memory_size; // 40
    uint64_t align;
};
static_assert(sizeof(struct elf_segment) == 56, "ELF64 program header");

static void copy_out(void *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = from[i];
}

static bool header_is_ours(const struct elf_header *h)
{
    return h->magic[0] == 0x7f && h->magic[1] == 'E' && h->magic[2] == 'L' && h->magic[3] == 'F' &&
           h->class == ELF_CLASS64 && h->encoding == ELF_LITTLE_ENDIAN && h->type == ET_EXEC &&
           h->machine == EM_X86_64 && h->ph_size == sizeof(struct elf_segment);
}

static const char *add_segment(struct image *image, const struct elf_segment *s, size_t size)
{
    if (image->segment_count == IMAGE_MAX_SEGMENTS)
        return "too many segments";
    if (s->offset > size || s->file_size > size - s->offset || s->file_size > s->memory_size)
        return "segment outside the file";
    if (s->va % PAGE_SIZE || s->va < HV_IMAGE_BASE || s->va - HV_IMAGE_BASE < image->size ||
        s->va - HV_IMAGE_BASE > IMAGE_MAX_SIZE || s->memory_size > IMAGE_MAX_SIZE)
        return "segment at a wrong address";
    if ((s->flags & PF_W) && (s->flags & PF_X))
        return "segment writable and executable";
    image->segments[image->segment_count++] = (struct image_segment){
        .offset = s->offset,
        .file_size = s->file_size,
        .va = s->va,
        .memory_size = s->memory_size,
        .rights = (s->flags & PF_W ? PT_WRITE : 0u) | (s->flags & PF_X ? PT_EXECUTE : 0u),
    };
    image->size = (s->va - HV_IMAGE_BASE + s->memory_size + PAGE_SIZE - 1) & PAGE_MASK;
    return NULL;
}

static bool entry_is_code(const struct image *image)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct image_segment *s = &image->segments[i];
        if ((s->rights & PT_EXECUTE) && image->entry >= s->va &&
            image->entry - s->va < s->file_size)
            return true;
    }
    return false;
}

const char *image_parse(const uint8_t *file, size_t size, struct image *image)
{
    struct elf_header header;
    struct elf_segment segment;
    *image = (struct image){.file = file};
    if (size < sizeof(header))
        return "truncated";
    copy_out(&header, file, sizeof(header));
    if (!header_is_ours(&header))
        return "not an ELF64 x86-64 executable";
    if (header.ph_offset > size || header.ph_count > (size - header.ph_offset) / sizeof(segment))
        return "program headers outside the file";
    image->entry = header.entry;
    for (unsigned i = 0; i < header.ph_count; i++) {
        copy_out(&segment, file + header.ph_offset + i * sizeof(segment), sizeof(segment));
        if (segment.type != PT_LOAD || !segment.memory_size)
            continue;
        const char *what = add_segment(image, &segment, size);
        if (what)
            return what;
    }
    return entry_is_code(image) ? NULL : "entry is not in code";
}
