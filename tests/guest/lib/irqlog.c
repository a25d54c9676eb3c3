// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "irqlog.h"

#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "tap.h"
#include "trap.h"

struct irqlog irqlog;

static void record(struct trap_frame *frame)
{
    uint32_t at = irqlog.count;
    if (at < IRQLOG_MAX) {
        irqlog.vector[at] = (uint8_t)frame->vector;
        irqlog.tsc[at] = rdtsc();
    }
    irqlog.count = at + 1;
    apic_eoi();
}

void irqlog_watch(uint8_t vector)
{
    trap_set_handler(vector, record);
}

void irqlog_clear(void)
{
    irqlog.count = 0;
}

bool irqlog_is(const uint8_t *vectors, uint32_t count)
{
    bool same = irqlog.count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = irqlog.vector[i] == vectors[i];
    }
    if (!same) {
        con_printf("#   %u interrupts came:", irqlog.count);
        for (uint32_t i = 0; i < irqlog.count && i < IRQLOG_MAX; i++) {
            con_printf(" %x", irqlog.vector[i]);
        }
        con_printf("\n");
    }
    return same;
}
