// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest's network driver for tests: it speaks NVSP and RNDIS as Linux's netvsc does, over the
// fake bus, and checks what the host may not do (wrong sizes, slots outside the buffer, and so on).
#pragma once
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake_vmbus.h"
#include "net_frames.h"
#include "root/lib/vsp/net/netvsp.h"
#include "root/lib/vsp/wire.h"

enum {
    GUEST_RECEIVE_PAGES = 256,
    GUEST_SEND_PAGES = 60,
    GUEST_RECEIVE_ID = 0xCAFE,
    GUEST_RECEIVE_GPADL = 0xE1E10,
    GUEST_SEND_GPADL = 0xE1E11,
    GUEST_FRAMES = 256,
    GUEST_SLOTS = 2000,
};

struct guest_frame {
    uint32_t size, queue;
    bool has_checksum, has_vlan, has_hash;
    uint32_t checksum, vlan, hash;
    uint8_t bytes[ETHER_FRAME_MAX + ETHER_TAG];
};

struct guest {
    struct vmbus_server bus;
    struct netvsp vsp;
    struct netvsp_slot slots[GUEST_SLOTS];
    uint8_t queue[256 * 1024] __attribute__((aligned(8)));
    uint32_t version, message_size, request;
    uint32_t sub_size, sub_count;
    uint64_t next_id;
    bool keep; // do not complete transfers
    unsigned kept;
    uint64_t kept_ids[1024];
    // What has come.
    uint8_t completion[64];
    uint32_t completion_size;
    unsigned completions, statuses_bad;
    uint8_t reply[4096];
    uint32_t reply_size;
    unsigned replies, indications;
    uint32_t indicated;
    unsigned frames;
    struct guest_frame frame[GUEST_FRAMES];
    bool has_table;
    uint32_t table[NVSP_SEND_TABLE];
};

static struct netvsp_scratch guest_scratch;

static inline uint8_t *guest_page(struct guest *guest, uint32_t page)
{
    return guest->bus.pages + (size_t)page * VMBUS_PAGE;
}

enum {
    PAGE_RECEIVE = 0,
    PAGE_SEND = GUEST_RECEIVE_PAGES,
    PAGE_FREE = PAGE_SEND + GUEST_SEND_PAGES
};

static inline struct netvsp_config guest_config(struct guest *guest, struct virtual_switch *sw,
                                                uint8_t last)
{
    return (struct netvsp_config){
        .instance_id = VMBUS_GUID(0x12345678, 1, 2, 3, 4, 5, 6, 7, 8, 9, last),
        .address = frame_address(last),
        .name = "net0",
        .link_bps = UINT64_C(10000000000),
        .frame_max = ETHER_FRAME_MAX,
        .queues = 4,
        .sw = sw,
        .queue_memory = guest->queue,
        .queue_size = sizeof guest->queue,
        .slots = guest->slots,
        .slot_count = GUEST_SLOTS,
        .scratch = &guest_scratch,
    };
}

// ---- what comes from the host ------------------------------------------------------------------

static inline void guest_take_frame(struct guest *guest, uint32_t queue, const uint8_t *message,
                                    uint32_t size)
{
    const uint8_t *body = message + 8;
    struct guest_frame *frame = &guest->frame[guest->frames++ % GUEST_FRAMES];

    ck_assert_uint_ge(size, 44);
    ck_assert_uint_eq(le32_get(message + 4), size);
    const uint32_t offset = le32_get(body), length = le32_get(body + 4);
    ck_assert_uint_eq(8 + offset + length, size);
    ck_assert_uint_le(length, sizeof frame->bytes);
    *frame = (struct guest_frame){.size = length, .queue = queue};
    memcpy(frame->bytes, body + offset, length);
    const uint8_t *info = body + le32_get(body + 20);
    for (uint32_t left = le32_get(body + 24); left;) {
        ck_assert_uint_ge(left, 16);
        const uint32_t value = le32_get(info + le32_get(info + 8));
        switch (le32_get(info + 4)) {
        case PPI_CHECKSUM:
            frame->has_checksum = true;
            frame->checksum = value;
            break;
        case PPI_8021Q:
            frame->has_vlan = true;
            frame->vlan = value;
            break;
        case PPI_HASH:
            frame->has_hash = true;
            frame->hash = value;
            break;
        default:
            ck_abort_msg("per-packet information %u", le32_get(info + 4));
        }
        left -= le32_get(info);
        info += le32_get(info);
    }
}

static inline void guest_take_control(struct guest *guest, const uint8_t *message, uint32_t size)
{
    ck_assert_uint_eq(le32_get(message + 4), size);
    if (le32_get(message) == RNDIS_INDICATE) {
        guest->indications++;
        guest->indicated = le32_get(message + 8);
        return;
    }
    ck_assert_uint_le(size, sizeof guest->reply);
    memcpy(guest->reply, message, size);
    guest->reply_size = size;
    guest->replies++;
}

static inline void guest_take_transfer(struct guest *guest, struct vmbus_channel *channel,
                                       const struct fake_packet *packet)
{
    ck_assert_uint_eq(packet->set_id, GUEST_RECEIVE_ID);
    ck_assert_uint_eq(packet->size, (guest->message_size + 7u) & ~7u);
    ck_assert_uint_eq(le32_get(packet->data), NVSP_SEND_RNDIS);
    for (uint32_t i = 0; i < packet->transfer_count; i++) {
        const struct vmbus_transfer *transfer = &packet->transfers[i];
        ck_assert_uint_le(transfer->size, guest->sub_size);
        ck_assert_uint_eq(transfer->offset % guest->sub_size, 0);
        ck_assert_uint_lt(transfer->offset / guest->sub_size, guest->sub_count);
        const uint8_t *message = guest_page(guest, PAGE_RECEIVE) + transfer->offset;
        const bool data = le32_get(message) == RNDIS_PACKET;
        ck_assert_uint_eq(le32_get(packet->data + 4), !data);
        if (data) {
            guest_take_frame(guest, channel->index, message, transfer->size);
        } else {
            guest_take_control(guest, message, transfer->size);
        }
    }
    if (guest->keep) {
        guest->kept_ids[guest->kept++] = packet->id;
    } else {
        uint8_t done[NVSP_SIZE_61] = {NVSP_SEND_RNDIS_COMPLETE, 0, 0, 0, NVSP_STATUS_SUCCESS};
        fake_complete(channel, packet->id, done, guest->message_size);
    }
}

static inline void guest_take_message(struct guest *guest, const struct fake_packet *packet)
{
    ck_assert_uint_eq(le32_get(packet->data), NVSP_SEND_INDIRECTION_TABLE);
    ck_assert_uint_eq(le32_get(packet->data + 4), NVSP_SEND_TABLE);
    const uint32_t offset = le32_get(packet->data + 8);
    ck_assert_uint_le(offset + 4 * NVSP_SEND_TABLE, packet->size);
    for (unsigned i = 0; i < NVSP_SEND_TABLE; i++) {
        guest->table[i] = le32_get(packet->data + offset + 4 * i);
    }
    guest->has_table = true;
}

static inline void guest_take_completion(struct guest *guest, const struct fake_packet *packet)
{
    ck_assert_uint_le(packet->size, sizeof guest->completion);
    memcpy(guest->completion, packet->data, packet->size);
    guest->completion_size = packet->size;
    guest->completions++;
    if (packet->size && le32_get(packet->data) == NVSP_SEND_RNDIS_COMPLETE) {
        guest->statuses_bad += le32_get(packet->data + 4) != NVSP_STATUS_SUCCESS;
    }
}

// Lets the host work and takes what it sends until nothing more comes.
static inline void guest_run(struct guest *guest)
{
    for (bool again = true; again;) {
        again = false;
        fake_run(&guest->bus);
        for (unsigned i = 0; i < FAKE_CHANNELS; i++) {
            struct vmbus_channel *channel = &guest->bus.channels[i];
            struct fake_packet *packet;
            while (channel->used && channel->open && (packet = fake_peek(channel))) {
                if (packet->type == VMBUS_PACKET_TRANSFER_PAGES) {
                    guest_take_transfer(guest, channel, packet);
                } else if (packet->type == VMBUS_PACKET_COMPLETION) {
                    guest_take_completion(guest, packet);
                } else {
                    guest_take_message(guest, packet);
                }
                fake_pop(channel);
                again = true;
            }
        }
    }
}

// ---- NVSP --------------------------------------------------------------------------------------

static inline struct vmbus_channel *guest_primary(struct guest *guest)
{
    return &guest->bus.channels[0];
}

// Sends a message; with `answered` returns the type of the completion.
static inline uint32_t guest_nvsp(struct guest *guest, uint32_t type, const void *body,
                                  uint32_t size, bool answered)
{
    uint8_t message[NVSP_SIZE_61] = {0};
    const unsigned before = guest->completions;

    le32_put(message, type);
    if (size) {
        memcpy(message + 4, body, size);
    }
    fake_send(guest_primary(guest), ++guest->next_id, answered, message, NVSP_SIZE_61);
    guest_run(guest);
    ck_assert_uint_eq(guest->completions, before + answered);
    return answered && guest->completion_size ? le32_get(guest->completion) : 0;
}

static inline uint32_t guest_init(struct guest *guest, uint32_t version)
{
    const uint32_t body[2] = {version, version};

    ck_assert_uint_eq(guest_nvsp(guest, NVSP_INIT, body, sizeof body, true), NVSP_INIT_COMPLETE);
    const uint32_t status = le32_get(guest->completion + 12);
    if (status == NVSP_STATUS_SUCCESS) {
        guest->version = version;
        guest->message_size = version >= NVSP_VERSION_61 ? NVSP_SIZE_61 : NVSP_SIZE;
    }
    return status;
}

static inline void guest_ndis_config(struct guest *guest, uint32_t mtu, uint64_t capabilities)
{
    const struct nvsp_ndis_config config = {.mtu = mtu, .capabilities = capabilities};
    guest_nvsp(guest, NVSP_SEND_NDIS_CONFIG, &config, sizeof config, false);
}

static inline uint32_t guest_receive_buffer(struct guest *guest)
{
    const struct nvsp_buffer body = {GUEST_RECEIVE_GPADL, GUEST_RECEIVE_ID, 0};

    ck_assert_uint_eq(guest_nvsp(guest, NVSP_SEND_RECEIVE_BUFFER, &body, sizeof body, true),
                      NVSP_SEND_RECEIVE_BUFFER_COMPLETE);
    const uint32_t status = le32_get(guest->completion + 4);
    if (status == NVSP_STATUS_SUCCESS) {
        ck_assert_uint_eq(le32_get(guest->completion + 8), 1);
        ck_assert_uint_eq(le32_get(guest->completion + 12), 0);
        guest->sub_size = le32_get(guest->completion + 16);
        guest->sub_count = le32_get(guest->completion + 20);
        ck_assert_uint_le(guest->sub_size * guest->sub_count, GUEST_RECEIVE_PAGES * VMBUS_PAGE);
    }
    return status;
}

static inline uint32_t guest_send_buffer(struct guest *guest)
{
    const struct nvsp_buffer body = {GUEST_SEND_GPADL, 0, 0};

    ck_assert_uint_eq(guest_nvsp(guest, NVSP_SEND_SEND_BUFFER, &body, sizeof body, true),
                      NVSP_SEND_SEND_BUFFER_COMPLETE);
    ck_assert_uint_ge(le32_get(guest->completion + 8), 68);
    return le32_get(guest->completion + 4);
}

// Sends RNDIS bytes in pages of their own (GPA direct).
static inline void guest_rndis(struct guest *guest, struct vmbus_channel *channel, bool control,
                               const void *bytes, uint32_t size)
{
    uint8_t message[NVSP_SIZE_61] = {NVSP_SEND_RNDIS};

    le32_put(message + 4, control);
    le32_put(message + 8, NVSP_NO_SECTION);
    memcpy(guest_page(guest, PAGE_FREE) + 100, bytes, size);
    fake_range(channel, PAGE_FREE, 100, size);
    fake_send(channel, ++guest->next_id, true, message, guest->message_size);
}

// ---- RNDIS -------------------------------------------------------------------------------------

// A control message; returns the status in its reply.
static inline uint32_t guest_control(struct guest *guest, uint32_t type, const uint32_t *words,
                                     uint32_t count, const void *data, uint32_t size)
{
    uint8_t message[4096];
    const unsigned before = guest->replies;

    le32_put(message, type);
    le32_put(message + 4, 12 + 4 * count + size);
    le32_put(message + 8, ++guest->request);
    for (uint32_t i = 0; i < count; i++) {
        le32_put(message + 12 + 4 * i, words[i]);
    }
    if (size) {
        memcpy(message + 12 + 4 * count, data, size);
    }
    guest_rndis(guest, guest_primary(guest), true, message, 12 + 4 * count + size);
    guest_run(guest);
    ck_assert_uint_eq(guest->replies, before + 1);
    ck_assert_uint_eq(le32_get(guest->reply), type | RNDIS_COMPLETE);
    ck_assert_uint_eq(le32_get(guest->reply + 8), guest->request);
    return le32_get(guest->reply + 12);
}

static inline uint32_t guest_rndis_init(struct guest *guest)
{
    const uint32_t words[3] = {1, 0, 0x4000};
    return guest_control(guest, RNDIS_INITIALIZE, words, 3, 0, 0);
}

static inline uint32_t guest_set(struct guest *guest, uint32_t oid, const void *data, uint32_t size)
{
    const uint32_t words[4] = {oid, size, 20, 0};
    return guest_control(guest, RNDIS_SET, words, 4, data, size);
}

// Returns the size of the answer, which *data then points to; UINT32_MAX: refused.
static inline uint32_t guest_query(struct guest *guest, uint32_t oid, const void *in,
                                   uint32_t in_size, const uint8_t **data)
{
    const uint32_t words[4] = {oid, in_size, 20, 0};
    if (guest_control(guest, RNDIS_QUERY, words, 4, in, in_size) != RNDIS_STATUS_SUCCESS) {
        return UINT32_MAX;
    }
    const uint32_t size = le32_get(guest->reply + 16), offset = le32_get(guest->reply + 20);
    ck_assert_uint_eq(8 + (size ? offset : 16) + size, guest->reply_size);
    *data = guest->reply + 8 + offset;
    return size;
}

static inline uint32_t guest_query_u32(struct guest *guest, uint32_t oid)
{
    const uint8_t *data;
    ck_assert_uint_eq(guest_query(guest, oid, 0, 0, &data), 4);
    return le32_get(data);
}

static inline void guest_filter(struct guest *guest, uint32_t filter)
{
    ck_assert_uint_eq(guest_set(guest, OID_PACKET_FILTER, &filter, 4), RNDIS_STATUS_SUCCESS);
}

// ---- the whole way, as Linux goes it -----------------------------------------------------------

static inline void guest_create(struct guest *guest, struct virtual_switch *sw, uint8_t last)
{
    memset(guest, 0, sizeof *guest);
    fake_init(&guest->bus, FAKE_PAGES);
    guest->message_size = NVSP_SIZE;
    const struct netvsp_config config = guest_config(guest, sw, last);
    ck_assert(netvsp_create(&guest->vsp, &guest->bus, &config));
    fake_gpadl_add(&guest->bus, GUEST_RECEIVE_GPADL, PAGE_RECEIVE, GUEST_RECEIVE_PAGES);
    fake_gpadl_add(&guest->bus, GUEST_SEND_GPADL, PAGE_SEND, GUEST_SEND_PAGES);
}

static inline void guest_start(struct guest *guest, uint32_t version, uint32_t mtu)
{
    const uint32_t ndis[2] = {6, version >= NVSP_VERSION_5 ? 30 : 1};

    ck_assert(fake_open(guest_primary(guest)));
    ck_assert_uint_eq(guest_init(guest, version), NVSP_STATUS_SUCCESS);
    if (version >= NVSP_VERSION_2) {
        guest_ndis_config(guest, mtu + ETHER_HEADER, NVSP_CAP_8021Q);
    }
    guest_nvsp(guest, NVSP_SEND_NDIS_VERSION, ndis, sizeof ndis, false);
    ck_assert_uint_eq(guest_receive_buffer(guest), NVSP_STATUS_SUCCESS);
    ck_assert_uint_eq(guest_send_buffer(guest), NVSP_STATUS_SUCCESS);
    ck_assert_uint_eq(guest_rndis_init(guest), RNDIS_STATUS_SUCCESS);
}

static inline void guest_up(struct guest *guest, uint32_t version, uint32_t mtu)
{
    guest_start(guest, version, mtu);
    guest_filter(guest, FILTER_DIRECTED | FILTER_BROADCAST | FILTER_ALL_MULTICAST);
}

static inline void guest_destroy(struct guest *guest)
{
    netvsp_remove(&guest->vsp);
    fake_run(&guest->bus);
    ck_assert(netvsp_gone(&guest->vsp));
    fake_end(&guest->bus);
    fake_free(&guest->bus);
}

// ---- packets -----------------------------------------------------------------------------------

struct guest_info {
    uint32_t type, value;
};

// Builds one RNDIS PACKET; returns its size, padded to 8.
static inline uint32_t guest_packet(uint8_t *out, const void *frame, uint32_t size,
                                    const struct guest_info *infos, uint32_t count)
{
    const uint32_t header = 44 + 16 * count;
    const uint32_t total = (header + size + 7) & ~7u;

    memset(out, 0, total);
    le32_put(out, RNDIS_PACKET);
    le32_put(out + 4, total);
    le32_put(out + 8, header - 8);
    le32_put(out + 12, size);
    le32_put(out + 28, count ? 36 : 0);
    le32_put(out + 32, 16 * count);
    for (uint32_t i = 0; i < count; i++) {
        le32_put(out + 44 + 16 * i, 16);
        le32_put(out + 48 + 16 * i, infos[i].type);
        le32_put(out + 52 + 16 * i, 12);
        le32_put(out + 56 + 16 * i, infos[i].value);
    }
    memcpy(out + header, frame, size);
    return total;
}

static inline void guest_transmit(struct guest *guest, const struct frame *frame,
                                  const struct guest_info *infos, uint32_t count)
{
    static uint8_t message[NETVSP_MESSAGE_MAX];
    const uint32_t size = guest_packet(message, frame->bytes, frame->size, infos, count);
    guest_rndis(guest, guest_primary(guest), false, message, size);
    guest_run(guest);
}
