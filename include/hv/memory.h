// SPDX-License-Identifier: BSD-2-Clause-Patent
// Guest physical memory: map flags, page ranges, proximity, access and translation results,
// intercept types. TLFS: Data Types, Virtual MMU
#ifndef HV_MEMORY_H
#define HV_MEMORY_H

#include "hv/base.h"

// HV_MAP_GPA_FLAGS. Legal rights: none, R, RW, RX, RWX.
#define HV_MAP_GPA_PERMISSIONS_NONE          0x00000000u
#define HV_MAP_GPA_READABLE                  0x00000001u
#define HV_MAP_GPA_WRITABLE                  0x00000002u
#define HV_MAP_GPA_KERNEL_EXECUTABLE         0x00000004u
#define HV_MAP_GPA_USER_EXECUTABLE           0x00000008u
#define HV_MAP_GPA_EXECUTABLE                0x0000000Cu
#define HV_MAP_GPA_PERMISSIONS_MASK          0x0000000Fu
#define HV_MAP_GPA_SUPERVISOR_SHADOW_STACK   0x00000010u
#define HV_MAP_GPA_PAGING_WRITABILITY        0x00000020u
#define HV_MAP_GPA_VERIFY_PAGING_WRITABILITY 0x00000040u
#define HV_MAP_GPA_ADJUSTABLE                0x00008000u
#define HV_MAP_GPA_CONTENT_MASK              0x00030000u // 17:16, one of the three below or 0
#define HV_MAP_GPA_NO_ACCESS                 0x00010000u
#define HV_MAP_GPA_ZEROED                    0x00020000u
#define HV_MAP_GPA_ONES                      0x00030000u
#define HV_MAP_GPA_NO_OVERLAY                0x00100000u
#define HV_MAP_GPA_NOT_CACHED                0x00200000u
#define HV_MAP_GPA_CLEAR_ACCESSED            0x01000000u
#define HV_MAP_GPA_SET_ACCESSED              0x02000000u
#define HV_MAP_GPA_CLEAR_DIRTY               0x04000000u
#define HV_MAP_GPA_SET_DIRTY                 0x08000000u
#define HV_MAP_GPA_DONT_SET_RANGE_ACCESSED   0x10000000u
#define HV_MAP_GPA_LARGE_PAGE                0x80000000u
// Every bit with a meaning; the rest is rsvdZ.
#define HV_MAP_GPA_DEFINED_MASK 0x9F33807Fu

#define HV_UNMAP_GPA_KEEP_PRECOMMITTED 0x00000001u
#define HV_UNMAP_GPA_LARGE_PAGE        0x00000002u

// HV_GPA_PAGE_RANGE: bit 11 clear: additional pages 10:0 and base page 63:12; set: additional
// large pages 10:0, size bit 12, base large page 63:21.
#define HV_GPA_PAGE_RANGE_ADDITIONAL_MASK  UINT64_C(0x7FF)
#define HV_GPA_PAGE_RANGE_LARGE            HV_BIT(11)
#define HV_GPA_PAGE_RANGE_BASE_SHIFT       12
#define HV_GPA_PAGE_RANGE_LARGE_SIZE_1GB   HV_BIT(12)
#define HV_GPA_PAGE_RANGE_LARGE_RSVD_MASK  UINT64_C(0x1FE000) // 20:13
#define HV_GPA_PAGE_RANGE_LARGE_BASE_SHIFT 21

// GVA range element: simple form, and the extended form of HV_FLUSH_USE_EXTENDED_RANGE_FORMAT.
#define HV_GVA_RANGE_ADDITIONAL_MASK     UINT64_C(0xFFF)
#define HV_GVA_RANGE_PAGE_SHIFT          12
#define HV_GVA_RANGE_EX_ADDITIONAL_MASK  UINT64_C(0x7FF)
#define HV_GVA_RANGE_EX_LARGE            HV_BIT(11)
#define HV_GVA_RANGE_EX_SIZE_1GB         HV_BIT(12)
#define HV_GVA_RANGE_EX_LARGE_PAGE_SHIFT 21

// HV_PROXIMITY_DOMAIN_INFO
#define HV_PROXIMITY_PREFERRED  0x00000001u
#define HV_PROXIMITY_RSVD_MASK  0x7FFFFFFEu
#define HV_PROXIMITY_INFO_VALID 0x80000000u

struct hv_proximity_domain_info {
    uint32_t domain_id; // 0
    uint32_t flags;     // 4 HV_PROXIMITY_*
} HV_ABI;
HV_ASSERT_SIZE(struct hv_proximity_domain_info, 8);

// HV_CACHE_TYPE
#define HV_CACHE_TYPE_UNCACHED        0
#define HV_CACHE_TYPE_WRITE_COMBINING 1
#define HV_CACHE_TYPE_WRITE_THROUGH   4
#define HV_CACHE_TYPE_WRITE_PROTECTED 5
#define HV_CACHE_TYPE_WRITE_BACK      6

// Access result of ReadGpa and WriteGpa.
#define HV_ACCESS_GPA_SUCCESS                0
#define HV_ACCESS_GPA_UNMAPPED               1
#define HV_ACCESS_GPA_READ_INTERCEPT         2
#define HV_ACCESS_GPA_WRITE_INTERCEPT        3
#define HV_ACCESS_GPA_ILLEGAL_OVERLAY_ACCESS 4
#define HV_ACCESS_GPA_MAX_BYTES              16
#define HV_ACCESS_GPA_CACHE_TYPE_MASK        UINT64_C(0xFF)

// HV_TRANSLATE_GVA_CONTROL_FLAGS
#define HV_TRANSLATE_GVA_VALIDATE_READ       HV_BIT(0)
#define HV_TRANSLATE_GVA_VALIDATE_WRITE      HV_BIT(1)
#define HV_TRANSLATE_GVA_VALIDATE_EXECUTE    HV_BIT(2)
#define HV_TRANSLATE_GVA_VALIDATE_MASK       UINT64_C(0x7)
#define HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT    HV_BIT(3)
#define HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS HV_BIT(4)
#define HV_TRANSLATE_GVA_TLB_FLUSH_INHIBIT   HV_BIT(5)
#define HV_TRANSLATE_GVA_SUPERVISOR_ACCESS   HV_BIT(6)
#define HV_TRANSLATE_GVA_USER_ACCESS         HV_BIT(7)
#define HV_TRANSLATE_GVA_ENFORCE_SMAP        HV_BIT(8)
#define HV_TRANSLATE_GVA_OVERRIDE_SMAP       HV_BIT(9)
#define HV_TRANSLATE_GVA_SHADOW_STACK        HV_BIT(10)
#define HV_TRANSLATE_GVA_DEFINED_MASK        UINT64_C(0x7FF)
#define HV_TRANSLATE_GVA_INPUT_VTL_SHIFT     56
#define HV_TRANSLATE_GVA_INPUT_VTL_MASK      UINT64_C(0xFF00000000000000)

// Translation result: code 31:0, cache type 39:32, overlay page bit 40.
#define HV_TRANSLATE_RESULT_CODE_MASK        UINT64_C(0xFFFFFFFF)
#define HV_TRANSLATE_RESULT_CACHE_TYPE_SHIFT 32
#define HV_TRANSLATE_RESULT_CACHE_TYPE_MASK  UINT64_C(0x000000FF00000000)
#define HV_TRANSLATE_RESULT_OVERLAY_PAGE     HV_BIT(40)

#define HV_TRANSLATE_GVA_SUCCESS                    0
#define HV_TRANSLATE_GVA_PAGE_NOT_PRESENT           1
#define HV_TRANSLATE_GVA_PRIVILEGE_VIOLATION        2
#define HV_TRANSLATE_GVA_INVALID_PAGE_TABLE_FLAGS   3
#define HV_TRANSLATE_GVA_GPA_UNMAPPED               4
#define HV_TRANSLATE_GVA_GPA_NO_READ_ACCESS         5
#define HV_TRANSLATE_GVA_GPA_NO_WRITE_ACCESS        6
#define HV_TRANSLATE_GVA_GPA_ILLEGAL_OVERLAY_ACCESS 7
#define HV_TRANSLATE_GVA_INTERCEPT                  8
#define HV_TRANSLATE_GVA_GPA_UNACCEPTED             9

// HV_INTERCEPT_TYPE
#define HV_INTERCEPT_TYPE_X64_IO_PORT                               0x00
#define HV_INTERCEPT_TYPE_X64_MSR                                   0x01
#define HV_INTERCEPT_TYPE_X64_CPUID                                 0x02
#define HV_INTERCEPT_TYPE_EXCEPTION                                 0x03
#define HV_INTERCEPT_TYPE_MMIO                                      0x05
#define HV_INTERCEPT_TYPE_X64_GLOBAL_CPUID                          0x06
#define HV_INTERCEPT_TYPE_X64_APIC_SMI                              0x07
#define HV_INTERCEPT_TYPE_HYPERCALL                                 0x08
#define HV_INTERCEPT_TYPE_X64_APIC_INIT_SIPI                        0x09
#define HV_INTERCEPT_TYPE_MC_UPDATE_PATCH_LEVEL_MSR_READ            0x0A
#define HV_INTERCEPT_TYPE_X64_APIC_WRITE                            0x0B
#define HV_INTERCEPT_TYPE_X64_MSR_INDEX                             0x0C
#define HV_INTERCEPT_TYPE_UNKNOWN_SYNIC_CONNECTION                  0x0D
#define HV_INTERCEPT_TYPE_X64_APIC_EOI                              0x0E
#define HV_INTERCEPT_TYPE_RETARGET_INTERRUPT_WITH_UNKNOWN_DEVICE_ID 0x0F
#define HV_INTERCEPT_TYPE_X64_EXCEPTION_TRAP                        0x10
#define HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE                         0x11
#define HV_INTERCEPT_TYPE_REGISTER                                  0x12
#define HV_INTERCEPT_TYPE_SYSTEM_RESET_EXTENDED                     0x13

// Access mask given to InstallIntercept (a mask, unlike HV_INTERCEPT_ACCESS_* in messages).
#define HV_INTERCEPT_ACCESS_MASK_NONE    0x0u
#define HV_INTERCEPT_ACCESS_MASK_READ    0x1u
#define HV_INTERCEPT_ACCESS_MASK_WRITE   0x2u
#define HV_INTERCEPT_ACCESS_MASK_EXECUTE 0x4u
#define HV_INTERCEPT_ACCESS_MASK_ALL     0x7u

// Access type reported in intercept messages.
#define HV_INTERCEPT_ACCESS_READ    0
#define HV_INTERCEPT_ACCESS_WRITE   1
#define HV_INTERCEPT_ACCESS_EXECUTE 2

// Intercept parameter of HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE: first 15:0, last 31:16, inclusive.
#define HV_INTERCEPT_IO_RANGE_FIRST_MASK UINT64_C(0x0000FFFF)
#define HV_INTERCEPT_IO_RANGE_LAST_SHIFT 16
#define HV_INTERCEPT_IO_RANGE_LAST_MASK  UINT64_C(0xFFFF0000)

// Action of a registered MSR intercept result, and of the UnimplementedMsrAction property.
#define HV_UNIMPLEMENTED_MSR_ACTION_FAULT                  0
#define HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO 1

// GPA page access state: flags of the query, bits of each answer byte.
#define HV_GPA_ACCESS_STATE_CLEAR_ACCESSED HV_BIT(0)
#define HV_GPA_ACCESS_STATE_SET_ACCESSED   HV_BIT(1)
#define HV_GPA_ACCESS_STATE_CLEAR_DIRTY    HV_BIT(2)
#define HV_GPA_ACCESS_STATE_SET_DIRTY      HV_BIT(3)
#define HV_GPA_ACCESS_STATE_ACCESSED       0x1
#define HV_GPA_ACCESS_STATE_DIRTY          0x2

#endif
