// SPDX-License-Identifier: BSD-2-Clause-Patent
// Test Anything Protocol. A test is named by the sentence that it proves. The plan comes last, so a
// program that stops early has failed.
#ifndef GUEST_TAP_H
#define GUEST_TAP_H

#include <stdbool.h>
#include <stdint.h>

// One test; returns `passed`.
bool tap_ok(bool passed, const char *name, ...) __attribute__((format(printf, 2, 3)));

// One test that passes when the numbers are the same; prints both when they are not.
bool tap_is(uint64_t got, uint64_t want, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

// One test that cannot be done here, and why.
void tap_skip(const char *why, const char *name, ...) __attribute__((format(printf, 2, 3)));

void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Nothing that follows would mean anything: ends the program.
_Noreturn void tap_bail_out(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Prints the plan and ends the program: value 0 when every test passed, else 1.
_Noreturn void tap_done(void);

#endif
