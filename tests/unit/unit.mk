# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
UNIT_hv_abi :=
UNIT_hv_calls :=
UNIT_hv_values :=
