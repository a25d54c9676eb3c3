// SPDX-License-Identifier: BSD-2-Clause-Patent
// The synthetic interrupt controller of one VP (and VTL): SCONTROL, SIEFP, SIMP, EOM and SINT0-15,
// the SIM and SIEF pages, and the message queues. TLFS: Inter-Partition Communication.
//
// Interrupts are not raised here: functions say which vectors the caller must vapic_post(), edge
// triggered, to the VP's virtual APIC. The lock is taken inside; every function may be called by
// any LP, except where it says owner (the LP that runs, or last ran, the VP). Reference time is in
// 100 ns units of the VP's partition.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "corbel/spinlock.h"
#include "hv/message.h"
#include "hv/synic.h"

#define SYNIC_SINTS     16u
#define SYNIC_FLAGS     2048u // event flags a SINT
#define SYNIC_NO_VECTOR (-1)
#define SYNIC_NO_PAGE   UINT64_MAX

enum synic_result {
    SYNIC_OK = 0,
    SYNIC_GP = 1 // inject #GP(0); nothing changed
};

enum synic_post {
    SYNIC_DELIVERED = 0, // in the slot
    SYNIC_BUSY = 1,      // slot full: MessagePending is set in it; queued if by synic_enqueue()
    SYNIC_DISABLED = 2   // SCONTROL or SIMP disabled; nothing written, nothing queued
                         // (synic_post_message: or the SINT is masked or proxied)
};

enum synic_event {
    SYNIC_NEWLY_SET = 0,
    SYNIC_ALREADY = 1,
    SYNIC_EVENT_DISABLED =
        2 // SCONTROL or SIEFP disabled, SINT masked or proxied: INVALID_SYNIC_STATE
};

// A message that waits in a queue, embedded in its sender (a VP's intercept message, a synthetic
// timer, a port's buffer). The payload stays with the sender; neither it nor the node may change
// while the node is queued. `queued` becomes false with release order: its owner may then reuse it,
// unless hand_back says that it comes back through the deliverer.
struct synic_message_node {
    struct synic_message_node *next;
    const void *payload;     // payload_size bytes
    uint64_t origination_id; // sender partition, port id or 0
    uint32_t message_type;   // HV_MESSAGE_TYPE, not 0
    uint8_t payload_size;    // 0..240
    uint8_t sint;            // set by synic_enqueue()
    bool stamp;              // timer message: DeliveryTime is filled in when written to the slot
    bool hand_back;          // whoever delivers it gets it back in synic_signals.done
    _Atomic bool queued;     // set by synic_enqueue(), cleared on delivery, cancel and reset
};

struct synic_queue {
    struct synic_message_node *head;
    struct synic_message_node *tail;
};

struct synic {
    struct spinlock lock;
    _Atomic uint32_t queued; // bit n: queue[n] not empty; written under the lock
    uint64_t scontrol;
    uint64_t siefp;
    uint64_t simp;
    uint64_t sint[SYNIC_SINTS];
    uint8_t *sim;         // hypervisor-owned page, 16 slots of 256 bytes
    uint8_t *sief;        // hypervisor-owned page, 16 arrays of 2048 flags
    uint64_t auto_eoi[4]; // vectors of unmasked auto-EOI SINTs
    struct synic_queue queue[SYNIC_SINTS];
    // What a source with HV_SINT_AS_INTERCEPT sends to SINT 0 instead of interrupting.
    struct synic_message_node intercept[SYNIC_SINTS];
    uint8_t ring_next[SYNIC_SINTS]; // entry of the event ring that is written next
};

enum synic_action_flags {
    SYNIC_ACT_SIM = 1u << 0,      // move the SIM page's overlay: sim_old -> sim_new
    SYNIC_ACT_SIEF = 1u << 1,     // move the SIEF page's overlay: sief_old -> sief_new
    SYNIC_ACT_AUTO_EOI = 1u << 2, // vapic_set_auto_eoi(a, s->auto_eoi)
    SYNIC_ACT_RESCAN = 1u << 3    // call synic_pump(): EOM, or delivery has become possible
};

// GPA page numbers; SYNIC_NO_PAGE: not mapped. A page beyond the GPA space is simply not mapped.
struct synic_action {
    uint32_t flags;
    uint64_t sim_old, sim_new;
    uint64_t sief_old, sief_new;
};

// Vectors to post, one for each message delivered to a SINT that interrupts, and the delivered
// nodes that had hand_back set (linked by next).
struct synic_signals {
    uint32_t count;
    uint8_t vector[SYNIC_SINTS + 4];
    struct synic_message_node *done;
};

// `sim` and `sief` are page-aligned pages owned by the hypervisor; they are zeroed here.
void synic_init(struct synic *s, void *sim, void *sief);
// Reset state; both pages zeroed, all queues emptied. Returns the queued nodes that had hand_back
// set (linked by next). The caller removes the overlays and clears the virtual APIC's auto-EOI
// mask.
struct synic_message_node *synic_reset(struct synic *s);

// Whether MSR `msr` is one of ours: SCONTROL..EOM, SINT0..15.
bool synic_has_msr(uint32_t msr);
// Owner, or any LP while the VP does not run. Privilege is the caller's check.
enum synic_result synic_read_msr(struct synic *s, uint32_t msr, uint64_t *value);
enum synic_result synic_write_msr(struct synic *s, uint32_t msr, uint64_t value,
                                  struct synic_action *action);

// Write `message` (already validated) into the slot of `sint` (0..15) unless older messages wait.
// `signals` is initialised here: one vector at most.
enum synic_post synic_post_message(struct synic *s, uint32_t sint, const struct hv_message *message,
                                   struct synic_signals *signals);

// Whether the guest has not taken all messages of a source yet. Any LP; it may be otherwise at
// once.
static inline bool synic_message_waits(const struct synic *s, uint32_t sint)
{
    const uint8_t *slot = s->sim + sint * sizeof(struct hv_message);

    return __atomic_load_n((const uint32_t *)slot, __ATOMIC_RELAXED) != HV_MESSAGE_TYPE_NONE ||
           __atomic_load_n(&s->queue[sint].head, __ATOMIC_RELAXED);
}

// A message written in its slot: the slot's payload if nothing keeps a message from it, and then
// the lock is held until synic_publish(); NULL: nothing is held.
void *synic_claim(struct synic *s, uint32_t sint);
// The message whose payload synic_claim() gave is complete. Returns the vector to post, or
// SYNIC_NO_VECTOR.
int synic_publish(struct synic *s, uint32_t sint, uint32_t type, uint32_t payload_size,
                  uint64_t origination_id);

// Append `node` (not queued) to the queue of `sint` and deliver what can be. With `always` the
// message is queued even while SynIC or SIM are disabled (intercepts, timers); without, that is
// SYNIC_DISABLED. SYNIC_DELIVERED: `node` itself is in the slot; SYNIC_BUSY: it waits. `signals` is
// initialised here.
enum synic_post synic_enqueue(struct synic *s, uint32_t sint, struct synic_message_node *node,
                              bool always, uint64_t now, struct synic_signals *signals);

// Deliver the head of every queue whose slot is free. `signals` is initialised here.
void synic_pump(struct synic *s, uint64_t now, struct synic_signals *signals);

// Take `node` out of its queue. False if it was not queued (any more).
bool synic_cancel(struct synic *s, struct synic_message_node *node);

// Set event flag `flag` (0..2047) of `sint`. `signals` as above.
enum synic_event synic_set_event_flag(struct synic *s, uint32_t sint, uint32_t flag,
                                      struct synic_signals *signals);

// Append `port` (not 0) to the event ring of `sint` in the SIRBP page `page`, and signal unless the
// ring says not to. SYNIC_BUSY: full, and marked so. SYNIC_DISABLED: SCONTROL, or SINT masked or
// proxied. `signals` as above.
enum synic_post synic_ring_post(struct synic *s, struct hv_synic_event_ring_page *page,
                                uint32_t sint, uint32_t port, struct synic_signals *signals);

// Whether a synic_pump() may deliver something after the EOI of `vector`. Owner; one load when
// nothing is queued.
bool synic_rescan_queued(const struct synic *s, uint8_t vector);
static inline bool synic_rescan_needed(const struct synic *s, uint8_t vector)
{
    return atomic_load_explicit(&s->queued, memory_order_relaxed) && synic_rescan_queued(s, vector);
}
