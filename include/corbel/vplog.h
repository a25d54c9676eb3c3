// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is known of a VP that has come to grief, into the log.
#pragma once

struct lp;
struct vp;

// General registers, RIP, RFLAGS. Only reads memory: also in a panic.
void vp_log(const struct vp *vp);

// Control registers, segments and descriptor tables (base; attributes, selector and limit above).
// The VP is current or stopped.
void vp_log_system(struct vp *vp);

// The last exits of an LP, oldest first. Owner.
void lp_log_exits(const struct lp *lp);
