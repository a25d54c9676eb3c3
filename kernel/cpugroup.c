// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/cpugroup.h"

#include "corbel/lp.h"
#include "corbel/string.h"
#include "hv/partition.h"
#include "hv/status.h"

#define WORDS (LP_MAX / 64)
static_assert(LP_MAX == HV_CPU_GROUP_LPS, "a group's set of LPs");

// The entries are there for ever, so the scheduler may look at one whose last VP is just going.
static struct cpu_group {
    bool exists;
    uint32_t cap;
    uint32_t members; // partitions
    uint64_t lps[WORDS];
    struct sched_group sched;
} groups[HV_CPU_GROUP_MAX + 1];
static struct spinlock lock;

static struct cpu_group *find(uint64_t id)
{
    return id >= 1 && id <= HV_CPU_GROUP_MAX && groups[id].exists ? &groups[id] : NULL;
}

// How many LPs of the machine the set names; 0 if it names one that is not there.
static uint32_t count_lps(const uint64_t lps[WORDS])
{
    uint32_t count = 0;

    for (uint32_t w = 0; w < WORDS; w++) {
        uint32_t first = w * 64, here = lp_count > first ? lp_count - first : 0;
        if (here < 64 && lps[w] >> here)
            return 0;
        for (uint64_t bits = lps[w]; bits; bits &= bits - 1)
            count++;
    }
    return count;
}

static bool names_lps(const struct hv_corbel_cpu_group *value)
{
    return value->lps[0] | value->lps[1] | value->lps[2] | value->lps[3];
}

// VPs of bound partitions are on the group's LPs already: those change only while it is empty.
static uint16_t store(struct cpu_group *g, const struct hv_corbel_cpu_group *value)
{
    uint64_t lps[WORDS];
    uint32_t count;

    memcpy(lps, names_lps(value) ? value->lps : g->lps, sizeof(lps));
    count = count_lps(lps);
    if (!count)
        return HV_STATUS_INVALID_LP_INDEX;
    if (g->members && memcmp(lps, g->lps, sizeof(lps)))
        return HV_STATUS_INVALID_CPU_GROUP_STATE;
    g->exists = true;
    g->cap = value->cap;
    memcpy(g->lps, lps, sizeof(lps));
    sched_group_set(&g->sched, count, value->cap);
    return HV_STATUS_SUCCESS;
}

// A new one has all LPs, if nothing else is said.
static uint16_t create(const struct hv_corbel_cpu_group *value)
{
    struct cpu_group *g = &groups[value->id];

    for (uint32_t w = 0; w < WORDS; w++) {
        uint32_t here = lp_count > w * 64 ? lp_count - w * 64 : 0;
        g->lps[w] = here >= 64 ? UINT64_MAX : (1ul << here) - 1;
    }
    return store(g, value);
}

static uint16_t delete (struct cpu_group *g)
{
    if (g->members)
        return HV_STATUS_INVALID_CPU_GROUP_STATE;
    g->exists = false;
    return HV_STATUS_SUCCESS;
}

uint16_t cpugroup_set(const struct hv_corbel_cpu_group *value)
{
    struct cpu_group *g;
    uint16_t status;

    if (value->id < 1 || value->id > HV_CPU_GROUP_MAX)
        return HV_STATUS_INVALID_CPU_GROUP_ID;
    if (value->reserved)
        return HV_STATUS_INVALID_PARAMETER;
    if (value->cap != HV_CPU_GROUP_GONE && (value->cap == 0 || value->cap > HV_CPU_FULL))
        return HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE;
    spin_lock(&lock);
    g = find(value->id);
    if (value->cap == HV_CPU_GROUP_GONE)
        status = g ? delete (g) : HV_STATUS_INVALID_CPU_GROUP_ID;
    else
        status = g ? store(g, value) : create(value);
    spin_unlock(&lock);
    return status;
}

static uint64_t next(uint32_t id)
{
    while (++id <= HV_CPU_GROUP_MAX)
        if (groups[id].exists)
            return id;
    return 0;
}

uint16_t cpugroup_get(uint32_t id, uint32_t ask, uint64_t *value)
{
    const struct cpu_group *g;
    uint16_t status = HV_STATUS_SUCCESS;

    spin_lock(&lock);
    g = find(id);
    if (ask == HV_CPU_GROUP_NEXT)
        *value = id > HV_CPU_GROUP_MAX ? 0 : next(id);
    else if (!g)
        status = HV_STATUS_INVALID_CPU_GROUP_ID;
    else if (ask == HV_CPU_GROUP_CAP)
        *value = g->cap;
    else if (ask == HV_CPU_GROUP_MEMBERS)
        *value = g->members;
    else if (ask >= HV_CPU_GROUP_LPS_0 && ask < HV_CPU_GROUP_LPS_0 + WORDS)
        *value = g->lps[ask - HV_CPU_GROUP_LPS_0];
    else
        status = HV_STATUS_INVALID_PARAMETER;
    spin_unlock(&lock);
    return status;
}

uint16_t cpugroup_join(uint64_t id, struct sched_group **group, const uint64_t **lps)
{
    struct cpu_group *g;

    spin_lock(&lock);
    g = find(id);
    if (g) {
        g->members++;
        *group = &g->sched;
        *lps = g->lps;
    }
    spin_unlock(&lock);
    return g ? HV_STATUS_SUCCESS : HV_STATUS_INVALID_CPU_GROUP_ID;
}

void cpugroup_leave(uint64_t id)
{
    spin_lock(&lock);
    groups[id].members--;
    spin_unlock(&lock);
}
