// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hyper-V sockets of a VM. The root listens on port 7 (echo, RFC 862); an administrator sends a
// line to a port of the guest and sees what comes back.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/console.h"
#include "root/lib/vsp/hvsock.h"

enum {
    SOCKETS = 8,
    SOCKETS_SERVICES = 1,
    SOCKET_PORT_ECHO = 7,
    SOCKET_HELD = 4096, // bytes that the guest has sent and not yet taken back
};

struct sockets {
    struct hvsock_host host;
    struct hvsock_service services[SOCKETS_SERVICES];
    struct hvsock_service caller; // of the connection that the root makes
    struct hvsock sockets[SOCKETS];
    struct held {
        uint32_t start, count;
        uint8_t bytes[SOCKET_HELD];
    } held[SOCKETS];
    struct hvsock *call; // that connection, or NULL
    struct console *call_to;
    char line[CONSOLE_COMMAND]; // to send, then its length
    uint32_t line_size, line_sent;
    uint64_t connections; // that the guest has made
};

// Sets up; the guest can connect from now on.
void sockets_create(struct sockets *sockets, struct vmbus_server *server);

// Connects to that port of the guest, sends the line and prints what is sent back. now as
// hvsock_connect().
void sockets_send(struct sockets *sockets, struct console *console, uint32_t port, const char *line,
                  uint64_t now);

// One line.
void sockets_list(const struct sockets *sockets, struct console *console);
