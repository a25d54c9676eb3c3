// SPDX-License-Identifier: BSD-2-Clause-Patent
// Network adapters and switches: contract in net.h.
#include "root/net.h"

#include "boot/text.h"
#include "root/cpu.h"
#include "root/lib/mem.h"
#include "root/lib/vlan.h"
#include "root/log.h"
#include "root/pages.h"

enum {
    SWITCHES_MAX = 8,
    QUEUE_SIZE = 512 << 10,
    SLOTS = 9300, // of a receive buffer of 16 MiB
    QUEUES = 4,
};
#define LINK_BPS UINT64_C(10000000000)

struct named_switch {
    char name[CONF_NAME_SIZE];
    struct virtual_switch sw;
};

static struct named_switch *switches[SWITCHES_MAX];
static struct netvsp_scratch *scratch; // one message at a time, of all adapters

static bool same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

struct virtual_switch *net_switch(const char *name)
{
    for (uint32_t i = 0; i < SWITCHES_MAX; i++) {
        if (!switches[i]) {
            switches[i] = pages_zeroed(sizeof *switches[i]);
            if (!switches[i]) {
                return NULL;
            }
            text_format(switches[i]->name, sizeof switches[i]->name, "%s", name);
            switch_init(&switches[i]->sw, cpu_tsc() * UINT64_C(0x9E3779B97F4A7C15));
        }
        if (same(switches[i]->name, name)) {
            return &switches[i]->sw;
        }
    }
    return NULL;
}

static uint64_t hash_of(const char *owner, uint32_t index)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325) + index;

    for (; *owner; owner++) {
        hash = (hash ^ (uint8_t)*owner) * UINT64_C(0x100000001B3);
    }
    return hash ^ hash >> 32;
}

static bool fill(struct netvsp_config *config, uint64_t hash)
{
    static const struct vmbus_guid instance =
        VMBUS_GUID(0x9b4d7a10, 0x2f66, 0x4b0c, 0x8e, 0x21, 0x5d, 0x00, 0x00, 0x00, 0x00, 0x00);

    scratch = scratch ? scratch : pages_zeroed(sizeof *scratch);
    config->instance_id = instance;
    for (unsigned i = 0; i < 5; i++) {
        config->instance_id.bytes[11 + i] = (uint8_t)(hash >> 8 * i);
    }
    // The prefix that guests know for adapters of virtual machines of this interface.
    config->address = (struct ether_address){
        {0x00, 0x15, 0x5D, (uint8_t)(hash >> 16), (uint8_t)(hash >> 8), (uint8_t)hash}};
    config->link_bps = LINK_BPS;
    config->frame_max = ETHER_FRAME_MAX; // for guests that ask for more than the standard
    config->queues = QUEUES;
    config->queue_size = QUEUE_SIZE;
    config->queue_memory = pages_zeroed(QUEUE_SIZE);
    config->slot_count = SLOTS;
    config->slots = pages_zeroed(SLOTS * sizeof *config->slots);
    config->scratch = scratch;
    return scratch && config->queue_memory && config->slots;
}

bool net_create(struct net_adapter *adapter, struct vmbus_server *server,
                const struct conf_vm *conf, uint32_t index)
{
    const char *name = conf->net[index];
    struct netvsp_config config = {.sw = net_switch(name), .order = index + 1};

    if (!vlan_parse(conf->vlan[index], &config.vlan)) {
        root_fail("vm %s: vlan: neither the number of a VLAN nor a trunk: %s", conf->name,
                  conf->vlan[index]);
        return false;
    }
    if (!config.sw || !fill(&config, hash_of(conf->name, index))) {
        root_fail("vm %s: no memory for switch %s", conf->name, name);
        return false;
    }
    text_format(config.name, sizeof config.name, "net%u", (unsigned)index);
    if (!netvsp_create(&adapter->netvsp, server, &config)) {
        root_fail("vm %s: switch %s takes no adapter of it", conf->name, name);
        return false;
    }
    return true;
}

void net_list(const struct net_adapter *adapter, struct console *console,
              const struct conf_vm *conf, uint32_t index)
{
    const struct ether_address *a = &adapter->netvsp.config.address;
    const char *vlan = conf->vlan[index];

    console_print(console, "  net %u: %x:%x:%x:%x:%x:%x at %s%s%s, version %x\n", index, a->byte[0],
                  a->byte[1], a->byte[2], a->byte[3], a->byte[4], a->byte[5], conf->net[index],
                  vlan[0] ? ", VLAN " : "", vlan, adapter->netvsp.version);
}
