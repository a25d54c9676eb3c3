// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the address space and TLB calls. TLFS: Virtual MMU
#ifndef HV_CALL_TLB_H
#define HV_CALL_TLB_H

#include "hv/base.h"
#include "hv/synic.h"

// HV_FLUSH_FLAGS
#define HV_FLUSH_ALL_PROCESSORS             HV_BIT(0)
#define HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES HV_BIT(1)
#define HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY   HV_BIT(2)
#define HV_FLUSH_USE_EXTENDED_RANGE_FORMAT  HV_BIT(3)
#define HV_FLUSH_USE_TARGET_VTL             HV_BIT(4)
#define HV_FLUSH_TARGET_VTL0                HV_BIT(8)
#define HV_FLUSH_TARGET_VTL1                HV_BIT(9)
#define HV_FLUSH_DEFINED_MASK               UINT64_C(0x31F)

// 0001
struct hv_input_switch_virtual_address_space {
    uint64_t address_space; // 0 the new CR3
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_switch_virtual_address_space, 8);

// 0002; 0003 adds GVA range elements (uint64_t, HV_GVA_RANGE_*)
struct hv_input_flush_virtual_address_space {
    uint64_t address_space;  // 0
    uint64_t flags;          // 8 HV_FLUSH_*
    uint64_t processor_mask; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_flush_virtual_address_space, 24);

// 0013, banks follow; 0014 adds GVA range elements after the banks
struct hv_input_flush_virtual_address_space_ex {
    uint64_t address_space;  // 0
    uint64_t flags;          // 8 HV_FLUSH_*
    struct hv_vp_set vp_set; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_flush_virtual_address_space_ex, 32);

// 00af; 00b0 adds HV_GPA_PAGE_RANGE elements (uint64_t)
struct hv_input_flush_guest_physical_address_space {
    uint64_t address_space; // 0 EPTP or nCR3
    uint64_t flags;         // 8 zero
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_flush_guest_physical_address_space, 16);

// 0008
struct hv_input_notify_long_spin_wait {
    uint32_t spin_count; // 0
    uint32_t reserved;   // 4
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_notify_long_spin_wait, 8);

#endif
