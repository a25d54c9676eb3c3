// SPDX-License-Identifier: BSD-2-Clause-Patent
// What Ctrl-] and a key do on a console.
#include "root/commands.h"

#include "hv/time.h"
#include "root/devices.h"
#include "root/hv.h"
#include "root/pages.h"
#include "root/services.h"
#include "root/vm.h"

// What the VP's registers say of it; the words of the first that is set.
static const char *activity(uint64_t explicit_suspend, uint64_t intercept_suspend,
                            uint64_t internal)
{
    if (explicit_suspend & HV_EXPLICIT_SUSPEND_SUSPENDED) {
        return "suspended";
    }
    if (intercept_suspend & HV_INTERCEPT_SUSPEND_SUSPENDED) {
        return "in an intercept";
    }
    if (internal & HV_INTERNAL_ACTIVITY_STARTUP_SUSPEND) {
        return "not started";
    }
    if (internal & HV_INTERNAL_ACTIVITY_IDLE_SUSPEND) {
        return "idle";
    }
    return internal & HV_INTERNAL_ACTIVITY_HALT_SUSPEND ? "halted" : "runs";
}

static void list_vp(struct console *console, const struct vm *vm, uint32_t vp)
{
    static const uint32_t names[] = {HV_REGISTER_EXPLICIT_SUSPEND, HV_REGISTER_INTERCEPT_SUSPEND,
                                     HV_REGISTER_INTERNAL_ACTIVITY_STATE, HV_REGISTER_VP_RUNTIME,
                                     HV_REGISTER_RIP};
    enum { COUNT = sizeof names / sizeof names[0] };
    static union hv_register_value value[COUNT];
    const uint64_t *events = vm->events[vp];
    const uint16_t status = call_get_registers(vm->account.partition, vp, names, COUNT, value);

    if (status != HV_STATUS_SUCCESS) {
        console_print(console, "  VP %u: cannot be read, status %x\n", vp, (unsigned)status);
        return;
    }
    console_print(console,
                  "  VP %u %s, %lu ms run, RIP %lx, port %lu memory %lu MSR %lu EOI %lu "
                  "other %lu\n",
                  vp, activity(value[0].reg64, value[1].reg64, value[2].reg64),
                  value[3].reg64 / (HV_REFERENCE_TIME_HZ / 1000), value[4].reg64,
                  events[VM_EVENT_PORT], events[VM_EVENT_MEMORY], events[VM_EVENT_MSR],
                  events[VM_EVENT_EOI], events[VM_EVENT_OTHER]);
}

static void list(struct console *console, struct vm *focus)
{
    console_print(console, "%lu MiB are left for VMs\n", pages_left() >> 20);
    for (uint32_t i = 0; i < vm_count; i++) {
        const struct vm *vm = vms[i];
        if (!vm_running(vm)) {
            console_print(console, "vm %s: off\n", vm->conf.name);
            continue;
        }
        console_print(console,
                      "vm %s%s: partition %lx, %lu MiB, %lu pages deposited, "
                      "%lu accesses to ports without a device\n",
                      vm->conf.name, vm == focus ? " (here)" : "", vm->account.partition,
                      vm->conf.memory, vm->account.deposited,
                      vm->chipset.unowned_reads + vm->chipset.unowned_writes);
        for (uint32_t vp = 0; vp < vm->conf.vps; vp++) {
            list_vp(console, vm, vp);
        }
        devices_list(console, vm);
    }
}

static void reset(struct console *console, struct vm *vm)
{
    (void)console;
    if (vm) {
        vm->end = VM_RUNS;
        vm_request(vm, VM_RESET); // also starts one that is off
    }
}

static void power_off(struct console *console, struct vm *vm)
{
    (void)console;
    if (vm && vm_running(vm)) {
        chipset_power_button(&vm->chipset);
    }
}

static void kill(struct console *console, struct vm *vm)
{
    (void)console;
    if (vm && vm_running(vm)) {
        vm_request(vm, VM_KILLED);
    }
}

static void shut_down(struct console *console, struct vm *vm)
{
    if (vm && vm_running(vm) && !devices_shut_down(vm)) {
        console_print(console, "the guest has no shutdown service (now)\n");
    }
    bus_wake_all();
}

static void show_keys(struct console *console, struct vm *vm)
{
    struct services *services = vm && vm_running(vm) ? devices_services(vm) : NULL;

    if (services) {
        services_keys(services, console, KVP_AUTO);
    }
}

static void prompt(struct console *console, struct vm *vm)
{
    (void)vm;
    console_prompt(console);
}

static void ctrl_alt_del(struct console *console, struct vm *vm)
{
    (void)console;
    if (vm && vm_running(vm)) {
        devices_type_ctrl_alt_del(vm);
    }
    bus_wake_all();
}

static void next(struct console *console, struct vm *vm)
{
    (void)vm;
    console_next(console);
}

static void help(struct console *console, struct vm *vm);

static const struct {
    uint8_t key;
    void (*run)(struct console *console, struct vm *vm);
    const char *text;
} commands[] = {
    {'l', list, "list the VMs and their processors"},
    {'r', reset, "reset this VM, or start it again"},
    {'o', power_off, "ask this VM to power off"},
    {'s', shut_down, "ask this VM's system to shut down"},
    {'k', kill, "kill this VM"},
    {'v', show_keys, "show what this VM's system says of itself"},
    {'c', ctrl_alt_del, "type Ctrl-Alt-Del to this VM"},
    {'n', next, "next VM on this console"},
    {':', prompt, "a command line: help lists what it knows"},
    {'?', help, "this"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void help(struct console *console, struct vm *vm)
{
    console_print(console, "vm %s. Ctrl-] and\n", vm ? vm->conf.name : "(none)");
    for (unsigned i = 0; i < COMMANDS; i++) {
        const char key[2] = {(char)commands[i].key, 0};
        console_print(console, "  %s  %s\n", key, commands[i].text);
    }
    console_print(console, "  Ctrl-]  is typed\n");
}

void command_run(struct console *console, struct console_line *line, uint8_t key)
{
    struct vm *vm = line ? line->ctx : NULL;

    for (unsigned i = 0; i < COMMANDS; i++) {
        if (commands[i].key == key) {
            commands[i].run(console, vm);
            return;
        }
    }
    help(console, vm);
}
