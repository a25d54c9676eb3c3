// SPDX-License-Identifier: BSD-2-Clause-Patent
// Address table of the switch: contract in switch_mac.h.
#include "switch_mac.h"

#include "../../mem.h"
#include "../wire.h"

enum { SETS = SWITCH_MACS / SWITCH_MAC_WAYS };

static struct switch_mac *set_of(struct virtual_switch *sw, const uint8_t *address, unsigned vlan)
{
    uint64_t hash =
        sw->key ^ le32_get(address) ^ (uint64_t)le16_get(address + 4) << 32 ^ (uint64_t)vlan << 48;

    // The finalizer of MurmurHash3, twice keyed.
    hash = (hash ^ hash >> 33) * UINT64_C(0xFF51AFD7ED558CCD) + sw->key;
    hash = (hash ^ hash >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
    hash ^= hash >> 33;
    return &sw->macs[hash % SETS * SWITCH_MAC_WAYS];
}

static void forget(struct virtual_switch *sw, struct switch_mac *mac)
{
    sw->ports[mac->port - 1]->learned--;
    mac->port = 0;
}

// The entry of the address, if it has one; entries that are too old are freed on the way.
static struct switch_mac *find(struct virtual_switch *sw, const uint8_t *address, unsigned vlan,
                               uint64_t now)
{
    struct switch_mac *set = set_of(sw, address, vlan);

    for (unsigned way = 0; way < SWITCH_MAC_WAYS; way++) {
        struct switch_mac *mac = &set[way];
        if (mac->port && now - mac->seen >= SWITCH_MAC_AGE_100NS) {
            forget(sw, mac);
        }
        if (mac->port && mac->vlan == vlan &&
            memcmp(mac->address.byte, address, ETHER_ADDRESS) == 0) {
            return mac;
        }
    }
    return 0;
}

// A place for a new address of the port: a free one, or the oldest of the port's own.
static struct switch_mac *make_room(struct virtual_switch *sw, unsigned port,
                                    const uint8_t *address, unsigned vlan)
{
    struct switch_mac *set = set_of(sw, address, vlan);
    struct switch_mac *oldest = 0;

    for (unsigned way = 0; way < SWITCH_MAC_WAYS; way++) {
        struct switch_mac *mac = &set[way];
        if (!mac->port && sw->ports[port]->learned < sw->ports[port]->config.learn_max) {
            return mac;
        }
        if (mac->port == port + 1 && (!oldest || mac->seen < oldest->seen)) {
            oldest = mac;
        }
    }
    return oldest;
}

void switch_mac_learn(struct virtual_switch *sw, unsigned port, const uint8_t *address,
                      unsigned vlan, uint64_t now)
{
    struct switch_mac *mac = find(sw, address, vlan, now);

    if (!mac) {
        mac = make_room(sw, port, address, vlan);
    } else if (mac->port != port + 1 &&
               sw->ports[port]->learned >= sw->ports[port]->config.learn_max) {
        return;
    }
    if (!mac) {
        return;
    }
    if (mac->port) {
        forget(sw, mac);
    }
    memcpy(mac->address.byte, address, ETHER_ADDRESS);
    mac->vlan = (uint16_t)vlan;
    mac->port = (uint8_t)(port + 1);
    mac->seen = now;
    sw->ports[port]->learned++;
}

unsigned switch_mac_find(struct virtual_switch *sw, const uint8_t *address, unsigned vlan,
                         uint64_t now)
{
    const struct switch_mac *mac = find(sw, address, vlan, now);
    return mac ? mac->port - 1u : SWITCH_PORTS_MAX;
}

void switch_mac_forget_port(struct virtual_switch *sw, unsigned port)
{
    for (unsigned i = 0; i < SWITCH_MACS; i++) {
        if (sw->macs[i].port == port + 1) {
            forget(sw, &sw->macs[i]);
        }
    }
}
