// SPDX-License-Identifier: BSD-2-Clause-Patent
// Virtual APIC: register access in its three forms. One table says which registers exist in which
// form and which bits may be written; the switches below hold only what is special to a register.
// SDM 3A "Local APIC Register Address Map", "x2APIC Register Address Space"; TLFS: Local APIC MSR
// Accesses.
#include "hv/msr.h"
#include "vapic_priv.h"

#define REG_COUNT 64u

enum rights {
    XAPIC = 1u << 0, // exists in the page; writes to read-only registers are dropped there
    MSR_READ = 1u << 1,
    MSR_WRITE = 1u << 2
};

struct reg_desc {
    uint8_t rights;
    uint32_t writable; // other bits: dropped in xAPIC form, #GP in x2APIC form
    uint32_t ignored;  // read-only bits that software may write back without #GP
};

#define LVT_IGNORED (1u << 12) // delivery status
// clang-format 14 takes the braces for a block.
// clang-format off
#define READ_ONLY {XAPIC | MSR_READ, 0, 0}
// clang-format on
#define READ_WRITE (XAPIC | MSR_READ | MSR_WRITE)
#define BITMAP(index)                                                                              \
    [(index)] = READ_ONLY, [(index) + 1] = READ_ONLY, [(index) + 2] = READ_ONLY,                   \
    [(index) + 3] = READ_ONLY, [(index) + 4] = READ_ONLY, [(index) + 5] = READ_ONLY,               \
    [(index) + 6] = READ_ONLY, [(index) + 7] = READ_ONLY

static const struct reg_desc regs[REG_COUNT] = {
    [VAPIC_ID >> 4] = READ_ONLY,
    [VAPIC_VER >> 4] = READ_ONLY,
    [VAPIC_TPR >> 4] = {READ_WRITE, 0xff, 0},
    [VAPIC_APR >> 4] = {XAPIC, 0, 0},
    [VAPIC_PPR >> 4] = READ_ONLY,
    [VAPIC_EOI >> 4] = {XAPIC | MSR_WRITE, 0, 0},
    [VAPIC_RRD >> 4] = {XAPIC, 0, 0},
    [VAPIC_LDR >> 4] = {XAPIC | MSR_READ, 0xff000000, 0},
    [VAPIC_DFR >> 4] = {XAPIC, 0xf0000000, 0},
    [VAPIC_SVR >> 4] = {READ_WRITE, 0x3ff, 0},
    BITMAP(VAPIC_ISR >> 4),
    BITMAP(VAPIC_TMR >> 4),
    BITMAP(VAPIC_IRR >> 4),
    [VAPIC_ESR >> 4] = {READ_WRITE, 0, 0},
    [VAPIC_ICR >> 4] = {READ_WRITE, VAPIC_ICR_WRITABLE, VAPIC_ICR_IGNORED},
    [VAPIC_ICR2 >> 4] = {XAPIC, 0xff000000, 0},
    [VAPIC_LVT_TIMER >> 4] = {READ_WRITE, 0x700ff, LVT_IGNORED},
    [VAPIC_LVT_THERMAL >> 4] = {READ_WRITE, 0x107ff, LVT_IGNORED},
    [VAPIC_LVT_PERF >> 4] = {READ_WRITE, 0x107ff, LVT_IGNORED},
    [VAPIC_LVT_LINT0 >> 4] = {READ_WRITE, 0x1a7ff, LVT_IGNORED | VAPIC_LVT_REMOTE_IRR},
    [VAPIC_LVT_LINT1 >> 4] = {READ_WRITE, 0x1a7ff, LVT_IGNORED | VAPIC_LVT_REMOTE_IRR},
    [VAPIC_LVT_ERROR >> 4] = {READ_WRITE, 0x100ff, LVT_IGNORED},
    [VAPIC_TIMER_INITIAL >> 4] = {READ_WRITE, 0xffffffff, 0},
    [VAPIC_TIMER_CURRENT >> 4] = READ_ONLY,
    [VAPIC_TIMER_DIVIDE >> 4] = {READ_WRITE, 0xb, 0},
    [VAPIC_SELF_IPI >> 4] = {MSR_WRITE, 0xff, 0},
};

static bool is_lvt(uint32_t index)
{
    return index - (VAPIC_LVT_TIMER >> 4) < VAPIC_LVT_COUNT;
}

static uint32_t bitmap_read(const uint64_t map[VAPIC_WORDS], uint32_t part)
{
    return (uint32_t)(map[part >> 1] >> (part & 1) * 32);
}

// ---- read ------------------------------------------------------------------------------------

static uint32_t read_bitmap(struct vapic *a, uint32_t index)
{
    if (index < VAPIC_TMR >> 4)
        return bitmap_read(a->isr, index & 7);
    vapic_merge(a);
    return bitmap_read(index < VAPIC_IRR >> 4 ? a->tmr : a->irr, index & 7);
}

// A register that exists; `index` < REG_COUNT.
static uint32_t read_reg(struct vapic *a, uint32_t index, uint64_t now)
{
    vapic_settle(a);
    if (is_lvt(index))
        return a->lvt[index - (VAPIC_LVT_TIMER >> 4)];
    if (index >= VAPIC_ISR >> 4 && index < VAPIC_ESR >> 4)
        return read_bitmap(a, index);
    switch (index << 4) {
    case VAPIC_ID:
        return vapic_x2apic(a) ? VAPIC_LOAD(a->id) : VAPIC_LOAD(a->id) << 24;
    case VAPIC_VER:
        return VAPIC_VERSION;
    case VAPIC_TPR:
        return VAPIC_LOAD(a->tpr);
    case VAPIC_PPR:
        return a->ppr;
    case VAPIC_LDR:
        return VAPIC_LOAD(a->ldr);
    case VAPIC_DFR:
        return VAPIC_LOAD(a->dfr);
    case VAPIC_SVR:
        return a->svr;
    case VAPIC_ESR:
        return a->esr;
    case VAPIC_ICR:
        return (uint32_t)a->icr;
    case VAPIC_ICR2:
        return (uint32_t)(a->icr >> 32);
    case VAPIC_TIMER_INITIAL:
        return a->timer_initial;
    case VAPIC_TIMER_CURRENT:
        return vapic_timer_read_current(a, now);
    case VAPIC_TIMER_DIVIDE:
        return a->timer_divide;
    default: // APR and RRD, gone since the Pentium 4, and EOI
        return 0;
    }
}

// ---- write -----------------------------------------------------------------------------------

static void do_eoi(struct vapic *a, struct vapic_action *action)
{
    int vector = vapic_eoi(a);

    if (vector < 0)
        return;
    action->flags |= VAPIC_ACT_EOI | VAPIC_ACT_PENDING;
    if (vector & VAPIC_EOI_WAS_LEVEL)
        action->flags |= VAPIC_ACT_EOI_LEVEL;
    action->eoi_vector = (uint8_t)vector;
}

static void do_tpr(struct vapic *a, uint8_t tpr, struct vapic_action *action)
{
    vapic_set_tpr(a, tpr);
    action->flags |= VAPIC_ACT_TPR | VAPIC_ACT_PENDING;
}

// SDM 3A "Local APIC State After It Has Been Software Disabled": what is in IRR and ISR stays, all
// LVT entries are masked. What was posted before the switch belongs to the state before it.
static void write_svr(struct vapic *a, uint32_t value, uint64_t now)
{
    vapic_timer_expire(a, now);
    vapic_merge(a);
    a->svr = value;
    if (!(value & VAPIC_SVR_ENABLE))
        for (uint32_t i = 0; i < VAPIC_LVT_COUNT; i++)
            a->lvt[i] |= VAPIC_LVT_MASKED;
    vapic_publish_mode(a);
}

// The timer's reserved mode (11b) leaves the mode as it was.
static void write_lvt(struct vapic *a, uint32_t lvt, uint32_t value, uint64_t now)
{
    if (!(a->svr & VAPIC_SVR_ENABLE))
        value |= VAPIC_LVT_MASKED;
    if (lvt != VAPIC_TIMER) {
        a->lvt[lvt] = value | (a->lvt[lvt] & VAPIC_LVT_REMOTE_IRR);
        return;
    }
    if (!(a->flags & VAPIC_FLAG_TSC_DEADLINE))
        value &= ~(uint32_t)VAPIC_LVT_DEADLINE;
    if ((value & VAPIC_LVT_TIMER_MODE) == VAPIC_LVT_TIMER_MODE)
        value = (value & ~(uint32_t)VAPIC_LVT_TIMER_MODE) | (a->lvt[lvt] & VAPIC_LVT_TIMER_MODE);
    vapic_timer_write_lvt(a, value, now);
}

static void write_mirrored(struct vapic *a, uint32_t index, uint32_t value, uint64_t now,
                           struct vapic_action *action)
{
    if (is_lvt(index))
        write_lvt(a, index - (VAPIC_LVT_TIMER >> 4), value, now);
    else if (index == VAPIC_SVR >> 4)
        write_svr(a, value, now);
    else if (index == VAPIC_LDR >> 4)
        VAPIC_STORE(a->ldr, value);
    else
        VAPIC_STORE(a->dfr, value | 0x0fffffff);
    action->flags |= VAPIC_ACT_MIRROR | VAPIC_ACT_TIMER | VAPIC_ACT_PENDING;
    action->reg = (uint16_t)(index << 4);
}

// `value` has its reserved bits removed; read-only registers end in the default.
static void write_reg(struct vapic *a, uint32_t index, uint32_t value, uint64_t now,
                      struct vapic_action *action)
{
    if (is_lvt(index)) {
        write_mirrored(a, index, value, now, action);
        return;
    }
    switch (index << 4) {
    case VAPIC_TPR:
        do_tpr(a, (uint8_t)value, action);
        break;
    case VAPIC_EOI:
        do_eoi(a, action);
        break;
    case VAPIC_LDR:
    case VAPIC_DFR:
    case VAPIC_SVR:
        write_mirrored(a, index, value, now, action);
        break;
    case VAPIC_ESR:
        a->esr = a->esr_pending;
        a->esr_pending = 0;
        break;
    case VAPIC_ICR:
        vapic_write_icr(a, (a->icr & 0xffffffff00000000) | value, action);
        break;
    case VAPIC_ICR2:
        a->icr = (a->icr & 0xffffffff) | (uint64_t)value << 32;
        break;
    case VAPIC_TIMER_INITIAL:
        vapic_timer_write_initial(a, value, now);
        action->flags |= VAPIC_ACT_TIMER | VAPIC_ACT_PENDING;
        break;
    case VAPIC_TIMER_DIVIDE:
        vapic_timer_write_divide(a, value, now);
        action->flags |= VAPIC_ACT_TIMER | VAPIC_ACT_PENDING;
        break;
    case VAPIC_SELF_IPI:
        vapic_self_ipi(a, (uint8_t)value, action);
        break;
    default:
        break;
    }
}

// ---- the page --------------------------------------------------------------------------------

static bool xapic_mode(const struct vapic *a)
{
    return (a->base & (VAPIC_BASE_ENABLE | VAPIC_BASE_X2APIC)) == VAPIC_BASE_ENABLE;
}

static bool exists(uint32_t index)
{
    return index < REG_COUNT && (regs[index].rights & XAPIC);
}

uint32_t vapic_read_mmio(struct vapic *a, uint32_t offset, uint64_t now)
{
    uint32_t index = offset >> 4;

    if (!xapic_mode(a))
        return 0xffffffff;
    if (!exists(index)) {
        vapic_error(a, VAPIC_ESR_ILLEGAL_REGISTER);
        return 0;
    }
    if (offset & 0xc)
        return 0;
    return read_reg(a, index, now) >> (offset & 3) * 8;
}

void vapic_write_mmio(struct vapic *a, uint32_t offset, uint32_t value, uint64_t now,
                      struct vapic_action *action)
{
    uint32_t index = offset >> 4;

    action->flags = 0;
    if (!xapic_mode(a))
        return;
    if (!exists(index)) {
        vapic_error(a, VAPIC_ESR_ILLEGAL_REGISTER);
        action->flags = VAPIC_ACT_PENDING;
        return;
    }
    if (!(offset & 0xf))
        write_reg(a, index, value & regs[index].writable, now, action);
}

// ---- MSRs ------------------------------------------------------------------------------------

static enum vapic_result read_x2apic(struct vapic *a, uint32_t index, uint64_t now, uint64_t *value)
{
    if (!vapic_x2apic(a) || index >= REG_COUNT || !(regs[index].rights & MSR_READ))
        return VAPIC_GP;
    *value = index == VAPIC_ICR >> 4 ? a->icr : read_reg(a, index, now);
    return VAPIC_OK;
}

// The timer's reserved mode and an absent deadline mode count as reserved bits.
static bool lvt_timer_reserved(const struct vapic *a, uint32_t value)
{
    if (!(a->flags & VAPIC_FLAG_TSC_DEADLINE) && (value & VAPIC_LVT_DEADLINE))
        return true;
    return (value & VAPIC_LVT_TIMER_MODE) == VAPIC_LVT_TIMER_MODE;
}

static enum vapic_result write_x2apic(struct vapic *a, uint32_t index, uint64_t value, uint64_t now,
                                      struct vapic_action *action)
{
    if (!vapic_x2apic(a) || index >= REG_COUNT || !(regs[index].rights & MSR_WRITE))
        return VAPIC_GP;
    const struct reg_desc *reg = &regs[index];
    uint32_t low = (uint32_t)value;

    if (low & ~(reg->writable | reg->ignored))
        return VAPIC_GP;
    if (index == VAPIC_ICR >> 4) {
        vapic_write_icr(a, value & ~(uint64_t)VAPIC_ICR_IGNORED, action);
        return VAPIC_OK;
    }
    if (value >> 32)
        return VAPIC_GP;
    if (index == VAPIC_LVT_TIMER >> 4 && lvt_timer_reserved(a, low))
        return VAPIC_GP;
    write_reg(a, index, low & reg->writable, now, action);
    return VAPIC_OK;
}

static bool base_legal(const struct vapic *a, uint64_t value)
{
    const uint64_t known = VAPIC_BASE_PA | VAPIC_BASE_BSP | VAPIC_BASE_X2APIC | VAPIC_BASE_ENABLE;

    if ((value & ~known) || (value & VAPIC_BASE_PA) != VAPIC_BASE_PA)
        return false;
    if (!(value & VAPIC_BASE_X2APIC))
        return true;
    return (a->flags & VAPIC_FLAG_X2APIC) && (value & VAPIC_BASE_ENABLE);
}

// SDM 3A "x2APIC State Transitions": x2APIC is entered from xAPIC only and left by disabling only.
// Disabling loses all state. TLFS: Local APIC allows a base that does not move.
static enum vapic_result write_base(struct vapic *a, uint64_t value, struct vapic_action *action)
{
    const uint64_t mode_bits = VAPIC_BASE_ENABLE | VAPIC_BASE_X2APIC;
    uint64_t old = a->base & mode_bits;
    uint64_t mode = value & mode_bits;

    if (!base_legal(a, value))
        return VAPIC_GP;
    if (mode == old)
        return VAPIC_OK;
    if ((mode & VAPIC_BASE_X2APIC) ? !(old & VAPIC_BASE_ENABLE) : mode && (old & VAPIC_BASE_X2APIC))
        return VAPIC_GP;
    a->base = (a->base & ~mode_bits) | mode;
    if (mode & VAPIC_BASE_X2APIC) {
        VAPIC_STORE(a->id, a->initial_id);
        VAPIC_STORE(a->ldr, vapic_x2apic_ldr(a->initial_id));
        a->icr &= 0xffffffff;
        vapic_publish_mode(a);
    } else {
        vapic_reset_registers(a);
    }
    action->flags = VAPIC_ACT_MODE | VAPIC_ACT_TIMER | VAPIC_ACT_TPR;
    return VAPIC_OK;
}

static enum vapic_result read_synthetic(const struct vapic *a, uint32_t msr, uint64_t *value)
{
    if (!vapic_hw_enabled(a) || msr == HV_X64_MSR_EOI)
        return VAPIC_GP;
    *value = msr == HV_X64_MSR_ICR ? a->icr : VAPIC_LOAD(a->tpr);
    return VAPIC_OK;
}

// Guests leave garbage in EDX (the TLFS's own EOI sequence does): reserved bits are dropped.
static enum vapic_result write_synthetic(struct vapic *a, uint32_t msr, uint64_t value,
                                         struct vapic_action *action)
{
    uint64_t high = vapic_x2apic(a) ? 0xffffffff00000000 : 0xff00000000000000;

    if (!vapic_hw_enabled(a))
        return VAPIC_GP;
    if (msr == HV_X64_MSR_EOI)
        do_eoi(a, action);
    else if (msr == HV_X64_MSR_ICR)
        vapic_write_icr(a, value & (high | VAPIC_ICR_WRITABLE), action);
    else
        do_tpr(a, (uint8_t)value, action);
    return VAPIC_OK;
}

enum vapic_result vapic_read_msr(struct vapic *a, uint32_t msr, uint64_t now, uint64_t *value)
{
    if (msr - VAPIC_MSR_X2APIC < 0x100)
        return read_x2apic(a, msr - VAPIC_MSR_X2APIC, now, value);
    if (msr - HV_X64_MSR_EOI <= HV_X64_MSR_TPR - HV_X64_MSR_EOI)
        return read_synthetic(a, msr, value);
    if (msr == VAPIC_MSR_BASE) {
        *value = a->base;
        return VAPIC_OK;
    }
    if (msr != VAPIC_MSR_TSC_DEADLINE || !(a->flags & VAPIC_FLAG_TSC_DEADLINE))
        return VAPIC_GP;
    *value = vapic_timer_read_deadline(a, now);
    return VAPIC_OK;
}

enum vapic_result vapic_write_msr(struct vapic *a, uint32_t msr, uint64_t value, uint64_t now,
                                  struct vapic_action *action)
{
    action->flags = 0;
    if (msr - VAPIC_MSR_X2APIC < 0x100)
        return write_x2apic(a, msr - VAPIC_MSR_X2APIC, value, now, action);
    if (msr - HV_X64_MSR_EOI <= HV_X64_MSR_TPR - HV_X64_MSR_EOI)
        return write_synthetic(a, msr, value, action);
    if (msr == VAPIC_MSR_BASE)
        return write_base(a, value, action);
    if (msr != VAPIC_MSR_TSC_DEADLINE || !(a->flags & VAPIC_FLAG_TSC_DEADLINE))
        return VAPIC_GP;
    vapic_timer_write_deadline(a, value, now);
    action->flags = VAPIC_ACT_TIMER | VAPIC_ACT_PENDING;
    return VAPIC_OK;
}

// ---- whole register files --------------------------------------------------------------------

static uint64_t image_bits(const struct vapic_image *image, uint32_t reg, uint32_t word)
{
    const uint32_t *part = &image->regs[(reg >> 4) + word * 2];

    return part[0] | (uint64_t)part[1] << 32;
}

static void import_bitmaps(struct vapic *a, const struct vapic_image *image)
{
    for (uint32_t w = 0; w < VAPIC_WORDS; w++) {
        uint64_t legal = w ? UINT64_MAX : ~UINT64_C(0xffff);

        a->isr[w] = image_bits(image, VAPIC_ISR, w) & legal;
        a->tmr[w] = image_bits(image, VAPIC_TMR, w) & legal;
        a->irr[w] = image_bits(image, VAPIC_IRR, w) & legal;
    }
    vapic_set_tpr(a, (uint8_t)image->regs[VAPIC_TPR >> 4]);
}

static void import_lvt(struct vapic *a, const struct vapic_image *image)
{
    for (uint32_t i = 0; i < VAPIC_LVT_COUNT; i++) {
        uint32_t index = (VAPIC_LVT_TIMER >> 4) + i;
        uint32_t keep = regs[index].writable;

        if (i == VAPIC_LINT0 || i == VAPIC_LINT1)
            keep |= VAPIC_LVT_REMOTE_IRR;
        if (i == VAPIC_TIMER && lvt_timer_reserved(a, image->regs[index]))
            keep &= ~(uint32_t)VAPIC_LVT_TIMER_MODE;
        a->lvt[i] = image->regs[index] & keep;
        if (!(a->svr & VAPIC_SVR_ENABLE))
            a->lvt[i] |= VAPIC_LVT_MASKED;
    }
}

enum vapic_result vapic_import(struct vapic *a, const struct vapic_image *image, uint64_t now)
{
    const uint32_t *r = image->regs;
    bool x2apic = image->apic_base & VAPIC_BASE_X2APIC;

    if (!base_legal(a, image->apic_base))
        return VAPIC_GP;
    a->base = image->apic_base;
    vapic_reset_registers(a);
    if (!vapic_hw_enabled(a))
        return VAPIC_OK;
    a->initial_id = x2apic ? r[VAPIC_ID >> 4] : r[VAPIC_ID >> 4] >> 24;
    VAPIC_STORE(a->id, a->initial_id);
    VAPIC_STORE(a->ldr, x2apic ? vapic_x2apic_ldr(a->initial_id) : r[VAPIC_LDR >> 4] & 0xff000000);
    if (!x2apic)
        VAPIC_STORE(a->dfr, r[VAPIC_DFR >> 4] | 0x0fffffff);
    a->svr = r[VAPIC_SVR >> 4] & regs[VAPIC_SVR >> 4].writable;
    vapic_publish_mode(a);
    a->esr = r[VAPIC_ESR >> 4];
    a->icr = (uint64_t)(r[VAPIC_ICR2 >> 4] & (x2apic ? 0xffffffff : 0xff000000)) << 32;
    a->icr |= r[VAPIC_ICR >> 4] & VAPIC_ICR_WRITABLE;
    import_bitmaps(a, image);
    import_lvt(a, image);
    a->timer_divide = r[VAPIC_TIMER_DIVIDE >> 4] & regs[VAPIC_TIMER_DIVIDE >> 4].writable;
    vapic_timer_import(a, image, now);
    return VAPIC_OK;
}

void vapic_export(struct vapic *a, struct vapic_image *image, uint64_t now)
{
    vapic_timer_expire(a, now);
    image->apic_base = a->base;
    image->tsc_deadline = vapic_timer_read_deadline(a, now);
    for (uint32_t i = 0; i < REG_COUNT; i++)
        image->regs[i] = exists(i) ? read_reg(a, i, now) : 0;
}
