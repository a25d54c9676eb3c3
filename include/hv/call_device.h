// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the device interrupt calls. TLFS: HvCallRetargetDeviceInterrupt
#ifndef HV_CALL_DEVICE_H
#define HV_CALL_DEVICE_H

#include "hv/base.h"
#include "hv/synic.h"

// Device id: type in bits 63:62.
#define HV_DEVICE_ID_TYPE_SHIFT 62
#define HV_DEVICE_TYPE_LOGICAL  0
#define HV_DEVICE_TYPE_PCI      1
#define HV_DEVICE_TYPE_IOAPIC   2
#define HV_DEVICE_TYPE_ACPI     3

// PCI device id: BDF 15:0, segment 31:16, shadow bus range 47:32, phantom function bits 49:48.
#define HV_DEVICE_ID_PCI_BDF_MASK           UINT64_C(0xFFFF)
#define HV_DEVICE_ID_PCI_SEGMENT_SHIFT      16
#define HV_DEVICE_ID_PCI_SEGMENT_MASK       UINT64_C(0xFFFF0000)
#define HV_DEVICE_ID_PCI_SHADOW_RANGE_SHIFT 32
#define HV_DEVICE_ID_PCI_SHADOW_RANGE_MASK  UINT64_C(0x0000FFFF00000000)
#define HV_DEVICE_ID_PCI_PHANTOM_SHIFT      48
#define HV_DEVICE_ID_PCI_PHANTOM_MASK       UINT64_C(0x0003000000000000)
#define HV_DEVICE_ID_PCI_SOURCE_SHADOW      HV_BIT(50)
#define HV_DEVICE_ID_IOAPIC_ID_MASK         UINT64_C(0xFF)

#define HV_INTERRUPT_SOURCE_MSI    1
#define HV_INTERRUPT_SOURCE_IOAPIC 2

struct hv_interrupt_entry {
    uint32_t source;         // 0 HV_INTERRUPT_SOURCE_*
    uint32_t reserved;       // 4
    uint32_t address_or_low; // 8 MSI address, or low half of the redirection entry
    uint32_t data_or_high;   // 12 MSI data, or high half of the redirection entry
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_interrupt_entry, 16);

#define HV_DEVICE_INTERRUPT_TARGET_MULTICAST      0x1u
#define HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET  0x2u
#define HV_DEVICE_INTERRUPT_TARGET_PROXY_REDIRECT 0x4u

// With PROCESSOR_SET the last QWORD is the set's format; its valid-banks mask and banks follow as
// the variable header.
struct hv_device_interrupt_target {
    uint32_t vector;         // 0
    uint32_t flags;          // 4 HV_DEVICE_INTERRUPT_TARGET_*
    uint64_t mask_or_format; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_device_interrupt_target, 16);

// 007e
struct hv_input_retarget_device_interrupt {
    uint64_t partition_id;                     // 0
    uint64_t device_id;                        // 8
    struct hv_interrupt_entry interrupt_entry; // 16
    uint64_t reserved;                         // 32
    struct hv_device_interrupt_target target;  // 40
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_retarget_device_interrupt, 56);
HV_ASSERT_OFFSET(struct hv_input_retarget_device_interrupt, target, 40);

#define HV_INTERRUPT_TRIGGER_MODE_EDGE  0
#define HV_INTERRUPT_TRIGGER_MODE_LEVEL 1

// 007c: the fixed header; the valid-banks mask and the banks of the target set follow at 72.
struct hv_device_interrupt_descriptor {
    uint32_t interrupt_type;                  // 0 HV_INTERRUPT_TYPE_*
    uint32_t trigger_mode;                    // 4 HV_INTERRUPT_TRIGGER_MODE_*
    uint32_t vector_count;                    // 8
    uint32_t reserved;                        // 12
    struct hv_device_interrupt_target target; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_device_interrupt_descriptor, 32);

struct hv_input_map_device_interrupt {
    uint64_t partition_id;                             // 0
    uint64_t device_id;                                // 8
    uint32_t flags;                                    // 16
    uint32_t base_irt_idx;                             // 20
    struct hv_interrupt_entry logical_interrupt_entry; // 24
    struct hv_device_interrupt_descriptor descriptor;  // 40
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_map_device_interrupt, 72);
HV_ASSERT_OFFSET(struct hv_input_map_device_interrupt, descriptor, 40);

struct hv_output_map_device_interrupt {
    struct hv_interrupt_entry interrupt_entry; // 0
    uint64_t ext_status[5];                    // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_map_device_interrupt, 56);

// 007d
struct hv_input_unmap_device_interrupt {
    uint64_t partition_id;                     // 0
    uint64_t device_id;                        // 8
    struct hv_interrupt_entry interrupt_entry; // 16
    uint32_t flags;                            // 32
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_input_unmap_device_interrupt, 36);

#endif
