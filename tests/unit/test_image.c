// SPDX-License-Identifier: BSD-2-Clause-Patent
// The pieces of the loader that judge bytes: ELF image, descriptors, range lists.
#include "boot/image.h"

#include <check.h>
#include <string.h>

#include "boot/pagetable.h"
#include "boot/ranges.h"
#include "boot/segment.h"
#include "corbel/layout.h"

// An ELF of two segments, field by field at its offset.
static uint8_t elf[0x300];
static struct image image;

static void put(size_t at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        elf[at + i] = (uint8_t)(value >> 8 * i);
}

static void make_elf(void)
{
    memset(elf, 0, sizeof(elf));
    memcpy(elf,
           "\x7f"
           "ELF\2\1\1",
           7);
    put(16, 2, 2);
    put(18, 62, 2);
    put(24, HV_IMAGE_BASE + 0x10, 8);
    put(32, 64, 8);
    put(54, 56, 2);
    put(56, 3, 2);
    static const uint64_t segments[3][6] = {
        {1, 5, 0x100, HV_IMAGE_BASE, 0x80, 0x80},
        {6, 4, 0, 0, 0, 0}, // not loaded
        {1, 6, 0x200, HV_IMAGE_BASE + 0x1000, 0x100, 0x1001},
    };
    for (size_t i = 0; i < 3; i++) {
        size_t at = 64 + i * 56;
        put(at, segments[i][0], 4);
        put(at + 4, segments[i][1], 4);
        put(at + 8, segments[i][2], 8);
        put(at + 16, segments[i][3], 8);
        put(at + 32, segments[i][4], 8);
        put(at + 40, segments[i][5], 8);
    }
}

START_TEST(test_good_image)
{
    make_elf();
    ck_assert_ptr_null(image_parse(elf, sizeof(elf), &image));
    ck_assert_uint_eq(image.segment_count, 2);
    ck_assert_uint_eq(image.size, 0x3000);
    ck_assert_uint_eq(image.entry, HV_IMAGE_BASE + 0x10);
    ck_assert_uint_eq(image.segments[0].rights, PT_EXECUTE);
    ck_assert_uint_eq(image.segments[1].rights, PT_WRITE);
    ck_assert_uint_eq(image.segments[1].memory_size, 0x1001);
}
END_TEST

#define SEGMENT(i, field) (64 + 56 * (i) + (field))
static const struct {
    size_t at, size;
    uint64_t value;
    const char *what;
} damages[] = {
    {0, 1, 0x7e, "not an ELF64 x86-64 executable"},
    {4, 1, 1, "not an ELF64 x86-64 executable"},
    {5, 1, 2, "not an ELF64 x86-64 executable"},
    {16, 2, 3, "not an ELF64 x86-64 executable"},
    {18, 2, 3, "not an ELF64 x86-64 executable"},
    {54, 2, 57, "not an ELF64 x86-64 executable"},
    {32, 8, UINT64_MAX, "program headers outside the file"},
    {32, 8, 0x300 - 167, "program headers outside the file"},
    {56, 2, 0xffff, "program headers outside the file"},
    {24, 8, HV_IMAGE_BASE + 0x80, "entry is not in code"},
    {24, 8, HV_IMAGE_BASE + 0x1000, "entry is not in code"},
    {24, 8, 0, "entry is not in code"},
    {SEGMENT(0, 4), 4, 7, "segment writable and executable"},
    {SEGMENT(0, 8), 8, UINT64_MAX, "segment outside the file"},
    {SEGMENT(2, 8), 8, 0x201, "segment outside the file"},
    {SEGMENT(2, 32), 8, 0x101, "segment outside the file"},
    {SEGMENT(0, 40), 8, 0x7f, "segment outside the file"},
    {SEGMENT(0, 16), 8, 0, "segment at a wrong address"},
    {SEGMENT(2, 16), 8, HV_IMAGE_BASE, "segment at a wrong address"},
    {SEGMENT(2, 16), 8, HV_IMAGE_BASE + 0x1001, "segment at a wrong address"},
    {SEGMENT(2, 16), 8, HV_IMAGE_BASE + 0x5000000, "segment at a wrong address"},
    {SEGMENT(2, 40), 8, IMAGE_MAX_SIZE + 1, "segment at a wrong address"},
    {SEGMENT(2, 40), 8, UINT64_MAX, "segment at a wrong address"},
};

START_TEST(test_damaged_image)
{
    make_elf();
    put(damages[_i].at, damages[_i].value, damages[_i].size);
    const char *what = image_parse(elf, sizeof(elf), &image);
    ck_assert_ptr_nonnull(what);
    ck_assert_str_eq(what, damages[_i].what);
}
END_TEST

START_TEST(test_truncated_image)
{
    make_elf();
    for (size_t size = 0; size < sizeof(elf); size++) {
        uint8_t copy[sizeof(elf)];
        memcpy(copy, elf, size);
        ck_assert_ptr_nonnull(image_parse(copy, size, &image));
    }
}
END_TEST

static const uint8_t gdt[] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // 0: never read
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xaf, 0x00, // 8: 64-bit code, not accessed
    0x67, 0x45, 0x78, 0x56, 0x34, 0xf3, 0x52, 0x12, // 10: data, D, AVL, byte limit
    0x67, 0x00, 0x00, 0x10, 0x20, 0x8b, 0x00, 0x30, // 18: busy TSS, 16 bytes
    0x44, 0x33, 0x22, 0x11, 0x00, 0x00, 0x00, 0x00,
};

START_TEST(test_segments)
{
    struct launch_segment s = segment_decode(gdt, sizeof(gdt) - 1, 0x08, 0);
    ck_assert_uint_eq(s.selector, 0x08);
    ck_assert_uint_eq(s.base, 0);
    ck_assert_uint_eq(s.limit, 0xffffffff);
    ck_assert_uint_eq(s.attributes, 0xa09b);
    s = segment_decode(gdt, sizeof(gdt) - 1, 0x13, 0);
    ck_assert_uint_eq(s.base, 0x12345678);
    ck_assert_uint_eq(s.limit, 0x24567);
    ck_assert_uint_eq(s.attributes, 0x50f3);
    s = segment_decode(gdt, sizeof(gdt) - 1, 0x18, 1);
    ck_assert_uint_eq(s.base, 0x1122334430201000ul);
    ck_assert_uint_eq(s.limit, 0x67);
    ck_assert_uint_eq(s.attributes, 0x8b);
    for (uint16_t selector = 0; selector < 4; selector++) {
        s = segment_decode(gdt, sizeof(gdt) - 1, selector, 0);
        ck_assert_uint_eq(s.attributes, 0);
        ck_assert_uint_eq(s.selector, selector);
    }
    ck_assert_uint_eq(segment_decode(gdt, sizeof(gdt) - 1, 0x28, 0).attributes, 0);
    ck_assert_uint_eq(segment_decode(gdt, 0x26, 0x18, 1).attributes, 0);
    ck_assert_uint_ne(segment_decode(gdt, 0x27, 0x18, 1).attributes, 0);
    ck_assert_uint_eq(segment_decode(gdt, 0, 0xfff8, 1).attributes, 0);
}
END_TEST

static struct launch_range list[4];
static uint32_t count;

static bool add(uint64_t base, uint64_t end)
{
    return ranges_add(list, &count, 4, base, end - base);
}

static void expect_ranges(uint32_t n, const uint64_t (*want)[2])
{
    ck_assert_uint_eq(count, n);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_eq(list[i].base, want[i][0]);
        ck_assert_uint_eq(list[i].base + list[i].size, want[i][1]);
    }
}

START_TEST(test_ranges)
{
    count = 0;
    ck_assert(add(0x5000, 0x6000));
    ck_assert(add(0x1000, 0x2000));
    ck_assert(add(0x3000, 0x3000));
    ck_assert(add(0x8000, 0x9000));
    ck_assert(add(0x3000, 0x4000));
    expect_ranges(4, (const uint64_t[][2]){
                         {0x1000, 0x2000}, {0x3000, 0x4000}, {0x5000, 0x6000}, {0x8000, 0x9000}});
    ck_assert(!add(0xa000, 0xb000)); // full
    ck_assert(!ranges_add(list, &count, 4, UINT64_MAX - 1, 3));
    ck_assert(add(0x9000, 0xb000)); // grows the last
    ck_assert(add(0x2000, 0x3000)); // joins two
    expect_ranges(3, (const uint64_t[][2]){{0x1000, 0x4000}, {0x5000, 0x6000}, {0x8000, 0xb000}});
    ck_assert(add(0x5800, 0x5900)); // inside
    ck_assert(add(0x4800, 0x8000)); // overlaps and touches
    expect_ranges(2, (const uint64_t[][2]){{0x1000, 0x4000}, {0x4800, 0xb000}});
    ck_assert(add(0, 0x10000)); // swallows all
    expect_ranges(1, (const uint64_t[][2]){{0, 0x10000}});
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *tcase = tcase_create("image");
    tcase_add_test(tcase, test_good_image);
    tcase_add_loop_test(tcase, test_damaged_image, 0, (int)(sizeof(damages) / sizeof(damages[0])));
    tcase_add_test(tcase, test_truncated_image);
    tcase_add_test(tcase, test_segments);
    tcase_add_test(tcase, test_ranges);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
