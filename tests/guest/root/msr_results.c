// SPDX-License-Identifier: BSD-2-Clause-Patent
// Results that a parent registers for accesses of its child to MSRs that do not exist:
// HvCallRegisterInterceptResult with HvInterceptTypeX64MsrIndex (tlfs-reference 1.9).
//
// rig: --lps 2
#include "con.h"
#include "hv/partition.h"
#include "hvcall.h"
#include "parent.h"
#include "realmode.h"
#include "rootprobe.h"
#include "tap.h"

#define NO_SUCH_MSR 0x12345u
#define ANOTHER     0x12346u
#define READ        HV_INTERCEPT_ACCESS_MASK_READ
#define WRITE       HV_INTERCEPT_ACCESS_MASK_WRITE
#define FAULT       HV_UNIMPLEMENTED_MSR_ACTION_FAULT
#define IGNORE      HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO

static struct child c;
static struct hv_message message;

static uint16_t put_at(uint64_t id, uint32_t vp, struct hv_register_msr_result result)
{
    struct hv_input_register_cpuid_result in = {
        .partition_id = id, .vp_index = vp, .intercept_type = HV_INTERCEPT_TYPE_X64_MSR_INDEX};
    memcpy(&in.result, &result, sizeof(result));
    return child_paid(&c, HVCALL_REGISTER_INTERCEPT_RESULT, &in, sizeof(in));
}

static uint16_t put(uint32_t vp, uint32_t msr, uint32_t access, uint32_t action)
{
    return put_at(c.id, vp, (struct hv_register_msr_result){msr, access, action});
}

static uint16_t take(uint32_t vp, uint32_t msr, uint32_t access)
{
    struct hv_input_unregister_cpuid_result in = {.partition_id = c.id,
                                                  .vp_index = vp,
                                                  .intercept_type = HV_INTERCEPT_TYPE_X64_MSR_INDEX,
                                                  .eax = msr,
                                                  .ecx = access};
    return parent_call(HVCALL_UNREGISTER_INTERCEPT_RESULT, &in, sizeof(in));
}

// ---- what an access comes to --------------------------------------------------------------------

CODE(read_code, "rdmsr\n out %al, $0x42\n hlt")
CODE(write_code, "wrmsr\n out %al, $0x42\n hlt")

enum outcome { NOTHING_CAME, PASSED, FAULTED, ASKED };

static enum outcome outcome(uint32_t msr, bool write)
{
    parent_set64(c.id, 0, HV_REGISTER_RAX, 0x5555);
    parent_set64(c.id, 0, HV_REGISTER_RDX, 0x5555);
    parent_set64(c.id, 0, HV_REGISTER_RCX, msr);
    if (write)
        RUN(&c, write_code);
    else
        RUN(&c, read_code);
    if (!message_wait(&message, PATIENCE_US))
        return NOTHING_CAME;
    switch (message.header.message_type) {
    case HV_MESSAGE_TYPE_X64_IO_PORT_INTERCEPT:
        return PASSED;
    case HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT:
        return FAULTED;
    case HV_MESSAGE_TYPE_MSR_INTERCEPT:
        return ASKED;
    default:
        return NOTHING_CAME;
    }
}

static bool read_zero(void)
{
    return parent_get64(c.id, 0, HV_REGISTER_RAX) == 0 &&
           parent_get64(c.id, 0, HV_REGISTER_RDX) == 0;
}

// ---- tests --------------------------------------------------------------------------------------

static void test_registered(void)
{
    tap_ok(outcome(NO_SUCH_MSR, false) == ASKED && outcome(NO_SUCH_MSR, true) == ASKED,
           "the parent is asked about an MSR that does not exist");
    tap_is(put(HV_ANY_VP, NO_SUCH_MSR, READ, IGNORE), HV_STATUS_SUCCESS,
           "a result for reading it is registered");
    tap_ok(outcome(NO_SUCH_MSR, false) == PASSED && read_zero(), "it reads 0 without the parent");
    tap_is(outcome(NO_SUCH_MSR, true), ASKED, "which still is asked about writes");
    tap_is(outcome(ANOTHER, false), ASKED, "and about other MSRs");
    tap_is(put(HV_ANY_VP, NO_SUCH_MSR, READ | WRITE, FAULT), HV_STATUS_SUCCESS,
           "a result for both replaces it");
    tap_ok(outcome(NO_SUCH_MSR, false) == FAULTED && outcome(NO_SUCH_MSR, true) == FAULTED,
           "both are #GP then");
    tap_is(put(0, NO_SUCH_MSR, WRITE, IGNORE), HV_STATUS_SUCCESS, "a third is for VP 0 only");
    tap_ok(outcome(NO_SUCH_MSR, true) == PASSED && outcome(NO_SUCH_MSR, false) == FAULTED,
           "what is for one VP wins over what is for all");
    tap_is(take(0, NO_SUCH_MSR, WRITE), HV_STATUS_SUCCESS, "it is unregistered");
    tap_is(outcome(NO_SUCH_MSR, true), FAULTED, "and gone");
    tap_is(take(HV_ANY_VP, NO_SUCH_MSR, WRITE), HV_STATUS_SUCCESS,
           "of the result for both, that for writes too");
    tap_ok(outcome(NO_SUCH_MSR, true) == ASKED && outcome(NO_SUCH_MSR, false) == FAULTED,
           "that for reads stays");
    tap_is(take(HV_ANY_VP, NO_SUCH_MSR, READ | WRITE), HV_STATUS_SUCCESS, "till it goes too");
    tap_is(outcome(NO_SUCH_MSR, false), ASKED, "and all is as before");
    tap_is(take(HV_ANY_VP, NO_SUCH_MSR, READ | WRITE), HV_STATUS_INVALID_PARAMETER,
           "what is not registered cannot be unregistered");
}

// An MSR that the hypervisor has is not its parent's.
static void test_existing(void)
{
    put(HV_ANY_VP, HV_X64_MSR_VP_INDEX, READ, FAULT);
    put(HV_ANY_VP, 0x277, READ, FAULT); // PAT
    tap_ok(outcome(HV_X64_MSR_VP_INDEX, false) == PASSED && outcome(0x277, false) == PASSED,
           "a result for an MSR that exists changes nothing");
}

static void test_refused(void)
{
    tap_is(put(HV_ANY_VP, NO_SUCH_MSR, 0, FAULT), HV_STATUS_INVALID_PARAMETER,
           "an access type without access is refused");
    tap_is(put(HV_ANY_VP, NO_SUCH_MSR, HV_INTERCEPT_ACCESS_MASK_EXECUTE, FAULT),
           HV_STATUS_INVALID_PARAMETER, "and execution");
    tap_is(put(HV_ANY_VP, NO_SUCH_MSR, READ, 2), HV_STATUS_INVALID_PARAMETER,
           "and an unknown action");
    tap_is(put(7, NO_SUCH_MSR, READ, FAULT), HV_STATUS_INVALID_VP_INDEX,
           "and a VP that is not there");
    tap_is(take(HV_ANY_VP, NO_SUCH_MSR, 0), HV_STATUS_INVALID_PARAMETER,
           "and a key without access");
    tap_is(put_at(HV_PARTITION_ID_SELF, HV_ANY_VP,
                  (struct hv_register_msr_result){NO_SUCH_MSR, READ, FAULT}),
           HV_STATUS_ACCESS_DENIED, "and the caller itself");
}

// More results than a page of the child's pool holds.
static void test_many(void)
{
    uint16_t status = HV_STATUS_SUCCESS;
    for (uint32_t i = 0; i < 300 && status == HV_STATUS_SUCCESS; i++)
        status = put(HV_ANY_VP, 0x20000 + i, READ, IGNORE);
    tap_is(status, HV_STATUS_SUCCESS, "300 results are registered, paid from the child's pool");
    tap_ok(outcome(0x20000, false) == PASSED && outcome(0x20000 + 299, false) == PASSED &&
               outcome(0x20000 + 300, false) == ASKED,
           "the first and the last are there, and no other");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(child_prepare(&c), "a child is made")) {
        return;
    }
    parent_install(c.id, HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE, 13);
    test_registered();
    test_existing();
    test_refused();
    test_many();
    tap_ok(child_delete(&c), "every page comes back");
}
