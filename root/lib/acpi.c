// SPDX-License-Identifier: BSD-2-Clause-Patent
// ACPI tables (ACPI 6.5, chapter 5) for a generation-2-like machine. The DSDT is in acpi_dsdt.c.
#include "acpi.h"

#include "acpi_priv.h"
#include "mem.h"

enum {
    ISA_IRQS = 16,
    MAX_LAPIC_ID = 0xfe,
    GSI_MAX = 240, // inputs of an I/O APIC
    TABLES_MAX = 5 // that XSDT and RSDT list
};

// FADT flags (ACPI 6.5, table 5.10).
enum {
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_NO_FIXED_POWER_BUTTON = 1 << 4,
    FADT_NO_FIXED_SLEEP_BUTTON = 1 << 5,
    FADT_NO_FIXED_RTC_WAKE = 1 << 6,
    FADT_TIMER_32_BITS = 1 << 8,
    FADT_RESET_REGISTER = 1 << 10,
    FADT_HW_REDUCED = 1 << 20
};

// FADT IA-PC boot architecture flags (table 5.11).
enum {
    BOOT_LEGACY_DEVICES = 1 << 0,
    BOOT_NO_VGA = 1 << 2,
    BOOT_NO_PCIE_ASPM = 1 << 4,
    BOOT_NO_CMOS_RTC = 1 << 5
};

// MADT flags of interrupts: polarity in bits 1:0, trigger mode in 3:2 (table 5.26).
enum { MPS_ACTIVE_HIGH = 1, MPS_EDGE = 1 << 2, MPS_LEVEL = 3 << 2 };

static const char *const error_texts[ACPI_ERROR_COUNT] = {
    [ACPI_OK] = "no error",
    [ACPI_ERROR_PLACE] = "the ACPI tables are not aligned or not below 4 GiB",
    [ACPI_ERROR_SPACE] = "the ACPI tables do not fit into their area",
    [ACPI_ERROR_VPS] = "the number of processors is out of range",
    [ACPI_ERROR_APIC_ID] = "the APIC ids are not ascending",
    [ACPI_ERROR_IRQ] = "an interrupt is no input of the I/O APIC",
    [ACPI_ERROR_WINDOW] = "an MMIO window of the VMBus wraps or lies on the wrong side of 4 GiB",
    [ACPI_ERROR_PORTS] = "the ports for power management are missing",
};

const char *acpi_error_text(enum acpi_error error)
{
    return (uint32_t)error < ACPI_ERROR_COUNT ? error_texts[error] : "unknown error";
}

static uint8_t checksum(const void *bytes, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    }
    return (uint8_t)-sum;
}

void *acpi_reserve(struct acpi_build *build, size_t size, size_t align)
{
    size_t start = (build->used + align - 1) & ~(align - 1);
    if (build->failed || start > build->size || size > build->size - start) {
        build->failed = true;
        return NULL;
    }
    memset(build->bytes + build->used, 0, start + size - build->used);
    build->used = start + size;
    return build->bytes + start;
}

void acpi_finish_table(struct acpi_build *build, uint32_t offset, const char *signature,
                       uint8_t revision)
{
    struct acpi_header header = {.length = (uint32_t)(build->used - offset),
                                 .revision = revision,
                                 .oem_revision = 1,
                                 .creator_revision = 1};
    memcpy(header.signature, signature, sizeof(header.signature));
    memcpy(header.oem_id, "CORBEL", sizeof(header.oem_id));
    memcpy(header.oem_table_id, "CORBEL2G", sizeof(header.oem_table_id));
    memcpy(header.creator_id, "CRBL", sizeof(header.creator_id));
    uint8_t *table = build->bytes + offset;
    memcpy(table, &header, sizeof(header));
    header.checksum = checksum(table, header.length);
    memcpy(table, &header, sizeof(header));
}

static enum acpi_error check_processors(const struct acpi_config *config)
{
    if (config->vp_count == 0 || config->vp_count > ACPI_VPS_MAX || !config->apic_ids) {
        return ACPI_ERROR_VPS;
    }
    for (uint32_t i = 0; i < config->vp_count; i++) {
        if (config->apic_ids[i] == UINT32_MAX ||
            (i != 0 && config->apic_ids[i] <= config->apic_ids[i - 1])) {
            return ACPI_ERROR_APIC_ID;
        }
    }
    return ACPI_OK;
}

static bool window_valid(const struct acpi_window *window, uint64_t low, uint64_t high)
{
    return window->size == 0 ||
           (window->base >= low && window->base < high && window->size <= high - window->base);
}

static enum acpi_error check_config(const struct acpi_config *config)
{
    const uint64_t four_gib = UINT64_C(1) << 32;
    enum acpi_error error = check_processors(config);
    if (error != ACPI_OK) {
        return error;
    }
    if (config->sci_irq >= ISA_IRQS || config->com1_irq >= GSI_MAX ||
        config->vmbus_irq >= ISA_IRQS || config->gsi_base > UINT16_MAX - GSI_MAX) {
        return ACPI_ERROR_IRQ;
    }
    if (!window_valid(&config->vmbus_low, 0, four_gib) ||
        !window_valid(&config->vmbus_high, four_gib, UINT64_MAX)) {
        return ACPI_ERROR_WINDOW;
    }
    bool ports = config->hardware_reduced
                     ? config->sleep_control_port && config->sleep_status_port
                     : config->pm1_event_port && config->pm1_control_port && config->pm_timer_port;
    return ports ? ACPI_OK : ACPI_ERROR_PORTS;
}

static struct acpi_address port(uint16_t address, uint8_t bits)
{
    if (address == 0) {
        return (struct acpi_address){0};
    }
    const uint8_t access = bits == 8 ? 1 : bits == 16 ? 2 : 3;
    return (struct acpi_address){1, bits, 0, access, address}; // space 1: I/O ports
}

static void fadt_fixed_hardware(struct acpi_fadt *fadt, const struct acpi_config *config)
{
    // An 8259 input where there is one, else a GSI (ACPI 6.5, table 5.9).
    fadt->sci = (uint16_t)(config->sci_irq + (config->legacy_pic ? 0 : config->gsi_base));
    fadt->pm1a_event = config->pm1_event_port;
    fadt->pm1a_control = config->pm1_control_port;
    fadt->pm_timer = config->pm_timer_port;
    fadt->pm1_event_length = 4;
    fadt->pm1_control_length = 2;
    fadt->pm_timer_length = 4;
    fadt->x_pm1a_event = port(config->pm1_event_port, 32);
    fadt->x_pm1a_control = port(config->pm1_control_port, 16);
    fadt->x_pm_timer = port(config->pm_timer_port, 32);
    fadt->flags |= FADT_TIMER_32_BITS | FADT_NO_FIXED_RTC_WAKE;
    fadt->flags |= config->power_button ? 0 : FADT_NO_FIXED_POWER_BUTTON;
    // C2 and C3 do not exist: latencies beyond what the specification admits.
    fadt->c2_latency = 0xfff;
    fadt->c3_latency = 0xfff;
}

static void build_fadt(struct acpi_build *build, const struct acpi_config *config)
{
    struct acpi_fadt *fadt = acpi_reserve(build, sizeof(*fadt), ACPI_TABLE_ALIGN);
    if (!fadt) {
        return;
    }
    build->tables.fadt = (uint32_t)(build->used - sizeof(*fadt));
    fadt->facs = (uint32_t)build->gpa + build->tables.facs;
    fadt->dsdt = (uint32_t)build->gpa + build->tables.dsdt;
    fadt->x_dsdt = fadt->dsdt; // x_facs stays 0: a reader takes only one of the two
    fadt->minor_version = 5;
    fadt->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_FIXED_SLEEP_BUTTON;
    if (config->hardware_reduced) {
        fadt->flags |= FADT_HW_REDUCED | FADT_NO_FIXED_POWER_BUTTON;
        fadt->sleep_control = port(config->sleep_control_port, 8);
        fadt->sleep_status = port(config->sleep_status_port, 8);
    } else {
        fadt_fixed_hardware(fadt, config);
    }
    if (config->reset_port) {
        fadt->flags |= FADT_RESET_REGISTER;
        fadt->reset_register = port(config->reset_port, 8);
        fadt->reset_value = config->reset_value;
    }
    fadt->century = config->century;
    fadt->boot_arch = BOOT_NO_VGA | BOOT_NO_PCIE_ASPM;
    fadt->boot_arch |= config->com1_port ? BOOT_LEGACY_DEVICES : 0;
    fadt->boot_arch |= config->rtc ? 0 : BOOT_NO_CMOS_RTC;
    acpi_finish_table(build, build->tables.fadt, "FACP", 6);
}

static void build_facs(struct acpi_build *build)
{
    struct acpi_facs *facs = acpi_reserve(build, sizeof(*facs), ACPI_ALIGN);
    if (facs) {
        build->tables.facs = (uint32_t)(build->used - sizeof(*facs));
        memcpy(facs->signature, "FACS", sizeof(facs->signature));
        facs->length = sizeof(*facs);
        facs->version = 2;
    }
}

static void madt_add(struct acpi_build *build, const void *entry, size_t size)
{
    void *at = acpi_reserve(build, size, 1);
    if (at) {
        memcpy(at, entry, size);
    }
}

// Processor uids are VP indexes. Ids ascend, so an id that fits a local APIC entry has a uid that
// fits too, and the x2APIC entries are the last ones.
static void madt_processors(struct acpi_build *build, const struct acpi_config *config)
{
    for (uint32_t i = 0; i < config->vp_count; i++) {
        uint32_t id = config->apic_ids[i];
        if (id <= MAX_LAPIC_ID) {
            const struct madt_lapic lapic = {0, sizeof(lapic), (uint8_t)i, (uint8_t)id, 1};
            madt_add(build, &lapic, sizeof(lapic));
        } else {
            const struct madt_x2apic x2apic = {9, sizeof(x2apic), 0, id, 1, i};
            madt_add(build, &x2apic, sizeof(x2apic));
        }
    }
}

static void madt_override(struct acpi_build *build, uint8_t source, uint32_t gsi, uint16_t flags)
{
    const struct madt_override override = {2, sizeof(override), 0, source, gsi, flags};
    madt_add(build, &override, sizeof(override));
}

static void build_madt(struct acpi_build *build, const struct acpi_config *config)
{
    struct madt_start *start = acpi_reserve(build, sizeof(*start), ACPI_TABLE_ALIGN);
    if (!start) {
        return;
    }
    build->tables.madt = (uint32_t)(build->used - sizeof(*start));
    start->local_apic = config->local_apic_gpa;
    start->flags = config->legacy_pic ? 1 : 0;
    madt_processors(build, config);
    const struct madt_ioapic ioapic = {.type = 1,
                                       .length = sizeof(ioapic),
                                       .id = config->ioapic_id,
                                       .address = config->ioapic_gpa,
                                       .gsi_base = config->gsi_base};
    madt_add(build, &ioapic, sizeof(ioapic));
    if (config->legacy_pic) {
        // The 8254 is on input 2, as in every PC: input 0 carries the 8259s.
        madt_override(build, 0, config->gsi_base + 2, MPS_ACTIVE_HIGH | MPS_EDGE);
    }
    if (!config->hardware_reduced) {
        madt_override(build, (uint8_t)config->sci_irq, config->gsi_base + config->sci_irq,
                      MPS_ACTIVE_HIGH | MPS_LEVEL);
    }
    const struct madt_lapic_nmi nmi = {4, sizeof(nmi), 0xff, 0, 1};
    madt_add(build, &nmi, sizeof(nmi));
    if (config->apic_ids[config->vp_count - 1] > MAX_LAPIC_ID) {
        const struct madt_x2apic_nmi x2_nmi = {
            .type = 10, .length = sizeof(x2_nmi), .uid = UINT32_MAX, .lint = 1};
        madt_add(build, &x2_nmi, sizeof(x2_nmi));
    }
    if (!build->failed) {
        acpi_finish_table(build, build->tables.madt, "APIC", 5);
    }
}

// Windows ACPI Emulated Devices Table: the timer needs no second read to be sure. The RTC keeps the
// acknowledgement that real ones want.
static void build_waet(struct acpi_build *build, uint32_t *offset)
{
    struct acpi_waet *waet = acpi_reserve(build, sizeof(*waet), ACPI_TABLE_ALIGN);
    if (waet) {
        *offset = (uint32_t)(build->used - sizeof(*waet));
        waet->flags = 1 << 1;
        acpi_finish_table(build, *offset, "WAET", 1);
    }
}

// Serial Port Console Redirection: FreeBSD and Windows EMS take their console from it, Linux its
// early one.
static void build_spcr(struct acpi_build *build, const struct acpi_config *config, uint32_t *offset)
{
    struct acpi_spcr *spcr = acpi_reserve(build, sizeof(*spcr), ACPI_TABLE_ALIGN);
    if (!spcr) {
        return;
    }
    *offset = (uint32_t)(build->used - sizeof(*spcr));
    spcr->base = port(config->com1_port, 8);
    spcr->interrupt_type = 1 << 1;
    if (config->legacy_pic && config->com1_irq < 16) {
        spcr->interrupt_type |= 1 << 0;
        spcr->irq = (uint8_t)config->com1_irq;
    }
    spcr->gsi = config->gsi_base + config->com1_irq;
    spcr->baud = 7;
    spcr->stop_bits = 1;
    spcr->terminal = 3;
    spcr->pci_device = 0xffff;
    spcr->pci_vendor = 0xffff;
    acpi_finish_table(build, *offset, "SPCR", 2);
}

// RSDT and XSDT list the same tables with pointers of 4 and 8 bytes.
static uint32_t build_root_table(struct acpi_build *build, const uint32_t *tables, uint32_t count,
                                 const char *signature, size_t pointer_size)
{
    uint8_t *table =
        acpi_reserve(build, sizeof(struct acpi_header) + count * pointer_size, ACPI_TABLE_ALIGN);
    if (!table) {
        return 0;
    }
    uint32_t offset = (uint32_t)(table - build->bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t pointer = build->gpa + tables[i];
        memcpy(table + sizeof(struct acpi_header) + i * pointer_size, &pointer, pointer_size);
    }
    acpi_finish_table(build, offset, signature, 1);
    return offset;
}

static void build_rsdp(const struct acpi_build *build, uint32_t rsdt)
{
    struct acpi_rsdp rsdp = {.revision = 2,
                             .rsdt = (uint32_t)build->gpa + rsdt,
                             .length = sizeof(rsdp),
                             .xsdt = build->gpa + build->tables.xsdt};
    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    memcpy(rsdp.oem_id, "CORBEL", sizeof(rsdp.oem_id));
    rsdp.checksum = checksum(&rsdp, offsetof(struct acpi_rsdp, length));
    rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
    memcpy(build->bytes, &rsdp, sizeof(rsdp));
}

enum acpi_error acpi_build(const struct acpi_config *config, uint64_t gpa, void *buffer,
                           size_t size, struct acpi_tables *tables)
{
    const uint64_t four_gib = UINT64_C(1) << 32;
    if (gpa % ACPI_ALIGN != 0 || gpa == 0 || gpa >= four_gib || size > four_gib - gpa) {
        return ACPI_ERROR_PLACE;
    }
    enum acpi_error error = check_config(config);
    if (error != ACPI_OK) {
        return error;
    }
    struct acpi_build build = {.bytes = buffer, .size = size, .gpa = gpa};
    uint32_t list[TABLES_MAX] = {0};
    uint32_t count = 0;
    acpi_reserve(&build, sizeof(struct acpi_rsdp), ACPI_ALIGN);
    build_facs(&build);
    acpi_build_dsdt(&build, config);
    build_fadt(&build, config);
    build_madt(&build, config);
    list[count++] = build.tables.fadt;
    list[count++] = build.tables.madt;
    build_waet(&build, &list[count++]);
    if (config->com1_port) {
        build_spcr(&build, config, &list[count++]);
    }
    if (build.failed) {
        return ACPI_ERROR_SPACE;
    }
    uint32_t rsdt = build_root_table(&build, list, count, "RSDT", 4);
    build.tables.xsdt = build_root_table(&build, list, count, "XSDT", 8);
    if (build.failed) {
        return ACPI_ERROR_SPACE;
    }
    build_rsdp(&build, rsdt);
    build.tables.gpa = gpa;
    build.tables.rsdp_gpa = gpa;
    build.tables.size = (uint32_t)build.used;
    *tables = build.tables;
    return ACPI_OK;
}

uint64_t acpi_bios_rsdp_gpa(const struct acpi_tables *tables)
{
    const uint64_t usual = 0xf0000;
    uint64_t rsdp_end = tables->rsdp_gpa + ACPI_RSDP_SIZE;
    if (tables->rsdp_gpa >= ACPI_BIOS_RSDP_START && rsdp_end <= ACPI_BIOS_RSDP_END) {
        return tables->rsdp_gpa;
    }
    uint64_t end = tables->gpa + tables->size;
    if (tables->gpa >= usual + ACPI_RSDP_SIZE || end <= usual) {
        return usual;
    }
    uint64_t behind = (end + 15) & ~UINT64_C(15);
    return behind + ACPI_RSDP_SIZE <= ACPI_BIOS_RSDP_END ? behind : 0;
}
