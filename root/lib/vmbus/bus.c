// SPDX-License-Identifier: BSD-2-Clause-Patent
// The connection: negotiation, unload, dispatch of messages, order of actions. Contract in bus.h.
// Sources: spec VMBus 1.3 to 1.5; OpenVMM vmbus_server::channels for what a host answers.
#include "../mem.h"
#include "bus_priv.h"

enum { SINTS = 16 };

void bus_post(struct bus_action *action, uint32_t vp, uint8_t sint, const void *message,
              size_t size)
{
    memset(action, 0, sizeof *action);
    action->kind = BUS_POST;
    action->channel = BUS_NONE;
    action->vp = vp;
    action->sint = sint;
    action->size = (uint16_t)size;
    memcpy(action->message, message, size);
}

void bus_answer(struct vmbus_bus *bus, const void *message, size_t size)
{
    bus_post(&bus->reply, bus->connection.vp, VMBUS_SINT, message, size);
    bus->has_reply = true;
}

void bus_complain(struct vmbus_bus *bus, const char *text)
{
    bus->complaint = text;
}

void bus_init(struct vmbus_bus *bus)
{
    memset(bus->channels, 0, bus->limits.channels * sizeof *bus->channels);
    memset(bus->gpadls, 0, bus->limits.gpadls * sizeof *bus->gpadls);
    for (uint32_t relid = 0; relid <= bus->limits.channels; relid++) {
        bus->relids[relid] = BUS_NONE;
    }
    memset(&bus->connection, 0, sizeof bus->connection);
    memset(bus->connects, 0, sizeof bus->connects);
    bus->channel_queue = (struct bus_queue){BUS_NONE, BUS_NONE};
    bus->gpadl_queue = (struct bus_queue){BUS_NONE, BUS_NONE};
    bus->offers_wait = false;
    bus->has_reply = false;
    bus->complaint = NULL;
}

// ---- negotiation -------------------------------------------------------------------------------

bool bus_is_supported(const struct vmbus_bus *bus, uint32_t version)
{
    static const uint32_t versions[] = {VMBUS_V2_4, VMBUS_V3_0, VMBUS_V4_0, VMBUS_V4_1,
                                        VMBUS_V5_0, VMBUS_V5_1, VMBUS_V5_2, VMBUS_V5_3};

    for (unsigned i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (version == versions[i]) {
            return bus->limits.max_version == 0 || version <= bus->limits.max_version;
        }
    }
    return false;
}

static void answer_contact(struct vmbus_bus *bus, const struct bus_contact *contact, bool supported,
                           enum vmbus_contact_state state)
{
    struct vmbus_msg_version message = {
        .header.type = VMBUS_VERSION_RESPONSE,
        .supported = supported,
        .state = (uint8_t)state,
    };

    if (supported) {
        message.connection =
            contact->version >= VMBUS_V5_0 ? (uint32_t)VMBUS_CONNECTION_4 : contact->version;
    }
    bus_answer(bus, &message, sizeof message);
}

// The old connection is gone: answers the request for a new one.
static void establish(struct vmbus_bus *bus)
{
    struct bus_connection *connection = &bus->connection;
    const struct bus_contact contact = connection->contact;

    connection->vp = contact.vp;
    if (!bus_is_supported(bus, contact.version)) {
        bus_complain(bus, "the guest asks for a version that is not supported");
        answer_contact(bus, &contact, false, VMBUS_CONTACT_OK);
    } else if (!contact.monitor_ok) {
        bus_complain(bus, "the guest names one monitor page");
        answer_contact(bus, &contact, true, VMBUS_CONTACT_FAILED);
    } else {
        connection->state = BUS_CONNECTED;
        connection->version = contact.version;
        answer_contact(bus, &contact, true, VMBUS_CONTACT_OK);
    }
}

void bus_check_disconnected(struct vmbus_bus *bus)
{
    static const struct vmbus_header unloaded = {.type = VMBUS_UNLOAD_RESPONSE};
    struct bus_connection *connection = &bus->connection;

    if (connection->state != BUS_DISCONNECTING || !bus_channels_let_go(bus) ||
        !bus_gpadls_let_go(bus)) {
        return;
    }
    const uint8_t after = connection->after;
    connection->state = BUS_DISCONNECTED;
    connection->after = BUS_AFTER_NOTHING;
    if (after == BUS_AFTER_UNLOAD) {
        bus_answer(bus, &unloaded, sizeof unloaded);
    } else if (after == BUS_AFTER_CONTACT) {
        establish(bus);
    }
}

// Ends the connection, in whatever state it is. A reserved channel lives on, unless all are meant:
// it is there for the time after a crash.
static void disconnect(struct vmbus_bus *bus, enum bus_after after, bool reserved_too)
{
    struct bus_connection *connection = &bus->connection;

    bus->has_reply = false;
    memset(bus->connects, 0, sizeof bus->connects);
    connection->state = BUS_DISCONNECTED;
    connection->version = 0;
    connection->offers_asked = false;
    connection->offers_told = false;
    for (uint32_t i = 0; i < bus->limits.channels; i++) {
        struct bus_channel *channel = &bus->channels[i];
        if (!channel->used || (channel->reserved && channel->device != BUS_IDLE && !reserved_too)) {
            continue;
        }
        channel->withheld = false;
        bus_guest_leaves(bus, (uint16_t)i);
    }
    connection->state = BUS_DISCONNECTING;
    connection->after = (uint8_t)after;
    bus_check_disconnected(bus);
}

void bus_reset(struct vmbus_bus *bus)
{
    bus->connection.vp = 0;
    disconnect(bus, BUS_AFTER_NOTHING, true);
}

static void on_contact(struct vmbus_bus *bus, const struct bus_input *input)
{
    struct vmbus_msg_contact message;
    uint8_t sint = VMBUS_SINT, vtl = 0;

    memcpy(&message, input->bytes, sizeof message);
    // Before 3.0 messages went to VP 0 only (spec: VMBus 1.3).
    const struct bus_contact contact = {
        .version = message.version,
        .vp = message.version >= VMBUS_V3_0 ? message.target_vp : 0,
        .monitor_ok = (message.monitor_in == 0) == (message.monitor_out == 0),
    };
    if (input->connection == VMBUS_CONNECTION_4) {
        sint = message.version >= VMBUS_V5_0 ? message.sint : sint;
        vtl = message.version >= VMBUS_V5_1 ? message.vtl : vtl;
    }
    if (sint != VMBUS_SINT || vtl != 0) {
        // Not for us. Refused to where it asks for the answer: silence would hang it.
        bus_complain(bus, "the guest asks for another SINT or VTL");
        answer_contact(bus, &contact, false, VMBUS_CONTACT_OK);
        bus->reply.vp = contact.vp;
        bus->reply.sint = sint < SINTS ? sint : (uint8_t)VMBUS_SINT;
        return;
    }
    bus->connection.contact = contact;
    disconnect(bus, BUS_AFTER_CONTACT, false);
}

static void on_unload(struct vmbus_bus *bus, const struct bus_input *input)
{
    (void)input;
    disconnect(bus, BUS_AFTER_UNLOAD, false);
}

static void on_request_offers(struct vmbus_bus *bus, const struct bus_input *input)
{
    (void)input;
    if (bus->connection.offers_asked) {
        bus_complain(bus, "the guest asks for offers twice");
        return;
    }
    bus->connection.offers_asked = true;
    bus->offers_wait = true;
}

// ---- dispatch ----------------------------------------------------------------------------------

struct message_rule {
    void (*handle)(struct vmbus_bus *bus,
                   const struct bus_input *input); // NULL: guests do not send it
    uint16_t size;    // at least; firmware sends every message at full length
    uint32_t version; // of the connection, at least; 0: no connection is needed
};

static const struct message_rule rules[VMBUS_MESSAGE_TYPES] = {
    [VMBUS_INITIATE_CONTACT] = {on_contact, sizeof(struct vmbus_msg_contact), 0},
    [VMBUS_UNLOAD] = {on_unload, sizeof(struct vmbus_header), 0},
    [VMBUS_REQUESTOFFERS] = {on_request_offers, sizeof(struct vmbus_header), VMBUS_V2_4},
    [VMBUS_OPENCHANNEL] = {bus_on_open, sizeof(struct vmbus_msg_open), VMBUS_V2_4},
    [VMBUS_CLOSECHANNEL] = {bus_on_close, sizeof(struct vmbus_msg_relid), VMBUS_V2_4},
    [VMBUS_GPADL_HEADER] = {bus_on_gpadl_header, sizeof(struct vmbus_msg_gpadl_header), VMBUS_V2_4},
    [VMBUS_GPADL_BODY] = {bus_on_gpadl_body, sizeof(struct vmbus_msg_gpadl_body), VMBUS_V2_4},
    [VMBUS_GPADL_TEARDOWN] = {bus_on_gpadl_teardown, sizeof(struct vmbus_msg_gpadl_teardown),
                              VMBUS_V2_4},
    [VMBUS_RELID_RELEASED] = {bus_on_released, sizeof(struct vmbus_msg_relid), VMBUS_V2_4},
    [VMBUS_OPEN_RESERVED_CHANNEL] = {bus_on_open_reserved, sizeof(struct vmbus_msg_open_reserved),
                                     VMBUS_V4_0},
    [VMBUS_CLOSE_RESERVED_CHANNEL] = {bus_on_close_reserved,
                                      sizeof(struct vmbus_msg_close_reserved), 0},
    [VMBUS_TL_CONNECT_REQUEST] = {bus_on_connect, sizeof(struct vmbus_msg_tl_connect), VMBUS_V4_0},
    [VMBUS_MODIFYCHANNEL] = {bus_on_modify, sizeof(struct vmbus_msg_modify), VMBUS_V4_1},
};

static uint32_t type_of(const void *message, size_t size)
{
    struct vmbus_header header = {0};

    if (size >= sizeof header && size <= VMBUS_MESSAGE_MAX) {
        memcpy(&header, message, sizeof header);
    }
    return header.type;
}

bool bus_message_disconnects(const void *message, size_t size)
{
    const uint32_t type = type_of(message, size);

    return (type == VMBUS_INITIATE_CONTACT || type == VMBUS_UNLOAD) && size >= rules[type].size;
}

void bus_message(struct vmbus_bus *bus, uint32_t connection, const void *message, size_t size)
{
    const struct bus_input input = {.bytes = message, .size = size, .connection = connection};
    const uint32_t type = type_of(message, size);

    bus->complaint = NULL;
    if (type >= VMBUS_MESSAGE_TYPES || !rules[type].handle) {
        bus_complain(bus, "unknown message");
    } else if (size < rules[type].size) {
        bus_complain(bus, "short message");
    } else if (bus->connection.version < rules[type].version) {
        bus_complain(bus, "message that this connection does not have");
    } else {
        rules[type].handle(bus, &input);
    }
}

bool bus_is_ready(const struct vmbus_bus *bus)
{
    const struct bus_connection *connection = &bus->connection;

    return !bus->has_reply && bus->channel_queue.first == BUS_NONE &&
           bus->gpadl_queue.first == BUS_NONE && !bus_connects_wait(bus) &&
           !(connection->offers_asked && (bus->offers_wait || !connection->offers_told));
}

// ---- actions -----------------------------------------------------------------------------------

static bool next_of_connection(struct vmbus_bus *bus, struct bus_action *action)
{
    static const struct vmbus_header delivered = {.type = VMBUS_ALLOFFERS_DELIVERED};
    struct bus_connection *connection = &bus->connection;

    if (!connection->offers_asked) {
        return false;
    }
    if (bus_next_offer(bus, action)) {
        return true;
    }
    if (connection->offers_told) {
        return false;
    }
    connection->offers_told = true;
    bus_post(action, connection->vp, VMBUS_SINT, &delivered, sizeof delivered);
    return true;
}

bool bus_next(struct vmbus_bus *bus, bool may_post, struct bus_action *action)
{
    if (may_post && bus->has_reply) {
        *action = bus->reply;
        bus->has_reply = false;
        return true;
    }
    return bus_next_channel(bus, may_post, action) || bus_next_gpadl(bus, may_post, action) ||
           bus_next_connect(bus, may_post, action) || (may_post && next_of_connection(bus, action));
}

bool bus_is_idle(const struct vmbus_bus *bus)
{
    return bus->connection.state == BUS_DISCONNECTED && bus_channels_let_go(bus) &&
           bus_gpadls_let_go(bus) && bus->channel_queue.first == BUS_NONE;
}
