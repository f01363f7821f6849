/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the configuration reader expect of it. */
#ifndef TESTS_UNIT_CONFIG_EXPECT_H
#define TESTS_UNIT_CONFIG_EXPECT_H

#include "broker/config/config.h"
#include "tests/unit/config_cases.h"

extern struct config config;
extern struct config_diagnostics diags;

/* The text that the user sees; the caller frees it. */
char *config_printed(void);

/* Asserts that the diagnostics are exactly these lines, for a file "f". */
void config_expect_text(const char *name, const char *expected);

/* Parse; assert the result, and exactly these lines. On success, the caller frees `config`. */
void config_expect(const char *name, const char *yaml, size_t size, int result,
                   const char *expected);
void config_expect_good(const char *name, const char *yaml, const char *notes);
void config_expect_cases(const struct config_case *cases, size_t count);

#endif
