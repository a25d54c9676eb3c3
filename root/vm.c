// SPDX-License-Identifier: BSD-2-Clause-Patent
// The life of a VM: contract in vm.h.
#include "root/vm.h"

#include <stdarg.h>

#include "boot/text.h"
#include "root/cpugroups.h"
#include "root/devices.h"
#include "root/dispatch.h"
#include "root/lib/mem.h"
#include "root/log.h"
#include "root/pages.h"

#define MIB UINT64_C(0x100000)

// What a guest of the Hv#1 interface expects to have (TLFS: HV_PARTITION_PRIVILEGE_MASK).
#define CHILD_PRIVILEGES                                                                           \
    (HV_PRIV_ACCESS_VP_RUNTIME_REG | HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER |                  \
     HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS |                             \
     HV_PRIV_ACCESS_INTR_CTRL_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX |     \
     HV_PRIV_ACCESS_RESET_REG | HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC |                           \
     HV_PRIV_ACCESS_FREQUENCY_REGS | HV_PRIV_POST_MESSAGES | HV_PRIV_SIGNAL_EVENTS |               \
     HV_PRIV_FAST_HYPERCALL_OUTPUT | HV_PRIV_ENABLE_EXTENDED_HYPERCALLS |                          \
     HV_PRIV_START_VIRTUAL_PROCESSOR | HV_PRIV_ENABLE_EXTENDED_GVA_RANGES |                        \
     HV_PRIV_ACCESS_GUEST_IDLE_REG)

#define CREATION_FLAGS                                                                             \
    (HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED | HV_PARTITION_CREATION_FLAG_X2APIC_CAPABLE)

// MTRRs enabled, write-back everywhere: what firmware leaves behind (SDM 3A 12.11.2.1).
#define MTRR_DEF_TYPE_WB UINT64_C(0x806)

// Tables for the overlay pages of a partition and of each of its VPs, wherever they are put.
enum { PAGES_AHEAD = 16, VP_PAGES_AHEAD = 12 };

struct vm *vms[VM_MAX];
uint32_t vm_count;
bool vm_attention;
bool vm_due_changed;

struct vm *vm_find(uint64_t partition)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        if (vms[i]->account.partition == partition) {
            return partition ? vms[i] : NULL;
        }
    }
    return NULL;
}

void vm_request(struct vm *vm, enum vm_end end)
{
    if (vm->end == VM_RUNS) {
        vm->end = end;
        vm_attention = true;
    }
}

void vm_fail(struct vm *vm, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    text_vformat(text, sizeof text, format, arguments);
    va_end(arguments);
    root_fail("vm %s: %s", vm->conf.name, text);
    vm_request(vm, VM_FAILED);
}

// ---- preparation -------------------------------------------------------------------------------

static bool read_images(struct vm *vm)
{
    if (!vm->conf.kernel[0]) {
        root_fail("vm %s: no kernel is configured", vm->conf.name);
        return false;
    }
    return file_load(vm->conf.name, vm->conf.kernel, &vm->kernel) &&
           (!vm->conf.initrd[0] || file_load(vm->conf.name, vm->conf.initrd, &vm->initrd));
}

static bool create_bus(struct vm *vm)
{
    uint32_t index = 0;

    while (vms[index] != vm) {
        index++;
    }
    return !vm->conf.vmbus || (bus_create(vm, index) && devices_create(vm));
}

bool vm_prepare(struct vm *vm)
{
    vm->line.backlog_count = 0;
    vm->events = pages_large(HV_LARGE_PAGE_SIZE);
    if (!vm->events) {
        root_fail("vm %s: no memory for its counters", vm->conf.name);
        return false;
    }
    memset(vm->events, 0, vm->conf.vps * sizeof *vm->events);
    if (!read_images(vm)) {
        return false;
    }
    if (vm->conf.memory * MIB < GUEST_MEMORY_MIN) {
        root_fail("vm %s: memory: at least %lu MiB are needed", vm->conf.name,
                  GUEST_MEMORY_MIN / MIB);
        return false;
    }
    const uint64_t lacking = vm_allocate(vm);
    if (lacking) {
        root_fail("vm %s: memory: the machine lacks %lu of %lu MiB", vm->conf.name,
                  (lacking + MIB - 1) / MIB, vm->conf.memory);
        return false;
    }
    return create_bus(vm);
}

// ---- start -------------------------------------------------------------------------------------

static uint16_t install_intercepts(struct account *account)
{
    static const struct {
        uint32_t type, access;
        uint64_t parameter;
    } wanted[] = {
        {HV_INTERCEPT_TYPE_X64_IO_PORT_RANGE,
         HV_INTERCEPT_ACCESS_MASK_READ | HV_INTERCEPT_ACCESS_MASK_WRITE,
         HV_INTERCEPT_IO_RANGE_LAST_MASK},
        {HV_INTERCEPT_TYPE_HYPERCALL, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 0},
        {HV_INTERCEPT_TYPE_X64_APIC_EOI, HV_INTERCEPT_ACCESS_MASK_WRITE, 0},
        // For the reset and crash registers; reads of what does not exist may fault at once.
        {HV_INTERCEPT_TYPE_X64_MSR, HV_INTERCEPT_ACCESS_MASK_WRITE, 0},
    };
    uint16_t status = HV_STATUS_SUCCESS;

    for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0] && status == HV_STATUS_SUCCESS; i++) {
        status =
            call_install_intercept(account, wanted[i].type, wanted[i].access, wanted[i].parameter);
    }
    return status;
}

static uint16_t create_vps(struct account *account, uint32_t count)
{
    static struct call_registers list;
    uint16_t status = HV_STATUS_SUCCESS;

    for (uint32_t i = 0; i < count && status == HV_STATUS_SUCCESS; i++) {
        status = call_create_vp(account, i);
        if (status == HV_STATUS_SUCCESS) {
            call_registers_start(&list, account->partition, i);
            call_registers_add(&list, HV_REGISTER_MTRR_DEF_TYPE, MTRR_DEF_TYPE_WB);
            if (i != 0) { // it waits for its SIPI
                call_registers_add(&list, HV_REGISTER_EXPLICIT_SUSPEND, 0);
            }
            status = call_set_registers(&list);
        }
    }
    return status;
}

static bool step(struct vm *vm, const char *what, uint16_t status)
{
    if (status != HV_STATUS_SUCCESS) {
        root_fail("vm %s: %s failed, status %x", vm->conf.name, what, (unsigned)status);
    }
    return status == HV_STATUS_SUCCESS;
}

static uint16_t set_controls(struct account *account, const struct conf_vm *conf)
{
    uint16_t status;

    if (dispatch_mine()) {
        if (conf->weight != conf_vm_defaults.weight || conf->cap != conf_vm_defaults.cap ||
            conf->reserve || conf->group[0]) {
            root_log("vm %s: the root scheduler has no weight, cap, reserve or CPU group",
                     conf->name);
        }
        return HV_STATUS_SUCCESS;
    }
    status = call_set_property(account, HV_PARTITION_PROPERTY_CPU_WEIGHT, conf->weight);
    if (status == HV_STATUS_SUCCESS) {
        status = call_set_property(account, HV_PARTITION_PROPERTY_CPU_CAP,
                                   conf->cap * HV_CPU_FULL / 100);
    }
    if (status == HV_STATUS_SUCCESS) {
        status = call_set_property(account, HV_PARTITION_PROPERTY_CPU_RESERVE,
                                   conf->reserve * HV_CPU_FULL / 100);
    }
    if (status == HV_STATUS_SUCCESS && conf->group[0]) {
        status = call_set_property(account, HV_PARTITION_PROPERTY_CPU_GROUP_ID,
                                   cpugroups_id(conf->group));
    }
    return status;
}

static bool create(struct vm *vm)
{
    struct account *account = &vm->account;

    // HwThreadCountPerCore 0: the machine's; 2, which is all that it can be besides 1.
    uint64_t flags =
        CREATION_FLAGS | (vm->conf.threads == 1 ? 0 : HV_PARTITION_CREATION_FLAG_SMT_ENABLED_GUEST);

    return step(vm, "creating the partition", call_create_partition(account, flags)) &&
           step(vm, "setting its privileges",
                call_set_property(account, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS,
                                  CHILD_PRIVILEGES)) &&
           step(vm, "setting its weight, cap, reserve and CPU group",
                set_controls(account, &vm->conf)) &&
           step(vm, "initializing the partition", call_initialize_partition(account)) &&
           step(vm, "installing intercepts", install_intercepts(account)) &&
           step(vm, "creating processors", create_vps(account, (uint32_t)vm->conf.vps)) &&
           step(vm, "mapping their message pages", dispatch_attach(vm)) &&
           step(vm, "attaching its VMBus", bus_attach(vm)) &&
           (vm->conf.lazy != CONF_LAZY_NO || step(vm, "mapping memory", vm_map_all(vm))) &&
           step(vm, "paying ahead",
                call_deposit_ahead(account, PAGES_AHEAD + (uint32_t)vm->conf.vps * VP_PAGES_AHEAD)
                    ? HV_STATUS_SUCCESS
                    : HV_STATUS_INSUFFICIENT_MEMORY);
}

bool vm_start(struct vm *vm)
{
    struct load_vp_state start;

    vm->end = VM_RUNS;
    vm->debug_count = 0;
    if (!vm_load(vm, &start) || !create(vm)) {
        return false;
    }
    vm_init_chipset(vm);
    vm->starts++;
    root_log("vm %s: partition %lx, %lu processors, %lu MiB", vm->conf.name, vm->account.partition,
             vm->conf.vps, vm->conf.memory);
    return step(vm, "starting processor 0", vm_set_start(vm, &start));
}

// ---- end ---------------------------------------------------------------------------------------

bool vm_stop(struct vm *vm)
{
    uint64_t lost = 0;

    vm_flush_debug(vm);
    if (!vm_running(vm)) {
        return true;
    }
    bus_detach(vm);
    devices_flush(vm);
    dispatch_detach(vm);
    uint16_t status = call_finalize_partition(&vm->account);
    // A partition that was never initialized needs no finalizing, and says so.
    if (status == HV_STATUS_INVALID_PARTITION_STATE) {
        status = HV_STATUS_SUCCESS;
    }
    if (!step(vm, "ending the partition", status) ||
        !step(vm, "taking its memory back", call_withdraw_all(&vm->account, &lost))) {
        return false;
    }
    if (lost) {
        root_fail("%lu pages lost", lost);
        return false;
    }
    if (!step(vm, "deleting the partition", call_delete_partition(&vm->account))) {
        return false;
    }
    vm->account.partition = 0;
    devices_stopped(vm);
    return true;
}
