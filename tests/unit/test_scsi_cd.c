// SPDX-License-Identifier: BSD-2-Clause-Patent
// The SCSI target: CD drives.
#include <check.h>

#include "fake_block.h"
#include "scsi_guest.h"

enum { SECTORS = 400 };

static struct fake_block disc, second;
static struct scsi_lun drive;

static void setup(void)
{
    static const uint8_t id[16] = {1};
    fake_block_init(&disc, SECTORS, 2048);
    fake_block_init(&second, 20, 2048);
    disc.info.read_only = second.info.read_only = true;
    disc.info.physical_size = second.info.physical_size = 2048;
    guest_init();
    scsi_lun_init(&drive, SCSI_CD, &disc.device, id, "a serial number that is a little too long");
    ck_assert(scsi_target_add(&guest.target, 3, &drive));
    drive.attentions = 0;
}

static void teardown(void)
{
    fake_block_free(&disc);
    fake_block_free(&second);
}

START_TEST(test_inquiry)
{
    guest_in(3, 96, CDB(0x12, 0, 0, 0, 96, 0));
    guest_expect_good(36);
    ck_assert_uint_eq(guest.data[0], 5);
    ck_assert_uint_eq(guest.data[1], 0x80);
    ck_assert_mem_eq(guest.data + 8, "Msft    Virtual DVD-ROM 1.0 ", 28);
    guest_in(3, 255, CDB(0x12, 1, 0, 0, 255, 0));
    guest_expect_good(7);
    guest_in(3, 255, CDB(0x12, 1, 0x80, 0, 255, 0));
    guest_expect_good(40);
    ck_assert_mem_eq(guest.data + 4, "a serial number that is a little too", 36);
    guest_in(3, 255, CDB(0x12, 1, 0xB0, 0, 255, 0));
    guest_expect_sense(5, 0x2400);
}
END_TEST

START_TEST(test_read)
{
    guest_in(3, 8, CDB(0x25));
    guest_expect_good(8);
    ck_assert_uint_eq(load_be32(guest.data), SECTORS - 1);
    ck_assert_uint_eq(load_be32(guest.data + 4), 2048);
    guest_in(3, 8192, CDB(0x28, 0, 0, 0, 1, 0x8C, 0, 0, 4));
    guest_expect_good(8192);
    ck_assert_mem_eq(guest.data, disc.bytes + 396 * 2048, 8192);
    guest_in(3, 8192, CDB(0xA8, 0, 0, 0, 1, 0x8D, 0, 0, 0, 4));
    guest_expect_sense(5, 0x2100);
    guest_out(3, 2048, CDB(0x2A, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(5, 0x2000);
}
END_TEST

START_TEST(test_toc)
{
    guest_in(3, 804, CDB(0x43, 0, 0, 0, 0, 0, 0, 3, 36));
    guest_expect_good(20);
    ck_assert_mem_eq(guest.data, "\0\x12\1\1\0\x14\1\0\0\0\0\0\0\x14\xaa\0\0\0\1\x90", 20);
    guest_in(3, 804, CDB(0x43, 2, 0, 0, 0, 0, 0xAA, 3, 36)); // lead-out only, in time
    guest_expect_good(12);
    ck_assert_mem_eq(guest.data + 4, "\0\x14\xaa\0\0\0\7\31", 8); // 550 frames: 7 s, 25 frames
    guest_in(3, 12, CDB(0x43, 0, 1, 0, 0, 0, 0, 0, 12));          // sessions
    guest_expect_good(12);
    ck_assert_mem_eq(guest.data, "\0\12\1\1\0\x14\1\0\0\0\0\0", 12);
    guest_in(3, 804, CDB(0x43, 0, 2, 0, 0, 0, 0, 3, 36));
    guest_expect_sense(5, 0x2400);
    guest_in(3, 804, CDB(0x43, 0, 0, 0, 0, 0, 2, 3, 36)); // a track that is not there
    guest_expect_sense(5, 0x2400);
}
END_TEST

START_TEST(test_configuration)
{
    guest_in(3, 255, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 255));
    ck_assert_uint_eq(guest.task.status, SCSI_GOOD);
    ck_assert_uint_eq(load_be32(guest.data), guest.task.transferred - 4);
    ck_assert_uint_eq(load_be16(guest.data + 6), 0x10);
    unsigned found = 0;
    for (uint32_t at = 8; at < guest.task.transferred; at += 4 + guest.data[at + 3]) {
        ck_assert_uint_eq(guest.data[at + 2] & 1, 1); // current
        found++;
    }
    ck_assert_uint_eq(found, 6);
    guest_in(3, 255, CDB(0x46, 2, 0, 0x10, 0, 0, 0, 0, 255));
    guest_expect_good(20);
    ck_assert_uint_eq(load_be16(guest.data + 8), 0x10);
    ck_assert_uint_eq(load_be32(guest.data + 12), 2048);
    guest_in(3, 255, CDB(0x46, 3, 0, 0x10, 0, 0, 0, 0, 255));
    guest_expect_sense(5, 0x2400);
    scsi_lun_change_medium(&drive, NULL);
    guest_in(3, 255, CDB(0x46, 1, 0, 0, 0, 0, 0, 0, 255)); // what is current without a disc
    guest_expect_good(8 + 12 + 12 + 8);
    ck_assert_uint_eq(load_be16(guest.data + 6), 0);
}
END_TEST

static void expect_event(uint8_t event, uint8_t status)
{
    guest_in(3, 8, CDB(0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8));
    guest_expect_good(8);
    ck_assert_mem_eq(guest.data, "\0\4\4\x10", 4);
    ck_assert_uint_eq(guest.data[4], event);
    ck_assert_uint_eq(guest.data[5], status);
}

START_TEST(test_events)
{
    expect_event(0, 2);
    scsi_lun_change_medium(&drive, NULL);
    expect_event(3, 0);
    expect_event(0, 0);
    scsi_lun_change_medium(&drive, &second.device);
    expect_event(2, 2);
    guest_in(3, 8, CDB(0x4A, 1, 0, 0, 0x40, 0, 0, 0, 8)); // a class that there is not
    guest_expect_good(4);
    ck_assert_mem_eq(guest.data, "\0\0\x80\x10", 4);
    guest_in(3, 8, CDB(0x4A, 0, 0, 0, 0x10, 0, 0, 0, 8)); // asynchronous
    guest_expect_sense(5, 0x2400);
}
END_TEST

START_TEST(test_no_disc)
{
    scsi_lun_change_medium(&drive, NULL);
    guest_none(3, CDB(0x00));
    guest_expect_sense(2, 0x3A00);
    guest_in(3, 8, CDB(0x25));
    guest_expect_sense(2, 0x3A00);
    guest_in(3, 2048, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1));
    guest_expect_sense(2, 0x3A00);
    guest_in(3, 804, CDB(0x43, 0, 0, 0, 0, 0, 0, 3, 36));
    guest_expect_sense(2, 0x3A00);
    guest_none(3, CDB(0x1B));
    guest_expect_good(0);
    scsi_lun_change_medium(&drive, &second.device);
    guest_none(3, CDB(0x1B, 0, 0, 0, 1)); // start
    guest_expect_sense(6, 0x2800);
    guest_none(3, CDB(0x1B, 0, 0, 0, 1));
    guest_expect_good(0);
    guest_in(3, 8, CDB(0x25));
    guest_expect_good(8);
    ck_assert_uint_eq(load_be32(guest.data), 19);
}
END_TEST

START_TEST(test_eject)
{
    guest_none(3, CDB(0x1E, 0, 0, 0, 1));
    guest_expect_good(0);
    guest_none(3, CDB(0x1B, 0, 0, 0, 2));
    guest_expect_sense(5, 0x5302);
    ck_assert(!drive.tray_open);
    guest_in(3, 64, CDB(0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 64));
    guest_expect_good(30);
    ck_assert_uint_eq(guest.data[8 + 6] & 2, 2); // locked
    guest_none(3, CDB(0x1E));
    guest_expect_good(0);
    guest_none(3, CDB(0x1B, 0, 0, 0, 2));
    guest_expect_good(0);
    ck_assert(drive.tray_open);
    expect_event(3, 1);
    guest_none(3, CDB(0x00));
    guest_expect_sense(2, 0x3A02);
    guest_none(3, CDB(0x1B, 0, 0, 0, 3)); // load
    guest_expect_good(0);
    expect_event(2, 2);
    guest_none(3, CDB(0x00));
    guest_expect_sense(6, 0x2800);
    guest_none(3, CDB(0x00));
    guest_expect_good(0);
    guest_none(3, CDB(0x1E, 0, 0, 0, 2));
    guest_expect_sense(5, 0x2400);
}
END_TEST

START_TEST(test_modes)
{
    guest_in(3, 64, CDB(0x1A, 0, 0x3F, 0, 64));
    guest_expect_good(4 + 12 + 22); // no block descriptor
    ck_assert_uint_eq(guest.data[3], 0);
    guest_in(3, 64, CDB(0x1A, 0, 0x08, 0, 64));
    guest_expect_sense(5, 0x2400);
    guest_out(3, 24, CDB(0x15, 0x10, 0, 0, 24));
    guest_expect_sense(5, 0x2000);
}
END_TEST

START_TEST(test_disc_information)
{
    guest_in(3, 64, CDB(0x51, 0, 0, 0, 0, 0, 0, 0, 64));
    guest_expect_good(34);
    ck_assert_uint_eq(load_be16(guest.data), 32);
    ck_assert_uint_eq(guest.data[2], 0x0E);
    guest_in(3, 64, CDB(0x51, 1, 0, 0, 0, 0, 0, 0, 64));
    guest_expect_sense(5, 0x2400);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scsi_cd");
    TCase *tests = tcase_create("scsi_cd");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_inquiry);
    tcase_add_test(tests, test_read);
    tcase_add_test(tests, test_toc);
    tcase_add_test(tests, test_configuration);
    tcase_add_test(tests, test_events);
    tcase_add_test(tests, test_no_disc);
    tcase_add_test(tests, test_eject);
    tcase_add_test(tests, test_modes);
    tcase_add_test(tests, test_disc_information);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
