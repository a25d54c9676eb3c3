// SPDX-License-Identifier: BSD-2-Clause-Patent
// Network adapters of VMs and the switches between them, which are made by their names.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "boot/conf.h"
#include "root/console.h"
#include "root/lib/vsp/net/netvsp.h"
#include "root/lib/vsp/net/switch.h"

struct net_adapter {
    struct netvsp netvsp;
};

// Offers adapter `index` of the VM on its bus, at the switch and in the VLANs that the
// configuration names. Its address comes from the VM's name and index. False: root_fail() has been
// called.
bool net_create(struct net_adapter *adapter, struct vmbus_server *server,
                const struct conf_vm *conf, uint32_t index);

// The switch of that name; made if there is none. NULL: there is no room for another.
struct virtual_switch *net_switch(const char *name);

// One line about it.
void net_list(const struct net_adapter *adapter, struct console *console,
              const struct conf_vm *conf, uint32_t index);
