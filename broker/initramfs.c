/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/initramfs.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

bool root_is_initramfs(const char *root)
{
    char path[PATH_MAX], line[512], place[256], kind[64];
    bool found = false;
    snprintf(path, sizeof(path), "%s/proc/self/mounts", root);
    FILE *mounts = fopen(path, "re");
    if (!mounts)
        return false;
    while (fgets(line, sizeof(line), mounts)) {
        if (sscanf(line, "%*s %255s %63s", place, kind) == 2 && strcmp(place, "/") == 0)
            found = strcmp(kind, "rootfs") == 0; /* the last mount in the list is on top */
    }
    fclose(mounts);
    return found;
}
