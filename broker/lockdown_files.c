/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that the broker can still open: the backends' nodes, by a mount namespace whose root
 * holds nothing else, and once more by Landlock.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/lockdown.h"
#include "common/confine.h"

/* Where the new root is mounted before it is the root: /dev is there, since we opened a node. */
#define NEW_ROOT "/dev"

/* The backends' nodes, each once: calls `visit` for each. Returns 0, or its first -errno. */
static int each_node(const struct lockdown *lockdown,
                     int (*visit)(const struct backend_ops *ops, int argument), int argument)
{
    const struct backend_ops *seen[DEVICE_KINDS] = {0};
    const struct supervisor *supervisor = lockdown->supervisor;
    for (size_t i = 0; i < supervisor->device_count; i++) {
        const struct device *device = &supervisor->devices[i];
        const struct backend_ops *ops = device->backend.ops;
        enum device_kind kind = device->config->kind;
        if (!ops->node || seen[kind])
            continue;
        seen[kind] = ops;
        int result = visit(ops, argument);
        if (result < 0)
            return result;
    }
    return 0;
}

/* --- The root ------------------------------------------------------------------------------- */

static int node_trees[DEVICE_KINDS];
static size_t node_tree_count;

/* A mount of the node alone, in hand before the new root hides its directory. */
static int take_node(const struct backend_ops *ops, int unused)
{
    (void)unused;
    int tree = open_tree(AT_FDCWD, ops->node, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return -errno;
    node_trees[node_tree_count++] = tree;
    return 0;
}

static int place_node(const struct backend_ops *ops, int unused)
{
    (void)unused;
    static size_t next;
    const char *name = ops->node_in_root + 1; /* relative to the new root, where we stand */
    int tree = node_trees[next++];
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return -errno;
    close(file);
    int result = move_mount(tree, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
    close(tree);
    return result;
}

int lockdown_own_root(struct lockdown *lockdown)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    int result = each_node(lockdown, take_node, 0);
    if (result < 0)
        return result;
    if (mount("none", NEW_ROOT, "tmpfs", flags, "size=64k,nr_inodes=16,mode=0555") < 0 ||
        chdir(NEW_ROOT) < 0)
        return -errno;
    result = each_node(lockdown, place_node, 0);
    if (result == 0)
        result = confine_change_root();
    if (result < 0)
        return result;
    if (chdir("/") < 0 ||
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL) < 0)
        return -errno;
    return 0;
}

/* --- Landlock ------------------------------------------------------------------------------- */

static uint64_t allowed_on_nodes;

static int allow_node(const struct backend_ops *ops, int ruleset)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = allowed_on_nodes,
        .parent_fd = open(ops->node_in_root, O_PATH | O_CLOEXEC),
    };
    if (rule.parent_fd < 0)
        return -errno;
    long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = result < 0 ? -errno : 0;
    close(rule.parent_fd);
    return error;
}

int lockdown_landlock(struct lockdown *lockdown)
{
    int ruleset = confine_landlock_ruleset(&allowed_on_nodes);
    if (ruleset < 0)
        return ruleset == -EOPNOTSUPP ? 0 : ruleset; /* a kernel without it */
    int result = each_node(lockdown, allow_node, ruleset);
    if (result == 0)
        result = confine_landlock_enter(ruleset);
    close(ruleset);
    lockdown->landlock = result == 0;
    return result;
}
