// SPDX-License-Identifier: BSD-2-Clause-Patent
// Offsets in struct lp that assembly uses; asserted in kernel/lp.c.
#pragma once
#define LP_ACCEPTED 0
#define LP_HOST_RSP 32
