/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/box.h"
#include "worker/device.h"
#include "worker/ring.h"

#define SCHED_PRIORITY_MAX 99u /* sched(7) */

static int state_fd(const struct message_start *start)
{
    return (int)start_fd_count(start);
}

static int dm_fd(const struct message_start *start)
{
    return state_fd(start) + 1;
}

/* The socket may be non-blocking, so poll first. The broker's end of it certainly is
 * non-blocking. */
static int wait_for_message(void)
{
    struct pollfd control = {.fd = WORKER_FD_CONTROL, .events = POLLIN};
    int ready;
    do
        ready = poll(&control, 1, -1);
    while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return -errno;
    return (control.revents & POLLNVAL) != 0 ? -EBADF : 0;
}

/* The window is mapped as a whole, in one call. */
static bool window_usable(const struct message_start *start)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return start->shmem_size % page == 0 && start->shmem_size <= PTRDIFF_MAX &&
           start->shmem_addr % page == 0;
}

/* Check what concerns the process; device_start_usable checks what concerns the device. */
static int check_start(const struct message_start *start)
{
    if (!device_start_usable(start) || !window_usable(start))
        return -EINVAL;
    if (!memchr(start->name, 0, sizeof(start->name)) || start->name[0] == 0)
        return -EINVAL;
    if (start->uid < WORKER_UID_MIN || start->uid == (uid_t)-1)
        return -EINVAL;
    return start->sched_priority > SCHED_PRIORITY_MAX ? -EINVAL : 0;
}

/* The kernel gives out the lowest free numbers. 0 to 4 are taken, so these fds must be 5, 6,
 * 7... */
static int check_fds(const struct message_start *start, const int *fds, size_t count)
{
    if (count != (size_t)dm_fd(start) + 1 - WORKER_FD_REQUEST)
        return -EPROTO;
    for (size_t i = 0; i < count; i++) {
        if (fds[i] != WORKER_FD_REQUEST + (int)i)
            return -EPROTO;
    }
    return 0;
}

int start_receive(struct message_start *ret_start)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0;

    int error = wait_for_message();
    if (error < 0)
        return error;
    int received = message_receive(WORKER_FD_CONTROL, ROLE_BROKER, &message, fds, &fd_count);
    if (received <= 0)
        return received == 0 ? -EPIPE : received;
    if (message.header.type != MSG_START)
        return -EPROTO;
    *ret_start = message.start;
    error = check_start(ret_start);
    return error < 0 ? error : check_fds(ret_start, fds, fd_count);
}

/* The box moves to another number, so that its own number is the lowest free one. */
static int open_in_place(int number)
{
    int box = fcntl(number, F_DUPFD_CLOEXEC, number + 1);
    if (box < 0)
        return -errno;
    close(number);
    int file = box_open(box);
    close(box);
    if (file < 0)
        return file;
    return file == number ? 0 : -EPROTO;
}

int start_open_boxes(const struct message_start *start)
{
    for (uint32_t file = 0; file < start->backend_fd_count; file++) {
        int error =
            (start->boxed & 1u << file) != 0 ? open_in_place(WORKER_FD_BACKEND + (int)file) : 0;
        if (error < 0)
            return error;
    }
    return 0;
}

/*
 * The mark of worker/ring.h: an open file description of the state page that is this process's
 * alone. What the broker sent is its own, with its own locks.
 */
static int open_mark(int state)
{
    char path[] = "/proc/self/fd/\0\0"; /* numbers of at most two digits */
    char *digit = path + strlen(path);
    if (state >= 10)
        *digit++ = (char)('0' + state / 10);
    *digit = (char)('0' + state % 10);
    int mark = open(path, O_RDWR | O_CLOEXEC);
    if (mark < 0)
        return -errno;
    int moved = fcntl(mark, F_DUPFD_CLOEXEC, WORKER_FD_RING);
    close(mark);
    if (moved < 0)
        return -errno;
    return moved == WORKER_FD_RING ? 0 : -EBUSY;
}

int start_map_state(const struct message_start *start, struct state_page **ret_state)
{
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW;
    int fd = state_fd(start);
    struct stat file;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || fstat(fd, &file) < 0)
        return -errno;
    if ((seals & needed) != needed)
        return -EPERM;
    if (file.st_size != STATE_SIZE)
        return -EINVAL;

    int error = device_kinds[start->kind].ring ? open_mark(fd) : 0;
    if (error < 0)
        return error;
    void *page = mmap(NULL, STATE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED || close(fd) < 0)
        return -errno;
    *ret_state = page;
    return 0;
}

int start_map_window(const struct message_start *start, void **ret_window)
{
    int fd = dm_fd(start);
    size_t size = (size_t)start->shmem_size;
    struct stat file;
    if (fstat(fd, &file) < 0)
        return -errno;
    /* The driver's own file has no size. A regular file that is too short would mean SIGBUS. */
    if (S_ISREG(file.st_mode) && (uint64_t)file.st_size < start->shmem_size)
        return -ENXIO;

    void *window = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (window == MAP_FAILED || madvise(window, size, MADV_DONTDUMP) < 0 || close(fd) < 0)
        return -errno;
    *ret_window = window;
    return 0;
}

int start_schedule(const struct message_start *start)
{
    cpu_set_t processors;
    CPU_ZERO(&processors);
    for (size_t n = 0; n < 64; n++) {
        if ((start->processors & 1ull << n) != 0)
            CPU_SET(n, &processors);
    }
    if (start->processors != 0 && sched_setaffinity(0, sizeof(processors), &processors) < 0)
        return -errno;
    const struct sched_param fifo = {.sched_priority = (int)start->sched_priority};
    if (start->sched_priority != 0 && sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
        return -errno;
    return 0;
}

int start_fill_fds(const struct message_start *start)
{
    bool ring = device_kinds[start->kind].ring;
    int end = ring ? WORKER_FD_RING : (int)worker_fd_count(start);
    for (int fd = (int)start_fd_count(start); fd < end; fd++) {
        int filled = fcntl(WORKER_FD_NULL_IN, F_DUPFD_CLOEXEC, fd);
        if (filled != fd)
            return filled < 0 ? -errno : -EBUSY;
    }
    return 0;
}

int start_open_ring(const struct message_start *start)
{
    if (!device_kinds[start->kind].ring)
        return 0;
    return ring_open(start->of_kind.block.direct && !start->of_kind.block.read_only,
                     start->processors);
}

unsigned int start_fd_limit(const struct message_start *start)
{
    const struct device_kind_info *info = &device_kinds[start->kind];
    if (!info->connections)
        return 0;
    return connections_fd_limit(info->connections_max > 0 ? start->of_kind.vsock.connections : 0);
}

void start_fd_kinds(const struct message_start *start, enum fd_kind *ret_kinds)
{
    static const enum fd_kind fixed[WORKER_FD_BACKEND] = {
        [WORKER_FD_NULL_IN] = FD_NULL,         [WORKER_FD_NULL_OUT] = FD_NULL,
        [WORKER_FD_NULL_ERR] = SANDBOX_STDERR, [WORKER_FD_CONTROL] = FD_SOCKET,
        [WORKER_FD_EPOLL] = FD_EPOLL,          [WORKER_FD_REQUEST] = FD_EVENT,
        [WORKER_FD_REPLY] = FD_EVENT,          [WORKER_FD_CALL] = FD_EVENT,
    };
    unsigned int kicks = WORKER_FD_BACKEND + start->backend_fd_count;
    for (unsigned int fd = 0; fd < worker_fd_count(start); fd++) {
        if (fd < WORKER_FD_BACKEND)
            ret_kinds[fd] = fixed[fd];
        else if (fd < kicks)
            ret_kinds[fd] = FD_BACKEND;
        else
            ret_kinds[fd] = fd < start_fd_count(start) ? FD_EVENT : FD_NULL;
    }
    if (device_kinds[start->kind].ring)
        ret_kinds[WORKER_FD_RING] = FD_RING;
}

/* The worker measures, and not the broker, since a disk or a server can make the caller wait. */
void start_measure(struct message_start *start)
{
    const struct device_ops *ops = device_ops_of(start->kind);
    if (ops->measure)
        ops->measure(start);
}

uint64_t start_file_size_max(const struct message_start *start)
{
    const struct device_ops *ops = device_ops_of(start->kind);
    return ops->file_size_max ? ops->file_size_max(start) : 0;
}
