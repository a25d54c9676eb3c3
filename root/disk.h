// SPDX-License-Identifier: BSD-2-Clause-Patent
// Disks in files of the boot volume: raw or VHDX, read and written by the firmware.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/lib/image/raw.h"
#include "root/lib/image/vhdx.h"
#include "root/lib/vsp/scsi.h"

struct disk {
    struct image_file file;
    void *handle; // the firmware's
    uint64_t size;
    bool dirty; // written, and not flushed
    bool is_vhdx;
    struct raw_image raw;
    struct vhdx *vhdx;
    struct scsi_lun lun;
};

// Opens the image at `path` as a disk, or as the disc of a CD drive. `name` tells it from the other
// disks of this root. False: root_fail() has been called; its text begins with `owner`.
bool disk_open(struct disk *disk, const char *owner, const char *path, const char *name,
               bool is_cd);

// What the guest has written so far is durable.
void disk_flush(struct disk *disk);

// The same for good; the disk is of no use afterwards.
void disk_close(struct disk *disk);
