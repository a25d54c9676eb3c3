// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLFS: Virtual MMU: compatibility, and legacy TLB management operations: INVLPG, MOV to CR3 and
// MOV to CR4 drop what the architecture says, so that a changed page table entry is used
// afterwards.
//
// rig: --vps 1 --lps 1
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define SLOT    2ul // of the top table: nobody else's
#define ALIAS   (SLOT << 39)
#define LARGE   0x200000ul
#define PTE     0x3ul // present, writable
#define PTE_PWT 0x8ul
#define PTE_PCD 0x10ul
#define PTE_A   0x20ul
#define PTE_PS  0x80ul
#define PTE_G   0x100ul
#define CR4_PGE 0x80ul
#define ROUNDS  8u
#define PIECES  4u

extern uint64_t boot_pml4[512];
_Alignas(4096) static uint64_t pdpt[512], directory[512], table[512];
_Alignas(4096) static volatile uint64_t frames[2][512];

static uint64_t read_at(uint64_t address)
{
    return *(const volatile uint64_t *)address;
}

static void op_invlpg(void)
{
    invlpg(ALIAS);
}

static void op_cr3(void)
{
    write_cr3(read_cr3());
}

static void op_cr4_pge(void)
{
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 ^ CR4_PGE);
    write_cr4(cr4);
}

// The page shows one frame, then the other.
static uint32_t stale(void (*op)(void), uint64_t attributes)
{
    uint32_t old = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        WRITE_ONCE(table[0], hv_gpa(frames[i % 2]) | PTE | attributes);
        op();
        old += read_at(ALIAS) != i % 2;
    }
    return old;
}

static void test_small(void)
{
    tap_is(stale(op_invlpg, 0), 0, "INVLPG removes the translation of a 4-K page");
    tap_is(stale(op_invlpg, PTE_G), 0,
           "The INVLPG instruction flushes both global and non-global translations");
    tap_is(stale(op_cr3, 0), 0, "MOV to CR3 invalidates translations for all non-global pages");
    tap_is(stale(op_cr4_pge, 0) + stale(op_cr4_pge, PTE_G), 0,
           "MOV to CR4 that modifies PGE invalidates all translations, global and non-global");
}

// Two large pages of RAM behind the program, told apart by what is written through the identity
// map.
static void test_large(void)
{
    uint64_t base = (machine.image_end + LARGE - 1) & ~(LARGE - 1), old = 0;
    for (uint32_t i = 0; i < 2; i++) {
        for (uint64_t piece = 0; piece < PIECES; piece++) {
            *(volatile uint64_t *)(base + i * LARGE + piece * (LARGE / PIECES)) = i;
        }
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        WRITE_ONCE(directory[1], (base + i % 2 * LARGE) | PTE | PTE_PS);
        invlpg(ALIAS + LARGE + 0x5000);
        for (uint64_t piece = 0; piece < PIECES; piece++) {
            old += read_at(ALIAS + LARGE + piece * (LARGE / PIECES)) != i % 2;
        }
    }
    tap_is(old, 0,
           "If the address was mapped as a large page, the translation for the entire large page "
           "is removed");
    directory[1] = 0;
    invlpg(ALIAS + LARGE);
}

// TLFS: Compatibility: here these bits are supported, and tables are found whatever their type.
static void test_table_cacheability(void)
{
    uint64_t cr3 = read_cr3(), wrong = 0;
    for (uint64_t bits = 0; bits <= (PTE_PWT | PTE_PCD); bits += PTE_PWT) {
        write_cr3(cr3 | bits);
        wrong += read_cr3() != (cr3 | bits);
    }
    tap_is(wrong, 0, "CR3.PWT and CR3.PCD are kept");
    wrong = 0;
    for (uint64_t bits = 0; bits <= (PTE_PWT | PTE_PCD); bits += PTE_PWT) {
        WRITE_ONCE(pdpt[0], hv_gpa(directory) | PTE | bits);
        WRITE_ONCE(directory[0], hv_gpa(table) | PTE | bits);
        WRITE_ONCE(table[0], hv_gpa(frames[1]) | PTE);
        write_cr3(cr3 | bits);
        wrong += read_at(ALIAS) != 1 || !(READ_ONCE(table[0]) & PTE_A);
    }
    write_cr3(cr3);
    tap_is(wrong, 0,
           "PWT and PCD within non-leaf entries: the next table is read, and its accessed bit set");
}

void guest_main(void)
{
    hv_need();
    hv_setup();
    frames[1][0] = 1;
    boot_pml4[SLOT] = hv_gpa(pdpt) | PTE;
    pdpt[0] = hv_gpa(directory) | PTE;
    directory[0] = hv_gpa(table) | PTE;
    write_cr3(read_cr3());
    write_cr4(read_cr4() | CR4_PGE);
    test_small();
    test_large();
    test_table_cacheability();
}
