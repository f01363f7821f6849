/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user daemon for the tests: a block device on an image, written from the documents of the
 * protocol and of VirtIO. It shares no code with the device model.
 *
 *     vhost-user-daemon SOCKET IMAGE [option...]
 *
 * It listens on SOCKET and serves one front end after another. It completes what it finds in a ring
 * from the last chain to the first, a few at a time, so a device that is resumed by the used index
 * alone loses requests. Options leave things out or make it misbehave:
 *
 *     no-protocol, no-config, no-ack, no-inflight, no-requests   what it does not offer
 *     pause                  a millisecond between two requests: many are in flight
 *     hang-accept            never answers anything
 *     hang-vring-base        does not answer GET_VRING_BASE
 *     answer-late            answers the first request in two parts, 300 ms apart
 *     wrong-size, wrong-request, wrong-flags, extra-fd, unasked   lies in answers
 *
 * SIGUSR1 makes the image larger by 8 sectors and says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define QUEUES 2
#define SIZE_MAX_OF_QUEUE 256
#define SEGMENTS_MAX 64
#define BATCH 8 /* requests in flight */

enum { F_PROTOCOL = 30 };
enum { P_MQ = 0, P_ACK = 3, P_REQUESTS = 5, P_CONFIG = 9, P_INFLIGHT = 12, P_RESET = 13 };
enum { FLAG_VERSION = 1, FLAG_REPLY = 4, FLAG_NEED_REPLY = 8 };

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
            uint8_t bytes[256];
        } config;
        struct {
            uint64_t size, offset;
            uint16_t queues, queue_size;
            uint32_t padding;
        } inflight;
        uint8_t bytes[512];
    } __attribute__((packed, aligned(4))) p;
} __attribute__((packed, aligned(4)));

#define HEADER 12

/* The document's "Inflight I/O tracking", split virtqueues. */
struct inflight_desc {
    uint8_t inflight, padding[5];
    uint16_t next;
    uint64_t counter;
};

struct inflight_region {
    uint64_t features;
    uint16_t version, desc_num, last_batch_head, used_idx;
    struct inflight_desc desc[SIZE_MAX_OF_QUEUE];
};

struct queue {
    uint32_t num;
    bool enabled, started;
    uint16_t next_avail, used_idx;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    int kick, call, error;
    struct inflight_region *inflight;
    uint64_t counter;
    uint16_t again[SIZE_MAX_OF_QUEUE]; /* heads that must be processed again */
    unsigned int again_count;
};

static const char *const *options;
static int option_count;
static int image;
static uint64_t sectors;
static struct queue queues[QUEUES];
static uint8_t *memory;
static uint64_t memory_guest, memory_user, memory_size;
static int requests = -1;
static int signals = -1; /* SIGUSR1, read between messages: none is lost or cuts one off */

static bool option(const char *name)
{
    for (int i = 0; i < option_count; i++) {
        if (strcmp(options[i], name) == 0)
            return true;
    }
    return false;
}

static void fail(const char *what)
{
    fprintf(stderr, "vhost-user-daemon: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *user(uint64_t address, uint64_t length)
{
    uint64_t offset = address - memory_user;
    return offset < memory_size && length <= memory_size - offset ? memory + offset : NULL;
}

static void *guest(uint64_t address, uint64_t length)
{
    uint64_t offset = address - memory_guest;
    return offset < memory_size && length <= memory_size - offset ? memory + offset : NULL;
}

/* ---- The disk ---- */

struct chain {
    struct iovec segments[SEGMENTS_MAX];
    unsigned int count, writable;
};

static bool walk(struct queue *queue, uint16_t head, struct chain *chain)
{
    *chain = (struct chain){.count = 0};
    for (uint16_t i = head; chain->count < SEGMENTS_MAX; i = queue->desc[i].next) {
        struct vring_desc desc = queue->desc[i % queue->num];
        void *at = guest(desc.addr, desc.len);
        if (!at)
            return false;
        if ((desc.flags & VRING_DESC_F_WRITE) == 0)
            chain->writable = chain->count + 1;
        chain->segments[chain->count++] = (struct iovec){at, desc.len};
        if ((desc.flags & VRING_DESC_F_NEXT) == 0)
            return chain->count >= 2;
    }
    return false;
}

/* Returns how many bytes of the chain it has written. */
static uint32_t serve(struct chain *chain)
{
    struct virtio_blk_outhdr header;
    uint8_t status = VIRTIO_BLK_S_OK;
    uint32_t length = 0;
    memcpy(&header, chain->segments[0].iov_base, sizeof(header));
    off_t at = (off_t)header.sector * 512;
    for (unsigned int i = 1; i + 1 < chain->count; i++) {
        struct iovec *data = &chain->segments[i];
        ssize_t done = header.type == VIRTIO_BLK_T_IN
                           ? pread(image, data->iov_base, data->iov_len, at)
                           : pwrite(image, data->iov_base, data->iov_len, at);
        if (done != (ssize_t)data->iov_len)
            status = VIRTIO_BLK_S_IOERR;
        at += (off_t)data->iov_len;
        length += header.type == VIRTIO_BLK_T_IN ? (uint32_t)data->iov_len : 0;
    }
    if (header.type != VIRTIO_BLK_T_IN && header.type != VIRTIO_BLK_T_OUT &&
        header.type != VIRTIO_BLK_T_FLUSH)
        status = VIRTIO_BLK_S_UNSUPP;
    *(uint8_t *)chain->segments[chain->count - 1].iov_base = status;
    if (option("pause"))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return length + 1;
}

static void complete(struct queue *queue, uint16_t head, uint32_t length)
{
    struct inflight_region *inflight = queue->inflight;
    queue->used->ring[queue->used_idx % queue->num] = (struct vring_used_elem){head, length};
    if (inflight) {
        inflight->desc[head].next = inflight->last_batch_head;
        inflight->last_batch_head = head;
    }
    queue->used_idx++;
    __atomic_store_n(&queue->used->idx, queue->used_idx, __ATOMIC_RELEASE);
    if (inflight) {
        __atomic_store_n(&inflight->desc[head].inflight, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&inflight->used_idx, queue->used_idx, __ATOMIC_RELEASE);
    }
    uint64_t one = 1;
    if (queue->call >= 0 && write(queue->call, &one, sizeof(one)) < 0 && errno != EAGAIN)
        fail("call");
}

static void ring_error(struct queue *queue)
{
    uint64_t one = 1;
    queue->started = false;
    if (queue->error >= 0 && write(queue->error, &one, sizeof(one)) < 0)
        fail("ring error");
}

/* Serves a few requests, from the last to the first. Returns whether there was any. */
static bool serve_batch(struct queue *queue)
{
    uint16_t heads[BATCH];
    unsigned int count = 0;
    while (count < BATCH && queue->again_count > 0)
        heads[count++] = queue->again[--queue->again_count];
    while (count < BATCH &&
           queue->next_avail != __atomic_load_n(&queue->avail->idx, __ATOMIC_ACQUIRE)) {
        uint16_t head = queue->avail->ring[queue->next_avail % queue->num];
        if (head >= queue->num) {
            ring_error(queue);
            return false;
        }
        queue->next_avail++;
        if (queue->inflight) {
            queue->inflight->desc[head].counter = queue->counter++;
            __atomic_store_n(&queue->inflight->desc[head].inflight, 1, __ATOMIC_RELEASE);
        }
        heads[count++] = head;
    }
    bool any = count > 0;
    while (count > 0) {
        struct chain chain;
        uint16_t head = heads[--count];
        if (!walk(queue, head, &chain)) {
            ring_error(queue);
            return false;
        }
        complete(queue, head, serve(&chain));
    }
    return any;
}

static void resume(struct queue *queue)
{
    struct inflight_region *inflight = queue->inflight;
    queue->used_idx = queue->used->idx;
    queue->again_count = 0;
    if (!inflight)
        return;
    if (inflight->version == 0)
        *inflight = (struct inflight_region){
            .version = 1, .desc_num = (uint16_t)queue->num, .used_idx = queue->used_idx};
    if (inflight->used_idx != queue->used_idx) {
        inflight->desc[inflight->last_batch_head].inflight = 0;
        inflight->used_idx = queue->used_idx;
    }
    for (uint32_t i = 0; i < queue->num; i++) {
        if (inflight->desc[i].inflight)
            queue->again[queue->again_count++] = (uint16_t)i;
        if (inflight->desc[i].counter >= queue->counter)
            queue->counter = inflight->desc[i].counter + 1;
    }
    queue->next_avail = (uint16_t)(queue->used_idx + queue->again_count);
}

/* ---- The protocol ---- */

static uint64_t protocol_features(void)
{
    uint64_t features = 1ull << P_MQ | 1ull << P_RESET;
    features |= option("no-ack") ? 0 : 1ull << P_ACK;
    features |= option("no-config") ? 0 : 1ull << P_CONFIG;
    features |= option("no-requests") ? 0 : 1ull << P_REQUESTS;
    features |= option("no-inflight") ? 0 : 1ull << P_INFLIGHT;
    return features;
}

static void fill_config(struct message *message)
{
    struct virtio_blk_config config = {.capacity = sectors};
    uint32_t size = message->p.config.size;
    if (message->p.config.offset != 0 || size > sizeof(config)) {
        message->size = 0;
        return;
    }
    memcpy(message->p.config.bytes, &config, size);
}

static void send_message(int socket, struct message *message, int fd)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {message, HEADER + message->size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = control.buffer;
        header.msg_controllen = sizeof(control.buffer);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    }
    if (sendmsg(socket, &header, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        fail("send");
}

static void answer(int socket, struct message *message, int fd)
{
    message->flags = FLAG_VERSION | FLAG_REPLY;
    if (option("wrong-size"))
        message->size += 4;
    if (option("wrong-request"))
        message->request++;
    if (option("wrong-flags"))
        message->flags = FLAG_VERSION;
    static bool late = false;
    if (option("answer-late") && !late) {
        late = true;
        if (send(socket, message, 5, MSG_NOSIGNAL) < 0 && errno != EPIPE)
            fail("send");
        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        if (send(socket, (char *)message + 5, HEADER + message->size - 5, MSG_NOSIGNAL) < 0 &&
            errno != EPIPE)
            fail("send");
        return;
    }
    send_message(socket, message, option("extra-fd") ? image : fd);
}

static void set_memory(const struct message *message, int fd)
{
    if (memory)
        munmap(memory, memory_size);
    memory_guest = message->p.memory.guest;
    memory_user = message->p.memory.user;
    memory_size = message->p.memory.size;
    memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  (off_t)message->p.memory.offset);
    if (message->p.memory.count != 1 || memory == MAP_FAILED)
        fail("memory");
}

static void replace(int *to, int fd)
{
    if (*to >= 0)
        close(*to);
    *to = fd;
}

static void set_inflight(const struct message *message, int fd)
{
    size_t size = message->p.inflight.size;
    uint8_t *area =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)message->p.inflight.offset);
    if (area == MAP_FAILED || size != QUEUES * sizeof(struct inflight_region))
        fail("inflight");
    for (unsigned int q = 0; q < QUEUES; q++)
        queues[q].inflight = (struct inflight_region *)(area + q * sizeof(*queues[q].inflight));
    close(fd);
}

static int new_inflight(struct message *message)
{
    message->p.inflight.size = QUEUES * sizeof(struct inflight_region);
    message->p.inflight.offset = 0;
    int fd = memfd_create("inflight", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)message->p.inflight.size) < 0)
        fail("memfd");
    return fd;
}

static void stop_all(void)
{
    for (unsigned int q = 0; q < QUEUES; q++)
        queues[q].started = queues[q].enabled = false;
}

/* Handles the messages about one queue. */
static void vring_message(int socket, struct message *message, int fd, bool *ret_answered)
{
    uint32_t index = message->p.state.index & 0xff;
    struct queue *queue = &queues[index];
    if (index >= QUEUES)
        fail("no such queue");
    switch (message->request) {
    case 8:
        queue->num = message->p.state.num;
        break;
    case 9:
        queue->desc = user(message->p.addr.desc_user_addr, queue->num * sizeof(*queue->desc));
        queue->avail = user(message->p.addr.avail_user_addr, 4 + queue->num * 2);
        queue->used = user(message->p.addr.used_user_addr, 4 + queue->num * 8);
        if (!queue->desc || !queue->avail || !queue->used)
            fail("ring outside the memory");
        break;
    case 10:
        queue->next_avail = (uint16_t)message->p.state.num;
        break;
    case 11:
        if (option("hang-vring-base"))
            pause();
        queue->started = false;
        queue->inflight = NULL;
        message->p.state.num = queue->next_avail;
        answer(socket, message, -1);
        *ret_answered = true;
        break;
    case 12:
        replace(&queue->kick, fd);
        resume(queue);
        queue->started = true;
        break;
    case 13:
        replace(&queue->call, fd);
        break;
    case 14:
        replace(&queue->error, fd);
        break;
    case 18:
        queue->enabled = message->p.state.num != 0;
        break;
    }
}

/* Fill in the answer to a request that asks for one. False: this is none. */
static bool fill_answer(struct message *message, int *ret_fd)
{
    switch (message->request) {
    case 1:
        message->p.u64 = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_BLK_F_FLUSH;
        message->p.u64 |= option("no-protocol") ? 0 : 1ull << F_PROTOCOL;
        message->size = 8;
        break;
    case 15:
        message->p.u64 = protocol_features();
        message->size = 8;
        break;
    case 17:
        message->p.u64 = QUEUES;
        message->size = 8;
        break;
    case 24:
        fill_config(message);
        break;
    case 31:
        *ret_fd = new_inflight(message);
        break;
    default:
        return false;
    }
    return true;
}

static void handle(int socket, struct message *message, int fd)
{
    bool answered = false;
    int out = -1;
    if (fill_answer(message, &out)) {
        answer(socket, message, out);
        if (option("unasked"))
            answer(socket, message, -1);
        if (out >= 0)
            close(out);
        return;
    }
    switch (message->request) {
    case 5:
        set_memory(message, fd);
        close(fd);
        break;
    case 21:
        replace(&requests, fd);
        break;
    case 32:
        set_inflight(message, fd);
        break;
    case 34:
        stop_all();
        break;
    case 2:
    case 3:
    case 16:
    case 25:
        break;
    default:
        vring_message(socket, message, fd, &answered);
    }
    if (!answered && (message->flags & FLAG_NEED_REPLY) != 0) {
        message->p.u64 = 0;
        message->size = 8;
        answer(socket, message, -1);
    }
}

/* Returns false when the front end has closed the connection. */
static bool receive(int socket)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int))];
    } control;
    struct message message = {0};
    struct iovec part = {&message, HEADER};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.buffer,
                            .msg_controllen = sizeof(control.buffer)};
    int fd = -1;
    if (recvmsg(socket, &header, MSG_WAITALL | MSG_CMSG_CLOEXEC) != HEADER ||
        message.size > sizeof(message.p))
        return false;
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
    if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
    if (message.size > 0 &&
        recv(socket, &message.p, message.size, MSG_WAITALL) != (ssize_t)message.size)
        return false;
    handle(socket, &message, fd);
    return true;
}

static void say_larger(void)
{
    struct message message = {.request = 2, .flags = FLAG_VERSION};
    sectors += 8;
    if (requests >= 0)
        send_message(requests, &message, -1);
}

static void serve_front_end(int socket)
{
    for (;;) {
        struct pollfd polled[2 + QUEUES] = {{.fd = socket, .events = POLLIN}};
        bool busy = false;
        for (unsigned int q = 0; q < QUEUES; q++)
            polled[1 + q] = (struct pollfd){queues[q].started ? queues[q].kick : -1, POLLIN, 0};
        polled[1 + QUEUES] = (struct pollfd){signals, POLLIN, 0};
        for (unsigned int q = 0; q < QUEUES; q++) {
            bool on = queues[q].started && (queues[q].enabled || option("no-protocol"));
            busy |= on && serve_batch(&queues[q]);
        }
        if (poll(polled, 2 + QUEUES, busy ? 0 : -1) < 0)
            fail("poll");
        struct signalfd_siginfo info;
        if (polled[1 + QUEUES].revents != 0 && read(signals, &info, sizeof(info)) > 0)
            say_larger();
        uint64_t count;
        for (unsigned int q = 0; q < QUEUES; q++) {
            if ((polled[1 + q].revents & POLLIN) != 0 &&
                read(queues[q].kick, &count, sizeof(count)) < 0 && errno != EAGAIN)
                fail("kick");
        }
        if (polled[0].revents != 0 && !receive(socket))
            return;
    }
}

static int listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0 || bind(socket_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(socket_fd, 1) < 0)
        fail(path);
    return socket_fd;
}

int main(int argc, char **argv)
{
    struct stat status;
    if (argc < 3) {
        fprintf(stderr, "usage: vhost-user-daemon SOCKET IMAGE [option...]\n");
        return 2;
    }
    options = (const char *const *)argv + 3;
    option_count = argc - 3;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* we die with a test that has failed */
    signal(SIGPIPE, SIG_IGN);
    sigset_t larger;
    sigemptyset(&larger);
    sigaddset(&larger, SIGUSR1);
    sigprocmask(SIG_BLOCK, &larger, NULL);
    signals = signalfd(-1, &larger, SFD_CLOEXEC);
    if (signals < 0)
        fail("signalfd");
    image = open(argv[2], O_RDWR | O_CLOEXEC);
    if (image < 0 || fstat(image, &status) < 0)
        fail(argv[2]);
    sectors = (uint64_t)status.st_size / 512;
    for (unsigned int q = 0; q < QUEUES; q++)
        queues[q].kick = queues[q].call = queues[q].error = -1;
    int listening = listen_on(argv[1]);
    for (;;) {
        int socket_fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (socket_fd < 0)
            continue;
        if (option("hang-accept"))
            pause();
        serve_front_end(socket_fd);
        close(socket_fd);
        stop_all();
        for (unsigned int q = 0; q < QUEUES; q++)
            queues[q].inflight = NULL;
    }
}
