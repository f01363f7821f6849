/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the programs of this build as files, so that they can be compared with those of another
 * build. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/audit/audit.h"
#include "policy/audit/json.h"

#define PATH_SIZE 4096

/* Makes the folders of a path. */
static int make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int result = mkdir(path, 0777);
        *slash = '/';
        if (result != 0 && errno != EEXIST)
            return -errno;
    }
    return 0;
}

static int write_program(const char *path, const struct policy_program *program)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return -errno;
    bool failed =
        fwrite(program->filter, sizeof(*program->filter), program->length, file) != program->length;
    failed |= fclose(file) != 0;
    return failed ? -EIO : 0;
}

static void json_row(const struct policy_listing *listing, const char *path)
{
    json_open('{');
    json_text_of("policy", listing->program.name);
    json_text_of("arch", policy_arch_name(listing->arch));
    json_number_of("instructions", listing->program.length);
    json_text_of("sha256", listing->program.hash);
    json_text_of("file", path);
    json_close();
}

int audit_export(const struct question *question)
{
    if (question->argc != 1)
        return audit_complain("export", question->argc == 0 ? "" : question->argv[1],
                              "one directory to write to");
    bool json = question->format == FORMAT_JSON;
    if (json)
        json_open('[');
    for (const struct policy_listing *at = selection_next(&question->selection, NULL); at;
         at = selection_next(&question->selection, at)) {
        char path[PATH_SIZE];
        int length = snprintf(path, sizeof(path), "%s/%s/%s.bpf", question->argv[0],
                              policy_arch_name(at->arch), at->program.name);
        int error = length < (int)sizeof(path) ? make_folders(path) : -ENAMETOOLONG;
        if (error == 0)
            error = write_program(path, &at->program);
        if (error < 0) {
            fprintf(stderr, "bao-seccomp: %s can't be written: %s\n", path, strerror(-error));
            return AUDIT_TROUBLE;
        }
        if (json)
            json_row(at, path);
    }
    if (json)
        json_close();
    return AUDIT_GOOD;
}
