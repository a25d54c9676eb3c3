// SPDX-License-Identifier: BSD-2-Clause-Patent
// What is simulated and what must come out.
#pragma once

#include "sim.h"

struct measures {
    uint64_t share_error; // of any CPU-bound VP in any second, ppm of an LP
    uint64_t cap_error; // of any capped VP in any 100 ms, ppm of an LP: above, or below if all fit
    uint64_t reserve_error;
    uint64_t group_error; // of any group in any 100 ms, ppm of its allowance, above
    uint64_t delay_p99, delay_max, wait_max; // ns
    uint64_t moves, switches;                // a second, all LPs
    uint64_t used;                           // ppm of the machine
    uint64_t locks;                          // a second; its limit is the least
};

#define SCENARIO_GROUPS 4u
#define SCENARIO_SETS   2u
struct scene {
    struct sim *sim;
    struct sched_group groups[SCENARIO_GROUPS];
    uint64_t allowance[SCENARIO_GROUPS]; // ppm of an LP
    uint32_t group_count;
    uint64_t sets[SCENARIO_SETS][SCHED_LPS_MAX / 64];
    uint64_t set_size[SCENARIO_SETS];
};

struct scenario {
    const char *name, *what;
    uint32_t cores, threads, caches, nodes;
    void (*setup)(struct scene *scene);
    void (*tick)(struct scene *scene, uint64_t tick); // each 100 ms; NULL: nothing happens
    uint32_t seconds;
    uint32_t settle; // seconds before it is measured
    struct measures limit;
};

// Those of one scheduler.
struct scenario_table {
    const struct scenario *scenarios;
    uint32_t count;
    bool by_core; // the core scheduler's
};
extern const struct scenario_table scenarios_classic, scenarios_cores;

// Runs one; 0 if everything is within the limits. With `tells`, says what came out.
int scenario_run(const struct scenario *scenario, bool by_core, uint32_t seed, struct measures *m,
                 bool tells);
