// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root scheduler: contract in dispatch.h.
#include "root/dispatch.h"

#include "hv/call_system.h"
#include "hv/synic.h"
#include "root/calls.h"
#include "root/cpu.h"
#include "root/hv.h"
#include "root/lib/mem.h"
#include "root/vmexit.h"

#define SLICE 20000u // of a VP that does not wait, 100 ns: 2 ms

enum { BANK = 64, BANKS = DISPATCH_VPS / BANK };

static bool mine;
static struct call_registers resume;

void dispatch_start(void)
{
    uint64_t type;

    mine = call_scheduler_type(&type) == HV_STATUS_SUCCESS && type == HV_SCHEDULER_TYPE_ROOT;
}

bool dispatch_mine(void)
{
    return mine;
}

// ---- who waits ---------------------------------------------------------------------------------

uint16_t dispatch_attach(struct vm *vm)
{
    uint16_t status = HV_STATUS_SUCCESS;

    for (uint32_t i = 0; mine && i < vm->conf.vps && status == HV_STATUS_SUCCESS; i++) {
        status = call_map_message_page(&vm->account, i, &vm->turns.page[i]);
        vm->turns.ready[i / BANK] |= UINT64_C(1) << (i % BANK);
    }
    return status;
}

void dispatch_detach(struct vm *vm)
{
    memset(&vm->turns, 0, sizeof vm->turns);
}

// The VPs of a bank that do not wait any more.
static void ready(struct vm *vm, uint32_t bank, uint64_t vps)
{
    if (bank < BANKS) {
        vm->turns.ready[bank] |= vps;
    }
}

bool dispatch_signal(const struct hv_message *message)
{
    const struct hv_vp_signal_bitset_scheduler_message *m = (const void *)message->payload;
    const uint64_t *bank = m->banks;
    struct vm *vm;

    if (message->header.message_type != HV_MESSAGE_TYPE_SCHEDULER_VP_SIGNAL_BITSET) {
        return false;
    }
    vm = vm_find(m->partition_id);
    if (vm && m->format == HV_VP_SET_FORMAT_SPARSE) {
        for (uint64_t mask = m->valid_banks_mask; mask; mask &= mask - 1) {
            ready(vm, (uint32_t)__builtin_ctzll(mask), *bank++);
        }
    }
    return true;
}

// ---- turns -------------------------------------------------------------------------------------

// The first VP of a VM from `from` on that does not wait; DISPATCH_VPS: none.
static uint32_t first_ready(const struct vm *vm, uint32_t from)
{
    for (uint32_t bank = from / BANK; bank < BANKS; bank++) {
        uint64_t vps = vm->turns.ready[bank];
        if (bank == from / BANK) {
            vps &= UINT64_MAX << (from % BANK);
        }
        if (vps) {
            return bank * BANK + (uint32_t)__builtin_ctzll(vps);
        }
    }
    return DISPATCH_VPS;
}

// Round robin: a VP of each VM in turn, so that VMs get the same, and each VM's VPs in turn.
static struct vm *next(uint32_t *vp)
{
    static uint32_t last;

    for (uint32_t i = 1; i <= vm_count; i++) {
        const uint32_t at = (last + i) % vm_count;
        struct vm *vm = vms[at];
        if (!vm_running(vm) || vm->end != VM_RUNS) {
            continue;
        }
        *vp = first_ready(vm, vm->turns.next);
        if (*vp == DISPATCH_VPS) {
            *vp = first_ready(vm, 0);
        }
        if (*vp != DISPATCH_VPS) {
            vm->turns.next = (*vp + 1) % DISPATCH_VPS;
            last = at;
            return vm;
        }
    }
    return NULL;
}

static void wait(struct vm *vm, uint32_t vp)
{
    vm->turns.ready[vp / BANK] &= ~(UINT64_C(1) << (vp % BANK));
}

// Whether the VP may go on: it has stopped for an intercept, which has been answered.
static bool run(struct vm *vm, uint32_t vp, uint64_t slice)
{
    struct hv_output_dispatch_vp out;
    const uint16_t status = call_dispatch_vp(vm->account.partition, vp, slice, &out);

    cpu_enable_interrupts();
    if (status != HV_STATUS_SUCCESS) {
        vm_fail(vm, "dispatching VP %u failed, status %x", vp, (unsigned)status);
        return false;
    }
    if (out.dispatch_state == HV_VP_DISPATCH_STATE_BLOCKED) {
        wait(vm, vp);
        return false;
    }
    if (out.dispatch_event != HV_VP_DISPATCH_EVENT_INTERCEPT) {
        return false;
    }
    vmexit_handle(vm->turns.page[vp], &resume);
    vmexit_answer(&resume);
    return vm->end == VM_RUNS && resume.count;
}

// With interrupts off one that has come ends the call before the VP runs: nothing is overlooked.
void dispatch_turn(void)
{
    uint32_t vp;
    struct vm *vm = next(&vp);
    uint64_t now = hv_time();
    const uint64_t end = now + SLICE;

    do {
        cpu_disable_interrupts();
        if (hv_message() || hv_signalled) {
            break;
        }
        if (!vm) {
            cpu_wait_for_interrupt();
            return;
        }
        if (!run(vm, vp, end - now)) {
            return;
        }
        now = hv_time();
    } while (now < end && !vm_attention && !vm_due_changed);
    cpu_enable_interrupts();
}
