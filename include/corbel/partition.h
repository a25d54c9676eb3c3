// SPDX-License-Identifier: BSD-2-Clause-Patent
// Partitions (TLFS: Partitions). A partition is one page from its creator's pool; everything else
// that belongs to it comes from its own pool, which its parent fills by HvCallDepositMemory.
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "corbel/cpuid.h"
#include "corbel/gpa.h"
#include "corbel/layout.h"
#include "corbel/pool.h"
#include "corbel/ports.h"
#include "corbel/procfeatures.h"
#include "corbel/reftime.h"
#include "corbel/sched_queue.h"
#include "corbel/spinlock.h"
#include "corbel/tsc_ratio.h"
#include "corbel/vapic.h"
#include "corbel/x86.h"

struct vp;

// Internal status: nothing was done; the hypercall is executed again after interrupts were taken.
#define HV_STATUS_RETRY 0xffffu

#define PARTITION_MAX     256u // partitions at once, the root included
#define PARTITION_MAX_VPS 256u

// TLFS: Partition states (tlfs-reference 0.4).
enum partition_state {
    PARTITION_UNINITIALIZED,
    PARTITION_ACTIVE,
    PARTITION_FINALIZING,
    PARTITION_FINALIZED
};

struct overlay_msr {
    uint64_t value;      // the MSR as the guest wrote it
    void *page;          // hypervisor-owned page, from the partition's pool
    _Atomic bool moving; // somebody changes it: others come again (MSR_RETRY)
    struct gpa_overlay overlay;
};

// I/O ports and MSR or CPUID accesses that the parent wants to see (HvCallInstallIntercept).
struct partition_intercepts {
    uint8_t *io[2];      // bitmap of 65,536 ports in two pages, or NULL: none
    uint32_t msr_access; // HV_INTERCEPT_ACCESS_* of type X64Msr
    uint32_t exceptions; // bit n: vector n
    bool cpuid_all;      // X64GlobalCpuid
    bool hypercall;      // extended calls
    bool apic_eoi;
    uint16_t cpuid_count;
    uint32_t cpuid_leaf[16];
};

// Why a child's reference time stands.
enum time_stop {
    TIME_STOP_FREEZE = 1u << 0, // property TimeFreeze
    TIME_STOP_ASLEEP = 1u << 1  // every VP is explicitly suspended
};

struct partition {
    uint64_t id;
    struct partition *parent;    // NULL: root
    uint64_t privileges;         // HV_PARTITION_PRIVILEGE_*
    _Atomic uint32_t references; // lookups in progress, plus one while it exists
    _Atomic uint32_t state;      // enum partition_state
    uint64_t creation_flags;
    uint64_t synthetic_features;  // HV_SYNTH_FEATURE_* that no privilege stands for
    struct procfeatures features; // of the processor
    struct spinlock lock;         // VP table, intercepts, overlays, properties
    struct pool pool;
    struct gpa_space gpa;
    struct cpuid_table *cpuid;           // one page
    struct cpuid_results *cpuid_results; // what the parent registered; NULL: nothing
    struct msr_results *msr_results;     // the same of MSRs that do not exist
    struct vp **vps;                     // one page: PARTITION_MAX_VPS pointers
    uint32_t vp_count;                   // VPs that exist
    uint32_t vp_limit;                   // highest index + 1
    struct partition_intercepts intercepts;
    struct port_space ports;

    // Partition-wide synthetic MSRs.
    uint64_t guest_os_id;
    struct overlay_msr hypercall;
    struct overlay_msr reference_tsc;
    uint64_t crash[5];
    struct reftime reftime;
    struct spinlock time_lock; // a leaf: reftime and its page, and the two that follow
    uint32_t time_stops;       // enum time_stop
    uint32_t vps_awake;        // VPs that are not explicitly suspended
    struct vapic_clock clock;
    uint64_t tsc_offset;        // of all VPs; changes with reftime (reftime_begin_change)
    struct tsc_ratio tsc_ratio; // to the machine's TSC; fixed once it is initialized
    uint64_t tsc_hz;            // the rate that it makes

    struct sched_controls controls; // of each VP; corbel/controls.h
    uint64_t group;                 // CPU group, 0: none
    // Bit set of the LPs it may run on, or of the cores under the core scheduler; NULL: all.
    const uint64_t *group_lps;
    uint32_t threads;   // of a core, that its VPs are told they are
    uint32_t team_size; // VPs that share a core; 0: not known yet (corbel/cores.h)
    uint64_t reserved;  // of the machine, in parts of HV_CPU_FULL of an LP or core

    // Properties with nothing but a value behind them are not accepted; these act.
    uint32_t unimplemented_msr_action; // 0 #GP, 1 ignore and read zero
    uint32_t finalize_step;            // where HvCallFinalizePartition continues
    _Atomic bool changing;             // a management call changes what the partition consists of

    uint32_t monitored;   // connections to monitor ports; VP 0 looks at their pages
    uint64_t monitor_due; // at this TSC

    uint64_t creation_sequence;
    uint64_t unowned_io; // accesses to ports no one intercepts
    uint64_t children;   // partitions whose parent this is
};
static_assert(sizeof(struct partition) <= PAGE_SIZE, "a partition is one page");

extern struct partition *root_partition;

// The partition with this id, with a reference; NULL when there is none. HV_PARTITION_ID_SELF is
// the caller's business. Takes the table lock. Pair with partition_put.
struct partition *partition_get(uint64_t id);
void partition_put(struct partition *p);

// First child of `parent` created after `previous` (0: the first); 0 ends. UINT64_MAX: `previous`
// is not a child of `parent`. TLFS: HvCallGetNextChildPartition.
uint64_t partition_next_child(const struct partition *parent, uint64_t previous);

// Gives the root its id, its place in the table and an ordinary guest's privileges. Once, at
// launch.
void partition_enter_root(struct partition *p);

// Privileges (HV_PRIV_*) and synthetic features (HV_SYNTH_FEATURE_*) of a partition that is not
// initialized yet. HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE: what a child cannot have, or cannot lack.
uint16_t partition_set_privileges(struct partition *p, uint64_t privileges);
uint64_t partition_features(const struct partition *p);
uint16_t partition_set_features(struct partition *p, uint64_t features);

// TLFS: HvCallCreatePartition, ..Initialize, ..Finalize, ..Delete. HV_STATUS; HV_STATUS_RETRY from
// finalize means: call again (continuation). `parent` holds the memory of the child's page.
// `disabled`: processor features by bank.
uint16_t partition_create(struct partition *parent, uint64_t flags,
                          const uint64_t disabled[PROCFEATURE_BANKS], struct partition **created);
uint16_t partition_initialize(struct partition *p);
uint16_t partition_finalize(struct partition *p);
uint16_t partition_delete(struct partition *p);

// VP with that index or NULL. The VP stays as long as the caller's reference to the partition,
// since VPs go away only in finalize and HvCallDeleteVp, which wait for references.
static inline struct vp *partition_vp(const struct partition *p, uint32_t index)
{
    return index < p->vp_limit ? p->vps[index] : (struct vp *)0;
}

// Ends a batch of changes to p->gpa: makes every LP that may hold an old translation drop it, if
// one was taken away, waits for that, and releases what the batch held. No lock may be held.
void partition_commit(struct partition *p, struct gpa_batch *batch);

// Points an overlay MSR's page at the GPA page its value names, or takes it away (TLFS: overlay
// pages). Out of range: not mapped, no error. False: no memory for the tables, nothing changed.
bool partition_move_overlay(struct partition *p, struct gpa_overlay *overlay, const void *page,
                            bool enable, uint64_t gpa_page, uint32_t rights);

// Takes the overlay pages of a VP out of its partition's GPA space.
void partition_clear_vp_overlays(struct vp *vp);

// ---- reference time (kernel/time.c) -------------------------------------------------------------

// Time begins, and stands until a VP is not suspended.
void partition_time_init(struct partition *p);

// The rate of the guest's TSC, before the partition is initialized. False: the processor cannot
// scale its own to that, or the clocks that are made of it cannot count with it.
bool partition_set_tsc_hz(struct partition *p, uint64_t hz);

// Ticks of the machine's TSC in which at least `units` of 100 ns pass; UINT64_MAX if that is more
// than there are.
uint64_t time_ticks(uint64_t units);

// What the guest's TSC reads when the machine's does `now`.
static inline __attribute__((always_inline)) uint64_t partition_tsc(const struct partition *p,
                                                                    uint64_t now)
{
    if (__builtin_expect(p->tsc_ratio.multiplier != 0, 0))
        now = tsc_ratio_apply(&p->tsc_ratio, now);
    return now + p->tsc_offset;
}

// Of partition_reference_time(): the clock is being changed, or is not the machine's TSC.
uint64_t partition_reference_time_slowly(const struct partition *p);

// Partition reference time, 100 ns units (TLFS: Partition Reference Counter). Any LP. In line
// wherever it is used: timers ask for it.
static inline __attribute__((always_inline)) uint64_t
partition_reference_time(const struct partition *p)
{
    const struct reftime *r = &p->reftime;
    uint32_t complete = atomic_load_explicit(&r->complete, memory_order_acquire);
    uint64_t time = reftime_at(r, rdtsc() + p->tsc_offset);

    atomic_thread_fence(memory_order_acquire);
    if (__builtin_expect(atomic_load_explicit(&r->begun, memory_order_relaxed) != complete, 0))
        return partition_reference_time_slowly(p);
    return time;
}

// The parent freezes a child's time, or lets it go on (HvPartitionPropertyTimeFreeze).
void partition_freeze_time(struct partition *p, bool freeze);

// Sets time that stands, as for a guest that comes from another machine. INVALID_PARTITION_STATE:
// it goes.
uint16_t partition_set_time(struct partition *p, uint64_t time);

// TLFS: HvCallRestorePartitionTime: every VP's TSC is `tsc` and reference time `time`, from which
// both go on. The reference TSC page, if it is valid, has a sequence that follows on `sequence`; 0
// makes it invalid. All VPs are stopped or current; time and tsc are below 2^63.
void partition_restore_time(struct partition *p, uint64_t time, uint64_t tsc, uint32_t sequence);

// A VP that is stopped, or is about to go, is explicitly suspended or not. TLFS: Reference Counter:
// "continues to count up as long as at least one virtual processor is not explicitly suspended."
void partition_vp_sleeps(struct partition *p, bool sleeps);

// Fills the reference TSC page for its guest.
void partition_publish_time(struct partition *p);
