#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause-Patent
# Each ABI header must stand alone: included by itself, freestanding, every constant it defines
# (plain, or a family of one index) must be an expression. Including alone would not
# find a macro whose body needs another header. Usage: headers.sh compiler...
set -eu
count=0
for header in include/hv/*.h; do
    program=$(
        echo "#include \"${header#include/}\""
        echo "#include \"${header#include/}\""
        sed -nE -e '/^#define HV_(ABI|PACKED) /d' \
            -e 's/^#define (HV[A-Z0-9_]+) .*/_Static_assert(sizeof(\1), "");/p' \
            -e 's/^#define (HV[A-Z0-9_]+)\(n\) .*/_Static_assert(sizeof(\1(0)), "");/p' "$header"
    )
    for compiler in "$@"; do
        printf '%s\n' "$program" | "$compiler" -std=c17 -ffreestanding -Wall -Wextra -Werror \
            -Iinclude -x c -fsyntax-only - || {
            echo "$header does not stand alone ($compiler)"
            exit 1
        }
    done
    count=$((count + 1))
done
echo "headers stand alone: $count ($*)"
