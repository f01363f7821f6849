/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket device, VirtIO 1.2 §5.10, whose rx and tx the kernel's vhost-vsock serves; the event queue
 * is served here.
 *
 * System calls of its own, on WORKER_FD_BACKEND: ioctl with VHOST_VSOCK_SET_RUNNING; the others
 * are those of worker/vhost/vhost.h.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/device.h"
#include "worker/log.h"
#include "worker/vhost/vhost.h"
#include "worker/vsock/event.h"

#define VHOST_QUEUES 2u /* rx and tx */
#define ERROR_FILE 1u   /* WORKER_FD_BACKEND2: the kernel met a malformed ring */

static struct {
    bool running;       /* the kernel serves the rings */
    bool reset_pending; /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is to be sent */
} vsock;

/*
 * These are offered as far as the kernel has them. VIRTIO_F_ACCESS_PLATFORM is not among them: for
 * vhost it means to ask for each translation. VHOST_F_LOG_ALL is not among them either.
 */
static const struct vhost_features vhost_features = {
    .always = 1ull << VIRTIO_F_VERSION_1,
    .choices = {1ull << VIRTIO_VSOCK_F_SEQPACKET, 1ull << VIRTIO_RING_F_INDIRECT_DESC,
                1ull << VIRTIO_RING_F_EVENT_IDX},
};

static int vsock_init(struct device *dev, const struct message_start *start)
{
    memset(&vsock, 0, sizeof(vsock));
    dev->features = start->of_kind.vsock.vhost_features & vhost_features_all(&vhost_features);
    if ((dev->features & 1ull << VIRTIO_F_VERSION_1) == 0)
        return -EOPNOTSUPP;
    int r = vhost_values_map(&vhost_features, dev->features & ~start->features_off,
                             start->queue_size_max, -1);
    if (r < 0)
        return r;
    const struct virtio_vsock_config config = {.guest_cid = start->of_kind.vsock.guest_cid};
    memcpy(dev->config, &config, sizeof(config));
    dev->config_size = sizeof(config);
    dev->user_queues = 1u << QUEUE_EVENT;
    dev->backend_events = 1u << ERROR_FILE;
    return 0;
}

static int vsock_confined(struct device *dev)
{
    return vhost_claim(dev, VHOST_QUEUES, ERROR_FILE);
}

/* ---- Starting and stopping the kernel's part ---- */

static int set_running(bool running)
{
    return vhost_call(VHOST_VSOCK_SET_RUNNING, vhost_values_running(running));
}

/* If the kernel cannot be kept off the rings in any other way, this process ends, which does it. */
static void stop_kernel(void)
{
    if (vsock.running && set_running(false) < 0)
        _exit(EXIT_FAILURE);
    vsock.running = false;
}

/* The caller has checked both rings; a socket device with only one of them is of no use. */
static int start_kernel(struct device *dev, struct guest_fault *ret_fault)
{
    const struct state_queue *queues = dev->state->queues;
    if (queues[QUEUE_RX].ready == 0 || queues[QUEUE_TX].ready == 0)
        return 0;
    int r = vhost_program(dev, VHOST_QUEUES, &vhost_features, ret_fault);
    if (r < 0)
        return r;
    r = set_running(true);
    if (r < 0)
        return vhost_fault(VHOST_VSOCK_SET_RUNNING, r, ret_fault);
    vsock.running = true;
    vhost_kick(dev, VHOST_QUEUES);
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

static enum serve vsock_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    (void)queue; /* the kernel serves the other queues */
    return vsock_event_turn(dev, &vsock.reset_pending, ret_fault);
}

static int vsock_backend_event(struct device *dev, unsigned int file, uint32_t events,
                               struct guest_fault *ret_fault)
{
    (void)events;
    (void)dev;
    if (file != ERROR_FILE || !vsock.running)
        return 0; /* a late event, about rings that have been taken back since */
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
