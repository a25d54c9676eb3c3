// SPDX-License-Identifier: BSD-2-Clause-Patent
// A guest's task switch, which VMX has to exits (SDM 3C 26.4.2): from the VMCS to vmx/task.c, and
// back.
#include "corbel/exits_common.h"
#include "corbel/guestmem.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "vmx/task.h"
#include "vmx/vmx.h"

#define SOURCE_SHIFT 30
#define DR7_LOCAL    0x155u // L0 to L3, LE: of the old task
#define DR6_TASK     0xffff8ff0u
#define WALKS        100 // an entry that changes so often under a walk is the guest's own doing

static struct walk_result translate(struct vp *vp, uint64_t linear, bool write)
{
    uint32_t access =
        (write ? WALK_WRITE : WALK_READ) | WALK_SUPERVISOR | WALK_SMAP_ENFORCE | WALK_SET_BITS;
    struct walk_result w = guest_translate(vp, linear, access);

    for (int i = 0; i < WALKS && w.code == WALK_BUSY; i++)
        w = guest_translate(vp, linear, access);
    return w;
}

// Of one page. False: the guest has a fault to handle, or its parent.
static bool reach(struct vp *vp, uint64_t linear, void *buffer, uint32_t size, bool write)
{
    struct walk_result w = translate(vp, linear, write);
    struct slat_fault fault = {.gpa = w.gpa, .read = !write, .write = write};
    struct gpa_translation t;
    void *memory;

    if (w.code != WALK_SUCCESS) {
        fault = (struct slat_fault){.gpa = w.gpa, .read = true, .walk = true};
        if (w.code >= WALK_TABLE_UNMAPPED)
            exit_gpa_fault(vp, &fault);
        else
            vp_inject_exception(vp, EXC_PF, true, w.error_code, linear);
        return false;
    }
    t = gpa_pin(&vp->partition->gpa, w.gpa, write ? GPA_WRITE : GPA_READ);
    if (t.status != GPA_OK) {
        exit_gpa_fault(vp, &fault);
        return false;
    }
    memory = window_map(this_lp(), WINDOW_DATA, t.spa);
    memcpy(write ? memory : buffer, write ? buffer : memory, size);
    if (write)
        gpa_wrote(&vp->partition->gpa, w.gpa);
    gpa_unpin(&vp->partition->gpa, &t);
    return true;
}

static bool reach_all(struct vp *vp, uint64_t linear, uint8_t *buffer, uint32_t size, bool write)
{
    while (size) {
        uint32_t address = (uint32_t)linear;
        uint32_t here = (uint32_t)(PAGE_SIZE - (address & (PAGE_SIZE - 1)));

        here = here < size ? here : size;
        if (!reach(vp, address, buffer, here, write))
            return false;
        linear += here;
        buffer += here;
        size -= here;
    }
    return true;
}

static bool task_read(void *context, uint64_t linear, void *buffer, uint32_t size)
{
    return reach_all(context, linear, buffer, size, false);
}

static bool task_write(void *context, uint64_t linear, const void *buffer, uint32_t size)
{
    return reach_all(context, linear, (uint8_t *)(uintptr_t)buffer, size, true);
}

static void set_cr3(void *context, uint32_t cr3)
{
    vmwrite(VMCS_GUEST_CR3, cr3);
    vmx_load_pdptes(context);
    vmx_flush_guest(context);
}

static void collect(struct vp *vp, struct task_cpu *cpu, uint32_t length)
{
    union hv_register_value v;

    *cpu = (struct task_cpu){.eip = (uint32_t)(vp->rip + length),
                             .eflags = (uint32_t)vp->rflags,
                             .cr3 = (uint32_t)vmread(VMCS_GUEST_CR3),
                             .paging = vmread(VMCS_GUEST_CR0) & CR0_PG,
                             .gdt_base = vmread(VMCS_GUEST_GDTR_BASE),
                             .gdt_limit = (uint32_t)vmread(VMCS_GUEST_GDTR_LIMIT)};
    for (uint32_t i = 0; i < 8; i++)
        cpu->gpr[i] = (uint32_t)vp->gpr[i];
    for (uint32_t i = 0; i < 8; i++) {
        vmx_get_register(vp, HV_REGISTER_ES + i, &v);
        cpu->segment[i] = v.segment;
    }
}

static void apply(struct vp *vp, const struct task_cpu *cpu)
{
    for (uint32_t i = 0; i < 8; i++)
        vp->gpr[i] = cpu->gpr[i];
    for (uint32_t i = 0; i < 8; i++)
        vmx_put_segment(i, &cpu->segment[i]);
    vp->rip = cpu->eip;
    vp->rflags = cpu->eflags;
    vp->shadow = 0;
    vmx_put_cr0(vmx_guest_cr0() | CR0_TS);
    vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~(uint64_t)DR7_LOCAL);
}

// What the switch itself leaves to be delivered in the new task.
static void deliver(struct vp *vp, enum task_outcome outcome, uint32_t vector, uint32_t error)
{
    if (outcome == TASK_BAD)
        vp_inject_exception(vp, vector, true, error, 0);
    if (outcome == TASK_TRAP)
        vp_inject_exception(vp, EXC_DB, false, 0, DR6_TASK);
}

void vmx_task_switch(struct vp *vp)
{
    const struct task_memory memory = {task_read, task_write, set_cr3, vp};
    uint64_t q = vmread(VMCS_QUALIFICATION);
    enum task_source source = (enum task_source)(q >> SOURCE_SHIFT & 3);
    uint32_t event = source == TASK_GATE ? (uint32_t)vmread(VMCS_VECTORING_EVENT) : 0;
    uint32_t type = (event & VMX_EVENT_TYPE_MASK) >> VMX_EVENT_TYPE_SHIFT;
    bool instruction = source != TASK_GATE || type >= HV_INTERRUPTION_TYPE_SOFTWARE_INTERRUPT;
    uint32_t vector = 0, error = 0, code = (uint32_t)vmread(VMCS_VECTORING_ERROR);
    uint64_t pending = vp->pending_interruption; // the event, to be delivered once more
    enum task_outcome outcome;
    struct task_cpu cpu;

    vp->pending_interruption = 0;
    collect(vp, &cpu, instruction ? (uint32_t)vmread(VMCS_EXIT_LENGTH) : 0);
    outcome = task_switch(&cpu, &memory, (uint16_t)q, source, &vector, &error);
    if (outcome == TASK_NO_MEMORY) { // the old task goes on where it is
        if (!vp->pending_interruption)
            vp->pending_interruption = pending;
        return;
    }
    if (outcome == TASK_DONE && (event & VMX_EVENT_VALID) && (event & VMX_EVENT_ERROR_VALID))
        task_push(&cpu, &memory, code);
    apply(vp, &cpu);
    if (source == TASK_IRET)
        vmcs_change(VMCS_INTERRUPTIBILITY, VMX_BLOCKED_NMI, false);
    if (event && type == HV_INTERRUPTION_TYPE_NMI)
        vmcs_change(VMCS_INTERRUPTIBILITY, VMX_BLOCKED_NMI, true);
    deliver(vp, outcome, vector, error);
}
