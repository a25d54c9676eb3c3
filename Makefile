# SPDX-License-Identifier: BSD-2-Clause-Patent
# Two commands matter: `make run` boots a child VM on the console, `make test` proves the tree.
#   make            build/corbel.efi and build/root.efi (CC=gcc or CC=clang)
#   make unit       host unit tests (Check, ASan+UBSan);  make fuzz  bounded libFuzzer runs
#   make probes     guest probes on the rig;               make bench costs by exact counting
#   make bench-peers, growth, bench-docs  KVM and Xen; memory, boots, curves; docs/performance.md
#   make lint       clang-format, dependency rules;        make tidy  clang-tidy
# Of these tools Debian 12 has version 14 and Debian 13 version 19: both are to be content.
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

tidy_rule = git ls-files $(addsuffix /*.c,$(1)) | \
            xargs -P 2 -I{} sh -c 'clang-tidy --quiet "$$1" -- $(2)' sh {}
tidy:
	$(call tidy_rule,arch kernel mm synic hypercall svm vmx,$(HV_CFLAGS))
	$(call tidy_rule,boot root,$(EFI_CFLAGS))
	$(call tidy_rule,tests/guest/root tests/guest/bare,$(ROOT_PROBE_CFLAGS))
	$(call tidy_rule,tests/guest/lib tests/bench,$(GUEST_CFLAGS))
	git ls-files 'tests/guest/*.c' | grep -v '^[^/]*/[^/]*/.*/' | \
	    xargs -P 2 -I{} sh -c 'clang-tidy --quiet "$$1" -- $(GUEST_CFLAGS)' sh {}

clean:
	rm -rf $(B)
