/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device, against a vhost of this program's own. ioctl() here replaces the C library's,
 * and checks what the kernel would check.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_vsock.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/vhost_values.h"
#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/transport.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define RX 0
#define TX 1
#define EVENT 2

static struct fake_vhost {
    bool owned, running;
    uint64_t features;
    struct vhost_memory_region memory;
    struct {
        unsigned int num, base;
        int kick, call, error;
        struct vhost_vring_addr addr;
    } rings[2];
    unsigned int starts, stops, violations;
    unsigned long fail_request; /* this request fails with EFAULT */
} fake;

static struct guest_ring rings[3];
static struct message_start start;

static bool set_ring(unsigned long request, const void *argument)
{
    unsigned int index = *(const unsigned int *)argument;
    const struct vhost_vring_state *state = argument;
    const struct vhost_vring_file *file = argument;
    if (index > 1)
        return false;
    switch (request) {
    case VHOST_SET_VRING_NUM:
        fake.rings[index].num = state->num;
        return !fake.running;
    case VHOST_SET_VRING_BASE:
        fake.rings[index].base = state->num;
        return !fake.running;
    case VHOST_SET_VRING_ADDR:
        fake.rings[index].addr = *(const struct vhost_vring_addr *)argument;
        return true;
    case VHOST_SET_VRING_KICK:
        fake.rings[index].kick = file->fd;
        return true;
    case VHOST_SET_VRING_CALL:
        fake.rings[index].call = file->fd;
        return true;
    case VHOST_SET_VRING_ERR:
        fake.rings[index].error = file->fd;
        return true;
    default:
        return false;
    }
}

static bool set_running(int running)
{
    *(running ? &fake.starts : &fake.stops) += 1;
    fake.running = running != 0;
    return true;
}

static bool accepted(int fd, unsigned long request, const void *argument)
{
    if (fd != WORKER_FD_BACKEND || (!fake.owned && request != VHOST_SET_OWNER))
        return false;
    switch (request) {
    case VHOST_SET_OWNER:
        fake.owned = true;
        return true;
    case VHOST_SET_FEATURES:
        fake.features = *(const uint64_t *)argument;
        return true;
    case VHOST_SET_MEM_TABLE:
        memcpy(&fake.memory, (const char *)argument + offsetof(struct vhost_memory, regions),
               sizeof(fake.memory));
        return ((const struct vhost_memory *)argument)->nregions == 1;
    case VHOST_VSOCK_SET_RUNNING:
        return set_running(*(const int *)argument);
    default:
        return set_ring(request, argument);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    const void *argument = va_arg(arguments, const void *);
    va_end(arguments);
    if (request == fake.fail_request) {
        errno = EFAULT;
        return -1;
    }
    if (accepted(fd, request, argument))
        return 0;
    fake.violations++;
    errno = EINVAL;
    return -1;
}

static void worker(void)
{
    memset(&fake, 0, sizeof(fake));
    guest_fds(DEVICE_VSOCK_VHOST, -1);
    guest_worker(&start);
}

static void fresh(void)
{
    memset(&guest_state, 0, sizeof(guest_state));
    start = guest_start(DEVICE_VSOCK_VHOST);
    worker();
}

static void driver(uint64_t features)
{
    guest_negotiate(features);
    for (unsigned int q = 0; q < 3; q++) {
        guest_ring_init(&rings[q], q, (uint16_t)(64 << q));
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
}

static void offer_event(uint16_t head, uint32_t length)
{
    guest_desc(&rings[EVENT], head, GUEST_BASE + GUEST_BUFFERS + head * 16u, length,
               VRING_DESC_F_WRITE, 0);
    guest_offer(&rings[EVENT], head);
}

static uint64_t kicks(unsigned int queue)
{
    uint64_t count = 0;
    int fd = WORKER_FD_BACKEND + 2 + (int)queue;
    return read(fd, &count, sizeof(count)) < 0 ? 0 : count;
}

/* As in another process, which has mapped nothing. */
static int init_again(void)
{
    munmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE);
    return device_init(&guest_device, &start, &guest_state, guest_memory);
}

static void test_before_lock_down(void)
{
    fresh();
    CU_ASSERT_TRUE(fake.owned);
    CU_ASSERT_EQUAL(fake.violations, 0);
    CU_ASSERT_EQUAL(fake.memory.guest_phys_addr, GUEST_BASE);
    CU_ASSERT_EQUAL(fake.memory.memory_size, GUEST_SIZE);
    CU_ASSERT_EQUAL(fake.memory.userspace_addr, (uintptr_t)guest_memory);
    for (int q = 0; q < 2; q++) {
        CU_ASSERT_EQUAL(fake.rings[q].kick, WORKER_FD_BACKEND + 2 + q);
        CU_ASSERT_EQUAL(fake.rings[q].call, WORKER_FD_CALL);
        CU_ASSERT_EQUAL(fake.rings[q].error, WORKER_FD_BACKEND2);
    }
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_DEVICE_ID), 19);
    CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG, 8), 3);
    CU_ASSERT_EQUAL(transport_read(&guest_device, VIRTIO_MMIO_CONFIG + 8, 8), 0);
    CU_ASSERT_EQUAL(guest_device.config_size, 8);
    uint64_t features = guest_device.features;
    CU_ASSERT_EQUAL(
        features, VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_VSOCK_F_SEQPACKET |
                      1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC);

    start.of_kind.vsock.vhost_features = VERSION_1; /* as with an old kernel */
    fake.owned = false;
    CU_ASSERT_EQUAL(init_again(), 0);
    CU_ASSERT_EQUAL(guest_device.features, VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM);
    start.of_kind.vsock.vhost_features = 0;
    CU_ASSERT_EQUAL(init_again(), -EOPNOTSUPP);
    start.of_kind.vsock.vhost_features = ~0ull;
    fake.fail_request = VHOST_SET_OWNER;
    CU_ASSERT_EQUAL(init_again(), 0);
    CU_ASSERT_FALSE(fake.owned); /* not before the worker is confined */
    CU_ASSERT_EQUAL(device_confined(&guest_device), -EFAULT);
}

static void expect_programmed(unsigned int queue, unsigned int base)
{
    const struct guest_ring *ring = &rings[queue];
    const struct vhost_vring_addr *addr = &fake.rings[queue].addr;
    CU_ASSERT_EQUAL(fake.rings[queue].num, ring->size);
    CU_ASSERT_EQUAL(fake.rings[queue].base, base);
    CU_ASSERT_EQUAL(addr->flags, 0);
    CU_ASSERT_EQUAL(addr->desc_user_addr, (uintptr_t)ring->desc);
    CU_ASSERT_EQUAL(addr->avail_user_addr, (uintptr_t)ring->avail);
    CU_ASSERT_EQUAL(addr->used_user_addr, (uintptr_t)ring->used);
}

static void test_start_and_reset(void)
{
    fresh();
    for (unsigned int round = 1; round < 50; round++) {
        driver(guest_device.features);
        CU_ASSERT_TRUE(fake.running);
        CU_ASSERT_EQUAL(fake.starts, round);
        CU_ASSERT_EQUAL(fake.features, guest_device.features & ~(1ull << VIRTIO_F_ACCESS_PLATFORM));
        expect_programmed(RX, 0);
        expect_programmed(TX, 0);
        CU_ASSERT_EQUAL(kicks(RX), 1);
        CU_ASSERT_EQUAL(kicks(TX), 1);
        guest_write(VIRTIO_MMIO_STATUS, 0);
        CU_ASSERT_FALSE(fake.running);
        CU_ASSERT_EQUAL(fake.stops, round);
    }
    guest_write(VIRTIO_MMIO_STATUS, 0); /* a second reset does nothing */
    CU_ASSERT_EQUAL(fake.stops, 49);
    CU_ASSERT_EQUAL(fake.violations, 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
}

static void test_subset_of_features(void)
{
    fresh();
    driver(VERSION_1);
    CU_ASSERT_EQUAL(fake.features, VERSION_1);
}

static void test_notify_by_register(void)
{
    fresh();
    driver(VERSION_1);
    kicks(RX);
    kicks(TX);
    guest_write(VIRTIO_MMIO_QUEUE_NOTIFY, TX);
    CU_ASSERT_EQUAL(kicks(RX), 0);
    CU_ASSERT_EQUAL(kicks(TX), 1);
    guest_write(VIRTIO_MMIO_QUEUE_NOTIFY, 3);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
}

static void test_one_queue(void)
{
    fresh();
    guest_negotiate(VERSION_1);
    guest_driver_ok();
    for (unsigned int q = 0; q < 2; q++) {
        CU_ASSERT_EQUAL(fake.starts, 0);
        guest_ring_init(&rings[q], q, 64);
        guest_queue_setup(q, &rings[q]);
    }
    CU_ASSERT_EQUAL(fake.starts, 1);

    fresh();
    driver(VERSION_1);
    guest_write(VIRTIO_MMIO_QUEUE_SEL, EVENT);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    CU_ASSERT_TRUE(fake.running);
    guest_write(VIRTIO_MMIO_QUEUE_SEL, TX);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    CU_ASSERT_FALSE(fake.running);
    rings[RX].used->idx = rings[RX].avail->idx = 40; /* vhost goes on where it was */
    guest_ring_init(&rings[TX], TX, 32);
    guest_queue_setup(TX, &rings[TX]);
    CU_ASSERT_TRUE(fake.running);
    expect_programmed(RX, 40);
    expect_programmed(TX, 0);
    CU_ASSERT_EQUAL(fake.violations, 0);
}

static void expect_needs_reset(enum log_code code)
{
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    CU_ASSERT_FALSE(fake.running);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG) != 0);
    CU_ASSERT_EQUAL(guest_logged(code), 1);
    fake.fail_request = 0;
    driver(VERSION_1);
    CU_ASSERT_TRUE(fake.running);
}

static void test_vhost_refuses(void)
{
    static const unsigned long requests[] = {VHOST_SET_FEATURES, VHOST_SET_VRING_NUM,
                                             VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
                                             VHOST_VSOCK_SET_RUNNING};
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        fresh();
        fake.fail_request = requests[i];
        driver(VERSION_1);
        expect_needs_reset(LOG_VHOST_FAILED);
    }
}

static void test_ring_error(void)
{
    const uint64_t one = 1;
    fresh();
    driver(VERSION_1);
    CU_ASSERT_EQUAL(write(WORKER_FD_BACKEND2, &one, sizeof(one)), sizeof(one));
    guest_run();
    expect_needs_reset(LOG_VHOST_RING);
    guest_write(VIRTIO_MMIO_STATUS, 0); /* a late error is about rings that are gone */
    CU_ASSERT_EQUAL(write(WORKER_FD_BACKEND2, &one, sizeof(one)), sizeof(one));
    guest_run();
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
}

static void test_bad_rings(void)
{
    for (unsigned int queue = 0; queue < 3; queue++) {
        fresh();
        guest_negotiate(VERSION_1);
        for (unsigned int q = 0; q < 3; q++) {
            guest_ring_init(&rings[q], q, 64);
            if (q == queue)
                rings[q].used_addr += 2;
            guest_queue_setup(q, &rings[q]);
        }
        guest_driver_ok();
        CU_ASSERT_EQUAL(fake.starts, 0);
        expect_needs_reset(LOG_QUEUE_INVALID);
    }
}

/* ---- A successor ---- */

static void succeed(void)
{
    start.incarnation++;
    worker();
}

static void test_successor(void)
{
    fresh();
    driver(VERSION_1);
    for (uint16_t i = 0; i < 8; i++)
        offer_event(i, 4);
    guest_kick(EVENT);
    struct vring_used_elem element;
    CU_ASSERT_FALSE(guest_used(&rings[EVENT], &element)); /* kept until there is a buffer */
    rings[RX].avail->idx = 65535;
    rings[RX].used->idx = 65500;
    rings[TX].avail->idx = 3;
    rings[TX].used->idx = 65535;
    guest_interrupts();
    for (uint16_t i = 0; i < 3; i++) {
        succeed();
        CU_ASSERT_TRUE(fake.running);
        expect_programmed(RX, 65500);
        expect_programmed(TX, 65535);
        CU_ASSERT_EQUAL(kicks(RX), 1);
        CU_ASSERT_EQUAL(kicks(TX), 1);
        guest_run();
        CU_ASSERT_EQUAL(guest_interrupts(), 1); /* one for the successor and its event */
        uint32_t *id = guest_at(GUEST_BASE + GUEST_BUFFERS + i * 16u);
        CU_ASSERT_TRUE_FATAL(guest_used(&rings[EVENT], &element));
        CU_ASSERT_EQUAL(element.id, i);
        CU_ASSERT_EQUAL(element.len, 4);
        CU_ASSERT_EQUAL(*id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
        CU_ASSERT_FALSE(guest_used(&rings[EVENT], &element));
    }
    CU_ASSERT_EQUAL(fake.violations, 0);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    driver(VERSION_1); /* a driver that starts again has no connection to lose */
    offer_event(0, 4);
    guest_kick(EVENT);
    CU_ASSERT_FALSE(guest_used(&rings[EVENT], &element));
}

/* There is no buffer for the event yet. It is sent with the first one that comes. */
static void test_event_waits(void)
{
    struct vring_used_elem element;
    for (unsigned int split = 0; split < 2; split++) {
        fresh();
        driver(VERSION_1);
        succeed();
        guest_run();
        CU_ASSERT_EQUAL(rings[EVENT].used->flags, 0); /* the driver has to kick */
        CU_ASSERT_FALSE(guest_used(&rings[EVENT], &element));
        uint64_t buffer = GUEST_BASE + GUEST_BUFFERS;
        memset(guest_at(buffer), 0xff, 32);
        if (split == 1) {
            guest_desc(&rings[EVENT], 0, buffer, 3, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
            guest_desc(&rings[EVENT], 1, buffer + 3, 9, VRING_DESC_F_WRITE, 0);
            guest_offer(&rings[EVENT], 0);
        } else {
            offer_event(0, 4);
        }
        guest_kick(EVENT);
        CU_ASSERT_TRUE(guest_used(&rings[EVENT], &element));
        CU_ASSERT_EQUAL(element.len, 4);
        CU_ASSERT_EQUAL(*(uint32_t *)guest_at(buffer), 0);
        CU_ASSERT_EQUAL(*(unsigned char *)guest_at(buffer + 4), 0xff);
        offer_event(2, 4);
        guest_kick(EVENT);
        CU_ASSERT_FALSE(guest_used(&rings[EVENT], &element)); /* it comes only once */
    }
}

static void test_bad_event_queue(void)
{
    fresh();
    driver(VERSION_1);
    offer_event(0, 3);
    succeed();
    guest_interrupts();
    guest_logged(LOG_RESUMED);
    guest_run();
    expect_needs_reset(LOG_CHAIN_INVALID);
}

static void test_successor_of_bad_indices(void)
{
    fresh();
    driver(VERSION_1);
    rings[TX].avail->idx = 129;
    guest_interrupts();
    succeed();
    CU_ASSERT_EQUAL(fake.starts, 0);
    expect_needs_reset(LOG_AVAIL_INVALID);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"before lock-down", test_before_lock_down},
        {"start and reset", test_start_and_reset},
        {"subset of features", test_subset_of_features},
        {"notify by register", test_notify_by_register},
        {"one queue", test_one_queue},
        {"vhost refuses", test_vhost_refuses},
        {"ring error", test_ring_error},
        {"bad rings", test_bad_rings},
        {"successor", test_successor},
        {"event waits", test_event_waits},
        {"bad event queue", test_bad_event_queue},
        {"successor of bad indices", test_successor_of_bad_indices},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "vsock", tests);
}
