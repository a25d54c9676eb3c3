// SPDX-License-Identifier: BSD-2-Clause-Patent
// One fair queue: who of several is to run next on one processor (an LP, or a core whose threads
// run together). Earliest eligible virtual deadline first (Stoica and Abdel-Wahab, 1995):
//
// Each entity has a virtual time, the service that it has had divided by its weight, and a virtual
// deadline, its virtual time at the end of its present slice. The queue's virtual time V is the
// average of its entities' by weight. Who is not ahead of V is eligible; of these the one with the
// earliest deadline runs. So nobody is ever further from its fair share than a slice.
//
// Bounds on top of it: a cap or a CPU group holds an entity back until a time (`release`); a
// reserve is a floor under its weight. Pure: no clock, no hardware, no globals. Time is in ticks of
// the caller's clock; the caller serialises (the lock is the owner's, in sched.h).
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SCHED_WEIGHT_MAX     10000u // Set-VMProcessor: RelativeWeight 1 to 10000
#define SCHED_WEIGHT_DEFAULT 100u
#define SCHED_WHOLE          65536u // caps and reserves: this is 100 %
#define SCHED_NEVER          UINT64_MAX

// A place in a list that is sorted by key.
struct sched_node {
    struct sched_node *next, *previous;
    uint64_t key;
};

struct sched_list {
    struct sched_node *first, *last;
    struct sched_node *recent; // one that came between others not long ago; NULL: none
};

// Times that shape decisions, in ticks.
enum sched_distance {
    SCHED_NEAR_CORE,  // threads of a core
    SCHED_NEAR_CACHE, // cores of a last-level cache
    SCHED_NEAR_NODE,  // of a NUMA node
    SCHED_FAR,
    SCHED_DISTANCES
};
struct sched_policy {
    uint64_t slice;                // a turn, while others wait
    uint64_t quantum;              // a bounded VP has two of them more than its bound at most
    uint64_t lag[SCHED_DISTANCES]; // how much service a VP must lack to be moved so far
};

// VPs of partitions that share an allowance: G = LPs x cap, as "a number of LPs' worth of time"
// (CPU resource controls: "How CPU Groups Work"). One word is shared by all LPs; it is touched once
// in a quantum.
struct sched_group {
    _Atomic uint64_t paid; // until when all service that was handed out is paid for
    uint64_t price;        // time that a tick of service takes to be paid for, 32.32; 0: no cap
};

struct sched_entity {
    struct sched_node node; // first; in one of the queue's lists, or in none
    uint64_t vtime;         // service had, divided by weight; wraps
    uint64_t deadline;      // virtual
    uint64_t slice;         // what is left of the slice, ticks
    uint64_t started;       // time from which service is not yet counted, while it runs

    uint32_t weight;    // in force; a reserve can lift it above what was asked for
    bool bounded;       // has a cap or a group
    bool held;          // waits in `held`
    bool eligible;      // waits in `eligible`; otherwise in `early`, if it is ready
    uint64_t inverse;   // virtual ticks a tick, 32.32
    uint64_t vslice;    // virtual length of its slices
    uint64_t slice_max; // length of its slices, ticks

    uint32_t asked_weight;
    uint32_t reserve; // share of SCHED_WHOLE; 0: none
    uint64_t price;   // of the cap, as of a group; 0: no cap
    uint64_t paid;    // as of a group
    uint64_t saved;   // how far `paid` may lie behind, ticks
    uint64_t run_max; // longest run under the cap, ticks
    uint64_t credit;  // virtual time that it lacked when it was held: it does not grow meanwhile
    uint64_t grant;   // service that is paid to the group already
    struct sched_group *group;
};

struct sched_queue {
    struct sched_list eligible; // ready, by deadline
    struct sched_list early;    // ready, by virtual time: ahead of V when last looked at
    struct sched_list held;     // by time of release
    uint64_t base;              // virtual time from which `sum` counts
    int64_t sum;                // of weight x (vtime - base), of all that run or are ready
    uint64_t load;              // of weight, likewise
    uint32_t count;             // ready
    uint32_t reserved;          // of reserves, likewise
    uint64_t plain;             // of the weight of those without
    const struct sched_policy *policy;
};

// ---- lists --------------------------------------------------------------------------------------

void sched_list_insert(struct sched_list *list, struct sched_node *node);
// A node that is in the list.
void sched_list_remove(struct sched_list *list, struct sched_node *node);

// ---- controls -----------------------------------------------------------------------------------

// Weight 1 to 10000; reserve and cap up to SCHED_WHOLE, cap 0: none.
struct sched_controls {
    uint32_t weight, reserve, cap;
    struct sched_group *group; // NULL: none
};

// True if the values are within their ranges and the reserve is not above the cap.
bool sched_controls_valid(const struct sched_controls *c);
// For an entity that neither runs nor waits.
void sched_entity_init(struct sched_entity *e, const struct sched_policy *policy);
void sched_entity_control(struct sched_entity *e, const struct sched_policy *policy,
                          const struct sched_controls *c);
// `lps` LPs, of whose time `cap` of SCHED_WHOLE is the group's; cap SCHED_WHOLE or more: no cap.
void sched_group_set(struct sched_group *group, uint32_t lps, uint32_t cap);

// ---- the queue ----------------------------------------------------------------------------------

void sched_queue_init(struct sched_queue *q, const struct sched_policy *policy);
// Average virtual time of those that run or are ready.
uint64_t sched_queue_virtual(struct sched_queue *q);

// An entity comes (it was neither running nor waiting). True if it is ready; otherwise it is held.
bool sched_queue_add(struct sched_queue *q, struct sched_entity *e, uint64_t now);
// One that waits, ready or held, goes.
void sched_queue_remove(struct sched_queue *q, struct sched_entity *e);
// One that comes and may run: counted, but nowhere in the queue. Its own ways to wait (a slot
// before all others, a hand-over) are the caller's.
void sched_queue_enter(struct sched_queue *q, struct sched_entity *e);
// Such a one, or the running one, is counted no more.
void sched_queue_leave(struct sched_queue *q, struct sched_entity *e);
// One that comes from another queue, where it was ready.
void sched_queue_accept(struct sched_queue *q, struct sched_entity *e);
// Who should run next; it stays where it is. NULL: nobody is ready.
struct sched_entity *sched_queue_best(struct sched_queue *q);
// One that is ready runs from now. Returns when its turn ends.
uint64_t sched_queue_start(struct sched_queue *q, struct sched_entity *e, uint64_t now);
// The same for one that has entered, or whose turn goes on.
uint64_t sched_queue_turn(const struct sched_queue *q, struct sched_entity *e, uint64_t now);
// Whether a turn must end when it is over, whoever waits.
static inline bool sched_entity_bounded(const struct sched_entity *e)
{
    return e->bounded && (e->price || e->group->price);
}
// Counts the service of the running entity up to now.
void sched_queue_charge(struct sched_queue *q, struct sched_entity *e, uint64_t now);
// The running entity runs no more, but could. True if it is ready; otherwise it is held.
bool sched_queue_preempt(struct sched_queue *q, struct sched_entity *e, uint64_t now);
// The running entity blocks.
void sched_queue_block(struct sched_queue *q, struct sched_entity *e, uint64_t now);
// Lets go whom nothing holds any more. True if somebody was let go.
bool sched_queue_release(struct sched_queue *q, uint64_t now);
// When that will next be the case; SCHED_NEVER.
static inline uint64_t sched_queue_release_time(const struct sched_queue *q)
{
    return q->held.first ? q->held.first->key : SCHED_NEVER;
}
// The running entity's reserve is seen against who is there now.
void sched_queue_lift(struct sched_queue *q, struct sched_entity *e);
// The running entity's virtual time is another.
void sched_queue_correct(struct sched_queue *q, struct sched_entity *e, uint64_t vtime);
// The running entity, counted up to now, and one that is ready, of the same weight and slice,
// stand where the other stood: nobody else has more or less of the LP for it.
void sched_queue_trade(struct sched_queue *q, struct sched_entity *running,
                       struct sched_entity *waiting);
// Whether one that is ready should run instead of the running one.
bool sched_queue_beats(struct sched_queue *q, const struct sched_entity *e,
                       const struct sched_entity *running);
