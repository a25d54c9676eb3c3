// SPDX-License-Identifier: BSD-2-Clause-Patent
// What HvCallSignalEvent and HvCallPostMessage cost to a running VP of another partition: for the
// sender, and until the receiver's handler. Runs as the root, whose child runs on the other LP.
// Lines of `bench ROW MIN MEDIAN MAX`, as the bench guest prints them.
#include "con.h"
#include "cpu.h"
#include "hv/call_ipc.h"
#include "hv/registers.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define SINT     4u
#define VECTOR   0x54u
#define PORT     0x100u // ids of the event port and, one more, of the message port
#define SIEF     0x3000u
#define SIM      0x4000u
#define HANDLER  (CHILD_CODE + 5) // in the code below
#define RESULTS  0xf00            // in the code page
#define ROUNDS   129u
#define WARM_UP  16u
#define PATIENCE 1000000000ul
#define RW       (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE)

// Real mode. The handler notes its TSC, frees flag and slot of the SINT, and counts itself.
static const uint8_t code[] = {
    0xfb,                                                 // 00 sti
    0xf3, 0x90,                                           // 01 pause
    0xeb, 0xfc,                                           // 03 jmp 01
    0x0f, 0x31,                                           // 05 rdtsc
    0x66, 0xa3, 0x00, 0x1f,                               // 07 mov [0x1f00], eax
    0x66, 0x89, 0x16, 0x04, 0x1f,                         // 0b mov [0x1f04], edx
    0x66, 0xc7, 0x06, 0x00, 0x34, 0x00, 0x00, 0x00, 0x00, // 10 mov dword [0x3400], 0
    0x66, 0xc7, 0x06, 0x00, 0x44, 0x00, 0x00, 0x00, 0x00, // 19 mov dword [0x4400], 0
    0x66, 0xff, 0x06, 0x08, 0x1f,                         // 22 inc dword [0x1f08]
    0xcf,                                                 // 27 iret
};

// What the handler leaves.
struct results {
    uint64_t entered;
    uint32_t count;
};

static struct child c;
static volatile struct results *results;
_Alignas(256) static struct hv_input_post_message message;

// ---- the child ----------------------------------------------------------------------------------

static bool map_vectors(void)
{
    uint64_t page = page_take();

    ((uint32_t *)(page << 12))[VECTOR] = HANDLER; // segment 0
    return child_map(&c, 0, page, RW);
}

static bool make_port(uint32_t id, uint32_t type)
{
    struct hv_input_create_port port = {
        .port_partition_id = c.id, .port_id = id, .connection_partition_id = HV_PARTITION_ID_SELF};
    struct hv_input_connect_port connection = {.connection_partition_id = HV_PARTITION_ID_SELF,
                                               .connection_id = id,
                                               .port_partition_id = c.id,
                                               .port_id = id,
                                               .connection_info = {.port_type = type}};

    port.port_info.port_type = type;
    port.port_info.message.target_sint = SINT;
    if (type == HV_PORT_TYPE_EVENT)
        port.port_info.event.flag_count = 1;
    return child_paid(&c, HVCALL_CREATE_PORT, &port, sizeof(port)) == HV_STATUS_SUCCESS &&
           parent_call(HVCALL_CONNECT_PORT, &connection, sizeof(connection)) == HV_STATUS_SUCCESS;
}

static bool start_child(void)
{
    bool right = child_prepare(&c) && map_vectors() && make_port(PORT, HV_PORT_TYPE_EVENT) &&
                 make_port(PORT + 1, HV_PORT_TYPE_MESSAGE);

    results = (volatile struct results *)((c.code_page << 12) + RESULTS);
    parent_set64(c.id, 0, HV_REGISTER_APIC_SVR, 0x1ff);
    parent_set64(c.id, 0, HV_REGISTER_SIEFP, SIEF | HV_PAGE_MSR_ENABLE);
    parent_set64(c.id, 0, HV_REGISTER_SIMP, SIM | HV_PAGE_MSR_ENABLE);
    parent_set64(c.id, 0, HV_REGISTER_SINT(SINT), VECTOR | HV_SINT_AUTO_EOI);
    parent_set64(c.id, 0, HV_REGISTER_SCONTROL, HV_SCONTROL_ENABLE);
    child_run(&c, code, sizeof(code));
    results->count = 0;
    delay_us(10000);
    return right;
}

// ---- samples ------------------------------------------------------------------------------------

static uint64_t signal(void)
{
    return hv_call(hv_hypercall_control(HVCALL_SIGNAL_EVENT, true, 0, 0), PORT, 0);
}

static uint64_t post(void)
{
    return hv_call(hv_hypercall_control(HVCALL_POST_MESSAGE, false, 0, 0), hv_gpa(&message), 0);
}

// PAUSE lets the emulator go on to the other processor.
static bool taken(uint32_t before, uint64_t start)
{
    while (results->count == before && rdtsc() - start < PATIENCE)
        pause();
    return results->count != before;
}

static void sort(int64_t *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        int64_t value = values[i];
        uint32_t at = i;
        for (; at && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

static void print_row(const char *name, const char *what, int64_t *values)
{
    sort(values, ROUNDS);
    con_printf("bench %s%s %ld %ld %ld\n", name, what, values[0], values[ROUNDS / 2],
               values[ROUNDS - 1]);
}

static void measure(const char *name, uint64_t (*call)(void))
{
    static int64_t sent[ROUNDS], handled[ROUNDS];
    bool right = true;

    for (uint32_t i = 0; i < ROUNDS + WARM_UP && right; i++) {
        uint32_t before = results->count, at = i < WARM_UP ? 0 : i - WARM_UP;
        uint64_t start = rdtsc(), result = call(), end = rdtsc();
        right = hv_hypercall_result_status(result) == HV_STATUS_SUCCESS && taken(before, start);
        sent[at] = (int64_t)(end - start);
        handled[at] = (int64_t)(results->entered - start);
    }
    tap_ok(right, "each %s was accepted and handled", name);
    print_row(name, "", sent);
    print_row(name, "-taken", handled);
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    message.connection_id = PORT + 1;
    message.message_type = 1;
    message.payload_size = 240;
    if (!tap_ok(start_child(), "a child waits for events and messages"))
        return;
    measure("signal-event", signal);
    measure("post-message", post);
}
