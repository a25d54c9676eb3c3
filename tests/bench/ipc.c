// SPDX-License-Identifier: BSD-2-Clause-Patent
// What HvCallSignalEvent and HvCallPostMessage cost to a running VP of another partition: for the
// sender, and until the receiver's handler. Runs as the root, whose child runs on the other LP.
// Lines of `bench ROW MIN MEDIAN MAX`, as the bench guest prints them.
#include "con.h"
#include "cpu.h"
#include "eventchild.h"
#include "hv/call_ipc.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define PORT     0x100u // ids of the event port and, one more, of the message port
#define ROUNDS   129u
#define WARM_UP  16u
#define PATIENCE 1000000000ul

static struct child c;
static volatile struct event_results *results;
_Alignas(256) static struct hv_input_post_message message;

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
    if (!tap_ok(event_child_start(&c, PORT, false, &results),
                "a child waits for events and messages"))
        return;
    delay_us(10000);
    measure("signal-event", signal);
    measure("post-message", post);
}
