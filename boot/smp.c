// SPDX-License-Identifier: BSD-2-Clause-Patent
// Processors, by the MP Services protocol (PI 1.8 vol. 2, 13.4). GNU-EFI does not declare it.
#include "boot/loader.h"
#include "corbel/x86.h"

enum { PROCESSOR_IS_BSP = 1u << 0, PROCESSOR_ENABLED = 1u << 1, PROCESSOR_HEALTHY = 1u << 2 };

struct processor_information {
    uint64_t processor_id; // APIC id
    uint32_t status;
    uint32_t location[3];
    uint32_t extended[6]; // newer firmware's struct is longer
};

typedef void(EFIAPI mp_procedure)(void *argument);

struct mp_services {
    EFI_STATUS(EFIAPI *get_number)(struct mp_services *this, UINTN *all, UINTN *enabled);
    EFI_STATUS(EFIAPI *get_info)
    (struct mp_services *this, UINTN number, struct processor_information *info);
    EFI_STATUS(EFIAPI *startup_all)
    (struct mp_services *this, mp_procedure *procedure, BOOLEAN single_thread, EFI_EVENT event,
     UINTN timeout, void *argument, UINTN **failed);
    void *startup_this;
    void *switch_bsp;
    void *enable_disable;
    void *who_am_i;
};

static struct mp_services *find_services(void)
{
    static EFI_GUID guid = {
        0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};
    struct mp_services *mp;
    return EFI_ERROR(BS->LocateProtocol(&guid, NULL, (void **)&mp)) ? NULL : mp;
}

uint32_t smp_apic_id(void)
{
    if (cpuid(0, 0).eax >= 0xb) {
        struct cpuid_regs r = cpuid(0xb, 0);
        if (r.ebx)
            return r.edx;
    }
    return cpuid(1, 0).ebx >> 24;
}

// Insert by APIC id. The caller has checked that there is room.
static void insert(struct launch_lp *lps, uint32_t *count, uint32_t apic_id)
{
    uint32_t at = (*count)++;
    for (; at && lps[at - 1].apic_id > apic_id; at--)
        lps[at] = lps[at - 1];
    lps[at] = (struct launch_lp){.apic_id = apic_id};
}

static bool collect_all(struct mp_services *mp, struct launch_lp *lps, uint32_t *count,
                        struct reason *reason)
{
    UINTN all, enabled;
    struct processor_information info;
    if (EFI_ERROR(mp->get_number(mp, &all, &enabled)))
        return refuse(reason, "the firmware does not say how many processors there are");
    for (UINTN i = 0; i < all; i++) {
        if (EFI_ERROR(mp->get_info(mp, i, &info)))
            return refuse(reason, "the firmware does not describe processor %lu", i);
        if (!(info.status & PROCESSOR_ENABLED) || !(info.status & PROCESSOR_HEALTHY))
            continue;
        if (*count == LAUNCH_MAX_LPS)
            return refuse(reason, "more than %u processors", LAUNCH_MAX_LPS);
        insert(lps, count, (uint32_t)info.processor_id);
    }
    return true;
}

bool smp_collect(struct launch_lp *lps, uint32_t *count, uint32_t *boot_lp, struct reason *reason)
{
    struct mp_services *mp = find_services();
    uint32_t self = smp_apic_id();
    *count = 0;
    if (!mp)
        insert(lps, count, self);
    else if (!collect_all(mp, lps, count, reason))
        return false;
    for (*boot_lp = 0; *boot_lp < *count; ++*boot_lp)
        if (lps[*boot_lp].apic_id == self)
            return true;
    return refuse(reason, "the boot processor, APIC id %u, is not among the firmware's", self);
}

EFI_STATUS smp_run_on_others(mp_procedure *procedure, void *argument, uint64_t timeout)
{
    struct mp_services *mp = find_services();
    return mp ? mp->startup_all(mp, procedure, FALSE, NULL, timeout, argument, NULL)
              : EFI_UNSUPPORTED;
}
