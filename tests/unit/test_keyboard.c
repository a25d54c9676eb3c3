// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>
#include <string.h>

#include "fake_vmbus.h"
#include "root/lib/vsp/keyboard.h"
#include "root/lib/vsp/wire.h"

static struct vmbus_server bus;
static struct keyboard keyboard;
static struct vmbus_channel *channel;

static void setup(void)
{
    fake_init(&bus, 1);
    ck_assert(keyboard_create(&keyboard, &bus));
    channel = keyboard.channel;
    ck_assert_uint_eq(channel->offer.flags, 0);
}

static void teardown(void)
{
    fake_end(&bus);
}

static void send(uint32_t type, uint32_t value, bool answered)
{
    uint8_t message[8];
    le32_put(message, type);
    le32_put(message + 4, value);
    fake_send(channel, 7, answered, message, sizeof message);
    fake_run(&bus);
}

static void expect(enum vmbus_packet_type type, uint32_t message, uint32_t value)
{
    const struct fake_packet *packet = fake_peek(channel);
    ck_assert_ptr_nonnull(packet);
    ck_assert_int_eq(packet->type, type);
    if (type == VMBUS_PACKET_IN_BAND) {
        ck_assert_uint_eq(le32_get(packet->data), message);
        ck_assert_uint_eq(le32_get(packet->data + 4), value);
    }
    fake_pop(channel);
}

static void negotiate(void)
{
    ck_assert(fake_open(channel));
    send(1, 0x10000, true);
    expect(VMBUS_PACKET_COMPLETION, 0, 0);
    expect(VMBUS_PACKET_IN_BAND, 2, 1);
}

START_TEST(test_versions)
{
    ck_assert(fake_open(channel));
    send(1, 0x20000, true);
    expect(VMBUS_PACKET_COMPLETION, 0, 0);
    expect(VMBUS_PACKET_IN_BAND, 2, 0);
    ck_assert(!keyboard.ready);
    send(1, 0x10000, false);
    expect(VMBUS_PACKET_IN_BAND, 2, 1);
    ck_assert(keyboard.ready);
    ck_assert_ptr_null(fake_peek(channel));
    keyboard_remove(&keyboard);
    fake_run(&bus);
    ck_assert(keyboard_gone(&keyboard));
    ck_assert(!keyboard_key(&keyboard, 30, 0));
}
END_TEST

START_TEST(test_keys)
{
    ck_assert(keyboard_key(&keyboard, 0x1E, 0)); // before there is a driver
    ck_assert(keyboard_key(&keyboard, 0x1E, KEY_BREAK));
    negotiate();
    fake_run(&bus);
    expect(VMBUS_PACKET_IN_BAND, 3, 0x1E);
    ck_assert_uint_eq(le32_get(fake_peek(channel)->data + 8), KEY_BREAK);
    expect(VMBUS_PACKET_IN_BAND, 3, 0x1E);
    ck_assert(keyboard_key(&keyboard, 0x53, KEY_E0 | KEY_BREAK));
    ck_assert_uint_eq(le32_get(fake_peek(channel)->data + 8), 6);
    expect(VMBUS_PACKET_IN_BAND, 3, 0x53);
    ck_assert(!keyboard_key(&keyboard, 0x53, 16));
}
END_TEST

START_TEST(test_keys_wait)
{
    negotiate();
    channel->room = 2;
    unsigned taken = 0, seen = 0;
    while (taken < 1000 && keyboard_key(&keyboard, (uint16_t)taken, 0)) {
        taken++;
    }
    ck_assert_uint_eq(taken, KEYBOARD_KEYS + 2);
    while (fake_peek(channel)) {
        expect(VMBUS_PACKET_IN_BAND, 3, seen++);
        fake_run(&bus);
    }
    ck_assert_uint_eq(seen, taken); // in order, none lost
    channel->room = FAKE_PACKETS;
    keyboard_key(&keyboard, 1, 0);
    fake_close(channel);
    ck_assert(!keyboard.ready);
    ck_assert(keyboard_key(&keyboard, 2, 0));
    negotiate();
    fake_run(&bus);
    expect(VMBUS_PACKET_IN_BAND, 3, 2);
}
END_TEST

START_TEST(test_lamps)
{
    ck_assert(fake_open(channel));
    send(4, 7, false);
    ck_assert_uint_eq(keyboard.lamps, 0);
    ck_assert_uint_eq(keyboard.refused, 1);
    send(1, 0x10000, false);
    send(4, 0xFFFFFFFE, false);
    ck_assert_uint_eq(keyboard.lamps, LAMP_NUM | LAMP_CAPS);
}
END_TEST

START_TEST(test_malformed)
{
    const uint8_t junk[100] = {9};

    negotiate();
    for (unsigned i = 0; i < 1000 && channel->open; i++) {
        fake_send(channel, 1, false, junk, i % 101);
        fake_complete(channel, 1, junk, 8);
        fake_run(&bus);
        ck_assert_uint_lt(i, 500);
    }
    ck_assert_ptr_nonnull(channel->last_failure);
    negotiate(); // it may come again
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keyboard");
    TCase *tests = tcase_create("keyboard");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_versions);
    tcase_add_test(tests, test_keys);
    tcase_add_test(tests, test_keys_wait);
    tcase_add_test(tests, test_lamps);
    tcase_add_test(tests, test_malformed);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
