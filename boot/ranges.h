// SPDX-License-Identifier: BSD-2-Clause-Patent
// An ascending list of ranges, merged where they touch. Pure.
#pragma once

#include <stdbool.h>

#include "corbel/launch.h"

// Insert [base, base + size). Ranges may overlap. False: the list is full, or the range wraps; the
// list is then as it was.
bool ranges_add(struct launch_range *ranges, uint32_t *count, uint32_t max, uint64_t base,
                uint64_t size);
