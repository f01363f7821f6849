/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define TAKEN_BY_OTHERS 64 /* generation D: one of this many ATTACH calls ends with EAGAIN */

/* Internal to the kernel: after the signal, a system call that ends with this is made again, or it
 * ends with EINTR. The signal's handler decides which. */
#define ERESTARTSYS 512

unsigned int standin_device_id(const struct standin *standin, const struct device *device)
{
    return (unsigned int)(device - standin->devices);
}

void standin_protocol_violated(struct standin *standin, const char *format, ...)
{
    char words[sizeof(standin->protocol_error)];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    if (standin->counts.protocol_errors++ == 0)
        memcpy(standin->protocol_error, words, sizeof(words));
    fprintf(stderr, "stand-in: protocol error: %s\n", words);
}

void standin_driver_deliver(struct standin *standin, struct device *device)
{
    struct attacher *attacher = &device->attacher;
    if (!attacher->waiting || device->queue_length == 0)
        return;
    attacher->waiting = false;
    /* The real driver takes the request from its list in the context of a caller that still exists.
     */
    if (!standin_notification_valid(standin, attacher->notification))
        return;
    struct bao_io_request request = device->queue[device->queue_head];
    int r = standin_memory_write(attacher->tid, attacher->buffer, &request, sizeof(request));
    if (r < 0 && !standin_notification_valid(standin, attacher->notification))
        return;
    device->queue_head = (device->queue_head + 1) % QUEUE_MAX;
    device->queue_length--;
    struct slot *slot = &standin->slots[request.request_id];
    slot->taken = true;
    if (r < 0)
        standin_protocol_violated(standin,
                                  "device %u: ATTACH's buffer was not writable: a request is lost",
                                  standin_device_id(standin, device));
    standin->counts.attach++;
    /* Fails if the caller has just been killed. The request is in the caller's memory nevertheless.
     */
    (void)standin_respond(standin, attacher->notification, r);
}

void standin_driver_attach(struct standin *standin, struct device *device, uint64_t notification,
                           pid_t tid, uint64_t buffer)
{
    struct bao_io_request in;
    if (standin_memory_read(tid, buffer, &in, sizeof(in)) < 0) {
        (void)standin_respond(standin, notification, -EFAULT);
        return;
    }
    struct attacher *attacher = &device->attacher;
    if (attacher->waiting && standin_notification_valid(standin, attacher->notification) &&
        standin->abi != STANDIN_A) {
        (void)standin_respond(standin, notification, standin->abi == STANDIN_D ? -EAGAIN : -EFAULT);
        return;
    }
    if (attacher->waiting && standin_notification_valid(standin, attacher->notification)) {
        standin_protocol_violated(standin,
                                  "device %u: thread %d attached while thread %d was in ATTACH",
                                  standin_device_id(standin, device), tid, attacher->tid);
        (void)standin_respond(standin, notification, -EFAULT);
        return;
    }
    if (standin->abi == STANDIN_D && ++device->attaches % TAKEN_BY_OTHERS == 0) {
        (void)standin_respond(standin, notification, -EAGAIN);
        return;
    }
    attacher->waiting = true;
    attacher->notification = notification;
    attacher->tid = tid;
    attacher->buffer = buffer;
    attacher->since = now_ms();
    standin_driver_deliver(standin, device);
}

void standin_driver_interrupt(struct standin *standin, struct device *device)
{
    device->attacher.waiting = false;
    (void)standin_respond(standin, device->attacher.notification,
                          standin->abi == STANDIN_D ? -ERESTARTSYS : -EFAULT);
}

/* Each vCPU that waits for an answer gets one. Requests that are still in the list are dropped. */
void standin_driver_destroy(struct standin *standin, struct device *device)
{
    unsigned int id = standin_device_id(standin, device);
    device->created = false;
    device->queue_length = 0;
    for (unsigned int i = 0; i < device->ioeventfd_count; i++)
        close(device->ioeventfds[i].fd);
    for (unsigned int i = 0; i < device->irqfd_count; i++)
        close(device->irqfds[i].fd);
    device->ioeventfd_count = device->irqfd_count = 0;
    for (unsigned int i = 0; i < STANDIN_VCPUS_MAX; i++) {
        struct slot *slot = &standin->slots[i];
        if (slot->state != SLOT_PROCESSING || slot->device != id)
            continue;
        slot->value = 0;
        slot->state = slot->abandoned ? SLOT_FREE : SLOT_COMPLETE;
        if (slot->state == SLOT_COMPLETE)
            standin->vcpus_waiting--;
        if (slot->state == SLOT_COMPLETE)
            sem_post(&slot->done);
    }
    if (device->attacher.waiting) {
        device->attacher.waiting = false;
        (void)standin_respond(standin, device->attacher.notification, -EPERM);
    }
}

static void raise_irq(struct device *device)
{
    for (unsigned int i = 0; i < device->irqfd_count; i++)
        eventfd_write(device->irqfds[i].fd, 1);
}

/* Does what the hypervisor does with COMPLETE: only dm_id and op of the structure count for it. */
int standin_driver_complete(struct standin *standin, const struct device *device,
                            const struct bao_io_request *request, struct slot **ret_slot)
{
    unsigned int caller = standin_device_id(standin, device);
    if (request->dm_id >= STANDIN_DEVICES_MAX || !standin->devices[request->dm_id].options.present)
        return -ESRCH;
    unsigned int id = (unsigned int)request->dm_id;
    if (request->op > BAO_IO_NOTIFY)
        return -ESRCH;
    if (id != caller)
        standin_protocol_violated(standin, "device %u: COMPLETE for device %u", caller, id);
    if (request->op == BAO_IO_ASK || request->op == BAO_IO_NOTIFY) {
        standin_protocol_violated(standin, "device %u: COMPLETE with op %s", caller,
                                  request->op == BAO_IO_ASK ? "ASK" : "NOTIFY");
        if (request->op == BAO_IO_ASK)
            return -EPERM;
        raise_irq(&standin->devices[id]);
        return 0;
    }
    if (request->request_id >= STANDIN_VCPUS_MAX)
        return -EPERM;
    struct slot *slot = &standin->slots[request->request_id];
    if (slot->state != SLOT_PROCESSING || slot->device != id)
        return -EPERM;
    if (!slot->taken)
        standin_protocol_violated(
            standin, "device %u: COMPLETE of request %" PRIu64 " which no ATTACH has handed out",
            caller, request->request_id);
    if (slot->op != request->op)
        standin_protocol_violated(standin,
                                  "device %u: COMPLETE of request %" PRIu64 " with the other op",
                                  caller, request->request_id);
    /* The op in the request decides whether the vCPU's register is written. */
    if (request->op == BAO_IO_READ)
        slot->value = request->value;
    standin->counts.complete++;
    slot->state = SLOT_COMPLETE;
    if (slot->abandoned) {
        slot->state = SLOT_FREE;
        pthread_cond_signal(&standin->slot_free);
    } else {
        standin->vcpus_waiting--;
        standin->last_completion_us = now_us();
        *ret_slot = slot;
    }
    return 0;
}

/* The kernel's id of an eventfd object: it is the same for all files of that object. -errno if fd
 * is no eventfd. */
static int64_t eventfd_id(int fd)
{
    char path[64], line[128];
    int64_t id = -EINVAL;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(path, "re");
    if (!info)
        return -errno;
    while (id < 0 && fgets(line, sizeof(line), info))
        (void)!sscanf(line, "eventfd-id: %" SCNd64, &id);
    fclose(info);
    return id;
}

static int ioeventfd_assign(struct device *device, const struct bao_ioeventfd *config, int fd,
                            uint64_t id)
{
    bool wildcard = (config->flags & BAO_IOEVENTFD_DATAMATCH) == 0;
    for (unsigned int i = 0; i < device->ioeventfd_count; i++) {
        const struct ioeventfd *other = &device->ioeventfds[i];
        if (other->eventfd_id == id && other->addr == config->addr &&
            (wildcard || other->wildcard || other->data == config->data))
            return -EEXIST;
    }
    if (device->ioeventfd_count == EVENTFDS_MAX)
        return -ENOMEM;
    device->ioeventfds[device->ioeventfd_count++] = (struct ioeventfd){
        .fd = fd,
        .eventfd_id = id,
        .addr = config->addr,
        .data = wildcard ? 0 : config->data,
        .len = config->len,
        .wildcard = wildcard,
    };
    return 0;
}

/* Removes the first registration of that eventfd, at any address: the rest of config is not read.
 */
static void ioeventfd_deassign(struct device *device, uint64_t id)
{
    for (unsigned int i = 0; i < device->ioeventfd_count; i++) {
        if (device->ioeventfds[i].eventfd_id != id)
            continue;
        close(device->ioeventfds[i].fd);
        device->ioeventfd_count--;
        memmove(&device->ioeventfds[i], &device->ioeventfds[i + 1],
                (device->ioeventfd_count - i) * sizeof(device->ioeventfds[0]));
        return;
    }
}

int standin_driver_ioeventfd(struct device *device, const struct bao_ioeventfd *config, int fd)
{
    int64_t id = fd < 0 ? fd : eventfd_id(fd);
    /* DEASSIGN falls through to assigning again: the driver's quirk. */
    if ((config->flags & BAO_IOEVENTFD_DEASSIGN) != 0 && id >= 0)
        ioeventfd_deassign(device, (uint64_t)id);
    bool valid = config->addr + config->len >= config->addr &&
                 (config->len == 1 || config->len == 2 || config->len == 4 || config->len == 8);
    int r = -EINVAL;
    if (valid)
        r = id < 0 ? (int)id : ioeventfd_assign(device, config, fd, (uint64_t)id);
    if (r < 0 && fd >= 0)
        close(fd);
    return r;
}

static int irqfd_assign(struct device *device, int fd, uint64_t id)
{
    for (unsigned int i = 0; i < device->irqfd_count; i++) {
        if (device->irqfds[i].eventfd_id == id)
            return -EBUSY;
    }
    if (device->irqfd_count == EVENTFDS_MAX)
        return -ENOMEM;
    device->irqfds[device->irqfd_count++] = (struct irqfd){.fd = fd, .eventfd_id = id};
    return 0;
}

static void irqfd_deassign(struct device *device, uint64_t id)
{
    for (unsigned int i = 0; i < device->irqfd_count; i++) {
        if (device->irqfds[i].eventfd_id != id)
            continue;
        close(device->irqfds[i].fd);
        device->irqfds[i] = device->irqfds[--device->irqfd_count];
        return;
    }
}

int standin_driver_irqfd(struct device *device, const struct bao_irqfd *config, int fd)
{
    int64_t id = fd < 0 ? fd : eventfd_id(fd);
    if (id < 0) {
        if (fd >= 0)
            close(fd);
        return (int)id;
    }
    if ((config->flags & BAO_IRQFD_DEASSIGN) == 0) {
        bool refused = device->options.refused_irqfds > 0;
        device->options.refused_irqfds -= refused;
        int r = refused ? -ENOMEM : irqfd_assign(device, fd, (uint64_t)id);
        if (r < 0)
            close(fd);
        return r;
    }
    irqfd_deassign(device, (uint64_t)id);
    close(fd);
    return 0;
}
