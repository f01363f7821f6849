/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/front_end.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 10000
#define UP_MS 20000u
#define BLOCK_DEVICE_ID 2
#define MAGIC 0x74726976u /* "virt" */

enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    SET_VRING_ENABLE = 18,
    GET_CONFIG = 24,
};
enum { F_PROTOCOL = 30 };
enum { P_MQ = 0, P_REPLY_ACK = 3, P_CONFIG = 9 };
enum { FLAG_VERSION = 1, FLAG_REPLY = 4, FLAG_NEED_REPLY = 8 };

/* With VIRTIO_F_ACCESS_PLATFORM a daemon would ask for each address. */
#define NOT_FOR_A_DRIVER (1ull << F_PROTOCOL | 1ull << VIRTIO_F_ACCESS_PLATFORM)

struct message {
    uint32_t request, flags, size;
    union {
        uint64_t u64;
        struct vhost_vring_state state;
        struct vhost_vring_addr addr;
        struct {
            uint32_t count, padding;
            uint64_t guest, size, user, offset;
        } memory;
        struct {
            uint32_t offset, size, flags;
            uint8_t bytes[FRONT_END_CONFIG];
        } config;
    } __attribute__((packed, aligned(4))) p;
} __attribute__((packed, aligned(4)));

#define HEADER_SIZE 12u

/* ---- Messages ---- */

static int send_message(const struct front_end *front_end, struct message *message, int fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {message, HEADER_SIZE + message->size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof(control);
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        *part = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(part), &fd, sizeof(fd));
    }
    ssize_t sent = sendmsg(front_end->socket, &header, MSG_NOSIGNAL);
    return sent < 0 ? -errno : (size_t)sent == iov.iov_len ? 0 : -EIO;
}

static int receive_bytes(const struct front_end *front_end, void *buffer, size_t size)
{
    struct pollfd answer = {.fd = front_end->socket, .events = POLLIN};
    for (size_t at = 0; at < size;) {
        if (poll(&answer, 1, ANSWER_MS) <= 0)
            return -ETIMEDOUT;
        ssize_t length = recv(front_end->socket, (uint8_t *)buffer + at, size - at, 0);
        if (length <= 0)
            return length < 0 ? -errno : -ECONNRESET;
        at += (size_t)length;
    }
    return 0;
}

static int receive_answer(const struct front_end *front_end, struct message *message)
{
    const uint32_t request = message->request;
    int r = receive_bytes(front_end, message, HEADER_SIZE);
    if (r < 0)
        return r;
    if (message->request != request || (message->flags & FLAG_REPLY) == 0 ||
        message->size > sizeof(message->p))
        return -EPROTO;
    return receive_bytes(front_end, &message->p, message->size);
}

/* The answer replaces the message. */
static int ask(const struct front_end *front_end, struct message *message)
{
    message->flags = FLAG_VERSION;
    int r = send_message(front_end, message, -1);
    return r < 0 ? r : receive_answer(front_end, message);
}

/* If the daemon can, it says whether it did it. */
static int tell(const struct front_end *front_end, struct message *message, int fd)
{
    const bool acknowledged = (front_end->protocol_features >> P_REPLY_ACK & 1) != 0;
    message->flags = FLAG_VERSION | (acknowledged ? FLAG_NEED_REPLY : 0u);
    int r = send_message(front_end, message, fd);
    if (r < 0 || !acknowledged)
        return r;
    r = receive_answer(front_end, message);
    return r < 0 ? r : message->p.u64 == 0 ? 0 : -EIO;
}

static int ask_u64(const struct front_end *front_end, uint32_t request, uint64_t *ret)
{
    struct message message = {.request = request};
    int r = ask(front_end, &message);
    *ret = message.p.u64;
    return r;
}

static int tell_u64(const struct front_end *front_end, uint32_t request, uint64_t value, int fd)
{
    struct message message = {.request = request, .size = 8, .p.u64 = value};
    return tell(front_end, &message, fd);
}

static int tell_state(const struct front_end *front_end, uint32_t request, uint32_t index,
                      uint32_t number)
{
    struct message message = {
        .request = request,
        .size = sizeof(message.p.state),
        .p.state = {.index = index, .num = number},
    };
    return tell(front_end, &message, -1);
}

/* ---- Rings ---- */

/* The addresses of the rings are those of this process, as the memory table says. */
static uint64_t user_address(const struct front_end *front_end, uint64_t address)
{
    return (uintptr_t)front_end->window + (address - front_end->window_addr);
}

static int tell_memory(const struct front_end *front_end)
{
    struct message message = {
        .request = SET_MEM_TABLE,
        .size = sizeof(message.p.memory),
        .p.memory = {.count = 1,
                     .guest = front_end->window_addr,
                     .size = front_end->window_size,
                     .user = (uintptr_t)front_end->window},
    };
    return tell(front_end, &message, front_end->window_fd);
}

static int start_queue(const struct front_end *front_end, uint32_t index)
{
    const struct front_end_queue *queue = &front_end->queues[index];
    struct message addresses = {
        .request = SET_VRING_ADDR,
        .size = sizeof(addresses.p.addr),
        .p.addr = {.index = index,
                   .desc_user_addr = user_address(front_end, queue->areas[0]),
                   .avail_user_addr = user_address(front_end, queue->areas[1]),
                   .used_user_addr = user_address(front_end, queue->areas[2])},
    };
    int r = tell_state(front_end, SET_VRING_NUM, index, queue->size);
    if (r == 0)
        r = tell_state(front_end, SET_VRING_BASE, index, 0);
    if (r == 0)
        r = tell(front_end, &addresses, -1);
    if (r == 0)
        r = tell_u64(front_end, SET_VRING_CALL, index, front_end->call);
    if (r == 0)
        r = tell_u64(front_end, SET_VRING_KICK, index, queue->kick);
    return r == 0 ? tell_state(front_end, SET_VRING_ENABLE, index, 1) : r;
}

/* DRIVER_OK (§3.1.1): the daemon gets all that the driver has set. */
static int start(const struct front_end *front_end)
{
    int r = tell_u64(front_end, SET_FEATURES, front_end->accepted | 1ull << F_PROTOCOL, -1);
    if (r == 0)
        r = tell_memory(front_end);
    for (uint32_t i = 0; r == 0 && i < FRONT_END_QUEUES; i++) {
        if (front_end->queues[i].ready)
            r = start_queue(front_end, i);
    }
    return r;
}

static int reset(struct front_end *front_end)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < FRONT_END_QUEUES; i++) {
        struct front_end_queue *queue = &front_end->queues[i];
        struct message message = {
            .request = GET_VRING_BASE, .size = sizeof(message.p.state), .p.state.index = i};
        if (queue->ready && (front_end->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0)
            r = ask(front_end, &message);
        *queue = (struct front_end_queue){.kick = queue->kick};
    }
    eventfd_t ignored;
    (void)eventfd_read(front_end->call, &ignored);
    front_end->status = 0;
    return r;
}

/* ---- Registers ---- */

static int read_register(struct guest_device *device, uint64_t offset, uint64_t *ret_value)
{
    const struct front_end *front_end = (struct front_end *)device;
    const uint32_t index = front_end->queue_sel;
    *ret_value = 0;
    if (offset >= VIRTIO_MMIO_CONFIG && offset < VIRTIO_MMIO_CONFIG + FRONT_END_CONFIG) {
        const uint64_t at = offset - VIRTIO_MMIO_CONFIG, left = FRONT_END_CONFIG - at;
        memcpy(ret_value, front_end->config + at, left < 8 ? left : 8);
        return 0;
    }
    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        *ret_value = MAGIC;
        break;
    case VIRTIO_MMIO_VERSION:
        *ret_value = 2;
        break;
    case VIRTIO_MMIO_DEVICE_ID:
        *ret_value = BLOCK_DEVICE_ID;
        break;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        *ret_value = (uint32_t)(front_end->offered >> 32 * front_end->features_half[0]);
        break;
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        *ret_value = index < FRONT_END_QUEUES ? FRONT_END_QUEUE_SIZE : 0;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        *ret_value = index < FRONT_END_QUEUES && front_end->queues[index].ready;
        break;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        *ret_value = VIRTIO_MMIO_INT_VRING;
        break;
    case VIRTIO_MMIO_STATUS:
        *ret_value = front_end->status;
        break;
    default:
        break;
    }
    return 0;
}

static int write_status(struct front_end *front_end, uint32_t status)
{
    if (status == 0)
        return reset(front_end);
    const uint32_t added = status & ~front_end->status;
    front_end->status = status;
    return (added & VIRTIO_CONFIG_S_DRIVER_OK) != 0 ? start(front_end) : 0;
}

static void write_queue(struct front_end *front_end, uint64_t offset, uint32_t value)
{
    struct front_end_queue *queue = &front_end->queues[front_end->queue_sel];
    const uint64_t first = VIRTIO_MMIO_QUEUE_DESC_LOW, step = 0x10;
    if (offset == VIRTIO_MMIO_QUEUE_NUM) {
        queue->size = value;
    } else if (offset == VIRTIO_MMIO_QUEUE_READY) {
        queue->ready = value != 0;
    } else if (offset >= first && offset < first + 3 * step) {
        uint64_t *area = &queue->areas[(offset - first) / step];
        const bool high = (offset - first) % step != 0;
        *area = high ? (*area & UINT32_MAX) | (uint64_t)value << 32
                     : (*area & ~(uint64_t)UINT32_MAX) | value;
    }
}

static int write_register(struct guest_device *device, uint64_t offset, uint64_t value)
{
    struct front_end *front_end = (struct front_end *)device;
    const uint32_t number = (uint32_t)value;
    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        front_end->features_half[0] = number & 1;
        return 0;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        front_end->features_half[1] = number & 1;
        return 0;
    case VIRTIO_MMIO_DRIVER_FEATURES: {
        const unsigned int shift = 32 * front_end->features_half[1];
        front_end->accepted &= ~((uint64_t)UINT32_MAX << shift);
        front_end->accepted |= (uint64_t)number << shift;
        return 0;
    }
    case VIRTIO_MMIO_QUEUE_SEL:
        front_end->queue_sel = number;
        return 0;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        return number < FRONT_END_QUEUES ? eventfd_write(front_end->queues[number].kick, 1)
                                         : -EINVAL;
    case VIRTIO_MMIO_STATUS:
        return write_status(front_end, number);
    default:
        if (front_end->queue_sel < FRONT_END_QUEUES)
            write_queue(front_end, offset, number);
        return 0;
    }
}

static int wait_interrupt(struct guest_device *device, int timeout_ms)
{
    const struct front_end *front_end = (struct front_end *)device;
    struct pollfd call = {.fd = front_end->call, .events = POLLIN};
    eventfd_t count;
    if (poll(&call, 1, timeout_ms) <= 0)
        return -ETIMEDOUT;
    return eventfd_read(front_end->call, &count) < 0 ? -errno : (int)count;
}

/* ---- Begin and end ---- */

static int make_files(struct front_end *front_end)
{
    front_end->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (uint32_t i = 0; i < FRONT_END_QUEUES; i++)
        front_end->queues[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    front_end->window_fd = memfd_create("window", MFD_CLOEXEC);
    if (front_end->call < 0 || front_end->window_fd < 0 ||
        ftruncate(front_end->window_fd, (off_t)front_end->window_size) < 0)
        return -errno;
    void *window = mmap(NULL, front_end->window_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                        front_end->window_fd, 0);
    if (window == MAP_FAILED)
        return -errno;
    front_end->window = window;
    return 0;
}

static int agree(struct front_end *front_end)
{
    const uint64_t wanted = 1ull << P_MQ | 1ull << P_REPLY_ACK | 1ull << P_CONFIG;
    struct message config = {
        .request = GET_CONFIG,
        .size = sizeof(config.p.config),
        .p.config.size = FRONT_END_CONFIG,
    };
    uint64_t protocol = 0;
    int r = ask_u64(front_end, GET_FEATURES, &front_end->offered);
    if (r == 0 && (front_end->offered >> F_PROTOCOL & 1) == 0)
        return -EPROTO;
    front_end->offered &= ~NOT_FOR_A_DRIVER;
    if (r == 0)
        r = ask_u64(front_end, GET_PROTOCOL_FEATURES, &protocol);
    if (r == 0)
        r = tell_u64(front_end, SET_PROTOCOL_FEATURES, protocol & wanted, -1);
    front_end->protocol_features = protocol & wanted;
    if (r == 0)
        r = tell(front_end, &(struct message){.request = SET_OWNER}, -1);
    if (r == 0)
        r = ask(front_end, &config);
    memcpy(front_end->config, config.p.config.bytes, sizeof(front_end->config));
    return r;
}

/* The socket's name is there before somebody listens. */
static int connect_when_up(int fd, const struct sockaddr_un *address)
{
    for (unsigned int i = 0; i < UP_MS; i++) {
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
            return 0;
        if (errno != ENOENT && errno != ECONNREFUSED)
            break;
        usleep(1000);
    }
    return -errno;
}

int front_end_open(const char *socket_path, uint64_t window_addr, uint64_t window_size,
                   struct front_end *ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *ret = (struct front_end){
        .device = {.read = read_register,
                   .write = write_register,
                   .wait_interrupt = wait_interrupt},
        .window_addr = window_addr,
        .window_size = window_size,
    };
    int r = make_files(ret);
    ret->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r < 0 || strlen(socket_path) >= sizeof(address.sun_path))
        return r < 0 ? r : -ENAMETOOLONG;
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    r = connect_when_up(ret->socket, &address);
    return r < 0 ? r : agree(ret);
}

static void close_file(int fd)
{
    if (fd > 0)
        close(fd);
}

void front_end_close(struct front_end *front_end)
{
    close_file(front_end->socket);
    close_file(front_end->call);
    for (uint32_t i = 0; i < FRONT_END_QUEUES; i++)
        close_file(front_end->queues[i].kick);
    close_file(front_end->window_fd);
    if (front_end->window)
        munmap(front_end->window, front_end->window_size);
    *front_end = (struct front_end){0};
}
