/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/side.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/audit/gap.h"
#include "policy/audit/process.h"
#include "policy/audit/texts.h"

/* ---- Subjects ---- */

static int add_subject(struct side *side, const char *name, enum policy_arch arch,
                       const struct stack *stack)
{
    if (side->count == sizeof(side->subjects) / sizeof(side->subjects[0]))
        return -E2BIG;
    struct subject *subject = &side->subjects[side->count++];
    *subject = (struct subject){.arch = arch, .stack = *stack};
    snprintf(subject->name, sizeof(subject->name), "%s", name);
    return 0;
}

/* Adds a subject that is one program, and takes the program over. */
static int add_owned(struct side *side, const char *name, enum policy_arch arch,
                     struct sock_filter *program, size_t length)
{
    const struct stack stack = {1, {program}, {length}};
    int error = add_subject(side, name, arch, &stack);
    if (error == 0)
        side->subjects[side->count - 1].owned = program;
    else
        free(program);
    return error;
}

/* ---- Where they come from ---- */

static int load_listing(struct side *side, const struct policy_listing *listing)
{
    const struct stack stack = {1, {listing->program.filter}, {listing->program.length}};
    return add_subject(side, listing->program.name, listing->arch, &stack);
}

/* The policies of this build: all of them, or the one of that name. */
static int load_this(struct side *side, const char *name)
{
    const struct selection all = {name, POLICY_ARCHES};
    int error = 0;
    for (const struct policy_listing *at = selection_next(&all, NULL); at && error == 0;
         at = selection_next(&all, at))
        error = load_listing(side, at);
    return error;
}

static void print_mistake(void *context, const char *text)
{
    *(bool *)context = true;
    fprintf(stderr, "%s\n", text);
}

static int load_texts(struct side *side, const char *directory)
{
    bool mistakes = false;
    struct texts *texts;
    int error = texts_read(directory, print_mistake, &mistakes, &texts);
    if (error < 0)
        return error;
    for (size_t i = 0; i < texts->count && error == 0; i++) {
        const struct policy_listing *listing = &texts->policies[i].listing;
        struct sock_filter *program;
        size_t length;
        error = rules_program(listing, listing->rules, listing->rule_count, &program, &length);
        if (error == 0)
            error = add_owned(side, listing->program.name, listing->arch, program, length);
    }
    texts_free(texts);
    return error == 0 && mistakes ? -EINVAL : error;
}

static int load_program(struct side *side, const char *path, const char *name,
                        enum policy_arch arch)
{
    struct sock_filter *program;
    size_t length, index;
    int error = filter_of_file(path, &program, &length);
    if (error < 0)
        return error;
    if (ways_validate(program, length, &index) == NULL)
        return add_owned(side, name, arch, program, length);
    free(program);
    return -EINVAL;
}

/* Where NAME.bpf begins in "FOLDERS/ARCH/NAME.bpf"; NULL if there is no folder of this
 * architecture. */
static const char *behind_folder(const char *path, enum policy_arch arch)
{
    char folder[32];
    snprintf(folder, sizeof(folder), "%s/", policy_arch_name(arch));
    const char *name = NULL;
    for (const char *at = strstr(path, folder); at; at = strstr(at + 1, folder)) {
        if (at == path || at[-1] == '/')
            name = at + strlen(folder);
    }
    return name;
}

static bool is_program(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".bpf") == 0;
}

/* Load one program. If its path names the architecture, as that of an exported one does, it is a
 * policy's program; or else it is a foreign one, which may be about several architectures. */
static int load_one_program(struct side *side, const char *path)
{
    enum policy_arch arch = POLICY_ARCHES;
    const char *last = NULL; /* folders further up may have the name of an architecture, too */
    side->single = true;
    for (enum policy_arch each = 0; each < POLICY_ARCHES; each++) {
        const char *name = behind_folder(path, each);
        if (name && (!last || name > last)) {
            last = name;
            arch = each;
        }
    }
    if (!last)
        return load_program(side, path, path, arch);
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "%.*s", (int)(strlen(last) - strlen(".bpf")), last);
    return load_program(side, path, name, arch);
}

/* Load ARCH/NAME.bpf files, as export and the build write them. */
static int load_programs(struct side *side, const char *directory)
{
    int error = 0;
    for (enum policy_arch arch = 0; arch < POLICY_ARCHES && error == 0; arch++) {
        struct names names;
        char folder[4096], path[4096 + NAME_SIZE + 8];
        snprintf(folder, sizeof(folder), "%s/%s", directory, policy_arch_name(arch));
        error = names_find(folder, ".bpf", &names);
        if (error == -ENOENT)
            error = 0;
        for (size_t i = 0; i < names.count && error == 0; i++) {
            snprintf(path, sizeof(path), "%s/%s.bpf", folder, names.names[i]);
            error = load_program(side, path, names.names[i], arch);
        }
    }
    return error == 0 && side->count == 0 ? -ENOENT : error;
}

static int remove_entry(const char *path, const struct stat *file, int type, struct FTW *walk)
{
    (void)file;
    (void)type;
    (void)walk;
    return remove(path);
}

/* Another bao-seccomp: it is asked for its programs. */
static int load_build(struct side *side, const char *path)
{
    char folder[] = "/tmp/bao-seccomp-XXXXXX";
    int status = 0;
    if (!mkdtemp(folder))
        return -errno;
    pid_t child = fork();
    if (child == 0) {
        execl(path, path, "export", folder, (char *)NULL);
        _exit(127);
    }
    int error = child < 0 ? -errno : 0;
    if (error == 0 && (waitpid(child, &status, 0) != child || status != 0))
        error = -ENOEXEC;
    if (error == 0)
        error = load_programs(side, folder);
    nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return error;
}

/* A process of ours: its own program, which is compared with its policy. Any other: all its
 * programs together. */
static int load_process(struct side *side, pid_t pid)
{
    struct process process;
    struct stack stack = {0};
    char name[NAME_SIZE];
    side->single = true;
    int error = process_read(pid, &process);
    if (error == 0)
        error = filters_read(pid, &side->filters);
    if (error != 0 && error != -EINVAL) /* -EINVAL: a process that has no filter */
        return error;
    const struct filters *filters = &side->filters;
    const struct policy_listing *policy = process_policy(&process, filters);
    for (size_t i = policy && filters->count > 0 ? filters->count - 1 : 0; i < filters->count; i++)
        stack_add(&stack, filters->items[i].filter, filters->items[i].length);
    if (policy && filters->count > 0)
        return add_subject(side, policy->program.name, policy->arch, &stack);
    snprintf(name, sizeof(name), "process %d", (int)pid);
    return add_subject(side, name, POLICY_ARCHES, &stack);
}

static const char *words_of(int error)
{
    switch (-error) {
    case ENOEXEC:
        return "it is no bao-seccomp that has 'export'";
    case EINVAL:
        return "it holds what can't be read";
    default:
        return strerror(-error);
    }
}

int side_load(const char *what, struct side *side)
{
    struct stat file;
    char *end;
    long pid = strtol(what, &end, 10);
    const struct selection named = {what, POLICY_ARCHES};
    int error;
    side->words = what;
    if (strcmp(what, "this") == 0)
        error = load_this(side, NULL);
    else if (selection_next(&named, NULL))
        error = load_this(side, what);
    else if (pid > 0 && *end == '\0')
        error = load_process(side, (pid_t)pid);
    else if (stat(what, &file) < 0)
        error = -errno;
    else if (!S_ISDIR(file.st_mode) && is_program(what))
        error = load_one_program(side, what);
    else if (!S_ISDIR(file.st_mode))
        error = load_build(side, what);
    else if (texts_are_in(what))
        error = load_texts(side, what);
    else
        error = load_programs(side, what);
    side->single |= strcmp(what, "this") != 0 && selection_next(&named, NULL);
    if (error == 0)
        return AUDIT_GOOD;
    fprintf(stderr, "bao-seccomp: %s can't be compared: %s\n", what, words_of(error));
    return AUDIT_TROUBLE;
}

void side_free(struct side *side)
{
    for (size_t i = 0; i < side->count; i++)
        free(side->subjects[i].owned);
    filters_free(&side->filters);
    free(side);
}
