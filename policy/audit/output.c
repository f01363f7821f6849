/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int output_begin(const char *path, struct output *ret)
{
    struct output output = {.path = path};
    int length = snprintf(output.temporary, sizeof(output.temporary), "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof(output.temporary))
        return -ENAMETOOLONG;
    int fd = mkostemp(output.temporary, 0);
    if (fd < 0)
        return -errno;
    int error = fflush(stdout) != 0 || dup2(fd, STDOUT_FILENO) < 0 ? -errno : 0;
    close(fd);
    if (error < 0)
        unlink(output.temporary);
    else
        *ret = output;
    return error;
}

int output_end(struct output *output, bool keep)
{
    if (!output->path)
        return 0;
    int error = keep && fsync(STDOUT_FILENO) < 0 ? -errno : 0;
    if (keep && error == 0 && rename(output->temporary, output->path) < 0)
        error = -errno;
    if (!keep || error < 0)
        unlink(output->temporary);
    return error;
}
