// SPDX-License-Identifier: BSD-2-Clause-Patent
// SynIC messages: the 256-byte message, its types and every payload with a known layout.
// Payload offsets count from the payload (message offset 16). TLFS: SynIC Messages
#ifndef HV_MESSAGE_H
#define HV_MESSAGE_H

#include "hv/base.h"
#include "hv/registers.h"

#define HV_MESSAGE_SIZE              256
#define HV_MESSAGE_PAYLOAD_MAX_BYTES 240
#define HV_MESSAGE_FLAG_PENDING      0x01

// Bit 31 marks types only the hypervisor may send.
#define HV_MESSAGE_TYPE_HYPERVISOR_MASK 0x80000000u

#define HV_MESSAGE_TYPE_NONE                             0x00000000u
#define HV_MESSAGE_TYPE_UNMAPPED_GPA                     0x80000000u
#define HV_MESSAGE_TYPE_GPA_INTERCEPT                    0x80000001u
#define HV_MESSAGE_TYPE_UNACCEPTED_GPA                   0x80000003u
#define HV_MESSAGE_TYPE_GPA_ATTRIBUTE_INTERCEPT          0x80000004u
#define HV_MESSAGE_TYPE_ENABLE_PARTITION_VTL_INTERCEPT   0x80000005u
#define HV_MESSAGE_TYPE_TIMER_EXPIRED                    0x80000010u
#define HV_MESSAGE_TYPE_INVALID_VP_REGISTER_VALUE        0x80000020u
#define HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION          0x80000021u
#define HV_MESSAGE_TYPE_UNSUPPORTED_FEATURE              0x80000022u
#define HV_MESSAGE_TYPE_TLB_PAGE_SIZE_MISMATCH           0x80000023u
#define HV_MESSAGE_TYPE_IOMMU_FAULT                      0x80000024u
#define HV_MESSAGE_TYPE_OPAQUE_INTERCEPT                 0x8000003Fu
#define HV_MESSAGE_TYPE_EVENT_LOG_BUFFER_COMPLETE        0x80000040u
#define HV_MESSAGE_TYPE_HYPERCALL_INTERCEPT              0x80000050u
#define HV_MESSAGE_TYPE_SYNIC_EVENT_INTERCEPT            0x80000060u
#define HV_MESSAGE_TYPE_SYNIC_SINT_INTERCEPT             0x80000061u
#define HV_MESSAGE_TYPE_SYNIC_SINT_DELIVERABLE           0x80000062u
#define HV_MESSAGE_TYPE_ASYNC_CALL_COMPLETION            0x80000070u
#define HV_MESSAGE_TYPE_INSUFFICIENT_MEMORY              0x80000071u
#define HV_MESSAGE_TYPE_SCHEDULER_VP_SIGNAL_BITSET       0x80000100u
#define HV_MESSAGE_TYPE_SCHEDULER_VP_SIGNAL_PAIR         0x80000101u
#define HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT            0x80010000u
#define HV_MESSAGE_TYPE_MSR_INTERCEPT                    0x80010001u
#define HV_MESSAGE_TYPE_X64_CPUID_INTERCEPT              0x80010002u
#define HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT              0x80010003u
#define HV_MESSAGE_TYPE_X64_APIC_EOI                     0x80010004u
#define HV_MESSAGE_TYPE_X64_IOMMU_PRQ                    0x80010005u
#define HV_MESSAGE_TYPE_REGISTER_INTERCEPT               0x80010006u
#define HV_MESSAGE_TYPE_X64_HALT                         0x80010007u
#define HV_MESSAGE_TYPE_X64_INTERRUPTION_DELIVERABLE     0x80010008u
#define HV_MESSAGE_TYPE_X64_SIPI_INTERCEPT               0x80010009u
#define HV_MESSAGE_TYPE_X64_RDTSC_INTERCEPT              0x8001000Au
#define HV_MESSAGE_TYPE_X64_APIC_SMI_INTERCEPT           0x8001000Bu
#define HV_MESSAGE_TYPE_ARM64_RESET_INTERCEPT            0x8001000Cu
#define HV_MESSAGE_TYPE_X64_APIC_INIT_SIPI_INTERCEPT     0x8001000Du
#define HV_MESSAGE_TYPE_X64_APIC_WRITE_INTERCEPT         0x8001000Eu
#define HV_MESSAGE_TYPE_X64_PROXY_INTERRUPT_INTERCEPT    0x8001000Fu
#define HV_MESSAGE_TYPE_X64_ISOLATION_CTRL_REG_INTERCEPT 0x80010010u
#define HV_MESSAGE_TYPE_X64_SNP_GUEST_REQUEST_INTERCEPT  0x80010011u
#define HV_MESSAGE_TYPE_X64_EXCEPTION_TRAP_INTERCEPT     0x80010012u
#define HV_MESSAGE_TYPE_X64_SEV_VMGEXIT_INTERCEPT        0x80010013u
#define HV_MESSAGE_TYPE_X64_MSR_LIST_INTERCEPT           0x80010015u
// Numbers of the partition-management generation, replaced since.
#define HV_MESSAGE_TYPE_APIC_EOI_OLD      0x80000030u
#define HV_MESSAGE_TYPE_FERR_ASSERTED_OLD 0x80000031u

// Message: the payload is written first, the type last; the guest frees the slot by type = NONE.
struct hv_message_header {
    uint32_t message_type;   // 0 HV_MESSAGE_TYPE_*
    uint8_t payload_size;    // 4
    uint8_t flags;           // 5 HV_MESSAGE_FLAG_PENDING
    uint16_t reserved;       // 6
    uint64_t origination_id; // 8 sender partition, port id, or 0
} HV_ABI;
HV_ASSERT_SIZE(struct hv_message_header, 16);
HV_ASSERT_OFFSET(struct hv_message_header, payload_size, 4);
HV_ASSERT_OFFSET(struct hv_message_header, origination_id, 8);

struct hv_message {
    struct hv_message_header header; // 0
    union {                          // 16
        uint8_t payload[HV_MESSAGE_PAYLOAD_MAX_BYTES];
        uint64_t payload64[HV_MESSAGE_PAYLOAD_MAX_BYTES / 8];
    };
} HV_ABI;
HV_ASSERT_SIZE(struct hv_message, HV_MESSAGE_SIZE);
HV_ASSERT_OFFSET(struct hv_message, payload, 16);

// Execution state in the intercept header.
#define HV_EXECUTION_STATE_CPL_MASK             0x0003
#define HV_EXECUTION_STATE_CR0_PE               0x0004
#define HV_EXECUTION_STATE_CR0_AM               0x0008
#define HV_EXECUTION_STATE_EFER_LMA             0x0010
#define HV_EXECUTION_STATE_DEBUG_ACTIVE         0x0020
#define HV_EXECUTION_STATE_INTERRUPTION_PENDING 0x0040
#define HV_EXECUTION_STATE_VTL_SHIFT            7
#define HV_EXECUTION_STATE_VTL_MASK             0x0780
#define HV_EXECUTION_STATE_ENCLAVE              0x0800
#define HV_EXECUTION_STATE_INTERRUPT_SHADOW     0x1000
#define HV_EXECUTION_STATE_VIRT_FAULT_ACTIVE    0x2000

#define HV_INTERCEPT_LENGTH_MASK 0x0F // instruction length, 0 unknown
#define HV_INTERCEPT_CR8_SHIFT   4

struct hv_x64_intercept_message_header {
    uint32_t vp_index;                 // 0
    uint8_t length_cr8;                // 4 length 3:0, CR8 7:4
    uint8_t access_type;               // 5 HV_INTERCEPT_ACCESS_*
    uint16_t execution_state;          // 6 HV_EXECUTION_STATE_*
    struct hv_x64_segment_register cs; // 8
    uint64_t rip;                      // 24
    uint64_t rflags;                   // 32
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_intercept_message_header, 40);
HV_ASSERT_OFFSET(struct hv_x64_intercept_message_header, cs, 8);
HV_ASSERT_OFFSET(struct hv_x64_intercept_message_header, rflags, 32);

// Memory access info.
#define HV_MEMORY_ACCESS_GVA_VALID                0x01
#define HV_MEMORY_ACCESS_GVA_GPA_VALID            0x02
#define HV_MEMORY_ACCESS_HYPERCALL_OUTPUT_PENDING 0x04
#define HV_MEMORY_ACCESS_TLB_LOCKED               0x08
#define HV_MEMORY_ACCESS_SUPERVISOR_SHADOW_STACK  0x10

// UNMAPPED_GPA, GPA_INTERCEPT, UNACCEPTED_GPA
struct hv_x64_memory_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint32_t cache_type;                           // 40 HV_CACHE_TYPE_*
    uint8_t instruction_byte_count;                // 44
    uint8_t memory_access_info;                    // 45 HV_MEMORY_ACCESS_*
    uint8_t tpr_priority;                          // 46
    uint8_t reserved;                              // 47
    uint64_t guest_virtual_address;                // 48
    uint64_t guest_physical_address;               // 56
    uint8_t instruction_bytes[16];                 // 64
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_memory_intercept_message, 80);
HV_ASSERT_OFFSET(struct hv_x64_memory_intercept_message, guest_physical_address, 56);

#define HV_IO_PORT_ACCESS_SIZE_MASK 0x07 // 1, 2 or 4 bytes
#define HV_IO_PORT_ACCESS_STRING    0x08
#define HV_IO_PORT_ACCESS_REP       0x10

struct hv_x64_io_port_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint16_t port_number;                          // 40
    uint8_t access_info;                           // 42 HV_IO_PORT_ACCESS_*
    uint8_t instruction_byte_count;                // 43
    uint32_t reserved;                             // 44
    uint64_t rax;                                  // 48
    uint8_t instruction_bytes[16];                 // 56
    struct hv_x64_segment_register ds;             // 72
    struct hv_x64_segment_register es;             // 88
    uint64_t rcx;                                  // 104
    uint64_t rsi;                                  // 112
    uint64_t rdi;                                  // 120
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_io_port_intercept_message, 128);
HV_ASSERT_OFFSET(struct hv_x64_io_port_intercept_message, rdi, 120);

struct hv_x64_msr_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint32_t msr_number;                           // 40
    uint32_t reserved;                             // 44
    uint64_t rdx;                                  // 48
    uint64_t rax;                                  // 56
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_msr_intercept_message, 64);

struct hv_x64_cpuid_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint64_t rax;                                  // 40
    uint64_t rcx;                                  // 48
    uint64_t rdx;                                  // 56
    uint64_t rbx;                                  // 64
    uint64_t default_result_rax;                   // 72
    uint64_t default_result_rcx;                   // 80
    uint64_t default_result_rdx;                   // 88
    uint64_t default_result_rbx;                   // 96
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_cpuid_intercept_message, 104);
HV_ASSERT_OFFSET(struct hv_x64_cpuid_intercept_message, default_result_rax, 72);

#define HV_EXCEPTION_INFO_ERROR_CODE_VALID   0x01
#define HV_EXCEPTION_INFO_SOFTWARE_EXCEPTION 0x02

struct hv_x64_exception_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint16_t exception_vector;                     // 40
    uint8_t exception_info;                        // 42 HV_EXCEPTION_INFO_*
    uint8_t instruction_byte_count;                // 43
    uint32_t error_code;                           // 44
    uint64_t exception_parameter;                  // 48 CR2 for #PF, DR6 for #DB
    uint64_t reserved;                             // 56
    uint8_t instruction_bytes[16];                 // 64
    struct hv_x64_segment_register ds;             // 80
    struct hv_x64_segment_register ss;             // 96
    uint64_t gp[16];                               // 112 RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_exception_intercept_message, 240);
HV_ASSERT_OFFSET(struct hv_x64_exception_intercept_message, gp, 112);

// UNRECOVERABLE_EXCEPTION and X64_HALT are the bare intercept header.

#define HV_REG_ACCESS_MEMORY_OPERAND 0x01

struct hv_x64_register_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint8_t access_flags;                          // 40 HV_REG_ACCESS_*
    uint8_t reserved0;                             // 41
    uint16_t reserved1;                            // 42
    uint32_t register_name;                        // 44
    union {                                        // 48
        union hv_register_value source_value;
        uint32_t destination_register;
        uint64_t source_address;
    };
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_register_intercept_message, 64);
HV_ASSERT_OFFSET(struct hv_x64_register_intercept_message, source_value, 48);

#define HV_HYPERCALL_INTERCEPT_ISOLATED 0x1u

struct hv_x64_hypercall_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint64_t rax;                                  // 40
    uint64_t rbx;                                  // 48
    uint64_t rcx;                                  // 56
    uint64_t rdx;                                  // 64
    uint64_t r8;                                   // 72
    uint64_t rsi;                                  // 80
    uint64_t rdi;                                  // 88
    struct hv_u128 xmm[6];                         // 96
    uint32_t flags;                                // 192 HV_HYPERCALL_INTERCEPT_*
    uint32_t reserved[3];                          // 196
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_hypercall_intercept_message, 208);
HV_ASSERT_OFFSET(struct hv_x64_hypercall_intercept_message, flags, 192);

struct hv_x64_sipi_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint32_t target_vp_index;                      // 40
    uint32_t interrupt_vector;                     // 44
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_sipi_intercept_message, 48);

struct hv_x64_interruption_deliverable_message {
    struct hv_x64_intercept_message_header header; // 0
    uint8_t deliverable_type;                      // 40 HV_INTERRUPTION_TYPE_*
    uint8_t reserved[7];                           // 41
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_interruption_deliverable_message, 48);

struct hv_x64_sint_deliverable_message {
    struct hv_x64_intercept_message_header header; // 0
    uint16_t deliverable_sints;                    // 40
    uint16_t reserved[3];                          // 42
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_sint_deliverable_message, 48);

#define HV_VMGEXIT_GHCB_PAGE_VALID    HV_BIT(0)
#define HV_VMGEXIT_GHCB_REQUEST_ERROR HV_BIT(1)

struct hv_x64_vmgexit_intercept_message {
    struct hv_x64_intercept_message_header header; // 0
    uint64_t ghcb_msr;                             // 40
    uint64_t flags;                                // 48 HV_VMGEXIT_*
    uint32_t ghcb_usage;                           // 56
    uint32_t reserved0;                            // 60
    uint16_t ghcb_version;                         // 64
    uint16_t reserved1[3];                         // 66
    uint64_t exit_code;                            // 72
    uint64_t exit_info1;                           // 80
    uint64_t exit_info2;                           // 88
    uint64_t scratch;                              // 96
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_vmgexit_intercept_message, 104);
HV_ASSERT_OFFSET(struct hv_x64_vmgexit_intercept_message, exit_code, 72);

struct hv_x64_gpa_attribute_intercept_message {
    uint32_t vp_index;   // 0
    uint32_t attributes; // 4
    uint64_t ranges[29]; // 8 HV_GPA_PAGE_RANGE
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_gpa_attribute_intercept_message, 240);

// Payloads without the intercept header.
struct hv_timer_message_payload {
    uint32_t timer_index;     // 0
    uint32_t reserved;        // 4
    uint64_t expiration_time; // 8, 100 ns
    uint64_t delivery_time;   // 16, stamped when the slot is written
} HV_ABI;
HV_ASSERT_SIZE(struct hv_timer_message_payload, 24);

struct hv_x64_apic_eoi_message {
    uint32_t vp_index;         // 0
    uint32_t interrupt_vector; // 4
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_apic_eoi_message, 8);

struct hv_x64_invalid_vp_register_message {
    uint32_t vp_index; // 0
    uint32_t reserved; // 4
} HV_ABI;

#define HV_UNSUPPORTED_FEATURE_INTERCEPT       1
#define HV_UNSUPPORTED_FEATURE_TASK_SWITCH_TSS 2

struct hv_x64_unsupported_feature_message {
    uint32_t vp_index;          // 0
    uint32_t feature_code;      // 4 HV_UNSUPPORTED_FEATURE_*
    uint64_t feature_parameter; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_x64_unsupported_feature_message, 16);

struct hv_opaque_intercept_message {
    uint32_t vp_index; // 0
} HV_PACKED;
HV_ASSERT_SIZE(struct hv_opaque_intercept_message, 4);

struct hv_synic_sint_intercept_message {
    uint32_t sint_index; // 0
} HV_PACKED;

struct hv_async_completion_message_payload {
    uint64_t partition_id;     // 0
    uint32_t status;           // 8
    uint32_t completion_count; // 12
    uint64_t sub_status;       // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_async_completion_message_payload, 24);

struct hv_event_log_buffer_complete_message {
    uint32_t event_log_type; // 0
    uint32_t buffer_index;   // 4
} HV_ABI;

// Root scheduler signals.
#define HV_SIGNAL_BITSET_MAX_BANKS 16
#define HV_SIGNAL_PAIR_MAX         19

struct hv_vp_signal_bitset_scheduler_message {
    uint64_t partition_id;                      // 0
    uint32_t overflow_count;                    // 8
    uint16_t vp_count;                          // 12
    uint16_t reserved;                          // 14
    uint64_t format;                            // 16 HV_VP_SET_FORMAT_SPARSE
    uint64_t valid_banks_mask;                  // 24
    uint64_t banks[HV_SIGNAL_BITSET_MAX_BANKS]; // 32
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vp_signal_bitset_scheduler_message, 160);
HV_ASSERT_OFFSET(struct hv_vp_signal_bitset_scheduler_message, format, 16);

struct hv_vp_signal_pair_scheduler_message {
    uint32_t overflow_count;                    // 0
    uint8_t vp_count;                           // 4
    uint8_t reserved0[3];                       // 5
    uint64_t partition_ids[HV_SIGNAL_PAIR_MAX]; // 8
    uint32_t vp_indexes[HV_SIGNAL_PAIR_MAX];    // 160
    uint8_t reserved1[4];                       // 236
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vp_signal_pair_scheduler_message, 240);
HV_ASSERT_OFFSET(struct hv_vp_signal_pair_scheduler_message, vp_indexes, 160);

#endif
