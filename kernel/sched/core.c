// SPDX-License-Identifier: BSD-2-Clause-Patent
// The core scheduler (include/corbel/sched_core.h).
#include "corbel/sched_core.h"

#include <stddef.h>

#include "sched_lp.h"

static struct sched_core *core_of(struct sched_lp *queue)
{
    return (struct sched_core *)queue;
}

static uint32_t thread_bit(const struct sched_core *core, const struct sched_lp *lp)
{
    return 1u << (lp->index - core->first);
}

// ---- life ---------------------------------------------------------------------------------------

void sched_cores_init(struct sched_cores *cores, struct sched_core *array, struct sched_lp **queues,
                      struct sched_lp *const *lps, uint32_t threads,
                      const struct sched_place *places, uint32_t count,
                      const struct sched_policy *policy)
{
    uint32_t core_count = count / threads;
    struct sched_range(*near)[SCHED_DISTANCES];

    *cores = (struct sched_cores){.cores = array, .threads = threads};
    for (uint32_t i = 0; i < core_count; i++) {
        array[i] = (struct sched_core){.first = i * threads, .threads = threads};
        spin_init(&array[i].lock);
        queues[i] = &array[i].queue;
    }
    sched_machine_init(&cores->machine, queues, NULL, core_count, policy);
    for (uint32_t i = 0; i < core_count; i++) {
        struct sched_core *c = &array[i];
        near = &c->queue.near;
        for (uint32_t d = SCHED_NEAR_CACHE; places && d < SCHED_FAR; d++) {
            struct sched_range r = lps[c->first]->near[d];
            (*near)[d] = (struct sched_range){r.first / threads, r.count / threads};
        }
        for (uint32_t t = 0; t < threads; t++)
            lps[c->first + t]->core = c;
    }
}

void sched_team_init(struct sched_team *team, struct sched_core *core, bool pinned)
{
    *team = (struct sched_team){0};
    spin_init(&team->lock);
    sched_vp_init(&team->unit, &core->queue, pinned);
}

void sched_team_join(struct sched_team *team, struct sched_vp *vp, uint32_t thread,
                     struct sched_lp *const *lps)
{
    struct sched_core *home = core_of(sched_lock_home(&team->unit));

    spin_unlock(&home->queue.lock);
    sched_vp_init(vp, lps[home->first + thread], false);
    vp->team = team;
    vp->thread = thread;
    spin_lock(&team->lock);
    team->vps[thread] = vp;
    spin_unlock(&team->lock);
}

bool sched_team_leave(struct sched_vp *vp)
{
    struct sched_team *team = vp->team;
    bool last = true;

    spin_lock(&team->lock);
    while (vp->state == SCHED_RUNNING) { // picked just now, to be put back at once
        spin_unlock(&team->lock);
        __builtin_ia32_pause();
        spin_lock(&team->lock);
    }
    vp->state = SCHED_BLOCKED;
    team->ready &= ~(1u << vp->thread);
    team->vps[vp->thread] = NULL;
    for (uint32_t t = 0; t < SCHED_THREADS_MAX; t++)
        last = last && !team->vps[t];
    spin_unlock(&team->lock);
    sched_vp_remove(vp);
    if (!last)
        return false;
    sched_vp_remove(&team->unit);
    spin_lock(&team->lock); // whoever has put it back is done with it
    spin_unlock(&team->lock);
    return true;
}

// ---- waking -------------------------------------------------------------------------------------

// The team of a core is to give way to one that has come for the thread.
static void kick_out(struct sched_core *core, uint32_t thread, struct sched_kick *kick)
{
    spin_lock(&core->lock);
    *kick = (struct sched_kick){core, core->inside ? core->inside : 1u << thread};
    spin_unlock(&core->lock);
}

// The team's lock is held. Returns what the queue says of the team, RUNNING: it has its core.
static enum sched_wake make_ready(struct sched_vp *vp, struct sched_lp **home, uint64_t now)
{
    struct sched_team *team = vp->team;

    vp->state = SCHED_READY;
    team->ready |= 1u << vp->thread;
    return sched_wake(&team->unit, home, now);
}

// For one that has begun to wait: an idle core, or, if it has a reserve, one to which it moves.
static void find_core(const struct sched_cores *cores, struct sched_lp *home, struct sched_vp *vp,
                      struct sched_kick *kick, uint64_t now)
{
    struct sched_vp *unit = &vp->team->unit;
    struct sched_lp *to = sched_idle_near(&cores->machine, home, unit);

    if (to)
        *kick = (struct sched_kick){core_of(to), 1};
    else if (unit->entity.reserve &&
             (to = sched_elsewhere(&cores->machine, home, unit, now)) != NULL)
        kick_out(core_of(to), vp->thread, kick);
}

enum sched_wake sched_core_wake(const struct sched_cores *cores, struct sched_vp *vp,
                                struct sched_kick *kick, uint64_t now)
{
    struct sched_team *team = vp->team;
    enum sched_wake result = SCHED_WAKE_NONE;
    struct sched_lp *home = NULL;
    bool runs;

    *kick = (struct sched_kick){NULL, 0};
    spin_lock(&team->lock);
    runs = vp->state == SCHED_RUNNING;
    if (runs)
        home = team->unit.home; // stays, while one of its VPs runs
    else if (vp->state == SCHED_BLOCKED)
        result = make_ready(vp, &home, now);
    spin_unlock(&team->lock);
    if (runs || result == SCHED_WAKE_RUNNING)
        *kick = (struct sched_kick){core_of(home), 1u << vp->thread};
    else if (result == SCHED_WAKE_PREEMPT)
        kick_out(core_of(home), vp->thread, kick);
    else if (result == SCHED_WAKE_HELD)
        *kick = (struct sched_kick){core_of(home), 1};
    else if (result == SCHED_WAKE_QUEUED && !team->unit.pinned)
        find_core(cores, home, vp, kick, now);
    return runs ? SCHED_WAKE_RUNNING : result == SCHED_WAKE_RUNNING ? SCHED_WAKE_PREEMPT : result;
}

// ---- switching ----------------------------------------------------------------------------------

// The core's lock is held.
static void leave(struct sched_core *core, struct sched_lp *lp, bool blocked)
{
    struct sched_vp *vp = lp->running;
    struct sched_team *team = vp->team;

    spin_lock(&team->lock);
    vp->state = blocked ? SCHED_BLOCKED : SCHED_READY;
    if (!blocked)
        team->ready |= 1u << vp->thread;
    spin_unlock(&team->lock);
    lp->running = NULL;
    lp->preempt = false;
    core->inside &= ~thread_bit(core, lp);
}

// Who has a core that nobody is inside of is chosen. The core's lock is held.
static void change(struct sched_cores *cores, struct sched_core *core, uint64_t now)
{
    struct sched_team *before = sched_core_team(core);
    struct sched_vp *next;

    if (before)
        spin_lock(&before->lock);
    next = sched_switch(&core->queue, before && !before->ready, now);
    if (before)
        spin_unlock(&before->lock);
    core->leaving = false;
    if (!next == core->idle)
        return;
    core->idle = !next;
    if (core->idle)
        sched_idle_begin(&cores->machine, &core->queue);
    else
        sched_idle_end(&cores->machine, &core->queue);
}

// The thread's VP of the team runs, if it can. Returns the other threads whose VP could.
static uint32_t enter(struct sched_core *core, struct sched_lp *lp)
{
    struct sched_team *team = sched_core_team(core);
    uint32_t bit = thread_bit(core, lp), others;

    spin_lock(&team->lock);
    if (team->ready & bit) {
        struct sched_vp *vp = team->vps[lp->index - core->first];
        team->ready &= ~bit;
        sched_vp_rehome(vp, lp);
        vp->slice_end = team->unit.slice_end;
        vp->state = SCHED_RUNNING;
        lp->running = vp;
        core->inside |= bit;
    }
    others = team->ready & ~bit;
    spin_unlock(&team->lock);
    return others;
}

// Whether the team that has the core has it no longer. The core's lock is held.
static bool is_over(const struct sched_core *core, uint64_t now)
{
    const struct sched_team *team = sched_core_team(core);

    if (!team)
        return true;
    if (!core->inside && !__atomic_load_n(&team->ready, __ATOMIC_RELAXED))
        return true;
    return core->leaving || sched_must_yield(&core->queue, now);
}

struct sched_vp *sched_core_switch(struct sched_cores *cores, struct sched_lp *lp, bool blocked,
                                   struct sched_kick *kick, uint64_t now)
{
    struct sched_core *core = lp->core;
    bool changed = false;

    *kick = (struct sched_kick){core, 0};
    spin_lock(&core->lock);
    if (lp->running)
        leave(core, lp, blocked);
    if (is_over(core, now)) {
        if (!core->leaving)
            kick->threads = core->inside;
        core->leaving = core->inside != 0;
        changed = !core->leaving;
    }
    if (changed)
        change(cores, core, now);
    if (!core->leaving && core->queue.running) {
        uint32_t others = enter(core, lp);
        if (changed)
            kick->threads = others;
    }
    lp->look = core->queue.look;
    sched_release_at(lp, core->queue.release);
    spin_unlock(&core->lock);
    return lp->running;
}

void sched_core_look(struct sched_cores *cores, struct sched_lp *lp, struct sched_kick *kick,
                     uint64_t now)
{
    struct sched_core *core = lp->core;
    struct sched_lp *help = NULL;
    bool over;

    spin_lock(&core->lock);
    if (sched_must_release(&core->queue, now) && sched_release(&core->queue, now))
        help = sched_spare(&core->queue, &cores->machine);
    if (!core->leaving && sched_must_look(&core->queue, now))
        help = sched_look(&core->queue, &cores->machine, now);
    over = core->leaving || sched_must_yield(&core->queue, now);
    *kick = (struct sched_kick){help ? core_of(help) : NULL, 1};
    if (lp->running) {
        lp->running->slice_end = core->queue.running->slice_end;
        lp->preempt = over;
    } else if (over) { // whom they are to make way for has come while this thread was idle
        *kick = (struct sched_kick){core, core->inside};
    }
    lp->look = core->queue.look;
    sched_release_at(lp, core->queue.release);
    spin_unlock(&core->lock);
}

bool sched_core_pull(const struct sched_cores *cores, struct sched_lp *lp)
{
    struct sched_core *core = lp->core;
    bool came;

    spin_lock(&core->lock);
    came = !core->queue.running && sched_pull(&core->queue, &cores->machine);
    spin_unlock(&core->lock);
    return came;
}

bool sched_core_waiting(const struct sched_lp *lp)
{
    const struct sched_core *core = lp->core;

    return !__atomic_load_n(&core->queue.running, __ATOMIC_RELAXED) && sched_waiting(&core->queue);
}

// ---- directed yield -----------------------------------------------------------------------------

bool sched_core_boost(struct sched_lp *self, struct sched_vp *vp, uint64_t now)
{
    struct sched_core *core = self->core;
    bool boosted;

    spin_lock(&core->lock);
    boosted = !core->leaving && sched_boost(&core->queue, &vp->team->unit, now);
    spin_unlock(&core->lock);
    return boosted;
}

bool sched_core_give_way(struct sched_lp *lp)
{
    struct sched_core *core = lp->core;
    bool gives;

    spin_lock(&core->lock);
    gives = !core->leaving && sched_give_way(&core->queue);
    spin_unlock(&core->lock);
    return gives;
}
