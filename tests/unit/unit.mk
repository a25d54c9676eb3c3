# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
UNIT_decode := arch/x86/decode.c arch/x86/decode_table.c
UNIT_emulate := arch/x86/decode.c arch/x86/decode_table.c arch/x86/emulate.c
UNIT_decode_native := arch/x86/decode.c arch/x86/decode_table.c
UNIT_decode_objdump := arch/x86/decode.c arch/x86/decode_table.c
UNIT_decode_operands := arch/x86/decode.c arch/x86/decode_table.c
