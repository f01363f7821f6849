/* SPDX-License-Identifier: Apache-2.0 */
/* How the io_uring of a worker is made (worker/ring.h). The opener of its device asks beforehand
 * whether the kernel would make one. */
#ifndef COMMON_RING_H
#define COMMON_RING_H

#include <linux/io_uring.h>

/* Requests that are under way at once. */
#define RING_ENTRIES 64u

/* Where a file system can't read without waiting, the kernel makes threads of the worker that wait
 * in its place. They never run code of the worker's. It makes at most this many. */
#define RING_THREADS 32u

/*
 * R_DISABLED: nothing can be submitted until the restrictions are in force. SINGLE_ISSUER: this
 * thread alone submits. DEFER_TASKRUN: what the kernel has to do in this thread, it does while the
 * thread waits for the ring, and not after any other system call. SUBMIT_ALL: a request that is
 * refused does not hold back those behind it. Linux 6.1 has all of them.
 */
#define RING_FLAGS                                                                                 \
    (IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |           \
     IORING_SETUP_SUBMIT_ALL)

#endif
