// SPDX-License-Identifier: BSD-2-Clause-Patent
// The switch's table of learned addresses: SWITCH_MAC_WAYS possible places an address and VLAN.
#pragma once

#include <stdint.h>

#include "switch.h"

// The address is behind the port, as of now. A port at its learn_max, or whose address would have
// to displace a fresh one of another port, learns nothing: frames to it are then only flooded.
void switch_mac_learn(struct virtual_switch *sw, unsigned port, const uint8_t *address,
                      unsigned vlan, uint64_t now);

// The index of the port behind which the address is, or SWITCH_PORTS_MAX. What has not been seen
// for SWITCH_MAC_AGE_100NS is forgotten.
unsigned switch_mac_find(struct virtual_switch *sw, const uint8_t *address, unsigned vlan,
                         uint64_t now);

// Forgets all addresses behind the port.
void switch_mac_forget_port(struct virtual_switch *sw, unsigned port);
