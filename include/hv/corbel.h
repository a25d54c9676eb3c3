// SPDX-License-Identifier: BSD-2-Clause-Patent
// What Corbel adds where the published interface has nothing: CPU groups are told to the
// hypervisor, and the topology of the machine to the root, by calls that no document describes. The
// numbers are far from the published ones.
#ifndef HV_CORBEL_H
#define HV_CORBEL_H

#include "hv/base.h"

// HvCallSetSystemProperty with this property creates a CPU group, gives it another cap, or deletes
// it. CPU resource controls: CPU groups; partition property CpuGroupId binds a partition.
#define HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP 0x80000001u

#define HV_CPU_GROUP_MAX  63 // ids are 1 to this; 0: no group
#define HV_CPU_GROUP_LPS  256
#define HV_CPU_GROUP_GONE 0xFFFFFFFFu // as a cap: delete the group

// The value of the property.
struct hv_corbel_cpu_group {
    uint32_t id;       // 0
    uint32_t cap;      // 4 parts of HV_CPU_FULL of its LPs' time, or HV_CPU_GROUP_GONE
    uint64_t lps[4];   // 8 by index; all 0: as they are, of a new group all
    uint64_t reserved; // 40
} HV_ABI;
HV_ASSERT_SIZE(struct hv_corbel_cpu_group, 48);

// HvCallGetSystemProperty with the same property: the argument is the id, and in bits 39:32 what
// is wanted.
#define HV_CPU_GROUP_ASK_SHIFT 32
#define HV_CPU_GROUP_NEXT      0 // the next higher id that there is, 0: none
#define HV_CPU_GROUP_CAP       1
#define HV_CPU_GROUP_MEMBERS   2 // partitions that are bound
#define HV_CPU_GROUP_LPS_0     4 // to 7: LPs 0 to 63, ...

// HvCallGetSystemProperty with this property tells of an LP: the argument is its index, and in bits
// 39:32 what is wanted. HV_STATUS_INVALID_LP_INDEX: there is no such LP.
#define HV_SYSTEM_PROPERTY_CORBEL_LP 0x80000002u

#define HV_LP_ASK_SHIFT 32
#define HV_LP_NODE      0
#define HV_LP_PACKAGE   1
#define HV_LP_CORE      2
#define HV_LP_ROOT_VP   3 // HV_LP_NO_ROOT_VP: the root has none there
#define HV_LP_THREADS   4 // of its core

#define HV_LP_NO_ROOT_VP UINT64_MAX

#endif
