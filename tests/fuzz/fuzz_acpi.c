// SPDX-License-Identifier: BSD-2-Clause-Patent
// The ACPI builder over arbitrary configurations and buffer sizes. What it accepts must be sound:
// sums, lengths, and pointers that stay in the buffer.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "root/lib/acpi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth) {
        abort();
    }
}

static uint64_t get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
    uint8_t total = 0;
    for (size_t i = 0; i < size; i++) {
        total = (uint8_t)(total + bytes[i]);
    }
    return total;
}

static uint32_t check_table(const uint8_t *buffer, const struct acpi_tables *tables, uint64_t gpa)
{
    expect(gpa >= tables->gpa && gpa - tables->gpa < tables->size);
    uint32_t at = (uint32_t)(gpa - tables->gpa);
    expect(tables->size - at >= 36);
    uint64_t length = get(buffer + at + 4, 4);
    expect(length >= 36 && length <= tables->size - at);
    expect(sum(buffer + at, length) == 0);
    return at;
}

static void check(const uint8_t *buffer, const struct acpi_tables *tables)
{
    expect(sum(buffer, 20) == 0 && sum(buffer, 36) == 0);
    uint32_t xsdt = check_table(buffer, tables, get(buffer + 24, 8));
    check_table(buffer, tables, get(buffer + 16, 4));
    uint32_t count = (uint32_t)(get(buffer + xsdt + 4, 4) - 36) / 8;
    expect(count >= 3);
    for (uint32_t i = 0; i < count; i++) {
        check_table(buffer, tables, get(buffer + xsdt + 36 + i * 8, 8));
    }
    check_table(buffer, tables, get(buffer + tables->fadt + 140, 8));
    uint64_t copy = acpi_bios_rsdp_gpa(tables);
    expect(copy == 0 || (copy >= ACPI_BIOS_RSDP_START && copy % 16 == 0 &&
                         copy + ACPI_RSDP_SIZE <= ACPI_BIOS_RSDP_END));
    expect(copy == tables->rsdp_gpa || copy + ACPI_RSDP_SIZE <= tables->gpa ||
           copy >= tables->gpa + tables->size || copy == 0);
}

// Takes bytes off the input; zeroes when it is used up.
static uint64_t take(const uint8_t **data, size_t *size, size_t want)
{
    uint64_t value = 0;
    size_t have = want < *size ? want : *size;
    memcpy(&value, *data, have);
    *data += have;
    *size -= have;
    return value;
}

static void take_config(struct acpi_config *config, const uint8_t **data, size_t *size)
{
    uint64_t flags = take(data, size, 1);
    config->legacy_pic = flags & 1;
    config->hardware_reduced = flags & 2;
    config->power_button = flags & 4;
    config->rtc = flags & 8;
    config->vmbus = flags & 16;
    config->pm1_event_port = (uint16_t)take(data, size, 2);
    config->pm1_control_port = (uint16_t)take(data, size, 2);
    config->pm_timer_port = (uint16_t)take(data, size, 2);
    config->sleep_control_port = (uint16_t)take(data, size, 2);
    config->sleep_status_port = (uint16_t)take(data, size, 2);
    config->sci_irq = (uint16_t)take(data, size, 1);
    config->reset_port = (uint16_t)take(data, size, 2);
    config->com1_port = (uint16_t)take(data, size, 2);
    config->com1_irq = (uint16_t)take(data, size, 1);
    config->vmbus_irq = (uint16_t)take(data, size, 1);
    config->gsi_base = (uint32_t)take(data, size, 1) << take(data, size, 1) % 32;
    config->vmbus_low.base = take(data, size, 4);
    config->vmbus_low.size = take(data, size, 4);
    config->vmbus_high.base = take(data, size, 8);
    config->vmbus_high.size = take(data, size, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint32_t apic_ids[ACPI_VPS_MAX + 1];
    struct acpi_config config = {.apic_ids = apic_ids};
    take_config(&config, &data, &size);
    config.vp_count = (uint32_t)take(&data, &size, 2) % (ACPI_VPS_MAX + 2);
    uint32_t step = (uint32_t)take(&data, &size, 1);
    uint32_t id = (uint32_t)take(&data, &size, 4);
    for (uint32_t i = 0; i <= ACPI_VPS_MAX; i++, id += step) {
        apic_ids[i] = id;
    }
    uint64_t gpa = take(&data, &size, 4) << take(&data, &size, 1) % 40;
    size_t buffer_size = (size_t)take(&data, &size, 3) & 0x7ffff;
    uint8_t *buffer = malloc(buffer_size ? buffer_size : 1);
    struct acpi_tables tables;
    if (acpi_build(&config, gpa, buffer, buffer_size, &tables) == ACPI_OK) {
        expect(tables.size <= buffer_size);
        check(buffer, &tables);
    }
    free(buffer);
    return 0;
}
