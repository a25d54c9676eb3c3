// SPDX-License-Identifier: BSD-2-Clause-Patent
// The decoder against a second, simply written model of instruction length over every opcode of
// every map, and against hand-made descriptions of the instructions that the hypervisor meets.
#include "corbel/decode.h"

#include <assert.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The model: SDM 2, tables, one character an opcode.
 *   -  nothing          m  ModRM          b w z v  immediate: 8, 16, 16/32, 16/32/64 bits
 *   B  ModRM, 8 bits    Z  ModRM, 16/32   M  ModRM, memory only   R  ModRM, register only
 *   o  offset           f  far pointer    e  ENTER                j  near branch
 *   n  nothing, d 8 bits, N memory only, C ModRM and 8 bits: none of them in 64-bit mode
 *   p  prefix or escape x  no instruction
 *   groups: P 8F, g C6, G C7, 3 F6, 4 F7, i FE, 5 FF, 6 0F00, 8 0FBA, 9 0FC7, c 0FB8, q 0F78
 */
static const char one_byte[] = "mmmmbznnmmmmbznp"
                               "mmmmbznnmmmmbznn"
                               "mmmmbzpnmmmmbzpn"
                               "mmmmbzpnmmmmbzpn"
                               "----------------"
                               "----------------"
                               "nnNmppppzZbB----"
                               "bbbbbbbbbbbbbbbb"
                               "BZCBmmmmmmmmmMmP"
                               "----------f-----"
                               "oooo----bz------"
                               "bbbbbbbbvvvvvvvv"
                               "BBw-NNgGe-w--bn-"
                               "mmmmddn-mmmmmmmm"
                               "bbbbbbbbjjfb----"
                               "p-pp--34------i5";
static const char two_byte[] = "6mmmx-----x-xm-B"
                               "mmmmmmmmmmmmmmmm"
                               "RRRRxxxxmmmmmmmm"
                               "------x-pxpxxxxx"
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm"
                               "BBBBmmm-qmxxmmmm"
                               "jjjjjjjjjjjjjjjj"
                               "mmmmmmmmmmmmmmmm"
                               "---mBmxx---mBmmm"
                               "mmMmMMmmcm8mmmmm"
                               "mmBMBBB9--------"
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm";

static_assert(sizeof(one_byte) == 257 && sizeof(two_byte) == 257, "one character an opcode");

enum {
    NO_LENGTH = -1,
};

struct setting {
    enum decode_mode mode;
    bool p66, p67, pf2, pf3, rexw;
};

static int address_bytes(const struct setting *s)
{
    if (s->mode == DECODE_64)
        return s->p67 ? 4 : 8;
    return (s->mode == DECODE_32) == s->p67 ? 2 : 4;
}

static int z_bytes(const struct setting *s)
{
    if (s->mode == DECODE_64)
        return s->p66 && !s->rexw ? 2 : 4;
    return (s->mode == DECODE_32) == s->p66 ? 2 : 4;
}

/* ModRM, SIB and displacement. */
static int model_modrm(const struct setting *s, const uint8_t *p)
{
    int mod = p[0] / 64;
    int rm = p[0] % 8;

    if (mod == 3)
        return 1;
    if (address_bytes(s) == 2)
        return 1 + (mod == 0 ? (rm == 6 ? 2 : 0) : mod);
    int sib = rm == 4;
    int base = sib ? p[1] % 8 : rm;

    return 1 + sib + (mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0);
}

/* The groups whose length or existence hangs on ModRM.reg; p is at ModRM. */
static int model_group(const struct setting *s, char kind, const uint8_t *p)
{
    int reg = p[0] / 8 % 8;
    int m = model_modrm(s, p);
    bool simd = (s->p66 || s->pf2) && !s->pf3;

    switch (kind) {
    case 'P':
        return reg == 0 ? m : NO_LENGTH;
    case 'g':
        return reg == 0 || p[0] == 0xF8 ? m + 1 : NO_LENGTH;
    case 'G':
        return reg == 0 || p[0] == 0xF8 ? m + z_bytes(s) : NO_LENGTH;
    case '3':
        return reg < 2 ? m + 1 : m;
    case '4':
        return reg < 2 ? m + z_bytes(s) : m;
    case 'i':
        return reg < 2 ? m : NO_LENGTH;
    case '5':
        return reg == 7 || ((reg == 3 || reg == 5) && p[0] >= 0xC0) ? NO_LENGTH : m;
    case '6':
        return reg < 6 ? m : NO_LENGTH;
    case '8':
        return reg < 4 ? NO_LENGTH : m + 1;
    case '9':
        return reg == 1 && p[0] >= 0xC0 ? NO_LENGTH : m;
    case 'c':
        return s->pf3 ? m : NO_LENGTH;
    default: /* q */
        return simd ? m + 2 : m;
    }
}

/* Bytes after the opcode; p is behind it. */
static int model_rest(const struct setting *s, char kind, const uint8_t *p)
{
    bool in64 = s->mode == DECODE_64;
    int m = model_modrm(s, p);

    switch (kind) {
    case '-':
        return 0;
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'e':
        return 3;
    case 'z':
        return z_bytes(s);
    case 'v':
        return s->rexw ? 8 : z_bytes(s);
    case 'j':
        return in64 ? 4 : z_bytes(s);
    case 'm':
        return m;
    case 'B':
        return m + 1;
    case 'Z':
        return m + z_bytes(s);
    case 'M':
        return p[0] >= 0xC0 ? NO_LENGTH : m;
    case 'R':
        return 1;
    case 'o':
        return address_bytes(s);
    case 'f':
        return in64 ? NO_LENGTH : z_bytes(s) + 2;
    case 'n':
        return in64 ? NO_LENGTH : 0;
    case 'd':
        return in64 ? NO_LENGTH : 1;
    case 'C':
        return in64 ? NO_LENGTH : m + 1;
    case 'N':
        return in64 || p[0] >= 0xC0 ? NO_LENGTH : m;
    case 'x':
        return NO_LENGTH;
    default:
        return model_group(s, kind, p);
    }
}

static uint32_t random_state = 1;

static uint8_t random_byte(void)
{
    random_state = random_state * 1664525 + 1013904223;
    return random_state >> 24;
}

/* Fails with the bytes in the message. */
static void fail_case(const char *what, enum decode_mode mode, const uint8_t *bytes, int expected,
                      int found)
{
    char text[64];

    for (size_t i = 0; i < 16; i++)
        sprintf(text + 3 * i, " %02x", bytes[i]);
    ck_abort_msg("%s: mode %d bytes%s: expected %d, found %d", what, mode, text, expected, found);
}

/* One case: bytes[0..15] hold the instruction, expected is its length or NO_LENGTH. */
static void check_length(enum decode_mode mode, const uint8_t *bytes, int expected)
{
    struct decoded d;
    int status = decode(bytes, 16, mode, &d);

    if (expected == NO_LENGTH || expected > DECODE_MAX_LENGTH) {
        if (status != DECODE_INVALID)
            fail_case("validity", mode, bytes, DECODE_INVALID, status == 0 ? d.length : status);
        return;
    }
    if (status != DECODE_OK || d.length != expected)
        fail_case("length", mode, bytes, expected, status == 0 ? d.length : status);
    status = decode(bytes, (unsigned)expected - 1, mode, &d);
    if (status != DECODE_TRUNCATED)
        fail_case("truncation", mode, bytes, DECODE_TRUNCATED, status);
}

/* Calls check_length for ModRM 0..255 and, where one follows, several SIB bytes. */
static void sweep_modrm(const struct setting *s, uint8_t *bytes, int at, char kind)
{
    static const uint8_t sibs[] = {0x00, 0x05, 0x24, 0x25, 0xE5, 0x6D};
    int sib_count = sizeof(sibs);

    for (int modrm = 0; modrm < 256; modrm++) {
        bytes[at] = (uint8_t)modrm;
        int count = modrm < 0xC0 && modrm % 8 == 4 ? sib_count : 1;

        for (int i = 0; i < count; i++) {
            for (int k = at + 1; k < 16; k++)
                bytes[k] = random_byte();
            if (count > 1)
                bytes[at + 1] = sibs[i];
            int rest = model_rest(s, kind, bytes + at);

            check_length(s->mode, bytes, rest == NO_LENGTH ? NO_LENGTH : at + rest);
        }
    }
}

static char opcode_kind(int map, int opcode)
{
    if (map == 0)
        return one_byte[opcode];
    if (map == 1)
        return two_byte[opcode];
    return (char)(map == 2 ? 'm' : 'B');
}

/* What a byte pair starts that is not the old opcode: VEX, XOP, EVEX. */
static bool is_extension(enum decode_mode mode, int opcode, int modrm)
{
    if (opcode == 0xC4 || opcode == 0xC5 || opcode == 0x62)
        return mode == DECODE_64 || modrm >= 0xC0;
    return opcode == 0x8F && (modrm & 0x1F) >= 8;
}

static void sweep_one(const struct setting *s, uint8_t *bytes, int at, int opcode)
{
    char kind = opcode_kind(0, opcode);

    if (kind == 'p' || (s->mode == DECODE_64 && opcode >= 0x40 && opcode < 0x50))
        return;
    bytes[at] = (uint8_t)opcode;
    if (kind != 'N' && kind != 'P') {
        sweep_modrm(s, bytes, at + 1, kind);
        return;
    }
    for (int modrm = 0; modrm < 256; modrm++) {
        bytes[at + 1] = (uint8_t)modrm;
        for (int k = at + 2; k < 16; k++)
            bytes[k] = random_byte();
        int rest = model_rest(s, kind, bytes + at + 1);

        if (!is_extension(s->mode, opcode, modrm))
            check_length(s->mode, bytes, rest == NO_LENGTH ? NO_LENGTH : at + 1 + rest);
    }
}

static void sweep_maps(const struct setting *s, const uint8_t *prefix, int count)
{
    static const uint8_t escape[4] = {0, 0, 0x38, 0x3A};
    uint8_t bytes[16];

    memcpy(bytes, prefix, (size_t)count);
    for (int opcode = 0; opcode < 256; opcode++)
        sweep_one(s, bytes, count, opcode);
    for (int map = 1; map < 4; map++) {
        int at = count;

        bytes[at++] = 0x0F;
        if (map > 1)
            bytes[at++] = escape[map];
        for (int opcode = 0; opcode < 256; opcode++) {
            bytes[at] = (uint8_t)opcode;
            if (opcode_kind(map, opcode) != 'p')
                sweep_modrm(s, bytes, at + 1, opcode_kind(map, opcode));
        }
    }
}

/* The setting that a prefix string makes, in the words of SDM 2, 2.1.1 and 2.2.1. */
static struct setting interpret(enum decode_mode mode, const uint8_t *prefix, int count)
{
    struct setting s = {.mode = mode};

    for (int i = 0; i < count; i++) {
        s.p66 = s.p66 || prefix[i] == 0x66;
        s.p67 = s.p67 || prefix[i] == 0x67;
        if (prefix[i] == 0xF2 || prefix[i] == 0xF3) {
            s.pf2 = prefix[i] == 0xF2;
            s.pf3 = prefix[i] == 0xF3;
        }
        s.rexw = i == count - 1 && mode == DECODE_64 && (prefix[i] & 0xF8) == 0x48;
    }
    return s;
}

START_TEST(test_every_opcode)
{
    static const char *const prefixes[] = {
        "",     "\x66",     "\x67",     "\x66\x67",     "\xF2",     "\xF3",     "\x2E",
        "\x65", "\x66\xF3", "\xF2\x66", "\x67\x36\x66", "\xF3\xF2", "\xF2\xF3", "\x48",
        "\x47", "\x66\x48", "\x48\x66", "\x67\x4F",     "\x40\x48", "\x48\x41",
    };
    enum decode_mode mode = (enum decode_mode)_i;

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        const uint8_t *prefix = (const uint8_t *)prefixes[i];
        int count = (int)strlen(prefixes[i]);
        bool rex = false;

        for (int k = 0; k < count; k++)
            rex = rex || (prefix[k] & 0xF0) == 0x40;
        if (rex && mode != DECODE_64)
            continue;
        struct setting s = interpret(mode, prefix, count);

        sweep_maps(&s, prefix, count);
    }
}
END_TEST

/* All SIB bytes behind all ModRM bytes, with an immediate after them. */
START_TEST(test_every_sib)
{
    static const uint8_t prefixes[] = {0x3E, 0x67, 0x66, 0x42};
    enum decode_mode mode = (enum decode_mode)_i;

    for (size_t i = 0; i < sizeof(prefixes) - (mode != DECODE_64); i++) {
        struct setting s = interpret(mode, &prefixes[i], 1);

        for (int pair = 0; pair < 65536; pair++) {
            uint8_t bytes[16] = {prefixes[i], 0x81, (uint8_t)(pair >> 8), (uint8_t)pair};

            check_length(mode, bytes, 2 + model_rest(&s, 'Z', bytes + 2));
        }
    }
}
END_TEST

/* The length of a vector opcode behind its prefix, by map number. */
static int model_vector(const struct setting *s, int map, bool vex, const uint8_t *p)
{
    static const uint8_t with_byte[] = {0x70, 0x71, 0x72, 0x73, 0xC2, 0xC4, 0xC5, 0xC6};
    int m = 1 + model_modrm(s, p + 1);

    if (map == 1 && vex && p[0] == 0x77)
        return 1;
    if (map == 3 || map == 8)
        return m + 1;
    if (map == 10)
        return m + 4;
    if (map == 1 && memchr(with_byte, p[0], sizeof(with_byte)) != NULL)
        return m + 1;
    return m;
}

/* Opcodes of the maps that no vector instruction has; their length has no meaning. */
static bool vector_opcode_unused(int map, int opcode)
{
    return map == 1 && (opcode == 0x0F || opcode == 0xA4 || opcode == 0xAC);
}

/* Checks one vector prefix of count bytes with all opcodes and some ModRM bytes. */
static void sweep_vector(const struct setting *s, uint8_t *bytes, int count, int map, bool exists)
{
    static const uint8_t modrms[] = {0x00, 0x05, 0x06, 0x44, 0x86, 0xC1, 0xF8};
    bool vex = bytes[s->p67] != 0x62;

    for (int opcode = 0; opcode < 256; opcode++) {
        if (vector_opcode_unused(map, opcode))
            continue;
        for (size_t i = 0; i < 2 * sizeof(modrms); i++) {
            bytes[count] = (uint8_t)opcode;
            bytes[count + 1] = modrms[i / 2];
            bytes[count + 2] = i % 2 == 0 ? 0x00 : 0x25; /* SIB with and without base */
            int expected = model_vector(s, map, vex, bytes + count);

            check_length(s->mode, bytes, exists ? count + expected : NO_LENGTH);
        }
    }
}

START_TEST(test_vector_prefixes)
{
    static const struct {
        uint8_t first;
        int bytes, map_bits;
        uint32_t maps;
    } kinds[] = {
        {0xC5, 2, 0, 1 << 1},
        {0xC4, 3, 0x1F, 1 << 1 | 1 << 2 | 1 << 3},
        {0x8F, 3, 0x1F, 1 << 8 | 1 << 9 | 1 << 10},
        {0x62, 4, 0x07, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6},
    };
    enum decode_mode mode = (enum decode_mode)_i;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) * 512; i++) {
        int k = (int)(i / 512);
        int p67 = (int)(i & 1);
        uint8_t second = (uint8_t)(i >> 1);
        uint8_t bytes[16] = {0x67};
        struct setting s = {.mode = mode, .p67 = p67 != 0};
        int map = kinds[k].map_bits != 0 ? second & kinds[k].map_bits : 1;
        bool exists =
            (kinds[k].maps >> map & 1) != 0 && (kinds[k].first != 0x62 || (second & 8) == 0);

        bytes[p67] = kinds[k].first;
        bytes[p67 + 1] = second;
        bytes[p67 + 2] = 0x7D; /* W 0, bit 2 set as EVEX wants it */
        bytes[p67 + 3] = 0x08;
        if (is_extension(mode, kinds[k].first, second))
            sweep_vector(&s, bytes, p67 + kinds[k].bytes, map, exists);
    }
}
END_TEST

/* No REX, LOCK or SIMD prefix goes before a vector prefix; EVEX has a fixed bit. */
START_TEST(test_vector_refusals)
{
    static const uint8_t before[] = {0x66, 0xF2, 0xF3, 0xF0, 0x40, 0x4F};
    uint8_t evex_clear[16] = {0x62, 0xF1, 0x78, 0x08, 0x10, 0xC0};

    for (size_t i = 0; i < sizeof(before); i++) {
        uint8_t vex[16] = {before[i], 0xC5, 0xF8, 0x77};
        uint8_t evex[16] = {before[i], 0x62, 0xF1, 0x7C, 0x48, 0x10, 0xC0};
        uint8_t xop[16] = {before[i], 0x8F, 0xE9, 0x78, 0x12, 0xC0};

        check_length(DECODE_64, vex, NO_LENGTH);
        check_length(DECODE_64, evex, NO_LENGTH);
        check_length(DECODE_64, xop, NO_LENGTH);
    }
    check_length(DECODE_64, evex_clear, NO_LENGTH);
    evex_clear[2] = 0x7C;
    check_length(DECODE_64, evex_clear, 6);
}
END_TEST

/* LOCK: exactly the read-modify-write opcodes, exactly with memory (SDM 2, LOCK). */
START_TEST(test_lock)
{
    static const uint8_t plain[] = {0x00, 0x01, 0x08, 0x09, 0x10, 0x11, 0x18, 0x19,
                                    0x20, 0x21, 0x28, 0x29, 0x30, 0x31, 0x86, 0x87};
    static const uint8_t escaped[] = {0xAB, 0xB0, 0xB1, 0xB3, 0xBB, 0xC0, 0xC1};

    for (int i = 0; i < 2 * 65536; i++) {
        int map = i >> 16;
        uint8_t opcode = (uint8_t)(i >> 8);
        uint8_t modrm = (uint8_t)i;
        int reg = modrm >> 3 & 7;
        bool allowed;
        uint8_t bytes[16] = {0xF0, 0x0F, opcode, modrm};
        struct decoded d;

        if (map == 0) {
            bytes[1] = opcode;
            bytes[2] = modrm;
            allowed = memchr(plain, opcode, sizeof(plain)) != NULL ||
                      (opcode >= 0x80 && opcode <= 0x83 && opcode != 0x82 && reg != 7) ||
                      ((opcode == 0xF6 || opcode == 0xF7) && (reg == 2 || reg == 3)) ||
                      (opcode >= 0xFE && reg < 2);
        } else {
            allowed = memchr(escaped, opcode, sizeof(escaped)) != NULL ||
                      (opcode == 0xBA && reg > 4) || (opcode == 0xC7 && reg == 1);
        }
        allowed = allowed && modrm < 0xC0;
        if (map == 1 && (opcode == 0x20 || opcode == 0x22))
            allowed = true; /* CR8 on AMD */
        if (map == 0 && (one_byte[opcode] == 'p' || (opcode & 0xF0) == 0x40))
            continue;
        if ((decode(bytes, 16, DECODE_64, &d) == DECODE_OK) != allowed)
            fail_case("lock", DECODE_64, bytes, allowed, !allowed);
    }
}
END_TEST

START_TEST(test_limits)
{
    struct decoded d;
    uint8_t bytes[32];

    /* 14 prefixes and NOP are an instruction, 15 are none; neither needs more than 15 bytes. */
    memset(bytes, 0x66, sizeof(bytes));
    ck_assert_int_eq(decode(bytes, 0, DECODE_64, &d), DECODE_TRUNCATED);
    ck_assert_int_eq(decode(bytes, 14, DECODE_64, &d), DECODE_TRUNCATED);
    ck_assert_int_eq(decode(bytes, 15, DECODE_64, &d), DECODE_INVALID);
    ck_assert_int_eq(decode(bytes, 32, DECODE_64, &d), DECODE_INVALID);
    bytes[14] = 0x90;
    ck_assert_int_eq(decode(bytes, 15, DECODE_64, &d), DECODE_OK);
    ck_assert_uint_eq(d.length, 15);
    ck_assert_int_eq(decode(bytes, 14, DECODE_64, &d), DECODE_TRUNCATED);
    /* A displacement over the limit is known to be so before its bytes are there. */
    bytes[10] = 0x8B;
    bytes[11] = 0x80;
    ck_assert_int_eq(decode(bytes, 12, DECODE_64, &d), DECODE_INVALID);
    bytes[9] = 0x8B;
    bytes[10] = 0x80;
    ck_assert_int_eq(decode(bytes, 12, DECODE_64, &d), DECODE_TRUNCATED);
    ck_assert_int_eq(decode(bytes, 15, DECODE_64, &d), DECODE_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode");
    TCase *sweeps = tcase_create("sweeps");
    TCase *rules = tcase_create("rules");
    SRunner *runner;
    int failed;

    tcase_set_timeout(sweeps, 120);
    tcase_add_loop_test(sweeps, test_every_opcode, DECODE_16, DECODE_64 + 1);
    tcase_add_loop_test(sweeps, test_every_sib, DECODE_16, DECODE_64 + 1);
    tcase_add_loop_test(sweeps, test_vector_prefixes, DECODE_16, DECODE_64 + 1);
    tcase_add_test(rules, test_vector_refusals);
    tcase_add_test(rules, test_lock);
    tcase_add_test(rules, test_limits);
    suite_add_tcase(suite, sweeps);
    suite_add_tcase(suite, rules);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
