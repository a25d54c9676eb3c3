// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "corbel/idt.h"

#include "corbel/interrupts.h"
#include "corbel/launch.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/panic.h"
#include "corbel/string.h"
#include "corbel/x86.h"

#define STUB_SIZE       16
#define IST_NMI         1
#define IST_FAULT       2
#define GATE_INTERRUPT  0x8e00u
#define SELECTOR_CODE   8
#define FIRST_EXTERNAL  32
#define SELECTOR_TSS    24
#define ERROR_NO_VECTOR 0xfffau // IDT entry -1

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t flags; // IST in 2:0, type, present
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

extern const uint8_t idt_host_stubs[], idt_window_stubs[];
extern const uint8_t msr_read_at[], msr_failed[];
void load_segments(void);
void idt_fault(struct fault_frame *frame);

static struct gate host_idt[256] __attribute__((aligned(4096)));
static struct gate window_idt[256] __attribute__((aligned(4096)));

static struct gate gate(const uint8_t *stub, uint16_t ist)
{
    uint64_t a = (uint64_t)stub;
    return (struct gate){(uint16_t)a,         SELECTOR_CODE,       (uint16_t)(GATE_INTERRUPT | ist),
                         (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0};
}

void idt_build(void)
{
    for (size_t v = 0; v < 256; v++) {
        uint16_t ist = v == EXC_NMI ? IST_NMI : v == EXC_DF || v == EXC_MC ? IST_FAULT : 0;
        window_idt[v] = gate(idt_window_stubs + v * STUB_SIZE, 0);
        host_idt[v] = gate(idt_host_stubs + v * STUB_SIZE, ist);
        // With GIF clear none of these comes but on an emulator (docs/emulators.md): the next
        // window's end deals with it.
        if (v >= FIRST_EXTERNAL)
            host_idt[v] = window_idt[v];
    }
    // NMI and machine check are what they are in a window too.
    window_idt[EXC_NMI] = host_idt[EXC_NMI];
    window_idt[EXC_MC] = host_idt[EXC_MC];
}

static void load(const struct gate *table)
{
    struct launch_table t = {sizeof(host_idt) - 1, (uint64_t)table};
    __asm__ volatile("lidt %0" : : "m"(t));
}

void idt_use_host(void)
{
    load(host_idt);
}

void idt_use_window(void)
{
    load(window_idt);
}

void gdt_load(struct lp *lp)
{
    uint64_t area = (uint64_t)lp, tss = (uint64_t)lp->tss;
    uint64_t ist_nmi = area + (LP_AREA_NMI_PAGE + LP_AREA_NMI_PAGES) * PAGE_SIZE;
    uint64_t ist_fault = area + (LP_AREA_FAULT_PAGE + LP_AREA_FAULT_PAGES) * PAGE_SIZE;
    uint64_t stack = area + HV_LP_AREA_SIZE;
    struct launch_table t = {sizeof(lp->gdt) - 1, (uint64_t)lp->gdt};

    memset(lp->tss, 0, sizeof(lp->tss));
    memcpy(&lp->tss[4], &stack, 8);      // RSP0
    memcpy(&lp->tss[36], &ist_nmi, 8);   // IST1
    memcpy(&lp->tss[44], &ist_fault, 8); // IST2
    lp->tss[102] = sizeof(lp->tss);      // no I/O bitmap
    lp->gdt[1] = 0x00af9b000000ffff;     // 64-bit code
    lp->gdt[2] = 0x00cf93000000ffff;     // data
    lp->gdt[3] =
        (sizeof(lp->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ul << 40 | (tss >> 24 & 0xff) << 56;
    lp->gdt[4] = tss >> 32;
    __asm__ volatile("lgdt %0" : : "m"(t));
    load_segments();
    __asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

// QEMU keeps an 8259's request pending after its pin has been masked; when a window lets it in it
// has no vector and faults on entry -1 of the IDT (docs/emulators.md). Nothing has been
// acknowledged.
static bool withdrawn_interrupt(const struct fault_frame *f)
{
    return f->vector == EXC_GP && (f->error_code & 0xffff) == ERROR_NO_VECTOR;
}

// Where NMIs come at any time, one may come behind the last look at nmi_seen before an entry: the
// kick is waiting then, and ends that entry.
static void note_nmi(struct lp *lp)
{
    lp->nmi_seen = true;
    if (lp->nmi_any_time)
        lapic_kick_self(lp);
}

// Called by the host stubs. Returns for an NMI, for an MSR access that may fault, and for an
// interrupt that was withdrawn.
void idt_fault(struct fault_frame *f)
{
    if (f->vector == EXC_NMI) {
        note_nmi(this_lp());
        return;
    }
    if (f->vector == EXC_GP && f->rip == (uint64_t)msr_read_at) {
        f->rip = (uint64_t)msr_failed;
        return;
    }
    if (withdrawn_interrupt(f))
        return;
    panic_fault(f);
}
