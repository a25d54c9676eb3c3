// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VMM of the bench guest under Xen: an ioreq server in dom0, as a device model is one, for the
// few ports and the address that the guest asks of it. Xen: public/hvm/dm_op.h, public/hvm/ioreq.h,
// public/memory.h
//
//   xenvmm DOMAIN PROCESSORS     for a domain that is still paused
//
// The exit status is what the guest writes to port 0xf4.
#include <err.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

// Linux: include/uapi/xen/privcmd.h and evtchn.h, which do not stand alone.
struct dm_op_buffer {
    void *pointer;
    size_t size;
};
struct dm_op_call {
    uint16_t domain, count;
    const struct dm_op_buffer *buffers;
};
struct map_resource {
    uint16_t domain;
    uint32_t type, id, index;
    uint64_t count, address;
};
struct bind_interdomain {
    uint32_t remote_domain, remote_port;
};
#define PRIVCMD_DM_OP        _IOC(_IOC_NONE, 'P', 5, sizeof(struct dm_op_call))
#define PRIVCMD_MAP_RESOURCE _IOC(_IOC_NONE, 'P', 7, sizeof(struct map_resource))
#define EVTCHN_BIND          _IOC(_IOC_NONE, 'E', 1, sizeof(struct bind_interdomain))
#define EVTCHN_NOTIFY        _IOC(_IOC_NONE, 'E', 4, sizeof(uint32_t))

enum dm_operation {
    DM_CREATE_SERVER = 1,
    DM_MAP_RANGE = 3,
    DM_SET_STATE = 5,
    DM_INJECT_MSI = 14,
};

struct dm_op {
    uint32_t op, pad;
    union {
        struct {
            uint8_t buffered, pad[3];
            uint16_t id;
        } create;
        struct {
            uint16_t id, pad;
            uint32_t type; // 0 ports, 1 addresses
            uint64_t first, last;
        } range;
        struct {
            uint16_t id;
            uint8_t enabled, pad;
        } state;
        struct {
            uint32_t data, pad;
            uint64_t address;
        } msi;
        uint8_t whole[32];
    };
};

#define RESOURCE_IOREQ_SERVER 0u
#define FRAME_IOREQ           1u

enum ioreq_state {
    IOREQ_READY = 1,
    IOREQ_IN_PROCESS = 2,
    IORESP_READY = 3,
};
#define IOREQ_STATE_MASK 0x0fu
#define IOREQ_READ       0x20u // direction
#define IOREQ_TYPE_PORT  0u

struct ioreq {
    uint64_t address, data;
    uint32_t count, size;
    uint32_t port; // event channel
    uint16_t pad;
    _Atomic uint8_t flags; // state 3:0, data is a pointer 4, read 5, downwards 6
    uint8_t type;
};
_Static_assert(sizeof(struct ioreq) == 32, "struct ioreq");

#define MSI_ADDRESS 0xfee00000u
#define MAX_CPUS    8

static int privcmd, events;
static uint16_t domain;
static struct vmm vmm = {.exit_value = -1};
static volatile struct ioreq *slots; // one a processor
static uint32_t local_port[MAX_CPUS];

static void dm_call(struct dm_op *op, const char *what)
{
    struct dm_op_buffer buffer = {op, sizeof(*op)};
    struct dm_op_call call = {domain, 1, &buffer};
    if (ioctl(privcmd, PRIVCMD_DM_OP, &call) < 0)
        err(2, "%s", what);
}

static void map_range(uint16_t id, uint32_t type, uint64_t first, uint64_t last)
{
    struct dm_op op = {.op = DM_MAP_RANGE, .range = {id, 0, type, first, last}};
    dm_call(&op, "range");
}

static void make_server(void)
{
    struct dm_op create = {.op = DM_CREATE_SERVER};
    dm_call(&create, "ioreq server");
    uint16_t id = create.create.id;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, privcmd, 0);
    struct map_resource map = {domain, RESOURCE_IOREQ_SERVER, id, FRAME_IOREQ, 1, (uintptr_t)page};
    if (page == MAP_FAILED || ioctl(privcmd, PRIVCMD_MAP_RESOURCE, &map) < 0)
        err(2, "page of the requests");
    slots = page;
    map_range(id, 0, VMM_RTC_INDEX, VMM_RTC_INDEX);
    map_range(id, 0, VMM_EXIT, VMM_EXIT);
    map_range(id, 0, VMM_UART + VMM_UART_IER, VMM_UART + VMM_UART_IER);
    map_range(id, 1, VMM_IOAPIC, VMM_IOAPIC + 0xfff);
    struct dm_op enable = {.op = DM_SET_STATE, .state = {id, 1, 0}};
    dm_call(&enable, "start");
}

static void bind_events(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bind_interdomain bind = {domain, slots[i].port};
        int port = ioctl(events, EVTCHN_BIND, &bind);
        if (port < 0)
            err(2, "event channel");
        local_port[i] = (uint32_t)port;
    }
}

static void answer(volatile struct ioreq *request)
{
    int write = !(request->flags & IOREQ_READ), inject = 0;
    uint64_t data = 0;
    if (request->type == IOREQ_TYPE_PORT)
        data = vmm_port(&vmm, (uint16_t)request->address, write, (uint8_t)request->data, &inject);
    if (!write)
        request->data = data;
    if (inject) {
        struct dm_op op = {.op = DM_INJECT_MSI, .msi = {VMM_VECTOR, 0, MSI_ADDRESS}};
        dm_call(&op, "interrupt");
    }
}

static void set_state(volatile struct ioreq *request, enum ioreq_state state)
{
    request->flags = (uint8_t)((request->flags & ~IOREQ_STATE_MASK) | state);
}

static void serve(uint32_t count)
{
    uint32_t port;
    while (vmm.exit_value < 0 && read(events, &port, sizeof(port)) == sizeof(port)) {
        if (write(events, &port, sizeof(port)) != sizeof(port)) // unmasks it
            err(2, "event channel");
        for (uint32_t i = 0; i < count; i++) {
            volatile struct ioreq *request = &slots[i];
            if (local_port[i] != port || (request->flags & IOREQ_STATE_MASK) != IOREQ_READY)
                continue;
            set_state(request, IOREQ_IN_PROCESS);
            answer(request);
            set_state(request, IORESP_READY);
            if (ioctl(events, EVTCHN_NOTIFY, &port) < 0)
                err(2, "answer");
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: xenvmm DOMAIN PROCESSORS");
    domain = (uint16_t)atoi(argv[1]);
    uint32_t count = (uint32_t)atoi(argv[2]);
    privcmd = open("/dev/xen/privcmd", O_RDWR);
    events = open("/dev/xen/evtchn", O_RDWR);
    if (privcmd < 0 || events < 0 || !count || count > MAX_CPUS)
        err(2, "/dev/xen");
    make_server();
    bind_events(count);
    puts("xenvmm: ready");
    fflush(stdout);
    serve(count);
    return vmm.exit_value;
}
