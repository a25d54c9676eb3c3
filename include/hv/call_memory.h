// SPDX-License-Identifier: BSD-2-Clause-Patent
// Blocks of the GPA map, GPA access and translation calls. TLFS: Guest Physical Address Spaces
#ifndef HV_CALL_MEMORY_H
#define HV_CALL_MEMORY_H

#include "hv/base.h"
#include "hv/memory.h"

// 004b, elements are source GPA page numbers (uint64_t)
struct hv_input_map_gpa_pages {
    uint64_t target_partition_id; // 0
    uint64_t target_gpa_base;     // 8 page number
    uint32_t map_flags;           // 16 HV_MAP_GPA_*
    uint32_t padding;             // 20
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_map_gpa_pages, 24);
HV_ASSERT_OFFSET(struct hv_input_map_gpa_pages, map_flags, 16);

// 004c, no elements: the rep count is the number of pages
struct hv_input_unmap_gpa_pages {
    uint64_t target_partition_id; // 0
    uint64_t target_gpa_base;     // 8 page number
    uint32_t unmap_flags;         // 16 HV_UNMAP_GPA_*
    uint32_t padding;             // 20
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_unmap_gpa_pages, 24);

// 006e
struct hv_input_map_sparse_gpa_pages {
    uint64_t target_partition_id; // 0
    uint32_t map_flags;           // 8 HV_MAP_GPA_*
    uint32_t padding;             // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_map_sparse_gpa_pages, 16);

struct hv_gpa_mapping {
    uint64_t target_gpa_page; // 0
    uint64_t source_gpa_page; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_gpa_mapping, 16);

// 0090, elements are GPA page numbers (uint64_t)
struct hv_input_modify_sparse_gpa_pages {
    uint64_t target_partition_id; // 0
    uint32_t map_flags;           // 8 HV_MAP_GPA_*
    uint32_t reserved;            // 12
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_modify_sparse_gpa_pages, 16);

// 0053
struct hv_input_read_gpa {
    uint64_t partition_id;  // 0
    uint32_t vp_index;      // 8
    uint32_t byte_count;    // 12, 1..16
    uint64_t base_gpa;      // 16
    uint64_t control_flags; // 24, cache type 7:0
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_read_gpa, 32);

struct hv_output_read_gpa {
    uint32_t access_result;                // 0 HV_ACCESS_GPA_*
    uint32_t reserved;                     // 4
    uint8_t data[HV_ACCESS_GPA_MAX_BYTES]; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_read_gpa, 24);

// 0054
struct hv_input_write_gpa {
    uint64_t partition_id;                 // 0
    uint32_t vp_index;                     // 8
    uint32_t byte_count;                   // 12, 1..16
    uint64_t base_gpa;                     // 16
    uint64_t control_flags;                // 24, cache type 7:0
    uint8_t data[HV_ACCESS_GPA_MAX_BYTES]; // 32
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_write_gpa, 48);

struct hv_output_write_gpa {
    uint32_t access_result; // 0 HV_ACCESS_GPA_*
    uint32_t reserved;      // 4
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_write_gpa, 8);

// 0052 and 00ac
struct hv_input_translate_virtual_address {
    uint64_t partition_id;  // 0
    uint32_t vp_index;      // 8
    uint32_t padding;       // 12
    uint64_t control_flags; // 16 HV_TRANSLATE_GVA_*
    uint64_t gva_page;      // 24
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_translate_virtual_address, 32);

struct hv_output_translate_virtual_address {
    uint64_t translation_result; // 0 HV_TRANSLATE_RESULT_*
    uint64_t gpa_page;           // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_translate_virtual_address, 16);

struct hv_output_translate_virtual_address_ex {
    uint64_t translation_result;     // 0 HV_TRANSLATE_RESULT_*
    uint64_t reserved0;              // 8
    struct hv_u128 pending_event[2]; // 16
    uint64_t gpa_page;               // 48
    uint64_t reserved1;              // 56
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_translate_virtual_address_ex, 64);
HV_ASSERT_OFFSET(struct hv_output_translate_virtual_address_ex, gpa_page, 48);

// 00c9, output elements are one byte a page
struct hv_input_get_gpa_pages_access_state {
    uint64_t partition_id;    // 0
    uint64_t flags;           // 8 HV_GPA_ACCESS_STATE_*
    uint64_t gpa_page_number; // 16
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_get_gpa_pages_access_state, 24);

// 00d7, 00d8: elements are SPA page numbers (uint64_t)
#define HV_SPA_HOST_ACCESS_READ  0x1u
#define HV_SPA_HOST_ACCESS_WRITE 0x2u

struct hv_input_modify_sparse_spa_page_host_access {
    uint32_t host_access;  // 0 HV_SPA_HOST_ACCESS_*
    uint32_t flags;        // 4
    uint64_t partition_id; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_modify_sparse_spa_page_host_access, 16);

// 8002: up to 255 ranges follow the count
#define HV_BOOT_ZEROED_MEMORY_MAX_RANGES 255

struct hv_boot_zeroed_range {
    uint64_t start_gpa_page; // 0
    uint64_t page_count;     // 8
} HV_ABI;

struct hv_output_get_boot_zeroed_memory {
    uint64_t range_count;                                                // 0
    struct hv_boot_zeroed_range range[HV_BOOT_ZEROED_MEMORY_MAX_RANGES]; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_output_get_boot_zeroed_memory, 0xFF8);

// 8003, elements are HV_GPA_PAGE_RANGE (uint64_t)
#define HV_MEMORY_HEAT_HINT_COLD         0
#define HV_MEMORY_HEAT_HINT_HOT          1
#define HV_MEMORY_HEAT_HINT_COLD_DISCARD 2
#define HV_MEMORY_HEAT_HINT_TYPE_MASK    UINT64_C(0x3)

struct hv_input_memory_heat_hint {
    uint64_t heat_type; // 0
} HV_ABI;
HV_ASSERT_SIZE(struct hv_input_memory_heat_hint, 8);

#endif
