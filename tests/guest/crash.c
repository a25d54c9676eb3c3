// SPDX-License-Identifier: BSD-2-Clause-Patent
// A triple fault stops this machine alone, and its owner resets it.
//
// ends: 0
#include "cpu.h"
#include "start.h"
#include "tap.h"

void guest_main(void)
{
    const struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } none = {0, 0};
    tap_note("no IDT, and an exception");
    __asm__ volatile("lidt %0; ud2" : : "m"(none));
    tap_ok(false, "a triple fault ends the machine");
}
