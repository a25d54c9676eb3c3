// SPDX-License-Identifier: BSD-2-Clause-Patent
// The decoding of hypercalls against a second reading of the specification: ten million calls of
// random shape, control words, operands and address spaces. The model takes a control word apart by
// division and lays lists out as intervals of bytes; it shares no line with the decoder.
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "corbel/hypercall.h"

#define CASES 10000000u

static uint64_t seed = 0x853c49e6748fea9bull;

static uint64_t random64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t limit)
{
    return (random64() >> 20) % limit;
}

// ---- a call -------------------------------------------------------------------------------------

struct call {
    struct hypercall_descriptor d;
    uint64_t control, word[2], pages;
    bool wide;
};

enum verdict { CALL_GOOD, CALL_BAD_INPUT, CALL_BAD_ADDRESS };

struct reading {
    enum verdict verdict;
    bool fast, input_beyond_two, answers;
    unsigned count, start, header, input, output, first_answer;
};

// ---- the model ----------------------------------------------------------------------------------

// The next field of `width` values, off the low end.
static unsigned take(uint64_t *word, uint64_t width)
{
    uint64_t rest = *word / width, value = *word - rest * width;

    *word = rest;
    return (unsigned)value;
}

// Does a list of so many bytes have a place in one page of the address space?
static bool has_place(uint64_t address, unsigned bytes, uint64_t pages)
{
    unsigned __int128 end = (unsigned __int128)address + bytes;
    unsigned __int128 space = (unsigned __int128)pages * 4096;

    if (bytes == 0)
        return true;
    return address % 8 == 0 && end <= space && (end - 1) / 4096 == address / 4096;
}

static struct reading read_call(const struct call *c)
{
    struct reading r = {.verdict = CALL_GOOD};
    uint64_t word = c->control;
    const bool rep =
        c->d.kind == HYPERCALL_REP || c->d.kind == (HYPERCALL_REP | HYPERCALL_VARIABLE);
    const bool variable = c->d.kind >= HYPERCALL_VARIABLE;
    unsigned zero, slots;

    take(&word, 65536); // call code
    r.fast = take(&word, 2);
    r.header = take(&word, 1024) * 8;
    zero = take(&word, 32); // with the bit for nested hypervisors
    r.count = take(&word, 4096);
    zero += take(&word, 16);
    r.start = take(&word, 4096);
    zero += (unsigned)word;
    r.input = c->d.input_size + r.header + r.count * c->d.element_in;
    r.output = c->d.output_size + r.count * c->d.element_out;
    if (zero || r.header > (variable ? 520u : 0u) || (rep && r.count <= r.start) ||
        (!rep && r.count + r.start > 0)) {
        r.verdict = CALL_BAD_INPUT;
        return r;
    }
    if (!r.fast) {
        if (!has_place(c->word[0], r.input, c->pages) || !has_place(c->word[1], r.output, c->pages))
            r.verdict = CALL_BAD_ADDRESS;
        return r;
    }
    slots = r.input / 16 + (r.input % 16 > 0);
    r.input_beyond_two = r.input > 16;
    r.answers = r.output > 0;
    r.first_answer = slots * 16;
    slots += r.output / 16 + (r.output % 16 > 0);
    if (slots > 7 || (r.answers && !c->wide))
        r.verdict = CALL_BAD_INPUT;
    return r;
}

// ---- the decoder --------------------------------------------------------------------------------

static enum verdict decode(const struct call *c, struct hypercall_plan *plan)
{
    if (hypercall_plan(&c->d, c->control, c->wide, plan) != HV_STATUS_SUCCESS)
        return CALL_BAD_INPUT;
    if (plan->fast)
        return CALL_GOOD;
    if ((plan->input_bytes && !hypercall_list_valid(c->word[0], plan->input_bytes, c->pages)) ||
        (plan->output_bytes && !hypercall_list_valid(c->word[1], plan->output_bytes, c->pages)))
        return CALL_BAD_ADDRESS;
    return CALL_GOOD;
}

// ---- random calls -------------------------------------------------------------------------------

// Shapes as the specification has them, and then some.
static void make_shape(struct call *c)
{
    memset(&c->d, 0, sizeof(c->d));
    c->d.kind = (uint8_t)below(4);
    c->d.input_size = (uint8_t)(below(2) ? below(31) * 8 : below(241));
    if (c->d.kind & HYPERCALL_REP) {
        c->d.element_in = (uint8_t)(below(9) * 4);
        c->d.element_out = (uint8_t)(below(2) ? below(9) * 4 : 0);
    } else {
        c->d.output_size = (uint8_t)(below(2) ? below(9) * 8 : below(65));
    }
}

// Mostly near the valid ones: a random word is nearly always refused for its reserved bits.
static void make_control(struct call *c)
{
    if (below(16) == 0) {
        c->control = random64();
        return;
    }
    c->control = below(65536) | below(2) << 16;
    if (below(3) == 0)
        c->control |= below(below(2) ? 9 : 1024) << 17;
    if ((c->d.kind & HYPERCALL_REP) || below(16) == 0)
        c->control |= below(below(2) ? 12 : 4096) << 32;
    if (below(4) == 0)
        c->control |= below(below(2) ? 12 : 4096) << 48;
    if (below(16) == 0)
        c->control |= 1ull << below(64);
}

static uint64_t make_address(const struct call *c)
{
    uint64_t address = below(below(8) ? c->pages + 1 : 1ull << 40) * 4096;

    address += below(4) ? below(512) * 8 : below(4096);
    return below(64) ? address : random64();
}

static void make_call(struct call *c)
{
    make_shape(c);
    make_control(c);
    c->wide = below(2);
    c->pages = below(4) ? 1 + below(64) : 1 + below(1ull << 36);
    c->word[0] = make_address(c);
    c->word[1] = make_address(c);
}

static bool agree(const struct reading *r, enum verdict verdict, const struct hypercall_plan *p)
{
    if (r->verdict != verdict)
        return false;
    if (verdict != CALL_GOOD)
        return true;
    if (r->fast != p->fast || r->count != p->count || r->start != p->start ||
        r->header != p->variable || r->input != p->input_bytes || r->output != p->output_bytes)
        return false;
    return !r->fast || (r->input_beyond_two == p->xmm_input && r->answers == p->register_output &&
                        r->first_answer == p->output_offset);
}

START_TEST(decoder_and_model_agree)
{
    unsigned counts[3] = {0}, differences = 0;

    for (unsigned i = 0; i < CASES; i++) {
        struct hypercall_plan plan;
        struct reading r;
        struct call c;
        enum verdict verdict;

        make_call(&c);
        r = read_call(&c);
        verdict = decode(&c, &plan);
        counts[r.verdict]++;
        if (agree(&r, verdict, &plan))
            continue;
        if (differences++ < 10)
            printf("kind %u in %u %u out %u %u control %016llx wide %d words %llx %llx pages %llx: "
                   "model %d decoder %d\n",
                   c.d.kind, c.d.input_size, c.d.element_in, c.d.output_size, c.d.element_out,
                   (unsigned long long)c.control, c.wide, (unsigned long long)c.word[0],
                   (unsigned long long)c.word[1], (unsigned long long)c.pages, r.verdict, verdict);
    }
    ck_assert_uint_eq(differences, 0);
    for (unsigned i = 0; i < 3; i++) // each outcome is really exercised
        ck_assert_uint_gt(counts[i], CASES / 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hypercall_model");
    TCase *tcase = tcase_create("hypercall_model");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, decoder_and_model_agree);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
