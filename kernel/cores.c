// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/cores.h"

#include "corbel/cpuid.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/trace.h"
#include "corbel/vp.h"
#include "corbel/x86.h"

#define CORES_MAX (LP_MAX / 2)

bool cores_in_use;
static struct sched_cores cores;
static struct sched_core array[CORES_MAX];
static struct sched_lp *queues[CORES_MAX];
static struct sched_lp *const *lp_list;

static_assert(sizeof(struct sched_team) <= PAGE_SIZE, "a team is one page");

void cores_init(struct sched_lp *const *lps, uint32_t threads, const struct sched_place *places,
                uint32_t count, const struct sched_policy *policy)
{
    lp_list = lps;
    sched_cores_init(&cores, array, queues, lps, threads, places, count, policy);
    cores_in_use = true;
}

static const struct vp *vp_of(const struct sched_vp *s)
{
    return (const struct vp *)((const uint8_t *)s - offsetof(struct vp, sched));
}

static void send(const struct sched_kick *kick, uint32_t request)
{
    for (uint32_t t = 0; kick->core && t < kick->core->threads; t++)
        if (kick->threads >> t & 1)
            lp_request(lp_of(kick->core->first + t), request);
}

// ---- life ---------------------------------------------------------------------------------------

static struct sched_core *least_loaded(const uint64_t *set)
{
    struct sched_core *best = NULL;

    for (uint32_t i = 0; i < cores.machine.count; i++)
        if ((!set || (set[i / 64] >> (i % 64) & 1)) &&
            (!best || array[i].queue.assigned <= best->queue.assigned))
            best = &array[i];
    return best;
}

// Which of the partition's threads a VP is, counted over its cores: a root VP is its LP.
static uint32_t place_of(const struct vp *vp)
{
    return vp->partition == root_partition ? lp_of_root_vp(vp->index)->index : vp->index;
}

static const struct vp *vp_at(const struct partition *p, uint32_t place)
{
    if (p == root_partition)
        place = lp_of(place)->root_vp_index;
    return partition_vp(p, place);
}

// The team of one of the VP's siblings, if there is one yet.
static struct sched_team *siblings_team(const struct vp *vp, uint32_t size)
{
    uint32_t first = place_of(vp) / size * size;

    for (uint32_t i = first; i < first + size; i++) {
        const struct vp *other = vp_at(vp->partition, i);
        if (other && other != vp && other->sched.team)
            return other->sched.team;
    }
    return NULL;
}

static bool join(struct vp *vp, uint32_t size)
{
    struct partition *p = vp->partition;
    struct sched_team *team = siblings_team(vp, size);
    bool root = p == root_partition;

    if (!team) {
        team = pool_alloc(&p->pool);
        if (!team)
            return false;
        sched_team_init(team, root ? lp_of(place_of(vp))->sched.core : least_loaded(p->group_lps),
                        root);
    }
    sched_team_join(team, &vp->sched, place_of(vp) % size, lp_list);
    return true;
}

void cores_remove(struct vp *vp)
{
    struct sched_team *team = vp->sched.team;

    if (sched_team_leave(&vp->sched))
        pool_free(&vp->partition->pool, team);
    vp->sched.team = NULL;
}

// VPs that had a core each become siblings. They are stopped, and woken when they are let go; each
// gives a page back, so there is one for a team that does not exist yet.
static void share_cores(struct partition *p)
{
    hv_log("partition %lx has more VPs than there are cores, and no SMT: its VPs share cores",
           (unsigned long)p->id);
    p->team_size = cores.threads;
    cpuid_shares_cores(p);
    for (uint32_t i = 0; i < p->vp_limit; i++) {
        struct vp *vp = partition_vp(p, i);
        if (!vp || i % cores.threads == 0)
            continue;
        lp_await_timers(vp);
        cores_remove(vp);
        join(vp, cores.threads);
        cores_control(vp);
    }
}

// As it is, or will be with the partition's first VP.
static uint32_t team_size(const struct partition *p)
{
    return p->team_size ? p->team_size : p->threads;
}

bool cores_would_share(const struct partition *p, uint32_t index)
{
    return team_size(p) == 1 && index >= cores.machine.count;
}

uint32_t cores_teams(const struct partition *p, uint32_t index)
{
    uint32_t size = team_size(p), end = p->vp_limit;
    uint32_t count = 0, next = 0; // the first VP that is in none of those teams

    if (index != CORES_NO_VP) {
        end = index >= end ? index + 1 : end;
        size = cores_would_share(p, index) ? cores.threads : size;
    }
    for (uint32_t i = 0; i < end; i++) {
        if (i < next || (i != index && !partition_vp(p, i)))
            continue;
        next = (i / size + 1) * size;
        count++;
    }
    return count;
}

uint32_t cores_count(void)
{
    return cores.machine.count;
}

bool cores_add(struct vp *vp)
{
    struct partition *p = vp->partition;

    p->team_size = team_size(p);
    if (cores_would_share(p, vp->index))
        share_cores(p);
    return join(vp, p->team_size);
}

void cores_control(struct vp *vp)
{
    const struct partition *p = vp->partition;
    struct sched_vp *unit = &vp->sched.team->unit;
    uint64_t now = rdtsc();
    struct sched_core *core;

    sched_vp_confine(unit, p->group_lps);
    // The VPs are stopped then, but a thread may just be coming to one of them.
    while (!sched_allowed(unit, unit->home->index) &&
           !sched_vp_move(unit, &least_loaded(p->group_lps)->queue, now)) {
        lp_serve_requests(this_lp());
        cpu_relax();
    }
    sched_vp_control(unit, &p->controls, now);
    core = (struct sched_core *)unit->home;
    lp_request(lp_of(core->first), LP_REQUEST_RESCHEDULE); // a bound may hold it no more
}

// ---- scheduling ---------------------------------------------------------------------------------

__attribute__((noinline)) void cores_wake(struct vp *vp)
{
    struct sched_kick kick;
    enum sched_wake result = sched_core_wake(&cores, &vp->sched, &kick, rdtsc());

    if (result != SCHED_WAKE_RUNNING)
        send(&kick, LP_REQUEST_RESCHEDULE);
    else if (vp != this_lp()->vp)
        send(&kick, LP_REQUEST_LOOK);
}

__attribute__((noinline)) struct sched_vp *cores_switch(struct lp *lp, bool blocked, uint64_t now)
{
    struct sched_kick kick;
    struct sched_vp *vp;

    if (trace_on)
        trace_put(lp, TRACE_NOBODY);
    vp = sched_core_switch(&cores, &lp->sched, blocked, &kick, now);
    if (trace_on && vp)
        trace_put(lp, vp_of(vp)->partition->id);
    send(&kick, LP_REQUEST_RESCHEDULE);
    return vp;
}

void cores_look(struct lp *lp, uint64_t now)
{
    struct sched_kick kick;

    sched_core_look(&cores, &lp->sched, &kick, now);
    send(&kick, LP_REQUEST_RESCHEDULE);
}

bool cores_pull(struct lp *lp)
{
    return sched_core_pull(&cores, &lp->sched);
}

bool cores_waiting(const struct lp *lp)
{
    return sched_core_waiting(&lp->sched);
}

bool cores_boost(struct lp *lp, struct vp *vp)
{
    return sched_core_boost(&lp->sched, &vp->sched, rdtsc());
}

bool cores_give_way(struct lp *lp)
{
    return sched_core_give_way(&lp->sched);
}

// ---- sets ---------------------------------------------------------------------------------------

bool cores_of_lps(const uint64_t *lps, uint64_t *set)
{
    uint64_t whole = (1ull << cores.threads) - 1;

    for (uint32_t w = 0; w < LP_MAX / 64; w++)
        set[w] = 0;
    for (uint32_t i = 0; i < cores.machine.count; i++) {
        uint32_t lp = i * cores.threads;
        uint64_t threads = lps[lp / 64] >> (lp % 64) & whole;
        if (threads == whole)
            set[i / 64] |= 1ull << (i % 64);
        else if (threads)
            return false;
    }
    return true;
}
