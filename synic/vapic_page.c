// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC: state on loan to the processor (SDM 3C ch. "APIC Virtualization and Virtual
// Interrupts").
#include "corbel/vapic_page.h"

#include "vapic_priv.h"

#define PARTS (2 * VAPIC_WORDS) // registers of 32 bits that make up one bitmap

static uint32_t *reg(uint32_t *page, uint32_t offset)
{
    return &page[offset / sizeof(*page)];
}

static void write_bitmap(uint32_t *page, uint32_t offset, const uint64_t map[VAPIC_WORDS])
{
    for (uint32_t i = 0; i < PARTS; i++)
        *reg(page, offset + i * 0x10) = (uint32_t)(map[i >> 1] >> (i & 1) * 32);
}

static uint64_t read_word(const uint32_t *page, uint32_t offset, uint32_t word)
{
    const uint32_t *low = &page[(offset + word * 0x20) / sizeof(*page)];

    return low[0] | (uint64_t)low[4] << 32;
}

static uint16_t top(const uint64_t map[VAPIC_WORDS])
{
    for (int w = VAPIC_WORDS - 1; w >= 0; w--)
        if (map[w])
            return (uint16_t)(w * 64 + 63 - __builtin_clzll(map[w]));
    return 0;
}

void vapic_prepare_page(const struct vapic *a, uint32_t *page)
{
    *reg(page, VAPIC_ID) = VAPIC_LOAD(a->id);
    *reg(page, VAPIC_VER) = VAPIC_VERSION;
    *reg(page, VAPIC_LDR) = VAPIC_LOAD(a->ldr);
}

uint16_t vapic_lend(struct vapic *a, uint32_t *page, uint16_t held)
{
    uint16_t irr, isr;

    vapic_settle(a);
    vapic_demand_eoi(a);
    irr = top(a->irr);
    isr = top(a->isr);
    if (irr || (held & VAPIC_STATUS_IRR))
        write_bitmap(page, VAPIC_IRR, a->irr);
    if (isr || (held & VAPIC_STATUS_ISR))
        write_bitmap(page, VAPIC_ISR, a->isr);
    *reg(page, VAPIC_TPR) = VAPIC_LOAD(a->tpr);
    *reg(page, VAPIC_PPR) = a->ppr;
    return (uint16_t)(irr | isr << VAPIC_STATUS_ISR_SHIFT);
}

// What the processor has accepted by itself, self IPIs and posted interrupts, is edge triggered.
static void read_bitmaps(struct vapic *a, const uint32_t *page, uint16_t used)
{
    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        uint64_t known = a->irr[w] | a->isr[w];

        if (used & VAPIC_STATUS_IRR)
            a->irr[w] = read_word(page, VAPIC_IRR, w);
        if (used & VAPIC_STATUS_ISR)
            a->isr[w] = read_word(page, VAPIC_ISR, w);
        a->tmr[w] &= known | ~(a->irr[w] | a->isr[w]);
    }
}

void vapic_take_back(struct vapic *a, const uint32_t *page, uint16_t held, uint16_t status)
{
    uint8_t tpr = (uint8_t)page[VAPIC_TPR / sizeof(*page)];
    uint16_t used = held | status;

    if (used)
        read_bitmaps(a, page, used);
    if ((used & VAPIC_STATUS_ISR) || tpr != VAPIC_LOAD(a->tpr))
        vapic_set_tpr(a, tpr);
}

// What is put back has its summary bit set after it, as in vapic_post().
bool vapic_withdraw(struct vapic *a, uint64_t vectors[VAPIC_WORDS])
{
    bool all = true;

    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        uint64_t bits = atomic_exchange(&a->posted[w], 0),
                 keep = bits & VAPIC_LOAD(a->posted_level[w]);

        if (w == 0)
            keep |= bits & ((1u << VAPIC_FIRST_VECTOR) - 1);
        vectors[w] = bits & ~keep;
        if (!keep)
            continue;
        atomic_fetch_or(&a->posted[w], keep);
        atomic_fetch_or(&a->posted_words, 1u << w);
        all = false;
    }
    return all;
}

void vapic_take_edges(struct vapic *a, const uint64_t vectors[VAPIC_WORDS])
{
    if (!vapic_accepts(a))
        return;
    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        a->irr[w] |= vectors[w];
        a->tmr[w] &= ~vectors[w];
    }
}

void vapic_levels(const struct vapic *a, uint64_t map[VAPIC_WORDS])
{
    for (uint32_t w = 0; w < VAPIC_WORDS; w++)
        map[w] = a->tmr[w] & (a->irr[w] | a->isr[w]);
}

void vapic_eoi_done(struct vapic *a, uint8_t vector, struct vapic_action *action)
{
    action->flags = VAPIC_ACT_EOI | VAPIC_ACT_PENDING;
    action->eoi_vector = vector;
    if (!vapic_test_bit(a->tmr, vector))
        return;
    vapic_clear_remote_irr(a, vector);
    action->flags |= VAPIC_ACT_EOI_LEVEL;
}
