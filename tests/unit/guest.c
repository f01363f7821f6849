/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/guest.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/vhost_values.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/transport.h"

unsigned char *guest_memory;
struct window guest_window;
struct device guest_device;
struct state_page guest_state;
int guest_control = -1;

static void check(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

void guest_window_init(void)
{
    /* The window lies between two pages that nobody may touch. So an access outside the window
     * crashes. */
    const size_t guard = 65536;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    unsigned char *all = mmap(NULL, GUEST_SIZE + 2 * guard, PROT_NONE, flags, -1, 0);
    check(all != MAP_FAILED, "mmap");
    guest_memory = all + guard;
    check(mprotect(guest_memory, GUEST_SIZE, PROT_READ | PROT_WRITE) == 0, "mprotect");
    guest_window =
        (struct window){.base = guest_memory, .guest_base = GUEST_BASE, .size = GUEST_SIZE};
}

void *guest_at(uint64_t addr)
{
    assert(addr >= GUEST_BASE && addr < GUEST_BASE + GUEST_SIZE);
    return guest_memory + (addr - GUEST_BASE);
}

void guest_ring_init(struct guest_ring *ring, unsigned int number, uint16_t size)
{
    uint64_t base = GUEST_BASE + number * GUEST_RING_STRIDE;
    memset(guest_at(base), 0, GUEST_RING_STRIDE);
    *ring = (struct guest_ring){
        .size = size,
        .desc_addr = base,
        .avail_addr = base + 0x2000,
        .used_addr = base + 0x3000,
    };
    ring->desc = guest_at(ring->desc_addr);
    ring->avail = guest_at(ring->avail_addr);
    ring->used = guest_at(ring->used_addr);
}

struct state_queue guest_ring_state(const struct guest_ring *ring)
{
    return (struct state_queue){
        .size = ring->size,
        .ready = 1,
        .desc = ring->desc_addr,
        .driver = ring->avail_addr,
        .device = ring->used_addr,
    };
}

void guest_desc(struct guest_ring *ring, unsigned int index, uint64_t addr, uint32_t len,
                uint16_t flags, uint16_t next)
{
    ring->desc[index] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

void guest_offer(struct guest_ring *ring, uint16_t head)
{
    ring->avail->ring[ring->avail_idx & (ring->size - 1)] = head;
    __atomic_store_n(&ring->avail->idx, ++ring->avail_idx, __ATOMIC_RELEASE);
}

bool guest_used(struct guest_ring *ring, struct vring_used_elem *ret)
{
    if (__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) == ring->used_seen)
        return false;
    *ret = ring->used->ring[ring->used_seen++ & (ring->size - 1)];
    return true;
}

uint64_t guest_random(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* ---- A whole device ---- */

static void move_fd(int from, int to)
{
    check(from >= 0, "fd");
    if (from != to) {
        check(dup2(from, to) == to, "dup2");
        close(from);
    }
}

/* A high number, so that no other new fd gets a number that is about to be used. */
static int high(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 64);
    check(moved >= 0, "F_DUPFD");
    close(fd);
    return moved;
}

static void move_eventfd(int to)
{
    move_fd(high(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), to);
}

void guest_fds(enum device_kind kind, int backend)
{
    const struct device_kind_info *info = &device_kinds[kind];
    int pair[2];
    check(backend < 0 || backend >= 64, "the backend's number is that of another file of a worker");
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0, "socketpair");
    if (guest_control >= 0)
        close(guest_control);
    guest_control = high(pair[0]);
    move_fd(high(pair[1]), WORKER_FD_CONTROL);
    move_fd(high(epoll_create1(EPOLL_CLOEXEC)), WORKER_FD_EPOLL);
    for (int fd = WORKER_FD_REQUEST; fd <= WORKER_FD_CALL; fd++)
        move_eventfd(fd);
    int end = WORKER_FD_BACKEND + (int)(info->backend_fd_count + info->queues_max);
    for (int fd = WORKER_FD_BACKEND; fd < end; fd++)
        move_eventfd(fd);
    if (backend >= 0)
        check(dup2(backend, WORKER_FD_BACKEND) == WORKER_FD_BACKEND, "dup2");
}

struct message_start guest_start(enum device_kind kind)
{
    struct message_start start = {
        .header = {.type = MSG_START, .version = MESSAGE_VERSION, .device = 5},
        .kind = kind,
        .virtio_id = device_kinds[kind].virtio_id,
        .queue_size_max = 256,
        .queue_count = device_kinds[kind].queue_count,
        .backend_fd_count = device_kinds[kind].backend_fd_count,
        .shmem_addr = GUEST_BASE,
        .shmem_size = GUEST_SIZE,
    };
    if (kind == DEVICE_BLOCK_VIRTIO || kind == DEVICE_BLOCK_URING)
        start.of_kind.block = (struct start_block){
            .capacity = 2048, .blk_size = 512, .advertise_flush = 1, .serial = "unit-test-serial"};
    else if (kind == DEVICE_VSOCK_VHOST)
        start.of_kind.vsock = (struct start_vsock){.guest_cid = 3, .vhost_features = ~0ull};
    return start;
}

/* The broker's part: the bits of InterruptStatus that the driver was told of. */
static uint32_t interrupt_status;

void guest_worker(const struct message_start *start)
{
    if (guest_state.magic == 0)
        interrupt_status = 0;
    log_quiet(); /* a new process remembers nothing and has mapped nothing */
    munmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE);
    close(WORKER_FD_EPOLL);
    move_fd(high(epoll_create1(EPOLL_CLOEXEC)), WORKER_FD_EPOLL);
    int r = device_init(&guest_device, start, &guest_state, guest_memory);
    check(r == 0, "device_init");
    check(loop_watch(&guest_device) == 0, "loop_watch");
    check(device_confined(&guest_device) == 0, "device_confined");
    device_resume(&guest_device);
}

static void take_pending(void)
{
    interrupt_status |= atomic_exchange(&guest_state.interrupt.pending, 0);
}

uint32_t guest_read(uint32_t offset)
{
    if (offset == VIRTIO_MMIO_INTERRUPT_STATUS) {
        take_pending();
        return interrupt_status;
    }
    return (uint32_t)transport_read(&guest_device, offset, 4);
}

void guest_write(uint32_t offset, uint32_t value)
{
    if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
        take_pending();
        interrupt_status &= ~value;
        return;
    }
    if (offset == VIRTIO_MMIO_STATUS && value == 0)
        interrupt_status = 0;
    transport_write(&guest_device, offset, 4, value);
}

uint32_t guest_negotiate(uint64_t features)
{
    guest_write(VIRTIO_MMIO_STATUS, 0);
    guest_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    guest_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (uint32_t word = 0; word < 2; word++) {
        guest_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
        guest_write(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * word)));
    }
    guest_write(VIRTIO_MMIO_STATUS, guest_read(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_FEATURES_OK);
    return guest_read(VIRTIO_MMIO_STATUS);
}

static void write_address(uint32_t low, uint64_t addr)
{
    guest_write(low, (uint32_t)addr);
    guest_write(low + 4, (uint32_t)(addr >> 32));
}

void guest_queue_setup(unsigned int queue, const struct guest_ring *ring)
{
    guest_write(VIRTIO_MMIO_QUEUE_SEL, queue);
    guest_write(VIRTIO_MMIO_QUEUE_NUM, ring->size);
    write_address(VIRTIO_MMIO_QUEUE_DESC_LOW, ring->desc_addr);
    write_address(VIRTIO_MMIO_QUEUE_AVAIL_LOW, ring->avail_addr);
    write_address(VIRTIO_MMIO_QUEUE_USED_LOW, ring->used_addr);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 1);
}

void guest_driver_ok(void)
{
    guest_write(VIRTIO_MMIO_STATUS, guest_read(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
}

void guest_run(void)
{
    do
        loop_round(&guest_device, 0);
    while (guest_device.work != 0);
}

void guest_kick(unsigned int queue)
{
    const uint64_t one = 1;
    int fd = device_kick_fd(&guest_device, queue);
    check(write(fd, &one, sizeof(one)) == sizeof(one), "kick");
    guest_run();
}

uint64_t guest_interrupts(void)
{
    uint64_t count = 0;
    take_pending();
    if (read(WORKER_FD_CALL, &count, sizeof(count)) < 0)
        return 0;
    return count;
}

unsigned int guest_logged(enum log_code code)
{
    unsigned int count = 0;
    struct message_log message;
    while (recv(guest_control, &message, sizeof(message), MSG_DONTWAIT) == sizeof(message))
        count += message.code == code;
    return count;
}
