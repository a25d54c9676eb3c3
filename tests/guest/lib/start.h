// SPDX-License-Identifier: BSD-2-Clause-Patent
#ifndef GUEST_START_H
#define GUEST_START_H

// The probe: runs on the boot processor, interrupts off, APIC as the machine left it. When it
// returns the plan is printed.
void guest_main(void);

#endif
