// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root loads CR3 with a page of the hypervisor: it can neither go on nor read anything by it.
// The machine is reset by the triple fault (tests/rig/table.py).
#include "cpu.h"
#include "hvcall.h"
#include "rootprobe.h"
#include "tap.h"

void root_main(void)
{
    uint64_t base = 0;
    hv_need();
    if (!tap_ok(efi_largest_reserved(&base) != 0, "the memory map has the hypervisor's block")) {
        return;
    }
    cli();
    write_cr3(base);
    tap_ok(false, "nothing runs with page tables in it");
}
