# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a fuzz target: FUZZ_<name> := <sources under test>; the target is tests/fuzz/fuzz_<name>.c.
FUZZ_conf := boot/conf.c boot/conf_keys.c
FUZZ_decode := arch/x86/decode.c arch/x86/decode_table.c arch/x86/emulate.c
FUZZ_chipset := $(CHIPSET_SRCS)
FUZZ_emul := root/lib/emul.c root/lib/insn.c
FUZZ_load := $(LOAD_SRCS)
FUZZ_acpi := $(ACPI_SRCS)
FUZZ_vhdx := $(IMAGE_SRCS)
$(B)/fuzz/fuzz_vhdx: $(wildcard root/lib/*.h root/lib/image/*.h tests/unit/*.h)
FUZZ_scsi := $(SCSI_SRCS)
FUZZ_storvsp := $(STORVSP_SRCS)
$(foreach t,scsi storvsp,$(B)/fuzz/fuzz_$(t)): $(wildcard root/lib/*.h root/lib/*/*.h tests/unit/*.h)
FUZZ_netvsp := $(NETVSP_SRCS) $(FAKE_VMBUS)
FUZZ_ic := $(IC_SRCS) $(FAKE_VMBUS)
FUZZ_dynmem := $(DYNMEM_SRCS) root/lib/vsp/keyboard.c $(FAKE_VMBUS)
FUZZ_hvsock := root/lib/vsp/hvsock.c $(VMBUS_SRCS)
FUZZ_vmbus_message := $(VMBUS_SRCS)
FUZZ_vmbus_ring := $(VMBUS_SRCS)
FUZZ_vmbus_ranges := $(VMBUS_SRCS)
FUZZ_vmbus_restore := $(VMBUS_SRCS)
$(foreach t,message ring ranges restore,$(B)/fuzz/fuzz_vmbus_$(t)) $(B)/fuzz/fuzz_hvsock: \
    $(wildcard root/lib/*.h root/lib/vmbus/*.h root/lib/vsp/*.h tests/unit/vmbus_*.h tests/fuzz/*.h)
