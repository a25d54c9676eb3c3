// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux guest program: checksum and segmentation offload of a network adapter, as ethtool -K has
// them.
//
//   offload eth0          prints "rx on tx on tso on", or off each
//   offload eth0 on|off   turns all of them
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    const char *name;
    unsigned get, set;
} kinds[] = {
    {"rx", ETHTOOL_GRXCSUM, ETHTOOL_SRXCSUM},
    {"tx", ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM},
    {"tso", ETHTOOL_GTSO, ETHTOOL_STSO},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int command(const char *name, unsigned what, unsigned *value)
{
    struct ethtool_value data = {what, *value};
    struct ifreq request = {.ifr_data = (void *)&data};
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    const int result = ioctl(fd, SIOCETHTOOL, &request);
    close(fd);
    *value = data.data;
    return result;
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < KINDS && argc > 1; i++) {
        unsigned value = argc > 2 && !strcmp(argv[2], "on");

        if (command(argv[1], argc > 2 ? kinds[i].set : kinds[i].get, &value)) {
            perror(kinds[i].name);
            return 1;
        }
        if (argc == 2) {
            printf("%s%s %s", i ? " " : "", kinds[i].name, value ? "on" : "off");
        }
    }
    if (argc == 2) {
        printf("\n");
    }
    return argc < 2;
}
