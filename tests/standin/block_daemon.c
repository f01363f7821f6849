/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/block_daemon.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000
#define PATH_SIZE 128

static void socket_path(const struct fixture *fixture, char ret[PATH_SIZE])
{
    snprintf(ret, PATH_SIZE, "%s/blk.sock", fixture->dir);
}

pid_t block_daemon_start(const struct fixture *fixture, const char *image,
                         const char *const options[])
{
    char socket[PATH_SIZE], path[PATH_SIZE];
    char *argv[4 + BLOCK_DAEMON_OPTIONS_MAX] = {(char *)"vhost-user-daemon", socket, path};
    for (unsigned int i = 0; options && i < BLOCK_DAEMON_OPTIONS_MAX && options[i]; i++)
        argv[3 + i] = (char *)options[i];
    socket_path(fixture, socket);
    snprintf(path, sizeof(path), "%s/%s", fixture->dir, image);
    pid_t pid = fork();
    if (pid == 0) {
        execv(DAEMON, argv);
        _exit(127);
    }
    CU_ASSERT_FATAL(pid > 0);
    return pid;
}

void block_daemon_wait(const struct fixture *fixture)
{
    char path[PATH_SIZE];
    socket_path(fixture, path);
    for (unsigned int i = 0; i < WAIT_MS && access(path, F_OK) < 0; i++)
        usleep(1000);
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
}

void block_daemon_kill(pid_t pid)
{
    int status = 0;
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
