// SPDX-License-Identifier: BSD-2-Clause-Patent
// The command line: contract in verbs.h. A verb works on the VM in focus.
#include "root/verbs.h"

#include <stddef.h>

#include "root/balloon.h"
#include "root/devices.h"
#include "root/services.h"
#include "root/sockets.h"
#include "root/vm.h"

enum { ARGUMENTS = 2 };

struct call {
    struct console *console;
    struct vm *vm;
    char *argument[ARGUMENTS]; // "" where there is none
};

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

static bool same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

// Decimal. False: anything else, or more than `max`.
static bool number(const char *text, uint64_t max, uint64_t *value)
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

static bool number_of(const struct call *call, unsigned argument, uint64_t max, uint64_t *value)
{
    const bool good = number(call->argument[argument], max, value);

    if (!good) {
        console_print(call->console, "\"%s\" is no number up to %lu\n", call->argument[argument],
                      max);
    }
    return good;
}

// ---- verbs
// ---------------------------------------------------------------------------------------

static void copy(const struct call *call)
{
    services_copy(devices_services(call->vm), call->console, call->argument[0], call->argument[1]);
}

static void freeze(const struct call *call)
{
    services_freeze(devices_services(call->vm), call->console);
}

static void thaw(const struct call *call)
{
    services_thaw(devices_services(call->vm), call->console);
}

static void keys(const struct call *call)
{
    uint64_t pool;

    if (number_of(call, 0, KVP_POOLS - 1, &pool)) {
        services_keys(devices_services(call->vm), call->console, (enum kvp_pool)pool);
    }
}

static void set(const struct call *call)
{
    services_set_key(devices_services(call->vm), call->console, call->argument[0],
                     call->argument[1]);
}

static void unset(const struct call *call)
{
    services_set_key(devices_services(call->vm), call->console, call->argument[0], NULL);
}

static void memory(const struct call *call)
{
    uint64_t mib;

    if (number_of(call, 0, 1u << 20, &mib)) {
        balloon_resize(devices_balloon(call->vm), call->console, mib);
    }
}

static void send(const struct call *call)
{
    uint64_t port;

    if (number_of(call, 0, UINT32_MAX, &port)) {
        sockets_send(devices_sockets(call->vm), call->console, (uint32_t)port, call->argument[1],
                     bus_now(call->vm));
    }
}

static void report(const struct call *call, const char *error)
{
    console_print(call->console, "disk: %s\n", error ? error : "done");
    bus_wake_all();
}

static void add_disk(const struct call *call)
{
    uint64_t unit;

    if (number_of(call, 0, CONF_DISKS, &unit)) {
        report(call, devices_add_disk(call->vm, (uint32_t)unit, call->argument[1]));
    }
}

static void remove_disk(const struct call *call)
{
    uint64_t unit;

    if (number_of(call, 0, CONF_DISKS, &unit)) {
        report(call, devices_remove_disk(call->vm, (uint32_t)unit));
    }
}

static void grow_disk(const struct call *call)
{
    uint64_t unit, mib;

    if (number_of(call, 0, CONF_DISKS, &unit) && number_of(call, 1, 1u << 26, &mib)) {
        report(call, devices_grow_disk(call->vm, (uint32_t)unit, mib));
    }
}

static const struct verb {
    const char *name;
    unsigned arguments;
    void (*run)(const struct call *call);
    const char *text;
} verbs[] = {
    {"copy", 2, copy, "FILE FOLDER: copies a file of the boot volume into the guest"},
    {"freeze", 0, freeze, "makes the guest's disks consistent and still, for a minute at most"},
    {"thaw", 0, thaw, "lets the guest write again"},
    {"keys", 1, keys, "POOL: lists 0 to 4: what we write, what the guest writes, its system's"},
    {"set", 2, set, "KEY VALUE: writes a key of pool 0"},
    {"unset", 1, unset, "KEY: deletes it"},
    {"memory", 1, memory, "MIB: makes the guest's memory smaller or larger"},
    {"send", 2, send, "PORT TEXT: sends a line to a Hyper-V socket of the guest"},
    {"add-disk", 2, add_disk, "UNIT FILE: puts an image in as unit 0 to 3, or 4, the CD"},
    {"remove-disk", 1, remove_disk, "UNIT: takes it out"},
    {"grow-disk", 2, grow_disk, "UNIT MIB: makes the disk larger"},
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

static void run(const struct verb *verb, struct call *call, char *rest)
{
    for (unsigned i = 0; i < ARGUMENTS; i++) {
        call->argument[i] = word(&rest, i + 1 == verb->arguments);
    }
    if (verb->arguments && !call->argument[verb->arguments - 1][0]) {
        console_print(call->console, "  %s %s\n", verb->name, verb->text);
    } else if (!call->vm || !vm_running(call->vm) || !call->vm->devices) {
        console_print(call->console, "there is no VM with a VMBus that runs here\n");
    } else {
        verb->run(call);
    }
}

void verbs_run(struct console *console, struct console_line *line, char *text)
{
    struct call call = {.console = console, .vm = line ? line->ctx : NULL};
    const char *name = word(&text, false);

    for (unsigned i = 0; i < VERBS; i++) {
        if (same(name, verbs[i].name)) {
            run(&verbs[i], &call, text);
            return;
        }
    }
    help(console);
}
