/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in a box. It lies in the queue of a Unix socket, and in nobody's table of files. The box
 * is passed on and kept as any fd; as long as one is left, the file is open, with its locks.
 *
 * The reason: close(2), and the end of a process, flush each file in the process' table. On a file
 * system whose server does not answer (FUSE, NFS) that waits, in a state that no signal ends. A
 * file in a queue is not flushed. So who keeps a file only for others can always close, end and
 * die.
 *
 * Nor can a process do anything to a file while it has only the box: look at it, ask for its kind,
 * write to it.
 */
#ifndef COMMON_BOX_H
#define COMMON_BOX_H

/* Put a copy of `fd` (borrowed) into a new box. Returns the box, close-on-exec, or -errno. */
int box_make(int fd);

/*
 * A copy of what is in the box, which keeps it: a new fd, close-on-exec, of the lowest free number.
 * Never waits. -EPROTO if it is no box; -errno.
 */
int box_open(int box);

#endif
