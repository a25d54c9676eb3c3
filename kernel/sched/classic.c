// SPDX-License-Identifier: BSD-2-Clause-Patent
// The classic scheduler's queues (include/corbel/sched.h). Pure: no hardware, no clock of its own.
#include "corbel/sched.h"

#include <stddef.h>

#include "sched_lp.h"

static struct sched_vp *vp_of(struct sched_entity *e)
{
    return (struct sched_vp *)e;
}

struct sched_lp *sched_lock_home(struct sched_vp *vp)
{
    for (;;) {
        struct sched_lp *home = __atomic_load_n(&vp->home, __ATOMIC_ACQUIRE);
        spin_lock(&home->lock);
        if (home == __atomic_load_n(&vp->home, __ATOMIC_RELAXED))
            return home;
        spin_unlock(&home->lock);
    }
}

// What the owner reads without the lock.
static void note_first(struct sched_lp *lp)
{
    uint64_t first = lp->timers ? lp->timers->timer_deadline : SCHED_NO_TIMER;

    if (lp->release < first)
        first = lp->release;
    __atomic_store_n(&lp->first_deadline, first, __ATOMIC_RELAXED);
}

static void note_release(struct sched_lp *lp)
{
    uint64_t release = sched_queue_release_time(&lp->queue);

    if (release == lp->release)
        return;
    lp->release = release;
    note_first(lp);
}

static void unlink_timer(struct sched_lp *lp, struct sched_vp *vp)
{
    if (vp->timer_deadline == SCHED_NO_TIMER)
        return;
    if (vp->timer_previous)
        vp->timer_previous->timer_next = vp->timer_next;
    else
        lp->timers = vp->timer_next;
    if (vp->timer_next)
        vp->timer_next->timer_previous = vp->timer_previous;
    vp->timer_deadline = SCHED_NO_TIMER;
    note_first(lp);
}

static void link_timer(struct sched_lp *lp, struct sched_vp *vp, uint64_t deadline)
{
    struct sched_vp *before = NULL, *after = lp->timers;

    vp->timer_deadline = deadline;
    if (deadline == SCHED_NO_TIMER)
        return;
    while (after && after->timer_deadline <= deadline) {
        before = after;
        after = after->timer_next;
    }
    vp->timer_previous = before;
    vp->timer_next = after;
    if (before)
        before->timer_next = vp;
    else
        lp->timers = vp;
    if (after)
        after->timer_previous = vp;
    note_first(lp);
}

void sched_timer_move(struct sched_lp *from, struct sched_lp *to, struct sched_vp *vp)
{
    uint64_t deadline = vp->timer_deadline;

    unlink_timer(from, vp);
    link_timer(to, vp, deadline);
}

void sched_vp_rehome(struct sched_vp *vp, struct sched_lp *to)
{
    struct sched_lp *from = vp->home;
    bool up = from->index < to->index;

    if (from == to)
        return;
    spin_lock(up ? &from->lock : &to->lock);
    spin_lock(up ? &to->lock : &from->lock);
    __atomic_store_n(&vp->home, to, __ATOMIC_RELEASE);
    sched_timer_move(from, to, vp);
    from->assigned--;
    to->assigned++;
    spin_unlock(&from->lock);
    spin_unlock(&to->lock);
}

void sched_release_at(struct sched_lp *lp, uint64_t release)
{
    if (lp->release == release)
        return;
    spin_lock(&lp->lock);
    lp->release = release;
    note_first(lp);
    spin_unlock(&lp->lock);
}

// ---- life ---------------------------------------------------------------------------------------

void sched_vp_init(struct sched_vp *vp, struct sched_lp *home, bool pinned)
{
    *vp = (struct sched_vp){
        .home = home, .state = SCHED_BLOCKED, .pinned = pinned, .timer_deadline = SCHED_NO_TIMER};
    spin_lock(&home->lock);
    home->assigned++;
    sched_entity_init(&vp->entity, home->queue.policy);
    spin_unlock(&home->lock);
}

void sched_settle(struct sched_lp *lp)
{
    struct sched_vp *vp = lp->interrupted;

    if (!vp)
        return;
    lp->interrupted = NULL;
    if (!lp->interrupted_ready) {
        sched_queue_block(&lp->queue, &vp->entity, lp->interrupted_at);
        return;
    }
    sched_queue_preempt(&lp->queue, &vp->entity, lp->interrupted_at);
    __atomic_store_n(&lp->interrupted_ready, false, __ATOMIC_SEQ_CST);
    note_release(lp);
}

// A READY VP waits no more. The lock is held.
static void take(struct sched_lp *lp, struct sched_vp *vp)
{
    if (lp->first == vp) {
        lp->first = NULL;
        vp->ahead = false;
    } else {
        sched_queue_remove(&lp->queue, &vp->entity);
    }
    if (lp->resume == vp)
        lp->resume = NULL;
    note_release(lp);
}

void sched_vp_remove(struct sched_vp *vp)
{
    struct sched_lp *home = sched_lock_home(vp);

    while (vp->state == SCHED_RUNNING) { // picked just now, to be put back at once
        spin_unlock(&home->lock);
        __builtin_ia32_pause();
        home = sched_lock_home(vp);
    }
    if (home->interrupted == vp)
        sched_settle(home);
    if (vp->state == SCHED_READY)
        take(home, vp);
    if (home->lender == vp)
        home->lender = NULL;
    vp->ahead = false;
    vp->state = SCHED_BLOCKED;
    unlink_timer(home, vp);
    home->assigned--;
    spin_unlock(&home->lock);
}

static void set_turn(struct sched_lp *lp, struct sched_vp *running, uint64_t end)
{
    if (lp->lender)
        lp->turn_end = end;
    else
        running->slice_end = end;
}

void sched_vp_control(struct sched_vp *vp, const struct sched_controls *controls, uint64_t now)
{
    struct sched_lp *lp = sched_lock_home(vp);
    struct sched_queue *q = &lp->queue;
    struct sched_entity *e = &vp->entity;

    if (lp->interrupted == vp)
        sched_settle(lp);
    if (vp->state == SCHED_READY)
        take(lp, vp);
    if (vp->state == SCHED_RUNNING && !vp->ahead)
        sched_queue_block(q, e, now);
    sched_entity_control(e, q->policy, controls);
    if (vp->state == SCHED_READY)
        sched_queue_add(q, e, now);
    if (vp->state == SCHED_RUNNING && !vp->ahead) {
        sched_queue_enter(q, e);
        set_turn(lp, vp, sched_queue_turn(q, e, now));
    }
    note_release(lp);
    spin_unlock(&lp->lock);
}

// Who takes a VP from an LP looks at its set under the same lock.
void sched_vp_confine(struct sched_vp *vp, const uint64_t *lps)
{
    struct sched_lp *lp = sched_lock_home(vp);

    vp->affinity = lps;
    spin_unlock(&lp->lock);
}

// ---- waking and switching -----------------------------------------------------------------------

// The lock is held.
static __attribute__((noinline)) enum sched_wake make_ready(struct sched_lp *lp,
                                                            struct sched_vp *vp, uint64_t now)
{
    struct sched_queue *q = &lp->queue;
    struct sched_vp *running = lp->running;

    if (vp->outside)
        return SCHED_WAKE_OUTSIDE;
    vp->state = SCHED_READY;
    if (vp->pinned && !lp->first) {
        vp->ahead = true;
        __atomic_store_n(&lp->first, vp, __ATOMIC_SEQ_CST);
        return running && running->ahead ? SCHED_WAKE_QUEUED : SCHED_WAKE_PREEMPT;
    } else {
        sched_settle(lp);
        if (running && !running->ahead)
            sched_queue_charge(q, &running->entity, now);
        if (!sched_queue_add(q, &vp->entity, now)) {
            note_release(lp);
            return SCHED_WAKE_HELD;
        }
        if (running && (running->pinned || !sched_queue_beats(q, &vp->entity, &running->entity)))
            return SCHED_WAKE_QUEUED;
    }
    __atomic_store_n(&lp->preempt, true, __ATOMIC_RELAXED);
    return SCHED_WAKE_PREEMPT;
}

enum sched_wake sched_wake(struct sched_vp *vp, struct sched_lp **home, uint64_t now)
{
    struct sched_lp *lp = sched_lock_home(vp);
    enum sched_wake result = SCHED_WAKE_NONE;

    *home = lp;
    if (vp->state == SCHED_BLOCKED && vp == lp->interrupted) {
        vp->state = SCHED_READY;
        __atomic_store_n(&lp->interrupted_ready, true, __ATOMIC_SEQ_CST);
        result = SCHED_WAKE_QUEUED;
    } else if (vp->state == SCHED_BLOCKED) {
        result = make_ready(lp, vp, now);
    } else if (vp->state == SCHED_RUNNING) {
        result = SCHED_WAKE_RUNNING;
    } else if (vp->state == SCHED_LENT && !vp->woken) {
        vp->woken = true;
        result = SCHED_WAKE_PREEMPT;
    }
    spin_unlock(&lp->lock);
    return result;
}

// Whether the turn of a running VP goes on when the root VP that comes has finished.
static inline bool goes_on(const struct sched_lp *lp, const struct sched_vp *vp, uint64_t now)
{
    return !vp->ahead && now < (lp->lender ? lp->turn_end : vp->slice_end) && !lp->preempt;
}

// The running VP stops, and is counted. The lock is held.
static void put(struct sched_lp *lp, struct sched_vp *vp, bool blocked, uint64_t now)
{
    vp->state = blocked ? SCHED_BLOCKED : SCHED_READY;
    if (vp->ahead) {
        vp->ahead = false;
        if (!blocked)
            sched_queue_add(&lp->queue, &vp->entity, now);
    } else if (blocked) {
        sched_queue_block(&lp->queue, &vp->entity, now);
    } else {
        sched_queue_preempt(&lp->queue, &vp->entity, now);
    }
}

static inline void interrupt(struct sched_lp *lp, struct sched_vp *vp, bool blocked, uint64_t now)
{
    vp->state = blocked ? SCHED_BLOCKED : SCHED_READY;
    lp->interrupted = vp;
    lp->interrupted_at = now;
    if (!lp->lender)
        lp->turn_end = vp->slice_end;
    if (!blocked)
        __atomic_store_n(&lp->interrupted_ready, true, __ATOMIC_SEQ_CST);
}

// The lock is held.
static __attribute__((noinline)) struct sched_vp *choose(struct sched_lp *lp, bool blocked,
                                                         uint64_t now)
{
    struct sched_queue *q = &lp->queue;
    struct sched_vp *running = lp->running, *vp = lp->lender ? lp->lender : lp->first;

    if (running && running->outside)
        return sched_dispatched(lp, now);
    if (running && vp && goes_on(lp, running, now))
        interrupt(lp, running, blocked, now);
    else if (running)
        put(lp, running, blocked, now);
    if (vp) {
        *(lp->lender ? &lp->lender : &lp->first) = NULL;
        vp->slice_end = now + q->policy->slice;
    } else {
        sched_settle(lp);
        vp = lp->resume;
        lp->resume = NULL;
        if (!vp)
            vp = vp_of(sched_queue_best(q));
        if (vp)
            vp->slice_end = sched_queue_start(q, &vp->entity, now);
    }
    note_release(lp);
    lp->preempt = false;
    return vp;
}

// The root VP has finished, and the turn that it interrupted goes on. The lock is held.
static inline struct sched_vp *go_on(struct sched_lp *lp, uint64_t now)
{
    struct sched_vp *root = lp->running, *vp = lp->interrupted;
    uint64_t pause = now - lp->interrupted_at;

    root->ahead = false;
    root->state = SCHED_BLOCKED;
    lp->interrupted = NULL;
    __atomic_store_n(&lp->interrupted_ready, false, __ATOMIC_RELAXED);
    vp->entity.started += pause;
    vp->slice_end = lp->turn_end + pause;
    return vp;
}

inline struct sched_vp *sched_switch(struct sched_lp *lp, bool blocked, uint64_t now)
{
    struct sched_vp *vp;

    spin_lock(&lp->lock);
    if (__builtin_expect(lp->interrupted_ready && blocked && !lp->first, 1))
        vp = go_on(lp, now);
    else
        vp = choose(lp, blocked, now);
    lp->running = vp;
    if (vp)
        vp->state = SCHED_RUNNING;
    spin_unlock(&lp->lock);
    return vp;
}

// The lock is held.
static __attribute__((noinline)) bool hand_over(struct sched_lp *lp, struct sched_vp *to,
                                                uint64_t now)
{
    struct sched_vp *from = lp->running;

    if (lp->core || from->outside ||
        (to != lp->lender && (to->state != SCHED_BLOCKED || !to->pinned || to->home != lp)))
        return false;
    if (goes_on(lp, from, now))
        interrupt(lp, from, true, now);
    else
        put(lp, from, true, now);
    lp->preempt = false;
    to->ahead = true;
    return true;
}

// Mostly a loan is given back, by one whose turn is not over.
bool sched_hand_over(struct sched_lp *lp, struct sched_vp *to, uint64_t now)
{
    bool done = true;

    spin_lock(&lp->lock);
    if (__builtin_expect(to == lp->lender && now < lp->turn_end && !lp->preempt, 1)) {
        lp->running->state = SCHED_BLOCKED;
        lp->interrupted = lp->running;
        lp->interrupted_at = now;
    } else {
        done = hand_over(lp, to, now);
    }
    if (done) {
        lp->lender = NULL;
        to->state = SCHED_RUNNING;
        to->slice_end = now + lp->queue.policy->slice;
        lp->running = to;
    }
    spin_unlock(&lp->lock);
    return done;
}

// Whoever borrows begins a turn. The lock is held.
static __attribute__((noinline)) bool begin_loan(struct sched_lp *lp, struct sched_vp *to,
                                                 uint64_t now)
{
    struct sched_queue *q = &lp->queue;

    if (to->state != SCHED_BLOCKED || to->home != lp || !lp->running->ahead || to->entity.bounded ||
        to->outside)
        return false;
    sched_settle(lp);
    if (q->count)
        return false;
    sched_queue_enter(q, &to->entity);
    lp->turn_end = sched_queue_turn(q, &to->entity, now);
    return true;
}

// Mostly the one whose turn the root VP has interrupted, and who waits for its answer.
bool sched_lend(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t limit)
{
    struct sched_vp *from = lp->running;
    bool free;

    spin_lock(&lp->lock);
    free = !lp->queue.count;
    if (__builtin_expect(free && to == lp->interrupted && !lp->interrupted_ready, 1)) {
        uint64_t pause = now - lp->interrupted_at;
        lp->interrupted = NULL;
        to->entity.started += pause;
        lp->turn_end += pause;
    } else if (free) {
        free = begin_loan(lp, to, now);
    }
    if (free) {
        from->state = SCHED_LENT;
        from->woken = false;
        lp->lender = from;
        to->slice_end = now + limit < lp->turn_end ? now + limit : lp->turn_end;
        to->state = SCHED_RUNNING;
        lp->running = to;
    }
    spin_unlock(&lp->lock);
    return free;
}

bool sched_release(struct sched_lp *lp, uint64_t now)
{
    struct sched_queue *q = &lp->queue;
    struct sched_vp *running = lp->running;
    bool any;

    spin_lock(&lp->lock);
    any = sched_queue_release(q, now);
    note_release(lp);
    if (any && running && !running->ahead) {
        sched_queue_charge(q, &running->entity, now);
        if (sched_queue_beats(q, sched_queue_best(q), &running->entity))
            lp->preempt = true;
    }
    spin_unlock(&lp->lock);
    return any;
}

bool sched_give_way(struct sched_lp *lp)
{
    struct sched_vp *next;

    if (lp->running->outside)
        return true;
    spin_lock(&lp->lock);
    sched_settle(lp);
    next = vp_of(sched_queue_best(&lp->queue));
    if (next) {
        lp->resume = next;
        lp->preempt = true;
    }
    spin_unlock(&lp->lock);
    return next || sched_waiting(lp);
}

// ---- virtual timers -----------------------------------------------------------------------------

void sched_timer_set(struct sched_vp *vp, uint64_t deadline)
{
    struct sched_lp *lp;

    if (vp->timer_deadline == deadline)
        return;
    lp = sched_lock_home(vp);
    unlink_timer(lp, vp);
    link_timer(lp, vp, deadline);
    spin_unlock(&lp->lock);
}

struct sched_vp *sched_timer_pop(struct sched_lp *lp, uint64_t now)
{
    struct sched_vp *vp;

    spin_lock(&lp->lock);
    vp = lp->timers;
    if (vp && vp->timer_deadline <= now)
        unlink_timer(lp, vp);
    else
        vp = NULL;
    __atomic_store_n(&lp->popped, vp, __ATOMIC_RELEASE);
    spin_unlock(&lp->lock);
    return vp;
}
