// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ports, connections, messages and events by hypercall (tlfs-reference 1.10; TLFS: Inter-Partition
// Communication).
#include "corbel/ipc.h"
#include "corbel/monitor.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "hv/call_ipc.h"
#include "hypercall/list.h"

#define HIGHEST_VTL 15u

// VTLs above 0 exist in the encoding only.
static uint16_t vtl_status(uint8_t vtl)
{
    if (vtl > HIGHEST_VTL)
        return HV_STATUS_INVALID_PARAMETER;
    return vtl ? HV_STATUS_INVALID_VTL_STATE : HV_STATUS_SUCCESS;
}

// The partition on the other side, which need not be the caller's own. Takes a reference.
static uint16_t other_side(const struct hypercall *call, uint64_t id, const struct partition *self,
                           struct partition **other)
{
    struct partition *p = partition_get(id == HV_PARTITION_ID_SELF ? call->caller->id : id);

    *other = p;
    if (p && p != self)
        return HV_STATUS_SUCCESS;
    if (p)
        partition_put(p);
    return HV_STATUS_INVALID_PARTITION_ID;
}

// ---- ports --------------------------------------------------------------------------------------

// Message and event ports have source and VP in the same place.
static uint16_t check_target(const struct partition *p, const struct hv_port_info *info,
                             struct port *config)
{
    uint32_t vp = info->message.target_vp;

    if (info->message.target_sint == HV_SYNIC_INTERCEPTION_SINT ||
        info->message.target_sint >= HV_SYNIC_SINT_COUNT)
        return HV_STATUS_INVALID_PARAMETER;
    if (vp != HV_ANY_VP && !partition_vp(p, vp))
        return HV_STATUS_INVALID_VP_INDEX;
    config->sint = (uint8_t)info->message.target_sint;
    config->vp = vp;
    return HV_STATUS_SUCCESS;
}

static uint16_t check_port(const struct partition *p, const struct hv_port_info *info,
                           struct port *config)
{
    if (info->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    config->type = (uint8_t)info->port_type;
    switch (info->port_type) {
    case HV_PORT_TYPE_MESSAGE:
        if (info->message.reserved)
            return HV_STATUS_INVALID_PARAMETER;
        return check_target(p, info, config);
    case HV_PORT_TYPE_EVENT:
        config->base_flag = info->event.base_flag_number;
        config->flag_count = info->event.flag_count;
        if (info->event.reserved || !config->flag_count ||
            config->base_flag + config->flag_count > HV_EVENT_FLAGS_COUNT)
            return HV_STATUS_INVALID_PARAMETER;
        return check_target(p, info, config);
    case HV_PORT_TYPE_DOORBELL:
        if (info->doorbell.reserved)
            return HV_STATUS_INVALID_PARAMETER;
        return p->parent ? HV_STATUS_ACCESS_DENIED : check_target(p, info, config);
    case HV_PORT_TYPE_MONITOR:
        return info->monitor.reserved ? HV_STATUS_INVALID_PARAMETER : HV_STATUS_SUCCESS;
    default:
        return HV_STATUS_INVALID_PARAMETER;
    }
}

static uint16_t create_port(struct hypercall *call, uint64_t owner, uint32_t id, uint64_t partner,
                            const struct hv_port_info *info)
{
    struct port config = {.type = 0};
    struct partition *p, *other;
    uint16_t status = hypercall_active(call, owner, HYPERCALL_PARENT | HYPERCALL_SELF, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    status = other_side(call, partner, p, &other);
    if (status == HV_STATUS_SUCCESS) {
        config.partner = other->id;
        status = check_port(p, info, &config);
        if (status == HV_STATUS_SUCCESS && info->port_type == HV_PORT_TYPE_DOORBELL && !id)
            status = HV_STATUS_INVALID_PORT_ID; // 0 is no entry of an event ring
        if (status == HV_STATUS_SUCCESS)
            status = info->port_type == HV_PORT_TYPE_MONITOR
                         ? monitor_create(p, id, &config, info->monitor.monitor_gpa)
                         : port_create(&p->ports, id, &config);
        partition_put(other);
    }
    partition_put(p);
    return status;
}

uint16_t hypercall_create_port(struct hypercall *call)
{
    const struct hv_input_create_port *in = call->input;
    uint16_t status = vtl_status(in->port_vtl);

    if (in->reserved || !hypercall_proximity_valid(&in->proximity_domain_info))
        return HV_STATUS_INVALID_PARAMETER;
    if (status == HV_STATUS_SUCCESS)
        status = vtl_status(in->min_connection_vtl);
    if (status != HV_STATUS_SUCCESS)
        return status;
    return create_port(call, in->port_partition_id, in->port_id, in->connection_partition_id,
                       &in->port_info);
}

uint16_t hypercall_create_port_old(struct hypercall *call)
{
    const struct hv_input_create_port_old *in = call->input;

    return create_port(call, in->port_partition_id, in->port_id, in->connection_partition_id,
                       &in->port_info);
}

uint16_t hypercall_delete_port(struct hypercall *call)
{
    const struct hv_input_delete_port *in = call->input;
    struct partition *p;
    uint16_t status;

    if (in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    status = hypercall_active(call, in->port_partition_id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = monitor_delete(p, in->port_id);
    if (status == HV_STATUS_INVALID_PORT_ID)
        status = port_delete(&p->ports, in->port_id);
    partition_put(p);
    return status;
}

static uint16_t property(struct hypercall *call, uint64_t id, uint32_t port_id, uint32_t code,
                         bool set, uint64_t *value)
{
    struct partition *p;
    uint16_t status = hypercall_active(call, id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    status = port_property(&p->ports, port_id, code, set, value);
    partition_put(p);
    return status;
}

uint16_t hypercall_get_port_property(struct hypercall *call)
{
    const struct hv_input_get_port_property *in = call->input;
    struct hv_output_port_property *out = call->output;

    return property(call, in->partition_id, in->port_id, in->property_code, false,
                    &out->property_value);
}

// Returns the value that is in force now.
uint16_t hypercall_set_port_property(struct hypercall *call)
{
    const struct hv_input_set_port_property *in = call->input;
    struct hv_output_port_property *out = call->output;

    out->property_value = in->property_value;
    return property(call, in->partition_id, in->port_id, in->property_code, true,
                    &out->property_value);
}

// ---- connections --------------------------------------------------------------------------------

static uint16_t make_connection(struct partition *sender, uint32_t id, struct partition *receiver,
                                uint32_t port_id, const struct hv_connection_info *info)
{
    const struct doorbell doorbell = {info->doorbell.gpa, info->doorbell.trigger_value,
                                      info->doorbell.flags};

    if (info->port_type == HV_PORT_TYPE_MONITOR)
        return monitor_connect(sender, id, receiver, port_id, info->monitor.monitor_gpa);
    return connection_create(&sender->ports, id, &receiver->ports, port_id, info->port_type,
                             info->port_type == HV_PORT_TYPE_DOORBELL ? &doorbell : NULL);
}

static uint16_t connect_port(struct hypercall *call, uint64_t owner, uint32_t id, uint64_t receiver,
                             uint32_t port_id, const struct hv_connection_info *info)
{
    struct partition *p, *other;
    uint16_t status = hypercall_active(call, owner, HYPERCALL_PARENT | HYPERCALL_SELF, &p);

    if (status != HV_STATUS_SUCCESS)
        return status;
    status = other_side(call, receiver, p, &other);
    if (status == HV_STATUS_SUCCESS) {
        status = atomic_load(&other->state) == PARTITION_ACTIVE
                     ? make_connection(p, id, other, port_id, info)
                     : HV_STATUS_INVALID_PARTITION_STATE;
        partition_put(other);
    }
    partition_put(p);
    return status;
}

static bool connectable(uint32_t type)
{
    return type == HV_PORT_TYPE_MESSAGE || type == HV_PORT_TYPE_EVENT;
}

#define DOORBELL_FLAGS (HV_DOORBELL_TRIGGER_SIZE_MASK | HV_DOORBELL_TRIGGER_ANY_VALUE)

static bool info_valid(const struct hv_connection_info *info)
{
    if (info->port_type == HV_PORT_TYPE_DOORBELL)
        return !(info->doorbell.flags & ~DOORBELL_FLAGS) &&
               (info->doorbell.flags & HV_DOORBELL_TRIGGER_SIZE_MASK) <=
                   HV_DOORBELL_TRIGGER_SIZE_QWORD;
    if (info->port_type == HV_PORT_TYPE_MONITOR)
        return true;
    return connectable(info->port_type) && !info->message.reserved;
}

uint16_t hypercall_connect_port(struct hypercall *call)
{
    const struct hv_input_connect_port *in = call->input;
    const struct hv_connection_info *info = &in->connection_info;
    uint16_t status = vtl_status(in->connection_vtl);

    if (in->reserved0 || in->reserved1 || in->reserved2 || info->reserved || !info_valid(info) ||
        !hypercall_proximity_valid(&in->proximity_domain_info))
        return HV_STATUS_INVALID_PARAMETER;
    if (status != HV_STATUS_SUCCESS)
        return status;
    return connect_port(call, in->connection_partition_id, in->connection_id, in->port_partition_id,
                        in->port_id, info);
}

uint16_t hypercall_connect_port_old(struct hypercall *call)
{
    const struct hv_input_connect_port_old *in = call->input;
    const struct hv_connection_info info = {.port_type = in->port_type};

    if (in->reserved || !connectable(in->port_type))
        return HV_STATUS_INVALID_PARAMETER;
    return connect_port(call, in->connection_partition_id, in->connection_id, in->port_partition_id,
                        in->port_id, &info);
}

uint16_t hypercall_disconnect_port(struct hypercall *call)
{
    const struct hv_input_disconnect_port *in = call->input;
    struct partition *p;
    uint16_t status;

    if (in->flags & ~HV_DISCONNECT_PORT_DOORBELL)
        return HV_STATUS_INVALID_PARAMETER;
    status =
        hypercall_active(call, in->connection_partition_id, HYPERCALL_PARENT | HYPERCALL_SELF, &p);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = monitor_disconnect(p, in->connection_id);
    if (status == HV_STATUS_INVALID_CONNECTION_ID)
        status = connection_delete(&p->ports, in->connection_id);
    partition_put(p);
    return status;
}

// ---- use ----------------------------------------------------------------------------------------

// TLFS: Messages: "Virtual processors whose SynIC or SIM page is disabled will not be considered as
// potential targets." The connection is held, so VPs stay.
uint16_t port_send(struct port *port, port_attempt *attempt, const void *what)
{
    const struct partition *p = port->space->partition;
    const bool any = port->vp == HV_ANY_VP;
    const uint32_t count = any ? p->vp_limit : 1;
    uint32_t index = any ? __atomic_load_n(&port->preferred_vp, __ATOMIC_RELAXED) : port->vp;
    uint16_t status = HV_STATUS_INVALID_VP_INDEX;

    for (uint32_t i = 0; i < count; i++, index++) {
        if (any && index >= count)
            index = 0;
        struct vp *vp = partition_vp(p, index);
        if (!vp)
            continue;
        status = attempt(port, vp, what);
        if (status != HV_STATUS_INVALID_SYNIC_STATE)
            break;
    }
    if (status == HV_STATUS_SUCCESS)
        port->posts++;
    return status;
}

static uint16_t post_to(struct port *port, struct vp *vp, const void *what)
{
    const struct hv_input_post_message *in = what;
    struct synic_signals signals = {.count = 0};
    uint16_t status =
        port_post(port, &vp->active->synic, in->message_type, in->payload, in->payload_size,
                  partition_reference_time(vp->partition), &signals);

    vp_post_signals(vp, &signals);
    return status;
}

uint16_t hypercall_post_message(struct hypercall *call)
{
    const struct hv_input_post_message *in = call->input;
    struct port_space *space = &call->caller->ports;
    struct port *port;
    uint16_t status;

    if (in->reserved || in->message_type == HV_MESSAGE_TYPE_NONE ||
        (in->message_type & HV_MESSAGE_TYPE_HYPERVISOR_MASK) ||
        in->payload_size > HV_MESSAGE_PAYLOAD_MAX_BYTES)
        return HV_STATUS_INVALID_PARAMETER;
    status = connection_use(space, in->connection_id, HV_PORT_TYPE_MESSAGE, &port);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = port_send(port, post_to, in);
    connection_done(space, in->connection_id);
    return status;
}

static uint16_t signal_to(struct port *port, struct vp *vp, const void *what)
{
    const uint32_t *flag = what;
    struct synic_signals signals;

    if (synic_set_event_flag(&vp->active->synic, port->sint, *flag, &signals) ==
        SYNIC_EVENT_DISABLED)
        return HV_STATUS_INVALID_SYNIC_STATE;
    vp_post_signals(vp, &signals);
    return HV_STATUS_SUCCESS;
}

static inline uint16_t signal_event(struct port_space *space, uint32_t connection, uint32_t number)
{
    struct port *port;
    uint32_t flag;
    uint16_t status = connection_use(space, connection, HV_PORT_TYPE_EVENT, &port);

    if (status != HV_STATUS_SUCCESS)
        return status;
    flag = port->base_flag + number;
    status =
        number < port->flag_count ? port_send(port, signal_to, &flag) : HV_STATUS_INVALID_PARAMETER;
    connection_done(space, connection);
    return status;
}

uint16_t hypercall_signal_event(struct hypercall *call)
{
    const struct hv_input_signal_event *in = call->input;

    if (in->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    return signal_event(&call->caller->ports, in->connection_id, in->flag_number);
}

uint16_t ipc_signal_event(struct partition *sender, uint32_t connection, uint32_t number)
{
    return sender->privileges & HV_PRIV_SIGNAL_EVENTS
               ? signal_event(&sender->ports, connection, number)
               : HV_STATUS_ACCESS_DENIED;
}

// ---- direct forms: by a parent, to a VP of its child --------------------------------------------

uint16_t hypercall_signal_event_direct(struct hypercall *call)
{
    const struct hv_input_signal_event_direct *in = call->input;
    struct hv_output_signal_event_direct *out = call->output;
    struct synic_signals signals;
    struct partition *p;
    struct vp *vp;
    uint16_t status = vtl_status(in->target_vtl);

    if (in->target_sint >= HV_SYNIC_SINT_COUNT || in->flag_number >= HV_EVENT_FLAGS_COUNT)
        return HV_STATUS_INVALID_PARAMETER;
    if (status == HV_STATUS_SUCCESS)
        status = hypercall_vp(call, in->target_partition, in->target_vp, HYPERCALL_PARENT, &p, &vp);
    if (status != HV_STATUS_SUCCESS)
        return status;
    switch (synic_set_event_flag(&vp->active->synic, in->target_sint, in->flag_number, &signals)) {
    case SYNIC_EVENT_DISABLED:
        status = HV_STATUS_INVALID_SYNIC_STATE;
        break;
    case SYNIC_NEWLY_SET:
        out->newly_signaled = 1;
        vp_post_signals(vp, &signals);
        break;
    case SYNIC_ALREADY:
        break;
    }
    partition_put(p);
    return status;
}

static uint16_t post_direct(struct vp *vp, uint32_t sint, const struct hv_message *message)
{
    struct synic_signals signals;

    switch (synic_post_message(&vp->active->synic, sint, message, &signals)) {
    case SYNIC_DISABLED:
        return HV_STATUS_INVALID_SYNIC_STATE;
    case SYNIC_BUSY:
        return HV_STATUS_OBJECT_IN_USE;
    default:
        vp_post_signals(vp, &signals);
        return HV_STATUS_SUCCESS;
    }
}

uint16_t hypercall_post_message_direct(struct hypercall *call)
{
    const struct hv_input_post_message_direct *in = call->input;
    struct hv_message message;
    struct partition *p;
    struct vp *vp;
    uint16_t status = vtl_status(in->vtl);

    memcpy(&message, in->message, sizeof(message));
    if (in->sint_index >= HV_SYNIC_SINT_COUNT ||
        message.header.message_type == HV_MESSAGE_TYPE_NONE ||
        message.header.payload_size > HV_MESSAGE_PAYLOAD_MAX_BYTES)
        return HV_STATUS_INVALID_PARAMETER;
    if (status == HV_STATUS_SUCCESS)
        status = hypercall_vp(call, in->partition_id, in->vp_index, HYPERCALL_PARENT, &p, &vp);
    if (status != HV_STATUS_SUCCESS)
        return status;
    status = post_direct(vp, in->sint_index, &message);
    partition_put(p);
    return status;
}
