// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the verbs of the command line have in common (verbs.c).
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "root/console.h"

enum { VERB_ARGUMENTS = 3 };

struct vm;

// One line that was typed.
struct verb_call {
    struct console *console;
    struct vm *vm;                  // in focus; NULL: none
    char *argument[VERB_ARGUMENTS]; // "" where there is none
};

// Decimal. False: anything else, or more than `max`.
bool verb_number(const char *text, uint64_t max, uint64_t *value);
// The same of an argument; says so on the console where it is none.
bool verb_number_of(const struct verb_call *call, unsigned argument, uint64_t max, uint64_t *value);
bool verb_same(const char *a, const char *b);

// ---- cpuverbs.c: processors, and who gets how much of them -------------------------------------

// Of the VM in focus: weight 1 to 10000; cap and reserve in percent of each of its processors.
void verb_weight(const struct verb_call *call);
void verb_cap(const struct verb_call *call);
void verb_reserve(const struct verb_call *call);
// CPU resource controls: "Using the CpuGroups Tool". The first argument is one of the tool's
// commands, the others what it takes, in its order.
void verb_cpugroups(const struct verb_call *call);
