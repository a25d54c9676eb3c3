// SPDX-License-Identifier: BSD-2-Clause-Patent
// VHDX headers (MS-VHDX 2.2.2): two copies, of which the newer valid one is current.
#include "crc32c.h"
#include "vhdx_priv.h"

enum { HEADER_FORMAT = 1, LOG_FORMAT = 0 };

// The largest log that is accepted. 1 MiB is usual; what has to be searched must be bounded.
#define LOG_LENGTH_MAX (64 * VHDX_MIB)

static uint64_t header_offset(uint32_t slot)
{
    return slot ? VHDX_HEADER_2 : VHDX_HEADER_1;
}

// Reads a header into `sector`. False when it is not valid.
static bool read_slot(struct vhdx *vhdx, uint32_t slot, uint8_t *sector)
{
    if (file_read(vhdx->file, header_offset(slot), sector, HEADER_SIZE) != BLOCK_OK ||
        load_le32(sector + HEADER_SIGNATURE) != VHDX_HEADER_SIGNATURE) {
        return false;
    }
    const uint32_t checksum = load_le32(sector + HEADER_CHECKSUM);
    store_le32(sector + HEADER_CHECKSUM, 0);
    return crc32c(0, sector, HEADER_SIZE) == checksum;
}

static enum vhdx_error take_header(struct vhdx *vhdx, uint32_t slot, const uint8_t *sector)
{
    if (load_le16(sector + HEADER_VERSION) != HEADER_FORMAT ||
        load_le16(sector + HEADER_LOG_VERSION) != LOG_FORMAT) {
        return VHDX_ERROR_VERSION;
    }
    struct vhdx_region *log = &vhdx->log.place;
    log->offset = load_le64(sector + HEADER_LOG_OFFSET);
    log->length = load_le32(sector + HEADER_LOG_LENGTH);
    if (log->offset < VHDX_HEADER_SECTION || log->offset % VHDX_MIB || log->length == 0 ||
        log->length % VHDX_MIB || log->length > LOG_LENGTH_MAX ||
        log->offset > file_size(vhdx->file) || log->length > file_size(vhdx->file) - log->offset) {
        return VHDX_ERROR_LOG_LOCATION;
    }
    vhdx->header_slot = slot;
    vhdx->header_sequence = load_le64(sector + HEADER_SEQUENCE);
    memcpy(vhdx->file_write_guid, sector + HEADER_FILE_WRITE_GUID, VHDX_GUID_SIZE);
    memcpy(vhdx->data_write_guid, sector + HEADER_DATA_WRITE_GUID, VHDX_GUID_SIZE);
    memcpy(vhdx->log_guid, sector + HEADER_LOG_GUID, VHDX_GUID_SIZE);
    return VHDX_OK;
}

enum vhdx_error vhdx_read_header(struct vhdx *vhdx)
{
    uint8_t *const first = vhdx->sector, *const second = vhdx->descriptors;
    const bool first_valid = read_slot(vhdx, 0, first);
    const bool second_valid = read_slot(vhdx, 1, second);

    if (first_valid && second_valid) {
        const uint64_t a = load_le64(first + HEADER_SEQUENCE);
        const uint64_t b = load_le64(second + HEADER_SEQUENCE);
        // Two equal headers contradict the letter of the format but not each other: some tools
        // write them.
        if (a == b && memcmp(first, second, HEADER_SIZE) != 0) {
            return VHDX_ERROR_HEADER;
        }
        return b > a ? take_header(vhdx, 1, second) : take_header(vhdx, 0, first);
    }
    if (first_valid) {
        return take_header(vhdx, 0, first);
    }
    return second_valid ? take_header(vhdx, 1, second) : VHDX_ERROR_HEADER;
}

enum block_status vhdx_write_header(struct vhdx *vhdx)
{
    uint8_t *const sector = vhdx->sector;
    const uint32_t slot = !vhdx->header_slot;

    memset(sector, 0, HEADER_SIZE);
    store_le32(sector + HEADER_SIGNATURE, VHDX_HEADER_SIGNATURE);
    store_le64(sector + HEADER_SEQUENCE, vhdx->header_sequence + 1);
    memcpy(sector + HEADER_FILE_WRITE_GUID, vhdx->file_write_guid, VHDX_GUID_SIZE);
    memcpy(sector + HEADER_DATA_WRITE_GUID, vhdx->data_write_guid, VHDX_GUID_SIZE);
    memcpy(sector + HEADER_LOG_GUID, vhdx->log_guid, VHDX_GUID_SIZE);
    store_le16(sector + HEADER_LOG_VERSION, LOG_FORMAT);
    store_le16(sector + HEADER_VERSION, HEADER_FORMAT);
    store_le32(sector + HEADER_LOG_LENGTH, (uint32_t)vhdx->log.place.length);
    store_le64(sector + HEADER_LOG_OFFSET, vhdx->log.place.offset);
    store_le32(sector + HEADER_CHECKSUM, crc32c(0, sector, HEADER_SIZE));
    enum block_status status = file_write(vhdx->file, header_offset(slot), sector, HEADER_SIZE);
    if (status == BLOCK_OK) {
        status = file_flush(vhdx->file);
    }
    if (status == BLOCK_OK) {
        vhdx->header_slot = slot;
        vhdx->header_sequence++;
    }
    return status;
}

void vhdx_make_guid(struct vhdx *vhdx, uint8_t guid[VHDX_GUID_SIZE])
{
    // Random (RFC 4122, version 4), and never twice from the same image.
    store_le64(vhdx->next_guid, load_le64(vhdx->next_guid) + 1);
    memcpy(guid, vhdx->next_guid, VHDX_GUID_SIZE);
    guid[7] = (guid[7] & 0x0F) | 0x40;
    guid[8] = (guid[8] & 0x3F) | 0x80;
}

enum block_status vhdx_begin_writing(struct vhdx *vhdx)
{
    if (vhdx->modified) {
        return BLOCK_OK;
    }
    vhdx_make_guid(vhdx, vhdx->file_write_guid);
    vhdx_make_guid(vhdx, vhdx->data_write_guid);
    const enum block_status status = vhdx_write_header(vhdx);
    vhdx->modified = status == BLOCK_OK;
    return status;
}
