# SPDX-License-Identifier: BSD-2-Clause-Patent
# Bare-metal guests: every tests/guest/NAME.c with tests/guest/lib becomes build/guest/NAME.elf, a
# 32-bit multiboot 1 and PVH image (the 64-bit one beside it has the symbols).
GUEST_DIR    := tests/guest
GUEST_CFLAGS := $(COMMON) -fno-pic -fno-pie -mgeneral-regs-only -fno-stack-protector \
                -fcf-protection=none -fno-asynchronous-unwind-tables -fno-omit-frame-pointer \
                -I$(GUEST_DIR)/lib
GUEST_LIB    := $(wildcard $(GUEST_DIR)/lib/*.c $(GUEST_DIR)/lib/*.S)
GUEST_LIB    := $(GUEST_LIB:%=$(B)/guest/%.o)
GUEST_SRCS   := $(wildcard $(GUEST_DIR)/*.c)
GUEST_ELFS   := $(GUEST_SRCS:$(GUEST_DIR)/%.c=$(B)/guest/%.elf)

$(B)/guest/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -c $< -o $@
$(B)/guest/%.S.o: %.S
	@mkdir -p $(@D)
	$(CC) $(GUEST_CFLAGS) -D__ASSEMBLY__ -c $< -o $@
$(B)/guest/$(GUEST_DIR)/lib/string.c.o: GUEST_CFLAGS += -fno-builtin

$(B)/guest/%.elf64: $(B)/guest/$(GUEST_DIR)/%.c.o $(GUEST_LIB) $(GUEST_DIR)/lib/guest.ld
	$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack -T $(GUEST_DIR)/lib/guest.ld \
	    -o $@ $< $(GUEST_LIB)
# Loaders of multiboot images want 32-bit files.
$(B)/guest/%.elf: $(B)/guest/%.elf64
	$(OBJCOPY) -O elf32-i386 --strip-debug $< $@

.PHONY: guests
guests: $(GUEST_ELFS)
.SECONDARY: $(GUEST_ELFS:.elf=.elf64) $(GUEST_SRCS:%=$(B)/guest/%.o) $(GUEST_LIB)

-include $(GUEST_LIB:.o=.d) $(GUEST_SRCS:%=$(B)/guest/%.d)

# The bench guest: the same runtime.
BENCH_DIR  := tests/bench/guest
BENCH_OBJS := $(patsubst %,$(B)/guest/%.o,$(wildcard $(BENCH_DIR)/*.c))
$(BENCH_OBJS): GUEST_CFLAGS += -I$(BENCH_DIR)
$(B)/bench/bench.elf64: $(BENCH_OBJS) $(GUEST_LIB) $(GUEST_DIR)/lib/guest.ld
	@mkdir -p $(@D)
	$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack -T $(GUEST_DIR)/lib/guest.ld \
	    -o $@ $(BENCH_OBJS) $(GUEST_LIB)
$(B)/bench/bench.elf: $(B)/bench/bench.elf64
	$(OBJCOPY) -O elf32-i386 --strip-debug $< $@
-include $(BENCH_OBJS:.o=.d)

# Probes that run as the root: NAME.c becomes build/guest/NAME.efi. Those of bare/ are for rows of
# tests/rig/table.py: there is no root, or nothing is left of it.
ROOT_PROBE_DIR    := $(GUEST_DIR)/root
ROOT_PROBE_CFLAGS := $(EFI_CFLAGS) -I$(GUEST_DIR)/lib -I$(ROOT_PROBE_DIR)/lib
ROOT_PROBE_LIB    := $(wildcard $(ROOT_PROBE_DIR)/lib/*.c) \
                     $(addprefix $(GUEST_DIR)/lib/,apic.c con.c refused.c string.c tap.c trap.c \
                     vectors.S hvcall.c hvcall.S)
ROOT_PROBE_LIB    := $(ROOT_PROBE_LIB:%=$(B)/guest/efi/%.o)
ROOT_PROBE_SRCS   := $(wildcard $(ROOT_PROBE_DIR)/*.c $(GUEST_DIR)/bare/*.c)
ROOT_PROBES       := $(patsubst %.c,$(B)/guest/%.efi,$(notdir $(ROOT_PROBE_SRCS)))

$(B)/guest/efi/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ROOT_PROBE_CFLAGS) -c $< -o $@
$(B)/guest/efi/%.S.o: %.S
	@mkdir -p $(@D)
	$(CC) $(ROOT_PROBE_CFLAGS) -D__ASSEMBLY__ -c $< -o $@
$(B)/guest/efi/$(GUEST_DIR)/lib/string.c.o: ROOT_PROBE_CFLAGS += -fno-builtin
$(B)/guest/%.so: $(B)/guest/efi/$(ROOT_PROBE_DIR)/%.c.o $(ROOT_PROBE_LIB)
	$(LD) $(EFI_LDFLAGS) -o $@ $< $(ROOT_PROBE_LIB) -L$(EFI_LIB) -lefi -lgnuefi

$(B)/guest/%.so: $(B)/guest/efi/$(GUEST_DIR)/bare/%.c.o $(ROOT_PROBE_LIB)
	$(LD) $(EFI_LDFLAGS) -o $@ $< $(ROOT_PROBE_LIB) -L$(EFI_LIB) -lefi -lgnuefi

$(B)/bench/%.so: $(B)/guest/efi/tests/bench/%.c.o $(ROOT_PROBE_LIB)
	@mkdir -p $(@D)
	$(LD) $(EFI_LDFLAGS) -o $@ $< $(ROOT_PROBE_LIB) -L$(EFI_LIB) -lefi -lgnuefi

guests: $(ROOT_PROBES)
.SECONDARY: $(ROOT_PROBES:.efi=.so) $(ROOT_PROBE_SRCS:%=$(B)/guest/efi/%.o) $(ROOT_PROBE_LIB)
-include $(ROOT_PROBE_LIB:.o=.d) $(ROOT_PROBE_SRCS:%=$(B)/guest/efi/%.d)
