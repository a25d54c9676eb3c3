// SPDX-License-Identifier: BSD-2-Clause-Patent
// Two adapters on a switch; the guest of one sends what the fuzzer likes: NVSP messages in any
// state, RNDIS bytes in pages and in the send buffer, completions, frames from the other side. No
// crash, no endless work, slots of the receive buffer are never lost or given twice.
#include <stdlib.h>
#include <string.h>

#include "root/lib/vsp/net/netvsp.h"
#include "root/lib/vsp/wire.h"
#include "tests/unit/fake_vmbus.h"
#include "tests/unit/net_frames.h"

enum { SLOTS = 200, RECEIVE_PAGES = 128, SEND_PAGES = 8, SEND_AT = 128, DATA_AT = 200 };

struct input {
    const uint8_t *data;
    size_t left;
};

static struct vmbus_server bus;
static struct virtual_switch sw;
static struct netvsp vsp;
static struct netvsp_slot slots[SLOTS];
static struct netvsp_scratch scratch;
static struct switch_port peer;
static uint8_t queue[65536] __attribute__((aligned(8)));
static uint8_t peer_queue[65536] __attribute__((aligned(8)));
static uint64_t last_id;

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static uint64_t take(struct input *input, unsigned size)
{
    uint64_t value = 0;
    while (size-- > 0 && input->left > 0) {
        value = value << 8 | *input->data++;
        input->left--;
    }
    return value;
}

static uint32_t take_bytes(struct input *input, uint8_t *out, uint32_t size)
{
    const uint32_t part = size < input->left ? size : (uint32_t)input->left;
    memcpy(out, input->data, part);
    input->data += part;
    input->left -= part;
    return part;
}

static struct vmbus_channel *channel_of(struct input *input)
{
    struct vmbus_channel *channel = &bus.channels[take(input, 1) % 4];
    return channel->used && channel->open ? channel : &bus.channels[0];
}

static void drain(void)
{
    for (unsigned i = 0; i < FAKE_CHANNELS; i++) {
        struct vmbus_channel *channel = &bus.channels[i];
        while (channel->out.count) {
            const struct fake_packet *packet = fake_peek(channel);
            if (packet->type == VMBUS_PACKET_TRANSFER_PAGES) {
                last_id = packet->id;
                for (uint32_t j = 0; j < packet->transfer_count; j++) {
                    check(packet->transfers[j].offset + packet->transfers[j].size <=
                          RECEIVE_PAGES * VMBUS_PAGE);
                }
            }
            fake_pop(channel);
        }
    }
}

// The free list has as many slots as it says, each once.
static void check_slots(void)
{
    bool seen[SLOTS] = {false};
    uint32_t count = 0;

    if (!vsp.receive.buffer.held) {
        return;
    }
    for (uint16_t slot = vsp.receive.free_first; slot != UINT16_MAX; slot = slots[slot].next) {
        check(slot < vsp.receive.slots && !seen[slot]);
        seen[slot] = true;
        count++;
    }
    check(count == vsp.receive.free_count);
}

static void send_nvsp(struct input *input, struct vmbus_channel *channel)
{
    static const uint8_t types[] = {1, 100, 101, 103, 104, 106, 107, 125, 129, 131, 133};
    uint8_t message[64] = {0};
    const uint8_t kind = (uint8_t)take(input, 1);

    le32_put(message, kind < 220 ? types[kind % sizeof types] : (uint32_t)take(input, 4));
    const uint32_t size = 4 + take_bytes(input, message + 4, kind % 3 ? 24 : 40);
    fake_send(channel, take(input, 1), kind & 1, message, size);
}

static void send_rndis(struct input *input, struct vmbus_channel *channel)
{
    uint8_t message[NVSP_SIZE_61] = {NVSP_SEND_RNDIS};
    uint8_t bytes[512];
    const uint8_t kind = (uint8_t)take(input, 1);
    const uint32_t size = take_bytes(input, bytes, kind & 1 ? 500 : 60);
    const uint32_t section = kind & 2 ? (uint32_t)take(input, 1) % 6 : NVSP_NO_SECTION;

    if (size >= 8 && (kind & 4)) { // the length right
        le32_put(bytes, kind & 8 ? RNDIS_PACKET : 2 + kind % 8);
        le32_put(bytes + 4, size + (kind & 16 ? 3000 : 0));
    }
    le32_put(message + 8, section);
    if (section != NVSP_NO_SECTION) {
        const uint32_t at = SEND_AT * VMBUS_PAGE + section % 5 * NETVSP_SECTION;
        memcpy(bus.pages + at, bytes, size);
        le32_put(message + 12, size);
        if (kind & 16) {
            fake_range(channel, DATA_AT, 0, 3000);
        }
    } else {
        memcpy(bus.pages + DATA_AT * VMBUS_PAGE + 50, bytes, size);
        fake_range(channel, DATA_AT, 50, size + (kind & 16 ? 3000 : 1));
    }
    fake_send(channel, 1, true, message, NVSP_SIZE_61);
}

// A control message with its parts in place: what it asks for is the fuzzer's.
static void send_control(struct input *input, struct vmbus_channel *channel)
{
    static const uint32_t oids[] = {
        OID_RSS_PARAMETERS,   OID_OFFLOAD_PARAMETERS,   OID_RNDIS_CONFIG_PARAMETER,
        OID_MULTICAST_LIST,   OID_PACKET_FILTER,        OID_CURRENT_LOOKAHEAD,
        OID_SUPPORTED_LIST,   OID_OFFLOAD_CAPABILITIES, OID_OFFLOAD_CURRENT_CONFIG,
        OID_RSS_CAPABILITIES, OID_STATISTICS,           OID_FRIENDLY_NAME,
    };
    uint8_t message[NVSP_SIZE_61] = {NVSP_SEND_RNDIS};
    uint8_t bytes[700] = {0};
    const uint8_t kind = (uint8_t)take(input, 1);
    const uint8_t oid = (uint8_t)take(input, 1);
    const uint32_t info = take_bytes(input, bytes + 28, (uint32_t)take(input, 1) * 2);

    le32_put(message + 4, NVSP_CHANNEL_CONTROL);
    le32_put(message + 8, NVSP_NO_SECTION);
    le32_put(bytes, 2 + kind % 8);
    le32_put(bytes + 4, 28 + info + (kind & 64 ? 100 : 0));
    le32_put(bytes + 12, oid < 200 ? oids[oid % 12] : 0x10101u + oid % 24);
    le32_put(bytes + 16, info);
    le32_put(bytes + 20, kind & 128 ? 20 : (uint32_t)take(input, 1));
    memcpy(bus.pages + DATA_AT * VMBUS_PAGE, bytes, sizeof bytes);
    fake_range(channel, DATA_AT, 0, 28 + info + (kind & 64 ? 100 : 0));
    fake_send(channel, 1, true, message, NVSP_SIZE_61);
}

// A frame with per-packet information: TCP or UDP over IPv4 or IPv6, then as the fuzzer likes.
static void send_frame(struct input *input, struct vmbus_channel *channel)
{
    static uint8_t bytes[4096];
    static const uint8_t ppis[] = {PPI_CHECKSUM, PPI_LSO, PPI_8021Q, PPI_HASH};
    uint8_t message[NVSP_SIZE_61] = {NVSP_SEND_RNDIS};
    const uint8_t kind = (uint8_t)take(input, 1);
    const uint32_t header = 44 + 16 * (kind & 3u), size = 60 + (uint32_t)take(input, 2) % 3800;
    uint8_t *frame = bytes + header;

    memset(bytes, 0, sizeof bytes);
    frame_make(frame, 60, kind & 4 ? 9 : 0xFF, 1);
    be16_put(frame + 12, kind & 8 ? ETHER_TYPE_IPV6 : ETHER_TYPE_IPV4);
    frame[14] = kind & 8 ? 0x60 : 0x45;
    be16_put(frame + (kind & 8 ? 18 : 16), (uint16_t)(size - (kind & 8 ? 54 : 14)));
    frame[kind & 8 ? 20 : 23] = kind & 16 ? IP_UDP : IP_TCP;
    frame[kind & 8 ? 66 : 46] = 0x50;
    for (uint64_t i = take(input, 1) % 8; i > 0; i--) {
        const uint32_t at = (uint32_t)take(input, 1);
        bytes[at] = (uint8_t)take(input, 1);
    }
    le32_put(bytes, RNDIS_PACKET);
    le32_put(bytes + 4, header + size);
    le32_put(bytes + 8, header - 8);
    le32_put(bytes + 12, size);
    le32_put(bytes + 28, kind & 3 ? 36 : 0);
    le32_put(bytes + 32, 16 * (kind & 3u));
    for (uint32_t i = 0; i < (kind & 3u); i++) {
        le32_put(bytes + 44 + 16 * i, 16);
        le32_put(bytes + 48 + 16 * i, ppis[take(input, 1) % 4]);
        le32_put(bytes + 52 + 16 * i, 12);
        le32_put(bytes + 56 + 16 * i, (uint32_t)take(input, kind & 32 ? 4 : 2));
    }
    le32_put(message + 8, NVSP_NO_SECTION);
    memcpy(bus.pages + DATA_AT * VMBUS_PAGE, bytes, sizeof bytes);
    fake_range(channel, DATA_AT, 0, header + size);
    fake_send(channel, 1, true, message, NVSP_SIZE_61);
}

static void bring_up(uint32_t version)
{
    uint8_t message[NVSP_SIZE_61] = {NVSP_INIT};
    uint8_t rndis[24] = {RNDIS_INITIALIZE, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 1};

    fake_open(&bus.channels[0]);
    le32_put(message + 4, version);
    le32_put(message + 8, version);
    fake_send(&bus.channels[0], 1, true, message, NVSP_SIZE_61);
    memset(message, 0, sizeof message);
    le32_put(message, NVSP_SEND_RECEIVE_BUFFER);
    le32_put(message + 4, 1);
    fake_send(&bus.channels[0], 1, true, message, NVSP_SIZE_61);
    le32_put(message, NVSP_SEND_SEND_BUFFER);
    le32_put(message + 4, 2);
    fake_send(&bus.channels[0], 1, true, message, NVSP_SIZE_61);
    memset(message, 0, sizeof message);
    le32_put(message, NVSP_SEND_RNDIS);
    le32_put(message + 4, 1);
    le32_put(message + 8, NVSP_NO_SECTION);
    memcpy(bus.pages + DATA_AT * VMBUS_PAGE, rndis, sizeof rndis);
    fake_range(&bus.channels[0], DATA_AT, 0, sizeof rndis);
    fake_send(&bus.channels[0], 1, true, message, NVSP_SIZE_61);
    memset(message, 0, sizeof message);
    le32_put(message, NVSP_SUBCHANNEL);
    le32_put(message + 4, 1);
    le32_put(message + 8, 2);
    fake_send(&bus.channels[0], 1, true, message, NVSP_SIZE_61);
    fake_run(&bus);
    switch_set_filter(&vsp.nic.port, 0x0F);
    if (version >= NVSP_VERSION_5) { // RSS as a driver would set it
        vsp.nic.rss = (struct rss){.enabled = true,
                                   .types = RSS_TYPES,
                                   .table_size = 4,
                                   .table = {0, 1, 2, 3},
                                   .key = {0x6D, 0x5A, 0x56, 0xDA}};
    }
}

static void setup(struct input *input)
{
    static const uint32_t versions[] = {2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001, 0, 0};
    const struct port_config port = {.address = frame_address(9), .max_frame = ETHER_FRAME_MAX};
    const struct netvsp_config config = {
        .address = frame_address(1),
        .frame_max = ETHER_FRAME_MAX,
        .queues = 4,
        .sw = &sw,
        .queue_memory = queue,
        .queue_size = sizeof queue,
        .slots = slots,
        .slot_count = SLOTS,
        .scratch = &scratch,
    };

    fake_init(&bus, DATA_AT + 4);
    switch_init(&sw, 1);
    last_id = 0;
    check(netvsp_create(&vsp, &bus, &config));
    check(switch_attach(&sw, &peer, &port, peer_queue, sizeof peer_queue));
    switch_set_filter(&peer, 0x0F);
    fake_gpadl_add(&bus, 1, 0, RECEIVE_PAGES);
    fake_gpadl_add(&bus, 2, SEND_AT, SEND_PAGES);
    bring_up(versions[take(input, 1) % 8]);
}

// The device as it comes from a blob, instead of from a guest's driver.
static void restore(struct input *input)
{
    struct vmbus_channel *channel = &bus.channels[0];
    struct blob_reader blob = {.data = input->data, .size = input->left};

    fake_close(channel);
    channel->open = channel->wake = true;
    if (!channel->ops->restore(channel->device, channel, &blob) || blob.failed) {
        channel->failed = "refused";
    }
    input->data += blob.used;
    input->left -= blob.used;
}

static void from_peer(struct input *input)
{
    uint8_t bytes[1600] = {0};
    struct frame frame = frame_make(bytes, 64 + (uint32_t)take(input, 1), 1, 9);

    const uint8_t kind = (uint8_t)take(input, 1);
    frame.tagged = kind & 1;
    take_bytes(input, bytes + 12, kind & 2 ? 40 : 0);
    be16_put(bytes + 12, kind & 4 ? ETHER_TYPE_IPV6 : ETHER_TYPE_IPV4);
    bytes[14] = kind & 4 ? 0x60 : 0x45;
    be16_put(bytes + (kind & 4 ? 18 : 16), (uint16_t)(frame.size - (kind & 4 ? 54 : 14)));
    bytes[kind & 4 ? 20 : 23] = kind & 8 ? IP_UDP : IP_TCP;
    bytes[kind & 4 ? 66 : 46] = 0x50;
    for (uint64_t i = take(input, 1) % 64; i > 0; i--) {
        switch_send(&sw, &peer, &frame, bus.now);
    }
}

static void end_session(struct input *input)
{
    switch (take(input, 1) % 6) {
    case 0:
        fake_close(&bus.channels[0]);
        bring_up(NVSP_VERSION_61);
        break;
    case 4:
        restore(input);
        break;
    case 5:
        for (unsigned i = 0; i < FAKE_GPADLS; i++) {
            if (bus.gpadls[i].id && take(input, 1) & 1) {
                check(fake_gpadl_tear(&bus, &bus.channels[0], bus.gpadls[i].id));
            }
        }
        break;
    case 1:
        for (unsigned i = 1; i < 4; i++) {
            if (bus.channels[i].used && !bus.channels[i].open) {
                fake_open(&bus.channels[i]);
            }
        }
        break;
    case 2:
        netvsp_set_link(&vsp, take(input, 1) & 1);
        bus.now += take(input, 4);
        break;
    default:
        bus.channels[0].room = (unsigned)take(input, 1) % 8 + 1;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct frame frame;

    setup(&input);
    for (unsigned step = 0; step < 200 && input.left > 0; step++) {
        struct vmbus_channel *channel = channel_of(&input);
        const unsigned kind = (unsigned)take(&input, 1) % 12;

        if (!bus.channels[0].open) { // failed and closed: as if the guest came again
            bring_up(NVSP_VERSION_5);
        } else if (kind < 2) {
            send_nvsp(&input, channel);
        } else if (kind < 5) {
            send_rndis(&input, channel);
        } else if (kind == 5) {
            fake_complete(channel, take(&input, 1) & 1 ? last_id : take(&input, 8), 0, 0);
        } else if (kind == 6) {
            from_peer(&input);
        } else if (kind >= 10) {
            send_frame(&input, channel);
        } else if (kind >= 8) {
            send_control(&input, channel);
        } else {
            end_session(&input);
        }
        fake_run(&bus);
        check_slots();
        if (step % 4 == 0) {
            drain();
            while (switch_peek(&peer, &frame)) {
                switch_pop(&peer);
            }
        }
    }
    netvsp_remove(&vsp);
    fake_run(&bus);
    check(netvsp_gone(&vsp));
    fake_end(&bus);
    return 0;
}
