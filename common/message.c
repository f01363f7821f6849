/* SPDX-License-Identifier: Apache-2.0 */
#include "common/message.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* For each type: who may send it, its length, and its number of fds. */
static const struct message_rule {
    enum message_role sender;
    size_t size;
    size_t fds_min, fds_max;
} rules[MSG_TYPES] = {
    [MSG_START] = {ROLE_BROKER, sizeof(struct message_start), 1, MESSAGE_FDS_MAX},
    [MSG_READY] = {ROLE_WORKER, sizeof(struct message_ready), 0, 0},
    [MSG_LOG] = {ROLE_WORKER, sizeof(struct message_log), 0, 0},
    [MSG_FAILED] = {ROLE_WORKER, sizeof(struct message_failed), 0, 0},
    [MSG_CONNECT] = {ROLE_WORKER, sizeof(struct message_connect), 0, 0},
    [MSG_CONNECTION] = {ROLE_BROKER, sizeof(struct message_connection), 0, 1},
    [MSG_STORE] = {ROLE_BROKER, sizeof(struct message_store), 1, MESSAGE_FDS_MAX},
    [MSG_RESTORE] = {ROLE_KEEPER, sizeof(struct message_store), 1, MESSAGE_FDS_MAX},
    [MSG_RESTORE_END] = {ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    [MSG_RUNNING] = {ROLE_BROKER, sizeof(struct message_header), 0, 0},
    [MSG_SPAWN] = {ROLE_BROKER, sizeof(struct message_header), 1, 1},
    [MSG_KILL] = {ROLE_BROKER, sizeof(struct message_header), 0, 0},
    [MSG_SPAWNED] = {ROLE_KEEPER, sizeof(struct message_spawned), 0, 0},
    [MSG_DIED] = {ROLE_KEEPER, sizeof(struct message_died), 0, 0},
    [MSG_STOP] = {ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    [MSG_STORED] = {ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    [MSG_CONFIG] = {ROLE_BROKER, sizeof(struct message_header), 0, 1},
    [MSG_OPEN] = {ROLE_BROKER, sizeof(struct message_open), 2, 2},
    [MSG_KEEP] = {ROLE_BROKER, sizeof(struct message_opened), 0, OPENED_FILES},
    [MSG_KEPT] = {ROLE_KEEPER, sizeof(struct message_opened), 0, OPENED_FILES},
    [MSG_PING] = {ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    [MSG_PONG] = {ROLE_BROKER, sizeof(struct message_header), 0, 0},
    [MSG_OPENED] = {ROLE_OPENER, sizeof(struct message_opened), 0, OPENED_FILES},
    [MSG_CONNECTOR] = {ROLE_BROKER, sizeof(struct message_header), 1, 1},
    [MSG_CONNECT_TO] = {ROLE_BROKER, sizeof(struct message_connect_to), 0, 0},
    [MSG_CONNECTED] = {ROLE_CONNECTOR, sizeof(struct message_connected), 0, 1},
};

static const struct message_rule *rule_of(unsigned int type)
{
    return type < MSG_TYPES && rules[type].size != 0 ? &rules[type] : NULL;
}

union fd_control {
    struct cmsghdr align;
    char buffer[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
};

int message_send(int socket, union message *message, const int *fds, size_t fd_count)
{
    const struct message_rule *rule = rule_of(message->header.type);
    if (!rule || fd_count < rule->fds_min || fd_count > rule->fds_max)
        return -EINVAL;
    message->header.version = MESSAGE_VERSION;

    union fd_control control = {0};
    struct iovec iov = {.iov_base = message, .iov_len = rule->size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = control.buffer;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

size_t message_take_fds(struct msghdr *header, int *fds, size_t room)
{
    size_t count = 0;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        size_t present = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < present; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            if (count < room)
                fds[count] = fd;
            else
                close(fd);
            count++;
        }
    }
    return count;
}

static bool well_formed(const union message *message, size_t length, enum message_role sender,
                        size_t fd_count, int flags)
{
    if ((flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || length < sizeof(struct message_header))
        return false;
    const struct message_rule *rule = rule_of(message->header.type);
    return rule && message->header.version == MESSAGE_VERSION && rule->sender == sender &&
           rule->size == length && fd_count >= rule->fds_min && fd_count <= rule->fds_max;
}

int message_receive(int socket, enum message_role sender, union message *ret_message, int *fds,
                    size_t *ret_fd_count)
{
    union message message = {0};
    union fd_control control = {0};
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buffer,
        .msg_controllen = sizeof(control.buffer),
    };
    ssize_t length;
    do
        length = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        return errno == ECONNRESET ? 0 : -errno;

    size_t fd_count = message_take_fds(&header, fds, MESSAGE_FDS_MAX);
    if (length == 0 && fd_count == 0)
        return 0;
    if (!well_formed(&message, (size_t)length, sender, fd_count, header.msg_flags)) {
        for (size_t i = 0; i < fd_count && i < MESSAGE_FDS_MAX; i++)
            close(fds[i]);
        return -EPROTO;
    }
    *ret_message = message;
    *ret_fd_count = fd_count;
    return 1;
}
