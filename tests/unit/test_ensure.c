/* SPDX-License-Identifier: Apache-2.0 */
/* An error of our own ends the process at once, with words, under each filter that the process may
 * have. */
#include <errno.h>
#include <fcntl.h>
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

/* Who reads what the process writes. */
enum reader { READS, READS_NOTHING, HAS_GONE };

/* Makes stderr a pipe with such a reader. */
static void set_stderr(const int ends[2], enum reader reader)
{
    static const char some[4096];
    dup2(ends[1], STDERR_FILENO);
    if (reader == READS_NOTHING) {
        (void)fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
        while (write(STDERR_FILENO, some, sizeof(some)) > 0)
            ;
        (void)fcntl(STDERR_FILENO, F_SETFL, 0);
    }
    close(ends[1]);
    if (reader == HAS_GONE)
        close(ends[0]);
}

/* Runs a process in which the condition holds or not. Returns its wait status, and what it wrote.
 */
static int end_of(const char *policy, bool holds, enum reader reader, char *ret_words, size_t size)
{
    int ends[2], status = -1;
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        const struct policy_program *program = policy ? policy_find(policy) : NULL;
        set_stderr(ends, reader);
        if (policy &&
            (!program || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || policy_load(program, 1) < 0))
            _exit(1);
        ENSURE(holds == true);
        _exit(0);
    }
    close(ends[1]);
    if (reader == HAS_GONE)
        close(ends[0]);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    ret_words[0] = '\0';
    if (reader == HAS_GONE)
        return status;
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
        int status = end_of(policies[i], false, READS, words, sizeof(words));
        /* The connector's filter forbids write: that ends it. */
        bool is_silent = i == 5;
        CU_ASSERT(WIFSIGNALED(status));
        CU_ASSERT_EQUAL(WTERMSIG(status), is_silent ? SIGSYS : END_OF_TRAP);
        const char *place = strstr(words, "test_ensure.c:");
        CU_ASSERT((place != NULL) != is_silent);
        CU_ASSERT((strstr(words, ": does not hold: holds == true\n") != NULL) != is_silent);
    }
}

/* Nobody waits for its words, and no signal ends it in another way. */
static void it_ends_without_a_reader(void)
{
    char words[256];
    int status = end_of(NULL, false, READS_NOTHING, words, sizeof(words));
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == END_OF_TRAP);
    CU_ASSERT_STRING_EQUAL(words, ""); /* it begins with what was there before */
    status = end_of(NULL, false, HAS_GONE, words, sizeof(words));
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == END_OF_TRAP);
}

static void what_holds_is_silent(void)
{
    char words[256];
    CU_ASSERT_EQUAL(end_of("broker", true, READS, words, sizeof(words)), 0);
    CU_ASSERT_STRING_EQUAL(words, "");
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it ends with words", it_ends_with_words},
        {"it ends without a reader, too", it_ends_without_a_reader},
        {"what holds is silent", what_holds_is_silent},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "our own errors", tests);
}
