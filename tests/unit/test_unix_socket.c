/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets with a name: which file is made and replaced, and that no call that fails keeps a
 * file. */
#include "broker/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

static char folder[] = "/tmp/unix-socket-XXXXXX", path[64];
static unsigned int fds;

WRAPPED(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAPPED(int, listen, (int fd, int backlog), (fd, backlog))
WRAPPED(int, unlinkat, (int at, const char *name, int flags), (at, name, flags))
WRAPPED(int, lstat, (const char *name, struct stat *ret), (name, ret))
WRAPPED(int, accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags),
        (fd, address, size, flags))

static void begin(void)
{
    (void)unlink(path);
    fds = fd_count();
}

/* Nothing is open that was not open before. */
static void end(void)
{
    CU_ASSERT_EQUAL(fd_count(), fds);
    (void)unlink(path);
}

static void neither_waits_nor_stays(int fd)
{
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

static int listen_here(void)
{
    return unix_listen(path, SOCK_SEQPACKET, 0600, 4);
}

/* ---- A client and a server ---- */

static void clients_meet_their_server(void)
{
    char byte = 'x';
    begin();
    int listener = listen_here();
    CU_ASSERT_FATAL(listener > STDERR_FILENO);
    neither_waits_nor_stays(listener);
    CU_ASSERT_EQUAL(unix_accept(listener), -EAGAIN);
    int client = unix_connect(path, SOCK_SEQPACKET);
    CU_ASSERT_FATAL(client > STDERR_FILENO);
    neither_waits_nor_stays(client);
    int server = unix_accept(listener);
    CU_ASSERT_FATAL(server > STDERR_FILENO);
    neither_waits_nor_stays(server);
    CU_ASSERT_EQUAL(send(client, &byte, 1, MSG_NOSIGNAL), 1);
    CU_ASSERT_EQUAL(recv(server, &byte, 1, 0), 1);
    CU_ASSERT_EQUAL(unix_connect(path, SOCK_STREAM), -EPROTOTYPE);
    CU_ASSERT_EQUAL(unix_accept(client), -EINVAL);
    close(client);
    close(server);
    close(listener);
    CU_ASSERT_EQUAL(unix_connect(path, SOCK_SEQPACKET), -ECONNREFUSED);
    end();
}

/* The backlog is full. */
static void a_busy_server_is_not_waited_for(void)
{
    int clients[8], count = 0;
    begin();
    int listener = unix_listen(path, SOCK_STREAM, 0600, 1);
    CU_ASSERT_FATAL(listener >= 0);
    while (count < 8 && (clients[count] = unix_connect(path, SOCK_STREAM)) >= 0)
        count++;
    CU_ASSERT_FATAL(count > 0 && count < 8);
    CU_ASSERT_EQUAL(clients[count], -EAGAIN);
    while (count > 0)
        close(clients[--count]);
    close(listener);
    end();
}

/* ---- The file ---- */

static void the_file_has_its_mode_from_the_beginning(void)
{
    static const uint32_t modes[] = {0, 0600, 0660, 0666, 0777};
    struct stat status;
    const mode_t before = umask(027);
    for (size_t i = 0; i <= sizeof(modes) / sizeof(modes[0]); i++) {
        begin();
        bool own = i < sizeof(modes) / sizeof(modes[0]);
        int listener = unix_listen(path, SOCK_STREAM, own ? modes[i] : UNIX_MODE_OF_UMASK, 4);
        CU_ASSERT(listener >= 0);
        CU_ASSERT_EQUAL(stat(path, &status), 0);
        CU_ASSERT_EQUAL(status.st_mode & 07777, own ? modes[i] : 0750);
        CU_ASSERT_EQUAL(umask(027), 027);
        close(listener);
        end();
    }
    umask(before);
}

static void only_a_socket_that_nobody_uses_is_replaced(void)
{
    begin();
    int listener = listen_here();
    CU_ASSERT_EQUAL(listen_here(), -EADDRINUSE);
    close(listener);
    listener = listen_here();
    CU_ASSERT(listener >= 0);
    CU_ASSERT_EQUAL(fd_count(), fds + 1);
    /* Another type can't ask whether it is used. */
    CU_ASSERT_EQUAL(unix_listen(path, SOCK_STREAM, 0600, 4), -EADDRINUSE);
    close(listener);
    (void)unlink(path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CU_ASSERT_EQUAL(listen_here(), -EEXIST);
    (void)unlink(path);
    CU_ASSERT_EQUAL(symlink("/nowhere", path), 0);
    CU_ASSERT_EQUAL(listen_here(), -EEXIST);
    end();
}

static void names_that_no_socket_can_have(void)
{
    struct sockaddr_un address;
    char name[sizeof(address.sun_path) + 1] = "/", below[96];
    begin();
    memset(name + 1, 'x', sizeof(name) - 2);
    CU_ASSERT_EQUAL(unix_listen(name, SOCK_STREAM, 0600, 4), -ENAMETOOLONG);
    CU_ASSERT_EQUAL(unix_connect(name, SOCK_STREAM), -ENAMETOOLONG);
    name[sizeof(name) - 2] = '\0'; /* the longest that one can have */
    CU_ASSERT_EQUAL(unix_connect(name, SOCK_STREAM), -ENOENT);
    snprintf(below, sizeof(below), "%s/none/socket", folder);
    CU_ASSERT_EQUAL(unix_listen(below, SOCK_STREAM, 0600, 4), -ENOENT);
    CU_ASSERT_EQUAL(unix_listen(below, SOCK_STREAM, UNIX_MODE_OF_UMASK, 4), -ENOENT);
    end();
}

/* ---- Calls that fail ---- */

static void each_failure_is_told_and_keeps_nothing(void)
{
    static const struct {
        const char *call;
        unsigned int later;
        int error, told;
    } failures[] = {
        {"lstat", 0, EIO, EIO},
        {"unlinkat", 0, EROFS, EROFS},
        {"listen", 0, EBUSY, EBUSY},
        {"socket", 0, EMFILE, EADDRINUSE}, /* not known: it is used */
        {"socket", 1, ENFILE, ENFILE},
    };
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        begin();
        close(listen_here()); /* an earlier run left the file */
        fail_once(failures[i].call, failures[i].error, failures[i].later);
        CU_ASSERT_EQUAL(listen_here(), -failures[i].told);
        CU_ASSERT_PTR_NULL(failing.call);
        end();
    }
    begin();
    int listener = listen_here();
    fail_once("socket", EMFILE, 0);
    CU_ASSERT_EQUAL(unix_connect(path, SOCK_SEQPACKET), -EMFILE);
    fail_once("accept4", ENFILE, 0);
    CU_ASSERT_EQUAL(unix_accept(listener), -ENFILE);
    close(listener);
    end();
}

static void the_number_0_is_as_good_as_another(void)
{
    begin();
    gives_0 = "socket";
    CU_ASSERT_EQUAL_FATAL(listen_here(), 0);
    neither_waits_nor_stays(0);
    int listener = fcntl(0, F_DUPFD_CLOEXEC, 3);
    take_0_back();
    gives_0 = "socket";
    CU_ASSERT_EQUAL_FATAL(unix_connect(path, SOCK_SEQPACKET), 0);
    int client = fcntl(0, F_DUPFD_CLOEXEC, 3);
    take_0_back();
    gives_0 = "accept4";
    CU_ASSERT_EQUAL(unix_accept(listener), 0);
    CU_ASSERT_EQUAL(send(client, "", 1, MSG_NOSIGNAL), 1);
    take_0_back();
    gives_0 = "socket"; /* the one that asks whether somebody listens */
    CU_ASSERT_EQUAL(listen_here(), -EADDRINUSE);
    CU_ASSERT_EQUAL(fcntl(0, F_GETFD), -1);
    take_0_back();
    close(client);
    close(listener);
    end();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"clients meet their server", clients_meet_their_server},
        {"a busy server is not waited for", a_busy_server_is_not_waited_for},
        {"the file has its mode", the_file_has_its_mode_from_the_beginning},
        {"only a socket that nobody uses is replaced", only_a_socket_that_nobody_uses_is_replaced},
        {"names that no socket can have", names_that_no_socket_can_have},
        {"each failure is told", each_failure_is_told_and_keeps_nothing},
        {"the number 0", the_number_0_is_as_good_as_another},
        CU_TEST_INFO_NULL,
    };
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    snprintf(path, sizeof(path), "%s/socket", folder);
    int status = run_tests(argc, argv, "unix sockets", tests);
    rmdir(folder);
    return status;
}
