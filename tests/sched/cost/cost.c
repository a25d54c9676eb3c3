// SPDX-License-Identifier: BSD-2-Clause-Patent
// What a decision costs: the instructions of sched_switch() with 64 VPs on an LP, counted by
// stepping through it. Built as the hypervisor is.
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "corbel/sched.h"

#define VPS       64u
#define WARM      10000u // decisions before it is counted
#define DECISIONS 100u
#define LIMIT     400u // instructions, on average
#define SLICE     2000000u

static const struct mix {
    const char *name;
    bool any_weight;
    uint32_t capped, reserved; // each so many VPs one; 0: none
} mixes[] = {{"equal weights", false, 0, 0},
             {"any weights", true, 0, 0},
             {"any weights, every fourth VP capped", true, 4, 0},
             {"any weights, every eighth VP with a reserve", true, 0, 8}};

static struct sched_lp lp;
static struct sched_lp *const list[] = {&lp};
static struct sched_policy policy;
static struct sched_machine machine;
static struct sched_vp vps[VPS];
static uint64_t now, seed = 1;
static volatile bool *counts; // shared with who counts

static uint32_t random_below(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static void prepare(const struct mix *mix)
{
    sched_policy_init(&policy, SLICE);
    sched_machine_init(&machine, list, NULL, 1, &policy);
    for (uint32_t i = 0; i < VPS; i++) {
        struct sched_controls c = {.weight = mix->any_weight ? 1 + random_below(1000) : 100};
        struct sched_lp *home;
        if (mix->capped && i % mix->capped == 1)
            c.cap = SCHED_WHOLE * (1 + random_below(99)) / 100;
        if (mix->reserved && i % mix->reserved == 1)
            c.reserve = SCHED_WHOLE / 50;
        sched_vp_init(&vps[i], &lp, false);
        sched_vp_control(&vps[i], &c, 0);
        sched_wake(&vps[i], &home, 0);
    }
    sched_switch(&lp, false, 0);
}

// The end of a turn, as lp_after_interrupt() has it.
static void decide(void)
{
    uint64_t first = sched_timer_first(&lp);

    now = lp.running->slice_end < first ? lp.running->slice_end : first;
    if (sched_must_release(&lp, now))
        sched_release(&lp, now);
    if (sched_must_look(&lp, now))
        sched_look(&lp, &machine, now);
    if (!sched_must_yield(&lp, now))
        return;
    *counts = true;
    sched_switch(&lp, false, now);
    *counts = false;
}

static void decide_many(const struct mix *mix)
{
    prepare(mix);
    for (uint32_t i = 0; i < WARM; i++)
        decide();
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    for (uint32_t i = 0; i < DECISIONS; i++)
        decide();
    _exit(0);
}

// Instructions of all counted decisions; 0: they could not be counted.
static uint64_t step_through(pid_t child, uint32_t *decisions)
{
    bool before = false;
    uint64_t count = 0;
    int status;

    *decisions = 0;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        count += *counts;
        *decisions += *counts && !before;
        before = *counts;
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0)
            return 0;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? count : 0;
}

static bool measure(const struct mix *mix)
{
    uint32_t decisions;
    uint64_t count, mean;
    pid_t child;

    *counts = false;
    child = fork();
    if (child == 0)
        decide_many(mix);
    count = step_through(child, &decisions);
    mean = decisions ? count / decisions : 0;
    printf("%lu instructions, %u decisions: %u VPs, %s%s\n", (unsigned long)mean, decisions, VPS,
           mix->name, mean > LIMIT ? "   TOO MANY" : "");
    return mean > 0 && mean <= LIMIT;
}

int main(void)
{
    bool good = true;

    counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED)
        return 1;
    for (uint32_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++)
        good &= measure(&mixes[i]);
    return !good;
}
