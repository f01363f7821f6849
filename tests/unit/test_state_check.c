/* SPDX-License-Identifier: Apache-2.0 */
/* State pages that no correct worker has written. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/state_check.h"
#include "worker/transport.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET

static struct guest_ring ring;
static struct message_start start;
static int image = -1;

/* A device that a first worker has started. */
static void running(void)
{
    memset(&guest_state, 0, sizeof(guest_state));
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    guest_worker(&start);
    guest_ring_init(&ring, 0, 16);
    guest_negotiate(VERSION_1);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    guest_run();
    guest_interrupts();
    guest_logged(LOG_STATE_INVALID);
    start.incarnation = 1;
}

static bool serves(void)
{
    struct vring_used_elem element;
    const struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_FLUSH};
    memcpy(guest_at(GUEST_BASE + GUEST_BUFFERS), &header, sizeof(header));
    guest_desc(&ring, 0, GUEST_BASE + GUEST_BUFFERS, 16, VRING_DESC_F_NEXT, 1);
    guest_desc(&ring, 1, GUEST_BASE + GUEST_BUFFERS + 16, 1, VRING_DESC_F_WRITE, 0);
    guest_offer(&ring, 0);
    guest_kick(0);
    return guest_used(&ring, &element);
}

/* Asserts that the driver can recover the device, whatever the page held. */
static void expect_recoverable(void)
{
    guest_ring_init(&ring, 0, 16);
    guest_negotiate(VERSION_1);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    CU_ASSERT_TRUE(serves());
}

static void test_good_page(void)
{
    running();
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    guest_worker(&start);
    CU_ASSERT_EQUAL(guest_logged(LOG_RESUMED), 1);
    CU_ASSERT_TRUE(serves());
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
}

/* The worker is restarted while the driver is setting up the device. The driver goes on where it
 * was. */
static void test_half_way(void)
{
    running();
    guest_negotiate(VERSION_1);
    guest_worker(&start);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 11);
    guest_ring_init(&ring, 0, 16);
    guest_queue_setup(0, &ring);
    guest_worker(&start);
    CU_ASSERT_EQUAL(guest_interrupts(), 0); /* §2.1.2: none before DRIVER_OK */
    guest_driver_ok();
    CU_ASSERT_TRUE(serves());
}

static void test_fresh_page(void)
{
    running();
    memset(&guest_state, 0, sizeof(guest_state));
    guest_state.mailbox.request_seq = 7; /* from the broker; no worker has written anything */
    CU_ASSERT_TRUE(state_is_fresh(&guest_state));
    guest_worker(&start); /* its predecessor died before it wrote anything */
    CU_ASSERT_EQUAL(guest_state.magic, STATE_MAGIC);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
    expect_recoverable();

    memset(&guest_state, 0, sizeof(guest_state));
    guest_state.transport.status = 1;
    CU_ASSERT_FALSE(state_is_fresh(&guest_state));
    memset(&guest_state, 0, sizeof(guest_state));
    guest_state.queues[STATE_QUEUES_MAX - 1].device = 1ull << 63;
    CU_ASSERT_FALSE(state_is_fresh(&guest_state));
}

enum change {
    CHANGE_MAGIC,
    CHANGE_NO_MAGIC,
    CHANGE_VERSION,
    CHANGE_KIND,
    CHANGE_QUEUES,
    CHANGE_STATUS_BIT,
    CHANGE_STATUS_HIGH,
    CHANGE_STATUS_ORDER,
    CHANGE_FEATURES,
    CHANGE_NO_VERSION_1,
    CHANGE_BEYOND,
    CHANGE_READY,
    CHANGE_SIZE_0,
    CHANGE_SIZE_ODD,
    CHANGE_SIZE_LARGE,
    CHANGE_DESC,
    CHANGE_DRIVER,
    CHANGE_DEVICE,
    CHANGE_BATCH,
    CHANGE_AVAIL,
    CHANGES,
};

static enum state_check apply_to_queue(enum change change, struct state_queue *queue)
{
    switch (change) {
    case CHANGE_READY:
        queue->ready = 2;
        return STATE_BAD_READY;
    case CHANGE_SIZE_0:
        queue->size = 0;
        return STATE_BAD_RING;
    case CHANGE_SIZE_ODD:
        queue->size = 15;
        return STATE_BAD_RING;
    case CHANGE_SIZE_LARGE:
        queue->size = 512;
        return STATE_BAD_RING;
    case CHANGE_DESC:
        queue->desc += 1;
        return STATE_BAD_RING;
    case CHANGE_DRIVER:
        queue->driver = UINT64_MAX - 1;
        return STATE_BAD_RING;
    case CHANGE_DEVICE:
        queue->device = GUEST_BASE + GUEST_SIZE - 4;
        return STATE_BAD_RING;
    case CHANGE_BATCH:
        queue->batch_end = (uint16_t)(queue->next_used + 17);
        return STATE_BAD_INDEX;
    case CHANGE_AVAIL:
        queue->next_avail = (uint16_t)(queue->next_used - 1);
        return STATE_BAD_INDEX;
    default:
        abort();
    }
}

static enum state_check apply(enum change change)
{
    struct state_page *page = &guest_state;
    switch (change) {
    case CHANGE_MAGIC:
        page->magic ^= 1;
        return STATE_BAD_MAGIC;
    case CHANGE_NO_MAGIC:
        page->magic = 0;
        return STATE_BAD_MAGIC;
    case CHANGE_VERSION:
        page->version++;
        return STATE_BAD_VERSION;
    case CHANGE_KIND:
        page->kind = DEVICE_VSOCK_VHOST;
        return STATE_BAD_KIND;
    case CHANGE_QUEUES:
        page->queue_count = UINT32_MAX;
        return STATE_BAD_KIND;
    case CHANGE_STATUS_BIT:
        page->transport.status |= 0x10;
        return STATE_BAD_STATUS;
    case CHANGE_STATUS_HIGH:
        page->transport.status |= 0x80000000;
        return STATE_BAD_STATUS;
    case CHANGE_STATUS_ORDER:
        page->transport.status &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
        return STATE_BAD_STATUS;
    case CHANGE_FEATURES:
        page->transport.driver_features |= 1ull << VIRTIO_F_ORDER_PLATFORM;
        return STATE_BAD_FEATURES;
    case CHANGE_NO_VERSION_1:
        page->transport.driver_features = 0;
        return STATE_BAD_FEATURES;
    case CHANGE_BEYOND:
        page->transport.driver_features_beyond = 1;
        return STATE_BAD_FEATURES;
    default:
        return apply_to_queue(change, &page->queues[0]);
    }
}

static void test_each_field(void)
{
    for (enum change change = 0; change < CHANGES; change++) {
        running();
        enum state_check expected = apply(change);
        CU_ASSERT_EQUAL(state_check(&guest_device), expected);
        guest_worker(&start);
        guest_run();
        CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET) != 0);
        CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_DRIVER_OK) != 0);
        CU_ASSERT_EQUAL(guest_interrupts(), 1);
        CU_ASSERT_EQUAL(guest_logged(LOG_STATE_INVALID), 1);
        CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 1);
        /* The next worker does not report again that the device needs a reset. */
        CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
        CU_ASSERT_FALSE(serves());
        expect_recoverable();
    }
}

/* What is correct depends on the format. This is a page of a packed ring, whose size need not be a
 * power of 2. */
static void test_packed_page(void)
{
    struct state_queue *queue = &guest_state.queues[0];
    running();
    guest_ring_init(&ring, 0, 12);
    guest_negotiate(VERSION_1 | 1ull << VIRTIO_F_RING_PACKED);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    CU_ASSERT_EQUAL_FATAL(guest_read(VIRTIO_MMIO_STATUS), 15);
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    queue->next_avail = STATE_POSITION_LAP; /* the whole ring has been taken */
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    queue->batch_end = 2;
    queue->batch_count = 2;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_BAD_INDEX);
    queue->batch[0].descriptors = 1;
    queue->batch[1].descriptors = 1;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    queue->batch_count = UINT16_MAX;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_BAD_INDEX);
    queue->batch_count = 2;
    queue->next_used = 12;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_BAD_INDEX);
    queue->next_used = 0;
    queue->driver += 2;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_BAD_RING);
    guest_worker(&start);
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET) != 0);
    expect_recoverable();
}

/* The driver has described its ring, in either format, but has not yet set DRIVER_OK. */
static void half_way(uint64_t features)
{
    running();
    guest_ring_init(&ring, 0, 16);
    guest_negotiate(VERSION_1 | features);
    guest_queue_setup(0, &ring);
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
}

/*
 * A queue is ready, but the status says that the device does not run. If its driver goes on, the
 * queue will be served. So its positions are checked nevertheless. Before DRIVER_OK, a correct
 * worker could have written only one position.
 */
static void test_positions_whatever_the_status(void)
{
    static const uint32_t statuses[] = {0, 1, 3, 11, 11 | NEEDS_RESET, NEEDS_RESET};
    static const uint16_t positions[] = {1, 5, 16, 2000, 0x7fff, 0x8000, 0xffff};
    for (size_t s = 0; s < sizeof(statuses) / sizeof(statuses[0]); s++) {
        for (size_t p = 0; p < 3 * sizeof(positions) / sizeof(positions[0]); p++) {
            uint16_t position = positions[p / 3];
            half_way(p % 2 == 0 ? 0 : 1ull << VIRTIO_F_RING_PACKED);
            struct state_queue *queue = &guest_state.queues[0];
            guest_state.transport.status = statuses[s];
            *(p % 3 == 0   ? &queue->next_used
              : p % 3 == 1 ? &queue->batch_end
                           : &queue->next_avail) = position;
            CU_ASSERT_EQUAL(state_check(&guest_device), STATE_BAD_INDEX);
            guest_worker(&start);
            guest_driver_ok();
            CU_ASSERT_FALSE(serves());
            CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET) != 0);
            CU_ASSERT_EQUAL(guest_logged(LOG_STATE_INVALID), 1);
            expect_recoverable();
        }
    }
}

/* The same with a device that ran and needs a reset: its positions are those of a running device.
 */
static void test_positions_of_a_device_that_needs_reset(void)
{
    running();
    CU_ASSERT_TRUE(serves());
    guest_state.transport.status |= NEEDS_RESET;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    guest_state.queues[0].batch_end = (uint16_t)(guest_state.queues[0].next_used + 17);
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_BAD_INDEX);
    guest_state.queues[0].batch_end = guest_state.queues[0].next_used;
    guest_state.queues[0].size = 15;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_BAD_INDEX); /* so it can't have run */
}

/* A driver may describe nonsense until it sets DRIVER_OK. That is the driver's error, not an
 * invalid page. */
static void test_bad_ring_before_driver_ok(void)
{
    half_way(0);
    guest_state.queues[0].size = 0;
    guest_state.queues[0].desc = UINT64_MAX;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    guest_worker(&start);
    CU_ASSERT_EQUAL(guest_logged(LOG_STATE_INVALID), 0);
    guest_driver_ok();
    CU_ASSERT_EQUAL(guest_logged(LOG_QUEUE_INVALID), 1);
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET) != 0);
    expect_recoverable();
}

/* Even if nobody has checked the page before, a ring is not served from a position that is not
 * valid. */
static void test_start_refuses_positions(void)
{
    static struct virtqueue vq;
    struct guest_fault fault;
    for (unsigned int packed = 0; packed < 2; packed++) {
        uint64_t features = VERSION_1 | (packed ? 1ull << VIRTIO_F_RING_PACKED : 0);
        for (unsigned int field = 0; field < 3; field++) {
            guest_ring_init(&ring, 0, 16);
            struct state_queue queue = guest_ring_state(&ring);
            *(field == 0   ? &queue.next_used
              : field == 1 ? &queue.batch_end
                           : &queue.next_avail) = 2000;
            CU_ASSERT_EQUAL(virtqueue_start(&vq, 0, &guest_window, &queue, 256, features, &fault),
                            -EBADMSG);
            CU_ASSERT_EQUAL(fault.code, LOG_POSITION_INVALID);
            CU_ASSERT_FALSE(vq.running);
        }
    }
}

/* A worker that dies in the middle of a reset leaves nothing that its successor must reject. */
static void test_positions_of_half_a_reset(void)
{
    running();
    CU_ASSERT_TRUE(serves());
    guest_state.queues[0].ready = 0;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    guest_state.transport.status = 0;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
    guest_state.transport.driver_features = 0;
    CU_ASSERT_EQUAL(state_check(&guest_device), STATE_OK);
}

/* §2.1.2: a driver that does not run yet is notified when it does. */
static void test_invalid_before_driver_ok(void)
{
    running();
    guest_negotiate(VERSION_1);
    guest_state.queues[0].ready = 3;
    guest_worker(&start);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS), 11 | NEEDS_RESET);
    guest_driver_ok();
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    CU_ASSERT_FALSE(serves());
    expect_recoverable();
}

/* Some bytes of a good page, or all of them, are random. Then a driver goes on as if nothing had
 * happened. */
static void test_random_pages(void)
{
    unsigned int invalid = 0;
    for (unsigned int round = 0; round < 5000; round++) {
        running();
        unsigned char *bytes = (unsigned char *)&guest_state;
        if (round % 16 == 0) {
            for (size_t i = 0; i < sizeof(guest_state); i++)
                bytes[i] = (unsigned char)guest_random();
        }
        for (unsigned int i = 0; i < 1 + round % 8; i++) {
            size_t at = guest_random() % 4
                            ? offsetof(struct state_page, transport) +
                                  guest_random() % sizeof(struct state_transport)
                            : offsetof(struct state_page, queues) +
                                  guest_random() % offsetof(struct state_queue, batch);
            bytes[at] ^= (unsigned char)(1u << guest_random() % 8);
        }
        if (guest_random() % 2)
            *(uint64_t *)guest_at(GUEST_BASE + guest_random() % 0x800 * 8) = guest_random();
        guest_worker(&start);
        serves();
        for (uint32_t offset = 0; offset < 0x180; offset += 4)
            guest_read(offset);
        invalid += (guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET) != 0;
        expect_recoverable();
    }
    CU_ASSERT_TRUE(invalid > 1000);
}

int main(int argc, char **argv)
{
    image = memfd_create("image", MFD_CLOEXEC);
    if (image < 0 || ftruncate(image, 1 << 20) < 0)
        return EXIT_FAILURE;
    image = fcntl(image, F_DUPFD_CLOEXEC, 100); /* a worker's files have the low numbers */
    guest_window_init();
    CU_TestInfo tests[] = {
        {"good page", test_good_page},
        {"half way", test_half_way},
        {"fresh page", test_fresh_page},
        {"each field", test_each_field},
        {"packed page", test_packed_page},
        {"positions whatever the status", test_positions_whatever_the_status},
        {"positions, needs reset", test_positions_of_a_device_that_needs_reset},
        {"bad ring before DRIVER_OK", test_bad_ring_before_driver_ok},
        {"start refuses positions", test_start_refuses_positions},
        {"positions, half a reset", test_positions_of_half_a_reset},
        {"invalid before DRIVER_OK", test_invalid_before_driver_ok},
        {"random pages", test_random_pages},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "state check", tests);
}
