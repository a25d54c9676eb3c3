// SPDX-License-Identifier: BSD-2-Clause-Patent
// Devices on the real bus with a guest's drivers for them.
#pragma once
#include <check.h>

#include "net_frames.h"
#include "root/lib/vsp/dynmem.h"
#include "root/lib/vsp/ic/heartbeat.h"
#include "root/lib/vsp/ic/shutdown.h"
#include "root/lib/vsp/ic/vss.h"
#include "root/lib/vsp/keyboard.h"
#include "root/lib/vsp/net/netvsp.h"
#include "root/lib/vsp/wire.h"
#include "vmbus_guest.h"

enum { SLOTS = 300, RECEIVE_PAGES = 160, SEND_PAGES = 6, QUEUE = 128 * 1024, PIPE_HEADER = 8 };

static struct vg *vg;
static struct virtual_switch sw;
static struct netvsp vsp;
static struct netvsp_slot slots[SLOTS];
static struct netvsp_scratch scratch;
static struct switch_port peer;
static uint8_t queue[QUEUE] __attribute__((aligned(8)));
static uint8_t peer_queue[QUEUE] __attribute__((aligned(8)));
static struct heartbeat heartbeat;
static struct shutdown_ic shutdown_dev;
static struct vss vss;
static unsigned vss_frozen, vss_thawed;
static struct keyboard keyboard;
static struct dynmem dynmem;
static uint64_t bitmap[256];
static uint64_t taken_pages;
static unsigned dynmem_dones;
static uint64_t dynmem_moved;
static uint32_t shutdown_status;
static bool keep_transfers; // the guest does not complete them
static uint64_t kept[256];
static unsigned kept_count;

static const struct vmbus_guid net_class =
    VMBUS_GUID(0xf8615163, 0xdf3e, 0x46c5, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e);

static const struct vmbus_guid keyboard_class =
    VMBUS_GUID(0xf912ad6d, 0x2b17, 0x48ea, 0xbd, 0x65, 0xf9, 0x27, 0xa6, 0x1c, 0x76, 0x84);
static const struct vmbus_guid dynmem_class =
    VMBUS_GUID(0x525074dc, 0x8985, 0x46e2, 0x80, 0x57, 0xa3, 0x07, 0xdc, 0x18, 0xa5, 0x02);

// The guest's network driver.
static struct vg_channel net;
static uint64_t receive_gpn, send_gpn, page_gpn;
static uint32_t receive_gpadl, send_gpadl, slot_size;
static unsigned frames;
static uint32_t frame_sizes[1024];
static uint32_t control[64];

static inline void answered(void *ctx, uint32_t status)
{
    (void)ctx;
    shutdown_status = status;
}

static inline void froze(void *ctx, uint32_t status)
{
    (void)ctx;
    vss_frozen += status == IC_STATUS_OK;
}

static inline void thawed(void *ctx, uint32_t status)
{
    (void)ctx;
    (void)status;
    vss_thawed++;
}

static inline bool owns(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx, (void)first, (void)count;
    return true;
}

static inline void taken(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx, (void)first;
    taken_pages += count;
}

static inline void given(void *ctx, uint64_t first, uint64_t count)
{
    (void)ctx, (void)first;
    taken_pages -= count;
}

static inline void dynmem_done(void *ctx, enum dynmem_operation operation, uint64_t pages)
{
    (void)ctx, (void)operation;
    dynmem_dones++;
    dynmem_moved = pages;
}

// All devices, on a server that has none.
static inline void attach_devices(void)
{
    const struct netvsp_config config = {
        .instance_id = {{1}},
        .address = frame_address(1),
        .name = "net0",
        .link_bps = 1000000000,
        .frame_max = ETHER_FRAME_STANDARD,
        .queues = 2,
        .sw = &sw,
        .queue_memory = queue,
        .queue_size = QUEUE,
        .slots = slots,
        .slot_count = SLOTS,
        .scratch = &scratch,
    };
    const struct port_config port = {.address = frame_address(9), .max_frame = 1514};

    const struct dynmem_config memory = {.bitmap = bitmap,
                                         .pages = 64 * sizeof bitmap / sizeof bitmap[0],
                                         .owns = owns,
                                         .taken = taken,
                                         .given = given,
                                         .done = dynmem_done};

    taken_pages = 0;
    ck_assert(dynmem_create(&dynmem, vg->server, &memory));
    switch_init(&sw, 5);
    ck_assert(netvsp_create(&vsp, vg->server, &config));
    ck_assert(heartbeat_create(&heartbeat, vg->server));
    ck_assert(shutdown_create(&shutdown_dev, vg->server, NULL, answered));
    ck_assert(vss_create(&vss, vg->server, NULL, froze, thawed));
    ck_assert(keyboard_create(&keyboard, vg->server));
    ck_assert(switch_attach(&sw, &peer, &port, peer_queue, QUEUE));
    switch_set_filter(&peer, FILTER_DIRECTED | FILTER_BROADCAST);
}

static inline void setup(void)
{
    vg = vg_create(NULL);
    attach_devices();
    vg_connect(vg, VMBUS_V5_3);
    frames = kept_count = dynmem_dones = vss_frozen = vss_thawed = 0;
    keep_transfers = false;
}

static inline void teardown(void)
{
    vg_destroy(vg);
}

// ---- network -----------------------------------------------------------------------------------

static inline void nvsp(uint32_t type, uint32_t a, uint32_t b, uint8_t *answer)
{
    uint8_t message[NVSP_SIZE] = {0};

    le32_put(message, type);
    le32_put(message + 4, a);
    le32_put(message + 8, b);
    ck_assert(vg_write(&net, type, message, sizeof message));
    vg_run(vg);
    vg_expect_completion(&net, type, answer);
}

// Takes what the host sends: frames, control messages, completions of packets.
static inline void take_all(struct vg_channel *channel)
{
    struct vg_packet head;
    uint8_t ext[2048], data[256];
    uint32_t ext_size, size;

    while (vg_read_packet(channel, &head, ext, &ext_size, data, &size)) {
        if (head.type != VMBUS_PACKET_TRANSFER_PAGES) {
            continue;
        }
        ck_assert_uint_eq(le16_get(ext), 0xCAFE);
        for (uint32_t i = 0; i < le32_get(ext + 4); i++) {
            const uint32_t length = le32_get(ext + 8 + 8 * i), at = le32_get(ext + 12 + 8 * i);
            const uint8_t *message = vg_at(vg, receive_gpn) + at;
            ck_assert_uint_le(at + length, RECEIVE_PAGES * VMBUS_PAGE);
            if (le32_get(message) == RNDIS_PACKET) {
                frame_sizes[frames++ % 1024] = le32_get(message + 12);
            } else {
                memcpy(control, message, length < sizeof control ? length : sizeof control);
            }
        }
        if (keep_transfers) {
            kept[kept_count++ % 256] = head.transaction_id;
            continue;
        }
        const uint8_t done[NVSP_SIZE] = {NVSP_SEND_RNDIS_COMPLETE, 0, 0, 0, NVSP_STATUS_SUCCESS};
        ck_assert(vg_write_packet(channel, VMBUS_PACKET_COMPLETION, false, head.transaction_id,
                                  NULL, 0, done, sizeof done));
    }
}

static inline void rndis(struct vg_channel *channel, bool is_control, const void *bytes,
                         uint32_t size)
{
    uint8_t message[NVSP_SIZE] = {NVSP_SEND_RNDIS};

    le32_put(message + 4, is_control);
    le32_put(message + 8, NVSP_NO_SECTION);
    memcpy(vg_at(vg, page_gpn) + 500, bytes, size);
    while (!vg_write_direct(channel, 77, page_gpn, 500, size, message, sizeof message)) {
        vg_run(vg);
        take_all(channel);
    }
}

static inline void net_up(uint32_t ring_pages)
{
    const uint32_t init[6] = {RNDIS_INITIALIZE, 24, 1, 1, 0, 0x4000};
    const uint32_t filter[8] = {RNDIS_SET, 32, 2, OID_PACKET_FILTER, 4, 20, 0, 9};
    uint8_t answer[256];

    net = vg_open(vg, vg_relid(vg, &net_class, 0), ring_pages, ring_pages);
    receive_gpn = vg_alloc(vg, RECEIVE_PAGES);
    send_gpn = vg_alloc(vg, SEND_PAGES);
    page_gpn = vg_alloc(vg, 2);
    receive_gpadl = vg_make_gpadl(vg, net.relid, receive_gpn, RECEIVE_PAGES);
    send_gpadl = vg_make_gpadl(vg, net.relid, send_gpn, SEND_PAGES);
    nvsp(NVSP_INIT, NVSP_VERSION_5, NVSP_VERSION_5, answer);
    ck_assert_uint_eq(le32_get(answer + 12), NVSP_STATUS_SUCCESS);
    nvsp(NVSP_SEND_RECEIVE_BUFFER, receive_gpadl, 0xCAFE, answer);
    ck_assert_uint_eq(le32_get(answer + 4), NVSP_STATUS_SUCCESS);
    slot_size = le32_get(answer + 16);
    nvsp(NVSP_SEND_SEND_BUFFER, send_gpadl, 0, answer);
    ck_assert_uint_eq(le32_get(answer + 4), NVSP_STATUS_SUCCESS);
    rndis(&net, true, init, sizeof init);
    vg_run(vg);
    take_all(&net);
    ck_assert_uint_eq(control[0], RNDIS_INITIALIZE | RNDIS_COMPLETE);
    rndis(&net, true, filter, sizeof filter);
    vg_run(vg);
    take_all(&net);
    ck_assert_uint_eq(control[0], RNDIS_SET | RNDIS_COMPLETE);
    ck_assert_uint_eq(control[3], 0);
}

static inline void guest_frame(struct vg_channel *channel, uint32_t size)
{
    uint8_t message[2000] = {0}, bytes[1514];

    frame_make(bytes, size, 9, 1);
    le32_put(message, RNDIS_PACKET);
    le32_put(message + 4, 44 + size);
    le32_put(message + 8, 36);
    le32_put(message + 12, size);
    memcpy(message + 44, bytes, size);
    rndis(channel, false, message, 44 + size);
}

// ---- components --------------------------------------------------------------------------------

static inline struct vg_channel open_component(const struct vmbus_guid *class_id)
{
    return vg_open(vg, vg_relid(vg, class_id, 0), 4, 4);
}

// Takes a request (behind the pipe's header); false: there is none.
static inline bool take_request(struct vg_channel *channel, uint8_t *message, uint32_t *size)
{
    struct vg_packet head;
    uint8_t ext[16];
    uint32_t ext_size, padded;

    vg_run(vg);
    if (!vg_read_packet(channel, &head, ext, &ext_size, message, &padded)) {
        return false;
    }
    ck_assert_uint_eq(le32_get(message), 1);
    *size = PIPE_HEADER + le32_get(message + 4);
    ck_assert_uint_le(*size, padded);
    return true;
}

static inline void answer_request(struct vg_channel *channel, uint8_t *message, uint32_t size)
{
    message[PIPE_HEADER + 17] = 5;
    ck_assert(vg_write_packet(channel, VMBUS_PACKET_IN_BAND, false, 1, NULL, 0, message, size));
    vg_run(vg);
}

static inline void negotiate(struct vg_channel *channel)
{
    uint8_t message[4096];
    uint32_t size;

    ck_assert(take_request(channel, message, &size));
    uint8_t *body = message + PIPE_HEADER + IC_HEADER;
    const uint32_t versions = le16_get(body + 2);
    memmove(body + 8, body + 12, 4);                       // framework 3.0
    memmove(body + 12, body + 16 + 4 * (versions - 1), 4); // the newest
    memcpy(body, "\1\0\1\0", 4);
    answer_request(channel, message, size);
}
