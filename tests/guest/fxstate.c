// SPDX-License-Identifier: BSD-2-Clause-Patent
// Each VP keeps its x87 and SSE state through exits while all VPs restore theirs all the time.
// Without tools/qemu-ignne.c this loses QEMU's flags of the first processor within seconds
// (docs/emulators.md).
//
// rig: --vps 2 --lps 2
// timeout: 120
#include "apic.h"
#include "clock.h"
#include "cpu.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "start.h"
#include "tap.h"

#define ROUNDS   60000u
#define RESTORES 8u

struct fxarea {
    uint16_t control, status;
    uint8_t tags[20];
    uint32_t mxcsr, mxcsr_mask;
    uint8_t x87[128];
    uint64_t xmm[16][2];
    uint8_t rest[96];
} __attribute__((aligned(16)));
_Static_assert(sizeof(struct fxarea) == 512, "FXSAVE area");

struct work {
    struct fxarea want, have;
    uint32_t wrong;
};

static struct work work[CPU_MAX];

static void restore_and_exit(void *context)
{
    struct work *w = context;

    __asm__ volatile("fxsave %0" : "=m"(w->want));
    for (unsigned i = 0; i < 16; i++) {
        w->want.xmm[i][0] = w->want.xmm[i][1] = (uint64_t)percpu()->index << 32 | i;
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < RESTORES; i++) {
            __asm__ volatile("fxrstor %0" : : "m"(w->want));
        }
        cpuid(0, 0);
        __asm__ volatile("fxsave %0" : "=m"(w->have));
        for (unsigned i = 0; i < 16; i++) {
            w->wrong += w->have.xmm[i][0] != w->want.xmm[i][0];
        }
    }
}

void guest_main(void)
{
    uint32_t wrong = 0;
    bool done = true;

    apic_enable(apic_has_x2());
    if (!tap_ok(smp_start_all() == machine.cpu_count, "all processors start")) {
        return;
    }
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        smp_run(i, restore_and_exit, &work[i]);
    }
    restore_and_exit(&work[0]);
    for (uint32_t i = 1; i < machine.cpu_count; i++) {
        done &= smp_wait(i, CLOCK_PATIENCE);
    }
    for (uint32_t i = 0; i < machine.cpu_count; i++) {
        wrong += work[i].wrong;
    }
    tap_ok(done, "all processors come to the end");
    tap_is(wrong, 0, "and each XMM register held its value");
}
