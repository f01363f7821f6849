/* SPDX-License-Identifier: Apache-2.0 */
/* A file system whose root exists, but which never answers any access to a file in it. It is like a
 * FUSE or network file system whose server hangs. */
#ifndef TESTS_STANDIN_HUNG_FILES_H
#define TESTS_STANDIN_HUNG_FILES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct hung_files {
    int device; /* /dev/fuse */
    pthread_t thread;
    atomic_uint hangs; /* requests that wait for an answer */
    const char *path;
};

/* Mount it at the directory `path`. Returns 0; -errno, -ENOENT if the kernel has no FUSE. */
int hung_files_mount(struct hung_files *files, const char *path);

/* All processes that wait get an error, and the file system is unmounted. */
void hung_files_end(struct hung_files *files);

#endif
