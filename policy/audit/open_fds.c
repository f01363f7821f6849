/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/open_fds.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bao_abi.h"

static int compare(const void *a, const void *b)
{
    const struct open_fd *first = a, *second = b;
    return (first->number > second->number) - (first->number < second->number);
}

void open_fds_read(pid_t pid, struct open_fds *ret)
{
    char path[64];
    ret->count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)) && ret->count < OPEN_FDS_MAX) {
        struct open_fd *fd = &ret->items[ret->count];
        struct stat file = {0};
        char name[32];
        if (entry->d_name[0] == '.')
            continue;
        fd->number = (unsigned int)strtoul(entry->d_name, NULL, 10);
        snprintf(name, sizeof(name), "fd/%u", fd->number);
        if (!process_link(pid, name, fd->target, sizeof(fd->target)))
            continue;
        fd->mode = fstatat(dirfd(dir), entry->d_name, &file, 0) == 0 ? file.st_mode : 0;
        fd->file = file;
        fd->is_node = false;
        ret->count++;
    }
    if (dir)
        closedir(dir);
    qsort(ret->items, ret->count, sizeof(ret->items[0]), compare);
}

static bool is_same(const struct open_fd *fd, const struct stat *node)
{
    return (fd->file.st_dev == node->st_dev && fd->file.st_ino == node->st_ino) ||
           (S_ISCHR(fd->mode) && S_ISCHR(node->st_mode) && fd->file.st_rdev == node->st_rdev);
}

void open_fds_mark_nodes(pid_t root, struct open_fds *fds)
{
    static const char *const nodes[] = {BAO_DISPATCHER_NODE, BAO_NODE};
    for (size_t i = 0; i < 2 * sizeof(nodes) / sizeof(nodes[0]); i++) {
        char path[96];
        struct stat node;
        if (i % 2 == 0)
            snprintf(path, sizeof(path), "%s", nodes[i / 2]);
        else
            snprintf(path, sizeof(path), "/proc/%d/root%s", (int)root, nodes[i / 2]);
        bool there = stat(path, &node) == 0;
        for (size_t f = 0; f < fds->count; f++) {
            struct open_fd *fd = &fds->items[f];
            fd->is_node |= (there && is_same(fd, &node)) || strcmp(fd->target, nodes[i / 2]) == 0;
        }
    }
}

bool is_dm_file(const char *name)
{
    static const char *const starts[] = {"anon_inode:bao-dm", "anon_inode:[bao-dm", BAO_DM_NODE};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return true;
    }
    return false;
}
