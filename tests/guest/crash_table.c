// SPDX-License-Identifier: BSD-2-Clause-Patent
// Page tables where there is no memory: whatever becomes of the guest, it ends alone.
//
// ends: 0
#include "cpu.h"
#include "start.h"
#include "tap.h"

#define HOLE 0xd0000000ul

void guest_main(void)
{
    tap_note("page tables in a hole");
    write_cr3(HOLE);
    tap_ok(false, "page tables in a hole end the machine");
}
