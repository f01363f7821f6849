/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/vhost_values.h"
#include "tests/fuzz/watch.h"
#include "worker/block/block.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/transport.h"

#define GUARD_SIZE 0x100000u /* of unusable memory on each side of window and state page */
#define IMAGE_SIZE ((size_t)IMAGE_SECTORS * SECTOR_SIZE)
#define FILE_SIZE (IMAGE_SIZE + (size_t)IMAGE_GUARD_SECTORS * SECTOR_SIZE)
#define ROUNDS_MAX 4096 /* no input can keep the worker busy for longer */

unsigned char *machine_window;
struct state_page *machine_state;
struct device machine_device;

/* The contents of the window after the last action. */
static union {
    unsigned char bytes[WINDOW_SIZE];
    uint64_t words[WINDOW_SIZE / 8];
} shadow;

static unsigned char original[FILE_SIZE];
static unsigned char *image; /* the backend file, mapped */
static int image_fd;
static int tap;     /* plays the tap's file: it is watched, and written to when there is a frame */
static int control; /* the broker's end of the socket */
static int epolls[DEVICE_KINDS];   /* each watches what its kind watches */
static bool watched[DEVICE_KINDS]; /* whether it does so already */
static struct message_start start;

/* ---- Once ---- */

static int checked(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        abort();
    }
    return result;
}

/* A high number, so that no new fd gets a number with a fixed meaning. */
static int high(int fd)
{
    int moved = checked(fcntl(checked(fd, "fd"), F_DUPFD_CLOEXEC, 64), "F_DUPFD_CLOEXEC");
    close(fd);
    return moved;
}

static void place(int fd, int number)
{
    checked(dup2(fd, number), "dup2");
    close(fd);
}

static unsigned char *guarded(size_t size)
{
    unsigned char *all = mmap(NULL, size + 2 * GUARD_SIZE, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        checked(-1, "mmap");
    checked(mprotect(all + GUARD_SIZE, size, PROT_READ | PROT_WRITE), "mprotect");
    return all + GUARD_SIZE;
}

static void init_image(void)
{
    for (size_t i = 0; i < FILE_SIZE; i++)
        original[i] = (unsigned char)(i * 7 + i / SECTOR_SIZE * 13 + 1);
    int fd = high(memfd_create("image", MFD_CLOEXEC));
    checked(ftruncate(fd, FILE_SIZE), "ftruncate");
    image = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (image == MAP_FAILED)
        checked(-1, "mmap");
    memcpy(image, original, FILE_SIZE);
    image_fd = fd;
    tap = high(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

static void init_fds(void)
{
    int pair[2];
    checked(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
            "socketpair");
    control = high(pair[0]);
    place(high(pair[1]), WORKER_FD_CONTROL);
    /* The kick eventfds of every kind, and the second backend file if the kind has one. */
    for (int fd = WORKER_FD_REQUEST; fd < WORKER_FD_BACKEND + 8; fd++) {
        if (fd != WORKER_FD_BACKEND)
            place(high(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), fd);
    }
    for (int kind = 0; kind < DEVICE_KINDS; kind++)
        epolls[kind] = high(epoll_create1(EPOLL_CLOEXEC));
}

static void stop_watching(void)
{
    watch.on = false;
}

void machine_init(void)
{
    init_fds();
    init_image();
    machine_window = guarded(WINDOW_SIZE);
    /* The mapping ends where the structure ends: an access behind it is out of bounds. */
    machine_state = (struct state_page *)(void *)guarded(STATE_SIZE);
    violated_first = stop_watching;
}

/* ---- A device ---- */

struct message_start machine_start(enum device_kind kind)
{
    struct message_start message = {
        .header = {.type = MSG_START, .version = MESSAGE_VERSION, .device = 5},
        .name = "fuzzed 0",
        .kind = kind,
        .virtio_id = device_kinds[kind].virtio_id,
        .queue_count = device_kinds[kind].queue_count,
        .backend_fd_count = device_kinds[kind].backend_fd_count,
        .queue_size_max = QUEUE_SIZE_MAX,
        .shmem_addr = WINDOW_BASE,
        .shmem_size = WINDOW_SIZE,
    };
    if (kind == DEVICE_BLOCK_VIRTIO)
        message.of_kind.block = (struct start_block){
            .capacity = IMAGE_SECTORS,
            .blk_size = 512,
            .discard_sectors = 8,
            .advertise_flush = 1,
            .serial = "serial",
        };
    else if (kind == DEVICE_NET_VIRTIO)
        message.of_kind.net = (struct start_net){
            .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56}, .mtu = 1500, .tun_offloads = 0x1f};
    else if (kind == DEVICE_VSOCK_VHOST)
        message.of_kind.vsock =
            (struct start_vsock){.guest_cid = 3, .vhost_features = ~0ull, .connections = 63};
    return message;
}

static void new_worker(void)
{
    memset(&vhost, 0, sizeof(vhost)); /* as if the broker had opened it again */
    memset(&block, 0, sizeof(block)); /* as in a new process */
    log_quiet();
    munmap((void *)VHOST_VALUES, VHOST_VALUES_SIZE);
    if (device_init(&machine_device, &start, machine_state, machine_window) != 0)
        violated("device_init fails");
    if (device_confined(&machine_device) != 0)
        violated("device_confined fails");
    if (!watched[start.kind] && loop_watch(&machine_device) != 0)
        violated("loop_watch fails");
    watched[start.kind] = true;
}

void machine_clear(enum device_kind kind, const struct message_start *options)
{
    start = options ? *options : machine_start(kind);
    memset(&watch, 0, sizeof(watch));
    memset(machine_window, 0, WINDOW_SIZE);
    memset(&shadow, 0, sizeof(shadow));
    memset(machine_state, 0, STATE_SIZE);
    checked(dup2(epolls[kind], WORKER_FD_EPOLL), "dup2");
    checked(dup2(kind == DEVICE_BLOCK_VIRTIO ? image_fd : tap, WORKER_FD_BACKEND), "dup2");
    machine_successor();
}

bool machine_direct(void)
{
    return start.of_kind.block.direct != 0;
}

void machine_poke(uint32_t offset, const void *from, size_t length)
{
    bool on = watch.on;
    watch.on = false;
    if (offset < WINDOW_SIZE && length > 0) {
        size_t part = length < WINDOW_SIZE - offset ? length : WINDOW_SIZE - offset;
        memcpy(machine_window + offset, from, part);
        memcpy(shadow.bytes + offset, from, part);
    }
    watch.on = on;
}

void machine_image_original(uint64_t offset, unsigned char *to, size_t length)
{
    memcpy(to, original + offset, length);
}

const unsigned char *machine_image(void)
{
    return image;
}

void machine_race(struct race race)
{
    watch.race = race;
}

void machine_die_after(uint32_t accesses)
{
    watch.die_after = accesses;
}

void machine_io_fault(enum io_fault fault, uint32_t calls)
{
    watch.io_fault = fault;
    watch.io_calls = calls;
    if (calls == 0)
        watch.io_bytes = 0;
}

/* ---- What holds before and after an action ---- */

/* Only a register access can make a queue live and serve it. */
static void before(const struct action *action)
{
    bool starts = action->kind == ACTION_WRITE || action->kind == ACTION_MAILBOX ||
                  action->kind == ACTION_RESUME;
    for (unsigned int q = 0; q < machine_device.queue_count; q++) {
        const struct state_queue *state = &machine_state->queues[q];
        struct watched_queue *seen = &watch.queues[q];
        if (!seen->active)
            *seen = (struct watched_queue){.next_used = state->ready == 1 ? state->next_used : 0};
        seen->published = false;
        seen->accessible = watch_queue_live(q) || starts;
    }
    watch.raced = false;
}

static bool given_away(uint32_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((watch.marks[offset + i] & MARK_WRITABLE) != 0)
            return true;
    }
    return false;
}

/* The entries are in the order in which the chains were taken. This is checked if nothing else may
 * write there. */
static void check_used(unsigned int queue, uint16_t count)
{
    const struct state_queue *state = &machine_state->queues[queue];
    const struct watched_queue *seen = &watch.queues[queue];
    uint32_t used = (uint32_t)(state->device - WINDOW_BASE);
    uint16_t idx;
    memcpy(&idx, machine_window + used + 2, sizeof(idx));
    if (!given_away(used + 2, 2) && idx != state->next_used)
        violated("queue %u: used->idx is %u after %u chains", queue, idx, state->next_used);
    for (uint16_t i = 0; i < count && i < state->size; i++) {
        uint32_t slot = (uint16_t)(state->next_used - 1 - i) & (state->size - 1);
        uint32_t at = used + 4 + 8 * slot, id;
        memcpy(&id, machine_window + at, sizeof(id));
        if (!given_away(at, 8) && seen->head_known[slot] && id != seen->heads[slot])
            violated("queue %u: used->ring[%u] is %u, not %u", queue, slot, id, seen->heads[slot]);
    }
}

/* For each chain that was completed since `from`, there is one used descriptor where the chain
 * started. */
static void check_used_packed(unsigned int queue, uint16_t from)
{
    const struct state_queue *state = &machine_state->queues[queue];
    const struct watched_queue *seen = &watch.queues[queue];
    const uint16_t both = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
    uint32_t left = watch_distance(state, from, state->next_used), slot = from & 0x7fffu;
    bool wrap = (from & STATE_POSITION_LAP) == 0;
    if (left > state->size)
        return; /* more than a lap: the old ones are overwritten */
    while (left > 0 && seen->head_known[slot]) {
        uint32_t at = (uint32_t)(state->desc - WINDOW_BASE) + 16 * slot;
        struct vring_packed_desc desc;
        memcpy(&desc, machine_window + at, sizeof(desc));
        if (!given_away(at, 16) &&
            (desc.id != seen->heads[slot] || (desc.flags & both) != (wrap ? both : 0)))
            violated("queue %u: used descriptor %u has id %u and flags %#x, not id %u", queue, slot,
                     desc.id, desc.flags, seen->heads[slot]);
        if (seen->lengths[slot] > left)
            violated("queue %u: a chain is completed in part", queue);
        left -= seen->lengths[slot];
        slot += seen->lengths[slot];
        wrap ^= slot >= state->size;
        slot %= state->size;
    }
}

static void check_queue(unsigned int queue)
{
    const struct state_queue *state = &machine_state->queues[queue];
    struct watched_queue *seen = &watch.queues[queue];
    if (state->ready > 1)
        violated("queue %u: QueueReady is %u", queue, state->ready);
    seen->active = watch_queue_live(queue) && (machine_device.user_queues & 1u << queue) != 0;
    if (!seen->active)
        return;
    uint16_t before = seen->next_used;
    uint32_t count = watch_packed() ? watch_distance(state, before, state->next_used)
                                    : (uint16_t)(state->next_used - before);
    seen->used += count;
    seen->next_used = state->next_used;
    if (watch.page_hostile) {
        seen->available = seen->used;
        return;
    }
    if (seen->used > seen->available)
        violated("queue %u: %llu chains completed, %llu made available", queue,
                 (unsigned long long)seen->used, (unsigned long long)seen->available);
    if (count == 0 || watch.raced)
        return;
    if (watch_packed())
        check_used_packed(queue, before);
    else
        check_used(queue, (uint16_t)count);
}

/* This goes over the whole window after each action, so it has no sanitizer checks. */
#define HOT __attribute__((no_sanitize("address", "undefined")))
#define BLOCK_WORDS 16u
#define BLOCK_BYTES (BLOCK_WORDS * (uint32_t)sizeof(uint64_t))

HOT static void check_block(uint32_t first)
{
    for (uint32_t i = first; i < first + BLOCK_BYTES; i++) {
        if (machine_window[i] != shadow.bytes[i] &&
            (watch_marks(i) & (MARK_WRITABLE | MARK_USED)) == 0)
            violated("the worker changed window offset %#x, which is not the device's", i);
        shadow.bytes[i] = machine_window[i];
    }
}

HOT static void check_window(void)
{
    const uint64_t *now = (const uint64_t *)(const void *)machine_window;
    for (uint32_t word = 0; word < WINDOW_SIZE / sizeof(*now); word += BLOCK_WORDS) {
        uint64_t differing = 0;
        for (uint32_t i = 0; i < BLOCK_WORDS; i++)
            differing |= now[word + i] ^ shadow.words[word + i];
        if (differing != 0)
            check_block(word * (uint32_t)sizeof(*now));
    }
}

static void check_state(void)
{
    uint32_t status = machine_state->transport.status;
    if (machine_state->magic != STATE_MAGIC || machine_state->kind != start.kind)
        violated("the state page is no longer this device's");
    if ((status & ~(TRANSPORT_STATUS_DRIVER | VIRTIO_CONFIG_S_NEEDS_RESET)) != 0 ||
        ((status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) ==
             VIRTIO_CONFIG_S_DRIVER_OK &&
         (status & VIRTIO_CONFIG_S_FEATURES_OK) == 0))
        violated("the device has status %#x", status);
    if (vhost.running && (!watch_queue_live(0) || !watch_queue_live(1)))
        violated("the kernel runs on rings that are not the device's");
}

static void after(void)
{
    bool in_flight = false;
    check_window();
    for (unsigned int q = 0; q < machine_device.queue_count; q++) {
        const struct state_queue *state = &machine_state->queues[q];
        check_queue(q);
        in_flight |= watch.queues[q].active && state->next_avail != state->next_used;
    }
    check_state();
    if (!in_flight)
        watch_clear_marks();
}

/* ---- Actions ---- */

static void post(const struct action *action)
{
    struct state_mailbox *mailbox = &machine_state->mailbox;
    mailbox->offset = action->offset & 0x1ff;
    mailbox->width = (uint8_t)action->width;
    mailbox->is_write = action->is_write;
    mailbox->value = action->value;
    atomic_fetch_add(&mailbox->request_seq, 1);
}

static void notify(uint32_t number)
{
    const uint64_t one = 1;
    (void)!write(WORKER_FD_BACKEND + (int)number, &one, sizeof(one));
}

/* Run the worker. Posting and notifying are done before. */
static uint64_t run(const struct action *action)
{
    switch (action->kind) {
    case ACTION_READ:
        return transport_read(&machine_device, action->offset, action->width);
    case ACTION_WRITE:
        transport_write(&machine_device, action->offset, action->width, action->value);
        return 0;
    case ACTION_MAILBOX:
    case ACTION_NOTIFY:
    case ACTION_ROUND:
        loop_round(&machine_device, 0);
        return machine_state->mailbox.answer;
    case ACTION_RESUME:
        device_resume(&machine_device);
        return 0;
    }
    return 0;
}

static uint64_t run_watched(const struct action *action, bool *ret_died)
{
    uint64_t value = 0;
    *ret_died = false;
    if (setjmp(watch.death) == 0) {
        watch.on = true;
        value = run(action);
    } else {
        *ret_died = true;
    }
    watch.on = false;
    return value;
}

/* How many chains the driver has got back from a dead worker; false if that is not known. */
static bool handed_back(unsigned int queue, uint16_t *ret_next_used)
{
    const struct watched_queue *seen = &watch.queues[queue];
    const struct state_queue *state = &machine_state->queues[queue];
    if (!seen->published || watch.raced || watch.page_hostile || !watch_queue_live(queue))
        return false;
    uint32_t at = (uint32_t)(watch_publishing_word(state) - WINDOW_BASE);
    *ret_next_used = state->batch_end;
    if (!watch_packed())
        memcpy(ret_next_used, machine_window + at, sizeof(*ret_next_used));
    return !given_away(at, sizeof(*ret_next_used));
}

static void take_over_once(bool *ret_died)
{
    static const struct action resume = {.kind = ACTION_RESUME};
    bool known[STATE_QUEUES_MAX];
    uint16_t next_used[STATE_QUEUES_MAX];
    unsigned int queues = machine_device.info ? machine_device.queue_count : 0;
    for (unsigned int q = 0; q < queues; q++) {
        known[q] = handed_back(q, &next_used[q]);
        watch.queues[q].in_chain = false;
    }
    check_window(); /* what the dead worker has written */
    watch_clear_marks();
    new_worker();
    before(&resume);
    run_watched(&resume, ret_died);
    for (unsigned int q = 0; q < queues && !*ret_died; q++) {
        if (known[q] && watch_queue_live(q) && machine_state->queues[q].next_used != next_used[q])
            violated("queue %u: a successor takes chains that the driver has got back", q);
    }
}

static void take_over(void)
{
    bool died;
    do
        take_over_once(&died);
    while (died);
}

uint64_t machine_do(struct action action)
{
    bool died;
    uint64_t value;
    if (action.kind == ACTION_MAILBOX)
        post(&action);
    else if (action.kind == ACTION_NOTIFY)
        notify(action.offset);
    before(&action);
    for (;;) {
        value = run_watched(&action, &died);
        if (!died)
            break;
        /* The broker gives the same register access to the successor. */
        take_over();
        before(&action);
    }
    if (action.kind == ACTION_MAILBOX &&
        machine_state->mailbox.response_seq != machine_state->mailbox.request_seq)
        violated("a register access was not answered");
    after();
    if (machine_state->transport.status == 0)
        watch.page_hostile = false;
    return value;
}

void machine_settle(void)
{
    unsigned int rounds = 0;
    do {
        machine_do((struct action){.kind = ACTION_ROUND});
        if (++rounds == ROUNDS_MAX)
            violated("the worker does not come to rest");
    } while (machine_device.work != 0);
}

void machine_successor(void)
{
    take_over();
    after();
}

void machine_corrupt(uint32_t offset, const void *from, size_t length)
{
    memcpy((unsigned char *)machine_state + offset % STATE_SIZE, from,
           length < STATE_SIZE - offset % STATE_SIZE ? length : STATE_SIZE - offset % STATE_SIZE);
    watch.page_hostile = true;
}

/* ---- The end ---- */

static void check_logs(void)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count;
    for (;;) {
        int r = message_receive(control, ROLE_WORKER, &message, fds, &fd_count);
        if (r == -EAGAIN)
            return;
        if (r != 1 || message.header.type != MSG_LOG || message.log.code >= LOG_CODE_COUNT)
            violated("the worker sent no log message");
    }
}

void machine_check_end(void)
{
    if (watch.stores == 0)
        violated("the worker's stores are not seen: is it compiled for this?");
    check_logs();
    if (memcmp(image + IMAGE_SIZE, original + IMAGE_SIZE, FILE_SIZE - IMAGE_SIZE) != 0)
        violated("the image was written beyond the capacity");
    if (watch.image_changed)
        memcpy(image, original, IMAGE_SIZE);
}
