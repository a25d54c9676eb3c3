// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux guest program: what an operation on a synthetic device costs, on a machine that counts
// instructions (tests/bench/throughput).
//
//   iobench NAME read SIZE random|sequential DEVICE
//   iobench NAME send SIZE
//
// Prints "throughput NAME ALL RUNNING": per operation, counts of the time stamp counter, and of it
// what passed while this VP ran (HV_X64_MSR_VP_RUNTIME: the guest, and what the hypervisor answers
// by itself).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MSR_VP_RUNTIME 0x40000010
#define MSR_TSC_HZ     0x40000022
#define RUNTIME_HZ     10000000u

enum { WARM = 20, ROUNDS = 400, SPAN = 8 << 20 };

struct stamp {
    uint64_t tsc, runtime;
};

static uint64_t msr(int number)
{
    static int fd = -1;
    uint64_t value;

    if (fd < 0) {
        fd = open("/dev/cpu/0/msr", O_RDONLY);
    }
    if (pread(fd, &value, sizeof value, number) != sizeof value) {
        perror("msr");
        exit(1);
    }
    return value;
}

static struct stamp now(void)
{
    return (struct stamp){__builtin_ia32_rdtsc(), msr(MSR_VP_RUNTIME)};
}

static void report(const char *name, struct stamp from, struct stamp to)
{
    printf("throughput %s %lu %lu\n", name, (to.tsc - from.tsc) / ROUNDS,
           (to.runtime - from.runtime) * (msr(MSR_TSC_HZ) / RUNTIME_HZ) / ROUNDS);
}

static int read_disk(const char *name, size_t size, int is_random, const char *device)
{
    int fd = open(device, O_RDONLY | O_DIRECT);
    void *buffer = aligned_alloc(4096, size);
    uint32_t seed = 1;
    struct stamp from = {0, 0};

    for (int i = 0; i < WARM + ROUNDS; i++) {
        off_t at = (off_t)((uint64_t)i * size % SPAN);
        if (is_random) {
            seed = seed * 1664525 + 1013904223;
            at = (off_t)(seed >> 8) % (SPAN / (off_t)size) * (off_t)size;
        }
        if (i == WARM) {
            from = now();
        }
        if (pread(fd, buffer, size, at) != (ssize_t)size) {
            perror(device);
            return 1;
        }
    }
    report(name, from, now());
    return 0;
}

// Broadcasts: no answer is waited for, each is a frame of its own.
static int send_frames(const char *name, size_t size)
{
    static char bytes[65536];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    struct stamp from = {0, 0};

    inet_aton("10.0.0.255", &to.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    for (int i = 0; i < WARM + ROUNDS; i++) {
        if (i == WARM) {
            from = now();
        }
        if (sendto(fd, bytes, size, 0, (struct sockaddr *)&to, sizeof to) != (ssize_t)size) {
            perror("sendto");
            return 1;
        }
    }
    report(name, from, now());
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && !strcmp(argv[2], "read")) {
        return read_disk(argv[1], (size_t)atol(argv[3]), !strcmp(argv[4], "random"), argv[5]);
    }
    if (argc == 4 && !strcmp(argv[2], "send")) {
        return send_frames(argv[1], (size_t)atol(argv[3]));
    }
    fprintf(stderr, "iobench: wrong arguments\n");
    return 2;
}
