// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "root/cpugroups.h"

#include "boot/text.h"
#include "hv/partition.h"
#include "root/calls.h"
#include "root/lib/lpset.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/vm.h"

enum { GROUPS = 16 };

static struct conf_group groups[GROUPS];
static uint32_t group_count;

// Names are padded with zeros.
static bool same_name(const char *a, const char *b)
{
    return !memcmp(a, b, CONF_NAME_SIZE);
}

struct conf_group *cpugroups_open(const char *name, const char **what)
{
    struct conf_group *group = &groups[group_count];

    if (group_count == GROUPS) {
        *what = "too many CPU groups";
        return NULL;
    }
    *group = conf_group_defaults;
    text_format(group->name, sizeof group->name, "%s", name);
    for (uint32_t i = 0; i < group_count; i++) {
        if (same_name(groups[i].name, group->name)) {
            *what = "there is a CPU group of this name already";
            return NULL;
        }
    }
    group_count++;
    return group;
}

static bool start(const struct conf_group *group, uint32_t id)
{
    struct hv_corbel_cpu_group value = {.id = id,
                                        .cap = (uint32_t)(group->cap * HV_CPU_FULL / 100)};
    uint64_t lps[LPSET_WORDS];
    uint16_t status;

    if (!lpset_parse(group->lps, lps)) {
        root_fail("cpugroup %s: lps = %s: not a list of processors", group->name, group->lps);
        return false;
    }
    memcpy(value.lps, lps, sizeof value.lps);
    status = call_set_cpu_group(&value);
    if (status != HV_STATUS_SUCCESS) {
        root_fail("cpugroup %s: the hypervisor refuses it: status %x", group->name, status);
    }
    return status == HV_STATUS_SUCCESS;
}

bool cpugroups_start(void)
{
    for (uint32_t i = 0; i < group_count; i++) {
        if (!start(&groups[i], i + 1)) {
            return false;
        }
    }
    return true;
}

uint64_t cpugroups_id(const char *name)
{
    for (uint32_t i = 0; i < group_count; i++) {
        if (same_name(groups[i].name, name)) {
            return i + 1;
        }
    }
    return HV_CPU_GROUP_MAX + 1;
}
