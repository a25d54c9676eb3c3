// SPDX-License-Identifier: BSD-2-Clause-Patent
// The DSDT: \_S5, and under \_SB the processors, COM1, the RTC and the VMBus in its module device.
#include "acpi_priv.h"
#include "aml.h"
#include "mem.h"

enum {
    STA_PRESENT = 0xf, // present, enabled, shown, working (ACPI 6.5, 6.3.7)
    COM1_PORTS = 8,
    RTC_PORT = 0x70,
    RTC_PORTS = 2,
    RTC_IRQ = 8
};

static void dsdt_s5(struct aml *aml)
{
    aml_name(aml, "_S5");
    aml_open_package(aml, 4); // PM1a, PM1b, two reserved
    aml_integer(aml, ACPI_SLP_TYP_S5);
    aml_integer(aml, 0);
    aml_integer(aml, 0);
    aml_integer(aml, 0);
    aml_close(aml);
}

// Windows wants a device for each processor of the MADT; Linux and FreeBSD match them by _UID.
static void dsdt_processor(struct aml *aml, uint32_t index)
{
    static const char digits[] = "0123456789ABCDEF";
    const char name[] = {'P', digits[index >> 8 & 0xf], digits[index >> 4 & 0xf],
                         digits[index & 0xf], '\0'};
    _Static_assert(ACPI_VPS_MAX <= 0x1000, "three digits name every processor");
    aml_open_device(aml, name);
    aml_name(aml, "_HID");
    aml_string(aml, "ACPI0007");
    aml_name(aml, "_UID");
    aml_integer(aml, index);
    aml_close(aml);
}

static void dsdt_com1(struct aml *aml, const struct acpi_config *config)
{
    aml_open_device(aml, "COM1");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0501");
    aml_name(aml, "_UID");
    aml_integer(aml, 1);
    aml_name(aml, "_DDN");
    aml_string(aml, "COM1");
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    aml_io(aml, config->com1_port, COM1_PORTS);
    aml_interrupt_edge(aml, config->gsi_base + config->com1_irq);
    aml_close_resources(aml);
    aml_close(aml);
}

static void dsdt_rtc(struct aml *aml, const struct acpi_config *config)
{
    aml_open_device(aml, "RTC0");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0B00");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    aml_io(aml, RTC_PORT, RTC_PORTS);
    aml_interrupt_edge(aml, config->gsi_base + RTC_IRQ);
    aml_close_resources(aml);
    aml_close(aml);
}

// Guests take MMIO for VMBus devices from the address ranges of an ancestor of the VMBus device,
// and Linux refuses a VMBus device that has no _CRS at all. Names as in Hyper-V generation 2. Linux
// matches "VMBUS" and "VMBus"; FreeBSD knows only "VMBUS" and minds the case, hence the _CID.
static void dsdt_vmbus(struct aml *aml, const struct acpi_config *config)
{
    aml_open_device(aml, "VMOD");
    aml_name(aml, "_HID");
    aml_string(aml, "ACPI0004");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    const struct acpi_window *windows[] = {&config->vmbus_low, &config->vmbus_high};
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        if (windows[i]->size != 0) {
            aml_memory_window(aml, windows[i]->base, windows[i]->size);
        }
    }
    aml_close_resources(aml);

    aml_open_device(aml, "VMBS");
    aml_name(aml, "_HID");
    aml_string(aml, "VMBus");
    aml_name(aml, "_CID");
    aml_string(aml, "VMBUS");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_name(aml, "_DDN");
    aml_string(aml, "VMBUS");
    aml_name(aml, "_STA");
    aml_integer(aml, STA_PRESENT);
    aml_name(aml, "_CRS");
    aml_open_resources(aml);
    if (config->vmbus_irq) {
        aml_irq(aml, (uint8_t)config->vmbus_irq);
    }
    aml_close_resources(aml);
    aml_close(aml);
    aml_close(aml);
}

void acpi_build_dsdt(struct acpi_build *build, const struct acpi_config *config)
{
    struct acpi_header *header = acpi_reserve(build, sizeof(*header), ACPI_TABLE_ALIGN);
    if (!header) {
        return;
    }
    struct aml aml;
    build->tables.dsdt = (uint32_t)(build->used - sizeof(*header));
    aml_init(&aml, build->bytes + build->used, build->size - build->used);
    dsdt_s5(&aml);
    aml_open_scope(&aml, "_SB");
    for (uint32_t i = 0; i < config->vp_count; i++) {
        dsdt_processor(&aml, i);
    }
    if (config->com1_port) {
        dsdt_com1(&aml, config);
    }
    if (config->rtc) {
        dsdt_rtc(&aml, config);
    }
    if (config->vmbus) {
        dsdt_vmbus(&aml, config);
    }
    aml_close(&aml);
    if (!aml_finish(&aml)) {
        build->failed = true;
        return;
    }
    build->used += aml.used;
    acpi_finish_table(build, build->tables.dsdt, "DSDT", 2);
}
