// SPDX-License-Identifier: BSD-2-Clause-Patent
// The reset MSR resets the machine.
//
// ends: 0
#include "clock.h"
#include "cpu.h"
#include "hvcall.h"
#include "start.h"
#include "tap.h"

void guest_main(void)
{
    hv_need();
    wrmsr(HV_X64_MSR_RESET, 0);
    tap_note("a write without the reset bit does nothing");
    wrmsr(HV_X64_MSR_RESET, HV_MSR_RESET_RESET);
    clock_delay(1000000);
    tap_ok(false, "the reset MSR resets the machine");
}
