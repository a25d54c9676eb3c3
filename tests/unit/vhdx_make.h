// SPDX-License-Identifier: BSD-2-Clause-Patent
// Makes VHDX images for tests, from the format's description and with no code of the library but
// the checksum, which has tests of its own.
#pragma once
#include "image_file.h"
#include "root/lib/bytes.h"
#include "root/lib/image/crc32c.h"

#define MIB ((uint64_t)0x100000)

enum {
    MAKE_LOG = 1,      // MiB at which the log begins
    MAKE_METADATA = 2, // the metadata region
    MAKE_BAT = 3,      // the block allocation table
    MAKE_HEADER_1 = 0x10000,
    MAKE_HEADER_2 = 0x20000,
    MAKE_REGIONS_1 = 0x30000,
    MAKE_REGIONS_2 = 0x40000,
    MAKE_ITEMS = 0x10000, // first metadata item in its region
};

struct make_options {
    uint64_t disk_size;
    uint32_t block_size, sector_size, physical_size;
    uint32_t flags; // 1: leave blocks allocated, 2: has a parent
    bool fixed;     // every block present
};

static const uint8_t make_log_guid[16] = {0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
static const uint8_t make_disk_id[16] = {0xD0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static inline void make_guid(uint8_t *to, uint32_t a, uint16_t b, uint16_t c, uint64_t d)
{
    store_le32(to, a);
    store_le16(to + 4, b);
    store_le16(to + 6, c);
    store_be64(to + 8, d);
}

static inline void make_header(struct memory_file *memory, uint32_t offset, uint64_t sequence,
                               const uint8_t *log_guid)
{
    uint8_t *header = memory->bytes + offset;
    memset(header, 0, 4096);
    memcpy(header, "head", 4);
    store_le64(header + 8, sequence);
    memset(header + 16, 0x11, 16);
    memset(header + 32, 0x22, 16);
    if (log_guid) {
        memcpy(header + 48, log_guid, 16);
    }
    store_le16(header + 66, 1);
    store_le32(header + 68, (uint32_t)MIB);
    store_le64(header + 72, MAKE_LOG * MIB);
    store_le32(header + 4, crc32c(0, header, 4096));
}

static inline void make_checksum(uint8_t *table, size_t size)
{
    store_le32(table + 4, 0);
    store_le32(table + 4, crc32c(0, table, size));
}

static inline void make_region(uint8_t *table, uint64_t offset, uint32_t length)
{
    const uint32_t index = load_le32(table + 8);
    uint8_t *entry = table + 16 + index * 32;
    store_le32(table + 8, index + 1);
    store_le64(entry + 16, offset);
    store_le32(entry + 24, length);
    store_le32(entry + 28, 1);
}

static inline void make_regions(struct memory_file *memory, uint32_t at, uint64_t bat_length)
{
    uint8_t *table = memory->bytes + at;
    memcpy(table, "regi", 4);
    make_guid(table + 16, 0x2DC27766, 0xF623, 0x4200, 0x9D64115E9BFD4A08);
    make_region(table, MAKE_BAT * MIB, (uint32_t)bat_length);
    make_guid(table + 48, 0x8B7CA206, 0x4790, 0x4B9A, 0xB8FE575F050F886E);
    make_region(table, MAKE_METADATA * MIB, (uint32_t)MIB);
    make_checksum(table, 65536);
}

// Appends a metadata item of `length` bytes; returns where they go.
static inline uint8_t *make_item(uint8_t *region, uint32_t length, uint32_t flags, uint32_t a,
                                 uint16_t b, uint16_t c, uint64_t d)
{
    const uint16_t index = load_le16(region + 10);
    uint8_t *entry = region + 32 + index * 32;
    const uint32_t offset = MAKE_ITEMS + index * 32u;
    store_le16(region + 10, index + 1);
    make_guid(entry, a, b, c, d);
    store_le32(entry + 16, offset);
    store_le32(entry + 20, length);
    store_le32(entry + 24, flags);
    return region + offset;
}

static inline void make_metadata(struct memory_file *memory, const struct make_options *options)
{
    uint8_t *region = memory->bytes + MAKE_METADATA * MIB;
    memcpy(region, "metadata", 8);
    uint8_t *item = make_item(region, 8, 4, 0xCAA16737, 0xFA36, 0x4D43, 0xB3B633F0AA44E76B);
    store_le32(item, options->block_size);
    store_le32(item + 4, options->flags);
    item = make_item(region, 8, 6, 0x2FA54224, 0xCD1B, 0x4876, 0xB2115DBED83BF4B8);
    store_le64(item, options->disk_size);
    item = make_item(region, 16, 6, 0xBECA12AB, 0xB2E6, 0x4523, 0x93EFC309E000C746);
    memcpy(item, make_disk_id, 16);
    item = make_item(region, 4, 6, 0x8141BF1D, 0xA96F, 0x4709, 0xBA47F233A8FAAB5F);
    store_le32(item, options->sector_size);
    item = make_item(region, 4, 6, 0xCDA348C7, 0x445D, 0x4471, 0x9CC9E9885251C556);
    store_le32(item, options->physical_size);
}

static inline uint64_t make_round(uint64_t size)
{
    return (size + MIB - 1) / MIB * MIB;
}

// An image that nobody has written to. The file ends behind its last block.
static inline void make_vhdx(struct memory_file *memory, const struct make_options *options)
{
    const uint64_t blocks = (options->disk_size + options->block_size - 1) / options->block_size;
    const uint64_t ratio = ((uint64_t)1 << 23) * options->sector_size / options->block_size;
    const uint64_t bat_length = make_round((blocks + (blocks - 1) / ratio) * 8);
    const uint64_t first = MAKE_BAT * MIB + bat_length;
    const uint64_t data = options->fixed ? blocks * options->block_size : 0;

    memory_file_init(memory, first + data);
    memcpy(memory->bytes, "vhdxfile", 8);
    make_header(memory, MAKE_HEADER_1, 6, NULL);
    make_header(memory, MAKE_HEADER_2, 7, NULL);
    make_regions(memory, MAKE_REGIONS_1, bat_length);
    make_regions(memory, MAKE_REGIONS_2, bat_length);
    make_metadata(memory, options);
    for (uint64_t i = 0; options->fixed && i < blocks; i++) {
        store_le64(memory->bytes + MAKE_BAT * MIB + (i + i / ratio) * 8,
                   (first + i * options->block_size) | 6);
    }
}

// ---- log ---------------------------------------------------------------------------------------

struct make_change {
    uint64_t offset;
    uint64_t zero;       // length, when data is NULL
    const uint8_t *data; // 4096 bytes
};

struct make_entry {
    uint32_t place, tail; // in the log
    uint64_t sequence, flushed, last;
    const struct make_change *changes;
    uint32_t count;
};

static inline uint8_t *make_log_sector(struct memory_file *memory, uint64_t place)
{
    return memory->bytes + MAKE_LOG * MIB + place % MIB;
}

static inline void make_descriptor(uint8_t *to, const struct make_change *change, uint64_t sequence)
{
    memcpy(to, change->data ? "desc" : "zero", 4);
    if (change->data) {
        memcpy(to + 4, change->data + 4092, 4);
        memcpy(to + 8, change->data, 8);
    } else {
        store_le64(to + 8, change->zero);
    }
    store_le64(to + 16, change->offset);
    store_le64(to + 24, sequence);
}

// Writes an entry into the log; returns its length.
static inline uint32_t make_log_entry(struct memory_file *memory, const struct make_entry *entry)
{
    const uint32_t head = (64 + entry->count * 32 + 4095) / 4096 * 4096;
    uint8_t *bytes = calloc(1, head + entry->count * 4096);
    uint32_t length = head;

    for (uint32_t i = 0; i < entry->count; i++) {
        make_descriptor(bytes + 64 + i * 32, &entry->changes[i], entry->sequence);
        if (entry->changes[i].data) {
            uint8_t *sector = bytes + length;
            memcpy(sector, entry->changes[i].data, 4096);
            memcpy(sector, "data", 4);
            store_le32(sector + 4, (uint32_t)(entry->sequence >> 32));
            store_le32(sector + 4092, (uint32_t)entry->sequence);
            length += 4096;
        }
    }
    memcpy(bytes, "loge", 4);
    store_le32(bytes + 8, length);
    store_le32(bytes + 12, entry->tail);
    store_le64(bytes + 16, entry->sequence);
    store_le32(bytes + 24, entry->count);
    memcpy(bytes + 32, make_log_guid, 16);
    store_le64(bytes + 48, entry->flushed);
    store_le64(bytes + 56, entry->last);
    make_checksum(bytes, length);
    for (uint32_t at = 0; at < length; at += 4096) {
        memcpy(make_log_sector(memory, entry->place + at), bytes + at, 4096);
    }
    free(bytes);
    return length;
}
