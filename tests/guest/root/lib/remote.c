// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "remote.h"

#include "con.h"
#include "cpu.h"
#include "hv/msr.h"
#include "hv/partition.h"
#include "hv/registers.h"
#include "hv/synic.h"
#include "rootprobe.h"
#include "tap.h"

#define RWX (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)

// Pages of `pages`, and the GPA pages where they are.
enum { CODE, PML4, PDPT, DIRECTORY, MAILBOX, INPUT = MAILBOX + REMOTE_VPS, COUNT = 8 };
#define CODE_GPA       0x1000u
#define CALL_GPA       0xf000u // hypercall page
#define MAILBOX_GPA    0x5000u
#define STACK_TOP(vp)  (MAILBOX_GPA + ((vp) + 1) * 0x1000u)
#define PRESENT_WRITE  3u
#define LARGE          0x80u
#define MSR_APIC_BASE  0x1bu
#define MSR_X2APIC_SVR 0x80fu
#define MSR_X2APIC_IRR 0x820u

enum command { NOTHING, CALL, WRMSR, RDMSR, LOAD, STORE, RUN, RDTSC };

struct mailbox {
    volatile uint64_t command; // written last; 0 again: done
    uint64_t a, b, c;          // 8, 16, 24
    uint64_t result;           // 32, of the last one
    uint64_t count;            // 40: how many calls
    uint64_t want;             // 48
    volatile uint64_t matched; // 56: calls that returned that
    uint64_t insist;           // 64: only those count
};

// RDI is the mailbox.
__asm__(".pushsection .text\n"
        "remote_code:\n"
        "1: mov (%rdi), %rax\n test %rax, %rax\n jnz 2f\n pause\n jmp 1b\n"
        "2: cmp $1, %rax\n je 10f\n cmp $2, %rax\n je 20f\n cmp $3, %rax\n je 30f\n"
        "   cmp $4, %rax\n je 40f\n cmp $5, %rax\n je 50f\n cmp $6, %rax\n je 60f\n"
        "   cmp $7, %rax\n je 70f\n"
        "3: movq $0, (%rdi)\n jmp 1b\n"
        "10: movq $0, 56(%rdi)\n"
        "11: mov 8(%rdi), %rcx\n mov 16(%rdi), %rdx\n mov 24(%rdi), %r8\n"
        "   mov $0xf000, %eax\n push %rdi\n call *%rax\n pop %rdi\n mov %rax, 32(%rdi)\n"
        "   cmp 48(%rdi), %rax\n jne 12f\n incq 56(%rdi)\n jmp 13f\n"
        "12: cmpq $0, 64(%rdi)\n jne 11b\n"
        "13: decq 40(%rdi)\n jnz 11b\n jmp 3b\n"
        "20: mov 8(%rdi), %rcx\n mov 16(%rdi), %eax\n mov 20(%rdi), %edx\n wrmsr\n jmp 3b\n"
        "30: mov 8(%rdi), %rcx\n rdmsr\n mov %eax, 32(%rdi)\n mov %edx, 36(%rdi)\n jmp 3b\n"
        "40: mov 8(%rdi), %rax\n mov (%rax), %rax\n mov %rax, 32(%rdi)\n jmp 3b\n"
        "50: mov 8(%rdi), %rax\n mov 16(%rdi), %rcx\n mov %rcx, (%rax)\n mfence\n jmp 3b\n"
        "60: mov 8(%rdi), %rax\n push %rdi\n call *%rax\n pop %rdi\n jmp 3b\n"
        "70: lfence\n rdtsc\n mov %eax, 32(%rdi)\n mov %edx, 36(%rdi)\n jmp 3b\n"
        "remote_code_end:\n"
        ".popsection\n");
extern const uint8_t remote_code[], remote_code_end[];

static struct mailbox *mailbox(const struct remote *r, uint32_t vp)
{
    return (struct mailbox *)(r->pages[MAILBOX + vp] << 12);
}

void *remote_input(struct remote *r, uint32_t vp)
{
    return (void *)(r->pages[INPUT + vp] << 12);
}

// ---- one command ----------------------------------------------------------------------------

static void send(struct remote *r, uint32_t vp, enum command command, uint64_t a, uint64_t b,
                 uint64_t c)
{
    struct mailbox *m = mailbox(r, vp);
    m->a = a;
    m->b = b;
    m->c = c;
    __asm__ volatile("" ::: "memory");
    m->command = command;
}

static uint64_t wait(struct remote *r, uint32_t vp)
{
    struct mailbox *m = mailbox(r, vp);
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + PATIENCE_US * 10;
    while (m->command != NOTHING) {
        if (rdmsr(HV_X64_MSR_TIME_REF_COUNT) >= end) {
            tap_bail_out("VP %u does not answer: command %lu, RIP %lx, suspended %lx", vp,
                         m->command, parent_get64(r->child.id, vp, HV_REGISTER_RIP),
                         parent_get64(r->child.id, vp, HV_REGISTER_INTERCEPT_SUSPEND));
        }
        pause();
    }
    __asm__ volatile("" ::: "memory");
    return m->result;
}

void remote_insist(struct remote *r, uint32_t vp, uint64_t control, uint64_t first, uint64_t second,
                   uint32_t count, uint64_t want)
{
    mailbox(r, vp)->count = count;
    mailbox(r, vp)->want = want;
    mailbox(r, vp)->insist = 1;
    send(r, vp, CALL, control, first, second);
}

void remote_repeat(struct remote *r, uint32_t vp, uint64_t control, uint64_t first, uint64_t second,
                   uint32_t count, uint64_t want)
{
    mailbox(r, vp)->insist = 0;
    mailbox(r, vp)->count = count;
    mailbox(r, vp)->want = want;
    send(r, vp, CALL, control, first, second);
}

uint32_t remote_end(struct remote *r, uint32_t vp)
{
    wait(r, vp);
    return (uint32_t)mailbox(r, vp)->matched;
}

uint64_t remote_call(struct remote *r, uint32_t vp, uint64_t control, uint64_t first,
                     uint64_t second)
{
    remote_repeat(r, vp, control, first, second, 1, 0);
    return wait(r, vp);
}

void remote_wrmsr(struct remote *r, uint32_t vp, uint32_t msr, uint64_t value)
{
    send(r, vp, WRMSR, msr, value, 0);
    wait(r, vp);
}

uint64_t remote_rdmsr(struct remote *r, uint32_t vp, uint32_t msr)
{
    send(r, vp, RDMSR, msr, 0, 0);
    return wait(r, vp);
}

uint64_t remote_rdtsc(struct remote *r, uint32_t vp)
{
    send(r, vp, RDTSC, 0, 0, 0);
    return wait(r, vp);
}

uint64_t remote_load(struct remote *r, uint32_t vp, uint64_t gpa)
{
    send(r, vp, LOAD, gpa, 0, 0);
    return wait(r, vp);
}

void remote_store(struct remote *r, uint32_t vp, uint64_t gpa, uint64_t value)
{
    send(r, vp, STORE, gpa, value, 0);
    wait(r, vp);
}

void remote_run(struct remote *r, uint32_t vp, uint64_t gpa, uint64_t first, uint64_t second)
{
    send(r, vp, RUN, gpa, first, second);
}

// ---- life -----------------------------------------------------------------------------------

// Everything at its GPA; page tables that map the first 2 MiB.
static bool map_pages(struct remote *r)
{
    static const uint64_t at[COUNT] = {CODE_GPA >> 12,
                                       2,
                                       3,
                                       4,
                                       MAILBOX_GPA >> 12,
                                       (MAILBOX_GPA >> 12) + 1,
                                       REMOTE_INPUT(0) >> 12,
                                       REMOTE_INPUT(1) >> 12};
    for (unsigned i = 0; i < COUNT; i++) {
        r->pages[i] = page_take();
        memset((void *)(r->pages[i] << 12), 0, 4096);
        if (!child_map(&r->child, at[i], r->pages[i], RWX)) {
            return false;
        }
    }
    memcpy((void *)(r->pages[CODE] << 12), remote_code, (size_t)(remote_code_end - remote_code));
    *(uint64_t *)(r->pages[PML4] << 12) = 3ul << 12 | PRESENT_WRITE;
    *(uint64_t *)(r->pages[PDPT] << 12) = 4ul << 12 | PRESENT_WRITE;
    *(uint64_t *)(r->pages[DIRECTORY] << 12) = LARGE | PRESENT_WRITE;
    return true;
}

static void start_vp(struct remote *r, uint32_t vp)
{
    const union hv_register_value code = {
        .segment = {.base = 0, .limit = ~0u, .selector = 8, .attributes = 0xa09b}};
    const union hv_register_value data = {
        .segment = {.base = 0, .limit = ~0u, .selector = 16, .attributes = 0xc093}};
    const struct {
        uint32_t name;
        uint64_t value;
    } state[] = {
        {HV_REGISTER_CR3, 2 << 12},
        {HV_REGISTER_CR4, 0x20},       // PAE
        {HV_REGISTER_EFER, 0x500},     // LME, LMA
        {HV_REGISTER_CR0, 0x80000011}, // PG, ET, PE
        {HV_REGISTER_RIP, CODE_GPA},
        {HV_REGISTER_RSP, STACK_TOP(vp)},
        {HV_REGISTER_RDI, MAILBOX_GPA + vp * 0x1000},
        {HV_REGISTER_RFLAGS, 2},
        {HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0},
        {HV_REGISTER_EXPLICIT_SUSPEND, 0},
    };
    parent_set(r->child.id, vp, HV_REGISTER_CS, &code);
    parent_set(r->child.id, vp, HV_REGISTER_SS, &data);
    parent_set(r->child.id, vp, HV_REGISTER_DS, &data);
    for (unsigned i = 0; i < sizeof(state) / sizeof(state[0]); i++) {
        uint16_t status = parent_set64(r->child.id, vp, state[i].name, state[i].value);
        if (status) {
            tap_note("VP %u: register %x: status %x", vp, state[i].name, status);
        }
    }
}

bool remote_start(struct remote *r, uint64_t privileges, uint32_t vps)
{
    struct child child;
    if (child_create_with(&child, privileges)) {
        return remote_start_child(r, &child, vps);
    }
    *r = (struct remote){.child = child};
    return false;
}

bool remote_start_child(struct remote *r, const struct child *child, uint32_t vps)
{
    *r = (struct remote){.child = *child, .vps = vps};
    bool right = map_pages(r);
    for (uint32_t vp = 0; right && vp < vps; vp++) {
        right = child_create_vp(&r->child, vp);
        start_vp(r, vp);
    }
    if (right) {
        remote_wrmsr(r, 0, HV_X64_MSR_GUEST_OS_ID, HV_GUEST_OS_ID_OPEN_SOURCE | 1);
        remote_wrmsr(r, 0, HV_X64_MSR_HYPERCALL, CALL_GPA | HV_MSR_HYPERCALL_ENABLE);
    }
    return right;
}

bool remote_delete(struct remote *r)
{
    bool right = child_delete(&r->child);
    for (unsigned i = 0; i < COUNT; i++) {
        page_give(r->pages[i]);
    }
    return right;
}

// ---- interrupts -----------------------------------------------------------------------------

void remote_synic_on(struct remote *r, uint32_t vp)
{
    remote_wrmsr(r, vp, HV_X64_MSR_SIMP, REMOTE_SIM(vp) | HV_PAGE_MSR_ENABLE);
    remote_wrmsr(r, vp, HV_X64_MSR_SIEFP, REMOTE_SIEF(vp) | HV_PAGE_MSR_ENABLE);
    remote_wrmsr(r, vp, HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    remote_wrmsr(r, vp, MSR_APIC_BASE, 0xfee00c00 | (vp ? 0 : 0x100));
    remote_wrmsr(r, vp, MSR_X2APIC_SVR, 0x1ff);
}

bool remote_pending(struct remote *r, uint32_t vp, uint8_t vector)
{
    return remote_rdmsr(r, vp, MSR_X2APIC_IRR + vector / 32u) >> (vector % 32u) & 1;
}
