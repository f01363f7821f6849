/* SPDX-License-Identifier: Apache-2.0 */
#include "common/box.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/one_fd.h"

#define MARK 'B' /* a message must have at least one byte */

static int put(int socket, int fd)
{
    char mark = MARK;
    union one_fd room = {0};
    struct iovec iov = {.iov_base = &mark, .iov_len = sizeof(mark)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    one_fd_attach(&message, &room, fd);
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int box_make(int fd)
{
    int ends[2];
    if (fd < 0)
        return -EBADF;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    int result = put(ends[1], fd);
    /* The file in the other end's queue stays there. */
    close(ends[1]);
    if (result < 0) {
        close(ends[0]);
        return result;
    }
    return ends[0];
}

int box_open(int box)
{
    char mark = 0;
    union one_fd room = {0};
    struct iovec iov = {.iov_base = &mark, .iov_len = sizeof(mark)};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = room.buffer,
        .msg_controllen = sizeof(room.buffer),
    };
    ssize_t length = recvmsg(box, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0)
        return errno == ENOTSOCK || errno == EAGAIN ? -EPROTO : -errno;
    int fd = -1;
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
        cmsg->cmsg_len == CMSG_LEN(sizeof(fd)))
        memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
    bool good = length == (ssize_t)sizeof(mark) && mark == MARK && fd >= 0 &&
                (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    if (!good && fd >= 0)
        close(fd);
    return good ? fd : -EPROTO;
}
