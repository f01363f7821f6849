/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* `below` is "", or the name of a directory inside the first directory, with a slash. */
static int note(struct names *names, const char *below, const char *name, const char *suffix)
{
    size_t length = strlen(name);
    if (length <= strlen(suffix) || strcmp(name + length - strlen(suffix), suffix) != 0)
        return 0;
    if (names->count == NAMES_MAX)
        return -E2BIG;
    snprintf(names->names[names->count++], NAME_SIZE, "%s%.*s", below,
             (int)(length - strlen(suffix)), name);
    return 0;
}

static int look_into(struct names *names, const char *directory, const char *below,
                     const char *suffix)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, below);
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOTDIR && *below ? 0 : -errno;
    int error = 0;
    const struct dirent *entry;
    while (error == 0 && (entry = readdir(dir))) {
        char inner[NAME_SIZE];
        if (entry->d_name[0] == '.')
            continue;
        error = note(names, below, entry->d_name, suffix);
        bool could_be_folder = !*below && !strchr(entry->d_name, '.');
        if (error == 0 && could_be_folder &&
            snprintf(inner, sizeof(inner), "%s/", entry->d_name) < (int)sizeof(inner))
            error = look_into(names, directory, inner, suffix);
    }
    closedir(dir);
    return error;
}

int names_find(const char *directory, const char *suffix, struct names *ret)
{
    ret->count = 0;
    int error = look_into(ret, directory, "", suffix);
    qsort(ret->names, ret->count, NAME_SIZE, compare);
    return error;
}
