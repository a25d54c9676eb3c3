// SPDX-License-Identifier: BSD-2-Clause-Patent
// How work spreads over LPs (include/corbel/sched.h). Nobody knows the whole machine: at the end of
// each slice an LP looks at one other, mostly a near one. Virtual times count the same service
// everywhere, so a VP that waits there and lacks service, measured by the time here, is better off
// here; how much it must lack grows with the distance. With as many looks as LPs in a slice's time
// no VP lacks more for long, however many LPs there are.
//
// Virtual times of LPs on which nobody waits run on at any rate and mean nothing; such an LP takes
// over those of one on which somebody waits when it sees it.
#include <stddef.h>

#include "corbel/sched.h"
#include "sched_lp.h"

#define SCALE    10000u // as in queue.c: virtual ticks a tick, at weight 1
#define TRIES    5u     // VPs of a list that are looked at, and LPs
#define ROOM     8      // slices
#define DOMINANT 8      // all but one of so many parts of an LP's weight
#define SCAN_MAX 64u    // LPs that an idle one looks at

void sched_policy_init(struct sched_policy *policy, uint64_t slice)
{
    *policy = (struct sched_policy){
        .slice = slice, .quantum = slice / 4, .lag = {slice / 2, slice / 2, slice, slice}};
}

// The neighbours of LP i at a level are a range, since the LPs are sorted.
static struct sched_range range_of(const struct sched_place *places, uint32_t count, uint32_t i,
                                   enum sched_distance d)
{
    uint32_t first = i, end = i + 1;

    if (d == SCHED_FAR || (!places && d != SCHED_NEAR_CORE))
        return (struct sched_range){0, count};
    if (!places)
        return (struct sched_range){i, 1};
    while (first > 0 && places[first - 1].id[d] == places[i].id[d])
        first--;
    while (end < count && places[end].id[d] == places[i].id[d])
        end++;
    return (struct sched_range){first, end - first};
}

void sched_machine_init(struct sched_machine *machine, struct sched_lp *const *lps,
                        const struct sched_place *places, uint32_t count,
                        const struct sched_policy *policy)
{
    *machine = (struct sched_machine){.lps = lps, .count = count, .policy = policy};
    for (uint32_t i = 0; i < count; i++) {
        struct sched_lp *lp = lps[i];
        *lp = (struct sched_lp){.index = i,
                                .hint = i,
                                .random = i,
                                .release = SCHED_NEVER,
                                .first_deadline = SCHED_NO_TIMER};
        spin_init(&lp->lock);
        sched_queue_init(&lp->queue, policy);
        for (uint32_t d = 0; d < SCHED_DISTANCES; d++)
            lp->near[d] = range_of(places, count, i, d);
    }
}

// ---- taking -------------------------------------------------------------------------------------

static enum sched_distance distance(const struct sched_lp *a, uint32_t index)
{
    enum sched_distance d = SCHED_NEAR_CORE;

    while (d < SCHED_FAR && index - a->near[d].first >= a->near[d].count)
        d++;
    return d;
}

// The virtual times of an LP that may take and of the one that it takes from.
struct times {
    uint64_t here, there;
};

// Whether a VP that waits on `from` had better be on `to`. It evens out reserves or weights, or it
// lacks more service than the way is worth; but one that has had its share would wait on, and one
// that has nearly all of its LP gains nothing and would only crowd others.
static bool gains(const struct sched_lp *from, const struct sched_lp *to,
                  const struct sched_entity *e, struct times t)
{
    uint64_t lag = from->queue.policy->lag[distance(to, from->index)], weight = e->weight;
    int64_t ahead = (int64_t)(t.here - t.there);

    if (e->reserve)
        return to->queue.reserved + 2 * e->reserve <= from->queue.reserved;
    if (ahead < 0 || (int64_t)(e->vtime - t.here) > 0)
        return false;
    if (to->queue.load + 2ull * e->weight <= from->queue.load)
        return true;
    if (e->weight > from->queue.load / 4 * 3)
        return false;
    if (weight < from->queue.load / 4)
        weight = from->queue.load / 4; // others there lack as much
    return (unsigned __int128)(uint64_t)ahead * weight > lag * SCALE;
}

static bool may_move(const struct sched_lp *from, const struct sched_lp *to,
                     const struct sched_node *n, struct times t)
{
    const struct sched_vp *vp = (const struct sched_vp *)n;

    return n && !vp->pinned && sched_allowed(vp, to->index) &&
           (!to->running || to == from || gains(from, to, &vp->entity, t));
}

// One of the first of a list that may move.
static struct sched_vp *movable_of(const struct sched_list *list, const struct sched_lp *from,
                                   const struct sched_lp *to, struct times t)
{
    struct sched_node *n = list->first;

    for (uint32_t i = 0; n && i < TRIES; i++, n = n->next)
        if (may_move(from, to, n, t))
            return (struct sched_vp *)n;
    return NULL;
}

// A VP of `from` that may come: the one that would run next there, or another of those that wait
// longest. Only what would have to wait: an LP between two VPs takes its only one itself. The lock
// is held.
static struct sched_vp *movable(struct sched_lp *from, const struct sched_lp *to, struct times t)
{
    struct sched_vp *vp;

    sched_settle(from);
    if ((!from->running && from->queue.count < 2 && !from->first) ||
        !sched_queue_best(&from->queue))
        return NULL;
    vp = movable_of(&from->queue.eligible, from, to, t);
    return vp ? vp : movable_of(&from->queue.early, from, to, t);
}

// One with a reserve that is not ahead where it waits is not ahead where it goes either: a reserve
// lifts weights, and with them times, on each LP in another way. (Who comes to an empty queue
// brings his time.)
static void keep_standing(struct sched_queue *to, struct sched_entity *e)
{
    uint64_t there = sched_queue_virtual(to);

    if (e->eligible && to->load && (int64_t)(e->vtime - there) > 0)
        e->vtime = there;
}

// Both locks held. Nobody finds the VP between the queues: it is READY, so only its home matters.
static void move(struct sched_lp *from, struct sched_lp *to, struct sched_vp *vp)
{
    sched_queue_remove(&from->queue, &vp->entity);
    if (vp->entity.reserve)
        keep_standing(&to->queue, &vp->entity);
    if (from->resume == vp)
        from->resume = NULL;
    from->assigned--;
    __atomic_store_n(&vp->home, to, __ATOMIC_RELEASE);
    to->assigned++;
    sched_timer_move(from, to, vp);
    sched_queue_accept(&to->queue, &vp->entity);
    vp->moves++;
}

// Whether somebody seems to wait who may move: a look without the lock.
static bool spare_seen(const struct sched_lp *lp)
{
    return __atomic_load_n(&lp->queue.count, __ATOMIC_RELAXED) ||
           __atomic_load_n(&lp->interrupted_ready, __ATOMIC_RELAXED);
}

// Both locks held. One that a bound holds asks again, and who is away has no place in a queue.
static void place_at(struct sched_lp *from, struct sched_lp *to, struct sched_vp *vp, uint64_t now)
{
    if (from->interrupted == vp)
        sched_settle(from);
    if (vp->state == SCHED_READY && !vp->entity.held) {
        move(from, to, vp);
        return;
    }
    if (vp->state == SCHED_READY)
        sched_queue_remove(&from->queue, &vp->entity);
    from->assigned--;
    __atomic_store_n(&vp->home, to, __ATOMIC_RELEASE);
    to->assigned++;
    sched_timer_move(from, to, vp);
    if (vp->state == SCHED_READY)
        sched_queue_add(&to->queue, &vp->entity, now);
}

bool sched_vp_move(struct sched_vp *vp, struct sched_lp *to, uint64_t now)
{
    for (;;) {
        struct sched_lp *from = sched_lock_home(vp);
        bool runs = vp->state == SCHED_RUNNING;
        bool done = runs || from == to || spin_trylock(&to->lock);
        if (done && !runs && from != to) {
            place_at(from, to, vp, now);
            spin_unlock(&to->lock);
        }
        spin_unlock(&from->lock);
        if (done)
            return !runs;
        __builtin_ia32_pause();
    }
}

// Whether a VP runs that is a root VP, or is not. (Who runs may be about to go, but for the lock.)
static bool runs(struct sched_lp *lp, bool pinned)
{
    bool is;

    if (!spin_trylock(&lp->lock))
        return false;
    is = lp->running && lp->running->pinned == pinned;
    spin_unlock(&lp->lock);
    return is;
}

// An LP whose running VP has to compete; each time another one is the first to be asked.
static struct sched_lp *preemptible(const struct sched_machine *machine, struct sched_lp *home,
                                    const struct sched_vp *vp)
{
    for (uint32_t d = 0; d < SCHED_DISTANCES; d++) {
        struct sched_range r = home->near[d];
        for (uint32_t i = 0; i < r.count && i < TRIES; i++) {
            uint32_t at = (uint32_t)((vp->moves + i) % r.count);
            struct sched_lp *lp = machine->lps[r.first + at];
            if (lp != home && sched_allowed(vp, lp->index) && runs(lp, false))
                return lp;
        }
    }
    return NULL;
}

struct sched_lp *sched_elsewhere(const struct sched_machine *machine, struct sched_lp *home,
                                 struct sched_vp *vp, uint64_t now)
{
    struct sched_lp *to = runs(home, true) ? preemptible(machine, home, vp) : NULL;
    bool beats = false;

    if (!to || !sched_vp_move(vp, to, now))
        return NULL;
    spin_lock(&to->lock);
    if (vp->home == to && vp->state == SCHED_READY && !vp->entity.held && to->running &&
        !to->running->ahead) {
        sched_queue_charge(&to->queue, &to->running->entity, now);
        beats = sched_queue_beats(&to->queue, &vp->entity, &to->running->entity);
        if (beats)
            __atomic_store_n(&to->preempt, true, __ATOMIC_RELAXED);
    }
    spin_unlock(&to->lock);
    return beats ? to : NULL;
}

// Two LPs may pull from each other: neither waits while it holds a lock.
static bool pull_from(struct sched_lp *self, struct sched_lp *from)
{
    struct sched_vp *vp = NULL;

    if (from == self || !spare_seen(from) || !spin_trylock(&from->lock))
        return false;
    vp = movable(from, self, (struct times){0});
    if (vp && spin_trylock(&self->lock)) {
        move(from, self, vp);
        spin_unlock(&self->lock);
    } else {
        vp = NULL;
    }
    spin_unlock(&from->lock);
    return vp != NULL;
}

bool sched_pull(struct sched_lp *self, const struct sched_machine *machine)
{
    uint32_t left = SCAN_MAX;
    struct sched_range inner = {self->index, 1};
    uint32_t hint = __atomic_load_n(&self->hint, __ATOMIC_RELAXED);

    if (pull_from(self, machine->lps[hint]))
        return true;
    for (uint32_t d = 0; d < SCHED_DISTANCES; d++) {
        struct sched_range r = self->near[d];
        uint32_t start = self->index - r.first;
        for (uint32_t i = 1; i < r.count && left; i++) {
            uint32_t index = r.first + (start + i) % r.count;
            if (index - inner.first < inner.count)
                continue;
            left--;
            if (pull_from(self, machine->lps[index]))
                return true;
        }
        inner = r;
    }
    return false;
}

// Whether another may stand where the running VP stands: it would go on if it did not give way, so
// that two that wait for each other cannot keep others from the LP. The lock is held.
static bool may_trade(struct sched_lp *lp, uint64_t now)
{
    const struct sched_entity *best;
    struct sched_entity *running = &lp->running->entity;

    sched_queue_charge(&lp->queue, running, now);
    best = sched_queue_best(&lp->queue);
    return !(best && sched_queue_beats(&lp->queue, best, running));
}

// The home's lock is held, and the LP's own.
static bool boost(struct sched_lp *home, struct sched_lp *self, struct sched_vp *vp, uint64_t now)
{
    struct sched_entity *running;

    if (vp->state != SCHED_READY || vp->ahead || self->first || self->running->ahead)
        return false;
    sched_settle(home);
    sched_settle(self);
    if (vp->entity.held || !may_trade(self, now))
        return false;
    if (home != self) {
        if (vp->pinned || !sched_allowed(vp, self->index))
            return false;
        move(home, self, vp);
    }
    running = &self->running->entity;
    if (running->weight != vp->entity.weight || running->slice_max != vp->entity.slice_max)
        return false; // a reserve lifts one of them
    sched_queue_trade(&self->queue, running, &vp->entity);
    self->resume = vp;
    __atomic_store_n(&self->preempt, true, __ATOMIC_RELAXED);
    return true;
}

bool sched_boost(struct sched_lp *self, struct sched_vp *vp, uint64_t now)
{
    struct sched_lp *home = __atomic_load_n(&vp->home, __ATOMIC_ACQUIRE);
    bool boosted = false;

    if (!spin_trylock(&home->lock))
        return false;
    if (home == __atomic_load_n(&vp->home, __ATOMIC_RELAXED) &&
        (home == self || spin_trylock(&self->lock))) {
        boosted = boost(home, self, vp, now);
        if (home != self)
            spin_unlock(&self->lock);
    }
    spin_unlock(&home->lock);
    return boosted;
}

// ---- at the end of a slice ----------------------------------------------------------------------

// An LP on which somebody waits; self, if none is found. Half of the looks go to the nearest level
// that has somebody else, half of the rest further out.
static struct sched_lp *other(struct sched_lp *self, const struct sched_machine *machine)
{
    for (uint32_t i = 0; i < TRIES && machine->count > 1; i++) {
        uint32_t d = (uint32_t)__builtin_ctzll(++self->probes | 1ull << SCHED_FAR);
        while (self->near[d].count == 1 && d < SCHED_FAR)
            d++;
        struct sched_range r = self->near[d];
        uint32_t step = (uint32_t)(((sched_random(self) >> 32) * (r.count - 1)) >> 32) + 1;
        struct sched_lp *lp = machine->lps[r.first + (self->index - r.first + step) % r.count];
        if (__atomic_load_n(&lp->queue.count, __ATOMIC_RELAXED))
            return lp;
    }
    return self;
}

// Virtual time of an LP now, with what its running VP has had since it was last counted.
static uint64_t virtual_now(struct sched_lp *lp, uint64_t now)
{
    uint64_t v = sched_queue_virtual(&lp->queue);

    if (lp->running && !lp->running->ahead && now > lp->running->entity.started)
        v += (now - lp->running->entity.started) * SCALE / lp->queue.load;
    return v;
}

// An LP's only VP, or one beside which others hardly count, has all that it can use: it neither
// lacks service nor owes any, beyond what slices let it, and those of `waiting`, with which it
// compares. The own lock is held.
static void adjust(struct sched_lp *self, const struct sched_entity *waiting, uint64_t there)
{
    struct sched_entity *e = &self->running->entity;
    uint64_t coarse = e->vslice > waiting->vslice ? e->vslice : waiting->vslice;
    int64_t ahead = (int64_t)(e->vtime - there), debt = ROOM * (int64_t)coarse,
            lack = -ROOM * (int64_t)e->vslice;

    if (ahead >= lack && ahead <= debt)
        return;
    sched_queue_correct(&self->queue, e, there + (uint64_t)(ahead > 0 ? debt : lack));
}

// Both locks held.
static void compare(struct sched_lp *self, struct sched_lp *from, uint64_t now)
{
    const struct sched_entity *waiting = sched_queue_best(&from->queue);
    uint64_t there;
    struct sched_vp *vp;

    if (!waiting)
        return;
    there = virtual_now(from, now);
    if (self->running->entity.weight >= self->queue.load - self->queue.load / DOMINANT)
        adjust(self, waiting, there);
    vp = movable(from, self, (struct times){virtual_now(self, now), there});
    if (vp)
        move(from, self, vp);
}

struct sched_lp *sched_spare(struct sched_lp *self, const struct sched_machine *machine)
{
    struct sched_vp *spare;

    if (!atomic_load_explicit(&machine->idle_count, memory_order_relaxed) || !spare_seen(self))
        return NULL;
    spin_lock(&self->lock);
    spare = movable(self, self, (struct times){0});
    spin_unlock(&self->lock);
    return spare ? sched_idle_near(machine, self, spare) : NULL;
}

struct sched_lp *sched_look(struct sched_lp *self, struct sched_machine *machine, uint64_t now)
{
    struct sched_vp *running = self->running;
    struct sched_lp *from;

    self->look = now + self->queue.policy->slice;
    if (running->ahead && now < running->slice_end)
        return NULL;
    from = other(self, machine);
    spin_lock(&self->lock);
    sched_settle(self);
    if (running->ahead) { // from now on it competes
        running->ahead = false;
        sched_queue_enter(&self->queue, &running->entity);
        running->entity.started = now;
    }
    sched_queue_charge(&self->queue, &running->entity, now);
    if (running->entity.reserve)
        sched_queue_lift(&self->queue, &running->entity);
    if (from != self && spin_trylock(&from->lock)) {
        compare(self, from, now);
        spin_unlock(&from->lock);
    }
    if (now >= running->slice_end && !sched_waiting(self) &&
        !sched_entity_bounded(&running->entity))
        running->slice_end = sched_queue_turn(&self->queue, &running->entity, now);
    spin_unlock(&self->lock);
    return sched_spare(self, machine);
}

// ---- idle LPs -----------------------------------------------------------------------------------

void sched_idle_begin(struct sched_machine *machine, struct sched_lp *lp)
{
    atomic_fetch_or(&machine->idle[lp->index / 64], 1ull << (lp->index % 64));
    atomic_fetch_add(&machine->idle_count, 1);
}

void sched_idle_end(struct sched_machine *machine, struct sched_lp *lp)
{
    atomic_fetch_and(&machine->idle[lp->index / 64], ~(1ull << (lp->index % 64)));
    atomic_fetch_sub(&machine->idle_count, 1);
}

static uint64_t idle_word(const struct sched_machine *machine, uint32_t word)
{
    return atomic_load_explicit(&machine->idle[word], memory_order_relaxed);
}

static bool core_idle(const struct sched_machine *machine, const struct sched_lp *lp)
{
    struct sched_range core = lp->near[SCHED_NEAR_CORE];

    for (uint32_t i = core.first; i < core.first + core.count; i++)
        if (!(idle_word(machine, i / 64) >> (i % 64) & 1))
            return false;
    return true;
}

// The words are searched from the LP's own on, up and down, so that near LPs are found first.
struct sched_lp *sched_idle_near(const struct sched_machine *machine, const struct sched_lp *lp,
                                 const struct sched_vp *vp)
{
    uint32_t words = (machine->count + 63) / 64, own = lp->index / 64;
    struct sched_lp *thread = NULL;

    if (!atomic_load_explicit(&machine->idle_count, memory_order_relaxed))
        return NULL;
    for (uint32_t i = 0; i < 2 * words; i++) {
        uint32_t word = i & 1 ? own - (i + 1) / 2 : own + i / 2;
        if (word >= words)
            continue;
        uint64_t bits = idle_word(machine, word) & (vp->affinity ? vp->affinity[word] : ~0ull);
        for (; bits; bits &= bits - 1) {
            struct sched_lp *found = machine->lps[word * 64 + (uint32_t)__builtin_ctzll(bits)];
            bool whole = core_idle(machine, found);
            if (whole || !thread)
                thread = found;
            if (whole)
                break;
        }
        if (thread)
            break;
    }
    if (thread)
        __atomic_store_n(&thread->hint, lp->index, __ATOMIC_RELAXED);
    return thread;
}
