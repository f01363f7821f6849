/* SPDX-License-Identifier: Apache-2.0 */
/* The console device, VirtIO 1.2 §5.3, between a driver and a user at the terminal. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/console_session.h"

#define MULTIPORT (1ull << VIRTIO_CONSOLE_F_MULTIPORT)

/* ---- One port ---- */

static void is_a_raw_terminal_of_roots(void)
{
    struct console_session test;
    struct stat file;
    struct termios mode;
    char target[64] = "";
    console_start_one(&test);
    CU_ASSERT_EQUAL(test.console.guest.features, GUEST_CONSOLE_FEATURES & ~MULTIPORT);
    CU_ASSERT(readlink(test.alias, target, sizeof(target) - 1) > 9);
    CU_ASSERT_EQUAL(strncmp(target, "/dev/pts/", 9), 0);
    CU_ASSERT_EQUAL(stat(test.alias, &file), 0);
    CU_ASSERT(S_ISCHR(file.st_mode) && (file.st_mode & 0777) == 0600 && file.st_uid == 0);
    test.user = console_open(&test, 0);
    CU_ASSERT_EQUAL(tcgetattr(test.user, &mode), 0);
    CU_ASSERT_EQUAL(mode.c_lflag & (ECHO | ICANON | ISIG | IEXTEN), 0u);
    CU_ASSERT_EQUAL(mode.c_oflag & OPOST, 0u);
    /* The terminal's name is in the log, for a user who has configured no alias. */
    fixture_assert_logged(&test.fixture, target);
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

static void talks_both_ways(void)
{
    struct console_session test;
    console_start_one(&test);
    test.user = console_open(&test, 0);
    console_say(&test, 0, "login: ");
    CU_ASSERT(console_reads(&test, test.user, "login: "));
    CU_ASSERT_EQUAL(write(test.user, "root\r\x03\x04\x11\x13", 9), 9);
    CU_ASSERT(console_gets(&test, "root\r\x03\x04\x11\x13")); /* no byte is special on the way */
    CU_ASSERT(guest_take_interrupt(&test.console.guest) > 0);
    char echo;
    CU_ASSERT_EQUAL(read(test.user, &echo, 1), -1);
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

/* One step of traffic in both directions; returns false when there was nothing to do. */
static bool exchange(struct console_session *test, int user, uint64_t total, uint64_t *typed,
                     uint64_t *seen)
{
    static uint8_t data[CHUNK];
    struct guest_console *console = &test->console;
    bool busy = guest_console_poll(console) > 0;
    uint64_t left = total - console->ports[0].sent;
    if (left > 0) {
        uint32_t length = left < CHUNK ? (uint32_t)left : CHUNK;
        console_fill(data, console->ports[0].sent, length);
        busy |= guest_console_send(console, 0, data, length) > 0;
    }
    left = total - *typed;
    if (left > 0) {
        console_fill(data, *typed, left < CHUNK ? left : CHUNK);
        ssize_t written = write(user, data, left < CHUNK ? left : CHUNK);
        *typed += written > 0 ? (uint64_t)written : 0;
        busy |= written > 0;
    }
    ssize_t got = read(user, data, sizeof(data));
    if (got > 0) {
        test->wrong += console_differences(data, *seen, (size_t)got);
        *seen += (uint64_t)got;
    }
    return busy || got > 0;
}

static void megabytes(unsigned int megabytes_each)
{
    struct console_session test;
    const uint64_t total = (uint64_t)megabytes_each << 20;
    uint64_t typed = 0, seen = 0, quiet_since = now_ms();
    console_start_one(&test);
    test.console.input = console_take_pattern;
    test.user = console_open(&test, 0);
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
    console_stop(&test);
}

static void megabytes_pass_both_ways(void)
{
    megabytes(8);
}

/* Send the pattern until the device has taken `most` bytes, or until it has held all buffers for
 * patience_ms. Returns how many bytes it took. */
static uint64_t send_for(struct console_session *test, uint64_t most, uint64_t patience_ms)
{
    static uint8_t data[CHUNK];
    struct guest_console_port *port = &test->console.ports[0];
    uint64_t end = now_ms() + 60000;
    for (uint64_t last = now_ms(); now_ms() - last < patience_ms && port->sent < most;
         usleep(200)) {
        guest_console_poll(&test->console);
        console_fill(data, port->sent, CHUNK);
        bool sent = guest_console_send(&test->console, 0, data, CHUNK) > 0;
        bool full = guest_console_busy(&test->console, 0) == GUEST_CONSOLE_BUFFERS;
        if ((sent || !full) && now_ms() < end)
            last = now_ms();
    }
    return port->sent;
}

static uint64_t send_until_full(struct console_session *test, uint64_t most)
{
    return send_for(test, most, 300);
}

static void a_slow_reader_loses_nothing(void)
{
    struct console_session test;
    console_start_one(&test);
    test.user = console_open(&test, 0);
    uint64_t sent = send_until_full(&test, 1 << 20);
    CU_ASSERT(sent < 1 << 18); /* the ring is full: nobody reads */
    CU_ASSERT_EQUAL(guest_console_busy(&test.console, 0), GUEST_CONSOLE_BUFFERS);
    /* The guest still works, and so does the other direction. */
    CU_ASSERT_EQUAL(guest_read(&test.console.guest, VIRTIO_MMIO_DEVICE_ID, 4), 3);
    CU_ASSERT_EQUAL(write(test.user, "x", 1), 1);
    CU_ASSERT(console_gets(&test, "x"));
    console_reads_slowly(&test, sent);
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

/* Linux waits for console output with interrupts off, so the device must not wait for ever. */
static void a_reader_who_stopped_is_given_up(void)
{
    struct console_session test;
    console_start_one(&test);
    test.user = console_open(&test, 0);
    send_until_full(&test, 1 << 20);
    uint64_t from = now_ms();
    /* The device waits ten seconds. It counts them in pieces, which are longer on a busy machine.
     */
    CU_ASSERT(console_drained(&test, 0, 30000));
    CU_ASSERT(now_ms() - from > 7000); /* ten seconds, less the time until we saw it full */
    CU_ASSERT_EQUAL(send_for(&test, 1 << 20, 60000), 1 << 20);
    CU_ASSERT(console_drained(&test, 0, 2000));
    /* The output is complete again when the user reads. */
    CU_ASSERT_FALSE(console_reads_all(&test, test.user));
    console_say(&test, 0, "back again\n");
    CU_ASSERT(console_reads(&test, test.user, "back again\n"));
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

/* A user who stops reading and leaves does not keep the guest waiting either. */
static void without_a_reader_nothing_waits(void)
{
    struct console_session test;
    console_start_one(&test);
    CU_ASSERT_EQUAL(send_for(&test, 1 << 20, 60000), 1 << 20);
    CU_ASSERT(console_drained(&test, 0, 2000));
    test.user = console_open(&test, 0);
    console_say(&test, 0, "for the first reader\n");
    CU_ASSERT(console_reads(&test, test.user, "for the first reader\n"));
    CU_ASSERT(send_until_full(&test, 2 << 20) < 2 << 20);
    close(test.user);
    CU_ASSERT(console_drained(&test, 0, 2000));
    CU_ASSERT(send_until_full(&test, 2 << 20) >= 2 << 20);
    CU_ASSERT(console_drained(&test, 0, 2000));
    test.user = console_open(&test, 0);
    console_say(&test, 0, "for the second reader\n");
    CU_ASSERT(console_reads(&test, test.user, "for the second reader\n"));
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

static void readers_come_and_go(void)
{
    struct console_session test;
    char text[64];
    console_start_one(&test);
    for (unsigned int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "nobody reads this %u\n", i);
        console_say(&test, 0, text);
        CU_ASSERT(console_drained(&test, 0, 2000));
        test.user = console_open(&test, 0);
        snprintf(text, sizeof(text), "reader %u, hello\n", i);
        console_say(&test, 0, text);
        CU_ASSERT(console_reads(&test, test.user, text));
        snprintf(text, sizeof(text), "hello from %u;", i);
        CU_ASSERT(write(test.user, text, strlen(text)) == (ssize_t)strlen(text));
        if (i % 2 == 0) { /* else the user leaves at once: what it typed still comes */
            CU_ASSERT(console_gets(&test, text));
        }
        close(test.user);
        CU_ASSERT(console_gets(&test, text));
        test.typed_length = 0;
    }
    test.user = -1;
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

static void emergency_output_needs_no_driver(void)
{
    struct console_session test;
    console_configure(&test, ALIAS);
    fixture_start(&test.fixture, 1, 1);
    struct guest *guest = &test.console.guest;
    fixture_guest(&test.fixture, 0, guest);
    const uint64_t emerg_wr = VIRTIO_MMIO_CONFIG + offsetof(struct virtio_console_config, emerg_wr);
    guest_write(guest, emerg_wr, 4, 'n'); /* nobody reads it */
    test.user = console_open(&test, 0);
    for (const char *at = "panic\n"; *at; at++)
        guest_write(guest, emerg_wr, 4, 0xabcdef00u | (unsigned char)*at);
    CU_ASSERT(console_reads(&test, test.user, "panic\n"));
    /* A full terminal does no harm. Nor does any other offset. */
    for (unsigned int i = 0; i < 20000 && guest->error == 0; i++)
        guest_write(guest, emerg_wr, 4, 'x');
    for (uint64_t offset = 0; offset < 16; offset++)
        guest_write(guest, VIRTIO_MMIO_CONFIG + offset, 1, 'x');
    console_driver(&test, GUEST_CONSOLE_FEATURES);
    console_say(&test, 0, "on we go\n");
    CU_ASSERT(console_reads(&test, test.user, "on we go\n"));
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

/* ---- Size ---- */

static void resize(int user, uint16_t cols, uint16_t rows)
{
    const struct winsize size = {.ws_col = cols, .ws_row = rows};
    CU_ASSERT_EQUAL(ioctl(user, TIOCSWINSZ, &size), 0);
}

static void the_size_follows_the_users_window(void)
{
    struct console_session test;
    struct virtio_console_config config;
    console_start_one(&test);
    struct guest *guest = &test.console.guest;
    CU_ASSERT(test.console.cols == 0 && test.console.rows == 0);
    test.user = console_open(&test, 0);
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
        console_say(&test, 0, "still there\n");
        CU_ASSERT(console_reads(&test, test.user, "still there\n"));
    }
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

/* ---- Several ports ---- */

static void has_seven_ports(void)
{
    struct console_session test;
    int users[GUEST_CONSOLE_PORTS];
    char text[32];
    console_start(&test, GUEST_CONSOLE_FEATURES, ALIAS "    ports: 7\n");
    CU_ASSERT_EQUAL_FATAL(test.console.port_count, 7);
    console_settle_ports(&test);
    for (unsigned int p = 0; p < 7; p++) {
        const struct guest_console_port *port = &test.console.ports[p];
        CU_ASSERT(port->added && port->open && port->is_console == (p == 0));
        snprintf(text, sizeof(text), "console0.%u", p);
        CU_ASSERT_STRING_EQUAL(port->name, text);
        users[p] = console_open(&test, p);
    }
    for (unsigned int p = 0; p < 7; p++) {
        snprintf(text, sizeof(text), "port %u\n", p);
        console_say(&test, p, text);
    }
    for (unsigned int p = 0; p < 7; p++) {
        snprintf(text, sizeof(text), "port %u\n", p);
        CU_ASSERT(console_reads(&test, users[p], text));
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
        CU_ASSERT(console_gets(&test, text));
        CU_ASSERT_EQUAL(test.console.ports[p].received, strlen(text));
    }
    resize(users[0], 100, 40);
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end && test.console.ports[0].cols != 100;
         usleep(200))
        guest_console_poll(&test.console);
    CU_ASSERT(test.console.ports[0].cols == 100 && test.console.ports[0].rows == 40);
    for (unsigned int p = 0; p < 7; p++)
        close(users[p]);
    console_stop(&test);
}

/* A driver without MULTIPORT finds one port, on queues 0 and 1. */
static void a_simple_driver_has_port_0(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES & ~MULTIPORT, ALIAS "    ports: 3\n");
    test.user = console_open(&test, 0);
    console_say(&test, 0, "one port\n");
    CU_ASSERT(console_reads(&test, test.user, "one port\n"));
    CU_ASSERT_EQUAL(write(test.user, "yes", 3), 3);
    CU_ASSERT(console_gets(&test, "yes"));
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

/* Nonsense about ports changes nothing. A message that is too short needs a reset. */
static void control_messages_may_be_nonsense(void)
{
    struct console_session test;
    console_start(&test, GUEST_CONSOLE_FEATURES, ALIAS "    ports: 2\n");
    console_settle_ports(&test);
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
    console_driver(&test, GUEST_CONSOLE_FEATURES);
    console_settle_ports(&test);
    test.user = console_open(&test, 1);
    console_say(&test, 1, "well again\n");
    CU_ASSERT(console_reads(&test, test.user, "well again\n"));
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

/* ---- Names ---- */

static void replaces_a_link_of_an_earlier_run(void)
{
    struct console_session test;
    console_configure(&test, ALIAS);
    CU_ASSERT_EQUAL(symlink("/dev/pts/987654", test.alias), 0);
    fixture_start(&test.fixture, 1, 1);
    fixture_guest(&test.fixture, 0, &test.console.guest);
    console_driver(&test, GUEST_CONSOLE_FEATURES);
    test.user = console_open(&test, 0);
    console_say(&test, 0, "here\n");
    CU_ASSERT(console_reads(&test, test.user, "here\n"));
    console_stop(&test);
}

static void leaves_alone_what_is_not_its_own(void)
{
    for (unsigned int i = 0; i < 3; i++) {
        struct console_session test;
        struct stat before, after;
        console_configure(&test, ALIAS);
        if (i == 0)
            CU_ASSERT_EQUAL(symlink("/etc/passwd", test.alias), 0);
        if (i == 1)
            CU_ASSERT_EQUAL(mkdir(test.alias, 0700), 0);
        if (i == 2)
            close(fixture_open(&test.fixture, "console"));
        CU_ASSERT_EQUAL(lstat(test.alias, &before), 0);
        fixture_start(&test.fixture, 1, 0);
        fixture_assert_start_fails(&test.fixture, PATIENCE_MS);
        fixture_assert_logged(&test.fixture, "config.yaml:6:16: \"");
        fixture_assert_logged(&test.fixture,
                              "/console\" is there already, and is no link to a terminal");
        CU_ASSERT(lstat(test.alias, &after) == 0 && before.st_ino == after.st_ino);
        fixture_stop_failed(&test.fixture);
        if (i == 1)
            rmdir(test.alias);
        fixture_free(&test.fixture);
    }
}

/* ---- Log file ---- */

static void logs_to_a_file(void)
{
    struct console_session test;
    char text[CHUNK], name[128];
    struct stat file;
    console_start(&test, GUEST_CONSOLE_FEATURES, "    log_path: \"@/log.txt\"\n");
    memset(text, 'a', sizeof(text));
    for (unsigned int i = 0; i < 64; i++) {
        while (guest_console_send(&test.console, 0, text, sizeof(text)) == 0)
            guest_console_poll(&test.console);
    }
    CU_ASSERT(console_drained(&test, 0, 2000));
    console_say(&test, 0, "the end\n");
    CU_ASSERT(console_drained(&test, 0, 2000));
    snprintf(name, sizeof(name), "%s/log.txt", test.fixture.dir);
    CU_ASSERT_EQUAL(stat(name, &file), 0);
    CU_ASSERT_EQUAL(file.st_size, 64 * CHUNK + 8);
    CU_ASSERT_EQUAL(file.st_mode & 0777, 0600);
    int log = fixture_open(&test.fixture, "log.txt");
    CU_ASSERT_EQUAL(pread(log, text, 8, 64 * CHUNK), 8);
    CU_ASSERT_EQUAL(memcmp(text, "the end\n", 8), 0);
    close(log);
    fixture_assert_never_restarted(&test.fixture);
    console_stop(&test);
}

int main(int argc, char **argv)
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
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "console device", tests);
}
