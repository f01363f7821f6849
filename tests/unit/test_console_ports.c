/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console device: its system calls; what it does after short and failing ones, with a full
 * port, with readers, with a predecessor's page, and with messages.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/console_files.h"
#include "tests/unit/guest.h"
#include "worker/console/console.h"
#include "worker/transport.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define MULTIPORT (1ull << VIRTIO_CONSOLE_F_MULTIPORT)
#define BUFFER(n) (GUEST_BASE + GUEST_BUFFERS + (n)*0x10000ull)
#define EMERG_WR (VIRTIO_MMIO_CONFIG + 8)

static struct guest_ring rings[STATE_QUEUES_MAX];

/* ---- A driver ---- */

static struct message_start start_of(unsigned int count)
{
    struct message_start start = guest_start(DEVICE_CONSOLE_VIRTIO);
    start.of_kind.console = (struct start_console){.ports = count, .files = (1u << count) - 1};
    start.queue_count = count == 1 ? 2 : 2 * count + 2;
    strcpy(start.name, "console 4");
    return start;
}

static void successor(void)
{
    struct message_start start = start_of(ports);
    guest_worker(&start);
    guest_run();
}

static void driver(uint64_t features)
{
    guest_negotiate(features);
    for (unsigned int q = 0; q < guest_device.queue_count; q++) {
        guest_ring_init(&rings[q], q, 16);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
    guest_run();
}

static void running(unsigned int count, uint64_t features)
{
    ports = count;
    memset(&guest_state, 0, sizeof(guest_state));
    memset(files, 0, sizeof(files));
    for (unsigned int p = 0; p < STATE_CONSOLE_PORTS; p++)
        files[p] =
            (struct file){.reader = true, .room = SIZE_MAX, .call_max = SIZE_MAX, .typed = ""};
    guest_fds(DEVICE_CONSOLE_VIRTIO, -1);
    successor();
    driver(features);
    questions = 0;
}

/* Output of "abc...", in `count` segments of `length` bytes that continue one another. */
static void offer_output(unsigned int queue, uint16_t head, uint64_t addr, unsigned int count,
                         uint32_t length)
{
    unsigned char *bytes = guest_at(addr);
    for (uint32_t i = 0; i < count * length; i++)
        bytes[i] = (unsigned char)('a' + i % 26);
    for (uint16_t i = 0; i < count; i++)
        guest_desc(&rings[queue], head + i, addr + i * length, length,
                   i + 1u < count ? VRING_DESC_F_NEXT : 0, (uint16_t)(head + i + 1));
    guest_offer(&rings[queue], head);
}

static void offer_buffer(unsigned int queue, uint16_t head, uint32_t length)
{
    guest_desc(&rings[queue], head, BUFFER(8 + head), length, VRING_DESC_F_WRITE, 0);
    guest_offer(&rings[queue], head);
}

static int64_t used(unsigned int queue)
{
    struct vring_used_elem element;
    return guest_used(&rings[queue], &element) ? (int64_t)element.len : -1;
}

static bool alphabet(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] != (char)('a' + i % 26))
            return false;
    }
    return true;
}

/* As the kernel tells it: everything that is true of the file. */
static void event(unsigned int port)
{
    const struct file *file = &files[port];
    uint32_t events = (file->typed[0] != 0 ? EPOLLIN : 0u) | (file->room > 0 ? EPOLLOUT : 0u) |
                      (file->reader ? 0u : EPOLLHUP);
    device_backend_event(&guest_device, 1 + port, events);
    guest_run();
}

/* ---- Output ---- */

static void test_output_in_pieces(void)
{
    running(1, VERSION_1);
    files[0].call_max = 7;
    offer_output(CONSOLE_TX, 0, BUFFER(0), 5, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(files[0].written_length, 500);
    CU_ASSERT(alphabet(files[0].written, 500));
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(questions, 1);
    CU_ASSERT_EQUAL(rings[CONSOLE_TX].used->flags, 0);
}

static void test_call_is_bounded(void)
{
    running(1, VERSION_1);
    offer_output(CONSOLE_TX, 0, BUFFER(0), 1, 0x8000);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(files[0].writes, 8);
    CU_ASSERT_EQUAL(files[0].longest, 4096);
    CU_ASSERT(alphabet(files[0].written, 0x8000));
}

/* A chain that names the same pages again and again. Meanwhile the other queues have their turn. */
static void test_turn_is_bounded(void)
{
    running(1, VERSION_1);
    for (uint16_t i = 0; i < 16; i++)
        guest_desc(&rings[CONSOLE_TX], i, BUFFER(0), 0x20000, i < 15 ? VRING_DESC_F_NEXT : 0,
                   (uint16_t)(i + 1));
    guest_offer(&rings[CONSOLE_TX], 0);
    files[0].call_max = 1;
    guest_device.work = 1u << CONSOLE_TX;
    device_turns(&guest_device);
    CU_ASSERT_EQUAL(files[0].writes, 64);
    CU_ASSERT_EQUAL(guest_device.work, 1u << CONSOLE_TX);
}

static void test_slow_reader(void)
{
    running(1, VERSION_1);
    files[0].room = 150;
    offer_output(CONSOLE_TX, 0, BUFFER(0), 2, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(files[0].written_length, 150);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    CU_ASSERT_EQUAL(guest_device.work, 0);
    CU_ASSERT_EQUAL(rings[CONSOLE_TX].used->flags, VRING_USED_F_NO_NOTIFY);
    event(0); /* an event of another file */
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    files[0].room = SIZE_MAX;
    event(0);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT(files[0].written_length == 200 && alphabet(files[0].written, 200));
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
}

/* Port 0 does not wait for ever for a reader that takes nothing. Another port does. */
static void test_patience(void)
{
    running(2, VERSION_1 | MULTIPORT);
    files[0].room = files[1].room = 10;
    offer_output(CONSOLE_TX, 0, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 10000);
    device_pause_over(&guest_device);
    guest_run();
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    offer_output(CONSOLE_TX, 1, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0); /* at once */
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    files[0].room = 10; /* the reader reads */
    offer_output(CONSOLE_TX, 2, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 10000);
    files[0].room = SIZE_MAX;
    event(0);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);

    offer_output(CONSOLE_RX1 + 1, 0, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_RX1 + 1);
    CU_ASSERT_EQUAL(used(CONSOLE_RX1 + 1), -1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
}

static void test_no_reader(void)
{
    running(1, VERSION_1);
    files[0].reader = false;
    for (uint16_t i = 0; i < 4; i++)
        offer_output(CONSOLE_TX, i, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    for (uint16_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(files[0].writes, 0);

    /* A reader comes, is slow, and leaves. */
    files[0].reader = true;
    files[0].room = 30;
    offer_output(CONSOLE_TX, 4, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(files[0].written_length, 30);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    files[0].reader = false;
    event(0);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(files[0].written_length, 30);
}

/* An event says what there is to do. Nothing else costs a call. */
static void test_events_are_exact(void)
{
    struct file *file = &files[0];
    running(1, VERSION_1);
    file->room = 150;
    offer_buffer(CONSOLE_RX, 0, 64);
    offer_output(CONSOLE_TX, 0, BUFFER(0), 2, 100);
    guest_kick(CONSOLE_RX);
    guest_kick(CONSOLE_TX);
    file->reads = file->writes = questions = 0;
    file->room = 10; /* the reader makes room: it is filled, and then waited for */
    event(0);
    CU_ASSERT(file->reads == 0 && file->writes == 2 && questions == 1);
    file->typed = "x"; /* input while there is no room */
    event(0);
    CU_ASSERT(used(CONSOLE_RX) == 1 && file->writes == 2 && questions == 1);
    file->room = SIZE_MAX;
    event(0);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    file->reads = file->writes = questions = 0;
    event(0); /* room for which nothing waits */
    CU_ASSERT(file->reads + file->writes + questions == 0 && guest_device.work == 0);
    file->reader = false; /* the last reader leaves: what is printed is discarded */
    event(0);
    offer_output(CONSOLE_TX, 1, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT(used(CONSOLE_TX) == 0 && file->writes == 0);
}

static void test_failing_output(void)
{
    running(1, VERSION_1);
    files[0].error = EINTR;
    offer_output(CONSOLE_TX, 0, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(files[0].written_length, 100);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    files[0].error = ENOSPC;
    offer_output(CONSOLE_TX, 1, BUFFER(0), 1, 100);
    offer_output(CONSOLE_TX, 2, BUFFER(0), 1, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(files[0].written_length, 200);
    CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 1);
}

/* A chain with nothing to read is no error: it is completed. */
static void test_empty_output(void)
{
    running(1, VERSION_1);
    guest_desc(&rings[CONSOLE_TX], 0, BUFFER(0), 10, VRING_DESC_F_WRITE, 0);
    guest_offer(&rings[CONSOLE_TX], 0);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT(files[0].writes == 0 && guest_state.counters.guest_errors == 0);
}

/* ---- Input ---- */

static void test_input(void)
{
    running(1, VERSION_1);
    files[0].typed = "hello";
    event(0);
    CU_ASSERT_EQUAL(files[0].reads, 0); /* no buffer */
    offer_buffer(CONSOLE_RX, 0, 3);
    offer_buffer(CONSOLE_RX, 1, 100);
    guest_kick(CONSOLE_RX);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), 3);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), 2);
    CU_ASSERT_EQUAL(memcmp(guest_at(BUFFER(8)), "hel", 3), 0);
    CU_ASSERT_EQUAL(memcmp(guest_at(BUFFER(9)), "lo", 3), 0);
    offer_buffer(CONSOLE_RX, 2, 0x10000);
    guest_kick(CONSOLE_RX);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), -1);
    CU_ASSERT_EQUAL(guest_device.work, 0);
    CU_ASSERT_EQUAL(files[0].longest, 4096);
    files[0].error = EINTR;
    files[0].typed = "!";
    event(0);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), 1);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 6);
}

static void test_buffer_to_read(void)
{
    running(1, VERSION_1);
    guest_desc(&rings[CONSOLE_RX], 0, BUFFER(0), 10, 0, 0);
    guest_offer(&rings[CONSOLE_RX], 0);
    guest_kick(CONSOLE_RX);
    CU_ASSERT_EQUAL(guest_logged(LOG_CHAIN_INVALID), 1);
    driver(VERSION_1);
    files[0].typed = "well";
    offer_buffer(CONSOLE_RX, 0, 10);
    guest_kick(CONSOLE_RX);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), 4);
}

/* ---- Emergency output ---- */

static void test_emergency(void)
{
    struct message_start start = start_of(1);
    running(1, VERSION_1);
    memset(&guest_state, 0, sizeof(guest_state));
    guest_worker(&start); /* no driver has negotiated */
    transport_write(&guest_device, EMERG_WR, 4, 0x12345600u | '!');
    transport_write(&guest_device, EMERG_WR, 1, '?');
    CU_ASSERT(files[0].written_length == 2 && memcmp(files[0].written, "!?", 2) == 0);
    transport_write(&guest_device, EMERG_WR - 8, 4, 'x');
    transport_write(&guest_device, EMERG_WR - 4, 8, 'x');
    transport_write(&guest_device, EMERG_WR + 1, 1, 'x');
    transport_write(&guest_device, EMERG_WR, 8, 'x'); /* beyond the configuration space */
    files[0].reader = false;
    transport_write(&guest_device, EMERG_WR, 4, 'x');
    files[0].reader = true;
    files[0].room = 0;
    transport_write(&guest_device, EMERG_WR, 4, 'x');
    CU_ASSERT_EQUAL(files[0].written_length, 2);
}

/* ---- Successors ---- */

static void test_successor_goes_on_in_the_midst(void)
{
    running(1, VERSION_1);
    files[0].room = 150;
    offer_output(CONSOLE_TX, 0, BUFFER(0), 1, 50);
    offer_output(CONSOLE_TX, 1, BUFFER(1), 2, 100);
    guest_kick(CONSOLE_TX);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    files[0].room = SIZE_MAX;
    successor();
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(files[0].written_length, 250);
    CU_ASSERT(alphabet(files[0].written + 50, 200));
    /* The record of a finished chain is not used for the next chain. */
    offer_output(CONSOLE_TX, 3, BUFFER(2), 1, 80);
    successor();
    CU_ASSERT_EQUAL(files[0].written_length, 330);
    CU_ASSERT(alphabet(files[0].written + 250, 80));
}

/* Input that was read, but not yet given to the driver, is given to it. */
static void test_successor_keeps_input(void)
{
    running(1, VERSION_1);
    offer_buffer(CONSOLE_RX, 0, 100);
    guest_kick(CONSOLE_RX);
    memcpy(guest_at(BUFFER(8)), "typed", 5);
    guest_state.of_kind.console.read[0] = 5; /* the worker died here */
    successor();
    CU_ASSERT_EQUAL(used(CONSOLE_RX), 5);
    CU_ASSERT_EQUAL(files[0].reads, 1); /* this read was before its death */
    /* What is read is noted, with the place of its chain. */
    files[0].typed = "more";
    offer_buffer(CONSOLE_RX, 1, 100);
    guest_kick(CONSOLE_RX);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), 4);
    CU_ASSERT_EQUAL(guest_state.of_kind.console.read[0], 1ull << 32 | 4);
}

static void test_hostile_records(void)
{
    static const uint64_t records[] = {101,         0xffffffff, 1ull << 32 | 5, UINT64_MAX,
                                       0x8000 << 1, 1ull << 63, 0x7fffffff};
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        running(1, VERSION_1);
        files[0].room = 0;
        offer_output(CONSOLE_TX, 0, BUFFER(0), 1, 100);
        offer_buffer(CONSOLE_RX, 0, 100);
        guest_kick(CONSOLE_TX);
        guest_kick(CONSOLE_RX);
        guest_state.of_kind.console.written[0] = records[i];
        guest_state.of_kind.console.read[0] = records[i];
        files[0].room = SIZE_MAX;
        files[0].typed = "x";
        successor();
        CU_ASSERT(files[0].written_length == 100 && alphabet(files[0].written, 100));
        CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
        CU_ASSERT_EQUAL(used(CONSOLE_RX), 1);
    }
}

static void test_hostile_page(void)
{
    for (unsigned int i = 0; i < 4; i++) {
        running(2, VERSION_1 | MULTIPORT);
        struct state_console *state = &guest_state.of_kind.console;
        if (i == 0)
            state->pending[2] = 1;
        else if (i == 1)
            state->pending[0] = 0x20;
        else if (i == 2)
            state->ready = 4;
        else
            state->guest_open = 0x80;
        successor();
        CU_ASSERT_EQUAL(guest_logged(LOG_STATE_INVALID), 1);
        CU_ASSERT((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
        driver(VERSION_1 | MULTIPORT);
        offer_output(CONSOLE_TX, 0, BUFFER(0), 1, 100);
        guest_kick(CONSOLE_TX);
        CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    }
}

/* ---- Messages ---- */

static void tell(uint32_t port, uint16_t what, uint16_t value)
{
    static uint16_t head;
    const struct virtio_console_control message = {port, what, value};
    head = (uint16_t)((head + 2) % 16);
    /* in two pieces */
    memcpy(guest_at(BUFFER(0)), &message, sizeof(message));
    guest_desc(&rings[CONSOLE_CONTROL_TX], head, BUFFER(0), 3, VRING_DESC_F_NEXT,
               (uint16_t)(head + 1));
    guest_desc(&rings[CONSOLE_CONTROL_TX], head + 1u, BUFFER(0) + 3, 5, 0, 0);
    guest_offer(&rings[CONSOLE_CONTROL_TX], head);
    guest_kick(CONSOLE_CONTROL_TX);
    CU_ASSERT_EQUAL(used(CONSOLE_CONTROL_TX), 0);
}

/* Asserts that this is the next message; `more` follows it. */
static void told(uint32_t port, uint16_t what, const char *more, uint32_t more_length)
{
    static uint16_t head;
    struct virtio_console_control message;
    head = (uint16_t)((head + 1) % 8);
    offer_buffer(CONSOLE_CONTROL_RX, head, 64);
    guest_kick(CONSOLE_CONTROL_RX);
    CU_ASSERT_EQUAL(used(CONSOLE_CONTROL_RX), (int64_t)sizeof(message) + more_length);
    memcpy(&message, guest_at(BUFFER(8 + head)), sizeof(message));
    CU_ASSERT(message.id == port && message.event == what && message.value == 1);
    CU_ASSERT_EQUAL(memcmp(guest_at(BUFFER(8 + head) + sizeof(message)), more, more_length), 0);
}

static void test_messages(void)
{
    running(2, VERSION_1 | MULTIPORT);
    tell(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 0); /* the driver has failed */
    tell(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    told(0, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    successor(); /* the successor knows what is still to say */
    told(1, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    tell(7, VIRTIO_CONSOLE_PORT_READY, 1);
    tell(1, VIRTIO_CONSOLE_PORT_READY, 0);
    tell(0, VIRTIO_CONSOLE_PORT_READY, 1);
    tell(0, VIRTIO_CONSOLE_PORT_READY, 1); /* repeated: it counts once */
    told(0, VIRTIO_CONSOLE_CONSOLE_PORT, "", 0);
    told(0, VIRTIO_CONSOLE_RESIZE, "\0\0\0\0", 4);
    told(0, VIRTIO_CONSOLE_PORT_NAME, "console4.0", 10);
    told(0, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    tell(1, VIRTIO_CONSOLE_PORT_READY, 1);
    told(1, VIRTIO_CONSOLE_PORT_NAME, "console4.1", 10);
    told(1, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    offer_buffer(CONSOLE_CONTROL_RX, 0, 64);
    guest_kick(CONSOLE_CONTROL_RX);
    CU_ASSERT_EQUAL(used(CONSOLE_CONTROL_RX), -1); /* nothing more came */
    CU_ASSERT_EQUAL(guest_device.work, 0);

    /* Input for a port that no program in the guest has open. */
    files[1].typed = "wait";
    offer_buffer(CONSOLE_RX1, 1, 64);
    guest_kick(CONSOLE_RX1);
    event(1);
    CU_ASSERT_EQUAL(used(CONSOLE_RX1), -1);
    tell(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    CU_ASSERT_EQUAL(used(CONSOLE_RX1), 4);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
}

static void test_short_messages(void)
{
    running(2, VERSION_1 | MULTIPORT);
    guest_desc(&rings[CONSOLE_CONTROL_TX], 0, BUFFER(0), 7, 0, 0);
    guest_offer(&rings[CONSOLE_CONTROL_TX], 0);
    guest_kick(CONSOLE_CONTROL_TX);
    CU_ASSERT_EQUAL(guest_logged(LOG_CHAIN_INVALID), 1);
    driver(VERSION_1 | MULTIPORT);
    tell(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    offer_buffer(CONSOLE_CONTROL_RX, 0, 7);
    guest_kick(CONSOLE_CONTROL_RX);
    CU_ASSERT_EQUAL(guest_logged(LOG_CHAIN_INVALID), 1);
}

/* §5.3.2: without the feature these queues do not exist. */
static void test_one_port_of_many(void)
{
    running(2, VERSION_1);
    files[1].typed = "x";
    offer_buffer(CONSOLE_RX1, 0, 64);
    offer_output(CONSOLE_RX1 + 1, 0, BUFFER(0), 1, 10);
    offer_output(CONSOLE_CONTROL_TX, 0, BUFFER(0), 1, 8);
    guest_kick(CONSOLE_RX1);
    guest_kick(CONSOLE_RX1 + 1);
    guest_kick(CONSOLE_CONTROL_TX);
    event(1);
    CU_ASSERT(files[1].reads == 0 && files[1].writes == 0);
    CU_ASSERT_EQUAL(guest_device.work, 0);
}

static void test_size(void)
{
    running(2, VERSION_1 | MULTIPORT);
    tell(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    tell(0, VIRTIO_CONSOLE_PORT_READY, 1);
    told(0, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    told(0, VIRTIO_CONSOLE_CONSOLE_PORT, "", 0);
    told(0, VIRTIO_CONSOLE_RESIZE, "\0\0\0\0", 4);
    told(0, VIRTIO_CONSOLE_PORT_NAME, "console4.0", 10);
    told(0, VIRTIO_CONSOLE_PORT_OPEN, "", 0);
    told(1, VIRTIO_CONSOLE_PORT_ADD, "", 0);
    guest_interrupts();
    uint32_t generation = guest_read(VIRTIO_MMIO_CONFIG_GENERATION);
    for (unsigned int i = 0; i < 2; i++) { /* first while a worker runs, then between two workers */
        atomic_store(&guest_state.backend.size, (80 + i) << 16 | 25);
        atomic_fetch_add(&guest_state.backend.changes, 1);
        if (i == 0)
            device_backend_changed(&guest_device);
        else
            successor();
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG), 25 << 16 | (80 + i));
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG_GENERATION), generation + 1 + i);
        CU_ASSERT((guest_read(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG) != 0);
        guest_write(VIRTIO_MMIO_INTERRUPT_ACK, 3);
        told(0, VIRTIO_CONSOLE_RESIZE, i == 0 ? "\x50\0\x19\0" : "\x51\0\x19\0", 4);
        atomic_fetch_add(&guest_state.backend.changes, 1); /* the same size once more */
        device_backend_changed(&guest_device);
        CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG_GENERATION), generation + 1 + i);
    }
    successor(); /* no news */
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG_GENERATION), generation + 2);
    guest_write(VIRTIO_MMIO_STATUS, 0); /* no driver that could be told */
    atomic_store(&guest_state.backend.size, 90 << 16 | 25);
    atomic_fetch_add(&guest_state.backend.changes, 1);
    device_backend_changed(&guest_device);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG), 25 << 16 | 90);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG_GENERATION), generation + 2);
}

static void test_start_checked(void)
{
    static const struct {
        uint32_t ports, queues;
    } wrong[] = {{0, 2}, {8, 16}, {1, 4}, {2, 2}, {7, 14}, {UINT32_MAX, 2}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct message_start start = start_of(1);
        start.of_kind.console.ports = wrong[i].ports;
        start.queue_count = wrong[i].queues;
        CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), -EINVAL);
    }
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"output in pieces", test_output_in_pieces},
        {"a call is bounded", test_call_is_bounded},
        {"a turn is bounded", test_turn_is_bounded},
        {"slow reader", test_slow_reader},
        {"patience", test_patience},
        {"no reader", test_no_reader},
        {"an event costs no call but those that it asks for", test_events_are_exact},
        {"failing output", test_failing_output},
        {"output of nothing", test_empty_output},
        {"input", test_input},
        {"a buffer to read", test_buffer_to_read},
        {"emergency output", test_emergency},
        {"a successor goes on in the midst", test_successor_goes_on_in_the_midst},
        {"a successor keeps input", test_successor_keeps_input},
        {"hostile records", test_hostile_records},
        {"hostile page", test_hostile_page},
        {"messages", test_messages},
        {"short messages", test_short_messages},
        {"one port of many", test_one_port_of_many},
        {"size", test_size},
        {"START is checked", test_start_checked},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "console", tests);
}
