/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker that was taken over, for test_keeper_rules. The real keeper starts it. It settles a
 * configuration whose text is "settled". Then it does what the name of its --config says:
 *
 *     open-early    makes the keeper open a backend by another text, before it has said RUNNING
 *     open-late     the same, but after it has said RUNNING
 *     config-late   settles another text, after it has said RUNNING
 *
 * Its opener sends the text that it was given. Each event is a line on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/shared_page.h"
#include "common/message.h"

#define KEEPER_FD 3
#define TEXT_FD 4
#define TEXT_SIZE 32
#define WAIT_MS 10000

static void say(const char *what, const char *text)
{
    char line[2 * TEXT_SIZE + 64];
    int length = snprintf(line, sizeof(line), "rogue: %s %s\n", what, text);
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        _exit(EXIT_FAILURE);
}

static _Noreturn void die(const char *what)
{
    say("failed:", what);
    _exit(EXIT_FAILURE);
}

static void read_text(int fd, char ret[TEXT_SIZE])
{
    ssize_t length = pread(fd, ret, TEXT_SIZE - 1, 0);
    if (length < 0)
        die("no text");
    ret[length] = '\0';
}

static int make_text(const char *text)
{
    int fd = shared_page_of_text("configuration", text, strlen(text));
    if (fd < 0)
        die("a text");
    return fd;
}

/* Returns false if the keeper has closed its end or says STOP. */
static bool next(union message *ret)
{
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0;
    struct pollfd keeper = {.fd = KEEPER_FD, .events = POLLIN};
    if (poll(&keeper, 1, WAIT_MS) != 1)
        die("the keeper says nothing");
    if (message_receive(KEEPER_FD, ROLE_KEEPER, ret, fds, &fd_count) != 1)
        return false;
    for (size_t i = 0; i < fd_count; i++)
        close(fds[i]);
    return ret->header.type != MSG_STOP;
}

static void tell(enum message_type type, const int *fds, size_t fd_count)
{
    union message message = {.header = {.type = (uint16_t)type, .device = MESSAGE_NO_DEVICE}};
    if (type == MSG_OPEN)
        message.header.device = 0;
    if (message_send(KEEPER_FD, &message, fds, fd_count) < 0)
        die("the keeper takes no message");
}

static void open_by(const char *text)
{
    char found[TEXT_SIZE] = "";
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        die("a socket");
    const int fds[] = {sockets[1], make_text(text)};
    tell(MSG_OPEN, fds, 2);
    close(sockets[1]);
    if (read(sockets[0], found, sizeof(found) - 1) <= 0)
        die("the opener says nothing");
    say("its opener goes by", found);
}

static void be_broker(bool again, const char *wanted)
{
    union message message;
    char text[TEXT_SIZE];
    do {
        if (!next(&message))
            die("nothing to begin with");
    } while (message.header.type != MSG_RESTORE_END);
    if (again) {
        read_text(TEXT_FD, text);
        say("its successor goes by", text);
    } else {
        const int settled = make_text("settled");
        tell(MSG_CONFIG, &settled, 1);
        if (strcmp(wanted, "open-early") == 0)
            open_by("another");
    }
    tell(MSG_RUNNING, NULL, 0);
    if (!again && strcmp(wanted, "open-late") == 0)
        open_by("another");
    if (!again && strcmp(wanted, "config-late") == 0) {
        const int another = make_text("another");
        tell(MSG_CONFIG, &another, 1);
    }
    say("it", "waits");
    while (next(&message)) {
        if (message.header.type == MSG_PING)
            tell(MSG_PONG, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    char text[TEXT_SIZE];
    if (argc < 3)
        return EXIT_FAILURE;
    if (strcmp(argv[1], "--open") == 0) {
        read_text(TEXT_FD, text);
        return write(KEEPER_FD, text, strlen(text)) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    be_broker(strcmp(argv[1], "--kept-config") == 0, argv[2]);
    return EXIT_SUCCESS;
}
