// SPDX-License-Identifier: BSD-2-Clause-Patent
// Switch uplink: contract in uplink.h.
#include "uplink.h"

#include "../../mem.h"
#include "../wire.h"

enum { ADDRESSES = 2 * ETHER_ADDRESS };

bool uplink_attach(struct uplink *uplink, struct virtual_switch *sw,
                   const struct uplink_interface *interface, uint32_t max_frame,
                   const struct port_vlan *vlan, void *memory, uint32_t size)
{
    struct port_config config = {
        .flags = PORT_SPOOF | PORT_LEARN | PORT_FLOOD,
        .max_frame = max_frame,
        .learn_max = SWITCH_MACS / 2,
        .vlan = *vlan,
    };

    uplink->sw = sw;
    uplink->interface = *interface;
    uplink->bad_frames = 0;
    if (!switch_attach(sw, &uplink->port, &config, memory, size)) {
        return false;
    }
    switch_set_filter(&uplink->port, FILTER_ALL_MULTICAST | FILTER_BROADCAST);
    return true;
}

// The frame as it goes on the wire.
static uint32_t with_tag(struct uplink *uplink, const struct frame *frame)
{
    uint8_t *out = uplink->buffer;

    memcpy(out, frame->bytes, ADDRESSES);
    be16_put(out + ADDRESSES, ETHER_TYPE_VLAN);
    be16_put(out + ADDRESSES + 2, frame->tci);
    memcpy(out + ADDRESSES + ETHER_TAG, frame->bytes + ADDRESSES, frame->size - ADDRESSES);
    return frame->size + ETHER_TAG;
}

static bool transmit(struct uplink *uplink)
{
    struct frame frame;

    if (!switch_peek(&uplink->port, &frame)) {
        return false;
    }
    const uint32_t size = frame.tagged ? with_tag(uplink, &frame) : frame.size;
    const void *bytes = frame.tagged ? uplink->buffer : frame.bytes;
    if (!uplink->interface.transmit(uplink->interface.ctx, bytes, size)) {
        return false;
    }
    switch_pop(&uplink->port);
    return true;
}

// Takes an inline tag off: the addresses move up behind it.
static struct frame untag(uint8_t *bytes, uint32_t size)
{
    struct frame frame = {.bytes = bytes, .size = size};

    if (size >= ETHER_HEADER + ETHER_TAG && be16_get(bytes + ETHER_TYPE_AT) == ETHER_TYPE_VLAN) {
        uint8_t addresses[ADDRESSES];
        frame.tagged = true;
        frame.tci = be16_get(bytes + ETHER_TYPE_AT + 2);
        memcpy(addresses, bytes, ADDRESSES);
        memcpy(bytes + ETHER_TAG, addresses, ADDRESSES);
        frame.bytes = bytes + ETHER_TAG;
        frame.size = size - ETHER_TAG;
    }
    return frame;
}

static bool receive(struct uplink *uplink, uint64_t now)
{
    const uint32_t size =
        uplink->interface.receive(uplink->interface.ctx, uplink->buffer, sizeof uplink->buffer);

    if (size == 0) {
        return false;
    }
    if (size < ETHER_HEADER || size > sizeof uplink->buffer) {
        uplink->bad_frames++;
        return true;
    }
    const struct frame frame = untag(uplink->buffer, size);
    switch_send(uplink->sw, &uplink->port, &frame, now);
    return true;
}

bool uplink_run(struct uplink *uplink, unsigned budget, uint64_t now)
{
    bool more_in = true, more_out = true;

    for (unsigned i = 0; i < budget && (more_in || more_out); i++) {
        more_in = more_in && receive(uplink, now);
        more_out = more_out && transmit(uplink);
    }
    return more_in || more_out;
}
