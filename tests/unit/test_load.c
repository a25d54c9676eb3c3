// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest loaders: requests, memory maps and Linux bzImages, made up and real.
#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "load_guest.h"

enum {
    SETUP_SECTS = 2,
    SETUP_SIZE = (SETUP_SECTS + 1) * 512,
    CODE_SIZE = 0x3000,
    IMAGE_SIZE = SETUP_SIZE + CODE_SIZE,
    HEADER_END = 0x26c
};

static uint8_t image[IMAGE_SIZE];

static void image_u16(size_t at, uint16_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

static void image_u32(size_t at, uint32_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

static void image_u64(size_t at, uint64_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

// A 64-bit relocatable kernel that prefers 6 MiB (behind the seam of the RAM pieces), 2 MiB
// aligned.
static void setup(void)
{
    guest_setup();
    for (size_t i = 0; i < IMAGE_SIZE; i++) {
        image[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    memset(image + 0x1f1, 0, HEADER_END - 0x1f1);
    image[0x1f1] = SETUP_SECTS;
    image_u32(0x1f4, CODE_SIZE / 16);
    image_u16(0x1fe, 0xaa55);
    image[0x200] = 0xeb;
    image[0x201] = HEADER_END - 0x202;
    memcpy(image + 0x202, "HdrS", 4);
    image_u16(0x206, 0x20f);
    image[0x211] = 1;
    image_u32(0x214, 0x100000);
    image_u32(0x22c, 0x7fffffff);
    image_u32(0x230, 2 * MIB);
    image[0x234] = 1;
    image[0x235] = 21;
    image_u16(0x236, 0x3);
    image_u32(0x238, 2047);
    image_u64(0x258, 6 * MIB);
    image_u32(0x260, 3 * MIB);
}

static void load_image(void)
{
    guest_load(image, IMAGE_SIZE);
}

static uint64_t param(uint64_t offset)
{
    return guest.result.info_gpa + offset;
}

START_TEST(linux_64_bit_entry)
{
    guest_cmdline("console=ttyS0 root=/dev/ram0");
    guest.request.rsdp_gpa = 0xf1234;
    load_image();
    ck_assert_int_eq(guest.result.kind, LOAD_LINUX_64);
    ck_assert_uint_eq(guest.result.kernel_gpa, 6 * MIB);
    ck_assert_uint_eq(guest.result.kernel_size, 3 * MIB);
    ck_assert_uint_eq(guest.result.vp.rip, 6 * MIB + 0x200);
    ck_assert_uint_eq(guest.result.vp.rsi, guest.result.info_gpa);
    ck_assert_uint_eq(guest.result.initrd_gpa, 0);
    guest_check_bytes(6 * MIB, image + SETUP_SIZE, CODE_SIZE);
    guest_check_fill(6 * MIB + CODE_SIZE, 4096, GUEST_FILL);
    guest_check_64();

    ck_assert_uint_eq(guest_u64(param(0x070)), 0xf1234);
    ck_assert_uint_eq(guest_byte(param(0x1ef)), 0);
    ck_assert_uint_eq(guest_byte(param(0x210)), 0xff);
    ck_assert_uint_eq(guest_byte(param(0x211)), 0x81);
    ck_assert_uint_eq(guest_u32(param(0x1fc)) >> 16, 0xaa55);
    ck_assert_uint_eq(guest_u32(param(0x202)), 0x53726448);
    ck_assert_uint_eq(guest_u32(param(0x214)), 6 * MIB);
    ck_assert_uint_eq(guest_u32(param(0x218)), 0);
    ck_assert_uint_eq(guest_u32(param(0x21c)), 0);
    ck_assert_uint_eq(guest_u32(param(0x230)), 2 * MIB);
    ck_assert_uint_eq(guest_u32(param(0x260)), 3 * MIB);
    guest_check_bytes(guest_u32(param(0x228)), "console=ttyS0 root=/dev/ram0", 29);
    // What is behind the header in the image must not leak into the parameters.
    guest_check_fill(param(HEADER_END), 0x2d0 - HEADER_END, 0);
}
END_TEST

START_TEST(linux_32_bit_entry)
{
    image_u16(0x236, 0);
    load_image();
    ck_assert_int_eq(guest.result.kind, LOAD_LINUX_32);
    ck_assert_uint_eq(guest.result.vp.rip, 6 * MIB);
    ck_assert_uint_eq(guest.result.vp.rsi, guest.result.info_gpa);
    ck_assert_uint_eq(guest.result.vp.rbx, 0);
    guest_check_32();

    // Before 2.12 the field is something else.
    image_u16(0x236, 3);
    image_u16(0x206, 0x20b);
    load_image();
    ck_assert_int_eq(guest.result.kind, LOAD_LINUX_32);
}
END_TEST

START_TEST(linux_e820)
{
    guest_reserve(GIB4 - 16 * MIB, 16 * MIB, LOAD_MEMORY_RESERVED);
    guest_reserve(15 * MIB, 64 * 1024, LOAD_MEMORY_ACPI);
    guest_reserve(0xf0000, 4096, LOAD_MEMORY_NVS);
    load_image();
    static const struct {
        uint64_t gpa, size;
        uint32_t type;
    } expected[] = {{0, 0xa0000, 1},
                    {0xf0000, 0x1000, 4},
                    {MIB, 14 * MIB, 1},
                    {15 * MIB, 0x10000, 3},
                    {15 * MIB + 0x10000, MIB - 0x10000, 1},
                    {GIB4 - 16 * MIB, 16 * MIB, 2},
                    {GIB4, 2 * MIB, 1}};
    ck_assert_uint_eq(guest_byte(param(0x1e8)), 7);
    for (size_t i = 0; i < 7; i++) {
        ck_assert_uint_eq(guest_u64(param(0x2d0 + i * 20)), expected[i].gpa);
        ck_assert_uint_eq(guest_u64(param(0x2d8 + i * 20)), expected[i].size);
        ck_assert_uint_eq(guest_u32(param(0x2e0 + i * 20)), expected[i].type);
    }
}
END_TEST

START_TEST(linux_initrd_high_in_low_ram)
{
    static uint8_t initrd[5000];
    memset(initrd, 0x33, sizeof(initrd));
    guest.request.initrd = initrd;
    guest.request.initrd_size = sizeof(initrd);
    load_image();
    ck_assert_uint_eq(guest.result.initrd_gpa, 16 * MIB - 8192);
    ck_assert_uint_eq(guest_u32(param(0x218)), 16 * MIB - 8192);
    ck_assert_uint_eq(guest_u32(param(0x21c)), 5000);
    ck_assert_uint_eq(guest_u64(param(0x0c0)), 0);
    guest_check_bytes(16 * MIB - 8192, initrd, sizeof(initrd));
    ck_assert_uint_eq(guest_byte(16 * MIB - 8192 + 5000), GUEST_FILL);

    // initrd_addr_max is the last byte that may be used.
    image_u32(0x22c, 12 * MIB + 4999);
    load_image();
    ck_assert_uint_eq(guest.result.initrd_gpa, 12 * MIB);
    image_u32(0x22c, 12 * MIB + 4998);
    load_image();
    ck_assert_uint_eq(guest.result.initrd_gpa, 12 * MIB - 4096);

    // Below the ACPI area, not over it.
    image_u32(0x22c, 0x7fffffff);
    guest_reserve(15 * MIB, MIB, LOAD_MEMORY_ACPI);
    load_image();
    ck_assert_uint_eq(guest.result.initrd_gpa, 15 * MIB - 8192);
}
END_TEST

START_TEST(linux_initrd_above_4_gib)
{
    static uint8_t initrd[2 * MIB];
    memset(initrd, 0x44, sizeof(initrd));
    guest.request.initrd = initrd;
    guest.request.initrd_size = sizeof(initrd);
    image_u32(0x22c, 2 * MIB);
    image_u16(0x236, 1);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_INITRD_SPACE);
    image_u16(0x236, 3);
    load_image();
    ck_assert_uint_eq(guest.result.initrd_gpa, GIB4);
    ck_assert_uint_eq(guest_u32(param(0x0c0)), 1);
    ck_assert_uint_eq(guest_u32(param(0x0c4)), 0);
    ck_assert_uint_eq(guest_u32(param(0x218)), 0);
    ck_assert_uint_eq(guest_u32(param(0x21c)), 2 * MIB);
    guest_check_bytes(GIB4, initrd, sizeof(initrd));
}
END_TEST

START_TEST(linux_initrd_too_large)
{
    uint8_t *initrd = calloc(1, 13 * MIB);
    guest.request.initrd = initrd;
    guest.request.initrd_size = 13 * MIB;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_INITRD_SPACE);
    guest.request.initrd_size = SIZE_MAX;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_INITRD_SPACE);
    free(initrd);
}
END_TEST

START_TEST(linux_kernel_moves)
{
    guest_reserve(6 * MIB + MIB, 4096, LOAD_MEMORY_RESERVED);
    load_image();
    ck_assert_uint_eq(guest.result.kernel_gpa, 2 * MIB);
    ck_assert_uint_eq(guest.result.vp.rip, 2 * MIB + 0x200);
    ck_assert_uint_eq(guest_u32(param(0x214)), 2 * MIB);

    // A preferred address that is not aligned cannot be meant.
    guest.request.reserved_count = 0;
    image_u64(0x258, 6 * MIB + 4096);
    load_image();
    ck_assert_uint_eq(guest.result.kernel_gpa, 2 * MIB);

    image_u64(0x258, UINT64_MAX - 0xfff);
    load_image();
    ck_assert_uint_eq(guest.result.kernel_gpa, 2 * MIB);

    // One that cannot be moved has one place only.
    image_u64(0x258, 6 * MIB);
    image[0x234] = 0;
    load_image();
    ck_assert_uint_eq(guest.result.kernel_gpa, 6 * MIB);
}
END_TEST

START_TEST(linux_kernel_cannot_move)
{
    guest_reserve(6 * MIB + MIB, 4096, LOAD_MEMORY_RESERVED);
    image[0x234] = 0;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_KERNEL_SPACE);
    image_u64(0x258, 0x80000);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_KERNEL_SPACE);
    image_u64(0x258, UINT64_MAX);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_KERNEL_SPACE);
}
END_TEST

START_TEST(linux_lesser_alignment)
{
    // Free: 1..2 MiB and 2.5..4.5 MiB. With 2 MiB alignment nothing of 2 MiB fits.
    image_u32(0x260, 2 * MIB);
    guest_reserve(2 * MIB, MIB / 2, LOAD_MEMORY_RESERVED);
    guest_reserve(4 * MIB + MIB / 2, 12 * MIB - MIB / 2, LOAD_MEMORY_RESERVED);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_KERNEL_SPACE);
    image[0x235] = 20;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_KERNEL_SPACE);
    image[0x235] = 13;
    load_image();
    ck_assert_uint_eq(guest.result.kernel_gpa, 2 * MIB + MIB / 2);
    ck_assert_uint_eq(guest_u32(param(0x230)), MIB / 2);
}
END_TEST

START_TEST(linux_larger_than_memory)
{
    image_u32(0x260, 16 * MIB);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_KERNEL_SPACE);
    image_u32(0x260, UINT32_MAX);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_KERNEL_SPACE);
    // The file counts even where init_size says less.
    image_u32(0x260, 0);
    size_t size = 16 * MIB;
    uint8_t *large = calloc(1, size);
    memcpy(large, image, IMAGE_SIZE);
    guest_load_fails(large, size, LOAD_ERROR_KERNEL_SPACE);
    free(large);
}
END_TEST

START_TEST(linux_no_room_for_boot_data)
{
    // The kernel takes all above 1 MiB, and below it all is reserved.
    guest_reserve(0, 0xa0000, LOAD_MEMORY_RESERVED);
    image_u64(0x258, 2 * MIB);
    image_u32(0x260, 14 * MIB);
    guest_reserve(MIB, MIB, LOAD_MEMORY_RESERVED);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_BOOT_SPACE);
}
END_TEST

START_TEST(linux_header_errors)
{
    image_u16(0x206, 0x209);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_LINUX_VERSION);
    image_u16(0x206, 0x20f);
    image[0x211] = 0x80;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_LINUX_LOW);
    image[0x211] = 1;
    image[0x201] = 0x263 - 0x202;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_LINUX_HEADER);
    image[0x201] = 0xff; // longer than boot_params has room for: cut, not copied over
    load_image();
    ck_assert_uint_eq(guest_byte(param(0x2d0)), 0);
}
END_TEST

START_TEST(linux_alignment_errors)
{
    static const uint32_t alignments[] = {0, 1, 2048, 3 * 4096, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
        image_u32(0x230, alignments[i]);
        guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_LINUX_ALIGNMENT);
    }
    image_u32(0x230, 2 * MIB);
    image[0x235] = 64;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_LINUX_ALIGNMENT);
}
END_TEST

START_TEST(linux_cmdline_limit)
{
    image_u32(0x238, 12);
    guest_cmdline("thirteen char");
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_CMDLINE);
    guest_cmdline("twelve chars");
    load_image();
    guest_check_bytes(guest_u32(param(0x228)), "twelve chars", 13);

    static char text[LOAD_CMDLINE_MAX + 1];
    memset(text, 'x', sizeof(text));
    image_u32(0x238, UINT32_MAX);
    guest.request.cmdline = text;
    guest.request.cmdline_size = LOAD_CMDLINE_MAX;
    load_image();
    guest_check_fill(guest_u32(param(0x228)), LOAD_CMDLINE_MAX, 'x');
    ck_assert_uint_eq(guest_byte(guest_u32(param(0x228)) + LOAD_CMDLINE_MAX), 0);
}
END_TEST

START_TEST(cmdline_limit)
{
    static char text[LOAD_CMDLINE_MAX + 1];
    guest.request.cmdline = text;
    guest.request.cmdline_size = sizeof(text);
    image_u32(0x238, UINT32_MAX);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_CMDLINE);
}
END_TEST

START_TEST(linux_setup_sects_default)
{
    static uint8_t larger[5 * 512 + CODE_SIZE];
    image[0x1f1] = 0;
    memcpy(larger, image, 0x400);
    memcpy(larger + 5 * 512, image + SETUP_SIZE, CODE_SIZE);
    guest_load(larger, sizeof(larger));
    guest_check_bytes(6 * MIB, image + SETUP_SIZE, CODE_SIZE);
}
END_TEST

START_TEST(linux_truncated)
{
    for (size_t size = 0; size < IMAGE_SIZE; size += size < 0x280 ? 1 : 509) {
        guest_refuses(image, size, size < 0x206 ? LOAD_ERROR_UNKNOWN : LOAD_ERROR_TRUNCATED);
    }
    guest_check_untouched();
    guest_load_fails(image, IMAGE_SIZE - 1, LOAD_ERROR_TRUNCATED);
    image_u32(0x1f4, UINT32_MAX);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_TRUNCATED);
    image_u32(0x1f4, 0);
    guest_load_fails(image, SETUP_SIZE + 0x200, LOAD_ERROR_TRUNCATED); // no 64-bit entry
    guest_load(image, SETUP_SIZE + 0x201);
}
END_TEST

START_TEST(unknown_images)
{
    guest_load_fails("", 0, LOAD_ERROR_UNKNOWN);
    guest_load_fails("MZ", 2, LOAD_ERROR_UNKNOWN);
    image_u16(0x1fe, 0);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_UNKNOWN);
}
END_TEST

START_TEST(request_ram)
{
    const struct load_ram good[GUEST_PIECES] = {guest.ram[0], guest.ram[1], guest.ram[2]};
    static const struct {
        int piece;
        uint64_t gpa, size;
    } bad[] = {{1, 4 * MIB - 4096, 12 * MIB}, // overlaps the one before
               {2, 0, 2 * MIB},               // not ascending
               {1, 4 * MIB, 0},
               {1, 4 * MIB + 1, 4096},
               {1, 4 * MIB, 4097},
               {2, GIB4, UINT64_MAX - GIB4 + 1 - 4096 + 4096},
               {2, UINT64_MAX - 4095, 8192}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        guest.ram[bad[i].piece].gpa = bad[i].gpa;
        guest.ram[bad[i].piece].size = bad[i].size;
        guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
        guest.ram[bad[i].piece] = good[bad[i].piece];
    }
    guest.ram[1].host = NULL;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
    guest.ram[1] = good[1];
    guest.request.ram_count = 0;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
    guest.request.ram_count = LOAD_RAM_MAX + 1;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
    guest.request.ram_count = GUEST_PIECES;
    load_image();
}
END_TEST

START_TEST(request_reserved)
{
    guest_reserve(15 * MIB, 0, LOAD_MEMORY_ACPI);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
    guest.reserved[0] = (struct load_reserved){15 * MIB, UINT64_MAX, LOAD_MEMORY_ACPI};
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
    guest.reserved[0] = (struct load_reserved){15 * MIB, 4096, LOAD_MEMORY_RAM};
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
    guest.reserved[0] = (struct load_reserved){15 * MIB, 4096, LOAD_MEMORY_ACPI};
    guest_reserve(15 * MIB + 4095, 4096, LOAD_MEMORY_NVS);
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
    guest.request.reserved_count = LOAD_RESERVED_MAX + 1;
    guest_load_fails(image, IMAGE_SIZE, LOAD_ERROR_REQUEST);
}
END_TEST

// The most ranges that a request may have give the most map entries, all of which must arrive.
START_TEST(request_at_its_limits)
{
    struct load_ram ram[LOAD_RAM_MAX];
    for (uint32_t i = 0; i < LOAD_RAM_MAX - 2; i++) {
        ram[i + 2] = (struct load_ram){GIB4 + i * 2 * MIB, MIB, guest.ram[2].host};
    }
    ram[0] = guest.ram[0];
    ram[1] = guest.ram[1];
    guest.request.ram = ram;
    guest.request.ram_count = LOAD_RAM_MAX;
    for (uint32_t i = 0; i < LOAD_RESERVED_MAX; i++) {
        guest_reserve(10 * MIB + i * 0x4000, 4096, LOAD_MEMORY_RESERVED);
    }
    load_image();
    // Low RAM around the legacy area and 16 holes, the holes, 62 pieces of high RAM.
    ck_assert_uint_eq(guest_byte(param(0x1e8)), 2 + 16 + 16 + 62);
    uint64_t end = 0;
    for (uint32_t i = 0; i < 96; i++) {
        ck_assert_uint_ge(guest_u64(param(0x2d0 + i * 20)), end);
        end = guest_u64(param(0x2d0 + i * 20)) + guest_u64(param(0x2d8 + i * 20));
    }
    ck_assert_uint_eq(end, GIB4 + 61 * 2 * MIB + MIB);
}
END_TEST

START_TEST(texts)
{
    for (int i = 0; i < LOAD_ERROR_COUNT; i++) {
        const char *text = load_error_text((enum load_error)i);
        ck_assert_ptr_nonnull(text);
        ck_assert_uint_gt(strlen(text), 5);
        for (int j = 0; j < i; j++) {
            ck_assert_str_ne(text, load_error_text((enum load_error)j));
        }
    }
    ck_assert_str_eq(load_error_text(LOAD_ERROR_COUNT), "unknown error");
    ck_assert_str_eq(load_kind_text(LOAD_LINUX_64), "bzImage, 64-bit entry");
    ck_assert_str_eq(load_kind_text(LOAD_PVH), "PVH");
    ck_assert_str_eq(load_kind_text((enum load_kind)0), "unknown kind");
    ck_assert_str_eq(load_kind_text((enum load_kind)(LOAD_PVH + 1)), "unknown kind");
}
END_TEST

// Loads one real file into 1 GiB of RAM; what it is and where it goes must make sense.
static bool load_real(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
        return false;
    }
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc((size_t)info.st_size);
    ck_assert(file && fread(bytes, 1, (size_t)info.st_size, file) == (size_t)info.st_size);
    fclose(file);
    const uint64_t size = 1024 * MIB;
    uint8_t *host = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert(host != MAP_FAILED);
    const struct load_ram ram = {0, size, host};
    guest.request.ram = &ram;
    guest.request.ram_count = 1;
    guest.request.image = bytes;
    guest.request.image_size = (size_t)info.st_size;
    enum load_error error = load_guest(&guest.request, &guest.result);
    bool known = error != LOAD_ERROR_UNKNOWN && error != LOAD_ERROR_ELF_BOOT;
    if (known) {
        ck_assert_msg(error == LOAD_OK, "%s: %s", path, load_error_text(error));
        printf("%s: %s at %#lx\n", path, load_kind_text(guest.result.kind),
               (unsigned long)guest.result.vp.rip);
        ck_assert(guest.result.vp.rip - guest.result.kernel_gpa < guest.result.kernel_size);
        uint64_t code = 0;
        memcpy(&code, host + guest.result.vp.rip, sizeof(code));
        ck_assert_uint_ne(code, 0);
    }
    munmap(host, size);
    free(bytes);
    return known;
}

START_TEST(real_kernels)
{
    const char *directory = getenv("CORBEL_GUESTS");
    DIR *dir = directory ? opendir(directory) : NULL;
    if (!dir) {
        printf("real_kernels: skipped, CORBEL_GUESTS names no directory\n");
        return;
    }
    int found = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        found += load_real(path);
    }
    closedir(dir);
    ck_assert_int_gt(found, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("load");
    TCase *tests = tcase_create("load");
    tcase_add_checked_fixture(tests, setup, guest_teardown);
    tcase_set_timeout(tests, 120);
    const TTest *const all[] = {linux_64_bit_entry,
                                linux_32_bit_entry,
                                linux_e820,
                                linux_initrd_high_in_low_ram,
                                linux_initrd_above_4_gib,
                                linux_initrd_too_large,
                                linux_kernel_moves,
                                linux_kernel_cannot_move,
                                linux_lesser_alignment,
                                linux_larger_than_memory,
                                linux_no_room_for_boot_data,
                                linux_header_errors,
                                linux_alignment_errors,
                                linux_cmdline_limit,
                                cmdline_limit,
                                linux_setup_sects_default,
                                linux_truncated,
                                unknown_images,
                                request_ram,
                                request_reserved,
                                request_at_its_limits,
                                texts,
                                real_kernels};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        tcase_add_test(tests, all[i]);
    }
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
