// SPDX-License-Identifier: BSD-2-Clause-Patent
// Raw images: contract in raw.h.
#include "raw.h"

#include "../mem.h"

enum { TRIM_BYTES = 4096 }; // what file systems under an image file free at the least

static void raw_info(const struct block_device *device, struct block_info *info)
{
    const struct raw_image *raw = device->ctx;

    memset(info, 0, sizeof *info);
    info->sectors = file_size(raw->file) / raw->sector_size;
    info->sector_size = raw->sector_size;
    info->physical_size = raw->sector_size;
    info->read_only = raw->read_only;
    // A trimmed sector must read as before or as zeros, so only zero() will do.
    if (!raw->read_only && raw->file->ops->zero) {
        info->trim_granularity = TRIM_BYTES / raw->sector_size;
    }
}

static enum block_status run(const struct raw_image *raw, const struct block_request *request)
{
    const uint64_t offset = request->sector * raw->sector_size;
    const uint64_t size = request->count * raw->sector_size;
    enum block_status status;

    switch (request->operation) {
    case BLOCK_READ:
        return file_read_segments(raw->file, offset, request->segments, 0, size);
    case BLOCK_FLUSH:
        return file_flush(raw->file);
    case BLOCK_TRIM:
        return raw->file->ops->zero ? file_zero(raw->file, offset, size) : BLOCK_OK;
    case BLOCK_WRITE:
        status = file_write_segments(raw->file, offset, request->segments, 0, size);
        break;
    default:
        status = file_zero(raw->file, offset, size);
        break;
    }
    return status == BLOCK_OK && request->force_unit_access ? file_flush(raw->file) : status;
}

static void raw_submit(struct block_device *device, struct block_request *request)
{
    request->done(request, run(device->ctx, request));
}

bool raw_open(struct raw_image *raw, const struct image_file *file, uint32_t sector_size,
              bool read_only)
{
    static const struct block_ops ops = {raw_info, raw_submit};

    if (sector_size != 512 && sector_size != 2048 && sector_size != 4096) {
        return false;
    }
    raw->device = (struct block_device){&ops, raw};
    raw->file = file;
    raw->sector_size = sector_size;
    raw->read_only = read_only || file_is_read_only(file);
    return true;
}
