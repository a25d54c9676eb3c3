// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor's own address space: one map, shared by the loader (which builds it) and the
// hypervisor (which runs in it). Guest memory is not in it; see docs/memory.md.
#pragma once

#define PAGE_SHIFT      12
#define PAGE_SIZE       0x1000ul
#define PAGE_MASK       (~(PAGE_SIZE - 1))
#define LARGE_PAGE_SIZE 0x200000ul

// Pages owned by the hypervisor, at HV_DIRECT_BASE + physical address; only those are present.
#define HV_DIRECT_BASE 0xffff800000000000ul
// Per-LP windows through which guest pages are reached, HV_WINDOW_SLOTS pages an LP.
#define HV_WINDOW_BASE  0xfffffd0000000000ul
#define HV_WINDOW_SLOTS 64ul
// Device registers: page 0 is the local APIC.
#define HV_MMIO_BASE 0xfffffd8000000000ul
// One area an LP. struct lp is found by masking the stack pointer, so every stack is inside it.
#define HV_LP_BASE      0xfffffe0000000000ul
#define HV_LP_AREA_SIZE 0x10000ul
// The hypervisor's image (linked there; kernel code model).
#define HV_IMAGE_BASE 0xffffffff80000000ul

// Pages of an LP area. Those not named are guard pages: never present.
#define LP_AREA_DATA_PAGE   0ul // struct lp
#define LP_AREA_DATA_PAGES  2ul
#define LP_AREA_NMI_PAGE    3ul // IST 1: NMI
#define LP_AREA_NMI_PAGES   2ul
#define LP_AREA_FAULT_PAGE  6ul // IST 2: #DF and #MC
#define LP_AREA_FAULT_PAGES 2ul
#define LP_AREA_STACK_PAGE  9ul // main stack, up to the end of the area
#define LP_AREA_STACK_PAGES 7ul
#define LP_AREA_PAGES                                                                              \
    (LP_AREA_DATA_PAGES + LP_AREA_NMI_PAGES + LP_AREA_FAULT_PAGES + LP_AREA_STACK_PAGES)
