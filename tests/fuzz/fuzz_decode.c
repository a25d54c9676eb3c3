// SPDX-License-Identifier: BSD-2-Clause-Patent
// The decoder on arbitrary bytes: it stays within them, is deterministic, knows exactly how many it
// needs, and what it yields is safe to hand to the address and execution helpers.
#include "corbel/decode.h"
#include "corbel/emulate.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Decodes a copy of exactly count bytes, so that the sanitizer sees a read past them. */
static int decode_exact(const uint8_t *data, unsigned count, enum decode_mode mode,
                        struct decoded *out)
{
    uint8_t *copy = malloc(count != 0 ? count : 1);
    int status;

    require(copy != NULL);
    memcpy(copy, data, count);
    if (count == 0)
        status = decode(copy + 1, 0, mode, out);
    else
        status = decode(copy, count, mode, out);
    free(copy);
    return status;
}

static void check_fields(const struct decoded *d)
{
    require(d->insn == INSN_OTHER || d->encoding == DECODE_LEGACY);
    require(d->reg < 16 && d->rm < 16 && d->scale < 4 && d->segment <= DECODE_GS);
    require(d->base < 16 || d->base == DECODE_NO_REGISTER);
    require(d->index < 16 || d->index == DECODE_NO_REGISTER);
    require(d->operand_size == 1 || d->operand_size == 2 || d->operand_size == 4 ||
            d->operand_size == 8);
    require(d->address_size == 2 || d->address_size == 4 || d->address_size == 8);
    require(d->memory_size <= d->operand_size);
    require(!d->rip_relative || (d->mode == DECODE_64 && d->has_memory));
}

static void check_use(const struct decoded *d, uint64_t seed)
{
    uint64_t gpr[16];
    uint64_t before[16];
    uint64_t rflags = seed & 0xCD5;
    uint64_t memory = seed;
    unsigned access = emulate_access(d);

    for (unsigned i = 0; i < 16; i++)
        gpr[i] = seed * (2 * i + 1);
    memcpy(before, gpr, sizeof(gpr));
    effective_address(d, gpr, seed, ~seed);
    if (emulate_rmw(d, gpr, &rflags, ~seed, &memory) != 0) {
        require(access == 0 && memory == seed && rflags == (seed & 0xCD5));
        require(memcmp(before, gpr, sizeof(gpr)) == 0);
        return;
    }
    require(access != 0 && d->has_memory && d->memory_size != 0);
    if ((access & EMULATE_WRITE) == 0)
        require(memory == seed);
    else if (d->memory_size < 8)
        require(memory >> (8 * d->memory_size) == 0);
}

static void check_mode(const uint8_t *data, unsigned count, enum decode_mode mode)
{
    struct decoded d;
    struct decoded again;
    int status = decode_exact(data, count, mode, &d);

    require(decode_exact(data, count, mode, &again) == status);
    if (status == DECODE_TRUNCATED)
        require(count < DECODE_MAX_LENGTH);
    if (status != DECODE_OK)
        return;
    require(memcmp(&d, &again, sizeof(d)) == 0);
    require(d.length >= 1 && d.length <= DECODE_MAX_LENGTH && d.length <= count);
    for (unsigned n = 0; n < d.length; n++)
        require(decode_exact(data, n, mode, &again) == DECODE_TRUNCATED);
    require(decode_exact(data, d.length, mode, &again) == DECODE_OK);
    require(memcmp(&d, &again, sizeof(d)) == 0);
    check_fields(&d);
    check_use(&d, UINT64_C(0x9E3779B97F4A7C15) * (data[0] + 1u));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned count = size < 32 ? (unsigned)size : 32;

    check_mode(data, count, DECODE_16);
    check_mode(data, count, DECODE_32);
    check_mode(data, count, DECODE_64);
    return 0;
}
