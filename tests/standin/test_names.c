/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and links. Two guests never meet through the name of a file, whatever links lead to it. A
 * user other than root who owns a directory of sockets, images or logs can't make them lead
 * elsewhere.
 *
 * The fixture's directory is below /tmp, where everybody may write. OWN belongs to root.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/vsock_fixture.h"

#define OWN FIXTURE_OWN
#define EXIT_MS 8000

#define DEVICE(id, type, plane, addr)                                                              \
    "  - id: " id "\n    type: " type "\n    data_plane: " plane "\n    mmio_addr: " addr "\n"
#define FIRST(type, plane) "devices:\n" DEVICE("0", type, plane, "0xa003e00") /* keys: line 6 */
#define SECOND(type, plane) DEVICE("1", type, plane, "0xa004000")

static void path_in(const struct fixture *fixture, const char *name, char ret[128])
{
    snprintf(ret, 128, "%s/%s", fixture->dir, name);
}

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* The device model ends by itself, after it has said each of these words. */
static void assert_refused(struct fixture *fixture, unsigned int devices, const char *const *words)
{
    fixture_start(fixture, devices, 0);
    fixture_assert_start_fails(fixture, EXIT_MS);
    for (; *words; words++)
        fixture_assert_logged(fixture, *words);
    fixture_stop_failed(fixture);
}

/* ---- What two devices have in common ---- */

static void one_image_by_two_names(void)
{
    struct fixture fixture;
    char path[128];
    fixture_init(&fixture);
    path_in(&fixture, "disk.img", path);
    fixture_make_image(&fixture, "disk.img", 64);
    CU_ASSERT_EQUAL(symlink(path, OWN "/link.img"), 0);
    fixture_configure(&fixture, FIRST("block", "virtio") "    file_path: \"@/disk.img\"\n" SECOND(
                                    "block", "virtio") "    file_path: " OWN "/link.img\n");
    assert_refused(
        &fixture, 2,
        (const char *[]){
            "block 1: ", fixture_line(&fixture, 11, 1, "16: this image is also that of block 0, "),
            "config.yaml:6:16:", "choose another, or read_only: true for both", NULL});
    /* Both devices may read it. */
    fixture_configure(
        &fixture,
        FIRST("block", "virtio") "    file_path: \"@/disk.img\"\n    read_only: true\n" SECOND(
            "block", "virtio") "    file_path: " OWN "/link.img\n    read_only: true\n");
    fixture_start(&fixture, 2, 2);
    fixture_stop(&fixture);
    unlink(OWN "/link.img");
    fixture_free(&fixture);
}

#define VSOCK                                                                                      \
    FIRST("vsock", "virtio")                                                                       \
    "    guest_cid: 3\n    socket_path: \"@/guest\"\n"

/* The path contains a link that belongs to root. The text of the paths does not show where it
 * leads. */
static void a_port_is_another_devices_socket(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL(symlink(fixture.dir, OWN "/sockets"), 0);
    fixture_configure(&fixture, VSOCK SECOND("console", "virtio") "    socket_path: " OWN
                                                                  "/sockets/guest_1\n");
    assert_refused(
        &fixture, 2,
        (const char *[]){"console 1: ",
                         fixture_line(&fixture, 12, 1, "18: this stands for the name \"guest_1\""),
                         "vsock 0, ", "config.yaml:7:18:", NULL});
    fixture_configure(&fixture, FIRST("vsock", "virtio") "    guest_cid: 3\n    socket_path: " OWN
                                                         "/sockets/guest\n");
    fixture.control_name = "guest_7";
    assert_refused(&fixture, 1,
                   (const char *[]){"config.yaml:7:18: this stands for the name \"guest_7\"",
                                    "that of the control socket (--control): choose", NULL});
    unlink(OWN "/sockets");
    fixture_free(&fixture);
}

/* --check-config and a start say the same, as far as the text of the configuration tells. */
static void the_control_socket_is_no_devices(void)
{
    struct fixture fixture;
    char config[128], control[128];
    fixture_init(&fixture);
    fixture_configure(&fixture, VSOCK);
    path_in(&fixture, "config.yaml", config);
    path_in(&fixture, "guest_52", control);
    for (unsigned int taken = 0; taken < 2; taken++) {
        if (taken == 0)
            path_in(&fixture, "control", control);
        else
            path_in(&fixture, "guest_52", control);
        fixture.log_fd = fixture_open(&fixture, "log");
        pid_t pid = fork();
        if (pid == 0) {
            dup2(fixture.log_fd, STDERR_FILENO);
            dup2(fixture.log_fd, STDOUT_FILENO);
            execl(PROGRAM_DIR "/bao-virtio-dm", "bao-virtio-dm", "--config", config, "--control",
                  control, "--check-config", NULL);
            _exit(127);
        }
        int status = 0;
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == (int)taken);
        fixture_assert_logged(&fixture, taken == 0 ? ": ok, 1 device" : "and the control socket");
        close(fixture.log_fd);
    }
    fixture.control_name = "guest_52";
    assert_refused(&fixture, 1, (const char *[]){"config.yaml:7:18: socket_path", NULL});
    fixture_free(&fixture);
}

/* ---- Links that the owner of a directory makes ---- */

/* A guest's output would be appended to a file of the system. */
static void a_log_that_leads_elsewhere(void)
{
    struct fixture fixture;
    char log[128], other[128];
    struct stat status;
    for (unsigned int hard = 0; hard < 2; hard++) {
        fixture_init(&fixture);
        path_in(&fixture, "guest.log", log);
        path_in(&fixture, "passwd", other);
        make_file(other, "root\n");
        CU_ASSERT_EQUAL(hard ? link(other, log) : symlink(other, log), 0);
        fixture_configure(&fixture, FIRST("console", "virtio") "    log_path: \"@/guest.log\"\n");
        assert_refused(&fixture, 1,
                       (const char *[]){"console 0: ", "config.yaml:6:15: log file \"",
                                        hard ? "hard links" : "\"guest.log\" is a link", NULL});
        CU_ASSERT(stat(other, &status) == 0 && status.st_size == 5);
        fixture_free(&fixture);
    }
}

static void an_image_that_leads_elsewhere(void)
{
    struct fixture fixture;
    char link[128];
    fixture_init(&fixture);
    path_in(&fixture, "disk.img", link);
    fixture_make_image(&fixture, "other.img", 64);
    CU_ASSERT_EQUAL(symlink("other.img", link), 0);
    fixture_configure(&fixture, FIRST("block", "virtio") "    file_path: \"@/disk.img\"\n");
    assert_refused(&fixture, 1,
                   (const char *[]){"config.yaml:6:16: image \"", "\"disk.img\" is a link", NULL});
    fixture_free(&fixture);
}

/* A link or a socket would be made in a directory of root. */
static void a_directory_that_leads_elsewhere(void)
{
    static const char *const keys[] = {"pty_alias", "socket_path"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture fixture;
        char folder[128], yaml[512];
        struct stat status;
        fixture_init(&fixture);
        path_in(&fixture, "folder", folder);
        CU_ASSERT_EQUAL(symlink(OWN, folder), 0);
        snprintf(yaml, sizeof(yaml), FIRST("console", "virtio") "    %s: \"@/folder/made\"\n",
                 keys[i]);
        fixture_configure(&fixture, yaml);
        assert_refused(&fixture, 1, (const char *[]){keys[i], "\"folder\" is a link", NULL});
        CU_ASSERT(lstat(OWN "/made", &status) < 0 && errno == ENOENT);
        fixture_free(&fixture);
    }
}

/* While the device model runs: a port's name becomes a link to another's socket. */
static void a_port_that_leads_elsewhere(void)
{
    struct vsock_fixture test;
    char link[128];
    vsock_start(&test);
    int other = host_listen(&test, "other", SOCK_STREAM);
    path_in(&test.fixture, "v.sock_4711", link);
    CU_ASSERT_EQUAL(symlink("other", link), 0);
    struct guest_socket *socket = guest_vsock_connect(&test.vsock, STREAM, 4711);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, socket, WAIT_MS), SOCKET_RESET);
    CU_ASSERT(accept4(other, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) < 0 && errno == EAGAIN);
    /* Under its own name, the socket is accepted. */
    CU_ASSERT_EQUAL(unlink(link), 0);
    int port = host_listen(&test, "v.sock_4711", SOCK_STREAM);
    socket = guest_vsock_connect(&test.vsock, STREAM, 4711);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, socket, WAIT_MS), SOCKET_CONNECTED);
    close(port);
    close(other);
    vsock_stop(&test, false);
}

/* The same with a daemon's socket: the daemon would get the frontend's memory. */
static void a_daemon_that_leads_elsewhere(void)
{
    struct vsock_fixture test = {.server = -1};
    char link[128];
    fixture_init(&test.fixture);
    int other = host_listen(&test, "other", SOCK_STREAM);
    path_in(&test.fixture, "fs.sock", link);
    CU_ASSERT_EQUAL(symlink("other", link), 0);
    fixture_configure(&test.fixture, FIRST("fs", "vhost_user") "    socket_path: \"@/fs.sock\"\n");
    fixture_start(&test.fixture, 1, 0);
    fixture_wait_logged(&test.fixture, "waits for the daemon at", WAIT_MS);
    CU_ASSERT(accept4(other, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) < 0 && errno == EAGAIN);
    close(other);
    fixture_stop(&test.fixture);
    fixture_free(&test.fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"one image by two names", one_image_by_two_names},
        {"a port is another device's socket", a_port_is_another_devices_socket},
        {"the control socket is no device's", the_control_socket_is_no_devices},
        {"a log that leads elsewhere", a_log_that_leads_elsewhere},
        {"an image that leads elsewhere", an_image_that_leads_elsewhere},
        {"a directory that leads elsewhere", a_directory_that_leads_elsewhere},
        {"a port that leads elsewhere", a_port_that_leads_elsewhere},
        {"a daemon that leads elsewhere", a_daemon_that_leads_elsewhere},
        CU_TEST_INFO_NULL,
    };
    if (!fixture_own_directory())
        return EXIT_FAILURE;
    return fixture_main(argc, argv, "names and links", tests);
}
