// SPDX-License-Identifier: BSD-2-Clause-Patent
// Reading, writing and sizes (SBC-3 5).
#include "scsi_priv.h"

enum {
    PROTECT_MASK = 0xE0, // RDPROTECT, WRPROTECT: there is no protection information
    FORCE_UNIT_ACCESS = 0x08,
};

struct scsi_extent scsi_cdb_extent(const uint8_t *cdb)
{
    switch (cdb[0] >> 5) {
    case 0: // 6 bytes: 21 bits, and a length of 0 means 256
        return (struct scsi_extent){load_be32(cdb) & 0x1FFFFF, cdb[4] ? cdb[4] : 256};
    case 1:
    case 2:
        return (struct scsi_extent){load_be32(cdb + 2), load_be16(cdb + 7)};
    case 5:
        return (struct scsi_extent){load_be32(cdb + 2), load_be32(cdb + 6)};
    default:
        return (struct scsi_extent){load_be64(cdb + 2), load_be32(cdb + 10)};
    }
}

bool scsi_extent_fits(const struct scsi_extent *extent, const struct block_info *info)
{
    return extent->sector <= info->sectors && extent->count <= info->sectors - extent->sector;
}

// ---- READ, WRITE -------------------------------------------------------------------------------

static bool is_write(const uint8_t *cdb)
{
    return (cdb[0] & 0x1F) == 0x0A;
}

// Memory for the first `size` bytes of the task's buffer. False: not memory, or too scattered.
static bool map_data(struct scsi_task *task, uint32_t size, bool for_read)
{
    uint32_t offset = 0, count = 0;

    while (offset < size) {
        size_t length = 0;
        uint8_t *at = task->data.span(task->data.ctx, offset, for_read, &length);
        if (!at || !length) {
            return false;
        }
        length = length < size - offset ? length : size - offset;
        struct block_segment *last = count ? &task->segments[count - 1] : NULL;
        if (last && (uint8_t *)last->base + last->size == at) {
            last->size += length;
        } else if (count < SCSI_SEGMENTS) {
            task->segments[count++] = (struct block_segment){at, length};
        } else {
            return false;
        }
        offset += (uint32_t)length;
    }
    task->request.segments = task->segments;
    task->request.segment_count = count;
    return true;
}

// A task of one request: the first time there is one, then no more.
static bool next_once(struct scsi_task *task)
{
    return task->index++ == 0;
}

void scsi_read_write(struct scsi_task *task)
{
    const bool write = is_write(task->cdb);
    const struct block_info info = scsi_info(task->lun);
    const struct scsi_extent extent = scsi_cdb_extent(task->cdb);
    const bool has_flags = task->cdb[0] >> 5 != 0;

    if (!scsi_extent_fits(&extent, &info)) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LBA);
        return;
    }
    const uint32_t room = scsi_data_size(task, write ? SCSI_TO_DEVICE : SCSI_FROM_DEVICE);
    const uint64_t size = extent.count * info.sector_size;
    if ((has_flags && task->cdb[1] & PROTECT_MASK) || size > SCSI_TRANSFER_MAX || size > room) {
        scsi_bad_field(task);
        return;
    }
    if (write && info.read_only) {
        scsi_fail(task, KEY_DATA_PROTECT, CODE_WRITE_PROTECTED);
        return;
    }
    if (size == 0) {
        scsi_good(task);
        return;
    }
    if (!map_data(task, (uint32_t)size, !write)) {
        scsi_fail(task, KEY_ABORTED_COMMAND, CODE_DATA_PHASE);
        return;
    }
    const bool forced = has_flags && task->cdb[1] & FORCE_UNIT_ACCESS;
    task->request.operation = write ? BLOCK_WRITE : BLOCK_READ;
    task->request.force_unit_access = write && (forced || !task->lun->write_cache);
    task->request.sector = extent.sector;
    task->request.count = extent.count;
    task->transferred = (uint32_t)size;
    task->index = 0;
    scsi_run(task, next_once);
}

void scsi_flush(struct scsi_task *task)
{
    task->request.operation = BLOCK_FLUSH;
    task->request.sector = task->request.count = 0;
    task->index = 0;
    scsi_run(task, next_once);
}

void scsi_synchronize(struct scsi_task *task)
{
    const struct block_info info = scsi_info(task->lun);
    const struct scsi_extent extent = scsi_cdb_extent(task->cdb);

    if (!scsi_extent_fits(&extent, &info)) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LBA);
        return;
    }
    scsi_flush(task); // everything, whatever range is asked for: IMMED may be ignored, too
}

// START STOP UNIT (SBC-3 5.25, MMC-6 6.42).
void scsi_start_stop(struct scsi_task *task)
{
    enum { START = 1, LOAD_EJECT = 2, NO_FLUSH = 4, POWER_CONDITION = 0xF0 };
    struct scsi_lun *lun = task->lun;
    const uint8_t how = task->cdb[4];
    const bool start = how & START;

    if (how & POWER_CONDITION || (how & LOAD_EJECT && lun->type != SCSI_CD)) {
        scsi_bad_field(task);
        return;
    }
    if (how & LOAD_EJECT && !start && lun->locked) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_REMOVAL_PREVENTED);
        return;
    }
    if (how & LOAD_EJECT && lun->tray_open == start) {
        lun->tray_open = !start;
        lun->event = start && lun->medium ? SCSI_NEW_MEDIA : SCSI_MEDIA_REMOVED;
        lun->attentions |= start && lun->medium ? SCSI_ATTENTION_MEDIUM : 0;
    }
    lun->stopped = !start && !(how & LOAD_EJECT);
    if (start || how & NO_FLUSH || !lun->medium || scsi_info(lun).read_only) {
        scsi_good(task);
    } else {
        scsi_flush(task);
    }
}

// ---- sizes -------------------------------------------------------------------------------------

void scsi_read_capacity10(struct scsi_task *task)
{
    const struct block_info info = scsi_info(task->lun);
    uint8_t data[8];

    store_be32(data, info.sectors > UINT32_MAX ? UINT32_MAX : (uint32_t)(info.sectors - 1));
    store_be32(data + 4, info.sector_size);
    scsi_reply(task, data, sizeof data, sizeof data);
}

static uint8_t log2_of(uint32_t value)
{
    uint8_t log = 0;

    while (value > 1) {
        value >>= 1;
        log++;
    }
    return log;
}

void scsi_read_capacity16(struct scsi_task *task)
{
    enum { LBPME = 0x80, LBPRZ = 0x40 };
    const struct block_info info = scsi_info(task->lun);
    uint8_t data[32] = {0};

    store_be64(data, info.sectors - 1);
    store_be32(data + 8, info.sector_size);
    data[13] = log2_of(info.physical_size / info.sector_size);
    data[14] = info.trim_granularity ? LBPME | LBPRZ : 0;
    scsi_reply(task, data, sizeof data, load_be32(task->cdb + 10));
}
