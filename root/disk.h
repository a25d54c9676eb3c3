// SPDX-License-Identifier: BSD-2-Clause-Patent
// Disks in files of the boot volume, raw or VHDX, and on block devices: read and written by the
// firmware.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/blockdev.h"
#include "root/lib/image/raw.h"
#include "root/lib/image/vhdx.h"
#include "root/lib/vsp/scsi.h"

struct disk {
    struct image_file file;
    bool is_open;
    void *handle;           // the firmware's file; NULL: on a device
    struct blockdev device; // if not in a file
    uint64_t size;
    bool dirty; // written, and not flushed
    bool is_vhdx;
    struct raw_image raw;
    struct vhdx *vhdx; // this and its map stay for the next image
    void *vhdx_map;
    struct scsi_lun lun;
};

// Opens the image at `path`, or the device that it names (blockdev.h), as a disk, or as the disc of
// a CD drive. `name` tells it from the other
// disks of this root. NULL, or why it cannot.
const char *disk_open(struct disk *disk, const char *path, const char *name, bool is_cd);

// Makes it larger, while it is in use: to `size` bytes, a multiple of the sector size. NULL, or why
// not.
const char *disk_grow(struct disk *disk, uint64_t size);

// What the guest has written so far is durable.
void disk_flush(struct disk *disk);

// The same for good; the disk is of no use afterwards.
void disk_close(struct disk *disk);
