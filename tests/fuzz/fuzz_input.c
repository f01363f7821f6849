/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input device against a hostile guest, and with an event device that reports anything, loses
 * events and is unplugged. Successors get pages that a predecessor has spoilt. Each byte is an
 * action, followed by its arguments, see act(). The event device gets nothing but values for lights
 * and sounds that it has. Whatever has happened, after a reset the events of a key reach the
 * driver, and no other key is down for it.
 */
#include <errno.h>
#include <linux/input.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/fuzz/rings.h"
#include "tests/fuzz/violated.h"
#include "worker/transport.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_SIZE (GUEST_BUFFERS + 0x10000u) /* of the window: the guest writes to this part */
#define EVENTS_MAX 64u                         /* events that can wait in the event device */
#define READ_MAX 64u                           /* events that a worker reads at a time */

static struct message_start start;
static struct input input;

/* The event device. */
static struct input_event said[EVENTS_MAX];
static unsigned int said_count;
static uint8_t pressed[KEY_CNT / 8];
static int next_error;

static uint64_t number(size_t bytes)
{
    return input_number(&input, bytes);
}

/* ---- The event device ---- */

ssize_t __real_write(int fd, const void *from, size_t length);
ssize_t __wrap_write(int fd, const void *from, size_t length);
ssize_t __real_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length);
int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, ...);

ssize_t __wrap_read(int fd, void *to, size_t length)
{
    if (fd != WORKER_FD_BACKEND)
        return __real_read(fd, to, length);
    if (length > READ_MAX * sizeof(struct input_event))
        violated("a read that is not bounded");
    if ((size_t)((unsigned char *)to - guest_memory) < GUEST_SIZE)
        violated("events go to the guest unread");
    errno = next_error ? next_error : EAGAIN;
    if (next_error || said_count == 0)
        return -1;
    size_t count = length / sizeof(said[0]) < said_count ? length / sizeof(said[0]) : said_count;
    memcpy(to, said, count * sizeof(said[0]));
    memmove(said, said + count, (said_count - count) * sizeof(said[0]));
    said_count -= (unsigned int)count;
    return (ssize_t)(count * sizeof(said[0]));
}

ssize_t __wrap_write(int fd, const void *from, size_t length)
{
    const struct input_event *event = from;
    if (fd != WORKER_FD_BACKEND)
        return __real_write(fd, from, length);
    if (length != sizeof(*event))
        violated("other than one event is written");
    bool light = event->type == EV_LED && (event->code == LED_NUML || event->code == LED_CAPSL) &&
                 (event->value == 0 || event->value == 1);
    bool sound = event->type == EV_SND && event->code == SND_BELL &&
                 (event->value == 0 || event->value == 1);
    if (!light && !sound)
        violated("the driver wrote type %u, code %u, value %d", event->type, event->code,
                 event->value);
    errno = next_error;
    return next_error ? -1 : (ssize_t)length;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (fd != WORKER_FD_BACKEND)
        return __real_ioctl(fd, request, argument);
    errno = ENODEV;
    if (next_error == ENODEV)
        return -1;
    errno = EINVAL;
    if (request != EVIOCGKEY(sizeof(pressed)))
        return -1;
    memcpy(argument, pressed, sizeof(pressed));
    return sizeof(pressed);
}

static void say(uint16_t type, uint16_t code, int32_t value)
{
    if (said_count == EVENTS_MAX) { /* as the kernel does: dropped, and reported */
        said_count = 0;
        say(EV_SYN, SYN_DROPPED, 0);
        say(EV_SYN, SYN_REPORT, 0);
    }
    said[said_count++] = (struct input_event){.type = type, .code = code, .value = value};
    if (type == EV_KEY && code < KEY_CNT)
        pressed[code / 8] = (uint8_t)(value ? pressed[code / 8] | 1u << code % 8
                                            : pressed[code / 8] & ~(1u << code % 8));
}

static void say_something(void)
{
    static const uint16_t types[] = {EV_SYN, EV_KEY, EV_KEY, EV_REL, EV_ABS, EV_LED, EV_SND, 0x1f};
    for (uint64_t count = 1 + number(1) % 4; count > 0; count--) {
        uint16_t type = types[number(1) % 8], code = (uint16_t)number(2);
        say(type, code, (int32_t)number(1));
    }
    say(EV_SYN, SYN_REPORT, 0);
    device_backend_event(&guest_device, 0, EPOLLIN);
}

/* ---- The guest ---- */

static void offer(void)
{
    struct guest_ring *ring = &rings[number(1) % 2];
    unsigned int first = (unsigned int)number(1) % RING_SIZE;
    for (uint64_t i = 0, count = 1 + number(1) % 3; i < count; i++) {
        uint64_t addr = GUEST_BASE + GUEST_BUFFERS + number(2);
        uint32_t length = (uint32_t)number(1);
        uint16_t flags = (uint16_t)(number(1) | (i + 1 < count ? VRING_DESC_F_NEXT : 0));
        guest_desc(ring, (unsigned int)(first + i) % RING_SIZE, addr, length, flags,
                   (uint16_t)((first + i + 1) % RING_SIZE));
    }
    guest_offer(ring, (uint16_t)first);
}

static void act(void)
{
    switch (number(1) % 11) {
    case 0:
        rings_driver(number(8));
        break;
    case 1:
        offer();
        break;
    case 2:
        device_notify(&guest_device, (unsigned int)number(1));
        break;
    case 3:
        device_turns(&guest_device);
        break;
    case 4:
        say_something();
        break;
    case 5:
        (void)transport_read(&guest_device, (uint32_t)number(2) % 0x200, 1u << number(1) % 4);
        break;
    case 6: {
        uint32_t offset = (uint32_t)number(2) % 0x200;
        unsigned int width = 1u << number(1) % 4;
        transport_write(&guest_device, offset, width, number(8));
        break;
    }
    case 7: { /* anything, anywhere */
        unsigned char *byte = guest_at(GUEST_BASE + number(3) % MEMORY_SIZE);
        *byte = (unsigned char)number(1);
        break;
    }
    case 8:
        if (number(1) % 2)
            rings_spoil_page(&input);
        guest_worker(&start);
        break;
    case 9:
        if (guest_device.pause_ms > 0)
            device_pause_over(&guest_device);
        break;
    case 10:
        next_error = number(1) % 4 == 0 ? EIO : 0;
        break;
    }
}

/* ---- Whatever has happened ---- */

/* What the driver hears until nothing more comes; `down` gets the keys that are down for it then.
 */
static void hear(uint8_t *down)
{
    struct vring_used_elem element;
    for (unsigned int head = 0; head < RING_SIZE; head++) {
        guest_desc(&rings[0], head, GUEST_BASE + GUEST_BUFFERS + head * 8, 8, VRING_DESC_F_WRITE,
                   0);
        guest_offer(&rings[0], (uint16_t)head);
    }
    device_notify(&guest_device, 0);
    rings_settle();
    for (unsigned int heard = 0; guest_used(&rings[0], &element); heard++) {
        struct virtio_input_event event;
        if (heard == 100 * RING_SIZE)
            violated("events without end");
        if (element.len != sizeof(event) || element.id >= RING_SIZE)
            violated("after a reset, an event of %u bytes in buffer %u", element.len, element.id);
        memcpy(&event, guest_at(GUEST_BASE + GUEST_BUFFERS + element.id * 8), sizeof(event));
        if (event.type == EV_KEY && event.code < KEY_CNT)
            down[event.code / 8] =
                (uint8_t)(event.value ? down[event.code / 8] | 1u << event.code % 8
                                      : down[event.code / 8] & ~(1u << event.code % 8));
        guest_offer(&rings[0], (uint16_t)element.id);
        device_notify(&guest_device, 0);
        rings_settle();
    }
}

static void recover(void)
{
    uint8_t down[KEY_CNT / 8] = {0};
    guest_state.backend.changes = 0;
    next_error = 0;
    rings_driver(0);
    rings_settle();
    if ((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0)
        violated("after a reset, the device can't be set up");
    for (unsigned int key = 0; key < KEY_CNT; key++) {
        if ((pressed[key / 8] & 1u << key % 8) != 0)
            say(EV_KEY, (uint16_t)key, 0);
        if (said_count >= EVENTS_MAX - 4) {
            say(EV_SYN, SYN_REPORT, 0);
            device_backend_event(&guest_device, 0, EPOLLIN);
            hear(down);
            rings_driver(0); /* with fresh rings */
            memset(down, 0, sizeof(down));
        }
    }
    say(EV_KEY, KEY_A, 1);
    say(EV_SYN, SYN_REPORT, 0);
    device_backend_event(&guest_device, 0, EPOLLIN);
    hear(down);
    for (unsigned int key = 0; key < KEY_CNT; key++) {
        if (((down[key / 8] & 1u << key % 8) != 0) != (key == KEY_A))
            violated("after a reset, key %u is %s", key, key == KEY_A ? "not heard" : "down");
    }
}

static void set(uint8_t *bits, unsigned int bit)
{
    bits[bit / 8] |= (uint8_t)(1u << bit % 8);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    guest_window_init();
    guest_fds(DEVICE_INPUT_VIRTIO, -1);
    start = guest_start(DEVICE_INPUT_VIRTIO);
    memset(start.of_kind.input.keys, 0xff, sizeof(start.of_kind.input.keys));
    set(start.of_kind.input.relative, REL_WHEEL);
    set(start.of_kind.input.absolute, ABS_X);
    set(start.of_kind.input.absolute, ABS_MT_SLOT);
    set(start.of_kind.input.absolute, ABS_MT_TRACKING_ID);
    set(start.of_kind.input.lights, LED_NUML);
    set(start.of_kind.input.lights, LED_CAPSL);
    set(start.of_kind.input.sounds, SND_BELL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = (struct input){data, size};
    memset(guest_memory, 0, MEMORY_SIZE);
    memset(&guest_state, 0, sizeof(guest_state));
    memset(pressed, 0, sizeof(pressed));
    said_count = 0;
    next_error = 0;
    guest_worker(&start);
    rings_driver(number(8));
    while (input.size > 0)
        act();
    recover();
    (void)guest_logged(LOG_RESET);
    return 0;
}
