/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If the keeper has a cgroup of its own, each worker gets a cgroup below it, with the limits that
 * the kernel has controllers for. At the end, all cgroups are as they were before. If the keeper
 * has no cgroup of its own, the log says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cgroup_limit.h"
#include "tests/standin/control_client.h"
#include "tests/standin/fixture.h"

static char base[128]; /* a cgroup that this test has made */

static const char *find_mount(void)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct statfs file_system;
    for (size_t i = 0; i < 2; i++) {
        if (statfs(places[i], &file_system) == 0 && file_system.f_type == CGROUP2_SUPER_MAGIC)
            return places[i];
    }
    return NULL;
}

static bool make_base(void)
{
    const char *mount = find_mount();
    snprintf(base, sizeof(base), "%s/bao-test-%d", mount ? mount : "", (int)getpid());
    if (mount && mkdir(base, 0755) == 0)
        return true;
    printf(" (no cgroup of version 2 can be made here: %s) ", strerror(errno));
    return false;
}

/* The cgroup of a process: the text after "0::". */
static void cgroup_of(pid_t pid, char ret[256])
{
    char path[64], line[512];
    ret[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        (void)!sscanf(line, "0::%255s", ret);
    if (file)
        fclose(file);
}

static void is_in(pid_t pid, const char *end)
{
    char wanted[128], found[256];
    snprintf(wanted, sizeof(wanted), "%s/%s", strrchr(base, '/'), end);
    cgroup_of(pid, found);
    size_t length = strlen(found), tail = strlen(wanted);
    bool ends = length >= tail && strcmp(found + length - tail, wanted) == 0;
    if (!ends)
        printf("\n%s is not in %s\n", found, wanted);
    CU_ASSERT_TRUE(ends);
}

static void is_there(const char *name, bool expected)
{
    char path[256];
    struct stat file;
    snprintf(path, sizeof(path), "%s/%s", base, name);
    CU_ASSERT_EQUAL(stat(path, &file) == 0, expected);
}

/* The control socket says the same as the log: of this worker and of its successors. */
static void status_tells(const struct fixture *fixture, bool has_one, uint32_t in_force)
{
    struct control_reply reply = {0};
    char path[160];
    snprintf(path, sizeof(path), "%s/control", fixture->dir);
    CU_ASSERT_EQUAL(control_client_ask(path, CONTROL_STATUS, 0, &reply), 0);
    CU_ASSERT(reply.device.pid > 0);
    CU_ASSERT_EQUAL(reply.device.cgroup, has_one ? CGROUP_OWN | in_force : 0);
}

/* Each limit either is in force, or the log says that it is missing. Returns those in force. */
static uint32_t limits_are_told(const struct fixture *fixture)
{
    uint32_t in_force = 0;
    static const char *const limits[] = {"memory.max", "pids.max", "cpu.weight"};
    char *log = fixture_log(fixture);
    const char *line = strstr(log, "each worker has a cgroup of its own, with: ");
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    const char *missing = strstr(line, "not available: "), *end = strchr(line, '\n');
    for (size_t i = 0; i < 3; i++) {
        char path[256], text[32] = "";
        snprintf(path, sizeof(path), "%s/workers/0/%s", base, limits[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        bool limited =
            fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strncmp(text, "max", 3) != 0;
        if (fd >= 0)
            close(fd);
        const char *at = strstr(line, limits[i]);
        CU_ASSERT_FATAL(at && at < end);
        CU_ASSERT_EQUAL(limited, !(missing && missing < end && at > missing));
        in_force |= limited ? 1u << i : 0;
    }
    free(log);
    return in_force;
}

static void each_worker_has_one(void)
{
    static const char *const enter[] = {"/bin/sh", "-c",
                                        "echo $$ >\"$0/cgroup.procs\"; exec \"$@\"", base, NULL};
    struct fixture fixture;
    if (!make_base())
        return;
    fixture_init(&fixture);
    fixture_configure_blocks(&fixture, 2);
    fixture.starter = enter;
    fixture.starter_in = STDIN_FILENO;
    fixture.starter_out = STDOUT_FILENO;
    fixture_start(&fixture, 2, 2);
    const uint32_t in_force = limits_are_told(&fixture);
    status_tells(&fixture, true, in_force);
    is_in(fixture.broker, "keeper");
    is_in(fixture.workers[0], "workers/0");
    is_in(fixture.workers[1], "workers/1");
    /* The next worker has one, too. So have the workers of another broker. */
    CU_ASSERT_EQUAL(kill(fixture.workers[1], SIGKILL), 0);
    is_in(fixture_wait_worker(&fixture, 1, fixture.workers[1]), "workers/1");
    CU_ASSERT_EQUAL(kill(fixture.broker, SIGKILL), 0);
    is_in(fixture_wait_broker(&fixture, fixture.broker), "keeper");
    is_in(fixture_wait_worker(&fixture, 0, fixture.workers[0]), "workers/0");
    uint64_t magic; /* when a register access is answered, the broker has taken the worker over */
    CU_ASSERT_EQUAL(standin_read(fixture.standin, 0, fixture_base(0), 4, &magic, 20000), 0);
    status_tells(&fixture, true, in_force);
    fixture_stop(&fixture);
    is_there("keeper", false);
    is_there("workers", false);
    CU_ASSERT_EQUAL(rmdir(base), 0);
    fixture_free(&fixture);
}

/* Other processes are in the keeper's cgroup, so it belongs to somebody else. */
static void a_shared_one_is_left_alone(void)
{
    static const char *const enter[] = {
        "/bin/sh", "-c", "echo $$ >\"$0/cgroup.procs\"; sleep 600 & exec \"$@\"", base, NULL};
    struct fixture fixture;
    if (!make_base())
        return;
    fixture_init(&fixture);
    fixture_configure_blocks(&fixture, 1);
    fixture.starter = enter;
    fixture.starter_in = STDIN_FILENO;
    fixture.starter_out = STDOUT_FILENO;
    fixture_start(&fixture, 1, 1);
    fixture_wait_logged(&fixture, "no worker has a cgroup of its own: its own has other processes",
                        5000);
    is_there("keeper", false);
    status_tells(&fixture, false, 0);
    char path[160], line[32];
    snprintf(path, sizeof(path), "%s/cgroup.procs", base);
    FILE *procs = fopen(path, "re");
    int sleeper = 0;
    while (procs && fgets(line, sizeof(line), procs)) {
        char exe[64], comm[32] = "";
        snprintf(exe, sizeof(exe), "/proc/%d/comm", atoi(line));
        FILE *file = fopen(exe, "re");
        if (file && fgets(comm, sizeof(comm), file) && strcmp(comm, "sleep\n") == 0)
            sleeper = atoi(line);
        if (file)
            fclose(file);
    }
    if (procs)
        fclose(procs);
    CU_ASSERT_FATAL(sleeper > 1);
    CU_ASSERT_EQUAL(kill(sleeper, SIGKILL), 0);
    fixture_stop(&fixture);
    for (int i = 0; i < 500 && rmdir(base) < 0; i++)
        usleep(10000);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"each worker has one", each_worker_has_one},
        {"a shared one is left alone", a_shared_one_is_left_alone},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "cgroups", tests);
}
