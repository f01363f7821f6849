/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/clock.h"

/* These are newer than the headers of Debian 12. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

#define PROCESSES_MAX 256
#define STOP_MS 30000
#define ORPHANS_MS 15000

enum standin_abi standin_default_abi(void)
{
    const char *letter = getenv("BVDM_ABI");
    if (!letter || letter[0] == '\0')
        return STANDIN_A;
    if (letter[0] < 'A' || letter[0] > 'D' || letter[1] != '\0') {
        fprintf(stderr, "stand-in: BVDM_ABI is \"%s\": expected A, B, C or D\n", letter);
        exit(EXIT_FAILURE);
    }
    return STANDIN_A + (enum standin_abi)(letter[0] - 'A');
}

const char *standin_node(enum standin_abi abi)
{
    static const char *const nodes[] = {
        [STANDIN_A] = BAO_DISPATCHER_NODE,
        [STANDIN_B] = BAO_DISPATCHER_NODE,
        [STANDIN_C] = BAO_DM_NODE "0",
        [STANDIN_D] = BAO_NODE,
    };
    return nodes[abi != STANDIN_DEFAULT ? abi : standin_default_abi()];
}

/* In generation C a device's file is its node. So the memory needs a name, and the node is made of
 * it. */
static int make_named(struct device *device)
{
    strcpy(device->path, "/tmp/bao-window-XXXXXX");
    return mkostemp(device->path, O_CLOEXEC);
}

static int make_window(const struct standin *standin, struct device *device)
{
    struct standin_device *options = &device->options;
    bool named = standin->abi == STANDIN_C;
    if (named && options->window > 0)
        return -EOPNOTSUPP;
    if (options->window > 0) {
        options->window = fcntl(options->window, F_DUPFD_CLOEXEC, 3);
    } else {
        options->window = named ? make_named(device) : memfd_create("bao-window", MFD_CLOEXEC);
        if (options->window >= 0 && ftruncate(options->window, (off_t)options->shmem_size) < 0)
            return -errno;
    }
    if (options->window < 0)
        return -errno;
    struct stat file;
    if (fstat(options->window, &file) < 0)
        return -errno;
    device->inode = file.st_ino;
    device->dev = file.st_dev;
    device->mapping =
        mmap(NULL, options->shmem_size, PROT_READ | PROT_WRITE, MAP_SHARED, options->window, 0);
    return device->mapping == MAP_FAILED ? -errno : 0;
}

static int make_device(struct standin *standin, unsigned int id,
                       const struct standin_device *options)
{
    struct device *device = &standin->devices[id];
    device->options = *options;
    int r = make_window(standin, device);
    if (r < 0)
        return r;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", device->options.window);
    device->watch = inotify_add_watch(standin->inotify, path, IN_CLOSE);
    return device->watch < 0 ? -errno : 0;
}

static void ignore(int signal_number)
{
    (void)signal_number; /* the signal only has to end a system call */
}

static int spawn(struct standin *standin, const struct standin_options *options)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    fflush(NULL);
    standin->pid = fork();
    if (standin->pid == 0)
        standin_child_run(standin, options, sockets[1]);
    int error = errno;
    close(sockets[1]);
    int r = -error;
    int node = -1;
    if (standin->pid > 0)
        r = standin_child_receive(sockets[0], &standin->listener, &node);
    close(sockets[0]);
    struct stat file;
    if (r == 0 && fstat(node, &file) == 0) {
        standin->node_dev = file.st_dev;
        standin->node_inode = file.st_ino;
    }
    if (node >= 0)
        close(node);
    return r;
}

static int start_threads(struct standin *standin)
{
    struct seccomp_notif_sizes sizes;
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return -errno;
    standin->notification_size = sizes.seccomp_notif;
    if (standin->notification_size < sizeof(struct seccomp_notif))
        standin->notification_size = sizeof(struct seccomp_notif);
    standin->notification = malloc(standin->notification_size);
    if (!standin->notification)
        return -ENOMEM;
    /* A wake-up hands the processor directly to the other side, in both directions. Older kernels
     * can't. */
    (void)ioctl(standin->listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);

    struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART */
    sigaction(STANDIN_SIGNAL, &action, NULL);
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, STANDIN_SIGNAL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(&standin->server, NULL, standin_server, standin);
    if (r == 0) {
        standin->threads_started++;
        r = -pthread_create(&standin->watcher, NULL, standin_watch, standin);
    }
    if (r == 0)
        standin->threads_started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static void stop_threads(struct standin *standin)
{
    atomic_store(&standin->stopping, true);
    if (standin->threads_started > 0) {
        /* Send it again and again: a signal that comes just before the call that it should end is
         * lost. */
        while (!atomic_load(&standin->server_ended)) {
            pthread_kill(standin->server, STANDIN_SIGNAL);
            pthread_cond_signal(&standin->serve);
            usleep(1000);
        }
        pthread_join(standin->server, NULL);
    }
    if (standin->threads_started > 1) {
        eventfd_write(standin->stop_event, 1);
        pthread_join(standin->watcher, NULL);
    }
}

static void free_device(struct device *device)
{
    if (!device->options.present)
        return;
    for (unsigned int i = 0; i < device->ioeventfd_count; i++)
        close(device->ioeventfds[i].fd);
    for (unsigned int i = 0; i < device->irqfd_count; i++)
        close(device->irqfds[i].fd);
    if (device->attacher.status_tid != 0) {
        close(device->attacher.status_fd);
        close(device->attacher.leader_status_fd);
    }
    if (device->mapping && device->mapping != MAP_FAILED)
        munmap(device->mapping, device->options.shmem_size);
    if (device->options.window >= 0)
        close(device->options.window);
    if (device->path[0] != '\0')
        unlink(device->path);
}

static void free_standin(struct standin *standin)
{
    stop_threads(standin);
    standin_forget_threads(standin);
    free(standin->notification);
    for (unsigned int i = 0; i < STANDIN_DEVICES_MAX; i++)
        free_device(&standin->devices[i]);
    if (standin->listener >= 0)
        close(standin->listener);
    if (standin->inotify >= 0)
        close(standin->inotify);
    if (standin->stop_event >= 0)
        close(standin->stop_event);
    for (unsigned int i = 0; i < STANDIN_VCPUS_MAX; i++)
        sem_destroy(&standin->slots[i].done);
    pthread_cond_destroy(&standin->slot_free);
    pthread_cond_destroy(&standin->serve);
    pthread_cond_destroy(&standin->end);
    pthread_mutex_destroy(&standin->lock);
    free(standin);
}

static struct standin *make_standin(void)
{
    struct standin *standin = calloc(1, sizeof(*standin));
    if (!standin)
        return NULL;
    pthread_mutex_init(&standin->lock, NULL);
    pthread_cond_init(&standin->slot_free, NULL);
    pthread_cond_init(&standin->serve, NULL);
    pthread_cond_init(&standin->end, NULL);
    for (unsigned int i = 0; i < STANDIN_VCPUS_MAX; i++)
        sem_init(&standin->slots[i].done, 0, 0);
    standin->listener = -1;
    standin->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    standin->stop_event = eventfd(0, EFD_CLOEXEC);
    return standin;
}

int standin_start(const struct standin_options *options, struct standin **ret)
{
    struct standin *standin = make_standin();
    if (!standin)
        return -ENOMEM;
    int r = 0;
    standin->abi = options->abi != STANDIN_DEFAULT ? options->abi : standin_default_abi();
    standin->no_driver = options->no_driver;
    for (unsigned int i = 0; i < STANDIN_DEVICES_MAX && r == 0; i++) {
        if (options->devices[i].present)
            r = make_device(standin, i, &options->devices[i]);
    }
    if (r < 0)
        fprintf(stderr, "stand-in: cannot make a device's window: %s\n", strerror(-r));
    if (r == 0)
        r = spawn(standin, options);
    if (r == 0)
        r = start_threads(standin);
    if (r < 0) {
        if (standin->pid > 0) {
            kill(standin->pid, SIGKILL);
            waitpid(standin->pid, NULL, 0);
        }
        free_standin(standin);
        return r;
    }
    *ret = standin;
    return 0;
}

pid_t standin_pid(const struct standin *standin)
{
    return standin->pid;
}

void *standin_window(struct standin *standin, unsigned int id)
{
    if (id >= STANDIN_DEVICES_MAX || !standin->devices[id].options.present)
        return NULL;
    return standin->devices[id].mapping;
}

int standin_window_fd(struct standin *standin, unsigned int id)
{
    if (!standin_window(standin, id))
        return -1;
    return standin->devices[id].options.window;
}

int standin_irq_fd(struct standin *standin, unsigned int id)
{
    int fd = -1;
    if (!standin_window(standin, id))
        return -1;
    pthread_mutex_lock(&standin->lock);
    const struct device *device = &standin->devices[id];
    if (device->irqfd_count > 0)
        fd = device->irqfds[device->irqfd_count - 1].fd;
    pthread_mutex_unlock(&standin->lock);
    return fd;
}

int standin_wait_irq(struct standin *standin, unsigned int id, int timeout_ms)
{
    int fd = standin_irq_fd(standin, id);
    if (fd < 0)
        return -ENOTCONN;
    struct pollfd line = {.fd = fd, .events = POLLIN};
    int ready = poll(&line, 1, timeout_ms);
    if (ready < 0)
        return -errno;
    eventfd_t count;
    if (ready == 0 || eventfd_read(fd, &count) < 0)
        return -ETIMEDOUT;
    return (int)count;
}

void standin_destroy(struct standin *standin, unsigned int id)
{
    pthread_mutex_lock(&standin->lock);
    standin->devices[id].destroyed = true;
    standin_driver_destroy(standin, &standin->devices[id]);
    pthread_mutex_unlock(&standin->lock);
}

void standin_counts(struct standin *standin, struct standin_counts *ret)
{
    pthread_mutex_lock(&standin->lock);
    *ret = standin->counts;
    pthread_mutex_unlock(&standin->lock);
}

const char *standin_protocol_error(struct standin *standin)
{
    pthread_mutex_lock(&standin->lock);
    bool any = standin->counts.protocol_errors > 0;
    pthread_mutex_unlock(&standin->lock);
    return any ? standin->protocol_error : NULL; /* only the first is kept */
}

void standin_expect_end(struct standin *standin)
{
    pthread_mutex_lock(&standin->lock);
    standin->end_expected = true;
    pthread_mutex_unlock(&standin->lock);
}

int standin_wait(struct standin *standin, int timeout_ms)
{
    uint64_t deadline = now_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
    while (!standin->reaped) {
        if (waitpid(standin->pid, &standin->wait_status, timeout_ms < 0 ? 0 : WNOHANG) > 0)
            standin->reaped = true;
        else if (timeout_ms >= 0 && now_ms() >= deadline)
            return -ETIMEDOUT;
        else
            usleep(500);
    }
    return standin->wait_status;
}

int standin_wait_all(struct standin *standin, int timeout_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    /* Before Linux 6.11 a process counts until its parent has waited for it. */
    (void)standin_wait(standin, timeout_ms);
    deadline.tv_sec += timeout_ms / 1000 + 1; /* rounded up */
    int r = 0;
    pthread_mutex_lock(&standin->lock);
    while (!standin->ended && r == 0)
        r = pthread_cond_clockwait(&standin->end, &standin->lock, CLOCK_MONOTONIC, &deadline);
    r = standin->ended ? 0 : -ETIMEDOUT;
    pthread_mutex_unlock(&standin->lock);
    return r;
}

/* Find processes in /proc. */

static pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *stat = fopen(path, "re");
    if (!stat)
        return -1;
    pid_t parent = -1;
    const char *name_end = fgets(line, sizeof(line), stat) ? strrchr(line, ')') : NULL;
    if (name_end && sscanf(name_end, ") %*c %d", &parent) != 1)
        parent = -1;
    fclose(stat);
    return parent;
}

static bool is_descendant(pid_t pid, pid_t ancestor)
{
    for (unsigned int depth = 0; depth < 16 && pid > 1; depth++) {
        pid = parent_of(pid);
        if (pid == ancestor)
            return true;
    }
    return false;
}

/* The processes below the keeper, sorted by pid. */
static unsigned int list_processes(const struct standin *standin, pid_t *pids)
{
    unsigned int count = 0;
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    while (proc && count < PROCESSES_MAX && (entry = readdir(proc))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || !is_descendant(pid, standin->pid))
            continue;
        unsigned int at = count++;
        for (; at > 0 && pids[at - 1] > pid; at--)
            pids[at] = pids[at - 1];
        pids[at] = pid;
    }
    if (proc)
        closedir(proc);
    return count;
}

/* The processes that open and connect for the broker run the broker's program, too. They have
 * another first argument. A process that is ending, or whose program has just been loaded, has no
 * arguments: it is not taken for a broker. */
static bool is_itself(pid_t pid)
{
    char path[64], arguments[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, arguments, sizeof(arguments) - 2);
    if (fd >= 0)
        close(fd);
    const char *first = arguments + strlen(arguments) + 1;
    return length > 0 && strncmp(first, "--open", strlen("--open")) != 0 &&
           strcmp(first, "--connect") != 0;
}

static bool runs_program(pid_t pid, const char *program)
{
    char path[64], link[512];
    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    ssize_t length = readlink(path, link, sizeof(link) - 1);
    if (length <= 0)
        return false; /* this includes a zombie */
    link[length] = '\0';
    const char *name = strrchr(link, '/');
    return strncmp(name ? name + 1 : link, program, strlen(program)) == 0 && is_itself(pid);
}

pid_t standin_find_process(const struct standin *standin, const char *program, unsigned int index)
{
    pid_t pids[PROCESSES_MAX];
    unsigned int count = list_processes(standin, pids);
    for (unsigned int i = 0; i < count; i++) {
        if (runs_program(pids[i], program) && index-- == 0)
            return pids[i];
    }
    return -ESRCH;
}

unsigned int standin_processes(const struct standin *standin, pid_t *ret, unsigned int max)
{
    pid_t pids[PROCESSES_MAX];
    const unsigned int below = list_processes(standin, pids);
    ret[0] = standin->pid;
    unsigned int count = 1;
    for (unsigned int i = 0; i < below && count < max; i++)
        ret[count++] = pids[i];
    return count;
}

int standin_stop(struct standin *standin)
{
    pid_t pids[PROCESSES_MAX];
    int pidfds[PROCESSES_MAX];
    standin_expect_end(standin);
    unsigned int count = list_processes(standin, pids);
    for (unsigned int i = 0; i < count; i++)
        pidfds[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);

    if (!standin->reaped)
        kill(standin->pid, SIGTERM);
    int result = standin_wait(standin, STOP_MS);
    if (result == -ETIMEDOUT) {
        kill(standin->pid, SIGKILL);
        standin_wait(standin, -1);
    }
    if (standin_wait_all(standin, ORPHANS_MS) < 0) {
        fprintf(stderr, "stand-in: the device model left processes behind\n");
        for (unsigned int i = 0; i < count; i++) {
            if (pidfds[i] >= 0)
                (void)syscall(SYS_pidfd_send_signal, pidfds[i], SIGKILL, NULL, 0);
        }
        if (result >= 0)
            result = -ECHILD;
    }
    for (unsigned int i = 0; i < count; i++) {
        if (pidfds[i] >= 0)
            close(pidfds[i]);
    }
    free_standin(standin);
    return result;
}
