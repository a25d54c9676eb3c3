// SPDX-License-Identifier: BSD-2-Clause-Patent
// What it costs to go from one VP of a child to another one on the same LP: two that give each
// other the LP by HvCallNotifyLongSpinWait, each time by an exit, a decision of the scheduler, the
// state of one saved and that of the other loaded, and an entry. Runs as the root, on the other LP;
// the line is one of `bench ROW MIN MEDIAN MAX`.
#include "con.h"
#include "cpu.h"
#include "hv/corbel.h"
#include "hv/partition.h"
#include "hv/registers.h"
#include "hv/synic.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "string.h"
#include "tap.h"

#define GROUP     1u
#define OTHER_LP  2u // a bit set
#define OTHER_IP  (CHILD_CODE + 0x34)
#define CALL_PAGE 0x3000ul
#define SAMPLES   64u
#define AT        0xe00 // in the code page: the samples, and behind them how many there were
#define WANTED    (4 * SAMPLES)
#define PATIENCE  20000u // of 100 us

// 32-bit, flat. Each sample is what passes from one call to its return: two changes of the VP.
static const uint8_t code[] = {
    0x0f, 0x31,                               // 00 rdtsc
    0x89, 0xc7,                               // 02 mov edi, eax
    0x31, 0xd2,                               // 04 xor edx, edx
    0xb8, 0x08, 0x00, 0x01, 0x00,             // 06 mov eax, 0x10008 (fast)
    0x31, 0xdb,                               // 0b xor ebx, ebx
    0x31, 0xc9,                               // 0d xor ecx, ecx
    0x0f, 0x01, 0xd9,                         // 0f vmmcall
    0x0f, 0x31,                               // 12 rdtsc
    0x29, 0xf8,                               // 14 sub eax, edi
    0x8b, 0x0d, 0x00, 0x1f, 0x00, 0x00,       // 16 mov ecx, [0x1f00]
    0x83, 0xe1, 0x3f,                         // 1c and ecx, 63
    0x89, 0x04, 0x8d, 0x00, 0x1e, 0x00, 0x00, // 1f mov [0x1e00 + ecx * 4], eax
    0xff, 0x05, 0x00, 0x1f, 0x00, 0x00,       // 26 inc dword [0x1f00]
    0xeb, 0xd2,                               // 2c jmp 00
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90,       // 2e
    0x31, 0xd2,                               // 34 xor edx, edx
    0xb8, 0x08, 0x00, 0x01, 0x00,             // 36 mov eax, 0x10008
    0x31, 0xdb,                               // 3b xor ebx, ebx
    0x31, 0xc9,                               // 3d xor ecx, ecx
    0x0f, 0x01, 0xd9,                         // 3f vmmcall
    0xeb, 0xf0,                               // 42 jmp 34
};

static struct child c;

// All VPs of the child on the LP on which the root does not run.
static bool bind(void)
{
    struct hv_input_set_system_property group = {.property_id =
                                                     HV_SYSTEM_PROPERTY_CORBEL_CPU_GROUP};
    struct hv_corbel_cpu_group value = {.id = GROUP, .cap = HV_CPU_FULL, .lps = {OTHER_LP}};
    struct hv_input_set_partition_property property = {.partition_id = c.id,
                                                       .property_code =
                                                           HV_PARTITION_PROPERTY_CPU_GROUP_ID,
                                                       .property_value = GROUP};

    memcpy(group.value, &value, sizeof(value));
    return parent_call(HVCALL_SET_SYSTEM_PROPERTY, &group, sizeof(group)) == HV_STATUS_SUCCESS &&
           parent_call(HVCALL_SET_PARTITION_PROPERTY, &property, sizeof(property)) ==
               HV_STATUS_SUCCESS;
}

static void start(uint32_t vp, uint64_t ip)
{
    union hv_register_value flat = {
        .segment = {.base = 0, .limit = 0xffffffff, .selector = 8, .attributes = 0xc09b}};

    parent_set64(c.id, vp, HV_REGISTER_CR0, 0x11);
    parent_set(c.id, vp, HV_REGISTER_CS, &flat);
    flat.segment.attributes = 0xc093;
    parent_set(c.id, vp, HV_REGISTER_DS, &flat);
    parent_set(c.id, vp, HV_REGISTER_SS, &flat);
    parent_set64(c.id, vp, HV_REGISTER_RIP, ip);
    parent_set64(c.id, vp, HV_REGISTER_RFLAGS, 2);
    parent_set64(c.id, vp, HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0);
    parent_set64(c.id, vp, HV_REGISTER_EXPLICIT_SUSPEND, 0);
}

static void sort(uint32_t *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        uint32_t value = values[i], at = i;
        for (; at && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

void root_main(void)
{
    uint32_t samples[SAMPLES], waited = 0;

    hv_need();
    hv_setup();
    if (!tap_ok(child_prepare(&c) && child_create_vp(&c, 1) && bind(),
                "a child has two VPs on the other LP"))
        return;
    uint8_t *page = (uint8_t *)(c.code_page << 12);
    volatile uint32_t *count = (volatile uint32_t *)(page + 0xf00);
    memset(page, 0, 4096);
    memcpy(page, code, sizeof(code));
    parent_set64(c.id, 0, HV_REGISTER_GUEST_OS_ID, HV_TEST_OS_ID);
    parent_set64(c.id, 0, HV_REGISTER_HYPERCALL, CALL_PAGE | HV_MSR_HYPERCALL_ENABLE);
    start(1, OTHER_IP);
    start(0, CHILD_CODE);
    while (*count < WANTED && waited++ < PATIENCE)
        delay_us(100);
    if (!tap_ok(*count >= WANTED, "they give each other the LP"))
        return;
    memcpy(samples, page + AT, sizeof(samples));
    sort(samples, SAMPLES);
    con_printf("bench vp-switch %u %u %u\n", samples[0] / 2, samples[SAMPLES / 2] / 2,
               samples[SAMPLES - 1] / 2);
}
