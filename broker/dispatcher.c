/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/dispatcher.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/driver_module.h"

#define PATH_SIZE 32
#define NO_ID UINT32_MAX /* no device has this id */

/* --- Which generation ----------------------------------------------------------------------- */

static bool exists(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 && !S_ISDIR(file.st_mode);
}

static const char *dm_path(uint32_t id, char ret[PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, BAO_DM_NODE "%u", id);
    return ret;
}

int dispatcher_find(struct dispatcher *ret, struct failure *failure)
{
    struct generation_node nodes[BAO_GENERATIONS];
    size_t count = generations_find("", nodes);
    if (count > 1)
        return failure_set(failure, -EEXIST,
                           "%s and %s are both there: expected one driver of Bao's, since two know "
                           "nothing of each other; unload one, or remove the node that no driver "
                           "serves",
                           nodes[0].path, nodes[1].path);
    if (count == 1) {
        *ret = (struct dispatcher){.generation = nodes[0].generation, .node = -1};
        return 0;
    }
    char advice[256];
    const struct driver_module module = driver_module_find("");
    return failure_set(failure, -ENOENT,
                       "no node of Bao's driver is there: expected " BAO_DISPATCHER_NODE
                       ", " BAO_DM_NODE "0 or " BAO_NODE ", depending on the driver's version; %s",
                       driver_module_advice(&module, advice, sizeof(advice)));
}

/* --- The node ------------------------------------------------------------------------------- */

static int open_node(const char *path, struct failure *failure)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    int error = errno;
    if (error == ENXIO || error == ENODEV)
        return failure_set(failure, -error,
                           "%s: %s: no driver serves it; load Bao's, or remove the node", path,
                           strerror(error));
    return failure_set(failure, -error, "%s: %s", path, strerror(error));
}

/* A request that Bao's driver can only refuse, so that it changes nothing. Returns the driver's
 * result, or -errno. */
static int refuse(const struct dispatcher *dispatcher)
{
    struct bao_dm_info info = {.id = NO_ID, .fd = -1};
    int result = dispatcher->generation == BAO_D
                     ? ioctl(dispatcher->node, BAO_D_IOCTL_CREATE_DM, NULL)
                     : ioctl(dispatcher->node, BAO_IOCTL_DM_GET_INFO, &info);
    return result < 0 ? -errno : 0;
}

int dispatcher_open(struct dispatcher *dispatcher, struct failure *failure)
{
    const char *path = generations[dispatcher->generation].node;
    if (dispatcher->generation == BAO_C)
        return 0;
    int fd = open_node(path, failure);
    if (fd < 0)
        return fd;
    dispatcher->node = fd;
    bool is_d = dispatcher->generation == BAO_D;
    int result = refuse(dispatcher);
    if (is_d ? result == -EFAULT : result == -EINVAL || result == -ENOENT)
        return 0;
    dispatcher_close(dispatcher);
    return failure_set(failure, -ENOTTY,
                       "%s: something else than Bao's driver: to %s it answered \"%s\", expected "
                       "\"%s\"",
                       path,
                       is_d ? "CREATE_DM (0xA7, 0) without a device"
                            : "DM_GET_INFO (0xA6, 1) of an id that can't be",
                       strerror(-result), is_d ? "Bad address" : "Invalid argument");
}

void dispatcher_close(struct dispatcher *dispatcher)
{
    if (dispatcher->node >= 0)
        close(dispatcher->node);
    dispatcher->node = -1;
}

/* --- A device ------------------------------------------------------------------------------- */

static int no_device(uint32_t id, int result, struct failure *failure)
{
    return failure_set(failure, result,
                       "the device tree has no dispatcher device with id %u: expected one of "
                       "the entries of \"bao,io-dispatcher\", counted from 0",
                       id);
}

static int unexpected(const char *path, const char *call, uint32_t id, int error,
                      struct failure *failure)
{
    return failure_set(failure, -error, "%s: %s of id %u: %s", path, call, id, strerror(error));
}

/* The value that DM_GET_INFO returns on success tells A from B. */
static int ask_node(const struct dispatcher *dispatcher, struct dispatcher_device *device,
                    struct failure *failure)
{
    struct bao_dm_info info = {.id = device->id, .fd = -1};
    int result = ioctl(dispatcher->node, BAO_IOCTL_DM_GET_INFO, &info);
    if (result < 0 && (errno == EINVAL || errno == ENOENT))
        return no_device(device->id, -errno, failure);
    if (result < 0)
        return unexpected(BAO_DISPATCHER_NODE, "DM_GET_INFO", device->id, errno, failure);
    if (result > 1 || info.fd < 0)
        return failure_set(failure, -EPROTO,
                           BAO_DISPATCHER_NODE ": DM_GET_INFO of id %u returned %d and the file "
                                               "%d: expected 0 or 1, and a file",
                           device->id, result, info.fd);
    device->generation = result == 1 ? BAO_A : BAO_B;
    device->dm = info.fd;
    device->shmem_addr = info.shmem_addr;
    device->shmem_size = info.shmem_size;
    device->irq = info.irq;
    return 0;
}

static int read_dm_node(const char *path, int dm, struct dispatcher_device *device,
                        struct failure *failure)
{
    struct bao_dm_info info = {.id = device->id, .fd = -1};
    if (ioctl(dm, BAO_IOCTL_DM_GET_INFO, &info) < 0)
        return unexpected(path, "DM_GET_INFO", device->id, errno, failure);
    if (info.id != device->id)
        return failure_set(failure, -EPROTO,
                           "%s: the driver says that this is device %u: expected %u", path, info.id,
                           device->id);
    device->generation = BAO_C;
    device->dm = dm;
    device->shmem_addr = info.shmem_addr;
    device->shmem_size = info.shmem_size;
    device->irq = info.irq;
    return 0;
}

static int open_dm_node(struct dispatcher_device *device, struct failure *failure)
{
    char path[PATH_SIZE];
    if (!exists(dm_path(device->id, path)))
        return failure_set(failure, -ENOENT,
                           "%s is not there: the device tree has no device with \"bao,id\" %u",
                           path, device->id);
    int dm = open_node(path, failure);
    if (dm < 0)
        return dm;
    int result = read_dm_node(path, dm, device, failure);
    if (result < 0)
        close(dm);
    return result;
}

/* Ask the created device what it is, since a worker maps that window. */
static int check_created(const struct dispatcher_device *device, int dm, struct failure *failure)
{
    struct bao_d_dm_info info = {.id = device->id};
    if (ioctl(dm, BAO_D_IOCTL_GET_INFO, &info) < 0)
        return unexpected(BAO_NODE, "GET_INFO", device->id, errno, failure);
    if (info.id == device->id && info.shmem_addr == device->shmem_addr &&
        info.shmem_size == device->shmem_size && info.irq == device->irq)
        return 0;
    return failure_set(failure, -EPROTO,
                       BAO_NODE ": the device that was created has id %u, window 0x%" PRIx64
                                " of 0x%" PRIx64 " bytes, interrupt %u: expected id %u, 0x%" PRIx64
                                ", 0x%" PRIx64 ", %u",
                       info.id, info.shmem_addr, info.shmem_size, info.irq, device->id,
                       device->shmem_addr, device->shmem_size, device->irq);
}

static int create(const struct dispatcher *dispatcher, struct dispatcher_device *device,
                  struct failure *failure)
{
    const struct bao_d_dm_info info = {
        .shmem_addr = device->shmem_addr,
        .shmem_size = device->shmem_size,
        .id = device->id,
        .irq = device->irq,
    };
    int dm = ioctl(dispatcher->node, BAO_D_IOCTL_CREATE_DM, &info);
    int error = errno;
    if (dm < 0)
        return failure_set(failure, -error,
                           BAO_NODE ": CREATE_DM of id %u with window 0x%" PRIx64 " of 0x%" PRIx64
                                    " bytes and interrupt %u: %s%s",
                           device->id, device->shmem_addr, device->shmem_size, device->irq,
                           strerror(error),
                           error == EEXIST || error == EBUSY
                               ? ": another bao-virtio-dm has the device, or its interrupt"
                               : ": compare them with remio_devs of the backend VM in Bao's "
                                 "configuration");
    int result = fcntl(dm, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
    if (result == 0)
        result = check_created(device, dm, failure);
    else
        (void)unexpected(BAO_NODE, "the file", device->id, -result, failure);
    if (result < 0) {
        close(dm);
        return result;
    }
    device->generation = BAO_D;
    device->dm = dm;
    return 0;
}

int dispatcher_get_device(const struct dispatcher *dispatcher, struct dispatcher_device *device,
                          struct failure *failure)
{
    switch (dispatcher->generation) {
    case BAO_A:
    case BAO_B:
        return ask_node(dispatcher, device, failure);
    case BAO_C:
        return open_dm_node(device, failure);
    case BAO_D:
        return create(dispatcher, device, failure);
    case BAO_GENERATIONS:
        break;
    }
    return failure_set(failure, -EINVAL, "a generation of the driver that is not known");
}

/* --- The DM file ---------------------------------------------------------------------------- */

int dispatcher_add_kick(enum bao_generation generation, int dm, int eventfd, uint64_t mmio_addr,
                        uint32_t queue)
{
    struct bao_ioeventfd request = {
        .fd = (uint32_t)eventfd,
        .flags = BAO_IOEVENTFD_DATAMATCH,
        .addr = mmio_addr + VIRTIO_MMIO_QUEUE_NOTIFY,
        .len = 4,
        .data = queue,
    };
    return ioctl(dm, generations[generation].ioeventfd, &request) < 0 ? -errno : 0;
}

int dispatcher_add_irq(enum bao_generation generation, int dm, int eventfd)
{
    struct bao_irqfd request = {.fd = eventfd};
    return ioctl(dm, generations[generation].irqfd, &request) < 0 ? -errno : 0;
}

int dispatcher_remove_irq(enum bao_generation generation, int dm, int eventfd)
{
    struct bao_irqfd request = {.fd = eventfd, .flags = BAO_IRQFD_DEASSIGN};
    return ioctl(dm, generations[generation].irqfd, &request) < 0 ? -errno : 0;
}

bool dispatcher_is_gone(int result)
{
    return result == -EPERM || result == -ENODEV || result == -ENXIO || result == -ESHUTDOWN;
}

int dispatcher_attach(enum bao_generation generation, int dm, struct bao_io_request *slot)
{
    const struct generation *info = &generations[generation];
    if (ioctl(dm, info->attach, slot) >= 0)
        return 0;
    int result = -errno;
    if (result == -info->attach_interrupted)
        return -ETIME;
    return dispatcher_is_gone(result) ? -ENODEV : result;
}

/* If a signal interrupted a completion, that vCPU would wait for ever. So it is completed again; at
 * worst it had been completed already. */
int dispatcher_complete(enum bao_generation generation, int dm,
                        const struct bao_io_request *request)
{
    int r;
    do
        r = ioctl(dm, generations[generation].complete, request) < 0 ? -errno : 0;
    while (r == -EINTR);
    return r;
}
