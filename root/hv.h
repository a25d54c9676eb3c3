// SPDX-License-Identifier: BSD-2-Clause-Patent
// The hypervisor beneath: detection, hypercall page, the SynIC of this VP, time. Everything runs on
// the boot processor. TLFS: Feature and Interface Discovery, Hypercall Interface, SynIC, Timers
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hv/message.h"

// Whether this processor runs beneath a hypervisor that speaks Hv#1 (any processor).
bool hv_present(void);

// HV_PRIV_* of this partition.
uint64_t hv_privileges(void);

// Identifies the root, enables the hypercall page, the message page, SINT 0 with a vector of its
// own, the reference TSC page and, where there are direct synthetic timers, the first of them.
// False: root_fail() has been called, and hv_stop() is still to be called.
bool hv_start(void);

// Takes back all that hv_start did: the memory belongs to the firmware again.
void hv_stop(void);

// Issues one hypercall. `input` and `output` lie in memory of this partition, identity mapped,
// 8-byte aligned, and do not cross a page; NULL where the call has none. Returns the result value.
uint64_t hv_hypercall(uint64_t control, const void *input, void *output);

// The same with up to 112 bytes of input at `block` in registers, XMM0-5 included, and no output
// (TLFS: XMM Fast Hypercall Input). All 112 bytes are read. Only if hv_has_xmm_input.
uint64_t hv_hypercall_fast(uint64_t control, const void *block);
bool hv_has_xmm_input(void);

// ---- messages: slot 0 of this VP's message page ------------------------------------------------

// The message that waits, or NULL. It stays where it is until hv_message_done().
const struct hv_message *hv_message(void);

// Frees the slot. True: more messages wait, hv_message_next() brings the next.
bool hv_message_done(void);
void hv_message_next(void);

// ---- other sources: messages and event flags of guests ------------------------------------------

// Enables a source (1..15) of this VP. What arrives there sets hv_signalled, which the main loop
// clears before it looks.
void hv_listen(uint32_t sint);
extern volatile bool hv_signalled;

// Takes the message that waits at a source, if any, and lets the next one in.
bool hv_take_message(uint32_t sint, struct hv_message *message);
// The type and the origin of the message that waits; 0: none.
uint32_t hv_waiting_message(uint32_t sint, uint64_t *origin);
// Takes event flags [64 * word, 64 * word + 64) of a source: those that were set are clear now.
uint64_t hv_take_flags(uint32_t sint, uint32_t word);

// Index of this VP (any processor).
uint32_t hv_own_vp(void);

// ---- other processors --------------------------------------------------------------------------

// Once, on the boot processor: what hv_worker_start() loads.
bool hv_worker_prepare(void);
// This processor, whose interrupts are disabled, can be woken by hv_wake(); and is as before.
// False: it cannot.
bool hv_worker_start(void);
void hv_worker_stop(void);
// Ends a processor's sleep, or what it dispatches; by VP index below 64 (any processor).
void hv_wake(uint32_t vp);

// ---- time --------------------------------------------------------------------------------------

// Partition reference time in 100 ns units; never goes back.
uint64_t hv_time(void);

// Asks for an interrupt at a reference time (UINT64_MAX: no more), instead of the one asked for
// before. Nothing happens without a direct synthetic timer: the firmware's tick has to do.
void hv_wake_at(uint64_t time);

// Sleeps until an interrupt comes, unless a message waits or hv_signalled is set. Returns with
// interrupts enabled.
void hv_idle(void);
