// SPDX-License-Identifier: BSD-2-Clause-Patent
// The time of day: contract in clock.h.
#include "root/clock.h"

#include "hv/time.h"
#include "root/efi.h"
#include "root/hv.h"

#define SECONDS_1601_TO_1970 INT64_C(11644473600)

static int64_t start_seconds;
static uint64_t start_time;

// Days since 1970-01-01 of a date of the Gregorian calendar, the year counted from March.
static int64_t days_of(const EFI_TIME *date)
{
    const int64_t year = date->Month > 2 ? date->Year : date->Year - 1;
    const int64_t month = date->Month > 2 ? date->Month - 3 : date->Month + 9;
    const int64_t of_year = (153 * month + 2) / 5 + date->Day - 1;

    return year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719468;
}

void clock_start(void)
{
    EFI_TIME now;

    start_time = hv_time();
    if (EFI_ERROR(efi_system->RuntimeServices->GetTime(&now, NULL))) {
        return;
    }
    start_seconds = days_of(&now) * 86400 + now.Hour * 3600l + now.Minute * 60l + now.Second;
}

int64_t clock_seconds(void)
{
    return start_seconds + (int64_t)((hv_time() - start_time) / HV_REFERENCE_TIME_HZ);
}

uint64_t clock_100ns(void)
{
    return (uint64_t)(start_seconds + SECONDS_1601_TO_1970) * HV_REFERENCE_TIME_HZ +
           (hv_time() - start_time);
}
