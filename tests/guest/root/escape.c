// SPDX-License-Identifier: BSD-2-Clause-Patent
// The root cannot reach the hypervisor: its memory gives a fault, never data, and every processor
// is a guest of it.
//
// rig: --lps 2
// rig: --lps 4
#include "con.h"
#include "cpu.h"
#include "hvcall.h"
#include "rootprobe.h"
#include "tap.h"
#include "trap.h"

#define LEAST_PAGES 256 // of the hypervisor's block

static volatile uint32_t asked, signatures;

static void check_signature(void *context)
{
    (void)context;
    __asm__ volatile("lock incl %0" : "+m"(asked));
    if (hv_present()) {
        __asm__ volatile("lock incl %0" : "+m"(signatures));
    }
}

static void test_signature(void)
{
    uint32_t count = efi_on_all(check_signature, NULL);
    tap_ok(asked == count && signatures == count,
           "each of %u processors shows the hypervisor's signature (%u, %u)", count, asked,
           signatures);
}

static void test_memory(void)
{
    uint64_t base = 0, pages = efi_largest_reserved(&base);
    if (!tap_ok(pages >= LEAST_PAGES, "the memory map has the hypervisor's block: %lu pages at %lx",
                pages, base)) {
        return;
    }
    uint64_t read = 0, written = 0, wrong = 0, data = 0;
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t at = base + page * 4096;
        uint8_t value = 0;
        struct trap trap = efi_try_read8(at + page % 4096, &value);
        read += trap.taken;
        data += value != 0;
        wrong += trap.taken && trap.vector != VECTOR_GP && trap.vector != VECTOR_PF &&
                 trap.vector != VECTOR_MC;
        written += efi_try_write8(at + page % 4096, 0xcc).taken;
    }
    tap_is(read, pages, "reading any page of it is a fault");
    tap_is(data, 0, "and gives no data");
    tap_is(written, pages, "writing any page of it is a fault");
    tap_is(wrong, 0, "the faults are #GP, #PF or #MC");
}

static void body_jump(void *context)
{
    ((void (*)(void))context)();
}

static void test_execute(void)
{
    uint64_t base = 0;
    efi_largest_reserved(&base);
    tap_ok(efi_try(body_jump, (void *)base).taken, "executing it is a fault");
}

// Wide and read-modify-write forms, and an access that begins before it.
static void body_wide(void *context)
{
    __asm__ volatile("lock addq $0, (%0)" : : "r"(context) : "memory");
}

static void body_string(void *context)
{
    uint64_t from = (uint64_t)context, count = 16;
    static uint8_t buffer[64];
    void *to = buffer;
    __asm__ volatile("cld; rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
}

static void test_forms(void)
{
    uint64_t base = 0;
    efi_largest_reserved(&base);
    tap_ok(efi_try(body_wide, (void *)base).taken, "a locked addition to it is a fault");
    tap_ok(efi_try(body_wide, (void *)(base - 4)).taken,
           "so is one that begins four bytes before it");
    tap_ok(efi_try(body_string, (void *)base).taken, "so is a string move from it");
}

static void body_rdmsr(void *context)
{
    rdmsr((uint32_t)(uint64_t)context);
}

static void test_processor(void)
{
    tap_ok(!(rdmsr(MSR_EFER) & EFER_SVME), "EFER shows no SVME");
    tap_ok(!(cpuid(0x80000001, 0).ecx & 4), "CPUID shows no SVM");
    tap_ok(efi_try(body_rdmsr, (void *)(uint64_t)MSR_VM_HSAVE_PA).taken,
           "VM_HSAVE_PA, the address of the host's state, is #GP");
}

// Parameter lists and overlay pages there.
static void test_hypercalls(void)
{
    uint64_t base = 0;
    efi_largest_reserved(&base);
    hv_setup();
    uint64_t find = hv_hypercall_control(HVCALL_GET_VP_INDEX_FROM_APIC_ID, false, 0, 1);
    static uint8_t list[64] __attribute__((aligned(64)));
    memset(list, 0xff, 8);
    uint64_t result = hv_call(find, base, hv_gpa(list));
    tap_ok(hv_hypercall_result_status(result) != HV_STATUS_SUCCESS,
           "a hypercall's input there is refused (%lx)", result);
    result = hv_call(find, hv_gpa(list), base);
    tap_ok(hv_hypercall_result_status(result) != HV_STATUS_SUCCESS,
           "a hypercall's output there is refused (%lx)", result);
    tap_ok(hv_present() && hv_call(HVCALL_NOTIFY_LONG_SPIN_WAIT | HV_HYPERCALL_FAST, 1, 0) == 0,
           "and the hypervisor is well");
}

void root_main(void)
{
    hv_need();
    test_signature();
    test_memory();
    test_execute();
    test_forms();
    test_processor();
    test_hypercalls();
    asked = signatures = 0;
    test_signature();
}
