// SPDX-License-Identifier: BSD-2-Clause-Patent
// Hyper-V sockets of a VM: contract in sockets.h.
#include "root/sockets.h"

#include "boot/text.h"
#include "root/cpu.h"
#include "root/vm.h"

enum { PRINTED_AT_ONCE = 128 };

// ---- echo
// ----------------------------------------------------------------------------------------

static struct held *held_of(struct sockets *s, const struct hvsock *sock)
{
    return &s->held[sock - s->sockets];
}

static bool echo_connected(void *ctx, struct hvsock *sock)
{
    struct sockets *s = ctx;

    held_of(s, sock)->start = held_of(s, sock)->count = 0;
    s->connections++;
    return true;
}

// Sends what is held. False: the guest does not take it now.
static bool send_held(struct hvsock *sock, struct held *held)
{
    const uint32_t sent =
        (uint32_t)hvsock_send(sock, held->bytes + held->start, held->count - held->start);

    held->start += sent;
    return held->start == held->count;
}

// hvsock_receive() gives a bounded amount at a wake.
static void echo_ready(void *ctx, struct hvsock *sock)
{
    struct held *held = held_of(ctx, sock);

    while (send_held(sock, held)) {
        held->start = 0;
        held->count = (uint32_t)hvsock_receive(sock, held->bytes, SOCKET_HELD);
        if (held->count == 0) {
            if (hvsock_ended(sock)) {
                hvsock_finish(sock);
            }
            return;
        }
    }
}

static void echo_closed(void *ctx, struct hvsock *sock)
{
    (void)ctx;
    (void)sock;
}

// ---- a connection of the root's
// ------------------------------------------------------------------

static void send_line(struct sockets *s)
{
    s->line_sent +=
        (uint32_t)hvsock_send(s->call, s->line + s->line_sent, s->line_size - s->line_sent);
    if (s->line_sent == s->line_size) {
        hvsock_shutdown(s->call);
    }
}

static bool call_connected(void *ctx, struct hvsock *sock)
{
    struct sockets *s = ctx;

    return s->call == sock;
}

static void print_received(struct sockets *s)
{
    char text[PRINTED_AT_ONCE + 1];
    size_t size;

    while ((size = hvsock_receive(s->call, text, PRINTED_AT_ONCE)) != 0) {
        for (size_t i = 0; i < size; i++) { // nothing that moves an administrator's cursor
            if ((text[i] < ' ' || text[i] > '~') && text[i] != '\n') {
                text[i] = '.';
            }
        }
        text[size] = 0;
        console_print(s->call_to, "%s", text);
    }
}

static void call_ready(void *ctx, struct hvsock *sock)
{
    struct sockets *s = ctx;

    if (s->line_sent < s->line_size) {
        send_line(s);
    }
    print_received(s);
    if (hvsock_ended(sock)) {
        hvsock_finish(sock);
    }
    vm_due_changed = true;
}

static void call_closed(void *ctx, struct hvsock *sock)
{
    struct sockets *s = ctx;

    (void)sock;
    console_print(s->call_to, s->line_sent ? "send: the connection has ended\n"
                                           : "send: the guest does not listen there\n");
    s->call = NULL;
    vm_due_changed = true;
}

static void random_guid(struct vmbus_guid *guid)
{
    uint64_t value = cpu_tsc();

    for (unsigned i = 0; i < sizeof guid->bytes; i++) {
        value = value * UINT64_C(6364136223846793005) + (cpu_tsc() | 1);
        guid->bytes[i] = (uint8_t)(value >> 56);
    }
}

void sockets_send(struct sockets *s, struct console *console, uint32_t port, const char *line,
                  uint64_t now)
{
    const struct vmbus_guid service = hvsock_port(port);
    struct vmbus_guid endpoint;

    if (s->call) {
        console_print(console, "send: another connection is under way\n");
        return;
    }
    random_guid(&endpoint);
    s->call_to = console;
    s->line_size = (uint32_t)text_format(s->line, sizeof s->line, "%s\n", line);
    s->line_sent = 0;
    s->call = hvsock_connect(&s->host, &endpoint, &service, &s->caller, now);
    if (!s->call) {
        console_print(console, "send: too many connections\n");
    }
    bus_wake_all();
}

// ---- all
// -----------------------------------------------------------------------------------------

void sockets_create(struct sockets *s, struct vmbus_server *server)
{
    s->services[0] = (struct hvsock_service){hvsock_port(SOCKET_PORT_ECHO), s, echo_connected,
                                             echo_ready, echo_closed};
    s->caller = (struct hvsock_service){{{0}}, s, call_connected, call_ready, call_closed};
    hvsock_init(&s->host, server, s->services, SOCKETS_SERVICES, s->sockets, SOCKETS);
}

void sockets_list(const struct sockets *s, struct console *console)
{
    unsigned open = 0;

    for (unsigned i = 0; i < SOCKETS; i++) {
        open += s->sockets[i].state == HVSOCK_CONNECTED;
    }
    console_print(console, "  sockets %u open, %lu connections so far, %lu refused\n", open,
                  s->connections, s->host.refused);
}
