// SPDX-License-Identifier: BSD-2-Clause-Patent
// One child: its configuration, memory, partition, devices and console, from start to end.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "boot/conf.h"
#include "root/calls.h"
#include "root/console.h"
#include "root/files.h"
#include "root/lib/chipset.h"
#include "root/memory.h"
#include "root/vmbus.h"

enum { VM_MAX = CONSOLE_LINES, VM_DEBUG_LINE = 200 };

// What becomes of a running VM. Set by whoever finds out, carried out by the main loop.
enum vm_end {
    VM_RUNS,
    VM_RESET,  // by the guest in any way, triple fault included, or by command
    VM_OFF,    // powered off by the guest
    VM_EXIT,   // the guest wrote PORT_EXIT
    VM_KILLED, // by command
    VM_FAILED  // the root cannot run it any further
};

// What VPs are counted by.
enum vm_event {
    VM_EVENT_PORT,
    VM_EVENT_MEMORY,
    VM_EVENT_MSR,
    VM_EVENT_EOI,
    VM_EVENT_OTHER,
    VM_EVENTS
};

struct devices;

enum { DISPATCH_VPS = 256 };

// dispatch.c: its VPs where this program schedules them.
struct vm_turns {
    // Bit n: VP n may have its turn; waits; has been signalled since its last; has an intercept.
    _Atomic uint64_t ready[DISPATCH_VPS / 64], waiting[DISPATCH_VPS / 64];
    _Atomic uint64_t signalled[DISPATCH_VPS / 64], stopped[DISPATCH_VPS / 64];
    _Atomic uint32_t next;    // VP whose turn it is
    _Atomic uint32_t running; // turns under way
    uint16_t failure;         // HV_STATUS of a call; the VP has stopped
    const struct hv_message *page[DISPATCH_VPS];
};

struct vm {
    struct conf_vm conf;
    struct file kernel, initrd;
    struct guest_memory memory;
    struct account account; // .partition: 0 while it does not run
    struct chipset chipset;
    struct console_line line;
    struct vm_bus bus;
    struct devices *devices; // on the bus
    enum vm_end end;
    uint32_t exit_value;
    uint64_t deadline; // reference time of the next chipset_tick()
    uint64_t starts;
    struct hv_output_get_boot_zeroed_memory zeroed; // since the VM was started
    uint64_t (*events)[VM_EVENTS];                  // per VP
    struct vm_turns turns;
    uint32_t debug_count;
    char debug[VM_DEBUG_LINE + 1];
};

extern struct vm *vms[VM_MAX];
extern uint32_t vm_count;

// Some VM's `end` is not VM_RUNS.
extern bool vm_attention;
// A chipset's deadline or a console's output has changed: when to wake has to be worked out again.
extern bool vm_due_changed;

// The running VM with this partition id, or NULL.
struct vm *vm_find(uint64_t partition);

// Reads the images and allocates the memory. False: root_fail() has been called.
bool vm_prepare(struct vm *vm);

// Creates the partition and starts VP 0; memory and devices are as after power-on. False:
// root_fail() has been called, and vm_stop() is still to be called.
bool vm_start(struct vm *vm);

// Ends the partition and takes its memory back. False: root_fail() has been called.
bool vm_stop(struct vm *vm);

// Notes how the VM ends; the first reason counts.
void vm_request(struct vm *vm, enum vm_end end);

// VM_FAILED, with root_fail() and the VM's name before the text.
void vm_fail(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool vm_running(const struct vm *vm)
{
    return vm->account.partition != 0;
}

// ---- vm_host.c: what the chipset asks of its owner ---------------------------------------------

// Powers the chipset on, and sets up the console line's input.
void vm_init_chipset(struct vm *vm);

// Logs what the guest has written to its debug port since the last line end.
void vm_flush_debug(struct vm *vm);

// ---- vm_memory.c -------------------------------------------------------------------------------

// Takes the RAM that is configured from the firmware, in as few pieces as that allows. Returns how
// many bytes it lacks: then the VM has none.
uint64_t vm_allocate(struct vm *vm);
// Gives all pieces back but the first `keep`.
void vm_free(struct vm *vm, uint32_t keep);

// Maps a run of RAM, or all of it. HV_STATUS.
uint16_t vm_map_run(struct vm *vm, const struct guest_run *run);
uint16_t vm_map_all(struct vm *vm);

// ---- vm_build.c: what lies in the memory of a VM that starts -----------------------------------

// Clears the memory, builds the ACPI tables and loads the images; *start is VP 0's state. False:
// root_fail() has been called.
bool vm_load(struct vm *vm, struct load_vp_state *start);

// guestcall.c: what of the memory has not been written since it was cleared.
void vm_note_zeroed(struct vm *vm, const struct load_result *loaded);

// Sets VP 0's registers and lets it run.
uint16_t vm_set_start(const struct vm *vm, const struct load_vp_state *start);
