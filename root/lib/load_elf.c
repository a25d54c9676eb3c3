// SPDX-License-Identifier: BSD-2-Clause-Patent
// The ELF files that multiboot and PVH kernels are (System V ABI: ELF header, program header).
#include "load_priv.h"

enum {
    ELF_CLASS_32 = 1,
    ELF_CLASS_64 = 2,
    ELF_DATA_LITTLE = 1,
    ELF_TYPE_EXEC = 2,
    ELF_TYPE_DYN = 3,
    ELF_MACHINE_386 = 3,
    ELF_MACHINE_X86_64 = 62,
    ELF_PT_LOAD = 1,
    ELF_PT_NOTE = 4,

    XEN_ELFNOTE_PHYS32_ENTRY = 18
};

struct elf_ident {
    uint8_t magic[4];
    uint8_t class;
    uint8_t data;
    uint8_t version;
    uint8_t rest[9];
    uint16_t type;    // 10
    uint16_t machine; // 12
    uint32_t file_version;
} __attribute__((packed));
_Static_assert(sizeof(struct elf_ident) == 0x18, "common part of the ELF headers");

struct elf32_header {
    struct elf_ident ident;
    uint32_t entry; // 18
    uint32_t phoff; // 1c
    uint32_t shoff;
    uint32_t flags;
    uint16_t ehsize;
    uint16_t phentsize; // 2a
    uint16_t phnum;     // 2c
    uint16_t sections[3];
} __attribute__((packed));
_Static_assert(sizeof(struct elf32_header) == 0x34, "ELF32 header");

struct elf64_header {
    struct elf_ident ident;
    uint64_t entry; // 18
    uint64_t phoff; // 20
    uint64_t shoff;
    uint32_t flags;
    uint16_t ehsize;
    uint16_t phentsize; // 36
    uint16_t phnum;     // 38
    uint16_t sections[3];
} __attribute__((packed));
_Static_assert(sizeof(struct elf64_header) == 0x40, "ELF64 header");

struct elf32_program {
    uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
} __attribute__((packed));
_Static_assert(sizeof(struct elf32_program) == 0x20, "ELF32 program header");

struct elf64_program {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
} __attribute__((packed));
_Static_assert(sizeof(struct elf64_program) == 0x38, "ELF64 program header");

struct elf_note {
    uint32_t name_size;
    uint32_t data_size;
    uint32_t type;
} __attribute__((packed));

bool load_elf_is(const void *image, size_t size)
{
    return size >= sizeof(struct elf_ident) && memcmp(image, "\177ELF", 4) == 0;
}

enum load_error load_elf_open(struct load_elf *elf, const void *image, size_t size)
{
    struct elf_ident ident;
    memcpy(&ident, image, sizeof(ident));
    *elf = (struct load_elf){.image = image, .image_size = size};
    if (ident.data != ELF_DATA_LITTLE) {
        return LOAD_ERROR_ELF_HEADER;
    }
    uint64_t least_entry_size;
    if (ident.class == ELF_CLASS_64 && size >= sizeof(struct elf64_header)) {
        struct elf64_header header;
        memcpy(&header, image, sizeof(header));
        elf->is_64 = true;
        elf->entry = header.entry;
        elf->phoff = header.phoff;
        elf->phentsize = header.phentsize;
        elf->phnum = header.phnum;
        least_entry_size = sizeof(struct elf64_program);
    } else if (ident.class == ELF_CLASS_32 && size >= sizeof(struct elf32_header)) {
        struct elf32_header header;
        memcpy(&header, image, sizeof(header));
        elf->entry = header.entry;
        elf->phoff = header.phoff;
        elf->phentsize = header.phentsize;
        elf->phnum = header.phnum;
        least_entry_size = sizeof(struct elf32_program);
    } else {
        return LOAD_ERROR_ELF_HEADER;
    }
    if ((ident.type != ELF_TYPE_EXEC && ident.type != ELF_TYPE_DYN) ||
        (ident.machine != ELF_MACHINE_386 && ident.machine != ELF_MACHINE_X86_64)) {
        return LOAD_ERROR_ELF_MACHINE;
    }
    if (elf->phentsize < least_entry_size) {
        return LOAD_ERROR_ELF_HEADER;
    }
    uint64_t table_size = (uint64_t)elf->phnum * elf->phentsize;
    if (elf->phoff > size || table_size > size - elf->phoff) {
        return LOAD_ERROR_TRUNCATED;
    }
    return LOAD_OK;
}

// Program header `index` in its 64-bit form.
static struct elf64_program elf_program(const struct load_elf *elf, uint32_t index)
{
    const uint8_t *at = elf->image + elf->phoff + (uint64_t)index * elf->phentsize;
    struct elf64_program program;
    if (elf->is_64) {
        memcpy(&program, at, sizeof(program));
        return program;
    }
    struct elf32_program narrow;
    memcpy(&narrow, at, sizeof(narrow));
    return (struct elf64_program){.type = narrow.type,
                                  .flags = narrow.flags,
                                  .offset = narrow.offset,
                                  .vaddr = narrow.vaddr,
                                  .paddr = narrow.paddr,
                                  .filesz = narrow.filesz,
                                  .memsz = narrow.memsz,
                                  .align = narrow.align};
}

static bool elf_in_file(const struct load_elf *elf, const struct elf64_program *program)
{
    return program->offset <= elf->image_size &&
           program->filesz <= elf->image_size - program->offset;
}

// Walks the notes in [at, end); sizes are padded to align (4, or 8 where the segment says so).
static bool notes_find_entry(const uint8_t *at, const uint8_t *end, uint64_t align, uint64_t *entry)
{
    struct elf_note note;
    while ((size_t)(end - at) >= sizeof(note)) {
        memcpy(&note, at, sizeof(note));
        at += sizeof(note);
        uint64_t name_span = ((uint64_t)note.name_size + align - 1) & ~(align - 1);
        uint64_t data_span = ((uint64_t)note.data_size + align - 1) & ~(align - 1);
        uint64_t left = (uint64_t)(end - at);
        if (name_span > left || note.data_size > left - name_span) {
            return false;
        }
        const uint8_t *data = at + name_span;
        if (note.type == XEN_ELFNOTE_PHYS32_ENTRY && note.name_size == 4 &&
            memcmp(at, "Xen", 4) == 0 && (note.data_size == 4 || note.data_size == 8)) {
            *entry = 0;
            memcpy(entry, data, note.data_size);
            return true;
        }
        left -= name_span;
        at = data + (data_span < left ? data_span : left);
    }
    return false;
}

bool load_elf_pvh_entry(const struct load_elf *elf, uint64_t *entry)
{
    for (uint32_t i = 0; i < elf->phnum; i++) {
        const struct elf64_program program = elf_program(elf, i);
        if (program.type != ELF_PT_NOTE || !elf_in_file(elf, &program)) {
            continue;
        }
        const uint8_t *notes = elf->image + program.offset;
        uint64_t align = program.align == 8 ? 8 : 4;
        if (notes_find_entry(notes, notes + program.filesz, align, entry)) {
            return true;
        }
    }
    return false;
}

enum load_error load_elf_claim(struct load_plan *plan, const struct load_elf *elf,
                               struct load_elf_image *segments)
{
    segments->count = 0;
    for (uint32_t i = 0; i < elf->phnum; i++) {
        const struct elf64_program program = elf_program(elf, i);
        if (program.type != ELF_PT_LOAD || program.memsz == 0) {
            continue;
        }
        if (program.filesz > program.memsz) {
            return LOAD_ERROR_SEGMENT_SIZE;
        }
        if (!elf_in_file(elf, &program)) {
            return LOAD_ERROR_TRUNCATED;
        }
        if (segments->count == LOAD_SEGMENTS_MAX) {
            return LOAD_ERROR_SEGMENT_COUNT;
        }
        enum load_error error = load_claim(plan, program.paddr, program.memsz);
        if (error != LOAD_OK) {
            return error;
        }
        segments->segments[segments->count++] = (struct load_elf_segment){
            program.vaddr, {program.offset, program.filesz, program.paddr, program.memsz}};
    }
    return segments->count != 0 ? LOAD_OK : LOAD_ERROR_SEGMENT_NONE;
}

struct load_span load_elf_extent(const struct load_elf_image *segments)
{
    struct load_span extent = {UINT64_MAX, 0};
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct load_piece *piece = &segments->segments[i].piece;
        uint64_t end = piece->gpa + piece->memory_size;
        extent.start = piece->gpa < extent.start ? piece->gpa : extent.start;
        extent.end = end > extent.end ? end : extent.end;
    }
    return extent;
}
