// SPDX-License-Identifier: BSD-2-Clause-Patent
// Port 0xcf9 resets the machine.
//
// ends: 0
#include "clock.h"
#include "cpu.h"
#include "start.h"
#include "tap.h"

#define RESET_PORT  0xcf9
#define RESET_FULL  0x02
#define RESET_START 0x04

void guest_main(void)
{
    clock_tsc_hz();
    out8(RESET_PORT, RESET_FULL);
    tap_note("the kind of reset alone does nothing");
    out8(RESET_PORT, RESET_FULL | RESET_START);
    clock_delay(1000000);
    tap_ok(false, "port 0xcf9 resets the machine");
}
