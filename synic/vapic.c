// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC: life, priorities, delivery, destinations.
// SDM 3A ch. "Advanced Programmable Interrupt Controller"; APM 2 ch. 16.
#include "vapic_priv.h"

#include <stddef.h>

#define LVT_RESET VAPIC_LVT_MASKED
#define SVR_RESET 0xffu
#define DFR_RESET 0xffffffffu

static int highest(const uint64_t map[VAPIC_WORDS])
{
    if (map[3])
        return 255 - __builtin_clzll(map[3]);
    if (map[2])
        return 191 - __builtin_clzll(map[2]);
    if (map[1])
        return 127 - __builtin_clzll(map[1]);
    if (map[0])
        return 63 - __builtin_clzll(map[0]);
    return -1;
}

void vapic_publish_mode(struct vapic *a)
{
    uint32_t mode = a->base & (VAPIC_BASE_ENABLE | VAPIC_BASE_X2APIC);

    VAPIC_STORE(a->mode, mode | (a->svr & VAPIC_SVR_ENABLE));
}

// SDM 3A "Task and Processor Priorities". Where the classes are equal the low bits are
// model-specific: those of TPR here.
void vapic_update_ppr(struct vapic *a)
{
    uint32_t tpr = VAPIC_LOAD(a->tpr);
    int vector = highest(a->isr);
    uint32_t class = vector < 0 ? 0 : (uint32_t)vector & 0xf0;

    a->ppr = (uint8_t)((tpr & 0xf0) >= class ? tpr : class);
}

// A vector that is posted meanwhile is lost or kept, but never left in a word whose summary bit is
// clear: the summary goes first, the words after it.
void vapic_reset_registers(struct vapic *a)
{
    vapic_demand_eoi(a);
    VAPIC_STORE(a->posted_words, 0);
    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        atomic_store_explicit(&a->posted[w], 0, memory_order_release);
        VAPIC_STORE(a->posted_level[w], 0);
        a->irr[w] = 0;
        a->isr[w] = 0;
        a->tmr[w] = 0;
    }
    VAPIC_STORE(a->ldr, vapic_x2apic(a) ? vapic_x2apic_ldr(a->initial_id) : 0);
    VAPIC_STORE(a->dfr, DFR_RESET);
    VAPIC_STORE(a->tpr, 0);
    a->ppr = 0;
    a->svr = SVR_RESET;
    a->esr = 0;
    a->esr_pending = 0;
    for (uint32_t i = 0; i < VAPIC_LVT_COUNT; i++)
        a->lvt[i] = LVT_RESET;
    a->icr = 0;
    a->timer_initial = 0;
    a->timer_divide = 0;
    a->timer_expiry = VAPIC_NO_DEADLINE;
    a->timer_period = 0;
    vapic_publish_mode(a);
}

void vapic_init(struct vapic *a, uint32_t apic_id, uint32_t flags, const struct vapic_clock *clock)
{
    a->flags = (uint8_t)flags;
    a->clock = clock;
    a->initial_id = apic_id;
    a->assist = NULL;
    a->spared = 0;
    VAPIC_STORE(a->id, apic_id);
    a->base = VAPIC_BASE_PA | VAPIC_BASE_ENABLE;
    if (flags & VAPIC_FLAG_BSP)
        a->base |= VAPIC_BASE_BSP;
    for (uint32_t w = 0; w < VAPIC_WORDS; w++)
        a->auto_eoi[w] = 0;
    vapic_reset_registers(a);
}

void vapic_reset(struct vapic *a)
{
    vapic_reset_registers(a);
}

// A new LVT ERROR interrupt for an illegal LVT ERROR vector would recurse: it only leaves its bit.
void vapic_error(struct vapic *a, uint32_t esr_bit)
{
    uint32_t lvt = a->lvt[VAPIC_ERROR];

    a->esr_pending |= esr_bit;
    if ((lvt & VAPIC_LVT_MASKED) || !vapic_accepts(a))
        return;
    if ((lvt & VAPIC_LVT_VECTOR) < VAPIC_FIRST_VECTOR) {
        a->esr_pending |= VAPIC_ESR_RECEIVE_ILLEGAL;
        return;
    }
    vapic_set_bit(a->irr, lvt & VAPIC_LVT_VECTOR);
    vapic_clear_bit(a->tmr, lvt & VAPIC_LVT_VECTOR);
}

void vapic_set_tpr(struct vapic *a, uint8_t tpr)
{
    VAPIC_STORE(a->tpr, tpr);
    vapic_update_ppr(a);
}

// ---- interrupts in ---------------------------------------------------------------------------

// The word is set before its summary bit, and vapic_merge() clears the summary before it takes the
// word: seeing the summary still set here means that the merge to come will take the word.
bool vapic_post(struct vapic *a, uint8_t vector, bool level)
{
    uint32_t word = vector >> 6;
    uint64_t bit = UINT64_C(1) << (vector & 63);

    if (level)
        atomic_fetch_or_explicit(&a->posted_level[word], bit, memory_order_relaxed);
    else if (VAPIC_LOAD(a->posted_level[word]) & bit)
        atomic_fetch_and_explicit(&a->posted_level[word], ~bit, memory_order_relaxed);
    if (atomic_fetch_or(&a->posted[word], bit) & bit)
        return false;
    if (!(atomic_load(&a->posted_words) & 1u << word))
        atomic_fetch_or(&a->posted_words, 1u << word);
    return true;
}

void vapic_merge(struct vapic *a)
{
    vapic_settle(a);
    if (!vapic_has_posted(a))
        return;
    uint32_t words = atomic_exchange(&a->posted_words, 0);
    bool accepts = vapic_accepts(a);

    while (words) {
        uint32_t w = (uint32_t)__builtin_ctz(words);
        uint64_t bits = atomic_exchange(&a->posted[w], 0);
        uint64_t level = VAPIC_LOAD(a->posted_level[w]);

        words &= words - 1;
        if (!accepts)
            continue;
        if (w == 0 && (bits & 0xffff)) {
            bits &= ~UINT64_C(0xffff);
            vapic_error(a, VAPIC_ESR_RECEIVE_ILLEGAL);
        }
        a->irr[w] |= bits;
        a->tmr[w] = (a->tmr[w] & ~bits) | (level & bits);
    }
}

void vapic_set_irr(struct vapic *a, uint8_t vector)
{
    if (!vapic_accepts(a))
        return;
    if (vector < VAPIC_FIRST_VECTOR) {
        vapic_error(a, VAPIC_ESR_RECEIVE_ILLEGAL);
        return;
    }
    vapic_set_bit(a->irr, vector);
    vapic_clear_bit(a->tmr, vector);
}

// ---- interrupts out --------------------------------------------------------------------------

int vapic_highest_irr(struct vapic *a)
{
    vapic_merge(a);
    return highest(a->irr);
}

int vapic_deliverable(struct vapic *a)
{
    int vector = vapic_highest_irr(a);

    return vector >= 0 && (vector & 0xf0) > (a->ppr & 0xf0) ? vector : -1;
}

// A deliverable vector's class is above that of TPR and of everything in service, so it alone makes
// the new PPR.
void vapic_accept(struct vapic *a, uint8_t vector)
{
    vapic_clear_bit(a->irr, vector);
    if (vapic_test_bit(a->auto_eoi, vector))
        return;
    vapic_set_bit(a->isr, vector);
    a->ppr = vector & 0xf0;
}

// Merging and accepting in one, without the detour through IRR.
int vapic_take_posted(struct vapic *a)
{
    uint32_t words = VAPIC_LOAD(a->posted_words), w = (uint32_t)__builtin_ctz(words | 1u << 31);

    vapic_settle(a);
    // Vectors below 16 are in word 0.
    if (w == 0 || w >= VAPIC_WORDS || words != 1u << w || !vapic_accepts(a) ||
        (a->irr[0] | a->irr[1] | a->irr[2] | a->irr[3]))
        return -1;
    // Words that others mark from here on are not this one, or are taken with it: see vapic_post.
    if (!atomic_compare_exchange_strong(&a->posted_words, &words, 0))
        return -1;
    uint64_t bits = atomic_exchange(&a->posted[w], 0), level = VAPIC_LOAD(a->posted_level[w]);
    int vector = bits ? (int)(w * 64 + (uint32_t)__builtin_ctzll(bits)) : -1;

    a->tmr[w] = (a->tmr[w] & ~bits) | (level & bits);
    if ((bits & (bits - 1)) || (vector & 0xf0) <= (a->ppr & 0xf0)) {
        a->irr[w] = bits;
        return -1;
    }
    if (bits && !(a->auto_eoi[w] & bits)) {
        a->isr[w] |= bits;
        a->ppr = vector & 0xf0;
    }
    return vector;
}

void vapic_clear_remote_irr(struct vapic *a, uint32_t vector)
{
    for (uint32_t i = VAPIC_LINT0; i <= VAPIC_LINT1; i++)
        if ((a->lvt[i] & VAPIC_LVT_VECTOR) == vector)
            a->lvt[i] &= ~(uint32_t)VAPIC_LVT_REMOTE_IRR;
}

// A guest may do without the assistance that it is offered; then the offer is withdrawn, or the
// next EOI would be taken for one more.
int vapic_eoi(struct vapic *a)
{
    int vector = vapic_in_service(a);

    vapic_demand_eoi(a);
    if (vector < 0)
        return -1;
    vapic_clear_bit(a->isr, (uint32_t)vector);
    vapic_update_ppr(a);
    if (!vapic_test_bit(a->tmr, (uint32_t)vector))
        return vector;
    vapic_clear_remote_irr(a, (uint32_t)vector);
    return vector | VAPIC_EOI_WAS_LEVEL;
}

int vapic_eoi_at_once(struct vapic *a)
{
    int vector = vapic_in_service(a);

    if (vector < 0 || vapic_any_pending(a) || vapic_test_bit(a->tmr, (uint32_t)vector))
        return -1;
    vapic_demand_eoi(a);
    vapic_clear_bit(a->isr, (uint32_t)vector);
    vapic_update_ppr(a);
    return vector;
}

// ---- EOI assist --------------------------------------------------------------------------------

// Only an edge is spared its EOI, so there is nobody to tell.
void vapic_settle_slow(struct vapic *a)
{
    if (VAPIC_LOAD(*a->assist) & HV_APIC_ASSIST_NO_EOI_REQUIRED)
        return;
    vapic_clear_bit(a->isr, a->spared);
    a->spared = 0;
    vapic_update_ppr(a);
}

void vapic_set_assist(struct vapic *a, _Atomic uint32_t *word)
{
    vapic_settle(a);
    vapic_demand_eoi(a);
    a->assist = word;
}

int vapic_in_service(struct vapic *a)
{
    vapic_settle(a);
    return highest(a->isr);
}

void vapic_set_auto_eoi(struct vapic *a, const uint64_t mask[VAPIC_WORDS])
{
    for (uint32_t w = 0; w < VAPIC_WORDS; w++)
        a->auto_eoi[w] = mask[w];
}

// ---- local sources ---------------------------------------------------------------------------

// A level-triggered LINT is not accepted again until the EOI has cleared remote IRR.
static void local_fixed(struct vapic *a, enum vapic_lvt source)
{
    uint32_t lvt = a->lvt[source];
    uint8_t vector = lvt & VAPIC_LVT_VECTOR;
    bool level = (lvt & VAPIC_LVT_LEVEL) && (source == VAPIC_LINT0 || source == VAPIC_LINT1);

    if (!level) {
        vapic_set_irr(a, vector);
    } else if (!(lvt & VAPIC_LVT_REMOTE_IRR) && vector >= VAPIC_FIRST_VECTOR) {
        a->lvt[source] |= VAPIC_LVT_REMOTE_IRR;
        vapic_set_bit(a->irr, vector);
        vapic_set_bit(a->tmr, vector);
    } else if (vector < VAPIC_FIRST_VECTOR) {
        vapic_error(a, VAPIC_ESR_RECEIVE_ILLEGAL);
    }
}

int vapic_local(struct vapic *a, enum vapic_lvt source)
{
    uint32_t lvt = a->lvt[source];
    uint32_t mode = (lvt & VAPIC_LVT_MODE) >> VAPIC_LVT_MODE_SHIFT;

    if (!vapic_hw_enabled(a))
        return source == VAPIC_LINT0 ? VAPIC_EXTINT : source == VAPIC_LINT1 ? VAPIC_NMI : -1;
    if (lvt & VAPIC_LVT_MASKED)
        return -1;
    switch (mode) {
    case VAPIC_FIXED:
        local_fixed(a, source);
        return VAPIC_FIXED;
    case VAPIC_SMI:
    case VAPIC_NMI:
    case VAPIC_INIT:
    case VAPIC_EXTINT:
        return (int)mode;
    default:
        return -1;
    }
}

bool vapic_accepts_extint(const struct vapic *a)
{
    uint32_t lvt = a->lvt[VAPIC_LINT0];
    uint32_t mode = (lvt & VAPIC_LVT_MODE) >> VAPIC_LVT_MODE_SHIFT;

    return !vapic_hw_enabled(a) || (!(lvt & VAPIC_LVT_MASKED) && mode == VAPIC_EXTINT);
}

// ---- destinations ----------------------------------------------------------------------------

static bool match_logical_xapic(const struct vapic *a, uint32_t dest)
{
    uint32_t id = VAPIC_LOAD(a->ldr) >> 24;
    uint32_t model = VAPIC_LOAD(a->dfr) >> 28;

    if (dest > 0xff)
        return false;
    if (model == 0xf) // flat
        return dest & id;
    if (model == 0) // cluster
        return dest >> 4 == id >> 4 && (dest & id & 0xf);
    return false;
}

bool vapic_match(const struct vapic *a, uint32_t dest, bool logical)
{
    uint32_t mode = VAPIC_LOAD(a->mode);

    if (!(mode & VAPIC_BASE_ENABLE))
        return false;
    if (dest == VAPIC_BROADCAST)
        return true;
    if (!logical)
        return VAPIC_LOAD(a->id) == dest;
    if (!(mode & VAPIC_BASE_X2APIC))
        return match_logical_xapic(a, dest);
    uint32_t ldr = VAPIC_LOAD(a->ldr);
    return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
}

bool vapic_lower_priority(const struct vapic *candidate, const struct vapic *best)
{
    return (VAPIC_LOAD(candidate->tpr) & 0xf0) < (VAPIC_LOAD(best->tpr) & 0xf0);
}
