/* SPDX-License-Identifier: Apache-2.0 */
/* Storms over devices that carry streams of bytes. */
#include "tests/standin/test_storm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/storm.h"
#include "tests/standin/vsock_fixture.h"

#define DEADLINE_MS 20000

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Console ---- */

#define CHUNK 4096u /* also what one call of the worker's writes at most */
#define CERTAIN 32u /* bytes that tell where in the stream they are */

/* A stream of bytes in which no short piece comes twice nearby. */
static uint8_t byte_at(uint64_t at)
{
    uint64_t mixed = (at + 1) * 0x9e3779b97f4a7c15ull;
    mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ull;
    return (uint8_t)(mixed >> 56);
}

/*
 * The reader at the terminal: every byte comes, in order. After a death at most what one call
 * wrote comes a second time.
 */
struct reader {
    int terminal;
    uint64_t at;   /* of the stream: the next byte expected */
    uint64_t seen; /* the furthest */
    uint64_t wrong;
    unsigned int repeats;
    uint8_t held[2 * CHUNK]; /* read and not yet judged */
    size_t length;
};

static size_t matching(const uint8_t *data, size_t length, uint64_t at)
{
    size_t good = 0;
    while (good < length && data[good] == byte_at(at + good))
        good++;
    return good;
}

static bool step_back(struct reader *reader, const uint8_t *data)
{
    for (uint64_t back = 1; back <= CHUNK && back <= reader->at; back++) {
        if (matching(data, CERTAIN, reader->at - back) == CERTAIN) {
            reader->at -= back;
            reader->repeats++;
            return true;
        }
    }
    return false;
}

static void judge(struct reader *reader)
{
    size_t done = 0;
    for (;;) {
        size_t good = matching(reader->held + done, reader->length - done, reader->at);
        reader->at += good;
        reader->seen = reader->at > reader->seen ? reader->at : reader->seen;
        done += good;
        if (reader->length - done < CERTAIN)
            break; /* nothing, or too little to tell */
        if (!step_back(reader, reader->held + done)) {
            reader->wrong++;
            done = reader->length;
        }
    }
    reader->length -= done;
    memmove(reader->held, reader->held + done, reader->length);
}

static bool read_some(struct reader *reader)
{
    ssize_t got = read(reader->terminal, reader->held + reader->length,
                       sizeof(reader->held) - reader->length);
    if (got <= 0)
        return false;
    reader->length += (size_t)got;
    judge(reader);
    return true;
}

static void start_console(struct fixture *fixture, struct guest_console *console,
                          struct reader *reader)
{
    char path[96];
    fixture_init(fixture);
    fixture_configure(fixture, "devices:\n  - id: 0\n    type: console\n    data_plane: virtio\n"
                               "    mmio_addr: 0xa003e00\n    pty_alias: \"@/console\"\n");
    fixture_start(fixture, 1, 1);
    fixture_guest(fixture, 0, &console->guest);
    CU_ASSERT_EQUAL_FATAL(guest_console_start(console, GUEST_CONSOLE_FEATURES), 0);
    snprintf(path, sizeof(path), "%s/console", fixture->dir);
    reader->terminal = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(reader->terminal >= 0);
}

static void print_some(struct guest_console *console)
{
    uint8_t data[CHUNK];
    uint64_t at = console->ports[0].sent;
    for (size_t i = 0; i < CHUNK; i++)
        data[i] = byte_at(at + i);
    guest_console_send(console, 0, data, CHUNK);
}

static void assert_takes_input(struct guest_console *console, int terminal)
{
    uint64_t wanted = console->ports[0].received + 6;
    CU_ASSERT_EQUAL(write(terminal, "alive?", 6), 6);
    for (unsigned int i = 0; i < DEADLINE_MS && console->ports[0].received < wanted; i++) {
        guest_console_poll(console);
        usleep(1000);
    }
    CU_ASSERT_EQUAL(console->ports[0].received, wanted);
}

void console_output_is_complete(void)
{
    static struct reader reader;
    static struct guest_console console;
    struct fixture fixture;
    struct storm storm;
    start_console(&fixture, &console, &reader);
    storm_workers(&storm, &fixture);
    while (storm_rages(&storm) && reader.wrong == 0) {
        guest_console_poll(&console);
        print_some(&console);
        if (read_some(&reader))
            storm_progress(&storm);
        else
            usleep(200);
    }
    storm_end(&storm);
    for (int64_t end = now_ms() + DEADLINE_MS;
         now_ms() < end && reader.seen < console.ports[0].sent;) {
        guest_console_poll(&console);
        if (!read_some(&reader))
            usleep(200);
    }
    CU_ASSERT(reader.seen > 0);
    CU_ASSERT_EQUAL(reader.seen, console.ports[0].sent);
    CU_ASSERT_EQUAL(reader.wrong, 0);
    CU_ASSERT(reader.repeats <= storm.deaths);
    assert_takes_input(&console, reader.terminal);
    CU_ASSERT_EQUAL(console.guest.error, 0);
    close(reader.terminal);
    guest_console_free(&console);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* ---- Sockets ---- */

#define TALKERS 6u
#define MESSAGE 64u
#define ECHOES 128u
#define SILENCE_MS 10000 /* a connection that neither answers nor is reset is lost */

/* Connections of the guest's, each with one message under way, and the host's echo. */
struct talker {
    struct guest_socket *socket;
    bool asked;
    uint32_t number, got;
    uint8_t said[MESSAGE], heard[MESSAGE];
    int64_t since; /* ms: of its last change */
};

struct talk {
    struct vsock_fixture test;
    struct talker talkers[TALKERS];
    int echoes[ECHOES];
    unsigned int echo_count;
    uint64_t answers, resets, wrong, lost;
};

static bool echo(int fd)
{
    uint8_t data[1024];
    ssize_t length = recv(fd, data, sizeof(data), MSG_DONTWAIT);
    if (length < 0)
        return true;
    return length > 0 && send(fd, data, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) == length;
}

static void serve_echoes(struct talk *talk)
{
    int fd;
    while (talk->echo_count < ECHOES &&
           (fd = accept4(talk->test.server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        talk->echoes[talk->echo_count++] = fd;
    for (unsigned int i = 0; i < talk->echo_count;) {
        if (echo(talk->echoes[i])) {
            i++;
            continue;
        }
        close(talk->echoes[i]); /* its worker is dead */
        talk->echoes[i] = talk->echoes[--talk->echo_count];
    }
}

static void say_something(struct talk *talk, struct talker *talker)
{
    for (uint32_t i = 0; i < MESSAGE; i++)
        talker->said[i] = (uint8_t)(talker->number * 31 + i);
    int sent = guest_vsock_send(&talk->test.vsock, talker->socket, talker->said, MESSAGE, 0);
    talk->wrong += sent != 0 && sent != (int)MESSAGE; /* 0: credit is under way */
    talker->asked = sent == (int)MESSAGE;
    talker->got = 0;
}

/* Returns whether its message has come back. */
static bool listen_to(struct talk *talk, struct talker *talker)
{
    uint32_t got = guest_vsock_receive(&talk->test.vsock, talker->socket,
                                       talker->heard + talker->got, MESSAGE - talker->got);
    talker->got += got;
    if (talker->got < MESSAGE)
        return false;
    talk->wrong += memcmp(talker->said, talker->heard, MESSAGE) != 0;
    talk->answers++;
    talker->asked = false;
    talker->number++;
    talker->since = now_ms();
    return true;
}

static bool step_talker(struct talk *talk, struct talker *talker)
{
    if (!talker->socket) {
        talker->socket = guest_vsock_connect(&talk->test.vsock, STREAM, HOST_PORT);
        talker->asked = false;
        talker->since = now_ms();
        return false;
    }
    if (talker->socket->state == SOCKET_RESET) {
        talk->resets++;
        guest_vsock_forget(talker->socket);
        talker->socket = NULL;
        return false;
    }
    talk->lost += now_ms() - talker->since > SILENCE_MS;
    if (talker->socket->state != SOCKET_CONNECTED)
        return false;
    if (talker->asked)
        return listen_to(talk, talker);
    say_something(talk, talker);
    return false;
}

/* Until each connection has had an answer, or something is wrong. */
static bool have_answers(struct talk *talk)
{
    uint32_t before[TALKERS];
    unsigned int answered = 0;
    for (unsigned int i = 0; i < TALKERS; i++)
        before[i] = talk->talkers[i].number;
    while (answered < TALKERS) {
        if (guest_vsock_poll(&talk->test.vsock, 1) < 0 || talk->wrong > 0 || talk->lost > 0)
            return false;
        serve_echoes(talk);
        answered = 0;
        for (unsigned int i = 0; i < TALKERS; i++) {
            step_talker(talk, &talk->talkers[i]);
            answered += talk->talkers[i].number != before[i];
        }
    }
    return true;
}

void sockets_are_reset_at_once_and_made_anew(void)
{
    static struct talk talk;
    struct storm storm;
    bool answered = true;
    vsock_start(&talk.test);
    talk.test.vsock.guest.timeout_ms = DEADLINE_MS;
    storm_workers(&storm, &talk.test.fixture);
    while (storm_rages(&storm) && (answered = have_answers(&talk)))
        storm_progress(&storm);
    CU_ASSERT_TRUE(answered);
    storm_end(&storm);
    CU_ASSERT_EQUAL(talk.wrong, 0);
    CU_ASSERT_EQUAL(talk.lost, 0);
    /* Each worker that was killed in the midst of connections has had its event. */
    CU_ASSERT(talk.test.vsock.transport_resets >= storm.calm);
    CU_ASSERT(talk.resets >= storm.calm);
    /* The other way round. */
    struct pair pair = pair_by_host(&talk.test, "v.sock", SOCK_STREAM);
    assert_talks(&talk.test, &pair);
    close(pair.host);
    for (unsigned int i = 0; i < talk.echo_count; i++)
        close(talk.echoes[i]);
    vsock_stop(&talk.test, true);
}
