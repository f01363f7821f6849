/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An io_uring that can do one thing: move data between the device's image and memory. The kernel
 * works on several such requests at once, and this process waits for all of them by one call.
 *
 * A seccomp filter does not see what is in a ring. So the ring is made before lock-down, and its
 * own restrictions (IORING_REGISTER_RESTRICTIONS), which nothing can lift, say what it takes:
 *
 *   - the operation IORING_OP_READV; IORING_OP_WRITEV only if it was asked for;
 *   - of files only those that are registered with it (IOSQE_FIXED_FILE is required), and those are
 *     the image and the mark of ring_open;
 *   - none of the other flags of a request, such as links or buffers that the kernel chooses.
 *
 * io_uring_register and io_uring_setup are not in the worker's policy, so no file and no operation
 * is added later.
 *
 * The end of a worker. The kernel may work on requests of a process that is dead: do_exit waits for
 * the threads that it has made for them (io_uring_clean_tctx, io_wq_put_and_exit), but not for
 * requests that a disk has, as with O_DIRECT (io_uring_cancel_generic counts them only for exec).
 * These end in the background (io_ring_exit_work). So the successor has to wait for the end of the
 * ring, and not only for the end of the process. It waits for a lock on the state page. The
 * predecessor took it through an open file description of its own, and then left that to its ring
 * as a registered file. The kernel gives back the files of a ring when no request is left
 * (io_ring_ctx_free, io_sqe_files_unregister), and with the last reference the lock is gone
 * (locks_remove_file). By then no request of the predecessor's writes to the image or to the
 * window.
 *
 * Pure data structures but for ring_open and ring_enter.
 */
#ifndef WORKER_RING_H
#define WORKER_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* The two queues, which the process shares with the kernel. Only worker/ring.c uses them, and a
 * test that tries what a worker could put into them that was taken over. */
struct ring_queues {
    /* Of the submission queue: this process writes the tail, the kernel the head. */
    const uint32_t *submit_head;
    uint32_t *submit_tail;
    uint32_t submit_mask;
    struct io_uring_sqe *entries;
    /* Of the completion queue, the other way round. */
    uint32_t *done_head;
    const uint32_t *done_tail;
    uint32_t done_mask;
    const struct io_uring_cqe *results;
};
extern struct ring_queues ring_queues;

/*
 * Make the ring, as WORKER_FD_RING. Before lock-down. Until now that number is the mark: an open
 * file description of the state page that nobody else has. First this waits for the end of a
 * predecessor's ring. `writes`: the ring takes IORING_OP_WRITEV as well. `processors`: bit n: the
 * kernel's threads may run on processor n; 0: on any.
 *
 * Returns 0 or -errno: -ENOSYS if the kernel has no io_uring; -EPERM if it does not let this
 * process have one; -EINVAL before Linux 6.1.
 *
 * System calls: fcntl (F_OFD_SETLKW, F_DUPFD_CLOEXEC), io_uring_setup, io_uring_register, mmap,
 * close.
 */
int ring_open(bool writes, uint64_t processors);

/*
 * Add a request; ring_enter hands it to the kernel. There must be fewer than RING_ENTRIES
 * (common/ring.h) under way. `number` comes back with the result. The array stays as it is until
 * then.
 */
void ring_add_read(uint32_t number, const struct iovec *to, unsigned int count, uint64_t offset);
void ring_add_write(uint32_t number, const struct iovec *from, unsigned int count, uint64_t offset);

/*
 * Hand over what was added, and wait until at least `wait` requests are done. Returns 0; -EINTR if
 * the wait was cut short; or -errno if the kernel took nothing: then the requests that it has not
 * taken are still added.
 *
 * System call: io_uring_enter.
 */
int ring_enter(unsigned int wait);

/* Take back the request that was added last and that the kernel has not taken. Returns false if
 * there is none. */
bool ring_take_back(uint32_t *ret_number);

/* The next request that is done, in any order. `*ret_result` is what preadv would return, or
 * -errno. Returns false if there is none. */
bool ring_done(uint32_t *ret_number, int32_t *ret_result);

#endif
