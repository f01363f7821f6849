/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console and the entropy device against a hostile guest. Their files fail, fill up and lose
 * their readers at any moment. Successors get pages that a predecessor has spoilt. The first byte
 * chooses the device. Then each byte is an action, followed by its arguments, see act(). Whatever
 * has happened, the device works after a reset.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fuzz/rings.h"
#include "tests/fuzz/violated.h"
#include "worker/loop.h"
#include "worker/transport.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORT_FD(p) (WORKER_FD_BACKEND2 + (int)(p))
#define MEMORY_SIZE (GUEST_BUFFERS + 0x10000u) /* of the window: the guest writes to this part */
#define CALL_MAX 4096u

static struct message_start start;
static struct input input;

/* The files of the ports. */
static uint32_t readers;     /* bit p: somebody has it open */
static uint16_t room, typed; /* bytes that the files take, and give */
static int next_error;
static uint64_t written;

static uint64_t number(size_t bytes)
{
    return input_number(&input, bytes);
}

/* ---- Files ---- */

ssize_t __real_write(int fd, const void *from, size_t length);
ssize_t __wrap_write(int fd, const void *from, size_t length);
ssize_t __real_read(int fd, void *to, size_t length);
ssize_t __wrap_read(int fd, void *to, size_t length);
int __real_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask);
int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask);

static bool is_port(int fd)
{
    return start.kind == DEVICE_CONSOLE_VIRTIO && fd >= PORT_FD(0) &&
           fd < PORT_FD(STATE_CONSOLE_PORTS);
}

static ssize_t moved(int fd, const void *data, size_t length, uint16_t *limit)
{
    if (fd >= PORT_FD(start.of_kind.console.ports))
        violated("a call on a port that does not exist");
    if (length == 0 || length > CALL_MAX)
        violated("a call that is not bounded");
    errno = next_error;
    next_error = 0;
    if (errno != 0)
        return -1;
    size_t offset = (size_t)((const unsigned char *)data - guest_memory);
    if (offset >= GUEST_SIZE || length > GUEST_SIZE - offset)
        violated("a call on memory outside of the window");
    length = length < *limit ? length : *limit;
    *limit = (uint16_t)(*limit - length);
    errno = EAGAIN;
    return length > 0 ? (ssize_t)length : -1;
}

ssize_t __wrap_write(int fd, const void *from, size_t length)
{
    if (!is_port(fd))
        return __real_write(fd, from, length);
    bool in_window = (size_t)((const unsigned char *)from - guest_memory) < GUEST_SIZE;
    if (length == 1 && !in_window)
        return 1; /* emergency output: a copy of the register's value */
    ssize_t count = moved(fd, from, length, &room);
    written += count > 0 ? (uint64_t)count : 0;
    return count;
}

ssize_t __wrap_read(int fd, void *to, size_t length)
{
    if (!is_port(fd))
        return __real_read(fd, to, length);
    ssize_t count = moved(fd, to, length, &typed);
    if (count > 0)
        memset(to, 't', (size_t)count);
    return count;
}

int __wrap_epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask)
{
    int count = 0;
    if (fd != WORKER_FD_BACKEND)
        return __real_epoll_pwait2(fd, events, max, timeout, mask);
    for (unsigned int p = 0; p < start.of_kind.console.ports && count < max; p++) {
        if ((readers & 1u << p) == 0)
            events[count++] = (struct epoll_event){.events = EPOLLHUP, .data.u32 = p};
    }
    return count;
}

/* ---- The guest ---- */

static void offer(void)
{
    struct guest_ring *ring = &rings[number(1) % guest_device.queue_count];
    unsigned int first = (unsigned int)number(1) % RING_SIZE;
    for (uint64_t i = 0, count = 1 + number(1) % 4; i < count; i++)
        guest_desc(ring, (unsigned int)(first + i) % RING_SIZE,
                   GUEST_BASE + GUEST_BUFFERS + number(2), (uint32_t)number(2),
                   (uint16_t)(number(1) | (i + 1 < count ? VRING_DESC_F_NEXT : 0)),
                   (uint16_t)((first + i + 1) % RING_SIZE));
    guest_offer(ring, (uint16_t)first);
}

static void files(void)
{
    static const int errors[] = {0, 0, 0, 0, EAGAIN, EINTR, EIO, ENOSPC};
    readers = (uint32_t)number(1);
    room = (uint16_t)number(2);
    typed = (uint16_t)number(2);
    next_error = errors[number(1) % 8];
}

/* `which`: the port, and EPOLL* bits. */
static void event(uint32_t which)
{
    device_backend_event(&guest_device, 1 + which % start.of_kind.console.ports, which);
}

static void act(void)
{
    switch (number(1) % 13) {
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
        rings_settle();
        break;
    case 5:
        files();
        break;
    case 6:
        if (start.kind == DEVICE_CONSOLE_VIRTIO)
            event((uint32_t)number(1));
        break;
    case 7:
        (void)transport_read(&guest_device, (uint32_t)number(2) % 0x200, 1u << number(1) % 4);
        break;
    case 8: {
        uint32_t offset = (uint32_t)number(2) % 0x200;
        unsigned int width = 1u << number(1) % 4;
        transport_write(&guest_device, offset, width, number(8));
        break;
    }
    case 9: /* anything, anywhere */
        *(unsigned char *)guest_at(GUEST_BASE + number(3) % MEMORY_SIZE) = (unsigned char)number(1);
        break;
    case 10:
        guest_worker(&start);
        break;
    case 11:
        rings_spoil_page(&input);
        guest_worker(&start);
        break;
    case 12:
        if (guest_device.pause_ms > 0)
            device_pause_over(&guest_device);
        break;
    }
}

/* ---- Whatever has happened ---- */

static void expect_used(unsigned int queue, uint32_t length)
{
    struct vring_used_elem element = {.len = ~0u};
    if (!guest_used(&rings[queue], &element) || element.len != length)
        violated("after a reset, a queue does not work");
}

static void recover(void)
{
    const unsigned int output = start.kind == DEVICE_CONSOLE_VIRTIO ? 1 : 0;
    guest_state.backend.changes = 0;
    next_error = 0;
    readers = 0x7f;
    room = typed = 100;
    rings_driver(0);
    rings_settle();
    if ((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0)
        violated("after a reset, the device can't be set up");
    written = 0;
    guest_desc(&rings[0], 0, GUEST_BASE + GUEST_BUFFERS, 50, VRING_DESC_F_WRITE, 0);
    guest_offer(&rings[0], 0);
    device_notify(&guest_device, 0);
    if (output) {
        guest_desc(&rings[1], 0, GUEST_BASE + GUEST_BUFFERS, 100, 0, 0);
        guest_offer(&rings[1], 0);
        device_notify(&guest_device, 1);
    }
    rings_settle();
    /* The device waits in several pauses, as many as its patience of ten seconds has. */
    for (unsigned int i = 0; i < 200 && guest_device.pause_ms > 0; i++) {
        device_pause_over(&guest_device);
        rings_settle();
    }
    struct vring_used_elem element;
    if (output)
        expect_used(0, 50);
    else if (!guest_used(&rings[0], &element) || element.len == 0 || element.len > 50)
        violated("after a reset, there are no random bytes"); /* the limit may leave few */
    if (output)
        expect_used(1, 0);
    if (output && written != 100)
        violated("after a reset, output is lost");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    guest_window_init();
    guest_fds(DEVICE_CONSOLE_VIRTIO, -1);
    return 0;
}

static void choose(uint8_t which)
{
    unsigned int ports = which % 8;
    start = guest_start(ports == 0 ? DEVICE_RNG_VIRTIO : DEVICE_CONSOLE_VIRTIO);
    if (ports == 0) {
        start.of_kind.rng.rate_limit = which / 8 * 1000u;
        return;
    }
    strcpy(start.name, "console 15");
    start.of_kind.console.ports = ports;
    start.of_kind.console.files = 0x7f; /* no file can be watched */
    start.queue_count = ports == 1 ? 2 : 2 * ports + 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = (struct input){data, size};
    memset(guest_memory, 0, MEMORY_SIZE);
    memset(&guest_state, 0, sizeof(guest_state));
    choose((uint8_t)number(1));
    readers = 0x7f;
    room = typed = 0xffff;
    next_error = 0;
    guest_worker(&start);
    rings_driver(number(8));
    while (input.size > 0)
        act();
    recover();
    (void)guest_logged(LOG_RESET);
    return 0;
}
