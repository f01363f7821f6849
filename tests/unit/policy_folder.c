/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_folder.h"

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test-policy-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

int policy_folder_make(void)
{
    return mkdtemp(folder) && mkdir(path_of("block"), 0700) == 0 ? 0 : 1;
}

int policy_folder_remove(void)
{
    policy_folder_write("block/virtio.policy", NULL);
    policy_folder_write("shared.inc", NULL);
    return rmdir(path_of("block")) == 0 && rmdir(folder) == 0 ? 0 : 1;
}

const char *policy_folder_path(void)
{
    return folder;
}

void policy_folder_write(const char *name, const char *text)
{
    if (!text) {
        unlink(path_of(name));
        return;
    }
    FILE *file = fopen(path_of(name), "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_FATAL(fputs(text, file) >= 0);
    CU_ASSERT_FATAL(fclose(file) == 0);
}
