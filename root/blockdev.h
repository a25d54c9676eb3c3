// SPDX-License-Identifier: BSD-2-Clause-Patent
// Block devices of the firmware (UEFI 2.10, 13.9: EFI_BLOCK_IO_PROTOCOL) as byte devices under
// disks.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/lib/image/file.h"

// What stands before a device's path in corbel.conf, where files have none.
#define BLOCKDEV_PREFIX "device:"

struct blockdev {
    void *handle, *io; // the firmware's; io NULL: not open
    void *bounce;      // stays for the next device
    uint32_t sector_size;
    uint32_t alignment; // of buffers
    uint64_t size;
};

// Of struct blockdev.
extern const struct image_file_ops blockdev_ops, blockdev_read_only_ops;

// Whether a path names a device.
bool blockdev_named(const char *path);

// Opens the device that has this path as text (UEFI 2.10, 10.6), for nobody but us: the firmware's
// drivers let it go, until it is closed. Refused are the device of the boot volume, and one that is
// open already. NULL, or why not.
const char *blockdev_open(struct blockdev *device, const char *path, bool writable);
void blockdev_close(struct blockdev *device);

// Bytes of the device, of any alignment and length; `to` and `from` are of any as well.
enum block_status blockdev_read(void *device, uint64_t offset, void *to, size_t size);
enum block_status blockdev_write(void *device, uint64_t offset, const void *from, size_t size);
