/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's terminals, links to them, and its log: what is opened and how, what a worker gets,
 * and the messages for what fails. Terminals are real ones. Calls fail when a test wants it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/raw_mode.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/open_fds.h"

static char folder[] = "/tmp/test_backend_console.XXXXXX";
static char path[PATH_MAX];

static struct backend backend;
static struct failure failure;
static struct device_config config;
static enum config_key key;

/* ---- In front of the C library ---- */

/* The kernel's structure for TCGETS and TCSETS. */
struct kernel_mode {
    tcflag_t iflag, oflag, cflag, lflag;
    cc_t line, cc[19];
};

static struct kernel_mode *stand_in; /* of a terminal in any mode; NULL: terminals are real */
static int peer_flags, master_flags, log_flags[CONSOLE_LOG_FILES];
static unsigned int logs_opened;
static int last_log = -1;
static void (*before_log)(unsigned int number);

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    const char *name = request == TIOCGPTPEER  ? "TIOCGPTPEER"
                       : request == TCGETS     ? "TCGETS"
                       : request == TCSETS     ? "TCSETS"
                       : request == TIOCGWINSZ ? "TIOCGWINSZ"
                                               : "ioctl";
    if (call_fails(name))
        return -1;
    if (request == TIOCGPTPEER)
        peer_flags = (int)(intptr_t)argument;
    if (!stand_in || (request != TCGETS && request != TCSETS))
        return __real_ioctl(fd, request, argument);
    if (request == TCGETS)
        memcpy(argument, stand_in, sizeof(*stand_in));
    else
        memcpy(stand_in, argument, sizeof(*stand_in));
    return 0;
}

int __real_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...)
{
    va_list arguments;
    if ((flags & O_CREAT) == 0)
        return __real_openat(directory, name, flags);
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (call_fails("openat"))
        return -1;
    if (before_log)
        before_log(logs_opened);
    if (logs_opened < CONSOLE_LOG_FILES)
        log_flags[logs_opened++] = flags;
    last_log = __real_openat(directory, name, flags, mode);
    return last_log;
}

int __real_posix_openpt(int flags);
int __wrap_posix_openpt(int flags);
int __wrap_posix_openpt(int flags)
{
    master_flags = flags;
    return call_fails("posix_openpt") ? -1 : __real_posix_openpt(flags);
}

int __real_ptsname_r(int fd, char *name, size_t size);
int __wrap_ptsname_r(int fd, char *name, size_t size);
int __wrap_ptsname_r(int fd, char *name, size_t size)
{
    return call_fails("ptsname_r") ? errno : __real_ptsname_r(fd, name, size);
}

/* Only of a log. */
int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status)
{
    return fd == last_log && call_fails("fstat") ? -1 : __real_fstat(fd, status);
}

WRAPPED(int, epoll_create1, (int flags), (flags))
WRAPPED(int, epoll_ctl, (int epoll, int what, int fd, struct epoll_event *event),
        (epoll, what, fd, event))
WRAPPED(int, unlockpt, (int fd), (fd))
WRAPPED(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAPPED(int, fchdir, (int fd), (fd))
WRAPPED(int, unlinkat, (int directory, const char *name, int flags), (directory, name, flags))
WRAPPED(int, symlinkat, (const char *target, int directory, const char *name),
        (target, directory, name))

/* ---- A console ---- */

static void begin(uint32_t ports)
{
    config = (struct device_config){.kind = DEVICE_CONSOLE_VIRTIO, .ports = ports};
    backend_init(&backend, &config);
    backend.console.readers = -1;
    logs_opened = 0;
    last_log = -1;
}

static int open_backend(void)
{
    failure.text[0] = '\0';
    key = CONFIG_KEY_ID;
    int result = backend_console.open(&backend, &key, &failure);
    CU_ASSERT_EQUAL(result < 0, failure.text[0] != '\0');
    CU_ASSERT_PTR_NULL(failing.call); /* it has come to the call that fails */
    return result;
}

static void close_backend(void)
{
    for (size_t file = 0; file < OPENED_FILES; file++) {
        if (backend.files[file] >= 0)
            close(backend.files[file]);
        backend.files[file] = -1;
    }
    if (backend.console.readers >= 0)
        close(backend.console.readers);
    backend.console.readers = -1;
}

/* The files that it has are those that a device of this configuration has. */
static void has_its_files(void)
{
    uint32_t files = 0;
    for (size_t file = 0; file < OPENED_FILES; file++)
        files |= backend.files[file] >= 0 ? 1u << file : 0;
    CU_ASSERT_EQUAL(files, backend_console.files(&config));
}

static int master_of(unsigned int port)
{
    return backend.files[OPENED_PORT_FIRST + port];
}

/* It fails with exactly these words; nothing stays open but what the backend has. */
static void refused(int error, enum config_key expected_key, const char *words)
{
    unsigned int before = open_fds();
    CU_ASSERT_EQUAL(open_backend(), -error);
    CU_ASSERT_EQUAL(key, expected_key);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    close_backend();
    CU_ASSERT_EQUAL(open_fds(), before);
}

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
    CU_ASSERT_EQUAL(__real_ptsname_r(master_of(port), name, sizeof(name)), 0);
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
        CU_ASSERT_EQUAL(start.console.ports, ports);
        CU_ASSERT(start.console.files == 0 && start.console.log_size == 0);
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
    CU_ASSERT_EQUAL(__real_ptsname_r(master_of(port), name, sizeof(name)), 0);
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
    __real_ptsname_r(master_of(0), first, sizeof(first));
    __real_ptsname_r(master_of(1), other, sizeof(other));
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
    unsigned int before = open_fds();
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    leads_to(path, 0);
    close_backend();
    CU_ASSERT_EQUAL(open_fds(), before);
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

/* ---- A log ---- */

static char old_path[PATH_MAX + 4];

static void begin_log(const char *log)
{
    begin(1);
    config.log_path = (char *)log;
    config.log_size = 123456;
    snprintf(old_path, sizeof(old_path), "%s.1", log);
}

static void is_file(int fd, const char *name, int flags)
{
    struct stat opened, named;
    CU_ASSERT(fstat(fd, &opened) == 0 && stat(name, &named) == 0);
    CU_ASSERT(opened.st_ino == named.st_ino && opened.st_dev == named.st_dev);
    CU_ASSERT_EQUAL(opened.st_mode, S_IFREG | 0600);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), flags);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

/* The log, the file for the contents of a full log, and the log to copy from. */
static void the_files_of_a_log(void)
{
    const int always = O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW;
    struct message_start start;
    struct backend_fds given;
    struct stat status;
    mode_t before = umask(0);
    begin_log(path);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_LOG_PATH);
    umask(before);
    has_its_files();
    CU_ASSERT_EQUAL(backend_console.boxed(&config), backend_console.files(&config));
    is_file(master_of(0), path, O_WRONLY | O_APPEND);
    is_file(master_of(1), old_path, O_WRONLY | O_APPEND);
    is_file(master_of(2), path, O_RDONLY);
    for (unsigned int i = 0; i < CONSOLE_LOG_FILES; i++)
        CU_ASSERT_EQUAL(log_flags[i] & always, always);
    CU_ASSERT(fstat(master_of(0), &status) == 0 && backend.file_id.inode == status.st_ino &&
              backend.file_id.device == status.st_dev);
    CU_ASSERT(stat(folder, &status) == 0 && backend.directory_id.inode == status.st_ino &&
              backend.directory_id.device == status.st_dev);

    memset(&start, 0xff, sizeof(start));
    memset(&given, 0xff, sizeof(given));
    CU_ASSERT_EQUAL(backend_console.queues(&config), 2);
    CU_ASSERT_EQUAL(backend_console.give(&backend, &start, &given), 0);
    CU_ASSERT(start.console.ports == 1 && start.console.files == 1);
    CU_ASSERT_EQUAL(start.console.log_size, 123456);
    CU_ASSERT_EQUAL(given.count, 1 + STATE_CONSOLE_PORTS);
    CU_ASSERT_EQUAL(given.boxed, 1u << 1 | 1u << 2 | 1u << 3);
    CU_ASSERT_EQUAL(given.fds[0], backend.console.readers);
    for (unsigned int i = 0; i < STATE_CONSOLE_PORTS; i++)
        CU_ASSERT_EQUAL(given.fds[1 + i], i < 3 ? master_of(i) : backend.console.readers);
    close_backend();
    unlink(path);
    unlink(old_path);
}

static void cannot_log(int error, const char *name, const char *reason)
{
    char words[2 * PATH_MAX];
    snprintf(words, sizeof(words), "log file \"%s\"%s", name, reason);
    words[sizeof(failure.text) - 1] = '\0'; /* a line has an end */
    refused(error, CONFIG_KEY_LOG_PATH, words);
}

#define OTHER_NAMES                                                                                \
    " has other names as well (hard links), in a directory that others than root may write to: "   \
    "copy it, or move it to a directory that only root may write to"

static void what_is_no_log(void)
{
    char other[PATH_MAX + 8];
    begin_log(path);
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    cannot_log(EISDIR, path, ": Is a directory");
    rmdir(path);
    begin_log(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    cannot_log(ENXIO, path, ": No such device or address"); /* and does not hang */
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    begin_log(path);
    cannot_log(EINVAL, path, " is no regular file: choose another name");
    close(reader);
    unlink(path);
    snprintf(other, sizeof(other), "%s.other", path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CU_ASSERT_EQUAL(link(path, other), 0);
    begin_log(path);
    cannot_log(EINVAL, path, OTHER_NAMES);
    unlink(path);
    CU_ASSERT_EQUAL(link(other, old_path), 0); /* the second file is looked at as well */
    begin_log(path);
    cannot_log(EINVAL, old_path, OTHER_NAMES);
    unlink(path);
    unlink(old_path);
    unlink(other);
    begin_log("/tmp/there-is-none/log");
    cannot_log(ENOENT, "/tmp/there-is-none/log", ": No such file or directory");
}

static void logs_that_fail(void)
{
    begin_log(path);
    fail_once("openat", EROFS, 0);
    cannot_log(EROFS, path, ": Read-only file system");
    begin_log(path);
    fail_once("openat", EROFS, 1);
    cannot_log(EROFS, old_path, ": Read-only file system");
    begin_log(path);
    fail_once("openat", EROFS, 2);
    cannot_log(EROFS, path, ": Read-only file system");
    begin_log(path);
    fail_once("fstat", EIO, 0);
    cannot_log(EINVAL, path, " Input/output error");
    begin_log(path);
    fail_once("epoll_create1", EMFILE, 0);
    refused(EMFILE, CONFIG_KEY_PTY_ALIAS, "can't watch terminals: Too many open files");
    unlink(path);
    unlink(old_path);
}

static void replace_log(unsigned int number)
{
    if (number != 2)
        return;
    CU_ASSERT_EQUAL(rename(path, old_path), 0);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* Then what is copied would not be what was written. */
static void a_log_that_is_replaced_meanwhile(void)
{
    begin_log(path);
    before_log = replace_log;
    cannot_log(EAGAIN, path, " was replaced meanwhile");
    before_log = NULL;
    unlink(path);
    unlink(old_path);
}

/* The name of the file that takes the contents of a full log is two bytes longer. */
static void names_that_are_too_long(void)
{
    char name[PATH_MAX];
    int used = snprintf(name, sizeof(name), "%s/", folder);
    memset(name + used, 'x', NAME_MAX);
    name[used + NAME_MAX - 1] = '\0';
    begin_log(name);
    cannot_log(ENAMETOOLONG, old_path, ": File name too long");
    name[used + NAME_MAX - 2] = '\0';
    begin_log(name);
    CU_ASSERT_EQUAL(open_backend(), 0);
    close_backend();
    unlink(name);
    unlink(old_path);
}

/* Then other devices are compared with the name in the configuration. */
static void a_log_by_a_link(void)
{
    begin_log("/proc/self/fd/there-is-none");
    CU_ASSERT_EQUAL(open_backend(), -ENOENT);
    close_backend();
    begin_log(path);
    CU_ASSERT_EQUAL(symlink("log", path), 0); /* /tmp belongs to everybody */
    CU_ASSERT_EQUAL(open_backend(), -ELOOP);
    close_backend();
    unlink(path);
}

static void a_log_file_may_have_the_number_0(void)
{
    begin_log(path);
    gives_0 = "openat";
    CU_ASSERT_EQUAL(open_backend(), 0);
    CU_ASSERT_EQUAL(master_of(0), 0);
    close_backend();
    take_0_back();
    unlink(path);
    unlink(old_path);
}

static int make_folder(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/name", folder);
    return 0;
}

static int remove_folder(void)
{
    return rmdir(folder);
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
        {"the files of a log", the_files_of_a_log},
        {"what is no log", what_is_no_log},
        {"logs that fail", logs_that_fail},
        {"a log that is replaced meanwhile", a_log_that_is_replaced_meanwhile},
        {"names that are too long", names_that_are_too_long},
        {"a log by a link", a_log_by_a_link},
        {"a log file may have the number 0", a_log_file_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "a console",
         .pInitFunc = make_folder,
         .pCleanupFunc = remove_folder,
         .pTests = tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
