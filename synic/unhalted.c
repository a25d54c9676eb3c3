// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/unhalted.h"

#include "hv/synic.h"

static uint64_t later(uint64_t time, uint64_t delta)
{
    uint64_t sum;

    return __builtin_add_overflow(time, delta, &sum) ? UNHALTED_NEVER : sum;
}

static void arm(struct unhalted_timer *t, uint64_t due, uint64_t runtime)
{
    uint64_t earliest = later(runtime, UNHALTED_MIN_SPACE);

    t->due = due;
    t->fire = due > earliest ? due : earliest;
}

static void start(struct unhalted_timer *t, uint64_t runtime)
{
    t->due = t->fire = UNHALTED_NEVER;
    if ((t->config & HV_STIME_UNHALTED_ENABLE) && t->period)
        arm(t, later(runtime, t->period), runtime);
}

void unhalted_init(struct unhalted_timer *t)
{
    t->config = t->period = 0;
    t->due = t->fire = UNHALTED_NEVER;
}

void unhalted_set_config(struct unhalted_timer *t, uint64_t config, uint64_t runtime)
{
    t->config = config;
    start(t, runtime);
}

void unhalted_set_period(struct unhalted_timer *t, uint64_t period, uint64_t runtime)
{
    t->period = period;
    start(t, runtime);
}

bool unhalted_expire(struct unhalted_timer *t, uint64_t runtime)
{
    if (t->fire == UNHALTED_NEVER || runtime < t->fire)
        return false;
    arm(t, later(t->due, ((runtime - t->due) / t->period + 1) * t->period), runtime);
    return true;
}
