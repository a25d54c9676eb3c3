// SPDX-License-Identifier: BSD-2-Clause-Patent
// Descriptors as the hypervisor wants them. Pure.
#pragma once

#include "corbel/launch.h"

// Decode the descriptor of `selector` from a table of `limit` + 1 bytes. `system`: it is 16 bytes
// long (LDT, TSS: SDM 3A 7.2.3). A null selector, or one outside the table, gives attributes 0 (not
// present); the selector is kept.
struct launch_segment segment_decode(const uint8_t *table, uint32_t limit, uint16_t selector,
                                     int system);
