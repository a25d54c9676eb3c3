// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor's ELF image: checked before a byte of it is used. Pure.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX_SEGMENTS 8u
#define IMAGE_MAX_SIZE     0x4000000ul

struct image_segment {
    uint64_t offset;      // in the file
    uint64_t file_size;   // bytes
    uint64_t va;          // page aligned
    uint64_t memory_size; // bytes, not rounded
    unsigned rights;      // enum pagetable_rights
};

struct image {
    const uint8_t *file;
    uint64_t entry;
    uint64_t size; // bytes from HV_IMAGE_BASE to the end of the last segment, whole pages
    unsigned segment_count;
    struct image_segment segments[IMAGE_MAX_SEGMENTS];
};

// Check an ELF64 x86-64 executable linked at HV_IMAGE_BASE: segments inside the file, page aligned,
// ascending, apart, never writable and executable; the entry in an executable one. NULL: fine and
// *image filled; else what is wrong.
const char *image_parse(const uint8_t *file, size_t size, struct image *image);
