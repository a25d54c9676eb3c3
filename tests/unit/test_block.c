// SPDX-License-Identifier: BSD-2-Clause-Patent
// Block requests, raw images, and the checksum of VHDX images.
#include <check.h>

#include "image_file.h"
#include "root/lib/image/crc32c.h"
#include "root/lib/image/raw.h"

enum { SIZE = 64 * 1024 };

static struct memory_file memory;
static struct raw_image raw;
static uint8_t buffer[SIZE];

static void setup(void)
{
    memory_file_init(&memory, SIZE + 100);
    for (unsigned i = 0; i < SIZE + 100; i++) {
        memory.bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    ck_assert(raw_open(&raw, &memory.file, 512, false));
}

static void teardown(void)
{
    memory_file_free(&memory);
}

static enum block_status zero_range(void *ctx, uint64_t offset, uint64_t size)
{
    memset(((struct memory_file *)ctx)->bytes + offset, 0, size);
    return BLOCK_OK;
}

static enum block_status run(enum block_operation operation, uint64_t sector, uint64_t count)
{
    return image_run(&raw.device, operation, false, sector, count, buffer, count * 512);
}

// RFC 3720, B.4.
START_TEST(test_crc32c)
{
    uint8_t bytes[32] = {0};
    ck_assert_uint_eq(crc32c(0, bytes, 32), 0x8A9136AA);
    memset(bytes, 0xFF, 32);
    ck_assert_uint_eq(crc32c(0, bytes, 32), 0x62A8AB43);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    ck_assert_uint_eq(crc32c(0, bytes, 32), 0x46DD794E);
    ck_assert_uint_eq(crc32c(crc32c(0, bytes, 13), bytes + 13, 19), 0x46DD794E);
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xE3069283);
}
END_TEST

START_TEST(test_raw_read_write)
{
    struct block_info info;
    raw.device.ops->info(&raw.device, &info);
    ck_assert_uint_eq(info.sectors, SIZE / 512);
    ck_assert_uint_eq(info.trim_granularity, 0);
    ck_assert_int_eq(run(BLOCK_READ, 3, 5), BLOCK_OK);
    ck_assert_mem_eq(buffer, memory.bytes + 3 * 512, 5 * 512);
    memset(buffer, 0xEE, 512);
    ck_assert_int_eq(run(BLOCK_WRITE, SIZE / 512 - 1, 1), BLOCK_OK);
    ck_assert_mem_eq(buffer, memory.bytes + SIZE - 512, 512);
    ck_assert_int_eq(run(BLOCK_WRITE, SIZE / 512, 1), BLOCK_ERROR_RANGE);
    ck_assert_int_eq(run(BLOCK_READ, SIZE / 512 - 1, 2), BLOCK_ERROR_RANGE);
}
END_TEST

START_TEST(test_raw_flush)
{
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 1), BLOCK_OK);
    ck_assert_uint_eq(memory.flushes, 0);
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0), BLOCK_OK);
    ck_assert_uint_eq(memory.flushes, 1);
    ck_assert_int_eq(image_run(&raw.device, BLOCK_WRITE, true, 0, 1, buffer, 512), BLOCK_OK);
    ck_assert_uint_eq(memory.flushes, 2);
    ck_assert_int_eq(image_run(&raw.device, BLOCK_ZERO, true, 0, 1, buffer, 512), BLOCK_OK);
    ck_assert_uint_eq(memory.flushes, 3);
    ck_assert_int_eq(image_run(&raw.device, BLOCK_READ, true, 0, 1, buffer, 512), BLOCK_OK);
    ck_assert_uint_eq(memory.flushes, 3);
}
END_TEST

START_TEST(test_raw_zero_and_trim)
{
    static const uint8_t zeros[4096];
    ck_assert_int_eq(run(BLOCK_TRIM, 16, 8), BLOCK_OK);
    ck_assert_uint_ne(memory.bytes[16 * 512 + 1], 0); // nothing to trim with: a hint
    ck_assert_int_eq(run(BLOCK_ZERO, 16, 8), BLOCK_OK);
    ck_assert_mem_eq(memory.bytes + 16 * 512, zeros, 4096);
    ck_assert_uint_ne(memory.bytes[24 * 512 + 1], 0);
    ck_assert_uint_ne(memory.bytes[16 * 512 - 1], 0);
    struct image_file_ops ops = *memory.file.ops;
    ops.zero = zero_range;
    memory.file.ops = &ops;
    struct block_info info;
    raw.device.ops->info(&raw.device, &info);
    ck_assert_uint_eq(info.trim_granularity, 8);
    const unsigned writes = memory.writes;
    ck_assert_int_eq(run(BLOCK_TRIM, 32, 8), BLOCK_OK);
    ck_assert_mem_eq(memory.bytes + 32 * 512, zeros, 4096);
    ck_assert_uint_eq(memory.writes, writes);
}
END_TEST

START_TEST(test_raw_read_only)
{
    ck_assert(raw_open(&raw, &memory.file, 512, true));
    ck_assert_int_eq(run(BLOCK_WRITE, 0, 1), BLOCK_ERROR_READ_ONLY);
    memory_file_read_only(&memory);
    ck_assert(raw_open(&raw, &memory.file, 2048, false));
    struct block_info info;
    raw.device.ops->info(&raw.device, &info);
    ck_assert(info.read_only);
    ck_assert_uint_eq(info.sectors, SIZE / 2048);
    ck_assert_int_eq(run(BLOCK_FLUSH, 0, 0), BLOCK_OK);
    ck_assert(!raw_open(&raw, &memory.file, 1024, false));
}
END_TEST

START_TEST(test_raw_io_errors)
{
    static const enum block_operation operations[] = {BLOCK_READ, BLOCK_WRITE, BLOCK_ZERO,
                                                      BLOCK_FLUSH};
    for (unsigned i = 0; i < 4; i++) {
        memory.fail_after = 0;
        const uint64_t count = operations[i] == BLOCK_FLUSH ? 0 : 1;
        ck_assert_int_eq(run(operations[i], 0, count), BLOCK_ERROR_IO);
    }
    memory.fail_after = -1;
    memory.size = 1000; // the file shrank behind our back
    ck_assert_int_eq(file_read(&memory.file, 512, buffer, 512), BLOCK_ERROR_IO);
    ck_assert_int_eq(file_read(&memory.file, UINT64_MAX, buffer, 512), BLOCK_ERROR_IO);
}
END_TEST

START_TEST(test_segments)
{
    uint8_t bytes[16];
    memset(bytes, 1, sizeof bytes);
    const struct block_segment segments[] = {{bytes, 3}, {bytes, 0}, {bytes + 3, 13}};
    segments_clear(segments, 2, 5);
    for (unsigned i = 0; i < 16; i++) {
        ck_assert_uint_eq(bytes[i], i < 2 || i >= 7);
    }
    ck_assert_int_eq(file_read_segments(&memory.file, 100, segments, 1, 15), BLOCK_OK);
    ck_assert_mem_eq(bytes + 1, memory.bytes + 100, 15);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("block");
    TCase *tests = tcase_create("block");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_crc32c);
    tcase_add_test(tests, test_raw_read_write);
    tcase_add_test(tests, test_raw_flush);
    tcase_add_test(tests, test_raw_zero_and_trim);
    tcase_add_test(tests, test_raw_read_only);
    tcase_add_test(tests, test_raw_io_errors);
    tcase_add_test(tests, test_segments);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
