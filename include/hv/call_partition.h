// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the partition life cycle and memory pool calls. TLFS: Partitions
#ifndef HV_CALL_PARTITION_H
#define HV_CALL_PARTITION_H

#include "hv/base.h"
#include "hv/memory.h"
#include "hv/partition.h"

// 0040
struct hv_input_create_partition {
    uint64_t flags;                                        // 0 HV_PARTITION_CREATION_FLAG_*
    struct hv_proximity_domain_info proximity_domain_info; // 8
    uint32_t compatibility_version;                        // 16 major << 8 | minor
    uint32_t padding;                                      // 20
    uint64_t disabled_processor_features[HV_PARTITION_PROCESSOR_FEATURES_BANKS]; // 24
    uint64_t disabled_xsave_features;                                            // 40
    uint64_t isolation_properties; // 48 HV_PARTITION_ISOLATION_*
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_create_partition, 56);
HV_ASSERT_OFFSET(struct hv_input_create_partition, disabled_processor_features, 24);
HV_ASSERT_OFFSET(struct hv_input_create_partition, isolation_properties, 48);

struct hv_output_create_partition {
    uint64_t partition_id; // 0
} HV_ABI;

// 0041, 0042, 0043 and every other call whose input is a partition alone (0056)
struct hv_input_partition {
    uint64_t partition_id; // 0
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_partition, 8);

// 0044
struct hv_input_get_partition_property {
    uint64_t partition_id;  // 0
    uint32_t property_code; // 8 HV_PARTITION_PROPERTY_*
    uint32_t reserved;      // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_partition_property, 16);

struct hv_output_get_partition_property {
    uint64_t property_value; // 0
} HV_ABI;

// 0045
struct hv_input_set_partition_property {
    uint64_t partition_id;   // 0
    uint32_t property_code;  // 8 HV_PARTITION_PROPERTY_*
    uint32_t reserved;       // 12
    uint64_t property_value; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_set_partition_property, 24);

// 0101; 010a has the same header and the value in the variable header
#define HV_PROPERTY_EX_ARGUMENT_MASK     UINT64_C(0xFFFFFFFF)
#define HV_PROPERTY_EX_OBJECT_TYPE_SHIFT 56

struct hv_input_get_partition_property_ex {
    uint64_t partition_id;  // 0
    uint32_t property_code; // 8 HV_PARTITION_PROPERTY_*
    uint32_t padding;       // 12
    uint64_t argument;      // 16 argument or VP index 31:0, object type 63:56
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_partition_property_ex, 24);

// 0046
struct hv_output_get_partition_id {
    uint64_t partition_id; // 0
} HV_ABI;

// 0047
struct hv_input_get_next_child_partition {
    uint64_t parent_id;         // 0
    uint64_t previous_child_id; // 8, 0 starts
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_next_child_partition, 16);

struct hv_output_get_next_child_partition {
    uint64_t next_child_id; // 0, 0 ends
} HV_ABI;

// 0048, elements are GPA page numbers (uint64_t)
struct hv_input_deposit_memory {
    uint64_t partition_id; // 0
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_deposit_memory, 8);

// 0049, output elements are GPA page numbers (uint64_t)
struct hv_input_withdraw_memory {
    uint64_t partition_id;                                 // 0
    struct hv_proximity_domain_info proximity_domain_info; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_withdraw_memory, 16);

// 004a
struct hv_input_get_memory_balance {
    uint64_t partition_id;                                 // 0
    struct hv_proximity_domain_info proximity_domain_info; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_memory_balance, 16);

struct hv_output_get_memory_balance {
    uint64_t pages_available; // 0
    uint64_t pages_in_use;    // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_get_memory_balance, 16);

// 005e
#define HV_SAVE_RESTORE_START   0x1u
#define HV_SAVE_RESTORE_SUMMARY 0x2u

struct hv_input_save_partition_state {
    uint64_t partition_id; // 0, 0 is the system summary
    uint32_t flags;        // 8 HV_SAVE_RESTORE_*
    uint32_t padding;      // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_save_partition_state, 16);

// Data bytes follow.
struct hv_output_save_partition_state {
    uint32_t state; // 0
    uint32_t count; // 4
} HV_ABI;

// 005f, data bytes follow
struct hv_input_restore_partition_state {
    uint64_t partition_id; // 0
    uint32_t flags;        // 8 HV_SAVE_RESTORE_*
    uint32_t count;        // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_restore_partition_state, 16);

struct hv_output_restore_partition_state {
    uint32_t state;    // 0
    uint32_t consumed; // 4
} HV_ABI;

// 0103
struct hv_input_restore_partition_time {
    uint64_t partition_id;   // 0
    uint32_t tsc_sequence;   // 8 of the reference TSC page when it was read; 0: not valid
    uint32_t reserved;       // 12
    uint64_t reference_time; // 16 100 ns
    uint64_t tsc;            // 24 what it read at that time
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_restore_partition_time, 32);

#endif
