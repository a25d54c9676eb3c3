// SPDX-License-Identifier: BSD-2-Clause-Patent
// Monitor ports: a page over both ends of a connection, whose trigger bits become events in their
// own time (tlfs-reference 1.10).
//
// rig: --lps 2
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

#define SINT         4u
#define VECTOR       0x54u
#define SELF         HV_PARTITION_ID_SELF
#define EVENT        HV_PORT_TYPE_EVENT
#define MONITOR      HV_PORT_TYPE_MONITOR
#define GROUP        1u
#define TRIGGER      5u
#define LATENCY      60000u          // 6 ms
#define AT           REMOTE_INPUT(1) // in the child, where it has a page of RAM
#define STAMP        0x5741544348ul  // what that page, and ours, holds beneath
#define US           10ul            // in reference time
#define MEMBER(name) offsetof(struct hv_monitor_page, name)
#define PRIVILEGES                                                                                 \
    (HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX |         \
     HV_PRIV_ACCESS_INTR_CTRL_REGS | HV_PRIV_SIGNAL_EVENTS | HV_PRIV_POST_MESSAGES)

// Ids of ports and, the same, of connections: events and monitor from the child to us and back.
enum { EVENT_IN = 0x10, MONITOR_IN, EVENT_OUT, MONITOR_OUT };

_Alignas(4096) static volatile struct hv_synic_event_flags_page sief;
static struct remote r;
static volatile struct hv_monitor_page *page; // ours, beneath or above

// ---- calls --------------------------------------------------------------------------------------

static uint16_t port(uint64_t owner, uint64_t partner, uint32_t id, uint32_t type, uint64_t gpa)
{
    struct hv_input_create_port in = {
        .port_partition_id = owner, .port_id = id, .connection_partition_id = partner};
    in.port_info.port_type = type;
    if (type == MONITOR) {
        in.port_info.monitor.monitor_gpa = gpa;
    } else {
        in.port_info.event.target_sint = SINT;
        in.port_info.event.flag_count = 4;
    }
    return child_paid(&r.child, HVCALL_CREATE_PORT, &in, sizeof(in));
}

static uint16_t connect(uint64_t owner, uint64_t receiver, uint32_t id, uint32_t type, uint64_t gpa)
{
    struct hv_input_connect_port in = {.connection_partition_id = owner,
                                       .connection_id = id,
                                       .port_partition_id = receiver,
                                       .port_id = id,
                                       .connection_info = {.port_type = type}};
    if (type == MONITOR)
        in.connection_info.monitor.monitor_gpa = gpa;
    return child_paid(&r.child, HVCALL_CONNECT_PORT, &in, sizeof(in));
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

static uint64_t in_use(void)
{
    struct hv_output_get_memory_balance balance = {0};
    parent_balance(SELF, &balance);
    return balance.pages_in_use;
}

// ---- the child is the sender --------------------------------------------------------------------

static bool flag_comes(uint32_t flag)
{
    volatile uint32_t *flags = (volatile uint32_t *)&sief.event_flags[SINT];
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + PATIENCE_US * US;
    while (!(*flags & 1u << flag)) {
        if (rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= end)
            return false;
        pause();
    }
    *flags = 0;
    return true;
}

static void trigger(uint32_t bits)
{
    remote_store(&r, 0, AT + MEMBER(group) + 8 * GROUP, bits); // armed: 0
}

static bool triggers_end(void)
{
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + PATIENCE_US * US;
    while (page->group[GROUP].both && rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end)
        pause();
    return page->group[GROUP].both == 0;
}

static void test_refused(uint64_t gpa)
{
    tap_is(port(SELF, r.child.id, MONITOR_IN, MONITOR, gpa + 8), HV_STATUS_INVALID_ALIGNMENT,
           "a monitor port's GPA has to be a page's");
    tap_is(port(SELF, r.child.id, MONITOR_IN, MONITOR, 1ul << 60), HV_STATUS_INVALID_PARAMETER,
           "of the partition's space");
    struct hv_input_create_port in = {
        .port_partition_id = SELF, .port_id = MONITOR_IN, .connection_partition_id = r.child.id};
    in.port_info.port_type = MONITOR;
    in.port_info.monitor.monitor_gpa = gpa;
    in.port_info.monitor.reserved = 1;
    tap_is(parent_call(HVCALL_CREATE_PORT, &in, sizeof(in)), HV_STATUS_INVALID_PARAMETER,
           "and reserved fields 0");
    tap_is(page->trigger_state, (uint32_t)STAMP, "nothing is laid over anything so far");
}

static void test_create(uint64_t gpa)
{
    *(volatile uint64_t *)page = STAMP;
    *(uint64_t *)remote_input(&r, 1) = STAMP;
    test_refused(gpa);
    tap_is(port(SELF, r.child.id, MONITOR_IN, MONITOR, gpa), HV_STATUS_SUCCESS,
           "a monitor port is created");
    tap_is(*(volatile uint64_t *)page, 0, "an empty page is laid over its GPA");
    tap_is(port(SELF, r.child.id, MONITOR_IN, MONITOR, gpa), HV_STATUS_INVALID_PORT_ID,
           "its id is taken");
    tap_is(connect(r.child.id, SELF, MONITOR_IN, EVENT, 0), HV_STATUS_INVALID_PORT_ID,
           "an event connection does not fit");
    tap_is(connect(r.child.id, SELF, MONITOR_IN, MONITOR, AT + 1), HV_STATUS_INVALID_ALIGNMENT,
           "a connection's GPA has to be a page's too");
    tap_is(remote_load(&r, 0, AT), STAMP, "the child has its own page still");
    tap_is(connect(r.child.id, SELF, MONITOR_IN, MONITOR, AT), HV_STATUS_SUCCESS,
           "the child is connected");
    tap_is(remote_load(&r, 0, AT), 0, "the page is laid over its GPA");
    remote_store(&r, 0, AT + 4088, 0x1234);
    tap_is(((volatile uint64_t *)page)[511], 0x1234, "both see the same page");
}

static void test_trigger(void)
{
    page->parameter[GROUP][TRIGGER] = (struct hv_monitor_parameter){EVENT_IN, 2, 0};
    page->latency[GROUP][TRIGGER] = LATENCY;
    page->trigger_state = 1u << GROUP;
    uint64_t before = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    trigger(1u << TRIGGER);
    tap_ok(flag_comes(2), "a trigger that the child sets becomes an event");
    uint64_t passed = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - before;
    tap_ok(passed >= LATENCY, "not before its latency has passed (%lu us)", passed / US);
    tap_ok(triggers_end(), "pending and armed are cleared together");
    page->latency[GROUP][TRIGGER] = 1;
    uint32_t came = 0;
    for (uint32_t i = 0; i < 20; i++) {
        trigger(1u << TRIGGER);
        came += flag_comes(2);
    }
    tap_is(came, 20, "as often as it is set");
}

static void test_errors_dropped(void)
{
    page->parameter[GROUP][0] = (struct hv_monitor_parameter){0xffffff, 0, 0};   // no connection
    page->parameter[GROUP][1] = (struct hv_monitor_parameter){EVENT_IN, 77, 0};  // no flag
    page->parameter[GROUP][2] = (struct hv_monitor_parameter){MONITOR_IN, 0, 0}; // no event's
    trigger(7u | 1u << TRIGGER);
    tap_ok(flag_comes(2) && triggers_end(), "triggers with bad parameters are dropped");
}

static void test_disabled(void)
{
    page->trigger_state = 1u << (GROUP + 1);
    trigger(1u << TRIGGER);
    delay_us(50000);
    tap_ok(page->group[GROUP].pending && !sief.event_flags[SINT].flags32[0],
           "a trigger of a group that is not enabled waits");
    page->trigger_state = 1u << GROUP;
    tap_ok(flag_comes(2), "until it is");
}

static void test_end(void)
{
    tap_is(disconnect(r.child.id, MONITOR_IN), HV_STATUS_SUCCESS, "the child is disconnected");
    tap_is(remote_load(&r, 0, AT), STAMP, "and has its own page back");
    tap_is(connect(r.child.id, SELF, MONITOR_IN, MONITOR, AT), HV_STATUS_SUCCESS,
           "it is connected again");
    trigger(1u << TRIGGER);
    tap_ok(flag_comes(2), "and heard");
    tap_is(delete_port(SELF, MONITOR_IN), HV_STATUS_SUCCESS, "the port is deleted");
    tap_ok(*(volatile uint64_t *)page == STAMP && remote_load(&r, 0, AT) == STAMP,
           "both have their own pages back");
    tap_is(disconnect(r.child.id, MONITOR_IN), HV_STATUS_SUCCESS, "the connection is left");
}

// ---- and the other way round --------------------------------------------------------------------

static void test_back(uint64_t gpa)
{
    remote_wrmsr(&r, 0, HV_X64_MSR_SINT(SINT), VECTOR | HV_SINT_AUTO_EOI);
    remote_synic_on(&r, 0);
    tap_ok(port(r.child.id, SELF, EVENT_OUT, EVENT, 0) == HV_STATUS_SUCCESS &&
               connect(SELF, r.child.id, EVENT_OUT, EVENT, 0) == HV_STATUS_SUCCESS &&
               port(r.child.id, SELF, MONITOR_OUT, MONITOR, AT) == HV_STATUS_SUCCESS &&
               connect(SELF, r.child.id, MONITOR_OUT, MONITOR, gpa) == HV_STATUS_SUCCESS,
           "ports of the child, and our connections to them");
    page->parameter[0][0] = (struct hv_monitor_parameter){EVENT_OUT, 1, 0};
    page->trigger_state = 1;
    page->group[0].both = 1;
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + PATIENCE_US * US, flags = 0;
    while (!flags && rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end)
        flags = remote_load(&r, 0, REMOTE_SIEF(0) + SINT * sizeof(sief.event_flags[0]));
    tap_is(flags, 2, "our trigger becomes an event of the child");
    tap_ok(remote_pending(&r, 0, VECTOR), "and an interrupt");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    uint64_t gpa = page_take() << 12, before;
    page = (volatile struct hv_monitor_page *)gpa;
    wrmsr(HV_X64_MSR_SIEFP, hv_gpa(&sief) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SINT(SINT), HV_SINT_POLLING | VECTOR);
    if (!tap_ok(remote_start(&r, PRIVILEGES, REMOTE_VPS), "a child runs"))
        return;
    tap_ok(port(SELF, r.child.id, EVENT_IN, EVENT, 0) == HV_STATUS_SUCCESS &&
               connect(r.child.id, SELF, EVENT_IN, EVENT, 0) == HV_STATUS_SUCCESS,
           "it may signal events");
    before = in_use();
    test_create(gpa);
    test_trigger();
    test_errors_dropped();
    test_disabled();
    test_end();
    tap_is(in_use(), before, "what the monitor took of our pool is back");
    test_back(gpa);
    tap_ok(remote_delete(&r), "the child goes while we are connected, with every page");
    tap_is(*(volatile uint64_t *)page, STAMP, "and we have our own page back");
    tap_is(disconnect(SELF, MONITOR_OUT), HV_STATUS_SUCCESS, "the connection is left to us");
}
