# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
UNIT_conf := boot/conf.c boot/conf_keys.c
UNIT_pagetable := boot/pagetable.c boot/space.c
UNIT_image := boot/image.c boot/segment.c boot/ranges.c
UNIT_decode := arch/x86/decode.c arch/x86/decode_table.c
UNIT_hv_abi :=
UNIT_hv_calls :=
UNIT_hv_values :=
UNIT_text := boot/text.c
