// SPDX-License-Identifier: BSD-2-Clause-Patent
// Lengths against binutils: random bytes in all three modes, and the code of a real library.
// Without objdump on the machine there is nothing to compare with, and the test says so.
#define _GNU_SOURCE
#include "corbel/decode.h"

#include <check.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORDS = 20000,
    RECORD = 32, /* 16 random bytes, 16 of NOP at which any decoder is in step again */
    LINE = 512,
};

struct tally {
    unsigned compared;
    unsigned skipped;
};

/* One line of objdump: address, bytes, text. False for any other line. */
static bool parse_line(const char *line, unsigned long *address, uint8_t bytes[16], unsigned *count,
                       const char **text)
{
    char *end;

    *address = strtoul(line, &end, 16);
    if (end == line || end[0] != ':' || end[1] != '\t')
        return false;
    end += 2;
    for (*count = 0; *count < 16; (*count)++) {
        char *next;

        bytes[*count] = (uint8_t)strtoul(end, &next, 16);
        if (next != end + 2)
            break;
        end = next + 1;
    }
    end = strchr(end, '\t');
    *text = end != NULL ? end + 1 : "";
    return *count != 0 && end != NULL;
}

/*
 * Lines that do not tell a length: bytes that objdump does not know, prefixes that it shows as
 * lines of their own when they have no effect, and FWAIT, which it joins with the instruction after
 * it.
 */
static bool is_comparable(enum decode_mode mode, const char *text, const uint8_t *bytes,
                          unsigned count)
{
    static const uint8_t prefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65,
                                       0x66, 0x67, 0xF0, 0xF2, 0xF3};
    bool only_prefixes = true;

    for (unsigned i = 0; i < count; i++) {
        bool rex = mode == DECODE_64 && (bytes[i] & 0xF0) == 0x40;

        only_prefixes =
            only_prefixes && (rex || memchr(prefixes, bytes[i], sizeof(prefixes)) != NULL);
    }
    return !only_prefixes && strstr(text, "(bad)") == NULL && memchr(bytes, 0x9B, count) == NULL;
}

static void compare(const char *line, enum decode_mode mode, const uint8_t *bytes, unsigned known,
                    unsigned length, struct tally *tally)
{
    struct decoded d;
    int status = decode(bytes, known, mode, &d);

    if (status != DECODE_OK) {
        /* objdump shows some of what raises #UD: LOCK where it may not be, for one. */
        if (status == DECODE_TRUNCATED)
            ck_abort_msg("mode %d: wants more than: %s", mode, line);
        tally->skipped++;
        return;
    }
    if (d.length != length)
        ck_abort_msg("mode %d: length %u of: %s", mode, d.length, line);
    tally->compared++;
}

static bool have_objdump(void)
{
    return system("objdump --version >/dev/null 2>&1") == 0;
}

static uint32_t random_state = 99;

static uint8_t random_byte(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return random_state >> 24;
}

/* Random records, half of them with a likely beginning: an escape, a vector prefix. */
static void fill(uint8_t *blob)
{
    static const uint8_t first[] = {0x0F, 0x0F, 0x0F, 0xC4, 0xC5, 0x62, 0x66, 0x67, 0x8F, 0xF3};
    static const uint8_t second[] = {0x38, 0x3A};

    memset(blob, 0x90, (size_t)RECORDS * RECORD);
    for (unsigned i = 0; i < RECORDS; i++) {
        uint8_t *p = blob + (size_t)i * RECORD;

        for (unsigned k = 0; k < 16; k++)
            p[k] = random_byte();
        if (i % 2 == 0)
            p[0] = first[i / 2 % sizeof(first)];
        if (i % 16 == 0)
            p[1] = second[i / 16 % 2];
    }
}

START_TEST(test_random)
{
    static const char *const machines[] = {"i8086", "i386", "i386:x86-64 -M intel64"};
    static uint8_t blob[RECORDS * RECORD];
    char path[] = P_tmpdir "/test_decode_XXXXXX";
    char command[256];
    char line[LINE];
    struct tally tally = {0};
    int file;

    if (!have_objdump())
        return;
    fill(blob);
    file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, blob, sizeof(blob)), (ssize_t)sizeof(blob));
    close(file);
    snprintf(command, sizeof(command), "objdump -D -w -b binary --insn-width=16 -m %s %s",
             machines[_i], path);
    FILE *pipe = popen(command, "r");

    ck_assert_ptr_nonnull(pipe);
    while (fgets(line, sizeof(line), pipe) != NULL) {
        unsigned long address;
        uint8_t bytes[16];
        unsigned count;
        const char *text;

        if (parse_line(line, &address, bytes, &count, &text) && address % RECORD == 0 &&
            is_comparable((enum decode_mode)_i, text, bytes, count))
            compare(line, (enum decode_mode)_i, blob + address, RECORD, count, &tally);
    }
    ck_assert_int_eq(pclose(pipe), 0);
    unlink(path);
    ck_assert_uint_gt(tally.compared, RECORDS / 2);
    ck_assert_uint_lt(tally.skipped, RECORDS / 20);
}
END_TEST

/* Compilers' output has every addressing form, and vector code in all encodings. */
START_TEST(test_library)
{
    char command[512];
    char line[LINE];
    struct tally tally = {0};
    Dl_info info;

    if (!have_objdump())
        return;
    double (*function)(double) = cos;

    ck_assert_int_ne(dladdr(*(void **)&function, &info), 0);
    snprintf(command, sizeof(command), "objdump -d -w --insn-width=16 '%s'", info.dli_fname);
    FILE *pipe = popen(command, "r");

    ck_assert_ptr_nonnull(pipe);
    while (fgets(line, sizeof(line), pipe) != NULL) {
        unsigned long address;
        uint8_t bytes[16];
        unsigned count;
        const char *text;
        const char *start = line + strspn(line, " ");

        if (parse_line(start, &address, bytes, &count, &text) &&
            is_comparable(DECODE_64, text, bytes, count))
            compare(line, DECODE_64, bytes, count, count, &tally);
    }
    ck_assert_int_eq(pclose(pipe), 0);
    ck_assert_uint_gt(tally.compared, 50000);
    ck_assert_uint_eq(tally.skipped, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode_objdump");
    TCase *objdump = tcase_create("objdump");
    SRunner *runner;
    int failed;

    if (!have_objdump())
        printf("no objdump: nothing is compared\n");
    tcase_set_timeout(objdump, 120);
    tcase_add_loop_test(objdump, test_random, DECODE_16, DECODE_64 + 1);
    tcase_add_test(objdump, test_library);
    suite_add_tcase(suite, objdump);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
