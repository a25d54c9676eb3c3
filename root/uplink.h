// SPDX-License-Identifier: BSD-2-Clause-Patent
// The way out of one switch: the machine's first network card, by the firmware's Simple Network
// Protocol (UEFI 2.10, 24.1). It has no interrupts: the main loop polls it.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/lib/vsp/net/switch.h"

// Puts the card on the switch and takes it from the firmware's own protocols. False: root_fail()
// has been called.
bool uplink_start(struct virtual_switch *sw);

// Moves frames both ways. True: some were received, and VMs may have been woken.
bool uplink_poll(uint64_t now);

// When uplink_poll() is to be called next, in hv_time() units; UINT64_MAX: there is no uplink.
uint64_t uplink_due(void);

// Gives the card back.
void uplink_stop(void);
