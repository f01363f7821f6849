/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How every fuzzer says what was wrong: by a line "violated: ..." on standard error, for which
 * tests/fuzz/run looks. Then the process ends, and libFuzzer keeps the input.
 */
#ifndef TESTS_FUZZ_VIOLATED_H
#define TESTS_FUZZ_VIOLATED_H

#include <stdbool.h>

_Noreturn void violated(const char *format, ...) __attribute__((format(printf, 1, 2)));
void require(bool holds, const char *what);

/* Called before anything is printed: who watches the process is to stop. NULL: nobody does. */
extern void (*violated_first)(void);

#endif
