// SPDX-License-Identifier: BSD-2-Clause-Patent
// VHDX images against qemu-img, both ways. Without qemu-img on the machine there is nothing to
// compare with, and the test says so.
#define _GNU_SOURCE
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_file.h"
#include "root/lib/bytes.h"
#include "root/lib/image/vhdx.h"

enum { DISK_MIB = 40, PATH = 256, COMMAND = 1024, CHUNK = 65536 };

static char folder[PATH];
static char image[PATH + 16], raw[PATH + 16];
static int descriptor = -1;
static struct vhdx vhdx;
static uint64_t map[64];
static uint8_t model[DISK_MIB * 0x100000], buffer[2 * 0x100000];

static uint64_t disk_file_size(void *ctx)
{
    struct stat status;
    (void)ctx;
    ck_assert_int_eq(fstat(descriptor, &status), 0);
    return (uint64_t)status.st_size;
}

static enum block_status disk_file_read(void *ctx, uint64_t offset, void *to, size_t size)
{
    (void)ctx;
    return pread(descriptor, to, size, (off_t)offset) == (ssize_t)size ? BLOCK_OK : BLOCK_ERROR_IO;
}

static enum block_status disk_file_write(void *ctx, uint64_t offset, const void *from, size_t size)
{
    (void)ctx;
    return pwrite(descriptor, from, size, (off_t)offset) == (ssize_t)size ? BLOCK_OK
                                                                          : BLOCK_ERROR_IO;
}

static enum block_status disk_file_flush(void *ctx)
{
    (void)ctx;
    return BLOCK_OK;
}

static enum block_status disk_file_grow(void *ctx, uint64_t size)
{
    (void)ctx;
    return ftruncate(descriptor, (off_t)size) == 0 ? BLOCK_OK : BLOCK_ERROR_SPACE;
}

static const struct image_file_ops ops = {.size = disk_file_size,
                                          .read = disk_file_read,
                                          .write = disk_file_write,
                                          .flush = disk_file_flush,
                                          .grow = disk_file_grow};
static const struct image_file file = {&ops, NULL};

static void setup(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/vhdx-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(image, sizeof image, "%s/image.vhdx", folder);
    snprintf(raw, sizeof raw, "%s/raw", folder);
    memset(model, 0, sizeof model);
}

static void teardown(void)
{
    unlink(image);
    unlink(raw);
    rmdir(folder);
}

static bool have_qemu(void)
{
    return system("command -v qemu-img >/dev/null") == 0;
}

static void qemu(const char *arguments)
{
    char command[COMMAND];
    snprintf(command, sizeof command, "cd %s && qemu-img %s >/dev/null", folder, arguments);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void open_image(void)
{
    struct vhdx_params params = {.memory = map, .memory_size = sizeof map};
    store_le32(params.unique, (uint32_t)rand());
    descriptor = open(image, O_RDWR);
    ck_assert_int_ge(descriptor, 0);
    const enum vhdx_error error = vhdx_open(&vhdx, &file, &params);
    ck_assert_msg(error == VHDX_OK, "%s", vhdx_error_text(error));
}

static void close_image(bool orderly)
{
    if (orderly) {
        ck_assert_int_eq(vhdx_close(&vhdx), BLOCK_OK);
    }
    close(descriptor);
}

static void run(enum block_operation operation, uint64_t sector, uint64_t count)
{
    ck_assert_int_eq(image_run(&vhdx.device, operation, false, sector, count, buffer, count * 512),
                     BLOCK_OK);
}

static void random_write(void)
{
    const uint64_t sectors = sizeof model / 512;
    const uint64_t count = 1 + (uint64_t)rand() % 4096;
    const uint64_t sector = (uint64_t)rand() % (sectors - count);
    const int seed = rand();
    for (uint64_t i = 0; i < count * 512; i++) {
        buffer[i] = (uint8_t)(seed + (int)i * 13 + (int)(i >> 11));
    }
    run(BLOCK_WRITE, sector, count);
    memcpy(model + sector * 512, buffer, count * 512);
}

static void random_zero(void)
{
    const uint64_t sectors = sizeof model / 512;
    const uint64_t count = 1 + (uint64_t)rand() % 8192;
    const uint64_t sector = (uint64_t)rand() % (sectors - count);
    run(BLOCK_ZERO, sector, count);
    memset(model + sector * 512, 0, count * 512);
}

static void random_work(void)
{
    for (int i = 0; i < 24; i++) {
        if (rand() % 4) {
            random_write();
        } else {
            random_zero();
        }
    }
}

static void check_by_us(void)
{
    for (uint64_t at = 0; at < sizeof model; at += CHUNK) {
        run(BLOCK_READ, at / 512, CHUNK / 512);
        ck_assert_mem_eq(buffer, model + at, CHUNK);
    }
}

static void check_by_qemu(void)
{
    qemu("convert -f vhdx -O raw image.vhdx raw");
    FILE *stream = fopen(raw, "rb");
    ck_assert_ptr_nonnull(stream);
    for (uint64_t at = 0; at < sizeof model; at += CHUNK) {
        ck_assert_uint_eq(fread(buffer, 1, CHUNK, stream), CHUNK);
        ck_assert_mem_eq(buffer, model + at, CHUNK);
    }
    ck_assert_int_eq(fgetc(stream), EOF);
    fclose(stream);
}

static const char *const formats[] = {
    "subformat=dynamic,block_size=1M",
    "subformat=dynamic,block_size=2M",
    "subformat=dynamic,block_size=32M",
    "subformat=fixed,block_size=8M",
};

// They create and read back, we write.
START_TEST(test_we_write)
{
    char command[COMMAND];
    if (!have_qemu()) {
        printf("skipped: no qemu-img on this machine\n");
        return;
    }
    srand(77 + (unsigned)_i);
    snprintf(command, sizeof command, "create -f vhdx -o %s image.vhdx %dM", formats[_i], DISK_MIB);
    qemu(command);
    for (int round = 0; round < 2; round++) {
        open_image();
        random_work();
        check_by_us();
        close_image(true);
        qemu("check -f vhdx image.vhdx");
        check_by_qemu();
    }
}
END_TEST

// They write, we read; then we write and they read.
START_TEST(test_they_write)
{
    char command[COMMAND];
    if (!have_qemu()) {
        printf("skipped: no qemu-img on this machine\n");
        return;
    }
    srand(99 + (unsigned)_i);
    for (uint64_t i = 0; i < sizeof model; i++) {
        model[i] = (i >> 20) % 3 == 1 ? 0 : (uint8_t)((i >> 9) * 7 + i);
    }
    FILE *stream = fopen(raw, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(model, 1, sizeof model, stream), sizeof model);
    fclose(stream);
    snprintf(command, sizeof command, "convert -f raw -O vhdx -o %s raw image.vhdx", formats[_i]);
    qemu(command);
    open_image();
    check_by_us();
    random_work();
    close_image(true);
    qemu("check -f vhdx image.vhdx");
    check_by_qemu();
}
END_TEST

// We flush and die; what the log holds has not reached its place. They replay our log.
START_TEST(test_they_replay)
{
    static const uint8_t nothing[VHDX_PAGE];
    if (!have_qemu()) {
        printf("skipped: no qemu-img on this machine\n");
        return;
    }
    srand(55);
    qemu("create -f vhdx -o subformat=dynamic,block_size=1M image.vhdx 40M");
    open_image();
    for (int i = 0; i < 5; i++) {
        random_work();
        run(BLOCK_FLUSH, 0, 0);
    }
    ck_assert(vhdx.log.active);
    const uint64_t table = vhdx.bat.offset;
    ck_assert_int_eq(disk_file_write(NULL, table, nothing, sizeof nothing), BLOCK_OK);
    close_image(false);
    qemu("check -r all -f vhdx image.vhdx");
    check_by_qemu();
    open_image();
    check_by_us();
    close_image(true);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vhdx_qemu");
    TCase *tests = tcase_create("vhdx_qemu");
    const int count = (int)(sizeof formats / sizeof *formats);
    tcase_set_timeout(tests, 300);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, test_we_write, 0, count);
    tcase_add_loop_test(tests, test_they_write, 0, count);
    tcase_add_test(tests, test_they_replay);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
