// SPDX-License-Identifier: BSD-2-Clause-Patent
// Block devices: contract in block.h.
#include "block.h"

static bool segments_fit(const struct block_info *info, const struct block_request *request)
{
    uint64_t left = request->count * info->sector_size;

    for (uint32_t i = 0; i < request->segment_count; i++) {
        if (request->segments[i].size > left) {
            return false;
        }
        left -= request->segments[i].size;
    }
    return left == 0;
}

enum block_status block_check(const struct block_info *info, const struct block_request *request)
{
    if (request->operation == BLOCK_FLUSH) {
        return BLOCK_OK;
    }
    if (request->count == 0 || request->sector > info->sectors ||
        request->count > info->sectors - request->sector) {
        return BLOCK_ERROR_RANGE;
    }
    if (request->operation != BLOCK_READ && info->read_only) {
        return BLOCK_ERROR_READ_ONLY;
    }
    const bool has_data = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
    return !has_data || segments_fit(info, request) ? BLOCK_OK : BLOCK_ERROR_RANGE;
}

void block_submit(struct block_device *device, struct block_request *request)
{
    struct block_info info;

    device->ops->info(device, &info);
    const enum block_status status = block_check(&info, request);
    if (status != BLOCK_OK) {
        request->done(request, status);
        return;
    }
    device->ops->submit(device, request);
}
