// SPDX-License-Identifier: BSD-2-Clause-Patent
// Round robin, one queue an LP (include/corbel/sched.h). Pure: no hardware, no clock of its own.
#include "corbel/sched.h"

#include <stddef.h>

void sched_lp_init(struct sched_lp *lp)
{
    spin_init(&lp->lock);
    lp->head = lp->tail = lp->running = lp->lender = lp->timers = NULL;
    lp->first_deadline = SCHED_NO_TIMER;
    lp->ready_count = 0;
    lp->assigned = 0;
}

void sched_vp_init(struct sched_vp *vp, struct sched_lp *home, bool pinned)
{
    *vp = (struct sched_vp){.home = home,
                            .state = SCHED_BLOCKED,
                            .pinned = pinned,
                            .urgent = pinned,
                            .timer_deadline = SCHED_NO_TIMER};
    spin_lock(&home->lock);
    home->assigned++;
    spin_unlock(&home->lock);
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

static void push_back(struct sched_lp *lp, struct sched_vp *vp)
{
    vp->next = NULL;
    vp->previous = lp->tail;
    if (lp->tail)
        lp->tail->next = vp;
    else
        lp->head = vp;
    lp->tail = vp;
    lp->ready_count++;
}

static void push_front(struct sched_lp *lp, struct sched_vp *vp)
{
    vp->previous = NULL;
    vp->next = lp->head;
    if (lp->head)
        lp->head->previous = vp;
    else
        lp->tail = vp;
    lp->head = vp;
    lp->ready_count++;
}

static void unlink_ready(struct sched_lp *lp, struct sched_vp *vp)
{
    if (vp->previous)
        vp->previous->next = vp->next;
    else
        lp->head = vp->next;
    if (vp->next)
        vp->next->previous = vp->previous;
    else
        lp->tail = vp->previous;
    lp->ready_count--;
}

// What the owner reads without the lock.
static void note_first(struct sched_lp *lp)
{
    uint64_t first = lp->timers ? lp->timers->timer_deadline : SCHED_NO_TIMER;

    __atomic_store_n(&lp->first_deadline, first, __ATOMIC_RELAXED);
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

void sched_vp_remove(struct sched_vp *vp)
{
    struct sched_lp *home = sched_lock_home(vp);

    while (vp->state == SCHED_RUNNING) { // picked just now, to be put back at once
        spin_unlock(&home->lock);
        __builtin_ia32_pause();
        home = sched_lock_home(vp);
    }
    if (vp->state == SCHED_READY)
        unlink_ready(home, vp);
    if (home->lender == vp)
        home->lender = NULL;
    vp->state = SCHED_BLOCKED;
    unlink_timer(home, vp);
    home->assigned--;
    spin_unlock(&home->lock);
}

enum sched_wake sched_wake(struct sched_vp *vp, struct sched_lp **home)
{
    struct sched_lp *lp = sched_lock_home(vp);
    enum sched_wake result = SCHED_WAKE_NONE;

    *home = lp;
    if (vp->state == SCHED_RUNNING)
        result = SCHED_WAKE_RUNNING;
    if (vp->state == SCHED_LENT && !vp->woken) {
        vp->woken = true;
        result = SCHED_WAKE_PREEMPT;
    }
    if (vp->state == SCHED_BLOCKED) {
        vp->state = SCHED_READY;
        vp->woken = true;
        if (vp->urgent)
            push_front(lp, vp);
        else
            push_back(lp, vp);
        result = !lp->running || (vp->urgent && !lp->running->urgent) ? SCHED_WAKE_PREEMPT
                                                                      : SCHED_WAKE_QUEUED;
    }
    spin_unlock(&lp->lock);
    return result;
}

// An urgent VP preempts when it wakes. One that has used up its slice waits as others do: otherwise
// the first interrupt would end every turn of theirs, and one that comes with the turn all of it.
static bool preempts(const struct sched_vp *waiting, const struct sched_vp *running)
{
    return waiting && waiting->urgent && waiting->woken && !running->urgent;
}

// The lock is held.
static void put(struct sched_lp *lp, struct sched_vp *vp, bool blocked, uint64_t now)
{
    lp->running = NULL;
    if (blocked) {
        vp->state = SCHED_BLOCKED;
        return;
    }
    vp->state = SCHED_READY;
    // Preempted by an urgent VP: its slice goes on when that has finished.
    if (now < vp->slice_end && preempts(lp->head, vp)) {
        struct sched_vp *urgent = lp->head;
        unlink_ready(lp, urgent);
        push_front(lp, vp);
        push_front(lp, urgent);
        if (vp->boosted) // and is still the same turn
            vp->boosted = SCHED_AHEAD;
    } else {
        push_back(lp, vp);
    }
}

static void start(struct sched_lp *lp, struct sched_vp *vp, uint64_t now, uint64_t slice)
{
    vp->woken = false;
    vp->boosted = vp->boosted == SCHED_AHEAD ? SCHED_OWING : SCHED_NOT_BOOSTED;
    lp->running = vp;
    if (vp->slice_end <= now)
        vp->slice_end = now + slice;
    vp->state = SCHED_RUNNING;
}

struct sched_vp *sched_switch(struct sched_lp *lp, bool blocked, uint64_t now, uint64_t slice)
{
    struct sched_vp *vp;

    spin_lock(&lp->lock);
    if (lp->running)
        put(lp, lp->running, blocked, now);
    vp = lp->lender;
    lp->lender = NULL;
    if (!vp && lp->head) {
        vp = lp->head;
        unlink_ready(lp, vp);
    }
    if (vp)
        start(lp, vp, now, slice);
    spin_unlock(&lp->lock);
    return vp;
}

bool sched_hand_over(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t slice)
{
    spin_lock(&lp->lock);
    bool lender = to == lp->lender;
    bool free = lender || (to->state == SCHED_BLOCKED && to->home == lp && !lp->lender);
    if (free) {
        lp->lender = NULL;
        lp->running->state = SCHED_BLOCKED;
        start(lp, to, now, slice);
    }
    spin_unlock(&lp->lock);
    return free;
}

bool sched_lend(struct sched_lp *lp, struct sched_vp *to, uint64_t now, uint64_t limit)
{
    struct sched_vp *from = lp->running;

    spin_lock(&lp->lock);
    bool free = to->state == SCHED_BLOCKED && to->home == lp && !lp->head;
    if (free) {
        from->state = SCHED_LENT;
        from->woken = false;
        lp->lender = from;
        lp->running = to;
        to->state = SCHED_RUNNING;
        to->slice_end = now + limit;
    }
    spin_unlock(&lp->lock);
    return free;
}

// The last READY VP of a queue that may move. Only what would have to wait: an LP between two VPs
// takes its only one itself.
static struct sched_vp *movable(const struct sched_lp *from)
{
    struct sched_vp *vp = from->tail;

    if (!from->running && from->ready_count < 2)
        return NULL;
    while (vp && vp->pinned)
        vp = vp->previous;
    return vp;
}

// Both locks held. Nobody finds the VP between the queues: it is READY, so only its home matters.
static void move(struct sched_lp *from, struct sched_lp *to, struct sched_vp *vp)
{
    uint64_t deadline = vp->timer_deadline;

    unlink_ready(from, vp);
    unlink_timer(from, vp);
    from->assigned--;
    __atomic_store_n(&vp->home, to, __ATOMIC_RELEASE);
    to->assigned++;
    link_timer(to, vp, deadline);
    push_back(to, vp);
}

bool sched_pull(struct sched_lp *self, struct sched_lp *const lps[], uint32_t count)
{
    bool pulled = false;

    for (uint32_t i = 0; i < count && !pulled; i++) {
        struct sched_lp *from = lps[i];
        if (from == self || !__atomic_load_n(&from->head, __ATOMIC_RELAXED))
            continue;
        // Two LPs may pull from each other: neither waits while it holds a lock.
        if (!spin_trylock(&from->lock))
            continue;
        struct sched_vp *vp = movable(from);
        if (vp && spin_trylock(&self->lock)) {
            move(from, self, vp);
            pulled = true;
            spin_unlock(&self->lock);
        }
        spin_unlock(&from->lock);
    }
    return pulled;
}

// The home's lock is held, and the LP's own.
static bool boost(struct sched_lp *home, struct sched_lp *self, struct sched_vp *vp)
{
    if (vp->state != SCHED_READY || vp->boosted ||
        (self->head && self->head->urgent && self->head->woken))
        return false;
    if (home != self) {
        if (vp->pinned)
            return false;
        move(home, self, vp);
    }
    unlink_ready(self, vp);
    push_front(self, vp);
    vp->boosted = SCHED_AHEAD;
    return true;
}

bool sched_boost(struct sched_lp *self, struct sched_vp *vp)
{
    struct sched_lp *home = __atomic_load_n(&vp->home, __ATOMIC_ACQUIRE);
    bool boosted = false;

    if (!spin_trylock(&home->lock))
        return false;
    if (home == __atomic_load_n(&vp->home, __ATOMIC_RELAXED) &&
        (home == self || spin_trylock(&self->lock))) {
        boosted = boost(home, self, vp);
        if (home != self)
            spin_unlock(&self->lock);
    }
    spin_unlock(&home->lock);
    return boosted;
}

bool sched_must_yield(const struct sched_lp *lp, uint64_t now)
{
    const struct sched_vp *waiting = __atomic_load_n(&lp->head, __ATOMIC_RELAXED);

    if (lp->lender)
        return lp->lender->woken || now >= lp->running->slice_end;
    if (!waiting || !lp->running)
        return false;
    return now >= lp->running->slice_end || preempts(waiting, lp->running);
}

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
    spin_unlock(&lp->lock);
    return vp;
}
