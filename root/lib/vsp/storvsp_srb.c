// SPDX-License-Identifier: BSD-2-Clause-Patent
// Storage VSP: SCSI requests (spec: VMBus 2.1).
#include "storvsp_priv.h"

// ---- the guest's buffer ------------------------------------------------------------------------

static const struct vmbus_memory *memory_of(const struct stor_request *request)
{
    return vmbus_channel_memory(request->channel->channel);
}

static bool inside(const struct stor_request *request, uint32_t offset, size_t size)
{
    const uint32_t all = request->task.data.size;
    return offset <= all && size <= all - offset;
}

static bool read_data(void *ctx, uint32_t offset, void *to, size_t size)
{
    const struct stor_request *request = ctx;
    return inside(request, offset, size) &&
           vmbus_ranges_read(memory_of(request), &request->ranges, offset, to, size);
}

static bool write_data(void *ctx, uint32_t offset, const void *from, size_t size)
{
    const struct stor_request *request = ctx;
    return inside(request, offset, size) &&
           vmbus_ranges_write(memory_of(request), &request->ranges, offset, from, size);
}

static void *span_data(void *ctx, uint32_t offset, bool write, size_t *length)
{
    const struct stor_request *request = ctx;
    const uint32_t all = request->task.data.size;
    void *at = offset < all
                   ? vmbus_ranges_span(memory_of(request), &request->ranges, offset, write, length)
                   : NULL;

    if (at && *length > all - offset) {
        *length = all - offset;
    }
    return at;
}

// ---- answers -----------------------------------------------------------------------------------

static uint8_t srb_status(const struct scsi_task *task)
{
    if (task->no_lun) {
        return SRB_INVALID_LUN;
    }
    return task->status == SCSI_GOOD ? SRB_SUCCESS : SRB_ERROR;
}

static void task_done(struct scsi_task *task)
{
    struct stor_request *const request = task->owner;
    uint8_t *const packet = request->packet;
    const uint8_t room = packet[SRB_SENSE_SIZE];
    const uint8_t sense = task->sense_size < room ? task->sense_size : room;

    packet[SRB_STATUS] = srb_status(task) | (sense ? SRB_AUTOSENSE : 0);
    packet[SRB_SCSI_STATUS] = (uint8_t)task->status;
    packet[SRB_SENSE_SIZE] = sense;
    store_le32(packet + SRB_TRANSFER, task->transferred);
    memset(packet + SRB_CDB, 0, SRB_SENSE_MAX);
    memcpy(packet + SRB_CDB, task->sense, sense);
    stor_answer(request, STOR_STATUS_OK);
}

static void refuse(struct stor_request *request)
{
    request->packet[SRB_STATUS] = SRB_INVALID_REQUEST;
    request->packet[SRB_SCSI_STATUS] = SCSI_GOOD;
    request->packet[SRB_SENSE_SIZE] = 0;
    store_le32(request->packet + SRB_TRANSFER, 0);
    stor_answer(request, STOR_STATUS_OK);
}

// ---- execution ---------------------------------------------------------------------------------

static enum scsi_direction direction_of(const uint8_t *packet)
{
    switch (packet[SRB_DATA_IN]) {
    case DATA_TO_DEVICE:
        return SCSI_TO_DEVICE;
    case DATA_FROM_DEVICE:
        return SCSI_FROM_DEVICE;
    default:
        return SCSI_NO_DATA;
    }
}

void stor_execute_srb(struct stor_request *request)
{
    const uint8_t *packet = request->packet;
    struct scsi_task *const task = &request->task;
    struct scsi_target *const target = &request->channel->storvsp->target;
    const uint32_t size = load_le32(packet + SRB_TRANSFER);
    const uint8_t cdb_size = packet[SRB_CDB_SIZE];

    // Data come with one range that holds them all.
    if (cdb_size == 0 || cdb_size > SCSI_CDB_SIZE || request->ranges.count > 1 ||
        size > request->ranges.size || size > SCSI_TRANSFER_MAX) {
        refuse(request);
        return;
    }
    memset(task->cdb, 0, sizeof task->cdb);
    memcpy(task->cdb, packet + SRB_CDB, cdb_size);
    task->direction = size ? direction_of(packet) : SCSI_NO_DATA;
    task->data = (struct scsi_buffer){request, size, read_data, write_data, span_data};
    task->done = task_done;
    task->owner = request;
    const bool here = packet[SRB_PATH] == 0 && packet[SRB_TARGET] == 0;
    scsi_execute(target, here ? packet[SRB_LUN] : SCSI_LUNS, task);
}
