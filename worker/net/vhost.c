/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network device, VirtIO 1.2 §5.1, with the kernel's vhost-net between one pair of queues and the
 * tap. There is no control queue: the kernel alone decides which frames the driver gets.
 *
 * System calls of its own: ioctl with VHOST_NET_SET_BACKEND on the vhost file, and with
 * TUNSETOFFLOAD on the tap; the others are those of worker/vhost/vhost.h.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <unistd.h>

#include "worker/log.h"
#include "worker/net/config.h"
#include "worker/vhost/vhost.h"

#define VHOST_QUEUES 2u /* rx and tx */
#define TAP_FILE 1u
#define ERROR_FILE 2u /* the kernel met a malformed ring */

/* How many queues the kernel serves, counted from the first. */
static unsigned int running;

/*
 * Of vhost's features, VIRTIO_F_ACCESS_PLATFORM is left out: for vhost it means to ask for each
 * translation. VHOST_NET_F_VIRTIO_NET_HDR is left out, too: the tap makes the headers.
 */
static const struct vhost_features vhost_features = {
    .always = 1ull << VIRTIO_F_VERSION_1,
    .choices = {1ull << VIRTIO_NET_F_MRG_RXBUF, 1ull << VIRTIO_RING_F_INDIRECT_DESC,
                1ull << VIRTIO_RING_F_EVENT_IDX},
};

static int net_vhost_init(struct device *dev, const struct message_start *start)
{
    running = 0;
    uint64_t of_vhost = start->of_kind.net.vhost_features & vhost_features_all(&vhost_features);
    if ((of_vhost & 1ull << VIRTIO_F_VERSION_1) == 0)
        return -EOPNOTSUPP;
    int r = vhost_values_map(&vhost_features, of_vhost & ~start->features_off,
                             start->queue_size_max, WORKER_FD_BACKEND + (int)TAP_FILE);
    if (r < 0)
        return r;
    dev->features = of_vhost | net_offload_features(start->of_kind.net.tun_offloads) |
                    1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS |
                    1ull << VIRTIO_NET_F_MTU;
    net_config_init(dev, &start->of_kind.net, 1);
    dev->backend_events = 1u << ERROR_FILE;
    return 0;
}

static int net_vhost_confined(struct device *dev)
{
    return vhost_claim(dev, VHOST_QUEUES, ERROR_FILE);
}

/* ---- Starting and stopping the kernel's part ---- */

static int set_backend(unsigned int queue, bool attached)
{
    return vhost_call(VHOST_NET_SET_BACKEND, vhost_values_backend(queue, attached));
}

/* If the kernel cannot be kept off the rings in any other way, this process ends, which does it. */
static void stop_kernel(void)
{
    for (; running > 0; running--) {
        if (set_backend(running - 1, false) < 0)
            _exit(EXIT_FAILURE);
    }
}

/* The caller has checked the rings that are ready; a network device needs both. */
static int start_kernel(struct device *dev, struct guest_fault *ret_fault)
{
    const struct state_queue *queues = dev->state->queues;
    if (queues[0].ready == 0 || queues[1].ready == 0)
        return 0;
    net_set_offloads(WORKER_FD_BACKEND + (int)TAP_FILE, dev->state->transport.driver_features);
    int r = vhost_program(dev, VHOST_QUEUES, &vhost_features, ret_fault);
    if (r < 0)
        return r;
    for (unsigned int q = 0; q < VHOST_QUEUES; q++) {
        r = set_backend(q, true);
        if (r < 0)
            return vhost_fault(VHOST_NET_SET_BACKEND, r, ret_fault);
        running = q + 1;
    }
    vhost_kick(dev, VHOST_QUEUES);
    return 0;
}

static int net_vhost_start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    int r = start_kernel(dev, ret_fault);
    /* The link may have changed since the driver looked. */
    if (r == 0 && resumed)
        device_config_changed(dev);
    return r;
}

static void net_vhost_stop(struct device *dev)
{
    (void)dev;
    stop_kernel();
}

static int net_vhost_queue_start(struct device *dev, unsigned int queue,
                                 struct guest_fault *ret_fault)
{
    (void)queue;
    return start_kernel(dev, ret_fault);
}

static void net_vhost_queue_stop(struct device *dev, unsigned int queue)
{
    (void)dev;
    (void)queue;
    stop_kernel();
}

static int net_vhost_backend_event(struct device *dev, unsigned int file, uint32_t events,
                                   struct guest_fault *ret_fault)
{
    (void)events;
    (void)dev;
    if (file != ERROR_FILE || running == 0)
        return 0; /* a late event, about rings that have been taken back since */
    *ret_fault = (struct guest_fault){.code = LOG_VHOST_RING};
    return -EBADMSG;
}

const struct device_ops net_vhost_ops = {
    .init = net_vhost_init,
    .confined = net_vhost_confined,
    .start = net_vhost_start,
    .stop = net_vhost_stop,
    .queue_start = net_vhost_queue_start,
    .queue_stop = net_vhost_queue_stop,
    .backend_event = net_vhost_backend_event,
    .backend_changed = net_backend_changed,
};
