// SPDX-License-Identifier: BSD-2-Clause-Patent
// Raw images: sector n of the disk is bytes [n * sector_size, ...) of the file. An incomplete last
// sector is not part of the disk.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "file.h"

struct raw_image {
    struct block_device device; // what a disk stands on
    const struct image_file *file;
    uint32_t sector_size;
    bool read_only;
};

// Makes a disk of the file, which must live on. sector_size is 512 (disks), 2048 (CDs) or 4096:
// false for anything else. The disk is read-only when the file is, or on demand. Its size is that
// of the file at any time.
bool raw_open(struct raw_image *raw, const struct image_file *file, uint32_t sector_size,
              bool read_only);
