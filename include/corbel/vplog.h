// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is known of a VP that has come to grief, into the log.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct lp;
struct vp;

// Whether `lines` may be logged on behalf of a VP (corbel/lograte.h); if reports of its partition
// have been left out, it says so first. Any LP.
bool vp_may_log(const struct vp *vp, uint32_t lines);

// General registers, RIP, RFLAGS. Only reads memory: also in a panic.
void vp_log(const struct vp *vp);

// Control registers, segments and descriptor tables (base; attributes, selector and limit above).
// The VP is current or stopped.
void vp_log_system(struct vp *vp);

// The last exits of an LP, oldest first. Owner.
void lp_log_exits(const struct lp *lp);

// All of these about a VP of this LP that has come to grief by what it did itself, if it may.
void vp_log_end(struct vp *vp, const char *what);
