// SPDX-License-Identifier: BSD-2-Clause-Patent
// Memory: what the guest has works, its own page protections hold, and what it does not have reads
// as ones, forgets writes, and goes on.
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "machine.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define HOLE 0xd0000000ul // below 4 GiB, no RAM and no device in either machine

extern uint64_t boot_pml4[512], boot_pdpt[512], boot_pd[4][512];

_Alignas(4096) static uint64_t high_pdpt[512];
_Alignas(4096) static uint64_t small_table[512];
_Alignas(4096) static uint8_t small_page[4096];

#define PTE_P  1ul
#define PTE_W  2ul
#define PTE_U  4ul
#define PTE_PS (1ul << 7)
#define PTE_NX (1ul << 63)

// ---- RAM ------------------------------------------------------------------------------------

static void test_ram(void)
{
    uint64_t start = (machine.image_end + 0x1fffff) & ~0x1ffffful, end = machine_ram_end();
    uint32_t pages = 0;
    bool right = true;
    for (uint64_t at = start; at + 8 <= end; at += 0x10000) {
        *(volatile uint64_t *)at = at * 0x9e3779b97f4a7c15ul;
        pages++;
    }
    for (uint64_t at = start; at + 8 <= end; at += 0x10000) {
        right &= *(volatile uint64_t *)at == at * 0x9e3779b97f4a7c15ul;
    }
    tap_ok(right && pages, "RAM from %lx to %lx keeps what is written (%u places)", start, end,
           pages);
}

static void test_fresh_is_zero(void)
{
    uint64_t start = (machine.image_end + 0x1fffff) & ~0x1ffffful, end = machine_ram_end();
    bool zero = true;
    for (uint64_t at = start + 0x8000; at + 8 <= end && zero; at += 0x40000) {
        zero &= *(volatile uint64_t *)at == 0;
    }
    tap_ok(zero, "RAM not touched before is zero: nobody else's data");
}

// ---- holes ----------------------------------------------------------------------------------

static void test_hole_reads(uint64_t at, const char *where)
{
    uint64_t b = 0, w = 0, d = 0, q = 0, zx = ~0ul, sx = 0;
    __asm__ volatile("movb (%1), %b0" : "+r"(b) : "r"(at));
    __asm__ volatile("movw (%1), %w0" : "+r"(w) : "r"(at));
    __asm__ volatile("movl (%1), %k0" : "+r"(d) : "r"(at));
    __asm__ volatile("movq (%1), %0" : "+r"(q) : "r"(at));
    tap_ok(b == 0xff && w == 0xffff && d == 0xffffffff && q == ~0ul,
           "%s: MOV of 1, 2, 4 and 8 bytes reads ones (%lx %lx %lx %lx)", where, b, w, d, q);
    __asm__ volatile("movzbl (%1), %k0" : "+r"(zx) : "r"(at));
    __asm__ volatile("movsbq (%1), %0" : "+r"(sx) : "r"(at));
    tap_ok(zx == 0xff && sx == ~0ul, "%s: MOVZX and MOVSX extend them", where);
    uint64_t indexed = 0;
    __asm__ volatile("movl 0x10(%1,%2,4), %k0" : "+r"(indexed) : "r"(at), "r"(3ul));
    tap_is(indexed, 0xffffffff, "%s: with base, index and displacement", where);
}

static void test_hole_writes(uint64_t at, const char *where)
{
    __asm__ volatile("movb $1, (%0)\n\tmovw $1, (%0)\n\tmovl $1, (%0)\n\tmovq $1, (%0)"
                     :
                     : "r"(at)
                     : "memory");
    __asm__ volatile("mov %1, (%0)" : : "r"(at), "r"(0x1234ul) : "memory");
    tap_is(*(volatile uint64_t *)at, ~0ul, "%s: writes are forgotten", where);
    __asm__ volatile("andl $0, (%0)\n\torq $1, (%0)\n\taddl $1, (%0)\n\txorb $1, (%0)"
                     :
                     : "r"(at)
                     : "memory", "cc");
    tap_is(*(volatile uint64_t *)at, ~0ul, "%s: so are read-modify-writes", where);
    uint64_t old = 5;
    __asm__ volatile("xchgl %k0, (%1)" : "+r"(old) : "r"(at) : "memory");
    tap_is(old, 0xffffffff, "%s: XCHG reads ones", where);
    uint8_t equal, zero;
    __asm__ volatile("cmpl $-1, (%1)\n\tsete %0" : "=r"(equal) : "r"(at) : "cc");
    __asm__ volatile("testl $1, (%1)\n\tsetz %0" : "=r"(zero) : "r"(at) : "cc");
    tap_ok(equal && !zero, "%s: CMP and TEST set the flags by them", where);
}

static void test_hole_strings(uint64_t at)
{
    static uint8_t buffer[64];
    memset(buffer, 0, sizeof(buffer));
    uint64_t from = at, to = (uint64_t)buffer, count = 16;
    __asm__ volatile("cld; rep movsl" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    bool ones = true;
    for (unsigned i = 0; i < sizeof(buffer); i++) {
        ones &= buffer[i] == 0xff;
    }
    tap_ok(ones && from == at + 64 && to == (uint64_t)buffer + 64 && count == 0,
           "REP MOVSD from a hole copies ones and moves its registers");
    to = at;
    count = 16;
    __asm__ volatile("cld; rep stosl" : "+D"(to), "+c"(count) : "a"(0) : "memory");
    tap_ok(to == at + 64 && count == 0, "REP STOSD to a hole ends");
}

// Map 1 GiB of GPAs at 512 GiB and up, 2 MiB pages where there are no larger ones.
static void test_high_hole(void)
{
    if (!(cpuid(0x80000001, 0).edx & (1u << 26))) {
        tap_skip("no 1 GiB pages", "holes above 4 GiB");
        return;
    }
    uint32_t bits = cpuid(0x80000008, 0).eax & 0xff;
    uint64_t top = (1ul << bits) - (1ul << 30);
    high_pdpt[0] = 0x4000000000ul | PTE_P | PTE_W | PTE_PS; // 256 GiB
    high_pdpt[1] = top | PTE_P | PTE_W | PTE_PS;
    boot_pml4[1] = (uint64_t)high_pdpt | PTE_P | PTE_W;
    test_hole_reads(1ul << 39, "at 256 GiB");
    test_hole_reads((1ul << 39) + (2ul << 30) - 4096, "at the last GPA of all");
    test_hole_writes((1ul << 39) + 0x123000, "at 256 GiB");
}

static void test_edge(void)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < machine.range_count; i++) {
        const struct machine_range *r = &machine.ranges[i];
        if (r->type == 1 && r->base + r->size > end && r->base + r->size < HOLE) {
            end = r->base + r->size;
        }
    }
    volatile uint8_t beyond = *(volatile uint8_t *)(end + 8);
    if (beyond != 0xff || machine_is_ram(end)) {
        tap_skip("something follows the RAM", "an access across the end of RAM");
        return;
    }
    *(volatile uint32_t *)(end - 4) = 0x12345678;
    uint64_t got = *(volatile uint64_t *)(end - 4);
    tap_is(got, 0xffffffff12345678, "a read across the end of RAM at %lx has both parts", end);
}

// ---- the guest's own protections ------------------------------------------------------------

static void body_call(void *context)
{
    ((void (*)(void))context)();
}

static void expect_pf(struct trap trap, uint32_t error, uint64_t address, const char *what)
{
    tap_ok(trap.taken && trap.vector == VECTOR_PF && trap.error == error && trap.cr2 == address,
           "%s is #PF(%x) (vector %d, error %x, CR2 %lx)", what, error,
           trap.taken ? trap.vector : -1, trap.error, trap.cr2);
}

static void test_protection(void)
{
    // 4 KiB pages at 3 GiB, over what is a hole.
    const uint64_t at = 0xc0000000;
    uint64_t old = boot_pd[3][0], page = (uint64_t)small_page;
    boot_pd[3][0] = (uint64_t)small_table | PTE_P | PTE_W | PTE_U;
    invlpg(at);
    small_page[0] = 0xc3; // RET
    small_table[0] = page | PTE_P | PTE_W;
    invlpg(at);
    tap_ok(!trap_try(body_call, (void *)at).taken, "a page of its own can be executed");
    small_table[0] = page | PTE_P | PTE_W | PTE_NX;
    invlpg(at);
    expect_pf(trap_try(body_call, (void *)at), 0x11, at, "execution of an NX page");
    small_table[0] = page | PTE_P;
    invlpg(at);
    expect_pf(try_write8(at + 5, 1), 0x3, at + 5, "a write to a read-only page");
    small_table[0] = 0;
    invlpg(at);
    expect_pf(try_read8(at + 7, 0), 0x0, at + 7, "a read of a page that is not present");
    uint32_t bits = cpuid(0x80000008, 0).eax & 0xff;
    if (bits < 52) {
        small_table[0] = page | 1ul << 51 | PTE_P | PTE_W;
        invlpg(at);
        struct trap trap = try_read8(at, 0);
        // An emulator is known that leaves the present bit out of the error code.
        tap_ok(trap.taken && trap.vector == VECTOR_PF && (trap.error | 1) == 0x9,
               "a reserved address bit in a table is #PF(9) (error %x)", trap.error);
    }
    boot_pd[3][0] = old;
    invlpg(at);
}

void guest_main(void)
{
    test_fresh_is_zero();
    test_ram();
    test_protection();
    if (!hv_present()) {
        tap_skip("another machine's holes", "holes");
        return;
    }
    test_hole_reads(HOLE, "below 4 GiB");
    test_hole_writes(HOLE, "below 4 GiB");
    test_hole_strings(HOLE + 0x2000);
    test_high_hole();
    test_edge();
}
