// SPDX-License-Identifier: BSD-2-Clause-Patent
// Linux guest program: a mixed load on all processors, which checks what it does.
//
//   mixload SECONDS        exit 0 if nothing went wrong; prints how much was done
//
// One process of each kind per processor: forks (copy on write), mappings that two threads share
// (remote TLB flushes), futexes (wake-ups across processors), timers (never early).
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MAPPED = 64, FORKED = 32, KINDS = 4, PROCESSES = 64 };

struct progress {
    _Atomic uint64_t rounds;
    _Atomic uint64_t worst_ns; // of timers: how late
};

static struct progress *progress; // shared, one a kind
static uint64_t end_ns;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
    printf("# mixload: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    _exit(1);
}

// ---- forks: the child changes what it shares with the parent, who must not see it ---------------

static void forks(struct progress *p)
{
    static uint32_t page[FORKED][PAGE / 4];

    for (uint32_t round = 1; now_ns() < end_ns; round++, p->rounds++) {
        int status;

        for (int i = 0; i < FORKED; i++)
            page[i][0] = round;
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0) {
            bool right = true;
            for (int i = 0; i < FORKED; i++) {
                right &= page[i][0] == round;
                page[i][0] = ~round;
            }
            _exit(right ? 0 : 1);
        }
        if (waitpid(child, &status, 0) != child || status != 0)
            fail("a child does not see its parent's memory");
        for (int i = 0; i < FORKED; i++)
            if (page[i][0] != round)
                fail("a child has changed its parent's memory");
    }
}

// ---- mappings: one thread fills pages that the other has just looked at through other frames ----

struct mapped {
    _Atomic(volatile uint32_t *) pages;
    _Atomic uint32_t turn, value;
    _Atomic bool wrong, over;
};

static void *look(void *context)
{
    struct mapped *m = context;

    for (uint32_t seen = 0; !m->over;) {
        uint32_t turn = m->turn;
        if (turn == seen || turn % 2 == 0) {
            sched_yield();
            continue;
        }
        volatile uint32_t *pages = m->pages;
        for (int i = 0; i < MAPPED; i++)
            if (pages[i * PAGE / 4] != m->value)
                m->wrong = true;
        seen = turn;
        m->turn = turn + 1;
    }
    return NULL;
}

// The same addresses, other frames: whoever still used the old translation would see the old value.
static void mappings(struct progress *p)
{
    struct mapped m = {0};
    pthread_t other;
    void *at = mmap(NULL, MAPPED * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED || pthread_create(&other, NULL, look, &m) != 0)
        fail("mmap or thread");
    for (uint32_t round = 1; now_ns() < end_ns; round++, p->rounds++) {
        volatile uint32_t *pages = mmap(at, MAPPED * PAGE, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (pages == MAP_FAILED)
            fail("mmap");
        for (int i = 0; i < MAPPED; i++)
            pages[i * PAGE / 4] = round;
        if (mprotect(at, MAPPED * PAGE, PROT_READ) != 0)
            fail("mprotect");
        m.value = round;
        m.pages = pages;
        m.turn++;
        while (m.turn % 2)
            sched_yield();
        if (m.wrong)
            fail("a page of an old mapping was seen");
    }
    m.over = true;
    pthread_join(other, NULL);
}

// ---- futexes: two threads pass a token ----------------------------------------------------------

struct token {
    _Atomic uint32_t holder; // 0 or 1; 2: over
    struct progress *progress;
};

static void pass(struct token *t, uint32_t self)
{
    for (;;) {
        uint32_t holder;
        while ((holder = t->holder) == 1 - self)
            syscall(SYS_futex, &t->holder, FUTEX_WAIT_PRIVATE, holder, NULL, NULL, 0);
        if (holder == 2 || now_ns() >= end_ns)
            break;
        t->progress->rounds++;
        t->holder = 1 - self;
        syscall(SYS_futex, &t->holder, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    t->holder = 2;
    syscall(SYS_futex, &t->holder, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0);
}

static void *second(void *context)
{
    pass(context, 1);
    return NULL;
}

static void futexes(struct progress *p)
{
    struct token t = {.progress = p};
    pthread_t other;

    if (pthread_create(&other, NULL, second, &t) != 0)
        fail("thread");
    pass(&t, 0);
    pthread_join(other, NULL);
}

// ---- timers: never early ------------------------------------------------------------------------

static void timers(struct progress *p)
{
    for (uint64_t round = 0; now_ns() < end_ns; round++, p->rounds++) {
        uint64_t due = now_ns() + 100000 + round % 1000 * 3000, late;
        const struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};

        if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0)
            fail("clock_nanosleep");
        late = now_ns() - due;
        if ((int64_t)late < 0)
            fail("a timer is early");
        for (uint64_t worst = p->worst_ns; late > worst;)
            if (atomic_compare_exchange_weak(&p->worst_ns, &worst, late))
                break;
    }
}

static const struct {
    const char *name;
    void (*run)(struct progress *p);
} kinds[KINDS] = {{"fork", forks}, {"mmap", mappings}, {"futex", futexes}, {"timer", timers}};

static bool run_all(long cpus)
{
    pid_t process[PROCESSES];
    int count = 0;
    bool good = true;

    for (long cpu = 0; cpu < cpus; cpu++)
        for (int i = 0; i < KINDS && count < PROCESSES; i++) {
            process[count] = fork();
            if (process[count] < 0)
                return false;
            if (process[count++] == 0) {
                kinds[i].run(&progress[i]);
                _exit(0);
            }
        }
    for (int i = 0; i < count; i++) {
        int status;
        good &= waitpid(process[i], &status, 0) == process[i] && status == 0;
    }
    return good;
}

int main(int argc, char **argv)
{
    long seconds = argc == 2 ? atol(argv[1]) : 0;
    bool good;

    if (seconds <= 0)
        return 2;
    progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED)
        return 2;
    end_ns = now_ns() + (uint64_t)seconds * 1000000000u;
    good = run_all(sysconf(_SC_NPROCESSORS_ONLN));
    for (int i = 0; i < KINDS; i++) {
        printf("# %s: %lu rounds\n", kinds[i].name, (unsigned long)progress[i].rounds);
        good &= progress[i].rounds != 0;
    }
    printf("# latest timer: %lu us\n", (unsigned long)(progress[3].worst_ns / 1000));
    return good ? 0 : 1;
}
