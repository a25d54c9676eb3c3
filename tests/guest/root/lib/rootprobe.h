// SPDX-License-Identifier: BSD-2-Clause-Patent
// A probe that runs as the root: an EFI application with boot services.
#ifndef ROOTPROBE_H
#define ROOTPROBE_H

#include <efi.h>
#include <stdbool.h>
#include <stdint.h>

#include "trap.h"

extern EFI_SYSTEM_TABLE *probe_efi;

// The probe; runs on the boot processor. When it returns the plan is printed.
void root_main(void);

// As trap_try, which needs this program's interrupt table: the firmware's interrupts are off
// meanwhile.
struct trap efi_try(trap_body *body, void *context);
struct trap efi_try_read8(uint64_t address, uint8_t *value);
struct trap efi_try_write8(uint64_t address, uint8_t value);

// Runs `body` on every processor that the firmware has enabled, this one first; returns how many.
uint32_t efi_on_all(void (*body)(void *context), void *context);

// Starts `body` on all processors but this one, and does not wait. False: there is no other.
bool efi_start_others(void (*body)(void *context), void *context);

// Pages of ordinary memory, for as long as the program runs; never fails.
void *efi_pages(uint64_t count, bool executable);

// The largest region of EfiReservedMemoryType: pages from *base on, the count is returned.
uint64_t efi_largest_reserved(uint64_t *base);

// The last page number of ordinary memory in the map, plus one.
uint64_t efi_memory_end(void);

#endif
