// SPDX-License-Identifier: BSD-2-Clause-Patent
// A child of one VP that notes when an event or a message of its parent has come.
#ifndef PROBE_EVENTCHILD_H
#define PROBE_EVENTCHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "parent.h"

#define EVENT_CHILD_SINT 4u

// What its interrupt handler leaves.
struct event_results {
    uint64_t entered; // TSC
    uint32_t count;   // of interrupts so far
};

// Makes and starts it: with `halts` it waits in HLT, else in a loop of PAUSE. The event port and
// the connection to it have the id `port`, those for messages the next one. *results is written by
// the child. It is up after some milliseconds.
bool event_child_start(struct child *c, uint32_t port, bool halts,
                       volatile struct event_results **results);

#endif
