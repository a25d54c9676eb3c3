// SPDX-License-Identifier: BSD-2-Clause-Patent
// Architectural state is kept over exits and while other processors have their turns: x87, SSE and
// AVX registers, debug registers, segment bases, the MSRs of system calls, PAT, CR2.
//
// rig: --vps 2 --lps 1
// rig: --vps 4 --lps 2
// timeout: 240
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_AVX   (1u << 28)
#define XSTATE_X87_SSE    3u
#define XSTATE_AVX        4u
#define SECOND            1000000ul
#define ROUNDS            20u // at least, however slow the host is

// XSAVE area, standard form (SDM 1 13.4).
struct xarea {
    uint16_t fcw, fsw;                       // 0
    uint8_t ftw, reserved0;                  // 4
    uint16_t fop;                            // 6
    uint64_t fip, fdp;                       // 8
    uint32_t mxcsr, mxcsr_mask;              // 24
    uint8_t x87[8][16];                      // 32
    uint8_t xmm[16][16];                     // 160
    uint8_t available[96];                   // 416
    uint64_t xstate_bv, xcomp_bv, header[6]; // 512
    uint8_t ymm_high[16][16];                // 576
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct xarea) == 832, "XSAVE area with AVX");

enum spend { // what happens between loading and saving the registers
    SPEND_CPUID,
    SPEND_RDMSR,
    SPEND_PORT,
    SPEND_TIME,
    SPEND_KINDS
};
static const char *const spend_names[] = {"CPUID exits", "RDMSR exits", "port accesses",
                                          "a busy wait"};

static struct xarea loaded[CPU_MAX], saved[CPU_MAX];
static uint32_t components; // XCR0, or 0 without XSAVE

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ul + 1442695040888963407ul;
    return *seed >> 16 | *seed << 48;
}

static void fill(void *to, size_t size, uint64_t *seed)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)to)[i] = (uint8_t)next_random(seed);
    }
}

static void fill_area(struct xarea *area, uint64_t *seed)
{
    memset(area, 0, sizeof(*area));
    area->fcw = (uint16_t)(0x037f | (next_random(seed) & 3) << 10);
    area->ftw = 0xff;
    area->mxcsr = (uint32_t)(0x1f80 | (next_random(seed) & 3) << 13);
    for (int i = 0; i < 8; i++) {
        fill(area->x87[i], 10, seed);
    }
    fill(area->xmm, sizeof(area->xmm), seed);
    if (components & XSTATE_AVX) {
        fill(area->ymm_high, sizeof(area->ymm_high), seed);
    }
    area->xstate_bv = components;
}

static bool same_area(const struct xarea *a, const struct xarea *b)
{
    return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->mxcsr == b->mxcsr &&
           !memcmp(a->x87, b->x87, sizeof(a->x87)) && !memcmp(a->xmm, b->xmm, sizeof(a->xmm)) &&
           (!(components & XSTATE_AVX) || !memcmp(a->ymm_high, b->ymm_high, sizeof(a->ymm_high)));
}

// The compiler uses none of these registers (-mgeneral-regs-only), so plain C may run in between.
static void load_area(const struct xarea *area)
{
    if (components) {
        __asm__ volatile("xrstor64 %0" : : "m"(*area), "a"(components), "d"(0));
    } else {
        __asm__ volatile("fxrstor64 %0" : : "m"(*area));
    }
}

static void save_area(struct xarea *area)
{
    memset(area, 0, sizeof(*area));
    if (components) {
        __asm__ volatile("xsave64 %0" : "+m"(*area) : "a"(components), "d"(0));
    } else {
        __asm__ volatile("fxsave64 %0" : "=m"(*area));
    }
}

static void spend(enum spend kind, uint64_t ticks)
{
    uint64_t start = rdtsc();
    switch (kind) {
    case SPEND_CPUID:
        for (int i = 0; i < 20; i++) {
            cpuid(0, 0);
        }
        break;
    case SPEND_RDMSR:
        for (int i = 0; i < 20; i++) {
            rdmsr(MSR_APIC_BASE);
        }
        break;
    case SPEND_PORT:
        for (int i = 0; i < 5; i++) {
            in8(0x2f0);
        }
        break;
    default:
        while (rdtsc() - start < ticks) {
            pause();
        }
    }
}

static void enable_state(void *context)
{
    (void)context;
    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE)) {
        return;
    }
    write_cr4(read_cr4() | CR4_OSXSAVE);
    components = XSTATE_X87_SSE | (cpuid(1, 0).ecx & CPUID_1_ECX_AVX ? XSTATE_AVX : 0);
    xsetbv(0, components);
}

static void test_exits(void)
{
    uint64_t seed = 1;
    for (enum spend kind = 0; kind < SPEND_KINDS; kind++) {
        uint32_t bad = 0;
        for (int i = 0; i < 20; i++) {
            fill_area(&loaded[0], &seed);
            load_area(&loaded[0]);
            spend(kind, clock_ticks(2000));
            save_area(&saved[0]);
            bad += !same_area(&loaded[0], &saved[0]);
        }
        tap_is(bad, 0, "x87, SSE%s are kept over %s", components & XSTATE_AVX ? " and AVX" : "",
               spend_names[kind]);
    }
}

// ---- everything at once, on all processors --------------------------------------------------

extern const uint8_t syscall_stub[], syscall_stub_end[];
__asm__(".pushsection .rodata\n"
        "syscall_stub:\n lea syscall_stub(%rip), %rax\n jmp *%rcx\n"
        "syscall_stub_end:\n.popsection");

struct cells {
    uint64_t fs, gs, kernel_gs;
    uint8_t stub[32]; // copy of syscall_stub: it returns its own address
};

enum { // what may go wrong, counted each
    WRONG_FPU,
    WRONG_MSR,
    WRONG_SEGMENT,
    WRONG_SYSCALL,
    WRONG_DEBUG,
    WRONG_CR2,
    WRONG_KINDS
};
static const char *const wrong_names[] = {
    "x87, SSE and AVX registers", "system MSRs",     "segment bases and SWAPGS",
    "the target of SYSCALL",      "debug registers", "CR2"};

static const uint32_t msrs[] = {MSR_CSTAR, MSR_SFMASK, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP,
                                MSR_SYSENTER_CS};
#define MSR_COUNT (sizeof(msrs) / sizeof(msrs[0]))

static volatile uint32_t wrong[WRONG_KINDS], rounds_done[CPU_MAX];
static struct cells cells[CPU_MAX];

static uint64_t msr_value(uint32_t msr, uint64_t *seed)
{
    uint64_t value = next_random(seed);
    if (msr == MSR_SYSENTER_CS) {
        return value & 0xffff; // what any processor keeps
    }
    return msr == MSR_SFMASK ? value & 0xffff0200 : value & 0x7fffffffffff;
}

static bool segments_right(struct cells *mine, uint64_t seed)
{
    uint64_t fs, gs, kernel_gs;
    mine->fs = seed;
    mine->gs = seed + 1;
    mine->kernel_gs = seed + 2;
    __asm__ volatile("mov %%fs:0, %0\n\t"
                     "mov %%gs:0, %1\n\t"
                     "swapgs\n\t"
                     "mov %%gs:0, %2\n\t"
                     "swapgs"
                     : "=&r"(fs), "=&r"(gs), "=&r"(kernel_gs)
                     :
                     : "memory");
    return fs == seed && gs == seed + 1 && kernel_gs == seed + 2;
}

static bool syscall_right(const struct cells *mine)
{
    uint64_t from;
    __asm__ volatile("syscall" : "=a"(from) : : "rcx", "r11", "memory");
    return from == (uint64_t)mine->stub;
}

static void set_debug(uint64_t seed)
{
    write_dr0(seed & 0x7fffffff);
    write_dr1(seed >> 8 & 0x7fffffff);
    write_dr2(seed >> 16 & 0x7fffffff);
    write_dr3(seed >> 24 & 0x7fffffff);
}

static bool debug_right(uint64_t seed)
{
    return read_dr0() == (seed & 0x7fffffff) && read_dr1() == (seed >> 8 & 0x7fffffff) &&
           read_dr2() == (seed >> 16 & 0x7fffffff) && read_dr3() == (seed >> 24 & 0x7fffffff);
}

static void note_wrong(unsigned kind, bool right)
{
    if (!right) {
        __asm__ volatile("lock incl %0" : "+m"(wrong[kind]));
    }
}

static void one_round(uint32_t me, uint64_t *seed)
{
    struct cells *mine = &cells[me];
    uint64_t values[MSR_COUNT], mark = next_random(seed);
    for (unsigned i = 0; i < MSR_COUNT; i++) {
        values[i] = msr_value(msrs[i], seed);
        wrmsr(msrs[i], values[i]);
    }
    set_debug(mark);
    write_cr2(mark);
    fill_area(&loaded[me], seed);
    load_area(&loaded[me]);
    spend(next_random(seed) % SPEND_KINDS, clock_ticks(next_random(seed) % 1500));
    spend(SPEND_TIME, clock_ticks(500));
    save_area(&saved[me]);
    note_wrong(WRONG_FPU, same_area(&loaded[me], &saved[me]));
    note_wrong(WRONG_CR2, read_cr2() == mark);
    note_wrong(WRONG_DEBUG, debug_right(mark));
    note_wrong(WRONG_SEGMENT, segments_right(mine, mark));
    note_wrong(WRONG_SYSCALL, syscall_right(mine));
    bool right = true;
    for (unsigned i = 0; i < MSR_COUNT; i++) {
        right &= rdmsr(msrs[i]) == values[i];
    }
    note_wrong(WRONG_MSR, right);
}

static void run_rounds(void *context)
{
    uint32_t me = percpu()->index;
    struct cells *mine = &cells[me];
    uint64_t seed = me + 77, start = rdtsc(), end = start + clock_ticks(*(uint64_t *)context);
    uint64_t patience = start + clock_ticks(CLOCK_PATIENCE);
    memcpy(mine->stub, syscall_stub, (size_t)(syscall_stub_end - syscall_stub));
    wrmsr(MSR_FS_BASE, (uint64_t)&mine->fs);
    wrmsr(MSR_GS_BASE, (uint64_t)&mine->gs);
    wrmsr(MSR_KERNEL_GS, (uint64_t)&mine->kernel_gs);
    wrmsr(MSR_STAR, 0x8ul << 32);
    wrmsr(MSR_LSTAR, (uint64_t)mine->stub);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    while (rdtsc() < end || (rounds_done[me] < ROUNDS && rdtsc() < patience)) {
        one_round(me, &seed);
        rounds_done[me]++;
    }
}

static void test_together(void)
{
    uint64_t us = 3 * SECOND;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, run_rounds, &us);
    }
    run_rounds(&us);
    bool all = true;
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        all &= smp_wait(i, CLOCK_PATIENCE);
    }
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        tap_ok(rounds_done[i] >= ROUNDS, "processor %u made %u rounds", i, rounds_done[i]);
    }
    tap_ok(all, "all of them ended");
    for (unsigned kind = 0; kind < WRONG_KINDS; kind++) {
        tap_is(wrong[kind], 0, "%u processors at once keep %s", machine.cpu_count,
               wrong_names[kind]);
    }
}

void guest_main(void)
{
    apic_enable(apic_has_x2());
    clock_tsc_hz();
    enable_state(NULL);
    test_exits();
    bool started = smp_start_all() == machine.cpu_count;
    for (uint32_t i = 1; started && i < machine.cpu_count; i++) {
        started &= smp_call(i, enable_state, NULL);
    }
    if (tap_ok(started, "all processors start")) {
        test_together();
    }
}
