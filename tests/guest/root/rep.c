// SPDX-License-Identifier: BSD-2-Clause-Patent
// A call of 4,095 reps leaves the interrupts alone: a timer of the caller keeps ticking, each tick
// finds RIP at the call and the rep start moving on. TLFS: Hypercall Continuation.
//
// rig: --lps 1
// rig: --lps 2
#include "con.h"
#include "cpu.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define REPS      4095u
#define MAP_REPS  500u
#define FIRST_GPA 0x100u
#define VECTOR    0xe5
#define WANTED    20u
#define ROUNDS    200u
#define PERIOD    1000ul // 100 us
#define PIC_MASK0 0x21
#define PIC_MASK1 0xa1
#define RWX       (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)

static struct child c;
_Alignas(4096) static struct hv_input_unmap_gpa_pages unmap;

static volatile struct {
    uint32_t ticks, at_call, back, foreign;
    uint32_t start; // the highest rep start seen
} seen;

static void on_tick(struct trap_frame *frame)
{
    uint32_t start = hv_hypercall_rep_start(frame->rcx);

    seen.ticks++;
    if (frame->rip == hv_gpa(hv_page)) {
        seen.at_call++;
        seen.foreign += hv_hypercall_code(frame->rcx) != HVCALL_UNMAP_GPA_PAGES ||
                        hv_hypercall_rep_count(frame->rcx) != REPS || frame->rdx != hv_gpa(&unmap);
        seen.back += start < seen.start;
        seen.start = start;
    }
    wrmsr(HV_X64_MSR_EOI, 0);
}

struct long_call {
    uint64_t result, time;
};

// Only this timer's vector: the firmware's are of lower priority, or masked at the 8259s.
static void body_call(void *context)
{
    struct long_call *call = context;
    uint8_t mask0 = in8(PIC_MASK0), mask1 = in8(PIC_MASK1);
    out8(PIC_MASK0, 0xff);
    out8(PIC_MASK1, 0xff);
    write_cr8((VECTOR >> 4) - 1);
    trap_set_handler(VECTOR, on_tick);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG, HV_STIMER_DIRECT | HV_STIMER_PERIODIC | HV_STIMER_AUTO_ENABLE |
                                         (uint64_t)VECTOR << HV_STIMER_VECTOR_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, PERIOD);
    call->time = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    sti();
    call->result =
        hv_call(hv_hypercall_control(HVCALL_UNMAP_GPA_PAGES, false, 0, REPS), hv_gpa(&unmap), 0);
    cli();
    call->time = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - call->time;
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
    sti(); // a tick that was due already is taken here, where it gets its EOI
    pause();
    cli();
    trap_set_handler(VECTOR, NULL);
    write_cr8(0);
    out8(PIC_MASK0, mask0);
    out8(PIC_MASK1, mask1);
}

static bool map_all(const uint64_t *pages)
{
    for (uint32_t at = 0; at < REPS;) {
        uint32_t count = REPS - at < MAP_REPS ? REPS - at : MAP_REPS, done = 0;
        uint16_t status = parent_map(c.id, FIRST_GPA + at, &pages[at], count, RWX, &done);
        if (status == HV_STATUS_INSUFFICIENT_MEMORY) {
            if (!child_map(&c, FIRST_GPA + at + done, pages[at + done], RWX)) {
                return false;
            }
            done++;
        } else if (status != HV_STATUS_SUCCESS) {
            tap_note("map: status %x", status);
            return false;
        }
        at += done;
    }
    return true;
}

static uint64_t pages[REPS];

void root_main(void)
{
    struct long_call call = {0, 0};
    hv_need();
    hv_setup();
    uint64_t first = (uint64_t)efi_pages(REPS, false) >> 12;
    for (uint32_t i = 0; i < REPS; i++) {
        pages[i] = first + i;
    }
    if (!tap_ok(child_create(&c) && map_all(pages), "a child with 4,095 pages is made")) {
        return;
    }
    unmap = (struct hv_input_unmap_gpa_pages){c.id, FIRST_GPA, 0, 0};
    uint32_t rounds = 0, bad = 0;
    do { // the emulator's host may take the processor away for most of a round
        seen.start = 0;
        struct trap trap = efi_try(body_call, &call);
        bad += trap.taken || call.result != hv_hypercall_result(HV_STATUS_SUCCESS, REPS);
        tap_note("%lu us, %u ticks so far, %u of them at the call", call.time / 10, seen.ticks,
                 seen.at_call);
    } while (++rounds < ROUNDS && seen.at_call < WANTED && map_all(pages));
    tap_is(bad, 0, "calls of 4,095 reps under a timer end with all reps done and counted");
    tap_ok(seen.at_call >= WANTED, "timer interrupts keep flowing meanwhile");
    tap_is(seen.foreign, 0, "each finds RIP at the call and its registers as they were");
    tap_is(seen.back, 0, "the rep start only moves on");
    tap_ok(child_delete(&c), "every page comes back");
}
