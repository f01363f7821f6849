/* SPDX-License-Identifier: Apache-2.0 */
/* The console device with a socket, between a driver and the clients that connect to it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/console_session.h"

#define SOCKET "    socket_path: \"@/console\"\n"

/* Send bytes 0 to `most` of the pattern. Stop earlier if the device takes nothing for
 * `patience_ms`. Returns how many bytes it took. */
static uint64_t send_for(struct console_session *test, uint64_t most, uint64_t patience_ms)
{
    static uint8_t data[CHUNK];
    uint64_t sent = 0;
    for (uint64_t last = now_ms(); now_ms() - last < patience_ms && sent < most; usleep(200)) {
        guest_console_poll(&test->console);
        console_fill(data, sent, CHUNK);
        uint32_t taken = guest_console_send(&test->console, 0, data, CHUNK);
        sent += taken;
        if (taken > 0)
            last = now_ms();
    }
    return sent;
}

static uint64_t send_until_full(struct console_session *test, uint64_t most)
{
    return send_for(test, most, 300);
}

/* The device takes all the bytes, but perhaps not at once. */
static void send_all(struct console_session *test, uint64_t bytes)
{
    CU_ASSERT_EQUAL(send_for(test, bytes, 20000), bytes);
}

/* ---- Clients ---- */

static int connect_client(const struct console_session *test)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", test->alias);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void types(int fd, const char *text)
{
    CU_ASSERT_EQUAL(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Connects a client, and makes sure that the device knows it: the guest gets something from it. */
static void join(struct console_session *test)
{
    test->typed_length = 0;
    test->user = connect_client(test);
    types(test->user, "hello");
    CU_ASSERT_TRUE_FATAL(console_gets(test, "hello"));
    test->typed_length = 0;
    test->typed[0] = 0;
}

static void leave(struct console_session *test)
{
    close(test->user);
    test->user = -1;
}

/* Read until `text` has come. False if other text comes before it, or if it does not come. */
static bool reads(struct console_session *test, const char *text)
{
    char seen[256] = "";
    size_t length = 0;
    for (uint64_t end = now_ms() + PATIENCE_MS;
         now_ms() < end && length < strlen(text) && length < sizeof(seen) - 1;) {
        ssize_t got = read(test->user, seen + length, sizeof(seen) - 1 - length);
        length += got > 0 ? (size_t)got : 0;
        guest_console_poll(&test->console);
        if (got <= 0)
            usleep(200);
    }
    return strcmp(seen, text) == 0;
}

/* Whether the end of file comes in time. */
static bool is_closed(int fd)
{
    char data[CHUNK];
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end; usleep(200)) {
        ssize_t got = read(fd, data, sizeof(data));
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return true;
    }
    return false;
}

static void stop_unhurt(struct console_session *test)
{
    fixture_assert_never_restarted(&test->fixture);
    console_stop(test);
}

/* ---- Traffic ---- */

static void talks_both_ways(void)
{
    struct console_session test;
    struct stat file;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    CU_ASSERT_EQUAL(stat(test.alias, &file), 0);
    CU_ASSERT(S_ISSOCK(file.st_mode) && (file.st_mode & 0777) == 0600 && file.st_uid == 0);
    CU_ASSERT_EQUAL(test.console.guest.features & 1ull << VIRTIO_CONSOLE_F_SIZE, 0);
    join(&test);
    console_say(&test, 0, "login: ");
    CU_ASSERT(reads(&test, "login: "));
    types(test.user, "root\r\x03\x04\x11\x13");
    CU_ASSERT(console_gets(&test, "root\r\x03\x04\x11\x13"));
    /* The socket's name is in the log. */
    fixture_assert_logged(&test.fixture, test.alias);
    stop_unhurt(&test);
}

/* One step of traffic in both directions; returns false when there was nothing to do. */
static bool exchange(struct console_session *test, uint64_t total, uint64_t *sent, uint64_t *typed,
                     uint64_t *seen)
{
    static uint8_t data[CHUNK];
    bool busy = guest_console_poll(&test->console) > 0;
    if (*sent < total) {
        console_fill(data, *sent, CHUNK);
        uint32_t taken = guest_console_send(&test->console, 0, data, CHUNK);
        *sent += taken;
        busy |= taken > 0;
    }
    if (*typed < total) {
        console_fill(data, *typed, CHUNK);
        ssize_t written = send(test->user, data, CHUNK, MSG_NOSIGNAL);
        *typed += written > 0 ? (uint64_t)written : 0;
        busy |= written > 0;
    }
    ssize_t got = read(test->user, data, sizeof(data));
    if (got > 0) {
        test->wrong += console_differences(data, *seen, (size_t)got);
        *seen += (uint64_t)got;
    }
    return busy || got > 0;
}

static void megabytes_pass_both_ways(void)
{
    struct console_session test;
    const uint64_t total = 8 << 20;
    uint64_t sent = 0, typed = 0, seen = 0, quiet_since = now_ms();
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    join(&test);
    const struct guest_console_port *port = &test.console.ports[0];
    test.console.ports[0].received = 0;
    test.console.input = console_take_pattern;
    while ((seen < sent || port->received < typed || sent < total || typed < total) &&
           now_ms() - quiet_since < PATIENCE_MS) {
        if (exchange(&test, total, &sent, &typed, &seen))
            quiet_since = now_ms();
        else
            usleep(50);
    }
    CU_ASSERT(sent >= total && seen == sent);
    CU_ASSERT(typed >= total && port->received == typed);
    CU_ASSERT_EQUAL(test.wrong, 0);
    stop_unhurt(&test);
}

static void a_slow_client_loses_nothing(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    join(&test);
    uint64_t sent = send_until_full(&test, 4 << 20);
    CU_ASSERT(sent < 4 << 20);
    /* The guest still works, and so does the other direction. */
    CU_ASSERT_EQUAL(guest_read(&test.console.guest, VIRTIO_MMIO_DEVICE_ID, 4), 3);
    types(test.user, "x");
    CU_ASSERT(console_gets(&test, "x"));
    console_reads_slowly(&test, sent);
    stop_unhurt(&test);
}

/* Linux waits for console output with interrupts off, so the device must not wait for ever. */
static void a_client_who_never_reads_is_given_up(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    join(&test);
    send_until_full(&test, 4 << 20);
    uint64_t from = now_ms();
    CU_ASSERT(console_drained(&test, 0, 13000));
    CU_ASSERT(now_ms() - from > 7000); /* ten seconds, less the time until we saw it full */
    send_all(&test, 1 << 20);
    CU_ASSERT(console_drained(&test, 0, 20000));
    /* For the next client the device waits again. */
    leave(&test);
    join(&test);
    CU_ASSERT(send_until_full(&test, 4 << 20) < 4 << 20);
    CU_ASSERT(guest_console_busy(&test.console, 0) > 0);
    leave(&test);
    CU_ASSERT(console_drained(&test, 0, 20000));
    stop_unhurt(&test);
}

static void emergency_output_passes(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    const uint64_t emerg_wr = VIRTIO_MMIO_CONFIG + offsetof(struct virtio_console_config, emerg_wr);
    guest_write(&test.console.guest, emerg_wr, 4, 'n'); /* nobody reads it */
    join(&test);
    for (const char *at = "panic\n"; *at; at++)
        guest_write(&test.console.guest, emerg_wr, 4, (unsigned char)*at);
    CU_ASSERT(reads(&test, "panic\n"));
    leave(&test);
    for (unsigned int i = 0; i < 10; i++)
        guest_write(&test.console.guest, emerg_wr, 4, 'x');
    stop_unhurt(&test);
}

/* ---- Coming and going ---- */

static void without_a_client_nothing_waits(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    send_all(&test, 1 << 20);
    CU_ASSERT(console_drained(&test, 0, 20000));
    join(&test);
    console_say(&test, 0, "for the first client\n");
    CU_ASSERT(reads(&test, "for the first client\n"));
    /* The client leaves while output waits for it. That output is discarded: the next client gets
     * none of it. */
    CU_ASSERT(send_until_full(&test, 4 << 20) < 4 << 20);
    leave(&test);
    CU_ASSERT(console_drained(&test, 0, 20000));
    send_all(&test, 2 << 20);
    CU_ASSERT(console_drained(&test, 0, 20000));
    join(&test);
    console_say(&test, 0, "for the second client\n");
    CU_ASSERT(reads(&test, "for the second client\n"));
    stop_unhurt(&test);
}

static void clients_come_and_go(void)
{
    struct console_session test;
    char text[64];
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    for (unsigned int i = 0; i < 100; i++) {
        if (i % 3 == 0)
            console_say(&test, 0, "nobody reads this\n");
        CU_ASSERT(console_drained(&test, 0, 20000));
        join(&test);
        snprintf(text, sizeof(text), "client %u, hello\n", i);
        console_say(&test, 0, text);
        CU_ASSERT(reads(&test, text));
        snprintf(text, sizeof(text), "bye from %u;", i);
        types(test.user, text);
        leave(&test); /* what the client has typed still comes */
        CU_ASSERT(console_gets(&test, text));
    }
    stop_unhurt(&test);
}

/* They leave in the middle of their own output, and of the guest's. */
static void clients_die_in_the_middle(void)
{
    struct console_session test;
    static uint8_t data[CHUNK];
    memset(data, 'x', sizeof(data));
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    for (unsigned int i = 0; i < 30; i++) {
        join(&test);
        for (unsigned int n = 0; n < 8 + i; n++) {
            guest_console_send(&test.console, 0, data, CHUNK);
            (void)!send(test.user, data, 1000, MSG_NOSIGNAL);
        }
        leave(&test);
    }
    CU_ASSERT(console_drained(&test, 0, 20000));
    join(&test);
    console_say(&test, 0, "all well\n");
    CU_ASSERT(reads(&test, "all well\n"));
    stop_unhurt(&test);
}

static void a_second_client_is_refused(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    join(&test);
    for (unsigned int i = 0; i < 50; i++) {
        int second = connect_client(&test);
        CU_ASSERT(is_closed(second));
        close(second);
    }
    console_say(&test, 0, "still yours\n");
    CU_ASSERT(reads(&test, "still yours\n"));
    types(test.user, "still mine");
    CU_ASSERT(console_gets(&test, "still mine"));
    leave(&test);
    join(&test);
    stop_unhurt(&test);
}

/* `echo command | socat - UNIX-CONNECT:...` reads the answer. */
static void who_has_said_all_may_still_read(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    join(&test);
    types(test.user, "last words");
    CU_ASSERT_EQUAL(shutdown(test.user, SHUT_WR), 0);
    CU_ASSERT(console_gets(&test, "last words"));
    console_say(&test, 0, "an answer\n");
    CU_ASSERT(reads(&test, "an answer\n"));
    int second = connect_client(&test);
    CU_ASSERT(is_closed(second));
    close(second);
    stop_unhurt(&test);
}

/* ---- The name ---- */

static int bind_socket(const struct console_session *test)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", test->alias);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void replaces_a_socket_of_an_earlier_run(void)
{
    struct console_session test;
    console_configure(&test, SOCKET);
    close(bind_socket(&test));
    fixture_start(&test.fixture, 1, 1);
    fixture_guest(&test.fixture, 0, &test.console.guest);
    console_driver(&test, GUEST_CONSOLE_FEATURES);
    join(&test);
    stop_unhurt(&test);
}

static void leaves_alone_what_is_not_its_own(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        struct console_session test;
        struct stat before, after;
        console_configure(&test, SOCKET);
        int other = i == 0 ? fixture_open(&test.fixture, "console") : bind_socket(&test);
        if (i == 1)
            CU_ASSERT_EQUAL(listen(other, 1), 0);
        CU_ASSERT_EQUAL(lstat(test.alias, &before), 0);
        fixture_start(&test.fixture, 1, 0);
        fixture_assert_start_fails(&test.fixture, PATIENCE_MS);
        fixture_assert_logged(&test.fixture, "config.yaml:6:18: socket_path \"");
        fixture_assert_logged(&test.fixture, i == 0 ? "/console\" is there already and is no "
                                                      "socket: choose another path, or remove it"
                                                    : "/console\" is in use by another process: "
                                                      "choose another path, or end that one");
        CU_ASSERT(lstat(test.alias, &after) == 0 && before.st_ino == after.st_ino);
        close(other);
        fixture_stop_failed(&test.fixture);
        fixture_free(&test.fixture);
    }
}

/* ---- Death ---- */

static void the_client_stays_when_its_worker_is_killed(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    join(&test);
    console_outlives_workers(&test, 12 << 20);
    types(test.user, "alive?");
    CU_ASSERT(console_gets(&test, "alive?"));
    /* This client is still the only one. Its place is free only when it leaves. */
    int second = connect_client(&test);
    CU_ASSERT(is_closed(second));
    close(second);
    leave(&test);
    join(&test);
    console_stop(&test);
}

/* A connection ends with its broker. The next connection works, by the same name. */
static void goes_on_after_its_broker_was_killed(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, SOCKET);
    join(&test);
    CU_ASSERT_EQUAL(kill(test.fixture.broker, SIGKILL), 0);
    CU_ASSERT_FATAL(fixture_wait_broker(&test.fixture, test.fixture.broker) > 0);
    CU_ASSERT(is_closed(test.user));
    leave(&test);
    CU_ASSERT_EQUAL(guest_read(&test.console.guest, VIRTIO_MMIO_DEVICE_ID, 4), 3);
    console_say(&test, 0, "nobody is there\n");
    CU_ASSERT(console_drained(&test, 0, PATIENCE_MS));
    join(&test);
    console_say(&test, 0, "after\n");
    CU_ASSERT(reads(&test, "after\n"));
    console_stop(&test);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"talks both ways", talks_both_ways},
        {"megabytes pass both ways", megabytes_pass_both_ways},
        {"a slow client loses nothing", a_slow_client_loses_nothing},
        {"a client who never reads is given up", a_client_who_never_reads_is_given_up},
        {"emergency output passes", emergency_output_passes},
        {"without a client nothing waits", without_a_client_nothing_waits},
        {"clients come and go", clients_come_and_go},
        {"clients die in the middle", clients_die_in_the_middle},
        {"a second client is refused", a_second_client_is_refused},
        {"who has said all may still read", who_has_said_all_may_still_read},
        {"replaces a socket of an earlier run", replaces_a_socket_of_an_earlier_run},
        {"leaves alone what is not its own", leaves_alone_what_is_not_its_own},
        {"the client stays when its worker is killed", the_client_stays_when_its_worker_is_killed},
        {"goes on after its broker was killed", goes_on_after_its_broker_was_killed},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "console with a socket", tests);
}
