// SPDX-License-Identifier: BSD-2-Clause-Patent
// Writing the VHDX log (MS-VHDX 2.3). Each entry is a sequence of its own: when it is written,
// everything before it is durable in place, so its tail is itself.
#include "crc32c.h"
#include "vhdx_priv.h"

_Static_assert(ENTRY_HEADER + VHDX_PAGES * DESCRIPTOR_SIZE <= LOG_SECTOR,
               "header and descriptors of an entry are one sector");
_Static_assert(2 * (1 + VHDX_PAGES) * LOG_SECTOR <= 0x100000,
               "the smallest log holds an entry beside the one before it");

static enum block_status write_sector(struct vhdx *vhdx, uint64_t at, const uint8_t *sector)
{
    const uint64_t place = (vhdx->log.head + at) % vhdx->log.place.length;
    return file_write(vhdx->file, vhdx->log.place.offset + place, sector, LOG_SECTOR);
}

static void make_descriptor(uint8_t *descriptor, const struct vhdx_page *page, uint64_t sequence)
{
    store_le32(descriptor + DESCRIPTOR_SIGNATURE, VHDX_DESC_SIGNATURE);
    memcpy(descriptor + DESCRIPTOR_LEADING, page->bytes, DATA_BYTES);
    memcpy(descriptor + DESCRIPTOR_TRAILING, page->bytes + DATA_BYTES + DATA_BYTES_SIZE,
           VHDX_PAGE - DATA_BYTES - DATA_BYTES_SIZE);
    store_le64(descriptor + DESCRIPTOR_OFFSET, page->offset);
    store_le64(descriptor + DESCRIPTOR_SEQUENCE, sequence);
}

static void make_data(uint8_t *sector, const struct vhdx_page *page, uint64_t sequence)
{
    memcpy(sector, page->bytes, LOG_SECTOR);
    store_le32(sector + DATA_SIGNATURE, VHDX_DATA_SIGNATURE);
    store_le32(sector + DATA_SEQUENCE_HIGH, (uint32_t)(sequence >> 32));
    store_le32(sector + DATA_SEQUENCE_LOW, (uint32_t)sequence);
}

static void make_entry(struct vhdx *vhdx, uint8_t *sector, uint32_t length)
{
    const uint64_t size = file_size(vhdx->file);
    uint32_t count = 0;

    memset(sector, 0, LOG_SECTOR);
    for (uint32_t i = 0; i < VHDX_PAGES; i++) {
        if (vhdx->pages[i].dirty) {
            make_descriptor(sector + ENTRY_HEADER + count++ * DESCRIPTOR_SIZE, &vhdx->pages[i],
                            vhdx->log.sequence);
        }
    }
    store_le32(sector + ENTRY_SIGNATURE, VHDX_ENTRY_SIGNATURE);
    store_le32(sector + ENTRY_LENGTH, length);
    store_le32(sector + ENTRY_TAIL, vhdx->log.head);
    store_le64(sector + ENTRY_SEQUENCE, vhdx->log.sequence);
    store_le32(sector + ENTRY_DESCRIPTORS, count);
    memcpy(sector + ENTRY_LOG_GUID, vhdx->log_guid, VHDX_GUID_SIZE);
    // Everything was flushed before the entry, so the file is at least so large, and large enough.
    store_le64(sector + ENTRY_FLUSHED_OFFSET, size);
    store_le64(sector + ENTRY_LAST_OFFSET, size);
}

enum block_status vhdx_log_write(struct vhdx *vhdx, uint32_t *entry_length)
{
    const uint32_t length = (1 + vhdx->dirty_pages) * LOG_SECTOR;
    uint64_t at = LOG_SECTOR;

    make_entry(vhdx, vhdx->descriptors, length);
    uint32_t crc = crc32c(0, vhdx->descriptors, LOG_SECTOR);
    for (uint32_t i = 0; i < VHDX_PAGES; i++) {
        if (vhdx->pages[i].dirty) {
            make_data(vhdx->sector, &vhdx->pages[i], vhdx->log.sequence);
            crc = crc32c(crc, vhdx->sector, LOG_SECTOR);
            const enum block_status status = write_sector(vhdx, at, vhdx->sector);
            if (status != BLOCK_OK) {
                return status;
            }
            at += LOG_SECTOR;
        }
    }
    store_le32(vhdx->descriptors + ENTRY_CHECKSUM, crc);
    *entry_length = length;
    return write_sector(vhdx, 0, vhdx->descriptors);
}
