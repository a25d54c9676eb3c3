// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hyper-V sockets: contract in hvsock.h. A packet is data in byte pipe mode; one without bytes is
// the end of its direction.
#include "hvsock.h"

#include "../mem.h"
#include "wire.h"

// User data of the offer, from byte 0 on: u32 pipe type, then these; the version is unaligned.
enum offer_data {
    DATA_HOST_CONNECTS = 4, // 1: the guest is to accept
    DATA_VERSION = 6,
    VERSION_RS5 = 1,

    RING_OVERHEAD = 64, // of a packet: descriptor, pipe header, footer
};

void hvsock_init(struct hvsock_host *host, struct vmbus_server *server,
                 const struct hvsock_service *services, unsigned service_count,
                 struct hvsock *sockets, unsigned socket_count)
{
    memset(host, 0, sizeof *host);
    host->server = server;
    host->services = services;
    host->service_count = service_count;
    host->sockets = sockets;
    host->socket_count = socket_count;
    for (unsigned i = 0; i < socket_count; i++) {
        sockets[i].host = host;
        sockets[i].state = HVSOCK_FREE;
    }
}

void hvsock_requested(struct hvsock_host *host, const struct vmbus_guid *endpoint,
                      const struct vmbus_guid *service)
{
    if (host->request_count == HVSOCK_REQUESTS) {
        host->refused++;
        vmbus_server_refuse(host->server, endpoint, service, VMBUS_STATUS_REFUSED);
        return;
    }
    const unsigned at = (host->request_first + host->request_count++) % HVSOCK_REQUESTS;
    host->requests[at].endpoint = *endpoint;
    host->requests[at].service = *service;
}

// ---- channel callbacks -----------------------------------------------------------------------

static void on_open(void *device, struct vmbus_channel *channel, const struct vmbus_open *open)
{
    struct hvsock *sock = device;

    if (sock->state != HVSOCK_OFFERED || open->ring_out_size < HVSOCK_CHUNK + RING_OVERHEAD) {
        vmbus_channel_opened(channel, VMBUS_STATUS_FAILED);
        return;
    }
    sock->state = HVSOCK_CONNECTED;
    sock->opening = true;
    vmbus_channel_opened(channel, VMBUS_STATUS_OK);
    if (!sock->service->connected(sock->service->ctx, sock)) {
        sock->service = 0;
        hvsock_close(sock);
    }
    sock->opening = false;
}

static void end(struct hvsock *sock)
{
    const struct hvsock_service *service = sock->service;

    sock->state = HVSOCK_ENDING;
    sock->service = 0;
    if (service) {
        service->closed(service->ctx, sock);
    }
}

// The channel is for one connection only.
static void on_close(void *device, struct vmbus_channel *channel)
{
    end(device);
    vmbus_channel_closed(channel);
    vmbus_channel_rescind(channel);
}

static void on_released(void *device, struct vmbus_channel *channel)
{
    struct hvsock *sock = device;

    (void)channel;
    end(sock); // if it was never opened, this is how its service learns
    sock->channel = 0;
    sock->state = HVSOCK_FREE;
}

static void send_end(struct hvsock *sock)
{
    sock->end_due = vmbus_channel_send(sock->channel, 0, false, 0, 0) == VMBUS_SEND_FULL;
}

static void on_wake(void *device, struct vmbus_channel *channel)
{
    struct hvsock *sock = device;

    (void)channel;
    if (sock->state != HVSOCK_CONNECTED) {
        return;
    }
    if (sock->close_due) {
        hvsock_close(sock);
        return;
    }
    if (sock->end_due) {
        send_end(sock);
    }
    if (sock->finishing) {
        hvsock_finish(sock);
        return;
    }
    sock->service->ready(sock->service->ctx, sock);
}

static const struct vmbus_device_ops ops = {
    .open = on_open,
    .close = on_close,
    .wake = on_wake,
    .released = on_released,
};

// ---- connections -----------------------------------------------------------------------------

static struct hvsock *offer_socket(struct hvsock_host *host, const struct vmbus_guid *endpoint,
                                   const struct vmbus_guid *class_id,
                                   const struct hvsock_service *service, bool host_connects,
                                   uint64_t now)
{
    struct vmbus_offer offer = {
        .class_id = *class_id,
        .instance_id = *endpoint,
        .flags = VMBUS_OFFER_SOCKET | VMBUS_OFFER_NAMED_PIPE | VMBUS_OFFER_ENUMERATE_INTERFACE,
    };
    unsigned i = 0;

    while (i < host->socket_count && host->sockets[i].state != HVSOCK_FREE) {
        i++;
    }
    if (i == host->socket_count) {
        return 0;
    }
    le32_put(offer.user_data, VMBUS_PIPE_BYTES);
    offer.user_data[DATA_HOST_CONNECTS] = host_connects;
    le32_put(offer.user_data + DATA_VERSION, VERSION_RS5);
    struct hvsock *sock = &host->sockets[i];
    memset(sock, 0, offsetof(struct hvsock, buffer));
    sock->host = host;
    sock->service = service;
    sock->offered = now;
    sock->channel = vmbus_channel_offer(host->server, &offer, &ops, sock);
    if (!sock->channel) {
        return 0;
    }
    sock->state = HVSOCK_OFFERED;
    return sock;
}

static const struct hvsock_service *find(const struct hvsock_host *host,
                                         const struct vmbus_guid *id)
{
    for (unsigned i = 0; i < host->service_count; i++) {
        if (vmbus_guid_equal(&host->services[i].id, id)) {
            return &host->services[i];
        }
    }
    return 0;
}

static void answer_request(struct hvsock_host *host, uint64_t now)
{
    const struct vmbus_guid endpoint = host->requests[host->request_first].endpoint;
    const struct vmbus_guid id = host->requests[host->request_first].service;
    const struct hvsock_service *service = find(host, &id);

    host->request_first = (host->request_first + 1) % HVSOCK_REQUESTS;
    host->request_count--;
    if (!service || !offer_socket(host, &endpoint, &id, service, false, now)) {
        host->refused++;
        vmbus_server_refuse(host->server, &endpoint, &id, VMBUS_STATUS_REFUSED);
    }
}

void hvsock_run(struct hvsock_host *host, uint64_t now)
{
    while (host->request_count) {
        answer_request(host, now);
    }
    for (unsigned i = 0; i < host->socket_count; i++) {
        struct hvsock *sock = &host->sockets[i];
        if (sock->state == HVSOCK_OFFERED && now - sock->offered >= HVSOCK_OPEN_LIMIT) {
            hvsock_close(sock);
        }
    }
}

struct hvsock *hvsock_connect(struct hvsock_host *host, const struct vmbus_guid *endpoint,
                              const struct vmbus_guid *service, const struct hvsock_service *local,
                              uint64_t now)
{
    return offer_socket(host, endpoint, service, local, true, now);
}

// ---- data ------------------------------------------------------------------------------------

// The next packet into the buffer, which is empty. False: there is none.
static bool fill(struct hvsock *sock)
{
    struct vmbus_packet packet = {.buffer = sock->buffer, .capacity = sizeof sock->buffer};

    if (sock->end_received) {
        return false;
    }
    const enum vmbus_read result = vmbus_channel_read(sock->channel, &packet);
    if (result == VMBUS_READ_NONE || result == VMBUS_READ_CLOSED) {
        return false;
    }
    if (result != VMBUS_READ_PACKET || packet.type != VMBUS_PACKET_IN_BAND) {
        vmbus_channel_fail(sock->channel, "packet on a socket that is no data");
        return false;
    }
    sock->start = 0;
    sock->size = packet.size;
    sock->end_received = packet.size == 0;
    return !sock->end_received;
}

size_t hvsock_receive(struct hvsock *sock, void *to, size_t size)
{
    uint8_t *out = to;
    size_t taken = 0;

    if (sock->state != HVSOCK_CONNECTED) {
        return 0;
    }
    while (taken < size && (sock->size || fill(sock))) {
        const size_t part = size - taken < sock->size ? size - taken : sock->size;
        memcpy(out + taken, sock->buffer + sock->start, part);
        sock->start += (uint32_t)part;
        sock->size -= (uint32_t)part;
        taken += part;
    }
    return taken;
}

bool hvsock_ended(const struct hvsock *sock)
{
    return sock->state != HVSOCK_CONNECTED || (sock->end_received && sock->size == 0);
}

size_t hvsock_send(struct hvsock *sock, const void *from, size_t size)
{
    const uint8_t *bytes = from;
    size_t sent = 0;

    if (sock->state != HVSOCK_CONNECTED || sock->end_sent || sock->close_due) {
        return 0;
    }
    while (sent < size) {
        const uint32_t part = size - sent < HVSOCK_CHUNK ? (uint32_t)(size - sent) : HVSOCK_CHUNK;
        if (!vmbus_channel_room(sock->channel, 1, part) ||
            vmbus_channel_send(sock->channel, 0, false, bytes + sent, part) != VMBUS_SEND_OK) {
            break;
        }
        sent += part;
    }
    return sent;
}

void hvsock_shutdown(struct hvsock *sock)
{
    if (sock->state == HVSOCK_CONNECTED && !sock->end_sent) {
        sock->end_sent = true;
        send_end(sock);
    }
}

void hvsock_finish(struct hvsock *sock)
{
    hvsock_shutdown(sock);
    sock->finishing = true;
    if (!sock->end_due) {
        hvsock_close(sock);
    }
}

// The guest hears that the channel is open before it hears that it is gone.
void hvsock_close(struct hvsock *sock)
{
    if (sock->opening) {
        sock->close_due = true;
    } else if (sock->state == HVSOCK_OFFERED || sock->state == HVSOCK_CONNECTED) {
        vmbus_channel_flush(sock->channel); // what was sent in this callback
        sock->state = HVSOCK_ENDING;
        vmbus_channel_rescind(sock->channel);
    }
}

struct vmbus_guid hvsock_port(uint32_t port)
{
    struct vmbus_guid guid =
        VMBUS_GUID(0, 0xfacb, 0x11e6, 0xbd, 0x58, 0x64, 0x00, 0x6a, 0x79, 0x86, 0xd3);
    le32_put(guid.bytes, port);
    return guid;
}
