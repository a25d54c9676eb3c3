// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux guest program: how far the system's clock is from the host's, which hv_utils offers as a
// PTP clock (what the host has last said, carried on by the reference counter).
//
//   clockdiff DEVICE SECONDS LIMIT_US
//
// Looks once a second, prints the largest difference; exit 0 if none exceeds the limit.
#include <fcntl.h>
#include <linux/ptp_clock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SAMPLES = 10 };

static int64_t ns(const struct ptp_clock_time *time)
{
    return time->sec * INT64_C(1000000000) + time->nsec;
}

// System minus host, by the sample that took the least time. False: the clock has no time.
static int difference(int fd, int64_t *result)
{
    struct ptp_sys_offset offset = {.n_samples = SAMPLES};
    int64_t least = INT64_MAX;

    if (ioctl(fd, PTP_SYS_OFFSET, &offset)) {
        perror("PTP_SYS_OFFSET");
        return 0;
    }
    for (unsigned i = 0; i < SAMPLES; i++) {
        const int64_t before = ns(&offset.ts[2 * i]), after = ns(&offset.ts[2 * i + 2]);
        if (after - before < least) {
            least = after - before;
            *result = (before + after) / 2 - ns(&offset.ts[2 * i + 1]);
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    const int fd = argc == 4 ? open(argv[1], O_RDWR) : -1;
    int64_t worst = 0, now = 0;

    if (fd < 0) {
        perror("clockdiff");
        return 2;
    }
    for (int i = 0; i < atoi(argv[2]); i++) {
        if (!difference(fd, &now)) {
            return 1;
        }
        worst = llabs(now) > worst ? llabs(now) : worst;
        sleep(1);
    }
    printf("# at most %ld us from the host's clock, %ld at last\n", (long)(worst / 1000),
           (long)(now / 1000));
    return worst / 1000 > atol(argv[3]);
}
