/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bare_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/ring.h"

#define DEPTH_MAX 128u
#define ALIGNMENT 4096u
/* It sleeps until this part of the reads is done. A call and a wake-up for each of them would take
 * processor time that the slow disk needs; so would spinning. */
#define WAIT_PART 8u

struct ring {
    int fd, file;
    uint64_t blocks; /* that the file has */
    uint8_t *buffers;
    /* Both queues, and how much of them is mapped. */
    uint8_t *queues;
    struct io_uring_sqe *entries;
    size_t queues_size, entries_size;
    uint32_t *submit_tail, *done_head;
    const uint32_t *done_tail;
    uint32_t submit_mask, done_mask;
    const struct io_uring_cqe *results;
    unsigned int added, under_way; /* added: the kernel does not know them yet */
    uint64_t submitted_ns[DEPTH_MAX];
};

/* ---- Begin and end ---- */

static int map(struct ring *ring, const struct io_uring_params *params)
{
    const struct io_sqring_offsets *submit = &params->sq_off;
    const struct io_cqring_offsets *done = &params->cq_off;
    const size_t of_submit = submit->array + params->sq_entries * sizeof(uint32_t),
                 of_done = done->cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    const int access = PROT_READ | PROT_WRITE, shared = MAP_SHARED | MAP_POPULATE;
    ring->queues_size = of_submit > of_done ? of_submit : of_done;
    ring->entries_size = params->sq_entries * sizeof(struct io_uring_sqe);
    ring->queues = mmap(NULL, ring->queues_size, access, shared, ring->fd, IORING_OFF_SQ_RING);
    ring->entries = mmap(NULL, ring->entries_size, access, shared, ring->fd, IORING_OFF_SQES);
    if (ring->queues == MAP_FAILED || ring->entries == MAP_FAILED)
        return -errno;
    ring->submit_tail = (void *)(ring->queues + submit->tail);
    ring->submit_mask = params->sq_entries - 1;
    ring->done_head = (void *)(ring->queues + done->head);
    ring->done_tail = (const void *)(ring->queues + done->tail);
    ring->done_mask = params->cq_entries - 1;
    ring->results = (const void *)(ring->queues + done->cqes);
    uint32_t *order = (void *)(ring->queues + submit->array);
    for (uint32_t i = 0; i < params->sq_entries; i++)
        order[i] = i;
    return 0;
}

static int make(struct ring *ring, const struct bare_ring_load *load)
{
    struct io_uring_params params = {.flags = RING_FLAGS & ~(unsigned int)IORING_SETUP_R_DISABLED};
    *ring = (struct ring){.fd = -1, .queues = MAP_FAILED, .entries = MAP_FAILED};
    ring->file = open(load->path, O_RDONLY | O_CLOEXEC | (load->direct ? O_DIRECT : 0));
    const off_t end = ring->file < 0 ? -1 : lseek(ring->file, 0, SEEK_END);
    if (end < 0)
        return -errno;
    ring->blocks = (uint64_t)end / load->size;
    const size_t size = (size_t)load->depth * load->size;
    ring->buffers = aligned_alloc(ALIGNMENT, size);
    if (!ring->buffers || load->depth > DEPTH_MAX || ring->blocks == 0)
        return -EINVAL;
    ring->fd = (int)syscall(SYS_io_uring_setup, load->depth, &params);
    if (ring->fd < 0)
        return -errno;
    const struct iovec all = {ring->buffers, size};
    if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_FILES, &ring->file, 1) < 0 ||
        syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &all, 1) < 0)
        return -errno;
    return map(ring, &params);
}

static void destroy(struct ring *ring)
{
    if (ring->queues != MAP_FAILED)
        munmap(ring->queues, ring->queues_size);
    if (ring->entries != MAP_FAILED)
        munmap(ring->entries, ring->entries_size);
    if (ring->fd >= 0)
        close(ring->fd);
    if (ring->file >= 0)
        close(ring->file);
    if (ring->under_way == 0) /* otherwise the disk may still write to them */
        free(ring->buffers);
}

/* ---- A turn ---- */

static void add(struct ring *ring, struct bare_ring_load *load, uint32_t number)
{
    const uint32_t tail = *ring->submit_tail;
    load->random = load->random * 6364136223846793005ull + 1442695040888963407ull;
    ring->entries[tail & ring->submit_mask] = (struct io_uring_sqe){
        .opcode = IORING_OP_READ_FIXED,
        .flags = IOSQE_FIXED_FILE,
        .off = (load->random >> 20) % ring->blocks * load->size,
        .addr = (uintptr_t)ring->buffers + (uint64_t)number * load->size,
        .len = load->size,
        .user_data = number,
    };
    ring->submitted_ns[number] = bench_now_ns();
    ring->added++;
    ring->under_way++;
    /* Release: pairs with the kernel's acquire of the tail. It then reads the entry. */
    __atomic_store_n(ring->submit_tail, tail + 1, __ATOMIC_RELEASE);
}

/* Hand over what was added, and wait for results. */
static int enter(struct ring *ring)
{
    const unsigned int part = ring->under_way / WAIT_PART;
    const long taken = syscall(SYS_io_uring_enter, ring->fd, ring->added, part > 1 ? part : 1,
                               IORING_ENTER_GETEVENTS, NULL, 0);
    if (taken < 0)
        return errno == EINTR ? 0 : -errno;
    ring->added -= (unsigned int)taken;
    return 0;
}

/* Take all results, and read on until the turn's time is over. Returns 0 or -errno. */
static int take(struct ring *ring, struct bare_ring_load *load, struct load_turn *turn,
                uint64_t start)
{
    uint32_t head = *ring->done_head;
    /* Acquire: pairs with the kernel's release of the tail. */
    const uint32_t tail = __atomic_load_n(ring->done_tail, __ATOMIC_ACQUIRE);
    for (; head != tail; head++) {
        const struct io_uring_cqe *result = &ring->results[head & ring->done_mask];
        const uint32_t number = (uint32_t)result->user_data;
        if (result->res != (int32_t)load->size)
            return result->res < 0 ? result->res : -EIO;
        ring->under_way--;
        const uint64_t now = bench_now_ns();
        if (turn->latency)
            samples_add(turn->latency, now - ring->submitted_ns[number]);
        turn->ns = now - start;
        turn->count++;
        if (turn->ns < turn->duration_ns)
            add(ring, load, number);
    }
    /* Release: pairs with the kernel's acquire of the head. */
    __atomic_store_n(ring->done_head, head, __ATOMIC_RELEASE);
    return 0;
}

int bare_ring_turn(struct bare_ring_load *load, struct load_turn *turn)
{
    struct ring ring;
    int r = make(&ring, load);
    const uint64_t start = bench_now_ns();
    for (uint32_t i = 0; r == 0 && i < load->depth; i++)
        add(&ring, load, i);
    while (r == 0 && ring.under_way > 0) {
        r = enter(&ring);
        if (r == 0)
            r = take(&ring, load, turn, start);
    }
    destroy(&ring);
    return r;
}
