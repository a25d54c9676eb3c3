// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root scheduler (spec: root-abi 3.2.1; TLFS call 00c2): a child's VP runs only in the place of
// a root VP, for as long as that VP is inside HvCallDispatchVp. The call is a continuation. Its
// first half lends the LP to the child's VP (sched_dispatch); the second is carried out when the LP
// comes back, before the root VP enters its guest or anything is injected, so nothing can come
// between an answer and the call that it belongs to.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "corbel/gpa.h"
#include "corbel/spinlock.h"
#include "corbel/synic.h"
#include "hv/call_vp.h"

struct vp;

enum dispatch_step {
    DISPATCH_NONE,
    DISPATCH_BEGUN,   // the LP is about to go to the target
    DISPATCH_AWAY,    // it has it, or has just given it back
    DISPATCH_ANSWERED // the answer is known, the call has yet to take it
};

// Of a root VP: what it has dispatched. Owner LP.
struct dispatch {
    struct vp *target; // NULL: nobody; else its partition is referenced
    uint64_t end;      // TSC, SCHED_NEVER
    uint32_t flags;    // HV_DISPATCH_VP_*
    uint8_t step;      // enum dispatch_step
    uint8_t length;    // of the hypercall's instruction
    bool wide;         // the caller runs 64-bit code
    // A call that an interrupt has interrupted, and which comes again: its target, and `end` holds.
    uint64_t interrupted_partition;
    uint32_t interrupted_vp;
    struct hv_output_dispatch_vp answer;
};

// Of a child's VP: who runs it, and who is told when it can go on.
struct dispatched {
    _Atomic(struct vp *) by;  // the root VP that has it, NULL
    _Atomic uint32_t blocked; // a dispatch has said so, and its end has not been signalled yet
    struct spinlock lock;     // `blocked`, the page that shows it, and the signal
    uint64_t signals;         // HV_REGISTER_VP_ROOT_SIGNAL_COUNT
    struct synic_message_node node;  // a scheduler signal, or that the message page is full
    struct synic *synic;             // where `node` was last queued, or NULL
    _Alignas(8) uint8_t payload[40]; // its
};

// HvCallDispatchVp of `self`, the running VP. The caller has a reference to the target's partition,
// which goes over to this. HV_STATUS_SUCCESS: *out is the answer; HV_STATUS_RETRY: the call comes
// again, or is continued by dispatch_prepare(); HV_STATUS_INVALID_VP_STATE: another VP has it.
uint16_t dispatch_begin(struct vp *self, struct vp *target, const struct hv_input_dispatch_vp *in,
                        struct hv_output_dispatch_vp *out);

// Whether this call is the continuation that has its answer. Owner LP.
bool dispatch_answer(struct vp *self, struct hv_output_dispatch_vp *out);

// A root VP with VP_SUSPEND_DISPATCH on its way into its guest: false, the LP goes to the target
// first; true, the call has its result and the VP goes on. `work`: what was signalled. Owner LP.
bool dispatch_prepare(struct vp *self, uint32_t work);

// A VP that no LP schedules could run: the root is told if it waits for that. Any LP.
void dispatch_signal(struct vp *vp);
