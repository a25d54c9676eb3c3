// SPDX-License-Identifier: BSD-2-Clause-Patent
// vmx/failure.c: each rule of SDM 3C 27.3.1 is named when a state breaks it alone.
#include <check.h>
#include <stddef.h>
#include <string.h>

#include "corbel/x86.h"
#include "vmx/failure.h"
#include "vmx/vmcs.h"

void vmx_bad_field(enum vmcs_field field)
{
    ck_abort_msg("field %#x", field);
}

#define CODE_64 0xa09bu
#define DATA    0xc093u
#define PAT     0x0007040600070406ul

static struct vmx_guest_state long_mode(void)
{
    struct vmx_guest_state s = {
        .cr0 = 0x80010033,
        .cr3 = 0x1000,
        .cr4 = 0x2620,
        .efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
        .dr7 = 0x400,
        .rip = 0xffffffff81000000,
        .rflags = RFLAGS_FIXED,
        .pat = PAT,
        .link_pointer = UINT64_MAX,
        .gdtr_limit = 0x7f,
        .idtr_limit = 0xfff,
        .entry_controls = VMX_ENTRY_LONG_MODE,
        .cr0_must = 0x20,
        .cr0_may = 0xffffffff,
        .cr4_must = 0x2000,
        .cr4_may = 0x3767ff,
        .physical_bits = 40,
        .linear_bits = 48,
    };

    for (unsigned i = 0; i < 6; i++)
        s.segment[i] = (struct vmx_segment){0, 0xffffffff, i == VMX_CS ? CODE_64 : DATA, 8};
    s.segment[VMX_LDTR] = (struct vmx_segment){0, 0, VMX_RIGHTS_UNUSABLE, 0};
    s.segment[VMX_TR] = (struct vmx_segment){0xffffffff82000000, 0x67, 0x8b, 0x40};
    return s;
}

// As after INIT and SIPI.
static struct vmx_guest_state real_mode(void)
{
    struct vmx_guest_state s = long_mode();

    s.cr0 = 0x30;
    s.cr3 = 0;
    s.cr4 = 0x2000;
    s.efer = 0;
    s.entry_controls = 0;
    s.rip = 0;
    for (unsigned i = 0; i < 6; i++)
        s.segment[i] = (struct vmx_segment){0, 0xffff, i == VMX_CS ? 0x9b : 0x93, 0};
    s.segment[VMX_CS].selector = 0x800;
    s.segment[VMX_CS].base = 0x8000;
    return s;
}

START_TEST(good_states)
{
    struct vmx_guest_state s = long_mode();

    ck_assert_ptr_null(vmx_guest_state_fault(&s));
    s = real_mode();
    ck_assert_ptr_null(vmx_guest_state_fault(&s));
    // PAE, and virtual-8086 mode in it.
    s = long_mode();
    s.efer = 0;
    s.entry_controls = 0;
    s.rip = 0x1000;
    s.segment[VMX_CS].rights = 0xc09b;
    ck_assert_ptr_null(vmx_guest_state_fault(&s));
    s.rflags |= RFLAGS_VM;
    for (unsigned i = 0; i < 6; i++)
        s.segment[i] = (struct vmx_segment){0x1230, 0xffff, 0xf3, 0x123};
    ck_assert_ptr_null(vmx_guest_state_fault(&s));
    s.segment[VMX_GS].limit = 0xfffff;
    ck_assert_ptr_nonnull(vmx_guest_state_fault(&s));
}
END_TEST

struct break_one {
    size_t offset;
    unsigned size;
    uint64_t value;
    const char *says; // how the answer begins
};

#define FIELD(f)      offsetof(struct vmx_guest_state, f), sizeof(((struct vmx_guest_state *)0)->f)
#define SEGMENT(i, f) FIELD(segment[i].f)

// clang-format off
static const struct break_one breaks[] = {
    {FIELD(cr0), 0x80010013, "CR0"}, {FIELD(cr0), 0x80010032, "CR0"}, {FIELD(cr4), 0x620, "CR4"},
    {FIELD(cr4), 0x2620 | 1u << 30, "CR4"}, {FIELD(cr4), 0x2600, "long mode"},
    {FIELD(cr3), 1ul << 40, "CR3"}, {FIELD(dr7), 1ul << 32, "DR7"},
    {FIELD(sysenter_eip), 1ul << 47, "SYSENTER"}, {FIELD(efer), 0xd01 | 1u << 12, "EFER"},
    {FIELD(efer), EFER_LME, "EFER"}, {FIELD(efer), EFER_LMA, "EFER"}, {FIELD(pat), 2, "PAT"},
    {FIELD(pat), 0x0807040600070406, "PAT"}, {FIELD(link_pointer), 0, "link"},
    {FIELD(activity), 4, "activity"}, {FIELD(rflags), 0, "RFLAGS"},
    {FIELD(rflags), 1u << 3 | 2, "RFLAGS"}, {FIELD(rflags), RFLAGS_VM | 2, "virtual-8086"},
    {FIELD(rip), 1ul << 47, "RIP"}, {FIELD(interruptibility), 3, "interruptibility: both"},
    {FIELD(interruptibility), 1, "interruptibility: shadow"},
    {FIELD(interruptibility), 0x20, "interruptibility: reserved"},
    {FIELD(entry_event), VMX_EVENT_VALID | 0x30, "RFLAGS: an interrupt"},
    {FIELD(pending_debug), 1u << 4, "pending"}, {FIELD(gdtr_limit), 0x10000, "GDTR"},
    {FIELD(idtr_base), 1ul << 60, "GDTR or IDTR"},
    {SEGMENT(VMX_CS, rights), 0xe09b, "CS: both"}, {SEGMENT(VMX_CS, rights), 0xa09a, "CS: type"},
    {SEGMENT(VMX_CS, rights), 0xa08b, "CS"}, {SEGMENT(VMX_CS, rights), 0xa0fb, "CS: DPL"},
    {SEGMENT(VMX_CS, rights), 0xa19b, "CS: reserved"}, {SEGMENT(VMX_CS, limit), 0xfffff000, "CS: G"},
    {SEGMENT(VMX_CS, rights), 0x209b, "CS: G"}, {SEGMENT(VMX_CS, base), 1ul << 32, "CS: base"},
    {SEGMENT(VMX_SS, rights), 0xc091, "SS: type"}, {SEGMENT(VMX_SS, rights), 0xc013, "SS"},
    {SEGMENT(VMX_DS, rights), 0xc092, "ES, DS"}, {SEGMENT(VMX_ES, rights), 0xc099, "ES, DS"},
    {SEGMENT(VMX_FS, base), 1ul << 50, "FS or GS"}, {SEGMENT(VMX_DS, base), 1ul << 32, "ES or DS"},
    {SEGMENT(VMX_TR, rights), VMX_RIGHTS_UNUSABLE, "TR"}, {SEGMENT(VMX_TR, rights), 0x89, "TR: not"},
    {SEGMENT(VMX_TR, rights), 0x83, "TR: not"}, {SEGMENT(VMX_TR, selector), 0x44, "TR: G"},
    {SEGMENT(VMX_LDTR, rights), 0, "LDTR"}, {SEGMENT(VMX_LDTR, base), 1ul << 47, "TR or LDTR"},
};
// clang-format on

START_TEST(breaks_one_rule)
{
    const struct break_one *b = &breaks[_i];
    struct vmx_guest_state s = long_mode();
    const char *why;

    memcpy((char *)&s + b->offset, &b->value, b->size);
    why = vmx_guest_state_fault(&s);
    ck_assert_msg(why && !strncmp(why, b->says, strlen(b->says)), "row %d: %s, not %s", _i,
                  why ? why : "nothing", b->says);
}
END_TEST

START_TEST(rules_of_other_modes)
{
    struct vmx_guest_state s = real_mode();

    s.segment[VMX_CS].rights = 0x93;
    s.segment[VMX_SS].rights = 0xf3;
    ck_assert_str_eq(vmx_guest_state_fault(&s), "SS: DPL above 0 in real mode or beside a data CS");
    s = real_mode();
    s.rip = 1ul << 32;
    ck_assert_str_eq(vmx_guest_state_fault(&s), "RIP: above 4 GiB outside 64-bit code");
    s = real_mode();
    s.cr4 |= CR4_PCIDE;
    s.cr4_may |= CR4_PCIDE;
    ck_assert_str_eq(vmx_guest_state_fault(&s), "CR4: PCIDE outside long mode");
    s = long_mode();
    s.efer = 0;
    s.entry_controls = 0;
    s.rip = 0;
    s.pdptes[2] = 3;
    ck_assert_str_eq(vmx_guest_state_fault(&s), "PDPTE: reserved bits");
    s.pdptes[2] = 2; // not present
    ck_assert_ptr_null(vmx_guest_state_fault(&s));
}
END_TEST

START_TEST(shadows_and_events)
{
    struct vmx_guest_state s = long_mode();

    s.interruptibility = VMX_BLOCKED_MOV_SS;
    ck_assert_ptr_null(vmx_guest_state_fault(&s));
    s.rflags |= RFLAGS_TF;
    ck_assert_ptr_nonnull(vmx_guest_state_fault(&s));
    s.pending_debug = VMX_PENDING_STEP;
    ck_assert_ptr_null(vmx_guest_state_fault(&s));
    s.entry_event = VMX_EVENT_VALID | 2u << VMX_EVENT_TYPE_SHIFT | 2;
    ck_assert_ptr_nonnull(vmx_guest_state_fault(&s));
    s = long_mode();
    s.interruptibility = VMX_BLOCKED_NMI;
    ck_assert_ptr_null(vmx_guest_state_fault(&s));
    s.entry_event = VMX_EVENT_VALID | 2u << VMX_EVENT_TYPE_SHIFT | 2;
    ck_assert_ptr_nonnull(vmx_guest_state_fault(&s));
}
END_TEST

START_TEST(texts)
{
    ck_assert_str_eq(vmx_error_text(7), "invalid control fields");
    ck_assert_str_eq(vmx_error_text(14), "unknown");
    ck_assert_str_eq(vmx_error_text(1000), "unknown");
    ck_assert_str_eq(vmx_reason_text(0x80000021), "entry refused: guest state");
    ck_assert_str_eq(vmx_reason_text(0xffff), "unexpected");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vmx_failure");
    TCase *tests = tcase_create("vmx_failure");

    tcase_add_test(tests, good_states);
    tcase_add_loop_test(tests, breaks_one_rule, 0, sizeof(breaks) / sizeof(breaks[0]));
    tcase_add_test(tests, rules_of_other_modes);
    tcase_add_test(tests, shadows_and_events);
    tcase_add_test(tests, texts);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
