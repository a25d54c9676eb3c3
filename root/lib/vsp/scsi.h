// SPDX-License-Identifier: BSD-2-Clause-Patent
// SCSI target with disks and CD drives on block devices (T10 SAM-5, SPC-4, SBC-3, MMC-6). It knows
// no transport: whoever has commands (storvsp.h) hands in tasks.
//
// Everything in a task's CDB and data is the guest's: read once, validated, and bounded: one task
// moves at most SCSI_TRANSFER_MAX bytes and clears at most SCSI_WRITE_SAME_MAX, and none of it
// allocates.
//
// Locking: none; the owner serialises all calls for one target and the devices beneath it.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../image/block.h"

enum {
    SCSI_LUNS = 64, // 0..63, with the addresses that all transports can carry
    SCSI_CDB_SIZE = 16,
    SCSI_SENSE_SIZE = 18, // fixed format
    SCSI_SERIAL_SIZE = 36,
    SCSI_TRANSFER_MAX = 256 * 1024,
    SCSI_SEGMENTS = SCSI_TRANSFER_MAX / 4096 + 1,
    SCSI_UNMAP_DESCRIPTORS = 64,
    SCSI_UNMAP_MAX = 1 << 30,              // bytes of one UNMAP
    SCSI_WRITE_SAME_MAX = 4 * 1024 * 1024, // bytes of one WRITE SAME
};

enum scsi_status {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
};

enum scsi_direction { SCSI_NO_DATA, SCSI_TO_DEVICE, SCSI_FROM_DEVICE };

// The data buffer of a command. Offsets and sizes in bytes; the callee checks them against the
// buffer. False or NULL: not inside it, or not memory.
struct scsi_buffer {
    void *ctx;
    uint32_t size;
    bool (*read)(void *ctx, uint32_t offset, void *to, size_t size);
    bool (*write)(void *ctx, uint32_t offset, const void *from, size_t size);
    // Memory for direct transfer, and how much of it there is from `offset` on. Stays until the
    // task is done.
    void *(*span)(void *ctx, uint32_t offset, bool write, size_t *length);
};

struct scsi_lun;

// One command. The target has it from scsi_execute() until done(), which may come within the call.
struct scsi_task {
    // Set by the submitter.
    uint8_t cdb[SCSI_CDB_SIZE];
    enum scsi_direction direction;
    struct scsi_buffer data; // of no use with SCSI_NO_DATA
    void (*done)(struct scsi_task *task);
    void *owner;
    // Result.
    enum scsi_status status;
    uint32_t transferred; // bytes of data that have moved
    uint8_t sense_size;   // 0 or SCSI_SENSE_SIZE
    uint8_t sense[SCSI_SENSE_SIZE];
    bool no_lun; // there is no such logical unit
    // Private.
    struct scsi_lun *lun;
    struct block_request request;
    bool (*next)(struct scsi_task *task); // prepares the next request; false: no more
    bool submitting, waiting;
    enum block_status block_status;
    uint64_t sector, left; // what remains to be done
    uint32_t index, count;
    union {
        struct block_segment segments[SCSI_SEGMENTS];
        uint8_t descriptors[SCSI_UNMAP_DESCRIPTORS * 16];
    };
};

enum scsi_type { SCSI_DISK = 0x00, SCSI_CD = 0x05 };

// Conditions that the next command is told of, the most urgent first.
enum scsi_attention {
    SCSI_ATTENTION_RESET = 1 << 0,    // power on, reset
    SCSI_ATTENTION_MEDIUM = 1 << 1,   // the medium may have changed
    SCSI_ATTENTION_CAPACITY = 1 << 2, // the disk has another size
    SCSI_ATTENTION_LUNS = 1 << 3,     // logical units have come or gone
    SCSI_ATTENTIONS = 0xF,
};

enum scsi_media_event { SCSI_NO_EVENT = 0, SCSI_NEW_MEDIA = 2, SCSI_MEDIA_REMOVED = 3 };

// A logical unit, in its owner's memory. The owner reads type, medium and tray_open; everything
// changes by the functions below only.
struct scsi_lun {
    enum scsi_type type;
    struct block_device *medium; // NULL: a CD drive without a disc; a disk always has one
    uint8_t id[16];
    char serial[SCSI_SERIAL_SIZE + 1];
    uint32_t in_flight;          // tasks that are not done
    uint32_t attentions;         // enum scsi_attention
    bool write_cache;            // else every write is durable at completion
    bool stopped;                // by START STOP UNIT
    bool locked;                 // PREVENT ALLOW MEDIUM REMOVAL
    bool tray_open;              // the guest has ejected the disc; it is still in the tray
    enum scsi_media_event event; // not yet told by GET EVENT STATUS NOTIFICATION
};

struct scsi_target {
    struct scsi_lun *luns[SCSI_LUNS];
};

// A logical unit of that type on a block device, with sectors of 512 or 4096 bytes for a disk and
// 2048 for a CD; NULL: an empty CD drive. id is its identity, the same at each start (that of the
// medium, or one from the configuration); serial is printable ASCII, cut at SCSI_SERIAL_SIZE.
void scsi_lun_init(struct scsi_lun *lun, enum scsi_type type, struct block_device *medium,
                   const uint8_t id[16], const char *serial);

// Hot add and remove; the other units tell the guest. Adding fails when the number is taken or too
// large. A unit that was removed gets no new tasks; its memory and medium are free when its
// in_flight is 0.
bool scsi_target_add(struct scsi_target *target, uint32_t number, struct scsi_lun *lun);
struct scsi_lun *scsi_target_remove(struct scsi_target *target, uint32_t number);

// A reset of the whole target (bus or adapter). Tasks are not aborted: the transport waits.
void scsi_target_reset(struct scsi_target *target);
void scsi_lun_reset(struct scsi_lun *lun);

// The medium has grown: the next command finds out.
void scsi_lun_resized(struct scsi_lun *lun);

// Exchanges the disc of a CD drive, NULL: takes it out. The old one is free when in_flight is 0.
void scsi_lun_change_medium(struct scsi_lun *lun, struct block_device *medium);

// Executes a command of the unit `number`, whether there is one or not.
void scsi_execute(struct scsi_target *target, uint32_t number, struct scsi_task *task);
