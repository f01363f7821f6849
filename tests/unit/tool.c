/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

char tool_answer[1 << 22];

static int run(const char *tool, const char *arguments)
{
    char command[8192];
    int length = snprintf(command, sizeof(command), "{ '%s' %s; } 2>&1", tool, arguments);
    CU_ASSERT_FATAL(length < (int)sizeof(command));
    FILE *pipe = popen(command, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
    size_t used = fread(tool_answer, 1, sizeof(tool_answer) - 1, pipe);
    CU_ASSERT_FATAL(used < sizeof(tool_answer) - 1);
    tool_answer[used] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int tool_run(const char *arguments)
{
    return run(TOOL, arguments);
}

int tool_run_policy(const char *arguments)
{
    return run(POLICY_TOOL, arguments);
}

bool tool_says(const char *text)
{
    return strstr(tool_answer, text) != NULL;
}
