// SPDX-License-Identifier: BSD-2-Clause-Patent
// A chipset owner for tests: a clock that the test turns by hand, and a record of what was asked.
#pragma once
#include <string.h>

#include "root/lib/chipset_host.h"

enum { FAKE_INTERRUPTS = 64, FAKE_OUTPUT = 256 };

struct fake_host {
    uint64_t now;
    int64_t wall;
    uint64_t deadline;
    unsigned set_timers, power_offs, resets, exits;
    uint32_t exit_value;
    unsigned interrupts;
    struct chipset_interrupt interrupt[FAKE_INTERRUPTS];
    unsigned outputs, debugs;
    char output[FAKE_OUTPUT], debug[FAKE_OUTPUT];
};

static inline void fake_raise(void *ctx, const struct chipset_interrupt *interrupt)
{
    struct fake_host *fake = ctx;
    fake->interrupt[fake->interrupts++ % FAKE_INTERRUPTS] = *interrupt;
}

static inline uint64_t fake_now(void *ctx)
{
    return ((struct fake_host *)ctx)->now;
}

static inline int64_t fake_wall(void *ctx)
{
    return ((struct fake_host *)ctx)->wall;
}

static inline void fake_set_timer(void *ctx, uint64_t deadline)
{
    struct fake_host *fake = ctx;
    fake->deadline = deadline;
    fake->set_timers++;
}

static inline void fake_console_out(void *ctx, uint8_t byte)
{
    struct fake_host *fake = ctx;
    fake->output[fake->outputs++ % FAKE_OUTPUT] = (char)byte;
}

static inline void fake_debug_out(void *ctx, uint8_t byte)
{
    struct fake_host *fake = ctx;
    fake->debug[fake->debugs++ % FAKE_OUTPUT] = (char)byte;
}

static inline void fake_exit_value(void *ctx, uint32_t value)
{
    struct fake_host *fake = ctx;
    fake->exit_value = value;
    fake->exits++;
}

static inline void fake_power_off(void *ctx)
{
    ((struct fake_host *)ctx)->power_offs++;
}

static inline void fake_reset(void *ctx)
{
    ((struct fake_host *)ctx)->resets++;
}

static inline struct chipset_host fake_host_init(struct fake_host *fake)
{
    memset(fake, 0, sizeof *fake);
    fake->deadline = CHIPSET_NO_DEADLINE;
    return (struct chipset_host){
        .ctx = fake,
        .raise_interrupt = fake_raise,
        .now_100ns = fake_now,
        .wall_seconds = fake_wall,
        .set_timer = fake_set_timer,
        .console_out = fake_console_out,
        .debug_out = fake_debug_out,
        .exit_value = fake_exit_value,
        .power_off = fake_power_off,
        .reset = fake_reset,
    };
}
