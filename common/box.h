/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in a box: the file lies in the queue of a Unix socket, and in no process's table of files.
 * A box is passed on and kept like any fd. As long as one fd of the box is left, the file is open,
 * with its locks.
 *
 * The reason: close(2), and the end of a process, flush each file in the process's table. On a file
 * system whose server does not answer (FUSE, NFS) that waits, in a state that no signal ends. A
 * file in a queue is not flushed. So a process that keeps a file only for others can always close
 * it, exit and die.
 *
 * A process that has only the box can do nothing to the file: it can't look at it, ask for its
 * kind, or write to it.
 */
#ifndef COMMON_BOX_H
#define COMMON_BOX_H

/* Put a copy of `fd` (borrowed) into a new box. Returns the box, close-on-exec, or -errno. */
int box_make(int fd);

/*
 * A copy of the file in the box; the box keeps the file. Returns a new fd, close-on-exec, with the
 * lowest free number. Never waits. -EPROTO if it is no box; -errno.
 */
int box_open(int box);

#endif
