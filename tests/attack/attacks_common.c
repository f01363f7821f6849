/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker of any kind can try: the powers of policy/worker.inc, and those of its memory. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "common/log_code.h"
#include "common/wait.h"
#include "tests/attack/attacker.h"

/* ---- Eventfds ---- */

static long signal_once(int fd)
{
    const uint64_t one = 1;
    return write(fd, &one, sizeof(one));
}

/* Everything that could convince the broker is set: an interrupt is wanted, and none is
 * outstanding. */
void attack_interrupt_flood(struct device *dev, struct attack_report *report)
{
    for (;;) {
        atomic_store(&dev->state->interrupt.pending, UINT32_MAX);
        atomic_store(&dev->state->interrupt.raised, 0);
        attack_step(dev, report, signal_once(WORKER_FD_CALL));
    }
}

/* Writes to an eventfd up to the highest possible count, whatever is in it. */
static void fill(struct attack_report *report, int fd)
{
    for (int bit = 63; bit >= 0; bit--) {
        const uint64_t part = 1ull << bit;
        attack_count(report, write(fd, &part, sizeof(part)));
    }
}

void attack_interrupt_full(struct device *dev, struct attack_report *report)
{
    (void)dev;
    fill(report, WORKER_FD_CALL);
    _exit(0);
}

void attack_reply_flood(struct device *dev, struct attack_report *report)
{
    for (;;) {
        attack_count(report, signal_once(WORKER_FD_REPLY));
        device_alive(dev);
    }
}

void attack_reply_full(struct device *dev, struct attack_report *report)
{
    (void)dev;
    fill(report, WORKER_FD_REPLY);
    _exit(0);
}

void attack_kick_flood(struct device *dev, struct attack_report *report)
{
    for (;;)
        attack_step(dev, report, signal_once(device_kick_fd(dev, 0)));
}

/* The two kick eventfds that every policy with kicks allows. */
void attack_kick_full(struct device *dev, struct attack_report *report)
{
    fill(report, device_kick_fd(dev, 0));
    fill(report, device_kick_fd(dev, 1));
    _exit(0);
}

/* ---- The mailbox ---- */

void attack_forged_answers(struct device *dev, struct attack_report *report)
{
    struct state_mailbox *mailbox = &dev->state->mailbox;
    for (;;) {
        uint32_t seq = atomic_load_explicit(&mailbox->request_seq, memory_order_acquire);
        device_alive(dev);
        if (seq == atomic_load(&mailbox->response_seq))
            continue;
        mailbox->answer = attack_random() | 1ull << 63 | 1ull << 8;
        atomic_store_explicit(&mailbox->response_seq, seq, memory_order_release);
        attack_count(report, signal_once(WORKER_FD_REPLY));
    }
}

/* ---- The control socket ---- */

static long say(const void *message, size_t length)
{
    return send(WORKER_FD_CONTROL, message, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void attack_log_flood(struct device *dev, struct attack_report *report)
{
    struct message_log message = {.header = {.type = MSG_LOG, .version = MESSAGE_VERSION}};
    for (;;) {
        message.code = (message.code + 1) % LOG_CODE_COUNT;
        message.args[0] = attack_random();
        attack_step(dev, report, say(&message, sizeof(message)));
    }
}

static void say_header(struct attack_report *report, uint16_t type, uint16_t version, size_t length)
{
    union message message = {.header = {.type = type, .version = version}};
    attack_count(report, say(&message, length));
}

/* `argument` chooses the message: the test goes through all of them (BAD_MESSAGES in its file). */
void attack_bad_message(struct device *dev, struct attack_report *report)
{
    static unsigned char large[1 << 16];
    struct message_log unknown = {
        .header = {.type = MSG_LOG, .version = MESSAGE_VERSION},
        .code = LOG_CODE_COUNT,
    };
    (void)dev;
    switch (report->argument) {
    case 0: /* the end of a socket looks the same */
        attack_count(report, say(large, 0));
        break;
    case 1:
        attack_count(report, say(large, 1));
        break;
    case 2:
        attack_spoil(large, sizeof(large));
        attack_count(report, say(large, sizeof(struct message_log)));
        break;
    case 3:
        attack_spoil(large, sizeof(large));
        attack_count(report, say(large, sizeof(large)));
        break;
    case 4:
        say_header(report, MSG_LOG, MESSAGE_VERSION, sizeof(struct message_log) + 1);
        break;
    case 5:
        say_header(report, MSG_LOG, MESSAGE_VERSION + 1, sizeof(struct message_log));
        break;
    case 6:
        say_header(report, MSG_STOP, MESSAGE_VERSION, sizeof(struct message_header));
        break;
    case 7:
        say_header(report, MSG_START, MESSAGE_VERSION, sizeof(struct message_start));
        break;
    case 8:
        say_header(report, MSG_READY, MESSAGE_VERSION, sizeof(struct message_ready));
        break;
    case 9:
        say_header(report, MSG_FAILED, MESSAGE_VERSION, sizeof(struct message_failed));
        break;
    case 10:
        attack_count(report, say(&unknown, sizeof(unknown)));
        break;
    default: /* for a device without connections, or with a type that does not exist */
        say_header(report, MSG_CONNECT, MESSAGE_VERSION, sizeof(struct message_connect));
        break;
    }
}

/* ---- Time ---- */

void attack_epoll_flood(struct device *dev, struct attack_report *report)
{
    struct epoll_event event;
    for (;;)
        attack_step(dev, report, wait_events(WORKER_FD_EPOLL, &event, 1, 0));
}

void attack_spin(struct device *dev, struct attack_report *report)
{
    for (;;)
        attack_step(dev, report, 0);
}

void attack_lie_in_io(struct device *dev, struct attack_report *report)
{
    struct epoll_event event;
    device_io_begins(dev);
    for (;;)
        attack_count(report, wait_events(WORKER_FD_EPOLL, &event, 1, wait_ns(100)));
}

/* Whoever asked for the attack gets the answer first. */
static void let_relay_take_answer(void)
{
    struct epoll_event event;
    for (unsigned int i = 0; i < 5; i++)
        (void)wait_events(WORKER_FD_EPOLL, &event, 1, wait_ns(10));
}

/* Called before each look at the mailbox. */
void attack_die_again(struct device *dev, struct attack_report *report)
{
    const struct state_mailbox *mailbox = &dev->state->mailbox;
    if (atomic_load(&mailbox->request_seq) == atomic_load(&mailbox->response_seq))
        return;
    attack_count(report, 0);
    _exit(0);
}

/* ---- Memory ---- */

/* Behind the mailbox: forged answers are another attack. */
#define SPOILT_FROM (offsetof(struct state_page, mailbox) + sizeof(struct state_mailbox))

void attack_spoil_page(struct device *dev, struct attack_report *report)
{
    unsigned char *page = (unsigned char *)dev->state;
    struct state_mailbox *mailbox = &dev->state->mailbox;
    for (;;) {
        attack_spoil(page + SPOILT_FROM, STATE_SIZE - SPOILT_FROM);
        attack_count(report, 0);
        device_alive(dev);
        /* The worker's own code would not survive this page, so the answer is written here. */
        uint32_t seq = atomic_load_explicit(&mailbox->request_seq, memory_order_acquire);
        atomic_store_explicit(&mailbox->response_seq, seq, memory_order_release);
        (void)eventfd_signal(WORKER_FD_REPLY);
    }
}

/* `argument` 0: all of the page is spoilt. 1: the fields that say whose page it is stay, so that
 * more of it is read. */
void attack_spoilt_page(struct device *dev, struct attack_report *report)
{
    struct state_page *state = dev->state;
    const uint64_t magic = state->magic;
    const uint32_t version = state->version, kind = state->kind, queues = state->queue_count;
    let_relay_take_answer();
    attack_spoil(state, STATE_SIZE);
    if (report->argument == 1) {
        state->magic = magic;
        state->version = version;
        state->kind = kind;
        state->queue_count = queues;
        state->transport.status &= VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
        for (unsigned int q = 0; q < STATE_QUEUES_MAX; q++)
            state->queues[q].ready &= 1;
    }
    attack_count(report, 0);
    _exit(0);
}

/* Called before each look at the mailbox. It acts once, when a request is there. */
void attack_spoilt_mailbox(struct device *dev, struct attack_report *report)
{
    struct state_mailbox *mailbox = &dev->state->mailbox;
    if (atomic_load(&mailbox->request_seq) == atomic_load(&mailbox->response_seq))
        return;
    atomic_store(&report->each, ATTACK_NONE);
    attack_spoil(mailbox, sizeof(*mailbox));
    attack_count(report, 0);
    _exit(0);
}

/* `argument` chooses the positions. Everything else stays as the driver has set it. */
void attack_spoilt_positions(struct device *dev, struct attack_report *report)
{
    static const struct {
        uint16_t next_used, batch_end, next_avail, batch_count;
    } positions[] = {
        {0x7fff, 0x7fff, 0x7fff, 0},
        {0, 0, 0x7ffe, 0},
        {0x7000, 0x7001, 0x7001, 1},
        {0, 5, 5, 0xffff},
        {0xffff, 0x7fff, 0x8000, STATE_BATCH_MAX},
    };
    const size_t which = report->argument % (sizeof(positions) / sizeof(positions[0]));
    dev->state->transport.status &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
    for (unsigned int q = 0; q < dev->queue_count; q++) {
        struct state_queue *queue = &dev->state->queues[q];
        queue->next_used = positions[which].next_used;
        queue->batch_end = positions[which].batch_end;
        queue->next_avail = positions[which].next_avail;
        queue->batch_count = positions[which].batch_count;
        attack_spoil(queue->batch, sizeof(queue->batch));
    }
    attack_count(report, 0);
    _exit(0);
}

void attack_spoil_window(struct device *dev, struct attack_report *report)
{
    const size_t piece = 4096;
    for (size_t at = 0;; at = (at + piece) % attack_window_size(dev)) {
        attack_spoil(dev->window.base + at, piece);
        attack_step(dev, report, 0);
    }
}

/* result[0]: number of bytes of stack that it got. */
static __attribute__((noinline)) uint64_t grow(struct attack_report *report, uint64_t depth)
{
    volatile unsigned char more[1024];
    more[0] = (unsigned char)depth;
    *(volatile uint64_t *)&report->result[0] = depth * sizeof(more);
    if (depth == UINT64_MAX)
        return 0;
    return grow(report, depth + 1) + more[0];
}

void attack_grow_stack(struct device *dev, struct attack_report *report)
{
    (void)dev;
    attack_count(report, 0);
    report->result[1] = grow(report, 0);
}

/* ---- What no policy of a worker allows ---- */

/* `argument` chooses the call: there are FORBIDDEN of them (in the test's file).
 * tests/unit/test_policy_kernel.c shows that each number that is not allowed ends the process. */
void attack_forbidden(struct device *dev, struct attack_report *report)
{
    static unsigned char bytes[16];
    attack_count(report, 0);
    switch (report->argument) {
    case 0:
        (void)syscall(SYS_mmap, NULL, 4096, 7, 0x22, -1, 0);
        break;
    case 1:
        (void)syscall(SYS_openat, -100, "/", 0, 0);
        break;
    case 2:
        (void)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
        break;
    case 3:
        (void)syscall(SYS_clone, 0, 0, 0, 0, 0);
        break;
    case 4:
        (void)syscall(SYS_execve, "/bin/sh", NULL, NULL);
        break;
    case 5:
        (void)syscall(SYS_kill, -1, 9);
        break;
    case 6:
        (void)syscall(SYS_ptrace, PTRACE_ATTACH, 1, 0, 0);
        break;
    case 7:
        (void)syscall(SYS_write, WORKER_FD_REQUEST, bytes, 8);
        break;
    case 8:
        (void)syscall(SYS_read, WORKER_FD_CONTROL, bytes, sizeof(bytes));
        break;
    case 9:
        (void)ioctl(WORKER_FD_CONTROL, 0x5401 /* TCGETS */, bytes);
        break;
    case 10: /* writing code */
        (void)syscall(SYS_mprotect, dev->window.base, 4096, 7);
        break;
    case 11: /* a packet with an address, or with fds */
        (void)syscall(SYS_sendto, WORKER_FD_CONTROL, bytes, sizeof(bytes),
                      MSG_DONTWAIT | MSG_NOSIGNAL, bytes, sizeof(bytes));
        break;
    case 12:
        (void)syscall(SYS_sendmsg, WORKER_FD_CONTROL, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    default:
        (void)syscall(SYS_io_uring_setup, 1, bytes);
        break;
    }
}
