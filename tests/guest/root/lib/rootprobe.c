// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "rootprobe.h"

#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "percpu.h"
#include "tap.h"

#define MAP_BYTES 0x10000

// MP Services (PI 1.8 vol. 2, 13.4), as far as it is used; GNU-EFI does not declare it.
struct mp_services {
    EFI_STATUS(EFIAPI *get_number)(struct mp_services *this, UINTN *all, UINTN *enabled);
    void *get_info;
    EFI_STATUS(EFIAPI *startup_all)
    (struct mp_services *this, void(EFIAPI *procedure)(void *argument), BOOLEAN single_thread,
     EFI_EVENT event, UINTN timeout, void *argument, UINTN **failed);
};

EFI_SYSTEM_TABLE *probe_efi;
static struct percpu only;

struct percpu *percpu(void)
{
    return &only;
}

uint16_t percpu_cs(void)
{
    uint16_t cs;
    __asm__("mov %%cs, %0" : "=r"(cs));
    return cs;
}

uint16_t percpu_ss(void)
{
    uint16_t ss;
    __asm__("mov %%ss, %0" : "=r"(ss));
    return ss;
}

struct trap efi_try(trap_body *body, void *context)
{
    static struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idtr;
    uint64_t flags = read_rflags();
    cli();
    __asm__ volatile("sidt %0" : "=m"(idtr));
    trap_init(percpu_cs(), false);
    struct trap trap = trap_try(body, context);
    __asm__ volatile("lidt %0" : : "m"(idtr));
    if (flags & RFLAGS_IF) {
        sti();
    }
    return trap;
}

struct access {
    uint64_t address;
    uint8_t value;
};

static void body_read(void *context)
{
    struct access *a = context;
    a->value = *(volatile uint8_t *)a->address;
}

static void body_write(void *context)
{
    struct access *a = context;
    *(volatile uint8_t *)a->address = a->value;
}

struct trap efi_try_read8(uint64_t address, uint8_t *value)
{
    struct access a = {address, 0};
    struct trap trap = efi_try(body_read, &a);
    *value = a.value;
    return trap;
}

struct trap efi_try_write8(uint64_t address, uint8_t value)
{
    struct access a = {address, value};
    return efi_try(body_write, &a);
}

struct on_all {
    void (*body)(void *context);
    void *context;
};

static void EFIAPI run_body(void *argument)
{
    const struct on_all *all = argument;
    all->body(all->context);
}

// NULL: this is the only processor.
static struct mp_services *others(UINTN *enabled)
{
    static EFI_GUID guid = {
        0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};
    struct mp_services *mp = NULL;
    UINTN count = 1;
    if (EFI_ERROR(probe_efi->BootServices->LocateProtocol(&guid, NULL, (void **)&mp)) ||
        EFI_ERROR(mp->get_number(mp, &count, enabled)) || *enabled == 1) {
        return NULL;
    }
    return mp;
}

uint32_t efi_on_all(void (*body)(void *context), void *context)
{
    UINTN enabled = 1;
    struct on_all all = {body, context};
    body(context);
    struct mp_services *mp = others(&enabled);
    if (!mp) {
        return 1;
    }
    EFI_STATUS status = mp->startup_all(mp, run_body, TRUE, NULL, 0, &all, NULL);
    return EFI_ERROR(status) ? 0 : (uint32_t)enabled;
}

bool efi_start_others(void (*body)(void *context), void *context)
{
    static struct on_all all;
    UINTN enabled = 1;
    EFI_EVENT event;
    struct mp_services *mp = others(&enabled);
    all = (struct on_all){body, context};
    return mp && !EFI_ERROR(probe_efi->BootServices->CreateEvent(0, 0, NULL, NULL, &event)) &&
           !EFI_ERROR(mp->startup_all(mp, run_body, FALSE, event, 0, &all, NULL));
}

void *efi_pages(uint64_t count, bool executable)
{
    EFI_PHYSICAL_ADDRESS address = 0;
    EFI_STATUS status = probe_efi->BootServices->AllocatePages(
        AllocateAnyPages, executable ? EfiLoaderCode : EfiLoaderData, count, &address);
    if (EFI_ERROR(status)) {
        tap_bail_out("no memory for %lu pages", count);
    }
    return (void *)address;
}

static uint8_t *memory_map(UINTN *size, UINTN *step)
{
    static uint8_t map[MAP_BYTES];
    UINTN key;
    UINT32 version;
    *size = sizeof(map);
    if (EFI_ERROR(probe_efi->BootServices->GetMemoryMap(size, (EFI_MEMORY_DESCRIPTOR *)map, &key,
                                                        step, &version))) {
        tap_bail_out("no memory map");
    }
    return map;
}

uint64_t efi_largest_reserved(uint64_t *base)
{
    UINTN size, step;
    const uint8_t *map = memory_map(&size, &step);
    uint64_t pages = 0;
    for (UINTN at = 0; at + step <= size; at += step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(map + at);
        // Firmware puts its flash and MMIO there as well, but not as RAM would be described.
        if (d->Type == EfiReservedMemoryType && (d->Attribute & EFI_MEMORY_WB) &&
            d->NumberOfPages > pages) {
            pages = d->NumberOfPages;
            *base = d->PhysicalStart;
        }
    }
    return pages;
}

uint64_t efi_memory_end(void)
{
    UINTN size, step;
    const uint8_t *map = memory_map(&size, &step);
    uint64_t end = 0;
    for (UINTN at = 0; at + step <= size; at += step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(map + at);
        uint64_t last = (d->PhysicalStart >> 12) + d->NumberOfPages;
        if (d->Type == EfiConventionalMemory && last > end) {
            end = last;
        }
    }
    return end;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table);
EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *table)
{
    (void)image;
    probe_efi = table;
    // The firmware would reset the machine in the middle of a long probe.
    table->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
    con_init();
    con_printf("\n");
    hv_page = efi_pages(1, true);
    root_main();
    tap_done();
}
