/* SPDX-License-Identifier: Apache-2.0 */
/* What rows do, by real means. Failures are CUnit failures, so that no fault is only assumed. */
#ifndef TESTS_FAULTS_MEANS_H
#define TESTS_FAULTS_MEANS_H

#include "tests/faults/cell.h"

#define NOT(reason)                                                                                \
    {                                                                                              \
        .fate = NOT_APPLICABLE, .why = (reason)                                                    \
    }

/* The path of a name in the cell's directory. */
void path_in(const struct cell *cell, const char *name, char ret[128]);
void make_directory(const struct cell *cell, const char *name);
void rename_in(const struct cell *cell, const char *from, const char *to);
void remove_in(const struct cell *cell, const char *name);
void write_in(const struct cell *cell, const char *name, const char *text);
void truncate_in(const struct cell *cell, const char *name, off_t size);

/* A hanging file system on DIR/hang, with a copy of a generated image, or an empty log. */
void hang_with_image(struct cell *cell);
void hang_with_log(struct cell *cell);
void hang_all(struct cell *cell);
void hang_all_but_close(struct cell *cell);
void hang_nothing(struct cell *cell);
void hang_end(struct cell *cell);

/* Run it in a child that has entered the mount namespace of the keeper. */
void in_mounts_of_keeper(const struct cell *cell, int (*action)(const char *path),
                         const char *path);
int cover(const char *path); /* mount an empty file system over this directory */
int uncover(const char *path);
int remove_node(const char *path);
int make_node_again(const char *path); /* make a real node: the stand-in's is a plain file */

enum process { WORKER, BROKER, KEEPER };
pid_t pid_of(const struct cell *cell, enum process process);
void signal_to(const struct cell *cell, enum process process, int signal_number);

/* RLIMIT_NOFILE of a process: it can open no more files. And the limit that it had before. */
void no_more_files(struct cell *cell, enum process process);
/* RLIMIT_AS: no more memory for the process and for those it will start. And the limit from before.
 */
void no_more_memory(struct cell *cell, enum process process);
void limits_as_before(struct cell *cell);

/* A control group of version 1 or 2 with this controller and limit ("pids", "1"), which a process
 * is moved to and from. */
void group_make(struct cell *cell, const char *controller);
void group_enter(struct cell *cell, enum process process, const char *limit);
void group_leave(struct cell *cell);
void group_remove(struct cell *cell);
/* Remove the group of a cell that was given up; `cell` is the cell's process. */
void group_remove_of(pid_t cell);

#endif
