// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest's driver for an integration component: it chooses versions as Linux's
// vmbus_prep_negotiate_resp() does and answers in place.
#pragma once
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fake_vmbus.h"
#include "root/lib/vsp/ic/ic.h"
#include "root/lib/vsp/wire.h"

enum { REPLY_FLAGS = 5, REQUEST_FLAGS = 3 };

// The request that waits for its answer.
struct ic_guest {
    struct vmbus_channel *channel;
    uint8_t message[FAKE_PAYLOAD];
    uint32_t size;
};

static struct vmbus_server bus;

static inline uint8_t *guest_body(struct ic_guest *guest)
{
    return guest->message + IC_HEADER;
}

// Takes the next request; false: there is none.
static inline bool guest_take(struct ic_guest *guest)
{
    fake_run(&bus);
    const struct fake_packet *packet = fake_peek(guest->channel);
    if (!packet) {
        return false;
    }
    ck_assert_int_eq(packet->type, VMBUS_PACKET_IN_BAND);
    ck_assert(!packet->wants_completion);
    ck_assert_uint_ge(packet->size, IC_HEADER);
    memcpy(guest->message, packet->data, packet->size);
    guest->size = packet->size;
    ck_assert_uint_le(IC_HEADER + le16_get(guest->message + 10), packet->size);
    ck_assert_uint_eq(guest->message[17], REQUEST_FLAGS);
    fake_pop(guest->channel);
    return true;
}

static inline void guest_answer(struct ic_guest *guest, uint32_t status)
{
    le32_put(guest->message + 12, status);
    guest->message[17] = REPLY_FLAGS;
    fake_send(guest->channel, 1, false, guest->message, guest->size);
    fake_run(&bus);
}

// Answers the negotiation with framework 3.0 and this version, if both are on the list.
static inline void guest_negotiate(struct ic_guest *guest, uint16_t major, uint16_t minor)
{
    const struct ic_version choice[2] = {{3, 0}, {major, minor}};
    bool found[2] = {false, false};

    ck_assert(guest_take(guest));
    ck_assert_uint_eq(le16_get(guest->message + 4), IC_NEGOTIATE);
    uint8_t *body = guest_body(guest);
    const uint16_t counts[2] = {le16_get(body), le16_get(body + 2)};
    uint8_t *at = body + 8;
    for (unsigned list = 0; list < 2; list++) {
        for (unsigned i = 0; i < counts[list]; i++, at += 4) {
            found[list] = found[list] || (le16_get(at) == choice[list].major &&
                                          le16_get(at + 2) == choice[list].minor);
        }
    }
    const bool both = found[0] && found[1];
    le16_put(body, both);
    le16_put(body + 2, both);
    for (unsigned i = 0; i < 2; i++) {
        le16_put(body + 8 + 4 * i, choice[i].major);
        le16_put(body + 10 + 4 * i, choice[i].minor);
    }
    guest_answer(guest, IC_STATUS_OK);
}

static inline void guest_open(struct ic_guest *guest, struct ic *ic, uint16_t major, uint16_t minor)
{
    guest->channel = ic->channel;
    ck_assert_uint_eq(ic->channel->offer.flags, 0x11);
    ck_assert_uint_eq(ic->channel->offer.user_data[0], VMBUS_PIPE_MESSAGES);
    ck_assert(fake_open(ic->channel));
    guest_negotiate(guest, major, minor);
}

static inline void guest_expect_type(const struct ic_guest *guest, const struct ic *ic,
                                     enum ic_type type, uint32_t size)
{
    ck_assert_uint_eq(le16_get(guest->message + 4), type);
    ck_assert_uint_eq(le16_get(guest->message), ic->framework.major);
    ck_assert_uint_eq(le16_get(guest->message + 6), ic->version.major);
    ck_assert_uint_eq(le16_get(guest->message + 8), ic->version.minor);
    ck_assert_uint_eq(le16_get(guest->message + 10), size);
}
