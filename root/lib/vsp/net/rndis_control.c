// SPDX-License-Identifier: BSD-2-Clause-Patent
// RNDIS control messages (MS-RNDIS 2.2): contract in nic.h.
#include "../../mem.h"
#include "../wire.h"
#include "lso.h"
#include "nic_priv.h"

enum {
    VERSION_MAJOR = 1,
    VERSION_MINOR = 0,
    CONNECTIONLESS = 1,
    MEDIUM_8023 = 0,
    TRANSFER_MAX = RNDIS_PACKETS_MAX * (RNDIS_HEADER_MAX + LSO_FRAME_MAX),

    INITIALIZE_BODY = 16,
    INITIALIZE_REPLY = 44,
    QUERY_REPLY = 16,
};

void nic_reset(struct nic *nic)
{
    nic->initialized = false;
    nic->offload = (struct nic_offload){NIC_CHECKSUMS, NIC_CHECKSUMS, NIC_LSO};
    memset(&nic->rss, 0, sizeof nic->rss);
    switch_set_filter(&nic->port, 0);
    switch_set_groups(&nic->port, nic->port.groups, 0);
}

// Writes the header; every answer's body begins with the request id and, mostly, a status.
static uint32_t finish(uint8_t *reply, uint32_t type, uint32_t body_size)
{
    le32_put(reply, type);
    le32_put(reply + 4, RNDIS_BODY + body_size);
    return RNDIS_BODY + body_size;
}

static uint32_t status_reply(uint8_t *reply, uint32_t type, uint32_t id, uint32_t status)
{
    le32_put(reply + RNDIS_BODY, id);
    le32_put(reply + RNDIS_BODY + 4, status);
    return finish(reply, type | RNDIS_COMPLETE, 8);
}

static uint32_t initialize(struct nic *nic, const uint8_t *body, uint32_t size, uint8_t *reply)
{
    uint8_t *out = reply + RNDIS_BODY;

    memset(out, 0, INITIALIZE_REPLY);
    le32_put(out, le32_get(body));
    if (size < INITIALIZE_BODY || le32_get(body + 4) != VERSION_MAJOR) {
        le32_put(out + 4, RNDIS_STATUS_BAD_VERSION);
        return finish(reply, RNDIS_INITIALIZE | RNDIS_COMPLETE, INITIALIZE_REPLY);
    }
    nic_reset(nic);
    nic->initialized = true;
    le32_put(out + 8, VERSION_MAJOR);
    le32_put(out + 12, VERSION_MINOR);
    le32_put(out + 16, CONNECTIONLESS);
    le32_put(out + 20, MEDIUM_8023);
    le32_put(out + 24, RNDIS_PACKETS_MAX);
    le32_put(out + 28, TRANSFER_MAX);
    le32_put(out + 32, RNDIS_ALIGNMENT_SHIFT);
    return finish(reply, RNDIS_INITIALIZE | RNDIS_COMPLETE, INITIALIZE_REPLY);
}

// The information buffer of a query or set. NULL: it is not inside the message.
static const uint8_t *information(const uint8_t *body, uint32_t size, uint32_t *length)
{
    if (size < RNDIS_QUERY_BODY) {
        return 0;
    }
    const uint32_t offset = le32_get(body + 12);
    *length = le32_get(body + 8);
    if (*length == 0) {
        return body;
    }
    return nic_inside(offset, *length, size) ? body + offset : 0;
}

static uint32_t query(struct nic *nic, const uint8_t *body, uint32_t size, uint8_t *reply)
{
    uint8_t *out = reply + RNDIS_BODY;
    uint32_t length, out_size = 0, status = RNDIS_STATUS_INVALID_LENGTH;
    const uint8_t *in = information(body, size, &length);

    if (!nic->initialized) {
        status = RNDIS_STATUS_NOT_READY;
    } else if (in) {
        status = nic_query(nic, le32_get(body + 4), in, length, out + QUERY_REPLY, &out_size);
    }
    le32_put(out, le32_get(body));
    le32_put(out + 4, status);
    le32_put(out + 8, out_size);
    le32_put(out + 12, out_size ? QUERY_REPLY : 0);
    return finish(reply, RNDIS_QUERY | RNDIS_COMPLETE, QUERY_REPLY + out_size);
}

static uint32_t set(struct nic *nic, const uint8_t *body, uint32_t size)
{
    uint32_t length;
    const uint8_t *in = information(body, size, &length);

    if (!nic->initialized) {
        return RNDIS_STATUS_NOT_READY;
    }
    return in ? nic_set(nic, le32_get(body + 4), in, length) : RNDIS_STATUS_INVALID_LENGTH;
}

static uint32_t set_ex(struct nic *nic, const uint8_t *body, uint32_t size, uint8_t *reply)
{
    const uint32_t status = set(nic, body, size);

    memset(reply + RNDIS_BODY, 0, QUERY_REPLY); // no information comes back
    status_reply(reply, RNDIS_SET_EX, le32_get(body), status);
    return finish(reply, RNDIS_SET_EX | RNDIS_COMPLETE, QUERY_REPLY);
}

static uint32_t reset(struct nic *nic, uint8_t *reply)
{
    const bool initialized = nic->initialized;

    nic_reset(nic);
    nic->initialized = initialized;
    // Status, and that filter and groups have to be set anew.
    return status_reply(reply, RNDIS_RESET, RNDIS_STATUS_SUCCESS, 1);
}

uint32_t rndis_control(struct nic *nic, const uint8_t *message, uint32_t size, uint8_t *reply,
                       bool *malformed)
{
    const uint8_t *body = message + RNDIS_BODY;

    *malformed = size < RNDIS_BODY + 4;
    if (*malformed) {
        return 0;
    }
    size -= RNDIS_BODY;
    switch (le32_get(message)) {
    case RNDIS_INITIALIZE:
        return initialize(nic, body, size, reply);
    case RNDIS_QUERY:
        *malformed = size < 8;
        return *malformed ? 0 : query(nic, body, size, reply);
    case RNDIS_SET:
        *malformed = size < 8;
        return *malformed ? 0
                          : status_reply(reply, RNDIS_SET, le32_get(body), set(nic, body, size));
    case RNDIS_SET_EX:
        *malformed = size < 8;
        return *malformed ? 0 : set_ex(nic, body, size, reply);
    case RNDIS_RESET:
        return reset(nic, reply);
    case RNDIS_KEEPALIVE:
        return status_reply(reply, RNDIS_KEEPALIVE, le32_get(body), RNDIS_STATUS_SUCCESS);
    case RNDIS_HALT:
        nic_reset(nic);
        return 0;
    default:
        *malformed = true;
        return 0;
    }
}

uint32_t rndis_indicate(uint32_t status, uint8_t *out)
{
    memset(out + RNDIS_BODY, 0, 12);
    le32_put(out + RNDIS_BODY, status);
    return finish(out, RNDIS_INDICATE, 12);
}
