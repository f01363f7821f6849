/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock-bridge: connects a program of the backend that speaks AF_VSOCK with a frontend whose
 * sockets are Unix sockets there (vsock/virtio). Each connection has its like on the other side.
 *
 * Both sides of a connection have the same type. Bytes and messages go on as they come. One side's
 * "I send no more", "I read no more" and "I am closed" are told to the other side as what they are.
 *
 * What cannot be told:
 *   - A refusal. On both families connect(2) is done when the kernel has put the connection into
 *     the listener's queue, before a program sees it. AF_VSOCK has no reset that a program could
 *     ask for, either (before Linux 6.16: no SO_LINGER). So a side whose connection is refused by
 *     the other one is closed at once.
 *   - MSG_EOR: Unix sockets have none.
 *
 * Two processes serve a connection, one for each direction, so that each may simply wait.
 */
#include <sys/socket.h> /* before linux/vm_sockets.h, which in Linux 6.1 does not include it */

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/vm/send_all.h"

#define MESSAGE_MAX ((size_t)256 << 10)
#define BACKLOG 128
#define LOOK_MS 50 /* how often to look for what no event tells of */

struct side {
    int fd;
    bool vsock;
    bool messages; /* a seqpacket socket */
};

struct settings {
    bool from_frontend;
    int type;
    const char *path; /* the device's socket_path */
    unsigned int port;
};

static void say(const char *what)
{
    (void)fprintf(stderr, "vsock-bridge: %s: %s\n", what, strerror(errno));
}

/* ---- One direction ---- */

/* Does this side's peer neither send nor receive any more? For AF_VSOCK no event tells of the
 * second; but sending nothing does, and does no more than that. */
static bool closed_altogether(struct side side)
{
    if (side.vsock)
        return send(side.fd, "", 0, MSG_NOSIGNAL) < 0 && (errno == EPIPE || errno == ENOTCONN);
    struct pollfd look = {.fd = side.fd};
    return poll(&look, 1, 0) > 0 && (look.revents & POLLHUP) != 0;
}

/* Until `from` has ended, or `to` takes no more. */
static void carry_data(struct side from, struct side to)
{
    static char buffer[MESSAGE_MAX];
    for (;;) {
        /* MSG_TRUNC: the whole length of a message, also of one that does not fit. */
        ssize_t n = recv(from.fd, buffer, sizeof(buffer), from.messages ? MSG_TRUNC : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        if ((size_t)n > sizeof(buffer)) {
            errno = EMSGSIZE;
            say("a message");
            return;
        }
        if (!send_all(to.fd, buffer, (size_t)n)) {
            (void)shutdown(from.fd, SHUT_RD);
            return;
        }
    }
}

/* Whoever closes a socket tells both at once, and the other side is to be told both at once. */
static void carry(struct side from, struct side to)
{
    carry_data(from, to);
    if (!closed_altogether(from)) {
        (void)shutdown(to.fd, SHUT_WR);
        /* Also true when the other direction has ended: this side's own end is then shut, too. */
        while (!closed_altogether(from))
            (void)poll(NULL, 0, LOOK_MS);
    }
    (void)shutdown(to.fd, SHUT_RDWR);
}

/* ---- Sockets ---- */

/* The Unix socket's path, with what the port or the type adds to it. */
static bool unix_address(const char *path, const char *suffix, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s%s", path, suffix);
    if (length > 0 && (size_t)length < sizeof(ret->sun_path))
        return true;
    errno = ENAMETOOLONG;
    return false;
}

static struct sockaddr_vm loopback_address(unsigned int port)
{
    return (struct sockaddr_vm){
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = port};
}

static bool listen_at(int fd, const void *address, socklen_t size)
{
    return fd >= 0 && bind(fd, address, size) == 0 && listen(fd, BACKLOG) == 0;
}

/* Where the side that opens connections finds the bridge. Returns the socket, or -1. */
static int listen_near(const struct settings *settings)
{
    const int type = settings->type | SOCK_CLOEXEC;
    bool listens;
    int fd;
    if (settings->from_frontend) {
        char suffix[16];
        struct sockaddr_un address;
        (void)snprintf(suffix, sizeof(suffix), "_%u", settings->port);
        if (!unix_address(settings->path, suffix, &address))
            return -1;
        (void)unlink(address.sun_path);
        fd = socket(AF_UNIX, type, 0);
        listens = listen_at(fd, &address, sizeof(address));
    } else {
        struct sockaddr_vm address = loopback_address(settings->port);
        fd = socket(AF_VSOCK, type, 0);
        listens = listen_at(fd, &address, sizeof(address));
    }
    return listens ? fd : -1;
}

/* "CONNECT port", and the device's "OK": byte by byte, since data may follow it. */
static bool greet(const struct settings *settings, int fd)
{
    char line[32];
    int length = snprintf(line, sizeof(line), "CONNECT %u\n", settings->port);
    if (!send_all(fd, line, (size_t)length))
        return false;
    const size_t step = settings->type == SOCK_STREAM ? 1 : sizeof(line);
    size_t got = 0;
    while (got < sizeof(line) && (got == 0 || line[got - 1] != '\n')) {
        ssize_t n = recv(fd, line + got, step < sizeof(line) - got ? step : sizeof(line) - got, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ECONNREFUSED;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    errno = EPROTO;
    return strncmp(line, "OK ", 3) == 0;
}

/* Room for every message of AF_VSOCK: more than a Unix socket usually has. */
static void take_messages(int fd)
{
    const int size = MESSAGE_MAX;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Returns the connected socket, or -1. */
static int connect_far(const struct settings *settings)
{
    const int type = settings->type | SOCK_CLOEXEC;
    if (settings->from_frontend) {
        struct sockaddr_vm address = loopback_address(settings->port);
        int fd = socket(AF_VSOCK, type, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        close(fd);
        return -1;
    }
    struct sockaddr_un address;
    const char *suffix = settings->type == SOCK_STREAM ? "" : "_seqpacket";
    int fd = socket(AF_UNIX, type, 0);
    if (fd < 0 ||
        (unix_address(settings->path, suffix, &address) &&
         connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && greet(settings, fd)))
        return fd;
    close(fd);
    return -1;
}

static int serve_connection(const struct settings *settings, int near_fd)
{
    const bool messages = settings->type == SOCK_SEQPACKET;
    const struct side near = {near_fd, !settings->from_frontend, messages};
    const struct side far = {connect_far(settings), settings->from_frontend, messages};
    if (messages)
        take_messages(settings->from_frontend ? near.fd : far.fd);
    if (far.fd < 0) {
        say("the other side refuses a connection");
        return 1;
    }
    pid_t back = fork();
    if (back < 0) {
        say("fork");
        return 1;
    }
    if (back == 0) {
        carry(far, near);
        _exit(0);
    }
    carry(near, far);
    (void)waitpid(back, NULL, 0);
    return 0;
}

static int serve(const struct settings *settings)
{
    int listener = listen_near(settings);
    if (listener < 0) {
        say("cannot listen");
        return 1;
    }
    (void)signal(SIGCHLD, SIG_IGN);
    (void)puts("ready");
    (void)fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            say("accept");
            return 1;
        }
        if (fork() == 0) {
            close(listener);
            _exit(serve_connection(settings, fd));
        }
        close(fd);
    }
}

/* ---- Arguments ---- */

static int usage(void)
{
    (void)fputs("usage: vsock-bridge from-frontend|to-frontend stream|seqpacket PATH PORT\n"
                "PATH: the device's socket_path\n"
                "  from-frontend  the frontend's connections to PORT go to CID 1, PORT\n"
                "  to-frontend    connections to CID 1, PORT go to the frontend's PORT\n"
                "Says \"ready\" when it listens.\n",
                stderr);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return usage();
    char *end;
    errno = 0;
    const unsigned long port = strtoul(argv[4], &end, 10);
    const struct settings settings = {
        .from_frontend = strcmp(argv[1], "from-frontend") == 0,
        .type = strcmp(argv[2], "stream") == 0 ? SOCK_STREAM : SOCK_SEQPACKET,
        .path = argv[3],
        .port = (unsigned int)port,
    };
    if ((!settings.from_frontend && strcmp(argv[1], "to-frontend") != 0) ||
        (settings.type == SOCK_SEQPACKET && strcmp(argv[2], "seqpacket") != 0) || errno != 0 ||
        *end != '\0' || port == 0 || port >= UINT32_MAX)
        return usage();
    return serve(&settings);
}
