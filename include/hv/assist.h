// SPDX-License-Identifier: BSD-2-Clause-Patent
// VP assist page, one per VP and VTL. TLFS: Virtual Processor Assist Page
#ifndef HV_ASSIST_H
#define HV_ASSIST_H

#include "hv/base.h"
#include "hv/message.h"

#define HV_APIC_ASSIST_NO_EOI_REQUIRED 0x1u

#define HV_VTL_ENTRY_REASON_RESERVED  0
#define HV_VTL_ENTRY_REASON_VTL_CALL  1
#define HV_VTL_ENTRY_REASON_INTERRUPT 2
#define HV_VTL_ENTRY_REASON_INTERCEPT 3

#define HV_VINA_STATUS_ASSERTED 0x1

#define HV_NESTED_FEATURE_DIRECT_HYPERCALL         0x1u
#define HV_NESTED_FEATURE_VIRTUALIZATION_EXCEPTION 0x2u
#define HV_NESTED_CONTROL_INTER_PARTITION_COMM     0x1u

#define HV_VTL_RETURN_ACTION_COUNT 16

struct hv_vp_vtl_control {
    uint32_t entry_reason; // 0 HV_VTL_ENTRY_REASON_*
    uint8_t vina_status;   // 4 HV_VINA_STATUS_*
    uint8_t reserved[3];   // 5
    union {                // 8
        struct {
            uint64_t rax; // 8
            uint64_t rcx; // 16
        } HV_PACKED return_x64;
        struct {
            uint32_t eax;      // 8
            uint32_t ecx;      // 12
            uint32_t edx;      // 16
            uint32_t reserved; // 20
        } HV_PACKED return_x86;
    };
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vp_vtl_control, 24);

struct hv_virtualization_fault_information {
    uint16_t parameter0;   // 0
    uint16_t reserved0;    // 2
    uint32_t code;         // 4
    uint64_t parameter1;   // 8
    uint64_t reserved1[3]; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_virtualization_fault_information, 40);

struct hv_vtl_return_action {
    uint64_t type;     // 0
    uint32_t vp_index; // 8
    uint8_t vtl;       // 12
    uint8_t sint;      // 13
    uint16_t flag;     // 14
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vtl_return_action, 16);

struct hv_vp_assist_page {
    uint32_t apic_assist;                                                  // 0
    uint32_t reserved0;                                                    // 4
    struct hv_vp_vtl_control vtl_control;                                  // 8
    uint32_t nested_features;                                              // 32
    uint32_t nested_hypercall_controls;                                    // 36
    uint8_t enlighten_vm_entry;                                            // 40
    uint8_t reserved1[7];                                                  // 41
    uint64_t current_nested_vmcs;                                          // 48
    uint8_t synthetic_time_unhalted_timer_expired;                         // 56
    uint8_t reserved2[7];                                                  // 57
    struct hv_virtualization_fault_information virtualization_fault;       // 64
    uint64_t reserved3;                                                    // 104
    struct hv_message intercept_message;                                   // 112
    struct hv_vtl_return_action return_action[HV_VTL_RETURN_ACTION_COUNT]; // 368
    uint8_t reserved4[3472];                                               // 624
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vp_assist_page, 4096);
HV_ASSERT_OFFSET(struct hv_vp_assist_page, current_nested_vmcs, 48);
HV_ASSERT_OFFSET(struct hv_vp_assist_page, intercept_message, 112);
HV_ASSERT_OFFSET(struct hv_vp_assist_page, return_action, 368);

#endif
