// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual switch, ports and forwarding: contract in switch.h. The address table is in switch_mac.c.
#include "switch.h"

#include "../../mem.h"
#include "switch_mac.h"

static bool same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, ETHER_ADDRESS) == 0;
}

void switch_init(struct virtual_switch *sw, uint64_t key)
{
    memset(sw, 0, sizeof *sw);
    sw->key = key;
}

// The port whose own address this is. Own addresses are not in the table: they cannot be displaced.
static struct switch_port *owner(const struct virtual_switch *sw, const uint8_t *address)
{
    for (unsigned i = 0; i < sw->port_end; i++) {
        struct switch_port *port = sw->ports[i];
        if (port && same(port->config.address.byte, address)) {
            return port;
        }
    }
    return 0;
}

static unsigned index_of(const struct virtual_switch *sw, const struct switch_port *port)
{
    unsigned index = 0;
    while (index < SWITCH_PORTS_MAX && sw->ports[index] != port) {
        index++;
    }
    return index;
}

static bool config_valid(const struct virtual_switch *sw, const struct port_config *config)
{
    const uint8_t *address = config->address.byte;

    return config->max_frame >= ETHER_HEADER && config->max_frame <= ETHER_FRAME_MAX &&
           config->vlan.native <= VLAN_ID_MAX &&
           (ether_is_zero(address) || (!ether_is_group(address) && !owner(sw, address)));
}

bool switch_attach(struct virtual_switch *sw, struct switch_port *port,
                   const struct port_config *config, void *memory, uint32_t size)
{
    const unsigned index = index_of(sw, 0);

    if (index == SWITCH_PORTS_MAX || !config_valid(sw, config)) {
        return false;
    }
    memset(port, 0, sizeof *port);
    port->config = *config;
    frame_queue_init(&port->queue, memory, size);
    port->attached = true;
    sw->ports[index] = port;
    sw->port_end = index < sw->port_end ? sw->port_end : index + 1;
    return true;
}

void switch_detach(struct virtual_switch *sw, struct switch_port *port)
{
    const unsigned index = index_of(sw, port);

    if (index == SWITCH_PORTS_MAX) {
        return;
    }
    switch_mac_forget_port(sw, index);
    sw->ports[index] = 0;
    while (sw->port_end && !sw->ports[sw->port_end - 1]) {
        sw->port_end--;
    }
    frame_queue_clear(&port->queue);
    port->attached = false;
}

bool switch_set_address(struct virtual_switch *sw, struct switch_port *port,
                        const struct ether_address *address)
{
    const struct switch_port *other = owner(sw, address->byte);

    if (ether_is_zero(address->byte) || ether_is_group(address->byte) || (other && other != port)) {
        return false;
    }
    port->config.address = *address;
    return true;
}

bool switch_set_max_frame(struct switch_port *port, uint32_t max_frame)
{
    if (max_frame < ETHER_HEADER || max_frame > ETHER_FRAME_MAX) {
        return false;
    }
    port->config.max_frame = max_frame;
    return true;
}

void switch_set_filter(struct switch_port *port, uint32_t filter)
{
    port->filter = filter;
}

bool switch_set_groups(struct switch_port *port, const struct ether_address *groups, uint32_t count)
{
    if (count > SWITCH_GROUPS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!ether_is_group(groups[i].byte)) {
            return false;
        }
    }
    memcpy(port->groups, groups, count * sizeof groups[0]);
    port->group_count = count;
    return true;
}

static bool in_allowed(const struct port_vlan *vlan, unsigned id)
{
    return vlan->allowed[id / 8] & 1 << id % 8;
}

static bool is_member(const struct switch_port *port, unsigned id)
{
    return id == port->config.vlan.native ||
           (port->config.vlan.mode == PORT_TRUNK && in_allowed(&port->config.vlan, id));
}

// The VLAN of a frame that the port sends; false when the port may not send it. A tag with id 0
// carries a priority only (802.1Q 6.9).
static bool classify(const struct switch_port *port, const struct frame *frame, unsigned *vlan)
{
    const unsigned id = frame->tagged ? frame->tci & VLAN_ID_MASK : 0;

    if (id == 0) {
        *vlan = port->config.vlan.native;
        return true;
    }
    *vlan = id;
    return port->config.vlan.mode == PORT_TRUNK && id <= VLAN_ID_MAX &&
           in_allowed(&port->config.vlan, id);
}

static void count(struct port_traffic *traffic, const struct frame *frame)
{
    if (ether_is_broadcast(frame->bytes)) {
        traffic->broadcast_frames++;
        traffic->broadcast_bytes += frame->size;
    } else if (ether_is_group(frame->bytes)) {
        traffic->multicast_frames++;
        traffic->multicast_bytes += frame->size;
    } else {
        traffic->directed_frames++;
        traffic->directed_bytes += frame->size;
    }
}

static bool wants_group(const struct switch_port *port, const uint8_t *group)
{
    for (uint32_t i = 0; i < port->group_count; i++) {
        if (same(port->groups[i].byte, group)) {
            return true;
        }
    }
    return false;
}

// Whether the port's filter lets a frame to this destination through. Guests ask for promiscuous
// mode instead of the other bits: without the permission it means all that is for the port.
static bool wants(const struct switch_port *port, const uint8_t *destination)
{
    uint32_t filter = port->filter;

    if (filter & FILTER_PROMISCUOUS) {
        if (port->config.flags & PORT_PROMISCUOUS) {
            return true;
        }
        filter |= FILTER_DIRECTED | FILTER_ALL_MULTICAST | FILTER_BROADCAST;
    }
    if (ether_is_broadcast(destination)) {
        return filter & FILTER_BROADCAST;
    }
    if (ether_is_group(destination)) {
        return (filter & FILTER_ALL_MULTICAST) ||
               ((filter & FILTER_MULTICAST) && wants_group(port, destination));
    }
    return (filter & FILTER_DIRECTED) && same(port->config.address.byte, destination);
}

static void deliver(struct switch_port *port, const struct frame *frame, unsigned vlan)
{
    const unsigned priority = frame->tagged ? frame->tci & ~(unsigned)VLAN_ID_MASK : 0;
    const bool was_empty = port->queue.frames == 0;
    struct frame out = *frame;

    if (frame->size > port->config.max_frame) {
        port->statistics.out_bad_size++;
        return;
    }
    out.tagged = vlan != port->config.vlan.native;
    out.tci = out.tagged ? (uint16_t)(priority | vlan) : 0;
    if (!frame_queue_push(&port->queue, &out)) {
        port->statistics.out_full++;
        return;
    }
    count(&port->statistics.out, frame);
    if (was_empty && port->config.wake) {
        port->config.wake(port->config.ctx);
    }
}

// To all members of the VLAN that want the frame and, when nobody knows the address, to those
// behind which it may be.
static void flood(struct virtual_switch *sw, const struct switch_port *from,
                  const struct frame *frame, unsigned vlan, bool unknown)
{
    for (unsigned i = 0; i < sw->port_end; i++) {
        struct switch_port *port = sw->ports[i];
        if (port && port != from && is_member(port, vlan) &&
            (wants(port, frame->bytes) || (unknown && (port->config.flags & PORT_FLOOD)))) {
            deliver(port, frame, vlan);
        }
    }
}

static void forward(struct virtual_switch *sw, struct switch_port *from, const struct frame *frame,
                    unsigned vlan, uint64_t now)
{
    bool unknown = !ether_is_group(frame->bytes) && !owner(sw, frame->bytes);

    if (unknown) {
        const unsigned index = switch_mac_find(sw, frame->bytes, vlan, now);
        struct switch_port *port = index < SWITCH_PORTS_MAX ? sw->ports[index] : 0;

        unknown = !port;
        if (port && port != from && is_member(port, vlan) && !wants(port, frame->bytes)) {
            deliver(port, frame, vlan);
        }
    }
    flood(sw, from, frame, vlan, unknown);
}

// 01-80-C2-00-00-00 to 0F: for the next bridge only (802.1Q table 8-1).
static bool is_reserved(const uint8_t *destination)
{
    static const uint8_t prefix[5] = {0x01, 0x80, 0xC2, 0x00, 0x00};
    return memcmp(destination, prefix, sizeof prefix) == 0 && destination[5] < 0x10;
}

static bool may_send_from(const struct virtual_switch *sw, const struct switch_port *port,
                          const uint8_t *source)
{
    if (ether_is_group(source) || ether_is_zero(source)) {
        return false;
    }
    if (same(source, port->config.address.byte)) {
        return true;
    }
    return (port->config.flags & PORT_SPOOF) && !owner(sw, source);
}

void switch_send(struct virtual_switch *sw, struct switch_port *port, const struct frame *frame,
                 uint64_t now)
{
    struct port_statistics *statistics = &port->statistics;
    unsigned vlan;

    if (!port->attached || frame->size < ETHER_HEADER || frame->size > port->config.max_frame) {
        statistics->in_bad_size++;
        return;
    }
    const uint8_t *source = frame->bytes + ETHER_ADDRESS;
    if (!may_send_from(sw, port, source)) {
        statistics->in_spoofed++;
    } else if (!classify(port, frame, &vlan)) {
        statistics->in_vlan++;
    } else if (is_reserved(frame->bytes)) {
        statistics->in_reserved++;
    } else {
        count(&statistics->in, frame);
        if ((port->config.flags & PORT_LEARN) && !same(source, port->config.address.byte)) {
            switch_mac_learn(sw, index_of(sw, port), source, vlan, now);
        }
        forward(sw, port, frame, vlan, now);
    }
}

bool switch_peek(const struct switch_port *port, struct frame *frame)
{
    return frame_queue_peek(&port->queue, frame);
}

void switch_pop(struct switch_port *port)
{
    frame_queue_pop(&port->queue);
}
