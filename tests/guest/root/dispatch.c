// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root scheduler: a VP runs while this program is inside HvCallDispatchVp, and not otherwise.
// What ends the call, what it says, and how the end of a wait is told.
//
// conf: scheduler = root
// rig: --lps 2 --count
#include "con.h"
#include "cpu.h"
#include "hv/call_system.h"
#include "hv/call_vp.h"
#include "hv/corbel.h"
#include "hv/partition.h"
#include "hv/stats.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define MS           10000ul // reference time
#define BLOCKED      HV_VP_DISPATCH_STATE_BLOCKED
#define READY        HV_VP_DISPATCH_STATE_READY
#define NO_EVENT     HV_VP_DISPATCH_EVENT_INVALID
#define SUSPEND      HV_VP_DISPATCH_EVENT_SUSPEND
#define INTERCEPT    HV_VP_DISPATCH_EVENT_INTERCEPT
#define CLEAR        HV_DISPATCH_VP_CLEAR_INTERCEPT_SUSPEND
#define INTERRUPTS   HV_DISPATCH_VP_ENABLE_CALLER_INTERRUPTS
#define ROUNDS       100u // of an interrupt that may come from elsewhere, too
#define TYPE_NMI     4u   // of a virtual interrupt
#define VECTOR_NMI_8 8u   // GPA of the real-mode vector of an NMI

static const uint8_t spin[] = {0xeb, 0xfe};                       // jmp .
static const uint8_t port_then_halt[] = {0xe6, 0x42, 0xf4, 0xf4}; // out 0x42, al; hlt
static const uint8_t port_then_spin[] = {0xe6, 0x42, 0xeb, 0xfe}; // out 0x42, al; jmp .

static struct child child, other;
static volatile struct hv_message *page;
static volatile struct hv_stats_page *stats;
static struct hv_output_dispatch_vp out;

static uint16_t dispatch_vp(uint64_t partition, uint32_t vp, uint32_t flags, uint64_t slice)
{
    struct hv_input_dispatch_vp in = {partition, vp, flags, slice, 0};
    out = (struct hv_output_dispatch_vp){~0u, ~0u};
    return parent_call_out(HVCALL_DISPATCH_VP, &in, sizeof(in), &out, sizeof(out));
}

static bool is(uint32_t state, uint32_t event)
{
    return out.dispatch_state == state && out.dispatch_event == event;
}

static uint64_t now(void)
{
    return rdmsr(HV_X64_MSR_TIME_REF_COUNT);
}

// Until something happens: interrupts of the firmware's are nothing.
static bool dispatch(const struct child *c, uint32_t flags, uint32_t state, uint32_t event)
{
    uint16_t status = HV_STATUS_SUCCESS;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        status = dispatch_vp(c->id, 0, flags, 0);
        if (status != HV_STATUS_SUCCESS || !is(READY, NO_EVENT)) {
            break;
        }
    }
    if (status != HV_STATUS_SUCCESS || !is(state, event)) {
        tap_note("status %x, state %u, event %u", status, out.dispatch_state, out.dispatch_event);
    }
    return status == HV_STATUS_SUCCESS && is(state, event);
}

// ---- refused --------------------------------------------------------------------------------

static uint16_t property(uint32_t code, uint64_t value)
{
    struct hv_input_set_partition_property in = {child.id, code, 0, value};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

static void test_controls(void)
{
    struct hv_input_get_system_property ask = {.property_id = HV_SYSTEM_PROPERTY_SCHEDULER_TYPE};
    struct hv_input_set_system_property group = {.property_id =
                                                     HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP};
    struct hv_corbel_cpu_group value = {.id = 5, .cap = HV_CPU_FULL, .lps = {1}};
    uint64_t type = 0;
    parent_call_out(HVCALL_GET_SYSTEM_PROPERTY, &ask, sizeof(ask), &type, sizeof(type));
    tap_is(type, HV_SCHEDULER_TYPE_ROOT, "the system property says that the root schedules");
    tap_ok(property(HV_PARTITION_PROPERTY_CPU_WEIGHT, 200) == HV_STATUS_OPERATION_DENIED &&
               property(HV_PARTITION_PROPERTY_CPU_CAP, HV_CPU_FULL / 2) ==
                   HV_STATUS_OPERATION_DENIED &&
               property(HV_PARTITION_PROPERTY_CPU_RESERVE, 1) == HV_STATUS_OPERATION_DENIED &&
               property(HV_PARTITION_PROPERTY_CPU_GROUP_ID, 5) == HV_STATUS_OPERATION_DENIED,
           "weight, cap, reserve and group are not to be had");
    memcpy(group.value, &value, sizeof(value));
    tap_is(parent_call(HVCALL_SET_SYSTEM_PROPERTY, &group, sizeof(group)),
           HV_STATUS_OPERATION_DENIED, "nor are CPU groups");
}

static void test_refused(void)
{
    tap_is(dispatch_vp(child.id, 0, 0x80, 0), HV_STATUS_INVALID_PARAMETER, "a flag unknown");
    tap_is(dispatch_vp(child.id, 0, HV_DISPATCH_VP_SCAN_INTERRUPT_INJECTION, 0),
           HV_STATUS_INVALID_PARAMETER, "one whose feature is not offered");
    struct hv_input_dispatch_vp in = {child.id, 0, HV_DISPATCH_VP_SET_CALLER_SPEC_CTRL, 0, ~0ul};
    tap_ok(parent_call_out(HVCALL_DISPATCH_VP, &in, sizeof(in), &out, sizeof(out)) !=
               HV_STATUS_SUCCESS,
           "a SPEC_CTRL that no processor has");
    tap_is(dispatch_vp(child.id, 1, 0, 0), HV_STATUS_INVALID_VP_INDEX, "a VP that is not there");
    tap_is(dispatch_vp(child.id, ~0u, 0, 0), HV_STATUS_INVALID_VP_INDEX, "the highest index");
    tap_is(dispatch_vp(child.id, HV_VP_INDEX_SELF, 0, 0), HV_STATUS_INVALID_VP_INDEX,
           "SELF is no VP of a child");
    tap_is(dispatch_vp(0x7777, 0, 0, 0), HV_STATUS_INVALID_PARTITION_ID, "no such partition");
    tap_is(dispatch_vp(HV_PARTITION_ID_SELF, 0, 0, 0), HV_STATUS_ACCESS_DENIED, "the root's own");
    tap_is(dispatch_vp(HV_PARTITION_ID_SELF, 1, 0, 0), HV_STATUS_ACCESS_DENIED, "its other VP");
}

// ---- pages ----------------------------------------------------------------------------------

static uint16_t map_page(uint16_t type, uint8_t flags, uint64_t where, uint64_t *got)
{
    struct hv_input_map_vp_state_page in = {child.id, 0, type, 0, flags, where};
    uint16_t status = parent_call_out(HVCALL_MAP_VP_STATE_PAGE, &in, sizeof(in), got, sizeof(*got));
    while (status == HV_STATUS_INSUFFICIENT_MEMORY) {
        uint64_t given = page_take();
        uint32_t done = 0;
        parent_deposit(child.id, &given, 1, &done);
        child.deposited += done;
        status = parent_call_out(HVCALL_MAP_VP_STATE_PAGE, &in, sizeof(in), got, sizeof(*got));
    }
    return status;
}

static uint16_t stats_call(uint16_t code, uint32_t type, uint8_t area, uint64_t *got)
{
    struct hv_input_stats_page in = {.type = type};
    in.identity.vp.partition_id = child.id;
    in.identity.vp.area = area;
    return got ? parent_call_out(code, &in, sizeof(in), got, sizeof(*got))
               : parent_call(code, &in, sizeof(in));
}

static void test_pages(void)
{
    struct hv_input_unmap_vp_state_page unmap = {.partition_id = child.id,
                                                 .type = HV_VP_STATE_PAGE_INTERCEPT_MESSAGE};
    uint64_t got = 0, where = page_take();
    tap_is(map_page(HV_VP_STATE_PAGE_GHCB, 0, 0, &got), HV_STATUS_INVALID_PARAMETER,
           "there is no GHCB");
    tap_is(map_page(HV_VP_STATE_PAGE_INTERCEPT_MESSAGE, HV_VP_STATE_PAGE_LOCATION_PROVIDED,
                    1ul << 52, &got),
           HV_STATUS_INVALID_PARAMETER, "no page lies beyond the root's memory");
    tap_is(parent_call(HVCALL_UNMAP_VP_STATE_PAGE, &unmap, sizeof(unmap)),
           HV_STATUS_INVALID_PARAMETER, "nothing is unmapped that is not mapped");
    tap_ok(map_page(HV_VP_STATE_PAGE_INTERCEPT_MESSAGE, HV_VP_STATE_PAGE_LOCATION_PROVIDED, where,
                    &got) == HV_STATUS_SUCCESS &&
               got == where,
           "the message page comes where it is wanted");
    page = (volatile struct hv_message *)(where << 12);
    tap_is(page->header.message_type, HV_MESSAGE_TYPE_NONE, "it is empty");
    tap_is(map_page(HV_VP_STATE_PAGE_INTERCEPT_MESSAGE, 0, 0, &got), HV_STATUS_OPERATION_DENIED,
           "there is one");
    tap_is(parent_call(HVCALL_UNMAP_VP_STATE_PAGE, &unmap, sizeof(unmap)), HV_STATUS_SUCCESS,
           "it goes");
    page_give(where);
    tap_ok(map_page(HV_VP_STATE_PAGE_INTERCEPT_MESSAGE, 0, 0, &got) == HV_STATUS_SUCCESS && got,
           "and comes again, in the memory that was deposited");
    page = (volatile struct hv_message *)(got << 12);
    tap_is(stats_call(HVCALL_MAP_STATS_PAGE, HV_STATS_OBJECT_VP, HV_STATS_AREA_PARENT, &got),
           HV_STATUS_INVALID_PARAMETER, "the parent has no area of its own");
    tap_is(stats_call(HVCALL_MAP_STATS_PAGE, 0x12345, HV_STATS_AREA_SELF, &got),
           HV_STATUS_INVALID_PARAMETER, "an object unknown");
    tap_is(stats_call(HVCALL_UNMAP_STATS_PAGE, HV_STATS_OBJECT_VP, HV_STATS_AREA_SELF, NULL),
           HV_STATUS_INVALID_PARAMETER, "no statistics are mapped yet");
    tap_is(stats_call(HVCALL_MAP_STATS_PAGE, HV_STATS_OBJECT_VP, HV_STATS_AREA_SELF, &got),
           HV_STATUS_SUCCESS, "the VP's statistics are mapped");
    stats = (volatile struct hv_stats_page *)(got << 12);
}

// ---- what ends it ---------------------------------------------------------------------------

static uint64_t blocked(void)
{
    return stats->counter[HV_STATS_VP_ROOT_DISPATCH_THREAD_BLOCKED];
}

static uint64_t signals(void)
{
    return parent_get64(child.id, 0, HV_REGISTER_VP_ROOT_SIGNAL_COUNT);
}

static void expect_signal(uint64_t count, const char *why)
{
    const struct hv_vp_signal_bitset_scheduler_message *m;
    struct hv_message message;
    bool came = message_wait(&message, PATIENCE_US);
    m = (const void *)message.payload;
    tap_ok(came && message.header.message_type == HV_MESSAGE_TYPE_SCHEDULER_VP_SIGNAL_BITSET &&
               message.header.payload_size == 40 && m->partition_id == child.id &&
               m->overflow_count == 0 && m->vp_count == 1 && m->format == HV_VP_SET_FORMAT_SPARSE &&
               m->valid_banks_mask == 1 && m->banks[0] == 1,
           "%s: a signal comes", why);
    tap_ok(signals() == count && blocked() == 0, "%s: it is counted, and the wait is over", why);
}

static bool no_message(void)
{
    struct hv_message message;
    return !message_wait(&message, 1000);
}

static void test_suspended(void)
{
    tap_ok(dispatch(&child, 0, BLOCKED, SUSPEND) && blocked() == 1,
           "a VP that is suspended explicitly is not run");
    tap_ok(dispatch(&child, 0, BLOCKED, SUSPEND) && signals() == 0 && no_message(),
           "however often it is asked, and nothing is signalled");
    child_run(&child, port_then_halt, sizeof(port_then_halt));
    expect_signal(1, "the end of the suspension");
}

static void test_intercept(void)
{
    const volatile struct hv_x64_io_port_intercept_message *port =
        (const volatile void *)page->payload;
    tap_ok(dispatch(&child, 0, READY, INTERCEPT), "a port access ends the call");
    tap_ok(page->header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
               page->header.origination_id == child.id &&
               page->header.payload_size == sizeof(*port) && port->port_number == 0x42 &&
               port->header.rip == CHILD_CODE,
           "and is in the message page");
    tap_ok(no_message(), "and nowhere else");
    page->header.message_type = HV_MESSAGE_TYPE_NONE;
    tap_ok(dispatch(&child, 0, READY, INTERCEPT) &&
               page->header.message_type == HV_MESSAGE_TYPE_NONE &&
               parent_get64(child.id, 0, HV_REGISTER_INTERCEPT_SUSPEND) == 1,
           "a VP that waits for the answer is not run, and says so");
    tap_ok(dispatch(&child, CLEAR, READY, INTERCEPT) &&
               page->header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT,
           "with the flag it goes on, here with the same access");
    parent_set64(child.id, 0, HV_REGISTER_RIP, CHILD_CODE + 2);
}

static void nmi(void)
{
    struct hv_input_assert_virtual_interrupt in = {.partition_id = child.id, .control = TYPE_NMI};
    tap_is(parent_call(HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in)), HV_STATUS_SUCCESS,
           "an NMI is sent");
}

static void test_halt(void)
{
    const volatile struct hv_x64_memory_intercept_message *memory =
        (const volatile void *)page->payload;
    tap_ok(dispatch(&child, CLEAR, BLOCKED, NO_EVENT) && blocked() == 1, "a halt blocks");
    tap_ok(dispatch(&child, 0, BLOCKED, NO_EVENT) && no_message(), "and stays so");
    nmi();
    expect_signal(2, "an NMI");
    tap_ok(dispatch(&child, 0, READY, INTERCEPT) &&
               page->header.message_type == HV_MESSAGE_TYPE_UNMAPPED_GPA &&
               memory->guest_physical_address == VECTOR_NMI_8,
           "which the VP takes when it is dispatched");
    parent_set64(child.id, 0, HV_REGISTER_PENDING_INTERRUPTION, 0);
    parent_set64(child.id, 0, HV_REGISTER_INTERCEPT_SUSPEND, 0);
    tap_ok(no_message() && signals() == 2, "the end of what is no wait is not signalled");
}

static void test_dispatch_suspend(void)
{
    child_run(&child, spin, sizeof(spin));
    parent_set64(child.id, 0, HV_REGISTER_DISPATCH_SUSPEND, 1);
    tap_is(parent_get64(child.id, 0, HV_REGISTER_DISPATCH_SUSPEND), 1, "dispatches are suspended");
    tap_is(parent_set64(child.id, 0, HV_REGISTER_DISPATCH_SUSPEND, 2),
           HV_STATUS_INVALID_REGISTER_VALUE, "once is enough");
    tap_ok(dispatch(&child, 0, BLOCKED, SUSPEND), "the VP is not run");
    parent_set64(child.id, 0, HV_REGISTER_DISPATCH_SUSPEND, 0);
    expect_signal(3, "its end");
}

// ---- time -----------------------------------------------------------------------------------

static uint64_t runtime(void)
{
    return parent_get64(child.id, 0, HV_REGISTER_VP_RUNTIME);
}

static void test_slice(void)
{
    uint64_t before = runtime(), start = now(), took, ran;
    tap_is(dispatch_vp(child.id, 0, INTERRUPTS, 60 * MS), HV_STATUS_SUCCESS, "a slice of 60 ms");
    took = now() - start;
    ran = runtime() - before;
    tap_note("60 ms: the call took %lu, the VP ran %lu (100 ns)", took, ran);
    tap_ok(is(READY, NO_EVENT) && took >= 60 * MS && took < 100 * MS,
           "is over in time, interrupts let through");
    tap_ok(ran <= took && ran > 40 * MS, "and the VP's run time is what it ran");
    cli();
    start = now();
    dispatch_vp(child.id, 0, 0, 2 * MS);
    took = now() - start;
    sti();
    tap_ok(is(READY, NO_EVENT) && took < 60 * MS, "one of 2 ms is shorter (%lu)", took);
}

static void test_interrupts(void)
{
    uint64_t before, start = now(), took, most = 0;
    for (uint32_t i = 0; i < 3; i++) {
        start = now();
        dispatch_vp(child.id, 0, 0, 0);
        took = now() - start;
        most = took > most ? took : most;
    }
    tap_ok(is(READY, NO_EVENT), "without a slice the firmware's tick ends the call (%lu)", most);
    cli();
    delay_us(120000); // its tick waits
    before = runtime();
    dispatch_vp(child.id, 0, 0, 0);
    tap_ok(is(READY, NO_EVENT) && runtime() == before,
           "one that is held back by IF does so before the VP runs");
    sti();
    before = runtime();
    delay_us(20000);
    tap_is(runtime(), before, "nothing runs without being dispatched");
}

// ---- other callers --------------------------------------------------------------------------

_Alignas(64) static struct hv_input_dispatch_vp there_in;
_Alignas(64) static struct hv_output_dispatch_vp there_out;
static volatile uint32_t there_step;
static volatile uint64_t there_status;

// Again and again, while it can be had and does not wait.
static void there(void *context)
{
    uint16_t status;
    (void)context;
    there_step = 1;
    do {
        there_status = hv_call(HVCALL_DISPATCH_VP, hv_gpa(&there_in), hv_gpa(&there_out));
        status = (uint16_t)there_status;
    } while (status == HV_STATUS_INVALID_VP_STATE ||
             (status == HV_STATUS_SUCCESS && there_out.dispatch_state == READY));
    there_step = 2;
}

static bool wait_for(volatile uint32_t *value, uint32_t wanted)
{
    uint64_t end = now() + PATIENCE_US * 10;
    while (*value != wanted && now() < end) {
        pause();
    }
    return *value == wanted;
}

// Another processor runs the VP meanwhile.
static void test_two(void)
{
    uint64_t end = now() + PATIENCE_US * 10;
    uint16_t status;
    there_in = (struct hv_input_dispatch_vp){child.id, 0, 0, 0, 0};
    if (!efi_start_others(there, NULL)) {
        tap_skip("one processor", "two processors dispatch one VP");
        return;
    }
    wait_for(&there_step, 1);
    do {
        status = dispatch_vp(child.id, 0, 0, 1);
    } while (status == HV_STATUS_SUCCESS && now() < end);
    tap_is(status, HV_STATUS_INVALID_VP_STATE, "a VP that another processor runs is not to be had");
    tap_is(parent_set64(child.id, 0, HV_REGISTER_EXPLICIT_SUSPEND, 1), HV_STATUS_SUCCESS,
           "it is suspended from here");
    tap_ok(wait_for(&there_step, 2) && (uint16_t)there_status == HV_STATUS_SUCCESS &&
               there_out.dispatch_state == BLOCKED && there_out.dispatch_event == SUSPEND,
           "which ends the call there, and it says why (%lx, %u, %u)", there_status,
           there_out.dispatch_state, there_out.dispatch_event);
    tap_ok(dispatch(&child, 0, BLOCKED, SUSPEND), "it is this processor's again");
}

// Two children in turn, one without a message page.
static void test_turns(void)
{
    struct hv_message message;
    uint64_t first, second;
    child_run(&child, spin, sizeof(spin));
    while (message_wait(&message, 1000)) { // the end of the suspension
    }
    child_run(&other, port_then_spin, sizeof(port_then_spin));
    tap_ok(dispatch(&other, 0, READY, INTERCEPT) && message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT &&
               message.header.origination_id == other.id,
           "without a page the message comes to SINT 0");
    child_go(&other, CHILD_CODE + 2);
    first = parent_get64(child.id, 0, HV_REGISTER_VP_RUNTIME);
    second = parent_get64(other.id, 0, HV_REGISTER_VP_RUNTIME);
    for (uint32_t i = 0; i < 20; i++) {
        dispatch_vp(child.id, 0, INTERRUPTS, 2 * MS);
        dispatch_vp(other.id, 0, INTERRUPTS, 4 * MS);
    }
    first = parent_get64(child.id, 0, HV_REGISTER_VP_RUNTIME) - first;
    second = parent_get64(other.id, 0, HV_REGISTER_VP_RUNTIME) - second;
    tap_note("20 slices of 2 and 4 ms: %lu and %lu", first, second);
    tap_ok(first > 30 * MS && second > first * 3 / 2, "both run as the root lets them");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(child_prepare(&child) && child_prepare(&other), "two children are made")) {
        return;
    }
    test_controls();
    test_refused();
    test_pages();
    test_suspended();
    test_intercept();
    test_halt();
    test_dispatch_suspend();
    test_slice();
    test_interrupts();
    test_two();
    test_turns();
    tap_ok(child_delete(&child) && child_delete(&other), "every page comes back");
    tap_is(dispatch_vp(child.id, 0, 0, 0), HV_STATUS_INVALID_PARTITION_ID, "and nobody is left");
}
