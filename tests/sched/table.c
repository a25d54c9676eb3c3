// SPDX-License-Identifier: BSD-2-Clause-Patent
// The scenarios.
#include "scenario.h"

#include <stddef.h>

#define CPU       ((struct load){.kind = LOAD_CPU})
#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static struct sched_controls weight(uint32_t w)
{
    return (struct sched_controls){.weight = w};
}

static void add(struct scene *c, uint32_t count, uint32_t vm, struct load load, uint32_t w)
{
    struct sched_controls controls = weight(w);

    for (uint32_t i = 0; i < count; i++)
        sim_add(c->sim, vm, load, &controls, NULL);
}

static void measured(struct scene *c, uint32_t count, struct load load)
{
    struct sched_controls controls = weight(100);

    for (uint32_t i = 0; i < count; i++)
        c->sim->vps[sim_add(c->sim, 0, load, &controls, NULL)].measured = true;
}

static void group(struct scene *c, uint32_t lps, uint32_t percent)
{
    uint32_t cap = SCHED_WHOLE * percent / 100;

    sched_group_set(&c->groups[c->group_count], lps, cap);
    c->allowance[c->group_count++] = (uint64_t)lps * cap * PPM / SCHED_WHOLE;
}

static void weights_124(struct scene *c)
{
    for (uint32_t i = 0; i < 3; i++)
        add(c, 1, i, CPU, 100 << i);
}

// With one that wakes, and has less than its share.
static void hours(struct scene *c)
{
    weights_124(c);
    add(c, 2, 3, CPU, 100);
    measured(c, 1, (struct load){LOAD_BURSTY, 1 * MS, 100 * MS});
}

static void three_on_two(struct scene *c)
{
    add(c, 3, 0, CPU, 100);
}

static void extremes(struct scene *c)
{
    add(c, 2, 0, CPU, 10000);
    add(c, 1, 1, CPU, 1);
    add(c, 5, 2, CPU, 100);
    add(c, 2, 3, CPU, 3333);
}

static void random_weights(struct scene *c)
{
    for (uint32_t i = 0; i < 4 * c->sim->lp_count; i++)
        add(c, 1, i / 4, CPU, 1 + (uint32_t)sim_random(c->sim, 1000));
}

static void twice(struct scene *c)
{
    for (uint32_t i = 0; i < 2048; i++)
        add(c, 1, i / 8, CPU, 50 + (uint32_t)sim_random(c->sim, 400));
}

static void odd_many(struct scene *c)
{
    add(c, 2048, 0, CPU, 100);
}

static void capped(struct scene *c, const uint32_t *percent, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct sched_controls controls = {.weight = 100, .cap = SCHED_WHOLE * percent[i] / 100};
        sim_add(c->sim, i, CPU, &controls, NULL);
    }
}

static void caps(struct scene *c)
{
    static const uint32_t percent[] = {1, 5, 10, 20, 25, 33, 50, 90};

    capped(c, percent, LENGTH(percent));
    add(c, 4, 99, CPU, 100);
}

static void caps_alone(struct scene *c)
{
    static const uint32_t percent[] = {10, 50, 75, 99};

    capped(c, percent, LENGTH(percent));
}

// More than there is, so most do not reach their caps.
static void caps_crowded(struct scene *c)
{
    static const uint32_t percent[] = {1, 5, 10, 20, 25, 33, 50, 66, 75, 90, 95, 99};

    capped(c, percent, LENGTH(percent));
    add(c, 4, 99, CPU, 10);
}

static void caps_random(struct scene *c)
{
    for (uint32_t i = 0; i < 4 * c->sim->lp_count; i++) {
        uint32_t percent = i % 4 ? 1 + (uint32_t)sim_random(c->sim, 99) : 0;
        struct sched_controls controls = {.weight = 50 + (uint32_t)sim_random(c->sim, 400),
                                          .cap = SCHED_WHOLE * percent / 100};
        sim_add(c->sim, i / 4, CPU, &controls, NULL);
    }
}

static void reserves(struct scene *c)
{
    static const uint32_t percent[] = {50, 30, 25, 10};

    for (uint32_t i = 0; i < LENGTH(percent); i++) {
        struct sched_controls controls = {.weight = 10, .reserve = SCHED_WHOLE * percent[i] / 100};
        sim_add(c->sim, i, CPU, &controls, NULL);
    }
    add(c, 32, 9, CPU, 100);
}

static void reserved_latency(struct scene *c)
{
    struct sched_controls controls = {.weight = 100, .reserve = SCHED_WHOLE / 4};
    struct load load = {LOAD_PERIODIC, 500 * US, 5 * MS};

    add(c, 16, 9, CPU, 100);
    c->sim->vps[sim_add(c->sim, 0, load, &controls, NULL)].measured = true;
}

// A root VP that wakes has its LP for a slice: one with a reserve does not wait behind it.
static void reserved_beside_roots(struct scene *c)
{
    for (uint32_t i = 0; i < c->sim->lp_count; i++)
        sim_add_root(c->sim, i, (struct load){LOAD_BURSTY, 1500 * US, 8 * MS});
    reserved_latency(c);
}

static void wakers(struct scene *c)
{
    add(c, 32, 1, CPU, 100);
    measured(c, 8, (struct load){LOAD_PERIODIC, 200 * US, 10 * MS});
    measured(c, 8, (struct load){LOAD_BURSTY, 100 * US, 3 * MS});
    measured(c, 4, (struct load){LOAD_BURSTY, 1 * MS, 40 * MS});
}

static void all_kinds(struct scene *c)
{
    uint32_t lps = c->sim->lp_count;

    add(c, lps, 1, CPU, 100);
    add(c, lps / 2, 2, CPU, 400);
    add(c, lps, 3, (struct load){LOAD_BURSTY, 4 * MS, 20 * MS}, 100);
    add(c, lps / 2, 4, (struct load){LOAD_LOCK, 300 * US, 0}, 100);
    measured(c, lps, (struct load){LOAD_PERIODIC, 100 * US, 10 * MS});
}

static void churn(struct scene *c)
{
    add(c, 24, 1, CPU, 100);
    measured(c, 8, (struct load){LOAD_PERIODIC, 200 * US, 10 * MS});
}

// Somebody comes or goes each 100 ms, for two seconds of four.
static void churn_tick(struct scene *c, uint64_t tick)
{
    struct sim *s = c->sim;
    struct sim_vp *victim = &s->vps[sim_random(s, s->vp_count)];

    if (tick / 20 % 2)
        return;
    if (!victim->present)
        add(c, 1, 1, CPU, 1 + (uint32_t)sim_random(s, 1000));
    else if (!victim->measured && !victim->leaving && sim_random(s, 100) < 40)
        sim_remove(s, victim->index);
}

// CPU resource controls: "Example Classes of Service". 8 LPs, B 50 %, C 10 % with a VM cap of 10 %.
static void group_b_one(struct scene *c)
{
    struct sched_controls b = {.weight = 100, .group = &c->groups[0]};

    group(c, 8, 50);
    for (uint32_t i = 0; i < 8; i++)
        sim_add(c->sim, 0, CPU, &b, NULL);
}

static void group_b_two(struct scene *c)
{
    struct sched_controls b = {.weight = 100, .group = &c->groups[0]};

    group_b_one(c);
    for (uint32_t i = 0; i < 8; i++)
        sim_add(c->sim, 1, CPU, &b, NULL);
}

static void groups_b_c(struct scene *c)
{
    struct sched_controls tier_c = {.weight = 100, .cap = SCHED_WHOLE / 10, .group = &c->groups[1]};

    group_b_two(c);
    group(c, 8, 10);
    for (uint32_t i = 0; i < 12; i++)
        sim_add(c->sim, 2 + i, CPU, &tier_c, NULL);
    add(c, 4, 99, CPU, 100);
}

// Group A has LPs of its own; B and the others share the rest.
static void group_affinity(struct scene *c)
{
    struct sched_controls a = weight(100), b = {.weight = 100, .group = &c->groups[0]};

    group(c, 6, 50);
    c->sets[0][0] = 0x3;
    c->sets[1][0] = 0xFC;
    c->set_size[0] = 2;
    c->set_size[1] = 6;
    for (uint32_t i = 0; i < 2; i++)
        sim_add(c->sim, 0, CPU, &a, c->sets[0]);
    for (uint32_t i = 0; i < 8; i++)
        sim_add(c->sim, 1, CPU, &b, c->sets[1]);
    for (uint32_t i = 0; i < 9; i++)
        sim_add(c->sim, 2, CPU, &a, c->sets[1]);
}

// As tests/guest/root/shares.c: a group has a quarter of an LP, and one of its VPs a cap of 5 %.
// The other has what is left, as far as its own weight gets it that.
static void group_leaves(struct scene *c, uint32_t w)
{
    struct sched_controls controls = {
        .weight = 100, .cap = SCHED_WHOLE / 20, .group = &c->groups[0]};

    group(c, 1, 25);
    sim_add(c->sim, 0, CPU, &controls, NULL);
    controls = (struct sched_controls){.weight = w, .group = &c->groups[0]};
    sim_add(c->sim, 1, CPU, &controls, NULL);
    add(c, 1, 2, CPU, 400);
    add(c, 1, 3, CPU, 100);
}

static void group_leaves_light(struct scene *c)
{
    group_leaves(c, 100);
}

static void group_leaves_heavy(struct scene *c)
{
    group_leaves(c, 400);
}

// Anchors 3.3: four VMs of two VPs on four LPs; equal, by weight, and with reserves.
static void overcommitted(struct scene *c)
{
    for (uint32_t vm = 0; vm < 4; vm++)
        add(c, 2, vm, CPU, 100);
}

static void overcommitted_weights(struct scene *c)
{
    for (uint32_t vm = 0; vm < 4; vm++)
        add(c, 2, vm, CPU, vm < 2 ? 300 : 100);
}

static void overcommitted_reserves(struct scene *c)
{
    struct sched_controls r = {.weight = 100, .reserve = SCHED_WHOLE * 64 / 100};

    for (uint32_t vm = 0; vm < 4; vm++)
        for (uint32_t i = 0; i < 2; i++)
            sim_add(c->sim, vm, CPU, vm == 0 ? &r : &(struct sched_controls){.weight = 100}, NULL);
}

static void locks(struct scene *c)
{
    for (uint32_t vm = 0; vm < 3; vm++)
        add(c, 8, vm, (struct load){LOAD_LOCK, 200 * US, 0}, 100);
}

#define ONE_PERCENT 10000
#define LOCKS       32000 // a second; without the call of those that spin it is 28,200
#define FAIR                                                                                       \
    {                                                                                              \
        .share_error = ONE_PERCENT                                                                 \
    }
static const struct scenario classic[] = {
    {"weights", "1:2:4 on one LP", 1, 1, 1, 1, weights_124, NULL, 20, 1, FAIR},
    {"weights-4", "1:2:4 on 2 cores of 2 threads", 2, 2, 1, 1, weights_124, NULL, 20, 1, FAIR},
    {"hours",
     "two hours of five busy VPs and one that wakes, 2 LPs",
     2,
     1,
     1,
     1,
     hours,
     NULL,
     7200,
     1,
     {.share_error = ONE_PERCENT, .delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"three-on-two", "three equal VPs on two LPs", 2, 1, 1, 1, three_on_two, NULL, 20, 1, FAIR},
    {"two-nodes", "three equal VPs on two LPs of different nodes", 2, 1, 2, 2, three_on_two, NULL,
     20, 1, FAIR},
    {"extremes", "weights 1 to 10000 on 4 LPs", 4, 1, 1, 1, extremes, NULL, 20, 1, FAIR},
    {"random-16", "64 VPs of any weight, 16 LPs, SMT, two nodes", 8, 2, 4, 2, random_weights, NULL,
     20, 2, FAIR},
    {"random-256", "1024 VPs of any weight, 256 LPs, SMT, 4 nodes", 128, 2, 16, 4, random_weights,
     NULL, 5, 2, FAIR},
    {"2048-on-1024", "2048 VPs, 1024 LPs, SMT, 8 nodes", 512, 2, 64, 8, twice, NULL, 4, 2, FAIR},
    {"2048-on-2048", "one VP for each of 2048 LPs", 1024, 2, 128, 8, odd_many, NULL, 3, 1, FAIR},
    {"2048-on-1500", "2048 equal VPs on 1500 LPs", 750, 2, 50, 2, odd_many, NULL, 4, 2, FAIR},
    {"caps",
     "caps 1 to 90 % and four VPs without, 4 LPs",
     4,
     1,
     1,
     1,
     caps,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT}},
    {"caps-alone",
     "caps 10, 50, 75 and 99 % on 4 LPs",
     4,
     1,
     1,
     1,
     caps_alone,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT}},
    {"caps-crowded",
     "caps of 569 % in all on 4 LPs",
     4,
     1,
     1,
     1,
     caps_crowded,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT}},
    {"caps-random",
     "64 VPs of any weight, most with a cap, 16 LPs, SMT, two nodes",
     8,
     2,
     4,
     2,
     caps_random,
     NULL,
     20,
     2,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT}},
    {"reserves",
     "reserves 10 to 50 % beside 32 busy VPs, 4 LPs",
     4,
     1,
     1,
     1,
     reserves,
     NULL,
     20,
     2,
     {.share_error = ONE_PERCENT, .reserve_error = ONE_PERCENT}},
    {"latency",
     "a reserved VP wakes beside 16 busy VPs, one LP",
     1,
     1,
     1,
     1,
     reserved_latency,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"latency-roots",
     "the same beside root VPs that are busy for 1.5 ms at a time, 4 LPs",
     4,
     1,
     1,
     1,
     reserved_beside_roots,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"wake-ups",
     "20 VPs that wake and 32 busy ones, 8 LPs",
     4,
     2,
     1,
     1,
     wakers,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"all-kinds",
     "all kinds of loads, 32 LPs, SMT, 2 nodes",
     16,
     2,
     4,
     2,
     all_kinds,
     NULL,
     5,
     1,
     {.delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"churn",
     "arrivals and departures, 8 LPs",
     8,
     1,
     2,
     1,
     churn,
     churn_tick,
     60,
     1,
     {.delay_p99 = 1 * MS, .delay_max = 10 * MS}},
    {"group-b",
     "group B (50 % of 8 LPs) with one VM",
     8,
     1,
     1,
     1,
     group_b_one,
     NULL,
     10,
     1,
     {.share_error = ONE_PERCENT, .group_error = ONE_PERCENT}},
    {"group-b-two",
     "group B with two VMs",
     8,
     1,
     1,
     1,
     group_b_two,
     NULL,
     10,
     1,
     {.share_error = ONE_PERCENT, .group_error = ONE_PERCENT}},
    {"groups-b-c",
     "groups B and C (10 %, VM cap 10 %), and others",
     8,
     1,
     1,
     1,
     groups_b_c,
     NULL,
     10,
     1,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT, .group_error = ONE_PERCENT}},
    {"group-leaves",
     "a group's VP beside a capped one, its weight is worth 15.8 % of the LP",
     1,
     1,
     1,
     1,
     group_leaves_light,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT, .group_error = ONE_PERCENT}},
    {"group-leaves-2",
     "the same, its weight is worth more than the 20 % that the group has left",
     1,
     1,
     1,
     1,
     group_leaves_heavy,
     NULL,
     20,
     1,
     {.share_error = ONE_PERCENT, .cap_error = ONE_PERCENT, .group_error = ONE_PERCENT}},
    {"affinity",
     "group A on 2 LPs of its own, B and others on 6",
     8,
     1,
     1,
     1,
     group_affinity,
     NULL,
     10,
     1,
     {.share_error = ONE_PERCENT, .group_error = ONE_PERCENT}},
    {"over-equal", "four VMs of two VPs on 4 LPs, equal", 4, 1, 1, 1, overcommitted, NULL, 10, 1,
     FAIR},
    {"over-weights", "the same, two VMs with weight 300", 4, 1, 1, 1, overcommitted_weights, NULL,
     10, 1, FAIR},
    {"over-reserve",
     "the same, one VM with 64 % reserved",
     4,
     1,
     1,
     1,
     overcommitted_reserves,
     NULL,
     10,
     2,
     {.share_error = ONE_PERCENT, .reserve_error = ONE_PERCENT}},
    {"locks",
     "three VMs of 8 VPs that take locks, 8 LPs",
     8,
     1,
     1,
     1,
     locks,
     NULL,
     10,
     1,
     {.locks = LOCKS}},
};
const struct scenario_table scenarios_classic = {classic, LENGTH(classic), false};
