// SPDX-License-Identifier: BSD-2-Clause-Patent
// How costs and memory grow: with the number of partitions (1 to 64), of VPs (1 to 8) and of mapped
// memory. Runs as the root, creates partitions by hypercall and counts what they take from their
// pools. Lines of `scale KIND N VALUE...`; tests/bench/scale makes the table.
#include "con.h"
#include "cpu.h"
#include "hv/memory.h"
#include "hvcall.h"
#include "parent.h"
#include "rootprobe.h"
#include "tap.h"

#define PARTITIONS  64
#define VPS         8
#define ROUNDS      32
#define LEAST_OF    4 // of what is measured once: a tick of the firmware's may come within
#define SECOND      1000000ul
#define RWX         (HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE)
#define GPA_PAGE    0x100000ul // page number where RAM is mapped: 4 GiB
#define BATCH       500u       // elements of a call
#define LARGE_STEP  512u
#define RAM_PAGES   65536u // 256 MiB
#define TABLE_PAGES 200u   // more than page tables for that

// Real mode: the least of 64 CPUID round trips by RDTSC, to port 0x42; then OUT after OUT.
static const uint8_t code[] = {
    0x66, 0xbf, 64,   0,    0,    0,    // 00 mov edi, 64
    0x66, 0xbd, 0xff, 0xff, 0xff, 0x7f, // 06 mov ebp, 0x7fffffff
    0x0f, 0x31,                         // 0c rdtsc
    0x66, 0x89, 0xc6,                   // 0e mov esi, eax
    0x66, 0x31, 0xc0,                   // 11 xor eax, eax
    0x0f, 0xa2,                         // 14 cpuid
    0x0f, 0x31,                         // 16 rdtsc
    0x66, 0x29, 0xf0,                   // 18 sub eax, esi
    0x66, 0x39, 0xe8,                   // 1b cmp eax, ebp
    0x77, 0x03,                         // 1e ja 23
    0x66, 0x89, 0xc5,                   // 20 mov ebp, eax
    0x66, 0x4f,                         // 23 dec edi
    0x75, 0xe5,                         // 25 jnz 0c
    0x66, 0x89, 0xe8,                   // 27 mov eax, ebp
    0x66, 0xe7, 0x42,                   // 2a out 0x42, eax
    0xe6, 0x42,                         // 2d out 0x42, al
    0xeb, 0xfc,                         // 2f jmp 2d
};
#define OUT_AGAIN (CHILD_CODE + 0x2d)

static struct child children[PARTITIONS];

static uint64_t pages_used(uint64_t partition)
{
    struct hv_output_get_memory_balance balance = {0};
    parent_balance(partition, &balance);
    return balance.pages_in_use;
}

// What the child's CPUID costs; 0 when it does not answer.
static uint64_t cpuid_cost(struct child *c)
{
    struct hv_message message;
    child_run(c, code, sizeof(code));
    if (!message_wait(&message, SECOND))
        return 0;
    return (uint32_t)parent_get64(c->id, 0, HV_REGISTER_RBP);
}

// The least of some round trips from the child's release to its next message.
static uint64_t message_cost(struct child *c)
{
    struct hv_message message;
    uint64_t least = ~0ul;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = rdtsc();
        child_go(c, OUT_AGAIN);
        if (!message_wait(&message, SECOND))
            return 0;
        uint64_t cost = rdtsc() - start;
        least = cost < least ? cost : least;
    }
    return least;
}

// Creates a partition some times, the last of which stays; the least cost.
static uint64_t create_cost(struct child *c, bool *right)
{
    uint64_t least = ~0ul;
    for (int i = 0; i < LEAST_OF; i++) {
        *right &= !i || child_delete(c);
        uint64_t start = rdtsc();
        *right &= child_prepare(c);
        uint64_t cost = rdtsc() - start;
        least = cost < least ? cost : least;
    }
    return least;
}

static void partitions(void)
{
    uint64_t root_before = pages_used(HV_PARTITION_ID_SELF), good = 0;
    for (uint32_t n = 1; n <= PARTITIONS; n++) {
        struct child *c = &children[n - 1];
        if (n & (n - 1)) {
            good += child_prepare(c);
            continue;
        }
        bool right = true;
        uint64_t create = create_cost(c, &right);
        uint64_t cpuid = cpuid_cost(c), message = message_cost(c);
        good += right && cpuid && message;
        con_printf("scale partitions %u %lu %lu %lu %lu %lu\n", n, create, cpuid, message,
                   pages_used(c->id), pages_used(HV_PARTITION_ID_SELF) - root_before);
    }
    tap_is(good, PARTITIONS, "so many partitions are there");
    for (uint32_t n = 0; n < PARTITIONS; n++)
        good -= child_delete(&children[n]);
    tap_is(good, 0, "and are deleted");
}

static void processors(void)
{
    struct child c;
    bool right = child_prepare(&c);
    for (uint32_t n = 1; right && n <= VPS; n++) {
        uint64_t before = pages_used(c.id), start = rdtsc();
        right = n == 1 || child_create_vp(&c, n - 1);
        uint64_t create = rdtsc() - start;
        con_printf("scale vps %u %lu %lu %lu\n", n, create, cpuid_cost(&c),
                   pages_used(c.id) - before);
    }
    tap_ok(right && child_delete(&c), "a partition of %u VPs is made and deleted", VPS);
}

// What it costs to map so many elements, pages of ours or 2 MiB pages; 0 when a call fails.
static uint64_t map_cost(struct child *c, uint64_t own, uint32_t count, uint32_t step)
{
    static uint64_t list[BATCH];
    uint32_t flags = RWX | (step == 1 ? 0 : HV_MAP_GPA_LARGE_PAGE);
    uint64_t cost = 0;
    for (uint32_t at = 0; at < count;) {
        uint32_t batch = count - at < BATCH ? count - at : BATCH, done = 0;
        for (uint32_t i = 0; i < batch; i++)
            list[i] = own + (at + i) * step;
        uint64_t start = rdtsc();
        uint16_t status = parent_map(c->id, GPA_PAGE + at * step, list, batch, flags, &done);
        cost += rdtsc() - start;
        if (status != HV_STATUS_SUCCESS) {
            tap_note("map: status %x after %u", status, at + done);
            return 0;
        }
        at += batch;
    }
    return cost;
}

// Maps and unmaps some times and prints the least cost: a tick of the firmware's timer within
// takes as long as mapping 80 large pages.
static bool map_and_report(struct child *c, uint64_t own, uint32_t count, uint32_t step)
{
    uint32_t flags = step == 1 ? 0 : HV_MAP_GPA_LARGE_PAGE;
    uint64_t least = ~0ul, pages = 0;
    for (int round = 0; round < LEAST_OF; round++) {
        uint64_t before = pages_used(c->id), cost = map_cost(c, own, count, step);
        if (!cost)
            return false;
        pages = round ? pages : pages_used(c->id) - before;
        least = cost < least ? cost : least;
        for (uint32_t at = 0; at < count; at += BATCH) {
            uint32_t batch = count - at < BATCH ? count - at : BATCH;
            parent_unmap(c->id, GPA_PAGE + at * step, batch, flags);
        }
    }
    con_printf("scale %s %u %lu %lu\n", step == 1 ? "map-4k" : "map-2m", count * step / 256, least,
               pages);
    return true;
}

static void memory(void)
{
    struct child c;
    uint64_t slack = LARGE_STEP, first = (uint64_t)efi_pages(RAM_PAGES + slack, false) >> 12;
    uint64_t own = (first + slack - 1) & -slack, pages[TABLE_PAGES];
    uint32_t done = 0;
    bool right = child_prepare(&c);
    for (uint32_t i = 0; i < TABLE_PAGES; i++)
        pages[i] = page_take();
    right &= parent_deposit(c.id, pages, TABLE_PAGES, &done) == HV_STATUS_SUCCESS;
    c.deposited += done;
    for (uint32_t count = RAM_PAGES / 16; right && count <= RAM_PAGES; count *= 2)
        right = map_and_report(&c, own, count, 1) &&
                map_and_report(&c, own, count / LARGE_STEP, LARGE_STEP);
    tap_ok(right && child_delete(&c), "memory is mapped and unmapped");
}

static void nothing(void *unused)
{
    (void)unused;
}

void root_main(void)
{
    uint64_t base;
    hv_need();
    hv_setup();
    messages_on();
    uint32_t lps = efi_on_all(nothing, NULL);
    con_printf("scale reserved %u %lu %lu\n", lps, efi_largest_reserved(&base),
               pages_used(HV_PARTITION_ID_SELF));
    // The children need one of their own, since this program polls.
    if (lps != 2)
        return;
    partitions();
    processors();
    memory();
}
