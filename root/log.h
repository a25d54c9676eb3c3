// SPDX-License-Identifier: BSD-2-Clause-Patent
// What the root says about itself: lines on port 0xE9, failures on the firmware's console too.
#pragma once

// One line, "root: " before it. Formats: boot/text.h.
void root_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

// One line of a guest's own text, "NAME: " before it; `text` without a line end.
void root_log_guest(const char *name, const char *text);

// The root cannot go on: logs the text and shows it on the firmware's console, and remembers it as
// the reason (the first one counts). Returns, for the caller to unwind.
void root_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The reason given to root_fail, or NULL.
const char *root_failure(void);

// The line by which tools/rig learns how it ended: "rig: TEXT". Not for anything else.
void root_marker(const char *format, ...) __attribute__((format(printf, 1, 2)));
