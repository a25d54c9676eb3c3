// SPDX-License-Identifier: BSD-2-Clause-Patent
// Block devices: what a disk stands on. Behind this interface are image files (raw.h, vhdx.h) and
// whatever the environment has, a UEFI block device for one.
//
// A request belongs to the backend from block_submit() until its done callback, which comes once,
// within block_submit() or later. Requests that are in flight together are not ordered. A write is
// durable when a flush that was submitted after its completion has completed, or, with
// force_unit_access, when it completes itself.
//
// Locking: none; the owner serialises all calls for one device, and done comes from within them.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum block_status {
    BLOCK_OK,
    BLOCK_ERROR_RANGE,     // outside the device, or the segments are not `count` sectors
    BLOCK_ERROR_READ_ONLY, // the device may not be written
    BLOCK_ERROR_IO,        // the medium failed
    BLOCK_ERROR_SPACE,     // what the device stands on is full
    BLOCK_ERROR_CORRUPT,   // the image contradicts itself
};

enum block_operation {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH, // sector and count are 0
    BLOCK_TRIM,  // a hint: the sectors keep their contents or read as zeros from now on
    BLOCK_ZERO,  // the sectors read as zeros; storage is given back where that is possible
};

// A piece of memory, of any alignment and length. A guest may change what is in it at any time.
struct block_segment {
    void *base;
    size_t size;
};

struct block_request {
    enum block_operation operation;
    bool force_unit_access; // writes: durable at completion
    uint64_t sector;
    uint64_t count;                       // sectors, not 0 but for a flush
    const struct block_segment *segments; // reads and writes: `count` sectors in all
    uint32_t segment_count;
    void (*done)(struct block_request *request, enum block_status status);
    void *owner; // the submitter's
};

struct block_info {
    uint64_t sectors;
    uint32_t sector_size;      // 512, 2048 or 4096
    uint32_t physical_size;    // sector_size or a power-of-two multiple: writes below it are slower
    uint32_t trim_granularity; // sectors that a trim has to cover to have an effect; 0: no trims
    bool read_only;
    bool has_id;
    uint8_t id[16]; // stable identity of the medium, when has_id
};

struct block_device;

struct block_ops {
    // *info is constant but for `sectors`, which the owner may let grow.
    void (*info)(const struct block_device *device, struct block_info *info);
    // The request has passed block_check().
    void (*submit)(struct block_device *device, struct block_request *request);
};

struct block_device {
    const struct block_ops *ops;
    void *ctx;
};

// Checks the request against the device and hands it on. A request that fails the check is done
// when this returns.
void block_submit(struct block_device *device, struct block_request *request);

// What block_submit() checks: operation, sectors inside the device, sum of the segments.
enum block_status block_check(const struct block_info *info, const struct block_request *request);
