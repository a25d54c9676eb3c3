// SPDX-License-Identifier: BSD-2-Clause-Patent
// How much of the processors a partition's VPs get: properties CpuReserve, CpuCap, CpuWeight and
// CpuGroupId (tlfs-reference 2.19; CPU resource controls).
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct partition;
struct vp;

// At creation: weight 100, no reserve, no cap.
void controls_init(struct partition *p);
// A new VP gets those of its partition.
void controls_apply(struct vp *vp);

// What its partition's reserve means for a VP that is created is kept for it. False: the machine's
// LPs have not so much left. Afterwards, and when a VP has gone: what is not needed is given back.
// The caller has begun a change of the partition.
bool controls_admit(struct partition *p, uint32_t index);
void controls_settle(struct partition *p);

// Parts of HV_CPU_FULL of an LP, for each VP. The caller has begun a change of the partition.
// HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE: out of the range, the reserve above the cap, or more than
// the machine has left to reserve.
uint64_t controls_reserve(const struct partition *p);
uint16_t controls_set_reserve(struct partition *p, uint64_t value);
uint64_t controls_cap(const struct partition *p);
uint16_t controls_set_cap(struct partition *p, uint64_t value);
uint64_t controls_weight(const struct partition *p);
uint16_t controls_set_weight(struct partition *p, uint64_t value);

// The CPU group, 0: none. HV_STATUS_INVALID_CPU_GROUP_ID: there is no such group;
// HV_STATUS_INVALID_CPU_GROUP_STATE: the partition is bound to another; HV_STATUS_RETRY.
uint64_t controls_group(const struct partition *p);
uint16_t controls_set_group(struct partition *p, uint64_t value);
// The partition goes: it leaves its group.
void controls_release(struct partition *p);
