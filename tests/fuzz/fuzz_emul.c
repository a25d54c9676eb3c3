// SPDX-License-Identifier: BSD-2-Clause-Patent
// Random instruction bytes and registers: no crash, bounded work, refusals change nothing.
#include <stdlib.h>
#include <string.h>

#include "root/lib/emul.h"

static unsigned accesses;

static void check(int holds)
{
    if (!holds) {
        abort();
    }
}

static bool bus_translate(void *ctx, uint64_t linear, bool is_write, uint64_t *gpa)
{
    (void)ctx, (void)is_write;
    *gpa = linear;
    return linear / 4096 % 8 != 5;
}

static bool bus_ram(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    (void)ctx;
    check(size >= 1 && size <= 8 && gpa % 4096 + size <= 4096);
    if (!is_write) {
        *value = gpa;
    }
    return gpa & 1;
}

static void bus_device(void *ctx, uint64_t gpa, unsigned size, bool is_write, uint64_t *value)
{
    (void)ctx;
    check(gpa % 4096 + size <= 4096);
    check(size == 1 || size == 2 || size == 4 || size == 8);
    check(!is_write || size == 8 || *value >> 8 * size == 0);
    accesses++;
    if (!is_write) {
        *value = gpa * 3;
    }
}

static void bus_port(void *ctx, uint16_t port, unsigned size, bool is_write, uint32_t *value)
{
    (void)ctx;
    check(size == 1 || size == 2 || size == 4);
    accesses++;
    if (!is_write) {
        *value = port;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct emul_bus bus = {
        .translate = bus_translate, .ram = bus_ram, .device = bus_device, .port = bus_port};
    struct emul_registers registers = {0};
    uint8_t bytes[16] = {0};

    if (size < 3) {
        return 0;
    }
    const uint8_t mode = data[0], gpa = data[1];
    const unsigned count = size - 2 < 16 ? (unsigned)size - 2 : 16;
    memcpy(bytes, data + 2, count);
    const size_t rest = size - 2 - count, space = sizeof registers.gpr + 16;
    memcpy(&registers, data + 2 + count, rest < space ? rest : space);
    registers.cs_long = mode & 1;
    registers.cs_default = mode & 2;
    for (unsigned i = 0; i < EMUL_SEGMENTS; i++) {
        registers.segment_base[i] = (uint64_t)mode << (i * 8);
    }
    const struct emul_registers before = registers;
    accesses = 0;
    const enum emul_result result =
        mode & 4 ? emul_port_string(&registers, bytes, count, &bus)
                 : emul_memory(&registers, bytes, count, 0x1000 + gpa * 16u, &bus);
    check(accesses <= 2 * EMUL_SHARE);
    if (result == EMUL_SHORT || result == EMUL_UNKNOWN) {
        check(memcmp(&registers, &before, sizeof before) == 0 && accesses == 0);
    }
    if (result == EMUL_AGAIN || result == EMUL_FAULT) {
        check(registers.rip == before.rip);
    }
    if (result == EMUL_DONE && registers.cs_long) {
        check(registers.rip - before.rip <= 15);
    }
    return 0;
}
