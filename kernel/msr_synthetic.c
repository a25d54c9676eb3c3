// SPDX-License-Identifier: BSD-2-Clause-Patent
// The synthetic MSRs (tlfs-reference 4). What is not in the table does not exist.
#include "corbel/cpufeatures.h"
#include "corbel/guestmem.h"
#include "corbel/intercept.h"
#include "corbel/interrupts.h"
#include "corbel/log.h"
#include "corbel/msr.h"
#include "corbel/partition.h"
#include "corbel/string.h"
#include "corbel/vcpu.h"
#include "corbel/vp.h"
#include "corbel/vplog.h"
#include "hv/memory.h"
#include "hv/msr.h"
#include "hv/partition.h"

#define CRASH_LINE 160u

// ---- overlay pages ------------------------------------------------------------------------------

// Stores the MSR and moves its page, for whoever has `moving`. The page is moved without a lock
// held, because that may have to wait for other LPs; a second writer of the same MSR comes again.
static enum msr_result move_page(struct partition *p, struct overlay_msr *o, uint64_t value,
                                 uint32_t rights)
{
    if (o == &p->reference_tsc && (value & ~o->value & HV_PAGE_MSR_ENABLE))
        partition_publish_time(p);
    if (((o->value ^ value) & (HV_PAGE_MSR_ENABLE | HV_PAGE_MSR_PAGE_MASK)) &&
        !partition_move_overlay(p, &o->overlay, o->page, value & HV_PAGE_MSR_ENABLE,
                                value >> HV_PAGE_SHIFT, rights))
        return MSR_FAULT; // no memory for the tables
    __atomic_store_n(&o->value, value, __ATOMIC_RELAXED);
    return MSR_OK;
}

static enum msr_result write_overlay(struct partition *p, struct overlay_msr *o, uint64_t value,
                                     uint32_t rights)
{
    enum msr_result result;

    if (atomic_exchange(&o->moving, true))
        return MSR_RETRY;
    result = move_page(p, o, value, rights);
    atomic_store(&o->moving, false);
    return result;
}

MSR_READER(read_os_id, vp->partition->guest_os_id)

// Without an identity there is no hypercall page (TLFS: Reporting the Guest OS Identity), whatever
// other VPs write to its MSR meanwhile.
static enum msr_result write_os_id(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct partition *p = vp->partition;
    struct overlay_msr *o = &p->hypercall;
    enum msr_result result = MSR_OK;

    (void)msr;
    if (atomic_exchange(&o->moving, true))
        return MSR_RETRY;
    if (value == 0)
        result = move_page(p, o, o->value & ~HV_MSR_HYPERCALL_ENABLE, GPA_READ | GPA_EXEC);
    if (result == MSR_OK)
        p->guest_os_id = value;
    atomic_store(&o->moving, false);
    return result;
}

MSR_READER(read_hypercall, vp->partition->hypercall.value)

// Position independent: Linux as root copies the page (root-abi 1.4).
static void fill_hypercall_page(void *page)
{
    static const uint8_t vmmcall[] = {0x0f, 0x01, 0xd9, 0xc3};
    static const uint8_t vmcall[] = {0x0f, 0x01, 0xc1, 0xc3};

    memcpy(page, cpu_features.amd ? vmmcall : vmcall, sizeof(vmcall));
}

static enum msr_result move_hypercall_page(struct partition *p, uint64_t value)
{
    if (p->guest_os_id == 0)
        value &= ~HV_MSR_HYPERCALL_ENABLE;
    if ((value & HV_MSR_HYPERCALL_ENABLE) && value >> HV_PAGE_SHIFT >= p->gpa.page_limit)
        return MSR_FAULT;
    fill_hypercall_page(p->hypercall.page);
    return move_page(p, &p->hypercall, value, GPA_READ | GPA_EXEC);
}

enum msr_result msr_set_hypercall(struct vp *vp, uint64_t value, bool lockable)
{
    struct overlay_msr *o = &vp->partition->hypercall;
    enum msr_result result = MSR_FAULT;

    if (atomic_exchange(&o->moving, true))
        return MSR_RETRY;
    if (!lockable || !(o->value & HV_MSR_HYPERCALL_LOCKED))
        result = move_hypercall_page(vp->partition, value);
    atomic_store(&o->moving, false);
    return result;
}

static enum msr_result write_hypercall(struct vp *vp, uint32_t msr, uint64_t value)
{
    (void)msr;
    return msr_set_hypercall(vp, value, true);
}

MSR_READER(read_reference_tsc, vp->partition->reference_tsc.value)

static enum msr_result write_reference_tsc(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct partition *p = vp->partition;

    (void)msr;
    return write_overlay(p, &p->reference_tsc, value, GPA_READ);
}

MSR_READER(read_assist, vp->active->assist.value)

static enum msr_result write_assist(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct overlay_msr *o = &vp->active->assist;
    struct vapic *a = &vp->active->apic;
    enum msr_result result;

    (void)msr;
    if ((value & HV_PAGE_MSR_ENABLE) && value >> HV_PAGE_SHIFT >= vp->partition->gpa.page_limit)
        return MSR_FAULT;
    vapic_set_assist(a, NULL);
    *(uint32_t *)o->page = 0; // ApicAssist; the rest of the page stays (tlfs-reference 2.7)
    result = write_overlay(vp->partition, o, value, GPA_READ | GPA_WRITE);
    if (o->value & HV_PAGE_MSR_ENABLE)
        vapic_set_assist(a, o->page);
    return result;
}

// The event rings of doorbells: a root's (root-abi 3.1).
static enum msr_result read_ring(struct vp *vp, uint32_t msr, uint64_t *value)
{
    const struct overlay_msr *o = &vp->active->ring;

    (void)msr;
    *value = o->value;
    return o->page ? MSR_OK : MSR_FAULT;
}

static enum msr_result write_ring(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct overlay_msr *o = &vp->active->ring;

    (void)msr;
    return o->page ? write_overlay(vp->partition, o, value, GPA_READ | GPA_WRITE) : MSR_FAULT;
}

// ---- identity, time -----------------------------------------------------------------------------

MSR_READER(read_vp_index, vp->index)
MSR_READER(read_runtime, vp_runtime(vp))
MSR_READER(read_time, partition_reference_time(vp->partition))
MSR_READER(read_tsc_frequency, reftime_tsc_frequency(&vp->partition->reftime))
MSR_READER(read_apic_frequency, vp->partition->clock.apic_hz)

// TLFS: Virtual Processor Idle Sleep State: the VP sleeps behind the read, unless an interrupt is
// pending already.
static enum msr_result read_guest_idle(struct vp *vp, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = 0;
    atomic_fetch_or(&vp->suspend, VP_SUSPEND_IDLE);
    atomic_fetch_or_explicit(&vp->work, VP_WORK_INTERRUPT, memory_order_relaxed);
    return MSR_OK;
}

static enum msr_result read_npiep(struct vp *vp, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = vp->npiep;
    return vcpu->set_table_intercepts ? MSR_OK : MSR_FAULT;
}

static enum msr_result write_npiep(struct vp *vp, uint32_t msr, uint64_t value)
{
    (void)msr;
    if (!vcpu->set_table_intercepts || (value & HV_MSR_NPIEP_RESERVED_MASK))
        return MSR_FAULT;
    vp->npiep = value;
    vcpu->set_table_intercepts(vp, value);
    return MSR_OK;
}

// ---- reset and crash ----------------------------------------------------------------------------

MSR_READER(read_zero, 0)

// The machine around a partition is its parent's: the parent sees the write as an MSR intercept if
// it installed that, else as an unrecoverable exception, which every VMM answers with a reset.
// Either way the VP stays suspended. The root's machine is the machine.
static enum msr_result write_reset(struct vp *vp, uint32_t msr, uint64_t value)
{
    (void)msr;
    if (!(value & HV_MSR_RESET_RESET))
        return MSR_OK;
    if (vp->partition == root_partition)
        platform_reset();
    if (vp->partition->intercepts.msr_access & HV_INTERCEPT_ACCESS_MASK_WRITE)
        return MSR_INTERCEPT;
    if (vp_may_log(vp, 1))
        hv_log("partition %#lx VP %u: reset", (unsigned long)vp->partition->id, vp->index);
    intercept_unrecoverable(vp);
    return MSR_OK;
}

MSR_READER(read_crash, vp->partition->crash[msr - HV_X64_MSR_CRASH_P0])

static enum msr_result write_crash(struct vp *vp, uint32_t msr, uint64_t value)
{
    vp->partition->crash[msr - HV_X64_MSR_CRASH_P0] = value;
    return MSR_OK;
}

MSR_READER(read_crash_control, HV_CRASH_CTL_CRASH_NOTIFY | HV_CRASH_CTL_CRASH_MESSAGE)

// The guest's text, line by line, printable characters only: it goes to somebody's terminal. No
// more of it than may be logged.
static void log_crash_message(const struct vp *vp, uint64_t gpa, uint64_t size)
{
    struct partition *p = vp->partition;
    char line[CRASH_LINE + 1];
    uint32_t used = 0;

    if (size > HV_CRASH_MESSAGE_MAX_BYTES)
        size = HV_CRASH_MESSAGE_MAX_BYTES;
    for (uint64_t i = 0; i < size; i++) {
        char c;
        if (!guest_read(p, gpa + i, &c, 1))
            break;
        if (c >= ' ' && c <= '~')
            line[used++] = c;
        if (used == CRASH_LINE || (c == '\n' && used)) {
            line[used] = 0;
            if (!vp_may_log(vp, 1))
                return;
            hv_log("partition %#lx: %s", (unsigned long)p->id, line);
            used = 0;
        }
    }
    line[used] = 0;
    if (used && vp_may_log(vp, 1))
        hv_log("partition %#lx: %s", (unsigned long)p->id, line);
}

// TLFS: Guest Crash Enlightenment. A parent that intercepts MSRs reads the parameters as registers
// and shows the text itself; else it is shown here.
static enum msr_result write_crash_control(struct vp *vp, uint32_t msr, uint64_t value)
{
    const struct partition *p = vp->partition;

    (void)msr;
    if (!(value & HV_CRASH_CTL_CRASH_NOTIFY))
        return MSR_OK;
    if (p->intercepts.msr_access & HV_INTERCEPT_ACCESS_MASK_WRITE)
        return MSR_INTERCEPT;
    if (!vp_may_log(vp, 1))
        return MSR_OK;
    hv_log("partition %#lx VP %u: guest crash %#lx %#lx %#lx %#lx %#lx", (unsigned long)p->id,
           vp->index, (unsigned long)p->crash[0], (unsigned long)p->crash[1],
           (unsigned long)p->crash[2], (unsigned long)p->crash[3], (unsigned long)p->crash[4]);
    if (value & HV_CRASH_CTL_CRASH_MESSAGE)
        log_crash_message(vp, p->crash[3], p->crash[4]);
    return MSR_OK;
}

// ---- SynIC and timers ---------------------------------------------------------------------------

static enum msr_result read_synic(struct vp *vp, uint32_t msr, uint64_t *value)
{
    return synic_read_msr(&vp->active->synic, msr, value) == SYNIC_OK ? MSR_OK : MSR_FAULT;
}

static bool move_synic_pages(struct vp *vp, const struct synic_action *a)
{
    struct vtl_context *c = vp->active;
    const uint32_t rights = GPA_READ | GPA_WRITE;

    if ((a->flags & SYNIC_ACT_SIM) &&
        !partition_move_overlay(vp->partition, &c->sim_overlay, c->synic.sim,
                                a->sim_new != SYNIC_NO_PAGE, a->sim_new, rights))
        return false;
    return !(a->flags & SYNIC_ACT_SIEF) ||
           partition_move_overlay(vp->partition, &c->sief_overlay, c->synic.sief,
                                  a->sief_new != SYNIC_NO_PAGE, a->sief_new, rights);
}

// A page that cannot be mapped for want of memory: the register keeps its old value.
static enum msr_result write_synic(struct vp *vp, uint32_t msr, uint64_t value)
{
    struct vtl_context *c = vp->active;
    struct synic_action action, undone;
    struct synic_signals signals;
    uint64_t old = 0;

    synic_read_msr(&c->synic, msr, &old);
    if (synic_write_msr(&c->synic, msr, value, &action) != SYNIC_OK)
        return MSR_FAULT;
    if ((action.flags & (SYNIC_ACT_SIM | SYNIC_ACT_SIEF)) && !move_synic_pages(vp, &action)) {
        synic_write_msr(&c->synic, msr, old, &undone);
        return MSR_FAULT;
    }
    if (action.flags & SYNIC_ACT_AUTO_EOI)
        vapic_set_auto_eoi(&c->apic, c->synic.auto_eoi);
    if (action.flags & SYNIC_ACT_RESCAN) {
        synic_pump(&c->synic, partition_reference_time(vp->partition), &signals);
        vp_post_signals(vp, &signals);
    }
    return MSR_OK;
}

static enum msr_result read_stimer(struct vp *vp, uint32_t msr, uint64_t *value)
{
    return stimer_read_msr(&vp->active->stimers, msr, value) == STIMER_OK ? MSR_OK : MSR_FAULT;
}

static enum msr_result write_stimer(struct vp *vp, uint32_t msr, uint64_t value)
{
    uint64_t now = partition_reference_time(vp->partition);

    if (stimer_write_msr(&vp->active->stimers, msr, value, now) != STIMER_OK)
        return MSR_FAULT;
    vp_update_timer(vp);
    return MSR_OK;
}

// ---- time unhalted ------------------------------------------------------------------------------

static bool has_unhalted(const struct vp *vp)
{
    return vp->partition->synthetic_features & HV_SYNTH_FEATURE_SYNTHETIC_TIME_UNHALTED_TIMER;
}

static enum msr_result read_unhalted(struct vp *vp, uint32_t msr, uint64_t *value)
{
    if (!has_unhalted(vp))
        return MSR_FAULT;
    *value =
        msr == HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG ? vp->unhalted.config : vp->unhalted.period;
    return MSR_OK;
}

static enum msr_result write_unhalted(struct vp *vp, uint32_t msr, uint64_t value)
{
    if (!has_unhalted(vp))
        return MSR_FAULT;
    if (msr == HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG)
        unhalted_set_config(&vp->unhalted, value, vp_runtime(vp));
    else
        unhalted_set_period(&vp->unhalted, value, vp_runtime(vp));
    vp_update_timer(vp);
    return MSR_OK;
}

// ---- the table ----------------------------------------------------------------------------------

// The sum in this order: clang-format 14 takes (number) - x for a cast.
#define SLOT(number)    (-MSR_SYNTHETIC_FIRST + (number))
#define AT(number)      [SLOT(number)]
#define RANGE(from, to) [SLOT(from)... SLOT(to)]
#define PRIV(name)      HV_PRIV_ACCESS_##name

const struct msr_descriptor msr_synthetic[MSR_SYNTHETIC_COUNT] = {
    AT(HV_X64_MSR_GUEST_OS_ID) = {read_os_id, write_os_id, PRIV(HYPERCALL_MSRS), false},
    AT(HV_X64_MSR_HYPERCALL) = {read_hypercall, write_hypercall, PRIV(HYPERCALL_MSRS), false},
    AT(HV_X64_MSR_VP_INDEX) = {read_vp_index, NULL, PRIV(VP_INDEX), true},
    AT(HV_X64_MSR_RESET) = {read_zero, write_reset, PRIV(RESET_REG), false},
    AT(HV_X64_MSR_VP_RUNTIME) = {read_runtime, NULL, PRIV(VP_RUNTIME_REG), true},
    AT(HV_X64_MSR_TIME_REF_COUNT) = {read_time, NULL, PRIV(PARTITION_REFERENCE_COUNTER), true},
    AT(HV_X64_MSR_REFERENCE_TSC) = {read_reference_tsc, write_reference_tsc,
                                    PRIV(PARTITION_REFERENCE_TSC), false},
    AT(HV_X64_MSR_TSC_FREQUENCY) = {read_tsc_frequency, NULL, PRIV(FREQUENCY_REGS), true},
    AT(HV_X64_MSR_APIC_FREQUENCY) = {read_apic_frequency, NULL, PRIV(FREQUENCY_REGS), true},
    AT(HV_X64_MSR_NPIEP_CONFIG) = {read_npiep, write_npiep, 0, false}, // EDX[12]
    AT(HV_X64_MSR_EOI) = {NULL, msr_write_apic, PRIV(INTR_CTRL_REGS), false},
    AT(HV_X64_MSR_ICR) = {msr_read_apic, msr_write_apic, PRIV(INTR_CTRL_REGS), false},
    AT(HV_X64_MSR_TPR) = {msr_read_apic, msr_write_apic, PRIV(INTR_CTRL_REGS), false},
    AT(HV_X64_MSR_VP_ASSIST_PAGE) = {read_assist, write_assist, PRIV(INTR_CTRL_REGS), false},
    AT(HV_X64_MSR_SCONTROL) = {read_synic, write_synic, PRIV(SYNIC_REGS), false},
    AT(HV_X64_MSR_SVERSION) = {read_synic, NULL, PRIV(SYNIC_REGS), false},
    AT(HV_X64_MSR_SIEFP) = {read_synic, write_synic, PRIV(SYNIC_REGS), false},
    AT(HV_X64_MSR_SIMP) = {read_synic, write_synic, PRIV(SYNIC_REGS), false},
    AT(HV_X64_MSR_SIRBP) = {read_ring, write_ring, PRIV(SYNIC_REGS), false},
    AT(HV_X64_MSR_EOM) = {read_zero, write_synic, PRIV(SYNIC_REGS), false},
    RANGE(HV_X64_MSR_SINT0, HV_X64_MSR_SINT15) = {read_synic, write_synic, PRIV(SYNIC_REGS), false},
    RANGE(HV_X64_MSR_STIMER0_CONFIG, HV_X64_MSR_STIMER3_COUNT) = {read_stimer, write_stimer,
                                                                  PRIV(SYNTHETIC_TIMER_REGS),
                                                                  false},
    RANGE(HV_X64_MSR_STIME_UNHALTED_TIMER_CONFIG,
          HV_X64_MSR_STIME_UNHALTED_TIMER_COUNT) = {read_unhalted, write_unhalted,
                                                    PRIV(SYNTHETIC_TIMER_REGS), false},
    AT(HV_X64_MSR_GUEST_IDLE) = {read_guest_idle, NULL, PRIV(GUEST_IDLE_REG), false},
    // Announced by CPUID 40000003 EDX[10]; no privilege goes with them.
    RANGE(HV_X64_MSR_CRASH_P0, HV_X64_MSR_CRASH_P4) = {read_crash, write_crash, 0, false},
    AT(HV_X64_MSR_CRASH_CTL) = {read_crash_control, write_crash_control, 0, false},
};
