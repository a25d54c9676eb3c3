// SPDX-License-Identifier: BSD-2-Clause-Patent
// Whoever issues SCSI commands, for tests of the target: a buffer, one task, and its result.
#pragma once
#include <check.h>
#include <string.h>

#include "root/lib/bytes.h"
#include "root/lib/vsp/scsi.h"

enum { GUEST_DATA = 512 * 1024, GUEST_FILL = 0x77 };

#define CDB(...) ((const uint8_t[SCSI_CDB_SIZE]){__VA_ARGS__})

static struct {
    struct scsi_target target;
    struct scsi_task task;
    unsigned done;
    uint32_t bad_from; // bytes from here on are no memory; 0: all are
    uint32_t scatter;  // bytes of each piece, and a tenth more to the next; 0: in one piece
    uint8_t data[GUEST_DATA];
} guest;

static inline uint8_t *guest_at(uint32_t offset)
{
    const uint32_t piece = guest.scatter;
    return guest.data +
           (piece ? offset / piece * (piece + (piece + 9) / 10) + offset % piece : offset);
}

static inline bool guest_has(uint32_t offset, size_t size)
{
    ck_assert_uint_le(offset + size, guest.task.data.size); // the target keeps to the buffer
    return !guest.bad_from || offset + size <= guest.bad_from;
}

static inline bool guest_read(void *ctx, uint32_t offset, void *to, size_t size)
{
    (void)ctx;
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)to)[i] = *guest_at(offset + (uint32_t)i);
    }
    return guest_has(offset, size);
}

static inline bool guest_write(void *ctx, uint32_t offset, const void *from, size_t size)
{
    (void)ctx;
    if (guest_has(offset, size)) {
        memcpy(guest_at(offset), from, size);
        return true;
    }
    return false;
}

static inline void *guest_span(void *ctx, uint32_t offset, bool write, size_t *length)
{
    const uint32_t end = guest.scatter ? (offset / guest.scatter + 1) * guest.scatter : offset + 97;
    const uint32_t size = guest.task.data.size;
    (void)ctx;
    (void)write;
    *length = (end < size ? end : size) - offset;
    return guest_has(offset, *length) ? guest_at(offset) : NULL;
}

static inline void guest_done(struct scsi_task *task)
{
    ck_assert_ptr_eq(task, &guest.task);
    guest.done++;
}

static inline void guest_init(void)
{
    memset(&guest, 0, sizeof guest);
    guest.task.done = guest_done;
}

static inline void guest_run(uint32_t number, enum scsi_direction direction, uint32_t size,
                             const uint8_t *cdb)
{
    struct scsi_task *task = &guest.task;
    memcpy(task->cdb, cdb, SCSI_CDB_SIZE);
    task->direction = direction;
    task->data = (struct scsi_buffer){NULL, size, guest_read, guest_write, guest_span};
    guest.done = 0;
    scsi_execute(&guest.target, number, task);
}

static inline void guest_none(uint32_t number, const uint8_t *cdb)
{
    guest_run(number, SCSI_NO_DATA, 0, cdb);
}

static inline void guest_in(uint32_t number, uint32_t size, const uint8_t *cdb)
{
    memset(guest.data, GUEST_FILL, sizeof guest.data);
    guest_run(number, SCSI_FROM_DEVICE, size, cdb);
}

// What is in guest.data goes to the device.
static inline void guest_out(uint32_t number, uint32_t size, const uint8_t *cdb)
{
    guest_run(number, SCSI_TO_DEVICE, size, cdb);
}

static inline void guest_pattern(uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        guest.data[i] = (uint8_t)(i * 13 + (i >> 9) + 7);
    }
}

static inline void guest_expect_good(uint32_t transferred)
{
    ck_assert_uint_eq(guest.done, 1);
    ck_assert_msg(guest.task.status == SCSI_GOOD, "sense %x/%02x%02x", guest.task.sense[2],
                  guest.task.sense[12], guest.task.sense[13]);
    ck_assert_uint_eq(guest.task.sense_size, 0);
    ck_assert_uint_eq(guest.task.transferred, transferred);
}

static inline void guest_expect_sense(uint8_t key, uint16_t code)
{
    ck_assert_uint_eq(guest.done, 1);
    ck_assert_uint_eq(guest.task.status, SCSI_CHECK_CONDITION);
    ck_assert_uint_eq(guest.task.sense_size, SCSI_SENSE_SIZE);
    ck_assert_uint_eq(guest.task.sense[0], 0x70);
    ck_assert_uint_eq(guest.task.sense[2], key);
    ck_assert_uint_eq(load_be16(guest.task.sense + 12), code);
    ck_assert_uint_eq(guest.task.transferred, 0);
}
