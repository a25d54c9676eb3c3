// SPDX-License-Identifier: BSD-2-Clause-Patent
// Messages and events as a child sees them: what is refused, and a talk with the root's VMBus, in
// order, with buffers that fill up, from all processors at once.
// TLFS: Inter-Partition Communication; spec: VMBus 1.2, 1.4.
//
// rig: --vps 1 --lps 1 --cmdline lps=1
// rig: --vps 2 --lps 2
// rig: --vps 2 --lps 1 --cmdline lps=1
// rig: --vps 4 --lps 2
// timeout: 240
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/call_ipc.h"
#include "hv/partition.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define VECTOR     0x49
#define CONNECTION 4 // of messages to the root
#define OFFERS_MAX 64
#define GARBAGE    3000
#define NO_RELID   2047

// Of the control protocol, as Linux's include/linux/hyperv.h has it.
enum {
    MESSAGE_TYPE = 1,
    OFFERCHANNEL = 1,
    REQUESTOFFERS = 3,
    ALLOFFERS_DELIVERED = 4,
    CLOSECHANNEL = 7,
    INITIATE_CONTACT = 14,
    VERSION_RESPONSE = 15,
    VERSION_5_3 = 0x50003,
};

struct header {
    uint32_t type, padding;
};

struct contact {
    struct header header;
    uint32_t version, vp;
    uint8_t sint, vtl, rest[6];
    uint64_t monitor_in, monitor_out;
};

struct version_response {
    struct header header;
    uint8_t supported, state;
    uint16_t padding;
    uint32_t connection;
};

struct offer {
    struct header header;
    uint8_t class_id[16], instance_id[16], reserved[16];
    uint16_t flags, mmio;
    uint8_t user_data[120];
    uint16_t sub_index, mmio_optional;
    uint32_t relid;
    uint8_t monitor_id, monitor_allocated;
    uint16_t dedicated;
    uint32_t connection;
};

struct close_channel {
    struct header header;
    uint32_t relid;
};

_Alignas(4096) static struct hv_message_page sim;
_Alignas(4096) static struct hv_synic_event_flags_page sief;
_Alignas(4096) static uint8_t blocks[CPU_MAX][4096];
static volatile uint32_t interrupts;

static volatile struct hv_message *slot(void)
{
    return &sim.slot[HV_SYNIC_VMBUS_SINT];
}

static void on_interrupt(struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    apic_eoi();
}

// ---- calls, from either processor -----------------------------------------------------------

static struct hv_input_post_message *block(uint32_t cpu)
{
    return (struct hv_input_post_message *)blocks[cpu];
}

static uint16_t post_block(uint32_t cpu)
{
    return hv_hypercall_result_status(
        hv_call(hv_hypercall_control(HVCALL_POST_MESSAGE, false, 0, 0), hv_gpa(blocks[cpu]), 0));
}

static uint16_t post(uint32_t cpu, uint32_t connection, uint32_t type, const void *payload,
                     uint32_t size)
{
    *block(cpu) = (struct hv_input_post_message){
        .connection_id = connection, .message_type = type, .payload_size = size};
    memcpy(block(cpu)->payload, payload, size);
    return post_block(cpu);
}

static uint16_t signal(uint64_t connection, uint64_t flag)
{
    return hv_hypercall_result_status(
        hv_call(hv_hypercall_control(HVCALL_SIGNAL_EVENT, true, 0, 0), connection | flag << 32, 0));
}

// As guests do it: again until there is a buffer.
static uint16_t post_patiently(const void *payload, uint32_t size)
{
    uint64_t start = rdtsc(), ticks = clock_ticks(CLOCK_PATIENCE);
    uint16_t status;
    do {
        status = post(0, CONNECTION, MESSAGE_TYPE, payload, size);
    } while (status == HV_STATUS_INSUFFICIENT_BUFFERS && rdtsc() - start < ticks);
    return status;
}

// ---- refusals -------------------------------------------------------------------------------

static void test_privileges(void)
{
    uint64_t privileges = hv_privileges();
    struct hv_input_create_port port = {.port_partition_id = HV_PARTITION_ID_SELF};
    tap_ok((privileges & HV_PRIV_POST_MESSAGES) && (privileges & HV_PRIV_SIGNAL_EVENTS),
           "a guest with a VMBus may post messages and signal events");
    tap_ok(!(privileges & (HV_PRIV_CREATE_PORT | HV_PRIV_CONNECT_PORT)),
           "and may not create or connect ports");
    static const uint16_t codes[] = {
        HVCALL_CREATE_PORT,       HVCALL_CREATE_PORT_OLD,     HVCALL_DELETE_PORT,
        HVCALL_CONNECT_PORT,      HVCALL_CONNECT_PORT_OLD,    HVCALL_DISCONNECT_PORT,
        HVCALL_GET_PORT_PROPERTY, HVCALL_POST_MESSAGE_DIRECT, HVCALL_SIGNAL_EVENT_DIRECT};
    bool denied = true;
    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        denied &= hv_call_memory(codes[i], 0, &port, sizeof(port), NULL, 0, NULL) ==
                  HV_STATUS_ACCESS_DENIED;
    }
    tap_ok(denied, "each call that would is answered with ACCESS_DENIED");
}

static void test_refusals(void)
{
    const uint32_t word = 0;
    static const uint32_t hostile[] = {0,        2,         3,          5,         0x2800,
                                       0xffffff, 0x1000004, 0x80000004, 0xffffffff};
    bool posts = true, signals = true;
    for (unsigned i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        posts &= post(0, hostile[i], 1, &word, 4) == HV_STATUS_INVALID_CONNECTION_ID;
        signals &= signal(hostile[i], 0) == HV_STATUS_INVALID_CONNECTION_ID;
    }
    tap_ok(posts, "PostMessage: no such connection (or high 8 bits set)");
    tap_ok(signals, "SignalEvent: no such connection");
    tap_is(signal(CONNECTION, 0), HV_STATUS_INVALID_PORT_ID, "SignalEvent: not an event port");
    tap_is(signal(CONNECTION, 1ul << 16), HV_STATUS_INVALID_PARAMETER,
           "SignalEvent: reserved bits");
    tap_is(post(0, CONNECTION, 0, &word, 4), HV_STATUS_INVALID_PARAMETER, "PostMessage: type = 0");
    tap_is(post(0, CONNECTION, 0x80000001, &word, 4), HV_STATUS_INVALID_PARAMETER,
           "PostMessage: type bit 31 set");
    block(0)->message_type = 1;
    block(0)->payload_size = 241;
    tap_is(post_block(0), HV_STATUS_INVALID_PARAMETER, "PostMessage: PayloadSize > 240");
    block(0)->payload_size = 0xffffffff;
    tap_is(post_block(0), HV_STATUS_INVALID_PARAMETER, "PostMessage: any size above");
    tap_is(hv_hypercall_result_status(
               hv_call(hv_hypercall_control(HVCALL_POST_MESSAGE, true, 0, 0), CONNECTION, 1)),
           HV_STATUS_INVALID_HYPERCALL_INPUT, "PostMessage does not fit in registers");
}

// ---- the talk -------------------------------------------------------------------------------

// The next message, copied; its slot is freed. False: none came.
static bool receive(uint8_t *payload)
{
    uint64_t start = rdtsc(), ticks = clock_ticks(CLOCK_PATIENCE);
    while (slot()->header.message_type == HV_MESSAGE_TYPE_NONE) {
        if (rdtsc() - start > ticks) {
            return false;
        }
        pause();
    }
    for (unsigned i = 0; i < HV_MESSAGE_PAYLOAD_MAX_BYTES; i++) {
        payload[i] = slot()->payload[i];
    }
    WRITE_ONCE(slot()->header.message_type, HV_MESSAGE_TYPE_NONE);
    __asm__ volatile("mfence" ::: "memory");
    if (slot()->header.flags & HV_MESSAGE_FLAG_PENDING) {
        wrmsr(HV_X64_MSR_EOM, 0);
    }
    return true;
}

static void test_contact(void)
{
    struct contact contact = {
        .header = {.type = INITIATE_CONTACT}, .version = VERSION_5_3, .sint = HV_SYNIC_VMBUS_SINT};
    _Alignas(8) uint8_t payload[HV_MESSAGE_PAYLOAD_MAX_BYTES] = {0};
    const struct version_response *answer = (const void *)payload;
    interrupts = 0;
    sti();
    tap_is(post_patiently(&contact, sizeof(contact)), HV_STATUS_SUCCESS, "INITIATE_CONTACT");
    tap_ok(receive(payload) && answer->header.type == VERSION_RESPONSE && answer->supported &&
               answer->state == 0 && answer->connection == CONNECTION,
           "the root's VMBus answers with VERSION_RESPONSE: type %u supported %u connection %u",
           answer->header.type, answer->supported, answer->connection);
    cli();
    tap_ok(interrupts, "and the message's arrival is notified by an interrupt");
}

// More messages than the slot and the buffers of a port hold: they come in order, driven by EOM.
static void test_offers(void)
{
    const struct header request = {.type = REQUESTOFFERS};
    _Alignas(8) uint8_t payload[HV_MESSAGE_PAYLOAD_MAX_BYTES] = {0};
    const struct offer *offer = (const void *)payload;
    uint32_t offers = 0;
    bool right = true, all = false;
    tap_is(post_patiently(&request, sizeof(request)), HV_STATUS_SUCCESS, "REQUESTOFFERS");
    while (offers < OFFERS_MAX && receive(payload)) {
        if (offer->header.type == ALLOFFERS_DELIVERED) {
            all = true;
            break;
        }
        offers++;
        right &= offer->header.type == OFFERCHANNEL && offer->relid == offers &&
                 offer->dedicated == 1 && !offer->monitor_allocated;
    }
    tap_ok(right && all && offers >= 5, "%u offers come in the order of their relids, then the end",
           offers);
    tap_is(signal(0x2001, 0), HV_STATUS_INVALID_CONNECTION_ID,
           "a channel that is not open cannot be signalled");
}

// ---- floods ---------------------------------------------------------------------------------

static volatile uint32_t accepted, full, other;

// Closes a channel that does not exist: the host drops it.
static void send_garbage(void *context)
{
    const struct close_channel garbage = {{CLOSECHANNEL, 0}, NO_RELID};
    const uint32_t cpu = percpu()->index;
    (void)context;
    for (uint32_t i = 0; i < GARBAGE; i++) {
        uint16_t status = post(cpu, CONNECTION, MESSAGE_TYPE, &garbage, sizeof(garbage));
        volatile uint32_t *sum = status == HV_STATUS_SUCCESS                ? &accepted
                                 : status == HV_STATUS_INSUFFICIENT_BUFFERS ? &full
                                                                            : &other;
        __atomic_fetch_add(sum, 1, __ATOMIC_RELAXED);
    }
}

static void test_flood(void)
{
    bool ended = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, send_garbage, NULL);
    }
    send_garbage(NULL);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        ended &= smp_wait(i, 2 * CLOCK_PATIENCE);
    }
    tap_note("accepted %u, without a buffer %u", accepted, full);
    tap_ok(ended && !other && accepted,
           "all processors flood the root: success or INSUFFICIENT_BUFFERS");
    tap_is(accepted + full, machine.cpu_count * GARBAGE, "every post was answered");
    if (machine_option("lps", 0) != 1) { // on one LP the root may preempt with each
        tap_ok(full, "all 16 guest message buffers were in use at times");
    }
    test_contact();
}

void guest_main(void)
{
    hv_need();
    clock_tsc_hz();
    apic_enable(apic_has_x2());
    if (!tap_is(smp_start_all(), machine.cpu_count, "all processors start")) {
        return;
    }
    hv_setup();
    test_privileges();
    test_refusals();
    trap_set_handler(VECTOR, on_interrupt);
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(&sim) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SIEFP, hv_gpa(&sief) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SINT(HV_SYNIC_VMBUS_SINT), VECTOR);
    wrmsr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    test_contact();
    test_offers();
    test_flood();
    test_offers();
}
