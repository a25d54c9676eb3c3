// SPDX-License-Identifier: BSD-2-Clause-Patent
// TLFS: SynIC MSRs and Messages: what a source does with a message's interrupt, and that each
// virtual processor has registers of its own. Messages are those of a synthetic timer.
//
// rig: --vps 1 --lps 1
// rig: --vps 2 --lps 2
#include "apic.h"
#include "clock.h"
#include "con.h"
#include "cpu.h"
#include "hv/message.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "machine.h"
#include "smp.h"
#include "start.h"
#include "tap.h"
#include "trap.h"

#define SINT   5u
#define VECTOR 0x47u
#define CLASS  (VECTOR >> 4)
#define MS     10000ul // reference time units
#define WAIT   5000ul  // us in which an interrupt that comes would have come

_Alignas(4096) static struct hv_message_page sim;
static volatile uint32_t taken, serviced;

static void source(uint64_t value)
{
    wrmsr(HV_X64_MSR_SINT(SINT), value);
}

static volatile struct hv_message *slot(void)
{
    return &sim.slot[SINT];
}

static void on_message(struct trap_frame *frame)
{
    (void)frame;
    taken++;
    apic_eoi();
}

// A message is in the slot when this returns true; interrupts are as they were.
static bool message_comes(void)
{
    uint64_t start = rdtsc(), ticks = clock_ticks(CLOCK_PATIENCE);
    taken = 0;
    WRITE_ONCE(slot()->header.message_type, HV_MESSAGE_TYPE_NONE);
    wrmsr(HV_X64_MSR_STIMER0_CONFIG,
          HV_STIMER_AUTO_ENABLE | (uint64_t)SINT << HV_STIMER_SINT_SHIFT);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, rdmsr(HV_X64_MSR_TIME_REF_COUNT) + MS);
    while (slot()->header.message_type == HV_MESSAGE_TYPE_NONE && rdtsc() - start < ticks) {
        pause();
    }
    return slot()->header.message_type == HV_MESSAGE_TYPE_TIMER_EXPIRED;
}

// ---- registers ------------------------------------------------------------------------------

struct registers {
    bool reset;
};

static void look_and_change(void *context)
{
    struct registers *r = context;
    r->reset = !rdmsr(HV_X64_MSR_SCONTROL) && !rdmsr(HV_X64_MSR_SIMP) && !rdmsr(HV_X64_MSR_SIEFP) &&
               rdmsr(HV_X64_MSR_SINT(SINT)) == HV_SINT_RESET_VALUE &&
               !rdmsr(HV_X64_MSR_STIMER0_CONFIG) && !rdmsr(HV_X64_MSR_STIMER0_COUNT);
    source(VECTOR + 1);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 78);
}

static void test_own_registers(void)
{
    struct registers r = {false};
    if (machine.cpu_count < 2) {
        tap_skip("one processor", "Each virtual processor has its own copy of these registers");
        return;
    }
    source(VECTOR);
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 77);
    smp_call(1, look_and_change, &r);
    tap_ok(r.reset, "Each virtual processor has its own copy of these registers");
    tap_ok(rdmsr(HV_X64_MSR_SINT(SINT)) == VECTOR && rdmsr(HV_X64_MSR_STIMER0_COUNT) == 77,
           "so they can be programmed independently");
    wrmsr(HV_X64_MSR_STIMER0_COUNT, 0);
}

static void test_registers(void)
{
    bool off = true, accepted = true;
    for (uint32_t i = 0; i < HV_SYNIC_STIMER_COUNT; i++) {
        off &= !rdmsr(HV_X64_MSR_STIMER_CONFIG(i)) && !rdmsr(HV_X64_MSR_STIMER_COUNT(i));
    }
    tap_ok(off, "All synthetic timers are disabled by default");
    for (uint64_t vector = HV_SYNIC_FIRST_VALID_VECTOR; vector < 256; vector++) {
        accepted &= !try_wrmsr(HV_X64_MSR_SINT(SINT), vector).taken &&
                    rdmsr(HV_X64_MSR_SINT(SINT)) == vector;
    }
    tap_ok(accepted, "Valid values for vector are 16-255 inclusive");
    const uint64_t reserved = ~(uint64_t)(HV_SINT_VECTOR_MASK | HV_SINT_POLLING | HV_SINT_AUTO_EOI);
    source(reserved);
    tap_is(rdmsr(HV_X64_MSR_SINT(SINT)), reserved, "SINTx: reserved bits keep their value");
    source(HV_SINT_RESET_VALUE);
    wrmsr(HV_X64_MSR_SCONTROL, ~(uint64_t)HV_SCONTROL_ENABLE);
    tap_is(rdmsr(HV_X64_MSR_SCONTROL), ~(uint64_t)HV_SCONTROL_ENABLE,
           "SCONTROL: reserved bits keep their value");
    wrmsr(HV_X64_MSR_SCONTROL, 0);
}

// ---- the interrupt of a message -------------------------------------------------------------

static void test_priority(void)
{
    source(VECTOR);
    write_cr8(CLASS);
    sti();
    bool came = message_comes();
    clock_delay(WAIT);
    tap_ok(came && taken == 0 && apic_vector_bit(APIC_IRR, VECTOR),
           "The interrupt is not acknowledged until the PPR is less than the vector");
    write_cr8(CLASS - 1);
    barrier();
    tap_is(taken, 1, "and is at once then");
    cli();
    write_cr8(0);
    came = message_comes();
    clock_delay(WAIT);
    tap_ok(came && taken == 0 && apic_vector_bit(APIC_IRR, VECTOR),
           "nor as long as interrupts are masked by the virtual processor");
    sti_nop();
    cli();
    tap_is(taken, 1, "and is when they are not");
}

static void test_apic_disabled(void)
{
    uint32_t svr = apic_read(APIC_SVR);
    apic_write(APIC_SVR, svr & ~APIC_SVR_ENABLE);
    bool came = message_comes();
    apic_write(APIC_SVR, svr | APIC_SVR_ENABLE);
    bool pending = apic_vector_bit(APIC_IRR, VECTOR);
    sti();
    clock_delay(WAIT);
    cli();
    tap_ok(came, "If the APIC is software disabled a message comes all the same");
    tap_ok(!pending && taken == 0, "and its interrupt is lost");
}

static void test_polling(void)
{
    source(HV_SINT_POLLING | VECTOR);
    sti();
    bool came = message_comes();
    clock_delay(WAIT);
    cli();
    tap_ok(came && taken == 0 && !apic_vector_bit(APIC_IRR, VECTOR),
           "Setting the polling bit unmasks a source, except that no interrupt is generated");
    source(HV_SINT_MASKED | VECTOR);
    came = message_comes();
    tap_ok(came && !apic_vector_bit(APIC_IRR, VECTOR), "If the SINTx is masked it is lost");
    source(VECTOR);
    sti();
    clock_delay(WAIT);
    cli();
    tap_is(taken, 0, "also when it is unmasked later");
}

// ---- AutoEOI of interrupts in flight ----------------------------------------------------------

static bool in_service(void)
{
    return apic_vector_bit(APIC_ISR, VECTOR);
}

// In service before the flag is turned on (1), still afterwards (2), not behind the EOI (4).
static void on_turned_on(struct trap_frame *frame)
{
    (void)frame;
    taken++;
    serviced = in_service();
    source(HV_SINT_AUTO_EOI | VECTOR);
    serviced |= in_service() << 1;
    apic_eoi();
    serviced |= !in_service() << 2;
}

static void on_turned_off(struct trap_frame *frame)
{
    (void)frame;
    taken++;
    source(VECTOR);
    serviced |= in_service();
}

static void test_auto_eoi(void)
{
    source(VECTOR);
    trap_set_handler(VECTOR, on_turned_on);
    sti();
    bool came = message_comes();
    clock_delay(WAIT);
    tap_ok(came && taken == 1 && serviced == 7,
           "AutoEOI can be turned on at any time, with an explicit EOI of what is in flight (%u)",
           serviced);
    serviced = 0;
    trap_set_handler(VECTOR, on_turned_off);
    came = message_comes();
    clock_delay(WAIT);
    tap_ok(came && taken == 1 && !serviced, "the next interrupt is never in service");
    trap_set_handler(VECTOR, on_message);
    came = message_comes();
    clock_delay(WAIT);
    cli();
    tap_ok(came && taken == 1 && !in_service(), "turned off, the explicit EOI ends the next");
}

void guest_main(void)
{
    hv_need();
    clock_tsc_hz();
    apic_enable(apic_has_x2());
    if (!tap_is(smp_start_all(), machine.cpu_count, "all processors start")) {
        return;
    }
    hv_setup();
    trap_set_handler(VECTOR, on_message);
    test_registers();
    test_own_registers();
    wrmsr(HV_X64_MSR_SIMP, hv_gpa(&sim) | HV_PAGE_MSR_ENABLE);
    wrmsr(HV_X64_MSR_SCONTROL, HV_SCONTROL_ENABLE);
    test_priority();
    test_apic_disabled();
    test_polling();
    test_auto_eoi();
}
