# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a fuzz target: FUZZ_<name> := <sources under test>; the target is tests/fuzz/fuzz_<name>.c.
FUZZ_load := $(LOAD_SRCS)
FUZZ_acpi := $(ACPI_SRCS)
