/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every fuzzer reports what was wrong in the same way: a line "violated: ..." on standard error,
 * which tests/fuzz/run looks for. Then the process ends, and libFuzzer keeps the input.
 */
#ifndef TESTS_FUZZ_VIOLATED_H
#define TESTS_FUZZ_VIOLATED_H

#include <stdbool.h>

_Noreturn void violated(const char *format, ...) __attribute__((format(printf, 1, 2)));
void require(bool holds, const char *what);

/* Called before anything is printed: whoever watches the process has to stop. NULL: nobody does. */
extern void (*violated_first)(void);

#endif
