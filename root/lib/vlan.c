// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "root/lib/vlan.h"

#include "root/lib/mem.h"
#include "root/lib/numset.h"
#include "root/lib/vsp/net/ether.h"

#define TRUNK "trunk "

static const char *behind_blanks(const char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    return text;
}

// Numbers 0 and 4095 are reserved (IEEE 802.1Q table 9-2).
static bool list_parse(const char *text, uint8_t allowed[SWITCH_VLANS / 8])
{
    bool any = false;

    if (!numset_parse(text, allowed, SWITCH_VLANS)) {
        return false;
    }
    for (uint32_t i = 0; i < SWITCH_VLANS / 8; i++) {
        any |= allowed[i] != 0;
    }
    return any && !(allowed[0] & 1) && !(allowed[SWITCH_VLANS / 8 - 1] & 0x80);
}

bool vlan_parse(const char *text, struct port_vlan *vlan)
{
    uint32_t native = 0;

    memset(vlan, 0, sizeof *vlan);
    text = behind_blanks(text);
    if (*text >= '0' && *text <= '9' &&
        (!numset_number(&text, VLAN_ID_MAX + 1, &native) || native == 0 ||
         (*text != 0 && text == behind_blanks(text)))) {
        return false;
    }
    vlan->native = (uint16_t)native;
    text = behind_blanks(text);
    if (*text == 0) {
        return true;
    }
    for (const char *word = TRUNK; *word; word++) {
        if (*text++ != *word) {
            return false;
        }
    }
    vlan->mode = PORT_TRUNK;
    return list_parse(text, vlan->allowed);
}
