/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of main of every CUnit program of tests/.
 *
 *     PROGRAM             runs all its cases
 *     PROGRAM WORDS...    runs those that have one of these words in "SUITE: CASE"
 *     PROGRAM --list      names its cases and runs none
 *
 * The environment variable BVDM_CASE holds WORDS likewise, for programs that something else starts.
 *
 * Each case has to assert something. One that does not fails, since it could not have failed
 * otherwise: its loop ran over nothing, or what it looks for is not there. A case that this machine
 * cannot run calls case_skipped(); the last lines name those.
 */
#ifndef TESTS_CUNIT_MAIN_H
#define TESTS_CUNIT_MAIN_H

#include <CUnit/CUnit.h>
#include <stdbool.h>

/* Runs the cases chosen by the arguments. `suites` ends with CU_SUITE_INFO_NULL. Returns the exit
 * status: 0 if all is well, 1 if something failed, 2 if nothing was run. */
int run_suites(int argc, char **argv, const CU_SuiteInfo *suites);

/* The same for one suite without anything to prepare. `tests` ends with CU_TEST_INFO_NULL. */
int run_tests(int argc, char **argv, const char *suite, CU_TestInfo *tests);

/* Was the long form asked for: BVDM_LONG=1? */
bool long_form(void);

/* The case that runs, or the rest of it, needs something that is not here: in words. */
void case_skipped(const char *what_is_missing);

#endif
