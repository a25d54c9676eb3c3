// SPDX-License-Identifier: BSD-2-Clause-Patent
// The scenarios of the core scheduler. A share is one of cores' time.
#include "scenario.h"

#include <stddef.h>

#define CPU       ((struct load){.kind = LOAD_CPU})
#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static struct sched_controls weight(uint32_t w)
{
    return (struct sched_controls){.weight = w};
}

static void teams(struct scene *c, uint32_t count, uint32_t vm, uint32_t threads, struct load load,
                  uint32_t w)
{
    struct sched_controls controls = weight(w);

    for (uint32_t i = 0; i < count; i++)
        sim_add_team(c->sim, vm, threads, load, &controls, NULL);
}

// Each core's root VPs, which wake for a moment.
static void roots(struct scene *c, struct load load)
{
    struct sched_controls controls = weight(100);
    struct sim *s = c->sim;

    for (uint32_t i = 0; i < s->cores.machine.count; i++) {
        uint32_t first = sim_add_team(s, 0, s->cores.threads, load, &controls, &s->core_array[i]);
        for (uint32_t t = 0; t < s->cores.threads; t++)
            s->vps[first + t].measured = true;
    }
}

static void core_weights(struct scene *c)
{
    for (uint32_t i = 0; i < 3; i++)
        teams(c, 1, i, 2, CPU, 100 << i);
}

// VMs with and without SMT.
static void core_mixed(struct scene *c)
{
    uint32_t threads = c->sim->cores.threads;

    for (uint32_t i = 0; i < c->sim->cores.machine.count; i++) {
        teams(c, 1, 3 * i, threads, CPU, 50 + (uint32_t)sim_random(c->sim, 400));
        teams(c, 1, 3 * i + 1, 1, CPU, 50 + (uint32_t)sim_random(c->sim, 400));
        teams(c, 1, 3 * i + 2, threads, CPU, 100);
    }
}

static void core_roots(struct scene *c)
{
    core_mixed(c);
    roots(c, (struct load){LOAD_BURSTY, 20 * US, 4 * MS});
}

static void core_all_kinds(struct scene *c)
{
    uint32_t cores = c->sim->cores.machine.count, threads = c->sim->cores.threads;

    roots(c, (struct load){LOAD_PERIODIC, 30 * US, 5 * MS});
    teams(c, cores, 1, threads, CPU, 100);
    teams(c, cores / 2, 2, 1, CPU, 400);
    teams(c, cores, 3, threads, (struct load){LOAD_BURSTY, 2 * MS, 20 * MS}, 100);
    teams(c, cores / 2, 4, threads, (struct load){LOAD_LOCK, 300 * US, 0}, 100);
    teams(c, cores, 5, threads, (struct load){LOAD_PERIODIC, 100 * US, 10 * MS}, 100);
}

static void core_churn_tick(struct scene *c, uint64_t tick)
{
    struct sim *s = c->sim;
    struct sim_vp *victim = &s->vps[sim_random(s, s->vp_count)];

    if (tick / 20 % 2)
        return;
    if (!victim->present)
        teams(c, 1, 1, 1 + (uint32_t)sim_random(s, s->cores.threads), CPU,
              1 + (uint32_t)sim_random(s, 1000));
    else if (!victim->team->unit.pinned && !victim->leaving && sim_random(s, 100) < 40)
        sim_remove(s, victim->index);
}

static void core_caps(struct scene *c)
{
    static const uint32_t percent[] = {1, 5, 10, 20, 25, 33, 50, 90};

    for (uint32_t i = 0; i < LENGTH(percent); i++) {
        struct sched_controls controls = {.weight = 100, .cap = SCHED_WHOLE * percent[i] / 100};
        sim_add_team(c->sim, i, 1 + i % 2, CPU, &controls, NULL);
    }
    teams(c, 4, 99, 2, CPU, 100);
}

static void core_reserves(struct scene *c)
{
    static const uint32_t percent[] = {50, 30, 25, 10};

    for (uint32_t i = 0; i < LENGTH(percent); i++) {
        struct sched_controls controls = {.weight = 10, .reserve = SCHED_WHOLE * percent[i] / 100};
        sim_add_team(c->sim, i, 1 + i % 2, CPU, &controls, NULL);
    }
    teams(c, 32, 9, 2, CPU, 100);
}

// CPU resource controls: group B has half of 8 cores' time.
static void core_group(struct scene *c)
{
    struct sched_controls b = {.weight = 100, .group = &c->groups[0]};

    sched_group_set(&c->groups[0], 8, SCHED_WHOLE / 2);
    c->allowance[c->group_count++] = 4 * PPM;
    for (uint32_t i = 0; i < 12; i++)
        sim_add_team(c->sim, i / 4, 2, CPU, &b, NULL);
    teams(c, 4, 9, 1, CPU, 100);
}

#define ONE_PERCENT 10000
#define FAIR                                                                                       \
    {                                                                                              \
        .share_error = ONE_PERCENT                                                                 \
    }
static const struct scenario by_core[] = {
    {"core-weights", "1:2:4 on one core of 2 threads", 1, 2, 1, 1, core_weights, NULL, 20, 1, FAIR},
    {"core-weights-4", "1:2:4 on two cores of 4 threads", 2, 4, 1, 1, core_weights, NULL, 20, 1,
     FAIR},
    {"core-mixed-2", "VMs with and without SMT, 2 cores of 2 threads", 2, 2, 1, 1, core_mixed, NULL,
     20, 1, FAIR},
    {"core-mixed-16", "the same, 16 cores of 2 threads, 2 nodes", 16, 2, 4, 2, core_mixed, NULL, 10,
     2, FAIR},
    {"core-mixed-256", "the same, 256 cores of 4 threads, 8 nodes", 256, 4, 32, 8, core_mixed, NULL,
     5, 2, FAIR},
    {"core-roots",
     "root VPs wake on each of 8 cores",
     8,
     2,
     2,
     1,
     core_roots,
     NULL,
     10,
     1,
     {.delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"core-all-kinds",
     "all kinds of loads, 16 cores of 2 threads",
     16,
     2,
     4,
     2,
     core_all_kinds,
     NULL,
     5,
     1,
     {.delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"core-churn",
     "arrivals and departures, 4 cores of 4 threads",
     4,
     4,
     2,
     1,
     core_roots,
     core_churn_tick,
     30,
     1,
     {.delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"core-caps",
     "caps 1 to 90 % and four teams without, 4 cores",
     4,
     2,
     1,
     1,
     core_caps,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT}},
    {"core-reserves",
     "reserves 10 to 50 % beside 32 busy teams, 4 cores",
     4,
     2,
     1,
     1,
     core_reserves,
     NULL,
     20,
     2,
     {.share_error = ONE_PERCENT, .reserve_error = ONE_PERCENT}},
    {"core-group",
     "group B (50 % of 8 cores) with three VMs",
     8,
     2,
     1,
     1,
     core_group,
     NULL,
     10,
     1,
     {.share_error = ONE_PERCENT, .group_error = ONE_PERCENT}},
};
const struct scenario_table scenarios_cores = {by_core, LENGTH(by_core), true};
