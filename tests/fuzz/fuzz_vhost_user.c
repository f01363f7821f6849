/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user daemon that sends anything. The broker's part of the dialogue takes what it gets, in
 * any pieces and with any number of files. It never waits, it keeps nothing that it should not, and
 * it writes nothing beyond an answer. An input is a series of the daemon's actions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/dialogue.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/violated.h"

#define FDS_SENT_MAX 3
#define STEPS_MAX 1000

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file; /* the file that is sent as fd, and as the memory */
static int first_free;
static int daemon_end;

static int lowest_free_fd(void)
{
    int fd = dup(file);
    close(fd);
    return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    file = open("/dev/null", O_RDWR | O_CLOEXEC);
    require(file >= 0, "/dev/null");
    first_free = lowest_free_fd();
    return 0;
}

static void send_bytes(const void *data, size_t size, unsigned int fds)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int) * FDS_SENT_MAX)];
    } control = {0};
    struct iovec part = {(void *)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fds > 0) {
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fds);
        for (unsigned int i = 0; i < fds; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &file, sizeof(int));
    }
    if (size > 0)
        (void)!sendmsg(daemon_end, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The last request that the broker has sent. Its files are closed. */
static bool last_request(struct vhost_user_header *ret)
{
    static unsigned char payload[1024];
    bool any = false;
    struct vhost_user_header header;
    while (recv(daemon_end, &header, sizeof(header), MSG_DONTWAIT) == (ssize_t)sizeof(header)) {
        require(header.size <= sizeof(union vhost_user_payload), "a request has a payload's size");
        require(header.size == 0 ||
                    recv(daemon_end, payload, header.size, MSG_DONTWAIT) == (ssize_t)header.size,
                "a request is whole");
        *ret = header;
        any = true;
    }
    return any;
}

static size_t take(struct input *input, void *to, size_t size)
{
    size_t part = size < input->size ? size : input->size;
    memcpy(to, input->data, part);
    input->data += part;
    input->size -= part;
    return part;
}

/* Send raw bytes, or an answer to the request; the input gives its size and payload. */
static void act(struct input *input, const struct vhost_user_header *asked)
{
    uint8_t bytes[512] = {0}, action[2] = {0};
    take(input, action, sizeof(action));
    unsigned int fds = action[0] >> 6;
    size_t size = action[1];
    if ((action[0] & 1) != 0) {
        struct vhost_user_header header = {asked->request, VHOST_USER_VERSION | VHOST_USER_REPLY,
                                           (uint32_t)size};
        memcpy(bytes, &header, sizeof(header));
        take(input, bytes + sizeof(header), size);
        size += sizeof(header);
    } else {
        size = take(input, bytes, size);
    }
    send_bytes(bytes, size, fds);
}

static void check(const struct vhost_user *vu)
{
    require(vu->received <= sizeof(vu->header) + sizeof(vu->payload), "an answer fits");
    require(vu->answer_fd < 0 || vu->sent, "a file belongs to an answer");
    require((vu->protocol_features & 1ull << VHOST_USER_PROTOCOL_F_CONFIG) == 0 ||
                vu->terms.config_size > 0,
            "no configuration space that nobody asked for");
}

static void close_if(int fd)
{
    if (fd >= 0)
        close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct vhost_user_header asked = {0};
    struct failure failure;
    struct vhost_user vu;
    int sockets[2], result = -EINPROGRESS;
    uint8_t config_size = 0;
    int64_t now = 1000;
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) == 0,
            "socketpair");
    take(&input, &config_size, 1);
    vhost_user_init(&vu);
    vu.terms = (struct vhost_user_terms){
        .address = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"},
        .queues = 2,
        .queue_size = 256,
        .config_size = config_size,
        .config_needed = (config_size & 1) != 0,
        .memory_size = 4096,
        .memory = file,
    };
    vu.fd = sockets[0];
    daemon_end = sockets[1];
    for (unsigned int i = 0; i < STEPS_MAX && result == -EINPROGRESS; i++) {
        result = vhost_user_step(&vu, now, &failure);
        require(result == 0 || result == -EINPROGRESS || result == -ECONNREFUSED, "a known result");
        require(result != -ECONNREFUSED || vu.fd < 0, "a failure closes the connection");
        check(&vu);
        (void)last_request(&asked);
        if (input.size > 0)
            act(&input, &asked);
        else
            now += VHOST_USER_STEP_MS;
    }
    require(result != -EINPROGRESS, "a daemon that says nothing is given up");
    close_if(vu.fd);
    close_if(vu.requests);
    close_if(vu.inflight_fd);
    close(daemon_end);
    require(vu.answer_fd < 0 && lowest_free_fd() == first_free, "no file is left open");
    return 0;
}
