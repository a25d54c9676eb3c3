// SPDX-License-Identifier: BSD-2-Clause-Patent
// What exits mean, for both vendors.
#include "corbel/emulate.h"
#include "corbel/exits_common.h"
#include "corbel/fpu.h"
#include "corbel/guestmem.h"
#include "corbel/interrupts.h"
#include "corbel/ipc.h"
#include "corbel/log.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "corbel/vp.h"
#include "corbel/vplog.h"
#include "corbel/vpstart.h"
#include "corbel/x86.h"
#include "hv/memory.h"
#include "hv/message.h"

static bool is_root(const struct vp *vp)
{
    return vp->partition == root_partition;
}

void vp_advance_slow(struct vp *vp, uint64_t rip)
{
    struct vcpu_mode mode;

    vcpu->get_mode(vp, &mode);
    vp->rip = mode.decode == DECODE_64 ? rip : rip & 0xffffffff;
    vp->shadow = 0;
    if (vp->rflags & RFLAGS_TF)
        vp_inject_exception(vp, EXC_DB, false, 0, 0xffff0ff0 | 1ul << 14);
}

void exit_cpuid(struct vp *vp, uint32_t length)
{
    uint8_t flags;
    uint32_t leaf = (uint32_t)vp->gpr[RAX];
    const struct cpuid_entry *e = cpuid_find(vp->partition->cpuid, leaf, &flags);
    struct cpuid_entry answer = *e;

    if (!(flags & CPUID_STATIC))
        cpuid_slow(vp, leaf, (uint32_t)vp->gpr[RCX], &answer);
    if (flags & CPUID_INTERCEPT) {
        intercept_cpuid(vp, &answer, (uint8_t)length);
        return;
    }
    vp->gpr[RAX] = answer.eax;
    vp->gpr[RBX] = answer.ebx;
    vp->gpr[RCX] = answer.ecx;
    vp->gpr[RDX] = answer.edx;
    vp_advance(vp, length);
}

void exit_msr(struct vp *vp, bool write, uint32_t length)
{
    uint32_t msr = (uint32_t)vp->gpr[RCX];
    uint64_t value = (vp->gpr[RDX] << 32) | (uint32_t)vp->gpr[RAX];
    enum msr_result result = write ? msr_write(vp, msr, value) : msr_read(vp, msr, &value);

    if (__builtin_expect(result == MSR_OK, 1)) {
        if (!write) {
            vp->gpr[RAX] = (uint32_t)value;
            vp->gpr[RDX] = value >> 32;
        }
        vp_advance(vp, length);
        return;
    }
    if (result == MSR_INTERCEPT)
        intercept_msr(vp, msr, write, value, (uint8_t)length);
    else if (result == MSR_FAULT)
        vp_inject_gp(vp);
}

// A port that no one intercepts: reads as ones, ignores writes (TLFS 2: HvInterceptTypeX64IoPort).
static void io_unowned(struct vp *vp, const struct io_access *io)
{
    uint64_t mask = io->size == 4 ? 0xffffffff : (1ul << io->size * 8) - 1;

    vp->partition->unowned_io++;
    if (io->string) { // nobody is there to move the data
        vp_inject_gp(vp);
        return;
    }
    if (!io->write) {
        vp->gpr[RAX] |= mask;
        if (io->size == 4)
            vp->gpr[RAX] = mask;
    }
    vp_advance(vp, io->length);
}

inline void exit_io(struct vp *vp, const struct io_access *io)
{
    const struct partition_intercepts *i = &vp->partition->intercepts;
    const uint8_t *map = i->io[io->port >> 15];

    if (map && (map[(io->port & 0x7fff) >> 3] >> (io->port & 7) & 1))
        intercept_io(vp, io);
    else
        io_unowned(vp, io);
}

void exit_hlt(struct vp *vp, uint32_t length)
{
    vp_advance(vp, length);
    atomic_fetch_or(&vp->suspend, VP_SUSPEND_HALT);
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

void exit_interrupt(struct vp *vp)
{
    struct lp *lp = this_lp();

    (void)vp;
    lapic_hold_extint(lp);
    vcpu->take_interrupts(lp);
    lp_distribute_interrupts(lp);
    lp_after_interrupt(lp);
}

void exit_foreign_nmi(struct vp *vp)
{
    struct lp *lp = this_lp();

    (void)vp;
    if (lp->nmi_seen) {
        lp->nmi_seen = false;
        vp_send_nmi(lp->root_vp);
    }
}

// The IRET that ends an NMI handler is about to run. If another NMI waits it must not come before
// the IRET has: step over it.
void exit_nmi_iret(struct vp *vp)
{
    vcpu->nmi_window(vp, false);
    vp->nmi_masked = false;
    vp->nmi_step = true;
    vp->nmi_iret_rip = vp->rip;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_NMI, memory_order_relaxed);
}

void exit_xsetbv(struct vp *vp, uint32_t length)
{
    uint64_t value = (vp->gpr[RDX] << 32) | (uint32_t)vp->gpr[RAX];
    struct vcpu_mode mode;
    struct walk_state paging;

    vcpu->get_mode(vp, &mode);
    vcpu->get_paging(vp, &paging);
    if (!(paging.cr4 & CR4_OSXSAVE)) {
        vp_inject_ud(vp);
        return;
    }
    if (mode.cpl != 0 || (uint32_t)vp->gpr[RCX] != 0 ||
        !fpu_xcr0_valid(vp->partition->features.xcr0, value)) {
        vp_inject_gp(vp);
        return;
    }
    fpu_set_xcr0(this_lp(), vp, value);
    vp_advance(vp, length);
}

// INVD would throw away what other partitions and the hypervisor wrote (TLFS: Memory Cache
// Control).
void exit_cache(struct vp *vp, uint32_t length)
{
    struct vcpu_mode mode;

    vcpu->get_mode(vp, &mode);
    if (mode.cpl != 0) { // QEMU intercepts before it looks
        vp_inject_gp(vp);
        return;
    }
    __asm__ volatile("wbinvd" : : : "memory");
    vp_advance(vp, length);
}

void exit_spin(struct vp *vp)
{
    vp_spin(vp);
}

void exit_cr8(struct vp *vp, uint64_t value, uint32_t length)
{
    if (value >> 4) {
        vp_inject_gp(vp);
        return;
    }
    vapic_set_tpr(&vp->active->apic, (uint8_t)(value << 4));
    vcpu->set_tpr(vp, (uint8_t)(value << 4));
    vcpu->interrupt_window(vp, 0);
    vp->windows = 0;
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
    vp_advance(vp, length);
}

void exit_sync_tpr(struct vp *vp, uint8_t tpr)
{
    struct vapic *a = &vp->active->apic;
    uint8_t known = atomic_load_explicit(&a->tpr, memory_order_relaxed);

    if ((known ^ tpr) & 0xf0)
        vapic_set_tpr(a, tpr);
}

void exit_shutdown(struct vp *vp)
{
    if (is_root(vp)) {
        hv_log("root VP %u: triple fault at %#lx; resetting the machine", vp->index,
               (unsigned long)vp->rip);
        platform_reset();
    }
    vp_log_end(vp, "triple fault");
    intercept_unrecoverable(vp);
}

void exit_exception(struct vp *vp, uint32_t vector, uint8_t info, uint32_t error,
                    uint64_t parameter)
{
    if (vector == EXC_MC)
        panic("machine check in a guest");
    if (vector == EXC_DB && vp->nmi_step && vp_step_done(vp))
        return;
    if (vp->partition->intercepts.exceptions >> vector & 1)
        intercept_exception(vp, vector, info, error, parameter);
    else if (!(info & HV_EXCEPTION_INFO_SOFTWARE_EXCEPTION)) // that one is executed again
        vp_inject_exception(vp, vector, info & HV_EXCEPTION_INFO_ERROR_CODE_VALID, error,
                            parameter);
}

// ---- second-level faults
// -------------------------------------------------------------------------

// Registers of the APIC page are 32 bits wide and 16 bytes apart; the instruction is completed
// here.
static __attribute__((noinline)) void apic_access(struct vp *vp, uint64_t gpa)
{
    struct vapic *a = &vp->active->apic;
    struct vapic_action action = {.flags = 0};
    uint8_t bytes[16];
    struct vcpu_mode mode;
    struct decoded d;
    unsigned access;
    uint32_t offset = gpa & (PAGE_SIZE - 1);
    uint64_t now = vp_tsc(vp), in = 0, out = 0;

    vp->counters[VP_COUNTER_APIC_ACCESS]++;
    vcpu->get_mode(vp, &mode);
    if (decode(bytes, guest_fetch(vp, bytes), mode.decode, &d) != DECODE_OK) {
        vp_inject_ud(vp);
        return;
    }
    access = emulate_access(&d);
    if (!access || d.memory_size > 4) {
        if (vp_may_log(vp, 1))
            hv_log("partition %#lx VP %u: instruction %02x at %#lx not completed on the APIC page",
                   (unsigned long)vp->partition->id, vp->index, d.opcode, (unsigned long)vp->rip);
        vp_inject_gp(vp);
        return;
    }
    if (access & EMULATE_READ)
        in = vapic_read_mmio(a, offset, now);
    emulate_rmw(&d, vp->gpr, &vp->rflags, in, &out);
    vp_advance(vp, d.length);
    if (access & EMULATE_WRITE) {
        vapic_write_mmio(a, offset, (uint32_t)out, now, &action);
        vp_apic_action(vp, &action);
    }
}

static bool hits_apic(const struct vp *vp, uint64_t gpa)
{
    uint32_t mode = atomic_load_explicit(&vp->active->apic.mode, memory_order_relaxed);

    return (gpa & PAGE_MASK) == VAPIC_BASE_PA &&
           (mode & (VAPIC_BASE_ENABLE | VAPIC_BASE_X2APIC)) == VAPIC_BASE_ENABLE;
}

static uint32_t fault_access(const struct slat_fault *f)
{
    return f->write ? GPA_WRITE : f->execute ? GPA_EXEC : GPA_READ;
}

static __attribute__((noinline)) void root_fault(struct vp *vp, const struct slat_fault *f)
{
    switch (gpa_root_fault(&vp->partition->gpa, f->gpa, fault_access(f))) {
    case GPA_FAULT_RESOLVED:
        return;
    case GPA_FAULT_NO_MEMORY:
        panic("no page left for the root's second-level tables (GPA %#lx)", (unsigned long)f->gpa);
    case GPA_FAULT_HOLE:
    case GPA_FAULT_DENIED:
        if (vp_may_log(vp, 1))
            hv_log("root VP %u: access to %#lx refused (RIP %#lx)", vp->index,
                   (unsigned long)f->gpa, (unsigned long)vp->rip);
        vp_inject_gp(vp);
        return;
    }
}

void exit_gpa_fault(struct vp *vp, const struct slat_fault *f)
{
    struct gpa_translation t;

    if (hits_apic(vp, f->gpa) && !f->walk && !f->execute) {
        apic_access(vp, f->gpa);
        return;
    }
    if (is_root(vp)) {
        root_fault(vp, f);
        return;
    }
    t = gpa_translate(&vp->partition->gpa, f->gpa, fault_access(f));
    if (t.status == GPA_OK)
        return;                           // mapped since: run again
    if (t.status == GPA_OVERLAY_DENIED) { // TLFS: writes to the hypercall page raise #GP
        vp_inject_gp(vp);
        return;
    }
    if (f->write && !f->walk && doorbell_exit(vp, f->gpa))
        return;
    intercept_memory(vp, f, t.status == GPA_UNMAPPED);
}
