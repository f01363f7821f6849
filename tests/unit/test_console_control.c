/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queues of a console with several ports: which messages the driver gets, in which
 * order, and what its own messages change.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/console/console.h"

#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_CONSOLE_F_MULTIPORT)
#define RING_SIZE 128u
#define ROOM 64u /* bytes of a buffer for a message */
#define ROOM_AT(n) (GUEST_BASE + GUEST_BUFFERS + (n)*0x100ull)
#define SAID_AT(n) (GUEST_BASE + GUEST_BUFFERS + 0x10000ull + (n)*0x100ull)
#define CONTROL_RX_BIT (1u << CONSOLE_CONTROL_RX)
#define TURN_MESSAGES 64u

static struct guest_ring rings[STATE_QUEUES_MAX];
static uint16_t offered, said;

static struct state_console *state(void)
{
    return &guest_state.of_kind.console;
}

/* Messages that the driver could see only when they were no longer noted as due. If a worker died
 * before, they would be lost. */
static unsigned int seen_too_late;

void __real_virtqueue_publish(struct virtqueue *vq);
void __wrap_virtqueue_publish(struct virtqueue *vq);
void __wrap_virtqueue_publish(struct virtqueue *vq)
{
    unsigned int due = 0;
    for (unsigned int p = 0; p < STATE_CONSOLE_PORTS; p++)
        due |= state()->pending[p];
    seen_too_late += vq->index == CONSOLE_CONTROL_RX && vq->filled > 0 && due == 0;
    __real_virtqueue_publish(vq);
}

static void running_as(unsigned int ports, const char *name, uint64_t features)
{
    struct message_start start = guest_start(DEVICE_CONSOLE_VIRTIO);
    start.of_kind.console = (struct start_console){.ports = ports};
    start.queue_count = 2 * ports + 2;
    strncpy(start.name, name, sizeof(start.name) - 1);
    memset(&guest_state, 0, sizeof(guest_state));
    guest_fds(DEVICE_CONSOLE_VIRTIO, -1);
    guest_device.work = 0;
    guest_worker(&start);
    guest_negotiate(features);
    for (unsigned int q = 0; q < start.queue_count; q++) {
        guest_ring_init(&rings[q], q, RING_SIZE);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
    guest_run();
    offered = said = 0;
}

static void running(unsigned int ports)
{
    running_as(ports, "console 4", FEATURES);
}

/* Buffers for messages, as Linux's driver offers them: long before there is a message. */
static void offer_buffers(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++, offered++) {
        guest_desc(&rings[CONSOLE_CONTROL_RX], offered, ROOM_AT(offered), ROOM, VRING_DESC_F_WRITE,
                   0);
        guest_offer(&rings[CONSOLE_CONTROL_RX], offered);
    }
    guest_kick(CONSOLE_CONTROL_RX);
}

/* Put a message of the driver into the ring, without a kick. */
static void put(uint32_t port, uint16_t what, uint16_t value)
{
    const struct virtio_console_control message = {port, what, value};
    uint16_t head = said++ % RING_SIZE;
    memcpy(guest_at(SAID_AT(head)), &message, sizeof(message));
    guest_desc(&rings[CONSOLE_CONTROL_TX], head, SAID_AT(head), sizeof(message), 0, 0);
    guest_offer(&rings[CONSOLE_CONTROL_TX], head);
}

/* The driver says this. */
static void say(uint32_t port, uint16_t what, uint16_t value)
{
    struct vring_used_elem element;
    put(port, what, value);
    guest_kick(CONSOLE_CONTROL_TX);
    CU_ASSERT_TRUE(guest_used(&rings[CONSOLE_CONTROL_TX], &element));
    CU_ASSERT_EQUAL(element.len, 0);
}

/* Asserts that this is the next message, with `more` behind it. */
static void hears(uint32_t port, uint16_t what, const void *more, uint32_t length)
{
    struct vring_used_elem element;
    struct virtio_console_control message;
    CU_ASSERT_TRUE_FATAL(guest_used(&rings[CONSOLE_CONTROL_RX], &element));
    const unsigned char *at = guest_at(ROOM_AT(element.id));
    memcpy(&message, at, sizeof(message));
    CU_ASSERT_EQUAL(element.len, sizeof(message) + length);
    CU_ASSERT_EQUAL(message.id, port);
    CU_ASSERT_EQUAL(message.event, what);
    CU_ASSERT_EQUAL(message.value, 1);
    CU_ASSERT_EQUAL(memcmp(at + sizeof(message), more, length), 0);
}

static void hears_nothing_more(void)
{
    struct vring_used_elem element;
    CU_ASSERT_FALSE(guest_used(&rings[CONSOLE_CONTROL_RX], &element));
    CU_ASSERT_EQUAL(guest_device.work, 0);
}

/* The whole dialogue. Each answer comes at once, though no buffer is offered after the question. */
static void test_order(void)
{
    running(2);
    offer_buffers(32);
    hears_nothing_more();
    say(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    hears(0, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    hears(1, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    hears_nothing_more();
    say(1, VIRTIO_CONSOLE_PORT_READY, 1);
    hears(1, VIRTIO_CONSOLE_PORT_NAME, "console4.1", 10);
    hears(1, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    hears_nothing_more();
    CU_ASSERT_EQUAL(state()->ready, 2);
    say(0, VIRTIO_CONSOLE_PORT_READY, 1);
    hears(0, VIRTIO_CONSOLE_CONSOLE_PORT, "", 0);
    hears(0, VIRTIO_CONSOLE_RESIZE, "\0\0\0\0", 4);
    hears(0, VIRTIO_CONSOLE_PORT_NAME, "console4.0", 10);
    hears(0, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    hears_nothing_more();
    CU_ASSERT_EQUAL(state()->ready, 3);
    CU_ASSERT_EQUAL(seen_too_late, 0);
}

/* The port with the lowest number comes first, whatever the driver asked first. */
static void test_waiting(void)
{
    running(3);
    say(2, VIRTIO_CONSOLE_PORT_READY, 1);
    say(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    offer_buffers(1);
    hears(0, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    offer_buffers(32);
    hears(1, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    hears(2, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    hears(2, VIRTIO_CONSOLE_PORT_NAME, "console4.2", 10);
    hears(2, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    hears_nothing_more();
}

/* What means nothing changes nothing, and is no error. */
static void test_meaningless(void)
{
    static const struct virtio_console_control messages[] = {
        {VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 0},
        {VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 2},
        {VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_PORT_READY, 1},
        {2, VIRTIO_CONSOLE_PORT_READY, 1}, /* there are two ports */
        {2, VIRTIO_CONSOLE_PORT_OPEN, 1},
        {1, VIRTIO_CONSOLE_PORT_READY, 0},
        {1, VIRTIO_CONSOLE_PORT_READY, 2},
        {1, VIRTIO_CONSOLE_PORT_OPEN, 2},
        {1, VIRTIO_CONSOLE_PORT_ADD, 1}, /* only a device says this */
        {1, VIRTIO_CONSOLE_PORT_NAME, 1},
        {1, UINT16_MAX, 1},
    };
    const struct state_console nothing = {.size = 0};
    running(2);
    offer_buffers(32);
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        say(messages[i].id, messages[i].event, messages[i].value);
        hears_nothing_more();
        CU_ASSERT_EQUAL(memcmp(state(), &nothing, sizeof(nothing)), 0);
    }
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
}

/* §5.3.6.2: input waits while the driver has its side of the port closed. Port 0 is the console,
 * which is never closed. */
static void test_open(void)
{
    running(3);
    CU_ASSERT_TRUE(console_open(&guest_device, 0));
    CU_ASSERT_FALSE(console_open(&guest_device, 1));
    say(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    CU_ASSERT_TRUE(console_open(&guest_device, 1));
    CU_ASSERT_FALSE(console_open(&guest_device, 2));
    say(2, VIRTIO_CONSOLE_PORT_OPEN, 1);
    CU_ASSERT_EQUAL(state()->guest_open, 6);
    say(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    CU_ASSERT_FALSE(console_open(&guest_device, 1));
    CU_ASSERT_TRUE(console_open(&guest_device, 2));
    say(0, VIRTIO_CONSOLE_PORT_OPEN, 0);
    CU_ASSERT_TRUE(console_open(&guest_device, 0));
}

/* A name of any length fits, without its spaces. */
static void test_names(void)
{
    static const struct {
        const char *device, *port;
    } names[] = {
        {"console 4", "console4.0"},
        {" a  b ", "ab.0"},
        {"01234567890123456789012", "01234567890123456789012.0"}, /* DEVICE_NAME_SIZE, with its 0 */
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        running_as(2, names[i].device, FEATURES);
        offer_buffers(8);
        say(0, VIRTIO_CONSOLE_PORT_READY, 1);
        hears(0, VIRTIO_CONSOLE_CONSOLE_PORT, "", 0);
        hears(0, VIRTIO_CONSOLE_RESIZE, "\0\0\0\0", 4);
        hears(0, VIRTIO_CONSOLE_PORT_NAME, names[i].port, (uint32_t)strlen(names[i].port));
        hears(0, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    }
}

/* A new size is told once the driver has said that port 0 is ready, and only through messages. */
static void test_resized(void)
{
    running(2);
    offer_buffers(32);
    console_control_resized(&guest_device);
    CU_ASSERT_EQUAL(guest_device.work, 0);
    say(1, VIRTIO_CONSOLE_PORT_READY, 1);
    hears(1, VIRTIO_CONSOLE_PORT_NAME, "console4.1", 10);
    hears(1, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    console_control_resized(&guest_device);
    CU_ASSERT_EQUAL(guest_device.work, 0);
    state()->ready |= 1;
    console_control_resized(&guest_device);
    CU_ASSERT_EQUAL(guest_device.work, CONTROL_RX_BIT);
    guest_run();
    hears(0, VIRTIO_CONSOLE_RESIZE, "\0\0\0\0", 4);
    hears_nothing_more();

    running_as(2, "console 4", 1ull << VIRTIO_F_VERSION_1);
    state()->ready = 1;
    console_control_resized(&guest_device);
    CU_ASSERT_EQUAL(guest_device.work, 0);
    CU_ASSERT_EQUAL(state()->pending[0], 0);
}

/* §2.6.1: a queue is reset alone. What is noted of its chain goes, what is noted of the other one
 * stays. The control queues have nothing of the kind. */
static void test_queue_reset(void)
{
    struct guest_fault fault;
    CU_ASSERT_EQUAL(console_ops.write_config(&guest_device, 0, 4, 'x', &fault), 0);
    for (unsigned int q = 0; q < 6; q++) {
        running(2);
        for (unsigned int p = 0; p < STATE_CONSOLE_PORTS; p++) {
            state()->read[p] = 10 + p;
            state()->written[p] = 20 + p;
        }
        struct state_console expected = *state();
        if (q == CONSOLE_RX || q == CONSOLE_RX1)
            expected.read[q == CONSOLE_RX1] = 0;
        else if (q == CONSOLE_TX || q == CONSOLE_RX1 + 1)
            expected.written[q != CONSOLE_TX] = 0;
        console_ops.queue_stop(&guest_device, q);
        CU_ASSERT_EQUAL(memcmp(state(), &expected, sizeof(expected)), 0);
    }
}

/* A driver that says much at a time does not keep the other queues from their turn. */
static void test_turn_is_bounded(void)
{
    unsigned int count = 0;
    struct vring_used_elem element;
    running(2);
    for (unsigned int i = 0; i < RING_SIZE; i++)
        put(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    device_notify(&guest_device, CONSOLE_CONTROL_TX);
    device_turns(&guest_device);
    while (guest_used(&rings[CONSOLE_CONTROL_TX], &element))
        count++;
    CU_ASSERT_EQUAL(count, TURN_MESSAGES);
    CU_ASSERT_NOT_EQUAL(guest_device.work & 1u << CONSOLE_CONTROL_TX, 0);
    guest_run();
    while (guest_used(&rings[CONSOLE_CONTROL_TX], &element))
        count++;
    CU_ASSERT_EQUAL(count, RING_SIZE);
}

/* Only what these functions could have written passes, for each number of ports. */
static void test_valid(void)
{
    for (unsigned int ports = 1; ports <= STATE_CONSOLE_PORTS; ports++) {
        struct state_console page = {.size = UINT32_MAX};
        console_control_init(ports, "console");
        CU_ASSERT_TRUE(console_control_valid(&page));
        page.ready = page.guest_open = (uint8_t)((1u << ports) - 1);
        memset(page.pending, 0x1f, ports);
        CU_ASSERT_TRUE(console_control_valid(&page));
        for (unsigned int bit = ports; bit < 8; bit++) {
            const struct state_console good = page;
            page.ready |= (uint8_t)(1u << bit);
            CU_ASSERT_FALSE(console_control_valid(&page));
            page = good;
            page.guest_open |= (uint8_t)(1u << bit);
            CU_ASSERT_FALSE(console_control_valid(&page));
            page = good;
        }
        for (unsigned int p = 0; p < STATE_CONSOLE_PORTS; p++) {
            for (unsigned int bit = p < ports ? 5 : 0; bit < 8; bit++) {
                const struct state_console good = page;
                page.pending[p] |= (uint8_t)(1u << bit);
                CU_ASSERT_FALSE(console_control_valid(&page));
                page = good;
            }
        }
        CU_ASSERT_TRUE(console_control_valid(&page));
    }
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"the driver hears what it needs, in order", test_order},
        {"messages wait for buffers", test_waiting},
        {"what means nothing changes nothing", test_meaningless},
        {"ports are opened and closed", test_open},
        {"names", test_names},
        {"a new size", test_resized},
        {"a queue is reset alone", test_queue_reset},
        {"a turn is bounded", test_turn_is_bounded},
        {"only a possible state is valid", test_valid},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "control queues of a console", tests);
}
