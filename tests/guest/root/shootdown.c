// SPDX-License-Identifier: BSD-2-Clause-Patent
// Pages are mapped over, unmapped and protected under two VPs that read, write and execute them all
// the while: once the call has returned, nobody uses what was there before. The VPs change
// translations of their own as well, by INVLPG, CR4.PGE and CR3, and move from LP to LP.
// TLFS: HvCallMapGpaPages, HvCallUnmapGpaPages; include/corbel/tlb.h.
//
// rig: --lps 1
// rig: --lps 2
// timeout: 400
#include "con.h"
#include "cpu.h"
#include "hv/memory.h"
#include "hv/registers.h"
#include "hvcall.h"
#include "remote.h"
#include "rootprobe.h"
#include "tap.h"

#define ROUNDS  100000u
#define ALONE   20000u // on one LP, where nobody runs while a call changes something
#define REPORT  5000u  // so often it says how far it has come, for whoever looks at a time-out
#define VPS     2u
#define RW      (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE)
#define RWX     (RW | HV_MAP_GPA_EXECUTABLE)
#define READ    HV_MAP_GPA_READABLE
#define COUNTS  8u         // words a VP
#define CODE_AT 256        // in the page that changes
#define OWN(vp) (1 + (vp)) // word of it that a VP writes

// GPAs in the child, and GVAs: the first 2 MiB are the same.
#define PROGRAM     0x30000u
#define CONTROL     0x31000u
#define TABLE       0x32000u
#define MARKED(k)   (0x33000u + (k)*0x1000u) // a page with `k` in its first word
#define TARGET      0x40000u
#define OWN_GVA(vp) (0x200000u + (vp)*0x2000u) // two pages of a VP's own, by TABLE
#define DIRECTORY   0x4000u                    // remote.c
#define PTE_RW      3u
#define PTE_GLOBAL  0x100u

// What a VP counts, at CONTROL + 64 * (VP + 1).
enum { STALE_READ, STALE_CODE, STALE_GLOBAL, STALE_LOCAL, PASSES };

struct control {
    volatile uint64_t round; // whose page is mapped, or a later one's
    volatile uint64_t stop;
    uint64_t reserved[6];
    volatile uint64_t count[VPS][COUNTS];
};

// RBP: its counts. RBX: its PTEs; R12: the pages that they map. R13: its word of the target. RSI:
// the control page. R9 counts; its lowest bit is which of the two marked pages comes next.
__asm__(".pushsection .text\n"
        "shootdown_code:\n"
        "mov 16(%rdi), %rbp\n mov 24(%rdi), %r13\n"
        "mov 40(%rbp), %rbx\n mov 48(%rbp), %r12\n mov $0x31000, %esi\n xor %r9, %r9\n"
        "1: mov (%rsi), %rcx\n mov 0x40000, %rax\n cmp %rcx, %rax\n jae 2f\n incq (%rbp)\n"
        "2: mov %rcx, (%r13)\n mov $0x40100, %eax\n call *%rax\n"
        "   cmp %ecx, %eax\n jae 3f\n incq 8(%rbp)\n"
        "3: inc %r9\n mov %r9, %r10\n and $1, %r10\n"
        "   mov %r10, %rax\n shl $12, %rax\n add $0x33003, %rax\n mov %rax, 8(%rbx)\n"
        "   or $0x100, %rax\n mov %rax, (%rbx)\n"
        "   test $2, %r9\n jnz 4f\n invlpg (%r12)\n jmp 5f\n"
        "4: mov %cr4, %rax\n xor $0x80, %rax\n mov %rax, %cr4\n xor $0x80, %rax\n mov %rax, %cr4\n"
        "5: mov %cr3, %rax\n mov %rax, %cr3\n"
        "   cmp (%r12), %r10\n je 6f\n incq 16(%rbp)\n"
        "6: cmp 0x1000(%r12), %r10\n je 7f\n incq 24(%rbp)\n"
        "7: incq 32(%rbp)\n cmpq $0, 8(%rsi)\n je 1b\n ret\n"
        "shootdown_code_end:\n"
        ".popsection\n");
extern const uint8_t shootdown_code[], shootdown_code_end[];

static struct remote r;
static struct control *control;
static uint64_t target[2]; // pages of ours, one of them is the child's
static uint32_t stale_writes, failures, resumed;

static void *page(uint64_t number)
{
    return (void *)(number << 12);
}

static void *give(uint64_t gpa)
{
    uint64_t number = page_take();
    memset(page(number), 0, 4096);
    failures += !child_map(&r.child, gpa >> 12, number, RWX);
    return page(number);
}

static void furnish(void)
{
    memcpy(give(PROGRAM), shootdown_code, (size_t)(shootdown_code_end - shootdown_code));
    control = give(CONTROL);
    uint64_t *table = give(TABLE);
    for (uint64_t k = 0; k < 2; k++) {
        *(uint64_t *)give(MARKED(k)) = k;
        target[k] = page_take();
    }
    for (uint32_t vp = 0; vp < VPS; vp++) {
        uint64_t *pte = &table[OWN_GVA(vp) >> 12 & 511];
        pte[0] = MARKED(0) | PTE_RW | PTE_GLOBAL;
        pte[1] = MARKED(0) | PTE_RW;
        control->count[vp][5] = TABLE + ((OWN_GVA(vp) >> 12 & 511) * 8);
        control->count[vp][6] = OWN_GVA(vp);
    }
    remote_store(&r, 0, DIRECTORY + 8, TABLE | PTE_RW);
}

// Round `n`'s page: its first word, and what its code returns.
static void fill(uint64_t *p, uint64_t n)
{
    uint8_t *code = (uint8_t *)p + CODE_AT;
    p[0] = n;
    code[0] = 0xb8; // MOV EAX, imm32
    *(volatile uint32_t *)(code + 1) = (uint32_t)n;
    code[5] = 0xc3; // RET
}

static uint16_t map(uint32_t which, uint32_t flags)
{
    uint32_t done = 0;
    return parent_map(r.child.id, TARGET >> 12, &target[which], 1, flags, &done);
}

static void take_words(uint32_t which, uint64_t words[VPS])
{
    const volatile uint64_t *p = page(target[which]);
    for (uint32_t vp = 0; vp < VPS; vp++) {
        words[vp] = p[OWN(vp)];
    }
}

static void check_words(uint32_t which, const uint64_t words[VPS])
{
    const volatile uint64_t *p = page(target[which]);
    for (uint32_t vp = 0; vp < VPS; vp++) {
        stale_writes += p[OWN(vp)] != words[vp];
    }
}

// VPs that ran into what was taken away go on.
static void resume(void)
{
    struct hv_message m;
    while (message_wait(&m, 0)) {
        const struct hv_x64_intercept_message_header *h = (const void *)m.payload;
        failures += parent_set64(r.child.id, h->vp_index, HV_REGISTER_INTERCEPT_SUSPEND, 0) != 0;
        resumed++;
    }
}

// The page of round n - 1 gives way to that of round n: mapped over, after a gap, or after a while
// in which it may only be read.
static void change(uint64_t n, uint64_t words[VPS])
{
    uint32_t now = n & 1, old = !now;
    if (n % 8 == 3) {
        failures += parent_unmap(r.child.id, TARGET >> 12, 1, 0) != 0;
        take_words(old, words);
    } else if (n % 8 == 6) {
        failures += map(old, READ) != 0;
        take_words(old, words);
        for (uint32_t i = 0; i < 50; i++) {
            pause();
        }
        check_words(old, words);
    }
    failures += map(now, RWX) != 0;
    if (n % 8 != 3 && n % 8 != 6) {
        take_words(old, words);
    }
}

static void nothing(void *context)
{
    (void)context;
}

static void rounds(uint32_t count)
{
    uint64_t words[VPS];
    fill(page(target[0]), 0);
    failures += map(0, RWX) != 0;
    for (uint32_t vp = 0; vp < VPS; vp++) {
        remote_run(&r, vp, PROGRAM, CONTROL + 64 * (vp + 1), TARGET + 8 * OWN(vp));
    }
    for (uint64_t n = 1; n <= count && !failures; n++) {
        fill(page(target[n & 1]), n);
        change(n, words);
        control->round = n;
        resume();
        check_words(!(n & 1), words);
        if (n % REPORT == 0)
            con_printf("# %lu rounds\n", n);
    }
    control->stop = 1;
    for (uint32_t vp = 0; vp < VPS; vp++) {
        remote_end(&r, vp);
    }
}

static uint64_t sum(uint32_t what)
{
    uint64_t total = 0;
    for (uint32_t vp = 0; vp < VPS; vp++) {
        total += control->count[vp][what];
    }
    return total;
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(remote_start(&r, 0, VPS), "a child of two VPs")) {
        return;
    }
    uint32_t count = efi_on_all(nothing, NULL) > 1 ? ROUNDS : ALONE;
    furnish();
    rounds(count);
    tap_is(failures, 0, "%u rounds: every call succeeds", count);
    tap_ok(sum(PASSES) >= count / 10 && resumed > 0,
           "the VPs use the page all the while (%lu times), and run into gaps (%u)", sum(PASSES),
           resumed);
    tap_is(sum(STALE_READ), 0, "nobody reads what is no longer mapped");
    tap_is(stale_writes, 0, "nobody writes what is no longer mapped, or may only be read");
    tap_is(sum(STALE_CODE), 0, "nobody executes what is no longer mapped");
    tap_is(sum(STALE_GLOBAL), 0, "INVLPG and CR4.PGE end global translations of a VP's own");
    tap_is(sum(STALE_LOCAL), 0, "CR3 ends the others");
    tap_ok(remote_delete(&r), "the child goes without a trace");
}
