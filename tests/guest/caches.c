// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLFS: Virtual MMU, memory cache control overview: INVD, the PAT, MTRRs and CR0.CD. Emulators have
// no caches, so it is values, faults and data that are proved here.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define SLOT    2ul // of the top table: nobody else's
#define ALIAS   (SLOT << 39)
#define PTE     0x3ul // present, writable
#define PTE_PWT 0x8ul
#define PTE_PCD 0x10ul
#define PTE_PAT 0x80ul

extern uint64_t boot_pml4[512];
_Alignas(4096) static uint64_t pdpt[512], directory[512], table[512];
_Alignas(4096) static volatile uint64_t frame[512];

static void body_invd(void *context)
{
    (void)context;
    __asm__ volatile("invd" ::: "memory");
}

static void test_invd(void)
{
    static volatile uint64_t data[512];
    uint64_t wrong = 0;
    for (uint32_t i = 0; i < 512; i++) {
        data[i] = i * 0x0101010101010101ul;
    }
    bool taken = trap_try(body_invd, NULL).taken;
    for (uint32_t i = 0; i < 512; i++) {
        wrong += data[i] != i * 0x0101010101010101ul;
    }
    tap_ok(!taken && !wrong, "INVD loses nothing: it acts like WBINVD");
    struct trap trap = trap_try_user(body_invd, NULL);
    tap_ok(trap.vector == VECTOR_GP && trap.error == 0, "INVD in ring 3 is #GP(0) (vector %u)",
           trap.vector);
}

// All memory types through all eight entries of the PAT.
static void test_cache_types(void)
{
    static const uint64_t types[] = {0, 1, 4, 5, 6, 7};
    uint64_t before = rdmsr(MSR_PAT), wrong = 0, refused = 0;
    for (uint32_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        wrmsr(MSR_PAT, types[t] * 0x0101010101010101ul);
        wrong += rdmsr(MSR_PAT) != types[t] * 0x0101010101010101ul;
        for (uint32_t bits = 0; bits < 8; bits++) {
            table[0] = hv_gpa(frame) | PTE | (bits & 1 ? PTE_PWT : 0) | (bits & 2 ? PTE_PCD : 0) |
                       (bits & 4 ? PTE_PAT : 0);
            invlpg(ALIAS);
            *(volatile uint64_t *)ALIAS = 77 + bits;
            __asm__ volatile("mfence" ::: "memory");
            wrong += frame[0] != 77 + bits;
        }
    }
    wrmsr(MSR_PAT, before);
    tap_is(wrong, 0, "pages of every cache type hold what is written");
    for (uint64_t type = 0; type < 256; type++) {
        bool legal = type < 8 && type != 2 && type != 3;
        struct trap trap = try_wrmsr(MSR_PAT, (before & ~0xfful) | type);
        refused += trap.taken == legal;
    }
    wrmsr(MSR_PAT, before);
    tap_is(refused, 0, "reserved cache types in the PAT are #GP, the others are not");
}

static void read_pat(void *context)
{
    *(uint64_t *)context = rdmsr(MSR_PAT);
}

static void test_pat_per_vp(void)
{
    uint64_t before = rdmsr(MSR_PAT), seen = 0;
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "the PAT is a register of each VP");
        return;
    }
    wrmsr(MSR_PAT, 0x0606060606060606);
    smp_call(1, read_pat, &seen);
    wrmsr(MSR_PAT, before);
    tap_ok(seen != 0x0606060606060606, "the PAT is a register of each VP");
}

// ---- MTRRs (SDM 3A 12.11, APM 2 7.7) --------------------------------------------------------

#define MTRR_BASE0    0x200u
#define MTRR_MASK0    0x201u
#define MTRR_FIX_B8   0x259u // A0000 to BFFFF in 16 KiB pieces
#define MTRR_DEF_TYPE 0x2ffu
#define MTRR_ON       0xc00ul // all of them, fixed ranges too
#define MTRR_VALID    0x800ul

// Writes through the alias, what the frame then has, and back.
static uint32_t incoherent(void)
{
    uint32_t wrong = 0;
    for (uint64_t i = 1; i < 100; i++) {
        *(volatile uint64_t *)ALIAS = i;
        wrong += frame[0] != i;
        frame[0] = i << 32;
        wrong += *(volatile uint64_t *)ALIAS != i << 32;
    }
    return wrong;
}

static void test_mtrrs(void)
{
    static const uint64_t types[] = {0, 1, 4, 5, 6};
    uint64_t physical = (1ul << (cpuid(0x80000008, 0).eax & 0xff)) - 1, wrong = 0;
    if (!(cpuid(1, 0).edx >> 12 & 1)) {
        tap_skip("no MTRRs", "MTRRs keep what is written and lose no data");
        return;
    }
    table[0] = hv_gpa(frame) | PTE;
    invlpg(ALIAS);
    for (uint32_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        uint64_t base = (hv_gpa(frame) & ~0xffful) | types[i];
        uint64_t mask = (physical & ~0xffful) | MTRR_VALID, piece = types[i] * 0x0101010101010101;
        wrmsr(MTRR_BASE0, base);
        wrmsr(MTRR_MASK0, mask);
        wrmsr(MTRR_FIX_B8, piece);
        wrmsr(MTRR_DEF_TYPE, MTRR_ON | 6);
        wrong += rdmsr(MTRR_BASE0) != base || rdmsr(MTRR_MASK0) != mask ||
                 rdmsr(MTRR_FIX_B8) != piece || rdmsr(MTRR_DEF_TYPE) != (MTRR_ON | 6);
        wrong += incoherent();
    }
    wrmsr(MTRR_MASK0, 0);
    tap_is(wrong, 0, "MTRRs keep what is written, and memory of every type its data");
    tap_ok(try_wrmsr(MTRR_BASE0, (physical + 1) | 6).taken &&
               try_wrmsr(MTRR_DEF_TYPE, 1ul << 8).taken,
           "address bits beyond the processor's, and reserved ones, are #GP");
}

// TLFS: a guest's cache control is its own business: nobody else's caches are off.
static void test_caches_off(void)
{
    uint64_t cr0, wrong;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0\n wbinvd" : : "r"(cr0 | CR0_CD) : "memory");
    wrong = incoherent();
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
    tap_is(wrong + incoherent(), 0, "with CR0.CD set and clear memory keeps its data");
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    apic_enable(apic_has_x2());
    boot_pml4[SLOT] = hv_gpa(pdpt) | PTE;
    pdpt[0] = hv_gpa(directory) | PTE;
    directory[0] = hv_gpa(table) | PTE;
    write_cr3(read_cr3());
    tap_is(smp_start_all(), machine.cpu_count, "all processors start");
    test_invd();
    test_cache_types();
    test_pat_per_vp();
    test_mtrrs();
    test_caches_off();
}
