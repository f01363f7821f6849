/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/generations.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* clang-format off */
#define TYPE_A6 .policy = "broker", .attach = BAO_IOCTL_IO_CLIENT_ATTACH,                          \
    .complete = BAO_IOCTL_IO_REQUEST_COMPLETE, .ioeventfd = BAO_IOCTL_IOEVENTFD,                   \
    .irqfd = BAO_IOCTL_IRQFD, .attach_interrupted = EFAULT
/* The modules of the out-of-tree driver, in its newer and its older branches; and those of the
 * published series. */
#define OUT_OF_TREE .modules = {"bao-iodispatcher", "iodispatcher"}
#define SERIES .modules = {"bao"}

const struct generation generations[BAO_GENERATIONS] = {
    [BAO_A] = {.name = "A", .node = BAO_DISPATCHER_NODE, TYPE_A6, OUT_OF_TREE},
    [BAO_B] = {.name = "B", .node = BAO_DISPATCHER_NODE, TYPE_A6, SERIES},
    [BAO_C] = {.name = "C", .node = BAO_DM_NODE, .a_node_each = true, TYPE_A6, SERIES},
    [BAO_D] = {
        .name = "D", .node = BAO_NODE, .policy = "broker_d",
        .attach = BAO_D_IOCTL_IO_CLIENT_ATTACH, .complete = BAO_D_IOCTL_IO_REQUEST_COMPLETE,
        .ioeventfd = BAO_D_IOCTL_IOEVENTFD, .irqfd = BAO_D_IOCTL_IRQFD,
        .attach_interrupted = EINTR, .told = true, SERIES,
    },
};
/* clang-format on */

static bool exists(const char *root, const char *path)
{
    char name[PATH_MAX];
    struct stat file;
    snprintf(name, sizeof(name), "%s%s", root, path);
    return stat(name, &file) == 0 && !S_ISDIR(file.st_mode);
}

static bool look_for(const char *root, const struct generation *generation,
                     struct generation_node *ret)
{
    if (!generation->a_node_each) {
        snprintf(ret->path, sizeof(ret->path), "%s", generation->node);
        return exists(root, ret->path);
    }
    for (uint32_t id = BAO_DEVICES_MAX; id-- > 0;) {
        char path[sizeof(ret->path)];
        snprintf(path, sizeof(path), "%s%u", generation->node, id);
        if (!exists(root, path))
            continue;
        ret->ids |= 1u << id;
        memcpy(ret->path, path, sizeof(path));
    }
    return ret->ids != 0;
}

size_t generations_find(const char *root, struct generation_node ret[BAO_GENERATIONS])
{
    size_t count = 0;
    for (enum bao_generation i = BAO_A; i < BAO_GENERATIONS; i++) {
        if (i > BAO_A && strcmp(generations[i].node, generations[i - 1].node) == 0)
            continue;
        ret[count] = (struct generation_node){.generation = i};
        count += look_for(root, &generations[i], &ret[count]);
    }
    return count;
}
