// SPDX-License-Identifier: BSD-2-Clause-Patent
// Memory types of physical addresses as the MTRRs give them (SDM 3A 12.11). Nested paging on AMD
// obeys the MTRRs by itself; EPT ignores them (SDM 3C 29.3.7.2), so the root's tables repeat them.
// Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum memory_type { // the numbers of MTRRs and of EPT
    MEMORY_UC = 0,
    MEMORY_WC = 1,
    MEMORY_WT = 4,
    MEMORY_WP = 5,
    MEMORY_WB = 6
};

#define MEMORY_FIXED_MSRS      11u // 64K, two of 16K, eight of 4K
#define MEMORY_VARIABLE_RANGES 32u

struct memory_types {
    uint64_t def_type;                 // IA32_MTRR_DEF_TYPE
    uint64_t fixed[MEMORY_FIXED_MSRS]; // in the order of their addresses
    uint32_t variable_count;
    struct {
        uint64_t base, mask; // IA32_MTRR_PHYSBASEn, PHYSMASKn
    } variable[MEMORY_VARIABLE_RANGES];
    uint64_t physical_mask; // valid address bits
};

// Type of the `size` bytes (a power of two) at `base`, a multiple of it. *uniform: all of them have
// it; otherwise the answer is the most careful, uncacheable.
enum memory_type memory_type(const struct memory_types *m, uint64_t base, uint64_t size,
                             bool *uniform);

// Reads this processor's; without MTRRs all is write-back (arch/x86/mtrr.c).
void memory_types_read(struct memory_types *m);
