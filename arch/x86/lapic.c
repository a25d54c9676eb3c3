// SPDX-License-Identifier: BSD-2-Clause-Patent
// The physical local APIC. Its mode (xAPIC or x2APIC) follows the root VP's, because device
// interrupts with logical destinations mean what the root OS thinks they mean.
#include "corbel/cpufeatures.h"
#include "corbel/interrupts.h"
#include "corbel/launch.h"
#include "corbel/layout.h"
#include "corbel/log.h"
#include "corbel/lp.h"
#include "corbel/vp.h"
#include "corbel/x86.h"
#include "hv/registers.h"

#define ICR_PENDING       (1u << 12)
#define ICR_ASSERT        (1u << 14)
#define ICR_SELF          (1u << 18)
#define DIVIDE_BY_1       0xbu
#define CALIBRATE_MS      20u
#define CALIBRATE_SAMPLES 32
#define NEVER             UINT64_MAX

uint64_t lapic_hz;
static uint64_t ticks_per_tsc; // 32.32
static bool deadline_mode;

static uint32_t reg_read(const struct lp *lp, uint32_t reg)
{
    if (lp->x2apic)
        return (uint32_t)rdmsr(MSR_X2APIC_FIRST + (reg >> 4));
    return *(volatile uint32_t *)(HV_MMIO_BASE + reg);
}

static void reg_write(const struct lp *lp, uint32_t reg, uint32_t value)
{
    if (lp->x2apic)
        wrmsr(MSR_X2APIC_FIRST + (reg >> 4), value);
    else
        *(volatile uint32_t *)(HV_MMIO_BASE + reg) = value;
}

void lapic_eoi(struct lp *lp)
{
    reg_write(lp, VAPIC_EOI, 0);
}

static inline __attribute__((always_inline)) void send_icr(struct lp *lp, uint32_t dest,
                                                           uint32_t low)
{
    if (lp->x2apic) {
        __asm__ volatile("mfence; lfence" : : : "memory");
        wrmsr(MSR_X2APIC_ICR, (uint64_t)dest << 32 | low);
        return;
    }
    while (reg_read(lp, VAPIC_ICR) & ICR_PENDING)
        cpu_relax();
    reg_write(lp, VAPIC_ICR2, dest << 24);
    reg_write(lp, VAPIC_ICR, low);
}

void lapic_kick(const struct lp *target)
{
    send_icr(this_lp(), target->apic_id, LP_VECTOR_KICK | ICR_ASSERT);
}

void lapic_send_posted(const struct lp *target)
{
    send_icr(this_lp(), target->apic_id, LP_VECTOR_POSTED | ICR_ASSERT);
}

// Leaves ICR2 alone and the ICR idle: an IPI that is just being written goes on as if nothing had
// been.
void lapic_kick_self(struct lp *lp)
{
    const uint32_t kick = LP_VECTOR_KICK | ICR_ASSERT | ICR_SELF;

    if (lp->x2apic) {
        wrmsr(MSR_X2APIC_ICR, kick);
        return;
    }
    while (reg_read(lp, VAPIC_ICR) & ICR_PENDING)
        cpu_relax();
    reg_write(lp, VAPIC_ICR, kick);
    while (reg_read(lp, VAPIC_ICR) & ICR_PENDING)
        cpu_relax();
}

void lapic_save(struct lp *lp, struct vapic_image *image)
{
    image->apic_base = rdmsr(MSR_APIC_BASE);
    lp->x2apic = image->apic_base & APIC_BASE_X2APIC;
    image->tsc_deadline = 0;
    for (uint32_t i = 0; i < 64; i++)
        image->regs[i] = 0;
    for (uint32_t reg = VAPIC_ID; reg <= VAPIC_TIMER_DIVIDE; reg += 0x10) {
        bool x2apic_absent = reg == VAPIC_DFR || reg == VAPIC_ICR2 || reg == VAPIC_APR ||
                             reg == VAPIC_RRD || reg == VAPIC_EOI;
        bool exists = (reg >= VAPIC_TPR && reg <= VAPIC_ESR) || reg == VAPIC_ID ||
                      reg == VAPIC_VER || (reg >= VAPIC_ICR && reg <= VAPIC_TIMER_CURRENT) ||
                      reg == VAPIC_TIMER_DIVIDE;
        if (!exists || reg == VAPIC_EOI || (lp->x2apic && x2apic_absent))
            continue;
        image->regs[reg >> 4] = reg_read(lp, reg);
    }
}

void lapic_take_over(struct lp *lp)
{
    reg_write(lp, VAPIC_TPR, 0);
    reg_write(lp, VAPIC_SVR, VAPIC_SVR_ENABLE | LP_VECTOR_SPURIOUS);
    reg_write(lp, VAPIC_LVT_ERROR, LP_VECTOR_ERROR);
    deadline_mode = cpu_features.tsc_deadline;
    reg_write(lp, VAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
    reg_write(lp, VAPIC_LVT_TIMER, LP_VECTOR_TIMER | (deadline_mode ? VAPIC_LVT_DEADLINE : 0));
    if (!deadline_mode)
        reg_write(lp, VAPIC_TIMER_INITIAL, 0);
    lp->timer_programmed = NEVER;
}

struct instant {
    uint64_t tsc;
    uint32_t left; // timer ticks still to go
};

// Both clocks at one moment: of several readings the one that was disturbed least.
static struct instant sample(const struct lp *lp)
{
    struct instant best = {0, 0};
    uint64_t shortest = UINT64_MAX;

    for (int i = 0; i < CALIBRATE_SAMPLES; i++) {
        uint64_t before = rdtsc();
        uint32_t left = reg_read(lp, VAPIC_TIMER_CURRENT);
        uint64_t after = rdtsc();
        if (after - before < shortest) {
            shortest = after - before;
            best = (struct instant){before + shortest / 2, left};
        }
    }
    return best;
}

void lapic_calibrate(uint64_t tsc_hz)
{
    struct lp *lp = this_lp();
    uint64_t window = tsc_hz / 1000 * CALIBRATE_MS;
    uint32_t lvt = reg_read(lp, VAPIC_LVT_TIMER), divide = reg_read(lp, VAPIC_TIMER_DIVIDE);
    uint32_t initial = reg_read(lp, VAPIC_TIMER_INITIAL);
    struct instant start, end;

    reg_write(lp, VAPIC_LVT_TIMER, LP_VECTOR_TIMER | VAPIC_LVT_MASKED);
    reg_write(lp, VAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
    reg_write(lp, VAPIC_TIMER_INITIAL, UINT32_MAX);
    start = sample(lp);
    while (rdtsc() - start.tsc < window)
        cpu_relax();
    end = sample(lp);
    // The firmware's tick goes on as it was, with one period that began anew.
    reg_write(lp, VAPIC_TIMER_INITIAL, 0);
    reg_write(lp, VAPIC_TIMER_DIVIDE, divide);
    reg_write(lp, VAPIC_LVT_TIMER, lvt);
    reg_write(lp, VAPIC_TIMER_INITIAL, initial);
    ticks_per_tsc = ((uint64_t)(start.left - end.left) << 32) / (end.tsc - start.tsc);
    lapic_hz = (uint64_t)(((unsigned __int128)tsc_hz * ticks_per_tsc) >> 32);
}

void lapic_timer(struct lp *lp, uint64_t deadline)
{
    uint64_t now, ticks;

    // An earlier interrupt than needed does no harm: what is due is looked at, and the timer set
    // anew.
    if (deadline >= lp->timer_programmed && lp->timer_programmed != NEVER)
        return;
    if (deadline == NEVER && lp->timer_programmed == NEVER)
        return;
    lp->timer_programmed = deadline;
    if (deadline_mode) {
        wrmsr(MSR_TSC_DEADLINE, deadline == NEVER ? 0 : deadline);
        return;
    }
    if (deadline == NEVER) {
        reg_write(lp, VAPIC_TIMER_INITIAL, 0);
        return;
    }
    now = rdtsc();
    ticks = 1;
    if (deadline > now)
        ticks = (uint64_t)(((unsigned __int128)(deadline - now) * ticks_per_tsc) >> 32) + 1;
    reg_write(lp, VAPIC_TIMER_INITIAL, ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks);
}

static void mirror_lvt(struct lp *lp, const struct vapic *a, enum vapic_lvt lvt)
{
    uint32_t reg = VAPIC_LVT_TIMER + ((uint32_t)lvt << 4), value = a->lvt[lvt];
    uint32_t vector = value & VAPIC_LVT_VECTOR;
    uint32_t mode = (value & VAPIC_LVT_MODE) >> VAPIC_LVT_MODE_SHIFT;

    // A fixed vector of ours or an illegal one would be taken for something else.
    if (mode == VAPIC_FIXED && (vector >= LP_VECTOR_FIRST || vector < 16))
        value |= VAPIC_LVT_MASKED;
    if (lvt == VAPIC_LINT0 && lp->extint_held)
        value |= VAPIC_LVT_MASKED;
    reg_write(lp, reg, value & ~(uint32_t)(VAPIC_LVT_REMOTE_IRR | 1u << 12));
}

static void mirror_mode(struct lp *lp, const struct vapic *a)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    bool want = (a->base & VAPIC_BASE_X2APIC) && (a->base & VAPIC_BASE_ENABLE);

    if (want == lp->x2apic || !cpu_features.x2apic)
        return;
    if (want) {
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    } else { // only through the disabled state (SDM 3A 11.12.5)
        wrmsr(MSR_APIC_BASE, base & ~(uint64_t)(APIC_BASE_X2APIC | APIC_BASE_ENABLE));
        wrmsr(MSR_APIC_BASE, (base & ~(uint64_t)APIC_BASE_X2APIC) | APIC_BASE_ENABLE);
        for (int word = 0; word < 4; word++)
            lp->in_service[word] = lp->eoi_done[word] = 0;
    }
    lp->x2apic = want;
    lapic_take_over(lp);
    lp_program_timer(lp);
}

// Pays physical EOIs in the only order the APIC knows, highest first: an EOI is held back while a
// higher vector is still in service.
static void pay_eois(struct lp *lp)
{
    for (int word = 3; word >= 0; word--) {
        while (lp->in_service[word]) {
            int bit = 63 - __builtin_clzl(lp->in_service[word]);
            uint64_t mask = 1ul << bit;
            if (!(lp->eoi_done[word] & mask))
                return;
            lp->in_service[word] &= ~mask;
            lp->eoi_done[word] &= ~mask;
            lapic_eoi(lp);
        }
    }
}

// Whoever resets or disables its APIC never sends the EOI of what it forgets by that. The physical
// APIC would hold back all lower interrupts for ever (SDM 3A "Local APIC State After It Has Been
// Software Disabled": nothing is accepted then). A line that still asks is delivered again.
static void settle_eois(struct lp *lp, struct vapic *a)
{
    vapic_merge(a);
    for (int word = 0; word < 4; word++)
        lp->eoi_done[word] |= lp->in_service[word] & ~(a->irr[word] | a->isr[word]);
    pay_eois(lp);
}

void lapic_mirror(struct lp *lp, struct vp *root_vp, const struct vapic_action *action)
{
    struct vapic *a = &root_vp->active->apic;

    if (action->flags & VAPIC_ACT_MODE)
        mirror_mode(lp, a);
    mirror_lvt(lp, a, VAPIC_LINT0);
    mirror_lvt(lp, a, VAPIC_LINT1);
    mirror_lvt(lp, a, VAPIC_THERMAL);
    mirror_lvt(lp, a, VAPIC_PERF);
    if (!lp->x2apic) {
        reg_write(lp, VAPIC_DFR, atomic_load(&a->dfr));
        reg_write(lp, VAPIC_LDR, atomic_load(&a->ldr));
    }
    settle_eois(lp, a);
}

void lapic_hold_extint(struct lp *lp)
{
    struct vp *root = lp->root_vp;
    bool open = (root->rflags & RFLAGS_IF) && !root->shadow &&
                !(root->pending_interruption & HV_PENDING_INTERRUPTION_PENDING);

    if (open || lp->extint_held || !vapic_accepts_extint(&root->active->apic) ||
        (atomic_load(&root->suspend) & VP_SUSPEND_DISPATCH))
        return;
    lp->extint_held = true;
    mirror_lvt(lp, &root->active->apic, VAPIC_LINT0);
    atomic_fetch_or_explicit(&root->work, VP_WORK_INTERRUPT, memory_order_relaxed);
}

void lapic_release_extint(struct lp *lp)
{
    lp->extint_held = false;
    mirror_lvt(lp, &lp->root_vp->active->apic, VAPIC_LINT0);
}

static bool in_service(const struct lp *lp, uint32_t vector)
{
    return reg_read(lp, VAPIC_ISR + (vector >> 5) * 0x10) >> (vector & 31) & 1;
}

static bool level_triggered(const struct lp *lp, uint32_t vector)
{
    return reg_read(lp, VAPIC_TMR + (vector >> 5) * 0x10) >> (vector & 31) & 1;
}

void lp_root_eoi(struct lp *lp, uint8_t vector)
{
    uint64_t mask = 1ul << (vector & 63);

    if (lp->in_service[vector >> 6] & mask) {
        lp->eoi_done[vector >> 6] |= mask;
        pay_eois(lp);
    }
}

void lp_root_reset(struct lp *lp)
{
    for (int word = 0; word < 4; word++)
        lp->eoi_done[word] = lp->in_service[word];
    pay_eois(lp);
}

static void own_vector(struct lp *lp, uint32_t vector)
{
    if (vector == LP_VECTOR_SPURIOUS)
        return;
    lapic_eoi(lp);
    if (vector == LP_VECTOR_TIMER)
        lp->timer_programmed = NEVER;
    if (vector == LP_VECTOR_ERROR) {
        reg_write(lp, VAPIC_ESR, 0);
        hv_log("LP %u: APIC error %#x", lp->index, reg_read(lp, VAPIC_ESR));
    }
}

static void device_vector(struct lp *lp, uint32_t vector)
{
    struct vp *root = lp->root_vp;
    uint64_t mask = 1ul << (vector & 63);
    bool level;

    if (vector < 16 || !in_service(lp, vector)) { // no in-service bit: it came from an 8259
        atomic_fetch_or(&root->extint[vector >> 5], 1u << (vector & 31));
        atomic_fetch_or(&root->extint_any, 1u << (vector >> 5));
        vp_signal(root, VP_WORK_EXTINT);
        return;
    }
    level = level_triggered(lp, vector);
    lp->in_service[vector >> 6] |= mask;
    if (!level)
        lp->eoi_done[vector >> 6] |= mask;
    vp_post_interrupt(root, vector, level);
}

void lp_distribute_interrupts(struct lp *lp)
{
    bool device = false;

    for (int word = 3; word >= 0; word--) {
        uint64_t bits = lp->accepted[word];
        lp->accepted[word] = 0;
        while (bits) {
            uint32_t vector = (uint32_t)(word * 64 + 63 - __builtin_clzl(bits));
            bits &= ~(1ul << (vector & 63));
            if (vector >= LP_VECTOR_FIRST) {
                own_vector(lp, vector);
            } else {
                device_vector(lp, vector);
                device = true;
            }
        }
    }
    if (device)
        pay_eois(lp);
}

_Noreturn void platform_reset(void)
{
    static const struct launch_table nothing = {0, 0};

    outb(0xcf9, 0x02);
    outb(0xcf9, 0x06);
    for (int i = 0; i < 100000; i++)
        cpu_relax();
    outb(0x64, 0xfe);
    for (int i = 0; i < 100000; i++)
        cpu_relax();
    __asm__ volatile("lidt %0; ud2" : : "m"(nothing));
    __builtin_unreachable();
}
