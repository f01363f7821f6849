/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/newer_net.h"

#define NODE "/dev/net/tun"
#define VNET_HEADER_SIZE 12 /* VirtIO 1.2 §5.1.6: with num_buffers */

/* After a worker was killed, the kernel takes some time to release its files. */
#define BUSY_RETRIES 20
#define BUSY_RETRY_MS 25

static int failed(struct failure *failure, const char *name, const char *what, int error)
{
    return failure_set(failure, -error, "tap \"%s\": %s: %s", name, what, strerror(error));
}

static int attach(int fd, const char name[IFNAMSIZ], int flags)
{
    struct ifreq request = {.ifr_flags = (short)flags};
    memcpy(request.ifr_name, name, sizeof(request.ifr_name));
    return ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : 0;
}

static int attach_patiently(int fd, const char name[IFNAMSIZ], int flags)
{
    const struct timespec pause = {.tv_nsec = BUSY_RETRY_MS * 1000000L};
    int result = attach(fd, name, flags);
    for (int i = 0; result == -EBUSY && i < BUSY_RETRIES; i++) {
        nanosleep(&pause, NULL);
        result = attach(fd, name, flags);
    }
    return result;
}

static int cannot_attach(struct failure *failure, const char *name, bool multi_queue, int error)
{
    if (error == EBUSY)
        return failure_set(failure, -error,
                           "tap \"%s\" is in use by another process: end that one first", name);
    if (error == EINVAL)
        return failure_set(failure, -error,
                           "interface \"%s\" is no tap that fits: expected one made by \"ip tuntap "
                           "add %s mode tap%s\"",
                           name, name, multi_queue ? " multi_queue" : "");
    return failed(failure, name, "TUNSETIFF", error);
}

/* Open one file of the interface. A tap that was made for several queues also works with one. */
static int open_queue(const char name[IFNAMSIZ], bool multi_queue, struct failure *failure)
{
    const int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    int fd = open(NODE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return failure_set(failure, -errno, "%s: %s: load the module with \"modprobe tun\"", NODE,
                           strerror(errno));
    int result = attach_patiently(fd, name, flags | (multi_queue ? IFF_MULTI_QUEUE : 0));
    if (result == -EINVAL && !multi_queue)
        result = attach_patiently(fd, name, flags | IFF_MULTI_QUEUE);
    const int size = VNET_HEADER_SIZE;
    if (result < 0)
        result = cannot_attach(failure, name, multi_queue, -result);
    else if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
        result = failed(failure, name, "TUNSETVNETHDRSZ", errno);
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

/* Find out which offloads the kernel accepts. The only way is to try; at the end all are off. */
static int probe_offloads(int fd, uint32_t *ret_offloads)
{
    static const uint32_t sets[] = {
        TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO | TUN_F_USO4 | TUN_F_USO6,
        TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO,
        TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
        TUN_F_CSUM,
    };
    *ret_offloads = 0;
    for (size_t i = 0; *ret_offloads == 0 && i < sizeof(sets) / sizeof(sets[0]); i++) {
        if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)sets[i]) == 0)
            *ret_offloads = sets[i];
    }
    return ioctl(fd, TUNSETOFFLOAD, 0ul) < 0 ? -errno : 0;
}

static int learn(struct tap *tap, struct failure *failure)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, tap->name, sizeof(request.ifr_name));
    if (probe_offloads(tap->queues[0], &tap->offloads) < 0)
        return failed(failure, tap->name, "TUNSETOFFLOAD", errno);
    if (ioctl(tap->socket, SIOCGIFMTU, &request) < 0)
        return failed(failure, tap->name, "SIOCGIFMTU", errno);
    tap->mtu = (uint32_t)request.ifr_mtu;
    if (ioctl(tap->socket, SIOCGIFINDEX, &request) < 0)
        return failed(failure, tap->name, "SIOCGIFINDEX", errno);
    tap->index = request.ifr_ifindex;
    return 0;
}

static void close_all(struct tap *tap)
{
    for (unsigned int i = 0; i < tap->queue_count; i++)
        close(tap->queues[i]);
    close(tap->socket);
}

/* Is it a file of the interface with this index? The interface may have been removed, or moved to
 * another network namespace, where its name means nothing to us. */
static bool is_file_of(int file, int socket, int index)
{
    struct ifreq request = {0};
    return ioctl(file, TUNGETIFF, &request) == 0 && ioctl(socket, SIOCGIFINDEX, &request) == 0 &&
           request.ifr_ifindex == index;
}

/* Go on with copies of the files from before, as far as they are wanted. */
static void use_again(struct tap *tap, const struct tap_before *before, unsigned int queues)
{
    const int size = VNET_HEADER_SIZE;
    for (unsigned int i = 0; i < before->file_count && tap->queue_count < queues; i++) {
        if (!is_file_of(before->files[i], tap->socket, before->index) ||
            ioctl(before->files[i], TUNSETVNETHDRSZ, &size) < 0)
            continue;
        int copy = fcntl(before->files[i], F_DUPFD_CLOEXEC, 0);
        if (copy >= 0)
            tap->queues[tap->queue_count++] = copy;
    }
}

/* Find the present name of the interface, if its index is known: none has the index 0. It is an
 * error if there is no interface of that name. */
static int find_again(struct tap *tap, const struct tap_before *before, int *ret_index,
                      struct failure *failure)
{
    struct ifreq request = {.ifr_ifindex = before->index};
    if (ioctl(tap->socket, SIOCGIFNAME, &request) == 0)
        memcpy(tap->name, request.ifr_name, sizeof(tap->name));
    memcpy(request.ifr_name, tap->name, sizeof(request.ifr_name));
    int error = ioctl(tap->socket, SIOCGIFINDEX, &request) < 0 ? errno : 0;
    *ret_index = request.ifr_ifindex;
    if (error == ENODEV)
        return failure_set(failure, -error,
                           "tap \"%s\" is not there any more: none is made for a device that has "
                           "run: \"ip tuntap add %s mode tap\", or name the one that it has now",
                           tap->name, tap->name);
    return error != 0 ? failed(failure, tap->name, "SIOCGIFINDEX", error) : 0;
}

int tap_open(struct tap *tap, const char *name, unsigned int queues,
             const struct tap_before *before, struct failure *failure)
{
    int index = 0;
    *tap = (struct tap){0};
    snprintf(tap->name, sizeof(tap->name), "%s", name);
    /* Any address family will do: its requests go to the network namespace. */
    tap->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (tap->socket < 0)
        return failed(failure, tap->name, "socket", errno);
    tap->made = !before->ran && if_nametoindex(name) == 0;
    int result = before->ran ? find_again(tap, before, &index, failure) : 0;
    if (result == 0)
        use_again(tap, before, queues);
    while (result == 0 && tap->queue_count < queues) {
        int fd = open_queue(tap->name, queues > 1, failure);
        if (fd < 0)
            result = fd;
        else
            tap->queues[tap->queue_count++] = fd;
    }
    if (result == 0)
        result = learn(tap, failure);
    if (result == 0 && before->ran && tap->index != index)
        result = failure_set(failure, -EAGAIN, "tap \"%s\" was removed meanwhile", tap->name);
    if (result < 0)
        close_all(tap);
    return result;
}

/* Get the flags of the interface, whatever its name is now. Returns false if it is not in this
 * namespace any more. */
static bool ask_flags(int socket, int index, short *ret)
{
    /* Try again if it got another name in between. */
    for (int i = 0; i < 2; i++) {
        struct ifreq request = {.ifr_ifindex = index};
        if (ioctl(socket, SIOCGIFNAME, &request) < 0)
            return false;
        if (ioctl(socket, SIOCGIFFLAGS, &request) == 0) {
            *ret = request.ifr_flags;
            return true;
        }
    }
    return false;
}

void tap_look(int file, int socket, int index, struct tap_link *ret)
{
    /* The kernel reports that a tap's file can be written only while the interface is up. It
     * reports an error once the interface does not exist any more. */
    struct pollfd state = {.fd = file, .events = POLLOUT};
    short flags;
    *ret = (struct tap_link){.place = TAP_GONE};
    if (poll(&state, 1, 0) < 0 || (state.revents & POLLERR) != 0)
        return;
    bool here = ask_flags(socket, index, &flags);
    ret->place = here ? TAP_HERE : TAP_MOVED;
    ret->up = (state.revents & POLLOUT) != 0;
    ret->carrier = !here || (flags & IFF_RUNNING) != 0;
}
