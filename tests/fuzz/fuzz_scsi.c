// SPDX-License-Identifier: BSD-2-Clause-Patent
// SCSI commands of the fuzzer's choosing for a disk, a CD drive and units that are not there, with
// buffers that are too small, scattered or no memory, on backends that complete at once or later or
// fail. Whatever comes, each task ends once, within its buffer, and says what SCSI allows.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/fake_block.h"
#include "root/lib/bytes.h"
#include "root/lib/vsp/scsi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DISK_SECTORS = 520, CD_SECTORS = 20, BUFFER = SCSI_TRANSFER_MAX, TASKS = 4, HEAD = 8 };

struct slot {
    struct scsi_task task;
    uint8_t *buffer; // exactly as large as the task's data
    uint32_t bad_from;
    bool busy;
};

static struct scsi_target target;
static struct fake_block disk, disc;
static struct scsi_lun units[2];
static struct slot slots[TASKS];

static void expect(int truth)
{
    if (!truth) {
        abort();
    }
}

static bool allowed(const struct slot *slot, uint32_t offset, size_t size)
{
    expect(offset <= slot->task.data.size && size <= slot->task.data.size - offset);
    return offset + size <= slot->bad_from;
}

static bool read_data(void *ctx, uint32_t offset, void *to, size_t size)
{
    const struct slot *slot = ctx;
    expect(slot->task.direction == SCSI_TO_DEVICE);
    memcpy(to, slot->buffer + offset, size);
    return allowed(slot, offset, size);
}

static bool write_data(void *ctx, uint32_t offset, const void *from, size_t size)
{
    const struct slot *slot = ctx;
    expect(slot->task.direction == SCSI_FROM_DEVICE && allowed(slot, offset, 0));
    if (allowed(slot, offset, size)) {
        memcpy(slot->buffer + offset, from, size);
        return true;
    }
    return false;
}

static void *span_data(void *ctx, uint32_t offset, bool write, size_t *length)
{
    const struct slot *slot = ctx;
    const uint32_t page = 4096 - offset % 4096, left = slot->task.data.size - offset;
    expect(slot->task.direction == (write ? SCSI_FROM_DEVICE : SCSI_TO_DEVICE));
    *length = page < left ? page : left;
    return allowed(slot, offset, *length) ? slot->buffer + offset : NULL;
}

static void task_done(struct scsi_task *task)
{
    struct slot *slot = task->owner;
    expect(slot->busy);
    slot->busy = false;
    const bool failed = task->status == SCSI_CHECK_CONDITION;
    expect(failed || task->status == SCSI_GOOD);
    expect(task->sense_size == (failed ? SCSI_SENSE_SIZE : 0));
    expect(!failed || (task->sense[0] == 0x70 && (task->sense[2] || task->sense[12])));
    expect(task->transferred <= (task->direction == SCSI_NO_DATA ? 0 : task->data.size));
    expect(!failed || task->transferred == 0);
    free(slot->buffer);
    slot->buffer = NULL;
}

static void setup(void)
{
    static const uint8_t id[16] = {1, 2, 3};
    fake_block_init(&disk, DISK_SECTORS, 512);
    fake_block_init(&disc, CD_SECTORS, 2048);
    disc.info.read_only = true;
    memset(&target, 0, sizeof target);
    scsi_lun_init(&units[0], SCSI_DISK, &disk.device, id, "disk");
    scsi_lun_init(&units[1], SCSI_CD, &disc.device, id, "cd");
    scsi_target_add(&target, 0, &units[0]);
    scsi_target_add(&target, 1, &units[1]);
    units[0].attentions = units[1].attentions = 0;
}

// What the owner does meanwhile.
static void owner_step(uint8_t choice)
{
    switch (choice % 8) {
    case 0:
        disk.hold = disc.hold = !disk.hold;
        break;
    case 1:
        disk.fail = (enum block_status)(choice / 8 % 6);
        break;
    case 2:
        scsi_target_reset(&target);
        break;
    case 3:
        scsi_lun_resized(&units[0]);
        break;
    case 4:
        scsi_lun_change_medium(&units[1], units[1].medium ? NULL : &disc.device);
        break;
    case 5:
        disk.info.trim_granularity ^= 8;
        break;
    default:
        fake_block_release(&disk);
        fake_block_release(&disc);
        break;
    }
}

// One command: {unit, direction, size (2), bad, CDB size, CDB, data}.
static size_t command(const uint8_t *data, size_t size)
{
    struct slot *slot = slots;
    while (slot < slots + TASKS && slot->busy) {
        slot++;
    }
    if (slot == slots + TASKS) {
        fake_block_release(&disk);
        fake_block_release(&disc);
        slot = slots;
    }
    const size_t cdb = data[5] % (SCSI_CDB_SIZE + 1);
    const size_t used = HEAD + cdb < size ? HEAD + cdb : size;
    const uint32_t buffer = load_le16(data + 2) * (data[1] & 0x80 ? 4u : 1u);
    memset(slot->task.cdb, 0, sizeof slot->task.cdb);
    memcpy(slot->task.cdb, data + HEAD, used - HEAD);
    slot->task.direction = (enum scsi_direction)(data[1] % 3);
    slot->task.data = (struct scsi_buffer){slot, buffer, read_data, write_data, span_data};
    slot->task.done = task_done;
    slot->task.owner = slot;
    slot->buffer = malloc(buffer ? buffer : 1);
    memset(slot->buffer, data[6], buffer);
    const size_t rest = size - used < buffer ? size - used : buffer;
    memcpy(slot->buffer, data + used, rest);
    slot->bad_from = data[4] ? data[4] * 100u : UINT32_MAX;
    slot->busy = true;
    scsi_execute(&target, data[0] % 4, &slot->task);
    return used + (rest < data[7] ? rest : data[7]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setup();
    while (size > HEAD) {
        size_t used = 2;
        if (data[0] & 0x80) {
            owner_step(data[1]);
        } else {
            used = command(data, size);
        }
        data += used;
        size -= used;
    }
    disk.hold = disc.hold = false;
    fake_block_release(&disk);
    fake_block_release(&disc);
    for (unsigned i = 0; i < TASKS; i++) {
        expect(!slots[i].busy);
    }
    expect(units[0].in_flight == 0 && units[1].in_flight == 0);
    fake_block_free(&disk);
    fake_block_free(&disc);
    return 0;
}
