// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "net_frames.h"
#include "root/lib/vsp/net/switch.h"
#include "root/lib/vsp/net/uplink.h"

enum { PORTS = 4, QUEUE = 64 * 1024, SIZE = 64 };

static struct virtual_switch sw;
static struct switch_port ports[PORTS];
static uint8_t queues[PORTS][QUEUE] __attribute__((aligned(8)));
static unsigned wakes[PORTS];
static uint8_t bytes[ETHER_FRAME_MAX + 64];
static uint64_t now;

static void woken(void *ctx)
{
    ++*(unsigned *)ctx;
}

static struct port_config config_for(unsigned index)
{
    return (struct port_config){
        .address = frame_address((uint8_t)(index + 1)),
        .max_frame = ETHER_FRAME_STANDARD,
        .ctx = &wakes[index],
        .wake = woken,
    };
}

static void attach(unsigned index, const struct port_config *config)
{
    ck_assert(switch_attach(&sw, &ports[index], config, queues[index], QUEUE));
    switch_set_filter(&ports[index], FILTER_DIRECTED | FILTER_BROADCAST | FILTER_MULTICAST);
}

static void setup(void)
{
    memset(wakes, 0, sizeof wakes);
    now = 1;
    switch_init(&sw, 0x1234567812345678);
    for (unsigned i = 0; i < PORTS; i++) {
        const struct port_config config = config_for(i);
        attach(i, &config);
    }
}

static void reattach(unsigned index, const struct port_config *config)
{
    switch_detach(&sw, &ports[index]);
    attach(index, config);
}

static void send(unsigned from, uint8_t to)
{
    const struct frame frame = frame_make(bytes, SIZE, to, (uint8_t)(from + 1));
    switch_send(&sw, &ports[from], &frame, now);
}

static void send_from(unsigned from, uint8_t to, uint8_t source)
{
    const struct frame frame = frame_make(bytes, SIZE, to, source);
    switch_send(&sw, &ports[from], &frame, now);
}

static void send_tagged(unsigned from, uint8_t to, uint16_t tci)
{
    struct frame frame = frame_make(bytes, SIZE, to, (uint8_t)(from + 1));
    frame.tagged = true;
    frame.tci = tci;
    switch_send(&sw, &ports[from], &frame, now);
}

// How many frames wait at each port; takes them.
static unsigned drain(unsigned index)
{
    struct frame frame;
    unsigned frames = 0;
    while (switch_peek(&ports[index], &frame)) {
        switch_pop(&ports[index]);
        frames++;
    }
    return frames;
}

static void expect(unsigned a, unsigned b, unsigned c, unsigned d)
{
    const unsigned want[PORTS] = {a, b, c, d};
    for (unsigned i = 0; i < PORTS; i++) {
        ck_assert_msg(drain(i) == want[i], "port %u", i);
    }
}

START_TEST(test_directed_reaches_its_owner_only)
{
    struct frame frame;

    send(0, 3);
    ck_assert(switch_peek(&ports[2], &frame));
    ck_assert_uint_eq(frame.size, SIZE);
    ck_assert_int_eq(memcmp(frame.bytes, bytes, SIZE), 0);
    ck_assert(!frame.tagged);
    ck_assert_uint_eq(wakes[2], 1);
    send(1, 3);
    ck_assert_uint_eq(wakes[2], 1); // the queue was not empty
    expect(0, 0, 2, 0);
    send(0, 1); // to itself
    send(0, 9); // to nobody
    expect(0, 0, 0, 0);
    ck_assert_uint_eq(ports[2].statistics.out.directed_frames, 2);
    ck_assert_uint_eq(ports[2].statistics.out.directed_bytes, 2 * SIZE);
    ck_assert_uint_eq(ports[0].statistics.in.directed_frames, 3);
}
END_TEST

START_TEST(test_group_filters)
{
    const struct ether_address group = {{0x33, 0x33, 0, 0, 0, 1}};
    const struct ether_address not_group = {{2, 0, 0, 0, 0, 9}};
    struct ether_address many[SWITCH_GROUPS_MAX + 1];
    struct frame frame = frame_make(bytes, SIZE, 0, 1);

    memcpy(bytes, group.byte, ETHER_ADDRESS);
    ck_assert(switch_set_groups(&ports[1], &group, 1));
    ck_assert(!switch_set_groups(&ports[1], &not_group, 1));
    for (unsigned i = 0; i <= SWITCH_GROUPS_MAX; i++) {
        many[i] = group;
    }
    ck_assert(!switch_set_groups(&ports[1], many, SWITCH_GROUPS_MAX + 1));
    switch_set_filter(&ports[2], FILTER_ALL_MULTICAST);
    switch_send(&sw, &ports[0], &frame, now);
    expect(0, 1, 1, 0);
    bytes[5] = 2;
    switch_send(&sw, &ports[0], &frame, now);
    expect(0, 0, 1, 0);
    send(0, 0xFF);
    expect(0, 1, 0, 1);
    ck_assert_uint_eq(ports[1].statistics.out.multicast_frames, 1);
    ck_assert_uint_eq(ports[1].statistics.out.broadcast_frames, 1);
    switch_set_filter(&ports[1], 0);
    send(0, 0xFF);
    send(0, 2);
    expect(0, 0, 0, 1);
}
END_TEST

START_TEST(test_promiscuous_needs_permission)
{
    switch_set_filter(&ports[3], FILTER_PROMISCUOUS);
    send(0, 2);
    send(0, 4);
    send(0, 0xFF);
    expect(0, 2, 1, 2); // its own frames, and no others
    struct port_config config = config_for(3);
    config.flags = PORT_PROMISCUOUS;
    reattach(3, &config);
    switch_set_filter(&ports[3], FILTER_PROMISCUOUS);
    send(0, 2);
    send(0, 0xFF);
    expect(0, 2, 1, 2);
}
END_TEST

START_TEST(test_spoofing_and_reserved)
{
    send_from(0, 2, 7);
    send_from(0, 2, 2);
    struct frame frame = frame_make(bytes, SIZE, 2, 1);
    bytes[6] |= 1;
    switch_send(&sw, &ports[0], &frame, now);
    expect(0, 0, 0, 0);
    ck_assert_uint_eq(ports[0].statistics.in_spoofed, 3);

    struct port_config config = config_for(0);
    config.flags = PORT_SPOOF;
    reattach(0, &config);
    send_from(0, 2, 7);
    send_from(0, 2, 3); // another port's own: never
    expect(0, 1, 0, 0);
    ck_assert_uint_eq(ports[0].statistics.in_spoofed, 1);

    frame = frame_make(bytes, SIZE, 0, 1);
    memcpy(bytes, "\x01\x80\xC2\x00\x00\x0E", 6);
    switch_set_filter(&ports[1], FILTER_ALL_MULTICAST);
    switch_send(&sw, &ports[0], &frame, now);
    ck_assert_uint_eq(ports[0].statistics.in_reserved, 1);
    bytes[5] = 0x10;
    switch_send(&sw, &ports[0], &frame, now);
    expect(0, 1, 0, 0);
}
END_TEST

START_TEST(test_sizes)
{
    struct frame frame = frame_make(bytes, ETHER_FRAME_STANDARD, 2, 1);
    struct port_config config = config_for(0);

    switch_send(&sw, &ports[0], &frame, now);
    frame.size = ETHER_FRAME_STANDARD + 1;
    switch_send(&sw, &ports[0], &frame, now);
    frame.size = ETHER_HEADER - 1;
    switch_send(&sw, &ports[0], &frame, now);
    frame.size = ETHER_HEADER;
    switch_send(&sw, &ports[0], &frame, now);
    expect(0, 2, 0, 0);
    ck_assert_uint_eq(ports[0].statistics.in_bad_size, 2);
    config.max_frame = ETHER_FRAME_MAX;
    reattach(0, &config);
    frame.size = ETHER_FRAME_MAX;
    switch_send(&sw, &ports[0], &frame, now);
    expect(0, 0, 0, 0); // the receiver takes standard frames
    ck_assert_uint_eq(ports[1].statistics.out_bad_size, 1);
    config = config_for(1);
    config.max_frame = ETHER_FRAME_MAX;
    reattach(1, &config);
    switch_send(&sw, &ports[0], &frame, now);
    expect(0, 1, 0, 0);
}
END_TEST

START_TEST(test_queue_is_bounded)
{
    for (unsigned i = 0; i < 10000; i++) {
        send(0, 2);
    }
    ck_assert_uint_eq(ports[1].queue.frames, QUEUE / (SIZE + 8));
    ck_assert_uint_eq(ports[1].statistics.out_full, 10000 - QUEUE / (SIZE + 8));
    send(0, 3); // others are not hurt
    ck_assert_uint_eq(drain(2), 1);
    ck_assert_uint_eq(wakes[1], 1);
}
END_TEST

START_TEST(test_attach_refusals)
{
    struct switch_port extra[SWITCH_PORTS_MAX];
    struct port_config config = config_for(0); // address taken
    static uint8_t memory[64];

    ck_assert(!switch_attach(&sw, &extra[0], &config, memory, sizeof memory));
    config.address.byte[0] = 3; // group
    ck_assert(!switch_attach(&sw, &extra[0], &config, memory, sizeof memory));
    config.address = frame_address(99);
    config.vlan.native = 4095;
    ck_assert(!switch_attach(&sw, &extra[0], &config, memory, sizeof memory));
    config.vlan.native = 0;
    config.max_frame = ETHER_FRAME_MAX + 1;
    ck_assert(!switch_attach(&sw, &extra[0], &config, memory, sizeof memory));
    config.max_frame = ETHER_FRAME_MAX;
    for (unsigned i = PORTS; i < SWITCH_PORTS_MAX; i++) {
        config.address = frame_address((uint8_t)(100 + i));
        ck_assert(switch_attach(&sw, &extra[i], &config, memory, sizeof memory));
    }
    config.address = frame_address(250);
    ck_assert(!switch_attach(&sw, &extra[0], &config, memory, sizeof memory));
    const struct ether_address taken = frame_address(2), fresh = frame_address(50);
    ck_assert(!switch_set_address(&sw, &ports[0], &taken));
    ck_assert(switch_set_address(&sw, &ports[0], &fresh));
    ck_assert(switch_set_address(&sw, &ports[0], &fresh));
    send(1, 50);
    send(1, 1);
    expect(1, 0, 0, 0);
}
END_TEST

START_TEST(test_access_vlans)
{
    for (unsigned i = 0; i < PORTS; i++) {
        struct port_config config = config_for(i);
        config.vlan.native = i < 2 ? 10 : 20;
        reattach(i, &config);
    }
    send(0, 0xFF);
    expect(0, 1, 0, 0);
    send(0, 3); // known address, other VLAN
    send(2, 0xFF);
    expect(0, 0, 0, 1);
    send_tagged(0, 2, 10);
    send_tagged(0, 3, 20);
    expect(0, 0, 0, 0);
    ck_assert_uint_eq(ports[0].statistics.in_vlan, 2);
    send_tagged(0, 2, 5 << VLAN_PRIORITY_SHIFT); // priority tag
    expect(0, 1, 0, 0);
}
END_TEST

START_TEST(test_trunk)
{
    struct port_config config = config_for(3);
    struct frame frame;

    config.vlan.mode = PORT_TRUNK;
    config.vlan.native = 7;
    config.vlan.allowed[10 / 8] |= 1 << 10 % 8;
    reattach(3, &config);
    config = config_for(0);
    config.vlan.native = 10;
    reattach(0, &config);
    config = config_for(1);
    config.vlan.native = 7;
    reattach(1, &config);

    send_tagged(0, 4, 3 << VLAN_PRIORITY_SHIFT | VLAN_DEI);
    ck_assert(switch_peek(&ports[3], &frame));
    ck_assert(frame.tagged);
    ck_assert_uint_eq(frame.tci, 3 << VLAN_PRIORITY_SHIFT | VLAN_DEI | 10);
    expect(0, 0, 0, 1);
    send(1, 4); // native: without tag
    ck_assert(switch_peek(&ports[3], &frame));
    ck_assert(!frame.tagged);
    expect(0, 0, 0, 1);
    send_tagged(3, 0xFF, 10);
    ck_assert(switch_peek(&ports[0], &frame));
    ck_assert(!frame.tagged);
    expect(1, 0, 0, 0);
    send(3, 0xFF);
    expect(0, 1, 0, 0);
    send_tagged(3, 0xFF, 11);
    send_tagged(3, 0xFF, 4095);
    expect(0, 0, 0, 0);
    ck_assert_uint_eq(ports[3].statistics.in_vlan, 2);
}
END_TEST

// Port 3 stands for an uplink: there are others behind it.
static void make_uplink(uint32_t learn_max)
{
    struct port_config config = config_for(3);

    config.address = (struct ether_address){{0}};
    config.flags = PORT_SPOOF | PORT_LEARN | PORT_FLOOD;
    config.learn_max = learn_max;
    reattach(3, &config);
}

START_TEST(test_learning_and_ageing)
{
    make_uplink(100);
    send(0, 77);
    expect(0, 0, 0, 1); // unknown: behind the uplink, if anywhere
    send(0, 2);
    expect(0, 1, 0, 0); // known: not to the uplink
    send_from(3, 0xFF, 77);
    expect(1, 1, 1, 0);
    struct port_config config = config_for(2);
    config.flags = PORT_FLOOD;
    reattach(2, &config);
    send(0, 77);
    expect(0, 0, 0, 1); // learned: no flooding
    send(0, 78);
    expect(0, 0, 1, 1);
    now += SWITCH_MAC_AGE_100NS - 1;
    send(0, 77);
    expect(0, 0, 0, 1);
    now++;
    send(0, 77);
    expect(0, 0, 1, 1); // too old
    ck_assert_uint_eq(ports[3].learned, 0);
    send_from(3, 1, 77);
    ck_assert_uint_eq(ports[3].learned, 1);
    switch_detach(&sw, &ports[3]);
    ck_assert_uint_eq(ports[3].learned, 0);
    drain(0);
    send(0, 77);
    expect(0, 0, 1, 0);
}
END_TEST

START_TEST(test_table_is_bounded_and_fair)
{
    make_uplink(300);
    struct port_config config = config_for(2);
    config.flags = PORT_SPOOF | PORT_LEARN | PORT_FLOOD;
    config.learn_max = 200;
    reattach(2, &config);
    switch_set_filter(&ports[0], 0);
    for (unsigned i = 0; i < 20000; i++) {
        struct frame frame = frame_make(bytes, SIZE, 1, 1);
        memcpy(bytes + 8, &i, 3);
        switch_send(&sw, &ports[2], &frame, now++);
        ck_assert_uint_le(ports[2].learned, 200);
    }
    ck_assert_uint_eq(ports[2].learned, 200);
    // A flood of addresses on one port does not displace another's.
    send_from(3, 1, 77);
    for (unsigned i = 0; i < 20000; i++) {
        struct frame frame = frame_make(bytes, SIZE, 1, 1);
        memcpy(bytes + 8, &i, 3);
        bytes[7] = 5;
        switch_send(&sw, &ports[2], &frame, now++);
    }
    drain(2);
    drain(3);
    send(0, 77);
    expect(0, 0, 0, 1);
    unsigned used = 0;
    for (unsigned i = 0; i < SWITCH_MACS; i++) {
        used += sw.macs[i].port != 0;
    }
    ck_assert_uint_eq(used, ports[2].learned + ports[3].learned);
}
END_TEST

START_TEST(test_address_moves)
{
    make_uplink(10);
    struct port_config config = config_for(2);
    config.flags = PORT_SPOOF | PORT_LEARN;
    config.learn_max = 1;
    reattach(2, &config);
    send_from(3, 0xFF, 77);
    expect(1, 1, 1, 0);
    send_from(2, 0xFF, 77);
    drain(0), drain(1), drain(3);
    send(0, 77);
    expect(0, 0, 1, 0);
    ck_assert_uint_eq(ports[3].learned, 0);
    ck_assert_uint_eq(ports[2].learned, 1);
    send_from(3, 1, 78);
    send_from(2, 1, 78); // at its limit: what it had stays
    drain(0);
    send(0, 78);
    expect(0, 0, 0, 1);
}
END_TEST

// A queue against a list: order, contents, and nothing outside its memory (ASan sees that).
START_TEST(test_queue_against_model)
{
    enum { CAPACITY = 4099, MODEL = 512 };
    static uint32_t sizes[MODEL];
    static uint8_t seeds[MODEL];
    unsigned first = 0, count = 0, refused = 0;
    struct frame_queue queue;
    struct frame frame;
    uint8_t *memory = malloc(CAPACITY);

    srand(1);
    frame_queue_init(&queue, memory, CAPACITY);
    for (unsigned step = 0; step < 200000; step++) {
        if (rand() % 2) {
            const uint32_t size = ETHER_HEADER + (uint32_t)rand() % (rand() % 8 ? 100 : 1500);
            frame = frame_make(bytes, size, 1, (uint8_t)rand());
            frame.tci = (uint16_t)step;
            frame.tagged = step & 1;
            frame.checks = step & 3;
            if (frame_queue_push(&queue, &frame)) {
                sizes[(first + count) % MODEL] = size;
                seeds[(first + count++) % MODEL] = bytes[11];
            } else {
                refused++;
                ck_assert(count > 0);
            }
        } else if (frame_queue_peek(&queue, &frame)) {
            ck_assert(count > 0);
            ck_assert_uint_eq(frame.size, sizes[first]);
            frame_make(bytes, frame.size, 1, seeds[first]);
            ck_assert_int_eq(memcmp(bytes, frame.bytes, frame.size), 0);
            ck_assert_uint_eq(frame.tagged, frame.tci & 1);
            ck_assert_uint_eq(frame.checks, frame.tci & 3);
            frame_queue_pop(&queue);
            first = (first + 1) % MODEL;
            count--;
        } else {
            ck_assert_uint_eq(count, 0);
        }
        ck_assert_uint_eq(queue.frames, count);
    }
    ck_assert_uint_gt(refused, 100);
    free(memory);
}
END_TEST

static struct uplink uplink;
static uint8_t wire[ETHER_FRAME_MAX + ETHER_TAG];
static uint32_t wire_in, wire_out;
static bool busy;

static bool wire_transmit(void *ctx, const void *frame, uint32_t size)
{
    (void)ctx;
    if (busy) {
        return false;
    }
    memcpy(wire, frame, size);
    wire_out = size;
    return true;
}

static uint32_t wire_receive(void *ctx, void *frame, uint32_t capacity)
{
    const uint32_t size = wire_in;
    (void)ctx;
    wire_in = 0;
    memcpy(frame, wire, size < capacity ? size : capacity);
    return size;
}

static void attach_uplink(void)
{
    const struct uplink_interface interface = {0, wire_transmit, wire_receive};
    struct port_vlan vlan = {.mode = PORT_TRUNK};

    vlan.allowed[10 / 8] |= 1 << 10 % 8;
    switch_detach(&sw, &ports[3]);
    ck_assert(
        uplink_attach(&uplink, &sw, &interface, ETHER_FRAME_STANDARD, &vlan, queues[3], QUEUE));
    busy = false;
    wire_in = wire_out = 0;
}

START_TEST(test_uplink)
{
    struct port_config config = config_for(0);
    struct frame frame;

    attach_uplink();
    send(1, 77);
    busy = true;
    uplink_run(&uplink, 8, now);
    ck_assert_uint_eq(wire_out, 0);
    busy = false;
    uplink_run(&uplink, 8, now);
    ck_assert_uint_eq(wire_out, SIZE);
    ck_assert_int_eq(memcmp(wire, bytes, SIZE), 0);

    config.vlan.native = 10;
    reattach(0, &config);
    send_tagged(0, 77, 1 << VLAN_PRIORITY_SHIFT);
    uplink_run(&uplink, 8, now);
    ck_assert_uint_eq(wire_out, SIZE + ETHER_TAG);
    ck_assert_int_eq(memcmp(wire + 12, "\x81\x00\x20\x0A\x88\xB5", 6), 0);
    ck_assert_int_eq(memcmp(wire + 18, bytes + 14, SIZE - 14), 0);

    frame_make(bytes, SIZE, 1, 77);
    memcpy(wire, bytes, 12);
    memcpy(wire + 12, "\x81\x00\x00\x0A", 4);
    memcpy(wire + 16, bytes + 12, SIZE - 12);
    wire_in = SIZE + ETHER_TAG;
    uplink_run(&uplink, 8, now);
    ck_assert(switch_peek(&ports[0], &frame));
    ck_assert(!frame.tagged);
    ck_assert_uint_eq(frame.size, SIZE);
    ck_assert_int_eq(memcmp(frame.bytes, bytes, SIZE), 0);
    expect(1, 0, 0, 0);
}
END_TEST

START_TEST(test_uplink_bad_frames)
{
    static const uint32_t sizes[] = {1, ETHER_HEADER - 1, ETHER_FRAME_MAX + ETHER_TAG + 1, 65536};

    attach_uplink();
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        wire_in = sizes[i];
        frame_make(wire, 64, 0xFF, 77);
        uplink_run(&uplink, 2, now);
    }
    ck_assert_uint_eq(uplink.bad_frames, 4);
    frame_make(wire, sizeof wire, 0xFF, 77);
    wire_in = ETHER_FRAME_STANDARD + 1;
    uplink_run(&uplink, 2, now);
    ck_assert_uint_eq(uplink.port.statistics.in_bad_size, 1);
    expect(0, 0, 0, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_switch");
    TCase *tests = tcase_create("net_switch");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_directed_reaches_its_owner_only);
    tcase_add_test(tests, test_group_filters);
    tcase_add_test(tests, test_promiscuous_needs_permission);
    tcase_add_test(tests, test_spoofing_and_reserved);
    tcase_add_test(tests, test_sizes);
    tcase_add_test(tests, test_queue_is_bounded);
    tcase_add_test(tests, test_attach_refusals);
    tcase_add_test(tests, test_access_vlans);
    tcase_add_test(tests, test_trunk);
    tcase_add_test(tests, test_learning_and_ageing);
    tcase_add_test(tests, test_table_is_bounded_and_fair);
    tcase_add_test(tests, test_address_moves);
    tcase_add_test(tests, test_queue_against_model);
    tcase_add_test(tests, test_uplink);
    tcase_add_test(tests, test_uplink_bad_frames);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
