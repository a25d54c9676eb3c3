// SPDX-License-Identifier: BSD-2-Clause-Patent
// Runs a scenario and measures it: each second against the fluid share, each tenth of a second
// against the bounds.
#include "scenario.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define SHORT     (100 * MS)
#define MOVES_MAX 2000u // a second and LP

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static void most(uint64_t *field, uint64_t value)
{
    if (value > *field)
        *field = value;
}

static uint64_t ppm_of(uint64_t whole)
{
    return whole * PPM / SCHED_WHOLE;
}

static uint64_t ceiling(const struct sim_vp *vp, uint64_t window)
{
    uint64_t cap = vp->controls.cap ? ppm_of(vp->controls.cap) : PPM;
    uint64_t had = (window == SHORT ? vp->short_ran : vp->window_ran) * PPM / window;

    return vp->load.kind == LOAD_CPU || had > cap ? cap : had;
}

static uint32_t group_of(const struct scene *scene, const struct sim_vp *vp)
{
    return vp->controls.group ? (uint32_t)(vp->controls.group - scene->groups) + 1 : 0;
}

// The ideal of those with one affinity.
static void ideal(const struct scene *scene, const uint64_t *set, uint64_t capacity,
                  uint64_t window, uint64_t *shares)
{
    static struct fluid f[SIM_VPS];
    static uint32_t who[SIM_VPS];
    const struct sim *s = scene->sim;
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->vp_count; i++) {
        const struct sim_vp *vp = &s->vps[i];
        if (!vp->present || vp->sched.affinity != set || sim_head(vp) != vp)
            continue;
        uint64_t top = ceiling(vp, window), floor = ppm_of(vp->controls.reserve);
        who[n] = i;
        f[n++] = (struct fluid){.weight = vp->controls.weight,
                                .floor = floor < top ? floor : top,
                                .ceiling = top,
                                .group = group_of(scene, vp)};
    }
    fluid_share(f, n, capacity * PPM, scene->allowance, scene->group_count);
    for (uint32_t i = 0; i < n; i++)
        shares[who[i]] = f[i].share;
    for (uint32_t i = 0; i < s->vp_count; i++) // siblings have what the first has
        if (s->vps[i].present && s->vps[i].sched.affinity == set)
            shares[i] = shares[sim_head(&s->vps[i])->index];
}

static uint64_t processors(const struct sim *s)
{
    return s->by_core ? s->cores.machine.count : s->lp_count;
}

static void ideals(const struct scene *scene, uint64_t window, uint64_t *shares)
{
    bool any = false;

    for (uint32_t i = 0; i < SCENARIO_SETS; i++)
        if (scene->set_size[i]) {
            ideal(scene, scene->sets[i], scene->set_size[i], window, shares);
            any = true;
        }
    if (!any)
        ideal(scene, NULL, processors(scene->sim), window, shares);
}

static void measure_second(const struct scene *scene, struct measures *m, bool counts)
{
    static uint64_t shares[SIM_VPS];
    struct sim *s = scene->sim;

    ideals(scene, SECOND, shares);
    for (uint32_t i = 0; i < s->vp_count; i++) {
        struct sim_vp *vp = &s->vps[i];
        bool above = vp->controls.reserve && vp->window_ran > shares[i] * (SECOND / PPM);
        if (vp->present && counts && vp->load.kind == LOAD_CPU && !above) // a reserve is a floor
            most(&m->share_error, distance(vp->window_ran * PPM / SECOND, shares[i]));
        vp->window_ran = 0;
    }
}

// Whether the caps can all be reached together. If not, one that stays below its cap is no error of
// the cap, which is an upper bound, but one of the share.
static bool caps_fit(const struct sim *s)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->vp_count; i++)
        if (s->vps[i].present && sim_head(&s->vps[i]) == &s->vps[i])
            sum += s->vps[i].controls.cap;
    return sum <= processors(s) * SCHED_WHOLE;
}

static void measure_short(const struct scene *scene, struct measures *m, bool counts)
{
    static uint64_t shares[SIM_VPS];
    struct sim *s = scene->sim;
    uint64_t groups[SCENARIO_GROUPS] = {0};
    bool fit = caps_fit(s);

    ideals(scene, SHORT, shares);
    for (uint32_t i = 0; i < s->vp_count; i++) {
        struct sim_vp *vp = &s->vps[i];
        uint64_t had = vp->short_ran * PPM / SHORT, cap = ppm_of(vp->controls.cap);
        uint64_t reserve = ppm_of(vp->controls.reserve);
        vp->short_ran = 0;
        if (!vp->present || !counts)
            continue;
        if (group_of(scene, vp) && sim_head(vp) == vp)
            groups[group_of(scene, vp) - 1] += had;
        if (cap && (had > cap || (fit && shares[i] == cap && vp->load.kind == LOAD_CPU)))
            most(&m->cap_error, distance(had, cap));
        if (reserve && had < reserve && vp->load.kind == LOAD_CPU)
            most(&m->reserve_error, reserve - had);
    }
    for (uint32_t i = 0; i < scene->group_count; i++)
        if (groups[i] > scene->allowance[i])
            most(&m->group_error, (groups[i] - scene->allowance[i]) * PPM / scene->allowance[i]);
}

static void totals(const struct scene *scene, uint64_t *moves, uint64_t *busy, uint64_t *locks)
{
    const struct sim *s = scene->sim;

    *moves = s->moves;
    *busy = *locks = 0;
    for (uint32_t i = 0; i < s->vp_count; i++) {
        if (s->vps[i].present && sim_head(&s->vps[i]) == &s->vps[i])
            *moves += s->vps[i].team ? s->vps[i].team->unit.moves : s->vps[i].sched.moves;
        *busy += s->vps[i].ran;
    }
    for (uint32_t i = 0; i < s->vp_count; i++)
        *locks += s->vms[i].locks;
}

static int judge(const struct scenario *scenario, const struct measures *m, const struct sim *s,
                 bool tells)
{
    static const struct {
        const char *name, *unit;
        size_t offset;
        uint64_t divisor;
    } fields[] = {
        {"share error", "% of an LP in 1 s", offsetof(struct measures, share_error), 10},
        {"cap error", "% of an LP in 100 ms", offsetof(struct measures, cap_error), 10},
        {"reserve missed", "% of an LP in 100 ms", offsetof(struct measures, reserve_error), 10},
        {"group excess", "% of its allowance in 100 ms", offsetof(struct measures, group_error),
         10},
        {"wake-up delay p99", "us", offsetof(struct measures, delay_p99), 1},
        {"longest delay", "us", offsetof(struct measures, delay_max), 1},
        {"longest wait", "us", offsetof(struct measures, wait_max), 1},
        {"moves", "a second", offsetof(struct measures, moves), 0},
    };
    bool moves = m->moves > (uint64_t)MOVES_MAX * s->lp_count;
    bool locks = m->locks < scenario->limit.locks;
    int bad = s->faults != 0 || moves || locks;

    if (tells)
        printf("%-14s %s\n", scenario->name, scenario->what);
    for (uint32_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint64_t got = *(const uint64_t *)((const char *)m + fields[i].offset);
        uint64_t limit = *(const uint64_t *)((const char *)&scenario->limit + fields[i].offset);
        if (!limit)
            continue;
        uint64_t shown = fields[i].divisor ? got / fields[i].divisor : got * 1000;
        bad |= got > limit;
        if (!tells)
            continue;
        printf("    %-18s %6lu.%03lu %s%s\n", fields[i].name, shown / 1000, shown % 1000,
               fields[i].unit, got > limit ? "   TOO MUCH" : "");
    }
    if (!tells)
        return bad;
    if (s->faults)
        printf("    FAULT: %s (%lu times)\n", s->fault, s->faults);
    printf("    %lu moves a second%s, %lu.%lu %% of the machine used, longest wait %lu us\n",
           m->moves, moves ? "   TOO MANY" : "", m->used / 10000, m->used / 1000 % 10,
           m->wait_max / 1000);
    if (scenario->limit.locks)
        printf("    %lu locks a second%s\n", m->locks, locks ? "   TOO FEW" : "");
    return bad;
}

int scenario_run(const struct scenario *scenario, bool by_core, uint32_t seed, struct measures *m,
                 bool tells)
{
    static struct scene scene;
    uint64_t moves = 0, busy = 0, locks = 0, start = 0, end = scenario->seconds * 10;

    scene = (struct scene){.sim = sim_create(scenario->cores, scenario->threads, scenario->caches,
                                             scenario->nodes, seed, by_core)};
    *m = (struct measures){0};
    scenario->setup(&scene);
    for (uint64_t tick = 1; tick <= end; tick++) {
        bool counts = tick > scenario->settle * 10;
        if (scenario->tick)
            scenario->tick(&scene, tick);
        if (tick == scenario->settle * 10 + 1) {
            totals(&scene, &moves, &busy, &locks);
            start = scene.sim->now;
            scene.sim->wait_max = 0;
        }
        sim_run(scene.sim, tick * SHORT);
        measure_short(&scene, m, counts);
        if (tick % 10 == 0)
            measure_second(&scene, m, counts);
    }
    struct sim *s = scene.sim;
    uint64_t moves_end, busy_end, locks_end, ms = (s->now - start) / MS;
    totals(&scene, &moves_end, &busy_end, &locks_end);
    m->moves = (moves_end - moves) * 1000 / ms;
    m->locks = (locks_end - locks) * 1000 / ms;
    m->used = (busy_end - busy) / s->lp_count / ms;
    m->delay_p99 = s->wakes ? sim_delay(s, 990000) : 0;
    m->delay_max = s->delay_max;
    m->wait_max = s->wait_max;
    int bad = judge(scenario, m, s, tells);
    sim_destroy(s);
    return bad;
}
