// SPDX-License-Identifier: BSD-2-Clause-Patent
// What runs between entry.S and the probe.
#include "start.h"
#include "con.h"
#include "machine.h"
#include "percpu.h"
#include "smp.h"
#include "tap.h"

void guest_start(uint32_t magic, uint32_t info);

void guest_start(uint32_t magic, uint32_t info)
{
    con_init();
    // Before the low memory that a loader may have used is overwritten.
    machine_init(magic, info);
    smp_init_cpu(0);
    smp_cpu(0)->apic_id = machine.apic_ids[0];
    smp_cpu(0)->starts = 1;
    guest_main();
    tap_done();
}
