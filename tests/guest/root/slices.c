// SPDX-License-Identifier: BSD-2-Clause-Patent
// The end of a slice comes in time for VPs that exit all the time, too: two that do nothing but
// CPUID and RDMSR share one LP with one that computes, which looks how long it had to wait. At last
// that one ends with a triple fault, and the log shows by which exits turns ended meanwhile.
//
// rig: --lps 1 --count
// log on intel: exit 0x34 at
// log on intel-old: exit 0x34 at
#include "con.h"
#include "cpu.h"
#include "hv/message.h"
#include "hv/msr.h"
#include "hv/registers.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define CHILDREN  3u
#define SLICE_US  2000u
#define WARM_UP   20000u  // us
#define SPAN      300000u // us
#define LAST_TURN 40000u  // us

static struct child children[CHILDREN];

// mov eax, 40000000h; cpuid; jmp back
static const uint8_t asks[] = {0x66, 0xb8, 0, 0, 0, 0x40, 0x0f, 0xa2, 0xeb, 0xf6};
// mov ecx, HV_X64_MSR_VP_INDEX; rdmsr; jmp back
static const uint8_t reads[] = {0x66, 0xb9, 2, 0, 0, 0x40, 0x0f, 0x32, 0xeb, 0xf6};
static const uint8_t spins[] = {0xeb, 0xfe}; // jmp .

// Notes the longest time between two RDTSCs, until it is told to end.
#define LONGEST 0x800u // in its page, 4 bytes
#define END     0x804u
static const uint8_t waits[0x810] = {
    0x0f, 0x31,                   // rdtsc
    0x66, 0x89, 0xc1,             // mov ecx, eax
    0x0f, 0x31,                   // again: rdtsc
    0x66, 0x89, 0xc3,             // mov ebx, eax
    0x66, 0x29, 0xcb,             // sub ebx, ecx
    0x66, 0x89, 0xc1,             // mov ecx, eax
    0x66, 0x3b, 0x1e, 0x00, 0x18, // cmp ebx, [LONGEST]
    0x76, 0x05,                   // jbe .+5
    0x66, 0x89, 0x1e, 0x00, 0x18, // mov [LONGEST], ebx
    0x80, 0x3e, 0x04, 0x18, 0x00, // cmp byte [END], 0
    0x74, 0xe2,                   // je again
    0x0f, 0x01, 0x1e, 0x08, 0x18, // lidt [zeros]
    0xcc                          // int3
};

static volatile uint8_t *page_of(const struct child *c, uint32_t offset)
{
    return (volatile uint8_t *)(c->code_page << 12) + offset;
}

// Busy with it, the root would be a fourth.
static void rest_us(uint64_t us)
{
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + us * 10;
    while (rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end) {
        __asm__ volatile("sti; hlt");
    }
}

static void test_turns(void)
{
    volatile uint32_t *longest = (volatile uint32_t *)page_of(&children[2], LONGEST);
    uint64_t before[CHILDREN], ran[CHILDREN], all = 0, waited;

    rest_us(WARM_UP);
    *longest = 0;
    for (uint32_t i = 0; i < CHILDREN; i++) {
        before[i] = parent_get64(children[i].id, 0, HV_REGISTER_VP_RUNTIME);
    }
    rest_us(SPAN);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        ran[i] = parent_get64(children[i].id, 0, HV_REGISTER_VP_RUNTIME) - before[i];
        all += ran[i];
    }
    waited = *longest / (rdmsr(HV_X64_MSR_TSC_FREQUENCY) / 1000000);
    tap_note("%lu %lu %lu of %lu; at most %lu us between turns", ran[0], ran[1], ran[2], all,
             waited);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        tap_ok(ran[i] * 100 > all * 31 && ran[i] * 100 < all * 36, "child %u has its third", i);
    }
    tap_ok(waited > SLICE_US && waited < SLICE_US * 3,
           "who computes waits for the slices of two others");
}

// Beside one that never exits: of the LP's last exits most have ended a turn.
static void test_last_exits(void)
{
    struct hv_message message;

    for (uint32_t i = 0; i < 2; i++) {
        tap_ok(child_delete(&children[i]), "child %u is deleted", i);
    }
    if (!tap_ok(child_prepare(&children[0]), "another is made")) {
        return;
    }
    child_run(&children[0], spins, sizeof(spins));
    rest_us(LAST_TURN);
    *page_of(&children[2], END) = 1;
    tap_ok(message_wait(&message, PATIENCE_US) &&
               message.header.message_type == HV_MESSAGE_TYPE_UNRECOVERABLE_EXCEPTION &&
               message.header.origination_id == children[2].id,
           "the third ends with a triple fault");
    tap_ok(child_delete(&children[0]) && child_delete(&children[2]), "every page comes back");
}

void root_main(void)
{
    bool made = true;
    hv_need();
    hv_setup();
    messages_on();
    for (uint32_t i = 0; i < CHILDREN; i++) {
        made &= child_prepare(&children[i]);
    }
    if (!tap_ok(made, "three children are made")) {
        return;
    }
    child_run(&children[0], asks, sizeof(asks));
    child_run(&children[1], reads, sizeof(reads));
    child_run(&children[2], waits, sizeof(waits));
    test_turns();
    test_last_exits();
}
