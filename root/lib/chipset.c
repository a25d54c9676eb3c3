// SPDX-License-Identifier: BSD-2-Clause-Patent
// Dispatch of port and memory accesses to the devices of a child machine: contract in chipset.h.
#include "chipset.h"

#include "mem.h"

enum access_size { SIZE_1 = 1, SIZE_2 = 2, SIZE_4 = 4, SIZE_ANY = 7 };

static uint64_t now(const struct chipset *chipset)
{
    return chipset->host.now_100ns(chipset->host.ctx);
}

// ---- port handlers ---------------------------------------------------------------------------
// The offset is relative to the entry's first port; the size is one that the entry allows.

static uint32_t read_ones(struct chipset *chipset, unsigned offset, unsigned size)
{
    (void)chipset, (void)offset, (void)size;
    return UINT32_MAX;
}

static void write_nothing(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)chipset, (void)offset, (void)size, (void)value;
}

static uint32_t com1_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    (void)size;
    return uart_read(&chipset->com1, offset, now(chipset));
}

static void com1_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)size;
    uart_write(&chipset->com1, offset, (uint8_t)value, now(chipset), &chipset->host);
}

static uint32_t clock_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    (void)size;
    return rtc_read(&chipset->rtc, offset + PORT_RTC_DATA - PORT_RTC_INDEX, &chipset->host);
}

static void clock_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)size;
    rtc_write(&chipset->rtc, offset + PORT_RTC_DATA - PORT_RTC_INDEX, (uint8_t)value,
              &chipset->host);
}

static void clock_index_write(struct chipset *chipset, unsigned offset, unsigned size,
                              uint32_t value)
{
    (void)size;
    rtc_write(&chipset->rtc, offset, (uint8_t)value, &chipset->host);
}

static uint32_t power_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    return pm_read(&chipset->pm, offset, size, now(chipset));
}

static void power_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    pm_write(&chipset->pm, offset, size, value, &chipset->host);
}

// There is no keyboard controller. Output buffer full for ever makes a probe that drains it give
// up after its 16 bytes; input buffer never full lets a guest that resets the machine through it
// go ahead without waiting.
static uint32_t keyboard_status(struct chipset *chipset, unsigned offset, unsigned size)
{
    static const uint8_t input_buffer_full = 1 << 1;
    (void)chipset, (void)offset, (void)size;
    return (uint8_t)~input_buffer_full;
}

// Commands 0xF0-0xFF pulse output lines low; line 0 is the processor's reset.
static void keyboard_command(struct chipset *chipset, unsigned offset, unsigned size,
                             uint32_t value)
{
    (void)offset, (void)size;
    if ((value & 0xF1) == 0xF0) {
        chipset->host.reset(chipset->host.ctx);
    }
}

// Port 0x61: no NMI sources (bits 7:6); counter 2, which does not exist, has always expired
// (bit 5); the refresh bit (4) toggles every 15 us, which old delay loops count.
static uint32_t system_b_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    enum { COUNTER_2_OUT = 1 << 5, REFRESH = 1 << 4, REFRESH_100NS = 151 };
    (void)offset, (void)size;
    const bool refresh = now(chipset) / REFRESH_100NS % 2;
    return chipset->latches.system_b | COUNTER_2_OUT | (refresh ? REFRESH : 0);
}

static void system_b_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)offset, (void)size;
    chipset->latches.system_b = value & 0x0F;
}

static uint32_t post_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    (void)offset, (void)size;
    return chipset->latches.post;
}

static void post_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)offset, (void)size;
    chipset->latches.post = (uint8_t)value;
}

// Port 0x92: A20 is always on.
enum { SYSTEM_A_RESET = 1 << 0, SYSTEM_A_A20 = 1 << 1 };

static uint32_t system_a_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    (void)chipset, (void)offset, (void)size;
    return SYSTEM_A_A20;
}

static void system_a_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)offset, (void)size;
    if (value & SYSTEM_A_RESET) {
        chipset->host.reset(chipset->host.ctx);
    }
}

// Port 0xE9 reads as its own number, by which guests recognise it (Bochs, QEMU).
static uint32_t debug_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    (void)chipset, (void)offset, (void)size;
    return PORT_DEBUG;
}

static void debug_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)offset, (void)size;
    chipset->host.debug_out(chipset->host.ctx, (uint8_t)value);
}

static void exit_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    (void)size;
    if (offset == 0) {
        chipset->host.exit_value(chipset->host.ctx, value);
    }
}

// Port 0xCF9: bit 2 resets when it goes from 0 to 1, bits 1 and 3 choose how deeply: all the same
// here.
static uint32_t reset_read(struct chipset *chipset, unsigned offset, unsigned size)
{
    (void)offset, (void)size;
    return chipset->latches.reset_control;
}

static void reset_write(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value)
{
    enum { KEPT = 0x0A, RESET_CPU = 1 << 2 };
    (void)offset, (void)size;
    chipset->latches.reset_control = value & KEPT; // bit 2 falls with the reset it causes
    if (value & RESET_CPU) {
        chipset->host.reset(chipset->host.ctx);
    }
}

// ---- port dispatch -----------------------------------------------------------------------------

struct port_range {
    uint16_t first, last;
    uint8_t sizes; // access sizes taken whole, when aligned to themselves
    bool lives;    // has a line or a deadline that an access may change
    uint32_t (*read)(struct chipset *chipset, unsigned offset, unsigned size);
    void (*write)(struct chipset *chipset, unsigned offset, unsigned size, uint32_t value);
};

// A range may appear more than once, for different sizes: 0xCF8 is a PCI register only for
// 4-byte accesses; the reset register lies within it for bytes.
static const struct port_range port_ranges[] = {
    {PORT_COM1, PORT_COM1 + UART_PORTS - 1, SIZE_1, true, com1_read, com1_write},
    {PORT_PM, PORT_PM + PM_BLOCK_SIZE - 1, SIZE_ANY, true, power_read, power_write},
    {PORT_RTC_DATA, PORT_RTC_DATA, SIZE_1, true, clock_read, clock_write},
    {PORT_RTC_INDEX, PORT_RTC_INDEX, SIZE_1, false, read_ones, clock_index_write},
    {PORT_DEBUG, PORT_DEBUG, SIZE_1, false, debug_read, debug_write},
    {PORT_EXIT, PORT_EXIT + 3, SIZE_ANY, false, read_ones, exit_write},
    {PORT_POST, PORT_POST, SIZE_1, false, post_read, post_write},
    {PORT_KBC_DATA, PORT_KBC_DATA, SIZE_1, false, read_ones, write_nothing},
    {PORT_SYSTEM_B, PORT_SYSTEM_B, SIZE_1, false, system_b_read, system_b_write},
    {PORT_KBC_STATUS, PORT_KBC_STATUS, SIZE_1, false, keyboard_status, keyboard_command},
    {PORT_SYSTEM_A, PORT_SYSTEM_A, SIZE_1, false, system_a_read, system_a_write},
    {PORT_PCI_ADDRESS, PORT_PCI_ADDRESS + 3, SIZE_4, false, read_ones, write_nothing},
    {PORT_RESET, PORT_RESET, SIZE_1, false, reset_read, reset_write},
    {PORT_PCI_DATA, PORT_PCI_DATA + 3, SIZE_ANY, false, read_ones, write_nothing},
};

static inline bool takes(const struct port_range *range, uint32_t port, unsigned size)
{
    return port >= range->first && port + size - 1 <= range->last && (range->sizes & size) &&
           (port & (size - 1)) == 0;
}

static const struct port_range *find_range(uint32_t port, unsigned size)
{
    const struct port_range *const end = port_ranges + sizeof port_ranges / sizeof port_ranges[0];

    for (const struct port_range *range = port_ranges; range != end; range++) {
        if (takes(range, port, size)) {
            return range;
        }
    }
    return NULL;
}

static void count_unowned(struct chipset *chipset, uint16_t port, bool is_write)
{
    chipset->unowned_port = port;
    if (is_write) {
        chipset->unowned_writes++;
    } else {
        chipset->unowned_reads++;
    }
}

// After anything that may have changed a device: lets time pass, drives the interrupt lines and
// asks for the next wake-up.
static void update(struct chipset *chipset)
{
    struct chipset_host *host = &chipset->host;
    const uint64_t time = now(chipset);

    uart_advance(&chipset->com1, time);
    rtc_advance(&chipset->rtc, host);
    pm_advance(&chipset->pm, time);
    ioapic_set_pin(&chipset->ioapic, PIN_COM1, uart_interrupt(&chipset->com1), host);
    ioapic_set_pin(&chipset->ioapic, PIN_RTC, rtc_interrupt(&chipset->rtc), host);
    ioapic_set_pin(&chipset->ioapic, PIN_SCI, pm_interrupt(&chipset->pm), host);

    const uint64_t wanted[] = {uart_deadline(&chipset->com1), rtc_deadline(&chipset->rtc),
                               pm_deadline(&chipset->pm)};
    uint64_t deadline = CHIPSET_NO_DEADLINE;
    for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        deadline = wanted[i] < deadline ? wanted[i] : deadline;
    }
    if (deadline != chipset->deadline) {
        chipset->deadline = deadline;
        host->set_timer(host->ctx, deadline);
    }
}

// One bus cycle: returns what was read, ones for a write.
static uint32_t cycle(struct chipset *chipset, const struct port_range *range, uint32_t port,
                      unsigned width, bool is_write, uint32_t value)
{
    if (!is_write) {
        return range->read(chipset, port - range->first, width);
    }
    range->write(chipset, port - range->first, width, value);
    return UINT32_MAX;
}

// An access that no device takes whole is split: each cycle is the widest that a device there
// takes, and a byte that no device owns is a cycle of its own.
static uint32_t split(struct chipset *chipset, uint16_t port, unsigned size, bool is_write,
                      uint32_t input, bool *owned)
{
    uint32_t output = 0;

    for (unsigned done = 0, width; done < size; done += width) {
        const struct port_range *range = NULL;
        const uint32_t at = (uint32_t)port + done;
        uint32_t part = UINT32_MAX;
        for (width = SIZE_2; width && (width > size - done || !(range = find_range(at, width)));) {
            width /= 2;
        }
        width = width ? width : SIZE_1;
        const uint32_t mask = UINT32_MAX >> (32 - 8 * width);
        if (range) {
            *owned = true;
            part = cycle(chipset, range, at, width, is_write, input >> 8 * done & mask);
        }
        output |= (part & mask) << 8 * done;
    }
    return output;
}

bool chipset_pio(struct chipset *chipset, uint16_t port, unsigned size, bool is_write,
                 uint32_t *value)
{
    if (size != SIZE_1 && size != SIZE_2 && size != SIZE_4) {
        return false;
    }
    const uint32_t mask = UINT32_MAX >> (32 - 8 * size);
    const struct port_range *range =
        chipset->recent_port; // a device is seldom left after one access

    if (!range || !takes(range, port, size)) {
        range = find_range(port, size);
        chipset->recent_port = range;
    }
    bool owned = range, lives = !range;
    uint32_t output;

    if (range) {
        lives = range->lives;
        output = cycle(chipset, range, port, size, is_write, *value & mask) & mask;
    } else if (size == SIZE_1) {
        output = mask;
    } else {
        output = split(chipset, port, size, is_write, *value, &owned);
    }
    if (!owned) {
        count_unowned(chipset, port, is_write);
    } else if (lives) {
        update(chipset);
    }
    if (!is_write) {
        *value = output;
    }
    return true;
}

// ---- memory dispatch ---------------------------------------------------------------------------

bool chipset_mmio(struct chipset *chipset, uint64_t gpa, unsigned size, bool is_write,
                  uint64_t *value)
{
    if (size != 1 && size != 2 && size != 4 && size != 8) {
        return false;
    }
    const bool owned = gpa - IOAPIC_BASE < IOAPIC_SIZE;
    const uint32_t offset = (uint32_t)(gpa - IOAPIC_BASE);

    if (!owned) {
        chipset->unowned_mmio++;
    }
    if (is_write && owned) {
        ioapic_write(&chipset->ioapic, offset, (uint32_t)*value, &chipset->host);
    } else if (!is_write) {
        const uint64_t read = owned ? ioapic_read(&chipset->ioapic, offset) : UINT64_MAX;
        *value = read & UINT64_MAX >> (64 - 8 * size);
    }
    return true;
}

// ---- life, console, time -----------------------------------------------------------------------

void chipset_init(struct chipset *chipset, const struct chipset_host *host)
{
    memset(chipset, 0, sizeof *chipset);
    chipset->host = *host;
    chipset->deadline = CHIPSET_NO_DEADLINE;
    ioapic_reset(&chipset->ioapic);
    uart_init(&chipset->com1);
    rtc_init(&chipset->rtc, host);
    pm_reset(&chipset->pm, now(chipset));
    update(chipset);
}

void chipset_reset(struct chipset *chipset)
{
    chipset->latches = (struct chipset_latches){0};
    ioapic_reset(&chipset->ioapic);
    uart_reset(&chipset->com1);
    rtc_reset(&chipset->rtc);
    pm_reset(&chipset->pm, now(chipset));
    update(chipset);
}

size_t chipset_console_in(struct chipset *chipset, const uint8_t *bytes, size_t size)
{
    const size_t taken = uart_receive(&chipset->com1, bytes, size, now(chipset));
    update(chipset);
    return taken;
}

size_t chipset_console_space(const struct chipset *chipset)
{
    return UART_QUEUE - chipset->com1.queue_count;
}

void chipset_tick(struct chipset *chipset)
{
    chipset->deadline = 0; // used up, even if it came early: always ask again
    update(chipset);
}

void chipset_eoi(struct chipset *chipset, uint8_t vector)
{
    ioapic_eoi(&chipset->ioapic, vector, &chipset->host);
}

void chipset_power_button(struct chipset *chipset)
{
    pm_raise(&chipset->pm, PM_POWER_BUTTON);
    update(chipset);
}
