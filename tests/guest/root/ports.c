// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ports and connections, messages and events between the root and a child, in both directions.
// TLFS: Inter-Partition Communication; tlfs-reference 1.10.
//
// rig: --lps 2
// rig: --lps 1
// timeout: 300
#include "con.h"
#include "cpu.h"
#include "hv/call_ipc.h"
#include "hv/msr.h"
#include "hv/partition.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "remote.h"
#include "rootprobe.h"
#include "tap.h"

#define SINT   4
#define VECTOR 0x54
#define SELF   HV_PARTITION_ID_SELF
#define CHILD_PRIVILEGES                                                                           \
    (HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX |         \
     HV_PRIV_ACCESS_INTR_CTRL_REGS)
#define TALKS (CHILD_PRIVILEGES | HV_PRIV_POST_MESSAGES | HV_PRIV_SIGNAL_EVENTS)

_Alignas(4096) static volatile struct hv_message_page sim;
_Alignas(4096) static volatile struct hv_synic_event_flags_page sief;
static struct remote r;

#define OK      HV_STATUS_SUCCESS
#define MESSAGE HV_PORT_TYPE_MESSAGE
#define EVENT   HV_PORT_TYPE_EVENT

// ---- calls ----------------------------------------------------------------------------------

static struct hv_input_create_port port_input(uint64_t owner, uint64_t partner, uint32_t id,
                                              uint32_t type, uint32_t sint, uint32_t vp)
{
    struct hv_input_create_port in = {
        .port_partition_id = owner, .port_id = id, .connection_partition_id = partner};
    in.port_info.port_type = type;
    in.port_info.message.target_sint = sint;
    in.port_info.message.target_vp = vp;
    if (type == EVENT) {
        in.port_info.event.flag_count = 1;
    }
    return in;
}

static uint16_t create(const struct hv_input_create_port *in)
{
    return in->port_partition_id == r.child.id
               ? child_paid(&r.child, HVCALL_CREATE_PORT, in, sizeof(*in))
               : parent_call(HVCALL_CREATE_PORT, in, sizeof(*in));
}

static uint16_t create_port(uint64_t owner, uint64_t partner, uint32_t id, uint32_t type,
                            uint32_t vp)
{
    struct hv_input_create_port in = port_input(owner, partner, id, type, SINT, vp);
    return create(&in);
}

static uint16_t connect(uint64_t owner, uint32_t id, uint64_t receiver, uint32_t port,
                        uint32_t type)
{
    struct hv_input_connect_port in = {.connection_partition_id = owner,
                                       .connection_id = id,
                                       .port_partition_id = receiver,
                                       .port_id = port,
                                       .connection_info = {.port_type = type}};
    return owner == r.child.id ? child_paid(&r.child, HVCALL_CONNECT_PORT, &in, sizeof(in))
                               : parent_call(HVCALL_CONNECT_PORT, &in, sizeof(in));
}

static uint16_t delete_port(uint64_t owner, uint32_t id)
{
    struct hv_input_delete_port in = {owner, id, 0};
    return parent_call(HVCALL_DELETE_PORT, &in, sizeof(in));
}

static uint16_t disconnect(uint64_t owner, uint32_t id)
{
    struct hv_input_disconnect_port in = {owner, id, 0};
    return parent_call(HVCALL_DISCONNECT_PORT, &in, sizeof(in));
}

static struct hv_input_post_message message_input(uint32_t connection, uint32_t type, uint32_t size)
{
    struct hv_input_post_message in = {
        .connection_id = connection, .message_type = type, .payload_size = size};
    for (unsigned i = 0; i < sizeof(in.payload); i++) {
        in.payload[i] = (uint8_t)(type + i);
    }
    return in;
}

static uint16_t post(uint32_t connection, uint32_t type)
{
    struct hv_input_post_message in = message_input(connection, type, 40);
    return parent_call(HVCALL_POST_MESSAGE, &in, sizeof(in));
}

static uint16_t signal(uint32_t connection, uint16_t flag)
{
    struct hv_input_signal_event in = {connection, flag, 0};
    return parent_call(HVCALL_SIGNAL_EVENT, &in, sizeof(in));
}

static uint64_t signal_control(void)
{
    return hv_hypercall_control(HVCALL_SIGNAL_EVENT, true, 0, 0);
}

static uint16_t child_post(uint32_t vp, const struct hv_input_post_message *in)
{
    memcpy(remote_input(&r, vp), in, sizeof(*in));
    return hv_hypercall_result_status(remote_call(
        &r, vp, hv_hypercall_control(HVCALL_POST_MESSAGE, false, 0, 0), REMOTE_INPUT(vp), 0));
}

static uint16_t child_signal(uint32_t vp, uint64_t connection, uint64_t flag)
{
    return hv_hypercall_result_status(
        remote_call(&r, vp, signal_control(), connection | flag << 32, 0));
}

// Units of 100 ns.
static uint64_t now(void)
{
    return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

static uint64_t post_count(uint64_t owner, uint32_t id)
{
    struct hv_input_get_port_property in = {.partition_id = owner, .port_id = id};
    struct hv_output_port_property out = {~0ul};
    parent_call_out(HVCALL_GET_PORT_PROPERTY, &in, sizeof(in), &out, sizeof(out));
    return out.property_value;
}

static uint64_t paid_by(uint64_t partition)
{
    struct hv_output_get_memory_balance balance = {0};
    parent_balance(partition, &balance);
    return balance.pages_in_use;
}

// ---- the child's slots ----------------------------------------------------------------------

static uint32_t child_slot(uint32_t vp)
{
    return REMOTE_SIM(vp) + SINT * HV_MESSAGE_SIZE;
}

static uint32_t child_type(uint32_t vp)
{
    return (uint32_t)remote_load(&r, vp, child_slot(vp));
}

static bool child_sees_pending(uint32_t vp)
{
    return remote_load(&r, vp, child_slot(vp)) >> 40 & HV_MESSAGE_FLAG_PENDING;
}

static void child_frees(uint32_t vp)
{
    remote_store(&r, vp, child_slot(vp), 0);
    remote_wrmsr(&r, vp, HV_X64_MSR_EOM, 0);
}

static void child_source(uint32_t vp, uint64_t value)
{
    remote_wrmsr(&r, vp, HV_X64_MSR_SINT(SINT), value);
}

// ---- what is refused ------------------------------------------------------------------------

static void test_privileges(void)
{
    struct hv_input_post_message in = message_input(1, 1, 8);
    struct hv_input_create_port port = port_input(SELF, SELF, 1, EVENT, SINT, 0);
    if (!tap_ok(remote_start(&r, CHILD_PRIVILEGES, 1), "a child without privileges to talk")) {
        return;
    }
    tap_is(child_post(0, &in), HV_STATUS_ACCESS_DENIED,
           "PostMessage: ACCESS_DENIED without the PostMessages privilege");
    tap_is(child_signal(0, 1, 0), HV_STATUS_ACCESS_DENIED,
           "SignalEvent: ACCESS_DENIED without the SignalEvents privilege");
    memcpy(remote_input(&r, 0), &port, sizeof(port));
    tap_is(hv_hypercall_result_status(remote_call(
               &r, 0, hv_hypercall_control(HVCALL_CREATE_PORT, false, 0, 0), REMOTE_INPUT(0), 0)),
           HV_STATUS_ACCESS_DENIED, "CreatePort: ACCESS_DENIED without the CreatePort privilege");
    tap_ok(remote_delete(&r), "it goes without a trace");
}

struct refusal {
    struct hv_input_create_port in;
    uint16_t status;
    const char *what;
};

static void test_create_port(void)
{
    const uint64_t id = r.child.id;
    const struct refusal refusals[] = {
        {port_input(id, SELF, 0x1000000, EVENT, SINT, 0), HV_STATUS_INVALID_PORT_ID,
         "an id with bits 31:24"},
        {port_input(id, SELF, 1, EVENT, 0, 0), HV_STATUS_INVALID_PARAMETER, "SINT 0"},
        {port_input(id, SELF, 1, EVENT, 16, 0), HV_STATUS_INVALID_PARAMETER, "SINT 16"},
        {port_input(id, SELF, 1, 5, SINT, 0), HV_STATUS_INVALID_PARAMETER, "type 5"},
        {port_input(id, SELF, 1, 0, SINT, 0), HV_STATUS_INVALID_PARAMETER, "type 0"},
        {port_input(id, SELF, 1, EVENT, SINT, 7), HV_STATUS_INVALID_VP_INDEX, "VP 7"},
        {port_input(id, id, 1, EVENT, SINT, 0), HV_STATUS_INVALID_PARTITION_ID,
         "one partition on both sides"},
        {port_input(id, 0x123400, 1, EVENT, SINT, 0), HV_STATUS_INVALID_PARTITION_ID,
         "no such partition on the other side"},
        {port_input(0x123400, SELF, 1, EVENT, SINT, 0), HV_STATUS_INVALID_PARTITION_ID,
         "no such partition"},
    };
    uint64_t before = paid_by(id);
    for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        tap_is(create(&refusals[i].in), refusals[i].status, "CreatePort: %s", refusals[i].what);
    }
    struct hv_input_create_port in = port_input(id, SELF, 1, EVENT, SINT, 0);
    in.port_info.event.flag_count = 0;
    tap_is(create(&in), HV_STATUS_INVALID_PARAMETER, "CreatePort: FlagCount >= 1");
    in.port_info.event.base_flag_number = 2047;
    in.port_info.event.flag_count = 2;
    tap_is(create(&in), HV_STATUS_INVALID_PARAMETER, "CreatePort: Base+Count within 2048");
    in.reserved = 1;
    tap_is(create(&in), HV_STATUS_INVALID_PARAMETER, "CreatePort: reserved fields");
    in.reserved = 0;
    in.port_vtl = 1;
    tap_is(create(&in), HV_STATUS_INVALID_VTL_STATE, "CreatePort: a VTL that is not enabled");
    tap_is(paid_by(id), before, "refusals cost nothing");
    in.port_vtl = 0;
    in.port_info.event.flag_count = 1;
    tap_is(create(&in), OK, "CreatePort: the last flag");
    tap_is(create(&in), HV_STATUS_INVALID_PORT_ID, "CreatePort: INVALID_PORT_ID, in use");
    tap_is(connect(SELF, 1, id, 2, EVENT), HV_STATUS_INVALID_PORT_ID, "ConnectPort: no such port");
    tap_is(connect(SELF, 1, id, 1, MESSAGE), HV_STATUS_INVALID_PORT_ID,
           "ConnectPort: a port of another type");
    tap_is(connect(SELF, 0x1000001, id, 1, EVENT), HV_STATUS_INVALID_CONNECTION_ID,
           "ConnectPort: an id with bits 31:24");
    tap_is(connect(SELF, 1, SELF, 1, EVENT), HV_STATUS_INVALID_PARTITION_ID,
           "ConnectPort: one partition on both sides");
    tap_is(connect(SELF, 1, id, 1, EVENT), OK, "ConnectPort");
    tap_is(connect(SELF, 2, id, 1, EVENT), HV_STATUS_INVALID_PORT_ID,
           "ConnectPort: INVALID_PORT_ID, already connected");
    tap_is(signal(1, 1), HV_STATUS_INVALID_PARAMETER, "SignalEvent: FlagNumber >= flag count");
    tap_is(post(1, 1), HV_STATUS_INVALID_PORT_ID, "PostMessage: not a message port");
    tap_is(delete_port(id, 2), HV_STATUS_INVALID_PORT_ID, "DeletePort: no such port");
    tap_is(delete_port(id, 1), OK, "DeletePort");
    tap_is(signal(1, 0), HV_STATUS_INVALID_PORT_ID,
           "If a port is deleted, its connection, while it remains, becomes useless");
    tap_is(disconnect(SELF, 1), OK, "DisconnectPort");
    tap_is(disconnect(SELF, 1), HV_STATUS_INVALID_CONNECTION_ID, "DisconnectPort: it is gone");
    tap_is(signal(1, 0), HV_STATUS_INVALID_CONNECTION_ID, "SignalEvent: no such connection");
    tap_is(paid_by(id), before, "a deleted port has been paid back");
}

static uint16_t property(uint32_t id, uint32_t code)
{
    struct hv_input_get_port_property in = {
        .partition_id = r.child.id, .port_id = id, .property_code = code};
    struct hv_output_port_property out;
    return parent_call_out(HVCALL_GET_PORT_PROPERTY, &in, sizeof(in), &out, sizeof(out));
}

static uint16_t set_property(uint32_t id, uint32_t code, uint64_t value)
{
    struct hv_input_set_port_property in = {
        .partition_id = r.child.id, .port_id = id, .property_code = code, .property_value = value};
    struct hv_output_port_property out;
    return parent_call_out(HVCALL_SET_PORT_PROPERTY, &in, sizeof(in), &out, sizeof(out));
}

static void test_properties(void)
{
    const uint32_t preferred = HV_PORT_PROPERTY_PREFERRED_TARGET_VP;
    create_port(r.child.id, SELF, 1, EVENT, 0);
    tap_is(property(1, 2), HV_STATUS_UNKNOWN_PROPERTY, "GetPortProperty: UNKNOWN_PROPERTY");
    tap_is(property(2, 0), HV_STATUS_INVALID_PORT_ID, "GetPortProperty: no such port");
    tap_is(property(1, preferred), HV_STATUS_UNKNOWN_PROPERTY,
           "GetPortProperty: only ports with ANY have a preferred target VP");
    tap_is(set_property(1, preferred, 1), HV_STATUS_UNKNOWN_PROPERTY,
           "SetPortProperty: only ports with ANY have one");
    tap_is(set_property(1, HV_PORT_PROPERTY_POST_COUNT, 1), HV_STATUS_UNKNOWN_PROPERTY,
           "SetPortProperty: the post count cannot be set");
    delete_port(r.child.id, 1);
}

static void test_reserved(void)
{
    const uint64_t id = r.child.id;
    struct hv_input_delete_port gone = {id, 1, 1};
    struct hv_input_disconnect_port cut = {SELF, 1, 2};
    struct hv_input_connect_port in = {.connection_partition_id = SELF,
                                       .connection_id = 1,
                                       .port_partition_id = id,
                                       .port_id = 1,
                                       .connection_info = {.port_type = MESSAGE}};
    create_port(id, SELF, 1, MESSAGE, 0);
    in.connection_vtl = 1;
    tap_is(parent_call(HVCALL_CONNECT_PORT, &in, sizeof(in)), HV_STATUS_INVALID_VTL_STATE,
           "ConnectPort: a VTL that is not enabled");
    in.connection_vtl = 0;
    in.reserved2 = 1;
    tap_is(parent_call(HVCALL_CONNECT_PORT, &in, sizeof(in)), HV_STATUS_INVALID_PARAMETER,
           "ConnectPort: reserved fields");
    in.reserved2 = 0;
    in.connection_info.message.reserved = 1;
    tap_is(parent_call(HVCALL_CONNECT_PORT, &in, sizeof(in)), HV_STATUS_INVALID_PARAMETER,
           "ConnectPort: reserved connection info");
    tap_is(connect(SELF, 1, id, 1, MESSAGE), OK, "ConnectPort: without any it is accepted");
    tap_is(parent_call(HVCALL_DISCONNECT_PORT, &cut, sizeof(cut)), HV_STATUS_INVALID_PARAMETER,
           "DisconnectPort: reserved flags");
    tap_is(parent_call(HVCALL_DELETE_PORT, &gone, sizeof(gone)), HV_STATUS_INVALID_PARAMETER,
           "DeletePort: reserved fields");
    tap_is(delete_port(id, 1), OK, "DeletePort: without any the port goes");
    tap_is(post(1, 1), HV_STATUS_INVALID_PORT_ID, "PostMessage: port deleted");
    disconnect(SELF, 1);
}

static void test_message_parameters(void)
{
    struct hv_input_post_message in = message_input(1, 0, 8);
    create_port(r.child.id, SELF, 1, MESSAGE, 0);
    connect(SELF, 1, r.child.id, 1, MESSAGE);
    tap_is(parent_call(HVCALL_POST_MESSAGE, &in, sizeof(in)), HV_STATUS_INVALID_PARAMETER,
           "PostMessage: type 0");
    in = message_input(1, 0x80000001, 8);
    tap_is(parent_call(HVCALL_POST_MESSAGE, &in, sizeof(in)), HV_STATUS_INVALID_PARAMETER,
           "PostMessage: type with bit 31");
    in = message_input(1, 1, 241);
    tap_is(parent_call(HVCALL_POST_MESSAGE, &in, sizeof(in)), HV_STATUS_INVALID_PARAMETER,
           "PostMessage: PayloadSize > 240");
    tap_is(signal(1, 0), HV_STATUS_INVALID_PORT_ID, "SignalEvent: not an event port");
    tap_is(post(1, 1), HV_STATUS_INVALID_SYNIC_STATE,
           "Virtual processors whose SynIC or SIM page is disabled will not be considered as "
           "potential targets");
    delete_port(r.child.id, 1);
    disconnect(SELF, 1);
}

// ---- messages to the child ------------------------------------------------------------------

static void test_messages(void)
{
    const uint64_t id = r.child.id;
    uint64_t before = paid_by(id);
    create_port(id, SELF, 0x77, MESSAGE, 0);
    connect(SELF, 0x88, id, 0x77, MESSAGE);
    child_source(0, VECTOR);
    bool posted = true;
    for (uint32_t i = 1; i <= 17; i++) {
        posted &= post(0x88, i) == OK;
    }
    tap_ok(posted, "one message goes into the slot, sixteen wait in the port's buffers");
    tap_is(post(0x88, 18), HV_STATUS_INSUFFICIENT_BUFFERS,
           "all 16 guest message buffers of the port in use: INSUFFICIENT_BUFFERS");
    tap_ok(remote_pending(&r, 0, VECTOR), "the hypervisor generates an edge-triggered interrupt");
    tap_is(remote_load(&r, 0, child_slot(0) + 8), 0x77, "OriginationId is the port's id");
    tap_ok((uint8_t)(remote_load(&r, 0, child_slot(0)) >> 32) == 40 &&
               (uint8_t)remote_load(&r, 0, child_slot(0) + 16) == 1 &&
               (uint8_t)remote_load(&r, 0, child_slot(0) + 48) == 33,
           "size and payload are as posted");
    bool ordered = true, pending = true;
    for (uint32_t i = 1; i <= 17; i++) {
        ordered &= child_type(0) == i;
        pending &= child_sees_pending(0) == (i < 17);
        child_frees(0);
    }
    tap_ok(ordered, "Messages arrive in the order in which they have been successfully posted");
    tap_ok(pending, "MessagePending is set exactly while others wait");
    tap_is(child_type(0), 0, "If the message queues are all empty, a write to EOM is a no-op");
    tap_is(post_count(id, 0x77), 17, "the post count is that of the successful ones");
    delete_port(id, 0x77);
    disconnect(SELF, 0x88);
    tap_is(paid_by(id), before,
           "These message buffers are returned to the memory pool when the port is deleted");
}

static void test_next_delivers(void)
{
    create_port(r.child.id, SELF, 1, MESSAGE, 0);
    connect(SELF, 1, r.child.id, 1, MESSAGE);
    post(1, 1);
    post(1, 2);
    remote_store(&r, 0, child_slot(0), 0);
    post(1, 3);
    tap_is(child_type(0), 2, "queued messages are delivered when another message is queued");
    child_frees(0);
    tap_is(child_type(0), 3, "and the later one behind them");
    child_source(0, HV_SINT_MASKED | VECTOR);
    child_frees(0);
    tap_is(post(1, 4), OK, "a masked source gets its message");
    tap_is(child_type(0), 4, "which EOM drains");
    child_frees(0);
    post(1, 5);
    post(1, 6);
    post(1, 7);
    disconnect(SELF, 1);
    child_frees(0);
    tap_is(child_type(0), 6, "Breaking a connection will not affect undelivered messages");
    uint64_t before = paid_by(r.child.id);
    delete_port(r.child.id, 1);
    child_frees(0);
    tap_is(child_type(0), 0,
           "Deletion of the target port will always free all of the port's "
           "message buffers, those that contain queued messages too");
    tap_ok(paid_by(r.child.id) < before, "and their memory comes back");
}

// ---- events to the child --------------------------------------------------------------------

static bool child_flag(uint32_t vp, uint32_t flag)
{
    return remote_load(&r, vp, REMOTE_SIEF(vp) + SINT * 256 + flag / 64 * 8) >> flag % 64 & 1;
}

static void test_events(void)
{
    struct hv_input_create_port in = port_input(r.child.id, SELF, 3, EVENT, SINT, 0);
    in.port_info.event.base_flag_number = 100;
    in.port_info.event.flag_count = 70;
    create(&in);
    connect(SELF, 3, r.child.id, 3, EVENT);
    child_source(0, HV_SINT_MASKED | (VECTOR + 1));
    tap_is(signal(3, 69), HV_STATUS_INVALID_SYNIC_STATE,
           "If the SINTx is masked, HvSignalEvent returns HV_STATUS_INVALID_SYNIC_STATE");
    tap_ok(!child_flag(0, 169), "and no flag is set");
    child_source(0, HV_SINT_POLLING | (VECTOR + 1));
    tap_is(signal(3, 0), OK, "a polled source is signalled");
    tap_ok(child_flag(0, 100) && !remote_pending(&r, 0, VECTOR + 1),
           "its flag is set, and no interrupt comes");
    child_source(0, HV_SINT_POLLING | HV_SINT_MASKED | (VECTOR + 1));
    tap_ok(signal(3, 1) == OK && child_flag(0, 101),
           "Setting the polling bit will have the effect of unmasking an interrupt source");
    child_source(0, VECTOR + 1);
    tap_is(signal(3, 0), OK, "a flag that is set already is signalled again");
    tap_ok(!remote_pending(&r, 0, VECTOR + 1), "an interrupt comes only if it was clear");
    tap_is(signal(3, 69), OK, "the last flag of the port");
    tap_ok(child_flag(0, 169) && remote_pending(&r, 0, VECTOR + 1),
           "the flag is base + number, and an interrupt comes");
    tap_is(signal(3, 70), HV_STATUS_INVALID_PARAMETER, "one more is refused");
    child_source(0, HV_SINT_PROXY | (VECTOR + 1));
    tap_ok(signal(3, 2) == HV_STATUS_INVALID_SYNIC_STATE && !child_flag(0, 102),
           "SINT proxied: INVALID_SYNIC_STATE");
    child_source(0, VECTOR + 1);
    remote_wrmsr(&r, 0, HV_X64_MSR_SIEFP, 0);
    tap_is(signal(3, 1), HV_STATUS_INVALID_SYNIC_STATE, "SIEFP disabled: INVALID_SYNIC_STATE");
    remote_wrmsr(&r, 0, HV_X64_MSR_SIEFP, REMOTE_SIEF(0) | HV_PAGE_MSR_ENABLE);
    delete_port(r.child.id, 3);
    disconnect(SELF, 3);
}

// The calls of before ports had VTLs: the same ports and connections.
static void test_old_forms(void)
{
    const struct hv_input_create_port now_form = port_input(r.child.id, SELF, 12, EVENT, SINT, 0);
    struct hv_input_create_port_old port = {.port_partition_id = r.child.id,
                                            .port_id = 12,
                                            .connection_partition_id = SELF,
                                            .port_info = now_form.port_info};
    struct hv_input_connect_port_old in = {.connection_partition_id = SELF,
                                           .connection_id = 12,
                                           .port_partition_id = r.child.id,
                                           .port_id = 12,
                                           .port_type = EVENT};
    tap_is(child_paid(&r.child, HVCALL_CREATE_PORT_OLD, &port, sizeof(port)), OK,
           "CreatePort in its old form");
    tap_is(child_paid(&r.child, HVCALL_CREATE_PORT_OLD, &port, sizeof(port)), create(&now_form),
           "its id is taken then, for both forms");
    in.reserved = 1;
    tap_is(parent_call(HVCALL_CONNECT_PORT_OLD, &in, sizeof(in)), HV_STATUS_INVALID_PARAMETER,
           "ConnectPort in its old form: reserved fields");
    in.reserved = 0;
    in.port_type = MESSAGE;
    tap_is(parent_call(HVCALL_CONNECT_PORT_OLD, &in, sizeof(in)), HV_STATUS_INVALID_PORT_ID,
           "not to a port of another type");
    in.port_type = EVENT;
    tap_is(parent_call(HVCALL_CONNECT_PORT_OLD, &in, sizeof(in)), OK, "and to the port");
    child_source(0, VECTOR);
    tap_ok(signal(12, 0) == OK && child_flag(0, 0), "whose events come");
    delete_port(r.child.id, 12);
    disconnect(SELF, 12);
}

static void test_any(void)
{
    struct hv_input_set_port_property preferred = {.partition_id = r.child.id,
                                                   .port_id = 4,
                                                   .property_code =
                                                       HV_PORT_PROPERTY_PREFERRED_TARGET_VP,
                                                   .property_value = 1};
    struct hv_output_port_property out;
    create_port(r.child.id, SELF, 4, MESSAGE, HV_ANY_VP);
    connect(SELF, 4, r.child.id, 4, MESSAGE);
    remote_wrmsr(&r, 0, HV_X64_MSR_SCONTROL, 0);
    tap_is(post(4, 41), HV_STATUS_INVALID_SYNIC_STATE, "ANY: SynIC disabled on every VP");
    remote_synic_on(&r, 1);
    tap_is(post(4, 42), OK, "ANY: a VP that can take it");
    tap_ok(child_type(1) == 42 && child_type(0) == 0, "gets the message");
    remote_wrmsr(&r, 0, HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    post(4, 43);
    tap_is(child_type(0), 43, "ANY: the first VP otherwise");
    tap_is(
        parent_call_out(HVCALL_SET_PORT_PROPERTY, &preferred, sizeof(preferred), &out, sizeof(out)),
        OK, "SetPortProperty: the preferred target VP");
    child_frees(1);
    post(4, 44);
    tap_is(child_type(1), 44, "which then gets the next");
    child_frees(0);
    child_frees(1);
    delete_port(r.child.id, 4);
    disconnect(SELF, 4);
}

// ---- direct forms ---------------------------------------------------------------------------

static uint16_t post_direct(uint32_t vp, uint8_t vtl, uint8_t sint, uint32_t type)
{
    struct hv_input_post_message_direct in = {
        .partition_id = r.child.id, .vp_index = vp, .vtl = vtl, .sint_index = sint};
    struct hv_message m = {.header = {.message_type = type, .payload_size = 8}};
    memcpy(in.message, &m, sizeof(m));
    return parent_call(HVCALL_POST_MESSAGE_DIRECT, &in, sizeof(in));
}

static uint16_t signal_direct(uint32_t vp, uint8_t sint, uint16_t flag, uint8_t *newly)
{
    struct hv_input_signal_event_direct in = {
        .target_partition = r.child.id, .target_vp = vp, .target_sint = sint, .flag_number = flag};
    struct hv_output_signal_event_direct out = {.newly_signaled = 0xff};
    uint16_t status =
        parent_call_out(HVCALL_SIGNAL_EVENT_DIRECT, &in, sizeof(in), &out, sizeof(out));
    *newly = out.newly_signaled;
    return status;
}

static void test_direct(void)
{
    uint8_t newly;
    child_source(0, VECTOR + 2);
    tap_is(post_direct(0, 0, SINT, 0x80000010), OK, "PostMessageDirect");
    tap_is(child_type(0), 0x80000010, "the message is in its slot");
    tap_ok(remote_pending(&r, 0, VECTOR + 2), "and the interrupt is raised");
    tap_is(post_direct(0, 0, SINT, 2), HV_STATUS_OBJECT_IN_USE,
           "PostMessageDirect: slot busy: OBJECT_IN_USE");
    child_frees(0);
    tap_is(child_type(0), 0, "and nothing was queued");
    tap_is(post_direct(0, 0, SINT, 0), HV_STATUS_INVALID_PARAMETER, "PostMessageDirect: type 0");
    tap_is(post_direct(0, 0, 16, 1), HV_STATUS_INVALID_PARAMETER, "PostMessageDirect: SINT 16");
    tap_is(post_direct(9, 0, SINT, 1), HV_STATUS_INVALID_VP_INDEX, "PostMessageDirect: VP 9");
    tap_is(post_direct(0, 1, SINT, 1), HV_STATUS_INVALID_VTL_STATE, "PostMessageDirect: VTL 1");
    tap_ok(signal_direct(0, SINT, 2047, &newly) == OK && newly == 1 && child_flag(0, 2047),
           "SignalEventDirect sets the flag and says that it was clear");
    tap_ok(signal_direct(0, SINT, 2047, &newly) == OK && newly == 0, "or that it was not");
    tap_is(signal_direct(0, SINT, 2048, &newly), HV_STATUS_INVALID_PARAMETER,
           "SignalEventDirect: flag 2048");
    child_source(0, HV_SINT_PROXY | (VECTOR + 2));
    tap_is(remote_rdmsr(&r, 0, HV_X64_MSR_SINT(SINT)), HV_SINT_PROXY | (VECTOR + 2),
           "SINTx: the proxy bit reads back");
    tap_is(post_direct(0, 0, SINT, 1), HV_STATUS_INVALID_SYNIC_STATE,
           "PostMessageDirect: SINT proxied: INVALID_SYNIC_STATE");
    tap_is(child_type(0), 0, "and its slot stays empty");
    tap_ok(signal_direct(0, SINT, 6, &newly) == HV_STATUS_INVALID_SYNIC_STATE && !child_flag(0, 6),
           "SignalEventDirect: SINT proxied: INVALID_SYNIC_STATE");
    child_source(0, HV_SINT_MASKED | (VECTOR + 2));
    tap_is(post_direct(0, 0, SINT, 1), HV_STATUS_INVALID_SYNIC_STATE,
           "PostMessageDirect: SINT masked: INVALID_SYNIC_STATE");
    tap_is(signal_direct(0, SINT, 5, &newly), HV_STATUS_INVALID_SYNIC_STATE,
           "SignalEventDirect: SINT masked: INVALID_SYNIC_STATE");
}

// ---- from the child -------------------------------------------------------------------------

static bool take(uint32_t *type)
{
    volatile struct hv_message *slot = &sim.slot[SINT];
    *type = slot->header.message_type;
    if (*type == HV_MESSAGE_TYPE_NONE) {
        return false;
    }
    slot->header.message_type = HV_MESSAGE_TYPE_NONE;
    __asm__ volatile("mfence" ::: "memory");
    if (slot->header.flags & HV_MESSAGE_FLAG_PENDING) {
        wrmsr(HV_X64_MSR_EOM, 0);
    }
    return true;
}

static void test_from_child(void)
{
    struct hv_input_post_message in = message_input(10, 77, 240);
    struct hv_input_create_port event = port_input(SELF, r.child.id, 0xabcd, EVENT, SINT, 0);
    uint64_t own = paid_by(SELF), childs = paid_by(r.child.id);
    uint32_t type;
    event.port_info.event.base_flag_number = 2040;
    event.port_info.event.flag_count = 8;
    tap_is(create_port(SELF, r.child.id, 0xabc, MESSAGE, 0), OK, "a message port of the root's");
    tap_is(create(&event), OK, "an event port of the root's");
    tap_is(connect(r.child.id, 10, SELF, 0xabc, MESSAGE), OK, "the child's connection to one");
    tap_is(connect(r.child.id, 11, SELF, 0xabcd, EVENT), OK, "and to the other");
    tap_is(child_post(1, &in), OK, "the child posts a message");
    const volatile struct hv_message *slot = &sim.slot[SINT];
    tap_ok(slot->header.message_type == 77 && slot->header.payload_size == 240 &&
               slot->header.origination_id == 0xabc && slot->payload[0] == 77 &&
               slot->payload[239] == (uint8_t)(77 + 239),
           "type, size, origin and payload are there");
    take(&type);
    tap_is(child_signal(0, 11, 7), OK, "the child signals an event, in registers");
    tap_is(sief.event_flags[SINT].flags8[255], 0x80, "the flag is set");
    tap_is(child_signal(0, 11, 8), HV_STATUS_INVALID_PARAMETER, "not one beyond the port's");
    const uint64_t hostile[] = {0, 1, 9, 12, 266, 0x10b, 0x100000b, 0xff00000b, 0xffffffff};
    bool refused = true;
    for (unsigned i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        refused &= child_signal(0, hostile[i], 0) == HV_STATUS_INVALID_CONNECTION_ID;
        in.connection_id = (uint32_t)hostile[i];
        refused &= child_post(0, &in) == HV_STATUS_INVALID_CONNECTION_ID;
    }
    tap_ok(refused, "any other id: INVALID_CONNECTION_ID");
    tap_is(child_signal(0, 11, 1ul << 16), HV_STATUS_INVALID_PARAMETER, "reserved bits");
    in.connection_id = 11;
    tap_is(child_post(0, &in), HV_STATUS_INVALID_PORT_ID, "a message to an event port");
    tap_is(child_signal(0, 10, 0), HV_STATUS_INVALID_PORT_ID, "an event to a message port");
    delete_port(SELF, 0xabc);
    delete_port(SELF, 0xabcd);
    tap_is(paid_by(SELF), own, "the root's pool has its ports back");
    disconnect(r.child.id, 10);
    disconnect(r.child.id, 11);
    tap_is(paid_by(r.child.id), childs, "the child's has its connections back");
}

// ---- doorbells ------------------------------------------------------------------------------

#define BELL       0x100000u // no memory of the child's
#define BELLS_SINT 5

_Alignas(4096) static volatile struct hv_synic_event_ring_page rings;
static uint32_t ring_tail;

static uint16_t hang(uint32_t id, uint64_t gpa, uint64_t value, uint64_t flags)
{
    struct hv_input_create_port port =
        port_input(SELF, r.child.id, id, HV_PORT_TYPE_DOORBELL, BELLS_SINT, HV_ANY_VP);
    struct hv_input_connect_port in = {.connection_partition_id = r.child.id,
                                       .connection_id = id,
                                       .port_partition_id = SELF,
                                       .port_id = id};
    in.connection_info.port_type = HV_PORT_TYPE_DOORBELL;
    in.connection_info.doorbell.gpa = gpa;
    in.connection_info.doorbell.trigger_value = value;
    in.connection_info.doorbell.flags = flags;
    uint16_t status = create(&port);
    return status ? status : child_paid(&r.child, HVCALL_CONNECT_PORT, &in, sizeof(in));
}

// The next entry of the ring; 0: none.
static uint32_t take_bell(void)
{
    volatile struct hv_synic_event_ring *ring = &rings.ring[BELLS_SINT];
    uint32_t id = ring->data[ring_tail];
    if (id) {
        ring->data[ring_tail] = 0;
        ring_tail = (ring_tail + 1) % HV_SYNIC_EVENT_RING_MESSAGE_COUNT;
    }
    return id;
}

static void test_doorbells(void)
{
    struct hv_input_notify_port_ring_empty empty = {.sint_index = BELLS_SINT};
    struct hv_input_create_port childs =
        port_input(r.child.id, SELF, 9, HV_PORT_TYPE_DOORBELL, BELLS_SINT, 0);
    uint32_t type, taken = 0;
    wrmsr(HV_X64_MSR_SIRBP, hv_gpa(&rings) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SINT(BELLS_SINT), HV_SINT_AS_INTERCEPT | VECTOR);
    wrmsr(HV_X64_MSR_SINT(0), HV_SINT_RESET_VALUE);
    tap_is(create(&childs), HV_STATUS_ACCESS_DENIED,
           "doorbell ports are the root partition's only");
    tap_is(hang(0, BELL, 0, 0), HV_STATUS_INVALID_PORT_ID, "0 is no port id of a doorbell");
    tap_is(hang(21, BELL, 0, 5), HV_STATUS_INVALID_PARAMETER, "no size 5");
    delete_port(SELF, 21);
    tap_is(hang(21, BELL, 0x1234, HV_DOORBELL_TRIGGER_SIZE_QWORD), OK, "a doorbell for one value");
    tap_is(hang(22, BELL + 8, 0, HV_DOORBELL_TRIGGER_ANY_VALUE), OK, "and one for any");
    remote_store(&r, 0, BELL, 0x1234);
    tap_is(take_bell(), 21, "a write of the value appends the port's id to the event ring");
    const volatile struct hv_message *m = &sim.slot[0];
    tap_ok(m->header.message_type == HV_MESSAGE_TYPE_SYNIC_SINT_INTERCEPT &&
               m->payload[0] == BELLS_SINT,
           "and a source that is an intercept tells it by a message to SINT 0");
    sim.slot[0].header.message_type = HV_MESSAGE_TYPE_NONE;
    remote_store(&r, 1, BELL + 8, 77);
    tap_is(take_bell(), 22, "any value, from the other VP");
    tap_is(take_bell(), 0, "each once");
    for (uint32_t i = 0; i < 70; i++) {
        remote_store(&r, 0, BELL + 8, i);
    }
    while (take_bell() == 22) {
        taken++;
    }
    tap_is(taken, HV_SYNIC_EVENT_RING_MESSAGE_COUNT, "a ring without room takes no more");
    tap_ok(rings.ring[BELLS_SINT].ring_full, "and says that it is full");
    rings.ring[BELLS_SINT].ring_full = 0;
    tap_is(parent_call(HVCALL_NOTIFY_PORT_RING_EMPTY, &empty, sizeof(empty)), OK,
           "NotifyPortRingEmpty");
    tap_is(take_bell(), 22, "brings the doorbell that found it full");
    tap_is(take_bell(), 0, "once");
    sim.slot[0].header.message_type = HV_MESSAGE_TYPE_NONE;
    wrmsr(HV_X64_MSR_EOM, 0);
    sim.slot[0].header.message_type = HV_MESSAGE_TYPE_NONE;
    disconnect(r.child.id, 21);
    delete_port(SELF, 21);
    disconnect(r.child.id, 22);
    delete_port(SELF, 22);
    (void)take(&type);
}

// ---- races ----------------------------------------------------------------------------------

#define POSTS 200

// Each VP posts its own type; what was accepted arrives, all of it and nothing else. As long as
// messages come, the host is only slow.
static void test_two_posters(void)
{
    uint32_t got[2] = {0, 0}, type;
    create_port(SELF, r.child.id, 1, MESSAGE, 0);
    connect(r.child.id, 1, SELF, 1, MESSAGE);
    for (uint32_t vp = 0; vp < 2; vp++) {
        struct hv_input_post_message in = message_input(1, vp + 1, 8);
        memcpy(remote_input(&r, vp), &in, sizeof(in));
        remote_insist(&r, vp, hv_hypercall_control(HVCALL_POST_MESSAGE, false, 0, 0),
                      REMOTE_INPUT(vp), 0, POSTS, OK);
    }
    for (uint64_t last = now(); got[0] + got[1] < 2 * POSTS && now() - last < PATIENCE_US * 10;) {
        if (take(&type) && (type == 1 || type == 2)) {
            got[type - 1]++;
            last = now();
        }
    }
    tap_ok(remote_end(&r, 0) == POSTS && remote_end(&r, 1) == POSTS && !take(&type) &&
               got[0] == POSTS && got[1] == POSTS,
           "two VPs post at once: what was accepted arrives (%u, %u)", got[0], got[1]);
    tap_is(post_count(SELF, 1), 2 * POSTS, "and is counted");
    delete_port(SELF, 1);
    disconnect(r.child.id, 1);
}

// The port comes and goes while the child signals it.
static void test_vanishing_port(void)
{
    uint32_t cycles = 0;
    struct hv_input_create_port in = port_input(SELF, r.child.id, 5, EVENT, SINT, 0);
    uint64_t own = paid_by(SELF);
    remote_repeat(&r, 0, signal_control(), 5, 0, 20000, OK);
    remote_repeat(&r, 1, signal_control(), 5, 0, 20000, OK);
    for (; cycles < 2000; cycles++) {
        if (create(&in) || connect(r.child.id, 5, SELF, 5, EVENT) || delete_port(SELF, 5) ||
            disconnect(r.child.id, 5)) {
            break;
        }
    }
    remote_end(&r, 0);
    remote_end(&r, 1);
    tap_is(cycles, 2000, "a port comes and goes while two VPs signal it");
    tap_is(paid_by(SELF), own, "and leaves nothing behind");
}

// ---- the end --------------------------------------------------------------------------------

static void test_deleted_vp(void)
{
    struct hv_input_delete_vp in = {.partition_id = r.child.id, .vp_index = 1};
    create_port(r.child.id, SELF, 6, MESSAGE, 1);
    connect(SELF, 6, r.child.id, 6, MESSAGE);
    for (uint32_t i = 1; i <= 5; i++) {
        post(6, i);
    }
    tap_is(parent_call(HVCALL_DELETE_VP, &in, sizeof(in)), OK,
           "a VP is deleted with messages in its queue");
    tap_is(post(6, 6), HV_STATUS_INVALID_VP_INDEX, "PostMessage: target VP gone");
    tap_is(delete_port(r.child.id, 6), OK, "its port is deleted");
    disconnect(SELF, 6);
}

static void test_deleted_partition(void)
{
    uint64_t own = paid_by(SELF);
    create_port(r.child.id, SELF, 7, MESSAGE, 0);
    connect(SELF, 7, r.child.id, 7, MESSAGE);
    create_port(SELF, r.child.id, 8, EVENT, 0);
    connect(r.child.id, 8, SELF, 8, EVENT);
    for (uint32_t i = 1; i <= 5; i++) {
        post(7, i);
    }
    tap_ok(remote_delete(&r), "a partition with ports, connections and queued messages is deleted");
    tap_is(post(7, 9), HV_STATUS_INVALID_PORT_ID,
           "PostMessage: a connection to a partition that is deleted");
    tap_is(disconnect(SELF, 7), OK, "it is disconnected");
    tap_is(delete_port(SELF, 8), OK, "a port whose partner is deleted is deleted");
    tap_ok(paid_by(SELF) < own, "the root's pool has everything back");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(&sim) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SIEFP, hv_gpa(&sief) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_POLLING | VECTOR);
    wrmsr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    test_privileges();
    if (!tap_ok(remote_start(&r, TALKS, 2), "a child of two VPs that may talk")) {
        return;
    }
    test_create_port();
    test_properties();
    test_reserved();
    test_message_parameters();
    remote_synic_on(&r, 0);
    test_messages();
    test_next_delivers();
    test_events();
    test_old_forms();
    test_any();
    test_direct();
    test_from_child();
    test_doorbells();
    test_two_posters();
    test_vanishing_port();
    test_deleted_vp();
    test_deleted_partition();
}
