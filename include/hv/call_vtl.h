// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the VTL calls. TLFS: Virtual Secure Mode
#ifndef HV_CALL_VTL_H
#define HV_CALL_VTL_H

#include "hv/base.h"
#include "hv/registers.h"

// 000c, elements are GPA page numbers (uint64_t)
struct hv_input_modify_vtl_protection_mask {
    uint64_t partition_id; // 0
    uint32_t map_flags;    // 8 HV_MAP_GPA_PERMISSIONS_MASK
    uint8_t input_vtl;     // 12
    uint8_t reserved[3];   // 13
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_modify_vtl_protection_mask, 16);

#define HV_ENABLE_VTL_MBEC                    0x01
#define HV_ENABLE_VTL_SUPERVISOR_SHADOW_STACK 0x02
#define HV_ENABLE_VTL_HARDWARE_HVPT           0x04

// 000d
struct hv_input_enable_partition_vtl {
    uint64_t partition_id; // 0
    uint8_t target_vtl;    // 8
    uint8_t flags;         // 9 HV_ENABLE_VTL_*
    uint8_t reserved[6];   // 10
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_enable_partition_vtl, 16);

// 000f
struct hv_input_enable_vp_vtl {
    uint64_t partition_id;                   // 0
    uint32_t vp_index;                       // 8
    uint8_t target_vtl;                      // 12
    uint8_t reserved[3];                     // 13
    struct hv_initial_vp_context vp_context; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_enable_vp_vtl, 240);
HV_ASSERT_OFFSET(struct hv_input_enable_vp_vtl, vp_context, 16);

#endif
