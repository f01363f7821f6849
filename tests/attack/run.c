/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/attack/test_attack.h"

#define TESTS_MAX 128

void attack_and_die(const struct victim *victim, enum attack attack, uint64_t argument)
{
    struct session *session = session_of(victim);
    pid_t before = fixture_worker(&session->fixture, 0);
    session_attack(session, 0, attack, argument);
    session_wait_successor(session, before);
    CU_ASSERT(atomic_load(&session_report(session, 0)->calls) > 0);
    session_replace(session);
}

size_t log_length(const struct session *session)
{
    char *log = fixture_log(&session->fixture);
    size_t length = strlen(log);
    free(log);
    return length;
}

bool logged_since(const struct session *session, size_t from, const char *words)
{
    char *log = fixture_log(&session->fixture);
    bool found = strlen(log) > from && strstr(log + from, words);
    free(log);
    return found;
}

/* It always runs last, whichever tests were chosen. */
static void everything_ends_in_order(void)
{
    session_end();
}

int attack_main(const CU_TestInfo *const *lists, int argc, char **argv)
{
    static CU_TestInfo tests[TESTS_MAX + 2];
    static char last[] = "and everything ends in order";
    char *wanted = argc > 1 ? argv[1] : getenv("BVDM_CASE");
    char *words[] = {argv[0], wanted, last};
    bool is_list = wanted && strcmp(wanted, "--list") == 0;
    size_t count = 0, chosen = 0;
    for (; *lists; lists++) {
        for (const CU_TestInfo *test = *lists; test->pName && count < TESTS_MAX; test++) {
            chosen += !wanted || is_list || strstr(test->pName, wanted);
            tests[count++] = *test;
        }
    }
    if (chosen == 0) {
        fprintf(stderr, "%s: no test has \"%s\" in its name\n", argv[0], wanted ? wanted : "");
        return EXIT_FAILURE;
    }
    tests[count] = (CU_TestInfo){last, everything_ends_in_order};
    return fixture_main(!wanted ? 1 : is_list ? 2 : 3, words, "attacks", tests);
}
