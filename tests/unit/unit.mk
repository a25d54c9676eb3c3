# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
UNIT_hv_abi :=
UNIT_hv_calls :=
UNIT_hv_values :=
VAPIC_SRCS := synic/vapic.c synic/vapic_icr.c synic/vapic_regs.c synic/vapic_timer.c
UNIT_vapic := $(VAPIC_SRCS)
UNIT_vapic_regs := $(VAPIC_SRCS)
UNIT_vapic_icr := $(VAPIC_SRCS)
UNIT_vapic_timer := $(VAPIC_SRCS)
UNIT_synic := synic/synic.c
UNIT_stimer := synic/stimer.c synic/synic.c
UNIT_reftime := synic/reftime.c
