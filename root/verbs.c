// SPDX-License-Identifier: BSD-2-Clause-Patent
// The command line: contract in verbs.h. A verb works on the VM in focus.
#include "root/verbs.h"

#include <stddef.h>

#include "root/balloon.h"
#include "root/devices.h"
#include "root/services.h"
#include "root/sockets.h"
#include "root/verb.h"
#include "root/vm.h"

// ---- words and numbers
// ---------------------------------------------------------------------------

// The next word of *text, which moves behind it; the last argument takes the rest of the line.
static char *word(char **text, bool rest)
{
    char *start = *text, *end;

    while (*start == ' ') {
        start++;
    }
    end = start;
    while (*end && (rest || *end != ' ')) {
        end++;
    }
    *text = *end ? end + 1 : end;
    *end = 0;
    return start;
}

bool verb_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool verb_number(const char *text, uint64_t max, uint64_t *value)
{
    *value = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || *value > max / 10) {
            return false;
        }
        *value = *value * 10 + (uint64_t)(*c - '0');
    }
    return *text && *value <= max;
}

bool verb_number_of(const struct verb_call *call, unsigned argument, uint64_t max, uint64_t *value)
{
    const bool good = verb_number(call->argument[argument], max, value);

    if (!good) {
        console_print(call->console, "\"%s\" is no number up to %lu\n", call->argument[argument],
                      max);
    }
    return good;
}

// ---- verbs
// ---------------------------------------------------------------------------------------

static void copy(const struct verb_call *call)
{
    services_copy(devices_services(call->vm), call->console, call->argument[0], call->argument[1]);
}

static void freeze(const struct verb_call *call)
{
    services_freeze(devices_services(call->vm), call->console);
}

static void thaw(const struct verb_call *call)
{
    services_thaw(devices_services(call->vm), call->console);
}

static void keys(const struct verb_call *call)
{
    uint64_t pool;

    if (verb_number_of(call, 0, KVP_POOLS - 1, &pool)) {
        services_keys(devices_services(call->vm), call->console, (enum kvp_pool)pool);
    }
}

static void set(const struct verb_call *call)
{
    services_set_key(devices_services(call->vm), call->console, call->argument[0],
                     call->argument[1]);
}

static void unset(const struct verb_call *call)
{
    services_set_key(devices_services(call->vm), call->console, call->argument[0], NULL);
}

static void memory(const struct verb_call *call)
{
    uint64_t mib;

    if (verb_number_of(call, 0, 1u << 20, &mib)) {
        balloon_resize(devices_balloon(call->vm), call->console, mib);
    }
}

static void send(const struct verb_call *call)
{
    uint64_t port;

    if (verb_number_of(call, 0, UINT32_MAX, &port)) {
        sockets_send(devices_sockets(call->vm), call->console, (uint32_t)port, call->argument[1],
                     bus_now(call->vm));
    }
}

static void report(const struct verb_call *call, const char *error)
{
    console_print(call->console, "disk: %s\n", error ? error : "done");
    bus_wake_all();
}

static void add_disk(const struct verb_call *call)
{
    uint64_t unit;

    if (verb_number_of(call, 0, CONF_DISKS, &unit)) {
        report(call, devices_add_disk(call->vm, (uint32_t)unit, call->argument[1]));
    }
}

static void remove_disk(const struct verb_call *call)
{
    uint64_t unit;

    if (verb_number_of(call, 0, CONF_DISKS, &unit)) {
        report(call, devices_remove_disk(call->vm, (uint32_t)unit));
    }
}

static void grow_disk(const struct verb_call *call)
{
    uint64_t unit, mib;

    if (verb_number_of(call, 0, CONF_DISKS, &unit) && verb_number_of(call, 1, 1u << 26, &mib)) {
        report(call, devices_grow_disk(call->vm, (uint32_t)unit, mib));
    }
}

// What there has to be in focus.
enum verb_needs { NEEDS_NOTHING, NEEDS_VM, NEEDS_BUS };

static const struct verb {
    const char *name;
    unsigned least, most; // arguments
    enum verb_needs needs;
    void (*run)(const struct verb_call *call);
    const char *text;
} verbs[] = {
    {"copy", 2, 2, NEEDS_BUS, copy, "FILE FOLDER: copies a file of the boot volume into the guest"},
    {"freeze", 0, 0, NEEDS_BUS, freeze,
     "makes the guest's disks consistent and still, for a minute at most"},
    {"thaw", 0, 0, NEEDS_BUS, thaw, "lets the guest write again"},
    {"keys", 1, 1, NEEDS_BUS, keys,
     "POOL: lists 0 to 4: what we write, what the guest writes, its system's"},
    {"set", 2, 2, NEEDS_BUS, set, "KEY VALUE: writes a key of pool 0"},
    {"unset", 1, 1, NEEDS_BUS, unset, "KEY: deletes it"},
    {"memory", 1, 1, NEEDS_BUS, memory, "MIB: makes the guest's memory smaller or larger"},
    {"send", 2, 2, NEEDS_BUS, send, "PORT TEXT: sends a line to a Hyper-V socket of the guest"},
    {"add-disk", 2, 2, NEEDS_BUS, add_disk,
     "UNIT FILE: puts an image in as unit 0 to 3, or 4, the CD"},
    {"remove-disk", 1, 1, NEEDS_BUS, remove_disk, "UNIT: takes it out"},
    {"grow-disk", 2, 2, NEEDS_BUS, grow_disk, "UNIT MIB: makes the disk larger"},
    {"weight", 1, 1, NEEDS_VM, verb_weight, "1 TO 10000: of each of the VM's processors"},
    {"cap", 1, 1, NEEDS_VM, verb_cap, "PERCENT: of a processor, for each of the VM's"},
    {"reserve", 1, 1, NEEDS_VM, verb_reserve, "PERCENT: likewise"},
    {"cpugroups", 0, 3, NEEDS_NOTHING, verb_cpugroups, "COMMAND ...: processors and CPU groups"},
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

static void help(struct console *console)
{
    for (unsigned i = 0; i < VERBS; i++) {
        console_print(console, "  %s %s\n", verbs[i].name, verbs[i].text);
    }
}

// ---- all
// -----------------------------------------------------------------------------------------

static bool has(const struct vm *vm, enum verb_needs needs)
{
    return needs == NEEDS_NOTHING || (vm && vm_running(vm) && (needs == NEEDS_VM || vm->devices));
}

static void run(const struct verb *verb, struct verb_call *call, char *rest)
{
    for (unsigned i = 0; i < VERB_ARGUMENTS; i++) {
        call->argument[i] = word(&rest, i + 1 == verb->most);
    }
    if (verb->least && !call->argument[verb->least - 1][0]) {
        console_print(call->console, "  %s %s\n", verb->name, verb->text);
    } else if (!has(call->vm, verb->needs)) {
        console_print(call->console, "there is no VM%s that runs here\n",
                      verb->needs == NEEDS_BUS ? " with a VMBus" : "");
    } else {
        verb->run(call);
    }
}

void verbs_run(struct console *console, struct console_line *line, char *text)
{
    struct verb_call call = {.console = console, .vm = line ? line->ctx : NULL};
    const char *name = word(&text, false);

    for (unsigned i = 0; i < VERBS; i++) {
        if (verb_same(name, verbs[i].name)) {
            run(&verbs[i], &call, text);
            return;
        }
    }
    help(console);
}
