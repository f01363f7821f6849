/* SPDX-License-Identifier: Apache-2.0 */
/* Sends one fd with the bytes of a message to a Unix socket (SCM_RIGHTS). */
#ifndef COMMON_ONE_FD_H
#define COMMON_ONE_FD_H

#include <string.h>
#include <sys/socket.h>

/* Room for the fd. It must be zeroed, and live as long as the message. */
union one_fd {
    struct cmsghdr align;
    char buffer[CMSG_SPACE(sizeof(int))];
};

/* Attach `fd` to `message`, which has no control data yet; -1: attach nothing. */
static inline void one_fd_attach(struct msghdr *message, union one_fd *room, int fd)
{
    if (fd < 0)
        return;
    message->msg_control = room->buffer;
    message->msg_controllen = sizeof(room->buffer);
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(message);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
}

#endif
