/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a line of keeper and broker looks like, byte for byte, on stderr and in the journal, and
 * what becomes of it if it is not taken. The journal is a socket of this test.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <wchar.h>

#include "broker/log.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"

/* ---- The kernel's answers ---- */

/* Errors of the next writes and sends, up to a 0; a negative number: so many bytes are taken. */
static int script[8];
static unsigned int calls, step;
static int sent_to; /* the socket of the last send */

static bool fails(size_t *size)
{
    calls++;
    if (step == sizeof(script) / sizeof(script[0]) || script[step] == 0)
        return false;
    int next = script[step++];
    if (next < 0) {
        *size = (size_t)-next;
        return false;
    }
    errno = next;
    return true;
}

static void next_writes(int first, int second)
{
    memset(script, 0, sizeof(script));
    script[0] = first;
    script[1] = second;
    calls = step = 0;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_getpeername(int fd, struct sockaddr *ret, socklen_t *size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_open(const char *path, int flags, ...);
int __wrap___open_2(const char *path, int flags);
int __wrap_dup2(int from, int to);

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    CU_ASSERT_EQUAL(fd, STDERR_FILENO);
    return fails(&size) ? -1 : __real_write(fd, bytes, size);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t size = SIZE_MAX;
    CU_ASSERT_EQUAL(flags, MSG_DONTWAIT | MSG_NOSIGNAL);
    CU_ASSERT_EQUAL_FATAL(message->msg_iovlen, 1);
    sent_to = fd;
    return fails(&size) ? -1 : __real_sendmsg(fd, message, flags);
}

static struct sockaddr_un peer; /* of stderr */
static socklen_t peer_size;
static int peer_error;

int __wrap_getpeername(int fd, struct sockaddr *ret, socklen_t *size)
{
    CU_ASSERT_EQUAL(fd, STDERR_FILENO);
    CU_ASSERT_EQUAL(*size, sizeof(peer));
    memcpy(ret, &peer, sizeof(peer));
    *size = peer_size;
    errno = peer_error;
    return peer_error ? -1 : 0;
}

static int journal[2]; /* a socket that is connected to the journal, and the journal's end */
static int connect_error;
static unsigned int connects;

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    const struct sockaddr_un *to = (const struct sockaddr_un *)(const void *)address;
    int type = 0;
    socklen_t length = sizeof(type);
    connects++;
    CU_ASSERT_EQUAL(size, sizeof(*to));
    CU_ASSERT_EQUAL(to->sun_family, AF_UNIX);
    CU_ASSERT_STRING_EQUAL(to->sun_path, "/run/systemd/journal/socket");
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length), 0);
    CU_ASSERT_EQUAL(type, SOCK_DGRAM);
    errno = connect_error;
    return connect_error ? -1 : (int)(syscall(SYS_dup3, journal[0], fd, O_CLOEXEC) != fd);
}

static unsigned int opens, opens_that_fail;

int __wrap___open_2(const char *path, int flags)
{
    CU_ASSERT_STRING_EQUAL(path, "/proc/self/fd/2");
    CU_ASSERT_EQUAL(flags & ~O_LARGEFILE,
                    (opens == 0 ? O_WRONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    errno = ENXIO;
    return opens++ < opens_that_fail ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

int __wrap_open(const char *path, int flags, ...)
{
    return __wrap___open_2(path, flags);
}

static int dup2_error;

int __wrap_dup2(int from, int to)
{
    errno = dup2_error;
    return dup2_error ? -1 : (int)syscall(SYS_dup3, from, to, 0);
}

/* ---- This test's stderr ---- */

static int own_stderr, reader;
static char text[4096];

/* Until give_back, stderr is `fd`, which is closed here. */
static void use(int fd, int read_from)
{
    own_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    CU_ASSERT_EQUAL_FATAL(syscall(SYS_dup3, fd, STDERR_FILENO, 0), STDERR_FILENO);
    close(fd);
    reader = read_from;
    opens = connects = 0;
    opens_that_fail = 0;
    connect_error = peer_error = dup2_error = 0;
    next_writes(0, 0);
}

static void use_pipe(int flags)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC | flags), 0);
    use(ends[1], ends[0]);
}

static void use_socket(const char *of)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    use(ends[1], ends[0]);
    peer = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(peer.sun_path, sizeof(peer.sun_path), "%s", of);
    peer_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(of) + 1);
}

static void use_journal(void)
{
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, journal), 0);
    use_socket("/run/systemd/journal/stdout");
}

static void give_back(void)
{
    CU_ASSERT_TRUE(log_tell_lost()); /* the next test starts with no count ... */
    int file = (int)syscall(SYS_memfd_create, "log", 0);
    CU_ASSERT_EQUAL(syscall(SYS_dup3, file, STDERR_FILENO, 0), STDERR_FILENO);
    CU_ASSERT_EQUAL(log_prepare(), 0); /* ... and with no journal */
    CU_ASSERT_EQUAL(syscall(SYS_dup3, own_stderr, STDERR_FILENO, 0), STDERR_FILENO);
    close(file);
    close(own_stderr);
    close(reader);
}

static void journal_away(void)
{
    give_back();
    close(journal[0]);
    close(journal[1]);
}

/* What has come there since the last time. */
static const char *come(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    ssize_t length = read(fd, text, sizeof(text) - 1);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

/* ---- Lines ---- */

static void a_line_names_program_and_device(void)
{
    use_pipe(0);
    log_line(NULL, "it has %d", 7);
    log_line("block 3", "it has %s", "ended");
    CU_ASSERT_STRING_EQUAL(come(reader),
                           "bao-virtio-dm: it has 7\nbao-virtio-dm: block 3: it has ended\n");
    log_text("one\n\ntwo");
    CU_ASSERT_STRING_EQUAL(come(reader), "one\n\ntwo");
    give_back();
}

static void control_characters_are_replaced(void)
{
    use_pipe(0);
    log_line(NULL, "\x01\n\x1f\x20\x7e\x7f\x80%s", "\t\xff");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: ???\x20\x7e?\x80?\xff\n");
    give_back();
}

static void a_line_has_at_most_512_bytes(void)
{
    char words[600], expected[520];
    use_pipe(0);
    for (size_t length = 495; length <= 599; length += length == 497 ? 102 : 1) {
        memset(words, 'x', length);
        words[length] = '\0';
        memset(expected, 'x', sizeof(expected));
        memcpy(expected, "bao-virtio-dm: ", 15);
        strcpy(expected + (length < 496 ? 15 + length : 511), "\n");
        log_line(NULL, "%s", words);
        CU_ASSERT_STRING_EQUAL(come(reader), expected);
        /* The name of a device takes as much of it. */
        log_line(words, "%s", "more");
        CU_ASSERT_EQUAL(strlen(come(reader)), 512);
    }
    /* What can't be printed leaves nothing. */
    log_line(NULL, "%lc", (wint_t)0x7fffffff);
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: \n");
    give_back();
}

static void only_lines_up_to_the_level_are_said(void)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    static const struct log_source source = {.device = "rng 1"};
    const enum log_level before = log_level();
    use_pipe(0);
    for (unsigned int level = 0; level < LOG_LEVELS; level++) {
        log_set_level((enum log_level)level);
        CU_ASSERT_EQUAL(log_level(), level);
        CU_ASSERT_STRING_EQUAL(log_level_name(level), names[level]);
        for (unsigned int of = 0; of < LOG_LEVELS; of++) {
            CU_ASSERT_EQUAL(log_says((enum log_level)of), of <= level);
            log_at((enum log_level)of, NULL, "x");
            log_from((enum log_level)of, &source, "y");
            CU_ASSERT_STRING_EQUAL(
                come(reader), of <= level ? "bao-virtio-dm: x\nbao-virtio-dm: rng 1: y\n" : "");
        }
    }
    CU_ASSERT_PTR_NULL(log_level_name(LOG_LEVELS));
    log_set_level(before);
    give_back();
}

/* ---- What is not taken ---- */

static void a_write_is_tried_again_after_a_signal(void)
{
    use_pipe(0);
    next_writes(EINTR, EINTR);
    log_line(NULL, "x");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: x\n");
    CU_ASSERT_EQUAL(calls, 3);
    give_back();
    use_socket("/elsewhere");
    CU_ASSERT_EQUAL(log_prepare(), 0);
    next_writes(EINTR, EINTR);
    log_line(NULL, "x");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: x\n");
    CU_ASSERT_EQUAL(calls, 3);
    CU_ASSERT_EQUAL(sent_to, STDERR_FILENO);
    give_back();
}

static void lines_without_room_are_counted(void)
{
    static const int full[] = {EAGAIN, ENOSPC, EDQUOT, ENOBUFS};
    use_pipe(0);
    for (size_t i = 0; i < sizeof(full) / sizeof(full[0]); i++) {
        next_writes(full[i], 0);
        log_line(NULL, "x");
        CU_ASSERT_STRING_EQUAL(come(reader), "");
        CU_ASSERT_TRUE(log_tell_lost());
        CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: 1 line was lost here\n");
        CU_ASSERT_TRUE(log_tell_lost());
        CU_ASSERT_STRING_EQUAL(come(reader), "");
    }
    /* As long as there is no room, neither is the count told, and it is told before the next. */
    next_writes(EAGAIN, EAGAIN);
    log_line(NULL, "x");
    log_line(NULL, "y");
    CU_ASSERT_EQUAL(calls, 2);
    next_writes(EAGAIN, 0);
    CU_ASSERT_FALSE(log_tell_lost());
    log_line(NULL, "z");
    CU_ASSERT_STRING_EQUAL(come(reader),
                           "bao-virtio-dm: 2 lines were lost here\nbao-virtio-dm: z\n");
    give_back();
}

static void without_a_reader_nothing_is_lost(void)
{
    use_pipe(0);
    next_writes(EPIPE, 0);
    log_line(NULL, "x");
    log_line(NULL, "y");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: y\n");
    give_back();
}

static void half_a_line_is_ended(void)
{
    use_pipe(0);
    next_writes(-17, 0);
    log_line(NULL, "abc");
    next_writes(EAGAIN, 0); /* the end of that line */
    log_line(NULL, "def");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: ab");
    log_line(NULL, "ghi");
    CU_ASSERT_STRING_EQUAL(come(reader),
                           "\nbao-virtio-dm: 2 lines were lost here\nbao-virtio-dm: ghi\n");
    log_line(NULL, "jkl");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: jkl\n");
    give_back();
}

/* ---- stderr is prepared ---- */

static void only_what_can_wait_is_opened_again(void)
{
    const unsigned int before = fd_count();
    use_pipe(0);
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(opens, 1);
    CU_ASSERT_EQUAL(fcntl(STDERR_FILENO, F_GETFL) & (O_ACCMODE | O_NONBLOCK),
                    O_WRONLY | O_NONBLOCK);
    CU_ASSERT_EQUAL(fd_count(), before + 2); /* the reader and our own */
    CU_ASSERT_EQUAL(log_prepare(), 0);       /* it does not wait already */
    CU_ASSERT_EQUAL(opens, 1);
    give_back();
    use((int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC, 0), -1);
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(opens, 1);
    give_back();
    use((int)syscall(SYS_memfd_create, "log", 0), -1);
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(opens, 0); /* a file */
    give_back();
    use_socket("/elsewhere");
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(opens, 0); /* a socket is told each time not to wait */
    CU_ASSERT_EQUAL(connects, 0);
    give_back();
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void a_pipe_without_a_reader_is_opened_for_both(void)
{
    use_pipe(0);
    opens_that_fail = 1;
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(opens, 2);
    give_back();
}

static void what_can_t_be_prepared_is_told(void)
{
    const unsigned int before = fd_count();
    use_pipe(0);
    opens_that_fail = 9;
    CU_ASSERT_EQUAL(log_prepare(), -ENXIO);
    CU_ASSERT_EQUAL(opens, 2);
    opens = opens_that_fail = 0;
    dup2_error = EBUSY;
    CU_ASSERT_EQUAL(log_prepare(), -EBUSY);
    CU_ASSERT_EQUAL(fd_count(), before + 2);
    close(STDERR_FILENO);
    CU_ASSERT_EQUAL(log_prepare(), -EBADF);
    CU_ASSERT_EQUAL(syscall(SYS_dup3, own_stderr, STDERR_FILENO, 0), STDERR_FILENO);
    give_back();
}

/* ---- The journal ---- */

#define HEAD(priority) "SYSLOG_IDENTIFIER=bao-virtio-dm\nPRIORITY=" priority "\n"

static void an_entry_has_all_fields(void)
{
    static const char *const heads[] = {HEAD("3"), HEAD("4"), HEAD("6"), HEAD("7")};
    const struct log_source full = {.device = "net 2", .worker = 1, .code = "DESC_INVALID"};
    const struct log_source none = {0};
    const enum log_level before = log_level();
    char expected[256];
    use_journal();
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(connects, 1);
    log_set_level(LOG_LEVEL_DEBUG);
    for (unsigned int level = 0; level < LOG_LEVELS; level++) {
        log_from((enum log_level)level, &full, "it ended with %d", 5);
        snprintf(expected, sizeof(expected),
                 "%sBAO_DEVICE=net 2\nBAO_WORKER_PID=1\nBAO_CODE=DESC_INVALID\nMESSAGE=net 2: it "
                 "ended with 5\n",
                 heads[level]);
        CU_ASSERT_STRING_EQUAL(come(journal[1]), expected);
        log_from((enum log_level)level, &none, "y");
        snprintf(expected, sizeof(expected), "%sMESSAGE=y\n", heads[level]);
        CU_ASSERT_STRING_EQUAL(come(journal[1]), expected);
    }
    log_set_level(before);
    log_text("one\ntwo");
    CU_ASSERT_STRING_EQUAL(come(journal[1]), HEAD("3") "MESSAGE=one\n");
    CU_ASSERT_STRING_EQUAL(come(journal[1]), HEAD("3") "MESSAGE=two\n");
    CU_ASSERT_STRING_EQUAL(come(reader), ""); /* nothing is said twice */
    CU_ASSERT_TRUE(log_tell_lost());
    CU_ASSERT_STRING_EQUAL(come(reader), "");
    journal_away();
}

static void entries_without_room_are_counted(void)
{
    static const int full[] = {EAGAIN, ENOBUFS};
    use_journal();
    CU_ASSERT_EQUAL(log_prepare(), 0);
    for (size_t i = 0; i < sizeof(full) / sizeof(full[0]); i++) {
        next_writes(full[i], 0);
        log_line(NULL, "x");
        CU_ASSERT_STRING_EQUAL(come(reader), "");
        log_line(NULL, "y");
        CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: 1 line was lost here\n");
        CU_ASSERT_STRING_EQUAL(come(journal[1]), HEAD("3") "MESSAGE=y\n");
    }
    journal_away();
}

static void what_the_journal_refuses_goes_to_stderr(void)
{
    use_journal();
    CU_ASSERT_EQUAL(log_prepare(), 0);
    next_writes(ECONNREFUSED, 0);
    log_line(NULL, "x");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: x\n");
    next_writes(ECONNREFUSED, EAGAIN);
    log_line(NULL, "y");
    log_line(NULL, "z");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: 1 line was lost here\n");
    CU_ASSERT_STRING_EQUAL(come(journal[1]), HEAD("3") "MESSAGE=z\n");
    journal_away();
}

static void the_journal_is_known_by_its_name(void)
{
    static const struct {
        const char *path;
        sa_family_t family;
        int error;
        bool whole; /* the name fills the address, and has no end */
    } others[] = {
        {"/run/systemd/journal/stdout2", AF_UNIX, 0, false},
        {"", AF_UNIX, 0, false},
        {"/run/systemd/journal/stdout", AF_INET, 0, false},
        {"/run/systemd/journal/stdout", AF_UNIX, ENOTCONN, false},
        {"/run/systemd/journal/stdout", AF_UNIX, 0, true},
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        use_socket(others[i].path);
        peer.sun_family = others[i].family;
        peer_error = others[i].error;
        peer_size = others[i].whole ? sizeof(peer) : peer_size;
        CU_ASSERT_EQUAL(log_prepare(), 0);
        CU_ASSERT_EQUAL(connects, 0);
        log_line(NULL, "x");
        CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: x\n");
        CU_ASSERT_EQUAL(calls, 1); /* no entry was tried */
        give_back();
    }
}

static void without_the_journal_s_socket_there_are_lines(void)
{
    const unsigned int before = fd_count();
    use_journal();
    connect_error = ENOENT;
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(connects, 1);
    log_line(NULL, "x");
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: x\n");
    CU_ASSERT_EQUAL(calls, 1);
    journal_away();
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* As for a broker that starts anew: the socket of before is closed, and used no more. */
static void it_can_be_prepared_again(void)
{
    const unsigned int before = fd_count();
    use_journal();
    CU_ASSERT_EQUAL(log_prepare(), 0);
    const unsigned int with_it = fd_count();
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(connects, 2);
    CU_ASSERT_EQUAL(fd_count(), with_it);
    snprintf(peer.sun_path, sizeof(peer.sun_path), "/elsewhere");
    CU_ASSERT_EQUAL(log_prepare(), 0);
    CU_ASSERT_EQUAL(fd_count(), with_it - 1);
    log_line(NULL, "x");
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_STRING_EQUAL(come(reader), "bao-virtio-dm: x\n");
    journal_away();
    CU_ASSERT_EQUAL(fd_count(), before);
}

int main(int argc, char **argv)
{
    CU_TestInfo lines[] = {
        {"a line names program and device", a_line_names_program_and_device},
        {"control characters are replaced", control_characters_are_replaced},
        {"at most 512 bytes", a_line_has_at_most_512_bytes},
        {"only up to the level", only_lines_up_to_the_level_are_said},
        {"tried again after a signal", a_write_is_tried_again_after_a_signal},
        {"lines without room are counted", lines_without_room_are_counted},
        {"without a reader nothing is lost", without_a_reader_nothing_is_lost},
        {"half a line is ended", half_a_line_is_ended},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo prepared[] = {
        {"only what can wait is opened again", only_what_can_wait_is_opened_again},
        {"a pipe without a reader", a_pipe_without_a_reader_is_opened_for_both},
        {"what can't be prepared is told", what_can_t_be_prepared_is_told},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo in_journal[] = {
        {"an entry has all fields", an_entry_has_all_fields},
        {"entries without room are counted", entries_without_room_are_counted},
        {"what the journal refuses", what_the_journal_refuses_goes_to_stderr},
        {"the journal is known by its name", the_journal_is_known_by_its_name},
        {"without the journal's socket", without_the_journal_s_socket_there_are_lines},
        {"it can be prepared again", it_can_be_prepared_again},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"lines", NULL, NULL, NULL, NULL, lines},
        {"prepared", NULL, NULL, NULL, NULL, prepared},
        {"journal", NULL, NULL, NULL, NULL, in_journal},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
