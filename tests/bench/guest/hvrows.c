// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "hvrows.h"

#include "hvcall.h"
#include "machine.h"
#include "platform.h"
#include "tap.h"

#define PAGES_AT 0x4000000ul // page aligned

_Alignas(64) static struct hv_input_send_synthetic_cluster_ipi nobody;
_Alignas(64) static struct hv_input_send_synthetic_cluster_ipi cluster;
_Alignas(64) static struct hv_input_flush_virtual_address_space others;
_Alignas(64) static struct {
    struct hv_input_flush_virtual_address_space header;
    uint64_t range;
} page, many;

static inline uint64_t call(uint64_t control, const void *input)
{
    register uint64_t first __asm__("rdx") = hv_gpa(input);
    register uint64_t second __asm__("r8") = 0;
    uint64_t result;
    __asm__ volatile("vmmcall" : "=a"(result) : "c"(control), "r"(first), "r"(second) : "memory");
    return result;
}

void op_hypercall_memory(void)
{
    call(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, &nobody);
}

void op_flush_others(void)
{
    call(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE, &others);
}

void op_flush_page(void)
{
    call(hv_hypercall_control(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST, false, 0, 1), &page);
}

void op_flush_64(void)
{
    call(hv_hypercall_control(HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST, false, 0, 1), &many);
}

void op_cluster(void)
{
    call(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, &cluster);
}

void hvrows_setup(void)
{
    nobody.vector = VECTOR_IPI;
    others.flags = HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES;
    others.processor_mask = (1ul << machine.cpu_count) - 2;
    page.header = many.header = others;
    page.range = PAGES_AT;
    many.range = PAGES_AT | 63;
    cluster.vector = VECTOR_CLUSTER;
    cluster.processor_mask = others.processor_mask;
    tap_is(call(HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, &nobody), 0, "an IPI to nobody is accepted");
    tap_is(call(HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE, &others), 0, "a flush of others is accepted");
}
