// SPDX-License-Identifier: BSD-2-Clause-Patent
// A simulator of machines for the scheduler: kernel/sched decides, this plays the rest of the
// hypervisor (kernel/lp.c, kernel/vp.c) and the guests' loads. Time is in nanoseconds. Integers
// only, and one random generator, so a scenario always comes out the same.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "corbel/sched_core.h"

#define US        1000ull
#define MS        1000000ull
#define SECOND    1000000000ull
#define SIM_LPS   SCHED_LPS_MAX
#define SIM_VPS   4096u
#define SIM_NEVER UINT64_MAX
#define PPM       1000000u

enum load_kind {
    LOAD_CPU,      // never blocks
    LOAD_PERIODIC, // `run` at the start of each `period`
    LOAD_BURSTY,   // runs and sleeps, both evenly spread around `run` and `period` - `run`
    LOAD_LOCK      // runs, and takes a lock of its VM for a tenth of it; spins while it is taken
};

struct load {
    enum load_kind kind;
    uint64_t run, period;
};

struct sim_vm {
    uint32_t lock_holder; // VP + 1; 0: free
    uint64_t locks;       // times it was taken
};

struct sim_vp {
    struct sched_vp sched;   // first
    struct sched_team *team; // core scheduler: allocated
    uint32_t index, vm;
    bool present, leaving;
    struct load load;
    struct sched_controls controls;
    uint64_t left;         // of the present run
    uint64_t next_start;   // periodic
    uint64_t ran, counted; // all; up to when, while it runs
    uint64_t woken;        // when it last woke, SIM_NEVER: it has run since
    uint64_t ready_since;  // the same for whatever it waits
    uint64_t window_ran, short_ran;
    bool waits_lock, holds_lock;
    uint64_t spun;
    bool measured; // its wake-ups count
};

struct sim_lp {
    struct sched_lp sched; // first
    struct sim_vp *vp;
    uint64_t idle_since, idle_time;
    bool idle;
    bool kicked; // core scheduler: it is to look who has the core
};

#define DELAY_BUCKETS 4096u // of 10 us
struct sim {
    struct sched_policy policy;
    struct sched_machine machine;
    uint64_t now, random;
    uint32_t lp_count, vp_count, vm_count;
    struct sim_lp *lps;
    struct sched_lp **lp_list;
    // Core scheduler, if `by_core`.
    bool by_core;
    struct sched_cores cores;
    struct sched_core *core_array;
    struct sched_lp **core_queues;
    uint64_t shared; // times at which two teams ran on one core
    struct sim_vp *vps;
    struct sim_vm *vms;
    // Heap of the next events: LPs first, then VPs.
    uint64_t *when;
    uint32_t *heap, *place;
    uint32_t heap_count;

    uint64_t ipi; // until another LP comes to a request
    bool yields;  // VPs that spin for long say so
    uint64_t events, moves, faults, wakes, delay_max, wait_max;
    uint64_t delays[DELAY_BUCKETS];
    const char *fault;
};

struct sim *sim_create(uint32_t cores, uint32_t threads, uint32_t caches, uint32_t nodes,
                       uint32_t seed, bool by_core);
void sim_destroy(struct sim *s);
// An LP of an affinity where the VP begins; returns its index.
uint32_t sim_add(struct sim *s, uint32_t vm, struct load load, const struct sched_controls *c,
                 const uint64_t *affinity);
// The root VP of an LP.
void sim_add_root(struct sim *s, uint32_t lp, struct load load);
// Core scheduler: sibling VPs, all with the same load and controls; returns the first's index. With
// `root`, a core, they are its root VPs; NULL: a core where they begin.
uint32_t sim_add_team(struct sim *s, uint32_t vm, uint32_t threads, struct load load,
                      const struct sched_controls *c, struct sched_core *root);
// Departs as soon as it does not run.
void sim_remove(struct sim *s, uint32_t vp);
// Runs until a time.
void sim_run(struct sim *s, uint64_t until);
uint64_t sim_random(struct sim *s, uint64_t below);
// Counts what VPs have had up to now.
void sim_settle(struct sim *s);
// Delay of wake-ups within which `ppm` of them lie, ns.
uint64_t sim_delay(const struct sim *s, uint32_t ppm);

// ---- between engine.c and cores.c ---------------------------------------------------------------

// An LP comes to what it is asked for.
void sim_kick(struct sim *s, uint32_t lp);
void sim_fault(struct sim *s, const char *text);
// A VP's first run is planned.
void sim_begin(struct sim *s, struct sim_vp *vp);
struct sim_vp *sim_new_vp(struct sim *s, uint32_t vm, struct load load,
                          const struct sched_controls *c);

void sim_cores_create(struct sim *s, const struct sched_place *places, uint32_t threads);
// The first of a VP's team, who stands for it.
const struct sim_vp *sim_head(const struct sim_vp *vp);
void sim_cores_destroy(struct sim *s);
void sim_core_wake(struct sim *s, struct sim_vp *vp);
struct sim_vp *sim_core_change(struct sim *s, struct sim_lp *lp, bool blocked);
void sim_core_look(struct sim *s, struct sim_lp *lp);
// No thread of the LP's core runs a VP of another team.
void sim_core_check(struct sim *s, const struct sim_lp *lp);

// ---- the ideal ----------------------------------------------------------------------------------

// One of those who share. All in ppm of an LP.
struct fluid {
    uint64_t weight, floor, ceiling; // ceiling: the lesser of cap and demand
    uint32_t group;                  // 0: none
    uint64_t share;                  // result
};
// Divides `capacity` by weight within the bounds, groups[g - 1] bounding the sum of group g.
void fluid_share(struct fluid *f, uint32_t count, uint64_t capacity, const uint64_t *groups,
                 uint32_t group_count);
