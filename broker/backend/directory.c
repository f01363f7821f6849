/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as in the kernel */
#define WAY_UP_MAX (PATH_MAX / 2)

/* A walk along a path: the directory that we have reached, and the rest of the path. */
struct walk {
    int fd;
    bool roots_own;
    bool follow;
    unsigned int links;
    char left[PATH_MAX];
    char part[NAME_MAX + 1];
};

bool directory_is_roots(const struct stat *status)
{
    return status->st_uid == 0 && (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static int open_path(int at, const char *name, struct stat *ret)
{
    int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, ret) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* The walk is in that directory from now on. */
static void stand_in(struct walk *walk, int fd, bool roots_own)
{
    if (walk->fd >= 0)
        close(walk->fd);
    walk->fd = fd;
    walk->roots_own = roots_own;
}

static int stand_in_root(struct walk *walk)
{
    struct stat status = {0};
    int fd = open_path(AT_FDCWD, "/", &status);
    if (fd >= 0)
        stand_in(walk, fd, directory_is_roots(&status));
    return fd < 0 ? fd : 0;
}

/* Go to the directory above: *fd and *status become those of that directory. Returns whether it is
 * the same directory, which is true only for the root. */
static int go_up(int *fd, struct stat *status)
{
    struct stat above;
    int next = open_path(*fd, "..", &above);
    if (next < 0)
        return next;
    bool same = above.st_dev == status->st_dev && above.st_ino == status->st_ino;
    close(*fd);
    *fd = next;
    *status = above;
    return same;
}

/* Are all directories from the working directory up to the root directories of root? */
static int all_roots(bool *ret)
{
    struct stat status = {0};
    int fd = open_path(AT_FDCWD, ".", &status);
    if (fd < 0)
        return fd;
    int result = 0;
    *ret = directory_is_roots(&status);
    for (unsigned int i = 0; result == 0 && i < WAY_UP_MAX; i++) {
        result = go_up(&fd, &status);
        *ret = *ret && directory_is_roots(&status);
    }
    close(fd);
    *ret = *ret && result > 0; /* it has come to the root */
    return result < 0 ? result : 0;
}

static int begin(struct walk *walk, const char *path)
{
    struct stat status = {0};
    if (snprintf(walk->left, sizeof(walk->left), "%s", path) >= PATH_MAX)
        return -ENAMETOOLONG;
    if (path[0] == '/')
        return stand_in_root(walk);
    int fd = open_path(AT_FDCWD, ".", &status);
    if (fd < 0)
        return fd;
    walk->fd = fd;
    return all_roots(&walk->roots_own);
}

/* Take the next part off the path. Returns 1; 0 if nothing is left; or -errno. */
static int next_part(struct walk *walk)
{
    const char *part = walk->left + strspn(walk->left, "/");
    size_t length = strcspn(part, "/");
    if (length == 0)
        return 0;
    if (length > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(walk->part, part, length);
    walk->part[length] = '\0';
    part += length;
    part += strspn(part, "/");
    memmove(walk->left, part, strlen(part) + 1);
    return 1;
}

static int follow_link(struct walk *walk, int link)
{
    char target[PATH_MAX], joined[PATH_MAX];
    ssize_t length = readlinkat(link, "", target, sizeof(target));
    if (length < 0)
        return -errno;
    if (length == 0 || length >= PATH_MAX || ++walk->links > LINKS_MAX)
        return -ELOOP;
    target[length] = '\0';
    if (snprintf(joined, sizeof(joined), "%s/%s", target, walk->left) >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(walk->left, joined, sizeof(walk->left));
    return target[0] == '/' ? stand_in_root(walk) : 0;
}

/* Go one part further. Returns 1 to go on; 0: walk->part is a file in the directory that we have
 * reached; -ELOOP with *ret_refused set: it is a link that is not followed. */
static int step(struct walk *walk, bool *ret_refused)
{
    struct stat status = {0};
    bool is_last = walk->left[0] == '\0';
    if (is_last && !walk->follow)
        return 0;
    int fd = open_path(walk->fd, walk->part, &status);
    if (fd < 0)
        return fd == -ENOENT && is_last ? 0 : fd;
    if (S_ISLNK(status.st_mode)) {
        *ret_refused = !walk->roots_own;
        int result = walk->roots_own ? follow_link(walk, fd) : -ELOOP;
        close(fd);
        return result < 0 ? result : 1;
    }
    if (is_last || !S_ISDIR(status.st_mode)) {
        close(fd);
        return is_last ? 0 : -ENOTDIR;
    }
    stand_in(walk, fd, walk->roots_own && directory_is_roots(&status));
    return 1;
}

static int walk_to(struct walk *walk, const char *path, bool *ret_refused)
{
    int result = begin(walk, path);
    if (result < 0)
        return result;
    do {
        result = next_part(walk);
        if (result == 0)
            return -EISDIR; /* "/", or a link to "/" */
        if (result == 1)
            result = step(walk, ret_refused);
    } while (result == 1);
    return result;
}

static int finish(const struct walk *walk, struct directory *ret)
{
    struct stat status = {0};
    if (fstat(walk->fd, &status) < 0)
        return -errno;
    *ret = (struct directory){
        .fd = walk->fd,
        .roots_own = walk->roots_own,
        .owner = status.st_uid,
        .id = {status.st_dev, status.st_ino},
    };
    memcpy(ret->name, walk->part, sizeof(ret->name));
    return 0;
}

int directory_find(const char *path, bool follow, const char *what, struct directory *ret,
                   struct failure *failure)
{
    struct walk walk = {.fd = -1, .follow = follow};
    bool refused = false;
    int result = walk_to(&walk, path, &refused);
    if (result == 0)
        result = finish(&walk, ret);
    if (result == 0)
        return 0;
    if (walk.fd >= 0)
        close(walk.fd);
    if (refused)
        return failure_set(failure, result,
                           "%s \"%s\": \"%s\" is a link in a directory that others than root may "
                           "write to, and is not followed: name what it leads to",
                           what, path, walk.part);
    return failure_set(failure, result, "%s \"%s\": %s", what, path, strerror(-result));
}

void directory_close(struct directory *directory)
{
    close(directory->fd);
    directory->fd = -1;
}

int directory_enter(const struct directory *directory, int *ret_back)
{
    int back = open(".", O_PATH | O_CLOEXEC);
    if (back < 0)
        return -errno;
    if (fchdir(directory->fd) < 0) {
        int error = errno;
        close(back);
        return -error;
    }
    *ret_back = back;
    return 0;
}

void directory_leave(int back)
{
    /* It was the working directory, so it can be entered, unless its mode was changed meanwhile.
     * Only the relative paths that come next depend on it, and they fail then. */
    int ignored = fchdir(back);
    (void)ignored;
    close(back);
}

const char *directory_refuses(const struct directory *directory, const struct stat *file,
                              bool written)
{
    if (directory->roots_own)
        return NULL;
    if (file->st_uid != 0 && file->st_uid != directory->owner)
        return "belongs neither to root nor to the owner of its directory: change its owner, or "
               "move it to a directory that only root may write to";
    if (written && S_ISREG(file->st_mode) && file->st_nlink > 1)
        return "has other names as well (hard links), in a directory that others than root may "
               "write to: copy it, or move it to a directory that only root may write to";
    return NULL;
}
