// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/dispatch_vp.h"

#include "corbel/hypercall.h"
#include "corbel/intercept.h"
#include "corbel/interrupts.h"
#include "corbel/lp.h"
#include "corbel/partition.h"
#include "corbel/state_page.h"
#include "corbel/string.h"
#include "corbel/vp.h"
#include "hv/message.h"
#include "hv/stats.h"
#include "hv/status.h"

static_assert(sizeof(((struct dispatched *)0)->payload) ==
                  offsetof(struct hv_vp_signal_bitset_scheduler_message, banks[1]),
              "one VP is one bank");

static void answer(struct hv_output_dispatch_vp *out, uint32_t state, uint32_t event)
{
    out->dispatch_state = state;
    out->dispatch_event = event;
}

// ---- blocked ------------------------------------------------------------------------------------

// What Linux's dispatching thread looks at before it goes on (root-abi 3.2.1). The lock is held:
// the page may be taken away.
static void show_blocked(struct vp *vp, uint64_t blocked)
{
    struct hv_stats_page *page = vp->state_pages[STATE_PAGE_STATS].page;

    if (page)
        __atomic_store_n(&page->counter[HV_STATS_VP_ROOT_DISPATCH_THREAD_BLOCKED], blocked,
                         __ATOMIC_SEQ_CST);
}

static bool unblock(struct vp *vp)
{
    struct dispatched *d = &vp->dispatched;
    bool was;

    if (!atomic_load(&d->blocked))
        return false;
    spin_lock(&d->lock);
    was = atomic_exchange(&d->blocked, 0);
    if (was)
        show_blocked(vp, 0);
    spin_unlock(&d->lock);
    return was;
}

// From here on whoever lets the VP run sees that it is to be signalled; who did so before is seen.
static void block(struct vp *vp, uint32_t event, struct hv_output_dispatch_vp *out)
{
    spin_lock(&vp->dispatched.lock);
    show_blocked(vp, 1);
    atomic_store(&vp->dispatched.blocked, 1);
    spin_unlock(&vp->dispatched.lock);
    if (vp_runnable(vp) && unblock(vp))
        answer(out, HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INVALID);
    else
        answer(out, HV_VP_DISPATCH_STATE_BLOCKED, event);
}

// An intercept comes before a suspension: who ends the one first would wait for the other.
static void judge(struct vp *vp, struct hv_output_dispatch_vp *out)
{
    uint32_t suspend = atomic_load(&vp->suspend);

    if (suspend & VP_SUSPEND_INTERCEPT)
        answer(out, HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INTERCEPT);
    else if (suspend & (VP_SUSPEND_EXPLICIT | VP_SUSPEND_UNDISPATCHED))
        block(vp, HV_VP_DISPATCH_EVENT_SUSPEND, out);
    else if ((suspend & VP_SUSPEND_STOPPED) || vp_runnable(vp))
        answer(out, HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INVALID);
    else
        block(vp, HV_VP_DISPATCH_EVENT_INVALID, out);
}

// One that has been sent and not been delivered will do for a second.
void dispatch_signal(struct vp *vp)
{
    struct dispatched *d = &vp->dispatched;
    struct hv_vp_signal_bitset_scheduler_message *m = (void *)d->payload;

    if (!unblock(vp))
        return;
    spin_lock(&d->lock);
    if (!atomic_load_explicit(&d->node.queued, memory_order_acquire)) {
        m->partition_id = vp->partition->id;
        m->overflow_count = 0;
        m->vp_count = 1;
        m->reserved = 0;
        m->format = HV_VP_SET_FORMAT_SPARSE;
        m->valid_banks_mask = 1ul << (vp->index / 64);
        m->banks[0] = 1ul << (vp->index % 64);
        __atomic_fetch_add(&d->signals, 1, __ATOMIC_RELAXED);
        intercept_notify(vp, HV_MESSAGE_TYPE_SCHEDULER_VP_SIGNAL_BITSET, sizeof(d->payload));
    }
    spin_unlock(&d->lock);
}

// ---- the call's first half ----------------------------------------------------------------------

// An interrupt that the caller holds back by IF, and which would otherwise have come before the
// call: it may have looked for work before it came.
static bool held_back(struct vp *self)
{
    return !(self->rflags & RFLAGS_IF) &&
           (vapic_deliverable(&self->active->apic) >= 0 || atomic_load(&self->extint_any));
}

static uint64_t slice_end(struct vp *self, const struct vp *target, uint64_t slice)
{
    struct dispatch *d = &self->dispatch;
    bool again =
        d->interrupted_partition == target->partition->id && d->interrupted_vp == target->index;
    uint64_t end;

    d->interrupted_partition = 0;
    if (again)
        return d->end;
    if (!slice || __builtin_add_overflow(rdtsc(), time_ticks(slice), &end))
        return SCHED_NO_TIMER;
    return end;
}

static bool lend(struct vp *self, struct vp *target, const struct hv_input_dispatch_vp *in)
{
    struct lp *lp = this_lp();
    uint64_t end = slice_end(self, target, in->time_slice);

    if (!sched_dispatch(&lp->sched, &target->sched, rdtsc(), end))
        return false;
    if (lp->extint_held) // it may come now
        lapic_release_extint(lp);
    lp->heir = target;
    if (in->flags & HV_DISPATCH_VP_SKIP_VP_SPEC_FLUSH) // for whom the predictors were cleared
        lp->last_partition = target->partition;
    self->dispatch.target = target;
    self->dispatch.end = end;
    self->dispatch.flags = in->flags;
    self->dispatch.step = DISPATCH_BEGUN;
    atomic_fetch_or(&self->suspend, VP_SUSPEND_DISPATCH);
    atomic_fetch_or(&self->work, VP_WORK_LEAVE);
    return true;
}

static void release(struct vp *target)
{
    atomic_store(&target->dispatched.by, NULL);
    partition_put(target->partition);
}

uint16_t dispatch_begin(struct vp *self, struct vp *target, const struct hv_input_dispatch_vp *in,
                        struct hv_output_dispatch_vp *out)
{
    struct vp *nobody = NULL;

    if (!atomic_compare_exchange_strong(&target->dispatched.by, &nobody, self)) {
        partition_put(target->partition);
        return HV_STATUS_INVALID_VP_STATE;
    }
    if (atomic_load(&self->work) & ~(uint32_t)VP_WORK_UNHALTED) { // its interrupts come first
        release(target);
        return HV_STATUS_RETRY;
    }
    if (in->flags & HV_DISPATCH_VP_CLEAR_INTERCEPT_SUSPEND)
        atomic_fetch_and(&target->suspend, ~(uint32_t)VP_SUSPEND_INTERCEPT);
    if (!vp_runnable(target)) {
        judge(target, out);
    } else if (held_back(self)) {
        answer(out, HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INVALID);
    } else {
        unblock(target);
        if (lend(self, target, in))
            return HV_STATUS_RETRY;
        answer(out, HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INVALID);
    }
    release(target);
    return HV_STATUS_SUCCESS;
}

// ---- the second half ----------------------------------------------------------------------------

bool dispatch_answer(struct vp *self, struct hv_output_dispatch_vp *out)
{
    if (self->dispatch.step != DISPATCH_ANSWERED)
        return false;
    *out = self->dispatch.answer;
    return true;
}

// With HV_DISPATCH_VP_ENABLE_CALLER_INTERRUPTS an interrupt that the caller can take does not end
// the call: it comes again behind the handler, for what is left of the slice.
static bool interrupts_only(struct vp *self, const struct hv_output_dispatch_vp *out, uint32_t work)
{
    struct dispatch *d = &self->dispatch;
    const struct vp *target = d->target;

    if (!(d->flags & HV_DISPATCH_VP_ENABLE_CALLER_INTERRUPTS) || !work ||
        !(self->rflags & RFLAGS_IF) || rdtsc() >= d->end ||
        out->dispatch_state != HV_VP_DISPATCH_STATE_READY ||
        out->dispatch_event != HV_VP_DISPATCH_EVENT_INVALID)
        return false;
    d->interrupted_partition = target->partition->id;
    d->interrupted_vp = target->index;
    return true;
}

bool dispatch_prepare(struct vp *self, uint32_t work)
{
    struct dispatch *d = &self->dispatch;
    struct vp *target = d->target;

    if (d->step == DISPATCH_BEGUN) {
        d->step = DISPATCH_AWAY;
        atomic_fetch_or(&self->work, work & ~(uint32_t)VP_WORK_LEAVE);
        return false;
    }
    judge(target, &d->answer);
    atomic_fetch_and(&self->suspend, ~(uint32_t)VP_SUSPEND_DISPATCH);
    if (!interrupts_only(self, &d->answer, work)) {
        d->step = DISPATCH_ANSWERED;
        hypercall_continue(self, d->length, d->wide);
    }
    d->step = DISPATCH_NONE;
    d->target = NULL;
    release(target);
    return true;
}
