// SPDX-License-Identifier: BSD-2-Clause-Patent
// As much of ACPI as finding the PM timer and hiding processors take
// (ACPI 6.5: 5.2.5, 5.2.7, 5.2.8, 5.2.9).
#include "boot/loader.h"
#include "boot/minroot.h"

// Byte offsets.
enum {
    RSDP_REVISION = 15,
    RSDP_RSDT = 16,
    RSDP_XSDT = 24,
    TABLE_LENGTH = 4,
    TABLE_HEADER = 36,
    FADT_PM_TIMER = 76,
    FADT_PM_TIMER_LENGTH = 91,
    FADT_X_PM_TIMER = 208, // generic address: space at 0, address at 4
    ADDRESS_SPACE_IO = 1
};

static uint32_t read32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t read64(const uint8_t *at)
{
    return read32(at) | (uint64_t)read32(at + 4) << 32;
}

static uint64_t configuration_table(const EFI_GUID *guid)
{
    for (UINTN i = 0; i < ST->NumberOfTableEntries; i++)
        if (!CompareGuid(&ST->ConfigurationTable[i].VendorGuid, (EFI_GUID *)guid))
            return (uint64_t)ST->ConfigurationTable[i].VendorTable;
    return 0;
}

uint64_t acpi_rsdp(void)
{
    static const EFI_GUID acpi_2 = ACPI_20_TABLE_GUID, acpi_1 = ACPI_TABLE_GUID;
    uint64_t rsdp = configuration_table(&acpi_2);
    return rsdp ? rsdp : configuration_table(&acpi_1);
}

static const uint8_t *find_table(uint64_t rsdp, const char *signature)
{
    const uint8_t *pointer = (const uint8_t *)rsdp;
    bool is_xsdt = pointer[RSDP_REVISION] >= 2 && read64(pointer + RSDP_XSDT);
    const uint8_t *list = (const uint8_t *)(is_xsdt ? read64(pointer + RSDP_XSDT)
                                                    : (uint64_t)read32(pointer + RSDP_RSDT));
    uint32_t size = is_xsdt ? 8 : 4;
    for (uint32_t at = TABLE_HEADER; list && at + size <= read32(list + TABLE_LENGTH); at += size) {
        const uint8_t *table =
            (const uint8_t *)(is_xsdt ? read64(list + at) : (uint64_t)read32(list + at));
        if (table && read32(table) == read32((const uint8_t *)signature))
            return table;
    }
    return NULL;
}

void acpi_hide_processors(uint64_t rsdp, const struct launch_lp *lps, uint32_t count,
                          uint32_t rootproc)
{
    uint8_t *madt = rsdp && rootproc < count ? (uint8_t *)find_table(rsdp, "APIC") : NULL;
    if (madt)
        minroot_hide(madt, read32(madt + TABLE_LENGTH), lps, count, rootproc);
}

uint16_t acpi_pm_timer(uint64_t rsdp)
{
    const uint8_t *fadt = rsdp ? find_table(rsdp, "FACP") : NULL;
    if (!fadt)
        return 0;
    uint64_t port = fadt[FADT_PM_TIMER_LENGTH] == 4 ? read32(fadt + FADT_PM_TIMER) : 0;
    if (read32(fadt + TABLE_LENGTH) >= FADT_X_PM_TIMER + 12 &&
        fadt[FADT_X_PM_TIMER] == ADDRESS_SPACE_IO && read64(fadt + FADT_X_PM_TIMER + 4))
        port = read64(fadt + FADT_X_PM_TIMER + 4);
    return port <= 0xfffc ? (uint16_t)port : 0;
}
