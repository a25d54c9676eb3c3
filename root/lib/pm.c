// SPDX-License-Identifier: BSD-2-Clause-Patent
// ACPI fixed hardware: contract and sources in pm.h.
#include "pm.h"

#include "mem.h"
#include "ports.h"

enum pm_word { WORD_EVENT = 0, WORD_CONTROL = 4, WORD_TIMER = 8 };

enum pm_constant {
    PM_EVENTS = PM_TIMER_EVENT | PM_GLOBAL_EVENT | PM_POWER_BUTTON | PM_SLEEP_BUTTON | PM_RTC_EVENT,
    CONTROL_SCI_EN = 1 << 0,
    CONTROL_BM_RLD = 1 << 1,
    CONTROL_TYPE_SHIFT = 10,
    CONTROL_TYPE_MASK = 7,
    CONTROL_SLEEP_ENABLE = 1 << 13, // write-only
    CONTROL_KEPT = CONTROL_BM_RLD | CONTROL_TYPE_MASK << CONTROL_TYPE_SHIFT,
};

#define UNITS_PER_SECOND UINT64_C(10000000) // of 100 ns
#define PM_TIMER_HZ      UINT64_C(3579545)
#define HALF_SHIFT       31

static uint64_t ticks_at(uint64_t now)
{
    return now / UNITS_PER_SECOND * PM_TIMER_HZ +
           now % UNITS_PER_SECOND * PM_TIMER_HZ / UNITS_PER_SECOND;
}

// The first time at which ticks_at() reaches the value.
static uint64_t time_of(uint64_t ticks)
{
    return ticks / PM_TIMER_HZ * UNITS_PER_SECOND +
           (ticks % PM_TIMER_HZ * UNITS_PER_SECOND + PM_TIMER_HZ - 1) / PM_TIMER_HZ;
}

void pm_reset(struct pm *pm, uint64_t now)
{
    memset(pm, 0, sizeof *pm);
    pm->timer_half = ticks_at(now) >> HALF_SHIFT;
}

void pm_advance(struct pm *pm, uint64_t now)
{
    const uint64_t half = ticks_at(now) >> HALF_SHIFT;

    if (half != pm->timer_half) {
        pm->timer_half = half;
        pm->status |= PM_TIMER_EVENT;
    }
}

uint64_t pm_deadline(const struct pm *pm)
{
    if ((pm->status & PM_TIMER_EVENT) || !(pm->enable & PM_TIMER_EVENT)) {
        return CHIPSET_NO_DEADLINE;
    }
    return time_of((pm->timer_half + 1) << HALF_SHIFT);
}

bool pm_interrupt(const struct pm *pm)
{
    return pm->status & pm->enable;
}

void pm_raise(struct pm *pm, enum pm_event event)
{
    pm->status |= event;
}

static uint32_t read_word(const struct pm *pm, unsigned word, uint64_t now)
{
    switch (word) {
    case WORD_EVENT:
        return pm->status | (uint32_t)pm->enable << 16;
    case WORD_CONTROL:
        return pm->control | CONTROL_SCI_EN;
    default:
        return (uint32_t)ticks_at(now);
    }
}

uint32_t pm_read(struct pm *pm, unsigned offset, unsigned size, uint64_t now)
{
    const uint32_t mask = UINT32_MAX >> (32 - 8 * size);

    pm_advance(pm, now);
    return read_word(pm, offset & ~3u, now) >> (offset % 4 * 8) & mask;
}

static void write_control(struct pm *pm, uint32_t value, const struct chipset_host *host)
{
    const unsigned type = value >> CONTROL_TYPE_SHIFT & CONTROL_TYPE_MASK;

    pm->control = value & CONTROL_KEPT;
    if ((value & CONTROL_SLEEP_ENABLE) && type == PM_SLEEP_TYPE_S5) {
        host->power_off(host->ctx);
    }
}

void pm_write(struct pm *pm, unsigned offset, unsigned size, uint32_t value,
              const struct chipset_host *host)
{
    const unsigned shift = offset % 4 * 8;
    const uint32_t mask = UINT32_MAX >> (32 - 8 * size) << shift;
    const uint32_t bits = value << shift & mask;

    pm_advance(pm, host->now_100ns(host->ctx));
    switch (offset & ~3u) {
    case WORD_EVENT:
        pm->status &= (uint16_t)~bits; // write one to clear
        pm->enable = (uint16_t)((pm->enable & ~(mask >> 16)) | bits >> 16) & PM_EVENTS;
        break;
    case WORD_CONTROL:
        write_control(pm, (pm->control & ~mask) | bits, host);
        break;
    default:
        break; // the timer is read-only
    }
}
