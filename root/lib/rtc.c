// SPDX-License-Identifier: BSD-2-Clause-Patent
// MC146818 real-time clock: contract and sources in rtc.h.
#include "rtc.h"

#include "mem.h"
#include "ports.h"

enum rtc_register {
    RTC_SECONDS = 0,
    RTC_SECONDS_ALARM = 1,
    RTC_MINUTES = 2,
    RTC_MINUTES_ALARM = 3,
    RTC_HOURS = 4,
    RTC_HOURS_ALARM = 5,
    RTC_WEEKDAY = 6, // Sunday is 1
    RTC_DAY = 7,
    RTC_MONTH = 8,
    RTC_YEAR = 9,
    RTC_A = 10,
    RTC_B = 11,
    RTC_C = 12,
    RTC_D = 13,
};

enum rtc_bit {
    A_UPDATING = 0x80,
    A_DIVIDER = 0x70,
    A_DIVIDER_RESET = 0x60, // 11x holds the divider chain
    A_RATE = 0x0F,
    A_POWER_ON = 0x26, // 32.768 kHz, periodic rate 1,024 Hz

    B_SET = 0x80,
    B_UPDATE_ENABLE = 0x10,
    B_BINARY = 0x04,
    B_24_HOURS = 0x02,

    C_INTERRUPT = 0x80,
    C_PERIODIC = 0x40, // these three have the places of their enables in register B
    C_ALARM = 0x20,
    C_UPDATE = 0x10,
    C_ALL = C_PERIODIC | C_ALARM | C_UPDATE,

    D_VALID = 0x80,

    HOURS_PM = 0x80,
    ALARM_ANY = 0xC0, // alarm values from here on match everything
};

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, DAYS_BEFORE_1970 = 719162 };

#define UNITS_PER_SECOND  INT64_C(10000000) // of 100 ns
#define UPDATE_WINDOW     22280   // UIP is set for 244 us before an update and for its 1,984 us
#define HALF_SECOND       5000000 // from the release of the divider chain to the first update
#define NO_ALARM          INT64_MAX
#define MAX_DRIFT_SECONDS 1

// ---- calendar --------------------------------------------------------------------------------

struct calendar {
    int64_t year;
    unsigned month, day, weekday, hour, minute, second;
};

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

// Days from 0001-01-01 to the first of January of a year >= 1.
static int64_t days_before_year(int64_t year)
{
    const int64_t past = year - 1;
    return past * 365 + past / 4 - past / 100 + past / 400;
}

// Days of a year before the month 1..13.
static int64_t days_before_month(int64_t year, unsigned month)
{
    static const uint16_t days[] = {0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    return days[month] + (month > 2 && is_leap(year) ? 1 : 0);
}

// Seconds since 1970, at least the year 1.
static struct calendar calendar_of(int64_t seconds)
{
    int64_t days = seconds / DAY;
    int64_t rest = seconds % DAY;
    struct calendar time = {0};

    if (rest < 0) {
        rest += DAY;
        days--;
    }
    days = days < -DAYS_BEFORE_1970 ? 0 : days + DAYS_BEFORE_1970;
    time.year = days / 366 + 1; // never too late; the average year catches up in few steps
    time.year += (days - days_before_year(time.year)) / 366;
    while (days_before_year(time.year + 1) <= days) {
        time.year++;
    }
    const int64_t day = days - days_before_year(time.year);
    time.month = 1;
    while (days_before_month(time.year, time.month + 1) <= day) {
        time.month++;
    }
    time.day = (unsigned)(day - days_before_month(time.year, time.month)) + 1;
    time.weekday = (unsigned)((days + 1) % 7) + 1; // 0001-01-01 was a Monday
    time.hour = (unsigned)(rest / HOUR);
    time.minute = (unsigned)(rest % HOUR / MINUTE);
    time.second = (unsigned)(rest % MINUTE);
    return time;
}

// The other way; fields out of range carry over, month and year are clamped.
static int64_t seconds_of(const struct calendar *time)
{
    const int64_t year = time->year < 1 ? 1 : time->year;
    const unsigned month = time->month < 1 ? 1 : time->month > 12 ? 12 : time->month;
    const int64_t days = days_before_year(year) + days_before_month(year, month) +
                         (int64_t)time->day - 1 - DAYS_BEFORE_1970;
    return days * DAY + (int64_t)time->hour * HOUR + (int64_t)time->minute * MINUTE + time->second;
}

// ---- registers and time ----------------------------------------------------------------------

static uint8_t encode(const struct rtc *rtc, unsigned value)
{
    return (uint8_t)(rtc->nvram[RTC_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct rtc *rtc, uint8_t byte)
{
    return rtc->nvram[RTC_B] & B_BINARY ? byte : (byte >> 4) * 10u + (byte & 0x0F);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned hour)
{
    if (rtc->nvram[RTC_B] & B_24_HOURS) {
        return encode(rtc, hour);
    }
    return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOURS_PM : 0);
}

static unsigned decode_hour(const struct rtc *rtc, uint8_t byte)
{
    if (rtc->nvram[RTC_B] & B_24_HOURS) {
        return decode(rtc, byte);
    }
    return decode(rtc, byte & ~HOURS_PM) % 12 + (byte & HOURS_PM ? 12 : 0);
}

static bool is_time_register(unsigned index)
{
    static const uint64_t time = 1 << RTC_SECONDS | 1 << RTC_MINUTES | 1 << RTC_HOURS |
                                 1 << RTC_WEEKDAY | 1 << RTC_DAY | 1 << RTC_MONTH | 1 << RTC_YEAR |
                                 UINT64_C(1) << RTC_CENTURY;
    return index < 64 && (time >> index & 1);
}

static bool divider_held(const struct rtc *rtc)
{
    return (rtc->nvram[RTC_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

// Updates are inhibited: the time registers are plain memory until they are released.
static bool frozen(const struct rtc *rtc)
{
    return (rtc->nvram[RTC_B] & B_SET) || divider_held(rtc);
}

static void store_time(struct rtc *rtc)
{
    const struct calendar time = calendar_of(rtc->seconds);

    rtc->nvram[RTC_SECONDS] = encode(rtc, time.second);
    rtc->nvram[RTC_MINUTES] = encode(rtc, time.minute);
    rtc->nvram[RTC_HOURS] = encode_hour(rtc, time.hour);
    rtc->nvram[RTC_WEEKDAY] = encode(rtc, time.weekday);
    rtc->nvram[RTC_DAY] = encode(rtc, time.day);
    rtc->nvram[RTC_MONTH] = encode(rtc, time.month);
    rtc->nvram[RTC_YEAR] = encode(rtc, (unsigned)(time.year % 100));
    rtc->nvram[RTC_CENTURY] = encode(rtc, (unsigned)(time.year / 100 % 100));
}

static void load_time(struct rtc *rtc, const struct chipset_host *host)
{
    const struct calendar time = {
        .year =
            (int64_t)decode(rtc, rtc->nvram[RTC_CENTURY]) * 100 + decode(rtc, rtc->nvram[RTC_YEAR]),
        .month = decode(rtc, rtc->nvram[RTC_MONTH]),
        .day = decode(rtc, rtc->nvram[RTC_DAY]),
        .hour = decode_hour(rtc, rtc->nvram[RTC_HOURS]),
        .minute = decode(rtc, rtc->nvram[RTC_MINUTES]),
        .second = decode(rtc, rtc->nvram[RTC_SECONDS]),
    };
    rtc->seconds = seconds_of(&time);
    rtc->offset = rtc->seconds - host->wall_seconds(host->ctx);
}

// ---- alarm and periodic interrupt --------------------------------------------------------------

static bool alarm_matches(uint8_t alarm, unsigned decoded, unsigned value)
{
    return alarm >= ALARM_ANY || decoded == value;
}

// The first second after `from` that matches the alarm registers, or NO_ALARM. Skips whole hours
// and minutes that cannot match, so it takes at most 60 seconds, 60 minutes, 24 hours,
// 60 minutes and 60 seconds.
static int64_t alarm_after(const struct rtc *rtc, int64_t from)
{
    const uint8_t *nvram = rtc->nvram;
    const uint8_t hours = nvram[RTC_HOURS_ALARM], minutes = nvram[RTC_MINUTES_ALARM];
    const uint8_t seconds = nvram[RTC_SECONDS_ALARM];
    const unsigned hour = decode_hour(rtc, hours), minute = decode(rtc, minutes);
    const unsigned second = decode(rtc, seconds);
    int64_t at = from + 1;

    for (unsigned step = 0; step < 24 + 4 * 60; step++) {
        const unsigned rest = (unsigned)((at % DAY + DAY) % DAY);
        if (!alarm_matches(hours, hour, rest / HOUR)) {
            at += HOUR - rest % HOUR;
        } else if (!alarm_matches(minutes, minute, rest % HOUR / MINUTE)) {
            at += MINUTE - rest % MINUTE;
        } else if (!alarm_matches(seconds, second, rest % MINUTE)) {
            at++;
        } else {
            return at;
        }
    }
    return NO_ALARM;
}

// Ticks of the 32.768 kHz clock in one period, 0 when there is no periodic interrupt.
static uint64_t period_ticks(const struct rtc *rtc)
{
    const unsigned rate = rtc->nvram[RTC_A] & A_RATE;

    if (rate == 0 || divider_held(rtc)) {
        return 0;
    }
    return UINT64_C(1) << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t period_index_at(const struct rtc *rtc, uint64_t now)
{
    const uint64_t period = period_ticks(rtc);
    // 32768 ticks a second are 256 in 78,125 units of 100 ns.
    const uint64_t ticks = now / 78125 * 256 + now % 78125 * 256 / 78125;
    return period ? ticks / period : 0;
}

static uint64_t period_end(const struct rtc *rtc)
{
    const uint64_t ticks = (rtc->period_index + 1) * period_ticks(rtc);
    return ticks / 256 * 78125 + (ticks % 256 * 78125 + 255) / 256;
}

// ---- passing time ----------------------------------------------------------------------------

void rtc_init(struct rtc *rtc, const struct chipset_host *host)
{
    memset(rtc, 0, sizeof *rtc);
    rtc->nvram[RTC_A] = A_POWER_ON;
    rtc->nvram[RTC_B] = B_24_HOURS;
    rtc->update_time = host->now_100ns(host->ctx);
    rtc->seconds = host->wall_seconds(host->ctx);
    rtc->period_index = period_index_at(rtc, rtc->update_time);
}

void rtc_reset(struct rtc *rtc)
{
    rtc->nvram[RTC_B] &= (uint8_t)~C_ALL;
    rtc->flags = 0;
    rtc->index = 0;
}

static void advance_period(struct rtc *rtc, uint64_t now)
{
    const uint64_t index = period_index_at(rtc, now);

    if (index != rtc->period_index) {
        rtc->period_index = index;
        rtc->flags |= C_PERIODIC;
    }
}

void rtc_advance(struct rtc *rtc, const struct chipset_host *host)
{
    const uint64_t now = host->now_100ns(host->ctx);

    advance_period(rtc, now);
    if (frozen(rtc) || (int64_t)(now - rtc->update_time) < UNITS_PER_SECOND) {
        return;
    }
    const int64_t before = rtc->seconds;
    const int64_t passed = (int64_t)(now - rtc->update_time) / UNITS_PER_SECOND;
    rtc->update_time += (uint64_t)(passed * UNITS_PER_SECOND);
    rtc->seconds += passed;
    // Follow the owner's clock where it was stepped or the machine was stopped for a while.
    const int64_t drift = host->wall_seconds(host->ctx) + rtc->offset - rtc->seconds;
    if (drift > MAX_DRIFT_SECONDS || drift < -MAX_DRIFT_SECONDS) {
        rtc->seconds += drift;
    }
    rtc->flags |= C_UPDATE;
    if (alarm_after(rtc, before) <= rtc->seconds) {
        rtc->flags |= C_ALARM;
    }
}

uint64_t rtc_deadline(const struct rtc *rtc)
{
    const unsigned wanted = rtc->nvram[RTC_B] & C_ALL & ~rtc->flags;
    uint64_t deadline = CHIPSET_NO_DEADLINE;

    if ((wanted & C_PERIODIC) && period_ticks(rtc)) {
        deadline = period_end(rtc);
    }
    if (!(wanted & (C_UPDATE | C_ALARM)) || frozen(rtc)) {
        return deadline;
    }
    int64_t at = NO_ALARM;
    if (wanted & C_ALARM) {
        at = alarm_after(rtc, rtc->seconds);
    }
    if (wanted & C_UPDATE) {
        at = rtc->seconds + 1;
    }
    if (at != NO_ALARM) {
        const uint64_t due = rtc->update_time + (uint64_t)((at - rtc->seconds) * UNITS_PER_SECOND);
        deadline = due < deadline ? due : deadline;
    }
    return deadline;
}

bool rtc_interrupt(const struct rtc *rtc)
{
    return rtc->flags & rtc->nvram[RTC_B] & C_ALL;
}

// ---- port accesses -----------------------------------------------------------------------------

static uint8_t read_a(const struct rtc *rtc, const struct chipset_host *host)
{
    const int64_t passed = (int64_t)(host->now_100ns(host->ctx) - rtc->update_time);
    const bool updating = !frozen(rtc) && passed >= UNITS_PER_SECOND - UPDATE_WINDOW;
    return rtc->nvram[RTC_A] | (updating ? A_UPDATING : 0);
}

static uint8_t read_c(struct rtc *rtc)
{
    const uint8_t value = rtc->flags | (rtc_interrupt(rtc) ? C_INTERRUPT : 0);

    rtc->flags = 0;
    return value;
}

uint8_t rtc_read(struct rtc *rtc, unsigned offset, const struct chipset_host *host)
{
    if (offset == 0) {
        return 0xFF; // the index cannot be read back
    }
    rtc_advance(rtc, host);
    switch (rtc->index) {
    case RTC_A:
        return read_a(rtc, host);
    case RTC_C:
        return read_c(rtc);
    case RTC_D:
        return D_VALID;
    default:
        if (is_time_register(rtc->index) && !frozen(rtc)) {
            store_time(rtc);
        }
        return rtc->nvram[rtc->index];
    }
}

// Registers A and B: what they inhibit, release or re-time.
static void write_control(struct rtc *rtc, uint8_t value, const struct chipset_host *host)
{
    const uint64_t now = host->now_100ns(host->ctx);
    const bool was_frozen = frozen(rtc), was_held = divider_held(rtc);

    if (!was_frozen) {
        store_time(rtc); // in case this write freezes them
    }
    if (rtc->index == RTC_A) {
        value &= A_DIVIDER | A_RATE;
    } else if (value & B_SET) {
        value &= ~B_UPDATE_ENABLE;
    }
    rtc->nvram[rtc->index] = value;
    rtc->period_index = period_index_at(rtc, now);
    if (was_frozen && !frozen(rtc)) {
        load_time(rtc, host);
        rtc->update_time = was_held ? now - HALF_SECOND : now;
    }
}

static void write_time(struct rtc *rtc, uint8_t value, const struct chipset_host *host)
{
    if (frozen(rtc)) {
        rtc->nvram[rtc->index] = value;
        return;
    }
    store_time(rtc);
    rtc->nvram[rtc->index] = value;
    load_time(rtc, host);
}

void rtc_write(struct rtc *rtc, unsigned offset, uint8_t value, const struct chipset_host *host)
{
    if (offset == 0) {
        rtc->index = value & (RTC_NVRAM - 1);
        return;
    }
    rtc_advance(rtc, host);
    if (rtc->index == RTC_A || rtc->index == RTC_B) {
        write_control(rtc, value, host);
    } else if (is_time_register(rtc->index)) {
        write_time(rtc, value, host);
    } else if (rtc->index != RTC_C && rtc->index != RTC_D) {
        rtc->nvram[rtc->index] = value;
    }
}
