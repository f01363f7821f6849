/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/evidence.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#define COMMAND_LINE_MAX (PATH_MAX + 1024)

void evidence_of_machine(struct evidence *ret)
{
    struct utsname machine = {0};
    time_t now = time(NULL);
    struct tm utc;
    *ret = (struct evidence){0};
    if (gmtime_r(&now, &utc))
        strftime(ret->time, sizeof(ret->time), "%Y-%m-%dT%H:%M:%SZ", &utc);
    uname(&machine);
    snprintf(ret->host, sizeof(ret->host), "%s", machine.nodename);
    snprintf(ret->kernel, sizeof(ret->kernel), "%s", machine.release);
    snprintf(ret->kernel_version, sizeof(ret->kernel_version), "%s", machine.version);
    snprintf(ret->machine, sizeof(ret->machine), "%s", machine.machine);
    if (sha256_of_file("/proc/self/exe", ret->auditor) < 0)
        ret->auditor[0] = '\0';
}

/* The value of --config on the command line of bao-virtio-dm, or NULL. Each argument ends with a 0
 * byte, and after the last one there is another. */
static const char *configuration_of(const char *arguments)
{
    static const char option[] = "--config";
    const char *found = NULL;
    for (const char *at = arguments + strlen(arguments) + 1; *at != '\0'; at += strlen(at) + 1) {
        const char *next = at + strlen(at) + 1;
        if (strncmp(at, option, strlen(option)) == 0 && at[strlen(option)] == '=')
            found = at + sizeof(option);
        else if (strncmp(at, "-c", 2) == 0 && at[2] != '\0')
            found = at + 2;
        else if ((strcmp(at, option) == 0 || strcmp(at, "-c") == 0) && *next != '\0')
            at = found = next;
    }
    return found;
}

/* The file as the keeper sees it, whatever the root and the working directory of this program are.
 */
static void hash_configuration(pid_t keeper, const char *name, struct origin *ret)
{
    char path[PATH_MAX + 64];
    bool absolute = name[0] == '/';
    snprintf(ret->configuration, sizeof(ret->configuration), "%s", name);
    process_make_printable(ret->configuration);
    snprintf(path, sizeof(path), "/proc/%d/%s/%s", (int)keeper, absolute ? "root" : "cwd", name);
    if (sha256_of_file(path, ret->configuration_hash) < 0)
        ret->configuration_hash[0] = '\0';
}

void evidence_of_process(const struct process *process, const struct process *keeper,
                         struct origin *ret)
{
    static char arguments[COMMAND_LINE_MAX];
    char path[64];
    *ret = (struct origin){0};
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)process->pid);
    if (sha256_of_file(path, ret->program_hash) < 0)
        ret->program_hash[0] = '\0';
    memset(arguments, 0, sizeof(arguments));
    if (!keeper || !process_file(keeper->pid, "cmdline", arguments, sizeof(arguments) - 1))
        return;
    const char *name = configuration_of(arguments);
    if (name)
        hash_configuration(keeper->pid, name, ret);
}
