# SPDX-License-Identifier: BSD-2-Clause-Patent
# Host tests. A unit test is one binary of its sources and its test, with sanitizers.
include tests/unit/unit.mk
include tests/fuzz/fuzz.mk
include tests/guest/guest.mk

UNIT_NAMES  := $(patsubst UNIT_%,%,$(filter UNIT_%,$(.VARIABLES)))
UNIT_NAMES  := $(filter-out NAMES CFLAGS,$(UNIT_NAMES))
UNIT_CFLAGS := -std=gnu17 -O1 -g $(WARN) -Iinclude -I. -DCORBEL_HOST_TEST \
               -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_NAMES  := $(filter-out NAMES CFLAGS SECONDS,$(patsubst FUZZ_%,%,$(filter FUZZ_%,$(.VARIABLES))))
FUZZ_CFLAGS := -std=gnu17 -O1 -g $(WARN) -Iinclude -I. -DCORBEL_HOST_TEST \
               -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_SECONDS ?= 10

$(B)/unit/test_root_blockdev: UNIT_CFLAGS += -fshort-wchar -isystem $(EFI_INC) -isystem $(EFI_INC)/x86_64

define unit_rule
$(B)/unit/test_$(1): tests/unit/test_$(1).c $(UNIT_$(1)) $$(wildcard include/*/*.h)
	@mkdir -p $$(@D)
	$(CC) $$(UNIT_CFLAGS) -o $$@ tests/unit/test_$(1).c $(UNIT_$(1)) -lcheck -lsubunit -lm -lrt -lpthread
endef
$(foreach t,$(UNIT_NAMES),$(eval $(call unit_rule,$(t))))

define fuzz_rule
$(B)/fuzz/fuzz_$(1): tests/fuzz/fuzz_$(1).c $(FUZZ_$(1)) $$(wildcard include/*/*.h)
	@mkdir -p $$(@D)
	$(CLANG) $(FUZZ_CFLAGS) -o $$@ tests/fuzz/fuzz_$(1).c $(FUZZ_$(1))
endef
$(foreach t,$(FUZZ_NAMES),$(eval $(call fuzz_rule,$(t))))

unit: $(UNIT_NAMES:%=$(B)/unit/test_%)
	@set -e; for t in $^; do echo "== $$t"; CK_TIMEOUT_MULTIPLIER=60 $$t; done

fuzz: $(FUZZ_NAMES:%=$(B)/fuzz/fuzz_%)
	@tests/run --fuzz-seconds $(FUZZ_SECONDS) fuzz/

# The scheduler's sources in simulated machines (docs/scheduler.md).
SCHED_SRCS := $(wildcard kernel/sched/*.c tests/sched/*.c)
$(B)/sched-sim: $(SCHED_SRCS) $(wildcard kernel/sched/*.h tests/sched/*.h include/corbel/sched*.h)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) -o $@ $(SCHED_SRCS)
# What a decision costs, with the hypervisor's optimisation and without sanitizers.
$(B)/sched-cost: tests/sched/cost/cost.c $(wildcard kernel/sched/*.[ch] include/corbel/sched*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O2 -flto $(WARN) -Iinclude -DCORBEL_HOST_TEST -o $@ $(filter %.c,$^)

sched-sim: $(B)/sched-sim
	$(B)/sched-sim
.PHONY: sched-sim

# Every ABI header stands alone with both compilers: guests include them one by one.
headers:
	@tests/headers.sh gcc $(CLANG)

# Costs by exact counting, against tests/bench/budgets.
BENCH_GUESTS   := $(B)/bench/bench.elf $(B)/bench/scale.efi $(B)/bench/ipc.efi $(B)/bench/switch.efi
BENCH_PROGRAMS := $(addprefix $(B)/bench/,init kvmrun xenvmm)
$(B)/bench/init: tests/bench/init.c
$(B)/bench/kvmrun $(B)/bench/xenvmm: $(B)/bench/%: tests/bench/peers/%.c tests/bench/peers/vmm.h
$(BENCH_PROGRAMS):
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O2 $(WARN) -static -s -o $@ $< -lpthread

bench: all $(BENCH_GUESTS)
	tests/bench/run

# The same guest under KVM and Xen; minutes, and only when the bench has changed.
bench-peers: $(BENCH_GUESTS) $(BENCH_PROGRAMS)
	@tools/setup peers
	tests/bench/peers/run

# Memory, boots, and how costs grow.
growth: all $(BENCH_GUESTS) $(BENCH_PROGRAMS)
	@tools/setup
	tests/bench/growth --boot

# The measured parts of docs/performance.md, and the chart.
bench-docs: all $(BENCH_GUESTS) $(BENCH_PROGRAMS)
	@tools/setup
	tests/bench/document
.PHONY: bench-peers growth bench-docs
