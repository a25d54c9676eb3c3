// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the UEFI parts of corbel.efi share. Everything here runs on the boot processor with boot
// services, at TPL_APPLICATION, unless it says otherwise.
#pragma once

#include <efi.h>
#include <efilib.h>

#include "boot/conf.h"
#include "corbel/launch.h"

#define REASON_SIZE 256u

// Why Corbel is not launched; one line without a newline.
struct reason {
    char text[REASON_SIZE];
};

// Fill the reason, and return false for the caller to pass on.
bool refuse(struct reason *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));

// ---- log.c: the loader's lines go to ConOut, port 0xE9 and a UART
// --------------------------------- Choose the targets besides ConOut: CONF_LOG_*, at most one COM
// port.
void log_open(const struct conf_boot *conf);
// Print one line, "corbel: " before it and a newline behind it. Formats: boot/text.h.
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- files.c: the volume that corbel.efi was loaded from --------------------------------------
// Read a whole file that lies beside the image. EFI_NOT_FOUND: there is none. The text is allocated
// from the pool.
EFI_STATUS file_read_beside(EFI_LOADED_IMAGE *self, const CHAR16 *name, char **text, size_t *size);
// Load and start an image of the same volume: an absolute path, or one beside corbel.efi. Reports a
// failure by itself, and returns the image's status.
EFI_STATUS file_start(EFI_HANDLE parent, EFI_LOADED_IMAGE *self, const char *path,
                      const char *options);

// ---- memory.c ---------------------------------------------------------------------------------
// Allocate zeroed EfiReservedMemoryType; size in bytes, aligned as LARGE_PAGE_SIZE. 0: none.
uint64_t memory_alloc_block(uint64_t size);
void memory_free_block(uint64_t pa, uint64_t size);
// System RAM by the UEFI map. False: more pieces than LAUNCH_MAX_RANGES, or no map.
bool memory_ram(struct launch_range *ranges, uint32_t *count);

// ---- acpi.c -----------------------------------------------------------------------------------
// Physical address of the RSDP; 0: none.
uint64_t acpi_rsdp(void);
// I/O port of the PM timer; 0: none.
uint16_t acpi_pm_timer(uint64_t rsdp);
// Tells whoever reads the MADT from now on of the first `rootproc` root VPs' processors only.
void acpi_hide_processors(uint64_t rsdp, const struct launch_lp *lps, uint32_t count,
                          uint32_t rootproc);

// ---- tsc.c ------------------------------------------------------------------------------------
uint64_t tsc_frequency(uint64_t rsdp); // Hz; takes some 50 ms

// ---- smp.c ------------------------------------------------------------------------------------
// Processors that the firmware has enabled, ascending by APIC id, and the boot processor's index.
bool smp_collect(struct launch_lp *lps, uint32_t *count, uint32_t *boot_lp, struct reason *reason);
// Run a procedure on all other processors at once and wait. Microseconds; 0: for ever.
EFI_STATUS smp_run_on_others(void(EFIAPI *procedure)(void *argument), void *argument,
                             uint64_t timeout);
// APIC id of this processor. Any processor.
uint32_t smp_apic_id(void);

// ---- launch.c ---------------------------------------------------------------------------------
// Launch on every processor and check it there. False: nothing has changed, *reason says why. True
// with *complete false: launched, yet a processor is outside; *reason says which.
bool launch(const struct conf_boot *conf, bool *complete, uint32_t *processors,
            struct reason *reason);
