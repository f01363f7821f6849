/* SPDX-License-Identifier: Apache-2.0 */
/* The first three files of a program that a user or a service manager starts. */
#ifndef BROKER_FIRST_FILES_H
#define BROKER_FIRST_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/*
 * The parent may have closed one of them. Then the next file that is opened, or a socket, would get
 * its number, and what is meant for the user would go there. So /dev/null gets it. Call this before
 * anything is opened. Returns 0, or -errno: one of them may be closed.
 */
static inline int first_files_open(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* Has all that was printed reached standard output? What a user asked for may go to a full disk.
 * Returns 0 or -errno. */
static inline int first_files_flush(void)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : -errno;
}

#endif
