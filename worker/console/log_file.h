/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's log file, which has a bound. When it is full, its content replaces that of the second
 * file (NAME.1), and it begins anew. So the two files take no more than twice the bound, and the
 * newest bytes are at the end of the first.
 *
 * A worker can't rename files, so it copies, in steps. Until the last step the first file stays as
 * it is, and if a worker dies in between, its successor begins again. RLIMIT_FSIZE has the same
 * bound: the kernel holds a worker that was taken over to it.
 *
 * System calls on the files below, besides write on the first, which is the caller's: lseek and
 * read on the third, write on the second, ftruncate to 0 on both.
 */
#ifndef WORKER_CONSOLE_LOG_FILE_H
#define WORKER_CONSOLE_LOG_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/device.h"

enum {
    LOG_FILE = WORKER_FD_BACKEND2,      /* appended to */
    LOG_FILE_OLD = WORKER_FD_BACKEND3,  /* appended to: what was in the first file before */
    LOG_FILE_READ = WORKER_FD_BACKEND4, /* the first file, for reading */
};

/* Before lock-down. `size`: the bound of each file, in bytes; 0: there is no bound. */
void log_file_init(uint64_t size);

/* How many of `length` bytes may be written now; 0: call log_file_step first. */
uint32_t log_file_room(uint32_t length);

/* `bytes` were written. */
void log_file_wrote(uint32_t bytes);

/* A write failed with this error. Returns true if it failed because the file is full after all:
 * another process has written to it. Otherwise the bytes are lost. */
bool log_file_is_full(int error);

/* Copy one more piece, or, after the last piece, begin the file anew. One call does a bounded
 * amount of work. */
void log_file_step(struct device *dev);

#endif
