/* SPDX-License-Identifier: Apache-2.0 */
/* Loads of devices that carry streams of bytes. */
#include "tests/standin/loads.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/storm.h"

/* ---- Console ---- */

#define CHUNK 4096u /* also the most that the worker writes in one call */
#define LENIENT 65536u
#define CERTAIN 32u /* this many bytes determine where in the stream they are */

/* A stream of bytes in which no short piece repeats nearby. */
static uint8_t byte_at(uint64_t at)
{
    uint64_t mixed = (at + 1) * 0x9e3779b97f4a7c15ull;
    mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ull;
    return (uint8_t)(mixed >> 56);
}

static size_t matching(const uint8_t *data, size_t length, uint64_t at)
{
    size_t good = 0;
    while (good < length && data[good] == byte_at(at + good))
        good++;
    return good;
}

static bool step_back(struct console_load *load, const uint8_t *data)
{
    for (uint64_t back = 1; back <= CHUNK && back <= load->at; back++) {
        if (matching(data, CERTAIN, load->at - back) == CERTAIN) {
            load->at -= back;
            load->repeats++;
            return true;
        }
    }
    return false;
}

/* What was in the last terminal is lost with it. So is what was printed before the next one
 * existed. */
static bool step_over(struct console_load *load, const uint8_t *data)
{
    uint64_t printed = load->console->ports[0].sent;
    if (load->seen >= load->lenient_until)
        return false;
    for (uint64_t at = load->at; at < printed; at++) {
        if (matching(data, CERTAIN, at) == CERTAIN) {
            load->at = at;
            load->lenient_until = 0;
            return true;
        }
    }
    return false;
}

static void judge(struct console_load *load)
{
    size_t done = 0;
    for (;;) {
        size_t good = matching(load->held + done, load->length - done, load->at);
        load->at += good;
        load->seen = load->at > load->seen ? load->at : load->seen;
        done += good;
        if (load->length - done < CERTAIN)
            break; /* nothing came, or too little to find the place */
        if (!step_back(load, load->held + done) && !step_over(load, load->held + done)) {
            load->wrong++;
            done = load->length;
        }
    }
    load->length -= done;
    memmove(load->held, load->held + done, load->length);
}

static void change_terminal(struct console_load *load)
{
    if (load->terminal >= 0)
        close(load->terminal);
    load->length = 0;
    load->terminal = open(load->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (load->terminal < 0)
        return; /* the broker, whose terminal this was, is being replaced */
    load->terminals++;
    load->lenient_until = load->seen + LENIENT;
}

static bool read_some(struct console_load *load)
{
    ssize_t got = load->terminal < 0 ? 0
                                     : read(load->terminal, load->held + load->length,
                                            sizeof(load->held) - load->length);
    if (load->path && (got == 0 || (got < 0 && errno == EIO)))
        change_terminal(load);
    if (got <= 0)
        return false;
    load->length += (size_t)got;
    judge(load);
    return true;
}

static void print_some(const struct console_load *load)
{
    uint8_t data[CHUNK];
    uint64_t at = load->console->ports[0].sent;
    for (size_t i = 0; i < CHUNK; i++)
        data[i] = byte_at(at + i);
    guest_console_send(load->console, 0, data, CHUNK);
}

bool console_load_run(struct console_load *load)
{
    guest_console_poll(load->console);
    print_some(load);
    return read_some(load);
}

void console_load_end(struct console_load *load)
{
    for (uint64_t end = now_ms() + LOAD_DEADLINE_MS;
         now_ms() < end && load->seen < load->console->ports[0].sent;) {
        guest_console_poll(load->console);
        if (!read_some(load))
            usleep(200);
    }
}

/* ---- Sockets ---- */

#define SILENCE_MS 10000 /* a connection that neither answers nor is reset for so long is lost */

static bool echo(int fd)
{
    uint8_t data[1024];
    ssize_t length = recv(fd, data, sizeof(data), MSG_DONTWAIT);
    if (length < 0)
        return errno == EAGAIN; /* the kernel's sockets end with an error, not at an end of file */
    return length > 0 && send(fd, data, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) == length;
}

static void serve_echoes(struct vsock_load *load)
{
    int fd;
    while (load->echo_count < VSOCK_LOAD_ECHOES &&
           (fd = accept4(load->server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        load->echoes[load->echo_count++] = fd;
    for (unsigned int i = 0; i < load->echo_count;) {
        if (echo(load->echoes[i])) {
            i++;
            continue;
        }
        close(load->echoes[i]); /* the worker behind it is dead */
        load->echoes[i] = load->echoes[--load->echo_count];
    }
}

static void say_something(struct vsock_load *load, struct vsock_load_talker *talker)
{
    for (uint32_t i = 0; i < VSOCK_LOAD_MESSAGE; i++)
        talker->said[i] = (uint8_t)(talker->number * 31 + i);
    int sent = guest_vsock_send(load->vsock, talker->socket, talker->said, VSOCK_LOAD_MESSAGE, 0);
    load->wrong += sent != 0 && sent != (int)VSOCK_LOAD_MESSAGE; /* 0: the credit is on its way */
    talker->asked = sent == (int)VSOCK_LOAD_MESSAGE;
    talker->got = 0;
}

/* Returns whether its message has come back. */
static bool listen_to(struct vsock_load *load, struct vsock_load_talker *talker)
{
    uint32_t got = guest_vsock_receive(load->vsock, talker->socket, talker->heard + talker->got,
                                       VSOCK_LOAD_MESSAGE - talker->got);
    talker->got += got;
    if (talker->got < VSOCK_LOAD_MESSAGE)
        return false;
    load->wrong += memcmp(talker->said, talker->heard, VSOCK_LOAD_MESSAGE) != 0;
    load->answers++;
    talker->asked = false;
    talker->number++;
    talker->since = now_ms();
    return true;
}

static bool step_talker(struct vsock_load *load, struct vsock_load_talker *talker)
{
    if (!talker->socket) {
        talker->socket = guest_vsock_connect(load->vsock, VIRTIO_VSOCK_TYPE_STREAM, load->port);
        talker->asked = false;
        talker->since = now_ms();
        return false;
    }
    if (talker->socket->state == SOCKET_RESET) {
        load->resets++;
        guest_vsock_forget(talker->socket);
        talker->socket = NULL;
        return false;
    }
    load->lost += now_ms() - talker->since > SILENCE_MS;
    if (talker->socket->state != SOCKET_CONNECTED)
        return false;
    if (talker->asked)
        return listen_to(load, talker);
    say_something(load, talker);
    return false;
}

bool vsock_load_run(struct vsock_load *load)
{
    uint32_t before[VSOCK_LOAD_TALKERS];
    unsigned int answered = 0;
    for (unsigned int i = 0; i < VSOCK_LOAD_TALKERS; i++)
        before[i] = load->talkers[i].number;
    while (answered < VSOCK_LOAD_TALKERS && !(load->over && atomic_load(load->over))) {
        if (guest_vsock_poll(load->vsock, 1) < 0 || load->wrong > 0 || load->lost > 0)
            return false;
        if (load->storm && load->vsock->transport_resets != load->events)
            storm_told(load->storm);
        load->events = load->vsock->transport_resets;
        serve_echoes(load);
        answered = 0;
        for (unsigned int i = 0; i < VSOCK_LOAD_TALKERS; i++) {
            step_talker(load, &load->talkers[i]);
            answered += load->talkers[i].number != before[i];
        }
    }
    return true;
}

void vsock_load_end(struct vsock_load *load)
{
    for (unsigned int i = 0; i < load->echo_count; i++)
        close(load->echoes[i]);
    load->echo_count = 0;
}
