// SPDX-License-Identifier: BSD-2-Clause-Patent
// Synthetic interrupt controller: registers, message slots and queues, event flags.
// TLFS: Inter-Partition Communication.
#include "corbel/synic.h"

#include <assert.h>

#include "hv/msr.h"
#include "hv/synic.h"

#define SLOT_SIZE   ((size_t)HV_MESSAGE_SIZE)
#define FLAGS_WORDS ((size_t)SYNIC_FLAGS / 64)

static_assert(SYNIC_SINTS == HV_SYNIC_SINT_COUNT, "SINTs");
static_assert(SYNIC_FLAGS == HV_EVENT_FLAGS_COUNT, "event flags");

static bool page_enabled(uint64_t msr)
{
    return msr & HV_PAGE_MSR_ENABLE;
}

static bool messages_enabled(const struct synic *s)
{
    return (s->scontrol & HV_SCONTROL_ENABLE) && page_enabled(s->simp);
}

// Whether a source takes no flags and no direct messages: masked and not polled, or proxied, which
// leaves it to a proxy that is not there. tlfs-reference 1.10.
static bool is_refusing(const struct synic *s, uint32_t sint)
{
    uint64_t value = s->sint[sint];

    return (value & (HV_SINT_MASKED | HV_SINT_PROXY)) &&
           ((value & HV_SINT_PROXY) || !(value & HV_SINT_POLLING));
}

// The vector to post for `sint`, if it interrupts. SINT 0 itself is never an intercept.
static int sint_vector(const struct synic *s, uint32_t sint)
{
    uint64_t value = s->sint[sint];

    if ((value & (HV_SINT_MASKED | HV_SINT_POLLING)) || (sint && (value & HV_SINT_AS_INTERCEPT)))
        return SYNIC_NO_VECTOR;
    return (int)(value & HV_SINT_VECTOR_MASK);
}

// Payloads of HvMessageTypeSynicSintIntercept, as whole words.
static const uint64_t sint_numbers[SYNIC_SINTS] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};

// ---- life ------------------------------------------------------------------------------------

static void reset_registers(struct synic *s)
{
    s->scontrol = 0;
    s->siefp = 0;
    s->simp = 0;
    for (uint32_t i = 0; i < SYNIC_SINTS; i++)
        s->sint[i] = HV_SINT_RESET_VALUE;
    for (uint32_t w = 0; w < 4; w++)
        s->auto_eoi[w] = 0;
    __builtin_memset(s->ring_next, 0, sizeof(s->ring_next));
    __builtin_memset(s->sim, 0, HV_PAGE_SIZE);
    __builtin_memset(s->sief, 0, HV_PAGE_SIZE);
}

void synic_init(struct synic *s, void *sim, void *sief)
{
    spin_init(&s->lock);
    s->sim = sim;
    s->sief = sief;
    atomic_store(&s->queued, 0);
    for (uint32_t i = 0; i < SYNIC_SINTS; i++) {
        s->queue[i] = (struct synic_queue){0};
        s->intercept[i] = (struct synic_message_node){
            .payload = &sint_numbers[i],
            .payload_size = sizeof(struct hv_synic_sint_intercept_message),
            .message_type = HV_MESSAGE_TYPE_SYNIC_SINT_INTERCEPT,
        };
    }
    reset_registers(s);
}

// ---- queues (under the lock) -----------------------------------------------------------------

static void mark_queue(struct synic *s, uint32_t sint)
{
    uint32_t queued = atomic_load_explicit(&s->queued, memory_order_relaxed);
    uint32_t bit = 1u << sint;

    queued = s->queue[sint].head ? queued | bit : queued & ~bit;
    atomic_store_explicit(&s->queued, queued, memory_order_relaxed);
}

static void append(struct synic *s, uint32_t sint, struct synic_message_node *node)
{
    struct synic_queue *q = &s->queue[sint];

    node->next = NULL;
    node->sint = (uint8_t)sint;
    atomic_store_explicit(&node->queued, true, memory_order_relaxed);
    if (q->head)
        q->tail->next = node;
    else
        q->head = node;
    q->tail = node;
    mark_queue(s, sint);
}

// Takes `node`, whose predecessor is `previous` (NULL: it is the head), out of its queue. The owner
// may reuse it from the store of `queued` on: unless it is handed back it is not touched after
// that.
static void unlink_node(struct synic *s, struct synic_message_node *previous,
                        struct synic_message_node *node, struct synic_message_node **done)
{
    struct synic_queue *q = &s->queue[node->sint];

    if (previous)
        previous->next = node->next;
    else
        q->head = node->next;
    if (q->tail == node)
        q->tail = previous;
    mark_queue(s, node->sint);
    if (node->hand_back && done) {
        node->next = *done;
        *done = node;
    }
    atomic_store_explicit(&node->queued, false, memory_order_release);
}

struct synic_message_node *synic_reset(struct synic *s)
{
    struct synic_message_node *dropped = NULL;

    spin_lock(&s->lock);
    for (uint32_t i = 0; i < SYNIC_SINTS; i++)
        while (s->queue[i].head)
            unlink_node(s, NULL, s->queue[i].head, &dropped);
    reset_registers(s);
    spin_unlock(&s->lock);
    return dropped;
}

// ---- registers -------------------------------------------------------------------------------

bool synic_has_msr(uint32_t msr)
{
    return msr - HV_X64_MSR_SCONTROL <= HV_X64_MSR_EOM - HV_X64_MSR_SCONTROL ||
           msr - HV_X64_MSR_SINT0 < SYNIC_SINTS;
}

enum synic_result synic_read_msr(struct synic *s, uint32_t msr, uint64_t *value)
{
    if (msr - HV_X64_MSR_SINT0 < SYNIC_SINTS) {
        *value = s->sint[msr - HV_X64_MSR_SINT0];
        return SYNIC_OK;
    }
    switch (msr) {
    case HV_X64_MSR_SCONTROL:
        *value = s->scontrol;
        return SYNIC_OK;
    case HV_X64_MSR_SVERSION:
        *value = HV_SYNIC_VERSION;
        return SYNIC_OK;
    case HV_X64_MSR_SIEFP:
        *value = s->siefp;
        return SYNIC_OK;
    case HV_X64_MSR_SIMP:
        *value = s->simp;
        return SYNIC_OK;
    case HV_X64_MSR_EOM:
        *value = 0;
        return SYNIC_OK;
    default:
        return SYNIC_GP;
    }
}

// Polling SINTs never interrupt, so they have no vector whose EOI could be automatic.
static bool update_auto_eoi(struct synic *s)
{
    uint64_t mask[4] = {0};
    bool changed = false;

    for (uint32_t i = 0; i < SYNIC_SINTS; i++) {
        int vector = sint_vector(s, i);
        if (vector != SYNIC_NO_VECTOR && (s->sint[i] & HV_SINT_AUTO_EOI))
            mask[vector >> 6] |= UINT64_C(1) << (vector & 63);
    }
    for (uint32_t w = 0; w < 4; w++) {
        changed |= mask[w] != s->auto_eoi[w];
        s->auto_eoi[w] = mask[w];
    }
    return changed;
}

// A vector below 16 is a fault only when unmasked: guests write 0x10000 to switch a SINT off.
static enum synic_result write_sint(struct synic *s, uint32_t sint, uint64_t value,
                                    struct synic_action *action)
{
    if (!(value & HV_SINT_MASKED) && (value & HV_SINT_VECTOR_MASK) < HV_SYNIC_FIRST_VALID_VECTOR)
        return SYNIC_GP;
    spin_lock(&s->lock);
    s->sint[sint] = value;
    if (update_auto_eoi(s))
        action->flags |= SYNIC_ACT_AUTO_EOI;
    spin_unlock(&s->lock);
    return SYNIC_OK;
}

static uint64_t overlay_page(uint64_t msr)
{
    return page_enabled(msr) ? msr >> HV_PAGE_SHIFT : SYNIC_NO_PAGE;
}

static void write_simp(struct synic *s, uint64_t value, struct synic_action *action)
{
    action->sim_old = overlay_page(s->simp);
    action->sim_new = overlay_page(value);
    if (action->sim_old != action->sim_new)
        action->flags |= SYNIC_ACT_SIM;
    if (page_enabled(value) && !page_enabled(s->simp))
        action->flags |= SYNIC_ACT_RESCAN;
    s->simp = value;
}

static void write_siefp(struct synic *s, uint64_t value, struct synic_action *action)
{
    action->sief_old = overlay_page(s->siefp);
    action->sief_new = overlay_page(value);
    if (action->sief_old != action->sief_new)
        action->flags |= SYNIC_ACT_SIEF;
    s->siefp = value;
}

enum synic_result synic_write_msr(struct synic *s, uint32_t msr, uint64_t value,
                                  struct synic_action *action)
{
    action->flags = 0;
    if (msr - HV_X64_MSR_SINT0 < SYNIC_SINTS)
        return write_sint(s, msr - HV_X64_MSR_SINT0, value, action);
    if (msr == HV_X64_MSR_SVERSION || !synic_has_msr(msr))
        return SYNIC_GP;
    spin_lock(&s->lock);
    if (msr == HV_X64_MSR_SIMP) {
        write_simp(s, value, action);
    } else if (msr == HV_X64_MSR_SIEFP) {
        write_siefp(s, value, action);
    } else {
        if (msr == HV_X64_MSR_SCONTROL)
            s->scontrol = value;
        action->flags |= SYNIC_ACT_RESCAN;
    }
    if (!atomic_load_explicit(&s->queued, memory_order_relaxed))
        action->flags &= ~(uint32_t)SYNIC_ACT_RESCAN;
    spin_unlock(&s->lock);
    return SYNIC_OK;
}

// ---- message slots ---------------------------------------------------------------------------

struct outgoing {
    const void *payload;
    uint64_t origination_id;
    uint32_t message_type;
    uint8_t payload_size;
    bool more; // others wait behind it
};

// The guest owns the slot while its type is not NONE, and clears the type without a lock. If it is
// busy MessagePending is set first and the type looked at again: the guest clears the type and then
// tests the flag, so either it sees the flag or the slot is seen free here.
static bool slot_is_free(uint8_t *slot)
{
    uint32_t *type = (uint32_t *)slot;

    if (__atomic_load_n(type, __ATOMIC_ACQUIRE) == HV_MESSAGE_TYPE_NONE)
        return true;
    __atomic_fetch_or(slot + offsetof(struct hv_message_header, flags), HV_MESSAGE_FLAG_PENDING,
                      __ATOMIC_SEQ_CST);
    return __atomic_load_n(type, __ATOMIC_SEQ_CST) == HV_MESSAGE_TYPE_NONE;
}

// Payloads are whole words in memory of at least HV_MESSAGE_PAYLOAD_SIZE bytes or of their own size
// rounded up.
static inline void copy_words(void *to, const void *from, size_t words)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

// Type, size and flags are one store, after everything else.
static inline void slot_head(uint8_t *slot, uint64_t origination_id, uint64_t head)
{
    __atomic_store_n((uint64_t *)(slot + offsetof(struct hv_message_header, origination_id)),
                     origination_id, __ATOMIC_RELAXED);
    __atomic_store_n((uint64_t *)slot, head, __ATOMIC_RELEASE);
}

static void slot_write(uint8_t *slot, const struct outgoing *m)
{
    uint64_t head = m->message_type | (uint64_t)m->payload_size << 32;

    if (m->more)
        head |= (uint64_t)HV_MESSAGE_FLAG_PENDING << 40;
    copy_words(slot + offsetof(struct hv_message, payload), m->payload, (m->payload_size + 7u) / 8);
    slot_head(slot, m->origination_id, head);
}

// A timer's DeliveryTime belongs into the slot before the type: the node's payload is left alone.
static void deliver(uint8_t *slot, const struct synic_message_node *node, uint64_t now)
{
    struct hv_timer_message_payload timer;
    struct outgoing m = {
        .payload = node->payload,
        .origination_id = node->origination_id,
        .message_type = node->message_type,
        .payload_size = node->payload_size,
        .more = node->next != NULL,
    };

    if (node->stamp) {
        timer = *(const struct hv_timer_message_payload *)node->payload;
        timer.delivery_time = now;
        m.payload = &timer;
    }
    slot_write(slot, &m);
}

static void add_vector(const struct synic *s, uint32_t sint, struct synic_signals *signals)
{
    int vector = sint_vector(s, sint);

    if (vector != SYNIC_NO_VECTOR)
        signals->vector[signals->count++] = (uint8_t)vector;
}

// One message that waits tells enough: whoever takes it looks at the source then.
static void send_sint_intercept(struct synic *s, uint32_t sint, uint64_t now,
                                struct synic_signals *signals)
{
    struct synic_message_node *node = &s->intercept[sint];

    if (atomic_load_explicit(&node->queued, memory_order_relaxed))
        return;
    node->next = NULL;
    if (messages_enabled(s) && !s->queue[0].head && slot_is_free(s->sim)) {
        deliver(s->sim, node, now);
        add_vector(s, 0, signals);
    } else {
        append(s, 0, node);
    }
}

static void signal_sint(struct synic *s, uint32_t sint, uint64_t now, struct synic_signals *signals)
{
    const uint64_t quiet = HV_SINT_MASKED | HV_SINT_POLLING;

    if (sint && (s->sint[sint] & (quiet | HV_SINT_AS_INTERCEPT)) == HV_SINT_AS_INTERCEPT)
        send_sint_intercept(s, sint, now, signals);
    else
        add_vector(s, sint, signals);
}

// Delivers the head of one queue if it can be. Under the lock.
static void pump_sint(struct synic *s, uint32_t sint, uint64_t now, struct synic_signals *signals)
{
    struct synic_message_node *node = s->queue[sint].head;
    uint8_t *slot = s->sim + sint * SLOT_SIZE;

    if (!node || !slot_is_free(slot))
        return;
    deliver(slot, node, now);
    unlink_node(s, NULL, node, &signals->done);
    signal_sint(s, sint, now, signals);
}

// A message that nothing keeps from its slot does not go through the queue. Under the lock.
static bool deliver_at_once(struct synic *s, uint32_t sint, struct synic_message_node *node,
                            uint64_t now, struct synic_signals *signals)
{
    uint8_t *slot = s->sim + sint * SLOT_SIZE;

    if (s->queue[sint].head || !slot_is_free(slot))
        return false;
    node->next = NULL;
    deliver(slot, node, now);
    if (node->hand_back)
        signals->done = node;
    signal_sint(s, sint, now, signals);
    return true;
}

static void signals_init(struct synic_signals *signals)
{
    signals->count = 0;
    signals->done = NULL;
}

void *synic_claim(struct synic *s, uint32_t sint)
{
    uint8_t *slot = s->sim + sint * SLOT_SIZE;

    spin_lock(&s->lock);
    if (messages_enabled(s) && !s->queue[sint].head && slot_is_free(slot))
        return slot + offsetof(struct hv_message, payload);
    spin_unlock(&s->lock);
    return NULL;
}

int synic_publish(struct synic *s, uint32_t sint, uint32_t type, uint32_t payload_size,
                  uint64_t origination_id)
{
    uint8_t *slot = s->sim + sint * SLOT_SIZE;
    int vector = sint_vector(s, sint);

    slot_head(slot, origination_id, type | (uint64_t)payload_size << 32);
    spin_unlock(&s->lock);
    return vector;
}

enum synic_post synic_post_message(struct synic *s, uint32_t sint, const struct hv_message *message,
                                   struct synic_signals *signals)
{
    uint8_t *slot = s->sim + sint * SLOT_SIZE;
    enum synic_post result = SYNIC_DISABLED;

    signals_init(signals);
    spin_lock(&s->lock);
    if (messages_enabled(s) && !is_refusing(s, sint)) {
        result = SYNIC_BUSY;
        if (slot_is_free(slot) && !s->queue[sint].head) {
            slot_write(slot, &(struct outgoing){
                                 .payload = message->payload,
                                 .origination_id = message->header.origination_id,
                                 .message_type = message->header.message_type,
                                 .payload_size = message->header.payload_size,
                             });
            signal_sint(s, sint, 0, signals);
            result = SYNIC_DELIVERED;
        }
    }
    spin_unlock(&s->lock);
    return result;
}

enum synic_post synic_enqueue(struct synic *s, uint32_t sint, struct synic_message_node *node,
                              bool always, uint64_t now, struct synic_signals *signals)
{
    enum synic_post result = SYNIC_DISABLED;

    signals_init(signals);
    spin_lock(&s->lock);
    bool enabled = messages_enabled(s);
    if (enabled && deliver_at_once(s, sint, node, now, signals)) {
        result = SYNIC_DELIVERED;
    } else if (enabled || always) {
        append(s, sint, node);
        if (enabled) // another message is an occasion for those before it
            pump_sint(s, sint, now, signals);
        result = s->queue[sint].head ? SYNIC_BUSY : SYNIC_DELIVERED;
    }
    spin_unlock(&s->lock);
    return result;
}

void synic_pump(struct synic *s, uint64_t now, struct synic_signals *signals)
{
    uint32_t queued = 0;

    signals_init(signals);
    spin_lock(&s->lock);
    if (messages_enabled(s))
        queued = atomic_load_explicit(&s->queued, memory_order_relaxed);
    while (queued) {
        pump_sint(s, (uint32_t)__builtin_ctz(queued), now, signals);
        queued &= queued - 1;
    }
    spin_unlock(&s->lock);
}

bool synic_cancel(struct synic *s, struct synic_message_node *node)
{
    struct synic_message_node *previous = NULL;
    bool found = false;

    spin_lock(&s->lock);
    if (atomic_load_explicit(&node->queued, memory_order_relaxed)) {
        for (struct synic_message_node *n = s->queue[node->sint].head; n != node; n = n->next)
            previous = n;
        unlink_node(s, previous, node, NULL);
        found = true;
    }
    spin_unlock(&s->lock);
    return found;
}

bool synic_rescan_queued(const struct synic *s, uint8_t vector)
{
    uint32_t queued = atomic_load_explicit(&s->queued, memory_order_relaxed);

    while (queued) {
        if (sint_vector(s, (uint32_t)__builtin_ctz(queued)) == vector)
            return true;
        queued &= queued - 1;
    }
    return false;
}

// ---- event flags -----------------------------------------------------------------------------

enum synic_event synic_set_event_flag(struct synic *s, uint32_t sint, uint32_t flag,
                                      struct synic_signals *signals)
{
    uint64_t *words = (uint64_t *)s->sief + sint * FLAGS_WORDS;
    uint64_t bit = UINT64_C(1) << (flag & 63);
    enum synic_event result = SYNIC_EVENT_DISABLED;

    signals_init(signals);
    spin_lock(&s->lock);
    if ((s->scontrol & HV_SCONTROL_ENABLE) && page_enabled(s->siefp) && !is_refusing(s, sint)) {
        result = SYNIC_ALREADY;
        if (!(__atomic_fetch_or(&words[flag >> 6], bit, __ATOMIC_SEQ_CST) & bit)) {
            signal_sint(s, sint, 0, signals);
            result = SYNIC_NEWLY_SET;
        }
    }
    spin_unlock(&s->lock);
    return result;
}

// ---- event rings -----------------------------------------------------------------------------

// The guest clears entries as it takes them, and clears signal_masked before it looks for the last
// time: either it sees the entry, or it is seen here that it wants to be signalled.
enum synic_post synic_ring_post(struct synic *s, struct hv_synic_event_ring_page *page,
                                uint32_t sint, uint32_t port, struct synic_signals *signals)
{
    struct hv_synic_event_ring *ring = &page->ring[sint];
    enum synic_post result = SYNIC_DISABLED;

    signals_init(signals);
    spin_lock(&s->lock);
    if ((s->scontrol & HV_SCONTROL_ENABLE) && !is_refusing(s, sint)) {
        uint32_t *entry = &ring->data[s->ring_next[sint]];
        if (__atomic_load_n(entry, __ATOMIC_ACQUIRE)) {
            __atomic_store_n(&ring->ring_full, 1, __ATOMIC_SEQ_CST);
            result = SYNIC_BUSY;
        } else {
            __atomic_store_n(entry, port, __ATOMIC_SEQ_CST);
            s->ring_next[sint] =
                (uint8_t)((s->ring_next[sint] + 1u) % HV_SYNIC_EVENT_RING_MESSAGE_COUNT);
            result = SYNIC_DELIVERED;
        }
        if (!__atomic_load_n(&ring->signal_masked, __ATOMIC_SEQ_CST))
            signal_sint(s, sint, 0, signals);
    }
    spin_unlock(&s->lock);
    return result;
}
