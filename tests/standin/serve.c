/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define KNOWN_MS 10
#define LINGER_US 200 /* how long the server leaves notifications to the vCPUs' threads */

int standin_memory_read(pid_t tid, uint64_t address, void *buffer, size_t size)
{
    struct iovec local = {.iov_base = buffer, .iov_len = size};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

int standin_memory_write(pid_t tid, uint64_t address, const void *buffer, size_t size)
{
    struct iovec local = {.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

bool standin_notification_valid(struct standin *standin, uint64_t notification)
{
    return ioctl(standin->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notification) == 0;
}

static int send_response(struct standin *standin, struct seccomp_notif_resp *response)
{
    char buffer[sizeof(*response) + 256] = {0};
    memcpy(buffer, response, sizeof(*response));
    return ioctl(standin->listener, SECCOMP_IOCTL_NOTIF_SEND, buffer) < 0 ? -errno : 0;
}

int standin_respond(struct standin *standin, uint64_t notification, int64_t result)
{
    struct seccomp_notif_resp response = {.id = notification};
    if (result < 0)
        response.error = (int32_t)result;
    else
        response.val = result;
    return send_response(standin, &response);
}

/* Another driver's ioctl that has the same type byte: it is not for us. */
static void let_it_continue(struct standin *standin, uint64_t notification)
{
    struct seccomp_notif_resp response = {
        .id = notification,
        .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE,
    };
    (void)send_response(standin, &response); /* fails only if the caller has gone */
}

static void forget(struct known_thread *known)
{
    if (known->tid != 0)
        close(known->fd_dir);
    *known = (struct known_thread){0};
}

static struct known_thread *know(struct known_thread *threads, pid_t tid)
{
    struct known_thread *known = &threads[(unsigned int)tid % THREADS_KNOWN];
    if (known->tid == tid)
        return known;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", tid);
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return NULL;
    forget(known);
    *known = (struct known_thread){.tid = tid, .fd_dir = directory};
    return known;
}

/*
 * Get the file of the caller's fd. An open directory /proc/TID/fd belongs to that very thread for
 * ever: it never shows the fds of a later thread with the same number. So the directory can be kept
 * open.
 */
static int stat_fd(struct known_thread *threads, pid_t tid, int fd, struct stat *ret)
{
    char path[64];
    snprintf(path, sizeof(path), "%d", fd);
    for (int attempt = 0; attempt < 2; attempt++) {
        struct known_thread *known = know(threads, tid);
        if (known && fstatat(known->fd_dir, path, ret, 0) == 0)
            return 0;
        if (known)
            forget(known); /* it belongs to an earlier thread, or the fd is not open */
    }
    return -EBADF;
}

/* A copy of an fd of the process that has the thread `tid`; or -errno. */
static int copy_fd(pid_t tid, int fd)
{
    char path[64], line[128];
    pid_t process = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", tid);
    FILE *status = fopen(path, "re");
    if (!status)
        return -errno;
    while (process == 0 && fgets(line, sizeof(line), status))
        (void)!sscanf(line, "Tgid: %d", &process);
    fclose(status);
    int pidfd = (int)syscall(SYS_pidfd_open, process, 0);
    if (pidfd < 0)
        return -errno;
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    int r = copy < 0 ? -errno : copy;
    close(pidfd);
    return r;
}

/* A new open file on the device's memory, put into the caller. Returns the fd there, or -errno. */
static int add_file(struct standin *standin, const struct seccomp_notif *notification, uint32_t id)
{
    const struct device *device = &standin->devices[id];
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", device->options.window);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return -errno;
    (void)lseek(file, id, SEEK_SET); /* see device_of */
    struct seccomp_notif_addfd add = {
        .id = notification->id,
        .srcfd = (uint32_t)file,
        .newfd_flags = O_CLOEXEC,
    };
    int added = ioctl(standin->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    int error = errno;
    close(file);
    if (added < 0)
        return -error;
    standin->counts.dm_get_info++;
    return added;
}

static bool is_present(const struct standin *standin, uint32_t id)
{
    return id < STANDIN_DEVICES_MAX && standin->devices[id].options.present;
}

static void describe(const struct device *device, uint32_t id, struct bao_dm_info *ret)
{
    ret->id = id;
    ret->irq = STANDIN_IRQ + id;
    ret->shmem_addr = device->options.shmem_addr;
    ret->shmem_size = device->options.shmem_size;
}

/* DM_GET_INFO on the node of generations A and B. */
static int64_t get_info(struct standin *standin, const struct seccomp_notif *notification)
{
    struct bao_dm_info info;
    uint64_t address = notification->data.args[2];
    pid_t tid = (pid_t)notification->pid;
    if (standin_memory_read(tid, address, &info, sizeof(info)) < 0)
        return -EFAULT;
    if (!is_present(standin, info.id))
        return standin->abi == STANDIN_A ? -EINVAL : -ENOENT;
    int added = add_file(standin, notification, info.id);
    if (added < 0)
        return added;
    describe(&standin->devices[info.id], info.id, &info);
    info.fd = added;
    if (standin_memory_write(tid, address, &info, sizeof(info)) < 0)
        return -EFAULT;
    return standin->abi == STANDIN_A ? 1 : 0;
}

/* DM_GET_INFO on a device's own node, generation C. The field that holds the fd in A stays as it
 * is. */
static int64_t get_own_info(struct standin *standin, const struct device *device, pid_t tid,
                            uint64_t address)
{
    struct bao_dm_info info;
    if (standin_memory_read(tid, address, &info, sizeof(info)) < 0)
        return -EFAULT;
    describe(device, standin_device_id(standin, device), &info);
    standin->counts.dm_get_info++;
    return standin_memory_write(tid, address, &info, sizeof(info)) < 0 ? -EFAULT : 0;
}

/* DM_GET_INFO on the file of a device of generation D. */
static int64_t get_created_info(struct standin *standin, const struct device *device, pid_t tid,
                                uint64_t address)
{
    const struct bao_d_dm_info info = {
        .shmem_addr = device->options.shmem_addr,
        .shmem_size = device->options.shmem_size,
        .id = standin_device_id(standin, device),
        .irq = STANDIN_IRQ + standin_device_id(standin, device),
    };
    return standin_memory_write(tid, address, &info, sizeof(info)) < 0 ? -EFAULT : 0;
}

static int64_t create_dm(struct standin *standin, const struct seccomp_notif *notification)
{
    struct bao_d_dm_info info;
    pid_t tid = (pid_t)notification->pid;
    if (standin_memory_read(tid, notification->data.args[2], &info, sizeof(info)) < 0)
        return -EFAULT;
    if (!is_present(standin, info.id))
        return -EINVAL;
    struct device *device = &standin->devices[info.id];
    if (device->created)
        return -EEXIST;
    if (info.shmem_addr != device->options.shmem_addr ||
        info.shmem_size != device->options.shmem_size || info.irq != STANDIN_IRQ + info.id)
        standin_protocol_violated(standin, "CREATE_DM of device %u with another's window or irq",
                                  info.id);
    int added = add_file(standin, notification, info.id);
    device->created = added >= 0;
    return added;
}

static int64_t complete(struct standin *standin, const struct device *device, pid_t tid,
                        const struct bao_io_request *request, struct slot **ret_slot)
{
    enum standin_moment moment = standin->kill_at_complete;
    standin->kill_at_complete = STANDIN_NO_MOMENT;
    if (moment == STANDIN_BEFORE_COMPLETE) {
        kill(tid, SIGKILL); /* all threads of the process */
        return -ENOENT;     /* there is nobody left to answer */
    }
    int result = standin_driver_complete(standin, device, request, ret_slot);
    if (moment == STANDIN_AFTER_COMPLETE)
        kill(tid, SIGKILL);
    return result;
}

void standin_kill_at_complete(struct standin *standin, enum standin_moment moment)
{
    pthread_mutex_lock(&standin->lock);
    standin->kill_at_complete = moment;
    pthread_mutex_unlock(&standin->lock);
}

/* The number that A has for the command. A number of another generation is not a command here. */
static uint32_t command_of(const struct standin *standin, uint32_t command)
{
    static const struct {
        uint32_t of_d, of_a;
    } commands[] = {
        {BAO_D_IOCTL_IO_CLIENT_ATTACH, BAO_IOCTL_IO_CLIENT_ATTACH},
        {BAO_D_IOCTL_IO_REQUEST_COMPLETE, BAO_IOCTL_IO_REQUEST_COMPLETE},
        {BAO_D_IOCTL_IOEVENTFD, BAO_IOCTL_IOEVENTFD},
        {BAO_D_IOCTL_IRQFD, BAO_IOCTL_IRQFD},
    };
    if (standin->abi != STANDIN_D)
        return command;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].of_d == command)
            return commands[i].of_a;
    }
    return command;
}

/* The ioctls of a DM file that are answered at once. */
static int64_t serve_device(struct standin *standin, struct device *device,
                            const struct seccomp_notif *notification, struct slot **ret_slot)
{
    union {
        struct bao_io_request request;
        struct bao_ioeventfd ioeventfd;
        struct bao_irqfd irqfd;
    } arg;
    pid_t tid = (pid_t)notification->pid;
    uint32_t command = command_of(standin, (uint32_t)notification->data.args[1]);
    if (standin_memory_read(tid, notification->data.args[2], &arg, _IOC_SIZE(command)) < 0)
        return -EFAULT;
    /* If the notification is still valid, the thread with this tid is still in that call. So we
     * read the memory of the caller. */
    if (!standin_notification_valid(standin, notification->id))
        return -ENOENT;
    switch (command) {
    case BAO_IOCTL_IO_REQUEST_COMPLETE:
        return complete(standin, device, tid, &arg.request, ret_slot);
    case BAO_IOCTL_IOEVENTFD:
        return standin_driver_ioeventfd(device, &arg.ioeventfd,
                                        copy_fd(tid, (int)arg.ioeventfd.fd));
    case BAO_IOCTL_IRQFD:
        return standin_driver_irqfd(device, &arg.irqfd, copy_fd(tid, arg.irqfd.fd));
    }
    return -ENOTTY;
}

/* The file position of the caller's fd, or -1. */
static long long position_of(pid_t tid, int fd)
{
    char path[64];
    long long position;
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", tid, fd);
    FILE *info = fopen(path, "re");
    if (!info)
        return -1;
    if (fscanf(info, "pos: %lld", &position) != 1)
        position = -1;
    fclose(info);
    return position;
}

/*
 * Devices of one frontend may share one memory as their window. The file position then tells their
 * files apart: DM_GET_INFO sets it to the id, and nothing else uses it.
 */
static struct device *device_of(struct standin *standin, const struct stat *file, pid_t tid, int fd)
{
    struct device *found = NULL;
    for (unsigned int i = 0; i < STANDIN_DEVICES_MAX; i++) {
        struct device *device = &standin->devices[i];
        if (!device->options.present || device->inode != file->st_ino ||
            device->dev != file->st_dev)
            continue;
        if (found && position_of(tid, fd) != i)
            continue;
        found = device;
    }
    return found;
}

static bool is_device_command(uint32_t command)
{
    return command == BAO_IOCTL_IO_REQUEST_COMPLETE || command == BAO_IOCTL_IOEVENTFD ||
           command == BAO_IOCTL_IRQFD;
}

/* All that can be asked of a device's file, except ATTACH. */
static int64_t ask_device(struct standin *standin, struct device *device,
                          const struct seccomp_notif *notification, struct slot **ret_slot)
{
    uint32_t command = command_of(standin, (uint32_t)notification->data.args[1]);
    pid_t tid = (pid_t)notification->pid;
    if (device->destroyed)
        return -EPERM;
    if (is_device_command(command))
        return serve_device(standin, device, notification, ret_slot);
    if (standin->abi == STANDIN_C && command == BAO_IOCTL_DM_GET_INFO)
        return get_own_info(standin, device, tid, notification->data.args[2]);
    if (standin->abi == STANDIN_D && command == BAO_D_IOCTL_GET_INFO)
        return get_created_info(standin, device, tid, notification->data.args[2]);
    return -ENOTTY;
}

static int64_t ask_node(struct standin *standin, const struct seccomp_notif *notification)
{
    uint32_t command = (uint32_t)notification->data.args[1];
    bool has_info = standin->abi == STANDIN_A || standin->abi == STANDIN_B;
    if (standin->no_driver)
        return -ENOTTY;
    if (has_info && command == BAO_IOCTL_DM_GET_INFO)
        return get_info(standin, notification);
    if (standin->abi == STANDIN_D && command == BAO_D_IOCTL_CREATE_DM)
        return create_dm(standin, notification);
    return -ENOTTY;
}

/*
 * The device by whose file a thread attaches and completes, as we saw it a moment ago. To look
 * again at each call would cost as much as the rest of the call.
 */
static struct device *known_device(const struct known_thread *threads, pid_t tid, int fd,
                                   uint32_t command)
{
    const struct known_thread *known = &threads[(unsigned int)tid % THREADS_KNOWN];
    bool hot = command == BAO_IOCTL_IO_CLIENT_ATTACH || command == BAO_IOCTL_IO_REQUEST_COMPLETE;
    if (!hot || known->tid != tid || known->fd != fd || !known->device)
        return NULL;
    return now_ms() - known->known_at < KNOWN_MS ? known->device : NULL;
}

/* Sets *ret to the device, or NULL if the fd is the node. Returns 0, -EBADF, or -ENOTTY if it is
 * neither. */
static int find_device(struct standin *standin, struct known_thread *threads, pid_t tid, int fd,
                       struct device **ret)
{
    struct stat file;
    int r = stat_fd(threads, tid, fd, &file);
    if (r < 0)
        return r;
    *ret = device_of(standin, &file, tid, fd);
    struct known_thread *known = know(threads, tid);
    if (*ret && known) {
        known->fd = fd;
        known->device = *ret;
        known->known_at = now_ms();
    }
    bool is_node = file.st_ino == standin->node_inode && file.st_dev == standin->node_dev;
    return *ret || is_node ? 0 : -ENOTTY;
}

/* A shared mapping of a file: from generation B on, it can't be larger than the window. */
static void check_mmap(struct standin *standin, struct known_thread *threads,
                       const struct seccomp_notif *notification)
{
    struct device *device = NULL;
    const uint64_t *args = (const uint64_t *)notification->data.args;
    int r = find_device(standin, threads, (pid_t)notification->pid, (int)args[4], &device);
    uint64_t window = device ? device->options.shmem_size : 0;
    if (r == 0 && device && (args[5] != 0 || args[1] > window))
        (void)standin_respond(standin, notification->id, -EINVAL);
    else
        let_it_continue(standin, notification->id);
}

static void serve_one(struct standin *standin, struct known_thread *threads,
                      const struct seccomp_notif *notification)
{
    if (notification->data.nr == SYS_mmap) {
        check_mmap(standin, threads, notification);
        return;
    }
    pid_t tid = (pid_t)notification->pid;
    uint32_t command = command_of(standin, (uint32_t)notification->data.args[1]);
    int fd = (int)notification->data.args[0];
    struct device *device = known_device(threads, tid, fd, command);
    int r = device ? 0 : find_device(standin, threads, tid, fd, &device);
    if (r == -ENOTTY) {
        let_it_continue(standin, notification->id);
        return;
    }
    struct slot *completed = NULL;
    pthread_mutex_lock(&standin->lock);
    if (device && command == BAO_IOCTL_IO_CLIENT_ATTACH && !device->destroyed) {
        standin_driver_attach(standin, device, notification->id, tid, notification->data.args[2]);
    } else {
        int64_t result = r;
        if (device)
            result = ask_device(standin, device, notification, &completed);
        else if (r == 0)
            result = ask_node(standin, notification);
        (void)standin_respond(standin, notification->id, result); /* fails if the caller has gone */
    }
    pthread_mutex_unlock(&standin->lock);
    if (completed)
        sem_post(&completed->done);
}

int standin_serve_next(struct standin *standin)
{
    struct seccomp_notif *notification = standin->notification;
    memset(notification, 0, standin->notification_size);
    if (ioctl(standin->listener, SECCOMP_IOCTL_NOTIF_RECV, notification) < 0)
        return -errno;
    serve_one(standin, standin->known_threads, notification);
    return 0;
}

void standin_forget_threads(struct standin *standin)
{
    for (unsigned int i = 0; i < THREADS_KNOWN; i++)
        forget(&standin->known_threads[i]);
}

/* The threads of the vCPUs serve notifications, or have just done so and soon will again. */
static bool vcpus_serve(const struct standin *standin)
{
    return standin->served ||
           (standin->vcpus_waiting == 0 && now_us() - standin->last_completion_us < LINGER_US);
}

static void wait_for_turn(struct standin *standin)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LINGER_US * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_clockwait(&standin->serve, &standin->lock, CLOCK_MONOTONIC, &until);
}

void *standin_server(void *argument)
{
    struct standin *standin = argument;
    pthread_mutex_lock(&standin->lock);
    while (!atomic_load(&standin->stopping)) {
        if (vcpus_serve(standin)) {
            wait_for_turn(standin);
            continue;
        }
        standin->served = true;
        pthread_mutex_unlock(&standin->lock);
        if (standin_serve_next(standin) == -ENOENT)
            usleep(1000); /* the caller had gone already, or all callers have gone for good */
        pthread_mutex_lock(&standin->lock);
        standin->served = false;
    }
    pthread_mutex_unlock(&standin->lock);
    atomic_store(&standin->server_ended, true);
    return NULL;
}
