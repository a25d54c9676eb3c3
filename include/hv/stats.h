// SPDX-License-Identifier: BSD-2-Clause-Patent
// Statistics pages: object types and identities, and the counters partners rely on.
// A page is an array of 512 64-bit counters. TLFS 2.0a: Statistics
#ifndef HV_STATS_H
#define HV_STATS_H

#include "hv/base.h"

#define HV_STATS_OBJECT_HYPERVISOR        0x00000001u
#define HV_STATS_OBJECT_LOGICAL_PROCESSOR 0x00000002u
#define HV_STATS_OBJECT_PARTITION         0x00010001u
#define HV_STATS_OBJECT_VP                0x00010002u

#define HV_STATS_AREA_SELF     0
#define HV_STATS_AREA_PARENT   1
#define HV_STATS_AREA_INTERNAL 2

#define HV_STATS_COUNTERS_PER_PAGE 512

// Counter indexes a root depends on.
#define HV_STATS_HYPERVISOR_LOGICAL_PROCESSORS   1
#define HV_STATS_VP_ROOT_DISPATCH_THREAD_BLOCKED 202

// HV_STATS_OBJECT_IDENTITY; the area is always the last byte.
union hv_stats_object_identity {
    struct {
        uint8_t reserved[15]; // 0
        uint8_t area;         // 15 HV_STATS_AREA_*
    } HV_PACKED hypervisor;
    struct {
        uint32_t lp_index;    // 0
        uint8_t reserved[11]; // 4
        uint8_t area;         // 15
    } HV_PACKED lp;
    struct {
        uint64_t partition_id; // 0
        uint8_t reserved[7];   // 8
        uint8_t area;          // 15
    } HV_PACKED partition;
    struct {
        uint64_t partition_id; // 0
        uint32_t vp_index;     // 8
        uint16_t flags;        // 12
        uint8_t reserved;      // 14
        uint8_t area;          // 15
    } HV_PACKED vp;
} HV_ABI;
HV_ASSERT_SIZE(union hv_stats_object_identity, 16);
HV_ASSERT_OFFSET(union hv_stats_object_identity, vp.area, 15);

struct hv_stats_page {
    uint64_t counter[HV_STATS_COUNTERS_PER_PAGE];
} HV_ABI;
HV_ASSERT_SIZE(struct hv_stats_page, 4096);

#endif
