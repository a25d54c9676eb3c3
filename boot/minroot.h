// SPDX-License-Identifier: BSD-2-Clause-Patent
// Which processors the root keeps (CPU resource controls: "Minroot"), and how it learns that it has
// no others. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/launch.h"

// Gives every processor the index of its root VP: 0 to rootproc - 1 to those that the root keeps,
// in order, the others after them. Each node keeps rootproc / nodes (what does not divide goes to
// the first ones), and those that have too few leave it to others; the boot processor is one of
// them. `nodes` numbers each processor's node. rootproc 0, or not below count: all.
void minroot_choose(struct launch_lp *lps, const uint32_t *nodes, uint32_t count, uint32_t boot_lp,
                    uint32_t rootproc);

// Marks the processors whose root VP's index is rootproc or higher as not usable in a MADT (ACPI
// 6.5: 5.2.12.2, 5.2.12.12), and makes its checksum right. Returns how many entries were changed.
// Nothing is read or written beyond `size`, nor beyond the table's own length.
uint32_t minroot_hide(uint8_t *madt, uint32_t size, const struct launch_lp *lps, uint32_t count,
                      uint32_t rootproc);
