// SPDX-License-Identifier: BSD-2-Clause-Patent
// VMBus rings under random interleavings. The guest is two little machines, a producer and a
// consumer, that make one access to shared memory a step; they run between any two accesses of the
// host (the page callback calls them) as well as while the host is away. Every packet must arrive
// once, in order, unchanged; and when nothing moves any more, nobody may be asleep with something
// to do: a lost signal would show.
//
// Steps of the guest: 10,000,000 in all; VMBUS_MODEL_STEPS in the environment says otherwise.
#include <check.h>

#include "vmbus_echo.h"

// ---- the guest ---------------------------------------------------------------------------------

enum producer { P_IDLE, P_ROOM, P_ASK, P_CHECK, P_ASLEEP, P_DATA, P_PUBLISH, P_MASK, P_INDEX };
enum consumer {
    C_ASLEEP,
    C_WRITE_INDEX,
    C_PACKET,
    C_PUBLISH,
    C_PENDING,
    C_SIGNAL,
    C_UNMASK,
    C_LAST
};

enum { LARGEST = 7 * VMBUS_PAGE }; // ring

struct model {
    struct vg *vg;
    struct vg_channel channel;
    uint64_t random;
    uint64_t steps;
    bool stopped; // the guest starts nothing new
    bool to_host; // a signal is under way
    // producer
    enum producer producer;
    uint64_t sent;  // packets
    uint32_t size;  // of the packet in hand
    uint32_t start; // write index before it
    bool room_event;
    // consumer
    enum consumer consumer;
    uint64_t received;
    uint32_t write, read; // indices as it knows them
    uint32_t free_before; // what the host could write, at the last signal decision
    uint32_t pending;
    bool data_event;
    // host
    uint64_t host_sent, host_received;
    bool host_full;
    bool host_pauses;
    uint8_t buffer[LARGEST];
};

static uint32_t random_below(struct model *m, uint32_t limit)
{
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    return (uint32_t)((m->random * UINT64_C(0x2545F4914F6CDD1D)) >> 33) % limit;
}

// In some runs packets are multiples of 64 in the ring, so that room is often met exactly.
static uint32_t grain;

// Packets are told by their number: size and content follow from it.
static uint32_t size_of_packet(uint64_t number, uint32_t ring_size)
{
    const uint32_t mix = (uint32_t)(number * 2654435761u >> 7);
    const uint32_t size = 8 + mix % (mix % 16 ? 200 : ring_size - 120);

    return grain ? (size + 24 + grain - 1) / grain * grain - 24 : size;
}

static uint8_t byte_of_packet(uint64_t number, uint32_t i)
{
    return (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

static void fill(uint8_t *bytes, uint64_t number, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = byte_of_packet(number, i);
    }
}

static void verify(const uint8_t *bytes, uint64_t number, uint32_t size, uint32_t ring_size)
{
    const uint32_t expected = size_of_packet(number, ring_size);

    must_equal(size, (expected + 7) / 8 * 8);
    for (uint32_t i = 0; i < expected; i++) {
        must(bytes[i] == byte_of_packet(number, i));
    }
}

static uint32_t free_bytes(const struct vg_ring *ring, uint32_t write, uint32_t read)
{
    return ring->size - (write >= read ? write - read : ring->size - read + write);
}

static uint32_t packet_bytes(const struct model *m)
{
    return (16 + m->size + 7) / 8 * 8 + 8;
}

static void write_data(struct model *m)
{
    struct vg_ring *ring = &m->channel.out;
    const uint32_t length = packet_bytes(m) - 8;
    const struct vg_packet head = {6, 2, (uint16_t)(length / 8), 0, m->sent};
    const uint32_t footer[2] = {0, m->start};
    static uint8_t bytes[LARGEST];

    memset(bytes, 0, length - 16);
    fill(bytes, m->sent, m->size);
    uint32_t at = vg_put(ring, m->start, &head, sizeof head);
    at = vg_put(ring, at, bytes, length - 16);
    vg_put(ring, at, footer, sizeof footer);
}

static void step_producer(struct model *m)
{
    struct vg_ring *ring = &m->channel.out;

    switch (m->producer) {
    case P_IDLE:
        if (!m->stopped && random_below(m, 4) == 0) {
            m->size = size_of_packet(m->sent, ring->size);
            m->start = ring->control[VG_WRITE];
            m->producer = P_ROOM;
        }
        break;
    case P_ROOM: // Linux: hv_ringbuffer_write() wants more room than the packet needs
        m->producer =
            free_bytes(ring, m->start, ring->control[VG_READ]) > packet_bytes(m) ? P_DATA : P_ASK;
        break;
    case P_ASK:
        ring->control[VG_PENDING] = packet_bytes(m);
        m->producer = P_CHECK;
        break;
    case P_CHECK:
        m->room_event = false;
        m->producer = P_ASLEEP;
        if (free_bytes(ring, m->start, ring->control[VG_READ]) > packet_bytes(m)) {
            m->producer = P_DATA;
        }
        break;
    case P_ASLEEP:
        if (m->room_event) {
            m->producer = P_CHECK;
        }
        break;
    case P_DATA:
        ring->control[VG_PENDING] = 0;
        write_data(m);
        m->producer = P_PUBLISH;
        break;
    case P_PUBLISH:
        ring->control[VG_WRITE] = (m->start + packet_bytes(m)) % ring->size;
        m->sent++;
        m->producer = P_MASK;
        break;
    case P_MASK:
        m->producer = ring->control[VG_MASK] ? P_IDLE : P_INDEX;
        break;
    case P_INDEX:
        m->to_host |= ring->control[VG_READ] == m->start;
        m->producer = P_IDLE;
        break;
    }
}

static void read_packet(struct model *m)
{
    struct vg_ring *ring = &m->channel.in;
    struct vg_packet head;
    uint32_t footer[2];

    must((m->write + ring->size - m->read) % ring->size >= 24);
    uint32_t at = vg_get(ring, m->read, &head, sizeof head);
    must_equal(head.transaction_id, m->received);
    must_equal(head.offset8, 2);
    const uint32_t size = head.length8 * 8u - 16;
    must(size <= sizeof m->buffer);
    at = vg_get(ring, at, m->buffer, size);
    at = vg_get(ring, at, footer, sizeof footer);
    must_equal(footer[1], m->read);
    verify(m->buffer, m->received, size, ring->size);
    m->received++;
    m->read = at;
}

// Linux: hv_pkt_iter_first(), _next(), _close() and the mask around them.
static void step_consumer(struct model *m)
{
    struct vg_ring *ring = &m->channel.in;

    switch (m->consumer) {
    case C_ASLEEP:
        if (m->data_event) {
            m->data_event = false;
            ring->control[VG_MASK] = 1;
            m->consumer = C_WRITE_INDEX;
        }
        break;
    case C_WRITE_INDEX:
        m->write = ring->control[VG_WRITE];
        m->consumer = m->write == m->read ? C_UNMASK : C_PACKET;
        break;
    case C_PACKET:
        read_packet(m);
        m->consumer = m->read == m->write || random_below(m, 3) == 0 ? C_PUBLISH : C_PACKET;
        break;
    case C_PUBLISH:
        m->free_before = ring->control[VG_READ];
        ring->control[VG_READ] = m->read;
        m->consumer = C_PENDING;
        break;
    case C_PENDING:
        m->pending = ring->control[VG_PENDING];
        m->consumer = C_SIGNAL;
        break;
    case C_SIGNAL: {
        const uint32_t write = ring->control[VG_WRITE];
        const uint32_t before = free_bytes(ring, write, m->free_before);
        const uint32_t after = free_bytes(ring, write, m->read);
        m->to_host |= m->pending && before <= m->pending && after > m->pending;
        m->consumer = C_WRITE_INDEX;
        break;
    }
    case C_UNMASK:
        ring->control[VG_MASK] = 0;
        m->consumer = C_LAST;
        break;
    case C_LAST:
        if (ring->control[VG_WRITE] != m->read) {
            m->data_event = true; // poll again
        }
        m->consumer = C_ASLEEP;
        break;
    }
}

static void step_guest(struct model *m)
{
    // The one event of the channel means room, data, or both.
    if (m->vg->events[m->channel.relid] && random_below(m, 3) == 0) {
        m->vg->events[m->channel.relid] = 0;
        m->room_event = m->data_event = true;
    }
    if (random_below(m, 2)) {
        step_producer(m);
    } else {
        step_consumer(m);
    }
    m->steps++;
}

// The host is about to touch guest memory.
static void hook(void *ctx)
{
    struct model *m = ctx;

    // Mostly a race of neighbours, at times a long absence of the host.
    for (uint32_t n = random_below(m, random_below(m, 16) ? 4 : 60); n; n--) {
        step_guest(m);
    }
}

// ---- the device --------------------------------------------------------------------------------

static void device_open(void *device, struct vmbus_channel *channel, const struct vmbus_open *open)
{
    (void)device;
    (void)open;
    vmbus_channel_opened(channel, VMBUS_STATUS_OK);
}

static void device_close(void *device, struct vmbus_channel *channel)
{
    (void)device;
    vmbus_channel_closed(channel);
}

static void device_send(struct model *m, struct vmbus_channel *channel)
{
    static uint8_t bytes[LARGEST];
    const uint32_t size = size_of_packet(m->host_sent, m->channel.in.size);

    fill(bytes, m->host_sent, size);
    const enum vmbus_send result = vmbus_channel_send(channel, m->host_sent, false, bytes, size);
    must(result == VMBUS_SEND_OK || result == VMBUS_SEND_FULL);
    m->host_full = result == VMBUS_SEND_FULL;
    m->host_sent += result == VMBUS_SEND_OK;
}

static void device_wake(void *device, struct vmbus_channel *channel)
{
    struct model *m = device;
    static uint8_t bytes[LARGEST];
    struct vmbus_packet packet = {.buffer = bytes, .capacity = sizeof bytes};

    m->host_pauses = m->host_full = false;
    for (;;) {
        if (m->channel.vg && random_below(m, 50) == 0) {
            m->host_pauses = true; // has enough to do; wakes itself later
            break;
        }
        if (vmbus_channel_read(channel, &packet) != VMBUS_READ_PACKET) {
            break;
        }
        must_equal(packet.transaction_id, m->host_received);
        verify(bytes, m->host_received, packet.size, m->channel.out.size);
        m->host_received++;
    }
    const bool sends = m->channel.vg && !m->stopped; // not when it has just been opened
    for (uint32_t n = sends ? random_below(m, 6) : 0; n; n--) {
        device_send(m, channel);
        if (m->host_full) {
            break;
        }
    }
}

static const struct vmbus_device_ops ops = {
    .open = device_open, .close = device_close, .wake = device_wake};

// ---- the schedule ------------------------------------------------------------------------------

static void deliver(struct model *m)
{
    if (m->to_host) {
        m->to_host = false;
        vg_signal_host(&m->channel);
    }
}

// The host has nothing to do and no signal is under way: then nobody may sleep who could go on.
static void check_nobody_is_forgotten(const struct model *m)
{
    const struct vg_ring *out = &m->channel.out, *in = &m->channel.in;
    const bool to_guest = m->vg->events[m->channel.relid];

    if (m->producer == P_ASLEEP && !m->room_event && !to_guest && !m->to_host && !m->host_pauses) {
        must(free_bytes(out, m->start, out->control[VG_READ]) <= packet_bytes(m));
    }
    if (m->producer <= P_PUBLISH && !m->to_host && !m->host_pauses) {
        must_equal(out->control[VG_WRITE], out->control[VG_READ]);
    }
    if (m->consumer == C_ASLEEP && !m->data_event && !to_guest) {
        must_equal(in->control[VG_WRITE], in->control[VG_READ]);
        must(!m->host_full || m->to_host);
    }
}

// Lets everything come to rest without new packets, and finds nobody asleep in front of something.
static void settle(struct model *m, struct vmbus_channel *channel)
{
    m->stopped = true;
    for (unsigned quiet = 0; quiet < 200; quiet++) {
        const uint64_t before = m->sent + m->received + m->host_received;
        deliver(m);
        if (m->host_pauses) {
            vmbus_channel_wake(channel);
        }
        vg_run(m->vg);
        step_guest(m);
        if (before != m->sent + m->received + m->host_received || m->host_pauses || m->to_host) {
            quiet = 0;
        }
    }
    must(vmbus_channel_is_open(channel));
    must_equal(m->producer, P_IDLE);
    must_equal(m->consumer, C_ASLEEP);
    must_equal(m->host_received, m->sent);
    must_equal(m->received, m->host_sent);
    m->stopped = false;
}

static void run_model(uint32_t pages_out, uint32_t pages_in, uint64_t seed, uint64_t steps)
{
    static struct model m;
    const struct vmbus_offer offer = echo_offer(1);

    memset(&m, 0, sizeof m);
    m.random = seed;
    m.vg = vg_create(NULL);
    struct vmbus_channel *channel = vmbus_channel_offer(m.vg->server, &offer, &ops, &m);
    vg_connect(m.vg, VMBUS_V5_3);
    m.channel = vg_open(m.vg, 1, pages_out, pages_in);
    m.vg->hook = hook;
    m.vg->hook_ctx = &m;
    for (uint64_t next = 50000; m.steps < steps;) {
        switch (random_below(&m, 8)) {
        case 0:
            deliver(&m);
            break;
        case 1:
            if (!vmbus_server_run(m.vg->server)) {
                check_nobody_is_forgotten(&m);
            }
            break;
        case 2:
            if (m.host_pauses) {
                vmbus_channel_wake(channel);
            } else if (!m.host_full) {
                device_send(&m, channel); // out of a callback
            }
            break;
        case 3: // at times the host is away for long
            for (uint32_t n = random_below(&m, 32) ? 1 : 1000; n; n--) {
                step_guest(&m);
            }
            break;
        default:
            step_guest(&m);
            break;
        }
        if (m.steps >= next) {
            settle(&m, channel);
            next = m.steps + 50000;
        }
    }
    settle(&m, channel);
    // Enough has happened for the result to mean something.
    must(m.sent > steps / 2000 && m.received > steps / 2000);
    vg_destroy(m.vg);
}

static uint64_t steps_to_do(void)
{
    const char *text = getenv("VMBUS_MODEL_STEPS");

    return text ? strtoull(text, NULL, 0) : 10000000;
}

START_TEST(test_interleavings)
{
    static const struct {
        uint32_t out, in;
    } rings[] = {{2, 2}, {2, 4}, {4, 2}, {4, 4}, {3, 8}};

    grain = _i % 2 ? 0 : 64;
    run_model(rings[_i].out, rings[_i].in, 0x9E3779B97F4A7C15u + (unsigned)_i, steps_to_do() / 5);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vmbus_model");
    TCase *tc = tcase_create("rings");

    tcase_set_timeout(tc, 600);
    tcase_add_loop_test(tc, test_interleavings, 0, 5);
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
