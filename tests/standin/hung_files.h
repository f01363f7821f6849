/* SPDX-License-Identifier: Apache-2.0 */
/* A file system whose root is there, and which never answers a look at anything in it: as a FUSE or
 * network file system whose server hangs. */
#ifndef TESTS_STANDIN_HUNG_FILES_H
#define TESTS_STANDIN_HUNG_FILES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct hung_files {
    int device; /* /dev/fuse */
    pthread_t thread;
    atomic_uint hangs; /* requests that wait for their answer */
    const char *path;
};

/* Mount it at the directory `path`. Returns 0; -errno, -ENOENT where the kernel has no FUSE. */
int hung_files_mount(struct hung_files *files, const char *path);

/* Everybody who waits gets an error; unmounted. */
void hung_files_end(struct hung_files *files);

#endif
