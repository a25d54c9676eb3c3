// SPDX-License-Identifier: BSD-2-Clause-Patent
// The simulated machine under the core scheduler: teams, kicks between threads, and whether a core
// is ever shared.
#include <stdlib.h>

#include "sim.h"

static void send(struct sim *s, const struct sched_kick *kick)
{
    for (uint32_t t = 0; kick->core && t < kick->core->threads; t++)
        if (kick->threads >> t & 1) {
            s->lps[kick->core->first + t].kicked = true;
            sim_kick(s, kick->core->first + t);
        }
}

void sim_cores_create(struct sim *s, const struct sched_place *places, uint32_t threads)
{
    uint32_t count = s->lp_count / threads;

    s->core_array = calloc(count, sizeof(*s->core_array));
    s->core_queues = calloc(count, sizeof(struct sched_lp *));
    sched_cores_init(&s->cores, s->core_array, s->core_queues, s->lp_list, threads, places,
                     s->lp_count, &s->policy);
}

const struct sim_vp *sim_head(const struct sim_vp *vp)
{
    uint32_t t = 0;

    if (!vp->team)
        return vp;
    while (!vp->team->vps[t])
        t++;
    return (const struct sim_vp *)vp->team->vps[t];
}

void sim_cores_destroy(struct sim *s)
{
    for (uint32_t i = 0; i < s->vp_count; i++) {
        struct sim_vp *vp = &s->vps[i];
        if (!vp->present)
            continue;
        vp->sched.state = SCHED_BLOCKED; // time has stopped: nothing is running any more
        vp->team->unit.state = SCHED_BLOCKED;
        if (sched_team_leave(&vp->sched))
            free(vp->team);
    }
    free(s->core_array);
    free(s->core_queues);
}

static struct sched_core *least_loaded(const struct sim *s)
{
    struct sched_core *best = s->core_array;

    for (uint32_t i = 0; i < s->cores.machine.count; i++)
        if (s->core_array[i].queue.assigned < best->queue.assigned)
            best = &s->core_array[i];
    return best;
}

uint32_t sim_add_team(struct sim *s, uint32_t vm, uint32_t threads, struct load load,
                      const struct sched_controls *c, struct sched_core *root)
{
    struct sched_team *team = calloc(1, sizeof(*team));
    uint32_t first = 0;

    sched_team_init(team, root ? root : least_loaded(s), root != NULL);
    sched_vp_control(&team->unit, c, s->now);
    for (uint32_t t = 0; t < threads; t++) {
        struct sim_vp *vp = sim_new_vp(s, vm, load, c);
        first = t ? first : vp->index;
        vp->team = team;
        sched_team_join(team, &vp->sched, t, s->lp_list);
        sim_begin(s, vp);
    }
    return first;
}

void sim_core_wake(struct sim *s, struct sim_vp *vp)
{
    struct sched_kick kick;
    enum sched_wake result = sched_core_wake(&s->cores, &vp->sched, &kick, s->now);

    if (result == SCHED_WAKE_RUNNING)
        sim_fault(s, "a blocked VP was not blocked");
    send(s, &kick);
}

struct sim_vp *sim_core_change(struct sim *s, struct sim_lp *lp, bool blocked)
{
    struct sched_kick kick;
    struct sched_vp *vp = sched_core_switch(&s->cores, &lp->sched, blocked, &kick, s->now);

    send(s, &kick);
    if (!vp && sched_core_pull(&s->cores, &lp->sched)) {
        vp = sched_core_switch(&s->cores, &lp->sched, false, &kick, s->now);
        send(s, &kick);
    }
    if (!vp && sched_core_waiting(&lp->sched))
        sim_fault(s, "somebody waits for a core that nobody has");
    return (struct sim_vp *)vp;
}

void sim_core_look(struct sim *s, struct sim_lp *lp)
{
    struct sched_kick kick;

    if (!sched_must_release(&lp->sched, s->now) && !sched_must_look(&lp->sched, s->now))
        return;
    sched_core_look(&s->cores, &lp->sched, &kick, s->now);
    send(s, &kick);
}

void sim_core_check(struct sim *s, const struct sim_lp *lp)
{
    const struct sched_core *core = lp->sched.core;

    for (uint32_t t = 0; lp->vp && t < core->threads; t++) {
        const struct sim_lp *other = &s->lps[core->first + t];
        if (other->vp && other->vp->team != lp->vp->team) {
            s->shared++;
            sim_fault(s, "two teams run on one core");
        }
    }
    if (lp->vp && &lp->vp->team->unit != core->queue.running)
        sim_fault(s, "a VP runs on a core that its team does not have");
}
