/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/means.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Files ---- */

void path_in(const struct cell *cell, const char *name, char ret[128])
{
    snprintf(ret, 128, "%s/%s", cell->fixture->dir, name);
}

void make_directory(const struct cell *cell, const char *name)
{
    char path[128];
    path_in(cell, name, path);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
}

void rename_in(const struct cell *cell, const char *from, const char *to)
{
    char old[128], new[128];
    path_in(cell, from, old);
    path_in(cell, to, new);
    CU_ASSERT_EQUAL_FATAL(rename(old, new), 0);
}

void remove_in(const struct cell *cell, const char *name)
{
    char path[128];
    path_in(cell, name, path);
    CU_ASSERT_EQUAL_FATAL(remove(path), 0);
}

void write_in(const struct cell *cell, const char *name, const char *text)
{
    char path[128];
    path_in(cell, name, path);
    FILE *file = fopen(path, "we");
    CU_ASSERT_FATAL(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

void truncate_in(const struct cell *cell, const char *name, off_t size)
{
    char path[128];
    path_in(cell, name, path);
    CU_ASSERT_EQUAL_FATAL(truncate(path, size), 0);
}

/* ---- The hanging file system ---- */

static void hang_with(struct cell *cell, const char *name, int fd)
{
    char path[128];
    make_directory(cell, "hang");
    path_in(cell, "hang", path);
    int r = hang_fs_start(path, &cell->hang);
    if (r == -ENOENT || r == -ENODEV || r == -ENXIO) {
        cell_lacks(cell, "/dev/fuse: modprobe fuse");
        return;
    }
    CU_ASSERT_EQUAL_FATAL(r, 0);
    CU_ASSERT_EQUAL_FATAL(hang_fs_add(cell->hang, name, fd), 0);
}

void hang_with_image(struct cell *cell)
{
    int fd = fixture_open(cell->fixture, "disk0.img");
    hang_with(cell, "disk.img", fd);
    close(fd);
}

/* The test reads the log without going through the file system. */
void hang_with_log(struct cell *cell)
{
    cell->subject.log = fixture_open(cell->fixture, "console.log");
    hang_with(cell, "console.log", cell->subject.log);
}

void hang_all(struct cell *cell)
{
    hang_fs_hang(cell->hang, HANG_ALL);
}

/* A process that has a file open can end. The process that takes over from it meets the hang. */
void hang_all_but_close(struct cell *cell)
{
    hang_fs_hang(cell->hang, HANG_ALL & ~HANG_FLUSH);
}

void hang_nothing(struct cell *cell)
{
    hang_fs_fail(cell->hang, HANG_ALL, 0);
    hang_fs_go_on(cell->hang);
}

void hang_end(struct cell *cell)
{
    char path[128];
    hang_loop_detach(&cell->loop);
    hang_fs_stop(cell->hang);
    path_in(cell, "hang", path);
    CU_ASSERT_EQUAL(rmdir(path), 0);
}

/* ---- The device model's own /dev ---- */

void in_mounts_of_keeper(const struct cell *cell, int (*action)(const char *path), const char *path)
{
    char namespace[64];
    int status = -1;
    snprintf(namespace, sizeof(namespace), "/proc/%d/ns/mnt", (int)pid_of(cell, KEEPER));
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(namespace, O_RDONLY | O_CLOEXEC);
        _exit(fd >= 0 && setns(fd, CLONE_NEWNS) == 0 && action(path) == 0 ? 0 : 1);
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_EQUAL_FATAL(status, 0);
}

int cover(const char *path)
{
    return mount("none", path, "tmpfs", 0, "size=4k");
}

int uncover(const char *path)
{
    return umount2(path, MNT_DETACH);
}

int remove_node(const char *path)
{
    return unlink(path);
}

int make_node_again(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : close(fd);
}

/* ---- Processes ---- */

pid_t pid_of(const struct cell *cell, enum process process)
{
    pid_t pid = -1;
    switch (process) {
    case WORKER:
        pid = fixture_worker(cell->fixture, 0);
        break;
    case BROKER:
        pid = standin_find_process(cell->fixture->standin, "bao-virtio-broker", 0);
        break;
    case KEEPER:
        pid = cell->is_managed ? fixture_managed_keeper(cell->fixture)
                               : standin_pid(cell->fixture->standin);
        break;
    }
    CU_ASSERT_FATAL(pid > 0);
    return pid;
}

void signal_to(const struct cell *cell, enum process process, int signal_number)
{
    CU_ASSERT_EQUAL_FATAL(kill(pid_of(cell, process), signal_number), 0);
}

/* The lowest free number: the next file would get it. */
static rlim_t first_free_fd(pid_t pid)
{
    char path[64];
    for (rlim_t fd = 0;; fd++) {
        struct stat file;
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)fd);
        if (lstat(path, &file) < 0)
            return fd;
    }
}

static void limit(struct cell *cell, pid_t pid, int resource, rlim_t soft)
{
    struct rlimit before, now;
    CU_ASSERT_EQUAL_FATAL(prlimit(pid, (enum __rlimit_resource)resource, NULL, &before), 0);
    now = (struct rlimit){soft, before.rlim_max};
    CU_ASSERT_EQUAL_FATAL(prlimit(pid, (enum __rlimit_resource)resource, &now, NULL), 0);
    /* The repair needs these: which limit of which process, and its old value. */
    cell->fds[0] = resource;
    cell->fds[1] = (int)pid;
    memcpy(&cell->fds[2], &before.rlim_cur, sizeof(before.rlim_cur));
}

void no_more_files(struct cell *cell, enum process process)
{
    const pid_t pid = pid_of(cell, process);
    limit(cell, pid, RLIMIT_NOFILE, first_free_fd(pid));
}

void no_more_memory(struct cell *cell, enum process process)
{
    limit(cell, pid_of(cell, process), RLIMIT_AS, 4096);
}

void limits_as_before(struct cell *cell)
{
    const enum __rlimit_resource resource = (enum __rlimit_resource)cell->fds[0];
    struct rlimit now;
    rlim_t before;
    memcpy(&before, &cell->fds[2], sizeof(before));
    if (prlimit((pid_t)cell->fds[1], resource, NULL, &now) < 0)
        return; /* the process has died, and its limit with it */
    now.rlim_cur = before;
    CU_ASSERT_EQUAL(prlimit((pid_t)cell->fds[1], resource, &now, NULL), 0);
}

/* ---- Control groups ---- */

static bool write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

static bool is_controlled(const struct cell *cell, const char *file)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/%s", cell->path, file);
    return access(path, W_OK) == 0;
}

/* In version 1 each controller has its own tree. */
static void group_path(const char *controller, pid_t pid, char ret[128])
{
    snprintf(ret, 128, "/sys/fs/cgroup/%s%sbao-faults-%d", controller,
             controller[0] == '\0' ? "" : "/", (int)pid);
}

void group_make(struct cell *cell, const char *controller)
{
    const char *const trees[] = {controller, ""};
    const char *file = strcmp(controller, "pids") == 0 ? "pids.max" : "memory.max";
    const char *old_file = strcmp(controller, "pids") == 0 ? "pids.max" : "memory.limit_in_bytes";
    for (unsigned int i = 0; i < 2; i++) {
        group_path(trees[i], getpid(), cell->path);
        if (mkdir(cell->path, 0755) < 0)
            continue;
        if (is_controlled(cell, file) || is_controlled(cell, old_file))
            return;
        rmdir(cell->path);
    }
    cell->path[0] = '\0';
    cell_lacks(cell, "a control group that can be made");
}

void group_remove_of(pid_t cell)
{
    static const char *const trees[] = {"pids", "memory", ""};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        group_path(trees[i], cell, path);
        for (unsigned int k = 0; k < 2000 && rmdir(path) < 0 && errno == EBUSY; k++)
            usleep(1000);
    }
}

static void move_to(const char *group, pid_t pid)
{
    char path[192], text[16];
    snprintf(path, sizeof(path), "%s/cgroup.procs", group);
    snprintf(text, sizeof(text), "%d", (int)pid);
    CU_ASSERT_TRUE_FATAL(write_to(path, text));
}

void group_enter(struct cell *cell, enum process process, const char *limit_text)
{
    static const char *const files[] = {"pids.max", "memory.max", "memory.limit_in_bytes"};
    CU_ASSERT_FATAL(cell->path[0] != '\0');
    move_to(cell->path, pid_of(cell, process));
    for (size_t i = 0; i < 3; i++) {
        char path[192];
        snprintf(path, sizeof(path), "%s/%s", cell->path, files[i]);
        if (access(path, W_OK) == 0) {
            CU_ASSERT_TRUE_FATAL(write_to(path, limit_text));
            return;
        }
    }
    CU_FAIL_FATAL("the control group has no limit");
}

/* The processes in it go to the group above. */
void group_leave(struct cell *cell)
{
    char path[192], parent[128];
    int pid;
    snprintf(parent, sizeof(parent), "%s", cell->path);
    *strrchr(parent, '/') = '\0';
    snprintf(path, sizeof(path), "%s/cgroup.procs", cell->path);
    for (unsigned int i = 0; i < 64; i++) {
        FILE *file = fopen(path, "re");
        const bool found = file && fscanf(file, "%d", &pid) == 1;
        char text[16], procs[160];
        if (file)
            fclose(file);
        if (!found)
            return;
        snprintf(text, sizeof(text), "%d", pid);
        snprintf(procs, sizeof(procs), "%s/cgroup.procs", parent);
        (void)write_to(procs, text); /* the process may be dying */
    }
}

void group_remove(struct cell *cell)
{
    group_leave(cell);
    for (unsigned int i = 0; i < 2000 && rmdir(cell->path) < 0; i++)
        usleep(1000); /* a dead process leaves a little later */
    CU_ASSERT(access(cell->path, F_OK) < 0);
}
