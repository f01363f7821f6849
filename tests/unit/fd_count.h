/* SPDX-License-Identifier: Apache-2.0 */
/* How many files this process has open: a call that fails must not keep any. */
#ifndef TESTS_UNIT_FD_COUNT_H
#define TESTS_UNIT_FD_COUNT_H

#include <dirent.h>

static inline unsigned int fd_count(void)
{
    unsigned int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

#endif
