// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dynamic memory against a guest that balloons as Linux does, and against ones that lie.
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake_vmbus.h"
#include "root/lib/vsp/dynmem.h"
#include "root/lib/vsp/wire.h"

enum { PAGES = 2 * 1024 * 1024, RAM = 1024 * 1024 };

static struct vmbus_server bus;
static struct dynmem dynmem;
static struct vmbus_channel *channel;
static uint64_t bitmap[PAGES / 64];
static uint8_t owner[PAGES]; // 1: taken from the guest
static uint64_t taken_pages, hole_first, hole_count;
static unsigned dones, statuses;
static enum dynmem_operation done_operation;
static uint64_t done_pages;
static uint8_t message[4096];

static bool owns(void *ctx, uint64_t first, uint64_t count)
{
    ck_assert_ptr_eq(ctx, &bus);
    ck_assert(count != 0 && first < PAGES && count <= PAGES - first);
    return first + count <= hole_first || first >= hole_first + hole_count;
}

static void taken(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx;
    for (uint64_t i = first; i < first + count; i++) {
        ck_assert(!owner[i]);
        owner[i] = 1;
    }
    taken_pages += count;
}

static void given(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx;
    for (uint64_t i = first; i < first + count; i++) {
        ck_assert(owner[i]);
        owner[i] = 0;
    }
    taken_pages -= count;
}

static void on_status(void *ctx, const struct dynmem_status *status)
{
    (void)ctx;
    statuses++;
    ck_assert_uint_eq(status->available, 1000);
    ck_assert_uint_eq(status->committed, 2000);
    ck_assert_uint_eq(status->io_difference, 6);
}

static void done(void *ctx, enum dynmem_operation operation, uint64_t pages)
{
    (void)ctx;
    dones++;
    done_operation = operation;
    done_pages = pages;
}

static void setup(void)
{
    const struct dynmem_config config = {bitmap, PAGES, &bus, owns, taken, given, on_status, done};

    fake_init(&bus, 1);
    memset(owner, 0, sizeof owner);
    taken_pages = hole_first = hole_count = 0;
    dones = statuses = 0;
    ck_assert(dynmem_create(&dynmem, &bus, &config));
    channel = dynmem.channel;
}

static void teardown(void)
{
    fake_end(&bus);
}

static void header(uint16_t type, uint16_t size)
{
    memset(message, 0, sizeof message);
    le16_put(message, type);
    le16_put(message + 2, size);
    le32_put(message + 4, 99);
}

static void post(uint32_t size)
{
    fake_send(channel, 1, false, message, size);
    fake_run(&bus);
}

// The next message of the host, copied to `message`; 0: none. Returns its type.
static uint16_t take(void)
{
    const struct fake_packet *packet = fake_peek(channel);
    if (!packet) {
        return 0;
    }
    ck_assert_uint_le(packet->size, sizeof message);
    memcpy(message, packet->data, packet->size);
    ck_assert_uint_le(le16_get(message + 2), packet->size);
    fake_pop(channel);
    return le16_get(message);
}

static void negotiate(uint32_t version, uint64_t capabilities)
{
    ck_assert(fake_open(channel));
    header(1, 16);
    le32_put(message + 8, version);
    post(16);
    ck_assert_uint_eq(take(), 2);
    ck_assert_uint_eq(le64_get(message + 8), 1);
    ck_assert_uint_eq(le32_get(message + 4), 99);
    header(3, 32);
    le64_put(message + 8, capabilities);
    post(32);
    ck_assert_uint_eq(take(), 4);
    ck_assert_uint_eq(le64_get(message + 8) & 1, 1);
    ck_assert(!dynmem_idle(&dynmem));
    ck_assert(!dynmem_balloon(&dynmem, 1));
    bus.now += DYNMEM_DELAY_100NS;
    ck_assert(dynmem_idle(&dynmem));
}

enum { CAPS = 3 | 7 << 2 }; // both, 128 MiB

static uint64_t range_of(uint64_t first, uint64_t count)
{
    return first | count << 40;
}

// Answers the balloon request that waits, from page *next on, in pieces of `unit` pages with gaps;
// gives `limit` pages at most.
static void balloon_as_linux(uint64_t *next, uint64_t unit, uint64_t limit)
{
    ck_assert_uint_eq(take(), 6);
    uint64_t wanted = le32_get(message + 8);
    uint64_t left = wanted < limit ? wanted : limit;
    const bool all = left == wanted;

    for (;;) {
        uint32_t count = 0;
        uint64_t got = 0;
        header(7, 16);
        while (count < 510 && got < left) {
            const uint64_t part = left - got < unit ? left - got : unit;
            le64_put(message + 16 + 8 * count++, range_of(*next, part));
            *next += part + 1;
            got += part;
        }
        left -= got;
        const bool last = all ? left == 0 : got == 0;
        le16_put(message + 2, (uint16_t)(16 + 8 * count));
        le32_put(message + 12, count << 1 | !last);
        post(16 + 8 * count);
        if (last) {
            return;
        }
    }
}

START_TEST(test_versions)
{
    ck_assert(fake_open(channel));
    static const uint32_t refused[] = {0, 1, 0x30000, 0x20001, UINT32_MAX};
    for (unsigned i = 0; i < 5; i++) {
        header(1, 16);
        le32_put(message + 8, refused[i]);
        post(16);
        ck_assert_uint_eq(take(), 2);
        ck_assert_uint_eq(le64_get(message + 8), 0);
    }
    fake_close(channel);
    negotiate(DYNMEM_0_3, CAPS);
    ck_assert(!dynmem.can_hot_add);
    fake_close(channel);
    negotiate(DYNMEM_1_0, CAPS);
    ck_assert(dynmem.can_hot_add && dynmem.can_balloon);
    ck_assert_uint_eq(dynmem.alignment, 128 * 256);
    fake_close(channel);
    negotiate(DYNMEM_2_0, 0);
    ck_assert(!dynmem_balloon(&dynmem, 1));
    ck_assert(!dynmem_hot_add(&dynmem, 0, 256));
}
END_TEST

START_TEST(test_status)
{
    negotiate(DYNMEM_2_0, CAPS);
    header(5, 48);
    le64_put(message + 8, 1000);
    le64_put(message + 16, 2000);
    le32_put(message + 44, 6);
    post(48);
    ck_assert_uint_eq(statuses, 1);
    ck_assert_uint_eq(dynmem.last.committed, 2000);
}
END_TEST

START_TEST(test_balloon_up_and_down)
{
    uint64_t next = 5000;

    negotiate(DYNMEM_2_0, CAPS);
    ck_assert(!dynmem_unballoon(&dynmem, 1));
    ck_assert(dynmem_balloon(&dynmem, 600000)); // more than one request
    ck_assert(!dynmem_balloon(&dynmem, 1));
    balloon_as_linux(&next, 512, UINT64_MAX);
    ck_assert_uint_eq(dones, 0);
    balloon_as_linux(&next, 512, UINT64_MAX);
    ck_assert_uint_eq(dones, 1);
    ck_assert_int_eq(done_operation, DYNMEM_BALLOON);
    ck_assert_uint_eq(done_pages, 600000);
    ck_assert_uint_eq(taken_pages, 600000);
    ck_assert_uint_eq(dynmem.ballooned, 600000);
    // The guest has less than is asked for.
    ck_assert(dynmem_balloon(&dynmem, 5000));
    balloon_as_linux(&next, 1, 700);
    ck_assert_uint_eq(done_pages, 700);
    // And back: exactly what was given up.
    ck_assert(!dynmem_unballoon(&dynmem, 600701));
    ck_assert(dynmem_unballoon(&dynmem, 600700));
    uint64_t back = 0;
    while (take() == 8) {
        const uint32_t count = le32_get(message + 12);
        ck_assert_uint_le(count, 250);
        ck_assert_uint_eq(le16_get(message + 2), 16 + 8 * count);
        for (uint32_t i = 0; i < count; i++) {
            const uint64_t range = le64_get(message + 16 + 8 * i);
            const uint64_t first = range & (UINT64_MAX >> 24);
            for (uint64_t j = first; j < first + (range >> 40); j++) {
                ck_assert(!owner[j]); // its own before it hears of it
            }
            back += range >> 40;
        }
        header(9, 8);
        post(8);
    }
    ck_assert_uint_eq(back, 600700);
    ck_assert_uint_eq(done_pages, 600700);
    ck_assert_uint_eq(taken_pages, 0);
    for (unsigned i = 0; i < PAGES / 64; i++) {
        ck_assert_uint_eq(bitmap[i], 0);
    }
}
END_TEST

START_TEST(test_unballoon_in_parts)
{
    uint64_t next = 100;

    negotiate(DYNMEM_2_0, CAPS);
    dynmem_balloon(&dynmem, 1000);
    balloon_as_linux(&next, 64, UINT64_MAX);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert(dynmem_unballoon(&dynmem, 100));
        ck_assert_uint_eq(take(), 8);
        header(9, 8);
        post(8);
        ck_assert_uint_eq(done_pages, 100);
        ck_assert_uint_eq(taken_pages, 1000 - 100 * (i + 1));
    }
}
END_TEST

START_TEST(test_hot_add)
{
    negotiate(DYNMEM_2_0, CAPS);
    const uint64_t block = dynmem.alignment;
    ck_assert(!dynmem_hot_add(&dynmem, RAM + 1, block));
    ck_assert(!dynmem_hot_add(&dynmem, RAM, block + 256));
    ck_assert(!dynmem_hot_add(&dynmem, PAGES, block));
    ck_assert(!dynmem_hot_add(&dynmem, RAM, PAGES));
    ck_assert(!dynmem_hot_add(&dynmem, RAM, 0));
    ck_assert(dynmem_hot_add(&dynmem, RAM, 20 * block));
    ck_assert_uint_eq(take(), 10);
    ck_assert_uint_eq(le64_get(message + 8), range_of(RAM, 16 * block)); // 2 GiB at a time
    ck_assert_uint_eq(le64_get(message + 16), range_of(RAM, 16 * block));
    header(11, 16);
    le32_put(message + 8, 16 * (uint32_t)block);
    le32_put(message + 12, 1);
    post(16);
    ck_assert_uint_eq(dones, 0);
    ck_assert_uint_eq(take(), 10);
    ck_assert_uint_eq(le64_get(message + 8), range_of(RAM + 16 * block, 4 * block));
    header(11, 16);
    le32_put(message + 8, 3 * (uint32_t)block); // it takes less
    le32_put(message + 12, 1);
    post(16);
    ck_assert_int_eq(done_operation, DYNMEM_HOT_ADD);
    ck_assert_uint_eq(done_pages, 19 * block);
    ck_assert(dynmem_hot_add(&dynmem, RAM + 19 * block, block));
    ck_assert_uint_eq(take(), 10);
    header(11, 16); // not now
    post(16);
    ck_assert_uint_eq(done_pages, 0);
    ck_assert_uint_eq(dones, 2);
}
END_TEST

START_TEST(test_close_gives_back)
{
    uint64_t next = 7;

    negotiate(DYNMEM_2_0, CAPS);
    dynmem_balloon(&dynmem, 3000);
    balloon_as_linux(&next, 100, UINT64_MAX);
    dynmem_balloon(&dynmem, 3000);
    fake_close(channel);
    ck_assert_uint_eq(taken_pages, 0);
    ck_assert_uint_eq(dynmem.ballooned, 0);
    ck_assert_uint_eq(dones, 2);
    ck_assert_uint_eq(done_pages, 0);
    negotiate(DYNMEM_2_0, CAPS);
    dynmem_balloon(&dynmem, 10);
    next = 7;
    balloon_as_linux(&next, 100, UINT64_MAX);
    dynmem_remove(&dynmem);
    fake_run(&bus);
    ck_assert(dynmem_gone(&dynmem));
    ck_assert_uint_eq(taken_pages, 0);
}
END_TEST

START_TEST(test_full_ring)
{
    uint64_t next = 7;

    negotiate(DYNMEM_2_0, CAPS);
    channel->room = 0;
    ck_assert(dynmem_balloon(&dynmem, 100));
    ck_assert_uint_eq(take(), 0);
    channel->room = 2;
    vmbus_channel_wake(channel);
    fake_run(&bus);
    balloon_as_linux(&next, 10, UINT64_MAX);
    ck_assert_uint_eq(done_pages, 100);
    channel->room = 0;
    ck_assert(dynmem_unballoon(&dynmem, 100));
    ck_assert_uint_eq(taken_pages, 100); // nothing is given before it can be told
    channel->room = 2;
    vmbus_channel_wake(channel);
    fake_run(&bus);
    ck_assert_uint_eq(take(), 8);
    ck_assert_uint_eq(taken_pages, 0);
}
END_TEST

// Answers to a request for 100 pages that end the channel; nothing stays taken.
START_TEST(test_lies)
{
    static const struct {
        uint32_t word; // more, and count
        uint64_t ranges[2];
    } lies[] = {
        {2, {UINT64_C(101) << 40 | 10}},                         // more than asked for
        {4, {UINT64_C(100) << 40 | 10, UINT64_C(1) << 40}},      // the same, in two
        {4, {UINT64_C(10) << 40 | 10, UINT64_C(10) << 40 | 19}}, // one page twice
        {2, {UINT64_C(10) << 40 | PAGES}},                       // beyond
        {2, {UINT64_C(10) << 40 | (PAGES - 5)}},
        {2, {UINT64_C(10) << 40 | 0xFFFFFFFFFF}},
        {2, {10}},                        // empty
        {2, {UINT64_C(10) << 40 | 4090}}, // not its own
        {6, {UINT64_C(1) << 40 | 10}},    // more ranges than there are
        {UINT32_MAX, {UINT64_C(1) << 40 | 10}},
        {1, {0}}, // nothing, and more
    };

    hole_first = 4096;
    hole_count = 256;
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        negotiate(DYNMEM_2_0, CAPS);
        ck_assert(dynmem_balloon(&dynmem, 100));
        ck_assert_uint_eq(take(), 6);
        header(7, 32);
        le32_put(message + 12, lies[i].word);
        le64_put(message + 16, lies[i].ranges[0]);
        le64_put(message + 24, lies[i].ranges[1]);
        channel->last_failure = NULL;
        post(32);
        ck_assert_msg(channel->last_failure != NULL, "lie %u", i);
        ck_assert(!channel->open);
        ck_assert_uint_eq(taken_pages, 0);
        ck_assert_uint_eq(dones, i + 1);
    }
}
END_TEST

START_TEST(test_malformed)
{
    static const struct {
        uint16_t type, size, sent;
    } messages[] = {
        {1, 8, 16},  {1, 16, 8},   {1, 24, 16}, {1, 0, 16},  {3, 32, 32}, {0, 16, 16},
        {2, 16, 16}, {13, 16, 16}, {5, 48, 48}, {7, 16, 16}, {9, 8, 8},   {11, 16, 16},
    };

    for (unsigned i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        ck_assert(fake_open(channel));
        header(messages[i].type, messages[i].size);
        channel->last_failure = NULL;
        post(messages[i].sent);
        ck_assert_msg(channel->last_failure != NULL, "message %u", i);
    }
    for (unsigned i = 9; i < 12; i++) { // answers to nothing
        negotiate(DYNMEM_2_0, CAPS);
        header(messages[i].type, messages[i].size);
        channel->last_failure = NULL;
        post(messages[i].sent);
        ck_assert_msg(channel->last_failure != NULL, "message %u", i);
    }
    negotiate(DYNMEM_2_0, CAPS);
    dynmem_hot_add(&dynmem, RAM, dynmem.alignment);
    header(11, 16);
    le32_put(message + 8, dynmem.alignment + 1);
    le32_put(message + 12, 1);
    channel->last_failure = NULL;
    post(16);
    ck_assert_ptr_nonnull(channel->last_failure);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dynmem");
    TCase *tests = tcase_create("dynmem");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_versions);
    tcase_add_test(tests, test_status);
    tcase_add_test(tests, test_balloon_up_and_down);
    tcase_add_test(tests, test_unballoon_in_parts);
    tcase_add_test(tests, test_hot_add);
    tcase_add_test(tests, test_close_gives_back);
    tcase_add_test(tests, test_full_ring);
    tcase_add_test(tests, test_lies);
    tcase_add_test(tests, test_malformed);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
