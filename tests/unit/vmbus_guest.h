// SPDX-License-Identifier: BSD-2-Clause-Patent
// A virtual machine for tests of VMBus and its devices: guest memory, a fake environment for the
// server, and a guest that speaks the other side of the protocol: negotiation, offers, GPADLs,
// open, and rings with the signalling of Linux (drivers/hv/ring_buffer.c). A failed expectation
// aborts, which a unit test and a fuzz target both notice.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "root/lib/vmbus/proto.h"
#include "root/lib/vmbus/server.h"

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)
#define must_equal(a, b)                                                                           \
    do {                                                                                           \
        const unsigned long long a_ = (a), b_ = (b);                                               \
        if (a_ != b_) {                                                                            \
            fprintf(stderr, "%s:%d: %s = %#llx, %s = %#llx\n", __FILE__, __LINE__, #a, a_, #b,     \
                    b_);                                                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

// Pages of guest memory, and messages that may wait for the guest; fuzz targets have less of both.
#ifndef VG_PAGES
#define VG_PAGES    1024
#define VG_MESSAGES 4096
#endif

enum {
    VG_FIRST_PAGE = 0x100, // the guest has no memory below
    VG_OFFERS = 256,
    VG_GPADL_FIRST = 0xE1E10,
};

struct vg_message {
    uint32_t vp;
    uint8_t sint;
    size_t size;
    _Alignas(8) uint8_t bytes[VMBUS_MESSAGE_MAX];
};

struct vg {
    struct vmbus_server *server;
    void *arena;
    uint8_t *memory;
    uint8_t missing[VG_PAGES];   // pages that the environment denies
    uint8_t read_only[VG_PAGES]; // and that it will not have written
    void (*hook)(void *ctx);     // called when the host is about to touch guest memory
    void *hook_ctx;
    uint32_t next_page, next_gpadl;
    uint64_t now;
    enum vmbus_post post_result;
    struct vg_message messages[VG_MESSAGES]; // posted to the guest, not yet expected
    unsigned first, count;
    uint32_t signals, last_vp; // event flags raised
    uint8_t events[2048];      // that the guest has not seen
    uint8_t listening[2048];
    bool no_listen;
    uint32_t logged;
    char line[256];
    struct vmbus_guid endpoint, service; // of the last connect()
    unsigned connects;
    uint32_t offer_count;
    struct vmbus_msg_offer offers[VG_OFFERS];
};

// ---- environment -------------------------------------------------------------------------------

static inline void *vg_page(void *ctx, uint64_t gpn, bool write)
{
    struct vg *vg = ctx;

    if (vg->hook) {
        vg->hook(vg->hook_ctx);
    }
    if (gpn < VG_FIRST_PAGE || gpn - VG_FIRST_PAGE >= VG_PAGES ||
        vg->missing[gpn - VG_FIRST_PAGE] || (write && vg->read_only[gpn - VG_FIRST_PAGE])) {
        return NULL;
    }
    return vg->memory + (gpn - VG_FIRST_PAGE) * VMBUS_PAGE;
}

static inline enum vmbus_post vg_post(void *ctx, uint32_t vp, uint8_t sint, const void *payload,
                                      size_t size)
{
    struct vg *vg = ctx;

    must(size >= sizeof(struct vmbus_header) && size <= VMBUS_MESSAGE_MAX && sint < 16);
    if (vg->post_result == VMBUS_POST_OK) {
        must(vg->count < VG_MESSAGES);
        struct vg_message *message = &vg->messages[(vg->first + vg->count++) % VG_MESSAGES];
        message->vp = vp;
        message->sint = sint;
        message->size = size;
        memcpy(message->bytes, payload, size);
    }
    return vg->post_result;
}

static inline void vg_signal(void *ctx, uint32_t vp, uint8_t sint, uint16_t flag)
{
    struct vg *vg = ctx;

    must(sint == VMBUS_SINT && flag >= 1 && flag < 2048);
    vg->signals++;
    vg->last_vp = vp;
    vg->events[flag] = 1;
}

static inline bool vg_listen(void *ctx, uint16_t relid, bool wanted)
{
    struct vg *vg = ctx;

    must(relid >= 1 && relid < 2048);
    if (wanted && vg->no_listen) {
        return false;
    }
    must(vg->listening[relid] != wanted);
    vg->listening[relid] = wanted;
    return true;
}

static inline uint64_t vg_now(void *ctx)
{
    return ((struct vg *)ctx)->now;
}

static inline void vg_log(void *ctx, enum vmbus_log_level level, const char *text)
{
    struct vg *vg = ctx;

    (void)level;
    vg->logged++;
    snprintf(vg->line, sizeof vg->line, "%s", text);
}

static inline void vg_connect_socket(void *ctx, const struct vmbus_guid *endpoint,
                                     const struct vmbus_guid *service)
{
    struct vg *vg = ctx;

    vg->connects++;
    vg->endpoint = *endpoint;
    vg->service = *service;
}

static inline struct vmbus_host vg_host(struct vg *vg)
{
    return (struct vmbus_host){.ctx = vg,
                               .memory = {vg, vg_page},
                               .post_message = vg_post,
                               .signal_event = vg_signal,
                               .listen = vg_listen,
                               .now_100ns = vg_now,
                               .log = vg_log,
                               .connect = vg_connect_socket};
}

static inline const struct vmbus_limits *vg_default_limits(void)
{
    static const struct vmbus_limits limits = {.channels = 64, .gpadls = 64, .gpadl_words = 16384};
    return &limits;
}

// A fresh server over the same guest memory.
static inline void vg_new_server(struct vg *vg, const struct vmbus_limits *limits)
{
    const struct vmbus_host host = vg_host(vg);
    const size_t size = vmbus_server_size(limits);

    must(size != 0);
    free(vg->arena);
    vg->arena = aligned_alloc(16, size);
    must(vg->arena != NULL);
    memset(vg->arena, 0xA5, size);
    memset(vg->listening, 0, sizeof vg->listening);
    vg->server = vmbus_server_init(vg->arena, size, limits, &host);
    must(vg->server != NULL);
}

// limits NULL: vg_default_limits().
static inline struct vg *vg_create(const struct vmbus_limits *limits)
{
    struct vg *vg = calloc(1, sizeof *vg);

    must(vg != NULL);
    vg->memory = aligned_alloc(VMBUS_PAGE, VG_PAGES * VMBUS_PAGE);
    must(vg->memory != NULL);
    memset(vg->memory, 0, VG_PAGES * VMBUS_PAGE);
    vg->next_gpadl = VG_GPADL_FIRST;
    vg->now = 1000000;
    vg_new_server(vg, limits ? limits : vg_default_limits());
    return vg;
}

static inline void vg_destroy(struct vg *vg)
{
    free(vg->arena);
    free(vg->memory);
    free(vg);
}

// Runs the server until it has nothing to do.
static inline void vg_run(struct vg *vg)
{
    unsigned runs = 0;

    while (vmbus_server_run(vg->server)) {
        must(++runs < 100000);
    }
}

static inline void vg_wait(struct vg *vg, uint64_t time_100ns)
{
    vg->now += time_100ns;
    vg_run(vg);
}

// ---- messages ----------------------------------------------------------------------------------

static inline enum vmbus_accept vg_try_send(struct vg *vg, const void *message, size_t size)
{
    // By connection 4 like a client of 5.0 and later; for others it makes no difference.
    return vmbus_server_message(vg->server, VMBUS_CONNECTION_4, message, size);
}

static inline void vg_send(struct vg *vg, const void *message, size_t size)
{
    enum vmbus_accept accept;

    for (unsigned tries = 0; (accept = vg_try_send(vg, message, size)) == VMBUS_BUSY; tries++) {
        must(tries < 1000);
        vg_wait(vg, 10000);
    }
    vg_run(vg);
}

// Takes the next message to the guest, which is of that type; copies its first `size` bytes.
static inline struct vg_message vg_expect(struct vg *vg, enum vmbus_message_type type,
                                          void *message, size_t size)
{
    struct vmbus_header header;

    must(vg->count > 0);
    const struct vg_message got = vg->messages[vg->first];
    vg->first = (vg->first + 1) % VG_MESSAGES;
    vg->count--;
    memcpy(&header, got.bytes, sizeof header);
    must_equal(header.type, type);
    must_equal(header.padding, 0);
    must(got.size >= size);
    if (size) {
        memcpy(message, got.bytes, size);
    }
    return got;
}

static inline void vg_expect_nothing(const struct vg *vg)
{
    must_equal(vg->count, 0);
}

static inline struct vmbus_msg_contact vg_contact_message(uint32_t version)
{
    struct vmbus_msg_contact message = {.header.type = VMBUS_INITIATE_CONTACT, .version = version};

    message.sint = version >= VMBUS_V5_0 ? VMBUS_SINT : 0;
    message.monitor_in = (uint64_t)VG_FIRST_PAGE * VMBUS_PAGE;
    message.monitor_out = message.monitor_in + VMBUS_PAGE;
    return message;
}

// Negotiates; true when the host accepts.
static inline bool vg_negotiate(struct vg *vg, uint32_t version)
{
    const struct vmbus_msg_contact message = vg_contact_message(version);
    struct vmbus_msg_version answer;

    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_VERSION_RESPONSE, &answer, sizeof answer);
    return answer.supported && answer.state == VMBUS_CONTACT_OK;
}

// Takes offers as they come.
static inline void vg_take_offers(struct vg *vg)
{
    struct vmbus_header header;

    while (vg->count) {
        memcpy(&header, vg->messages[vg->first].bytes, sizeof header);
        if (header.type != VMBUS_OFFERCHANNEL) {
            break;
        }
        must(vg->offer_count < VG_OFFERS);
        vg_expect(vg, VMBUS_OFFERCHANNEL, &vg->offers[vg->offer_count],
                  sizeof vg->offers[vg->offer_count]);
        vg->offer_count++;
    }
}

// Negotiates and takes the offers.
static inline void vg_connect(struct vg *vg, uint32_t version)
{
    const struct vmbus_header request = {.type = VMBUS_REQUESTOFFERS};

    must(vg_negotiate(vg, version));
    vg->offer_count = 0;
    vg_send(vg, &request, sizeof request);
    vg_take_offers(vg);
    vg_expect(vg, VMBUS_ALLOFFERS_DELIVERED, NULL, 0);
}

// The relid of the offer with this class and subchannel index; the newest one.
static inline uint32_t vg_relid(const struct vg *vg, const struct vmbus_guid *class_id,
                                uint16_t sub_index)
{
    for (uint32_t i = vg->offer_count; i-- > 0;) {
        if (vmbus_guid_equal(&vg->offers[i].class_id, class_id) &&
            vg->offers[i].sub_index == sub_index) {
            return vg->offers[i].relid;
        }
    }
    must(false);
    return 0;
}

static inline void vg_send_relid(struct vg *vg, enum vmbus_message_type type, uint32_t relid)
{
    const struct vmbus_msg_relid message = {.header.type = type, .relid = relid};

    vg_send(vg, &message, sizeof message);
}

static inline void vg_unload(struct vg *vg)
{
    const struct vmbus_header message = {.type = VMBUS_UNLOAD};

    vg_send(vg, &message, sizeof message);
    vg_expect(vg, VMBUS_UNLOAD_RESPONSE, NULL, 0);
}

// ---- memory ------------------------------------------------------------------------------------

// Page numbers of fresh, cleared guest memory.
static inline uint64_t vg_alloc(struct vg *vg, uint32_t pages)
{
    const uint64_t gpn = VG_FIRST_PAGE + vg->next_page;

    must(vg->next_page + pages <= VG_PAGES);
    memset(vg->memory + (size_t)vg->next_page * VMBUS_PAGE, 0, (size_t)pages * VMBUS_PAGE);
    vg->next_page += pages;
    return gpn;
}

static inline uint8_t *vg_at(struct vg *vg, uint64_t gpn)
{
    must(gpn >= VG_FIRST_PAGE && gpn - VG_FIRST_PAGE < VG_PAGES);
    return vg->memory + (gpn - VG_FIRST_PAGE) * VMBUS_PAGE;
}

// Sends a range buffer of `words` words in as many messages as Linux would; does not wait.
static inline void vg_send_gpadl(struct vg *vg, uint32_t relid, uint32_t id, uint16_t ranges,
                                 const uint64_t *buffer, uint32_t words)
{
    uint8_t bytes[VMBUS_MESSAGE_MAX];
    struct vmbus_msg_gpadl_header header = {.header.type = VMBUS_GPADL_HEADER,
                                            .relid = relid,
                                            .gpadl = id,
                                            .range_bytes = (uint16_t)(words * 8),
                                            .range_count = ranges};
    struct vmbus_msg_gpadl_body body = {.header.type = VMBUS_GPADL_BODY, .gpadl = id};
    uint32_t now = words < 27 ? words : 27;

    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, buffer, now * 8);
    vg_send(vg, bytes, sizeof header + now * 8);
    for (uint32_t sent = now; sent < words; sent += now) {
        now = words - sent < 28 ? words - sent : 28;
        memcpy(bytes, &body, sizeof body);
        memcpy(bytes + sizeof body, buffer + sent, now * 8);
        body.number++;
        vg_send(vg, bytes, sizeof body + now * 8);
    }
}

// Registers pages [gpn, gpn + pages) and returns the id of the GPADL.
static inline uint32_t vg_make_gpadl(struct vg *vg, uint32_t relid, uint64_t gpn, uint32_t pages)
{
    static uint64_t buffer[VMBUS_RANGE_WORDS];
    const uint32_t id = vg->next_gpadl++;
    struct vmbus_msg_gpadl_created answer;

    must(pages < VMBUS_RANGE_WORDS);
    buffer[0] = (uint64_t)pages * VMBUS_PAGE;
    for (uint32_t i = 0; i < pages; i++) {
        buffer[1 + i] = gpn + i;
    }
    vg_send_gpadl(vg, relid, id, 1, buffer, 1 + pages);
    vg_expect(vg, VMBUS_GPADL_CREATED, &answer, sizeof answer);
    must_equal(answer.status, 0);
    must_equal(answer.relid, relid);
    must_equal(answer.gpadl, id);
    return id;
}

static inline void vg_send_teardown(struct vg *vg, uint32_t relid, uint32_t id)
{
    const struct vmbus_msg_gpadl_teardown message = {
        .header.type = VMBUS_GPADL_TEARDOWN, .relid = relid, .gpadl = id};

    vg_send(vg, &message, sizeof message);
}

static inline void vg_teardown(struct vg *vg, uint32_t relid, uint32_t id)
{
    struct vmbus_msg_gpadl_torndown answer;

    vg_send_teardown(vg, relid, id);
    vg_expect(vg, VMBUS_GPADL_TORNDOWN, &answer, sizeof answer);
    must_equal(answer.gpadl, id);
}

// ---- channels ----------------------------------------------------------------------------------

// One ring as the guest has it.
struct vg_ring {
    volatile uint32_t *control;
    uint8_t *data;
    uint32_t size;
};

struct vg_channel {
    struct vg *vg;
    uint32_t relid, gpadl;
    struct vg_ring out, in; // to the host, from the host
    uint32_t sent_signals;  // to the host
};

enum vg_word { VG_WRITE, VG_READ, VG_MASK, VG_PENDING, VG_FEATURES = 16 };

static inline struct vg_ring vg_ring_at(struct vg *vg, uint64_t gpn, uint32_t pages)
{
    const struct vg_ring ring = {.control = (uint32_t *)(void *)vg_at(vg, gpn),
                                 .data = vg_at(vg, gpn + 1),
                                 .size = (pages - 1) * VMBUS_PAGE};

    ring.control[VG_FEATURES] = 1;
    return ring;
}

static inline void vg_send_open(struct vg *vg, uint32_t relid, uint32_t gpadl, uint32_t out_page,
                                uint32_t vp)
{
    struct vmbus_msg_open message = {.header.type = VMBUS_OPENCHANNEL,
                                     .relid = relid,
                                     .open_id = relid + 1000,
                                     .ring_gpadl = gpadl,
                                     .target_vp = vp,
                                     .out_page = out_page};

    for (unsigned i = 0; i < sizeof message.user_data; i++) {
        message.user_data[i] = (uint8_t)(i + relid);
    }
    vg_send(vg, &message, sizeof message);
}

static inline uint32_t vg_open_status(struct vg *vg, uint32_t relid)
{
    struct vmbus_msg_open_result answer;

    vg_expect(vg, VMBUS_OPENCHANNEL_RESULT, &answer, sizeof answer);
    must_equal(answer.relid, relid);
    must_equal(answer.open_id, relid + 1000);
    return answer.status;
}

// Opens with rings of so many pages, control pages included.
static inline struct vg_channel vg_open(struct vg *vg, uint32_t relid, uint32_t pages_to_host,
                                        uint32_t pages_to_guest)
{
    const uint64_t gpn = vg_alloc(vg, pages_to_host + pages_to_guest);
    const struct vg_channel channel = {
        .vg = vg,
        .relid = relid,
        .gpadl = vg_make_gpadl(vg, relid, gpn, pages_to_host + pages_to_guest),
        .out = vg_ring_at(vg, gpn, pages_to_host),
        .in = vg_ring_at(vg, gpn + pages_to_host, pages_to_guest),
    };

    vg_send_open(vg, relid, channel.gpadl, pages_to_host, relid % 4);
    must_equal(vg_open_status(vg, relid), 0);
    return channel;
}

static inline void vg_close(struct vg_channel *channel)
{
    vg_send_relid(channel->vg, VMBUS_CLOSECHANNEL, channel->relid);
    vg_teardown(channel->vg, channel->relid, channel->gpadl);
}

// ---- rings, as Linux does it -------------------------------------------------------------------

static inline uint32_t vg_used(const struct vg_ring *ring)
{
    const uint32_t write = ring->control[VG_WRITE], read = ring->control[VG_READ];

    return write >= read ? write - read : ring->size - read + write;
}

static inline uint32_t vg_put(struct vg_ring *ring, uint32_t at, const void *from, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        ring->data[at] = ((const uint8_t *)from)[i];
        at = at + 1 == ring->size ? 0 : at + 1;
    }
    return at;
}

static inline uint32_t vg_get(const struct vg_ring *ring, uint32_t at, void *to, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        ((uint8_t *)to)[i] = ring->data[at];
        at = at + 1 == ring->size ? 0 : at + 1;
    }
    return at;
}

struct vg_packet {
    uint16_t type, offset8, length8, flags;
    uint64_t transaction_id;
};

static inline void vg_signal_host(struct vg_channel *channel)
{
    channel->sent_signals++;
    vmbus_server_signal(channel->vg->server, channel->relid);
}

// Writes a packet with `ext` bytes of extension (a multiple of 8). False: no room, and the pending
// send size is set. Signals the host by the rules; does not run it.
static inline bool vg_write_packet(struct vg_channel *channel, uint16_t type, bool wants_completion,
                                   uint64_t id, const void *ext, uint32_t ext_size,
                                   const void *data, uint32_t size)
{
    struct vg_ring *ring = &channel->out;
    const uint32_t length = (16 + ext_size + size + 7) & ~7u;
    const uint32_t start = ring->control[VG_WRITE];
    const struct vg_packet head = {type, (uint16_t)((16 + ext_size) / 8), (uint16_t)(length / 8),
                                   wants_completion, id};
    const uint32_t footer[2] = {0, start};
    static const uint8_t zeros[8];

    if (ring->size - vg_used(ring) <= length + 8) {
        ring->control[VG_PENDING] = length + 8;
        return false;
    }
    uint32_t at = vg_put(ring, start, &head, sizeof head);
    at = vg_put(ring, at, ext, ext_size);
    at = vg_put(ring, at, data, size);
    at = vg_put(ring, at, zeros, length - 16 - ext_size - size);
    at = vg_put(ring, at, footer, sizeof footer);
    ring->control[VG_PENDING] = 0;
    ring->control[VG_WRITE] = at;
    if (ring->control[VG_MASK] == 0 && ring->control[VG_READ] == start) {
        vg_signal_host(channel);
    }
    return true;
}

static inline bool vg_write(struct vg_channel *channel, uint64_t id, const void *data,
                            uint32_t size)
{
    return vg_write_packet(channel, VMBUS_PACKET_IN_BAND, true, id, NULL, 0, data, size);
}

// One range of a GPA-direct packet.
static inline bool vg_write_direct(struct vg_channel *channel, uint64_t id, uint64_t gpn,
                                   uint32_t offset, uint32_t range, const void *data, uint32_t size)
{
    uint64_t ext[2 + 64] = {UINT64_C(1) << 32 | 0xDEAD, (uint64_t)offset << 32 | range};
    const uint32_t pages = (offset + range + VMBUS_PAGE - 1) / VMBUS_PAGE;

    must(pages <= 64);
    for (uint32_t i = 0; i < pages; i++) {
        ext[2 + i] = gpn + i;
    }
    return vg_write_packet(channel, VMBUS_PACKET_GPA_DIRECT, true, id, ext, (2 + pages) * 8, data,
                           size);
}

// Takes the next packet from the host: descriptor, what is between it and the payload, payload.
// False: none. Follows Linux: hv_pkt_iter_first() to hv_pkt_iter_close() for every packet.
static inline bool vg_read_packet(struct vg_channel *channel, struct vg_packet *head, void *ext,
                                  uint32_t *ext_size, void *data, uint32_t *size)
{
    struct vg_ring *ring = &channel->in;
    const uint32_t start = ring->control[VG_READ], used = vg_used(ring);
    uint32_t footer[2];

    if (used == 0) {
        return false;
    }
    must(used >= 24);
    uint32_t at = vg_get(ring, start, head, sizeof *head);
    must(head->offset8 >= 2 && head->length8 >= head->offset8 && head->length8 * 8u + 8 <= used);
    *ext_size = head->offset8 * 8u - 16;
    *size = (head->length8 - head->offset8) * 8u;
    at = vg_get(ring, at, ext, *ext_size);
    at = vg_get(ring, at, data, *size);
    at = vg_get(ring, at, footer, sizeof footer);
    must_equal(footer[0], 0);
    must_equal(footer[1], start);
    const uint32_t free_before = ring->size - used;
    ring->control[VG_READ] = at;
    const uint32_t pending = ring->control[VG_PENDING];
    const uint32_t free_after = ring->size - vg_used(ring);
    if ((ring->control[VG_FEATURES] & 1) && pending && free_before <= pending &&
        free_after > pending) {
        vg_signal_host(channel);
    }
    return true;
}

// The next packet must be a completion of that id; returns its payload size.
static inline uint32_t vg_expect_completion(struct vg_channel *channel, uint64_t id, void *data)
{
    struct vg_packet head;
    uint8_t ext[16];
    uint32_t ext_size, size;

    must(vg_read_packet(channel, &head, ext, &ext_size, data, &size));
    must_equal(head.type, VMBUS_PACKET_COMPLETION);
    must_equal(head.transaction_id, id);
    must_equal(head.flags, 0);
    return size;
}
