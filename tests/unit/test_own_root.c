/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root that a broker or a connector has after its lock-down: it holds the nodes of the
 * backends, or one directory of sockets, and nothing can be changed in it. No file leads out of it.
 * Each case is a process with a mount namespace of its own. Needs root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/backend/connector.h"
#include "broker/lockdown.h"
#include "broker/unix_socket.h"
#include "common/confine.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"

WRAPPED(int, unshare, (int flags), (flags))
WRAPPED(int, mount,
        (const char *source, const char *target, const char *type, unsigned long flags,
         const void *data),
        (source, target, type, flags, data))
WRAPPED(int, chdir, (const char *path), (path))
WRAPPED(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
WRAPPED(int, move_mount,
        (int from, const char *from_path, int to, const char *to_path, unsigned int flags),
        (from, from_path, to, to_path, flags))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
    return call_fails("open") ? -1 : __real_open(path, flags, 0600);
}

int __real_confine_change_root(void);
int __wrap_confine_change_root(void);

int __wrap_confine_change_root(void)
{
    return call_fails("confine_change_root") ? -errno : __real_confine_change_root();
}

/* ---- Landlock: only what is asked of it ---- */

static char asked[256];
static int begin_result, allow_result, enter_result;

static void ask(const char *words, const char *path)
{
    strcat(asked, words);
    strcat(asked, path);
    strcat(asked, " ");
}

int __wrap_confine_landlock_begin(struct landlock *ret);
int __wrap_confine_landlock_allow_node(const struct landlock *landlock, const char *path);
int __wrap_confine_landlock_allow_sockets(const struct landlock *landlock, const char *path);
int __wrap_confine_landlock_enter(struct landlock *landlock);
void __wrap_confine_landlock_drop(struct landlock *landlock);

int __wrap_confine_landlock_begin(struct landlock *ret)
{
    ask("begin", "");
    *ret = (struct landlock){.abi = 7, .ruleset = 33};
    return begin_result;
}

int __wrap_confine_landlock_allow_node(const struct landlock *landlock, const char *path)
{
    CU_ASSERT_EQUAL(landlock->ruleset, 33);
    ask("node:", path);
    return allow_result;
}

int __wrap_confine_landlock_allow_sockets(const struct landlock *landlock, const char *path)
{
    CU_ASSERT_EQUAL(landlock->ruleset, 33);
    ask("sockets:", path);
    return allow_result;
}

int __wrap_confine_landlock_enter(struct landlock *landlock)
{
    CU_ASSERT_EQUAL(landlock->ruleset, 33);
    ask("enter", "");
    return enter_result;
}

void __wrap_confine_landlock_drop(struct landlock *landlock)
{
    CU_ASSERT_EQUAL(landlock->ruleset, 33);
    ask("drop", "");
}

/* ---- The devices ---- */

#define DEVICES 5

static const struct backend_ops with_null = {.node = "/dev/null", .node_in_root = "/first"},
                                with_zero = {.node = "/dev/zero", .node_in_root = "/second"},
                                absent = {.node = "/dev/absent", .node_in_root = "/third"}, none;
static struct device_config configs[DEVICES] = {{.kind = DEVICE_NET_VHOST},
                                                {.kind = DEVICE_NET_VHOST},
                                                {.kind = DEVICE_RNG_VIRTIO},
                                                {.kind = DEVICE_VSOCK_VHOST},
                                                {.kind = DEVICE_BLOCK_VIRTIO}};
static struct device devices[DEVICES + 1]; /* the last one is not there */
static struct supervisor supervisor;
static char dir[] = "/tmp/bao-own-root-XXXXXX";
static int listener = -1;

static struct lockdown of_broker(void)
{
    static const struct backend_ops *const ops[DEVICES] = {&with_null, &with_null, &none,
                                                           &with_zero, &absent};
    memset(devices, 0x5a, sizeof(devices));
    for (size_t i = 0; i < DEVICES; i++)
        devices[i] = (struct device){.config = &configs[i], .backend = {.ops = ops[i]}};
    supervisor = (struct supervisor){.devices = devices, .device_count = DEVICES};
    return (struct lockdown){.supervisor = &supervisor};
}

/* ---- What a process finds ---- */

struct found {
    int result;
    int more_files; /* than before */
    char entries[128], cwd[16];
    unsigned long flags, directory_flags;
    mode_t mode;
    int make, node, node_type; /* 0, or -errno */
    int connect, connect_by_link, make_socket;
};

static int open_files(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int try(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int try_connect(const char *path)
{
    int fd = unix_connect(path, SOCK_STREAM);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_root(char *ret, size_t size)
{
    char *names[16];
    size_t count = 0;
    DIR *root = opendir("/");
    for (struct dirent *entry; root && (entry = readdir(root)) && count < 16;) {
        if (entry->d_name[0] != '.')
            names[count++] = strdup(entry->d_name);
    }
    if (root)
        closedir(root);
    qsort(names, count, sizeof(names[0]), compare);
    for (size_t i = 0; i < count; i++)
        snprintf(ret + strlen(ret), size - strlen(ret), "%s ", names[i]);
}

static void look(struct found *ret)
{
    struct statvfs root;
    struct stat file;
    list_root(ret->entries, sizeof(ret->entries));
    if (!getcwd(ret->cwd, sizeof(ret->cwd)))
        strcpy(ret->cwd, "?");
    if (statvfs("/", &root) == 0)
        ret->flags = root.f_flag;
    if (stat("/", &file) == 0)
        ret->mode = file.st_mode & 07777;
    ret->make = try("/new", O_WRONLY | O_CREAT);
    ret->node = try("/first", O_RDWR);
    ret->node_type = stat("/first", &file) == 0 ? (int)file.st_rdev : -1;
    if (statvfs(CONNECTOR_DIRECTORY, &root) == 0)
        ret->directory_flags = root.f_flag;
    ret->connect = try_connect(CONNECTOR_DIRECTORY "/socket");
    ret->connect_by_link = try_connect(CONNECTOR_DIRECTORY "/link");
    ret->make_socket = try(CONNECTOR_DIRECTORY "/new", O_WRONLY | O_CREAT);
}

static void child(struct lockdown *lockdown, bool frees_0, int pipe_end)
{
    struct found found = {0};
    int before = open_files() - frees_0;
    if (frees_0 && lockdown->supervisor) {
        close(0);
    } else if (frees_0) {
        dup2(lockdown->directory, 0);
        close(lockdown->directory);
        lockdown->directory = 0;
    }
    errno = EXDEV; /* of an earlier call */
    found.result =
        lockdown->supervisor ? lockdown_own_root(lockdown) : lockdown_connector_root(lockdown);
    found.more_files = open_files() - before;
    if (found.result == 0)
        look(&found);
    _exit(write(pipe_end, &found, sizeof(found)) == (ssize_t)sizeof(found) ? 0 : 1);
}

static struct found after(struct lockdown lockdown, bool frees_0)
{
    struct found found = {.result = -EPIPE};
    int pipes[2], status = -1;
    CU_ASSERT_EQUAL_FATAL(pipe2(pipes, O_CLOEXEC), 0);
    pid_t pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0)
        child(&lockdown, frees_0, pipes[1]);
    close(pipes[1]);
    CU_ASSERT_EQUAL(read(pipes[0], &found, sizeof(found)), (ssize_t)sizeof(found));
    close(pipes[0]);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL(status, 0);
    return found;
}

static struct lockdown of_connector(void)
{
    return (struct lockdown){.directory =
                                 open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)};
}

static struct found after_connector_s(bool frees_0)
{
    struct lockdown lockdown = of_connector();
    CU_ASSERT_FATAL(lockdown.directory >= 0);
    struct found found = after(lockdown, frees_0);
    close(lockdown.directory);
    return found;
}

/* ---- Cases ---- */

#define FLAGS (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC)

static void a_broker_s_root_holds_its_nodes(void)
{
    struct stat null;
    CU_ASSERT_EQUAL(stat("/dev/null", &null), 0);
    for (unsigned int frees_0 = 0; frees_0 < 2; frees_0++) {
        const struct found found = after(of_broker(), frees_0);
        CU_ASSERT_EQUAL(found.result, 0);
        CU_ASSERT_STRING_EQUAL(found.entries, "first second "); /* one is absent */
        CU_ASSERT_STRING_EQUAL(found.cwd, "/");
        CU_ASSERT_EQUAL(found.flags & FLAGS, FLAGS);
        CU_ASSERT_EQUAL(found.mode, 0555);
        CU_ASSERT_EQUAL(found.make, -EROFS);
        CU_ASSERT_EQUAL(found.node, 0);
        CU_ASSERT_EQUAL(found.node_type, (int)null.st_rdev);
        CU_ASSERT_EQUAL(found.more_files, 0);
    }
}

static void a_connector_s_root_holds_its_sockets(void)
{
    for (unsigned int frees_0 = 0; frees_0 < 2; frees_0++) {
        const struct found found = after_connector_s(frees_0);
        CU_ASSERT_EQUAL(found.result, 0);
        CU_ASSERT_STRING_EQUAL(found.entries, "sockets ");
        CU_ASSERT_STRING_EQUAL(found.cwd, "/");
        CU_ASSERT_EQUAL(found.flags & FLAGS, FLAGS);
        CU_ASSERT_EQUAL(found.directory_flags & FLAGS, FLAGS);
        CU_ASSERT_EQUAL(found.make, -EROFS);
        CU_ASSERT_EQUAL(found.make_socket, -EROFS);
        CU_ASSERT_EQUAL(found.connect, 0);
        CU_ASSERT_EQUAL(found.connect_by_link, -ELOOP);
        CU_ASSERT_EQUAL(found.more_files, -1); /* its directory is in the root now */
    }
}

struct failure_row {
    const char *call;
    unsigned int later;
};

static void fails_with(const struct failure_row *row, bool connector)
{
    fail_once(row->call, EIO, row->later);
    const struct found found = connector ? after_connector_s(false) : after(of_broker(), false);
    failing.call = NULL;
    if (found.result != -EIO)
        fprintf(stderr, "\n%s, %u calls later: %d\n", row->call, row->later, found.result);
    CU_ASSERT_EQUAL(found.result, -EIO);
}

/* Whichever step fails: the process must not go on in a root that is half made. */
static void each_step_that_fails_is_an_error(void)
{
    static const struct failure_row of_both[] = {{"unshare", 0},    {"mount", 0},
                                                 {"mount", 1},      {"chdir", 0},
                                                 {"move_mount", 0}, {"confine_change_root", 0},
                                                 {"chdir", 1}};
    static const struct failure_row of_one[] = {
        {"open", 0}, {"open", 1}, {"move_mount", 1}, {"mount", 2}};
    static const struct failure_row of_other[] = {
        {"mkdirat", 0}, {"mount", 2}, {"mount", 3}, {"mount", 4}};
    for (size_t i = 0; i < sizeof(of_both) / sizeof(of_both[0]); i++) {
        fails_with(&of_both[i], false);
        fails_with(&of_both[i], true);
    }
    for (size_t i = 0; i < 4; i++) {
        fails_with(&of_one[i], false);
        fails_with(&of_other[i], true);
    }
}

/* No number says that it failed, but a negative one. */
static void a_mount_point_may_have_the_number_0(void)
{
    gives_0 = "open"; /* in the process */
    const struct found found = after(of_broker(), false);
    gives_0 = NULL;
    CU_ASSERT_EQUAL(found.result, 0);
    CU_ASSERT_STRING_EQUAL(found.entries, "first second ");
    CU_ASSERT_EQUAL(found.more_files, 0);
}

static void two_nodes_have_two_names(void)
{
    struct backend_ops same = with_zero;
    struct lockdown lockdown = of_broker();
    same.node_in_root = with_null.node_in_root;
    devices[3].backend.ops = &same;
    CU_ASSERT_EQUAL(after(lockdown, false).result, -EEXIST);
}

static const char *landlock(struct lockdown *lockdown, int expected)
{
    asked[0] = '\0';
    CU_ASSERT_EQUAL(lockdown_landlock(lockdown), expected);
    return asked;
}

static void landlock_allows_what_is_needed(void)
{
    struct lockdown lockdown = of_broker();
    CU_ASSERT_STRING_EQUAL(landlock(&lockdown, 0),
                           "begin node:/first node:/second node:/third enter ");
    CU_ASSERT_EQUAL(lockdown.landlock_abi, 7);
    lockdown = (struct lockdown){.directory = 5};
    CU_ASSERT_STRING_EQUAL(landlock(&lockdown, 0), "begin sockets:/sockets enter ");
    CU_ASSERT_EQUAL(lockdown.landlock_abi, 7);
}

static void without_landlock_it_goes_on(void)
{
    struct lockdown lockdown = of_broker();
    begin_result = -EOPNOTSUPP;
    CU_ASSERT_STRING_EQUAL(landlock(&lockdown, 0), "begin ");
    CU_ASSERT_EQUAL(lockdown.landlock_abi, 0);
    begin_result = 0;
}

static void a_failure_of_landlock_is_an_error(void)
{
    struct lockdown lockdown = of_broker();
    begin_result = -EIO;
    CU_ASSERT_STRING_EQUAL(landlock(&lockdown, -EIO), "begin ");
    begin_result = 0;
    allow_result = -EIO;
    CU_ASSERT_STRING_EQUAL(landlock(&lockdown, -EIO), "begin node:/first drop ");
    struct lockdown connector = {.directory = 5};
    CU_ASSERT_STRING_EQUAL(landlock(&connector, -EIO), "begin sockets:/sockets drop ");
    allow_result = 0;
    enter_result = -ENOTRECOVERABLE;
    CU_ASSERT_STRING_EQUAL(landlock(&lockdown, -ENOTRECOVERABLE),
                           "begin node:/first node:/second node:/third enter ");
    CU_ASSERT_EQUAL(lockdown.landlock_abi, 0);
    enter_result = 0;
}

static int make_directory(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char link[64];
    if (!mkdtemp(dir))
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
    snprintf(link, sizeof(link), "%s/link", dir);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                   listen(listener, 8) == 0 && symlink("socket", link) == 0
               ? 0
               : -1;
}

static int remove_directory(void)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/socket", dir);
    int result = unlink(path);
    snprintf(path, sizeof(path), "%s/link", dir);
    return result | unlink(path) | rmdir(dir) | close(listener);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a broker's root holds its nodes", a_broker_s_root_holds_its_nodes},
        {"a connector's root holds its sockets", a_connector_s_root_holds_its_sockets},
        {"each step that fails is an error", each_step_that_fails_is_an_error},
        {"a mount point may have the number 0", a_mount_point_may_have_the_number_0},
        {"two nodes have two names", two_nodes_have_two_names},
        {"Landlock allows what is needed", landlock_allows_what_is_needed},
        {"without Landlock it goes on", without_landlock_it_goes_on},
        {"a failure of Landlock is an error", a_failure_of_landlock_is_an_error},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"own root", make_directory, remove_directory, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
