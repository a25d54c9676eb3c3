// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the virtual processor calls: life cycle, registers, state, dispatch, intercepts.
// TLFS: Virtual Processors
#ifndef HV_CALL_VP_H
#define HV_CALL_VP_H

#include "hv/base.h"
#include "hv/memory.h"
#include "hv/registers.h"
#include "hv/synic.h"

#define HV_SUBNODE_ANY     0
#define HV_SUBNODE_SOCKET  1
#define HV_SUBNODE_CLUSTER 2
#define HV_SUBNODE_L3      3

// 004e
struct hv_input_create_vp {
    uint64_t partition_id;                                 // 0
    uint32_t vp_index;                                     // 8
    uint8_t reserved[3];                                   // 12
    uint8_t subnode_type;                                  // 15 HV_SUBNODE_*
    uint64_t subnode_id;                                   // 16
    struct hv_proximity_domain_info proximity_domain_info; // 24
    uint64_t flags;                                        // 32
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_create_vp, 40);
HV_ASSERT_OFFSET(struct hv_input_create_vp, subnode_type, 15);

// 004f
struct hv_input_delete_vp {
    uint64_t partition_id; // 0
    uint32_t vp_index;     // 8
    uint32_t reserved;     // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_delete_vp, 16);

// 0050: elements are names (uint32_t), output elements union hv_register_value.
// 0051: same header, elements are struct hv_register_assoc.
struct hv_input_vp_registers {
    uint64_t partition_id; // 0
    uint32_t vp_index;     // 8
    uint8_t input_vtl;     // 12
    uint8_t reserved[3];   // 13
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_vp_registers, 16);

struct hv_register_assoc {
    uint32_t name;                 // 0 HV_REGISTER_*
    uint32_t reserved[3];          // 4
    union hv_register_value value; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_register_assoc, 32);
HV_ASSERT_OFFSET(struct hv_register_assoc, value, 16);

// 0099
struct hv_input_start_virtual_processor {
    uint64_t partition_id;                   // 0
    uint32_t vp_index;                       // 8
    uint8_t target_vtl;                      // 12
    uint8_t reserved[3];                     // 13
    struct hv_initial_vp_context vp_context; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_start_virtual_processor, 240);

// 009a: elements are APIC ids, output elements VP indexes (both uint32_t, packed)
struct hv_input_get_vp_index_from_apic_id {
    uint64_t partition_id; // 0
    uint8_t target_vtl;    // 8
    uint8_t reserved[7];   // 9
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_vp_index_from_apic_id, 16);

#define HV_VP_STATE_PAGE_REGISTERS         0
#define HV_VP_STATE_PAGE_INTERCEPT_MESSAGE 1
#define HV_VP_STATE_PAGE_GHCB              2

#define HV_VP_STATE_PAGE_LOCATION_PROVIDED 0x01

// 00e1
struct hv_input_map_vp_state_page {
    uint64_t partition_id;       // 0
    uint32_t vp_index;           // 8
    uint16_t type;               // 12 HV_VP_STATE_PAGE_*
    uint8_t input_vtl;           // 14
    uint8_t flags;               // 15 HV_VP_STATE_PAGE_LOCATION_PROVIDED
    uint64_t requested_gpa_page; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_map_vp_state_page, 24);
HV_ASSERT_OFFSET(struct hv_input_map_vp_state_page, input_vtl, 14);

struct hv_output_map_vp_state_page {
    uint64_t gpa_page; // 0
} HV_ABI;

// 00e2
struct hv_input_unmap_vp_state_page {
    uint64_t partition_id; // 0
    uint32_t vp_index;     // 8
    uint16_t type;         // 12 HV_VP_STATE_PAGE_*
    uint8_t input_vtl;     // 14
    uint8_t reserved;      // 15
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_unmap_vp_state_page, 16);

// 00e3, 00e4: bit 31 of the type: the data lies in pages whose numbers follow the header.
#define HV_VP_STATE_TYPE_PFN         0x80000000u
#define HV_VP_STATE_LAPIC            0x80000000u
#define HV_VP_STATE_XSAVE            0x80000001u
#define HV_VP_STATE_SIM_PAGE         0x80000002u
#define HV_VP_STATE_SIEF_PAGE        0x80000003u
#define HV_VP_STATE_SYNTHETIC_TIMERS 0x00000004u

struct hv_vp_state_data {
    uint32_t type;         // 0 HV_VP_STATE_*
    uint32_t reserved;     // 4
    uint64_t xsave_flags;  // 8
    uint64_t xsave_states; // 16 XFEM mask
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vp_state_data, 24);

struct hv_input_vp_state {
    uint64_t partition_id;              // 0
    uint32_t vp_index;                  // 8
    uint8_t input_vtl;                  // 12
    uint8_t reserved[3];                // 13
    struct hv_vp_state_data state_data; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_vp_state, 40);

struct hv_local_interrupt_controller_state {
    uint32_t apic_id;                   // 0
    uint32_t apic_version;              // 4
    uint32_t apic_ldr;                  // 8
    uint32_t apic_dfr;                  // 12
    uint32_t apic_spurious;             // 16
    uint32_t apic_isr[8];               // 20
    uint32_t apic_tmr[8];               // 52
    uint32_t apic_irr[8];               // 84
    uint32_t apic_esr;                  // 116
    uint32_t apic_icr_high;             // 120
    uint32_t apic_icr_low;              // 124
    uint32_t apic_lvt_timer;            // 128
    uint32_t apic_lvt_thermal;          // 132
    uint32_t apic_lvt_perfmon;          // 136
    uint32_t apic_lvt_lint0;            // 140
    uint32_t apic_lvt_lint1;            // 144
    uint32_t apic_lvt_error;            // 148
    uint32_t apic_lvt_cmci;             // 152
    uint32_t apic_error_status;         // 156
    uint32_t apic_initial_count;        // 160
    uint32_t apic_counter_value;        // 164
    uint32_t apic_divide_configuration; // 168
    uint32_t apic_remote_read;          // 172
} HV_ABI;
HV_ASSERT_SIZE(struct hv_local_interrupt_controller_state, 176);
HV_ASSERT_OFFSET(struct hv_local_interrupt_controller_state, apic_lvt_timer, 128);

// 00c2
#define HV_DISPATCH_VP_CLEAR_INTERCEPT_SUSPEND     0x01u
#define HV_DISPATCH_VP_ENABLE_CALLER_INTERRUPTS    0x02u
#define HV_DISPATCH_VP_SET_CALLER_SPEC_CTRL        0x04u
#define HV_DISPATCH_VP_SKIP_VP_SPEC_FLUSH          0x08u
#define HV_DISPATCH_VP_SKIP_CALLER_SPEC_FLUSH      0x10u
#define HV_DISPATCH_VP_SKIP_CALLER_USER_SPEC_FLUSH 0x20u
#define HV_DISPATCH_VP_SCAN_INTERRUPT_INJECTION    0x40u

#define HV_VP_DISPATCH_STATE_INVALID 0
#define HV_VP_DISPATCH_STATE_BLOCKED 1
#define HV_VP_DISPATCH_STATE_READY   2

#define HV_VP_DISPATCH_EVENT_INVALID   0
#define HV_VP_DISPATCH_EVENT_SUSPEND   1
#define HV_VP_DISPATCH_EVENT_INTERCEPT 2

struct hv_input_dispatch_vp {
    uint64_t partition_id; // 0
    uint32_t vp_index;     // 8
    uint32_t flags;        // 12 HV_DISPATCH_VP_*
    uint64_t time_slice;   // 16, 100 ns, 0 until something happens
    uint64_t spec_ctrl;    // 24
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_dispatch_vp, 32);

struct hv_output_dispatch_vp {
    uint32_t dispatch_state; // 0 HV_VP_DISPATCH_STATE_*
    uint32_t dispatch_event; // 4 HV_VP_DISPATCH_EVENT_*
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_dispatch_vp, 8);

// 004d
struct hv_input_install_intercept {
    uint64_t partition_id;        // 0
    uint32_t access_type;         // 8 HV_INTERCEPT_ACCESS_MASK_*
    uint32_t intercept_type;      // 12 HV_INTERCEPT_TYPE_*
    uint64_t intercept_parameter; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_install_intercept, 24);

// 00ad
struct hv_input_check_for_io_intercept {
    uint64_t partition_id; // 0
    uint32_t vp_index;     // 8
    uint8_t input_vtl;     // 12
    uint8_t padding;       // 13
    uint16_t port;         // 14
    uint8_t size;          // 16 1, 2 or 4
    uint8_t is_write;      // 17
    uint8_t reserved[6];   // 18
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_check_for_io_intercept, 24);

struct hv_output_check_for_io_intercept {
    uint8_t intercepted; // 0
    uint8_t reserved[7]; // 1
} HV_ABI;

// 0091, 0092: the fixed 16 bytes, then one of the parameter blocks.
struct hv_input_register_intercept_result {
    uint64_t partition_id;   // 0
    uint32_t vp_index;       // 8
    uint32_t intercept_type; // 12 HV_INTERCEPT_TYPE_X64_CPUID or _X64_MSR_INDEX
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_register_intercept_result, 16);

struct hv_cpuid_result_register {
    uint32_t value; // 0
    uint32_t mask;  // 4
} HV_PACKED;

struct hv_register_cpuid_result {
    uint32_t eax;                            // 0 input leaf
    uint32_t ecx;                            // 4 input subleaf
    uint8_t subleaf_specific;                // 8
    uint8_t always_override;                 // 9
    uint16_t padding;                        // 10
    struct hv_cpuid_result_register out_eax; // 12
    struct hv_cpuid_result_register out_ebx; // 20
    struct hv_cpuid_result_register out_ecx; // 28
    struct hv_cpuid_result_register out_edx; // 36
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_register_cpuid_result, 44);
HV_ASSERT_OFFSET(struct hv_register_cpuid_result, out_eax, 12);

// 0091 with HV_INTERCEPT_TYPE_X64_CPUID
struct hv_input_register_cpuid_result {
    uint64_t partition_id;                  // 0
    uint32_t vp_index;                      // 8
    uint32_t intercept_type;                // 12
    struct hv_register_cpuid_result result; // 16
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_input_register_cpuid_result, 60);

// 0092 with HV_INTERCEPT_TYPE_X64_CPUID: the key
struct hv_input_unregister_cpuid_result {
    uint64_t partition_id;    // 0
    uint32_t vp_index;        // 8
    uint32_t intercept_type;  // 12
    uint32_t eax;             // 16
    uint32_t ecx;             // 20
    uint8_t subleaf_specific; // 24
    uint8_t padding[3];       // 25
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_input_unregister_cpuid_result, 28);

struct hv_register_msr_result {
    uint32_t msr_index;   // 0
    uint32_t access_type; // 4 HV_INTERCEPT_ACCESS_MASK_*
    uint32_t action;      // 8 HV_UNIMPLEMENTED_MSR_ACTION_*
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_register_msr_result, 12);

// 00f4: elements struct hv_cpuid_leaf_info (or its first 8 bytes), output struct hv_cpuid_values
#define HV_CPUID_VALUES_USE_VP_XFEM_XSS          0x1u
#define HV_CPUID_VALUES_APPLY_REGISTERED_RESULTS 0x2u

struct hv_input_get_vp_cpuid_values {
    uint64_t partition_id; // 0
    uint32_t vp_index;     // 8
    uint32_t flags;        // 12 HV_CPUID_VALUES_*
    uint32_t reserved;     // 16
    uint32_t padding;      // 20
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_vp_cpuid_values, 24);

struct hv_cpuid_leaf_info {
    uint32_t eax;  // 0
    uint32_t ecx;  // 4
    uint64_t xfem; // 8
    uint64_t xss;  // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_cpuid_leaf_info, 24);

struct hv_cpuid_values {
    uint32_t eax; // 0
    uint32_t ebx; // 4
    uint32_t ecx; // 8
    uint32_t edx; // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_cpuid_values, 16);

// 0094; 0055 leaves the VTL bytes as padding
struct hv_input_assert_virtual_interrupt {
    uint64_t partition_id;        // 0
    uint64_t control;             // 8 HV_INTERRUPT_CONTROL_*
    uint64_t destination_address; // 16 APIC id or logical destination
    uint32_t vector;              // 24
    uint8_t target_vtl;           // 28
    uint8_t reserved[3];          // 29
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_assert_virtual_interrupt, 32);

// 00e5, output struct hv_vp_set and banks
#define HV_VP_SET_FROM_MDA_MAX_BYTES 4104

struct hv_input_get_vp_set_from_mda {
    uint64_t partition_id;            // 0
    uint64_t destination_address;     // 8
    uint8_t target_vtl;               // 16
    uint8_t logical_destination_mode; // 17
    uint8_t reserved[6];              // 18
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_vp_set_from_mda, 24);

// 000b
struct hv_input_send_synthetic_cluster_ipi {
    uint32_t vector;         // 0
    uint8_t target_vtl;      // 4
    uint8_t flags;           // 5
    uint16_t reserved;       // 6
    uint64_t processor_mask; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_send_synthetic_cluster_ipi, 16);

// 0015, banks follow
struct hv_input_send_synthetic_cluster_ipi_ex {
    uint32_t vector;         // 0
    uint8_t target_vtl;      // 4
    uint8_t flags;           // 5
    uint16_t reserved;       // 6
    struct hv_vp_set vp_set; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_send_synthetic_cluster_ipi_ex, 24);

#endif
