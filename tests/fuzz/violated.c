/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/violated.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void (*violated_first)(void);

_Noreturn void violated(const char *format, ...)
{
    va_list arguments;
    if (violated_first)
        violated_first();
    va_start(arguments, format);
    fputs("violated: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

void require(bool holds, const char *what)
{
    if (!holds)
        violated("%s", what);
}
