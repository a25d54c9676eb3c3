// SPDX-License-Identifier: BSD-2-Clause-Patent
// A child's reference time stands while all its VPs are explicitly suspended or its parent has
// frozen it, and goes on from there: counter, reference TSC page, timers.
// TLFS: Reference Counter; Partition Reference TSC Mechanism; tlfs-reference 2.19 (TimeFreeze).
//
// rig: --lps 2
#include "hv/time.h"
#include "con.h"
#include "cpu.h"
#include "hv/call_partition.h"
#include "hv/msr.h"
#include "hv/partition.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "remote.h"
#include "rootprobe.h"
#include "tap.h"

#define VECTOR   0x61
#define TSC_PAGE 0x30000u // a GPA of the child where nothing is
#define MS       10000u   // in reference time
#define PRIVILEGES                                                                                 \
    (HV_PRIV_ACCESS_SYNIC_REGS | HV_PRIV_ACCESS_HYPERCALL_MSRS | HV_PRIV_ACCESS_VP_INDEX |         \
     HV_PRIV_ACCESS_INTR_CTRL_REGS | HV_PRIV_ACCESS_PARTITION_REFERENCE_COUNTER |                  \
     HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC | HV_PRIV_ACCESS_SYNTHETIC_TIMER_REGS)

static struct remote r;

static uint16_t freeze(uint64_t value)
{
    struct hv_input_set_partition_property in = {r.child.id, HV_PARTITION_PROPERTY_TIME_FREEZE, 0,
                                                 value};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

static uint64_t property(uint32_t code)
{
    struct hv_input_get_partition_property in = {r.child.id, code, 0};
    uint64_t value = ~0ul;
    parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), &value, sizeof(value));
    return value;
}

static uint64_t now(void)
{
    return property(HV_PARTITION_PROPERTY_REFERENCE_TIME);
}

static uint64_t counter(uint32_t vp)
{
    return remote_rdmsr(&r, vp, HV_X64_MSR_TIME_REF_COUNT);
}

static void suspend(uint32_t vp, uint64_t value)
{
    parent_set64(r.child.id, vp, HV_REGISTER_EXPLICIT_SUSPEND, value);
}

static bool stands(void)
{
    uint64_t before = now();
    delay_us(3000);
    return now() == before;
}

static bool goes(void)
{
    uint64_t before = now();
    delay_us(3000);
    return now() >= before + 2 * MS;
}

static uint16_t set_time(uint64_t value)
{
    struct hv_input_set_partition_property in = {r.child.id, HV_PARTITION_PROPERTY_REFERENCE_TIME,
                                                 0, value};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

// ---- the page -----------------------------------------------------------------------------------

static uint32_t sequence(void)
{
    return (uint32_t)remote_load(&r, 0, TSC_PAGE);
}

static uint64_t offset(void)
{
    return remote_load(&r, 0, TSC_PAGE + offsetof(struct hv_reference_tsc_page, tsc_offset));
}

// What the guest computes from the page lies between two readings of the counter.
static bool page_agrees(void)
{
    uint64_t scale =
        remote_load(&r, 0, TSC_PAGE + offsetof(struct hv_reference_tsc_page, tsc_scale));
    uint64_t add = offset(), before = counter(0), tsc = rdtsc(), after = counter(0);
    uint64_t time = (uint64_t)((unsigned __int128)tsc * scale >> 64) + add;
    if (time >= before && time <= after)
        return true;
    tap_note("the page says %lu, the counter %lu and %lu", time, before, after);
    return false;
}

// ---- tests --------------------------------------------------------------------------------------

// "as long as at least one virtual processor is not explicitly suspended"
static void test_suspended(void)
{
    uint64_t before, after;
    tap_ok(goes(), "reference time goes while VPs run");
    suspend(1, 1);
    tap_ok(goes(), "and while one of two is suspended");
    suspend(0, 1);
    tap_ok(stands(), "it stands while both are");
    suspend(0, 1);
    tap_ok(stands(), "suspending a VP again changes nothing");
    before = now();
    delay_us(20000);
    suspend(1, 0);
    after = now();
    tap_ok(after > before && goes(), "it goes on with one of them");
    suspend(1, 1);
    tap_ok(stands(), "and stops with it");
    before = now();
    delay_us(20000);
    suspend(0, 0);
    after = counter(0);
    tap_ok(after > before, "it goes on from where it stood: the guest sees no step back");
    suspend(1, 0);
}

static void test_freeze(void)
{
    tap_is(property(HV_PARTITION_PROPERTY_TIME_FREEZE), 0, "time is not frozen at first");
    tap_is(freeze(2), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "TimeFreeze is 0 or 1");
    tap_is(freeze(1), HV_STATUS_SUCCESS, "time is frozen while VPs run");
    tap_is(property(HV_PARTITION_PROPERTY_TIME_FREEZE), 1, "which the property tells");
    uint64_t before = counter(0), runtime = parent_get64(r.child.id, 1, HV_REGISTER_VP_RUNTIME);
    delay_us(20000);
    tap_ok(stands() && counter(1) == before, "the counter stands, for all VPs");
    tap_ok(parent_get64(r.child.id, 1, HV_REGISTER_VP_RUNTIME) > runtime,
           "run time does not: it is not reference time");
    suspend(0, 1);
    suspend(1, 1);
    suspend(1, 0);
    suspend(0, 0);
    tap_ok(stands() && now() == before, "VPs that wake up do not thaw it");
    tap_is(freeze(0), HV_STATUS_SUCCESS, "it is let go on");
    uint64_t after = counter(0);
    tap_ok(after > before, "and does, from where it stood (%lu after %lu)", after, before);
    tap_ok(goes(), "and keeps going");
}

// Freezing gives the page another offset: guests that read it must not see time jump.
static void test_page(void)
{
    remote_wrmsr(&r, 0, HV_X64_MSR_REFERENCE_TSC, TSC_PAGE | HV_PAGE_MSR_ENABLE);
    uint32_t first = sequence();
    uint64_t first_offset = offset();
    tap_ok(first != HV_REFERENCE_TSC_SEQUENCE_INVALID && page_agrees(),
           "the reference TSC page agrees with the counter");
    freeze(1);
    uint64_t stood = counter(0);
    tap_is(sequence(), HV_REFERENCE_TSC_SEQUENCE_INVALID,
           "while time is frozen the page is not valid");
    remote_wrmsr(&r, 0, HV_X64_MSR_REFERENCE_TSC, 0);
    remote_wrmsr(&r, 0, HV_X64_MSR_REFERENCE_TSC, TSC_PAGE | HV_PAGE_MSR_ENABLE);
    tap_is(sequence(), HV_REFERENCE_TSC_SEQUENCE_INVALID, "nor is it when it is enabled then");
    delay_us(20000);
    freeze(0);
    uint32_t second = sequence();
    tap_ok(second != HV_REFERENCE_TSC_SEQUENCE_INVALID && second != first,
           "afterwards it has a sequence of its own (%u, %u)", second, first);
    tap_ok((int64_t)(first_offset - offset()) > (int64_t)(19 * MS),
           "and an offset that makes up for the time it stood");
    tap_ok(page_agrees(), "it agrees with the counter again");
    tap_ok(counter(0) > stood, "and time has not gone back");
}

static void test_timer(void)
{
    remote_synic_on(&r, 0);
    remote_wrmsr(&r, 0, HV_X64_MSR_STIMER0_CONFIG,
                 HV_STIMER_DIRECT | HV_STIMER_AUTO_ENABLE |
                     (uint64_t)VECTOR << HV_STIMER_VECTOR_SHIFT);
    uint64_t due = counter(0) + 10 * MS;
    remote_wrmsr(&r, 0, HV_X64_MSR_STIMER0_COUNT, due);
    freeze(1);
    uint64_t frozen_at = counter(0);
    delay_us(30000);
    tap_ok(frozen_at >= due || !remote_pending(&r, 0, VECTOR),
           "a timer does not expire while time is frozen");
    freeze(0);
    uint64_t end = rdmsr(HV_X64_MSR_TIME_REF_COUNT) + PATIENCE_US * 10;
    while (!remote_pending(&r, 0, VECTOR) && rdmsr(HV_X64_MSR_TIME_REF_COUNT) < end)
        pause();
    tap_ok(remote_pending(&r, 0, VECTOR), "it does when time has gone on");
    tap_ok(counter(0) >= due, "and not early");
}

// A guest that is restored goes on at the time it was saved at, earlier or later.
static void test_set(void)
{
    static const uint64_t times[] = {UINT64_C(864000000000) * 365, 12345};
    tap_is(set_time(1), HV_STATUS_INVALID_PARTITION_STATE, "time that goes cannot be set");
    freeze(1);
    tap_is(set_time(1ul << 63), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
           "nor to the far side of its counter");
    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        freeze(1);
        tap_is(set_time(times[i]), HV_STATUS_SUCCESS, "time that stands is set to %lu", times[i]);
        tap_ok(now() == times[i] && counter(0) == times[i], "and is that");
        freeze(0);
        uint64_t after = counter(0);
        tap_ok(after > times[i] && after < times[i] + 100 * PATIENCE_US && page_agrees(),
               "and goes on from there, for counter and page");
    }
}

// TLFS: HvCallRestorePartitionTime, by the parent; tests/guest/restore.c is the guest's own.
static uint16_t restore(uint64_t id, uint32_t tsc_sequence, uint64_t time, uint64_t tsc)
{
    struct hv_input_restore_partition_time in = {
        .partition_id = id, .tsc_sequence = tsc_sequence, .reference_time = time, .tsc = tsc};
    return parent_call(HVCALL_RESTORE_PARTITION_TIME, &in, sizeof(in));
}

static void test_restore(void)
{
    const uint64_t time = UINT64_C(864000000000) * 30;
    uint64_t id = 0, before = rdtsc();
    tap_is(restore(HV_PARTITION_ID_SELF, 1, time, 1ul << 60), HV_STATUS_ACCESS_DENIED,
           "the root's time cannot be restored");
    tap_ok(rdtsc() - before < 1ul << 59, "and its TSC is what it was");
    tap_is(restore(0x123400, 1, time, 1000), HV_STATUS_INVALID_PARTITION_ID,
           "nor that of a partition that is not");
    parent_create(0, &id);
    tap_is(restore(id, 1, time, 1000), HV_STATUS_INVALID_PARTITION_STATE,
           "nor that of one that is not active");
    parent_on(HVCALL_DELETE_PARTITION, id);
    freeze(1);
    tap_ok(restore(r.child.id, 41, time, 1000) == HV_STATUS_SUCCESS && now() == time &&
               counter(1) == time && sequence() == HV_REFERENCE_TSC_SEQUENCE_INVALID,
           "a child's time that stands is another");
    freeze(0);
    tap_ok(counter(0) > time && counter(0) < time + 100 * PATIENCE_US && sequence() == 42,
           "and goes on from there, with a sequence behind the one given (%u)", sequence());
    tap_is(restore(r.child.id, 0, 12345, 1000), HV_STATUS_SUCCESS, "that goes too");
    tap_ok(counter(1) > 12345 && counter(1) < 12345 + 100 * PATIENCE_US &&
               sequence() == HV_REFERENCE_TSC_SEQUENCE_INVALID,
           "and is that; sequence 0 takes the page's validity");
}

// By a child of one privilege only, and by its parent on it.
static void test_restore_denied(void)
{
    const struct hv_input_restore_partition_time in = {
        .partition_id = HV_PARTITION_ID_SELF, .reference_time = 12345, .tsc = 1000};
    if (!tap_ok(remote_start(&r, PRIVILEGES & ~HV_PRIV_ACCESS_PARTITION_REFERENCE_TSC, 1),
                "a child without the reference TSC runs")) {
        return;
    }
    memcpy(remote_input(&r, 0), &in, sizeof(in));
    tap_is(remote_call(&r, 0, hv_hypercall_control(HVCALL_RESTORE_PARTITION_TIME, false, 0, 0),
                       REMOTE_INPUT(0), 0),
           HV_STATUS_ACCESS_DENIED, "without that privilege it may not restore its time");
    tap_is(restore(r.child.id, 1, 12345, 1000), HV_STATUS_ACCESS_DENIED, "nor may its parent");
    tap_ok(remote_delete(&r), "every page comes back");
}

void root_main(void)
{
    hv_need();
    hv_setup();
    messages_on();
    if (!tap_ok(remote_start(&r, PRIVILEGES, REMOTE_VPS), "a child with two VPs runs"))
        return;
    test_suspended();
    test_freeze();
    test_page();
    test_timer();
    test_set();
    test_restore();
    tap_ok(remote_delete(&r), "every page comes back");
    test_restore_denied();
}
