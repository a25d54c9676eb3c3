// SPDX-License-Identifier: BSD-2-Clause-Patent
// The other processors, by the MP Services protocol (PI 1.8 vol. 2, 13.4), which GNU-EFI
// does not declare.
#include <stdatomic.h>
#include <stdint.h>

#include "root/efi.h"

#define CHECK_TIMEOUT_US 5000000u

typedef void(EFIAPI mp_procedure)(void *argument);

struct mp_services {
    EFI_STATUS(EFIAPI *get_number)(struct mp_services *this, UINTN *all, UINTN *enabled);
    void *get_info;
    EFI_STATUS(EFIAPI *startup_all)
    (struct mp_services *this, mp_procedure *procedure, BOOLEAN single_thread, EFI_EVENT event,
     UINTN timeout, void *argument, UINTN **failed);
    // The rest is not used.
};

struct check {
    bool (*check)(void);
    _Atomic UINTN passed;
};

static void EFIAPI run_check(void *argument)
{
    struct check *check = argument;

    if (check->check()) {
        atomic_fetch_add(&check->passed, 1);
    }
}

// NULL: firmware without it starts no other processor.
static struct mp_services *mp_services(void)
{
    static EFI_GUID guid = {
        0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};
    struct mp_services *mp;

    return EFI_ERROR(efi_system->BootServices->LocateProtocol(&guid, NULL, (void **)&mp)) ? NULL
                                                                                          : mp;
}

bool smp_check_all(bool (*function)(void), UINTN *count)
{
    struct check check = {function, 0};
    struct mp_services *mp = mp_services();
    UINTN all;

    *count = 1;
    run_check(&check);
    if (!mp) {
        return check.passed == 1;
    }
    if (EFI_ERROR(mp->get_number(mp, &all, count))) {
        return false;
    }
    if (*count > 1 &&
        EFI_ERROR(mp->startup_all(mp, run_check, FALSE, NULL, CHECK_TIMEOUT_US, &check, NULL))) {
        return false;
    }
    return check.passed == *count;
}

// ---- work beside the boot processor ------------------------------------------------------------

static void (*work)(void);

static void EFIAPI run_work(void *argument)
{
    (void)argument;
    work();
}

void smp_start_others(void (*function)(void))
{
    struct mp_services *mp = mp_services();
    UINTN all, enabled;
    EFI_EVENT event;

    if (!mp || EFI_ERROR(mp->get_number(mp, &all, &enabled)) || enabled == 1 ||
        EFI_ERROR(efi_system->BootServices->CreateEvent(0, 0, NULL, NULL, &event))) {
        return;
    }
    work = function;
    (void)mp->startup_all(mp, run_work, FALSE, event, 0, NULL, NULL);
}
