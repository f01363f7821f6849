/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/input_under_test.h"

#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/transport.h"

struct guest_ring events, status;
struct message_start start;
int device = -1;

static uint16_t offered, statuses;

void set(uint8_t *bits, unsigned int number)
{
    bits[number / 8] |= (uint8_t)(1u << number % 8);
}

/* A keyboard with two lights and a bell, a wheel, and a touch screen. */
void describe(void)
{
    struct start_input *input = &start.of_kind.input;
    start = guest_start(DEVICE_INPUT_VIRTIO);
    strcpy(input->name, "unit test's keyboard");
    strcpy(input->serial, "4711");
    input->ids = (struct virtio_input_devids){3, 0x1234, 0x5678, 0x0111};
    set(input->properties, INPUT_PROP_DIRECT);
    set(input->keys, KEY_A);
    set(input->keys, KEY_B);
    set(input->keys, BTN_TOUCH);
    set(input->relative, REL_WHEEL);
    set(input->absolute, ABS_MT_SLOT);
    set(input->absolute, ABS_MT_TRACKING_ID);
    set(input->absolute, ABS_MT_POSITION_X);
    set(input->lights, LED_NUML);
    set(input->lights, LED_CAPSL);
    set(input->sounds, SND_BELL);
    set(input->sounds, SND_TONE);
    input->axes[ABS_MT_POSITION_X] = (struct virtio_input_absinfo){
        .min = (uint32_t)-5, .max = 1919, .fuzz = 1, .flat = 2, .res = 12};
}

/* Moves an fd above the numbers of a worker's files. */
static int high(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 64);
    CU_ASSERT_FATAL(moved >= 0);
    close(fd);
    return moved;
}

void worker(void)
{
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    if (device >= 0)
        close(device);
    device = high(pair[0]);
    int worker_end = high(pair[1]);
    guest_fds(DEVICE_INPUT_VIRTIO, worker_end);
    close(worker_end);
    guest_worker(&start);
}

void offer(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++, offered = (uint16_t)((offered + 1) % RING_SIZE)) {
        guest_desc(&events, offered, EVENT(offered), 8, VRING_DESC_F_WRITE, 0);
        guest_offer(&events, offered);
    }
}

void driver(unsigned int buffers)
{
    offered = 0;
    guest_ring_init(&events, 0, RING_SIZE);
    guest_ring_init(&status, 1, RING_SIZE);
    guest_negotiate(VERSION_1);
    guest_queue_setup(0, &events);
    guest_queue_setup(1, &status);
    offer(buffers);
    guest_driver_ok();
    guest_run();
}

void running(unsigned int buffers)
{
    memset(&guest_state, 0, sizeof(guest_state));
    memset(guest_at(BUFFERS), 0, 0x20000);
    describe();
    worker();
    driver(buffers);
}

/* The device reports these events, in one read. */
void say(const struct input_event *said, size_t count)
{
    CU_ASSERT_EQUAL_FATAL(send(device, said, count * sizeof(said[0]), 0),
                          (ssize_t)(count * sizeof(said[0])));
    guest_run();
}

/* Asserts that the driver's next event is this one. */
void hears(uint16_t type, uint16_t code, int32_t value)
{
    struct vring_used_elem element = {0};
    struct virtio_input_event event;
    bool any = guest_used(&events, &element);
    CU_ASSERT_TRUE(any);
    if (!any)
        return;
    memcpy(&event, guest_at(EVENT(element.id)), sizeof(event));
    CU_ASSERT_EQUAL(element.len, sizeof(event));
    CU_ASSERT(event.type == type && event.code == code && (int32_t)event.value == value);
}

void hears_no_more(void)
{
    struct vring_used_elem element;
    CU_ASSERT_FALSE(guest_used(&events, &element));
}

/* A new driver, or one after a loss, gets the touch screen's slot. */
void hears_slot(int32_t slot)
{
    hears(EV_ABS, ABS_MT_SLOT, slot);
    hears(EV_SYN, SYN_REPORT, 0);
}

unsigned int selected(uint8_t select, uint8_t subsel, void *ret, size_t length)
{
    uint8_t *bytes = ret;
    transport_write(&guest_device, VIRTIO_MMIO_CONFIG, 1, select);
    transport_write(&guest_device, VIRTIO_MMIO_CONFIG + 1, 1, subsel);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 8 + (uint32_t)i, 1);
    return (unsigned int)transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 2, 1);
}

void ask(uint16_t type, uint16_t code, uint32_t value)
{
    const struct virtio_input_event event = {type, code, value};
    uint16_t slot = statuses++ % RING_SIZE;
    memcpy(guest_at(STATUS(slot)), &event, sizeof(event));
    guest_desc(&status, slot, STATUS(slot), sizeof(event), 0, 0);
    guest_offer(&status, slot);
}

/* The next thing that the device was asked for; type 0xffff: nothing. */
struct input_event asked(void)
{
    struct input_event event;
    if (recv(device, &event, sizeof(event), MSG_DONTWAIT) != sizeof(event))
        return (struct input_event)IS(0xffff, 0, 0);
    return event;
}

unsigned int answered(void)
{
    struct vring_used_elem element;
    unsigned int count = 0;
    while (guest_used(&status, &element))
        count++;
    return count;
}

unsigned int asked_count(void)
{
    unsigned int count = 0;
    while (asked().type != 0xffff)
        count++;
    return count;
}
