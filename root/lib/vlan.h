// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VLANs of a switch's port as people write them:
//   7              an access port: frames without tag are in VLAN 7
//   trunk 5-9,12   frames have tags of these VLANs, or none and are in none
//   3 trunk 5-9    likewise, and those without tag are in VLAN 3
#pragma once
#include <stdbool.h>

#include "root/lib/vsp/net/switch.h"

// Fills *vlan from such a text; an empty one: no VLAN. False: something else is there, or a number
// that no VLAN has; *vlan is undefined.
bool vlan_parse(const char *text, struct port_vlan *vlan);
