/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/ring.h"
#include "common/worker_fds.h"

/* The registered files, by their index. */
enum { FILE_IMAGE, FILE_MARK, FILES };

struct ring_queues ring_queues;

/* ---- Before lock-down ---- */

static int ask(int fd, unsigned int opcode, const void *argument, unsigned int count)
{
    return syscall(SYS_io_uring_register, fd, opcode, argument, count) < 0 ? -errno : 0;
}

static int register_files(int fd)
{
    const int32_t files[FILES] = {[FILE_IMAGE] = WORKER_FD_BACKEND, [FILE_MARK] = WORKER_FD_RING};
    return ask(fd, IORING_REGISTER_FILES, files, FILES);
}

static int restrict_it(int fd, bool writes)
{
    const struct io_uring_restriction allowed[] = {
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
    };
    const unsigned int count = sizeof(allowed) / sizeof(allowed[0]);
    return ask(fd, IORING_REGISTER_RESTRICTIONS, allowed, writes ? count : count - 1);
}

static int bound_threads(int fd, uint64_t processors)
{
    /* For files that are regular or block devices, and for all others, of which there are none. */
    const uint32_t most[2] = {RING_THREADS, 1};
    int error = ask(fd, IORING_REGISTER_IOWQ_MAX_WORKERS, most, 2);
    if (error < 0 || processors == 0)
        return error;
    return ask(fd, IORING_REGISTER_IOWQ_AFF, &processors, sizeof(processors));
}

static int map(int fd, const struct io_uring_params *params)
{
    const struct io_sqring_offsets *submit = &params->sq_off;
    const struct io_cqring_offsets *done = &params->cq_off;
    size_t of_submit = submit->array + params->sq_entries * sizeof(uint32_t);
    size_t of_done = done->cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    size_t size = of_submit > of_done ? of_submit : of_done;
    const int access = PROT_READ | PROT_WRITE, shared = MAP_SHARED | MAP_POPULATE;
    if ((params->features & IORING_FEAT_SINGLE_MMAP) == 0)
        return -EOPNOTSUPP;
    unsigned char *rings = mmap(NULL, size, access, shared, fd, IORING_OFF_SQ_RING);
    void *entries = mmap(NULL, params->sq_entries * sizeof(struct io_uring_sqe), access, shared, fd,
                         IORING_OFF_SQES);
    if (rings == MAP_FAILED || entries == MAP_FAILED)
        return -errno;
    ring_queues.submit_head = (const void *)(rings + submit->head);
    ring_queues.submit_tail = (void *)(rings + submit->tail);
    ring_queues.submit_mask = params->sq_entries - 1;
    ring_queues.entries = entries;
    ring_queues.done_head = (void *)(rings + done->head);
    ring_queues.done_tail = (const void *)(rings + done->tail);
    ring_queues.done_mask = params->cq_entries - 1;
    ring_queues.results = (const void *)(rings + done->cqes);
    /* Entry n of the queue is always request n of the array. */
    uint32_t *order = (void *)(rings + submit->array);
    for (uint32_t i = 0; i < params->sq_entries; i++)
        order[i] = i;
    return 0;
}

static int prepare(int fd, const struct io_uring_params *params, bool writes, uint64_t processors)
{
    int error = map(fd, params);
    if (error == 0)
        error = register_files(fd);
    if (error == 0)
        error = restrict_it(fd, writes);
    if (error == 0)
        error = bound_threads(fd, processors);
    if (error == 0)
        error = ask(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    return error;
}

/* The lock lasts as long as the open file description, which is the ring's from now on. */
static int wait_for_predecessor(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int locked;
    do
        locked = fcntl(WORKER_FD_RING, F_OFD_SETLKW, &lock);
    while (locked < 0 && errno == EINTR);
    return locked < 0 ? -errno : 0;
}

int ring_open(bool writes, uint64_t processors)
{
    int error = wait_for_predecessor();
    if (error < 0)
        return error;
    struct io_uring_params params = {.flags = RING_FLAGS};
    int fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &params);
    if (fd < 0)
        return -errno;
    error = prepare(fd, &params, writes, processors);
    if (error < 0)
        return error;
    close(WORKER_FD_RING);
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, WORKER_FD_RING);
    close(fd);
    if (moved < 0)
        return -errno;
    return moved == WORKER_FD_RING ? 0 : -EBUSY;
}

/* ---- Requests ---- */

static void add(const struct io_uring_sqe *entry)
{
    uint32_t tail = *ring_queues.submit_tail;
    ring_queues.entries[tail & ring_queues.submit_mask] = *entry;
    /* Release: pairs with the kernel's acquire of the tail. It then reads the entry. */
    __atomic_store_n(ring_queues.submit_tail, tail + 1, __ATOMIC_RELEASE);
}

static struct io_uring_sqe entry_of(uint8_t opcode, uint32_t number, const struct iovec *data,
                                    unsigned int count, uint64_t offset)
{
    return (struct io_uring_sqe){
        .opcode = opcode,
        .flags = IOSQE_FIXED_FILE,
        .fd = FILE_IMAGE,
        .off = offset,
        .addr = (uintptr_t)data,
        .len = count,
        .user_data = number,
    };
}

void ring_add_read(uint32_t number, const struct iovec *to, unsigned int count, uint64_t offset)
{
    const struct io_uring_sqe entry = entry_of(IORING_OP_READV, number, to, count, offset);
    add(&entry);
}

void ring_add_write(uint32_t number, const struct iovec *from, unsigned int count, uint64_t offset)
{
    const struct io_uring_sqe entry = entry_of(IORING_OP_WRITEV, number, from, count, offset);
    add(&entry);
}

/* Acquire: pairs with the kernel's release of the head. Before that it has read the entries. */
static uint32_t not_taken(void)
{
    return *ring_queues.submit_tail - __atomic_load_n(ring_queues.submit_head, __ATOMIC_ACQUIRE);
}

int ring_enter(unsigned int wait)
{
    long taken = syscall(SYS_io_uring_enter, WORKER_FD_RING, not_taken(), wait,
                         IORING_ENTER_GETEVENTS, NULL, 0);
    return taken < 0 ? -errno : 0;
}

bool ring_take_back(uint32_t *ret_number)
{
    if (not_taken() == 0)
        return false;
    uint32_t last = *ring_queues.submit_tail - 1;
    *ret_number = (uint32_t)ring_queues.entries[last & ring_queues.submit_mask].user_data;
    __atomic_store_n(ring_queues.submit_tail, last, __ATOMIC_RELEASE);
    return true;
}

bool ring_done(uint32_t *ret_number, int32_t *ret_result)
{
    uint32_t head = *ring_queues.done_head;
    /* Acquire: pairs with the kernel's release of the tail. Before that it has written the result,
     * and the data. */
    if (head == __atomic_load_n(ring_queues.done_tail, __ATOMIC_ACQUIRE))
        return false;
    const struct io_uring_cqe *result = &ring_queues.results[head & ring_queues.done_mask];
    *ret_number = (uint32_t)result->user_data;
    *ret_result = result->res;
    /* Release: pairs with the kernel's acquire of the head. It may then write another result
     * here. */
    __atomic_store_n(ring_queues.done_head, head + 1, __ATOMIC_RELEASE);
    return true;
}
