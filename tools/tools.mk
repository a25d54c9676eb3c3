# SPDX-License-Identifier: BSD-2-Clause-Patent
# Set-up, the interactive run and the whole test. The last two call tools/setup first, which is why
# they build by a second make: nothing before it may need what it installs.
GUESTS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/corbel/guests
export B

# As many jobs as there are processors, unless the caller has said how many.
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

setup:
	@tools/setup

run:
	@tools/setup
	@$(MAKE) --no-print-directory $(JOBS) all
	@tools/rig --child $(GUESTS)/cloud-6.12 --initrd $$(tools/initramfs shell) --vps 2 --timeout 0

test:
	@tools/setup
	@echo "building the hypervisor and all tests"
	@$(MAKE) --no-print-directory --silent $(JOBS) tested
	@tests/run --fuzz-seconds $(FUZZ_SECONDS)

# All that tests/run runs.
.PHONY: tested
tested: all $(BENCH_GUESTS) $(BENCH_PROGRAMS) guests $(B)/sched-sim $(B)/sched-cost \
        $(UNIT_NAMES:%=$(B)/unit/test_%) $(FUZZ_NAMES:%=$(B)/fuzz/fuzz_%)
