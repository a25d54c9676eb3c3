# SPDX-License-Identifier: BSD-2-Clause-Patent
# Two commands matter: `make run` boots a child VM on the console, `make test` proves the tree.
#   make            build/corbel.efi and build/root.efi (CC=gcc or CC=clang)
#   make unit       host unit tests (Check, ASan+UBSan);  make fuzz  bounded libFuzzer runs
#   make probes     guest probes on the rig;               make bench costs by exact counting
#   make bench-peers, growth, bench-docs  KVM and Xen; memory, boots, curves; docs/performance.md
#   make lint       clang-format, dependency rules;        make tidy  clang-tidy
B       ?= build
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
CLANG   ?= clang
LD      := ld
OBJCOPY := objcopy

WARN    := -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes -Wvla
COMMON  := -std=c17 -O2 -g -ffreestanding -fno-strict-aliasing -fno-common -mno-red-zone $(WARN) \
           -Iinclude -MMD -MP

.PHONY: all run test unit headers fuzz probes bench lint tidy setup clean
all: $(B)/corbel.efi $(B)/root.efi

include build.mk
include tests/tests.mk
include tools/tools.mk

lint:
	tools/check-rules
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror

tidy:
	git ls-files 'arch/*.c' 'kernel/*.c' 'mm/*.c' 'synic/*.c' 'hypercall/*.c' 'svm/*.c' | \
	    xargs -P 2 -I{} sh -c 'clang-tidy --quiet "$$1" -- $(HV_CFLAGS)' sh {}

clean:
	rm -rf $(B)
