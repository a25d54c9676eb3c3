// SPDX-License-Identifier: BSD-2-Clause-Patent
// What lies in a VM's memory when it starts: ACPI tables that describe the chipset, the kernel, its
// RAM disk and command line; and the state of its first processor.
#include "root/lib/acpi.h"
#include "root/lib/load.h"
#include "root/lib/mem.h"
#include "root/lib/ports.h"
#include "root/log.h"
#include "root/vm.h"

#define LOCAL_APIC_BASE 0xFEE00000u

// Windows for VMBus devices' MMIO: beneath the IOAPIC, and behind all RAM but within 36 bits where
// the RAM allows.
#define VMBUS_LOW_BASE  UINT64_C(0xF8000000)
#define VMBUS_LOW_SIZE  UINT64_C(0x04000000)
#define VMBUS_HIGH_BASE UINT64_C(0xC00000000)
#define VMBUS_HIGH_SIZE UINT64_C(0x040000000)

static uint64_t text_length(const char *text)
{
    uint64_t length = 0;

    while (text[length]) {
        length++;
    }
    return length;
}

static void describe(const struct vm *vm, const uint32_t *apic_ids, struct acpi_config *config)
{
    const uint64_t ram_end = guest_memory_end(&vm->memory);
    const uint64_t high = ram_end > VMBUS_HIGH_BASE
                              ? (ram_end + VMBUS_HIGH_SIZE - 1) / VMBUS_HIGH_SIZE * VMBUS_HIGH_SIZE
                              : VMBUS_HIGH_BASE;

    *config = (struct acpi_config){
        .apic_ids = apic_ids,
        .vp_count = (uint32_t)vm->conf.vps,
        .local_apic_gpa = LOCAL_APIC_BASE,
        .ioapic_gpa = IOAPIC_BASE,
        .pm1_event_port = PORT_PM1_EVENT,
        .pm1_control_port = PORT_PM1_CONTROL,
        .pm_timer_port = PORT_PM_TIMER,
        .sci_irq = PIN_SCI,
        .power_button = true,
        .reset_port = PORT_RESET,
        .reset_value = RESET_VALUE,
        .century = RTC_CENTURY,
        .rtc = true,
        .com1_port = PORT_COM1,
        .com1_irq = PIN_COM1,
        .vmbus = true,
        .vmbus_low = {VMBUS_LOW_BASE, VMBUS_LOW_SIZE},
        .vmbus_high = {high, VMBUS_HIGH_SIZE},
    };
}

static bool build_acpi(struct vm *vm, uint64_t *rsdp_gpa)
{
    static uint32_t apic_ids[ACPI_VPS_MAX]; // a VP's APIC id is its index
    const uint64_t gpa = guest_acpi_gpa(&vm->memory);
    uint8_t *tables_at = guest_memory_at(&vm->memory, gpa, GUEST_ACPI_SIZE);
    struct acpi_config config;
    struct acpi_tables tables;

    for (uint32_t i = 0; i < vm->conf.vps; i++) {
        apic_ids[i] = i;
    }
    describe(vm, apic_ids, &config);
    const enum acpi_error error =
        tables_at ? acpi_build(&config, gpa, tables_at, GUEST_ACPI_SIZE, &tables)
                  : ACPI_ERROR_SPACE;
    if (error != ACPI_OK) {
        root_fail("vm %s: ACPI tables: %s", vm->conf.name, acpi_error_text(error));
        return false;
    }
    const uint64_t copy = acpi_bios_rsdp_gpa(&tables);
    void *copy_at = copy ? guest_memory_at(&vm->memory, copy, ACPI_RSDP_SIZE) : NULL;
    if (copy_at && copy != tables.rsdp_gpa) {
        memcpy(copy_at, tables_at, ACPI_RSDP_SIZE);
    }
    *rsdp_gpa = tables.rsdp_gpa;
    return true;
}

static bool load_images(struct vm *vm, uint64_t rsdp_gpa, struct load_vp_state *start)
{
    static struct load_result result;
    const struct load_reserved reserved = {guest_acpi_gpa(&vm->memory), GUEST_ACPI_SIZE,
                                           LOAD_MEMORY_ACPI};
    const struct load_request request = {
        .ram = vm->memory.piece,
        .ram_count = vm->memory.count,
        .reserved = &reserved,
        .reserved_count = 1,
        .image = vm->kernel.bytes,
        .image_size = vm->kernel.size,
        .initrd = vm->initrd.bytes,
        .initrd_size = vm->initrd.size,
        .cmdline = vm->conf.cmdline,
        .cmdline_size = text_length(vm->conf.cmdline),
        .rsdp_gpa = rsdp_gpa,
    };
    const enum load_error error = load_guest(&request, &result);

    if (error != LOAD_OK) {
        root_fail("vm %s: %s: %s", vm->conf.name, vm->conf.kernel, load_error_text(error));
        return false;
    }
    root_log("vm %s: %s: %s", vm->conf.name, vm->conf.kernel, load_kind_text(result.kind));
    *start = result.vp;
    vm_note_zeroed(vm, &result);
    return true;
}

bool vm_load(struct vm *vm, struct load_vp_state *start)
{
    uint64_t rsdp_gpa;

    for (uint32_t i = 0; i < vm->memory.count; i++) {
        memset(vm->memory.piece[i].host, 0, vm->memory.piece[i].size);
    }
    return build_acpi(vm, &rsdp_gpa) && load_images(vm, rsdp_gpa, start);
}

// ---- start -------------------------------------------------------------------------------------

static void add_segment(struct call_registers *list, uint32_t name,
                        const struct load_segment *segment)
{
    const union hv_register_value value = {
        .segment = {segment->base, segment->limit, segment->selector, segment->attributes}};

    call_registers_add128(list, name, value.reg128.low, value.reg128.high);
}

static void add_table(struct call_registers *list, uint32_t name, const struct load_table *table)
{
    const union hv_register_value value = {.table = {{0}, table->limit, table->base}};

    call_registers_add128(list, name, value.reg128.low, value.reg128.high);
}

uint16_t vm_set_start(const struct vm *vm, const struct load_vp_state *start)
{
    static struct call_registers list;
    const struct {
        uint32_t name;
        uint64_t value;
    } values[] = {
        {HV_REGISTER_RIP, start->rip},       {HV_REGISTER_RSP, start->rsp},
        {HV_REGISTER_RFLAGS, start->rflags}, {HV_REGISTER_RAX, start->rax},
        {HV_REGISTER_RBX, start->rbx},       {HV_REGISTER_RCX, start->rcx},
        {HV_REGISTER_RDX, start->rdx},       {HV_REGISTER_RSI, start->rsi},
        {HV_REGISTER_RDI, start->rdi},       {HV_REGISTER_RBP, start->rbp},
        {HV_REGISTER_CR3, start->cr3},       {HV_REGISTER_CR4, start->cr4},
        {HV_REGISTER_EFER, start->efer},     {HV_REGISTER_CR0, start->cr0},
        {HV_REGISTER_EXPLICIT_SUSPEND, 0},
    };

    call_registers_start(&list, vm->account.partition, 0);
    add_segment(&list, HV_REGISTER_CS, &start->cs);
    add_segment(&list, HV_REGISTER_DS, &start->ds);
    add_segment(&list, HV_REGISTER_ES, &start->es);
    add_segment(&list, HV_REGISTER_FS, &start->fs);
    add_segment(&list, HV_REGISTER_GS, &start->gs);
    add_segment(&list, HV_REGISTER_SS, &start->ss);
    add_segment(&list, HV_REGISTER_TR, &start->tr);
    add_segment(&list, HV_REGISTER_LDTR, &start->ldtr);
    add_table(&list, HV_REGISTER_GDTR, &start->gdtr);
    add_table(&list, HV_REGISTER_IDTR, &start->idtr);
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        call_registers_add(&list, values[i].name, values[i].value);
    }
    return call_set_registers(&list);
}
