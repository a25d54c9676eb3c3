// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux guest program: does this very processor run beneath the hypervisor?
//
//   cpusig CPU        exit 0 if CPU shows the signatures, 1 if not, 2 if it could not be asked
//
// A processor that escaped to bare metal still boots Linux, so every test asks every processor.
#define _GNU_SOURCE
#include <cpuid.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CPUID_1_ECX_HYPERVISOR (1u << 31)
#define HV_VENDOR_LEAF         0x40000000u
#define HV_INTERFACE_LEAF      0x40000001u
#define HV_INTERFACE_HV1       0x31237648u // "Hv#1"
#define HV_MAX_LEAF_MINIMUM    0x40000005u // TLFS: Feature and Interface Discovery

static int signature_shown(void)
{
    unsigned a, b, c, d;
    char vendor[13] = "";

    __cpuid(1, a, b, c, d);
    if (!(c & CPUID_1_ECX_HYPERVISOR))
        return 0;
    __cpuid(HV_VENDOR_LEAF, a, b, c, d);
    memcpy(vendor, &b, 4);
    memcpy(vendor + 4, &c, 4);
    memcpy(vendor + 8, &d, 4);
    if (strcmp(vendor, "Microsoft Hv") != 0 || a < HV_MAX_LEAF_MINIMUM)
        return 0;
    __cpuid(HV_INTERFACE_LEAF, a, b, c, d);
    return a == HV_INTERFACE_HV1;
}

int main(int argc, char **argv)
{
    int cpu = argc == 2 ? atoi(argv[1]) : -1;
    const struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
    cpu_set_t set;

    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return 2;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        perror("cpusig: sched_setaffinity");
        return 2;
    }
    // The nap needs this processor's own timer, and its idle path between the two looks.
    for (int look = 0; look < 2; look++) {
        if (sched_getcpu() != cpu)
            return 2;
        if (!signature_shown())
            return 1;
        nanosleep(&nap, NULL);
    }
    return 0;
}
