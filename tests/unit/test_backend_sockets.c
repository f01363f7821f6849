/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices whose host side is a Unix socket: a console for one client at a time, and vsock in user
 * space. The sockets are real ones. Calls fail when a test wants it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/socket_path.h"
#include "broker/unix_socket.h"
#include "common/worker_fds.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

static char folder[] = "/tmp/test_backend_sockets.XXXXXX";
static char path[64], seqpacket_path[80];

static struct backend backend;
static struct failure failure;
static struct device_config config;
static enum config_key key;
static struct message_start start;
static struct backend_fds given;

static bool waited; /* in poll */

int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    waited = waited || timeout != 0;
    return __real_poll(fds, count, timeout);
}

WRAPPED(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAPPED(int, fchdir, (int fd), (fd))
WRAPPED(int, accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags),
        (fd, address, size, flags))

static void begin(enum device_kind kind, char *socket_path)
{
    config = (struct device_config){
        .kind = kind, .socket_path = socket_path, .guest_cid = 42, .connections = 17, .ports = 1};
    backend_init(&backend, &config);
    waited = false;
}

static int open_backend(void)
{
    failure.text[0] = '\0';
    key = CONFIG_KEY_ID;
    int result = backend.ops->open(&backend, &key, &failure);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_SOCKET_PATH);
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
    if (backend.client >= 0)
        close(backend.client);
    backend.client = -1;
}

static void remove_sockets(void)
{
    unlink(path);
    unlink(seqpacket_path);
}

/* The files that it has are those that a device of this configuration has. */
static void has_its_files(void)
{
    uint32_t files = 0;
    for (size_t file = 0; file < OPENED_FILES; file++)
        files |= backend.files[file] >= 0 ? 1u << file : 0;
    CU_ASSERT_EQUAL(files, backend.ops->files(&config));
}

static void give(void)
{
    memset(&start, 0xff, sizeof(start));
    memset(&given, 0xff, sizeof(given));
    CU_ASSERT_EQUAL(backend.ops->give(&backend, &start, &given), 0);
    CU_ASSERT_EQUAL(given.count, 0);
    CU_ASSERT(!given.owned && given.kept == 0 && given.boxed == 0);
}

/* Of a console. Never waits. */
static int accept_client(void)
{
    uint32_t type = 99;
    int fd = backend.ops->accept(&backend, 0, &type);
    if (fd >= 0) {
        CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
        CU_ASSERT_EQUAL(type, 0); /* vsock alone has types */
    }
    CU_ASSERT_FALSE(waited);
    return fd;
}

static int connect_to(const char *to, int type)
{
    int fd = unix_connect(to, type);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static bool has_ended(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static int option(int fd, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    CU_ASSERT_EQUAL(getsockopt(fd, SOL_SOCKET, name, &value, &size), 0);
    return value;
}

/* It fails with exactly these words. Nothing stays open but what the backend has, and the working
 * directory is what it was. */
static void refused(int error, const char *words)
{
    char here[PATH_MAX], afterwards[PATH_MAX];
    CU_ASSERT_PTR_NOT_NULL(getcwd(here, sizeof(here)));
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(open_backend(), -error);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
    close_backend();
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_PTR_NOT_NULL(getcwd(afterwards, sizeof(afterwards)));
    CU_ASSERT_STRING_EQUAL(afterwards, here);
}

/* ---- Both ---- */

static const enum device_kind both[] = {DEVICE_CONSOLE_SOCKET, DEVICE_VSOCK_VIRTIO};

static void opened_in_its_directory(void)
{
    struct stat status;
    char here[PATH_MAX], afterwards[PATH_MAX];
    CU_ASSERT_PTR_NOT_NULL(getcwd(here, sizeof(here)));
    for (size_t i = 0; i < 2; i++) {
        begin(both[i], path);
        unsigned int before = fd_count();
        CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
        CU_ASSERT_EQUAL(fd_count(), before + (i == 0 ? 1 : 3));
        has_its_files();
        CU_ASSERT_PTR_NOT_NULL(getcwd(afterwards, sizeof(afterwards)));
        CU_ASSERT_STRING_EQUAL(afterwards, here);
        CU_ASSERT(stat(folder, &status) == 0 && backend.directory_id.inode == status.st_ino &&
                  backend.directory_id.device == status.st_dev);
        CU_ASSERT(stat(path, &status) == 0 && S_ISSOCK(status.st_mode));
        int listener = backend_listener(&backend, 0);
        CU_ASSERT_EQUAL(option(listener, SO_TYPE), SOCK_STREAM);
        CU_ASSERT_EQUAL(option(listener, SO_ACCEPTCONN), 1);
        CU_ASSERT_EQUAL(fcntl(listener, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        close_backend();
        CU_ASSERT_EQUAL(open_backend(), 0); /* what an earlier run left is replaced */
        close_backend();
        remove_sockets();
    }
}

static void paths_that_fail(void)
{
    char words[600], missing[80];
    snprintf(missing, sizeof(missing), "%s/none/socket", folder);
    for (size_t i = 0; i < 2; i++) {
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        snprintf(words, sizeof(words),
                 "socket_path \"%s\" is there already and is no socket: choose another path, or "
                 "remove it",
                 path);
        begin(both[i], path);
        refused(EEXIST, words);
        unlink(path);

        int other = unix_listen(path, SOCK_STREAM, 0600, 1);
        snprintf(words, sizeof(words),
                 "socket_path \"%s\" is in use by another process: choose another path, or end "
                 "that one",
                 path);
        begin(both[i], path);
        refused(EADDRINUSE, words);
        close(other);
        unlink(path);

        begin(both[i], missing);
        snprintf(words, sizeof(words), "socket_path \"%s\": No such file or directory", missing);
        refused(ENOENT, words);
        begin(both[i], path);
        fail_once("socket", EMFILE, 0);
        snprintf(words, sizeof(words), "socket_path \"%s\": Too many open files", path);
        refused(EMFILE, words);
        begin(both[i], path);
        fail_once("fchdir", EACCES, 0);
        snprintf(words, sizeof(words), "socket_path \"%s\": Permission denied", path);
        refused(EACCES, words);
        remove_sockets();
    }
}

/* A number of a file is no failure unless it is negative. */
static void a_socket_may_have_the_number_0(void)
{
    for (size_t i = 0; i < 2; i++) {
        begin(both[i], path);
        gives_0 = "socket";
        CU_ASSERT_EQUAL(open_backend(), 0);
        CU_ASSERT_EQUAL(backend_listener(&backend, 0), 0);
        has_its_files();
        close_backend();
        take_0_back();
        remove_sockets();
    }
}

/* ---- A console ---- */

static void begin_console(void)
{
    begin(DEVICE_CONSOLE_SOCKET, path);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
}

/* Access to a console may give a login. */
static void only_root_may_connect(void)
{
    struct stat status;
    mode_t before = umask(0);
    begin_console();
    umask(before);
    CU_ASSERT_EQUAL(stat(path, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 07777, 0600);
    CU_ASSERT_STRING_EQUAL(backend.words, path);
    close_backend();
    remove_sockets();
}

/* Each new worker is told whether there is one. */
static void a_client_is_kept(void)
{
    begin_console();
    CU_ASSERT_TRUE(backend.ops->keeps_client);
    CU_ASSERT_EQUAL(accept_client(), -EAGAIN);
    give();
    CU_ASSERT(start.of_kind.console.ports == 1 && start.of_kind.console.client == 0);
    CU_ASSERT(start.of_kind.console.files == 0 && start.of_kind.console.log_size == 0);
    int client = connect_to(path, SOCK_STREAM);
    int fd = accept_client();
    CU_ASSERT_TRUE(fd >= 0);
    CU_ASSERT_EQUAL(fd, backend.client);
    CU_ASSERT_EQUAL(write(client, "x", 1), 1);
    CU_ASSERT_EQUAL(recv(fd, &(char){0}, 1, 0), 1);
    give();
    CU_ASSERT(start.of_kind.console.ports == 1 && start.of_kind.console.client == 1);
    close(client);
    close_backend();
    remove_sockets();
}

/* One that has only shut down its output may still read. */
static void the_next_one_is_turned_away(void)
{
    begin_console();
    int client = connect_to(path, SOCK_STREAM);
    int fd = accept_client();
    unsigned int before = fd_count();
    for (int i = 0; i < 2; i++) {
        int next = connect_to(path, SOCK_STREAM);
        CU_ASSERT_EQUAL(accept_client(), -ECONNREFUSED);
        CU_ASSERT_EQUAL(backend.client, fd);
        CU_ASSERT_TRUE(has_ended(next));
        CU_ASSERT_FALSE(has_ended(client));
        close(next);
        CU_ASSERT_EQUAL(fd_count(), before);
        shutdown(client, SHUT_WR);
    }
    CU_ASSERT_EQUAL(accept_client(), -EAGAIN);
    close(client);
    CU_ASSERT_EQUAL(accept_client(), -EAGAIN); /* one that has gone stays until the next comes */
    CU_ASSERT_EQUAL(backend.client, fd);
    int next = connect_to(path, SOCK_STREAM);
    CU_ASSERT_TRUE(accept_client() >= 0);
    CU_ASSERT_EQUAL(write(next, "x", 1), 1);
    CU_ASSERT_EQUAL(recv(backend.client, &(char){0}, 1, 0), 1);
    CU_ASSERT_EQUAL(fd_count(), before); /* the copy of the first is closed */
    close(next);
    close_backend();
    remove_sockets();
}

static void a_client_may_have_the_number_0(void)
{
    begin_console();
    int client = connect_to(path, SOCK_STREAM);
    gives_0 = "accept4";
    CU_ASSERT_EQUAL(accept_client(), 0);
    CU_ASSERT_EQUAL(backend.client, 0);
    give();
    CU_ASSERT_EQUAL(start.of_kind.console.client, 1);
    int next = connect_to(path, SOCK_STREAM);
    CU_ASSERT_EQUAL(accept_client(), -ECONNREFUSED);
    close(next);
    close(client);
    next = connect_to(path, SOCK_STREAM);
    CU_ASSERT_TRUE(accept_client() > 0);
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0 && errno == EBADF); /* it is closed */
    take_0_back();
    close(next);
    close_backend();
    remove_sockets();
}

/* ---- vsock ---- */

static void begin_vsock(void)
{
    begin(DEVICE_VSOCK_VIRTIO, path);
    CU_ASSERT_EQUAL_FATAL(open_backend(), 0);
}

static void two_sockets_and_their_directory(void)
{
    struct stat status, of_folder;
    mode_t before = umask(027);
    begin_vsock();
    umask(before);
    CU_ASSERT_STRING_EQUAL(backend.learned.vsock.name, "socket");
    CU_ASSERT_TRUE(backend.ops->learned_usable(&backend.learned));
    CU_ASSERT(stat(seqpacket_path, &status) == 0 && S_ISSOCK(status.st_mode));
    CU_ASSERT_EQUAL(status.st_mode & 0777, 0750); /* who may connect is the umask's affair */
    CU_ASSERT_EQUAL(option(backend_listener(&backend, 1), SO_TYPE), SOCK_SEQPACKET);
    CU_ASSERT(fstat(backend.files[OPENED_DIRECTORY], &status) == 0 &&
              stat(folder, &of_folder) == 0 && status.st_ino == of_folder.st_ino);
    give();
    CU_ASSERT(start.of_kind.vsock.guest_cid == 42 && start.of_kind.vsock.connections == 17);
    CU_ASSERT_EQUAL(start.of_kind.vsock.vhost_features, 0);
    close_backend();
    remove_sockets();
}

static void the_second_socket_fails(void)
{
    char words[600];
    begin(DEVICE_VSOCK_VIRTIO, path);
    CU_ASSERT_EQUAL(mkdir(seqpacket_path, 0700), 0);
    snprintf(words, sizeof(words),
             "socket_path \"%s\" is there already and is no socket: choose another path, or remove "
             "it",
             path);
    refused(EEXIST, words);
    CU_ASSERT_EQUAL(rmdir(seqpacket_path), 0);
    remove_sockets();
}

/* A seqpacket socket takes large messages, as far as the machine allows it. */
static void clients_of_both_types(void)
{
    begin_vsock();
    for (unsigned int number = 0; number < BACKEND_LISTENERS; number++) {
        int type = number == 0 ? SOCK_STREAM : SOCK_SEQPACKET;
        const int wanted = CONNECTION_MESSAGE_MAX;
        uint32_t given_type = 0;
        CU_ASSERT_EQUAL(backend.ops->accept(&backend, number, &given_type), -EAGAIN);
        int client = connect_to(number == 0 ? path : seqpacket_path, type);
        int usual = option(client, SO_SNDBUF);
        int fd = backend.ops->accept(&backend, number, &given_type);
        CU_ASSERT_TRUE(fd >= 0);
        CU_ASSERT_EQUAL(given_type,
                        number == 0 ? VIRTIO_VSOCK_TYPE_STREAM : VIRTIO_VSOCK_TYPE_SEQPACKET);
        CU_ASSERT_EQUAL(option(fd, SO_TYPE), type);
        if (type == SOCK_SEQPACKET)
            CU_ASSERT_EQUAL(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted)), 0);
        CU_ASSERT_EQUAL(option(fd, SO_SNDBUF),
                        type == SOCK_SEQPACKET ? option(client, SO_SNDBUF) : usual);
        close(fd);
        close(client);
    }
    close_backend();
    remove_sockets();
}

static void a_vsock_client_may_have_the_number_0(void)
{
    uint32_t type;
    begin_vsock();
    int client = connect_to(seqpacket_path, SOCK_SEQPACKET);
    int usual = option(client, SO_SNDBUF);
    gives_0 = "accept4";
    CU_ASSERT_EQUAL(backend.ops->accept(&backend, 1, &type), 0);
    CU_ASSERT_NOT_EQUAL(option(0, SO_SNDBUF), usual);
    take_0_back();
    close(client);
    close_backend();
    remove_sockets();
}

static int address(uint32_t port, uint32_t type, struct sockaddr_un *ret)
{
    memset(ret, 0xff, sizeof(*ret));
    return backend_vsock_virtio.address(&backend, port, type, ret);
}

/* The guest chooses only the digits. */
static void addresses_of_ports(void)
{
    struct sockaddr_un to, expected = {.sun_family = AF_UNIX};
    begin(DEVICE_VSOCK_VIRTIO, path);
    snprintf(backend.learned.vsock.name, sizeof(backend.learned.vsock.name), "vm.sock");
    CU_ASSERT_EQUAL(address(UINT32_MAX, VIRTIO_VSOCK_TYPE_STREAM, &to), SOCK_STREAM);
    snprintf(expected.sun_path, sizeof(expected.sun_path), "/sockets/vm.sock_4294967295");
    CU_ASSERT_EQUAL(memcmp(&to, &expected, sizeof(to)), 0);
    CU_ASSERT_EQUAL(address(0, VIRTIO_VSOCK_TYPE_SEQPACKET, &to), SOCK_SEQPACKET);
    CU_ASSERT_STRING_EQUAL(to.sun_path, "/sockets/vm.sock_0");
    CU_ASSERT_EQUAL(address(1, 0, &to), -EPROTOTYPE);
    CU_ASSERT_EQUAL(address(1, 3, &to), -EPROTOTYPE);
    /* Another process has sent the name. */
    memset(backend.learned.vsock.name, 'x', sizeof(backend.learned.vsock.name));
    CU_ASSERT_FALSE(backend.ops->learned_usable(&backend.learned));
    backend.learned.vsock.name[sizeof(backend.learned.vsock.name) - 1] = '\0';
    CU_ASSERT_TRUE(backend.ops->learned_usable(&backend.learned));
    CU_ASSERT_EQUAL(address(99, VIRTIO_VSOCK_TYPE_STREAM, &to), SOCK_STREAM);
    CU_ASSERT_EQUAL(strlen(to.sun_path), sizeof(to.sun_path) - 1);
    CU_ASSERT_EQUAL(address(100, VIRTIO_VSOCK_TYPE_STREAM, &to), -ENAMETOOLONG);
}

static int make_folder(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(seqpacket_path, sizeof(seqpacket_path), "%s_seqpacket", path);
    return 0;
}

static int remove_folder(void)
{
    return rmdir(folder);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"opened in its directory", opened_in_its_directory},
        {"paths that fail", paths_that_fail},
        {"a socket may have the number 0", a_socket_may_have_the_number_0},
        {"console: only root may connect", only_root_may_connect},
        {"console: a client is kept", a_client_is_kept},
        {"console: the next one is turned away until it has gone", the_next_one_is_turned_away},
        {"console: a client may have the number 0", a_client_may_have_the_number_0},
        {"vsock: two sockets and their directory", two_sockets_and_their_directory},
        {"vsock: the second socket fails", the_second_socket_fails},
        {"vsock: clients of both types", clients_of_both_types},
        {"vsock: a client may have the number 0", a_vsock_client_may_have_the_number_0},
        {"vsock: addresses of ports", addresses_of_ports},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "sockets of devices",
         .pInitFunc = make_folder,
         .pCleanupFunc = remove_folder,
         .pTests = tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
