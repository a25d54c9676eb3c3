// SPDX-License-Identifier: BSD-2-Clause-Patent
// Register values: the 16-byte value, segment and table registers, interruption, suspend, pending
// event and VSM layouts, the initial VP context. TLFS: Virtual Processors, Data Types
#ifndef HV_REGISTERS_H
#define HV_REGISTERS_H

#include "hv/base.h"
#include "hv/register_names.h"

// Segment attributes.
#define HV_SEGMENT_TYPE_MASK     0x000F
#define HV_SEGMENT_NON_SYSTEM    0x0010
#define HV_SEGMENT_DPL_SHIFT     5
#define HV_SEGMENT_DPL_MASK      0x0060
#define HV_SEGMENT_PRESENT       0x0080
#define HV_SEGMENT_RESERVED_MASK 0x0F00
#define HV_SEGMENT_AVAILABLE     0x1000
#define HV_SEGMENT_LONG          0x2000
#define HV_SEGMENT_DEFAULT       0x4000
#define HV_SEGMENT_GRANULARITY   0x8000

struct hv_x64_segment_register {
    uint64_t base;       // 0
    uint32_t limit;      // 8 expanded byte limit
    uint16_t selector;   // 12
    uint16_t attributes; // 14 HV_SEGMENT_*
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_segment_register, 16);
HV_ASSERT_OFFSET(struct hv_x64_segment_register, attributes, 14);

struct hv_x64_table_register {
    uint16_t pad[3]; // 0
    uint16_t limit;  // 6
    uint64_t base;   // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_table_register, 16);
HV_ASSERT_OFFSET(struct hv_x64_table_register, limit, 6);

// FP register: mantissa, then exponent 14:0 and sign 15 of the second half.
struct hv_x64_fp_register {
    uint64_t mantissa;      // 0
    uint64_t sign_exponent; // 8
} HV_ABI;

struct hv_x64_fp_control_status_register {
    uint16_t fp_control;  // 0 FCW
    uint16_t fp_status;   // 2 FSW
    uint8_t fp_tag;       // 4 abridged
    uint8_t ignne;        // 5
    uint16_t last_opcode; // 6
    uint64_t last_rip;    // 8 or EIP (4), CS (2)
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_fp_control_status_register, 16);

struct hv_x64_xmm_control_status_register {
    uint64_t last_rdp;   // 0 or DP (4), DS (2)
    uint32_t mxcsr;      // 8
    uint32_t mxcsr_mask; // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_xmm_control_status_register, 16);

// HV_REGISTER_VALUE: 16 bytes, shorter values zero-extended.
union hv_register_value {
    struct hv_u128 reg128;
    uint64_t reg64;
    uint32_t reg32;
    uint16_t reg16;
    uint8_t reg8;
    uint8_t bytes[16];
    struct hv_x64_segment_register segment;
    struct hv_x64_table_register table;
    struct hv_x64_fp_register fp;
    struct hv_x64_fp_control_status_register fp_control_status;
    struct hv_x64_xmm_control_status_register xmm_control_status;
} HV_ABI;
HV_ASSERT_SIZE(union hv_register_value, 16);

// Pending interruption (HV_REGISTER_PENDING_INTERRUPTION).
#define HV_PENDING_INTERRUPTION_PENDING            HV_BIT(0)
#define HV_PENDING_INTERRUPTION_TYPE_SHIFT         1
#define HV_PENDING_INTERRUPTION_TYPE_MASK          UINT64_C(0x000E) // 3:1
#define HV_PENDING_INTERRUPTION_DELIVER_ERROR_CODE HV_BIT(4)
#define HV_PENDING_INTERRUPTION_LENGTH_SHIFT       5
#define HV_PENDING_INTERRUPTION_LENGTH_MASK        UINT64_C(0x01E0) // 8:5
#define HV_PENDING_INTERRUPTION_NESTED_EVENT       HV_BIT(9)
#define HV_PENDING_INTERRUPTION_RESERVED_MASK      UINT64_C(0xFC00)
#define HV_PENDING_INTERRUPTION_VECTOR_SHIFT       16
#define HV_PENDING_INTERRUPTION_VECTOR_MASK        UINT64_C(0xFFFF0000) // 31:16
#define HV_PENDING_INTERRUPTION_ERROR_CODE_SHIFT   32
#define HV_PENDING_INTERRUPTION_ERROR_CODE_MASK    UINT64_C(0xFFFFFFFF00000000)

#define HV_INTERRUPTION_TYPE_INTERRUPT               0
#define HV_INTERRUPTION_TYPE_NMI                     2
#define HV_INTERRUPTION_TYPE_EXCEPTION               3
#define HV_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT      4
#define HV_INTERRUPTION_TYPE_PRIVILEGED_SW_EXCEPTION 5
#define HV_INTERRUPTION_TYPE_SOFTWARE_EXCEPTION      6

#define HV_INTERRUPT_STATE_INTERRUPT_SHADOW HV_BIT(0)
#define HV_INTERRUPT_STATE_NMI_MASKED       HV_BIT(1)

#define HV_EXPLICIT_SUSPEND_SUSPENDED   HV_BIT(0)
#define HV_INTERCEPT_SUSPEND_SUSPENDED  HV_BIT(0)
#define HV_INTERCEPT_SUSPEND_TLB_LOCKED HV_BIT(1)
#define HV_DISPATCH_SUSPEND_SUSPENDED   HV_BIT(0)

#define HV_INTERNAL_ACTIVITY_STARTUP_SUSPEND HV_BIT(0)
#define HV_INTERNAL_ACTIVITY_HALT_SUSPEND    HV_BIT(1)
#define HV_INTERNAL_ACTIVITY_IDLE_SUSPEND    HV_BIT(2)

#define HV_DELIVERABILITY_NMI                      HV_BIT(0)
#define HV_DELIVERABILITY_INTERRUPT                HV_BIT(1)
#define HV_DELIVERABILITY_INTERRUPT_PRIORITY_SHIFT 2
#define HV_DELIVERABILITY_INTERRUPT_PRIORITY_MASK  UINT64_C(0x3C) // 5:2
#define HV_DELIVERABILITY_SINTS_SHIFT              48
#define HV_DELIVERABILITY_SINTS_MASK               UINT64_C(0xFFFF000000000000)
#define HV_DELIVERABILITY_DEFINED_MASK             UINT64_C(0xFFFF00000000003F)

#define HV_EMULATION_HINT_PARTITION_SECURE_VTL_ENABLED HV_BIT(0)
#define HV_EMULATION_HINT_MBEC_USER_EXECUTE_CONTROL    HV_BIT(1)

// Pending event (HV_REGISTER_PENDING_EVENT0): low byte of the first half.
#define HV_PENDING_EVENT_PENDING    HV_BIT(0)
#define HV_PENDING_EVENT_TYPE_SHIFT 1
#define HV_PENDING_EVENT_TYPE_MASK  UINT64_C(0x0E) // 3:1

#define HV_PENDING_EVENT_EXCEPTION               0
#define HV_PENDING_EVENT_MEMORY_INTERCEPT        1
#define HV_PENDING_EVENT_NESTED_MEMORY_INTERCEPT 2
#define HV_PENDING_EVENT_VIRTUALIZATION_FAULT    3
#define HV_PENDING_EVENT_HYPERCALL_OUTPUT        4
#define HV_PENDING_EVENT_EXTERNAL_INTERRUPT      5
#define HV_PENDING_EVENT_SHADOW_IPT              6

// Exception event, first half; the second half is the exception parameter.
#define HV_PENDING_EXCEPTION_DELIVER_ERROR_CODE HV_BIT(8)
#define HV_PENDING_EXCEPTION_VECTOR_SHIFT       16
#define HV_PENDING_EXCEPTION_VECTOR_MASK        UINT64_C(0x00000000FFFF0000)
#define HV_PENDING_EXCEPTION_ERROR_CODE_SHIFT   32
#define HV_PENDING_EXCEPTION_ERROR_CODE_MASK    UINT64_C(0xFFFFFFFF00000000)

// External interrupt event, first half.
#define HV_PENDING_EXTERNAL_INTERRUPT_VECTOR_SHIFT 8
#define HV_PENDING_EXTERNAL_INTERRUPT_VECTOR_MASK  UINT64_C(0xFF00)

// Hypercall output event.
#define HV_PENDING_HYPERCALL_OUTPUT_RETIRED    HV_BIT(8)
#define HV_PENDING_HYPERCALL_OUTPUT_SIZE_SHIFT 32

// Memory intercept event: PendingEvent0 then PendingEvent1.
#define HV_PENDING_MEMORY_GLA_VALID     0x1
#define HV_PENDING_MEMORY_BY_GPA_ACCESS 0x2

struct hv_pending_memory_intercept_event {
    uint8_t event;       // 0 pending and type
    uint8_t target_vtl;  // 1
    uint8_t access_type; // 2
    uint8_t flags;       // 3 HV_PENDING_MEMORY_*
    uint32_t reserved0;  // 4
    uint64_t gla;        // 8
    uint64_t gpa;        // 16
    uint64_t reserved1;  // 24
} HV_ABI;
HV_ASSERT_SIZE(struct hv_pending_memory_intercept_event, 32);
HV_ASSERT_OFFSET(struct hv_pending_memory_intercept_event, gpa, 16);

struct hv_pending_virtualization_fault_event {
    uint8_t event;       // 0 pending and type
    uint8_t reserved;    // 1
    uint16_t parameter0; // 2
    uint32_t code;       // 4
    uint64_t parameter1; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_pending_virtualization_fault_event, 16);

// Initial VP context: segment order differs from the register-name order.
struct hv_initial_vp_context {
    uint64_t rip;                        // 0
    uint64_t rsp;                        // 8
    uint64_t rflags;                     // 16
    struct hv_x64_segment_register cs;   // 24
    struct hv_x64_segment_register ds;   // 40
    struct hv_x64_segment_register es;   // 56
    struct hv_x64_segment_register fs;   // 72
    struct hv_x64_segment_register gs;   // 88
    struct hv_x64_segment_register ss;   // 104
    struct hv_x64_segment_register tr;   // 120
    struct hv_x64_segment_register ldtr; // 136
    struct hv_x64_table_register idtr;   // 152
    struct hv_x64_table_register gdtr;   // 168
    uint64_t efer;                       // 184
    uint64_t cr0;                        // 192
    uint64_t cr3;                        // 200
    uint64_t cr4;                        // 208
    uint64_t pat;                        // 216
} HV_ABI;
HV_ASSERT_SIZE(struct hv_initial_vp_context, 224);
HV_ASSERT_OFFSET(struct hv_initial_vp_context, cs, 24);
HV_ASSERT_OFFSET(struct hv_initial_vp_context, idtr, 152);
HV_ASSERT_OFFSET(struct hv_initial_vp_context, pat, 216);

// VP register page (state page type 0): classes of the dirty mask.
#define HV_VP_REGISTER_PAGE_VERSION        1
#define HV_REG_CLASS_GENERAL               HV_BIT32(0)
#define HV_REG_CLASS_IP                    HV_BIT32(1)
#define HV_REG_CLASS_XMM                   HV_BIT32(2)
#define HV_REG_CLASS_SEGMENT               HV_BIT32(3)
#define HV_REG_CLASS_FLAGS                 HV_BIT32(4)
#define HV_VP_REGISTER_PAGE_INTERRUPTS_MAX 7

struct hv_vp_register_page {
    uint16_t version;                          // 0
    uint8_t isvalid;                           // 2
    uint8_t reserved0;                         // 3
    uint32_t dirty;                            // 4 HV_REG_CLASS_*
    uint64_t gp[16];                           // 8 RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
    uint64_t rip;                              // 136
    uint64_t rflags;                           // 144
    uint64_t reserved1;                        // 152
    struct hv_u128 xmm[6];                     // 160
    struct hv_x64_segment_register segment[6]; // 256 ES CS SS DS FS GS
    uint64_t cr0;                              // 352
    uint64_t cr3;                              // 360
    uint64_t cr4;                              // 368
    uint64_t cr8;                              // 376
    uint64_t efer;                             // 384
    uint64_t dr7;                              // 392
    uint64_t pending_interruption;             // 400
    uint64_t interrupt_state;                  // 408
    uint64_t instruction_emulation_hints;      // 416
    uint64_t xfem;                             // 424
    uint8_t reserved2[256];                    // 432
    union { // 688 count and vectors change together, in one 64-bit compare-exchange
        struct {
            uint8_t interrupt_count;                                       // 688
            uint8_t interrupt_vectors[HV_VP_REGISTER_PAGE_INTERRUPTS_MAX]; // 689
        } HV_PACKED;
        uint64_t interrupts;
    };
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vp_register_page, 696);
HV_ASSERT_OFFSET(struct hv_vp_register_page, xmm, 160);
HV_ASSERT_OFFSET(struct hv_vp_register_page, cr0, 352);
HV_ASSERT_OFFSET(struct hv_vp_register_page, interrupt_count, 688);

// Virtual interrupt notification assist (HV_REGISTER_VSM_VINA).
#define HV_VINA_VECTOR_MASK UINT64_C(0xFF)
#define HV_VINA_ENABLED     HV_BIT(8)
#define HV_VINA_AUTO_RESET  HV_BIT(9)
#define HV_VINA_AUTO_EOI    HV_BIT(10)

// VSM registers.
#define HV_VSM_CODE_PAGE_CALL_OFFSET_MASK    UINT64_C(0x000FFF)
#define HV_VSM_CODE_PAGE_RETURN_OFFSET_SHIFT 12
#define HV_VSM_CODE_PAGE_RETURN_OFFSET_MASK  UINT64_C(0xFFF000)

#define HV_VSM_VP_STATUS_ACTIVE_VTL_MASK   UINT64_C(0xF)
#define HV_VSM_VP_STATUS_ACTIVE_MBEC       HV_BIT(4)
#define HV_VSM_VP_STATUS_ENABLED_SET_SHIFT 16
#define HV_VSM_VP_STATUS_ENABLED_SET_MASK  UINT64_C(0xFFFF0000)

#define HV_VSM_PARTITION_STATUS_ENABLED_SET_MASK       UINT64_C(0xFFFF)
#define HV_VSM_PARTITION_STATUS_MAXIMUM_VTL_SHIFT      16
#define HV_VSM_PARTITION_STATUS_MAXIMUM_VTL_MASK       UINT64_C(0xF0000)
#define HV_VSM_PARTITION_STATUS_MBEC_ENABLED_SHIFT     20
#define HV_VSM_PARTITION_STATUS_MBEC_ENABLED_MASK      UINT64_C(0xFFFF00000)
#define HV_VSM_PARTITION_STATUS_SHADOW_STACK_SET_SHIFT 36
#define HV_VSM_PARTITION_STATUS_SHADOW_STACK_SET_MASK  UINT64_C(0xF000000000)

#define HV_VSM_CAPABILITY_DR6_SHARED               HV_BIT(0)
#define HV_VSM_CAPABILITY_MBEC_VTL_MASK_SHIFT      1
#define HV_VSM_CAPABILITY_MBEC_VTL_MASK_MASK       UINT64_C(0x1FFFE)
#define HV_VSM_CAPABILITY_DENY_LOWER_VTL_STARTUP   HV_BIT(17)
#define HV_VSM_CAPABILITY_SUPERVISOR_SHADOW_STACK  HV_BIT(18)
#define HV_VSM_CAPABILITY_HARDWARE_HVPT            HV_BIT(19)
#define HV_VSM_CAPABILITY_SOFTWARE_HVPT            HV_BIT(20)
#define HV_VSM_CAPABILITY_HVPT_RANGE_BITS_SHIFT    21
#define HV_VSM_CAPABILITY_HVPT_RANGE_BITS_MASK     UINT64_C(0x7E00000)
#define HV_VSM_CAPABILITY_INTERCEPT_PAGE           HV_BIT(27)
#define HV_VSM_CAPABILITY_RETURN_ACTION            HV_BIT(28)
#define HV_VSM_CAPABILITY_VTL0_ALIAS_MAP           HV_BIT(29)
#define HV_VSM_CAPABILITY_INTERCEPT_NOT_PRESENT    HV_BIT(30)
#define HV_VSM_CAPABILITY_INSTALL_INTERCEPT_EX     HV_BIT(31)
#define HV_VSM_CAPABILITY_INTERCEPT_SYSTEM_RESET   HV_BIT(32)
#define HV_VSM_CAPABILITY_PROXY_INTERRUPT_REDIRECT HV_BIT(34)

#define HV_VSM_CONFIG_ENABLE_VTL_PROTECTION             HV_BIT(0)
#define HV_VSM_CONFIG_DEFAULT_PROTECTION_SHIFT          1
#define HV_VSM_CONFIG_DEFAULT_PROTECTION_MASK           UINT64_C(0x1E) // 4:1 R W KX UX
#define HV_VSM_CONFIG_ZERO_MEMORY_ON_RESET              HV_BIT(5)
#define HV_VSM_CONFIG_DENY_LOWER_VTL_STARTUP            HV_BIT(6)
#define HV_VSM_CONFIG_INTERCEPT_ACCEPTANCE              HV_BIT(7)
#define HV_VSM_CONFIG_INTERCEPT_ENABLE_VTL_PROTECTION   HV_BIT(8)
#define HV_VSM_CONFIG_INTERCEPT_VP_STARTUP              HV_BIT(9)
#define HV_VSM_CONFIG_INTERCEPT_CPUID_UNIMPLEMENTED     HV_BIT(10)
#define HV_VSM_CONFIG_INTERCEPT_UNRECOVERABLE_EXCEPTION HV_BIT(11)
#define HV_VSM_CONFIG_INTERCEPT_PAGE                    HV_BIT(12)
#define HV_VSM_CONFIG_INTERCEPT_RESTORE_PARTITION_TIME  HV_BIT(13)
#define HV_VSM_CONFIG_INTERCEPT_NOT_PRESENT             HV_BIT(14)
#define HV_VSM_CONFIG_INTERCEPT_SYSTEM_RESET            HV_BIT(15)

#define HV_VSM_SECURE_CONFIG_MBEC_ENABLED  HV_BIT(0)
#define HV_VSM_SECURE_CONFIG_TLB_LOCKED    HV_BIT(1)
#define HV_VSM_SECURE_CONFIG_SHADOW_STACK  HV_BIT(2)
#define HV_VSM_SECURE_CONFIG_HARDWARE_HVPT HV_BIT(3)

// CrInterceptControl.
#define HV_CR_INTERCEPT_CR0_WRITE                HV_BIT(0)
#define HV_CR_INTERCEPT_CR4_WRITE                HV_BIT(1)
#define HV_CR_INTERCEPT_XCR0_WRITE               HV_BIT(2)
#define HV_CR_INTERCEPT_MISC_ENABLE_READ         HV_BIT(3)
#define HV_CR_INTERCEPT_MISC_ENABLE_WRITE        HV_BIT(4)
#define HV_CR_INTERCEPT_LSTAR_READ               HV_BIT(5)
#define HV_CR_INTERCEPT_LSTAR_WRITE              HV_BIT(6)
#define HV_CR_INTERCEPT_STAR_READ                HV_BIT(7)
#define HV_CR_INTERCEPT_STAR_WRITE               HV_BIT(8)
#define HV_CR_INTERCEPT_CSTAR_READ               HV_BIT(9)
#define HV_CR_INTERCEPT_CSTAR_WRITE              HV_BIT(10)
#define HV_CR_INTERCEPT_APIC_BASE_READ           HV_BIT(11)
#define HV_CR_INTERCEPT_APIC_BASE_WRITE          HV_BIT(12)
#define HV_CR_INTERCEPT_EFER_READ                HV_BIT(13)
#define HV_CR_INTERCEPT_EFER_WRITE               HV_BIT(14)
#define HV_CR_INTERCEPT_GDTR_WRITE               HV_BIT(15)
#define HV_CR_INTERCEPT_IDTR_WRITE               HV_BIT(16)
#define HV_CR_INTERCEPT_LDTR_WRITE               HV_BIT(17)
#define HV_CR_INTERCEPT_TR_WRITE                 HV_BIT(18)
#define HV_CR_INTERCEPT_SYSENTER_CS_WRITE        HV_BIT(19)
#define HV_CR_INTERCEPT_SYSENTER_EIP_WRITE       HV_BIT(20)
#define HV_CR_INTERCEPT_SYSENTER_ESP_WRITE       HV_BIT(21)
#define HV_CR_INTERCEPT_SFMASK_WRITE             HV_BIT(22)
#define HV_CR_INTERCEPT_TSC_AUX_WRITE            HV_BIT(23)
#define HV_CR_INTERCEPT_SGX_LAUNCH_CONTROL_WRITE HV_BIT(24)

#endif
