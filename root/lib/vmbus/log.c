// SPDX-License-Identifier: BSD-2-Clause-Patent
// Log lines: put together, and limited, since a guest can cause any number of them.
#include "../mem.h"
#include "server_priv.h"

enum { LINE_MAX = 160 };

#define LINE_100NS UINT64_C(10000000) // a line a second

struct line {
    char text[LINE_MAX];
    size_t size;
};

static void add_char(struct line *line, char c)
{
    if (line->size < LINE_MAX - 1) {
        line->text[line->size++] = c;
    }
}

static void add(struct line *line, const char *text)
{
    while (*text) {
        add_char(line, *text++);
    }
}

static void add_number(struct line *line, uint32_t value, unsigned base, unsigned digits)
{
    char text[10];
    unsigned size = 0;

    for (; value || size < digits; value /= base) {
        text[size++] = "0123456789abcdef"[value % base];
    }
    while (size) {
        add_char(line, text[--size]);
    }
}

static void name_channel(struct line *line, const struct vmbus_channel *channel)
{
    const struct bus_channel *state = channel_state(channel);
    uint32_t class;

    memcpy(&class, state->offer.class_id.bytes, sizeof class);
    add(line, " channel ");
    add_number(line, state->relid, 10, 1);
    add(line, " (class ");
    add_number(line, class, 16, 8);
    add(line, ")");
}

static bool may_log(struct vmbus_server *server)
{
    const uint64_t now = server->host.now_100ns(server->host.ctx);

    if (!vmbus_limiter_take(&server->lines, now, LINE_100NS, VMBUS_LINES_BURST, 1)) {
        server->lines_lost++;
        return false;
    }
    return true;
}

void vmbus_server_log(struct vmbus_server *server, const struct vmbus_channel *channel,
                      enum vmbus_log_level level, const char *text)
{
    struct line line = {.size = 0};

    if (!may_log(server)) {
        return;
    }
    add(&line, "vmbus");
    if (channel) {
        name_channel(&line, channel);
    }
    add(&line, ": ");
    add(&line, text);
    if (server->lines_lost) {
        add(&line, " (");
        add_number(&line, server->lines_lost, 10, 1);
        add(&line, " lines lost)");
        server->lines_lost = 0;
    }
    server->host.log(server->host.ctx, level, line.text);
}
