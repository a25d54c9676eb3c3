# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
UNIT_decode := arch/x86/decode.c arch/x86/decode_table.c
UNIT_hv_abi :=
UNIT_hv_calls :=
UNIT_hv_values :=
UNIT_uart := root/lib/uart.c
UNIT_ioapic := root/lib/ioapic.c
UNIT_pm := root/lib/pm.c
UNIT_rtc := root/lib/rtc.c
CHIPSET_SRCS := $(addprefix root/lib/,chipset.c uart.c ioapic.c rtc.c pm.c)
UNIT_chipset := $(CHIPSET_SRCS)
UNIT_emul := root/lib/emul.c root/lib/insn.c
