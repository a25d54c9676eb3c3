// SPDX-License-Identifier: BSD-2-Clause-Patent
// Packets and signals: what a guest sees of the rings, and what it may break.
#include <check.h>

#include "vmbus_echo.h"

static struct vg *vg;
static struct echo echo;
static struct vg_channel channel;
static uint8_t data[ECHO_BUFFER];

static void setup(void)
{
    const struct vmbus_guid class_id = echo_class(1);

    vg = vg_create(NULL);
    echo_attach(&echo, vg, 1);
    vg_connect(vg, VMBUS_V5_3);
    channel = vg_open(vg, vg_relid(vg, &class_id, 0), 4, 4);
}

static void teardown(void)
{
    vg_destroy(vg);
}

// The packet in the guest's hands; returns its payload size.
static uint32_t next_packet(struct vg_packet *head)
{
    static uint8_t ext[8192];
    uint32_t ext_size, size;

    ck_assert(vg_read_packet(&channel, head, ext, &ext_size, data, &size));
    return size;
}

// The channel has failed, and says why.
static void expect_failure(const char *reason)
{
    char line[200];

    snprintf(line, sizeof line, "vmbus channel 1 (class c0ffee01): %s", reason);
    ck_assert_str_eq(vg->line, line);
    ck_assert(!vmbus_channel_is_open(echo.channel));
    vg_expect(vg, VMBUS_RESCIND_CHANNELOFFER, NULL, 0);
    ck_assert_uint_eq(echo.closes, 1);
}

static void signal_and_run(void)
{
    vg_signal_host(&channel);
    vg_run(vg);
}

// ---- packets -----------------------------------------------------------------------------------

START_TEST(test_echo_of_every_size)
{
    for (uint32_t size = 0; size <= 5000; size += size < 64 ? 1 : 61) {
        uint8_t sent[5000];
        for (uint32_t i = 0; i < size; i++) {
            sent[i] = (uint8_t)(i * 7 + size);
        }
        ck_assert(vg_write(&channel, size + 1, sent, size));
        vg_run(vg);
        ck_assert_uint_eq(vg_expect_completion(&channel, size + 1, data), (size + 7) / 8 * 8);
        ck_assert_mem_eq(data, sent, size);
    }
}
END_TEST

START_TEST(test_no_completion_unasked)
{
    struct vg_packet head;

    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_IN_BAND, false, 5, NULL, 0, "abcd", 4));
    vg_run(vg);
    ck_assert_uint_eq(echo.packets, 1);
    ck_assert(!echo.last.wants_completion);
    uint32_t ext_size, size;
    ck_assert(!vg_read_packet(&channel, &head, data, &ext_size, data, &size));
    // A completion of the guest's.
    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_COMPLETION, false, 6, NULL, 0, "abcd", 4));
    vg_run(vg);
    ck_assert_uint_eq(echo.last.type, VMBUS_PACKET_COMPLETION);
    ck_assert_uint_eq(echo.last.transaction_id, 6);
}
END_TEST

START_TEST(test_header_longer_than_known)
{
    const uint64_t more[2] = {1, 2};

    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_IN_BAND, true, 5, more, 16, "payload!", 8));
    vg_run(vg);
    ck_assert_uint_eq(vg_expect_completion(&channel, 5, data), 8);
    ck_assert_mem_eq(data, "payload!", 8);
}
END_TEST

START_TEST(test_gpa_direct)
{
    const uint64_t gpn = vg_alloc(vg, 3);
    const struct vmbus_memory *memory = vmbus_channel_memory(echo.channel);
    uint8_t bytes[6000];

    ck_assert(vg_write_direct(&channel, 3, gpn, 100, 6000, "request", 8));
    vg_run(vg);
    ck_assert_uint_eq(echo.last.type, VMBUS_PACKET_GPA_DIRECT);
    const struct vmbus_ranges *ranges = &echo.last.ranges;
    ck_assert_uint_eq(ranges->count, 1);
    ck_assert_uint_eq(ranges->size, 6000);
    ck_assert_uint_eq(vmbus_ranges_get(ranges, 0).offset, 100);
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 3);
    }
    ck_assert(vmbus_ranges_write(memory, ranges, 0, bytes, sizeof bytes));
    ck_assert_mem_eq(vg_at(vg, gpn) + 100, bytes, 3996);
    ck_assert_mem_eq(vg_at(vg, gpn + 1), bytes + 3996, 2004);
    memset(bytes, 0, sizeof bytes);
    ck_assert(vmbus_ranges_read(memory, ranges, 3990, bytes, 20));
    ck_assert_uint_eq(bytes[6], (uint8_t)(3996 * 3));
    ck_assert(vmbus_ranges_zero(memory, ranges, 10, 5000));
    ck_assert_uint_eq(vg_at(vg, gpn)[109], 27);
    ck_assert_uint_eq(vg_at(vg, gpn)[110], 0);
    // Bounds.
    ck_assert(!vmbus_ranges_read(memory, ranges, 5999, bytes, 2));
    ck_assert(!vmbus_ranges_read(memory, ranges, UINT64_MAX, bytes, 2));
    ck_assert(vmbus_ranges_read(memory, ranges, 6000, bytes, 0));
    size_t length;
    ck_assert_ptr_null(vmbus_ranges_span(memory, ranges, 6000, false, &length));
    // Pages that go away, or may not be written.
    vg->missing[gpn + 1 - VG_FIRST_PAGE] = 1;
    ck_assert(vmbus_ranges_read(memory, ranges, 0, bytes, 3996));
    ck_assert(!vmbus_ranges_read(memory, ranges, 0, bytes, 3997));
    vg->read_only[gpn - VG_FIRST_PAGE] = 1;
    ck_assert(vmbus_ranges_read(memory, ranges, 0, bytes, 1));
    ck_assert(!vmbus_ranges_write(memory, ranges, 0, bytes, 1));
    ck_assert(!vmbus_ranges_zero(memory, ranges, 0, 1));
}
END_TEST

START_TEST(test_gpa_direct_of_many_ranges)
{
    const uint64_t gpn = vg_alloc(vg, 8);
    const struct vmbus_memory *memory = vmbus_channel_memory(echo.channel);
    uint64_t ext[1 + 2 * 8] = {UINT64_C(8) << 32};
    uint8_t bytes[800];

    for (unsigned i = 0; i < 8; i++) { // backwards, 100 bytes of each page
        ext[1 + 2 * i] = UINT64_C(50) << 32 | 100;
        ext[2 + 2 * i] = gpn + 7 - i;
        memset(vg_at(vg, gpn + 7 - i) + 50, (int)i + 1, 100);
    }
    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_GPA_DIRECT, true, 1, ext, sizeof ext, "x", 1));
    vg_run(vg);
    ck_assert_uint_eq(echo.last.ranges.count, 8);
    ck_assert_uint_eq(echo.last.ranges.size, 800);
    ck_assert(vmbus_ranges_read(memory, &echo.last.ranges, 0, bytes, 800));
    for (unsigned i = 0; i < 800; i++) {
        ck_assert_uint_eq(bytes[i], i / 100 + 1);
    }
    ck_assert_uint_eq(vmbus_ranges_get(&echo.last.ranges, 7).first, 15);
}
END_TEST

START_TEST(test_oversize)
{
    struct vmbus_packet packet = {.buffer = data, .capacity = 16};

    echo.deaf = true;
    ck_assert(vg_write(&channel, 1, "0123456789abcdef", 16));
    ck_assert(vg_write(&channel, 2, "0123456789abcdef+", 17));
    ck_assert(vg_write_direct(&channel, 3, VG_FIRST_PAGE, 0, 1, "0123", 4));
    ck_assert(vg_write(&channel, 4, "0123", 4));
    vg_run(vg);
    ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_PACKET);
    ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_OVERSIZE);
    ck_assert_uint_eq(packet.size, 24);
    ck_assert_uint_eq(packet.transaction_id, 2);
    ck_assert(packet.wants_completion);
    ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_OVERSIZE); // words
    ck_assert_uint_eq(packet.transaction_id, 3);
    ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_PACKET);
    ck_assert_uint_eq(packet.transaction_id, 4);
    ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_NONE);
}
END_TEST

START_TEST(test_transfer_pages)
{
    static const struct vmbus_transfer transfers[3] = {{10, 0}, {20, 4096}, {30, 8192}};
    struct vg_packet head;
    uint8_t ext[100];
    uint32_t ext_size, size, words[8];

    ck_assert_uint_eq(vmbus_channel_send_transfer(echo.channel, 77, 0xCAFE, transfers, 3, "msg", 4),
                      VMBUS_SEND_OK);
    ck_assert(vg_read_packet(&channel, &head, ext, &ext_size, data, &size));
    ck_assert_uint_eq(head.type, 7);
    ck_assert_uint_eq(head.flags, 1);
    ck_assert_uint_eq(head.transaction_id, 77);
    ck_assert_uint_eq(ext_size, 32);
    memcpy(words, ext, sizeof words);
    ck_assert_uint_eq(words[0], 0xCAFE);
    ck_assert_uint_eq(words[1], 3);
    ck_assert_uint_eq(words[2], 10);
    ck_assert_uint_eq(words[3], 0);
    ck_assert_uint_eq(words[6], 30);
    ck_assert_uint_eq(words[7], 8192);
    ck_assert_uint_eq(size, 8);
    ck_assert_str_eq((char *)data, "msg");
    ck_assert_uint_eq(vmbus_channel_send_transfer(echo.channel, 77, 0, transfers, 0, "msg", 4),
                      VMBUS_SEND_SIZE);
    ck_assert_uint_eq(vmbus_channel_send_transfer(echo.channel, 77, 0, transfers, 563, "msg", 4),
                      VMBUS_SEND_SIZE);
}
END_TEST

START_TEST(test_full_ring)
{
    struct vg_packet head;
    unsigned sent = 0;

    while (vmbus_channel_send(echo.channel, sent + 1, false, data, 1000) == VMBUS_SEND_OK) {
        sent++;
    }
    ck_assert_uint_eq(sent, 12288 / 1024 - 1); // the last 8 bytes stay free
    ck_assert_uint_eq(channel.in.control[VG_PENDING], 12288 / 4);
    // Reading three packets makes 3072 bytes more room, and Linux signals above the pending size.
    const unsigned wakes = echo.wakes;
    for (unsigned i = 0; i < 3; i++) {
        next_packet(&head);
        ck_assert_uint_eq(channel.sent_signals, i < 2 ? 0 : 1);
    }
    vg_run(vg);
    ck_assert_uint_eq(echo.wakes, wakes + 1);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 99, false, data, 1000), VMBUS_SEND_OK);
    ck_assert_uint_eq(channel.in.control[VG_PENDING], 0);
}
END_TEST

START_TEST(test_largest_packet)
{
    static uint8_t large[12288];

    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, large, 12288 - 24 - 8),
                      VMBUS_SEND_SIZE);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, large, 12288 - 24 - 16),
                      VMBUS_SEND_OK);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 2, false, large, 12288 - 24 - 16),
                      VMBUS_SEND_FULL);
    struct vg_packet head;
    static uint8_t got[12288];
    uint32_t ext_size, size;
    ck_assert(vg_read_packet(&channel, &head, got, &ext_size, got, &size));
    ck_assert_uint_eq(size, 12288 - 24 - 16);
    ck_assert_uint_eq(channel.sent_signals, 1); // there is room for the one that waits
    vg_run(vg);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 2, false, large, 12288 - 24 - 16),
                      VMBUS_SEND_OK);
}
END_TEST

START_TEST(test_room)
{
    ck_assert(vmbus_channel_room(echo.channel, 11, 1000));
    ck_assert(!vmbus_channel_room(echo.channel, 12, 1000)); // can never be
    ck_assert(!vmbus_channel_room(echo.channel, UINT32_MAX, UINT32_MAX));
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, data, 1000), VMBUS_SEND_OK);
    }
    ck_assert(vmbus_channel_room(echo.channel, 5, 1000));
    ck_assert_uint_eq(channel.in.control[VG_PENDING], 0);
    ck_assert(!vmbus_channel_room(echo.channel, 6, 1000));
    ck_assert_uint_eq(channel.in.control[VG_PENDING], 6 * 1024 + 8);
}
END_TEST

// ---- signals -----------------------------------------------------------------------------------

START_TEST(test_signal_on_empty_only)
{
    const uint32_t signals = vg->signals;
    struct vg_packet head;

    for (unsigned i = 0; i < 5; i++) {
        ck_assert_uint_eq(vmbus_channel_send(echo.channel, i, false, "x", 1), VMBUS_SEND_OK);
    }
    ck_assert_uint_eq(vg->signals, signals + 1);
    for (unsigned i = 0; i < 5; i++) {
        next_packet(&head);
    }
    // A guest that polls sets the mask.
    channel.in.control[VG_MASK] = 1;
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, "x", 1), VMBUS_SEND_OK);
    ck_assert_uint_eq(vg->signals, signals + 1);
    channel.in.control[VG_MASK] = 0;
    next_packet(&head);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, "x", 1), VMBUS_SEND_OK);
    ck_assert_uint_eq(vg->signals, signals + 2);
}
END_TEST

START_TEST(test_one_signal_a_batch)
{
    const uint32_t signals = vg->signals;

    for (unsigned i = 0; i < 10; i++) {
        ck_assert(vg_write(&channel, i + 1, "abcdefgh", 8));
    }
    ck_assert_uint_eq(channel.sent_signals, 1); // the host was idle
    vg_run(vg);
    ck_assert_uint_eq(echo.packets, 10);
    ck_assert_uint_eq(vg->signals, signals + 1);
    for (unsigned i = 0; i < 10; i++) {
        vg_expect_completion(&channel, i + 1, data);
    }
}
END_TEST

START_TEST(test_flush_in_callback)
{
    // Outside a callback everything is published at once; this is the state the guest sees.
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 1, false, "x", 1), VMBUS_SEND_OK);
    ck_assert_uint_eq(channel.in.control[VG_WRITE], 32);
    vmbus_channel_flush(echo.channel);
    ck_assert_uint_eq(channel.in.control[VG_WRITE], 32);
}
END_TEST

START_TEST(test_room_signals_of_both_schools)
{
    static const struct {
        uint32_t pending;
        bool signals;
    } cases[] = {
        // Eleven packets of 1024 are in the ring of 12288, 1024 are free, one is read: 2048.
        {1016, false}, {1024, true},  {1032, true}, {2040, true},   {2048, true},
        {2055, true},  {2056, false}, {0, false},   {12287, false},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vmbus_packet packet = {.buffer = data, .capacity = sizeof data};
        echo.deaf = true;
        for (unsigned n = 0; n < 11; n++) {
            ck_assert(vg_write_packet(&channel, 6, false, 1, NULL, 0, data, 1000));
        }
        vg_run(vg);
        channel.out.control[VG_PENDING] = cases[i].pending;
        const uint32_t signals = vg->signals;
        ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_PACKET);
        ck_assert_uint_eq(vg->signals, signals + cases[i].signals);
        channel.out.control[VG_PENDING] = 0;
        while (vmbus_channel_read(echo.channel, &packet) == VMBUS_READ_PACKET) {
        }
    }
    // A guest without the feature bit is not told.
    channel.out.control[VG_FEATURES] = 0;
    channel.out.control[VG_PENDING] = 2048;
    const uint32_t signals = vg->signals;
    echo.deaf = false;
    for (unsigned n = 0; n < 11; n++) {
        ck_assert(vg_write_packet(&channel, 6, false, 1, NULL, 0, data, 1000));
    }
    channel.out.control[VG_PENDING] = 2048;
    vg_run(vg);
    ck_assert_uint_eq(vg->signals, signals);
}
END_TEST

START_TEST(test_back_pressure)
{
    echo.deaf = true;
    ck_assert(vg_write(&channel, 1, "a", 1));
    vg_run(vg);
    ck_assert_uint_eq(channel.out.control[VG_MASK], 1); // the device has enough to do
    const unsigned wakes = echo.wakes;
    ck_assert(vg_write(&channel, 2, "b", 1));
    ck_assert_uint_eq(channel.sent_signals, 1);
    vg_run(vg);
    ck_assert_uint_eq(echo.wakes, wakes);
    echo.deaf = false;
    vmbus_channel_wake(echo.channel);
    vg_run(vg);
    ck_assert_uint_eq(echo.packets, 2);
    ck_assert_uint_eq(channel.out.control[VG_MASK], 0);
}
END_TEST

START_TEST(test_reading_outside_of_wake)
{
    struct vmbus_packet packet = {.buffer = data, .capacity = sizeof data};

    echo.deaf = true;
    ck_assert(vg_write(&channel, 1, "a", 1));
    vg_run(vg);
    ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_PACKET);
    ck_assert_uint_eq(channel.out.control[VG_READ], channel.out.control[VG_WRITE]);
    ck_assert_uint_eq(vmbus_channel_read(echo.channel, &packet), VMBUS_READ_NONE);
    ck_assert_uint_eq(channel.out.control[VG_MASK], 0); // or the next signal would be lost
    ck_assert(vg_write(&channel, 2, "b", 1));
    ck_assert_uint_eq(channel.sent_signals, 2);
}
END_TEST

START_TEST(test_fair_share)
{
    struct echo other;
    const struct vmbus_guid class_id = echo_class(2);

    echo_attach(&other, vg, 2);
    vg_run(vg);
    vg_take_offers(vg);
    struct vg_channel second = vg_open(vg, vg_relid(vg, &class_id, 0), 4, 4);
    for (unsigned i = 0; i < 350; i++) {
        ck_assert(vg_write_packet(&channel, 6, false, 1, NULL, 0, "12345678", 8));
    }
    ck_assert(vg_write_packet(&second, 6, false, 1, NULL, 0, "12345678", 8));
    vg_run(vg);
    ck_assert_uint_eq(echo.packets, 350);
    ck_assert_uint_eq(echo.wakes, 3); // once at the start, then in two turns
    ck_assert_uint_eq(other.packets, 1);
    ck_assert_uint_lt(other.turn, echo.turn); // between them
}
END_TEST

// ---- a guest that breaks its rings -------------------------------------------------------------

START_TEST(test_bad_indices)
{
    static const uint32_t bad[] = {4, 1, 12288, 12289, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF};

    channel.out.control[VG_WRITE] = bad[_i];
    signal_and_run();
    expect_failure("ring index out of range");
}
END_TEST

START_TEST(test_bad_read_index)
{
    channel.in.control[VG_READ] = 7;
    vmbus_channel_send(echo.channel, 1, false, "x", 1);
    vg_run(vg);
    expect_failure("ring index out of range");
}
END_TEST

START_TEST(test_bad_descriptors)
{
    static const struct vg_packet bad[] = {
        {6, 2, 1, 0, 0},      // ends before its payload starts
        {6, 1, 4, 0, 0},      // payload within the descriptor
        {6, 0, 4, 0, 0},      //
        {6, 2, 6, 0, 0},      // longer than what is there
        {6, 2, 0xFFFF, 0, 0}, //
        {6, 2, 4, 2, 0},      // unknown flag
        {6, 2, 4, 0x8001, 0}, //
    };
    memcpy(channel.out.data, &bad[_i], sizeof bad[0]);
    channel.out.control[VG_WRITE] = 48; // room for a packet of 5 and its footer
    signal_and_run();
    expect_failure("bad packet descriptor");
}
END_TEST

START_TEST(test_bad_types)
{
    static const uint16_t bad[] = {0, 1, 2, 3, 4, 5, 7, 8, 10, 12, 13, 0xFFFF};

    ck_assert(vg_write_packet(&channel, bad[_i], false, 1, NULL, 0, "x", 1));
    vg_run(vg);
    expect_failure("packet of a type that guests do not send");
}
END_TEST

START_TEST(test_less_than_a_packet)
{
    channel.out.control[VG_WRITE] = 16;
    signal_and_run();
    expect_failure("less than a packet in the ring");
}
END_TEST

START_TEST(test_bad_gpa_direct)
{
    static const struct {
        uint32_t words;
        uint64_t word[4];
    } bad[] = {
        {1, {0, 0}},                                           // no range
        {2, {0, 4096}},                                        // says no range
        {3, {UINT64_C(2) << 32, 4096, VG_FIRST_PAGE}},         // second is missing
        {3, {UINT64_C(1) << 32, 0, VG_FIRST_PAGE}},            // empty
        {3, {UINT64_C(1) << 32, 4097, VG_FIRST_PAGE}},         // needs two pages
        {3, {UINT64_C(1) << 32, UINT64_C(4096) << 32 | 1, 0}}, // offset
        {3, {UINT64_C(0xFFFFFFFF) << 32, 4096, 0}},            // count
        {3, {UINT64_C(1) << 32, 0xFFFFFFFF, 0}},               //
    };

    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_GPA_DIRECT, true, 1, bad[_i].word,
                              bad[_i].words * 8, "x", 1));
    vg_run(vg);
    expect_failure("bad ranges in a GPA-direct packet");
}
END_TEST

START_TEST(test_gpa_direct_without_extension)
{
    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_GPA_DIRECT, true, 1, NULL, 0, "x", 1));
    vg_run(vg);
    expect_failure("GPA-direct packet without ranges");
}
END_TEST

START_TEST(test_mask_set_by_producer)
{
    channel.out.control[VG_MASK] = 1;
    ck_assert(vg_write(&channel, 1, "x", 1));
    signal_and_run();
    expect_failure("the guest set the interrupt mask of its own ring");
    ck_assert_uint_eq(echo.packets, 0);
}
END_TEST

START_TEST(test_ring_page_goes_away)
{
    ck_assert(vg_write(&channel, 1, "x", 1));
    vg->missing[1] = 1; // the first data page of the first ring
    vg_run(vg);
    expect_failure("a page of the ring is no memory");
}
END_TEST

START_TEST(test_others_live_on)
{
    struct echo other;
    const struct vmbus_guid class_id = echo_class(2);

    echo_attach(&other, vg, 2);
    vg_run(vg);
    vg_take_offers(vg);
    struct vg_channel second = vg_open(vg, vg_relid(vg, &class_id, 0), 4, 4);
    channel.out.control[VG_WRITE] = 3;
    signal_and_run();
    expect_failure("ring index out of range");
    ck_assert(vg_write(&second, 9, "x", 1));
    vg_run(vg);
    ck_assert_uint_eq(vg_expect_completion(&second, 9, data), 8);
    // The broken one is closed and released like any other.
    vg_send_relid(vg, VMBUS_CLOSECHANNEL, 1);
    vg_teardown(vg, 1, channel.gpadl);
    vg_send_relid(vg, VMBUS_RELID_RELEASED, 1);
    vg_unload(vg);
}
END_TEST

// ---- pipe mode ---------------------------------------------------------------------------------

static void open_pipe(void)
{
    struct vmbus_offer offer = echo_offer(5);

    memset(&echo, 0, sizeof echo);
    offer.flags = VMBUS_OFFER_NAMED_PIPE;
    offer.user_data[0] = VMBUS_PIPE_MESSAGES;
    echo.channel = vmbus_channel_offer(vg->server, &offer, &echo_ops, &echo);
    vg_run(vg);
    vg_take_offers(vg);
    channel = vg_open(vg, 2, 8, 8);
}

START_TEST(test_pipe)
{
    const uint32_t message[4] = {1, 5, 0x64636261, 0x65};
    struct vg_packet head;
    uint32_t got[4];

    open_pipe();
    ck_assert(vg_write_packet(&channel, 6, false, 9, NULL, 0, message, 13));
    vg_run(vg);
    ck_assert_uint_eq(echo.last.size, 5);
    ck_assert_mem_eq(echo.buffer, "abcde", 5);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 4, false, "uvwxyz", 6), VMBUS_SEND_OK);
    ck_assert_uint_eq(next_packet(&head), 16);
    memcpy(got, data, sizeof got);
    ck_assert_uint_eq(got[0], 1);
    ck_assert_uint_eq(got[1], 6);
    ck_assert_mem_eq(data + 8, "uvwxyz", 6);
    // An empty message is the end of a byte stream.
    const uint32_t empty[2] = {1, 0};
    ck_assert(vg_write_packet(&channel, 6, false, 9, NULL, 0, empty, 8));
    vg_run(vg);
    ck_assert_uint_eq(echo.packets, 2);
    ck_assert_uint_eq(echo.last.size, 0);
    static uint8_t large[VMBUS_PIPE_PACKET + 1];
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 4, false, large, VMBUS_PIPE_PACKET),
                      VMBUS_SEND_OK);
    ck_assert_uint_eq(vmbus_channel_send(echo.channel, 4, false, large, VMBUS_PIPE_PACKET + 1),
                      VMBUS_SEND_SIZE);
    // Completions have no such header.
    ck_assert(vg_write_packet(&channel, VMBUS_PACKET_COMPLETION, false, 9, NULL, 0, "x", 1));
    vg_run(vg);
    ck_assert_uint_eq(echo.last.type, VMBUS_PACKET_COMPLETION);
    ck_assert_uint_eq(echo.last.size, 8);
}
END_TEST

START_TEST(test_bad_pipe)
{
    static const struct {
        uint32_t word[2];
        uint32_t size;
    } bad[] = {{{1, 0}, 0}, {{1, 1}, 8}, {{2, 0}, 8}, {{0, 0}, 8}, {{1, 0xFFFFFFFF}, 8}};

    open_pipe();
    ck_assert(vg_write_packet(&channel, 6, false, 9, NULL, 0, bad[_i].word, bad[_i].size));
    vg_run(vg);
    ck_assert(!vmbus_channel_is_open(echo.channel));
    ck_assert_uint_eq(echo.packets, 0);
}
END_TEST

static Suite *suite(void)
{
    const TTest *const tests[] = {
        test_echo_of_every_size,
        test_no_completion_unasked,
        test_header_longer_than_known,
        test_gpa_direct,
        test_gpa_direct_of_many_ranges,
        test_oversize,
        test_transfer_pages,
        test_full_ring,
        test_largest_packet,
        test_room,
        test_signal_on_empty_only,
        test_one_signal_a_batch,
        test_flush_in_callback,
        test_room_signals_of_both_schools,
        test_back_pressure,
        test_reading_outside_of_wake,
        test_fair_share,
        test_bad_read_index,
        test_less_than_a_packet,
        test_gpa_direct_without_extension,
        test_mask_set_by_producer,
        test_ring_page_goes_away,
        test_others_live_on,
        test_pipe,
    };
    Suite *s = suite_create("vmbus_ring");
    TCase *tc = tcase_create("ring");

    tcase_add_checked_fixture(tc, setup, teardown);
    for (unsigned i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        tcase_add_test(tc, tests[i]);
    }
    tcase_add_loop_test(tc, test_bad_indices, 0, 7);
    tcase_add_loop_test(tc, test_bad_descriptors, 0, 7);
    tcase_add_loop_test(tc, test_bad_types, 0, 12);
    tcase_add_loop_test(tc, test_bad_gpa_direct, 0, 8);
    tcase_add_loop_test(tc, test_bad_pipe, 0, 5);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());

    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
