// SPDX-License-Identifier: BSD-2-Clause-Patent
// The monitor page: contract in monitor.h.
#include "corbel/monitor.h"

static uint32_t latency_of(const struct hv_monitor_page *page, uint32_t group, uint32_t trigger)
{
    uint16_t latency = __atomic_load_n(&page->latency[group][trigger], __ATOMIC_RELAXED);

    return latency ? latency : MONITOR_USUAL;
}

// The trigger's bits go before the signal: one set meanwhile is either signalled now or stays.
static void fire(struct hv_monitor_page *page, uint32_t group, uint32_t trigger,
                 monitor_signal *signal, void *context)
{
    const uint64_t bits = (UINT64_C(1) << 32 | 1) << trigger;
    const struct hv_monitor_parameter *parameter = &page->parameter[group][trigger];

    __atomic_fetch_and(&page->group[group].both, ~bits, __ATOMIC_SEQ_CST);
    signal(context, __atomic_load_n(&parameter->connection_id, __ATOMIC_RELAXED),
           __atomic_load_n(&parameter->flag_number, __ATOMIC_RELAXED));
}

static void look_at(struct hv_monitor_page *page, uint32_t group, uint32_t trigger, bool armed,
                    uint32_t now, monitor_signal *signal, void *context)
{
    uint32_t *check = &page->next_check_time[group][trigger];

    if (armed && (int32_t)(now - __atomic_load_n(check, __ATOMIC_RELAXED)) >= 0) {
        fire(page, group, trigger, signal, context);
    } else if (!armed) {
        __atomic_store_n(check, now + latency_of(page, group, trigger), __ATOMIC_RELAXED);
        __atomic_fetch_or(&page->group[group].both, UINT64_C(1) << (32 + trigger),
                          __ATOMIC_SEQ_CST);
    }
}

// The least latency of the group's triggers that have one.
static uint32_t least_latency(const struct hv_monitor_page *page, uint32_t group)
{
    uint32_t least = UINT16_MAX + 1u;

    for (uint32_t i = 0; i < HV_MONITOR_TRIGGERS_PER_GROUP; i++) {
        uint16_t latency = __atomic_load_n(&page->latency[group][i], __ATOMIC_RELAXED);
        least = latency && latency < least ? latency : least;
    }
    return least > UINT16_MAX ? MONITOR_USUAL : least;
}

uint32_t monitor_look(struct hv_monitor_page *page, uint64_t now, monitor_signal *signal,
                      void *context)
{
    const uint32_t state = __atomic_load_n(&page->trigger_state, __ATOMIC_RELAXED);
    uint32_t next = MONITOR_LONGEST;

    if (state & HV_MONITOR_STATE_DISABLED)
        return next;
    for (uint32_t group = 0; group < HV_MONITOR_GROUP_COUNT; group++) {
        if (!(state >> group & 1))
            continue;
        uint64_t both = __atomic_load_n(&page->group[group].both, __ATOMIC_ACQUIRE);
        uint32_t latency = least_latency(page, group);
        for (uint32_t pending = (uint32_t)both; pending; pending &= pending - 1) {
            uint32_t trigger = (uint32_t)__builtin_ctz(pending);
            look_at(page, group, trigger, both >> (32 + trigger) & 1, (uint32_t)now, signal,
                    context);
        }
        next = latency < next ? latency : next;
    }
    return next < MONITOR_LEAST ? MONITOR_LEAST : next;
}
