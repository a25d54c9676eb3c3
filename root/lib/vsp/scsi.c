// SPDX-License-Identifier: BSD-2-Clause-Patent
// SCSI target: units, tasks, unit attentions, the table of commands. Contract in scsi.h.
#include "scsi.h"

#include "scsi_priv.h"

enum {
    OP_REQUEST_SENSE = 0x03,
    OP_INQUIRY = 0x12,
    OP_REPORT_LUNS = 0xA0,
    SERVICE_ACTION_MASK = 0x1F,
    CONTROL_NACA = 0x04,
};

// ---- how a task ends ---------------------------------------------------------------------------

static void finish(struct scsi_task *task)
{
    if (task->lun) {
        task->lun->in_flight--;
    }
    task->done(task);
}

void scsi_good(struct scsi_task *task)
{
    task->status = SCSI_GOOD;
    finish(task);
}

// SPC-4 4.5.3: fixed format.
static void make_sense(uint8_t *sense, enum sense_key key, enum sense_code code)
{
    memset(sense, 0, SCSI_SENSE_SIZE);
    sense[0] = 0x70; // current error
    sense[2] = (uint8_t)key;
    sense[7] = SCSI_SENSE_SIZE - 8;
    store_be16(sense + 12, (uint16_t)code);
}

void scsi_fail(struct scsi_task *task, enum sense_key key, enum sense_code code)
{
    task->status = SCSI_CHECK_CONDITION;
    task->sense_size = SCSI_SENSE_SIZE;
    make_sense(task->sense, key, code);
    finish(task);
}

void scsi_bad_field(struct scsi_task *task)
{
    scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_FIELD_IN_CDB);
}

uint32_t scsi_data_size(const struct scsi_task *task, enum scsi_direction direction)
{
    return task->direction == direction ? task->data.size : 0;
}

void scsi_reply(struct scsi_task *task, const void *bytes, uint32_t size, uint32_t allocation)
{
    const uint32_t room = scsi_data_size(task, SCSI_FROM_DEVICE);

    size = size < allocation ? size : allocation;
    size = size < room ? size : room;
    if (size && !task->data.write(task->data.ctx, 0, bytes, size)) {
        scsi_fail(task, KEY_ABORTED_COMMAND, CODE_DATA_PHASE);
        return;
    }
    task->transferred = size;
    scsi_good(task);
}

struct block_info scsi_info(const struct scsi_lun *lun)
{
    struct block_info info;

    lun->medium->ops->info(lun->medium, &info);
    return info;
}

bool scsi_check_ready(struct scsi_task *task)
{
    const struct scsi_lun *lun = task->lun;

    if (lun->tray_open) {
        scsi_fail(task, KEY_NOT_READY, CODE_TRAY_OPEN);
    } else if (!lun->medium || scsi_info(lun).sectors == 0) {
        scsi_fail(task, KEY_NOT_READY, CODE_NO_MEDIUM);
    } else if (lun->stopped) {
        scsi_fail(task, KEY_NOT_READY, CODE_STOPPED);
    } else {
        return true;
    }
    return false;
}

// ---- block requests ----------------------------------------------------------------------------

static void fail_by_block_status(struct scsi_task *task)
{
    switch (task->block_status) {
    case BLOCK_ERROR_RANGE:
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LBA);
        break;
    case BLOCK_ERROR_READ_ONLY:
        scsi_fail(task, KEY_DATA_PROTECT, CODE_WRITE_PROTECTED);
        break;
    case BLOCK_ERROR_SPACE:
        scsi_fail(task, KEY_DATA_PROTECT, CODE_SPACE);
        break;
    case BLOCK_ERROR_CORRUPT:
        scsi_fail(task, KEY_MEDIUM_ERROR, CODE_FORMAT_CORRUPTED);
        break;
    default:
        scsi_fail(task, KEY_MEDIUM_ERROR,
                  task->request.operation == BLOCK_READ ? CODE_READ_ERROR : CODE_WRITE_ERROR);
        break;
    }
}

// A backend may complete within block_submit(): then the loop goes on, not the callback, so that
// a task of many requests does not nest.
static void run_requests(struct scsi_task *task)
{
    while (task->block_status == BLOCK_OK && task->next(task)) {
        task->waiting = true;
        task->submitting = true;
        block_submit(task->lun->medium, &task->request);
        task->submitting = false;
        if (task->waiting) {
            return;
        }
    }
    if (task->block_status == BLOCK_OK) {
        scsi_good(task);
    } else {
        task->transferred = 0;
        fail_by_block_status(task);
    }
}

static void request_done(struct block_request *request, enum block_status status)
{
    struct scsi_task *task = request->owner;

    task->waiting = false;
    task->block_status = status;
    if (!task->submitting) {
        run_requests(task);
    }
}

void scsi_run(struct scsi_task *task, bool (*next)(struct scsi_task *task))
{
    task->next = next;
    task->block_status = BLOCK_OK;
    task->request.done = request_done;
    task->request.owner = task;
    run_requests(task);
}

// ---- unit attentions ---------------------------------------------------------------------------

static enum sense_code attention_code(uint32_t attention)
{
    switch (attention) {
    case SCSI_ATTENTION_RESET:
        return CODE_RESET;
    case SCSI_ATTENTION_MEDIUM:
        return CODE_MEDIUM_CHANGED;
    case SCSI_ATTENTION_CAPACITY:
        return CODE_CAPACITY_CHANGED;
    default:
        return CODE_LUNS_CHANGED;
    }
}

// Takes the most urgent attention. CODE_NONE: there is none.
static enum sense_code take_attention(struct scsi_lun *lun)
{
    const uint32_t attention = lun->attentions & -lun->attentions;

    lun->attentions &= ~attention;
    return attention ? attention_code(attention) : CODE_NONE;
}

// ---- commands of every unit --------------------------------------------------------------------

static void test_unit_ready(struct scsi_task *task)
{
    scsi_good(task);
}

static void request_sense(struct scsi_task *task)
{
    uint8_t sense[SCSI_SENSE_SIZE];

    if (task->cdb[1] & 1) { // descriptor format
        scsi_bad_field(task);
        return;
    }
    if (!task->lun) {
        make_sense(sense, KEY_ILLEGAL_REQUEST, CODE_LUN);
    } else {
        const enum sense_code code = take_attention(task->lun);
        make_sense(sense, code == CODE_NONE ? KEY_NO_SENSE : KEY_UNIT_ATTENTION, code);
    }
    scsi_reply(task, sense, sizeof sense, task->cdb[4]);
}

// SPC-4 6.33: peripheral addressing, one entry of 8 bytes a unit.
static void report_luns(struct scsi_target *target, struct scsi_task *task)
{
    enum { HEADER = 8, ENTRY = 8, SELECT_MAX = 2 };
    uint8_t list[HEADER + SCSI_LUNS * ENTRY] = {0};
    uint32_t size = HEADER;

    if (task->cdb[2] > SELECT_MAX) {
        scsi_bad_field(task);
        return;
    }
    // Select report 1 asks for well-known units only, of which there are none.
    for (uint32_t i = 0; i < SCSI_LUNS && task->cdb[2] != 1; i++) {
        if (target->luns[i]) {
            list[size + 1] = (uint8_t)i;
            size += ENTRY;
            target->luns[i]->attentions &= ~(uint32_t)SCSI_ATTENTION_LUNS;
        }
    }
    store_be32(list, size - HEADER);
    scsi_reply(task, list, size, load_be32(task->cdb + 6));
}

static const struct scsi_command commands[] = {
    {0x00, -1, LUN_ANY, NEEDS_READY, test_unit_ready},
    {OP_REQUEST_SENSE, -1, LUN_ANY, SKIPS_ATTENTION, request_sense},
    {0x08, -1, LUN_DISK, NEEDS_READY, scsi_read_write},
    {0x0A, -1, LUN_DISK, NEEDS_READY, scsi_read_write},
    {OP_INQUIRY, -1, LUN_ANY, SKIPS_ATTENTION, scsi_inquiry},
    {0x15, -1, LUN_DISK, NEEDS_NOTHING, scsi_mode_select},
    {0x1A, -1, LUN_ANY, NEEDS_NOTHING, scsi_mode_sense},
    {0x1B, -1, LUN_ANY, NEEDS_NOTHING, scsi_start_stop},
    {0x1E, -1, LUN_CD, NEEDS_NOTHING, scsi_prevent_allow},
    {0x25, -1, LUN_ANY, NEEDS_READY, scsi_read_capacity10},
    {0x28, -1, LUN_ANY, NEEDS_READY, scsi_read_write},
    {0x2A, -1, LUN_DISK, NEEDS_READY, scsi_read_write},
    {0x35, -1, LUN_DISK, NEEDS_READY, scsi_synchronize},
    {0x41, -1, LUN_DISK, NEEDS_READY, scsi_write_same},
    {0x42, -1, LUN_DISK, NEEDS_READY, scsi_unmap},
    {0x43, -1, LUN_CD, NEEDS_READY, scsi_read_toc},
    {0x46, -1, LUN_CD, SKIPS_ATTENTION, scsi_get_configuration},
    {0x4A, -1, LUN_CD, SKIPS_ATTENTION, scsi_get_event_status},
    {0x51, -1, LUN_CD, NEEDS_READY, scsi_read_disc_information},
    {0x55, -1, LUN_DISK, NEEDS_NOTHING, scsi_mode_select},
    {0x5A, -1, LUN_ANY, NEEDS_NOTHING, scsi_mode_sense},
    {0x88, -1, LUN_DISK, NEEDS_READY, scsi_read_write},
    {0x8A, -1, LUN_DISK, NEEDS_READY, scsi_read_write},
    {0x91, -1, LUN_DISK, NEEDS_READY, scsi_synchronize},
    {0x93, -1, LUN_DISK, NEEDS_READY, scsi_write_same},
    {0x9E, 0x10, LUN_DISK, NEEDS_READY, scsi_read_capacity16},
    {0xA8, -1, LUN_ANY, NEEDS_READY, scsi_read_write},
    {0xAA, -1, LUN_DISK, NEEDS_READY, scsi_read_write},
};

static uint8_t type_mask(const struct scsi_lun *lun)
{
    return lun->type == SCSI_CD ? LUN_CD : LUN_DISK;
}

// NULL: *code says why.
static const struct scsi_command *find_command(const struct scsi_task *task, enum sense_code *code)
{
    *code = CODE_OPCODE;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct scsi_command *command = &commands[i];
        if (command->opcode != task->cdb[0] || !(command->types & type_mask(task->lun))) {
            continue;
        }
        if (command->service_action < 0 ||
            command->service_action == (task->cdb[1] & SERVICE_ACTION_MASK)) {
            return command;
        }
        *code = CODE_FIELD_IN_CDB;
    }
    return NULL;
}

// The last byte of a CDB, of which only NACA still has a meaning (SAM-5 5.2).
static uint8_t control_byte(const uint8_t *cdb)
{
    static const uint8_t sizes[8] = {6, 10, 10, 0, 16, 12, 0, 0};
    const uint8_t size = sizes[cdb[0] >> 5];

    return size ? cdb[size - 1] : 0;
}

static void execute_on_unit(struct scsi_task *task)
{
    enum sense_code code;
    const struct scsi_command *command = find_command(task, &code);

    if (!command) {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, code);
        return;
    }
    if (!(command->needs & SKIPS_ATTENTION) && task->lun->attentions) {
        scsi_fail(task, KEY_UNIT_ATTENTION, take_attention(task->lun));
        return;
    }
    if (control_byte(task->cdb) & CONTROL_NACA) {
        scsi_bad_field(task);
        return;
    }
    if (!(command->needs & NEEDS_READY) || scsi_check_ready(task)) {
        command->execute(task);
    }
}

static void execute_without_unit(struct scsi_task *task)
{
    task->no_lun = true;
    if (task->cdb[0] == OP_INQUIRY) {
        scsi_inquiry(task);
    } else if (task->cdb[0] == OP_REQUEST_SENSE) {
        request_sense(task);
    } else {
        scsi_fail(task, KEY_ILLEGAL_REQUEST, CODE_LUN);
    }
}

void scsi_execute(struct scsi_target *target, uint32_t number, struct scsi_task *task)
{
    task->lun = number < SCSI_LUNS ? target->luns[number] : NULL;
    task->status = SCSI_GOOD;
    task->transferred = 0;
    task->sense_size = 0;
    task->no_lun = false;
    if (task->lun) {
        task->lun->in_flight++;
    }
    if (task->cdb[0] == OP_REPORT_LUNS) {
        report_luns(target, task); // answered even where there is no unit
    } else if (task->lun) {
        execute_on_unit(task);
    } else {
        execute_without_unit(task);
    }
}

// ---- units -------------------------------------------------------------------------------------

void scsi_lun_init(struct scsi_lun *lun, enum scsi_type type, struct block_device *medium,
                   const uint8_t id[16], const char *serial)
{
    memset(lun, 0, sizeof *lun);
    lun->type = type;
    lun->medium = medium;
    memcpy(lun->id, id, sizeof lun->id);
    for (uint32_t i = 0; i < SCSI_SERIAL_SIZE && serial[i]; i++) {
        lun->serial[i] = serial[i];
    }
    lun->attentions = SCSI_ATTENTION_RESET;
    lun->write_cache = true;
}

static void raise_on_others(struct scsi_target *target, const struct scsi_lun *changed)
{
    for (uint32_t i = 0; i < SCSI_LUNS; i++) {
        if (target->luns[i] && target->luns[i] != changed) {
            target->luns[i]->attentions |= SCSI_ATTENTION_LUNS;
        }
    }
}

bool scsi_target_add(struct scsi_target *target, uint32_t number, struct scsi_lun *lun)
{
    if (number >= SCSI_LUNS || target->luns[number]) {
        return false;
    }
    target->luns[number] = lun;
    raise_on_others(target, lun);
    return true;
}

struct scsi_lun *scsi_target_remove(struct scsi_target *target, uint32_t number)
{
    struct scsi_lun *lun = number < SCSI_LUNS ? target->luns[number] : NULL;

    if (lun) {
        target->luns[number] = NULL;
        raise_on_others(target, lun);
    }
    return lun;
}

void scsi_lun_reset(struct scsi_lun *lun)
{
    lun->attentions = SCSI_ATTENTION_RESET;
    lun->stopped = false;
    lun->locked = false;
    lun->write_cache = true;
}

void scsi_target_reset(struct scsi_target *target)
{
    for (uint32_t i = 0; i < SCSI_LUNS; i++) {
        if (target->luns[i]) {
            scsi_lun_reset(target->luns[i]);
        }
    }
}

void scsi_lun_resized(struct scsi_lun *lun)
{
    lun->attentions |= SCSI_ATTENTION_CAPACITY;
}

void scsi_lun_change_medium(struct scsi_lun *lun, struct block_device *medium)
{
    lun->medium = medium;
    lun->tray_open = false;
    lun->event = medium ? SCSI_NEW_MEDIA : SCSI_MEDIA_REMOVED;
    if (medium) {
        lun->attentions |= SCSI_ATTENTION_MEDIUM;
    }
}
