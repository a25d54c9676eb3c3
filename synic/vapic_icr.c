// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC: interprocessor interrupts. SDM 3A "Issuing Interprocessor Interrupts".
#include "vapic_priv.h"

// Delivery modes that a shorthand takes, one bit a mode. SDM 3A "Valid Combinations for the Pentium
// 4 Processor...": self and all-including-self know fixed only; lowest priority and NMI have one
// sensible meaning there and real processors carry them out, so they are allowed.
#define MODE_BIT(mode) (1u << (mode))
#define MODES_LOCAL    (MODE_BIT(VAPIC_FIXED) | MODE_BIT(VAPIC_LOWEST) | MODE_BIT(VAPIC_NMI))
#define MODES_ALL      (MODES_LOCAL | MODE_BIT(VAPIC_SMI) | MODE_BIT(VAPIC_INIT) | MODE_BIT(VAPIC_SIPI))
#define MODES_VECTORED (MODE_BIT(VAPIC_FIXED) | MODE_BIT(VAPIC_LOWEST))

static const uint8_t valid_modes[4] = {
    [VAPIC_DEST_FIELD] = MODES_ALL,
    [VAPIC_DEST_SELF] = MODES_LOCAL,
    [VAPIC_DEST_ALL] = MODES_LOCAL,
    [VAPIC_DEST_OTHERS] = MODES_ALL,
};

void vapic_self_ipi(struct vapic *a, uint8_t vector, struct vapic_action *action)
{
    if (vector < VAPIC_FIRST_VECTOR)
        vapic_error(a, VAPIC_ESR_SEND_ILLEGAL);
    else
        vapic_set_irr(a, vector);
    action->flags |= VAPIC_ACT_PENDING;
}

static uint32_t destination(const struct vapic *a, uint64_t icr)
{
    return vapic_x2apic(a) ? (uint32_t)(icr >> 32) : vapic_dest8((uint8_t)(icr >> 56));
}

// Fixed IPIs are edge triggered whatever bit 15 says. INIT with level trigger and no assert is the
// de-assert of old: nothing to do since the Pentium 4.
void vapic_write_icr(struct vapic *a, uint64_t value, struct vapic_action *action)
{
    uint32_t low = (uint32_t)value;
    uint32_t mode = low >> VAPIC_ICR_MODE_SHIFT & 7;
    uint32_t shorthand = low >> VAPIC_ICR_SHORTHAND_SHIFT & 3;
    bool logical = low & VAPIC_ICR_LOGICAL;
    uint8_t vector = low & VAPIC_ICR_VECTOR;
    uint32_t dest = destination(a, value);

    a->icr = value;
    if (!(valid_modes[shorthand] >> mode & 1))
        return;
    if (MODES_VECTORED >> mode & 1) {
        bool self = shorthand == VAPIC_DEST_SELF ||
                    (shorthand == VAPIC_DEST_FIELD && !logical && dest == VAPIC_LOAD(a->id));
        if (self || vector < VAPIC_FIRST_VECTOR) {
            vapic_self_ipi(a, vector, action);
            return;
        }
    } else if (mode == VAPIC_INIT &&
               (low & (VAPIC_ICR_LEVEL | VAPIC_ICR_ASSERT)) == VAPIC_ICR_LEVEL) {
        return;
    }
    action->flags |= VAPIC_ACT_IPI;
    action->ipi = (struct vapic_ipi){
        .dest = dest,
        .vector = (MODES_VECTORED | MODE_BIT(VAPIC_SIPI)) >> mode & 1 ? vector : 0,
        .mode = (uint8_t)mode,
        .shorthand = (uint8_t)shorthand,
        .logical = logical,
    };
}
