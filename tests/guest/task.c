// SPDX-License-Identifier: BSD-2-Clause-Patent
// Task switches in 32-bit protected mode: by a far call, by a task gate for a software interrupt
// and for an exception with an error code, each with its IRET back. SDM 3A 8.
#include "cpu.h"
#include "layout.h"
#include "legacy.h"
#include "start.h"
#include "tap.h"

#include <string.h>

#define GDT_ENTRIES 16u
#define SEL_TSS_A   0x60u
#define SEL_TSS_B   0x68u
#define SEL_TSS_C   0x70u
#define TSS_32      0x89ul
#define TASK_GATE   0x85ul
#define VECTOR_SOFT 0x21u
#define FLAGS_NT    0x4000u
#define CR0_TS_BIT  8u
#define BAD         0xfff8u

struct tss {
    uint32_t link, stacks[6], cr3, eip, eflags;
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt, trap;
};
_Static_assert(sizeof(struct tss) == 0x68, "SDM 3A figure 8-2");

struct table {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

// The code below names them.
struct table task_gdtr, task_idtr, task_saved_gdtr, task_saved_idtr;
struct tss task_a, task_b, task_c;
uint32_t task_turns, task_flags, task_cr0, task_tr, task_error, task_back;
static uint64_t gdt[GDT_ENTRIES], idt[64];
static uint8_t stacks[2][1024] __attribute__((aligned(16)));

// B notes what it finds. C takes the error code off its stack and has A go on behind the 2 bytes of
// its instruction (EIP is at 20h of its TSS). After an IRET a task goes on there when it is called
// again.
__asm__(".pushsection .text\n.code32\n"
        "task_b_code: incl task_turns\n pushfl\n popl task_flags\n"
        "mov %cr0, %eax\n mov %eax, task_cr0\n clts\n"
        "xor %eax, %eax\n str %ax\n mov %eax, task_tr\n mov $-1, %ebx\n iret\n jmp task_b_code\n"
        "task_c_code: popl task_error\n addl $2, task_a + 0x20\n clts\n iret\n jmp task_c_code\n"
        ".code64\n.popsection\n");
extern const uint8_t task_b_code[], task_c_code[];

extern const uint8_t task_run[], task_run_end[];
__asm__(".pushsection .rodata\ntask_run:\n.code32\n"
        "sgdt task_saved_gdtr\n sidt task_saved_idtr\n lgdt task_gdtr\n lidt task_idtr\n"
        "mov $0x60, %eax\n ltr %ax\n"
        "lcall $0x68, $0\n"
        "mov %cr0, %eax\n mov %eax, task_back\n clts\n"
        "int $0x21\n clts\n"
        "mov $0xfff8, %eax\n mov %ax, %ds\n clts\n"
        "lcall $0x68, $0\n clts\n"
        "lgdt task_saved_gdtr\n lidt task_saved_idtr\n"
        "ret\ntask_run_end:\n.code64\n.popsection\n");

static uint32_t low(const volatile void *p)
{
    return (uint32_t)(uintptr_t)p;
}

static uint64_t tss_descriptor(const struct tss *t)
{
    uint64_t base = low(t);
    return (sizeof(*t) - 1) | (base & 0xffffff) << 16 | TSS_32 << 40 | (base >> 24) << 56;
}

static struct tss tss_of(const uint8_t *code, uint8_t *stack)
{
    return (struct tss){.eip = low(code),
                        .eflags = 2,
                        .esp = low(stack),
                        .es = SEL_DATA,
                        .cs = SEL_CODE32,
                        .ss = SEL_DATA,
                        .ds = SEL_DATA};
}

static void prepare(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) now;
    __asm__ volatile("sgdt %0" : "=m"(now));
    memcpy(gdt, (const void *)now.base, now.limit + 1u < SEL_TSS_A ? now.limit + 1u : SEL_TSS_A);
    gdt[SEL_TSS_A / 8] = tss_descriptor(&task_a);
    gdt[SEL_TSS_B / 8] = tss_descriptor(&task_b);
    gdt[SEL_TSS_C / 8] = tss_descriptor(&task_c);
    idt[VECTOR_SOFT] = TASK_GATE << 40 | (uint64_t)SEL_TSS_B << 16;
    idt[VECTOR_GP] = TASK_GATE << 40 | (uint64_t)SEL_TSS_C << 16;
    task_gdtr = (struct table){sizeof(gdt) - 1, low(gdt)};
    task_idtr = (struct table){sizeof(idt) - 1, low(idt)};
    task_b = tss_of(task_b_code, stacks[0] + sizeof(stacks[0]));
    task_c = tss_of(task_c_code, stacks[1] + sizeof(stacks[1]));
}

void guest_main(void)
{
    struct legacy_regs regs = {
        .ecx = 0x11, .edx = 0x22, .ebx = 0x33, .esi = 0x44, .edi = 0x55, .ebp = 0x66};
    prepare();
    legacy_call(LEGACY_PROT32, task_run, (size_t)(task_run_end - task_run), &regs);
    tap_is(task_turns, 3, "a far call, INT n by a task gate and a far call switch tasks and back");
    tap_ok((task_flags & FLAGS_NT) && task_b.link == SEL_TSS_A,
           "the new task is nested in the old");
    tap_is(task_tr, SEL_TSS_B, "TR is the new task's");
    tap_ok((task_cr0 & CR0_TS_BIT) && (task_back & CR0_TS_BIT), "both ways set CR0.TS");
    tap_is(task_error, BAD, "an exception's error code is on the new task's stack");
    tap_ok(regs.ecx == 0x11 && regs.edx == 0x22 && regs.ebx == 0x33 && regs.esi == 0x44 &&
               regs.edi == 0x55 && regs.ebp == 0x66,
           "the old task has its registers back");
    tap_is(gdt[SEL_TSS_A / 8] >> 40 & 0xff, TSS_32 | 2, "its TSS is busy");
    tap_is(gdt[SEL_TSS_B / 8] >> 40 & 0xff, TSS_32, "the others are not");
}
