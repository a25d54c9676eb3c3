// SPDX-License-Identifier: BSD-2-Clause-Patent
// The end: everything that helps to understand it goes to the log, the other LPs stop.
#include "corbel/panic.h"

#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/vplog.h"
#include "corbel/x86.h"

static _Atomic uint32_t panicking;

__attribute__((used)) uintptr_t __stack_chk_guard = 0x7be4a1005ffe9d21;
_Noreturn void __stack_chk_fail(void);

// Return addresses: whatever on the stack points into the image.
static void print_stack(uint64_t sp)
{
    uint64_t top = (sp | (HV_LP_AREA_SIZE - 1)) + 1;
    uint32_t printed = 0;

    for (sp &= ~7ul; sp < top && printed < 16; sp += 8) {
        uint64_t word = *(const uint64_t *)sp;
        if (word >= HV_IMAGE_BASE && word < HV_IMAGE_BASE + 0x1000000) {
            hv_log("  stack %016lx", (unsigned long)word);
            printed++;
        }
    }
}

static _Noreturn void stop(uint64_t sp)
{
    struct lp *lp = this_lp();

    if (lp->vp)
        vp_log(lp->vp);
    lp_log_exits(lp);
    print_stack(sp);
    for (uint32_t i = 0; i < lp_count; i++)
        if (i != lp->index && lp_of(i)->present)
            lp_request(lp_of(i), LP_REQUEST_STOP);
    hv_log("PANIC ends: LP %u halted", lp->index);
    for (;;)
        __asm__ volatile("cli; hlt");
}

// The second LP to panic says so in one line; a panic inside a panic stops at once.
static void begin(void)
{
    struct lp *lp = this_lp();
    uint32_t mine = lp->index + 1, nobody = 0;

    log_break_lock();
    if (!atomic_compare_exchange_strong(&panicking, &nobody, mine)) {
        if (nobody == mine)
            for (;;)
                __asm__ volatile("cli; hlt");
        hv_log("PANIC on LP %u too", lp->index);
    }
}

void panic(const char *format, ...)
{
    va_list args;
    uint64_t sp = (uint64_t)__builtin_frame_address(0);

    begin();
    va_start(args, format);
    hv_log("PANIC LP %u:", this_lp()->index);
    hv_vlog(format, &args);
    va_end(args);
    stop(sp);
}

void panic_fault(const struct fault_frame *f)
{
    begin();
    hv_log("PANIC LP %u: exception %lu error %#lx at %016lx cr2 %016lx", this_lp()->index,
           (unsigned long)f->vector, (unsigned long)f->error_code, (unsigned long)f->rip,
           (unsigned long)read_cr2());
    hv_log("  rax %016lx rcx %016lx rdx %016lx rbx %016lx", (unsigned long)f->rax,
           (unsigned long)f->rcx, (unsigned long)f->rdx, (unsigned long)f->rbx);
    hv_log("  rsp %016lx rbp %016lx rsi %016lx rdi %016lx", (unsigned long)f->rsp,
           (unsigned long)f->rbp, (unsigned long)f->rsi, (unsigned long)f->rdi);
    hv_log("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx", (unsigned long)f->r8,
           (unsigned long)f->r9, (unsigned long)f->r10, (unsigned long)f->r11);
    hv_log("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx", (unsigned long)f->r12,
           (unsigned long)f->r13, (unsigned long)f->r14, (unsigned long)f->r15);
    stop(f->rsp);
}

__attribute__((used)) _Noreturn void __stack_chk_fail(void)
{
    panic("stack smashed");
}
