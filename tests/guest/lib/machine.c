// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "machine.h"

#include "con.h"
#include "cpu.h"
#include "tap.h"

#define PACKED __attribute__((packed))

struct PACKED mb_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr;
};
_Static_assert(sizeof(struct mb_info) == 52, "multiboot information");
#define MB_CMDLINE (1u << 2)
#define MB_MMAP    (1u << 6)

struct PACKED mb_memory {
    uint32_t size; // of the rest
    uint64_t base, length;
    uint32_t type;
};

struct PACKED pvh_info {
    uint32_t magic, version, flags, modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};
_Static_assert(sizeof(struct pvh_info) == 56, "hvm_start_info");

struct PACKED pvh_memory {
    uint64_t base, size;
    uint32_t type, reserved;
};

struct PACKED rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
};

struct PACKED sdt {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
};
_Static_assert(sizeof(struct sdt) == 36, "ACPI table header");

struct machine machine;
static char cmdline[512];
static uint64_t given_rsdp;

static void add_range(uint64_t base, uint64_t size, uint32_t type)
{
    if (machine.range_count < MACHINE_RANGES) {
        machine.ranges[machine.range_count++] = (struct machine_range){base, size, type};
    }
}

static void keep_cmdline(uint64_t address)
{
    const char *from = (const char *)address;
    for (size_t i = 0; i + 1 < sizeof(cmdline) && from[i]; i++) {
        cmdline[i] = from[i];
    }
}

static void read_multiboot(const struct mb_info *info)
{
    if (info->flags & MB_CMDLINE) {
        keep_cmdline(info->cmdline);
    }
    if (!(info->flags & MB_MMAP)) {
        return;
    }
    uint64_t at = info->mmap_addr, end = at + info->mmap_length;
    while (at < end) {
        const struct mb_memory *entry = (const struct mb_memory *)at;
        add_range(entry->base, entry->length, entry->type);
        at += entry->size + sizeof(entry->size);
    }
}

static void read_pvh(const struct pvh_info *info)
{
    given_rsdp = info->rsdp;
    if (info->cmdline) {
        keep_cmdline(info->cmdline);
    }
    const struct pvh_memory *map = (const struct pvh_memory *)info->memmap;
    for (uint32_t i = 0; info->version && i < info->memmap_entries; i++) {
        add_range(map[i].base, map[i].size, map[i].type);
    }
}

static bool sums_to_zero(const void *from, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)from)[i]);
    }
    return sum == 0;
}

static const struct rsdp *find_rsdp(void)
{
    if (given_rsdp) {
        return (const struct rsdp *)given_rsdp;
    }
    for (uint64_t at = 0xe0000; at < 0x100000; at += 16) {
        if (!memcmp((const void *)at, "RSD PTR ", 8) && sums_to_zero((const void *)at, 20)) {
            return (const struct rsdp *)at;
        }
    }
    return NULL;
}

static const struct sdt *find_table(const struct rsdp *rsdp, const char *signature)
{
    bool wide = rsdp->revision >= 2 && rsdp->xsdt;
    uint64_t root = wide ? rsdp->xsdt : rsdp->rsdt;
    const struct sdt *list = (const struct sdt *)root;
    unsigned step = wide ? 8 : 4;
    for (uint64_t at = root + sizeof(*list); at + step <= root + list->length; at += step) {
        uint64_t address = 0;
        memcpy(&address, (const void *)at, step);
        if (!memcmp((const void *)address, signature, 4)) {
            return (const struct sdt *)address;
        }
    }
    return NULL;
}

static void add_cpu(uint32_t apic_id, uint32_t flags)
{
    // The first is the boot processor, which is there already.
    if ((flags & 1) && apic_id != machine.apic_ids[0] && machine.cpu_count < CPU_MAX) {
        machine.apic_ids[machine.cpu_count++] = apic_id;
    }
}

static void read_madt(const struct sdt *madt)
{
    const uint8_t *at = (const uint8_t *)madt + 44, *end = (const uint8_t *)madt + madt->length;
    while (at + 2 <= end && at[1] >= 2) {
        uint32_t flags, id;
        if (at[0] == 0) {
            memcpy(&flags, at + 4, 4);
            add_cpu(at[3], flags);
        } else if (at[0] == 9) {
            memcpy(&id, at + 4, 4);
            memcpy(&flags, at + 8, 4);
            add_cpu(id, flags);
        }
        at += at[1];
    }
}

static void read_acpi(void)
{
    machine.apic_ids[0] = cpuid(1, 0).ebx >> 24;
    machine.cpu_count = 1;
    const struct rsdp *rsdp = find_rsdp();
    if (!rsdp) {
        return;
    }
    const struct sdt *fadt = find_table(rsdp, "FACP");
    if (fadt) {
        uint32_t port;
        memcpy(&port, (const uint8_t *)fadt + 76, 4);
        machine.pm_timer_port = (uint16_t)port;
    }
    const struct sdt *madt = find_table(rsdp, "APIC");
    if (madt) {
        read_madt(madt);
    }
}

void machine_init(uint32_t magic, uint32_t info)
{
    extern char __bss_end[];
    machine.image_end = ((uint64_t)__bss_end + 0xfff) & ~0xfffull;
    if (magic == BOOT_MAGIC_MULTIBOOT) {
        read_multiboot((const struct mb_info *)(uint64_t)info);
    } else if (magic == BOOT_MAGIC_PVH) {
        read_pvh((const struct pvh_info *)(uint64_t)info);
    } else {
        tap_bail_out("unknown loader %x", magic);
    }
    machine.cmdline = cmdline;
    read_acpi();
}

static uint64_t number(const char *text)
{
    unsigned base = 10;
    if (text[0] == '0' && text[1] == 'x') {
        base = 16;
        text += 2;
    }
    uint64_t value = 0;
    for (;; text++) {
        char c = (char)(*text | 0x20);
        unsigned digit = c >= 'a' ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0');
        if (digit >= base) {
            return value;
        }
        value = value * base + digit;
    }
}

uint64_t machine_option(const char *name, uint64_t other)
{
    size_t size = strlen(name);
    for (const char *at = cmdline; *at; at++) {
        bool start = at == cmdline || at[-1] == ' ';
        if (start && !strncmp(at, name, size) && at[size] == '=') {
            return number(at + size + 1);
        }
    }
    return other;
}

static const struct machine_range *ram_at(uint64_t gpa)
{
    for (uint32_t i = 0; i < machine.range_count; i++) {
        const struct machine_range *r = &machine.ranges[i];
        if (r->type == 1 && gpa >= r->base && gpa - r->base < r->size) {
            return r;
        }
    }
    return NULL;
}

uint64_t machine_ram_end(void)
{
    const struct machine_range *range = ram_at(machine.image_end);
    return range ? range->base + range->size : machine.image_end;
}

bool machine_is_ram(uint64_t gpa)
{
    return ram_at(gpa) != NULL;
}
