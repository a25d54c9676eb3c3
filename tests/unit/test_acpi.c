// SPDX-License-Identifier: BSD-2-Clause-Patent
// The ACPI builder: every table is found from the RSDP, summed and read field by field; the DSDT is
// decoded, and given to ACPICA's compiler where there is one.
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "acpi_decode.h"
#include "root/lib/acpi.h"

enum { GPA = 0x3fff0000, BUFFER_SIZE = 512 * 1024 };

static uint8_t *buffer;
static uint32_t apic_ids[ACPI_VPS_MAX + 1];
static struct acpi_config config;
static struct acpi_tables tables;

static void setup(void)
{
    buffer = malloc(BUFFER_SIZE);
    memset(buffer, 0xcc, BUFFER_SIZE);
    for (uint32_t i = 0; i <= ACPI_VPS_MAX; i++) {
        apic_ids[i] = i;
    }
    config = (struct acpi_config){.apic_ids = apic_ids,
                                  .vp_count = 2,
                                  .local_apic_gpa = 0xfee00000,
                                  .ioapic_gpa = 0xfec00000,
                                  .ioapic_id = 2,
                                  .pm1_event_port = 0x400,
                                  .pm1_control_port = 0x404,
                                  .pm_timer_port = 0x408,
                                  .sci_irq = 9,
                                  .power_button = true,
                                  .reset_port = 0xcf9,
                                  .reset_value = 6,
                                  .century = 0x32,
                                  .rtc = true,
                                  .com1_port = 0x3f8,
                                  .com1_irq = 4,
                                  .vmbus = true,
                                  .vmbus_low = {0xf8000000, 0x6c00000},
                                  .vmbus_high = {UINT64_C(0xfe0000000), UINT64_C(0x20000000)}};
}

static void teardown(void)
{
    free(buffer);
}

static uint64_t get(uint32_t at, uint32_t size)
{
    uint64_t value = 0;
    ck_assert_uint_le(at + size, tables.size);
    memcpy(&value, buffer + at, size);
    return value;
}

static void check_sum(uint32_t at, uint32_t size)
{
    uint8_t sum = 0;
    for (uint32_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + get(at + i, 1));
    }
    ck_assert_uint_eq(sum, 0);
}

static void check_table(uint32_t at, const char *signature, uint8_t revision)
{
    ck_assert_mem_eq(buffer + at, signature, 4);
    ck_assert_uint_ge(get(at + 4, 4), 36);
    ck_assert_uint_eq(get(at + 8, 1), revision);
    check_sum(at, (uint32_t)get(at + 4, 4));
    ck_assert_mem_eq(buffer + at + 10, "CORBEL", 6);
}

static void build_at(uint64_t gpa)
{
    enum acpi_error error = acpi_build(&config, gpa, buffer, BUFFER_SIZE, &tables);
    ck_assert_msg(error == ACPI_OK, "%s", acpi_error_text(error));
}

static void build(void)
{
    build_at(GPA);
}

static void fails(enum acpi_error expected)
{
    struct acpi_tables before;
    memset(&tables, 0x5a, sizeof(tables));
    before = tables;
    enum acpi_error error = acpi_build(&config, GPA, buffer, BUFFER_SIZE, &tables);
    ck_assert_msg(error == expected, "%s", acpi_error_text(error));
    ck_assert_mem_eq(&tables, &before, sizeof(before));
}

// Offset of the table that the XSDT lists with this signature; 0 when there is none. RSDT and XSDT
// list the same.
static uint32_t find_table(const char *signature)
{
    uint32_t xsdt = tables.xsdt;
    uint32_t rsdt = (uint32_t)(get(16, 4) - tables.gpa);
    uint32_t count = (uint32_t)(get(xsdt + 4, 4) - 36) / 8;
    ck_assert_uint_eq((get(rsdt + 4, 4) - 36) / 4, count);
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t gpa = get(xsdt + 36 + i * 8, 8);
        ck_assert_uint_eq(get(rsdt + 36 + i * 4, 4), gpa);
        ck_assert_uint_ge(gpa, tables.gpa + ACPI_RSDP_SIZE);
        uint32_t at = (uint32_t)(gpa - tables.gpa);
        check_sum(at, (uint32_t)get(at + 4, 4));
        if (memcmp(buffer + at, signature, 4) == 0) {
            ck_assert_uint_eq(found, 0);
            found = at;
        }
    }
    return found;
}

static void decode_dsdt(void)
{
    uint32_t size = (uint32_t)get(tables.dsdt + 4, 4);
    decode_aml(buffer + tables.dsdt + 36, size - 36);
}

START_TEST(roots)
{
    build();
    ck_assert_uint_eq(tables.gpa, GPA);
    ck_assert_uint_eq(tables.rsdp_gpa, GPA);
    ck_assert_mem_eq(buffer, "RSD PTR ", 8);
    ck_assert_uint_eq(get(15, 1), 2);
    ck_assert_uint_eq(get(20, 4), 36);
    check_sum(0, 20);
    check_sum(0, 36);
    ck_assert_uint_eq(get(24, 8), GPA + tables.xsdt);
    check_table(tables.xsdt, "XSDT", 1);
    check_table((uint32_t)get(16, 4) - GPA, "RSDT", 1);
    ck_assert_uint_eq(get(tables.xsdt + 4, 4), 36 + 4 * 8);
    ck_assert_uint_eq(find_table("FACP"), tables.fadt);
    ck_assert_uint_eq(find_table("APIC"), tables.madt);
    ck_assert_uint_eq(find_table("HPET"), 0);
    ck_assert_uint_eq(find_table("MCFG"), 0);
    // Nothing is written behind what is said to be used.
    for (uint32_t i = tables.size; i < BUFFER_SIZE; i++) {
        if (buffer[i] != 0xcc) {
            ck_abort_msg("byte %u is written", i);
        }
    }
}
END_TEST

static void check_port(uint32_t at, uint8_t bits, uint8_t access, uint16_t port)
{
    ck_assert_uint_eq(get(at, 1), 1);
    ck_assert_uint_eq(get(at + 1, 1), bits);
    ck_assert_uint_eq(get(at + 2, 1), 0);
    ck_assert_uint_eq(get(at + 3, 1), access);
    ck_assert_uint_eq(get(at + 4, 8), port);
}

static void check_zero(uint32_t at, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        ck_assert_uint_eq(get(at + i, 1), 0);
    }
}

START_TEST(fadt)
{
    build();
    uint32_t f = tables.fadt;
    check_table(f, "FACP", 6);
    ck_assert_uint_eq(get(f + 4, 4), 276);
    ck_assert_uint_eq(get(f + 36, 4), GPA + tables.facs);
    ck_assert_uint_eq(get(f + 40, 4), GPA + tables.dsdt);
    ck_assert_uint_eq(get(f + 46, 2), 9);
    check_zero(f + 48, 8); // no SMI_CMD: always in ACPI mode
    ck_assert_uint_eq(get(f + 56, 4), 0x400);
    ck_assert_uint_eq(get(f + 64, 4), 0x404);
    ck_assert_uint_eq(get(f + 76, 4), 0x408);
    ck_assert_uint_eq(get(f + 88, 4), 0x04000204); // EVT 4, CNT 2, PM2 0, TMR 4
    ck_assert_uint_gt(get(f + 96, 2), 100);        // no C2
    ck_assert_uint_gt(get(f + 98, 2), 1000);       // no C3
    ck_assert_uint_eq(get(f + 108, 1), 0x32);
    ck_assert_uint_eq(get(f + 109, 2), 1 << 0 | 1 << 2 | 1 << 4);
    ck_assert_uint_eq(get(f + 112, 4), 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10);
    check_port(f + 116, 8, 1, 0xcf9);
    ck_assert_uint_eq(get(f + 128, 1), 6);
    ck_assert_uint_eq(get(f + 131, 1), 5);
    ck_assert_uint_eq(get(f + 132, 8), 0);
    ck_assert_uint_eq(get(f + 140, 8), GPA + tables.dsdt);
    check_port(f + 148, 32, 3, 0x400);
    check_port(f + 172, 16, 2, 0x404);
    check_port(f + 208, 32, 3, 0x408);
    check_zero(f + 244, 32);

    ck_assert_mem_eq(buffer + tables.facs, "FACS", 4);
    ck_assert_uint_eq(get(tables.facs + 4, 4), 64);
    ck_assert_uint_eq((GPA + tables.facs) % 64, 0);
}
END_TEST

START_TEST(fadt_variants)
{
    config.power_button = false;
    config.rtc = false;
    config.com1_port = 0;
    config.reset_port = 0;
    build();
    uint32_t f = tables.fadt;
    ck_assert_uint_eq(get(f + 112, 4), 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8);
    ck_assert_uint_eq(get(f + 109, 2), 1 << 2 | 1 << 4 | 1 << 5);
    check_zero(f + 116, 13);
    ck_assert_uint_eq(find_table("SPCR"), 0);
    decode_dsdt();
    ck_assert_ptr_null(decoded_find("\\_SB_.COM1"));
    ck_assert_ptr_null(decoded_find("\\_SB_.RTC0"));
}
END_TEST

START_TEST(hardware_reduced)
{
    config.hardware_reduced = true;
    fails(ACPI_ERROR_PORTS);
    config.sleep_control_port = 0x410;
    fails(ACPI_ERROR_PORTS);
    config.sleep_status_port = 0x411;
    build();
    uint32_t f = tables.fadt;
    ck_assert_uint_eq(get(f + 112, 4), 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 10 | 1 << 20);
    check_zero(f + 46, 2);
    check_zero(f + 56, 40);
    check_zero(f + 148, 96);
    check_port(f + 244, 8, 1, 0x410);
    check_port(f + 256, 8, 1, 0x411);
}
END_TEST

struct madt {
    uint32_t lapics, x2apics, ioapics, overrides, nmis, x2nmis;
};

// Walks the MADT; processors must come in order, with their index for a uid.
static struct madt walk_madt(void)
{
    static const uint8_t lengths[] = {8, 12, 10, 0, 6, 0, 0, 0, 0, 16, 12};
    struct madt seen = {0};
    uint32_t m = tables.madt;
    uint32_t end = m + (uint32_t)get(m + 4, 4);
    check_table(m, "APIC", 5);
    for (uint32_t at = m + 44; at < end; at += (uint32_t)get(at + 1, 1)) {
        uint32_t type = (uint32_t)get(at, 1);
        ck_assert_uint_lt(type, sizeof(lengths));
        ck_assert_uint_eq(get(at + 1, 1), lengths[type]);
        ck_assert_uint_le(at + lengths[type], end);
        uint32_t vp = seen.lapics + seen.x2apics;
        if (type == 0) {
            ck_assert_uint_eq(seen.x2apics, 0);
            ck_assert_uint_eq(get(at + 2, 1), vp);
            ck_assert_uint_eq(get(at + 3, 1), apic_ids[vp]);
            ck_assert_uint_eq(get(at + 4, 4), 1);
        } else if (type == 9) {
            ck_assert_uint_ge(apic_ids[vp], 255);
            ck_assert_uint_eq(get(at + 4, 4), apic_ids[vp]);
            ck_assert_uint_eq(get(at + 8, 4), 1);
            ck_assert_uint_eq(get(at + 12, 4), vp);
        }
        seen.lapics += type == 0;
        seen.ioapics += type == 1;
        seen.overrides += type == 2;
        seen.nmis += type == 4;
        seen.x2apics += type == 9;
        seen.x2nmis += type == 10;
    }
    return seen;
}

static uint32_t madt_entry(uint32_t type, uint32_t skip)
{
    uint32_t end = tables.madt + (uint32_t)get(tables.madt + 4, 4);
    for (uint32_t at = tables.madt + 44; at < end; at += (uint32_t)get(at + 1, 1)) {
        if (get(at, 1) == type && skip-- == 0) {
            return at;
        }
    }
    ck_abort_msg("no MADT entry of type %u", type);
    return 0;
}

static void check_override(uint32_t index, uint8_t source, uint32_t gsi, uint16_t flags)
{
    uint32_t at = madt_entry(2, index);
    ck_assert_uint_eq(get(at + 2, 1), 0);
    ck_assert_uint_eq(get(at + 3, 1), source);
    ck_assert_uint_eq(get(at + 4, 4), gsi);
    ck_assert_uint_eq(get(at + 8, 2), flags);
}

START_TEST(madt_small)
{
    build();
    struct madt seen = walk_madt();
    ck_assert_uint_eq(seen.lapics, 2);
    ck_assert_uint_eq(seen.x2apics, 0);
    ck_assert_uint_eq(seen.ioapics, 1);
    ck_assert_uint_eq(seen.overrides, 1);
    ck_assert_uint_eq(seen.nmis, 1);
    ck_assert_uint_eq(seen.x2nmis, 0);
    ck_assert_uint_eq(get(tables.madt + 36, 4), 0xfee00000);
    ck_assert_uint_eq(get(tables.madt + 40, 4), 0);
    uint32_t ioapic = madt_entry(1, 0);
    ck_assert_uint_eq(get(ioapic + 2, 1), 2);
    ck_assert_uint_eq(get(ioapic + 4, 4), 0xfec00000);
    ck_assert_uint_eq(get(ioapic + 8, 4), 0);
    check_override(0, 9, 9, 0xd);
    uint32_t nmi = madt_entry(4, 0);
    ck_assert_uint_eq(get(nmi + 2, 1), 0xff);
    ck_assert_uint_eq(get(nmi + 3, 2), 0);
    ck_assert_uint_eq(get(nmi + 5, 1), 1);
}
END_TEST

START_TEST(madt_legacy_pic)
{
    config.legacy_pic = true;
    config.gsi_base = 16;
    build();
    ck_assert_uint_eq(get(tables.madt + 40, 4), 1);
    check_override(0, 0, 18, 5);
    check_override(1, 9, 25, 0xd);
    ck_assert_uint_eq(get(tables.fadt + 46, 2), 9);
    ck_assert_uint_eq(get(madt_entry(1, 0) + 8, 4), 16);
    uint32_t spcr = find_table("SPCR");
    ck_assert_uint_eq(get(spcr + 52, 2), 4 << 8 | 3);
    ck_assert_uint_eq(get(spcr + 54, 4), 20);
    config.legacy_pic = false;
    build();
    ck_assert_uint_eq(get(tables.fadt + 46, 2), 25);
}
END_TEST

START_TEST(madt_large)
{
    // A gap pushes ids beyond 254 early.
    for (uint32_t i = 200; i <= ACPI_VPS_MAX; i++) {
        apic_ids[i] = i + 50;
    }
    config.vp_count = 300;
    build();
    struct madt seen = walk_madt();
    ck_assert_uint_eq(seen.lapics, 205);
    ck_assert_uint_eq(seen.x2apics, 95);
    ck_assert_uint_eq(seen.nmis, 1);
    ck_assert_uint_eq(seen.x2nmis, 1);
    uint32_t nmi = madt_entry(10, 0);
    ck_assert_uint_eq(get(nmi + 2, 2), 0);
    ck_assert_uint_eq(get(nmi + 4, 4), UINT32_MAX);
    ck_assert_uint_eq(get(nmi + 8, 1), 1);

    config.vp_count = ACPI_VPS_MAX;
    build();
    seen = walk_madt();
    ck_assert_uint_eq(seen.lapics + seen.x2apics, ACPI_VPS_MAX);
    decode_dsdt();
    ck_assert_uint_eq(decoded_get("\\_SB_.PFFF._UID", 'I')->integer, 0xfff);
    ck_assert_uint_eq(decoded_get("\\_SB_.P0AB._UID", 'I')->integer, 0xab);
}
END_TEST

START_TEST(waet_and_spcr)
{
    build();
    uint32_t waet = find_table("WAET");
    check_table(waet, "WAET", 1);
    ck_assert_uint_eq(get(waet + 4, 4), 40);
    ck_assert_uint_eq(get(waet + 36, 4), 2);
    uint32_t spcr = find_table("SPCR");
    check_table(spcr, "SPCR", 2);
    ck_assert_uint_eq(get(spcr + 4, 4), 80);
    ck_assert_uint_eq(get(spcr + 36, 1), 0);
    check_port(spcr + 40, 8, 1, 0x3f8);
    ck_assert_uint_eq(get(spcr + 52, 2), 2);
    ck_assert_uint_eq(get(spcr + 54, 4), 4);
    ck_assert_uint_eq(get(spcr + 58, 1), 7);
    ck_assert_uint_eq(get(spcr + 60, 1), 1);
    ck_assert_uint_eq(get(spcr + 62, 1), 3);
    ck_assert_uint_eq(get(spcr + 64, 4), 0xffffffff);
}
END_TEST

static void check_string(const char *path, const char *expected)
{
    const struct decoded *found = decoded_get(path, 'S');
    ck_assert_str_eq((const char *)found->bytes, expected);
}

static void check_buffer(const char *path, const uint8_t *expected, uint32_t size)
{
    const struct decoded *found = decoded_get(path, 'B');
    ck_assert_uint_eq(found->size, size);
    ck_assert_mem_eq(found->bytes, expected, size);
}

START_TEST(dsdt_devices)
{
    build();
    check_table(tables.dsdt, "DSDT", 2);
    decode_dsdt();
    const struct decoded *s5 = decoded_get("\\_S5_", 'P');
    ck_assert_uint_eq(s5->count, 4);
    ck_assert_mem_eq(s5->bytes, "\x0a\x05\0\0\0", 5);
    for (uint32_t i = 0; i < 2; i++) {
        char path[32];
        snprintf(path, sizeof(path), "\\_SB_.P%03X._HID", i);
        check_string(path, "ACPI0007");
    }
    ck_assert_ptr_null(decoded_find("\\_SB_.P002"));
    ck_assert_uint_eq(decoded_get("\\_SB_.COM1._HID", 'I')->integer, 0x0105d041);
    static const uint8_t com1[] = {0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8,    0x89, 6,
                                   0,    3, 1,    4, 0,    0, 0, 0x79, 0};
    check_buffer("\\_SB_.COM1._CRS", com1, sizeof(com1));
    ck_assert_uint_eq(decoded_get("\\_SB_.RTC0._HID", 'I')->integer, 0x000bd041);
    static const uint8_t rtc[] = {0x47, 1, 0x70, 0, 0x70, 0, 1, 2,    0x89, 6,
                                  0,    3, 1,    8, 0,    0, 0, 0x79, 0};
    check_buffer("\\_SB_.RTC0._CRS", rtc, sizeof(rtc));
}
END_TEST

static void check_window(const uint8_t *at, uint64_t base, uint64_t size)
{
    const uint64_t expected[] = {0, base, base + size - 1, 0, size};
    ck_assert_mem_eq(at, "\x8a\x2b\0\0\x0c\x03", 6);
    ck_assert_mem_eq(at + 6, expected, sizeof(expected));
}

START_TEST(dsdt_vmbus)
{
    build();
    decode_dsdt();
    check_string("\\_SB_.VMOD._HID", "ACPI0004");
    const struct decoded *windows = decoded_get("\\_SB_.VMOD._CRS", 'B');
    ck_assert_uint_eq(windows->size, 2 * 46 + 2);
    check_window(windows->bytes, 0xf8000000, 0x6c00000);
    check_window(windows->bytes + 46, UINT64_C(0xfe0000000), UINT64_C(0x20000000));
    check_string("\\_SB_.VMOD.VMBS._HID", "VMBus");
    check_string("\\_SB_.VMOD.VMBS._CID", "VMBUS");
    check_string("\\_SB_.VMOD.VMBS._DDN", "VMBUS");
    ck_assert_uint_eq(decoded_get("\\_SB_.VMOD.VMBS._STA", 'I')->integer, 0xf);
    check_buffer("\\_SB_.VMOD.VMBS._CRS", (const uint8_t[]){0x79, 0}, 2);

    config.vmbus_irq = 5;
    config.vmbus_high.size = 0;
    build();
    decode_dsdt();
    check_buffer("\\_SB_.VMOD.VMBS._CRS", (const uint8_t[]){0x22, 0x20, 0, 0x79, 0}, 5);
    ck_assert_uint_eq(decoded_get("\\_SB_.VMOD._CRS", 'B')->size, 46 + 2);

    config.vmbus = false;
    build();
    decode_dsdt();
    ck_assert_ptr_null(decoded_find("\\_SB_.VMOD"));
}
END_TEST

START_TEST(bad_processors)
{
    config.vp_count = 0;
    fails(ACPI_ERROR_VPS);
    config.vp_count = ACPI_VPS_MAX + 1;
    fails(ACPI_ERROR_VPS);
    config.vp_count = 2;
    apic_ids[1] = 0;
    fails(ACPI_ERROR_APIC_ID);
    apic_ids[1] = UINT32_MAX;
    fails(ACPI_ERROR_APIC_ID);
    apic_ids[1] = UINT32_MAX - 1;
    build();
    config.apic_ids = NULL;
    fails(ACPI_ERROR_VPS);
}
END_TEST

START_TEST(bad_configuration)
{
    const struct acpi_config good = config;
    config.sci_irq = 16;
    fails(ACPI_ERROR_IRQ);
    config = good;
    config.com1_irq = 240;
    fails(ACPI_ERROR_IRQ);
    config = good;
    config.vmbus_irq = 16;
    fails(ACPI_ERROR_IRQ);
    config = good;
    config.gsi_base = UINT32_MAX;
    fails(ACPI_ERROR_IRQ);
    config = good;
    config.vmbus_low.size = 0x8000001;
    fails(ACPI_ERROR_WINDOW);
    config.vmbus_low.size = 0x8000000;
    build();
    config.vmbus_high.base = 0xffffffff;
    fails(ACPI_ERROR_WINDOW);
    config.vmbus_high = (struct acpi_window){UINT64_MAX - 4095, 8192};
    fails(ACPI_ERROR_WINDOW);
    config = good;
    config.pm_timer_port = 0;
    fails(ACPI_ERROR_PORTS);
}
END_TEST

START_TEST(bad_places)
{
    struct acpi_tables out;
    static const uint64_t gpas[] = {0, 0x1020, UINT64_C(0x100000000), UINT64_MAX - 63,
                                    UINT64_C(0x100000000) - BUFFER_SIZE + 64};
    for (size_t i = 0; i < sizeof(gpas) / sizeof(gpas[0]); i++) {
        ck_assert_int_eq(acpi_build(&config, gpas[i], buffer, BUFFER_SIZE, &out), ACPI_ERROR_PLACE);
    }
    build_at(UINT64_C(0x100000000) - BUFFER_SIZE);
    ck_assert_uint_eq(get(24, 8), UINT64_C(0x100000000) - BUFFER_SIZE + tables.xsdt);
}
END_TEST

// Every buffer that is too small is refused, without a byte written beyond it.
START_TEST(out_of_room)
{
    build();
    uint32_t need = tables.size;
    for (uint32_t size = 0; size < need; size++) {
        struct acpi_tables out;
        uint8_t *exact = malloc(size ? size : 1);
        if (acpi_build(&config, GPA, exact, size, &out) != ACPI_ERROR_SPACE) {
            ck_abort_msg("%u bytes were enough", size);
        }
        free(exact);
    }
    ck_assert_int_eq(acpi_build(&config, GPA, buffer, need, &tables), ACPI_OK);
}
END_TEST

START_TEST(bios_rsdp)
{
    build();
    ck_assert_uint_eq(acpi_bios_rsdp_gpa(&tables), 0xf0000);
    build_at(0xe0000);
    ck_assert_uint_eq(acpi_bios_rsdp_gpa(&tables), 0xe0000);
    // In front of the searched area and reaching into it.
    struct acpi_tables t = {.gpa = 0xd0000, .rsdp_gpa = 0xd0000, .size = 0x20000};
    ck_assert_uint_eq(acpi_bios_rsdp_gpa(&t), 0xf0000);
    t.size = 0x20001;
    ck_assert_uint_eq(acpi_bios_rsdp_gpa(&t), 0xf0010);
    t.size = 0x2ffd0;
    ck_assert_uint_eq(acpi_bios_rsdp_gpa(&t), 0xfffd0);
    t.size = 0x2ffe0;
    ck_assert_uint_eq(acpi_bios_rsdp_gpa(&t), 0);
}
END_TEST

START_TEST(texts)
{
    for (int i = 0; i < ACPI_ERROR_COUNT; i++) {
        ck_assert_uint_gt(strlen(acpi_error_text((enum acpi_error)i)), 5);
        for (int j = 0; j < i; j++) {
            ck_assert_str_ne(acpi_error_text((enum acpi_error)i),
                             acpi_error_text((enum acpi_error)j));
        }
    }
    ck_assert_str_eq(acpi_error_text(ACPI_ERROR_COUNT), "unknown error");
}
END_TEST

static void write_file(const char *directory, const char *name, uint32_t at)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    size_t size = (size_t)get(at + 4, 4);
    ck_assert_uint_eq(fwrite(buffer + at, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static void run(const char *directory, const char *command)
{
    char line[512];
    snprintf(line, sizeof(line), "cd %s && %s", directory, command);
    ck_assert_msg(system(line) == 0, "failed: %s", command);
}

// ACPICA reads every table, and makes the same AML of its own disassembly of the DSDT.
START_TEST(acpica_agrees)
{
    config.vp_count = 40;
    build();
    char directory[] = P_tmpdir "/corbel-acpi-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(directory));
    static const char *const signatures[] = {"FACP", "APIC", "WAET", "SPCR"};
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        write_file(directory, signatures[i], find_table(signatures[i]));
    }
    write_file(directory, "dsdt", tables.dsdt);
    write_file(directory, "facs", tables.facs);
    run(directory, "iasl -d FACP APIC WAET SPCR facs dsdt >log 2>&1");
    run(directory, "! grep -Ei 'error|warning|invalid|unknown|truncat' log");
    run(directory, "! grep -Ei 'error|warning|invalid|unknown|truncat|incorrect' FACP.dsl APIC.dsl "
                   "WAET.dsl SPCR.dsl");
    run(directory, "grep -q 'Device (VMBS)' dsdt.dsl && grep -q 'EisaId (\"PNP0501\")' dsdt.dsl");
    // The compiler has its own idea of how long a _HID is (6033), and Hyper-V another.
    run(directory, "iasl -f -p again dsdt.dsl >log2 2>&1; test -s again.aml");
    run(directory, "! grep -E '^(Error|Warning|Remark)' log2 | grep -v '^Error *6033 '");
    // The header's compiler fields differ.
    run(directory, "tail -c +37 dsdt >a && tail -c +37 again.aml >b && cmp a b");
    char remove[64];
    snprintf(remove, sizeof(remove), "rm -r %s", directory);
    ck_assert_int_eq(system(remove), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("acpi");
    TCase *tests = tcase_create("acpi");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    const TTest *const all[] = {roots,          fadt,
                                fadt_variants,  hardware_reduced,
                                madt_small,     madt_legacy_pic,
                                madt_large,     waet_and_spcr,
                                dsdt_devices,   dsdt_vmbus,
                                bad_processors, bad_configuration,
                                bad_places,     out_of_room,
                                bios_rsdp,      texts,
                                acpica_agrees};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        tcase_add_test(tests, all[i]);
    }
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
