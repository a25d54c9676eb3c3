// SPDX-License-Identifier: BSD-2-Clause-Patent
// Single pages of a guest's translations (APM 2 15.16.3, APM 3 INVLPGA).
#include "svm/svm.h"

void svm_invalidate_pages(uint32_t asid, const struct flush_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t gva = list->range[i] & PAGE_MASK, more = list->range[i] & ~PAGE_MASK;

        for (uint64_t n = 0; n <= more; n++)
            __asm__ volatile("invlpga %0, %1" : : "a"(gva + n * PAGE_SIZE), "c"(asid));
    }
}
