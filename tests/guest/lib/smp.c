// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "smp.h"

#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "layout.h"
#include "machine.h"
#include "trap.h"

extern uint8_t cpu_areas[CPU_MAX][CPU_AREA_SIZE];
extern uint8_t low_start[], low_end[], low_gdt[], low_ap_cr3[], low_ap_stack[];
extern const uint8_t boot_gdt[];

#define TSS_LIMIT   0x67
#define GDT_ENTRIES (GDT_BOOT_ENTRIES + 2)

struct __attribute__((packed)) tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map;
};
_Static_assert(sizeof(struct tss) == TSS_LIMIT + 1, "64-bit TSS");

struct __attribute__((packed)) table {
    uint16_t limit;
    uint64_t base;
};

static struct tss tss[CPU_MAX];
static uint64_t gdt[CPU_MAX][GDT_ENTRIES];

// Where a symbol of the code for the low memory is once it has been copied there.
static void *low(const uint8_t *symbol)
{
    return (void *)(symbol - low_start + LOW_CODE);
}

struct percpu *percpu(void)
{
    uint64_t rsp;
    __asm__("mov %%rsp, %0" : "=r"(rsp));
    // A full stack is empty: its top is the next area's base.
    return (struct percpu *)((rsp - 1) & ~(uint64_t)(CPU_AREA_SIZE - 1));
}

uint16_t percpu_cs(void)
{
    return SEL_CODE64;
}

uint16_t percpu_ss(void)
{
    return SEL_DATA;
}

struct percpu *smp_cpu(uint32_t index)
{
    return (struct percpu *)cpu_areas[index];
}

uint64_t smp_stack_top(uint32_t index)
{
    return (uint64_t)cpu_areas[index] + CPU_AREA_SIZE;
}

void smp_init_cpu(uint32_t index)
{
    uint64_t area = (uint64_t)cpu_areas[index], base = (uint64_t)&tss[index];
    tss[index] = (struct tss){.rsp = {area + CPU_AREA_SIZE / 2},
                              .ist = {area + CPU_DF_STACK, area + CPU_NMI_STACK},
                              .io_map = TSS_LIMIT + 1};
    memcpy(gdt[index], boot_gdt, 8 * GDT_BOOT_ENTRIES);
    gdt[index][GDT_BOOT_ENTRIES] =
        TSS_LIMIT | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    gdt[index][GDT_BOOT_ENTRIES + 1] = base >> 32;
    struct table table = {sizeof(gdt[index]) - 1, (uint64_t)gdt[index]};
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(table), "r"(SEL_TSS) : "memory");
    smp_cpu(index)->index = index;
    if (index == 0) {
        memcpy((void *)LOW_CODE, low_start, (size_t)(low_end - low_start));
        memcpy(low(low_gdt), boot_gdt, 8 * GDT_BOOT_ENTRIES);
        trap_init(SEL_CODE64, true);
    } else {
        trap_load();
    }
}

static void wake(struct trap_frame *frame)
{
    (void)frame;
    apic_eoi();
}

static volatile bool ap_x2;

_Noreturn void smp_ap_start(void)
{
    struct percpu *cpu = percpu();
    smp_init_cpu(cpu->index);
    cpu->catch = 0;
    apic_enable(ap_x2);
    cpu->apic_id = apic_id();
    cpu->starts++;
    for (;;) {
        cli();
        void (*work)(void *) = cpu->work;
        if (!work) {
            sti_hlt_cli();
            continue;
        }
        sti();
        work(cpu->context);
        barrier();
        cpu->work = 0;
    }
}

void smp_prepare_start(uint32_t index)
{
    uint64_t cr3 = read_cr3(), stack = smp_stack_top(index);
    memcpy(low(low_ap_cr3), &cr3, 8);
    memcpy(low(low_ap_stack), &stack, 8);
    struct percpu *cpu = smp_cpu(index);
    cpu->index = index;
    cpu->work = 0;
    ap_x2 = apic_is_x2();
    trap_set_handler(SMP_WAKE_VECTOR, wake);
}

bool smp_start(uint32_t index)
{
    struct percpu *cpu = smp_cpu(index);
    uint32_t starts = cpu->starts, id = machine.apic_ids[index];
    smp_prepare_start(index);
    apic_ipi(id, ICR_INIT | ICR_LEVEL | ICR_ASSERT);
    clock_delay(200);
    apic_ipi(id, ICR_INIT | ICR_LEVEL);
    clock_delay(10000);
    apic_ipi(id, ICR_STARTUP | SIPI_VECTOR);
    clock_delay(200);
    if (cpu->starts == starts) {
        apic_ipi(id, ICR_STARTUP | SIPI_VECTOR);
    }
    return clock_wait(&cpu->starts, starts + 1, CLOCK_PATIENCE);
}

uint32_t smp_start_all(void)
{
    uint32_t count = 1;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        count += smp_start(i);
    }
    return count;
}

void smp_run(uint32_t index, smp_body *body, void *context)
{
    struct percpu *cpu = smp_cpu(index);
    cpu->context = context;
    barrier();
    cpu->work = body;
    apic_ipi(machine.apic_ids[index], ICR_FIXED | SMP_WAKE_VECTOR);
}

bool smp_wait(uint32_t index, uint64_t us)
{
    struct percpu *cpu = smp_cpu(index);
    uint64_t start = rdtsc(), ticks = clock_ticks(us);
    while (cpu->work) {
        if (rdtsc() - start >= ticks) {
            return !cpu->work;
        }
        pause();
    }
    return true;
}

bool smp_call(uint32_t index, smp_body *body, void *context)
{
    smp_run(index, body, context);
    return smp_wait(index, CLOCK_PATIENCE);
}
