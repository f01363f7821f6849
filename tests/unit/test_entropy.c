/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's random generator is not ready. A thread waits for it, under the broker's filter, so
 * nobody else waits. The main loop is told once.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/entropy.h"
#include "common/policy.h"
#include "tests/cunit_main.h"

#define GENEROUS_MS 20000

static int gate[2]; /* the generator is ready when the other end of this is closed */
static _Atomic unsigned int asked, waited;
static _Atomic int interruptions; /* of the thread that waits */

static ssize_t ready(void *to, size_t length, unsigned int flags)
{
    asked++;
    waited += flags == 0;
    return entropy_of_kernel(to, length, flags);
}

static ssize_t missing(void *to, size_t length, unsigned int flags)
{
    (void)to;
    (void)length;
    (void)flags;
    errno = ENOSYS;
    return -1;
}

static ssize_t not_yet(void *to, size_t length, unsigned int flags)
{
    char end;
    asked++;
    if (flags == GRND_NONBLOCK) {
        errno = EAGAIN;
        return -1;
    }
    waited++;
    if (interruptions-- > 0) {
        errno = EINTR;
        return -1;
    }
    while (read(gate[0], &end, 1) != 0)
        ;
    return entropy_of_kernel(to, length, flags);
}

static void prepare(void)
{
    asked = waited = 0;
    interruptions = 0;
    if (pipe(gate) < 0)
        abort();
}

static bool told(int report, int timeout_ms)
{
    struct pollfd event = {.fd = report, .events = POLLIN};
    return poll(&event, 1, timeout_ms) == 1;
}

/* The usual case costs one call, and no thread. */
static void test_ready(void)
{
    struct entropy entropy;
    prepare();
    CU_ASSERT_EQUAL(entropy_begin(&entropy, -1, ready), 0);
    CU_ASSERT_EQUAL(asked, 1);
    CU_ASSERT_EQUAL(waited, 0);
    CU_ASSERT_EQUAL(entropy_came(&entropy), 0);
    CU_ASSERT_EQUAL(entropy_begin(&entropy, -1, missing), 0);
}

static void test_waits_elsewhere(void)
{
    struct entropy entropy;
    int report = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    prepare();
    interruptions = 3;
    CU_ASSERT_EQUAL_FATAL(entropy_begin(&entropy, report, not_yet), 1); /* at once */
    CU_ASSERT_EQUAL(entropy_came(&entropy), 0);
    CU_ASSERT_FALSE(told(report, 50));
    close(gate[1]);
    CU_ASSERT_TRUE_FATAL(told(report, GENEROUS_MS));
    CU_ASSERT(entropy_came(&entropy) >= 1);
    CU_ASSERT_EQUAL(entropy_came(&entropy), 0); /* it is told once */
    CU_ASSERT_EQUAL(waited, 4);
    close(gate[0]);
    close(report);
}

/* The thread waits for the kernel's generator and ends, under the broker's filter. */
static void test_under_the_filter(void)
{
    int status;
    prepare();
    pid_t child = fork();
    if (child == 0) {
        static struct entropy entropy;
        const struct rlimit none = {0, 0};
        const struct policy_program *program = policy_find("broker");
        int report = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        setrlimit(RLIMIT_CORE, &none);
        if (entropy_begin(&entropy, report, not_yet) != 1 || !program ||
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || policy_load(program, 1) < 0)
            _exit(1);
        close(gate[1]);
        if (!told(report, GENEROUS_MS) || entropy_came(&entropy) < 1)
            _exit(2);
        poll(NULL, 0, 100); /* by now it ends: a forbidden call would kill this process */
        _exit(0);
    }
    close(gate[0]);
    close(gate[1]);
    CU_ASSERT_FATAL(child > 0 && waitpid(child, &status, 0) == child);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"ready", test_ready},
        {"waits elsewhere", test_waits_elsewhere},
        {"under the filter", test_under_the_filter},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "the kernel's random generator", tests);
}
