/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager gets: all of it, in order, without waiting for it; only the last of
 * several states. And what its environment means. */
#include "broker/keeper/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

static struct notify notify;
static int manager; /* its end */
static int got_fd;  /* what came with the last message; -1: nothing */
static unsigned int fds;
static struct said said;
static int send_errors[3]; /* what the next sends fail with; 0: they do not */
static pid_t own_pid;      /* what getpid says; 0: the truth */

WRAPPED(int, socket, (int domain, int type, int protocol), (domain, type, protocol))

pid_t __wrap_getpid(void);
pid_t __real_getpid(void);

pid_t __wrap_getpid(void)
{
    return own_pid != 0 ? own_pid : __real_getpid();
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *header, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *header, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *header, int flags)
{
    int error = send_errors[0];
    CU_ASSERT_EQUAL(flags, MSG_NOSIGNAL | MSG_DONTWAIT);
    memmove(&send_errors[0], &send_errors[1], 2 * sizeof(int));
    send_errors[2] = 0;
    if (error == 0)
        return __real_sendmsg(fd, header, flags);
    errno = error;
    return -1;
}

static void begin(void)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets), 0);
    CU_ASSERT_EQUAL(fcntl(sockets[1], F_SETFL, O_NONBLOCK), 0);
    memset(&notify, 0, sizeof(notify));
    memset(send_errors, 0, sizeof(send_errors));
    notify.socket = sockets[0];
    manager = sockets[1];
    fds = fd_count();
}

static void end(void)
{
    CU_ASSERT_EQUAL(fd_count(), fds);
    close(notify.socket);
    close(manager);
}

/* The next message; "-": there is none. */
static const char *next(void)
{
    static char text[512];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {text, sizeof(text) - 1};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.room,
                            .msg_controllen = sizeof(control)};
    ssize_t length = recvmsg(manager, &header, MSG_CMSG_CLOEXEC);
    got_fd = -1;
    if (length < 0)
        return "-";
    text[length] = '\0';
    if (header.msg_controllen > 0)
        memcpy(&got_fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(got_fd));
    if (got_fd >= 0)
        close(got_fd);
    return text;
}

static void each_message_has_its_form(void)
{
    int file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    begin();
    CU_ASSERT_EQUAL(notify_say(&notify, "READY=%d\nSTATUS=%s", 1, "x"), 0);
    CU_ASSERT_STRING_EQUAL(next(), "READY=1\nSTATUS=x");
    CU_ASSERT_EQUAL(got_fd, -1);
    CU_ASSERT_EQUAL(notify_store(&notify, "device-1-dm", file), 0);
    CU_ASSERT_STRING_EQUAL(next(), "FDSTORE=1\nFDPOLL=0\nFDNAME=device-1-dm");
    CU_ASSERT(got_fd >= 0);
    CU_ASSERT_EQUAL(notify_remove(&notify, "device-1-dm"), 0);
    CU_ASSERT_STRING_EQUAL(next(), "FDSTOREREMOVE=1\nFDNAME=device-1-dm");
    CU_ASSERT_EQUAL(got_fd, -1);
    CU_ASSERT_STRING_EQUAL(next(), "-");
    CU_ASSERT_FALSE(notify_waits(&notify));
    end();
    close(file);
}

static void nobody_is_told_nothing(void)
{
    begin();
    int before = notify.socket;
    notify.socket = -1;
    CU_ASSERT_FALSE(notify_present(&notify));
    CU_ASSERT_EQUAL(notify_say(&notify, "READY=1"), 0);
    notify.socket = before;
    CU_ASSERT_STRING_EQUAL(next(), "-");
    end();
}

/* Returns how many were told until it waits. */
static unsigned int fill(void)
{
    unsigned int count = 0;
    while (!notify_waits(&notify) && count < 10000)
        CU_ASSERT_EQUAL(notify_say(&notify, "N=%u", count++), 0);
    return count;
}

static void a_busy_manager_gets_all_later_in_order(void)
{
    char text[32];
    int file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    begin();
    unsigned int count = fill();
    CU_ASSERT_TRUE(notify.polls);
    CU_ASSERT_EQUAL(notify_store(&notify, "x", file), 0);
    CU_ASSERT_EQUAL(notify_say(&notify, "LAST=1"), 0);
    CU_ASSERT_EQUAL(notify.taken - notify.gone, 3);
    CU_ASSERT_EQUAL(notify.queue[0].fd, -1);
    CU_ASSERT(notify.queue[1].fd > STDERR_FILENO);
    CU_ASSERT_EQUAL(notify.queue[2].fd, -1);
    CU_ASSERT_EQUAL(fd_count(), fds + 1); /* a copy of the file waits as well */
    notify_flush(&notify);                /* there is still no room */
    CU_ASSERT_EQUAL(notify.taken - notify.gone, 3);
    CU_ASSERT_TRUE(notify.polls);
    for (unsigned int i = 0; i + 1 < count; i++) {
        snprintf(text, sizeof(text), "N=%u", i);
        CU_ASSERT_STRING_EQUAL(next(), text);
    }
    notify_flush(&notify);
    CU_ASSERT_FALSE(notify_waits(&notify));
    CU_ASSERT_FALSE(notify.polls);
    CU_ASSERT_EQUAL(fd_count(), fds); /* it is on its way */
    snprintf(text, sizeof(text), "N=%u", count - 1);
    CU_ASSERT_STRING_EQUAL(next(), text);
    CU_ASSERT_STRING_EQUAL(next(), "FDSTORE=1\nFDPOLL=0\nFDNAME=x");
    CU_ASSERT(got_fd >= 0);
    CU_ASSERT_STRING_EQUAL(next(), "LAST=1");
    CU_ASSERT_STRING_EQUAL(next(), "-");
    close(file);
    fds--;
    end();
}

/* Of the message that waits. */
static int message_fd(void)
{
    return notify.queue[notify.gone % NOTIFY_QUEUE].fd;
}

/* Now and later: 0 is a file like the others. */
static void a_file_may_have_the_number_0(void)
{
    begin();
    for (unsigned int i = 0; i < 2; i++) {
        send_errors[0] = i == 0 ? 0 : EAGAIN;
        CU_ASSERT_EQUAL(notify_store(&notify, "x", STDIN_FILENO), 0);
        notify_flush(&notify);
        CU_ASSERT_STRING_EQUAL(next(), "FDSTORE=1\nFDPOLL=0\nFDNAME=x");
        CU_ASSERT(got_fd >= 0);
    }
    free_0(); /* the copy gets it */
    send_errors[0] = EAGAIN;
    CU_ASSERT_EQUAL(notify_store(&notify, "x", manager), 0);
    CU_ASSERT_EQUAL(message_fd(), 0);
    notify_flush(&notify);
    CU_ASSERT_STRING_EQUAL(next(), "FDSTORE=1\nFDPOLL=0\nFDNAME=x");
    CU_ASSERT_EQUAL(fcntl(0, F_GETFD), -1);
    take_0_back();
    end();
}

static void of_states_the_last_one_counts(void)
{
    static const char *const words[] = {"STATUS=one", "STATUS=two",  "READY=1",    "STATUS=three",
                                        "STATU",      "STATUS=four", "STATUSES=1", "STATUS"};
    begin();
    unsigned int count = fill();
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        CU_ASSERT_EQUAL(notify_say(&notify, "%s", words[i]), 0);
    for (unsigned int i = 0; i < count - 1; i++)
        (void)next();
    notify_flush(&notify);
    (void)next();
    CU_ASSERT_STRING_EQUAL(next(), "STATUS=two");
    CU_ASSERT_STRING_EQUAL(next(), "READY=1");
    CU_ASSERT_STRING_EQUAL(next(), "STATUS=three");
    CU_ASSERT_STRING_EQUAL(next(), "STATU");
    CU_ASSERT_STRING_EQUAL(next(), "STATUS=four");
    CU_ASSERT_STRING_EQUAL(next(), "STATUSES=1");
    CU_ASSERT_STRING_EQUAL(next(), "STATUS");
    /* One that does not wait is sent at once, and so is each state. */
    (void)notify_say(&notify, "STATUS=five");
    (void)notify_say(&notify, "STATUS=six");
    CU_ASSERT_STRING_EQUAL(next(), "STATUS=five");
    CU_ASSERT_STRING_EQUAL(next(), "STATUS=six");
    end();
}

static void the_queue_is_bounded(void)
{
    begin();
    (void)fill();
    while (notify.taken - notify.gone < NOTIFY_QUEUE)
        CU_ASSERT_EQUAL(notify_remove(&notify, "x"), 0);
    CU_ASSERT_EQUAL(notify_remove(&notify, "x"), -ENOBUFS);
    CU_ASSERT_EQUAL(notify_store(&notify, "x", manager), -ENOBUFS);
    CU_ASSERT_EQUAL(notify.taken - notify.gone, NOTIFY_QUEUE);
    end();
}

static void what_passes_is_waited_for(void)
{
    static const int errors[] = {ENOBUFS, ENOMEM, ETOOMANYREFS, EAGAIN};
    for (size_t i = 0; i < 4; i++) {
        begin();
        send_errors[0] = errors[i];
        CU_ASSERT_EQUAL(notify_say(&notify, "A"), 0);
        CU_ASSERT_TRUE(notify_waits(&notify));
        CU_ASSERT_EQUAL(notify.polls, errors[i] == EAGAIN); /* else nothing tells when */
        send_errors[0] = errors[i];
        notify_flush(&notify);
        CU_ASSERT_TRUE(notify_waits(&notify));
        CU_ASSERT_EQUAL(notify.polls, errors[i] == EAGAIN);
        notify_flush(&notify);
        CU_ASSERT_FALSE(notify_waits(&notify));
        CU_ASSERT_STRING_EQUAL(next(), "A");
        end();
    }
}

static void an_interrupted_message_is_sent(void)
{
    begin();
    send_errors[0] = send_errors[1] = EINTR;
    CU_ASSERT_EQUAL(notify_say(&notify, "A"), 0);
    CU_ASSERT_STRING_EQUAL(next(), "A");
    end();
}

static void what_can_t_be_told_is_logged(void)
{
    begin();
    send_errors[0] = EPERM;
    CU_ASSERT_EQUAL(notify_say(&notify, "A"), -EPERM);
    CU_ASSERT_FALSE(notify_waits(&notify));
    send_errors[0] = EAGAIN;
    CU_ASSERT_EQUAL(notify_store(&notify, "x", manager), 0);
    CU_ASSERT_EQUAL(notify_say(&notify, "B"), 0);
    send_errors[0] = EPERM;
    said_begin(&said, STDERR_FILENO);
    notify_flush(&notify);
    said_end(&said);
    CU_ASSERT_STRING_EQUAL(said.text,
                           "bao-virtio-dm: can't tell the service manager \"FDSTORE=1?FDPOLL=0?"
                           "FDNAME=x\": Operation not permitted\n");
    CU_ASSERT_STRING_EQUAL(next(), "B"); /* the others are sent */
    CU_ASSERT_FALSE(notify_waits(&notify));
    send_errors[0] = EAGAIN;
    CU_ASSERT_EQUAL(notify_store(&notify, "x", 9999), -EBADF); /* it can't be kept for later */
    CU_ASSERT_FALSE(notify_waits(&notify));
    end();
}

static void the_watchdog_is_fed_in_time(void)
{
    begin();
    CU_ASSERT_EQUAL(notify_watchdog(&notify, 5000), -1);
    CU_ASSERT_STRING_EQUAL(next(), "-");
    notify.watchdog_ms = 300;
    CU_ASSERT_EQUAL(notify_watchdog(&notify, 5000), 300);
    CU_ASSERT_STRING_EQUAL(next(), "WATCHDOG=1");
    CU_ASSERT_EQUAL(got_fd, -1);
    CU_ASSERT_EQUAL(notify_watchdog(&notify, 5299), 1);
    CU_ASSERT_STRING_EQUAL(next(), "-");
    CU_ASSERT_EQUAL(notify_watchdog(&notify, 5300), 300);
    CU_ASSERT_STRING_EQUAL(next(), "WATCHDOG=1");
    send_errors[0] = EAGAIN;
    CU_ASSERT_EQUAL(notify_watchdog(&notify, 9000), 300);
    CU_ASSERT_FALSE(notify_waits(&notify)); /* it is useless later */
    notify.watchdog_ms = 1;
    CU_ASSERT_EQUAL(notify_watchdog(&notify, 9300), 1);
    CU_ASSERT_STRING_EQUAL(next(), "WATCHDOG=1");
    end();
}

/* ---- The environment ---- */

static void opens_with(const char *name, bool present, const char *words)
{
    memset(&notify, 0x5a, sizeof(struct notify) - sizeof(notify.queue));
    (void)(name ? setenv("NOTIFY_SOCKET", name, 1) : unsetenv("NOTIFY_SOCKET"));
    said_begin(&said, STDERR_FILENO);
    notify_open(&notify);
    said_end(&said);
    CU_ASSERT_STRING_EQUAL(said.text, words);
    CU_ASSERT_EQUAL(notify_present(&notify), present);
    CU_ASSERT(name || notify.socket == -1);
    CU_ASSERT_EQUAL(notify.watchdog_at, 0);
    CU_ASSERT(notify.taken == 0 && notify.gone == 0);
    if (present)
        CU_ASSERT_EQUAL(fcntl(notify.socket, F_GETFD), FD_CLOEXEC);
}

static int listen_at(const struct sockaddr_un *address, size_t length)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)address,
                               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
                          0);
    return fd;
}

static void the_socket_is_the_one_that_is_named(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/notify-XXXXXX", name[128], words[256];
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(name, sizeof(name), "%s/s", folder);
    strcpy(address.sun_path, name);
    fds = fd_count();
    snprintf(words, sizeof(words),
             "bao-virtio-dm: the service manager's socket %s: No such file or directory\n", name);
    opens_with(name, false, words);
    CU_ASSERT_EQUAL(fd_count(), fds);
    manager = listen_at(&address, strlen(name) + 1);
    opens_with(name, true, "");
    CU_ASSERT_EQUAL(notify_say(&notify, "A"), 0);
    CU_ASSERT_STRING_EQUAL(next(), "A");
    close(notify.socket);
    gives_0 = "socket";
    opens_with(name, true, "");
    CU_ASSERT_EQUAL(notify.socket, 0);
    CU_ASSERT_EQUAL(notify_say(&notify, "B"), 0);
    CU_ASSERT_STRING_EQUAL(next(), "B");
    close(notify.socket);
    take_0_back();
    close(manager);
    unlink(name);
    rmdir(folder);
    /* The abstract namespace has no terminating 0. */
    snprintf(name, sizeof(name), "@notify-%d", (int)getpid());
    strcpy(address.sun_path, name);
    address.sun_path[0] = '\0';
    manager = listen_at(&address, strlen(name));
    opens_with(name, true, "");
    CU_ASSERT_EQUAL(notify_say(&notify, "A"), 0);
    CU_ASSERT_STRING_EQUAL(next(), "A");
    close(notify.socket);
    close(manager);
    CU_ASSERT_EQUAL(fd_count(), fds);
    opens_with(NULL, false, "");
}

static void a_name_that_can_t_be_is_told(void)
{
    char name[256], words[512];
    fds = fd_count();
    opens_with("vsock:2:1234", false,
               "bao-virtio-dm: the service manager's socket vsock:2:1234: Invalid argument\n");
    opens_with("/?", false,
               "bao-virtio-dm: the service manager's socket /?: No such file or directory\n");
    opens_with("/", false, "bao-virtio-dm: the service manager's socket /: Invalid argument\n");
    opens_with("@", false, "bao-virtio-dm: the service manager's socket @: Invalid argument\n");
    opens_with("", false, "bao-virtio-dm: the service manager's socket : Invalid argument\n");
    memset(name, 'n', sizeof(name));
    name[0] = '/';
    for (size_t length = 107; length <= 108; length++) {
        name[length] = '\0';
        snprintf(words, sizeof(words), "bao-virtio-dm: the service manager's socket %s: %s\n", name,
                 length == 108 ? "Invalid argument" : "No such file or directory");
        opens_with(name, false, words);
        name[length] = 'n';
    }
    CU_ASSERT_EQUAL(fd_count(), fds);
}

static void without_a_socket_there_is_none(void)
{
    fds = fd_count();
    fail_once("socket", EMFILE, 0);
    opens_with("/run/notify", false,
               "bao-virtio-dm: the service manager's socket /run/notify: Too many open files\n");
    CU_ASSERT_EQUAL(fd_count(), fds);
}

static void watches(const char *pid, const char *usec, uint32_t expected)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    snprintf(name, sizeof(name), "@watch-%d", (int)__real_getpid());
    strcpy(address.sun_path, name);
    address.sun_path[0] = '\0';
    manager = listen_at(&address, strlen(name));
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    if (pid)
        setenv("WATCHDOG_PID", pid, 1);
    if (usec)
        setenv("WATCHDOG_USEC", usec, 1);
    opens_with(name, true, "");
    CU_ASSERT_EQUAL(notify.watchdog_ms, expected);
    close(notify.socket);
    close(manager);
}

static void a_watchdog_of_ours_counts(void)
{
    own_pid = 4711;
    watches(NULL, NULL, 0);
    watches("4711", NULL, 0);
    watches("4711", "3000000", 1500);
    watches("04711", "03999999", 1999); /* both are decimal, and a part of a ms does not count */
    watches(NULL, "3000000", 1500);
    watches("1", "3000000", 0); /* another process's */
    watches("4711", "99999999999999999", INT32_MAX);
    watches("4711", "4294967294000", 2147483647);
    own_pid = 0;
    setenv("WATCHDOG_USEC", "3000000", 1);
    opens_with("/nobody", false,
               "bao-virtio-dm: the service manager's socket /nobody: No such file or directory\n");
    CU_ASSERT_EQUAL(notify.watchdog_ms, 0);
}

static void no_child_finds_the_manager(void)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
                                        "LISTEN_PID",    "LISTEN_FDS",   "LISTEN_FDNAMES",
                                        "FDSTORE"};
    for (size_t i = 0; i < 7; i++)
        setenv(names[i], "1", 1);
    notify_clear_environment();
    for (size_t i = 0; i < 7; i++)
        CU_ASSERT_PTR_NULL(getenv(names[i]));
}

int main(int argc, char **argv)
{
    CU_TestInfo telling[] = {
        {"each message has its form", each_message_has_its_form},
        {"nobody is told nothing", nobody_is_told_nothing},
        {"a busy manager gets all later", a_busy_manager_gets_all_later_in_order},
        {"a file may have the number 0", a_file_may_have_the_number_0},
        {"of states the last one counts", of_states_the_last_one_counts},
        {"the queue is bounded", the_queue_is_bounded},
        {"what passes is waited for", what_passes_is_waited_for},
        {"an interrupted message is sent", an_interrupted_message_is_sent},
        {"what can't be told is logged", what_can_t_be_told_is_logged},
        {"the watchdog is fed in time", the_watchdog_is_fed_in_time},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo environment[] = {
        {"the socket is the one that is named", the_socket_is_the_one_that_is_named},
        {"a name that can't be is told", a_name_that_can_t_be_is_told},
        {"without a socket there is none", without_a_socket_there_is_none},
        {"a watchdog of ours counts", a_watchdog_of_ours_counts},
        {"no child finds the manager", no_child_finds_the_manager},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"telling", NULL, NULL, NULL, NULL, telling},
        {"environment", NULL, NULL, NULL, NULL, environment},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
