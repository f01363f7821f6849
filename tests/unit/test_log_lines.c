/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of keeper and broker. Nobody waits for a reader that does not read. Lost lines are counted.
 * Other users of the same stderr notice nothing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "broker/log.h"
#include "tests/cunit_main.h"

#define LINES 4000u    /* more than any of the readers holds */
#define TOO_LONG_S 20u /* if a test waits in spite of all */

/* `fd` is this test's stderr for a while. */
static int own_stderr = -1;

static void use(int fd)
{
    own_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    CU_ASSERT_FATAL(own_stderr >= 0);
    CU_ASSERT_EQUAL_FATAL(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    CU_ASSERT_EQUAL(log_prepare(), 0);
    alarm(TOO_LONG_S);
}

static void give_back(void)
{
    alarm(0);
    (void)log_tell_lost(); /* even if nobody reads it: the next test must start with no count */
    dup2(own_stderr, STDERR_FILENO);
    close(own_stderr);
}

static bool readable(int fd)
{
    struct pollfd file = {.fd = fd, .events = POLLIN};
    return poll(&file, 1, 100) == 1 && (file.revents & POLLIN) != 0;
}

/* Number of whole lines: those that are as they were written, and the sum of those that are
 * reported as lost. */
struct seen {
    unsigned int said, lost, others;
    unsigned int notices; /* lines that report lost ones */
};

static void take_line(const char *line, struct seen *seen)
{
    unsigned int number;
    char rest[32] = "";
    if (sscanf(line, "bao-virtio-dm: line %u %31s", &number, rest) == 2 && strcmp(rest, "end") == 0)
        seen->said++;
    else if (strstr(line, "lost here") && sscanf(line, "bao-virtio-dm: %u ", &number) == 1) {
        seen->lost += number;
        seen->notices++;
    } else if (line[0] != '\0')
        seen->others++;
}

static void read_lines(int fd, struct seen *seen)
{
    static char text[1 << 20];
    size_t length = 0;
    while (length < sizeof(text) - 1 && readable(fd)) {
        ssize_t count = read(fd, text + length, sizeof(text) - 1 - length);
        if (count <= 0)
            break;
        length += (size_t)count;
    }
    text[length] = '\0';
    for (char *line = strtok(text, "\r\n"); line; line = strtok(NULL, "\r\n"))
        take_line(line, seen);
}

static void say_lines(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        log_line(NULL, "line %u end", i);
}

/* Fill it, empty it, write one more line. `cut`: number of lines that may be truncated, each time
 * that it is full. */
static void check(int reader, unsigned int cut)
{
    struct seen seen = {0};
    say_lines(LINES);
    /* The kernel moves a terminal's bytes on by itself, so there may be room again in between. */
    bool told = log_tell_lost();
    CU_ASSERT(!told || cut > 0);
    read_lines(reader, &seen);
    CU_ASSERT(seen.said > 0 && seen.said < LINES);
    CU_ASSERT(seen.lost == 0 || cut > 0);
    CU_ASSERT_TRUE(log_tell_lost());
    CU_ASSERT_TRUE(log_tell_lost()); /* only once */
    say_lines(1);
    read_lines(reader, &seen);
    CU_ASSERT_EQUAL(seen.said + seen.lost, LINES + 1);
    CU_ASSERT(seen.others <= cut * seen.notices);
}

static void a_pipe_that_nobody_reads(void)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
    use(ends[1]);
    check(ends[0], 0);
    CU_ASSERT_EQUAL(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* as its owner made it */
    CU_ASSERT_EQUAL(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    give_back();
    close(ends[0]);
    close(ends[1]);
}

/* There is no reader, now or later. */
static void a_pipe_without_a_reader(void)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    (void)signal(SIGPIPE, SIG_IGN);
    use(ends[1]);
    say_lines(LINES);
    give_back();
    close(ends[1]);
}

static void a_journal_that_is_stuck(void)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    use(ends[1]);
    check(ends[0], 0);
    CU_ASSERT_EQUAL(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    give_back();
    close(ends[0]);
    close(ends[1]);
}

static int open_terminal(int *ret_master)
{
    struct termios raw;
    *ret_master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CU_ASSERT_FATAL(*ret_master >= 0 && grantpt(*ret_master) == 0 && unlockpt(*ret_master) == 0);
    int fd = open(ptsname(*ret_master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0 && tcgetattr(fd, &raw) == 0);
    cfmakeraw(&raw);
    CU_ASSERT_EQUAL(tcsetattr(fd, TCSANOW, &raw), 0);
    return fd;
}

static void a_terminal_that_nobody_reads(void)
{
    int master, terminal = open_terminal(&master);
    use(terminal);
    check(master, 1); /* it takes a part of a line: that line counts as lost, and is seen in part */
    CU_ASSERT_EQUAL(fcntl(terminal, F_GETFL) & O_NONBLOCK, 0);
    give_back();
    close(terminal);
    close(master);
}

/* As after control-S. */
static void a_terminal_that_is_stopped(void)
{
    int master, terminal = open_terminal(&master);
    struct seen seen = {0};
    use(terminal);
    CU_ASSERT_EQUAL(tcflow(terminal, TCOOFF), 0);
    say_lines(7);
    CU_ASSERT_FALSE(log_tell_lost());
    read_lines(master, &seen);
    CU_ASSERT_EQUAL(seen.said, 0);
    CU_ASSERT_EQUAL(tcflow(terminal, TCOON), 0);
    CU_ASSERT_TRUE(log_tell_lost());
    read_lines(master, &seen);
    CU_ASSERT_EQUAL(seen.lost, 7);
    CU_ASSERT_EQUAL(seen.others, 0);
    give_back();
    close(terminal);
    close(master);
}

static void a_disk_that_is_full(void)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC),
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CU_ASSERT_FATAL(full >= 0 && null >= 0);
    use(full);
    say_lines(3);
    CU_ASSERT_FALSE(log_tell_lost());
    CU_ASSERT_EQUAL(dup2(null, STDERR_FILENO), STDERR_FILENO);
    CU_ASSERT_TRUE(log_tell_lost());
    give_back();
    close(full);
    close(null);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a pipe that nobody reads", a_pipe_that_nobody_reads},
        {"a pipe without a reader", a_pipe_without_a_reader},
        {"a journal that is stuck", a_journal_that_is_stuck},
        {"a terminal that nobody reads", a_terminal_that_nobody_reads},
        {"a terminal that is stopped", a_terminal_that_is_stopped},
        {"a disk that is full", a_disk_that_is_full},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "logging never waits", tests);
}
