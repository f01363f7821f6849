/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connector is locked down, with a mount of its directory and without the directory itself,
 * before it serves anything. Then it serves whenever the broker asks, until the broker has gone.
 * The lock-down and the broker are this test.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "broker/connector_process.h"
#include "broker/lockdown.h"
#include "tests/cunit_main.h"

#define SOCKET 700

static int directory;
static int tree;            /* the mount that is made of the directory */
static int lockdown_result; /* of the lock-down */
static unsigned int mounts, lockdowns, serves, polls;
static unsigned int serves_most;

int __wrap_open_tree(int at, const char *path, unsigned int flags);

int __wrap_open_tree(int at, const char *path, unsigned int flags)
{
    mounts++;
    CU_ASSERT_EQUAL(at, directory);
    CU_ASSERT_STRING_EQUAL(path, "");
    CU_ASSERT_EQUAL(flags, AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    errno = EPERM;
    return tree;
}

int lockdown_enter_connector(struct lockdown *lockdown, const char **ret_step)
{
    lockdowns++;
    CU_ASSERT_EQUAL(mounts, 1);
    CU_ASSERT_EQUAL(lockdown->directory, tree);
    CU_ASSERT_PTR_NULL(lockdown->supervisor);
    CU_ASSERT_EQUAL(fcntl(directory, F_GETFD), -1); /* nobody gets out of the root by it */
    CU_ASSERT_EQUAL(serves, 0);
    *ret_step = "do it";
    return lockdown_result;
}

bool __wrap_connector_serve(int socket);

bool __wrap_connector_serve(int socket)
{
    CU_ASSERT_EQUAL(socket, SOCKET);
    CU_ASSERT_EQUAL(lockdowns, 1);
    CU_ASSERT_EQUAL(polls, serves); /* it waits before it is asked again */
    return ++serves < serves_most;
}

int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms);

int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms)
{
    if (++polls > 100)
        abort(); /* it does not end */
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_EQUAL(files->fd, SOCKET);
    CU_ASSERT_EQUAL(files->events, POLLIN);
    CU_ASSERT(timeout_ms < 0);
    return 1;
}

static int runs(int its_tree, int its_lockdown, unsigned int its_serves)
{
    char name[16], before[16];
    mounts = lockdowns = serves = polls = 0;
    tree = its_tree;
    lockdown_result = its_lockdown;
    serves_most = its_serves;
    directory = open("/", O_PATH | O_CLOEXEC);
    CU_ASSERT_FATAL(directory >= 0);
    CU_ASSERT_EQUAL(prctl(PR_GET_NAME, before), 0);
    int status = connector_run(SOCKET, directory);
    CU_ASSERT_EQUAL(prctl(PR_GET_NAME, name), 0);
    CU_ASSERT_STRING_EQUAL(name, "bao-connector"); /* a user sees it */
    CU_ASSERT_EQUAL(prctl(PR_SET_NAME, before), 0);
    CU_ASSERT_PTR_EQUAL(signal(SIGPIPE, SIG_DFL), SIG_IGN); /* a broker that has gone is no end */
    CU_ASSERT_EQUAL(fcntl(directory, F_GETFD), -1);
    return status;
}

static void it_serves_until_its_broker_has_gone(void)
{
    CU_ASSERT_EQUAL(runs(600, 0, 3), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(serves, 3);
    CU_ASSERT_EQUAL(polls, 2);
    CU_ASSERT_EQUAL(runs(0, 0, 1), EXIT_SUCCESS); /* a file like any other */
    CU_ASSERT_EQUAL(serves, 1);
    CU_ASSERT_EQUAL(polls, 0);
}

static void without_its_lock_down_it_serves_nothing(void)
{
    CU_ASSERT_EQUAL(runs(-1, 0, 3), EXIT_FAILURE);
    CU_ASSERT_EQUAL(lockdowns + serves, 0);
    CU_ASSERT_EQUAL(runs(600, -EPERM, 3), EXIT_FAILURE);
    CU_ASSERT_EQUAL(lockdowns, 1);
    CU_ASSERT_EQUAL(serves, 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it serves until its broker has gone", it_serves_until_its_broker_has_gone},
        {"without its lock-down it serves nothing", without_its_lock_down_it_serves_nothing},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "connector process", tests);
}
