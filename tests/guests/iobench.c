// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux guest program: what an operation on a disk or a network adapter costs, on a machine that
// counts instructions (tests/bench/throughput).
//
//   iobench NAME read SIZE random|sequential DEVICE
//   iobench NAME send SIZE          UDP broadcasts
//   iobench NAME segment SEGMENTS   one TCP packet that the adapter has to cut into so many
//
// Prints "throughput NAME ALL RUNNING": per operation, counts of the time stamp counter, and of it
// what passed while this VP ran (HV_X64_MSR_VP_RUNTIME: the guest, and what the hypervisor answers
// by itself).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stddef.h>
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

// What a packet socket sends ahead of a frame that is to be cut, and the frame.
struct segmented {
    struct virtio_net_hdr head;
    struct ethhdr ethernet;
    struct iphdr ip;
    struct tcphdr tcp;
    uint8_t payload[65536];
} __attribute__((packed));

// Hyper-V's adapter takes 62,780 bytes at most; Linux cuts what is longer by itself.
enum { MSS = 1460, SEGMENTS_MAX = 42 };

static uint32_t sum_words(uint32_t sum, const void *from, size_t size)
{
    const uint8_t *bytes = from;

    for (size_t i = 0; i < size; i += 2) {
        sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    }
    while (sum >> 16) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    return sum;
}

// The checksums are to be filled in as well: TCP's holds the sum of the pseudo-header.
static size_t make_segmented(struct segmented *packet, unsigned segments)
{
    const size_t tcp_size = sizeof packet->tcp + segments * MSS;

    memset(packet->ethernet.h_dest, 0xFF, ETH_ALEN);
    memcpy(packet->ethernet.h_source, "\2\0\0\0\0\1", ETH_ALEN);
    packet->ethernet.h_proto = htons(ETH_P_IP);
    packet->ip = (struct iphdr){.ihl = 5, .version = 4, .ttl = 64, .protocol = IPPROTO_TCP};
    packet->ip.tot_len = htons((uint16_t)(sizeof packet->ip + tcp_size));
    packet->ip.saddr = inet_addr("10.0.0.1");
    packet->ip.daddr = inet_addr("10.0.0.2");
    packet->ip.check = htons((uint16_t)~sum_words(0, &packet->ip, sizeof packet->ip));
    packet->tcp.source = packet->tcp.dest = htons(9);
    packet->tcp.doff = sizeof packet->tcp / 4;
    packet->tcp.ack = 1;
    packet->tcp.window = htons(65535);
    packet->tcp.check =
        htons((uint16_t)sum_words(IPPROTO_TCP + (uint32_t)tcp_size, &packet->ip.saddr, 8));
    packet->head = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = sizeof packet->ethernet + sizeof packet->ip + sizeof packet->tcp,
        .gso_size = MSS,
        .csum_start = sizeof packet->ethernet + sizeof packet->ip,
        .csum_offset = offsetof(struct tcphdr, check)};
    return offsetof(struct segmented, payload) + segments * MSS;
}

static int send_segmented(const char *name, unsigned segments)
{
    static struct segmented packet;
    const size_t size = make_segmented(&packet, segments);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;
    struct stamp from = {0, 0};

    to.sll_ifindex = (int)if_nametoindex("eth0");
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on)) {
        perror("PACKET_VNET_HDR");
        return 1;
    }
    for (int i = 0; i < WARM + ROUNDS; i++) {
        if (i == WARM) {
            from = now();
        }
        if (sendto(fd, &packet, size, 0, (struct sockaddr *)&to, sizeof to) != (ssize_t)size) {
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
    if (argc == 4 && !strcmp(argv[2], "segment") && atoi(argv[3]) <= SEGMENTS_MAX) {
        return send_segmented(argv[1], (unsigned)atoi(argv[3]));
    }
    fprintf(stderr, "iobench: wrong arguments\n");
    return 2;
}
