// SPDX-License-Identifier: BSD-2-Clause-Patent
// What integration components share, and the small ones: heartbeat, shutdown, time.
#include "ic_guest.h"
#include "root/lib/vsp/ic/heartbeat.h"
#include "root/lib/vsp/ic/shutdown.h"
#include "root/lib/vsp/ic/timesync.h"
#include "root/lib/vsp/utf16.h"

static struct ic_guest guest;
static struct heartbeat heartbeat;
static struct shutdown_ic shutdown_dev;
static struct timesync timesync;
static unsigned answers;
static uint32_t answer;
static uint64_t wall;

static void setup(void)
{
    fake_init(&bus, 1);
    answers = 0;
    wall = UINT64_C(133500000000000000);
}

static void teardown(void)
{
    fake_end(&bus);
}

static void on_answer(void *ctx, uint32_t status)
{
    ck_assert_ptr_eq(ctx, &answers);
    answers++;
    answer = status;
}

static uint64_t read_wall(void *ctx)
{
    (void)ctx;
    return wall;
}

static void pass(uint64_t time)
{
    bus.now += time;
    fake_run(&bus);
}

START_TEST(test_negotiation)
{
    static const struct ic_version versions[] = {{1, 0}, {3, 0}, {3, 1}, {3, 2}};

    ck_assert(shutdown_create(&shutdown_dev, &bus, &answers, on_answer));
    struct ic *ic = &shutdown_dev.ic;
    ck_assert_int_eq(ic->state, IC_CLOSED);
    for (unsigned i = 0; i < 4; i++) {
        guest_open(&guest, ic, versions[i].major, versions[i].minor);
        ck_assert_int_eq(ic->state, IC_READY);
        ck_assert_uint_eq(ic->version.major, versions[i].major);
        ck_assert_uint_eq(ic->version.minor, versions[i].minor);
        fake_close(guest.channel);
        ck_assert_int_eq(ic->state, IC_CLOSED);
    }
    guest_open(&guest, ic, 9, 0);
    ck_assert_int_eq(ic->state, IC_REFUSED);
    ck_assert_uint_eq(guest.channel->logs, 1);
    ck_assert(!shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, false, NULL));
    ic_remove(ic);
    ck_assert(!ic_gone(ic));
    fake_run(&bus);
    ck_assert(ic_gone(ic));
}
END_TEST

// Answers to the negotiation that are no choice from the lists.
START_TEST(test_negotiation_malformed)
{
    static const uint16_t bodies[][8] = {
        {1, 1, 0, 0, 3, 0, 4, 0}, {1, 1, 0, 0, 2, 0, 3, 0},           {2, 1, 0, 0, 3, 0, 3, 0},
        {1, 0, 0, 0, 3, 0, 3, 0}, {0xFFFF, 0xFFFF, 0, 0, 3, 0, 3, 0},
    };

    ck_assert(heartbeat_create(&heartbeat, &bus));
    guest.channel = heartbeat.ic.channel;
    for (unsigned i = 0; i < 6; i++) {
        ck_assert(fake_open(guest.channel));
        ck_assert(guest_take(&guest));
        if (i < 5) {
            memcpy(guest_body(&guest), bodies[i], 16);
        } else {
            guest.size = IC_HEADER + 8; // cut off
        }
        guest_answer(&guest, 0);
        ck_assert_int_eq(heartbeat.ic.state, IC_REFUSED);
        fake_close(guest.channel);
    }
}
END_TEST

START_TEST(test_what_is_no_answer)
{
    static const struct {
        unsigned at;
        uint8_t value;
    } changes[] = {{4, IC_KVP}, {4, IC_NEGOTIATE}, {5, 1}, {16, 77}, {17, 3}, {17, 0}};

    ck_assert(heartbeat_create(&heartbeat, &bus));
    guest_open(&guest, &heartbeat.ic, 3, 0);
    ck_assert(guest_take(&guest));
    struct ic_guest good = guest;
    for (unsigned i = 0; i < 6; i++) {
        guest = good;
        guest.message[17] = REPLY_FLAGS;
        guest.message[changes[i].at] = changes[i].value;
        fake_send(guest.channel, 1, false, guest.message, guest.size);
        fake_run(&bus);
        ck_assert_uint_eq(heartbeat.ic.ignored, i + 1);
        ck_assert(heartbeat.ic.pending);
    }
    fake_send(guest.channel, 1, false, guest.message, 8);
    fake_send(guest.channel, 1, false, guest.message, 0);
    fake_send(guest.channel, 1, false, good.message, 1000); // longer than anything we take
    fake_complete(guest.channel, 1, good.message, good.size);
    fake_run(&bus);
    ck_assert_uint_eq(heartbeat.ic.ignored, 10);
    // The right one still counts, once.
    guest = good;
    le64_put(guest_body(&guest), le64_get(guest_body(&guest)) + 1);
    guest_answer(&guest, 0);
    ck_assert_uint_eq(heartbeat.beats, 1);
    guest_answer(&guest, 0);
    ck_assert_uint_eq(heartbeat.beats, 1);
    ck_assert_uint_eq(heartbeat.ic.ignored, 11);
}
END_TEST

START_TEST(test_full_ring)
{
    ck_assert(shutdown_create(&shutdown_dev, &bus, &answers, on_answer));
    shutdown_dev.ic.channel->room = 0;
    ck_assert(fake_open(shutdown_dev.ic.channel));
    guest.channel = shutdown_dev.ic.channel;
    ck_assert(!guest_take(&guest));
    shutdown_dev.ic.channel->room = 1;
    vmbus_channel_wake(guest.channel);
    guest_negotiate(&guest, 3, 0);
    ck_assert_int_eq(shutdown_dev.ic.state, IC_READY);
    guest.channel->room = 0;
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, false, NULL));
    // Junk from the guest must not reach the message that waits.
    uint8_t junk[64];
    memset(junk, 0xAA, sizeof junk);
    fake_send(guest.channel, 1, false, junk, sizeof junk);
    fake_run(&bus);
    guest.channel->room = 1;
    vmbus_channel_wake(guest.channel);
    ck_assert(guest_take(&guest));
    guest_expect_type(&guest, &shutdown_dev.ic, IC_SHUTDOWN, 2060);
    ck_assert_uint_eq(le32_get(guest_body(&guest)), 0x80000000);
}
END_TEST

START_TEST(test_heartbeat)
{
    ck_assert(heartbeat_create(&heartbeat, &bus));
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_NONE);
    guest_open(&guest, &heartbeat.ic, 3, 0);
    for (unsigned i = 1; i <= 20; i++) {
        ck_assert(guest_take(&guest));
        guest_expect_type(&guest, &heartbeat.ic, IC_HEARTBEAT, 40);
        le64_put(guest_body(&guest), le64_get(guest_body(&guest)) + 1);
        le32_put(guest_body(&guest) + 8, i % 4);
        guest_answer(&guest, 0);
        ck_assert_int_eq(heartbeat.state, HEARTBEAT_OK);
        ck_assert_uint_eq(heartbeat.beats, i);
        ck_assert_uint_eq(heartbeat.application, i % 4);
        pass(HEARTBEAT_INTERVAL - 1);
        ck_assert(!guest_take(&guest));
        pass(1);
    }
    // It stops answering: lost after the limit, found again when it answers again.
    ck_assert(guest_take(&guest));
    pass(HEARTBEAT_TIMEOUT - 1);
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_OK);
    pass(1);
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_LOST);
    pass(HEARTBEAT_INTERVAL);
    ck_assert(guest_take(&guest));
    ck_assert(!guest_take(&guest));
    le64_put(guest_body(&guest), le64_get(guest_body(&guest)) + 1);
    guest_answer(&guest, 0);
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_OK);
    // A sequence number that is not ours.
    pass(HEARTBEAT_INTERVAL);
    ck_assert(guest_take(&guest));
    guest_answer(&guest, 0);
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_LOST);
    fake_close(guest.channel);
    ck_assert_int_eq(heartbeat.state, HEARTBEAT_NONE);
}
END_TEST

START_TEST(test_shutdown)
{
    static char longer[3000];

    ck_assert(shutdown_create(&shutdown_dev, &bus, &answers, on_answer));
    ck_assert(!shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, false, NULL));
    guest_open(&guest, &shutdown_dev.ic, 3, 0);
    ck_assert(!guest_take(&guest));
    ck_assert(!shutdown_request(&shutdown_dev, SHUTDOWN_HIBERNATE, false, NULL));
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_RESTART, true, "Bye \xC3\xA9"));
    ck_assert(!shutdown_request(&shutdown_dev, SHUTDOWN_RESTART, true, NULL)); // one at a time
    ck_assert(guest_take(&guest));
    guest_expect_type(&guest, &shutdown_dev.ic, IC_SHUTDOWN, 2060);
    ck_assert_uint_eq(le32_get(guest_body(&guest) + 8), 3);
    ck_assert_int_eq(memcmp(guest_body(&guest) + 12, "B\0y\0e\0 \0\xE9\0\0\0", 12), 0);
    guest_answer(&guest, IC_STATUS_FAIL);
    ck_assert_uint_eq(answers, 1);
    ck_assert_uint_eq(answer, IC_STATUS_FAIL);
    memset(longer, 'x', sizeof longer - 1);
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, false, longer));
    ck_assert(guest_take(&guest));
    ck_assert_uint_eq(le16_get(guest_body(&guest) + 12 + 2 * 1022), 'x');
    ck_assert_uint_eq(le16_get(guest_body(&guest) + 12 + 2 * 1023), 0);
    guest_answer(&guest, IC_STATUS_OK);
    ck_assert_uint_eq(answer, IC_STATUS_OK);
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, false, NULL));
    pass(SHUTDOWN_TIMEOUT);
    ck_assert_uint_eq(answer, IC_STATUS_TIMEOUT);
    ck_assert(guest_take(&guest));
    guest_answer(&guest, IC_STATUS_OK); // too late
    ck_assert_uint_eq(answers, 3);
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, false, NULL));
    ck_assert(guest_take(&guest));
    guest_answer(&guest, IC_STATUS_CLOSED); // not a guest's to say
    ck_assert_uint_eq(answer, IC_STATUS_FAIL);
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_POWER_OFF, false, NULL));
    fake_close(guest.channel);
    ck_assert_uint_eq(answers, 5);
    ck_assert_uint_eq(answer, IC_STATUS_CLOSED);
    guest_open(&guest, &shutdown_dev.ic, 3, 2);
    ck_assert(shutdown_request(&shutdown_dev, SHUTDOWN_HIBERNATE, false, NULL));
    ck_assert(guest_take(&guest));
    ck_assert_uint_eq(le32_get(guest_body(&guest) + 8), 4);
}
END_TEST

START_TEST(test_timesync)
{
    ck_assert(timesync_create(&timesync, &bus, NULL, read_wall));
    for (unsigned v4 = 0; v4 < 2; v4++) {
        const unsigned flags = v4 ? 16 : 24;
        const uint32_t size = v4 ? 24 : 25;
        guest_open(&guest, &timesync.ic, v4 ? 4 : 3, 0);
        ck_assert(guest_take(&guest)); // first the step
        guest_expect_type(&guest, &timesync.ic, IC_TIMESYNC, size);
        ck_assert_uint_eq(le64_get(guest_body(&guest)), wall);
        ck_assert_uint_eq(guest_body(&guest)[flags], 1);
        guest_answer(&guest, 0);
        ck_assert_uint_eq(timesync.steps, v4 * 2 + 1);
        for (unsigned i = 0; i < 5; i++) {
            wall += 50000123;
            ck_assert(!guest_take(&guest));
            pass(TIMESYNC_INTERVAL);
            ck_assert(guest_take(&guest));
            ck_assert_uint_eq(le64_get(guest_body(&guest)), wall);
            ck_assert_uint_eq(guest_body(&guest)[flags], 2);
            if (v4) {
                ck_assert_uint_eq(le64_get(guest_body(&guest) + 8), bus.now);
            }
            guest_answer(&guest, 0);
        }
        ck_assert_uint_eq(timesync.samples, 5 * (v4 + 1));
        timesync_step(&timesync);
        ck_assert(guest_take(&guest));
        ck_assert_uint_eq(guest_body(&guest)[flags], 1);
        timesync_step(&timesync); // asked for while one is under way: comes next
        ck_assert(!guest_take(&guest));
        guest_answer(&guest, 0);
        ck_assert(guest_take(&guest));
        ck_assert_uint_eq(guest_body(&guest)[flags], 1);
        fake_close(guest.channel);
    }
    // A guest that never answers is asked again, no oftener than it times out.
    guest_open(&guest, &timesync.ic, 4, 0);
    for (unsigned i = 0; i < 100; i++) {
        pass(IC_SECONDS(1));
    }
    ck_assert_uint_le(guest.channel->out.count, 4);
}
END_TEST

START_TEST(test_utf16)
{
    uint8_t units[64];
    char text[128];

    ck_assert_uint_eq(utf16_from_text(units, 32, "a\xC2\xA3\xE2\x82\xAC\xF0\x9F\x98\x80"), 6);
    ck_assert_int_eq(memcmp(units, "a\0\xA3\0\xAC\x20\x3D\xD8\x00\xDE\0\0", 12), 0);
    ck_assert_uint_eq(utf16_to_text(text, sizeof text, units, 32), 10);
    ck_assert_str_eq(text, "a\xC2\xA3\xE2\x82\xAC\xF0\x9F\x98\x80");
    // Malformed both ways.
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC2",
                                      "\xE2\x82",
                                      "\xED\xA0\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xE0\x80\x80"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const uint32_t used = utf16_from_text(units, 32, bad[i]);
        ck_assert_uint_ge(used, 2);
        ck_assert_uint_eq(le16_get(units), 0xFFFD);
    }
    ck_assert_uint_eq(utf16_to_text(text, sizeof text, (const uint8_t *)"\0\xD8g\0", 2), 4);
    ck_assert_str_eq(text, "\xEF\xBF\xBDg");
    utf16_to_text(text, sizeof text, (const uint8_t *)"\0\xDC", 1);
    ck_assert_str_eq(text, "\xEF\xBF\xBD");
    // Room.
    ck_assert_uint_eq(utf16_from_text(units, 4, "abc"), 4);
    ck_assert_uint_eq(utf16_from_text(units, 3, "abc"), 0);
    ck_assert_int_eq(memcmp(units, "a\0b\0\0\0", 6), 0);
    ck_assert_uint_eq(utf16_from_text(units, 2, "\xF0\x9F\x98\x80"), 0);
    ck_assert_uint_eq(utf16_from_text(units, 1, ""), 1);
    ck_assert_uint_eq(utf16_from_text(units, 0, ""), 0);
    ck_assert_uint_eq(utf16_to_text(text, 3, (const uint8_t *)"\xAC\x20", 1), 0);
    ck_assert_uint_eq(utf16_to_text(text, 4, (const uint8_t *)"\xAC\x20", 1), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ic");
    TCase *tests = tcase_create("ic");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_negotiation);
    tcase_add_test(tests, test_negotiation_malformed);
    tcase_add_test(tests, test_what_is_no_answer);
    tcase_add_test(tests, test_full_ring);
    tcase_add_test(tests, test_heartbeat);
    tcase_add_test(tests, test_shutdown);
    tcase_add_test(tests, test_timesync);
    tcase_add_test(tests, test_utf16);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
