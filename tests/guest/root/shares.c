// SPDX-License-Identifier: BSD-2-Clause-Patent
// Weight, cap and reserve of a partition, as properties and as processor time: three children that
// never stop share one LP with this program, which does not stop either.
//
// rig: --lps 1 --count
#include "con.h"
#include "cpu.h"
#include "hv/call_system.h"
#include "hv/corbel.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define CHILDREN 3u
#define RESERVE  HV_PARTITION_PROPERTY_CPU_RESERVE
#define CAP      HV_PARTITION_PROPERTY_CPU_CAP
#define WEIGHT   HV_PARTITION_PROPERTY_CPU_WEIGHT
#define GROUP    HV_PARTITION_PROPERTY_CPU_GROUP_ID
#define FULL     HV_CPU_FULL
#define SECOND   1000000u // us

static struct child children[CHILDREN];
static uint64_t ran[CHILDREN], elapsed; // of the last measurement, 100 ns

static uint16_t set(const struct child *c, uint32_t code, uint64_t value)
{
    struct hv_input_set_partition_property in = {c->id, code, 0, value};
    return parent_call(HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in));
}

static uint64_t get(const struct child *c, uint32_t code)
{
    struct hv_input_get_partition_property in = {c->id, code, 0};
    uint64_t value = ~0ul;
    uint16_t status =
        parent_call_out(HVCALL_GET_PARTITION_PROPERTY, &in, sizeof(in), &value, sizeof(value));
    return status == HV_STATUS_SUCCESS ? value : ~0ul;
}

// ---- properties -------------------------------------------------------------------------------

static void test_ranges(const struct child *c, const char *when)
{
    static const struct {
        uint32_t code;
        uint64_t value;
        uint16_t status;
        const char *what;
    } steps[] = {
        {WEIGHT, 0, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "weight 0"},
        {WEIGHT, HV_CPU_WEIGHT_MAX + 1, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "weight 10001"},
        {WEIGHT, 1ul << 32 | 100, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "weight 2^32 + 100"},
        {WEIGHT, HV_CPU_WEIGHT_MAX, HV_STATUS_SUCCESS, "weight 10000"},
        {CAP, 0, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "no time at all"},
        {CAP, FULL + 1, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "a cap above all of an LP"},
        {RESERVE, FULL + 1, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "a reserve above all of an LP"},
        {RESERVE, 1ul << 32, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "a reserve of 2^32"},
        {CAP, FULL / 2, HV_STATUS_SUCCESS, "a cap of half an LP"},
        {RESERVE, FULL / 2 + 1, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "a reserve above the cap"},
        {RESERVE, FULL / 2, HV_STATUS_SUCCESS, "a reserve as high as the cap"},
        {CAP, FULL / 2 - 1, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "a cap below the reserve"},
    };
    tap_ok(get(c, WEIGHT) == HV_CPU_WEIGHT_DEFAULT && get(c, CAP) == FULL && get(c, RESERVE) == 0,
           "%s: at first the weight is 100, without cap or reserve", when);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        tap_is(set(c, steps[i].code, steps[i].value), steps[i].status, "%s: %s", when,
               steps[i].what);
    }
    tap_ok(get(c, WEIGHT) == HV_CPU_WEIGHT_MAX && get(c, CAP) == FULL / 2 &&
               get(c, RESERVE) == FULL / 2,
           "%s: what was taken is told", when);
    set(c, RESERVE, 0);
    set(c, CAP, FULL);
    set(c, WEIGHT, HV_CPU_WEIGHT_DEFAULT);
}

static void test_scheduler_type(void)
{
    struct hv_input_get_system_property in = {.property_id = HV_SYSTEM_PROPERTY_SCHEDULER_TYPE};
    uint64_t type = 0;
    uint16_t status =
        parent_call_out(HVCALL_GET_SYSTEM_PROPERTY, &in, sizeof(in), &type, sizeof(type));
    tap_ok(status == HV_STATUS_SUCCESS && type == HV_SCHEDULER_TYPE_LP,
           "one LP: the scheduler is the classic one without SMT (%x, %lu)", status, type);
    in.reserved = 1;
    tap_is(parent_call_out(HVCALL_GET_SYSTEM_PROPERTY, &in, sizeof(in), &type, sizeof(type)),
           HV_STATUS_INVALID_PARAMETER, "a reserved field is refused");
    in = (struct hv_input_get_system_property){.property_id = 0x7777};
    tap_is(parent_call_out(HVCALL_GET_SYSTEM_PROPERTY, &in, sizeof(in), &type, sizeof(type)),
           HV_STATUS_INVALID_PARAMETER, "and so is a property that nobody knows");
}

// ---- groups -----------------------------------------------------------------------------------

static uint16_t set_group(uint32_t id, uint32_t cap, uint64_t lps)
{
    struct hv_input_set_system_property in = {.property_id = HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP};
    struct hv_corbel_cpu_group value = {.id = id, .cap = cap, .lps = {lps}};
    memcpy(in.value, &value, sizeof(value));
    return parent_call(HVCALL_SET_SYSTEM_PROPERTY, &in, sizeof(in));
}

static uint64_t ask_group(uint32_t id, uint64_t what)
{
    struct hv_input_get_system_property in = {HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP, 0,
                                              id | what << HV_CPU_GROUP_ASK_SHIFT};
    uint64_t value = 0;
    uint16_t status =
        parent_call_out(HVCALL_GET_SYSTEM_PROPERTY, &in, sizeof(in), &value, sizeof(value));
    return status == HV_STATUS_SUCCESS ? value : ~0ul;
}

static void test_groups(const struct child *c)
{
    tap_is(set_group(0, FULL, 1), HV_STATUS_INVALID_CPU_GROUP_ID, "there is no group 0");
    tap_is(set_group(HV_CPU_GROUP_MAX + 1, FULL, 1), HV_STATUS_INVALID_CPU_GROUP_ID, "nor 64");
    tap_is(set_group(5, FULL, 2), HV_STATUS_INVALID_LP_INDEX, "a group's LPs are there");
    tap_is(set_group(5, 0, 1), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "and it has some time");
    tap_is(set_group(5, FULL + 1, 1), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "not more than all");
    tap_is(set(c, GROUP, 5), HV_STATUS_INVALID_CPU_GROUP_ID, "one binds to what there is");
    tap_is(set_group(5, HV_CPU_GROUP_GONE, 0), HV_STATUS_INVALID_CPU_GROUP_ID, "and deletes that");
    tap_ok(set_group(5, FULL / 2, 1) == HV_STATUS_SUCCESS &&
               set_group(9, FULL, 0) == HV_STATUS_SUCCESS,
           "two groups are created");
    tap_ok(ask_group(0, HV_CPU_GROUP_NEXT) == 5 && ask_group(5, HV_CPU_GROUP_NEXT) == 9 &&
               ask_group(9, HV_CPU_GROUP_NEXT) == 0,
           "and listed");
    tap_ok(ask_group(5, HV_CPU_GROUP_CAP) == FULL / 2 && ask_group(5, HV_CPU_GROUP_LPS_0) == 1 &&
               ask_group(9, HV_CPU_GROUP_LPS_0) == 1 && ask_group(5, HV_CPU_GROUP_MEMBERS) == 0 &&
               ask_group(5, 99) == ~0ul && ask_group(6, HV_CPU_GROUP_CAP) == ~0ul,
           "with what they have");
    tap_ok(get(c, GROUP) == 0 && set(c, GROUP, 5) == HV_STATUS_SUCCESS && get(c, GROUP) == 5 &&
               ask_group(5, HV_CPU_GROUP_MEMBERS) == 1,
           "a partition is bound");
    tap_is(set(c, GROUP, 9), HV_STATUS_INVALID_CPU_GROUP_STATE, "to one group only");
    tap_is(set_group(5, HV_CPU_GROUP_GONE, 0), HV_STATUS_INVALID_CPU_GROUP_STATE,
           "which is not deleted while it is not empty");
    tap_ok(set(c, GROUP, 0) == HV_STATUS_SUCCESS && set(c, GROUP, 9) == HV_STATUS_SUCCESS &&
               set(c, GROUP, 0) == HV_STATUS_SUCCESS,
           "once unbound it may be bound elsewhere");
    tap_is(set_group(9, HV_CPU_GROUP_GONE, 0), HV_STATUS_SUCCESS, "an empty group is deleted");
}

// ---- time -------------------------------------------------------------------------------------

static uint64_t runtime(uint32_t i)
{
    return parent_get64(children[i].id, 0, HV_REGISTER_VP_RUNTIME);
}

static void measure(uint64_t us)
{
    uint64_t before[CHILDREN], start = rdmsr(HV_X64_MSR_TIME_REF_COUNT);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        before[i] = runtime(i);
    }
    delay_us(us);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        ran[i] = runtime(i) - before[i];
    }
    elapsed = rdmsr(HV_X64_MSR_TIME_REF_COUNT) - start;
}

// Whether `part` is `percent` of `whole`, within `tolerance` percent of `whole`.
static bool about(uint64_t part, uint64_t whole, uint64_t percent, uint64_t tolerance)
{
    uint64_t got = part * 1000, want = whole * percent * 10, slack = whole * tolerance * 10;
    return got + slack >= want && got <= want + slack;
}

static void test_weights(void)
{
    uint64_t all;
    for (uint32_t i = 0; i < CHILDREN; i++) {
        tap_is(set(&children[i], WEIGHT, 100u << i), HV_STATUS_SUCCESS, "a running child's weight");
    }
    measure(SECOND);
    all = ran[0] + ran[1] + ran[2];
    tap_note("weights: %lu %lu %lu of %lu", ran[0], ran[1], ran[2], elapsed);
    tap_ok(about(all, elapsed, 88, 3), "with the root they share one LP 7:1");
    tap_ok(about(ran[0], all, 14, 3) && about(ran[1], all, 29, 3) && about(ran[2], all, 57, 3),
           "and among themselves 1:2:4");
}

static void test_cap(void)
{
    set(&children[2], CAP, FULL / 5);
    measure(SECOND / 2);
    tap_note("cap: %lu %lu %lu of %lu", ran[0], ran[1], ran[2], elapsed);
    tap_ok(about(ran[2], elapsed, 20, 1), "a cap of 20 %% holds");
    tap_ok(about(ran[1], ran[0], 200, 6), "and the others share the rest as before");
    set(&children[2], CAP, FULL);
}

// The chapter's: VMs of a group divide what the group has; a VM's own cap holds besides.
static void test_group_cap(void)
{
    set(&children[0], GROUP, 5);
    set(&children[1], GROUP, 5);
    set(&children[1], WEIGHT, 100);
    set_group(5, FULL / 4, 0);
    measure(SECOND / 2);
    tap_note("group: %lu %lu %lu of %lu", ran[0], ran[1], ran[2], elapsed);
    tap_ok((ran[0] + ran[1]) * 100 <= elapsed * 26 && (ran[0] + ran[1]) * 100 >= elapsed * 23,
           "a group's cap of 25 %% holds for its VMs");
    tap_ok(about(ran[0], elapsed, 12, 2), "which divide it evenly");
    set(&children[0], CAP, FULL / 20);
    measure(SECOND / 2);
    tap_note("group and cap: %lu %lu %lu of %lu", ran[0], ran[1], ran[2], elapsed);
    tap_ok(about(ran[0], elapsed, 5, 1) && ran[1] * 100 > elapsed * 14 &&
               ran[0] + ran[1] <= elapsed / 4 + elapsed / 100,
           "what one with a cap of 5 %% leaves the other gets more of, within the group's cap");
    set(&children[0], CAP, FULL);
    set(&children[0], GROUP, 0);
    set(&children[1], GROUP, 0);
    set(&children[1], WEIGHT, 200);
    tap_is(set_group(5, HV_CPU_GROUP_GONE, 0), HV_STATUS_SUCCESS, "the group is empty again");
}

static void test_reserve(void)
{
    set(&children[0], WEIGHT, 1);
    set(&children[0], RESERVE, FULL / 2);
    measure(SECOND / 2);
    tap_note("reserve: %lu %lu %lu of %lu", ran[0], ran[1], ran[2], elapsed);
    tap_ok(ran[0] * 100 >= elapsed * 49, "a reserve of 50 %% is kept with weight 1");
    tap_ok(about(ran[1], ran[1] + ran[2], 33, 2), "and the others share the rest as before");
}

// One LP, of which a sixteenth is for those without a reserve.
static void test_admission(void)
{
    set(&children[2], RESERVE, 0);
    set(&children[0], RESERVE, FULL / 2);
    tap_is(set(&children[1], RESERVE, FULL / 2), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
           "what is not left cannot be reserved");
    tap_is(get(&children[1], RESERVE), 0, "and nothing has changed");
    tap_is(set(&children[1], RESERVE, FULL / 4), HV_STATUS_SUCCESS, "what is left can");
    tap_is(parent_create_vp(children[0].id, 1), HV_STATUS_OPERATION_DENIED,
           "a second VP would need as much again");
    tap_is(set(&children[1], RESERVE, FULL / 8), HV_STATUS_SUCCESS, "some of it is given back");
    tap_is(set(&children[2], RESERVE, FULL / 4), HV_STATUS_SUCCESS, "and can be had by another");
    tap_is(set(&children[0], RESERVE, 0), HV_STATUS_SUCCESS, "all of one's is");
    tap_ok(child_create_vp(&children[0], 1), "then a second VP can be created");
    tap_is(set(&children[0], RESERVE, FULL / 2), HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
           "a reserve counts for each VP");
    tap_is(set(&children[0], RESERVE, FULL / 4), HV_STATUS_SUCCESS, "so both can have half of it");
}

static const uint8_t spin[] = {0xeb, 0xfe}; // jmp .

void root_main(void)
{
    bool made = true;
    hv_need();
    hv_setup();
    messages_on();
    test_scheduler_type();
    made &= parent_create(0, &children[0].id) == HV_STATUS_SUCCESS;
    test_ranges(&children[0], "before it is initialized");
    made &= child_prepare_created(&children[0]);
    for (uint32_t i = 1; i < CHILDREN; i++) {
        made &= child_prepare(&children[i]);
    }
    if (!tap_ok(made, "three children are made")) {
        return;
    }
    test_ranges(&children[1], "of an active partition");
    test_groups(&children[1]);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        child_run(&children[i], spin, sizeof(spin));
    }
    test_weights();
    test_cap();
    test_group_cap();
    test_reserve();
    test_admission();
    for (uint32_t i = 0; i < CHILDREN; i++) {
        tap_ok(child_delete(&children[i]), "every page comes back");
    }
    tap_is(set(&children[0], WEIGHT, 100), HV_STATUS_INVALID_PARTITION_ID,
           "a partition that is gone has no weight");
}
