// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VMBus of a VM, by hypercall: ports of the root take the guest's messages and signals;
// messages to it go through a port of the VM, event flags straight to its VPs. spec: VMBus 1.1, 1.2
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hv/message.h"
#include "root/lib/vmbus/server.h"

struct hvsock_host;
struct vm;

enum {
    BUS_CHANNELS = 127,
    BUS_GPADLS = 512,
    BUS_GPADL_WORDS = 65536, // two adapters' buffers and to spare
};

struct vm_bus {
    struct vmbus_server *server; // NULL: the VM has none
    struct hvsock_host *sockets; // NULL: connections are refused
    uint32_t index;              // among the VMs
    uint32_t sint;               // of the root, where this VM's messages and signals come
    uint16_t flag_base;          // of its signals there
    bool attached;               // to a partition
    bool has_post_port;
    bool has_held;
    uint32_t post_vp;       // the VP that our messages go to, when there is a port for it
    uint64_t due;           // hv_time() by which the server has to run
    uint64_t time_offset;   // of the guest's reference time to the root's
    struct hv_message held; // a message that the server has not taken yet
};

// Sets the bus up; once, before anything is offered on it. False: root_fail() has been called.
bool bus_create(struct vm *vm, uint32_t index);

// The partition has been created; its VPs have not run. HV_STATUS.
uint16_t bus_attach(struct vm *vm);

// The partition goes away, or the guest starts anew: channels are closed, our ports deleted.
void bus_detach(struct vm *vm);

// Takes what guests have sent and runs every bus that has something to do. True: there is more.
bool bus_serve_all(void);

// Devices have been woken from outside their bus: all run with the next bus_serve_all().
void bus_wake_all(void);

// The guest's reference time, as its bus has it.
uint64_t bus_now(const struct vm *vm);

// When bus_serve_all() is to be called at the latest, in hv_time() units; UINT64_MAX: never.
uint64_t bus_due(void);
