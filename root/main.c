// SPDX-License-Identifier: BSD-2-Clause-Patent
// root.efi, the built-in root: runs on the root partition's boot processor with the firmware as its
// driver library, starts the VMs of corbel.conf, and serves their devices and consoles.
#include "boot/text.h"
#include "hv/partition.h"
#include "root/clock.h"
#include "root/commands.h"
#include "root/config.h"
#include "root/cpu.h"
#include "root/cpugroups.h"
#include "root/devices.h"
#include "root/dispatch.h"
#include "root/efi.h"
#include "root/hv.h"
#include "root/log.h"
#include "root/net.h"
#include "root/uplink.h"
#include "root/verbs.h"
#include "root/vmexit.h"

// Reference time, 100 ns units.
#define MESSAGES      32u      // in a row, before time is looked at
#define POLL_INTERVAL 10000u   // consoles, at most this often: 1 ms
#define DRAIN_TIME    5000000u // for the consoles' last words: 0.5 s

#define MIB UINT64_C(0x100000)

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image;

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static struct config config;
static struct call_registers resume;
static enum vm_end last_end;
static uint32_t last_value;

// ---- start -------------------------------------------------------------------------------------

static bool check_hypervisor(void)
{
    UINTN processors;

    if (!hv_present()) {
        root_fail("there is no hypervisor that speaks Hv#1 beneath");
        return false;
    }
    if (!(hv_privileges() & HV_PRIV_CREATE_PARTITIONS)) {
        root_fail("this partition may not create partitions");
        return false;
    }
    if (!smp_check_all(hv_present, &processors)) {
        root_fail("a processor of the %lu does not run beneath the hypervisor", processors);
        return false;
    }
    root_log("the hypervisor is on all %lu processors", processors);
    return true;
}

static bool start(void)
{
    // The firmware's watchdog would reset the machine after five minutes.
    efi_system->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
    if (!check_hypervisor() || !config_read(&config) || !hv_start()) {
        return false;
    }
    clock_start();
    if (!config_consoles(&config, command_run, verbs_run)) {
        return false;
    }
    dispatch_start();
    if (!cpugroups_start()) {
        return false;
    }
    for (uint32_t i = 0; i < vm_count; i++) {
        if (!vm_prepare(vms[i])) {
            return false;
        }
    }
    if (config.root.uplink[0]) {
        struct virtual_switch *sw = net_switch(config.root.uplink);
        if (!sw || !uplink_start(sw)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < vm_count; i++) {
        if (!vm_start(vms[i])) {
            return false;
        }
    }
    dispatch_others();
    return true;
}

// ---- VMs that end ------------------------------------------------------------------------------

static bool any_running(void)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (vm_running(vms[i])) {
            return true;
        }
    }
    return false;
}

// A terminal goes to another VM on it that runs, if there is one.
static void leave_console(struct vm *vm)
{
    struct console *console = vm->line.console;
    const uint32_t lines = console ? console->line_count : 0;

    for (uint32_t i = 0; i < lines && !vm_running(console_focus(console)->ctx); i++) {
        console_next(console);
    }
}

// Told in the log and on the VM's console.
static void stays_off(const struct vm *vm, const char *why)
{
    root_log("vm %s: stays off: %s", vm->conf.name, why);
    if (vm->line.console) {
        console_print(vm->line.console, "vm %s: stays off: %s\n", vm->conf.name, why);
    }
}

// What its balloon had returned may be another VM's by now.
static bool has_memory(struct vm *vm)
{
    const uint64_t lacking = vm->memory.count ? 0 : vm_allocate(vm);
    char why[80];

    if (lacking) {
        text_format(why, sizeof why, "the machine lacks %lu of %lu MiB", (lacking + MIB - 1) / MIB,
                    vm->conf.memory);
        stays_off(vm, why);
    }
    return !lacking;
}

// Starts a VM again, if it can be. False: a partition could not be ended.
static bool restart(struct vm *vm)
{
    if (!has_memory(vm) || vm_start(vm)) {
        return true;
    }
    stays_off(vm, "it cannot be started");
    return vm_stop(vm);
}

// Stops a VM and, where that is what it asked for, starts it again. False: root_fail() was called,
// and the root is to end.
static bool end_vm(struct vm *vm)
{
    static const char *const words[] = {
        [VM_RESET] = "reset",   [VM_OFF] = "power-off", [VM_EXIT] = "exit",
        [VM_KILLED] = "killed", [VM_FAILED] = "failed",
    };
    const enum vm_end end = vm->end;

    root_log("vm %s: %s", vm->conf.name, words[end]);
    last_end = end;
    last_value = vm->exit_value;
    if (!vm_stop(vm)) {
        return false;
    }
    vm->end = VM_RUNS;
    if (end == VM_RESET && config.root.exit != CONF_EXIT_POWEROFF && !restart(vm)) {
        return false;
    }
    if (!vm_running(vm)) {
        leave_console(vm);
    }
    return true;
}

// False: the root is to end.
static bool attend(void)
{
    bool good = true;

    vm_attention = false;
    for (uint32_t i = 0; i < vm_count && good; i++) {
        if (vms[i]->end != VM_RUNS) {
            good = end_vm(vms[i]);
        }
    }
    return good && (config.root.exit == CONF_EXIT_STAY || any_running());
}

// ---- main loop ---------------------------------------------------------------------------------

// Handles the message that waits. The slot is freed before the VP goes on, so that its next message
// finds it free.
static bool serve_message(void)
{
    const struct hv_message *message = hv_message();

    if (!message) {
        return false;
    }
    vmexit_handle(message, &resume);
    if (hv_message_done()) {
        hv_message_next();
    }
    vmexit_answer(&resume);
    return true;
}

static void tick_chipsets(uint64_t now)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (vm_running(vms[i]) && vms[i]->deadline <= now) {
            chipset_tick(&vms[i]->chipset);
        }
    }
}

// The next time at which something is due; UINT64_MAX: nothing but what interrupts bring.
static uint64_t next_due(uint64_t now)
{
    uint64_t due = bus_due();

    due = uplink_due() < due ? uplink_due() : due;

    for (uint32_t i = 0; i < vm_count; i++) {
        if (vm_running(vms[i]) && vms[i]->deadline < due) {
            due = vms[i]->deadline;
        }
    }
    for (uint32_t i = 0; i < console_count; i++) {
        if (console_busy(consoles[i]) && now + POLL_INTERVAL < due) {
            due = now + POLL_INTERVAL;
        }
    }
    return due;
}

static void poll_consoles(uint64_t now)
{
    for (uint32_t i = 0; i < console_count; i++) {
        console_poll(consoles[i], now);
    }
}

// What the buses have sent goes out at once; what comes in wakes them.
static void serve_buses(uint64_t now)
{
    bool more = bus_serve_all();

    for (uint32_t i = 0; i < vm_count; i++) {
        more |= devices_settle(vms[i]);
    }
    if (more) {
        hv_signalled = true;
    }
    if (uplink_poll(now)) {
        bus_wake_all();
    }
    vm_due_changed = true;
}

// Without a message to serve, input is looked for whenever an interrupt has ended the halt: the
// firmware's tick comes every 10 ms.
static void serve(void)
{
    uint64_t next_poll = 0, next_look = 0;

    do {
        // A VP that goes on may have its next message there at once, and again: time is looked at
        // nevertheless.
        for (unsigned left = MESSAGES; left && serve_message() && !vm_attention && !hv_signalled;) {
            left--;
        }
        const uint64_t now = hv_time();
        if (hv_signalled || now >= bus_due() || now >= uplink_due()) {
            serve_buses(now);
        }
        if (now >= next_look || vm_due_changed) {
            vm_due_changed = false;
            tick_chipsets(now);
            if (now >= next_poll) {
                poll_consoles(now);
                next_poll = now + POLL_INTERVAL;
            }
            const uint64_t due = next_due(now);
            hv_wake_at(due);
            next_look = due < next_poll ? due : next_poll;
        }
        if (!vm_attention && !dispatch_mine()) {
            hv_idle();
        } else if (!vm_attention) {
            dispatch_turn();
        }
    } while (!vm_attention || attend());
}

// ---- end ---------------------------------------------------------------------------------------

static void drain_consoles(void)
{
    const uint64_t until = hv_time() + DRAIN_TIME;
    bool busy = true;

    while (busy && hv_time() < until) {
        busy = false;
        for (uint32_t i = 0; i < console_count; i++) {
            console_poll(consoles[i], hv_time());
            busy |= consoles[i]->output_count != 0 || consoles[i]->notes_count != 0 ||
                    !terminal_sent(&consoles[i]->terminal);
        }
    }
}

static void report(void)
{
    if (root_failure()) {
        root_marker("root failure: %s", root_failure());
    } else if (last_end == VM_EXIT) {
        root_marker("exit %u", last_value);
    } else {
        root_marker("%s", last_end == VM_RESET ? "reset" : "off");
    }
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    efi_image = image;
    efi_system = system;
    if (start()) {
        serve();
        drain_consoles();
    }
    if (!dispatch_end()) {
        root_fail("a processor does not come back");
    }
    for (uint32_t i = 0; i < vm_count; i++) {
        (void)vm_stop(vms[i]); // what still runs after a failure
        devices_close(vms[i]);
    }
    uplink_stop();
    hv_stop();
    report();
    if (config.root.exit != CONF_EXIT_STAY) {
        efi_system->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
    }
    return root_failure() ? EFI_ABORTED : EFI_SUCCESS;
}
