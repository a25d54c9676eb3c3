// SPDX-License-Identifier: BSD-2-Clause-Patent
// The devices of a VM on its VMBus: contract in devices.h.
#include "root/devices.h"

#include "boot/text.h"
#include "root/balloon.h"
#include "root/clock.h"
#include "root/disk.h"
#include "root/lib/vsp/ic/heartbeat.h"
#include "root/lib/vsp/ic/shutdown.h"
#include "root/lib/vsp/ic/timesync.h"
#include "root/lib/vsp/keyboard.h"
#include "root/lib/vsp/storvsp.h"
#include "root/log.h"
#include "root/net.h"
#include "root/pages.h"
#include "root/services.h"
#include "root/sockets.h"

enum {
    CD_LUN = CONF_DISKS,
    UNITS,
    STORAGE_REQUESTS = 256,
    STORAGE_SUBCHANNELS = 7,
    LABEL = CONF_NAME_SIZE + 16,
};

// The one controller of each VM.
static const struct vmbus_guid controller_id =
    VMBUS_GUID(0x7a1b3c60, 0x5c02, 0x4f0e, 0x9d, 0x41, 0x33, 0x0a, 0x66, 0x1f, 0x2e, 0x01);

struct devices {
    struct vm *vm;
    struct heartbeat heartbeat;
    struct shutdown_ic shutdown;
    struct timesync timesync;
    struct keyboard keyboard;
    struct services services;
    struct balloon balloon;
    struct sockets sockets;
    struct storvsp *storage; // NULL: no disks
    struct disk disks[UNITS];
    struct net_adapter nets[CONF_NETS];
};

// ---- integration components --------------------------------------------------------------------

static void shutdown_answered(void *ctx, uint32_t status)
{
    const struct devices *d = ctx;

    root_log("vm %s: %s (status %x)", d->vm->conf.name,
             status == IC_STATUS_OK ? "shuts down" : "does not shut down", status);
}

static uint64_t wall(void *ctx)
{
    (void)ctx;
    return clock_100ns();
}

static bool create_components(struct devices *d, struct vmbus_server *server)
{
    sockets_create(&d->sockets, server);
    d->vm->bus.sockets = &d->sockets.host;
    return heartbeat_create(&d->heartbeat, server) &&
           shutdown_create(&d->shutdown, server, d, shutdown_answered) &&
           timesync_create(&d->timesync, server, d, wall) &&
           keyboard_create(&d->keyboard, server) && services_create(&d->services, d->vm, server) &&
           balloon_create(&d->balloon, d->vm, server);
}

// ---- disks -------------------------------------------------------------------------------------

static bool create_storage(struct devices *d, struct vmbus_server *server)
{
    static const struct storvsp_limits limits = {STORAGE_REQUESTS, STORAGE_SUBCHANNELS};
    const size_t size = storvsp_size(&limits);
    void *arena = pages_zeroed(size);

    d->storage = arena ? storvsp_init(arena, size, &limits) : NULL;
    return d->storage && storvsp_offer(d->storage, server, &controller_id);
}

static const char *open_disk(struct devices *d, uint32_t unit, const char *path)
{
    char label[LABEL];

    text_format(label, sizeof label, "%s-%u", d->vm->conf.name, (unsigned)unit);
    const char *error = disk_open(&d->disks[unit], path, label, unit == CD_LUN);
    if (!error && !storvsp_add_lun(d->storage, unit, &d->disks[unit].lun)) {
        disk_close(&d->disks[unit]);
        error = "the controller does not take it now";
    }
    return error;
}

static bool open_disks(struct devices *d, struct vmbus_server *server)
{
    const struct conf_vm *conf = &d->vm->conf;

    for (uint32_t unit = 0; unit < UNITS; unit++) {
        const char *path = unit == CD_LUN ? conf->cd : conf->disk[unit];
        if (!path[0]) {
            continue;
        }
        if (!d->storage && !create_storage(d, server)) {
            root_fail("vm %s: no memory for its disks", conf->name);
            return false;
        }
        const char *error = open_disk(d, unit, path);
        if (error) {
            root_fail("vm %s: %s: %s", conf->name, path, error);
            return false;
        }
    }
    return true;
}

// ---- all ---------------------------------------------------------------------------------------

static bool create_nets(struct devices *d, struct vmbus_server *server)
{
    const struct conf_vm *conf = &d->vm->conf;

    for (uint32_t i = 0; i < CONF_NETS; i++) {
        if (conf->net[i][0] && !net_create(&d->nets[i], server, conf, i)) {
            return false;
        }
        if (!conf->net[i][0] && conf->vlan[i][0]) {
            root_fail("vm %s: vlan: there is no switch that adapter %u is on", conf->name, i);
            return false;
        }
    }
    return true;
}

bool devices_create(struct vm *vm)
{
    struct vmbus_server *server = vm->bus.server;
    struct devices *d = pages_zeroed(sizeof *d);

    if (!d || !create_components((d->vm = vm, d), server)) {
        root_fail("vm %s: no memory for its devices", vm->conf.name);
        return false;
    }
    vm->devices = d;
    return create_nets(d, server) && open_disks(d, server);
}

static void for_each_disk(struct vm *vm, void (*act)(struct disk *disk))
{
    for (uint32_t unit = 0; vm->devices && unit < UNITS; unit++) {
        if (vm->devices->disks[unit].is_open) {
            act(&vm->devices->disks[unit]);
        }
    }
}

void devices_flush(struct vm *vm)
{
    for_each_disk(vm, disk_flush);
}

void devices_close(struct vm *vm)
{
    for_each_disk(vm, disk_close);
}

void devices_stopped(struct vm *vm)
{
    if (vm->devices) {
        balloon_stopped(&vm->devices->balloon);
    }
}

bool devices_settle(struct vm *vm)
{
    return vm->devices && vm_running(vm) && balloon_sweep(&vm->devices->balloon);
}

struct services *devices_services(struct vm *vm)
{
    return vm->devices ? &vm->devices->services : NULL;
}

struct balloon *devices_balloon(struct vm *vm)
{
    return vm->devices ? &vm->devices->balloon : NULL;
}

struct sockets *devices_sockets(struct vm *vm)
{
    return vm->devices ? &vm->devices->sockets : NULL;
}

// ---- disks of a machine that runs
// ----------------------------------------------------------------

const char *devices_add_disk(struct vm *vm, uint32_t unit, const char *path)
{
    struct devices *d = vm->devices;

    if (!d || unit >= UNITS) {
        return "there is no such unit";
    }
    if (d->disks[unit].is_open) {
        return "the unit is in use";
    }
    if (!d->storage && !create_storage(d, vm->bus.server)) {
        return "no memory for a controller";
    }
    return open_disk(d, unit, path);
}

static struct disk *disk_at(struct vm *vm, uint32_t unit)
{
    struct devices *d = vm->devices;

    return d && unit < UNITS && d->disks[unit].is_open ? &d->disks[unit] : NULL;
}

// The files are read and written at once, so no task of the unit is under way between two runs of
// the bus.
const char *devices_remove_disk(struct vm *vm, uint32_t unit)
{
    struct disk *disk = disk_at(vm, unit);

    if (!disk) {
        return "there is no such disk";
    }
    if (disk->lun.in_flight) {
        return "it is in use";
    }
    (void)storvsp_remove_lun(vm->devices->storage, unit);
    disk_close(disk);
    return NULL;
}

const char *devices_grow_disk(struct vm *vm, uint32_t unit, uint64_t mib)
{
    struct disk *disk = unit == CD_LUN ? NULL : disk_at(vm, unit);

    return disk ? disk_grow(disk, mib << 20) : "there is no such disk";
}

// ---- for the console ---------------------------------------------------------------------------

void devices_list(struct console *console, const struct vm *vm)
{
    static const char *const states[] = {
        [HEARTBEAT_NONE] = "none", [HEARTBEAT_OK] = "OK", [HEARTBEAT_LOST] = "lost"};
    const struct devices *d = vm->devices;

    if (!d) {
        return;
    }
    console_print(console, "  heartbeat %s (%lu), shutdown %s, time %s\n",
                  states[d->heartbeat.state], d->heartbeat.beats,
                  d->shutdown.ic.state == IC_READY ? "ready" : "off",
                  d->timesync.ic.state == IC_READY ? "ready" : "off");
    services_list(&d->services, console);
    sockets_list(&d->sockets, console);
    balloon_list(&d->balloon, console);
    for (uint32_t unit = 0; unit < UNITS; unit++) {
        const struct disk *disk = &d->disks[unit];
        if (disk->is_open) {
            console_print(console, "  %s %u: %s, %lu MiB\n", unit == CD_LUN ? "CD" : "disk", unit,
                          disk->is_vhdx  ? "VHDX"
                          : disk->handle ? "raw"
                                         : "device",
                          disk->size >> 20);
        }
    }
    for (uint32_t i = 0; i < CONF_NETS; i++) {
        if (vm->conf.net[i][0]) {
            net_list(&d->nets[i], console, &vm->conf, i);
        }
    }
}

bool devices_shut_down(struct vm *vm)
{
    return vm->devices && shutdown_request(&vm->devices->shutdown, SHUTDOWN_POWER_OFF, true,
                                           "The root asks for it");
}

// Scan codes of set 1: left Ctrl, left Alt, Delete.
void devices_type_ctrl_alt_del(struct vm *vm)
{
    static const struct keystroke keys[] = {{0x1D, 0},         {0x38, 0},
                                            {0x53, KEY_E0},    {0x53, KEY_E0 | KEY_BREAK},
                                            {0x38, KEY_BREAK}, {0x1D, KEY_BREAK}};

    for (unsigned i = 0; vm->devices && i < sizeof keys / sizeof keys[0]; i++) {
        (void)keyboard_key(&vm->devices->keyboard, keys[i].code, keys[i].flags);
    }
}
