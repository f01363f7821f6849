/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket device, VirtIO 1.2 §5.10, with the kernel's vhost-vsock serving rx and tx; the event
 * queue is served here.
 *
 * What needs no guest is done before lock-down: owner, memory table, and the eventfds of each
 * ring. After it, system calls on WORKER_FD_BACKEND: ioctl with VHOST_SET_FEATURES,
 * VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_VSOCK_SET_RUNNING;
 * and write on the kick eventfds of rx and tx.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_vsock.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "worker/device.h"
#include "worker/log.h"
#include "worker/vsock_event.h"

#define VHOST_QUEUES 2u /* rx and tx */
#define ERROR_FILE 1u   /* WORKER_FD_BACKEND2: the kernel met a malformed ring */

static struct {
    bool running;       /* the kernel is at the rings */
    bool reset_pending; /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is to be sent */
} vsock;

/*
 * Offered as far as the kernel has them. Not VIRTIO_F_ACCESS_PLATFORM, which means to vhost
 * that it shall ask for each translation, and not VHOST_F_LOG_ALL.
 */
static const uint64_t vhost_offered = 1ull << VIRTIO_VSOCK_F_SEQPACKET |
                                      1ull << VIRTIO_RING_F_INDIRECT_DESC |
                                      1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_VERSION_1;

static int vhost(unsigned long request, const void *argument)
{
    return ioctl(WORKER_FD_BACKEND, request, argument) < 0 ? -errno : 0;
}

static int set_memory(const struct device *dev)
{
    union {
        struct vhost_memory table;
        unsigned char bytes[sizeof(struct vhost_memory) + sizeof(struct vhost_memory_region)];
    } memory = {.table = {.nregions = 1}};
    const struct vhost_memory_region region = {
        .guest_phys_addr = dev->window.guest_base,
        .memory_size = dev->window.size,
        .userspace_addr = (uintptr_t)dev->window.base,
    };
    memcpy(memory.bytes + offsetof(struct vhost_memory, regions), &region, sizeof(region));
    return vhost(VHOST_SET_MEM_TABLE, &memory);
}

static int set_eventfds(const struct device *dev, unsigned int queue)
{
    const struct {
        unsigned long request;
        int fd;
    } files[] = {
        {VHOST_SET_VRING_KICK, device_kick_fd(dev, queue)},
        {VHOST_SET_VRING_CALL, WORKER_FD_IRQ},
        {VHOST_SET_VRING_ERR, WORKER_FD_BACKEND + (int)ERROR_FILE},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(files) / sizeof(files[0]); i++)
        r = vhost(files[i].request, &(struct vhost_vring_file){queue, files[i].fd});
    return r;
}

static int vsock_init(struct device *dev, const struct message_start *start)
{
    memset(&vsock, 0, sizeof(vsock));
    dev->features = start->vsock.vhost_features & vhost_offered;
    if ((dev->features & 1ull << VIRTIO_F_VERSION_1) == 0)
        return -EOPNOTSUPP;
    const struct virtio_vsock_config config = {.guest_cid = start->vsock.guest_cid};
    memcpy(dev->config, &config, sizeof(config));
    dev->config_size = sizeof(config);
    dev->user_queues = 1u << QUEUE_EVENT;
    dev->backend_events = 1u << ERROR_FILE;
    return 0;
}

/*
 * The owner becomes so when it is confined: since Linux 6.4 the kernel's part of the device runs
 * in a thread of the owner's process, with the user, capabilities and root that it has then. Two
 * threads would also keep the process out of a user namespace of its own.
 */
static int vsock_confined(struct device *dev)
{
    int r = vhost(VHOST_SET_OWNER, NULL);
    if (r == 0)
        r = set_memory(dev);
    for (unsigned int q = 0; r == 0 && q < VHOST_QUEUES; q++)
        r = set_eventfds(dev, q);
    return r;
}

/* ---- Starting and stopping the kernel's part ---- */

static int vhost_fault(unsigned long request, int error, struct guest_fault *ret_fault)
{
    *ret_fault = (struct guest_fault){LOG_VHOST_FAILED, {request, (uint64_t)-error}};
    return -EBADMSG;
}

/*
 * Where the kernel goes on in a ring. It completes in order and leaves nothing half-done when it
 * is stopped, so that is the used index: 0 in a new ring, and in one that a predecessor's kernel
 * part served, the first chain that is not completed. The guest could write anything there; the
 * kernel copes with that, but the driver's mistake shall be named.
 */
static int ring_base(const struct device *dev, unsigned int queue, uint16_t *ret_base,
                     struct guest_fault *ret_fault)
{
    const struct state_queue *state = &dev->state->queues[queue];
    const struct vring_avail *avail = window_translate(
        &dev->window, (struct guest_addr){state->driver}, offsetof(struct vring_avail, ring));
    const struct vring_used *used = window_translate(
        &dev->window, (struct guest_addr){state->device}, offsetof(struct vring_used, ring));
    uint16_t used_idx = guest_load16(&used->idx);
    uint16_t avail_idx = guest_load16(&avail->idx);
    if ((uint16_t)(avail_idx - used_idx) > state->size) {
        *ret_fault = (struct guest_fault){LOG_AVAIL_INVALID, {queue, avail_idx, used_idx}};
        return -EBADMSG;
    }
    *ret_base = used_idx;
    return 0;
}

static int program_ring(const struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    const struct state_queue *state = &dev->state->queues[queue];
    uint16_t base;
    int r = ring_base(dev, queue, &base, ret_fault);
    if (r < 0)
        return r;
    uintptr_t window = (uintptr_t)dev->window.base;
    const struct vhost_vring_state num = {.index = queue, .num = state->size};
    const struct vhost_vring_state first = {.index = queue, .num = base};
    const struct vhost_vring_addr addr = {
        .index = queue,
        .desc_user_addr = window + (state->desc - dev->window.guest_base),
        .avail_user_addr = window + (state->driver - dev->window.guest_base),
        .used_user_addr = window + (state->device - dev->window.guest_base),
    };
    const struct {
        unsigned long request;
        const void *argument;
    } calls[] = {
        {VHOST_SET_VRING_NUM, &num},
        {VHOST_SET_VRING_BASE, &first},
        {VHOST_SET_VRING_ADDR, &addr},
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        r = vhost(calls[i].request, calls[i].argument);
        if (r < 0)
            return vhost_fault(calls[i].request, r, ret_fault);
    }
    return 0;
}

static int set_running(int running)
{
    return vhost(VHOST_VSOCK_SET_RUNNING, &running);
}

/* A kernel that cannot be kept off the rings any other way is by the end of this process. */
static void stop_kernel(void)
{
    if (vsock.running && set_running(0) < 0)
        _exit(EXIT_FAILURE);
    vsock.running = false;
}

/* Both rings have been checked by the caller; a socket device with one of them is of no use. */
static int start_kernel(struct device *dev, struct guest_fault *ret_fault)
{
    const struct state_queue *queues = dev->state->queues;
    if (queues[QUEUE_RX].ready == 0 || queues[QUEUE_TX].ready == 0)
        return 0;
    uint64_t features = dev->state->transport.driver_features & vhost_offered;
    int r = vhost(VHOST_SET_FEATURES, &features);
    if (r < 0)
        return vhost_fault(VHOST_SET_FEATURES, r, ret_fault);
    for (unsigned int q = 0; q < VHOST_QUEUES; q++) {
        r = program_ring(dev, q, ret_fault);
        if (r < 0)
            return r;
    }
    r = set_running(1);
    if (r < 0)
        return vhost_fault(VHOST_VSOCK_SET_RUNNING, r, ret_fault);
    vsock.running = true;
    /* What was made available before the kernel ran has had its kick, which nobody heard. */
    for (unsigned int q = 0; q < VHOST_QUEUES; q++)
        (void)eventfd_signal(device_kick_fd(dev, q));
    return 0;
}

static int vsock_start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    /* §5.10.6.7: the connections of a predecessor are gone, and the guest's sockets shall fail
     * at once instead of waiting for an answer. */
    vsock.reset_pending = resumed;
    return start_kernel(dev, ret_fault);
}

static void vsock_stop(struct device *dev)
{
    (void)dev;
    stop_kernel();
    vsock.reset_pending = false;
}

static int vsock_queue_start(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    return queue == QUEUE_EVENT ? 0 : start_kernel(dev, ret_fault);
}

static void vsock_queue_stop(struct device *dev, unsigned int queue)
{
    (void)dev;
    if (queue != QUEUE_EVENT)
        stop_kernel();
}

/* ---- Events ---- */

static int vsock_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    (void)queue; /* the kernel serves the others */
    return vsock_event_turn(dev, &vsock.reset_pending, ret_fault);
}

static int vsock_backend_event(struct device *dev, unsigned int file, struct guest_fault *ret_fault)
{
    (void)dev;
    if (file != ERROR_FILE || !vsock.running)
        return 0; /* a late word about rings that have been taken back since */
    *ret_fault = (struct guest_fault){.code = LOG_VHOST_RING};
    return -EBADMSG;
}

const struct device_ops vsock_vhost_ops = {
    .init = vsock_init,
    .confined = vsock_confined,
    .start = vsock_start,
    .stop = vsock_stop,
    .queue_start = vsock_queue_start,
    .queue_stop = vsock_queue_stop,
    .turn = vsock_turn,
    .backend_event = vsock_backend_event,
};
