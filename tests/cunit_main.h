/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of main of every CUnit program of tests/.
 *
 *     PROGRAM                     runs all its cases
 *     PROGRAM WORDS...            runs those that have one of these words in "SUITE: CASE"
 *     PROGRAM --without CASE...   runs all but those of these names
 *     PROGRAM --list              names its cases and runs none
 *
 * The environment variable BVDM_CASE has WORDS as well, for programs that another program starts.
 *
 * Each case must assert something. A case that asserts nothing fails. It could not have failed
 * otherwise: perhaps its loop ran over nothing, or what it looks for does not exist. A case that
 * this machine can't run calls case_skipped(); the last lines name these cases.
 *
 * A case that ends the whole process by _exit fails, too, whatever the status. A child may do so.
 */
#ifndef TESTS_CUNIT_MAIN_H
#define TESTS_CUNIT_MAIN_H

#include <CUnit/CUnit.h>
#include <stdbool.h>

/* Runs the cases chosen by the arguments. `suites` ends with CU_SUITE_INFO_NULL. Returns the exit
 * status: 0: all is well; 1: something failed; 2: nothing was run. */
int run_suites(int argc, char **argv, const CU_SuiteInfo *suites);

/* The same for one suite without anything to prepare. `tests` ends with CU_TEST_INFO_NULL. */
int run_tests(int argc, char **argv, const char *suite, CU_TestInfo *tests);

/* Whether the long form was asked for: BVDM_LONG=1. */
bool long_form(void);

/* Whether the processor is emulated: BVDM_EMULATED=1. Speeds say nothing then. */
bool processor_is_emulated(void);

/* The case that is running, or the rest of it, needs something that this machine lacks; the words
 * say what. */
void case_skipped(const char *what_is_missing);

#endif
