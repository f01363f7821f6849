/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "policy/audit/audit.h"
#include "policy/audit/gap.h"
#include "policy/catalog.h"

#define LOADING_MS 100 /* more than a program takes to get its arguments */

static const struct {
    const char *program;
    const char *name;
} roles[] = {
    [PROCESS_OTHER] = {"", "stranger"},
    [PROCESS_KEEPER] = {"bao-virtio-dm", "keeper"},
    [PROCESS_BROKER] = {"bao-virtio-broker", "broker"},
    [PROCESS_WORKER] = {"bao-virtio-worker", "worker"},
    [PROCESS_OPENER] = {"", "opener"},
    [PROCESS_CONNECTOR] = {"", "connector"},
    [PROCESS_DAEMON] = {"", "daemon"},
    [PROCESS_HOLDER] = {"", "holder"},
};

const char *process_role_name(enum process_role role)
{
    return roles[role].name;
}

void process_make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || (unsigned char)*text == 0x7f)
            *text = '?';
    }
}

bool process_file(pid_t pid, const char *name, char *ret, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t used = 0;
    ssize_t length = 0;
    while (used < size - 1 && (length = read(fd, ret + used, size - 1 - used)) > 0)
        used += (size_t)length;
    close(fd);
    ret[used] = '\0';
    return length >= 0;
}

bool process_field(pid_t pid, const char *file, const char *key, char *ret, size_t size)
{
    char text[8192];
    if (!process_file(pid, file, text, sizeof(text)))
        return false;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) != 0 || line[length] != ':')
            continue;
        char *value = line + length + 1 + strspn(line + length + 1, " \t");
        for (char *tab = strchr(value, '\t'); tab; tab = strchr(tab, '\t'))
            *tab = ' ';
        for (size_t end = strlen(value); end > 0 && value[end - 1] == ' ';)
            value[--end] = '\0';
        snprintf(ret, size, "%s", value);
        process_make_printable(ret);
        return true;
    }
    return false;
}

bool process_link(pid_t pid, const char *name, char *ret, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    ssize_t length = readlink(path, ret, size - 1);
    if (length < 0)
        return false;
    ret[length] = '\0';
    process_make_printable(ret);
    return true;
}

static enum process_role role_of(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;
    size_t length = strcspn(name, " "); /* " (deleted)" after an upgrade */
    for (enum process_role role = PROCESS_KEEPER; role <= PROCESS_WORKER; role++) {
        if (strlen(roles[role].program) == length &&
            strncmp(roles[role].program, name, length) == 0)
            return role;
    }
    return PROCESS_OTHER;
}

/* A program that is just being loaded has no arguments for some microseconds, and a process that is
 * ending has neither arguments nor a program any more. Returns false if it is ending. */
static bool read_arguments(pid_t pid, char *ret, size_t size)
{
    char program[PATH_MAX];
    for (unsigned int i = 0; i < LOADING_MS; i++) {
        ret[0] = '\0';
        if (process_file(pid, "cmdline", ret, size) && ret[0] != '\0')
            return true;
        if (!process_link(pid, "exe", program, sizeof(program)))
            return false;
        usleep(1000);
    }
    return true;
}

/* For what purpose the broker's program was started, by its arguments, each of which ends with a 0
 * byte: --open and --open-again, --connect, or else it is the broker. PROCESS_OTHER: it is ending.
 */
static enum process_role purpose_of(pid_t pid)
{
    char arguments[64];
    if (!read_arguments(pid, arguments, sizeof(arguments)))
        return PROCESS_OTHER;
    const char *first = arguments + strnlen(arguments, sizeof(arguments) - 2) + 1;
    if (strncmp(first, "--open", strlen("--open")) == 0)
        return PROCESS_OPENER;
    return strcmp(first, "--connect") == 0 ? PROCESS_CONNECTOR : PROCESS_BROKER;
}

int process_read(pid_t pid, struct process *ret)
{
    char parent[16];
    struct process process = {.pid = pid};
    if (!process_field(pid, "status", "Name", process.name, sizeof(process.name)) ||
        !process_field(pid, "status", "PPid", parent, sizeof(parent)))
        return -ESRCH;
    process.parent = (pid_t)strtol(parent, NULL, 10);
    if (process_link(pid, "exe", process.program, sizeof(process.program)))
        process.role = role_of(process.program);
    else if (errno == ENOENT) /* it has given up its memory: it is ending, or is a zombie */
        return -ESRCH;
    if (process.role == PROCESS_BROKER) {
        process.role = purpose_of(pid);
        if (process.role == PROCESS_OTHER)
            return -ESRCH;
    }
    *ret = process;
    return 0;
}

unsigned long long process_started(pid_t pid)
{
    char text[1024];
    unsigned long long started = 0;
    if (!process_file(pid, "stat", text, sizeof(text)))
        return 0;
    const char *at = strrchr(text, ')'); /* after the name, which may hold any characters */
    /* Field 22 of proc(5); the state, after the name, is field 3. */
    if (at && sscanf(at,
                     ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                     "%*d %llu",
                     &started) != 1)
        started = 0;
    return started;
}

long long process_age_ms(pid_t pid)
{
    struct timespec now;
    long ticks = sysconf(_SC_CLK_TCK);
    if (ticks <= 0 || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
        return 0;
    long long at = (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    return at - (long long)(process_started(pid) * 1000 / (unsigned long)ticks);
}

static bool is_keeper(const struct process *processes, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (processes[i].pid == pid)
            return processes[i].role == PROCESS_KEEPER;
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct process *first = a, *second = b;
    return (first->pid > second->pid) - (first->pid < second->pid);
}

/* `others`: whether to look for children of keepers that run programs of others. */
static int scan(struct process *processes, size_t *count, bool others)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return -errno;
    int error = 0;
    size_t known = *count;
    const struct dirent *entry;
    while (error == 0 && (entry = readdir(proc))) {
        struct process process;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || process_read(pid, &process) < 0)
            continue;
        bool ours = process.role != PROCESS_OTHER;
        if (others ? ours || !is_keeper(processes, known, process.parent) : !ours)
            continue;
        if (*count == PROCESSES_MAX)
            error = -E2BIG;
        else
            processes[(*count)++] = process;
    }
    closedir(proc);
    return error;
}

int processes_find(struct process ret[PROCESSES_MAX])
{
    size_t count = 0;
    int error = scan(ret, &count, false);
    if (error == 0)
        error = scan(ret, &count, true);
    qsort(ret, count, sizeof(*ret), compare);
    return error < 0 ? error : (int)count;
}

/* ---- Which policy ---- */

bool process_has_program(const struct filters *filters, size_t index,
                         const struct policy_listing *listing)
{
    const struct policy_program *program = &listing->program;
    return index < filters->count && filters->items[index].length == program->length &&
           memcmp(filters->items[index].filter, program->filter,
                  program->length * sizeof(*program->filter)) == 0;
}

static const struct policy_listing *policy_named(const char *name)
{
    const struct selection selection = {name, POLICY_ARCH_NATIVE};
    return selection_next(&selection, NULL);
}

/* "block 0" is of the type with which "block/virtio" starts. */
int process_name_fits(const char *policy, const char *name)
{
    static const char any[] = "other/";
    size_t length = strcspn(policy, "/");
    if (policy[length] == '/' && strncmp(policy, name, length) == 0 && name[length] == ' ')
        return 2;
    return strncmp(policy, any, strlen(any)) == 0 ? 1 : 0;
}

/* A program that allows more than named calls is as far from all of them. */
static const struct policy_listing *nearest(const struct process *process,
                                            const struct filters *filters)
{
    const struct selection all = {NULL, POLICY_ARCH_NATIVE};
    const struct policy_listing *best = NULL;
    size_t least = SIZE_MAX;
    struct stack loaded = {0};
    if (filters->count > 0)
        stack_add(&loaded, filters->items[filters->count - 1].filter,
                  filters->items[filters->count - 1].length);
    bool any = stack_allows_unnamed(&loaded, policy_arch_token(POLICY_ARCH_NATIVE));
    for (const struct policy_listing *at = selection_next(&all, NULL); at;
         at = selection_next(&all, at)) {
        struct stack set = {0};
        if (process_name_fits(at->program.name, process->name) == 0 ||
            !stack_add(&set, at->program.filter, at->program.length))
            continue;
        size_t found =
            any ? at->program.calls : gaps_count(&loaded, &set) + gaps_count(&set, &loaded);
        if (found < least)
            best = at;
        least = found < least ? found : least;
    }
    return best;
}

/* The broker has one of two policies, by the generation of Bao's driver; the keeper also, by
 * whether a device has an io_uring. This returns the one that confines it. */
static const struct policy_listing *policy_of_two(const struct filters *filters, const char *usual,
                                                  const char *other)
{
    const struct policy_listing *second = policy_named(other);
    if (second && filters->count > 0 && process_has_program(filters, filters->count - 1, second))
        return second;
    return policy_named(usual);
}

const struct policy_listing *process_policy(const struct process *process,
                                            const struct filters *filters)
{
    const struct selection all = {NULL, POLICY_ARCH_NATIVE};
    if (process->role == PROCESS_BROKER)
        return policy_of_two(filters, "broker", "broker_d");
    if (process->role == PROCESS_KEEPER)
        return policy_of_two(filters, "keeper", "keeper_uring");
    if (process->role == PROCESS_CONNECTOR)
        return policy_named(process_role_name(process->role));
    if (process->role != PROCESS_WORKER)
        return NULL;
    for (int fit = 2; fit > 0 && filters->count > 0; fit--) {
        for (const struct policy_listing *at = selection_next(&all, NULL); at;
             at = selection_next(&all, at)) {
            if (process_name_fits(at->program.name, process->name) == fit &&
                process_has_program(filters, filters->count - 1, at))
                return at;
        }
    }
    return nearest(process, filters);
}

const struct device_kind_info *process_kind(const struct policy_listing *policy)
{
    for (size_t i = 0; policy && i < DEVICE_KINDS; i++) {
        if (device_kinds[i].policy && strcmp(device_kinds[i].policy, policy->program.name) == 0)
            return &device_kinds[i];
    }
    return NULL;
}
