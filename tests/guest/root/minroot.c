// SPDX-License-Identifier: BSD-2-Clause-Patent
// A root on one of two processors: what it is told of them, and that the other is the firmware's
// only, until there is an operating system. CPU resource controls: Minroot, GetCpuTopology.
//
// conf: rootproc = 1
// rig: --lps 2
#include "apic.h"
#include "con.h"
#include "cpu.h"
#include "hv/corbel.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "string.h"
#include "tap.h"

#define LOWEST_MEGABYTE 0x9f000
#define COUNT_AT        0x100

CODE(count_start, "mov %cs, %ax\n mov %ax, %ds\n lock incw 0x100\n 1: hlt\n jmp 1b\n")

static volatile uint8_t *page;

static uint64_t ask(uint32_t lp, uint64_t what)
{
    struct hv_input_get_system_property in = {HV_SYSTEM_PROPERTY_CORBEL_LP, 0,
                                              lp | what << HV_LP_ASK_SHIFT};
    uint64_t value = 0;
    uint16_t status =
        parent_call_out(HVCALL_GET_SYSTEM_PROPERTY, &in, sizeof(in), &value, sizeof(value));
    return status == HV_STATUS_SUCCESS ? value : (uint64_t)status << 32;
}

// INIT and SIPI to the other processor; how often it has started by now.
static uint8_t start_other(void)
{
    apic_ipi(1, ICR_INIT | ICR_LEVEL | ICR_ASSERT);
    delay_us(200);
    apic_ipi(1, ICR_INIT | ICR_LEVEL);
    delay_us(10000);
    for (int i = 0; i < 2; i++) {
        apic_ipi(1, ICR_STARTUP | (uint32_t)((uint64_t)page >> 12));
        for (uint64_t us = 0; !page[COUNT_AT] && us < PATIENCE_US; us += 1000) {
            delay_us(1000);
        }
        delay_us(50000); // for one too many
    }
    return page[COUNT_AT];
}

static void test_topology(void)
{
    tap_is(ask(0, HV_LP_ROOT_VP), 0, "LP 0 has root VP 0");
    tap_is(ask(1, HV_LP_ROOT_VP), HV_LP_NO_ROOT_VP, "LP 1 has none");
    tap_is(ask(2, HV_LP_ROOT_VP), (uint64_t)HV_STATUS_INVALID_LP_INDEX << 32, "there is no LP 2");
    tap_is(ask(0, 99), (uint64_t)HV_STATUS_INVALID_PARAMETER << 32, "nor such a question");
    uint64_t threads = ask(0, HV_LP_CORE) == ask(1, HV_LP_CORE) ? 2 : 1;
    tap_is(ask(0, HV_LP_THREADS), threads, "LP 0's core has as many threads as LPs share it");
    tap_is(ask(1, HV_LP_THREADS), threads, "and LP 1's");
    tap_is(ask(0, HV_LP_NODE), ask(1, HV_LP_NODE), "both are in one node");
    tap_is(ask(1, HV_LP_PACKAGE), ask(1, HV_LP_NODE), "which is the package");
}

void root_main(void)
{
    EFI_PHYSICAL_ADDRESS at = LOWEST_MEGABYTE;
    hv_need();
    tap_is(rdmsr(HV_X64_MSR_VP_INDEX), 0, "the root runs on VP 0");
    if (!tap_ok(probe_efi->BootServices->AllocatePages(AllocateMaxAddress, EfiLoaderCode, 1, &at) ==
                    EFI_SUCCESS,
                "there is a page below 1 MiB")) {
        return;
    }
    page = (volatile uint8_t *)at;
    memcpy((void *)page, count_start_start(), (uint64_t)(count_start_end - count_start));
    page[COUNT_AT] = 0;
    tap_is(start_other(), 1, "before there is an operating system the other processor starts");
    hv_setup();
    tap_is(start_other(), 1, "afterwards it does not");
    test_topology();
}
