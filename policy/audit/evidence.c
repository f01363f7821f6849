/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/evidence.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "policy/audit/open_fds.h"

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

/* The name of the keeper's configuration, by its command line; NULL: not known. */
static const char *name_of_configuration(const struct process *keeper)
{
    static char arguments[COMMAND_LINE_MAX];
    memset(arguments, 0, sizeof(arguments));
    if (!process_file(keeper->pid, "cmdline", arguments, sizeof(arguments) - 1))
        return NULL;
    return configuration_of(arguments);
}

/* The file as the keeper sees it, whatever the root and the working directory of this program are.
 */
void evidence_of_configuration_file(const struct process *keeper, char ret[static SHA256_TEXT])
{
    char path[PATH_MAX + 64];
    const char *name = name_of_configuration(keeper);
    ret[0] = '\0';
    if (!name)
        return;
    snprintf(path, sizeof(path), "/proc/%d/%s/%s", (int)keeper->pid,
             name[0] == '/' ? "root" : "cwd", name);
    if (sha256_of_file(path, ret) < 0)
        ret[0] = '\0';
}

/* The keeper has the text that it has read in a sealed memfd, for brokers to come
 * (broker/config/config.h). */
static void hash_text_in_use(const struct process *keeper, char ret[static SHA256_TEXT])
{
    static struct open_fds fds;
    static const char name[] = "/memfd:configuration";
    char path[64];
    open_fds_read(keeper->pid, &fds);
    for (size_t i = 0; i < fds.count; i++) {
        if (strncmp(fds.items[i].target, name, strlen(name)) != 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)keeper->pid, fds.items[i].number);
        if (sha256_of_file(path, ret) == 0)
            return;
    }
    ret[0] = '\0';
}

void evidence_of_process(const struct process *process, const struct process *keeper,
                         struct origin *ret)
{
    char path[64];
    *ret = (struct origin){0};
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)process->pid);
    if (sha256_of_file(path, ret->program_hash) < 0)
        ret->program_hash[0] = '\0';
    const char *name = keeper ? name_of_configuration(keeper) : NULL;
    if (!name)
        return;
    snprintf(ret->configuration, sizeof(ret->configuration), "%s", name);
    process_make_printable(ret->configuration);
    hash_text_in_use(keeper, ret->configuration_hash);
}
