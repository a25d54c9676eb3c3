# SPDX-License-Identifier: BSD-2-Clause-Patent
# One line a unit test: UNIT_<name> := <sources under test>; the test is tests/unit/test_<name>.c.
UNIT_conf := boot/conf.c boot/conf_keys.c
UNIT_pagetable := boot/pagetable.c boot/space.c
UNIT_image := boot/image.c boot/segment.c boot/ranges.c
UNIT_sched := $(wildcard kernel/sched/*.c)
UNIT_sched_core := $(wildcard kernel/sched/*.c)
UNIT_sched_threads := $(wildcard kernel/sched/*.c)
UNIT_sched_timers := $(wildcard kernel/sched/*.c)
UNIT_outside := $(wildcard kernel/sched/*.c)
UNIT_topology := kernel/sched/topology.c
UNIT_minroot := boot/minroot.c
UNIT_lpset := root/lib/lpset.c root/lib/numset.c boot/text.c
UNIT_vlan := root/lib/vlan.c root/lib/numset.c
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
LOAD_SRCS      := $(addprefix root/lib/,load.c load_plan.c load_state.c load_elf.c load_linux.c \
                    load_multiboot1.c load_pvh.c)
ACPI_SRCS      := $(addprefix root/lib/,acpi.c acpi_dsdt.c aml.c)
UNIT_load      := $(LOAD_SRCS)
UNIT_load_elf  := $(LOAD_SRCS)
UNIT_acpi      := $(ACPI_SRCS)
UNIT_aml       := root/lib/aml.c
$(foreach t,load load_elf acpi aml,$(B)/unit/test_$(t)): $(wildcard root/lib/*.h tests/unit/*.h)
UNIT_text := boot/text.c
VAPIC_SRCS := synic/vapic.c synic/vapic_icr.c synic/vapic_regs.c synic/vapic_timer.c
UNIT_vapic_page := $(VAPIC_SRCS) synic/vapic_page.c
UNIT_vapic := $(VAPIC_SRCS)
UNIT_vapic_regs := $(VAPIC_SRCS)
UNIT_vapic_assist := $(VAPIC_SRCS)
UNIT_vapic_icr := $(VAPIC_SRCS)
UNIT_vapic_timer := $(VAPIC_SRCS)
UNIT_synic := synic/synic.c
UNIT_stimer := synic/stimer.c synic/synic.c
UNIT_ports := synic/ports.c synic/synic.c mm/slab.c mm/pool.c
UNIT_slab := mm/slab.c mm/pool.c
UNIT_reftime := synic/reftime.c
UNIT_tsc_ratio := synic/tsc_ratio.c
UNIT_unhalted := synic/unhalted.c
UNIT_lograte := kernel/lograte.c
UNIT_lend := $(VAPIC_SRCS) synic/synic.c
UNIT_root_memory  := root/memory.c
UNIT_root_balloon := root/balloon_pages.c root/memory.c root/vm_memory.c
UNIT_root_console := root/console.c boot/text.c
UNIT_root_calls   := root/calls.c
UNIT_root_vmexit  := root/vmexit.c root/guestcall.c root/emulate.c root/calls.c root/memory.c root/vm_memory.c \
                     root/lib/emul.c root/lib/insn.c $(CHIPSET_SRCS)
$(foreach t,memory balloon console calls vmexit,$(B)/unit/test_root_$(t)): $(wildcard root/*.h root/lib/*.h)
UNIT_pool := mm/pool.c
UNIT_frames := mm/frames.c mm/pool.c
GPA_SRCS := $(addprefix mm/,memtype.c gpa.c gpa_access.c gpa_large.c gpa_root.c gpa_overlay.c slpt.c frames.c pool.c)
UNIT_gpa := $(GPA_SRCS)
UNIT_gpa_access := $(GPA_SRCS)
UNIT_gpa_root := $(GPA_SRCS)
UNIT_walk := mm/walk.c
UNIT_hvmap := mm/hvmap.c mm/pool.c
UNIT_memtype := mm/memtype.c
UNIT_vmx_caps := vmx/caps.c
UNIT_vmx_failure := vmx/failure.c
UNIT_vmx_task := vmx/task.c
$(foreach t,pool frames gpa gpa_access gpa_root hvmap slab ports,$(B)/unit/test_$(t)): $(wildcard mm/*.h tests/unit/*.h)
UNIT_procfeatures := kernel/procfeatures.c
UNIT_monitor := synic/monitor.c
UNIT_flush := kernel/flush.c
UNIT_tlb :=
UNIT_hypercall := hypercall/plan.c hypercall/table.c
UNIT_hypercall_model := hypercall/plan.c
IMAGE_SRCS := $(wildcard root/lib/image/*.c)
UNIT_vhdx := $(IMAGE_SRCS)
UNIT_vhdx_log := $(IMAGE_SRCS)
UNIT_vhdx_qemu := $(IMAGE_SRCS)
UNIT_block := $(IMAGE_SRCS)
SCSI_SRCS := $(wildcard root/lib/vsp/scsi*.c) root/lib/image/block.c
UNIT_scsi := $(SCSI_SRCS)
UNIT_scsi_cd := $(SCSI_SRCS)
$(foreach t,block vhdx vhdx_log vhdx_qemu scsi scsi_cd,$(B)/unit/test_$(t)): $(wildcard root/lib/*.h root/lib/image/*.h root/lib/vsp/*.h tests/unit/*.h)
UNIT_emulate := arch/x86/decode.c arch/x86/decode_table.c arch/x86/emulate.c
UNIT_decode_native := arch/x86/decode.c arch/x86/decode_table.c
UNIT_decode_objdump := arch/x86/decode.c arch/x86/decode_table.c
UNIT_decode_operands := arch/x86/decode.c arch/x86/decode_table.c
UNIT_svm := svm/event.c svm/flush.c svm/operand.c arch/x86/decode.c arch/x86/decode_table.c
$(B)/unit/test_svm: $(wildcard svm/*.h)
UNIT_speculation := arch/x86/speculation.c
VSP_NET := root/lib/vsp/net
SWITCH_SRCS := $(addprefix $(VSP_NET)/,switch.c switch_mac.c frame_queue.c uplink.c)
UNIT_net_switch := $(SWITCH_SRCS)
OFFLOAD_SRCS := $(addprefix $(VSP_NET)/,packet.c lso.c rss.c)
UNIT_net_offload := $(OFFLOAD_SRCS)
FAKE_VMBUS := tests/unit/fake_vmbus.c $(addprefix root/lib/vmbus/,ranges.c memory.c guid.c blob.c)
NETVSP_SRCS := $(addprefix $(VSP_NET)/,netvsp.c netvsp_init.c netvsp_buffers.c netvsp_tx.c \
                 netvsp_rx.c netvsp_save.c nic_oid.c nic_offload.c rndis_control.c rndis_packet.c) \
                 $(SWITCH_SRCS) $(OFFLOAD_SRCS)
UNIT_netvsp := $(NETVSP_SRCS) $(FAKE_VMBUS)
UNIT_rndis := $(NETVSP_SRCS) $(FAKE_VMBUS)
IC_SRCS := $(addprefix root/lib/vsp/,utf16.c ic/ic.c ic/heartbeat.c ic/shutdown.c ic/timesync.c \
             ic/kvp.c ic/fcopy.c ic/vss.c)
UNIT_ic := $(IC_SRCS) $(FAKE_VMBUS)
UNIT_ic_data := $(IC_SRCS) $(FAKE_VMBUS)
UNIT_keyboard := root/lib/vsp/keyboard.c $(FAKE_VMBUS)
DYNMEM_SRCS := $(addprefix root/lib/vsp/,dynmem.c dynmem_operation.c dynmem_pages.c \
                 dynmem_save.c)
UNIT_dynmem := $(DYNMEM_SRCS) $(FAKE_VMBUS)
UNIT_hvsock := root/lib/vsp/hvsock.c $(wildcard root/lib/vmbus/*.c)
UNIT_vsp_bus := $(NETVSP_SRCS) $(IC_SRCS) $(DYNMEM_SRCS) root/lib/vsp/keyboard.c \
    $(wildcard root/lib/vmbus/*.c)
UNIT_vsp_save := $(UNIT_vsp_bus)
VSP_TESTS := net_switch net_offload netvsp rndis ic ic_data keyboard dynmem hvsock vsp_bus vsp_save
$(VSP_TESTS:%=$(B)/unit/test_%): $(wildcard root/lib/vsp/*.h root/lib/vsp/*/*.h \
    root/lib/vmbus/*.h tests/unit/*.h)
VMBUS_SRCS := $(wildcard root/lib/vmbus/*.c)
UNIT_vmbus := $(VMBUS_SRCS)
UNIT_vmbus_ends := $(VMBUS_SRCS)
UNIT_vmbus_ring := $(VMBUS_SRCS)
UNIT_vmbus_model := $(VMBUS_SRCS)
UNIT_vmbus_save := $(VMBUS_SRCS)
UNIT_vmbus_states := $(VMBUS_SRCS)
$(foreach t,$(patsubst UNIT_%,%,$(filter UNIT_vmbus%,$(.VARIABLES))),$(B)/unit/test_$(t)): $(wildcard root/lib/*.h root/lib/vmbus/*.h tests/unit/*.h)
STORVSP_SRCS := $(SCSI_SRCS) $(wildcard root/lib/vsp/storvsp*.c) $(VMBUS_SRCS)
UNIT_storvsp := $(STORVSP_SRCS)
UNIT_storage := $(sort $(STORVSP_SRCS) $(IMAGE_SRCS))
$(B)/unit/test_storvsp $(B)/unit/test_storage: $(wildcard root/lib/*.h root/lib/*/*.h tests/unit/*.h)
UNIT_root_verbs := root/verbs.c
$(B)/unit/test_root_verbs: $(wildcard root/*.h root/lib/*.h root/lib/*/*.h)
UNIT_root_vmbus := root/vmbus.c root/memory.c root/lib/vsp/hvsock.c $(VMBUS_SRCS)
$(B)/unit/test_root_vmbus: $(wildcard root/*.h root/lib/*.h root/lib/vmbus/*.h)
UNIT_root_blockdev := root/blockdev_io.c
$(B)/unit/test_root_blockdev: $(wildcard root/*.h root/lib/*.h root/lib/image/*.h)
