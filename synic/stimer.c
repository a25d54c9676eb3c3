// SPDX-License-Identifier: BSD-2-Clause-Patent
// Synthetic timers. TLFS: Synthetic Timers.
#include "corbel/stimer.h"

#include <assert.h>

#include "hv/msr.h"
#include "hv/synic.h"

// A lazy timer this close to its next expiration (period / 8) lets the late one go.
#define LAZY_SHIFT 3

static_assert(STIMERS == HV_SYNIC_STIMER_COUNT, "synthetic timers");

static void update_next(struct stimers *t)
{
    uint64_t next = STIMER_NEVER;

    for (uint32_t i = 0; i < STIMERS; i++)
        if (t->timer[i].fire < next)
            next = t->timer[i].fire;
    t->next = next;
}

static uint64_t later(uint64_t time, uint64_t delta)
{
    uint64_t sum;

    return __builtin_add_overflow(time, delta, &sum) ? STIMER_NEVER : sum;
}

static bool is_direct(const struct stimer *timer)
{
    return timer->config & HV_STIMER_DIRECT;
}

static uint32_t sint_of(uint64_t config)
{
    return (uint32_t)((config & HV_STIMER_SINT_MASK) >> HV_STIMER_SINT_SHIFT);
}

void stimer_init(struct stimers *t, struct synic *synic, bool direct)
{
    t->synic = synic;
    t->direct = direct;
    t->next = STIMER_NEVER;
    for (uint32_t i = 0; i < STIMERS; i++)
        t->timer[i] = (struct stimer){
            .due = STIMER_NEVER,
            .fire = STIMER_NEVER,
            .payload = {.timer_index = i},
            .node = {.payload = &t->timer[i].payload,
                     .payload_size = sizeof(struct hv_timer_message_payload),
                     .message_type = HV_MESSAGE_TYPE_TIMER_EXPIRED,
                     .stamp = true},
        };
}

// ---- registers -------------------------------------------------------------------------------

bool stimer_has_msr(uint32_t msr)
{
    return msr - HV_X64_MSR_STIMER0_CONFIG < 2 * STIMERS;
}

enum stimer_result stimer_read_msr(const struct stimers *t, uint32_t msr, uint64_t *value)
{
    uint32_t index = msr - HV_X64_MSR_STIMER0_CONFIG;

    if (!stimer_has_msr(msr))
        return STIMER_GP;
    const struct stimer *timer = &t->timer[index >> 1];
    *value = index & 1 ? timer->count : timer->config;
    return STIMER_OK;
}

// From now on: a one-shot timer is due at the absolute time `count`, a periodic one after the first
// period. A message timer may not use SINT 0, which carries intercepts: it reads back disabled.
static void start(struct stimer *timer, uint64_t now)
{
    if (!is_direct(timer) && sint_of(timer->config) == 0)
        timer->config &= ~HV_STIMER_ENABLE;
    timer->due = STIMER_NEVER;
    timer->fire = STIMER_NEVER;
    if (!(timer->config & HV_STIMER_ENABLE) || timer->count == 0)
        return;
    if (timer->config & HV_STIMER_PERIODIC) {
        uint64_t earliest = later(now, STIMER_MIN_SPACE);
        timer->due = later(now, timer->count);
        timer->fire = timer->due > earliest ? timer->due : earliest;
    } else {
        timer->due = timer->count;
        timer->fire = timer->count;
    }
}

// Reserved bits are stored, not refused: the TLFS names no fault, and guests were built on that.
enum stimer_result stimer_write_msr(struct stimers *t, uint32_t msr, uint64_t value, uint64_t now)
{
    uint32_t index = msr - HV_X64_MSR_STIMER0_CONFIG;

    if (!stimer_has_msr(msr))
        return STIMER_GP;
    struct stimer *timer = &t->timer[index >> 1];
    if (index & 1) {
        timer->count = value;
        if (value == 0)
            timer->config &= ~HV_STIMER_ENABLE;
        else if (timer->config & HV_STIMER_AUTO_ENABLE)
            timer->config |= HV_STIMER_ENABLE;
    } else {
        if ((value & HV_STIMER_DIRECT) && !t->direct)
            return STIMER_GP;
        timer->config = value;
    }
    synic_cancel(t->synic, &timer->node);
    start(timer, now);
    update_next(t);
    return STIMER_OK;
}

// ---- expiration ------------------------------------------------------------------------------

static void add_vector(struct synic_signals *signals, uint8_t vector)
{
    signals->vector[signals->count++] = vector;
}

// One enqueue delivers at most one message, of this timer or of someone who waited before it.
static void send_message(struct stimers *t, struct stimer *timer, uint64_t now,
                         struct synic_signals *signals)
{
    struct synic_signals one;

    if (atomic_load_explicit(&timer->node.queued, memory_order_acquire))
        return;
    timer->payload.expiration_time = timer->due;
    synic_enqueue(t->synic, sint_of(timer->config), &timer->node, true, now, &one);
    if (one.count)
        add_vector(signals, one.vector[0]);
    if (one.done) {
        one.done->next = signals->done;
        signals->done = one.done;
    }
}

static void signal(struct stimers *t, struct stimer *timer, uint64_t now,
                   struct synic_signals *signals)
{
    uint8_t vector = (uint8_t)(timer->config >> HV_STIMER_VECTOR_SHIFT);

    if (!is_direct(timer))
        send_message(t, timer, now, signals);
    else if (vector >= HV_SYNIC_FIRST_VALID_VECTOR)
        add_vector(signals, vector);
}

// TLFS: Periodic Timers. Expirations stay on the grid of the first period (due); what was missed is
// made up for at half the period's distance (fire), up to STIMER_CATCH_UP periods. A lazy timer
// skips what it missed, and this expiration too if the next one is near.
static void expire_periodic(struct stimers *t, struct stimer *timer, uint64_t now,
                            struct synic_signals *signals)
{
    bool lazy = timer->config & HV_STIMER_LAZY;
    uint64_t missed = (now - timer->due) / timer->count;
    uint64_t skip = lazy ? missed : missed > STIMER_CATCH_UP ? missed - STIMER_CATCH_UP : 0;
    uint64_t space = timer->count / 2 > STIMER_MIN_SPACE ? timer->count / 2 : STIMER_MIN_SPACE;

    timer->due += skip * timer->count;
    uint64_t next = later(timer->due, timer->count);
    if (!lazy || next - now > timer->count >> LAZY_SHIFT)
        signal(t, timer, now, signals);
    uint64_t earliest = lazy ? later(now, STIMER_MIN_SPACE) : later(now, space);
    timer->due = next;
    timer->fire = next > earliest ? next : earliest;
}

static void expire_one_shot(struct stimers *t, struct stimer *timer, uint64_t now,
                            struct synic_signals *signals)
{
    timer->config &= ~HV_STIMER_ENABLE;
    signal(t, timer, now, signals);
    timer->due = STIMER_NEVER;
    timer->fire = STIMER_NEVER;
}

void stimer_expire(struct stimers *t, uint64_t now, struct synic_signals *signals)
{
    signals->count = 0;
    signals->done = NULL;
    for (uint32_t i = 0; i < STIMERS; i++) {
        struct stimer *timer = &t->timer[i];
        if (timer->fire == STIMER_NEVER || now < timer->fire)
            continue;
        if (timer->config & HV_STIMER_PERIODIC)
            expire_periodic(t, timer, now, signals);
        else
            expire_one_shot(t, timer, now, signals);
    }
    update_next(t);
}
