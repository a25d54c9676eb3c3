// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the parts of the SCSI target share.
#pragma once
#include "../bytes.h"
#include "../mem.h"
#include "scsi.h"

// SPC-4 4.5.6 sense keys; 4.5.7 additional sense codes, as code << 8 | qualifier.
enum sense_key {
    KEY_NO_SENSE = 0x0,
    KEY_NOT_READY = 0x2,
    KEY_MEDIUM_ERROR = 0x3,
    KEY_ILLEGAL_REQUEST = 0x5,
    KEY_UNIT_ATTENTION = 0x6,
    KEY_DATA_PROTECT = 0x7,
    KEY_ABORTED_COMMAND = 0xB,
};

enum sense_code {
    CODE_NONE = 0x0000,
    CODE_STOPPED = 0x0402, // initializing command required
    CODE_WRITE_ERROR = 0x0C00,
    CODE_READ_ERROR = 0x1100,
    CODE_LIST_LENGTH = 0x1A00,
    CODE_OPCODE = 0x2000,
    CODE_LBA = 0x2100,
    CODE_FIELD_IN_CDB = 0x2400,
    CODE_LUN = 0x2500,
    CODE_FIELD_IN_LIST = 0x2600,
    CODE_WRITE_PROTECTED = 0x2700,
    CODE_SPACE = 0x2707,
    CODE_MEDIUM_CHANGED = 0x2800,
    CODE_RESET = 0x2900,
    CODE_CAPACITY_CHANGED = 0x2A09,
    CODE_FORMAT_CORRUPTED = 0x3100,
    CODE_SAVING = 0x3900,
    CODE_NO_MEDIUM = 0x3A00,
    CODE_TRAY_OPEN = 0x3A02,
    CODE_LUNS_CHANGED = 0x3F0E,
    CODE_DATA_PHASE = 0x4B00,
    CODE_REMOVAL_PREVENTED = 0x5302,
};

enum {
    LUN_DISK = 1, // units that know a command
    LUN_CD = 2,
    LUN_ANY = 3,
};

enum command_needs {
    NEEDS_NOTHING = 0,
    NEEDS_READY = 1,    // a medium, and the unit started
    SKIPS_ATTENTION = 2 // the command is executed in spite of a unit attention
};

struct scsi_command {
    uint8_t opcode;
    int8_t service_action; // -1: the command has none
    uint8_t types;         // LUN_DISK, LUN_CD
    uint8_t needs;         // enum command_needs
    void (*execute)(struct scsi_task *task);
};

// ---- scsi.c: how a task ends -----------------------------------------------------------------

void scsi_good(struct scsi_task *task);
void scsi_fail(struct scsi_task *task, enum sense_key key, enum sense_code code);
// The CDB asks for what there is not.
void scsi_bad_field(struct scsi_task *task);
// Data for the guest: at most `allocation` bytes, and what its buffer holds.
void scsi_reply(struct scsi_task *task, const void *bytes, uint32_t size, uint32_t allocation);
// Bytes that the guest's buffer has for this command.
uint32_t scsi_data_size(const struct scsi_task *task, enum scsi_direction direction);
// Whether a command can reach the medium; false: the task has been ended.
bool scsi_check_ready(struct scsi_task *task);
struct block_info scsi_info(const struct scsi_lun *lun);

// Runs block requests until next() has no more or one fails, then ends the task.
void scsi_run(struct scsi_task *task, bool (*next)(struct scsi_task *task));

// ---- scsi_inquiry.c, scsi_mode.c, scsi_disk.c, scsi_unmap.c, scsi_cd.c: commands --------------

void scsi_inquiry(struct scsi_task *task); // also of units that are not there
void scsi_mode_sense(struct scsi_task *task);
void scsi_mode_select(struct scsi_task *task);

void scsi_read_write(struct scsi_task *task);
void scsi_synchronize(struct scsi_task *task);
void scsi_flush(struct scsi_task *task); // ends the task when all that was written is durable
void scsi_read_capacity10(struct scsi_task *task);
void scsi_read_capacity16(struct scsi_task *task);

void scsi_unmap(struct scsi_task *task);
void scsi_write_same(struct scsi_task *task);

void scsi_start_stop(struct scsi_task *task);
void scsi_prevent_allow(struct scsi_task *task);
void scsi_read_toc(struct scsi_task *task);
void scsi_get_configuration(struct scsi_task *task);
void scsi_get_event_status(struct scsi_task *task);
void scsi_read_disc_information(struct scsi_task *task);

// Where and how much, of the commands that name sectors.
struct scsi_extent {
    uint64_t sector;
    uint64_t count;
};
// From the CDB, by the group of its operation code (SPC-4 4.2.5).
struct scsi_extent scsi_cdb_extent(const uint8_t *cdb);
bool scsi_extent_fits(const struct scsi_extent *extent, const struct block_info *info);
