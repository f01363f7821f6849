/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kernel_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct kernel kernel;

/* An open file of a node: a memfd stands for it, so that it is known by its inode, and copies of it
 * as well. */
static struct file {
    ino_t inode;
    bool is_tun;
    struct interface *attached;
    int index; /* of that interface when it was attached */
    int header_size;
    unsigned long offloads;
} files[64];
static unsigned int file_count;
static int standard_input = -1; /* while another file has the number 0 */

void kernel_begin(void)
{
    kernel = (struct kernel){.offloads = ~0ul};
    file_count = 0;
}

void kernel_refuses(unsigned long request, int error, unsigned int later, unsigned int times)
{
    unsigned int at = kernel.refusals[0].request == 0 ? 0 : 1;
    kernel.refusals[at].request = request;
    kernel.refusals[at].error = error;
    kernel.refusals[at].later = later;
    kernel.refusals[at].times = times;
}

static bool refused(unsigned long request)
{
    for (unsigned int i = 0; i < 2; i++) {
        if (kernel.refusals[i].request != request || kernel.refusals[i].times == 0)
            continue;
        if (kernel.refusals[i].later > 0) {
            kernel.refusals[i].later--;
            continue;
        }
        kernel.refusals[i].times--;
        errno = kernel.refusals[i].error;
        return true;
    }
    return false;
}

/* ---- Numbers of files ---- */

void kernel_gives_0(unsigned long request)
{
    standard_input = fcntl(0, F_DUPFD_CLOEXEC, 3);
    close(0);
    kernel.gives_0 = request;
}

void kernel_takes_0(void)
{
    kernel.gives_0 = 0;
    dup2(standard_input, 0);
    close(standard_input);
}

/* `fd`, which the call has made, with the number that it shall have: 0, or any other. */
static int numbered(unsigned long request, int fd)
{
    int flag = fcntl(fd, F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0;
    int other = kernel.gives_0 == request ? (fd == 0 ? 0 : dup3(fd, 0, flag))
                                          : fcntl(fd, flag != 0 ? F_DUPFD_CLOEXEC : F_DUPFD, 3);
    if (other != fd)
        close(fd);
    if (kernel.gives_0 == request)
        kernel.gives_0 = 0;
    return other;
}

/* ---- Files ---- */

static struct file *file_of(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return NULL;
    for (unsigned int i = 0; i < file_count; i++) {
        if (files[i].inode == status.st_ino)
            return &files[i];
    }
    return NULL;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
    static const char *const nodes[] = {"/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock",
                                        "/vhost-net", "/vhost-vsock"};
    struct stat status;
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    size_t i = 0;
    while (i < sizeof(nodes) / sizeof(nodes[0]) && strcmp(path, nodes[i]) != 0)
        i++;
    if (i == sizeof(nodes) / sizeof(nodes[0]))
        return __real_open(path, flags, mode);
    if (refused(CALL_OPEN))
        return -1;
    snprintf(kernel.opened, sizeof(kernel.opened), "%s", path);
    kernel.open_flags = flags;
    int fd = memfd_create("node", (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0);
    if (fd < 0 || fstat(fd, &status) < 0 || file_count == sizeof(files) / sizeof(files[0]))
        abort();
    if ((flags & O_NONBLOCK) != 0)
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    files[file_count++] = (struct file){.inode = status.st_ino, .is_tun = i == 0};
    return numbered(CALL_OPEN, fd);
}

int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    (void)path;
    (void)mode;
    return refused(CALL_ACCESS) ? -1 : 0;
}

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
    return refused(CALL_SOCKET) ? -1 : numbered(CALL_SOCKET, __real_socket(domain, type, protocol));
}

int __real_eventfd(unsigned int count, int flags);
int __wrap_eventfd(unsigned int count, int flags);
int __wrap_eventfd(unsigned int count, int flags)
{
    return refused(CALL_EVENTFD) ? -1 : numbered(CALL_EVENTFD, __real_eventfd(count, flags));
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    bool copies = command == F_DUPFD_CLOEXEC && file_of(fd) && kernel.gives_0 == CALL_COPY;
    if (command == F_DUPFD_CLOEXEC && file_of(fd) && refused(CALL_COPY))
        return -1;
    if (copies)
        kernel.gives_0 = 0;
    return __real_fcntl(fd, command, argument);
}

/* ---- Interfaces ---- */

static struct interface *named(const char *name)
{
    for (unsigned int i = 0; i < 2; i++) {
        struct interface *found = &kernel.interfaces[i];
        if (found->index != 0 && !found->elsewhere && strncmp(found->name, name, IFNAMSIZ) == 0)
            return found;
    }
    return NULL;
}

static struct interface *indexed(int index)
{
    for (unsigned int i = 0; i < 2; i++) {
        struct interface *found = &kernel.interfaces[i];
        if (found->index != 0 && found->index == index && !found->elsewhere)
            return found;
    }
    return NULL;
}

unsigned int __wrap_if_nametoindex(const char *name);
unsigned int __wrap_if_nametoindex(const char *name)
{
    const struct interface *found = named(name);
    return found ? (unsigned int)found->index : 0;
}

static int fails(int error)
{
    errno = error;
    return -1;
}

static bool removed(const struct file *file)
{
    return !file->attached || file->attached->index != file->index;
}

static bool has_a_file(const struct interface *interface)
{
    for (unsigned int i = 0; i < file_count; i++) {
        if (files[i].attached == interface && !removed(&files[i]))
            return true;
    }
    return false;
}

static struct interface *make_interface(const struct ifreq *request)
{
    static int last_index = 40;
    struct interface *made = &kernel.interfaces[kernel.interfaces[0].index == 0 ? 0 : 1];
    *made = (struct interface){
        .index = ++last_index,
        .mtu = 1500,
        .several = (request->ifr_flags & IFF_MULTI_QUEUE) != 0,
    };
    memcpy(made->name, request->ifr_name, IFNAMSIZ);
    return made;
}

static int attach(struct file *file, const struct ifreq *request)
{
    struct interface *interface = named(request->ifr_name);
    bool several = (request->ifr_flags & IFF_MULTI_QUEUE) != 0;
    if ((request->ifr_flags & IFF_TAP) == 0)
        return fails(EINVAL);
    if (!interface)
        interface = make_interface(request);
    if (interface->no_tap || interface->several != several)
        return fails(EINVAL);
    if (!several && has_a_file(interface))
        return fails(EBUSY);
    file->attached = interface;
    file->index = interface->index;
    file->header_size = 10; /* as it is unless something else is asked for */
    file->offloads = ~0ul;  /* whatever was on before */
    return 0;
}

/* ---- ioctl ---- */

static int ask_interface(unsigned long request, struct ifreq *asked)
{
    const struct interface *found =
        request == SIOCGIFNAME ? indexed(asked->ifr_ifindex) : named(asked->ifr_name);
    if (!found)
        return fails(ENODEV);
    if (request == SIOCGIFNAME)
        memcpy(asked->ifr_name, found->name, IFNAMSIZ);
    else if (request == SIOCGIFINDEX)
        asked->ifr_ifindex = found->index;
    else if (request == SIOCGIFMTU)
        asked->ifr_mtu = found->mtu;
    else
        asked->ifr_flags = found->flags;
    return 0;
}

static int ask_tun(struct file *file, unsigned long request, void *argument)
{
    if (request == TUNSETIFF)
        return attach(file, argument);
    if (removed(file))
        return fails(EBADFD);
    if (request == TUNSETVNETHDRSZ)
        file->header_size = *(const int *)argument;
    if (request == TUNSETOFFLOAD && ((unsigned long)argument & ~kernel.offloads) != 0)
        return fails(EINVAL);
    if (request == TUNSETOFFLOAD)
        file->offloads = (unsigned long)argument;
    if (request == TUNGETIFF) {
        struct ifreq *asked = argument;
        memcpy(asked->ifr_name, file->attached->name, IFNAMSIZ);
        asked->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    }
    return 0;
}

static int ask(int fd, unsigned long request, void *argument)
{
    struct file *file = file_of(fd);
    if (request == SIOCGIFNAME || request == SIOCGIFINDEX || request == SIOCGIFMTU ||
        request == SIOCGIFFLAGS)
        return ask_interface(request, argument);
    if (!file)
        return fails(ENOTTY);
    if (file->is_tun)
        return ask_tun(file, request, argument);
    if (request == VHOST_GET_FEATURES)
        *(uint64_t *)argument = kernel.vhost_features;
    if (request == VHOST_VSOCK_SET_GUEST_CID)
        kernel.cid = *(const uint64_t *)argument;
    return 0;
}

static void note(int fd, unsigned long request, void *argument)
{
    struct call *call = &kernel.calls[kernel.call_count++];
    if (kernel.call_count > sizeof(kernel.calls) / sizeof(kernel.calls[0]))
        abort();
    *call = (struct call){.fd = fd, .request = request};
    if (request == TUNSETIFF) {
        const struct ifreq *asked = argument;
        call->flags = asked->ifr_flags;
        memcpy(call->name, asked->ifr_name, IFNAMSIZ);
    } else if (request == TUNSETOFFLOAD) {
        call->number = (unsigned long)argument;
    }
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    note(fd, request, argument);
    int result = refused(request) ? -1 : ask(fd, request, argument);
    int error = errno;
    if (kernel.after)
        kernel.after(request);
    errno = error;
    return result;
}

/* ---- Waiting ---- */

int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    const struct file *file = count == 1 ? file_of(fds->fd) : NULL;
    if (!file)
        return __real_poll(fds, count, timeout);
    if (refused(CALL_POLL))
        return -1;
    kernel.waited = kernel.waited || timeout != 0;
    short ready = 0;
    if (removed(file))
        ready = POLLERR;
    else if ((file->attached->flags & IFF_UP) != 0)
        ready = POLLOUT;
    fds->revents = (short)(ready & (fds->events | POLLERR));
    return fds->revents != 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)rest;
    kernel.pauses++;
    kernel.paused_ns += time->tv_sec * 1000000000ll + time->tv_nsec;
    return 0;
}

/* ---- What a test asks ---- */

const struct call *kernel_call(unsigned long request, unsigned int n)
{
    for (unsigned int i = 0; i < kernel.call_count; i++) {
        if (kernel.calls[i].request == request && n-- == 0)
            return &kernel.calls[i];
    }
    return NULL;
}

unsigned int kernel_calls(unsigned long request)
{
    unsigned int count = 0;
    while (kernel_call(request, count))
        count++;
    return count;
}

const struct interface *kernel_attached(int fd, int *ret_header_size)
{
    const struct file *file = file_of(fd);
    if (!file || removed(file))
        return NULL;
    *ret_header_size = file->header_size;
    return file->attached;
}

unsigned long kernel_offloads(int fd)
{
    const struct file *file = file_of(fd);
    return file ? file->offloads : ~0ul;
}

bool kernel_same_file(int fd, int other)
{
    return file_of(fd) && file_of(fd) == file_of(other);
}
