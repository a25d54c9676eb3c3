// SPDX-License-Identifier: BSD-2-Clause-Patent
// The simulated machine: events of LPs (timer, kick, end of a run) and of VPs (wake-up).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define SPIN_LIMIT (50 * US)

// ---- events: an indexed heap --------------------------------------------------------------------

static void put_at(struct sim *s, uint32_t position, uint32_t id)
{
    s->heap[position] = id;
    s->place[id] = position;
}

static void sift(struct sim *s, uint32_t position, uint32_t id)
{
    uint64_t when = s->when[id];

    while (position > 0 && s->when[s->heap[(position - 1) / 2]] > when) {
        put_at(s, position, s->heap[(position - 1) / 2]);
        position = (position - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * position + 1;
        if (child + 1 < s->heap_count && s->when[s->heap[child + 1]] < s->when[s->heap[child]])
            child++;
        if (child >= s->heap_count || s->when[s->heap[child]] >= when)
            break;
        put_at(s, position, s->heap[child]);
        position = child;
    }
    put_at(s, position, id);
}

static void schedule(struct sim *s, uint32_t id, uint64_t when)
{
    s->when[id] = when;
    sift(s, s->place[id], id);
}

static void schedule_vp(struct sim *s, const struct sim_vp *vp, uint64_t when)
{
    schedule(s, s->lp_count + vp->index, when);
}

void sim_kick(struct sim *s, uint32_t lp)
{
    uint64_t when = s->now + s->ipi;

    if (s->when[lp] > when)
        schedule(s, lp, when);
}

static void kick(struct sim *s, const struct sched_lp *lp)
{
    sim_kick(s, lp->index);
}

uint64_t sim_random(struct sim *s, uint64_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random % below;
}

void sim_fault(struct sim *s, const char *text)
{
    s->faults++;
    s->fault = text;
}

// ---- VPs ----------------------------------------------------------------------------------------

static bool kick_idle(struct sim *s, const struct sched_lp *home, const struct sim_vp *vp)
{
    const struct sched_lp *idle = sched_idle_near(&s->machine, home, &vp->sched);

    if (idle)
        kick(s, idle);
    return idle != NULL;
}

// As lp_wake_idle() does (kernel/lp.c).
static void find_lp(struct sim *s, struct sched_lp *home, struct sim_vp *vp)
{
    const struct sched_lp *to;

    if (kick_idle(s, home, vp) || !vp->controls.reserve)
        return;
    to = sched_elsewhere(&s->machine, home, &vp->sched, s->now);
    if (to)
        kick(s, to);
}

static void wake(struct sim *s, struct sim_vp *vp)
{
    struct sched_lp *home;

    vp->woken = vp->ready_since = s->now;
    if (s->by_core) {
        sim_core_wake(s, vp);
        return;
    }
    switch (sched_wake(&vp->sched, &home, s->now)) {
    case SCHED_WAKE_PREEMPT:
        kick(s, home);
        if (home->running) // who is preempted may go on elsewhere
            kick_idle(s, home, vp);
        break;
    case SCHED_WAKE_QUEUED:
        if (!vp->sched.pinned)
            find_lp(s, home, vp);
        break;
    case SCHED_WAKE_HELD:
        kick(s, home);
        break;
    case SCHED_WAKE_NONE:
    case SCHED_WAKE_RUNNING:
    case SCHED_WAKE_OUTSIDE: // no root schedules here
        sim_fault(s, "a blocked VP was not blocked");
        break;
    }
}

static uint64_t around(struct sim *s, uint64_t mean)
{
    return mean / 2 + sim_random(s, mean + 1);
}

// A run begins; returns when, if not now.
static uint64_t next_run(struct sim *s, struct sim_vp *vp)
{
    switch (vp->load.kind) {
    case LOAD_PERIODIC:
        vp->left = vp->load.run;
        vp->next_start += vp->load.period;
        if (vp->next_start < s->now)
            vp->next_start = s->now;
        return vp->next_start;
    case LOAD_BURSTY:
        vp->left = around(s, vp->load.run);
        return s->now + around(s, vp->load.period - vp->load.run);
    case LOAD_LOCK:
        vp->left = around(s, vp->load.run);
        return s->now;
    case LOAD_CPU:
        break;
    }
    vp->left = SIM_NEVER / 2;
    return s->now;
}

// What the running VP has done since it was last counted.
static void count(struct sim *s, struct sim_vp *vp)
{
    uint64_t ran = s->now - vp->counted;

    vp->counted = s->now;
    vp->ran += ran;
    vp->window_ran += ran;
    vp->short_ran += ran;
    if (vp->waits_lock)
        vp->spun += ran;
    else
        vp->left -= ran < vp->left ? ran : vp->left;
}

// The VP comes to the end of what it does without blocking. True if it goes on running.
static bool lock_step(struct sim *s, struct sim_vp *vp)
{
    struct sim_vm *vm = &s->vms[vp->vm];

    if (vp->holds_lock) {
        vp->holds_lock = false;
        vm->lock_holder = 0;
        next_run(s, vp);
        return true;
    }
    vp->waits_lock = vm->lock_holder != 0;
    if (!vp->waits_lock) {
        vp->spun = 0;
        vp->holds_lock = true;
        vp->left = vp->load.run / 10;
        vm->lock_holder = vp->index + 1;
        vm->locks++;
    }
    return true;
}

static void note_delay(struct sim *s, struct sim_vp *vp)
{
    uint64_t delay = s->now - vp->woken;

    if (vp->ready_since != SIM_NEVER && s->now - vp->ready_since > s->wait_max)
        s->wait_max = s->now - vp->ready_since;
    vp->ready_since = SIM_NEVER;
    if (vp->woken == SIM_NEVER)
        return;
    vp->woken = SIM_NEVER;
    if (!vp->measured)
        return;
    s->wakes++;
    if (delay > s->delay_max)
        s->delay_max = delay;
    delay /= 10 * US;
    s->delays[delay < DELAY_BUCKETS ? delay : DELAY_BUCKETS - 1]++;
}

uint64_t sim_delay(const struct sim *s, uint32_t ppm)
{
    uint64_t seen = 0;
    uint32_t i = 0;

    while (i < DELAY_BUCKETS - 1 && (seen += s->delays[i]) * PPM < s->wakes * ppm)
        i++;
    return (i + 1) * 10 * US;
}

// ---- LPs ----------------------------------------------------------------------------------------

static void check_running(struct sim *s, const struct sim_lp *lp, const struct sim_vp *vp)
{
    if (vp->sched.state != SCHED_RUNNING || vp->sched.home != &lp->sched)
        sim_fault(s, "a VP runs where it is not");
    if (!sched_allowed(&vp->sched, lp->sched.index))
        sim_fault(s, "a VP runs outside of its affinity");
    for (uint32_t i = 0; s->lp_count <= 8 && i < s->lp_count; i++)
        if (&s->lps[i] != lp && s->lps[i].vp == vp)
            sim_fault(s, "a VP runs on two LPs");
}

static struct sim_vp *choose(struct sim *s, struct sim_lp *lp, bool blocked)
{
    struct sched_vp *vp = sched_switch(&lp->sched, blocked, s->now);

    if (!vp && sched_pull(&lp->sched, &s->machine))
        vp = sched_switch(&lp->sched, false, s->now);
    return (struct sim_vp *)vp;
}

static void change(struct sim *s, struct sim_lp *lp, bool blocked)
{
    struct sim_vp *before = lp->vp, *vp;

    vp = s->by_core ? sim_core_change(s, lp, blocked) : choose(s, lp, blocked);
    lp->vp = vp;
    if (s->by_core)
        sim_core_check(s, lp);
    if (before && before != vp && !blocked)
        before->ready_since = s->now;
    if (vp) {
        check_running(s, lp, vp);
        if (vp != before)
            vp->counted = s->now;
        note_delay(s, vp);
    }
}

static void depart(struct sim *s, struct sim_vp *vp)
{
    s->moves += vp->team ? vp->team->unit.moves : vp->sched.moves;
    vp->present = false;
    schedule_vp(s, vp, SIM_NEVER);
    if (!vp->team)
        sched_vp_remove(&vp->sched);
    else if (sched_team_leave(&vp->sched))
        free(vp->team);
}

static bool help(struct sim *s, struct sim_lp *lp, struct sim_vp *vp)
{
    return s->by_core ? sched_core_boost(&lp->sched, &vp->sched, s->now)
                      : sched_boost(&lp->sched, &vp->sched, s->now);
}

// The running VP's own doing: its run ends, it takes a lock, it leaves. False: it blocks.
static bool proceed(struct sim *s, struct sim_lp *lp, struct sim_vp *vp, bool *leaves)
{
    uint64_t start;

    count(s, vp);
    if (vp->leaving)
        return false;
    if (vp->load.kind == LOAD_LOCK) {
        if (vp->waits_lock || vp->left == 0)
            lock_step(s, vp);
        if (vp->waits_lock && vp->spun >= SPIN_LIMIT && s->yields) {
            vp->spun = 0;
            *leaves = help(s, lp, &s->vps[s->vms[vp->vm].lock_holder - 1]);
        }
        return true;
    }
    if (vp->left)
        return true;
    start = next_run(s, vp);
    if (start <= s->now) {
        vp->woken = SIM_NEVER;
        return true;
    }
    schedule_vp(s, vp, start);
    return false;
}

static uint64_t own_event(const struct sim *s, const struct sim_vp *vp)
{
    if (vp->leaving)
        return s->now;
    return vp->waits_lock ? s->now + 5 * US : s->now + vp->left;
}

static void look(struct sim *s, struct sim_lp *lp, bool stays)
{
    struct sched_lp *idle = NULL;

    if (sched_must_release(&lp->sched, s->now) && sched_release(&lp->sched, s->now) &&
        (idle = sched_spare(&lp->sched, &s->machine)) != NULL)
        kick(s, idle);
    idle = NULL;
    if (stays && sched_must_look(&lp->sched, s->now))
        idle = sched_look(&lp->sched, &s->machine, s->now);
    if (idle)
        kick(s, idle);
}

static void idle_end(struct sim *s, struct sim_lp *lp)
{
    lp->idle = false;
    lp->idle_time += s->now - lp->idle_since;
    if (!s->by_core)
        sched_idle_end(&s->machine, &lp->sched);
}

static void idle_begin(struct sim *s, struct sim_lp *lp)
{
    lp->idle = true;
    lp->idle_since = s->now;
    if (!s->by_core)
        sched_idle_begin(&s->machine, &lp->sched);
}

static void lp_event(struct sim *s, struct sim_lp *lp)
{
    struct sim_vp *vp = lp->vp;
    bool leaves = false, blocked = vp && !proceed(s, lp, vp, &leaves);
    uint64_t next;

    if (lp->idle)
        idle_end(s, lp);
    if (s->by_core)
        sim_core_look(s, lp);
    else
        look(s, lp, vp && !blocked);
    if (!vp || blocked || leaves || lp->kicked || sched_must_yield(&lp->sched, s->now))
        change(s, lp, blocked);
    lp->kicked = false;
    if (blocked && vp->leaving)
        depart(s, vp);
    if (!lp->vp)
        idle_begin(s, lp);
    next = sched_timer_first(&lp->sched);
    if (lp->vp && lp->vp->sched.slice_end < next)
        next = lp->vp->sched.slice_end;
    if (lp->vp && own_event(s, lp->vp) < next)
        next = own_event(s, lp->vp);
    schedule(s, lp->sched.index, next);
}

static void vp_event(struct sim *s, struct sim_vp *vp)
{
    schedule_vp(s, vp, SIM_NEVER);
    wake(s, vp);
}

void sim_run(struct sim *s, uint64_t until)
{
    while (s->when[s->heap[0]] <= until) {
        uint32_t id = s->heap[0];
        s->now = s->when[id];
        s->events++;
        if (id < s->lp_count)
            lp_event(s, &s->lps[id]);
        else
            vp_event(s, &s->vps[id - s->lp_count]);
    }
    s->now = until;
    sim_settle(s);
}

void sim_settle(struct sim *s)
{
    for (uint32_t i = 0; i < s->lp_count; i++)
        if (s->lps[i].vp)
            count(s, s->lps[i].vp);
}

// ---- machines -----------------------------------------------------------------------------------

struct sim *sim_create(uint32_t cores, uint32_t threads, uint32_t caches, uint32_t nodes,
                       uint32_t seed, bool by_core)
{
    struct sim *s = calloc(1, sizeof(*s));
    uint32_t count = cores * threads, events = count + SIM_VPS;
    struct sched_place *places = calloc(count, sizeof(*places));

    s->lp_count = count;
    s->by_core = by_core;
    s->random = seed * 2654435761u + 88172645463325252ull;
    s->ipi = 2 * US;
    s->yields = true;
    s->lps = calloc(count, sizeof(*s->lps));
    s->lp_list = calloc(count, sizeof(struct sched_lp *));
    s->vps = calloc(SIM_VPS, sizeof(*s->vps));
    s->vms = calloc(SIM_VPS, sizeof(*s->vms));
    s->when = calloc(events, sizeof(*s->when));
    s->heap = calloc(events, sizeof(*s->heap));
    s->place = calloc(events, sizeof(*s->place));
    for (uint32_t i = 0; i < count; i++) {
        s->lp_list[i] = &s->lps[i].sched;
        places[i] = (struct sched_place){
            {i / threads, (uint32_t)((uint64_t)i * caches / count), i * nodes / count}};
    }
    for (uint32_t i = 0; i < events; i++) {
        s->when[i] = SIM_NEVER;
        put_at(s, i, i);
    }
    s->heap_count = events;
    sched_policy_init(&s->policy, 2 * MS);
    sched_machine_init(&s->machine, s->lp_list, places, count, &s->policy);
    if (by_core)
        sim_cores_create(s, places, threads);
    for (uint32_t i = 0; i < count; i++) {
        s->lps[i].idle = true;
        if (!by_core)
            sched_idle_begin(&s->machine, s->lp_list[i]);
    }
    free(places);
    return s;
}

void sim_destroy(struct sim *s)
{
    if (s->by_core)
        sim_cores_destroy(s);
    free(s->lps);
    free(s->lp_list);
    free(s->vps);
    free(s->vms);
    free(s->when);
    free(s->heap);
    free(s->place);
    free(s);
}

static struct sched_lp *least_loaded(const struct sim *s, const uint64_t *affinity)
{
    struct sched_lp *best = NULL;

    for (uint32_t i = 0; i < s->lp_count; i++)
        if ((!affinity || (affinity[i / 64] >> (i % 64) & 1)) &&
            (!best || s->lp_list[i]->assigned < best->assigned))
            best = s->lp_list[i];
    return best;
}

struct sim_vp *sim_new_vp(struct sim *s, uint32_t vm, struct load load,
                          const struct sched_controls *c)
{
    uint32_t i = 0;

    while (s->vps[i].present)
        i++;
    struct sim_vp *vp = &s->vps[i];
    *vp = (struct sim_vp){.index = i, .vm = vm, .present = true, .load = load, .controls = *c};
    if (i >= s->vp_count)
        s->vp_count = i + 1;
    return vp;
}

void sim_begin(struct sim *s, struct sim_vp *vp)
{
    vp->next_start = s->now + (vp->load.period ? sim_random(s, vp->load.period) : 0);
    uint64_t start = next_run(s, vp);
    schedule_vp(s, vp, start);
}

uint32_t sim_add(struct sim *s, uint32_t vm, struct load load, const struct sched_controls *c,
                 const uint64_t *affinity)
{
    struct sim_vp *vp = sim_new_vp(s, vm, load, c);

    sched_vp_init(&vp->sched, least_loaded(s, affinity), false);
    vp->sched.affinity = affinity;
    sched_vp_control(&vp->sched, c, s->now);
    sim_begin(s, vp);
    return vp->index;
}

void sim_add_root(struct sim *s, uint32_t lp, struct load load)
{
    const struct sched_controls plain = {.weight = SCHED_WEIGHT_DEFAULT};
    struct sim_vp *vp = sim_new_vp(s, 0, load, &plain);

    sched_vp_init(&vp->sched, s->lp_list[lp], true);
    sim_begin(s, vp);
}

void sim_remove(struct sim *s, uint32_t vp)
{
    struct sim_vp *v = &s->vps[vp];

    if (v->sched.state == SCHED_RUNNING) {
        v->leaving = true;
        kick(s, v->sched.home);
    } else {
        depart(s, v);
    }
}
