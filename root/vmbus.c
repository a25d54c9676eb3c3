// SPDX-License-Identifier: BSD-2-Clause-Patent
// The VMBus of a VM, by hypercall: contract in vmbus.h.
#include "root/vmbus.h"

#include "root/hv.h"
#include "root/lib/vsp/hvsock.h"
#include "root/log.h"
#include "root/pages.h"
#include "root/vm.h"

enum {
    FIRST_SINT = 1, // SINT 0 takes the intercepts
    SINTS = HV_SYNIC_SINT_COUNT - FIRST_SINT,
    FLAGS_EACH = HV_EVENT_FLAGS_COUNT / ((VM_MAX + SINTS - 1) / SINTS),
    FLAG_WORDS = (BUS_CHANNELS + 1) / 64, // relids 0..127
    MESSAGES_AT_ONCE = 32,
    RUNS_AT_ONCE = 8,
    RUNS_TO_END = 10000, // until all channels are closed
    HELD_RETRY = 10000,  // 1 ms
    POST_PORT = 1,       // id of the VM's port for our messages
    EVENT_PORT = 0x8000, // | relid: ids of our ports for its signals
};
_Static_assert(FLAG_WORDS * 64 > BUS_CHANNELS, "a flag for each relid");
_Static_assert(FLAGS_EACH >= FLAG_WORDS * 64, "VMs on one SINT do not share flags");

static struct account root_account;

// Ids of the root's ports and connections: the VM above, what for beneath. 0 is no VM's.
static uint32_t own_id(const struct vm *vm, uint32_t what)
{
    return (vm->bus.index + 1) << 16 | what;
}

// ---- what the server asks for ------------------------------------------------------------------

static void *page(void *ctx, uint64_t gpn, bool write)
{
    struct vm *vm = ctx;

    (void)write;
    return gpn >> (64 - HV_PAGE_SHIFT)
               ? NULL
               : guest_memory_at(&vm->memory, gpn << HV_PAGE_SHIFT, HV_PAGE_SIZE);
}

static void drop_post_port(struct vm *vm)
{
    if (vm->bus.has_post_port) {
        (void)call_disconnect(&root_account, own_id(vm, POST_PORT));
        (void)call_delete_port(&vm->account, POST_PORT);
        vm->bus.has_post_port = false;
    }
}

// A message port for that VP of the guest, and the root's connection to it.
static uint16_t make_post_port(struct vm *vm, uint32_t vp)
{
    const struct hv_port_info info = {
        .port_type = HV_PORT_TYPE_MESSAGE,
        .message = {.target_sint = VMBUS_SINT, .target_vp = vp},
    };

    drop_post_port(vm);
    uint16_t status = call_create_port(&vm->account, POST_PORT, HV_PARTITION_ID_SELF, &info);
    if (status != HV_STATUS_SUCCESS) {
        return status;
    }
    status = call_connect(&root_account, own_id(vm, POST_PORT), vm->account.partition, POST_PORT,
                          HV_PORT_TYPE_MESSAGE);
    if (status != HV_STATUS_SUCCESS) {
        (void)call_delete_port(&vm->account, POST_PORT);
        return status;
    }
    vm->bus.has_post_port = true;
    vm->bus.post_vp = vp;
    return status;
}

// What is for another SINT (reserved channels) is not queued: its slot is free, or it has to wait.
static enum vmbus_post post_message(void *ctx, uint32_t vp, uint8_t sint, const void *payload,
                                    size_t size)
{
    struct vm *vm = ctx;
    uint16_t status = HV_STATUS_SUCCESS;

    if (!vm->bus.attached) {
        return VMBUS_POST_FAILED;
    }
    if (sint != VMBUS_SINT) {
        status =
            call_post_direct(vm->account.partition, vp, sint, VMBUS_MESSAGE_TYPE, payload, size);
    } else {
        if (!vm->bus.has_post_port || vm->bus.post_vp != vp) {
            status = make_post_port(vm, vp);
        }
        if (status == HV_STATUS_SUCCESS) {
            status = call_post(own_id(vm, POST_PORT), VMBUS_MESSAGE_TYPE, payload, size);
        }
    }
    if (status == HV_STATUS_SUCCESS) {
        return VMBUS_POST_OK;
    }
    if (status == HV_STATUS_INSUFFICIENT_BUFFERS || status == HV_STATUS_OBJECT_IN_USE) {
        return VMBUS_POST_LATER;
    }
    root_log("vm %s: message to VP %u, SINT %u: status %x", vm->conf.name, vp, (unsigned)sint,
             (unsigned)status);
    return VMBUS_POST_FAILED;
}

// A guest that has switched its SynIC off is not signalled.
static void signal_event(void *ctx, uint32_t vp, uint8_t sint, uint16_t flag)
{
    struct vm *vm = ctx;

    if (vm->bus.attached) {
        (void)call_signal_direct(vm->account.partition, vp, sint, flag);
    }
}

static uint16_t listen_to(struct vm *vm, uint16_t relid)
{
    const struct hv_port_info info = {
        .port_type = HV_PORT_TYPE_EVENT,
        .event = {.target_sint = vm->bus.sint,
                  .target_vp = hv_own_vp(),
                  .base_flag_number = (uint16_t)(vm->bus.flag_base + relid),
                  .flag_count = 1},
    };
    const uint32_t id = own_id(vm, EVENT_PORT | relid);
    uint16_t status = call_create_port(&root_account, id, vm->account.partition, &info);

    if (status != HV_STATUS_SUCCESS) {
        return status;
    }
    status = call_connect(&vm->account, VMBUS_EVENT_CONNECTION(relid), HV_PARTITION_ID_SELF, id,
                          HV_PORT_TYPE_EVENT);
    if (status != HV_STATUS_SUCCESS) {
        (void)call_delete_port(&root_account, id);
    }
    return status;
}

static bool listen(void *ctx, uint16_t relid, bool wanted)
{
    struct vm *vm = ctx;

    if (!wanted) {
        (void)call_delete_port(&root_account, own_id(vm, EVENT_PORT | relid));
        (void)call_disconnect(&vm->account, VMBUS_EVENT_CONNECTION(relid));
        return true;
    }
    const uint16_t status = listen_to(vm, relid);
    if (status != HV_STATUS_SUCCESS) {
        root_log("vm %s: no port for channel %u, status %x", vm->conf.name, (unsigned)relid,
                 (unsigned)status);
    }
    return status == HV_STATUS_SUCCESS;
}

uint64_t bus_now(const struct vm *vm)
{
    return hv_time() + vm->bus.time_offset;
}

static uint64_t now_100ns(void *ctx)
{
    return bus_now(ctx);
}

static void connect(void *ctx, const struct vmbus_guid *endpoint, const struct vmbus_guid *service)
{
    const struct vm *vm = ctx;

    if (vm->bus.sockets) {
        hvsock_requested(vm->bus.sockets, endpoint, service);
    } else {
        vmbus_server_refuse(vm->bus.server, endpoint, service, VMBUS_STATUS_REFUSED);
    }
}

static void log_line(void *ctx, enum vmbus_log_level level, const char *text)
{
    const struct vm *vm = ctx;

    (void)level;
    root_log("vm %s: %s", vm->conf.name, text);
}

// ---- life --------------------------------------------------------------------------------------

bool bus_create(struct vm *vm, uint32_t index)
{
    static const struct vmbus_limits limits = {
        .channels = BUS_CHANNELS, .gpadls = BUS_GPADLS, .gpadl_words = BUS_GPADL_WORDS};
    const struct vmbus_host host = {
        .ctx = vm,
        .memory = {.ctx = vm, .page = page},
        .post_message = post_message,
        .signal_event = signal_event,
        .listen = listen,
        .now_100ns = now_100ns,
        .log = log_line,
        .connect = connect,
    };
    const size_t size = vmbus_server_size(&limits);
    void *arena = pages_zeroed(size);
    struct vm_bus *bus = &vm->bus;

    bus->index = index;
    bus->sint = FIRST_SINT + index % SINTS;
    bus->flag_base = (uint16_t)(index / SINTS * FLAGS_EACH);
    bus->due = UINT64_MAX;
    bus->server = arena ? vmbus_server_init(arena, size, &limits, &host) : NULL;
    if (!bus->server) {
        root_fail("vm %s: no memory for its VMBus", vm->conf.name);
        return false;
    }
    hv_listen(bus->sint);
    return true;
}

static uint16_t make_message_port(struct vm *vm, uint32_t connection)
{
    const struct hv_port_info info = {
        .port_type = HV_PORT_TYPE_MESSAGE,
        .message = {.target_sint = vm->bus.sint, .target_vp = hv_own_vp()},
    };
    const uint32_t id = own_id(vm, connection);
    uint16_t status = call_create_port(&root_account, id, vm->account.partition, &info);

    if (status == HV_STATUS_SUCCESS) {
        status =
            call_connect(&vm->account, connection, HV_PARTITION_ID_SELF, id, HV_PORT_TYPE_MESSAGE);
    }
    return status;
}

uint16_t bus_attach(struct vm *vm)
{
    uint64_t reference = 0;

    if (!vm->bus.server) {
        return HV_STATUS_SUCCESS;
    }
    uint16_t status =
        call_get_property(vm->account.partition, HV_PARTITION_PROPERTY_REFERENCE_TIME, &reference);
    vm->bus.time_offset = reference - hv_time();
    vm->bus.attached = true; // from here on bus_detach() has something to take back
    vm->bus.due = 0;
    if (status == HV_STATUS_SUCCESS) {
        status = make_message_port(vm, VMBUS_CONNECTION_1);
    }
    return status == HV_STATUS_SUCCESS ? make_message_port(vm, VMBUS_CONNECTION_4) : status;
}

void bus_detach(struct vm *vm)
{
    struct vm_bus *bus = &vm->bus;

    if (!bus->attached) {
        return;
    }
    vmbus_server_reset(bus->server);
    for (unsigned i = 0; i < RUNS_TO_END && !vmbus_server_is_idle(bus->server); i++) {
        (void)vmbus_server_run(bus->server);
    }
    drop_post_port(vm);
    (void)call_delete_port(&root_account, own_id(vm, VMBUS_CONNECTION_1));
    (void)call_delete_port(&root_account, own_id(vm, VMBUS_CONNECTION_4));
    bus->attached = false;
    bus->has_held = false;
    bus->due = UINT64_MAX;
}

// ---- service -----------------------------------------------------------------------------------

// Messages of VMs that are gone are nobody's.
static bool is_ours(const struct vm *vm, uint64_t origin)
{
    return vm->bus.attached && origin >> 16 == vm->bus.index + 1;
}

static bool is_nobodys(uint32_t sint, uint64_t origin)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (vms[i]->bus.sint == sint && is_ours(vms[i], origin)) {
            return false;
        }
    }
    return true;
}

// Gives the server what waits, one message after the other. What it does not take now stays, and
// those behind it stay in the port's buffers: the guest sees that they are used up.
static bool take_messages(struct vm *vm)
{
    struct vm_bus *bus = &vm->bus;
    uint64_t origin;
    bool any = false;

    for (unsigned i = 0; i < MESSAGES_AT_ONCE; i++) {
        if (!bus->has_held) {
            const uint32_t type = hv_waiting_message(bus->sint, &origin);
            if (type == HV_MESSAGE_TYPE_NONE ||
                (!is_ours(vm, origin) && !is_nobodys(bus->sint, origin))) {
                break;
            }
            (void)hv_take_message(bus->sint, &bus->held);
            if (!is_ours(vm, origin) || type != VMBUS_MESSAGE_TYPE) {
                continue;
            }
        }
        any = true;
        bus->has_held =
            vmbus_server_message(bus->server, bus->held.header.origination_id & 0xFFFF,
                                 bus->held.payload, bus->held.header.payload_size) == VMBUS_BUSY;
        if (bus->has_held) {
            break;
        }
    }
    return any;
}

static bool take_signals(struct vm *vm)
{
    const uint32_t first = vm->bus.flag_base / 64;
    bool any = false;

    for (uint32_t word = 0; word < FLAG_WORDS; word++) {
        uint64_t flags = hv_take_flags(vm->bus.sint, first + word);
        any |= flags != 0;
        for (; flags; flags &= flags - 1) {
            vmbus_server_signal(vm->bus.server, word * 64 + (uint32_t)__builtin_ctzll(flags));
        }
    }
    return any;
}

static bool run(struct vm *vm)
{
    struct vm_bus *bus = &vm->bus;
    bool more = true;

    for (unsigned i = 0; i < RUNS_AT_ONCE && more; i++) {
        if (bus->sockets) {
            hvsock_run(bus->sockets, now_100ns(vm));
        }
        more = vmbus_server_run(bus->server);
    }
    const uint64_t deadline = vmbus_server_deadline(bus->server);
    const uint64_t now = now_100ns(vm);
    uint64_t left = deadline == UINT64_MAX ? deadline : deadline > now ? deadline - now : 0;
    if (bus->has_held && left > HELD_RETRY) {
        left = HELD_RETRY;
    }
    bus->due = left == UINT64_MAX ? left : hv_time() + left;
    return more;
}

// A frame that one VM sends wakes another's adapter: when one bus has run, all do.
bool bus_serve_all(void)
{
    bool wanted = false, more = false;

    hv_signalled = false;
    for (uint32_t i = 0; i < vm_count; i++) {
        struct vm *vm = vms[i];
        if (!vm->bus.attached) {
            continue;
        }
        more |= take_messages(vm); // others may have come meanwhile
        wanted |= take_signals(vm);
        wanted |= more || vm->bus.has_held || vm->bus.due <= hv_time();
    }
    for (uint32_t i = 0; i < vm_count && wanted; i++) {
        if (vms[i]->bus.attached) {
            more |= run(vms[i]);
        }
    }
    return more;
}

uint64_t bus_due(void)
{
    uint64_t due = UINT64_MAX;

    for (uint32_t i = 0; i < vm_count; i++) {
        if (vms[i]->bus.attached && vms[i]->bus.due < due) {
            due = vms[i]->bus.due;
        }
    }
    return due;
}

void bus_wake_all(void)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (vms[i]->bus.attached) {
            vms[i]->bus.due = 0;
        }
    }
    hv_signalled = true;
}
