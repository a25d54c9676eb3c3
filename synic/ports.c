// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ports, connections, and the message buffers of ports. TLFS: Inter-Partition Communication.
#include "corbel/ports.h"

#include <stddef.h>

#include "corbel/layout.h"
#include "corbel/string.h"
#include "hv/base.h"
#include "hv/status.h"

_Static_assert(sizeof(struct port_tables) <= PAGE_SIZE, "one page");
_Static_assert(PORT_CHAINS % PORT_LOCKS == 0, "a chain has one lock");

static struct spinlock structure;

static struct port **port_link(struct port_space *space, uint32_t id)
{
    struct port **link = &space->tables->ports[id % PORT_CHAINS];

    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

static struct connection **connection_link(struct port_space *space, uint32_t id)
{
    struct connection **link = &space->tables->connections[id % PORT_CHAINS];

    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

static struct spinlock *lock_of(struct port_space *space, uint32_t id)
{
    return &space->locks[id % PORT_LOCKS];
}

void port_space_init(struct port_space *space, struct partition *partition, uint64_t id,
                     struct pool *pool, struct port_tables *tables)
{
    space->partition = partition;
    space->id = id;
    space->tables = tables;
    slab_init(&space->port_slab, pool, sizeof(struct port));
    slab_init(&space->connection_slab, pool, sizeof(struct connection));
    slab_init(&space->buffer_slab, pool, sizeof(struct port_buffer));
    for (uint32_t i = 0; i < PORT_LOCKS; i++)
        spin_init(&space->locks[i]);
    spin_init(&space->doorbell_lock);
}

// ---- ports (under `structure`) ------------------------------------------------------------------

static void free_port(struct port_space *space, struct port *port)
{
    struct port_buffer *first = port->buffers, *buffer = first, *next;

    while (buffer) {
        next = buffer->next != first ? buffer->next : NULL;
        // The SynIC of a buffer that is not queued may be gone: port_space_forget.
        if (atomic_load_explicit(&buffer->node.queued, memory_order_acquire))
            synic_cancel(buffer->synic, &buffer->node);
        slab_free(&space->buffer_slab, buffer);
        buffer = next;
    }
    slab_free(&space->port_slab, port);
}

// Buffers form a ring after each one that is added, so a port with some of them can be freed.
static bool add_buffers(struct port_space *space, struct port *port)
{
    for (uint32_t i = 0; i < HV_PORT_MESSAGE_BUFFER_COUNT; i++) {
        struct port_buffer *buffer = slab_alloc(&space->buffer_slab);
        if (!buffer)
            return false;
        buffer->node.payload = buffer->payload;
        buffer->next = port->buffers ? port->buffers->next : buffer;
        if (port->buffers)
            port->buffers->next = buffer;
        else
            port->buffers = buffer;
    }
    return true;
}

static uint16_t create(struct port_space *space, uint32_t id, const struct port *config)
{
    struct port **link = port_link(space, id), *port;

    if (*link)
        return HV_STATUS_INVALID_PORT_ID;
    port = slab_alloc(&space->port_slab);
    if (!port)
        return HV_STATUS_INSUFFICIENT_MEMORY;
    *port = *config;
    port->next = NULL;
    port->space = space;
    port->connection = NULL;
    port->buffers = NULL;
    port->posts = 0;
    port->id = id;
    port->preferred_vp = 0;
    if (port->type == HV_PORT_TYPE_MESSAGE && !add_buffers(space, port)) {
        free_port(space, port);
        return HV_STATUS_INSUFFICIENT_MEMORY;
    }
    *link = port;
    return HV_STATUS_SUCCESS;
}

// Once the connection's chain has been locked without a way to the port nobody uses it.
static void cut(struct port *port)
{
    struct connection *c = port->connection;

    if (!c)
        return;
    spin_lock(lock_of(c->space, c->id));
    c->port = NULL;
    spin_unlock(lock_of(c->space, c->id));
}

static void remove_port(struct port_space *space, struct port **link)
{
    struct port *port = *link;

    *link = port->next;
    cut(port);
    free_port(space, port);
}

uint16_t port_create(struct port_space *space, uint32_t id, const struct port *config)
{
    uint16_t status;

    if (id & HV_PORT_ID_RESERVED_MASK)
        return HV_STATUS_INVALID_PORT_ID;
    spin_lock(&structure);
    status = create(space, id, config);
    spin_unlock(&structure);
    return status;
}

uint16_t port_delete(struct port_space *space, uint32_t id)
{
    struct port **link;
    bool found;

    spin_lock(&structure);
    link = port_link(space, id);
    found = *link != NULL;
    if (found)
        remove_port(space, link);
    spin_unlock(&structure);
    return found ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_PORT_ID;
}

uint16_t port_property(struct port_space *space, uint32_t id, uint32_t code, bool set,
                       uint64_t *value)
{
    uint16_t status = HV_STATUS_SUCCESS;
    struct port *port;

    spin_lock(&structure);
    port = *port_link(space, id);
    if (!port)
        status = HV_STATUS_INVALID_PORT_ID;
    else if (code == HV_PORT_PROPERTY_POST_COUNT && !set)
        *value = __atomic_load_n(&port->posts, __ATOMIC_RELAXED);
    else if (code != HV_PORT_PROPERTY_PREFERRED_TARGET_VP || port->vp != HV_ANY_VP)
        status = HV_STATUS_UNKNOWN_PROPERTY;
    else if (!set)
        *value = port->preferred_vp;
    else if (*value >> 32)
        status = HV_STATUS_INVALID_PARAMETER;
    else
        __atomic_store_n(&port->preferred_vp, (uint32_t)*value, __ATOMIC_RELAXED);
    spin_unlock(&structure);
    return status;
}

// ---- connections --------------------------------------------------------------------------------

static struct connection **doorbell_chain(struct port_space *space, uint64_t gpa)
{
    return &space->doorbells[(gpa >> 2 ^ gpa >> 12) % DOORBELL_CHAINS];
}

static void hang(struct port_space *space, struct connection *c)
{
    struct connection **chain = doorbell_chain(space, c->doorbell.gpa);

    spin_lock(&space->doorbell_lock);
    c->next_doorbell = *chain;
    *chain = c;
    __atomic_store_n(&space->doorbell_count, space->doorbell_count + 1, __ATOMIC_RELAXED);
    spin_unlock(&space->doorbell_lock);
}

static void take_down(struct port_space *space, struct connection *c)
{
    struct connection **link = doorbell_chain(space, c->doorbell.gpa);

    spin_lock(&space->doorbell_lock);
    while (*link != c)
        link = &(*link)->next_doorbell;
    *link = c->next_doorbell;
    __atomic_store_n(&space->doorbell_count, space->doorbell_count - 1, __ATOMIC_RELAXED);
    spin_unlock(&space->doorbell_lock);
}

static bool rings(const struct doorbell *d, uint64_t gpa, uint32_t size, uint64_t value)
{
    uint64_t code = d->flags & HV_DOORBELL_TRIGGER_SIZE_MASK;

    return d->gpa == gpa && (code == HV_DOORBELL_TRIGGER_SIZE_ANY || size == 1u << (code - 1)) &&
           ((d->flags & HV_DOORBELL_TRIGGER_ANY_VALUE) || d->value == value);
}

bool doorbell_find(struct port_space *space, uint64_t gpa, uint32_t size, uint64_t value,
                   uint32_t *id)
{
    struct connection *c;

    spin_lock(&space->doorbell_lock);
    c = *doorbell_chain(space, gpa);
    while (c && !rings(&c->doorbell, gpa, size, value))
        c = c->next_doorbell;
    if (c)
        *id = c->id;
    spin_unlock(&space->doorbell_lock);
    return c != NULL;
}

static uint16_t connect(struct port_space *space, uint32_t id, struct port *port, uint32_t type,
                        const struct doorbell *doorbell)
{
    struct connection **link = connection_link(space, id), *c;

    if (*link)
        return HV_STATUS_INVALID_CONNECTION_ID;
    if (!port || port->type != type || port->connection)
        return HV_STATUS_INVALID_PORT_ID;
    if (port->partner != space->id)
        return HV_STATUS_INVALID_PARTITION_ID;
    c = slab_alloc(&space->connection_slab);
    if (!c)
        return HV_STATUS_INSUFFICIENT_MEMORY;
    c->space = space;
    c->id = id;
    c->type = (uint8_t)type;
    c->port = port;
    port->connection = c;
    if (doorbell) {
        c->doorbell = *doorbell;
        hang(space, c);
    }
    spin_lock(lock_of(space, id));
    *link = c;
    spin_unlock(lock_of(space, id));
    return HV_STATUS_SUCCESS;
}

uint16_t connection_create(struct port_space *space, uint32_t id, struct port_space *receiver,
                           uint32_t port_id, uint32_t type, const struct doorbell *doorbell)
{
    uint16_t status;

    if (id & HV_CONNECTION_ID_RESERVED_MASK)
        return HV_STATUS_INVALID_CONNECTION_ID;
    spin_lock(&structure);
    status = connect(space, id, *port_link(receiver, port_id), type, doorbell);
    spin_unlock(&structure);
    return status;
}

static void remove_connection(struct port_space *space, struct connection **link)
{
    struct connection *c = *link;

    if (c->type == HV_PORT_TYPE_DOORBELL)
        take_down(space, c);
    spin_lock(lock_of(space, c->id));
    *link = c->next;
    spin_unlock(lock_of(space, c->id));
    if (c->port)
        c->port->connection = NULL;
    slab_free(&space->connection_slab, c);
}

uint16_t connection_delete(struct port_space *space, uint32_t id)
{
    struct connection **link;
    bool found;

    spin_lock(&structure);
    link = connection_link(space, id);
    found = *link != NULL;
    if (found)
        remove_connection(space, link);
    spin_unlock(&structure);
    return found ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_CONNECTION_ID;
}

// ---- all of a partition's -----------------------------------------------------------------------

bool port_space_clear(struct port_space *space, uint32_t budget)
{
    bool more = false;

    spin_lock(&structure);
    for (uint32_t i = 0; i < PORT_CHAINS && !more; i++) {
        struct port **port = &space->tables->ports[i];
        struct connection **connection = &space->tables->connections[i];
        for (; *port && budget; budget--)
            remove_port(space, port);
        for (; *connection && budget; budget--)
            remove_connection(space, connection);
        more = *port || *connection;
    }
    spin_unlock(&structure);
    return more;
}

void port_space_forget(struct port_space *space, struct synic *target)
{
    spin_lock(&structure);
    for (uint32_t i = 0; i < PORT_CHAINS; i++) {
        for (struct port *port = space->tables->ports[i]; port; port = port->next) {
            struct connection *c = port->connection;
            if (!c)
                continue;
            spin_lock(lock_of(c->space, c->id));
            spin_unlock(lock_of(c->space, c->id));
        }
    }
    synic_reset(target);
    spin_unlock(&structure);
}

// ---- use ----------------------------------------------------------------------------------------

uint16_t connection_use(struct port_space *space, uint32_t id, uint32_t type, struct port **port)
{
    struct connection *c;

    spin_lock(lock_of(space, id));
    c = *connection_link(space, id);
    if (c && c->port && c->port->type == type) {
        *port = c->port;
        return HV_STATUS_SUCCESS;
    }
    spin_unlock(lock_of(space, id));
    return c ? HV_STATUS_INVALID_PORT_ID : HV_STATUS_INVALID_CONNECTION_ID;
}

// Messages to one VP leave in the order in which they came, so the next buffer of the ring is free
// if any is; among several VPs it may not be.
static struct port_buffer *free_buffer(struct port *port)
{
    struct port_buffer *buffer = port->buffers;

    for (uint32_t i = 0; i < HV_PORT_MESSAGE_BUFFER_COUNT; i++, buffer = buffer->next)
        if (!atomic_load_explicit(&buffer->node.queued, memory_order_acquire))
            return buffer;
    return NULL;
}

uint16_t port_post(struct port *port, struct synic *target, uint32_t type, const void *payload,
                   uint32_t size, uint64_t now, struct synic_signals *signals)
{
    struct port_buffer *buffer = free_buffer(port);

    if (!buffer)
        return HV_STATUS_INSUFFICIENT_BUFFERS;
    memcpy(buffer->payload, payload, (size + 7) & ~7u);
    buffer->node.origination_id = port->id;
    buffer->node.message_type = type;
    buffer->node.payload_size = (uint8_t)size;
    buffer->synic = target;
    if (synic_enqueue(target, port->sint, &buffer->node, false, now, signals) == SYNIC_DISABLED)
        return HV_STATUS_INVALID_SYNIC_STATE;
    port->buffers = buffer->next;
    return HV_STATUS_SUCCESS;
}

// Who finds the ring full sets `rung` under the same lock: nobody waits for ever.
void port_ring_emptied(struct port_space *space, uint32_t sint,
                       bool (*ring)(struct port *port, void *context), void *context)
{
    bool room = true;

    spin_lock(&structure);
    for (uint32_t i = 0; i < PORT_CHAINS && room; i++) {
        for (struct port *port = space->tables->ports[i]; port && room; port = port->next) {
            struct connection *c = port->connection;
            if (!c || port->type != HV_PORT_TYPE_DOORBELL || port->sint != sint)
                continue;
            spin_lock(lock_of(c->space, c->id));
            if (port->rung)
                room = ring(port, context);
            port->rung = port->rung && !room;
            spin_unlock(lock_of(c->space, c->id));
        }
    }
    spin_unlock(&structure);
}
