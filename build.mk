# SPDX-License-Identifier: BSD-2-Clause-Patent
# The three images: the hypervisor (an ELF at fixed virtual addresses, carried inside corbel.efi),
# corbel.efi (the loader) and root.efi (the built-in root).

# ---- hypervisor ------------------------------------------------------------------------------
HV_DIRS := arch/x86 kernel kernel/sched mm synic hypercall svm vmx
HV_SRCS := $(wildcard $(addsuffix /*.c,$(HV_DIRS)) $(addsuffix /*.S,$(HV_DIRS)))
HV_OBJS := $(HV_SRCS:%=$(B)/hv/%.o)
# One unit for gcc, which then inlines across files: an exit is a path through many of them. clang
# would need another linker for it.
HV_LTO := $(if $(findstring clang,$(CC)),,-flto -flto-partition=one --param max-inline-insns-single=200)
# CHECKS=1: guest state is checked by the SDM's rules before each entry on Intel.
CHECKS ?= 0
HV_CFLAGS := $(COMMON) -DVMX_CHECK_ENTRIES=$(CHECKS) -fno-pic -fno-pie -mcmodel=kernel -mgeneral-regs-only -I. \
             -fstack-protector-strong -mstack-protector-guard=global -fcf-protection=none \
             -fno-asynchronous-unwind-tables -fno-unwind-tables $(HV_LTO)

$(B)/hv/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HV_CFLAGS) -c $< -o $@
$(B)/hv/%.S.o: %.S
	@mkdir -p $(@D)
	$(CC) $(HV_CFLAGS) -D__ASSEMBLY__ -c $< -o $@
$(B)/corbel.elf: $(HV_OBJS) kernel/corbel.ld
	$(CC) $(HV_CFLAGS) -nostdlib -static -Wl,--build-id=none -Wl,-z,max-page-size=4096 \
	    -Wl,-z,noexecstack -Wl,-T,kernel/corbel.ld -o $@ $(HV_OBJS)

# ---- UEFI applications -----------------------------------------------------------------------
EFI_INC    := /usr/include/efi
EFI_LIB    := /usr/lib
EFI_CFLAGS := $(COMMON) -I. -fpic -fshort-wchar -fno-stack-protector -mgeneral-regs-only -I. \
              -fvisibility=hidden -fcf-protection=none -DGNU_EFI_USE_MS_ABI -isystem $(EFI_INC) \
              -isystem $(EFI_INC)/x86_64
# Newer GNU-EFI enters by libefi's _entry, which would bring libefi's memcpy and memset beside the
# root's. Both images set up for themselves what they use of libefi, and have no constructors.
EFI_LDFLAGS := -nostdlib -znocombreloc -z noexecstack -z defs -shared -Bsymbolic \
               --defsym=_entry=efi_main \
               -T $(EFI_LIB)/elf_x86_64_efi.lds $(EFI_LIB)/crt0-efi-x86_64.o
EFI_SECTIONS := -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j .rel -j .rela \
                -j .rel.* -j .rela.* -j .reloc --target=efi-app-x86_64

BOOT_SRCS := $(wildcard boot/*.c boot/*.S) kernel/sched/topology.c
BOOT_OBJS := $(BOOT_SRCS:%=$(B)/efi/%.o)
ROOT_SRCS := $(wildcard root/*.c root/*.S root/lib/*.c root/lib/*/*.c root/lib/*/*/*.c) \
             boot/conf.c boot/conf_keys.c boot/text.c
ROOT_OBJS := $(ROOT_SRCS:%=$(B)/efi/%.o)
EFI_LTO := $(if $(HV_LTO),$(HV_LTO) -flinker-output=nolto-rel)
$(filter $(B)/efi/root/%,$(ROOT_OBJS)): EFI_CFLAGS += $(HV_LTO)

$(B)/efi/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(EFI_CFLAGS) -c $< -o $@
$(B)/efi/%.S.o: %.S
	@mkdir -p $(@D)
	$(CC) $(EFI_CFLAGS) -D__ASSEMBLY__ -DHV_IMAGE='"$(B)/corbel.elf"' -c $< -o $@
$(B)/efi/boot/image.S.o: $(B)/corbel.elf
$(B)/corbel.so: $(BOOT_OBJS)
	$(LD) $(EFI_LDFLAGS) -o $@ $(BOOT_OBJS) -L$(EFI_LIB) -lefi -lgnuefi
# As one unit where the compiler can: the root's answers are on measured paths.
$(B)/root.o: $(ROOT_OBJS)
	$(CC) $(EFI_CFLAGS) $(EFI_LTO) -nostdlib -r -o $@ $(ROOT_OBJS)
$(B)/root.so: $(B)/root.o
	$(LD) $(EFI_LDFLAGS) -o $@ $< -L$(EFI_LIB) -lefi -lgnuefi
$(B)/%.efi: $(B)/%.so
	$(OBJCOPY) $(EFI_SECTIONS) $< $@

DEPS := $(HV_OBJS:.o=.d) $(BOOT_OBJS:.o=.d) $(ROOT_OBJS:.o=.d)
-include $(DEPS)
