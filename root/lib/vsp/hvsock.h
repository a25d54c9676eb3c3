// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hyper-V sockets: byte streams between processes of a guest and services of the root (AF_VSOCK in
// Linux: net/vmw_vsock/hyperv_transport.c). Each connection is a VMBus channel that is offered for
// it and withdrawn after it.
//
// A guest connects to a service that listens; the root can connect to one in the guest. Flow
// control is the rings': what a service does not take stays there, what the guest does not take
// makes hvsock_send() take less.
//
// The sockets are an array of the owner's: a guest can have no more. No locks, no allocation: the
// owner serialises calls for one machine.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../vmbus/server.h"

enum {
    HVSOCK_REQUESTS = 16, // connection requests that wait for hvsock_run()
    HVSOCK_CHUNK = 4096,  // most bytes of one packet to the guest
};

#define HVSOCK_OPEN_LIMIT UINT64_C(50000000) // 5 s for the guest to open what was offered

struct hvsock;

// A service. The callbacks come from the bus; they may call everything here on that socket.
struct hvsock_service {
    struct vmbus_guid id;
    void *ctx;
    // A connection; sock->user is the service's to use. False: not wanted (guest's requests only).
    bool (*connected)(void *ctx, struct hvsock *sock);
    // There may be something to receive, room to send, or the guest has ended its direction.
    void (*ready)(void *ctx, struct hvsock *sock);
    // The connection is gone; the last callback for it, except when `connected` refused.
    void (*closed)(void *ctx, struct hvsock *sock);
};

enum hvsock_state { HVSOCK_FREE, HVSOCK_OFFERED, HVSOCK_CONNECTED, HVSOCK_ENDING };

struct hvsock {
    struct hvsock_host *host;
    const struct hvsock_service *service;
    struct vmbus_channel *channel;
    enum hvsock_state state;
    bool end_received;    // the guest sends no more
    bool end_sent;        // we do not
    bool end_due;         // we do not, but the ring had no room to say so
    bool opening;         // the guest waits for the answer to its open
    bool close_due;       // closed while opening: at the next wake
    bool finishing;       // to be closed when the end of our direction is in the ring
    uint64_t offered;     // when
    uint32_t start, size; // bytes of the buffer that have not been received yet
    void *user;
    uint8_t buffer[VMBUS_PIPE_PACKET + 8];
};

struct hvsock_host {
    struct vmbus_server *server;
    const struct hvsock_service *services;
    unsigned service_count;
    struct hvsock *sockets;
    unsigned socket_count;
    struct {
        struct vmbus_guid endpoint, service;
    } requests[HVSOCK_REQUESTS];
    unsigned request_first, request_count;
    uint64_t refused;
};

// Sets up; services and sockets live on.
void hvsock_init(struct hvsock_host *host, struct vmbus_server *server,
                 const struct hvsock_service *services, unsigned service_count,
                 struct hvsock *sockets, unsigned socket_count);

// The guest asks for a connection: for vmbus_host.connect, from which it may be called. What is
// too much at once is forgotten; the guest's connect() then times out.
void hvsock_requested(struct hvsock_host *host, const struct vmbus_guid *endpoint,
                      const struct vmbus_guid *service);

// Answers requests and withdraws offers that the guest has not opened in time. To be called in the
// owner's loop; now as vmbus_host.now_100ns().
void hvsock_run(struct hvsock_host *host, uint64_t now);

// Connects to `service` in the guest: `connected` comes when the guest accepts, `closed` when it
// does not. `endpoint` is a new GUID. local says what to call, its id is not used. NULL: no socket
// is free or the bus has no room.
struct hvsock *hvsock_connect(struct hvsock_host *host, const struct vmbus_guid *endpoint,
                              const struct vmbus_guid *service, const struct hvsock_service *local,
                              uint64_t now);

// Takes at most `size` bytes from what the guest has sent; returns how many. 0: nothing now; then,
// when hvsock_ended() says so, nothing ever.
size_t hvsock_receive(struct hvsock *sock, void *to, size_t size);
bool hvsock_ended(const struct hvsock *sock);

// Sends; returns how many of the bytes were taken. Fewer than size: `ready` comes when it makes
// sense to go on. 0 when the socket is not connected or was shut down.
size_t hvsock_send(struct hvsock *sock, const void *from, size_t size);

// Ends our direction: the guest reads to the end of what was sent, then end of file.
void hvsock_shutdown(struct hvsock *sock);

// Ends our direction and the connection: `closed` comes later, `ready` no more. The guest can still
// read what is in the ring. Guests leave this to the host (Linux waits for the rescind).
void hvsock_finish(struct hvsock *sock);

// Ends the connection at once; what the guest has not taken may be lost. `closed` comes later.
void hvsock_close(struct hvsock *sock);

// The service id of a Linux vsock port: <port>-facb-11e6-bd58-64006a7986d3.
struct vmbus_guid hvsock_port(uint32_t port);
