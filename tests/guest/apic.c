// SPDX-License-Identifier: BSD-2-Clause-Patent
// The local APIC of one processor in both its forms: registers, priorities, EOI order, errors, NMI,
// and the way between the forms.
#include "apic.h"

#include "clock.h"
#include "cpu.h"
#include "hvcall.h"
#include "irqlog.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define LOW_VECTOR   0x41
#define MID_VECTOR   0x51
#define MID2_VECTOR  0x52
#define HIGH_VECTOR  0x61
#define ERROR_VECTOR 0x71

#define ESR_SEND_ILLEGAL (1u << 5)

static const char *form; // which one is under test

static void send_self(uint8_t vector)
{
    apic_ipi(0, ICR_FIXED | ICR_SELF | vector);
}

// ---- registers ------------------------------------------------------------------------------

static void test_registers(void)
{
    uint32_t version = apic_read(APIC_VERSION);
    tap_ok((version & 0xf0) == 0x10 && (version >> 16 & 0xff) >= 3,
           "%s: the version is an integrated APIC's with at least 4 LVT entries (%x)", form,
           version);
    tap_is(apic_id(), cpuid(1, 0).ebx >> 24, "%s: the id is the one that CPUID reports", form);
    bool kept = true;
    for (uint32_t reg = APIC_LVT_LINT0; reg <= APIC_LVT_ERROR; reg += 0x10) {
        apic_write(reg, APIC_LVT_MASKED | 0x33);
        kept &= (apic_read(reg) & 0x100ff) == (APIC_LVT_MASKED | 0x33);
        apic_write(reg, APIC_LVT_MASKED);
    }
    tap_ok(kept, "%s: LVT entries keep vector and mask", form);
}

static void test_lvt_disabled(void)
{
    apic_write(APIC_SVR, 0xff);
    apic_write(APIC_LVT_ERROR, ERROR_VECTOR);
    bool masked = apic_read(APIC_LVT_ERROR) & APIC_LVT_MASKED;
    apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    tap_ok(masked, "%s: LVT entries stay masked while the SVR disables the APIC", form);
    apic_write(APIC_LVT_ERROR, APIC_LVT_MASKED);
}

// ---- fixed interrupts -----------------------------------------------------------------------

static void test_self(void)
{
    irqlog_clear();
    send_self(LOW_VECTOR);
    bool pending = apic_vector_bit(APIC_IRR, LOW_VECTOR);
    bool early = irqlog.count;
    sti_nop();
    cli();
    tap_ok(pending && !early, "%s: with IF clear a self IPI waits in the IRR", form);
    tap_ok(IRQLOG_IS(LOW_VECTOR), "%s: it is taken right after STI, once", form);
    tap_ok(!apic_vector_bit(APIC_IRR, LOW_VECTOR) && !apic_vector_bit(APIC_ISR, LOW_VECTOR),
           "%s: IRR and ISR are clear afterwards", form);

    irqlog_clear();
    sti();
    send_self(LOW_VECTOR);
    bool at_once = irqlog.count == 1;
    cli();
    tap_ok(at_once, "%s: with IF set a self IPI is taken before the next statement", form);

    irqlog_clear();
    for (int i = 0; i < 3; i++) {
        send_self(LOW_VECTOR);
    }
    sti_nop();
    cli();
    tap_ok(IRQLOG_IS(LOW_VECTOR), "%s: three while it is pending are one", form);
    if (apic_is_x2()) {
        irqlog_clear();
        apic_write(APIC_SELF_IPI, MID_VECTOR);
        sti_nop();
        cli();
        tap_ok(IRQLOG_IS(MID_VECTOR), "%s: the SELF IPI register works", form);
    }
}

static void test_priority(void)
{
    irqlog_clear();
    send_self(LOW_VECTOR);
    send_self(HIGH_VECTOR);
    send_self(MID_VECTOR);
    sti_nop();
    cli();
    tap_ok(IRQLOG_IS(HIGH_VECTOR, MID_VECTOR, LOW_VECTOR),
           "%s: pending interrupts are taken highest first", form);
}

static void test_tpr(void)
{
    irqlog_clear();
    apic_write(APIC_TPR, 0x50);
    uint64_t cr8 = read_cr8();
    uint32_t ppr = apic_read(APIC_PPR);
    send_self(LOW_VECTOR);
    send_self(MID2_VECTOR);
    send_self(HIGH_VECTOR);
    sti_nop();
    tap_ok(IRQLOG_IS(HIGH_VECTOR), "%s: TPR 0x50 lets only higher classes through", form);
    tap_ok(cr8 == 5 && (ppr & 0xf0) == 0x50, "%s: CR8 and PPR show it (%lx, %x)", form, cr8, ppr);
    write_cr8(4);
    tap_ok(IRQLOG_IS(HIGH_VECTOR, MID2_VECTOR),
           "%s: lowering CR8 to 4 lets class 5 through at once", form);
    tap_is(apic_read(APIC_TPR), 0x40, "%s: and the TPR register shows it", form);
    apic_write(APIC_TPR, 0);
    tap_ok(IRQLOG_IS(HIGH_VECTOR, MID2_VECTOR, LOW_VECTOR),
           "%s: lowering the TPR lets the last one through at once", form);
    cli();
}

static volatile struct nesting {
    bool both_in_service, high_done, same_class_waited, lower_waited;
} nesting;

static void high_inside(struct trap_frame *frame)
{
    (void)frame;
    nesting.both_in_service =
        apic_vector_bit(APIC_ISR, HIGH_VECTOR) && apic_vector_bit(APIC_ISR, MID_VECTOR);
    apic_eoi();
    nesting.high_done =
        !apic_vector_bit(APIC_ISR, HIGH_VECTOR) && apic_vector_bit(APIC_ISR, MID_VECTOR);
}

static void mid_outside(struct trap_frame *frame)
{
    (void)frame;
    uint32_t before = irqlog.count;
    send_self(LOW_VECTOR);
    send_self(MID2_VECTOR);
    send_self(HIGH_VECTOR);
    sti_nop();
    nesting.same_class_waited = apic_vector_bit(APIC_IRR, MID2_VECTOR) && irqlog.count == before;
    nesting.lower_waited = apic_vector_bit(APIC_IRR, LOW_VECTOR);
    cli();
    apic_eoi();
}

static void test_nesting(void)
{
    irqlog_clear();
    nesting = (struct nesting){0};
    trap_set_handler(MID_VECTOR, mid_outside);
    trap_set_handler(HIGH_VECTOR, high_inside);
    send_self(MID_VECTOR);
    sti_nop();
    cli();
    irqlog_watch(MID_VECTOR);
    irqlog_watch(HIGH_VECTOR);
    tap_ok(nesting.both_in_service, "%s: a higher interrupt nests in a lower one's handler", form);
    tap_ok(nesting.high_done, "%s: EOI ends the higher one first", form);
    tap_ok(nesting.same_class_waited, "%s: one of the same class waits for the EOI", form);
    tap_ok(nesting.lower_waited, "%s: so does one of a lower class", form);
    tap_ok(IRQLOG_IS(MID2_VECTOR, LOW_VECTOR), "%s: both come after it", form);
}

static void again_inside(struct trap_frame *frame)
{
    (void)frame;
    if (irqlog.count++ == 0) {
        send_self(LOW_VECTOR);
    }
    apic_eoi();
}

static void test_again(void)
{
    irqlog_clear();
    trap_set_handler(LOW_VECTOR, again_inside);
    send_self(LOW_VECTOR);
    sti_nop();
    cli();
    irqlog_watch(LOW_VECTOR);
    tap_is(irqlog.count, 2, "%s: one that comes while it is in service is taken after the EOI",
           form);
}

static void test_disabled(void)
{
    irqlog_clear();
    apic_write(APIC_SVR, 0xff);
    send_self(LOW_VECTOR);
    sti_nop();
    cli();
    tap_is(irqlog.count, 0, "%s: an APIC that the SVR disables takes no fixed interrupt", form);
    apic_enable(apic_is_x2());
    irqlog_clear();
    send_self(MID_VECTOR);
    sti_nop();
    cli();
    tap_ok(irqlog.count && irqlog.vector[0] == MID_VECTOR, "%s: enabled again it does", form);
}

// ---- errors, NMI ----------------------------------------------------------------------------

static void test_errors(void)
{
    irqlog_clear();
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
    apic_write(APIC_LVT_ERROR, ERROR_VECTOR);
    send_self(5);
    apic_write(APIC_ESR, 0);
    uint32_t esr = apic_read(APIC_ESR);
    sti_nop();
    cli();
    tap_ok(esr & ESR_SEND_ILLEGAL, "%s: sending vector 5 is an error in the ESR (%x)", form, esr);
    tap_ok(IRQLOG_IS(ERROR_VECTOR), "%s: and raises the error interrupt", form);
    apic_write(APIC_ESR, 0);
    tap_is(apic_read(APIC_ESR), 0, "%s: writing the ESR clears what was read", form);
    apic_write(APIC_LVT_ERROR, APIC_LVT_MASKED);
}

static volatile uint32_t nmis, nmi_nested;

static void on_nmi(struct trap_frame *frame)
{
    (void)frame;
    static volatile bool inside;
    nmi_nested += inside;
    inside = true;
    if (nmis++ == 0) {
        apic_ipi(apic_id(), ICR_NMI);
        apic_ipi(apic_id(), ICR_NMI);
        clock_delay(100);
    }
    inside = false;
}

static void test_nmi(void)
{
    nmis = nmi_nested = 0;
    trap_set_handler(VECTOR_NMI, on_nmi);
    apic_ipi(apic_id(), ICR_NMI);
    clock_wait(&nmis, 2, CLOCK_PATIENCE);
    clock_delay(1000);
    trap_set_handler(VECTOR_NMI, 0);
    tap_ok(nmis >= 1, "%s: an NMI to itself is taken with IF clear", form);
    tap_is(nmi_nested, 0, "%s: none nests before IRET", form);
    tap_is(nmis, 2, "%s: of those that came meanwhile one is taken after IRET", form);
}

// ---- the forms ------------------------------------------------------------------------------

static void test_x2_faults(void)
{
    static const struct {
        uint32_t msr;
        const char *what;
    } reads[] = {{0x80b, "EOI"},
                 {0x83f, "SELF IPI"},
                 {0x80e, "the DFR"},
                 {0x831, "ICR high"},
                 {0x800, "a reserved register"}};
    static const struct {
        uint32_t msr;
        uint64_t value;
        const char *what;
    } writes[] = {{0x802, 0, "the id"},
                  {0x803, 0, "the version"},
                  {0x80b, 1, "1 to EOI"},
                  {0x828, 1, "1 to the ESR"},
                  {0x80d, 1, "the LDR"},
                  {0x820, 0, "the IRR"},
                  {0x80f, 1ull << 20, "reserved bits of the SVR"},
                  {0x808, 0x100, "reserved bits of the TPR"}};
    for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        struct trap trap = try_rdmsr(reads[i].msr, 0);
        tap_ok(trap.taken && trap.vector == VECTOR_GP && trap.error == 0,
               "x2APIC: reading %s is #GP(0)", reads[i].what);
    }
    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        struct trap trap = try_wrmsr(writes[i].msr, writes[i].value);
        tap_ok(trap.taken && trap.vector == VECTOR_GP && trap.error == 0,
               "x2APIC: writing %s is #GP(0)", writes[i].what);
    }
}

static void test_transitions(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    struct trap trap = try_wrmsr(MSR_APIC_BASE, base & ~APIC_BASE_X2APIC);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "leaving x2APIC for xAPIC directly is #GP");
    trap = try_wrmsr(MSR_APIC_BASE, (base & ~APIC_BASE_ENABLE) | APIC_BASE_X2APIC);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "x2APIC without enable is #GP");
    trap = try_wrmsr(MSR_APIC_BASE, base | 1ull << 60);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "reserved bits of APIC_BASE are #GP");
    tap_is(rdmsr(MSR_APIC_BASE), base, "and nothing has changed");
    apic_enable(false);
    tap_ok(!apic_is_x2(), "xAPIC is reached by way of the disabled state");
    trap = try_rdmsr(0x802, 0);
    tap_ok(trap.taken && trap.vector == VECTOR_GP, "x2APIC registers are #GP in xAPIC form");
    bool offered = cpuid(1, 0).edx >> 9 & 1;
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~APIC_BASE_ENABLE);
    bool hidden = !(cpuid(1, 0).edx >> 9 & 1);
    apic_enable(false);
    tap_ok(offered && hidden, "CPUID's APIC bit follows the enable bit");
}

static void test_form(bool x2)
{
    form = x2 ? "x2APIC" : "xAPIC";
    apic_enable(x2);
    if (!tap_ok(apic_is_x2() == x2, "%s: the form can be entered", form)) {
        return;
    }
    test_registers();
    test_self();
    test_priority();
    test_tpr();
    test_nesting();
    test_again();
    test_disabled();
    test_nmi();
    if (hv_present()) {
        test_lvt_disabled();
        test_errors();
    } else {
        tap_skip("the emulator's own APIC has no such checks", "%s: errors", form);
    }
}

void guest_main(void)
{
    static const uint8_t watched[] = {LOW_VECTOR, MID_VECTOR, MID2_VECTOR, HIGH_VECTOR,
                                      ERROR_VECTOR};
    for (unsigned i = 0; i < sizeof(watched); i++) {
        irqlog_watch(watched[i]);
    }
    tap_ok(rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP, "the boot processor has the BSP flag");
    clock_tsc_hz();
    test_form(false);
    if (!apic_has_x2()) {
        tap_skip("not offered", "x2APIC");
        return;
    }
    test_form(true);
    if (hv_present()) {
        test_x2_faults();
    }
    test_transitions();
}
