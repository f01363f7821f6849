/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that the broker can still open: the nodes of the backends. A mount namespace whose root
 * holds nothing else ensures this, and Landlock ensures it once more. And what a connector can
 * still reach: the sockets in one directory, since its root holds nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/lockdown.h"
#include "common/confine.h"

/* Where the new root is mounted before it becomes the root. /dev exists: we opened a node. */
#define NEW_ROOT "/dev"

/* A node or directory that is moved into the new root. */
struct node {
    const char *path; /* NULL: a directory of sockets; a connector only connects to them */
    const char *in_root;
    int tree; /* a detached mount of it, made before the new root hides it; -1: none */
};

#define NODES_MAX DEVICE_KINDS

/* Lists each node once. Returns how many there are. */
static size_t list_nodes(const struct lockdown *lockdown, struct node nodes[NODES_MAX])
{
    bool seen[DEVICE_KINDS] = {false};
    size_t count = 0;
    const struct supervisor *supervisor = lockdown->supervisor;
    for (size_t i = 0; supervisor && i < supervisor->device_count; i++) {
        const struct device *device = &supervisor->devices[i];
        const struct backend_ops *ops = device->backend.ops;
        if (ops->node && !seen[device->config->kind])
            nodes[count++] = (struct node){ops->node, ops->node_in_root, -1};
        seen[device->config->kind] = true;
    }
    return count;
}

/* --- The root ------------------------------------------------------------------------------- */

#define ROOT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static int make_mount_point(const struct node *node, const char *name)
{
    if (!node->path)
        return mkdirat(AT_FDCWD, name, 0700) < 0 ? -errno : 0;
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return -errno;
    close(file);
    return 0;
}

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256 /* Linux 5.10; a C library may not know it */
#endif

/*
 * A connector can still connect to a socket, but nothing can be made or changed beside it. A user
 * who may write to the directory could make links in it to the sockets of another device, so no
 * link is followed. What is mounted there later is not seen.
 */
static int restrict_directory(const char *name)
{
    const unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSYMFOLLOW | ROOT_FLAGS;
    if (mount(NULL, name, NULL, MS_PRIVATE, NULL) < 0 || mount(NULL, name, NULL, flags, NULL) < 0)
        return -errno;
    return 0;
}

static int place_node(const struct node *node)
{
    const char *name = node->in_root + 1; /* relative to the new root, the working directory */
    int result = make_mount_point(node, name);
    if (result == 0 && move_mount(node->tree, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        result = -errno;
    return result == 0 && !node->path ? restrict_directory(name) : result;
}

/* A missing node affects its own devices only: their workers can't be given it. */
static void take_nodes(struct node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].path)
            nodes[i].tree = open_tree(AT_FDCWD, nodes[i].path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    }
}

/* The root has the mounts now. Close the fds, so that nobody gets out of the root by them. */
static void close_trees(const struct node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].tree >= 0)
            close(nodes[i].tree);
    }
}

static int enter_root_with(struct node *nodes, size_t count)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    take_nodes(nodes, count);
    if (mount("none", NEW_ROOT, "tmpfs", ROOT_FLAGS, "size=64k,nr_inodes=64,mode=0555") < 0 ||
        chdir(NEW_ROOT) < 0)
        return -errno;
    int result = 0;
    for (size_t i = 0; result == 0 && i < count; i++) {
        if (nodes[i].tree >= 0)
            result = place_node(&nodes[i]);
    }
    close_trees(nodes, count);
    if (result == 0)
        result = confine_change_root();
    if (result < 0)
        return result;
    if (chdir("/") < 0 ||
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | ROOT_FLAGS, NULL) < 0)
        return -errno;
    return 0;
}

int lockdown_own_root(struct lockdown *lockdown)
{
    struct node nodes[NODES_MAX];
    return enter_root_with(nodes, list_nodes(lockdown, nodes));
}

int lockdown_connector_root(struct lockdown *lockdown)
{
    struct node sockets = {NULL, CONNECTOR_DIRECTORY, lockdown->directory};
    return enter_root_with(&sockets, 1);
}

/* --- Landlock ------------------------------------------------------------------------------- */

/* A broker opens its nodes, and connects to nothing. A connector connects to the sockets in its
 * directory, and opens nothing. That directory was there when the keeper opened it. */
static int allow_what_is_needed(const struct lockdown *lockdown, const struct landlock *landlock)
{
    struct node nodes[NODES_MAX];
    size_t count = list_nodes(lockdown, nodes);
    int result = 0;
    for (size_t i = 0; result == 0 && i < count; i++)
        result = confine_landlock_allow_node(landlock, nodes[i].in_root);
    if (result == 0 && !lockdown->supervisor)
        result = confine_landlock_allow_sockets(landlock, CONNECTOR_DIRECTORY);
    return result;
}

int lockdown_landlock(struct lockdown *lockdown)
{
    struct landlock landlock;
    int result = confine_landlock_begin(&landlock);
    if (result < 0)
        return result == -EOPNOTSUPP ? 0 : result; /* a kernel without Landlock */
    result = allow_what_is_needed(lockdown, &landlock);
    if (result < 0) {
        confine_landlock_drop(&landlock);
        return result;
    }
    result = confine_landlock_enter(&landlock);
    if (result == 0)
        lockdown->landlock_abi = landlock.abi;
    return result;
}
