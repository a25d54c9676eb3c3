// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root scheduler: contract in dispatch.h. A VP is in one place: ready (bit set), waiting (bit
// set), stopped (bit set: the boot processor is to answer its intercept), or with the processor
// that has cleared one of the bits. Who finds no work sleeps, and is woken by an interrupt from
// whoever leaves some.
#include "root/dispatch.h"

#include "hv/call_system.h"
#include "hv/msr.h"
#include "hv/synic.h"
#include "root/calls.h"
#include "root/cpu.h"
#include "root/efi.h"
#include "root/hv.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/vmexit.h"

// Reference time, 100 ns units.
#define SLICE       20000u    // of a VP that does not wait: 2 ms
#define END_TIMEOUT 10000000u // for the other processors: 1 s

enum { BANK = 64, BANKS = DISPATCH_VPS / BANK, WORKERS = 64 };

// A processor that dispatches.
struct worker {
    struct hv_input_dispatch_vp input;
    struct hv_output_dispatch_vp output;
    uint32_t last; // VM that had the last turn
} __attribute__((aligned(64)));

bool dispatch_is_mine;
static struct call_registers resume;
static struct worker workers[WORKERS]; // by VP index
static _Atomic uint64_t sleeping;      // bit n: worker n
static _Atomic bool ending;
static _Atomic uint32_t at_work, processors = 1;
static uint32_t boot_vp;

void dispatch_start(void)
{
    uint64_t type;

    dispatch_is_mine =
        call_scheduler_type(&type) == HV_STATUS_SUCCESS && type == HV_SCHEDULER_TYPE_ROOT;
    boot_vp = hv_own_vp();
}

// ---- bits --------------------------------------------------------------------------------------

static void set(_Atomic uint64_t *bits, uint32_t vp)
{
    atomic_fetch_or(&bits[vp / BANK], UINT64_C(1) << (vp % BANK));
}

// Whether the bit was set.
static bool take(_Atomic uint64_t *bits, uint32_t vp)
{
    const uint64_t bit = UINT64_C(1) << (vp % BANK);

    return atomic_fetch_and(&bits[vp / BANK], ~bit) & bit;
}

// The first bit from `from` on that is set; DISPATCH_VPS: none.
static uint32_t first(const _Atomic uint64_t *bits, uint32_t from)
{
    for (uint32_t bank = from / BANK; bank < BANKS; bank++) {
        uint64_t vps = atomic_load(&bits[bank]);
        if (bank == from / BANK) {
            vps &= UINT64_MAX << (from % BANK);
        }
        if (vps) {
            return bank * BANK + (uint32_t)__builtin_ctzll(vps);
        }
    }
    return DISPATCH_VPS;
}

static bool any_ready(void)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (first(vms[i]->turns.ready, 0) != DISPATCH_VPS) {
            return true;
        }
    }
    return false;
}

// ---- who comes and goes ------------------------------------------------------------------------

uint16_t dispatch_attach(struct vm *vm)
{
    uint16_t status = HV_STATUS_SUCCESS;

    for (uint32_t i = 0; dispatch_mine() && i < vm->conf.vps && status == HV_STATUS_SUCCESS; i++) {
        status = call_map_message_page(&vm->account, i, &vm->turns.page[i]);
    }
    for (uint32_t i = 0; dispatch_mine() && i < vm->conf.vps; i++) {
        set(vm->turns.ready, i);
    }
    return status;
}

// A turn under way is over soon.
void dispatch_detach(struct vm *vm)
{
    for (uint32_t i = 0; i < BANKS; i++) {
        atomic_store(&vm->turns.ready[i], 0);
    }
    while (atomic_load(&vm->turns.running)) {
        cpu_pause();
    }
    memset(&vm->turns, 0, sizeof vm->turns);
}

// A VP waits until it is signalled, which may have happened.
static void wait(struct vm *vm, uint32_t vp)
{
    set(vm->turns.waiting, vp);
    if (take(vm->turns.signalled, vp) && take(vm->turns.waiting, vp)) {
        set(vm->turns.ready, vp);
    }
}

static void signal(struct vm *vm, uint32_t vp)
{
    set(vm->turns.signalled, vp);
    if (take(vm->turns.waiting, vp)) {
        set(vm->turns.ready, vp);
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
    for (uint64_t mask = m->valid_banks_mask; vm && mask; mask &= mask - 1, bank++) {
        for (uint64_t vps = *bank; vps; vps &= vps - 1) {
            const uint32_t vp = (uint32_t)(__builtin_ctzll(mask) * BANK + __builtin_ctzll(vps));
            if (vp < vm->conf.vps) {
                signal(vm, vp);
            }
        }
    }
    return true;
}

// ---- turns -------------------------------------------------------------------------------------

// The next VP of this VM from where it left off, if there is one, is the caller's.
static bool claim(struct vm *vm, uint32_t *vp)
{
    const uint32_t from = atomic_load(&vm->turns.next);

    atomic_fetch_add(&vm->turns.running, 1);
    *vp = first(vm->turns.ready, from);
    if (*vp == DISPATCH_VPS) {
        *vp = first(vm->turns.ready, 0);
    }
    if (*vp != DISPATCH_VPS && take(vm->turns.ready, *vp)) {
        atomic_store(&vm->turns.next, (*vp + 1) % DISPATCH_VPS);
        take(vm->turns.signalled, *vp);
        return true;
    }
    atomic_fetch_sub(&vm->turns.running, 1);
    return false;
}

// Round robin: a VP of each VM in turn, so that VMs get the same.
static struct vm *next(struct worker *w, uint32_t *vp)
{
    for (uint32_t i = 1; i <= vm_count; i++) {
        const uint32_t at = (w->last + i) % vm_count;
        if (vms[at]->end == VM_RUNS && claim(vms[at], vp)) {
            w->last = at;
            return vms[at];
        }
    }
    return NULL;
}

// Who finds more than it can take calls another.
static void call_help(void)
{
    uint64_t asleep = atomic_load(&sleeping);

    if (asleep && any_ready()) {
        const uint32_t who = (uint32_t)__builtin_ctzll(asleep);
        if (atomic_fetch_and(&sleeping, ~(UINT64_C(1) << who)) >> who & 1) {
            hv_wake(who);
        }
    }
}

// Puts the VP where it belongs, but for one that has stopped: true then.
static bool run(struct worker *w, struct vm *vm, uint32_t vp, uint64_t slice)
{
    const uint16_t status =
        call_dispatch_vp(vm->account.partition, vp, slice, &w->input, &w->output);

    if (status != HV_STATUS_SUCCESS) {
        vm->turns.failure = status;
        return true;
    }
    if (w->output.dispatch_event == HV_VP_DISPATCH_EVENT_INTERCEPT) {
        return true;
    }
    if (w->output.dispatch_state == HV_VP_DISPATCH_STATE_BLOCKED) {
        wait(vm, vp);
    } else {
        set(vm->turns.ready, vp);
    }
    return false;
}

// ---- the other processors ----------------------------------------------------------------------

static void sleep(uint32_t self)
{
    atomic_fetch_or(&sleeping, UINT64_C(1) << self);
    if (!ending && !any_ready()) {
        cpu_wait_for_interrupt();
        cpu_disable_interrupts();
    }
    atomic_fetch_and(&sleeping, ~(UINT64_C(1) << self));
}

static void turns(struct worker *w, uint32_t self)
{
    uint32_t vp;
    struct vm *vm = next(w, &vp);

    if (!vm) {
        sleep(self);
        return;
    }
    call_help();
    if (run(w, vm, vp, SLICE)) {
        set(vm->turns.stopped, vp);
        hv_wake(boot_vp);
    }
    atomic_fetch_sub(&vm->turns.running, 1);
    cpu_enable_interrupts(); // an interrupt that waits would end the next turn, too
    cpu_disable_interrupts();
}

static void serve(void)
{
    const uint32_t self = hv_own_vp();

    if (self < WORKERS && hv_worker_start()) {
        at_work++;
        processors++;
        while (!ending) {
            turns(&workers[self], self);
        }
        hv_worker_stop();
        at_work--;
    }
}

void dispatch_others(void)
{
    if (dispatch_mine() && hv_worker_prepare()) {
        smp_start_others(serve);
    }
}

bool dispatch_end(void)
{
    const uint64_t until = hv_time() + END_TIMEOUT;

    ending = true;
    while (at_work && hv_time() < until) {
        for (uint64_t asleep = atomic_exchange(&sleeping, 0); asleep; asleep &= asleep - 1) {
            hv_wake((uint32_t)__builtin_ctzll(asleep));
        }
        cpu_pause();
    }
    if (dispatch_mine()) {
        root_log("%u processors have run VMs", (unsigned)processors);
    }
    return !at_work;
}

// ---- the boot processor ------------------------------------------------------------------------

// Whether the VP may go on.
static bool answer(struct vm *vm, uint32_t vp)
{
    if (vm->turns.failure) {
        vm_fail(vm, "dispatching VP %u failed, status %x", vp, (unsigned)vm->turns.failure);
        return false;
    }
    vmexit_handle(vm->turns.page[vp], &resume);
    vmexit_answer(&resume);
    return vm->end == VM_RUNS && resume.count;
}

static bool any_stopped(void)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (first(vms[i]->turns.stopped, 0) != DISPATCH_VPS) {
            return true;
        }
    }
    return false;
}

// What the other processors have left to this one.
static void answer_stopped(void)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        struct vm *vm = vms[i];
        uint32_t vp;
        while ((vp = first(vm->turns.stopped, 0)) != DISPATCH_VPS) {
            take(vm->turns.stopped, vp);
            if (vm->end == VM_RUNS && answer(vm, vp)) {
                set(vm->turns.ready, vp);
            }
        }
    }
}

// A VP's intercepts are answered within its turn. With interrupts off one that has come ends the
// call before the VP runs: nothing is overlooked.
static void own_turn(struct worker *w, struct vm *vm, uint32_t vp)
{
    uint64_t now = hv_time();
    const uint64_t end = now + SLICE;
    bool stopped = false;

    do {
        cpu_disable_interrupts();
        if (hv_message() || hv_signalled || any_stopped()) {
            break;
        }
        stopped = run(w, vm, vp, end - now);
        cpu_enable_interrupts();
        if (!stopped || !answer(vm, vp)) {
            return;
        }
        now = hv_time();
    } while (now < end && !vm_attention && !vm_due_changed);
    cpu_enable_interrupts();
    set(vm->turns.ready, vp);
}

void dispatch_turn(void)
{
    struct worker *w = &workers[boot_vp % WORKERS];
    struct vm *vm;
    uint32_t vp;

    answer_stopped();
    if (vm_attention) {
        return;
    }
    vm = next(w, &vp);
    if (vm) {
        call_help();
        own_turn(w, vm, vp);
        atomic_fetch_sub(&vm->turns.running, 1);
        return;
    }
    cpu_disable_interrupts();
    if (hv_message() || hv_signalled || any_stopped() || any_ready()) {
        cpu_enable_interrupts();
    } else {
        cpu_wait_for_interrupt();
    }
}
