// SPDX-License-Identifier: BSD-2-Clause-Patent
// The four synthetic timers of a VP (and VTL). TLFS: Synthetic Timers.
// All times are partition reference time, 100 ns units. Owner LP only, no locks of its own (message
// queues are locked by SynIC). Expirations are never signalled early.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/synic.h"
#include "hv/message.h"

#define STIMERS          4u
#define STIMER_NEVER     UINT64_MAX
#define STIMER_MIN_SPACE 500u // a periodic timer signals at most every 50 us
#define STIMER_CATCH_UP  8u   // missed periods that are made up for; more are skipped

enum stimer_result { STIMER_OK = 0, STIMER_GP = 1 };

struct stimer {
    uint64_t config; // HV_STIMER_*
    uint64_t count;
    uint64_t due;  // nominal time of the next expiration
    uint64_t fire; // when to signal it: due, or later while catching up; STIMER_NEVER: not armed
    struct synic_message_node node;
    struct hv_timer_message_payload payload;
};

struct stimers {
    struct synic *synic;
    uint64_t next; // smallest fire
    bool direct;   // direct mode is offered (CPUID 40000003 EDX[19])
    struct stimer timer[STIMERS];
};

// `synic` receives the timer messages.
void stimer_init(struct stimers *t, struct synic *synic, bool direct);

// 400000B0..B7.
bool stimer_has_msr(uint32_t msr);
enum stimer_result stimer_read_msr(const struct stimers *t, uint32_t msr, uint64_t *value);
// After a write the caller looks at stimer_next() again. Count or config writes cancel a pending
// expiration message.
enum stimer_result stimer_write_msr(struct stimers *t, uint32_t msr, uint64_t value, uint64_t now);

// Absolute reference time at which stimer_expire() has something to do, or STIMER_NEVER. O(1).
static inline uint64_t stimer_next(const struct stimers *t)
{
    return t->next;
}

// Signal all timers that are due at `now`. Direct ones and delivered messages put their vectors
// into `signals` (initialised here; up to 8 vectors; done lists timer nodes and others of the same
// SINTs). A message whose slot is busy waits in the SynIC queue; while it waits, further
// expirations of the same timer collapse into it.
void stimer_expire(struct stimers *t, uint64_t now, struct synic_signals *signals);
