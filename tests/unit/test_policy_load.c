/* SPDX-License-Identifier: Apache-2.0 */
/* A policy is found by its name, and loaded for the threads for which it is meant. */
#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/policy.h"
#include "tests/cunit_main.h"

static void test_find(void)
{
    const struct policy_program *keeper = policy_find("keeper"), *broker = policy_find("broker");
    CU_ASSERT_FATAL(keeper && broker && keeper != broker);
    CU_ASSERT_STRING_EQUAL(keeper->name, "keeper");
    CU_ASSERT_STRING_EQUAL(broker->name, "broker");
    CU_ASSERT_PTR_NULL(policy_find("broke"));
    CU_ASSERT_PTR_NULL(policy_find("brokers"));
    CU_ASSERT_PTR_NULL(policy_find(""));
}

/* ---- In a process of its own, with a second thread ---- */

static const struct sock_filter allow_all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
static const struct policy_program harmless = {.name = "x", .filter = allow_all, .length = 1};

/* How many filters this thread has: whoever started the test may have loaded some, too. */
static int filters(void)
{
    int count = -1;
    char line[256];
    FILE *status = fopen("/proc/thread-self/status", "re");
    while (status && fgets(line, sizeof(line), status))
        (void)sscanf(line, "Seccomp_filters: %d", &count);
    if (status)
        fclose(status);
    return count;
}

struct other {
    pthread_barrier_t before, after;
    bool confines_itself;
    int more; /* filters that it has got from others */
};

static void *other_thread(void *argument)
{
    struct other *other = argument;
    if (other->confines_itself && policy_load(&harmless, 0) < 0)
        _exit(90);
    int before = filters();
    pthread_barrier_wait(&other->before);
    pthread_barrier_wait(&other->after);
    other->more = filters() - before;
    return NULL;
}

/* What a process found: the result of policy_load, and how many more filters each thread has. */
struct found {
    int result, mine, others;
};

static _Noreturn void load(int all_threads, bool other_first, int ends)
{
    struct other other = {.confines_itself = other_first};
    struct found found = {0};
    pthread_t thread;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        pthread_barrier_init(&other.before, NULL, 2) != 0 ||
        pthread_barrier_init(&other.after, NULL, 2) != 0 ||
        pthread_create(&thread, NULL, other_thread, &other) != 0)
        _exit(91);
    pthread_barrier_wait(&other.before);
    int before = filters();
    found.result = policy_load(&harmless, all_threads);
    pthread_barrier_wait(&other.after);
    pthread_join(thread, NULL);
    found.mine = filters() - before;
    found.others = other.more;
    _exit(write(ends, &found, sizeof(found)) == (ssize_t)sizeof(found) ? 0 : 92);
}

static struct found loaded(int all_threads, bool other_first)
{
    struct found found = {.result = -ECHILD};
    int ends[2], status = -1;
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0)
        load(all_threads, other_first, ends[1]);
    close(ends[1]);
    CU_ASSERT_EQUAL(read(ends[0], &found, sizeof(found)), (ssize_t)sizeof(found));
    close(ends[0]);
    CU_ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
    return found;
}

static void test_threads(void)
{
    struct found found = loaded(0, false);
    CU_ASSERT_EQUAL(found.result, 0);
    CU_ASSERT_EQUAL(found.mine, 1);
    CU_ASSERT_EQUAL(found.others, 0);
    found = loaded(1, false);
    CU_ASSERT_EQUAL(found.result, 0);
    CU_ASSERT_EQUAL(found.mine, 1);
    CU_ASSERT_EQUAL(found.others, 1);
}

/* A thread with a filter of its own can't be given this one: then nobody has it. */
static void test_not_all(void)
{
    struct found found = loaded(1, true);
    CU_ASSERT_EQUAL(found.result, -EBUSY);
    CU_ASSERT_EQUAL(found.mine, 0);
    found = loaded(0, true);
    CU_ASSERT_EQUAL(found.result, 0);
    CU_ASSERT_EQUAL(found.mine, 1);
}

static void test_refused(void)
{
    const struct policy_program empty = {.name = "x", .filter = allow_all, .length = 0};
    int before = filters();
    CU_ASSERT(before >= 0);
    CU_ASSERT_EQUAL(policy_load(&empty, 0), -EINVAL);
    CU_ASSERT_EQUAL(filters(), before);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"a policy is found by its whole name", test_find},
        {"for this thread, or for all", test_threads},
        {"for all, or for none", test_not_all},
        {"what the kernel refuses", test_refused},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "loading a policy", tests);
}
