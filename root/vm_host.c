// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a VM's chipset asks of its owner: interrupts, time, and a place for what the guest says.
#include "root/clock.h"
#include "root/hv.h"
#include "root/log.h"
#include "root/vm.h"

static void raise_interrupt(void *ctx, const struct chipset_interrupt *interrupt)
{
    struct vm *vm = ctx;
    const uint64_t control = interrupt->delivery |
                             (interrupt->level ? HV_INTERRUPT_CONTROL_LEVEL_TRIGGERED : 0) |
                             (interrupt->logical ? HV_INTERRUPT_CONTROL_LOGICAL_DEST : 0);

    // A guest may program what no processor accepts: a vector below 16, a destination nobody has.
    (void)call_assert_interrupt(vm->account.partition, control, interrupt->destination,
                                interrupt->vector);
}

static uint64_t now_100ns(void *ctx)
{
    (void)ctx;
    return hv_time();
}

static int64_t wall_seconds(void *ctx)
{
    (void)ctx;
    return clock_seconds();
}

static void set_timer(void *ctx, uint64_t deadline)
{
    struct vm *vm = ctx;
    vm->deadline = deadline;
    vm_due_changed = true;
}

static void console_out(void *ctx, uint8_t byte)
{
    struct vm *vm = ctx;
    console_put(&vm->line, byte);
    vm_due_changed = true;
}

void vm_flush_debug(struct vm *vm)
{
    if (vm->debug_count) {
        vm->debug[vm->debug_count] = 0;
        root_log_guest(vm->conf.name, vm->debug);
        vm->debug_count = 0;
    }
}

// Whole lines, so that they cannot be taken for the root's own; printable characters only.
static void debug_out(void *ctx, uint8_t byte)
{
    struct vm *vm = ctx;

    if (byte == '\r') {
        return;
    }
    if (byte != '\n') {
        vm->debug[vm->debug_count++] = (char)(byte >= ' ' && byte <= '~' ? byte : '?');
    }
    if (byte == '\n' || vm->debug_count == VM_DEBUG_LINE) {
        vm_flush_debug(vm);
    }
}

static void exit_value(void *ctx, uint32_t value)
{
    struct vm *vm = ctx;

    if (vm->end == VM_RUNS) {
        vm->exit_value = value;
    }
    vm_request(vm, VM_EXIT);
}

static void power_off(void *ctx)
{
    vm_request(ctx, VM_OFF);
}

static void reset(void *ctx)
{
    vm_request(ctx, VM_RESET);
}

static size_t take_input(void *ctx, const uint8_t *bytes, size_t size)
{
    struct vm *vm = ctx;

    // What is typed at a VM that is off is lost, as it is at a machine.
    return vm_running(vm) ? chipset_console_in(&vm->chipset, bytes, size) : size;
}

void vm_init_chipset(struct vm *vm)
{
    const struct chipset_host host = {
        .ctx = vm,
        .raise_interrupt = raise_interrupt,
        .now_100ns = now_100ns,
        .wall_seconds = wall_seconds,
        .set_timer = set_timer,
        .console_out = console_out,
        .debug_out = debug_out,
        .exit_value = exit_value,
        .power_off = power_off,
        .reset = reset,
    };
    vm->deadline = CHIPSET_NO_DEADLINE;
    vm->line.input = take_input;
    vm->line.ctx = vm;
    chipset_init(&vm->chipset, &host);
}
