/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's log file, which has a bound: when it is full, what it holds replaces what the second
 * file holds (NAME.1), and it begins anew. So the two take no more than twice the bound, and the
 * newest bytes are at the end of the first.
 *
 * A worker can't rename, so it copies, in steps; until the last one the first file stays as it is,
 * and a successor of one that died in the midst begins again. The bound is RLIMIT_FSIZE's as well:
 * a worker that was taken over is held to it by the kernel.
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
    LOG_FILE_OLD = WORKER_FD_BACKEND3,  /* likewise: what was in it before */
    LOG_FILE_READ = WORKER_FD_BACKEND4, /* the first one, for reading */
};

/* Before lock-down. `size`: of each file at most, bytes; 0: there is no bound. */
void log_file_init(uint64_t size);

/* Of `length` bytes, those that may be written now; 0: a step of log_file_step's comes first. */
uint32_t log_file_room(uint32_t length);

/* `bytes` were written. */
void log_file_wrote(uint32_t bytes);

/* A write failed with this error. Returns true if it did so since the file is full after all:
 * another process has written to it. Else the bytes are lost. */
bool log_file_is_full(int error);

/* Copy a piece on, or begin anew behind the last one. Bounded. */
void log_file_step(struct device *dev);

#endif
