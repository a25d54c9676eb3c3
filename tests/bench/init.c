// SPDX-License-Identifier: BSD-2-Clause-Patent
// The first process of a Linux child: says when it was reached, and powers off.
#include <stdint.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

int main(void)
{
    uint64_t now = __rdtsc();
    struct timespec uptime;
    clock_gettime(CLOCK_BOOTTIME, &uptime);
    printf("init at %llu, kernel up for %lld ns\n", (unsigned long long)now,
           (long long)uptime.tv_sec * 1000000000 + uptime.tv_nsec);
    fflush(stdout);
    sync();
    return reboot(RB_POWER_OFF);
}
