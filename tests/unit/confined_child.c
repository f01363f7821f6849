/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/confined_child.h"

#include <CUnit/CUnit.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct confined_child confined_child_start(bool (*confine)(void))
{
    int ends[2];
    char byte = 0;
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        if (confine() && write(ends[1], &byte, 1) == 1)
            (void)!read(ends[1], &byte, 1);
        _exit(1);
    }
    close(ends[1]); /* a child that ends early ends the wait */
    CU_ASSERT_EQUAL_FATAL(read(ends[0], &byte, 1), 1);
    return (struct confined_child){.pid = pid, .fd = ends[0]};
}

void confined_child_end(struct confined_child *child)
{
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
    close(child->fd);
}
