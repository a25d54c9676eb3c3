# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
LOAD_SRCS      := $(addprefix root/lib/,load.c load_plan.c load_state.c load_elf.c load_linux.c \
                    load_multiboot1.c load_pvh.c)
ACPI_SRCS      := $(addprefix root/lib/,acpi.c acpi_dsdt.c aml.c)
UNIT_load      := $(LOAD_SRCS)
UNIT_load_elf  := $(LOAD_SRCS)
UNIT_acpi      := $(ACPI_SRCS)
UNIT_aml       := root/lib/aml.c
$(foreach t,load load_elf acpi aml,$(B)/unit/test_$(t)): $(wildcard root/lib/*.h tests/unit/*.h)
