// SPDX-License-Identifier: BSD-2-Clause-Patent
// A child's parameter lists where nothing is mapped, or not for that: "If either of these tests
// fails, the hypervisor generates a memory intercept message." The parent provides the page, or
// completes the call itself. TLFS: Hypercall Interface, Alignment Requirements; XMM Fast Hypercall
// Output.
//
// rig: --lps 2
// rig: --lps 1
#include "con.h"
#include "cpu.h"
#include "hv/partition.h"
#include "hvcall.h"
#include "remote.h"
#include "rootprobe.h"
#include "tap.h"

#define LIST_IN    0x50000u // GPAs of the child where nothing is
#define LIST_OUT   0x51000u
#define VP         1
#define FIND       hv_hypercall_control(HVCALL_GET_VP_INDEX_FROM_APIC_ID, false, 0, 1)
#define DONE_ONE   hv_hypercall_result(HV_STATUS_SUCCESS, 1)
#define OWN_ANSWER 0x1234567800000099u // nobody else's
#define READ       HV_MAP_GPA_READABLE
#define WRITE      (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE)
#define PRIVILEGES                                                                                 \
    (HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX |         \
     HV_PRIV_ACCESS_INTR_CTRL_REGS)

static struct remote r;
static struct hv_message message;

static uint64_t id(void)
{
    return r.child.id;
}

// An intercept of the call at this address, and the VP stands at its instruction.
static bool told(uint32_t type, uint64_t gpa, uint8_t access, const char *what)
{
    const struct hv_x64_memory_intercept_message *m = (const void *)message.payload;
    bool came = message_wait(&message, PATIENCE_US);
    bool right = came && message.header.message_type == type && m->header.vp_index == VP &&
                 m->header.access_type == access && m->guest_physical_address == gpa &&
                 (m->header.length_cr8 & HV_INTERCEPT_LENGTH_MASK) == 3 &&
                 m->instruction_byte_count == 0 &&
                 m->header.rip == parent_get64(id(), VP, HV_REGISTER_RIP);
    if (!right) {
        tap_note("came %u, type %x VP %u access %u GPA %lx length %u bytes %u", came,
                 message.header.message_type, m->header.vp_index, m->header.access_type,
                 m->guest_physical_address, m->header.length_cr8 & HV_INTERCEPT_LENGTH_MASK,
                 m->instruction_byte_count);
    }
    return tap_ok(right, "%s", what);
}

static void go(void)
{
    parent_set64(id(), VP, HV_REGISTER_INTERCEPT_SUSPEND, 0);
}

// The page is at `gpa` with these rights; 0: with none.
static void place(uint64_t page, uint32_t gpa, uint32_t rights)
{
    child_map(&r.child, gpa >> 12, page, rights);
}

static void fill(uint64_t page, uint32_t apic_id)
{
    const struct {
        struct hv_input_get_vp_index_from_apic_id in;
        uint32_t id[2];
    } list = {{.partition_id = HV_PARTITION_ID_SELF}, {apic_id, 0}};
    memcpy((void *)(page << 12), &list, sizeof(list));
}

static void test_unmapped(uint64_t in, uint64_t out)
{
    fill(in, 1);
    *(volatile uint32_t *)(out << 12) = 0xeeeeeeee;
    remote_repeat(&r, VP, FIND, LIST_IN, LIST_OUT, 1, DONE_ONE);
    told(HV_MESSAGE_TYPE_UNMAPPED_GPA, LIST_IN, HV_INTERCEPT_ACCESS_READ,
         "input that is not mapped is a memory intercept for reading");
    place(in, LIST_IN, READ);
    go();
    told(HV_MESSAGE_TYPE_UNMAPPED_GPA, LIST_OUT, HV_INTERCEPT_ACCESS_WRITE,
         "then output that is not, for writing");
    tap_is(*(volatile uint32_t *)(out << 12), 0xeeeeeeee, "until then nothing is done");
    place(out, LIST_OUT, WRITE);
    go();
    tap_is(remote_end(&r, VP), 1, "with both the call is executed, once");
    tap_is(*(volatile uint32_t *)(out << 12), 1, "and has answered");
}

static void test_rights(uint64_t in, uint64_t out)
{
    fill(in, 0);
    place(in, LIST_IN, HV_MAP_GPA_PERMISSIONS_NONE);
    place(out, LIST_OUT, READ);
    remote_repeat(&r, VP, FIND, LIST_IN, LIST_OUT, 1, DONE_ONE);
    told(HV_MESSAGE_TYPE_GPA_INTERCEPT, LIST_IN, HV_INTERCEPT_ACCESS_READ,
         "input that is mapped and not readable is one too");
    place(in, LIST_IN, READ);
    go();
    told(HV_MESSAGE_TYPE_GPA_INTERCEPT, LIST_OUT, HV_INTERCEPT_ACCESS_WRITE,
         "and output that is not writable");
    tap_is(*(volatile uint32_t *)(out << 12), 1, "a page that may only be read is not written");
    place(out, LIST_OUT, WRITE);
    go();
    tap_is(remote_end(&r, VP), 1, "with the rights the call is executed");
    tap_is(*(volatile uint32_t *)(out << 12), 0, "and has answered");
}

static void test_completed(uint64_t in)
{
    parent_unmap(id(), LIST_OUT >> 12, 1, 0);
    fill(in, 0);
    remote_repeat(&r, VP, FIND, LIST_IN, LIST_OUT, 1, OWN_ANSWER);
    if (told(HV_MESSAGE_TYPE_UNMAPPED_GPA, LIST_OUT, HV_INTERCEPT_ACCESS_WRITE,
             "a parent that has no page")) {
        uint64_t rip = parent_get64(id(), VP, HV_REGISTER_RIP);
        parent_set64(id(), VP, HV_REGISTER_RAX, OWN_ANSWER);
        parent_set64(id(), VP, HV_REGISTER_RIP, rip + 3);
    }
    go();
    tap_is(remote_end(&r, VP), 1, "completes the call with what it likes");
}

// What is wrong with the list itself is the caller's business, mapped or not.
static void test_refused(void)
{
    const uint16_t refused = HV_STATUS_INVALID_ALIGNMENT;
    parent_unmap(id(), LIST_IN >> 12, 1, 0);
    tap_is(remote_call(&r, VP, FIND, LIST_IN + 4, LIST_OUT), refused, "a list that is not aligned");
    tap_is(remote_call(&r, VP, FIND, LIST_IN + 4096 - 16, LIST_OUT), refused,
           "or crosses its page");
    tap_is(remote_call(&r, VP, FIND, 1ul << 50, LIST_OUT), refused, "or is beyond the GPA space");
    tap_ok(!message_wait(&message, 20000), "is refused, and is no intercept");
}

// ---- register output
// ------------------------------------------------------------------------------

// HvExtCallQueryCapabilities has no input, and would answer in RDX.
static void test_output(void)
{
    const uint64_t fast = hv_hypercall_control(HVCALL_EXT_QUERY_CAPABILITIES, true, 0, 0);
    uint64_t rip;
    parent_install(id(), HV_INTERCEPT_TYPE_EXCEPTION, HV_INTERCEPT_ACCESS_MASK_EXECUTE, VECTOR_UD);
    remote_repeat(&r, VP, fast, 0, 0, 1, OWN_ANSWER);
    bool came = message_wait(&message, PATIENCE_US);
    const struct hv_x64_exception_intercept_message *m = (const void *)message.payload;
    rip = parent_get64(id(), VP, HV_REGISTER_RIP);
    tap_ok(came && message.header.message_type == HV_MESSAGE_TYPE_EXCEPTION_INTERCEPT &&
               m->exception_vector == VECTOR_UD && m->header.rip == rip,
           "Any attempt to use this interface when the hypervisor does not indicate availability "
           "will result in a #UD fault (%x)",
           message.header.message_type);
    parent_set64(id(), VP, HV_REGISTER_RAX, OWN_ANSWER);
    parent_set64(id(), VP, HV_REGISTER_RIP, rip + 3);
    go();
    tap_is(remote_end(&r, VP), 1, "at the call");
}

void root_main(void)
{
    uint64_t in = page_take(), out = page_take();
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(remote_start(&r, PRIVILEGES | HV_PRIV_ENABLE_EXTENDED_HYPERCALLS, REMOTE_VPS),
                "a child with two VPs runs")) {
        return;
    }
    test_unmapped(in, out);
    test_rights(in, out);
    test_completed(in);
    test_refused();
    test_output();
    tap_ok(remote_delete(&r), "every page comes back");
    page_give(in);
    page_give(out);
    if (tap_ok(remote_start(&r,
                            PRIVILEGES | HV_PRIV_ENABLE_EXTENDED_HYPERCALLS |
                                HV_PRIV_FAST_HYPERCALL_OUTPUT,
                            1),
               "another one may have output in registers")) {
        tap_is(remote_call(&r, 0, hv_hypercall_control(HVCALL_EXT_QUERY_CAPABILITIES, true, 0, 0),
                           0, 0),
               HV_STATUS_SUCCESS, "and the same call succeeds");
        tap_ok(remote_delete(&r), "every page comes back");
    }
}
