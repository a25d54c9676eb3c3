// SPDX-License-Identifier: BSD-2-Clause-Patent
// A record of the interrupts that one processor took, in order.
#ifndef GUEST_IRQLOG_H
#define GUEST_IRQLOG_H

#include <stdbool.h>
#include <stdint.h>

#define IRQLOG_MAX 64

struct irqlog {
    volatile uint32_t count; // taken; the first IRQLOG_MAX are recorded
    volatile uint8_t vector[IRQLOG_MAX];
    volatile uint64_t tsc[IRQLOG_MAX];
};

// The boot processor's.
extern struct irqlog irqlog;

// Sends a vector's interrupts to the record, with an EOI each.
void irqlog_watch(uint8_t vector);

void irqlog_clear(void);

// Are these exactly the vectors that came, in this order? Prints what came if not.
bool irqlog_is(const uint8_t *vectors, uint32_t count);
#define IRQLOG_IS(...)                                                                             \
    irqlog_is((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
