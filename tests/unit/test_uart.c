// SPDX-License-Identifier: BSD-2-Clause-Patent
#include <check.h>

#include "fake_host.h"
#include "root/lib/uart.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };
enum { RTS = 2, OUT2 = 8, LOOP = 16, RDI = 1, THRI = 2, RLSI = 4, MSI = 8 };

static struct fake_host fake;
static struct chipset_host host;
static struct uart uart;

static void setup(void)
{
    host = fake_host_init(&fake);
    uart_init(&uart);
}

static uint8_t inb(unsigned offset)
{
    return uart_read(&uart, offset, fake.now);
}

static void outb(unsigned offset, uint8_t value)
{
    uart_write(&uart, offset, value, fake.now, &host);
}

static size_t feed(const char *text)
{
    return uart_receive(&uart, (const uint8_t *)text, strlen(text), fake.now);
}

static bool irq(void)
{
    uart_advance(&uart, fake.now);
    return uart_interrupt(&uart);
}

START_TEST(test_reset_state)
{
    ck_assert_uint_eq(inb(IER), 0);
    ck_assert_uint_eq(inb(IIR), 0x01);
    ck_assert_uint_eq(inb(LCR), 0);
    ck_assert_uint_eq(inb(MCR), 0);
    ck_assert_uint_eq(inb(LSR), 0x60);
    ck_assert_uint_eq(inb(MSR), 0xB0);
    ck_assert(!irq());
    ck_assert_uint_eq(uart_deadline(&uart), CHIPSET_NO_DEADLINE);
}
END_TEST

START_TEST(test_transmit)
{
    outb(DATA, 'H');
    outb(DATA, 'i');
    ck_assert_str_eq(fake.output, "Hi");
    ck_assert_uint_eq(inb(LSR), 0x60);
}
END_TEST

START_TEST(test_divisor_latch)
{
    outb(LCR, 0x83);
    outb(DATA, 0x34);
    outb(IER, 0x12);
    ck_assert_uint_eq(inb(DATA), 0x34);
    ck_assert_uint_eq(inb(IER), 0x12);
    ck_assert_uint_eq(fake.outputs, 0);
    outb(LCR, 0x03);
    ck_assert_uint_eq(inb(IER), 0);
    ck_assert_uint_eq(uart.divisor, 0x1234);
    outb(SCR, 0xA5);
    ck_assert_uint_eq(inb(SCR), 0xA5);
}
END_TEST

// The sequence of Linux drivers/tty/serial/8250 autoconfig() and autoconfig_16550a().
START_TEST(test_linux_autoconfig)
{
    outb(IER, 0);
    ck_assert_uint_eq(inb(IER) & 0x0F, 0);
    outb(IER, 0x0F);
    ck_assert_uint_eq(inb(IER), 0x0F);
    outb(IER, 0);
    outb(MCR, LOOP | OUT2 | RTS);
    ck_assert_uint_eq(inb(MSR) & 0xF0, 0x90);
    outb(MCR, 0);
    outb(LCR, 0xBF);
    outb(FCR, 0); // EFR
    outb(LCR, 0);
    outb(FCR, 1);
    ck_assert_uint_eq(inb(IIR) >> 6, 3); // a 16550A
    outb(LCR, 0x80);
    ck_assert_uint_ne(inb(IIR), 0); // no 16C950-like EFR
    outb(LCR, 0xBF);
    ck_assert_uint_ne(inb(IIR), 0);
    outb(LCR, 0);
    outb(FCR, 0x21);
    ck_assert_uint_eq(inb(IIR) & 0xF0, 0xC0); // no 64-byte FIFO of a 16750
    outb(IER, 0x40);
    ck_assert_uint_eq(inb(IER), 0); // no XScale unit enable
    outb(FCR, 0);
    ck_assert_uint_eq(inb(IIR), 1);
}
END_TEST

// The THRE tests of Linux serial8250_do_startup().
START_TEST(test_thre_rearms)
{
    outb(MCR, OUT2);
    outb(IER, THRI);
    ck_assert(irq());
    ck_assert_uint_eq(inb(IIR), 0x02);
    ck_assert(!irq()); // reading IIR acknowledged it
    ck_assert_uint_eq(inb(IIR), 0x01);
    outb(IER, 0);
    outb(IER, THRI);
    ck_assert_uint_eq(inb(IIR), 0x02);
    outb(DATA, 'x');
    ck_assert(irq());
    ck_assert_uint_eq(inb(IIR), 0x02);
    outb(IER, THRI); // no rising edge of the enable
    ck_assert_uint_eq(inb(IIR), 0x01);
    outb(DATA, 'y');
    outb(IER, 0);
    ck_assert(!irq());
}
END_TEST

START_TEST(test_out2_gates)
{
    outb(IER, THRI);
    ck_assert(!irq());
    outb(MCR, OUT2);
    ck_assert(irq());
    outb(MCR, OUT2 | LOOP);
    ck_assert(!irq());
}
END_TEST

START_TEST(test_receive_without_fifo)
{
    outb(MCR, OUT2 | RTS);
    outb(IER, RDI);
    ck_assert_uint_eq(feed("ab"), 2);
    ck_assert(irq());
    ck_assert_uint_eq(inb(IIR), 0x04);
    ck_assert_uint_eq(inb(LSR), 0x61);
    ck_assert_uint_eq(inb(DATA), 'a');
    ck_assert(irq()); // the next has followed, nothing was overrun
    ck_assert_uint_eq(inb(LSR), 0x61);
    ck_assert_uint_eq(inb(DATA), 'b');
    ck_assert(!irq());
    ck_assert_uint_eq(inb(LSR), 0x60);
}
END_TEST

START_TEST(test_trigger_levels)
{
    static const unsigned levels[4] = {1, 4, 8, 14};
    for (unsigned i = 0; i < 4; i++) {
        setup();
        outb(FCR, (uint8_t)(1 | i << 6));
        outb(MCR, OUT2 | RTS);
        outb(IER, RDI);
        for (unsigned n = 1; n < levels[i]; n++) {
            feed("x");
            ck_assert(!irq());
        }
        feed("x");
        ck_assert(irq());
        ck_assert_uint_eq(inb(IIR), 0xC4);
        inb(DATA);
        ck_assert(!irq()); // below the level again
    }
}
END_TEST

START_TEST(test_character_timeout)
{
    outb(LCR, 0x83);
    outb(DATA, 1); // 115200 baud, 8n1: four characters take 347.2 us
    outb(IER, 0);
    outb(LCR, 0x03);
    outb(FCR, 0x81);
    outb(MCR, OUT2 | RTS);
    outb(IER, RDI);
    fake.now = 1000000;
    feed("q");
    ck_assert(!irq());
    ck_assert_uint_eq(uart_deadline(&uart), 1000000 + 3472);
    fake.now += 3471;
    ck_assert(!irq());
    fake.now += 1;
    ck_assert(irq());
    ck_assert_uint_eq(uart_deadline(&uart), CHIPSET_NO_DEADLINE);
    ck_assert_uint_eq(inb(IIR), 0xCC);
    ck_assert_uint_eq(inb(IIR), 0xCC); // only reading the data clears it
    ck_assert_uint_eq(inb(DATA), 'q');
    ck_assert(!irq());
    ck_assert_uint_eq(inb(IIR), 0xC1);
}
END_TEST

START_TEST(test_timeout_restarts_with_each_character)
{
    outb(FCR, 0x81);
    outb(MCR, OUT2 | RTS);
    outb(IER, RDI);
    feed("a");
    const uint64_t first = uart_deadline(&uart);
    fake.now = first - 1;
    feed("b");
    fake.now = first;
    ck_assert(!irq());
    ck_assert_uint_eq(uart_deadline(&uart), 2 * first - 1);
    inb(DATA); // a read restarts it, too
    ck_assert_uint_eq(uart_deadline(&uart), 2 * first);
}
END_TEST

START_TEST(test_priorities)
{
    outb(MCR, LOOP | OUT2);
    outb(IER, 0x0F);
    outb(DATA, 'a');
    outb(DATA, 'b'); // overruns: no FIFO
    outb(MCR, OUT2);
    ck_assert_uint_eq(inb(IIR), 0x06);
    ck_assert_uint_eq(inb(LSR), 0x63);
    ck_assert_uint_eq(inb(LSR), 0x61); // errors are cleared by the read
    ck_assert_uint_eq(inb(IIR), 0x04);
    ck_assert_uint_eq(inb(DATA), 'b'); // the new one replaced the old one
    ck_assert_uint_eq(inb(IIR), 0x02);
    ck_assert_uint_eq(inb(IIR), 0x00);
    ck_assert(irq());
    inb(MSR);
    ck_assert_uint_eq(inb(IIR), 0x01);
    ck_assert(!irq());
}
END_TEST

// FreeBSD finds the FIFO's depth by overrunning it in loopback.
START_TEST(test_fifo_overrun)
{
    unsigned count = 0;
    outb(FCR, 0x01);
    outb(MCR, LOOP);
    do {
        outb(DATA, (uint8_t)count++);
    } while (!(inb(LSR) & 0x02) && count < 100);
    ck_assert_uint_eq(count, UART_FIFO + 1);
    for (unsigned i = 0; i < UART_FIFO; i++) {
        ck_assert_uint_eq(inb(DATA), i); // the FIFO kept the old ones
    }
    ck_assert_uint_eq(inb(LSR), 0x60);
    ck_assert_uint_eq(fake.outputs, 0);
}
END_TEST

START_TEST(test_modem_loopback_and_deltas)
{
    static const struct {
        uint8_t mcr, msr;
    } rows[] = {{1, 0x20}, {2, 0x10}, {4, 0x40}, {8, 0x80}};
    outb(MCR, LOOP);
    inb(MSR);
    for (unsigned i = 0; i < 4; i++) {
        outb(MCR, LOOP | rows[i].mcr);
        ck_assert_uint_eq(inb(MSR) & 0xF0, rows[i].msr);
        outb(MCR, LOOP);
        ck_assert_uint_eq(inb(MSR), rows[i].msr >> 4); // the delta, once
        ck_assert_uint_eq(inb(MSR), 0);
    }
    outb(MCR, LOOP | 4);
    ck_assert_uint_eq(inb(MSR), 0x40); // ring has no delta when it rises
    outb(MCR, 0xFF);
    ck_assert_uint_eq(inb(MCR), 0x1F);
}
END_TEST

START_TEST(test_queue_flow_control)
{
    char big[UART_QUEUE + 100];
    memset(big, 'z', sizeof big - 1);
    big[sizeof big - 1] = 0;
    ck_assert_uint_eq(feed(big), UART_QUEUE);
    ck_assert_uint_eq(feed("more"), 0);
    outb(FCR, 1);
    outb(MCR, RTS);
    ck_assert_uint_eq(feed(big), UART_FIFO); // the FIFO has taken that many
    unsigned got = 0;
    while (inb(LSR) & 1) {
        ck_assert_uint_eq(inb(DATA), 'z');
        got++;
    }
    ck_assert_uint_eq(got, UART_QUEUE + UART_FIFO);
}
END_TEST

// Text typed ahead of a driver survives its probing.
START_TEST(test_input_waits_for_a_listener)
{
    feed("ls\n");
    ck_assert_uint_eq(inb(LSR), 0x60);
    outb(FCR, 7);
    inb(DATA);
    outb(MCR, LOOP | RTS);
    ck_assert_uint_eq(inb(LSR), 0x60);
    outb(MCR, 1);
    ck_assert_uint_eq(inb(LSR), 0x60);
    outb(IER, RDI);
    ck_assert_uint_eq(inb(LSR), 0x61);
    ck_assert_uint_eq(inb(DATA), 'l');
    ck_assert_uint_eq(inb(DATA), 's');
    ck_assert_uint_eq(inb(DATA), '\n');
}
END_TEST

START_TEST(test_polling_guest_gets_input)
{
    feed("k");
    unsigned polls = 0;
    while (!(inb(LSR) & 1)) {
        ck_assert_uint_lt(++polls, 100);
    }
    ck_assert_uint_eq(inb(DATA), 'k');
}
END_TEST

START_TEST(test_fifo_clear)
{
    outb(FCR, 1);
    outb(MCR, RTS);
    feed("abc");
    ck_assert_uint_eq(inb(LSR), 0x61);
    outb(FCR, 3);
    ck_assert_uint_eq(inb(LSR), 0x60);
    feed("d");
    outb(FCR, 0); // switching the FIFOs clears them
    ck_assert_uint_eq(inb(LSR), 0x60);
}
END_TEST

START_TEST(test_reset_keeps_queue)
{
    outb(LCR, 3);
    feed("xy");
    uart_reset(&uart);
    ck_assert_uint_eq(inb(LCR), 0);
    outb(MCR, RTS);
    ck_assert_uint_eq(inb(DATA), 'x');
    ck_assert_uint_eq(inb(DATA), 'y');
}
END_TEST

START_TEST(test_divisor_zero)
{
    outb(LCR, 0x80);
    outb(DATA, 0);
    outb(IER, 0);
    outb(LCR, 0);
    outb(FCR, 0x81);
    outb(MCR, RTS);
    outb(IER, RDI);
    feed("a");
    ck_assert_uint_gt(uart_deadline(&uart), fake.now);
    ck_assert_uint_lt(uart_deadline(&uart), fake.now + 10000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uart");
    TCase *tests = tcase_create("uart");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_reset_state);
    tcase_add_test(tests, test_transmit);
    tcase_add_test(tests, test_divisor_latch);
    tcase_add_test(tests, test_linux_autoconfig);
    tcase_add_test(tests, test_thre_rearms);
    tcase_add_test(tests, test_out2_gates);
    tcase_add_test(tests, test_receive_without_fifo);
    tcase_add_test(tests, test_trigger_levels);
    tcase_add_test(tests, test_character_timeout);
    tcase_add_test(tests, test_timeout_restarts_with_each_character);
    tcase_add_test(tests, test_priorities);
    tcase_add_test(tests, test_fifo_overrun);
    tcase_add_test(tests, test_modem_loopback_and_deltas);
    tcase_add_test(tests, test_queue_flow_control);
    tcase_add_test(tests, test_input_waits_for_a_listener);
    tcase_add_test(tests, test_polling_guest_gets_input);
    tcase_add_test(tests, test_fifo_clear);
    tcase_add_test(tests, test_reset_keeps_queue);
    tcase_add_test(tests, test_divisor_zero);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
