// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest image loaders: bring a kernel image, an initial RAM disk and a command line into guest
// memory and say in which state the first virtual processor starts.
//
// Kinds: Linux bzImage (Linux: Documentation/arch/x86/boot.rst, protocol >= 2.10, the 64-bit entry
// where the kernel offers it), multiboot 1 (ELF or address fields), PVH (an ELF with a Xen
// PHYS32_ENTRY note; Xen: docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h).
//
// The image is hostile, the request is the caller's and is checked for consistency only. Everything
// is planned before the first byte is written: on an error neither guest memory nor *result has
// changed. No allocation, no globals; at most about 16 KiB of stack.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    LOAD_RAM_MAX = 64,           // ranges of guest RAM
    LOAD_RESERVED_MAX = 16,      // reserved ranges
    LOAD_UNTOUCHED_MAX = 128,    // ranges that stay as they were
    LOAD_CMDLINE_MAX = 64 * 1024 // bytes of command line, whatever the kernel says it takes
};

// A piece of guest RAM. gpa and size are multiples of 4 KiB, size is not 0; [host, host + size) is
// the same memory as the caller sees it, private to the caller for the time of the call. Pieces
// that touch in guest space count as one run of memory, wherever they are in the host's.
struct load_ram {
    uint64_t gpa;
    uint64_t size;
    void *host;
};

// The E820 address range types (ACPI 6.5, table 15.5), which multiboot and PVH share.
enum load_memory_type {
    LOAD_MEMORY_RAM = 1,
    LOAD_MEMORY_RESERVED = 2,
    LOAD_MEMORY_ACPI = 3,
    LOAD_MEMORY_NVS = 4
};

// A range that the memory map shows with this type and that nothing is loaded into. It may lie in
// RAM (tables that the caller puts there), outside it (MMIO) or across. No two of them overlap.
struct load_reserved {
    uint64_t gpa;
    uint64_t size;
    enum load_memory_type type;
};

struct load_request {
    const struct load_ram *ram; // ascending by gpa, not overlapping
    uint32_t ram_count;         // 1..LOAD_RAM_MAX
    const struct load_reserved *reserved;
    uint32_t reserved_count; // 0..LOAD_RESERVED_MAX
    const void *image;
    size_t image_size;
    const void *initrd; // multiboot and PVH: the one module
    size_t initrd_size; // 0: none
    const char *cmdline;
    size_t cmdline_size; // without a terminator; 0: empty
    uint64_t rsdp_gpa;   // 0: none. Multiboot guests search for it: see acpi_bios_rsdp_gpa
};

enum load_kind { LOAD_LINUX_64 = 1, LOAD_LINUX_32, LOAD_MULTIBOOT1, LOAD_PVH };

// One segment register, as HV_X64_SEGMENT_REGISTER has it (TLFS: byte limit; attributes 3:0 type,
// 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D, 15 G).
struct load_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint16_t attributes;
};

struct load_table {
    uint64_t base;
    uint16_t limit;
};

// The state in which the first processor starts. What is not here keeps its INIT value.
struct load_vp_state {
    uint64_t rip, rsp, rflags;
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
    uint64_t cr0, cr3, cr4, efer;
    struct load_segment cs, ds, es, fs, gs, ss, tr, ldtr;
    struct load_table gdtr, idtr;
};

// Whole pages of guest RAM.
struct load_range {
    uint64_t gpa;
    uint64_t size;
};

struct load_result {
    enum load_kind kind;
    struct load_vp_state vp;
    uint64_t kernel_gpa, kernel_size; // lowest byte and extent of what the kernel occupies
    uint64_t initrd_gpa;              // 0 when there is none
    uint64_t info_gpa;                // boot_params, multiboot information or hvm_start_info
    // RAM that neither the loader has written nor the request reserves, ascending; the area of
    // video memory and BIOS is left out.
    uint32_t untouched_count;
    struct load_range untouched[LOAD_UNTOUCHED_MAX];
};

enum load_error {
    LOAD_OK,
    LOAD_ERROR_REQUEST,
    LOAD_ERROR_UNKNOWN,
    LOAD_ERROR_TRUNCATED,
    LOAD_ERROR_CMDLINE,
    LOAD_ERROR_KERNEL_SPACE,
    LOAD_ERROR_INITRD_SPACE,
    LOAD_ERROR_BOOT_SPACE,
    LOAD_ERROR_LINUX_VERSION,
    LOAD_ERROR_LINUX_LOW,
    LOAD_ERROR_LINUX_HEADER,
    LOAD_ERROR_LINUX_ALIGNMENT,
    LOAD_ERROR_ELF_HEADER,
    LOAD_ERROR_ELF_MACHINE,
    LOAD_ERROR_ELF_BOOT,
    LOAD_ERROR_SEGMENT_NONE,
    LOAD_ERROR_SEGMENT_COUNT,
    LOAD_ERROR_SEGMENT_SIZE,
    LOAD_ERROR_SEGMENT_RAM,
    LOAD_ERROR_SEGMENT_RESERVED,
    LOAD_ERROR_SEGMENT_OVERLAP,
    LOAD_ERROR_ENTRY,
    LOAD_ERROR_MULTIBOOT_FLAGS,
    LOAD_ERROR_MULTIBOOT_ADDRESS,
    LOAD_ERROR_COUNT
};

// Detects what the image is and loads it. Returns LOAD_OK and fills *result, or an error.
// A bzImage is told by its boot sector, PVH by its note, multiboot by its header, in this order: an
// ELF file that is both enters by its PVH note, which alone is sure to name a 32-bit entry and
// passes the RSDP.
enum load_error load_guest(const struct load_request *request, struct load_result *result);

// One line, without a full stop, that says what is wrong. Never NULL, whatever the value.
const char *load_error_text(enum load_error error);

// "bzImage, 64-bit entry" and the like, for a log line. Never NULL.
const char *load_kind_text(enum load_kind kind);
