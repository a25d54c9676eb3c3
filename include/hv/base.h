// SPDX-License-Identifier: BSD-2-Clause-Patent
// Common ground of the ABI headers: bits, structure attributes, layout assertions, page geometry
// and the reserved identifiers. Everything on the wire is little-endian.
#ifndef HV_BASE_H
#define HV_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HV_BIT(n)   (UINT64_C(1) << (n))
#define HV_BIT32(n) (UINT32_C(1) << (n))

// HV_ABI: no padding, 8-byte aligned, as every hypercall block, message and page is (its size is a
// multiple of 8). HV_PACKED: no padding, any alignment: nested pieces and oddly sized blocks.
#define HV_ABI    __attribute__((packed, aligned(8)))
#define HV_PACKED __attribute__((packed))

#define HV_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), "size of " #type)
#define HV_ASSERT_OFFSET(type, field, offset)                                                      \
    _Static_assert(offsetof(type, field) == (offset), "offset of " #field " in " #type)

// TLFS: Memory Address Space Types
#define HV_PAGE_SHIFT       12
#define HV_PAGE_SIZE        4096
#define HV_PAGE_MASK        (HV_PAGE_SIZE - 1)
#define HV_LARGE_PAGE_SHIFT 21
#define HV_LARGE_PAGE_SIZE  (UINT64_C(1) << HV_LARGE_PAGE_SHIFT)
#define HV_HUGE_PAGE_SHIFT  30
#define HV_HUGE_PAGE_SIZE   (UINT64_C(1) << HV_HUGE_PAGE_SHIFT)

// Enable bit and page field shared by all page-location MSRs (hypercall page, SIM, SIEF, ...).
#define HV_PAGE_MSR_ENABLE    UINT64_C(1)
#define HV_PAGE_MSR_PAGE_MASK (~(uint64_t)HV_PAGE_MASK)

#define HV_PARTITION_ID_INVALID UINT64_C(0)
#define HV_PARTITION_ID_SELF    UINT64_MAX

#define HV_VP_INDEX_SELF 0xFFFFFFFEu
#define HV_ANY_VP        0xFFFFFFFFu

// TLFS: HV_VTL, HV_INPUT_VTL (one byte)
#define HV_INVALID_VTL             0xFF
#define HV_VTL_ALL                 0xF
#define HV_INPUT_VTL_TARGET_MASK   0x0F
#define HV_INPUT_VTL_USE_TARGET    0x10
#define HV_INPUT_VTL_RESERVED_MASK 0xE0

// A 128-bit quantity without asking the compiler for one; low half first.
struct hv_u128 {
    uint64_t low;  // 0
    uint64_t high; // 8
} HV_ABI;
HV_ASSERT_SIZE(struct hv_u128, 16);

#endif
