/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy compiler: a program of the build, run on the build machine.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/compiler/compile.h"
#include "policy/compiler/emit.h"
#include "policy/compiler/number.h"

static const char usage[] =
    "Usage: policyc DIRECTORY table ARCH FILE NAME...\n"
    "       policyc DIRECTORY catalog FILE NAME...\n"
    "       policyc DIRECTORY programs DIRECTORY NAME...\n"
    "       policyc DIRECTORY calls FILE\n"
    "\n"
    "Compiles DIRECTORY/NAME.policy, checks the programs, and writes\n"
    "  table     C source with the programs for ARCH (x86_64, aarch64 or riscv64)\n"
    "  catalog   C source with rules and programs of all architectures\n"
    "  programs  one file of instructions each: DIRECTORY/ARCH/NAME.bpf\n"
    "  calls     C source with the names of all system calls\n";

static bool compile(const char *directory, const char *name, enum policy_arch arch,
                    struct parsed_policy *ret)
{
    struct policy_error error;
    if (!policy_parse(directory, name, arch, number_of_call, ret, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    if (!policy_compile(ret, &error)) {
        fprintf(stderr, "%s\n", error.text);
        policy_free(ret);
        return false;
    }
    return true;
}

/* Compiles all names for one architecture, or, with POLICY_ARCHES, for each. */
static struct parsed_policy *compile_all(const char *directory, enum policy_arch only,
                                         char *const *names, size_t count, size_t *ret_count)
{
    struct parsed_policy *policies = calloc(count * POLICY_ARCHES, sizeof(*policies));
    size_t done = 0;
    bool good = policies != NULL;
    for (size_t i = 0; i < count && policies; i++) {
        for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++) {
            if (only != POLICY_ARCHES && only != arch)
                continue;
            if (!compile(directory, names[i], arch, &policies[done])) {
                good = false; /* its errors on other architectures would be the same */
                break;
            }
            done++;
        }
    }
    *ret_count = done;
    if (good)
        return policies;
    while (done > 0)
        policy_free(&policies[--done]);
    free(policies);
    return NULL;
}

/* Makes the folders of a path. */
static int make_folders(const char *path)
{
    char folder[4096];
    if ((size_t)snprintf(folder, sizeof(folder), "%s", path) >= sizeof(folder))
        return -ENAMETOOLONG;
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return 0;
}

static FILE *open_output(const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        fprintf(stderr, "policyc: %s can't be written: %s\n", path, strerror(errno));
    return file;
}

static bool close_output(FILE *file, const char *path)
{
    bool failed = ferror(file) != 0;
    failed |= fclose(file) != 0;
    if (failed)
        fprintf(stderr, "policyc: %s can't be written: %s\n", path, strerror(errno));
    return !failed;
}

static bool write_source(const char *path, const struct parsed_policy *policies, size_t count,
                         void (*emit)(FILE *, const struct parsed_policy *, size_t))
{
    FILE *file = open_output(path);
    if (!file)
        return false;
    emit(file, policies, count);
    return close_output(file, path);
}

static bool write_calls(const char *path)
{
    FILE *file = open_output(path);
    if (!file)
        return false;
    emit_calls(file);
    return close_output(file, path);
}

static bool write_programs(const char *directory, const struct parsed_policy *policies,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct policy_listing *listing = &policies[i].listing;
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s/%s.bpf", directory, policy_arch_name(listing->arch),
                 listing->program.name);
        int error = make_folders(path);
        if (error != 0) {
            fprintf(stderr, "policyc: folders of %s can't be made: %s\n", path, strerror(-error));
            return false;
        }
        FILE *file = open_output(path);
        if (!file)
            return false;
        emit_program(file, &listing->program);
        if (!close_output(file, path))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[2] : "";
    bool table = strcmp(verb, "table") == 0, catalog = strcmp(verb, "catalog") == 0;
    int first = table ? 5 : 4;
    if (strcmp(verb, "calls") == 0 && argc == first)
        return write_calls(argv[3]) ? 0 : 1;
    enum policy_arch arch = table && argc > 3 ? policy_arch_find(argv[3]) : POLICY_ARCHES;
    bool known = table ? arch != POLICY_ARCHES : catalog || strcmp(verb, "programs") == 0;
    if (!known || argc <= first) {
        fputs(usage, stderr);
        return 2;
    }
    const char *output = argv[first - 1];
    size_t count;
    struct parsed_policy *policies =
        compile_all(argv[1], arch, argv + first, (size_t)(argc - first), &count);
    if (!policies)
        return 1;

    bool written = table     ? write_source(output, policies, count, emit_table)
                   : catalog ? write_source(output, policies, count, emit_catalog)
                             : write_programs(output, policies, count);
    for (size_t i = 0; i < count; i++)
        policy_free(&policies[i]);
    free(policies);
    return written ? 0 : 1;
}
