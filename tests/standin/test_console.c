/* SPDX-License-Identifier: Apache-2.0 */
/* The console device, VirtIO 1.2 §5.3, between a driver and a user at the terminal. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define PATIENCE_MS 8000
#define MULTIPORT (1ull << VIRTIO_CONSOLE_F_MULTIPORT)
#define CHUNK 4096u

struct test {
    struct fixture fixture;
    struct guest_console console;
    char alias[96];
    int user; /* at port 0's terminal; -1: nobody */
    /* What the guest got, checked against the pattern as it comes. */
    uint64_t wrong;
    char typed[256]; /* the last of it, as text */
    size_t typed_length;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Byte number `at` of a stream that does not repeat within megabytes. */
static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at ^ at >> 8 ^ (at >> 16) * 31);
}

static void fill(uint8_t *to, uint64_t at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = pattern(at + i);
}

static uint64_t differences(const uint8_t *data, uint64_t at, size_t length)
{
    uint64_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += data[i] != pattern(at + i);
    return count;
}

/* ---- The user ---- */

static void path_of(const struct test *test, unsigned int port, char ret[128])
{
    snprintf(ret, 128, port == 0 ? "%s" : "%s.%u", test->alias, port);
}

static int open_port(const struct test *test, unsigned int port)
{
    char path[128];
    path_of(test, port, path);
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

/* Read until `text` has come, with the guest's driver at work; false if it does not come. */
static bool reads(struct test *test, int fd, const char *text)
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

/* Read what there is until there is no more for a while. Returns whether there is more. */
static bool reads_all(struct test *test, int fd)
{
    static char seen[CHUNK];
    for (unsigned int quiet = 0; quiet < 200; usleep(200)) {
        quiet = read(fd, seen, sizeof(seen)) > 0 ? 0 : quiet + 1;
        guest_console_poll(&test->console);
    }
    return read(fd, seen, sizeof(seen)) > 0;
}

/* ---- The guest ---- */

static void take_text(struct guest_console *console, unsigned int port, const uint8_t *data,
                      uint32_t length)
{
    struct test *test = console->context;
    (void)port;
    for (uint32_t i = 0; i < length && test->typed_length < sizeof(test->typed) - 1; i++)
        test->typed[test->typed_length++] = (char)data[i];
    test->typed[test->typed_length] = 0;
}

static void take_pattern(struct guest_console *console, unsigned int port, const uint8_t *data,
                         uint32_t length)
{
    struct test *test = console->context;
    test->wrong += differences(data, console->ports[port].received - length, length);
}

static bool gets(struct test *test, const char *text)
{
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end; usleep(200)) {
        guest_console_poll(&test->console);
        if (strstr(test->typed, text))
            return true;
    }
    return false;
}

/* All output is completed by the device within the time. */
static bool drained(struct test *test, unsigned int port, uint64_t within_ms)
{
    for (uint64_t end = now_ms() + within_ms; now_ms() < end; usleep(200)) {
        guest_console_poll(&test->console);
        if (guest_console_busy(&test->console, port) == 0)
            return true;
    }
    return false;
}

static void say(struct test *test, unsigned int port, const char *text)
{
    CU_ASSERT_EQUAL(guest_console_send(&test->console, port, text, (uint32_t)strlen(text)),
                    strlen(text));
}

/* Until the device has said all that it has to say about its ports. */
static void settle_ports(struct test *test)
{
    const struct guest_console_port *last = &test->console.ports[test->console.port_count - 1];
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end && !last->open; usleep(200))
        guest_console_poll(&test->console);
    CU_ASSERT_TRUE_FATAL(last->open);
}

static void driver(struct test *test, uint64_t features)
{
    CU_ASSERT_EQUAL_FATAL(guest_console_start(&test->console, features), 0);
    test->console.context = test;
    test->console.input = take_text;
}

/* `more`: keys of the configuration besides those that it must have, "@" for the directory. */
static void configure(struct test *test, const char *more)
{
    char yaml[512];
    *test = (struct test){.user = -1};
    fixture_init(&test->fixture);
    snprintf(test->alias, sizeof(test->alias), "%s/console", test->fixture.dir);
    snprintf(yaml, sizeof(yaml),
             "devices:\n  - id: 0\n    type: console\n    data_plane: virtio\n"
             "    mmio_addr: 0x%llx\n%s",
             (unsigned long long)fixture_base(0), more);
    fixture_configure(&test->fixture, yaml);
}

static void start(struct test *test, uint64_t features, const char *more)
{
    configure(test, more);
    fixture_start(&test->fixture, 1, 1);
    fixture_guest(&test->fixture, 0, &test->console.guest);
    driver(test, features);
}

#define ALIAS "    pty_alias: \"@/console\"\n"

static void start_one(struct test *test)
{
    start(test, GUEST_CONSOLE_FEATURES, ALIAS);
}

static void stop(struct test *test)
{
    CU_ASSERT_EQUAL(test->console.guest.error, 0);
    if (test->user >= 0)
        close(test->user);
    guest_console_free(&test->console);
    fixture_stop(&test->fixture);
    fixture_free(&test->fixture);
}

/* ---- One port ---- */

static void is_a_raw_terminal_of_roots(void)
{
    struct test test;
    struct stat file;
    struct termios mode;
    char target[64] = "";
    start_one(&test);
    CU_ASSERT_EQUAL(test.console.guest.features, GUEST_CONSOLE_FEATURES & ~MULTIPORT);
    CU_ASSERT(readlink(test.alias, target, sizeof(target) - 1) > 9);
    CU_ASSERT_EQUAL(strncmp(target, "/dev/pts/", 9), 0);
    CU_ASSERT_EQUAL(stat(test.alias, &file), 0);
    CU_ASSERT(S_ISCHR(file.st_mode) && (file.st_mode & 0777) == 0600 && file.st_uid == 0);
    test.user = open_port(&test, 0);
    CU_ASSERT_EQUAL(tcgetattr(test.user, &mode), 0);
    CU_ASSERT_EQUAL(mode.c_lflag & (ECHO | ICANON | ISIG | IEXTEN), 0u);
    CU_ASSERT_EQUAL(mode.c_oflag & OPOST, 0u);
    /* The name is in the log, for whoever has no alias. */
    char *log = fixture_log(&test.fixture);
    CU_ASSERT_PTR_NOT_NULL(strstr(log, target));
    free(log);
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

static void talks_both_ways(void)
{
    struct test test;
    start_one(&test);
    test.user = open_port(&test, 0);
    say(&test, 0, "login: ");
    CU_ASSERT(reads(&test, test.user, "login: "));
    CU_ASSERT_EQUAL(write(test.user, "root\r\x03\x04\x11\x13", 9), 9);
    CU_ASSERT(gets(&test, "root\r\x03\x04\x11\x13")); /* no byte has a meaning on the way */
    CU_ASSERT(guest_take_interrupt(&test.console.guest) > 0);
    char echo;
    CU_ASSERT_EQUAL(read(test.user, &echo, 1), -1);
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* One step of traffic in both directions; returns false when there was nothing to do. */
static bool exchange(struct test *test, int user, uint64_t total, uint64_t *typed, uint64_t *seen)
{
    static uint8_t data[CHUNK];
    struct guest_console *console = &test->console;
    bool busy = guest_console_poll(console) > 0;
    uint64_t left = total - console->ports[0].sent;
    if (left > 0) {
        uint32_t length = left < CHUNK ? (uint32_t)left : CHUNK;
        fill(data, console->ports[0].sent, length);
        busy |= guest_console_send(console, 0, data, length) > 0;
    }
    left = total - *typed;
    if (left > 0) {
        fill(data, *typed, left < CHUNK ? left : CHUNK);
        ssize_t written = write(user, data, left < CHUNK ? left : CHUNK);
        *typed += written > 0 ? (uint64_t)written : 0;
        busy |= written > 0;
    }
    ssize_t got = read(user, data, sizeof(data));
    if (got > 0) {
        test->wrong += differences(data, *seen, (size_t)got);
        *seen += (uint64_t)got;
    }
    return busy || got > 0;
}

static void megabytes(unsigned int megabytes_each)
{
    struct test test;
    const uint64_t total = (uint64_t)megabytes_each << 20;
    uint64_t typed = 0, seen = 0, quiet_since = now_ms();
    start_one(&test);
    test.console.input = take_pattern;
    test.user = open_port(&test, 0);
    while ((seen < total || test.console.ports[0].received < total) &&
           now_ms() - quiet_since < PATIENCE_MS) {
        if (exchange(&test, test.user, total, &typed, &seen))
            quiet_since = now_ms();
        else
            usleep(50);
    }
    CU_ASSERT_EQUAL(seen, total);
    CU_ASSERT_EQUAL(test.console.ports[0].received, total);
    CU_ASSERT_EQUAL(test.wrong, 0);
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

static void megabytes_pass_both_ways(void)
{
    megabytes(8);
}

/* Send the pattern until the device takes no more, for a while. Returns how much it took. */
static uint64_t send_until_full(struct test *test, uint64_t most)
{
    static uint8_t data[CHUNK];
    struct guest_console_port *port = &test->console.ports[0];
    for (uint64_t last = now_ms(); now_ms() - last < 300 && port->sent < most; usleep(200)) {
        guest_console_poll(&test->console);
        fill(data, port->sent, CHUNK);
        if (guest_console_send(&test->console, 0, data, CHUNK) > 0)
            last = now_ms();
    }
    return port->sent;
}

static void a_slow_reader_loses_nothing(void)
{
    struct test test;
    static uint8_t data[CHUNK];
    start_one(&test);
    test.user = open_port(&test, 0);
    uint64_t sent = send_until_full(&test, 1 << 20);
    CU_ASSERT(sent < 1 << 18); /* the ring is full: nobody reads */
    CU_ASSERT_EQUAL(guest_console_busy(&test.console, 0), GUEST_CONSOLE_BUFFERS);
    /* The guest itself goes on, and so does the other direction. */
    CU_ASSERT_EQUAL(guest_read(&test.console.guest, VIRTIO_MMIO_DEVICE_ID, 4), 3);
    CU_ASSERT_EQUAL(write(test.user, "x", 1), 1);
    CU_ASSERT(gets(&test, "x"));
    uint64_t seen = 0;
    for (uint64_t end = now_ms() + PATIENCE_MS; seen < sent && now_ms() < end; usleep(1000)) {
        ssize_t got = read(test.user, data, 1000);
        guest_console_poll(&test.console);
        if (got <= 0)
            continue;
        CU_ASSERT_EQUAL(differences(data, seen, (size_t)got), 0);
        seen += (uint64_t)got;
    }
    CU_ASSERT_EQUAL(seen, sent);
    CU_ASSERT_EQUAL(guest_console_busy(&test.console, 0), 0);
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* Linux waits for console output with interrupts off: so not for ever. */
static void a_reader_who_stopped_is_given_up(void)
{
    struct test test;
    start_one(&test);
    test.user = open_port(&test, 0);
    send_until_full(&test, 1 << 20);
    uint64_t from = now_ms();
    CU_ASSERT(drained(&test, 0, 13000));
    CU_ASSERT(now_ms() - from > 7000); /* ten seconds, less what it took to see that all is full */
    CU_ASSERT_EQUAL(send_until_full(&test, 1 << 20), 1 << 20);
    CU_ASSERT(drained(&test, 0, 2000));
    /* Until he reads. */
    CU_ASSERT_FALSE(reads_all(&test, test.user));
    say(&test, 0, "back again\n");
    CU_ASSERT(reads(&test, test.user, "back again\n"));
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* Nor does one who stops reading and leaves keep the guest waiting. */
static void without_a_reader_nothing_waits(void)
{
    struct test test;
    start_one(&test);
    CU_ASSERT_EQUAL(send_until_full(&test, 1 << 20), 1 << 20);
    CU_ASSERT(drained(&test, 0, 2000));
    test.user = open_port(&test, 0);
    say(&test, 0, "for the first reader\n");
    CU_ASSERT(reads(&test, test.user, "for the first reader\n"));
    CU_ASSERT(send_until_full(&test, 2 << 20) < 2 << 20);
    close(test.user);
    CU_ASSERT(drained(&test, 0, 2000));
    CU_ASSERT(send_until_full(&test, 2 << 20) >= 2 << 20);
    CU_ASSERT(drained(&test, 0, 2000));
    test.user = open_port(&test, 0);
    say(&test, 0, "for the second reader\n");
    CU_ASSERT(reads(&test, test.user, "for the second reader\n"));
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

static void readers_come_and_go(void)
{
    struct test test;
    char text[64];
    start_one(&test);
    for (unsigned int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "nobody reads this %u\n", i);
        say(&test, 0, text);
        CU_ASSERT(drained(&test, 0, 2000));
        test.user = open_port(&test, 0);
        snprintf(text, sizeof(text), "reader %u, hello\n", i);
        say(&test, 0, text);
        CU_ASSERT(reads(&test, test.user, text));
        snprintf(text, sizeof(text), "hello from %u;", i);
        CU_ASSERT(write(test.user, text, strlen(text)) == (ssize_t)strlen(text));
        if (i % 2 == 0) { /* or it leaves at once: what it typed comes all the same */
            CU_ASSERT(gets(&test, text));
        }
        close(test.user);
        CU_ASSERT(gets(&test, text));
        test.typed_length = 0;
    }
    test.user = -1;
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

static void emergency_output_needs_no_driver(void)
{
    struct test test;
    configure(&test, ALIAS);
    fixture_start(&test.fixture, 1, 1);
    struct guest *guest = &test.console.guest;
    fixture_guest(&test.fixture, 0, guest);
    const uint64_t emerg_wr = VIRTIO_MMIO_CONFIG + offsetof(struct virtio_console_config, emerg_wr);
    guest_write(guest, emerg_wr, 4, 'n'); /* to nobody */
    test.user = open_port(&test, 0);
    for (const char *at = "panic\n"; *at; at++)
        guest_write(guest, emerg_wr, 4, 0xabcdef00u | (unsigned char)*at);
    CU_ASSERT(reads(&test, test.user, "panic\n"));
    /* Neither a full terminal nor any other offset does harm. */
    for (unsigned int i = 0; i < 20000 && guest->error == 0; i++)
        guest_write(guest, emerg_wr, 4, 'x');
    for (uint64_t offset = 0; offset < 16; offset++)
        guest_write(guest, VIRTIO_MMIO_CONFIG + offset, 1, 'x');
    driver(&test, GUEST_CONSOLE_FEATURES);
    say(&test, 0, "on we go\n");
    CU_ASSERT(reads(&test, test.user, "on we go\n"));
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* ---- Size ---- */

static void resize(int user, uint16_t cols, uint16_t rows)
{
    const struct winsize size = {.ws_col = cols, .ws_row = rows};
    CU_ASSERT_EQUAL(ioctl(user, TIOCSWINSZ, &size), 0);
}

static void the_size_follows_the_users_window(void)
{
    struct test test;
    struct virtio_console_config config;
    start_one(&test);
    struct guest *guest = &test.console.guest;
    CU_ASSERT(test.console.cols == 0 && test.console.rows == 0);
    test.user = open_port(&test, 0);
    for (uint16_t i = 0; i < 3; i++) {
        uint64_t changes = guest->config_changes;
        resize(test.user, (uint16_t)(132 + i), 50);
        while (guest->config_changes == changes && guest->error == 0) {
            if (guest_take_interrupt(guest) < 0)
                break;
        }
        CU_ASSERT_EQUAL(guest->config_changes, changes + 1);
        guest_config(guest, 0, &config, 4, 2);
        CU_ASSERT(config.cols == 132 + i && config.rows == 50);
        say(&test, 0, "still there\n");
        CU_ASSERT(reads(&test, test.user, "still there\n"));
    }
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* ---- Several ports ---- */

static void has_seven_ports(void)
{
    struct test test;
    int users[GUEST_CONSOLE_PORTS];
    char text[32];
    start(&test, GUEST_CONSOLE_FEATURES, ALIAS "    ports: 7\n");
    CU_ASSERT_EQUAL_FATAL(test.console.port_count, 7);
    settle_ports(&test);
    for (unsigned int p = 0; p < 7; p++) {
        const struct guest_console_port *port = &test.console.ports[p];
        CU_ASSERT(port->added && port->open && port->is_console == (p == 0));
        snprintf(text, sizeof(text), "console0.%u", p);
        CU_ASSERT_STRING_EQUAL(port->name, text);
        users[p] = open_port(&test, p);
    }
    for (unsigned int p = 0; p < 7; p++) {
        snprintf(text, sizeof(text), "port %u\n", p);
        say(&test, p, text);
    }
    for (unsigned int p = 0; p < 7; p++) {
        snprintf(text, sizeof(text), "port %u\n", p);
        CU_ASSERT(reads(&test, users[p], text));
        CU_ASSERT_EQUAL(read(users[p], text, sizeof(text)), -1);
    }
    /* Input waits until the guest opens the port. */
    for (unsigned int p = 1; p < 7; p++) {
        snprintf(text, sizeof(text), "to port %u\n", p);
        CU_ASSERT(write(users[p], text, strlen(text)) > 0);
        usleep(5000);
        guest_console_poll(&test.console);
        CU_ASSERT_EQUAL(test.console.ports[p].received, 0);
        CU_ASSERT_EQUAL(guest_console_say(&test.console, p, VIRTIO_CONSOLE_PORT_OPEN, 1), 0);
        CU_ASSERT(gets(&test, text));
        CU_ASSERT_EQUAL(test.console.ports[p].received, strlen(text));
    }
    resize(users[0], 100, 40);
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end && test.console.ports[0].cols != 100;
         usleep(200))
        guest_console_poll(&test.console);
    CU_ASSERT(test.console.ports[0].cols == 100 && test.console.ports[0].rows == 40);
    for (unsigned int p = 0; p < 7; p++)
        close(users[p]);
    stop(&test);
}

/* A driver that knows of one port finds one, on queues 0 and 1. */
static void a_simple_driver_has_port_0(void)
{
    struct test test;
    start(&test, GUEST_CONSOLE_FEATURES & ~MULTIPORT, ALIAS "    ports: 3\n");
    test.user = open_port(&test, 0);
    say(&test, 0, "one port\n");
    CU_ASSERT(reads(&test, test.user, "one port\n"));
    CU_ASSERT_EQUAL(write(test.user, "yes", 3), 3);
    CU_ASSERT(gets(&test, "yes"));
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* Nonsense about ports changes nothing; a message that is none needs a reset. */
static void control_messages_may_be_nonsense(void)
{
    struct test test;
    start(&test, GUEST_CONSOLE_FEATURES, ALIAS "    ports: 2\n");
    settle_ports(&test);
    for (uint32_t i = 0; i < 2000; i++) {
        const uint32_t ports[] = {0, 1, 2, 7, 255, 256, 0x7fffffff, 0x80000000, ~0u};
        if (guest_console_say(&test.console, ports[i % 9], (uint16_t)(i % 13), (uint16_t)(i % 3)) <
            0)
            usleep(100);
        guest_console_poll(&test.console);
    }
    CU_ASSERT_EQUAL(guest_status(&test.console.guest) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    struct guest_console_pair *control = &test.console.control;
    const struct guest_segment brief = {control->out[0].addr, 7, false};
    CU_ASSERT_EQUAL(guest_queue_add(&control->tx, &brief, 1, control), 0);
    guest_queue_kick(&control->tx);
    for (uint64_t end = now_ms() + PATIENCE_MS;
         now_ms() < end && (guest_status(&test.console.guest) & VIRTIO_CONFIG_S_NEEDS_RESET) == 0;)
        usleep(1000);
    CU_ASSERT((guest_status(&test.console.guest) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    driver(&test, GUEST_CONSOLE_FEATURES);
    settle_ports(&test);
    test.user = open_port(&test, 1);
    say(&test, 1, "well again\n");
    CU_ASSERT(reads(&test, test.user, "well again\n"));
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* ---- Names ---- */

static void replaces_a_link_of_an_earlier_run(void)
{
    struct test test;
    configure(&test, ALIAS);
    CU_ASSERT_EQUAL(symlink("/dev/pts/987654", test.alias), 0);
    fixture_start(&test.fixture, 1, 1);
    fixture_guest(&test.fixture, 0, &test.console.guest);
    driver(&test, GUEST_CONSOLE_FEATURES);
    test.user = open_port(&test, 0);
    say(&test, 0, "here\n");
    CU_ASSERT(reads(&test, test.user, "here\n"));
    stop(&test);
}

static void leaves_alone_what_is_not_its_own(void)
{
    for (unsigned int i = 0; i < 3; i++) {
        struct test test;
        struct stat before, after;
        configure(&test, ALIAS);
        if (i == 0)
            CU_ASSERT_EQUAL(symlink("/etc/passwd", test.alias), 0);
        if (i == 1)
            CU_ASSERT_EQUAL(mkdir(test.alias, 0700), 0);
        if (i == 2)
            close(fixture_open(&test.fixture, "console"));
        CU_ASSERT_EQUAL(lstat(test.alias, &before), 0);
        fixture_start(&test.fixture, 1, 0);
        standin_expect_end(test.fixture.standin);
        int status = standin_wait(test.fixture.standin, PATIENCE_MS);
        CU_ASSERT(status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1);
        char *log = fixture_log(&test.fixture);
        CU_ASSERT_PTR_NOT_NULL(strstr(log, "config.yaml:6:16: \""));
        CU_ASSERT_PTR_NOT_NULL(strstr(log, "/console\" is there already, and is no link to a "
                                           "terminal"));
        free(log);
        CU_ASSERT(lstat(test.alias, &after) == 0 && before.st_ino == after.st_ino);
        standin_stop(test.fixture.standin);
        if (i == 1)
            rmdir(test.alias);
        fixture_free(&test.fixture);
    }
}

/* ---- Log file ---- */

static void logs_to_a_file(void)
{
    struct test test;
    char text[CHUNK], name[128];
    struct stat file;
    start(&test, GUEST_CONSOLE_FEATURES, "    log_path: \"@/log.txt\"\n");
    memset(text, 'a', sizeof(text));
    for (unsigned int i = 0; i < 64; i++) {
        while (guest_console_send(&test.console, 0, text, sizeof(text)) == 0)
            guest_console_poll(&test.console);
    }
    CU_ASSERT(drained(&test, 0, 2000));
    say(&test, 0, "the end\n");
    CU_ASSERT(drained(&test, 0, 2000));
    snprintf(name, sizeof(name), "%s/log.txt", test.fixture.dir);
    CU_ASSERT_EQUAL(stat(name, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 64 * CHUNK + 8);
    CU_ASSERT_EQUAL(file.st_mode & 0777, 0600);
    int log = fixture_open(&test.fixture, "log.txt");
    CU_ASSERT_EQUAL(pread(log, text, 8, 64 * CHUNK), 8);
    CU_ASSERT_EQUAL(memcmp(text, "the end\n", 8), 0);
    close(log);
    fixture_assert_never_restarted(&test.fixture);
    stop(&test);
}

/* ---- Death ---- */

/*
 * The reader gets every byte, in order. After a death at most what one call wrote, 4096 bytes,
 * comes a second time.
 */
struct follower {
    uint64_t seen; /* bytes of the stream up to the furthest */
    uint64_t at;   /* the next one expected */
    uint64_t wrong;
    unsigned int repeats;
};

/* `data` does not go on at follower->at: does it go on a little before? */
static bool step_back(struct follower *follower, const uint8_t *data, size_t length)
{
    for (uint64_t back = 1; back <= CHUNK && back <= follower->at; back++) {
        if (differences(data, follower->at - back, length) == 0) {
            follower->at -= back;
            follower->repeats++;
            return true;
        }
    }
    return false;
}

static void follow(struct follower *follower, const uint8_t *data, size_t length)
{
    while (length > 0) {
        size_t good = 0;
        while (good < length && data[good] == pattern(follower->at + good))
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

static void goes_on_after_its_worker_was_killed(void)
{
    static uint8_t data[CHUNK];
    struct test test;
    struct follower follower = {0};
    const uint64_t total = 24 << 20;
    unsigned int deaths = 0;
    start_one(&test);
    test.user = open_port(&test, 0);
    struct guest_console_port *port = &test.console.ports[0];
    pid_t worker = fixture_worker(&test.fixture, 0);
    uint64_t next_death = 1 << 18, quiet_since = now_ms();
    while (follower.seen < total && now_ms() - quiet_since < PATIENCE_MS) {
        guest_console_poll(&test.console);
        if (port->sent < total) {
            fill(data, port->sent, CHUNK);
            guest_console_send(&test.console, 0, data, CHUNK);
        }
        ssize_t got = read(test.user, data, sizeof(data));
        if (got > 0) {
            follow(&follower, data, (size_t)got);
            quiet_since = now_ms();
        }
        if (follower.seen > next_death && deaths < 8) {
            CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
            worker = fixture_wait_worker(&test.fixture, 0, worker);
            CU_ASSERT_FATAL(worker > 0);
            deaths++;
            next_death = follower.seen + (1 << 18) + 997 * deaths;
        }
    }
    CU_ASSERT_EQUAL(deaths, 8);
    CU_ASSERT_EQUAL(follower.seen, total);
    CU_ASSERT_EQUAL(follower.wrong, 0);
    CU_ASSERT(follower.repeats <= deaths);
    /* The terminal is the same one: it still takes input. */
    CU_ASSERT_EQUAL(write(test.user, "alive?", 6), 6);
    CU_ASSERT(gets(&test, "alive?"));
    stop(&test);
}

/* The terminal ends with its broker; its name leads to another one, and the guest goes on. */
static void goes_on_after_its_broker_was_killed(void)
{
    struct test test;
    char before[64] = "", after[64] = "";
    start_one(&test);
    test.user = open_port(&test, 0);
    say(&test, 0, "before\n");
    CU_ASSERT(reads(&test, test.user, "before\n"));
    CU_ASSERT(readlink(test.alias, before, sizeof(before) - 1) > 0);
    CU_ASSERT_EQUAL(kill(test.fixture.broker, SIGKILL), 0);
    CU_ASSERT_FATAL(fixture_wait_broker(&test.fixture, test.fixture.broker) > 0);
    CU_ASSERT_EQUAL(guest_read(&test.console.guest, VIRTIO_MMIO_DEVICE_ID, 4), 3);
    say(&test, 0, "nobody is there\n");
    CU_ASSERT(drained(&test, 0, PATIENCE_MS));
    CU_ASSERT(readlink(test.alias, after, sizeof(after) - 1) > 0);
    CU_ASSERT_STRING_NOT_EQUAL(before, after); /* the first is still open here, so not free */
    close(test.user);
    test.user = open_port(&test, 0);
    say(&test, 0, "after\n");
    CU_ASSERT(reads(&test, test.user, "after\n"));
    CU_ASSERT_EQUAL(write(test.user, "typed", 5), 5);
    CU_ASSERT(gets(&test, "typed"));
    stop(&test);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"is a raw terminal of root's", is_a_raw_terminal_of_roots},
        {"talks both ways", talks_both_ways},
        {"megabytes pass both ways", megabytes_pass_both_ways},
        {"a slow reader loses nothing", a_slow_reader_loses_nothing},
        {"a reader who stopped is given up", a_reader_who_stopped_is_given_up},
        {"without a reader nothing waits", without_a_reader_nothing_waits},
        {"readers come and go", readers_come_and_go},
        {"emergency output needs no driver", emergency_output_needs_no_driver},
        {"the size follows the user's window", the_size_follows_the_users_window},
        {"has seven ports", has_seven_ports},
        {"a simple driver has port 0", a_simple_driver_has_port_0},
        {"control messages may be nonsense", control_messages_may_be_nonsense},
        {"replaces a link of an earlier run", replaces_a_link_of_an_earlier_run},
        {"leaves alone what is not its own", leaves_alone_what_is_not_its_own},
        {"logs to a file", logs_to_a_file},
        {"goes on after its worker was killed", goes_on_after_its_worker_was_killed},
        {"goes on after its broker was killed", goes_on_after_its_broker_was_killed},
        CU_TEST_INFO_NULL,
    };
    return fixture_main("console device", tests);
}
