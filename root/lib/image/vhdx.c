// SPDX-License-Identifier: BSD-2-Clause-Patent
// VHDX images as block devices: contract in vhdx.h.
#include "vhdx.h"

#include "vhdx_priv.h"

enum { GUIDS_OF_ONE_OPEN = 64 }; // more than are made between opening and closing an image

// ---- requests ----------------------------------------------------------------------------------

// The part of a request that lies in one payload block.
struct part {
    uint64_t block;
    uint32_t offset; // bytes in the block
    uint32_t size;
    uint64_t skip; // bytes of the request before it
};

static struct part part_at(const struct vhdx *vhdx, const struct block_request *request,
                           uint64_t skip)
{
    const uint64_t at = request->sector * vhdx->sector_size + skip;
    const uint64_t left = request->count * vhdx->sector_size - skip;
    struct part part = {.block = at / vhdx->block_size, .skip = skip};

    part.offset = (uint32_t)(at % vhdx->block_size);
    const uint32_t room = vhdx->block_size - part.offset;
    part.size = left < room ? (uint32_t)left : room;
    return part;
}

static bool is_present(uint64_t entry)
{
    return (entry & BAT_STATE_MASK) == BAT_FULLY_PRESENT;
}

static enum block_status read_part(struct vhdx *vhdx, const struct block_request *request,
                                   const struct part *part)
{
    uint64_t entry;
    const enum block_status status = vhdx_bat_get(vhdx, part->block, &entry);

    if (status != BLOCK_OK) {
        return status;
    }
    if (!is_present(entry)) {
        segments_clear(request->segments, part->skip, part->size);
        return BLOCK_OK;
    }
    return file_read_segments(vhdx->file, (entry & BAT_OFFSET_MASK) + part->offset,
                              request->segments, part->skip, part->size);
}

// Writes a part into a block that the table does not have yet, and then into the table.
static enum block_status write_new(struct vhdx *vhdx, const struct block_request *request,
                                   const struct part *part)
{
    uint64_t offset;
    bool fresh;
    enum block_status status = vhdx_take_space(vhdx, &offset, &fresh);

    if (status != BLOCK_OK) {
        return status;
    }
    if (!fresh && part->size != vhdx->block_size) {
        status = file_zero(vhdx->file, offset, vhdx->block_size);
    }
    if (status == BLOCK_OK) {
        status = file_write_segments(vhdx->file, offset + part->offset, request->segments,
                                     part->skip, part->size);
    }
    if (status == BLOCK_OK) {
        status = vhdx_bat_set(vhdx, part->block, offset | BAT_FULLY_PRESENT);
    }
    if (status != BLOCK_OK) {
        vhdx_return_space(vhdx, offset);
    }
    return status;
}

static enum block_status write_part(struct vhdx *vhdx, const struct block_request *request,
                                    const struct part *part)
{
    uint64_t entry;
    const enum block_status status = vhdx_bat_get(vhdx, part->block, &entry);

    if (status != BLOCK_OK) {
        return status;
    }
    if (!is_present(entry)) {
        return write_new(vhdx, request, part);
    }
    return file_write_segments(vhdx->file, (entry & BAT_OFFSET_MASK) + part->offset,
                               request->segments, part->skip, part->size);
}

// Whether the part is all of its block that the disk has.
static bool covers_block(const struct vhdx *vhdx, const struct part *part)
{
    const uint64_t end = part->block * vhdx->block_size + part->offset + part->size;
    return part->offset == 0 && (part->size == vhdx->block_size || end == vhdx->disk_size);
}

static enum block_status clear_part(struct vhdx *vhdx, const struct block_request *request,
                                    const struct part *part)
{
    uint64_t entry;
    enum block_status status = vhdx_bat_get(vhdx, part->block, &entry);

    if (status != BLOCK_OK || !is_present(entry)) {
        return status;
    }
    const uint64_t offset = entry & BAT_OFFSET_MASK;
    if (covers_block(vhdx, part) && !vhdx->leave_allocated) {
        status = vhdx_bat_set(vhdx, part->block, BAT_ZERO);
        if (status == BLOCK_OK) {
            vhdx_hold_space(vhdx, offset);
        }
        return status;
    }
    return request->operation == BLOCK_ZERO
               ? file_zero(vhdx->file, offset + part->offset, part->size)
               : BLOCK_OK;
}

static enum block_status run_parts(struct vhdx *vhdx, const struct block_request *request)
{
    const uint64_t size = request->count * vhdx->sector_size;

    for (uint64_t skip = 0; skip < size;) {
        const struct part part = part_at(vhdx, request, skip);
        enum block_status status;
        if (request->operation == BLOCK_READ) {
            status = read_part(vhdx, request, &part);
        } else if (request->operation == BLOCK_WRITE) {
            status = write_part(vhdx, request, &part);
        } else {
            status = clear_part(vhdx, request, &part);
        }
        if (status != BLOCK_OK) {
            return status;
        }
        skip += part.size;
    }
    return BLOCK_OK;
}

static enum block_status run(struct vhdx *vhdx, const struct block_request *request)
{
    enum block_status status = BLOCK_OK;

    if (request->operation == BLOCK_FLUSH) {
        return vhdx->read_only ? BLOCK_OK : vhdx_commit(vhdx);
    }
    if (request->operation != BLOCK_READ) {
        status = vhdx_begin_writing(vhdx);
    }
    if (status == BLOCK_OK) {
        status = run_parts(vhdx, request);
    }
    if (status == BLOCK_OK && request->operation != BLOCK_READ && request->force_unit_access) {
        status = vhdx_commit(vhdx);
    }
    return status;
}

static void vhdx_submit(struct block_device *device, struct block_request *request)
{
    request->done(request, run(device->ctx, request));
}

static void vhdx_info(const struct block_device *device, struct block_info *info)
{
    const struct vhdx *vhdx = device->ctx;
    const bool trims = !vhdx->read_only && !vhdx->leave_allocated;

    memset(info, 0, sizeof *info);
    info->sectors = vhdx->disk_size / vhdx->sector_size;
    info->sector_size = vhdx->sector_size;
    info->physical_size =
        vhdx->physical_size > vhdx->sector_size ? vhdx->physical_size : vhdx->sector_size;
    info->trim_granularity = trims ? vhdx->block_size / vhdx->sector_size : 0;
    info->read_only = vhdx->read_only;
    info->has_id = true;
    memcpy(info->id, vhdx->page83, sizeof info->id);
}

// ---- opening, closing, growing -----------------------------------------------------------------

bool vhdx_probe(const struct image_file *file)
{
    uint8_t signature[8];

    return file_size(file) >= sizeof signature &&
           file_read(file, 0, signature, sizeof signature) == BLOCK_OK &&
           load_le64(signature) == VHDX_FILE_SIGNATURE;
}

enum vhdx_error vhdx_open(struct vhdx *vhdx, const struct image_file *file,
                          const struct vhdx_params *params)
{
    static const struct block_ops ops = {vhdx_info, vhdx_submit};

    memset(vhdx, 0, sizeof *vhdx);
    vhdx->device = (struct block_device){&ops, vhdx};
    vhdx->file = file;
    vhdx->read_only = params->read_only || file_is_read_only(file);
    memcpy(vhdx->next_guid, params->unique, VHDX_GUID_SIZE);
    if (!vhdx_probe(file)) {
        return VHDX_ERROR_NOT_VHDX;
    }
    enum vhdx_error error = vhdx_read_header(vhdx);
    // Where params->unique is less than fresh, the sequence number still is: a log GUID that comes
    // again would bring old entries back.
    const uint64_t mixed = load_le64(vhdx->next_guid) + vhdx->header_sequence * GUIDS_OF_ONE_OPEN;
    store_le64(vhdx->next_guid, mixed);
    if (error == VHDX_OK) {
        error = vhdx_replay(vhdx);
    }
    if (error == VHDX_OK) {
        error = vhdx_read_regions(vhdx);
    }
    if (error == VHDX_OK) {
        error = vhdx_read_metadata(vhdx);
    }
    return error == VHDX_OK ? vhdx_map_space(vhdx, params) : error;
}

enum block_status vhdx_close(struct vhdx *vhdx)
{
    if (vhdx->read_only || !vhdx->modified) {
        return BLOCK_OK;
    }
    enum block_status status = vhdx_commit(vhdx);
    if (status == BLOCK_OK) {
        status = file_flush(vhdx->file); // the pages that the commit has put in place
    }
    if (status == BLOCK_OK && vhdx->log.active) {
        memset(vhdx->log_guid, 0, VHDX_GUID_SIZE);
        status = vhdx_write_header(vhdx);
    }
    return status;
}

// Stores bytes that change through the log, wherever they lie.
static enum block_status write_logged(struct vhdx *vhdx, uint64_t offset, const uint8_t *bytes,
                                      uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        const uint64_t in_page = (offset + i) % VHDX_PAGE;
        enum block_status status;
        struct vhdx_page *page = vhdx_get_page(vhdx, offset + i - in_page, &status);
        if (!page) {
            return status;
        }
        page->bytes[in_page] = bytes[i];
        vhdx_dirty_page(vhdx, page);
    }
    return BLOCK_OK;
}

// Entries that the table has beyond the disk may hold anything: they mean nothing yet.
static enum block_status clear_new_entries(struct vhdx *vhdx, uint64_t blocks)
{
    for (uint64_t block = vhdx->blocks; block < blocks; block++) {
        const uint64_t place = vhdx_bat_place(vhdx, block), in_page = place % VHDX_PAGE;
        enum block_status status;
        const struct vhdx_page *page = vhdx_get_page(vhdx, place - in_page, &status);
        if (page && load_le64(page->bytes + in_page)) {
            status = vhdx_bat_set(vhdx, block, BAT_NOT_PRESENT);
        }
        if (status != BLOCK_OK) {
            return status;
        }
    }
    return BLOCK_OK;
}

enum block_status vhdx_grow(struct vhdx *vhdx, uint64_t size)
{
    if (vhdx->read_only) {
        return BLOCK_ERROR_READ_ONLY;
    }
    if (size < vhdx->disk_size || size % vhdx->sector_size || size > 64 * VHDX_TIB) {
        return BLOCK_ERROR_RANGE;
    }
    const uint64_t blocks = (size + vhdx->block_size - 1) / vhdx->block_size;
    if (vhdx_bat_entries(vhdx, blocks) * 8 > vhdx->bat.length ||
        vhdx_space_needed(vhdx, blocks) > vhdx->space) {
        return BLOCK_ERROR_SPACE;
    }
    enum block_status status = vhdx_begin_writing(vhdx);
    if (status == BLOCK_OK) {
        status = clear_new_entries(vhdx, blocks);
    }
    uint8_t bytes[8];
    store_le64(bytes, size);
    if (status == BLOCK_OK) {
        status = write_logged(vhdx, vhdx->disk_size_offset, bytes, sizeof bytes);
    }
    if (status == BLOCK_OK) {
        status = vhdx_commit(vhdx);
    }
    if (status == BLOCK_OK) {
        vhdx->disk_size = size;
        vhdx->blocks = blocks;
    }
    return status;
}

const char *vhdx_error_text(enum vhdx_error error)
{
    static const char *const texts[VHDX_ERROR_COUNT] = {
        [VHDX_OK] = "no error",
        [VHDX_ERROR_IO] = "the file cannot be read or written",
        [VHDX_ERROR_NOT_VHDX] = "not a VHDX image",
        [VHDX_ERROR_HEADER] = "neither header is valid and current",
        [VHDX_ERROR_VERSION] = "unknown version of the format or its log",
        [VHDX_ERROR_LOG_LOCATION] = "the log lies where it must not or is too large",
        [VHDX_ERROR_LOG] = "the log is in use and has no valid entries",
        [VHDX_ERROR_LOG_TRUNCATED] = "the file is shorter than its log says",
        [VHDX_ERROR_LOG_READ_ONLY] = "the log has to be replayed and the file is read-only",
        [VHDX_ERROR_REGION_TABLE] = "no valid region table",
        [VHDX_ERROR_REGION_UNKNOWN] = "a required region is of an unknown kind",
        [VHDX_ERROR_REGION_MISSING] = "the table or the metadata region is missing",
        [VHDX_ERROR_METADATA_TABLE] = "the metadata table is not valid",
        [VHDX_ERROR_METADATA_UNKNOWN] = "a required metadata item is of an unknown kind",
        [VHDX_ERROR_METADATA_MISSING] = "a metadata item is missing",
        [VHDX_ERROR_METADATA_VALUE] = "a metadata item is not valid",
        [VHDX_ERROR_PARENT] = "differencing images are not supported",
        [VHDX_ERROR_BAT_SIZE] = "the block table is too small for the disk",
        [VHDX_ERROR_BAT_ENTRY] = "the block table names a place that is not the block's",
        [VHDX_ERROR_FILE_SIZE] = "the file is larger than the format allows",
        [VHDX_ERROR_MEMORY] = "not enough memory for the map of the file",
    };
    const bool known = (unsigned)error < VHDX_ERROR_COUNT && texts[error];

    return known ? texts[error] : "unknown error";
}
