/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the bao-virtio-dm processes that run: their sockets in CONTROL_DIRECTORY answer. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/dmctl/dmctl.h"

static bool is_socket_name(const char *name)
{
    size_t length = strlen(name), tail = strlen(CONTROL_SUFFIX);
    return length > tail && strcmp(name + length - tail, CONTROL_SUFFIX) == 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct instance *)a)->path, ((const struct instance *)b)->path);
}

/* Returns true if the socket accepts us, or refuses us because we lack rights: then a process is
 * there. */
static bool look(const char *name, struct instance *ret)
{
    if (snprintf(ret->path, sizeof(ret->path), CONTROL_DIRECTORY "/%s", name) >=
        (int)sizeof(ret->path))
        return false;
    ret->fd = control_connect(ret->path);
    return ret->fd >= 0 || ret->fd == -EACCES;
}

size_t instances_find(struct instance ret[INSTANCES_MAX])
{
    size_t count = 0;
    DIR *directory = opendir(CONTROL_DIRECTORY);
    const struct dirent *entry;
    while (directory && count < INSTANCES_MAX && (entry = readdir(directory))) {
        if (is_socket_name(entry->d_name) && look(entry->d_name, &ret[count]))
            count++;
    }
    if (directory)
        closedir(directory);
    qsort(ret, count, sizeof(ret[0]), by_path);
    return count;
}

void instances_close(struct instance *instances, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (instances[i].fd >= 0)
            close(instances[i].fd);
        instances[i].fd = -1;
    }
}

/* Lists the instances on stderr, one on a line. */
static void list(const struct instance *instances, size_t count)
{
    static struct snapshot snapshot;
    for (size_t i = 0; i < count; i++) {
        if (instances[i].fd < 0)
            fprintf(stderr, "  %s: %s\n", instances[i].path, strerror(-instances[i].fd));
        else if (dmctl_take_snapshot(instances[i].fd, NULL, &snapshot) == 0)
            fprintf(stderr, "  %s: process %d, %s\n", instances[i].path, (int)snapshot.keeper,
                    snapshot.config);
    }
}

int instances_only(void)
{
    static struct instance found[INSTANCES_MAX];
    size_t count = instances_find(found);
    if (count == 1) {
        if (found[0].fd < 0)
            dmctl_complain_of_connect(found[0].path, -found[0].fd);
        return found[0].fd;
    }
    if (count == 0) {
        complain("no bao-virtio-dm is running: none has a socket in " CONTROL_DIRECTORY
                 "; for another place use --control PATH");
        return -ENOENT;
    }
    complain("several are running: say which by --control NAME, or use status --all");
    list(found, count);
    instances_close(found, count);
    return -ENOTUNIQ;
}

static void print_head(const struct instance *instance, const struct snapshot *snapshot, bool json)
{
    if (!json) {
        printf("%s: process %d, %s\n", snapshot->config, (int)snapshot->keeper, instance->path);
        return;
    }
    printf("{\"config\": ");
    json_print_string(snapshot->config);
    printf(", \"pid\": %d, \"socket\": ", (int)snapshot->keeper);
    json_print_string(instance->path);
    printf(", \"devices\":\n");
}

int instances_status(bool json)
{
    static struct instance found[INSTANCES_MAX];
    static struct snapshot snapshot;
    size_t count = instances_find(found), shown = 0;
    if (json)
        puts("[");
    for (size_t i = 0; i < count; i++) {
        if (found[i].fd < 0) {
            dmctl_complain_of_connect(found[i].path, -found[i].fd);
            continue;
        }
        if (dmctl_take_snapshot(found[i].fd, NULL, &snapshot) != 0)
            continue;
        if (shown++ > 0)
            puts(json ? "," : "");
        print_head(&found[i], &snapshot, json);
        status_print(&snapshot, json);
        if (json)
            puts("}");
    }
    if (json)
        puts("]");
    if (count == 0)
        complain("no bao-virtio-dm is running: none has a socket in " CONTROL_DIRECTORY);
    instances_close(found, count);
    return count > 0 && shown == count ? EXIT_SUCCESS : EXIT_FAILURE;
}
