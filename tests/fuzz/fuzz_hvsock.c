// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hyper-V sockets over the real bus, with a guest that connects, opens, streams, lies and leaves as
// the fuzzer likes, and services that do as much. No crash, no endless work; a service hears of a
// connection once, of its end once, and of nothing after that; after a reset all sockets are free.
#include "tests/fuzz/vmbus_input.h"
#include "tests/unit/vmbus_guest.h"

#include "root/lib/vsp/hvsock.h"
#include "root/lib/vsp/wire.h"

enum {
    SOCKETS = 3,
    SERVICES = 2,
    FIRST_PORT = 5000,
    SLOTS = 6, // channels that the guest deals with at a time
    RING_PAGES = 4,
    STEPS = 200,
    HEADER = 8, // of a pipe packet: u32 1, u32 size
};

// What the service knows of a socket.
enum life { LIFE_NONE, LIFE_CONNECTED, LIFE_REFUSED, LIFE_FINISHED };

enum habit { KEEPS, ECHOES, REFUSES, FINISHES, CLOSES, DEAF, HABITS };

static struct vg *vg;
static struct hvsock_host host;
static struct hvsock sockets[SOCKETS];
static struct hvsock_service services[SERVICES];
static enum life lives[SOCKETS];
static enum habit habit;
static size_t sent, received;

// A channel as the guest has it; relid 0: none.
static struct {
    uint32_t relid, gpadl;
    bool opening, open;
    bool broken;  // the guest has spoilt its own ring
    bool haunted; // it has left an open channel behind in these pages
    struct vg_channel channel;
} slots[SLOTS];

// ---- the services ------------------------------------------------------------------------------

static enum life *life_of(const struct hvsock *sock)
{
    must(sock >= sockets && sock < sockets + SOCKETS);
    return &lives[sock - sockets];
}

static bool on_connected(void *ctx, struct hvsock *sock)
{
    must(ctx == &host && *life_of(sock) == LIFE_NONE);
    *life_of(sock) = habit == REFUSES ? LIFE_REFUSED : LIFE_CONNECTED;
    if (habit == CLOSES) {
        hvsock_close(sock);
    }
    return habit != REFUSES;
}

static void take_in(struct hvsock *sock)
{
    uint8_t bytes[900];
    size_t size;

    while ((size = hvsock_receive(sock, bytes, sizeof bytes)) != 0) {
        must(size <= sizeof bytes);
        received += size;
        if (habit == ECHOES) {
            must(hvsock_send(sock, bytes, size) <= size);
        }
    }
}

static void on_ready(void *ctx, struct hvsock *sock)
{
    must(ctx == &host && *life_of(sock) == LIFE_CONNECTED);
    if (habit == DEAF) {
        return;
    }
    take_in(sock);
    if (habit == FINISHES || hvsock_ended(sock)) {
        *life_of(sock) = LIFE_FINISHED;
        hvsock_finish(sock);
    } else if (habit == CLOSES) {
        *life_of(sock) = LIFE_FINISHED;
        hvsock_close(sock);
    }
}

static void on_closed(void *ctx, struct hvsock *sock)
{
    must(ctx == &host && *life_of(sock) != LIFE_REFUSED);
    must(hvsock_send(sock, "x", 1) == 0 && hvsock_receive(sock, &(uint8_t){0}, 1) == 0);
    *life_of(sock) = LIFE_REFUSED; // nothing more may come
}

// ---- the guest's bus ---------------------------------------------------------------------------

static void offered(uint32_t relid)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].relid == 0) {
            const bool haunted = slots[i].haunted;
            memset(&slots[i], 0, sizeof slots[i]);
            slots[i].broken = slots[i].haunted = haunted;
            slots[i].relid = relid;
            return;
        }
    }
}

static void open_answered(const struct vmbus_msg_open_result *result)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].relid == result->relid && slots[i].opening) {
            slots[i].opening = false;
            slots[i].open = result->status == VMBUS_STATUS_OK;
        }
    }
}

static void take_messages(void)
{
    for (; vg->count; vg->count--, vg->first = (vg->first + 1) % VG_MESSAGES) {
        const uint8_t *bytes = vg->messages[vg->first].bytes;
        struct vmbus_msg_open_result result;
        struct vmbus_msg_offer offer;
        struct vmbus_header header;

        memcpy(&header, bytes, sizeof header);
        must(header.type >= 1 && header.type < VMBUS_MESSAGE_TYPES && header.padding == 0);
        if (header.type == VMBUS_OFFERCHANNEL) {
            memcpy(&offer, bytes, sizeof offer);
            offered(offer.relid);
        } else if (header.type == VMBUS_OPENCHANNEL_RESULT) {
            memcpy(&result, bytes, sizeof result);
            open_answered(&result);
        }
    }
}

static void run(void)
{
    vg_run(vg);
    hvsock_run(&host, vg->now);
    vg_run(vg);
    take_messages();
    for (unsigned i = 0; i < SOCKETS; i++) {
        if (sockets[i].state == HVSOCK_FREE) {
            must(lives[i] == LIFE_NONE || lives[i] == LIFE_REFUSED);
            lives[i] = LIFE_NONE;
        }
    }
    must(received <= sent);
}

static void request(struct input *input)
{
    struct vmbus_msg_tl_connect message = {.header.type = VMBUS_TL_CONNECT_REQUEST};
    const unsigned before = vg->connects;

    message.endpoint.bytes[0] = (uint8_t)take(input, 1);
    message.service = hvsock_port(FIRST_PORT + (uint32_t)take(input, 1) % (SERVICES + 1));
    vg_send(vg, &message, sizeof message);
    if (vg->connects != before) {
        hvsock_requested(&host, &vg->endpoint, &vg->service);
    }
}

static void open_slot(struct input *input, unsigned i)
{
    const uint64_t gpn = VG_FIRST_PAGE + 1 + i * 2 * RING_PAGES;
    const uint32_t to_host = take(input, 1) & 7 ? RING_PAGES : 1 + (uint32_t)take(input, 1) % 7;
    uint64_t buffer[1 + 2 * RING_PAGES] = {2 * RING_PAGES * VMBUS_PAGE};

    for (unsigned page = 0; page < 2 * RING_PAGES; page++) {
        buffer[1 + page] = gpn + page;
    }
    memset(vg_at(vg, gpn), 0, 2 * RING_PAGES * VMBUS_PAGE);
    slots[i].gpadl = vg->next_gpadl++;
    vg_send_gpadl(vg, slots[i].relid, slots[i].gpadl, 1, buffer, 1 + 2 * RING_PAGES);
    take_messages();
    slots[i].channel = (struct vg_channel){.vg = vg, .relid = slots[i].relid};
    slots[i].channel.out = vg_ring_at(vg, gpn, to_host);
    slots[i].channel.in = vg_ring_at(vg, gpn + to_host, 2 * RING_PAGES - to_host);
    slots[i].opening = true;
    vg_send_open(vg, slots[i].relid, slots[i].gpadl, to_host, 0);
}

static void leave_slot(struct input *input, unsigned i)
{
    const struct vmbus_msg_gpadl_teardown teardown = {
        .header.type = VMBUS_GPADL_TEARDOWN, .relid = slots[i].relid, .gpadl = slots[i].gpadl};
    const uint8_t how = (uint8_t)take(input, 1);

    if (slots[i].open && how & 1) {
        slots[i].open = false;
        vg_send_relid(vg, VMBUS_CLOSECHANNEL, slots[i].relid);
    }
    if (how & 2) {
        vg_send(vg, &teardown, sizeof teardown);
    }
    if (how & 4) {
        vg_send_relid(vg, VMBUS_RELID_RELEASED, slots[i].relid);
        slots[i].haunted |= slots[i].open || slots[i].opening;
        slots[i].relid = 0;
        slots[i].open = slots[i].opening = false;
    }
}

// ---- the guest's streams -----------------------------------------------------------------------

static void send_data(struct input *input, unsigned i, bool honest)
{
    uint8_t packet[HEADER + 2048] = {0};
    const uint32_t size = (uint32_t)take(input, 2) % (sizeof packet - HEADER + 1);
    const struct vg_ring *ring = &slots[i].channel.out;
    uint16_t type = VMBUS_PACKET_IN_BAND;

    ring->control[VG_WRITE] = ring->control[VG_WRITE] % ring->size & ~7u; // spoilt, it may be any
    le32_put(packet, 1);
    le32_put(packet + 4, size);
    if (!honest) {
        take_bytes(input, packet, take(input, 1) % (HEADER + 1));
        type = (uint16_t)(take(input, 1) % 16);
    }
    if (vg_write_packet(&slots[i].channel, type, false, 1, NULL, 0, packet, HEADER + size)) {
        sent += size;
    }
}

static void read_data(unsigned i)
{
    uint8_t packet[VMBUS_PIPE_PACKET + 16], ext[64];
    struct vg_packet head;
    uint32_t ext_size, size;

    while (!slots[i].broken &&
           vg_read_packet(&slots[i].channel, &head, ext, &ext_size, packet, &size)) {
        must(head.type == VMBUS_PACKET_IN_BAND && ext_size == 0 && size >= HEADER);
        must(le32_get(packet) == 1 && le32_get(packet + 4) + HEADER <= size);
    }
}

static void spoil(struct input *input, unsigned i)
{
    const uint8_t where = (uint8_t)take(input, 1);
    const struct vg_ring *ring = where & 1 ? &slots[i].channel.in : &slots[i].channel.out;

    slots[i].broken = true;
    if (where & 2) {
        ring->data[take(input, 2) % ring->size] = (uint8_t)take(input, 1);
    } else {
        ring->control[where >> 2 & 3] = (uint32_t)take(input, where & 128 ? 4 : 2);
    }
    // What the host then takes for data is more than was sent.
    sent += SIZE_MAX / 4096;
    vg_signal_host(&slots[i].channel);
}

static void channel_action(struct input *input)
{
    const uint8_t kind = (uint8_t)take(input, 1);
    const unsigned i = kind % SLOTS;

    if (!slots[i].relid) {
        return;
    }
    if (!slots[i].open && !slots[i].opening) {
        open_slot(input, i);
    } else if (kind >= 230) {
        leave_slot(input, i);
    } else if (!slots[i].open || !slots[i].channel.out.size || !slots[i].channel.in.size) {
        return;
    } else if (kind < 120) {
        send_data(input, i, true);
    } else if (kind < 190) {
        read_data(i);
    } else if (kind < 215) {
        send_data(input, i, false);
    } else {
        spoil(input, i);
    }
}

// ---- what the root does ------------------------------------------------------------------------

static void host_connects(struct input *input)
{
    const struct vmbus_guid endpoint = {{(uint8_t)take(input, 1), 7}}, port = hvsock_port(1234);

    (void)hvsock_connect(&host, &endpoint, &port, &services[0], vg->now);
}

static void host_action(struct input *input)
{
    static const uint8_t bytes[9000];
    const uint8_t kind = (uint8_t)take(input, 1);
    struct hvsock *sock = &sockets[kind % SOCKETS];
    const size_t size = kind * 35u;

    switch (kind >> 2 & 7) {
    case 0:
        habit = (enum habit)(kind % HABITS);
        break;
    case 1:
        host_connects(input);
        break;
    case 2:
        hvsock_close(sock);
        break;
    case 3:
        hvsock_shutdown(sock);
        break;
    case 4:
        if (*life_of(sock) == LIFE_CONNECTED && sock->state == HVSOCK_CONNECTED) {
            *life_of(sock) = LIFE_FINISHED;
            hvsock_finish(sock);
        }
        break;
    default:
        must(hvsock_send(sock, bytes, size) <= size);
        break;
    }
}

static void step(struct input *input)
{
    switch (take(input, 1) % 8) {
    case 0:
        request(input);
        break;
    case 1:
        host_action(input);
        break;
    case 2:
        vg->now += take(input, 4);
        break;
    default:
        channel_action(input);
        break;
    }
    run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    vg = vg_create(NULL);
    for (unsigned i = 0; i < SERVICES; i++) {
        services[i] = (struct hvsock_service){hvsock_port(FIRST_PORT + i), &host, on_connected,
                                              on_ready, on_closed};
    }
    hvsock_init(&host, vg->server, services, SERVICES, sockets, SOCKETS);
    memset(slots, 0, sizeof slots);
    memset(lives, 0, sizeof lives);
    habit = KEEPS;
    sent = received = 0;
    vg_connect(vg, VMBUS_V5_3);
    for (unsigned steps = 0; steps < STEPS && input.left; steps++) {
        step(&input);
    }
    vmbus_server_reset(vg->server);
    for (unsigned i = 0; i < SOCKETS; i++) {
        hvsock_close(&sockets[i]);
    }
    vg->now += HVSOCK_OPEN_LIMIT;
    run();
    must(vmbus_server_is_idle(vg->server) && host.request_count == 0);
    for (unsigned i = 0; i < SOCKETS; i++) {
        must(sockets[i].state == HVSOCK_FREE);
    }
    vg_destroy(vg);
    return 0;
}
