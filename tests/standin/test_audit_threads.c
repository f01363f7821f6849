/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-seccomp verify looks at each thread. It finds a thread that has another filter or another
 * capability than the main thread. Threads that come and go during the audit are not reported as
 * wrong.
 *
 * The threads belong to this program, which starts itself again under the name of a broker. No
 * keeper has started it, so much else is wrong with it. The tests look only at what is said about
 * threads.
 */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/audit_session.h"
#include "tests/standin/fixture.h"

#define IMPOSTOR "--impostor" /* runs this program as a broker that nobody has confined */
#define STACKED 2u            /* filters of the impostor's main thread */

static char folder[] = "/tmp/test-audit-threads-XXXXXX";

/* ---- The impostor ---- */

enum tampering { NOTHING, ANOTHER_FILTER, OTHER_ORDER, NO_CAPABILITY, COMING_AND_GOING };

static pthread_barrier_t prepared;
static enum tampering tampering;

/* A filter that allows everything. The length tells one such filter from another. */
static void load_filter(unsigned short length)
{
    struct sock_filter filter[8];
    const struct sock_fprog program = {.len = length, .filter = filter};
    for (unsigned short i = 0; i < length; i++)
        filter[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        _exit(3);
}

static void drop_capability(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0)
        _exit(3);
    data[0].effective &= ~(1u << CAP_CHOWN);
    if (syscall(SYS_capset, &header, data) != 0)
        _exit(3);
}

static void *thread(void *unused)
{
    if (tampering == OTHER_ORDER) {
        load_filter(2);
        load_filter(1);
    }
    pthread_barrier_wait(&prepared); /* the main thread loads its filters in its own order */
    if (tampering == ANOTHER_FILTER)
        load_filter(5);
    if (tampering == NO_CAPABILITY)
        drop_capability();
    pthread_barrier_wait(&prepared);
    pause();
    return unused;
}

static void *short_lived(void *unused)
{
    usleep(300);
    return unused;
}

/* Prints "ready" on stdout when the audit may look. */
static int run_impostor(const char *which)
{
    pthread_t id;
    tampering = (enum tampering)atoi(which);
    pthread_barrier_init(&prepared, NULL, 2);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* OTHER_ORDER: each thread loads the two filters itself. Otherwise the second thread inherits
     * them. */
    if (tampering != OTHER_ORDER) {
        load_filter(1);
        load_filter(2);
    }
    if (pthread_create(&id, NULL, thread, NULL) != 0)
        return 3;
    pthread_barrier_wait(&prepared);
    if (tampering == OTHER_ORDER) {
        load_filter(1);
        load_filter(2);
    }
    pthread_barrier_wait(&prepared);
    if (write(STDOUT_FILENO, "ready", 5) != 5)
        return 3;
    while (tampering == COMING_AND_GOING) {
        if (pthread_create(&id, NULL, short_lived, NULL) != 0)
            return 3;
        pthread_detach(id);
        usleep(200);
    }
    pause();
    return 0;
}

/* ---- What the audit says of it ---- */

static pid_t start(enum tampering which)
{
    char path[128], command[256], number[8], word[5];
    int pipes[2];
    snprintf(path, sizeof(path), "%s/bao-virtio-broker", folder);
    snprintf(command, sizeof(command), "cp /proc/%d/exe '%s'", (int)getpid(), path);
    snprintf(number, sizeof(number), "%d", (int)which);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        execl(path, path, IMPOSTOR, number, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    CU_ASSERT_EQUAL_FATAL(read(pipes[0], word, sizeof(word)), (ssize_t)sizeof(word));
    close(pipes[0]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
}

/* Asserts what the audit says of the second thread. `expected`: the end of its row; NULL: there is
 * no row. */
static void expect(enum tampering which, const char *expected)
{
    pid_t pid = start(which);
    CU_ASSERT_EQUAL(audit_run("verify %d", pid), 1);
    if (expected) {
        CU_ASSERT(audit_says("  WRONG  thread "));
        CU_ASSERT(audit_says(expected));
        CU_ASSERT(audit_says("  WRONG  threads so confined     1\n"));
    } else {
        CU_ASSERT_PTR_NULL(strstr(audit_answer, "WRONG  thread"));
        CU_ASSERT(audit_says("  ok     threads so confined     2\n"));
    }
    end(pid);
}

static void threads_that_are_alike_are_good(void)
{
    expect(NOTHING, NULL);
}

static void a_filter_more_in_one_thread_is_found(void)
{
    expect(ANOTHER_FILTER, "3 filters, of which the first 2 are the same\n");
}

static void the_same_filters_in_another_order_are_found(void)
{
    expect(OTHER_ORDER, "2 filters, of which the first 0 are the same\n");
}

static void another_capability_in_one_thread_is_found(void)
{
    expect(NO_CAPABILITY, ", as of the main thread\n");
    pid_t pid = start(NO_CAPABILITY);
    CU_ASSERT_EQUAL(audit_run("verify %d", pid), 1);
    CU_ASSERT(audit_says("expected: CapEff "));
    end(pid);
}

static void threads_that_come_and_go_are_not_wrong(void)
{
    pid_t pid = start(COMING_AND_GOING);
    for (unsigned int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(audit_run("verify %d", pid), 1);
        CU_ASSERT_PTR_NULL(strstr(audit_answer, "WRONG  thread"));
        CU_ASSERT(audit_says("  ok     threads so confined "));
    }
    end(pid);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], IMPOSTOR) == 0)
        return run_impostor(argv[2]);
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    CU_TestInfo tests[] = {
        {"threads that are alike are good", threads_that_are_alike_are_good},
        {"a filter more in one thread is found", a_filter_more_in_one_thread_is_found},
        {"the same filters in another order are found",
         the_same_filters_in_another_order_are_found},
        {"another capability in one thread is found", another_capability_in_one_thread_is_found},
        {"threads that come and go are not wrong", threads_that_come_and_go_are_not_wrong},
        CU_TEST_INFO_NULL,
    };
    int status = fixture_main(argc, argv, "bao-seccomp on threads", tests);
    char path[128];
    snprintf(path, sizeof(path), "%s/bao-virtio-broker", folder);
    unlink(path);
    rmdir(folder);
    return status;
}
