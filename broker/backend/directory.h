/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of a path that the user wrote, found by root so that no other user decides where
 * the path leads.
 *
 * A directory is *root's own* if it and all above it belong to root and nobody else may write to
 * them. A symbolic link is followed if it is in such a directory, and is an error anywhere else; so
 * /dev/disk/by-id/... works, and a link that somebody makes in a directory of his is refused. A
 * file in a directory that is not root's own must belong to root or to the directory's owner, and
 * have this one name if it is written, since who may write to a directory may make hard links in
 * it.
 */
#ifndef BROKER_BACKEND_DIRECTORY_H
#define BROKER_BACKEND_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "broker/failure.h"

/* Which file it is, whatever it is called; all 0: none. */
struct file_id {
    uint64_t device, inode;
};

/* Nobody but root can change what it is about. */
bool directory_is_roots(const struct stat *status);

struct directory {
    int fd; /* O_PATH */
    bool roots_own;
    uid_t owner;
    struct file_id id;
    char name[NAME_MAX + 1]; /* of the file in it */
};

/*
 * Find the directory of `path`, whose last part need not be there. With `follow`, a link that is
 * the last part is followed as well: the directory is then that of the file it leads to. Returns 0,
 * or -errno with *failure filled in, beginning by `what` ("image") and the path; -ELOOP: a link
 * that is not followed.
 */
int directory_find(const char *path, bool follow, const char *what, struct directory *ret,
                   struct failure *failure);

void directory_close(struct directory *directory);

/*
 * Make it the working directory of this process, so that its files have short names without any
 * directory on the way; needs a single thread. *ret_back is for directory_leave. Returns 0 or
 * -errno.
 */
int directory_enter(const struct directory *directory, int *ret_back);
void directory_leave(int back);

/* Whether a file that was found there is one to use, as above. Returns NULL, or the reason why not,
 * for "image \"...\" %s". */
const char *directory_refuses(const struct directory *directory, const struct stat *file,
                              bool written);

#endif
