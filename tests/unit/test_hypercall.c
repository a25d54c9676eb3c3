// SPDX-License-Identifier: BSD-2-Clause-Patent
// The table of calls against the numbers of the specification, and the decoding of control words
// against a model that works bit by bit and byte by byte.
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "corbel/vpset.h"
#include "hypercall/list.h"

#define STUB(code, name, ...)                                                                      \
    uint16_t hypercall_##name(struct hypercall *call)                                              \
    {                                                                                              \
        (void)call;                                                                                \
        return HV_STATUS_SUCCESS;                                                                  \
    }
HYPERCALL_LIST(STUB)
HYPERCALL_EXTENDED_LIST(STUB)

// ---- the table ----------------------------------------------------------------------------------

// tlfs-reference 1.1, written down a second time: code, rep, variable, input, element in, element
// out, output, privilege bit (or -1); in bits 15:8 another one.
static const struct {
    uint16_t code;
    uint8_t rep, variable;
    uint16_t input, in, out, output;
    int privilege;
} expected[] = {
    {0x0001, 0, 0, 8, 0, 0, 0, -1},    {0x0002, 0, 0, 24, 0, 0, 0, -1},
    {0x0003, 1, 0, 24, 8, 0, 0, -1},   {0x0008, 0, 0, 8, 0, 0, 0, -1},
    {0x000b, 0, 0, 16, 0, 0, 0, -1},   {0x0013, 0, 1, 32, 0, 0, 0, -1},
    {0x0014, 1, 1, 32, 8, 0, 0, -1},   {0x0015, 0, 1, 24, 0, 0, 0, -1},
    {0x0040, 0, 0, 56, 0, 0, 8, 32},   {0x0041, 0, 0, 8, 0, 0, 0, 32},
    {0x0042, 0, 0, 8, 0, 0, 0, 32},    {0x0043, 0, 0, 8, 0, 0, 0, 32},
    {0x0044, 0, 0, 16, 0, 0, 8, 32},   {0x0045, 0, 0, 24, 0, 0, 0, 32},
    {0x0046, 0, 0, 0, 0, 0, 8, 33},    {0x0047, 0, 0, 16, 0, 0, 8, 32},
    {0x0048, 1, 0, 8, 8, 0, 0, 34},    {0x0049, 1, 0, 16, 0, 8, 0, 34},
    {0x004a, 0, 0, 16, 0, 0, 16, 34},  {0x004b, 1, 0, 24, 8, 0, 0, 32},
    {0x004c, 1, 0, 24, 0, 0, 0, 32},   {0x004d, 0, 0, 24, 0, 0, 0, 32},
    {0x004e, 0, 0, 40, 0, 0, 0, 32},   {0x004f, 0, 0, 16, 0, 0, 0, 32},
    {0x0050, 1, 0, 16, 4, 16, 0, 32},  {0x0051, 1, 0, 16, 32, 0, 0, 32},
    {0x0052, 0, 0, 32, 0, 0, 16, 32},  {0x0053, 0, 0, 32, 0, 0, 24, 32},
    {0x0054, 0, 0, 48, 0, 0, 8, 32},   {0x0055, 0, 0, 32, 0, 0, 0, 32},
    {0x0056, 0, 0, 8, 0, 0, 0, 32},    {0x006e, 1, 0, 16, 16, 0, 0, 32},
    {0x0090, 1, 0, 16, 8, 0, 0, 32},   {0x0094, 0, 0, 32, 0, 0, 0, 32},
    {0x0099, 0, 0, 240, 0, 0, 0, -1},  {0x009a, 1, 0, 16, 4, 4, 0, -1},
    {0x00ac, 0, 0, 32, 0, 0, 64, 32},  {0x007e, 0, 1, 56, 0, 0, 0, -1},
    {0x0091, 0, 0, 60, 0, 0, 0, 32},   {0x0092, 0, 0, 28, 0, 0, 0, 32},
    {0x00f4, 1, 0, 24, 24, 16, 0, 32}, {0x8001, 0, 0, 0, 0, 0, 8, 52},
    {0x0057, 0, 0, 48, 0, 0, 0, 38},   {0x0058, 0, 0, 16, 0, 0, 0, 38},
    {0x0059, 0, 0, 40, 0, 0, 0, 39},   {0x005a, 0, 0, 24, 0, 0, 8, 38},
    {0x005b, 0, 0, 16, 0, 0, 0, 39},   {0x005c, 0, 0, 256, 0, 0, 0, 36},
    {0x005d, 0, 0, 8, 0, 0, 0, 37},    {0x0070, 0, 0, 32, 0, 0, 8, 38},
    {0x008b, 0, 0, 8, 0, 0, 0, -1},    {0x0095, 0, 0, 56, 0, 0, 0, 38},
    {0x0096, 0, 0, 72, 0, 0, 0, 39},   {0x00c0, 0, 0, 16, 0, 0, 8, 32},
    {0x00c1, 0, 0, 280, 0, 0, 0, 32},  {0x006f, 0, 0, 72, 0, 0, 0, 32},
    {0x007b, 0, 0, 16, 0, 0, 8, 32},   {0x0103, 0, 0, 32, 0, 0, 0, 9 << 8 | 1},
    {0x00c9, 1, 0, 24, 0, 1, 0, 32},   {0x006c, 0, 0, 24, 0, 0, 8, 32},
    {0x006d, 0, 0, 24, 0, 0, 0, 32},   {0x00c2, 0, 0, 32, 0, 0, 8, 32},
    {0x00e1, 0, 0, 24, 0, 0, 8, 32},   {0x00e2, 0, 0, 16, 0, 0, 0, 32},
};
#define EXPECTED (sizeof(expected) / sizeof(expected[0]))

START_TEST(table_matches_specification)
{
    ck_assert_uint_eq(hypercall_rows, EXPECTED + 1);
    for (size_t i = 0; i < EXPECTED; i++) {
        uint32_t row = hypercall_row(expected[i].code);
        const struct hypercall_descriptor *d = &hypercall_table[row];

        ck_assert_msg(row != 0, "call %04x is missing", expected[i].code);
        ck_assert_ptr_nonnull(d->handler);
        ck_assert_uint_eq(d->code, expected[i].code);
        ck_assert_uint_eq(!!(d->kind & HYPERCALL_REP), expected[i].rep);
        ck_assert_uint_eq(!!(d->kind & HYPERCALL_VARIABLE), expected[i].variable);
        ck_assert_uint_eq(d->input_size, expected[i].input);
        ck_assert_uint_eq(d->element_in, expected[i].in);
        ck_assert_uint_eq(d->element_out, expected[i].out);
        ck_assert_uint_eq(d->output_size, expected[i].output);
        uint64_t privilege = expected[i].privilege < 0 ? 0 : 1ull << (expected[i].privilege & 0xff);
        privilege |= expected[i].privilege > 0xff ? 1ull << (expected[i].privilege >> 8) : 0;
        ck_assert_uint_eq(d->privilege, privilege);
    }
}
END_TEST

START_TEST(other_codes_do_not_exist)
{
    for (uint32_t code = 0; code <= 0xffff; code++) {
        bool known = false;
        for (size_t i = 0; i < EXPECTED; i++)
            known |= expected[i].code == code;
        ck_assert_msg((hypercall_row(code) != 0) == known, "code %04x", code);
    }
    ck_assert_ptr_null(hypercall_table[0].handler);
    ck_assert_uint_eq(hypercall_table[0].kind, 0);
}
END_TEST

// The short path is for calls that fit two registers and answer nothing; it checks neither variable
// headers nor reps.
START_TEST(short_path_is_for_the_simple)
{
    for (uint32_t row = 1; row < hypercall_rows; row++) {
        const struct hypercall_descriptor *d = &hypercall_table[row];
        bool simple = !(d->kind & (HYPERCALL_REP | HYPERCALL_VARIABLE));
        bool fits = simple && d->input_size <= 16 && d->output_size == 0;
        ck_assert_msg(!!(d->kind & HYPERCALL_REGISTERS) == fits, "call %04x", d->code);
        bool list = d->kind == HYPERCALL_REP && d->element_in && !d->element_out;
        ck_assert_msg(!d->listed == !list, "call %04x", d->code);
        if (list) // as many as there is room for, not one more
            ck_assert_uint_eq((HV_HYPERCALL_FAST_MAX_BYTES - d->input_size) / d->element_in,
                              d->listed);
    }
}
END_TEST

// ---- control words ------------------------------------------------------------------------------

static unsigned field(uint64_t control, unsigned low, unsigned high)
{
    unsigned value = 0;

    for (unsigned bit = high + 1; bit-- > low;)
        value = value * 2 + ((control & (1ull << bit)) != 0);
    return value;
}

struct model {
    bool valid, xmm_input, register_output;
    unsigned first_output; // byte of the register block
};

// Lays the lists out byte by byte over the seven register slots.
static struct model decode(const struct hypercall_descriptor *d, uint64_t control, bool wide)
{
    struct model m = {.valid = true};
    unsigned reps = field(control, 32, 43), start = field(control, 48, 59);
    unsigned words = field(control, 17, 26), in = d->input_size, out = d->output_size, used = 0;

    if (field(control, 27, 31) || field(control, 44, 47) || field(control, 60, 63))
        m.valid = false;
    if (d->kind & HYPERCALL_REP) {
        if (reps == 0 || start >= reps)
            m.valid = false;
    } else if (reps || start) {
        m.valid = false;
    }
    if (words && (!(d->kind & HYPERCALL_VARIABLE) || words > 65))
        m.valid = false;
    in += words * 8;
    for (unsigned i = 0; i < reps; i++) {
        in += d->element_in;
        out += d->element_out;
    }
    if (!field(control, 16, 16))
        return m;
    m.xmm_input = in > 16;
    m.register_output = out > 0;
    while (used * 16 < in)
        used++;
    m.first_output = used * 16;
    while (used * 16 < m.first_output + out)
        used++;
    if (used > 7 || (out && !wide))
        m.valid = false;
    return m;
}

static uint64_t random64(void)
{
    uint64_t value = 0;

    for (int i = 0; i < 5; i++)
        value = value << 15 ^ (uint64_t)rand();
    return value;
}

// Words near the valid ones: purely random ones are nearly all refused for the same reason.
static uint64_t random_control(const struct hypercall_descriptor *d)
{
    uint64_t control = d->code;

    control |= (uint64_t)(rand() & 1) << 16;
    if (rand() % 3 == 0)
        control |= (uint64_t)(rand() % (rand() % 2 ? 4 : 1024)) << 17;
    if ((d->kind & HYPERCALL_REP) || rand() % 8 == 0)
        control |= (uint64_t)(rand() % (rand() % 2 ? 8 : 4096)) << 32;
    if (rand() % 2)
        control |= (uint64_t)(rand() % (rand() % 2 ? 8 : 4096)) << 48;
    if (rand() % 8 == 0)
        control |= 1ull << (27 + rand() % 5);
    if (rand() % 16 == 0)
        control |= 1ull << (44 + rand() % 4);
    if (rand() % 16 == 0)
        control |= 1ull << (60 + rand() % 4);
    return control;
}

static void compare(const struct hypercall_descriptor *d, uint64_t control, bool wide)
{
    struct model m = decode(d, control, wide);
    struct hypercall_plan plan = {.xmm_input = true, .register_output = true};
    uint16_t status = hypercall_plan(d, control, wide, &plan);

    ck_assert_msg(status == (m.valid ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_HYPERCALL_INPUT),
                  "%s %016llx wide %d: status %x", d->name, (unsigned long long)control, wide,
                  status);
    if (!m.valid)
        return;
    ck_assert_uint_eq(plan.fast, field(control, 16, 16));
    ck_assert_uint_eq(plan.start, field(control, 48, 59));
    ck_assert_uint_eq(plan.count, field(control, 32, 43));
    ck_assert_uint_eq(plan.variable, field(control, 17, 26) * 8);
    ck_assert_uint_eq(plan.input_bytes, d->input_size + plan.variable + plan.count * d->element_in);
    ck_assert_uint_eq(plan.output_bytes, d->output_size + plan.count * d->element_out);
    ck_assert_uint_eq(plan.xmm_input, m.xmm_input);
    ck_assert_uint_eq(plan.register_output, m.register_output);
    if (!plan.fast)
        return;
    ck_assert_uint_eq(plan.output_offset, m.first_output);
    ck_assert_uint_le(plan.input_bytes, 112);
    ck_assert_uint_le(plan.output_offset + plan.output_bytes, 112);
}

START_TEST(control_words_near_valid)
{
    unsigned valid = 0;

    srand(1);
    for (int i = 0; i < 400000; i++) {
        const struct hypercall_descriptor *d = &hypercall_table[1 + rand() % (hypercall_rows - 1)];
        uint64_t control = random_control(d);
        bool wide = rand() & 1;
        valid += decode(d, control, wide).valid;
        compare(d, control, wide);
    }
    ck_assert_uint_gt(valid, 40000); // both outcomes are really exercised
    ck_assert_uint_lt(valid, 360000);
}
END_TEST

START_TEST(control_words_random)
{
    srand(2);
    for (int i = 0; i < 200000; i++)
        compare(&hypercall_table[1 + rand() % (hypercall_rows - 1)], random64(), rand() & 1);
}
END_TEST

START_TEST(fast_limits)
{
    const struct hypercall_descriptor *set = &hypercall_table[hypercall_row(0x51)];
    const struct hypercall_descriptor *get = &hypercall_table[hypercall_row(0x50)];
    struct hypercall_plan plan;

    // 16 + 3 * 32 bytes are exactly the 112 that fit.
    ck_assert_uint_eq(hypercall_plan(set, hv_hypercall_control(0x51, true, 0, 3), true, &plan),
                      HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hypercall_plan(set, hv_hypercall_control(0x51, true, 0, 4), true, &plan),
                      HV_STATUS_INVALID_HYPERCALL_INPUT);
    // Four names end in the second slot, their values take four; five would take five, seven in
    // all.
    ck_assert_uint_eq(hypercall_plan(get, hv_hypercall_control(0x50, true, 0, 4), true, &plan),
                      HV_STATUS_SUCCESS);
    ck_assert_uint_eq(plan.output_offset, 32);
    ck_assert_uint_eq(hypercall_plan(get, hv_hypercall_control(0x50, true, 0, 5), true, &plan),
                      HV_STATUS_INVALID_HYPERCALL_INPUT);
    ck_assert_uint_eq(hypercall_plan(get, hv_hypercall_control(0x50, true, 0, 1), false, &plan),
                      HV_STATUS_INVALID_HYPERCALL_INPUT);
    // Without input the output begins in RDX.
    ck_assert_uint_eq(hypercall_plan(&hypercall_table[hypercall_row(0x46)],
                                     hv_hypercall_control(0x46, true, 0, 0), true, &plan),
                      HV_STATUS_SUCCESS);
    ck_assert_uint_eq(plan.output_offset, 0);
    ck_assert(plan.register_output && !plan.xmm_input);
}
END_TEST

START_TEST(lists_stay_in_their_page)
{
    const uint64_t limit = 0x100; // pages

    ck_assert(hypercall_list_valid(0x1000, 4096, limit));
    ck_assert(!hypercall_list_valid(0x1008, 4096, limit));
    ck_assert(hypercall_list_valid(0x1ff8, 8, limit));
    ck_assert(!hypercall_list_valid(0x1ff8, 16, limit));
    for (unsigned odd = 1; odd < 8; odd++)
        ck_assert(!hypercall_list_valid(0x1000 + odd, 8, limit));
    ck_assert(hypercall_list_valid(0xff000, 8, limit));
    ck_assert(!hypercall_list_valid(0x100000, 8, limit));
    ck_assert(!hypercall_list_valid(UINT64_MAX - 7, 8, limit));
}
END_TEST

// ---- VP sets ------------------------------------------------------------------------------------

START_TEST(vp_sets)
{
    struct {
        struct hv_vp_set set;
        uint64_t bank[64];
    } in = {.set = {HV_VP_SET_FORMAT_SPARSE, 0x5}, .bank = {1ull << 3, 1ull << 63}};
    struct vp_set s;

    ck_assert_uint_eq(vp_set_parse(&in.set, 16, &s), HV_STATUS_SUCCESS);
    for (uint32_t i = 0; i < 300; i++)
        ck_assert_msg(vp_set_has(&s, i) == (i == 3 || i == 2 * 64 + 63), "VP %u", i);
    ck_assert_uint_eq(vp_set_parse(&in.set, 8, &s), HV_STATUS_INVALID_HYPERCALL_INPUT);
    ck_assert_uint_eq(vp_set_parse(&in.set, 24, &s), HV_STATUS_INVALID_HYPERCALL_INPUT);
    in.set.format = 2;
    ck_assert_uint_eq(vp_set_parse(&in.set, 16, &s), HV_STATUS_INVALID_PARAMETER);
    in.set.format = HV_VP_SET_FORMAT_ALL;
    ck_assert_uint_eq(vp_set_parse(&in.set, 8, &s), HV_STATUS_INVALID_HYPERCALL_INPUT);
    in.set.valid_banks_mask = 0;
    ck_assert_uint_eq(vp_set_parse(&in.set, 0, &s), HV_STATUS_SUCCESS);
    ck_assert(vp_set_has(&s, 0) && vp_set_has(&s, 255) && !vp_set_has(&s, 256));
    in.set.format = HV_VP_SET_FORMAT_SPARSE;
    ck_assert_uint_eq(vp_set_parse(&in.set, 0, &s), HV_STATUS_SUCCESS);
    for (uint32_t i = 0; i < 256; i++)
        ck_assert(!vp_set_has(&s, i));
    in.set.valid_banks_mask = UINT64_MAX; // banks of VPs that cannot exist
    in.bank[63] = UINT64_MAX;
    ck_assert_uint_eq(vp_set_parse(&in.set, 512, &s), HV_STATUS_SUCCESS);
    ck_assert(vp_set_has(&s, 3) && vp_set_has(&s, 127) && !vp_set_has(&s, 128));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hypercall");
    TCase *tcase = tcase_create("hypercall");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, table_matches_specification);
    tcase_add_test(tcase, other_codes_do_not_exist);
    tcase_add_test(tcase, short_path_is_for_the_simple);
    tcase_add_test(tcase, control_words_near_valid);
    tcase_add_test(tcase, control_words_random);
    tcase_add_test(tcase, fast_limits);
    tcase_add_test(tcase, lists_stay_in_their_page);
    tcase_add_test(tcase, vp_sets);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
