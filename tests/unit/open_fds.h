/* SPDX-License-Identifier: Apache-2.0 */
/* Does a function leave files open? Count them before and after it. */
#ifndef TESTS_UNIT_OPEN_FDS_H
#define TESTS_UNIT_OPEN_FDS_H

#include <dirent.h>

/* How many files this process has open; with what it takes to count them. */
static inline unsigned int open_fds(void)
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
