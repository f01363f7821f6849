/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/console_session.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define DEATHS 8u

uint8_t console_pattern(uint64_t at)
{
    return (uint8_t)(at ^ at >> 8 ^ (at >> 16) * 31);
}

void console_fill(uint8_t *to, uint64_t at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = console_pattern(at + i);
}

uint64_t console_differences(const uint8_t *data, uint64_t at, size_t length)
{
    uint64_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += data[i] != console_pattern(at + i);
    return count;
}

/* ---- The user ---- */

void console_path(const struct console_session *test, unsigned int port, char ret[128])
{
    snprintf(ret, 128, port == 0 ? "%s" : "%s.%u", test->alias, port);
}

int console_open(const struct console_session *test, unsigned int port)
{
    char path[128];
    console_path(test, port, path);
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

bool console_reads(struct console_session *test, int fd, const char *text)
{
    static char seen[1 << 16];
    size_t length = 0;
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end;) {
        ssize_t got = read(fd, seen + length, sizeof(seen) - 1 - length);
        length += got > 0 ? (size_t)got : 0;
        seen[length] = 0;
        if (memmem(seen, length, text, strlen(text)))
            return true;
        if (length == sizeof(seen) - 1)
            length = 0;
        guest_console_poll(&test->console);
        if (got <= 0)
            usleep(200);
    }
    return false;
}

bool console_reads_all(struct console_session *test, int fd)
{
    static char seen[CHUNK];
    for (unsigned int quiet = 0; quiet < 200; usleep(200)) {
        quiet = read(fd, seen, sizeof(seen)) > 0 ? 0 : quiet + 1;
        guest_console_poll(&test->console);
    }
    return read(fd, seen, sizeof(seen)) > 0;
}

/* ---- The guest ---- */

void console_take_text(struct guest_console *console, unsigned int port, const uint8_t *data,
                       uint32_t length)
{
    struct console_session *test = console->context;
    (void)port;
    for (uint32_t i = 0; i < length; i++) {
        if (test->typed_length == sizeof(test->typed) - 1)
            memmove(test->typed, test->typed + 1, --test->typed_length);
        test->typed[test->typed_length++] = (char)data[i];
    }
    test->typed[test->typed_length] = 0;
}

void console_take_pattern(struct guest_console *console, unsigned int port, const uint8_t *data,
                          uint32_t length)
{
    struct console_session *test = console->context;
    test->wrong += console_differences(data, console->ports[port].received - length, length);
}

bool console_gets(struct console_session *test, const char *text)
{
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end; usleep(200)) {
        guest_console_poll(&test->console);
        if (strstr(test->typed, text))
            return true;
    }
    return false;
}

bool console_drained(struct console_session *test, unsigned int port, uint64_t within_ms)
{
    for (uint64_t end = now_ms() + within_ms; now_ms() < end; usleep(200)) {
        guest_console_poll(&test->console);
        if (guest_console_busy(&test->console, port) == 0)
            return true;
    }
    return false;
}

void console_say(struct console_session *test, unsigned int port, const char *text)
{
    CU_ASSERT_EQUAL(guest_console_send(&test->console, port, text, (uint32_t)strlen(text)),
                    strlen(text));
}

void console_settle_ports(struct console_session *test)
{
    const struct guest_console_port *last = &test->console.ports[test->console.port_count - 1];
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end && !last->open; usleep(200))
        guest_console_poll(&test->console);
    CU_ASSERT_TRUE_FATAL(last->open);
}

void console_driver(struct console_session *test, uint64_t features)
{
    CU_ASSERT_EQUAL_FATAL(guest_console_start(&test->console, features), 0);
    test->console.context = test;
    test->console.input = console_take_text;
}

void console_configure(struct console_session *test, const char *more)
{
    char yaml[512];
    *test = (struct console_session){.user = -1};
    fixture_init(&test->fixture);
    snprintf(test->alias, sizeof(test->alias), "%s/console", test->fixture.dir);
    snprintf(yaml, sizeof(yaml),
             "devices:\n  - id: 0\n    type: console\n    data_plane: virtio\n"
             "    mmio_addr: 0x%llx\n%s",
             (unsigned long long)fixture_base(0), more);
    fixture_configure(&test->fixture, yaml);
}

void console_start(struct console_session *test, uint64_t features, const char *more)
{
    console_configure(test, more);
    fixture_start(&test->fixture, 1, 1);
    fixture_guest(&test->fixture, 0, &test->console.guest);
    console_driver(test, features);
}

void console_start_one(struct console_session *test)
{
    console_start(test, GUEST_CONSOLE_FEATURES, ALIAS);
}

void console_stop(struct console_session *test)
{
    CU_ASSERT_EQUAL(test->console.guest.error, 0);
    if (test->user >= 0)
        close(test->user);
    guest_console_free(&test->console);
    fixture_stop(&test->fixture);
    fixture_free(&test->fixture);
}

/* ---- Every byte, in order ---- */

/* `data` is not what is expected at follower->at. Is it what was expected a little before? */
static bool step_back(struct console_follower *follower, const uint8_t *data, size_t length)
{
    for (uint64_t back = 1; back <= CHUNK && back <= follower->at; back++) {
        if (console_differences(data, follower->at - back, length) == 0) {
            follower->at -= back;
            follower->repeats++;
            return true;
        }
    }
    return false;
}

void console_follow(struct console_follower *follower, const uint8_t *data, size_t length)
{
    while (length > 0) {
        size_t good = 0;
        while (good < length && data[good] == console_pattern(follower->at + good))
            good++;
        follower->at += good;
        follower->seen = follower->at > follower->seen ? follower->at : follower->seen;
        data += good;
        length -= good;
        if (length > 0 && !step_back(follower, data, length)) {
            follower->wrong++;
            return;
        }
    }
}

/* ---- Long streams ---- */

/* Send another piece in each direction, as far as there is room and something to read. Returns
 * whether something was read. */
static bool stream(struct console_session *test, struct console_follower *follower, uint64_t total)
{
    static uint8_t data[CHUNK];
    const struct guest_console_port *port = &test->console.ports[0];
    guest_console_poll(&test->console);
    if (port->sent < total) {
        console_fill(data, port->sent, CHUNK);
        guest_console_send(&test->console, 0, data, CHUNK);
    }
    ssize_t got = read(test->user, data, sizeof(data));
    if (got > 0)
        console_follow(follower, data, (size_t)got);
    return got > 0;
}

void console_outlives_workers(struct console_session *test, uint64_t total)
{
    struct console_follower follower = {0};
    unsigned int deaths = 0;
    pid_t worker = fixture_worker(&test->fixture, 0);
    uint64_t next_death = 1 << 18, quiet_since = now_ms();
    while (follower.seen < total && now_ms() - quiet_since < PATIENCE_MS) {
        if (stream(test, &follower, total))
            quiet_since = now_ms();
        if (follower.seen > next_death && deaths < DEATHS) {
            CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
            worker = fixture_wait_worker(&test->fixture, 0, worker);
            CU_ASSERT_FATAL(worker > 0);
            deaths++;
            next_death = follower.seen + (1 << 18) + 997 * deaths;
        }
    }
    CU_ASSERT_EQUAL(deaths, DEATHS);
    CU_ASSERT_EQUAL(follower.seen, total);
    CU_ASSERT_EQUAL(follower.wrong, 0);
    CU_ASSERT(follower.repeats <= deaths);
}

void console_reads_slowly(struct console_session *test, uint64_t total)
{
    uint8_t data[1000];
    uint64_t seen = 0;
    for (uint64_t end = now_ms() + PATIENCE_MS; seen < total && now_ms() < end; usleep(1000)) {
        ssize_t got = read(test->user, data, sizeof(data));
        guest_console_poll(&test->console);
        if (got <= 0)
            continue;
        CU_ASSERT_EQUAL(console_differences(data, seen, (size_t)got), 0);
        seen += (uint64_t)got;
    }
    CU_ASSERT_EQUAL(seen, total);
    CU_ASSERT_EQUAL(guest_console_busy(&test->console, 0), 0);
}
