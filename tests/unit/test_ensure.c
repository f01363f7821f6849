/* SPDX-License-Identifier: Apache-2.0 */
/* An error of our own ends the process at once, with words, under each filter that the process may
 * have. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ensure.h"
#include "common/policy.h"
#include "tests/cunit_main.h"

/* How the compiler ends a process: an instruction that does not exist, or a breakpoint. */
#ifdef __x86_64__
#define END_OF_TRAP SIGILL
#else
#define END_OF_TRAP SIGTRAP
#endif

/* Runs a process in which the condition holds or not. Returns its wait status, and what it wrote.
 */
static int end_of(const char *policy, bool holds, char *ret_words, size_t size)
{
    int ends[2], status = -1;
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        const struct policy_program *program = policy ? policy_find(policy) : NULL;
        dup2(ends[1], STDERR_FILENO);
        if (policy &&
            (!program || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || policy_load(program, 1) < 0))
            _exit(1);
        ENSURE(holds == true);
        _exit(0);
    }
    close(ends[1]);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    ssize_t length = read(ends[0], ret_words, size - 1);
    ret_words[length > 0 ? length : 0] = '\0';
    close(ends[0]);
    return status;
}

static void it_ends_with_words(void)
{
    static const char *const policies[] = {NULL,     "keeper",   "keeper_uring",
                                           "broker", "broker_d", "connector"};
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        char words[256];
        int status = end_of(policies[i], false, words, sizeof(words));
        /* The connector's filter forbids write: that ends it. */
        bool is_silent = i == 5;
        CU_ASSERT(WIFSIGNALED(status));
        CU_ASSERT_EQUAL(WTERMSIG(status), is_silent ? SIGSYS : END_OF_TRAP);
        const char *place = strstr(words, "test_ensure.c:");
        CU_ASSERT((place != NULL) != is_silent);
        CU_ASSERT((strstr(words, ": does not hold: holds == true\n") != NULL) != is_silent);
    }
}

static void what_holds_is_silent(void)
{
    char words[256];
    CU_ASSERT_EQUAL(end_of("broker", true, words, sizeof(words)), 0);
    CU_ASSERT_STRING_EQUAL(words, "");
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it ends with words", it_ends_with_words},
        {"what holds is silent", what_holds_is_silent},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "our own errors", tests);
}
