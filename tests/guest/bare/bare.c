// SPDX-License-Identifier: BSD-2-Clause-Patent
// The machine after Corbel has refused to launch: no processor is a guest, nothing is left of it,
// and the firmware's services work on all processors.
#include "cpu.h"
#include "hvcall.h"
#include "rootprobe.h"
#include "tap.h"

static volatile uint32_t asked, guests;

static void look(void *context)
{
    (void)context;
    __asm__ volatile("lock incl %0" : "+m"(asked));
    if (hv_present()) {
        __asm__ volatile("lock incl %0" : "+m"(guests));
    }
}

static void test_svm_off(void)
{
    if (!(cpuid(0x80000001, 0).ecx & 4)) {
        tap_skip("no SVM", "SVM is off again");
        return;
    }
    tap_ok(!(rdmsr(MSR_EFER) & EFER_SVME), "SVM is off again");
    tap_is(rdmsr(MSR_VM_HSAVE_PA), 0, "and its host state area is gone");
}

static bool may_be_read(uint64_t base, uint64_t pages)
{
    bool all = true;
    for (uint64_t page = 0; page < pages; page += 16) {
        uint8_t value;
        all &= !efi_try_read8(base + page * 4096, &value).taken;
    }
    return all;
}

void root_main(void)
{
    uint64_t base = 0;
    for (int i = 0; i < 3; i++) {
        asked = guests = 0;
        uint32_t count = efi_on_all(look, NULL);
        tap_ok(asked == count && !guests, "none of %u processors is a guest", count);
    }
    test_svm_off();
    uint64_t pages = efi_largest_reserved(&base);
    tap_ok(may_be_read(base, pages), "all reserved memory can be read (%lu pages)", pages);
    tap_ok(!EFI_ERROR(probe_efi->BootServices->Stall(10000)), "the firmware's clock runs");
}
