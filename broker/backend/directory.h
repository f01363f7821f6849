/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the directory of a path that the user wrote. It does this as root, so that no other user
 * decides where the path leads.
 *
 * A directory is *root's own* if it and all directories above it belong to root, and nobody else
 * may write to them. A symbolic link is followed if it is in such a directory, and is an error
 * anywhere else. So /dev/disk/by-id/... works, and a link that a user makes in the user's own
 * directory is refused. A file in a directory that is not root's own must belong to root or to the
 * owner of the directory. If it is written, it must have only this one name, since anybody who may
 * write to a directory may make hard links in it.
 */
#ifndef BROKER_BACKEND_DIRECTORY_H
#define BROKER_BACKEND_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "broker/failure.h"

/* Which file it is, whatever its name is; all 0: none. */
struct file_id {
    uint64_t device, inode;
};

/* Is it a file or directory that nobody but root can change? */
bool directory_is_roots(const struct stat *status);

struct directory {
    int fd; /* O_PATH */
    bool roots_own;
    uid_t owner;
    struct file_id id;
    char name[NAME_MAX + 1]; /* of the file in it */
};

/*
 * Find the directory of `path`. The last part of the path need not exist. With `follow`, a link
 * that is the last part is followed as well: then the result is the directory of the file that it
 * leads to. Returns 0, or -errno with *failure filled in, whose text begins with `what` ("image")
 * and the path; -ELOOP: a link that is not followed.
 */
int directory_find(const char *path, bool follow, const char *what, struct directory *ret,
                   struct failure *failure);

void directory_close(struct directory *directory);

/*
 * Make it the working directory of this process. Then its files have short names with no directory
 * in them. Needs a single thread. *ret_back is for directory_leave. Returns 0 or -errno.
 */
int directory_enter(const struct directory *directory, int *ret_back);
void directory_leave(int back);

/* May a file that was found there be used, by the rules above? Returns NULL, or the reason why not,
 * for "image \"...\" %s". */
const char *directory_refuses(const struct directory *directory, const struct stat *file,
                              bool written);

#endif
