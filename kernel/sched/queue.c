// SPDX-License-Identifier: BSD-2-Clause-Patent
// The fair queue (include/corbel/sched_queue.h).
#include "corbel/sched_queue.h"

#include <stddef.h>

#define SCALE         10000u // virtual ticks a tick, at weight 1
#define CREDIT_SLICES 2      // what a VP keeps of the share that it did not use while blocked
#define RESERVED_MAX  (SCHED_WHOLE / 16 * 15) // of an LP: the rest is for those without
#define HELD_QUANTA   3  // what one has at least of the share that passed by while a bound held it
#define KEPT_SLICES   32 // what one keeps, or owes, that could not run or comes from elsewhere

static bool after(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) > 0;
}

static uint64_t scaled(uint64_t ticks, uint64_t factor)
{
    return (uint64_t)(((unsigned __int128)ticks * factor) >> 32);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

// ---- controls -----------------------------------------------------------------------------------

bool sched_controls_valid(const struct sched_controls *c)
{
    return c->weight >= 1 && c->weight <= SCHED_WEIGHT_MAX && c->reserve <= SCHED_WHOLE &&
           c->cap <= SCHED_WHOLE && (c->cap == 0 || c->reserve <= c->cap);
}

static void set_weight(struct sched_entity *e, uint32_t weight)
{
    e->weight = weight;
    e->inverse = ((uint64_t)SCALE << 32) / weight;
    e->vslice = scaled(e->slice_max, e->inverse);
}

void sched_entity_init(struct sched_entity *e, const struct sched_policy *policy)
{
    const struct sched_controls plain = {.weight = SCHED_WEIGHT_DEFAULT};

    *e = (struct sched_entity){0};
    sched_entity_control(e, policy, &plain);
}

// Under a cap a VP may save the time of three half quanta while it waits, and run ahead by one: in
// no time does it have more than two quanta above its cap. (A run of r/(1-c) brings it r ahead, so
// high caps have few hold-ups.)
void sched_entity_control(struct sched_entity *e, const struct sched_policy *policy,
                          const struct sched_controls *c)
{
    bool capped = c->cap != 0 && c->cap < SCHED_WHOLE;

    e->asked_weight = c->weight;
    e->reserve = c->reserve;
    e->group = c->group;
    e->grant = 0;
    e->price = capped ? ((uint64_t)SCHED_WHOLE << 32) / c->cap : 0;
    e->saved = scaled(policy->quantum / 2 * 3, e->price);
    e->run_max = capped ? policy->quantum / 2 * SCHED_WHOLE / (SCHED_WHOLE - c->cap) : 0;
    e->bounded = capped || c->group;
    e->slice_max = capped ? policy->quantum : policy->slice;
    if (c->reserve)
        e->slice_max = policy->quantum / 2;
    e->slice = e->slice_max;
    set_weight(e, c->weight);
}

void sched_group_set(struct sched_group *group, uint32_t lps, uint32_t cap)
{
    uint64_t whole = (uint64_t)lps * cap; // LPs' worth of time, of SCHED_WHOLE

    group->price = cap >= SCHED_WHOLE ? 0 : ((uint64_t)SCHED_WHOLE << 32) / (whole ? whole : 1);
}

// Hands out service of a group. Returns from when on it may be used: in the order in which LPs
// come, so VPs that want more than there is get the same.
static uint64_t take(struct sched_group *group, uint64_t amount, uint64_t unused, uint64_t now)
{
    uint64_t cost = scaled(amount, group->price), oldest = less(now, unused);
    uint64_t paid = atomic_load_explicit(&group->paid, memory_order_relaxed), from;

    do
        from = later(paid, oldest);
    while (!atomic_compare_exchange_weak_explicit(&group->paid, &paid, from + cost,
                                                  memory_order_relaxed, memory_order_relaxed));
    return from;
}

// ---- sums ---------------------------------------------------------------------------------------

void sched_queue_init(struct sched_queue *q, const struct sched_policy *policy)
{
    *q = (struct sched_queue){.policy = policy};
}

uint64_t sched_queue_virtual(struct sched_queue *q)
{
    if (q->load) {
        int64_t load = (int64_t)q->load, steps = q->sum / load;
        if (steps * load > q->sum)
            steps--;
        q->base += (uint64_t)steps;
        q->sum -= steps * load;
    }
    return q->base;
}

static void join(struct sched_queue *q, struct sched_entity *e)
{
    q->load += e->weight;
    q->sum += (int64_t)(e->vtime - q->base) * e->weight;
    if (e->reserve)
        q->reserved += e->reserve;
    else
        q->plain += e->weight;
}

void sched_queue_leave(struct sched_queue *q, struct sched_entity *e)
{
    q->load -= e->weight;
    q->sum -= (int64_t)(e->vtime - q->base) * e->weight;
    if (e->reserve)
        q->reserved -= e->reserve;
    else
        q->plain -= e->weight;
}

// A reserve is a floor under the weight: that at which the entity has so much beside those without
// one. What it lacks or has had too much stays the same. `e` is not in the sums, and `base` is the
// virtual time.
static void lift(struct sched_queue *q, struct sched_entity *e)
{
    uint64_t weight = e->asked_weight, reserved = q->reserved + e->reserve;

    if (e->reserve)
        weight = later(weight, q->plain * e->reserve /
                                   (reserved < RESERVED_MAX ? SCHED_WHOLE - reserved
                                                            : SCHED_WHOLE - RESERVED_MAX));
    if (weight == e->weight)
        return;
    e->vtime = q->base - (uint64_t)((int64_t)(q->base - e->vtime) * e->weight / (int64_t)weight);
    set_weight(e, (uint32_t)weight);
    e->deadline = e->vtime + scaled(e->slice, e->inverse);
}

// Where an entity that was away stands. It does not lose the share that it did not use, nor what it
// has had too much, but neither counts for long. An empty queue's time is that of who comes.
static void settle(struct sched_queue *q, struct sched_entity *e, uint64_t credit, uint64_t debt)
{
    if (q->load) {
        uint64_t now = sched_queue_virtual(q);
        if (after(now - credit, e->vtime))
            e->vtime = now - credit;
        if (after(e->vtime, now + debt))
            e->vtime = now + debt;
    } else {
        q->base = e->vtime;
        q->sum = 0;
    }
    if (e->reserve)
        lift(q, e);
    e->slice = e->slice_max;
    e->deadline = e->vtime + e->vslice;
    join(q, e);
}

void sched_queue_enter(struct sched_queue *q, struct sched_entity *e)
{
    settle(q, e, CREDIT_SLICES * e->vslice, e->vslice);
}

void sched_queue_correct(struct sched_queue *q, struct sched_entity *e, uint64_t vtime)
{
    sched_queue_leave(q, e);
    e->vtime = vtime;
    e->deadline = vtime + e->vslice;
    join(q, e);
}

// ---- waiting ------------------------------------------------------------------------------------

static struct sched_entity *entity(struct sched_node *n)
{
    return (struct sched_entity *)n;
}

static void insert_ready(struct sched_queue *q, struct sched_entity *e)
{
    e->eligible = !after(e->vtime, q->base);
    e->node.key = e->eligible ? e->deadline : e->vtime;
    sched_list_insert(e->eligible ? &q->eligible : &q->early, &e->node);
    q->count++;
}

static void remove_ready(struct sched_queue *q, struct sched_entity *e)
{
    sched_list_remove(e->eligible ? &q->eligible : &q->early, &e->node);
    q->count--;
}

static void insert_held(struct sched_queue *q, struct sched_entity *e, uint64_t release)
{
    e->held = true;
    e->node.key = release;
    sched_list_insert(&q->held, &e->node);
}

// The next service of a VP of a group: a quantum, by weight, but little where the group has little,
// since all of them may use theirs at once. (`quantum` has 32 bits at most: a second.)
static uint64_t portion(const struct sched_queue *q, const struct sched_entity *e)
{
    uint64_t quantum = q->policy->quantum;
    uint64_t amount = quantum * e->asked_weight / SCHED_WEIGHT_DEFAULT;
    uint64_t most = earlier(4 * quantum, (quantum << 31) / e->group->price);

    return earlier(later(amount, quantum / 2), later(most, quantum / 4));
}

// From when on cap and group let it run.
static uint64_t release_time(const struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    uint64_t release = e->price ? e->paid : 0;

    if (e->group && e->group->price && e->grant < q->policy->quantum / 16) {
        uint64_t amount = portion(q, e);
        e->grant += amount;
        release = later(release, take(e->group, amount, q->policy->quantum, now));
    }
    return release;
}

void sched_queue_accept(struct sched_queue *q, struct sched_entity *e)
{
    settle(q, e, KEPT_SLICES * e->vslice, KEPT_SLICES * e->vslice);
    insert_ready(q, e);
}

bool sched_queue_add(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    uint64_t release = e->bounded ? release_time(q, e, now) : 0;

    if (release > now) {
        e->credit = CREDIT_SLICES * e->vslice;
        insert_held(q, e, release);
        return false;
    }
    sched_queue_enter(q, e);
    insert_ready(q, e);
    return true;
}

void sched_queue_remove(struct sched_queue *q, struct sched_entity *e)
{
    if (e->held) {
        e->held = false;
        sched_list_remove(&q->held, &e->node);
        return;
    }
    remove_ready(q, e);
    sched_queue_leave(q, e);
}

bool sched_queue_release(struct sched_queue *q, uint64_t now)
{
    bool any = false;

    while (sched_queue_release_time(q) <= now) {
        struct sched_entity *e = entity(q->held.first);
        sched_queue_remove(q, e);
        settle(q, e, e->credit, KEPT_SLICES * e->vslice);
        insert_ready(q, e);
        any = true;
    }
    return any;
}

struct sched_entity *sched_queue_best(struct sched_queue *q)
{
    if (q->early.first && q->count > 1) {
        uint64_t now = sched_queue_virtual(q);
        while (q->early.first && !after(q->early.first->key, now)) {
            struct sched_entity *e = entity(q->early.first);
            sched_list_remove(&q->early, &e->node);
            e->eligible = true;
            e->node.key = e->deadline;
            sched_list_insert(&q->eligible, &e->node);
        }
    }
    return entity(q->eligible.first ? q->eligible.first : q->early.first);
}

bool sched_queue_beats(struct sched_queue *q, const struct sched_entity *e,
                       const struct sched_entity *running)
{
    return after(running->deadline, e->deadline) && !after(e->vtime, sched_queue_virtual(q));
}

// ---- running ------------------------------------------------------------------------------------

// Where a reserve is to be kept, turns are three times as long as its own slices at most: of what
// it has in a time it misses no more than a turn and a slice. Where a bound holds somebody, whoever
// has the LP instead may have more than its share by that: turns are short there, so that the LP
// looks early whether others lack it.
uint64_t sched_queue_turn(const struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    uint64_t ticks = e->slice;

    e->started = now;
    if (q->reserved)
        ticks = earlier(ticks, q->policy->quantum / 2 * 3);
    if (q->held.first)
        ticks = earlier(ticks, q->policy->quantum / 3);
    if (!e->bounded)
        return now + ticks;
    if (e->price)
        ticks = earlier(ticks, e->run_max);
    if (e->group && e->group->price)
        ticks = earlier(ticks, e->grant);
    return now + ticks;
}

uint64_t sched_queue_start(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    remove_ready(q, e);
    return sched_queue_turn(q, e, now);
}

static void charge_bounds(struct sched_entity *e, uint64_t ticks)
{
    if (e->price)
        e->paid = later(e->paid, less(e->started, e->saved)) + scaled(ticks, e->price);
    if (e->group && e->group->price) {
        if (ticks > e->grant)
            atomic_fetch_add_explicit(&e->group->paid, scaled(ticks - e->grant, e->group->price),
                                      memory_order_relaxed);
        e->grant = less(e->grant, ticks);
    }
}

// Counts service; returns how much it was.
static inline uint64_t serve(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    uint64_t ticks = less(now, e->started), virtual_ticks = scaled(ticks, e->inverse);

    if (e->bounded)
        charge_bounds(e, ticks);
    e->started = now;
    e->vtime += virtual_ticks;
    if (q->load == e->weight) { // alone: the queue's time is its own
        q->base = e->vtime;
        q->sum = 0;
    } else {
        q->sum += (int64_t)virtual_ticks * e->weight;
    }
    return ticks;
}

void sched_queue_charge(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    uint64_t ticks = serve(q, e, now);

    if (ticks < e->slice) {
        e->slice -= ticks;
    } else {
        e->slice = e->slice_max;
        e->deadline = e->vtime + e->vslice;
    }
}

void sched_queue_trade(struct sched_queue *q, struct sched_entity *running,
                       struct sched_entity *waiting)
{
    uint64_t vtime = running->vtime, deadline = running->deadline, slice = running->slice;

    remove_ready(q, waiting);
    running->vtime = waiting->vtime;
    running->deadline = waiting->deadline;
    running->slice = waiting->slice;
    waiting->vtime = vtime;
    waiting->deadline = deadline;
    waiting->slice = slice;
    insert_ready(q, waiting);
}

void sched_queue_lift(struct sched_queue *q, struct sched_entity *e)
{
    sched_queue_virtual(q);
    sched_queue_leave(q, e);
    lift(q, e);
    join(q, e);
}

bool sched_queue_preempt(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    sched_queue_charge(q, e, now);
    if (e->reserve)
        sched_queue_lift(q, e);
    if (e->bounded) {
        uint64_t release = release_time(q, e, now);
        if (release > now) {
            uint64_t average = sched_queue_virtual(q);
            e->credit = later(after(average, e->vtime) ? average - e->vtime : 0,
                              scaled(HELD_QUANTA * q->policy->quantum, e->inverse));
            sched_queue_leave(q, e);
            insert_held(q, e, release);
            return false;
        }
    }
    insert_ready(q, e);
    return true;
}

void sched_queue_block(struct sched_queue *q, struct sched_entity *e, uint64_t now)
{
    serve(q, e, now);
    sched_queue_leave(q, e);
    if (e->grant) {
        atomic_fetch_sub_explicit(&e->group->paid, scaled(e->grant, e->group->price),
                                  memory_order_relaxed);
        e->grant = 0;
    }
}
