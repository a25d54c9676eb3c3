// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the system calls: logical processors, system properties, statistics, debugging, event
// log. TLFS: Hypercall Reference; TLFS 2.0a: Event Log, Statistics
#ifndef HV_CALL_SYSTEM_H
#define HV_CALL_SYSTEM_H

#include "hv/base.h"
#include "hv/memory.h"
#include "hv/stats.h"

// 0004
struct hv_input_get_logical_processor_run_time {
    uint32_t lp_index; // 0
} HV_PACKED;
HV_ASSERT_SIZE(struct hv_input_get_logical_processor_run_time, 4);

struct hv_output_get_logical_processor_run_time {
    uint64_t global_time;     // 0, 100 ns
    uint64_t local_run_time;  // 8
    uint64_t reserved;        // 16
    uint64_t hypervisor_time; // 24
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_get_logical_processor_run_time, 32);

// 0009
struct hv_input_park_logical_processors {
    uint64_t processor_mask; // 0
} HV_ABI;

// 0076
struct hv_input_add_logical_processor {
    uint32_t lp_index;                                     // 0
    uint32_t apic_id;                                      // 4
    struct hv_proximity_domain_info proximity_domain_info; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_add_logical_processor, 16);

struct hv_output_add_logical_processor {
    uint64_t status;       // 0
    uint64_t substatus[6]; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_add_logical_processor, 56);

#define HV_SYSTEM_PROPERTY_SLEEP_STATE               3
#define HV_SYSTEM_PROPERTY_SCHEDULER_TYPE            15
#define HV_SYSTEM_PROPERTY_DYNAMIC_PROCESSOR_FEATURE 21
#define HV_SYSTEM_PROPERTY_CRASHDUMP_AREA            47

#define HV_SCHEDULER_TYPE_LP       1
#define HV_SCHEDULER_TYPE_LP_SMT   2
#define HV_SCHEDULER_TYPE_CORE_SMT 3
#define HV_SCHEDULER_TYPE_ROOT     4

// 007b
struct hv_input_get_system_property {
    uint32_t property_id; // 0 HV_SYSTEM_PROPERTY_*
    uint32_t reserved;    // 4
    uint64_t argument;    // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_system_property, 16);

// Crash dump area: base page 39:0, additional pages 63:40.
#define HV_CRASHDUMP_AREA_PAGE_MASK        UINT64_C(0x000000FFFFFFFFFF)
#define HV_CRASHDUMP_AREA_ADDITIONAL_SHIFT 40

struct hv_output_get_system_property {
    uint64_t value; // 0
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_get_system_property, 8);

#define HV_SLEEP_STATE_S1   1
#define HV_SLEEP_STATE_S2   2
#define HV_SLEEP_STATE_S3   3
#define HV_SLEEP_STATE_S4   4
#define HV_SLEEP_STATE_S5   5
#define HV_SLEEP_STATE_LOCK 6

struct hv_sleep_state_info {
    uint32_t sleep_state; // 0 HV_SLEEP_STATE_*
    uint8_t pm1a_slp_typ; // 4
    uint8_t pm1b_slp_typ; // 5
} HV_PACKED;
HV_ASSERT_SIZE(struct hv_sleep_state_info, 6);

// 006f. The partition-management generation passed a 16-byte value (24 bytes in all).
struct hv_input_set_system_property {
    uint32_t property_id; // 0 HV_SYSTEM_PROPERTY_*
    uint32_t reserved;    // 4
    union {               // 8
        struct hv_sleep_state_info sleep_state_info;
        uint64_t value[8];
    };
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_set_system_property, 72);

// 0084
struct hv_input_enter_sleep_state {
    uint32_t sleep_state; // 0 HV_SLEEP_STATE_*
} HV_PACKED;
HV_ASSERT_SIZE(struct hv_input_enter_sleep_state, 4);

#define HV_PARTITION_EVENT_ROOT_CRASHDUMP                 2
#define HV_PARTITION_EVENT_ALL_LOGICAL_PROCESSORS_STARTED 4

#define HV_CRASHDUMP_NONE                   0
#define HV_CRASHDUMP_SUSPEND_ALL_VPS        1
#define HV_CRASHDUMP_PREPARE_FOR_STATE_SAVE 2
#define HV_CRASHDUMP_STATE_SAVED            3
#define HV_CRASHDUMP_ENTRY                  4

// 0087
struct hv_input_notify_partition_event {
    uint32_t event; // 0 HV_PARTITION_EVENT_*
    uint32_t input; // 4
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_notify_partition_event, 8);

// 010f
struct hv_input_disable_hypervisor_ex {
    uint64_t rip;      // 0
    uint64_t argument; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_disable_hypervisor_ex, 16);

// 006c, 006d
struct hv_input_stats_page {
    uint32_t type;                           // 0 HV_STATS_OBJECT_*
    uint32_t padding;                        // 4
    union hv_stats_object_identity identity; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_stats_page, 24);
HV_ASSERT_OFFSET(struct hv_input_stats_page, identity, 8);

// 0131
struct hv_input_map_stats_page2 {
    uint32_t type;                           // 0 HV_STATS_OBJECT_*
    uint32_t padding;                        // 4
    union hv_stats_object_identity identity; // 8
    uint64_t gpa_page;                       // 24
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_map_stats_page2, 32);

struct hv_output_map_stats_page {
    uint64_t gpa_page; // 0
} HV_ABI;

// 0069, data bytes follow
struct hv_input_post_debug_data {
    uint32_t count;   // 0
    uint32_t options; // 4
} HV_ABI;

struct hv_output_post_debug_data {
    uint32_t pending_count; // 0
    uint32_t reserved;      // 4
} HV_ABI;

// 006a
struct hv_input_retrieve_debug_data {
    uint32_t count;   // 0
    uint32_t options; // 4
    uint64_t timeout; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_retrieve_debug_data, 16);

// Data bytes follow.
struct hv_output_retrieve_debug_data {
    uint32_t retrieved; // 0
    uint32_t remaining; // 4
} HV_ABI;

// 006b
struct hv_input_reset_debug_session {
    uint32_t options;  // 0
    uint32_t reserved; // 4
} HV_ABI;

// 0060
struct hv_input_initialize_event_log_buffer_group {
    uint32_t event_log_type;   // 0
    uint32_t max_buffer_count; // 4
    uint32_t buffer_pages;     // 8
    uint32_t threshold;        // 12
    uint32_t time_basis;       // 16
    uint64_t system_time;      // 20
} HV_PACKED __attribute__((aligned(4)));
HV_ASSERT_SIZE(struct hv_input_initialize_event_log_buffer_group, 28);

// 0061
struct hv_input_finalize_event_log_buffer_group {
    uint32_t event_log_type; // 0
} HV_PACKED;

// 0063, 0064, 0065, 0067, 0068
struct hv_input_event_log_buffer {
    uint32_t event_log_type; // 0
    uint32_t buffer_index;   // 4
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_event_log_buffer, 8);

// 0062
struct hv_input_create_event_log_buffer {
    uint32_t event_log_type;                               // 0
    uint32_t buffer_index;                                 // 4
    struct hv_proximity_domain_info proximity_domain_info; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_create_event_log_buffer, 16);

// 0066
struct hv_input_set_event_log_group_sources {
    uint32_t event_log_type; // 0
    uint32_t reserved;       // 4
    uint64_t enable_flags;   // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_set_event_log_group_sources, 16);

// 8001
struct hv_output_ext_query_capabilities {
    uint64_t capabilities; // 0 HV_EXT_CAPABILITY_*
} HV_ABI;

#endif
