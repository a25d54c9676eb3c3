// SPDX-License-Identifier: BSD-2-Clause-Patent
// From an exit back to an entry, and from one VP to the next, on both vendors. A backend hands in
// what differs in a constant structure; all of this becomes part of its functions, so no call is
// indirect.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "corbel/cpufeatures.h"
#include "corbel/exits_common.h"
#include "corbel/hypercall.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/speculation.h"

#define EXIT_INLINE static inline __attribute__((always_inline))

// On the ways that are measured all that they call becomes part of them: what both backends call is
// not inlined otherwise.
#define MEASURED __attribute__((noinline, flatten))

// What a kind of exit means, one row a kind.
struct exit_entry {
    void (*handler)(struct vp *vp);
    uint8_t counter; // enum vp_counter
};

struct exit_ways {
    void (*sync_in)(struct vp *vp);  // general registers, RIP, RFLAGS, shadow and TPR to struct vp
    void (*sync_out)(struct vp *vp); // and back, after a handler
    // The same where a window may have put away more of what the guest needs.
    void (*reload)(struct lp *lp, struct vp *vp);
    // `vp`, whose state is in the registers, has ended its turn. Returns the VP to enter.
    struct vp *(*next)(struct lp *lp, struct vp *vp, bool blocked);
    struct vp *(*prepare)(struct vp *vp);      // exit_prepare(), out of line
    struct vp *(*prepare_fast)(struct vp *vp); // exit_prepare_fast(), out of line
};

EXIT_INLINE bool exit_signalled(const struct vp *vp)
{
    return unlikely(atomic_load_explicit(&vp->work, memory_order_relaxed));
}

// The VP gives way to the next, if there is one.
EXIT_INLINE struct vp *exit_leave(const struct exit_ways *w, struct lp *lp, struct vp *vp,
                                  bool blocked)
{
    return unlikely(lp->launching) ? NULL : w->next(lp, vp, blocked);
}

// What waits for the VP before it may run again.
EXIT_INLINE struct vp *exit_prepare(const struct exit_ways *w, struct vp *vp)
{
    if (!vp_prepare(vp))
        return exit_leave(w, this_lp(), vp, false);
    w->reload(this_lp(), vp);
    return vp;
}

// An exit completed without neutral state, with work signalled meanwhile.
EXIT_INLINE struct vp *exit_prepare_fast(const struct exit_ways *w, struct vp *vp)
{
    w->sync_in(vp);
    return w->prepare(vp);
}

// An exit completed without neutral state.
EXIT_INLINE struct vp *exit_resume_fast(const struct exit_ways *w, struct vp *vp)
{
    return exit_signalled(vp) ? w->prepare_fast(vp) : vp;
}

// After a handler: enter again at once if nothing is to be looked at.
EXIT_INLINE struct vp *exit_resume(const struct exit_ways *w, struct vp *vp)
{
    if (exit_signalled(vp))
        return w->prepare(vp);
    w->sync_out(vp);
    return vp;
}

// The same after a handler that may have sent an intercept, for which the VP waits.
EXIT_INLINE struct vp *exit_resume_or_leave(const struct exit_ways *w, struct vp *vp)
{
    return vp_stopped(vp) ? exit_leave(w, this_lp(), vp, true) : exit_resume(w, vp);
}

// A hypercall of 64-bit code at CPL 0, completed without neutral state if it can be; else
// HYPERCALL_NOT_FAST. Otherwise `*result` is for RAX, unless the call is to be repeated
// (HV_STATUS_RETRY).
EXIT_INLINE uint32_t exit_call(struct vp *vp, uint64_t *result)
{
    uint64_t control = vp->gpr[RCX];

    vp->counters[VP_COUNTER_HYPERCALL]++;
    if ((control & ~HV_HYPERCALL_CODE_MASK) == HV_HYPERCALL_FAST)
        return (uint32_t)(*result = hypercall_fast(vp, control, vp->gpr[RDX], vp->gpr[R8]));
    return hypercall_listed(vp, control, result);
}

// The VP, in the middle of a hypercall without neutral state, has made another runnable, and that
// is the next (lp_lend).
EXIT_INLINE struct vp *exit_lend(const struct exit_ways *w, struct lp *lp, struct vp *vp)
{
    w->sync_in(vp);
    return w->next(lp, vp, false);
}

// The VP has completed a HLT, its state synced in. A halt that nothing ends gives the LP away at
// once.
EXIT_INLINE struct vp *exit_halted(const struct exit_ways *w, struct lp *lp, struct vp *vp)
{
    vp->counters[VP_COUNTER_HLT]++;
    atomic_fetch_or(&vp->suspend, VP_SUSPEND_HALT);
    if (!exit_signalled(vp) && !vp_event_pending(vp, lp))
        return exit_leave(w, lp, vp, true);
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
    return w->prepare(vp);
}

// An interrupt window has opened, and the backend has closed it: choose anew.
EXIT_INLINE void exit_window_opened(struct vp *vp)
{
    vp->windows = 0;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

// An entry or exit that cannot be. True: it was the first of a launch, which has failed with it.
EXIT_INLINE bool exit_fails_launch(struct lp *lp, struct vp *vp)
{
    if (!lp->launching)
        return false;
    lp->entry_failed = true;
    atomic_fetch_or(&vp->work, VP_WORK_LEAVE);
    return true;
}

struct switch_ways {
    void (*load)(struct lp *lp, struct vp *vp); // the VP's state into the registers
    void (*save)(struct lp *lp, struct vp *vp);
    void (*reload)(struct lp *lp, struct vp *vp); // as in struct exit_ways
};

// As `next` in struct exit_ways; without a VP the first of an LP that nobody has.
EXIT_INLINE struct vp *switch_next(const struct switch_ways *w, struct lp *lp, struct vp *vp,
                                   bool blocked)
{
    do {
        if (vp)
            w->save(lp, vp);
        vp = lp_switch(lp, vp, blocked);
        blocked = false;
        if (!vp)
            return NULL;
        w->load(lp, vp);
    } while (!lp_begin_turn(lp, vp));
    w->reload(lp, vp);
    return vp;
}

// Between VPs of two partitions: what the one has left behind is not for the other.
EXIT_INLINE void switch_partition(struct lp *lp, const struct vp *vp)
{
    uint32_t duties;

    if (lp->last_partition == vp->partition)
        return;
    duties = speculation_between(&cpu_features.changes, lp->last_partition, vp->partition,
                                 root_partition);
    if (duties == SPECULATION_DIVIDE)
        speculation_divide();
    else if (duties)
        speculation_switch(duties);
    lp->last_partition = vp->partition;
}
