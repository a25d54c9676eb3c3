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

static uint8_t in(unsigned offset)
{
    return uart_read(&uart, offset, fake.now);
}

static void out(unsigned offset, uint8_t value)
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
    ck_assert_uint_eq(in(IER), 0);
    ck_assert_uint_eq(in(IIR), 0x01);
    ck_assert_uint_eq(in(LCR), 0);
    ck_assert_uint_eq(in(MCR), 0);
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(in(MSR), 0xB0);
    ck_assert(!irq());
    ck_assert_uint_eq(uart_deadline(&uart), CHIPSET_NO_DEADLINE);
}
END_TEST

START_TEST(test_transmit)
{
    out(DATA, 'H');
    out(DATA, 'i');
    ck_assert_str_eq(fake.output, "Hi");
    ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(test_divisor_latch)
{
    out(LCR, 0x83);
    out(DATA, 0x34);
    out(IER, 0x12);
    ck_assert_uint_eq(in(DATA), 0x34);
    ck_assert_uint_eq(in(IER), 0x12);
    ck_assert_uint_eq(fake.outputs, 0);
    out(LCR, 0x03);
    ck_assert_uint_eq(in(IER), 0);
    ck_assert_uint_eq(uart.divisor, 0x1234);
    out(SCR, 0xA5);
    ck_assert_uint_eq(in(SCR), 0xA5);
}
END_TEST

// The sequence of Linux drivers/tty/serial/8250 autoconfig() and autoconfig_16550a().
START_TEST(test_linux_autoconfig)
{
    out(IER, 0);
    ck_assert_uint_eq(in(IER)&0x0F, 0);
    out(IER, 0x0F);
    ck_assert_uint_eq(in(IER), 0x0F);
    out(IER, 0);
    out(MCR, LOOP | OUT2 | RTS);
    ck_assert_uint_eq(in(MSR)&0xF0, 0x90);
    out(MCR, 0);
    out(LCR, 0xBF);
    out(FCR, 0); // EFR
    out(LCR, 0);
    out(FCR, 1);
    ck_assert_uint_eq(in(IIR) >> 6, 3); // a 16550A
    out(LCR, 0x80);
    ck_assert_uint_ne(in(IIR), 0); // no 16C950-like EFR
    out(LCR, 0xBF);
    ck_assert_uint_ne(in(IIR), 0);
    out(LCR, 0);
    out(FCR, 0x21);
    ck_assert_uint_eq(in(IIR)&0xF0, 0xC0); // no 64-byte FIFO of a 16750
    out(IER, 0x40);
    ck_assert_uint_eq(in(IER), 0); // no XScale unit enable
    out(FCR, 0);
    ck_assert_uint_eq(in(IIR), 1);
}
END_TEST

// The THRE tests of Linux serial8250_do_startup().
START_TEST(test_thre_rearms)
{
    out(MCR, OUT2);
    out(IER, THRI);
    ck_assert(irq());
    ck_assert_uint_eq(in(IIR), 0x02);
    ck_assert(!irq()); // reading IIR acknowledged it
    ck_assert_uint_eq(in(IIR), 0x01);
    out(IER, 0);
    out(IER, THRI);
    ck_assert_uint_eq(in(IIR), 0x02);
    out(DATA, 'x');
    ck_assert(irq());
    ck_assert_uint_eq(in(IIR), 0x02);
    out(IER, THRI); // no rising edge of the enable
    ck_assert_uint_eq(in(IIR), 0x01);
    out(DATA, 'y');
    out(IER, 0);
    ck_assert(!irq());
}
END_TEST

START_TEST(test_out2_gates)
{
    out(IER, THRI);
    ck_assert(!irq());
    out(MCR, OUT2);
    ck_assert(irq());
    out(MCR, OUT2 | LOOP);
    ck_assert(!irq());
}
END_TEST

START_TEST(test_receive_without_fifo)
{
    out(MCR, OUT2 | RTS);
    out(IER, RDI);
    ck_assert_uint_eq(feed("ab"), 2);
    ck_assert(irq());
    ck_assert_uint_eq(in(IIR), 0x04);
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(in(DATA), 'a');
    ck_assert(irq()); // the next has followed, nothing was overrun
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(in(DATA), 'b');
    ck_assert(!irq());
    ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(test_trigger_levels)
{
    static const unsigned levels[4] = {1, 4, 8, 14};
    for (unsigned i = 0; i < 4; i++) {
        setup();
        out(FCR, (uint8_t)(1 | i << 6));
        out(MCR, OUT2 | RTS);
        out(IER, RDI);
        for (unsigned n = 1; n < levels[i]; n++) {
            feed("x");
            ck_assert(!irq());
        }
        feed("x");
        ck_assert(irq());
        ck_assert_uint_eq(in(IIR), 0xC4);
        in(DATA);
        ck_assert(!irq()); // below the level again
    }
}
END_TEST

START_TEST(test_character_timeout)
{
    out(LCR, 0x83);
    out(DATA, 1); // 115200 baud, 8n1: four characters take 347.2 us
    out(IER, 0);
    out(LCR, 0x03);
    out(FCR, 0x81);
    out(MCR, OUT2 | RTS);
    out(IER, RDI);
    fake.now = 1000000;
    feed("q");
    ck_assert(!irq());
    ck_assert_uint_eq(uart_deadline(&uart), 1000000 + 3472);
    fake.now += 3471;
    ck_assert(!irq());
    fake.now += 1;
    ck_assert(irq());
    ck_assert_uint_eq(uart_deadline(&uart), CHIPSET_NO_DEADLINE);
    ck_assert_uint_eq(in(IIR), 0xCC);
    ck_assert_uint_eq(in(IIR), 0xCC); // only reading the data clears it
    ck_assert_uint_eq(in(DATA), 'q');
    ck_assert(!irq());
    ck_assert_uint_eq(in(IIR), 0xC1);
}
END_TEST

START_TEST(test_timeout_restarts_with_each_character)
{
    out(FCR, 0x81);
    out(MCR, OUT2 | RTS);
    out(IER, RDI);
    feed("a");
    const uint64_t first = uart_deadline(&uart);
    fake.now = first - 1;
    feed("b");
    fake.now = first;
    ck_assert(!irq());
    ck_assert_uint_eq(uart_deadline(&uart), 2 * first - 1);
    in(DATA); // a read restarts it, too
    ck_assert_uint_eq(uart_deadline(&uart), 2 * first);
}
END_TEST

START_TEST(test_priorities)
{
    out(MCR, LOOP | OUT2);
    out(IER, 0x0F);
    out(DATA, 'a');
    out(DATA, 'b'); // overruns: no FIFO
    out(MCR, OUT2);
    ck_assert_uint_eq(in(IIR), 0x06);
    ck_assert_uint_eq(in(LSR), 0x63);
    ck_assert_uint_eq(in(LSR), 0x61); // errors are cleared by the read
    ck_assert_uint_eq(in(IIR), 0x04);
    ck_assert_uint_eq(in(DATA), 'b'); // the new one replaced the old one
    ck_assert_uint_eq(in(IIR), 0x02);
    ck_assert_uint_eq(in(IIR), 0x00);
    ck_assert(irq());
    in(MSR);
    ck_assert_uint_eq(in(IIR), 0x01);
    ck_assert(!irq());
}
END_TEST

// FreeBSD finds the FIFO's depth by overrunning it in loopback.
START_TEST(test_fifo_overrun)
{
    unsigned count = 0;
    out(FCR, 0x01);
    out(MCR, LOOP);
    do {
        out(DATA, (uint8_t)count++);
    } while (!(in(LSR)&0x02) && count < 100);
    ck_assert_uint_eq(count, UART_FIFO + 1);
    for (unsigned i = 0; i < UART_FIFO; i++) {
        ck_assert_uint_eq(in(DATA), i); // the FIFO kept the old ones
    }
    ck_assert_uint_eq(in(LSR), 0x60);
    ck_assert_uint_eq(fake.outputs, 0);
}
END_TEST

START_TEST(test_modem_loopback_and_deltas)
{
    static const struct {
        uint8_t mcr, msr;
    } rows[] = {{1, 0x20}, {2, 0x10}, {4, 0x40}, {8, 0x80}};
    out(MCR, LOOP);
    in(MSR);
    for (unsigned i = 0; i < 4; i++) {
        out(MCR, LOOP | rows[i].mcr);
        ck_assert_uint_eq(in(MSR)&0xF0, rows[i].msr);
        out(MCR, LOOP);
        ck_assert_uint_eq(in(MSR), rows[i].msr >> 4); // the delta, once
        ck_assert_uint_eq(in(MSR), 0);
    }
    out(MCR, LOOP | 4);
    ck_assert_uint_eq(in(MSR), 0x40); // ring has no delta when it rises
    out(MCR, 0xFF);
    ck_assert_uint_eq(in(MCR), 0x1F);
}
END_TEST

START_TEST(test_queue_flow_control)
{
    char big[UART_QUEUE + 100];
    memset(big, 'z', sizeof big - 1);
    big[sizeof big - 1] = 0;
    ck_assert_uint_eq(feed(big), UART_QUEUE);
    ck_assert_uint_eq(feed("more"), 0);
    out(FCR, 1);
    out(MCR, RTS);
    ck_assert_uint_eq(feed(big), UART_FIFO); // the FIFO has taken that many
    unsigned got = 0;
    while (in(LSR)&1) {
        ck_assert_uint_eq(in(DATA), 'z');
        got++;
    }
    ck_assert_uint_eq(got, UART_QUEUE + UART_FIFO);
}
END_TEST

// Text typed ahead of a driver survives its probing.
START_TEST(test_input_waits_for_a_listener)
{
    feed("ls\n");
    ck_assert_uint_eq(in(LSR), 0x60);
    out(FCR, 7);
    in(DATA);
    out(MCR, LOOP | RTS);
    ck_assert_uint_eq(in(LSR), 0x60);
    out(MCR, 1);
    ck_assert_uint_eq(in(LSR), 0x60);
    out(IER, RDI);
    ck_assert_uint_eq(in(LSR), 0x61);
    ck_assert_uint_eq(in(DATA), 'l');
    ck_assert_uint_eq(in(DATA), 's');
    ck_assert_uint_eq(in(DATA), '\n');
}
END_TEST

START_TEST(test_polling_guest_gets_input)
{
    feed("k");
    unsigned polls = 0;
    while (!(in(LSR)&1)) {
        ck_assert_uint_lt(++polls, 100);
    }
    ck_assert_uint_eq(in(DATA), 'k');
}
END_TEST

START_TEST(test_fifo_clear)
{
    out(FCR, 1);
    out(MCR, RTS);
    feed("abc");
    ck_assert_uint_eq(in(LSR), 0x61);
    out(FCR, 3);
    ck_assert_uint_eq(in(LSR), 0x60);
    feed("d");
    out(FCR, 0); // switching the FIFOs clears them
    ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(test_reset_keeps_queue)
{
    out(LCR, 3);
    feed("xy");
    uart_reset(&uart);
    ck_assert_uint_eq(in(LCR), 0);
    out(MCR, RTS);
    ck_assert_uint_eq(in(DATA), 'x');
    ck_assert_uint_eq(in(DATA), 'y');
}
END_TEST

START_TEST(test_divisor_zero)
{
    out(LCR, 0x80);
    out(DATA, 0);
    out(IER, 0);
    out(LCR, 0);
    out(FCR, 0x81);
    out(MCR, RTS);
    out(IER, RDI);
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
