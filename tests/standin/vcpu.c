/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/private.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

static bool ioeventfd_takes(const struct device *device, uint64_t addr, unsigned int width)
{
    for (unsigned int i = 0; i < device->ioeventfd_count; i++) {
        const struct ioeventfd *entry = &device->ioeventfds[i];
        if (addr >= entry->addr && addr + width <= entry->addr + entry->len)
            return true;
    }
    return false;
}

static void ioeventfd_signal(struct standin *standin, struct device *device,
                             const struct bao_io_request *request)
{
    for (unsigned int i = 0; i < device->ioeventfd_count; i++) {
        const struct ioeventfd *entry = &device->ioeventfds[i];
        if (entry->addr == request->addr && entry->len >= request->access_width &&
            (entry->wildcard || entry->data == request->value)) {
            standin->counts.ioeventfd_signals++;
            eventfd_write(entry->fd, 1);
            return; /* the one that was registered first wins */
        }
    }
}

static void deadline_after(struct timespec *deadline, int timeout_ms)
{
    clock_gettime(CLOCK_MONOTONIC, deadline);
    deadline->tv_sec += timeout_ms / 1000;
    deadline->tv_nsec += timeout_ms % 1000 * 1000000l;
    if (deadline->tv_nsec >= 1000000000l) {
        deadline->tv_nsec -= 1000000000l;
        deadline->tv_sec++;
    }
}

static struct slot *take_slot(struct standin *standin, const struct timespec *deadline)
{
    int r = 0;
    while (r == 0 && !standin->ended) {
        for (unsigned int i = 0; i < STANDIN_VCPUS_MAX; i++) {
            if (standin->slots[i].state == SLOT_FREE)
                return &standin->slots[i];
        }
        r = deadline ? pthread_cond_clockwait(&standin->slot_free, &standin->lock, CLOCK_MONOTONIC,
                                              deadline)
                     : pthread_cond_wait(&standin->slot_free, &standin->lock);
    }
    return NULL;
}

/* Queue the request as the driver does. Returns its slot, or NULL if there is no room. */
static struct slot *submit(struct standin *standin, struct device *device,
                           struct bao_io_request *request, const struct timespec *deadline)
{
    struct slot *slot = take_slot(standin, deadline);
    if (!slot || device->queue_length == QUEUE_MAX)
        return NULL;
    request->request_id = (uint64_t)(slot - standin->slots);
    slot->state = SLOT_PROCESSING;
    slot->taken = false;
    slot->abandoned = false;
    slot->device = standin_device_id(standin, device);
    slot->op = request->op;
    slot->value = request->value;
    device->queue[(device->queue_head + device->queue_length++) % QUEUE_MAX] = *request;
    standin_driver_deliver(standin, device);
    return slot;
}

/* Returns 0 when the slot has been posted, -ETIMEDOUT at the deadline. */
static int wait_for_slot(struct slot *slot, const struct timespec *deadline)
{
    int r;
    do
        r = deadline ? sem_clockwait(&slot->done, CLOCK_MONOTONIC, deadline)
                     : sem_wait(&slot->done);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int remaining_ms(const struct timespec *deadline)
{
    struct timespec now;
    if (!deadline)
        return -1;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms =
        (deadline->tv_sec - now.tv_sec) * 1000 + (deadline->tv_nsec - now.tv_nsec) / 1000000;
    return ms < 0 ? 0 : (int)ms;
}

/*
 * While it waits, a vCPU's thread serves notifications itself if no other thread does. Then the
 * answer to its own access needs one switch of threads less, and none to another processor.
 */
static int serve_for_slot(struct standin *standin, struct slot *slot,
                          const struct timespec *deadline)
{
    while (sem_trywait(&slot->done) < 0) {
        struct pollfd listener = {.fd = standin->listener, .events = POLLIN};
        int left = remaining_ms(deadline);
        int ready = poll(&listener, 1, left);
        if (ready > 0 && (listener.revents & POLLHUP))
            return wait_for_slot(slot, NULL); /* the watcher will see it as well, and post it */
        if (ready > 0)
            (void)standin_serve_next(standin);
        else if (ready == 0 && left == 0)
            return -ETIMEDOUT;
    }
    return 0;
}

/* The caller holds the lock. The function releases it while it waits, and holds it again when it
 * returns. */
static int wait_for_answer(struct standin *standin, struct slot *slot,
                           const struct timespec *deadline)
{
    int r;
    if (standin->ended)
        return -ESHUTDOWN;
    standin->vcpus_waiting++;
    if (standin->served) {
        pthread_mutex_unlock(&standin->lock);
        r = wait_for_slot(slot, deadline);
        pthread_mutex_lock(&standin->lock);
    } else {
        standin->served = true;
        pthread_mutex_unlock(&standin->lock);
        r = serve_for_slot(standin, slot, deadline);
        pthread_mutex_lock(&standin->lock);
        standin->served = false;
        if (standin->vcpus_waiting > 0 || r < 0)
            pthread_cond_signal(&standin->serve);
    }
    if (r < 0 && slot->state == SLOT_COMPLETE)
        r = wait_for_slot(slot, NULL); /* completed at the last moment: the post is on its way */
    else if (slot->state != SLOT_COMPLETE)
        standin->vcpus_waiting--;
    if (r == 0 && slot->state != SLOT_COMPLETE)
        r = -ESHUTDOWN;
    return r;
}

static int relay(struct standin *standin, struct device *device, struct bao_io_request *request,
                 const struct timespec *deadline)
{
    struct slot *slot = submit(standin, device, request, deadline);
    if (!slot)
        return standin->ended ? -ESHUTDOWN : -ETIMEDOUT;
    int r = wait_for_answer(standin, slot, deadline);
    if (r < 0) {
        slot->abandoned = true;
        return r;
    }
    request->value = slot->value;
    slot->state = SLOT_FREE;
    pthread_cond_signal(&standin->slot_free);
    return 0;
}

static int access_register(struct standin *standin, unsigned int id, int timeout_ms,
                           struct bao_io_request *request)
{
    if (id >= STANDIN_DEVICES_MAX || !standin->devices[id].options.present)
        return -ENODEV;
    struct device *device = &standin->devices[id];
    struct timespec deadline;
    deadline_after(&deadline, timeout_ms < 0 ? 0 : timeout_ms);
    int r = 0;
    pthread_mutex_lock(&standin->lock);
    if (!ioeventfd_takes(device, request->addr, (unsigned int)request->access_width))
        r = relay(standin, device, request, timeout_ms < 0 ? NULL : &deadline);
    else if (request->op == BAO_IO_WRITE)
        ioeventfd_signal(standin, device, request);
    else
        request->value = 0;
    pthread_mutex_unlock(&standin->lock);
    return r;
}

int standin_write(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                  uint64_t value, int timeout_ms)
{
    struct bao_io_request request = {
        .dm_id = id,
        .addr = addr,
        .op = BAO_IO_WRITE,
        .value = value,
        .access_width = width,
    };
    return access_register(standin, id, timeout_ms, &request);
}

int standin_read(struct standin *standin, unsigned int id, uint64_t addr, unsigned int width,
                 uint64_t *ret_value, int timeout_ms)
{
    struct bao_io_request request = {
        .dm_id = id,
        .addr = addr,
        .op = BAO_IO_READ,
        .access_width = width,
    };
    int r = access_register(standin, id, timeout_ms, &request);
    if (r == 0)
        *ret_value = request.value;
    return r;
}
