// SPDX-License-Identifier: BSD-2-Clause-Patent
// A child whose VPs do, in 64-bit mode, what the probe asks of them through a page they share:
// hypercalls, MSR accesses, loads and stores. The other end of what the root talks to.
#ifndef PROBE_REMOTE_H
#define PROBE_REMOTE_H

#include "parent.h"

#define REMOTE_VPS 2

// GPAs in the child.
#define REMOTE_INPUT(vp) (0x10000u + (vp)*0x1000u) // a page for hypercall input: remote_input
#define REMOTE_SIM(vp)   (0x20000u + (vp)*0x2000u)
#define REMOTE_SIEF(vp)  (0x21000u + (vp)*0x2000u)

struct remote {
    struct child child;
    uint32_t vps;
    uint64_t pages[8 + REMOTE_VPS]; // ours, mapped into it
};

// Creates and starts it with these privileges. False: a status was not success.
bool remote_start(struct remote *r, uint64_t privileges, uint32_t vps);

// The same from a child that is initialized and has nothing yet.
bool remote_start_child(struct remote *r, const struct child *child, uint32_t vps);

// Finalizes, reclaims and deletes it; true when all of our pages came back.
bool remote_delete(struct remote *r);

// One thing done by VP `vp`; waits until it is done. Ends the program if the VP does not answer.
uint64_t remote_call(struct remote *r, uint32_t vp, uint64_t control, uint64_t first,
                     uint64_t second);
void remote_wrmsr(struct remote *r, uint32_t vp, uint32_t msr, uint64_t value);
uint64_t remote_rdmsr(struct remote *r, uint32_t vp, uint32_t msr);
uint64_t remote_rdtsc(struct remote *r, uint32_t vp);
uint64_t remote_load(struct remote *r, uint32_t vp, uint64_t gpa);
void remote_store(struct remote *r, uint32_t vp, uint64_t gpa, uint64_t value);

// Has VP `vp` repeat a hypercall `count` times; remote_end waits for it and tells how often it
// returned `want`.
void remote_repeat(struct remote *r, uint32_t vp, uint64_t control, uint64_t first, uint64_t second,
                   uint32_t count, uint64_t want);
// The same until it has returned `want` so often.
void remote_insist(struct remote *r, uint32_t vp, uint64_t control, uint64_t first, uint64_t second,
                   uint32_t count, uint64_t want);
uint32_t remote_end(struct remote *r, uint32_t vp);

// Starts code of the probe's own at `gpa`. It finds the mailbox in RDI, the two values behind 16
// and 24 bytes of it, and may change all other registers. remote_end waits for its RET.
void remote_run(struct remote *r, uint32_t vp, uint64_t gpa, uint64_t first, uint64_t second);

// The page at REMOTE_INPUT(vp), as this side sees it.
void *remote_input(struct remote *r, uint32_t vp);

// SIM, SIEF and SynIC on, the APIC on in x2APIC mode.
void remote_synic_on(struct remote *r, uint32_t vp);

// Whether the child's IRR has the vector.
bool remote_pending(struct remote *r, uint32_t vp, uint8_t vector);

#endif
