// SPDX-License-Identifier: BSD-2-Clause-Patent
// The SCSI target: commands, data, sense and unit attentions of disks.
#include <check.h>

#include "fake_block.h"
#include "scsi_guest.h"

enum { SECTORS = 40000, SIZE = SECTORS * 512 };

static struct fake_block disk, second;
static struct scsi_lun unit, other;
static const uint8_t id[16] = {0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0,
                               0x0F, 0x1E, 0x2D, 0x3C, 0x4B, 0x5A, 0x69, 0x78};

static void setup(void)
{
    fake_block_init(&disk, SECTORS, 512);
    fake_block_init(&second, 64, 4096);
    guest_init();
    scsi_lun_init(&unit, SCSI_DISK, &disk.device, id, "serial-1");
    scsi_lun_init(&other, SCSI_DISK, &second.device, id, "serial-2");
    ck_assert(scsi_target_add(&guest.target, 0, &unit));
    unit.attentions = 0;
}

static void teardown(void)
{
    ck_assert_uint_eq(unit.in_flight, 0);
    fake_block_free(&disk);
    fake_block_free(&second);
}

static uint8_t *sector(uint64_t number)
{
    return disk.bytes + number * 512;
}

// ---- identity ----------------------------------------------------------------------------------

START_TEST(test_inquiry)
{
    guest_in(0, 96, CDB(0x12, 0, 0, 0, 96, 0));
    guest_expect_good(36);
    ck_assert_uint_eq(guest.data[0], 0);
    ck_assert_uint_eq(guest.data[1], 0);
    ck_assert_uint_eq(guest.data[2], 5);
    ck_assert_uint_eq(guest.data[4], 31);
    ck_assert_mem_eq(guest.data + 8, "Msft    Virtual Disk    1.0 ", 28);
    guest_in(0, 96, CDB(0x12, 0, 0, 0, 5, 0)); // allocation length
    guest_expect_good(5);
    ck_assert_uint_eq(guest.data[5], GUEST_FILL);
    guest_in(0, 96, CDB(0x12, 0, 0x80, 0, 96, 0)); // a page without EVPD
    guest_expect_sense(5, 0x2400);
    guest_in(0, 96, CDB(0x12, 2, 0, 0, 96, 0));
    guest_expect_sense(5, 0x2400);
}
END_TEST

START_TEST(test_missing_unit)
{
    guest_in(7, 96, CDB(0x12, 0, 0, 0, 96, 0));
    guest_expect_good(36);
    ck_assert(guest.task.no_lun);
    ck_assert_uint_eq(guest.data[0], 0x7F);
    guest_none(7, CDB(0x00));
    guest_expect_sense(5, 0x2500);
    ck_assert(guest.task.no_lun);
    guest_in(7, 18, CDB(0x03, 0, 0, 0, 18, 0));
    guest_expect_good(18);
    ck_assert_uint_eq(guest.data[2], 5);
    ck_assert_uint_eq(guest.data[12], 0x25);
    guest_none(64, CDB(0x00));
    guest_expect_sense(5, 0x2500);
    guest_none(UINT32_MAX, CDB(0x00));
    guest_expect_sense(5, 0x2500);
}
END_TEST

START_TEST(test_vpd_pages)
{
    guest_in(0, 255, CDB(0x12, 1, 0, 0, 255, 0));
    guest_expect_good(10);
    ck_assert_mem_eq(guest.data, "\0\0\0\6\0\x80\x83\xb0\xb1\xb2", 10);
    guest_in(0, 255, CDB(0x12, 1, 0x80, 0, 255, 0));
    guest_expect_good(12);
    ck_assert_mem_eq(guest.data, "\0\x80\0\10serial-1", 12);
    guest_in(0, 255, CDB(0x12, 1, 0xB1, 0, 255, 0));
    guest_expect_good(64);
    ck_assert_uint_eq(load_be16(guest.data + 4), 1);
    guest_in(0, 255, CDB(0x12, 1, 0xB3, 0, 255, 0));
    guest_expect_sense(5, 0x2400);
}
END_TEST

START_TEST(test_vpd_identification)
{
    guest_in(0, 255, CDB(0x12, 1, 0x83, 0, 255, 0));
    guest_expect_good(4 + 44 + 12);
    ck_assert_uint_eq(load_be16(guest.data + 2), 56);
    ck_assert_mem_eq(guest.data + 4, "\2\1\0\50Msft    123456789abcdef00f1e2d3c4b5a6978", 44);
    ck_assert_mem_eq(guest.data + 48, "\1\3\0\10\x31\x23\x45\x67\x89\xab\xcd\xef", 12);
}
END_TEST

START_TEST(test_vpd_limits_and_provisioning)
{
    guest_in(0, 255, CDB(0x12, 1, 0xB0, 0, 255, 0));
    guest_expect_good(64);
    ck_assert_uint_eq(load_be32(guest.data + 8), 512);
    ck_assert_uint_eq(load_be32(guest.data + 20), 1 << 21);
    ck_assert_uint_eq(load_be32(guest.data + 24), 64);
    ck_assert_uint_eq(load_be32(guest.data + 28), 8);
    ck_assert_uint_eq(load_be64(guest.data + 36), 8192);
    guest_in(0, 255, CDB(0x12, 1, 0xB2, 0, 255, 0));
    guest_expect_good(8);
    ck_assert_mem_eq(guest.data + 4, "\0\xe4\2\0", 4);
    disk.info.trim_granularity = 0;
    guest_in(0, 255, CDB(0x12, 1, 0xB2, 0, 255, 0));
    ck_assert_mem_eq(guest.data + 4, "\0\0\0\0", 4);
    guest_in(0, 255, CDB(0x12, 1, 0xB0, 0, 255, 0));
    ck_assert_uint_eq(load_be32(guest.data + 20), 0);
}
END_TEST

START_TEST(test_report_luns)
{
    ck_assert(scsi_target_add(&guest.target, 63, &other));
    ck_assert(!scsi_target_add(&guest.target, 63, &other));
    ck_assert(!scsi_target_add(&guest.target, 64, &other));
    for (unsigned number = 0; number < 6; number += 5) { // also of a unit that is not there
        guest_in(number, 64, CDB(0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 64));
        guest_expect_good(24);
        ck_assert(!guest.task.no_lun);
        ck_assert_uint_eq(load_be32(guest.data), 16);
        ck_assert_uint_eq(load_be64(guest.data + 8), 0);
        ck_assert_uint_eq(load_be64(guest.data + 16), UINT64_C(63) << 48);
    }
    guest_in(0, 64, CDB(0xA0, 0, 1, 0, 0, 0, 0, 0, 0, 64)); // well-known ones only
    guest_expect_good(8);
    guest_in(0, 64, CDB(0xA0, 0, 3, 0, 0, 0, 0, 0, 0, 64));
    guest_expect_sense(5, 0x2400);
    ck_assert_ptr_eq(scsi_target_remove(&guest.target, 63), &other);
    ck_assert_ptr_null(scsi_target_remove(&guest.target, 63));
}
END_TEST

// ---- reading and writing -----------------------------------------------------------------------

static const struct {
    uint8_t cdb[16];
    uint64_t sector;
    uint32_t count;
} reads[] = {
    {{0x08, 0x00, 0x12, 0x34, 3}, 0x1234, 3},
    {{0x08, 0xE0, 0x12, 0x34, 0}, 0x1234, 256}, // the old LUN bits are not part of the address
    {{0x28, 0, 0, 0, 0x12, 0x34, 0, 0, 5}, 0x1234, 5},
    {{0xA8, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 6}, 0x1234, 6},
    {{0x88, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 7}, 0x1234, 7},
    {{0x28, 0x18, 0, 0, 0x9C, 0x3F, 0, 0, 1}, SECTORS - 1, 1},
    {{0x28, 0, 0, 0, 0, 0, 0, 2, 0}, 0, 512},
};

START_TEST(test_reads)
{
    const uint32_t size = reads[_i].count * 512;
    guest_in(0, GUEST_DATA, reads[_i].cdb);
    guest_expect_good(size);
    ck_assert_mem_eq(guest.data, sector(reads[_i].sector), size);
    ck_assert_uint_eq(guest.data[size], GUEST_FILL);
}
END_TEST

START_TEST(test_writes)
{
    uint8_t cdb[16];
    memcpy(cdb, reads[_i].cdb, sizeof cdb);
    cdb[0] |= 2; // READ to WRITE
    const uint32_t size = reads[_i].count * 512;
    uint8_t after = 0;
    const bool last = reads[_i].sector + reads[_i].count == SECTORS;
    if (!last) {
        after = *sector(reads[_i].sector + reads[_i].count);
    }
    guest_pattern(size);
    guest_out(0, size, cdb);
    guest_expect_good(size);
    ck_assert_mem_eq(guest.data, sector(reads[_i].sector), size);
    ck_assert(last || *sector(reads[_i].sector + reads[_i].count) == after);
    ck_assert_uint_eq(disk.last_forced, cdb[0] != 0x0A && (cdb[1] & 8) != 0);
}
END_TEST

static const struct {
    uint8_t cdb[16];
    uint8_t key;
    uint16_t code;
} refused[] = {
    {{0x28, 0, 0, 0, 0x9C, 0x40, 0, 0, 1}, 5, 0x2100}, // the first sector after the last
    {{0x28, 0, 0, 0, 0x9C, 0x3F, 0, 0, 2}, 5, 0x2100},
    {{0x88, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1}, 5, 0x2100},
    {{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, 5, 0x2100},
    {{0x28, 0x20, 0, 0, 0, 0, 0, 0, 1}, 5, 0x2400}, // RDPROTECT
    {{0x28, 0, 0, 0, 0, 0, 0, 2, 1}, 5, 0x2400},    // too long
    {{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 4}, 5, 0x2400}, // NACA
    {{0x28, 0, 0, 0, 0, 0, 0, 0, 9}, 5, 0x2400},    // more than the buffer holds
    {{0x9E, 0x12}, 5, 0x2400},                      // unknown service action
    {{0x5E}, 5, 0x2000},                            // PERSISTENT RESERVE IN
    {{0xFF}, 5, 0x2000},
    {{0x43}, 5, 0x2000}, // READ TOC is not for disks
};

START_TEST(test_refused)
{
    guest_in(0, 8 * 512, refused[_i].cdb);
    guest_expect_sense(refused[_i].key, refused[_i].code);
    ck_assert_uint_eq(disk.operations[BLOCK_READ], 0);
    ck_assert_uint_eq(guest.data[0], GUEST_FILL);
}
END_TEST

START_TEST(test_no_sectors)
{
    guest_none(0, CDB(0x28));
    guest_expect_good(0);
    guest_none(0, CDB(0x2A));
    guest_expect_good(0);
}
END_TEST

START_TEST(test_direction)
{
    guest_out(0, 512, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1)); // a READ that sends
    guest_expect_sense(5, 0x2400);
    guest_in(0, 512, CDB(0x2A, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(5, 0x2400);
    guest_out(0, 96, CDB(0x12, 0, 0, 0, 96, 0));
    guest_expect_good(0);
}
END_TEST

START_TEST(test_bad_memory)
{
    guest.bad_from = 700;
    guest_in(0, 1024, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2));
    guest_expect_sense(0xB, 0x4B00);
    guest.bad_from = 10;
    guest_in(0, 96, CDB(0x12, 0, 0, 0, 96, 0));
    guest_expect_sense(0xB, 0x4B00);
    guest_out(0, 24, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24));
    guest_expect_sense(0xB, 0x4B00);
    guest_out(0, 512, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(0xB, 0x4B00);
}
END_TEST

START_TEST(test_scattered)
{
    guest.scatter = 1000; // pieces that do not touch
    guest_in(0, 4096, CDB(0x28, 0, 0, 0, 1, 0, 0, 0, 8));
    guest_expect_good(4096);
    for (uint32_t i = 0; i < 4096; i++) {
        ck_assert_uint_eq(guest.data[i / 1000 * 1100 + i % 1000], sector(256)[i]);
    }
    guest.scatter = 3; // more pieces than a task has room for
    guest_in(0, 4096, CDB(0x28, 0, 0, 0, 1, 0, 0, 0, 8));
    guest_expect_sense(0xB, 0x4B00);
}
END_TEST

START_TEST(test_block_errors)
{
    static const struct {
        enum block_status status;
        uint8_t key;
        uint16_t read_code, write_code;
    } rows[] = {{BLOCK_ERROR_IO, 3, 0x1100, 0x0C00},
                {BLOCK_ERROR_CORRUPT, 3, 0x3100, 0x3100},
                {BLOCK_ERROR_SPACE, 7, 0x2707, 0x2707},
                {BLOCK_ERROR_READ_ONLY, 7, 0x2700, 0x2700},
                {BLOCK_ERROR_RANGE, 5, 0x2100, 0x2100}};
    for (unsigned i = 0; i < 5; i++) {
        disk.fail = rows[i].status;
        guest_in(0, 512, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1));
        guest_expect_sense(rows[i].key, rows[i].read_code);
        guest_out(0, 512, CDB(0x2A, 0, 0, 0, 0, 0, 0, 0, 1));
        guest_expect_sense(rows[i].key, rows[i].write_code);
    }
}
END_TEST

START_TEST(test_read_only)
{
    disk.info.read_only = true;
    guest_out(0, 512, CDB(0x2A, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(7, 0x2700);
    guest_out(0, 24, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24));
    guest_expect_sense(7, 0x2700);
    guest_out(0, 512, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(7, 0x2700);
    guest_in(0, 64, CDB(0x1A, 0, 0x3F, 0, 64));
    ck_assert_uint_eq(guest.data[2], 0x90);
    guest_none(0, CDB(0x35));
    guest_expect_good(0);
}
END_TEST

START_TEST(test_capacity)
{
    guest_in(0, 8, CDB(0x25));
    guest_expect_good(8);
    ck_assert_uint_eq(load_be32(guest.data), SECTORS - 1);
    ck_assert_uint_eq(load_be32(guest.data + 4), 512);
    guest_in(0, 32, CDB(0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32));
    guest_expect_good(32);
    ck_assert_uint_eq(load_be64(guest.data), SECTORS - 1);
    ck_assert_uint_eq(load_be32(guest.data + 8), 512);
    ck_assert_uint_eq(guest.data[13], 3);
    ck_assert_uint_eq(guest.data[14], 0xC0);
    disk.info.sectors = UINT64_C(0x100000001);
    guest_in(0, 8, CDB(0x25));
    ck_assert_uint_eq(load_be32(guest.data), UINT32_MAX);
    disk.info.sectors--;
    guest_in(0, 8, CDB(0x25));
    ck_assert_uint_eq(load_be32(guest.data), UINT32_MAX);
    disk.info.sectors--;
    guest_in(0, 8, CDB(0x25));
    ck_assert_uint_eq(load_be32(guest.data), UINT32_MAX - 1);
    disk.info.sectors = SECTORS;
}
END_TEST

START_TEST(test_synchronize)
{
    guest_none(0, CDB(0x35));
    guest_expect_good(0);
    guest_none(0, CDB(0x91, 2, 0, 0, 0, 0, 0, 0, 0x9C, 0x3F, 0, 0, 0, 1));
    guest_expect_good(0);
    ck_assert_uint_eq(disk.operations[BLOCK_FLUSH], 2);
    guest_none(0, CDB(0x35, 0, 0, 0, 0x9C, 0x41));
    guest_expect_sense(5, 0x2100);
    disk.fail = BLOCK_ERROR_IO;
    guest_none(0, CDB(0x35));
    guest_expect_sense(3, 0x0C00);
}
END_TEST

// ---- UNMAP, WRITE SAME -------------------------------------------------------------------------

static void put_unmap(unsigned index, uint64_t first, uint32_t count)
{
    store_be64(guest.data + 8 + index * 16, first);
    store_be32(guest.data + 16 + index * 16, count);
    store_be16(guest.data, (uint16_t)(22 + index * 16));
    store_be16(guest.data + 2, (uint16_t)(16 + index * 16));
}

START_TEST(test_unmap)
{
    static const uint8_t zeros[10 * 512];
    const uint8_t before = sector(110)[0];
    put_unmap(0, 100, 10);
    put_unmap(1, 0, 0);
    put_unmap(2, SECTORS - 10, 10);
    guest_out(0, 56, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 56));
    guest_expect_good(56);
    ck_assert_mem_eq(sector(100), zeros, sizeof zeros);
    ck_assert_mem_eq(sector(SECTORS - 10), zeros, sizeof zeros);
    ck_assert_uint_eq(sector(110)[0], before);
    ck_assert_uint_eq(disk.operations[BLOCK_TRIM], 2);
}
END_TEST

START_TEST(test_unmap_refused)
{
    put_unmap(0, 100, 10);
    put_unmap(1, SECTORS - 10, 11);
    guest_out(0, 40, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40));
    guest_expect_sense(5, 0x2100);
    ck_assert_uint_eq(disk.operations[BLOCK_TRIM], 0); // nothing before all is judged
    guest_out(0, 40, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 7));
    guest_expect_sense(5, 0x1A00);
    guest_out(0, 40, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 41));
    guest_expect_sense(5, 0x1A00);
    guest_out(0, 40, CDB(0x42, 1, 0, 0, 0, 0, 0, 0, 40));
    guest_expect_sense(5, 0x2400);
    guest_none(0, CDB(0x42));
    guest_expect_good(0);
    for (unsigned i = 0; i < 65; i++) {
        put_unmap(i, 0, 1);
    }
    guest_out(0, 8 + 65 * 16, CDB(0x42, 0, 0, 0, 0, 0, 0, 4, 24));
    guest_expect_sense(5, 0x2600);
    guest_out(0, 8 + 64 * 16, CDB(0x42, 0, 0, 0, 0, 0, 0, 4, 8));
    guest_expect_good(8 + 64 * 16);
    disk.info.trim_granularity = 0;
    guest_out(0, 24, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24));
    guest_expect_sense(5, 0x2000);
}
END_TEST

// The sum of many descriptors is bounded, not only each of them.
START_TEST(test_unmap_sum)
{
    disk.info.sectors = UINT64_C(1) << 40;
    for (unsigned i = 0; i < 3; i++) {
        put_unmap(i, 0, 0xFFFFFFFF);
    }
    guest_out(0, 56, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 56));
    guest_expect_sense(5, 0x2600);
    disk.info.sectors = SECTORS;
}
END_TEST

START_TEST(test_write_same)
{
    static const uint8_t zeros[512];
    guest_pattern(512);
    guest_out(0, 512, CDB(0x41, 0, 0, 0, 1, 0, 0, 1, 0x2C));
    guest_expect_good(512);
    for (unsigned i = 0; i < 300; i++) {
        ck_assert_mem_eq(sector(256 + i), guest.data, 512);
    }
    ck_assert_mem_ne(sector(556), guest.data, 512);
    memset(guest.data, 0, 512);
    guest_out(0, 512, CDB(0x93, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x2C));
    guest_expect_good(512);
    ck_assert_uint_eq(disk.operations[BLOCK_ZERO], 1);
    ck_assert_mem_eq(sector(555), zeros, 512);
    guest_none(0, CDB(0x93, 9, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1)); // no data
    guest_expect_good(0);
    ck_assert_mem_eq(sector(512), zeros, 512);
}
END_TEST

// A pattern that lies in two pieces.
START_TEST(test_write_same_scattered)
{
    guest_pattern(1000);
    guest.scatter = 300;
    guest_out(0, 512, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200));
    guest_expect_good(512);
    for (unsigned i = 0; i < 200; i++) {
        ck_assert_mem_eq(sector(i), guest.data, 300);
        ck_assert_mem_eq(sector(i) + 300, guest.data + 330, 212);
    }
}
END_TEST

START_TEST(test_write_same_refused)
{
    guest_pattern(512);
    guest_out(0, 512, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    guest_expect_sense(5, 0x2400);
    guest_out(0, 512, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 1));
    guest_expect_sense(5, 0x2400);
    guest_out(0, 512, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0x9C, 0x3F, 0, 0, 0, 2));
    guest_expect_sense(5, 0x2100);
    guest_out(0, 511, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(5, 0x2400);
    guest_out(0, 512, CDB(0x41, 1, 0, 0, 0, 0, 0, 0, 1)); // NDOB is of WRITE SAME (16) only
    guest_expect_sense(5, 0x2400);
    guest_out(0, 512, CDB(0x93, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(5, 0x2400);
    disk.info.trim_granularity = 0;
    guest_out(0, 512, CDB(0x93, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(5, 0x2400);
    guest_out(0, 512, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_good(512);
}
END_TEST

// ---- a backend that completes later ------------------------------------------------------------

START_TEST(test_asynchronous)
{
    disk.hold = true;
    guest_in(0, 512, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1));
    ck_assert_uint_eq(guest.done, 0);
    ck_assert_uint_eq(unit.in_flight, 1);
    ck_assert_uint_eq(fake_block_release(&disk), 1);
    guest_expect_good(512);
    ck_assert_mem_eq(guest.data, sector(0), 512);
    for (unsigned i = 0; i < 64; i++) {
        put_unmap(i, i * 100, 1);
    }
    guest_out(0, 8 + 64 * 16, CDB(0x42, 0, 0, 0, 0, 0, 0, 4, 8));
    ck_assert_uint_eq(guest.done, 0);
    ck_assert_uint_eq(fake_block_release(&disk), 64); // one after the other
    guest_expect_good(8 + 64 * 16);
    guest_out(0, 8 + 64 * 16, CDB(0x42, 0, 0, 0, 0, 0, 0, 4, 8));
    disk.fail = BLOCK_ERROR_IO;
    ck_assert_uint_eq(fake_block_release(&disk), 1); // the first error ends it
    guest_expect_sense(3, 0x0C00);
}
END_TEST

// A unit that is removed finishes what it has.
START_TEST(test_removed_in_flight)
{
    disk.hold = true;
    guest_in(0, 512, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1));
    ck_assert_ptr_eq(scsi_target_remove(&guest.target, 0), &unit);
    ck_assert_uint_eq(unit.in_flight, 1);
    fake_block_release(&disk);
    guest_expect_good(512);
    ck_assert_uint_eq(unit.in_flight, 0);
    guest_none(0, CDB(0x00));
    guest_expect_sense(5, 0x2500);
}
END_TEST

// ---- unit attentions, modes, power -------------------------------------------------------------

START_TEST(test_attentions)
{
    scsi_lun_reset(&unit);
    scsi_lun_resized(&unit);
    ck_assert(scsi_target_add(&guest.target, 1, &other));
    guest_in(0, 96, CDB(0x12, 0, 0, 0, 96, 0)); // INQUIRY does not care
    guest_expect_good(36);
    guest_none(0, CDB(0x00));
    guest_expect_sense(6, 0x2900);
    guest_in(0, 512, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(6, 0x2A09);
    guest_none(0, CDB(0x00));
    guest_expect_sense(6, 0x3F0E);
    guest_none(0, CDB(0x00));
    guest_expect_good(0);
    scsi_lun_resized(&unit);
    guest_in(0, 18, CDB(0x03, 0, 0, 0, 18, 0)); // REQUEST SENSE takes it as data
    guest_expect_good(18);
    ck_assert_mem_eq(guest.data, "\x70\0\6\0\0\0\0\12\0\0\0\0\x2a\x09\0\0\0\0", 18);
    guest_in(0, 18, CDB(0x03, 0, 0, 0, 18, 0));
    ck_assert_uint_eq(guest.data[2], 0);
    guest_in(0, 18, CDB(0x03, 1, 0, 0, 18, 0));
    guest_expect_sense(5, 0x2400);
    scsi_target_remove(&guest.target, 1);
    guest_in(0, 64, CDB(0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 64)); // it has seen the list
    guest_expect_good(16);
    guest_none(0, CDB(0x00));
    guest_expect_good(0);
}
END_TEST

START_TEST(test_resize)
{
    disk.info.sectors = SECTORS - 100;
    guest_in(0, 512, CDB(0x28, 0, 0, 0, 0x9C, 0x3F, 0, 0, 1));
    guest_expect_sense(5, 0x2100);
    disk.info.sectors = SECTORS;
    scsi_lun_resized(&unit);
    guest_in(0, 8, CDB(0x25));
    guest_expect_sense(6, 0x2A09);
    guest_in(0, 8, CDB(0x25));
    ck_assert_uint_eq(load_be32(guest.data), SECTORS - 1);
}
END_TEST

START_TEST(test_mode_sense)
{
    guest_in(0, 255, CDB(0x1A, 0, 0x08, 0, 255));
    guest_expect_good(4 + 8 + 20);
    ck_assert_uint_eq(guest.data[0], 31);
    ck_assert_uint_eq(guest.data[2], 0x10);
    ck_assert_uint_eq(guest.data[3], 8);
    ck_assert_uint_eq(load_be32(guest.data + 4), SECTORS);
    ck_assert_uint_eq(load_be32(guest.data + 8), 512);
    ck_assert_uint_eq(guest.data[12], 0x08);
    ck_assert_uint_eq(guest.data[13], 18);
    ck_assert_uint_eq(guest.data[14], 4);
    guest_in(0, 255, CDB(0x5A, 8, 0x3F, 0, 0, 0, 0, 0, 255));
    guest_expect_good(8 + 12 + 20 + 12 + 12);
    ck_assert_uint_eq(load_be16(guest.data), 62);
    ck_assert_uint_eq(load_be16(guest.data + 6), 0);
    guest_in(0, 255, CDB(0x1A, 8, 0x48, 0, 255)); // changeable
    ck_assert_uint_eq(guest.data[6], 4);
    guest_in(0, 255, CDB(0x1A, 8, 0xC8, 0, 255)); // saved
    guest_expect_sense(5, 0x3900);
    guest_in(0, 255, CDB(0x1A, 8, 0x19, 0, 255));
    guest_expect_sense(5, 0x2400);
    guest_in(0, 255, CDB(0x1A, 8, 0x08, 1, 255));
    guest_expect_sense(5, 0x2400);
    guest_in(0, 255, CDB(0x1A, 8, 0x3F, 0xFF, 255));
    guest_expect_good(4 + 12 + 20 + 12 + 12);
}
END_TEST

START_TEST(test_write_cache_off)
{
    uint8_t list[24];
    guest_in(0, 24, CDB(0x1A, 8, 0x08, 0, 24));
    memcpy(list, guest.data, sizeof list);
    list[6] &= ~4;
    memcpy(guest.data, list, sizeof list);
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 24));
    guest_expect_good(24);
    ck_assert_uint_eq(disk.operations[BLOCK_FLUSH], 1); // what was written before is durable too
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 24));
    guest_expect_good(24);
    ck_assert_uint_eq(disk.operations[BLOCK_FLUSH], 1); // which it has been since
    guest_in(0, 24, CDB(0x1A, 8, 0x08, 0, 24));
    ck_assert_uint_eq(guest.data[6], 0);
    guest_out(0, 512, CDB(0x2A, 0, 0, 0, 0, 0, 0, 0, 1));
    ck_assert(disk.last_forced);
    list[6] |= 4;
    memset(guest.data, 0, 8); // now by the longer command
    memcpy(guest.data + 8, list + 4, 20);
    guest_out(0, 28, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0, 28));
    guest_expect_good(28);
    guest_out(0, 512, CDB(0x2A, 0, 0, 0, 0, 0, 0, 0, 1));
    ck_assert(!disk.last_forced);
    ck_assert_uint_eq(disk.operations[BLOCK_FLUSH], 1);
    disk.fail = BLOCK_ERROR_IO;
    list[6] &= ~4;
    memcpy(guest.data, list, sizeof list);
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 24));
    guest_expect_sense(3, 0x0C00);
}
END_TEST

START_TEST(test_mode_select_refused)
{
    guest_in(0, 24, CDB(0x1A, 8, 0x08, 0, 24));
    guest.data[7] = 1; // a field that cannot change
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 24));
    guest_expect_sense(5, 0x2600);
    guest.data[7] = 0;
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 23));
    guest_expect_sense(5, 0x2600);
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 3));
    guest_expect_sense(5, 0x1A00);
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 25));
    guest_expect_sense(5, 0x1A00);
    guest_out(0, 24, CDB(0x15, 0x11, 0, 0, 24));
    guest_expect_sense(5, 0x2400);
    guest_out(0, 24, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0xFF, 0xFF));
    guest_expect_sense(5, 0x1A00);
    guest.data[3] = 200; // block descriptors beyond the list
    guest_out(0, 24, CDB(0x15, 0x10, 0, 0, 24));
    guest_expect_sense(5, 0x1A00);
    guest.data[3] = 8;
    guest_out(0, 13, CDB(0x15, 0x10, 0, 0, 13)); // half a page header
    guest_expect_sense(5, 0x2600);
    ck_assert(unit.write_cache);
}
END_TEST

START_TEST(test_start_stop)
{
    guest_none(0, CDB(0x1B));
    guest_expect_good(0);
    ck_assert_uint_eq(disk.operations[BLOCK_FLUSH], 1);
    guest_none(0, CDB(0x00));
    guest_expect_sense(2, 0x0402);
    guest_in(0, 512, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(2, 0x0402);
    guest_none(0, CDB(0x1B, 0, 0, 0, 1));
    guest_expect_good(0);
    guest_none(0, CDB(0x00));
    guest_expect_good(0);
    guest_none(0, CDB(0x1B, 0, 0, 0, 2)); // eject is not for disks
    guest_expect_sense(5, 0x2400);
    guest_none(0, CDB(0x1B, 0, 0, 0, 0x10));
    guest_expect_sense(5, 0x2400);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scsi");
    TCase *tests = tcase_create("scsi");
    const int count = (int)(sizeof reads / sizeof *reads);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_inquiry);
    tcase_add_test(tests, test_missing_unit);
    tcase_add_test(tests, test_vpd_pages);
    tcase_add_test(tests, test_vpd_identification);
    tcase_add_test(tests, test_vpd_limits_and_provisioning);
    tcase_add_test(tests, test_report_luns);
    tcase_add_loop_test(tests, test_reads, 0, count);
    tcase_add_loop_test(tests, test_writes, 0, count);
    tcase_add_loop_test(tests, test_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(tests, test_no_sectors);
    tcase_add_test(tests, test_direction);
    tcase_add_test(tests, test_bad_memory);
    tcase_add_test(tests, test_scattered);
    tcase_add_test(tests, test_block_errors);
    tcase_add_test(tests, test_read_only);
    tcase_add_test(tests, test_capacity);
    tcase_add_test(tests, test_synchronize);
    tcase_add_test(tests, test_unmap);
    tcase_add_test(tests, test_unmap_refused);
    tcase_add_test(tests, test_unmap_sum);
    tcase_add_test(tests, test_write_same);
    tcase_add_test(tests, test_write_same_scattered);
    tcase_add_test(tests, test_write_same_refused);
    tcase_add_test(tests, test_asynchronous);
    tcase_add_test(tests, test_removed_in_flight);
    tcase_add_test(tests, test_attentions);
    tcase_add_test(tests, test_resize);
    tcase_add_test(tests, test_mode_sense);
    tcase_add_test(tests, test_write_cache_off);
    tcase_add_test(tests, test_mode_select_refused);
    tcase_add_test(tests, test_start_stop);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
