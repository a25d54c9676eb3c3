// SPDX-License-Identifier: BSD-2-Clause-Patent
// The least that runs the bench guest under KVM: a machine with the APICs in the kernel and the
// rest here, as today's VMMs have it.
//
//   kvmrun IMAGE PROCESSORS MIB COMMAND-LINE
//
// The upper quarter of memory may be backed by large pages, the rest may not. The exit status is
// what the guest writes to port 0xf4.
#define _GNU_SOURCE
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

#define LARGE_PAGE       0x200000ul
#define INFO             0x1000u // multiboot information, with the memory map and command line behind it
#define INFO_MAP         (INFO + 0x100)
#define INFO_TEXT        (INFO + 0x200)
#define MB_MAGIC         0x2badb002u
#define MB_FLAGS         0x44u // command line, memory map
#define LOW_END          0xa0000u
#define HIGH_START       0x100000u
#define MAX_LEAVES       256
#define LEAF_HV          0x40000000u
#define LEAF_TIMING      0x40000010u // EAX: TSC kHz
#define LEAF_KVM         0x40000100u // where KVM's leaves go when Hv#1's come first
#define CPUID_1_X2APIC   (1u << 21)
#define CPUID_1_DEADLINE (1u << 24)
#define CR0_PE_ET        0x11u
#define MAX_CPUS         8
#define MSI_ADDRESS      0xfee00000u
#define ROUTES           24

// struct kvm_cpuid2 with its array.
struct leaves {
    uint32_t count, padding;
    struct kvm_cpuid_entry2 entry[MAX_LEAVES];
};

static int kvm, vm;
static uint8_t *ram;
static size_t ram_size;
static struct vmm vmm = {.exit_value = -1};

static void check(int result, const char *what)
{
    if (result < 0)
        err(2, "%s", what);
}

static void make_memory(size_t size)
{
    uint8_t *at = mmap(NULL, size + LARGE_PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        err(2, "memory");
    ram = (uint8_t *)(((uintptr_t)at + LARGE_PAGE - 1) & -LARGE_PAGE);
    ram_size = size;
    size_t small = size / 4 * 3;
    check(madvise(ram, small, MADV_NOHUGEPAGE), "small pages");
    if (madvise(ram + small, size - small, MADV_HUGEPAGE))
        warn("large pages");
    struct kvm_userspace_memory_region region = {.memory_size = size,
                                                 .userspace_addr = (uintptr_t)ram};
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "memory region");
}

static uint32_t load(const char *path)
{
    Elf32_Ehdr head;
    Elf32_Phdr part;
    int file = open(path, O_RDONLY);
    check(file, path);
    if (pread(file, &head, sizeof(head), 0) != sizeof(head))
        errx(2, "%s: too short", path);
    for (int i = 0; i < head.e_phnum; i++) {
        off_t at = head.e_phoff + (off_t)i * (off_t)sizeof(part);
        if (pread(file, &part, sizeof(part), at) != sizeof(part))
            errx(2, "%s: too short", path);
        if (part.p_type == PT_LOAD && (part.p_paddr + (size_t)part.p_memsz > ram_size ||
                                       pread(file, ram + part.p_paddr, part.p_filesz,
                                             part.p_offset) != (ssize_t)part.p_filesz))
            errx(2, "%s: a segment does not load", path);
    }
    close(file);
    return head.e_entry;
}

static void put32(size_t at, uint32_t value)
{
    memcpy(ram + at, &value, sizeof(value));
}

static void put_range(size_t at, uint64_t base, uint64_t size)
{
    put32(at, 20);
    memcpy(ram + at + 4, &base, sizeof(base));
    memcpy(ram + at + 12, &size, sizeof(size));
    put32(at + 20, 1);
}

static void write_info(const char *text)
{
    put32(INFO, MB_FLAGS);
    put32(INFO + 16, INFO_TEXT);
    put32(INFO + 44, 48);
    put32(INFO + 48, INFO_MAP);
    put_range(INFO_MAP, 0, LOW_END);
    put_range(INFO_MAP + 24, HIGH_START, ram_size - HIGH_START);
    strcpy((char *)ram + INFO_TEXT, text);
}

static void add_leaf(struct leaves *all, struct kvm_cpuid_entry2 entry)
{
    if (all->count == MAX_LEAVES)
        errx(2, "too many CPUID leaves");
    all->entry[all->count++] = entry;
}

// What KVM supports, Hv#1's leaves first and its own above them.
static void set_cpuid(int cpu, uint32_t id)
{
    static struct leaves own, hv, all;
    own.count = hv.count = MAX_LEAVES;
    all.count = 0;
    check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &own), "CPUID");
    check(ioctl(kvm, KVM_GET_SUPPORTED_HV_CPUID, &hv), "CPUID of Hv#1");
    for (uint32_t i = 0; i < own.count; i++) {
        struct kvm_cpuid_entry2 e = own.entry[i];
        if (e.function == 1) {
            e.ebx = (e.ebx & 0xffffff) | id << 24;
            e.ecx |= CPUID_1_X2APIC | CPUID_1_DEADLINE;
        }
        if (e.function == 0xb)
            e.edx = id;
        if (e.function == LEAF_HV)
            e.eax = LEAF_KVM + 1;
        if (e.function == LEAF_HV || e.function == LEAF_HV + 1)
            e.function += LEAF_KVM - LEAF_HV;
        add_leaf(&all, e);
    }
    for (uint32_t i = 0; i < hv.count; i++)
        add_leaf(&all, hv.entry[i]);
    int khz = ioctl(cpu, KVM_GET_TSC_KHZ);
    add_leaf(&all, (struct kvm_cpuid_entry2){.function = LEAF_TIMING, .eax = (uint32_t)khz});
    check(ioctl(cpu, KVM_SET_CPUID2, &all), "CPUID is refused");
}

static struct kvm_segment flat(uint8_t type)
{
    return (struct kvm_segment){.limit = 0xffffffff,
                                .selector = type == 0xb ? 8 : 16,
                                .type = type,
                                .present = 1,
                                .db = 1,
                                .s = 1,
                                .g = 1};
}

static void set_boot_state(int cpu, uint32_t entry)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = entry, .rax = MB_MAGIC, .rbx = INFO, .rflags = 2};
    check(ioctl(cpu, KVM_GET_SREGS, &sregs), "registers");
    sregs.cs = flat(0xb);
    sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = flat(3);
    sregs.cr0 = CR0_PE_ET;
    check(ioctl(cpu, KVM_SET_SREGS, &sregs), "system registers");
    check(ioctl(cpu, KVM_SET_REGS, &regs), "general registers");
}

static void inject(void)
{
    struct kvm_msi msi = {.address_lo = MSI_ADDRESS, .data = VMM_VECTOR};
    check(ioctl(vm, KVM_SIGNAL_MSI, &msi), "interrupt");
}

static void answer_port(struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    int write = run->io.direction == KVM_EXIT_IO_OUT, wanted = 0;
    uint8_t value = vmm_port(&vmm, run->io.port, write, *data, &wanted);
    if (!write)
        memset(data, value, (size_t)run->io.size * run->io.count);
    if (wanted)
        inject();
    if (vmm.exit_value >= 0) {
        fflush(stdout);
        _exit(vmm.exit_value);
    }
}

static void answer_mmio(struct kvm_run *run)
{
    if (!run->mmio.is_write)
        memset(run->mmio.data, run->mmio.phys_addr >= VMM_IOAPIC ? 0 : 0xff,
               sizeof(run->mmio.data));
}

struct processor {
    int fd;
    uint32_t id;
    struct kvm_run *run;
};

static void *run_processor(void *argument)
{
    struct processor *p = argument;
    cpu_set_t where;
    CPU_ZERO(&where);
    CPU_SET(p->id % (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), &where);
    sched_setaffinity(0, sizeof(where), &where);
    for (;;) {
        // A processor that waits for its start comes back with EAGAIN now and then.
        while (ioctl(p->fd, KVM_RUN, 0) < 0) {
            if (errno != EAGAIN && errno != EINTR)
                err(2, "run");
        }
        if (p->run->exit_reason == KVM_EXIT_IO)
            answer_port(p->run);
        else if (p->run->exit_reason == KVM_EXIT_MMIO)
            answer_mmio(p->run);
        else
            errx(2, "exit %u of processor %u", p->run->exit_reason, p->id);
    }
}

static void make_processor(struct processor *p, uint32_t id)
{
    p->id = id;
    p->fd = ioctl(vm, KVM_CREATE_VCPU, id);
    check(p->fd, "processor");
    p->run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
                  MAP_SHARED, p->fd, 0);
    if (p->run == MAP_FAILED)
        err(2, "processor's page");
    set_cpuid(p->fd, id);
}

int main(int argc, char **argv)
{
    static struct processor processors[MAX_CPUS];
    if (argc != 5)
        errx(2, "usage: kvmrun IMAGE PROCESSORS MIB COMMAND-LINE");
    uint32_t count = (uint32_t)atoi(argv[2]);
    kvm = open("/dev/kvm", O_RDWR);
    check(kvm, "/dev/kvm");
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    check(vm, "virtual machine");
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {ROUTES}};
    check(ioctl(vm, KVM_ENABLE_CAP, &split), "APICs in the kernel");
    make_memory((size_t)atoi(argv[3]) << 20);
    uint32_t entry = load(argv[1]);
    write_info(argv[4]);
    for (uint32_t i = 0; i < count && i < MAX_CPUS; i++)
        make_processor(&processors[i], i);
    set_boot_state(processors[0].fd, entry);
    for (uint32_t i = 1; i < count && i < MAX_CPUS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run_processor, &processors[i]))
            errx(2, "no thread");
    }
    run_processor(&processors[0]);
}
