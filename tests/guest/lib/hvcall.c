// SPDX-License-Identifier: BSD-2-Clause-Patent
#include "hvcall.h"

#include "con.h"
#include "cpu.h"
#include "tap.h"

_Alignas(4096) static uint8_t call_page[4096];
_Alignas(4096) static uint8_t input_page[4096];
_Alignas(4096) static uint8_t output_page[4096];

uint8_t *hv_page = call_page;

bool hv_present(void)
{
    if (!(cpuid(1, 0).ecx & HV_CPUID_1_ECX_HYPERVISOR_PRESENT)) {
        return false;
    }
    struct cpuid vendor = cpuid(HV_CPUID_VENDOR_AND_MAX, 0);
    return vendor.eax >= HV_CPUID_MIN_CONFORMANT_MAX &&
           cpuid(HV_CPUID_INTERFACE, 0).eax == HV_CPUID_INTERFACE_HV1;
}

void hv_need(void)
{
    if (!hv_present()) {
        tap_ok(false, "the Hv#1 interface is there");
        tap_done();
    }
}

uint64_t hv_privileges(void)
{
    struct cpuid leaf = cpuid(HV_CPUID_FEATURES, 0);
    return (uint64_t)leaf.ebx << 32 | leaf.eax;
}

uint32_t hv_features(void)
{
    return cpuid(HV_CPUID_FEATURES, 0).edx;
}

bool hv_delivers(void)
{
    return cpuid(HV_CPUID_HARDWARE_FEATURES, 0).eax & HV_HARDWARE_EAX_APIC_OVERLAY_ASSIST;
}

void hv_setup(void)
{
    wrmsr(HV_X64_MSR_GUEST_OS_ID, HV_TEST_OS_ID);
    wrmsr(HV_X64_MSR_HYPERCALL, hv_gpa(hv_page) | HV_MSR_HYPERCALL_ENABLE);
}

uint16_t hv_call_memory(uint16_t code, uint32_t reps, const void *input, size_t input_size,
                        void *output, size_t output_size, uint32_t *done)
{
    memcpy(input_page, input, input_size);
    uint64_t result = hv_call(hv_hypercall_control(code, false, 0, reps), hv_gpa(input_page),
                              hv_gpa(output_page));
    if (output) {
        memcpy(output, output_page, output_size);
    }
    if (done) {
        *done = hv_hypercall_result_reps(result);
    }
    return hv_hypercall_result_status(result);
}
