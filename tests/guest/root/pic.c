// SPDX-License-Identifier: BSD-2-Clause-Patent
// An 8259's interrupts reach the root as ExtINT, and only when the root takes them: what is
// withdrawn while RFLAGS.IF is clear has never been (Intel 8259A data sheet, "Interrupt Sequence").
// rig: --lps 1
// rig: --lps 2
#include "cpu.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"
#include "trap.h"

#define PIC1_COMMAND 0x20
#define PIC1_DATA    0x21
#define PIC2_DATA    0xa1
#define PIT_CHANNEL0 0x40
#define PIT_COMMAND  0x43

#define ICW1_INIT_ICW4 0x11
#define ICW3_CASCADE   0x04
#define ICW4_8086      0x01
#define OCW2_EOI       0x20
#define OCW3_READ_ISR  0x0b
#define PIT_RATE_0     0x34 // channel 0, low and high byte, rate generator
#define PIT_HZ         1193182u

#define APIC_EOI    (*(volatile uint32_t *)0xfee000b0)
#define APIC_LINT0  (*(volatile uint32_t *)0xfee00350)
#define LINT_EXTINT 0x700u
#define LINT_MASKED 0x10000u

#define BASE           0x50 // of the master's vectors
#define FIRMWARE_TIMER 0x20
#define MASK_ALL       0xff
#define MASK_BUT_TIMER 0xfe
#define MS             1000u

static volatile uint32_t ticks, wrong, spurious;
static volatile uint64_t wrong_vector;

static void on_tick(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    out8(PIC1_COMMAND, OCW2_EOI);
}

// A rate generator's line is low for one clock of each period. An acknowledge that falls there gets
// the vector of line 7, which is then not in service (Intel 8259A, "Interrupt Sequence").
static void on_wrong(struct trap_frame *frame)
{
    out8(PIC1_COMMAND, OCW3_READ_ISR);
    if (frame->vector == BASE + 7 && !(in8(PIC1_COMMAND) & 0x80)) {
        spurious++;
        return;
    }
    wrong_vector = frame->vector;
    wrong++;
}

static void on_firmware_timer(struct trap_frame *frame)
{
    (void)frame;
    APIC_EOI = 0;
}

static void tick_at(uint32_t hz)
{
    uint32_t count = PIT_HZ / hz;
    out8(PIT_COMMAND, PIT_RATE_0);
    out8(PIT_CHANNEL0, (uint8_t)count);
    out8(PIT_CHANNEL0, (uint8_t)(count >> 8));
}

// ICW1 clears the mask and with it, on some, the vectors; between it and ICW2 the timer asks.
static void pic_init(uint8_t mask, uint32_t pause_us)
{
    out8(PIC1_COMMAND, ICW1_INIT_ICW4);
    delay_us(pause_us);
    out8(PIC1_DATA, BASE);
    out8(PIC1_DATA, ICW3_CASCADE);
    out8(PIC1_DATA, ICW4_8086);
    out8(PIC1_DATA, mask);
}

// The ticks of 100 ms come, however late a busy host brings them.
static bool ticks_come(void)
{
    for (uint32_t us = 0; ticks < 100 && us < PATIENCE_US; us += MS) {
        sti();
        delay_us(MS);
        cli();
    }
    return ticks >= 100;
}

static void body(void *context)
{
    (void)context;
    out8(PIC2_DATA, MASK_ALL);
    APIC_LINT0 = LINT_EXTINT;
    tick_at(1000);

    pic_init(MASK_BUT_TIMER, 0);
    bool come = ticks_come();
    tap_ok(come && wrong == 0, "ticks come as ExtINT: %u, and %u others", ticks, wrong);

    pic_init(MASK_ALL, 0);
    ticks = 0;
    uint32_t before = spurious;
    for (int round = 0; round < 20; round++) {
        pic_init(MASK_ALL, 5 * MS);
        sti();
        delay_us(1 * MS);
        cli();
    }
    tap_ok(ticks == 0 && wrong == 0 && spurious == before,
           "what asks while the 8259 is set up with interrupts off never comes: %u, and %u others",
           ticks, wrong + spurious - before);

    pic_init(MASK_BUT_TIMER, 0);
    tick_at(20000);
    for (int round = 0; round < 5000; round++) {
        APIC_LINT0 = LINT_EXTINT;
        sti_nop();
        cli();
        APIC_LINT0 = LINT_EXTINT | LINT_MASKED;
    }
    tap_ok(wrong == 0, "LINT0 goes off and on under a fast timer: %u others, the last %lx", wrong,
           wrong_vector);

    ticks = 0;
    tick_at(1000);
    APIC_LINT0 = LINT_EXTINT;
    come = ticks_come();
    tap_ok(come && wrong == 0, "ticks still come: %u, and %u others", ticks, wrong);
    pic_init(MASK_ALL, 0);
}

void root_main(void)
{
    for (uint8_t vector = 0; vector < 8; vector++) {
        trap_set_handler(vector, on_wrong);
        trap_set_handler((uint8_t)(BASE + vector), on_wrong);
    }
    trap_set_handler(BASE, on_tick);
    trap_set_handler(FIRMWARE_TIMER, on_firmware_timer);
    tap_ok(!efi_try(body, NULL).taken, "nothing faults");
}
