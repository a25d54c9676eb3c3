// SPDX-License-Identifier: BSD-2-Clause-Patent
// VMs' buses in the root, over the real VMBus library and a fake hypervisor: ports and connections,
// whose message it is, and that one VM's flood is its own.
#include "root/vmbus.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "root/hv.h"
#include "root/lib/vmbus/proto.h"
#include "root/log.h"
#include "root/pages.h"
#include "root/vm.h"

enum { OBJECTS = 128, QUEUE = 64, SINTS = 16, OWN_VP = 3 };
#define PARTITION(i) (UINT64_C(0x100) + (i))

// ---- the fake hypervisor -----------------------------------------------------------------------

struct object {
    uint64_t owner; // 0: the root
    uint32_t id;
    bool port;
    struct hv_port_info info;
    uint64_t other;
    uint32_t port_id; // of a connection
};

static struct object objects[OBJECTS];
static unsigned object_count;
static struct hv_message slots[SINTS];
static uint64_t flags[SINTS][32];
static uint32_t listened;
static uint64_t now;
static uint16_t post_status;
static struct {
    uint32_t connection;
    uint8_t payload[240];
    size_t size;
} posts[QUEUE];
static unsigned post_count;
static uint32_t signalled_vp, signals;
volatile bool hv_signalled;
struct vm *vms[VM_MAX];
uint32_t vm_count;
static uint8_t *ram;

static struct object *find(uint64_t owner, uint32_t id, bool port)
{
    for (unsigned i = 0; i < object_count; i++) {
        if (objects[i].owner == owner && objects[i].id == id && objects[i].port == port) {
            return &objects[i];
        }
    }
    return NULL;
}

static uint16_t add(struct object object)
{
    if (find(object.owner, object.id, object.port)) {
        return object.port ? HV_STATUS_INVALID_PORT_ID : HV_STATUS_INVALID_CONNECTION_ID;
    }
    ck_assert_uint_lt(object_count, OBJECTS);
    objects[object_count++] = object;
    return HV_STATUS_SUCCESS;
}

static uint16_t drop(uint64_t owner, uint32_t id, bool port)
{
    struct object *object = find(owner, id, port);
    if (!object) {
        return port ? HV_STATUS_INVALID_PORT_ID : HV_STATUS_INVALID_CONNECTION_ID;
    }
    *object = objects[--object_count];
    return HV_STATUS_SUCCESS;
}

uint16_t call_create_port(struct account *owner, uint32_t id, uint64_t partner,
                          const struct hv_port_info *info)
{
    return add((struct object){owner->partition, id, true, *info, partner, 0});
}
uint16_t call_delete_port(struct account *owner, uint32_t id)
{
    return drop(owner->partition, id, true);
}
uint16_t call_connect(struct account *owner, uint32_t id, uint64_t receiver, uint32_t port,
                      uint32_t type)
{
    const struct object *to = find(receiver == HV_PARTITION_ID_SELF ? 0 : receiver, port, true);
    if (!to || to->info.port_type != type) {
        return HV_STATUS_INVALID_PORT_ID;
    }
    return add((struct object){.owner = owner->partition, .id = id, .port_id = port});
}
uint16_t call_disconnect(struct account *owner, uint32_t id)
{
    return drop(owner->partition, id, false);
}
uint16_t call_post(uint32_t connection, uint32_t type, const void *payload, size_t size)
{
    ck_assert_uint_eq(type, VMBUS_MESSAGE_TYPE);
    ck_assert_ptr_nonnull(find(0, connection, false));
    if (post_status == HV_STATUS_SUCCESS) {
        ck_assert_uint_lt(post_count, QUEUE);
        posts[post_count].connection = connection;
        memcpy(posts[post_count].payload, payload, size);
        posts[post_count++].size = size;
    }
    return post_status;
}
uint16_t call_post_direct(uint64_t partition, uint32_t vp, uint8_t sint, uint32_t type,
                          const void *payload, size_t size)
{
    (void)partition, (void)vp, (void)sint, (void)type, (void)payload, (void)size;
    return HV_STATUS_OBJECT_IN_USE;
}
uint16_t call_signal_direct(uint64_t partition, uint32_t vp, uint8_t sint, uint16_t flag)
{
    (void)partition, (void)sint, (void)flag;
    signalled_vp = vp;
    signals++;
    return HV_STATUS_SUCCESS;
}
uint16_t call_get_property(uint64_t partition, uint32_t property, uint64_t *value)
{
    ck_assert_uint_eq(property, HV_PARTITION_PROPERTY_REFERENCE_TIME);
    *value = partition * 1000;
    return HV_STATUS_SUCCESS;
}

void hv_listen(uint32_t sint)
{
    listened |= 1u << sint;
}
uint32_t hv_waiting_message(uint32_t sint, uint64_t *origin)
{
    *origin = slots[sint].header.origination_id;
    return slots[sint].header.message_type;
}
bool hv_take_message(uint32_t sint, struct hv_message *message)
{
    *message = slots[sint];
    slots[sint].header.message_type = 0;
    return message->header.message_type != 0;
}
uint64_t hv_take_flags(uint32_t sint, uint32_t word)
{
    const uint64_t taken = flags[sint][word];
    flags[sint][word] = 0;
    return taken;
}
uint32_t hv_own_vp(void)
{
    return OWN_VP;
}
uint64_t hv_time(void)
{
    return now;
}
void *pages_zeroed(uint64_t size)
{
    return calloc(1, size);
}
void root_log(const char *format, ...)
{
    (void)format;
}
void root_fail(const char *format, ...)
{
    ck_abort_msg("%s", format);
}

// ---- VMs ---------------------------------------------------------------------------------------

static void add_vms(uint32_t count)
{
    ram = aligned_alloc(2 << 20, 4 << 20);
    for (uint32_t i = 0; i < count; i++) {
        vms[i] = calloc(1, sizeof *vms[i]);
        vm_count = i + 1;
        ck_assert(guest_memory_add(&vms[i]->memory, ram, 4 << 20));
        ck_assert(bus_create(vms[i], i));
        vms[i]->account.partition = PARTITION(i);
        ck_assert_uint_eq(bus_attach(vms[i]), HV_STATUS_SUCCESS);
    }
}

static void setup(void)
{
    object_count = post_count = vm_count = listened = signals = 0;
    post_status = HV_STATUS_SUCCESS;
    now = 1000000;
    memset(slots, 0, sizeof slots);
    memset(flags, 0, sizeof flags);
}

static void teardown(void)
{
    for (uint32_t i = 0; i < vm_count; i++) {
        free(vms[i]->bus.server);
        free(vms[i]);
        vms[i] = NULL;
    }
    free(ram);
}

// A message as the hypervisor delivers it, by that connection of the VM. False: the slot is taken.
static bool deliver(uint32_t vm, uint32_t connection, const void *payload, size_t size)
{
    const struct object *port = find(0, (vm + 1) << 16 | connection, true);
    ck_assert_ptr_nonnull(port);
    struct hv_message *slot = &slots[port->info.message.target_sint];
    ck_assert_uint_eq(port->info.message.target_vp, OWN_VP);
    ck_assert_ptr_nonnull(find(PARTITION(vm), connection, false));
    if (slot->header.message_type) {
        return false;
    }
    slot->header = (struct hv_message_header){.message_type = VMBUS_MESSAGE_TYPE,
                                              .payload_size = (uint8_t)size,
                                              .origination_id = port->id};
    memcpy(slot->payload, payload, size);
    return true;
}

static void serve(void)
{
    for (unsigned i = 0; i < 10 && bus_serve_all(); i++) {
    }
}

static bool contact(uint32_t vm, uint32_t vp)
{
    const struct vmbus_msg_contact message = {
        .header = {.type = VMBUS_INITIATE_CONTACT},
        .version = VMBUS_V5_3,
        .target_vp = vp,
        .sint = VMBUS_SINT,
    };
    return deliver(vm, VMBUS_CONNECTION_4, &message, sizeof message);
}

static uint32_t post_type(unsigned index)
{
    uint32_t type;
    memcpy(&type, posts[index].payload, sizeof type);
    return type;
}

// ---- tests -------------------------------------------------------------------------------------

START_TEST(ports_come_and_go_with_the_partition)
{
    add_vms(2);
    ck_assert_uint_eq(object_count, 8); // for each VM two ports, and a connection to each
    ck_assert(contact(0, 1));
    serve();
    ck_assert_uint_eq(post_count, 1);
    ck_assert_uint_eq(post_type(0), VMBUS_VERSION_RESPONSE);
    const struct object *port = find(PARTITION(0), 1, true); // for the VP that was asked for
    ck_assert(port && port->info.message.target_vp == 1 &&
              port->info.message.target_sint == VMBUS_SINT);
    bus_detach(vms[0]);
    // The guest's own connections go with its partition.
    ck_assert_uint_eq(object_count, 4 + 2);
    ck_assert_ptr_null(find(PARTITION(0), 1, true));
    bus_detach(vms[0]); // harmless
    object_count = 0;
    ck_assert_uint_eq(bus_attach(vms[0]), HV_STATUS_SUCCESS);
    ck_assert(contact(0, 0));
    serve();
    ck_assert_uint_eq(post_count, 2);
}
END_TEST

START_TEST(answers_follow_the_vp)
{
    add_vms(1);
    ck_assert(contact(0, 0));
    serve();
    ck_assert(contact(0, 1));
    serve();
    ck_assert_uint_eq(post_count, 2);
    ck_assert_uint_eq(find(PARTITION(0), 1, true)->info.message.target_vp, 1);
    ck_assert_uint_eq(object_count, 4 + 2);
}
END_TEST

START_TEST(answer_waits_for_a_buffer)
{
    add_vms(1);
    post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
    ck_assert(contact(0, 0));
    serve();
    ck_assert_uint_eq(post_count, 0);
    ck_assert_uint_le(bus_due(), now + 20000); // tried again soon
    post_status = HV_STATUS_SUCCESS;
    now += 20000;
    serve();
    ck_assert_uint_eq(post_count, 1);
}
END_TEST

// While one VM's answer cannot be posted its next message waits, and its slot fills up behind it;
// the other VM is served.
START_TEST(flood_is_its_own)
{
    const struct vmbus_msg_relid garbage = {{VMBUS_CLOSECHANNEL, 0}, 99};
    add_vms(2);
    ck_assert_uint_ne(vms[0]->bus.sint, vms[1]->bus.sint);
    post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
    ck_assert(contact(0, 0));
    serve();
    ck_assert(deliver(0, VMBUS_CONNECTION_4, &garbage, sizeof garbage));
    serve();
    ck_assert(deliver(0, VMBUS_CONNECTION_4, &garbage, sizeof garbage)); // the first is held
    serve();
    ck_assert(!deliver(0, VMBUS_CONNECTION_4, &garbage, sizeof garbage));
    post_status = HV_STATUS_SUCCESS;
    ck_assert(contact(1, 0));
    vms[0]->bus.due = UINT64_MAX;
    serve();
    ck_assert_uint_ge(post_count, 1);
    now += 20000;
    serve();
    ck_assert_uint_eq(post_count, 2);
    ck_assert(deliver(0, VMBUS_CONNECTION_4, &garbage, sizeof garbage)); // all has been taken
}
END_TEST

// The 1st and the 16th VM share a SINT; the port tells whose message it is.
START_TEST(shared_source)
{
    add_vms(16);
    ck_assert_uint_eq(vms[0]->bus.sint, vms[15]->bus.sint);
    ck_assert_uint_ne(vms[0]->bus.flag_base, vms[15]->bus.flag_base);
    ck_assert_uint_eq(listened, 0xfffe);
    ck_assert(contact(15, 0));
    serve();
    ck_assert_uint_eq(post_count, 1);
    ck_assert_uint_eq(posts[0].connection >> 16, 16);
    ck_assert(contact(0, 0));
    serve();
    ck_assert_uint_eq(post_count, 2);
    ck_assert_uint_eq(posts[1].connection >> 16, 1);
}
END_TEST

// A message of a VM that has ended is thrown away and does not hold up the other on its SINT.
START_TEST(message_of_a_vm_that_is_gone)
{
    add_vms(16);
    ck_assert(contact(15, 0));
    bus_detach(vms[15]);
    serve();
    ck_assert_uint_eq(post_count, 0);
    ck_assert(contact(0, 0));
    serve();
    ck_assert_uint_eq(post_count, 1);
}
END_TEST

// Flags of relids that are no channels, and of others' halves, do nothing.
START_TEST(stray_signals)
{
    add_vms(1);
    memset(flags[vms[0]->bus.sint], 0xff, sizeof flags[0]);
    serve();
    ck_assert_uint_eq(flags[vms[0]->bus.sint][0], 0);
    ck_assert_uint_eq(flags[vms[0]->bus.sint][1], 0);
    ck_assert_uint_eq(flags[vms[0]->bus.sint][16], UINT64_MAX); // not ours
    ck_assert_uint_eq(signals, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("root_vmbus");
    TCase *tests = tcase_create("root_vmbus");
    SRunner *runner = srunner_create(suite);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, ports_come_and_go_with_the_partition);
    tcase_add_test(tests, answers_follow_the_vp);
    tcase_add_test(tests, answer_waits_for_a_buffer);
    tcase_add_test(tests, flood_is_its_own);
    tcase_add_test(tests, shared_source);
    tcase_add_test(tests, message_of_a_vm_that_is_gone);
    tcase_add_test(tests, stray_signals);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
