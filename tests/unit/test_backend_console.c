/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's terminals, and links to them: how they are opened, what a worker gets, and the
 * messages for what fails. Terminals are real ones. Calls fail when a test wants it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "broker/backend/raw_mode.h"
#include "tests/cunit_main.h"
#include "tests/unit/console_under_test.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

/* ---- Raw mode ---- */

/* What cfmakeraw makes of the same mode. */
static void raw_of(struct kernel_mode *mode)
{
    struct termios all = {.c_iflag = mode->iflag,
                          .c_oflag = mode->oflag,
                          .c_cflag = mode->cflag,
                          .c_lflag = mode->lflag};
    memcpy(all.c_cc, mode->cc, sizeof(mode->cc));
    cfmakeraw(&all);
    mode->iflag = all.c_iflag;
    mode->oflag = all.c_oflag;
    mode->cflag = all.c_cflag;
    mode->lflag = all.c_lflag;
    memcpy(mode->cc, all.c_cc, sizeof(mode->cc));
}

static void raw_mode_is_that_of_cfmakeraw(void)
{
    for (unsigned int bit = 0; bit <= 33; bit++) {
        tcflag_t flags = bit < 32 ? 1u << bit : bit == 32 ? 0 : ~0u;
        struct kernel_mode mode = {flags, flags, flags, flags, 1, {0}};
        memset(mode.cc, 77, sizeof(mode.cc));
        struct kernel_mode expected = mode;
        raw_of(&expected);
        stand_in = &mode;
        CU_ASSERT_EQUAL(raw_mode(-1), 0);
        stand_in = NULL;
        CU_ASSERT_EQUAL(memcmp(&mode, &expected, sizeof(mode)), 0);
    }
}

static void raw_mode_that_fails(void)
{
    struct kernel_mode mode = {0};
    stand_in = &mode;
    fail_once("TCGETS", ENOTTY, 0);
    CU_ASSERT_EQUAL(raw_mode(-1), -ENOTTY);
    fail_once("TCSETS", EIO, 0);
    CU_ASSERT_EQUAL(raw_mode(-1), -EIO);
    stand_in = NULL;
}

/* ---- Terminals ---- */

static int open_terminal(unsigned int port)
{
    char name[64];
    name_of(port, name, sizeof(name));
    int fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static void terminals_are_raw(void)
{
    static const char bytes[] = "\x00\x03\x04\x0a\x0d\x11\x13\x1a\x7f\xff";
    char read_bytes[64];
    struct stat status;
    begin(1);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_PTY_ALIAS);
    has_its_files();
    CU_ASSERT_EQUAL(master_flags, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_EQUAL(fcntl(master_of(0), F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK);
    CU_ASSERT_EQUAL(fcntl(master_of(0), F_GETFD), FD_CLOEXEC);
    /* It may not become the terminal that controls this process. */
    CU_ASSERT_EQUAL(peer_flags, O_RDWR | O_NOCTTY | O_CLOEXEC);

    int user = open_terminal(0);
    CU_ASSERT_EQUAL(fstat(user, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 07777, 0600); /* only root may open it */
    CU_ASSERT_EQUAL(write(master_of(0), bytes, sizeof(bytes)), sizeof(bytes));
    CU_ASSERT_EQUAL(read(user, read_bytes, sizeof(read_bytes)), sizeof(bytes));
    CU_ASSERT_EQUAL(memcmp(read_bytes, bytes, sizeof(bytes)), 0);
    CU_ASSERT_TRUE(read(master_of(0), read_bytes, 1) < 0 && errno == EAGAIN); /* no echo */
    CU_ASSERT_EQUAL(write(user, bytes, sizeof(bytes)), sizeof(bytes));
    CU_ASSERT_EQUAL(read(master_of(0), read_bytes, sizeof(read_bytes)), sizeof(bytes));
    CU_ASSERT_EQUAL(memcmp(read_bytes, bytes, sizeof(bytes)), 0);
    close(user);
    close_backend();
}

/* How many ports does nobody have open? Bits of them in *ret_ports. */
static int without_readers(uint32_t *ret_ports)
{
    struct epoll_event events[8];
    int count = epoll_wait(backend.console.readers, events, 8, 0);
    *ret_ports = 0;
    for (int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(events[i].events, EPOLLHUP);
        *ret_ports |= 1u << events[i].data.u32;
    }
    return count;
}

/* Also of terminals that came from another broker. */
static void who_reads_is_known(void)
{
    uint32_t ports;
    begin(3);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_EQUAL(without_readers(&ports), 3);
    for (int adopted = 0; adopted < 2; adopted++) {
        CU_ASSERT(without_readers(&ports) == 3 && ports == 7);
        int user = open_terminal(1);
        CU_ASSERT_EQUAL(write(user, "x", 1), 1); /* no reason to wake up */
        CU_ASSERT(without_readers(&ports) == 2 && ports == 5);
        close(user);
        close(backend.console.readers);
        CU_ASSERT_EQUAL(backend_console.begin(&backend), 0);
        CU_ASSERT_EQUAL(fcntl(backend.console.readers, F_GETFD), FD_CLOEXEC);
        CU_ASSERT_EQUAL(without_readers(&ports), 0);
        CU_ASSERT_EQUAL(backend_console.adopt(&backend), 0);
    }
    close_backend();
}

static void adopting_that_fails(void)
{
    begin(1);
    fail_once("epoll_create1", EMFILE, 0);
    CU_ASSERT_EQUAL(backend_console.begin(&backend), -EMFILE);
    CU_ASSERT_EQUAL(backend_console.begin(&backend), 0);
    backend.files[OPENED_PORT_FIRST] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    fail_once("epoll_ctl", ENOSPC, 0);
    CU_ASSERT_EQUAL(backend_console.adopt(&backend), -ENOSPC);
    config.log_path = (char *)"log"; /* nobody reads a log from here */
    CU_ASSERT_EQUAL(backend_console.adopt(&backend), 0);
    config.log_path = NULL;
    CU_ASSERT_EQUAL(backend_console.adopt(&backend), 0); /* so it was not watched yet */
    CU_ASSERT_EQUAL(backend_console.adopt(&backend), -EEXIST);
    close_backend();
}

/* VirtIO 1.2 §5.3.2: with several ports, there are control queues, too. */
static void ports_and_their_files(void)
{
    for (uint32_t ports = 1; ports <= STATE_CONSOLE_PORTS; ports++) {
        struct message_start start;
        struct backend_fds given;
        memset(&start, 0xff, sizeof(start));
        memset(&given, 0xff, sizeof(given));
        begin(ports);
        CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
        has_its_files();
        CU_ASSERT_EQUAL(backend_console.boxed(&config), 0);
        CU_ASSERT_EQUAL(backend_console.queues(&config), ports == 1 ? 2 : 4 + 2 * (ports - 1));
        CU_ASSERT_EQUAL(backend_console.give(&backend, &start, &given), 0);
        CU_ASSERT_EQUAL(start.of_kind.console.ports, ports);
        CU_ASSERT(start.of_kind.console.files == 0 && start.of_kind.console.log_size == 0);
        CU_ASSERT_EQUAL(given.count, 1 + STATE_CONSOLE_PORTS);
        CU_ASSERT_FALSE(given.owned); /* the next worker gets them as well */
        CU_ASSERT_EQUAL(given.boxed, 0);
        CU_ASSERT_EQUAL(given.fds[0], backend.console.readers);
        for (uint32_t i = 0; i < STATE_CONSOLE_PORTS; i++)
            CU_ASSERT_EQUAL(given.fds[1 + i], i < ports ? master_of(i) : backend.console.readers);
        close_backend();
    }
}

static void terminals_that_fail(void)
{
    static const struct {
        const char *call;
        const char *words;
    } cases[] = {
        {"epoll_create1", "can't watch terminals: Too many open files"},
        {"posix_openpt", "can't make a terminal: /dev/ptmx: Too many open files"},
        {"unlockpt", "can't prepare a terminal: Too many open files"},
        {"ptsname_r", "can't prepare a terminal: Too many open files"},
        {"TIOCGPTPEER", "can't prepare a terminal: Too many open files"},
        {"TCGETS", "can't prepare a terminal: Too many open files"},
        {"TCSETS", "can't prepare a terminal: Too many open files"},
        {"fchmod", "can't prepare a terminal: Too many open files"},
        {"epoll_ctl", "can't watch a terminal: Too many open files"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned int port = 0; port < (i == 0 ? 1 : 2); port++) {
            begin(2);
            fail_once(cases[i].call, EMFILE, port);
            refused(EMFILE, CONFIG_KEY_PTY_ALIAS, cases[i].words);
        }
    }
}

/* A number of a file is no failure unless it is negative. */
static void a_file_may_have_the_number_0(void)
{
    static const char *const calls[] = {"epoll_create1", "posix_openpt", "TIOCGPTPEER"};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        begin(1);
        gives_0 = calls[i];
        CU_ASSERT_EQUAL(open_backend(), 0);
        CU_ASSERT_EQUAL(backend.console.readers == 0, i == 0);
        CU_ASSERT_EQUAL(master_of(0) == 0, i == 1);
        close_backend();
        take_0_back();
    }
    begin(1);
    gives_0 = "epoll_create1";
    CU_ASSERT_EQUAL(backend_console.begin(&backend), 0);
    CU_ASSERT_EQUAL(backend.console.readers, 0);
    close_backend();
    take_0_back();
}

/* ---- Links to terminals ---- */

static void leads_to(const char *link, unsigned int port)
{
    char target[64] = "", name[64];
    name_of(port, name, sizeof(name));
    CU_ASSERT_TRUE(readlink(link, target, sizeof(target) - 1) > 0);
    CU_ASSERT_STRING_EQUAL(target, name);
}

static void links(void)
{
    char first[64], other[64], words[160], second[PATH_MAX + 4];
    struct stat status;
    char here[PATH_MAX], afterwards[PATH_MAX];
    CU_ASSERT_PTR_NOT_NULL(getcwd(here, sizeof(here)));
    snprintf(second, sizeof(second), "%s.1", path);
    begin(2);
    config.pty_alias = path;
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    leads_to(path, 0);
    leads_to(second, 1);
    name_of(0, first, sizeof(first));
    name_of(1, other, sizeof(other));
    snprintf(words, sizeof(words), "%s, %s", first, other);
    CU_ASSERT_STRING_EQUAL(backend.words, words);
    CU_ASSERT_EQUAL(stat(folder, &status), 0);
    CU_ASSERT(backend.directory_id.device == status.st_dev &&
              backend.directory_id.inode == status.st_ino);
    CU_ASSERT_PTR_NOT_NULL(getcwd(afterwards, sizeof(afterwards)));
    CU_ASSERT_STRING_EQUAL(afterwards, here);
    close_backend();

    begin(1); /* what an earlier run left is replaced */
    config.pty_alias = path;
    int taken = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC); /* of the number that is free */
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    leads_to(path, 0);
    close_backend();
    CU_ASSERT_EQUAL(fd_count(), before);
    close(taken);
    unlink(path);
    unlink(second);
}

static void is_in_the_way(void)
{
    char words[PATH_MAX + 200];
    snprintf(words, sizeof(words),
             "\"%s\" is there already, and is no link to a terminal (/dev/pts/N) that an earlier "
             "run left: move it away, or choose another name",
             path);
    begin(1);
    config.pty_alias = path;
    refused(EEXIST, CONFIG_KEY_PTY_ALIAS, words);
}

static void what_is_no_link_to_a_terminal_stays(void)
{
    static const char *const targets[] = {"/dev/null", "/dev/ptsx7", "/dev/pts", "x"};
    struct stat status;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        CU_ASSERT_EQUAL(symlink(targets[i], path), 0);
        is_in_the_way();
        CU_ASSERT_EQUAL(unlink(path), 0);
    }
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    is_in_the_way();
    CU_ASSERT(stat(path, &status) == 0 && S_ISREG(status.st_mode));
    unlink(path);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    is_in_the_way();
    CU_ASSERT_EQUAL(rmdir(path), 0);
}

static void links_that_fail(void)
{
    char words[PATH_MAX + 100], wrong[PATH_MAX];
    begin(1);
    config.pty_alias = path;
    fail_once("symlinkat", EROFS, 0);
    snprintf(words, sizeof(words), "can't make the link \"%s\": Read-only file system", path);
    refused(EROFS, CONFIG_KEY_PTY_ALIAS, words);
    CU_ASSERT_EQUAL(symlink("/dev/pts/7", path), 0);
    begin(1);
    config.pty_alias = path;
    fail_once("unlinkat", EROFS, 0);
    refused(EROFS, CONFIG_KEY_PTY_ALIAS, words);
    unlink(path);
    begin(1);
    config.pty_alias = path;
    fail_once("fchdir", EACCES, 0);
    snprintf(words, sizeof(words), "pty_alias \"%s\": Permission denied", path);
    refused(EACCES, CONFIG_KEY_PTY_ALIAS, words);
    begin(1);
    snprintf(wrong, sizeof(wrong), "%s/none/link", folder);
    config.pty_alias = wrong;
    snprintf(words, sizeof(words), "pty_alias \"%s\": No such file or directory", wrong);
    refused(ENOENT, CONFIG_KEY_PTY_ALIAS, words);
}

/* ---- The size of the window ---- */

static void looks(bool new, uint32_t size)
{
    struct state_backend state = {.size = 99};
    CU_ASSERT_EQUAL(backend_console.look(&backend, &state), new);
    CU_ASSERT_EQUAL(state.size, size);
}

static void the_size_of_the_window(void)
{
    struct winsize size = {.ws_row = 25, .ws_col = 80};
    begin(1);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    looks(true, 0); /* not known is news as well */
    looks(false, 0);
    CU_ASSERT_EQUAL(ioctl(master_of(0), TIOCSWINSZ, &size), 0);
    looks(true, 80 << 16 | 25);
    looks(false, 80 << 16 | 25);
    fail_once("TIOCGWINSZ", EIO, 0);
    looks(false, 99);
    size.ws_row = 50;
    CU_ASSERT_EQUAL(ioctl(master_of(0), TIOCSWINSZ, &size), 0);
    looks(true, 80 << 16 | 50);
    config.log_path = (char *)"log"; /* a log has no window */
    looks(false, 99);
    close_backend();
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"raw mode is that of cfmakeraw", raw_mode_is_that_of_cfmakeraw},
        {"raw mode that fails", raw_mode_that_fails},
        {"terminals are raw, and root's", terminals_are_raw},
        {"who reads is known", who_reads_is_known},
        {"adopting that fails", adopting_that_fails},
        {"ports and their files", ports_and_their_files},
        {"terminals that fail", terminals_that_fail},
        {"a file may have the number 0", a_file_may_have_the_number_0},
        {"links", links},
        {"what is no link to a terminal stays", what_is_no_link_to_a_terminal_stays},
        {"links that fail", links_that_fail},
        {"the size of the window", the_size_of_the_window},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "terminals of a console",
         .pInitFunc = make_folder,
         .pCleanupFunc = remove_folder,
         .pTests = tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
