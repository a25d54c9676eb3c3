// SPDX-License-Identifier: BSD-2-Clause-Patent
// CPU groups (CPU resource controls): partitions that share a part of some LPs' time, and run
// nowhere else. HV_STATUS; any LP, a lock of their own that is a leaf.
#pragma once

#include <stdint.h>

#include "corbel/sched_queue.h"
#include "hv/corbel.h"

// Creates, changes or deletes a group. HV_STATUS_INVALID_CPU_GROUP_ID: no such id, or none to
// delete; HV_STATUS_INVALID_CPU_GROUP_STATE: it is not empty, or its LPs cannot be changed.
uint16_t cpugroup_set(const struct hv_corbel_cpu_group *value);
// What `ask` (HV_CPU_GROUP_*) is of a group.
uint16_t cpugroup_get(uint32_t id, uint32_t ask, uint64_t *value);

// A partition joins, and leaves. Joined, the group and its LPs stay.
uint16_t cpugroup_join(uint64_t id, struct sched_group **group, const uint64_t **lps);
void cpugroup_leave(uint64_t id);
