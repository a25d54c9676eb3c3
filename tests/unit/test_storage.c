// SPDX-License-Identifier: BSD-2-Clause-Patent
// The whole storage stack: a guest's SRBs over VMBus to a VHDX image, with flushes, trims, growth
// and a crash.
#include <check.h>

#include "root/lib/image/vhdx.h"
#include "storvsp_guest.h"
#include "vhdx_make.h"

enum { DISK_MIB = 8, TRANSFER = 64 };

static struct sg *sg;
static struct memory_file memory;
static struct vhdx vhdx;
static uint64_t map[64];
static uint8_t model[(DISK_MIB + 4) * 0x100000];

static void open_image(void)
{
    const struct vhdx_params params = {.unique = {0x31}, .memory = map, .memory_size = sizeof map};
    const enum vhdx_error error = vhdx_open(&vhdx, &memory.file, &params);
    ck_assert_msg(error == VHDX_OK, "%s", vhdx_error_text(error));
}

// The guest's disk is the image.
static void setup(void)
{
    const struct make_options options = {.disk_size = DISK_MIB * MIB,
                                         .block_size = (uint32_t)MIB,
                                         .sector_size = 512,
                                         .physical_size = 4096};
    make_vhdx(&memory, &options);
    memory_file_journal(&memory);
    memset(model, 0, sizeof model);
    open_image();
    sg = sg_ready(8, 0);
    sg->unit.medium = &vhdx.device;
}

static void teardown(void)
{
    sg_destroy(sg);
    memory_file_free(&memory);
}

static uint8_t *buffer(void)
{
    return vg_at(sg->vg, sg->data);
}

static void write_sectors(uint16_t sector, uint8_t seed, bool fua)
{
    struct sg_srb srb = sg_rw(0x2A, sector, TRANSFER);
    srb.cdb[1] = fua ? 8 : 0;
    for (unsigned i = 0; i < TRANSFER * 512; i++) {
        buffer()[i] = (uint8_t)(seed + i * 3 + (i >> 9));
    }
    memcpy(model + sector * 512, buffer(), TRANSFER * 512);
    sg_run_srb(sg, &srb, SRB_SUCCESS, 0, TRANSFER * 512);
}

static void check_sectors(uint16_t sector)
{
    const struct sg_srb srb = sg_rw(0x28, sector, TRANSFER);
    memset(buffer(), 0x99, TRANSFER * 512);
    sg_run_srb(sg, &srb, SRB_SUCCESS, 0, TRANSFER * 512);
    ck_assert_mem_eq(buffer(), model + sector * 512, TRANSFER * 512);
}

static void run_without_data(uint8_t opcode)
{
    const struct sg_srb srb = {.cdb_size = 10, .sense_size = SG_SENSE, .cdb = {opcode}};
    sg_run_srb(sg, &srb, SRB_SUCCESS, 0, 0);
}

static void unmap(uint32_t sector, uint32_t count)
{
    const struct sg_srb srb = {
        .cdb_size = 10, .sense_size = SG_SENSE, .transfer = 24, .cdb = {0x42, [8] = 24}};
    memset(buffer(), 0, 24);
    store_be16(buffer(), 22);
    store_be16(buffer() + 2, 16);
    store_be64(buffer() + 8, sector);
    store_be32(buffer() + 16, count);
    sg_run_srb(sg, &srb, SRB_SUCCESS, 0, 24);
}

START_TEST(test_flush_and_crash)
{
    for (uint16_t i = 0; i < 100; i++) {
        write_sectors(i * 160, (uint8_t)i, false);
    }
    run_without_data(0x35); // SYNCHRONIZE CACHE
    memory_file_crash(&memory, 0);
    open_image();
    for (uint16_t i = 0; i < 100; i++) {
        check_sectors(i * 160);
    }
}
END_TEST

START_TEST(test_forced_write_and_crash)
{
    write_sectors(0, 1, false);
    write_sectors(9000, 2, true);
    memory_file_crash(&memory, 0);
    open_image();
    check_sectors(9000);
}
END_TEST

START_TEST(test_trim_reaches_the_image)
{
    write_sectors(2048, 1, false);
    write_sectors(4000, 2, false);
    run_without_data(0x35);
    const size_t size = memory.size;
    unmap(2048, 2048); // one block of the image
    memset(model + 2048 * 512, 0, MIB);
    check_sectors(2048);
    run_without_data(0x35);
    ck_assert_uint_eq(memory.discarded, MIB);
    write_sectors(10000, 3, false); // into the hole
    ck_assert_uint_eq(memory.size, size);
    check_sectors(10000);
    check_sectors(4000 / TRANSFER * TRANSFER + TRANSFER * 2);
}
END_TEST

START_TEST(test_growth_is_seen)
{
    struct sg_srb capacity = {
        .cdb_size = 10, .sense_size = SG_SENSE, .data_in = 1, .transfer = 8, .cdb = {0x25}};
    struct sg_srb beyond = sg_rw(0x28, DISK_MIB * 2048, TRANSFER);
    sg_run_srb(sg, &beyond, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    must_equal(vhdx_grow(&vhdx, (DISK_MIB + 4) * MIB), BLOCK_OK);
    scsi_lun_resized(&sg->unit);
    sg_run_srb(sg, &capacity, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 2], 6);
    ck_assert_uint_eq(load_be16(sg->packet + SRB_CDB + 12), 0x2A09);
    sg_run_srb(sg, &capacity, SRB_SUCCESS, 0, 8);
    ck_assert_uint_eq(load_be32(buffer()), (DISK_MIB + 4) * 2048 - 1);
    write_sectors(DISK_MIB * 2048 + 500, 4, true);
    memory_file_crash(&memory, 0);
    open_image();
    check_sectors(DISK_MIB * 2048 + 500);
}
END_TEST

// The file fails under the disk: the guest learns it, and what was written stays readable.
START_TEST(test_file_full)
{
    write_sectors(0, 1, false);
    memory.limit = memory.size;
    const struct sg_srb srb = sg_rw(0x2A, 5000, TRANSFER);
    sg_run_srb(sg, &srb, SRB_ERROR | SRB_AUTOSENSE, 2, 0);
    ck_assert_uint_eq(sg->packet[SRB_CDB + 2], 7);
    ck_assert_uint_eq(load_be16(sg->packet + SRB_CDB + 12), 0x2707);
    check_sectors(0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("storage");
    TCase *tests = tcase_create("storage");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_flush_and_crash);
    tcase_add_test(tests, test_forced_write_and_crash);
    tcase_add_test(tests, test_trim_reaches_the_image);
    tcase_add_test(tests, test_growth_is_seen);
    tcase_add_test(tests, test_file_full);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
