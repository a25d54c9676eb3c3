// SPDX-License-Identifier: BSD-2-Clause-Patent
// The AML encoder, byte by byte. The expected bytes are what ACPICA's compiler makes of the ASL in
// the comments.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "root/lib/aml.h"

static uint8_t bytes[1 << 16];
static struct aml aml;

static void setup(void)
{
    memset(bytes, 0xcc, sizeof(bytes));
    aml_init(&aml, bytes, sizeof(bytes));
}

static void check(const void *expected, size_t size)
{
    ck_assert(aml_finish(&aml));
    ck_assert_uint_eq(aml.used, size);
    ck_assert_mem_eq(bytes, expected, size);
    ck_assert_uint_eq(bytes[size], 0xcc);
}

#define CHECK(...)                                                                                 \
    do {                                                                                           \
        static const uint8_t expected[] = {__VA_ARGS__};                                           \
        check(expected, sizeof(expected));                                                         \
        setup();                                                                                   \
    } while (0)

START_TEST(integers)
{
    static const struct {
        uint64_t value;
        uint8_t size;
        uint8_t bytes[9];
    } cases[] = {{0, 1, {0}},
                 {1, 1, {1}},
                 {2, 2, {0x0a, 2}},
                 {0xff, 2, {0x0a, 0xff}},
                 {0x100, 3, {0x0b, 0, 1}},
                 {0xffff, 3, {0x0b, 0xff, 0xff}},
                 {0x10000, 5, {0x0c, 0, 0, 1, 0}},
                 {0xffffffff, 5, {0x0c, 0xff, 0xff, 0xff, 0xff}},
                 {0x100000000, 9, {0x0e, 0, 0, 0, 0, 1, 0, 0, 0}},
                 {UINT64_MAX, 9, {0x0e, 255, 255, 255, 255, 255, 255, 255, 255}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        aml_integer(&aml, cases[i].value);
        check(cases[i].bytes, cases[i].size);
        setup();
    }
}
END_TEST

START_TEST(names)
{
    aml_name(&aml, "_S5"); // Name (_S5, One)
    aml_integer(&aml, 1);
    CHECK(8, '_', 'S', '5', '_', 1);
    aml_name(&aml, "\\_SB.VMOD");
    aml_string(&aml, "Hi");
    CHECK(8, '\\', 0x2e, '_', 'S', 'B', '_', 'V', 'M', 'O', 'D', 0x0d, 'H', 'i', 0);
    aml_name(&aml, "\\P000");
    aml_eisa_id(&aml, "PNP0501"); // EisaId ("PNP0501")
    CHECK(8, '\\', 'P', '0', '0', '0', 0x0c, 0x41, 0xd0, 0x05, 0x01);
}
END_TEST

START_TEST(bad_names)
{
    static const char *const bad[] = {"",   "\\", "ABCDE", "A.B.C", "a",    "1AB",
                                      "A.", ".A", "A B",   "A..B",  "AB\\C"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        aml_name(&aml, bad[i]);
        ck_assert_msg(!aml_finish(&aml), "\"%s\" passed", bad[i]);
        setup();
    }
    static const char *const ids[] = {"",         "PNP",     "PN10501", "PNP050",
                                      "PNP05011", "pnp0501", "PNP050G", "PNP050a"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        aml_eisa_id(&aml, ids[i]);
        ck_assert_msg(!aml_finish(&aml), "\"%s\" passed", ids[i]);
        setup();
    }
}
END_TEST

START_TEST(nesting)
{
    // Scope (\_SB) { Device (D) { Name (_ADR, Zero) } }
    aml_open_scope(&aml, "\\_SB");
    aml_open_device(&aml, "D");
    aml_name(&aml, "_ADR");
    aml_integer(&aml, 0);
    aml_close(&aml);
    aml_close(&aml);
    CHECK(0x10, 19, '\\', '_', 'S', 'B', '_', 0x5b, 0x82, 11, 'D', '_', '_', '_', 8, '_', 'A', 'D',
          'R', 0);
    // Package (2) { 5, Zero }
    aml_open_package(&aml, 2);
    aml_integer(&aml, 5);
    aml_integer(&aml, 0);
    aml_close(&aml);
    CHECK(0x12, 5, 2, 0x0a, 5, 0);
}
END_TEST

// The length counts itself; each form is used up to its last value.
START_TEST(package_lengths)
{
    static const struct {
        size_t content; // behind the four bytes of the name
        uint8_t size;
        uint8_t bytes[3];
    } cases[] = {{62 - 4, 1, {63}},
                 {63 - 4, 2, {0x41, 0x04}},
                 {0xfff - 2 - 4, 2, {0x4f, 0xff}},
                 {0x1000 - 2 - 4, 3, {0x81, 0x00, 0x01}}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        aml_open_scope(&aml, "ABCD");
        for (size_t j = 0; j < cases[i].content; j++) {
            aml_integer(&aml, j & 1);
        }
        aml_close(&aml);
        ck_assert(aml_finish(&aml));
        size_t header = 1 + (size_t)cases[i].size;
        ck_assert_uint_eq(aml.used, header + 4 + cases[i].content);
        ck_assert_mem_eq(bytes + 1, cases[i].bytes, cases[i].size);
        ck_assert_mem_eq(bytes + header, "ABCD", 4);
        for (size_t j = 0; j < cases[i].content; j++) {
            ck_assert_uint_eq(bytes[header + 4 + j], j & 1);
        }
        setup();
    }
}
END_TEST

START_TEST(resources)
{
    // ResourceTemplate () { IO (Decode16, 0x3F8, 0x3F8, 0x01, 0x08)
    //                       Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {4} }
    aml_open_resources(&aml);
    aml_io(&aml, 0x3f8, 8);
    aml_interrupt_edge(&aml, 4);
    aml_close_resources(&aml);
    CHECK(0x11, 0x16, 0x0a, 0x13, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x89, 6, 0, 3, 1, 4, 0, 0, 0,
          0x79, 0);
    aml_open_resources(&aml); // IRQNoFlags () {5}, IRQNoFlags () {15}
    aml_irq(&aml, 5);
    aml_irq(&aml, 15);
    aml_close_resources(&aml);
    CHECK(0x11, 11, 0x0a, 8, 0x22, 0x20, 0, 0x22, 0, 0x80, 0x79, 0);
    aml_open_resources(&aml); // nothing
    aml_close_resources(&aml);
    CHECK(0x11, 5, 0x0a, 2, 0x79, 0);
    aml_irq(&aml, 16);
    ck_assert(!aml_finish(&aml));
}
END_TEST

START_TEST(memory_window)
{
    // QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
    //     0, 0xF8000000, 0xFEBFFFFF, 0, 0x06C00000)
    aml_memory_window(&aml, 0xf8000000, 0x6c00000);
    CHECK(0x8a, 0x2b, 0, 0, 0x0c, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0, 0, 0, 0, 0xff, 0xff,
          0xbf, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 6, 0, 0, 0, 0);
}
END_TEST

START_TEST(depth)
{
    for (int i = 0; i < AML_DEPTH_MAX; i++) {
        aml_open_device(&aml, "D");
    }
    ck_assert(!aml_finish(&aml));
    for (int i = 0; i < AML_DEPTH_MAX; i++) {
        aml_close(&aml);
    }
    ck_assert(aml_finish(&aml));
    aml_close(&aml);
    ck_assert(!aml_finish(&aml));
    setup();
    for (int i = 0; i <= AML_DEPTH_MAX; i++) {
        aml_open_device(&aml, "D");
    }
    for (int i = 0; i <= AML_DEPTH_MAX; i++) {
        aml_close(&aml);
    }
    ck_assert(!aml_finish(&aml));
}
END_TEST

static void encode_something(void)
{
    aml_open_scope(&aml, "\\_SB");
    aml_name(&aml, "_CRS");
    aml_open_resources(&aml);
    aml_memory_window(&aml, 0, 1);
    aml_memory_window(&aml, 4096, 1);
    aml_close_resources(&aml);
    aml_name(&aml, "_HID");
    aml_string(&aml, "ACPI0004");
    aml_name(&aml, "_UID");
    aml_integer(&aml, 0x12345);
    aml_close(&aml);
}

// Every size that is too small is noticed, and not a byte is written beyond it.
START_TEST(out_of_room)
{
    encode_something();
    ck_assert(aml_finish(&aml));
    size_t need = aml.used;
    for (size_t size = 0; size < need; size++) {
        uint8_t *exact = malloc(size ? size : 1);
        aml_init(&aml, exact, size);
        encode_something();
        ck_assert(!aml_finish(&aml));
        ck_assert_uint_le(aml.used, size);
        free(exact);
    }
    aml_init(&aml, bytes, need);
    encode_something();
    ck_assert(aml_finish(&aml));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("aml");
    TCase *tests = tcase_create("aml");
    tcase_add_checked_fixture(tests, setup, NULL);
    const TTest *const all[] = {integers,  names,         bad_names, nesting,    package_lengths,
                                resources, memory_window, depth,     out_of_room};
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
