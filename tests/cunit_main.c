/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/cunit_main.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CUnit/Basic.h>

#define SUITES_MAX 16
#define SKIPPED_MAX 64

static const CU_SuiteInfo *given;
static unsigned int asserts_before;
static bool is_skipped;
static struct {
    const char *test;
    const char *missing;
} skipped[SKIPPED_MAX];
static size_t skipped_count;

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && strcmp(value, "1") == 0;
}

/* The emulator of programs (qemu-user 7.2) lacks epoll_pwait2. So what runs within a test waits by
 * epoll_pwait, for milliseconds, rounded up. A test may have a function of its own instead. */
__attribute__((weak)) int epoll_pwait2(int epoll, struct epoll_event *events, int max,
                                       const struct timespec *timeout, const sigset_t *mask)
{
    int64_t ms = timeout ? timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000 : -1;
    return epoll_pwait(epoll, events, max, (int)ms, mask);
}

/* Cases run in this process. A child finds false here, whatever call has made it; NULL: the kernel
 * can't do that. */
static volatile bool *cases_run;

static void cases_begin(void)
{
    void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || madvise(page, 1, MADV_WIPEONFORK) < 0)
        return;
    cases_run = page;
    *cases_run = true;
}

static void cases_end(void)
{
    if (cases_run)
        *cases_run = false;
}

/* What runs within a test can end the process with status 0, as a worker does when its broker has
 * gone. That must not look as if all cases had passed. */
__attribute__((weak)) void _exit(int status)
{
    if (cases_run && *cases_run) {
        const CU_pTest test = CU_get_current_test();
        fprintf(stderr, "\nthe case \"%s\" ended the program, with status %d\n",
                test ? test->pName : "?", status);
        status = 1;
    }
    _Exit(status); /* the C library's own, which no test replaces */
}

bool long_form(void)
{
    return is_set("BVDM_LONG");
}

bool processor_is_emulated(void)
{
    return is_set("BVDM_EMULATED");
}

void case_skipped(const char *what_is_missing)
{
    is_skipped = true;
    CU_pTest test = CU_get_current_test();
    if (test && skipped_count < SKIPPED_MAX) {
        skipped[skipped_count].test = test->pName;
        skipped[skipped_count++].missing = what_is_missing;
    }
}

/* The suite that is running, as the program gave it. */
static const CU_SuiteInfo *running(void)
{
    const CU_SuiteInfo *suite = given;
    while (strcmp(suite->pName, CU_get_current_suite()->pName) != 0)
        suite++;
    return suite;
}

static void before_each(void)
{
    is_skipped = false;
    asserts_before = CU_get_number_of_asserts();
    if (running()->pSetUpFunc)
        running()->pSetUpFunc();
}

static void after_each(void)
{
    if (CU_get_number_of_asserts() == asserts_before && !is_skipped)
        CU_FAIL("the case asserted nothing");
    if (running()->pTearDownFunc)
        running()->pTearDownFunc();
}

/* Whether the words are names of cases that do not run. */
static bool is_without;

static bool is_named(const CU_Test *test, char **words, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(test->pName, words[i]) == 0)
            return true;
    }
    return false;
}

/* Whether each word is the name of a case. Any other name would leave out nothing. */
static bool are_names(char **words, int count)
{
    for (int i = 0; i < count; i++) {
        bool found = false;
        for (CU_pSuite suite = CU_get_registry()->pSuite; suite; suite = suite->pNext)
            found = found || CU_get_test_by_name(words[i], suite);
        if (!found) {
            fprintf(stderr, "--without '%s': no case has this name; --list names all\n", words[i]);
            return false;
        }
    }
    return true;
}

/* Whether "SUITE: CASE" contains one of the words; with --without, whether no word is the CASE. */
static bool is_wanted(const CU_Suite *suite, const CU_Test *test, char **words, int count)
{
    if (is_without)
        return !is_named(test, words, count);
    char name[512];
    snprintf(name, sizeof(name), "%s: %s", suite->pName, test->pName);
    for (int i = 0; i < count; i++) {
        if (strstr(name, words[i]))
            return true;
    }
    return count == 0;
}

/* Switches off all other cases. Returns how many are left. */
static unsigned int choose(char **words, int count, bool is_list)
{
    unsigned int left = 0;
    CU_set_fail_on_inactive(CU_FALSE);
    for (CU_pSuite suite = CU_get_registry()->pSuite; suite; suite = suite->pNext) {
        unsigned int before = left;
        for (CU_pTest test = suite->pTest; test; test = test->pNext) {
            bool wanted = is_wanted(suite, test, words, count);
            CU_set_test_active(test, wanted ? CU_TRUE : CU_FALSE);
            if (wanted && is_list)
                printf("%s: %s\n", suite->pName, test->pName);
            left += wanted;
        }
        /* Then the suite is not prepared either. */
        CU_set_suite_active(suite, left > before ? CU_TRUE : CU_FALSE);
    }
    return left;
}

static bool register_suites(const CU_SuiteInfo *suites)
{
    CU_SuiteInfo ours[SUITES_MAX + 1] = {0};
    size_t count = 0;
    for (; suites[count].pName && count < SUITES_MAX; count++) {
        ours[count] = suites[count];
        ours[count].pSetUpFunc = before_each;
        ours[count].pTearDownFunc = after_each;
    }
    given = suites;
    return !suites[count].pName && CU_initialize_registry() == CUE_SUCCESS &&
           CU_register_suites(ours) == CUE_SUCCESS;
}

int run_suites(int argc, char **argv, const CU_SuiteInfo *suites)
{
    char *by_environment = getenv("BVDM_CASE");
    char **words = argv + 1;
    int count = argc - 1;
    bool is_list = count > 0 && strcmp(words[0], "--list") == 0;
    is_without = count > 0 && strcmp(words[0], "--without") == 0;
    if (is_list || is_without) {
        words++;
        count--;
    }
    if (count == 0 && !is_without && by_environment) {
        words = &by_environment;
        count = 1;
    }
    if (!register_suites(suites)) {
        fprintf(stderr, "%s: CUnit refuses the suites: %s\n", argv[0], CU_get_error_msg());
        return 2;
    }
    if (is_without && !are_names(words, count))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (choose(words, count, is_list) == 0) {
        fprintf(stderr, "%s: no case has these words in its name; --list names all\n", argv[0]);
        return 2;
    }
    if (is_list)
        return 0;
    CU_basic_set_mode(CU_BRM_VERBOSE);
    cases_begin();
    CU_basic_run_tests();
    cases_end();
    for (size_t i = 0; i < skipped_count; i++)
        printf("skipped: %s: it needs %s\n", skipped[i].test, skipped[i].missing);
    bool is_good = CU_get_number_of_failures() + CU_get_number_of_suites_failed() == 0;
    CU_cleanup_registry();
    return is_good ? 0 : 1;
}

int run_tests(int argc, char **argv, const char *suite, CU_TestInfo *tests)
{
    const CU_SuiteInfo suites[] = {{.pName = suite, .pTests = tests}, CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
