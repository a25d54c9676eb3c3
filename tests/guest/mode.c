// SPDX-License-Identifier: BSD-2-Clause-Patent
// Out of long mode and back: real mode, 16-bit and flat 32-bit protected mode without paging, each
// with the instructions that exit.
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "layout.h"
#include "legacy.h"
#include "machine.h"
#include "start.h"
#include "tap.h"

#define SNIPPET(name, bits, code)                                                                  \
    extern const uint8_t name[], name##_end[];                                                     \
    __asm__(".pushsection .rodata\n" #name ":\n.code" #bits "\n" code "\nret\n" #name              \
            "_end:\n.code64\n.popsection\n")
#define RUN(mode, name, regs) legacy_call(mode, name, (size_t)(name##_end - name), regs)

static const char *const mode_names[] = {"real mode", "16-bit protected mode",
                                         "32-bit protected mode"};

// ---- the same in all three ------------------------------------------------------------------

#define ADD_CODE   "add %ecx, %eax\n xor %ebx, %edx\n not %esi\n neg %edi\n shl $4, %ebp"
#define CPUID_CODE "cpuid"
#define RDMSR_CODE "rdmsr"
#define PORT_CODE  "mov $0x2f0, %edx\n in %dx, %al\n mov %al, %bl\n in %dx, %ax\n in %dx, %eax"
#define WRMSR_CODE                                                                                 \
    "rdmsr\n mov %eax, %esi\n mov $0x1234, %eax\n wrmsr\n xor %eax, %eax\n rdmsr\n"                \
    "mov %eax, %edi\n mov %esi, %eax\n wrmsr\n mov %edi, %eax"
#define LOOP_CODE                                                                                  \
    "1: push %ecx\n xor %eax, %eax\n cpuid\n pop %ecx\n dec %ecx\n jnz 1b\n mov $77, %eax"
SNIPPET(add16, 16, ADD_CODE);
SNIPPET(add32, 32, ADD_CODE);
SNIPPET(cpuid16, 16, CPUID_CODE);
SNIPPET(cpuid32, 32, CPUID_CODE);
SNIPPET(rdmsr16, 16, RDMSR_CODE);
SNIPPET(rdmsr32, 32, RDMSR_CODE);
SNIPPET(wrmsr16, 16, WRMSR_CODE);
SNIPPET(wrmsr32, 32, WRMSR_CODE);
SNIPPET(port16, 16, PORT_CODE);
SNIPPET(port32, 32, PORT_CODE);
SNIPPET(loop16, 16, LOOP_CODE);
SNIPPET(loop32, 32, LOOP_CODE);

#define RUN_EITHER(mode, name, regs)                                                               \
    do {                                                                                           \
        if ((mode) == LEGACY_PROT32) {                                                             \
            RUN(mode, name##32, regs);                                                             \
        } else {                                                                                   \
            RUN(mode, name##16, regs);                                                             \
        }                                                                                          \
    } while (0)

static void test_mode(enum legacy_mode mode)
{
    const char *name = mode_names[mode];
    struct legacy_regs regs = {.eax = 0xfffffff0,
                               .ecx = 0x20,
                               .edx = 0xaaaa5555,
                               .ebx = 0xffffffff,
                               .esi = 1,
                               .edi = 1,
                               .ebp = 0x11111111};
    RUN_EITHER(mode, add, &regs);
    tap_ok(regs.eax == 0x10 && regs.ecx == 0x20 && regs.edx == 0x5555aaaa &&
               regs.esi == 0xfffffffe && regs.edi == 0xffffffff && regs.ebp == 0x11111110,
           "%s: all eight registers work in 32 bits", name);

    struct cpuid want = cpuid(0, 0);
    regs = (struct legacy_regs){0};
    RUN_EITHER(mode, cpuid, &regs);
    tap_ok(regs.eax == want.eax && regs.ebx == want.ebx && regs.ecx == want.ecx &&
               regs.edx == want.edx,
           "%s: CPUID answers as in long mode", name);

    uint64_t base = rdmsr(MSR_APIC_BASE);
    regs = (struct legacy_regs){.ecx = MSR_APIC_BASE};
    RUN_EITHER(mode, rdmsr, &regs);
    tap_ok(regs.eax == (uint32_t)base && regs.edx == base >> 32,
           "%s: RDMSR answers as in long mode", name);

    regs = (struct legacy_regs){.ecx = MSR_SYSENTER_EIP};
    RUN_EITHER(mode, wrmsr, &regs);
    tap_is(regs.eax, 0x1234, "%s: WRMSR writes", name);

    regs = (struct legacy_regs){.ebx = 0x11111111};
    RUN_EITHER(mode, port, &regs);
    tap_ok(regs.eax == 0xffffffff && regs.ebx == 0x111111ff,
           "%s: an I/O port that no one owns reads as ones (%x, %x)", name, regs.eax, regs.ebx);

    regs = (struct legacy_regs){.ecx = 1000};
    RUN_EITHER(mode, loop, &regs);
    tap_is(regs.eax, 77, "%s: a thousand exits later it still runs", name);
}

// ---- real mode alone ------------------------------------------------------------------------

// Sets vector 0x70 to a handler of its own, calls it, and restores the vector.
SNIPPET(interrupt, 16,
        "push %es\n"
        "xor %ax, %ax\n mov %ax, %es\n"
        "pushl %es:0x1c0\n"
        "mov $0xa000 + (1f - interrupt), %ax\n mov %ax, %es:0x1c0\n movw $0, %es:0x1c2\n"
        "xor %ebx, %ebx\n"
        "int $0x70\n"
        "add $1, %ebx\n"
        "popl %es:0x1c0\n"
        "pop %es\n"
        "jmp 2f\n"
        "1: add $0x100, %ebx\n iret\n"
        "2:");

// Divides by zero: the fault's return address is the division's own.
SNIPPET(fault, 16,
        "pushl 0\n"
        "mov $0xa000 + (1f - fault), %ax\n mov %ax, 0\n movw $0, 2\n"
        "xor %ebx, %ebx\n xor %cx, %cx\n"
        "3: div %cx\n"
        "4: popl 0\n"
        "jmp 2f\n"
        "1: add $1, %ebx\n"
        "mov %sp, %bp\n"
        "mov (%bp), %di\n sub $0xa000 + (3b - fault), %di\n"
        "addw $(4b - 3b), (%bp)\n"
        "iret\n"
        "2:");

// One address through two segments.
SNIPPET(segments, 16,
        "push %ds\n"
        "mov $0x1000, %bx\n mov %bx, %ds\n"
        "movl $0x12345678, 0x10\n"
        "mov $0x1001, %bx\n mov %bx, %ds\n"
        "mov 0, %eax\n"
        "pop %ds");

// Protection on and off again without a far jump between.
SNIPPET(cr0_toggle, 16,
        "mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n and $0xfe, %al\n mov %eax, %cr0\n"
        "mov %cr0, %ebx\n"
        "smsw %cx");

SNIPPET(string_io, 16,
        "mov $0x2f0, %dx\n mov $0x4000, %di\n mov $16, %cx\n cld\n rep insb\n"
        "mov %di, %bx\n mov 0x4000, %eax\n and 0x4004, %eax\n and 0x4008, %eax\n and 0x400c, %eax");

static void test_real(void)
{
    struct legacy_regs regs = {0};
    RUN(LEGACY_REAL, interrupt, &regs);
    tap_is(regs.ebx, 0x101, "real mode: INT goes through the vector table and comes back");
    regs = (struct legacy_regs){.eax = 1};
    RUN(LEGACY_REAL, fault, &regs);
    tap_ok(regs.ebx == 1 && (uint16_t)regs.edi == 0,
           "real mode: #DE goes through vector 0 with the division's address");
    regs = (struct legacy_regs){0};
    RUN(LEGACY_REAL, segments, &regs);
    tap_is(regs.eax, 0x12345678, "real mode: segments are shifted by four");
    regs = (struct legacy_regs){0};
    RUN(LEGACY_REAL, cr0_toggle, &regs);
    tap_ok((regs.ebx & 1) == 0 && (regs.ecx & 1) == 0, "real mode: CR0.PE can be tried and left");
    regs = (struct legacy_regs){0};
    RUN(LEGACY_REAL, string_io, &regs);
    tap_ok(regs.eax == 0xffffffff && (uint16_t)regs.ebx == 0x4010 && (uint16_t)regs.ecx == 0,
           "real mode: REP INSB fills memory and moves DI and CX (%x, %x, %x)", regs.eax,
           (uint16_t)regs.ebx, (uint16_t)regs.ecx);
}

// ---- hypercalls from outside long mode ------------------------------------------------------

// EDX:EAX control, EBX:ECX and EDI:ESI operands, result in EDX:EAX; EBP: the page.
SNIPPET(hypercall32, 32, "call *%ebp");

static void test_hypercall(void)
{
    hv_setup();
    struct legacy_regs regs = {
        .eax = HVCALL_NOTIFY_LONG_SPIN_WAIT | 1u << 16, .ecx = 1, .ebp = (uint32_t)hv_gpa(hv_page)};
    RUN(LEGACY_PROT32, hypercall32, &regs);
    tap_ok(regs.eax == 0 && regs.edx == 0,
           "32-bit protected mode: a hypercall takes EDX:EAX and answers there (%x:%x)", regs.edx,
           regs.eax);
    regs = (struct legacy_regs){.eax = 0x7fff, .ebp = (uint32_t)hv_gpa(hv_page)};
    RUN(LEGACY_PROT32, hypercall32, &regs);
    tap_ok(regs.eax == HV_STATUS_INVALID_HYPERCALL_CODE && regs.edx == 0,
           "32-bit protected mode: an unknown code is told so (%x:%x)", regs.edx, regs.eax);
}

// 32-bit protected mode, memory form: input in EBX:ECX, output in EDI:ESI, counts in EDX.
#define FIND HVCALL_GET_VP_INDEX_FROM_APIC_ID

_Alignas(4096) static struct {
    struct hv_input_get_vp_index_from_apic_id in;
    uint32_t id[8];
} find_input;
_Alignas(4096) static uint32_t find_output[8];

static struct legacy_regs find32(uint32_t start, uint32_t count)
{
    struct legacy_regs regs = {.eax = FIND,
                               .edx = start << 16 | count,
                               .ecx = (uint32_t)hv_gpa(&find_input),
                               .esi = (uint32_t)hv_gpa(find_output),
                               .ebp = (uint32_t)hv_gpa(hv_page)};
    find_input.in =
        (struct hv_input_get_vp_index_from_apic_id){.partition_id = HV_PARTITION_ID_SELF};
    for (unsigned i = 0; i < 8; i++) {
        find_input.id[i] = machine.apic_ids[0];
        find_output[i] = 0xeeeeeeee;
    }
    RUN(LEGACY_PROT32, hypercall32, &regs);
    return regs;
}

static void test_rep32(void)
{
    struct legacy_regs regs = find32(2, 5);
    tap_ok(regs.eax == 0 && regs.edx == 5 && find_output[1] == 0xeeeeeeee && find_output[2] == 0 &&
               find_output[4] == 0 && find_output[5] == 0xeeeeeeee,
           "32-bit protected mode: a rep call does its elements and counts them in EDX (%x:%x)",
           regs.edx, regs.eax);
    tap_ok(regs.ecx == (uint32_t)hv_gpa(&find_input) && regs.esi == (uint32_t)hv_gpa(find_output) &&
               regs.ebx == 0 && regs.edi == 0,
           "32-bit protected mode: the operands are as they were");
    regs = find32(5, 5);
    tap_ok(regs.eax == HV_STATUS_INVALID_HYPERCALL_INPUT && regs.edx == 0,
           "32-bit protected mode: a rep start at the count is refused (%x:%x)", regs.edx,
           regs.eax);
    regs = (struct legacy_regs){
        .eax = FIND | 1u << 16, .edx = 1, .ecx = ~0u, .ebx = ~0u, .ebp = (uint32_t)hv_gpa(hv_page)};
    RUN(LEGACY_PROT32, hypercall32, &regs);
    tap_ok(regs.eax == HV_STATUS_INVALID_HYPERCALL_INPUT,
           "32-bit protected mode: there is no output in registers (%x:%x)", regs.edx, regs.eax);
    regs = (struct legacy_regs){.eax = HVCALL_SEND_SYNTHETIC_CLUSTER_IPI | 1u << 16,
                                .ecx = 8, // vector, below 16
                                .esi = 1,
                                .ebp = (uint32_t)hv_gpa(hv_page)};
    RUN(LEGACY_PROT32, hypercall32, &regs);
    tap_ok(regs.eax == HV_STATUS_INVALID_PARAMETER && regs.edx == 0,
           "32-bit protected mode: a fast call takes both words (%x:%x)", regs.edx, regs.eax);
}

// Compatibility mode: EFER.LMA is set and CS.L is not. The way there and back is by far returns, on
// a stack and at addresses below 4 GiB.
static struct legacy_regs call_compatible(struct legacy_regs regs)
{
    __asm__ volatile("push %[code32]\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "mov %[eax], %%eax\n\t"
                     "lretq\n\t"
                     ".code32\n\t"
                     "1: call *%%edi\n\t"
                     "push %[code64]\n\t"
                     "push $2f\n\t"
                     "lretl\n\t"
                     ".code64\n\t"
                     "2:"
                     : "=&a"(regs.edi), "+d"(regs.edx), "+c"(regs.ecx), "+b"(regs.ebx),
                       "+S"(regs.esi)
                     : [eax] "r"(regs.eax),
                       "D"((uint64_t)regs.ebp), [code32] "i"(SEL_CODE32), [code64] "i"(SEL_CODE64)
                     : "memory", "cc");
    regs.eax = regs.edi;
    return regs;
}

static void test_compatibility(void)
{
    struct legacy_regs regs =
        call_compatible((struct legacy_regs){.eax = 0x7fff, .ebp = (uint32_t)hv_gpa(hv_page)});
    tap_ok(regs.eax == HV_STATUS_INVALID_HYPERCALL_CODE && regs.edx == 0,
           "compatibility mode: with EFER.LMA and without CS.L EDX:EAX is the control (%x:%x)",
           regs.edx, regs.eax);
}

// In real mode a hypercall is #UD: vector 6 counts in EBX and skips the three bytes.
SNIPPET(hypercall_real, 16,
        "pushl 0x18\n"
        "mov $0xa000 + (1f - hypercall_real), %ax\n mov %ax, 0x18\n movw $0, 0x1a\n"
        "xor %ebx, %ebx\n mov $0x10008, %eax\n xor %edx, %edx\n"
        ".byte 0x0f, 0x01, 0xd9\n"
        "popl 0x18\n"
        "jmp 2f\n"
        "1: add $1, %ebx\n mov %sp, %bp\n addw $3, (%bp)\n iret\n"
        "2:");

static void test_hypercall_real(void)
{
    struct legacy_regs regs = {0};
    RUN(LEGACY_REAL, hypercall_real, &regs);
    tap_is(regs.ebx, 1, "real mode: a hypercall is #UD");
}

void guest_main(void)
{
    for (enum legacy_mode mode = LEGACY_REAL; mode <= LEGACY_PROT32; mode++) {
        test_mode(mode);
    }
    test_real();
    tap_ok(read_cr0() & CR0_PG && rdmsr(MSR_EFER) & EFER_LMA, "long mode is back");
    if (hv_present()) {
        test_hypercall();
        test_rep32();
        test_compatibility();
        test_hypercall_real();
    }
}
