/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device with vhost, against a vhost-net and a tap of this program's own: ioctl() here
 * replaces the C library's.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "common/vhost_values.h"
#include "tests/cunit_main.h"
#include "tests/unit/guest.h"

#define BIT(n) (1ull << (n))
#define VHOST WORKER_FD_BACKEND
#define TAP (WORKER_FD_BACKEND + 1)
#define RING_ERROR (WORKER_FD_BACKEND + 2)
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET

static struct {
    bool owned;
    uint64_t features;
    unsigned long offloads;
    int backend[2]; /* of each ring; -1: none */
    unsigned int size[2], base[2];
    unsigned int violations;
    unsigned long fail_request; /* this request fails with EFAULT */
} fake;

static struct guest_ring rings[2];
static struct message_start start;

static bool ring_call(unsigned long request, const void *argument)
{
    const struct vhost_vring_state *state = argument;
    const struct vhost_vring_file *file = argument;
    unsigned int ring = state->index;
    if (ring > 1)
        return false;
    switch (request) {
    case VHOST_SET_VRING_NUM:
        fake.size[ring] = state->num;
        return fake.backend[ring] < 0;
    case VHOST_SET_VRING_BASE:
        fake.base[ring] = state->num;
        return fake.backend[ring] < 0;
    case VHOST_NET_SET_BACKEND:
        fake.backend[ring] = file->fd;
        return file->fd == -1 || (file->fd == TAP && fake.size[ring] != 0);
    case VHOST_SET_VRING_ADDR:
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_SET_VRING_ERR:
        return true;
    default:
        return false;
    }
}

static bool accepted(int fd, unsigned long request, void *argument)
{
    if (fd == TAP && request == TUNSETOFFLOAD) {
        fake.offloads = (unsigned long)(uintptr_t)argument;
        return fake.backend[0] < 0; /* set before the first frame comes */
    }
    if (fd != VHOST || (!fake.owned && request != VHOST_SET_OWNER))
        return false;
    if (request == VHOST_SET_OWNER || request == VHOST_SET_MEM_TABLE)
        return fake.owned = true;
    if (request != VHOST_SET_FEATURES)
        return ring_call(request, argument);
    fake.features = *(const uint64_t *)argument;
    return true;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
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
    fake.backend[0] = fake.backend[1] = -1;
    guest_fds(DEVICE_NET_VHOST, -1);
    guest_worker(&start);
}

static void fresh(void)
{
    memset(&guest_state, 0, sizeof(guest_state));
    start = guest_start(DEVICE_NET_VHOST);
    start.of_kind.net = (struct start_net){
        .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56},
        .mtu = 1500,
        .tun_offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
        .vhost_features = ~0ull,
    };
    worker();
}

static void driver(uint64_t features)
{
    guest_negotiate(features);
    for (unsigned int q = 0; q < 2; q++) {
        guest_ring_init(&rings[q], q, (uint16_t)(64 << q));
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
}

static bool connected(void)
{
    return fake.backend[0] == TAP && fake.backend[1] == TAP;
}

static void test_features(void)
{
    fresh();
    uint64_t offered = guest_device.features;
    CU_ASSERT_EQUAL(offered & (BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ) |
                               BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_F_RING_PACKED)),
                    0);
    driver(offered);
    CU_ASSERT_TRUE(connected());
    /* vhost must not use an IOMMU, nor add headers itself. The tap gets the offloads that the
     * driver has accepted. */
    CU_ASSERT_EQUAL(fake.features & (BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(27)), 0);
    CU_ASSERT_EQUAL(fake.features, BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
                                       BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1));
    CU_ASSERT_EQUAL(fake.offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_EQUAL(fake.backend[0] & fake.backend[1], -1);
    driver(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_GUEST_TSO4));
    CU_ASSERT_EQUAL(fake.offloads, 0); /* without GUEST_CSUM the rest has no meaning */
    CU_ASSERT_EQUAL(fake.violations, 0);
}

/* Exactly what the kernel, the tap and this device have together. */
static void test_offered(void)
{
    fresh();
    const uint64_t offloads = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
                              BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
                              BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
                              BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_ECN);
    const uint64_t always = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) |
                            BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
                            BIT(VIRTIO_NET_F_MTU);
    const uint64_t of_vhost = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
                              BIT(VIRTIO_RING_F_EVENT_IDX);
    CU_ASSERT_EQUAL(guest_device.features, offloads | always | of_vhost);
    CU_ASSERT_EQUAL(guest_device.backend_events, BIT(RING_ERROR - VHOST));
    CU_ASSERT_EQUAL(guest_device.user_queues, 0);
    struct virtio_net_config config;
    memcpy(&config, guest_device.config, sizeof(config));
    CU_ASSERT_EQUAL(memcmp(config.mac, start.of_kind.net.mac, sizeof(config.mac)), 0);
    CU_ASSERT(config.status == VIRTIO_NET_S_LINK_UP && config.max_virtqueue_pairs == 1 &&
              config.mtu == 1500);
    start.of_kind.net.vhost_features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX);
    worker();
    CU_ASSERT_EQUAL(guest_device.features, offloads | always | BIT(VIRTIO_RING_F_EVENT_IDX));
    /* A kernel that does not have the standard's version 1 is of no use. */
    start.of_kind.net.vhost_features = ~BIT(VIRTIO_F_VERSION_1);
    CU_ASSERT_EQUAL(net_vhost_ops.init(&guest_device, &start), -EOPNOTSUPP);
}

static void test_values_are_mapped_once(void)
{
    fresh();
    start.of_kind.net.vhost_features = ~0ull;
    CU_ASSERT_EQUAL(net_vhost_ops.init(&guest_device, &start), -EEXIST);
    CU_ASSERT_EQUAL(munmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE), 0);
    CU_ASSERT_EQUAL(net_vhost_ops.init(&guest_device, &start), 0);
}

/* The kernel can't be told of a feature that is switched off, whatever the state page says. */
static void test_features_off(void)
{
    fresh();
    start.features_off = BIT(VIRTIO_RING_F_EVENT_IDX);
    worker();
    CU_ASSERT_EQUAL(guest_device.features & BIT(VIRTIO_RING_F_EVENT_IDX), 0);
    driver(guest_device.features);
    CU_ASSERT_EQUAL(fake.features, BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
                                       BIT(VIRTIO_F_VERSION_1));
    for (uintptr_t at = VHOST_VALUES_FEATURES;
         at <= (VHOST_VALUES_FEATURES | VHOST_VALUES_FEATURES_BITS); at += sizeof(uint64_t))
        CU_ASSERT_EQUAL(*(const uint64_t *)at & BIT(VIRTIO_RING_F_EVENT_IDX), 0);
}

/* ---- Rings ---- */

static bool disconnected(void)
{
    return fake.backend[0] == -1 && fake.backend[1] == -1;
}

static uint64_t kicks(unsigned int queue)
{
    uint64_t count = 0;
    return read(device_kick_fd(&guest_device, queue), &count, sizeof(count)) < 0 ? 0 : count;
}

/* The kernel serves both rings or none. When it begins, it looks at what came before. */
static void test_rings_come_and_go(void)
{
    fresh();
    guest_negotiate(guest_device.features);
    guest_driver_ok();
    CU_ASSERT_TRUE(disconnected());
    for (unsigned int first = 0; first < 2; first++) {
        for (unsigned int q = 0; q < 2; q++)
            guest_ring_init(&rings[q], q, 64);
        struct guest_fault fault;
        guest_queue_setup(first, &rings[first]);
        CU_ASSERT_TRUE(disconnected());
        CU_ASSERT_EQUAL(net_vhost_ops.queue_start(&guest_device, first, &fault), 0);
        CU_ASSERT(kicks(0) == 0 && kicks(1) == 0);
        guest_queue_setup(1 - first, &rings[1 - first]);
        CU_ASSERT_TRUE(connected());
        CU_ASSERT(kicks(0) == 1 && kicks(1) == 1);
        for (unsigned int q = 0; q < 2; q++) {
            guest_write(VIRTIO_MMIO_QUEUE_SEL, q == 0 ? first : 1 - first);
            guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
            CU_ASSERT_TRUE(disconnected());
        }
    }
    CU_ASSERT_EQUAL(fake.violations, 0);
}

/* If the kernel does not let go of the rings, the end of this process makes it. */
static void test_kernel_holds_on(void)
{
    int status = -1;
    fresh();
    driver(guest_device.features);
    pid_t pid = fork();
    if (pid == 0) {
        fake.fail_request = VHOST_NET_SET_BACKEND;
        guest_write(VIRTIO_MMIO_STATUS, 0);
        _exit(78);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
}

static void test_successor(void)
{
    fresh();
    const uint32_t generation = guest_state.transport.config_generation;
    driver(guest_device.features);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation); /* it reads it anyway */
    rings[0].used->idx = 7;
    rings[0].avail->idx = 9;
    (void)guest_interrupts();
    worker();
    CU_ASSERT_TRUE(connected());
    CU_ASSERT_EQUAL(fake.base[0], 7);
    CU_ASSERT_EQUAL(fake.base[1], 0);
    CU_ASSERT(guest_interrupts() > 0);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 1);
    CU_ASSERT_EQUAL(fake.violations, 0);
}

static void test_failures(void)
{
    static const unsigned long calls[] = {VHOST_SET_FEATURES, VHOST_SET_VRING_NUM,
                                          VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
                                          VHOST_NET_SET_BACKEND};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        fresh();
        fake.fail_request = calls[i];
        driver(guest_device.features);
        CU_ASSERT((guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET) != 0);
        CU_ASSERT_EQUAL(guest_logged(LOG_VHOST_FAILED), 1);
        CU_ASSERT_FALSE(connected());
        fake.fail_request = 0;
        driver(guest_device.features);
        CU_ASSERT_TRUE(connected());
    }
}

static void test_ring_error(void)
{
    fresh();
    driver(guest_device.features);
    CU_ASSERT_TRUE(eventfd_signal(RING_ERROR));
    guest_run();
    CU_ASSERT((guest_read(VIRTIO_MMIO_STATUS) & NEEDS_RESET) != 0);
    CU_ASSERT_EQUAL(fake.backend[0] & fake.backend[1], -1);
    CU_ASSERT_EQUAL(guest_logged(LOG_VHOST_RING), 1);

    /* An event that comes late, about rings that were taken back, is for nobody. */
    struct guest_fault fault;
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_EQUAL(net_vhost_ops.backend_event(&guest_device, RING_ERROR - VHOST, 1, &fault), 0);
    driver(guest_device.features);
    CU_ASSERT_EQUAL(net_vhost_ops.backend_event(&guest_device, TAP - VHOST, 1, &fault), 0);
    CU_ASSERT_EQUAL(net_vhost_ops.backend_event(&guest_device, RING_ERROR - VHOST, 1, &fault),
                    -EBADMSG);
    CU_ASSERT_EQUAL(fault.code, LOG_VHOST_RING);
}

static void test_link(void)
{
    fresh();
    driver(guest_device.features);
    (void)guest_interrupts();
    atomic_fetch_add(&guest_state.backend.changes, 1); /* link_up is 0 */
    guest_run();
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_device.config[offsetof(struct virtio_net_config, status)], 0);
    guest_run();
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
    guest_state.backend.link_up = 1;
    atomic_fetch_add(&guest_state.backend.changes, 1);
    guest_run();
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_device.config[offsetof(struct virtio_net_config, status)],
                    VIRTIO_NET_S_LINK_UP);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"features", test_features},
        {"what is offered", test_offered},
        {"values are mapped once", test_values_are_mapped_once},
        {"features that are switched off", test_features_off},
        {"rings come and go", test_rings_come_and_go},
        {"a kernel that holds on", test_kernel_holds_on},
        {"a successor goes on", test_successor},
        {"calls that fail", test_failures},
        {"a malformed ring", test_ring_error},
        {"the link changes", test_link},
        CU_TEST_INFO_NULL,
    };
    guest_window_init();
    return run_tests(argc, argv, "network device by vhost", tests);
}
