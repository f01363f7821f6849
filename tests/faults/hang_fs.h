/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system that hangs, fails or is slow when a test says so. It is FUSE: a thread of the test
 * serves it through /dev/fuse. It has one directory, with a few files that are in memory (or in a
 * file that the test gives), sockets and links. Nothing is cached, so every operation comes here.
 * It stands for a disk, an NFS server or a network that does not answer.
 *
 * How a process waits in it (Linux 5.10 to 6.18):
 *  - In any operation that is held: first in state S. A signal with a handler does not end the wait
 *    (the kernel asks the server to interrupt the operation, and the server does not). After
 *    SIGKILL the process is in state D, until the operation is answered: the kernel does not take
 *    back what the server has read. (It would give up what no server has read; here all is read.)
 *  - FLUSH is close(2). The exit of a process that has a file open here waits for it as well.
 *  - A block device over a file in here (struct hang_loop): in state D from the start with O_DIRECT
 *    and fsync. A read through the page cache can be killed.
 * When the test's process ends, in any way, the kernel ends all these waits with an error.
 *
 * Needs root. Thread-safe. Functions return 0 or -errno. A test that uses the file system itself
 * waits like any other process.
 */
#ifndef TESTS_FAULTS_HANG_FS_H
#define TESTS_FAULTS_HANG_FS_H

#include <stdbool.h>
#include <stdint.h>

/* Kinds of operations, as a mask. */
#define HANG_LOOKUP 1u /* of a name; making and removing a name; READLINK */
#define HANG_OPEN 2u
#define HANG_READ 4u
#define HANG_WRITE 8u
#define HANG_FSYNC 16u
#define HANG_FLUSH 32u   /* close(2) */
#define HANG_GETATTR 64u /* stat, statfs, lseek to the end */
#define HANG_SETATTR 128u
#define HANG_FALLOCATE 256u
#define HANG_LSEEK 512u /* search for data and holes */
#define HANG_ALL 1023u
#define HANG_KINDS 10u

struct hang_fs;

/* Mount one on this directory, which must exist. */
int hang_fs_start(const char *dir, struct hang_fs **ret);

/* Add a regular file with this name. `fd` is borrowed, and holds its contents; -1: the file is
 * empty. */
int hang_fs_add(struct hang_fs *fs, const char *name, int fd);

/* From now on, operations of these kinds are held. Kinds that were held before stay held. */
void hang_fs_hang(struct hang_fs *fs, unsigned int kinds);
/* From now on, operations of these kinds end with this error (EIO, ENOSPC, EROFS); 0: no longer. */
void hang_fs_fail(struct hang_fs *fs, unsigned int kinds, int error);
/* From now on, operations of these kinds take so long, one after the other; 0: no longer. */
void hang_fs_slow(struct hang_fs *fs, unsigned int kinds, unsigned int us);
/* Answer the operations that were held, in the order in which they came. From now on none is held.
 */
void hang_fs_go_on(struct hang_fs *fs);

/* How many operations are held now. Wait until there are so many: returns 0 or -ETIMEDOUT. */
unsigned int hang_fs_held(struct hang_fs *fs);
int hang_fs_wait_held(struct hang_fs *fs, unsigned int count, int timeout_ms);

/* Go on, unmount, and free. A process that still has a file open gets errors. NULL: nothing
 * happens. */
void hang_fs_stop(struct hang_fs *fs);

/* A block device over a file. The kernel frees it after its last user has closed it. */
struct hang_loop {
    int fd;
    char path[32]; /* /dev/loopN */
};

/* `file` may be in a hanging file system that does not hang now. */
int hang_loop_attach(const char *file, struct hang_loop *ret);
/* Let the file system go on first, or this waits as well. */
void hang_loop_detach(struct hang_loop *loop);

#endif
