// SPDX-License-Identifier: BSD-2-Clause-Patent
// Real-mode code for a small child, in assembler: CODE(name, text), then RUN(child, name).
#ifndef PROBE_REALMODE_H
#define PROBE_REALMODE_H

#include "parent.h"

#define CODE(name, text)                                                                           \
    extern const uint8_t name[], name##_end[];                                                     \
    __asm__(".pushsection .text\n" #name ":\n.code16\n" text "\n" #name "_end:\n.code64\n"         \
            ".popsection\n");                                                                      \
    static const uint8_t *name##_start(void)                                                       \
    {                                                                                              \
        return name;                                                                               \
    }
#define RUN(c, name) child_run(c, name##_start(), (uint64_t)(name##_end - name))

#endif
