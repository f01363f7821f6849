/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one set of policies allows and another does not, in words. Both are brought to the same form
 * first (access.h), so that texts, builds and running processes can be compared with each other.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/audit/access.h"
#include "policy/audit/filters.h"
#include "policy/audit/json.h"
#include "policy/audit/process.h"
#include "policy/audit/texts.h"

struct subject {
    char name[NAME_SIZE];
    enum policy_arch arch;
    struct access_set set;
};

struct side {
    const char *words; /* as asked for */
    bool single;       /* one program, from a file or a process: no others are missing */
    size_t count;
    struct subject subjects[NAMES_MAX * POLICY_ARCHES];
};

/* ---- Where the two sides come from ---- */

/* Takes over the set. */
static int add_subject(struct side *side, const char *name, enum policy_arch arch,
                       const struct access_set *set)
{
    if (side->count == sizeof(side->subjects) / sizeof(side->subjects[0]))
        return -E2BIG;
    struct subject *subject = &side->subjects[side->count++];
    snprintf(subject->name, sizeof(subject->name), "%s", name);
    subject->arch = arch;
    subject->set = *set;
    return 0;
}

static int load_this(struct side *side)
{
    const struct selection all = {NULL, POLICY_ARCHES};
    int error = 0;
    for (const struct policy_listing *at = selection_next(&all, NULL); at && error == 0;
         at = selection_next(&all, at)) {
        struct access_set set;
        error = access_of_program(at->program.filter, at->program.length, at->arch, &set);
        if (error == 0)
            error = add_subject(side, at->program.name, at->arch, &set);
    }
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
        struct access_set set;
        error = access_of_rules(listing, &set);
        if (error == 0)
            error = add_subject(side, listing->program.name, listing->arch, &set);
    }
    texts_free(texts);
    return error == 0 && mistakes ? -EINVAL : error;
}

static int load_program(struct side *side, const char *path, const char *name,
                        enum policy_arch arch)
{
    struct sock_filter filter[BPF_MAXINSNS];
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    size_t length = fread(filter, sizeof(filter[0]), BPF_MAXINSNS, file);
    bool whole = !ferror(file) && fgetc(file) == EOF;
    fclose(file);
    struct access_set set;
    int error = whole ? access_of_program(filter, length, arch, &set) : -EINVAL;
    return error == 0 ? add_subject(side, name, arch, &set) : error;
}

/* The name from "FOLDERS/ARCH/NAME.bpf". If there is no architecture's name in the path, it is the
 * name of the file. */
static void name_of_program(const char *path, enum policy_arch arch, char *ret, size_t size)
{
    char folder[32];
    snprintf(folder, sizeof(folder), "%s/", policy_arch_name(arch));
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    for (const char *at = strstr(path, folder); at; at = strstr(at + 1, folder)) {
        if (at == path || at[-1] == '/')
            name = at + strlen(folder);
    }
    snprintf(ret, size, "%.*s", (int)(strlen(name) - strlen(".bpf")), name);
}

static bool is_program(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".bpf") == 0;
}

/* Load one exported program. The program itself tests the architecture of a call, so that is
 * known. */
static int load_one_program(struct side *side, const char *path)
{
    int error = -EINVAL;
    side->single = true;
    for (enum policy_arch arch = 0; arch < POLICY_ARCHES && error == -EINVAL; arch++) {
        char name[NAME_SIZE];
        name_of_program(path, arch, name, sizeof(name));
        error = load_program(side, path, name, arch);
    }
    return error;
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

static int load_process(struct side *side, pid_t pid)
{
    struct process process;
    struct filters filters;
    side->single = true;
    int error = process_read(pid, &process);
    if (error == 0)
        error = filters_read(pid, &filters);
    if (error != 0)
        return error;
    const struct policy_listing *listing = process_policy(&process, &filters);
    struct access_set set;
    if (!listing || filters.count == 0)
        error = -ENOMSG;
    else
        error = access_of_program(filters.items[filters.count - 1].filter,
                                  filters.items[filters.count - 1].length, listing->arch, &set);
    if (error == 0)
        error = add_subject(side, listing->program.name, listing->arch, &set);
    filters_free(&filters);
    return error;
}

static const char *words_of(int error)
{
    switch (-error) {
    case ENOEXEC:
        return "it is no bao-seccomp that has 'export'";
    case ENOMSG:
        return "it is no process of a device model that has loaded its filter";
    case EINVAL:
        return "it holds what can't be read";
    default:
        return strerror(-error);
    }
}

/* Returns AUDIT_GOOD or AUDIT_TROUBLE. */
static int load(const char *what, struct side *side)
{
    struct stat file;
    char *end;
    long pid = strtol(what, &end, 10);
    int error;
    side->words = what;
    if (strcmp(what, "this") == 0)
        error = load_this(side);
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
    if (error == 0)
        return AUDIT_GOOD;
    fprintf(stderr, "bao-seccomp: %s can't be compared: %s\n", what, words_of(error));
    return AUDIT_TROUBLE;
}

static void free_side(struct side *side)
{
    for (size_t i = 0; i < side->count; i++)
        access_free(&side->subjects[i].set);
    free(side);
}

/* ---- The comparison ---- */

/* The policy of the same name. Two single programs are compared with each other, whatever their
 * names are. */
static const struct subject *find(const struct side *side, const struct subject *like,
                                  const struct side *of)
{
    for (size_t i = 0; i < side->count; i++) {
        const struct subject *subject = &side->subjects[i];
        if (subject->arch == like->arch &&
            ((side->single && of->single) || strcmp(subject->name, like->name) == 0))
            return subject;
    }
    return NULL;
}

static bool has_arch(const struct side *side, enum policy_arch arch)
{
    for (size_t i = 0; i < side->count; i++) {
        if (side->subjects[i].arch == arch)
            return true;
    }
    return false;
}

/* A side with one policy on one architecture does not lack the other policies. */
static bool is_comparable(const struct question *question, const struct side *other,
                          const struct subject *subject, const struct side *of)
{
    enum policy_arch asked = question->selection.arch;
    if (asked != POLICY_ARCHES && asked != subject->arch)
        return false;
    return has_arch(other, subject->arch) && (!other->single || find(other, subject, of)) &&
           (!of->single || find(other, subject, of));
}

static void print_access(const struct access *access, const struct subject *subject, char sign,
                         bool known)
{
    char words[256];
    const struct selection selection = {subject->name, subject->arch};
    const struct policy_listing *listing = selection_next(&selection, NULL);
    const char *call = audit_call_name(access->number, subject->arch);
    const char *between = " with ";
    printf("  %c %s", sign, call ? call : "unknown call");
    if (!call)
        printf(" %u", access->number);
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        if (!access_words(access, i, listing, subject->arch, words, sizeof(words)))
            continue;
        printf("%s%s", between, words);
        between = "; ";
    }
    puts(known         ? ""
         : sign == '+' ? " (a call that was not allowed at all)"
                       : " (the call is no longer allowed at all)");
}

static void json_access(const struct access *access, const struct subject *subject, bool known)
{
    char words[256];
    const struct selection selection = {subject->name, subject->arch};
    const struct policy_listing *listing = selection_next(&selection, NULL);
    json_open('{');
    json_text_of("syscall", audit_call_name(access->number, subject->arch));
    json_number_of("number", access->number);
    json_key("conditions");
    json_open('[');
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        if (access_words(access, i, listing, subject->arch, words, sizeof(words)))
            json_text(words);
    }
    json_close();
    json_bool_of("call_in_both", known);
    json_close();
}

/* Report what `has` allows and `lacks` does not. */
static size_t report_half(const struct subject *has, const struct access_set *lacks, char sign,
                          bool json)
{
    size_t count = 0;
    for (size_t i = 0; i < has->set.count; i++) {
        const struct access *access = &has->set.items[i];
        if (access_covers(lacks, access))
            continue;
        bool known = access_names(lacks, access->number);
        if (json)
            json_access(access, has, known);
        else
            print_access(access, has, sign, known);
        count++;
    }
    return count;
}

static size_t count_half(const struct access_set *has, const struct access_set *lacks)
{
    size_t count = 0;
    for (size_t i = 0; i < has->count; i++)
        count += !access_covers(lacks, &has->items[i]);
    return count;
}

/* Report on one policy; `old` or `new` is NULL if it is on one side only. Returns whether they
 * differ. */
static bool report(const struct subject *old, const struct subject *new, bool json)
{
    static const struct access_set nothing = {0};
    const struct subject *any = new ? new : old;
    if (!any)
        return false;
    const struct access_set *was = old ? &old->set : &nothing, *is = new ? &new->set : &nothing;
    bool same = old && new &&count_half(was, is) == 0 && count_half(is, was) == 0;
    if (same)
        return false;
    if (json) {
        json_open('{');
        json_text_of("old", old ? old->name : NULL);
        json_text_of("new", new ? new->name : NULL);
        json_text_of("arch", policy_arch_name(any->arch));
        json_key("gained");
        json_open('[');
    } else {
        bool renamed = old && new &&strcmp(old->name, new->name) != 0;
        printf("%s%s%s on %s%s\n", renamed ? old->name : "", renamed ? ", compared with " : "",
               any->name, policy_arch_name(any->arch),
               !old   ? ": a new policy"
               : !new ? ": no longer there"
                      : "");
    }
    if (new)
        report_half(new, was, '+', json);
    if (json) {
        json_close();
        json_key("lost");
        json_open('[');
    }
    if (old)
        report_half(old, is, '-', json);
    if (json) {
        json_close();
        json_close();
    }
    return true;
}

static int compare_sides(const struct question *question, const struct side *old,
                         const struct side *new)
{
    bool json = question->format == FORMAT_JSON;
    size_t compared = 0, differ = 0;
    if (json)
        json_open('[');
    for (size_t i = 0; i < old->count; i++) {
        const struct subject *subject = &old->subjects[i];
        if (!is_comparable(question, new, subject, old))
            continue;
        compared++;
        differ += report(subject, find(new, subject, old), json);
    }
    for (size_t i = 0; i < new->count; i++) {
        const struct subject *subject = &new->subjects[i];
        if (!is_comparable(question, old, subject, new) || find(old, subject, new))
            continue;
        compared++;
        differ += report(NULL, subject, json);
    }
    if (json)
        json_close();
    else if (compared > 0)
        printf("%zu of %zu program%s differ\n", differ, compared, audit_plural(compared));
    if (compared == 0) {
        fputs("bao-seccomp: the two have no architecture or no policy in common (a single program "
              "has the name ARCH/NAME.bpf)\n",
              stderr);
        return AUDIT_TROUBLE;
    }
    return differ == 0 ? AUDIT_GOOD : AUDIT_OBJECTS;
}

int audit_diff(const struct question *question)
{
    if (question->argc != 2)
        return audit_complain("diff with", question->argc > 2 ? question->argv[2] : "nothing",
                              "OLD and NEW");
    struct side *old = calloc(1, sizeof(*old)), *new = calloc(1, sizeof(*new));
    int answer = -ENOMEM;
    if (old && new) {
        answer = load(question->argv[0], old);
        if (answer == AUDIT_GOOD)
            answer = load(question->argv[1], new);
        if (answer == AUDIT_GOOD)
            answer = compare_sides(question, old, new);
    }
    if (old)
        free_side(old);
    if (new)
        free_side(new);
    return answer;
}
