/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs only some cases of a CUnit program: those whose name has the words of the environment
 * variable BVDM_CASE in it. Linked into every test program in the place of CU_basic_run_tests.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/Basic.h>

CU_ErrorCode __real_CU_basic_run_tests(void);
CU_ErrorCode __wrap_CU_basic_run_tests(void);

/* Switches all other cases off. Returns how many are left. */
static unsigned int choose(const char *words)
{
    unsigned int left = 0;
    CU_set_fail_on_inactive(CU_FALSE);
    for (CU_pSuite suite = CU_get_registry()->pSuite; suite; suite = suite->pNext) {
        for (CU_pTest test = suite->pTest; test; test = test->pNext) {
            bool wanted = strstr(test->pName, words) != NULL;
            CU_set_test_active(test, wanted ? CU_TRUE : CU_FALSE);
            left += wanted;
        }
    }
    return left;
}

CU_ErrorCode __wrap_CU_basic_run_tests(void)
{
    const char *words = getenv("BVDM_CASE");
    if (words && choose(words) == 0) {
        fprintf(stderr, "no case of this program has \"%s\" in its name (BVDM_CASE)\n", words);
        exit(2);
    }
    return __real_CU_basic_run_tests();
}
