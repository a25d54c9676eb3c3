// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the bench asks of the hypervisor beneath it. Each file of a platform offers that
// hypervisor's own best way to do a thing; the rows in main.c are the same everywhere.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum bench_vector {
    VECTOR_IPI = 0x41,
    VECTOR_TIMER = 0x42,
    VECTOR_DEVICE = 0x43, // the VMM injects it; tests/bench/peers/vmm.h names it too
    VECTOR_UPCALL = 0x44, // Xen: all of an event channel's
    VECTOR_CLUSTER = 0x45,
};

// A row that a platform cannot have, and why.
struct bench_gap {
    const char *row, *reason;
};

struct platform {
    const char *name;
    bool (*found)(void);
    void (*setup)(void);     // once, on the boot processor
    void (*setup_cpu)(void); // on every processor, the boot processor after setup()

    // Operations that are measured; NULL where `gaps` says why.
    void (*hypercall)(void);        // a hypercall that does nothing, operands in registers
    void (*hypercall_memory)(void); // one that does nothing with operands in memory
    void (*rdmsr)(void);            // of a synthetic register
    void (*wrmsr)(void);            // of a synthetic register, without a consequence
    void (*flush)(void);            // the TLBs of all other processors
    void (*flush_page)(void);       // of these, one page
    void (*flush_64)(void);         // 64 pages
    void (*cluster)(void);          // VECTOR_CLUSTER to all other processors
    void (*eoi)(void);              // by register
    void (*eoi_assist)(void);       // through memory shared with the hypervisor, if it allows

    void (*ipi)(uint32_t cpu); // VECTOR_IPI, or what stands for it, to a processor by its number

    // The timer: a moment of the TSC in its unit, rounded to one that it can have; back; arm it;
    // let it never fire.
    uint64_t (*timer_unit)(uint64_t tsc);
    uint64_t (*timer_tsc)(uint64_t unit);
    void (*timer_arm)(uint64_t unit);
    void (*timer_stop)(void);

    // Turns Hv#1's hypercalls on or off where they shut out the platform's own (KVM); NULL
    // elsewhere.
    void (*hv1)(bool on);

    // Has the untouched 2 MiB at an address mapped in 4 KiB pages from now on, its first page given
    // up; NULL where whoever set up the machine sees to that.
    void (*small_pages)(uint64_t gpa);

    const struct bench_gap *gaps; // up to one without a name
};

extern const struct platform platform_corbel, platform_kvm, platform_xen;
extern const struct platform *platform;

// What the last interrupt left: the moment its handler was entered, the cost of its EOI, and how
// many there were.
struct bench_irq {
    volatile uint64_t entered, eoi;
    volatile uint32_t count;
};
extern struct bench_irq bench_irq;

// What every handler does, its TSC read first.
void bench_interrupt(uint64_t entered, void (*eoi)(void));
