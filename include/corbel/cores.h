// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor under the core scheduler: what corbel/sched_core.h decides is done to LPs and VPs.
// Its functions take the places of the classic scheduler's where cores_in_use says so.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/sched_core.h"

struct lp;
struct partition;
struct vp;

extern bool cores_in_use; // constant after launch

// All cores have so many threads, 2 or more; LPs and places as for sched_machine_init.
void cores_init(struct sched_lp *const *lps, uint32_t threads, const struct sched_place *places,
                uint32_t count, const struct sched_policy *policy);

// The VP gets a team, paid from its partition's pool, or joins its siblings'. False: no memory.
// With more VPs than the machine has cores, those without SMT share cores too (Hyper-V scheduler
// types: "Virtual machine configuration changes"): the others are stopped then. Partition locked.
bool cores_add(struct vp *vp);
// Whether the partition's VPs, which have a core each, have to share cores once it has a VP of that
// index. The set of its VPs does not change.
bool cores_would_share(const struct partition *p, uint32_t index);
// How many teams the partition has or will have with a VP of that index as well, which may be
// CORES_NO_VP. The set of its VPs does not change.
#define CORES_NO_VP UINT32_MAX
uint32_t cores_teams(const struct partition *p, uint32_t index);
uint32_t cores_count(void);
// The VP is not to run any more.
void cores_remove(struct vp *vp);
// The partition's controls are those of the VP's team from now on. As controls_apply.
void cores_control(struct vp *vp);

// As vp_wake.
void cores_wake(struct vp *vp);
// As sched_switch. Owner LP.
struct sched_vp *cores_switch(struct lp *lp, bool blocked, uint64_t now);
// What sched_release and sched_look do for the LP, and whom they find to help. Owner LP.
void cores_look(struct lp *lp, uint64_t now);
// As sched_pull, sched_waiting, sched_boost and sched_give_way. Owner LP.
bool cores_pull(struct lp *lp);
bool cores_waiting(const struct lp *lp);
bool cores_boost(struct lp *lp, struct vp *vp);
bool cores_give_way(struct lp *lp);

// The cores that a set of LPs consists of, as a set. False: it has a part of one.
bool cores_of_lps(const uint64_t *lps, uint64_t *set);
