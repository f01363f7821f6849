/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/config_expect.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct config config;
struct config_diagnostics diags;

char *config_printed(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    config_diagnostics_print(&diags, "f", stream);
    fclose(stream);
    return text;
}

void config_expect_text(const char *name, const char *expected)
{
    char *text = config_printed();
    CU_ASSERT_STRING_EQUAL(text, expected);
    if (strcmp(text, expected) != 0)
        fprintf(stderr, "\n--- %s: expected\n%s--- but was\n%s", name, expected, text);
    free(text);
}

static bool is_filled(const void *data, size_t size, unsigned char byte)
{
    const unsigned char *bytes = data;
    size_t i = 0;
    while (i < size && bytes[i] == byte)
        i++;
    return i == size;
}

void config_expect(const char *name, const char *yaml, size_t size, int result,
                   const char *expected)
{
    memset(&config, 0xa5, sizeof(config));
    memset(&diags, 0xa5, sizeof(diags));
    CU_ASSERT_EQUAL(config_parse("f", yaml, size, &config, &diags), result);
    if (result != 0)
        CU_ASSERT_TRUE(is_filled(&config, sizeof(config), 0xa5)); /* untouched on failure */
    config_expect_text(name, expected);
}

void config_expect_good(const char *name, const char *yaml, const char *notes)
{
    config_expect(name, yaml, strlen(yaml), 0, notes);
    CU_ASSERT_EQUAL_FATAL(diags.errors, 0);
}

void config_expect_cases(const struct config_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        config_expect(cases[i].name, cases[i].yaml, strlen(cases[i].yaml), -EINVAL,
                      cases[i].expected);
}
