// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux guest program: Hyper-V sockets, which are AF_VSOCK here.
//
//   vsock echo PORT      sends 256 KiB to that port of the host; exit 0 if all of it comes back
//   vsock answer PORT    listens, says "ready: socket"; takes one connection, reads a line, answers
//                        "you said LINE"
#define _GNU_SOURCE
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOTAL = 256 << 10, PART = 5000 };

static struct sockaddr_vm address(unsigned cid, const char *port)
{
    return (struct sockaddr_vm){
        .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = (unsigned)atoi(port)};
}

static unsigned char pattern(unsigned i)
{
    return (unsigned char)(i * 2654435761u >> 13);
}

static void send_all(int fd)
{
    unsigned char bytes[PART];

    for (unsigned done = 0; done < TOTAL;) {
        unsigned part = TOTAL - done < PART ? TOTAL - done : PART;
        for (unsigned i = 0; i < part; i++) {
            bytes[i] = pattern(done + i);
        }
        ssize_t sent = write(fd, bytes, part);
        if (sent <= 0) {
            _exit(1);
        }
        done += (unsigned)sent;
    }
    shutdown(fd, SHUT_WR);
    _exit(0);
}

static int echo(int fd)
{
    unsigned char bytes[PART];
    unsigned done = 0;
    ssize_t got;
    int status;

    if (fork() == 0) {
        send_all(fd);
    }
    while ((got = read(fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < got; i++, done++) {
            if (bytes[i] != pattern(done)) {
                printf("# byte %u is wrong\n", done);
                return 1;
            }
        }
    }
    wait(&status);
    if (done != TOTAL || got < 0) {
        printf("# %u bytes came back\n", done);
    }
    return status || got < 0 || done != TOTAL;
}

static int answer(int listener)
{
    char line[200];
    FILE *peer;
    int fd = accept(listener, NULL, NULL);

    if (fd < 0 || !(peer = fdopen(fd, "r+")) || !fgets(line, sizeof line, peer)) {
        return 1;
    }
    fprintf(peer, "you said %s", line);
    return fclose(peer) != 0;
}

int main(int argc, char **argv)
{
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (argc != 3 || fd < 0) {
        perror("vsock");
        return 2;
    }
    if (!strcmp(argv[1], "echo")) {
        struct sockaddr_vm to = address(VMADDR_CID_HOST, argv[2]);
        if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
            perror("connect");
            return 1;
        }
        return echo(fd);
    }
    struct sockaddr_vm own = address(VMADDR_CID_ANY, argv[2]);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) || listen(fd, 1)) {
        perror("listen");
        return 1;
    }
    puts("ready: socket");
    fflush(stdout);
    return answer(fd);
}
