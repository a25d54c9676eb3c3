// SPDX-License-Identifier: BSD-2-Clause-Patent
// The firmware as the root uses it. Boot services run at TPL_APPLICATION and may leave interrupts
// enabled that were disabled.
#pragma once
#include <efi.h>
#include <stdbool.h>

// Set by efi_main before anything else runs.
extern EFI_SYSTEM_TABLE *efi_system;
extern EFI_HANDLE efi_image;

// ---- smp.c -------------------------------------------------------------------------------------

// Whether every processor that the firmware has enabled answers true; *count says how many were
// asked. `check` runs on each processor, on the boot processor too, without boot services.
bool smp_check_all(bool (*check)(void), UINTN *count);

// Starts `function` on all processors but the boot processor, if there are others, and does not
// wait. It has no boot services, and interrupts are disabled there. A processor that the firmware
// cannot start (minroot) does not take part.
void smp_start_others(void (*function)(void));
