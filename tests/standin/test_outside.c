/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device model's partners need not listen. Workers and brokers are replaced in time while a log
 * reader, a terminal or the service manager does not go on. Afterwards the partners are told what
 * they have missed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/managed.h"

/* Enough for a successor on a busy machine. A message that waited for its reader took 5 s, and a
 * write took for ever. */
#define IN_TIME_MS 9000
#define DEATHS 3u
#define TOLD_MS 10000
#define NOISE "noise\n"

static void kill_and_await(const struct fixture *fixture, bool broker, pid_t *victim)
{
    pid_t before = *victim;
    CU_ASSERT_EQUAL(kill(before, SIGKILL), 0);
    *victim =
        broker ? fixture_wait_broker(fixture, before) : fixture_wait_worker(fixture, 0, before);
    CU_ASSERT_FATAL(*victim > 0);
}

/* Kills workers of device 0 and brokers by turns. At the end it makes a register access to each
 * device. */
static void deaths_are_survived_in_time(const struct fixture *fixture, unsigned int devices)
{
    pid_t worker = fixture->workers[0], broker = fixture->broker;
    uint64_t begin = now_ms();
    for (unsigned int i = 0; i < DEATHS; i++) {
        kill_and_await(fixture, false, &worker);
        kill_and_await(fixture, true, &broker);
        worker = fixture_wait_worker(fixture, 0, worker);
    }
    for (unsigned int id = 0; id < devices; id++) {
        uint64_t value = 0;
        CU_ASSERT_EQUAL(standin_read(fixture->standin, id, fixture_base(id), 4, &value, IN_TIME_MS),
                        0);
        CU_ASSERT_EQUAL(value, 0x74726976);
    }
    uint64_t took = now_ms() - begin;
    printf(" (%u deaths: %llu ms) ", 2 * DEATHS, (unsigned long long)took);
    CU_ASSERT(took < IN_TIME_MS);
}

/* ---- stderr ---- */

/* Reads what comes now, until `words` are in it. */
static bool reads_words(int fd, const char *words)
{
    static char text[1 << 20];
    size_t length = 0;
    uint64_t end = now_ms() + TOLD_MS;
    struct pollfd file = {.fd = fd, .events = POLLIN};
    while (now_ms() < end && length < sizeof(text) - 1) {
        if (poll(&file, 1, 100) != 1)
            continue;
        ssize_t count = read(fd, text + length, sizeof(text) - 1 - length);
        if (count <= 0)
            break;
        length += (size_t)count;
        text[length] = '\0';
        if (strstr(text, words))
            return true;
    }
    printf("\n--- instead of \"%s\": %s---\n", words, text);
    return false;
}

static void run_with_stderr(int stderr_fd, void (*stop)(int), void (*go_on)(int), int reader)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.stderr_fd = stderr_fd;
    fixture_configure_blocks(&fixture, 2);
    fixture_start(&fixture, 2, 2);
    CU_ASSERT_TRUE(reads_words(reader, "worker"));
    stop(stderr_fd);
    deaths_are_survived_in_time(&fixture, 2);
    go_on(stderr_fd);
    /* The keeper has logged that brokers died, and the last broker has logged that it is ready.
     * Both have lost these lines. */
    CU_ASSERT_TRUE(reads_words(reader, "lost here"));
    CU_ASSERT_EQUAL(fcntl(stderr_fd, F_GETFL) & O_NONBLOCK, 0); /* our own stderr is as it was */
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void fill(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fd, NOISE, sizeof(NOISE) - 1) > 0)
        ;
    while (write(fd, "\n", 1) > 0)
        ;
    CU_ASSERT_EQUAL(errno, EAGAIN);
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, flags), 0);
}

static void nothing(int fd)
{
    (void)fd;
}

static void a_pipe_that_nobody_reads(void)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
    run_with_stderr(ends[1], fill, nothing, ends[0]);
    close(ends[0]);
    close(ends[1]);
}

static void a_journal_that_is_stuck(void)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    run_with_stderr(ends[1], fill, nothing, ends[0]);
    close(ends[0]);
    close(ends[1]);
}

static void stop_terminal(int fd)
{
    CU_ASSERT_EQUAL(tcflow(fd, TCOOFF), 0);
}

static void go_on_terminal(int fd)
{
    CU_ASSERT_EQUAL(tcflow(fd, TCOON), 0);
}

static void a_terminal_that_is_stopped(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CU_ASSERT_FATAL(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CU_ASSERT_FATAL(terminal >= 0);
    run_with_stderr(terminal, stop_terminal, go_on_terminal, master);
    close(terminal);
    close(master);
}

/* ---- The service manager ---- */

static pid_t parent_of(pid_t pid)
{
    char path[64], line[128];
    int parent = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof(line), status))
        (void)!sscanf(line, "PPid: %d", &parent);
    if (status)
        fclose(status);
    return parent;
}

static const char two_disks[] =
    "devices:\n"
    "  - id: 0\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"
    "    file_path: \"@/disk0.img\"\n    read_only: false\n"
    "  - id: 1\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa004000\n"
    "    file_path: \"@/disk1.img\"\n    read_only: false\n";

static void a_service_manager_that_is_stopped(void)
{
    struct managed managed;
    managed_prepare(&managed, two_disks, NULL, false);
    fixture_start(&managed.fixture, 2, 2);
    managed_wait_events(&managed, "ready", 1);
    pid_t manager = parent_of(fixture_managed_keeper(&managed.fixture));
    CU_ASSERT_FATAL(manager > 1);
    unsigned int told = managed_events(&managed, "status The broker died");
    CU_ASSERT_EQUAL(kill(manager, SIGSTOP), 0);
    deaths_are_survived_in_time(&managed.fixture, 2);
    CU_ASSERT_EQUAL(kill(manager, SIGCONT), 0);
    managed_wait_events(&managed, "status The broker died", told + 1);
    managed_wait_events(&managed, "status The devices are served.", 2);
    managed_stop(&managed, 2);
}

/* The service manager is stopped when it should get the files. They come when it goes on, and the
 * next keeper has all of them. */
static void a_service_manager_that_is_stopped_at_the_start(void)
{
    struct managed managed;
    managed_prepare(&managed, two_disks, NULL, true);
    fixture_start(&managed.fixture, 2, 0);
    managed_wait_events(&managed, "started", 1);
    pid_t keeper = fixture_managed_keeper(&managed.fixture), manager = parent_of(keeper);
    CU_ASSERT_EQUAL_FATAL(kill(manager, SIGSTOP), 0);
    for (unsigned int id = 0; id < 2; id++) {
        uint64_t value = 0;
        CU_ASSERT_EQUAL(
            standin_read(managed.fixture.standin, id, fixture_base(id), 4, &value, 20000), 0);
        CU_ASSERT_EQUAL(value, 0x74726976);
    }
    CU_ASSERT_EQUAL(kill(manager, SIGCONT), 0);
    managed_wait_events(&managed, "ready", 1);
    CU_ASSERT_EQUAL(kill(keeper, SIGKILL), 0);
    managed_wait_events(&managed, "ready", 2);
    managed_stop(&managed, 2);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a pipe that nobody reads", a_pipe_that_nobody_reads},
        {"a journal that is stuck", a_journal_that_is_stuck},
        {"a terminal that is stopped", a_terminal_that_is_stopped},
        {"a service manager that is stopped", a_service_manager_that_is_stopped},
        {"... at the start", a_service_manager_that_is_stopped_at_the_start},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "who does not listen", tests);
}
