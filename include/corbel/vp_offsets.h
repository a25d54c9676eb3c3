// SPDX-License-Identifier: BSD-2-Clause-Patent
// Offsets in struct vp that assembly uses; asserted in kernel/vp.c.
#pragma once
#define VP_GPR(n) (8 * (n))
#define VP_RIP    128
#define VP_RFLAGS 136
#define VP_HW     144
#define VP_HW_PA  152
