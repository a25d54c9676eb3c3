// SPDX-License-Identifier: BSD-2-Clause-Patent
// SynIC: sources, control registers, SIM/SIEF/event ring pages, ports and connections, synthetic
// timer configuration, interrupt control, VP sets. TLFS: Inter-Partition Communication, Timers
#ifndef HV_SYNIC_H
#define HV_SYNIC_H

#include "hv/base.h"
#include "hv/message.h"

#define HV_SYNIC_SINT_COUNT         16
#define HV_SYNIC_STIMER_COUNT       4
#define HV_SYNIC_VERSION            1
#define HV_SYNIC_FIRST_VALID_VECTOR 16

// SINT uses agreed between hypervisor and guests.
#define HV_SYNIC_INTERCEPTION_SINT 0
#define HV_SYNIC_IOMMU_FAULT_SINT  1
#define HV_SYNIC_VMBUS_SINT        2
#define HV_SYNIC_DOORBELL_SINT     5

// SINTx register.
#define HV_SINT_VECTOR_MASK  UINT64_C(0xFF)
#define HV_SINT_RSVDP_MASK   UINT64_C(0xFF00)
#define HV_SINT_MASKED       HV_BIT(16)
#define HV_SINT_AUTO_EOI     HV_BIT(17)
#define HV_SINT_POLLING      HV_BIT(18)
#define HV_SINT_AS_INTERCEPT HV_BIT(19)
#define HV_SINT_PROXY        HV_BIT(20)
#define HV_SINT_RESET_VALUE  UINT64_C(0x10000)

#define HV_SCONTROL_ENABLE HV_BIT(0)

// Event flags: flag n is bit n % 8 of byte n / 8.
#define HV_EVENT_FLAGS_COUNT      2048
#define HV_EVENT_FLAGS_BYTE_COUNT 256

union hv_synic_event_flags {
    uint8_t flags8[HV_EVENT_FLAGS_BYTE_COUNT];
    uint32_t flags32[HV_EVENT_FLAGS_BYTE_COUNT / 4];
    uint64_t flags64[HV_EVENT_FLAGS_BYTE_COUNT / 8];
} HV_ABI;
HV_ASSERT_SIZE(union hv_synic_event_flags, 256);

// SIEF page: one set of event flags per SINT.
struct hv_synic_event_flags_page {
    union hv_synic_event_flags event_flags[HV_SYNIC_SINT_COUNT];
} HV_ABI;
HV_ASSERT_SIZE(struct hv_synic_event_flags_page, 4096);

// SIM page: one message slot per SINT.
struct hv_message_page {
    struct hv_message slot[HV_SYNIC_SINT_COUNT];
} HV_ABI;
HV_ASSERT_SIZE(struct hv_message_page, 4096);

// Event ring page (SIRBP): port ids of signalled doorbells, one ring per SINT.
#define HV_SYNIC_EVENT_RING_MESSAGE_COUNT 63

struct hv_synic_event_ring {
    uint8_t signal_masked;                            // 0
    uint8_t ring_full;                                // 1
    uint16_t reserved;                                // 2
    uint32_t data[HV_SYNIC_EVENT_RING_MESSAGE_COUNT]; // 4
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_synic_event_ring, 256);
HV_ASSERT_OFFSET(struct hv_synic_event_ring, data, 4);

struct hv_synic_event_ring_page {
    struct hv_synic_event_ring ring[HV_SYNIC_SINT_COUNT];
} HV_ABI;
HV_ASSERT_SIZE(struct hv_synic_event_ring_page, 4096);

// Synthetic timer configuration.
#define HV_STIMER_ENABLE        HV_BIT(0)
#define HV_STIMER_PERIODIC      HV_BIT(1)
#define HV_STIMER_LAZY          HV_BIT(2)
#define HV_STIMER_AUTO_ENABLE   HV_BIT(3)
#define HV_STIMER_VECTOR_SHIFT  4
#define HV_STIMER_VECTOR_MASK   UINT64_C(0x0FF0) // 11:4
#define HV_STIMER_DIRECT        HV_BIT(12)
#define HV_STIMER_SINT_SHIFT    16
#define HV_STIMER_SINT_MASK     UINT64_C(0xF0000) // 19:16
#define HV_STIMER_RESERVED_MASK UINT64_C(0xFFFFFFFFFFF0E000)

// Time-unhalted timer configuration; vector 2 is an NMI.
#define HV_STIME_UNHALTED_VECTOR_MASK   UINT64_C(0xFF)
#define HV_STIME_UNHALTED_ENABLE        HV_BIT(8)
#define HV_STIME_UNHALTED_RESERVED_MASK UINT64_C(0xFFFFFFFFFFFFFE00)

// Saved synthetic timer state (GetVpState, SetVpState type 4).
#define HV_STIMER_STATE_UNDELIVERED_MESSAGE 0x1u

struct hv_stimer_state {
    uint32_t flags;                       // 0 HV_STIMER_STATE_*
    uint32_t reserved;                    // 4
    uint64_t config;                      // 8
    uint64_t count;                       // 16
    uint64_t adjustment;                  // 24
    uint64_t undelivered_expiration_time; // 32
} HV_ABI;
HV_ASSERT_SIZE(struct hv_stimer_state, 40);

struct hv_synthetic_timers_state {
    struct hv_stimer_state timers[HV_SYNIC_STIMER_COUNT]; // 0
    uint64_t reserved[5];                                 // 160
} HV_ABI;
HV_ASSERT_SIZE(struct hv_synthetic_timers_state, 200);

// Port and connection identifiers: 23:0 id, 31:24 zero.
#define HV_PORT_ID_MASK                0x00FFFFFFu
#define HV_PORT_ID_RESERVED_MASK       0xFF000000u
#define HV_CONNECTION_ID_MASK          0x00FFFFFFu
#define HV_CONNECTION_ID_RESERVED_MASK 0xFF000000u

#define HV_PORT_TYPE_MESSAGE  1
#define HV_PORT_TYPE_EVENT    2
#define HV_PORT_TYPE_MONITOR  3
#define HV_PORT_TYPE_DOORBELL 4

#define HV_PORT_MESSAGE_BUFFER_COUNT 16

#define HV_PORT_PROPERTY_POST_COUNT          0
#define HV_PORT_PROPERTY_PREFERRED_TARGET_VP 1

struct hv_port_info {
    uint32_t port_type; // 0 HV_PORT_TYPE_*
    uint32_t reserved;  // 4
    union {             // 8
        struct {
            uint32_t target_sint; // 8
            uint32_t target_vp;   // 12
            uint64_t reserved;    // 16
        } HV_PACKED message;
        struct {
            uint32_t target_sint;      // 8
            uint32_t target_vp;        // 12
            uint16_t base_flag_number; // 16
            uint16_t flag_count;       // 18
            uint32_t reserved;         // 20
        } HV_PACKED event;
        struct {
            uint64_t monitor_gpa; // 8
            uint64_t reserved;    // 16
        } HV_PACKED monitor;
        struct {
            uint32_t target_sint; // 8
            uint32_t target_vp;   // 12
            uint64_t reserved;    // 16
        } HV_PACKED doorbell;
    };
} HV_ABI;
HV_ASSERT_SIZE(struct hv_port_info, 24);
HV_ASSERT_OFFSET(struct hv_port_info, event.flag_count, 18);

#define HV_DOORBELL_TRIGGER_SIZE_MASK  UINT64_C(0x7)
#define HV_DOORBELL_TRIGGER_SIZE_ANY   0
#define HV_DOORBELL_TRIGGER_SIZE_BYTE  1
#define HV_DOORBELL_TRIGGER_SIZE_WORD  2
#define HV_DOORBELL_TRIGGER_SIZE_DWORD 3
#define HV_DOORBELL_TRIGGER_SIZE_QWORD 4
#define HV_DOORBELL_TRIGGER_ANY_VALUE  HV_BIT(31)

struct hv_connection_info {
    uint32_t port_type; // 0 HV_PORT_TYPE_*
    uint32_t reserved;  // 4
    union {             // 8
        struct {
            uint64_t reserved; // 8
        } HV_PACKED message;
        struct {
            uint64_t reserved; // 8
        } HV_PACKED event;
        struct {
            uint64_t monitor_gpa; // 8
        } HV_PACKED monitor;
        struct {
            uint64_t gpa;           // 8
            uint64_t trigger_value; // 16
            uint64_t flags;         // 24 HV_DOORBELL_*
        } HV_PACKED doorbell;
    };
} HV_ABI;
HV_ASSERT_SIZE(struct hv_connection_info, 32);
HV_ASSERT_OFFSET(struct hv_connection_info, doorbell.flags, 24);

// Monitor page: pending and armed bits of a group change together, in one 64-bit access.
#define HV_MONITOR_GROUP_COUNT        4
#define HV_MONITOR_TRIGGERS_PER_GROUP 32
#define HV_MONITOR_STATE_GROUP_MASK   0xFu
#define HV_MONITOR_STATE_DISABLED     0x10u

struct hv_monitor_trigger_group {
    union { // 0
        struct {
            uint32_t pending; // 0
            uint32_t armed;   // 4
        } HV_PACKED;
        uint64_t both; // armed in the high half
    };
} HV_ABI;

struct hv_monitor_parameter {
    uint32_t connection_id; // 0
    uint16_t flag_number;   // 4
    uint16_t reserved;      // 6
} HV_ABI;

struct hv_monitor_page {
    uint32_t trigger_state;                                                          // 0
    uint32_t reserved0;                                                              // 4
    struct hv_monitor_trigger_group group[HV_MONITOR_GROUP_COUNT];                   // 8
    uint8_t reserved1[24];                                                           // 40
    uint32_t next_check_time[HV_MONITOR_GROUP_COUNT][HV_MONITOR_TRIGGERS_PER_GROUP]; // 64
    uint16_t latency[HV_MONITOR_GROUP_COUNT][HV_MONITOR_TRIGGERS_PER_GROUP];         // 576, 100 ns
    uint8_t reserved2[256];                                                          // 832
    struct hv_monitor_parameter parameter[HV_MONITOR_GROUP_COUNT]
                                         [HV_MONITOR_TRIGGERS_PER_GROUP]; // 1088
    uint8_t reserved3[1984];                                              // 2112
} HV_ABI;
HV_ASSERT_SIZE(struct hv_monitor_page, 4096);
HV_ASSERT_OFFSET(struct hv_monitor_page, latency, 576);
HV_ASSERT_OFFSET(struct hv_monitor_page, parameter, 1088);

// HV_INTERRUPT_CONTROL: type 31:0, then the two mode bits.
#define HV_INTERRUPT_CONTROL_TYPE_MASK       UINT64_C(0xFFFFFFFF)
#define HV_INTERRUPT_CONTROL_LEVEL_TRIGGERED HV_BIT(32)
#define HV_INTERRUPT_CONTROL_LOGICAL_DEST    HV_BIT(33)
#define HV_INTERRUPT_CONTROL_RESERVED_MASK   UINT64_C(0xFFFFFFFC00000000)

#define HV_INTERRUPT_TYPE_FIXED           0
#define HV_INTERRUPT_TYPE_LOWEST_PRIORITY 1
#define HV_INTERRUPT_TYPE_SMI             2
#define HV_INTERRUPT_TYPE_REMOTE_READ     3
#define HV_INTERRUPT_TYPE_NMI             4
#define HV_INTERRUPT_TYPE_INIT            5
#define HV_INTERRUPT_TYPE_SIPI            6
#define HV_INTERRUPT_TYPE_EXTINT          7
#define HV_INTERRUPT_TYPE_LOCALINT0       8
#define HV_INTERRUPT_TYPE_LOCALINT1       9

#define HV_INTERRUPT_VECTOR_NONE 0xFFFFFFFFu

// HV_VP_SET: bank b covers VPs 64b..64b+63; one bank QWORD per bit of the mask, ascending.
#define HV_VP_SET_FORMAT_SPARSE 0
#define HV_VP_SET_FORMAT_ALL    1
#define HV_VP_SET_BANK_SHIFT    6
#define HV_VP_SET_BANK_SIZE     64
#define HV_VP_SET_MAX_BANKS     64

struct hv_vp_set {
    uint64_t format;           // 0
    uint64_t valid_banks_mask; // 8, bank contents follow
} HV_ABI;
HV_ASSERT_SIZE(struct hv_vp_set, 16);

// SendSyntheticClusterIpi accepts these vectors only.
#define HV_IPI_LOW_VECTOR  0x10
#define HV_IPI_HIGH_VECTOR 0xFF

#endif
