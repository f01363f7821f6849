/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vhost/vhost.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/eventfd.h"

int vhost_call(unsigned long request, const void *argument)
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
    return vhost_call(VHOST_SET_MEM_TABLE, &memory);
}

static int set_eventfds(const struct device *dev, unsigned int queue, unsigned int error_file)
{
    const struct {
        unsigned long request;
        int fd;
    } files[] = {
        {VHOST_SET_VRING_KICK, device_kick_fd(dev, queue)},
        {VHOST_SET_VRING_CALL, WORKER_FD_CALL},
        {VHOST_SET_VRING_ERR, WORKER_FD_BACKEND + (int)error_file},
    };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(files) / sizeof(files[0]); i++)
        r = vhost_call(files[i].request, &(struct vhost_vring_file){queue, files[i].fd});
    return r;
}

int vhost_claim(const struct device *dev, unsigned int queues, unsigned int error_file)
{
    int r = vhost_call(VHOST_SET_OWNER, NULL);
    if (r == 0)
        r = set_memory(dev);
    for (unsigned int q = 0; r == 0 && q < queues; q++)
        r = set_eventfds(dev, q, error_file);
    return r;
}

int vhost_fault(unsigned long request, int error, struct guest_fault *ret_fault)
{
    *ret_fault = (struct guest_fault){LOG_VHOST_FAILED, {request, (uint64_t)-error}};
    return -EBADMSG;
}

int vhost_ring_base(const struct device *dev, unsigned int queue, uint16_t *ret_base,
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
    int r = vhost_ring_base(dev, queue, &base, ret_fault);
    if (r < 0)
        return r;
    uintptr_t window = (uintptr_t)dev->window.base;
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
        {VHOST_SET_VRING_NUM, vhost_values_num(queue, state->size)},
        {VHOST_SET_VRING_BASE, &first},
        {VHOST_SET_VRING_ADDR, &addr},
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        r = vhost_call(calls[i].request, calls[i].argument);
        if (r < 0)
            return vhost_fault(calls[i].request, r, ret_fault);
    }
    return 0;
}

int vhost_program(const struct device *dev, unsigned int queues,
                  const struct vhost_features *features, struct guest_fault *ret_fault)
{
    uint64_t accepted = dev->state->transport.driver_features;
    int r = vhost_call(VHOST_SET_FEATURES, vhost_values_features(features, accepted));
    if (r < 0)
        return vhost_fault(VHOST_SET_FEATURES, r, ret_fault);
    for (unsigned int q = 0; r == 0 && q < queues; q++)
        r = program_ring(dev, q, ret_fault);
    return r;
}

void vhost_kick(const struct device *dev, unsigned int queues)
{
    for (unsigned int q = 0; q < queues; q++)
        (void)eventfd_signal(device_kick_fd(dev, q));
}
