// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "trap.h"

#include <stddef.h>

#include "con.h"
#include "cpu.h"
#include "layout.h"
#include "percpu.h"
#include "tap.h"

struct gate {
    uint16_t offset_low;  // 0
    uint16_t selector;    // 2
    uint16_t attributes;  // 4: IST 2:0, type 11:8, DPL 14:13, present 15
    uint16_t offset_mid;  // 6
    uint32_t offset_high; // 8
    uint32_t reserved;    // 12
};
_Static_assert(sizeof(struct gate) == 16, "64-bit gate");

#define GATE_INTERRUPT 0x8e00u
#define GATE_DPL3      0x6000u
#define STUB_SIZE      16

struct __attribute__((packed)) table {
    uint16_t limit;
    uint64_t base;
};

// What trap_try leaves for trap_dispatch; they nest.
struct trap_catch {
    struct trap_catch *outer;
    uint64_t rsp;
    struct trap trap;
};

extern const char trap_stubs[];
extern const char trap_recover[];
uint64_t trap_call(uint64_t *saved_rsp, trap_body *body, void *context);
void trap_dispatch(struct trap_frame *frame);

static struct gate idt[256];
static trap_handler *handlers[256];
volatile uint32_t trap_stray_count;
volatile uint8_t trap_stray_vector;

void trap_init(uint16_t cs, bool ist)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t stub = (uint64_t)(trap_stubs + i * STUB_SIZE);
        // INT3 and INTO from ring 3 are wanted; the others are not callable from there.
        uint16_t dpl = i == VECTOR_BP ? GATE_DPL3 : 0;
        idt[i] = (struct gate){.offset_low = (uint16_t)stub,
                               .selector = cs,
                               .attributes = (uint16_t)(GATE_INTERRUPT | dpl),
                               .offset_mid = (uint16_t)(stub >> 16),
                               .offset_high = (uint32_t)(stub >> 32)};
    }
    if (ist) {
        idt[VECTOR_DF].attributes |= 1;
        idt[VECTOR_NMI].attributes |= 2;
    }
    trap_load();
}

void trap_load(void)
{
    struct table table = {sizeof(idt) - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(table));
}

void trap_set_handler(uint8_t vector, trap_handler *handler)
{
    WRITE_ONCE(handlers[vector], handler);
}

static _Noreturn void unexpected(const struct trap_frame *f)
{
    con_printf("\n# exception %u error %lx at %lx:%lx rflags %lx rsp %lx cr2 %lx cr3 %lx\n",
               (unsigned)f->vector, f->error, f->cs, f->rip, f->rflags, f->rsp, read_cr2(),
               read_cr3());
    con_printf("# rax %lx rcx %lx rdx %lx rbx %lx rbp %lx rsi %lx rdi %lx r8 %lx\n", f->rax, f->rcx,
               f->rdx, f->rbx, f->rbp, f->rsi, f->rdi, f->r8);
    tap_bail_out("unexpected exception %u", (unsigned)f->vector);
}

void trap_dispatch(struct trap_frame *frame)
{
    trap_handler *handler = READ_ONCE(handlers[frame->vector]);
    if (handler) {
        handler(frame);
        return;
    }
    if (frame->vector >= 32) {
        trap_stray_vector = (uint8_t)frame->vector;
        trap_stray_count++;
        return;
    }
    struct percpu *cpu = percpu();
    struct trap_catch *catch = cpu->catch;
    if (!catch) {
        unexpected(frame);
    }
    catch->trap = (struct trap){.taken = true,
                                .vector = (uint8_t)frame->vector,
                                .error = (uint32_t)frame->error,
                                .rip = frame->rip,
                                .cr2 = read_cr2()};
    frame->rip = (uint64_t)trap_recover;
    frame->rsp = catch->rsp;
    frame->cs = percpu_cs();
    frame->ss = percpu_ss();
    frame->rflags &= ~(RFLAGS_TF | RFLAGS_IF);
}

struct trap trap_try(trap_body *body, void *context)
{
    struct percpu *cpu = percpu();
    struct trap_catch catch = {.outer = cpu->catch};
    WRITE_ONCE(cpu->catch, &catch);
    trap_call(&catch.rsp, body, context);
    WRITE_ONCE(cpu->catch, catch.outer);
    return catch.trap;
}

struct user_call {
    trap_body *body;
    void *context;
};

static void enter_user(void *context)
{
    struct user_call *call = context;
    __asm__ volatile("mov %%rsp, %%rax\n\t"
                     "push %2\n\t"
                     "push %%rax\n\t"
                     "pushfq\n\t"
                     "push %3\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "iretq\n"
                     "1: call *%0\n\t"
                     "int3"
                     :
                     : "r"(call->body), "D"(call->context), "i"(SEL_USER_DATA), "i"(SEL_USER_CODE64)
                     : "rax", "memory");
}

struct trap trap_try_user(trap_body *body, void *context)
{
    struct user_call call = {body, context};
    return trap_try(enter_user, &call);
}

struct access {
    uint64_t where, value;
};

static void body_rdmsr(void *context)
{
    struct access *a = context;
    a->value = rdmsr((uint32_t)a->where);
}

static void body_wrmsr(void *context)
{
    struct access *a = context;
    wrmsr((uint32_t)a->where, a->value);
}

static void body_read8(void *context)
{
    struct access *a = context;
    a->value = *(volatile uint8_t *)a->where;
}

static void body_write8(void *context)
{
    struct access *a = context;
    *(volatile uint8_t *)a->where = (uint8_t)a->value;
}

struct trap try_rdmsr(uint32_t msr, uint64_t *value)
{
    struct access a = {msr, 0};
    struct trap trap = trap_try(body_rdmsr, &a);
    if (!trap.taken && value) {
        *value = a.value;
    }
    return trap;
}

struct trap try_wrmsr(uint32_t msr, uint64_t value)
{
    struct access a = {msr, value};
    return trap_try(body_wrmsr, &a);
}

struct trap try_read8(uint64_t address, uint8_t *value)
{
    struct access a = {address, 0};
    struct trap trap = trap_try(body_read8, &a);
    if (!trap.taken && value) {
        *value = (uint8_t)a.value;
    }
    return trap;
}

struct trap try_write8(uint64_t address, uint8_t value)
{
    struct access a = {address, value};
    return trap_try(body_write8, &a);
}
