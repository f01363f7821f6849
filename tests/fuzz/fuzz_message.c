/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_receive on arbitrary packets. An input is a series of packets: who receives, how many
 * fds, the length, and the bytes. This fuzzer has its own table of what may pass.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/message.h"
#include "tests/fuzz/violated.h"

#define FDS_SENT_MAX (MESSAGE_FDS_MAX + 8)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int pair[2];
static int file; /* the file that is sent as fd */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0,
            "socketpair");
    file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    require(file >= 0, "/dev/null");
    return 0;
}

/* What the comments of common/message.h say, written a second time. */
static bool may_pass(enum message_role sender, const uint8_t *bytes, size_t length, size_t fds)
{
    static const struct {
        enum message_role sender;
        size_t length;
        size_t fds_min, fds_max;
    } known[] = {
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
    struct message_header header;
    if (length < sizeof(header))
        return false;
    memcpy(&header, bytes, sizeof(header));
    if (header.type == 0 || header.type >= sizeof(known) / sizeof(known[0]))
        return false;
    return known[header.type].sender == sender && known[header.type].length == length &&
           header.version == MESSAGE_VERSION && fds >= known[header.type].fds_min &&
           fds <= known[header.type].fds_max;
}

static bool send_packet(const uint8_t *bytes, size_t length, size_t fds)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int) * FDS_SENT_MAX)];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fds > 0) {
        header.msg_control = control.buffer;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        *cmsg = (struct cmsghdr){CMSG_LEN(sizeof(int) * fds), SOL_SOCKET, SCM_RIGHTS};
        for (size_t i = 0; i < fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &file, sizeof(file));
    }
    return sendmsg(pair[0], &header, MSG_NOSIGNAL) == (ssize_t)length;
}

/* The lowest free fd number. It is the same before and after, unless an fd was leaked. */
static int lowest_free(void)
{
    int fd = fcntl(file, F_DUPFD_CLOEXEC, 0);
    require(fd >= 0, "F_DUPFD_CLOEXEC");
    close(fd);
    return fd;
}

static void receive(enum message_role sender, const uint8_t *bytes, size_t length, size_t sent)
{
    static const union message untouched = {.header = {.type = 0xa5a5}};
    union message message = untouched;
    int fds[MESSAGE_FDS_MAX];
    size_t count = 12345;
    int r = message_receive(pair[1], sender, &message, fds, &count);
    if (!may_pass(sender, bytes, length, sent)) {
        require(r == -EPROTO || (r == 0 && length == 0 && sent == 0), "a wrong packet passes");
        require(count == 12345 && memcmp(&message, &untouched, sizeof(message)) == 0,
                "result after a failure");
        return;
    }
    require(r == 1 && count == sent, "a right packet does not pass");
    require(memcmp(&message, bytes, length) == 0, "another message than was sent");
    for (size_t i = 0; i < count; i++) {
        require(fcntl(fds[i], F_GETFD) == FD_CLOEXEC, "an fd is not close-on-exec");
        close(fds[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size >= 3) {
        enum message_role sender = (enum message_role)(data[0] % 4);
        size_t fds = data[1] % FDS_SENT_MAX, length = data[2];
        data += 3;
        size -= 3;
        if (length > size)
            length = size;
        int before = lowest_free();
        require(send_packet(data, length, fds), "sendmsg");
        receive(sender, data, length, fds);
        require(lowest_free() == before, "an fd is left open");
        data += length;
        size -= length;
    }
    return 0;
}
