/* SPDX-License-Identifier: Apache-2.0 */
/* What this process writes to one of its standard files meanwhile. */
#ifndef TESTS_UNIT_SAID_H
#define TESTS_UNIT_SAID_H

#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAID_SIZE 16384

struct said {
    int fd, kept, file;
    char text[SAID_SIZE]; /* after said_end */
};

/* `fd`: STDOUT_FILENO or STDERR_FILENO. */
static inline void said_begin(struct said *said, int fd)
{
    fflush(stdout);
    fflush(stderr);
    said->fd = fd;
    said->kept = dup(fd);
    said->file = memfd_create("said", MFD_CLOEXEC);
    CU_ASSERT_FATAL(said->kept >= 0 && said->file >= 0);
    CU_ASSERT_EQUAL_FATAL(dup2(said->file, fd), fd);
}

/* Returns the text. */
static inline const char *said_end(struct said *said)
{
    fflush(stdout);
    fflush(stderr);
    ssize_t length = pread(said->file, said->text, sizeof(said->text) - 1, 0);
    said->text[length > 0 ? length : 0] = '\0';
    dup2(said->kept, said->fd);
    close(said->kept);
    close(said->file);
    return said->text;
}

#endif
