// SPDX-License-Identifier: BSD-2-Clause-Patent
// UNMAP and WRITE SAME (SBC-3 5.28, 5.43).
#include "scsi_priv.h"

// ---- UNMAP -------------------------------------------------------------------------------------

enum { LIST_HEADER = 8, DESCRIPTOR = 16 };

static struct scsi_extent descriptor_at(const struct scsi_task *task, uint32_t index)
{
    const uint8_t *at = task->descriptors + index * DESCRIPTOR;
    return (struct scsi_extent){load_be64(at), load_be32(at + 8)};
}

static bool next_unmap(struct scsi_task *task)
{
    while (task->index < task->count) {
        const struct scsi_extent extent = descriptor_at(task, task->index++);
        if (extent.count) {
            task->request.operation = BLOCK_TRIM;
            task->request.sector = extent.sector;
            task->request.count = extent.count;
            return true;
        }
    }
    return false;
}

// Reads and judges the whole list before anything is done.
static bool take_descriptors(struct scsi_task *task, uint32_t size)
{
    const struct block_info info = scsi_info(task->lun);
    uint8_t header[LIST_HEADER];
    uint64_t sum = 0;

    if (!task->data.read(task->data.ctx, 0, header, sizeof header)) {
        scsi_fail(task, KEY_ABORTED_COMMAND, CODE_DATA_PHASE);
        return false;
    }
    const uint32_t said = load_be16(header + 2), there = size - LIST_HEADER;
    task->count = (said < there ? said : there) / DESCRIPTOR;
    if (task->count > SCSI_UNMAP_DESCRIPTORS) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_FIELD_IN_LIST);
        return false;
    }
    if (task->count && !task->data.read(task->data.ctx, LIST_HEADER, task->descriptors,
                                        task->count * DESCRIPTOR)) {
        scsi_fail(task, KEY_ABORTED_COMMAND, CODE_DATA_PHASE);
        return false;
    }
    for (uint32_t i = 0; i < task->count; i++) {
        const struct scsi_extent extent = descriptor_at(task, i);
        sum += extent.count;
        if (!scsi_extent_fits(&extent, &info)) {
            scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LBA);
            return false;
        }
    }
    if (sum > SCSI_UNMAP_MAX / info.sector_size) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_FIELD_IN_LIST);
        return false;
    }
    return true;
}

void scsi_unmap(struct scsi_task *task)
{
    enum { ANCHOR = 1 };
    const uint32_t size = load_be16(task->cdb + 7);
    const struct block_info info = scsi_info(task->lun);

    if (info.read_only) {
        scsi_fail(task, KEY_DATA_PROTECT, CODE_WRITE_PROTECTED);
    } else if (!info.trim_granularity) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_OPCODE);
    } else if (task->cdb[1] & ANCHOR) {
        scsi_bad_field(task);
    } else if (size == 0) {
        scsi_good(task);
    } else if (size < LIST_HEADER || size > scsi_data_size(task, SCSI_TO_DEVICE)) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LIST_LENGTH);
    } else if (take_descriptors(task, size)) {
        task->transferred = size;
        task->index = 0;
        scsi_run(task, next_unmap);
    }
}

// ---- WRITE SAME --------------------------------------------------------------------------------

enum pattern { PATTERN_ZERO, PATTERN_DATA, PATTERN_UNREADABLE };

static enum pattern read_pattern(struct scsi_task *task, uint32_t size)
{
    uint8_t piece[256];
    uint8_t any = 0;

    for (uint32_t offset = 0; offset < size; offset += sizeof piece) {
        if (!task->data.read(task->data.ctx, offset, piece, sizeof piece)) {
            return PATTERN_UNREADABLE;
        }
        for (size_t i = 0; i < sizeof piece; i++) {
            any |= piece[i];
        }
    }
    return any ? PATTERN_DATA : PATTERN_ZERO;
}

// The sector of the guest's buffer, over and over. The guest may change it meanwhile: then it has
// asked for what it gets.
static bool next_same(struct scsi_task *task)
{
    const uint32_t size = scsi_info(task->lun).sector_size;
    uint32_t count = 0, sectors = 0, offset = 0;

    while (sectors < task->left && count < SCSI_SEGMENTS) {
        size_t length = 0;
        void *at = task->data.span(task->data.ctx, offset, false, &length);
        if (!at || !length) {
            task->block_status = BLOCK_ERROR_IO;
            return false;
        }
        length = length < size - offset ? length : size - offset;
        task->segments[count++] = (struct block_segment){at, length};
        offset += (uint32_t)length;
        if (offset == size) {
            offset = 0;
            sectors++;
            task->request.segment_count = count;
        }
    }
    if (!sectors) {
        return false;
    }
    task->request.operation = BLOCK_WRITE;
    task->request.segments = task->segments;
    task->request.sector = task->sector;
    task->request.count = sectors;
    task->sector += sectors;
    task->left -= sectors;
    return true;
}

static bool next_zero(struct scsi_task *task)
{
    if (!task->left) {
        return false;
    }
    task->request.operation = BLOCK_ZERO;
    task->request.sector = task->sector;
    task->request.count = task->left;
    task->left = 0;
    return true;
}

// Flags of byte 1 that make sense together and for this medium.
static bool flags_allowed(const uint8_t *cdb, const struct block_info *info)
{
    enum { PROTECT = 0xE0, ANCHOR = 0x10, UNMAP = 0x08, OBSOLETE = 0x06, NO_DATA = 0x01 };
    const uint8_t flags = cdb[1];
    const bool sixteen = cdb[0] >> 5 == 4;

    return !(flags & (PROTECT | ANCHOR | OBSOLETE)) && (sixteen || !(flags & NO_DATA)) &&
           (!(flags & UNMAP) || info->trim_granularity);
}

void scsi_write_same(struct scsi_task *task)
{
    enum { NO_DATA = 0x01 };
    const struct block_info info = scsi_info(task->lun);
    const struct scsi_extent extent = scsi_cdb_extent(task->cdb);
    enum pattern pattern = PATTERN_ZERO;

    if (info.read_only) {
        scsi_fail(task, KEY_DATA_PROTECT, CODE_WRITE_PROTECTED);
        return;
    }
    if (!flags_allowed(task->cdb, &info) || extent.count == 0 ||
        extent.count > SCSI_WRITE_SAME_MAX / info.sector_size) {
        scsi_bad_field(task);
        return;
    }
    if (!scsi_extent_fits(&extent, &info)) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LBA);
        return;
    }
    if (!(task->cdb[1] & NO_DATA)) {
        if (scsi_data_size(task, SCSI_TO_DEVICE) < info.sector_size) {
            scsi_bad_field(task);
            return;
        }
        pattern = read_pattern(task, info.sector_size);
        task->transferred = info.sector_size;
    }
    if (pattern == PATTERN_UNREADABLE) {
        task->transferred = 0;
        scsi_fail(task, KEY_ABORTED_COMMAND, CODE_DATA_PHASE);
        return;
    }
    task->request.operation = BLOCK_WRITE;
    task->request.force_unit_access = !task->lun->write_cache;
    task->sector = extent.sector;
    task->left = extent.count;
    scsi_run(task, pattern == PATTERN_ZERO ? next_zero : next_same);
}
