// SPDX-License-Identifier: BSD-2-Clause-Patent
// VHDX images, fixed and dynamic, read and write (MS-VHDX, version 1). Differencing images are
// refused. Everything in the file is hostile input: bounded, validated, and an image that breaks
// the format's rules is refused or, if that shows later, its requests fail.
//
// Crash safety: blocks are allocated in memory and their data written; the block allocation table
// (BAT) changes only in a commit, which a flush, a write with force_unit_access or a full cache
// brings about: data durable, new table pages durable in the log, pages in place. A crash at any
// point leaves an image that opens with everything up to the last commit.
//
// Locking: none; the owner serialises all calls for one image.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "file.h"

enum {
    VHDX_PAGE = 4096,
    VHDX_PAGES = 32, // table pages in memory; a commit writes so many at the most
};

enum vhdx_error {
    VHDX_OK,
    VHDX_ERROR_IO,
    VHDX_ERROR_NOT_VHDX,
    VHDX_ERROR_HEADER,       // no current header
    VHDX_ERROR_VERSION,      // of the format or the log
    VHDX_ERROR_LOG_LOCATION, // misplaced, or unreasonably large
    VHDX_ERROR_LOG,          // in use, and nothing in it is valid
    VHDX_ERROR_LOG_TRUNCATED,
    VHDX_ERROR_LOG_READ_ONLY, // has to be replayed, and the file cannot be written
    VHDX_ERROR_REGION_TABLE,
    VHDX_ERROR_REGION_UNKNOWN, // a required region of a kind not known here
    VHDX_ERROR_REGION_MISSING,
    VHDX_ERROR_METADATA_TABLE,
    VHDX_ERROR_METADATA_UNKNOWN,
    VHDX_ERROR_METADATA_MISSING,
    VHDX_ERROR_METADATA_VALUE,
    VHDX_ERROR_PARENT, // a differencing image
    VHDX_ERROR_BAT_SIZE,
    VHDX_ERROR_BAT_ENTRY,
    VHDX_ERROR_FILE_SIZE,
    VHDX_ERROR_MEMORY, // see vhdx_params.memory
    VHDX_ERROR_COUNT
};

struct vhdx_params {
    bool read_only;
    uint8_t unique[16]; // fresh random bytes: new write GUIDs are made of them
    // For the map of the file's space: two bits a MiB of the file at its largest. When it is too
    // small, vhdx_open() fails with VHDX_ERROR_MEMORY and memory_needed says how much it takes.
    void *memory; // aligned to 8 bytes; stays in use until vhdx_close()
    size_t memory_size;
};

struct vhdx_region {
    uint64_t offset, length; // bytes in the file, multiples of 1 MiB
};

struct vhdx_log {
    struct vhdx_region place;
    bool active;       // the current header names the log: entries count
    uint64_t sequence; // of the next entry
    uint32_t head;     // where in the log it goes
};

// A page of the file that changes through the log.
struct vhdx_page {
    uint64_t offset; // in the file; 0: free
    uint64_t used;   // time of the last use
    bool dirty;
    uint8_t bytes[VHDX_PAGE];
};

// Private to the implementation but for device and memory_needed.
struct vhdx {
    struct block_device device; // what a disk stands on
    size_t memory_needed;

    const struct image_file *file;
    bool read_only;
    bool modified; // the header says that the file has changed since it was opened
    // Header.
    uint32_t header_slot; // 0 or 1: which one is current
    uint64_t header_sequence;
    uint8_t file_write_guid[16], data_write_guid[16], log_guid[16];
    uint8_t next_guid[16];
    struct vhdx_log log;
    // Regions and metadata.
    uint64_t region_table; // where in the file the table in use is
    uint32_t regions;      // its entries
    struct vhdx_region bat, metadata;
    uint64_t disk_size;        // bytes
    uint64_t disk_size_offset; // where in the file it is written
    uint32_t block_size;
    uint32_t sector_size, physical_size;
    uint32_t chunk_ratio; // payload blocks to one sector bitmap block
    uint64_t blocks;      // payload blocks
    bool leave_allocated; // a fixed image
    uint8_t page83[16];
    // Space: one bit a MiB each, in vhdx_params.memory.
    uint64_t *used;
    uint64_t *held; // used until the next commit, free from then on
    uint64_t space; // bits in each
    uint64_t hint;  // below it there is no room for a block
    uint64_t taken; // blocks of the file that are in use, or held
    uint64_t held_low, held_high;
    // Table pages.
    uint64_t clock;
    uint32_t dirty_pages;
    struct vhdx_page pages[VHDX_PAGES];
    uint8_t sector[VHDX_PAGE], descriptors[VHDX_PAGE]; // for the log, the headers and opening
};

// Opens an image; the file must live on. Replays its log if need be: the file must be writable
// then, even for params->read_only. After an error *vhdx is of no use but for memory_needed.
enum vhdx_error vhdx_open(struct vhdx *vhdx, const struct image_file *file,
                          const struct vhdx_params *params);

// Makes everything durable and the log unnecessary. *vhdx is of no use afterwards. When it fails
// the image is as after a crash.
enum block_status vhdx_close(struct vhdx *vhdx);

// Makes the disk larger, while it is in use. `size` in bytes is a multiple of the sector size.
// BLOCK_ERROR_SPACE when the image's table has no room for so many blocks or the space map is too
// small; BLOCK_ERROR_RANGE when it is smaller than the disk or not allowed by the format.
enum block_status vhdx_grow(struct vhdx *vhdx, uint64_t size);

// One line, without a full stop, that says what is wrong. Never NULL, whatever the value.
const char *vhdx_error_text(enum vhdx_error error);

// Whether the file says that it is a VHDX image (and not, say, a raw one).
bool vhdx_probe(const struct image_file *file);
