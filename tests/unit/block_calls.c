/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/block_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/cunit_main.h"

#define QUEUES 4u
#define SEGMENTS_MAX 1024u                    /* UIO_MAXIOV */
#define REQUESTS (GUEST_BASE + GUEST_BUFFERS) /* headers and status bytes */
#define DATA (REQUESTS + 0x10000)
#define TABLES (GUEST_BASE + 0x20000000)
/* A call that succeeds leaves in errno what an earlier one has put there. */
#define ERRNO_OF_OTHERS EDOM

struct call_record calls[CALLS_MAX];
unsigned int call_count;
int errors[16];
unsigned int error_count;
size_t bytes_max = SIZE_MAX;
bool unpinned;
uint32_t spare_bytes;
void (*during_next_call)(void);
int image = -1;
struct message_start block_start;

static struct guest_ring rings[QUEUES];

/* ---- System calls ---- */

/* The broker has to know of each call that waits for the disk, or it would replace the worker. */
static void assert_said(bool waits)
{
    CU_ASSERT_EQUAL(guest_state.watch.in_io, waits);
}

static bool recorded(struct call_record record)
{
    assert_said(record.call != CALL_READ || (record.flags & RWF_NOWAIT) == 0);
    record.used_idx = rings[0].used->idx;
    record.interrupts = guest_state.counters.interrupts_sent;
    if (call_count < CALLS_MAX)
        calls[call_count] = record;
    call_count++;
    if (during_next_call) {
        void (*once)(void) = during_next_call;
        during_next_call = NULL;
        once();
    }
    errno = ERRNO_OF_OTHERS;
    if (error_count == 0)
        return true;
    errno = errors[0];
    memmove(errors, errors + 1, sizeof(errors) - sizeof(errors[0]));
    error_count--;
    if (errno != 0)
        return false;
    errno = ERRNO_OF_OTHERS;
    return true;
}

static bool in_window(const void *address)
{
    const unsigned char *at = address;
    return at >= guest_memory && at < guest_memory + GUEST_SIZE;
}

int madvise(void *address, size_t length, int advice)
{
    if (unpinned && advice == MADV_POPULATE_READ && in_window(address) && length > 0) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, address, length, advice);
}

/* What the kernel would say to a call with O_DIRECT: 0, or an errno. */
static int direct_error(const struct iovec *iov, int count, off_t offset)
{
    const struct start_block *from = &block_start.of_kind.block;
    if (!from->direct)
        return 0;
    for (int i = 0; i < count; i++) {
        if (unpinned && in_window(iov[i].iov_base))
            return EFAULT;
        if ((uintptr_t)iov[i].iov_base % from->mem_alignment != 0 ||
            ((uint64_t)offset | iov[i].iov_len) % from->blk_size != 0)
            return EINVAL;
    }
    return 0;
}

/* The calls without flags, which an emulator of programs has as well. */
typedef ssize_t move_call(int fd, const struct iovec *iov, int count, off_t offset);

static ssize_t move(enum call call, move_call *without_flags, const struct iovec *iov, int count,
                    off_t offset, int flags)
{
    struct call_record record = {
        .call = call, .segments = count, .flags = flags, .offset = (uint64_t)offset};
    for (int i = 0; i < count; i++)
        record.length += iov[i].iov_len;
    if (!recorded(record))
        return -1;
    int error = direct_error(iov, count, offset);
    if (error != 0) {
        errno = error;
        return -1;
    }
    /* `bytes_max` bytes: some whole segments, and a part of the next one. */
    struct iovec part[SEGMENTS_MAX];
    size_t left = bytes_max;
    int segments = 0;
    for (; segments < count && segments < (int)SEGMENTS_MAX && left > 0; segments++) {
        part[segments] = iov[segments];
        if (part[segments].iov_len > left)
            part[segments].iov_len = left;
        left -= part[segments].iov_len;
    }
    return without_flags(WORKER_FD_BACKEND, part, segments, offset);
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    CU_ASSERT_EQUAL(fd, WORKER_FD_BACKEND);
    return move(CALL_READ, preadv, iov, count, offset, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    CU_ASSERT_EQUAL(fd, WORKER_FD_BACKEND);
    return move(CALL_WRITE, pwritev, iov, count, offset, flags);
}

int fdatasync(int fd)
{
    return recorded((struct call_record){.call = CALL_SYNC}) ? (int)syscall(SYS_fdatasync, fd) : -1;
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    CU_ASSERT_EQUAL(fd, WORKER_FD_BACKEND);
    if (!recorded((struct call_record){.call = CALL_ALLOCATE,
                                       .flags = mode,
                                       .offset = (uint64_t)offset,
                                       .length = (uint64_t)length}))
        return -1;
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

off_t lseek(int fd, off_t offset, int whence)
{
    if (fd == WORKER_FD_BACKEND)
        assert_said(true);
    errno = ERRNO_OF_OTHERS;
    return syscall(SYS_lseek, fd, offset, whence);
}

/* ---- The image ---- */

void make_image(void)
{
    unsigned char sector[SECTOR];
    if (ftruncate(image, 0) < 0 || ftruncate(image, (off_t)SECTORS * SECTOR) < 0)
        abort();
    for (uint32_t s = 0; s < SECTORS; s++) {
        memset(sector, (int)(s % 251 + 1), sizeof(sector));
        if (pwrite(image, sector, sizeof(sector), (off_t)s * SECTOR) != SECTOR)
            abort();
    }
}

bool image_holds(uint64_t sector, uint64_t sectors, unsigned char value)
{
    unsigned char bytes[SECTOR];
    for (uint64_t s = sector; s < sector + sectors; s++) {
        if (pread(image, bytes, SECTOR, (off_t)(s * SECTOR)) != SECTOR)
            return false;
        for (uint32_t i = 0; i < SECTOR; i++) {
            if (bytes[i] != value)
                return false;
        }
    }
    return true;
}

/* ---- The driver ---- */

void block_running(uint32_t queues, uint64_t features)
{
    memset(&guest_state, 0, sizeof(guest_state));
    block_start.queue_count = queues;
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    for (unsigned int q = 1; q < queues; q++) {
        int kick = WORKER_FD_BACKEND + 1 + (int)q;
        if (dup2(WORKER_FD_BACKEND + 1, kick) != kick)
            abort();
    }
    guest_worker(&block_start);
    guest_negotiate(features);
    for (unsigned int q = 0; q < queues; q++) {
        guest_ring_init(&rings[q], q, 256);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
    guest_run();
    guest_logged(LOG_IO_ERROR);
    call_count = 0;
    error_count = 0;
    bytes_max = SIZE_MAX;
    spare_bytes = 0;
    memset(errors, 0, sizeof(errors));
}

static uint64_t place(unsigned int queue, unsigned int number)
{
    return REQUESTS + (queue * REQUESTS_MAX + number) * 32ull;
}

static uint64_t data_place(unsigned int queue, unsigned int number)
{
    return DATA + (queue * REQUESTS_MAX + number) * DATA_STRIDE;
}

void *request_data(unsigned int queue, unsigned int number)
{
    return guest_at(data_place(queue, number));
}

uint8_t request_status(unsigned int queue, unsigned int number)
{
    return *(const uint8_t *)guest_at(place(queue, number) + 16);
}

/* The descriptors of a request, of which the first lies at `descs` and is number `head` there.
 * Returns how many. */
static unsigned int describe(struct vring_desc *descs, unsigned int head, uint64_t header,
                             uint32_t type, const struct piece *pieces, unsigned int count)
{
    bool out = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
               type == VIRTIO_BLK_T_WRITE_ZEROES;
    uint16_t flags = VRING_DESC_F_NEXT | (out ? 0 : VRING_DESC_F_WRITE);
    unsigned int n = 0;
    descs[n++] = (struct vring_desc){header, 16, VRING_DESC_F_NEXT, 0};
    for (unsigned int i = 0; i < count; i++)
        descs[n++] = (struct vring_desc){pieces[i].address, pieces[i].length, flags, 0};
    if (spare_bytes > 0)
        descs[n++] = (struct vring_desc){header + 17, spare_bytes,
                                         VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0};
    descs[n++] = (struct vring_desc){header + 16, 1, VRING_DESC_F_WRITE, 0};
    for (unsigned int i = 0; i + 1 < n; i++)
        descs[i].next = (uint16_t)(head + i + 1);
    return n;
}

static void put_request(uint64_t header, uint32_t type, uint64_t sector)
{
    const struct virtio_blk_outhdr content = {.type = type, .sector = sector};
    memcpy(guest_at(header), &content, sizeof(content));
    *(uint8_t *)guest_at(header + 16) = 0xff;
}

void offer_pieces(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector,
                  const struct piece *pieces, unsigned int count)
{
    struct guest_ring *ring = &rings[queue];
    uint16_t head = (uint16_t)(3 * number);
    uint64_t header = place(queue, number);
    put_request(header, type, sector);
    describe(&ring->desc[head], head, header, type, pieces, count);
    guest_offer(ring, head);
}

void offer_table(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector,
                 const struct piece *pieces, unsigned int count)
{
    uint64_t header = place(queue, number), table = TABLES + number * 0x1000ull;
    put_request(header, type, sector);
    unsigned int n = describe(guest_at(table), 0, header, type, pieces, count);
    guest_desc(&rings[queue], number, table, n * (uint32_t)sizeof(struct vring_desc),
               VRING_DESC_F_INDIRECT, 0);
    guest_offer(&rings[queue], (uint16_t)number);
}

void offer_no_request(unsigned int queue, unsigned int number)
{
    put_request(place(queue, number), VIRTIO_BLK_T_OUT, 0);
    guest_desc(&rings[queue], 3 * number, place(queue, number), 16, 0, 0);
    guest_offer(&rings[queue], (uint16_t)(3 * number));
}

void offer_at(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector,
              uint64_t address, uint32_t length)
{
    offer_pieces(queue, number, type, sector, &(struct piece){address, length}, 1);
}

void offer(unsigned int queue, unsigned int number, uint32_t type, uint64_t sector, uint32_t length)
{
    offer_at(queue, number, type, sector, data_place(queue, number), length);
}

uint16_t block_used(unsigned int queue)
{
    return rings[queue].used->idx;
}

uint32_t used_length(unsigned int queue)
{
    struct vring_used_elem element;
    return guest_used(&rings[queue], &element) ? element.len : UINT32_MAX;
}

unsigned int completions(unsigned int queue)
{
    struct vring_used_elem element;
    unsigned int count = 0;
    assert_said(false);
    while (guest_used(&rings[queue], &element))
        count++;
    return count;
}

int block_calls_main(int argc, char **argv, const char *suite, CU_TestInfo *tests)
{
    image = memfd_create("image", MFD_CLOEXEC);
    image = fcntl(image, F_DUPFD_CLOEXEC, 100);
    if (image < 0)
        return EXIT_FAILURE;
    make_image();
    guest_window_init();
    return run_tests(argc, argv, suite, tests);
}
