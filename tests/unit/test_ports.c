// SPDX-License-Identifier: BSD-2-Clause-Patent
// Ports and connections: their tables and life cycle, message buffers, and what is paid for them.
// TLFS: Inter-Partition Communication.
#include "fake_phys.h"

#include <pthread.h>
#include <time.h>

#include "corbel/ports.h"
#include "hv/base.h"
#include "hv/msr.h"
#include "hv/status.h"

#define RECEIVER 0x101u
#define SENDER   0x202u
#define PAGES    100u

static struct pool pools[2];
static struct port_space receiver, sender;
static struct port_tables tables[2];
static _Alignas(4096) struct hv_message_page sim;
static _Alignas(4096) struct hv_synic_event_flags_page sief;
static struct synic synic;
static struct synic_signals signals;
static struct synic_action action;

static void setup(void)
{
    fake_phys_setup();
    for (unsigned i = 0; i < 2; i++) {
        pool_init(&pools[i]);
        pool_deposit(&pools[i], FAKE_PHYS_BASE + i * PAGES * PAGE_SIZE, PAGES);
    }
    memset(tables, 0, sizeof(tables));
    port_space_init(&receiver, NULL, RECEIVER, &pools[0], &tables[0]);
    port_space_init(&sender, NULL, SENDER, &pools[1], &tables[1]);
    synic_init(&synic, &sim, &sief);
    synic_write_msr(&synic, HV_X64_MSR_SCONTROL, 1, &action);
    synic_write_msr(&synic, HV_X64_MSR_SIMP, 0x5001, &action);
    synic_write_msr(&synic, HV_X64_MSR_SINT(2), 0x42, &action);
}

static uint16_t create(uint32_t id, uint32_t type)
{
    struct port config = {.type = (uint8_t)type, .sint = 2, .flag_count = 1, .partner = SENDER};

    return port_create(&receiver, id, &config);
}

static uint16_t connect(uint32_t id, uint32_t port, uint32_t type)
{
    return connection_create(&sender, id, &receiver, port, type, NULL);
}

static uint16_t use(uint32_t id, uint32_t type)
{
    struct port *port;
    uint16_t status = connection_use(&sender, id, type, &port);

    if (status == HV_STATUS_SUCCESS)
        connection_done(&sender, id);
    return status;
}

static uint16_t post(uint32_t id, uint32_t type, uint64_t payload)
{
    struct port *port;
    uint16_t status = connection_use(&sender, id, HV_PORT_TYPE_MESSAGE, &port);

    if (status != HV_STATUS_SUCCESS)
        return status;
    status = port_post(port, &synic, type, &payload, sizeof(payload), 0, &signals);
    connection_done(&sender, id);
    return status;
}

static uint64_t in_use(unsigned pool)
{
    return pool_balance(&pools[pool]).in_use;
}

#define MESSAGE HV_PORT_TYPE_MESSAGE
#define EVENT   HV_PORT_TYPE_EVENT

// ---- life cycle ---------------------------------------------------------------------------------

START_TEST(ids)
{
    ck_assert_uint_eq(create(0x01000000, EVENT), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(create(0xffffffff, EVENT), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(create(0xffffff, EVENT), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(create(0xffffff, MESSAGE), HV_STATUS_INVALID_PORT_ID); // in use
    ck_assert_uint_eq(create(0, EVENT), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(connect(0x01000000, 0, EVENT), HV_STATUS_INVALID_CONNECTION_ID);
    ck_assert_uint_eq(connect(5, 0x01000000, EVENT), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(connect(5, 1, EVENT), HV_STATUS_INVALID_PORT_ID);   // none
    ck_assert_uint_eq(connect(5, 0, MESSAGE), HV_STATUS_INVALID_PORT_ID); // another type
    ck_assert_uint_eq(connect(5, 0, EVENT), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(connect(6, 0, EVENT), HV_STATUS_INVALID_PORT_ID); // connected already
    ck_assert_uint_eq(connect(5, 0xffffff, EVENT), HV_STATUS_INVALID_CONNECTION_ID); // in use
    ck_assert_uint_eq(use(5, EVENT), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(use(5, MESSAGE), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(use(5 + PORT_CHAINS, EVENT), HV_STATUS_INVALID_CONNECTION_ID);
    ck_assert_uint_eq(use(0xffffffff, EVENT), HV_STATUS_INVALID_CONNECTION_ID);
}
END_TEST

// A port may be connected only by the partition that it was created for.
START_TEST(partner)
{
    struct port config = {.type = EVENT, .sint = 2, .flag_count = 1, .partner = 0x999};

    ck_assert_uint_eq(port_create(&receiver, 1, &config), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(connect(1, 1, EVENT), HV_STATUS_INVALID_PARTITION_ID);
    ck_assert_uint_eq(in_use(1), 0);
}
END_TEST

// TLFS: "If a port is subsequently deleted, its connection, while it remains, becomes useless."
START_TEST(deleted_port_leaves_a_useless_connection)
{
    create(1, EVENT);
    connect(7, 1, EVENT);
    ck_assert_uint_eq(port_delete(&receiver, 2), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(port_delete(&receiver, 1), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(port_delete(&receiver, 1), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(use(7, EVENT), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(create(1, EVENT), HV_STATUS_SUCCESS); // another port of that number
    ck_assert_uint_eq(use(7, EVENT), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(connection_delete(&sender, 7), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(connection_delete(&sender, 7), HV_STATUS_INVALID_CONNECTION_ID);
    ck_assert_uint_eq(connect(7, 1, EVENT), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(use(7, EVENT), HV_STATUS_SUCCESS);
}
END_TEST

START_TEST(disconnected_port_may_be_connected_again)
{
    create(1, EVENT);
    connect(7, 1, EVENT);
    connection_delete(&sender, 7);
    ck_assert_uint_eq(use(7, EVENT), HV_STATUS_INVALID_CONNECTION_ID);
    ck_assert_uint_eq(connect(8, 1, EVENT), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(use(8, EVENT), HV_STATUS_SUCCESS);
}
END_TEST

START_TEST(properties)
{
    struct port any = {.type = MESSAGE, .sint = 2, .partner = SENDER, .vp = HV_ANY_VP};
    uint64_t value = 77;

    create(1, MESSAGE);
    port_create(&receiver, 2, &any);
    ck_assert_uint_eq(port_property(&receiver, 3, 0, false, &value), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(port_property(&receiver, 1, HV_PORT_PROPERTY_POST_COUNT, false, &value),
                      HV_STATUS_SUCCESS);
    ck_assert_uint_eq(value, 0);
    ck_assert_uint_eq(port_property(&receiver, 1, HV_PORT_PROPERTY_POST_COUNT, true, &value),
                      HV_STATUS_UNKNOWN_PROPERTY);
    ck_assert_uint_eq(port_property(&receiver, 1, 1, false, &value), HV_STATUS_UNKNOWN_PROPERTY);
    ck_assert_uint_eq(port_property(&receiver, 2, 2, false, &value), HV_STATUS_UNKNOWN_PROPERTY);
    value = 3;
    ck_assert_uint_eq(port_property(&receiver, 2, 1, true, &value), HV_STATUS_SUCCESS);
    value = 0;
    ck_assert_uint_eq(port_property(&receiver, 2, 1, false, &value), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(value, 3);
    value = 1ul << 32;
    ck_assert_uint_eq(port_property(&receiver, 2, 1, true, &value), HV_STATUS_INVALID_PARAMETER);
}
END_TEST

// ---- accounting ---------------------------------------------------------------------------------

// TLFS: "A port is allocated from the receiver's memory pool", "Connections are allocated from the
// sender's memory pool", and message buffers "are returned to the memory pool when the port is
// deleted".
START_TEST(owners_pay_and_get_back)
{
    for (uint32_t i = 0; i < 20; i++)
        ck_assert_uint_eq(create(i, i & 1 ? EVENT : MESSAGE), HV_STATUS_SUCCESS);
    ck_assert_uint_ge(in_use(0), 10 * HV_PORT_MESSAGE_BUFFER_COUNT * 240 / PAGE_SIZE);
    ck_assert_uint_eq(in_use(1), 0);
    for (uint32_t i = 0; i < 20; i++)
        ck_assert_uint_eq(connect(i * 1000, i, i & 1 ? EVENT : MESSAGE), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(in_use(1), 1);
    for (uint32_t i = 0; i < 20; i++)
        port_delete(&receiver, i);
    ck_assert_uint_eq(in_use(0), 0);
    for (uint32_t i = 0; i < 20; i++)
        connection_delete(&sender, i * 1000);
    ck_assert_uint_eq(in_use(1), 0);
}
END_TEST

// INSUFFICIENT_MEMORY, wherever memory runs out, and nothing has changed.
START_TEST(no_memory_changes_nothing)
{
    void *taken[PAGES + 1];
    uint32_t count = 0, id = 0;

    while ((taken[count] = pool_alloc(&pools[0])) != NULL)
        count++;
    ck_assert_uint_eq(create(500, EVENT), HV_STATUS_INSUFFICIENT_MEMORY);
    while (count)
        pool_free(&pools[0], taken[--count]);
    create(500, EVENT);
    while (create(id, MESSAGE) == HV_STATUS_SUCCESS)
        id++;
    uint64_t used = in_use(0);
    ck_assert_uint_eq(create(id, MESSAGE), HV_STATUS_INSUFFICIENT_MEMORY);
    ck_assert_uint_eq(in_use(0), used);
    ck_assert_uint_eq(port_delete(&receiver, id), HV_STATUS_INVALID_PORT_ID);
    ck_assert_uint_eq(port_delete(&receiver, 0), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(create(id, MESSAGE), HV_STATUS_SUCCESS);
    while ((taken[count] = pool_alloc(&pools[1])) != NULL)
        count++;
    ck_assert_uint_eq(connect(1, 500, EVENT), HV_STATUS_INSUFFICIENT_MEMORY);
    ck_assert_uint_eq(use(1, EVENT), HV_STATUS_INVALID_CONNECTION_ID);
    pool_free(&pools[1], taken[0]);
    ck_assert_uint_eq(connect(1, 500, EVENT), HV_STATUS_SUCCESS);
}
END_TEST

// A partition that ends takes its ports and connections with it, some at a time.
START_TEST(clear_in_steps)
{
    uint32_t steps = 1;

    for (uint32_t i = 0; i < 100; i++) {
        create(i * 7, EVENT);
        connect(i * 3, i * 7, EVENT);
    }
    while (port_space_clear(&receiver, 9))
        steps++;
    ck_assert_uint_ge(steps, 100 / 9);
    ck_assert_uint_le(steps, 100 / 9 + 1);
    ck_assert_uint_eq(in_use(0), 0);
    for (uint32_t i = 0; i < 100; i++)
        ck_assert_uint_eq(use(i * 3, EVENT), HV_STATUS_INVALID_PORT_ID);
    while (port_space_clear(&sender, 9))
        ;
    ck_assert_uint_eq(in_use(1), 0);
    ck_assert_uint_eq(use(0, EVENT), HV_STATUS_INVALID_CONNECTION_ID);
}
END_TEST

// ---- messages -----------------------------------------------------------------------------------

// TLFS: "the hypervisor will allocate sixteen (16) message buffers": one message in the slot,
// sixteen that wait, and not one more.
START_TEST(sixteen_buffers)
{
    create(0x33, MESSAGE);
    connect(1, 0x33, MESSAGE);
    for (uint32_t i = 1; i <= 17; i++)
        ck_assert_uint_eq(post(1, i, i * 10), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(post(1, 18, 180), HV_STATUS_INSUFFICIENT_BUFFERS);
    for (uint32_t round = 1; round <= 40; round++) {
        ck_assert_uint_eq(sim.slot[2].header.message_type, round);
        ck_assert_uint_eq(sim.slot[2].header.origination_id, 0x33);
        ck_assert_uint_eq(sim.slot[2].payload64[0], round * 10);
        sim.slot[2].header.message_type = 0;
        synic_pump(&synic, 0, &signals);
        ck_assert_uint_eq(post(1, round + 17, (round + 17) * 10), HV_STATUS_SUCCESS);
        ck_assert_uint_eq(post(1, 99, 99), HV_STATUS_INSUFFICIENT_BUFFERS);
    }
}
END_TEST

START_TEST(disabled_target)
{
    create(1, MESSAGE);
    connect(1, 1, MESSAGE);
    synic_write_msr(&synic, HV_X64_MSR_SIMP, 0, &action);
    for (uint32_t i = 0; i < 20; i++)
        ck_assert_uint_eq(post(1, 1, 1), HV_STATUS_INVALID_SYNIC_STATE);
    synic_write_msr(&synic, HV_X64_MSR_SIMP, 0x5001, &action);
    ck_assert_uint_eq(post(1, 1, 1), HV_STATUS_SUCCESS);
}
END_TEST

// TLFS: "Deletion of the target port will always free all of the port's message buffers, whether
// they are available or contain undelivered (queued) messages."
START_TEST(delete_with_messages_queued)
{
    create(1, MESSAGE);
    create(2, MESSAGE);
    connect(1, 1, MESSAGE);
    connect(2, 2, MESSAGE);
    uint64_t before = in_use(0);
    for (uint32_t i = 1; i <= 8; i++)
        post(i & 1 ? 1 : 2, i, i);
    port_delete(&receiver, 1);
    ck_assert_uint_lt(in_use(0), before);
    ck_assert_uint_eq(sim.slot[2].header.message_type, 1); // delivered: the guest's
    for (uint32_t i = 2; i <= 8; i += 2) {
        sim.slot[2].header.message_type = 0;
        synic_pump(&synic, 0, &signals);
        ck_assert_uint_eq(sim.slot[2].header.message_type, i);
    }
    ck_assert_uint_eq(synic.queued, 0);
}
END_TEST

// TLFS: "Breaking a connection will not affect undelivered (queued) messages."
START_TEST(disconnect_with_messages_queued)
{
    create(1, MESSAGE);
    connect(1, 1, MESSAGE);
    for (uint32_t i = 1; i <= 3; i++)
        post(1, i, i);
    connection_delete(&sender, 1);
    for (uint32_t i = 1; i <= 3; i++) {
        ck_assert_uint_eq(sim.slot[2].header.message_type, i);
        sim.slot[2].header.message_type = 0;
        synic_pump(&synic, 0, &signals);
    }
}
END_TEST

// A VP goes: its queue is emptied, and the port's buffers, free again, do not lead to it any more.
START_TEST(forgotten_target)
{
    struct synic *gone = malloc(sizeof(*gone));

    *gone = synic;
    create(1, MESSAGE);
    connect(1, 1, MESSAGE);
    for (uint32_t i = 1; i <= 5; i++) {
        struct port *port;
        connection_use(&sender, 1, MESSAGE, &port);
        port_post(port, gone, i, "12345678", 8, 0, &signals);
        connection_done(&sender, 1);
    }
    port_space_forget(&receiver, gone);
    free(gone); // the sanitizer sees who looks at it again
    for (uint32_t i = 1; i <= 17; i++)
        ck_assert_uint_eq(post(1, i, i), HV_STATUS_SUCCESS);
    port_delete(&receiver, 1);
    ck_assert_uint_eq(in_use(0), 0);
}
END_TEST

// ---- doorbells ----------------------------------------------------------------------------------

static uint16_t hang(uint32_t id, uint64_t gpa, uint64_t value, uint64_t flags)
{
    const struct doorbell doorbell = {gpa, value, flags};
    struct port config = {.type = HV_PORT_TYPE_DOORBELL, .sint = 5, .partner = SENDER};

    must_equal(port_create(&receiver, id, &config), HV_STATUS_SUCCESS);
    return connection_create(&sender, id, &receiver, id, HV_PORT_TYPE_DOORBELL, &doorbell);
}

static uint32_t rung(uint64_t gpa, uint32_t size, uint64_t value)
{
    uint32_t id = 0;

    return doorbell_find(&sender, gpa, size, value, &id) ? id : 0;
}

// Size 0: any; HV_DOORBELL_TRIGGER_ANY_VALUE: any value, else the one given.
START_TEST(doorbell_conditions)
{
    const uint64_t any = HV_DOORBELL_TRIGGER_ANY_VALUE;

    ck_assert_uint_eq(hang(1, 0x1000, 0, any), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hang(2, 0x2000, 7, HV_DOORBELL_TRIGGER_SIZE_WORD), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hang(3, 0x2000, 8, HV_DOORBELL_TRIGGER_SIZE_WORD), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(hang(4, 0x3000, 0, any | HV_DOORBELL_TRIGGER_SIZE_QWORD), HV_STATUS_SUCCESS);
    ck_assert_uint_eq(sender.doorbell_count, 4);
    for (uint32_t size = 1; size <= 8; size *= 2) {
        ck_assert_uint_eq(rung(0x1000, size, 99), 1);
        ck_assert_uint_eq(rung(0x1004, size, 99), 0);
        ck_assert_uint_eq(rung(0x2000, size, 7), size == 2 ? 2 : 0);
        ck_assert_uint_eq(rung(0x2000, size, 8), size == 2 ? 3 : 0);
        ck_assert_uint_eq(rung(0x2000, size, 9), 0);
        ck_assert_uint_eq(rung(0x3000, size, 1), size == 8 ? 4 : 0);
    }
    connection_delete(&sender, 2);
    ck_assert_uint_eq(rung(0x2000, 2, 7), 0);
    ck_assert_uint_eq(rung(0x2000, 2, 8), 3);
    port_delete(&receiver, 3); // its connection, while it remains, becomes useless
    ck_assert_uint_eq(use(3, HV_PORT_TYPE_DOORBELL), HV_STATUS_INVALID_PORT_ID);
    while (port_space_clear(&sender, 1))
        ;
    ck_assert_uint_eq(sender.doorbell_count, 0);
    ck_assert_uint_eq(rung(0x1000, 4, 0), 0);
    ck_assert_uint_eq(in_use(1), 0);
}
END_TEST

// ---- event rings --------------------------------------------------------------------------------

static _Alignas(4096) struct hv_synic_event_ring_page rings;

// A ring takes 63 entries, says that it is full, and goes on where it was.
START_TEST(event_ring)
{
    struct hv_synic_event_ring *ring = &rings.ring[5];

    memset(&rings, 0, sizeof(rings));
    ck_assert_int_eq(synic_ring_post(&synic, &rings, 5, 1, &signals), SYNIC_DISABLED); // masked
    synic_write_msr(&synic, HV_X64_MSR_SINT(5), 0x45, &action);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < HV_SYNIC_EVENT_RING_MESSAGE_COUNT; i++) {
            uint32_t at = (i + round * 10) % HV_SYNIC_EVENT_RING_MESSAGE_COUNT;
            ck_assert_int_eq(synic_ring_post(&synic, &rings, 5, i + 1, &signals), SYNIC_DELIVERED);
            ck_assert(signals.count == 1 && signals.vector[0] == 0x45);
            ck_assert_uint_eq(ring->data[at], i + 1);
        }
        ck_assert_uint_eq(ring->ring_full, 0);
        ck_assert_int_eq(synic_ring_post(&synic, &rings, 5, 99, &signals), SYNIC_BUSY);
        ck_assert_uint_eq(ring->ring_full, 1);
        memset(ring, 0, sizeof(*ring));
        ring->signal_masked = 1;
        for (uint32_t i = 0; i < 10; i++) {
            ck_assert_int_eq(synic_ring_post(&synic, &rings, 5, 7, &signals), SYNIC_DELIVERED);
            ck_assert_uint_eq(signals.count, 0);
        }
        memset(ring, 0, sizeof(*ring));
    }
}
END_TEST

static struct {
    uint32_t port[8], count, room;
} told;

static bool tell(struct port *port, void *context)
{
    ck_assert_ptr_eq(context, &told);
    told.port[told.count++] = port->id;
    return told.room && told.room--;
}

static bool *is_rung(uint32_t id)
{
    struct port *port;

    ck_assert_uint_eq(connection_use(&sender, id, HV_PORT_TYPE_DOORBELL, &port), HV_STATUS_SUCCESS);
    connection_done(&sender, id);
    return &port->rung;
}

static void emptied(uint32_t sint, uint32_t room)
{
    told.count = 0;
    told.room = room;
    port_ring_emptied(&receiver, sint, tell, &told);
}

// Who found the ring of this source full is told, until it is full again; nobody else is.
START_TEST(emptied_ring)
{
    struct port other = {.type = HV_PORT_TYPE_DOORBELL, .sint = 6, .partner = SENDER};

    for (uint32_t i = 1; i <= 4; i++)
        hang(i, 0x1000 * i, 0, HV_DOORBELL_TRIGGER_ANY_VALUE);
    port_create(&receiver, 6, &other);
    connection_create(&sender, 6, &receiver, 6, HV_PORT_TYPE_DOORBELL, &(struct doorbell){0});
    *is_rung(2) = *is_rung(3) = *is_rung(4) = *is_rung(6) = true;
    connection_delete(&sender, 4);
    emptied(5, 9);
    ck_assert(told.count == 2 && told.port[0] == 2 && told.port[1] == 3);
    ck_assert(!*is_rung(2) && !*is_rung(3) && *is_rung(6));
    emptied(5, 9);
    ck_assert_uint_eq(told.count, 0);
    *is_rung(1) = *is_rung(2) = *is_rung(3) = true;
    emptied(5, 1);
    ck_assert(told.count == 2 && told.port[0] == 1 && told.port[1] == 2);
    ck_assert(!*is_rung(1) && *is_rung(2) && *is_rung(3));
    emptied(6, 9);
    ck_assert(told.count == 1 && told.port[0] == 6);
}
END_TEST

// ---- races --------------------------------------------------------------------------------------

#define SECONDS 3

static _Atomic bool stop;

static void *poster(void *argument)
{
    uint32_t *sent = argument;

    while (!stop)
        *sent += post(1, 1, 1) == HV_STATUS_SUCCESS;
    return NULL;
}

static void *taker(void *argument)
{
    while (!stop) {
        struct synic_signals taken;
        __atomic_store_n(&sim.slot[2].header.message_type, 0, __ATOMIC_SEQ_CST);
        synic_pump(&synic, 0, &taken);
    }
    return argument;
}

// Ports and connections come and go while two processors post and the receiver takes.
START_TEST(posting_while_they_come_and_go)
{
    pthread_t threads[3];
    uint32_t sent[2] = {0, 0};
    time_t end = time(NULL) + SECONDS;

    stop = false;
    pthread_create(&threads[0], NULL, poster, &sent[0]);
    pthread_create(&threads[1], NULL, poster, &sent[1]);
    pthread_create(&threads[2], NULL, taker, NULL);
    for (uint32_t i = 0; time(NULL) < end || !sent[0] || !sent[1]; i++) {
        must_equal(create(1, MESSAGE), HV_STATUS_SUCCESS);
        must_equal(connect(1, 1, MESSAGE), HV_STATUS_SUCCESS);
        for (volatile int pause = 0; pause < 200; pause++)
            ;
        if (i & 1)
            must_equal(connection_delete(&sender, 1), HV_STATUS_SUCCESS);
        must_equal(port_delete(&receiver, 1), HV_STATUS_SUCCESS);
        if (!(i & 1))
            must_equal(connection_delete(&sender, 1), HV_STATUS_SUCCESS);
    }
    stop = true;
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(in_use(0), 0);
    ck_assert_uint_eq(in_use(1), 0);
    ck_assert_uint_eq(synic.queued, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ports");
    TCase *tests = tcase_create("ports");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, fake_phys_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, ids);
    tcase_add_test(tests, partner);
    tcase_add_test(tests, deleted_port_leaves_a_useless_connection);
    tcase_add_test(tests, disconnected_port_may_be_connected_again);
    tcase_add_test(tests, properties);
    tcase_add_test(tests, owners_pay_and_get_back);
    tcase_add_test(tests, no_memory_changes_nothing);
    tcase_add_test(tests, clear_in_steps);
    tcase_add_test(tests, sixteen_buffers);
    tcase_add_test(tests, disabled_target);
    tcase_add_test(tests, delete_with_messages_queued);
    tcase_add_test(tests, disconnect_with_messages_queued);
    tcase_add_test(tests, forgotten_target);
    tcase_add_test(tests, doorbell_conditions);
    tcase_add_test(tests, event_ring);
    tcase_add_test(tests, emptied_ring);
    tcase_add_test(tests, posting_while_they_come_and_go);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
