// SPDX-License-Identifier: BSD-2-Clause-Patent
// Reference TSC page. ReferenceTime (100 ns) = ((TSC * scale) >> 64) + offset. Sequence 0 sends
// the guest to HV_X64_MSR_TIME_REF_COUNT. TLFS: Partition Reference Time Enlightenment
#ifndef HV_TIME_H
#define HV_TIME_H

#include "hv/base.h"

// Reference time units per second.
#define HV_REFERENCE_TIME_HZ UINT64_C(10000000)

#define HV_REFERENCE_TSC_SEQUENCE_INVALID 0u

struct hv_reference_tsc_page {
    uint32_t tsc_sequence;   // 0
    uint32_t reserved0;      // 4
    uint64_t tsc_scale;      // 8
    int64_t tsc_offset;      // 16
    uint64_t timeline_bias;  // 24
    uint64_t tsc_multiplier; // 32
    uint64_t reserved1[507]; // 40
} HV_ABI;
HV_ASSERT_SIZE(struct hv_reference_tsc_page, 4096);
HV_ASSERT_OFFSET(struct hv_reference_tsc_page, tsc_offset, 16);
HV_ASSERT_OFFSET(struct hv_reference_tsc_page, tsc_multiplier, 32);

#endif
