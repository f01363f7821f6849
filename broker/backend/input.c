/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input device of this machine, for its frontend alone. It is grabbed, so that what is typed for
 * the frontend reaches no console and no other program here. The grab belongs to the open file
 * description, so it lasts as long as any process has a copy of the fd, workers too.
 *
 * The kernel is asked here, once, for all that it knows of the device: a worker has no ioctl, and
 * the frontend has to find the same device after each restart, even if it was unplugged meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/directory.h"

_Static_assert(sizeof(struct start_input) % 4 == 0 && STATE_INPUT_KEYS == KEY_CNT, "as it is sent");

static int failed(struct failure *failure, const char *path, int error)
{
    return failure_set(failure, -error, "input device \"%s\": %s", path, strerror(error));
}

/* Opens the node by its name in `directory`. From here on no link is followed. */
static int open_named(const struct device_config *config, const struct directory *directory,
                      struct file_id *ret_id, struct failure *failure)
{
    const char *path = config->device_path;
    struct stat status;
    int version;
    int fd = openat(directory->fd, directory->name,
                    O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return failed(failure, path, errno);
    const char *reason = NULL;
    if (fstat(fd, &status) < 0)
        reason = strerror(errno);
    else if (!S_ISCHR(status.st_mode) || ioctl(fd, EVIOCGVERSION, &version) < 0)
        reason = "is no event device: choose one of /dev/input/event*, which \"cat "
                 "/proc/bus/input/devices\" lists";
    else
        reason = directory_refuses(directory, &status, true);
    if (reason) {
        close(fd);
        return failure_set(failure, -EINVAL, "input device \"%s\" %s", path, reason);
    }
    /* The same device number for every node of the device, as for a disk. */
    *ret_id = (struct file_id){status.st_rdev, 0};
    return fd;
}

static int grab(int fd, const char *path, struct failure *failure)
{
    if (ioctl(fd, EVIOCGRAB, 1) == 0)
        return 0;
    if (errno == EBUSY)
        return failure_set(failure, -EBUSY,
                           "input device \"%s\" is grabbed by another process: end that one first",
                           path);
    return failed(failure, path, errno);
}

/* The kernel fails a request for a property that the device does not have; *ret keeps its zeros
 * then. */
static void learn(int fd, struct start_input *ret)
{
    struct input_id ids;
    (void)ioctl(fd, EVIOCGNAME(sizeof(ret->name)), ret->name);
    (void)ioctl(fd, EVIOCGUNIQ(sizeof(ret->serial)), ret->serial);
    (void)ioctl(fd, EVIOCGPROP(sizeof(ret->properties)), ret->properties);
    if (ioctl(fd, EVIOCGID, &ids) == 0)
        ret->ids = (struct virtio_input_devids){ids.bustype, ids.vendor, ids.product, ids.version};
#define X(type, bits, count) (void)ioctl(fd, EVIOCGBIT(type, sizeof(ret->bits)), ret->bits);
    INPUT_EVENTS(X)
#undef X
    for (unsigned int axis = 0; axis < ABS_CNT; axis++) {
        struct input_absinfo info;
        if ((ret->absolute[axis / 8] & 1u << axis % 8) == 0 ||
            ioctl(fd, EVIOCGABS(axis), &info) < 0)
            continue;
        ret->axes[axis] = (struct virtio_input_absinfo){
            .min = (uint32_t)info.minimum,
            .max = (uint32_t)info.maximum,
            .fuzz = (uint32_t)info.fuzz,
            .flat = (uint32_t)info.flat,
            .res = (uint32_t)info.resolution,
        };
    }
}

static int input_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    const char *path = backend->config->device_path;
    struct directory directory;
    *ret_key = CONFIG_KEY_DEVICE_PATH;
    int result = directory_find(path, true, "input device", &directory, failure);
    if (result < 0)
        return result;
    int fd = open_named(backend->config, &directory, &backend->file_id, failure);
    directory_close(&directory);
    if (fd < 0)
        return fd;
    result = grab(fd, path, failure);
    if (result < 0) {
        close(fd);
        return result;
    }
    learn(fd, &backend->learned.input);
    backend->files[OPENED_PORT_FIRST] = fd;
    return 0;
}

static uint32_t input_files(const struct device_config *config)
{
    (void)config;
    return 1u << OPENED_PORT_FIRST;
}

static int input_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    start->of_kind.input = backend->learned.input;
    *ret = (struct backend_fds){.fds = {backend->files[OPENED_PORT_FIRST]}, .count = 1};
    return 0;
}

/* A device that was unplugged does not come back: what is plugged in again is another device. */
static bool input_look(struct backend *backend, struct state_backend *state)
{
    struct pollfd device = {.fd = backend->files[OPENED_PORT_FIRST]};
    (void)state;
    if (backend->trouble.text[0] != '\0' || poll(&device, 1, 0) <= 0)
        return false;
    failure_set(&backend->trouble, 0,
                "input device \"%s\" was removed: start bao-virtio-dm again once it is back",
                backend->config->device_path);
    backend->news = backend->trouble;
    return false;
}

const struct backend_ops backend_input = {
    .open = input_open,
    .files = input_files,
    .give = input_give,
    .look = input_look,
};
