/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

struct watch watch;
struct vhost vhost;

bool watch_queue_live(unsigned int queue)
{
    return machine_state->queues[queue].ready == 1 && device_live(&machine_device);
}

bool watch_packed(void)
{
    return (machine_state->transport.driver_features >> VIRTIO_F_RING_PACKED & 1) != 0;
}

uint32_t watch_distance(const struct state_queue *state, uint16_t from, uint16_t to)
{
    uint32_t lap = ((from ^ to) & STATE_POSITION_LAP) != 0 ? state->size : 0;
    return (to & STATE_POSITION_OFFSET) + lap - (from & STATE_POSITION_OFFSET);
}

/* ---- Memory ---- */

static bool in_window(const void *at, uint32_t *ret_offset)
{
    uintptr_t offset = (uintptr_t)at - (uintptr_t)machine_window;
    *ret_offset = (uint32_t)offset;
    return offset < WINDOW_SIZE;
}

static void maybe_die(void)
{
    if (watch.die_after > 0 && --watch.die_after == 0)
        longjmp(watch.death, 1);
}

/* Called before the worker reads: the guest may change something now. */
static void before_load(uint32_t offset)
{
    maybe_die();
    if (watch.race.countdown > 0 && --watch.race.countdown == 0) {
        uint32_t at = watch.race.offset + (watch.race.last ? watch.last_offset : 0);
        uint16_t flip = watch.race.flip;
        unsigned char bytes[2] = {machine_window[at % WINDOW_SIZE],
                                  machine_window[(at + 1) % WINDOW_SIZE]};
        bytes[0] ^= (unsigned char)flip;
        bytes[1] ^= (unsigned char)(flip >> 8);
        machine_poke(at % WINDOW_SIZE, bytes, sizeof(bytes));
        watch.raced = true;
    }
    watch.last_offset = offset;
}

/* The worker reads avail->idx or an entry of avail->ring: remember what it saw. */
static void see_avail(uint32_t offset)
{
    for (unsigned int q = 0; q < machine_device.queue_count; q++) {
        const struct state_queue *state = &machine_state->queues[q];
        struct watched_queue *seen = &watch.queues[q];
        if (state->ready != 1 || state->size == 0 || state->size > QUEUE_SIZE_MAX)
            continue;
        uint64_t at = WINDOW_BASE + offset - state->driver;
        uint16_t value;
        memcpy(&value, machine_window + offset, sizeof(value));
        if (at == 2) {
            uint16_t outstanding = (uint16_t)(value - state->next_used);
            uint64_t used = seen->used + (uint16_t)(state->next_used - seen->next_used);
            if (outstanding <= state->size && used + outstanding > seen->available)
                seen->available = used + outstanding;
        } else if (at >= 4 && at < 4 + 2 * state->size && at % 2 == 0) {
            seen->heads[(at - 4) / 2] = value;
            seen->head_known[(at - 4) / 2] = true;
        }
    }
}

static void on_load(const void *at, size_t size)
{
    uint32_t offset;
    if (!watch.on || !in_window(at, &offset))
        return;
    before_load(offset);
    if (size == 2 && !watch_packed())
        see_avail(offset);
}

/* This goes byte by byte over whole buffers, so it has no sanitizer checks. */
#define HOT __attribute__((no_sanitize("address", "undefined")))

HOT unsigned char watch_marks(uint32_t offset)
{
    unsigned char marks = watch.marks[offset];
    for (unsigned int q = 0; q < machine_device.queue_count; q++) {
        const struct state_queue *state = &machine_state->queues[q];
        if (!watch.queues[q].accessible || (machine_device.user_queues & 1u << q) == 0 ||
            state->size > QUEUE_SIZE_MAX)
            continue;
        if (WINDOW_BASE + offset - state->desc < 16ull * state->size)
            marks |= MARK_TABLE;
        if (watch_packed() ? WINDOW_BASE + offset - state->desc < 16ull * state->size ||
                                 WINDOW_BASE + offset - state->device < 4
                           : WINDOW_BASE + offset - state->device < 6 + 8ull * state->size)
            marks |= MARK_USED;
    }
    return marks;
}

void watch_clear_marks(void)
{
    if (watch.marked)
        memset(watch.marks, 0, sizeof(watch.marks));
    watch.marked = false;
}

HOT static void check_marks(uint32_t offset, size_t length, unsigned char marks, const char *what)
{
    for (size_t i = 0; i < length; i++) {
        if (offset + i >= WINDOW_SIZE || ((watch.marks[offset + i] & marks) == 0 &&
                                          (watch_marks((uint32_t)(offset + i)) & marks) == 0))
            violated("%s at window offset %#zx, of %zu bytes at %#x", what, offset + i, length,
                     offset);
    }
}

uint64_t watch_publishing_word(const struct state_queue *state)
{
    if (!watch_packed())
        return state->device + offsetof(struct vring_used, idx);
    return state->desc + 16ull * (state->next_used & STATE_POSITION_OFFSET) +
           offsetof(struct vring_packed_desc, flags);
}

static void on_store(const void *at, size_t size)
{
    uint32_t offset;
    if (!watch.on)
        return;
    bool to_guest = in_window(at, &offset);
    if (to_guest)
        check_marks(offset, size, MARK_WRITABLE | MARK_USED, "worker stores where it must not,");
    else if ((uintptr_t)at - (uintptr_t)machine_state >= sizeof(*machine_state))
        return;
    watch.stores++;
    maybe_die();
    for (unsigned int q = 0; to_guest && q < machine_device.queue_count; q++) {
        if (WINDOW_BASE + offset == watch_publishing_word(&machine_state->queues[q]))
            watch.queues[q].published = true;
    }
}

HOT static void mark(uint64_t address, uint32_t length, unsigned char with)
{
    uint64_t offset = address - WINDOW_BASE;
    if (offset >= WINDOW_SIZE || length > WINDOW_SIZE - offset)
        return;
    for (uint32_t i = 0; i < length; i++)
        watch.marks[offset + i] |= with;
    watch.marked = true;
}

static void see_buffer(uint64_t addr, uint32_t length, uint16_t flags)
{
    if ((flags & VRING_DESC_F_INDIRECT) != 0)
        mark(addr, length, MARK_TABLE);
    else if ((flags & VRING_DESC_F_WRITE) != 0)
        mark(addr, length, MARK_WRITABLE);
    else
        mark(addr, length, MARK_READABLE);
}

/* A descriptor of a packed ring. Chains are read from their first descriptor to their last. */
static void see_packed(struct watched_queue *seen, const struct state_queue *state, uint32_t index,
                       const struct vring_packed_desc *desc)
{
    uint32_t used_offset = state->next_used & STATE_POSITION_OFFSET;
    uint64_t used = seen->used + watch_distance(state, seen->next_used, state->next_used);
    uint64_t available = used + (index + state->size - used_offset) % state->size + 1;
    if (available > seen->available)
        seen->available = available;
    if (!seen->in_chain || seen->chain_next != index) {
        seen->chain_start = index;
        seen->lengths[index] = 0;
    }
    seen->heads[seen->chain_start] = desc->id;
    seen->lengths[seen->chain_start]++;
    seen->head_known[seen->chain_start] = true;
    seen->in_chain = (desc->flags & VRING_DESC_F_NEXT) != 0;
    seen->chain_next = (index + 1) % state->size;
}

static void see_descriptor(uint32_t offset, const void *copy)
{
    bool in_ring = false;
    if (!watch_packed()) {
        const struct vring_desc *desc = copy;
        see_buffer(desc->addr, desc->len, desc->flags);
        return;
    }
    const struct vring_packed_desc *desc = copy;
    for (unsigned int q = 0; q < machine_device.queue_count; q++) {
        const struct state_queue *state = &machine_state->queues[q];
        uint64_t at = WINDOW_BASE + offset - state->desc;
        if (!watch.queues[q].accessible || state->size > QUEUE_SIZE_MAX ||
            at >= 16ull * state->size || at % 16 != 0)
            continue;
        see_packed(&watch.queues[q], state, (uint32_t)at / 16, desc);
        in_ring = true;
    }
    /* §2.8.7: in a table's entry only WRITE counts. A descriptor in a ring may count as both. */
    see_buffer(desc->addr, desc->len, desc->flags & VRING_DESC_F_WRITE);
    if (in_ring)
        see_buffer(desc->addr, desc->len, desc->flags);
}

void *__real___asan_memcpy(void *to, const void *from, size_t length);
void *__wrap___asan_memcpy(void *to, const void *from, size_t length);

void *__wrap___asan_memcpy(void *to, const void *from, size_t length)
{
    uint32_t offset;
    if (!watch.on)
        return __real___asan_memcpy(to, from, length);
    if (in_window(to, &offset))
        check_marks(offset, length, MARK_WRITABLE, "worker copies to where it must not,");
    if (!in_window(from, &offset))
        return __real___asan_memcpy(to, from, length);
    check_marks(offset, length, MARK_TABLE | MARK_READABLE,
                "worker reads what is not given to it,");
    before_load(offset);
    __real___asan_memcpy(to, from, length);
    if (length == sizeof(struct vring_desc) && (watch_marks(offset) & MARK_TABLE) != 0)
        see_descriptor(offset, to);
    return to;
}

/* clang-format off */
#define ON_ACCESS(size, type)                                                                      \
    void __sanitizer_cov_load##size(type *at);                                                     \
    void __sanitizer_cov_store##size(type *at);                                                    \
    void __sanitizer_cov_load##size(type *at) { on_load(at, size); }                               \
    void __sanitizer_cov_store##size(type *at) { on_store(at, size); }
ON_ACCESS(1, uint8_t)
ON_ACCESS(2, uint16_t)
ON_ACCESS(4, uint32_t)
ON_ACCESS(8, uint64_t)
ON_ACCESS(16, __uint128_t)
/* clang-format on */

void watch_check_part(const struct iovec *part, unsigned char marks)
{
    uint32_t offset;
    if (!in_window(part->iov_base, &offset))
        violated("input or output outside of the window");
    check_marks(offset, part->iov_len, marks, "input or output of other memory,");
}

bool watch_in_window(const void *at)
{
    uint32_t offset;
    return in_window(at, &offset);
}

/* ---- The image ---- */

#define IO_BYTES_MAX (8u << 20) /* of one input; then the disk fails, to keep inputs short */

enum io_fault watch_next_fault(void)
{
    maybe_die();
    if (watch.io_calls > 0 && --watch.io_calls == 0)
        return watch.io_fault;
    return watch.io_bytes > IO_BYTES_MAX ? IO_EIO : IO_WELL;
}

/* -1 with errno for the faults that are errors. 0 for a call that moves nothing. */
ssize_t watch_fail_with(enum io_fault fault)
{
    static const int errors[] = {
        [IO_EIO] = EIO, [IO_EAGAIN] = EAGAIN, [IO_EINTR] = EINTR, [IO_EOPNOTSUPP] = EOPNOTSUPP};
    watch.io_failed = true;
    if (fault == IO_NOTHING)
        return 0;
    errno = errors[fault];
    return -1;
}

static void check_place(off_t at, uint64_t length)
{
    if (at < 0 || (uint64_t)at + length > (uint64_t)IMAGE_SECTORS * SECTOR_SIZE)
        violated("input or output beyond the capacity: %llu bytes at %lld",
                 (unsigned long long)length, (long long)at);
}

/* The worker's own memory may be used only for a detour of O_DIRECT, and for zeros that are
 * written. */
static void check_own_memory(const struct iovec *data, bool direct, unsigned char marks)
{
    const unsigned char *bytes = data->iov_base;
    if (direct)
        return;
    if (marks != MARK_READABLE)
        violated("input to memory outside of the window");
    for (size_t i = 0; i < data->iov_len; i++) {
        if (bytes[i] != 0)
            violated("output of memory outside of the window");
    }
}

static void check_io(const struct iovec *data, int count, off_t at, unsigned char marks)
{
    bool direct = machine_direct();
    uint64_t length = 0;
    if (count < 1)
        violated("input or output without data");
    for (int i = 0; i < count; i++) {
        uint32_t offset;
        if (in_window(data[i].iov_base, &offset))
            check_marks(offset, data[i].iov_len, marks, "input or output of other memory,");
        else
            check_own_memory(&data[i], direct, marks);
        if (direct && ((uintptr_t)data[i].iov_base % DIRECT_MEMORY != 0 ||
                       data[i].iov_len % DIRECT_BLOCK != 0 || at % DIRECT_BLOCK != 0))
            violated("input or output that O_DIRECT refuses");
        length += data[i].iov_len;
    }
    check_place(at, length);
    watch.io_bytes += length;
}

ssize_t __real_preadv2(int fd, const struct iovec *data, int count, off_t offset, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *data, int count, off_t offset, int flags);
ssize_t __real_pwritev2(int fd, const struct iovec *data, int count, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *data, int count, off_t offset, int flags);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fallocate(int fd, int mode, off_t offset, off_t length);
off_t __wrap_lseek(int fd, off_t offset, int whence);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);

ssize_t __wrap_preadv2(int fd, const struct iovec *data, int count, off_t offset, int flags)
{
    if (fd != WORKER_FD_BACKEND || (flags != 0 && flags != RWF_NOWAIT))
        violated("preadv2 of fd %d with flags %#x", fd, (unsigned int)flags);
    check_io(data, count, offset, MARK_WRITABLE);
    enum io_fault fault = watch_next_fault();
    if (fault == IO_WELL)
        return __real_preadv2(fd, data, count, offset, flags);
    if (fault == IO_SHORT && data->iov_len > 1) {
        struct iovec part = {data->iov_base, data->iov_len / 2};
        return __real_preadv2(fd, &part, 1, offset, flags);
    }
    return watch_fail_with(fault == IO_SHORT ? IO_NOTHING : fault);
}

/* §5.2.6.2 */
static bool write_through(void)
{
    uint64_t accepted = machine_state->transport.driver_features;
    uint32_t chosen = machine_state->of_kind.block.writeback;
    if ((accepted & 1ull << VIRTIO_BLK_F_CONFIG_WCE) != 0 && chosen != STATE_WRITEBACK_INITIAL)
        return chosen == STATE_WRITEBACK_OFF;
    return (accepted & 1ull << VIRTIO_BLK_F_FLUSH) == 0;
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *data, int count, off_t offset, int flags)
{
    int needed = write_through() ? RWF_DSYNC : 0;
    if (fd != WORKER_FD_BACKEND || flags != needed)
        violated("pwritev2 to fd %d with flags %#x", fd, (unsigned int)flags);
    if ((machine_device.features & 1ull << VIRTIO_BLK_F_RO) != 0)
        violated("a write to a read-only image");
    check_io(data, count, offset, MARK_READABLE);
    enum io_fault fault = watch_next_fault();
    watch.image_changed = true;
    if (fault == IO_WELL)
        return __real_pwritev2(fd, data, count, offset, flags);
    if (fault == IO_SHORT && data->iov_len > 1) {
        struct iovec part = {data->iov_base, data->iov_len / 2};
        return __real_pwritev2(fd, &part, 1, offset, flags);
    }
    return watch_fail_with(fault == IO_SHORT ? IO_NOTHING : fault);
}

int __wrap_fdatasync(int fd)
{
    if (fd != WORKER_FD_BACKEND)
        violated("fdatasync of fd %d", fd);
    enum io_fault fault = watch_next_fault();
    if (fault == IO_WELL || fault == IO_SHORT || fault == IO_NOTHING)
        return 0; /* a sync of a memfd has no visible effect */
    return (int)watch_fail_with(fault);
}

/* The size that the worker was told, without the guard behind it. */
off_t __wrap_lseek(int fd, off_t offset, int whence)
{
    if (fd != WORKER_FD_BACKEND || offset != 0 || whence != SEEK_END)
        violated("lseek of fd %d to %lld", fd, (long long)offset);
    return (off_t)IMAGE_SECTORS * SECTOR_SIZE;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    uint64_t accepted = machine_state->transport.driver_features;
    if (fd != WORKER_FD_BACKEND || mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
        violated("fallocate of fd %d in mode %#x", fd, (unsigned int)mode);
    if ((machine_device.features & 1ull << VIRTIO_BLK_F_RO) != 0)
        violated("a hole in a read-only image");
    if ((accepted & (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)) == 0)
        violated("a hole that the driver cannot ask for");
    if (length <= 0)
        violated("a hole of %lld bytes", (long long)length);
    check_place(offset, (uint64_t)length);
    watch.io_bytes += (uint64_t)length / 16; /* a hole is faster than I/O */
    enum io_fault fault = watch_next_fault();
    watch.image_changed = true;
    if (fault == IO_WELL || fault == IO_SHORT || fault == IO_NOTHING)
        return __real_fallocate(fd, mode, offset, length);
    return (int)watch_fail_with(fault);
}

/* ---- vhost-vsock ---- */

static uint64_t vhost_offset(uint64_t user_address, uint64_t length, uint64_t alignment)
{
    uint64_t offset = user_address - (uintptr_t)machine_window;
    if (offset >= WINDOW_SIZE || length > WINDOW_SIZE - offset || offset % alignment != 0)
        violated("the kernel is given a ring outside of the window");
    return offset;
}

static unsigned int vhost_queue(unsigned int index)
{
    if (index >= 2)
        violated("the kernel is given queue %u", index);
    if (vhost.running)
        violated("a ring is changed under the running kernel");
    return index;
}

static void vhost_check(unsigned long request, const void *argument)
{
    if (request == VHOST_SET_OWNER)
        vhost.owned = true;
    else if (!vhost.owned)
        violated("the kernel is asked for %#lx without an owner", request);
    if (request == VHOST_SET_MEM_TABLE) {
        const struct vhost_memory *memory = argument;
        const struct vhost_memory_region *region = memory->regions;
        if (memory->nregions != 1 || region->guest_phys_addr != WINDOW_BASE ||
            region->memory_size != WINDOW_SIZE ||
            region->userspace_addr != (uintptr_t)machine_window)
            violated("the kernel is given memory that is not the window");
        vhost.has_memory = true;
    } else if (request == VHOST_SET_FEATURES) {
        uint64_t features;
        memcpy(&features, argument, sizeof(features));
        if ((features & ~machine_device.features) != 0)
            violated("the kernel is given features that were not offered");
    } else if (request == VHOST_SET_VRING_NUM) {
        const struct vhost_vring_state *state = argument;
        if (state->num == 0 || state->num > QUEUE_SIZE_MAX || (state->num & (state->num - 1)) != 0)
            violated("the kernel is given a ring of size %u", state->num);
        vhost.num[vhost_queue(state->index)] = state->num;
    } else if (request == VHOST_SET_VRING_BASE) {
        const struct vhost_vring_state *state = argument;
        if (vhost_queue(state->index) < 2 && state->num > UINT16_MAX)
            violated("the kernel is given a base of %u", state->num);
    } else if (request == VHOST_SET_VRING_ADDR) {
        const struct vhost_vring_addr *addr = argument;
        uint64_t size = vhost.num[vhost_queue(addr->index)];
        vhost_offset(addr->desc_user_addr, 16 * size, 16);
        vhost_offset(addr->avail_user_addr, 6 + 2 * size, 2);
        vhost_offset(addr->used_user_addr, 6 + 8 * size, 4);
        vhost.addressed[addr->index] = true;
    } else if (request == VHOST_VSOCK_SET_RUNNING) {
        int running;
        memcpy(&running, argument, sizeof(running));
        if (running && (!vhost.has_memory || !vhost.addressed[0] || !vhost.addressed[1]))
            violated("the kernel is started without memory or rings");
    }
}

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (fd != WORKER_FD_BACKEND)
        return __real_ioctl(fd, request, argument);
    if (request == TUNSETOFFLOAD)
        return tap_set_offloads((unsigned long)(uintptr_t)argument);
    vhost_check(request, argument);
    /* Only after lock-down: the broker handles what fails before. */
    if (watch.on) {
        enum io_fault fault = watch_next_fault();
        if (fault != IO_WELL)
            return watch_fail_with(fault == IO_SHORT || fault == IO_NOTHING ? IO_EIO : fault) < 0
                       ? -1
                       : 0;
    }
    if (request == VHOST_VSOCK_SET_RUNNING) {
        int running;
        memcpy(&running, argument, sizeof(running));
        vhost.running = running != 0;
    }
    return 0;
}

/* ---- Other calls ---- */

ssize_t __real_write(int fd, const void *from, size_t length);
ssize_t __wrap_write(int fd, const void *from, size_t length);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

ssize_t __wrap_write(int fd, const void *from, size_t length)
{
    if (watch.on)
        maybe_die();
    return __real_write(fd, from, length);
}

/* When the worker exits, it counts as one more way to die. */
void __wrap__exit(int status)
{
    if (watch.on)
        longjmp(watch.death, 1);
    __real__exit(status);
}
