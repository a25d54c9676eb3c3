// SPDX-License-Identifier: BSD-2-Clause-Patent
// Bytes of a block device of the firmware, by a device that insists on whole sectors and aligned
// buffers.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "root/blockdev.h"
#include "root/efi.h"

enum { SIZE = 1 << 20, BOUNCE = 1 << 16, MEDIUM = 77 };

static uint8_t disk[SIZE], model[SIZE];
static EFI_BLOCK_IO_MEDIA medium;
static EFI_BLOCK_IO io;
static struct blockdev device;
static unsigned accesses, flushes, fail_at;

static EFI_STATUS check_access(EFI_BLOCK_IO *this, UINT32 id, EFI_LBA lba, UINTN size,
                               const void *buffer)
{
    ck_assert_ptr_eq(this, &io);
    ck_assert_uint_eq(id, MEDIUM);
    ck_assert_uint_eq(size % medium.BlockSize, 0);
    ck_assert_uint_ne(size, 0);
    ck_assert_uint_eq((uintptr_t)buffer % medium.IoAlign, 0);
    ck_assert_uint_le(lba * medium.BlockSize + size, SIZE);
    return ++accesses == fail_at ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_blocks(EFI_BLOCK_IO *this, UINT32 id, EFI_LBA lba, UINTN size,
                                     void *buffer)
{
    const EFI_STATUS status = check_access(this, id, lba, size, buffer);

    memcpy(buffer, disk + lba * medium.BlockSize, EFI_ERROR(status) ? 0 : size);
    return status;
}

static EFI_STATUS EFIAPI write_blocks(EFI_BLOCK_IO *this, UINT32 id, EFI_LBA lba, UINTN size,
                                      void *buffer)
{
    const EFI_STATUS status = check_access(this, id, lba, size, buffer);

    memcpy(disk + lba * medium.BlockSize, buffer, EFI_ERROR(status) ? 0 : size);
    return status;
}

static EFI_STATUS EFIAPI flush_blocks(EFI_BLOCK_IO *this)
{
    ck_assert_ptr_eq(this, &io);
    return ++flushes > 1 ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

static void setup(void)
{
    medium = (EFI_BLOCK_IO_MEDIA){.MediaId = MEDIUM, .BlockSize = 512, .IoAlign = 16};
    io = (EFI_BLOCK_IO){.Media = &medium,
                        .ReadBlocks = read_blocks,
                        .WriteBlocks = write_blocks,
                        .FlushBlocks = flush_blocks};
    device = (struct blockdev){.io = &io, .sector_size = 512, .alignment = 16, .size = SIZE};
    device.bounce = aligned_alloc(4096, BOUNCE);
    accesses = flushes = fail_at = 0;
    srand(1);
    for (unsigned i = 0; i < SIZE; i++) {
        disk[i] = model[i] = (uint8_t)rand();
    }
}

static void teardown(void)
{
    free(device.bounce);
}

// Any offset, length and alignment moves just these bytes.
START_TEST(test_any_bytes)
{
    static _Alignas(4096) uint8_t buffer[3 * BOUNCE + 64];

    medium.BlockSize = device.sector_size = _i ? 4096 : 512;
    for (unsigned round = 0; round < 2000; round++) {
        const bool aligned = rand() % 3 == 0;
        const size_t size = (size_t)rand() % (rand() % 4 ? 3000 : 3 * BOUNCE) + 1;
        uint64_t offset = (uint64_t)rand() % (SIZE - size + 1);
        uint8_t *at = buffer + (aligned ? 0 : rand() % 64);

        offset = aligned ? offset / 4096 * 4096 : offset;
        if (rand() % 2) {
            memset(at, (int)round, size);
            memcpy(model + offset, at, size);
            ck_assert_int_eq(blockdev_write(&device, offset, at, size), BLOCK_OK);
            ck_assert_int_eq(memcmp(disk, model, SIZE), 0);
        } else {
            ck_assert_int_eq(blockdev_read(&device, offset, at, size), BLOCK_OK);
            ck_assert_int_eq(memcmp(at, model + offset, size), 0);
        }
    }
}
END_TEST

// What is aligned goes straight, in one piece.
START_TEST(test_direct)
{
    static _Alignas(4096) uint8_t buffer[65536 * 3];

    ck_assert_int_eq(blockdev_read(&device, 4096, buffer, sizeof buffer), BLOCK_OK);
    ck_assert_uint_eq(accesses, 1);
    ck_assert_int_eq(blockdev_read(&device, 4096, buffer, 1024 + 100), BLOCK_OK);
    ck_assert_uint_eq(accesses, 3); // the last sector in part
    ck_assert_int_eq(blockdev_write(&device, 512, buffer, 512), BLOCK_OK);
    ck_assert_uint_eq(accesses, 4);
}
END_TEST

START_TEST(test_errors)
{
    uint8_t bytes[2000] = {0};

    fail_at = 1;
    ck_assert_int_eq(blockdev_read(&device, 3, bytes, sizeof bytes), BLOCK_ERROR_IO);
    fail_at = 2; // the sector is read, then written
    accesses = 0;
    ck_assert_int_eq(blockdev_write(&device, 3, bytes, 10), BLOCK_ERROR_IO);
    fail_at = 1;
    accesses = 0;
    ck_assert_int_eq(blockdev_write(&device, 3, bytes, 10), BLOCK_ERROR_IO);
    ck_assert_uint_eq(accesses, 1);
    ck_assert_int_eq(memcmp(disk, model, SIZE), 0);
    ck_assert_int_eq(blockdev_ops.flush(&device), BLOCK_OK);
    ck_assert_int_eq(blockdev_ops.flush(&device), BLOCK_ERROR_IO);
    ck_assert_uint_eq(blockdev_ops.size(&device), SIZE);
    ck_assert_ptr_null(blockdev_read_only_ops.write);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_blockdev");
    TCase *tests = tcase_create("root_blockdev");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, test_any_bytes, 0, 2);
    tcase_add_test(tests, test_direct);
    tcase_add_test(tests, test_errors);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
